"""What an up/down window is worth: the probability that it settles Up, from prices, time left and variance.

The logarithm of the price is a Brownian motion without drift, so half of the paths end above where they stand. That
is the convention of the reference values (100,050 against 100,000 at 1e-8/s: 0.5662 with 900 s left); the
martingale of the price itself, with -variance/2 in the exponent, would give 0.5656. Floats throughout: these are
statistics, and what is quoted is made of integers in `quoting`.
"""

from __future__ import annotations

import math

import numpy as np

from agora.kernels.compiled import Words, compiled
from agora.kernels.indicators import Figures

# How a window settles, as the number of whole-second prices that the closing value is the mean of.
SPOT, TWAP30, TWAP60 = 0, 30, 60

NS_PER_S = 1_000_000_000
TIE = 1e-12  # relative rounding of a sum of sixty doubles stays below; a window that ends there is a tie

# What a reader may look at in the statistics of a reference price.
VARIANCE_PER_S = 0  # of the logarithm of the price
DRIFT_PER_S = 1  # of the logarithm of the price, as noisy as any drift of half a minute: clamp it
PRICE = 2  # the newest believed print; 0.0 before the first
MOVE_SD = 3  # distance of the price from its own recent mean, in standard deviations of a Brownian motion
PRINTS = 4  # believed so far
SUSPECTS = 5  # prints in a row that were not believed
STATISTICS_WORDS = 6

_HALF_LIFE_S, _MOVE_HALF_LIFE_S, _VARIANCE_MIN, _JUMP_SD = 6, 7, 8, 9
_PRICE_US, _SAMPLE, _SAMPLE_US, _SUSPECT, _MEAN_LOG = 10, 11, 12, 13, 14
_WORDS = 15

# Prints nearer than this measure how the feed rounds, not how the price moves.
SAMPLE_US = 500_000
WEIGHT_MAX = 0.5  # the return over a long silence is still one observation
SUSPECTS_MAX = 3  # what is said so often is the price, however absurd it looked

REFUSED, TAKEN, SUSPECT = 0, 1, 2  # answers of `observe`

# The mean over a window's last seconds, as far as it is known: a buffer of its own for each window.
KNOWN_SUM, KNOWN_COUNT = 0, 1
_AVERAGE_END_S, _AVERAGE_SAMPLES, _AVERAGE_PRICE = 2, 3, 4
_AVERAGE_WORDS = 5


def create(
    *, half_life_s: float, move_half_life_s: float, variance_prior: float, variance_min: float, jump_sd: float
) -> Figures:
    """Statistics of a price not yet seen. Variances are per second; the prior counts like a long past.

    `jump_sd`: a print that many standard deviations away from the last one waits for another to confirm it.
    """
    if min(half_life_s, move_half_life_s, variance_prior, variance_min, jump_sd) <= 0.0:
        raise ValueError("half-lives, variances and the jump must be above zero")
    buf = np.zeros(_WORDS, dtype=np.float64)
    buf[VARIANCE_PER_S] = max(variance_prior, variance_min)
    buf[_HALF_LIFE_S : _JUMP_SD + 1] = (half_life_s, move_half_life_s, variance_min, jump_sd)
    return buf


def create_average(*, end_s: int, samples: int) -> Figures:
    """An empty mean over the `samples` whole seconds up to and including `end_s` (Unix seconds)."""
    buf = np.zeros(_AVERAGE_WORDS, dtype=np.float64)
    buf[_AVERAGE_END_S], buf[_AVERAGE_SAMPLES] = end_s, samples
    return buf


def warm_up() -> None:
    """Compile everything here, or load it from the cache."""
    buf = create(half_life_s=1.0, move_half_life_s=1.0, variance_prior=1.0, variance_min=1.0, jump_sd=1.0)
    observe(buf, 1.0, 1)
    average = create_average(end_s=1, samples=TWAP30)
    average_price(average, 1.0, 1)
    average_until(average, 1)
    up_probability(1.0, 1.0, 1.0, 1.0, 0.0, 0.0, SPOT, 0.0, 0)
    market_up(np.ones(4, dtype=np.int64), 10, 1)
    blend(0.5, 0.5, 0.5)


