"""The accounts buffer: where each word stands, and how an empty one is made.

Internal to the settlement kernel; what others may use is exported by `settlement`.

One flat int64 buffer holds the facts of all assets, what was paid in per currency, and per account a block for each
currency and each asset. It knows no books: an order's hold follows from its side, price and remaining lots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.matching_layout import OUT_COLUMNS, ROWS_BESIDES, ROWS_PER_ORDER

PPM = 1_000_000

# Header words.
ACCOUNT_CAPACITY, ACCOUNT_COUNT, ASSET_COUNT, CURRENCY_COUNT = 0, 1, 2, 3
ASSETS_START, CURRENCIES_START, ACCOUNTS_START, ACCOUNT_WORDS = 4, 5, 6, 7
LAST_ORDER_ID, TRADE_COUNT, SHORT_COUNT = 8, 9, 10  # SHORT_COUNT: positions below zero
HEADER_WORDS = 16

# Words of an asset.
TICK_LOT_UNITS, MAKER_FEE_PPM, TAKER_FEE_PPM, CURRENCY = 0, 1, 2, 3
ALLOWS_SHORTS, INITIAL_MARGIN_PPM, MAINTENANCE_PPM = 4, 5, 6
MARK_PRICE, SEEDED_LOTS = 7, 8
ASSET_WORDS = 16

# Words of a currency.
DEPOSITED, FEES = 0, 1
CURRENCY_WORDS = 4

# Words of an account's block for one currency. Free cash is CASH - HELD - RESERVED.
CASH, HELD, RESERVED, INITIAL = 0, 1, 2, 3  # INITIAL: cash plus seeded inventory at its price
CASH_WORDS = 4

# Words of an account's block for one asset. COST is signed as LOTS; VALUE is ticks * lots.
LOTS, SELL_LOTS, SELL_VALUE, BUY_LOTS, BUY_HELD = 0, 1, 2, 3, 4
COST, REALISED, MARGIN, FEES_PAID, TRADES, TRADED_LOTS, HAS_REDUCE_ONLY = 5, 6, 7, 8, 9, 10, 11
POSITION_WORDS = 12

# Columns of the trade tape, a ring of rows in order of TRADE_COUNT.
TRADE_ASSET, TRADE_PRICE, TRADE_LOTS, TRADE_SIDE, TRADE_MAKER, TRADE_TAKER = 0, 1, 2, 3, 4, 5
TRADE_MAKER_ORDER, TRADE_TAKER_ORDER, TRADE_MAKER_FEE, TRADE_TAKER_FEE, TRADE_TS, TRADE_NUMBER = 6, 7, 8, 9, 10, 11
TAPE_COLUMNS = 12

# Columns of an output row beyond those of the book: the fees of a FILL, else zero.
ROW_TAKER_FEE, ROW_MAKER_FEE = OUT_COLUMNS, OUT_COLUMNS + 1
SETTLED_COLUMNS = OUT_COLUMNS + 2
# Beyond the book's rows each order that acts may cut one reduce-only order of its owner.
SETTLED_ROWS_PER_ORDER = ROWS_PER_ORDER + 1

# An order's value, an account's resting sells of an asset and all cash paid in per currency stay below 2**60 units,
# so that a sum of a position's cost, its margin (twice the cost at most) and its orders stays below 2**63.
UNITS_MAX = 2**60
LOTS_MAX = 2**40  # per asset, as the book's bound on one order
MARGIN_PPM_MAX = PPM  # a lock of twice the value is the most that the bound above leaves room for
COST_MAX = 2**61


class AssetFacts(NamedTuple):
    """What the kernel must know of an asset; `currency` is an index, margins are parts of a short's value."""

    tick_lot_units: int
    maker_fee_ppm: int
    taker_fee_ppm: int
    currency: int
    listing_price: int
    allows_shorts: bool = False
    initial_margin_ppm: int = PPM
    maintenance_ppm: int = 0


def typed(value: int) -> int:
    """Return a 64-bit constant. Numba compiles a function anew for each literal it is called with, not for these."""
    return cast("int", np.int64(value))


