"""A record is one canonical line: it reads back the same, verifies by its bytes, refuses what would not."""

from __future__ import annotations

import json
import re
import types
from hashlib import sha256
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.errors import Bug, DamagedJournal
from agora.domain.events import EVENT_TYPES, Decision, Event
from agora.journal.records import GENESIS, Header, Record, check_line, decode_line, encode
from tests.journal.builders import WALL_NS, feed, heartbeat, intent, quote

WHOLE = st.integers(-(2**80), 2**80)
PLAIN = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text().filter(lambda key: key != "hash"), inner, max_size=3)
    ),
    max_leaves=6,
)
BY_TYPE = {
    int: WHOLE,
    bool: st.booleans(),
    str: st.text(max_size=12),
    float: st.floats(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
}


def of_type(wanted: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted in BY_TYPE:
        return BY_TYPE[wanted]
    if origin in {Union, types.UnionType}:
        return st.one_of([of_type(part) for part in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(of_type(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(of_type(part) for part in arguments))
    if origin is dict:
        keys = of_type(arguments[0]).filter(lambda key: key != "hash")
        return st.dictionaries(keys, of_type(arguments[1]), max_size=3)
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return of_struct(wanted)
    return st.from_type(wanted)


def of_struct(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Instances of an event or intent with any field values."""
    return st.builds(cls, **{field.name: of_type(field.type) for field in msgspec.structs.fields(cls)})


def any_event() -> st.SearchStrategy[Event]:
    """An event of any kind."""
    return st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda kind: of_struct(EVENT_TYPES[kind]))


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_every_kind_reads_back_the_same(kind: str) -> None:
    """Whatever the fields hold, the typed record equals what was recorded, and its line verifies."""

    @given(of_struct(EVENT_TYPES[kind]), st.integers(1, 2**62))
    def check(event: Event, seq: int) -> None:
        line, digest = encode(event, seq=seq, wall_ns=WALL_NS, prev=GENESIS)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert decode_line(line[:-1]) == Record(seq, WALL_NS, event)
        assert check_line(line[:-1]) == Header(seq, WALL_NS, kind, GENESIS, digest)

    check()


@given(any_event())
def test_a_line_is_canonical(event: Event) -> None:
    """Keys are sorted, nothing is spaced, and text is written as itself, not as escapes."""
    line, _ = encode(event, seq=1, wall_ns=2, prev=GENESIS)
    members = json.loads(line)
    assert list(members) == sorted(members)
    text = line[:-1].decode()
    assert not _outside_strings(text) & set(" \t\r\n")
    assert "\\u" not in text.replace("\\\\", "") or any(ord(char) < 32 for char in _all_text(members))


def _outside_strings(text: str) -> set[str]:
    """The characters of a JSON text that are not within its strings."""
    return set(re.sub(r'"(?:[^"\\]|\\.)*"', "", text))


def _all_text(value: object) -> str:
    if isinstance(value, dict):
        return "".join(key + _all_text(part) for key, part in value.items())
    if isinstance(value, list):
        return "".join(_all_text(part) for part in value)
    return value if isinstance(value, str) else ""


@pytest.mark.requirement("B19")
@pytest.mark.requirement("H5.3")
def test_the_golden_line() -> None:
    """The form on disk is fixed: who changes it makes old journals unreadable and must know it."""
    line, digest = encode(feed(), seq=12, wall_ns=WALL_NS, prev=GENESIS, facts={"note": "said ok"})
    assert digest == "79b11a2a1b0b831c6e98ba8d21b42933304dd0b23f6bc0613221526681d943c2"
    assert line.decode() == (
        f'{{"hash":"{digest}","kind":"feed.connected","note":"said ok","period_s":60,"prev":"{GENESIS}",'
        f'"seq":12,"source":"Börse ✓","ts_ns":3,"wall_ns":{WALL_NS}}}\n'
    )


def test_the_hash_can_be_checked_with_any_json_library() -> None:
    """Without the member `hash`, the sorted compact object hashes to it: no code of ours is needed."""
    line, digest = encode(intent(4), seq=9, wall_ns=WALL_NS, prev="a" * 64, facts={"price": "10.00", "ü": None})
    members = json.loads(line)
    assert members.pop("hash") == digest
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert sha256(text.encode()).hexdigest() == digest


@given(st.dictionaries(st.text(min_size=1).map(lambda key: "x" + key), PLAIN, max_size=4))
def test_facts_are_there_for_readers_and_invisible_to_the_program(facts: dict[str, Any]) -> None:
    """Extra members of any plain form are in the line, under the hash, and the event does not notice them."""
    line, _ = encode(quote(), seq=1, wall_ns=2, prev=GENESIS, facts=facts)
    assert isinstance(check_line(line[:-1]), Header)
    assert decode_line(line[:-1]).event == quote()
    assert set(facts) <= set(json.loads(line))


@pytest.mark.parametrize("key", ["ts_ns", "bid_ticks", "kind", "seq", "wall_ns", "prev", "hash"])
def test_facts_cannot_hide_a_field(key: str) -> None:
    """An extra member with the name of a field or of the record's own is a bug of the caller."""
    with pytest.raises(Bug, match=key):
        encode(quote(), seq=1, wall_ns=2, prev=GENESIS, facts={key: 1})


@pytest.mark.parametrize(
    "facts",
    [
        {"x": float("nan")},
        {"x": [1, {"y": float("inf")}]},
        {"x": ({"z": -float("inf")},)},
        {"x": {"hash": "abc"}},
        {"x": {"hash": ""}},
        {"x": "\ud800"},
        {"x": object()},
    ],
    ids=[
        "nan",
        "nested infinity",
        "in a tuple",
        "nested hash",
        "empty nested hash",
        "half a character",
        "object",
    ],
)
def test_what_would_not_read_back_is_refused(facts: dict[str, Any]) -> None:
    """A value that JSON cannot carry, or that would blur where the hash is, never reaches the journal."""
    with pytest.raises(Bug):
        encode(quote(), seq=1, wall_ns=2, prev=GENESIS, facts=facts)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_field_is_refused(value: float) -> None:
    """An event with NaN or infinity in a field is a bug, not a null in the journal."""
    beat = msgspec.structs.replace(heartbeat(), rss_mb=value)
    decision = Decision(ts_ns=1, trader="t", instrument="i", action="wait", reason="r", features={"ema": value})
    for event in (beat, decision):
        with pytest.raises(Bug, match="cannot be recorded"):
            encode(event, seq=1, wall_ns=2, prev=GENESIS)


def test_every_changed_bit_is_noticed() -> None:
    """There is no bit of a line that can flip without the line failing its check."""
    line = encode(feed(), seq=12, wall_ns=WALL_NS, prev=GENESIS)[0][:-1]
    for place in range(len(line) * 8):
        damaged = bytearray(line)
        damaged[place // 8] ^= 1 << place % 8
        assert isinstance(check_line(bytes(damaged)), str), place


def test_a_line_of_another_version_is_named_as_such() -> None:
    """An intact line of an unknown kind, or without a needed field, is refused with the reason."""
    line = encode(quote(), seq=1, wall_ns=2, prev=GENESIS)[0][:-1]
    with pytest.raises(DamagedJournal, match=r"market\.quux"):
        decode_line(line.replace(b"market.quote", b"market.quux"))
    with pytest.raises(DamagedJournal, match="bid_lots"):
        decode_line(line.replace(b"bid_lots", b"bid_nuts"))
