"""The exchange in one object: orders in, receipts out; time moves only by `step`.

It joins the books, the accounts and the feeds, and holds no rule of its own: matching and settlement are kernels,
whose buffers are the whole state. It knows neither agents nor ticks nor a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from agora.exchange.accounts import Accounts
from agora.exchange.book import Book
from agora.exchange.client_ids import ClientIds
from agora.exchange.codes import SELF_TRADE_CODES, TIME_CODES, TYPE_CODES, flags_of, receipt_of, refusal
from agora.exchange.feeds import Feeds, newest_trades, trades_between
from agora.exchange.packing import packed, unpack_into
from agora.exchange.portfolio import Portfolio, portfolio_of
from agora.exchange.records import Receipt, Trade
from agora.exchange.requests import OrderRequest, Reason
from agora.exchange.rules import MarketRules
from agora.kernels import matching, settlement, settlement_audit
from agora.kernels import matching_layout as book_layout
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import Rows
from agora.kernels.settlement_stream import new_books

SNAPSHOT_VERSION = 1
_WORD_MAX = 2**62  # what is passed to a kernel must fit its words; the books refuse far smaller numbers


class MarketEngine:
    """An exchange of several assets and quote currencies.

    Every refusal is a receipt with a reason and changes nothing. Trades since the last `take_trades` are kept on a
    tape of `rules.trade_capacity`; take them at least that often. `client_id`s are remembered while their order
    lives, and the newest 10,000 beyond that.
    """

    def __init__(self, rules: MarketRules) -> None:
        self.rules = rules
        self.now_ns = 0
        self.accounts = Accounts(rules)
        self.feeds = Feeds(rules)
        self.tape: Rows = layout.new_tape(trade_capacity=rules.trade_capacity)
        self.out: Rows = layout.new_settled_out(rules.order_capacity)
        self._books = new_books(
            len(rules.assets), order_capacity=rules.order_capacity, owner_capacity=rules.account_capacity
        )
        self.books = tuple(Book(symbol, self._books[asset]) for asset, symbol in enumerate(rules.symbols))
        self._assets = {symbol: asset for asset, symbol in enumerate(rules.symbols)}
        self._client_ids = ClientIds(lambda asset, order_id: self.books[asset].is_live(order_id))
        self._taken = 0
        for book, listing in zip(self.books, rules.assets, strict=True):
            matching.set_last(book.words, listing.listing_price_ticks)

    def open_account(
        self, name: str, *, cash: Mapping[str, int] | None = None, units: Mapping[str, int] | None = None
    ) -> int:
        """Open an account with cash per currency (money units) and lots per symbol; return its number.

        Its initial capital is that cash and the inventory at the mark price. Raises `ValueError` as `Accounts.open`.
        """
        return self.accounts.open(name, cash=cash or {}, units=units or {})

    def asset_of(self, symbol: str) -> int:
        """The number of an asset; raises `KeyError` naming the listed symbols."""
        asset = self._assets.get(symbol)
        if asset is None:
            raise KeyError(f"unknown symbol {symbol!r}; listed: {', '.join(self._assets)}")
        return asset

    def book(self, symbol: str) -> Book:
        """The book of a symbol; raises `KeyError` as `asset_of`."""
        return self.books[self.asset_of(symbol)]

    def submit(self, account: int, request: OrderRequest) -> Receipt:
        """Take an order; all that follows from it has happened when this returns."""
        asset = self._assets.get(request.symbol, -1)
        reason = self._refusal(account, asset, request)
        if reason is not Reason.NONE:
            return refusal(reason)
        order_id = self.last_order_id + 1
        count = settlement.exchange_submit(
            self.books[asset].words,
            self.accounts.words,
            self.tape,
            self.out,
            asset,
            order_id,
            account,
            int(request.side),
            TYPE_CODES[request.type],
            TIME_CODES[request.time_in_force],
            flags_of(request),
            request.price_ticks,
            request.trigger_ticks,
            request.size_lots,
            request.expire_ts_ns,
            SELF_TRADE_CODES[request.self_trade],
            self.now_ns,
        )
        receipt = self._receipt(order_id, count)
        if request.client_id and not receipt.is_refused:
            self._client_ids.remember(account, request.client_id, (asset, order_id))
        return receipt

    def cancel(self, account: int, symbol: str, order_id: int) -> Receipt:
        """Cancel an order of one's own."""
        asset = self._assets.get(symbol, -1)
        if asset < 0:
            return refusal(Reason.UNKNOWN_ASSET)
        if not self._is_account(account):
            return refusal(Reason.UNKNOWN_ACCOUNT)
        if not 0 < order_id < _WORD_MAX:
            return refusal(Reason.UNKNOWN_ORDER)
        words = self.books[asset].words
        count = settlement.exchange_cancel(words, self.accounts.words, self.tape, self.out, asset, order_id, account)
        return self._receipt(order_id, count)

    def cancel_all(self, account: int, symbol: str | None = None) -> tuple[int, ...]:
        """Cancel all of an account's orders, in one symbol or everywhere; return their ids, oldest first per symbol."""
        if not self._is_account(account) or (symbol is not None and symbol not in self._assets):
            return ()
        ended: list[int] = []
        for asset in range(len(self.books)) if symbol is None else (self._assets[symbol],):
            words = self.books[asset].words
            count = settlement.exchange_cancel_all(words, self.accounts.words, self.tape, self.out, asset, account)
            ended += self.out[:count, book_layout.ROW_ORDER_ID].tolist()
        return tuple(ended)

    def replace(self, account: int, symbol: str, order_id: int, *, price_ticks: int, size_lots: int) -> Receipt:
        """Give an order another price and open size. It keeps its priority when it only shrinks."""
        asset = self._assets.get(symbol, -1)
        if asset < 0:
            return refusal(Reason.UNKNOWN_ASSET)
        if not self._is_account(account):
            return refusal(Reason.UNKNOWN_ACCOUNT)
        if not 0 < order_id < _WORD_MAX:
            return refusal(Reason.UNKNOWN_ORDER)
        reason = self._size_refusal(asset, size_lots)
        if reason is Reason.NONE and not _is_word(price_ticks):
            reason = Reason.BAD_PRICE
        if reason is not Reason.NONE:
            return refusal(reason)
        count = settlement.exchange_replace(
            self.books[asset].words,
            self.accounts.words,
            self.tape,
            self.out,
            asset,
            order_id,
            account,
            price_ticks,
            size_lots,
            self.now_ns,
        )
        return self._receipt(order_id, count)

    def step(self, now_ns: int) -> None:
        """Move time: orders expire, short positions below maintenance are bought back, candles roll, and everything is
        audited. Raises `AssertionError` when money, units or holds do not add up.
        """
        assert now_ns >= self.now_ns, f"time runs backwards: from {self.now_ns} to {now_ns}"
        self.now_ns = now_ns
        for asset, book in enumerate(self.books):
            if now_ns >= book.words[book_layout.EARLIEST_EXPIRY]:
                self._expire(asset)
        if self.accounts.words[layout.SHORT_COUNT] > 0:
            self._liquidate()
        self._absorb()
        self.check()

    def check(self) -> None:
        """Assert that cash, fees and units are conserved and that all holds are those of the books."""
        for asset, book in enumerate(self.books):
            fault = settlement_audit.book_fault(book.words, self.accounts.words, asset)
            assert fault == settlement_audit.SOUND, f"{book.symbol}: {settlement_audit.FAULTS[fault]}"
        fault = settlement_audit.money_fault(self.accounts.words)
        assert fault == settlement_audit.SOUND, settlement_audit.FAULTS[fault]

    def take_trades(self) -> list[Trade]:
        """The trades since the last call, oldest first; those that the tape has overwritten are missing."""
        upto = self.trade_count
        trades = trades_between(self.tape, self.rules.symbols, after=self._taken, upto=upto)
        self._taken = upto
        return trades

    def trades(self, symbol: str, *, limit: int) -> list[Trade]:
        """The newest trades of a symbol that the tape still holds, oldest first."""
        asset = self.asset_of(symbol)
        return newest_trades(self.tape, self.rules.symbols, asset=asset, upto=self.trade_count, limit=limit)

    def portfolio(self, account: int, *, currency: str | None = None) -> Portfolio:
        """An account in a quote currency; without one, in that of the first asset."""
        return portfolio_of(self.accounts, account, currency=currency or self.rules.currencies[0])

    @property
    def last_order_id(self) -> int:
        """The id of the newest order of the exchange."""
        return int(self.accounts.words[layout.LAST_ORDER_ID])

    @property
    def trade_count(self) -> int:
        """All trades so far; the newest one's number."""
        return int(self.accounts.words[layout.TRADE_COUNT])

    def snapshot(self) -> dict[str, Any]:
        """The whole state as plain JSON values; `restore` of it behaves the same from here on."""
        return {
            "version": SNAPSHOT_VERSION,
            "rules": self._rules_digest(),
            "now_ns": self.now_ns,
            "taken": self._taken,
            "lost": self.feeds.lost,
            "names": list(self.accounts.names),
            "client_ids": self._client_ids.snapshot(),
            "books": packed(self._books),
            "accounts": packed(self.accounts.words),
            "tape": packed(self.tape),
            "candles": packed(self.feeds.words),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over a snapshot of an engine of the same rules; raises `ValueError` when it is of others or damaged."""
        if snapshot["version"] != SNAPSHOT_VERSION or snapshot["rules"] != self._rules_digest():
            raise ValueError("this snapshot belongs to a market of other rules or to another version")
        unpack_into(self._books, snapshot["books"])
        unpack_into(self.accounts.words, snapshot["accounts"])
        unpack_into(self.tape, snapshot["tape"])
        unpack_into(self.feeds.words, snapshot["candles"])
        self.accounts.rename_all(snapshot["names"])
        self._client_ids.restore(snapshot["client_ids"])
        self.now_ns = snapshot["now_ns"]
        self.feeds.lost = snapshot["lost"]
        self._taken = snapshot["taken"]
        self.check()

    def digest(self) -> str:
        """SHA-256 over everything that decides how the exchange goes on: two engines of one digest are equal."""
        digest = hashlib.sha256(self._rules_digest().encode())
        counters = [self.now_ns, self._taken, self.feeds.lost, self.accounts.names, self._client_ids.snapshot()]
        digest.update(msgspec.json.encode(counters))
        for buffer in (self._books, self.accounts.words, self.tape, self.feeds.words):
            digest.update(np.ascontiguousarray(buffer, dtype="<i8").data)
        return digest.hexdigest()

    def _rules_digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self.rules)).hexdigest()

    def _is_account(self, account: int) -> bool:
        return 0 <= account < len(self.accounts)

    def _receipt(self, order_id: int, count: int) -> Receipt:
        if self.trade_count - self.feeds.absorbed >= self.rules.trade_capacity // 2:
            self._absorb()
        return receipt_of(order_id, self.out[:count].tolist())

    def _absorb(self) -> None:
        self.feeds.absorb(self.tape, trade_count=self.trade_count)

    def _refusal(self, account: int, asset: int, request: OrderRequest) -> Reason:
        """What is wrong with a request before the books are asked."""
        if asset < 0:
            return Reason.UNKNOWN_ASSET
        if not self._is_account(account):
            return Reason.UNKNOWN_ACCOUNT
        if request.client_id and self._client_ids.is_used(account, request.client_id):
            return Reason.DUPLICATE_ID
        if not _is_word(request.price_ticks):
            return Reason.BAD_PRICE
        if not _is_word(request.trigger_ticks):
            return Reason.BAD_TRIGGER
        if not _is_word(request.expire_ts_ns):
            return Reason.BAD_EXPIRY
        return self._size_refusal(asset, request.size_lots)

    def _size_refusal(self, asset: int, size_lots: int) -> Reason:
        instrument = self.rules.assets[asset].instrument
        if type(size_lots) is not int or size_lots < instrument.lots_min:
            return Reason.BAD_SIZE
        return Reason.TOO_LARGE if size_lots > instrument.lots_max else Reason.NONE

    def _expire(self, asset: int) -> None:
        words = self.books[asset].words
        settlement.exchange_expire(words, self.accounts.words, self.tape, self.out, asset, self.now_ns)

    def _liquidate(self) -> None:
        """Buy back the shorts of accounts below maintenance, in order of account; one try per step each."""
        words = self.accounts.words
        for number, currency in enumerate(self.rules.currencies):
            quoted = [asset for asset, listed in enumerate(self.rules.assets) if listed.instrument.quote == currency]
            account = settlement_audit.next_underwater(words, 0, number)
            while account >= 0:
                for asset in quoted:
                    self._cover(asset, account)
                account = settlement_audit.next_underwater(words, account + 1, number)

    def _cover(self, asset: int, account: int) -> None:
        settlement.exchange_cover(
            self.books[asset].words,
            self.accounts.words,
            self.tape,
            self.out,
            asset,
            self.last_order_id + 1,
            account,
            self.now_ns,
        )


def _is_word(number: int) -> bool:
    """Whether a number is whole and fits a kernel's word: another type would compile the kernels anew."""
    return type(number) is int and -_WORD_MAX < number < _WORD_MAX
