"""What is found out before a live run, and what is set: against the loopback venue, over its real protocol."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from agora.domain.errors import StartFault
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.domain.orders import Side
from agora.testnet.bitunix import BitunixTestnet, bitunix_testnet
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.bitunix.client import BitunixClient, Credentials
from agora.venues.bitunix.preflight import instruments_of, look, prepare
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import PlaceRequest
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.bitunix.live import START_NS

SYMBOLS = ("BTCUSDT", "ETHUSDT")
Result = TypeVar("Result")


@dataclass
class Desk:
    """A client of a funded account, its settings, and the venue."""

    client: BitunixClient
    settings: BitunixSettings
    venue: BitunixTestnet
    clock: VirtualClock


def visit(
    scene: Callable[[Desk], Coroutine[Any, Any, Result]],
    *,
    faults: bytes = b"[]",
    key: str = "",
    testnet: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """Play a scene at the loopback venue, in virtual time."""

    async def main() -> Result:
        clock = VirtualClock()
        server = bitunix_testnet(
            BitunixTestnetSettings(history_minutes=0, **(testnet or {})),
            clock=clock,
            monotonic_ns=clock.now_ns,
            faults=faults,
            serve=serving,
        )
        async with server as venue:
            account = venue.announcement()["accounts"][0]
            settings = BitunixSettings(rest_url=venue.urls["rest"], **changes)
            credentials = Credentials(key or account["api_key"], account["api_secret"])
            client = BitunixClient(Network(Connector), credentials, clock=clock, seed=1, settings=settings)
            try:
                return await scene(Desk(client, settings, venue, clock))
            finally:
                await client.close()

    return run_networked(main(), seed=1, start_ns=START_NS)


def test_a_prepared_account_has_no_problems() -> None:
    """A fresh account is set as the settings say, once; then everything about it is a fact."""

    async def scene(desk: Desk) -> None:
        changed = await prepare(desk.client, SYMBOLS, desk.settings)
        assert {"BTCUSDT leverage 10x", "ETHUSDT leverage 10x"} <= set(changed)
        assert await prepare(desk.client, SYMBOLS, desk.settings) == []
        found = await look(desk.client, SYMBOLS, desk.settings)
        assert found.problems == []
        assert found.cash_units == 10_000 * MONEY_SCALE
        assert found.facts["keys"] == "accepted"
        assert found.facts["balance"] == "10000.00 USDT"
        assert found.facts["position mode"] == "ONE_WAY"
        assert {"BTCUSDT", "BTCUSDT tier", "BTCUSDT margin", "open orders BTCUSDT", "clock"} <= set(found.facts)

    visit(scene)


def test_an_account_that_is_not_as_the_settings_say_is_a_problem() -> None:
    """Looking changes nothing: the leverage is told, not set."""

    async def scene(desk: Desk) -> None:
        found = await look(desk.client, SYMBOLS, desk.settings)
        assert any("10x" in problem for problem in found.problems)
        again = await look(desk.client, SYMBOLS, desk.settings)
        assert again.problems == found.problems

    visit(scene)


def test_what_is_open_already_is_a_problem_and_keeps_the_account_as_it_is() -> None:
    """A position and an order of somebody else."""

    async def scene(desk: Desk) -> None:
        await prepare(desk.client, SYMBOLS, desk.settings)
        market = PlaceRequest(symbol="BTCUSDT", side=Side.BUY, order_type="MARKET", qty="0.01", client_id="a")
        resting = PlaceRequest(
            symbol="ETHUSDT", side=Side.BUY, order_type="LIMIT", effect="GTC", qty="0.01", price="2900", client_id="b"
        )
        await desk.client.place(market)
        await desk.client.place(resting)
        found = await look(desk.client, SYMBOLS, desk.settings)
        assert [problem.partition(" in ")[0] for problem in found.problems] == [
            "there is a position of 0.0100",
            "there are 1 open orders",
        ]
        other = BitunixSettings(rest_url=desk.settings.rest_url, leverage=5)
        assert await prepare(desk.client, SYMBOLS, other) == []

    visit(scene)


def test_wrong_keys_are_a_problem_and_no_fault() -> None:
    """What can be known without keys is still told."""

    async def scene(desk: Desk) -> None:
        found = await look(desk.client, SYMBOLS, desk.settings)
        assert any("keys" in problem for problem in found.problems)
        assert "OPEN" in found.facts["BTCUSDT"]
        with pytest.raises(StartFault, match="set up"):
            await prepare(desk.client, SYMBOLS, desk.settings)

    visit(scene, key="nobody")


def test_a_symbol_that_is_not_listed_is_a_problem() -> None:
    """And no instrument."""

    async def scene(desk: Desk) -> None:
        found = await look(desk.client, ("DOGEUSDT",), desk.settings)
        assert any("DOGEUSDT" in problem for problem in found.problems)
        with pytest.raises(StartFault, match="DOGEUSDT"):
            await instruments_of(desk.client, ("DOGEUSDT",), desk.settings)

    visit(scene)


def test_a_leverage_that_no_contract_allows_is_a_problem() -> None:
    """The contract's own limit is named."""

    async def scene(desk: Desk) -> None:
        found = await look(desk.client, ("BTCUSDT",), desk.settings)
        assert any("leverage" in problem for problem in found.problems)
        assert any("no tier" in problem for problem in found.problems)

    visit(scene, leverage=200)


def test_a_clock_that_is_off_is_a_problem() -> None:
    """Nothing is signed with it beyond a second."""

    async def scene(desk: Desk) -> None:
        await desk.clock.sleep_until(desk.clock.now_ns() + 5 * NS_PER_S)
        found = await look(desk.client, ("BTCUSDT",), desk.settings)
        assert any("clock" in problem for problem in found.problems)

    visit(scene, faults=b'[{"at_s":0,"for_s":600,"fault":"clock_skew","seconds":30,"target":"*"}]')


def test_instruments_are_as_the_venue_lists_them() -> None:
    """Steps are powers of ten, sizes whole lots, the maintenance of the first tier, fees of the settings."""

    async def scene(desk: Desk) -> None:
        found = await instruments_of(desk.client, SYMBOLS, desk.settings)
        bitcoin = found["BTCUSDT"]
        assert (bitcoin.tick_size, bitcoin.lot_size, bitcoin.lots_min) == ("0.1", "0.0001", 1)
        assert (bitcoin.maker_fee_ppm, bitcoin.taker_fee_ppm) == (150, 600)
        listed = desk.venue.world.exchange.listing("BTCUSDT")
        assert bitcoin.maintenance_ppm == listed.ladder[0].maintenance_ppm
        assert bitcoin.leverage_max == listed.ladder[0].leverage_max
        assert bitcoin.funding_interval_s == listed.funding_interval_s

    visit(scene, maker_fee_ppm=150)
