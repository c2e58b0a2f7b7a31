"""Ticks in tables and archives: rows grouped to messages, and everything malformed named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agora.domain.errors import UsageFault
from agora.domain.events import (
    FeedMalformed,
    MarketDepth,
    MarketQuote,
    MarketTrade,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.importers import plan_import
from agora.venues.recording import RecordedEvent
from tests.venues.importer_files import (
    DEPTH_HEADER,
    TRADE_HEADER,
    bybit_line,
    depth_row,
    events_of,
    faults_of,
    merged_rows,
    text_file,
    trade_row,
    zip_file,
)


def test_trades_of_a_table_and_its_housekeeping(tmp_path: Path) -> None:
    """A print without an order type and price is a named fault with its line; a price of -1 another."""
    rows = [trade_row(1), trade_row(2, "0.0", "0.0", ""), trade_row(3, "-1"), trade_row(4)]
    events = events_of(text_file(tmp_path, "t.csv", [TRADE_HEADER, *rows]))
    assert [event.price_ticks for event in events if isinstance(event, MarketTrade)] == [23_103, 23_103]
    faults = [(event.reason, event.sample) for event in events if isinstance(event, FeedMalformed)]
    assert [reason for reason, _ in faults] == ["zero_price", "not_positive"]
    assert faults[0][1].startswith("t.csv:3: ")
    assert faults[1][1].startswith("t.csv:4: ")


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
