"""The ledger: every row once, off the loop, whatever the database does; rebuilt by writing the same rows again."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agora.domain.errors import UsageFault
from agora.domain.orders import Side
from agora.report import ledger
from agora.report.ledger import Ledger, ledger_url, open_ledger, shown_url
from agora.report.ledger_tables import (
    NOTE_CHARS_MAX,
    Interaction,
    LedgerRow,
    RunRow,
    Transaction,
    storable,
)

RUN = RunRow(run_id="r-1", started_ts_ns=5, seed=7, config_hash="c0ffee", version="0.1.0")


def trade(number: int, **facts: Any) -> Transaction:
    """An unremarkable trade."""
    usual: dict[str, Any] = {
        "tick": number // 3, "ts_ns": number * 1_000, "symbol": "ACME", "price": "101.25", "price_ticks": 10_125,
        "size_lots": 3, "taker_side": Side.SELL, "maker": "mm-1", "taker": "whale-2", "maker_fee_units": -5,
        "taker_fee_units": 12,
    }  # fmt: skip
    return Transaction(number=number, **{**usual, **facts})


def decision(number: int, note: str = "the trend holds") -> Interaction:
    """An unremarkable decision."""
    return Interaction(
        number=number,
        tick=number,
        ts_ns=number * 1_000,
        agent="fomo-1",
        persona="fomo",
        outcome="ok",
        orders=2,
        refused=1,
        note=note,
        cost_units=40,
    )


def stored(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a reader of the database file sees."""
    with closing(sqlite3.connect(folder / ledger.FILE_NAME)) as connection:
        return connection.execute(statement).fetchall()


def written(folder: Path, rows: list[LedgerRow], configured: str = "", **totals: int) -> Ledger:
    """A ledger that took these rows and was closed."""

    async def write(book: Ledger) -> None:
        for row in rows:
            book.record(row)
            if book.is_full:
                await book.room()
        await book.close(**{"transactions": 0, "interactions": 0, **totals})

    return conducted(folder, write, configured)


def conducted(folder: Path, script: Callable[[Ledger], Coroutine[Any, Any, None]], configured: str = "") -> Ledger:
    """A ledger with which a script was run on an event loop."""

    async def main() -> Ledger:
        book = open_ledger(configured, folder, RUN)
        await script(book)
        return book

    return asyncio.run(main())


async def recovery_of(book: Ledger) -> None:
    """Wait for the ledger's own next try."""
    while book.is_failing:  # noqa: ASYNC110 - the thread that tries again has no event for us
        await asyncio.sleep(0)


def test_every_row_is_stored_as_it_was(tmp_path: Path) -> None:
    """Trades with exact prices, lots, sides, accounts and fees; decisions with outcome, note and cost; the run."""
    book = written(tmp_path, [trade(1), decision(1)], transactions=1, interactions=1)
    assert book.is_complete
    assert stored(tmp_path, "select * from transactions") == [
        ("r-1", 1, 0, 1_000, "ACME", "101.25", 10_125, 3, "sell", "mm-1", "whale-2", -5, 12)
    ]
    assert stored(tmp_path, "select * from interactions") == [
        ("r-1", 1, 1, 1_000, "fomo-1", "fomo", "ok", 2, 1, "the trend holds", 40)
    ]
    assert stored(tmp_path, "select * from runs") == [("r-1", 5, 7, "c0ffee", "0.1.0", 1)]


def test_the_file_is_its_owners_only_and_readers_do_not_wait(tmp_path: Path) -> None:
    """Mode 0600 and a write-ahead log; nothing but the database file is left after the end."""
    written(tmp_path, [trade(1)], transactions=1)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert stored(tmp_path, "pragma journal_mode") == [("wal",)]


@pytest.mark.requirement("R9")
def test_a_full_queue_makes_the_loop_wait_and_drops_nothing(tmp_path: Path) -> None:
    """Three queues full of rows, recorded as fast as Python can: all arrive, in order, and memory stays bounded."""
    count = 3 * ledger.WAITING_ROWS_MAX
    waits = []

    async def flood(book: Ledger) -> None:
        for number in range(1, count + 1):
            book.record(trade(number))
            assert book._unwritten <= ledger.WAITING_ROWS_MAX
            if book.is_full:
                waits.append(number)
                await book.room()
        await book.close(transactions=count, interactions=0)

    book = conducted(tmp_path, flood)
    assert waits, "the queue was never full: the test proves nothing"
    assert (book.is_complete, book.rows_lost, book.failures) == (True, 0, 0)
    assert stored(tmp_path, "select count(*), min(number), max(number) from transactions") == [(count, 1, count)]


@pytest.mark.requirement("R9")
def test_the_loop_runs_on_while_rows_are_written(tmp_path: Path) -> None:
    """Between asking for a flush and its end other tasks of the loop get their turns."""
    turns = []

    async def flush_beside_others(book: Ledger) -> None:
        for number in range(1, 20_001):
            book.record(trade(number))
        flushed = book.flush()
        while not flushed.done():
            turns.append(1)
            await asyncio.sleep(0)
        await book.close(transactions=20_000, interactions=0)

    conducted(tmp_path, flush_beside_others)
    assert len(turns) > 100


def test_a_resumed_or_rebuilt_run_writes_nothing_twice(tmp_path: Path) -> None:
    """Half the rows and an end without order; then all rows again, as a replay of the journal gives them."""
    rows: list[LedgerRow] = [kind(number) for number in range(1, 101) for kind in (trade, decision)]

    async def die_half_way(book: Ledger) -> None:
        for row in rows[:80]:
            book.record(row)
        await book.flush()

    conducted(tmp_path, die_half_way)
    before = stored(tmp_path, "select * from transactions order by number")
    assert (len(before), stored(tmp_path, "select complete from runs")) == (40, [(0,)])

    book = written(tmp_path, rows, transactions=100, interactions=100)
    after = stored(tmp_path, "select * from transactions order by number")
    assert book.is_complete
    assert (after[:40], len(after)) == (before, 100)
    assert stored(tmp_path, "select count(*) from interactions") == [(100,)]
    assert stored(tmp_path, "select complete from runs") == [(1,)]


