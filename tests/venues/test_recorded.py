"""Playing recordings: the same events each time, resumable, and on the run's clock."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest

from agora.domain.errors import UsageFault
from agora.domain.events import (
    MARKET_TYPES,
    Event,
    FeedEnded,
    FeedGap,
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketTrade,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_S
from agora.venues.importers import import_files
from agora.venues.recorded import RecordedFeed, open_recording
from agora.venues.recording import Origin, RecordedEvent, write_recording


class ToldClock:
    """A manual clock: it is as late as it was told."""

    def __init__(self, now_ns: int) -> None:
        self.ns = now_ns

    def now_ns(self) -> int:
        """The time."""
        return self.ns

    def wall_ns(self) -> int:
        """Not asked for."""
        return self.ns

    def advance(self, ts_ns: int) -> None:
        """It is at least that late."""
        self.ns = max(self.ns, ts_ns)

    async def sleep_until(self, ts_ns: int) -> None:
        """Be there."""
        self.advance(ts_ns)


class RunningClock(ToldClock):
    """A clock that runs by itself: telling it the time does nothing, sleeping passes time; `slept` is when it did."""

    def __init__(self, now_ns: int) -> None:
        super().__init__(now_ns)
        self.slept: list[int] = []

    def advance(self, ts_ns: int) -> None:
        """Ignored."""

    async def sleep_until(self, ts_ns: int) -> None:
        """Time passes."""
        self.slept.append(ts_ns)
        self.ns = max(self.ns, ts_ns)


def trade(ts_ns: int, price_ticks: int = 1_000, symbol: str = "BTCUSDT") -> MarketTrade:
    """A trade of one lot."""
    return MarketTrade(ts_ns=ts_ns, instrument=symbol, price_ticks=price_ticks, size_lots=1, aggressor=1)


def recording_of(path: Path, events: Iterable[RecordedEvent], *symbols: str, interval_s: int = 0) -> Path:
    """A recording of those instruments."""
    instruments = tuple(known_instrument(symbol) for symbol in symbols)
    write_recording(path, events, origin=Origin(instruments=instruments, interval_s=interval_s, sources=()))
    return path


def recorded(folder: Path, events: Iterable[RecordedEvent]) -> Path:
    """A recording of those events."""
    path = folder / "a.parquet"
    write_recording(path, events, origin=Origin(instruments=(known_instrument("BTCUSDT"),), interval_s=0, sources=()))
    return path


def test_a_source_says_what_it_holds(tmp_path: Path) -> None:
    """Instrument, span and interval are known before the first event is read."""
    source = open_recording(recorded(tmp_path, [trade(5), trade(9)]))
    assert [instrument.symbol for instrument in source.instruments] == ["BTCUSDT"]
    assert (source.first_ts_ns, source.last_ts_ns, source.interval_s) == (5, 9, 0)
    assert list(source.events()) == [trade(5), trade(9)]


def test_a_source_plays_the_same_each_time(tmp_path: Path) -> None:
    """Reading twice gives equal events: nothing is left over from the first time."""
    source = open_recording(recorded(tmp_path, [trade(ts_ns, 1_000 + ts_ns % 7) for ts_ns in range(1, 500)]))
    assert list(source.events()) == list(source.events())


@pytest.mark.requirement("B4")
def test_what_the_screen_drops_becomes_a_notice(tmp_path: Path) -> None:
    """A recording made by others is screened again: bad events come as counted notices, good ones go on."""
    events = [trade(1), trade(2, -5), trade(3, -5), trade(4)]
    played = list(open_recording(recorded(tmp_path, events)).events())
    assert [event for event in played if isinstance(event, MarketTrade)] == [trade(1), trade(4)]
    notices = [event for event in played if isinstance(event, FeedMalformed)]
    assert [(notice.reason, notice.count, notice.ts_ns) for notice in notices] == [
        ("not_positive", 1, 2),
        ("not_positive", 1, 4),
    ]


def test_recorded_faults_are_said_at_a_bounded_rate(tmp_path: Path) -> None:
    """A thousand faults within a second are two notices whose counts add up."""
    faults = [FeedMalformed(ts_ns=1 + n, reason="crossed", count=1, sample=f"line {n}") for n in range(1_000)]
    played = list(open_recording(recorded(tmp_path, [trade(1), *faults, trade(2_000)])).events())
    notices = [event for event in played if isinstance(event, FeedMalformed)]
    assert [notice.count for notice in notices] == [1, 999]


def test_a_dropped_depth_message_is_a_gap_of_the_book(tmp_path: Path) -> None:
    """Whoever follows the book learns that it is no longer to be trusted."""
    bad = MarketDepth(ts_ns=2, instrument="BTCUSDT", levels=((1, -1, 5),))
    played = list(open_recording(recorded(tmp_path, [trade(1), bad])).events())
    assert [type(event) for event in played] == [MarketTrade, FeedGap, FeedMalformed]


@pytest.mark.parametrize("seen", [0, 1, 7, 19, 20])
def test_a_run_goes_on_after_the_market_events_it_has_seen(tmp_path: Path, seen: int) -> None:
    """`events(after=n)` is the tail of `events()` behind the n-th market event, faults included."""
    events: list[RecordedEvent] = []
    for ts_ns in range(1, 21):
        events += [
            trade(ts_ns, 1_000 if ts_ns % 6 else -1),
            FeedMalformed(ts_ns=ts_ns, reason="crossed", count=1, sample="x"),
            FeedGap(ts_ns=ts_ns, instrument="BTCUSDT", reason="missing_bars: 1"),
        ]
    source = open_recording(recorded(tmp_path, events))
    everything = list(source.events())
    places = [place for place, event in enumerate(everything) if type(event) in MARKET_TYPES]
    begin = 0 if seen == 0 else places[seen - 1] + 1 if seen <= len(places) else len(everything)
    assert list(source.events(after=seen)) == everything[begin:]


@pytest.mark.requirement("B54")
def test_a_recording_of_another_symbol_is_refused(tmp_path: Path) -> None:
    """Asking for a symbol that is not inside is a usage fault that says what is."""
    with pytest.raises(UsageFault, match="BTCUSDT"):
        open_recording(recorded(tmp_path, [trade(1)]), "ETHUSDT")


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    """Nothing to play is said at once, not after a run of nothing."""
    with pytest.raises(UsageFault, match="empty"):
        open_recording(recorded(tmp_path, []))


def test_original_files_and_their_recording_play_alike(tmp_path: Path) -> None:
    """Importing first changes nothing that a run sees."""
    original = tmp_path / "BTCUSDT.csv"
    rows = [f"{(1_700_000_040 + 60 * n) * 1_000},100.1,100.{n},100.0,100.1,1.5" for n in (2, 3, 4, 6, 7)]
    original.write_text("timestamp,open,high,low,close,volume\n" + "\n".join([*rows, "x,y"]))
    report = import_files([original], out=tmp_path / "a.parquet")
    direct, imported = open_recording(original), open_recording(Path(report.out))
    assert list(direct.events()) == list(imported.events())
    assert (direct.first_ts_ns, direct.last_ts_ns) == (imported.first_ts_ns, imported.last_ts_ns)
    kinds = [type(event) for event in imported.events()]
    assert kinds == [
        FeedMalformed,
        MarketCandle,
        MarketCandle,
        MarketCandle,
        FeedGap,
        MarketCandle,
        MarketCandle,
    ]


# The feed.


def test_a_told_clock_takes_the_time_of_each_event() -> None:
    """At full speed events come at once and the clock is as late as the newest of them."""

    async def scenario() -> None:
        clock = ToldClock(1)
        feed = RecordedFeed([trade(5), trade(9)], clock)
        assert await feed.next(100) == trade(5)
        assert clock.now_ns() == 5
        assert await feed.next(100) == trade(9)
        assert clock.now_ns() == 9

    asyncio.run(scenario())


def test_an_event_after_the_deadline_waits_for_the_next_call() -> None:
    """Until the deadline nothing happened; the event is not lost."""

    async def scenario() -> None:
        clock = ToldClock(1)
        feed = RecordedFeed([trade(50)], clock)
        assert await feed.next(20) is None
        assert clock.now_ns() == 20
        assert await feed.next(49) is None
        assert await feed.next(50) == trade(50)

    asyncio.run(scenario())


def test_the_end_is_said_once() -> None:
    """After the last event comes `FeedEnded` at its time, then only deadlines."""

    async def scenario() -> None:
        clock = ToldClock(1)
        feed = RecordedFeed([trade(5)], clock)
        assert await feed.next(100) == trade(5)
        assert await feed.next(100) == FeedEnded(ts_ns=5)
        assert await feed.next(100) is None
        assert clock.now_ns() == 100
        assert await feed.next(200) is None
        assert clock.now_ns() == 200

    asyncio.run(scenario())


def test_a_feed_of_nothing_ends_now() -> None:
    """Without events the end is at the time of the clock."""

    async def scenario() -> None:
        feed = RecordedFeed([], ToldClock(7))
        assert await feed.next(100) == FeedEnded(ts_ns=7)

    asyncio.run(scenario())


def test_a_running_clock_is_waited_for_and_never_past_the_deadline() -> None:
    """A paced feed sleeps until the event or the deadline, whichever is earlier, and not at all when it is late."""

    async def scenario() -> None:
        clock = RunningClock(1)
        feed = RecordedFeed([trade(5), trade(50)], clock, is_paced=True)
        assert feed.is_paced
        assert await feed.next(100) == trade(5)
        assert await feed.next(20) is None
        clock.ns = 60
        assert await feed.next(clock.now_ns()) == trade(50)
        assert clock.slept == [5, 20]

    asyncio.run(scenario())


# Recordings of real markets.


def test_seventy_three_thousand_minutes_play_with_funding(recorded_data: Path) -> None:
    """The two perpetual files and the funding rates are one series without a hole, each bar at its end."""
    names = [
        "candles/binance_perp_BTCUSDT_1m_20250525_20250624.feather",
        "candles/binance_perp_BTCUSDT_1m_20250504_20250603.feather",
        "funding/binance_perp_BTCUSDT_8h_20230101_20251206.feather",
    ]
    source = open_recording([recorded_data / name for name in names])
    events: list[Event] = list(source.events())
    candles = [event for event in events if isinstance(event, MarketCandle)]
    rates = [event for event in events if isinstance(event, MarketFundingRate)]
    assert (len(candles), len(rates), len(events)) == (73_139, 153, 73_292)
    assert source.interval_s == 60
    # 2025-05-04 15:33 UTC is the beginning of the first bar, 2025-06-24 10:31 that of the last.
    assert candles[0].ts_ns == 1_746_372_780 * NS_PER_S + 60 * NS_PER_S == source.first_ts_ns
    assert candles[-1].ts_ns == 1_750_761_060 * NS_PER_S + 60 * NS_PER_S == source.last_ts_ns
    assert all(rate.ts_ns % (8 * 3_600 * NS_PER_S) == 0 for rate in rates)


def test_a_candle_comes_before_the_funding_of_its_moment(recorded_data: Path) -> None:
    """At 08:00 the bar that ended is known first: its close is the price at which funding is paid."""
    names = [
        "candles/binance_perp_BTCUSDT_1m_20250525_20250624.feather",
        "funding/binance_perp_BTCUSDT_8h_20230101_20251206.feather",
    ]
    events = list(open_recording([recorded_data / name for name in names]).events())
    before = [a for a, b in itertools.pairwise(events) if isinstance(b, MarketFundingRate)]
    after = [b for _, b in itertools.pairwise(events) if isinstance(b, MarketFundingRate)]
    assert [event.ts_ns for event in before] == [event.ts_ns for event in after]
    assert len(after) > 80


def test_a_tick_feed_starts_without_being_read_to_its_end(recorded_data: Path) -> None:
    """The first event of 3.6 MB of messages is there after a look at the first lines."""
    source = open_recording(recorded_data / "ticks/binance_usdm_btcusdt_20240808_2354.wsfeed.gz")
    assert source.last_ts_ns is None
    assert next(source.events()).ts_ns == source.first_ts_ns == 1_723_161_255_088_169_167


# Several instruments.


def test_recordings_of_several_instruments_are_played_together_in_order_of_time(tmp_path: Path) -> None:
    """At equal times in the order of the files; the whole begins with the first and ends with the last."""
    btc = recording_of(tmp_path / "b.parquet", [trade(2), trade(5), trade(9)], "BTCUSDT")
    eth = recording_of(tmp_path / "e.parquet", [trade(1, symbol="ETHUSDT"), trade(5, symbol="ETHUSDT")], "ETHUSDT")
    source = open_recording([btc, eth], "BTCUSDT", "ETHUSDT")
    for _ in range(2):
        played = [(event.ts_ns, event.instrument) for event in source.events()]  # type: ignore[union-attr]
        assert played == [(1, "ETHUSDT"), (2, "BTCUSDT"), (5, "BTCUSDT"), (5, "ETHUSDT"), (9, "BTCUSDT")]
    assert [instrument.symbol for instrument in source.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert (source.first_ts_ns, source.last_ts_ns, source.interval_s) == (1, 9, 0)
    assert len(list(source.events(after=3))) == 2


def test_one_recording_may_hold_several_instruments(tmp_path: Path) -> None:
    """As a recorder writes it."""
    both = recording_of(tmp_path / "b.parquet", [trade(2), trade(5, symbol="ETHUSDT")], "BTCUSDT", "ETHUSDT")
    source = open_recording(both, "ETHUSDT", "BTCUSDT")
    assert [event.instrument for event in source.events()] == ["BTCUSDT", "ETHUSDT"]  # type: ignore[union-attr]


def candle_file(folder: Path, symbol: str, *, minutes: int = 3) -> Path:
    """Candles of a minute in a text file whose name says of what."""
    path = folder / f"{symbol}_1m.csv"
    rows = [f"{1_700_000_040_000 + 60_000 * number},100,101,99,100,{number + 1}" for number in range(minutes)]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")
    return path


def test_original_files_of_several_instruments_are_told_apart_by_their_names(tmp_path: Path) -> None:
    """Each is its own series; both together are one source."""
    files = [candle_file(tmp_path, "BTCUSDT"), candle_file(tmp_path, "ETHUSDT", minutes=2)]
    source = open_recording(files, "BTCUSDT", "ETHUSDT")
    assert source.interval_s == 60
    played = [(event.ts_ns // NS_PER_S % 600, event.instrument) for event in source.events()]  # type: ignore[union-attr]
    assert sorted(played) == played
    assert [symbol for _, symbol in played] == ["BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT", "BTCUSDT"]


def test_files_that_are_not_of_several_instruments_are_refused(tmp_path: Path) -> None:
    """Nothing of one, one twice, ticks beside candles, a file that does not say of what it is."""
    btc = recording_of(tmp_path / "b.parquet", [trade(2)], "BTCUSDT")
    again = recording_of(tmp_path / "c.parquet", [trade(3)], "BTCUSDT")
    eth = recording_of(tmp_path / "e.parquet", [trade(1, symbol="ETHUSDT")], "ETHUSDT")
    candles = candle_file(tmp_path, "ETHUSDT")
    unnamed = candle_file(tmp_path, "ETHUSDT").rename(tmp_path / "prices.csv")
    candles = candle_file(tmp_path, "ETHUSDT")
    for files, what in (
        ([btc, again], "no data of ETHUSDT"),
        ([btc, again, eth], "BTCUSDT is in more than one recording"),
        ([btc, candles], "different lengths of bar"),
        ([btc, unnamed], "says of which of BTCUSDT, ETHUSDT it is"),
    ):
        with pytest.raises(UsageFault, match=what):
            open_recording(files, "BTCUSDT", "ETHUSDT")
