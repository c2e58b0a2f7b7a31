"""Indicators of one instrument, brought forward once per closed bar at a cost that never grows with history.

Everything lives in one flat float64 buffer, which is also the checkpoint. Prices are ticks as floats, volumes
lots; there is no fast-math, so equal bars give equal bits on every machine, compiled or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agora.kernels.compiled import compiled

Figures = np.ndarray[tuple[int], np.dtype[np.float64]]

DAY_NS = 86_400_000_000_000

# What a reader may look at, after `update`. An average is the plain mean until it has seen its length.
BAR_COUNT = 0
EMA_FAST, EMA_FAST_PREVIOUS = 1, 2
EMA_SLOW, EMA_SLOW_PREVIOUS = 3, 4
ATR = 5
SWING_LOW, SWING_HIGH = 6, 7  # extremes of the bars before the newest one; 0.0 before the second bar
SESSION_VWAP = 8
FIGURE_WORDS = 9

# What only `update` needs: lengths, sums of the running session, and the ring of lows and highs.
_FAST_BARS, _SLOW_BARS, _ATR_BARS, _SWING_BARS = 9, 10, 11, 12
_CLOSE_PREVIOUS, _DAY, _SESSION_VALUE, _SESSION_LOTS = 13, 14, 15, 16
_RING = 17


def create(*, fast_bars: int, slow_bars: int, atr_bars: int, swing_bars: int) -> Figures:
    """An empty buffer for these lengths (each at least one bar); its size depends on `swing_bars` only."""
    lengths = (fast_bars, slow_bars, atr_bars, swing_bars)
    if min(lengths) < 1:
        raise ValueError(f"lengths are at least one bar, found {lengths}")
    buf = np.zeros(_RING + 2 * swing_bars, dtype=np.float64)
    buf[_FAST_BARS : _SWING_BARS + 1] = lengths
    return buf


def restored(empty: Figures, words: Sequence[float]) -> Figures:
    """A saved buffer for the lengths of an empty one; raises `ValueError` when saved with other lengths."""
    lengths = slice(_FAST_BARS, _SWING_BARS + 1)
    buf = np.zeros(len(words), dtype=np.float64)
    buf[:] = words
    if buf.shape != empty.shape or buf[lengths].tolist() != empty[lengths].tolist():
        expected = empty[lengths].astype(int).tolist()
        raise ValueError(f"expected indicators of {expected} bars, found {buf[lengths].tolist()} in {buf.size} words")
    return buf


def warm_up() -> None:
    """Compile everything here (or load it from the cache) by taking in one bar."""
    buf = create(fast_bars=1, slow_bars=1, atr_bars=1, swing_bars=1)
    update(buf, 1.0, 1.0, 1.0, 1.0, 1.0, 1)


@compiled
def update(buf: Figures, open_: float, high: float, low: float, close: float, volume: float, ts_ns: int) -> None:
    """Take in one closed bar that ended at `ts_ns`. The work is one pass over `swing_bars` values.

    EMAs start from the simple mean of their first bars. ATR is Wilder's. The session is the UTC day; the bar
    that closes at midnight belongs to the day before. A bar without volume (a feed of quotes) weighs one lot.
    """
    count = buf[BAR_COUNT]
    buf[BAR_COUNT] = count + 1.0
    buf[EMA_FAST_PREVIOUS] = buf[EMA_FAST]
    buf[EMA_SLOW_PREVIOUS] = buf[EMA_SLOW]
    buf[EMA_FAST] = _average(buf[EMA_FAST], close, count, buf[_FAST_BARS], 2.0 / (buf[_FAST_BARS] + 1.0))
    buf[EMA_SLOW] = _average(buf[EMA_SLOW], close, count, buf[_SLOW_BARS], 2.0 / (buf[_SLOW_BARS] + 1.0))
    # The first bar has no close before it; its own open stands in, so its true range is its range.
    previous = buf[_CLOSE_PREVIOUS] if count > 0.0 else open_
    true_range = max(high, previous) - min(low, previous)
    buf[ATR] = _average(buf[ATR], true_range, count, buf[_ATR_BARS], 1.0 / buf[_ATR_BARS])
    buf[_CLOSE_PREVIOUS] = close
    _swing(buf, high, low, count)
    _session(buf, (high + low + close) / 3.0, volume, ts_ns)


@compiled
def _average(mean: float, value: float, count: float, length: float, weight: float) -> float:
    """The mean after one more value: plain over the first `length` values, then exponential."""
    if count < length:
        return mean + (value - mean) / (count + 1.0)
    return mean + weight * (value - mean)


@compiled
def _swing(buf: Figures, high: float, low: float, count: float) -> None:
    """Extremes of the bars in the ring, then put the newest bar in the place of the oldest."""
    size = int(buf[_SWING_BARS])
    seen = min(int(count), size)
    lowest = buf[_RING] if seen else 0.0
    highest = buf[_RING + size] if seen else 0.0
    for at in range(1, seen):
        lowest = min(lowest, buf[_RING + at])
        highest = max(highest, buf[_RING + size + at])
    buf[SWING_LOW] = lowest
    buf[SWING_HIGH] = highest
    place = int(count) % size
    buf[_RING + place] = low
    buf[_RING + size + place] = high


@compiled
def _session(buf: Figures, typical: float, volume: float, ts_ns: int) -> None:
    """Volume-weighted mean of typical prices since the UTC day began."""
    # The last nanosecond of the bar, because its end may be the first instant of the next day.
    day = float((ts_ns - 1) // DAY_NS)
    if day != buf[_DAY]:
        buf[_DAY] = day
        buf[_SESSION_VALUE] = 0.0
        buf[_SESSION_LOTS] = 0.0
    lots = volume if volume > 0.0 else 1.0
    buf[_SESSION_VALUE] += typical * lots
    buf[_SESSION_LOTS] += lots
    buf[SESSION_VWAP] = buf[_SESSION_VALUE] / buf[_SESSION_LOTS]
