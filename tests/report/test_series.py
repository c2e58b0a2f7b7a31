"""Curves, distributions and statistics in fixed memory."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.report.series import (
    BUCKET_RATIO,
    BUCKETS_MAX,
    NS_PER_HOUR,
    NS_PER_MINUTE,
    POINTS_MAX,
    Distribution,
    EquityStatistics,
    Returns,
    Series,
)

SECOND_NS = 1_000_000_000


def test_a_short_curve_keeps_every_sample() -> None:
    """Nothing is merged while there is room."""
    series = Series()
    for number in range(BUCKETS_MAX):
        series.add(number, float(number % 7))
    assert [(point.ts_ns, point.value) for point in series.points()] == [
        (number, float(number % 7)) for number in range(BUCKETS_MAX)
    ]


@given(st.integers(0, 2**32), st.integers(BUCKETS_MAX, 20 * BUCKETS_MAX))
def test_a_long_curve_is_bounded_and_keeps_its_extremes(seed: int, length: int) -> None:
    """However long: at most POINTS_MAX + 2 points in order of time, the ends and the extremes among them."""
    values = np.random.default_rng(seed).uniform(-1, 1, length).tolist()
    series = Series()
    for number, value in enumerate(values):
        series.add(number, value)
    points = series.points()
    times = [point.ts_ns for point in points]
    shown = [point.value for point in points]
    assert len(points) <= POINTS_MAX + 2
    assert times == sorted(times)
    assert (shown[0], shown[-1]) == (values[0], values[-1])
    assert (min(shown), max(shown)) == (min(values), max(values))
    assert all(values[point.ts_ns] == point.value for point in points)


def test_a_curve_without_samples_has_no_points() -> None:
    """A run that ended at once still has a report."""
    assert Series().points() == []


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_percentiles_are_within_one_bucket_of_the_exact_ones(samples: list[float], fraction: float) -> None:
    """A percentile is off by no more than the 2 % of a bucket."""
    distribution = Distribution()
    for sample in samples:
        distribution.add(sample)
    exact = sorted(samples)[max(1, math.ceil(fraction * len(samples))) - 1]
    found = distribution.percentile(fraction)
    assert found is not None
    assert exact / BUCKET_RATIO - 1e-4 <= found <= exact * BUCKET_RATIO + 1e-4


@given(st.lists(st.floats(-5, 1e9), max_size=300))
def test_bars_hold_every_sample_once(samples: list[float]) -> None:
    """The bars of a plot add up to the samples, from far below a microsecond to far above an hour."""
    distribution = Distribution()
    for sample in samples:
        distribution.add(sample)
    bars = distribution.bars(20)
    assert sum(bar.count for bar in bars) == len(samples) == distribution.count
    assert len(bars) <= 20
    assert all(bar.low_ms < bar.high_ms for bar in bars)


def test_a_distribution_without_samples_has_no_percentile() -> None:
    """Nothing measured is None, not zero."""
    assert Distribution().percentile(0.99) is None


def equity_run(values: list[float], step_ns: int) -> EquityStatistics:
    """Statistics of equity sampled at equal steps."""
    run = EquityStatistics()
    for number, value in enumerate(values):
        run.add(number * step_ns, value)
    return run


@pytest.mark.requirement("B20")
def test_drawdown_is_the_largest_fall_from_the_highest_equity_so_far() -> None:
    """100, 120, 90, 130, 110: the fall from 120 to 90 is a quarter; that from 130 to 110 is smaller."""
    run = equity_run([100.0, 120.0, 90.0, 130.0, 110.0], SECOND_NS)
    assert run.max_drawdown_fraction == pytest.approx(0.25)
    assert [point.value for point in run.drawdown.points()] == pytest.approx([0, 0, -0.25, 0, -20 / 130])


def test_equity_that_only_rises_has_no_drawdown() -> None:
    """No fall, no drawdown."""
    assert equity_run([1.0, 2.0, 3.0], SECOND_NS).max_drawdown_fraction == 0.0


@pytest.mark.requirement("B20")
def test_sharpe_is_the_annualised_mean_over_the_deviation_of_minute_returns() -> None:
    """On a known series it is what the textbook gives."""
    steps = np.random.default_rng(5).normal(0.0001, 0.001, 60).tolist()
    values = [1_000.0]
    for step in steps:
        values.append(values[-1] * (1 + step))
    # The value at the end of a period is the last one before it, so each return shows one minute later.
    run = equity_run([*values, values[-1]], NS_PER_MINUTE)
    returns = [0.0, *steps]
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(525_600)
    sharpe, period = run.sharpe(61 * NS_PER_MINUTE)
    assert (sharpe, period) == (pytest.approx(expected, rel=1e-6), "minute")


def test_a_run_of_more_than_two_days_is_measured_by_the_hour() -> None:
    """Hourly returns, annualised by the hours of a year."""
    values = [1_000.0 + (number % 3) for number in range(72)]
    run = equity_run(values, NS_PER_HOUR)
    sharpe, period = run.sharpe(71 * NS_PER_HOUR)
    returns = Returns(NS_PER_HOUR)
    returns.begin(0, values[0])
    for number in range(1, 72):
        returns.close_periods(number * NS_PER_HOUR, values[number - 1])
    assert period == "hour"
    assert sharpe == returns.sharpe(8_760)


@pytest.mark.parametrize("periods", [0, 1, 29])
def test_too_few_returns_give_no_sharpe_ratio(periods: int) -> None:
    """Below thirty returns the ratio is null."""
    run = equity_run([1_000.0 + number % 2 for number in range(periods + 1)], NS_PER_MINUTE)
    assert run.sharpe(periods * NS_PER_MINUTE)[0] is None


def test_thirty_returns_give_a_sharpe_ratio() -> None:
    """The bound itself is enough."""
    run = equity_run([1_000.0 + number % 2 for number in range(31)], NS_PER_MINUTE)
    assert run.sharpe(30 * NS_PER_MINUTE)[0] is not None


@pytest.mark.parametrize("growth", [1.0, 1.01])
def test_returns_that_do_not_differ_give_no_sharpe_ratio(growth: float) -> None:
    """A deviation of nothing but rounding is no denominator."""
    returns = Returns(NS_PER_MINUTE)
    returns.begin(0, 1_000.0)
    for number in range(1, 101):
        returns.close_periods(number * NS_PER_MINUTE, 1_000.0 * growth**number)
    assert returns.count == 100
    assert returns.sharpe(525_600) is None


def test_minutes_without_news_returned_nothing() -> None:
    """A silent hour is sixty returns of which only the first may differ from zero."""
    quiet, told = Returns(NS_PER_MINUTE), Returns(NS_PER_MINUTE)
    for returns in (quiet, told):
        returns.begin(0, 100.0)
    quiet.close_periods(60 * NS_PER_MINUTE, 101.0)
    for number in range(1, 61):
        told.close_periods(number * NS_PER_MINUTE, 101.0)
    assert quiet.count == told.count == 60
    assert quiet.sharpe(525_600) == told.sharpe(525_600)
