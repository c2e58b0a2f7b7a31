"""Waiting in virtual time."""

from __future__ import annotations

from agora.domain.numbers import NS_PER_S
from tests.simulation.loop import VirtualClock


async def after(seconds: float) -> None:
    """Return so much later by the virtual clock, which jumps."""
    clock = VirtualClock()
    await clock.sleep_until(clock.now_ns() + round(seconds * NS_PER_S))
