"""What Bitunix answers to requests, as values with one meaning each. No IO.

Numbers are decimals, times Unix ms. The documentation and the wire differ in places; where they do, both are read
(the field tables are those of api-docs, the quirks those that connectors in use report).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from agora.domain.orders import Side
from agora.venues.bitunix.wire_values import (
    Malformed,
    flag_of,
    fraction_ppb,
    id_of,
    money_of,
    percent_ppb,
    price_of,
    price_or_none,
    side_of,
    size_of,
    time_ms,
    whole_of,
    word_of,
)

Fields = dict[str, Any]
Row = TypeVar("Row")
# No answer of the venue is a list of more rows: the largest, the whole book, has some 24,000 levels.
ROWS_MAX = 50_000


class PairRow(msgspec.Struct, frozen=True, kw_only=True):
    """A contract. Steps are powers of ten: a tick is 10^-quote_precision, a lot 10^-base_precision."""

    symbol: str
    base: str
    quote: str
    base_precision: int
    quote_precision: int
    min_trade_volume: Decimal
    max_limit_order_volume: Decimal
    max_market_order_volume: Decimal
    min_leverage: int
    max_leverage: int
    price_protect_scope: Decimal
    status: str
    is_api_supported: bool


class TierRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tier of positions by their value: the leverage it allows, the share that must be kept."""

    symbol: str
    level: int
    start_value: Decimal
    end_value: Decimal
    leverage: int
    maintenance_margin_rate: Decimal


class FundingRow(msgspec.Struct, frozen=True, kw_only=True):
    """Funding as it stands; on the wire the rate is in percent."""

    symbol: str
    rate_ppb: int
    funding_interval_h: int
    next_funding_ms: int
    mark_price: Decimal | None
    index_price: Decimal | None


class FundingHistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement of the past; on the wire the rate is a fraction here."""

    rate_ppb: int
    time_ms: int
    mark_price: Decimal | None


class KlineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A candle that began at `start_ms`. On the wire the names of its volumes are swapped: these are not."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    base_volume: Decimal
    quote_volume: Decimal


class TickerRow(msgspec.Struct, frozen=True, kw_only=True):
    """Last and mark price of a symbol. It has no bid and no ask."""

    symbol: str
    last_price: Decimal | None
    mark_price: Decimal | None


class DepthRow(msgspec.Struct, frozen=True, kw_only=True):
    """The book: (price, size), bids falling, asks rising."""

    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


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
    """A trigger. Sizes None: the whole position. `status` is empty for one that is pending."""

    tpsl_id: str
    position_id: str
    symbol: str
    tp_price: Decimal | None
    sl_price: Decimal | None
    tp_qty: Decimal | None
    sl_qty: Decimal | None
    status: str


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


def rows_of(data: object, read: Callable[[Fields], Row], key: str = "") -> list[Row]:
    """The rows of a list, or of the list under `key`; an object alone is a list of one. Raises `Malformed`."""
    if key and isinstance(data, dict):
        data = data.get(key)
    if data is None or data == "":
        return []
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list) or len(data) > ROWS_MAX:
        raise Malformed(f"a list of at most {ROWS_MAX} rows was expected, found {type(data).__name__}")
    return [read(_fields(row)) for row in data]


def row_of(data: object, read: Callable[[Fields], Row]) -> Row:
    """The one row of an answer that is an object, or a list of one; raises `Malformed`."""
    rows = rows_of(data, read)
    if len(rows) != 1:
        raise Malformed(f"one row was expected, found {len(rows)}")
    return rows[0]


def total_of(data: object) -> int | None:
    """How many rows there are in all, where a paged answer says so."""
    total = data.get("total") if isinstance(data, dict) else None
    return None if total is None or total == "" else whole_of(total, "total")


def _fields(row: object) -> Fields:
    if not isinstance(row, dict):
        raise Malformed(f"an object was expected, found {type(row).__name__}")
    return row


def _symbol(row: Fields) -> str:
    return word_of(row.get("symbol"), "symbol")


def pair_row(row: Fields) -> PairRow:
    """A contract's row."""
    return PairRow(
        symbol=_symbol(row),
        base=id_of(row.get("base")),
        quote=id_of(row.get("quote")),
        base_precision=whole_of(row.get("basePrecision"), "basePrecision", most=18),
        quote_precision=whole_of(row.get("quotePrecision"), "quotePrecision", most=18),
        min_trade_volume=size_of(row.get("minTradeVolume"), "minTradeVolume"),
        max_limit_order_volume=size_of(row.get("maxLimitOrderVolume"), "maxLimitOrderVolume"),
        max_market_order_volume=size_of(row.get("maxMarketOrderVolume"), "maxMarketOrderVolume"),
        min_leverage=whole_of(row.get("minLeverage", 1), "minLeverage", most=1_000),
        max_leverage=whole_of(row.get("maxLeverage"), "maxLeverage", least=1, most=1_000),
        price_protect_scope=size_of(row.get("priceProtectScope"), "priceProtectScope"),
        status=word_of(row.get("symbolStatus"), "symbolStatus"),
        is_api_supported=flag_of(row.get("isApiSupported")),
    )


def tier_row(row: Fields) -> TierRow:
    """A tier's row."""
    rate = decimal_share(row.get("maintenanceMarginRate"), "maintenanceMarginRate")
    return TierRow(
        symbol=_symbol(row),
        level=whole_of(row.get("level"), "level", most=1_000),
        start_value=size_of(row.get("startValue"), "startValue"),
        end_value=size_of(row.get("endValue"), "endValue"),
        leverage=whole_of(row.get("leverage"), "leverage", least=1, most=1_000),
        maintenance_margin_rate=rate,
    )


