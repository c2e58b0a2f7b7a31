"""The rules of the book as pieces: whether an order is taken, how it trades, how waiting orders come to life.

A caller that checks money between a trigger and its trades composes these pieces itself; `matching` composes
them without such checks. After each piece that may trade the caller asks `next_triggered` until it answers 0.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words
from agora.kernels.matching_inline import compiled_inside
from agora.kernels.matching_layout import (
    ACCEPTED,
    ARRIVAL,
    BAD_COMBINATION,
    BAD_EXPIRY,
    BAD_PRICE,
    BAD_SIZE,
    BAD_TRIGGER,
    CANCEL_NEWEST,
    CANCEL_OLDEST,
    CANCELLED,
    CAPACITY,
    DECREMENT,
    DECREMENTED,
    DUPLICATE_ID,
    FALLING,
    FILL,
    FLAGS,
    FOK,
    FOK_NOT_FILLABLE,
    GTC,
    GTD,
    HEAD,
    IOC,
    IOC_REMAINDER,
    KEY_ANY,
    LADDER_COUNT,
    LADDER_KEYS,
    LADDER_SPAN,
    LAST_PRICE,
    LEVEL_WORDS,
    LEVELS_START,
    LIMIT,
    MARKET,
    NEVER,
    NEXT,
    NO_LIQUIDITY,
    NO_REASON,
    NOT_YOURS,
    NOTHING,
    NUMBER_MAX,
    ORDER_CAPACITY,
    ORDER_COUNT,
    ORDER_ID,
    OWNER,
    OWNER_CAPACITY,
    POST_ONLY,
    POST_ONLY_WOULD_CROSS,
    PREVIOUS,
    PRICE,
    REDUCE_ONLY,
    REDUCED,
    REJECTED,
    REMAINING,
    REPLACE_REJECTED,
    REPLACED,
    RISING,
    SELF_TRADE,
    SELF_TRADE_MODE,
    SIDE,
    STOP,
    TAIL,
    TAKE_PROFIT,
    TIF,
    TOO_LARGE,
    TRADE_HIGH,
    TRADE_LOW,
    TRIGGERED,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ORDER,
    WAITING,
    emit,
    emit_record,
    link,
    name_maker,
)
from agora.kernels.matching_levels import (
    append_to_level,
    best_key,
    best_level,
    enter_ladder,
    ladder_of,
    leave_level,
    refresh_touch,
    shrink_order,
)
from agora.kernels.matching_orders import find_order, free_record, take_record

COST_MAX = 2**62  # what `cost_to_fill` says of a cost that does not fit


@compiled_inside
def bound_key(side: int, price: int) -> int:
    """Return the least key on the other side that an order trades with; price 0 is a market order."""
    if price == 0:
        return KEY_ANY
    return -price * side


@compiled_inside
def would_cross(book: Words, side: int, price: int) -> bool:
    """Say whether an order at that price would find a counterpart now."""
    return best_key(book, ladder_of(-side)) >= bound_key(side, price)


@compiled_inside
def walk_cost(book: Words, side: int, size: int, price: int, owner: int, stops_at_own: bool) -> tuple[int, int]:
    """Return how many of `size` lots others offer an order at that price, and price times lots of them.

    Orders of `owner` are passed over, or end the walk. A cost beyond `COST_MAX` is `COST_MAX`.
    """
    ladder, bound = ladder_of(-side), bound_key(side, price)
    place = book[ladder + LADDER_KEYS] + book[ladder + LADDER_COUNT] - 1
    lots, cost = NOTHING, NOTHING
    while lots < size and book[place] >= bound:
        at = book[book[place + book[ladder + LADDER_SPAN]] + HEAD]
        while at != 0 and lots < size:
            if book[at + OWNER] != owner:
                taken = min(size - lots, book[at + REMAINING])
                lots += taken
                cost = added_cost(cost, book[at + PRICE], taken)
            elif stops_at_own:
                return lots, cost
            at = book[at + NEXT]
        place -= 1
    return lots, cost


@compiled_inside
def added_cost(cost: int, price: int, lots: int) -> int:
    """Return `cost` plus price times lots, at most `COST_MAX`."""
    if lots > (COST_MAX - cost) // price:
        return COST_MAX
    return cost + price * lots


@compiled_inside
def fok_is_short(book: Words, side: int, size: int, price: int, owner: int, self_trade: int) -> bool:
    """Say whether a fill-or-kill order would not fill. Only cancelling the oldest lets it pass its owner's orders."""
    lots, _ = walk_cost(book, side, size, price, owner, self_trade != CANCEL_OLDEST)
    return lots < size


@compiled_inside
def is_immediate(tif: int) -> bool:
    """Say whether an order of that time in force never rests."""
    return IOC <= tif <= FOK


