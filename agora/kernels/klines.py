"""Candles of every asset and interval, built trade by trade from the trade tape of settlement.

One flat int64 buffer holds a ring of candles per asset and interval. Prices are ticks, volumes lots, times `ts_ns`.
An interval without a trade has no candle. The kernel knows neither books nor accounts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled, compiled_inside
from agora.kernels.settlement_layout import TRADE_ASSET, TRADE_LOTS, TRADE_PRICE, TRADE_SIDE, TRADE_TS

__all__ = [
    "CANDLE_BUY_LOTS",
    "CANDLE_CLOSE",
    "CANDLE_HIGH",
    "CANDLE_LOTS",
    "CANDLE_LOW",
    "CANDLE_OPEN",
    "CANDLE_START",
    "CANDLE_TRADES",
    "CANDLE_WORDS",
    "add_trades",
    "candles",
    "new_klines",
    "session",
]

# Header words, then the length of each interval in ns, then a block per asset, then one per asset and interval.
ASSETS, INTERVALS, CAPACITY, BLOCKS_START, ROLLED = 0, 1, 2, 3, 4  # ROLLED: number of the last trade added
SESSIONS_START, INTERVALS_START = 5, 8

# Words of an asset since the beginning.
LAST, HIGH, LOW, LOTS, TRADES = 0, 1, 2, 3, 4
SESSION_WORDS = 5

CANDLE_START, CANDLE_OPEN, CANDLE_HIGH, CANDLE_LOW, CANDLE_CLOSE = 0, 1, 2, 3, 4
CANDLE_LOTS, CANDLE_TRADES, CANDLE_BUY_LOTS = 5, 6, 7  # CANDLE_BUY_LOTS: lots of buying takers
CANDLE_WORDS = 8


def new_klines(*, assets: int, intervals_ns: Sequence[int], capacity: int) -> Words:
    """Return a buffer that remembers `capacity` candles of each interval of each asset."""
    if assets < 1 or capacity < 1 or not intervals_ns or min(intervals_ns) < 1:
        raise ValueError(f"nothing to build: {assets} assets, intervals {intervals_ns}, capacity {capacity}")
    sessions_start = INTERVALS_START + len(intervals_ns)
    blocks_start = sessions_start + assets * SESSION_WORDS
    words = assets * len(intervals_ns) * (1 + capacity * CANDLE_WORDS)
    klines = np.zeros(blocks_start + words, dtype=np.int64)
    klines[: BLOCKS_START + 1] = (assets, len(intervals_ns), capacity, blocks_start)
    klines[SESSIONS_START] = sessions_start
    klines[INTERVALS_START:sessions_start] = intervals_ns
    return klines


@compiled_inside
def block_of(klines: Words, asset: int, interval: int) -> int:
    """Return where an asset's candles of an interval begin: their count, then the ring."""
    words = 1 + klines[CAPACITY] * CANDLE_WORDS
    return int(klines[BLOCKS_START] + (asset * klines[INTERVALS] + interval) * words)


@compiled_inside
def add_trade(klines: Words, asset: int, interval: int, ts_ns: int, price: int, lots: int, side: int) -> None:
    """Add a trade to the newest candle of an interval, or open the next one."""
    block = block_of(klines, asset, interval)
    length = klines[INTERVALS_START + interval]
    start = ts_ns // length * length
    count = klines[block]
    at = block + 1 + (count - 1) % klines[CAPACITY] * CANDLE_WORDS
    if count == 0 or klines[at + CANDLE_START] < start:
        klines[block] = count + 1
        at = block + 1 + count % klines[CAPACITY] * CANDLE_WORDS
        klines[at + CANDLE_START] = start
        klines[at + CANDLE_OPEN] = price
        klines[at + CANDLE_HIGH] = price
        klines[at + CANDLE_LOW] = price
        klines[at + CANDLE_LOTS] = 0
        klines[at + CANDLE_TRADES] = 0
        klines[at + CANDLE_BUY_LOTS] = 0
    klines[at + CANDLE_HIGH] = max(klines[at + CANDLE_HIGH], price)
    klines[at + CANDLE_LOW] = min(klines[at + CANDLE_LOW], price)
    klines[at + CANDLE_CLOSE] = price
    klines[at + CANDLE_LOTS] += lots
    klines[at + CANDLE_TRADES] += 1
    if side > 0:
        klines[at + CANDLE_BUY_LOTS] += lots


@compiled_inside
def add_to_session(klines: Words, asset: int, price: int, lots: int) -> None:
    """Add a trade to what an asset did since the beginning."""
    at = klines[SESSIONS_START] + asset * SESSION_WORDS
    is_first = klines[at + TRADES] == 0
    klines[at + LAST] = price
    klines[at + HIGH] = price if is_first else max(klines[at + HIGH], price)
    klines[at + LOW] = price if is_first else min(klines[at + LOW], price)
    klines[at + LOTS] += lots
    klines[at + TRADES] += 1


@compiled
def add_trades(klines: Words, tape: Rows, trade_count: int) -> int:
    """Add the trades on the tape up to number `trade_count`, and return how many were lost.

    Trades are lost when more than the tape's capacity came since the last call: the oldest are overwritten.
    """
    first = klines[ROLLED]
    lost = max(0, trade_count - first - tape.shape[0])
    for number in range(first + lost, trade_count):
        row = number % tape.shape[0]
        add_to_session(klines, tape[row, TRADE_ASSET], tape[row, TRADE_PRICE], tape[row, TRADE_LOTS])
        for interval in range(klines[INTERVALS]):
            add_trade(
                klines,
                tape[row, TRADE_ASSET],
                interval,
                tape[row, TRADE_TS],
                tape[row, TRADE_PRICE],
                tape[row, TRADE_LOTS],
                tape[row, TRADE_SIDE],
            )
    klines[ROLLED] = trade_count
    return int(lost)


def session(klines: Words, asset: int) -> tuple[int, int, int, int, int]:
    """Return last price, high, low, lots and number of trades of an asset since the beginning, at first zeros."""
    at = int(klines[SESSIONS_START]) + asset * SESSION_WORDS
    last, high, low, lots, trades = klines[at : at + SESSION_WORDS].tolist()
    return last, high, low, lots, trades


def candles(klines: Words, asset: int, interval: int, *, limit: int) -> Rows:
    """Return the newest candles of an interval (its index), oldest first, as rows of CANDLE_WORDS."""
    assets, intervals, capacity, blocks_start = (int(word) for word in klines[: BLOCKS_START + 1])
    if not (0 <= asset < assets and 0 <= interval < intervals):
        raise IndexError(f"no candles of asset {asset}, interval {interval}")
    block = blocks_start + (asset * intervals + interval) * (1 + capacity * CANDLE_WORDS)
    count = int(klines[block])
    shown = max(0, min(limit, count, capacity))
    ring = klines[block + 1 : block + 1 + capacity * CANDLE_WORDS].reshape(capacity, CANDLE_WORDS)
    rows: Rows = ring[np.arange(count - shown, count) % capacity]
    return rows
