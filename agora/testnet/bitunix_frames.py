"""Frames of the sockets as Bitunix writes them: public windows and prices, private pushes. Pure rendering.

What the venue's own descriptions leave open (reference, section 16) is fixed here in one way and said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S, money_text
from agora.exchange.perp_records import (
    BalanceChanged,
    Bar,
    OrderChanged,
    PerpTicker,
    PositionChanged,
    PublicTrade,
    TpslChanged,
    TriggerLeg,
)
from agora.exchange.records import Depth

MARGIN_COIN = "USDT"
# The socket's words for lengths of candles.
KLINE_WORDS = {
    "1min": 60, "3min": 180, "5min": 300, "15min": 900, "30min": 1_800, "60min": 3_600, "2h": 7_200, "4h": 14_400,
    "6h": 21_600, "8h": 28_800, "12h": 43_200, "1day": 86_400,
}  # fmt: skip


def frame(channel: str, data: Any, *, ts_ns: int, symbol: str = "") -> str:
    """One data frame."""
    envelope = {"ch": channel, **({"symbol": symbol} if symbol else {}), "ts": ts_ns // NS_PER_MS, "data": data}
    return msgspec.json.encode(envelope).decode()


def iso_ns(ts_ns: int) -> str:
    """A UTC time with nine decimals of a second, as private pushes carry it."""
    return f"{_date(ts_ns)}.{ts_ns % NS_PER_S:09d}Z"


def iso_s(ts_ns: int) -> str:
    """A UTC time in whole seconds, as public frames carry it."""
    return f"{_date(ts_ns)}Z"


def _date(ts_ns: int) -> str:
    days, second = divmod(ts_ns // NS_PER_S, 86_400)
    year, month, day = _civil(days)
    return f"{year:04d}-{month:02d}-{day:02d}T{second // 3_600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a day since 1970 (proleptic Gregorian calendar, counted in eras of 400 years)."""
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


# Public frames.


def depth_data(depth: Depth, instrument: Instrument) -> dict[str, Any]:
    """A whole window, best first."""
    return {
        "b": [
            [instrument.price_text(level.price_ticks), instrument.size_text(level.size_lots)] for level in depth.bids
        ],
        "a": [
            [instrument.price_text(level.price_ticks), instrument.size_text(level.size_lots)] for level in depth.asks
        ],
    }


def empty_depth_data(levels: int) -> dict[str, Any]:
    """What an unknown symbol gets, once."""
    return {"b": [["", ""]] * levels, "a": [["", ""]] * levels}


def trade_data(trades: Sequence[PublicTrade], instrument: Instrument) -> list[dict[str, str]]:
    """Prints, without ids, in whole seconds."""
    return [
        {
            "t": iso_s(trade.ts_ns),
            "p": instrument.price_text(trade.price_ticks),
            "v": instrument.size_text(trade.size_lots),
            "s": trade.side.word,
        }
        for trade in trades
    ]


def ticker_data(ticker: PerpTicker, instrument: Instrument) -> dict[str, str]:
    """Day's figures; `b` is the base volume here, `q` the quote's, `r` the change in percent."""
    change = (ticker.last_ticks - ticker.open_ticks) * 100 / ticker.open_ticks if ticker.open_ticks else 0.0
    return {
        "s": ticker.symbol,
        "o": instrument.price_text(ticker.open_ticks),
        "la": instrument.price_text(ticker.last_ticks),
        "h": instrument.price_text(ticker.high_ticks),
        "l": instrument.price_text(ticker.low_ticks),
        "b": instrument.size_text(ticker.size_lots),
        "q": money_text(ticker.quote_units),
        "r": f"{change:.10f}",
    }


def touch_data(depth: Depth, instrument: Instrument) -> dict[str, str]:
    """What `tickers` has beyond `ticker`: best bid and ask with their sizes."""
    sides = (("bd", "bv", depth.bids), ("ak", "av", depth.asks))
    return {
        name: text
        for price_name, size_name, levels in sides
        for level in levels[:1]
        for name, text in (
            (price_name, instrument.price_text(level.price_ticks)),
            (size_name, instrument.size_text(level.size_lots)),
        )
    }


def price_data(
    ticker: PerpTicker, instrument: Instrument, *, rate_ppb: int, settled_ns: int, next_ns: int
) -> dict[str, str]:
    """Index, mark, and the funding rate that was settled last, in percent."""
    return {
        "ip": instrument.price_text(ticker.index_ticks),
        "mp": instrument.price_text(ticker.mark_ticks),
        "fr": percent_text(rate_ppb),
        "ft": iso_s(settled_ns) if settled_ns else "",
        "nft": iso_s(next_ns),
    }


def percent_text(rate_ppb: int) -> str:
    """Parts per billion as percent."""
    sign = "-" if rate_ppb < 0 else ""
    whole, part = divmod(abs(rate_ppb), 10_000_000)
    return f"{sign}{whole}.{part:07d}".rstrip("0").rstrip(".")


