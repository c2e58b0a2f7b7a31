"""Full files are sealed and compressed, and market data make room when the disk budget is spent."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from pathlib import Path

import pytest

from agora.domain.errors import DamagedJournal, UsageFault
from agora.domain.events import Event, MarketQuote
from agora.journal import Disk, Limits, Log, open_log, read_records, recover, verify_chain
from tests.journal.builders import done, intent, opened, quote, timer, wall_ns, written
from tests.simulation.disk import Crashed, Faults, SimDisk

TIGHT = Limits(segment_bytes=2_000, budget_bytes=24_000)


def events_of(disk: SimDisk | Disk) -> list[Event]:
    """What a reader finds."""
    return [record.event for record in read_records(disk)]


def used_bytes(disk: SimDisk | Disk) -> int:
    """What the folder takes. A file that the writer renames or deletes between two looks counts at the next call."""
    total = 0
    for name in disk.names():
        with contextlib.suppress(FileNotFoundError):
            total += disk.size(name)
    return total


def flood(log: Log, disk: SimDisk | Disk, *, count: int) -> int:
    """Append quotes with an intent now and then, commit every tenth; the most bytes seen on the disk."""
    most = 0
    for number in range(count):
        log.append(intent(number) if number % 250 == 0 else quote(number))
        if number % 5 == 4:
            done(log.commit())
            most = max(most, used_bytes(disk))
    return most


def test_a_full_file_is_sealed_and_compressed() -> None:
    """Each sealed segment holds whole lines of the chain, and unpacks with any gzip."""
    events = [timer(number) for number in range(60)]
    disk = written(events)
    names = [name for name in disk.names() if name.startswith("events-")]
    assert len(names) > 4
    assert names == [f"events-{number:06d}.jsonl.gz" for number in range(1, len(names) + 1)]
    content = b"".join(gzip.decompress(disk.read(name)) for name in names)
    if disk.exists("events.jsonl"):
        content += disk.read("events.jsonl")
    whole = written(events, limits=Limits())
    assert content == whole.read("events.jsonl")


def test_the_same_lines_give_the_same_segment() -> None:
    """Nothing of the time or the machine gets into a compressed file."""
    first, second = (written([timer(number) for number in range(30)]) for _ in range(2))
    assert [first.read(name) for name in first.names()] == [second.read(name) for name in second.names()]
    assert first.read("events-000001.jsonl.gz")[4:8] == bytes(4)


def test_an_original_goes_only_after_its_compressed_form_is_durable() -> None:
    """At every operation of sealing, a crash leaves the segment in one form or the other."""
    events = [timer(number) for number in range(30)]
    for crash_at in range(1, 99):
        disk = SimDisk(Faults(crash_at=crash_at))
        try:
            written(events, disk=disk)
        except Crashed:
            after = disk.crash(crash_at)
            found = recover(after)
            done(opened(after, after=found).close())
            assert events_of(after) == events[: found.next_seq - 1]
            assert not [name for name in after.names() if name.endswith((".tmp", "1.jsonl", "2.jsonl"))]
            continue
        assert crash_at > 30
        return
    pytest.fail("the run never came to its end")


@pytest.mark.requirement("B58")
def test_the_oldest_market_data_make_room_and_events_never_do() -> None:
    """Over budget, market segments go from the oldest on; the log says from where they are whole."""
    disk = SimDisk()
    log = opened(disk, limits=TIGHT)
    assert log.dropped_market_before == 0
    flood(log, disk, count=3000)
    done(log.close())
    kept = events_of(disk)
    assert [event for event in kept if not isinstance(event, MarketQuote)] == [
        intent(number) for number in range(0, 3000, 250)
    ]
    first_kept = log.dropped_market_before - 1
    assert 1000 < first_kept < 3000
    quotes = [event for event in kept if isinstance(event, MarketQuote)]
    assert quotes == [quote(number) for number in range(first_kept, 3000) if number % 250]
    assert verify_chain(disk).fault is None
    assert verify_chain(disk).dropped_market_before == log.dropped_market_before


@pytest.mark.requirement("B58")
@pytest.mark.requirement("P4.2")
def test_two_thousand_messages_a_second_stay_within_the_budget(tmp_path: Path) -> None:
    """A minute of them through the thread onto a real disk never takes more than the budget."""
    budget_bytes = 3_000_000

    async def main() -> None:
        disk = Disk(tmp_path / "run")
        limits = Limits(segment_bytes=500_000, budget_bytes=budget_bytes)
        log = open_log(disk, wall_ns=wall_ns, limits=limits)
        most = 0
        for second in range(60):
            for number in range(2000):
                log.append(quote(second * 2000 + number))
            log.append(intent(second))
            await log.commit()
            most = max(most, used_bytes(disk))
        await log.close()
        assert budget_bytes / 3 < most <= budget_bytes
        assert log.dropped_market_before > 0
        assert verify_chain(disk).fault is None
        assert verify_chain(disk).records["order.intent"] == 60

    asyncio.run(main())


def test_a_recovered_run_keeps_to_the_budget_and_its_numbers() -> None:
    """What was given up before a restart is remembered after it, and sealing goes on with the next number."""
    disk = SimDisk()
    log = opened(disk, limits=TIGHT)
    flood(log, disk, count=2000)
    done(log.close())
    found = recover(disk)
    assert found.dropped_market_before == log.dropped_market_before > 0
    log = opened(disk, after=found, limits=TIGHT)
    assert log.dropped_market_before == found.dropped_market_before
    assert flood(log, disk, count=1000) <= TIGHT.budget_bytes
    done(log.close())
    assert log.dropped_market_before > found.dropped_market_before
    assert verify_chain(disk).fault is None
    assert recover(disk).next_seq == 3001


def test_numbers_go_on_when_every_sealed_segment_was_given_up() -> None:
    """Events alone may exceed the budget: no market segment is kept then, and later ones count on."""
    disk = SimDisk()
    limits = Limits(segment_bytes=2_000, budget_bytes=8_000)
    log = opened(disk, limits=limits)
    for number in range(400):
        log.append(quote(number) if number % 2 else intent(number))
        done(log.commit())
    done(log.close())
    assert not [name for name in disk.names() if name.startswith("market-0")]
    found = recover(disk)
    roomy = Limits(segment_bytes=2_000, budget_bytes=100_000)
    log = opened(disk, after=found, limits=roomy)
    flood(log, disk, count=200)
    done(log.close())
    done(opened(disk, after=recover(disk), limits=roomy).close())
    assert log.dropped_market_before == found.dropped_market_before
    assert events_of(disk)[-200:] == [quote(number) if number % 250 else intent(number) for number in range(200)]


def test_a_crash_while_market_data_are_given_up_is_repaired() -> None:
    """The note comes first and the deletion after it: stopped anywhere, the journal still verifies."""
    disk = SimDisk()
    log = opened(disk, limits=TIGHT)
    flood(log, disk, count=1000)
    done(log.close())
    found = recover(disk)
    for crash_at in range(1, 400, 3):
        weak = disk.with_faults(Faults(crash_at=crash_at))
        try:
            flood(opened(weak, after=found, limits=TIGHT), weak, count=300)
        except Crashed:
            after = weak.crash(crash_at)
            again = recover(after)
            assert again.next_seq >= found.next_seq
            done(opened(after, after=again, limits=TIGHT).close())
            assert verify_chain(after).fault is None
            assert verify_chain(after).dropped_market_before >= found.dropped_market_before


def test_market_data_that_vanish_without_a_note_are_a_refusal() -> None:
    """Only what the budget has cost may be missing: a segment that somebody deleted is not."""
    disk = SimDisk()
    log = opened(disk, limits=TIGHT)
    flood(log, disk, count=2000)
    done(log.close())
    oldest = next(name for name in disk.names() if name.startswith("market-0"))
    disk.delete(oldest)
    with pytest.raises(DamagedJournal, match=oldest.removesuffix(".gz")):
        recover(disk)


def test_a_note_that_claims_too_much_is_a_refusal() -> None:
    """Events that are missing below the dropped market data are not excused by them."""
    disk = SimDisk()
    log = opened(disk, limits=TIGHT)
    flood(log, disk, count=2000)
    done(log.close())
    note = disk.read("market-dropped.json")
    disk.damage("market-dropped.json", note.replace(b'"records":', b'"records":1'))
    with pytest.raises(DamagedJournal, match="more or fewer than the disk budget has cost"):
        recover(disk)
    disk.damage("market-dropped.json", note[:-4])
    with pytest.raises(DamagedJournal, match=r"market-dropped\.json"):
        recover(disk)


def test_a_budget_without_room_to_work_is_refused() -> None:
    """A budget must hold both live files, one being compressed, and one to give up."""
    with pytest.raises(UsageFault, match="at least 4 segments"):
        opened(SimDisk(), limits=Limits(segment_bytes=1000, budget_bytes=3999))
