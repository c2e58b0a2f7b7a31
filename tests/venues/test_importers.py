"""Importers: each format from a few lines of it, everything malformed named, and the recordings of real markets."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from arro3.core import Array, DataType, RecordBatch
from arro3.io import write_ipc
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.errors import UsageFault
from agora.domain.events import (
    FeedGap,
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.import_rows import LINE_BYTES_MAX
from agora.venues.importers import import_files, plan_import, show_recording
from agora.venues.recording import RecordedEvent, Recording

T0_MS = 1_700_000_040_000  # a full minute
HOUR_MS = 3_600_000


def events_of(*paths: Path, symbol: str | None = None) -> list[RecordedEvent]:
    """Everything that files give."""
    return list(plan_import(paths, symbol).events())


def faults_of(events: Sequence[RecordedEvent]) -> list[str]:
    """The reasons of dropped rows and gaps in order."""
    return [event.reason.partition(":")[0] for event in events if isinstance(event, FeedMalformed | FeedGap)]


def text_file(folder: Path, name: str, lines: Sequence[str]) -> Path:
    """A plain text file, gzipped when its name says so."""
    path = folder / name
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


# Candles.

CANDLE_HEADER = "timestamp,open,high,low,close,volume"


def candle_rows(count: int, begin: int = 0) -> list[str]:
    """Minutes of slightly moving prices."""
    return [
        f"{T0_MS + 60_000 * n},{100 + n % 3}.1,{103 + n % 3}.0,{99 + n % 3}.0,{101 + n % 3}.2,1.2345"
        for n in range(begin, begin + count)
    ]


def candle_file(folder: Path, rows: Sequence[str], name: str = "BTCUSDT_1m.csv") -> Path:
    """A CSV of candles."""
    return text_file(folder, name, [CANDLE_HEADER, *rows])


@pytest.mark.parametrize("name", ["BTCUSDT_1m.csv", "btc-usdt-1m.csv.gz"])
def test_candles_carry_the_end_of_their_bar(tmp_path: Path, name: str) -> None:
    """A row says when its bar began; the event happens when it ended. Prices are exact, volumes rounded down."""
    events = events_of(candle_file(tmp_path, candle_rows(3), name))
    assert events[0] == MarketCandle(
        ts_ns=(T0_MS + 60_000) * 1_000_000,
        instrument="BTCUSDT",
        interval_s=60,
        open_ticks=1_001,
        high_ticks=1_030,
        low_ticks=990,
        close_ticks=1_012,
        volume_lots=1_234,
    )
    assert [event.ts_ns - events[0].ts_ns for event in events] == [0, 60 * NS_PER_S, 120 * NS_PER_S]


def test_times_may_be_seconds_or_text(tmp_path: Path) -> None:
    """Unix seconds and ISO 8601 text mean the same bar as milliseconds."""
    expected = events_of(candle_file(tmp_path, candle_rows(2)))
    seconds = [f"{int(row[:13]) // 1_000}{row[13:]}" for row in candle_rows(2)]
    assert events_of(candle_file(tmp_path, seconds)) == expected
    texts = ["2023-11-14T22:14:00Z" + candle_rows(2)[0][13:], "2023-11-14 22:15:00" + candle_rows(2)[1][13:]]
    assert events_of(candle_file(tmp_path, texts)) == expected


BAD_CANDLES = [
    ("unparsable", f"{T0_MS + 120_000},100.0,abc,99.0,100.0,1"),
    ("unparsable", f"{T0_MS + 120_000},100.0,101.0"),
    ("unparsable", "yesterday,100.0,101.0,99.0,100.0,1"),
    ("not_finite", f"{T0_MS + 120_000},100.0,NaN,99.0,100.0,1"),
    ("not_finite", f"{T0_MS + 120_000},100.0,inf,99.0,100.0,1"),
    ("not_finite", f"{T0_MS + 120_000},,101.0,99.0,100.0,1"),
    ("not_positive", f"{T0_MS + 120_000},100.0,101.0,0,100.0,1"),
    ("not_positive", f"{T0_MS + 120_000},-100.0,101.0,-101,100.0,1"),
    ("not_positive", f"{T0_MS + 120_000},100.0,101.0,99.0,100.0,-1"),
    ("ohlc", f"{T0_MS + 120_000},100.0,101.0,99.0,102.0,1"),
    ("ohlc", f"{T0_MS + 120_000},100.0,101.0,100.1,100.0,1"),
    ("off_tick", f"{T0_MS + 120_000},100.001,101.0,99.0,100.0,1"),
    ("too_large", f"{T0_MS + 120_000},100.0,1e14,99.0,100.0,1"),
    ("too_large", f"{T0_MS + 120_000},100.0,101.0,99.0,100.0,1e14"),
    ("absurd_jump", f"{T0_MS + 120_000},200.0,201.0,199.0,200.0,1"),
    ("time_mismatch", f"{T0_MS + 120_500},100.0,101.0,99.0,100.0,1"),
    ("absurd_time", "12,100.0,101.0,99.0,100.0,1"),
]


@pytest.mark.requirement("B4")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("reason,row", BAD_CANDLES)
def test_a_bad_candle_is_named_and_leaves_a_hole(tmp_path: Path, reason: str, row: str) -> None:
    """The row is not traded on: it becomes a fault with its line, and the missing bar a gap."""
    rows = candle_rows(200)
    rows[2] = row
    events = events_of(candle_file(tmp_path, rows))
    assert sum(isinstance(event, MarketCandle) for event in events) == 199
    faults = {event.reason: event.sample for event in events if isinstance(event, FeedMalformed)}
    assert list(faults) == [reason]
    assert "BTCUSDT_1m.csv:4" in faults[reason]


def test_a_missing_minute_is_a_gap(tmp_path: Path) -> None:
    """Absent bars are announced before the one that follows them."""
    events = events_of(candle_file(tmp_path, candle_rows(3) + candle_rows(3, begin=5)))
    gap = events[3]
    assert isinstance(gap, FeedGap)
    assert gap.reason == "missing_bars: 2 before this one"
    assert gap.ts_ns == events[4].ts_ns


def test_newest_first_with_a_stale_row_is_sorted_and_the_stale_row_named(tmp_path: Path) -> None:
    """A capture that was prepended to an old row keeps its order; the old row is out of order."""
    stale = candle_rows(1, begin=-5_000)
    events = events_of(candle_file(tmp_path, stale + candle_rows(50)[::-1]))
    assert faults_of(events) == ["out_of_order"]
    times = [event.ts_ns for event in events if isinstance(event, MarketCandle)]
    assert len(times) == 50
    assert times == sorted(times)


def test_repeated_rows_are_duplicates_and_contradicting_ones_are_none(tmp_path: Path) -> None:
    """An equal repetition counts once; two versions of one bar are both dropped."""
    rows = candle_rows(20)
    rows.insert(3, rows[3])
    events = events_of(candle_file(tmp_path, rows))
    assert faults_of(events) == ["duplicate"]
    rows[4] = rows[4].replace("1.2345", "9.9999")
    assert sorted(faults_of(events_of(candle_file(tmp_path, rows)))) == [
        "missing_bars",
        "overlap_differs",
        "overlap_differs",
    ]


def test_overlapping_files_are_one_series(tmp_path: Path) -> None:
    """What both files say is kept once and counted; order of the arguments is no matter."""
    first = candle_file(tmp_path, candle_rows(30), "BTCUSDT_a.csv")
    second = candle_file(tmp_path, candle_rows(30, begin=20), "BTCUSDT_b.csv")
    report = import_files([second, first], out=tmp_path / "out.parquet")
    assert report.facts.counts == {"market.candle": 50}
    assert report.overlap_rows == 10
    assert report.facts.faults == {}


def test_an_overlap_that_differs_in_one_bar_drops_that_bar(tmp_path: Path) -> None:
    """Neither version is believed, both are named."""
    first = candle_file(tmp_path, candle_rows(30), "BTCUSDT_a.csv")
    changed = candle_rows(30, begin=20)
    changed[4] = changed[4].replace("1.2345", "9.9")
    second = candle_file(tmp_path, changed, "BTCUSDT_b.csv")
    events = events_of(first, second)
    assert sum(isinstance(event, MarketCandle) for event in events) == 49
    assert sorted(faults_of(events)) == ["missing_bars", "overlap_differs", "overlap_differs"]


def test_files_of_different_markets_are_refused(tmp_path: Path) -> None:
    """Files whose overlap differs throughout are not one series."""
    first = candle_file(tmp_path, candle_rows(30), "BTCUSDT_a.csv")
    moved = [row.replace("1.2345", "2.0") for row in candle_rows(30)]
    with pytest.raises(UsageFault, match="different markets"):
        plan_import([first, candle_file(tmp_path, moved, "BTCUSDT_b.csv")])


def test_bars_of_different_lengths_are_refused(tmp_path: Path) -> None:
    """Minutes and hours do not make one series."""
    hours = [f"{T0_MS // HOUR_MS * HOUR_MS + n * HOUR_MS},100.0,101.0,99.0,100.0,1" for n in range(3)]
    with pytest.raises(UsageFault, match="different lengths"):
        plan_import([candle_file(tmp_path, candle_rows(3)), candle_file(tmp_path, hours, "BTCUSDT_1h.csv")])


def test_finer_prices_are_of_the_spot_market(tmp_path: Path) -> None:
    """Prices in hundredths fit no perpetual tick of a tenth; the spot steps are taken instead."""
    rows = [row.replace(".1,", ".13,") for row in candle_rows(10)]
    plan = plan_import([candle_file(tmp_path, rows)])
    assert plan.instrument.tick_size == "0.01"


def test_prices_of_another_symbol_are_refused(tmp_path: Path) -> None:
    """Prices that are no multiples of any known tick say so instead of becoming a file of faults."""
    rows = [row.replace(".1,", ".12345,") for row in candle_rows(10)]
    with pytest.raises(UsageFault, match="tick"):
        plan_import([candle_file(tmp_path, rows)])


def arrow_file(folder: Path, name: str, columns: dict[str, tuple[list[object], DataType]]) -> Path:
    """A feather file."""
    path = folder / name
    arrays = {
        column: Array(values, type=DataType.int64()).cast(kind)
        if "Timestamp" in str(kind)
        else Array(values, type=kind)
        for column, (values, kind) in columns.items()
    }
    write_ipc(RecordBatch.from_pydict(arrays), path)
    return path


def candle_arrow(folder: Path, **changed: tuple[list[object], DataType]) -> Path:
    """Three minutes in a feather file."""
    prices: list[object] = [100.1, 100.2, 100.3]
    columns: dict[str, tuple[list[object], DataType]] = {
        "date": ([T0_MS, T0_MS + 60_000, T0_MS + 120_000], DataType.timestamp("ms", tz="UTC")),
        **{column: (prices, DataType.float64()) for column in ("open", "high", "low", "close")},
        "volume": ([1.0, 0.0123, 2.9999], DataType.float64()),
    }
    return arrow_file(folder, "ETHUSDT.feather", columns | changed)


def test_candles_of_a_feather_file_are_exact(tmp_path: Path) -> None:
    """Floats become the ticks they were printed from; volumes are rounded down."""
    candles = [event for event in events_of(candle_arrow(tmp_path)) if isinstance(event, MarketCandle)]
    assert [candle.close_ticks for candle in candles] == [10_010, 10_020, 10_030]
    assert [candle.volume_lots for candle in candles] == [1_000, 12, 2_999]


def test_a_null_in_a_feather_file_is_a_named_row(tmp_path: Path) -> None:
    """A missing number is no number; the row is dropped, not the file."""
    path = candle_arrow(tmp_path, high=([100.1, None, 100.3], DataType.float64()))
    assert sorted(faults_of(events_of(path))) == ["missing_bars", "not_finite"]


@pytest.mark.parametrize(
    "changed",
    [
        {"date": (["a", "b", "c"], DataType.utf8())},
        {"date": ([None, None, None], DataType.int64())},
        {"close": (["a", "b", "c"], DataType.utf8())},
    ],
)
def test_a_feather_file_of_other_types_is_refused(
    tmp_path: Path, changed: dict[str, tuple[list[object], DataType]]
) -> None:
    """Columns of words are a usage fault, never a crash."""
    with pytest.raises(UsageFault, match="feather"):
        events_of(candle_arrow(tmp_path, **changed))


# Funding.


def test_funding_dates_of_the_csv_are_three_hours_ahead(tmp_path: Path) -> None:
    """`Date` is UTC+3: what it calls 03:00 was settled at midnight."""
    rows = [
        "Symbol,Date,Funding Rate",
        "BTC-USDT,2023-01-01 03:00:00.000,0.0001",
        "BTC-USDT,2023-01-01 11:00:00,-0.5",
    ]
    rows.append("BTC-USDT,2023-01-01 19:00:00,nonsense")
    events = events_of(text_file(tmp_path, "funding.csv", rows))
    assert MarketFundingRate(ts_ns=1_672_531_200 * NS_PER_S, instrument="BTCUSDT", rate_ppb=100_000) in events
    assert sorted(faults_of(events)) == ["too_large", "unparsable"]


def test_funding_of_a_feather_file_is_floored_to_the_hour(tmp_path: Path) -> None:
    """The rate is in `open`; some milliseconds of jitter do not move the settlement."""
    midnight = 1_672_531_200_000
    zeros: tuple[list[object], DataType] = ([0.0, 0.0, 0.0], DataType.float64())
    path = arrow_file(
        tmp_path,
        "BTC_USDT-8h-funding_rate.feather",
        {
            "date": (
                [midnight + 7, midnight + 8 * HOUR_MS, midnight + 8 * HOUR_MS + 3],
                DataType.timestamp("ms"),
            ),
            "open": ([0.0001, -0.00012359, 0.0001], DataType.float64()),
            **dict.fromkeys(("high", "low", "close", "volume"), zeros),
        },
    )
    events = events_of(path)
    rates = [(event.ts_ns // 1_000_000, event.rate_ppb) for event in events if isinstance(event, MarketFundingRate)]
    assert rates == [(midnight, 100_000), (midnight + 8 * HOUR_MS, -123_590)]
    assert faults_of(events) == ["duplicate"]


def test_funding_outside_the_candles_is_left_out_and_counted(tmp_path: Path) -> None:
    """A rate of another year would stretch the run; it is counted, not recorded."""
    candles = candle_file(tmp_path, candle_rows(120))
    rows = [
        "Symbol,Date,Funding Rate",
        "BTC-USDT,2020-01-01 03:00:00,0.0001",
        "BTC-USDT,2023-11-15 02:00:00,0.0002",
    ]
    report = import_files([candles, text_file(tmp_path, "f.csv", rows)], out=tmp_path / "out.parquet")
    assert report.facts.counts["market.funding_rate"] == 1
    assert report.funding_outside == 1


# Messages of Binance.

T0_NS = 1_723_161_255_000_000_000


class Feed:
    """Lines of a futures (or spot) feed, 1 ms apart, whose update ids follow each other."""

    def __init__(self, *, is_spot: bool = False) -> None:
        self.lines: list[str] = []
        self.is_spot = is_spot
        self.last_id = 100

    def add(self, message: object) -> Feed:
        """Any message."""
        self.lines.append(f"{T0_NS + len(self.lines) * 1_000_000} {json.dumps(message)}")
        return self

    def stream(self, channel: str, data: dict[str, object]) -> Feed:
        """A message of a stream."""
        return self.add({"stream": f"btcusdt@{channel}", "data": {"s": "BTCUSDT", **data}})

    def update(self, price: str = "100.0", size: str = "1.5", *, skip: int = 0) -> Feed:
        """A depth update of one bid, after leaving out `skip` ids."""
        previous, first = self.last_id + skip, self.last_id + skip + 1
        self.last_id = first + 4
        ids: dict[str, object] = {"U": first, "u": self.last_id}
        ids |= {} if self.is_spot else {"pu": previous, "T": 1}
        return self.stream("depth@100ms", {"e": "depthUpdate", **ids, "b": [[price, size]], "a": []})

    def snapshot(self, last_id: int | None = None) -> Feed:
        """A REST snapshot of one level a side."""
        number = self.last_id if last_id is None else last_id
        return self.add({"lastUpdateId": number, "bids": [["99.0", "1"]], "asks": [["101.0", "2"]]})

    def quote(self, bid: str = "100.0", ask: str = "100.1") -> Feed:
        """The best bid and ask."""
        return self.stream("bookTicker", {"u": 1, "b": bid, "B": "1.5", "a": ask, "A": "2", "T": 1})

    def trade(self, number: int, price: str = "100.0", size: str = "0.5", **changed: object) -> Feed:
        """A sell."""
        return self.stream("trade", {"t": number, "p": price, "q": size, "X": "MARKET", "m": True, "T": 1} | changed)

    def file(self, folder: Path) -> Path:
        """All of it."""
        return text_file(folder, "a.wsfeed.gz", self.lines)


def test_messages_become_quotes_trades_and_depth(tmp_path: Path) -> None:
    """Each kind with its receive time, exact steps and the side of the aggressor."""
    path = Feed().snapshot().update().quote().trade(7).file(tmp_path)
    assert events_of(path, symbol="BTCUSDT") == [
        MarketDepth(ts_ns=T0_NS, instrument="BTCUSDT", levels=((1, 990, 1_000), (-1, 1_010, 2_000)), is_snapshot=True),
        MarketDepth(ts_ns=T0_NS + 1_000_000, instrument="BTCUSDT", levels=((1, 1_000, 1_500),)),
        MarketQuote(
            ts_ns=T0_NS + 2_000_000,
            instrument="BTCUSDT",
            bid_ticks=1_000,
            bid_lots=1_500,
            ask_ticks=1_001,
            ask_lots=2_000,
        ),
        MarketTrade(ts_ns=T0_NS + 3_000_000, instrument="BTCUSDT", price_ticks=1_000, size_lots=500, aggressor=-1),
    ]


@pytest.mark.parametrize("is_spot", [False, True])
def test_updates_before_the_snapshot_wait_for_it(tmp_path: Path, is_spot: bool) -> None:
    """Those older than the snapshot are dropped, those that belong on it follow it at its time."""
    feed = Feed(is_spot=is_spot).update("90.0").update("91.0").update("92.0")
    path = feed.snapshot(last_id=107).update("93.0").file(tmp_path)
    depths = [event for event in events_of(path) if isinstance(event, MarketDepth)]
    assert [depth.is_snapshot for depth in depths] == [True, False, False, False]
    steps = 10 if is_spot else 1
    assert [depth.levels[0][1] // steps for depth in depths] == [990, 910, 920, 930]
    assert len({depth.ts_ns for depth in depths[:3]}) == 1


@pytest.mark.parametrize("is_spot", [False, True])
def test_a_broken_chain_is_a_gap_until_the_next_snapshot(tmp_path: Path, is_spot: bool) -> None:
    """A lost update makes the book unusable: nothing of it passes until a snapshot begins it anew."""
    feed = Feed(is_spot=is_spot).snapshot().update("91.0").update("92.0", skip=3).update("93.0").quote()
    feed.snapshot(last_id=feed.last_id + 1).update("94.0", skip=1)
    events = events_of(feed.file(tmp_path))
    steps = 10 if is_spot else 1
    found = [event.levels[0][1] // steps if isinstance(event, MarketDepth) else type(event) for event in events]
    assert found == [990, 910, FeedGap, MarketQuote, 990, 940]
    gap = next(event for event in events if isinstance(event, FeedGap))
    assert gap.reason.startswith("broken_chain: a.wsfeed.gz:3: ")


def test_a_snapshot_that_no_update_reaches_is_a_gap(tmp_path: Path) -> None:
    """The first update after a snapshot must contain its id; a later one means that some were missed."""
    events = events_of(Feed().snapshot(last_id=50).update().file(tmp_path), symbol="BTCUSDT")
    assert faults_of(events) == ["broken_chain"]


def test_a_snapshot_older_than_the_book_is_passed_over(tmp_path: Path) -> None:
    """A late answer must not throw the book back."""
    path = Feed().snapshot().update("91.0").update("92.0").snapshot(last_id=103).update("93.0").file(tmp_path)
    depths = [event for event in events_of(path, symbol="BTCUSDT") if isinstance(event, MarketDepth)]
    assert [depth.levels[0][1] for depth in depths] == [990, 910, 920, 930]


def test_updates_without_any_snapshot_are_one_gap(tmp_path: Path) -> None:
    """Half a book is no book: no depth passes, and that is said once."""
    feed = Feed()
    for _ in range(1_200):
        feed.update()
    assert faults_of(events_of(feed.trade(1).file(tmp_path))) == ["no_snapshot"]
    assert faults_of(events_of(Feed().update().trade(1).file(tmp_path))) == ["no_snapshot"]


BAD_MESSAGES = [
    ("crossed", lambda feed: feed.quote("100.1", "100.0")),
    ("not_positive", lambda feed: feed.quote("0.0", "100.0")),
    ("off_tick", lambda feed: feed.quote("100.01", "100.1")),
    ("not_finite", lambda feed: feed.quote("NaN", "100.1")),
    ("unparsable", lambda feed: feed.quote("1_00.0", "100.1")),
    ("unparsable", lambda feed: feed.quote("9" * 41, "100.1")),
    ("too_large", lambda feed: feed.quote("1e30", "100.1")),
    ("absurd_jump", lambda feed: feed.quote("500.0", "500.1")),
    ("not_positive", lambda feed: feed.trade(9, "-1")),
    ("not_positive", lambda feed: feed.trade(9, size="0")),
    ("not_positive", lambda feed: feed.trade(9, size="-1")),
    ("below_lot", lambda feed: feed.trade(9, size="0.0001")),
    ("zero_price", lambda feed: feed.trade(9, "0.0", "0.0", X=None)),
    ("zero_price", lambda feed: feed.trade(9, "0", "0", X="NA")),
    ("not_market", lambda feed: feed.trade(9, X="INSURANCE_FUND")),
    ("duplicate", lambda feed: feed.trade(1)),
    ("other_symbol", lambda feed: feed.trade(9, s="ETHUSDT")),
    ("unknown_message", lambda feed: feed.stream("markPrice", {})),
    ("unknown_message", lambda feed: feed.add({})),
    ("unparsable", lambda feed: feed.add([])),
    ("unparsable", lambda feed: feed.stream("trade", {})),
    ("unparsable", lambda feed: feed.add({"stream": "btcusdt@trade", "data": {"s": 5}})),
    ("unparsable", lambda feed: feed.lines.append(f"{T0_NS + 5_000_000} " + '{"data":' + "[" * 100_000)),
    ("unparsable", lambda feed: feed.lines.append("garbage")),
    ("unparsable", lambda feed: feed.lines.append(feed.lines[-1][:60])),
    ("out_of_order", lambda feed: feed.lines.append(feed.lines[0].replace('"t": 1', '"t": 9'))),
    ("absurd_time", lambda feed: feed.lines.append(feed.trade(9).lines.pop().replace("000000 ", " ", 1))),
    ("absurd_time", lambda feed: feed.lines.append("19" + feed.trade(9).lines.pop()[2:])),
    ("too_long", lambda feed: feed.add("x" * LINE_BYTES_MAX)),
]


@pytest.mark.requirement("B4")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("number", range(len(BAD_MESSAGES)))
def test_a_bad_message_is_named_and_its_neighbours_stay(tmp_path: Path, number: int) -> None:
    """Only the bad line is lost; its reason and its place in the file are kept."""
    reason, spoil = BAD_MESSAGES[number]
    feed = Feed().trade(1).quote().trade(2)
    spoil(feed)
    events = events_of(feed.trade(20).file(tmp_path))
    good = [event for event in events if isinstance(event, MarketTrade | MarketQuote)]
    assert len(good) == 4
    (fault,) = (event for event in events if isinstance(event, FeedMalformed))
    assert fault.reason == reason
    assert fault.sample.startswith("a.wsfeed.gz:4: ")


def test_a_bad_depth_message_breaks_the_chain(tmp_path: Path) -> None:
    """What was in the dropped message is unknown, so the book is unusable from the next one on."""
    feed = Feed().snapshot().update("91.0").update("-92.0").update("93.0").trade(1)
    assert faults_of(events_of(feed.file(tmp_path), symbol="BTCUSDT")) == ["not_positive", "broken_chain"]


def test_faults_before_the_first_good_line_have_its_time(tmp_path: Path) -> None:
    """A line that cannot be read has no time of its own; the recording still begins with the first good one."""
    feed = Feed()
    feed.lines += ["garbage", "more garbage"]
    events = events_of(feed.trade(1).file(tmp_path))
    assert [event.ts_ns for event in events] == [T0_NS + 2_000_000] * 3


@pytest.mark.requirement("B54")
def test_a_file_without_one_good_line_is_refused(tmp_path: Path) -> None:
    """A file of only faults is a usage fault that names the first."""
    with pytest.raises(UsageFault, match="not one good line"):
        events_of(Feed().trade(1, "-1").trade(2, "-1").file(tmp_path))
    with pytest.raises(UsageFault, match="are all bad"):
        feed = Feed().trade(1, "-1")
        feed.lines += ["garbage"] * 2_000
        events_of(feed.file(tmp_path))


def test_a_file_cut_short_plays_to_where_it_is_cut(tmp_path: Path) -> None:
    """The good part of a damaged archive is not lost, and the damage is named."""
    generator = random.Random(1)
    feed = Feed()
    for number in range(2_000):
        feed.trade(number, f"{100 + generator.random():.1f}", f"{generator.random() + 0.001:.3f}")
    path = feed.file(tmp_path)
    path.write_bytes(path.read_bytes()[:-2_000])
    events = events_of(path)
    assert faults_of(events)[-1] == "truncated"
    assert 1_000 < len(events) < 2_000


def test_files_of_one_feed_follow_each_other_and_so_does_the_book(tmp_path: Path) -> None:
    """The second file continues the chain of the first, whatever order they are named in."""
    feed = Feed().quote().snapshot().update("91.0").update("92.0").update("93.0")
    first, second = tmp_path / "1.wsfeed", tmp_path / "2.wsfeed"
    first.write_text("\n".join(feed.lines[:3]) + "\n")
    second.write_text("\n".join(feed.lines[3:]) + "\n")
    events = events_of(second, first)
    assert faults_of(events) == []
    assert [event.levels[0][1] for event in events if isinstance(event, MarketDepth)] == [990, 910, 920, 930]


@pytest.mark.requirement("B54")
def test_an_inverse_contract_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Linear money is wrong for a contract that pays in the coin: it is not imported at all."""
    data = {"e": "trade", "s": "BTCUSD_PERP", "ps": "BTCUSD", "t": 1, "p": "1.0", "q": "1", "m": True}
    path = Feed().add({"stream": "btcusd_perp@trade", "data": data}).file(tmp_path)
    with pytest.raises(UsageFault, match="inverse contract"):
        plan_import([path])


