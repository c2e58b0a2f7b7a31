"""Hostile bytes at every parser of the venue: nothing crashes, and nothing that cannot be meant is accepted."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.dice import dice_of
from agora.domain.events import FeedMalformed
from agora.domain.instruments import Instrument
from agora.venues.bitunix import wire_account as account_wire
from agora.venues.bitunix import wire_market as market_wire
from agora.venues.bitunix.feed_reader import MarketReader
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire_frames import decode_frame
from agora.venues.wire_rows import rows_of
from agora.venues.wire_values import PRICE_MAX, SIZE_MAX, Malformed
from tests.bitunix.figures import leave
from tests.venues.spoiling import spoiled_text, spoiled_value

INPUTS = 20_000
NOW_NS = 1_790_126_515_700 * 10**6
INSTRUMENT = Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.0001")
FRAMES = [
    '{"ch":"depth_book15","symbol":"BTCUSDT","ts":1790126515693,"data":{"b":[["86699.6","2.274"],["86699.5","2.7407"]],'
    '"a":[["86699.7","0.7095"],["86699.8","2.1992"]]}}',
    '{"ch":"trade","symbol":"BTCUSDT","ts":1790126515693,"data":[{"t":"2026-04-07T05:47:52Z","p":"68621.4","v":"0.7142",'
    '"s":"buy"}]}',
    '{"ch":"price","symbol":"BTCUSDT","ts":1790126515693,"data":{"ip":"86720.6","mp":"86688.3","fr":"-0.00077",'
    '"ft":"2026-09-23T00:00:00Z","nft":"2026-09-23T08:00:00Z"}}',
    '{"ch":"order","ts":1790126520000,"data":{"event":"CLOSE","orderId":"19","symbol":"BTCUSDT","side":"BUY","qty":"0.01",'
    '"price":"86699.0","mtime":"2026-09-23T01:22:00.000123456Z","orderStatus":"FILLED","dealAmount":"0.01","clientId":"s"}}',
    '{"ch":"position","ts":1790126520001,"data":{"event":"OPEN","positionId":"9","side":"LONG","qty":"0.01",'
    '"symbol":"BTCUSDT","realizedPNL":"0","funding":"0","fee":"0.173398"}}',
    '{"op":"ping","pong":1790126498,"ping":1790126491}',
    '{"op":"login","data":{"result":true}}',
]
ANSWERS: list[tuple[Any, str, dict[str, Any]]] = [
    (account_wire.trade_row, "", {
        "tradeId": "1", "orderId": "2", "symbol": "BTCUSDT", "qty": "0.0005", "price": "91077.2", "side": "BUY",
        "fee": "0.019", "roleType": "TAKER", "reduceOnly": False, "ctime": "1597026383085",
    }),
    (account_wire.order_row, "", {
        "orderId": "1", "qty": "1", "tradeQty": "0.5", "price": "60000", "symbol": "BTCUSDT", "status": "NEW",
        "fee": "0.01", "side": "SELL", "type": "LIMIT", "ctime": 1597026383085, "mtime": 1597026383085,
    }),
    (account_wire.position_row, "", {
        "positionId": "9", "symbol": "BTCUSDT", "side": "SHORT", "qty": "0.5", "entryValue": "30000", "leverage": 10,
        "fee": "0", "funding": "-0.2", "margin": "1", "liqPrice": "5", "ctime": 1, "mtime": 2,
    }),
    (market_wire.kline_row, "", {
        "open": "60000", "high": "60001", "close": "60000", "low": "59989.2", "time": 111111, "quoteVol": "1",
        "baseVol": "60000",
    }),
    (market_wire.pair_row, "", {
        "symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "basePrecision": 4, "quotePrecision": 1,
        "minTradeVolume": "0.0001", "maxLimitOrderVolume": "1", "maxMarketOrderVolume": "1", "maxLeverage": 125,
        "priceProtectScope": "0.02", "symbolStatus": "OPEN", "isApiSupported": True,
    }),
]  # fmt: skip


def check(found: Any) -> None:
    """Everything that was accepted is finite and within what a market can mean."""
    if isinstance(found, msgspec.Struct):
        for name in found.__struct_fields__:
            value = getattr(found, name)
            check(value)
            if isinstance(value, Decimal):
                assert value.is_finite(), (name, value)
                if "price" in name and value:
                    assert abs(value) <= 10**15 if name == "liquidation_price" else 0 < value <= PRICE_MAX, (
                        name,
                        value,
                    )
                if name in ("qty", "size", "trade_qty", "dealt"):
                    assert 0 <= value <= SIZE_MAX, (name, value)
    elif isinstance(found, tuple):
        for part in found:
            check(part)
    elif isinstance(found, float):
        assert math.isfinite(found)


def fuzz(count: int, *, seed: int) -> int:
    """Throw so many inputs at all parsers; returns how many were accepted. Raises on the first crash."""
    dice = dice_of(seed, "fuzz")
    reader = MarketReader({"BTCUSDT": INSTRUMENT}, BitunixSettings())
    reader.begin(NOW_NS)
    accepted = 0
    for number in range(count):
        text = FRAMES[dice.below(len(FRAMES))]
        raw = spoiled_text(dice, text) if dice.below(2) else json.dumps(spoiled_value(dice, json.loads(text))).encode()
        accepted += _try_frame(raw)
        for event in reader.read(raw, now_ns=NOW_NS + number):
            if not isinstance(event, FeedMalformed):
                check_event(event)
        read, key, row = ANSWERS[dice.below(len(ANSWERS))]
        accepted += _try_rows(spoiled_value(dice, [row]), read, key)
    return accepted


def check_event(event: Any) -> None:
    """What reaches the run has positive prices and sizes below any market's."""
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name.endswith("_ticks"):
            assert 0 < value <= 10**10, (name, value)
        if name.endswith("_lots"):
            assert 0 < value < 10**16, (name, value)


def _try_frame(raw: bytes) -> bool:
    try:
        check(decode_frame(raw))
    except Malformed:
        return False
    return True


def _try_rows(data: Any, read: Any, key: str) -> bool:
    try:
        for row in rows_of(data, read, key):
            check(row)
    except Malformed:
        return False
    return True


@pytest.mark.requirement("B34")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("seed", [1, 2])
def test_no_input_crashes_a_parser_or_passes_as_a_number(seed: int) -> None:
    """Twice ten thousand frames and answers, spoiled from good ones; the seed names the stream."""
    accepted = fuzz(INPUTS // 2, seed=seed)
    leave(f"fuzz-{seed}", {"fuzz_inputs": INPUTS // 2})
    assert INPUTS // 20 < accepted < INPUTS  # some are harmless, most are not


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["ch", "op", "symbol", "ts", "data", "pong"]), JSON))
@settings(max_examples=500, deadline=None)
def test_frames_of_any_shape_are_frames_or_malformed(frame: dict[str, Any]) -> None:
    """Also those that nobody thought of."""
    _try_frame(json.dumps(frame).encode())
    frame["ch"] = "order"
    _try_frame(json.dumps(frame).encode())


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_bytes_of_any_kind_are_malformed(raw: bytes) -> None:
    """No exception but one."""
    _try_frame(raw)
    list(MarketReader({"BTCUSDT": INSTRUMENT}, BitunixSettings()).read(raw, now_ns=NOW_NS))
