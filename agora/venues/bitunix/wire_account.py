"""What Bitunix answers to questions about our account and orders, as values with one meaning each. No IO.

Numbers are decimals, times Unix ms. Letter case, names of fields and of sides differ between endpoints; all are read.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from agora.domain.orders import Side
from agora.venues.bitunix.wire_rows import symbol_of
from agora.venues.bitunix.wire_values import funding_of, price_or_none, side_of, word_of
from agora.venues.wire_rows import Fields, rows_of
from agora.venues.wire_values import Malformed, flag_of, id_of, money_of, price_of, size_of, time_ms, whole_of


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """Money of the account. What the parts add up to is decided in one place, `account.wallet_units`."""

    margin_coin: str
    available: Decimal
    frozen: Decimal
    margin: Decimal
    cross_unrealised_pnl: Decimal
    isolation_unrealised_pnl: Decimal
    position_mode: str


class LeverageRow(msgspec.Struct, frozen=True, kw_only=True):
    """How a symbol is traded."""

    symbol: str
    leverage: int
    margin_mode: str


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `side` is the action; `price` None: at the market. `status` is the venue's word, cleaned."""

    order_id: str
    client_id: str
    symbol: str
    side: Side | None
    order_type: str
    effect: str
    status: str
    qty: Decimal
    trade_qty: Decimal
    price: Decimal | None
    average_price: Decimal | None
    fee: Decimal
    realised_pnl: Decimal
    reduce_only: bool
    ctime_ms: int
    mtime_ms: int


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trade. `fee` is a cost, a rebate is negative."""

    trade_id: str
    order_id: str
    client_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    realised_pnl: Decimal
    is_maker: bool
    reduce_only: bool
    ctime_ms: int


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """An open position; `side` is its direction. `funding` is the sum of its life, positive when received."""

    position_id: str
    symbol: str
    side: Side
    qty: Decimal
    entry_value: Decimal
    average_price: Decimal | None
    margin_mode: str
    position_mode: str
    leverage: int
    fee: Decimal
    funding: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    margin: Decimal
    liquidation_price: Decimal | None
    ctime_ms: int
    mtime_ms: int


class HistoryPositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A closed position; `realised_pnl` is without fee and funding."""

    position_id: str
    symbol: str
    side: Side
    max_qty: Decimal
    fee: Decimal
    funding: Decimal
    realised_pnl: Decimal
    ctime_ms: int
    mtime_ms: int


class TpslRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger. Sizes None: the whole position. `status` is empty while it waits, `trigger_ms` 0 until it fires."""

    tpsl_id: str
    position_id: str
    symbol: str
    tp_price: Decimal | None
    sl_price: Decimal | None
    tp_qty: Decimal | None
    sl_qty: Decimal | None
    status: str
    trigger_ms: int = 0


class PlaceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The venue has taken a request for an order; what became of it must be asked."""

    order_id: str
    client_id: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One of several that was not done."""

    order_id: str
    client_id: str
    code: int
    message: str


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was done of several, and what was not."""

    done: tuple[PlaceAnswer, ...]
    failed: tuple[Failure, ...]


def account_row(row: Fields) -> AccountRow:
    """The account's money."""
    return AccountRow(
        margin_coin=id_of(row.get("marginCoin")),
        available=money_of(row.get("available"), "available"),
        frozen=money_of(row.get("frozen"), "frozen"),
        margin=money_of(row.get("margin"), "margin"),
        cross_unrealised_pnl=money_of(row.get("crossUnrealizedPNL"), "crossUnrealizedPNL"),
        isolation_unrealised_pnl=money_of(row.get("isolationUnrealizedPNL"), "isolationUnrealizedPNL"),
        position_mode=word_of(row.get("positionMode"), "positionMode"),
    )


def leverage_row(row: Fields) -> LeverageRow:
    """How a symbol is traded."""
    return LeverageRow(
        symbol=symbol_of(row),
        leverage=whole_of(row.get("leverage"), "leverage", least=1, most=1_000),
        margin_mode=word_of(row.get("marginMode"), "marginMode"),
    )


def order_row(row: Fields) -> OrderRow:
    """An order; examples write `type` where the table has `orderType`, and leave out the side."""
    side = row.get("side")
    return OrderRow(
        order_id=id_of(row.get("orderId")),
        client_id=id_of(row.get("clientId")),
        symbol=symbol_of(row),
        side=None if side is None else side_of(side),
        order_type=word_of(row.get("orderType") or row.get("type") or "", "orderType"),
        effect=word_of(row.get("effect") or "", "effect"),
        status=word_of(row.get("status"), "status"),
        qty=size_of(row.get("qty"), "qty"),
        trade_qty=size_of(row.get("tradeQty"), "tradeQty"),
        price=price_or_none(row.get("price")),
        average_price=price_or_none(row.get("averagePrice"), "averagePrice"),
        fee=money_of(row.get("fee"), "fee"),
        realised_pnl=money_of(row.get("realizedPNL"), "realizedPNL"),
        reduce_only=flag_of(row.get("reduceOnly")),
        ctime_ms=time_ms(row.get("ctime"), "ctime"),
        mtime_ms=time_ms(row.get("mtime") or row.get("ctime"), "mtime"),
    )


