"""The rules of a perpetual-futures exchange: what is listed, on which terms, and how much is kept. Knows no state."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.numbers import PPM

# An order a second for a day is 86,400: nothing of a day's testing by one account is forgotten.
HISTORY_MAX = 100_000
# Nobody takes changes less often than once a second; this is minutes of the busiest market. Older ones are lost
# and counted.
CHANGES_MAX = 200_000
_UNBOUNDED_UNITS = 10**24  # the end of a last tier that has none


class PerpTier(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the position ladder: up to which value, with which leverage at most, and the maintenance margin."""

    end_units: int
    leverage_max: int
    maintenance_ppm: int


class PerpListing(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """One contract: its steps, fees and size limits, the price it opens at, and the ladder of its positions.

    Without tiers there is one, of the instrument's own leverage and maintenance margin. A buy may not be priced
    above mark * (1 + band), a sell not below mark * (1 - band).
    """

    instrument: Instrument
    price_ticks: Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    tiers: tuple[PerpTier, ...] = ()
    band_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 50_000
    leverage_default: Annotated[int, msgspec.Meta(ge=1)] = 20
    market_lots_max: int = 0

    def __post_init__(self) -> None:
        """Refuse a ladder that does not rise, and a default leverage that no tier allows."""
        ends = [tier.end_units for tier in self.tiers]
        if any(low >= high for low, high in zip([0, *ends], ends, strict=False)):
            raise ValueError(f"{self.instrument.symbol}: the tiers do not rise: {ends}")
        if self.leverage_default > self.ladder[0].leverage_max:
            raise ValueError(f"{self.instrument.symbol}: no tier allows {self.leverage_default}x")

    @cached_property
    def ladder(self) -> tuple[PerpTier, ...]:
        """The tiers, lowest first; at least one."""
        instrument = self.instrument
        only = PerpTier(
            end_units=_UNBOUNDED_UNITS,
            leverage_max=instrument.leverage_max,
            maintenance_ppm=instrument.maintenance_ppm,
        )
        return self.tiers or (only,)

    @property
    def funding_interval_s(self) -> int:
        """Time between two funding instants."""
        return self.instrument.funding_interval_s

    def tier_number(self, value_units: int) -> int:
        """Place in the ladder of a position of that value; beyond the last tier, the last."""
        for number, tier in enumerate(self.ladder):
            if value_units <= tier.end_units:
                return number
        return len(self.ladder) - 1

    def value_max_units(self, leverage: int) -> int:
        """The largest position value that may be opened with that leverage; 0: none."""
        return max((tier.end_units for tier in self.ladder if tier.leverage_max >= leverage), default=0)


class PerpRules(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a perpetual-futures exchange is built from; all listings are quoted in one currency.

    `counts_liquidation_fee`: the taker fee of a liquidation is part of the maintenance margin (the venue says so
    of cross margin in a notice, without the formula).
    """

    listings: tuple[PerpListing, ...]
    order_capacity: Annotated[int, msgspec.Meta(ge=1, le=2**20)] = 2**13
    account_capacity: Annotated[int, msgspec.Meta(ge=2, le=2**16)] = 2**10
    history_max: Annotated[int, msgspec.Meta(ge=1)] = HISTORY_MAX
    changes_max: Annotated[int, msgspec.Meta(ge=1)] = CHANGES_MAX
    counts_liquidation_fee: bool = False

    def __post_init__(self) -> None:
        """Refuse an exchange without listings, with a symbol listed twice or with two quote currencies."""
        symbols = [listing.instrument.symbol for listing in self.listings]
        quotes = {listing.instrument.quote for listing in self.listings}
        if not symbols or len(set(symbols)) != len(symbols) or len(quotes) != 1:
            raise ValueError(f"listings have distinct symbols and one quote currency: {symbols}, {sorted(quotes)}")
