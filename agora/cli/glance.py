"""A run at a glance, from the files in its folder: lock, settings, newest metrics row, final report.

Reads the ends of files only and imports nothing compiled, so that it answers at once whatever the run's size.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agora.domain.errors import UsageFault
from agora.session.folder import CONFIG_FILE, LOCK_FILE, is_locked, read_json

REPORT_FILE = "final_report.json"
METRICS_FILE = "metrics.csv"
# A header or a row is some 200 bytes; a run on many symbols stays far below.
ROW_BYTES_MAX = 65_536
# metrics.csv gets a row a second, so looking more often shows nothing new.
FOLLOW_EVERY_S = 1.0

RUNNING, ENDED, INTERRUPTED = "running", "ended", "interrupted"
# `agora report` also makes a report of a run that was killed; this is how its residual begins.
NO_END = "the run did not end in order"
_REPORT_MEMBERS = (
    *("status", "stopped_reason", "end_detail", "exit_code", "flat", "residual", "duration_s"),
    *("equity_start", "equity_end", "pnl_net", "fees", "funding", "trades"),
)

_MONEY_WORDS = {
    "net": "pnl_net",
    "fees": "fees",
    "funding": "funding",
    "trades": "trades",
    "equity": "equity_start",
    "->": "equity_end",
}


def glance(folder: Path) -> dict[str, Any]:
    """Facts of a run: `state` is running, ended (with `report`) or interrupted (to be resumed or left)."""
    run = _settings_of(folder)
    facts: dict[str, Any] = {
        "run": folder.name,
        "folder": str(folder),
        "state": state_of(folder),
        "venue": run.get("venue"),
        "traders": run.get("trader"),
        "symbols": run.get("symbol"),
        "seed": run.get("seed"),
        "latest": newest_row(folder / METRICS_FILE),
        "report": None,
    }
    if facts["state"] == ENDED:
        report = _report_of(folder)
        facts["report"] = {name: report.get(name) for name in _REPORT_MEMBERS}
    return facts


def state_of(folder: Path) -> str:
    """`running` while a process holds the lock; `ended` once its report tells of an end; else `interrupted`."""
    if is_locked(folder / LOCK_FILE):
        return RUNNING
    if not (folder / REPORT_FILE).exists():
        return INTERRUPTED
    residual = _report_of(folder).get("residual") or ()
    return INTERRUPTED if any(str(left).startswith(NO_END) for left in residual) else ENDED


def glance_text(facts: dict[str, Any]) -> str:
    """The facts for a person, in two or three lines."""
    traders, symbols = (" ".join(facts[name] or ()) for name in ("traders", "symbols"))
    lines = [f"{facts['run']}: {facts['state']}   {facts['venue']}  {traders}  {symbols}  seed {facts['seed']}"]
    report = facts["report"]
    if report is not None:
        flat = "flat" if report["flat"] else "NOT FLAT: " + "; ".join(report["residual"] or ())
        detail = f": {report['end_detail']}" if report["end_detail"] else ""
        ending = f"{report['status']} ({report['stopped_reason']}{detail})"
        money = "  ".join(f"{name} {report[member]}" for name, member in _MONEY_WORDS.items())
        lines += [f"{ending}, exit {report['exit_code']}, {flat}", money]
    elif facts["latest"]:
        lines.append(row_text(facts["latest"]))
    if facts["state"] == INTERRUPTED:
        lines.append(f"no process runs it and it has not ended: agora run --resume {facts['run']}")
    return "\n".join(lines)


def row_text(row: dict[str, str]) -> str:
    """One row of metrics for a person; empty cells are left out."""
    named = (f"{name} {value}" for name, value in row.items() if name != "ts" and value)
    return "  ".join((row["ts"], *named))


def follow(folder: Path, wait: Callable[[], object] | None = None) -> Iterator[str]:
    """A line for each new metrics row, once a second at most, then how the run ended.

    `wait` is called between two looks and must return within a bounded time.
    """
    pause = wait or (lambda: threading.Event().wait(FOLLOW_EVERY_S))
    shown: dict[str, str] | None = None
    while True:
        # The lock is looked at first: a row written before the end is then never missed.
        is_running = is_locked(folder / LOCK_FILE)
        row = newest_row(folder / METRICS_FILE)
        if is_running and row is not None and row != shown:
            yield row_text(row)
            shown = row
        if not is_running:
            break
        pause()
    yield glance_text(glance(folder))


def newest_row(path: Path) -> dict[str, str] | None:
    """The last complete row of a metrics file by column; None when there is none (yet)."""
    try:
        with path.open("rb") as file:
            head = file.readline(ROW_BYTES_MAX)
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(len(head), size_bytes - ROW_BYTES_MAX))
            tail = file.read(ROW_BYTES_MAX)
    except OSError:
        return None
    # What follows the last line break is still being written.
    complete = tail.decode(errors="replace").split("\n")[:-1]
    columns = head.decode(errors="replace").strip().split(",")
    if not complete or columns[0] != "ts":
        return None
    cells = complete[-1].split(",")
    return dict(zip(columns, cells, strict=True)) if len(cells) == len(columns) else None


def _report_of(folder: Path) -> dict[str, Any]:
    """The final report; raises `UsageFault` when it is unreadable."""
    report = read_json(folder / REPORT_FILE)
    if not isinstance(report, dict):
        raise UsageFault(f"{folder / REPORT_FILE} is not a report")
    return report


def _settings_of(folder: Path) -> dict[str, Any]:
    """The `run` section of the settings that the run was started with; raises `UsageFault`."""
    stored = read_json(folder / CONFIG_FILE)
    values = stored.get("values") if isinstance(stored, dict) else None
    run = values.get("run") if isinstance(values, dict) else None
    return run if isinstance(run, dict) else {}
