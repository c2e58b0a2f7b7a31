"""The smallest trader, to be copied: long when the fast EMA crosses above the slow one, out when it crosses back."""

from math import floor
from typing import Any

from agora.domain.events import Event, MarketCandle
from agora.domain.intents import Place, Proposal
from agora.domain.orders import OrderType, Purpose, Side, TimeInForce
from agora.engine.ports import View
from agora.kernels import indicators as ind
from agora.traders.sizing import SizingSettings, size_lots

FAST_BARS, SLOW_BARS, ATR_BARS = 10, 30, 14
STOP_ATR = 2.0  # two ordinary bars against us, and the cross was noise


class EmaCross:
    """Long only, at the market, with a stop at the venue from the first fill. Memory: one buffer per instrument."""

    name = "ema_cross"

    def __init__(self, sizing: SizingSettings | None = None) -> None:
        self._sizing = sizing or SizingSettings()
        self._figures: dict[str, ind.Figures] = {}

    def decide(self, view: View, event: Event) -> Proposal | None:
        """A proposal for every closed bar of the run; None for warm-up bars and for fills."""
        if not isinstance(event, MarketCandle):
            return None
        buf = self._figures.setdefault(event.instrument, _empty())
        ind.update_from(buf, event)
        if event.is_history:
            return None
        action, reason, intents = self._judge(view, event, buf)
        features = {"ema_fast": float(buf[ind.EMA_FAST]), "ema_slow": float(buf[ind.EMA_SLOW])}
        return Proposal(action=action, reason=reason, intents=intents, features=features)
