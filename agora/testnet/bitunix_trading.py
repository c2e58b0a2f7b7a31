"""Signed calls of the loopback Bitunix that change something: orders, positions, triggers, settings of the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.orders import Side
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    Effect,
    MarginMode,
    PerpOrder,
    PerpRequest,
    PerpType,
    PositionMode,
    TpslKind,
    TpslRow,
    TpslStatus,
    TradeSide,
    TriggerBy,
    TriggerLeg,
)
from agora.testnet.bitunix_params import (
    MARGIN_COIN,
    Asked,
    VenueError,
    check,
    not_among,
    refusal_of,
)
from agora.testnet.bitunix_private import find_order

BATCH_MAX = 5
# Cancels at once; the venue names no limit, a test names none near this.
CANCELS_MAX = 100
CLIENT_ID_CHARACTERS_MAX = 64
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
# Tables and examples write it differently; both are understood.
_TRIGGERS = {
    "": TriggerBy.LAST_PRICE, "LAST_PRICE": TriggerBy.LAST_PRICE, "LAST": TriggerBy.LAST_PRICE,
    "MARK_PRICE": TriggerBy.MARK_PRICE, "MARK": TriggerBy.MARK_PRICE,
}  # fmt: skip


# Orders.


def _request_of(asked: Asked) -> PerpRequest:
    """The order that a body asks for; raises `VenueError`."""
    symbol = asked.symbol()
    instrument = asked.instrument(symbol)
    side = _SIDES.get(asked.needed("side").upper())
    if side is None:
        raise not_among(asked.text("side"), tuple(_SIDES))
    kind = asked.word("orderType", PerpType)
    is_limit = kind is PerpType.LIMIT
    client_id = str(asked.params.get("clientId") or "")
    if len(client_id) > CLIENT_ID_CHARACTERS_MAX:
        raise refusal_of(PerpReason.BAD_PARAMETER)
    return PerpRequest(
        symbol=symbol,
        side=side,
        size_lots=asked.size_lots("qty", instrument),
        type=kind,
        effect=asked.word("effect", Effect, Effect.GTC) if is_limit else Effect.GTC,
        price_ticks=asked.price_ticks("price", instrument) if is_limit else 0,
        trade_side=asked.word("tradeSide", TradeSide, TradeSide.NONE),
        position_id=asked.whole("positionId"),
        client_id=client_id,
        reduce_only=asked.flag("reduceOnly"),
        tp=_leg_of(asked, "tp", instrument),
        sl=_leg_of(asked, "sl", instrument),
    )


def _leg_of(asked: Asked, kind: str, instrument: Instrument) -> TriggerLeg | None:
    """One half of a trigger, where there is a price for it."""
    if not asked.text(f"{kind}Price"):
        return None
    by = _TRIGGERS.get(asked.text(f"{kind}StopType").upper())
    if by is None:
        raise not_among(asked.text(f"{kind}StopType"), ("MARK_PRICE", "LAST_PRICE"))
    order_type = asked.word(f"{kind}OrderType", PerpType, PerpType.MARKET)
    is_limit = order_type is PerpType.LIMIT
    return TriggerLeg(
        price_ticks=asked.price_ticks(f"{kind}Price", instrument),
        by=by,
        order_type=order_type,
        order_price_ticks=asked.price_ticks(f"{kind}OrderPrice", instrument) if is_limit else 0,
        size_lots=asked.size_lots(f"{kind}Qty", instrument) if asked.text(f"{kind}Qty") else 0,
    )


def _placed(asked: Asked) -> PerpOrder:
    """The order, taken; raises `VenueError` when it is refused."""
    order = asked.world.exchange.submit(asked.number, _request_of(asked))
    if order.is_refused:
        raise refusal_of(order.reason)
    return order


def place_order(asked: Asked) -> Any:
    """One order."""
    order = _placed(asked)
    asked.placed.append(order)
    return {"orderId": str(order.order_id), "clientId": order.client_id}


def _rows_of(asked: Asked, rows_max: int) -> Sequence[Mapping[str, Any]]:
    rows = asked.params.get("orderList")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise refusal_of(PerpReason.BAD_PARAMETER)
    if len(rows) > rows_max:
        raise VenueError(20016, "Batch order exceeded the max size")
    return rows


def batch_order(asked: Asked) -> Any:
    """Up to five orders of one symbol, each taken or not by itself."""
    asked.symbol()
    done, failed = [], []
    for row in _rows_of(asked, BATCH_MAX):
        params = {**row, "symbol": asked.text("symbol")}
        try:
            order = _placed(msgspec.structs.replace(asked, params=params))
        except VenueError as refusal:
            failed.append(
                {
                    "clientId": str(row.get("clientId") or ""),
                    "errorMsg": refusal.message,
                    "errorCode": refusal.code,
                }
            )
            continue
        asked.placed.append(order)
        done.append({"id": str(order.order_id), "clientId": order.client_id})
    return {"successList": done, "failureList": failed}


def cancel_orders(asked: Asked) -> Any:
    """Orders by either id, each cancelled or not by itself."""
    symbol = asked.symbol()
    done, failed = [], []
    for row in _rows_of(asked, CANCELS_MAX):
        order_id, client_id = str(row.get("orderId") or ""), str(row.get("clientId") or "")
        try:
            order = find_order(asked, order_id, client_id)
            if order.symbol != symbol:
                raise refusal_of(PerpReason.UNKNOWN_ORDER)
            check(asked.world.exchange.cancel(asked.number, order.order_id))
        except VenueError as refusal:
            names = {"orderId": order_id, "clientId": client_id}
            failed.append({**names, "errorMsg": refusal.message, "errorCode": refusal.code})
            continue
        done.append({"orderId": str(order.order_id), "clientId": order.client_id})
    return {"successList": done, "failureList": failed}


def cancel_all_orders(asked: Asked) -> Any:
    """Everything that is open, or everything in a symbol."""
    ended = asked.world.exchange.cancel_all(asked.number, asked.symbol_or_none())
    rows = [{"orderId": str(order.order_id), "clientId": order.client_id} for order in ended]
    return {"successList": rows, "failureList": []}


def modify_order(asked: Asked) -> Any:
    """Another size and price, both of which are needed. Triggers are changed by their own calls here."""
    order = find_order(asked, asked.text("orderId"), asked.text("clientId"))
    instrument = asked.instrument(order.symbol)
    if asked.text("tpPrice") or asked.text("slPrice"):
        raise refusal_of(PerpReason.BAD_PARAMETER)
    reason = asked.world.exchange.modify(
        asked.number,
        order.order_id,
        price_ticks=asked.price_ticks("price", instrument),
        size_lots=asked.size_lots("qty", instrument),
    )
    check(reason)
    asked.placed.append(order)
    return {"orderId": str(order.order_id), "clientId": order.client_id}


def close_all_position(asked: Asked) -> Any:
    """All positions at the market, or those of a symbol."""
    asked.world.exchange.close_all(asked.number, asked.symbol_or_none())
    return ""


def flash_close_position(asked: Asked) -> Any:
    """One position at the market."""
    position_id = asked.needed("positionId")
    check(asked.world.exchange.close_position(asked.number, asked.whole("positionId")))
    return {"positionId": position_id}


# Settings of the account.


def change_leverage(asked: Asked) -> Any:
    """The leverage of a symbol."""
    symbol = asked.symbol()
    asked.check_coin()
    leverage = asked.whole("leverage")
    check(asked.world.exchange.set_leverage(asked.number, symbol, leverage))
    return [{"marginCoin": MARGIN_COIN, "leverage": leverage, "symbol": symbol}]


def change_margin_mode(asked: Asked) -> Any:
    """Cross; isolated margin is not offered here. The documentation's example calls the key so."""
    symbol = asked.symbol()
    asked.check_coin()
    mode = asked.word("marginMode", MarginMode)
    check(asked.world.exchange.set_margin_mode(asked.number, symbol, mode))
    return [{"positionMode": mode.value, "marginMode": mode.value, "symbol": symbol, "marginCoin": MARGIN_COIN}]


