"""Bells, background work and shared reads: nothing is lost, nothing runs on, nothing is read twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from agora.venues.bitunix.crew import Bell, Crew, SharedRead
from tests.simulation.loop import VirtualClock, run_virtual

NS_PER_S = 1_000_000_000


def virtually(main: Coroutine[Any, Any, None], *, seed: int = 1) -> None:
    """Run in virtual time."""
    run_virtual(main, seed=seed)


def test_a_ring_before_the_wait_is_heard_once() -> None:
    """It wakes the next wait, and not the one after that."""

    async def main() -> None:
        bell = Bell()
        bell.ring()
        assert await bell.wait(None)
        assert not await bell.wait(1.0)

    virtually(main())


def test_a_wait_ends_by_its_time_or_by_a_ring() -> None:
    """Whichever comes first."""

    async def main() -> None:
        clock, bell = VirtualClock(), Bell()
        begun_ns = clock.now_ns()
        assert not await bell.wait(2.0)
        assert clock.now_ns() - begun_ns == 2 * NS_PER_S
        asyncio.get_running_loop().call_later(1.0, bell.ring)
        assert await bell.wait(5.0)
        assert clock.now_ns() - begun_ns == 3 * NS_PER_S

    virtually(main())


def test_a_bug_in_one_task_is_told_and_stops_no_other() -> None:
    """The other goes on until it is closed."""

    async def main() -> None:
        crew, told, ticks = Crew(), list[Exception](), list[int]()
        crew.on_fault = told.append
        clock = VirtualClock()

        async def broken() -> None:
            raise ZeroDivisionError

        async def ticking() -> None:
            while True:
                await clock.sleep_until(clock.now_ns() + NS_PER_S)
                ticks.append(1)

        await crew.open()
        crew.start(ticking(), name="ticking")
        crew.start(broken(), name="broken")
        await clock.sleep_until(clock.now_ns() + 5 * NS_PER_S + 1)
        assert [type(fault) for fault in told] == [ZeroDivisionError]
        assert len(ticks) == 5
        assert len(crew) == 1
        await crew.close()
        assert len(crew) == 0

    virtually(main())


@pytest.mark.parametrize("is_closed", [False, True])
def test_nothing_begins_before_the_opening_or_after_the_end(is_closed: bool) -> None:
    """Such work is let go of without a word."""

    async def main() -> None:
        crew, done = Crew(), list[int]()

        async def work() -> None:
            done.append(1)

        if is_closed:
            await crew.open()
            await crew.close()
        crew.start(work(), name="late")
        assert len(crew) == 0
        assert not done

    virtually(main())


def test_who_asks_during_a_read_gets_the_next_one_and_shares_it() -> None:
    """Five ask while one is read: one more read for all of them."""

    async def main() -> None:
        clock, reads = VirtualClock(), list[int]()

        async def read() -> None:
            reads.append(clock.now_ns())
            await clock.sleep_until(clock.now_ns() + NS_PER_S)

        shared = SharedRead(read)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(shared())
            await clock.sleep_until(clock.now_ns() + NS_PER_S // 2)
            for _ in range(5):
                tasks.create_task(shared())
        assert len(reads) == 2

    virtually(main())


def test_a_read_that_fails_fails_for_who_asked_and_is_made_again_for_the_next() -> None:
    """Nobody takes another's failure for an answer."""

    async def main() -> None:
        faults = [OSError("away"), None]

        async def read() -> None:
            fault = faults.pop(0)
            if fault is not None:
                raise fault

        shared = SharedRead(read)
        with pytest.raises(OSError, match="away"):
            await shared()
        await shared()
        assert not faults

    virtually(main())


def test_reads_are_as_far_apart_as_their_gap() -> None:
    """The first goes at once; who comes in the gap shares the one after it."""

    async def main() -> None:
        clock, reads = VirtualClock(), list[int]()

        async def read() -> None:
            reads.append(clock.now_ns())

        shared = SharedRead(read, gap_s=0.5)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(shared())
                await clock.sleep_until(clock.now_ns() + NS_PER_S // 20)
        assert [(at - reads[0]) / NS_PER_S for at in reads] == [0.0, 0.5]

    virtually(main())
