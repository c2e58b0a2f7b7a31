"""Candles built trade by trade against candles computed from all trades at once."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from agora.kernels import klines as k
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import Rows

IS_COMPILED = not numba.config.DISABLE_JIT
TRADES = 3_000 if IS_COMPILED else 400
INTERVALS_NS = (10, 70, 1_000)


def random_tape(seed: int, count: int) -> Rows:
    """Trades of two assets in rising time."""
    rng = np.random.default_rng(seed)
    tape = layout.new_tape(trade_capacity=count)
    tape[:, layout.TRADE_ASSET] = rng.integers(0, 2, count)
    tape[:, layout.TRADE_PRICE] = rng.integers(90, 110, count)
    tape[:, layout.TRADE_LOTS] = rng.integers(1, 9, count)
    tape[:, layout.TRADE_SIDE] = rng.choice([1, -1], count)
    tape[:, layout.TRADE_TS] = np.cumsum(rng.integers(0, 8, count))
    return tape


def expected(tape: Rows, asset: int, length: int) -> list[tuple[int, ...]]:
    """The candles of an interval, from the list of trades."""
    found: dict[int, list[list[int]]] = {}
    for row in tape.tolist():
        if row[layout.TRADE_ASSET] == asset:
            found.setdefault(row[layout.TRADE_TS] // length * length, []).append(row)
    candles = []
    for start, rows in found.items():
        prices = [row[layout.TRADE_PRICE] for row in rows]
        lots = sum(row[layout.TRADE_LOTS] for row in rows)
        buy_lots = sum(row[layout.TRADE_LOTS] for row in rows if row[layout.TRADE_SIDE] > 0)
        candles.append((start, prices[0], max(prices), min(prices), prices[-1], lots, len(rows), buy_lots))
    return candles


@pytest.mark.parametrize("seed", range(4))
def test_candles_equal_those_of_the_whole_list(seed: int) -> None:
    """For every asset and interval, however the trades were cut into calls."""
    tape = random_tape(seed, TRADES)
    klines = k.new_klines(assets=2, intervals_ns=INTERVALS_NS, capacity=TRADES)
    rng = np.random.default_rng([seed, 1])
    for upto in sorted({*rng.integers(0, TRADES, 30).tolist(), TRADES}):
        assert k.add_trades(klines, tape, upto) == 0
    for asset in range(2):
        for number, length in enumerate(INTERVALS_NS):
            rows = [tuple(row) for row in k.candles(klines, asset, number, limit=TRADES).tolist()]
            assert rows == expected(tape, asset, length), f"seed {seed}, asset {asset}, interval {length}"


def test_trades_that_the_tape_overwrote_are_counted_as_lost() -> None:
    """Of ten trades on a tape of four, six are gone."""
    klines = k.new_klines(assets=1, intervals_ns=(10,), capacity=4)
    tape = layout.new_tape(trade_capacity=4)
    tape[:, layout.TRADE_PRICE], tape[:, layout.TRADE_LOTS] = 100, 1
    assert k.add_trades(klines, tape, 10) == 6
    assert k.session(klines, 0) == (100, 100, 100, 4, 4)
    assert k.add_trades(klines, tape, 10) == 0


def test_there_is_nothing_to_build_without_assets_or_intervals() -> None:
    """Shapes that make no sense are refused, and so are candles of what is not there."""
    with pytest.raises(ValueError, match="nothing to build"):
        k.new_klines(assets=0, intervals_ns=(1,), capacity=1)
    with pytest.raises(ValueError, match="nothing to build"):
        k.new_klines(assets=1, intervals_ns=(), capacity=1)
    klines = k.new_klines(assets=1, intervals_ns=(1,), capacity=1)
    with pytest.raises(IndexError, match="interval 1"):
        k.candles(klines, 0, 1, limit=1)
