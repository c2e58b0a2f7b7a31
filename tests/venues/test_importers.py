"""Importing: what is refused, whatever bytes come, and the recordings of real markets."""

from __future__ import annotations

from pathlib import Path

import pytest
from arro3.core import Array, DataType, RecordBatch
from arro3.io import write_ipc
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.errors import UsageFault
from agora.domain.events import (
    MarketCandle,
    MarketDepth,
    MarketQuote,
    MarketTrade,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.importers import import_files, plan_import, show_recording
from agora.venues.recording import Recording
from tests.venues.importer_files import (
    CANDLE_HEADER,
    DEPTH_HEADER,
    T0_MS,
    TRADE_HEADER,
    Feed,
    bybit_line,
    candle_file,
    candle_rows,
    events_of,
    faults_of,
    merged_rows,
    text_file,
    trade_row,
)


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


@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=25)  # each example reads the file in a process of its own
def test_mutated_feather_files_are_refused_or_sound(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes for which the library ends its process end a child, not us."""
    path = tmp_path_factory.mktemp("feather") / "ETHUSDT.feather"
    times = Array([T0_MS + 60_000 * n for n in range(20)], type=DataType.int64())
    prices = Array([100.0 + n / 100 for n in range(20)], type=DataType.float64())
    write_ipc(
        RecordBatch.from_pydict({"date": times, **dict.fromkeys(("open", "high", "low", "close", "volume"), prices)}),
        path,
    )
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    assert_sound(bytes(content), path)


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
