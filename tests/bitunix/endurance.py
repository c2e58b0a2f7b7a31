"""A long run at a slow venue that cuts every connection each five minutes: what of it grows, in virtual time.

Memory is what the program's own modules hold by the interpreter's count, without the venue (in the same process here)
and without the simulated disk. `python -m tests.bitunix.endurance HOURS` prints what was measured.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from typing import NamedTuple

from tests.bitunix.harness import Story, Teller
from tests.bitunix.plans import Plan
from tests.simulation.network import running_network

CUT_EVERY_S = 300.0
# Measured from here on: caches are warm, deques full.
WARM_H = 1.0
# A minute before the end of the run, so that its ending is not in the measurement.
BEFORE_END_S = 60.0
SECONDS_PER_HOUR = 3_600
# Slow frames and no trades of others: what matters is the number of hours, not of frames.
SLOW = {
    "depth_ms": 10_000,
    "price_ms": 20_000,
    "ticker_ms": 20_000,
    "kline_ms": 20_000,
    "quote_ms": 10_000,
    "trades_per_s": 0.0,
    "history_max": 10_000,
}
PAIRS = (
    "run.interval=1m",
    "bitunix.market_silence_s_max=60",
    "risk.stale_timeout_s=300",
    "risk.data_age_s_max=30",
    "journal.segment_mb=1",
    "journal.disk_budget_mb=100",
)
# Tasks that belong to an order; how many there are is the trader's business.
OF_ORDERS = ("order ", "leg ", "stop ", "target ", "cancel ", "alarm")


class Sample(NamedTuple):
    """How a run stood at a moment."""

    tasks: int
    links: int
    memory: tracemalloc.Snapshot


class Endured(NamedTuple):
    """What a long run has shown. Tasks are those of no order; links are connections."""

    story: Story
    hours: float
    cuts: int
    grown_mb_per_h: float
    tasks: tuple[int, int]
    links: tuple[int, int]
    disk_mb: float


class _Watched(Teller):
    """A story with two looks at what it holds."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.samples: list[Sample] = []

    async def _play(self) -> None:
        watch = asyncio.get_running_loop().create_task(self._watch())
        try:
            await super()._play()
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        begin_s = WARM_H * SECONDS_PER_HOUR
        for wait_s in (begin_s, self.plan.seconds - begin_s - BEFORE_END_S):
            await running_network().loop.let_pass(wait_s)
            gc.collect()
            self.samples.append(Sample(self._tasks(), len(self._loop.network.links()), _own_memory()))

    def _tasks(self) -> int:
        alive = self._loop.tasks_of("life 0")
        return sum(not task.get_name().startswith(OF_ORDERS) for task in alive)


def _own_memory() -> tracemalloc.Snapshot:
    """What our modules and the HTTP client hold, without the venue's, and without what the journal gave to the disk."""
    kept = (tracemalloc.Filter(True, "*/agora/*"), tracemalloc.Filter(True, "*/aiohttp/client*"))
    without = tuple(
        tracemalloc.Filter(False, f"*/agora/{part}/*") for part in ("testnet", "exchange", "kernels", "journal")
    )
    return tracemalloc.take_snapshot().filter_traces(kept).filter_traces(without)


def endure(hours: float, *, seed: int = 1) -> Endured:
    """So many virtual hours, with a cut of all sockets every five minutes."""
    seconds = hours * SECONDS_PER_HOUR
    cuts = int(seconds / CUT_EVERY_S) - 1
    faults = tuple(
        {"fault": "ws_reset", "target": "*", "at_s": CUT_EVERY_S * (1 + number), "for_s": 2.0} for number in range(cuts)
    )
    teller = _Watched(Plan(seed=seed, seconds=seconds, faults=faults, pairs=PAIRS, venue=SLOW))
    tracemalloc.start()
    try:
        story = teller.play()
    finally:
        tracemalloc.stop()
    assert len(teller.samples) == 2, f"ended too early for a second look: {story.ended()}"
    first, last = teller.samples
    grown = sum(row.size_diff for row in last.memory.compare_to(first.memory, "filename"))
    return Endured(
        story=story,
        hours=hours,
        cuts=cuts,
        grown_mb_per_h=grown / 2**20 / (hours - WARM_H - BEFORE_END_S / SECONDS_PER_HOUR),
        tasks=(first.tasks, last.tasks),
        links=(first.links, last.links),
        disk_mb=sum(story.disk.size(name) for name in story.disk.names()) / 2**20,
    )


def main(arguments: list[str]) -> None:
    """Measure and say it."""
    found = endure(float(arguments[0]))
    sys.stdout.write(
        f"{found.hours} h, {found.cuts} cuts: memory {found.grown_mb_per_h:+.3f} MB/h, tasks {found.tasks}, "
        f"links {found.links}, disk {found.disk_mb:.1f} MB, {found.story.ended()}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
