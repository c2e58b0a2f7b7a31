"""A simulated day on the local market in one process: `python -m benchmarks.day FOLDER` prints its memory as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import psutil

from agora import assembly
from agora.journal.disk import Disk
from agora.journal.log import open_log
from agora.report.collector import Collector
from agora.session.clock import ManualClock
from agora.session.lifetime import Cast, live
from agora.session.runner import Runner
from benchmarks.silent import NEVER_POLL_NS, OPEN_LIMITS, Silent

SAMPLE_EVERY_NS = 600 * 10**9
HOUR_NS = 3_600 * 10**9
# Buffers and caches fill in the first hours; a leak goes on after that.
SETTLED_AFTER_H = 2.0


class Sampler:
    """Notes the resident memory every ten minutes of the run's clock."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float]] = []
        self._next_ns = 0
        self._process = psutil.Process()

    def after_step(self, desk: Any, _: Any, **__: Any) -> None:
        """Called after each step."""
        now_ns = desk.state.now_ns
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + SAMPLE_EVERY_NS
            self.rows.append((now_ns / HOUR_NS, self._process.memory_info().rss / 1e6))


def slope_per_h(rows: list[tuple[float, float]]) -> float:
    """Least-squares slope."""
    mean_h = sum(hour for hour, _ in rows) / len(rows)
    mean_mb = sum(mb for _, mb in rows) / len(rows)
    above = sum((hour - mean_h) * (mb - mean_mb) for hour, mb in rows)
    return above / sum((hour - mean_h) ** 2 for hour, _ in rows)


def main(folder: Path) -> None:
    """Run the day and print."""
    config = assembly.load_config({}, {}, ["run.venue=local", "run.duration_minutes=1440", *OPEN_LIMITS])
    parts = assembly.build_parts(config, "00000000")
    clock = ManualClock(1_700_000_000_000_000_000)
    log = open_log(Disk(folder), wall_ns=clock.wall_ns)
    runner = Runner(parts.desk, assembly.build_venue(parts, clock), journal=log, clock=clock)
    sampler, silent = Sampler(), Silent()
    runner.observers = [Collector(), sampler]  # type: ignore[list-item]
    first = assembly.started(parts, run_id="day-00000000", now_ns=clock.now_ns())
    cast = Cast(runner=runner, controls=silent, keeper=silent, first=first, restored=None, poll_ns=NEVER_POLL_NS)
    asyncio.run(live(cast))
    start_h = sampler.rows[0][0]
    settled = [row for row in sampler.rows if row[0] - start_h >= SETTLED_AFTER_H]
    facts = {
        "hours": round(sampler.rows[-1][0] - start_h, 1),
        "events": parts.desk.state.counters.market_events,
        "trades": parts.desk.state.counters.trades,
        "rss_mb_max": round(max(mb for _, mb in sampler.rows), 1),
        "slope_mb_per_h_after_2_h": round(slope_per_h(settled), 3),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
