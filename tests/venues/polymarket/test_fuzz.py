"""Hostile bytes at every parser of the venue: nothing crashes, and nothing that cannot be meant is accepted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.dice import dice_of
from agora.venues.polymarket import wire_account as account
from agora.venues.polymarket import wire_book as book
from agora.venues.polymarket import wire_data as data
from agora.venues.polymarket.dialect import POLYGON
from agora.venues.polymarket.fills import fills_of
from agora.venues.polymarket.keys import BadSignature
from agora.venues.polymarket.order_signing import order_signer
from agora.venues.polymarket.wire_errors import refusal_of
from agora.venues.polymarket.wire_frames import TradePush, decode_market, decode_user
from agora.venues.polymarket.wire_gamma import gamma_market, gamma_markets
from agora.venues.polymarket.wire_prices import decode_polybolt, decode_rtds
from agora.venues.polymarket.wire_requests import place_body, read_placements
from agora.venues.wire_rows import fields_of
from agora.venues.wire_values import MONEY_MAX, PRICE_MAX, SIZE_MAX, Malformed, decode_json
from tests.bitunix.figures import leave
from tests.venues.polymarket.test_wire_requests import placement
from tests.venues.polymarket.vectors import DOWN_TOKEN, UP_TOKEN
from tests.venues.spoiling import spoiled_text, spoiled_value

INPUTS = 20_000
_LEVELS = '[{"price":"0.48","size":"120.5"},{"price":"0.49","size":"30"}]'
_HIGHER = '[{"price":"0.53","size":"120.5"},{"price":"0.52","size":"30"}]'
_BOOK = (
    f'{{"event_type":"book","market":"0x74","asset_id":"{UP_TOKEN}","timestamp":"1782753357257","hash":"4f5a",'
    f'"bids":{_LEVELS},"asks":{_HIGHER},"min_order_size":"5","tick_size":"0.01","neg_risk":false,'
    f'"last_trade_price":"0.5"}}'
)
_ORDER = (
    f'{{"event_type":"order","id":"0xff","owner":"9180014b-33c8","market":"0x74","asset_id":"{UP_TOKEN}","side":"BUY",'
    f'"original_size":"10","size_matched":"2","price":"0.52","associate_trades":["t-1"],"outcome":"Up","type":"UPDATE",'
    f'"created_at":"1782753357","expiration":"0","order_type":"GTC","status":"LIVE","maker_address":"0xf3",'
    f'"timestamp":"1782753357257"}}'
)
_TRADE = (
    f'{{"event_type":"trade","type":"TRADE","id":"28c4","taker_order_id":"0x06","market":"0x74",'
    f'"asset_id":"{UP_TOKEN}","side":"BUY","size":"10","fee_rate_bps":"0","price":"0.52","status":"MATCHED",'
    f'"match_time":"1782753357","last_update":"1782753357","outcome":"Up","owner":"9180","transaction_hash":null,'
    f'"bucket_index":0,"maker_orders":[{{"order_id":"0xff","owner":"1111","matched_amount":"10","price":"0.48",'
    f'"asset_id":"{DOWN_TOKEN}","outcome":"Down","side":"BUY"}}],"trader_side":"TAKER","timestamp":"1782753357257"}}'
)
_MARKET = {
    "conditionId": "0x78", "slug": "btc-updown-15m-1791014400", "outcomes": '["Up", "Down"]',
    "outcomePrices": '["0.505", "0.495"]', "clobTokenIds": f'["{UP_TOKEN}", "{DOWN_TOKEN}"]', "version": "v1",
    "eventStartTime": "2026-10-03T08:00:00Z", "endDate": "2026-10-03T08:15:00Z", "active": True, "closed": True,
    "orderPriceMinTickSize": 0.01, "orderMinSize": 5, "negRisk": False, "umaResolutionStatus": "resolved",
    "closedTime": "2026-10-03 08:16:10+00", "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True},
    "cryptoMarketConfig": {"twapEnabled": True, "twapLookbackSeconds": 60},
    "events": [{"eventMetadata": {"priceToBeat": 84634.689, "finalPrice": 84701.5}}],
}  # fmt: skip


def answered(read: Callable[[Any], Any]) -> Callable[[str | bytes], Any]:
    """A reader of a row, as the reader of an answer's text."""
    return lambda text: read(fields_of(decode_json(text)))


def judged(text: str | bytes) -> Any:
    """A refusal of whatever body: this reader never raises."""
    return refusal_of(400, text)


def verified(text: str | bytes) -> Any:
    """The orders of a body, with who has signed them where somebody has."""
    found = read_placements(text)
    for each in found:
        try:
            order_signer(each.order.terms, each.order.signature, POLYGON.standard)
        except BadSignature:
            continue
    return found


def told(text: str | bytes) -> Any:
    """Events of the user socket, and the fills in them."""
    events = decode_user(text)
    fills = [fills_of(event.trade, {"0xff", "0x06"}) for event in events if isinstance(event, TradePush)]
    return (*events, *fills)


