"""The book's buffer: where each word stands, the codes of its answers, and how an empty book is made.

Internal to the matching kernel; what others may use is exported by `matching`. Places in the buffer are kept
as word numbers ("at"), never as counts of records, so that following a link is one addition.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from agora.kernels.compiled import Rows, Words
from agora.kernels.matching_inline import compiled_inside

# Codes of output rows.
ACCEPTED, REJECTED, FILL, CANCELLED, EXPIRED, TRIGGERED = 1, 2, 3, 4, 5, 6
REPLACED, REPLACE_REJECTED, CANCEL_REJECTED, REDUCED, DECREMENTED = 7, 8, 9, 10, 11

# Reasons of a refusal or an end.
NO_REASON = 0
UNKNOWN_ACCOUNT = 1
UNKNOWN_ORDER = 2
NOT_YOURS = 3
DUPLICATE_ID = 4
BAD_PRICE = 5
BAD_SIZE = 6
BAD_TRIGGER = 7
BAD_EXPIRY = 8
TOO_LARGE = 9
BAD_COMBINATION = 10
POST_ONLY_WOULD_CROSS = 11
FOK_NOT_FILLABLE = 12
NO_LIQUIDITY = 13
IOC_REMAINDER = 14
CAPACITY = 15
SELF_TRADE = 16
REQUESTED = 17
DUE = 18
# For callers that check money and positions; the book itself never says these.
INSUFFICIENT_FUNDS = 19
INSUFFICIENT_UNITS = 20
SHORTING_NOT_ALLOWED = 21
INSUFFICIENT_MARGIN = 22
REDUCE_ONLY_NO_POSITION = 23
LIQUIDATION = 24

# Attributes of orders.
BUY, SELL = 1, -1
LIMIT, MARKET, STOP, TAKE_PROFIT = 1, 2, 3, 4
GTC, IOC, FOK, GTD = 1, 2, 3, 4
POST_ONLY, REDUCE_ONLY = 1, 2
WAITING = 4  # set by the book on a stop or take-profit order until it triggers
CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT = 1, 2, 3, 4

# Columns of an output row. The last four speak of the resting order of a FILL or DECREMENTED row, else zero.
CODE, REASON, ROW_ORDER_ID, ROW_OWNER, ROW_SIDE, ROW_FLAGS = 0, 1, 2, 3, 4, 5
ROW_PRICE, ROW_SIZE, ROW_REMAINING = 6, 7, 8
MAKER_ID, MAKER_OWNER, MAKER_REMAINING, MAKER_FLAGS = 9, 10, 11, 12
OUT_COLUMNS = 13

# One call ends each live order at most once, and says at most four things of a stop: that it triggered, one
# fill that only shrinks its counterpart, and its end as taker, or as maker of a later one.
ROWS_PER_ORDER = 4
ROWS_BESIDES = 16

# The largest price and size. A level of a million such orders stays below 2**60.
NUMBER_MAX = 2**40

# Header words.
ORDER_CAPACITY, OWNER_CAPACITY, ORDER_COUNT = 0, 1, 2
BID_PRICE, BID_SIZE, ASK_PRICE, ASK_SIZE, LAST_PRICE = 3, 4, 5, 6, 7
TRADE_HIGH, TRADE_LOW = 8, 9  # of the trades since the stops were last looked at
NEXT_ARRIVAL, EARLIEST_EXPIRY, TIMED_HEAD, TIMED_TAIL = 10, 11, 12, 13
FREE_ORDER, FREE_LEVEL = 14, 15  # first of a chain of unused records
IDS_START, ID_MASK, ID_SHIFT, OWNERS_START = 16, 17, 18, 19
ORDERS_START, LEVELS_START, HINTS_START = 20, 21, 22
BIDS, ASKS, RISING, FALLING = 32, 36, 40, 44  # descriptors of the four ladders
HEADER_WORDS = 48

# Words of a ladder's descriptor. Keys rise towards the best, which stands last: inserts happen near it. Place 0
# is a sentinel below every key, so that a search needs no bound and an empty side no special case.
LADDER_COUNT, LADDER_KEYS, LADDER_SPAN, KEY_SIGN = 0, 1, 2, 3

# Words of a level: orders of one price (of one trigger, in the ladders of waiting orders) in order of arrival.
LEVEL_KEY, LEVEL_PRICE, LEVEL_LOTS, LEVEL_ORDERS, HEAD, TAIL, LEVEL_LADDER = 0, 1, 2, 3, 4, 5, 6
LEVEL_WORDS = 8
NO_LADDER = 0  # of the queue of triggered orders
FIXED_LEVELS = 2  # the sentinel and the queue of triggered orders

# Words of an order. The first eight are what matching and cancelling touch: one line of the memory cache.
ORDER_ID, REMAINING, NEXT, PREVIOUS, LEVEL, OWNER, OWNER_NEXT, OWNER_PREVIOUS = 0, 1, 2, 3, 4, 5, 6, 7
SIDE, FLAGS, PRICE, TRIGGER, TYPE, TIF, EXPIRE_TS, SELF_TRADE_MODE = 8, 9, 10, 11, 12, 13, 14, 15
ARRIVAL, TIMED_NEXT, TIMED_PREVIOUS = 16, 17, 18
ORDER_WORDS = 24

# Words of an owner.
FIRST_ORDER, LAST_ORDER, OWNER_ORDERS = 0, 1, 2
OWNER_WORDS = 4

# For each key, by its lowest bits, the level of it that was used last: most orders join a level that is there, and
# searching the ladder for it took a third of the time of an order. 1,024 ticks are wider than most books.
HINTS = 2**10

KEY_NONE = -(2**62)
KEY_ANY = -(2**61)  # a market order's bound: below every key of an order, above the sentinel
NEVER = 2**62
LINE_WORDS = 8  # int64 words in a line of the memory cache


def _typed(value: int) -> int:
    """Return a 64-bit constant. Numba compiles a function anew for each literal it is called with, not for
    these.
    """
    return cast("int", np.int64(value))


NOTHING, FIRST_ROW = _typed(0), _typed(0)


def new_book(order_capacity: int, owner_capacity: int) -> Words:
    """Return an empty book for at most `order_capacity` resting and waiting orders of accounts below
    `owner_capacity`.
    """
    if not 1 <= order_capacity <= 2**20:  # level sums stay below 2**60
        raise ValueError(f"a book holds between 1 and {2**20} orders: {order_capacity}")
    if not 1 <= owner_capacity <= 2**24:  # the owners' words stay below a gigabyte
        raise ValueError(f"a book knows between 1 and {2**24} accounts: {owner_capacity}")
    id_bits = (2 * order_capacity - 1).bit_length()
    span = -(-(order_capacity + 1) // LINE_WORDS) * LINE_WORDS
    level_count = order_capacity + FIXED_LEVELS
    sizes = (HEADER_WORDS, level_count * LEVEL_WORDS, order_capacity * ORDER_WORDS, 8 * span, HINTS, 2**id_bits)
    starts = np.cumsum(sizes)
    levels, orders, ladders, hints, ids, owners = (int(start) for start in starts)
    book = _aligned(owners + owner_capacity * OWNER_WORDS)
    book[[ORDER_CAPACITY, OWNER_CAPACITY]] = order_capacity, owner_capacity
    book[[LEVELS_START, ORDERS_START, HINTS_START, IDS_START, OWNERS_START]] = levels, orders, hints, ids, owners
    book[[ID_MASK, ID_SHIFT]] = 2**id_bits - 1, 31 - id_bits
    book[[TRADE_LOW, EARLIEST_EXPIRY, NEXT_ARRIVAL]] = NEVER, NEVER, 1
    book[FREE_ORDER] = _chain(book, orders, count=order_capacity, words=ORDER_WORDS, link=NEXT)
    book[FREE_LEVEL] = _chain(
        book, levels + FIXED_LEVELS * LEVEL_WORDS, count=order_capacity, words=LEVEL_WORDS, link=HEAD
    )
    book[levels + LEVEL_KEY] = KEY_NONE
    book[hints : hints + HINTS] = levels
    for number, (ladder, sign) in enumerate(((BIDS, 1), (ASKS, -1), (RISING, -1), (FALLING, 1))):
        keys = ladders + number * 2 * span
        book[ladder : ladder + 4] = 1, keys, span, sign
        book[keys] = KEY_NONE
        book[keys + span] = levels
    return book


def _aligned(words: int) -> Words:
    """Return zeros that begin with a line of the memory cache, so that no record lies across one more."""
    room = np.zeros(words + LINE_WORDS, dtype=np.int64)
    first = -(room.ctypes.data // 8) % LINE_WORDS
    return room[first : first + words]


def _chain(book: Words, start: int, *, count: int, words: int, link: int) -> int:
    """Link unused records to one another; the last one's link is 0."""
    places = start + words * np.arange(count)
    book[places[:-1] + link] = places[1:]
    return start


