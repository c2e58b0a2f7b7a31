"""Which client ids an account has used, so that an order sent twice is one order. Bounded memory."""

from __future__ import annotations

from collections.abc import Callable

# An id is remembered while its order lives, and beyond that while it is among so many newest: a client that sends an
# order again does so within seconds, and ten thousand orders are minutes of a busy market.
CLIENT_IDS_REMEMBERED = 10_000
_ROTATIONS_MAX = 8  # live orders looked at per order, so that a full memory of live ones costs no scan

Place = tuple[int, int]  # asset, order id


class ClientIds:
    """Client ids per account in order of use. `is_live` says of an asset and order id whether the order is open."""

    __slots__ = ("_is_live", "_places")

    def __init__(self, is_live: Callable[[int, int], bool]) -> None:
        self._is_live = is_live
        self._places: dict[tuple[int, str], Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def is_used(self, account: int, client_id: str) -> bool:
        """Whether that id names an order already."""
        return (account, client_id) in self._places

    def place_of(self, account: int, client_id: str) -> Place | None:
        """Asset and order id of a remembered client id."""
        return self._places.get((account, client_id))

    def remember(self, account: int, client_id: str, place: Place) -> None:
        """Note an accepted order, and forget the oldest that have ended."""
        self._places[account, client_id] = place
        for _ in range(_ROTATIONS_MAX):
            if len(self._places) <= CLIENT_IDS_REMEMBERED:
                return
            key = next(iter(self._places))
            oldest = self._places.pop(key)
            if self._is_live(*oldest):
                self._places[key] = oldest

    def snapshot(self) -> list[list[int | str]]:
        """All remembered ids in order, as plain JSON values."""
        return [[account, client_id, *place] for (account, client_id), place in self._places.items()]

    def restore(self, rows: list[list[int | str]]) -> None:
        """The inverse of `snapshot`."""
        self._places = {
            (int(account), str(client_id)): (int(asset), int(order_id)) for account, client_id, asset, order_id in rows
        }
