"""What Bitunix answers to questions about the market, as values with one meaning each. No IO.

Numbers are decimals, times Unix ms. The documentation and the wire differ in places; where they do, both are read
(the field tables are those of api-docs, the quirks those that connectors in use report).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from agora.venues.bitunix.wire_rows import symbol_of
from agora.venues.bitunix.wire_values import fraction_ppb, percent_ppb, price_or_none, word_of
from agora.venues.wire_rows import ROWS_MAX, Fields
from agora.venues.wire_values import Malformed, flag_of, id_of, price_of, size_of, time_ms, whole_of


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


def pair_row(row: Fields) -> PairRow:
    """A contract's row."""
    return PairRow(
        symbol=symbol_of(row),
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
        symbol=symbol_of(row),
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
        symbol=symbol_of(row),
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
        symbol=symbol_of(row),
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
