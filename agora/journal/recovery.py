"""The normal start: find where the journal ends, set aside what a crash left after that, hand over the heads.

Which remains are set aside and which make the journal unusable is decided by `reader`.
"""

from __future__ import annotations

import msgspec

from agora.journal.checkpoint import StateCheckpoint
from agora.journal.disk import Disk, disk_faults, replace_durably
from agora.journal.reader import JournalReader
from agora.journal.records import GENESIS
from agora.journal.segments import Chain, live_name


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """Where a log goes on. `torn_bytes` lie in `torn_files` now; `dropped_market_before` as in `Log`."""

    next_seq: int
    head_hash: str
    market_head_hash: str
    torn_bytes: int = 0
    torn_files: tuple[str, ...] = ()
    dropped_market_before: int = 0


NOTHING = Recovered(next_seq=1, head_hash=GENESIS, market_head_hash=GENESIS)


def recover(disk: Disk, *, after: StateCheckpoint | None = None) -> Recovered:
    """Verify the journal (from the checkpoint on, if one is given) and cut off what a crash left behind.

    Damage that a crash does not explain is a `DamagedJournal`; then no file has been touched. May be repeated
    after a crash of its own.
    """
    with disk_faults("recovering the journal"):
        reader = JournalReader(disk, after=after)
        for _ in reader:
            pass
        torn_bytes = 0
        torn_files: list[str] = []
        for chain, offset in sorted(reader.cut_at.items()):
            torn_bytes += disk.size(live_name(chain)) - offset
            torn_files.append(_set_aside(disk, chain, offset=offset, next_seq=reader.seq + 1))
    return Recovered(
        next_seq=reader.seq + 1,
        head_hash=reader.heads[Chain.EVENTS],
        market_head_hash=reader.heads[Chain.MARKET],
        torn_bytes=torn_bytes,
        torn_files=tuple(torn_files),
        dropped_market_before=reader.dropped.seq + 1 if reader.dropped else 0,
    )


def _set_aside(disk: Disk, chain: Chain, *, offset: int, next_seq: int) -> str:
    """Keep what follows the offset in a file of its own, then cut it off."""
    torn = disk.read(live_name(chain))[offset:]
    name = f"{chain}.torn-{next_seq}"
    copies = 1
    # A second crash at the same record leaves other remains: both are kept.
    while disk.exists(name) and disk.read(name) != torn:
        copies += 1
        name = f"{chain}.torn-{next_seq}-{copies}"
    replace_durably(disk, name, content=torn)
    disk.truncate(live_name(chain), offset)
    return name
