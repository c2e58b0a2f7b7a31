"""What an import found and what a recording holds, as facts for programs and as text for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agora.domain.numbers import NS_PER_S
from agora.session.clock import utc_text
from agora.venues.importers import ImportReport, show_recording
from agora.venues.recording import RecordingFacts


def import_facts(report: ImportReport) -> dict[str, Any]:
    """The report of an import; `faults` has each reason, its count and a sample (file:line: text)."""
    facts = _facts(report.facts)
    facts["faults"] = [fault | {"sample": report.samples.get(fault["reason"], "")} for fault in facts["faults"]]
    return {
        "recording": report.out,
        "symbol": report.symbol,
        **facts,
        "messages": report.messages,
        "silence_s_max": report.silence_ns_max / NS_PER_S,
        "overlap_rows": report.overlap_rows,
        "funding_outside": report.funding_outside,
        "depth_unusable": report.depth_unusable,
        "depth_superseded": report.depth_superseded,
    }


def recording_facts(path: Path) -> dict[str, Any]:
    """What a recording says of itself; raises `UsageFault` when the file is none."""
    return {"recording": str(path), **_facts(show_recording(path))}


def gathered_facts(path: Path, facts: RecordingFacts) -> dict[str, Any]:
    """What was recorded of a venue."""
    return {"recording": str(path), **_facts(facts)}


def _facts(facts: RecordingFacts) -> dict[str, Any]:
    return {
        "instruments": [msgspec.to_builtins(instrument) for instrument in facts.instruments],
        "interval_s": facts.interval_s,
        "first": None if facts.first_ts_ns is None else utc_text(facts.first_ts_ns),
        "last": None if facts.last_ts_ns is None else utc_text(facts.last_ts_ns),
        "counts": facts.counts,
        "faults": [{"reason": reason, "count": count} for reason, count in sorted(facts.faults.items())],
        "sources": [msgspec.to_builtins(source) for source in facts.sources],
    }


def import_text(facts: dict[str, Any]) -> str:
    """An import for a person; everything that was left out is named."""
    left_out = {
        "rows that two files share, kept once": facts["overlap_rows"],
        "funding rates before or after the prices": facts["funding_outside"],
        "depth updates without a snapshot": facts["depth_unusable"],
        "depth updates older than the book": facts["depth_superseded"],
    }
    lines = [
        recording_text(facts),
        f"longest silence {facts['silence_s_max']:g} s",
        *(f"left out: {count} {what}" for what, count in left_out.items() if count),
    ]
    return "\n".join(lines)


def recording_text(facts: dict[str, Any]) -> str:
    """A recording for a person."""
    symbols = ", ".join(
        f"{item['symbol']} (tick {item['tick_size']}, lot {item['lot_size']})" for item in facts["instruments"]
    )
    kind = f"candles of {facts['interval_s']} s" if facts["interval_s"] else "ticks"
    counts = ", ".join(f"{count} {name}" for name, count in sorted(facts["counts"].items()))
    lines = [
        f"{facts['recording']}: {symbols}, {kind}",
        f"{facts['first']} to {facts['last']}",
        counts or "no events",
        *(f"made of {source['name']} ({source['format']})" for source in facts["sources"]),
    ]
    return "\n".join((*lines, *_fault_lines(facts["faults"])))


def _fault_lines(faults: list[dict[str, Any]]) -> list[str]:
    if not faults:
        return ["no faults"]
    return [
        f"fault {fault['reason']}: {fault['count']}" + (f", first {fault['sample']}" if fault.get("sample") else "")
        for fault in faults
    ]
