"""Memory: the largest a run gets, its slope over a simulated day, and what an installation takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
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
    """Size on disk of the packages of the runtime lock as installed here, byte code that exists included."""
    lock = (Path(__file__).resolve().parent.parent / "requirements.lock").read_text(encoding="utf-8")
    total = 0
    for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE):
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            continue  # for another system
        total += sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file())
    return round(total / 1e6)