def new_accounts(assets: Sequence[AssetFacts], *, currencies: int, account_capacity: int) -> Words:
    """Return a buffer without accounts. Raises `ValueError` for facts that settlement cannot work with."""
    if not assets or currencies < 1 or account_capacity < 1:
        raise ValueError(f"too few: {len(assets)} assets, {currencies} currencies, {account_capacity} accounts")
    assets_start = HEADER_WORDS
    currencies_start = assets_start + len(assets) * ASSET_WORDS
    accounts_start = currencies_start + currencies * CURRENCY_WORDS
    account_words = currencies * CASH_WORDS + len(assets) * POSITION_WORDS
    accounts = np.zeros(accounts_start + account_capacity * account_words, dtype=np.int64)
    accounts[: ACCOUNT_WORDS + 1] = (
        *(account_capacity, 0, len(assets), currencies),
        *(assets_start, currencies_start, accounts_start, account_words),
    )
    for number, facts in enumerate(assets):
        _check_facts(number, facts, currencies)
        at = assets_start + number * ASSET_WORDS
        accounts[at : at + MARK_PRICE + 1] = (
            *(facts.tick_lot_units, facts.maker_fee_ppm, facts.taker_fee_ppm, facts.currency),
            *(facts.allows_shorts, facts.initial_margin_ppm, facts.maintenance_ppm, facts.listing_price),
        )
    return accounts


def _check_facts(number: int, facts: AssetFacts, currencies: int) -> None:
    if not 0 <= facts.currency < currencies:
        raise ValueError(f"asset {number}: currency {facts.currency} is not below {currencies}")
    if facts.tick_lot_units < 1 or facts.listing_price < 1:
        raise ValueError(f"asset {number}: tick value and listing price must be positive")
    # A fee above the notional would make a sale cost money; a rebate would have to come from somewhere.
    if not (0 <= facts.maker_fee_ppm <= PPM and 0 <= facts.taker_fee_ppm <= PPM):
        raise ValueError(f"asset {number}: fees must lie between 0 and {PPM} ppm")
    if not 0 <= facts.maintenance_ppm <= facts.initial_margin_ppm <= MARGIN_PPM_MAX:
        raise ValueError(f"asset {number}: margins must satisfy 0 <= maintenance <= initial <= {MARGIN_PPM_MAX} ppm")


def new_tape(*, trade_capacity: int) -> Rows:
    """Return an empty trade tape. Trade number n stands in row (n - 1) % capacity until capacity more came."""
    if trade_capacity < 1:
        raise ValueError(f"a tape needs room for a trade: {trade_capacity}")
    return np.zeros((trade_capacity, TAPE_COLUMNS), dtype=np.int64)


def new_settled_out(order_capacity: int) -> Rows:
    """Return room for the rows of any one call on a book of that capacity."""
    return np.zeros((SETTLED_ROWS_PER_ORDER * order_capacity + ROWS_BESIDES, SETTLED_COLUMNS), dtype=np.int64)


@compiled_inside
def asset_words(accounts: Words, asset: int) -> int:
    """Return where the facts of an asset begin."""
    return int(accounts[ASSETS_START] + asset * ASSET_WORDS)


@compiled_inside
def currency_words(accounts: Words, currency: int) -> int:
    """Return where the totals of a currency begin."""
    return int(accounts[CURRENCIES_START] + currency * CURRENCY_WORDS)


@compiled_inside
def cash_words(accounts: Words, account: int, currency: int) -> int:
    """Return where an account's block of a currency begins."""
    return int(accounts[ACCOUNTS_START] + account * accounts[ACCOUNT_WORDS] + currency * CASH_WORDS)


@compiled_inside
def position_words(accounts: Words, account: int, asset: int) -> int:
    """Return where an account's block of an asset begins."""
    blocks = accounts[CURRENCY_COUNT] * CASH_WORDS + asset * POSITION_WORDS
    return int(accounts[ACCOUNTS_START] + account * accounts[ACCOUNT_WORDS] + blocks)
