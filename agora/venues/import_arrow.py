"""Feather (Arrow IPC) files of unknown origin, read by a child process and handed over as plain columns."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agora.domain.errors import UsageFault

CHILD = Path(__file__).with_name("arrow_child.py")
CHILD_TIMEOUT_S = 60  # 130,000 rows take 0.2 s; five million are the most that are imported
ROWS_MAX = 5_000_000  # nine years of minutes


@dataclass(frozen=True)
class ArrowTable:
    """All column names of a file, and of the wanted columns those that are there."""

    names: list[str]
    times: npt.NDArray[np.int64] | None
    numbers: dict[str, npt.NDArray[np.float64]]


def read_arrow(path: Path, *, times: tuple[str, ...], numbers: tuple[str, ...]) -> ArrowTable:
    """The first of the time columns that is there, and the number columns; raises `UsageFault`."""
    arguments = [str(path.resolve()), str(ROWS_MAX), ",".join(times), ",".join(numbers)]
    command = [sys.executable, "-I", str(CHILD), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=CHILD_TIMEOUT_S, check=False)  # noqa: S603 - our own file
    except subprocess.TimeoutExpired:
        raise UsageFault(f"{path}: not read within {CHILD_TIMEOUT_S} s: damaged?") from None
    if done.returncode != 0:
        words = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if "rror" in line]
        raise UsageFault(f"{path}: a damaged feather file ({words[-1][:160] if words else 'the reader gave up'})")
    head = json.loads(done.stdout[: done.stdout.index(b"\n")])
    if "fault" in head:
        raise UsageFault(f"{path}: {head['fault']}")
    return _table(head, done.stdout)


def _table(head: dict[str, Any], answer: bytes) -> ArrowTable:
    """The columns behind the head, seen where they lie: a copy would be the largest thing of an import."""
    rows, offset = head["rows"], answer.index(b"\n") + 1
    times = None
    if rows and head["time"] is not None:
        times = np.frombuffer(answer, dtype=np.int64, count=rows, offset=offset)
        offset += times.nbytes
    numbers = {}
    for name in head["numbers"]:
        numbers[name] = np.frombuffer(answer, dtype=np.float64, count=rows, offset=offset)
        offset += numbers[name].nbytes
    return ArrowTable(head["names"], times, numbers)
