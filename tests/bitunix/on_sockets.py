"""A live run against the testnet over real loopback sockets and in real time; several go on at once in one loop.

The same story and the same checks as in virtual time: one life, no crash, the journal on a disk in memory whose syncs
are noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from agora import assembly, launch
from agora.engine.desk import Desk
from agora.engine.ports import Clock
from agora.engine.state import State
from agora.journal.writer import InlineWriter
from agora.session import lifetime
from agora.session.clock import PacedClock
from agora.session.keeper import CheckpointKeeper
from agora.session.runner import POLL_NS, Runner
from agora.testnet.bitunix import bitunix_testnet
from tests.bitunix.harness import _CLIENT_ID, START_NS, Story, _inline, _ledger_of, access_of, load, testnet_settings
from tests.bitunix.plans import Plan
from tests.scenarios.churner import Churner
from tests.scenarios.harness import ScriptedControls
from tests.scenarios.harness import Setup as Script
from tests.simulation.disk import SimDisk

# Funding comes this often, so that each scenario meets it; other waits are shortened likewise, in `PAIRS`.
FUNDING_S = 6
PAIRS = (
    "run.interval=1s",
    "bitunix.keepalive_s=1",
    "bitunix.user_silence_s_max=1",
    "bitunix.market_silence_s_max=2",
    "bitunix.reconnect_s_max=2",
    "bitunix.request_s_max=1.5",
    "bitunix.not_found_grace_s=4",
    "risk.reconcile_every_s=5",
    "risk.desync_hold_s=3",
)
FLUSH_NS = 500_000_000
# A dozen runs share one loop and a machine: how fast something arrives is judged in virtual time.
TIMED = frozenset({"nothing_arrives_after_its_cancel"})
# What a run may take beyond its duration until it has ended in order.
ENDING_S_MAX = 100.0
# The venue accepts late, at most by this much.
AFTERMATH_S = 3.0


async def played(plan: Plan) -> Story:
    """The story of a plan, on sockets."""
    story = Story(plan, load(_hastened(plan)), SimDisk())
    clock = PacedClock(START_NS)
    settings = msgspec.structs.replace(testnet_settings(plan), funding_interval_s=FUNDING_S)
    testnet = bitunix_testnet(settings, clock=clock, monotonic_ns=clock.now_ns)
    async with asyncio.timeout(plan.seconds + ENDING_S_MAX), testnet as venue:
        access = access_of(venue)

        def note_durable(name: str, content: bytes) -> None:
            for line in content.splitlines() if name.startswith("events") else ():
                found = _CLIENT_ID.search(line) if b'"kind":"order.intent"' in line else None
                if found is not None:
                    story.durable_ns.setdefault(found.group(1).decode(), clock.now_ns())

        story.disk.on_sync = note_durable
        seen = await assembly.look(story.config, access, clock=clock)
        parts = assembly.build_parts(story.config, f"{plan.seed:08x}", seen)
        churner = Churner(seed=plan.seed, lots_max=12)
        parts.desk = Desk(State(), msgspec.structs.replace(parts.desk.rules, traders=(churner,)))
        ground = launch.Ground(
            folder=Path(f"20260926T234500Z-testnet-churner-{plan.seed:08x}"),
            disk=story.disk,  # type: ignore[arg-type]
            writer=InlineWriter,
            build_clock=lambda _parts, now_ns=None: clock,  # noqa: ARG005
            build_venue=partial(assembly.build_venue),
            access=access,
        )
        story.lives = 1
        # The plan's times count from here: a slow start of many stories takes nothing from them.
        venue.plan.load(msgspec.json.encode(plan.faults))
        story.desk = await _lived(launch.open_new(parts, ground, story.config), plan)
        story.ended_ns = clock.now_ns()
        story.ledger = _ledger_of(venue)
        await clock.sleep_until(clock.now_ns() + int(AFTERMATH_S * 1e9))
        story.late_ledger = _ledger_of(venue)
        story.faults = venue.plan.report()
    return story


def _hastened(plan: Plan) -> Plan:
    """The plan with the shortened waits of this stage."""
    return Plan(seed=plan.seed, seconds=plan.seconds, faults=plan.faults, pairs=(*PAIRS, *plan.pairs))


async def _lived(opened: launch.Opened, plan: Plan) -> Desk:
    runner = Runner(opened.parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
    cast = lifetime.Cast(
        runner=runner,
        controls=ScriptedControls(Script(seed=plan.seed, commands=plan.commands), set()),
        keeper=CheckpointKeeper(
            opened.disk, opened.parts.machine, monotonic_ns=opened.clock.now_ns, off_loop=_inline, every_ns=2**61
        ),
        first=opened.first,
        restored=None,
        poll_ns=POLL_NS,
    )
    flusher = asyncio.ensure_future(_flush(opened.log, opened.clock))
    try:
        await lifetime.live(cast)
    finally:
        flusher.cancel()
    return runner.desk


async def _flush(log: object, clock: Clock) -> None:
    """What the writer's thread does on its own."""
    while True:
        await clock.sleep_until(clock.now_ns() + FLUSH_NS)
        log._writer.flush()  # type: ignore[attr-defined]


def all_played(plans: Sequence[Plan]) -> list[Story]:
    """All stories, side by side."""

    async def main() -> list[Story]:
        return list(await asyncio.gather(*(played(plan) for plan in plans)))

    return asyncio.run(main())
