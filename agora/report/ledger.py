"""The market's ledger in a database, written by one thread in batches so that the event loop never waits for a disk.

A projection of the journal: what is missing in it can be written again from there. A database that fails is said,
counted and tried again; it never stops a run. Knows when rows are written, not what is in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError

from agora.domain.errors import UsageFault
from agora.report.ledger_tables import LedgerRow, RunRow, add_rows, close_run, open_run

LOGGER = logging.getLogger("agora.ledger")
FILE_NAME = "ledger.sqlite"

# Someone who looks into the database of a running market sees it at most this far behind.
FLUSH_S = 1.0
# One database transaction: a few milliseconds in SQLite, and what a fault of one row can cost.
BATCH_ROWS_MAX = 2_000
# What may wait in memory: ten seconds of the busiest rule-only market, about 20 MB.
WAITING_ROWS_MAX = 40_000
# A database that has not taken a batch for so long is treated as failing: the market goes on without it.
STALL_S = 5.0
# Between two tries of a failing database; the last one repeats. A restart of PostgreSQL takes a few seconds.
RETRY_AFTER_S = (0.1, 0.5, 2.0)
# A server that takes longer over a batch of inserts, or to accept a connection, is down for our purposes.
DATABASE_TIMEOUT_S = 4

_ROW_FAULTS = (DataError, IntegrityError, OverflowError, ValueError)
_DATABASE_FAULTS = (SQLAlchemyError, OSError)


class _Totals(msgspec.Struct, frozen=True):
    """How many rows of each kind the run has in all."""

    transactions: int
    interactions: int


def ledger_url(configured: str, folder: Path) -> URL:
    """The database of a run: `configured` (`postgresql://…` or `sqlite:///…`), or a file in the run's folder.

    Raises `UsageFault` without repeating the text, which may hold a password.
    """
    if not configured:
        return URL.create("sqlite", database=str(folder / FILE_NAME))
    try:
        url = make_url(configured.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise UsageFault("the ledger's URL cannot be read: postgresql://user@host/database is expected") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database:
        return url.set(drivername="sqlite")
    raise UsageFault(f"the ledger's URL names {backend!r}: sqlite with a file, or postgresql, is expected")


def shown_url(url: URL) -> str:
    """The URL for people and logs: without its password and without its query, which may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


