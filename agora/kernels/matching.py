"""The order book: price-time priority over one flat int64 buffer, any price, a bounded number of orders.

`new_book` makes the buffer, which is the whole state (`book.tobytes()` is a checkpoint). Prices are ticks, sizes
lots, times ns; the book knows no money, no fees and no clock.

- Order ids are unique positive numbers of the caller's; owners are account numbers below the book's capacity.
- Fills are at the resting order's price. A stop triggers when a trade's price reaches it (or at entry, when the
  last price has), acts after the match that triggered it is done, oldest order first, and trades as a limit
  order, or at market when its price is 0.
- Each call writes rows (columns `CODE` to `MAKER_FLAGS`) and returns their number. `ROW_SIZE` is what the row is
  about: lots asked, traded, given up or cut; `ROW_REMAINING` what is open afterwards. An order has ended with a
  CANCELLED, EXPIRED or REJECTED row, or when a FILL or DECREMENTED row leaves it nothing.
- A refused call changes nothing and says why. A call on a book of N orders writes at most 4 * N + 16 rows
  (`new_out` gives the bound for a full book); without that room it raises ValueError before it changes anything.
- REDUCE_ONLY is stored for callers that know positions.
- Calls take Python or int64 numbers and contiguous, writable int64 arrays; another type compiles anew.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled
from agora.kernels.matching_inline import compiled_inside
from agora.kernels.matching_layout import (
    ACCEPTED,
    ASK_PRICE,
    ASK_SIZE,
    BAD_COMBINATION,
    BAD_EXPIRY,
    BAD_PRICE,
    BAD_SIZE,
    BAD_TRIGGER,
    BID_PRICE,
    BID_SIZE,
    BUY,
    CANCEL_BOTH,
    CANCEL_NEWEST,
    CANCEL_OLDEST,
    CANCEL_REJECTED,
    CANCELLED,
    CAPACITY,
    CODE,
    DECREMENT,
    DECREMENTED,
    DUE,
    DUPLICATE_ID,
    EARLIEST_EXPIRY,
    EXPIRE_TS,
    EXPIRED,
    FILL,
    FIRST_ORDER,
    FIRST_ROW,
    FLAGS,
    FOK,
    FOK_NOT_FILLABLE,
    GTC,
    GTD,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_MARGIN,
    INSUFFICIENT_UNITS,
    IOC,
    IOC_REMAINDER,
    LADDER_COUNT,
    LADDER_KEYS,
    LADDER_SPAN,
    LAST_PRICE,
    LEVEL_LOTS,
    LEVEL_ORDERS,
    LEVEL_PRICE,
    LIMIT,
    LIQUIDATION,
    MAKER_FLAGS,
    MAKER_ID,
    MAKER_OWNER,
    MAKER_REMAINING,
    MARKET,
    NEVER,
    NO_LIQUIDITY,
    NO_REASON,
    NOT_YOURS,
    NOTHING,
    NUMBER_MAX,
    ORDER_CAPACITY,
    ORDER_COUNT,
    ORDER_ID,
    OUT_COLUMNS,
    OWNER,
    OWNER_CAPACITY,
    OWNER_NEXT,
    OWNER_ORDERS,
    OWNER_WORDS,
    OWNERS_START,
    POST_ONLY,
    POST_ONLY_WOULD_CROSS,
    PRICE,
    REASON,
    REDUCE_ONLY,
    REDUCE_ONLY_NO_POSITION,
    REDUCED,
    REJECTED,
    REMAINING,
    REPLACE_REJECTED,
    REPLACED,
    REQUESTED,
    ROW_FLAGS,
    ROW_ORDER_ID,
    ROW_OWNER,
    ROW_PRICE,
    ROW_REMAINING,
    ROW_SIDE,
    ROW_SIZE,
    ROWS_BESIDES,
    ROWS_PER_ORDER,
    SELF_TRADE,
    SELF_TRADE_MODE,
    SELL,
    SHORTING_NOT_ALLOWED,
    SIDE,
    STOP,
    TAKE_PROFIT,
    TIF,
    TIMED_HEAD,
    TIMED_NEXT,
    TOO_LARGE,
    TRADE_HIGH,
    TRIGGER,
    TRIGGERED,
    TYPE,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ORDER,
    WAITING,
    emit,
    new_book,
    new_out,
)
from agora.kernels.matching_levels import ladder_of, refresh_touch
from agora.kernels.matching_orders import find_order
from agora.kernels.matching_rules import (
    COST_MAX,
    activate,
    end_order,
    match_order,
    next_triggered,
    place,
    reduce_order,
    replace_order,
    walk_cost,
)

__all__ = [
    "ACCEPTED",
    "ASK_PRICE",
    "ASK_SIZE",
    "BAD_COMBINATION",
    "BAD_EXPIRY",
    "BAD_PRICE",
    "BAD_SIZE",
    "BAD_TRIGGER",
    "BID_PRICE",
    "BID_SIZE",
    "BUY",
    "CANCELLED",
    "CANCEL_BOTH",
    "CANCEL_NEWEST",
    "CANCEL_OLDEST",
    "CANCEL_REJECTED",
    "CAPACITY",
    "CODE",
    "COMMAND_COLUMNS",
    "COST_MAX",
    "DECREMENT",
    "DECREMENTED",
    "DUE",
    "DUPLICATE_ID",
    "EXPIRED",
    "EXPIRE_TS",
    "FILL",
    "FIRST_ORDER",
    "FLAGS",
    "FOK",
    "FOK_NOT_FILLABLE",
    "GTC",
    "GTD",
    "INSUFFICIENT_FUNDS",
    "INSUFFICIENT_MARGIN",
    "INSUFFICIENT_UNITS",
    "IOC",
    "IOC_REMAINDER",
    "LAST_PRICE",
    "LIMIT",
    "LIQUIDATION",
    "MAKER_FLAGS",
    "MAKER_ID",
    "MAKER_OWNER",
    "MAKER_REMAINING",
    "MARKET",
    "NOT_YOURS",
    "NO_LIMIT",
    "NO_LIQUIDITY",
    "NO_REASON",
    "NUMBER_MAX",
    "OP_CANCEL",
    "OP_CANCEL_ALL",
    "OP_EXPIRE",
    "OP_REDUCE",
    "OP_REPLACE",
    "OP_SUBMIT",
    "ORDER_CAPACITY",
    "ORDER_COUNT",
    "ORDER_ID",
    "OUT_COLUMNS",
    "OWNER",
    "OWNERS_START",
    "OWNER_CAPACITY",
    "OWNER_NEXT",
    "OWNER_ORDERS",
    "OWNER_WORDS",
    "POST_ONLY",
    "POST_ONLY_WOULD_CROSS",
    "PRICE",
    "REASON",
    "REDUCED",
    "REDUCE_ONLY",
    "REDUCE_ONLY_NO_POSITION",
    "REJECTED",
    "REMAINING",
    "REPLACED",
    "REPLACE_REJECTED",
    "REQUESTED",
    "ROWS_BESIDES",
    "ROWS_PER_ORDER",
    "ROW_FLAGS",
    "ROW_ORDER_ID",
    "ROW_OWNER",
    "ROW_PRICE",
    "ROW_REMAINING",
    "ROW_SIDE",
    "ROW_SIZE",
    "SELF_TRADE",
    "SELF_TRADE_MODE",
    "SELL",
    "SHORTING_NOT_ALLOWED",
    "SIDE",
    "STOP",
    "TAKE_PROFIT",
    "TIF",
    "TOO_LARGE",
    "TRIGGER",
    "TRIGGERED",
    "TYPE",
    "UNKNOWN_ACCOUNT",
    "UNKNOWN_ORDER",
    "WAITING",
    "activate",
    "cancel",
    "cancel_all",
    "cancel_all_of",
    "cancel_order",
    "cost_to_fill",
    "depth",
    "end_order",
    "expire",
    "expire_due",
    "find_order",
    "fire_triggered",
    "match_order",
    "need_room",
    "new_book",
    "new_out",
    "next_triggered",
    "order_at",
    "place",
    "reduce",
    "reduce_order",
    "reduce_own",
    "replace",
    "replace_order",
    "run_stream",
    "set_last",
    "submit",
    "walk_cost",
]

# Columns of `run_stream`'s commands: what to do, then the arguments of `submit` in its order.
OP_SUBMIT, OP_CANCEL, OP_CANCEL_ALL, OP_REPLACE, OP_EXPIRE, OP_REDUCE = 1, 2, 3, 4, 5, 6
COMMAND_COLUMNS = 13

NO_LIMIT = NUMBER_MAX  # an allowance that never binds


@compiled_inside
def need_room(book: Words, out: Rows, n: int) -> None:
    """Raise ValueError unless any one call can write its rows from `n` on."""
    if out.shape[1] != OUT_COLUMNS or out.shape[0] - n < ROWS_PER_ORDER * book[ORDER_COUNT] + ROWS_BESIDES:
        raise ValueError("out must have 13 columns and at least 4 * orders + 16 free rows")


@compiled_inside
def fire_triggered(book: Words, out: Rows, n: int) -> int:
    """Activate what the last trades triggered, and what that triggers. Each round ends or rests one waiting order."""
    if book[TRADE_HIGH] == 0:
        return n
    order_id = next_triggered(book)
    while order_id != 0:
        n = activate(book, out, n, order_id, NO_LIMIT, NOTHING)
        order_id = next_triggered(book)
    return n


@compiled_inside
def cancel_order(book: Words, out: Rows, n: int, order_id: int, owner: int) -> int:
    """Cancel one order of `owner`."""
    at = find_order(book, order_id)
    if at == 0:
        return emit(out, n, CANCEL_REJECTED, UNKNOWN_ORDER, order_id, owner, 0, 0, 0, 0, 0)
    if book[at + OWNER] != owner:
        return emit(out, n, CANCEL_REJECTED, NOT_YOURS, order_id, owner, 0, 0, 0, 0, 0)
    n = end_order(book, out, n, at, CANCELLED, REQUESTED)
    refresh_touch(book)
    return n


@compiled_inside
def cancel_all_of(book: Words, out: Rows, n: int, owner: int, reason: int) -> int:
    """Cancel all orders of `owner`, oldest first."""
    if owner < 0 or owner >= book[OWNER_CAPACITY]:
        return emit(out, n, CANCEL_REJECTED, UNKNOWN_ACCOUNT, 0, owner, 0, 0, 0, 0, 0)
    at = book[book[OWNERS_START] + owner * OWNER_WORDS + FIRST_ORDER]
    while at != 0:
        after = book[at + OWNER_NEXT]
        n = end_order(book, out, n, at, CANCELLED, reason)
        at = after
    refresh_touch(book)
    return n


@compiled_inside
def expire_due(book: Words, out: Rows, n: int, now_ts: int) -> int:
    """Expire the orders due at `now_ts`, oldest first."""
    if now_ts < book[EARLIEST_EXPIRY]:
        return n
    earliest = NEVER
    at = book[TIMED_HEAD]
    while at != 0:
        after = book[at + TIMED_NEXT]
        if book[at + EXPIRE_TS] <= now_ts:
            n = end_order(book, out, n, at, EXPIRED, DUE)
        else:
            earliest = min(earliest, book[at + EXPIRE_TS])
        at = after
    book[EARLIEST_EXPIRY] = earliest
    refresh_touch(book)
    return n


@compiled_inside
def reduce_own(book: Words, out: Rows, n: int, order_id: int, owner: int, lots: int) -> int:
    """Take lots off one order of `owner`."""
    at = find_order(book, order_id)
    if at == 0:
        return emit(out, n, CANCEL_REJECTED, UNKNOWN_ORDER, order_id, owner, 0, 0, 0, lots, 0)
    if book[at + OWNER] != owner:
        return emit(out, n, CANCEL_REJECTED, NOT_YOURS, order_id, owner, 0, 0, 0, lots, 0)
    if lots <= 0:
        return emit(out, n, CANCEL_REJECTED, BAD_SIZE, order_id, owner, 0, 0, 0, lots, 0)
    n = reduce_order(book, out, n, at, lots, REQUESTED)
    refresh_touch(book)
    return n


@compiled
def submit(
    book: Words,
    out: Rows,
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
    """Take a new order: REJECTED, or ACCEPTED and what follows from it, triggered orders included.

    `price` is 0 for market orders, `trigger` for all but stops and take-profits, `expire_ts` for all but GTD. A full
    book refuses what might rest. Expiry of others is not looked at: call `expire` first.
    """
    need_room(book, out, FIRST_ROW)
    n = place(
        book,
        out,
        FIRST_ROW,
        order_id,
        owner,
        side,
        order_type,
        tif,
        flags,
        price,
        trigger,
        size,
        expire_ts,
        self_trade,
        now_ts,
    )
    return fire_triggered(book, out, n)


@compiled
def cancel(book: Words, out: Rows, order_id: int, owner: int) -> int:
    """Cancel an order: CANCELLED, or CANCEL_REJECTED when it is unknown or another's."""
    need_room(book, out, FIRST_ROW)
    return cancel_order(book, out, FIRST_ROW, order_id, owner)


