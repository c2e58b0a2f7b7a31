"""Frames of the market socket and of the user socket, as values with one meaning each. No IO.

A frame is an object or a list of objects; events that are not known are told as such, for new ones appear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from agora.domain.orders import Side
from agora.venues.polymarket.wire_account import OrderRow, TradeRow, order_row, trade_row
from agora.venues.polymarket.wire_book import BookRow, Outcome, book_row, outcomes_of
from agora.venues.polymarket.wire_values import (
    name_of,
    name_or_empty,
    odds_of,
    odds_or_none,
    side_of,
    side_or_none,
    stamp_ms,
    token_of,
    words_of,
)
from agora.venues.wire_rows import Fields, fields_of, list_of
from agora.venues.wire_values import Malformed, decode_json, flag_of, shortened, size_of, time_ms

# Books of all the tokens of a connection come in one frame, and of those there are at most 500.
EVENTS_MAX = 1_000
# All prices of the finest tick, on both sides of both tokens.
CHANGES_MAX = 40_000
NAMES_MAX = 1_000


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping."""


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a type that is not known here."""

    event_type: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A level's new size, not a difference; none: it is gone. `hash` is that of the book that results."""

    asset_id: str
    side: Side
    price: Decimal
    size: Decimal
    hash: str
    best_bid: Decimal | None
    best_ask: Decimal | None


