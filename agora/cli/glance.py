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
_MARKET_MEMBERS = (
    "status",
    "stopped_reason",
    "end_detail",
    "exit_code",
    "flat",
    "residual",
    "duration_s",
    "ticks",
    "trades",
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
    stored = _stored_settings(folder)
    run, market = _section(stored, "run"), _section(stored, "market")
    is_market = stored.get("command") == "market"
    facts: dict[str, Any] = {
        "run": folder.name,
        "folder": str(folder),
        "state": state_of(folder),
        "command": "market" if is_market else "run",
        "venue": "market" if is_market else run.get("venue"),
        "traders": market.get("agents") if is_market else run.get("trader"),
        "symbols": market.get("assets") if is_market else run.get("symbol"),
        "seed": run.get("seed"),
        "latest": newest_row(folder / METRICS_FILE),
        "report": None,
    }
    if facts["state"] == ENDED:
        report = _report_of(folder)
        facts["report"] = {name: report.get(name) for name in (_MARKET_MEMBERS if is_market else _REPORT_MEMBERS)}
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
        is_market = facts["command"] == "market"
        flat = "flat" if report["flat"] else "NOT FLAT: " + "; ".join(report["residual"] or ())
        detail = f": {report['end_detail']}" if report["end_detail"] else ""
        ending = f"{report['status']} ({report['stopped_reason']}{detail})"
        words = {"ticks": "ticks", "trades": "trades"} if is_market else _MONEY_WORDS
        figures = "  ".join(f"{name} {report[member]}" for name, member in words.items())
        lines += [f"{ending}, exit {report['exit_code']}" + ("" if is_market else f", {flat}"), figures]
    elif facts["latest"]:
        lines.append(row_text(facts["latest"]))
    if facts["state"] == INTERRUPTED:
        lines.append(f"no process runs it and it has not ended: agora {facts['command']} --resume {facts['run']}")
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


def _stored_settings(folder: Path) -> dict[str, Any]:
    """What the run was started with; raises `UsageFault`."""
    stored = read_json(folder / CONFIG_FILE)
    return stored if isinstance(stored, dict) else {}


def _section(stored: dict[str, Any], name: str) -> dict[str, Any]:
    values = stored.get("values")
    section = values.get(name) if isinstance(values, dict) else None
    return section if isinstance(section, dict) else {}
