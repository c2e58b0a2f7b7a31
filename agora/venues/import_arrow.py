"""Feather (Arrow IPC) files of unknown origin.

The library that reads them ends the whole process on some damaged bytes: its panics cross a border where they cannot
be caught. So a child process reads each file first, and only what it survives is read here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from arro3.core import RecordBatch
from arro3.io import read_ipc

from agora.domain.errors import UsageFault

CHECK_TIMEOUT_S = 60  # 130,000 rows take 0.02 s; five million are the most that are imported
_CHECK = "import sys; from arro3.io import read_ipc; [batch.num_rows for batch in read_ipc(sys.argv[1])]"


def arrow_batches(path: Path) -> Iterator[RecordBatch]:
    """The batches of a feather file that `check_arrow` has let pass."""
    yield from read_ipc(path)


def check_arrow(path: Path) -> None:
    """Raise `UsageFault` when a feather file cannot be read to its end."""
    command = [sys.executable, "-I", "-c", _CHECK, str(path.resolve())]
    try:
        found = subprocess.run(command, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False)  # noqa: S603 - our own text
    except subprocess.TimeoutExpired:
        raise UsageFault(f"{path}: not read within {CHECK_TIMEOUT_S} s: damaged?") from None
    if found.returncode != 0:
        words = [line for line in found.stderr.decode("utf-8", "replace").splitlines() if "rror" in line]
        raise UsageFault(f"{path}: a damaged feather file ({words[-1][:160] if words else 'the reader gave up'})")
