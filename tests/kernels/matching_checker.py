"""What must hold of a book's buffer between any two calls, compiled so that it can be asked after each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from agora.kernels import matching as k
from agora.kernels import matching_layout as at
from agora.kernels.compiled import Rows, Words
from agora.kernels.matching_orders import find_order
from tests.kernels.book_twin import Command

FAULTS = (
    "",
    "keys of a ladder do not rise",
    "a level is not where its ladder says",
    "a level's sums are not those of its orders",
    "an order stands at the wrong level",
    "an order is not found by its id",
    "the number of orders is not that of the records",
    "the id table holds something else",
    "an owner's list is broken",
    "the list of those that expire is broken",
    "records were lost",
    "bid and ask cross",
    "best bid or ask in the header is wrong",
    "an order waits for a price that was reached",
    "a triggered order was not activated",
)


@njit
def _level_fault(book: Words, ladder: int, level: int) -> int:
    lots, count, before, order = 0, 0, 0, book[level + at.HEAD]
    while order != 0:
        is_waiting = ladder >= at.RISING
        key = book[order + (at.TRIGGER if is_waiting else at.PRICE)] * book[ladder + at.KEY_SIGN]
        if key != book[level + at.LEVEL_KEY] or book[order + at.LEVEL] != level or book[order + at.REMAINING] <= 0:
            return 4
        if (book[order + at.FLAGS] & at.WAITING != 0) != is_waiting or book[order + at.PREVIOUS] != before:
            return 4
        if find_order(book, book[order + at.ORDER_ID]) != order:
            return 5
        lots, count = lots + book[order + at.REMAINING], count + 1
        before, order = order, book[order + at.NEXT]
    if lots != book[level + at.LEVEL_LOTS] or count != book[level + at.LEVEL_ORDERS] or count == 0:
        return 3
    return 0 if before == book[level + at.TAIL] else 4


@njit
def _ladder_fault(book: Words, ladder: int) -> tuple[int, int]:
    """Return the first fault of a ladder and how many orders it holds."""
    keys, span, orders = book[ladder + at.LADDER_KEYS], book[ladder + at.LADDER_SPAN], 0
    for place in range(keys + 1, keys + book[ladder + at.LADDER_COUNT]):
        level = book[place + span]
        if book[place] <= book[place - 1]:
            return 1, orders
        if book[level + at.LEVEL_KEY] != book[place] or book[level + at.LEVEL_LADDER] != ladder:
            return 2, orders
        if book[level + at.LEVEL_PRICE] != book[place] * book[ladder + at.KEY_SIGN]:
            return 2, orders
        fault = _level_fault(book, ladder, level)
        if fault != 0:
            return fault, orders
        orders += book[level + at.LEVEL_ORDERS]
    return 0, orders


@njit
def _chain_length(book: Words, first: int, following: int) -> int:
    length = 0
    while first != 0:
        first, length = book[first + following], length + 1
    return length


@njit
def _list_fault(book: Words) -> int:
    """Return the first fault of owners, expiry, ids and free records."""
    owned = 0
    for owner in range(book[at.OWNER_CAPACITY]):
        place = book[at.OWNERS_START] + owner * at.OWNER_WORDS
        order, before, count = book[place + at.FIRST_ORDER], 0, 0
        while order != 0:
            if book[order + at.OWNER] != owner or book[order + at.OWNER_PREVIOUS] != before:
                return 8
            before, order, count = order, book[order + at.OWNER_NEXT], count + 1
        if book[place + at.LAST_ORDER] != before or book[place + at.OWNER_ORDERS] != count:
            return 8
        owned += count
    ids = book[book[at.IDS_START] : book[at.IDS_START] + book[at.ID_MASK] + 1]
    if owned != book[at.ORDER_COUNT] or np.count_nonzero(ids) != book[at.ORDER_COUNT]:
        return 7
    order, before, timed = book[at.TIMED_HEAD], 0, 0
    while order != 0:
        is_timed = book[order + at.TIF] == at.GTD and book[at.EARLIEST_EXPIRY] <= book[order + at.EXPIRE_TS]
        if not is_timed or book[order + at.TIMED_PREVIOUS] != before:
            return 9
        before, order, timed = order, book[order + at.TIMED_NEXT], timed + 1
    for order in ids:
        timed -= order != 0 and book[order + at.TIF] == at.GTD
    if timed != 0 or book[at.TIMED_TAIL] != before:
        return 9
    levels = _chain_length(book, book[at.FREE_LEVEL], at.HEAD)
    for ladder in (at.BIDS, at.ASKS, at.RISING, at.FALLING):
        levels += book[ladder + at.LADDER_COUNT] - 1
    free = _chain_length(book, book[at.FREE_ORDER], at.NEXT)
    if levels != book[at.ORDER_CAPACITY] or free + book[at.ORDER_COUNT] != book[at.ORDER_CAPACITY]:
        return 10
    return 0


@njit
def _price_fault(book: Words) -> int:
    """Return the first fault of prices between the ladders."""
    bids, asks = book[at.BIDS + at.LADDER_COUNT] - 1, book[at.ASKS + at.LADDER_COUNT] - 1
    bid_at = book[book[at.BIDS + at.LADDER_KEYS] + book[at.BIDS + at.LADDER_SPAN] + bids]
    ask_at = book[book[at.ASKS + at.LADDER_KEYS] + book[at.ASKS + at.LADDER_SPAN] + asks]
    if bids > 0 and asks > 0 and book[bid_at + at.LEVEL_PRICE] >= book[ask_at + at.LEVEL_PRICE]:
        return 11
    if book[at.BID_PRICE] != book[bid_at + at.LEVEL_PRICE] or book[at.BID_SIZE] != book[bid_at + at.LEVEL_LOTS]:
        return 12
    if book[at.ASK_PRICE] != book[ask_at + at.LEVEL_PRICE] or book[at.ASK_SIZE] != book[ask_at + at.LEVEL_LOTS]:
        return 12
    rising = book[book[at.RISING + at.LADDER_KEYS] + book[at.RISING + at.LADDER_COUNT] - 1]
    falling = book[book[at.FALLING + at.LADDER_KEYS] + book[at.FALLING + at.LADDER_COUNT] - 1]
    last = book[at.LAST_PRICE]
    if last != 0 and (rising >= -last or falling >= last):
        return 13
    return 14 if book[book[at.LEVELS_START] + at.LEVEL_WORDS + at.HEAD] != 0 else 0


@njit
def book_fault(book: Words) -> int:
    """Return 0, or which of `FAULTS` the buffer has."""
    orders = 0
    for ladder in (at.BIDS, at.ASKS, at.RISING, at.FALLING):
        fault, count = _ladder_fault(book, ladder)
        if fault != 0:
            return fault
        orders += count
    if orders != book[at.ORDER_COUNT]:
        return 6
    fault = _list_fault(book)
    return fault if fault != 0 else _price_fault(book)


@njit
def _first_fault(book: Words, commands: Rows, out: Rows) -> tuple[int, int]:
    for number in range(commands.shape[0]):
        k.run_stream(book, commands[number : number + 1], out)
        fault = book_fault(book)
        if fault != 0:
            return number, fault
    return -1, 0


def first_fault(book: Words, commands: Sequence[Command], out: Rows) -> tuple[int, str]:
    """Play commands; return the number of the first that leaves a fault and the fault, or (-1, "")."""
    number, fault = _first_fault(book, np.array(commands, dtype=np.int64), out)
    return number, FAULTS[fault]
