"""Times the exchange: the book's stream with holds, settlement, fees and rows, one order from Python, and the audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agora.domain.instruments import Instrument
from agora.domain.orders import Side
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import OrderRequest
from agora.exchange.rules import Listing, MarketRules
from agora.kernels import matching_layout as book_kernel
from agora.kernels import settlement_stream as stream_kernel
from agora.kernels.compiled import Rows, Words
from agora.kernels.matching import order_at
from agora.kernels.settlement_audit import SOUND
from benchmarks.matching import LISTING_PRICE, ORDER_CAPACITY, OWNERS, mixed_stream

Median = Callable[[Callable[[], float]], float]

COMMANDS = 300_000
SINGLE_ORDERS = 5_000
AUDITED_ACCOUNTS = 1_100  # a day of the population has so many
AUDITED_ASSETS = 4
AUDITS = 200
PLENTY = 10**15
ORDER_WORDS = (book_kernel.ORDER_ID, book_kernel.OWNER, book_kernel.SIDE, book_kernel.PRICE, book_kernel.REMAINING)


def new_market(*, assets: int, accounts: int) -> MarketEngine:
    """An exchange whose accounts own enough of everything."""
    symbols = [f"ASSET{number}" for number in range(assets)]
    listings = tuple(
        Listing(
            instrument=Instrument(symbol=symbol, base=symbol, quote="USD", tick_size="0.01", lot_size="0.0001"),
            listing_price_ticks=LISTING_PRICE,
        )
        for symbol in symbols
    )
    engine = MarketEngine(MarketRules(assets=listings, order_capacity=ORDER_CAPACITY, account_capacity=accounts))
    for number in range(accounts):
        units = dict.fromkeys(symbols, 1_000_000)
        engine.open_account(f"account {number}", cash={"USD": PLENTY // accounts}, units=units)
    return engine


def resting_orders(book: Words) -> Rows:
    """The resting orders of a book as commands of `run_commands`, oldest first."""
    capacity, first = int(book[book_kernel.ORDER_CAPACITY]), int(book[book_kernel.ORDERS_START])
    records = book[first : first + capacity * book_kernel.ORDER_WORDS].reshape(capacity, book_kernel.ORDER_WORDS)
    live = [row for row in records if order_at(book, int(row[book_kernel.ORDER_ID])) != 0]
    commands = np.zeros((len(live), stream_kernel.COMMAND_COLUMNS), dtype=np.int64)
    for command, row in zip(commands, sorted(live, key=lambda row: int(row[book_kernel.ORDER_ID])), strict=True):
        order_id, owner, side, price, lots = (row[word] for word in ORDER_WORDS)
        command[:] = (
            *(stream_kernel.OP_SUBMIT, 0, order_id, owner, side, book_kernel.LIMIT, book_kernel.GTC, 0, price, 0, lots),
            *(0, book_kernel.CANCEL_OLDEST, 0),
        )
    return commands


def _stream_s(prepared: MarketEngine, commands: Rows) -> float:
    engine = new_market(assets=1, accounts=OWNERS)
    engine.restore(prepared.snapshot())
    books = engine.books[0].words.reshape(1, -1)
    begin = time.perf_counter()
    played, _, fault = stream_kernel.run_commands(books, engine.accounts.words, engine.tape, engine.out, commands, 0)
    seconds = time.perf_counter() - begin
    assert (played, fault) == (len(commands), SOUND)
    engine.check()
    return seconds


def stream_figures(median: Median) -> dict[str, Any]:
    """Commands per second in one compiled call: half adds, 40 % cancels, 10 % marketable, 1,000 resting."""
    book, words = mixed_stream(COMMANDS, seed=1)
    commands = np.zeros((len(words), stream_kernel.COMMAND_COLUMNS), dtype=np.int64)
    commands[:, 0] = words[:, 0]
    commands[:, 2:] = words[:, 1:]
    engine = new_market(assets=1, accounts=OWNERS)
    books = engine.books[0].words.reshape(1, -1)
    first = resting_orders(book)
    stream_kernel.run_commands(books, engine.accounts.words, engine.tape, engine.out, first, 0)
    assert engine.books[0].order_count == len(first)
    seconds = median(lambda: _stream_s(engine, commands))
    trades = new_market(assets=1, accounts=OWNERS)
    trades.restore(engine.snapshot())
    stream_kernel.run_commands(
        trades.books[0].words.reshape(1, -1), trades.accounts.words, trades.tape, trades.out, commands, 0
    )
    return {
        "commands": COMMANDS,
        "trades": trades.trade_count,
        "commands_per_s": round(COMMANDS / seconds),
        "ns_per_command": round(seconds / COMMANDS * 1e9, 1),
    }


def submit_us() -> float:
    """Median microseconds of one order through the facade; every second one trades."""
    engine = new_market(assets=1, accounts=2)
    taken_ns: list[int] = []
    for number in range(SINGLE_ORDERS):
        side = Side.SELL if number % 2 == 0 else Side.BUY
        order = OrderRequest(symbol="ASSET0", side=side, size_lots=2, price_ticks=LISTING_PRICE)
        begin = time.perf_counter_ns()
        receipt = engine.submit(number % 2, order)
        taken_ns.append(time.perf_counter_ns() - begin)
        assert receipt.filled_lots == 2 * (number % 2)
    return sorted(taken_ns)[SINGLE_ORDERS // 2] / 1_000


def step_us() -> float:
    """Mean microseconds of a step with its audit, everyone resting four orders."""
    engine = new_market(assets=AUDITED_ASSETS, accounts=AUDITED_ACCOUNTS)
    for account in range(AUDITED_ACCOUNTS):
        for symbol in engine.rules.symbols:
            order = OrderRequest(symbol=symbol, side=Side.BUY, size_lots=1, price_ticks=LISTING_PRICE - account % 90)
            engine.submit(account, order)
    begin = time.perf_counter()
    for number in range(AUDITS):
        engine.step(number)
    return (time.perf_counter() - begin) / AUDITS * 1e6


def exchange_figures(median: Median) -> dict[str, Any]:
    """The exchange's figures; the kernels are compiled before anything is measured."""
    submit_us()
    step_us()
    return {
        "stream": stream_figures(median),
        "submit_us": round(median(submit_us), 2),
        "audited_step_1100_accounts_4_assets_us": round(median(step_us), 1),
    }