def new_out(order_capacity: int) -> Rows:
    """Return room for the rows of any one call on a book of that capacity."""
    return np.zeros((ROWS_PER_ORDER * order_capacity + ROWS_BESIDES, OUT_COLUMNS), dtype=np.int64)


# No buffer has more words. A number that is visibly not negative spares the compiled code the question whether an
# index counts from the end, at each use: a quarter of the time of an operation.
PLACE_MASK = 2**40 - 1


@compiled_inside
def link(book: Words, word: int) -> int:
    """Return the place that a word of the buffer names, or 0."""
    return int(book[word] & PLACE_MASK)


@compiled_inside
def emit(
    out: Rows,
    n: int,
    code: int,
    reason: int,
    order_id: int,
    owner: int,
    side: int,
    flags: int,
    price: int,
    size: int,
    remaining: int,
) -> int:
    """Write row `n` of `out`, of one order, and return the next row number."""
    out[n, CODE] = code
    out[n, REASON] = reason
    out[n, ROW_ORDER_ID] = order_id
    out[n, ROW_OWNER] = owner
    out[n, ROW_SIDE] = side
    out[n, ROW_FLAGS] = flags
    out[n, ROW_PRICE] = price
    out[n, ROW_SIZE] = size
    out[n, ROW_REMAINING] = remaining
    out[n, MAKER_ID] = 0
    out[n, MAKER_OWNER] = 0
    out[n, MAKER_REMAINING] = 0
    out[n, MAKER_FLAGS] = 0
    return n + 1


@compiled_inside
def emit_record(book: Words, out: Rows, n: int, code: int, reason: int, at: int, size: int, remaining: int) -> int:
    """Write a row of a recorded order: what it is, `size` lots that the row is about, what remains."""
    return emit(
        out,
        n,
        code,
        reason,
        book[at + ORDER_ID],
        book[at + OWNER],
        book[at + SIDE],
        book[at + FLAGS],
        book[at + PRICE],
        size,
        remaining,
    )


@compiled_inside
def name_maker(book: Words, out: Rows, n: int, maker: int) -> None:
    """Add the resting order to the row before `n`."""
    out[n - 1, MAKER_ID] = book[maker + ORDER_ID]
    out[n - 1, MAKER_OWNER] = book[maker + OWNER]
    out[n - 1, MAKER_REMAINING] = book[maker + REMAINING]
    out[n - 1, MAKER_FLAGS] = book[maker + FLAGS]
