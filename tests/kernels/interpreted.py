"""What a kernel gives without the compiler, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Interpreted kernels take seconds; this is a process that hangs.
INTERPRETED_S_MAX = 100


def interpreted(module: str) -> str:
    """The digest that `module.digest_of_all()` gives where nothing is compiled."""
    script = f"from {module} import digest_of_all; print(digest_of_all())"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=INTERPRETED_S_MAX,
    )
    return found.stdout.strip()
