"""After any crash the journal is what was committed, in order, once; other damage is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.errors import DamagedJournal, JournalFault
from agora.domain.events import Event
from agora.journal import Limits, Recovered, read_records, recover, verify_chain
from agora.journal.records import GENESIS, encode
from tests.journal.builders import (
    TINY,
    done,
    heartbeat,
    intent,
    mixed,
    opened,
    quote,
    timer,
    tripped,
    written,
)
from tests.simulation.disk import Crashed, Faults, SimDisk

ROOMY = Limits()
EVENTS, MARKET = "events.jsonl", "market.jsonl"


def events_of(disk: SimDisk) -> list[Event]:
    """What a reader finds."""
    return [record.event for record in read_records(disk)]


def lines_of(disk: SimDisk, name: str) -> list[bytes]:
    """The lines of a file with their ends."""
    return disk.read(name).splitlines(keepends=True)


def go_on(disk: SimDisk, found: Recovered, events: Sequence[Event]) -> None:
    """Continue a recovered journal with more events."""
    log = opened(disk, after=found, limits=ROOMY)
    for event in events:
        log.append(event)
    done(log.close())


def test_an_empty_folder_recovers_to_the_beginning() -> None:
    """Nothing there is a journal that begins with record 1."""
    found = recover(SimDisk())
    assert (found.next_seq, found.head_hash, found.market_head_hash) == (1, GENESIS, GENESIS)


@pytest.mark.requirement("B15")
@pytest.mark.requirement("H4.1")
@pytest.mark.parametrize("name", [EVENTS, MARKET])
def test_a_last_line_torn_at_any_byte_is_set_aside(name: str) -> None:
    """Wherever the last record was cut, the records before it are the journal, and it goes on after them."""
    events = [quote(1), timer(2), quote(3), timer(4)] if name == EVENTS else [timer(1), quote(2), timer(3), quote(4)]
    whole = written(events, limits=ROOMY)
    content = whole.read(name)
    begin = content.rindex(b"\n", 0, -1) + 1
    for end in range(begin, len(content)):
        disk = whole.with_faults(Faults())
        disk.damage(name, content[:end])
        assert events_of(disk) == events[:3]
        found = recover(disk)
        assert (found.next_seq, found.torn_bytes) == (4, end - begin)
        assert disk.read(name) == content[:begin]
        if end > begin:
            assert disk.read(f"{name.partition('.')[0]}.torn-4") == content[begin:end]
        go_on(disk, found, events[3:])
        assert disk.read(name) == content
        assert verify_chain(disk).fault is None


def test_zeros_in_place_of_the_last_lines_are_a_torn_tail() -> None:
    """A file system may keep the size of a lost write without its bytes."""
    disk = written([timer(1), timer(2)], limits=ROOMY)
    disk.damage(EVENTS, disk.read(EVENTS) + bytes(5000))
    found = recover(disk)
    assert (found.next_seq, found.torn_bytes) == (3, 5000)
    assert events_of(disk) == [timer(1), timer(2)]


def test_remains_of_two_crashes_at_one_place_are_both_kept() -> None:
    """The second crash after the same record does not overwrite what the first left behind."""
    disk = written([timer(1)], limits=ROOMY)
    content = disk.read(EVENTS)
    for remains in (b"first", b"second", b"first"):
        disk.damage(EVENTS, content + remains)
        recover(disk)
    assert (disk.read("events.torn-2"), disk.read("events.torn-2-2")) == (b"first", b"second")
    assert disk.names() == ["events.jsonl", "events.torn-2", "events.torn-2-2"]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_flipped_bit_is_found_with_its_place(number: int) -> None:
    """One changed bit refuses the journal and names the line; in the last line it is a torn tail."""
    events = [timer(at) for at in range(6)]
    whole = written(events, limits=ROOMY)
    lines = lines_of(whole, EVENTS)
    begin = sum(map(len, lines[: number - 1]))
    for place in range(begin, begin + len(lines[number - 1]) - 1):
        disk = whole.with_faults(Faults())
        damaged = bytearray(whole.read(EVENTS))
        damaged[place] ^= 1 << place % 8
        disk.damage(EVENTS, bytes(damaged))
        if number == len(lines) and damaged[place] != ord("\n"):
            assert recover(disk).next_seq == number
            continue
        with pytest.raises(DamagedJournal, match=rf"events\.jsonl line {number}, after record {number - 1}"):
            recover(disk)
        assert disk.read(EVENTS) == bytes(damaged)
        assert f"line {number}" in str(verify_chain(disk).fault)


@pytest.mark.parametrize("number", range(1, 6))
def test_a_damaged_line_end_is_no_torn_tail(number: int) -> None:
    """Two lines run together are damage in the middle, also when they are the last two."""
    disk = written([timer(at) for at in range(6)], limits=ROOMY)
    lines = lines_of(disk, EVENTS)
    lines[number - 1] = lines[number - 1][:-1] + b"\x0b"
    disk.damage(EVENTS, b"".join(lines))
    with pytest.raises(DamagedJournal, match=f"line {number}"):
        recover(disk)


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("name, event", [(EVENTS, timer), (MARKET, quote)])
def test_a_missing_line_is_found_with_its_place(name: str, event: type, number: int) -> None:
    """A deleted line refuses the journal, names the line that does not follow, and says what it expected."""
    disk = written([event(at) for at in range(6)], limits=ROOMY)
    lines = lines_of(disk, name)
    del lines[number - 1]
    disk.damage(name, b"".join(lines))
    broken = f"record {number + 1} does not follow record {number - 1}: expected prev"
    with pytest.raises(DamagedJournal, match=f"{re.escape(name)} line {number}: {broken}"):
        recover(disk)


def test_two_swapped_lines_are_found() -> None:
    """Order is part of the record."""
    disk = written([timer(at) for at in range(6)], limits=ROOMY)
    lines = lines_of(disk, EVENTS)
    lines[2], lines[3] = lines[3], lines[2]
    disk.damage(EVENTS, b"".join(lines))
    with pytest.raises(DamagedJournal, match="line 3"):
        recover(disk)


@given(st.integers(0, 10_000), st.integers(1, 400))
def test_a_cut_out_stretch_is_never_accepted_whole(begin: int, length: int) -> None:
    """Bytes missing from the middle are refused; at most the end can be lost, and then it is said."""
    whole = written([timer(at) for at in range(8)], limits=ROOMY)
    content = whole.read(EVENTS)
    begin %= len(content)
    damaged = content[:begin] + content[begin + length :]
    whole.damage(EVENTS, damaged)
    try:
        found = recover(whole)
    except DamagedJournal:
        return
    assert content.startswith(whole.read(EVENTS))
    assert found.torn_bytes == len(damaged) - len(whole.read(EVENTS))


def test_market_data_ahead_of_the_events_are_cut_back() -> None:
    """A crash between the two files: the market records after the missing event were never committed."""
    events = [timer(1), quote(2), timer(3), quote(4), quote(5)]
    disk = written(events, limits=ROOMY)
    disk.damage(EVENTS, lines_of(disk, EVENTS)[0])
    cut = b"".join(lines_of(disk, MARKET)[1:])
    assert events_of(disk) == events[:2]
    found = recover(disk)
    assert (found.next_seq, found.torn_bytes, found.torn_files) == (3, len(cut), ("market.torn-3",))
    assert disk.read("market.torn-3") == cut
    go_on(disk, found, events[2:])
    assert events_of(disk) == events


def test_passing_notes_after_lost_market_data_are_cut_back() -> None:
    """Nothing durable stands after the hole: the notes are set aside and the run can go on."""
    events = [timer(1), quote(2), timer(3), heartbeat(4)]
    disk = written(events, limits=ROOMY)
    disk.damage(MARKET, b"")
    found = recover(disk)
    assert (found.next_seq, found.torn_files) == (2, ("events.torn-2",))
    assert events_of(disk) == events[:1]


@pytest.mark.parametrize("durable", [intent(4), tripped(4)], ids=["an intent", "a breaker"])
def test_a_durable_record_after_lost_market_data_is_a_refusal(durable: Event) -> None:
    """What was decided on lost data may have left, or must not be forgotten: no file is touched."""
    disk = written([timer(1), quote(2), timer(3), durable, timer(5)], limits=ROOMY)
    disk.damage(MARKET, b"torn")
    before = {name: disk.read(name) for name in disk.names()}
    with pytest.raises(DamagedJournal, match=r"record 2 is missing, but events\.jsonl line 3 holds .* 4"):
        recover(disk)
    assert before == {name: disk.read(name) for name in disk.names()}
    assert "record 2 is missing" in str(verify_chain(disk).fault)


def test_a_record_in_both_chains_is_a_refusal() -> None:
    """One number belongs to one record, also when both lines verify in their own chain."""
    disk = written([timer(1)], limits=ROOMY)
    disk.damage(MARKET, written([quote(1)], limits=ROOMY).read(MARKET))
    with pytest.raises(DamagedJournal, match="twice"):
        recover(disk)


def test_numbers_that_do_not_rise_within_a_chain_are_a_refusal() -> None:
    """A line may verify and follow its predecessor and still carry a number that was used before."""
    lines, prev = [], GENESIS
    for seq in (1, 2, 2):
        line, prev = encode(timer(seq), seq=seq, wall_ns=0, prev=prev)
        lines.append(line)
    disk = SimDisk()
    disk.damage(EVENTS, b"".join(lines))
    with pytest.raises(DamagedJournal, match=r"events\.jsonl line 3: expected a record after 2, found 2"):
        recover(disk)


@pytest.mark.parametrize(
    "harm, words",
    [
        (None, r"events-000002\.jsonl: the sealed segment is missing"),
        (lambda _, second: second[:-9], r"events-000002\.jsonl\.gz: the sealed segment does not unpack"),
        (lambda _, second: second[:40] + b"?" + second[41:], "does not unpack"),
        (lambda *_: b"", r"events-000003\.jsonl\.gz line 1: .* does not follow"),
        (lambda first, _: first, r"events-000002\.jsonl\.gz line 1: .* does not follow"),
    ],
    ids=["missing", "truncated", "changed", "empty", "another"],
)  # fmt: skip
def test_a_bad_sealed_segment_is_a_refusal(harm: Callable[[bytes, bytes], bytes] | None, words: str) -> None:
    """What was sealed had been durable: no damage there is explained by a crash."""
    disk = written([timer(at) for at in range(60)])
    if harm is None:
        disk.delete("events-000002.jsonl.gz")
    else:
        first, second = disk.read("events-000001.jsonl.gz"), disk.read("events-000002.jsonl.gz")
        disk.damage("events-000002.jsonl.gz", harm(first, second))
    with pytest.raises(DamagedJournal, match=words):
        recover(disk)


def _run_until_crash(disk: SimDisk, events: Sequence[Event]) -> int:
    """Recover, go on with the events not yet recorded, commit every third; the last committed number."""
    committed = 0
    try:
        found = recover(disk)
        log = opened(disk, after=found)
        committed = found.next_seq - 1
        for event in events[committed:]:
            if log.append(event) % 3 == 0:
                done(log.commit())
                committed = log.durable_seq
        done(log.close())
    except Crashed:
        return committed
    return len(events)


@pytest.mark.requirement("B15")
@pytest.mark.requirement("H4.1")
@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_operation_loses_nothing_committed(seed: int) -> None:
    """Stopped before each disk operation in turn, the machine finds every committed record again, once."""
    events = mixed(40)
    crash_at = 0
    while True:
        crash_at += 1
        disk = SimDisk(Faults(crash_at=crash_at, short_writes_seed=None if seed % 2 else seed))
        committed = _run_until_crash(disk, events)
        after = disk.crash(seed * 10_007 + crash_at)
        found = recover(after)
        assert found.next_seq - 1 >= committed
        assert events_of(after) == events[: found.next_seq - 1]
        assert _run_until_crash(after, events) == len(events)
        assert events_of(after) == events
        assert verify_chain(after).fault is None
        if committed == len(events):
            break
    assert crash_at > 100


@pytest.mark.parametrize("seed", range(6))
def test_crash_after_crash_the_committed_beginning_only_grows(seed: int) -> None:
    """A machine that never lives long, also while it recovers, still gets to the end, each record once."""
    events = mixed(60)
    disk, committed, lives = SimDisk(Faults(crash_at=3)), 0, 0
    while committed < len(events):
        lives += 1
        committed_now = _run_until_crash(disk, events)
        committed = max(committed, committed_now)
        disk = disk.crash(seed * 1000 + lives).with_faults(Faults(crash_at=3 + (seed + lives * 7) % 40))
        assert events_of(disk)[:committed] == events[:committed]
    assert events_of(disk) == events
    assert lives > 5


@pytest.mark.parametrize("full_from", range(1, 40, 3))
def test_a_disk_that_was_full_is_gone_on_with_after_making_room(full_from: int) -> None:
    """Whatever was half written when the disk was full is a torn tail; with room again the run goes on."""
    events = mixed(24)
    full = SimDisk(Faults(full_from=full_from))
    committed = 0
    try:
        log = opened(full)
        for event in events:
            log.append(event)
            done(log.commit())
            committed = log.durable_seq
        done(log.close())
    except JournalFault:
        assert committed < len(events) or full_from > 20
    roomy = full.with_faults(Faults())
    assert recover(roomy).next_seq > committed
    assert _run_until_crash(roomy, events) == len(events)
    assert events_of(roomy) == events


@pytest.mark.parametrize("crash_at", range(1, 14))
def test_a_recovery_that_crashes_can_be_repeated(crash_at: int) -> None:
    """Stopped before any of its operations, recovery finds the same end the next time, and all remains."""
    disk = written([timer(1), quote(2), timer(3), quote(4)], limits=ROOMY)
    disk.damage(EVENTS, disk.read(EVENTS)[:-5])
    expected = recover(disk.with_faults(Faults()))
    assert len(expected.torn_files) == 2
    weak = disk.with_faults(Faults(crash_at=crash_at))
    try:
        recover(weak)
    except Crashed:
        weak = weak.crash(crash_at)
        again = recover(weak)
        assert (again.next_seq, again.head_hash) == (expected.next_seq, expected.head_hash)
        assert set(expected.torn_files) <= set(weak.names())
    else:
        assert crash_at > 10


def test_tiny_segments_hold_the_same_journal() -> None:
    """How a journal is cut into files does not change what is in it."""
    events = mixed(120)
    small, large = written(events, limits=TINY), written(events, limits=ROOMY)
    assert len(small.names()) > 10
    assert events_of(small) == events_of(large) == events
    assert verify_chain(small) == verify_chain(large)
    assert recover(small) == recover(large)
