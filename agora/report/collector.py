"""Looks on while a run happens, live or replayed from its journal, and keeps what its report needs.

Everything it keeps comes from what the journal holds, so both ways give the same report, in memory that does
not grow with the run. It must see a run from its first record.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agora.domain.events import (
    BreakerTripped,
    Decision,
    Event,
    FeedStale,
    Funding,
    Heartbeat,
    OperatorCommand,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRefused,
    OrderRejected,
    OrderSent,
    PositionChanged,
    RunStarted,
    UserLost,
    Warned,
)
from agora.domain.instruments import Instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import OrderStatus
from agora.engine.desk import Desk
from agora.engine.ports import Effect
from agora.engine.reconciling import AUTH_PREFIX
from agora.engine.state import NEVER_NS
from agora.report.metrics import RowSink, columns, row_of
from agora.report.series import Distribution, EquityStatistics, Point, Series

# Markers of a plot: more cannot be told apart. The report says how many are left out.
FILLS_KEPT = 5_000
# A run trips a handful of breakers; an operator who resets them for days fills no memory.
BREAKERS_KEPT = 100
# One cause for each reason a run can end with; commands are a short list, this bounds a hostile one.
CAUSES_KEPT = 64

# Warnings that name a reason to end, and say what lies behind it.
TELLING_WARNINGS = frozenset({"desync", "user_stream", "unknown_storm"})

# Journal kinds that the report counts one by one.
COUNTED: dict[type[Any], str] = {
    OrderIntent: "intended",
    OrderSent: "sent",
    OrderAccepted: "accepted",
    OrderRejected: "rejected",
    OrderRefused: "refused",
    OrderCancelled: "cancelled",
    OrderExpired: "expired",
}


class FillMark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fill as the plots show it. `net_units`: realised profit less the fee."""

    ts_ns: int
    symbol: str
    side: str
    purpose: str
    trader: str
    price_ticks: int
    size_lots: int
    net_units: int
    is_closing: bool


class Trip(msgspec.Struct, frozen=True):
    """A breaker that was tripped."""

    ts_ns: int
    breaker: str
    value: str
    limit: str


class Plots(msgspec.Struct, frozen=True, kw_only=True):
    """The curves and samples of a run, small enough for a page."""

    instruments: dict[str, Instrument]
    prices: dict[str, list[Point]]
    equity: list[Point]
    drawdown: list[Point]
    fills: Sequence[FillMark]
    fills_left_out: int
    decision_latency: Distribution
    ack_latency: Distribution


