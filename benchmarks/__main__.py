"""Runs every measurement, progress on standard error, one JSON object on standard output."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "var" / "cache" / "numba"))

from benchmarks import (  # noqa: E402  the cache folder must be known first
    commands,
    engine,
    exchange,
    live,
    llm_loop,
    market,
    matching,
    memory,
    population,
    server,
)

REPEATS = 5


def calibration_s() -> float:
    """Seconds of a fixed pure-Python loop: compare it before comparing figures of two machines."""
    start = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number & 7
    assert total == 35_000_000
    return time.perf_counter() - start


def median_of(measure: Callable[[], float], repeats: int = REPEATS) -> float:
    """The median of several measurements."""
    return statistics.median(measure() for _ in range(repeats))


def main() -> None:
    """Measure and print."""
    figures: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "calibration_loop_10m_s": round(median_of(calibration_s, 3), 3),
    }
    with TemporaryDirectory() as name:
        scratch = Path(name)
        for title, measure in (
            ("start", lambda: commands.start_figures(scratch, median_of)),
            ("engine", lambda: engine.engine_figures(scratch, median_of)),
            ("journal", lambda: engine.journal_figures(scratch, median_of)),
            ("memory", lambda: memory.memory_figures(scratch)),
            ("book", lambda: matching.matching_figures(median_of)),
            ("exchange", lambda: exchange.exchange_figures(median_of)),
            ("population", lambda: population.population_figures(median_of)),
            ("market", lambda: market.market_figures(scratch, median_of)),
            ("models", lambda: llm_loop.llm_figures(scratch)),
            ("api", lambda: server.server_figures(scratch, median_of)),
            ("live", lambda: live.live_figures(scratch)),
        ):
            sys.stderr.write(f"measuring {title} …\n")
            figures[title] = measure()
    figures["calibration_loop_10m_s_after"] = round(calibration_s(), 3)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
