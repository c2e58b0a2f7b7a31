"""Taking, changing and firing take-profit and stop-loss rows: a fired row becomes an order that only reduces."""

from __future__ import annotations

import msgspec

from agora.domain.orders import Side
from agora.exchange import perp_checks as checks
from agora.exchange.perp_accounts import PerpAccount, PositionState
from agora.exchange.perp_orders import Orders
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    ChangeEvent,
    OrderSource,
    PerpRequest,
    PerpType,
    PositionMode,
    PositionSide,
    TpslKind,
    TpslRow,
    TpslStatus,
    TradeSide,
    TriggerLeg,
)
from agora.exchange.perp_state import PerpState
from agora.exchange.perp_tpsl import Legs, Place, TpslRows


class Triggers:
    """What accounts ask of rows, and what happens when a price has come."""

    def __init__(self, state: PerpState, rows: TpslRows, orders: Orders) -> None:
        self._state = state
        self._rows = rows
        self._orders = orders

    def place(self, account: PerpAccount, position_id: int, *, legs: Legs, kind: TpslKind) -> TpslRow | PerpReason:
        """Add a row to an open position; of those that close it whole there is one."""
        position = account.position_by_id(position_id)
        if position is None:
            return PerpReason.UNKNOWN_POSITION
        live = self._rows.live_in(account, position.symbol)
        if kind is TpslKind.POSITION and any(
            row.kind is TpslKind.POSITION and row.position_id == position_id for row in live
        ):
            return PerpReason.TPSL_EXISTS
        if kind is TpslKind.POSITION:
            legs = (_whole(legs[0]), _whole(legs[1]))
        reason = self._refusal(position, legs, kind)
        if reason is not PerpReason.NONE:
            return reason
        place = Place(position.symbol, position_id, position.side)
        is_whole = kind is TpslKind.POSITION
        return self._rows.create(account, place, legs=legs, is_whole=is_whole)

    def modify(self, account: PerpAccount, tpsl_id: int, *, legs: Legs) -> PerpReason:
        """Give a row other legs; None keeps the leg that is there."""
        row = account.tpsl.get(tpsl_id)
        if row is None or row.status is not TpslStatus.NEW:
            return PerpReason.UNKNOWN_TPSL if row is None else PerpReason.ORDER_ENDED
        position = account.position_by_id(row.position_id)
        if position is None:
            return PerpReason.UNKNOWN_POSITION
        if row.kind is TpslKind.POSITION:
            legs = (_whole(legs[0]), _whole(legs[1]))
        reason = self._refusal(position, legs, row.kind)
        if reason is PerpReason.NONE:
            self._rows.hits.pop(tpsl_id, None)
            changed = msgspec.structs.replace(row, tp=legs[0] or row.tp, sl=legs[1] or row.sl)
            self._rows.keep(changed, ChangeEvent.UPDATE)
        return reason

    def cancel(self, account: PerpAccount, tpsl_id: int) -> PerpReason:
        """End a row at its owner's wish."""
        row = account.tpsl.get(tpsl_id)
        if row is None or row.status is not TpslStatus.NEW:
            return PerpReason.UNKNOWN_TPSL if row is None else PerpReason.ORDER_ENDED
        self._rows.end(row, TpslStatus.CANCELED)
        return PerpReason.NONE

    def _refusal(self, position: PositionState, legs: Legs, kind: TpslKind) -> PerpReason:
        if legs == (None, None):
            return PerpReason.TPSL_MISSING
        market = self._state.markets[position.symbol]
        for leg, is_tp in ((legs[0], True), (legs[1], False)):
            if leg is None:
                continue
            reason = checks.leg_refusal(leg)
            if reason is PerpReason.NONE and kind is TpslKind.FIXED:
                reason = _size_refusal(leg, position)
            if reason is PerpReason.NONE:
                reason = checks.trigger_refusal(market, position.side, leg=leg, is_tp=is_tp)
            if reason is not PerpReason.NONE:
                return reason
        return PerpReason.NONE

    def fire(self) -> None:
        """Let all hit rows act, first hit first; what their trades hit acts after them.

        Each round ends a row, and an order that only reduces wakes none, so this ends.
        """
        hits = self._rows.hits
        while hits:
            row_id = next(iter(hits))
            leg = hits.pop(row_id)
            owner = next(market.tpsl[row_id] for market in self._state.markets.values() if row_id in market.tpsl)
            account = self._state.accounts[owner]
            self._fire(account, account.tpsl[row_id], leg)

    def _fire(self, account: PerpAccount, row: TpslRow, leg: TriggerLeg) -> None:
        """End a row and place its order, which the row names before it exists: so the row is told first."""
        position = account.position_by_id(row.position_id)
        if position is None:
            self._rows.end(row, TpslStatus.FAILED, reason=PerpReason.UNKNOWN_POSITION)
            return
        child_id = self._state.last_id + 1
        self._rows.end(row, TpslStatus.FILLED, child_order_id=child_id, triggered_ns=self._state.now_ns)
        lots = leg.size_lots or abs(position.book.size_lots)
        request = closing_request(
            account,
            position,
            size_lots=lots,
            price_ticks=leg.order_price_ticks if leg.order_type is PerpType.LIMIT else 0,
        )
        child = self._orders.submit_unchecked(account, request, OrderSource.TPSL)
        assert child.order_id == child_id, f"row {row.tpsl_id} named order {child_id}, made {child}"


def closing_request(
    account: PerpAccount, position: PositionState, *, size_lots: int, price_ticks: int = 0
) -> PerpRequest:
    """An order that reduces a position, as the account's mode wants it said; without a price at market."""
    is_long = position.book.size_lots > 0
    is_hedge = account.position_mode is PositionMode.HEDGE
    names_position = Side.BUY if position.side is PositionSide.LONG else Side.SELL
    return PerpRequest(
        symbol=position.symbol,
        side=names_position if is_hedge else (Side.SELL if is_long else Side.BUY),
        size_lots=size_lots,
        type=PerpType.LIMIT if price_ticks else PerpType.MARKET,
        price_ticks=price_ticks,
        trade_side=TradeSide.CLOSE if is_hedge else TradeSide.NONE,
        position_id=position.position_id,
        reduce_only=True,
    )


def _whole(leg: TriggerLeg | None) -> TriggerLeg | None:
    """A leg of a row that closes its position whole: at market, whatever its size then is."""
    if leg is None:
        return None
    return msgspec.structs.replace(leg, size_lots=0, order_type=PerpType.MARKET, order_price_ticks=0)


def _size_refusal(leg: TriggerLeg, position: PositionState) -> PerpReason:
    if leg.size_lots < 1:
        return PerpReason.TOO_SMALL
    return PerpReason.TPSL_TOO_LARGE if leg.size_lots > abs(position.book.size_lots) else PerpReason.NONE
