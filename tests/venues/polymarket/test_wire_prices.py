"""Frames of the two sockets of prices: exact values, their scales, and what contradicts itself."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.venues.polymarket.wire_frames import Pong, UnknownEvent
from agora.venues.polymarket.wire_prices import (
    LoggedIn,
    PriceFrame,
    PricePoint,
    PriceRefused,
    Subscribed,
    decode_polybolt,
    decode_rtds,
)
from agora.venues.wire_values import Malformed
from tests.venues.polymarket.vectors import text_of

SPOT: dict[str, Any] = {
    "topic": "crypto_prices_chainlink", "type": "update", "timestamp": 1780730269142,
    "payload": {"symbol": "btc/usd", "timestamp": 1780730269000, "value": 61035.86,
                "full_accuracy_value": "61035860000000000000000"},
}  # fmt: skip
BOLT: dict[str, Any] = {
    "v": 1, "channel": "price.crypto.twap", "seq": 3, "ts": 1788973002000,
    "payload": {"symbol": "btcusd", "value": 64120.7, "full_accuracy_value": "64120.70000000",
                "timestamp": 1788973002000, "window_seconds": 60, "source": "chainlink"},
}  # fmt: skip


def spoiled(frame: dict[str, Any], **facts: Any) -> str:
    """A frame with parts of its payload changed."""
    return json.dumps({**frame, "payload": {**frame["payload"], **facts}})


def rtds(text: str) -> PriceFrame:
    """A frame of prices of the old socket."""
    found = decode_rtds(text)
    assert isinstance(found, PriceFrame)
    return found


def polybolt(text: str) -> PriceFrame:
    """A frame of prices of the new one."""
    found = decode_polybolt(text)
    assert isinstance(found, PriceFrame)
    return found


def test_trap_the_same_field_has_two_scales(venue_samples: Path) -> None:
    """An integer of 1e-18 from Chainlink, a decimal from Binance; both are the price."""
    spot = rtds(text_of(venue_samples, "rtds_crypto_prices_chainlink_update"))
    other = rtds(text_of(venue_samples, "rtds_crypto_prices_update"))
    assert spot.points == other.points == (PricePoint(1_780_730_269_000, Decimal("61035.86")),)
    assert (spot.source, spot.symbol, spot.window_s) == ("chainlink", "btc/usd", 0)
    assert (other.source, other.symbol) == ("binance", "btcusdt")


def test_an_average_names_its_window(venue_samples: Path) -> None:
    """The price that settles; a topic of sixty seconds with another window is none."""
    frame = rtds(text_of(venue_samples, "rtds_crypto_prices_twap_sixty_update"))
    assert (frame.window_s, frame.points[0].price) == (60, Decimal(65001))
    row = json.loads(text_of(venue_samples, "rtds_crypto_prices_twap_sixty_update"))
    with pytest.raises(Malformed, match="averages over 60"):
        decode_rtds(spoiled(row, window_s=30))


def test_a_snapshot_is_a_list_of_points(venue_samples: Path) -> None:
    """About a minute of them, without exact values; fractions are read as decimals."""
    frame = rtds(text_of(venue_samples, "rtds_crypto_prices_snapshot"))
    assert frame.is_snapshot
    assert frame.points[0] == PricePoint(1_780_726_209_000, Decimal("61164.12"))
    assert len(frame.points) == 3


def test_trap_the_time_of_a_price_is_when_it_was_observed() -> None:
    """Not when it was sent: settlement looks at the former."""
    frame = rtds(json.dumps(SPOT))
    assert (frame.points[0].ts_ms, frame.sent_ms) == (1_780_730_269_000, 1_780_730_269_142)


@pytest.mark.requirement("P0.2")
@pytest.mark.parametrize("text", ["PONG", "pong", b"pong"])
def test_a_pong_is_a_bare_word(text: str | bytes) -> None:
    """The old socket's answer, in either letter case."""
    assert decode_rtds(text) == Pong()


