"""The open orders of accounts with a history: noted, filled, trimmed, ended, and told at each change.

Keeps three things equal: the order's record, the account's list of open orders, and what rests in the book.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import ChangeEvent, OrderChanged, PerpOrder, PerpStatus, PerpTrade
from agora.exchange.perp_state import Market, PerpState
from agora.kernels import matching

_EXPIRING = frozenset({PerpReason.IOC_REMAINDER, PerpReason.FOK_NOT_FILLABLE, PerpReason.DUE})


class OpenOrders:
    """All open orders of an exchange but those of house accounts, which only the books know."""

    def __init__(self, state: PerpState) -> None:
        self._state = state

    def add(self, account: PerpAccount, order: PerpOrder) -> None:
        """Note a new order, before it meets the book."""
        self._state.touched[account.number] = None
        account.open_ids[order.order_id] = None
        if order.reduce_only:
            reducers = self._state.markets[order.symbol].reducers
            reducers[account.number] = reducers.get(account.number, 0) + 1
        if order.client_id:
            account.keep_client_id(order.client_id, order.order_id)
        self.keep(account, order, ChangeEvent.CREATE)

    def note_fill(self, account: PerpAccount, order: PerpOrder, trade: PerpTrade) -> None:
        """Add a fill to its order, which may end with it."""
        instrument = self._state.markets[order.symbol].instrument
        filled, still_open = order.filled_lots + trade.size_lots, order.open_lots - trade.size_lots
        assert still_open >= 0, f"order {order.order_id} traded {trade.size_lots} of {order.open_lots} open lots"
        changed = msgspec.structs.replace(
            order,
            status=PerpStatus.PART_FILLED,
            filled_lots=filled,
            open_lots=still_open,
            cost_units=order.cost_units + instrument.notional_units(trade.price_ticks, trade.size_lots),
            fee_units=order.fee_units + trade.fee_units,
            realised_units=order.realised_units + trade.realised_units,
            changed_ns=self._state.now_ns,
        )
        if still_open:
            self.keep(account, changed, ChangeEvent.UPDATE)
        elif filled == order.size_lots:
            self._close(account, changed, PerpStatus.FILLED)
        else:
            self.end(account, changed, PerpReason.NOTHING_TO_REDUCE)

    def cancel(self, account: PerpAccount, order: PerpOrder, reason: PerpReason) -> None:
        """Take an order out of the book and end it."""
        self.leave_book(order)
        self.end(account, order, reason)

    def expire(self, market: Market) -> None:
        """End the orders whose time has come."""
        words, out = market.book.words, self._state.out
        count = matching.expire(words, out, self._state.now_ns)
        for row in out[:count].tolist():
            self.end_resting(row[matching.ROW_OWNER], row[matching.ROW_ORDER_ID], PerpReason.DUE)

    def trim_reducers(self, market: Market) -> None:
        """Cut every resting reduce-only order to what its position still holds; end it when that is nothing."""
        for number in tuple(market.reducers):
            account = self._state.accounts[number]
            for order in account.open_orders(market.symbol):
                if not order.reduce_only:
                    continue
                closable = max(0, -account.lots_in(market.symbol, order.position_side) * order.side)
                if closable == 0:
                    self.cancel(account, order, PerpReason.NOTHING_TO_REDUCE)
                elif closable < order.open_lots:
                    self.shrink_in_book(order, order.open_lots - closable)
                    trimmed = msgspec.structs.replace(order, open_lots=closable, changed_ns=self._state.now_ns)
                    self.keep(account, trimmed, ChangeEvent.UPDATE)

    def end_resting(self, number: int, order_id: int, reason: PerpReason) -> None:
        """End an order that has left the book already."""
        account = self._state.accounts[number]
        if not account.is_house:
            self.end(account, account.orders[order_id], reason)

    def leave_book(self, order: PerpOrder) -> None:
        """Take an order out of its book only."""
        words, out = self._state.markets[order.symbol].book.words, self._state.out
        matching.cancel(words, out, order.order_id, order.account)
        assert out[0, matching.CODE] == matching.CANCELLED, f"open order {order.order_id} does not rest in the book"

    def shrink_in_book(self, order: PerpOrder, lots: int) -> None:
        """Take lots off an order in its book only; it keeps its priority."""
        words, out = self._state.markets[order.symbol].book.words, self._state.out
        matching.reduce(words, out, order.order_id, order.account, lots)
        assert out[0, matching.CODE] == matching.REDUCED, f"open order {order.order_id} cannot shrink by {lots} lots"

    def end(self, account: PerpAccount, order: PerpOrder, reason: PerpReason) -> None:
        """End an order that has left the book, before it is filled."""
        status = end_status(reason, filled_lots=order.filled_lots)
        self._close(account, msgspec.structs.replace(order, reason=reason), status)

    def _close(self, account: PerpAccount, order: PerpOrder, status: PerpStatus) -> None:
        """Forget an order as an open one."""
        del account.open_ids[order.order_id]
        if order.reduce_only:
            reducers = self._state.markets[order.symbol].reducers
            reducers[account.number] -= 1
            if not reducers[account.number]:
                del reducers[account.number]
        self._state.touched[account.number] = None
        ended: dict[str, Any] = {"status": status, "open_lots": 0, "changed_ns": self._state.now_ns}
        self.keep(account, msgspec.structs.replace(order, **ended), ChangeEvent.CLOSE)

    def keep(self, account: PerpAccount, order: PerpOrder, event: ChangeEvent) -> None:
        """Remember what an order has become, and tell it."""
        account.keep_order(order)
        self._state.tell(OrderChanged(self._state.now_ns, event, order))


def end_status(reason: PerpReason, *, filled_lots: int) -> PerpStatus:
    """The word for an order that ended before it was filled: by its owner, by its own time in force, by the system."""
    if filled_lots:
        return PerpStatus.PART_FILLED_CANCELED
    if reason is PerpReason.REQUESTED:
        return PerpStatus.CANCELED
    return PerpStatus.EXPIRED if reason in _EXPIRING else PerpStatus.SYSTEM_CANCELED
