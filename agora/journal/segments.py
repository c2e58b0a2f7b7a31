"""How the files of a journal are called and read: per chain numbered sealed segments and one live file.

Also the note of how much market data was given up for the disk budget. Knows nothing of records inside.
"""

from __future__ import annotations

import gzip
import re
import zlib
from enum import StrEnum

import msgspec

from agora.domain.errors import DamagedJournal
from agora.journal.disk import Disk, replace_durably

DROPPED_NAME = "market-dropped.json"
_SEALED = re.compile(r"(events|market)-(\d{6})\.jsonl(\.gz)?")


class Chain(StrEnum):
    """The two records of a run: what was decided and why, and the market data it looked at."""

    EVENTS = "events"
    MARKET = "market"


class Dropped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Market segments up to `segment` are gone: `records` of them, the last with this `seq` and `hash`."""

    segment: int
    records: int
    seq: int
    hash: str


def live_name(chain: Chain) -> str:
    """The file that is being written."""
    return f"{chain}.jsonl"


def sealed_name(chain: Chain, number: int) -> str:
    """A full segment before it is compressed; `.gz` is added after."""
    return f"{chain}-{number:06d}.jsonl"


def sealed_segments(disk: Disk, chain: Chain) -> dict[int, str]:
    """Number to file name, ascending. Of two forms of one segment the compressed one counts: it was put in
    place last.
    """
    found: dict[int, str] = {}
    for name in disk.names():
        match = _SEALED.fullmatch(name)
        if match and match[1] == chain:
            found[int(match[2])] = name  # sorted names: "x.jsonl" comes before "x.jsonl.gz"
    return found


def has_journal(disk: Disk) -> bool:
    """Whether the folder holds any record at all."""
    return any(disk.exists(live_name(chain)) or sealed_segments(disk, chain) for chain in Chain)


def read_file(disk: Disk, name: str) -> bytes:
    """The lines of a live or sealed file; a compressed one that does not unpack is damaged."""
    content = disk.read(name)
    if not name.endswith(".gz"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as fault:
        raise DamagedJournal(f"{name}: the sealed segment does not unpack: {fault}") from fault


def first_line(disk: Disk, name: str) -> bytes:
    """The first line of a file, reading no more than needed; empty when there is none."""
    start = disk.read(name, size_max=65536)
    if name.endswith(".gz"):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start)
        except zlib.error as fault:
            raise DamagedJournal(f"{name}: the sealed segment does not unpack: {fault}") from fault
    if b"\n" not in start:
        start = read_file(disk, name)
    return start.partition(b"\n")[0]


def read_dropped(disk: Disk) -> Dropped | None:
    """What the disk budget has cost so far."""
    if not disk.exists(DROPPED_NAME):
        return None
    try:
        return msgspec.json.decode(disk.read(DROPPED_NAME), type=Dropped)
    except msgspec.DecodeError as fault:
        raise DamagedJournal(f"{DROPPED_NAME}: {fault}") from fault


def write_dropped(disk: Disk, dropped: Dropped) -> None:
    """Remember durably, before the segment itself is deleted."""
    replace_durably(disk, DROPPED_NAME, content=msgspec.json.encode(dropped) + b"\n")