def change_position_mode(asked: Asked) -> Any:
    """One-way or hedge, for the whole account."""
    mode = asked.word("positionMode", PositionMode)
    check(asked.world.exchange.set_position_mode(asked.number, mode))
    return [{"positionMode": mode.value}]


def adjust_position_margin(asked: Asked) -> Any:
    """Of isolated positions only, of which there are none."""
    asked.symbol()
    asked.check_coin()
    raise refusal_of(PerpReason.ISOLATION_NOT_OFFERED)


# Triggers.


def tpsl_place_order(asked: Asked) -> Any:
    """A trigger for a part of a position."""
    tp, sl = _legs(asked)
    if not any(leg is not None and leg.size_lots for leg in (tp, sl)):
        raise refusal_of(PerpReason.BAD_PARAMETER)
    return _taken(asked.world.exchange.place_tpsl(asked.number, asked.whole("positionId"), tp=tp, sl=sl))


def tpsl_position_place_order(asked: Asked) -> Any:
    """The trigger for all of a position."""
    tp, sl = _legs(asked)
    return _taken(asked.world.exchange.place_position_tpsl(asked.number, asked.whole("positionId"), tp=tp, sl=sl))


def _legs(asked: Asked) -> tuple[TriggerLeg | None, TriggerLeg | None]:
    """Both halves; one without a size has that of the other, where one is named."""
    instrument = asked.instrument(asked.symbol())
    tp, sl = _leg_of(asked, "tp", instrument), _leg_of(asked, "sl", instrument)
    if tp is not None and sl is not None:
        tp = tp if tp.size_lots else msgspec.structs.replace(tp, size_lots=sl.size_lots)
        sl = sl if sl.size_lots else msgspec.structs.replace(sl, size_lots=tp.size_lots)
    return tp, sl


