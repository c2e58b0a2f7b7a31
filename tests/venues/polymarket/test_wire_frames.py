"""Frames of the market socket and of the user socket."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.domain.orders import Side
from agora.venues.polymarket.wire_book import BookRow
from agora.venues.polymarket.wire_frames import (
    BestPrices,
    LastTrade,
    MarketResolved,
    NewMarket,
    OrderPush,
    Pong,
    PriceChange,
    TickSizeChange,
    TradePush,
    UnknownEvent,
    decode_market,
    decode_user,
)
from agora.venues.wire_values import Malformed
from tests.venues.polymarket.vectors import UP_TOKEN, text_of

CHANGE = {
    "asset_id": UP_TOKEN, "price": "0.17", "size": "0", "side": "BUY", "hash": "0c9b", "best_bid": "0.28",
    "best_ask": "0.29",
}  # fmt: skip
CHANGES = {"event_type": "price_change", "market": "0x94", "timestamp": "1786387805565", "price_changes": [CHANGE]}


def test_a_frame_is_an_object_or_a_list(venue_samples: Path) -> None:
    """Books of all tokens come in one list after a subscription."""
    (book,) = decode_market(text_of(venue_samples, "ws_market_book"))
    assert isinstance(book, BookRow)
    assert (book.bids[0].price, book.asks[0].price) == (Decimal("0.08"), Decimal("0.09"))
    assert decode_market(json.dumps([CHANGES, CHANGES])) == decode_market(json.dumps(CHANGES)) * 2
    assert decode_market("[]") == ()


def test_trap_a_change_tells_the_new_size_and_zero_takes_the_level_away(venue_samples: Path) -> None:
    """Not a difference."""
    (frame,) = decode_market(text_of(venue_samples, "ws_market_price_change_level_removed"))
    assert isinstance(frame, PriceChange)
    (change,) = frame.changes
    assert (change.price, change.size, change.side) == (Decimal("0.17"), 0, Side.BUY)
    assert (change.best_bid, change.best_ask) == (Decimal("0.28"), Decimal("0.29"))
    for wrong in ({**CHANGE, "size": ""}, {**CHANGE, "size": None}, {**CHANGE, "size": []}, {**CHANGE, "side": ""}):
        with pytest.raises(Malformed):
            decode_market(json.dumps({**CHANGES, "price_changes": [wrong]}))


@pytest.mark.parametrize("nothing", ["", "0", "1", None])
def test_nobody_stands_at_nothing_and_at_one(nothing: str | None) -> None:
    """The best of an empty side."""
    (frame,) = decode_market(json.dumps({**CHANGES, "price_changes": [{**CHANGE, "best_bid": nothing}]}))
    assert isinstance(frame, PriceChange)
    assert frame.changes[0].best_bid is None


@pytest.mark.parametrize(
    "name, kind",
    [
        ("ws_market_last_trade_price", LastTrade),
        ("ws_market_tick_size_change", TickSizeChange),
        ("ws_market_best_bid_ask", BestPrices),
        ("ws_market_new_market", NewMarket),
        ("ws_market_resolved", MarketResolved),
        ("ws_market_price_change_multi", PriceChange),
        ("ws_market_book_deep", BookRow),
        ("ws_market_book_minimal", BookRow),
    ],
)
def test_each_event_is_of_its_kind(venue_samples: Path, name: str, kind: type) -> None:
    """By its word alone."""
    (event,) = decode_market(text_of(venue_samples, name))
    assert type(event) is kind


@pytest.mark.requirement("P1.1")
def test_a_change_of_the_tick_tells_the_new_one(venue_samples: Path) -> None:
    """Without it the message would be worse than none."""
    (event,) = decode_market(text_of(venue_samples, "ws_market_tick_size_change"))
    assert isinstance(event, TickSizeChange)
    assert (event.old, event.new) == (Decimal("0.01"), Decimal("0.001"))
    row = json.loads(text_of(venue_samples, "ws_market_tick_size_change"))
    with pytest.raises(Malformed):
        decode_market(json.dumps({**row, "new_tick_size": ""}))


def test_a_resolution_names_the_token_that_pays(venue_samples: Path) -> None:
    """And its label."""
    (event,) = decode_market(text_of(venue_samples, "ws_market_resolved"))
    assert isinstance(event, MarketResolved)
    assert event.winning_outcome == "Yes"
    assert event.winning_asset_id.startswith("76043073")


@pytest.mark.requirement("P0.2")
@pytest.mark.parametrize("text", ["PONG", b"PONG", "pong", "PONG\n"])
def test_the_answer_to_a_ping_is_a_bare_word(text: str | bytes) -> None:
    """In any letter case, on both sockets."""
    assert decode_market(text) == decode_user(text) == (Pong(),)


@pytest.mark.parametrize("decode", [decode_market, decode_user])
def test_events_that_are_not_known_are_told_as_such(decode: Any) -> None:
    """New ones appear; an event without a type is none."""
    assert decode('{"event_type":"something_new","x":[]}') == (UnknownEvent("something_new"),)
    for wrong in (
        "{}",
        '{"event_type":5}',
        '{"event_type":""}',
        "5",
        "null",
        '"x"',
        "[5]",
        "[[]]",
        "",
        "PING",
        b"\xff",
    ):
        with pytest.raises(Malformed):
            decode(wrong)


def test_one_bad_event_spoils_its_frame() -> None:
    """What else was in it is asked for again; half a frame would pass for a whole one."""
    with pytest.raises(Malformed):
        decode_market(json.dumps([CHANGES, {**CHANGES, "market": None}]))


@pytest.mark.parametrize(
    "name, kind, status, matched",
    [
        ("placement", "PLACEMENT", "LIVE", "0"),
        ("update_partial", "UPDATE", "LIVE", "25"),
        ("matched", "UPDATE", "MATCHED", "100"),
        ("cancellation", "CANCELLATION", "CANCELED", "0"),
        ("venue_cancel_invalid", "CANCELLATION", "INVALID", "0"),
    ],
)
def test_an_order_tells_what_happened_and_how_much_of_it_is_done(
    venue_samples: Path, name: str, kind: str, status: str, matched: str
) -> None:
    """Sizes are cumulative."""
    (event,) = decode_user(text_of(venue_samples, f"ws_user_order_{name}"))
    assert isinstance(event, OrderPush)
    assert (event.kind, event.order.status, event.order.size_matched) == (kind, status, Decimal(matched))


def test_trap_a_killed_order_carries_its_reason_as_status(venue_samples: Path) -> None:
    """And leaves its numbers empty; dropping it would leave the order in doubt."""
    (event,) = decode_user(text_of(venue_samples, "ws_user_order_fok_killed"))
    assert isinstance(event, OrderPush)
    assert event.order.status.startswith("CANCELED_order couldn't be fully filled")
    assert (event.order.size_matched, event.order.created_s) == (0, 0)


@pytest.mark.parametrize("status", ["matched_taker", "mined", "confirmed", "failed"])
def test_a_trade_tells_how_far_it_is(venue_samples: Path, status: str) -> None:
    """FAILED is a trade that never was."""
    (event,) = decode_user(text_of(venue_samples, f"ws_user_trade_{status}"))
    assert isinstance(event, TradePush)
    assert event.trade.status == status.removesuffix("_taker").upper()
    assert event.trade.matched_s == 1_782_753_357


@pytest.mark.parametrize("stamp, expected", [("1782753357", 1_782_753_357_000), ("1782753357257", 1_782_753_357_257)])
def test_trap_stamps_of_the_user_socket_are_seconds_or_ms(venue_samples: Path, stamp: str, expected: int) -> None:
    """Told apart by their size."""
    row = json.loads(text_of(venue_samples, "ws_user_trade_mined"))
    (event,) = decode_user(json.dumps({**row, "timestamp": stamp}))
    assert isinstance(event, TradePush)
    assert event.ts_ms == expected


@pytest.mark.requirement("B34")
@pytest.mark.parametrize("decode", [decode_market, decode_user])
def test_deep_and_huge_frames_are_malformed(decode: Any) -> None:
    """No recursion, no exception but one."""
    many = json.dumps([{"event_type": "x"}] * 1_001)
    deep = '{"event_type":"price_change","price_changes":' + "[" * 900 + "]" * 900 + "}"
    for wrong in (
        "[" * 100_000,
        deep if decode is decode_market else "[" * 3_000,
        many,
        '{"event_type":' + "9" * 6_000 + "}",
    ):
        with pytest.raises(Malformed):
            decode(wrong)