def test_other_topics_and_channels_are_told_as_such() -> None:
    """They are no fault of anybody."""
    assert decode_rtds('{"topic":"comments","type":"x","payload":5}') == UnknownEvent("comments")
    assert decode_polybolt('{"channel":"price.equity","payload":5}') == UnknownEvent("price.equity")
    assert decode_polybolt('{"op":"news"}') == UnknownEvent("news")


def test_the_new_socket_counts_its_frames(venue_samples: Path) -> None:
    """Snapshots included; what was dropped for us is told."""
    snapshot = polybolt(text_of(venue_samples, "polybolt_price_crypto_twap_snapshot"))
    update = polybolt(text_of(venue_samples, "polybolt_price_crypto_twap_update"))
    assert (snapshot.sequence, snapshot.is_snapshot, snapshot.window_s) == (1, True, 60)
    assert (update.sequence, update.is_snapshot, update.points[0].price) == (3, False, Decimal("64120.7"))
    assert (update.dropped, polybolt(json.dumps({**BOLT, "dropped": 7})).dropped) == (0, 7)
    assert polybolt(text_of(venue_samples, "polybolt_price_crypto_update")).window_s == 0


def test_the_new_socket_answers(venue_samples: Path) -> None:
    """To a login, to a subscription, to a ping, and when it does not like something."""
    assert decode_polybolt(text_of(venue_samples, "polybolt_authed")) == LoggedIn("a1")
    assert decode_polybolt(text_of(venue_samples, "polybolt_subscribed")) == Subscribed("price.crypto", "s1")
    assert decode_polybolt('{"op":"pong"}') == Pong()
    refused = decode_polybolt(text_of(venue_samples, "polybolt_error_auth_required"))
    assert refused == PriceRefused("auth_required", "price.crypto", "s1")
    assert isinstance(refused, PriceRefused)
    assert refused.is_about_login
    assert not PriceRefused("bad_filter", "", "").is_about_login


BAD_POINTS: dict[str, dict[str, Any]] = {
    "negative": {"full_accuracy_value": "-61035860000000000000000", "value": -61035.86},
    "nothing": {"full_accuracy_value": "0", "value": 0},
    "NaN": {"full_accuracy_value": "NaN"},
    "absurd": {"full_accuracy_value": "9" * 60},
    "another scale": {"full_accuracy_value": "61035.86"},
    "another price": {"value": 61036.86},
    "no time": {"timestamp": None},
    "time in ns": {"timestamp": 1780730269000000000},
    "no symbol": {"symbol": ""},
    "long symbol": {"symbol": "x" * 40},
    "no value": {"full_accuracy_value": None, "value": None},
    "words": {"value": "up"},
    "a list": {"data": {}},
    "rows": {"data": [5]},
    "too many": {"data": [{"timestamp": 1, "value": 1}] * 6_001},
}


@pytest.mark.requirement("B34")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("change", BAD_POINTS.values(), ids=BAD_POINTS)
def test_a_price_that_cannot_be_meant_is_malformed(change: dict[str, Any]) -> None:
    """Above all one in another scale: the exact value and the float must agree."""
    with pytest.raises(Malformed):
        decode_rtds(spoiled(SPOT, **change))
    bolt = {**change, "full_accuracy_value": "64121.8"} if change.get("full_accuracy_value") == "61035.86" else change
    with pytest.raises(Malformed):
        decode_polybolt(spoiled(BOLT, **bolt))


@pytest.mark.parametrize("text", ["", "5", "[]", "{}", '{"topic":5}', '{"op":5}', "PING", b"\xff", "[" * 10_000])
def test_what_is_no_frame_is_malformed(text: str | bytes) -> None:
    """Or, without a topic, nothing that is known."""
    for decode in (decode_rtds, decode_polybolt):
        try:
            assert decode(text) == UnknownEvent("")
        except Malformed:
            continue
    with pytest.raises(Malformed):
        decode_polybolt(json.dumps({**BOLT, "seq": -1}))
    with pytest.raises(Malformed):
        decode_polybolt(spoiled(BOLT, window_seconds=0))
