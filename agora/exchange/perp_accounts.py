"""An account of a perpetual-futures exchange: its ledger, positions, orders and rows. Holds state, decides nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from agora.domain.accounting import Ledger, Position
from agora.exchange.perp_records import (
    ClosedPosition,
    Money,
    PerpOrder,
    PerpTrade,
    PositionMode,
    PositionSide,
    TpslRow,
)

# None: the one position of a symbol in one-way mode; in hedge mode the long or the short one.
Slot = PositionSide | None


class PositionState:
    """An open position. `book` is the exact arithmetic that a run keeps of the same fills."""

    __slots__ = (
        "book",
        "changed_ns",
        "close_units",
        "created_ns",
        "entry_lots",
        "entry_units",
        "fee_units",
        "funding_units",
        "liquidated_lots",
        "lots_max",
        "position_id",
        "realised_units",
        "slot",
        "symbol",
    )

    def __init__(self, position_id: int, *, symbol: str, slot: Slot, now_ns: int) -> None:
        self.position_id = position_id
        self.symbol = symbol
        self.slot = slot
        self.book = Position()
        self.created_ns = self.changed_ns = now_ns
        self.fee_units = self.funding_units = self.realised_units = 0
        self.entry_lots = self.entry_units = self.close_units = 0
        self.lots_max = self.liquidated_lots = 0

    @property
    def side(self) -> PositionSide:
        """Its direction; of a position just closed, of its slot, or long."""
        if self.slot is not None:
            return self.slot
        return PositionSide.SHORT if self.entry_units < 0 else PositionSide.LONG


class PerpAccount:
    """One account. House accounts (market makers) keep no history, so that their flow is cheap.

    Everything that grows is bounded by `history_max`, the oldest ended first; open orders are never forgotten.
    """

    __slots__ = (
        "client_ids",
        "closed",
        "history_max",
        "is_house",
        "ledger",
        "leverages",
        "name",
        "number",
        "open_ids",
        "orders",
        "position_mode",
        "positions",
        "told_money",
        "tpsl",
        "trades",
    )

    def __init__(self, number: int, name: str, *, is_house: bool, history_max: int) -> None:
        self.number = number
        self.name = name
        self.is_house = is_house
        self.history_max = history_max
        self.ledger = Ledger()
        self.position_mode = PositionMode.ONE_WAY
        self.leverages: dict[str, int] = {}
        self.positions: dict[tuple[str, Slot], PositionState] = {}
        self.orders: dict[int, PerpOrder] = {}
        self.open_ids: dict[int, None] = {}
        self.client_ids: dict[str, int] = {}
        self.trades: deque[PerpTrade] = deque(maxlen=history_max)
        self.closed: deque[ClosedPosition] = deque(maxlen=history_max)
        self.tpsl: dict[int, TpslRow] = {}
        self.told_money: Money | None = None

    def lots_in(self, symbol: str, slot: Slot) -> int:
        """Signed lots of a position; 0 without one."""
        position = self.positions.get((symbol, slot))
        return position.book.size_lots if position is not None else 0

    def net_lots(self, symbol: str) -> int:
        """Signed lots in a symbol, long and short together."""
        return sum(self.lots_in(symbol, slot) for slot in (None, PositionSide.LONG, PositionSide.SHORT))

    def position_by_id(self, position_id: int) -> PositionState | None:
        """The open position of that id."""
        return next((place for place in self.positions.values() if place.position_id == position_id), None)

    def open_orders(self, symbol: str | None = None) -> Iterator[PerpOrder]:
        """Orders that rest, oldest first."""
        for order_id in tuple(self.open_ids):
            order = self.orders[order_id]
            if symbol is None or order.symbol == symbol:
                yield order

    def keep_order(self, order: PerpOrder) -> None:
        """Remember an order, new or changed, and forget the oldest ended one when there are too many."""
        self.orders[order.order_id] = order
        if len(self.orders) > self.history_max + len(self.open_ids):
            oldest = next(order_id for order_id in self.orders if order_id not in self.open_ids)
            del self.orders[oldest]

    def keep_client_id(self, client_id: str, order_id: int) -> None:
        """Remember a client id, beyond the end of its order."""
        self.client_ids[client_id] = order_id
        if len(self.client_ids) > self.history_max:
            del self.client_ids[next(iter(self.client_ids))]

    def keep_tpsl(self, row: TpslRow) -> None:
        """Remember a row, new or changed; too many forget the oldest, which has long ended."""
        self.tpsl[row.tpsl_id] = row
        if len(self.tpsl) > self.history_max:
            del self.tpsl[next(iter(self.tpsl))]
