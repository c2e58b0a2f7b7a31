"""The exchange's words as the kernels' numbers, and back: order attributes, reasons, and receipts read from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from agora.domain.orders import OrderStatus, OrderType, TimeInForce
from agora.exchange.records import Receipt, ReceiptFill
from agora.exchange.requests import OrderRequest, Reason, SelfTrade
from agora.kernels import matching_layout as layout
from agora.kernels import settlement_layout

TYPE_CODES: Mapping[OrderType, int] = MappingProxyType(
    {
        OrderType.LIMIT: layout.LIMIT,
        OrderType.MARKET: layout.MARKET,
        OrderType.STOP: layout.STOP,
        OrderType.TAKE_PROFIT: layout.TAKE_PROFIT,
    }
)
TIME_CODES: Mapping[TimeInForce, int] = MappingProxyType(
    {
        TimeInForce.GTC: layout.GTC,
        TimeInForce.IOC: layout.IOC,
        TimeInForce.FOK: layout.FOK,
        TimeInForce.GTD: layout.GTD,
    }
)
SELF_TRADE_CODES: Mapping[SelfTrade, int] = MappingProxyType(
    {
        SelfTrade.CANCEL_NEWEST: layout.CANCEL_NEWEST,
        SelfTrade.CANCEL_OLDEST: layout.CANCEL_OLDEST,
        SelfTrade.CANCEL_BOTH: layout.CANCEL_BOTH,
        SelfTrade.DECREMENT: layout.DECREMENT,
    }
)
REASONS: Mapping[int, Reason] = MappingProxyType(
    {
        layout.NO_REASON: Reason.NONE,
        layout.UNKNOWN_ACCOUNT: Reason.UNKNOWN_ACCOUNT,
        layout.UNKNOWN_ORDER: Reason.UNKNOWN_ORDER,
        layout.NOT_YOURS: Reason.NOT_YOURS,
        layout.DUPLICATE_ID: Reason.DUPLICATE_ID,
        layout.BAD_PRICE: Reason.BAD_PRICE,
        layout.BAD_SIZE: Reason.BAD_SIZE,
        layout.BAD_TRIGGER: Reason.BAD_TRIGGER,
        layout.BAD_EXPIRY: Reason.BAD_EXPIRY,
        layout.BAD_COMBINATION: Reason.BAD_COMBINATION,
        layout.TOO_LARGE: Reason.TOO_LARGE,
        layout.POST_ONLY_WOULD_CROSS: Reason.POST_ONLY_WOULD_CROSS,
        layout.FOK_NOT_FILLABLE: Reason.FOK_NOT_FILLABLE,
        layout.NO_LIQUIDITY: Reason.NO_LIQUIDITY,
        layout.IOC_REMAINDER: Reason.IOC_REMAINDER,
        layout.CAPACITY: Reason.CAPACITY,
        layout.SELF_TRADE: Reason.SELF_TRADE,
        layout.REQUESTED: Reason.REQUESTED,
        layout.DUE: Reason.EXPIRED,
        layout.INSUFFICIENT_FUNDS: Reason.INSUFFICIENT_FUNDS,
        layout.INSUFFICIENT_UNITS: Reason.INSUFFICIENT_UNITS,
        layout.SHORTING_NOT_ALLOWED: Reason.SHORTING_NOT_ALLOWED,
        layout.INSUFFICIENT_MARGIN: Reason.INSUFFICIENT_MARGIN,
        layout.REDUCE_ONLY_NO_POSITION: Reason.REDUCE_ONLY_NO_POSITION,
        layout.LIQUIDATION: Reason.LIQUIDATION,
    }
)
_REFUSALS = frozenset({layout.REJECTED, layout.CANCEL_REJECTED, layout.REPLACE_REJECTED})
# Rows that speak of the remaining lots of the order in their first columns.
_OWN_ROWS = frozenset({layout.ACCEPTED, layout.REPLACED, layout.REDUCED, layout.DECREMENTED, layout.TRIGGERED})


def flags_of(request: OrderRequest) -> int:
    """The flag word of an order."""
    return (layout.POST_ONLY if request.post_only else 0) | (layout.REDUCE_ONLY if request.reduce_only else 0)


def refusal(reason: Reason, order_id: int = 0) -> Receipt:
    """The receipt of a request that changed nothing."""
    return Receipt(order_id=order_id, status=OrderStatus.REJECTED, reason=reason)


def receipt_of(order_id: int, rows: Sequence[Sequence[int]]) -> Receipt:
    """What the rows of one call say of one order; fills that it had as maker in the same call are among its fills."""
    first = rows[0]
    if first[layout.CODE] in _REFUSALS:
        return refusal(REASONS[first[layout.REASON]])
    remaining, reason, is_ended = 0, Reason.NONE, False
    fills: list[ReceiptFill] = []
    for row in rows:
        code, is_own = row[layout.CODE], row[layout.ROW_ORDER_ID] == order_id
        if not is_own and row[layout.MAKER_ID] != order_id:
            continue
        if code == layout.FILL:
            fills.append(_fill_of(row, is_maker=not is_own))
        if code in {layout.CANCELLED, layout.EXPIRED}:
            remaining, reason, is_ended = 0, REASONS[row[layout.REASON]], True
        elif code in _OWN_ROWS or code == layout.FILL:
            remaining = row[layout.ROW_REMAINING] if is_own else row[layout.MAKER_REMAINING]
        if code == layout.DECREMENTED and remaining == 0:
            reason, is_ended = Reason.SELF_TRADE, True
    status = _status(remaining, is_ended=is_ended, has_fills=bool(fills))
    return Receipt(order_id=order_id, status=status, reason=reason, fills=tuple(fills), remaining_lots=remaining)


def _fill_of(row: Sequence[int], *, is_maker: bool) -> ReceiptFill:
    fee = row[settlement_layout.ROW_MAKER_FEE if is_maker else settlement_layout.ROW_TAKER_FEE]
    return ReceiptFill(row[layout.ROW_PRICE], row[layout.ROW_SIZE], fee, is_maker)


def _status(remaining: int, *, is_ended: bool, has_fills: bool) -> OrderStatus:
    if is_ended:
        return OrderStatus.CANCELLED
    if remaining == 0:
        return OrderStatus.FILLED
    return OrderStatus.PARTIALLY_FILLED if has_fills else OrderStatus.ACCEPTED