def trade_row(row: Fields) -> TradeRow:
    """A trade."""
    return TradeRow(
        trade_id=id_of(row.get("tradeId")),
        order_id=id_of(row.get("orderId")),
        client_id=id_of(row.get("clientId")),
        symbol=symbol_of(row),
        side=side_of(row.get("side")),
        qty=size_of(row.get("qty"), "qty"),
        price=price_of(row.get("price")),
        fee=money_of(row.get("fee"), "fee"),
        realised_pnl=money_of(row.get("realizedPNL"), "realizedPNL"),
        is_maker=word_of(row.get("roleType") or "", "roleType") == "MAKER",
        reduce_only=flag_of(row.get("reduceOnly")),
        ctime_ms=time_ms(row.get("ctime"), "ctime"),
    )


def position_row(row: Fields) -> PositionRow:
    """An open position."""
    liquidation = money_of(row.get("liqPrice"), "liqPrice")
    return PositionRow(
        position_id=id_of(row.get("positionId")),
        symbol=symbol_of(row),
        side=side_of(row.get("side")),
        qty=size_of(row.get("qty"), "qty"),
        entry_value=money_of(row.get("entryValue"), "entryValue"),
        average_price=price_or_none(row.get("avgOpenPrice"), "avgOpenPrice"),
        margin_mode=word_of(row.get("marginMode") or "", "marginMode"),
        position_mode=word_of(row.get("positionMode") or "", "positionMode"),
        leverage=whole_of(row.get("leverage"), "leverage", most=1_000),
        fee=money_of(row.get("fee"), "fee"),
        funding=funding_of(row.get("funding")),
        realised_pnl=money_of(row.get("realizedPNL"), "realizedPNL"),
        unrealised_pnl=money_of(row.get("unrealizedPNL"), "unrealizedPNL"),
        margin=money_of(row.get("margin"), "margin"),
        liquidation_price=liquidation if liquidation > 0 else None,
        ctime_ms=time_ms(row.get("ctime"), "ctime"),
        mtime_ms=time_ms(row.get("mtime") or row.get("ctime"), "mtime"),
    )


def history_position_row(row: Fields) -> HistoryPositionRow:
    """A closed position."""
    return HistoryPositionRow(
        position_id=id_of(row.get("positionId")),
        symbol=symbol_of(row),
        side=side_of(row.get("side")),
        max_qty=size_of(row.get("maxQty"), "maxQty"),
        fee=money_of(row.get("fee"), "fee"),
        funding=funding_of(row.get("funding")),
        realised_pnl=money_of(row.get("realizedPNL"), "realizedPNL"),
        ctime_ms=time_ms(row.get("ctime"), "ctime"),
        mtime_ms=time_ms(row.get("mtime") or row.get("ctime"), "mtime"),
    )


def tpsl_row(row: Fields) -> TpslRow:
    """A trigger."""
    sizes = {key: row.get(key) for key in ("tpQty", "slQty")}
    return TpslRow(
        tpsl_id=id_of(row.get("id") or row.get("orderId")),
        position_id=id_of(row.get("positionId")),
        symbol=symbol_of(row),
        tp_price=price_or_none(row.get("tpPrice"), "tpPrice"),
        sl_price=price_or_none(row.get("slPrice"), "slPrice"),
        tp_qty=None if sizes["tpQty"] in (None, "") else size_of(sizes["tpQty"], "tpQty"),
        sl_qty=None if sizes["slQty"] in (None, "") else size_of(sizes["slQty"], "slQty"),
        status=word_of(row.get("status") or "", "status"),
        trigger_ms=time_ms(row["triggerTime"], "triggerTime") if row.get("triggerTime") else 0,
    )


def place_answer(row: Fields) -> PlaceAnswer:
    """An order taken; single orders answer with `orderId`, batches with `id`. One without any name is no answer."""
    found = PlaceAnswer(order_id=id_of(row.get("orderId") or row.get("id")), client_id=id_of(row.get("clientId")))
    if not found.order_id and not found.client_id:
        raise Malformed("an order was taken that has no id")
    return found


def batch_answer(row: Fields) -> BatchAnswer:
    """Several at once; codes of failures come as numbers or strings."""
    return BatchAnswer(
        done=tuple(rows_of(row.get("successList"), place_answer)),
        failed=tuple(rows_of(row.get("failureList"), _failure)),
    )


def _failure(row: Fields) -> Failure:
    return Failure(
        order_id=id_of(row.get("orderId") or row.get("id")),
        client_id=id_of(row.get("clientId")),
        code=whole_of(row.get("errorCode"), "errorCode"),
        message=id_of(str(row.get("errorMsg") or "")[:64]),
    )
