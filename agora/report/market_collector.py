"""What the report of a market run needs to have seen: prices, counts of decisions, a metrics row a second, health."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from agora.domain.events import Event, Heartbeat, RunEnded, RunStarted
from agora.domain.market_events import LlmAsked, MarketTicked, NewsArrived, Shock
from agora.domain.numbers import NS_PER_S
from agora.market.market import Market
from agora.report.metrics import HEALTH_COLUMNS, RowSink, utc_text
from agora.report.series import Distribution, Series

NOTABLE_MAX = 200  # news and shocks that the page names; the journal has them all


class Notable(msgspec.Struct, frozen=True):
    """News or a shock, as the page tells it."""

    ts_ns: int
    what: str
    text: str


class MarketCollector:
    """Looks on at a market run, live or replayed; both give the same report but for the figures of the process."""

    def __init__(self, sink: RowSink) -> None:
        self._sink = sink
        self._next_row_ns = 0
        self._health: Heartbeat | None = None
        self.started: RunStarted | None = None
        self.ended: RunEnded | None = None
        self.prices: dict[str, Series] = {}
        self.first_ticks: dict[str, int] = {}
        self.volumes_lots: Counter[str] = Counter()
        self.asked = 0
        self.news = 0
        self.shocks = 0
        self.notables: list[Notable] = []
        self.loop_lag = Distribution()
        self.rss_mb_max: float | None = None

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Any]) -> None:
        """An input or a note, and what the market decided."""
        if isinstance(event, Heartbeat):
            self._on_health(event)
        elif isinstance(event, RunStarted):
            self._begin(market, event)
        elif isinstance(event, NewsArrived):
            self.news += 1
            self._note(event.ts_ns, f"news ({event.tone:+.2f})", event.text)
        elif isinstance(event, Shock):
            self.shocks += 1
            self._note(event.ts_ns, f"shock of {event.symbol} ({event.fraction_ppm / 1e4:+g} %)", event.cause)
        for effect in effects:
            if isinstance(effect, MarketTicked):
                self._on_tick(market, effect)
            elif isinstance(effect, LlmAsked):
                self.asked += 1
            elif isinstance(effect, RunEnded):
                self.ended = effect

    def close(self) -> None:
        """No more will come."""
        self._sink.close()

    def _begin(self, market: Market, event: RunStarted) -> None:
        self.started = event
        symbols = market.engine.rules.symbols
        self.first_ticks = {symbol: market.engine.book(symbol).last_ticks for symbol in symbols}
        self.prices = {symbol: Series() for symbol in symbols}
        prices = (f"price_{symbol}" for symbol in symbols)
        volumes = (f"volume_{symbol}" for symbol in symbols)
        self._sink.begin(("ts", "tick", "trades", *prices, *volumes, *HEALTH_COLUMNS))

    def _note(self, ts_ns: int, what: str, text: str) -> None:
        if len(self.notables) < NOTABLE_MAX:
            self.notables.append(Notable(ts_ns, what, text))

    def _on_health(self, event: Heartbeat) -> None:
        self._health = event
        self.loop_lag.add(event.loop_lag_ms)
        self.rss_mb_max = event.rss_mb if self.rss_mb_max is None else max(self.rss_mb_max, event.rss_mb)

    def _on_tick(self, market: Market, ticked: MarketTicked) -> None:
        instruments = [market.engine.accounts.instrument(symbol) for symbol in market.engine.rules.symbols]
        texts = [item.price_text(ticks) for item, ticks in zip(instruments, ticked.prices_ticks, strict=True)]
        for item, text, lots in zip(instruments, texts, ticked.volumes_lots, strict=True):
            self.prices[item.symbol].add(ticked.ts_ns, float(text))
            self.volumes_lots[item.symbol] += lots
        if ticked.ts_ns < self._next_row_ns:
            return
        self._next_row_ns = ticked.ts_ns - ticked.ts_ns % NS_PER_S + NS_PER_S
        health = self._health
        cells = (
            ("",) * len(HEALTH_COLUMNS) if health is None else tuple(str(getattr(health, c)) for c in HEALTH_COLUMNS)
        )
        row = (utc_text(ticked.ts_ns), str(ticked.tick), str(market.state.trades), *texts)
        self._sink.add((*row, *map(str, ticked.volumes_lots), *cells), wall_ns=ticked.ts_ns)
