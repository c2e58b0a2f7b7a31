"""Whether the accounts add up: money and units conserved, holds equal to what the books hold, positions explained.

Internal to exchanges and tests. Everything is computed anew from the orders and balances; nothing is repaired.
"""

from __future__ import annotations

import numpy as np

from agora.kernels.compiled import Words, compiled, compiled_inside
from agora.kernels.matching_layout import (
    ASKS,
    BIDS,
    FLAGS,
    HEAD,
    LADDER_COUNT,
    LADDER_KEYS,
    LADDER_SPAN,
    NEXT,
    OWNER,
    PRICE,
    REDUCE_ONLY,
    REMAINING,
)
from agora.kernels.settlement_layout import (
    ACCOUNT_COUNT,
    ALLOWS_SHORTS,
    ASSET_COUNT,
    BUY_HELD,
    BUY_LOTS,
    CASH,
    COST,
    CURRENCY,
    CURRENCY_COUNT,
    DEPOSITED,
    FEES,
    FEES_PAID,
    HELD,
    INITIAL,
    LOTS,
    MAINTENANCE_PPM,
    MARGIN,
    MARK_PRICE,
    REALISED,
    RESERVED,
    SEEDED_LOTS,
    SELL_LOTS,
    SELL_VALUE,
    SHORT_COUNT,
    TICK_LOT_UNITS,
    asset_words,
    cash_words,
    currency_words,
    position_words,
)
from agora.kernels.settlement_rules import asked_margin, cover_need, hold_per_lot, part_up, short_lock

# What was found; each says which identity is broken.
SOUND = 0
CASH_LEAKS = 1  # cash of all accounts and fees differ from deposits
UNITS_LEAK = 2  # positions differ from what was seeded
HOLDS_DIFFER = 3  # holds of an account in an asset differ from what its resting orders need
HELD_DIFFERS = 4  # an account's held cash or margin is not the sum over assets
HOLD_UNCOVERED = 5  # more cash or units are held than owned, where nothing may be owed
ACCOUNT_UNEXPLAINED = 6  # an account's cash is not what it paid in, earned and paid
MARGIN_DIFFERS = 7  # margin is not what position and orders ask for
REDUCE_ONLY_EXCEEDS = 8  # resting orders of a side with reduce-only ones among them could turn the position
FLAT_WITH_COST = 9  # a flat position has a cost
SHORTS_DIFFER = 10  # the number of short positions is wrong

FAULTS = (
    "sound",
    "cash of all accounts and fees differ from deposits",
    "positions differ from the units seeded",
    "holds of an account differ from what its resting orders need",
    "held cash or margin is not the sum over assets",
    "more is held than owned",
    "an account's cash is not what it paid in, earned and paid",
    "margin is not what position and orders ask for",
    "resting orders could turn a position that reduce-only orders are to close",
    "a flat position has a cost",
    "the number of short positions is wrong",
)

SCRATCH_WORDS = 5  # per account: sell lots, sell value, buy lots, buy held, sides with reduce-only orders

# A sum of as many values as there are assets must fit a word.
VALUE_SUM_MAX = 2**62


@compiled_inside
def add_resting(book: Words, accounts: Words, at: int, ladder: int, scratch: Words) -> None:
    """Add up what the orders of one side hold, per account."""
    span = book[ladder + LADDER_SPAN]
    for place in range(1, book[ladder + LADDER_COUNT]):
        order = book[book[book[ladder + LADDER_KEYS] + place + span] + HEAD]
        while order != 0:
            owner = book[order + OWNER] * SCRATCH_WORDS
            lots, price = book[order + REMAINING], book[order + PRICE]
            is_reducing = book[order + FLAGS] & REDUCE_ONLY != 0
            if ladder == BIDS:
                scratch[owner + 2] += lots
                scratch[owner + 3] += lots * hold_per_lot(accounts, at, price)
                scratch[owner + 4] |= 2 if is_reducing else 0
            else:
                scratch[owner] += lots
                scratch[owner + 1] += lots * price
                scratch[owner + 4] |= 1 if is_reducing else 0
            order = book[order + NEXT]


@compiled_inside
def position_fault(accounts: Words, at: int, position: int, needs: Words) -> int:
    """Return what is wrong with an account's block of an asset, given what its resting orders need."""
    lots = accounts[position + LOTS]
    sells, buys = accounts[position + SELL_LOTS], accounts[position + BUY_LOTS]
    if sells != needs[0] or accounts[position + SELL_VALUE] != needs[1]:
        return HOLDS_DIFFER
    if buys != needs[2] or accounts[position + BUY_HELD] != needs[3]:
        return HOLDS_DIFFER
    if lots == 0 and accounts[position + COST] != 0:
        return FLAT_WITH_COST
    if (needs[4] & 1 == 1 and sells > max(lots, 0)) or (needs[4] & 2 == 2 and buys > max(-lots, 0)):
        return REDUCE_ONLY_EXCEEDS
    if accounts[at + ALLOWS_SHORTS] == 0:
        if accounts[position + MARGIN] != 0:
            return MARGIN_DIFFERS
        return HOLD_UNCOVERED if sells > lots else SOUND
    held = accounts[position + BUY_HELD]
    together = cover_need(accounts, position, short_lock(accounts, at, position), buys, held)
    if accounts[position + MARGIN] != together - held + asked_margin(accounts, at, position):
        return MARGIN_DIFFERS
    return SOUND


