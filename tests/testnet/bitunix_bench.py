"""A loopback Bitunix for tests, in virtual time or on real sockets, with our own client and with raw requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.exchange.perp_records import PerpTrade
from agora.session.clock import PacedClock, monotonic_ns
from agora.testnet.bitunix import BitunixTestnet, bitunix_testnet
from agora.testnet.bitunix_calls import PREFIX
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.bitunix.client import BitunixClient, Credentials, PlaceRequest
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.signing import query_text, sign_rest
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, NetworkLoop, run_networked, serving

# A quarter of an hour before midnight UTC of some day.
START_NS = 1_790_466_300 * NS_PER_S
BTC, ETH = "BTCUSDT", "ETHUSDT"
COIN = {"marginCoin": "USDT"}
Result = TypeVar("Result")


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        """The whole JSON."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def data(self) -> Any:
        """The data of an answer that went well."""
        assert self.envelope["code"] == 0, self.envelope
        return self.envelope["data"]

    @property
    def code(self) -> int:
        """The venue's code."""
        return int(self.envelope["code"])


@dataclass
class Bench:
    """A running venue and ways to talk to it."""

    venue: BitunixTestnet
    client: BitunixClient
    session: aiohttp.ClientSession
    clock: Any

    @property
    def account(self) -> Any:
        """The first account."""
        return next(iter(self.venue.world.accounts.values()))

    @property
    def number(self) -> int:
        """Its number at the exchange."""
        return int(self.account.number)

    async def rest(self, seconds: float) -> None:
        """Let the venue's time pass."""
        await self.clock.sleep_until(self.clock.now_ns() + int(seconds * NS_PER_S))

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """A request as it is, signed by nobody."""
        url = options.pop("url", self.venue.urls["rest"]) + path
        async with self.session.request(method, url, **options) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def get(self, path: str, **query: str) -> Answer:
        """A public call."""
        words = f"?{urlencode(query)}" if query else ""
        return await self.send("GET", f"{PREFIX}{path}{words}")

    async def signed(
        self,
        path: str,
        body: Any = None,
        *,
        account: Any = None,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109  the library's own
        **query: str,
    ) -> Answer:
        """A signed call of the first account, or of another: with a body a POST."""
        owner = account or self.account
        raw = b"" if body is None else json.dumps(body).encode()
        headers = sign(Credentials(owner.api_key, owner.api_secret), query, raw, now_ns=self.clock.now_ns())
        words = f"?{urlencode(query)}" if query else ""
        method = "GET" if body is None else "POST"
        options = {"timeout": timeout} if timeout is not None else {}
        return await self.send(method, f"{PREFIX}{path}{words}", headers=headers, data=raw or None, **options)

    async def control(self, method: str, path: str, body: Any = None) -> Answer:
        """A call to the control port."""
        raw = None if body is None else json.dumps(body)
        return await self.send(method, path, url=self.venue.control, data=raw)

    async def place(self, side: Side, qty: str, price: str = "", **terms: Any) -> Any:
        """An order through our own client; at market without a price."""
        kind = "LIMIT" if price else "MARKET"
        named = {"symbol": BTC, "client_id": f"c{self.venue.log.count}", **terms}
        return await self.client.place(PlaceRequest(side=side, order_type=kind, qty=qty, price=price, **named))

    def far(self, side: Side, share: float = 0.02, symbol: str = BTC) -> str:
        """A price so far from the market that an order rests there."""
        instrument = self.venue.world.exchange.listing(symbol).instrument
        ticks = self.venue.world.exchange.mark_ticks(symbol)
        return instrument.price_text(round(ticks * (1 - share * side)))


def sign(
    credentials: Credentials, query: dict[str, str], raw: bytes, *, now_ns: int, nonce: str = "0" * 32
) -> dict[str, str]:
    """The headers of a signed call."""
    timestamp = str(now_ns // 1_000_000)
    signature = sign_rest(
        credentials, nonce=nonce, timestamp=timestamp, query=query_text(query), body=raw.decode("utf-8", "replace")
    )
    return {"api-key": credentials.api_key, "nonce": nonce, "timestamp": timestamp, "sign": signature}


@asynccontextmanager
async def bench(*, faults: bytes = b"[]", is_real: bool = False, **settings: Any) -> AsyncIterator[Bench]:
    """A venue of few bars on the virtual network, or on real loopback sockets."""
    wanted = BitunixTestnetSettings(**{"history_minutes": 5, **settings})
    clock: Any = PacedClock() if is_real else VirtualClock()
    if is_real:
        running = bitunix_testnet(wanted, clock=clock, monotonic_ns=monotonic_ns, faults=faults)
        network = Network()
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NetworkLoop)
        running = bitunix_testnet(wanted, clock=clock, monotonic_ns=loop.now_ns, faults=faults, serve=serving)
        network = Network(Connector)
    async with running as venue, network.session() as session:
        said = venue.announcement()
        keys = Credentials(said["accounts"][0]["api_key"], said["accounts"][0]["api_secret"])
        there = BitunixSettings(rest_url=said["urls"]["rest"])
        client = BitunixClient(network, keys, clock=clock, seed=1, settings=there)
        try:
            yield Bench(venue, client, session, clock)
        finally:
            await client.close()


def in_virtual_time(story: Callable[[Bench], Coroutine[Any, Any, Result]], **settings: Any) -> Result:
    """Play a story with a bench of its own; the venue's books must be sound at its end."""

    async def play() -> Result:
        async with bench(**settings) as it:
            result = await story(it)
            check_books(it.venue)
            return result

    return run_networked(play(), seed=1, start_ns=START_NS)


def check_books(venue: BitunixTestnet) -> None:
    """Everything adds up: at the exchange, and in the ledger of every account."""
    venue.world.exchange.check()
    for account in venue.ledger()["accounts"]:
        units = {name: account[f"{name}_units"] for name in ("cash", "deposits", "realised", "fees", "funding")}
        assert units["cash"] == units["deposits"] + units["realised"] - units["fees"] + units["funding"]
        assert account["cash_units"] == account["available_units"] + account["frozen_units"] + account["margin_units"]
        lots: dict[str, int] = dict.fromkeys(account["net_lots"], 0)
        for fill in account["fills"]:
            if not fill["is_busted"]:
                lots[fill["symbol"]] += fill["size_lots"] * (1 if fill["side"] == "BUY" else -1)
        assert lots == account["net_lots"]


def told(venue: BitunixTestnet) -> list[Any]:
    """A list that gets everything the exchange tells from now on."""
    changes: list[Any] = []
    venue.world.listen(changes.extend)
    return changes


def trades_of(bench: Bench) -> list[PerpTrade]:
    """The first account's trades."""
    return list(bench.venue.world.exchange.trades(bench.number))
