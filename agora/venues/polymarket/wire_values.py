"""Single values as Polymarket writes them: prices between nothing and one, long ids, times in seconds or ms, words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from agora.domain.orders import Side
from agora.exchange.binary_prices import UNIT
from agora.venues.wire_values import SIZE_MAX, TIME_MS_MAX, Malformed, Number, decimal_of, shortened, whole_of

# Digits of 2**256 - 1: tokens, allowances.
DIGITS_MAX = 78
# Conditions and order ids have 66 characters, owners 36.
_NAME = re.compile(r"[0-9A-Za-z_-]{1,80}", re.ASCII)
_DIGITS = re.compile(rf"[0-9]{{1,{DIGITS_MAX}}}", re.ASCII)
WORDS_MAX = 300
UNITS_MAX = int(SIZE_MAX) * UNIT
# Times below this are seconds (until the year 5138), above it ms (from the year 1973).
_SECONDS_MAX = 10**11


def name_of(value: object, what: str) -> str:
    """An id of the venue: of an order, a market, a trade, an owner."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Malformed(f"{what} is no id: {shortened(value)}")
    return value


def name_or_empty(value: object, what: str) -> str:
    """An id, or an empty text where nothing is written."""
    return "" if value is None or value == "" else name_of(value, what)


def token_of(value: object, what: str = "asset_id") -> str:
    """A token's id: decimal digits of at most 256 bits."""
    if not isinstance(value, str) or not _DIGITS.fullmatch(value) or int(value) >= 2**256:
        raise Malformed(f"{what} is no token: {shortened(value)}")
    return value


def units_of(value: object, what: str) -> int:
    """Millionths of a share or of collateral, as many as there can be."""
    number = allowance_of(value, what)
    if number > UNITS_MAX:
        raise Malformed(f"{what} is no amount: {shortened(value)}")
    return number


def allowance_of(value: object, what: str) -> int:
    """What a contract may move: often the largest number of 256 bits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 2**256 else ""
    return int(token_of(value, what))


def odds_of(value: Number, what: str = "price") -> Decimal:
    """A price at which one can trade: above nothing, below one."""
    number = decimal_of(value, what)
    if not 0 < number < 1:
        raise Malformed(f"{what} is not between 0 and 1: {number:f}")
    return number


def odds_or_none(value: Number, what: str) -> Decimal | None:
    """A price, or none where nothing is written or nobody can stand: at nothing and at one."""
    if value is None or value == "":
        return None
    number = share_of(value, what)
    return number if 0 < number < 1 else None


def share_of(value: Number, what: str) -> Decimal:
    """A share of one from 0 to 1, both included: prices of what is decided, averages, rates."""
    number = decimal_of(value, what)
    if not 0 <= number <= 1:
        raise Malformed(f"{what} is not within 0 and 1: {number:f}")
    return number


_SIDES: Mapping[str, Side] = {"BUY": Side.BUY, "SELL": Side.SELL}


def side_of(text: object, what: str = "side") -> Side:
    """BUY or SELL."""
    side = _SIDES.get(text) if isinstance(text, str) else None
    if side is None:
        raise Malformed(f"{what} is neither BUY nor SELL: {shortened(text)}")
    return side


def side_or_none(text: object, what: str = "side") -> Side | None:
    """A side, or none where older messages have none."""
    return None if text is None or text == "" else side_of(text, what)


def words_of(value: object, what: str) -> str:
    """A text of the venue, shortened and fit for a log; empty where there is none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{what} is no text: {shortened(value)}")
    return "".join(letter if letter.isprintable() else " " for letter in value[:WORDS_MAX])


def stamp_ms(value: Number, what: str = "timestamp") -> int:
    """A Unix time in ms, of a field that carries seconds or ms; raises `Malformed` where there is none."""
    number = whole_of(value, what, most=TIME_MS_MAX)
    return number if number >= _SECONDS_MAX else number * 1_000


def seconds_of(value: Number, what: str) -> int:
    """A Unix time in seconds; 0 where nothing is written."""
    return 0 if value is None or value == "" else whole_of(value, what, most=_SECONDS_MAX)