# Tables of ticks.

TRADE_HEADER = (
    "TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,TradeId,Price,Quantity,"
    "IsBuyerMarketMaker,XUnknownParameter"
)
DEPTH_HEADER = (
    "TimestampOfReceiveUS,TimestampOfReceive,Symbol,FirstUpdateId,FinalUpdateId,FinalUpdateIdInLastStream,"
    "IsAsk,Price,Quantity,TradeId,IsBuyerMarketMaker,XUnknownParameter,LastUpdateId,StreamType,IsLast"
)
T0_ROW_MS = 1_741_046_404_352


def trade_row(number: int, price: str = "0.23103", size: str = "243.0", order_type: str = "MARKET") -> str:
    """A trade of TRX."""
    return f"{T0_ROW_MS + number},trxusdt@trade,trade,1,1,TRXUSDT,{number},{price},{size},0,{order_type}"


def depth_row(stream: str, last_id: int, price: str, **changed: object) -> str:
    """A level of TRX."""
    ms = T0_ROW_MS + last_id
    cells = {
        "us": ms * 1_000,
        "ms": ms,
        "symbol": "TRXUSDT",
        "first": last_id - 4,
        "last": last_id,
        "previous": last_id - 5,
        "ask": 0,
        "price": price,
        "size": "10.0",
        "trade": "",
        "maker": "",
        "type": "",
        "snapshot": "",
        "stream": stream,
        "end": 0,
    }
    return ",".join(str(cell) for cell in (cells | changed).values())


