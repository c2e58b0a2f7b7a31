"""The perp supervisor: two setups around the EMA ribbon, each with a stop and a target from the first moment.

*Pullback to the ribbon*: in a trend, a limit order at the fast EMA. *Sweep and reclaim*: a bar takes out the swing
extreme and closes back inside, a market order against the sweep. It assumes that nobody else trades its instruments
in the same run, because the position it reads is that of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agora.domain.events import Event, MarketCandle
from agora.domain.intents import Amend, Cancel, Place, Proposal
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.engine.ports import View
from agora.kernels import indicators
from agora.kernels.indicators import Figures
from agora.traders.sizing import SizingSettings, size_lots

PULLBACK = "pullback"
SWEEP = "sweep_and_reclaim"


class TrendSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When to enter, where to stop, when to let go. ATR is in ticks, R the ticks from entry to the first stop."""

    # 20, 50 and 14 are what most charts show, so they are where others place orders too.
    ema_fast_bars: Annotated[int, Meta(ge=2, le=1_000, description="length of the fast EMA, bars")] = 20
    ema_slow_bars: Annotated[int, Meta(ge=3, le=2_000, description="length of the slow EMA, bars")] = 50
    atr_bars: Annotated[int, Meta(ge=1, le=1_000, description="length of Wilder's ATR, bars")] = 14
    # Ten bars hold the last visible swing; each bar looks at all of them, hence the maximum.
    swing_bars: Annotated[int, Meta(ge=2, le=200, description="bars whose extremes can be swept")] = 10
    # Below a fifth of an ATR the two averages cross back and forth within a few bars.
    separation_atr_min: Annotated[
        float, Meta(ge=0.0, le=10.0, description="distance of the EMAs from which there is a trend, ATR")
    ] = 0.2
    # A sweep is a reversal; two ATRs apart, the trend is too strong to stand against.
    separation_atr_strong: Annotated[
        float, Meta(ge=0.0, le=100.0, description="distance of the EMAs against which no sweep is taken, ATR")
    ] = 2.0
    # Beyond the noise of one bar, and near enough that 2 R is reached within a trend's leg.
    pullback_stop_atr: Annotated[
        float, Meta(ge=0.1, le=20.0, description="stop of a pullback from its entry, ATR")
    ] = 1.5
    pullback_target_r: Annotated[
        float, Meta(ge=0.1, le=50.0, description="target of a pullback from its entry, R")
    ] = 2.0
    # The level was just proven; half an ATR beyond it the reclaim has failed.
    sweep_stop_atr: Annotated[
        float, Meta(ge=0.0, le=20.0, description="stop of a sweep beyond the swept level, ATR")
    ] = 0.5
    # Below 1.2 to 1 more than 45 % of the trades would have to win before costs.
    reward_risk_min: Annotated[
        float, Meta(ge=0.0, le=20.0, description="least reward over risk of an entry, before costs")
    ] = 1.2
    # Venues pay and charge 100,000 ppb (0.01 % of notional per 8 h) when nothing leans; a long that would pay nearly
    # all of that is one of a crowd. In the 51 recorded days a sixth of the settlements lie above this gate.
    funding_long_ppb_max: Annotated[
        int, Meta(ge=-3_750_000, le=3_750_000, description="no new longs above this funding rate, ppb of notional")
    ] = 90_000
    # Shorts that pay at all are rare (19 of 156 recorded settlements); 20,000 ppb spares the noise around zero.
    funding_short_ppb_min: Annotated[
        int, Meta(ge=-3_750_000, le=3_750_000, description="no new shorts below this funding rate, ppb of notional")
    ] = -20_000
    trail_start_r: Annotated[
        float, Meta(ge=0.0, le=50.0, description="best close from which the stop trails, R")
    ] = 0.5
    trail_distance_r: Annotated[
        float, Meta(ge=0.0, le=50.0, description="the trailing stop behind the best close, R")
    ] = 1.0
    # After five bars the average has moved on and the order would buy another situation than the one judged.
    entry_expiry_bars: Annotated[
        int, Meta(ge=1, le=1_000, description="life of an unfilled entry order, bars")
    ] = 5

    def __post_init__(self) -> None:
        """Refuse lengths that make no ribbon and gates that exclude each other's side for ever."""
        if self.ema_fast_bars >= self.ema_slow_bars:
            raise ValueError(f"ema_fast_bars {self.ema_fast_bars} is not below ema_slow_bars {self.ema_slow_bars}")
        if self.funding_short_ppb_min > self.funding_long_ppb_max:
            raise ValueError(
                f"funding_short_ppb_min {self.funding_short_ppb_min} is above "
                f"funding_long_ppb_max {self.funding_long_ppb_max}: some rates would allow neither side"
            )


