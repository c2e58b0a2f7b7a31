"""Parameters of requests to the loopback Bitunix, read as the venue reads them, and refusals in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, parse_decimal
from agora.exchange.perp_reasons import PerpReason, venue_code
from agora.exchange.perp_records import PerpOrder, PerpTrade
from agora.testnet.bitunix_world import TestAccount, World

Params = Mapping[str, Any]
Word = TypeVar("Word", bound=StrEnum)
NUMBER_MAX = Decimal(10**12)
# What no number of a request has more of.
CHARACTERS_MAX = 64
PAGE_ROWS, PAGE_ROWS_MAX = 10, 100
MARGIN_COIN = "USDT"


class VenueError(Exception):
    """The venue's refusal: a code and a message, under HTTP 200."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code} {message}")


def refusal_of(reason: PerpReason) -> VenueError:
    """The venue's words for a reason of the exchange."""
    return VenueError(*venue_code(reason))


def check(reason: PerpReason) -> None:
    """Raise `VenueError` unless the exchange has done it."""
    if reason is not PerpReason.NONE:
        raise refusal_of(reason)


class Veil(Protocol):
    """What reads do not show for now (`Mischief`)."""

    def hides_order(self, order: PerpOrder) -> bool:
        """Whether an order is not found."""
        ...

    def hides_trade(self, trade: PerpTrade) -> bool:
        """Whether a trade is not listed."""
        ...


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One call: of whom, with which parameters. `placed` collects the orders that it makes, refused ones included."""

    world: World
    params: Params
    veil: Veil
    account: TestAccount | None = None
    is_coarse: bool = False
    placed: list[PerpOrder] = []

    @property
    def number(self) -> int:
        """The account's number at the exchange."""
        assert self.account is not None, "a signed call has an account"
        return self.account.number

    def instrument(self, symbol: str) -> Instrument:
        """Steps of a symbol."""
        return self.world.exchange.listing(symbol).instrument

    def text(self, key: str) -> str:
        """A parameter as text, empty without one."""
        value = self.params.get(key)
        return "" if value is None else str(value)[:CHARACTERS_MAX]

    def needed(self, key: str) -> str:
        """A parameter that must be there."""
        value = self.text(key)
        if not value:
            raise refusal_of(PerpReason.BAD_PARAMETER)
        return value

    def symbol(self) -> str:
        """The symbol, which must be there: without one the venue says code 1."""
        name = self.text("symbol").upper()
        if not name:
            raise VenueError(1, "Network Error")
        return self._listed(name)

    def symbol_or_none(self) -> str | None:
        """The symbol, where one is named."""
        name = self.text("symbol").upper()
        return self._listed(name) if name else None

    def _listed(self, name: str) -> str:
        if name not in self.world.symbols:
            raise VenueError(20015, "this Futures is not allowed to trade.")
        return name

    def symbols(self) -> Sequence[str]:
        """The listed ones of a comma list; all without one."""
        names = [name.strip().upper() for name in str(self.params.get("symbols") or "").split(",") if name.strip()]
        return [name for name in self.world.symbols if not names or name in names]

    def check_coin(self) -> None:
        """The margin coin must be named, and there is one."""
        if self.needed("marginCoin").upper() != MARGIN_COIN:
            raise not_among(self.text("marginCoin"), (MARGIN_COIN,))

    def word(self, key: str, kind: type[Word], default: Word | None = None) -> Word:
        """One of the venue's words."""
        text = self.text(key).upper()
        if not text and default is not None:
            return default
        try:
            return kind(text)
        except ValueError:
            raise not_among(text, [each.value for each in kind]) from None

    def flag(self, key: str) -> bool:
        """A yes or no."""
        return self.text(key).lower() == "true"

    def whole(self, key: str, default: int = 0) -> int:
        """A whole number, not below zero."""
        text = self.text(key)
        if not text:
            return default
        if not (text.isascii() and text.isdigit()):
            raise refusal_of(PerpReason.BAD_PARAMETER)
        return int(text)

    def number_of(self, key: str) -> Decimal:
        """A decimal number that must be there."""
        try:
            number = parse_decimal(self.needed(key))
        except ValueError:
            raise refusal_of(PerpReason.BAD_PARAMETER) from None
        if abs(number) > NUMBER_MAX:
            raise refusal_of(PerpReason.BAD_PARAMETER)
        return number

    def price_ticks(self, key: str, instrument: Instrument) -> int:
        """A price on the tick."""
        return _steps(self.number_of(key), instrument.tick)

    def size_lots(self, key: str, instrument: Instrument) -> int:
        """A size on the lot."""
        return _steps(self.number_of(key), instrument.lot)

    def span_ms(self, start_key: str = "startTime") -> tuple[int, int]:
        """First and last time asked for, ms, both included."""
        return self.whole(start_key), self.whole("endTime", 2**62)


def not_among(value: str, allowed: Sequence[str]) -> VenueError:
    """The venue's words for a value outside its list."""
    return VenueError(10008, f"{value} does not comply with the rule, optional [{', '.join(allowed)}]")


def not_alternative(value: str, allowed: Sequence[str]) -> VenueError:
    """The same of public calls, which put it otherwise."""
    listed = ",".join(f'"{each}"' for each in allowed)
    return VenueError(10008, f"Parameter {value} does not match, alternative value [{listed}].")


def _steps(number: Decimal, step: Decimal) -> int:
    steps = number / step
    if steps != int(steps):
        raise refusal_of(PerpReason.BAD_PARAMETER)
    return int(steps)


def ms_of(ts_ns: int) -> int:
    """Unix ms."""
    return ts_ns // NS_PER_MS


def average_text(cost_units: int, lots: int, instrument: Instrument) -> str:
    """An average price, cut to ten decimals; 0 of nothing."""
    if not lots:
        return "0"
    average = Decimal(cost_units) / MONEY_SCALE / (lots * instrument.lot)
    return f"{average:.10f}".rstrip("0").rstrip(".")