def test_trades_of_a_table_and_its_housekeeping(tmp_path: Path) -> None:
    """A print without an order type and price is a named fault with its line; a price of -1 another."""
    rows = [trade_row(1), trade_row(2, "0.0", "0.0", ""), trade_row(3, "-1"), trade_row(4)]
    events = events_of(text_file(tmp_path, "t.csv", [TRADE_HEADER, *rows]))
    assert [event.price_ticks for event in events if isinstance(event, MarketTrade)] == [23_103, 23_103]
    faults = [(event.reason, event.sample) for event in events if isinstance(event, FeedMalformed)]
    assert [reason for reason, _ in faults] == ["zero_price", "not_positive"]
    assert faults[0][1].startswith("t.csv:3: ")
    assert faults[1][1].startswith("t.csv:4: ")


def merged_rows() -> list[str]:
    """The last book of the day before in two rows, then two updates of two rows and a trade between them."""
    trade = depth_row("TRADE_STREAM", 111, "0.23103", trade=5, maker=1, type="MARKET", end=1)
    return [
        depth_row("FINAL_DEPTH_SNAPSHOT", 105, "0.23100"),
        depth_row(
            "FINAL_DEPTH_SNAPSHOT",
            90,
            "0.23110",
            us=(T0_ROW_MS + 105) * 1_000,
            ms=T0_ROW_MS + 105,
            ask=1,
            end=1,
        ),
        depth_row("DIFFERENCE_DEPTH_STREAM", 110, "0.23099"),
        depth_row("DIFFERENCE_DEPTH_STREAM", 110, "0.23098", end=1),
        trade,
        depth_row("DIFFERENCE_DEPTH_STREAM", 115, "0.23097", end=1),
    ]


