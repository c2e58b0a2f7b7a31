"""The hash that the venue gives with each state of a book: equal hashes mean that no change was missed."""

from __future__ import annotations

import hashlib

import msgspec

LevelText = tuple[str, str]


class HashedBook(msgspec.Struct, frozen=True, kw_only=True):
    """A book as it is hashed: numbers as the venue writes them, levels (price, size) in the venue's order.

    The venue lists bids rising and asks falling, so that the best of both come last.
    """

    market: str
    asset_id: str
    timestamp: str
    bids: tuple[LevelText, ...]
    asks: tuple[LevelText, ...]
    min_order_size: str
    tick_size: str
    neg_risk: bool
    last_trade_price: str


def book_hash(book: HashedBook) -> str:
    """SHA-1, in 40 digits, of the book as compact JSON with its own hash left empty."""
    content = msgspec.json.encode(
        {
            "market": book.market,
            "asset_id": book.asset_id,
            "timestamp": book.timestamp,
            "hash": "",
            "bids": [{"price": price, "size": size} for price, size in book.bids],
            "asks": [{"price": price, "size": size} for price, size in book.asks],
            "min_order_size": book.min_order_size,
            "tick_size": book.tick_size,
            "neg_risk": book.neg_risk,
            "last_trade_price": book.last_trade_price,
        }
    )
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
