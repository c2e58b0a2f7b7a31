"""An account of an exchange of binary markets: its open orders, trades and allowances. Holds state, decides nothing."""

from __future__ import annotations

from collections import deque

import msgspec

from agora.domain.orders import Side
from agora.exchange.binary_records import BinaryOrder, Outcome

UNLIMITED = 2**256 - 1  # what a wallet approves that approves everything


class LiveOrder(msgspec.Struct, kw_only=True):
    """An order that rests, is held, or is on its way through the book.

    `record` is what is told of it; `budget_units` the dollars it may still spend, None when its shares bound it.
    `held_units` of `held_asset` stand behind it.
    """

    number: int
    account: int
    market_number: int
    record: BinaryOrder
    held_asset: str
    held_units: int = 0
    budget_units: int | None = None
    is_delayed: bool = False

    @property
    def book_side(self) -> Side:
        """The side of the unified book: buying Down is selling Up."""
        return self.record.side if self.record.outcome is Outcome.UP else Side(-self.record.side)


class BinaryAccount:
    """One account. House accounts (market makers) keep no history, so that their flow is cheap; prompt ones are not
    held back by the taker delay.
    """

    __slots__ = ("allowances", "is_house", "is_prompt", "name", "number", "open", "trade_ids")

    def __init__(self, number: int, name: str, *, is_house: bool, is_prompt: bool, history_max: int) -> None:
        self.number = number
        self.name = name
        self.is_house = is_house
        self.is_prompt = is_prompt
        self.allowances: dict[str, int] = {}
        self.open: dict[str, LiveOrder] = {}
        self.trade_ids: deque[int] = deque(maxlen=history_max)