@compiled
def cancel_all(book: Words, out: Rows, owner: int) -> int:
    """Cancel all orders of an owner, oldest first."""
    need_room(book, out, FIRST_ROW)
    return cancel_all_of(book, out, FIRST_ROW, owner, REQUESTED)


@compiled
def replace(book: Words, out: Rows, order_id: int, owner: int, price: int, size: int) -> int:
    """Give an order another price and open size: REPLACED and what follows, or REPLACE_REJECTED.

    Priority is kept when the price stays and the size does not rise; otherwise it acts as a new order and may trade.
    A waiting order keeps its trigger and its place.
    """
    need_room(book, out, FIRST_ROW)
    n = replace_order(book, out, FIRST_ROW, order_id, owner, price, size)
    return fire_triggered(book, out, n)


@compiled
def reduce(book: Words, out: Rows, order_id: int, owner: int, lots: int) -> int:
    """Take lots off an order, which keeps its priority: REDUCED, or CANCELLED when nothing is left."""
    need_room(book, out, FIRST_ROW)
    return reduce_own(book, out, FIRST_ROW, order_id, owner, lots)


@compiled
def expire(book: Words, out: Rows, now_ts: int) -> int:
    """Expire the GTD orders whose time has come, oldest first."""
    need_room(book, out, FIRST_ROW)
    return expire_due(book, out, FIRST_ROW, now_ts)


