"""Clocks: a manual one is told the time, a paced one follows the machine's monotonic time at a factor."""

from __future__ import annotations

import asyncio

from agora.domain.numbers import NS_PER_S
from agora.session.clock import ManualClock, PacedClock, utc_text


def test_a_manual_clock_is_told_and_never_goes_back() -> None:
    """Telling it an earlier time changes nothing; waiting is a jump."""

    async def story() -> list[int]:
        clock = ManualClock(100)
        seen = [clock.now_ns()]
        clock.advance(250)
        clock.advance(200)
        seen.append(clock.now_ns())
        await clock.sleep_until(10**18)
        await clock.sleep_until(5)
        return [*seen, clock.now_ns()]

    assert asyncio.run(story()) == [100, 250, 10**18]


def test_a_paced_clock_plays_a_recordings_time_and_takes_no_orders() -> None:
    """It begins where it is told, never goes back, and telling it the time moves nothing."""
    clock = PacedClock(1_000, factor=2.0)
    first = clock.now_ns()
    clock.advance(10**18)
    second = clock.now_ns()
    assert 1_000 <= first <= second < 1_000 + 60 * NS_PER_S


def test_a_fast_clock_waits_short() -> None:
    """At a factor of 100,000 ten minutes pass in milliseconds, and never less than asked."""

    async def story() -> int:
        clock = PacedClock(0, factor=100_000.0)
        await clock.sleep_until(600 * NS_PER_S)
        return clock.now_ns()

    assert asyncio.run(story()) >= 600 * NS_PER_S


def test_a_time_that_has_passed_is_not_waited_for() -> None:
    """The past is there at once."""

    async def story() -> None:
        await PacedClock().sleep_until(0)

    asyncio.run(story())


def test_utc_text_is_utc() -> None:
    """Whatever the time zone of the machine."""
    assert utc_text(1_700_000_000 * NS_PER_S) == "2023-11-14T22:13:20Z"