def _taken(row: TpslRow | PerpReason) -> Any:
    if isinstance(row, PerpReason):
        raise refusal_of(row)
    return {"orderId": str(row.tpsl_id)}


def _row_of(asked: Asked, tpsl_id: int) -> TpslRow:
    row = next((row for row in asked.world.exchange.tpsl_rows(asked.number) if row.tpsl_id == tpsl_id), None)
    if row is None:
        raise refusal_of(PerpReason.UNKNOWN_TPSL)
    return row


def tpsl_modify_order(asked: Asked) -> Any:
    """Another price or size of a trigger; a half that is not named stays."""
    return _modified(asked, _row_of(asked, asked.whole("orderId")))


def tpsl_position_modify_order(asked: Asked) -> Any:
    """Another price of the trigger for all of a position."""
    symbol, position_id = asked.symbol(), asked.whole("positionId")
    for row in asked.world.exchange.tpsl_rows(asked.number):
        is_meant = (row.symbol, row.position_id, row.kind) == (symbol, position_id, TpslKind.POSITION)
        if is_meant and row.status is TpslStatus.NEW:
            return _modified(asked, row)
    raise refusal_of(PerpReason.UNKNOWN_TPSL)


def _modified(asked: Asked, row: TpslRow) -> Any:
    tp = _merged(asked, "tp", row)
    sl = _merged(asked, "sl", row)
    check(asked.world.exchange.modify_tpsl(asked.number, row.tpsl_id, tp=tp, sl=sl))
    return {"orderId": str(row.tpsl_id)}


def _merged(asked: Asked, kind: str, row: TpslRow) -> TriggerLeg | None:
    """The new half, with the old one's size and trigger where they are not named."""
    leg = _leg_of(asked, kind, asked.instrument(row.symbol))
    old = row.tp if kind == "tp" else row.sl
    if leg is None or old is None:
        return leg
    return msgspec.structs.replace(
        leg,
        size_lots=leg.size_lots or old.size_lots,
        by=leg.by if asked.text(f"{kind}StopType") else old.by,
    )


def tpsl_cancel_order(asked: Asked) -> Any:
    """The end of a trigger."""
    row = _row_of(asked, asked.whole("orderId"))
    check(asked.world.exchange.cancel_tpsl(asked.number, row.tpsl_id))
    return {"orderId": str(row.tpsl_id)}
