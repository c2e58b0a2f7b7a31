"""Bodies of requests that change something, as the venue wants them. No IO.

In hedge mode `side` of a request names the position: closing a long is BUY + CLOSE with the position's id, although
the order that results is a SELL. In one-way mode it is the action.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agora.domain.orders import Side

ONE_WAY, HEDGE = "ONE_WAY", "HEDGE"


class PlaceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order. Numbers are decimal text; `side` is the action; `position_id`: in hedge mode, what it closes."""

    symbol: str
    side: Side
    order_type: str
    qty: str
    client_id: str
    effect: str = ""
    price: str = ""
    reduce_only: bool = False
    position_id: str = ""
    position_mode: str = ONE_WAY
    tp_price: str = ""
    tp_stop_type: str = ""
    sl_price: str = ""
    sl_stop_type: str = ""


def place_body(request: PlaceRequest) -> dict[str, Any]:
    """The body of one order; what is empty is left out."""
    body: dict[str, Any] = {
        "symbol": request.symbol,
        "orderType": request.order_type,
        "qty": request.qty,
        "clientId": request.client_id,
        **_direction(request),
    }
    if request.order_type == "LIMIT":
        body |= {"price": request.price, "effect": request.effect or "GTC"}
    for kind, price, stop_type in (
        ("tp", request.tp_price, request.tp_stop_type),
        ("sl", request.sl_price, request.sl_stop_type),
    ):
        if price:
            body |= {f"{kind}Price": price, f"{kind}StopType": stop_type, f"{kind}OrderType": "MARKET"}
    return body


def _direction(request: PlaceRequest) -> dict[str, Any]:
    if request.position_mode == ONE_WAY:
        return {"side": request.side.name, "reduceOnly": request.reduce_only}
    if not request.reduce_only:
        return {"side": request.side.name, "tradeSide": "OPEN", "reduceOnly": False}
    return {
        "side": Side(-request.side).name,
        "tradeSide": "CLOSE",
        "positionId": request.position_id,
        "reduceOnly": True,
    }


def batch_body(requests: list[PlaceRequest]) -> dict[str, Any]:
    """Up to five orders of one symbol at once."""
    rows = [place_body(request) for request in requests]
    return {
        "symbol": requests[0].symbol,
        "orderList": [{key: value for key, value in row.items() if key != "symbol"} for row in rows],
    }


def cancel_body(symbol: str, ids: list[tuple[str, str]]) -> dict[str, Any]:
    """Orders to cancel by (order id, client id); the venue's id is used where it is known."""
    rows = [{"orderId": order_id} if order_id else {"clientId": client_id} for order_id, client_id in ids]
    return {"symbol": symbol, "orderList": rows}


def modify_body(*, order_id: str, qty: str, price: str) -> dict[str, Any]:
    """An order's new size and price; the venue wants both."""
    return {"orderId": order_id, "qty": qty, "price": price}


class TriggerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger's terms; sizes empty: those of the position. It trades at the market."""

    tp_price: str = ""
    tp_qty: str = ""
    tp_stop_type: str = ""
    sl_price: str = ""
    sl_qty: str = ""
    sl_stop_type: str = ""


def trigger_body(request: TriggerRequest, **names: str) -> dict[str, Any]:
    """The terms of a trigger beside what names it; what is empty is left out."""
    body: dict[str, Any] = {key: value for key, value in names.items() if value}
    for kind, price, qty, stop_type in (
        ("tp", request.tp_price, request.tp_qty, request.tp_stop_type),
        ("sl", request.sl_price, request.sl_qty, request.sl_stop_type),
    ):
        if not price:
            continue
        body |= {f"{kind}Price": price, f"{kind}StopType": stop_type}
        if qty:
            body |= {f"{kind}Qty": qty, f"{kind}OrderType": "MARKET"}
    return body
