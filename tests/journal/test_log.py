"""The log takes records without waiting and makes them durable together, in a thread or inline."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import get_origin

import msgspec
import pytest

from agora.domain.errors import JournalFault
from agora.domain.events import DURABLE_TYPES, EVENT_TYPES, Event, kind_of
from agora.journal import Disk, InlineWriter, Limits, Log, open_log, read_records, recover, verify_chain
from agora.journal.records import GENESIS
from tests.journal.builders import (
    done,
    heartbeat,
    intent,
    mixed,
    opened,
    quote,
    timer,
    tripped,
    wall_ns,
)
from tests.simulation.disk import Faults, SimDisk
from tests.simulation.loop import VirtualClock, run_virtual

PATIENCE_S = 20  # for a thread on a busy machine; nothing waits this long unless it is broken


class GatedDisk(SimDisk):
    """A disk whose syncs of files wait at a gate, and tell when one has come to it."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(faults)
        self.gate = threading.Event()
        self.reached = threading.Event()

    def sync(self, name: str) -> None:
        """Come to the gate, wait until it is open."""
        self.reached.set()
        assert self.gate.wait(PATIENCE_S)
        super().sync(name)

    def open_gate(self) -> GatedDisk:
        """From now on nothing waits."""
        self.gate.set()
        return self


async def reached(event: threading.Event) -> None:
    """Wait for a thread without blocking the loop."""
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


def events_of(disk: SimDisk | Disk) -> list[Event]:
    """What a reader finds."""
    return [record.event for record in read_records(disk)]


def threaded(disk: SimDisk | Disk) -> Log:
    """A log with its thread."""
    return open_log(disk, wall_ns=wall_ns)


def test_both_chains_share_one_counter_and_read_back_merged() -> None:
    """Market data and everything else go to two files, and come back in the order of their one numbering."""
    disk = SimDisk()
    log = opened(disk)
    events = mixed(9)
    assert [log.append(event) for event in events] == list(range(1, 10))
    assert (log.seq, log.records, log.durable_seq) == (9, 9, 0)
    done(log.commit())
    assert log.durable_seq == 9
    done(log.close())
    assert [record.seq for record in read_records(disk)] == list(range(1, 10))
    assert events_of(disk) == events
    assert disk.read("market.jsonl").count(b"\n") == 4
    assert disk.read("events.jsonl").count(b"\n") == 5


def test_the_head_hash_is_known_before_the_disk_has_anything() -> None:
    """The hash of the last record of each chain is the log's at once, and the file's later."""
    disk = SimDisk()
    log = opened(disk)
    assert (log.head_hash, log.market_head_hash) == (GENESIS, GENESIS)
    for event in mixed(9):
        log.append(event)
    heads = (log.head_hash, log.market_head_hash)
    assert disk.names() == []
    done(log.close())
    report = verify_chain(disk)
    assert heads == (report.head_hash, report.market_head_hash)
    assert GENESIS not in heads


def test_market_data_are_durable_before_the_events_decided_on_them_are_written() -> None:
    """Within one commit the market file is synced before the first byte of the events file."""
    disk = SimDisk()
    log = opened(disk)
    log.append(intent())
    log.append(quote())
    done(log.commit())
    assert disk.syncs == ["market.jsonl", ".", "events.jsonl", "."]
    log.append(intent())
    log.append(quote())
    done(log.commit())
    assert disk.syncs[4:] == ["market.jsonl", "events.jsonl"]