def kline_data(bar: Bar, instrument: Instrument) -> dict[str, str]:
    """The candle being made, without its start and without a flag."""
    return {
        "o": instrument.price_text(bar.open_ticks),
        "c": instrument.price_text(bar.close_ticks),
        "h": instrument.price_text(bar.high_ticks),
        "l": instrument.price_text(bar.low_ticks),
        "b": instrument.size_text(bar.size_lots),
        "q": money_text(bar.quote_units),
    }


# Private pushes.


def order_data(
    change: OrderChanged, instrument: Instrument, *, shifted_ns: int = 0, is_capitalised: bool = False
) -> dict[str, Any]:
    """An order's push. FILLED comes with the event CLOSE. Sides and types were seen in another letter case too."""
    order = change.order
    average = ""
    if order.filled_lots:
        ticks = order.cost_units / (order.filled_lots * instrument.tick_lot_units)
        average = f"{ticks * float(instrument.tick):.8f}"
    return {
        "event": change.event.value,
        "orderId": str(order.order_id),
        "symbol": order.symbol,
        "positionType": order.margin_mode.value,
        "positionMode": order.position_mode.value,
        "side": order.side.name.capitalize() if is_capitalised else order.side.name,
        "effect": order.effect.value,
        "type": order.type.value.capitalize() if is_capitalised else order.type.value,
        "qty": instrument.size_text(order.size_lots),
        "reductionOnly": order.reduce_only,
        "price": instrument.price_text(order.price_ticks) if order.price_ticks else "",
        "ctime": iso_ns(order.created_ns + shifted_ns),
        "mtime": iso_ns(order.changed_ns + shifted_ns),
        "leverage": str(order.leverage),
        "orderStatus": order.status.value,
        "fee": money_text(order.fee_units),
        "averagePrice": average,
        "dealAmount": instrument.size_text(order.filled_lots),
        "clientId": order.client_id,
    }


def position_data(change: PositionChanged, instrument: Instrument, *, shifted_ns: int = 0) -> dict[str, str]:
    """A position's push: neither entry price nor liquidation price."""
    position = change.position
    return {
        "event": change.event.value,
        "positionId": str(position.position_id),
        "marginMode": position.margin_mode.value,
        "positionMode": position.position_mode.value,
        "side": position.side.value,
        "leverage": str(position.leverage),
        "margin": money_text(position.margin_units),
        "ctime": iso_ns(position.created_ns + shifted_ns),
        "qty": instrument.size_text(position.size_lots),
        "entryValue": money_text(position.cost_units),
        "symbol": position.symbol,
        "realizedPNL": money_text(position.realised_units),
        "unrealizedPNL": money_text(position.unrealised_units),
        "funding": money_text(position.funding_units),
        "fee": money_text(position.fee_units),
    }


def balance_data(change: BalanceChanged) -> dict[str, str]:
    """The account's money; all of it is cross. The profit of open positions is in what is available."""
    money = change.money
    return {
        "coin": MARGIN_COIN,
        "available": money_text(money.available_units + money.unrealised_units),
        "frozen": money_text(money.frozen_units),
        "isolationFrozen": "0",
        "crossFrozen": money_text(money.frozen_units),
        "margin": money_text(money.margin_units),
        "isolationMargin": "0",
        "crossMargin": money_text(money.margin_units),
        "expMoney": "0",
    }


def tpsl_data(change: TpslChanged, instrument: Instrument, *, shifted_ns: int = 0) -> dict[str, Any]:
    """A trigger's push; what it does not use is left out."""
    row = change.row
    return {
        "event": change.event.value,
        "positionId": str(row.position_id),
        "orderId": str(row.tpsl_id),
        "symbol": row.symbol,
        "leverage": str(row.leverage),
        "side": "SELL" if row.side.value == "LONG" else "BUY",
        "positionMode": row.position_mode.value,
        "status": row.status.value,
        "ctime": iso_ns(row.created_ns + shifted_ns),
        "type": row.kind.value,
        **leg_data("tp", row.tp, instrument),
        **leg_data("sl", row.sl, instrument),
    }


def leg_data(kind: str, leg: TriggerLeg | None, instrument: Instrument) -> dict[str, str]:
    """One half of a trigger."""
    if leg is None:
        return {}
    data = {
        f"{kind}Price": instrument.price_text(leg.price_ticks),
        f"{kind}StopType": leg.by.value,
        f"{kind}OrderType": leg.order_type.value,
    }
    if leg.size_lots:
        data[f"{kind}Qty"] = instrument.size_text(leg.size_lots)
    if leg.order_price_ticks:
        data[f"{kind}OrderPrice"] = instrument.price_text(leg.order_price_ticks)
    return data
