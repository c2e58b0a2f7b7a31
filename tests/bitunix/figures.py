"""What stories show, counted for docs/RELIABILITY.md. Written only where AGORA_TEST_FIGURES names a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agora.domain.errors import ExitCode
from agora.domain.events import (
    Event,
    FeedConnected,
    FeedLost,
    OrderUnknown,
    Reconcile,
    RunResumed,
    UserConnected,
    UserLost,
)
from tests.bitunix.harness import NS_PER_S, START_NS, Story

FOLDER_VARIABLE = "AGORA_TEST_FIGURES"


@dataclass
class Figures:
    """Sums over stories."""

    counts: dict[str, float] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    recovery_s: list[float] = field(default_factory=list)

    def add(self, story: Story, found: Mapping[str, list[str]]) -> None:
        """Count one story and what its checks have said."""
        events = [record.event for record in story.records()]
        ended = story.ended()
        self.count("seeds", 1)
        self.count("simulated_s", (story.ended_ns - START_NS) / NS_PER_S)
        self.count("crash_points", story.crashes)
        self.count("orders", len(story.notes()))
        self.count("fills", len(story.account()["fills"]))
        self.count("ambiguous", sum(isinstance(event, OrderUnknown) for event in events))
        self.count("reconnects", sum(isinstance(event, UserLost | FeedLost) for event in events))
        self.count("not_flat", ended is not None and ended.exit_code == ExitCode.NOT_FLAT)
        self.count("violations", sum(len(sentences) for sentences in found.values()))
        for row in story.faults:
            total = self.faults.setdefault(row["fault"], [0, 0])
            total[0] += 1
            total[1] += row["fired"]
        self.recovery_s += recoveries_s(events)

    def count(self, name: str, value: float) -> None:
        """Add to a sum."""
        self.counts[name] = self.counts.get(name, 0) + value

    def merge(self, other: Figures) -> None:
        """Add another's sums."""
        for name, value in other.counts.items():
            self.count(name, value)
        for fault, (planned, fired) in other.faults.items():
            total = self.faults.setdefault(fault, [0, 0])
            total[0] += planned
            total[1] += fired
        self.recovery_s += other.recovery_s

    def untriggered(self) -> list[str]:
        """Faults that were planned and never happened: they prove nothing."""
        return sorted(fault for fault, (_, fired) in self.faults.items() if not fired)

    def as_part(self) -> dict[str, Any]:
        """As `tools/reliability.py` takes it."""
        counts = {name: round(value, 3) if name == "simulated_s" else int(value) for name, value in self.counts.items()}
        return {**counts, "faults": self.faults, "recovery_s": [round(value, 3) for value in self.recovery_s]}


def recoveries_s(events: list[Event]) -> list[float]:
    """How long after each restart or lost stream the books had been compared again and market data were there."""
    times, lost_ns, asked_ns = [], 0, 0
    has_feed = has_user = has_books = True
    for event in events:
        if isinstance(event, RunResumed | UserLost | FeedLost):
            lost_ns = lost_ns or event.ts_ns
            has_feed = has_feed and isinstance(event, UserLost)
            if not isinstance(event, FeedLost):
                has_user = has_books = False
        elif isinstance(event, FeedConnected):
            has_feed = True
        elif isinstance(event, UserConnected):
            has_user, asked_ns = True, event.ts_ns
        elif isinstance(event, Reconcile) and event.asked_ts_ns >= asked_ns and has_user:
            has_books = True
        if lost_ns and has_feed and has_user and has_books:
            times.append((event.ts_ns - lost_ns) / NS_PER_S)
            lost_ns = 0
    return times


def leave(name: str, part: Mapping[str, Any]) -> None:
    """Write a part where the figures are gathered; elsewhere nothing."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.json").write_text(json.dumps(part, sort_keys=True))
