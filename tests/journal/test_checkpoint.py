"""Checkpoints shorten a restart and decide nothing: a bad one is passed over, a wrong one is refused."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from agora.domain.errors import DamagedJournal, JournalFault
from agora.journal import Limits, StateCheckpoint, newest_valid, read_records, recover, write_checkpoint
from tests.journal.builders import done, mixed, opened, quote, timer, written
from tests.simulation.disk import Crashed, Faults, SimDisk


def checkpoint(seq: int, *, head_hash: str = "a" * 64, market_head_hash: str = "b" * 64) -> StateCheckpoint:
    """A state after record `seq`."""
    return StateCheckpoint(
        seq=seq,
        head_hash=head_hash,
        market_head_hash=market_head_hash,
        state_hash=f"h{seq}",
        state=msgspec.Raw(b'{"cash":%d}' % seq),
    )


def name_of(seq: int) -> str:
    """The file of a checkpoint."""
    return f"checkpoint-{seq:012d}.json"


@pytest.mark.requirement("H6.1")
def test_a_valid_checkpoint_is_found_again() -> None:
    """The newest one comes back with every member as written, and the file is JSON."""
    disk = SimDisk()
    write_checkpoint(disk, checkpoint(5))
    write_checkpoint(disk, checkpoint(12))
    found = newest_valid(disk)
    assert found.skipped == ()
    assert found.checkpoint == checkpoint(12)
    content = msgspec.json.decode(disk.read(name_of(12)))
    assert content["version"] == 1
    assert content["checkpoint"]["state"] == {"cash": 12}


def test_two_are_kept() -> None:
    """Older ones are deleted when a newer one is in place."""
    disk = SimDisk()
    for seq in (3, 9, 27, 81):
        write_checkpoint(disk, checkpoint(seq))
    assert disk.names() == [name_of(27), name_of(81)]


@pytest.mark.requirement("H6.1")
def test_a_corrupt_checkpoint_is_passed_over_at_any_byte() -> None:
    """One wrong byte anywhere, and the one before is used, with the reason told."""
    disk = SimDisk()
    write_checkpoint(disk, checkpoint(5))
    write_checkpoint(disk, checkpoint(12))
    content = disk.read(name_of(12))
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        disk.damage(name_of(12), bytes(damaged))
        found = newest_valid(disk)
        assert found.checkpoint == checkpoint(5)
        assert found.skipped == (f"{name_of(12)}: truncated or damaged, the checksum does not hold",)


@pytest.mark.requirement("H6.1")
def test_a_truncated_checkpoint_is_passed_over_at_any_length() -> None:
    """However much is left of the newest file, the one before is used."""
    disk = SimDisk()
    write_checkpoint(disk, checkpoint(5))
    write_checkpoint(disk, checkpoint(12))
    content = disk.read(name_of(12))
    for size_bytes in range(len(content)):
        disk.damage(name_of(12), content[:size_bytes])
        found = newest_valid(disk)
        assert found.checkpoint == checkpoint(5)
        assert "truncated" in found.skipped[0]


@pytest.mark.requirement("H6.1")
@pytest.mark.parametrize("version", [b'"version":0', b'"version":2', b'"edition":1'])
def test_a_checkpoint_of_another_version_is_passed_over(version: bytes) -> None:
    """An intact file in another form is named with its version and not read."""
    disk = SimDisk()
    write_checkpoint(disk, checkpoint(5))
    body = disk.read(name_of(5)).partition(b',"checksum"')[0].replace(b'"version":1', version)
    disk.damage(name_of(9), body + b',"checksum":"' + sha256(body).hexdigest().encode() + b'"}\n')
    found = newest_valid(disk)
    assert found.checkpoint == checkpoint(5)
    assert "this program reads 1" in found.skipped[0]


def test_without_a_usable_checkpoint_there_is_none() -> None:
    """All bad or none at all: the answer is None, and the journal is replayed from its beginning."""
    disk = SimDisk()
    assert newest_valid(disk).checkpoint is None
    disk.damage(name_of(4), b"")
    disk.damage(name_of(5), b"{}")
    found = newest_valid(disk)
    assert found.checkpoint is None
    assert len(found.skipped) == 2


@pytest.mark.requirement("B15")
@pytest.mark.requirement("H4.1")
def test_a_crash_while_writing_leaves_the_old_or_the_new() -> None:
    """Stopped before any operation, the newest valid checkpoint is one that was written whole."""
    disk = SimDisk()
    write_checkpoint(disk, checkpoint(5))
    write_checkpoint(disk, checkpoint(12))
    seen = set()
    for crash_at in range(1, 12):
        weak = disk.with_faults(Faults(crash_at=crash_at))
        try:
            write_checkpoint(weak, checkpoint(20))
        except Crashed:
            for seed in range(10):
                found = newest_valid(weak.crash(seed)).checkpoint
                assert found is not None
                assert found == checkpoint(found.seq)
                seen.add(found.seq)
    assert seen == {12, 20}


def test_a_full_disk_is_a_fault_that_leaves_the_old_one() -> None:
    """A checkpoint that cannot be written says so and takes nothing away."""
    disk = SimDisk()
    write_checkpoint(disk, checkpoint(5))
    full = disk.with_faults(Faults(full_from=1))
    with pytest.raises(JournalFault, match="writing a checkpoint"):
        write_checkpoint(full, checkpoint(12))
    assert newest_valid(full).checkpoint == checkpoint(5)


def _journal_with_checkpoint(at: int, count: int) -> tuple[SimDisk, StateCheckpoint]:
    disk = SimDisk()
    log = opened(disk)
    events = mixed(count)
    for event in events[:at]:
        log.append(event)
        done(log.commit())
    saved = checkpoint(log.seq, head_hash=log.head_hash, market_head_hash=log.market_head_hash)
    for event in events[at:]:
        log.append(event)
        done(log.commit())
    done(log.close())
    return disk, saved


@pytest.mark.parametrize("at", [0, 1, 2, 3, 17, 40, 79, 80])
def test_reading_from_a_checkpoint_gives_exactly_the_rest(at: int) -> None:
    """Wherever it was taken, the records after it and the end of the journal are the same as without it."""
    disk, saved = _journal_with_checkpoint(at, 80)
    everything = list(read_records(disk))
    assert list(read_records(disk, after=saved)) == everything[at:]
    assert recover(disk, after=saved) == recover(disk)


def test_a_late_checkpoint_spares_the_old_segments() -> None:
    """Files wholly before it are not read, so damage there does not matter to the restart."""
    disk, saved = _journal_with_checkpoint(70, 80)
    expected = recover(disk)
    for name in ("events-000001.jsonl.gz", "market-000001.jsonl.gz"):
        disk.damage(name, b"gone")
    assert recover(disk, after=saved) == expected
    with pytest.raises(DamagedJournal, match="does not unpack"):
        recover(disk)


def test_a_torn_tail_after_a_checkpoint_is_cut_as_without_it() -> None:
    """Recovery from a checkpoint sets aside the same remains."""
    disk, saved = _journal_with_checkpoint(40, 46)
    disk.damage("market.jsonl", disk.read("market.jsonl") + b'{"torn')
    twin = disk.with_faults(Faults())
    found = recover(disk, after=saved)
    assert found == recover(twin)
    assert found.torn_bytes == 6


def test_a_journal_that_lost_what_a_checkpoint_saw_is_a_refusal() -> None:
    """A checkpoint is written after its records: a journal that ends before it has lost durable ones."""
    disk = written([timer(1), quote(2), timer(3)], limits=Limits())
    reached = recover(disk)
    log = opened(disk, after=reached, limits=Limits())
    log.append(timer(4))
    done(log.close())
    saved = checkpoint(4, head_hash=log.head_hash, market_head_hash=log.market_head_hash)
    lines = disk.read("events.jsonl").splitlines(keepends=True)
    disk.damage("events.jsonl", b"".join(lines[:-1]))
    with pytest.raises(DamagedJournal, match="which saw another"):
        recover(disk, after=saved)


@pytest.mark.parametrize("at", [30, 60])
def test_a_checkpoint_of_another_journal_is_a_refusal(at: int) -> None:
    """When the hashes at its place differ, one of the two was exchanged, and neither is trusted."""
    disk, saved = _journal_with_checkpoint(at, 80)
    for wrong in (
        checkpoint(at, head_hash=saved.head_hash),
        checkpoint(at, market_head_hash=saved.market_head_hash),
    ):
        with pytest.raises(DamagedJournal, match="which saw another"):
            recover(disk, after=wrong)


def test_a_checkpoint_older_than_the_kept_market_data_still_serves() -> None:
    """The budget may have cost the market records around it; the events after it are all there."""
    disk = SimDisk()
    log = opened(disk, limits=Limits(segment_bytes=2_000, budget_bytes=24_000))
    saved = None
    for number in range(2500):
        log.append(timer(number) if number % 250 == 0 else quote(number))
        if number % 10 == 9:
            done(log.commit())
        if number == 400:
            saved = checkpoint(log.seq, head_hash=log.head_hash, market_head_hash=log.market_head_hash)
    done(log.close())
    assert saved is not None
    assert log.dropped_market_before > 401
    assert recover(disk, after=saved) == recover(disk)