@compiled_inside
def numbers_refusal(order_type: int, tif: int, price: int, trigger: int, size: int, expire_ts: int, now_ts: int) -> int:
    """Return why the numbers of an order make none, or `NO_REASON`."""
    if size <= 0:
        return BAD_SIZE
    if price < 0 or (order_type == LIMIT and price == 0) or (order_type == MARKET and price != 0):
        return BAD_PRICE
    if (trigger <= 0) if order_type >= STOP else (trigger != 0):
        return BAD_TRIGGER
    if (expire_ts <= now_ts) if tif == GTD else (expire_ts != 0):
        return BAD_EXPIRY
    if size > NUMBER_MAX or price > NUMBER_MAX or trigger > NUMBER_MAX:
        return TOO_LARGE
    return NO_REASON


@compiled_inside
def refusal(
    book: Words,
    order_id: int,
    owner: int,
    side: int,
    order_type: int,
    tif: int,
    flags: int,
    price: int,
    trigger: int,
    size: int,
    expire_ts: int,
    self_trade: int,
    now_ts: int,
) -> int:
    """Return why an order is not taken, or `NO_REASON`. One that might rest needs room before it trades."""
    if owner < 0 or owner >= book[OWNER_CAPACITY]:
        return UNKNOWN_ACCOUNT
    if abs(side) != 1 or order_id <= 0 or flags < 0 or flags > (POST_ONLY | REDUCE_ONLY):
        return BAD_COMBINATION
    if order_type < LIMIT or order_type > TAKE_PROFIT or tif < GTC or tif > GTD:
        return BAD_COMBINATION
    if self_trade < CANCEL_NEWEST or self_trade > DECREMENT:
        return BAD_COMBINATION
    reason = numbers_refusal(order_type, tif, price, trigger, size, expire_ts, now_ts)
    if reason != NO_REASON:
        return reason
    if flags & POST_ONLY != 0 and (price == 0 or is_immediate(tif)):
        return BAD_COMBINATION
    if find_order(book, order_id) != 0:
        return DUPLICATE_ID
    may_rest = order_type >= STOP or (order_type == LIMIT and not is_immediate(tif))
    if may_rest and book[ORDER_COUNT] == book[ORDER_CAPACITY]:
        return CAPACITY
    if order_type >= STOP:
        return NO_REASON
    if flags & POST_ONLY != 0 and would_cross(book, side, price):
        return POST_ONLY_WOULD_CROSS
    if tif == FOK and fok_is_short(book, side, size, price, owner, self_trade):
        return FOK_NOT_FILLABLE
    return NO_REASON


@compiled_inside
def remove_order(book: Words, at: int) -> None:
    """Take an order out of its level and forget it."""
    leave_level(book, at)
    free_record(book, at)


@compiled_inside
def end_order(book: Words, out: Rows, n: int, at: int, code: int, reason: int) -> int:
    """End a resting or waiting order; the row's size is what is given up."""
    n = emit_record(book, out, n, code, reason, at, book[at + REMAINING], NOTHING)
    remove_order(book, at)
    return n


@compiled_inside
def reduce_order(book: Words, out: Rows, n: int, at: int, lots: int, reason: int) -> int:
    """Take lots off a resting or waiting order, which keeps its priority; all of them end it."""
    if lots >= book[at + REMAINING]:
        return end_order(book, out, n, at, CANCELLED, reason)
    shrink_order(book, at, lots)
    return emit_record(book, out, n, REDUCED, reason, at, lots, book[at + REMAINING])


@compiled_inside
def note_trade(book: Words, price: int) -> None:
    """Remember a trade's price for the last price and for the orders that wait for one."""
    book[LAST_PRICE] = price
    book[TRADE_HIGH] = max(book[TRADE_HIGH], price)
    book[TRADE_LOW] = min(book[TRADE_LOW], price)


@compiled_inside
def take_maker(
    book: Words,
    out: Rows,
    n: int,
    code: int,
    order_id: int,
    owner: int,
    side: int,
    flags: int,
    remaining: int,
    maker: int,
    lots: int,
) -> int:
    """Take lots off a resting order for an incoming one that then has `remaining`; forget it when it is empty."""
    shrink_order(book, maker, lots)
    n = emit(out, n, code, NO_REASON, order_id, owner, side, flags, book[maker + PRICE], lots, remaining)
    name_maker(book, out, n, maker)
    if book[maker + REMAINING] == 0:
        remove_order(book, maker)
    return n


