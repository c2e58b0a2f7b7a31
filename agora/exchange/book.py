"""One asset's book as others see it: a thin reader of the matching kernel's buffer, which is the whole state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agora.domain.orders import Side
from agora.exchange.records import Depth, DepthLevel
from agora.exchange.requests import OpenOrder, Touch
from agora.kernels import matching
from agora.kernels import matching_layout as layout
from agora.kernels.compiled import Words

LEVELS_SHOWN_MAX = 1_000  # a page of depth; more is a copy of the book


class Head(NamedTuple):
    """The resting order that would trade next."""

    owner: int
    order_id: int
    price_ticks: int
    size_lots: int


class Book:
    """The order book of one symbol."""

    __slots__ = ("_levels", "symbol", "words")

    def __init__(self, symbol: str, words: Words) -> None:
        self.symbol = symbol
        self.words = words
        self._levels = np.zeros((LEVELS_SHOWN_MAX, 3), dtype=np.int64)

    @property
    def last_ticks(self) -> int:
        """The last trade's price; the listing price before the first."""
        return int(self.words[layout.LAST_PRICE])

    @property
    def order_count(self) -> int:
        """Orders that rest or wait."""
        return int(self.words[layout.ORDER_COUNT])

    @property
    def earliest_expiry_ns(self) -> int:
        """No order expires before; far away when none does."""
        return int(self.words[layout.EARLIEST_EXPIRY])

    def touch(self) -> Touch:
        """Best bid and ask with their sizes."""
        return Touch(*self.words[layout.BID_PRICE : layout.ASK_SIZE + 1].tolist())

    def head(self, side: Side) -> Head | None:
        """The first order of the best level of a side."""
        words = self.words
        ladder = layout.BIDS if side is Side.BUY else layout.ASKS
        count, keys, span = words[ladder : ladder + 3].tolist()
        if count <= 1:  # only the sentinel
            return None
        at = int(words[words[keys + span + count - 1] + layout.HEAD])
        record = words[at : at + layout.ORDER_WORDS].tolist()
        return Head(record[layout.OWNER], record[layout.ORDER_ID], record[layout.PRICE], record[layout.REMAINING])

    def depth(self, *, levels: int) -> Depth:
        """The best levels of both sides, `LEVELS_SHOWN_MAX` each at most."""
        return Depth(bids=self._side(Side.BUY, levels), asks=self._side(Side.SELL, levels))

    def _side(self, side: Side, levels: int) -> tuple[DepthLevel, ...]:
        count = matching.depth(self.words, int(side), self._levels)
        return tuple(DepthLevel(*row) for row in self._levels[: min(count, max(levels, 0))].tolist())

    def is_live(self, order_id: int) -> bool:
        """Whether that order rests or waits here."""
        return matching.order_at(self.words, order_id) != 0

    def orders_of(self, account: int) -> list[OpenOrder]:
        """An account's resting and waiting orders, oldest first."""
        words = self.words
        at = int(words[words[layout.OWNERS_START] + account * layout.OWNER_WORDS + layout.FIRST_ORDER])
        found: list[OpenOrder] = []
        while at:
            record = words[at : at + layout.ORDER_WORDS].tolist()
            found.append(
                OpenOrder(
                    order_id=record[layout.ORDER_ID],
                    symbol=self.symbol,
                    side=Side(record[layout.SIDE]),
                    price_ticks=record[layout.PRICE],
                    trigger_ticks=record[layout.TRIGGER],
                    remaining_lots=record[layout.REMAINING],
                )
            )
            at = record[layout.OWNER_NEXT]
        return found
