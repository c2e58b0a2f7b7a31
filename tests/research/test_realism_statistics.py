"""Estimators against series whose truth is known, and against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.research import realism_statistics as statistics
from agora.research.realism_statistics import Floats
from tests.research.realism_builders import draws, garch_days, gaussian_days


@pytest.mark.parametrize("exponent", [2.0, 3.0, 5.0])
def test_hill_finds_the_exponent_of_a_pareto_tail(exponent: float) -> None:
    """A Pareto sample gives its own exponent back, whatever the unit."""
    sample = 7e-4 * (1 - draws(1).random(200_000)) ** (-1 / exponent)
    assert statistics.hill_exponent(sample, 0.025) == pytest.approx(exponent, rel=0.05)


def test_hill_is_the_formula() -> None:
    """Two of four in the tail: 2 / (log(8 / 2) + log(4 / 2))."""
    assert statistics.hill_exponent(np.array([1.0, 8.0, 2.0, 4.0]), 0.5) == pytest.approx(2 / (3 * math.log(2)))


@pytest.mark.parametrize("values", [[], [1.0], [0.0] * 100, [2.0] * 100], ids=["none", "one", "zeros", "equal"])
def test_hill_says_nan_where_there_is_no_tail(values: list[float]) -> None:
    """Without two different values in the tail there is no exponent."""
    assert math.isnan(statistics.hill_exponent(np.array(values), 0.025))


@pytest.mark.parametrize(
    "values, expected",
    [([-1.0, 1.0], -2.0), ([-1.0, 0.0, 0.0, 1.0], -1.0), ([0.0] * 9 + [10.0], 1 / 0.09 - 3 - 3)],
    ids=["coin", "trinomial", "one jump"],
)
def test_kurtosis_is_that_of_the_textbook(values: list[float], expected: float) -> None:
    """Fourth central moment over squared variance, minus 3; a Bernoulli with p has 1 / (p q) - 6."""
    assert statistics.excess_kurtosis(np.array(values)) == pytest.approx(expected)


def test_kurtosis_of_a_constant_is_nan() -> None:
    """No variance, no kurtosis."""
    assert math.isnan(statistics.excess_kurtosis(np.ones(10)))


def test_sums_of_neighbours_do_not_straddle_segments() -> None:
    """Every window inside a segment is summed, none across two, and short segments give none."""
    segments = [np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0]), np.array([100.0])]
    assert [list(sums) for sums in statistics.overlapping_sums(segments, 2)] == [[3.0, 5.0], [30.0]]


def plain_autocorrelation(segments: list[Floats], lag: int) -> float:
    """The definition, pair by pair."""
    values = [float(value) for segment in segments for value in segment]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    products = [
        (float(late) - mean) * (float(early) - mean)
        for segment in segments
        for late, early in zip(segment[lag:], segment[:-lag], strict=True)
    ]
    return sum(products) / len(products) / variance


def test_autocorrelations_are_those_of_the_definition_inside_segments() -> None:
    """The Fourier transform gives what summing pair by pair gives, with no pair across two segments."""
    segments = [draws(seed).standard_normal(length) + 5 * seed for seed, length in enumerate((30, 7, 50))]
    found = statistics.autocorrelations(segments, 6)
    assert found == pytest.approx([plain_autocorrelation(segments, lag) for lag in range(1, 7)])


def test_autocorrelations_without_pairs_are_nan() -> None:
    """A lag that no segment reaches has no value, and neither has a series without variance."""
    assert np.isnan(statistics.autocorrelations([np.array([1.0, 2.0])], 3)[1:]).all()
    assert np.isnan(statistics.autocorrelations([np.ones(10)], 3)).all()
    assert np.isnan(statistics.autocorrelations([], 3)).all()


def rejections(seeds: range, *, is_robust: bool) -> int:
    """How often ten lags of an uncorrelated GARCH are called correlated at 1 %."""
    count = 0
    for seed in seeds:
        days = garch_days(seed)
        scores = statistics.robust_scores(days, 10)
        if not is_robust:
            scores = statistics.autocorrelations(days, 10) * math.sqrt(statistics.sample_size(days))
        count += statistics.chi_square_tail(float((scores**2).sum()), 10) < 0.01
    return count


def test_the_robust_test_keeps_its_size_where_the_common_one_does_not() -> None:
    """Under GARCH the errors 1 / sqrt(n) reject a third of true nulls at 1 %; the robust ones next to none."""
    seeds = range(40)
    assert rejections(seeds, is_robust=True) <= 2
    assert rejections(seeds, is_robust=False) >= 12


def test_robust_scores_of_independent_values_are_standard_normal() -> None:
    """Their mean square over many lags and days is 1."""
    scores = statistics.robust_scores(gaussian_days(3, days=40), 200)
    assert float((scores**2).mean()) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    "value, freedom, expected",
    [(18.307, 10, 0.05), (23.209, 10, 0.01), (5.991, 2, 0.05), (0.0, 4, 1.0)],
)
def test_the_chi_square_tail_is_that_of_the_tables(value: float, freedom: int, expected: float) -> None:
    """Printed quantiles give their levels back."""
    assert statistics.chi_square_tail(value, freedom) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("freedom", [0, 1, 9])
def test_the_chi_square_tail_refuses_what_has_no_closed_form(freedom: int) -> None:
    """An odd number of degrees is refused instead of answered with a neighbour's."""
    with pytest.raises(ValueError, match="even"):
        statistics.chi_square_tail(1.0, freedom)