def test_a_commit_with_nothing_new_costs_nothing() -> None:
    """Awaiting a commit twice does one sync."""
    disk = SimDisk()
    log = opened(disk)
    log.append(timer())
    done(log.commit())
    operations = disk.operations
    done(log.commit())
    assert disk.operations == operations


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """The folder has mode 0700 and every file in it 0600, also when the folder was there and open to all."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    disk = Disk(folder)
    log = open_log(disk, wall_ns=wall_ns, limits=Limits(segment_bytes=1, budget_bytes=10_000), writer=InlineWriter)
    for event in mixed(4):
        log.append(event)
        done(log.commit())
    done(log.close())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} >= {"events-000001.jsonl.gz", "market-000001.jsonl.gz"}


def test_a_thread_writes_real_files(tmp_path: Path) -> None:
    """What was committed through the thread is in the files, and a second start goes on after it."""

    async def main() -> None:
        events = mixed(501)
        log = threaded(Disk(tmp_path / "run"))
        for event in events[:300]:
            log.append(event)
        await log.commit()
        assert log.durable_seq == 300
        assert events_of(Disk(tmp_path / "run")) == events[:300]
        await log.close()
        found = recover(Disk(tmp_path / "run"))
        assert (found.next_seq, found.head_hash, found.torn_bytes) == (301, log.head_hash, 0)
        log = open_log(Disk(tmp_path / "run"), wall_ns=wall_ns, after=found)
        for event in events[300:]:
            log.append(event)
        await log.close()
        assert events_of(Disk(tmp_path / "run")) == events

    asyncio.run(main())


@pytest.mark.requirement("B39")
def test_many_waiting_commits_cost_one_sync_per_file() -> None:
    """While the disk is busy, commits gather and are answered together by the next round."""

    async def main() -> None:
        disk = GatedDisk()
        log = threaded(disk)
        log.append(intent(0))
        await reached(disk.reached)
        async with asyncio.TaskGroup() as group:
            for number in range(1, 51):
                log.append(intent(number))
                group.create_task(log.commit())
            log.append(quote())
            group.create_task(log.commit())
            group.create_task(open_later(disk))
        assert disk.syncs == ["events.jsonl", ".", "market.jsonl", ".", "events.jsonl"]
        assert log.durable_seq == 52
        await log.close()

    async def open_later(disk: GatedDisk) -> None:
        disk.open_gate()

    asyncio.run(main())


def test_appending_goes_on_while_the_disk_hangs_and_says_when_it_is_too_much() -> None:
    """Nothing but a commit waits for the disk; with 8 MiB waiting the log asks for one."""

    async def main() -> None:
        disk = GatedDisk()
        log = threaded(disk)
        log.append(intent(0))
        await reached(disk.reached)
        number = 0
        while not log.is_full:
            number += 1
            log.append(quote(number), {"filler": "x" * 1000})
        assert 6_000 < number < 8_000
        assert log.durable_seq == 0
        disk.open_gate()
        await log.commit()
        assert not log.is_full
        assert log.durable_seq == number + 1
        await log.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "make", [lambda: [intent()], lambda: [tripped()], lambda: [timer()], lambda: [quote(), heartbeat()]],
    ids=["intent", "breaker", "timer", "notes"],
)  # fmt: skip
def test_records_reach_the_disk_without_a_commit(make: Callable[[], list[Event]]) -> None:
    """Durable kinds soon, all others within a second, though nobody waits for them."""

    async def main() -> None:
        disk = GatedDisk()
        log = threaded(disk)
        for event in make():
            log.append(event)
        await reached(disk.reached)
        disk.open_gate()
        await log.close()
        assert events_of(disk) == make()

    asyncio.run(main())


@pytest.mark.parametrize("cls", sorted(EVENT_TYPES.values(), key=str))
def test_only_durable_kinds_ask_for_the_disk(cls: type[Event]) -> None:
    """A record of a durable kind wakes the writer at once, any other waits for its round."""
    asked: list[int] = []

    class Asked(InlineWriter):
        def request_sync(self) -> None:
            asked.append(self.buffered_bytes)

    log = open_log(SimDisk(), wall_ns=wall_ns, writer=Asked)
    log.append(msgspec.convert(_least(cls), cls))
    assert len(asked) == (cls in DURABLE_TYPES)
    assert all(asked), "the record is there to be synced before the writer is asked"


def _least(cls: type[Event]) -> dict[str, object]:
    """The shortest values that an event's fields take."""
    empty: dict[object, object] = {int: 0, str: "", bool: False, float: 0.0}
    return {
        field.name: empty.get(field.type, [] if get_origin(field.type) is tuple else {})
        for field in msgspec.structs.fields(cls)
        if field.required
    } | {"kind": kind_of(cls)}


def test_passing_records_do_not_wake_the_thread() -> None:
    """A thousand records of no consequence, a tenth of a megabyte, cause no disk work of their own."""

    async def main() -> None:
        disk = SimDisk()
        log = threaded(disk)
        for number in range(400):
            log.append(timer(number))
        await log.close()
        # One round on the way if the thread's second ended just now, one for the close.
        assert disk.syncs.count("events.jsonl") <= 2

    asyncio.run(main())


async def _inline(disk: SimDisk) -> Log:
    return opened(disk)


async def _in_a_thread(disk: SimDisk) -> Log:
    return threaded(disk)


Opening = Callable[[SimDisk], Coroutine[None, None, Log]]
BOTH_WRITERS = pytest.mark.parametrize("opening", [_inline, _in_a_thread], ids=["inline", "thread"])


