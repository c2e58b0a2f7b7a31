"""Hostile inputs made from good ones by seeded draws: bytes changed in a text, leaves replaced in a tree of JSON."""

from __future__ import annotations

from typing import Any

from agora.domain.dice import Dice

POISON: list[Any] = [
    "NaN", "Infinity", "-1", "", None, [], {}, True, 1e308, -5, "1e400", "1e-400", "0", 0, "9" * 70, "\u0000", 2**70,
    [[]], {"a": 1}, "2026-99-99T99:99:99Z", "-0", "0x1", ".5", "1_000", " 1 ",
]  # fmt: skip


def spoiled_text(dice: Dice, text: str) -> bytes:
    """A text with a few bytes changed, cut out, doubled or put in."""
    raw = bytearray(text.encode())
    for _ in range(1 + dice.below(4)):
        at = dice.below(len(raw) or 1)
        match dice.below(5):
            case 0:
                raw[at : at + 1] = bytes((dice.below(256),))
            case 1:
                del raw[at : at + 1 + dice.below(8)]
            case 2:
                raw[at:at] = raw[at : at + dice.below(20)]
            case 3:
                raw[at:at] = [b"NaN", b"1e999", b"-", b"[[[", b'""', b"\\u0000", b"null"][dice.below(7)]
            case _:
                del raw[at:]
    return bytes(raw)


def spoiled_value(dice: Dice, value: Any) -> Any:
    """A tree of JSON with one of its leaves replaced by something hostile."""
    if isinstance(value, dict) and value and dice.below(8):
        key = list(value)[dice.below(len(value))]
        return {**value, key: spoiled_value(dice, value[key])}
    if isinstance(value, list) and value and dice.below(8):
        at = dice.below(len(value))
        return [*value[:at], spoiled_value(dice, value[at]), *value[at + 1 :]]
    return POISON[dice.below(len(POISON))]
