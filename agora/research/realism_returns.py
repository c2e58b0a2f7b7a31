"""The stylised facts of returns: heavy tails that thin out with scale, no linear dependence, clustered volatility.

Holds the bands of these facts; estimators are in `realism_statistics`. After Cont (2001), "Empirical properties of
asset returns: stylized facts and statistical issues".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agora.research import realism_statistics as statistics
from agora.research.realism_sample import MarketSample, magnitudes_of, returns_of
from agora.research.realism_statistics import Estimate, Floats, PowerLaw, Segments
from agora.research.realism_verdicts import MINUTES_MIN, PROOF_SCORE, Band, Fact, Row, Verdict, number_or_none

# Hill's estimator at 2.5 %: deep enough that a Gaussian shows 7 instead of 6, shallow enough for a few days.
TAIL_FRACTION = 0.025
TAIL_BAND: Band = (2.0, 5.0)
KURTOSIS_BAND: Band = (1.0, None)
# 1 against 15 minutes is the fact judged; 5 and 30 are told beside it, 30 being a handful of returns a day.
SCALES_MIN = (1, 5, 15, 30)
LONG_SCALE_MIN = 15
# Bouncing between bid and ask pushes lag 1 down (Roll 1984), so down is wider than up, which is momentum that
# anyone could trade. SPY by day shows -0.09, BTC by minute -0.01.
LAG_1_BAND: Band = (-0.2, 0.1)
# Lags 2 to 11: ten, because an even number gives the test a closed form.
LAGS_MAX = 11
# One false alarm in a hundred runs of a market without dependence.
PORTMANTEAU_LEVEL = 0.01
# What is proven in a very long sample may still be too small to matter: it explains a four-hundredth of the variance.
CORRELATION_OF_NOTE = 0.05
# The decay is fitted over 100 minutes: a session of 390 holds several times that.
DECAY_LAGS = 100
DECAY_BAND: Band = (0.1, 0.6)


# Tails.


def tail_exponent(samples: Sequence[MarketSample]) -> Row:
    """Hill exponent of 1-minute |returns|: a power law with finite variance and without finite fifth moment."""
    magnitudes = magnitudes_of(samples)
    size = statistics.sample_size(magnitudes)
    fact = Fact(
        name="tail_exponent",
        statistic=f"Hill exponent of 1-minute |returns|, largest {100 * TAIL_FRACTION:g} %",
        band=TAIL_BAND,
        n=size,
        n_min=MINUTES_MIN,
    )
    return fact.judged(statistics.jackknife(magnitudes, _hill), f"{int(TAIL_FRACTION * size)} returns in the tail")


def _hill(magnitudes: Segments) -> float:
    return statistics.hill_exponent(statistics.joined(magnitudes), TAIL_FRACTION)


def kurtosis(samples: Sequence[MarketSample]) -> Row:
    """Excess kurtosis at 1 minute; undecided where it rests on a single return."""
    returns = returns_of(samples)
    fact = Fact(
        name="kurtosis",
        statistic="excess kurtosis of 1-minute returns",
        band=KURTOSIS_BAND,
        n=statistics.sample_size(returns),
        n_min=MINUTES_MIN,
    )
    estimate = statistics.jackknife(returns, _kurtosis_at_1)
    row = fact.judged(estimate, "")
    if row.verdict is not Verdict.PASS:
        return row
    values = statistics.joined(returns)
    rest = statistics.excess_kurtosis(np.delete(values, np.abs(values).argmax()))
    if not rest > 1:
        return fact.said(Verdict.WARN, f"rests on a single return: {rest:.2f} without the largest", estimate)
    return fact.said(Verdict.PASS, f"{rest:.2f} without the largest return", estimate)


def _kurtosis_at_1(returns: Segments) -> float:
    return _kurtosis_at(returns, 1)


def _kurtosis_at(returns: Segments, minutes: int) -> float:
    return statistics.excess_kurtosis(statistics.joined(statistics.overlapping_sums(returns, minutes)))


def kurtosis_by_scale(samples: Sequence[MarketSample]) -> dict[int, float]:
    """Excess kurtosis of returns over 1, 5, 15 and 30 minutes."""
    returns = returns_of(samples)
    return {minutes: _kurtosis_at(returns, minutes) for minutes in SCALES_MIN}


def aggregation(samples: Sequence[MarketSample]) -> Row:
    """Returns come nearer to a Gaussian over longer times; undecided where there is nothing to fall."""
    returns = returns_of(samples)
    fact = Fact(
        name="aggregation",
        statistic=f"kurtosis at {LONG_SCALE_MIN} minutes over kurtosis at 1 minute",
        band=(None, 1.0),
        n=statistics.sample_size(returns),
        n_min=MINUTES_MIN,
    )
    scales = kurtosis_by_scale(samples)
    detail = ", ".join(f"{value:.2f} at {minutes} min" for minutes, value in scales.items())
    estimate = statistics.jackknife(returns, _kurtosis_ratio)
    if fact.n >= MINUTES_MIN and scales[1] <= 1:
        return fact.said(Verdict.WARN, f"no heavy tails at 1 minute that could fall; {detail}", estimate)
    return fact.judged(estimate, f"excess {detail}")


def _kurtosis_ratio(returns: Segments) -> float:
    return (_kurtosis_at(returns, LONG_SCALE_MIN) + 3) / (_kurtosis_at(returns, 1) + 3)


# Dependence.


def lag_1(samples: Sequence[MarketSample]) -> Row:
    """Linear dependence from one minute to the next stays within what quotes and queues explain."""
    returns = returns_of(samples)
    fact = Fact(
        name="autocorrelation_lag_1",
        statistic="autocorrelation of 1-minute returns at lag 1",
        band=LAG_1_BAND,
        n=statistics.sample_size(returns),
        n_min=MINUTES_MIN,
    )
    correlations, errors = correlations_with_errors(returns)
    return fact.judged(Estimate(float(correlations[0]), float(errors[0])), "")


def correlations_with_errors(returns: Segments) -> tuple[Floats, Floats]:
    """Autocorrelations at lags 1 to 11 and their heteroskedasticity-robust errors."""
    correlations = statistics.autocorrelations(returns, LAGS_MAX)
    scores = statistics.robust_scores(returns, LAGS_MAX)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors: Floats = np.abs(correlations / scores)
    return correlations, errors


def lags_beyond(samples: Sequence[MarketSample]) -> Row:
    """No linear dependence at lags 2 to 11, by a test whose size holds under clustered volatility."""
    returns = returns_of(samples)
    fact = Fact(
        name="autocorrelation_beyond",
        statistic=f"robust portmanteau test of lags 2 to {LAGS_MAX}, p-value",
        band=(PORTMANTEAU_LEVEL, 1.0),
        n=statistics.sample_size(returns),
        n_min=MINUTES_MIN,
    )
    scores = statistics.robust_scores(returns, LAGS_MAX)[1:]
    if fact.n < MINUTES_MIN or not np.isfinite(scores).all():
        return fact.judged(Estimate(math.nan, math.nan), "")
    value = statistics.chi_square_tail(float((scores**2).sum()), len(scores))
    correlations, errors = correlations_with_errors(returns)
    lag = int(np.abs(correlations[1:]).argmax()) + 1
    largest, error = float(correlations[lag]), float(errors[lag])
    detail = f"largest {largest:+.3f} at lag {lag + 1}, robust error {error:.3f}"
    if value < PORTMANTEAU_LEVEL and abs(largest) < CORRELATION_OF_NOTE:
        return fact.said(Verdict.WARN, f"proven, but too small to matter: {detail}", Estimate(value, 0.0))
    return fact.judged(Estimate(value, 0.0), detail)


def clustering(samples: Sequence[MarketSample]) -> Row:
    """|returns| correlate with those of the minutes after, beyond chance."""
    magnitudes = magnitudes_of(samples)
    size = statistics.sample_size(magnitudes)
    lags = LAGS_MAX - 1
    chance = 1 / math.sqrt(lags * size) if size else math.nan
    fact = Fact(
        name="clustering",
        statistic=f"mean autocorrelation of 1-minute |returns| at lags 2 to {LAGS_MAX}",
        band=(number_or_none(PROOF_SCORE * chance), None),
        n=size,
        n_min=MINUTES_MIN,
    )
    # Lag 1 is left out: linear dependence from one minute to the next would look like clustering there.
    value = float(statistics.autocorrelations(magnitudes, LAGS_MAX)[1:].mean())
    # The error of independent returns is already in the band.
    return fact.judged(Estimate(value, 0.0), f"the band begins where chance ends ({PROOF_SCORE} errors)")


def clustering_decay(samples: Sequence[MarketSample], clustering: Row) -> Row:
    """The memory of |returns| fades slowly, as a power law; fails where there is none."""
    magnitudes = magnitudes_of(samples)
    fact = Fact(
        name="clustering_decay",
        statistic=f"power-law decay of the autocorrelation of |returns| over lags 1 to {DECAY_LAGS} minutes",
        band=DECAY_BAND,
        n=statistics.sample_size(magnitudes),
        n_min=MINUTES_MIN,
    )
    if clustering.verdict is Verdict.FAIL:
        return fact.said(Verdict.FAIL, "there is no clustering that could decay", Estimate(math.nan, math.nan))
    return fact.judged(statistics.jackknife(magnitudes, _clustering_exponent), "")


def _clustering_exponent(magnitudes: Segments) -> float:
    return -clustering_law(magnitudes).exponent


def clustering_law(magnitudes: Segments) -> PowerLaw:
    """The power law through the autocorrelations of |returns|."""
    return statistics.decay_law(statistics.autocorrelations(magnitudes, DECAY_LAGS))
