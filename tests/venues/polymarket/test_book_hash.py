"""The hash of a book's state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.venues.polymarket.book_hash import HashedBook, book_hash
from tests.venues.polymarket.vectors import sample


def hashed(facts: dict[str, Any]) -> HashedBook:
    """A book on the wire, as it is hashed."""
    levels = {side: tuple((row["price"], row["size"]) for row in facts[side]) for side in ("bids", "asks")}
    return HashedBook(**{name: facts[name] for name in HashedBook.__struct_fields__} | levels)


def test_the_vector_is_reproduced(venue_samples: Path) -> None:
    """As the official client computes it."""
    vector = sample(venue_samples, "vectors_book_hash")
    assert book_hash(hashed(vector["input"])) == vector["sha1"]


CHANGES = {
    "level": {"bids": (("0.3", "100"), ("0.4", "101"))},
    "side": {"bids": (("0.6", "100"), ("0.7", "100")), "asks": (("0.3", "100"), ("0.4", "100"))},
    "order": {"bids": (("0.4", "100"), ("0.3", "100"))},
    "time": {"timestamp": "123456790"},
    "tick": {"tick_size": "0.001"},
    "trade": {"last_trade_price": ""},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_book_that_differs_has_another_hash(venue_samples: Path, change: dict[str, Any]) -> None:
    """A missed change shows."""
    book = hashed(sample(venue_samples, "vectors_book_hash")["input"])
    assert book_hash(msgspec.structs.replace(book, **change)) != book_hash(book)
