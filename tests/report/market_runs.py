"""A small market with its collector, stepped by hand, and its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agora import populate
from agora.domain.events import Event, Heartbeat
from agora.domain.market_events import Tick
from agora.market.market import Market
from agora.report.market_collector import MarketCollector
from agora.report.market_summary import MarketMeta, build
from tests.market.markets import settings


class Rows:
    """Keeps the rows of a run (port `RowSink`)."""

    def __init__(self) -> None:
        self.columns: tuple[str, ...] = ()
        self.rows: list[tuple[str, ...]] = []
        self.is_closed = False

    def begin(self, columns: Sequence[str]) -> None:
        """The columns."""
        self.columns = tuple(columns)

    def add(self, row: Sequence[str], *, wall_ns: int) -> None:
        """The next row."""
        assert wall_ns > 0
        self.rows.append(tuple(row))

    def close(self) -> None:
        """No more."""
        self.is_closed = True

    def column(self, name: str) -> list[str]:
        """One column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


class Seen:
    """A market that a collector looks on at."""

    def __init__(self, **changes: Any) -> None:
        self.config = settings(**changes)
        self.market: Market = populate.build_market(self.config)
        self.rows = Rows()
        self.collector = MarketCollector(self.rows)
        self.records = 0
        self.counts: dict[str, int] = {}
        self.take(populate.started(self.config, run_id="by-hand"))

    def take(self, event: Event) -> None:
        """One event and what comes of it, shown to the collector and counted as a journal would."""
        effects = [] if isinstance(event, Heartbeat) else self.market.step(event)
        self.collector.after_step(self.market, event, effects=effects)
        for each in (event, *effects):
            kind = getattr(type(each), "__struct_config__").tag  # noqa: B009 - the type checker does not know it
            self.counts[kind] = self.counts.get(kind, 0) + 1

    def ticks(self, count: int) -> None:
        """That many ticks."""
        for _ in range(count):
            number = self.market.state.tick + 1
            ts_ns = self.market.state.start_ns + number * self.market.plan.tick_ns
            self.take(Tick(ts_ns=ts_ns, number=number))

    def report(self, **changes: Any) -> dict[str, Any]:
        """The report as it stands."""
        facts: dict[str, Any] = {
            "run_id": "by-hand",
            "seed": 7,
            "config_hash": self.config.config_hash(),
            "version": "0",
            "assumptions": tuple(populate.assumptions(self.config)),
            "journal_records": sum(self.counts.values()),
            "head_hash": "0" * 64,
        }
        return build(self.collector, self.market, MarketMeta(**(facts | changes)))