@compiled
def book_fault(book: Words, accounts: Words, asset: int) -> int:
    """Compare all holds of an asset with its book, and its units with what was seeded; return a fault or SOUND."""
    count = accounts[ACCOUNT_COUNT]
    at = asset_words(accounts, asset)
    scratch = np.zeros(count * SCRATCH_WORDS, dtype=np.int64)
    add_resting(book, accounts, at, BIDS, scratch)
    add_resting(book, accounts, at, ASKS, scratch)
    units = 0
    for account in range(count):
        position = position_words(accounts, account, asset)
        units += accounts[position + LOTS]
        needs = scratch[account * SCRATCH_WORDS : (account + 1) * SCRATCH_WORDS]
        fault = position_fault(accounts, at, position, needs)
        if fault != SOUND:
            return fault
    return SOUND if units == accounts[at + SEEDED_LOTS] else UNITS_LEAK


@compiled_inside
def account_fault(accounts: Words, account: int, currency: int) -> int:
    """Return what is wrong with an account's money in a currency."""
    cash = cash_words(accounts, account, currency)
    held, margin, explained = 0, 0, accounts[cash + INITIAL]
    may_owe = False
    for asset in range(accounts[ASSET_COUNT]):
        at = asset_words(accounts, asset)
        if accounts[at + CURRENCY] != currency:
            continue
        position = position_words(accounts, account, asset)
        held += accounts[position + BUY_HELD]
        margin += accounts[position + MARGIN]
        explained += accounts[position + REALISED] - accounts[position + FEES_PAID] - accounts[position + COST]
        may_owe = may_owe or accounts[at + ALLOWS_SHORTS] != 0
    if held != accounts[cash + HELD] or margin != accounts[cash + RESERVED]:
        return HELD_DIFFERS
    if explained != accounts[cash + CASH]:
        return ACCOUNT_UNEXPLAINED
    if not may_owe and not 0 <= held <= accounts[cash + CASH]:
        return HOLD_UNCOVERED
    return SOUND


@compiled
def money_fault(accounts: Words) -> int:
    """Compare all cash with what was paid in and each account's cash with its history; return a fault or SOUND."""
    shorts = 0
    for currency in range(accounts[CURRENCY_COUNT]):
        at = currency_words(accounts, currency)
        cash = accounts[at + FEES]
        for account in range(accounts[ACCOUNT_COUNT]):
            cash += accounts[cash_words(accounts, account, currency) + CASH]
            fault = account_fault(accounts, account, currency)
            if fault != SOUND:
                return fault
        if cash != accounts[at + DEPOSITED]:
            return CASH_LEAKS
    for account in range(accounts[ACCOUNT_COUNT]):
        for asset in range(accounts[ASSET_COUNT]):
            shorts += 1 if accounts[position_words(accounts, account, asset) + LOTS] < 0 else 0
    return SOUND if shorts == accounts[SHORT_COUNT] else SHORTS_DIFFER


@compiled_inside
def capped_value(accounts: Words, at: int, lots: int) -> int:
    """Return the money value of lots at the mark price, within the bound that lets all assets be added up."""
    cap = VALUE_SUM_MAX // (accounts[ASSET_COUNT] + 1)
    unit_value = accounts[at + MARK_PRICE] * accounts[at + TICK_LOT_UNITS]
    if lots > cap // unit_value:
        return int(cap)
    if -lots > cap // unit_value:
        return int(-cap)
    return int(lots * unit_value)


@compiled_inside
def is_underwater(accounts: Words, account: int, currency: int) -> bool:
    """Say whether an account's equity in a currency is below the maintenance margin of its shorts."""
    equity = accounts[cash_words(accounts, account, currency) + CASH]
    needed, has_short = 0, False
    for asset in range(accounts[ASSET_COUNT]):
        at = asset_words(accounts, asset)
        lots = accounts[position_words(accounts, account, asset) + LOTS]
        if accounts[at + CURRENCY] != currency or lots == 0:
            continue
        value = capped_value(accounts, at, lots)
        equity += value
        if lots < 0:
            needed += part_up(-value, accounts[at + MAINTENANCE_PPM])
            has_short = True
    return bool(has_short and equity < needed)


@compiled
def next_underwater(accounts: Words, first: int, currency: int) -> int:
    """Return the first account from `first` on whose shorts in a currency are to be bought back, or -1."""
    if accounts[SHORT_COUNT] == 0:
        return -1
    for account in range(first, accounts[ACCOUNT_COUNT]):
        if is_underwater(accounts, account, currency):
            return account
    return -1