class PriceChange(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of levels, of both tokens of a market also where one was subscribed."""

    market: str
    ts_ms: int
    changes: tuple[Change, ...]


class LastTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade of anybody; `side` is the taker's."""

    market: str
    asset_id: str
    ts_ms: int
    price: Decimal
    size: Decimal
    side: Side | None
    transaction_hash: str


class TickSizeChange(msgspec.Struct, frozen=True, kw_only=True):
    """From now on prices of a token are multiples of another tick."""

    market: str
    asset_id: str
    ts_ms: int
    old: Decimal | None
    new: Decimal


class BestPrices(msgspec.Struct, frozen=True, kw_only=True):
    """The best of both sides of a token; None: nobody stands there."""

    market: str
    asset_id: str
    ts_ms: int
    bid: Decimal | None
    ask: Decimal | None


class NewMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market was made."""

    market: str
    ts_ms: int
    slug: str
    outcomes: tuple[Outcome, ...]
    tick_size: Decimal | None
    is_active: bool


class MarketResolved(msgspec.Struct, frozen=True, kw_only=True):
    """A market's question is answered."""

    market: str
    ts_ms: int
    winning_asset_id: str
    winning_outcome: str


class OrderPush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to an order of ours. `kind` is PLACEMENT, UPDATE or CANCELLATION, or a word yet unknown."""

    kind: str
    ts_ms: int
    order: OrderRow


class TradePush(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a trade of ours."""

    ts_ms: int
    trade: TradeRow


MarketEvent = (
    BookRow | PriceChange | LastTrade | TickSizeChange | BestPrices | NewMarket | MarketResolved | Pong | UnknownEvent
)
UserEvent = OrderPush | TradePush | Pong | UnknownEvent


def decode_market(text: str | bytes) -> tuple[MarketEvent, ...]:
    """The events of one frame of the market socket; raises `Malformed` when one of them is none."""
    if is_pong(text):
        return (Pong(),)
    return tuple(_MARKET.get(event_type, _unknown)(row) for event_type, row in _events(text))


def decode_user(text: str | bytes) -> tuple[UserEvent, ...]:
    """The events of one frame of the user socket; raises `Malformed` when one of them is none."""
    if is_pong(text):
        return (Pong(),)
    return tuple(_USER.get(event_type, _unknown)(row) for event_type, row in _events(text))


def is_pong(text: str | bytes) -> bool:
    """Whether a frame is the bare word that answers a ping, in any letter case."""
    return len(text) <= 6 and text.strip().lower() in {"pong", b"pong"}


def _events(text: str | bytes) -> list[tuple[str, Fields]]:
    frame = decode_json(text)
    rows = [fields_of(row) for row in (list_of(frame, most=EVENTS_MAX) if isinstance(frame, list) else [frame])]
    return [(_event_type(row), row) for row in rows]


def _event_type(row: Fields) -> str:
    event_type = row.get("event_type")
    if not isinstance(event_type, str) or not event_type:
        raise Malformed(f"an event has no type: {shortened(event_type)}")
    return event_type


def _unknown(row: Fields) -> UnknownEvent:
    return UnknownEvent(words_of(row["event_type"], "event_type"))


def _market(row: Fields) -> str:
    return name_of(row.get("market"), "market")


def _stamp(row: Fields) -> int:
    return time_ms(row.get("timestamp"), "timestamp")


def _price_change(row: Fields) -> PriceChange:
    changes = list_of(row.get("price_changes"), most=CHANGES_MAX)
    return PriceChange(
        market=_market(row), ts_ms=_stamp(row), changes=tuple(_change(fields_of(each)) for each in changes)
    )


def _change(row: Fields) -> Change:
    if row.get("size") is None or row["size"] == "":
        raise Malformed("a change of a level has no size")
    return Change(
        asset_id=token_of(row.get("asset_id")),
        side=side_of(row.get("side")),
        price=odds_of(row.get("price")),
        size=size_of(row["size"]),
        hash=name_or_empty(row.get("hash"), "hash"),
        best_bid=odds_or_none(row.get("best_bid"), "best_bid"),
        best_ask=odds_or_none(row.get("best_ask"), "best_ask"),
    )


def _last_trade(row: Fields) -> LastTrade:
    return LastTrade(
        market=_market(row),
        asset_id=token_of(row.get("asset_id")),
        ts_ms=_stamp(row),
        price=odds_of(row.get("price")),
        size=size_of(row.get("size")),
        side=side_or_none(row.get("side")),
        transaction_hash=name_or_empty(row.get("transaction_hash"), "transaction_hash"),
    )


def _tick_size_change(row: Fields) -> TickSizeChange:
    return TickSizeChange(
        market=_market(row),
        asset_id=token_of(row.get("asset_id")),
        ts_ms=_stamp(row),
        old=odds_or_none(row.get("old_tick_size"), "old_tick_size"),
        new=odds_of(row.get("new_tick_size"), "new_tick_size"),
    )


def _best_prices(row: Fields) -> BestPrices:
    return BestPrices(
        market=_market(row),
        asset_id=token_of(row.get("asset_id")),
        ts_ms=_stamp(row),
        bid=odds_or_none(row.get("best_bid"), "best_bid"),
        ask=odds_or_none(row.get("best_ask"), "best_ask"),
    )


def _new_market(row: Fields) -> NewMarket:
    labels = [words_of(label, "outcome") for label in list_of(row.get("outcomes") or [], most=NAMES_MAX)]
    tokens = list_of(row.get("clob_token_ids") or row.get("assets_ids") or [], most=NAMES_MAX)
    return NewMarket(
        market=_market(row),
        ts_ms=_stamp(row),
        slug=words_of(row.get("slug"), "slug"),
        outcomes=outcomes_of(labels, [token_of(token) for token in tokens]),
        tick_size=odds_or_none(row.get("order_price_min_tick_size"), "order_price_min_tick_size"),
        is_active=flag_of(row.get("active")),
    )


def _market_resolved(row: Fields) -> MarketResolved:
    return MarketResolved(
        market=_market(row),
        ts_ms=_stamp(row),
        winning_asset_id=token_of(row.get("winning_asset_id"), "winning_asset_id"),
        winning_outcome=words_of(row.get("winning_outcome"), "winning_outcome"),
    )


def _order(row: Fields) -> OrderPush:
    return OrderPush(kind=words_of(row.get("type"), "type"), ts_ms=stamp_ms(row.get("timestamp")), order=order_row(row))


def _trade(row: Fields) -> TradePush:
    return TradePush(ts_ms=stamp_ms(row.get("timestamp")), trade=trade_row(row))


_MARKET: Mapping[str, Callable[[Fields], MarketEvent]] = {
    "book": book_row,
    "price_change": _price_change,
    "last_trade_price": _last_trade,
    "tick_size_change": _tick_size_change,
    "best_bid_ask": _best_prices,
    "new_market": _new_market,
    "market_resolved": _market_resolved,
}
_USER: Mapping[str, Callable[[Fields], UserEvent]] = {"order": _order, "trade": _trade}
