"""The two amounts of an order, exact: prices in points (0.0001), shares and collateral in millionths. No floats.

Prices off the tick are refused, never moved. Rounding is the official clients': sizes and budgets down to two
decimals, the derived leg as `_fitted` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from agora.domain.numbers import PPM, Rounding
from agora.domain.orders import Side
from agora.exchange.binary_prices import (
    POINTS,
    PRICE_DECIMALS,
    SIZE_STEP_UNITS,
    UNIT,
    Fee,
    complement,
    fee_units,
    shares_for,
)

TICKS: Mapping[Decimal, int] = MappingProxyType({Decimal(points) / POINTS: points for points in PRICE_DECIMALS})
# Budgets of market orders are whole cents.
BUDGET_STEP_UNITS = 10_000
# Exponents of fees that the venue has had are 1 and 2; a formula of another kind is not guessed at.
FEE_EXPONENT_MAX = 4
_UNIT_STEP = Decimal(1) / UNIT


class Unplaceable(ValueError):
    """An order that the venue would refuse; the text says what was asked and what is allowed."""


class Amounts(NamedTuple):
    """What the maker of an order gives and what it takes: collateral and shares of a buyer, reversed of a seller."""

    maker_units: int
    taker_units: int


def tick_points_of(tick: Decimal) -> int:
    """A market's tick in points; raises `Unplaceable` for one that the venue is not known to have."""
    found = TICKS.get(tick)
    if found is None:
        raise Unplaceable(f"a tick of {tick:f} is not known; known are {', '.join(f'{each:f}' for each in TICKS)}")
    return found


def points_of(price: Decimal, *, tick_points: int) -> int:
    """A price in points; raises `Unplaceable` when it lies off the tick or outside of tick to one minus tick."""
    if not (price.is_finite() and 0 < price < 1):
        raise Unplaceable(f"price {price} is outside 0 to 1")
    points = int(price * POINTS)
    if Decimal(points) / POINTS != price or points % tick_points:
        raise Unplaceable(f"price {price} is no whole number of ticks of {Decimal(tick_points) / POINTS:f}")
    check_points(points, tick_points=tick_points)
    return points


def check_points(points: int, *, tick_points: int) -> None:
    """Raise `Unplaceable` unless the price is a whole number of ticks, at least one from nothing and from one."""
    if tick_points not in PRICE_DECIMALS:
        raise Unplaceable(f"a tick of {tick_points} points is not known; known are {[*PRICE_DECIMALS]}")
    if points % tick_points:
        raise Unplaceable(f"price of {points} points is no whole number of ticks of {tick_points} points")
    if not tick_points <= points <= complement(tick_points):
        raise Unplaceable(f"price of {points} points is outside {tick_points} to {complement(tick_points)} points")


def units_down(number: Decimal) -> int:
    """Shares or collateral in millionths, rounded down; raises `Unplaceable` for what is negative or no number."""
    if not number.is_finite() or not 0 <= number < 2**64:
        raise Unplaceable(f"{number} is no amount of shares or collateral")
    return int(number.quantize(_UNIT_STEP, rounding=Rounding.DOWN.value) * UNIT)


def limit_amounts(side: Side, *, price_points: int, size_units: int, tick_points: int) -> Amounts:
    """Amounts of a limit order for so many shares, rounded down to two decimals; then both are exact."""
    check_points(price_points, tick_points=tick_points)
    shares = _whole(size_units, SIZE_STEP_UNITS, "shares")
    collateral = _fitted(shares * price_points, POINTS, tick_points=tick_points)
    return Amounts(collateral, shares) if side is Side.BUY else Amounts(shares, collateral)


def market_buy_amounts(*, budget_units: int, price_points: int, tick_points: int) -> Amounts:
    """Amounts of a FOK or FAK purchase: the budget, rounded down to cents, is spent at the price or better.

    With the cost of a walked book as budget and its worst level as price it buys what was walked, or less by what the
    cents leave; more only where the book has become cheaper (`bought_units`).
    """
    check_points(price_points, tick_points=tick_points)
    budget = _whole(budget_units, BUDGET_STEP_UNITS, "cents")
    return Amounts(budget, _fitted(budget * POINTS, price_points, tick_points=tick_points))


def market_sell_amounts(*, size_units: int, price_points: int, tick_points: int) -> Amounts:
    """Amounts of a FOK or FAK sale of so many shares at the price or better."""
    return limit_amounts(Side.SELL, price_points=price_points, size_units=size_units, tick_points=tick_points)


def _whole(units: int, step: int, what: str) -> int:
    found = units // step * step
    if found <= 0:
        raise Unplaceable(f"of {units} millionths no hundredth remains: {what} have two decimals")
    return found


def _fitted(numerator: int, denominator: int, *, tick_points: int) -> int:
    """The derived leg in millionths: kept when it has the decimals of this tick, else up at four more, then down.

    Down is what counts: a purchase whose shares were rounded up would imply a price below its tick and never cross.
    """
    decimals = PRICE_DECIMALS[tick_points] + 2
    finer = -(-numerator * 10 ** (decimals + 4) // (denominator * UNIT))
    return int(finer // 10**4 * 10 ** (6 - decimals))


def bought_units(amounts: Amounts, *, price_points: int, is_immediate: bool) -> int:
    """The shares that a purchase gets where all is offered at one price, at most its limit.

    FOK and FAK spend their collateral, so a better price gives more shares than the order names; GTC and GTD take
    the shares named.
    """
    return shares_for(amounts.maker_units, price_points) if is_immediate else amounts.taker_units


def fee_of(rate: Decimal, exponent: Decimal, *, rounding: Rounding = Rounding.NEAREST) -> Fee:
    """A market's taker fee from its schedule; raises `Unplaceable` for a formula that is not the venue's.

    How the venue rounds to five decimals is not documented; ask for `Rounding.UP` where too little would hurt.
    """
    if not (exponent.is_finite() and 0 <= exponent <= FEE_EXPONENT_MAX and exponent == int(exponent)):
        raise Unplaceable(f"a fee of exponent {exponent} is not known")
    rate_ppm = int(rate * PPM) if rate.is_finite() and 0 <= rate < 1 else -1
    if Decimal(rate_ppm) / PPM != rate:
        raise Unplaceable(f"a fee of rate {rate} is not known")
    return Fee(rate_ppm, int(exponent), rounding)


def budget_within(spend_units: int, *, price_points: int, fee: Fee) -> int:
    """The largest budget in whole cents that, with the fee on what it buys at that price, costs at most so much."""
    odds = Fraction(price_points * complement(price_points), POINTS * POINTS) ** fee.exponent
    share = 1 + Fraction(fee.rate_ppm, PPM) * odds / Fraction(price_points, POINTS)
    budget = int(spend_units / share) // BUDGET_STEP_UNITS * BUDGET_STEP_UNITS
    # The fee is rounded to five decimals, which can be half a step more than the formula.
    while budget > 0 and budget + fee_units(fee, price_points, shares_for(budget, price_points)) > spend_units:
        budget -= BUDGET_STEP_UNITS
    return budget
