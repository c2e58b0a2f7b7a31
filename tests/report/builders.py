"""A whole small run on paper for tests: a desk and a paper machine in a loop without asyncio or files."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from agora.domain.events import (
    ROLES,
    Event,
    Heartbeat,
    MarketCandle,
    MarketFundingRate,
    MarketQuote,
    OrderSent,
    RunStarted,
    Timer,
    kind_of,
)
from agora.domain.instruments import Instrument, known_instrument
from agora.domain.intents import Intent, Place, Proposal
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import OrderType, Purpose, Side
from agora.engine.desk import Desk, Rules
from agora.engine.ports import Change, Confirm, Effect, Send, View
from agora.engine.state import Phase, State
from agora.engine.step import step
from agora.report.collector import Collector
from agora.report.summary import Meta
from agora.risk.breakers import BreakerSettings, build_breakers
from agora.risk.limits import LimitSettings, build_limits
from agora.risk.watchdogs import WatchdogSettings, build_watchdogs
from agora.venues.paper import PaperMachine, PaperSettings

START_NS = 1_700_000_000 * NS_PER_S
BTC = known_instrument("BTCUSDT")
ETH = known_instrument("ETHUSDT")
EQUITY_UNITS = 10_000 * MONEY_SCALE


class Sequel:
    """A trader that follows a script: at its n-th closed bar of a symbol it proposes what the script says."""

    def __init__(self, script: dict[int, tuple[Intent, ...]], name: str = "script") -> None:
        self.name = name
        self._script = script
        self._bars = 0

    def decide(self, _: View, event: Event) -> Proposal | None:
        """The next line of the script at a bar, nothing at a fill."""
        if not isinstance(event, MarketCandle) or event.is_history:
            return None
        self._bars += 1
        intents = self._script.get(self._bars, ())
        return Proposal(action="act" if intents else "hold", reason="script", intents=intents)

    def snapshot(self) -> dict[str, Any]:
        """How far the script is."""
        return {"bars": self._bars}

    def restore(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self._bars = memory["bars"]


def buy(size_lots: int = 10, instrument: str = "BTCUSDT", **facts: object) -> Place:
    """A market order that enters long."""
    return Place(instrument=instrument, side=Side.BUY, size_lots=size_lots, type=OrderType.MARKET, **facts)


def sell(size_lots: int = 10, instrument: str = "BTCUSDT", **facts: object) -> Place:
    """A market order that leaves a long position."""
    return Place(
        instrument=instrument,
        side=Side.SELL,
        size_lots=size_lots,
        type=OrderType.MARKET,
        purpose=Purpose.EXIT,
        reduce_only=True,
        **facts,
    )


def quote(at_s: float, price: float, instrument: Instrument = BTC) -> MarketQuote:
    """A quote one tick wide on both sides of a price, `at_s` seconds after the start."""
    middle = round(price / float(instrument.tick))
    return MarketQuote(
        ts_ns=START_NS + round(at_s * NS_PER_S),
        instrument=instrument.symbol,
        bid_ticks=middle - 1,
        bid_lots=5_000,
        ask_ticks=middle + 1,
        ask_lots=5_000,
    )


def funding_rate(at_s: float, rate_ppb: int, instrument: Instrument = BTC) -> MarketFundingRate:
    """A funding settlement."""
    return MarketFundingRate(ts_ns=START_NS + round(at_s * NS_PER_S), instrument=instrument.symbol, rate_ppb=rate_ppb)


def heartbeat(at_s: float, **facts: object) -> Heartbeat:
    """Health of an unremarkable process."""
    healthy: dict[str, Any] = {
        "cpu_fraction": 0.25, "rss_mb": 120.5, "disk_free_mb": 5e4, "loop_lag_ms": 0.75, "queue_depth": 3,
    }  # fmt: skip
    return Heartbeat(ts_ns=START_NS + round(at_s * NS_PER_S), **{**healthy, **facts})


class SmallRun:
    """One run: `feed` plays market events and operator commands, everything else happens by itself.

    `journal` lists what a journal would hold, as (wall time, event); `collector` watches live.
    """

    def __init__(
        self,
        *traders: Sequel,
        instruments: Iterable[Instrument] = (BTC,),
        duration_s: int = 0,
        interval_s: int = 1,
        collector: Collector | None = None,
        limits: LimitSettings | None = None,
        breakers: BreakerSettings | None = None,
    ) -> None:
        known = {item.symbol: item for item in instruments}
        self.rules = Rules(
            run_tag="t",
            instruments=known,
            interval_s=interval_s,
            traders=traders,
            checks=build_limits(limits or LimitSettings()),
            breakers=build_breakers(breakers or BreakerSettings()),
            watchdogs=build_watchdogs(WatchdogSettings()),
        )
        self.desk = Desk(State(), self.rules)
        self.machine = PaperMachine(known, PaperSettings(), seed=7, equity_units=EQUITY_UNITS)
        self.collector = collector or Collector()
        self.journal: list[tuple[int, Event]] = []
        self._wall_ns = START_NS
        self.take(
            RunStarted(
                ts_ns=START_NS,
                run_id="run-t",
                version="1.2.3",
                config_hash="c" * 64,
                seed=7,
                venue="recorded",
                mode="paper",
                duration_ns=duration_s * NS_PER_S,
                interval_s=interval_s,
                instruments=tuple(msgspec.to_builtins(item) for item in known.values()),
                equity_units=EQUITY_UNITS,
            )
        )

    def feed(self, events: Iterable[Event]) -> SmallRun:
        """Play events in order, with the machine's answers at their times."""
        for event in events:
            self._pass_time(event.ts_ns)
            if self.desk.state.phase is Phase.ENDED:
                break
            if isinstance(event, Heartbeat):
                self._note(event)
            elif kind_of(event).startswith("market."):
                for answer in [*self.machine.on_market(event), event]:
                    self.take(answer)
            else:
                self.take(event)
        return self

    def _pass_time(self, ts_ns: int) -> None:
        """Deadlines of the state and answers of the machine that are due before the next event."""
        while self.desk.state.phase is not Phase.ENDED:
            arrival_ns = self.machine.next_due_ns()
            due_ns = min(self.desk.state.deadline_ns, arrival_ns if arrival_ns is not None else 2**62)
            if due_ns >= ts_ns:
                return
            now_ns = max(due_ns, self.desk.state.now_ns)
            for event in self.machine.advance(now_ns) or [Timer(ts_ns=now_ns)]:
                self.take(event)

    def finish(self, at_s: float) -> SmallRun:
        """Let time pass without news until the run has ended by itself or that time has come."""
        self._pass_time(START_NS + round(at_s * NS_PER_S))
        return self

    def take(self, event: Event) -> None:
        """Record, step, record what was decided, show it to the collector, carry it out, like the runner."""
        wall_ns = self._record(event)
        effects = step(self.desk, event)
        done_wall_ns = wall_ns
        leaving: list[Send | Change | Confirm] = []
        for effect in effects:
            if type(effect) in ROLES:
                done_wall_ns = self._record(effect)
            elif isinstance(effect, Send | Change | Confirm):
                leaving.append(effect)
        self._show(event, wall_ns, effects, done_wall_ns if effects else None)
        for effect in leaving:
            self._let_leave(effect)

    def _let_leave(self, effect: Send | Change | Confirm) -> None:
        now_ns = self.desk.state.now_ns
        if isinstance(effect, Confirm):
            self.take(self.machine.account(now_ns))
        elif isinstance(effect, Change):
            self.machine.change(effect.client_id, now_ns, effect.amend)
        else:
            self.take(OrderSent(ts_ns=now_ns, client_id=effect.order.client_id))
            self.machine.send(effect.order, now_ns)

    def _note(self, event: Event) -> None:
        self._show(event, self._record(event), [], None)

    def _record(self, event: Event) -> int:
        self._wall_ns += NS_PER_MS
        self.journal.append((self._wall_ns, event))
        return self._wall_ns

    def _show(self, event: Event, wall_ns: int, effects: list[Effect], done_wall_ns: int | None) -> None:
        self.collector.after_step(self.desk, event, wall_ns=wall_ns, done_wall_ns=done_wall_ns, effects=effects)

    def records(self) -> Counter[str]:
        """How many records of each kind the journal holds."""
        return Counter(kind_of(event) for _, event in self.journal)

    def meta(self, **facts: object) -> Meta:
        """What a report of this run says about it."""
        usual: dict[str, Any] = {
            "run_id": "run-t",
            "venue": "recorded",
            "mode": "paper",
            "traders": tuple(trader.name for trader in self.rules.traders),
            "symbols": tuple(sorted(self.rules.instruments)),
            "seed": 7,
            "config_hash": "c" * 64,
            "version": "1.2.3",
            "assumptions": ("fills are on paper",),
            "journal_records": len(self.journal),
            "head_hash": "h" * 64,
            "state_hash": "s" * 64,
        }
        return Meta(**{**usual, **facts})


def wave(seconds: float, *, price: float = 50_000.0, swing: float = 20.0, period_s: int = 60) -> Iterator[MarketQuote]:
    """Quotes ten times a second on a triangle around a price."""
    for tick in itertools.count():
        at_s = tick / 10
        if at_s > seconds:
            return
        phase = (at_s % period_s) / period_s
        yield quote(at_s + 0.05, price + swing * (4 * abs(phase - 0.5) - 1))


class Rows(deque[tuple[str, ...]]):
    """A sink that keeps the rows (port `RowSink`)."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[str, ...] = ()
        self.is_closed = False

    def begin(self, columns: Iterable[str]) -> None:
        """The header."""
        self.columns = tuple(columns)

    def add(self, row: Iterable[str], *, wall_ns: int) -> None:
        """One row."""
        assert wall_ns >= 0
        self.append(tuple(row))

    def close(self) -> None:
        """The end."""
        self.is_closed = True

    def cells(self, column: str) -> list[str]:
        """One column from top to bottom."""
        place = self.columns.index(column)
        return [row[place] for row in self]