@BOTH_WRITERS
@pytest.mark.parametrize(
    "faults, words",
    [
        (Faults(full_from=4), "No space left"),
        (Faults(full_from=5), "No space left"),
        (Faults(sync_fails_from=4), "Input/output error"),
    ],
    ids=["full in the line", "full after the line", "sync fails"],
)  # fmt: skip
def test_a_failing_disk_fails_every_commit_and_is_written_to_no_more(
    opening: Opening, faults: Faults, words: str
) -> None:
    """After the first fault commits raise, `failure` says why, appends go on, and the disk is left alone."""

    async def main() -> None:
        disk = SimDisk(faults)
        log = await opening(disk)
        log.append(intent(1))
        await log.commit()
        assert disk.operations == 3
        log.append(quote(2))
        log.append(intent(3))
        with pytest.raises(JournalFault, match=words):
            await log.commit()
        operations, durable_seq = disk.operations, log.durable_seq
        assert words in str(log.failure)
        assert durable_seq == 1
        assert log.append(intent(4)) == 4
        for _ in range(2):
            with pytest.raises(JournalFault, match=words):
                await log.commit()
        with pytest.raises(JournalFault, match=words):
            await log.close()
        assert (disk.operations, log.durable_seq) == (operations, durable_seq)
        assert log._writer.buffered_bytes == 0, "what can no longer be written is not kept either"
        assert events_of(disk.crash(1))[:1] == [intent(1)]

    asyncio.run(main())


@BOTH_WRITERS
def test_short_writes_lose_nothing(opening: Opening) -> None:
    """A disk that takes a few bytes at a time gets them all, in order."""

    async def main() -> None:
        disk = SimDisk(Faults(short_writes_seed=3))
        log = await opening(disk)
        for event in mixed(20):
            log.append(event)
        await log.close()
        assert events_of(disk) == mixed(20)
        assert verify_chain(disk).fault is None

    asyncio.run(main())


def test_a_commit_that_waits_when_the_disk_fails_hears_of_it() -> None:
    """Commits that are already waiting raise too; none hangs."""

    async def main() -> None:
        disk = GatedDisk(Faults(sync_fails_from=1))
        log = threaded(disk)
        log.append(intent(0))
        await reached(disk.reached)
        waiting = asyncio.gather(*(log.commit() for _ in range(3)), return_exceptions=True)
        disk.open_gate()
        assert [type(outcome) for outcome in await waiting] == [JournalFault] * 3

    asyncio.run(main())


def test_a_cancelled_commit_disturbs_nobody() -> None:
    """Giving up waiting neither loses the record nor the answers of others."""

    async def main() -> None:
        disk = GatedDisk()
        log = threaded(disk)
        log.append(intent(0))
        await reached(disk.reached)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await log.commit()
        disk.open_gate()
        await log.commit()
        await log.close()
        assert events_of(disk) == [intent(0)]

    asyncio.run(main())


@BOTH_WRITERS
def test_a_closed_log_says_so(opening: Opening) -> None:
    """Closing twice is allowed; records after it cannot be committed and no commit hangs."""

    async def main() -> None:
        disk = SimDisk()
        log = await opening(disk)
        log.append(intent(0))
        await log.close()
        await log.close()
        log.append(intent(1))
        with pytest.raises(JournalFault, match="closed"):
            await log.commit()
        assert events_of(disk) == [intent(0)]

    asyncio.run(main())


def test_a_journal_is_never_begun_twice() -> None:
    """A folder that holds a journal is opened only with what recovery found there."""
    disk = SimDisk()
    done(opened(disk).close())
    log = opened(disk)
    log.append(timer())
    done(log.close())
    with pytest.raises(JournalFault, match="recover"):
        opened(disk)
    done(opened(disk, after=recover(disk)).close())


def test_a_slow_disk_is_slow_in_virtual_time_only() -> None:
    """The inline writer awaits its delay before each commit; others run meanwhile and the time counts."""

    async def main() -> tuple[int, list[Event]]:
        clock = VirtualClock()
        disk = SimDisk()

        async def delay() -> None:
            await clock.sleep_until(clock.now_ns() + 5_000_000)

        log = open_log(
            disk,
            wall_ns=clock.wall_ns,
            writer=lambda store, *, last_seq: InlineWriter(store, last_seq=last_seq, delay=delay),
        )
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                log.append(intent(number))
                group.create_task(log.commit())
        await log.close()
        return clock.now_ns(), events_of(disk)

    now_ns, events = run_virtual(main(), seed=4)
    assert now_ns in {5_000_000, 10_000_000}
    assert events == [intent(number) for number in range(10)]
