"""One record is one line of canonical JSON that carries the hash of the line before it.

Knows how a line is written, checked and read; knows nothing of files. The hash of a line is the SHA-256 of
its bytes with the member `hash` (and the comma after it) cut out, so checking needs no second encoding.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Any

import msgspec

from agora.domain.errors import Bug, DamagedJournal
from agora.domain.events import DURABLE_TYPES, EVENT_TYPES, Event, kind_of

GENESIS = "0" * 64  # what the first record of a chain names as its predecessor
DURABLE_KINDS: frozenset[str] = frozenset(kind_of(cls) for cls in DURABLE_TYPES)

_OWN_KEYS = frozenset({"kind", "seq", "wall_ns", "prev", "hash"})
_HASH_KEY = b'"hash":"'
_HASH_EMPTY = b'"hash":"",'
_HASH_END = len(_HASH_KEY) + 64

_encoder = msgspec.json.Encoder(order="sorted")


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the journal; `wall_ns` is the machine's clock when it was recorded."""

    seq: int
    wall_ns: int
    event: Event


class Header(msgspec.Struct, frozen=True, gc=False):
    """What every line has besides its event: its place, its kind and its links."""

    seq: int
    wall_ns: int
    kind: str
    prev: str
    hash: str


def _is_open(cls: type[Event]) -> bool:
    """Whether an event may hold floats, absent values or mappings with any keys."""
    schema = msgspec.json.encode(msgspec.json.schema(cls))
    return any(word in schema for word in (b'"number"', b'"null"', b'"additionalProperties"'))


# Only these and extra facts need a second look at the line, which costs a quarter of the encoding.
_OPEN_TYPES = frozenset(cls for cls in EVENT_TYPES.values() if _is_open(cls))
_headers = msgspec.json.Decoder(Header)
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(
    event: Event, *, seq: int, wall_ns: int, prev: str, facts: dict[str, Any] | None = None
) -> tuple[bytes, str]:
    """The line (with its newline) and its hash. `facts` are extra members for human readers.

    What could not be read back the same (NaN, infinity, a fact that hides a field) is a `Bug`.
    """
    body = msgspec.structs.asdict(event)
    if facts:
        _add_facts(body, facts)
    body["kind"] = event.__struct_config__.tag
    body["seq"] = seq
    body["wall_ns"] = wall_ns
    body["prev"] = prev
    body["hash"] = ""
    try:
        line = _encoder.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as fault:
        raise Bug(f"{kind_of(event)} cannot be recorded: {fault}") from fault
    if facts or type(event) in _OPEN_TYPES:
        _refuse_ambiguous(body, line)
    before, _, after = line.partition(_HASH_EMPTY)
    digest = sha256(before + after).hexdigest()
    return b'%b"hash":"%b",%b\n' % (before, digest.encode(), after), digest


def check_line(line: bytes) -> Header | str:
    """What a line (without its newline) says of itself if its hash holds, else what is wrong with it."""
    start = line.find(_HASH_KEY)
    if start < 0 or line[start + _HASH_END : start + _HASH_END + 2] != b'",':
        return "no hash"
    stated = line[start + len(_HASH_KEY) : start + _HASH_END]
    actual = sha256(line[:start] + line[start + _HASH_END + 2 :]).hexdigest().encode()
    if stated != actual:
        return f"the hash of its bytes is {actual.decode()}, it says {stated.decode(errors='replace')}"
    try:
        return _headers.decode(line)
    except ValueError as fault:
        return str(fault)


def decode_line(line: bytes) -> Record:
    """The typed record; extra members are ignored, the hash is not checked.

    A line of a kind or form this version does not know is a `DamagedJournal`.
    """
    try:
        header = _headers.decode(line)
        return Record(header.seq, header.wall_ns, _events.decode(line))
    except ValueError as fault:
        raise DamagedJournal(f"this version cannot read the record: {fault}") from fault


def _add_facts(body: dict[str, Any], facts: dict[str, Any]) -> None:
    hidden = facts.keys() & (body.keys() | _OWN_KEYS)
    if hidden:
        raise Bug(f"facts would hide fields of the record: {sorted(hidden)}")
    body.update(facts)


def _refuse_ambiguous(body: dict[str, Any], line: bytes) -> None:
    # The encoder writes NaN and infinity as null, which would read back as something else or not at all.
    if b"null" in line:
        _refuse_non_finite(body)
    # Text cannot contain this pattern, its quotes are escaped; only a nested key called hash could.
    if line.count(_HASH_KEY) != 1:
        raise Bug(f"{body['kind']} has a member called hash besides the record's own")


def _refuse_non_finite(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Bug(f"{value} cannot be recorded")
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_non_finite(item)
