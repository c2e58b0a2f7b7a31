"""What `agora doctor` looks at. Returns in well under a second and compiles nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from agora.session.folder import Home

# A day of ticks with compression is a few hundred megabytes.
DISK_FREE_MB_MIN = 500
PYTHON_MIN = (3, 11)


def checkup(home_path: Path) -> list[dict[str, Any]]:
    """Findings as {what, ok, found}."""
    home = Home(home_path)
    parent = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    free_mb = shutil.disk_usage(parent).free // 1_000_000
    kernels = len(list(home.cache.glob("numba/**/*.nbi")))
    latches = home.latches()
    return [
        _finding("Python", sys.version_info >= PYTHON_MIN, platform.python_version()),
        _finding(
            "AGORA_HOME",
            os.access(parent, os.W_OK),
            f"{home.path}{'' if home.path.exists() else ' (will be made)'}",
        ),
        _finding("disk", free_mb >= DISK_FREE_MB_MIN, f"{free_mb} MB free, {DISK_FREE_MB_MIN} wanted"),
        _finding(
            "compile cache",
            True,
            f"{kernels} kernels" if kernels else "empty: the first run compiles for some seconds",
        ),
        _finding(
            "kill file",
            not home.kill_file.exists(),
            f"{home.kill_file}{' is there' if home.kill_file.exists() else ' is not there'}",
        ),
        _finding(
            "breakers",
            not latches,
            "; ".join(f"{x.account}: {x.breaker} of {x.run_id}" for x in latches) or "none tripped",
        ),
    ]


def _finding(what: str, ok: bool, found: str) -> dict[str, Any]:
    return {"what": what, "ok": ok, "found": found}