@compiled_inside
def match_order(
    book: Words,
    out: Rows,
    n: int,
    order_id: int,
    owner: int,
    side: int,
    flags: int,
    price: int,
    size: int,
    self_trade: int,
) -> tuple[int, int, bool]:
    """Trade an order with what rests on the other side, best price first, then first come; price 0: at any price.

    Returns the next row number, the lots left, and whether it stopped before an order of the same owner.
    """
    ladder, bound = ladder_of(-side), bound_key(side, price)
    remaining = size
    while remaining > 0 and best_key(book, ladder) >= bound:
        maker = link(book, best_level(book, ladder) + HEAD)
        lots = min(remaining, book[maker + REMAINING])
        if book[maker + OWNER] != owner:
            remaining -= lots
            note_trade(book, book[maker + PRICE])
            n = take_maker(book, out, n, FILL, order_id, owner, side, flags, remaining, maker, lots)
        elif self_trade == DECREMENT:
            remaining -= lots
            n = take_maker(book, out, n, DECREMENTED, order_id, owner, side, flags, remaining, maker, lots)
        else:
            if self_trade != CANCEL_NEWEST:
                n = end_order(book, out, n, maker, CANCELLED, SELF_TRADE)
            if self_trade != CANCEL_OLDEST:
                return n, remaining, True
    return n, remaining, False


@compiled_inside
def trade(
    book: Words,
    out: Rows,
    n: int,
    order_id: int,
    owner: int,
    side: int,
    tif: int,
    flags: int,
    price: int,
    size: int,
    self_trade: int,
) -> tuple[int, int]:
    """Let an order trade as its attributes say; return the next row number and the lots that are to rest.

    What neither trades nor rests is given up in a CANCELLED row.
    """
    remaining, reason = size, NO_REASON
    if flags & POST_ONLY != 0 and would_cross(book, side, price):
        reason = POST_ONLY_WOULD_CROSS
    elif tif == FOK and fok_is_short(book, side, size, price, owner, self_trade):
        reason = FOK_NOT_FILLABLE
    else:
        n, remaining, is_stopped = match_order(book, out, n, order_id, owner, side, flags, price, size, self_trade)
        if is_stopped:
            reason = SELF_TRADE
        elif price == 0:
            reason = NO_LIQUIDITY
        elif tif == IOC:
            reason = IOC_REMAINDER
    if reason == NO_REASON or remaining == 0:
        return n, remaining
    n = emit(out, n, CANCELLED, reason, order_id, owner, side, flags, price, remaining, NOTHING)
    return n, NOTHING


@compiled_inside
def is_rising(side: int, order_type: int) -> bool:
    """Say whether a waiting order triggers when the price rises to its trigger: buy stops and selling profits."""
    return (order_type == STOP) == (side == 1)


@compiled_inside
def is_triggered(book: Words, side: int, order_type: int, trigger: int) -> bool:
    """Say whether the last price has reached a trigger. Without any price yet, none has."""
    last = book[LAST_PRICE]
    if is_rising(side, order_type):
        return bool(last >= trigger)
    return bool(0 < last <= trigger)


@compiled_inside
def place(
    book: Words,
    out: Rows,
    n: int,
    order_id: int,
    owner: int,
    side: int,
    order_type: int,
    tif: int,
    flags: int,
    price: int,
    trigger: int,
    size: int,
    expire_ts: int,
    self_trade: int,
    now_ts: int,
) -> int:
    """Take a new order or refuse it; let it trade, rest or wait. Orders that its trades trigger are left waiting."""
    reason = refusal(
        book, order_id, owner, side, order_type, tif, flags, price, trigger, size, expire_ts, self_trade, now_ts
    )
    if reason != NO_REASON:
        return emit(out, n, REJECTED, reason, order_id, owner, side, flags, price, size, NOTHING)
    if order_type >= STOP and not is_triggered(book, side, order_type, trigger):
        flags |= WAITING
    n = emit(out, n, ACCEPTED, NO_REASON, order_id, owner, side, flags, price, size, size)
    rest, ladder, level_price = size, ladder_of(side), price
    if flags & WAITING != 0:
        ladder, level_price = (RISING if is_rising(side, order_type) else FALLING), trigger
    else:
        if order_type >= STOP:
            n = emit(out, n, TRIGGERED, NO_REASON, order_id, owner, side, flags, price, size, size)
        n, rest = trade(book, out, n, order_id, owner, side, tif, flags, price, size, self_trade)
    if rest > 0:
        at = take_record(
            book, order_id, owner, side, order_type, tif, flags, price, trigger, rest, expire_ts, self_trade
        )
        enter_ladder(book, ladder, level_price, at)
    refresh_touch(book)
    return n


@compiled_inside
def trade_record(book: Words, out: Rows, n: int, at: int) -> int:
    """Let a recorded order that stands at no level trade, and rest or go."""
    side, price = book[at + SIDE], book[at + PRICE]
    n, rest = trade(
        book,
        out,
        n,
        book[at + ORDER_ID],
        book[at + OWNER],
        side,
        book[at + TIF],
        book[at + FLAGS],
        price,
        book[at + REMAINING],
        book[at + SELF_TRADE_MODE],
    )
    if rest > 0:
        book[at + REMAINING] = rest
        enter_ladder(book, ladder_of(side), price, at)
    else:
        free_record(book, at)
    refresh_touch(book)
    return n