def decimal_share(value: Any, what: str) -> Decimal:
    """A share of one, from 0 to 1."""
    number = size_of(value, what)
    if number > 1:
        raise Malformed(f"{what} is no share of one: {number:f}")
    return number


def funding_row(row: Fields) -> FundingRow:
    """Funding as it stands."""
    return FundingRow(
        symbol=_symbol(row),
        rate_ppb=percent_ppb(row.get("fundingRate"), "fundingRate"),
        funding_interval_h=whole_of(row.get("fundingInterval"), "fundingInterval", least=1, most=1_000),
        next_funding_ms=time_ms(row.get("nextFundingTime"), "nextFundingTime"),
        mark_price=price_or_none(row.get("markPrice"), "markPrice"),
        index_price=price_or_none(row.get("indexPrice"), "indexPrice"),
    )


def funding_history_row(row: Fields) -> FundingHistoryRow:
    """A settlement of the past."""
    return FundingHistoryRow(
        rate_ppb=fraction_ppb(row.get("fundingRate"), "fundingRate"),
        time_ms=time_ms(row.get("fundingTime"), "fundingTime"),
        mark_price=price_or_none(row.get("markPrice"), "markPrice"),
    )


def kline_row(row: Fields) -> KlineRow:
    """A candle; `quoteVol` holds the base quantity on the wire, and `baseVol` the quote notional."""
    found = KlineRow(
        start_ms=time_ms(row.get("time"), "time"),
        open=price_of(row.get("open"), "open"),
        high=price_of(row.get("high"), "high"),
        low=price_of(row.get("low"), "low"),
        close=price_of(row.get("close"), "close"),
        base_volume=size_of(row.get("quoteVol"), "quoteVol"),
        quote_volume=size_of(row.get("baseVol"), "baseVol"),
    )
    if not found.low <= min(found.open, found.close) <= max(found.open, found.close) <= found.high:
        raise Malformed(f"no candle: {found.open:f} {found.high:f} {found.low:f} {found.close:f}")
    return found


def ticker_row(row: Fields) -> TickerRow:
    """A symbol's prices."""
    return TickerRow(
        symbol=_symbol(row),
        last_price=price_or_none(row.get("lastPrice"), "lastPrice"),
        mark_price=price_or_none(row.get("markPrice"), "markPrice"),
    )


def depth_row(row: Fields) -> DepthRow:
    """The book; levels without a price or a size are none."""
    return DepthRow(bids=_levels(row.get("bids")), asks=_levels(row.get("asks")))


def _levels(levels: object) -> tuple[tuple[Decimal, Decimal], ...]:
    if not isinstance(levels, list) or len(levels) > ROWS_MAX:
        raise Malformed("a list of levels was expected")
    found = []
    for level in levels:
        if not isinstance(level, list) or len(level) != 2:
            raise Malformed(f"a level is a price and a size, found {str(level)[:64]}")
        if level[0] != "":
            found.append((price_of(level[0]), size_of(level[1])))
    return tuple(level for level in found if level[1])


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
        symbol=_symbol(row),
        leverage=whole_of(row.get("leverage"), "leverage", least=1, most=1_000),
        margin_mode=word_of(row.get("marginMode"), "marginMode"),
    )


def order_row(row: Fields) -> OrderRow:
    """An order; examples write `type` where the table has `orderType`, and leave out the side."""
    side = row.get("side")
    return OrderRow(
        order_id=id_of(row.get("orderId")),
        client_id=id_of(row.get("clientId")),
        symbol=_symbol(row),
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
        symbol=_symbol(row),
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
        symbol=_symbol(row),
        side=side_of(row.get("side")),
        qty=size_of(row.get("qty"), "qty"),
        entry_value=money_of(row.get("entryValue"), "entryValue"),
        average_price=price_or_none(row.get("avgOpenPrice"), "avgOpenPrice"),
        margin_mode=word_of(row.get("marginMode") or "", "marginMode"),
        position_mode=word_of(row.get("positionMode") or "", "positionMode"),
        leverage=whole_of(row.get("leverage"), "leverage", most=1_000),
        fee=money_of(row.get("fee"), "fee"),
        funding=money_of(row.get("funding"), "funding"),
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
        symbol=_symbol(row),
        side=side_of(row.get("side")),
        max_qty=size_of(row.get("maxQty"), "maxQty"),
        fee=money_of(row.get("fee"), "fee"),
        funding=money_of(row.get("funding"), "funding"),
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
        symbol=_symbol(row),
        tp_price=price_or_none(row.get("tpPrice"), "tpPrice"),
        sl_price=price_or_none(row.get("slPrice"), "slPrice"),
        tp_qty=None if sizes["tpQty"] in (None, "") else size_of(sizes["tpQty"], "tpQty"),
        sl_qty=None if sizes["slQty"] in (None, "") else size_of(sizes["slQty"], "slQty"),
        status=word_of(row.get("status") or "", "status"),
    )


def place_answer(row: Fields) -> PlaceAnswer:
    """An order taken; single orders answer with `orderId`, batches with `id`."""
    return PlaceAnswer(order_id=id_of(row.get("orderId") or row.get("id")), client_id=id_of(row.get("clientId")))


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
