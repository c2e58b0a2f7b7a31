"""The latency of orders: bounds, reproducibility, and the shape of each model."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.kernels.latency import (
    FIXED,
    LATENCY_NS_MAX,
    LOGNORMAL,
    SIGMA_PPM_MAX,
    UNIFORM,
    order_latency_ns,
)

MS = 1_000_000
MODELS = [(FIXED, 70 * MS, 0), (UNIFORM, 50 * MS, 500 * MS), (LOGNORMAL, 120 * MS, 600_000)]

pytestmark = [pytest.mark.requirement("B16"), pytest.mark.requirement("H2.1")]


@pytest.mark.parametrize("model, a, b", MODELS)
@given(seed=st.integers(0, 2**64 - 1), number=st.integers(0, 10**12))
def test_an_order_has_one_latency(model: int, a: int, b: int, seed: int, number: int) -> None:
    """Seed and order number decide alone: asking again, in any sequence, gives the same answer in bounds."""
    first = order_latency_ns(seed, number, model=model, a=a, b=b)
    order_latency_ns(seed, number + 1, model=model, a=a, b=b)
    assert order_latency_ns(seed, number, model=model, a=a, b=b) == first
    assert 0 <= first <= LATENCY_NS_MAX


def test_fixed_latency_is_the_given_one() -> None:
    """The fixed model gives its number for every order."""
    assert {order_latency_ns(7, n, model=FIXED, a=5 * MS) for n in range(50)} == {5 * MS}


def test_uniform_latency_covers_its_range_evenly_and_stays_inside() -> None:
    """Of 20,000 draws between 50 and 500 ms each tenth of the range gets its tenth, within 10 %."""
    draws = [order_latency_ns(1, n, model=UNIFORM, a=50 * MS, b=500 * MS) for n in range(20_000)]
    assert 50 * MS <= min(draws) < 51 * MS
    assert 499 * MS < max(draws) <= 500 * MS
    tenths = [0] * 10
    for draw in draws:
        tenths[min(9, (draw - 50 * MS) // (45 * MS))] += 1
    assert all(1800 < count < 2200 for count in tenths), tenths


def test_uniform_bounds_are_both_reached() -> None:
    """A range of three numbers gives all three."""
    assert {order_latency_ns(3, n, model=UNIFORM, a=4, b=6) for n in range(100)} == {4, 5, 6}


def test_lognormal_latency_has_its_median_and_spread() -> None:
    """Half of the draws lie below the median, and about 84 % below the median times e to the sigma."""
    draws = sorted(order_latency_ns(1, n, model=LOGNORMAL, a=100 * MS, b=500_000) for n in range(20_000))
    assert median(draws) == pytest.approx(100 * MS, rel=0.02)
    assert draws[int(0.8413 * len(draws))] == pytest.approx(100 * MS * 1.6487, rel=0.03)


def test_a_lognormal_tail_is_cut_at_a_minute() -> None:
    """A median above the cap always gives the cap when the spread is nothing."""
    assert order_latency_ns(1, 1, model=LOGNORMAL, a=2 * LATENCY_NS_MAX, b=0) == LATENCY_NS_MAX


def test_seeds_and_numbers_give_unrelated_draws() -> None:
    """Neighbouring seeds and numbers share no sequence: 2,000 draws of a wide range are all different."""
    draws = {order_latency_ns(seed, n, model=UNIFORM, a=0, b=10**15) for seed in range(40) for n in range(50)}
    assert len(draws) == 2000


def test_known_draws_never_change() -> None:
    """Recorded runs depend on these numbers: the same on every machine and version."""
    drawn = [order_latency_ns(42, n, model=model, a=a, b=b) for model, a, b in MODELS for n in (0, 1)]
    assert drawn == [70_000_000, 70_000_000, 318_253_492, 124_879_011, 166_221_849, 355_125_506]


@pytest.mark.parametrize(
    "model, a, b",
    [
        (0, 1, 1),
        (4, 1, 1),
        (FIXED, -1, 0),
        (UNIFORM, 5, 4),
        (LOGNORMAL, 5, SIGMA_PPM_MAX + 1),
        (UNIFORM, -2, -1),
    ],
)
def test_impossible_models_are_refused(model: int, a: int, b: int) -> None:
    """A latency model that cannot be drawn from raises instead of giving a number."""
    with pytest.raises(ValueError, match="latency"):
        order_latency_ns(1, 1, model=model, a=a, b=b)
