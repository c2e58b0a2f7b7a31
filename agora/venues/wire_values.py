"""Single values as venues write them, read exactly: numbers, times, ids, yes or no. Knows no venue.

What cannot be meant (NaN, infinities, negative sizes, prices beyond any market) is refused here, at the border.
"""

from __future__ import annotations

import calendar
import re
import time
from decimal import Decimal, InvalidOperation

import msgspec

from agora.domain.numbers import NS_PER_S

Number = str | int | float | Decimal | None
# Nothing is quoted above a billion; what claims to be has another meaning or none.
PRICE_MAX = Decimal(10**9)
SIZE_MAX = Decimal(10**12)
MONEY_MAX = Decimal(10**15)
# No number of a venue has so many characters.
CHARACTERS_MAX = 64
# Year 2200 in ms: a later time is in another unit.
TIME_MS_MAX = 7_258_118_400_000


class Malformed(ValueError):
    """A message that cannot be used; the text says what was expected and what was found, shortened."""


def decode_json(text: str | bytes) -> object:
    """What a JSON text says, its fractions as exact decimals; raises `Malformed` for everything that is none."""
    try:
        return _JSON.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, InvalidOperation, ValueError) as fault:
        raise Malformed(f"no JSON: {type(fault).__name__}") from None


_JSON = msgspec.json.Decoder(float_hook=Decimal)


def decimal_of(value: Number, what: str) -> Decimal:
    """A finite decimal; raises `Malformed`."""
    is_number = isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
    if not is_number or (isinstance(value, str) and len(value) > CHARACTERS_MAX):
        raise Malformed(f"{what} is no number: {shortened(value)}")
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise Malformed(f"{what} is no number: {shortened(value)}") from None
    if not number.is_finite() or abs(number.adjusted()) > CHARACTERS_MAX:
        raise Malformed(f"{what} is not a usable number: {shortened(value)}")
    return number


def shortened(value: object) -> str:
    """A value for a message, whatever was sent."""
    try:
        return repr(value)[:CHARACTERS_MAX]
    except (ValueError, RecursionError):  # whole numbers of more than 4,300 digits have no text
        return type(value).__name__


def price_of(value: Number, what: str = "price") -> Decimal:
    """A price: above zero."""
    number = decimal_of(value, what)
    if not 0 < number <= PRICE_MAX:
        raise Malformed(f"{what} is not a price: {number:f}")
    return number


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


def whole_of(value: Number, what: str, *, least: int = 0, most: int = 10**12) -> int:
    """A whole number within bounds, written as a number or a string."""
    number = decimal_of(value, what)
    if number != number.to_integral_value() or not least <= number <= most:
        raise Malformed(f"{what} is not a whole number from {least} to {most}: {shortened(value)}")
    return int(number)


def time_ms(value: Number, what: str) -> int:
    """A Unix time in ms: a number or a string."""
    return whole_of(value, what, most=TIME_MS_MAX)


_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)


def iso_ns(text: object, what: str) -> int:
    """A UTC time in ISO form, with up to nine decimals of a second; 0 for an empty text."""
    if text is None or text == "":
        return 0
    match = _ISO.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Malformed(f"{what} is no UTC time: {shortened(text)}")
    try:
        parsed = time.strptime(match[0][:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise Malformed(f"{what} is no UTC time: {match[0]!r}") from None
    return calendar.timegm(parsed) * NS_PER_S + int((match[1] or "0").ljust(9, "0"))


_ID_MAX = 10**CHARACTERS_MAX


def id_of(value: object) -> str:
    """An id as text; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _ID_MAX:
        return str(value)
    if not isinstance(value, str) or len(value) > CHARACTERS_MAX:
        raise Malformed(f"not an id: {shortened(value)}")
    return value


def flag_of(value: object) -> bool:
    """A yes or no, also where it is written as a word; nothing written is no."""
    if isinstance(value, str):
        return value.lower() == "true"
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Malformed(f"neither yes nor no: {shortened(value)}")
