"""Memory: the largest a run gets, its slope over a simulated day, and what an installation takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def memory_figures(scratch: Path) -> dict[str, Any]:
    """Megabytes of a short run and of a simulated day; slope by least squares after the first two hours."""
    folder = scratch / "day"
    folder.mkdir()
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.day", str(folder)], capture_output=True, check=True, text=True
    )
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
