"""Looks back at a run from its journal: replay, verify, report. Everything here can be done on a run of yesterday."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from itertools import chain as chained
from pathlib import Path
from typing import Any

import msgspec

from agora import __version__, assembly
from agora.domain.errors import AgoraError, Bug, DamagedJournal, JournalFault, UsageFault
from agora.domain.events import RunStarted
from agora.engine.ports import Effect
from agora.engine.state import state_hash
from agora.journal.disk import Disk
from agora.journal.log import Log
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.journal.replay import Replayed, replay, subject_of
from agora.journal.verify import ChainReport, verify_chain
from agora.report.collector import Collector
from agora.report.metrics import MetricsFile
from agora.report.page import write_report
from agora.report.summary import Meta, build, check_identities
from agora.session.folder import CONFIG_FILE, read_json
from agora.session.runner import Observer

LOGGER = logging.getLogger("agora")
REPORT_FILE = "final_report.json"


def new_collector(folder: Path) -> Collector:
    """A collector that writes the metrics of a run into its folder."""
    return Collector(MetricsFile(folder / "metrics.csv"))


def conclude(
    folder: Path, parts: assembly.Parts, *, collector: Collector, log: Log, crash: Bug | None = None
) -> dict[str, Any]:
    """Write the report of a run that has just ended, from what was seen while it ran.

    `crash`: the fault that ended it against its will; the report then says so and claims no flatness it did not see.
    A disk that refuses even the report leaves it in memory, with the exit code and the words of that.
    """
    meta = _meta(folder, parts, records=log.records, head_hash=log.head_hash, fault=log.failure or crash)
    report = build(collector, parts.desk, meta)
    try:
        write_report(folder, collector, report)
    except OSError as refusal:
        LOGGER.error("the report could not be written: %s", refusal)  # noqa: TRY400 - the cause is in the words
        code = int(JournalFault.exit_code)
        report = build(collector, parts.desk, msgspec.structs.replace(meta, exit_code=code, fault=str(refusal)))
    return report


def _meta(
    folder: Path, parts: assembly.Parts, *, records: int, head_hash: str, fault: AgoraError | None = None
) -> Meta:
    run = parts.config["run"]
    return Meta(
        run_id=folder.name,
        venue=run.venue,
        mode=run.mode,
        traders=run.trader,
        symbols=tuple(parts.instruments),
        seed=run.seed,
        config_hash=parts.config.config_hash(),
        version=__version__,
        assumptions=tuple(assembly.assumptions(parts)),
        journal_records=records,
        head_hash=head_hash,
        state_hash=state_hash(parts.desk.snapshot()),
        exit_code=None if fault is None else int(fault.exit_code),
        fault="" if fault is None else str(fault),
    )


class Again(msgspec.Struct, kw_only=True):
    """A run replayed: its parts as the journal left them, and what the comparison found."""

    parts: assembly.Parts
    found: Replayed
    chain: ChainReport


def replay_folder(folder: Path, observers: Sequence[Observer] = ()) -> Again:
    """Replay a journal from its first record; raises `DamagedJournal` or `UsageFault` when it cannot be read."""
    disk = Disk(folder)
    chain = verify_chain(disk)
    if chain.fault is not None and not chain.torn_bytes:
        raise DamagedJournal(chain.fault)
    if chain.dropped_market_before:
        raise UsageFault(
            f"the disk budget has cost the market data before record {chain.dropped_market_before}: "
            "the run can be verified, but no longer replayed from its beginning"
        )
    records = read_records(disk)
    first = next(records, None)
    if first is None or not isinstance(first.event, RunStarted):
        raise UsageFault(f"{folder}: the journal does not begin with run.started")
    parts = assembly.rebuild(assembly.config_of(read_json(folder / CONFIG_FILE)), first.event)

    def watch(record: Record, effects: list[Effect], done_wall_ns: int | None) -> None:
        for observer in observers:
            observer.after_step(
                parts.desk, record.event, wall_ns=record.wall_ns, done_wall_ns=done_wall_ns, effects=effects
            )

    return Again(parts=parts, found=replay(subject_of(parts.desk), chained([first], records), watch=watch), chain=chain)


def _rebuilt_report(folder: Path, metrics: Path) -> tuple[Again, Collector, dict[str, Any]]:
    collector = Collector(MetricsFile(metrics))
    again = replay_folder(folder, [collector])
    meta = _meta(folder, again.parts, records=again.chain.total, head_hash=again.chain.head_hash)
    return again, collector, build(collector, again.parts.desk, meta)


def report_run(folder: Path) -> dict[str, Any]:
    """Rebuild final_report, metrics and report.html from the journal; raises `DamagedJournal` if it diverges."""
    again, collector, report = _rebuilt_report(folder, folder / "metrics.csv")
    if again.found.divergence is not None:
        raise DamagedJournal(f"the journal does not replay: {_divergence_text(again.found)}")
    write_report(folder, collector, report)
    return report


def replay_run(folder: Path) -> dict[str, Any]:
    """Replay a run and compare every decision, order, state hash, and the report."""
    with tempfile.TemporaryDirectory() as scratch:
        again, _, rebuilt = _rebuilt_report(folder, Path(scratch) / "metrics.csv")
    differences = [] if again.found.divergence is None else [_divergence_text(again.found)]
    if again.found.pending:
        differences.append(f"the journal ends before {len(again.found.pending)} decisions of its last input")
    stored = _stored_report(folder)
    if stored is not None and not differences:
        differences = _report_differences(stored, rebuilt)
    return {
        "identical": not differences,
        "differences": differences,
        "records": again.found.records,
        "inputs": again.found.inputs,
        "decisions_compared": again.found.outputs,
        "checkpoints_compared": again.found.checkpoints,
        "report_compared": stored is not None,
        "state_hash": rebuilt["state_hash"],
    }


def _divergence_text(found: Replayed) -> str:
    divergence = found.divergence
    assert divergence is not None
    return f"at record {divergence.seq}: the replay gives {divergence.expected}; the journal has {divergence.found}"


def _stored_report(folder: Path) -> dict[str, Any] | None:
    path = folder / REPORT_FILE
    if not path.exists():
        return None
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise UsageFault(f"{path} is not a report")
    return stored


def _report_differences(stored: dict[str, Any], rebuilt: dict[str, Any]) -> list[str]:
    """Members in which two reports differ. A run whose disk failed has told more than its journal could hold."""
    plain = msgspec.json.decode(msgspec.json.encode(rebuilt))
    return [
        f"report {name}: stored {stored.get(name)!r}, rebuilt {plain.get(name)!r}"
        for name in sorted(stored.keys() | plain.keys())
        if stored.get(name) != plain.get(name)
    ]


def verify_run(folder: Path) -> dict[str, Any]:
    """Check the chain, then the report's identities against the journal's own counts and hashes."""
    chain = verify_chain(Disk(folder))
    faults = [] if chain.fault is None else [chain.fault]
    report = _stored_report(folder)
    if report is None:
        faults.append(f"{REPORT_FILE} is missing: the run has not ended, or its report was lost (`agora report`)")
    elif chain.fault is None:
        faults += check_identities(report, chain.records, is_market_complete=not chain.dropped_market_before)
        faults += _hash_faults(folder, chain, report)
    return {
        "good": not faults,
        "faults": faults,
        "records": chain.total,
        "kinds": chain.records,
        "head_hash": chain.head_hash,
        "dropped_market_before": chain.dropped_market_before,
    }


def _hash_faults(folder: Path, chain: ChainReport, report: dict[str, Any]) -> list[str]:
    """Hashes in the report that the journal does not give."""
    faults = []
    if report["journal"]["head_hash"] != chain.head_hash:
        faults.append(f"head_hash: the report says {report['journal']['head_hash']}, the journal {chain.head_hash}")
    if chain.dropped_market_before:
        return faults
    again = replay_folder(folder)
    if again.found.divergence is not None:
        return [*faults, _divergence_text(again.found)]
    found = state_hash(again.parts.desk.snapshot())
    if report["state_hash"] != found:
        faults.append(f"state_hash: the report says {report['state_hash']}, the journal gives {found}")
    return faults