class Plan(msgspec.Struct):
    """What was proposed last and is working or held: the reference of the trailing stop. Prices in ticks."""

    side: Side
    risk_ticks: int
    best_ticks: int


class Memory(msgspec.Struct):
    """What is remembered about one instrument."""

    figures: Figures
    plan: Plan | None = None


class Reading(msgspec.Struct):
    """The indicators after one bar, in ticks; `separation_atr` is fast minus slow EMA, `regime` +1, -1 or 0."""

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

    @property
    def reward_ticks(self) -> int:
        """From entry to target; negative when the target lies on the wrong side."""
        return self.side * (self.target_ticks - self.entry_ticks)


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
        self._memories: dict[str, Memory] = {}

    def decide(self, view: View, event: Event) -> Proposal | None:
        """A proposal for every closed bar of the run; None for warm-up bars and for fills.

        A fill needs no answer: stop and target were placed with the entry and wake at the venue.
        """
        if not isinstance(event, MarketCandle):
            return None
        memory = self._memories.get(event.instrument)
        if memory is None:
            memory = self._memories[event.instrument] = Memory(self._empty_figures())
        indicators.update(
            memory.figures,
            float(event.open_ticks),
            float(event.high_ticks),
            float(event.low_ticks),
            float(event.close_ticks),
            float(event.volume_lots),
            event.ts_ns,
        )
        if event.is_history:
            return None
        return self._conclude(view, event, memory)

    def snapshot(self) -> dict[str, Any]:
        """Per instrument the indicator buffer and the plan, as JSON values."""
        return {
            symbol: {"figures": memory.figures.tolist(), "plan": msgspec.to_builtins(memory.plan)}
            for symbol, memory in self._memories.items()
        }

    def restore(self, memory: dict[str, Any]) -> None:
        """Continue from a snapshot; raises `ValueError` when it was made with other indicator lengths."""
        self._memories = {
            symbol: Memory(
                indicators.restored(self._empty_figures(), saved["figures"]),
                msgspec.convert(saved["plan"], Plan | None),
            )
            for symbol, saved in memory.items()
        }

    def _empty_figures(self) -> Figures:
        settings = self._settings
        return indicators.create(
            fast_bars=settings.ema_fast_bars,
            slow_bars=settings.ema_slow_bars,
            atr_bars=settings.atr_bars,
            swing_bars=settings.swing_bars,
        )

    def _conclude(self, view: View, candle: MarketCandle, memory: Memory) -> Proposal:
        """Supervise what is held, else what is working, else look for an entry."""
        reading = read(memory.figures, self._settings)
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
            proposal = self._supervise(held, reading, plan=memory.plan)
            if proposal.intents or entry is None:
                return proposal
        if entry is not None:
            return _watch_entry(entry, reading)
        memory.plan = None
        if orders:
            return _clear_legs(orders, reading)
        proposal, memory.plan = self._seek(view, candle, reading)
        return proposal

    def _supervise(self, held: Held, reading: Reading, *, plan: Plan | None) -> Proposal:
        """Let the stop follow; it moves in favour only, by a tick or more."""
        features = reading.features()
        if not held.stops:
            # Placing a second stop is not ours to do: a flattening may be under way. The record shows it.
            return Proposal(action="hold", reason="stop_missing", features=features)
        if plan is None or plan.side is not held.side:
            return Proposal(action="hold", reason="in_position", features=features)
        plan.best_ticks = plan.side * max(plan.side * plan.best_ticks, plan.side * held.close_ticks)
        trigger_ticks = trailing_stop_ticks(self._settings, plan, held)
        if trigger_ticks is None:
            return Proposal(action="hold", reason="in_position", features=features)
        amends = tuple(
            Amend(client_id=stop.client_id, trigger_ticks=trigger_ticks)
            for stop in held.stops
            if stop.side is not held.side
            and not stop.is_cancel_requested
            and held.side * (trigger_ticks - stop.trigger_ticks) >= 1
        )
        if not amends:
            return Proposal(action="hold", reason="in_position", features=features)
        return Proposal(action="trail", reason="trailing_stop", intents=amends, features=features)

    def _seek(self, view: View, candle: MarketCandle, reading: Reading) -> tuple[Proposal, Plan | None]:
        """The first setup that passes every gate, else why there is none."""
        features = reading.features()
        refusal = self._not_ready(reading)
        setups = () if refusal else tuple(find_setups(self._settings, candle, reading))
        for setup in setups:
            features["reward_risk"] = setup.reward_ticks / setup.risk_ticks
            reason = self._gate(view.funding_rate_ppb(candle.instrument), setup, reading)
            if reason:
                refusal = refusal or reason
                continue
            lots = size_lots(
                view.instrument(candle.instrument),
                self._sizing,
                equity_units=view.equity_units(),
                entry_ticks=setup.entry_ticks,
                stop_ticks=setup.stop_ticks,
            )
            if lots == 0:
                refusal = refusal or "size_zero"
                continue
            place = self._place(candle, setup, lots=lots, now_ns=view.now_ns)
            action = "enter_long" if setup.side is Side.BUY else "enter_short"
            plan = Plan(side=setup.side, risk_ticks=setup.risk_ticks, best_ticks=setup.entry_ticks)
            return Proposal(action=action, reason=setup.name, intents=(place,), features=features), plan
        reason = refusal or ("off_ribbon" if reading.regime else "no_trend")
        return Proposal(action="hold", reason=reason, features=features), None

    def _not_ready(self, reading: Reading) -> str:
        """Why the indicators say nothing yet, or an empty text."""
        if reading.bars <= max(self._settings.ema_slow_bars, self._settings.atr_bars, self._settings.swing_bars):
            return "warming_up"
        return "" if reading.atr > 0.0 else "no_range"

    def _gate(self, rate_ppb: int | None, setup: Setup, reading: Reading) -> str:
        """Why a setup is not taken, or an empty text. An unknown funding rate closes no gate."""
        settings = self._settings
        if setup.name == SWEEP and -setup.side * reading.separation_atr > settings.separation_atr_strong:
            return "against_trend"
        if rate_ppb is not None and setup.side is Side.BUY and rate_ppb > settings.funding_long_ppb_max:
            return "funding_gate_long"
        if rate_ppb is not None and setup.side is Side.SELL and rate_ppb < settings.funding_short_ppb_min:
            return "funding_gate_short"
        if setup.reward_ticks < settings.reward_risk_min * setup.risk_ticks:
            return "reward_too_small"
        return ""

    def _place(self, candle: MarketCandle, setup: Setup, *, lots: int, now_ns: int) -> Place:
        """A sweep enters at the market at once; a pullback waits at the ribbon until it expires."""
        is_limit = setup.name == PULLBACK
        life_ns = self._settings.entry_expiry_bars * candle.interval_s * NS_PER_S
        return Place(
            instrument=candle.instrument,
            side=setup.side,
            size_lots=lots,
            type=OrderType.LIMIT if is_limit else OrderType.MARKET,
            time_in_force=TimeInForce.GTD if is_limit else TimeInForce.IOC,
            price_ticks=setup.entry_ticks if is_limit else 0,
            expire_ts_ns=now_ns + life_ns if is_limit else 0,
            stop_ticks=setup.stop_ticks,
            target_ticks=setup.target_ticks,
        )