def test_a_ledger_with_a_gap_is_not_called_complete(tmp_path: Path) -> None:
    """Rows that were lost in an earlier life of the run are missed at its end, though this life lost none."""
    book = written(tmp_path, [trade(1), trade(3)], transactions=3)
    assert not book.is_complete
    assert stored(tmp_path, "select complete from runs") == [(0,)]


def test_a_failing_database_stops_nothing_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No folder, no database: recording goes on, tries are counted, one warning; then the close returns."""
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "absent"

    async def record_into_nothing(book: Ledger) -> None:
        book.record(trade(1))
        await book.flush()
        assert book.is_failing
        for number in range(2, ledger.WAITING_ROWS_MAX + 11):
            book.record(trade(number))
            assert not book.is_full
        await book.close(transactions=ledger.WAITING_ROWS_MAX + 10, interactions=0)

    book = conducted(folder, record_into_nothing)
    assert not book.is_complete
    assert book.failures >= 2
    assert book.rows_lost == ledger.WAITING_ROWS_MAX + 10
    assert [record.name for record in caplog.records] == ["agora.ledger"]


def test_a_database_that_comes_back_gets_the_rows_that_waited(tmp_path: Path) -> None:
    """Rows of the outage wait in memory; after it all are there and the run is complete."""
    folder = tmp_path / "late"

    async def outage(book: Ledger) -> None:
        book.record(trade(1))
        await book.flush()
        assert book.is_failing
        folder.mkdir()
        book.record(trade(2))
        await recovery_of(book)
        await book.close(transactions=2, interactions=0)

    book = conducted(folder, outage)
    assert book.is_complete
    assert book.rows_lost == 0
    assert stored(folder, "select number from transactions") == [(1,), (2,)]


def test_a_row_no_database_takes_costs_its_batch_and_no_more(tmp_path: Path) -> None:
    """A number beyond 64 bits would fail at every retry; what comes after it is written."""

    async def poison(book: Ledger) -> None:
        book.record(trade(1, size_lots=2**70))
        await book.flush()
        book.record(trade(2))
        await book.close(transactions=2, interactions=0)

    book = conducted(tmp_path, poison)
    assert (book.is_complete, book.rows_lost, book.failures) == (False, 1, 1)
    assert stored(tmp_path, "select number from transactions") == [(2,)]


def test_a_database_that_never_answers_delays_the_end_by_a_bound(tmp_path: Path) -> None:
    """A server that accepts and says nothing: the close gives up within its time limits."""

    async def main() -> Ledger:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            book = open_ledger(f"postgresql://u:pw@127.0.0.1:{port}/db", tmp_path, RUN)
            book.record(trade(1))
            async with asyncio.timeout(3 * ledger.STALL_S):
                await book.close(transactions=1, interactions=0)
        return book

    pytest.importorskip("psycopg")
    book = asyncio.run(main())
    assert not book.is_complete
    assert book.rows_lost == 1


@pytest.mark.parametrize(
    "name, text, kept",
    [
        ("NUL, which PostgreSQL refuses", "a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("half a surrogate pair", "a\ud800b", "a?b"),
        ("other scripts", "Zürich 東京 🚀", "Zürich 東京 🚀"),
        ("a novel", "x" * 9_999, "x" * NOTE_CHARS_MAX),
        ("statements", "'); drop table runs; --", "'); drop table runs; --"),
    ],
)
def test_whatever_a_model_writes_is_stored_as_text(tmp_path: Path, name: str, text: str, kept: str) -> None:
    """Notes are other people's words: shortened and made storable, never a reason to lose a batch."""
    assert storable(text, NOTE_CHARS_MAX) == kept, name
    book = written(tmp_path, [decision(1, text)], interactions=1)
    assert book.is_complete
    assert stored(tmp_path, "select note from interactions") == [(kept,)]


@pytest.mark.parametrize(
    "configured, shown",
    [
        ("postgresql://agora:hunter2@db.example/market", "postgresql+psycopg://agora:***@db.example/market"),
        ("postgres://agora:hunter2@db.example/market", "postgresql+psycopg://agora:***@db.example/market"),
        ("postgresql://db.example/market?user=agora&password=hunter2", "postgresql+psycopg://db.example/market"),
        ("sqlite:////srv/ledger.sqlite", "sqlite:////srv/ledger.sqlite"),
    ],
)
def test_a_url_is_shown_without_its_password(configured: str, shown: str) -> None:
    """Neither the password of the address nor the one of the query is in what people see."""
    assert shown_url(ledger_url(configured, Path("/run"))) == shown


@pytest.mark.parametrize(
    "configured", ["hunter2", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d", "sqlite://", "://hunter2"]
)
def test_a_url_that_cannot_be_meant_is_refused_without_being_repeated(configured: str) -> None:
    """The message says what is expected and not what was given, which may hold a password."""
    with pytest.raises(UsageFault, match="ledger's URL") as refusal:
        ledger_url(configured, Path("/run"))
    assert "hunter2" not in str(refusal.value)


def test_a_failure_is_logged_without_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that refuses the connection is named; the password of its URL is not."""
    pytest.importorskip("psycopg")
    book = written(tmp_path, [trade(1)], "postgresql://agora:hunter2@127.0.0.1:1/x", transactions=1)
    assert not book.is_complete
    assert "127.0.0.1" in caplog.text
    assert "hunter2" not in caplog.text