@compiled
def set_last(book: Words, price: int) -> None:
    """Set the last price before the first trade (the listing price); triggers nothing."""
    book[LAST_PRICE] = price


@compiled
def order_at(book: Words, order_id: int) -> int:
    """Return where a live order's record stands (`book[at + PRICE]`), or 0. It holds until the next change."""
    return find_order(book, order_id)


@compiled
def cost_to_fill(book: Words, side: int, size: int, limit_price: int, owner: int) -> tuple[int, int]:
    """Return how many of `size` lots others than `owner` offer up to the limit (0: any price), and the sum of price
    times lots, which is `COST_MAX` when it does not fit.
    """
    return walk_cost(book, side, size, limit_price, owner, False)


@compiled
def depth(book: Words, side: int, levels_out: Rows) -> int:
    """Write price, lots and number of orders of the best levels, best first; return how many there are rows of."""
    ladder = ladder_of(side)
    count = min(levels_out.shape[0], book[ladder + LADDER_COUNT] - 1)
    last = book[ladder + LADDER_KEYS] + book[ladder + LADDER_SPAN] + book[ladder + LADDER_COUNT] - 1
    for row in range(count):
        level = book[last - row]
        levels_out[row, 0] = book[level + LEVEL_PRICE]
        levels_out[row, 1] = book[level + LEVEL_LOTS]
        levels_out[row, 2] = book[level + LEVEL_ORDERS]
    return int(count)


