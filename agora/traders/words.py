"""Text that others wrote, made harmless to carry: capped, on one line, without invisible characters, and fenced.

Knows nothing of its meaning: no word is forbidden, because a list of words stops nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def plain_words(text: str, chars_max: int) -> str:
    """The text's beginning on one line: control, format, surrogate and private characters become spaces.

    What is invisible can hide an order from a reader, reverse the writing or end a terminal's line.
    """
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[:chars_max]).split())


def fenced(lines: Sequence[str]) -> str:
    """The lines between two marks that none of them contains.

    The mark is a hash of the lines: the same text has the same fence, and whoever writes one of them would have to
    find a text that contains its own hash to end the fence early.
    """
    mark = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]
    assert not any(mark in line for line in lines), "a text contains its own hash"
    return "\n".join([f"<<{mark}", *lines, f"{mark}>>"])
