"""Single values as Bitunix writes them: numbers in strings, empty strings for nothing, times in two forms.

What cannot be meant (NaN, infinities, negative sizes, prices beyond any market) is refused here, at the border.
"""

from __future__ import annotations

import calendar
import re
import time
from decimal import Decimal, InvalidOperation

from agora.domain.numbers import NS_PER_S, PPB
from agora.domain.orders import Side

Number = str | int | float | None
# Nothing is quoted above a billion; what claims to be has another meaning or none.
PRICE_MAX = Decimal(10**9)
SIZE_MAX = Decimal(10**12)
MONEY_MAX = Decimal(10**15)
# No number of the venue has so many characters.
CHARACTERS_MAX = 64
# Year 2200 in ms: a later time is in another unit.
TIME_MS_MAX = 7_258_118_400_000


class Malformed(ValueError):
    """A message that cannot be used; the text says what was expected and what was found, shortened."""


def decimal_of(value: Number, what: str) -> Decimal:
    """A finite decimal; raises `Malformed`."""
    if isinstance(value, bool) or value is None or (isinstance(value, str) and len(value) > CHARACTERS_MAX):
        raise Malformed(f"{what} is no number: {str(value)[:CHARACTERS_MAX]!r}")
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise Malformed(f"{what} is no number: {value!r}") from None
    if not number.is_finite() or abs(number.adjusted()) > CHARACTERS_MAX:
        raise Malformed(f"{what} is not a usable number: {value!r}")
    return number


def price_of(value: Number, what: str = "price") -> Decimal:
    """A price: above zero."""
    number = decimal_of(value, what)
    if not 0 < number <= PRICE_MAX:
        raise Malformed(f"{what} is not a price: {number:f}")
    return number


def price_or_none(value: Number, what: str = "price") -> Decimal | None:
    """A price, or none where the venue writes nothing, zero, or the word `market`."""
    if value is None or value == "" or (isinstance(value, str) and value.lower() == "market"):
        return None
    number = decimal_of(value, what)
    return None if number == 0 else price_of(value, what)


def size_of(value: Number, what: str = "size") -> Decimal:
    """A size: zero or more; nothing written is zero."""
    number = Decimal(0) if value is None or value == "" else decimal_of(value, what)
    if not 0 <= number <= SIZE_MAX:
        raise Malformed(f"{what} is not a size: {number:f}")
    return number


def money_of(value: Number, what: str) -> Decimal:
    """Money, signed; nothing written is zero."""
    number = Decimal(0) if value is None or value == "" else decimal_of(value, what)
    if abs(number) > MONEY_MAX:
        raise Malformed(f"{what} is no amount of money: {number:f}")
    return number


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


def whole_of(value: Number, what: str, *, least: int = 0, most: int = 10**12) -> int:
    """A whole number within bounds, written as a number or a string."""
    number = decimal_of(value, what)
    if number != number.to_integral_value() or not least <= number <= most:
        raise Malformed(f"{what} is not a whole number from {least} to {most}: {value!r}")
    return int(number)


def time_ms(value: Number, what: str) -> int:
    """A Unix time in ms, as REST gives it: a number or a string."""
    return whole_of(value, what, most=TIME_MS_MAX)


_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)


def iso_ns(text: object, what: str) -> int:
    """A UTC time as the sockets give it, with up to nine decimals of a second; 0 for an empty text."""
    if text is None or text == "":
        return 0
    match = _ISO.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Malformed(f"{what} is no UTC time: {str(text)[:CHARACTERS_MAX]!r}")
    try:
        parsed = time.strptime(match[0][:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise Malformed(f"{what} is no UTC time: {match[0]!r}") from None
    return calendar.timegm(parsed) * NS_PER_S + int((match[1] or "0").ljust(9, "0"))


_SIDES = {"BUY": Side.BUY, "LONG": Side.BUY, "SELL": Side.SELL, "SHORT": Side.SELL}


def side_of(text: object, what: str = "side") -> Side:
    """A side in any letter case; a position's is written LONG and SHORT, or BUY and SELL."""
    side = _SIDES.get(text.upper()) if isinstance(text, str) else None
    if side is None:
        raise Malformed(f"{what} is neither buy nor sell: {str(text)[:CHARACTERS_MAX]!r}")
    return side


def word_of(value: object, what: str) -> str:
    """A word of the venue in upper case, without the underscore that some carry at their end."""
    if not isinstance(value, str) or len(value) > CHARACTERS_MAX:
        raise Malformed(f"{what} is no word: {str(value)[:CHARACTERS_MAX]!r}")
    return value.upper().rstrip("_")


def id_of(value: object) -> str:
    """An id as text; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > CHARACTERS_MAX:
        raise Malformed(f"not an id: {str(value)[:CHARACTERS_MAX]!r}")
    return str(value)


def flag_of(value: object) -> bool:
    """A yes or no, also where it is written as a word; nothing written is no."""
    if isinstance(value, str):
        return value.lower() == "true"
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Malformed(f"neither yes nor no: {str(value)[:CHARACTERS_MAX]!r}")