class Collector:
    """Looks on after every step (an `Observer` of the runner); `sink` gets the rows of metrics.csv."""

    def __init__(self, sink: RowSink | None = None) -> None:
        self.started: RunStarted | None = None
        self.counts: Counter[str] = Counter()
        self.trips: list[Trip] = []
        self.causes: dict[str, str] = {}
        self.slippage_units = 0
        self.unreferenced_fills = 0
        self.liquidations = 0
        self.statistics = EquityStatistics()
        self.decision_latency = Distribution()
        self.ack_latency = Distribution()
        self.loop_lag = Distribution()
        self.rss_mb_max: float | None = None
        self.metrics_rows = 0
        self._sink = sink
        self._health: Heartbeat | None = None
        self._fills: deque[FillMark] = deque(maxlen=FILLS_KEPT)
        self._fills_seen = 0
        self._instruments: dict[str, Instrument] = {}
        self._prices: dict[str, Series] = {}
        self._is_begun = False
        self._is_finished = False
        self._next_row_ns = 0
        self._row_ts_ns = 0
        self._waiting_row: tuple[str, ...] | None = None
        self._inputs: dict[type[Any], Callable[[Desk, Any, list[Effect]], None]] = {
            RunStarted: self._on_started,
            OrderSent: self._count,
            OrderRejected: self._count,
            OrderCancelled: self._count,
            OrderExpired: self._count,
            OrderAccepted: self._on_accepted,
            OrderFilled: self._on_filled,
            Funding: self._on_funding,
            Heartbeat: self._on_heartbeat,
            OperatorCommand: self._on_command,
            UserLost: self._on_user_lost,
        }

    # Watching.

    def after_step(
        self, desk: Desk, event: Event, *, wall_ns: int, done_wall_ns: int | None, effects: list[Effect]
    ) -> None:
        """`event` was recorded at `wall_ns` and led to `effects`, whose records are dated `done_wall_ns`."""
        seen = self._inputs.get(type(event))
        if seen is not None:
            seen(desk, event, effects)
        if effects:
            self._see_outputs(effects, wall_ns=wall_ns, done_wall_ns=done_wall_ns)
        if event.ts_ns >= self._next_row_ns:
            self._begin_row(desk, event.ts_ns, wall_ns)
        if desk.state.ended is not None and not self._is_finished:
            self._finish(desk, wall_ns)

    def _see_outputs(self, effects: list[Effect], *, wall_ns: int, done_wall_ns: int | None) -> None:
        is_decided = False
        for effect in effects:
            kind = type(effect)
            if kind is Decision:
                is_decided = True
            elif kind in COUNTED:
                self.counts[COUNTED[kind]] += 1
            elif isinstance(effect, BreakerTripped):
                self._on_tripped(effect)
            elif isinstance(effect, FeedStale):
                self._explain("stale_data", f"no usable market data for {effect.age_ms} ms, limit {effect.limit_ms} ms")
            elif isinstance(effect, Warned) and effect.what in TELLING_WARNINGS:
                self._explain(effect.what, effect.detail)
        if is_decided and done_wall_ns is not None:
            self.decision_latency.add((done_wall_ns - wall_ns) / NS_PER_MS)

    # Orders and money.

    def _count(self, _: Desk, event: Event, __: list[Effect]) -> None:
        self.counts[COUNTED[type(event)]] += 1

    def _on_started(self, desk: Desk, event: RunStarted, _: list[Effect]) -> None:
        self.started = event
        self._mark_equity(desk)

    def _on_accepted(self, desk: Desk, event: OrderAccepted, _: list[Effect]) -> None:
        """Time from intent to acknowledgement; bracket legs wait for their entry, which is no latency."""
        self.counts["accepted"] += 1
        order = desk.state.order(event.client_id)
        if order is None or order.parent:
            return
        # A repeated or late acknowledgement did not change the order.
        is_first = order.changed_ts_ns == event.ts_ns and order.status is OrderStatus.ACCEPTED
        if is_first:
            self.ack_latency.add((event.ts_ns - order.planned_ts_ns) / NS_PER_MS)

    def _on_filled(self, desk: Desk, event: OrderFilled, effects: list[Effect]) -> None:
        """Book a fill where the desk booked it; a repeated one left no position record."""
        change = next((effect for effect in effects if isinstance(effect, PositionChanged)), None)
        if change is None:
            return
        side = 1 if event.side == "buy" else -1
        before_lots = change.size_lots - side * event.fill_size_lots
        self._mark_fill(change, event, is_closing=before_lots * side < 0)
        self._add_slippage(desk, event, side)
        if event.purpose == "liquidation":
            self.liquidations += 1
        self._mark_equity(desk)

    def _mark_fill(self, change: PositionChanged, event: OrderFilled, *, is_closing: bool) -> None:
        self._fills_seen += 1
        self._fills.append(
            FillMark(
                ts_ns=event.ts_ns,
                symbol=change.instrument,
                side=event.side,
                purpose=event.purpose,
                trader=change.trader,
                price_ticks=event.fill_price_ticks,
                size_lots=event.fill_size_lots,
                net_units=change.realised_units - event.fee_units,
                is_closing=is_closing,
            )
        )

    def _add_slippage(self, desk: Desk, event: OrderFilled, side: int) -> None:
        """Money paid against the middle of the market at the fill; negative when we got a better price."""
        if not event.reference_ticks:
            self.unreferenced_fills += 1
            return
        worse_ticks = side * (event.fill_price_ticks - event.reference_ticks)
        instrument = desk.rules.instruments[event.instrument]
        self.slippage_units += instrument.notional_units(worse_ticks, event.fill_size_lots)

    def _on_funding(self, desk: Desk, _: Funding, __: list[Effect]) -> None:
        """Funding moved the equity."""
        self._mark_equity(desk)

    # Health and causes.

    def _on_heartbeat(self, _: Desk, event: Heartbeat, __: list[Effect]) -> None:
        self._health = event
        self.loop_lag.add(event.loop_lag_ms)
        self.rss_mb_max = event.rss_mb if self.rss_mb_max is None else max(self.rss_mb_max, event.rss_mb)

    def _on_command(self, _: Desk, event: OperatorCommand, __: list[Effect]) -> None:
        self._explain(event.command, event.reason)

    def _on_user_lost(self, _: Desk, event: UserLost, __: list[Effect]) -> None:
        """The reason of a refused key begins with its word."""
        if event.reason.startswith(AUTH_PREFIX):
            self._explain("auth", event.reason)

    def _on_tripped(self, event: BreakerTripped) -> None:
        self._explain(event.breaker, f"{event.value} reached the limit {event.limit}")
        if len(self.trips) < BREAKERS_KEPT:
            self.trips.append(Trip(event.ts_ns, event.breaker, event.value, event.limit))

    def _explain(self, reason: str, detail: str) -> None:
        """Keep what lies behind a reason to end; the newest is the one that may end the run."""
        if reason in self.causes or len(self.causes) < CAUSES_KEPT:
            self.causes[reason] = detail

    # Curves and rows.

    def _begin(self, desk: Desk) -> None:
        """The symbols are known: curves, tallies and columns begin."""
        self._is_begun = True
        self._instruments = desk.rules.instruments
        names = sorted(self._instruments)
        for name in names:
            self._prices[name] = Series()
        if self._sink is not None:
            self._sink.begin(columns(names))

    def _mark_equity(self, desk: Desk) -> int:
        equity_units = desk.equity_units()
        self.statistics.add(desk.state.now_ns, equity_units / MONEY_SCALE)
        return equity_units

    def _begin_row(self, desk: Desk, ts_ns: int, wall_ns: int) -> None:
        """A new second of the run's clock: the row of the last one is final."""
        if not self._is_begun:
            self._begin(desk)
        self._emit_row(wall_ns)
        self._next_row_ns = (ts_ns // NS_PER_S + 1) * NS_PER_S
        self._make_row(desk, ts_ns)

    def _make_row(self, desk: Desk, ts_ns: int) -> None:
        self._row_ts_ns = ts_ns
        equity_units = self._mark_equity(desk)
        for symbol, market in desk.state.markets.items():
            if market.mark_ticks:
                price = market.mark_ticks * float(desk.rules.instruments[symbol].tick)
                self._prices[symbol].add(ts_ns, price)
        self._waiting_row = row_of(desk, self._health, ts_ns=ts_ns, equity_units=equity_units)

    def _emit_row(self, wall_ns: int) -> None:
        if self._waiting_row is None:
            return
        self.metrics_rows += 1
        if self._sink is not None:
            self._sink.add(self._waiting_row, wall_ns=wall_ns)
        self._waiting_row = None

    def _finish(self, desk: Desk, wall_ns: int) -> None:
        """The run has ended: the row of its last second shows the end itself, and no other follows."""
        # A heartbeat may be dated a moment after the newest event; rows do not go back.
        self._make_row(desk, max(desk.state.now_ns, self._row_ts_ns))
        self._emit_row(wall_ns)
        self._is_finished = True
        self._next_row_ns = NEVER_NS

    def close(self) -> None:
        """No more steps will come: write the last row and close the sink. A second call does nothing."""
        self._emit_row(0)
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    # What the report reads.

    def end_detail(self, reason: str) -> str:
        """What lies behind the reason that a run ended with; empty when the reason says it all."""
        return self.causes.get(reason, "")

    def plots(self) -> Plots:
        """Curves and fills so far."""
        return Plots(
            instruments=self._instruments,
            prices={symbol: series.points() for symbol, series in self._prices.items()},
            equity=self.statistics.equity.points(),
            drawdown=self.statistics.drawdown.points(),
            fills=tuple(self._fills),
            fills_left_out=self._fills_seen - len(self._fills),
            decision_latency=self.decision_latency,
            ack_latency=self.ack_latency,
        )
