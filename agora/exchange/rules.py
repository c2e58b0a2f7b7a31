"""The rules of a market: what is listed, on which terms, and how much the exchange holds. Knows no state."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import msgspec

from agora.domain.instruments import Instrument

# A book of 2**13 orders takes 3 MB; a thousand agents with a few orders each stay below it.
ORDERS_PER_BOOK = 2**13
# The tape takes 1.5 MB: more trades than a tick of ten thousand agents brings, so that none is overwritten unseen.
TRADES_REMEMBERED = 2**14


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One asset: its steps and fees, the price it is listed at, and the terms of selling what one does not own.

    Margins are parts per million of a short's value: `initial` is locked beside the proceeds when it is opened,
    below `maintenance` it is bought back.
    """

    instrument: Instrument
    listing_price_ticks: Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    allows_shorts: bool = False
    initial_margin_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 500_000
    maintenance_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 250_000


class MarketRules(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """Everything an exchange is built from. Symbols are unique; an asset's number is its place in `assets`."""

    assets: tuple[Listing, ...]
    order_capacity: Annotated[int, msgspec.Meta(ge=1, le=2**20)] = ORDERS_PER_BOOK
    account_capacity: Annotated[int, msgspec.Meta(ge=1, le=2**20)] = 1_024
    trade_capacity: Annotated[int, msgspec.Meta(ge=16, le=2**24)] = TRADES_REMEMBERED
    candles_per_interval: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000

    def __post_init__(self) -> None:
        """Refuse a market without assets or with a symbol listed twice."""
        symbols = [listing.instrument.symbol for listing in self.assets]
        if not symbols:
            raise ValueError("a market lists at least one asset")
        if len(set(symbols)) != len(symbols):
            raise ValueError(f"a symbol is listed twice: {symbols}")

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, in the order of asset numbers."""
        return tuple(listing.instrument.symbol for listing in self.assets)

    @cached_property
    def currencies(self) -> tuple[str, ...]:
        """The quote currencies, in the order of their numbers: first use first."""
        return tuple(dict.fromkeys(listing.instrument.quote for listing in self.assets))
