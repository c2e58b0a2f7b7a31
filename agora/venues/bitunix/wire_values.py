"""Single values as Bitunix alone writes them: `market` for no price, rates in percent, sides of positions, words."""

from __future__ import annotations

from decimal import Decimal

from agora.domain.numbers import PPB
from agora.domain.orders import Side
from agora.venues.wire_values import CHARACTERS_MAX, Malformed, Number, decimal_of, money_of, price_of, shortened


def price_or_none(value: Number, what: str = "price") -> Decimal | None:
    """A price, or none where the venue writes nothing, zero, or the word `market`."""
    if value is None or value == "" or (isinstance(value, str) and value.lower() == "market"):
        return None
    number = decimal_of(value, what)
    return None if number == 0 else price_of(value, what)


def funding_of(value: Number) -> Decimal:
    """What a position has received, negative what it has paid: the one place that decides the sign.

    No page states it; its example of a cost, -0.2, reads so, and connectors in use take it so.
    """
    return money_of(value, "funding")


def percent_ppb(value: Number, what: str) -> int:
    """A rate that the venue gives in percent (REST and socket), as parts per billion."""
    return _ppb(decimal_of(value, what) / 100, what)


def fraction_ppb(value: Number, what: str) -> int:
    """A rate that the venue gives as a fraction (funding history), as parts per billion."""
    return _ppb(decimal_of(value, what), what)


def _ppb(fraction: Decimal, what: str) -> int:
    if abs(fraction) > 1:
        raise Malformed(f"{what} is no rate: {fraction:f}")
    return int((fraction * PPB).to_integral_value())


_SIDES = {"BUY": Side.BUY, "LONG": Side.BUY, "SELL": Side.SELL, "SHORT": Side.SELL}


def side_of(text: object, what: str = "side") -> Side:
    """A side in any letter case; a position's is written LONG and SHORT, or BUY and SELL."""
    side = _SIDES.get(text.upper()) if isinstance(text, str) else None
    if side is None:
        raise Malformed(f"{what} is neither buy nor sell: {shortened(text)}")
    return side


def word_of(value: object, what: str) -> str:
    """A word of the venue in upper case, without the underscore that some carry at their end."""
    if not isinstance(value, str) or len(value) > CHARACTERS_MAX:
        raise Malformed(f"{what} is no word: {shortened(value)}")
    return value.upper().rstrip("_")
