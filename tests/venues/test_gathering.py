"""Recordings of a venue: its live market with the holes of the connection, and its past over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agora.domain.errors import StartFault, UsageFault
from agora.domain.events import (
    FeedConnected,
    FeedGap,
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    kind_of,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.ccxt_feed import Library
from agora.venues.gathering import Place, fetch_history, record_live
from agora.venues.provider_settings import ProviderSettings
from agora.venues.recorded import open_recording
from agora.venues.recording import Recording, RecordingFacts
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.bitunix.market_end import OTHER, START_NS, SYMBOL, MarketEnd, bar_price
from tests.venues.test_ccxt_feed import Exchange, ExchangeError

MINUTE_NS = 60 * NS_PER_S
Work = Callable[[Place, MarketEnd], Awaitable[RecordingFacts]]


def gathered(work: Work, *, provider: str = "bitunix", **end: Any) -> RecordingFacts:
    """Do some work at a venue in virtual time."""

    async def main() -> RecordingFacts:
        clock = VirtualClock()
        venue = MarketEnd(clock, **end)
        async with serving(venue.app()) as url:
            settings = BitunixSettings(rest_url=url, public_ws=url.replace("http", "ws") + "/public/", start_s_max=20)
            place = Place(
                provider=provider,
                bitunix=settings,
                settings=ProviderSettings(),
                clock=clock,
                network=Network(Connector),
                library=lambda _: Library(Exchange(clock), (ExchangeError,)),
            )
            return await work(place, venue)

    return run_networked(main(), seed=1, start_ns=START_NS)


def leftovers(folder: Path) -> list[str]:
    """What is in a folder besides recordings."""
    return [path.name for path in folder.iterdir() if path.suffix != ".parquet"]


def test_a_live_market_is_recorded_for_its_time_and_can_be_played(tmp_path: Path) -> None:
    """Both symbols, with the steps of the venue; and nothing else is left behind."""
    out = tmp_path / "live.parquet"

    async def work(place: Place, _: MarketEnd) -> RecordingFacts:
        return await record_live(place, [SYMBOL, OTHER], out=out, duration_s=60, listening=asyncio.Event)

    facts = gathered(work)
    assert [item.symbol for item in facts.instruments] == [SYMBOL, OTHER]
    assert facts.instruments[1].tick_size == "0.01"
    assert facts.counts[kind_of(MarketQuote)] > 100
    assert facts.counts[kind_of(MarketDepth)] >= 2
    assert facts.counts[kind_of(MarketFundingRate)] == 2
    assert facts.faults == {}
    assert facts.first_ts_ns is not None
    assert facts.last_ts_ns is not None
    assert 58 * NS_PER_S < facts.last_ts_ns - facts.first_ts_ns <= 61 * NS_PER_S
    played = list(open_recording(out, SYMBOL).events())
    assert sum(isinstance(event, MarketQuote) for event in played) == facts.counts[kind_of(MarketQuote)]
    assert leftovers(tmp_path) == []


def test_what_the_connection_lost_and_what_was_dirt_is_in_the_recording(tmp_path: Path) -> None:
    """As a gap, and as a count."""
    out = tmp_path / "live.parquet"

    async def work(place: Place, venue: MarketEnd) -> RecordingFacts:
        async def disturb() -> None:
            await venue.clock.sleep_until(START_NS + 20 * NS_PER_S)
            await venue.reset()
            venue.is_garbage = True
            await venue.clock.sleep_until(START_NS + 30 * NS_PER_S)
            venue.is_garbage = False

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(disturb())
            return await record_live(place, [SYMBOL], out=out, duration_s=60, listening=asyncio.Event)

    facts = gathered(work)
    assert facts.counts[kind_of(FeedGap)] == 1
    assert facts.faults["unparsable"] > 10


def test_a_recording_that_is_ended_early_keeps_what_there_is(tmp_path: Path) -> None:
    """Within a moment of the wish."""
    out = tmp_path / "live.parquet"
    stop = asyncio.Event()

    async def work(place: Place, venue: MarketEnd) -> RecordingFacts:
        async def wish() -> None:
            await venue.clock.sleep_until(START_NS + 20 * NS_PER_S)
            stop.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wish())
            facts = await record_live(place, [SYMBOL], out=out, duration_s=3_600, listening=lambda: stop)
        assert place.clock.now_ns() < START_NS + 22 * NS_PER_S
        return facts

    assert gathered(work).counts[kind_of(MarketQuote)] > 20


@pytest.mark.parametrize("trouble", [{"is_down": True}, {"is_mute": True}])
def test_a_venue_that_tells_nothing_leaves_no_file(tmp_path: Path, trouble: dict[str, Any]) -> None:
    """Neither a recording nor a part of one."""

    async def work(place: Place, _: MarketEnd) -> RecordingFacts:
        return await record_live(place, [SYMBOL], out=tmp_path / "x.parquet", duration_s=60, listening=asyncio.Event)

    with pytest.raises(StartFault):
        gathered(work, **trouble)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("provider", ["bitunix", "ccxt:x"])
def test_the_past_is_fetched_as_bars(tmp_path: Path, provider: str) -> None:
    """Each minute of the span once, across several calls, oldest first."""
    out = tmp_path / "past.parquet"
    end_ns = START_NS - START_NS % MINUTE_NS
    begin_ns = end_ns - 5_000 * MINUTE_NS

    async def work(place: Place, _: MarketEnd) -> RecordingFacts:
        return await fetch_history(place, SYMBOL, out=out, interval_s=60, span_ns=(begin_ns, end_ns))

    facts = gathered(work, provider=provider)
    candles = [event for event in Recording(out).events() if isinstance(event, MarketCandle)]
    assert [candle.ts_ns for candle in candles] == list(range(begin_ns + MINUTE_NS, end_ns + 1, MINUTE_NS))
    assert facts.interval_s == 60
    assert facts.faults == {}
    eight_ns = 28_800 * NS_PER_S
    settled = range(-(-(begin_ns + 1) // eight_ns) * eight_ns, end_ns + 1, eight_ns)
    rates = [event for event in Recording(out).events() if isinstance(event, MarketFundingRate)]
    assert rates == [MarketFundingRate(ts_ns=ts_ns, instrument=SYMBOL, rate_ppb=100_000) for ts_ns in settled]
    if provider == "bitunix":
        assert candles[7].open_ticks == 10 * bar_price(begin_ns // NS_PER_S + 7 * 60)
    assert leftovers(tmp_path) == []


def test_funding_comes_after_the_bar_of_its_moment(tmp_path: Path) -> None:
    """Its close is the price at which it is paid; rates are fractions over REST."""
    out = tmp_path / "past.parquet"
    settled_ns = START_NS // (28_800 * NS_PER_S) * 28_800 * NS_PER_S

    async def work(place: Place, _: MarketEnd) -> RecordingFacts:
        span_ns = (settled_ns - 10 * MINUTE_NS, settled_ns)
        return await fetch_history(place, SYMBOL, out=out, interval_s=60, span_ns=span_ns)

    gathered(work)
    *_, bar, funding = Recording(out).events()
    assert isinstance(bar, MarketCandle)
    assert funding == MarketFundingRate(ts_ns=settled_ns, instrument=SYMBOL, rate_ppb=100_000)
    assert bar.ts_ns == settled_ns


@pytest.mark.parametrize(
    "interval_s,minutes,fault,words",
    [
        (60, 0, UsageFault, "1 to"),
        (1_800, 600, StartFault, "no bars|502|lost"),
        (14_401, 600, UsageFault, "has no bars"),
    ],
)
def test_what_cannot_be_fetched_is_named(
    tmp_path: Path, interval_s: int, minutes: int, fault: type[Exception], words: str
) -> None:
    """An empty span, a venue that fails, a length that it has not."""
    end_ns = START_NS - START_NS % (28_800 * NS_PER_S)

    async def work(place: Place, venue: MarketEnd) -> RecordingFacts:
        venue.rest_fails = interval_s == 1_800
        span_ns = (end_ns - minutes * MINUTE_NS, end_ns)
        return await fetch_history(place, SYMBOL, out=tmp_path / "x.parquet", interval_s=interval_s, span_ns=span_ns)

    with pytest.raises(fault, match=words):
        gathered(work)
    assert list(tmp_path.iterdir()) == []


def test_missing_bars_are_a_gap_and_bad_ones_are_named(tmp_path: Path) -> None:
    """As in an import."""
    out = tmp_path / "past.parquet"
    end_ns = START_NS - START_NS % MINUTE_NS

    class Patchy(Exchange):
        async def fetch_ohlcv(self, *args: Any, **keys: Any) -> list[list[float]]:
            """Without the third and fourth bar of each answer, and with a sixth whose high is its lowest."""
            rows = await super().fetch_ohlcv(*args, **keys)
            if len(rows) > 6:
                rows[5][2] = 1.0
            return rows[:2] + rows[4:]

    async def work(place: Place, _: MarketEnd) -> RecordingFacts:
        clock = place.clock
        assert isinstance(clock, VirtualClock)
        library = Library(Patchy(clock), (ExchangeError,))
        broken = Place(
            provider="ccxt:x",
            bitunix=place.bitunix,
            settings=place.settings,
            clock=clock,
            network=place.network,
            library=lambda _: library,
        )
        return await fetch_history(broken, SYMBOL, out=out, interval_s=60, span_ns=(end_ns - 20 * MINUTE_NS, end_ns))

    facts = gathered(work)
    events = list(Recording(out).events())
    assert [event.reason for event in events if isinstance(event, FeedGap)] == [
        "missing_bars: 2 before this one",
        "missing_bars: 1 before this one",
    ]
    assert [event.reason for event in events if isinstance(event, FeedMalformed)] == ["ohlc"]
    assert facts.counts[kind_of(MarketCandle)] == 17
    assert FeedConnected not in {type(event) for event in events}
