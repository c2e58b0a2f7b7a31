"""A small exchange and seeded random commands for it: several assets, currencies, short sellers and poor accounts.

Run as a program it plays a stream with an audit after every command and prints the first fault, if any.
`python -m tests.kernels.settlement_streams SEED COMMANDS` (the package that is imported decides what is played).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from agora.kernels import matching as book_kernel
from agora.kernels import matching_layout as k
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import Rows, Words
from agora.kernels.settlement_audit import FAULTS, SOUND
from agora.kernels.settlement_stream import (
    COMMAND_COLUMNS,
    OP_CANCEL,
    OP_CANCEL_ALL,
    OP_COVER,
    OP_EXPIRE,
    OP_REPLACE,
    OP_SUBMIT,
    new_books,
    run_commands,
)

LISTING = 1_000
# Two currencies; the first asset cannot be sold short, the second can, the third has awkward fees and steps.
ASSETS = (
    layout.AssetFacts(1_000, 200, 600, 0, LISTING),
    layout.AssetFacts(7, 0, 333, 0, LISTING, allows_shorts=True, initial_margin_ppm=500_000, maintenance_ppm=250_000),
    layout.AssetFacts(13, 777, 1_111, 1, LISTING),
)
ACCOUNTS = 24
ORDER_CAPACITY = 400


@dataclass(frozen=True)
class Exchange:
    """The buffers of an exchange."""

    books: Rows
    accounts: Words
    tape: Rows
    out: Rows

    def play(self, commands: Rows, *, audit_every: int = 1) -> tuple[int, int, int]:
        """Commands played, rows written, fault."""
        return run_commands(self.books, self.accounts, self.tape, self.out, commands, audit_every)

    def state(self) -> bytes:
        """Everything that a refusal must leave as it is."""
        return self.books.tobytes() + self.accounts.tobytes() + self.tape.tobytes()


def new_exchange(
    assets: tuple[layout.AssetFacts, ...] = ASSETS, *, accounts: int = 0, order_capacity: int = ORDER_CAPACITY
) -> Exchange:
    """An exchange listed at 1,000 ticks; `accounts` are opened without anything."""
    currencies = 1 + max(facts.currency for facts in assets)
    words = layout.new_accounts(assets, currencies=currencies, account_capacity=max(accounts, ACCOUNTS))
    books = new_books(len(assets), order_capacity=order_capacity, owner_capacity=max(accounts, ACCOUNTS))
    for book, facts in zip(books, assets, strict=True):
        book_kernel.set_last(book, facts.listing_price)
    words[layout.ACCOUNT_COUNT] = accounts
    out = layout.new_settled_out(order_capacity)
    return Exchange(books=books, accounts=words, tape=layout.new_tape(trade_capacity=64), out=out)


def pay_in(accounts: Words, account: int, *, currency: int, units: int) -> None:
    """Give an account cash, as a deposit."""
    at = cash_at(accounts, account, currency)
    accounts[at + layout.CASH] += units
    accounts[at + layout.INITIAL] += units
    accounts[currency_at(accounts, currency) + layout.DEPOSITED] += units


def seed_lots(accounts: Words, account: int, *, asset: int, lots: int) -> None:
    """Give an account inventory at the mark price, as a deposit."""
    facts = asset_at(accounts, asset)
    value = lots * int(accounts[facts + layout.MARK_PRICE] * accounts[facts + layout.TICK_LOT_UNITS])
    at = position_at(accounts, account, asset)
    accounts[at + layout.LOTS] += lots
    accounts[at + layout.COST] += value
    accounts[facts + layout.SEEDED_LOTS] += lots
    accounts[cash_at(accounts, account, int(accounts[facts + layout.CURRENCY])) + layout.INITIAL] += value


def asset_at(accounts: Words, asset: int) -> int:
    """Where the facts of an asset begin."""
    return int(accounts[layout.ASSETS_START]) + asset * layout.ASSET_WORDS


def currency_at(accounts: Words, currency: int) -> int:
    """Where the totals of a currency begin."""
    return int(accounts[layout.CURRENCIES_START]) + currency * layout.CURRENCY_WORDS


def cash_at(accounts: Words, account: int, currency: int) -> int:
    """Where an account's block of a currency begins."""
    start = int(accounts[layout.ACCOUNTS_START]) + account * int(accounts[layout.ACCOUNT_WORDS])
    return start + currency * layout.CASH_WORDS


