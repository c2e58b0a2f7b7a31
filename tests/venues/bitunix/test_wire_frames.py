"""Frames of the sockets: the samples, the quirks, and nothing else."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from agora.domain.orders import Side
from agora.venues.bitunix.signing import Credentials
from agora.venues.bitunix.wire_frames import (
    Connected,
    KlineFrame,
    LoginAnswer,
    OrderPush,
    Pong,
    PositionPush,
    PriceFrame,
    SubscribeRefused,
    TickersFrame,
    decode_frame,
    login_text,
    ping_text,
    subscribe_private_text,
    subscribe_text,
)
from agora.venues.wire_values import Malformed, iso_ns


def test_every_sample_frame_is_read(venue_samples: Path) -> None:
    """All that the venue sends in the fixtures, on both sockets."""
    lines = (venue_samples / "bitunix" / "ws_frames.jsonl").read_text().splitlines()
    frames = [json.loads(line) for line in lines if line]
    read = [decode_frame(json.dumps(each["frame"])) for each in frames if each["dir"] == "s2c"]
    assert len(read) == sum(each["dir"] == "s2c" for each in frames) > 20


def test_what_we_say_is_what_the_samples_say(venue_samples: Path) -> None:
    """Ping in seconds, login in seconds with the vector's signature, private channels by name."""
    lines = (venue_samples / "bitunix" / "ws_frames.jsonl").read_text().splitlines()
    said = {each["id"]: each["frame"] for each in map(json.loads, lines)}
    assert json.loads(ping_text(1_790_126_498)) == said["ping"]
    login = login_text(
        Credentials("sim-api-key-0001", "sim-secret-0001"),
        nonce="0123456789abcdef0123456789abcdef",
        now_s=1_790_126_515,
    )
    assert json.loads(login) == said["login"]
    assert json.loads(subscribe_private_text()) == said["subscribe_private"]
    assert json.loads(subscribe_text(said["subscribe"]["args"])) == said["subscribe"]


def test_trap_the_answer_to_a_ping_is_called_ping() -> None:
    """The echo makes it a pong."""
    assert decode_frame('{"op":"ping","pong":5,"ping":3}') == Pong(5)


def test_greeting_login_and_refused_subscription() -> None:
    """Control frames have an operation and no channel."""
    assert decode_frame('{"op":"connect","data":{"result":true}}') == Connected()
    assert decode_frame('{"op":"login","data":{"result":true}}') == LoginAnswer(is_accepted=True, message="")
    refused = decode_frame('{"op":"login","data":{"msg":"Sign signature error","result":false}}')
    assert refused == LoginAnswer(is_accepted=False, message="Sign signature error")
    over = decode_frame('{"op":"subscribe","data":{"msg":"subscribe channel > 300","nonce":"","result":false}}')
    assert isinstance(over, SubscribeRefused)


@pytest.mark.requirement("B13")
def test_trap_a_connection_has_at_most_300_streams() -> None:
    """One more would be left out in silence of the others: it is refused before it is said."""
    streams = [{"symbol": f"S{number}", "ch": "price"} for number in range(301)]
    assert len(json.loads(subscribe_text(streams[:300]))["args"]) == 300
    with pytest.raises(ValueError, match="301 streams"):
        subscribe_text(streams)


ORDER = {
    "event": "CLOSE", "orderId": "1", "symbol": "BTCUSDT", "side": "Buy", "type": "Market", "qty": "0.01", "price": "",
    "effect": "", "mtime": "2026-09-23T01:22:00.000123456Z", "orderStatus": "FILLED", "dealAmount": "0.01",
}  # fmt: skip


def push(channel: str, data: object) -> str:
    """A private push."""
    return json.dumps({"ch": channel, "ts": 1790126520000, "data": data})


def test_trap_private_words_come_in_any_case_and_fields_may_be_missing() -> None:
    """Empty strings for numbers, no client id, an object or a list of one."""
    found = decode_frame(push("order", ORDER))
    assert isinstance(found, OrderPush)
    assert (found.side, found.price, found.client_id) == (Side.BUY, None, "")
    assert found.mtime_ns % 1_000_000_000 == 123_456
    assert decode_frame(push("order", [ORDER])) == found
    position = {"event": "OPEN", "positionId": "9", "symbol": "BTCUSDT", "side": "SHORT", "qty": "", "funding": ""}
    held = decode_frame(push("position", position))
    assert isinstance(held, PositionPush)
    assert (held.side, held.qty) == (Side.SELL, Decimal(0))


def test_trap_the_rate_of_a_price_frame_is_percent_and_settled() -> None:
    """`-0.00077` percent, settled at its own time."""
    data = {"ip": "86720.6", "mp": "86688.3", "fr": "-0.00077", "ft": "2026-09-23T00:00:00Z", "nft": ""}
    frame = decode_frame(json.dumps({"ch": "price", "symbol": "BTCUSDT", "ts": 1, "data": data}))
    assert isinstance(frame, PriceFrame)
    assert (frame.rate_ppb, frame.settled_ns, frame.next_ns) == (-7_700, 1_790_121_600 * 10**9, 0)


def test_trap_a_kline_has_neither_start_nor_closed_flag() -> None:
    """Its stamp is the gateway's; the interval is the channel's."""
    data = {"o": "1", "c": "2", "h": "3", "l": "1", "b": "5", "q": "7"}
    frame = decode_frame(json.dumps({"ch": "market_kline_15min", "symbol": "BTCUSDT", "ts": 9, "data": data}))
    assert isinstance(frame, KlineFrame)
    assert (frame.interval, frame.base_volume) == ("15min", Decimal(5))


def test_trap_the_symbol_of_the_data_wins_over_the_envelopes() -> None:
    """Where the two contradict each other."""
    data = {"s": "ETHUSDT", "la": "2000", "b": "1", "q": "2"}
    frame = decode_frame(json.dumps({"ch": "ticker", "symbol": "BTCUSDT", "ts": 1, "data": data}))
    assert isinstance(frame, TickersFrame)
    assert frame.quotes[0].symbol == "ETHUSDT"


HOSTILE = [
    "",
    "[]",
    "5",
    "null",
    "{",
    '{"ch":5}',
    '{"ch":"order","data":5}',
    '{"ch":"nope","data":{}}',
    '{"op":"nope"}',
    '{"op":"ping","pong":{}}',
    "[" * 100_000,
    '{"ch":"depth_book15","symbol":"X","ts":1,"data":{"b":[["NaN","1"]],"a":[]}}',
    '{"ch":"trade","symbol":"X","ts":1,"data":[{"t":"x","p":"1","v":"1","s":"buy"}]}',
    '{"ch":"price","data":{"mp":NaN}}',
    b"\xff\xfe",
    '{"ch":"depth_book1","symbol":"X","ts":1e400,"data":{"b":[],"a":[]}}',
]


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_frame_is_malformed(text: str | bytes) -> None:
    """One exception for all of it, and no other."""
    with pytest.raises(Malformed):
        decode_frame(text)


@pytest.mark.parametrize("text", ["2026-13-01T00:00:00Z", "2026-01-01", 5, "2026-01-01T00:00:00+02:00", "x"])
def test_times_of_another_form_are_refused(text: object) -> None:
    """UTC with up to nine decimals, nothing else."""
    with pytest.raises(Malformed):
        iso_ns(text, "t")
    assert iso_ns("1970-01-01T00:00:01.5Z", "t") == 1_500_000_000
