"""Series whose stylised facts are known beforehand: walks, volatility models, split orders, impact laws."""

from __future__ import annotations

import math

import numpy as np

from agora.research.realism_sample import MarketSample
from agora.research.realism_statistics import Floats

SESSION_MINUTES = 390
# What a price does in a minute; verdicts must not depend on it.
SCALE = 1e-3


def draws(seed: int) -> np.random.Generator:
    """The generator of a seed."""
    return np.random.Generator(np.random.PCG64(seed))


def gaussian_days(seed: int, days: int = 5) -> list[Floats]:
    """Independent Gaussian minutes."""
    return list(SCALE * draws(seed).standard_normal((days, SESSION_MINUTES)))


def moving_average_days(seed: int, theta: float, days: int = 5) -> list[Floats]:
    """e_t + theta e_t-1: autocorrelation theta / (1 + theta**2) at lag 1, none beyond."""
    noise = SCALE * draws(seed).standard_normal((days, SESSION_MINUTES + 1))
    return list(noise[:, 1:] + theta * noise[:, :-1])


def lagged_days(seed: int, weight: float, lag: int, days: int = 5) -> list[Floats]:
    """e_t + weight e_t-lag: autocorrelation at that lag only."""
    noise = SCALE * draws(seed).standard_normal((days, SESSION_MINUTES + lag))
    return list(noise[:, lag:] + weight * noise[:, :-lag])


def garch_days(seed: int, days: int = 5, *, alpha: float = 0.1, beta: float = 0.89) -> list[Floats]:
    """GARCH(1,1) with Student t noise of five degrees: heavy tails, clustering, no linear dependence."""
    warm_up = 500
    noise = draws(seed).standard_t(5, days * SESSION_MINUTES + warm_up) * math.sqrt(3 / 5)
    variance, found = 1.0, np.empty(len(noise))
    for place, shock in enumerate(noise):
        found[place] = math.sqrt(variance) * shock
        variance = (1 - alpha - beta) + alpha * found[place] ** 2 + beta * variance
    return list(SCALE * found[warm_up:].reshape(days, SESSION_MINUTES))


def samples_of(days: list[Floats]) -> list[MarketSample]:
    """Each day as a sample of one price a minute; every day opens at another price."""
    return [
        MarketSample(prices=(100 + day) * np.exp(np.cumsum(np.concatenate([np.zeros(1), returns]))), step_s=60)
        for day, returns in enumerate(days)
    ]


def split_signs(seed: int, length: int = 20_000, *, tail: float = 1.5, splitters: int = 10) -> Floats:
    """Signs of market orders where Pareto-sized parents are split: decay tail - 1 (Lillo, Mike, Farmer 2005)."""
    generator = draws(seed)
    turns = generator.integers(0, splitters, length)
    left, side, found = np.zeros(splitters), np.ones(splitters), np.empty(length)
    for place, turn in enumerate(turns):
        if left[turn] <= 0:
            left[turn] = math.ceil((1 - generator.random()) ** (-1 / tail))
            side[turn] = 1.0 if generator.random() < 0.5 else -1.0
        found[place] = side[turn]
        left[turn] -= 1
    return found


def metaorders(seed: int, exponent: float, count: int = 1_500) -> Floats:
    """Rows of Pareto sizes whose impact is size**exponent in bps, under noise that grows with their duration."""
    generator = draws(seed)
    sizes = np.minimum(np.ceil(5 * (1 - generator.random(count)) ** (-1 / 1.5)), 20_000)
    signs = np.where(generator.random(count) < 0.5, 1.0, -1.0)
    change = 1e-4 * (sizes**exponent + 0.5 * np.sqrt(sizes) * generator.standard_normal(count))
    return np.column_stack([signs, sizes, np.full(count, 100.0), 100 * np.exp(signs * change)])


def quoted(spread_ticks: float = 2.0, *, price: float = 10_000.0, empty: int = 0, steps: int = 4_000) -> MarketSample:
    """Quotes of that spread around a price in ticks, with a side missing at the first `empty` steps."""
    return MarketSample(
        prices=np.full(steps, price),
        spreads=np.full(steps, spread_ticks),
        one_sided=(np.arange(steps) < empty).astype(np.float64),
    )
