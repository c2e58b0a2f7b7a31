"""The smallest trader, to be copied: long when the fast EMA crosses above the slow, out when it is below."""

from functools import partial
from math import floor
from typing import Any

from agora.domain.events import Event, MarketCandle
from agora.domain.intents import Place, Proposal
from agora.domain.orders import OrderType, Purpose, Side
from agora.engine.ports import View
from agora.kernels.indicators import ATR, BAR_COUNT, EMA_FAST, EMA_FAST_PREVIOUS, EMA_SLOW, EMA_SLOW_PREVIOUS
from agora.traders.charts import Charts
from agora.traders.sizing import SizingSettings, size_lots

SLOW_BARS = 30
STOP_ATR = 2.0  # two ordinary bars against us, and the cross was noise


class EmaCross:
    """Long only and at the market, with a stop that wakes at the venue when the entry fills."""

    name = "ema_cross"

    def __init__(self, sizing: SizingSettings | None = None) -> None:
        self._sizing = sizing or SizingSettings()
        self._charts = Charts(fast_bars=10, slow_bars=SLOW_BARS, atr_bars=14, swing_bars=1)

    def decide(self, view: View, event: Event) -> Proposal | None:
        """A proposal for every closed bar of the run; None for warm-up bars and for fills."""
        if not isinstance(event, MarketCandle):
            return None
        chart = self._charts.take(event)
        if event.is_history:
            return None
        symbol, close, lots = event.instrument, event.close_ticks, view.position_lots(event.instrument)
        market = partial(Place, instrument=symbol, type=OrderType.MARKET)
        say = partial(Proposal, action="hold", features={"atr": chart[ATR]})
        is_above = chart[EMA_FAST] > chart[EMA_SLOW]
        if any(order.purpose is not Purpose.STOP or not lots for order in view.open_orders(symbol)):
            return say(reason="order_working")
        if lots > 0 and not is_above:
            leave = market(side=Side.SELL, size_lots=lots, purpose=Purpose.EXIT, reduce_only=True)
            return say(action="exit", reason="crossed_down", intents=(leave,))
        is_cross = is_above and chart[EMA_FAST_PREVIOUS] <= chart[EMA_SLOW_PREVIOUS]
        if lots or not is_cross or chart[BAR_COUNT] <= SLOW_BARS:
            return say(reason="in_position" if lots else "no_cross")
        stop, rules, equity = (
            floor(close - STOP_ATR * chart[ATR]),
            view.instrument(symbol),
            view.equity_units(),
        )
        size = size_lots(rules, self._sizing, equity_units=equity, entry_ticks=close, stop_ticks=stop)
        if size == 0:
            return say(reason="size_zero")
        enter = market(side=Side.BUY, size_lots=size, stop_ticks=stop)
        return say(action="enter_long", reason="crossed_up", intents=(enter,))

    def snapshot(self) -> dict[str, Any]:
        """The indicator buffers: all that is remembered."""
        return {"charts": self._charts.snapshot()}

    def restore(self, memory: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._charts.restore(memory["charts"])
