"""Verification counts what is there and names the first place that is not as it was written."""

from __future__ import annotations

import pytest

from agora.domain.errors import JournalFault
from agora.journal import Limits, verify_chain
from agora.journal.records import GENESIS
from tests.journal.builders import heartbeat, intent, mixed, quote, timer, written
from tests.simulation.disk import Faults, SimDisk


def test_an_empty_folder_has_no_fault_and_no_records() -> None:
    """Nothing there is nothing wrong; the count says so."""
    report = verify_chain(SimDisk())
    assert (report.total, report.fault, report.head_hash) == (0, None, GENESIS)


@pytest.mark.requirement("B19")
@pytest.mark.requirement("H5.3")
def test_it_counts_every_kind_and_repeated_events_are_records_of_their_own() -> None:
    """Identity is the number: equal events are all there, none is taken for a duplicate."""
    report = verify_chain(written([timer(7)] * 5 + [quote(1)] * 4 + [intent(2), heartbeat(3)]))
    assert report.records == {"heartbeat": 1, "market.quote": 4, "order.intent": 1, "timer": 5}
    assert (report.total, report.torn_bytes, report.fault) == (11, 0, None)


@pytest.mark.parametrize("name", ["events.jsonl", "market.jsonl"])
def test_a_torn_tail_is_a_fault_that_says_it_is_only_that(name: str) -> None:
    """An incomplete end is reported with its size and the last record before it, and nothing is cut."""
    disk = written(mixed(8), limits=Limits())
    disk.damage(name, disk.read(name) + b'{"half')
    report = verify_chain(disk)
    assert report.total == 8
    assert report.torn_bytes == 6
    assert report.fault == f"{name}: the last 6 bytes, after record 8, are torn"
    assert disk.read(name).endswith(b"half")


def test_a_fault_in_the_middle_is_named_and_what_comes_before_is_counted() -> None:
    """The report holds the good beginning and the place where it ends."""
    disk = written([timer(number) for number in range(9)], limits=Limits())
    content = disk.read("events.jsonl")
    disk.damage("events.jsonl", content.replace(b'"ts_ns":4,', b'"ts_ns":5,'))
    report = verify_chain(disk)
    assert report.records == {"timer": 4}
    assert report.torn_bytes == 0
    assert "events.jsonl line 5, after record 4: the hash of its bytes is" in str(report.fault)


def test_an_unreadable_disk_is_not_a_damaged_journal() -> None:
    """What the operating system refuses to read is a fault of the disk, raised as such."""

    class Unreadable(SimDisk):
        def read(self, name: str, *, size_max: int = -1) -> bytes:
            raise OSError(5, "Input/output error", f"{name} {size_max}")

    disk = written([timer(1)], limits=Limits())
    unreadable = Unreadable(Faults())
    unreadable._files = disk._files
    with pytest.raises(JournalFault, match="verifying the journal"):
        verify_chain(unreadable)
