"""Instruments: what one tick, one lot and one fee is. Facts of a venue, handed in, never guessed later."""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from agora.domain.numbers import MONEY_SCALE, PPM, Rounding, divide_up, parse_decimal, steps_text, to_steps


class Instrument(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """A linear contract: profit in `quote` is size times price change.

    `tick_size` and `lot_size` are decimal text; fees and maintenance margin are parts per million of notional.
    Raises `ValueError` when one tick of one lot is not a whole number of money units.
    """

    symbol: str
    base: str
    quote: str
    tick_size: str
    lot_size: str
    lots_min: int = 1
    lots_max: int = 10_000_000
    maker_fee_ppm: int = 200
    taker_fee_ppm: int = 600
    leverage_max: int = 100
    maintenance_ppm: int = 5_000
    funding_interval_s: int = 28_800

    def __post_init__(self) -> None:
        """Refuse steps that money cannot express exactly."""
        value = parse_decimal(self.tick_size) * parse_decimal(self.lot_size) * MONEY_SCALE
        if value <= 0 or value != int(value):
            raise ValueError(f"{self.symbol}: one tick of one lot is {value} money units, not a whole number")

    @cached_property
    def tick(self) -> Decimal:
        """Price of one tick."""
        return parse_decimal(self.tick_size)

    @cached_property
    def lot(self) -> Decimal:
        """Size of one lot."""
        return parse_decimal(self.lot_size)

    @cached_property
    def tick_lot_units(self) -> int:
        """Money units that one lot gains when the price rises by one tick."""
        return int(self.tick * self.lot * MONEY_SCALE)

    def notional_units(self, price_ticks: int, size_lots: int) -> int:
        """Money value of a size at a price; the sign is the sign of the size."""
        return price_ticks * size_lots * self.tick_lot_units

    def fee_units(self, price_ticks: int, size_lots: int, *, is_maker: bool) -> int:
        """Fee of one fill, rounded up to the next unit (against us)."""
        rate_ppm = self.maker_fee_ppm if is_maker else self.taker_fee_ppm
        return divide_up(abs(self.notional_units(price_ticks, size_lots)) * rate_ppm, PPM)

    def price_ticks(self, text: str | float | Decimal, rounding: Rounding) -> int:
        """Ticks of a decimal price."""
        return to_steps(parse_decimal(text), step=self.tick, rounding=rounding)

    def size_lots(self, text: str | float | Decimal, rounding: Rounding) -> int:
        """Lots of a decimal size."""
        return to_steps(parse_decimal(text), step=self.lot, rounding=rounding)

    def price_text(self, price_ticks: int) -> str:
        """Decimal text of a price."""
        return steps_text(price_ticks, self.tick)

    def size_text(self, size_lots: int) -> str:
        """Decimal text of a size."""
        return steps_text(size_lots, self.lot)


# Bitunix lists these perpetuals with the base fees of tier VIP 0 (maker 0.02 %, taker 0.06 %) and a first
# maintenance tier of 0.5 %; the steps are those of the recordings of the same symbols on other venues.
KNOWN_INSTRUMENTS: dict[str, dict[str, Any]] = {
    "BTCUSDT": {"base": "BTC", "quote": "USDT", "tick_size": "0.1", "lot_size": "0.001"},
    "ETHUSDT": {"base": "ETH", "quote": "USDT", "tick_size": "0.01", "lot_size": "0.001"},
    "ETHUSD": {"base": "ETH", "quote": "USD", "tick_size": "0.01", "lot_size": "0.0001"},
    "TRXUSDT": {"base": "TRX", "quote": "USDT", "tick_size": "0.00001", "lot_size": "1"},
    "XRPUSDT": {"base": "XRP", "quote": "USDT", "tick_size": "0.0001", "lot_size": "0.1"},
}


def known_instrument(symbol: str) -> Instrument:
    """The built-in instrument of that symbol; raises `KeyError` naming the known ones."""
    facts = KNOWN_INSTRUMENTS.get(symbol)
    if facts is None:
        raise KeyError(f"unknown symbol {symbol!r}; known: {', '.join(sorted(KNOWN_INSTRUMENTS))}")
    return Instrument(symbol=symbol, **facts)