def merged_events(folder: Path, rows: Sequence[str]) -> list[RecordedEvent]:
    """The events of a merged table with comments at its head."""
    return events_of(text_file(folder, "m.csv.gz", ["# a report", "#", DEPTH_HEADER, *rows]))


def test_rows_of_one_message_are_one_event(tmp_path: Path) -> None:
    """Levels are grouped by their message; a book of the day before begins the chain."""
    events = merged_events(tmp_path, merged_rows())
    assert faults_of(events) == []
    depths = [event for event in events if isinstance(event, MarketDepth)]
    assert [[price for _, price, _ in depth.levels] for depth in depths] == [
        [23_100, 23_110],
        [23_099, 23_098],
        [23_097],
    ]
    assert depths[0].is_snapshot
    assert [type(event) for event in events[1:]] == [MarketDepth, MarketTrade, MarketDepth]


BAD_ROWS = [
    ("an update id", 3, depth_row("DIFFERENCE_DEPTH_STREAM", 110, "0.23098", last=111), ["broken_chain"]),
    (
        "times that disagree",
        0,
        merged_rows()[0].replace("174104", "174103", 1),
        ["time_mismatch", "no_snapshot"],
    ),
    (
        "an end in the middle",
        2,
        depth_row("DIFFERENCE_DEPTH_STREAM", 110, "0.23099", end=1),
        ["premature_end", "broken_chain"],
    ),
    ("a negative price", 5, depth_row("DIFFERENCE_DEPTH_STREAM", 115, "-1"), ["not_positive"]),
    ("a missing cell", 5, "1,2,3", ["unparsable"]),
    (
        "another symbol",
        5,
        depth_row("DIFFERENCE_DEPTH_STREAM", 115, "0.23", symbol="XRPUSDT"),
        ["other_symbol"],
    ),
    (
        "a time moved back",
        5,
        depth_row("DIFFERENCE_DEPTH_STREAM", 115, "0.23", us=10**15 + 1, ms=10**12),
        ["absurd_time"],
    ),
    ("an unknown stream", 5, depth_row("LIQUIDATIONS", 115, "0.23"), ["unknown_message"]),
    ("a side that is neither", 5, depth_row("DIFFERENCE_DEPTH_STREAM", 115, "0.23", ask=7), ["unparsable"]),
    (
        "a bad trade after a message",
        4,
        depth_row("TRADE_STREAM", 111, "0", trade=5, maker=1, type=""),
        ["zero_price"],
    ),
]


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("place,row,faults", [case[1:] for case in BAD_ROWS], ids=[case[0] for case in BAD_ROWS])
def test_damage_of_a_row_spoils_its_message_and_no_other(
    tmp_path: Path, place: int, row: str, faults: list[str]
) -> None:
    """A message is as good as its worst row; what came before it is not lost."""
    rows = merged_rows()
    rows[place] = row
    rows += [depth_row("TRADE_STREAM", 120 + n, "0.23103", trade=10 + n, maker=1, type="MARKET") for n in range(3)]
    events = merged_events(tmp_path, rows)
    assert faults_of(events) == faults
    assert sum(isinstance(event, MarketTrade) for event in events) == (3 if place == 4 else 4)
    if place >= 4:
        assert [len(event.levels) for event in events if isinstance(event, MarketDepth)][:2] == [2, 2]


