"""What the others in the loopback Polymarket believe a window is worth: the desk's own formula on the venue's prices.

They know the variance of the price path and every second that counts; whoever trades against them does not.
"""

from __future__ import annotations

from agora.domain.numbers import NS_PER_S
from agora.exchange.binary_records import MarketView
from agora.kernels import fair_value
from agora.testnet.polymarket_windows import ResolutionRule, Windows

# Before its start a window is as likely to end above as below.
UNDECIDED = 0.5
_SAMPLES = {
    ResolutionRule.SPOT: fair_value.SPOT,
    ResolutionRule.TWAP30: fair_value.TWAP30,
    ResolutionRule.TWAP60: fair_value.TWAP60,
}


class WindowValue:
    """The fair value of windows, as `PolymarketFlow` asks for it. `price` is the newest price of the path."""

    def __init__(self, windows: Windows, rule: ResolutionRule, *, variance_per_s: float) -> None:
        self._windows = windows
        self._samples = _SAMPLES[rule]
        self._variance_per_s = variance_per_s
        self.price = 0.0
        self.now_ns = 0

    def observe(self, now_ns: int, price: float) -> None:
        """The price of now."""
        self.now_ns, self.price = now_ns, price

    def __call__(self, market: MarketView) -> float | None:
        """The probability that a window settles Up; None before any price or for a window that nobody knows."""
        settlement = self._windows.settlement(market.condition_id)
        if settlement is None or self.price <= 0.0:
            return None
        if settlement.price_to_beat is None:
            return UNDECIDED
        known = self._known(market.end_ns // NS_PER_S)
        return fair_value.up_probability(
            self.price,
            settlement.price_to_beat,
            max(0.0, (market.end_ns - self.now_ns) / NS_PER_S),
            self._variance_per_s,
            0.0,
            0.0,
            self._samples,
            float(sum(known)),
            len(known),
        )

    def _known(self, end_s: int) -> list[float]:
        """The whole seconds of the closing average that have been seen."""
        recent = self._windows.recent(self._samples) if self._samples else []
        return [price for second, price in recent if end_s - self._samples < second <= end_s]
