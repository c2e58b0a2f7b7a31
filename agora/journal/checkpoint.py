"""Saved states that let a restart replay only the records after them.

A checkpoint is a cache: one that is missing, damaged or of another version is passed over with a reason and
costs time, nothing else. Knows the state only as JSON text.
"""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from agora.journal.disk import Disk, disk_faults, replace_durably

_VERSION = 1  # of the file's form; the state inside is its writer's own
_KEPT = 2  # one may be damaged; a third would be older than any fault we know
_NAME = re.compile(r"checkpoint-(\d{12})\.json")
_CHECKSUM_KEY = b',"checksum":"'
_CHECKSUM_BYTES = len(_CHECKSUM_KEY) + 64 + len(b'"}\n')


class StateCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state after record `seq`, with the hash of the last record of each chain up to there.

    `state` is one JSON value; `state_hash` is what the state itself says its hash is.
    """

    seq: int
    head_hash: str
    market_head_hash: str
    state_hash: str
    state: msgspec.Raw


class Newest(msgspec.Struct, frozen=True):
    """The newest checkpoint that can be used, and why newer ones could not."""

    checkpoint: StateCheckpoint | None
    skipped: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    checkpoint: StateCheckpoint
    checksum: str


def write(disk: Disk, checkpoint: StateCheckpoint) -> None:
    """Put a checkpoint in place durably and delete all but the newest two. Blocks on the disk: not for the
    event loop.

    Every record up to `checkpoint.seq` must have been committed before, or a crash could leave a checkpoint
    of records that do not exist; recovery refuses such a journal.
    """
    body = msgspec.json.encode({"version": _VERSION, "checkpoint": checkpoint})[:-1]
    content = b'%b%b%b"}\n' % (body, _CHECKSUM_KEY, sha256(body).hexdigest().encode())
    with disk_faults("writing a checkpoint"):
        replace_durably(disk, f"checkpoint-{checkpoint.seq:012d}.json", content=content)
        for name in _names(disk)[_KEPT:]:
            disk.delete(name)


def newest_valid(disk: Disk) -> Newest:
    """The newest checkpoint whose checksum holds and whose version we read."""
    skipped: list[str] = []
    for name in _names(disk):
        try:
            return Newest(_read(disk, name), tuple(skipped))
        except (ValueError, OSError) as fault:
            skipped.append(f"{name}: {fault}")
    return Newest(None, tuple(skipped))


def _names(disk: Disk) -> list[str]:
    return sorted((name for name in disk.names() if _NAME.fullmatch(name)), reverse=True)


def _read(disk: Disk, name: str) -> StateCheckpoint:
    content = disk.read(name)
    body, seal = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    expected = b'%b%b"}\n' % (_CHECKSUM_KEY, sha256(body).hexdigest().encode())
    if seal != expected:
        raise ValueError("truncated or damaged, the checksum does not hold")
    version = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("version")
    if version is None or msgspec.json.decode(version) != _VERSION:
        raise ValueError(f"version {bytes(version or b'none').decode()}, this program reads {_VERSION}")
    return msgspec.json.decode(content, type=_File).checkpoint