def test_gemini_quotes_and_trades(tmp_path: Path) -> None:
    """Prices and sizes joined by an underscore; a maker who buys means that the aggressor sold."""
    quotes = [
        "time_seconds,bid_price_bid_size,ask_price_ask_size",
        "1625097600,2271.58_1.6477,2279.63_28.479526",
    ]
    trades = ["time_seconds,price,size,is_buyer_maker", "1625097601.647,2278.15,0.0409,1"]
    events = events_of(text_file(tmp_path, "ethusd_b.csv", quotes), text_file(tmp_path, "ethusd_t.csv", trades))
    assert events == [
        MarketQuote(
            ts_ns=1_625_097_600 * NS_PER_S,
            instrument="ETHUSD",
            bid_ticks=227_158,
            bid_lots=1_647_700,
            ask_ticks=227_963,
            ask_lots=28_479_526,
        ),
        MarketTrade(
            ts_ns=1_625_097_601_647_000_000,
            instrument="ETHUSD",
            price_ticks=227_815,
            size_lots=40_900,
            aggressor=-1,
        ),
    ]


def bybit_line(kind: str, number: int, bid: str = "1.9531") -> str:
    """A message of the archive."""
    data = {"s": "XRPUSDT", "b": [[bid, "6203"]], "a": [["1.9600", "5"]], "u": number, "seq": 1}
    return json.dumps({"topic": "orderbook.500.XRPUSDT", "type": kind, "ts": 1_733_011_200_000 + number, "data": data})