@compiled
def up_probability(
    price: float,
    start_price: float,
    seconds_left: float,
    variance_per_s: float,
    drift_per_s: float,
    drift_sd_max: float,
    samples: int,
    known_sum: float,
    known_count: int,
) -> float:
    """The probability that the closing value is at or above `start_price`, the price to beat. A tie is Up.

    `samples`: SPOT, or how many whole-second prices up to the end are averaged; `known_sum` and `known_count` are
    those already seen. `seconds_left` runs to the last sample. The drift (0.0: none) shifts the middle by at most
    `drift_sd_max` standard deviations. Without a price or a start there is no probability: raises `ValueError`.
    """
    if not (0.0 < price < math.inf and 0.0 < start_price < math.inf and 0.0 <= variance_per_s < math.inf):
        raise ValueError("a fair value needs a price, a start price and a variance")
    if samples == SPOT:
        return _above(price, start_price, variance_per_s * seconds_left, drift_per_s * seconds_left, drift_sd_max)
    # Samples that should have been seen by now and were not are taken to have been at the present price.
    ahead = min(max(math.floor(seconds_left) + 1, 0), samples - known_count)
    total = known_sum + (samples - known_count - ahead) * price
    if ahead <= 0:
        return 1.0 if total >= samples * start_price * (1.0 - TIE) else 0.0
    # What the samples ahead must reach on average, because the known ones are fixed.
    strike = (samples * start_price - total) / ahead
    if strike <= 0.0:
        return 1.0
    # Samples at f, f + 1, ... f + n - 1 seconds: the variance of the mean of a Brownian motion there is that of
    # the first plus the mean of all min(i, j). The geometric mean stands for the arithmetic one; over a
    # minute they differ by 1e-8 of the price.
    first_s = max(seconds_left - (ahead - 1), 0.0)
    spread_s = first_s + (ahead - 1.0) * (2.0 * ahead - 1.0) / (6.0 * ahead)
    middle_s = first_s + (ahead - 1.0) / 2.0
    return _above(price, strike, variance_per_s * spread_s, drift_per_s * middle_s, drift_sd_max)


@compiled
def _above(price: float, strike: float, variance: float, shift: float, shift_sd_max: float) -> float:
    """The probability that a lognormal price ends at or above the strike; certain where nothing can move."""
    if variance <= 0.0:
        return 1.0 if price >= strike * (1.0 - TIE) else 0.0
    deviation = math.sqrt(variance)
    bound = shift_sd_max * deviation
    distance = math.log(price / strike) + min(max(shift, -bound), bound)
    return 0.5 * math.erfc(-distance / deviation / math.sqrt(2.0))


@compiled
def blend(model_up: float, market_up_mid: float, market_weight: float) -> tuple[float, float]:
    """The model's probability as it was, and mixed with the market's; a market without a mid (NaN) adds nothing."""
    if not 0.0 <= market_up_mid <= 1.0:
        return model_up, model_up
    return model_up, model_up + market_weight * (market_up_mid - model_up)


@compiled
def market_up(touch: Words, ticks_per_unit: int, width_ticks_max: int) -> float:
    """The middle of the Up token from both books, or NaN when they leave it open by more than the width.

    `touch`: best bid and ask of Up, then of Down, in ticks; 0 is an empty side. A bid for Down is an offer of
    Up, and an empty side of a nearly decided market lies at its end of the scale.
    """
    bid, ask = touch[0], touch[1] if touch[1] > 0 else ticks_per_unit
    if touch[3] > 0:
        bid = max(bid, ticks_per_unit - touch[3])
    ask = min(ask, ticks_per_unit - touch[2])
    if abs(ask - bid) > width_ticks_max:
        return math.nan
    return float((bid + ask) / (2.0 * ticks_per_unit))