def position_at(accounts: Words, account: int, asset: int) -> int:
    """Where an account's block of an asset begins."""
    return cash_at(accounts, account, int(accounts[layout.CURRENCY_COUNT])) + asset * layout.POSITION_WORDS


def populated(seed: int) -> Exchange:
    """An exchange whose accounts own from nothing to plenty."""
    rng = np.random.default_rng([seed, 1])
    exchange = new_exchange(accounts=ACCOUNTS)
    for account in range(ACCOUNTS):
        wealth = int(rng.choice([0, 1, 20, 400]))
        for currency, unit in ((0, 1_000 * LISTING), (1, 13 * LISTING)):
            pay_in(exchange.accounts, account, currency=currency, units=wealth * unit + int(rng.integers(0, 1_000)))
        for asset in range(len(ASSETS)):
            seed_lots(exchange.accounts, account, asset=asset, lots=int(rng.integers(0, wealth + 1)))
    return exchange


def random_commands(seed: int, count: int) -> Rows:
    """Commands that meet near a price that wanders; ids rise, changes mostly name recent orders by their owner."""
    rng = np.random.default_rng([seed, 2])
    c = np.zeros((count, COMMAND_COLUMNS), dtype=np.int64)
    ids = np.arange(1, count + 1)
    ops = (OP_SUBMIT, OP_CANCEL, OP_REPLACE, OP_CANCEL_ALL, OP_EXPIRE, OP_COVER)
    c[:, 0] = rng.choice(ops, count, p=(0.66, 0.17, 0.12, 0.01, 0.02, 0.02))
    c[:, 1] = ids % len(ASSETS)
    middle = LISTING + 300 * np.sin(ids / 5_000 + seed) + 20 * np.sin(ids / 170)
    c[:, 8] = middle + rng.integers(-25, 26, count)
    c[:, 10] = rng.integers(1, 12, count) * rng.choice([1, 1, 1, 40], count)
    c[:, 13] = ids
    submits = c[:, 0] == OP_SUBMIT
    # An order id tells its owner, so that a change can be made by him.
    back = len(ASSETS) * rng.geometric(0.02, count)
    c[:, 2] = np.where(submits | (c[:, 0] == OP_COVER), ids, np.maximum(ids - back, 1))
    c[:, 3] = np.where(rng.random(count) < 0.03, rng.integers(-1, ACCOUNTS + 2, count), c[:, 2] * 7 % ACCOUNTS)
    _draw_orders(rng, c, submits)
    return c


def _draw_orders(rng: np.random.Generator, c: Rows, submits: np.ndarray) -> None:
    """Fill in what only new orders have: side, type, time in force, flags, trigger, expiry, self-trade mode."""
    count = len(c)
    c[:, 4] = rng.choice([1, -1], count)
    c[:, 5] = rng.choice([k.LIMIT, k.MARKET, k.STOP, k.TAKE_PROFIT], count, p=(0.74, 0.12, 0.08, 0.06))
    c[:, 6] = rng.choice([k.GTC, k.IOC, k.FOK, k.GTD], count, p=(0.72, 0.1, 0.06, 0.12))
    c[:, 7] = rng.choice([0, k.POST_ONLY, k.REDUCE_ONLY], count, p=(0.75, 0.07, 0.18))
    conditional = c[:, 5] >= k.STOP
    c[:, 9] = np.where(conditional, c[:, 8] + rng.integers(-20, 21, count), 0)
    at_market = (c[:, 5] == k.MARKET) | (conditional & (rng.random(count) < 0.5))
    c[:, 8] = np.where(submits & at_market, 0, c[:, 8])
    c[:, 11] = np.where(c[:, 6] == k.GTD, c[:, 13] + rng.integers(0, 900, count), 0)
    c[:, 12] = rng.integers(k.CANCEL_NEWEST, k.DECREMENT + 1, count)
    c[:, 2] = np.where(submits & (rng.random(count) < 0.005), np.maximum(c[:, 2] - 5, 1), c[:, 2])
    spoilt = rng.random(count) < 0.002
    c[:, 10] = np.where(spoilt, rng.choice([0, -5, 2**40, 2**41, 2**62], count), c[:, 10])


def main() -> None:
    """Play a stream and say the first fault."""
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    played, _, fault = populated(seed).play(random_commands(seed, count))
    found = "nothing" if fault == SOUND else FAULTS[fault]
    sys.stdout.write(f"{book_kernel.__file__}\n{found} after {played} commands\n")


if __name__ == "__main__":
    main()