def zip_file(folder: Path, members: dict[str, str]) -> Path:
    """A zip of texts."""
    path = folder / "ob500.data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_bybit_deltas_step_by_one(tmp_path: Path) -> None:
    """A skipped number is a gap; a new snapshot of the venue begins the book anew, also with a lower number."""
    kinds = [("snapshot", 10), ("delta", 11), ("delta", 13), ("delta", 14), ("snapshot", 20), ("delta", 21)]
    path = zip_file(tmp_path, {"a.data": "\n".join(bybit_line(kind, number) for kind, number in kinds)})
    events = events_of(path)
    found = [event.is_snapshot if isinstance(event, MarketDepth) else "gap" for event in events]
    assert found == [True, False, "gap", True, False]


@pytest.mark.requirement("B54")
def test_a_zip_of_several_files_is_refused(tmp_path: Path) -> None:
    """Which one is meant is not guessed."""
    with pytest.raises(UsageFault, match="one file"):
        plan_import([zip_file(tmp_path, {"a": "x", "b": "y"})])


# What cannot be meant.


@pytest.mark.requirement("B54")
def test_unknown_files_are_refused_with_the_known_formats(tmp_path: Path) -> None:
    """The message lists what could be read."""
    with pytest.raises(UsageFault, match=r"Known formats: .*wsfeed.*gemini"):
        plan_import([text_file(tmp_path, "notes.txt", ["hello", "world"])])


