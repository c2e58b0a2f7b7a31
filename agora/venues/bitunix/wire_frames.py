"""Frames of the two sockets: what the venue says, and what we say. No IO.

A push is a hint: field tables and observations differ in letter case, in missing and in empty fields; all are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from agora.domain.orders import Side
from agora.venues.bitunix.signing import Credentials, sign_login
from agora.venues.bitunix.wire_market import DepthRow, depth_row
from agora.venues.bitunix.wire_values import funding_of, percent_ppb, price_or_none, side_of, word_of
from agora.venues.wire_rows import Fields, fields_of
from agora.venues.wire_values import (
    Malformed,
    decode_json,
    flag_of,
    id_of,
    iso_ns,
    money_of,
    price_of,
    size_of,
    time_ms,
    whole_of,
)


class Connected(msgspec.Struct, frozen=True):
    """The greeting of a fresh socket."""


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping; its word is `ping` too, what makes it a pong is the value it echoes."""

    echo: int


class LoginAnswer(msgspec.Struct, frozen=True):
    """Whether the login was good."""

    is_accepted: bool
    message: str


class SubscribeRefused(msgspec.Struct, frozen=True):
    """A subscription beyond the limit; those before it go on."""

    message: str


class Unsubscribed(msgspec.Struct, frozen=True):
    """An unsubscription was taken."""


class DepthFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A whole window of the book."""

    symbol: str
    ts_ms: int
    depth: DepthRow


class Print(msgspec.Struct, frozen=True, kw_only=True):
    """One public trade; it has no id, and its time whole seconds."""

    ts_ns: int
    price: Decimal
    size: Decimal
    side: Side


class TradeFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Public trades."""

    symbol: str
    ts_ms: int
    prints: tuple[Print, ...]


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Last price and day's figures of a symbol, with best bid and ask where the channel has them."""

    symbol: str
    last: Decimal
    base_volume: Decimal
    quote_volume: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None


class TickersFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Quotes of one symbol (`ticker`) or several (`tickers`)."""

    ts_ms: int
    quotes: tuple[Quote, ...]


class PriceFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Index and mark price, and the funding rate that was settled last, at `settled_ns`."""

    symbol: str
    ts_ms: int
    index_price: Decimal | None
    mark_price: Decimal | None
    rate_ppb: int
    settled_ns: int
    next_ns: int


class KlineFrame(msgspec.Struct, frozen=True, kw_only=True):
    """The candle being made; the venue says neither when it began nor whether it is closed."""

    symbol: str
    ts_ms: int
    interval: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    base_volume: Decimal


class OrderPush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to an order."""

    event: str
    order_id: str
    client_id: str
    symbol: str
    side: Side
    status: str
    qty: Decimal
    dealt: Decimal
    price: Decimal | None
    reduce_only: bool
    mtime_ns: int


class PositionPush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a position; it tells no entry price."""

    event: str
    position_id: str
    symbol: str
    side: Side
    qty: Decimal
    funding: Decimal
    fee: Decimal
    realised_pnl: Decimal


class BalancePush(msgspec.Struct, frozen=True, kw_only=True):
    """The account's money."""

    coin: str
    available: Decimal
    frozen: Decimal
    margin: Decimal


