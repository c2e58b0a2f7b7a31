"""The journal as the runner sees it: append, commit, close. Encodes and links; a writer does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from agora.domain.errors import JournalFault
from agora.domain.events import DURABLE_TYPES, MARKET_TYPES, Event
from agora.journal.disk import Disk, disk_faults
from agora.journal.records import encode
from agora.journal.recovery import NOTHING, Recovered
from agora.journal.segments import Chain, has_journal
from agora.journal.store import Limits, Store
from agora.journal.writer import BUFFER_BYTES_MAX, ThreadWriter, Writer


class WriterFactory(Protocol):
    """Makes the writer of a log: `ThreadWriter`, `InlineWriter`, or either with its options bound."""

    def __call__(self, store: Store, *, last_seq: int) -> Writer:
        """A writer over an opened store whose next record has the number `last_seq + 1`."""
        ...


class Log:
    """Appends records to two chains under one counter, beginning with 1. Implements the port `Journal`.

    Used from one thread. `append` works on after a failure of the disk, so that a run can still flatten; the
    records then reach no disk, which `failure` and every `commit` say.
    """

    def __init__(self, writer: Writer, *, wall_ns: Callable[[], int], after: Recovered = NOTHING) -> None:
        self._writer = writer
        self._wall_ns = wall_ns
        self._seq = after.next_seq - 1
        self._head_hash = after.head_hash
        self._market_head_hash = after.market_head_hash
        self._last_wall_ns = 0

    @property
    def last_wall_ns(self) -> int:
        """The machine's time in the last record."""
        return self._last_wall_ns

    @property
    def seq(self) -> int:
        """Number of the last record; 0 when there is none."""
        return self._seq

    @property
    def records(self) -> int:
        """Records written in the life of the run, in both chains, deleted market data included."""
        return self._seq

    @property
    def durable_seq(self) -> int:
        """Every record up to this one is on disk."""
        return self._writer.durable_seq

    @property
    def head_hash(self) -> str:
        """Hash of the last record in events.jsonl, known as soon as it is appended."""
        return self._head_hash

    @property
    def market_head_hash(self) -> str:
        """Hash of the last record in market.jsonl."""
        return self._market_head_hash

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the disk that the runner must `commit` before it takes the next event."""
        return self._writer.buffered_bytes >= BUFFER_BYTES_MAX

    @property
    def failure(self) -> JournalFault | None:
        """Why nothing is written any more, None while all is well."""
        return self._writer.failure

    @property
    def dropped_market_before(self) -> int:
        """Market records with a smaller number were given up for the disk budget (0: none)."""
        return self._writer.dropped_market_before

    def append(self, event: Event, facts: dict[str, Any] | None = None) -> int:
        """Record an event (with readable extra members), return its sequence number. Never waits, never
        refuses.
        """
        seq = self._seq + 1
        is_market = type(event) in MARKET_TYPES
        prev = self._market_head_hash if is_market else self._head_hash
        self._last_wall_ns = wall_ns = self._wall_ns()
        line, digest = encode(event, seq=seq, wall_ns=wall_ns, prev=prev, facts=facts)
        self._seq = seq
        if is_market:
            self._market_head_hash = digest
            self._writer.put(Chain.MARKET, line, seq=seq)
            return seq
        self._head_hash = digest
        self._writer.put(Chain.EVENTS, line, seq=seq)
        if type(event) in DURABLE_TYPES:
            self._writer.request_sync()
        return seq

    async def commit(self) -> None:
        """Make everything appended so far durable; raises `JournalFault` when the disk fails."""
        if self._writer.durable_seq < self._seq or self._writer.failure is not None:
            await self._writer.commit()

    async def close(self) -> None:
        """Commit and let go of the files; raises `JournalFault` when the disk fails."""
        await self._writer.close()


def open_log(
    disk: Disk,
    *,
    wall_ns: Callable[[], int],
    after: Recovered | None = None,
    limits: Limits | None = None,
    writer: WriterFactory = ThreadWriter,
) -> Log:
    """A log in a new folder, or `after` recovery in the old one. Never writes into a journal it was not
    handed.
    """
    if after is None and has_journal(disk):
        raise JournalFault("the folder holds a journal already: recover it and go on after it")
    with disk_faults("opening the journal"):
        store = Store(disk, limits or Limits())
        store.open()
    after = after or NOTHING
    return Log(writer(store, last_seq=after.next_seq - 1), wall_ns=wall_ns, after=after)
