"""The fill kernel against its plain twin on seeded random histories, its invariants, and its compilation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.kernels import fills as k
from tests.kernels.fill_streams import Call, Kernel, Stream, kernel_digest, make_twin, twin_rows

ROOT = Path(__file__).resolve().parents[2]
IS_COMPILED = not numba.config.DISABLE_JIT
# Uncompiled the kernel is some fifty times slower, so fewer histories keep the test in seconds.
SEEDS = range(240) if IS_COMPILED else range(16)
CALLS = 300
DIGEST_SEEDS, DIGEST_CALLS = 8, 120


@pytest.mark.parametrize("seed", SEEDS)
def test_kernel_and_twin_report_the_same_rows(seed: int) -> None:
    """Over a random history on each input level, every row, the position and the open orders agree."""
    stream = Stream(seed)
    calls = stream.calls(CALLS)
    kernel, twin = Kernel(stream.shape), make_twin(stream.shape)
    for number, call in enumerate(calls):
        rows, expected = kernel.play(call), twin_rows(twin, call)
        assert rows == expected, f"seed {seed}, call {number}: {call} under {stream.shape}"
        assert k.position(kernel.buf) == twin.position
        assert k.open_count(kernel.buf) == len(twin.orders)


def test_random_histories_reach_every_code_and_reason() -> None:
    """The comparison is worth something: its histories meet each code and each reason there is."""
    seen: set[tuple[int, int]] = set()
    for seed in SEEDS:
        stream = Stream(seed)
        calls = stream.calls(CALLS)
        twin = make_twin(stream.shape)
        seen.update((row[0], row[4]) for call in calls for row in twin_rows(twin, call))
    assert {code for code, _ in seen} == set(range(k.ACCEPTED, k.CANCEL_REJECTED + 1))
    assert {reason for code, reason in seen if code != k.FILL} == set(range(k.EXPIRED_ON_ARRIVAL + 1))


seeds = st.integers(min_value=0, max_value=10**9)


def _play(seed: int, count: int) -> tuple[list[Call], list[list[tuple[int, ...]]], Kernel]:
    stream = Stream(seed)
    calls = [call for call in stream.calls(count) if call[0] != "set_position"]
    kernel = Kernel(stream.shape)
    return calls, [kernel.play(call) for call in calls], kernel


@given(seed=seeds)
def test_the_position_is_the_sum_of_all_fills(seed: int) -> None:
    """Lots neither appear nor vanish: signed fills of all orders add up to the position."""
    calls, answers, kernel = _play(seed, 120)
    total, sides = 0, {}
    for (name, arguments), rows in zip(calls, answers, strict=True):
        if name == "arrive" and any(row[0] == k.ACCEPTED for row in rows):
            sides[arguments[1]] = arguments[2]
        total += sum(sides[row[1]] * row[3] for row in rows if row[0] == k.FILL)
    assert total == k.position(kernel.buf)


@given(seed=seeds)
def test_limits_hold_and_no_fill_is_empty(seed: int) -> None:
    """A limit order never fills at a worse price than its limit at that time, and no fill is empty."""
    calls, answers, _ = _play(seed, 120)
    limits: dict[int, tuple[int, int]] = {}
    for (name, arguments), rows in zip(calls, answers, strict=True):
        for code, order_id, price, size, _, left in rows:
            if code == k.ACCEPTED and name == "arrive":
                limits.pop(order_id, None)
                if arguments[3] == k.LIMIT:
                    limits[order_id] = (arguments[2], price)
            if code == k.AMENDED and order_id in limits:
                limits[order_id] = (limits[order_id][0], price)
            if code == k.FILL:
                assert size > 0
                assert left >= 0
                side, limit = limits.get(order_id, (0, 0))
                assert price * side <= limit * side, f"order {order_id} of side {side} at {price}, limit {limit}"


@given(seed=seeds)
def test_no_order_fills_more_than_was_ordered(seed: int) -> None:
    """Each fill leaves what was left before less its size; a leg fills no more than its parent did."""
    calls, answers, _ = _play(seed, 120)
    left: dict[int, int] = {}
    parents: dict[int, int] = {}
    filled: Counter[int] = Counter()
    filled_as_leg: Counter[int] = Counter()
    amended: set[int] = set()  # a leg may be given another size by hand
    for (name, arguments), rows in zip(calls, answers, strict=True):
        for code, order_id, _, size, detail, after in rows:
            if code == k.ACCEPTED and name == "arrive":
                amended.discard(order_id)
                parents[order_id] = arguments[10]
                filled_as_leg[order_id] = 0
            if code in (k.ACCEPTED, k.AMENDED):
                left[order_id] = after
            if code == k.AMENDED and detail == k.NO_REASON:
                amended.add(order_id)
            if code != k.FILL:
                continue
            filled[order_id] += size
            filled_as_leg[order_id] += size
            assert after >= 0
            if parents[order_id]:
                assert order_id in amended or filled_as_leg[order_id] <= filled[parents[order_id]]
            else:
                assert after == left[order_id] - size
            left[order_id] = after


@given(
    seed=seeds,
    price=st.integers(995, 1005),
    size=st.integers(1, 50),
    aggressor=st.sampled_from([k.SELL, 0, k.BUY]),
)
def test_a_trade_gives_resting_orders_no_more_than_its_size(seed: int, price: int, size: int, aggressor: int) -> None:
    """Whatever stood at the venue, the maker fills of one trade add up to at most the traded lots."""
    _, _, kernel = _play(seed, 80)
    rows = kernel.play(("on_trade", (10**6, price, size, aggressor)))
    assert sum(row[3] for row in rows if row[0] == k.FILL and row[4] == 0) <= size


@given(seed=seeds, volume=st.integers(0, 2000))
def test_a_bar_gives_no_more_than_our_share_of_its_volume(seed: int, volume: int) -> None:
    """Whatever stood at the venue, the fills of one bar add up to at most our share, rounded down."""
    stream = Stream(seed // 4 * 4)  # seeds divisible by four see candles alone
    kernel = Kernel(stream.shape)
    for call in stream.calls(80):
        kernel.play(call)
    rows = kernel.play(("on_candle", (10**6, 1000, 1100, 900, 1000, volume)))
    share = volume * stream.shape.participation_ppm // 1_000_000
    assert sum(row[3] for row in rows if row[0] == k.FILL) <= share


def test_uncompiled_and_compiled_kernels_write_the_same_bits() -> None:
    """A process with NUMBA_DISABLE_JIT=1 gets the digest of rows and buffers that this process gets."""
    command = [sys.executable, "-m", "tests.kernels.fill_streams", str(DIGEST_SEEDS), str(DIGEST_CALLS)]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=100)
    assert answer.stdout == kernel_digest(range(DIGEST_SEEDS), DIGEST_CALLS)


@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled with NUMBA_DISABLE_JIT=1")
def test_warming_up_compiles_each_public_function_once() -> None:
    """After warm_up no public function is left to compile, and none was compiled for two kinds of call."""
    k.warm_up()
    Kernel(Stream(0).shape).play(("on_depth", (1, ((1, 1000, 5),), True)))
    compiled = {name: getattr(k, name) for name in k.__all__ if hasattr(getattr(k, name), "overloads")}
    assert {"arrive", "on_quote", "remaining", "depth_lost"} <= compiled.keys()
    assert {name: len(function.overloads) for name, function in compiled.items()} == dict.fromkeys(compiled, 1)