TEXTS: list[tuple[Callable[[str | bytes], Any], str]] = [
    (decode_market, _BOOK),
    (decode_market, f"[{_BOOK}]"),
    (
        decode_market,
        f'{{"event_type":"price_change","market":"0x74","timestamp":"1782753357257","price_changes":['
        f'{{"asset_id":"{UP_TOKEN}","price":"0.08","size":"33343.4","side":"BUY","hash":"5662","best_bid":"0.08",'
        f'"best_ask":"0.09"}}]}}',
    ),
    (
        decode_market,
        f'{{"event_type":"last_trade_price","market":"0x74","asset_id":"{UP_TOKEN}","price":"0.08","size":"219.217767",'
        f'"fee_rate_bps":"0","side":"SELL","timestamp":"1782753357257","transaction_hash":"0xee"}}',
    ),
    (
        decode_market,
        f'{{"event_type":"tick_size_change","market":"0x74","asset_id":"{UP_TOKEN}","old_tick_size":"0.01",'
        f'"new_tick_size":"0.001","timestamp":"1782753357257"}}',
    ),
    (
        decode_market,
        f'{{"event_type":"best_bid_ask","market":"0x74","asset_id":"{UP_TOKEN}","best_bid":"0.73","best_ask":"0.77",'
        f'"spread":"0.04","timestamp":"1766789469958"}}',
    ),
    (
        decode_market,
        f'{{"event_type":"market_resolved","market":"0x31","assets_ids":["{UP_TOKEN}"],"winning_asset_id":"{UP_TOKEN}",'
        f'"winning_outcome":"Up","timestamp":"1766790415550"}}',
    ),
    (
        decode_market,
        f'{{"event_type":"new_market","market":"0x31","slug":"s","outcomes":["Up","Down"],"timestamp":"1766790415550",'
        f'"clob_token_ids":["{UP_TOKEN}","{DOWN_TOKEN}"],"order_price_min_tick_size":"0.01","active":true}}',
    ),
    (told, _ORDER),
    (told, _TRADE),
    (told, f"[{_ORDER},{_TRADE}]"),
    (
        decode_rtds,
        '{"topic":"crypto_prices_twap_sixty","type":"update","timestamp":1785178800500,"payload":{"symbol":"btc/usd",'
        '"timestamp":1785178800000,"value":65001.0,"full_accuracy_value":"65001000000000000000000","window_s":60}}',
    ),
    (
        decode_rtds,
        '{"topic":"crypto_prices","type":"subscribe","timestamp":1780726213178,"payload":{"symbol":"btcusdt","data":['
        '{"timestamp":1780726209000,"value":61164.12},{"timestamp":1780726210000,"value":61161.07}]}}',
    ),
    (
        decode_polybolt,
        '{"v":1,"channel":"price.crypto.twap","seq":3,"ts":1788973002000,"payload":{"symbol":"btcusd","value":64120.7,'
        '"full_accuracy_value":"64120.70000000","timestamp":1788973002000,"window_seconds":60,"source":"chainlink"}}',
    ),
    (decode_polybolt, '{"op":"error","code":"auth_required","channel":"price.crypto","rid":"s1"}'),
    (verified, place_body(placement())),
    (judged, '{"error":"post-only mode","code":"post_only_mode","retry_after_seconds":79,"heartbeat_id":"x"}'),
    (
        lambda text: data.positions_v1(decode_json(text)),
        f'[{{"proxyWallet":"0x5","asset":"{UP_TOKEN}","conditionId":"0xc8","size":150.5,"avgPrice":0.55}}]',
    ),
    (lambda text: gamma_markets(decode_json(text)), json.dumps([_MARKET])),
]
ROWS: list[tuple[Callable[[Any], Any], Any]] = [
    (book.book_row, json.loads(_BOOK)),
    (book.hashed_book, json.loads(_BOOK)),
    (
        book.clob_market_row,
        {
            "t": [{"t": UP_TOKEN, "o": "Up"}, {"t": DOWN_TOKEN, "o": "Down"}], "mos": 5, "mts": 0.01, "itode": True,
            "fd": {"r": 0.07, "e": 1, "to": True}, "oas": 0,
        },
    ),
    (
        book.legacy_market_row,
        {
            "condition_id": "0xdd", "tokens": [{"token_id": UP_TOKEN, "outcome": "Up", "price": 0.4, "winner": False}],
            "minimum_tick_size": 0.01, "minimum_order_size": 5, "end_date_iso": "2026-11-05T00:00:00Z", "closed": False,
            "rewards": {"min_size": 50, "max_spread": 4.5},
        },
    ),
    (gamma_market, _MARKET),
    (account.order_row, json.loads(_ORDER)),
    (account.trade_row, json.loads(_TRADE)),
    (lambda row: account.page_of(row, account.trade_row), {"next_cursor": "LTE=", "data": [json.loads(_TRADE)]}),
    (
        account.place_answer,
        {
            "success": True, "errorMsg": "", "orderID": "0xb5", "status": "matched", "makingAmount": "4.9152",
            "takingAmount": "5.12", "tradeIDs": ["28c4"],
        },
    ),
    (account.cancel_answer, {"canceled": ["0xa"], "not_canceled": {"0xb": "order already matched"}}),
    (account.balance_row, {"balance": "1000000000", "allowances": {"0xE1": str(2**256 - 1)}}),
    (account.heartbeat_of, {"heartbeat_id": "abc"}),
    (
        data.positions_v2,
        {
            "data": [{"proxy_wallet": "0x5", "token_id": UP_TOKEN, "condition_id": "0xc8", "current_size": 1.5}],
            "pagination": {"has_more": True, "next_cursor": "x"},
        },
    ),
]  # fmt: skip
TEXTS += [(answered(read), json.dumps(row)) for read, row in ROWS]
SIZES = {"size", "original_size", "size_matched", "matched", "min_order_size", "order_size_min", "making", "taking"}
ODDS = {"bid", "ask", "best_bid", "best_ask", "tick_size", "old", "new", "last_trade_price"}


