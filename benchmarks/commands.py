"""Times whole commands: help, the first event of a run with a warm cache, compiling from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Median = Callable[[Callable[[], float]], float]


def _environment(home: Path, cache: Path) -> dict[str, str]:
    return {**os.environ, "AGORA_HOME": str(home), "NUMBA_CACHE_DIR": str(cache)}


def _agora(*words: str) -> list[str]:
    return [sys.executable, "-m", "agora", *words]


def _help_s() -> float:
    start = time.perf_counter()
    subprocess.run(_agora("--help"), check=True, capture_output=True)
    return time.perf_counter() - start


def _first_event_s(home: Path, cache: Path) -> float:
    """From starting the process to its first market record on disk, by the record's own wall time."""
    start_ns = time.time_ns()
    subprocess.run(
        _agora("run", "--venue", "local", "--duration", "0.1", "--quiet", "--set", "local.history_bars=0"),
        env=_environment(home, cache),
        capture_output=True,
        check=False,
    )
    with (home / "runs" / "latest" / "market.jsonl").open("rb") as file:
        first = json.loads(file.readline())
    return float(first["wall_ns"] - start_ns) / 1e9


def _cold_compile_s(cache: Path) -> float:
    code = (
        "import time; start = time.perf_counter()\n"
        "from agora.kernels import fills, indicators\n"
        "fills.warm_up(); indicators.warm_up()\n"
        "print(time.perf_counter() - start)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    return float(answer.stdout)


def start_figures(scratch: Path, median: Median) -> dict[str, Any]:
    """Seconds of start-up."""
    caches = iter(range(100))
    warm = scratch / "warm"
    _cold_compile_s(warm)
    return {
        "help_s": round(median(_help_s), 3),
        "first_event_warm_s": round(median(lambda: _first_event_s(scratch / "home", warm)), 3),
        "compile_cold_s": round(min(_cold_compile_s(scratch / f"cold{next(caches)}") for _ in range(2)), 2),
    }
