"""Whole runs without files: the assembly's desk and venue on a manual clock, with a journal that only counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from agora import assembly
from agora.config import Config
from agora.domain.events import Decision, Event, OrderFilled
from agora.domain.numbers import NS_PER_S
from agora.engine.desk import Desk
from agora.engine.ports import Effect
from agora.session.clock import ManualClock
from agora.session.runner import Runner

START_NS = 20_000 * 86_400 * NS_PER_S


class Nobody:
    """Controls that say nothing, a keeper that keeps nothing, a journal that only numbers its records."""

    is_full = False
    last_wall_ns = 0

    def __init__(self) -> None:
        self.records = 0

    def append(self, event: Event, facts: dict[str, Any] | None = None) -> int:
        """Counted."""
        del event, facts
        self.records += 1
        return self.records

    async def commit(self) -> None:
        """No disk, no wait."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def poll(self, now_ns: int) -> None:
        """No command."""

    def pulse(self, now_ns: int, *, queue_depth: int) -> None:
        """No heartbeat."""

    async def keep_if_due(self, runner: Runner) -> None:
        """No checkpoint."""


class Onlooker:
    """Counts what was decided, and keeps the fills."""

    def __init__(self) -> None:
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.fills: list[OrderFilled] = []

    def after_step(
        self, desk: Desk, event: Event, *, wall_ns: int, done_wall_ns: int | None, effects: list[Effect]
    ) -> None:
        """One step."""
        del desk, wall_ns, done_wall_ns
        if isinstance(event, OrderFilled):
            self.fills.append(event)
        for effect in effects:
            if isinstance(effect, Decision):
                self.decisions[effect.action, effect.reason] += 1


def play(config: Config) -> tuple[Desk, Onlooker]:
    """A run to its end, as fast as it goes."""
    parts = assembly.build_parts(config, "cafe0123")
    clock = ManualClock(parts.start_ns or START_NS)
    nobody, onlooker = Nobody(), Onlooker()
    runner = Runner(parts.desk, assembly.build_venue(parts, clock), journal=nobody, clock=clock)
    runner.observers.append(onlooker)

    async def story() -> None:
        await runner.take(assembly.started(parts, run_id="r-cafe0123", now_ns=clock.now_ns(), root=Path("/")))
        await runner.run(nobody, nobody, poll_ns=2**61)

    asyncio.run(story())
    return parts.desk, onlooker