@pytest.mark.requirement("B54")
@pytest.mark.parametrize("symbol", ["../../etc", "btcusdt", "", "BTC USDT", "A" * 30, "BTC\n"])
def test_a_symbol_is_checked_before_use(tmp_path: Path, symbol: str) -> None:
    """Only capital letters, digits and underscores name an instrument."""
    with pytest.raises(UsageFault, match="not a symbol"):
        plan_import([candle_file(tmp_path, candle_rows(3))], symbol)


@pytest.mark.requirement("B54")
def test_missing_files_folders_and_unknown_symbols_are_refused(tmp_path: Path) -> None:
    """Each is a usage fault that names what was wrong."""
    with pytest.raises(UsageFault, match="no such file"):
        plan_import([tmp_path / "absent.csv"])
    with pytest.raises(UsageFault, match="no such file"):
        plan_import([tmp_path])
    with pytest.raises(UsageFault, match="known"):
        plan_import([candle_file(tmp_path, candle_rows(3))], "DOGEUSDT")
    with pytest.raises(UsageFault, match="--symbol"):
        plan_import([candle_file(tmp_path, candle_rows(3), "candles.csv")])
    with pytest.raises(UsageFault, match="different symbols"):
        plan_import([candle_file(tmp_path, candle_rows(3)), candle_file(tmp_path, candle_rows(3), "ETHUSDT.csv")])
    with pytest.raises(UsageFault, match="1 to"):
        plan_import([])


@pytest.mark.requirement("B54")
def test_an_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    """The bound is on the size the file system says; this file takes no room."""
    path = tmp_path / "BTCUSDT.csv"
    with path.open("wb") as file:
        file.truncate(4 * 1024**3 + 1)
    with pytest.raises(UsageFault, match="larger than"):
        plan_import([path])


@pytest.mark.requirement("B54")
def test_an_import_does_not_overwrite_its_source(tmp_path: Path) -> None:
    """The same path in and out is refused and the source stays."""
    path = candle_file(tmp_path, candle_rows(3))
    before = path.read_bytes()
    with pytest.raises(UsageFault, match="one of the files"):
        import_files([path], out=path)
    assert path.read_bytes() == before


def test_a_recording_is_not_imported_again(tmp_path: Path) -> None:
    """It is one already; `show` says what is inside."""
    out = tmp_path / "out.parquet"
    report = import_files([candle_file(tmp_path, candle_rows(3))], out=out)
    with pytest.raises(UsageFault, match="already a recording"):
        plan_import([out])
    assert show_recording(out) == report.facts
    assert report.facts.sources[0].format == "candles-csv"
    assert len(report.facts.sources[0].sha256) == 64