@compiled_inside
def run_command(book: Words, out: Rows, n: int, c: Words) -> int:
    """Play one command; an unknown one raises ValueError."""
    if c[0] == OP_SUBMIT:
        n = place(book, out, n, c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12])
        return fire_triggered(book, out, n)
    if c[0] == OP_CANCEL:
        return cancel_order(book, out, n, c[1], c[2])
    if c[0] == OP_CANCEL_ALL:
        return cancel_all_of(book, out, n, c[2], REQUESTED)
    if c[0] == OP_REPLACE:
        n = replace_order(book, out, n, c[1], c[2], c[7], c[9])
        return fire_triggered(book, out, n)
    if c[0] == OP_EXPIRE:
        return expire_due(book, out, n, c[12])
    if c[0] == OP_REDUCE:
        return reduce_own(book, out, n, c[1], c[2], c[9])
    raise ValueError("a command begins with one of OP_SUBMIT to OP_REDUCE")


@compiled
def run_stream(book: Words, commands: Rows, out: Rows) -> tuple[int, int]:
    """Play commands until they or the rows end; return how many were played and how many rows they wrote."""
    n = FIRST_ROW
    for number in range(commands.shape[0]):
        if out.shape[0] - n < ROWS_PER_ORDER * book[ORDER_COUNT] + ROWS_BESIDES:
            return number, n
        n = run_command(book, out, n, commands[number])
    return commands.shape[0], n