@compiled
def observe(buf: Figures, price: float, ts_ns: int) -> int:
    """Take in one print of the reference price; returns TAKEN, REFUSED or SUSPECT.

    Refused are prices that are none and prints that do not come later than the last. A suspect changes nothing
    but the count: the next print confirms it by standing near it, or shows that it was absurd.
    """
    if not 0.0 < price < math.inf:
        return REFUSED
    now_us = float(ts_ns // 1_000)  # exact in a double, which nanoseconds are not
    if buf[PRICE] == 0.0:
        buf[PRICE], buf[_PRICE_US], buf[_SAMPLE], buf[_SAMPLE_US] = price, now_us, price, now_us
        buf[_MEAN_LOG] = math.log(price)
        buf[PRINTS] = 1.0
        return TAKEN
    if now_us <= buf[_PRICE_US]:
        return REFUSED
    elapsed_s = (now_us - buf[_PRICE_US]) / 1e6
    if _is_suspect(buf, price, elapsed_s):
        buf[SUSPECTS] += 1.0
        buf[_SUSPECT] = price
        return SUSPECT
    buf[SUSPECTS] = 0.0
    buf[PRINTS] += 1.0
    if now_us - buf[_SAMPLE_US] >= SAMPLE_US:
        _sample(buf, price, now_us)
    _move(buf, price, elapsed_s)
    buf[PRICE], buf[_PRICE_US] = price, now_us
    return TAKEN


@compiled
def _is_suspect(buf: Figures, price: float, elapsed_s: float) -> bool:
    """Whether a print lies too far from the last believed one and nothing confirms it yet."""
    jump = math.log(price / buf[PRICE])
    if abs(jump) <= buf[_JUMP_SD] * math.sqrt(buf[VARIANCE_PER_S] * max(elapsed_s, 1.0)):
        return False
    if buf[SUSPECTS] == 0.0:
        return True
    is_confirmed = abs(math.log(price / buf[_SUSPECT])) < 0.5 * abs(jump)
    return not is_confirmed and buf[SUSPECTS] < SUSPECTS_MAX


@compiled
def _sample(buf: Figures, price: float, now_us: float) -> None:
    """Bring variance and drift forward by the return since the last sample, weighted by the time it took."""
    elapsed_s = (now_us - buf[_SAMPLE_US]) / 1e6
    change = math.log(price / buf[_SAMPLE])
    weight = min(1.0 - 2.0 ** (-elapsed_s / buf[_HALF_LIFE_S]), WEIGHT_MAX)
    variance = buf[VARIANCE_PER_S] + weight * (change * change / elapsed_s - buf[VARIANCE_PER_S])
    buf[VARIANCE_PER_S] = max(variance, buf[_VARIANCE_MIN])
    buf[DRIFT_PER_S] += weight * (change / elapsed_s - buf[DRIFT_PER_S])
    buf[_SAMPLE], buf[_SAMPLE_US] = price, now_us


@compiled
def _move(buf: Figures, price: float, elapsed_s: float) -> None:
    """Measure the price against its exponential mean over time, in the deviations that mean leaves by chance."""
    before = math.log(buf[PRICE])
    buf[_MEAN_LOG] = before + (buf[_MEAN_LOG] - before) * 2.0 ** (-elapsed_s / buf[_MOVE_HALF_LIFE_S])
    # A Brownian motion less its mean of decay ln2/h is stationary with variance h/(2 ln2) per unit of its own.
    deviation = math.sqrt(buf[VARIANCE_PER_S] * buf[_MOVE_HALF_LIFE_S] / (2.0 * math.log(2.0)))
    buf[MOVE_SD] = (math.log(price) - buf[_MEAN_LOG]) / deviation


@compiled
def average_price(buf: Figures, price: float, ts_ns: int) -> None:
    """Take a print into a window's closing mean. Each whole second counts with the price that stood at it.

    Seconds of the mean before the first print count with that print: it is the nearest known.
    """
    if not 0.0 < price < math.inf:
        return
    if buf[_AVERAGE_PRICE] == 0.0:
        buf[_AVERAGE_PRICE] = price
    average_until(buf, ts_ns - 1)
    buf[_AVERAGE_PRICE] = price


@compiled
def average_until(buf: Figures, now_ns: int) -> None:
    """Fix every whole second of the mean up to and including `now_ns` at the price known for it."""
    first_s = buf[_AVERAGE_END_S] - buf[_AVERAGE_SAMPLES] + 1.0
    passed = min(float(now_ns // NS_PER_S) - first_s + 1.0, buf[_AVERAGE_SAMPLES])
    if buf[_AVERAGE_PRICE] == 0.0 or passed <= buf[KNOWN_COUNT]:
        return
    buf[KNOWN_SUM] += (passed - buf[KNOWN_COUNT]) * buf[_AVERAGE_PRICE]
    buf[KNOWN_COUNT] = passed
