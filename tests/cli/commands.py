"""Commands called as a user calls them, in a home of their own, and run folders to point them at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from agora.cli.app import app
from agora.domain.errors import AgoraError

HEADER = "ts,equity,cash,unrealised,position_BTCUSDT,price_BTCUSDT,feed_age_ms,queue_depth"
ROWS = (
    "2026-01-01T00:00:01.000Z,10000.00,10000.00,0.00,0,60000.1,12,0",
    "2026-01-01T00:00:02.000Z,10001.50,10000.00,1.50,0.01,60150.1,9,0",
)
REPORT: dict[str, Any] = {
    "status": "completed",
    "stopped_reason": "duration",
    "end_detail": "",
    "exit_code": 0,
    "flat": True,
    "residual": [],
    "duration_s": 2.0,
    "equity_start": "10000.00",
    "equity_end": "10001.00",
    "pnl_net": "1.00",
    "fees": "0.50",
    "funding": "0.00",
    "trades": 1,
}


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)


def call(home: Path, words: Sequence[str], environment: Mapping[str, str | None] | None = None) -> Answer:
    """Run `agora` with these words; faults become messages and exit codes as `agora.cli.shared.guarded` does."""
    settings = {"AGORA_HOME": str(home), "JSON_LOGS": None, **(environment or {})}
    # A wide terminal, so that no message is broken in the middle of what a test looks for.
    settings |= {"COLUMNS": "300", "TERM": "dumb"}
    result = CliRunner().invoke(app, list(words), env=settings)
    if isinstance(result.exception, AgoraError):
        return Answer(int(result.exception.exit_code), result.stdout, str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def stored_run(home: Path, name: str, *, report: Mapping[str, Any] | None = REPORT, rows: Sequence[str] = ROWS) -> Path:
    """A run folder as a run leaves it, ended when it has a report."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    run = {"venue": "local", "trader": ["trend"], "symbol": ["BTCUSDT"], "seed": 7}
    (folder / "config.json").write_text(json.dumps({"profile": "balanced", "values": {"run": run}}))
    (folder / "metrics.csv").write_text("".join(f"{line}\n" for line in (HEADER, *rows)))
    (folder / "events.jsonl").write_bytes(b'{"seq":1}\n' * 100)
    (folder / "lock").touch()
    if report is not None:
        (folder / "final_report.json").write_text(json.dumps(report))
    return folder
