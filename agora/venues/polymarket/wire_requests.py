"""What we say to Polymarket: bodies of requests, byte for byte as they are signed, and frames of its sockets. No IO.

Bodies are compact JSON: the login's signature covers the very text, so it is written once and sent as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from agora.venues.polymarket.order_signing import OrderTerms, SignatureType, SignedOrder
from agora.venues.polymarket.signing import ApiCredentials
from agora.venues.polymarket.wire_values import name_of, side_of, token_of, units_of, words_of
from agora.venues.wire_rows import Fields, fields_of
from agora.venues.wire_values import Malformed, decode_json, whole_of

# The bare words that keep sockets alive: the market's and the user's every 10 s, RTDS every 5 s.
PING, PONG = "PING", "PONG"
# More than so many orders of a batch, and tokens of a connection, the venue does not take.
BATCH_MAX = 15
CANCELS_MAX = 1_000
TOKENS_MAX = 500


class OrderKind(StrEnum):
    """How long an order lives; it is not signed."""

    GTC = "GTC"
    GTD = "GTD"
    FOK = "FOK"
    FAK = "FAK"

    @property
    def is_immediate(self) -> bool:
        """Whether it ends at once, and its collateral bounds what it buys."""
        return self in {OrderKind.FOK, OrderKind.FAK}


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A signed order and what is said beside it. `owner` is the API key; `expiration_s` is for GTD, else 0."""

    order: SignedOrder
    owner: str
    kind: OrderKind
    is_post_only: bool = False
    expiration_s: int = 0

    def __post_init__(self) -> None:
        """Refuse what the venue refuses: an immediate order that only rests, and an end that only GTD has."""
        if self.is_post_only and self.kind.is_immediate:
            raise ValueError(f"a {self.kind} order cannot be post-only")
        if (self.kind is OrderKind.GTD) != (self.expiration_s > 0):
            raise ValueError(f"a {self.kind} order with expiration {self.expiration_s}")


def place_body(placement: Placement) -> str:
    """The body of one order."""
    return _text(_placed(placement))


def batch_body(placements: Sequence[Placement]) -> str:
    """The body of up to fifteen orders, each of which succeeds or fails by itself."""
    if not 0 < len(placements) <= BATCH_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_MAX} orders, not {len(placements)}")
    return _text([_placed(placement) for placement in placements])


def _placed(placement: Placement) -> dict[str, Any]:
    terms = placement.order.terms
    return {
        "order": {
            "salt": terms.salt,
            "maker": terms.maker,
            "signer": terms.signer,
            "tokenId": terms.token_id,
            "makerAmount": str(terms.maker_amount),
            "takerAmount": str(terms.taker_amount),
            "side": terms.side.name,
            "expiration": str(placement.expiration_s),
            "signatureType": int(terms.signature_type),
            "timestamp": str(terms.timestamp_ms),
            "metadata": terms.metadata,
            "builder": terms.builder,
            "signature": placement.order.signature,
        },
        "owner": placement.owner,
        "orderType": placement.kind.value,
        "deferExec": False,
        "postOnly": placement.is_post_only,
    }


def cancel_body(order_id: str) -> str:
    """The body that cancels one order."""
    return _text({"orderID": order_id})


def cancels_body(order_ids: Sequence[str]) -> str:
    """The body that cancels several orders."""
    if not 0 < len(order_ids) <= CANCELS_MAX:
        raise ValueError(f"1 to {CANCELS_MAX} orders are cancelled at once, not {len(order_ids)}")
    return _text(list(order_ids))


def cancel_market_body(*, market: str = "", asset_id: str = "") -> str:
    """The body that cancels all orders of a market, of a token, or of a token in its market."""
    if not market and not asset_id:
        raise ValueError("a market or a token is named, or all orders would be meant")
    return _text({key: value for key, value in (("market", market), ("asset_id", asset_id)) if value})


def heartbeat_body(heartbeat_id: str = "") -> str:
    """The body of a heartbeat: the id that came last, at first none."""
    return _text({"heartbeat_id": heartbeat_id})


def _text(body: object) -> str:
    return msgspec.json.encode(body).decode()


# The same order as the venue reads it.


def read_placement(row: Fields) -> Placement:
    """One order of a body; raises `Malformed`. Its id is not in the body: `order_signing.order_digest` gives it."""
    order = fields_of(row.get("order"))
    for flag in ("postOnly", "deferExec"):
        if not isinstance(row.get(flag, False), bool):
            raise Malformed(f"{flag} is yes or no")
    signature = order.get("signature")
    if not isinstance(signature, str) or len(signature) > 2_000:
        raise Malformed("an order has no signature")
    facts = {
        "order": SignedOrder(terms=_terms(order), order_id="", signature=signature),
        "owner": name_of(row.get("owner"), "owner"),
        "is_post_only": row.get("postOnly", False),
        "expiration_s": whole_of(order.get("expiration") or 0, "expiration", most=10**11),
    }
    try:
        return Placement(kind=OrderKind(words_of(row.get("orderType"), "orderType")), **facts)
    except ValueError as fault:
        raise Malformed(str(fault)) from None


