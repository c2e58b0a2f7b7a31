"""Checks a whole journal without changing it and counts what it holds."""

from __future__ import annotations

from collections import Counter

import msgspec

from agora.domain.errors import JournalFault
from agora.journal.disk import Disk, disk_faults
from agora.journal.reader import JournalReader
from agora.journal.segments import Chain, live_name


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds up to its first fault. `records` is per kind; `fault` is None when all is well.

    `torn_bytes` is more than 0 when the fault is only what a crash leaves at the end, which a resume sets
    aside.
    """

    records: dict[str, int]
    total: int
    head_hash: str
    market_head_hash: str
    dropped_market_before: int
    torn_bytes: int
    fault: str | None


def verify_chain(disk: Disk) -> ChainReport:
    """Read and check every line of both chains; a disk that cannot be read is a `JournalFault`."""
    counts: Counter[str] = Counter()
    fault: str | None = None
    torn_bytes = 0
    with disk_faults("verifying the journal"):
        reader = JournalReader(disk)
        try:
            for line in reader:
                counts[line.header.kind] += 1
        except JournalFault as damage:
            fault = str(damage)
        for chain, offset in sorted(reader.cut_at.items()):
            size_bytes = disk.size(live_name(chain)) - offset
            torn_bytes += size_bytes
            fault = fault or f"{live_name(chain)}: the last {size_bytes} bytes, after record {reader.seq}, are torn"
    return ChainReport(
        records=dict(sorted(counts.items())),
        total=counts.total(),
        head_hash=reader.heads[Chain.EVENTS],
        market_head_hash=reader.heads[Chain.MARKET],
        dropped_market_before=reader.dropped.seq + 1 if reader.dropped else 0,
        torn_bytes=torn_bytes,
        fault=fault,
    )
