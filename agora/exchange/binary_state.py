"""The state that the parts of an exchange of binary markets share: markets, accounts, timers and what to tell."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

import numpy as np

from agora.domain.dice import Dice
from agora.domain.orders import Side
from agora.exchange.binary_accounts import BinaryAccount, LiveOrder
from agora.exchange.binary_ledger import COLLATERAL, VENUE, BinaryLedger, Pocket, sets_of
from agora.exchange.binary_prices import POINTS, complement
from agora.exchange.binary_records import (
    BinaryChange,
    BinaryOrder,
    BinaryTrade,
    BookChanged,
    EngineMode,
    LevelChange,
    MarketChanged,
    MarketState,
    MarketView,
    Outcome,
)
from agora.exchange.binary_rules import BinaryRules, BinaryWindow
from agora.exchange.book import Book
from agora.kernels import matching
from agora.kernels import matching_layout as layout
from agora.kernels.compiled import Rows

_LAST_POINTS_AT_OPENING = POINTS // 2


class BinaryMarket:
    """One window: its book (orders as orders for Up), its state, and which levels changed since they were told.

    The book has room for orders only while the window is open.
    """

    __slots__ = ("book", "last_points", "number", "state", "tick_points", "touched", "window", "winner")

    def __init__(self, number: int, window: BinaryWindow) -> None:
        self.number = number
        self.window = window
        self.tick_points = window.tick_points
        self.state = MarketState.CREATED
        self.winner: Outcome | None = None
        self.book = self._book(1, 1)
        self.last_points = _LAST_POINTS_AT_OPENING
        self.touched: dict[tuple[Side, int], None] = {}

    def token(self, outcome: Outcome) -> str:
        """The token of an outcome."""
        return self.window.up_token if outcome is Outcome.UP else self.window.down_token

    def open_book(self, rules: BinaryRules) -> None:
        """Make room for orders."""
        self.book = self._book(rules.order_capacity, rules.account_capacity)

    def close_book(self) -> None:
        """Give the memory of an empty book back."""
        assert not self.book.order_count, f"{self.window.condition_id} closes with orders in its book"
        self.book = self._book(1, 1)

    def _book(self, orders: int, accounts: int) -> Book:
        return Book(self.window.condition_id, matching.new_book(orders, accounts))

    def crosses(self, side: Side, points: int) -> bool:
        """Whether an order of the book would find a counterpart now."""
        touch = self.book.touch()
        if side is Side.BUY:
            return bool(touch.ask_lots) and points >= touch.ask_ticks
        return bool(touch.bid_lots) and points <= touch.bid_ticks


class BinaryState:
    """Everything the exchange knows. `live` and `live_by_number` are all open orders, `orders` also the ended ones
    of accounts with a history.
    """

    def __init__(self, rules: BinaryRules, dice: Dice) -> None:
        self.rules = rules
        self.dice = dice
        self.now_ns = 0
        self.mode = EngineMode.NORMAL
        self.ledger = BinaryLedger()
        self.accounts: list[BinaryAccount] = []
        self.markets: dict[str, BinaryMarket] = {}
        self.by_number: list[BinaryMarket] = []
        self.by_token: dict[str, tuple[BinaryMarket, Outcome]] = {}
        self.trading: dict[str, BinaryMarket] = {}  # markets that are open
        self.live: dict[str, LiveOrder] = {}
        self.live_by_number: dict[int, LiveOrder] = {}
        self.orders: dict[str, BinaryOrder] = {}
        self.ended: deque[str] = deque()
        self.trades: dict[int, BinaryTrade] = {}
        self.changes: deque[BinaryChange] = deque(maxlen=rules.changes_max)
        self.changes_lost = 0
        self.out: Rows = matching.new_out(rules.order_capacity)
        self._levels: Rows = np.zeros((POINTS, 3), dtype=np.int64)
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._last_id = 0

    def next_id(self) -> int:
        """A new number. Orders, trades, timers and set operations share one count."""
        self._last_id += 1
        return self._last_id

    def tell(self, change: BinaryChange) -> None:
        """Note a change for whoever takes them."""
        self.changes_lost += len(self.changes) == self.rules.changes_max
        self.changes.append(change)

    def account(self, number: int) -> BinaryAccount:
        """The account of that number."""
        assert 0 <= number < len(self.accounts), f"no account {number}, {len(self.accounts)} are open"
        return self.accounts[number]

    def market(self, condition_id: str) -> BinaryMarket:
        """The market of a condition. Raises `KeyError` for one that was never created."""
        if condition_id not in self.markets:
            raise KeyError(f"no market {condition_id!r} among {len(self.markets)}")
        return self.markets[condition_id]

    # Time.

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Do something when time has come that far; what is due together happens in the order it was asked for."""
        heapq.heappush(self._timers, (due_ns, self.next_id(), action))

    def next_due_ns(self) -> int:
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else layout.NEVER

    def take_timer(self) -> Callable[[], None]:
        """Forget the next timer and return what it does."""
        return heapq.heappop(self._timers)[2]

    # What everyone sees.

    def view(self, market: BinaryMarket) -> MarketView:
        """A market as it is now."""
        window = market.window
        return MarketView(
            condition_id=window.condition_id,
            slug=window.slug,
            up_token=window.up_token,
            down_token=window.down_token,
            open_ns=window.open_ns,
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            tick_points=market.tick_points,
            size_min_units=window.size_min_units,
            state=market.state,
            winner=market.winner,
            sets_units=self.sets_units(market),
        )

    def sets_units(self, market: BinaryMarket) -> int:
        """Collateral locked in a market: its complete sets, after resolution what its winners are still owed."""
        place = sets_of(market.number)
        return self.ledger.units(place.owner, place.pocket, COLLATERAL)

    def issued_units(self, token_id: str) -> int:
        """How many shares of a token exist."""
        return -self.ledger.units(VENUE, Pocket.OUTSIDE, token_id)

    def enter(self, market: BinaryMarket, state: MarketState) -> None:
        """Let a market enter the next state of its life."""
        market.state = state
        self.tell(MarketChanged(self.now_ns, self.view(market)))

    def levels(self, market: BinaryMarket, side: Side) -> list[list[int]]:
        """Price, size and number of orders of a side's levels, best first."""
        count = matching.depth(market.book.words, int(side), self._levels)
        rows: list[list[int]] = self._levels[:count].tolist()
        return rows

    def tell_levels(self) -> None:
        """Tell what the levels hold now that changed since the last time."""
        for market in self.trading.values():
            if market.touched:
                self.tell(BookChanged(self.now_ns, market.window.condition_id, self._changed_levels(market)))
                market.touched.clear()

    def _changed_levels(self, market: BinaryMarket) -> tuple[LevelChange, ...]:
        touch = market.book.touch()
        bid, ask = touch.bid_ticks, touch.ask_ticks
        held = {side: {price: size for price, size, _ in self.levels(market, side)} for side in (Side.BUY, Side.SELL)}
        changes: list[LevelChange] = []
        up, down = market.window.up_token, market.window.down_token
        down_bid, down_ask = complement(ask) if ask else 0, complement(bid) if bid else 0
        for side, points in market.touched:
            size = held[side].get(points, 0)
            changes.append(LevelChange(up, side, points, size, bid, ask))
            changes.append(LevelChange(down, Side(-side), complement(points), size, down_bid, down_ask))
        return tuple(changes)
