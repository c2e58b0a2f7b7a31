"""What a writer does to the disk: append and sync, seal full files, compress them, keep to the disk budget.

Runs wherever its writer runs it and is used by one thread at a time. Knows lines only as bytes.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator

import msgspec

from agora.domain.errors import DamagedJournal, UsageFault
from agora.journal.disk import Disk, write_fully
from agora.journal.records import check_line
from agora.journal.segments import (
    Chain,
    Dropped,
    live_name,
    read_dropped,
    read_file,
    sealed_name,
    sealed_segments,
    write_dropped,
)

MIB = 1024 * 1024
# One piece takes about 4 ms to compress: so long may a durable wait be kept waiting by it.
_PIECE_BYTES = MIB // 4
# Level 1 shrinks journal lines to a fifth at 70 MB/s; level 6 gains a quarter more for three times the time.
_COMPRESSION_LEVEL = 1
# Beyond this many sealed but unpacked segments compression goes before new lines, or a flood would outrun it.
_WAITING_MAX = 2
# Until the next look at the budget both live files may fill up, and a segment exists twice while it is
# compressed.
_HEADROOM_SEGMENTS = 3


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`segment_bytes`: when a file is sealed. `budget_bytes`: for all journal files of the run together.

    16 MiB are read and verified in half a second. 2 GiB hold about nine hours of the busiest feed (2,000
    records a second, compressed) and are what a small disk can spare. Events are never deleted, whatever the
    budget.
    """

    segment_bytes: int = 16 * MIB
    budget_bytes: int = 2048 * MIB


class Batch(msgspec.Struct, frozen=True):
    """A stretch of the journal without gaps, as the lines of its two chains; `last_seq` is where it ends."""

    market: bytes
    events: bytes
    last_seq: int


class Store:
    """The files of one journal. Every method but `close` may raise `OSError`; after that, write no more."""

    def __init__(self, disk: Disk, limits: Limits) -> None:
        if limits.budget_bytes < (_HEADROOM_SEGMENTS + 1) * limits.segment_bytes:
            raise UsageFault(
                f"journal budget of {limits.budget_bytes} bytes: at least {_HEADROOM_SEGMENTS + 1} segments "
                f"of {limits.segment_bytes} bytes are needed"
            )
        self._disk = disk
        self._limits = limits
        self._sizes_bytes: dict[Chain, int] = {}
        self._numbers: dict[Chain, int] = {}
        self._is_folder_dirty = False
        self._chores: deque[Iterator[None]] = deque()
        self._dropped: Dropped | None = None

    def open(self) -> None:
        """Take over the folder as `recover` (or nobody) left it, and finish what a crash interrupted."""
        self._disk.make_folder()
        for name in self._disk.names():
            if name.endswith(".gz.tmp"):
                self._disk.delete(name)
        self._dropped = read_dropped(self._disk)
        for chain in Chain:
            self._open_chain(chain)
        self._keep_to_budget()

    def write(self, batch: Batch) -> None:
        """Make a batch durable. Market data are on disk before the events that were decided on them are
        written.
        """
        for chain, lines in ((Chain.MARKET, batch.market), (Chain.EVENTS, batch.events)):
            if lines:
                self._append(chain, lines)
        # Only after both are durable: so a sealed segment never holds a line that recovery may have to cut
        # off.
        for chain in Chain:
            if self._sizes_bytes[chain] >= self._limits.segment_bytes:
                self._seal(chain)

    @property
    def has_chores(self) -> bool:
        """Whether a sealed segment waits to be compressed."""
        return bool(self._chores)

    @property
    def dropped_market_before(self) -> int:
        """Market records with a smaller sequence number were given up for the disk budget (0: none)."""
        return self._dropped.seq + 1 if self._dropped else 0

    def tidy(self) -> None:
        """Do one piece of the waiting chores, or more when too many wait."""
        self._do_piece()
        while len(self._chores) > _WAITING_MAX:
            self._do_piece()

    def finish(self) -> None:
        """Do all chores and let go of the files."""
        while self._chores:
            self._do_piece()
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._chores.clear()
        self._disk.close()

    def _open_chain(self, chain: Chain) -> None:
        live = live_name(chain)
        self._sizes_bytes[chain] = self._disk.size(live) if self._disk.exists(live) else 0
        self._numbers[chain] = self._dropped.segment if self._dropped and chain is Chain.MARKET else 0
        for number, name in sealed_segments(self._disk, chain).items():
            plain = sealed_name(chain, number)
            self._numbers[chain] = max(self._numbers[chain], number)
            if name == plain:
                self._chores.append(self._compress(name))
            elif self._disk.exists(plain):
                self._disk.delete(plain)

    def _append(self, chain: Chain, lines: bytes) -> None:
        name = live_name(chain)
        is_new = self._sizes_bytes[chain] == 0
        write_fully(self._disk, name, content=lines)
        self._sizes_bytes[chain] += len(lines)
        self._disk.sync(name)
        if is_new:
            self._disk.sync_folder()  # the bytes are safe, the name of a new file is not yet

    def _seal(self, chain: Chain) -> None:
        self._numbers[chain] += 1
        name = sealed_name(chain, self._numbers[chain])
        self._disk.rename(live_name(chain), name)
        self._disk.sync_folder()
        self._sizes_bytes[chain] = 0
        self._chores.append(self._compress(name))

    def _do_piece(self) -> None:
        if not self._chores:
            return
        try:
            next(self._chores[0])
        except StopIteration:
            self._chores.popleft()

    def _compress(self, name: str) -> Iterator[None]:
        """Pack a sealed segment piece by piece; the original goes only when the packed one is durable."""
        packed = f"{name}.gz"
        draft = f"{packed}.tmp"
        size_bytes = self._disk.size(name)
        packer = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, 31)  # 31: a gzip header, with time 0
        for offset in range(0, size_bytes, _PIECE_BYTES):
            piece = self._disk.read(name, size_max=_PIECE_BYTES, offset=offset)
            write_fully(self._disk, draft, content=packer.compress(piece))
            # Piece by piece: a sync of all of it at the end would keep an order waiting for a tenth of a second.
            self._disk.sync(draft)
            yield
        write_fully(self._disk, draft, content=packer.flush())
        self._disk.sync(draft)
        self._disk.rename(draft, packed)
        self._disk.sync_folder()
        self._disk.delete(name)
        self._keep_to_budget()

    def _keep_to_budget(self) -> None:
        """Delete the oldest market segments until both live files and one compression fit into the budget
        again.
        """
        allowed_bytes = self._limits.budget_bytes - _HEADROOM_SEGMENTS * self._limits.segment_bytes
        for number, name in sealed_segments(self._disk, Chain.MARKET).items():
            if self._dropped and number <= self._dropped.segment:
                self._disk.delete(name)  # given up before a crash that came before the deletion
                continue
            if self._used_bytes() <= allowed_bytes or not name.endswith(".gz"):
                return
            self._drop(number, name)

    def _drop(self, number: int, name: str) -> None:
        lines = read_file(self._disk, name).splitlines()
        last = check_line(lines[-1]) if lines else "no lines"
        if isinstance(last, str):
            raise DamagedJournal(f"{name}, about to be deleted for the disk budget: {last}")
        records = len(lines) + (self._dropped.records if self._dropped else 0)
        self._dropped = Dropped(segment=number, records=records, seq=last.seq, hash=last.hash)
        write_dropped(self._disk, self._dropped)
        self._disk.delete(name)

    def _used_bytes(self) -> int:
        names = self._disk.names()
        return sum(self._disk.size(name) for name in names if name.startswith(("events", "market")))
