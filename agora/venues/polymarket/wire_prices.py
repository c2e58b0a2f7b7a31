"""Frames of the two sockets that tell what an asset costs elsewhere: RTDS (the old one) and PolyBolt. No IO.

Both carry each number twice, as a float and exactly; the exact one is read, and must agree with the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from agora.venues.polymarket.wire_frames import Pong, UnknownEvent, is_pong
from agora.venues.polymarket.wire_values import words_of
from agora.venues.wire_rows import Fields, fields_of, list_of
from agora.venues.wire_values import PRICE_MAX, Malformed, Number, decimal_of, decode_json, price_of, time_ms, whole_of

# Two minutes at five a second are 600; ten times that is no snapshot.
POINTS_MAX = 6_000
WINDOW_S_MAX = 86_400
SEQUENCE_MAX = 2**53
# Topics of RTDS whose exact value counts 1e-18, and the seconds that they average over.
_E18 = Decimal(10) ** 18
_RTDS_WINDOWS_S: Mapping[str, int] = {
    "crypto_prices_chainlink": 0,
    "crypto_prices_twap_thirty": 30,
    "crypto_prices_twap_sixty": 60,
}
RTDS_BINANCE = "crypto_prices"
# The float beside an exact value has at least seven right digits.
_DISAGREEMENT_MAX = Decimal("1e-6")


class PricePoint(NamedTuple):
    """A price and when it was observed, which is what settlement looks at."""

    ts_ms: int
    price: Decimal


class PriceFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one symbol, in the order in which they came. `window_s` 0: a single price, no average.

    `sequence` rises by one in a channel of a connection, 0 where the socket does not count; `dropped` were lost to us.
    """

    channel: str
    symbol: str
    window_s: int
    source: str
    sent_ms: int
    points: tuple[PricePoint, ...]
    is_snapshot: bool
    sequence: int = 0
    dropped: int = 0


class LoggedIn(msgspec.Struct, frozen=True):
    """The credentials were good."""

    request_id: str


class Subscribed(msgspec.Struct, frozen=True):
    """A channel was subscribed."""

    channel: str
    request_id: str


class PriceRefused(msgspec.Struct, frozen=True):
    """Something was not done; the connection stays."""

    code: str
    channel: str
    request_id: str

    @property
    def is_about_login(self) -> bool:
        """Whether it is us who are not accepted, or not yet."""
        return self.code.startswith("auth_")


RtdsEvent = PriceFrame | Pong | UnknownEvent
PolyBoltEvent = PriceFrame | LoggedIn | Subscribed | PriceRefused | Pong | UnknownEvent


def decode_rtds(text: str | bytes) -> RtdsEvent:
    """One frame of RTDS; raises `Malformed` for everything that is none."""
    if is_pong(text):
        return Pong()
    frame = fields_of(decode_json(text))
    topic = words_of(frame.get("topic"), "topic")
    if topic != RTDS_BINANCE and topic not in _RTDS_WINDOWS_S:
        return UnknownEvent(topic)
    payload = fields_of(frame.get("payload"))
    is_snapshot = "data" in payload
    rows = list_of(payload["data"], most=POINTS_MAX) if is_snapshot else [payload]
    window_s = _RTDS_WINDOWS_S.get(topic, 0)
    if "window_s" in payload and whole_of(payload["window_s"], "window_s", most=WINDOW_S_MAX) != window_s:
        raise Malformed(f"{topic} averages over {window_s} s, found {payload['window_s']}")
    scale = Decimal(1) if topic == RTDS_BINANCE else _E18
    return PriceFrame(
        channel=topic,
        symbol=_symbol(payload),
        window_s=window_s,
        source="binance" if topic == RTDS_BINANCE else "chainlink",
        sent_ms=time_ms(frame.get("timestamp"), "timestamp"),
        points=tuple(_point(fields_of(row), scale=scale) for row in rows),
        is_snapshot=is_snapshot,
    )


def decode_polybolt(text: str | bytes) -> PolyBoltEvent:
    """One frame of PolyBolt; raises `Malformed` for everything that is none."""
    frame = fields_of(decode_json(text))
    if "op" in frame:
        op = words_of(frame["op"], "op")
        return _OPERATIONS.get(op, _unknown)(frame)
    channel = words_of(frame.get("channel"), "channel")
    if channel not in {"price.crypto", "price.crypto.twap"}:
        return UnknownEvent(channel)
    payload = fields_of(frame.get("payload"))
    is_snapshot = "data" in payload
    rows = list_of(payload["data"], most=POINTS_MAX) if is_snapshot else [payload]
    is_average = channel.endswith(".twap")
    return PriceFrame(
        channel=channel,
        symbol=_symbol(payload),
        window_s=whole_of(payload.get("window_seconds"), "window_seconds", least=1, most=WINDOW_S_MAX)
        if is_average
        else 0,
        source=words_of(payload.get("source"), "source"),
        sent_ms=time_ms(frame.get("ts"), "ts"),
        points=tuple(_point(fields_of(row), scale=Decimal(1)) for row in rows),
        is_snapshot=is_snapshot,
        sequence=whole_of(frame.get("seq"), "seq", most=SEQUENCE_MAX),
        dropped=whole_of(frame.get("dropped") or 0, "dropped", most=SEQUENCE_MAX),
    )


def _symbol(payload: Fields) -> str:
    symbol = words_of(payload.get("symbol"), "symbol")
    if not 0 < len(symbol) <= 32:
        raise Malformed(f"no symbol: {symbol[:40]!r}")
    return symbol


def _point(row: Fields, *, scale: Decimal) -> PricePoint:
    exact, rough = row.get("full_accuracy_value"), row.get("value")
    if exact is None or exact == "":
        return PricePoint(time_ms(row.get("timestamp"), "timestamp"), price_of(rough, "value"))
    price = price_of(_scaled(exact, scale=scale), "full_accuracy_value")
    if rough is not None and abs(price_of(rough, "value") - price) > price * _DISAGREEMENT_MAX:
        raise Malformed(f"the exact value {price:f} is not the value {decimal_of(rough, 'value'):f}")
    return PricePoint(time_ms(row.get("timestamp"), "timestamp"), price)


def _scaled(exact: Number, *, scale: Decimal) -> Decimal:
    number = decimal_of(exact, "full_accuracy_value")
    if not abs(number) <= PRICE_MAX * scale:
        raise Malformed(f"full_accuracy_value is not a price: {number:f}")
    return number / scale


def _unknown(frame: Fields) -> PolyBoltEvent:
    return UnknownEvent(words_of(frame["op"], "op"))


def _request_id(frame: Fields) -> str:
    return words_of(frame.get("rid"), "rid")


def _channel(frame: Fields) -> str:
    return words_of(frame.get("channel"), "channel")


_OPERATIONS: Mapping[str, Callable[[Fields], PolyBoltEvent]] = {
    "authed": lambda frame: LoggedIn(_request_id(frame)),
    "subscribed": lambda frame: Subscribed(_channel(frame), _request_id(frame)),
    "error": lambda frame: PriceRefused(words_of(frame.get("code"), "code"), _channel(frame), _request_id(frame)),
    "pong": lambda _: Pong(),
}
