"""The stylised facts of trading: long memory of order signs, quotes, volume with volatility, impact of meta-orders.

Holds the bands of these facts; estimators are in `realism_statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from agora.research import realism_statistics as statistics
from agora.research.realism_sample import MarketSample, impacts_of, magnitudes_of, signs_of
from agora.research.realism_statistics import Estimate, Floats, PowerLaw, Segments
from agora.research.realism_verdicts import MINUTES_MIN, PROOF_SCORE, Band, Fact, Row, Verdict, number_or_none

# Within ten orders several splitters still share the flow and the memory is flat (Lillo, Mike, Farmer 2005).
SIGN_LAG_FIRST = 10
SIGN_LAG_LAST = 1_000
SIGN_BAND: Band = (0.3, 0.8)
# Five times the longest lag.
SIGNS_MIN = 5_000
# An hour of seconds: fewer say nothing on what is usual.
STEPS_MIN = 3_600
SPREAD_TICKS_BAND: Band = (1.0, None)
# Liquid pairs quote below 1 bp, small shares around 100 bps; half of that is where a market is still one.
SPREAD_BPS_BAND: Band = (0.0, 50.0)
# A quote must be there when someone wants to trade: 99 of 100 seconds.
ONE_SIDED_BAND: Band = (0.0, 0.01)
# One false alarm in a hundred of a market whose volume says nothing.
CORRELATION_SCORE = 2.326
IMPACT_BAND: Band = (0.4, 0.6)
# Ten for each bin on average: the least that gives a mean and its error.
METAORDERS_MIN = 200
IMPACT_BINS = 20
# Fewer make an error that is itself a guess, and such bins would weigh at random.
BIN_ROWS_MIN = 5
# Over less than a decade of sizes any exponent fits.
SIZE_RATIO_MIN = 10.0


def sign_memory(samples: Sequence[MarketSample]) -> Row:
    """Buys follow buys for long, because large orders are split (Lillo and Farmer 2004)."""
    signs = signs_of(samples)
    fact = Fact(
        name="sign_memory",
        statistic=f"power-law decay of autocorrelations of order signs, lags {SIGN_LAG_FIRST} to {SIGN_LAG_LAST}",
        band=SIGN_BAND,
        n=statistics.sample_size(signs),
        n_min=SIGNS_MIN,
    )
    if fact.n < SIGNS_MIN:
        return fact.judged(Estimate(math.nan, math.nan), "")
    near = statistics.autocorrelations(signs, SIGN_LAG_LAST, mean=0.0)[SIGN_LAG_FIRST - 1 : 10 * SIGN_LAG_FIRST]
    chance = PROOF_SCORE / math.sqrt(len(near) * fact.n)
    if not float(near.mean()) > chance:
        return fact.said(Verdict.FAIL, "order signs have no memory", Estimate(math.nan, math.nan))
    detail = f"mean autocorrelation {near.mean():.3f} at lags {SIGN_LAG_FIRST} to {10 * SIGN_LAG_FIRST}"
    return fact.judged(statistics.jackknife(signs, _sign_exponent), detail)


def _sign_exponent(signs: Segments) -> float:
    return -sign_law(signs).exponent


def sign_law(signs: Segments) -> PowerLaw:
    """The power law through the autocorrelations of order signs, whose mean is 0 by symmetry."""
    correlations = statistics.autocorrelations(signs, SIGN_LAG_LAST, mean=0.0)
    return statistics.decay_law(correlations[SIGN_LAG_FIRST - 1 :], SIGN_LAG_FIRST)


# Quotes and trades.


def spread(samples: Sequence[MarketSample]) -> tuple[Row, Row]:
    """The median spread in ticks and against the price; fails where the book was ever crossed."""
    ticks = statistics.joined([sample.two_sided_spreads() for sample in samples])
    bps = statistics.joined([_spread_bps(sample) for sample in samples])
    asked = (
        ("spread_ticks", "median spread, ticks", SPREAD_TICKS_BAND, ticks),
        ("spread_bps", "median spread over price, bps", SPREAD_BPS_BAND, bps),
    )
    rows = []
    for name, statistic, band, values in asked:
        fact = Fact(name=name, statistic=statistic, band=band, n=len(values), n_min=STEPS_MIN)
        middle = float(np.median(values)) if len(values) else math.nan
        crossed = int((values <= 0).sum())
        if crossed:
            detail = f"{crossed} spreads are not positive: the book was crossed"
            rows.append(fact.said(Verdict.FAIL, detail, Estimate(middle, math.nan)))
            continue
        rows.append(fact.judged(Estimate(middle, 0.0), _quartiles(values)))
    return rows[0], rows[1]


def _spread_bps(sample: MarketSample) -> Floats:
    if not len(sample.spreads):
        return np.zeros(0)
    prices: Floats = sample.prices[sample.one_sided == 0]
    return 1e4 * sample.two_sided_spreads() * sample.tick_price / prices


def _quartiles(values: Floats) -> str:
    if not len(values):
        return ""
    low, high, top = np.quantile(values, (0.25, 0.75, 0.99))
    return f"quartiles {low:.3g} and {high:.3g}, 99 % below {top:.3g}"


def one_sided(samples: Sequence[MarketSample]) -> Row:
    """The book has both sides nearly always."""
    flags = statistics.joined([sample.one_sided for sample in samples])
    fact = Fact(
        name="one_sided",
        statistic="share of steps at which a side of the book was empty",
        band=ONE_SIDED_BAND,
        n=len(flags),
        n_min=STEPS_MIN,
    )
    share = float((flags != 0).mean()) if len(flags) else math.nan
    return fact.judged(Estimate(share, 0.0), f"{int((flags != 0).sum())} steps")


def volume_volatility(samples: Sequence[MarketSample]) -> Row:
    """Busy minutes move the price more."""
    seen = [sample for sample in samples if len(sample.volumes) > 1]
    volumes = [sample.minute_volumes() for sample in seen]
    estimate = statistics.rank_correlation(volumes, magnitudes_of(seen))
    chance = CORRELATION_SCORE * estimate.error
    fact = Fact(
        name="volume_volatility",
        statistic="rank correlation of volume and |return| of a minute",
        band=(number_or_none(chance), 1.0),
        n=statistics.sample_size(volumes),
        n_min=MINUTES_MIN,
    )
    # The band already allows for the error.
    row = fact.judged(Estimate(estimate.value, 0.0), "the band begins where chance ends, clustering allowed for")
    return msgspec.structs.replace(row, error=number_or_none(estimate.error))


def impact(samples: Sequence[MarketSample]) -> Row:
    """Impact grows as the square root of size; undecided where sizes span less than a decade."""
    rows = impacts_of(samples)
    fact = Fact(
        name="impact_exponent",
        statistic="exponent of the mean signed price change of meta-orders in their size",
        band=IMPACT_BAND,
        n=len(rows),
        n_min=METAORDERS_MIN,
    )
    if fact.n < METAORDERS_MIN:
        return fact.judged(Estimate(math.nan, math.nan), "")
    low, high = np.quantile(rows[:, 0], (0.01, 0.99))
    if high / low < SIZE_RATIO_MIN:
        detail = f"sizes from {low:g} to {high:g} lots span less than a decade"
        return fact.said(Verdict.WARN, detail, Estimate(math.nan, math.nan))
    return fact.judged(statistics.jackknife_rows(rows, _impact_exponent), f"sizes from {low:g} to {high:g} lots")


def _impact_exponent(rows: Floats) -> float:
    return impact_law(rows).exponent


def impact_law(rows: Floats) -> PowerLaw:
    """The power law of mean impact in size, each bin weighing by the inverse square of its error.

    The signed change, as Almgren and others (2005) and Toth and others (2011) measure it: noise cancels, where in
    |change| it would lift small orders and flatten the law.
    """
    sizes, means, errors = impact_bins(rows)
    return statistics.fit_power_law(sizes, means, 1 / np.square(errors))


def impact_bins(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean size, mean impact and its error in bins of equal width in log size; sparse bins are left out."""
    sizes, impacts = rows[:, 0], rows[:, 1]
    edges = np.geomspace(sizes.min(), sizes.max() * (1 + 1e-9), IMPACT_BINS + 1)
    place = np.clip(np.searchsorted(edges, sizes, side="right") - 1, 0, IMPACT_BINS - 1)
    bins = []
    for number in range(IMPACT_BINS):
        inside = place == number
        count = int(inside.sum())
        if count >= BIN_ROWS_MIN and impacts[inside].std() > 0:
            error = float(impacts[inside].std(ddof=1)) / math.sqrt(count)
            bins.append((math.exp(float(np.log(sizes[inside]).mean())), float(impacts[inside].mean()), error))
    columns = np.array(bins, np.float64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]
