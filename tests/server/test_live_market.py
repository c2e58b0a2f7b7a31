"""A real market on its loop behind the API: reads of one tick; the journal has commands and news before anybody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agora import populate
from agora.config import load_config
from agora.domain.events import Heartbeat, OperatorCommand
from agora.exchange.feeds import INTERVALS_S
from agora.journal.disk import Disk
from agora.journal.log import open_log
from agora.journal.reader import read_records
from agora.server.app import ServerContext, create_app
from agora.server.auth import access_of, token_of
from agora.server.live_market import LiveMarket
from agora.server.serving import serve_app
from agora.server.views import INTERVALS
from agora.session.clock import PacedClock, monotonic_ns
from agora.session.folder import Home
from agora.session.market_loop import MarketLoop, Pace

FLAGS = {"market.population": 0, "market.agents": ["market_maker=2", "fomo=2", "dca=1"], "market.assets": ["ACME:100"]}


class NoControls:
    """Nobody at the terminal (port `MarketControls`)."""

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """No command."""
        del now_ns

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """No heartbeat."""
        del now_ns, queue_depth


class Running:
    """A market that runs beside its API, and a client with the token."""

    def __init__(self, url: str, client: aiohttp.ClientSession, loop: MarketLoop) -> None:
        self.url = url
        self.client = client
        self.loop = loop

    async def get(self, path: str) -> Any:
        """The JSON body of a successful answer."""
        async with self.client.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        """The JSON body of a mutation that was taken."""
        async with self.client.post(self.url + path, json=body) as answer:
            assert answer.status in {200, 202}, await answer.text()
            return await answer.json()

    async def until(self, phase: str) -> None:
        """Wait for the market's phase."""
        async with asyncio.timeout(10):
            while self.loop.market.state.phase.value != phase:  # noqa: ASYNC110 - the market has no event for us
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A market at full speed until it is told to stop."""
    config = load_config({}, FLAGS, [])
    folder = tmp_path / "run"
    folder.mkdir()
    journal = open_log(Disk(folder), wall_ns=PacedClock().wall_ns)
    loop = MarketLoop(
        populate.build_market(config), journal, asker=None, pace=Pace(tick_s=0.0, monotonic_ns=monotonic_ns)
    )
    token = token_of(Home(tmp_path / "home"))
    context = ServerContext(
        access=access_of("127.0.0.1", token), market=LiveMarket(loop, "run"), monotonic_ns=monotonic_ns
    )
    async with serve_app(create_app(context)) as address, asyncio.TaskGroup() as tasks:
        tasks.create_task(loop.run(populate.started(config, run_id="run"), NoControls()))
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
            market = Running(address.url, client, loop)
            yield market
            if loop.market.state.phase.value != "ended":
                await market.post("/simulation/stop")


@pytest.mark.requirement("R3")
def test_every_body_is_of_one_tick_and_complete(tmp_path: Path) -> None:
    """While the market runs at full speed: the newest history is the price of now, all bodies have their members."""

    async def main() -> None:
        async with running(tmp_path) as market, asyncio.timeout(30):
            seen: set[int] = set()
            # A slow machine may answer some requests before the first tick: what counts is what each body says.
            while len(seen) < 5:
                state = await market.get("/state")
                seen.add(state["tick"])
                if state["tick"]:
                    assert state["history"][-1] == {"tick": state["tick"], "prices": state["prices"]}
                assert state["tickers"] == state["prices"]
            assert (await market.get("/health"))["run"] == "run"
            agents = await market.get("/agents")
            assert sorted(agent["persona"] for agent in agents) == [
                "dca",
                "fomo",
                "fomo",
                "market_maker",
                "market_maker",
            ]
            assert all(agent["portfolio"]["total_value"] == agent["portfolio"]["portfolio_value"] for agent in agents)
            assert (await market.get("/rules"))["assets"][0]["symbol"] == "ACME"
            book = await market.get("/book/ACME?depth=5")
            assert len(book["bids"]) <= 5
            for trade in await market.get("/trades/ACME?limit=5"):
                assert trade["side"] in {"buy", "sell"}
            for interval in INTERVALS:
                assert len(await market.get(f"/candles/ACME?interval={interval}&limit=3")) <= 3

    asyncio.run(main())


def test_pause_step_and_start_move_the_market_as_told(tmp_path: Path) -> None:
    """Paused, both state routes stay at one tick; a step is one tick; start runs on."""

    async def main() -> None:
        async with running(tmp_path) as market:
            await market.post("/simulation/pause", reason="look")
            await market.until("paused")
            state = await market.get("/state")
            assert state == await market.get("/market/state")
            await market.post("/simulation/step")
            async with asyncio.timeout(5):
                while (await market.get("/state"))["tick"] == state["tick"]:
                    pass
            assert (await market.get("/state"))["tick"] == state["tick"] + 1
            assert (await market.get("/health"))["running"] is False
            await market.post("/simulation/start")
            await market.until("running")

    asyncio.run(main())


def test_what_the_api_was_told_is_in_the_journal(tmp_path: Path) -> None:
    """News and commands are events of the record, with who said them; listeners hear of news from the record."""

    async def main() -> None:
        async with running(tmp_path) as market, market.client.ws_connect(market.url + "/ws") as socket:
            assert (await socket.receive_json())["type"] == "snapshot"
            await market.post("/news", text="<b>ACME</b> wins", tone=0.5, symbols=["ACME"], source="me")
            heard = set()
            async with asyncio.timeout(10):
                while not heard >= {"news", "ticker", "status"}:
                    message = await socket.receive_json()
                    heard.add(message["type"])
                    if message["type"] == "news":
                        assert message["data"]["text"] == "<b>ACME</b> wins"
                        await market.post("/simulation/pause", reason="enough")

    asyncio.run(main())
    records = [record.event for record in read_records(Disk(tmp_path / "run"))]
    news = [event for event in records if type(event).__name__ == "NewsArrived"]
    commands = [(event.command, event.reason) for event in records if isinstance(event, OperatorCommand)]
    assert [(event.text, event.tone, event.symbols, event.source) for event in news] == [
        ("<b>ACME</b> wins", 0.5, ("ACME",), "me")
    ]
    assert commands == [("pause", "enough"), ("stop", "operator")]


def test_an_ended_market_is_told_nothing(tmp_path: Path) -> None:
    """After a stop the state can still be read; commands answer 409."""

    async def main() -> None:
        async with running(tmp_path) as market:
            await market.post("/simulation/stop", reason="done")
            await market.until("ended")
            assert (await market.get("/state"))["status"] == "ended"
            async with market.client.post(market.url + "/simulation/start", json={}) as answer:
                assert answer.status == 409

    asyncio.run(main())


def test_the_intervals_are_those_of_the_exchange() -> None:
    """What the document offers is what is kept."""
    assert tuple(INTERVALS_S) == INTERVALS
