"""Candles and funding rates: exact, merged, and everything malformed named."""

from __future__ import annotations

from pathlib import Path

import pytest
from arro3.core import Array, DataType, RecordBatch
from arro3.io import write_ipc

from agora.domain.errors import UsageFault
from agora.domain.events import (
    FeedGap,
    FeedMalformed,
    MarketCandle,
    MarketFundingRate,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.importers import import_files, plan_import
from tests.venues.importer_files import HOUR_MS, T0_MS, candle_file, candle_rows, events_of, faults_of, text_file


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


def test_a_shuffled_file_is_refused(tmp_path: Path) -> None:
    """Without a direction nothing tells which rows are stale; dropping most of them would not be an import."""
    rows = candle_rows(60)
    with pytest.raises(UsageFault, match="sort it by time"):
        events_of(candle_file(tmp_path, [rows[place * 7 % 60] for place in range(60)]))


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