def read(figures: Figures, settings: TrendSettings) -> Reading:
    """The reading of a buffer. There is a trend when the EMAs are apart and the fast one moves the same way."""
    words = figures[: indicators.FIGURE_WORDS].tolist()
    ema_fast, ema_slow, atr = words[indicators.EMA_FAST], words[indicators.EMA_SLOW], words[indicators.ATR]
    slope = ema_fast - words[indicators.EMA_FAST_PREVIOUS]
    separation_atr = (ema_fast - ema_slow) / atr if atr > 0.0 else 0.0
    regime = 0
    if separation_atr > settings.separation_atr_min and slope > 0.0:
        regime = 1
    elif separation_atr < -settings.separation_atr_min and slope < 0.0:
        regime = -1
    return Reading(
        bars=int(words[indicators.BAR_COUNT]),
        ema_fast=ema_fast,
        ema_slow=ema_slow,
        atr=atr,
        swing_low=words[indicators.SWING_LOW],
        swing_high=words[indicators.SWING_HIGH],
        vwap=words[indicators.SESSION_VWAP],
        separation_atr=separation_atr,
        regime=regime,
    )


def find_setups(settings: TrendSettings, candle: MarketCandle, reading: Reading) -> Iterator[Setup]:
    """What the chart offers, a sweep first because it cannot wait. A bar that sweeps both sides says nothing."""
    sweeps_low = candle.low_ticks < reading.swing_low < candle.close_ticks
    sweeps_high = candle.high_ticks > reading.swing_high > candle.close_ticks
    if sweeps_low != sweeps_high:
        side = Side.BUY if sweeps_low else Side.SELL
        level = reading.swing_low if sweeps_low else reading.swing_high
        yield Setup(
            name=SWEEP,
            side=side,
            entry_ticks=candle.close_ticks,
            stop_ticks=tick_below(level - side * settings.sweep_stop_atr * reading.atr, side),
            target_ticks=tick_below(reading.vwap, side),
        )
    if reading.regime * (candle.close_ticks - reading.ema_fast) > 0.0:
        side = Side(reading.regime)
        entry_ticks = tick_above(reading.ema_fast, side)
        stop_ticks = tick_below(entry_ticks - side * settings.pullback_stop_atr * reading.atr, side)
        reward = settings.pullback_target_r * side * (entry_ticks - stop_ticks)
        yield Setup(
            name=PULLBACK,
            side=side,
            entry_ticks=entry_ticks,
            stop_ticks=stop_ticks,
            target_ticks=tick_below(entry_ticks + side * reward, side),
        )


