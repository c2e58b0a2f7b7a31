"""The integer draws: right numbers, right shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agora.kernels.compiled import Words, compiled
from agora.kernels.population_draws import (
    MODULUS,
    ONE,
    below,
    draw,
    exp,
    exponential,
    log2,
    normal,
    seed_draws,
    sign,
    square_root,
    uniform,
)

DRAW, UNIFORM, SIGN, NORMAL, EXPONENTIAL, BELOW_7 = range(6)


@compiled
def drawn(state: Words, kind: int, numbers: Words) -> None:
    """Fill `numbers` with draws of a kind."""
    for place in range(numbers.shape[0]):
        if kind == DRAW:
            numbers[place] = draw(state, 0)
        elif kind == UNIFORM:
            numbers[place] = uniform(state, 0)
        elif kind == SIGN:
            numbers[place] = sign(state, 0)
        elif kind == NORMAL:
            numbers[place] = normal(state, 0)
        elif kind == EXPONENTIAL:
            numbers[place] = exponential(state, 0)
        else:
            numbers[place] = below(state, 0, 7)


@compiled
def mapped(kind: int, values: Words, results: Words) -> None:
    """Fill `results` with exp (0), log2 (1) or the square root (2) of values."""
    for place in range(values.shape[0]):
        if kind == 0:
            results[place] = exp(values[place])
        elif kind == 1:
            results[place] = log2(values[place])
        else:
            results[place] = square_root(values[place])


def sample(kind: int, count: int = 200_000, seed: int = 7) -> Words:
    """Draws of a kind from a seeded generator."""
    state = np.zeros(6, dtype=np.int64)
    seed_draws(state, np.random.Generator(np.random.PCG64(seed)).integers(0, 2**62, 6))
    numbers = np.zeros(count, dtype=np.int64)
    drawn(state, kind, numbers)
    return numbers


def results_of(kind: int, values: Words) -> Words:
    """What a function makes of values."""
    results = np.zeros_like(values)
    mapped(kind, values, results)
    return results


class TestGenerator:
    """The stream of bits."""

    def test_is_the_published_generator(self) -> None:
        """MRG32k3a from six words 12345 begins with 0.127011122046577 (L'Ecuyer's RngStreams)."""
        numbers = np.zeros(1, dtype=np.int64)
        drawn(np.full(6, 12_345, dtype=np.int64), DRAW, numbers)
        assert numbers[0] / (MODULUS + 1) == pytest.approx(0.127011122046577, abs=1e-12)

    def test_any_words_make_a_state(self) -> None:
        """Words of zero or of the largest size still give a generator that moves."""
        for word in (0, -1, 2**63 - 1, -(2**63)):
            state = np.zeros(6, dtype=np.int64)
            seed_draws(state, np.full(6, word, dtype=np.int64))
            numbers = np.zeros(10, dtype=np.int64)
            drawn(state, DRAW, numbers)
            assert len(set(numbers.tolist())) == 10, f"word {word}"


class TestShapes:
    """Distributions of draws."""

    def test_uniform_fills_its_range_evenly(self) -> None:
        """Every tenth of [0, 1) gets a tenth of the draws, within five errors."""
        counts = np.bincount(sample(UNIFORM) * 10 // ONE, minlength=10)
        assert len(counts) == 10
        assert np.abs(counts - 20_000).max() < 5 * math.sqrt(20_000)

    def test_below_gives_each_number_its_share(self) -> None:
        """Numbers below seven come up a seventh of the time each, within five errors."""
        counts = np.bincount(sample(BELOW_7), minlength=7)
        assert len(counts) == 7
        assert np.abs(counts - 200_000 / 7).max() < 5 * math.sqrt(200_000 / 7)

    def test_signs_balance(self) -> None:
        """Plus and minus one cancel out within five errors."""
        numbers = sample(SIGN)
        assert set(numbers.tolist()) == {-1, 1}
        assert abs(int(numbers.sum())) < 5 * math.sqrt(len(numbers))

    def test_normal_has_unit_variance_and_the_normal_fourth_moment(self) -> None:
        """Mean 0, variance 1 and kurtosis 3, within what 200,000 draws and 4,096 quantiles allow."""
        values = sample(NORMAL) / ONE
        assert abs(values.mean()) < 0.012
        assert values.var() == pytest.approx(1.0, abs=0.02)
        assert (values**4).mean() == pytest.approx(3.0, abs=0.12)

    def test_exponential_forgets(self) -> None:
        """Mean 1, and of those above 1 the same share is above 2."""
        values = sample(EXPONENTIAL) / ONE
        assert values.min() >= 0
        assert values.mean() == pytest.approx(1.0, abs=0.012)
        assert (values > 2).sum() / (values > 1).sum() == pytest.approx(math.exp(-1), abs=0.012)


class TestFunctions:
    """Fixed-point functions against those of the C library."""

    def test_exp_is_right_to_its_resolution(self) -> None:
        """Between -5 and 16, within two of the last places or a ten-millionth."""
        powers = np.linspace(-5 * ONE, 16 * ONE, 20_001).astype(np.int64)
        expected = np.exp(powers / ONE) * ONE
        assert (np.abs(results_of(0, powers) - expected) <= 2 + 6e-7 * expected).all()

    def test_log2_is_right_to_its_resolution(self) -> None:
        """From 1 to 2**40, within a few of the last places."""
        values = np.unique(np.geomspace(1, 2**40, 20_000).astype(np.int64))
        assert (np.abs(results_of(1, values) / ONE - np.log2(values)) < 3e-7).all()

    def test_square_root_is_exact(self) -> None:
        """The whole root, also around squares and at the largest arguments."""
        roots = np.array([1, 2, 3, 1_000, 2**20 + 1, 2**30 - 1], dtype=np.int64)
        values = np.concatenate([roots**2 - 1, roots**2, roots**2 + 1, [0, 2**62 - 1]])
        assert results_of(2, values).tolist() == [math.isqrt(value) for value in values.tolist()]