def check(found: Any, *, is_asset: bool = False) -> None:
    """Everything that was accepted is finite and within what a market can mean."""
    if isinstance(found, msgspec.Struct):
        is_asset = type(found).__name__ in {"PriceFrame", "GammaMarket"}
        for name in found.__struct_fields__:
            _check_value(name, getattr(found, name), is_asset=is_asset)
    elif isinstance(found, tuple) and hasattr(found, "_fields"):
        for name in found._fields:
            _check_value(name, getattr(found, name), is_asset=is_asset)
    elif isinstance(found, tuple | list):
        for part in found:
            check(part, is_asset=is_asset)


def _check_value(name: str, value: Any, *, is_asset: bool) -> None:
    check(value, is_asset=is_asset)
    assert not isinstance(value, float) or math.isfinite(value), (name, value)
    if isinstance(value, str):
        assert len(value) <= 2_100, name
    if not isinstance(value, Decimal):
        return
    assert value.is_finite(), (name, value)
    assert abs(value) <= MONEY_MAX, (name, value)
    if name in SIZES:
        assert 0 <= value <= SIZE_MAX, (name, value)
    if name in ODDS:
        assert 0 < value < 1, (name, value)
    if name == "price" and is_asset:
        assert 0 < value <= PRICE_MAX, (name, value)
    elif "price" in name and name not in {"price_to_beat", "final_price"}:
        assert 0 <= value <= 1, (name, value)


def fuzz(count: int, *, seed: int) -> int:
    """Throw so many inputs at all parsers; returns how many were accepted. Raises on the first crash."""
    dice = dice_of(seed, "fuzz polymarket")
    accepted = 0
    for _ in range(count):
        read, text = TEXTS[dice.below(len(TEXTS))]
        whole = dice.below(2) == 0
        raw = spoiled_text(dice, text) if whole else json.dumps(spoiled_value(dice, json.loads(text))).encode()
        accepted += _is_taken(read, raw)
    return accepted


def _is_taken(read: Callable[[str | bytes], Any], raw: bytes) -> bool:
    try:
        check(read(raw))
    except Malformed:
        return False
    return True


def test_every_good_input_is_accepted() -> None:
    """Unspoiled they are all what they say, so that refusals come of what was spoiled."""
    for read, text in TEXTS:
        check(read(text))


@pytest.mark.requirement("B34")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_input_crashes_a_parser_or_passes_as_a_number(seed: int) -> None:
    """Twice ten thousand frames, answers and orders, spoiled from good ones; the seed names the stream."""
    accepted = fuzz(INPUTS // 2, seed=seed)
    leave(f"fuzz-polymarket-{seed}", {"fuzz_inputs": INPUTS // 2})
    assert INPUTS // 20 < accepted < INPUTS // 2  # some are harmless, most are not


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ["event_type", "market", "asset_id", "timestamp", "price_changes", "topic", "payload", "op", "channel", "order"]
DECODERS = [decode_market, told, decode_rtds, decode_polybolt, verified]


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(["book", "price_change", "order", "trade", "x"]))
@settings(max_examples=300, deadline=None)
def test_frames_of_any_shape_are_frames_or_malformed(frame: dict[str, Any], word: str) -> None:
    """Also those that nobody thought of."""
    for facts in ({}, {"event_type": word}, {"topic": "crypto_prices"}, {"channel": "price.crypto"}):
        for read in DECODERS:
            _is_taken(read, json.dumps({**frame, **facts}).encode())


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_bytes_of_any_kind_are_malformed(raw: bytes) -> None:
    """No exception but one."""
    for read in DECODERS:
        _is_taken(read, raw)
    check(refusal_of(500, raw))
