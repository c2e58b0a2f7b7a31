"""Who performs the disk work of a log: a thread in a real run, the event loop itself in virtual time.

Both take whatever has been put since the last time as one batch, so that any number of waiting commits costs
one sync per file. A failed batch is the last one: nothing more is written, and every commit from then on
fails.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from agora.domain.errors import JournalFault
from agora.journal.segments import Chain
from agora.journal.store import Batch, Store

# Lines that nobody waits for are on disk at least this often: the promise is a second, but an order waits for all that
# is not there yet, and a fifth of a second of a busy market syncs three times as fast as a whole one.
_FLUSH_S = 0.2
# As many bytes are worth a disk operation of their own: a millisecond of writing against about one of
# syncing.
_WAKE_BYTES = 256 * 1024
# What may wait in memory: about 25,000 records, seconds of the busiest feed, nothing to a laptop's memory.
BUFFER_BYTES_MAX = 8 * 1024 * 1024


class Writer(Protocol):
    """Takes lines in order, never blocking, and makes them durable."""

    @property
    def failure(self) -> JournalFault | None:
        """Why nothing is written any more."""
        ...

    @property
    def durable_seq(self) -> int:
        """Every record up to this one is on disk."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Bytes put but not yet taken to the disk."""
        ...

    @property
    def dropped_market_before(self) -> int:
        """Market records with a smaller sequence number were given up for the disk budget (0: none)."""
        ...

    def put(self, chain: Chain, line: bytes, *, seq: int) -> None:
        """Take the next line; after a failure it is let fall."""
        ...

    def request_sync(self) -> None:
        """Make what was put durable soon."""
        ...

    async def commit(self) -> None:
        """Return when all that was put is durable; `JournalFault` when it cannot be."""
        ...

    async def close(self) -> None:
        """Commit, finish the chores, let go of the files."""
        ...


class _Buffer:
    """Lines that wait for the disk, in two heaps with one end."""

    def __init__(self, last_seq: int) -> None:
        self.size_bytes = 0
        self._lines: dict[Chain, list[bytes]] = {chain: [] for chain in Chain}
        self._last_seq = last_seq

    def put(self, chain: Chain, line: bytes, *, seq: int) -> None:
        self._lines[chain].append(line)
        self._last_seq = seq
        self.size_bytes += len(line)

    def take(self) -> Batch:
        events, market = self._lines[Chain.EVENTS], self._lines[Chain.MARKET]
        self._lines = {chain: [] for chain in Chain}
        self.size_bytes = 0
        return Batch(b"".join(market), b"".join(events), self._last_seq)


def _fault(cause: Exception) -> JournalFault:
    fault = JournalFault(f"the journal cannot be written: {cause}")
    fault.__cause__ = cause
    return fault


class ThreadWriter:
    """One thread does all disk work; the event loop never waits for the disk, only for the answer.

    The thread wakes for a durable record, a waiting commit, `_WAKE_BYTES`, the end, or `_FLUSH_S` of quiet;
    not for each line. The lock is held for list operations only. The thread is a daemon: a run that fails to
    close its journal still ends, and has then lost at most a second of records nobody waited for.
    """

    def __init__(self, store: Store, *, last_seq: int) -> None:
        self._store = store
        self._buffer = _Buffer(last_seq)
        self._durable_seq = last_seq
        self._failure: JournalFault | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._taken: list[asyncio.Future[None]] = []
        self._is_closing = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> JournalFault | None:
        """Why nothing is written any more."""
        return self._failure

    @property
    def durable_seq(self) -> int:
        """Every record up to this one is on disk."""
        return self._durable_seq

    @property
    def buffered_bytes(self) -> int:
        """Bytes put but not yet taken to the disk."""
        return self._buffer.size_bytes

    @property
    def dropped_market_before(self) -> int:
        """Market records with a smaller sequence number were given up for the disk budget (0: none)."""
        return self._store.dropped_market_before

    def put(self, chain: Chain, line: bytes, *, seq: int) -> None:
        """Take the next line; after a failure it is let fall."""
        with self._lock:
            if self._failure is not None:
                return
            self._buffer.put(chain, line, seq=seq)
            is_worth_it = self._buffer.size_bytes >= _WAKE_BYTES
        if is_worth_it:
            self.request_sync()

    def request_sync(self) -> None:
        """Make what was put durable soon."""
        if not self._wake.is_set():
            self._wake.set()

    async def commit(self) -> None:
        """Return when all that was put is durable; `JournalFault` when it cannot be."""
        await self._answer(is_last=False)

    async def close(self) -> None:
        """Commit, finish the chores, let go of the files."""
        if self._is_closing:
            return
        await self._answer(is_last=True)
        self._thread.join()  # it has answered: nothing but its return is left

    async def _answer(self, *, is_last: bool) -> None:
        with self._lock:
            if self._failure is not None:
                raise _again(self._failure)
            if self._is_closing:
                raise JournalFault("the journal is closed")
            self._is_closing = is_last
            answer = asyncio.get_running_loop().create_future()
            self._waiting.append(answer)
        self._wake.set()
        await answer

    def _run(self) -> None:
        cause: Exception = JournalFault("its thread ended by a bug, which is on the standard error stream")
        try:
            while self._turn():
                pass
            return
        except (OSError, JournalFault) as fault:
            cause = fault
        finally:
            # Whatever else ended the thread: those who wait for it must hear of it.
            if not self._is_closed:
                self._fail(cause)

    def _turn(self) -> bool:
        """One round: lines first, then one piece of the chores; false when closed."""
        self._wake.wait(0 if self._store.has_chores else _FLUSH_S)
        self._wake.clear()
        with self._lock:
            is_closing = self._is_closing
            batch = self._buffer.take()
            self._taken, self._waiting = self._waiting, []
        if batch.last_seq > self._durable_seq:
            self._store.write(batch)
            self._durable_seq = batch.last_seq
        if is_closing:
            self._store.finish()
            self._is_closed = True
        _answer_all(self._taken, None)
        self._taken = []
        self._store.tidy()
        return not is_closing

    def _fail(self, cause: Exception) -> None:
        with self._lock:
            self._failure = _fault(cause)
            waiting = self._taken + self._waiting
            self._waiting = []
            self._buffer.take()
        with suppress(OSError):
            self._store.close()
        _answer_all(waiting, self._failure)