@compiled_inside
def queue_triggered(book: Words, at: int) -> None:
    """Put a triggered order into the queue of those to be activated, by arrival."""
    queue = book[LEVELS_START] + LEVEL_WORDS
    later, before = NOTHING, book[queue + TAIL]
    while before != 0 and book[before + ARRIVAL] > book[at + ARRIVAL]:
        later, before = before, book[before + PREVIOUS]
    append_to_level(book, queue, at)
    if later == 0:
        return
    book[queue + TAIL] = book[at + PREVIOUS]
    book[book[at + PREVIOUS] + NEXT] = 0
    book[at + NEXT], book[at + PREVIOUS] = later, before
    book[later + PREVIOUS] = at
    if before == 0:
        book[queue + HEAD] = at
    else:
        book[before + NEXT] = at


@compiled_inside
def collect_triggered(book: Words, ladder: int, bound: int) -> None:
    """Move the orders whose trigger was reached from a ladder into the queue."""
    while best_key(book, ladder) >= bound:
        at = book[best_level(book, ladder) + HEAD]
        leave_level(book, at)
        queue_triggered(book, at)


@compiled_inside
def next_triggered(book: Words) -> int:
    """Return the id of the order to be activated next, or 0: of those whose trigger a trade has reached, the oldest.

    It waits until it is activated or cancelled.
    """
    if book[TRADE_HIGH] != 0:
        collect_triggered(book, RISING, -book[TRADE_HIGH])
        collect_triggered(book, FALLING, book[TRADE_LOW])
        book[TRADE_HIGH] = 0
        book[TRADE_LOW] = NEVER
    first = book[book[LEVELS_START] + LEVEL_WORDS + HEAD]
    if first == 0:
        return 0
    return int(book[first + ORDER_ID])


@compiled_inside
def activate(book: Words, out: Rows, n: int, order_id: int, lots_allowed: int, reason: int) -> int:
    """Let the order that `next_triggered` named trade up to `lots_allowed` lots; the rest is given up for `reason`."""
    at = find_order(book, order_id)
    leave_level(book, at)
    book[at + FLAGS] &= ~WAITING
    lots = book[at + REMAINING]
    n = emit_record(book, out, n, TRIGGERED, NO_REASON, at, lots, lots)
    if lots_allowed <= 0:
        n = emit_record(book, out, n, CANCELLED, reason, at, lots, NOTHING)
        free_record(book, at)
        return n
    if lots_allowed < lots:
        book[at + REMAINING] = lots_allowed
        n = emit_record(book, out, n, REDUCED, reason, at, lots - lots_allowed, lots_allowed)
    return trade_record(book, out, n, at)


@compiled_inside
def replace_refusal(book: Words, at: int, owner: int, price: int, size: int) -> int:
    """Return why an order cannot be replaced, or `NO_REASON`. A waiting market order stays one."""
    if at == 0:
        return UNKNOWN_ORDER
    if book[at + OWNER] != owner:
        return NOT_YOURS
    if size <= 0:
        return BAD_SIZE
    if price < 0 or (price == 0) != (book[at + PRICE] == 0):
        return BAD_PRICE
    if size > NUMBER_MAX or price > NUMBER_MAX:
        return TOO_LARGE
    if book[at + FLAGS] & WAITING != 0 or price == book[at + PRICE]:
        return NO_REASON
    if book[at + FLAGS] & POST_ONLY != 0 and would_cross(book, book[at + SIDE], price):
        return POST_ONLY_WOULD_CROSS
    return NO_REASON


@compiled_inside
def replace_order(book: Words, out: Rows, n: int, order_id: int, owner: int, price: int, size: int) -> int:
    """Give an order another price and open size. It keeps its place when it only shrinks, or while it waits."""
    at = find_order(book, order_id)
    reason = replace_refusal(book, at, owner, price, size)
    if reason != NO_REASON:
        return emit(out, n, REPLACE_REJECTED, reason, order_id, owner, NOTHING, NOTHING, price, size, NOTHING)
    open_lots = book[at + REMAINING]
    if book[at + FLAGS] & WAITING != 0 or (price == book[at + PRICE] and size <= open_lots):
        book[at + PRICE] = price
        shrink_order(book, at, open_lots - size)
        refresh_touch(book)
        return emit_record(book, out, n, REPLACED, NO_REASON, at, size, size)
    leave_level(book, at)
    book[at + PRICE] = price
    book[at + REMAINING] = size
    n = emit_record(book, out, n, REPLACED, NO_REASON, at, size, size)
    return trade_record(book, out, n, at)
