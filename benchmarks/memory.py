"""Memory: the largest a run gets, its slope over a simulated day, and what an installation takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_DAY = """
import asyncio, gc, json, sys
from pathlib import Path
import psutil
from agora import assembly
from agora.journal.disk import Disk
from agora.journal.log import open_log
from agora.report.collector import Collector
from agora.session.clock import ManualClock
from agora.session.lifetime import Cast, live
from agora.session.runner import Runner

class Silent:
    def poll(self, now_ns): return None
    def pulse(self, now_ns, *, queue_depth): return None
    async def keep_if_due(self, runner): return None

class Sampler:
    def __init__(self): self.rows, self.next_ns, self.process = [], 0, psutil.Process()
    def after_step(self, desk, event, **_):
        if desk.state.now_ns >= self.next_ns:
            self.next_ns = desk.state.now_ns + 600_000_000_000
            self.rows.append((desk.state.now_ns / 3.6e12, self.process.memory_info().rss / 1e6))

pairs = ["run.duration_minutes=1440", "risk.loss_fraction_max_ppm=1000000", "risk.daily_drawdown_max_ppm=1000000", "risk.losing_streak_max=0"]
parts = assembly.build_parts(assembly.load_config({}, {}, pairs), "00000000")
clock = ManualClock(1_700_000_000_000_000_000)
venue = assembly.build_venue(parts, clock)
log = open_log(Disk(Path(sys.argv[1])), wall_ns=clock.wall_ns)
runner = Runner(parts.desk, venue, journal=log, clock=clock)
sampler = Sampler()
runner.observers = [Collector(), sampler]
silent = Silent()
asyncio.run(live(Cast(runner=runner, controls=silent, keeper=silent, first=assembly.started(parts, run_id="day-00000000", now_ns=clock.now_ns()), restored=None, poll_ns=2**61)))
rows = [row for row in sampler.rows if row[0] - sampler.rows[0][0] >= 2]
mean_t = sum(t for t, _ in rows) / len(rows); mean_m = sum(m for _, m in rows) / len(rows)
slope = sum((t - mean_t) * (m - mean_m) for t, m in rows) / sum((t - mean_t) ** 2 for t, _ in rows)
print(json.dumps({"hours": round(sampler.rows[-1][0] - sampler.rows[0][0], 1), "events": parts.desk.state.counters.market_events,
  "trades": parts.desk.state.counters.trades, "rss_mb_max": round(max(m for _, m in sampler.rows), 1), "slope_mb_per_h_after_2_h": round(slope, 3)}))
"""


def memory_figures(scratch: Path) -> dict[str, Any]:
    """Megabytes of a short run and of a simulated day; slope by least squares after the first two hours."""
    folder = scratch / "day"
    folder.mkdir()
    answer = subprocess.run([sys.executable, "-c", _DAY, str(folder)], capture_output=True, check=True, text=True)
    home = scratch / "memory-home"
    environment = {**os.environ, "AGORA_HOME": str(home)}
    words = [sys.executable, "-m", "agora", "run", "--duration", "0.2", "--json"]
    short = subprocess.run(words, env=environment, capture_output=True, check=False, text=True)
    return {
        "run_12_s_rss_mb_max": json.loads(short.stdout)["rss_mb_max"],
        "simulated_day": json.loads(answer.stdout),
        "installed_mb": installed_mb(),
    }


def installed_mb() -> int:
    """Size of the packages of the runtime lock as installed here (compiled files included)."""
    site = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    return round(total / 1e6)
