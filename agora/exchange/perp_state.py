"""The state that the parts of a perpetual-futures exchange share: markets, accounts, counters and what to tell."""

from __future__ import annotations

from collections import deque

from agora.exchange.book import Book
from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_bars import Bars
from agora.exchange.perp_records import Change, FundingSettled, TradingMode
from agora.exchange.perp_rules import PerpListing, PerpRules
from agora.kernels import matching
from agora.kernels.compiled import Rows

_FUNDINGS_KEPT = 1_000  # most of a year of 8 h intervals; the venue shows 200 at once
INSURANCE = 0  # the account that takes over what liquidation leaves


class Market:
    """One symbol: its book, its prices, its bars, and who has what to watch in it."""

    __slots__ = (
        "bars",
        "book",
        "fundings",
        "index_ticks",
        "instrument",
        "listing",
        "mark_bars",
        "mark_ticks",
        "mode",
        "reducers",
        "symbol",
        "tpsl",
    )

    def __init__(self, listing: PerpListing, rules: PerpRules) -> None:
        self.listing = listing
        self.instrument = listing.instrument
        self.symbol = listing.instrument.symbol
        self.book = Book(self.symbol, matching.new_book(rules.order_capacity, rules.account_capacity))
        matching.set_last(self.book.words, listing.price_ticks)
        self.mark_ticks = self.index_ticks = listing.price_ticks
        self.mode = TradingMode.OPEN
        self.bars = Bars(listing.price_ticks)
        self.mark_bars = Bars(listing.price_ticks)
        self.fundings: deque[FundingSettled] = deque(maxlen=_FUNDINGS_KEPT)
        self.reducers: dict[int, int] = {}  # account to the number of its resting reduce-only orders
        self.tpsl: dict[int, int] = {}  # live row to its account


class PerpState:
    """Everything the exchange knows. `fees_units` and `funding_pot_units` are what it has collected."""

    def __init__(self, rules: PerpRules) -> None:
        self.rules = rules
        self.now_ns = 0
        self.markets = {listing.instrument.symbol: Market(listing, rules) for listing in rules.listings}
        self.accounts: list[PerpAccount] = []
        self.out: Rows = matching.new_out(rules.order_capacity)
        self.fees_units = 0
        self.funding_pot_units = 0
        self.changes: deque[Change] = deque(maxlen=rules.changes_max)
        self.changes_lost = 0
        self.touched: dict[int, None] = {}  # accounts whose money may have changed since it was last told
        self.last_id = 0

    def next_id(self) -> int:
        """A new id. Orders, trades, positions and rows share one count, so that no id is taken for another's."""
        self.last_id += 1
        return self.last_id

    def tell(self, change: Change) -> None:
        """Note a change for whoever takes them."""
        self.changes_lost += len(self.changes) == self.rules.changes_max
        self.changes.append(change)

    def account(self, number: int) -> PerpAccount:
        """The account of that number."""
        assert 0 <= number < len(self.accounts), f"no account {number}, {len(self.accounts)} are open"
        return self.accounts[number]