def tick_below(price: float, side: Side) -> int:
    """The tick on the losing side of a price: down for a long, up for a short.

    Stops become wider and targets nearer by it, so that size and reward are judged at their worse value.
    """
    return floor(price) if side is Side.BUY else ceil(price)


def tick_above(price: float, side: Side) -> int:
    """The tick on the winning side of a price: an entry there is paid dearer than computed."""
    return ceil(price) if side is Side.BUY else floor(price)


def trailing_stop_ticks(settings: TrendSettings, plan: Plan, held: Held) -> int | None:
    """Where the stop belongs: at the entry or the distance behind the best close, whichever is better.

    None before the best close has come far enough. Always at least one tick behind the last close, because a venue
    takes a stop beyond the price for a market order.
    """
    side = held.side
    if side * (plan.best_ticks - held.entry_ticks) < settings.trail_start_r * plan.risk_ticks:
        return None
    behind_best = plan.best_ticks - side * settings.trail_distance_r * plan.risk_ticks
    level = side * max(side * held.entry_ticks, side * behind_best)
    return side * min(side * tick_below(level, side), side * held.close_ticks - 1)


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
        Cancel(client_id=order.client_id)
        for order in orders
        if order.purpose in legs and not order.is_cancel_requested
    )
    action = "cancel_legs" if cancels else "hold"
    return Proposal(action=action, reason="legs_working", intents=cancels, features=reading.features())
