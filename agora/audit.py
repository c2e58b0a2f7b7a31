"""Looks back at a run from its journal: replay, verify, report. Everything here can be done on a run of yesterday."""

from __future__ import annotations

import logging
import tempfile
from itertools import chain as chained
from pathlib import Path
from typing import Any

import msgspec

from agora.domain.errors import AgoraError, DamagedJournal, JournalFault, UsageFault
from agora.journal.disk import Disk
from agora.journal.log import Log
from agora.journal.reader import read_records
from agora.journal.replay import Replayed, replay
from agora.journal.verify import ChainReport, verify_chain
from agora.lookback import DeskLookback, JournalFacts, Lookback, MarketLookback, Onlooker, rebuilt
from agora.session.folder import read_json

LOGGER = logging.getLogger("agora")
REPORT_FILE = "final_report.json"
METRICS_FILE = "metrics.csv"
SHOWN_CHARS_MAX = 100  # a hash and some; an account's whole table is not read in a sentence
# What a run whose disk or process failed has told of its end, and its journal could no longer hold.
_ENDINGS = {"status", "exit_code", "stopped_reason", "end_detail", "flat", "residual", "journal"}


def conclude(run: Lookback, log: Log, *, fault: AgoraError | None = None) -> dict[str, Any]:
    """Write the report of a run that has just ended, from what was seen while it ran.

    `fault` ended it against its will; the report then says so and claims no flatness it did not see.
    A disk that refuses even the report leaves it in memory, with the exit code and the words of that.
    """
    facts = JournalFacts(records=log.records, head_hash=log.head_hash, fault=log.failure or fault)
    report = run.report(facts)
    try:
        run.write(report)
    except OSError as refusal:
        LOGGER.error("the report could not be written: %s", refusal)  # noqa: TRY400 - the cause is in the words
        report = run.report(msgspec.structs.replace(facts, fault=JournalFault(str(refusal))))
    return report


class Again(msgspec.Struct, kw_only=True):
    """A run replayed as the journal left it, and what the comparison found."""

    run: DeskLookback | MarketLookback
    found: Replayed
    chain: ChainReport

    def report(self) -> dict[str, Any]:
        """The report that the journal gives."""
        return self.run.report(JournalFacts(records=self.chain.total, head_hash=self.chain.head_hash))


def replay_folder(folder: Path, metrics: Path, onlooker: Onlooker | None = None) -> Again:
    """Replay a journal from its first record; raises `DamagedJournal` or `UsageFault` when it cannot be read.

    `metrics`: where the rows of the replayed run go. `onlooker` looks on at a market's run.
    """
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
    run = rebuilt(folder, first, metrics=metrics)
    assert first is not None
    if onlooker is not None:
        if not isinstance(run, MarketLookback):
            raise UsageFault(f"{folder.name} is not a run of `agora market`")
        run.onlookers.append(onlooker)
    found = replay(run.subject, chained([first], records), watch=run.watch)
    return Again(run=run, found=found, chain=chain)


def report_run(folder: Path) -> dict[str, Any]:
    """Rebuild final_report, metrics and report.html from the journal; raises `DamagedJournal` if it diverges."""
    again = replay_folder(folder, folder / METRICS_FILE)
    if again.found.divergence is not None:
        raise DamagedJournal(f"the journal does not replay: {_divergence_text(again.found)}")
    report = again.report()
    again.run.write(report)
    return report


def replay_run(folder: Path) -> dict[str, Any]:
    """Replay a run and compare every decision, state hash, and the report."""
    with tempfile.TemporaryDirectory() as scratch:
        again = replay_folder(folder, Path(scratch) / METRICS_FILE)
        again.run.collector.close()
    rebuilt_report = again.report()
    differences = [] if again.found.divergence is None else [_divergence_text(again.found)]
    if again.found.pending:
        differences.append(f"the journal ends before {len(again.found.pending)} decisions of its last input")
    stored = _stored_report(folder)
    if stored is not None and not differences:
        differences = _report_differences(stored, rebuilt_report)
    return {
        "identical": not differences,
        "differences": differences,
        "records": again.found.records,
        "inputs": again.found.inputs,
        "decisions_compared": again.found.outputs,
        "checkpoints_compared": again.found.checkpoints,
        "report_compared": stored is not None,
        "state_hash": rebuilt_report["state_hash"],
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


def _report_differences(stored: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Members in which two reports differ. A run whose disk failed has told more than its journal could hold."""
    plain = msgspec.json.decode(msgspec.json.encode(found))
    return [
        f"report {name}: stored {stored.get(name)!r}, rebuilt {plain.get(name)!r}"
        for name in sorted(stored.keys() | plain.keys())
        if stored.get(name) != plain.get(name)
    ]


def verify_run(folder: Path) -> dict[str, Any]:
    """Check the chain, then the report's identities against the journal's own counts and hashes."""
    disk = Disk(folder)
    chain = verify_chain(disk)
    faults = [] if chain.fault is None else [chain.fault]
    report = _stored_report(folder)
    if report is None:
        faults.append(f"{REPORT_FILE} is missing: the run has not ended, or its report was lost (`agora report`)")
    elif chain.fault is None:
        with tempfile.TemporaryDirectory() as scratch:
            faults += _report_faults(folder, chain, report=report, metrics=Path(scratch) / METRICS_FILE)
    return {
        "good": not faults,
        "faults": faults,
        "records": chain.total,
        "kinds": chain.records,
        "head_hash": chain.head_hash,
        "dropped_market_before": chain.dropped_market_before,
    }


def _report_faults(folder: Path, chain: ChainReport, *, report: dict[str, Any], metrics: Path) -> list[str]:
    """Identities that do not hold, and hashes in the report that the journal does not give."""
    run = rebuilt(folder, next(read_records(Disk(folder)), None), metrics=metrics)
    faults = run.check(report, chain.records, is_market_complete=not chain.dropped_market_before)
    run.collector.close()
    if report["journal"]["head_hash"] != chain.head_hash:
        faults.append(f"head_hash: the report says {report['journal']['head_hash']}, the journal {chain.head_hash}")
    if chain.dropped_market_before:
        return faults
    again = replay_folder(folder, metrics)
    again.run.collector.close()
    if again.found.divergence is not None:
        return [*faults, _divergence_text(again.found)]
    return faults + [
        f"{name}: the report says {_shortened(report.get(name))}, the journal gives {_shortened(found)}"
        for name, found in msgspec.json.decode(msgspec.json.encode(again.report())).items()
        if name not in _ENDINGS and report.get(name) != found
    ]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."
