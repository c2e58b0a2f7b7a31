"""The rows of metrics.csv and their copy in metrics.json."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from agora.domain.numbers import NS_PER_S
from agora.report.collector import Collector
from agora.report.metrics import BUFFER_ROWS_MAX, MetricsFile, columns, json_pieces, utc_text
from tests.report.builders import (
    BTC,
    ETH,
    START_NS,
    Rows,
    Sequel,
    SmallRun,
    buy,
    heartbeat,
    quote,
    sell,
    wave,
)


def written(path: Path) -> list[dict[str, str]]:
    """The rows of a file by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.requirement("B21")
def test_columns_are_those_that_others_script_against() -> None:
    """One position and one price for each symbol, health last."""
    assert columns(("A", "B")) == (
        *("ts", "equity", "cash", "unrealised", "position_A", "position_B", "price_A", "price_B"),
        *("feed_age_ms", "queue_depth", "loop_lag_ms", "rss_mb", "cpu_fraction", "disk_free_mb"),
    )


@pytest.mark.requirement("H5.2")
def test_there_is_at_most_one_row_for_each_second_with_an_event() -> None:
    """Ten quotes a second make one row a second; seconds without an event make none."""
    rows = Rows()
    run = SmallRun(interval_s=60, collector=Collector(rows))
    run.feed(wave(5)).feed(quote(8 + tick / 10, 50_000.0) for tick in range(20))
    run.collector.close()
    seconds = [text[:19] for text in rows.cells("ts")]
    assert seconds == sorted(set(seconds))
    assert [int(text[17:19]) - 20 for text in seconds] == [0, 1, 2, 3, 4, 5, 8, 9]
    assert rows.is_closed


@pytest.mark.requirement("B21")
def test_a_row_shows_money_position_price_and_health() -> None:
    """The cells are the desk's own figures at the row's time, health that of the newest heartbeat."""
    rows = Rows()
    run = SmallRun(Sequel({1: (buy(20),)}), collector=Collector(rows))
    run.feed(quote(tick / 10, 50_000.0) for tick in range(30))
    run.feed([heartbeat(3.0), quote(4.2, 50_010.0), quote(5.2, 50_010.0)])
    run.collector.close()
    row = dict(zip(rows.columns, rows[-1], strict=True))
    before = dict(zip(rows.columns, rows[0], strict=True))
    assert (before["price_BTCUSDT"], before["rss_mb"], before["feed_age_ms"]) == ("", "", "")
    assert (row["position_BTCUSDT"], row["price_BTCUSDT"]) == ("0.020", "50010.0")
    # Bought at the ask, one tick above 50000, for 0.06 % of 1000.002.
    assert (row["cash"], row["unrealised"], row["equity"]) == ("9999.3999988", "0.198", "9999.5979988")
    health = [row[name] for name in ("queue_depth", "loop_lag_ms", "rss_mb", "cpu_fraction", "disk_free_mb")]
    assert health == ["3", "0.75", "120.5", "0.25", "50000.0"]


def test_feed_age_grows_while_only_heartbeats_come() -> None:
    """In a silence the age is the time since the last market event."""
    rows = Rows()
    run = SmallRun(interval_s=60, collector=Collector(rows))
    run.feed([quote(0.5, 50_000.0), heartbeat(1.5), heartbeat(4.5), quote(6.5, 50_000.0)])
    run.collector.close()
    assert rows.cells("feed_age_ms") == ["", "1000", "4000", "0"]


def test_the_last_row_is_the_end_of_the_run() -> None:
    """Whatever happened in the last second, its row shows the final equity and no position."""
    rows = Rows()
    run = SmallRun(Sequel({2: (buy(20),)}), duration_s=10, collector=Collector(rows))
    run.feed(wave(11)).finish(60)
    assert run.desk.state.ended is not None
    assert rows.cells("position_BTCUSDT")[-2:] == ["0.020", "0"]
    assert rows.cells("cash")[-1] == rows.cells("equity")[-1]
    assert rows.cells("ts")[-1] == utc_text(run.desk.state.now_ns)
    assert len(set(rows.cells("ts"))) == len(rows)


def test_nothing_is_added_after_the_end() -> None:
    """A late heartbeat belongs to no second of the run."""
    rows = Rows()
    run = SmallRun(duration_s=5, collector=Collector(rows))
    run.feed(wave(6)).finish(60)
    count = len(rows)
    run._note(heartbeat(60))
    run.collector.close()
    assert len(rows) == count


