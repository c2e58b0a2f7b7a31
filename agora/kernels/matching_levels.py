"""Ladders of price levels: one of bids, one of asks, two of orders that wait for a price, all of one shape.

Internal to the matching kernel; knows neither owners nor why an order comes or goes.
"""

from __future__ import annotations

from agora.kernels.compiled import Words
from agora.kernels.matching_inline import compiled_inside
from agora.kernels.matching_layout import (
    ASK_PRICE,
    ASK_SIZE,
    ASKS,
    BID_PRICE,
    BID_SIZE,
    BIDS,
    FREE_LEVEL,
    HEAD,
    HINTS,
    HINTS_START,
    KEY_SIGN,
    LADDER_COUNT,
    LADDER_KEYS,
    LADDER_SPAN,
    LEVEL,
    LEVEL_KEY,
    LEVEL_LADDER,
    LEVEL_LOTS,
    LEVEL_ORDERS,
    LEVEL_PRICE,
    NEXT,
    NO_LADDER,
    PREVIOUS,
    REMAINING,
    TAIL,
    link,
)


@compiled_inside
def ladder_of(side: int) -> int:
    """Return the ladder in which orders of a side rest."""
    return BIDS + 2 * (1 - side)


@compiled_inside
def best_place(book: Words, ladder: int) -> int:
    """Return where the best key of a ladder stands; its level stands a span behind it."""
    return link(book, ladder + LADDER_KEYS) + link(book, ladder + LADDER_COUNT) - 1


@compiled_inside
def best_level(book: Words, ladder: int) -> int:
    """Return the best level of a ladder; for an empty one the sentinel, whose price and lots are 0."""
    return link(book, best_place(book, ladder) + link(book, ladder + LADDER_SPAN))


@compiled_inside
def best_key(book: Words, ladder: int) -> int:
    """Return the key of the best level of a ladder; `KEY_NONE` for an empty one."""
    return int(book[best_place(book, ladder)])


@compiled_inside
def refresh_touch(book: Words) -> None:
    """Write best bid and ask into the header."""
    level = best_level(book, BIDS)
    book[BID_PRICE] = book[level + LEVEL_PRICE]
    book[BID_SIZE] = book[level + LEVEL_LOTS]
    level = best_level(book, ASKS)
    book[ASK_PRICE] = book[level + LEVEL_PRICE]
    book[ASK_SIZE] = book[level + LEVEL_LOTS]


@compiled_inside
def last_at_most(book: Words, ladder: int, key: int) -> int:
    """Return where the last key of a ladder stands that is at most `key`; the sentinel always is."""
    low, count = link(book, ladder + LADDER_KEYS), link(book, ladder + LADDER_COUNT)
    while count > 1:  # halved without branches, because no processor foretells where a price lies
        half = count >> 1
        low += half if book[low + half] <= key else 0
        count -= half
    return low


@compiled_inside
def open_level(book: Words, ladder: int, after: int, key: int) -> int:
    """Insert an empty level behind the ladder's word `after` and return it."""
    level = link(book, FREE_LEVEL)
    book[FREE_LEVEL] = book[level + HEAD]
    span = link(book, ladder + LADDER_SPAN)
    place = best_place(book, ladder) + 1
    while place > after + 1:
        book[place] = book[place - 1]
        book[place + span] = book[place + span - 1]
        place -= 1
    book[place] = key
    book[place + span] = level
    book[ladder + LADDER_COUNT] += 1
    book[level + LEVEL_KEY] = key
    book[level + LEVEL_PRICE] = key * book[ladder + KEY_SIGN]
    book[level + LEVEL_LOTS] = 0
    book[level + LEVEL_ORDERS] = 0
    book[level + HEAD] = 0
    book[level + TAIL] = 0
    book[level + LEVEL_LADDER] = ladder
    return level


@compiled_inside
def close_level(book: Words, level: int) -> None:
    """Take an empty level out of its ladder."""
    ladder = link(book, level + LEVEL_LADDER)
    span = link(book, ladder + LADDER_SPAN)
    end = best_place(book, ladder)
    place = end  # where trades empty it
    if book[end] != book[level + LEVEL_KEY]:
        place = last_at_most(book, ladder, book[level + LEVEL_KEY])
    while place < end:
        book[place] = book[place + 1]
        book[place + span] = book[place + span + 1]
        place += 1
    book[ladder + LADDER_COUNT] -= 1
    book[level + LEVEL_LADDER] = NO_LADDER
    book[level + HEAD] = book[FREE_LEVEL]
    book[FREE_LEVEL] = level


@compiled_inside
def append_to_level(book: Words, level: int, at: int) -> None:
    """Put an order at the end of a level's queue."""
    last = link(book, level + TAIL)
    word_before = level + HEAD if last == 0 else last + NEXT
    book[at + NEXT] = 0
    book[at + PREVIOUS] = last
    book[at + LEVEL] = level
    book[word_before] = at
    book[level + TAIL] = at
    book[level + LEVEL_LOTS] += book[at + REMAINING]
    book[level + LEVEL_ORDERS] += 1


@compiled_inside
def level_of(book: Words, ladder: int, key: int) -> int:
    """Return the level of a key, opened if it is not there."""
    place = last_at_most(book, ladder, key)
    if book[place] == key:
        return link(book, place + link(book, ladder + LADDER_SPAN))
    return open_level(book, ladder, place, key)


@compiled_inside
def enter_ladder(book: Words, ladder: int, price: int, at: int) -> None:
    """Put an order last at its price, opening the level if it is the first there."""
    key = price * book[ladder + KEY_SIGN]
    hint = link(book, HINTS_START) + (key & (HINTS - 1))
    level = link(book, hint)
    if book[level + LEVEL_KEY] != key or book[level + LEVEL_LADDER] != ladder:
        level = level_of(book, ladder, key)
        book[hint] = level
    append_to_level(book, level, at)


@compiled_inside
def leave_level(book: Words, at: int) -> None:
    """Take an order out of its level, and the level out of its ladder when that was the last one."""
    level = link(book, at + LEVEL)
    after, before = link(book, at + NEXT), link(book, at + PREVIOUS)
    word_before = level + HEAD if before == 0 else before + NEXT
    word_after = level + TAIL if after == 0 else after + PREVIOUS
    book[word_before] = after
    book[word_after] = before
    book[level + LEVEL_LOTS] -= book[at + REMAINING]
    book[level + LEVEL_ORDERS] -= 1
    if book[level + LEVEL_ORDERS] == 0 and book[level + LEVEL_LADDER] != NO_LADDER:
        close_level(book, level)


@compiled_inside
def shrink_order(book: Words, at: int, lots: int) -> None:
    """Take lots off an order at a level; it keeps its priority."""
    book[at + REMAINING] -= lots
    book[link(book, at + LEVEL) + LEVEL_LOTS] -= lots
