"""Who has how much of what: collateral and outcome tokens in pockets, moved by double entry and nothing else.

Knows no orders, markets or prices. What stands outside (deposits, tokens in existence) is a pocket that is
negative, so that every asset sums to zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

COLLATERAL = "collateral"
VENUE = -1  # the owner of what belongs to no account


class Pocket(StrEnum):
    """What a balance is there for."""

    FREE = "free"
    HELD = "held"  # behind open orders
    ESCROW = "escrow"  # of trades and of sets that are not settled yet
    FEES = "fees"
    SETS = "sets"  # collateral locked in the complete sets of a market, whose number is the owner
    OUTSIDE = "outside"  # where deposits come from, and tokens


class Place(NamedTuple):
    """An owner's pocket."""

    owner: int
    pocket: Pocket


ESCROW = Place(VENUE, Pocket.ESCROW)
FEES = Place(VENUE, Pocket.FEES)
OUTSIDE = Place(VENUE, Pocket.OUTSIDE)


def sets_of(market_number: int) -> Place:
    """Where the collateral of a market's complete sets is locked."""
    return Place(market_number, Pocket.SETS)


class BinaryLedger:
    """All balances. Only what stands outside may be negative."""

    __slots__ = ("_balances",)

    def __init__(self) -> None:
        self._balances: dict[Place, dict[str, int]] = {}

    def units(self, owner: int, pocket: Pocket, asset: str) -> int:
        """A balance."""
        return self._balances.get(Place(owner, pocket), {}).get(asset, 0)

    def move(self, asset: str, units: int, *, source: Place, target: Place) -> None:
        """Take from one pocket and give to another. Raises `AssertionError` when the source has less."""
        assert units >= 0, f"{units} of {asset} cannot move from {source} to {target}"
        if units:
            self._add(source, asset, -units)
            self._add(target, asset, units)

    def _add(self, place: Place, asset: str, units: int) -> None:
        purse = self._balances.setdefault(place, {})
        after = purse.get(asset, 0) + units
        assert after >= 0 or place.pocket is Pocket.OUTSIDE, f"{place} has {after - units} of {asset}, not {-units}"
        purse[asset] = after
        if not after:
            del purse[asset]

    def entries(self) -> Iterator[tuple[Place, str, int]]:
        """Every balance that is not zero."""
        for place, purse in self._balances.items():
            for asset, units in purse.items():
                yield place, asset, units

    def assets_of(self, owner: int) -> tuple[str, ...]:
        """What an owner has any of, in a pocket of his own."""
        pockets = (self._balances.get(Place(owner, pocket), {}) for pocket in (Pocket.FREE, Pocket.HELD))
        return tuple(dict.fromkeys(asset for purse in pockets for asset in purse))