class InlineWriter:
    """Does the disk work in `commit` and `flush`, on the caller's thread: for virtual time, where order is
    the seed's.

    `delay` is awaited before each commit's work, in place of a disk that takes its time.
    """

    def __init__(self, store: Store, *, last_seq: int, delay: Callable[[], Awaitable[None]] | None = None) -> None:
        self._store = store
        self._buffer = _Buffer(last_seq)
        self._durable_seq = last_seq
        self._failure: JournalFault | None = None
        self._delay = delay
        self._is_closed = False

    @property
    def failure(self) -> JournalFault | None:
        """Why nothing is written any more."""
        return self._failure

    @property
    def durable_seq(self) -> int:
        """Every record up to this one is on disk."""
        return self._durable_seq

    @property
    def buffered_bytes(self) -> int:
        """Bytes put but not yet taken to the disk."""
        return self._buffer.size_bytes

    @property
    def dropped_market_before(self) -> int:
        """Market records with a smaller sequence number were given up for the disk budget (0: none)."""
        return self._store.dropped_market_before

    def put(self, chain: Chain, line: bytes, *, seq: int) -> None:
        """Take the next line; after a failure it is let fall."""
        if self._failure is not None:
            return
        self._buffer.put(chain, line, seq=seq)
        if self._buffer.size_bytes >= _WAKE_BYTES and not self._is_closed:
            self._work()

    def request_sync(self) -> None:
        """Nothing: only a commit or a flush makes durable, so that a test decides what a crash may take."""

    def flush(self) -> None:
        """Make all that was put durable now; `JournalFault` when it cannot be."""
        if self._failure is None:
            self._work()
        if self._failure is not None:
            raise _again(self._failure)

    async def commit(self) -> None:
        """Return when all that was put is durable; `JournalFault` when it cannot be."""
        if self._is_closed:
            raise JournalFault("the journal is closed")
        if self._delay is not None:
            await self._delay()
        self.flush()

    async def close(self) -> None:
        """Commit, finish the chores, let go of the files."""
        if self._is_closed:
            return
        await self.commit()
        self._is_closed = True
        self._guarded(self._store.finish)
        if self._failure is not None:
            raise _again(self._failure)

    def _work(self) -> None:
        batch = self._buffer.take()
        if batch.last_seq > self._durable_seq and self._guarded(lambda: self._store.write(batch)):
            self._durable_seq = batch.last_seq
        if self._failure is None:
            self._guarded(self._store.tidy)

    def _guarded(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except (OSError, JournalFault) as cause:
            self._failure = _fault(cause)
            with suppress(OSError):
                self._store.close()
        return self._failure is None


def _again(failure: JournalFault) -> JournalFault:
    """A fresh exception with the same cause: raising one object twice would pile up its traceback."""
    fresh = JournalFault(str(failure))
    fresh.__cause__ = failure.__cause__
    return fresh


def _answer_all(answers: list[asyncio.Future[None]], failure: JournalFault | None) -> None:
    """Hand the outcome to each waiting loop, in one wake-up per loop."""
    for loop in {answer.get_loop() for answer in answers}:
        own = [answer for answer in answers if answer.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, own, failure)


def _settle(answers: list[asyncio.Future[None]], failure: JournalFault | None) -> None:
    for answer in answers:
        if answer.done():  # cancelled while it waited
            continue
        if failure is None:
            answer.set_result(None)
        else:
            answer.set_exception(_again(failure))
