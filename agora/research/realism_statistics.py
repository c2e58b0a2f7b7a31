"""Estimators for dependent, heavy-tailed series: tail exponents, robust autocorrelations, power laws, their errors.

Pure functions of arrays. A series comes as segments (days, sessions); nothing here pairs values of two segments.
Knows nothing of markets, bands and verdicts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Segments = Sequence[Floats]

# Ten parts give nine degrees of freedom for the error and leave 90 % of a short series in each estimate.
JACKKNIFE_PARTS = 10

# Exponents are searched within +-4: nothing in a market grows or decays faster than that over a decade of scales.
_COARSE_EXPONENTS = np.linspace(-4.0, 4.0, 161, dtype=np.float64)
# Then around the best one, to a thousandth: far below any error.
_FINE_STEPS = np.linspace(-0.05, 0.05, 101, dtype=np.float64)


class PowerLaw(NamedTuple):
    """`scale * x ** exponent`."""

    scale: float
    exponent: float


class Estimate(NamedTuple):
    """A statistic and its standard error; nan where it could not be computed."""

    value: float
    error: float


def sample_size(segments: Segments) -> int:
    """How many values the segments hold."""
    return sum(len(segment) for segment in segments)


def joined(segments: Segments) -> Floats:
    """All values in one array."""
    return np.concatenate([np.asarray(segment, np.float64) for segment in segments] or [np.zeros(0)])


def hill_exponent(magnitudes: Floats, tail_fraction: float) -> float:
    """The exponent of a power-law tail by Hill (1975), from the largest `tail_fraction` of positive magnitudes.

    alpha = k / sum(log(x_i / x_k+1)) over the k largest; nan where fewer than two are in the tail or all are equal.
    """
    ordered = np.sort(magnitudes[magnitudes > 0])[::-1]
    tail = int(tail_fraction * len(magnitudes))
    if tail < 2 or tail >= len(ordered):
        return math.nan
    excess = float(np.log(ordered[:tail] / ordered[tail]).sum())
    return tail / excess if excess > 0 else math.nan


def excess_kurtosis(values: Floats) -> float:
    """m4 / m2**2 - 3 of central moments: 0 for a Gaussian; nan for a constant."""
    if len(values) < 2:
        return math.nan
    squares = (values - values.mean()) ** 2
    variance = float(squares.mean())
    return float((squares**2).mean()) / variance**2 - 3.0 if variance > 0 else math.nan


def overlapping_sums(segments: Segments, length: int) -> list[Floats]:
    """Sums of `length` neighbours from every start: returns at a longer scale from those at the short one.

    Overlap gives moments of long scales less noise than disjoint sums (Hansen and Hodrick 1980 on the inference).
    """
    sums = []
    for segment in segments:
        if len(segment) >= length:
            total = np.concatenate([np.zeros(1), np.cumsum(segment)])
            sums.append(total[length:] - total[:-length])
    return sums


def autocorrelations(segments: Segments, lags: int, *, mean: float | None = None) -> Floats:
    """Autocorrelations at lags 1 to `lags`, each a mean over the pairs inside segments over the variance.

    One mean serves all segments, so that calm and stormy days count as dependence; `mean` is given where it is known,
    because the sample mean of a long memory takes correlation away at long lags. nan where there is no pair.
    """
    values = joined(segments)
    centre = (float(values.mean()) if len(values) else 0.0) if mean is None else mean
    products, pairs, square = np.zeros(lags + 1), np.zeros(lags + 1), 0.0
    for segment in segments:
        length = len(segment)
        reach = min(lags, length - 1)
        if reach < 0:
            continue
        square += float(((segment - centre) ** 2).sum())
        products[: reach + 1] += _lagged_products(segment - centre, reach)
        pairs[: reach + 1] += length - np.arange(reach + 1)
    if square <= 0:
        return np.full(lags, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (products / pairs / (square / len(values)))[1:]
    return found


def _lagged_products(values: Floats, lags: int) -> Floats:
    """Sums of x_t x_t-k for k = 0 to `lags`, through the Fourier transform of the padded series."""
    size = 1 << (len(values) + lags).bit_length()
    spectrum = np.fft.rfft(values, size)
    products: Floats = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1]
    return products


def robust_scores(segments: Segments, lags: int) -> Floats:
    """Autocorrelations over their heteroskedasticity-robust errors: standard normal without linear dependence.

    z_k = sum(x_t x_t-k) / sqrt(sum((x_t x_t-k)**2)): the errors of Diebold (1986) and Lobato, Nankervis and Savin
    (2001), which hold under GARCH where 1 / sqrt(n) does not. Self-normalised, so they need no fourth moment.
    """
    centre = float(joined(segments).mean()) if sample_size(segments) else 0.0
    sums, squares = np.zeros(lags), np.zeros(lags)
    for segment in segments:
        values = segment - centre
        for lag in range(1, min(lags, len(values) - 1) + 1):
            products = values[lag:] * values[:-lag]
            sums[lag - 1] += products.sum()
            squares[lag - 1] += (products**2).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        scores: Floats = sums / np.sqrt(squares)
    return scores


def chi_square_tail(value: float, freedom: int) -> float:
    """P(chi-square > value) for an even number of degrees: exp(-x/2) * sum((x/2)**i / i!), i < freedom / 2.

    Abramowitz and Stegun 26.4.21. Raises `ValueError` for an odd number, which has no closed form.
    """
    if freedom < 2 or freedom % 2:
        raise ValueError(f"degrees of freedom must be even and positive, not {freedom}")
    half = max(value, 0.0) / 2
    term, total = 1.0, 1.0
    for order in range(1, freedom // 2):
        term *= half / order
        total += term
    return math.exp(-half) * total


def normal_tail(score: float) -> float:
    """P(standard normal > score)."""
    return math.erfc(score / math.sqrt(2)) / 2


def fit_power_law(arguments: Floats, values: Floats, weights: Floats) -> PowerLaw:
    """Least squares of scale * x**exponent with weights.

    In the values, not in their logarithms: noise that makes some of them negative neither drops nor twists points.
    nan where nothing can be fitted or the best exponent lies at the edge of the search.
    """
    usable = np.isfinite(values) & np.isfinite(weights) & (weights > 0) & (arguments > 0)
    if usable.sum() < 3:
        return PowerLaw(math.nan, math.nan)
    points = (np.log(arguments[usable]), values[usable], weights[usable])
    coarse = _best_law(points, _COARSE_EXPONENTS)
    if not abs(coarse.exponent) < _COARSE_EXPONENTS[-1] - 0.01:
        return PowerLaw(math.nan, math.nan)
    finer: Floats = coarse.exponent + _FINE_STEPS
    return _best_law(points, finer)


def _best_law(points: tuple[Floats, Floats, Floats], exponents: Floats) -> PowerLaw:
    """The best of these exponents, each with its best scale; nan where no positive scale helps."""
    logs, values, weights = points
    centre = float(logs.mean())
    shapes = np.exp(exponents[:, None] * (logs - centre)[None, :])
    norms = (weights * shapes**2).sum(axis=1)
    overlap = (weights * shapes * values).sum(axis=1)
    # The residual with the best scale of each exponent is the total square minus this.
    explained = np.where(overlap > 0, overlap**2 / norms, 0.0)
    best = int(explained.argmax())
    if explained[best] <= 0:
        return PowerLaw(math.nan, math.nan)
    exponent = float(exponents[best])
    return PowerLaw(float(overlap[best] / norms[best]) * math.exp(-exponent * centre), exponent)


def decay_law(correlations: Floats, first_lag: int = 1) -> PowerLaw:
    """The power law of autocorrelations at lags `first_lag`, ...; its exponent is minus the decay.

    Weights 1 / lag give each octave of lags the same say, as points even on a logarithmic axis would have.
    """
    lags = np.arange(first_lag, first_lag + len(correlations), dtype=np.float64)
    return fit_power_law(lags, correlations, 1 / lags)


def jackknife(segments: Segments, statistic: Callable[[Segments], float]) -> Estimate:
    """A statistic with its error from leaving out one of `JACKKNIFE_PARTS` stretches of time in turn.

    Delete-a-group jackknife (Shao and Tu 1995, 2.3 and 9.1): right under dependence shorter than a stretch.
    """
    total = sample_size(segments)
    edges = np.linspace(0, total, JACKKNIFE_PARTS + 1).astype(int)
    values = [statistic(_without(segments, int(start), int(end))) for start, end in itertools.pairwise(edges)]
    return Estimate(statistic(segments), _jackknife_error(values))


def jackknife_rows(rows: Floats, statistic: Callable[[Floats], float]) -> Estimate:
    """The same for rows without an order in time: each part is every tenth row."""
    values = [statistic(np.delete(rows, np.s_[part::JACKKNIFE_PARTS], axis=0)) for part in range(JACKKNIFE_PARTS)]
    return Estimate(statistic(rows), _jackknife_error(values))


def _without(segments: Segments, start: int, end: int) -> list[Floats]:
    """The segments without positions `start` to `end` of their concatenation; a cut segment becomes two."""
    kept, offset = [], 0
    for segment in segments:
        first, last = max(0, start - offset), max(0, end - offset)
        kept += [part for part in (segment[:first], segment[last:]) if len(part)]
        offset += len(segment)
    return kept


def _jackknife_error(values: Iterable[float]) -> float:
    parts = np.array(list(values))
    if not np.isfinite(parts).all():
        return math.nan
    return math.sqrt((len(parts) - 1) * float(((parts - parts.mean()) ** 2).mean()))


def ranks(values: Floats) -> Floats:
    """Ranks from 0, ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean_ranks: Floats = (last - (count + 1) / 2)[place]
    return mean_ranks


def rank_correlation(left: Segments, right: Segments) -> Estimate:
    """Spearman's correlation of two aligned series, with an error that allows for the clustering of both.

    Bartlett weights over n**(1/3) lags (Newey and West 1987, 1994) on the products of standardised ranks, within
    segments. nan for a constant.
    """
    first, second = ranks(joined(left)), ranks(joined(right))
    size = len(first)
    if size < 3 or first.std() == 0 or second.std() == 0:
        return Estimate(math.nan, math.nan)
    products = (first - first.mean()) / first.std() * ((second - second.mean()) / second.std())
    value = float(products.mean())
    ends = np.cumsum([len(segment) for segment in left])[:-1]
    parts = np.split(products - value, ends)
    reach = max(1, round(size ** (1 / 3)))
    weights = 1 - np.arange(1, reach + 1) / (reach + 1)
    variance = sum(_long_run_square(part, weights) for part in parts) / size
    return Estimate(value, math.sqrt(max(variance, 0.0) / size))


def _long_run_square(values: Floats, weights: Floats) -> float:
    reach = min(len(weights), len(values) - 1)
    if reach < 0:
        return 0.0
    products = _lagged_products(values, reach)
    return float(products[0] + 2 * (weights[:reach] * products[1:]).sum())
