"""Reading a journal in order, every line verified against its hash and its predecessor.

Three things can be wrong, and `JournalReader` tells them apart without changing a file:

* a damaged *tail*: the last line of the live file is incomplete or does not verify, and nothing follows it.
  That is what a crash leaves behind. The lines before it are the journal.
* a *hole* in the merged order: the two chains end at different records. A writer makes market data durable
  before it writes the events that follow them, and answers a commit after both; so after a crash the events
  can be behind the market data, and the market records after the hole were never committed: nothing was
  decided on them that could have left. The records before the hole are the journal. An event after a hole
  means that market data were lost which had been durable. If nothing but passing notes were recorded after
  it, the cut is the same; if there is any durable kind (an intent whose order may have left, a fill, a
  tripped breaker), the record of what we did would be destroyed by the cut, and the journal is refused.
* anything else (a bad line with lines after it, a record that does not name its predecessor, a missing or
  unreadable sealed segment) is damage in the *middle*: `DamagedJournal`, with the place.

What was cut off cleanly at the very end, together in both files, cannot be seen from the journal alone; a
checkpoint beyond the end or a report with another head hash gives it away.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agora.domain.errors import DamagedJournal
from agora.journal.checkpoint import StateCheckpoint
from agora.journal.disk import Disk, disk_faults
from agora.journal.records import DURABLE_KINDS, GENESIS, Header, Record, check_line, decode_line
from agora.journal.segments import (
    Chain,
    Dropped,
    first_line,
    live_name,
    read_dropped,
    read_file,
    sealed_name,
    sealed_segments,
)


class Line(msgspec.Struct, frozen=True, gc=False):
    """A verified line and its place: `number` counts from 1 in its file, `offset` is in bytes."""

    header: Header
    raw: bytes
    file: str
    number: int
    offset: int


class ChainReader:
    """The verified lines of one chain. After iteration `torn_at` is where a damaged tail begins, if there is
    one.
    """

    def __init__(self, disk: Disk, chain: Chain, *, dropped: Dropped | None, after: StateCheckpoint | None) -> None:
        self._disk = disk
        self._chain = chain
        # Where the checkpoint's own market record was given up, the note of that is what the chain hangs on.
        self._after = after if after and not (dropped and dropped.seq > after.seq) else None
        self._prev = dropped.hash if dropped else GENESIS
        self._seq = dropped.seq if dropped else 0
        self._is_anchored = True  # whether the predecessor of the next line is known
        self._first_number = dropped.segment + 1 if dropped else 1
        self.torn_at: int | None = None

    def __iter__(self) -> Iterator[Line]:
        for name in self._files():
            content = read_file(self._disk, name)
            is_live = name == live_name(self._chain)
            yield from self._lines(content, name, is_live=is_live)
        self._check_anchor(None)

    def _files(self) -> list[str]:
        sealed = sealed_segments(self._disk, self._chain)
        names = {number: name for number, name in sealed.items() if number >= self._first_number}
        for number in range(self._first_number, max(names, default=0)):
            if number not in names:
                raise DamagedJournal(f"{sealed_name(self._chain, number)}: the sealed segment is missing")
        files = list(names.values())
        if self._disk.exists(live_name(self._chain)):
            files.append(live_name(self._chain))
        return self._from_checkpoint(files)

    def _from_checkpoint(self, files: list[str]) -> list[str]:
        """Leave out the files that lie wholly before the checkpoint."""
        if self._after is None:
            return files
        for index in range(len(files) - 1, 0, -1):
            header = check_line(first_line(self._disk, files[index]))
            if isinstance(header, str):
                continue  # empty, torn or damaged: an earlier start will find out which
            if header.seq <= self._after.seq:
                self._is_anchored = False
                return files[index:]
        return files

    def _lines(self, content: bytes, name: str, *, is_live: bool) -> Iterator[Line]:
        offset, number = 0, 1
        while offset < len(content):
            end = content.find(b"\n", offset)
            raw = content[offset:end]
            header = check_line(raw) if end >= 0 else "the line has no end"
            if isinstance(header, str):
                if is_live and _is_torn_tail(content[offset:]):
                    self.torn_at = offset
                    return
                raise DamagedJournal(f"{name} line {number}, after record {self._seq}: {header}")
            self._link(header, name=name, number=number)
            yield Line(header, raw, name, number, offset)
            offset, number = end + 1, number + 1

    def _link(self, header: Header, *, name: str, number: int) -> None:
        self._check_anchor(header)
        if self._is_anchored and header.prev != self._prev:
            raise DamagedJournal(
                f"{name} line {number}: record {header.seq} does not follow record {self._seq}: "
                f"expected prev {self._prev}, found {header.prev}"
            )
        if header.seq <= self._seq:
            raise DamagedJournal(f"{name} line {number}: expected a record after {self._seq}, found {header.seq}")
        self._prev, self._seq, self._is_anchored = header.hash, header.seq, True

    def _check_anchor(self, header: Header | None) -> None:
        """Before the first record beyond the checkpoint the chain must be where the checkpoint saw it."""
        after = self._after
        if after is None or (header is not None and header.seq <= after.seq):
            return
        expected = after.head_hash if self._chain is Chain.EVENTS else after.market_head_hash
        if self._prev != expected:
            raise DamagedJournal(
                f"{live_name(self._chain)}: record {self._seq} is the last one up to the checkpoint at "
                f"{after.seq}, which saw another: expected {expected}, found {self._prev}"
            )
        self._after = None


class JournalReader:
    """All records of both chains in one order. After iteration the attributes say where the journal ends.

    `cut_at`: per chain the byte in its live file from which on nothing counts. With `after` (a checkpoint of
    this journal) reading begins at the file that holds its last record, and records up to it may be
    incomplete.
    """

    def __init__(self, disk: Disk, *, after: StateCheckpoint | None = None) -> None:
        self.dropped = read_dropped(disk)
        self._readers = {
            Chain.EVENTS: ChainReader(disk, Chain.EVENTS, dropped=None, after=after),
            Chain.MARKET: ChainReader(disk, Chain.MARKET, dropped=self.dropped, after=after),
        }
        self._dropped_seq = self.dropped.seq if self.dropped else 0
        self._complete_from = max(after.seq if after else 0, self._dropped_seq)
        self._missing = 0
        self._after = after
        self.seq = 0
        self.heads = {Chain.EVENTS: GENESIS, Chain.MARKET: GENESIS}
        if after:
            self.heads = {Chain.EVENTS: after.head_hash, Chain.MARKET: after.market_head_hash}
        if self.dropped and (after is None or after.seq < self.dropped.seq):
            self.heads[Chain.MARKET] = self.dropped.hash
        self.cut_at: dict[Chain, int] = {}

    def __iter__(self) -> Iterator[Line]:
        lines = {chain: iter(reader) for chain, reader in self._readers.items()}
        heads = {chain: next(of_chain, None) for chain, of_chain in lines.items()}
        while True:
            chain, line = _earlier(heads)
            if line is None:
                break
            seq = line.header.seq
            if seq <= self.seq:
                raise DamagedJournal(f"{line.file} line {line.number}: record {seq} is there twice")
            if seq != self.seq + 1 and seq - 1 > self._complete_from:
                self._cut_after_hole(heads, lines)
                break
            self._missing += seq - self.seq - 1
            self.seq = seq
            self.heads[chain] = line.header.hash
            yield line
            heads[chain] = next(lines[chain], None)
        self._end()

    def _cut_after_hole(self, heads: dict[Chain, Line | None], lines: dict[Chain, Iterator[Line]]) -> None:
        """Give up what follows a hole, unless it was durable (see the head of this file)."""
        missing = max(self.seq, self._complete_from) + 1
        for chain, first in heads.items():
            if first is None:
                continue
            for line in (first, *lines[chain]):
                is_sealed = line.file != live_name(chain)
                if is_sealed or line.header.kind in DURABLE_KINDS:
                    raise DamagedJournal(
                        f"record {missing} is missing, but {line.file} line {line.number} holds "
                        f"{line.header.kind} {line.header.seq}, which was durable"
                    )
            self.cut_at[chain] = first.offset

    def _end(self) -> None:
        for chain, reader in self._readers.items():
            if reader.torn_at is not None:
                self.cut_at[chain] = min(reader.torn_at, self.cut_at.get(chain, reader.torn_at))
        self._missing += max(self._dropped_seq - self.seq, 0)
        self.seq = max(self.seq, self._dropped_seq)
        if self._after is None and self._missing != (self.dropped.records if self.dropped else 0):
            raise DamagedJournal(
                f"up to record {self._dropped_seq} there are {self._missing} records missing, "
                f"more or fewer than the disk budget has cost"
            )
        if self._after is not None and self.seq < self._after.seq:
            raise DamagedJournal(
                f"the journal ends at record {self.seq}, but a checkpoint saw record {self._after.seq}"
            )


def read_records(disk: Disk, *, after: StateCheckpoint | None = None) -> Iterator[Record]:
    """The typed records in order, those after the checkpoint if one is given; `DamagedJournal` names a bad
    place.

    What a crash left behind at the end (see the head of this file) is not part of the journal and is not
    read.
    """
    first_seq = after.seq + 1 if after else 1
    with disk_faults("reading the journal"):
        for line in JournalReader(disk, after=after):
            if line.header.seq < first_seq:
                continue
            try:
                record = decode_line(line.raw)
            except DamagedJournal as fault:
                raise DamagedJournal(f"{line.file} line {line.number}: {fault}") from fault
            yield record


def _earlier(heads: dict[Chain, Line | None]) -> tuple[Chain, Line | None]:
    events, market = heads[Chain.EVENTS], heads[Chain.MARKET]
    if market is None or (events is not None and events.header.seq < market.header.seq):
        return Chain.EVENTS, events
    return Chain.MARKET, market


def _is_torn_tail(tail: bytes) -> bool:
    """Whether the rest of a file, beginning with a bad line, is what a crash leaves: no complete line, no
    record.
    """
    line, _, rest = tail.partition(b"\n")
    return b"\n" not in rest and not _holds_record(line[1:]) and not _holds_record(rest)


def _holds_record(piece: bytes) -> bool:
    """Whether a record ends the piece: two lines run together when the byte between them is damaged."""
    start = piece.find(b'{"')
    while start >= 0:
        if not isinstance(check_line(piece[start:]), str):
            return True
        start = piece.find(b'{"', start + 1)
    return False
