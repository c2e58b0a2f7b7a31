"""A readable twin of `kernels/fair_value`: it keeps every print and computes each figure from its definition."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist


def probability(*, price: float, start: float, times_s: list[float], known: list[float], variance: float) -> float:
    """That the mean of the known prices and of those at `times_s` from now reaches the start, without drift.

    The covariance of a Brownian motion at two times is the smaller of them, summed here pair by pair.
    """
    if not times_s:
        return float(math.fsum(known) / len(known) >= start)
    strike = (start * (len(known) + len(times_s)) - math.fsum(known)) / len(times_s)
    if strike <= 0:
        return 1.0
    pairs = math.fsum(min(one, other) for one in times_s for other in times_s)
    deviation = math.sqrt(variance * pairs) / len(times_s)
    return NormalDist().cdf(math.log(price / strike) / deviation)


@dataclass
class Twin:
    """The statistics of a reference price over its whole history."""

    half_life_s: float
    move_half_life_s: float
    prior: float
    jump_sd: float
    prints: list[tuple[float, int]] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)

    def observe(self, price: float, ts_ns: int) -> str:
        """Believe, refuse or doubt a print."""
        ts_us = ts_ns // 1_000
        if not 0 < price < math.inf or (self.prints and ts_us <= self.prints[-1][1]):
            return "refused"
        if self.prints and self.is_doubtful(price, ts_us):
            self.waiting.append(price)
            return "suspect"
        self.prints.append((price, ts_us))
        self.waiting.clear()
        return "taken"

    def is_doubtful(self, price: float, ts_us: int) -> bool:
        """Far from the last believed print, and not the neighbour of the last doubtful one."""
        last, last_us = self.prints[-1]
        jump = abs(math.log(price / last))
        usual = math.sqrt(self.variance() * max((ts_us - last_us) / 1e6, 1.0))
        if jump <= self.jump_sd * usual:
            return False
        if not self.waiting:
            return True
        return abs(math.log(price / self.waiting[-1])) >= jump / 2 and len(self.waiting) < 3

    def returns(self) -> list[tuple[float, float]]:
        """Log return and seconds between prints at least half a second apart."""
        anchor, anchor_us = self.prints[0]
        found = []
        for price, ts_us in self.prints[1:]:
            if ts_us - anchor_us >= 500_000:
                found.append((math.log(price / anchor), (ts_us - anchor_us) / 1e6))
                anchor, anchor_us = price, ts_us
        return found

    def variance(self) -> float:
        """Squared returns per second, each weighted by how much of the past it has replaced since."""
        return self.averaged([(change**2 / seconds, seconds) for change, seconds in self.returns()], self.prior)

    def drift(self) -> float:
        """Returns per second, weighted alike."""
        return self.averaged([(change / seconds, seconds) for change, seconds in self.returns()], 0.0)

    def averaged(self, rates: list[tuple[float, float]], prior: float) -> float:
        """The weighted sum over the whole history, newest first, and the prior with what weight is left."""
        total, left = 0.0, 1.0
        for rate, seconds in reversed(rates):
            weight = min(1.0 - 0.5 ** (seconds / self.half_life_s), 0.5)
            total += left * weight * rate
            left *= 1.0 - weight
        return total + left * prior

    def move(self) -> float:
        """The newest logarithm less the exponential mean of the path that stood until then, unscaled."""
        newest_us = self.prints[-1][1]
        mean, left = 0.0, 1.0
        for (price, ts_us), (_, next_us) in reversed(list(zip(self.prints, self.prints[1:], strict=False))):
            decayed = 0.5 ** ((newest_us - ts_us) / 1e6 / self.move_half_life_s)
            since = 0.5 ** ((newest_us - next_us) / 1e6 / self.move_half_life_s)
            mean += (since - decayed) * math.log(price)
            left = decayed
        return math.log(self.prints[-1][0]) - mean - left * math.log(self.prints[0][0])
