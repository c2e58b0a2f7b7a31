"""A small exchange with a population on it, made of kernels alone: what tests of populations begin with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from agora.domain.dice import dice_of
from agora.kernels import population as kernel
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import Rows, Words
from agora.kernels.matching import set_last
from agora.kernels.matching_layout import new_book
from agora.kernels.population_layout import PopulationPlan, new_population
from agora.kernels.settlement_audit import book_fault, money_fault
from agora.market.population_settings import PopulationSettings

SECOND_NS = 1_000_000_000
TICK_LOT_UNITS = 1_000


def plan_of(settings: PopulationSettings) -> PopulationPlan:
    """The plan with the settings' numbers."""
    return PopulationPlan(**{name: getattr(settings, name) for name in PopulationPlan._fields})


def random_words(seed: int, *names: str | int) -> Words:
    """Six random words of a seed."""
    dice = dice_of(seed, "population", *names)
    return np.array([dice.word() >> 1 for _ in range(6)], dtype=np.int64)


@dataclass(kw_only=True)
class Market:
    """The buffers of an exchange of one asset; account 0 is an outsider with plenty of everything."""

    settings: PopulationSettings
    population: Words
    book: Words
    accounts: Words
    tape: Rows
    out: Rows
    now_ns: int = 0

    def run(self, steps: int) -> tuple[Rows, Words, Rows]:
        """Take steps; return what was recorded of them: rows of steps, signs, finished parents."""
        steps_out = np.zeros((steps, kernel.STEP_COLUMNS), dtype=np.int64)
        signs_out = np.zeros(64 * steps + 1_000, dtype=np.int64)
        parents_out = np.zeros((4 * steps, kernel.PARENT_COLUMNS), dtype=np.int64)
        signs, parents = kernel.population_run(
            *(self.population, self.book, self.accounts, self.tape, self.out, self.now_ns, SECOND_NS),
            *(steps_out, signs_out, parents_out),
        )
        self.now_ns += steps * SECOND_NS
        return steps_out, signs_out[:signs], parents_out[:parents]

    def step(self) -> int:
        """Take one step; return how many orders it sent."""
        sent = kernel.population_step(self.population, self.book, self.accounts, self.tape, self.out, self.now_ns)
        self.now_ns += SECOND_NS
        return int(sent)

    def lots_of(self, agent: int) -> int:
        """What an agent owns."""
        account = 1 + agent
        start = int(self.accounts[layout.ACCOUNTS_START] + account * self.accounts[layout.ACCOUNT_WORDS])
        return int(self.accounts[start + layout.CASH_WORDS + layout.LOTS])

    def digest(self) -> str:
        """SHA-256 of all buffers."""
        hasher = hashlib.sha256()
        for buffer in (self.population, self.book, self.accounts, self.tape):
            hasher.update(np.ascontiguousarray(buffer).tobytes())
        return hasher.hexdigest()

    def fault(self) -> int:
        """What the audit of settlement finds; 0 is nothing."""
        return int(book_fault(self.book, self.accounts, 0) or money_fault(self.accounts))


def open_account(accounts: Words, *, cash: int, lots: int) -> int:
    """Open the next account with a deposit of cash and of units of asset 0 at its mark price."""
    number = int(accounts[layout.ACCOUNT_COUNT])
    accounts[layout.ACCOUNT_COUNT] += 1
    asset, currency = int(accounts[layout.ASSETS_START]), int(accounts[layout.CURRENCIES_START])
    purse = int(accounts[layout.ACCOUNTS_START] + number * accounts[layout.ACCOUNT_WORDS])
    position = purse + layout.CASH_WORDS
    value = lots * int(accounts[asset + layout.MARK_PRICE] * accounts[asset + layout.TICK_LOT_UNITS])
    accounts[[purse + layout.CASH, purse + layout.INITIAL]] = cash, cash + value
    accounts[currency + layout.DEPOSITED] += cash
    accounts[[position + layout.LOTS, position + layout.COST]] = lots, value
    accounts[asset + layout.SEEDED_LOTS] += lots
    return number


def new_market(seed: int, *, listing_price: int = 10_000, lots_unit: int = TICK_LOT_UNITS, **changed: Any) -> Market:
    """A market of the default population with some settings changed."""
    settings = msgspec.structs.replace(PopulationSettings(), **changed)
    facts = layout.AssetFacts(lots_unit, 100, 300, 0, listing_price)
    accounts = layout.new_accounts([facts], currencies=1, account_capacity=settings.agents + 1)
    lot_value = listing_price * lots_unit
    outsider = 1_000_000
    open_account(accounts, cash=outsider * lot_value, lots=outsider)
    for lots in settings.inventory_lots():
        open_account(accounts, cash=lots * lot_value, lots=lots)
    population = new_population(
        plan_of(settings), random_words(seed), asset=0, listing_price=listing_price, first_account=1
    )
    order_capacity = kernel.orders_max(population) + 64
    book = new_book(order_capacity, settings.agents + 1)
    set_last(book, listing_price)
    return Market(
        settings=settings,
        population=population,
        book=book,
        accounts=accounts,
        tape=layout.new_tape(trade_capacity=2**15),
        out=layout.new_settled_out(order_capacity),
    )
