"""The perp supervisor: two setups around the EMA ribbon, each with a stop and a target from the first moment.

*Pullback to the ribbon*: in a trend, a limit order at the fast EMA. *Sweep and reclaim*: a bar takes out the
swing extreme and closes back inside, a market order against the sweep. What it reads and supervises is its own share
of the run's position and its own orders: others may trade the same instruments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil, floor
from typing import Any

import msgspec

from agora.domain.events import Event, MarketCandle
from agora.domain.instruments import Instrument
from agora.domain.intents import Amend, Cancel, Place, Proposal
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.engine.ports import View
from agora.kernels import indicators
from agora.traders.charts import Charts
from agora.traders.sizing import SizingSettings, lot_fees_units, size_lots
from agora.traders.trend_settings import TrendSettings

PULLBACK = "pullback"
SWEEP = "sweep_and_reclaim"


class Plan(msgspec.Struct):
    """What was proposed last and is working or held: the reference of the trailing stop. Prices in ticks."""

    side: Side
    risk_ticks: int
    best_ticks: int


class Reading(msgspec.Struct):
    """The indicators after one bar, in ticks; `separation_atr`: fast minus slow EMA; `regime`: 1, -1 or 0."""

    bars: int
    ema_fast: float
    ema_slow: float
    atr: float
    swing_low: float
    swing_high: float
    vwap: float
    separation_atr: float
    regime: int

    def features(self) -> dict[str, float]:
        """The figures for the decision record."""
        return {
            "ema_fast": self.ema_fast,
            "ema_slow": self.ema_slow,
            "atr": self.atr,
            "swing_low": self.swing_low,
            "swing_high": self.swing_high,
            "vwap": self.vwap,
            "separation_atr": self.separation_atr,
            "regime": float(self.regime),
        }


class Setup(msgspec.Struct):
    """An entry that the chart offers; prices in ticks."""

    name: str
    side: Side
    entry_ticks: int
    stop_ticks: int
    target_ticks: int

    @property
    def risk_ticks(self) -> int:
        """From entry to stop."""
        return self.side * (self.entry_ticks - self.stop_ticks)

    def costs_units(self, instrument: Instrument, *, slippage_bps: float) -> tuple[float, float]:
        """Costs per lot of the way to the target and of the way to the stop, in money units (statistics).

        The target is a limit order and pays the maker's fee; stops and market entries pay the taker's and slip.
        """
        is_maker = self.name == PULLBACK
        slip = slippage_bps / 10_000 * instrument.notional_units(self.entry_ticks, 1)
        fees = partial(lot_fees_units, instrument, entry_ticks=self.entry_ticks, is_entry_maker=is_maker)
        to_target = fees(exit_ticks=self.target_ticks, is_exit_maker=True) + (0.0 if is_maker else slip)
        to_stop = fees(exit_ticks=self.stop_ticks) + slip * (1 if is_maker else 2)
        return to_target, to_stop

    def ratios(self, instrument: Instrument, *, slippage_bps: float) -> tuple[float, float]:
        """Reward over risk after fees and slippage (negative: the target pays nothing), and costs over price risk.

        A stop on the entry itself risks nothing but the costs: the second is infinite then.
        """
        to_target, to_stop = self.costs_units(instrument, slippage_bps=slippage_bps)
        unit = instrument.tick_lot_units
        reward = self.side * (self.target_ticks - self.entry_ticks) * unit - to_target
        risk = self.risk_ticks * unit
        return reward / (risk + to_stop), to_stop / risk if risk > 0 else math.inf

    def order(self, symbol: str, *, size_lots: int, expire_ts_ns: int) -> Place:
        """The entry with its stop and target: a limit that expires for a pullback, else a market order."""
        is_limit = self.name == PULLBACK
        return Place(
            instrument=symbol,
            side=self.side,
            size_lots=size_lots,
            type=OrderType.LIMIT if is_limit else OrderType.MARKET,
            time_in_force=TimeInForce.GTD if is_limit else TimeInForce.IOC,
            price_ticks=self.entry_ticks if is_limit else 0,
            expire_ts_ns=expire_ts_ns if is_limit else 0,
            stop_ticks=self.stop_ticks,
            target_ticks=self.target_ticks,
        )


class Held(msgspec.Struct):
    """A position at the close of a bar, with the stop orders that guard it. Prices in ticks."""

    side: Side
    entry_ticks: float
    close_ticks: int
    stops: list[Order]


class Trend:
    """The trader (port `Trader`). Memory per instrument: one buffer of fixed size and one plan."""

    name = "trend"

    def __init__(self, settings: TrendSettings | None = None, sizing: SizingSettings | None = None) -> None:
        self._settings = settings or TrendSettings()
        self._sizing = sizing or SizingSettings()
        self._charts = Charts(
            fast_bars=self._settings.ema_fast_bars,
            slow_bars=self._settings.ema_slow_bars,
            atr_bars=self._settings.atr_bars,
            swing_bars=self._settings.swing_bars,
        )
        self._plans: dict[str, Plan] = {}

    def decide(self, view: View, event: Event) -> Proposal | None:
        """A proposal for every closed bar of the run; None for warm-up bars and for fills.

        A fill needs no answer: stop and target were placed with the entry and wake at the venue.
        """
        if not isinstance(event, MarketCandle):
            return None
        figures = self._charts.take(event)
        if event.is_history:
            return None
        return self._conclude(view, event, reading=read_chart(figures, self._settings))

    def snapshot(self) -> dict[str, Any]:
        """Indicator buffers and plans per instrument, as JSON values."""
        return {"charts": self._charts.snapshot(), "plans": msgspec.to_builtins(self._plans)}

    def restore(self, memory: dict[str, Any]) -> None:
        """Continue from a snapshot; raises `ValueError` when it was made with other indicator lengths."""
        self._charts.restore(memory["charts"])
        self._plans = msgspec.convert(memory["plans"], dict[str, Plan])

    def _conclude(self, view: View, candle: MarketCandle, *, reading: Reading) -> Proposal:
        """Supervise what is held, else what is working, else look for an entry."""
        symbol = candle.instrument
        orders = view.open_orders(symbol)
        entry = next((order for order in orders if order.purpose is Purpose.ENTRY), None)
        position_lots = view.position_lots(symbol)
        if position_lots:
            held = Held(
                side=Side.BUY if position_lots > 0 else Side.SELL,
                entry_ticks=view.average_price_ticks(symbol),
                close_ticks=candle.close_ticks,
                stops=[order for order in orders if order.purpose is Purpose.STOP],
            )
            proposal = self._supervise(held, reading, plan=self._plans.get(symbol))
            if proposal.intents or entry is None:
                return proposal
        if entry is not None:
            return _watch_entry(entry, reading)
        self._plans.pop(symbol, None)
        if orders:
            return _clear_legs(orders, reading)
        return self._seek(view, candle, reading=reading)

    def _supervise(self, held: Held, reading: Reading, *, plan: Plan | None) -> Proposal:
        """Let the stop follow; it moves in favour only, by a tick or more."""
        features = reading.features()
        if not held.stops:
            # Placing a second stop is not ours to do: a flattening may be under way. The record shows it.
            return Proposal(action="hold", reason="stop_missing", features=features)
        if plan is None or plan.side != held.side:
            return Proposal(action="hold", reason="in_position", features=features)
        plan.best_ticks = plan.side * max(plan.side * plan.best_ticks, plan.side * held.close_ticks)
        trigger_ticks = trailing_stop_ticks(plan, held, settings=self._settings)
        if trigger_ticks is None:
            return Proposal(action="hold", reason="in_position", features=features)
        amends = tuple(
            Amend(client_id=stop.client_id, trigger_ticks=trigger_ticks)
            for stop in held.stops
            if not stop.is_cancel_requested and held.side * (trigger_ticks - stop.trigger_ticks) >= 1
        )
        if not amends:
            return Proposal(action="hold", reason="in_position", features=features)
        return Proposal(action="trail", reason="trailing_stop", intents=amends, features=features)

    def _seek(self, view: View, candle: MarketCandle, *, reading: Reading) -> Proposal:
        """The first setup that passes every gate, else why there is none."""
        features = reading.features()
        symbol = candle.instrument
        instrument, rate_ppb = view.instrument(symbol), view.funding_rate_ppb(symbol)
        if rate_ppb is not None:
            features["funding_ppb"] = float(rate_ppb)
        refusal = self._not_ready(reading)
        if refusal:
            return Proposal(action="hold", reason=refusal, features=features)
        for setup in find_setups(candle, reading, settings=self._settings):
            slippage_bps = self._settings.slippage_bps
            ratios = setup.ratios(instrument, slippage_bps=slippage_bps)
            reason = self._gate(setup, reading, rate_ppb=rate_ppb, ratios=ratios)
            lots = 0 if reason else self._size_lots(view, setup, instrument=instrument)
            if lots:
                features["reward_risk"] = ratios[0]
                life_ns = self._settings.entry_expiry_bars * candle.interval_s * NS_PER_S
                place = setup.order(symbol, size_lots=lots, expire_ts_ns=view.now_ns + life_ns)
                return self._enter(symbol, setup, place=place, features=features)
            # Of two setups that fail, the first explains the decision.
            refusal = refusal or reason or "size_zero"
            features.setdefault("reward_risk", ratios[0])
        return Proposal(action="hold", reason=refusal or "no_trend", features=features)

    def _not_ready(self, reading: Reading) -> str:
        """Why the indicators say nothing yet, or an empty text."""
        settings = self._settings
        if reading.bars <= max(settings.ema_slow_bars, settings.atr_bars, settings.swing_bars):
            return "warming_up"
        return "" if reading.atr > 0.0 else "no_range"

    def _gate(self, setup: Setup, reading: Reading, *, rate_ppb: int | None, ratios: tuple[float, float]) -> str:
        """Why a setup is not taken, or an empty text. An unknown funding rate closes no gate."""
        settings = self._settings
        if setup.name == SWEEP and -setup.side * reading.separation_atr > settings.separation_atr_strong:
            return "against_trend"
        reward_risk, cost_risk = ratios
        if reward_risk < settings.reward_risk_min:
            return "reward_too_small"
        if cost_risk > (settings.sweep_cost_risk_max if setup.name == SWEEP else settings.cost_risk_max):
            return "costs_too_high"
        # The gates come last, so that their reason says that nothing but the funding rate stood in the way.
        if rate_ppb is not None and setup.side is Side.BUY and rate_ppb > settings.funding_long_ppb_max:
            return "funding_gate_long"
        if rate_ppb is not None and setup.side is Side.SELL and rate_ppb < settings.funding_short_ppb_min:
            return "funding_gate_short"
        return ""

    def _size_lots(self, view: View, setup: Setup, *, instrument: Instrument) -> int:
        return size_lots(
            instrument,
            self._sizing,
            equity_units=view.equity_units(),
            entry_ticks=setup.entry_ticks,
            stop_ticks=setup.stop_ticks,
        )

    def _enter(self, symbol: str, setup: Setup, *, place: Place, features: dict[str, float]) -> Proposal:
        """Propose the entry and remember what its trailing stop will be measured by."""
        self._plans[symbol] = Plan(side=setup.side, risk_ticks=setup.risk_ticks, best_ticks=setup.entry_ticks)
        action = "enter_long" if setup.side is Side.BUY else "enter_short"
        return Proposal(action=action, reason=setup.name, intents=(place,), features=features)


def read_chart(figures: Sequence[float], settings: TrendSettings) -> Reading:
    """The reading of a chart. A trend needs EMAs that are apart and a fast one that moves the same way."""
    ema_fast, ema_slow = figures[indicators.EMA_FAST], figures[indicators.EMA_SLOW]
    atr = figures[indicators.ATR]
    slope = ema_fast - figures[indicators.EMA_FAST_PREVIOUS]
    separation_atr = (ema_fast - ema_slow) / atr if atr > 0.0 else 0.0
    regime = 0
    if separation_atr > settings.separation_atr_min and slope > 0.0:
        regime = 1
    elif separation_atr < -settings.separation_atr_min and slope < 0.0:
        regime = -1
    return Reading(
        bars=int(figures[indicators.BAR_COUNT]),
        ema_fast=ema_fast,
        ema_slow=ema_slow,
        atr=atr,
        swing_low=figures[indicators.SWING_LOW],
        swing_high=figures[indicators.SWING_HIGH],
        vwap=figures[indicators.SESSION_VWAP],
        separation_atr=separation_atr,
        regime=regime,
    )


def find_setups(candle: MarketCandle, reading: Reading, *, settings: TrendSettings) -> Iterator[Setup]:
    """What the chart offers, a sweep first because it cannot wait. A sweep of both sides is no signal."""
    sweeps_low = candle.low_ticks < reading.swing_low < candle.close_ticks
    sweeps_high = candle.high_ticks > reading.swing_high > candle.close_ticks
    if sweeps_low != sweeps_high:
        side = Side.BUY if sweeps_low else Side.SELL
        level = reading.swing_low if sweeps_low else reading.swing_high
        yield Setup(
            name=SWEEP,
            side=side,
            entry_ticks=candle.close_ticks,
            stop_ticks=tick_toward_loss(level - side * settings.sweep_stop_atr * reading.atr, side),
            target_ticks=tick_toward_loss(reading.vwap, side),
        )
    if reading.regime:
        # The fast EMA moves towards the close, so in a regime the close lies beyond it and the limit waits.
        side = Side(reading.regime)
        entry_ticks = tick_toward_gain(reading.ema_fast, side)
        stop_ticks = tick_toward_loss(entry_ticks - side * settings.pullback_stop_atr * reading.atr, side)
        reward = settings.pullback_target_r * side * (entry_ticks - stop_ticks)
        yield Setup(
            name=PULLBACK,
            side=side,
            entry_ticks=entry_ticks,
            stop_ticks=stop_ticks,
            target_ticks=tick_toward_loss(entry_ticks + side * reward, side),
        )


def tick_toward_loss(price: float, side: Side) -> int:
    """The tick of a price, rounded down for a long and up for a short.

    It makes stops wider and targets nearer, so that size and reward are judged at their worse value.
    """
    return floor(price) if side is Side.BUY else ceil(price)


def tick_toward_gain(price: float, side: Side) -> int:
    """The tick of a price, rounded up for a long and down for a short: an entry there is the dearer one."""
    return ceil(price) if side is Side.BUY else floor(price)


def trailing_stop_ticks(plan: Plan, held: Held, *, settings: TrendSettings) -> int | None:
    """Where the stop belongs: at the entry or the distance behind the best close, whichever is better.

    None before the best close has come far enough. Always at least one tick behind the last close, because a
    venue takes a stop beyond the price for a market order.
    """
    side = held.side
    if side * (plan.best_ticks - held.entry_ticks) < settings.trail_start_r * plan.risk_ticks:
        return None
    behind_best = plan.best_ticks - side * settings.trail_distance_r * plan.risk_ticks
    level = side * max(side * held.entry_ticks, side * behind_best)
    return side * min(side * tick_toward_loss(level, side), side * held.close_ticks - 1)


def _watch_entry(entry: Order, reading: Reading) -> Proposal:
    """One entry works at a time; a limit order is called back when the regime is no longer its own."""
    features = reading.features()
    is_stale = entry.type is OrderType.LIMIT and reading.regime != entry.side
    if not is_stale or entry.is_cancel_requested:
        return Proposal(action="hold", reason="entry_working", features=features)
    cancel = Cancel(client_id=entry.client_id)
    return Proposal(action="cancel_entry", reason="regime_turned", intents=(cancel,), features=features)


def _clear_legs(orders: Sequence[Order], reading: Reading) -> Proposal:
    """Flat and without an entry, what still works is left over: it must be gone before the next entry."""
    legs = (Purpose.STOP, Purpose.TARGET)
    cancels = tuple(
        Cancel(client_id=order.client_id) for order in orders if order.purpose in legs and not order.is_cancel_requested
    )
    action = "cancel_legs" if cancels else "hold"
    return Proposal(action=action, reason="legs_working", intents=cancels, features=reading.features())
