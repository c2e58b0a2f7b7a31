"""Writes docs/RELIABILITY.md from docs/reliability.json, and takes measured figures into that file.

`make test` and `make soak` leave what they measured as parts in a folder; `reliability.py take gate|soak FOLDER` adds
the parts up and puts the sum into the file, with the machine it was measured on. Nothing here invents a figure: a
section that was not measured says so.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "RELIABILITY.md"
WHERE = {"gate": "make test", "soak": "make soak"}

# What a part counts; each is a plain sum over the parts.
COUNTS: dict[str, str] = {
    "seeds": "seeds of random faults and crashes",
    "simulated_s": "simulated hours",
    "crash_points": "crashes of the process (virtual time)",
    "sigkills": "SIGKILLs of a real process",
    "orders": "orders at the venue",
    "fills": "fills",
    "ambiguous": "ambiguous outcomes (orders in doubt)",
    "reconnects": "reconnections",
    "not_flat": "runs that ended not flat and said so (exit 6)",
    "violations": "violations",
    "fuzz_inputs": "fuzzed inputs of the parsers",
    "mute_cases": "mute sockets injected and noticed within their bound",
    "endured_h": "virtual hours in one run with a disconnect every five minutes",
    "disconnects": "disconnects in them",
    "mutants_planted": "bugs planted",
    "mutants_caught": "of them caught by the check named for them",
}
SECONDS_PER_HOUR = 3_600
PERCENT_MEDIAN, PERCENT_TAIL = 50, 99


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of all parts: counts added, faults added row by row, recovery times put together."""
    total: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    faults: dict[str, list[int]] = {}
    recovery: list[float] = []
    for part in parts:
        for name in COUNTS:
            total[name] += part.get(name, 0)
        for fault, (planned, fired) in part.get("faults", {}).items():
            row = faults.setdefault(fault, [0, 0])
            row[0] += planned
            row[1] += fired
        recovery += part.get("recovery_s", ())
    recovery.sort()
    total["faults"] = dict(sorted(faults.items()))
    total["recovery_s"] = {
        "count": len(recovery),
        "p50": percentile(recovery, PERCENT_MEDIAN),
        "p99": percentile(recovery, PERCENT_TAIL),
        "max": recovery[-1] if recovery else None,
    }
    return total


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The value that so many per cent of the sorted values do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "commit": done.stdout.strip() or "unknown",
    }


def take(where: str, folder: Path) -> dict[str, Any]:
    """Put the sum of a folder's parts into the file; returns it."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise SystemExit(f"{folder} holds no figures: {WHERE[where]} leaves them there")
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    known[where] = merged(json.loads(path.read_text()) for path in paths)
    if where == "soak":
        # The gate's figures are those of seeds in virtual time: the same on every machine.
        known[where]["measured"] = machine()
    FIGURES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return dict(known[where])


def page(figures: Mapping[str, Any]) -> str:
    """The text of docs/RELIABILITY.md."""
    lines = [
        "# Reliability, measured",
        "",
        "Written by `tools/reliability.py` from `docs/reliability.json`; every figure was measured by the tests named "
        "here, none is typed in. `make test` and `make soak` measure anew.",
        "",
        "A *story* is a whole live run in virtual time: the program's own start, its real HTTP and WebSocket client, "
        "the real testnet server, a disk that loses what was not synced, random faults of the venue and crashes of the "
        "process, restarts until the run has ended. Afterwards the venue's ledger and the journal are compared "
        "(`tests/bitunix/checks.py`). A violation is a sentence of one of these checks.",
        "",
    ]
    for where, command in WHERE.items():
        lines += _section(command, figures.get(where))
    return "\n".join(lines).rstrip() + "\n"


def _section(command: str, total: Mapping[str, Any] | None) -> list[str]:
    if total is None:
        return [f"## `{command}`", "", "Not measured yet.", ""]
    measured = total.get("measured")
    lines = [f"## `{command}`", ""]
    if measured is not None:
        lines += [f"Commit {measured['commit']}, Python {measured['python']}, {measured['system']}.", ""]
    lines += [
        "| figure | value |",
        "|---|---|",
    ]
    lines += [f"| {text} | {_count(name, total[name])} |" for name, text in COUNTS.items()]
    recovery = total["recovery_s"]
    lines += [
        f"| restarts and lost streams until trading was open again, p50 / p99 / max of {recovery['count']} | "
        f"{_seconds(recovery['p50'])} / {_seconds(recovery['p99'])} / {_seconds(recovery['max'])} |",
        "",
        "| fault | planned | triggered |",
        "|---|---|---|",
    ]
    lines += [f"| `{fault}` | {planned:,} | {fired:,} |" for fault, (planned, fired) in total["faults"].items()]
    return [*lines, ""]


def _count(name: str, value: float) -> str:
    if name == "endured_h":
        return f"{value:g}"
    if name == "simulated_s":
        return f"{value / SECONDS_PER_HOUR:,.1f}"
    return f"{value:,}"


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} s"


def main(arguments: list[str]) -> None:
    """`take gate|soak FOLDER`, then write the page; without arguments only the page."""
    if arguments:
        command, where, folder = arguments
        if command != "take" or where not in WHERE:
            raise SystemExit(f"usage: reliability.py [take {'|'.join(WHERE)} FOLDER]")
        total = take(where, Path(folder))
        print(f"{total['seeds']} seeds, {total['violations']} violations")
    if FIGURES.exists():
        PAGE.write_text(page(json.loads(FIGURES.read_text())))


if __name__ == "__main__":
    main(sys.argv[1:])
