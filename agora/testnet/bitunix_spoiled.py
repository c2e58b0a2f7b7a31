"""Frames that are spoiled on purpose: each function makes of a good frame what a broken feed would send."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from agora.testnet.faults import Fault, PlannedFault

DEEP_LEVELS = 5_000
FUTURE_MS = 3_600_000
STALE_MS = 60_000


PRICES = ("p", "mp", "ip", "o", "c", "h", "l", "la", "bd", "ak")
# Numbers of an account's pushes.
NUMBERS = (
    *PRICES, "price", "averagePrice", "qty", "dealAmount", "fee", "available", "frozen", "margin", "realizedPNL",
    "unrealizedPNL", "funding", "entryValue", "tpPrice", "slPrice",
)  # fmt: skip


def _with_data(text: str, change: Callable[[Any], Any]) -> str:
    frame = msgspec.json.decode(text)
    return msgspec.json.encode({**frame, "data": change(frame["data"])}).decode()


def _numbers(data: Any, change: Callable[[str], str], keys: Collection[str] = PRICES) -> Any:
    """The same data with every number of these keys changed, wherever it stands, and the prices of levels."""
    if isinstance(data, dict):
        return {
            key: change(value) if key in keys and isinstance(value, str) else _numbers(value, change, keys)
            for key, value in data.items()
        }
    if isinstance(data, list):
        if len(data) == 2 and all(isinstance(part, str) for part in data):
            return [change(data[0]), data[1]]
        return [_numbers(part, change, keys) for part in data]
    return data


def _malformed(text: str, _: PlannedFault) -> str:
    return text[: len(text) * 2 // 3]


def _not_a_number(text: str, _: PlannedFault) -> str:
    return _with_data(text, lambda data: _numbers(data, lambda _text: "NaN", NUMBERS))


def _huge(text: str, entry: PlannedFault) -> str:
    return text[:-1] + ',"padding":"' + "x" * entry.size_bytes + '"}'


def _deep(text: str, _: PlannedFault) -> str:
    return text[:-1] + ',"deep":' + "[" * DEEP_LEVELS + "]" * DEEP_LEVELS + "}"


def _binary(text: str, _: PlannedFault) -> bytes:
    return bytes((byte * 7 + 128) % 256 for byte in text.encode()[:200])


def _wrong_price(text: str, _: PlannedFault) -> str:
    return _with_data(text, lambda data: _numbers(data, _tenfold))


def _tenfold(number: str) -> str:
    """The decimal point one place to the right: what a unit or a symbol mixed up looks like."""
    whole, _, part = number.partition(".")
    return number if not number else f"{whole}{part[:1] or '0'}.{part[1:] or '0'}"


def _crossed(text: str, _: PlannedFault) -> str:
    """Bids in the place of asks."""

    def swap(data: Any) -> Any:
        return {**data, "b": data["a"], "a": data["b"]} if isinstance(data, dict) and "a" in data else data

    return _with_data(text, swap)


def _future(text: str, _: PlannedFault) -> str:
    frame = msgspec.json.decode(text)
    return msgspec.json.encode({**frame, "ts": frame["ts"] + FUTURE_MS}).decode()


def _stale(text: str, _: PlannedFault) -> str:
    frame = msgspec.json.decode(text)
    return msgspec.json.encode({**frame, "ts": frame["ts"] - STALE_MS}).decode()


SPOILED: Mapping[Fault, Callable[[str, PlannedFault], str | bytes]] = {
    Fault.MALFORMED: _malformed,
    Fault.NOT_A_NUMBER: _not_a_number,
    Fault.HUGE: _huge,
    Fault.DEEP: _deep,
    Fault.BINARY: _binary,
    Fault.WRONG_PRICE: _wrong_price,
    Fault.CROSSED_BOOK: _crossed,
    Fault.FUTURE: _future,
    Fault.STALE: _stale,
}