def test_an_import_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A usage fault found on the way comes through as such, and no half recording stays."""
    source = Feed().trade(1, "-1").file(tmp_path)
    with pytest.raises(UsageFault, match="not one good line"):
        import_files([source], out=tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source]


# Whatever comes.

SEEDS = [
    "\n".join([CANDLE_HEADER, *candle_rows(4)]),
    "\n".join(Feed().update().snapshot().update().quote().trade(1).trade(2).lines),
    "\n".join([TRADE_HEADER, trade_row(1), trade_row(2)]),
    "\n".join(["#", DEPTH_HEADER, *merged_rows()]),
    "time_seconds,bid_price_bid_size,ask_price_ask_size\n1625097600,2271.58_1.6,2279.63_28.4\n",
    "time_seconds,price,size,is_buyer_maker\n1625097621.647,2278.15,0.0409,1\n",
    "Symbol,Date,Funding Rate\nBTC-USDT,2023-01-01 03:00:00,0.0001\n",
    "\n".join(bybit_line("delta" if number else "snapshot", number) for number in range(3)),
]


def assert_sound(content: bytes, path: Path) -> None:
    """Reading it either refuses the file or yields only possible events in order of time."""
    path.write_bytes(content)
    try:
        events = events_of(path)
    except UsageFault:
        return
    last_ns = 0
    for event in events:
        assert event.ts_ns >= last_ns
        last_ns = event.ts_ns
        if isinstance(event, MarketTrade):
            assert min(event.price_ticks, event.size_lots) > 0
        elif isinstance(event, MarketQuote):
            assert 0 < event.bid_ticks < event.ask_ticks
        elif isinstance(event, MarketCandle):
            assert 0 < event.low_ticks <= min(event.open_ticks, event.close_ticks)
        elif isinstance(event, MarketDepth):
            assert all(price > 0 and size >= 0 for _, price, size in event.levels)


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("name", ["BTCUSDT", "ETHUSD", "TRXUSDT"])
@given(
    content=st.binary(max_size=300),
    prefix=st.sampled_from([b"", b"ARROW1", b"PK\x03\x04", b"\x1f\x8b\x08", b"# "]),
)
@settings(max_examples=60)
def test_arbitrary_bytes_are_refused_or_sound(
    content: bytes, prefix: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No file crashes an importer."""
    assert_sound(prefix + content, tmp_path_factory.getbasetemp() / name)


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("seed", range(len(SEEDS)))
@given(
    changes=st.lists(st.tuples(st.integers(0, 5_000), st.binary(max_size=4), st.integers(0, 6)), min_size=1, max_size=6)
)
@settings(max_examples=60)
def test_mutated_files_are_refused_or_sound(
    seed: int, changes: list[tuple[int, bytes, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes replaced, put in or taken out anywhere never yield an impossible event or an unexpected error."""
    content = SEEDS[seed].encode()
    for place, put_in, taken_out in changes:
        begin = place % (len(content) + 1)
        content = content[:begin] + put_in + content[begin + taken_out :]
    name = "BTCUSDT ETHUSD"[8:] if seed in {4, 5} else "BTCUSDT"
    assert_sound(content, tmp_path_factory.getbasetemp() / name.strip())


@given(numbers=st.lists(st.one_of(st.floats(allow_nan=True), st.sampled_from(["1e400", "0x10", "١", " 5", "1_0"]))))
@settings(max_examples=60)
def test_strange_numbers_are_never_prices(numbers: list[float | str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is printed where a price belongs, only positive prices on the tick pass."""
    feed = Feed()
    for place, number in enumerate(numbers, start=1):
        feed.trade(place, str(number))
    assert_sound("\n".join(feed.trade(1_000).lines).encode(), tmp_path_factory.getbasetemp() / "BTCUSDT")


# Recordings of real markets.


def test_every_message_of_the_futures_feed_is_accounted_for(recorded_data: Path, tmp_path: Path) -> None:
    """93,954 messages: each is an event, or was older than the snapshot; nothing is malformed."""
    report = import_files(
        [recorded_data / "ticks/binance_usdm_btcusdt_20240808_2354.wsfeed.gz"], out=tmp_path / "a.parquet"
    )
    assert report.messages == {"depthUpdate": 6_551, "bookTicker": 66_089, "trade": 21_313, "snapshot": 1}
    assert report.facts.counts == {"market.quote": 66_089, "market.trade": 21_313, "market.depth": 6_548}
    assert report.depth_superseded == 4
    assert report.facts.faults == {}
    assert report.silence_ns_max < 0.35 * NS_PER_S


def test_the_book_of_the_futures_feed_agrees_with_its_quotes(recorded_data: Path, tmp_path: Path) -> None:
    """A book made of the depth events never stays crossed and ends at the best prices that the venue quotes."""
    out = tmp_path / "a.parquet"
    import_files([recorded_data / "ticks/binance_usdm_btcusdt_20240808_2354.wsfeed.gz"], out=out)
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    quote: MarketQuote | None = None
    for event in Recording(out).events():
        quote = event if isinstance(event, MarketQuote) else quote
        for side, price, size in event.levels if isinstance(event, MarketDepth) else ():
            sides[side].pop(price, None) if size == 0 else sides[side].update({price: size})
    assert quote is not None
    assert max(sides[1]) < min(sides[-1])
    assert abs(max(sides[1]) - quote.bid_ticks) <= 5
    assert abs(min(sides[-1]) - quote.ask_ticks) <= 5


def test_the_spot_feed_goes_on_over_two_files(recorded_data: Path) -> None:
    """The second file has no snapshot: its updates are good only because the first one's book goes on."""
    names = ["binance_spot_btcusdt_20240809_0000.wsfeed.gz", "binance_spot_btcusdt_20240808_2354.wsfeed.gz"]
    plan = plan_import([recorded_data / "ticks" / name for name in names])
    events = list(plan.events())
    assert faults_of(events) == []
    assert plan.tally.messages == {"depthUpdate": 6_495, "bookTicker": 73_174, "trade": 19_904, "snapshot": 1}
    assert sum(isinstance(event, MarketDepth) for event in events) == 6_495 + 1 - 2
    assert (plan.instrument.tick_size, plan.instrument.lot_size) == ("0.01", "0.00001")


DAMAGE = [
    ("ticks/binance_usdm_trxusdt_20250304_trades_ok.csv.gz", {"zero_price": 9_328}),
    ("ticks/binance_usdm_trxusdt_20250304_trades_damaged.csv.gz", {"zero_price": 9_328, "not_positive": 2}),
    ("ticks/binance_usdm_trxusdt_20250414_merged_ok.csv.gz", {}),
    (
        "ticks/binance_usdm_trxusdt_20250414_merged_damaged.csv.gz",
        {"time_mismatch": 146, "premature_end": 148, "broken_chain": 7_697},
    ),
    ("ticks/binance_usdm_trxusdt_20250304_depth_ok.csv.gz", {"no_snapshot": None}),
    ("ticks/gemini_spot_ethusd_20210701_bbo_1s.csv.gz", {}),
    ("ticks/gemini_spot_ethusd_20210701_trades.csv.gz", {}),
    ("ticks/bybit_xrpusdt_ob500.data.zip", {}),
    ("candles/binance_spot_BTCUSDT_1m_20250520_20250818.feather", {}),
    ("candles/binance_spot_ETHUSDT_1m_20250520_20250818.feather", {}),
    ("candles/binance_spot_BTCUSDT_1h_20220525_20260524.csv.gz", {"missing_bars": None}),
    ("bitunix/BTCUSDT_kline_1m_capture.csv", {"out_of_order": 2}),
]


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("name,expected", DAMAGE)
def test_damage_of_real_files_is_found_and_nothing_else_is(
    recorded_data: Path, tmp_path: Path, name: str, expected: dict[str, int | None]
) -> None:
    """Each fault that a file is known to have is named once with its line, and good files have none."""
    report = import_files([recorded_data / name], out=tmp_path / "a.parquet")
    assert report.facts.faults == dict.fromkeys(expected, 1)
    for reason, line in expected.items():
        assert line is None or f":{line}: " in report.samples[reason]


def test_the_longest_silence_is_measured(recorded_data: Path, tmp_path: Path) -> None:
    """The second-by-second quotes are silent for 38 s at most: no gap of the feed, but told."""
    report = import_files(
        [recorded_data / "ticks/gemini_spot_ethusd_20210701_bbo_1s.csv.gz"], out=tmp_path / "a.parquet"
    )
    assert report.facts.counts == {"market.quote": 72_180}
    assert report.silence_ns_max == 38 * NS_PER_S


def test_the_time_zone_of_the_funding_csv_is_proved_by_the_other_file(recorded_data: Path, tmp_path: Path) -> None:
    """All 1,095 settlements of 2023 agree between the two files only when the CSV is read as UTC+3."""
    names = ["binance_perp_BTCUSDT_8h_2020_2023.csv.gz", "binance_perp_BTCUSDT_8h_20230101_20251206.feather"]
    report = import_files([recorded_data / "funding" / name for name in names], out=tmp_path / "a.parquet")
    assert report.overlap_rows == 1_095
    assert report.facts.counts == {"market.funding_rate": 4_383 + 3_212 - 1_095}
    assert report.facts.faults == {}


def test_spot_and_perpetual_candles_are_not_merged(recorded_data: Path) -> None:
    """The same symbol on another market is another series."""
    names = [
        "binance_perp_BTCUSDT_1m_20250525_20250624.feather",
        "binance_spot_BTCUSDT_1m_20250520_20250818.feather",
    ]
    with pytest.raises(UsageFault, match="different markets"):
        plan_import([recorded_data / "candles" / name for name in names])
