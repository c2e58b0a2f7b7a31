"""A run as its journal and its report see it: a desk's or a market's, each in one class behind one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agora import __version__, assembly, populate
from agora.config import Config
from agora.domain.decisions import Ask
from agora.domain.errors import AgoraError, UsageFault
from agora.domain.events import Event, RunStarted
from agora.engine.state import state_hash
from agora.journal.records import Record
from agora.journal.replay import Subject, subject_of
from agora.market.market import Market
from agora.report.collector import Collector
from agora.report.market_collector import MarketCollector
from agora.report.market_page import write_market_report
from agora.report.market_summary import MarketMeta, check_market_identities
from agora.report.market_summary import build as build_market_report
from agora.report.metrics import MetricsFile
from agora.report.page import write_report
from agora.report.summary import Meta, build, check_identities
from agora.session.folder import CONFIG_FILE, read_json


class JournalFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says of the journal; `fault`: what ended the run against its will."""

    records: int
    head_hash: str
    fault: AgoraError | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code that the fault demands."""
        return None if self.fault is None else int(self.fault.exit_code)

    @property
    def fault_text(self) -> str:
        """The fault in words, or nothing."""
        return "" if self.fault is None else str(self.fault)


class Lookback(Protocol):
    """A run that is replayed or has just ended, with the collector that looks on."""

    @property
    def subject(self) -> Subject:
        """What a replay steps."""
        ...

    def watch(self, record: Record, effects: list[Any], done_wall_ns: int | None) -> None:
        """A replayed record and what it led to."""
        ...

    def state_hash(self) -> str:
        """The hash of the whole state."""
        ...

    def report(self, facts: JournalFacts) -> dict[str, Any]:
        """The final report."""
        ...

    def write(self, report: Mapping[str, Any]) -> None:
        """The files of the report; raises `OSError`."""
        ...

    def check(self, report: Mapping[str, Any], records: Mapping[str, int], *, is_market_complete: bool) -> list[str]:
        """Identities between report and journal that do not hold."""
        ...


class DeskLookback:
    """A trading run."""

    def __init__(self, folder: Path, parts: assembly.Parts, collector: Collector) -> None:
        self.folder = folder
        self.parts = parts
        self.collector = collector

    @property
    def subject(self) -> Subject:
        """The desk."""
        return subject_of(self.parts.desk)

    def watch(self, record: Record, effects: list[Any], done_wall_ns: int | None) -> None:
        """Hand it on to the collector."""
        self.collector.after_step(
            self.parts.desk, record.event, wall_ns=record.wall_ns, done_wall_ns=done_wall_ns, effects=effects
        )

    def state_hash(self) -> str:
        """The hash of desk and traders."""
        return state_hash(self.parts.desk.snapshot())

    def report(self, facts: JournalFacts) -> dict[str, Any]:
        """The final report."""
        run = self.parts.config["run"]
        meta = Meta(
            run_id=self.folder.name,
            venue=run.venue,
            mode=run.resolved_mode,
            traders=tuple(entry.label for entry in run.roster),
            symbols=tuple(self.parts.instruments),
            seed=run.seed,
            config_hash=self.parts.config.config_hash(),
            version=__version__,
            assumptions=tuple(assembly.assumptions(self.parts)),
            journal_records=facts.records,
            head_hash=facts.head_hash,
            state_hash=self.state_hash(),
            exit_code=facts.exit_code,
            fault=facts.fault_text,
        )
        return build(self.collector, self.parts.desk, meta)

    def write(self, report: Mapping[str, Any]) -> None:
        """final_report.json, metrics, report.html."""
        write_report(self.folder, self.collector, report)

    def check(self, report: Mapping[str, Any], records: Mapping[str, int], *, is_market_complete: bool) -> list[str]:
        """Money, counts and ending against the journal."""
        return check_identities(report, records, is_market_complete=is_market_complete)


class MarketLookback:
    """A run of an agents' market."""

    def __init__(self, folder: Path, config: Config, *, market: Market, collector: MarketCollector) -> None:
        self.folder = folder
        self.config = config
        self.market = market
        self.collector = collector
        self.onlookers: list[Onlooker] = [collector]

    @property
    def subject(self) -> Subject:
        """The market."""
        return Subject(self.market.step, self.market.state_hash)

    def watch(self, record: Record, effects: list[Any], done_wall_ns: int | None) -> None:
        """Hand it on to everyone who looks on."""
        del done_wall_ns
        for onlooker in self.onlookers:
            onlooker.after_step(self.market, record.event, effects=effects)

    def state_hash(self) -> str:
        """The hash of exchange, crowd and agents."""
        return self.market.state_hash()

    def report(self, facts: JournalFacts) -> dict[str, Any]:
        """The final report."""
        meta = MarketMeta(
            run_id=self.folder.name,
            seed=self.config["run"].seed,
            config_hash=self.config.config_hash(),
            version=__version__,
            assumptions=tuple(populate.assumptions(self.config)),
            journal_records=facts.records,
            head_hash=facts.head_hash,
            exit_code=facts.exit_code,
            fault=facts.fault_text,
        )
        return build_market_report(self.collector, self.market, meta)

    def write(self, report: Mapping[str, Any]) -> None:
        """final_report.json, metrics, report.html."""
        write_market_report(self.folder, self.collector, report)

    def check(self, report: Mapping[str, Any], records: Mapping[str, int], *, is_market_complete: bool) -> list[str]:
        """Counts and ending against the journal."""
        return check_market_identities(report, records, is_market_complete=is_market_complete)


class Onlooker(Protocol):
    """Whoever looks on at a market run, live or replayed."""

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """`event` was taken in and led to `effects`."""
        ...


def config_in(folder: Path) -> Config:
    """The settings that a run was started with."""
    return assembly.config_of(read_json(folder / CONFIG_FILE))


def rebuilt(folder: Path, first: Record | None, *, metrics: Path) -> DeskLookback | MarketLookback:
    """The run that a journal begins with, at its beginning; raises `UsageFault` when it cannot be one."""
    if first is None or not isinstance(first.event, RunStarted):
        raise UsageFault(f"{folder}: the journal does not begin with run.started")
    config = config_in(folder)
    if first.event.venue != "market":
        parts = assembly.rebuild(config, first.event)
        return DeskLookback(folder, parts, Collector(MetricsFile(metrics)))
    assembly.check_config(config, first.event)
    market = populate.build_market(config)
    return MarketLookback(folder, config, market=market, collector=MarketCollector(MetricsFile(metrics)))
