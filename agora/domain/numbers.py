"""Exact conversion between decimal text and the integers everything is computed in.

Prices are integer ticks, sizes integer lots, money an integer count of 1e-8 of the quote currency
(`MONEY_DECIMALS`). Rates are integer parts per million (fees, fractions) or per billion (funding).
Each conversion names the direction in which it rounds.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import StrEnum

MONEY_DECIMALS = 8
MONEY_SCALE = 10**MONEY_DECIMALS
PPM = 1_000_000
PPB = 1_000_000_000
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Rounding(StrEnum):
    """Direction of a rounding, named at every call that rounds."""

    DOWN = ROUND_FLOOR
    UP = ROUND_CEILING
    NEAREST = ROUND_HALF_EVEN


def parse_decimal(text: str | float | Decimal) -> Decimal:
    """A finite decimal from text; raises `ValueError` for anything else (NaN, infinities, words)."""
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {text!r}") from None
    if not number.is_finite():
        raise ValueError(f"not a finite number: {text!r}")
    return number


def to_steps(number: Decimal, *, step: Decimal, rounding: Rounding) -> int:
    """How many steps (ticks, lots) `number` is, rounded as told."""
    return int((number / step).to_integral_value(rounding=rounding.value))


def money_units(text: str | float | Decimal) -> int:
    """Integer money from decimal text; raises `ValueError` when it has more than 8 decimals."""
    scaled = parse_decimal(text) * MONEY_SCALE
    units = int(scaled)
    if scaled != units:
        raise ValueError(f"money has at most {MONEY_DECIMALS} decimals: {text!r}")
    return units


def money_text(units: int) -> str:
    """Decimal text of integer money, without trailing zeros beyond two decimals: `12.50`, `0.00001`."""
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), MONEY_SCALE)
    digits = f"{part:0{MONEY_DECIMALS}d}".rstrip("0")
    return f"{sign}{whole}.{digits:0<2}"


def divide_up(numerator: int, denominator: int) -> int:
    """Integer quotient rounded towards plus infinity (fees: against us)."""
    return -(-numerator // denominator)


def steps_text(count: int, step: Decimal) -> str:
    """Decimal text of `count` steps (ticks, lots), with the decimals that the step has."""
    return f"{count * step:f}"