class Ledger:
    """Takes rows at once and writes them off the loop, in order of arrival. Used from one event loop.

    After each tick: `if ledger.is_full: await ledger.room()`. While the database works no row is dropped; while
    it fails, rows wait as long as there is space for them and are then lost, counted in `rows_lost`.
    """

    def __init__(self, url: URL, run: RunRow) -> None:
        self.place = shown_url(url)
        self.is_complete = False
        self._engine = _engine_of(url)
        self._file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
        self._password = str(url.password or "")
        self._run = run
        self._rows: deque[LedgerRow] = deque()
        self._batch: list[LedgerRow] = []  # taken from the queue and not yet written; kept over failed tries
        self._recorded = 0
        self._settled = 0  # written or given up
        self._refused = 0
        self._given_up = 0
        self._failures = 0
        self._totals: _Totals | None = None
        self._is_open = False
        self._is_failing = False
        self._is_abandoned = False
        self._is_done = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[asyncio.Future[None], Callable[[], bool]]] = []
        self._failing = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether the caller must await `room` before its next tick."""
        return not self._is_failing and self._unwritten >= WAITING_ROWS_MAX

    @property
    def is_failing(self) -> bool:
        """Whether the last try to write failed, or takes too long."""
        return self._is_failing

    @property
    def failures(self) -> int:
        """Failed tries so far."""
        return self._failures

    @property
    def rows_lost(self) -> int:
        """Rows that the database did not get; the journal has them."""
        return self._refused + self._given_up + (self._unwritten if self._is_done else 0)

    @property
    def _unwritten(self) -> int:
        return self._recorded - self._settled

    def record(self, row: LedgerRow) -> None:
        """Take a row; never waits, never raises."""
        if self._unwritten >= WAITING_ROWS_MAX and self._is_failing:
            self._refused += 1
            return
        self._recorded += 1
        self._rows.append(row)
        if self._unwritten == BATCH_ROWS_MAX:
            self._wake.set()

    def room(self) -> Awaitable[None]:
        """Wait until there is room again, or the database is found to be failing."""
        return self._when(lambda: not self.is_full)

    def flush(self) -> Awaitable[None]:
        """Wait until all rows so far are written, or the database is found to be failing."""
        return self._when(lambda: self._is_failing or (self._is_open and self._unwritten == 0))

    def close(self, *, transactions: int, interactions: int) -> Awaitable[None]:
        """Write what waits and mark the run complete if the database then holds that many rows of it.

        The counts are those of the run's whole life. A failing database is tried once more; `is_complete` says
        how it went. Calling it again changes nothing.
        """
        self._totals = self._totals or _Totals(transactions, interactions)
        self._closing.set()
        return self._when(lambda: self._is_done)

    def _when(self, is_true: Callable[[], bool]) -> asyncio.Future[None]:
        """A future that is done once a condition holds, or nothing moves for `STALL_S`."""
        self._loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((answer, is_true))
        self._watch(answer, settled=-1)
        self._wake.set()
        self._look()
        return answer

    def _watch(self, answer: asyncio.Future[None], *, settled: int) -> None:
        """Look every `STALL_S` whether rows are still being written; if not, go on without the database."""
        if answer.done():
            return
        if self._settled == settled:
            self._is_abandoned = self._totals is not None
            self._is_done = self._is_done or self._is_abandoned
            self._note_failure(f"nothing was written for {STALL_S:g} s")
            self._look()
            return
        answer.get_loop().call_later(STALL_S, partial(self._watch, answer, settled=self._settled))

    def _look(self) -> None:
        """Answer those whose condition holds."""
        waiting, self._waiting = self._waiting, []
        for answer, is_true in waiting:
            if answer.done():  # cancelled while it waited
                continue
            if is_true():
                answer.set_result(None)
            else:
                self._waiting.append((answer, is_true))

    def _note_failure(self, text: str) -> None:
        """Count a failure; the first one is said."""
        with self._failing:
            self._failures += 1
            self._is_failing = True
            is_first = self._failures == 1
        if is_first:
            LOGGER.warning("the ledger %s cannot be written and stays incomplete for now: %s", self.place, text)

    # What follows runs on the ledger's own thread.

    def _work(self) -> None:
        tries = 0
        try:
            while not self._is_abandoned:
                totals = self._totals  # before writing: what was recorded before `close` is then written
                tries = 0 if self._write_all(totals) else tries + 1
                if totals is not None:
                    return
                self._tell()
                self._pause(tries)
        finally:
            self._engine.dispose()
            self._is_done = True
            self._tell()

    def _pause(self, tries: int) -> None:
        """Until there is something to write; after a failure for a while, which only `close` cuts short."""
        if tries:
            self._closing.wait(RETRY_AFTER_S[min(tries, len(RETRY_AFTER_S)) - 1])
        else:
            self._wake.wait(FLUSH_S)
        self._wake.clear()

    def _write_all(self, totals: _Totals | None) -> bool:
        try:
            self._open()
            while not self._is_abandoned and self._write_batch():
                self._is_failing = False
                self._tell()
            if totals is not None:
                with self._engine.begin() as connection:
                    self.is_complete = close_run(connection, self._run.run_id, **msgspec.structs.asdict(totals))
        except _DATABASE_FAULTS as fault:
            self._note_failure(self._safe_text(fault))
            return False
        self._is_failing = False
        return True

    def _open(self) -> None:
        if self._is_open:
            return
        if self._file is not None:  # made by us, so that nobody else may read it
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self._engine.begin() as connection:
            open_run(connection, self._run)
        self._is_open = True

    def _write_batch(self) -> bool:
        """One database transaction; whether there was anything to write. A batch that no retry can help is lost."""
        while self._rows and len(self._batch) < BATCH_ROWS_MAX:
            self._batch.append(self._rows.popleft())
        if not self._batch:
            return False
        try:
            with self._engine.begin() as connection:
                add_rows(connection, self._run.run_id, self._batch)
        except _ROW_FAULTS as fault:
            self._given_up += len(self._batch)
            self._note_failure(self._safe_text(fault))
        self._settled += len(self._batch)
        self._batch = []
        return True

    def _safe_text(self, fault: Exception) -> str:
        """What a fault says, on one line and without the password."""
        text = f"{type(fault).__name__}: {fault}".split("\n", 1)[0]
        return text.replace(self._password, "***") if self._password else text

    def _tell(self) -> None:
        """Let the loop look at who waits."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody to tell
                self._loop.call_soon_threadsafe(self._look)


def open_ledger(configured: str, folder: Path, run: RunRow) -> Ledger:
    """The ledger of a run: at a configured URL, or in the run's folder when there is none. Raises `UsageFault`."""
    return Ledger(ledger_url(configured, folder), run)


def _engine_of(url: URL) -> Engine:
    """An engine with one connection and bounded waits; raises `UsageFault` when its driver is not installed."""
    # Parameters are left out of errors: they are other people's words.
    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": DATABASE_TIMEOUT_S}, **options)
        event.listen(engine, "connect", _tune_sqlite)
        return engine
    limits: dict[str, Any] = {
        "connect_timeout": DATABASE_TIMEOUT_S,
        "tcp_user_timeout": DATABASE_TIMEOUT_S * 1_000,
        "options": f"-c statement_timeout={DATABASE_TIMEOUT_S}s -c lock_timeout={DATABASE_TIMEOUT_S}s",
    }
    own = {name: value for name, value in limits.items() if name not in url.query}
    try:
        return create_engine(url, connect_args=own, **options)
    except ModuleNotFoundError:
        raise UsageFault("a ledger in PostgreSQL needs its driver: pip install 'agora[postgresql]'") from None


def _tune_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer; a power cut may cost the last second, which the journal has."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
