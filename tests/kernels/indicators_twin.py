"""A readable twin of `kernels/indicators`: it keeps the whole history and computes every figure from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

DAY_NS = 86_400 * 10**9


class TwinBar(NamedTuple):
    """One closed bar in the kernel's units."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    ts_ns: int


@dataclass
class Twin:
    """The same figures as the kernel, from the definitions of the textbooks."""

    fast_bars: int
    slow_bars: int
    atr_bars: int
    swing_bars: int
    bars: list[TwinBar] = field(default_factory=list)

    def ema(self, length: int, *, skip_newest: int = 0) -> float:
        """The mean of the first `length` closes, then exponential smoothing with 2 / (length + 1)."""
        closes = [bar.close for bar in self.bars[: len(self.bars) - skip_newest]]
        return smoothed(closes, length, weight=2 / (length + 1))

    def atr(self) -> float:
        """Wilder's average of true ranges."""
        ranges = [self.bars[0].high - self.bars[0].low]
        for before, bar in zip(self.bars, self.bars[1:], strict=False):
            jumps = (bar.high - bar.low, abs(bar.high - before.close), abs(bar.low - before.close))
            ranges.append(max(jumps))
        return smoothed(ranges, self.atr_bars, weight=1 / self.atr_bars)

    def swing(self) -> tuple[float, float]:
        """Lowest low and highest high of the bars before the newest."""
        window = self.bars[:-1][-self.swing_bars :]
        if not window:
            return 0.0, 0.0
        return min(bar.low for bar in window), max(bar.high for bar in window)

    def vwap(self) -> float:
        """Typical prices of the newest bar's UTC day, weighted by volume, at least one lot each."""
        day = (self.bars[-1].ts_ns - 1) // DAY_NS
        session = [bar for bar in self.bars if (bar.ts_ns - 1) // DAY_NS == day]
        lots = [bar.volume or 1.0 for bar in session]
        values = [(bar.high + bar.low + bar.close) / 3 for bar in session]
        return math.fsum(lot * value for lot, value in zip(lots, values, strict=True)) / math.fsum(lots)

    def figures(self) -> list[float]:
        """In the order of the kernel's public words."""
        return [
            float(len(self.bars)),
            self.ema(self.fast_bars),
            self.ema(self.fast_bars, skip_newest=1),
            self.ema(self.slow_bars),
            self.ema(self.slow_bars, skip_newest=1),
            self.atr(),
            *self.swing(),
            self.vwap(),
        ]


def smoothed(values: list[float], length: int, *, weight: float) -> float:
    """Plain mean of the first values, then exponential smoothing; 0.0 of nothing."""
    if not values:
        return 0.0
    mean = fmean(values[:length])
    for value in values[length:]:
        mean = weight * value + (1 - weight) * mean
    return mean
