"""The ledger in a real PostgreSQL server: the same rows as in SQLite, through a restart, with the password kept."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from agora.report.ledger import Ledger, ledger_url, open_ledger
from agora.report.ledger_tables import Interaction, RunRow, Transaction
from tests.report.postgresql import PASSWORD, Server, running_server
from tests.report.test_ledger import RUN, decision, recovery_of, trade, written

pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed (extra postgresql)")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for this file, in a folder of its own that the server's user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="agora-postgresql-"))
    try:
        with running_server(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stored(server: Server, statement: str) -> list[tuple[Any, ...]]:
    """What a reader of the database sees."""
    engine = create_engine(ledger_url(server.url, Path()))
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]
    finally:
        engine.dispose()


def test_rows_are_stored_once_and_exactly(server: Server, tmp_path: Path) -> None:
    """The same rows twice, with text that PostgreSQL is particular about: one exact copy, complete."""
    rows: list[Transaction | Interaction] = [
        *(trade(number) for number in range(1, 5_001)),
        decision(1, "half \ud800 and \0 and 東京"),
    ]
    for _ in range(2):
        book = written(tmp_path, rows, server.url, transactions=5_000, interactions=1)
        assert book.is_complete, book.failures
    assert stored(server, "select count(*), sum(size_lots), sum(taker_fee_units) from transactions") == [
        (5_000, 15_000, 60_000)
    ]
    assert stored(server, "select price, taker_side, maker, ts_ns from transactions where number = 7") == [
        ("101.25", "sell", "mm-1", 7_000)
    ]
    assert stored(server, "select note from interactions") == [("half ? and \N{REPLACEMENT CHARACTER} and 東京",)]
    assert stored(server, "select run_id, complete from runs") == [("r-1", True)]
    assert list(tmp_path.iterdir()) == [], "nothing belongs in the run folder when a URL is set"


def test_a_restart_of_the_server_loses_nothing(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections break in the middle of a run; rows wait and are written when the server is back."""
    run = RunRow(run_id="r-2", started_ts_ns=1, seed=1, config_hash="", version="")

    async def main() -> Ledger:
        book = open_ledger(server.url, tmp_path, run)
        book.record(trade(1))
        await book.flush()
        assert not book.is_failing
        server.stop()
        book.record(trade(2))
        await book.flush()
        assert book.is_failing
        server.start()
        await recovery_of(book)
        book.record(trade(3))
        await book.close(transactions=3, interactions=0)
        return book

    book = asyncio.run(main())
    assert book.is_complete
    assert stored(server, "select number from transactions where run_id = 'r-2' order by number") == [(1,), (2,), (3,)]
    assert PASSWORD not in caplog.text


def test_runs_share_a_database(server: Server, tmp_path: Path) -> None:
    """Two runs at the same moment, into tables of which each thinks it makes them: both are complete."""

    async def one(name: str) -> Ledger:
        run = RunRow(run_id=name, started_ts_ns=RUN.started_ts_ns, seed=1, config_hash="", version="")
        book = open_ledger(server.url, tmp_path, run)
        for number in range(1, 501):
            book.record(trade(number))
        await book.flush()
        await recovery_of(book)
        await book.close(transactions=500, interactions=0)
        return book

    async def both() -> list[Ledger]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(name)) for name in ("left", "right")]
        return [task.result() for task in tasks]

    assert all(book.is_complete for book in asyncio.run(both()))
    counts = "select run_id, count(*) from transactions where run_id in ('left', 'right') group by run_id order by 1"
    assert stored(server, counts) == [("left", 500), ("right", 500)]