class TpslPush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a trigger. FILLED: it has fired, which is no fill."""

    event: str
    tpsl_id: str
    position_id: str
    symbol: str
    status: str


Frame = (
    Connected | Pong | LoginAnswer | SubscribeRefused | Unsubscribed | DepthFrame | TradeFrame | TickersFrame
    | PriceFrame | KlineFrame | OrderPush | PositionPush | BalancePush | TpslPush
)  # fmt: skip


def decode_frame(text: str | bytes) -> Frame:
    """One frame of either socket; raises `Malformed` for everything that is none."""
    frame = fields_of(decode_json(text))
    channel = frame.get("ch")
    if channel is None:
        return _control(frame)
    if not isinstance(channel, str):
        raise Malformed("a channel is a word")
    data = frame.get("data")
    if channel in _LISTS:
        return _LISTS[channel](frame, data if isinstance(data, list) else [data])
    # One object is pushed at a time; older descriptions have a list of one.
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    read = _CHANNELS.get(channel) or _by_family(channel)
    if read is None:
        raise Malformed(f"unknown channel {channel[:40]!r}")
    return read(frame, fields_of(data))


def _control(frame: Fields) -> Frame:
    op, data = frame.get("op"), frame.get("data")
    fields = data if isinstance(data, dict) else {}
    if op == "connect":
        return Connected()
    if op == "ping":
        return Pong(whole_of(frame.get("pong", 0), "pong"))
    if op == "login":
        return LoginAnswer(fields.get("result") is True, str(fields.get("msg") or "")[:200])
    if op == "subscribe":
        return SubscribeRefused(str(fields.get("msg") or "")[:200])
    if op == "unsubscribe":
        return Unsubscribed()
    raise Malformed(f"unknown operation {str(op)[:40]!r}")


def _symbol(frame: Fields, data: Fields) -> str:
    """Where envelope and data contradict one another, the data are right."""
    return word_of(data.get("s") or data.get("symbol") or frame.get("symbol"), "symbol")


def _stamp(frame: Fields) -> int:
    return time_ms(frame.get("ts"), "ts")


def _depth(frame: Fields, data: Fields) -> DepthFrame:
    depth = depth_row({"bids": data.get("b"), "asks": data.get("a")})
    return DepthFrame(symbol=_symbol(frame, {}), ts_ms=_stamp(frame), depth=depth)


def _trades(frame: Fields, rows: list[Any]) -> TradeFrame:
    prints = tuple(
        Print(
            ts_ns=iso_ns(row.get("t"), "t"),
            price=price_of(row.get("p")),
            size=size_of(row.get("v")),
            side=side_of(row.get("s")),
        )
        for row in map(fields_of, rows)
    )
    return TradeFrame(symbol=_symbol(frame, {}), ts_ms=_stamp(frame), prints=prints)


def _quotes(frame: Fields, rows: list[Any]) -> TickersFrame:
    quotes = tuple(
        Quote(
            symbol=_symbol(frame, row),
            last=price_of(row.get("la"), "la"),
            base_volume=size_of(row.get("b"), "b"),
            quote_volume=size_of(row.get("q"), "q"),
            bid=price_or_none(row.get("bd"), "bd"),
            ask=price_or_none(row.get("ak"), "ak"),
        )
        for row in map(fields_of, rows)
    )
    return TickersFrame(ts_ms=_stamp(frame), quotes=quotes)


def _price(frame: Fields, data: Fields) -> PriceFrame:
    rate = data.get("fr")
    return PriceFrame(
        symbol=_symbol(frame, {}),
        ts_ms=_stamp(frame),
        index_price=price_or_none(data.get("ip"), "ip"),
        mark_price=price_or_none(data.get("mp"), "mp"),
        rate_ppb=0 if rate is None or rate == "" else percent_ppb(rate, "fr"),
        settled_ns=iso_ns(data.get("ft"), "ft"),
        next_ns=iso_ns(data.get("nft"), "nft"),
    )


def _kline(frame: Fields, data: Fields) -> KlineFrame:
    return KlineFrame(
        symbol=_symbol(frame, {}),
        ts_ms=_stamp(frame),
        interval=str(frame["ch"]).rpartition("_")[2],
        open=price_of(data.get("o"), "o"),
        high=price_of(data.get("h"), "h"),
        low=price_of(data.get("l"), "l"),
        close=price_of(data.get("c"), "c"),
        base_volume=size_of(data.get("b"), "b"),
    )


def _order(_: Fields, data: Fields) -> OrderPush:
    return OrderPush(
        event=word_of(data.get("event") or "", "event"),
        order_id=id_of(data.get("orderId")),
        client_id=id_of(data.get("clientId")),
        symbol=word_of(data.get("symbol"), "symbol"),
        side=side_of(data.get("side")),
        status=word_of(data.get("orderStatus") or "", "orderStatus"),
        qty=size_of(data.get("qty"), "qty"),
        dealt=size_of(data.get("dealAmount"), "dealAmount"),
        price=price_or_none(data.get("price")),
        reduce_only=flag_of(data.get("reductionOnly")),
        mtime_ns=iso_ns(data.get("mtime"), "mtime"),
    )


def _position(_: Fields, data: Fields) -> PositionPush:
    return PositionPush(
        event=word_of(data.get("event") or "", "event"),
        position_id=id_of(data.get("positionId")),
        symbol=word_of(data.get("symbol"), "symbol"),
        side=side_of(data.get("side")),
        qty=size_of(data.get("qty"), "qty"),
        funding=funding_of(data.get("funding")),
        fee=money_of(data.get("fee"), "fee"),
        realised_pnl=money_of(data.get("realizedPNL"), "realizedPNL"),
    )


def _balance(_: Fields, data: Fields) -> BalancePush:
    return BalancePush(
        coin=id_of(data.get("coin")),
        available=money_of(data.get("available"), "available"),
        frozen=money_of(data.get("frozen"), "frozen"),
        margin=money_of(data.get("margin"), "margin"),
    )


def _tpsl(_: Fields, data: Fields) -> TpslPush:
    return TpslPush(
        event=word_of(data.get("event") or "", "event"),
        tpsl_id=id_of(data.get("orderId") or data.get("id")),
        position_id=id_of(data.get("positionId")),
        symbol=word_of(data.get("symbol"), "symbol"),
        status=word_of(data.get("status") or "", "status"),
    )


_CHANNELS: Mapping[str, Callable[[Fields, Fields], Frame]] = {
    "price": _price,
    "order": _order,
    "position": _position,
    "balance": _balance,
    "tpsl": _tpsl,
}
_LISTS: Mapping[str, Callable[[Fields, list[Any]], Frame]] = {"trade": _trades, "tickers": _quotes, "ticker": _quotes}


def _by_family(channel: str) -> Callable[[Fields, Fields], Frame] | None:
    if channel.startswith("depth_book"):
        return _depth
    return _kline if channel.startswith(("market_kline_", "mark_kline_")) else None


# What we say.


def ping_text(now_s: int) -> str:
    """The keep-alive, at the level of the application: the venue closes a socket that stays silent for a minute."""
    return msgspec.json.encode({"op": "ping", "ping": now_s}).decode()


def login_text(credentials: Credentials, *, nonce: str, now_s: int) -> str:
    """The login of the private socket, whose time is in seconds."""
    sign = sign_login(credentials, nonce=nonce, timestamp_s=now_s)
    facts = {"apiKey": credentials.api_key, "timestamp": now_s, "nonce": nonce, "sign": sign}
    return msgspec.json.encode({"op": "login", "args": [facts]}).decode()


def subscribe_text(streams: list[dict[str, str]], *, op: str = "subscribe") -> str:
    """All streams in one frame: the venue counts messages. Beyond 300 of a connection it would leave some out."""
    if len(streams) > STREAMS_MAX:
        raise ValueError(f"{len(streams)} streams are more than the venue gives on one connection, {STREAMS_MAX}")
    return msgspec.json.encode({"op": op, "args": streams}).decode()


# Five channels of sixty symbols; the 301st is refused while the others go on.
STREAMS_MAX = 300
PRIVATE_CHANNELS = ("balance", "position", "order", "tpsl")


def subscribe_private_text() -> str:
    """The account's channels; they come by themselves after a login, asking for them is harmless."""
    return subscribe_text([{"ch": channel} for channel in PRIVATE_CHANNELS])