def test_the_normal_tail_is_that_of_the_tables() -> None:
    """5 % lie beyond 1.645 and half beyond 0."""
    assert statistics.normal_tail(1.6449) == pytest.approx(0.05, rel=1e-3)
    assert statistics.normal_tail(0.0) == 0.5


@pytest.mark.parametrize("exponent", [-1.2, -0.35, 0.5, 1.0])
def test_a_power_law_is_found_exactly_without_noise(exponent: float) -> None:
    """Scale and exponent come back from points that lie on the law."""
    arguments = np.geomspace(1, 1_000, 30)
    law = statistics.fit_power_law(arguments, 0.2 * arguments**exponent, np.ones(30))
    assert law.exponent == pytest.approx(exponent, abs=0.001)
    assert law.scale == pytest.approx(0.2, rel=0.01)


def test_a_power_law_is_found_under_noise_that_turns_points_negative() -> None:
    """Points below 0 count as points: dropping them would lift the tail and flatten the law."""
    lags = np.arange(1.0, 1_001.0)
    noisy = 0.3 * lags**-0.5 + 0.05 * draws(5).standard_normal(1_000)
    assert (noisy < 0).sum() > 100
    assert statistics.decay_law(noisy).exponent == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize(
    "values",
    [-np.ones(20), np.full(20, math.nan), np.zeros(20), np.arange(20.0) ** 9],
    ids=["negative", "nan", "zero", "too steep"],
)
def test_no_power_law_is_found_where_none_is(values: Floats) -> None:
    """Not a number instead of the edge of the search."""
    assert math.isnan(statistics.decay_law(values).exponent)


def test_the_jackknife_knows_the_error_of_a_mean() -> None:
    """Over many seeds it agrees with the textbook's sigma / sqrt(n)."""

    def mean(segments: statistics.Segments) -> float:
        return float(statistics.joined(segments).mean())

    errors = [statistics.jackknife(list(draws(seed).standard_normal((4, 100))), mean).error for seed in range(60)]
    assert float(np.mean(errors)) == pytest.approx(1 / math.sqrt(400), rel=0.1)


def test_the_jackknife_of_rows_knows_the_error_of_a_mean() -> None:
    """As for series, with rows."""
    errors = [
        statistics.jackknife_rows(draws(seed).standard_normal((400, 2)), lambda rows: float(rows[:, 1].mean())).error
        for seed in range(60)
    ]
    assert float(np.mean(errors)) == pytest.approx(1 / math.sqrt(400), rel=0.1)


def test_the_jackknife_leaves_out_each_stretch_once() -> None:
    """Each value is missing from exactly one part, and a cut segment becomes two, never one with a seam."""
    seen: list[list[list[float]]] = []

    def note(segments: statistics.Segments) -> float:
        seen.append([list(segment) for segment in segments])
        return 0.0

    statistics.jackknife([np.arange(15.0), np.arange(15.0, 20.0)], note)
    parts, whole = seen[:-1], seen[-1]
    assert whole == [list(np.arange(15.0)), list(np.arange(15.0, 20.0))]
    missing = [set(range(20)) - {int(value) for part in parted for value in part} for parted in parts]
    assert [sorted(part) for part in missing] == [[2 * part, 2 * part + 1] for part in range(10)]
    assert parts[1] == [[0.0, 1.0], [float(value) for value in range(4, 15)], [15.0, 16.0, 17.0, 18.0, 19.0]]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_ranks_share_the_mean_of_their_ties(values: list[int]) -> None:
    """The rank of a value is how many are smaller plus half of the others that are equal."""
    expected = [sum(other < value for other in values) + (values.count(value) - 1) / 2 for value in values]
    assert list(statistics.ranks(np.array(values, np.float64))) == pytest.approx(expected)


def test_rank_correlation_follows_any_monotone_law() -> None:
    """1 for a curve that only rises, -1 for one that only falls, nan for a constant."""
    left = [draws(1).standard_normal(100)]
    assert statistics.rank_correlation(left, [np.exp(left[0])]).value == pytest.approx(1.0)
    assert statistics.rank_correlation(left, [-(left[0] ** 3)]).value == pytest.approx(-1.0)
    assert math.isnan(statistics.rank_correlation(left, [np.ones(100)]).value)


def test_rank_correlation_allows_for_the_clustering_of_both() -> None:
    """Two independent slow series are rarely called correlated; with errors for independence they often are."""
    proven = naive = 0
    for seed in range(60):
        left, right = draws(seed).standard_normal((2, 2_020))
        slow = [np.convolve(series, np.ones(20), mode="valid") for series in (left, right)]
        found = statistics.rank_correlation([slow[0]], [slow[1]])
        proven += abs(found.value) > 2.576 * found.error
        naive += abs(found.value) > 2.576 / math.sqrt(len(slow[0]))
    assert proven <= 6
    assert naive >= 20