def _terms(order: Fields) -> OrderTerms:
    if not isinstance(order.get("salt"), int):
        raise Malformed("a salt is a JSON number")
    return OrderTerms(
        salt=whole_of(order["salt"], "salt", most=2**53 - 1),
        maker=name_of(order.get("maker"), "maker"),
        signer=name_of(order.get("signer"), "signer"),
        token_id=token_of(order.get("tokenId"), "tokenId"),
        maker_amount=units_of(order.get("makerAmount"), "makerAmount"),
        taker_amount=units_of(order.get("takerAmount"), "takerAmount"),
        side=side_of(order.get("side")),
        signature_type=SignatureType(whole_of(order.get("signatureType"), "signatureType", most=3)),
        timestamp_ms=whole_of(order.get("timestamp"), "timestamp", most=10**14),
        metadata=name_of(order.get("metadata"), "metadata"),
        builder=name_of(order.get("builder"), "builder"),
    )


def read_placements(body: str | bytes) -> tuple[Placement, ...]:
    """The orders of a body, one or a batch; raises `Malformed`."""
    data = decode_json(body)
    rows = data if isinstance(data, list) else [data]
    if not 0 < len(rows) <= BATCH_MAX:
        raise Malformed(f"a batch has 1 to {BATCH_MAX} orders, not {len(rows)}")
    return tuple(read_placement(fields_of(row)) for row in rows)


# Frames of sockets.


def market_subscribe_text(tokens: Sequence[str]) -> str:
    """What is said first on the market socket: the tokens, and that we want to hear of best prices and resolutions."""
    _check_tokens(tokens)
    return _text({"type": "market", "assets_ids": list(tokens), "custom_feature_enabled": True})


def market_update_text(tokens: Sequence[str], *, is_on: bool) -> str:
    """More tokens on the market socket, or fewer."""
    _check_tokens(tokens)
    said: dict[str, Any] = {"operation": "subscribe" if is_on else "unsubscribe", "assets_ids": list(tokens)}
    return _text({**said, "custom_feature_enabled": True} if is_on else said)


def _check_tokens(tokens: Sequence[str]) -> None:
    if not 0 < len(tokens) <= TOKENS_MAX:
        raise ValueError(f"1 to {TOKENS_MAX} tokens on one connection, not {len(tokens)}")


def user_subscribe_text(credentials: ApiCredentials, markets: Sequence[str] = ()) -> str:
    """What is said first on the user socket; without markets it is about all of them."""
    said: dict[str, Any] = {"type": "user", "auth": _login(credentials)}
    return _text({**said, "markets": list(markets)} if markets else said)


def user_update_text(markets: Sequence[str], *, is_on: bool) -> str:
    """More markets on the user socket, or fewer."""
    return _text({"operation": "subscribe" if is_on else "unsubscribe", "markets": list(markets)})


def _login(credentials: ApiCredentials) -> dict[str, str]:
    return {"apiKey": credentials.api_key, "secret": credentials.secret, "passphrase": credentials.passphrase}


def rtds_text(topics: Sequence[str], *, symbol: str = "", is_on: bool = True) -> str:
    """Topics of RTDS. Without a symbol all come: with many entries of one each the venue once sent other prices."""
    entry: dict[str, str] = {"type": "*", "filters": _text({"symbol": symbol})} if symbol else {"type": "update"}
    rows = [{"topic": topic, **entry} for topic in topics]
    return _text({"action": "subscribe" if is_on else "unsubscribe", "subscriptions": rows})


def polybolt_login_text(credentials: ApiCredentials, *, request_id: str) -> str:
    """The login of PolyBolt."""
    return _text({"op": "auth", "rid": request_id, "auth": _login(credentials)})


def polybolt_subscribe_text(filters: Mapping[str, Mapping[str, str | int]], *, request_id: str) -> str:
    """Channels of PolyBolt, each with its filter."""
    rows = [{"channel": channel, "filter": dict(wanted)} for channel, wanted in filters.items()]
    return _text({"op": "subscribe", "rid": request_id, "subscriptions": rows})


def polybolt_ping_text() -> str:
    """A ping on the level of the application; those of the socket do not prove that prices flow."""
    return _text({"op": "ping"})
