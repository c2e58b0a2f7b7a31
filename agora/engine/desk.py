"""The desk: a state, the rules it is run by, and the effects that one step has produced so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agora.domain.events import (
    Decision,
    Event,
    MarketCandle,
    MarketDepth,
    MarketQuote,
    MarketTrade,
    OrderFilled,
    OrderRefused,
)
from agora.domain.instruments import Instrument
from agora.domain.intents import Place
from agora.domain.numbers import PPM
from agora.domain.orders import Order
from agora.engine.account_settings import AccountSettings
from agora.engine.ports import Effect, Trader
from agora.engine.state import Snapshot, State


class Check(Protocol):
    """One limit on one intent."""

    name: str

    def refusal(self, desk: Desk, place: Place) -> str | None:
        """Why the intent is refused (with the numbers), or None."""
        ...


class Breaker(Protocol):
    """One limit on the run; tripped, it ends the run and stays tripped until an operator resets it."""

    name: str

    def reading(self, desk: Desk) -> tuple[str, str] | None:
        """(value, limit) as text when the limit is reached, else None."""
        ...


class Watchdog(Protocol):
    """One limit on time: what must not stay away for too long, or may not last longer."""

    name: str

    def deadline_ns(self, desk: Desk) -> int:
        """When it would bite if nothing else happened (`NEVER_NS`: not at all)."""
        ...

    def bite(self, desk: Desk) -> str:
        """Called at the deadline: the reason for which the run ends, or an empty text to go on."""
        ...


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made of besides its state; fixed from its first record to its last.

    `trader_intervals_s` and `weights_ppm` belong to the traders in their order; empty: all of them decide on bars of
    `interval_s`, and take what they propose.
    """

    run_tag: str
    instruments: dict[str, Instrument]
    interval_s: int
    traders: tuple[Trader, ...]
    checks: tuple[Check, ...]
    breakers: tuple[Breaker, ...]
    watchdogs: tuple[Watchdog, ...]
    account: AccountSettings = AccountSettings()
    trader_intervals_s: tuple[int, ...] = ()
    weights_ppm: tuple[int, ...] = ()


class Desk:
    """A state with its rules. One step appends its effects to `out`, in the order they must be carried out."""

    __slots__ = (
        "intervals_s",
        "listeners",
        "out",
        "rules",
        "state",
        "symbols",
        "trader_intervals_s",
        "views",
        "weights_ppm",
    )

    def __init__(self, state: State, rules: Rules) -> None:
        self.state = state
        self.rules = rules
        self.out: list[Effect] = []
        # In a fixed order: dictionaries of the state have another one after a checkpoint.
        self.symbols = tuple(sorted(rules.instruments))
        self.views = tuple(TraderView(self, trader.name) for trader in rules.traders)
        self.trader_intervals_s = rules.trader_intervals_s or (rules.interval_s,) * len(rules.traders)
        self.weights_ppm = rules.weights_ppm or (PPM,) * len(rules.traders)
        # By the type of market data, the numbers of the traders that asked to hear it.
        self.listeners = _listeners(rules.traders)
        # The lengths of bar that are built, each once; without traders the run still has its own.
        self.intervals_s = tuple(sorted({rules.interval_s, *self.trader_intervals_s}))

    def record(self, event: Event) -> None:
        """Add an output to the journal of the run."""
        counters = self.state.counters
        if isinstance(event, Decision):
            counters.decisions += 1
        elif isinstance(event, OrderRefused):
            counters.refused += 1
            refusals = self.state.refusals
            refusals[event.rule] = refusals.get(event.rule, 0) + 1
        self.out.append(event)

    def equity_units(self) -> int:
        """Cash plus unrealised profit at the last good prices."""
        return self.state.equity_units(self.rules.instruments)

    def snapshot(self) -> Snapshot:
        """State and traders' memories, for checkpoints and hashes."""
        return Snapshot(self.state, {trader.name: trader.snapshot() for trader in self.rules.traders})

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a checkpoint."""
        self.state = snapshot.state
        for trader in self.rules.traders:
            trader.restore(snapshot.traders[trader.name])


def _listeners(traders: Sequence[Trader]) -> dict[type[Event], list[int]]:
    listeners: dict[type[Event], list[int]] = {}
    for number, trader in enumerate(traders):
        for kind in getattr(trader, "hears", ()):
            if kind not in HEARD:
                raise ValueError(f"trader {trader.name} cannot hear {kind.__name__}")
            listeners.setdefault(kind, []).append(number)
    return listeners


class TraderView:
    """The read-only window of one trader on the desk (port `View`)."""

    __slots__ = ("_desk", "_trader")

    def __init__(self, desk: Desk, trader: str) -> None:
        self._desk = desk
        self._trader = trader

    @property
    def now_ns(self) -> int:
        """The run's clock."""
        return self._desk.state.now_ns

    def instrument(self, symbol: str) -> Instrument:
        """Steps, fees and limits of an instrument."""
        return self._desk.rules.instruments[symbol]

    def position_lots(self, symbol: str) -> int:
        """The asking trader's signed share of the run's position in that instrument."""
        share = self._desk.state.shares.get(self._trader, {}).get(symbol)
        return 0 if share is None else share.position.size_lots

    def average_price_ticks(self, symbol: str) -> float:
        """Average entry price of that share (0.0 when flat)."""
        share = self._desk.state.shares.get(self._trader, {}).get(symbol)
        return 0.0 if share is None else share.position.average_price_ticks(self.instrument(symbol))

    def open_orders(self, symbol: str) -> Sequence[Order]:
        """The asking trader's orders that may still trade, in the order they were planned."""
        working = self._desk.state.orders()
        return [order for order in working if order.trader == self._trader and order.instrument == symbol]

    def equity_units(self) -> int:
        """Cash plus unrealised profit at the last good prices."""
        return self._desk.equity_units()

    def funding_rate_ppb(self, symbol: str) -> int | None:
        """The last settled funding rate, None before the first."""
        return self._desk.state.markets[symbol].funding_rate_ppb


TraderEvent = MarketCandle | OrderFilled | MarketQuote | MarketDepth | MarketTrade
# What a trader can ask to hear besides closed bars and fills.
HEARD: tuple[type[Event], ...] = (MarketQuote, MarketDepth, MarketTrade)
