"""What a market left behind for its statistics: one stretch of time without a gap, as arrays.

Cuts prices into minutes and checks the shapes. Knows neither where the arrays came from nor what they should show.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from agora.research.realism_statistics import Floats

SECONDS_PER_MINUTE = 60


def _none() -> Floats:
    return np.zeros(0)


def _no_rows() -> Floats:
    return np.zeros((0, 4))


class MarketSample(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One day or session of one asset. What was not observed stays empty, and its rows of the report say so.

    `prices`: mid or last at the end of each step of `step_s` seconds, which divide a minute; all positive.
    `signs`: +1 or -1, the initiating sides of successive market orders. `volumes`: lots traded in each minute, the
    first beginning with the first step. `spreads`: best ask minus best bid in ticks at each step, anything where
    a side is empty. `one_sided`: 1 where a side was empty at the step, else 0. `metaorders`: rows of sign, lots
    executed, price before the first child, price after the last. `tick_price`: one tick in the unit of `prices`.
    Raises `ValueError` where a shape or a value contradicts this.
    """

    prices: Floats
    signs: Floats = msgspec.field(default_factory=_none)
    volumes: Floats = msgspec.field(default_factory=_none)
    spreads: Floats = msgspec.field(default_factory=_none)
    one_sided: Floats = msgspec.field(default_factory=_none)
    metaorders: Floats = msgspec.field(default_factory=_no_rows)
    step_s: int = 1
    tick_price: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would make a statistic wrong instead of missing."""
        if self.step_s < 1 or SECONDS_PER_MINUTE % self.step_s:
            raise ValueError(f"step_s must divide 60, not {self.step_s}")
        if not self.tick_price > 0:
            raise ValueError(f"tick_price must be positive, not {self.tick_price}")
        if not (np.isfinite(self.prices) & (self.prices > 0)).all():
            raise ValueError("prices must be finite and positive: begin at the first and carry the last forward")
        if not (np.abs(self.signs) == 1).all():
            raise ValueError("signs must be +1 or -1")
        if not (np.isfinite(self.volumes) & (self.volumes >= 0)).all():
            raise ValueError("volumes must be finite and not negative")
        if len(self.volumes) not in {0, self.minutes}:
            raise ValueError(f"{len(self.volumes)} volumes for {self.minutes} whole minutes of prices")
        if len(self.spreads) != len(self.one_sided) or len(self.spreads) not in {0, len(self.prices)}:
            raise ValueError("spreads and one_sided must both have one value for each price, or none")
        if self.metaorders.ndim != 2 or self.metaorders.shape[1] != 4:
            raise ValueError(f"metaorders must have 4 columns, not the shape {self.metaorders.shape}")
        if not (np.isfinite(self.metaorders).all() and (self.metaorders[:, 1:] > 0).all()):
            raise ValueError("sizes and prices of metaorders must be finite and positive")
        if not (np.abs(self.metaorders[:, 0]) == 1).all():
            raise ValueError("sides of metaorders must be +1 or -1")

    @property
    def minutes(self) -> int:
        """How many whole minutes the prices cover."""
        return len(self.prices) // (SECONDS_PER_MINUTE // self.step_s)

    def minute_closes(self) -> Floats:
        """The last price of each whole minute."""
        every = SECONDS_PER_MINUTE // self.step_s
        closes: Floats = np.asarray(self.prices[every - 1 :: every], np.float64)
        return closes

    def minute_returns(self) -> Floats:
        """Logarithmic returns from each whole minute's close to the next: one fewer than minutes."""
        returns: Floats = np.diff(np.log(self.minute_closes()))
        return returns

    def minute_volumes(self) -> Floats:
        """The volumes in step with `minute_returns`: the first minute, which has no return, is left out."""
        volumes: Floats = np.asarray(self.volumes[1:], np.float64)
        return volumes

    def two_sided_spreads(self) -> Floats:
        """Spreads in ticks where both sides were there."""
        spreads: Floats = np.asarray(self.spreads[self.one_sided == 0], np.float64)
        return spreads


def returns_of(samples: Sequence[MarketSample]) -> list[Floats]:
    """Minute returns of each sample: none straddles two samples."""
    return [sample.minute_returns() for sample in samples]


def magnitudes_of(samples: Sequence[MarketSample]) -> list[Floats]:
    """Absolute minute returns of each sample."""
    return [np.abs(returns) for returns in returns_of(samples)]


def signs_of(samples: Sequence[MarketSample]) -> list[Floats]:
    """Signs of market orders of each sample."""
    return [np.asarray(sample.signs, np.float64) for sample in samples]


def impacts_of(samples: Sequence[MarketSample]) -> Floats:
    """Rows of lots and signed logarithmic price change of all meta-orders: positive where the price gave way."""
    rows = np.concatenate([sample.metaorders for sample in samples] or [_no_rows()])
    changes = rows[:, 0] * np.log(rows[:, 3] / rows[:, 2])
    return np.column_stack([rows[:, 1], changes])
