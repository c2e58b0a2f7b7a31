"""The virtual loop keeps time as a number, finds deadlocks and repeats an order from its seed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.loop import Deadlock, VirtualClock, run_virtual

HOUR_NS = 3_600_000_000_000


async def _pass(delay_s: float) -> None:
    clock = VirtualClock()
    await clock.sleep_until(clock.now_ns() + round(delay_s * 1e9))


async def _sleeper(order: list[int], number: int, delay_s: float) -> None:
    await _pass(delay_s)
    order.append(number)


async def _race(delays_s: list[float]) -> list[int]:
    order: list[int] = []
    async with asyncio.TaskGroup() as group:
        for number, delay_s in enumerate(delays_s):
            group.create_task(_sleeper(order, number, delay_s))
    return order


def test_a_day_of_sleep_takes_no_time() -> None:
    """Waiting moves the clock by exactly what was waited for and costs nothing."""

    async def main() -> int:
        clock = VirtualClock()
        await clock.sleep_until(24 * HOUR_NS + 7)
        return clock.now_ns()

    assert run_virtual(main(), seed=1) == 24 * HOUR_NS + 7


def test_the_clock_begins_where_it_is_told() -> None:
    """Both times of the clock begin with `start_ns` and go on together."""

    async def main() -> tuple[int, int]:
        clock = VirtualClock()
        await _pass(1.5)
        return clock.now_ns(), clock.wall_ns()

    start_ns = 1_700_000_000_000_000_000
    assert run_virtual(main(), seed=1, start_ns=start_ns) == (start_ns + 1_500_000_000,) * 2


@given(st.lists(st.integers(1, 50 * 24 * HOUR_NS), min_size=1, max_size=5), st.integers(0, 2**62))
def test_sleep_until_hits_the_nanosecond(steps_ns: list[int], start_ns: int) -> None:
    """However far and however odd the deadline, the clock stands on it afterwards."""

    async def main() -> None:
        clock = VirtualClock()
        deadline_ns = start_ns
        for step_ns in steps_ns:
            deadline_ns += step_ns
            await clock.sleep_until(deadline_ns)
            assert clock.now_ns() == deadline_ns

    run_virtual(main(), seed=0, start_ns=start_ns)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=8), st.integers(0, 1000))
def test_earlier_timers_come_first_whatever_the_seed(delays: list[int], seed: int) -> None:
    """The shuffle moves only what is due at one instant."""
    order = run_virtual(_race([delay / 10 for delay in delays]), seed=seed)
    assert [delays[number] for number in order] == sorted(delays)


def test_one_seed_gives_one_order_and_seeds_differ() -> None:
    """What is ready at one instant runs in an order that the seed repeats and another seed changes."""
    orders = [tuple(run_virtual(_race([1.0] * 6), seed=seed)) for seed in range(8)]
    assert orders == [tuple(run_virtual(_race([1.0] * 6), seed=seed)) for seed in range(8)]
    assert len(set(orders)) > 4


def test_waiting_for_nothing_is_a_deadlock() -> None:
    """A future that nobody will resolve ends the run at once with a finding instead of hanging."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run_virtual(main(), seed=1)


def test_a_timeout_ends_in_virtual_time() -> None:
    """A deadline of asyncio works on this loop, and its cancelled timers leave nothing behind."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(200):
            async with asyncio.timeout(1000):
                await _pass(0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await loop.create_future()
        return loop.time()

    assert run_virtual(main(), seed=3) == pytest.approx(10.2)


def test_threads_are_refused() -> None:
    """Work in a thread would bring real time back in, so asking for it fails at once."""

    async def main() -> None:
        await asyncio.to_thread(int)

    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(main(), seed=1)
