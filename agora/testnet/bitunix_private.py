"""Signed calls of the loopback Bitunix that read: money, orders, trades, positions, triggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import PerpOrder, PerpStatus, TpslStatus
from agora.testnet.bitunix_params import (
    MARGIN_COIN,
    PAGE_ROWS,
    PAGE_ROWS_MAX,
    Asked,
    ms_of,
    refusal_of,
)
from agora.testnet.bitunix_render import Renderer

Item = TypeVar("Item")
# What history leaves out unless it is asked for.
CANCELLED = frozenset(
    {PerpStatus.CANCELED, PerpStatus.SYSTEM_CANCELED, PerpStatus.PART_FILLED_CANCELED, PerpStatus.EXPIRED}
)


def _renderer(asked: Asked) -> Renderer:
    return Renderer(asked.world.settings, asked.world.skew_ns)


def _page(
    asked: Asked, items: Sequence[Item], *, key: str, time_of: Callable[[Item], int], row_of: Callable[[Item], Any]
) -> dict[str, Any]:
    """A page of what lies in the span asked for, newest first, and how many rows there are in all."""
    first_ms, last_ms = asked.span_ms()
    skew_ns = asked.world.skew_ns
    found = [item for item in reversed(items) if first_ms <= ms_of(time_of(item) + skew_ns) <= last_ms]
    skip = asked.whole("skip")
    limit = min(max(asked.whole("limit", PAGE_ROWS), 1), PAGE_ROWS_MAX)
    return {key: [row_of(item) for item in found[skip : skip + limit]], "total": len(found)}


def account(asked: Asked) -> Any:
    """Money."""
    asked.check_coin()
    exchange = asked.world.exchange
    return _renderer(asked).account(exchange.account(asked.number), exchange.position_mode(asked.number))


def leverage_margin_mode(asked: Asked) -> Any:
    """How a symbol is traded."""
    symbol = asked.symbol()
    asked.check_coin()
    leverage = asked.world.exchange.leverage(asked.number, symbol)
    return {"symbol": symbol, "marginCoin": MARGIN_COIN, "leverage": leverage, "marginMode": "CROSS"}


def _is_meant(asked: Asked, order: PerpOrder, symbol: str | None) -> bool:
    """Whether an order is among those asked for."""
    ids = (("orderId", str(order.order_id)), ("clientId", order.client_id), ("status", order.status.value))
    return (
        symbol in (None, order.symbol)
        and all(asked.text(key) in ("", value) for key, value in ids)
        and asked.text("type").upper() in ("", order.type.value)
        and not asked.veil.hides_order(order)
    )


def _orders_page(asked: Asked, orders: Sequence[PerpOrder]) -> dict[str, Any]:
    renderer = _renderer(asked)
    return _page(
        asked,
        orders,
        key="orderList",
        time_of=lambda order: order.created_ns,
        row_of=lambda order: renderer.order(order, asked.instrument(order.symbol)),
    )


def pending_orders(asked: Asked) -> Any:
    """Orders that may still trade."""
    symbol = asked.symbol_or_none()
    orders = asked.world.exchange.open_orders(asked.number, symbol)
    return _orders_page(asked, [order for order in orders if _is_meant(asked, order, symbol)])


def history_orders(asked: Asked) -> Any:
    """Orders that have ended; cancelled ones only if they are asked for."""
    symbol = asked.symbol_or_none()
    shows_cancelled = asked.flag("queryCanceled") or not asked.world.settings.hides_cancelled
    orders = [
        order
        for order in asked.world.exchange.orders(asked.number)
        if not order.is_open and (shows_cancelled or order.status not in CANCELLED)
    ]
    return _orders_page(asked, [order for order in orders if _is_meant(asked, order, symbol)])


def find_order(asked: Asked, order_id: str, client_id: str) -> PerpOrder:
    """An order by the venue's id, else by its owner's; raises `VenueError` when it is not found."""
    exchange = asked.world.exchange
    order: PerpOrder | None = None
    if order_id:
        order = exchange.order(asked.number, int(order_id)) if order_id.isascii() and order_id.isdigit() else None
    elif client_id:
        order = exchange.order_by_client_id(asked.number, client_id)
    else:
        raise refusal_of(PerpReason.BAD_PARAMETER)
    if order is None or asked.veil.hides_order(order):
        raise refusal_of(PerpReason.UNKNOWN_ORDER)
    return order


def order_detail(asked: Asked) -> Any:
    """One order by either id."""
    order = find_order(asked, asked.text("orderId"), asked.text("clientId"))
    return _renderer(asked).order(order, asked.instrument(order.symbol))


def history_trades(asked: Asked) -> Any:
    """Trades; what was undone is gone. By the wire's habit `positionId` does not filter."""
    symbol, order_id = asked.symbol_or_none(), asked.text("orderId")
    position_id = "" if asked.world.settings.ignores_position_filter else asked.text("positionId")
    trades = [
        trade
        for trade in asked.world.exchange.trades(asked.number)
        if symbol in (None, trade.symbol)
        and order_id in ("", str(trade.order_id))
        and position_id in ("", str(trade.position_id))
        and not trade.is_busted
        and not asked.veil.hides_trade(trade)
    ]
    renderer = _renderer(asked)
    return _page(
        asked,
        trades,
        key="tradeList",
        time_of=lambda trade: trade.ts_ns,
        row_of=lambda trade: renderer.trade(trade, asked.instrument(trade.symbol)),
    )


def pending_positions(asked: Asked) -> Any:
    """Open positions."""
    exchange, renderer = asked.world.exchange, _renderer(asked)
    money = exchange.account(asked.number)
    return [
        renderer.position(position, asked.instrument(position.symbol), money)
        for position in exchange.positions(asked.number, asked.symbol_or_none())
        if asked.text("positionId") in ("", str(position.position_id))
    ]


def history_positions(asked: Asked) -> Any:
    """Positions that have ended."""
    symbol, renderer = asked.symbol_or_none(), _renderer(asked)
    positions = [
        position
        for position in asked.world.exchange.closed_positions(asked.number)
        if symbol in (None, position.symbol) and asked.text("positionId") in ("", str(position.position_id))
    ]
    return _page(
        asked,
        positions,
        key="positionList",
        time_of=lambda position: position.created_ns,
        row_of=lambda position: renderer.closed_position(position, asked.instrument(position.symbol)),
    )


def tpsl_pending(asked: Asked) -> Any:
    """Triggers that wait: a plain list."""
    return _tpsl_page(asked, is_history=False)["orderList"]


def tpsl_history(asked: Asked) -> Any:
    """Triggers that are over."""
    return _tpsl_page(asked, is_history=True)


def _tpsl_page(asked: Asked, *, is_history: bool) -> dict[str, Any]:
    symbol, renderer = asked.symbol_or_none(), _renderer(asked)
    rows = [
        row
        for row in asked.world.exchange.tpsl_rows(asked.number)
        if symbol in (None, row.symbol)
        and (row.status is not TpslStatus.NEW) == is_history
        and asked.text("positionId") in ("", str(row.position_id))
    ]
    return _page(
        asked,
        rows,
        key="orderList",
        time_of=lambda row: row.created_ns,
        row_of=lambda row: renderer.tpsl(row, asked.instrument(row.symbol), is_history=is_history),
    )
