"""The feed against our own testnet with every fault of its market data: nothing false gets through, and it returns."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agora.domain.events import Event, FeedConnected, FeedLost, FeedMalformed, MarketDepth, MarketQuote, MarketTrade
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_S
from agora.testnet.bitunix import BitunixTestnet, bitunix_testnet
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.gathering import Place, fetch_history
from agora.venues.outlet import FeedWants
from agora.venues.provider_settings import ProviderSettings
from agora.venues.providers import Supply, build_provider
from agora.venues.recording import Recording
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving

SYMBOL = "BTCUSDT"
START_NS = 1_800_000_037 * NS_PER_S
AT_S, FOR_S, AFTER_S = 15, 20, 25


def supply_of(testnet: BitunixTestnet, clock: VirtualClock, *, lot_size: str = "0.0001") -> Supply:
    """What a feed of one symbol is made of."""
    instrument = known_instrument(SYMBOL)
    wanted = type(instrument)(
        symbol=SYMBOL, base="BTC", quote="USDT", tick_size=instrument.tick_size, lot_size=lot_size
    )
    return Supply(
        wants=FeedWants(instruments={SYMBOL: wanted}, intervals_s=(60,), history_bars=20),
        clock=clock,
        network=Network(Connector),
        bitunix=BitunixSettings(rest_url=testnet.urls["rest"], public_ws=testnet.urls["public_ws"]),
        settings=ProviderSettings(),
        seed=1,
    )


class Heard:
    """What a feed has told, and how often each fault has fired."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fired: dict[str, int] = {}

    def of(self, *kinds: type[Event]) -> list[Any]:
        """What was told of these kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    def between(self, begin_s: float, end_s: float) -> list[Any]:
        """Quotes of a part of the time."""
        begin_ns, end_ns = START_NS + int(begin_s * NS_PER_S), START_NS + int(end_s * NS_PER_S)
        return [quote for quote in self.of(MarketQuote) if begin_ns <= quote.ts_ns < end_ns]


def with_fault(fault: str, **keys: Any) -> Heard:
    """Listen for a minute, in the middle of which something goes wrong for twenty seconds."""
    plan = [{"at_s": AT_S, "for_s": FOR_S, "fault": fault, "target": "market", **keys}]

    async def main() -> Heard:
        clock, loop = VirtualClock(), asyncio.get_running_loop()
        heard = Heard()
        settings = BitunixTestnetSettings(symbols=(SYMBOL,), seed=7, daily_volatility=0.03)
        async with bitunix_testnet(
            settings,
            clock=clock,
            monotonic_ns=lambda: int(loop.time() * NS_PER_S),
            faults=json.dumps(plan).encode(),
            serve=serving,
        ) as testnet:
            feed = build_provider("bitunix", supply_of(testnet, clock))
            await feed.open()
            until_ns = START_NS + (AT_S + FOR_S + AFTER_S) * NS_PER_S
            while clock.now_ns() < until_ns:
                event = await feed.next(until_ns)
                heard.events += [] if event is None else [event]
            heard.fired = {
                row["fault"]: row["fired"] for row in json.loads(json.dumps(testnet.plan.report(), default=vars))
            }
            await feed.close()
        return heard

    return run_networked(main(), seed=1, start_ns=START_NS)


# What is expected besides that nothing false gets through: the count of a reason, or a loss.
FAULTS: list[tuple[str, dict[str, Any], set[str], bool]] = [
    ("malformed", {}, {"unparsable"}, True),
    ("malformed", {"p": 0.3, "seed": 1}, {"unparsable"}, False),
    ("not_a_number", {}, {"not_finite"}, True),
    ("huge", {}, {"too_long"}, True),
    ("deep", {}, {"unparsable"}, True),
    ("binary", {}, {"unparsable"}, True),
    ("wrong_price", {}, {"absurd_jump"}, True),
    ("wrong_price", {"p": 0.2, "seed": 1}, {"absurd_jump"}, False),
    ("crossed_book", {}, {"crossed"}, True),
    ("duplicate", {}, {"duplicate"}, False),
    ("out_of_order", {"p": 0.3, "seed": 1}, {"out_of_order"}, False),
    ("stale", {}, {"stale"}, True),
    ("future", {}, {"future"}, True),
    ("gap", {"p": 0.3, "seed": 1}, set(), False),
    ("ws_mute", {}, set(), True),
    ("ws_reset", {}, set(), True),
    ("ws_close", {}, set(), True),
    ("drop_pong", {}, set(), False),
    ("frozen_reference", {"target": "prices"}, set(), False),
]


@pytest.mark.requirement("B4")
@pytest.mark.parametrize(
    "fault,keys,reasons,is_lost", FAULTS, ids=[f"{row[0]}{'-some' if 'p' in row[1] else ''}" for row in FAULTS]
)
def test_nothing_false_gets_through_and_the_market_comes_back(
    fault: str, keys: dict[str, Any], reasons: set[str], is_lost: bool
) -> None:
    """Prices stay where the market is, the dirt is counted by its reason, and data flow within seconds of the end."""
    heard = with_fault(fault, **keys)
    assert heard.fired[fault] > 0
    assert reasons <= {event.reason for event in heard.of(FeedMalformed)}
    assert bool(heard.of(FeedLost)) == is_lost
    middles = [(quote.bid_ticks + quote.ask_ticks) / 2 for quote in heard.of(MarketQuote)]
    assert max(middles) < 1.02 * min(middles)
    assert all(min(middles) * 0.98 < trade.price_ticks < max(middles) * 1.02 for trade in heard.of(MarketTrade))
    assert all(quote.bid_ticks < quote.ask_ticks for quote in heard.of(MarketQuote))
    assert len(heard.between(AT_S + FOR_S + 12, AT_S + FOR_S + AFTER_S)) > 20
    assert heard.events[0].ts_ns - START_NS < 3 * NS_PER_S
    assert len(heard.of(FeedConnected)) == len(heard.of(FeedLost)) + 1


def test_a_mute_market_is_lost_in_time() -> None:
    """Six seconds, of which five are the bound."""
    heard = with_fault("ws_mute")
    (lost,) = heard.of(FeedLost)[:1]
    assert 4 * NS_PER_S < lost.ts_ns - START_NS - AT_S * NS_PER_S <= 6 * NS_PER_S


def test_trades_that_are_delivered_twice_are_counted_once() -> None:
    """The same frames twice make the same prints as once."""
    once, twice = with_fault("drop_pong"), with_fault("duplicate")
    sizes, again = ([trade.size_lots for trade in heard.of(MarketTrade)] for heard in (once, twice))
    assert len(sizes) > 150
    assert again == sizes


def test_depth_and_trades_of_the_testnet_are_told_in_its_steps() -> None:
    """The window of fifteen levels a side, twice the trades of a quiet day."""
    heard = with_fault("drop_pong")
    assert max(len(depth.levels) for depth in heard.of(MarketDepth)) == 30
    assert len(heard.of(MarketTrade)) > 60
    assert {trade.aggressor for trade in heard.of(MarketTrade)} == {1, -1}


def test_the_past_of_the_testnet_can_be_fetched(tmp_path: Any) -> None:
    """Its candles from before the start, in its steps."""

    async def main() -> None:
        clock, loop = VirtualClock(), asyncio.get_running_loop()
        settings = BitunixTestnetSettings(symbols=(SYMBOL,), seed=7, daily_volatility=0.03)
        async with bitunix_testnet(
            settings, clock=clock, monotonic_ns=lambda: int(loop.time() * NS_PER_S), serve=serving
        ) as testnet:
            supply = supply_of(testnet, clock)
            place = Place(
                provider="bitunix",
                bitunix=supply.bitunix,
                settings=supply.settings,
                clock=clock,
                network=supply.network,
            )
            end_ns = START_NS - START_NS % (60 * NS_PER_S)
            span_ns = (end_ns - 120 * 60 * NS_PER_S, end_ns)
            await fetch_history(place, SYMBOL, out=tmp_path / "x.parquet", interval_s=60, span_ns=span_ns)

    run_networked(main(), seed=1, start_ns=START_NS)
    facts = Recording(tmp_path / "x.parquet").facts
    assert facts.counts["market.candle"] == 120
    assert facts.faults == {}
