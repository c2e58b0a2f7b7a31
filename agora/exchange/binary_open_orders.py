"""The open orders of an exchange of binary markets: noted with what they hold, changed, ended, and told each time.

Keeps equal: an order's record, its account's open orders, what it holds in the ledger, and what rests in the book.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from agora.domain.orders import Side
from agora.exchange.binary_accounts import LiveOrder
from agora.exchange.binary_ledger import Place, Pocket
from agora.exchange.binary_prices import complement, value_up
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import BinaryOrder, BinaryStatus, OrderChanged, OrderEvent, Outcome
from agora.exchange.binary_state import BinaryMarket, BinaryState
from agora.kernels import matching

_END_STATUS: Mapping[BinaryReason, BinaryStatus] = MappingProxyType(
    {
        BinaryReason.MARKET_RESOLVED: BinaryStatus.CANCELED_MARKET_RESOLVED,
        BinaryReason.NOT_ENOUGH_BALANCE: BinaryStatus.CANCELED_NOT_ENOUGH_BALANCE,
        BinaryReason.EXPIRED: BinaryStatus.CANCELED_EXPIRED_ORDER,
    }
)


class BinaryOpenOrders:
    """All open orders of an exchange."""

    def __init__(self, state: BinaryState) -> None:
        self._state = state

    def add(self, live: LiveOrder) -> None:
        """Note a new order."""
        state = self._state
        state.live[live.record.order_id] = live
        state.live_by_number[live.number] = live
        state.accounts[live.account].open[live.record.order_id] = live
        self.change(live, OrderEvent.PLACEMENT)

    def change(self, live: LiveOrder, event: OrderEvent, **changed: Any) -> None:
        """Give an order another record, keep it and tell it; house orders are only changed."""
        state = self._state
        live.record = msgspec.structs.replace(live.record, changed_ns=state.now_ns, **changed)
        if not state.accounts[live.account].is_house:
            state.orders[live.record.order_id] = live.record
            state.tell(OrderChanged(state.now_ns, event, live.record))

    def end(self, live: LiveOrder, reason: BinaryReason) -> None:
        """End an order that has left the book, before it is filled."""
        status = _END_STATUS.get(reason, BinaryStatus.CANCELED)
        self.forget(live)
        self.change(live, OrderEvent.CANCELLATION, status=status, reason=reason, open_units=0)

    def forget(self, live: LiveOrder) -> None:
        """It is no open order any more: what it holds is free again. The oldest ended one is forgotten altogether
        when there are too many.
        """
        state, order_id = self._state, live.record.order_id
        self.hold(live, 0)
        account = state.accounts[live.account]
        del state.live[order_id], state.live_by_number[live.number], account.open[order_id]
        if account.is_house:
            return
        state.ended.append(order_id)
        if len(state.ended) > state.rules.history_max:
            del state.orders[state.ended.popleft()]

    def hold(self, live: LiveOrder, units: int) -> None:
        """Let an order hold so much of its asset, no more and no less."""
        free, held = Place(live.account, Pocket.FREE), Place(live.account, Pocket.HELD)
        ledger, more = self._state.ledger, units - live.held_units
        if more > 0:
            ledger.move(live.held_asset, more, source=free, target=held)
        else:
            ledger.move(live.held_asset, -more, source=held, target=free)
        live.held_units = units

    def cancel(self, live: LiveOrder, reason: BinaryReason) -> None:
        """Take an order out of the book, if it is there, and end it."""
        if not live.is_delayed:
            market = self._state.by_number[live.market_number]
            words, out = market.book.words, self._state.out
            matching.cancel(words, out, live.number, live.account)
            assert out[0, matching.CODE] == matching.CANCELLED, f"{live.record.order_id} does not rest in the book"
            note_level(market, live)
        self.end(live, reason)

    def expire(self, market: BinaryMarket) -> None:
        """End the orders whose time has come."""
        count = matching.expire(market.book.words, self._state.out, self._state.now_ns)
        for row in self._state.out[:count].tolist():
            live = self._state.live_by_number[row[matching.ROW_ORDER_ID]]
            note_level(market, live)
            self.end(live, BinaryReason.EXPIRED)


def book_points(record: BinaryOrder) -> int:
    """The price of an order as one for Up."""
    return record.price_points if record.outcome is Outcome.UP else complement(record.price_points)


def resting_hold(record: BinaryOrder) -> int:
    """What an order that rests holds: the value of a buyer's open shares, a seller's open shares."""
    if record.side is Side.BUY:
        return value_up(record.price_points, record.open_units)
    return record.open_units


def note_level(market: BinaryMarket, live: LiveOrder) -> None:
    """The level of an order has changed."""
    market.touched[live.book_side, book_points(live.record)] = None
