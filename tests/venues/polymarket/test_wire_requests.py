"""What we say to Polymarket, byte for byte, and how a venue reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.venues.polymarket.dialect import POLYGON
from agora.venues.polymarket.keys import SigningKey
from agora.venues.polymarket.order_signing import order_digest, sign_order
from agora.venues.polymarket.signing import ApiCredentials
from agora.venues.polymarket.wire_requests import (
    BATCH_MAX,
    PING,
    OrderKind,
    Placement,
    batch_body,
    cancel_body,
    cancel_market_body,
    cancels_body,
    heartbeat_body,
    market_subscribe_text,
    market_update_text,
    place_body,
    polybolt_login_text,
    polybolt_ping_text,
    polybolt_subscribe_text,
    read_placements,
    rtds_text,
    user_subscribe_text,
    user_update_text,
)
from agora.venues.wire_values import Malformed
from tests.venues.polymarket.vectors import DEV_KEY, DOWN_TOKEN, UP_TOKEN, sample, some_terms, terms_of, text_of

OWNER = "00000000-0000-0000-0000-000000000001"
MARKET = "0x747dc809fb79e1b05be09c42d6179459a58de2ef3e40f02484a4e1260f741f75"
CREDENTIALS = ApiCredentials(
    address="0x1",
    api_key="9180014b-33c8-9240-a14b-bdca11c0a465",
    secret="MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=",
    passphrase="pp",
)
SHOWN = ApiCredentials(address="0x1", api_key="<api key>", secret="<api secret>", passphrase="<api passphrase>")


def placement(**facts: Any) -> Placement:
    """A post-only order of the development key."""
    order = sign_order(SigningKey(DEV_KEY), some_terms(), POLYGON.standard)
    usual: dict[str, Any] = {"order": order, "owner": OWNER, "kind": OrderKind.GTC, "is_post_only": True}
    return Placement(**{**usual, **facts})


SAID = {
    "rest_post_order_request": lambda: place_body(placement()),
    "ws_market_subscribe_request": lambda: market_subscribe_text([DOWN_TOKEN, UP_TOKEN]),
    "ws_market_subscribe_update_request": lambda: market_update_text([UP_TOKEN], is_on=True),
    "ws_market_unsubscribe_request": lambda: market_update_text([UP_TOKEN], is_on=False),
    "ws_user_subscribe_request": lambda: user_subscribe_text(CREDENTIALS, [MARKET]),
    "ws_user_subscribe_update_request": lambda: user_update_text([MARKET], is_on=True),
    "rtds_subscribe_request_all_symbols": lambda: rtds_text(["crypto_prices_chainlink", "crypto_prices_twap_sixty"]),
    "rtds_subscribe_request_filtered": lambda: rtds_text(["crypto_prices_chainlink"], symbol="btc/usd"),
    "polybolt_auth_request": lambda: polybolt_login_text(SHOWN, request_id="a1"),
    "polybolt_subscribe_request": lambda: polybolt_subscribe_text(
        {"price.crypto.twap": {"symbol": "btcusd", "window_seconds": 60}, "price.crypto": {"symbol": "btcusd"}},
        request_id="s1",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_what_we_say_is_what_the_samples_say(venue_samples: Path, name: str) -> None:
    """Every key in its place, and no space: bodies are signed as they are sent."""
    expected = json.dumps(json.loads(text_of(venue_samples, name)), separators=(",", ":"))
    assert SAID[name]() == expected


def test_every_signed_order_of_the_vectors_is_sent_as_it_was(venue_samples: Path) -> None:
    """All kinds of wallets, an end in time, a builder; read back, they are the same orders."""
    vectors = sample(venue_samples, "vectors_signing")["orders"]
    for name, vector in vectors.items():
        wire = vector["wire"]
        end_s = int(wire["order"]["expiration"])
        order = placement().order
        order = msgspec.structs.replace(order, terms=terms_of(wire["order"]), signature=wire["order"]["signature"])
        # The client that made this vector has left its order's type as it was.
        kind = OrderKind.GTD if end_s else OrderKind(wire["orderType"])
        sent = place_body(Placement(order=order, owner=wire["owner"], kind=kind, is_post_only=True, expiration_s=end_s))
        assert json.loads(sent) == {**wire, "orderType": kind.value}, name
        (read,) = read_placements(sent)
        assert read.order.terms == order.terms, name
        assert (read.kind, read.expiration_s, read.is_post_only, read.owner) == (kind, end_s, True, wire["owner"])


def test_the_small_bodies() -> None:
    """Cancels, heartbeats, pings."""
    assert cancel_body("0xabc") == '{"orderID":"0xabc"}'
    assert cancels_body(["0xa", "0xb"]) == '["0xa","0xb"]'
    assert cancel_market_body(market="0x1") == '{"market":"0x1"}'
    assert cancel_market_body(market="0x1", asset_id="2") == '{"market":"0x1","asset_id":"2"}'
    assert heartbeat_body() == '{"heartbeat_id":""}'
    assert json.loads(user_subscribe_text(CREDENTIALS)).keys() == {"type", "auth"}
    assert (PING, polybolt_ping_text()) == ("PING", '{"op":"ping"}')


def test_a_batch_has_one_to_fifteen_orders() -> None:
    """More the venue does not take, and of none nothing would be known."""
    for count in (1, BATCH_MAX):
        body = batch_body([placement()] * count)
        assert len(read_placements(body)) == count
    for count in (0, BATCH_MAX + 1):
        with pytest.raises(ValueError, match="a batch has"):
            batch_body([placement()] * count)
    with pytest.raises(ValueError, match="cancelled at once"):
        cancels_body([])
    with pytest.raises(ValueError, match="is named"):
        cancel_market_body()
    with pytest.raises(ValueError, match="tokens"):
        market_subscribe_text([])


@pytest.mark.requirement("P0.1")
@pytest.mark.parametrize(
    "facts",
    [
        {"kind": OrderKind.FOK},
        {"kind": OrderKind.FAK},
        {"kind": OrderKind.GTD},
        {"expiration_s": 1_798_765_260},
        {"kind": OrderKind.FAK, "is_post_only": False, "expiration_s": 1},
    ],
    ids=["post-only FOK", "post-only FAK", "GTD without end", "GTC with an end", "FAK with an end"],
)
def test_what_the_venue_would_refuse_is_not_written(facts: dict[str, Any]) -> None:
    """An immediate order never rests, and an end belongs to GTD."""
    with pytest.raises(ValueError, match="order"):
        placement(**facts)


BAD_ORDERS: dict[str, dict[str, Any]] = {
    "salt as text": {"salt": "5"},
    "salt beyond a double": {"salt": 2**53},
    "negative amount": {"makerAmount": "-1"},
    "amount with decimals": {"makerAmount": "1.5"},
    "amount in other digits": {"takerAmount": "٣"},
    "side": {"side": 0},
    "signature type": {"signatureType": 4},
    "time": {"timestamp": "NaN"},
    "token": {"tokenId": "0x5"},
    "maker": {"maker": "../../etc"},
    "no signature": {"signature": None},
    "huge signature": {"signature": "0x" + "00" * 2_000},
    "end without GTD": {"expiration": "5"},
}


@pytest.mark.requirement("B34")
@pytest.mark.parametrize("change", BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_an_order_that_is_none_is_malformed(change: dict[str, Any]) -> None:
    """To whoever reads it."""
    body = json.loads(place_body(placement()))
    with pytest.raises(Malformed):
        read_placements(json.dumps({**body, "order": {**body["order"], **change}}))
    for wrong in ({**body, "orderType": "IOC"}, {**body, "postOnly": 1}, {**body, "owner": ""}, {}, [], 5, [body] * 16):
        with pytest.raises(Malformed):
            read_placements(json.dumps(wrong))


def test_an_order_that_was_read_has_the_id_that_was_known_before_it_was_sent() -> None:
    """Both sides compute it, so an unknown outcome can be asked about."""
    sent = placement()
    (read,) = read_placements(place_body(sent))
    assert "0x" + order_digest(read.order.terms, POLYGON.standard).hex() == sent.order.order_id
