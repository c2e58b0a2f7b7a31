"""A readable twin of `kernels/completion` in exact fractions, and a venue that bounds purchases by money."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import NamedTuple


class Schedule(NamedTuple):
    """A market's tick and fee, as fractions of one unit of collateral."""

    tick: Fraction
    rate: Fraction
    exponent: int
    is_of_notional: bool

    def fee(self, price: Fraction) -> Fraction:
        """For one share bought at that price by a taker."""
        fee: Fraction = self.rate * (price * (1 - price)) ** self.exponent
        return fee * price if self.is_of_notional else fee

    def cap(self, budget: Fraction) -> Fraction:
        """The highest price of the grid whose share costs at most the budget; 0 when there is none."""
        prices = (ticks * self.tick for ticks in range(1, floor(1 / self.tick)))
        return max((price for price in prices if price + self.fee(price) <= budget), default=Fraction(0))


class Level(NamedTuple):
    """Shares offered at a price."""

    price: Fraction
    shares: Fraction


def bought(asks: list[Level], *, shares: Fraction, cap: Fraction) -> list[Level]:
    """What a purchase of so many shares takes from the levels at or below the cap."""
    fills = []
    for level in asks:
        taken = min(shares, level.shares)
        if level.price > cap or taken == 0:
            break
        fills.append(Level(level.price, taken))
        shares -= taken
    return fills


def bought_for(asks: list[Level], *, money: Fraction, limit: Fraction) -> list[Level]:
    """What the venue fills of a FAK purchase: its money is the bound, the price only a limit."""
    fills = []
    for level in asks:
        taken = min(money / level.price, level.shares)
        if level.price > limit or taken == 0:
            break
        fills.append(Level(level.price, taken))
        money -= taken * level.price
    return fills


def paid(fills: list[Level]) -> Fraction:
    """Money paid without fees."""
    return sum((level.price * level.shares for level in fills), Fraction(0))