@pytest.mark.requirement("H5.2")
def test_the_file_holds_the_rows_and_is_for_its_owner_only(tmp_path: Path) -> None:
    """metrics.csv reads back as what the collector handed over, mode 0600."""
    path = tmp_path / "metrics.csv"
    rows = Rows()
    for sink in (rows, MetricsFile(path)):
        run = SmallRun(Sequel({1: (buy(20),), 5: (sell(20),)}), instruments=(BTC, ETH), collector=Collector(sink))
        run.feed(wave(9))
        run.collector.close()
    assert [tuple(row.values()) for row in written(path)] == list(rows)
    assert tuple(written(path)[0]) == rows.columns
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_reach_the_file_while_the_run_goes_on(tmp_path: Path) -> None:
    """After a second of wall time, or enough rows at full speed, what waits is on disk without a close."""
    path = tmp_path / "metrics.csv"
    sink = MetricsFile(path)
    sink.begin(("ts", "equity"))
    sink.add(("a", "1"), wall_ns=START_NS)
    sink.add(("b", "2"), wall_ns=START_NS + NS_PER_S // 2)
    assert len(written(path)) == 1
    sink.add(("c", "3"), wall_ns=START_NS + NS_PER_S)
    assert len(written(path)) == 3
    for number in range(BUFFER_ROWS_MAX):
        sink.add((str(number), "4"), wall_ns=START_NS + NS_PER_S)
    assert len(written(path)) == 3 + BUFFER_ROWS_MAX


def test_an_old_file_is_begun_anew(tmp_path: Path) -> None:
    """A rebuilt report does not mix with the rows of the one before."""
    path = tmp_path / "metrics.csv"
    path.write_text("old\n1\n")
    path.chmod(0o644)
    sink = MetricsFile(path)
    sink.begin(("ts",))
    sink.close()
    assert path.read_text() == "ts\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_gone_stops_the_metrics_and_not_the_run(tmp_path: Path) -> None:
    """The fault is kept and every step goes on as if there were no file."""
    sink = MetricsFile(tmp_path / "gone" / "metrics.csv")
    run = SmallRun(collector=Collector(sink))
    run.feed(wave(5))
    run.collector.close()
    assert isinstance(sink.fault, FileNotFoundError)
    assert run.collector.metrics_rows == 6


def test_a_disk_that_begins_to_refuse_stops_the_metrics_and_not_the_run(tmp_path: Path) -> None:
    """After the first fault nothing more is written or kept, and the run goes on."""
    sink = MetricsFile(tmp_path / "metrics.csv")
    run = SmallRun(collector=Collector(sink))
    run.feed(wave(2))
    reader, writer = os.pipe()
    os.close(reader)  # From here on each write to the file is refused.
    os.dup2(writer, sink._descriptor)
    os.close(writer)
    run.feed(quote(3 + tick / 10, 50_000.0) for tick in range(100))
    sink.add(("row",), wall_ns=run.journal[-1][0] + NS_PER_S)
    fault = sink.fault
    run.feed(quote(14 + tick / 10, 50_000.0) for tick in range(100))
    run.collector.close()
    assert isinstance(fault, BrokenPipeError)
    assert sink.fault is fault
    assert sink._lines == []
    assert run.collector.metrics_rows == 24


@pytest.mark.requirement("B21")
def test_the_json_copy_has_the_same_rows(tmp_path: Path) -> None:
    """Money stays decimal text, measures become numbers, unknown becomes null."""
    path = tmp_path / "metrics.csv"
    run = SmallRun(interval_s=60, collector=Collector(MetricsFile(path)))
    run.feed(wave(2)).feed([heartbeat(2.5), quote(3.5, 50_000.0)])
    run.collector.close()
    copy = json.loads(b"".join(json_pieces(path)))
    lines = written(path)
    assert copy["columns"] == list(lines[0])
    assert len(copy["rows"]) == len(lines) == 4
    first = dict(zip(copy["columns"], copy["rows"][0], strict=True))
    last = dict(zip(copy["columns"], copy["rows"][-1], strict=True))
    assert (first["equity"], first["price_BTCUSDT"], first["rss_mb"]) == ("10000.00", None, None)
    assert (last["feed_age_ms"], last["queue_depth"], last["rss_mb"]) == (0, 3, 120.5)


@pytest.mark.parametrize(
    "text, rows",
    [
        ("", []),
        ("ts,equity\n", []),
        ("ts,equity\na,1\nb", [["a", "1"]]),
        ('ts,"price_A,B"\na,1\n', [["a", "1"]]),
    ],
)
def test_the_json_copy_of_any_file_is_json(tmp_path: Path, text: str, rows: list[list[str]]) -> None:
    """Empty, without rows, cut off by a full disk, a comma in a symbol: always an object with whole rows."""
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    assert json.loads(b"".join(json_pieces(path)))["rows"] == rows


def test_without_metrics_the_json_copy_is_empty(tmp_path: Path) -> None:
    """A run whose disk refused from the start has no rows."""
    assert json.loads(b"".join(json_pieces(tmp_path / "none.csv"))) == {"columns": [], "rows": []}
