"""Order records of a book: taking and giving back a record, finding it by id, the lists of owners and of expiry.

Internal to the matching kernel; prices and priority are the business of `matching_levels`.
"""

from __future__ import annotations

from agora.kernels.compiled import Words
from agora.kernels.matching_inline import compiled_inside
from agora.kernels.matching_layout import (
    ARRIVAL,
    EARLIEST_EXPIRY,
    EXPIRE_TS,
    FIRST_ORDER,
    FLAGS,
    FREE_ORDER,
    GTD,
    ID_MASK,
    ID_SHIFT,
    IDS_START,
    LAST_ORDER,
    NEXT,
    NEXT_ARRIVAL,
    ORDER_COUNT,
    ORDER_ID,
    OWNER,
    OWNER_NEXT,
    OWNER_ORDERS,
    OWNER_PREVIOUS,
    OWNER_WORDS,
    OWNERS_START,
    PLACE_MASK,
    PRICE,
    REMAINING,
    SELF_TRADE_MODE,
    SIDE,
    TIF,
    TIMED_HEAD,
    TIMED_NEXT,
    TIMED_PREVIOUS,
    TIMED_TAIL,
    TRIGGER,
    TYPE,
    link,
)

# Knuth's multiplicative hashing: the odd number nearest to 2**31 divided by the golden ratio spreads ids that
# rise by any step. Products of two numbers below 2**31 cannot overflow.
GOLDEN = 0x4F1BBCDD
LOW_31_BITS = 0x7FFFFFFF


@compiled_inside
def home_of(book: Words, order_id: int) -> int:
    """Return the place in the id table, counted from its start, where an id is looked for first."""
    spread = (((order_id >> 31) ^ order_id) & LOW_31_BITS) * GOLDEN
    return int((spread >> book[ID_SHIFT]) & link(book, ID_MASK))


@compiled_inside
def find_order(book: Words, order_id: int) -> int:
    """Return where the record of a live order stands, or 0."""
    ids, mask = link(book, IDS_START), link(book, ID_MASK)
    place = home_of(book, order_id)
    at = link(book, ids + place)
    while at != 0 and book[at + ORDER_ID] != order_id:  # at most half of the places are taken
        place = (place + 1) & mask
        at = link(book, ids + place)
    return at


@compiled_inside
def enter_id(book: Words, at: int) -> None:
    """Put an order that is not there yet into the id table."""
    ids, mask = link(book, IDS_START), link(book, ID_MASK)
    place = home_of(book, book[at + ORDER_ID])
    while book[ids + place] != 0:
        place = (place + 1) & mask
    book[ids + place] = at


@compiled_inside
def drop_id(book: Words, at: int) -> None:
    """Take an order out of the id table and close the gap, so that no search has to pass tombstones."""
    ids, mask = link(book, IDS_START), link(book, ID_MASK)
    gap = home_of(book, book[at + ORDER_ID])
    while book[ids + gap] != at:
        gap = (gap + 1) & mask
    place = (gap + 1) & mask
    other = link(book, ids + place)
    while other != 0:
        # An entry may move back into the gap unless that would put it before its home.
        if (place - home_of(book, book[other + ORDER_ID])) & mask >= (place - gap) & mask:
            book[ids + gap] = other
            gap = place
        place = (place + 1) & mask
        other = link(book, ids + place)
    book[ids + gap] = 0


@compiled_inside
def owner_place(book: Words, owner: int) -> int:
    """Return where the words of an owner stand."""
    return int((book[OWNERS_START] + owner * OWNER_WORDS) & PLACE_MASK)


@compiled_inside
def enter_owner(book: Words, at: int) -> None:
    """Append an order to its owner's list."""
    owner = owner_place(book, book[at + OWNER])
    last = link(book, owner + LAST_ORDER)
    # Here and below the word to be written is chosen, not the branch: which it is cannot be foretold.
    word_before = owner + FIRST_ORDER if last == 0 else last + OWNER_NEXT
    book[at + OWNER_NEXT] = 0
    book[at + OWNER_PREVIOUS] = last
    book[word_before] = at
    book[owner + LAST_ORDER] = at
    book[owner + OWNER_ORDERS] += 1


@compiled_inside
def drop_owner(book: Words, at: int) -> None:
    """Take an order out of its owner's list."""
    owner = owner_place(book, book[at + OWNER])
    after, before = link(book, at + OWNER_NEXT), link(book, at + OWNER_PREVIOUS)
    word_before = owner + FIRST_ORDER if before == 0 else before + OWNER_NEXT
    word_after = owner + LAST_ORDER if after == 0 else after + OWNER_PREVIOUS
    book[word_before] = after
    book[word_after] = before
    book[owner + OWNER_ORDERS] -= 1


@compiled_inside
def enter_timed(book: Words, at: int) -> None:
    """Append an order to the list of those that expire."""
    last = book[TIMED_TAIL]
    book[at + TIMED_NEXT] = 0
    book[at + TIMED_PREVIOUS] = last
    if last == 0:
        book[TIMED_HEAD] = at
    else:
        book[last + TIMED_NEXT] = at
    book[TIMED_TAIL] = at
    book[EARLIEST_EXPIRY] = min(book[EARLIEST_EXPIRY], book[at + EXPIRE_TS])


@compiled_inside
def drop_timed(book: Words, at: int) -> None:
    """Take an order out of the list of those that expire. The earliest expiry may stay too early: that costs one
    look at the list, which sets it right.
    """
    after, before = book[at + TIMED_NEXT], book[at + TIMED_PREVIOUS]
    if before == 0:
        book[TIMED_HEAD] = after
    else:
        book[before + TIMED_NEXT] = after
    if after == 0:
        book[TIMED_TAIL] = before
    else:
        book[after + TIMED_PREVIOUS] = before


@compiled_inside
def take_record(
    book: Words,
    order_id: int,
    owner: int,
    side: int,
    order_type: int,
    tif: int,
    flags: int,
    price: int,
    trigger: int,
    remaining: int,
    expire_ts: int,
    self_trade: int,
) -> int:
    """Record an order, known by id, owner and expiry but at no level yet. The caller has checked the capacity."""
    at = link(book, FREE_ORDER)
    book[FREE_ORDER] = book[at + NEXT]
    book[ORDER_COUNT] += 1
    book[at + ORDER_ID] = order_id
    book[at + REMAINING] = remaining
    book[at + OWNER] = owner
    book[at + SIDE] = side
    book[at + FLAGS] = flags
    book[at + PRICE] = price
    book[at + TRIGGER] = trigger
    book[at + TYPE] = order_type
    book[at + TIF] = tif
    book[at + EXPIRE_TS] = expire_ts
    book[at + SELF_TRADE_MODE] = self_trade
    book[at + ARRIVAL] = book[NEXT_ARRIVAL]
    book[NEXT_ARRIVAL] += 1
    enter_id(book, at)
    enter_owner(book, at)
    if tif == GTD:
        enter_timed(book, at)
    return at


@compiled_inside
def free_record(book: Words, at: int) -> None:
    """Forget an order that stands at no level any more. Its words stay readable until the next order."""
    drop_id(book, at)
    drop_owner(book, at)
    if book[at + TIF] == GTD:
        drop_timed(book, at)
    book[at + NEXT] = book[FREE_ORDER]
    book[FREE_ORDER] = at
    book[ORDER_COUNT] -= 1
