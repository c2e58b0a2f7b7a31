"""Exact arithmetic of binary markets: points, complements, amounts to prices, values and taker fees.

A price is a whole number of points, 0.0001 of one unit of collateral; shares and collateral are counted in
millionths (`UNIT`). Every rounding says for whom it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from agora.domain.numbers import PPM, Rounding
from agora.domain.orders import Side

POINTS = 10_000  # of one unit of collateral: the price of a complete set
UNIT = 1_000_000  # one share, or one unit of collateral
# Fees have five decimals; less than the last of them is nothing.
FEE_STEP_UNITS = 10
# Shares of resting orders have two decimals at every tick.
SIZE_STEP_UNITS = 10_000
# Tick in points to the decimals of its prices; the derived leg of an order has two more.
PRICE_DECIMALS: Mapping[int, int] = MappingProxyType({1_000: 1, 100: 2, 50: 3, 25: 4, 10: 3, 1: 4})


class FeeBasis(StrEnum):
    """What the rate of a fee is a share of: of each share (today), or of the money paid (early 2026)."""

    PER_SHARE = "per_share"
    OF_NOTIONAL = "of_notional"


class Fee(NamedTuple):
    """A taker fee: shares (or their value) * rate * (price * (1 - price)) ** exponent, rounded to five decimals."""

    rate_ppm: int
    exponent: int
    rounding: Rounding
    basis: FeeBasis = FeeBasis.PER_SHARE


def complement(points: int) -> int:
    """What the other token costs when this one costs so much."""
    return POINTS - points


def value_down(points: int, size_units: int) -> int:
    """Collateral for so many shares, rounded down."""
    return points * size_units // POINTS


def value_up(points: int, size_units: int) -> int:
    """Collateral for so many shares, rounded up."""
    return -(-points * size_units // POINTS)


def shares_for(budget_units: int, points: int) -> int:
    """The most shares whose value, rounded up, is within a budget."""
    return budget_units * POINTS // points


def fee_units(fee: Fee, points: int, size_units: int) -> int:
    """What a taker pays on top for so many shares at that price."""
    odds = points * complement(points)
    numerator = size_units * fee.rate_ppm * int(odds**fee.exponent)
    denominator = PPM * int((POINTS * POINTS) ** fee.exponent) * FEE_STEP_UNITS
    if fee.basis is FeeBasis.OF_NOTIONAL:
        numerator, denominator = numerator * points, denominator * POINTS
    steps, rest = divmod(numerator, denominator)
    if steps == 0:
        return 0
    half = 2 * rest - denominator
    rounds_up = {
        Rounding.DOWN: False,
        Rounding.UP: rest > 0,
        Rounding.NEAREST: half > 0 or (half == 0 and steps % 2 == 1),
    }
    return (steps + rounds_up[fee.rounding]) * FEE_STEP_UNITS


def fee_most_units(fee: Fee, low: int, high: int, *, size_units: int) -> int:
    """The largest fee of so many shares at any price between two, both included."""
    extra = fee.basis is FeeBasis.OF_NOTIONAL
    peak = POINTS * (fee.exponent + extra) / (2 * fee.exponent + extra)
    candidates = {min(max(points, low), high) for points in (math.floor(peak), math.ceil(peak))}
    return max(fee_units(fee, points, size_units) for points in candidates)


class Legs(NamedTuple):
    """The two amounts of an order, by what they are."""

    collateral_units: int
    share_units: int


def legs_of(side: Side, maker_amount: int, taker_amount: int) -> Legs:
    """A buyer makes collateral and takes shares, a seller the reverse."""
    return Legs(maker_amount, taker_amount) if side is Side.BUY else Legs(taker_amount, maker_amount)


def exact_price(legs: Legs, tick_points: int) -> int | None:
    """The price of a limit order; None when it is no whole number of ticks."""
    points, rest = divmod(legs.collateral_units * POINTS, legs.share_units)
    return None if rest or points % tick_points else points


def implied_price(side: Side, legs: Legs, tick_points: int) -> int | None:
    """The limit of an order whose derived leg was rounded: the tick at or below a buyer's, at or above a seller's.

    A buyer whose shares were rounded up therefore has a limit one tick lower than meant and does not cross, as on the
    venue. None when the amounts are farther from every tick than rounding one of them explains.
    """
    step = tick_points * legs.share_units
    below = legs.collateral_units * POINTS // step * tick_points
    above = -(-legs.collateral_units * POINTS // step) * tick_points
    if not any(_explains(points, legs, tick_points) for points in {below, above}):
        return None
    return below if side is Side.BUY else above


def _explains(points: int, legs: Legs, tick_points: int) -> bool:
    """Whether the collateral is the shares' value but for one step of the derived leg's decimals."""
    if points <= 0:
        return False
    slack = int(10 ** (6 - PRICE_DECIMALS[tick_points] - 2))
    return abs(legs.collateral_units * POINTS - points * legs.share_units) <= slack * POINTS
