"""Looks back at a run from its journal: replay, verify, report. Everything here can be done on a run of yesterday."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agora import assembly
from agora.domain.errors import DamagedJournal, ExitCode, JournalFault, UsageFault
from agora.domain.events import OrderFilled, RunEnded, RunResumed, RunStarted, kind_of
from agora.engine.desk import Desk
from agora.engine.ports import Effect
from agora.engine.state import state_hash
from agora.journal.disk import Disk
from agora.journal.log import Log
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.journal.replay import Divergence, Replayed, replay
from agora.journal.verify import ChainReport, verify_chain
from agora.report.collector import Collector
from agora.report.metrics import MetricsFile
from agora.report.page import write_report
from agora.report.summary import Meta, build, check_identities
from agora.session.folder import CONFIG_FILE, read_json

REPORT_FILE = "final_report.json"


def new_collector(folder: Path) -> Collector:
    """A collector that writes the metrics of a run into its folder."""
    return Collector(MetricsFile(folder / "metrics.csv"))


def conclude(folder: Path, parts: assembly.Parts, collector: Collector, log: Log) -> dict[str, Any]:
    """The report of a run that has just ended, from what was seen while it ran."""
    return _write(folder, parts, collector, records=log.records, head_hash=log.head_hash, fault=log.failure)


def _write(
    folder: Path, parts: assembly.Parts, collector: Collector, *, records: int, head_hash: str, fault: JournalFault | None
) -> dict[str, Any]:
    meta = _meta(folder, parts, records=records, head_hash=head_hash, fault=fault)
    report = build(collector, parts.desk, meta)
    write_report(folder, collector, report)
    return report


def _meta(folder: Path, parts: assembly.Parts, *, records: int, head_hash: str, fault: JournalFault | None) -> Meta:
    run = parts.config["run"]
    return Meta(
        run_id=folder.name,
        venue=run.venue,
        mode=run.mode,
        traders=run.trader,
        symbols=tuple(parts.instruments),
        seed=run.seed,
        config_hash=parts.config.config_hash(),
        version=assembly.__version__,
        assumptions=tuple(assembly.assumptions(parts)),
        journal_records=records,
        head_hash=head_hash,
        state_hash=state_hash(parts.desk.snapshot()),
        exit_code=None if fault is None else int(ExitCode.JOURNAL_FAILURE),
        fault="" if fault is None else str(fault),
    )
