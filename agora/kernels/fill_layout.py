"""The paper-fill buffer: where each word stands, and the life of order records in it.

Internal to the fill kernel; what others may use is exported by `fills`.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled_inside

# Codes, reasons and order attributes: part of the public interface, re-exported by `fills`.
ACCEPTED, REJECTED, FILL, CANCELLED, EXPIRED, TRIGGERED, AMENDED, AMEND_REJECTED, CANCEL_REJECTED = range(1, 10)

NO_REASON = 0
POST_ONLY_WOULD_CROSS = 1
REDUCE_ONLY_NO_POSITION = 2
NO_MARKET = 3
FOK_NOT_FILLABLE = 4
IOC_REMAINDER = 5
CAPACITY = 6
DUPLICATE_ID = 7
UNKNOWN_ORDER = 8
REQUESTED = 9
REDUCE_ONLY_FLAT = 10
PARENT_GONE = 11
ALREADY_DONE = 12
INVALID = 13
EXPIRED_ON_ARRIVAL = 14

BUY, SELL = 1, -1
LIMIT, MARKET, STOP, TAKE_PROFIT = 1, 2, 3, 4
GTC, IOC, FOK, GTD = 1, 2, 3, 4
POST_ONLY, REDUCE_ONLY = 1, 2
SEEN_NOTHING, CANDLES, TRADES, QUOTES, DEPTH = 0, 1, 2, 3, 4

OUT_COLUMNS = 6
PPM = 1_000_000

# Header words.
ORDER_CAPACITY, LEVEL_CAPACITY, HALF_SPREAD_PPM, PARTICIPATION_PPM, CANCEL_AHEAD_PPM = 0, 1, 2, 3, 4
COUNT, ENDED, EVENT, POSITION_LOTS, RING_NEXT = 5, 6, 7, 8, 9
HAS_CANDLE, HAS_TRADE, HAS_QUOTE, HAS_DEPTH = 10, 11, 12, 13
CLOSE_TICKS, LAST_TRADE_TICKS, BAR_LOTS, TRADE_LOTS, FLOW_LOTS = 14, 15, 16, 17, 18
RING_START, BIDS_START, ASKS_START, BID_COUNT, ASK_COUNT = 19, 20, 21, 22, 23
BID_TOUCH, ASK_TOUCH = 24, 27  # each: price, size reported, lots of it we took
HEADER_WORDS = 32

# Words of an order record. Records stand in order of time priority; `finish` closes the gaps.
LIVE, ORDER_ID, SIDE, TYPE, TIF, FLAGS, PRICE, TRIGGER = 0, 1, 2, 3, 4, 5, 6, 7
REMAINING, FILLED, EXPIRE_TS, PARENT_ID, IS_TRIGGERED = 8, 9, 10, 11, 12
QUEUE_AHEAD, SHOWN, TRADED_HERE, FRESH_EVENT, VISIT_EVENT = 13, 14, 15, 16, 17
ORDER_WORDS = 18

RING_WORDS = 2  # id and filled lots of an order that ended
LEVEL_WORDS = 4  # price, size reported, lots of it we took, event of the last report
LEVEL_TAKEN, LEVEL_EVENT = 2, 3

UNKNOWN = -1  # a queue or a displayed size we cannot see


def _typed(value: int) -> int:
    """Return a 64-bit constant. Numba compiles a function anew for each literal it is called with, not for
    these.
    """
    return cast("int", np.int64(value))


NO_LIMIT, NO_TRADE, FIRST_ROW = _typed(0), _typed(0), _typed(0)
MAKER, TAKER = _typed(0), _typed(1)

# Between two fills of one call each order emits at most one lay-off, one trigger and one end; the fourth row
# per order and the constant are headroom for the rows that open a call.
RESERVED_ROWS_PER_ORDER = 4
RESERVED_ROWS = 16
FREE_ROWS = 64  # a call can always report at least FREE_ROWS - RESERVED_ROWS fills


@compiled_inside
def emit(out: Rows, n: int, code: int, order_id: int, price: int, size: int, detail: int, remaining: int) -> int:
    """Write row `n` of `out` and return the next row number."""
    out[n, 0] = code
    out[n, 1] = order_id
    out[n, 2] = price
    out[n, 3] = size
    out[n, 4] = detail
    out[n, 5] = remaining
    return n + 1


@compiled_inside
def orders_end(buf: Words) -> int:
    """Return the word behind the last order record."""
    return int(HEADER_WORDS + buf[COUNT] * ORDER_WORDS)


@compiled_inside
def has_room(buf: Words, out: Rows, n: int) -> bool:
    """Say whether one more fill leaves enough rows for all that may still have to be said in this call."""
    return bool(n + RESERVED_ROWS_PER_ORDER * buf[COUNT] + RESERVED_ROWS <= out.shape[0])


@compiled_inside
def find_order(buf: Words, order_id: int) -> int:
    """Return the record of a live order, or -1."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + LIVE] == 1 and buf[at + ORDER_ID] == order_id:
            return at
    return -1


@compiled_inside
def ended_fill_lots(buf: Words, order_id: int) -> int:
    """Return what a recently ended order had filled, or -1 for an order not remembered."""
    capacity = buf[ORDER_CAPACITY]
    for age in range(1, capacity + 1):
        slot = buf[RING_START] + (buf[RING_NEXT] - age) % capacity * RING_WORDS
        if buf[slot] == order_id:
            return int(buf[slot + 1])
    return -1


@compiled_inside
def end_order(buf: Words, at: int) -> None:
    """Take an order out of play and remember what it had filled."""
    buf[at + LIVE] = 0
    slot = buf[RING_START] + buf[RING_NEXT] * RING_WORDS
    buf[slot] = buf[at + ORDER_ID]
    buf[slot + 1] = buf[at + FILLED]
    buf[RING_NEXT] = (buf[RING_NEXT] + 1) % buf[ORDER_CAPACITY]
    buf[ENDED] += 1


@compiled_inside
def close_order(buf: Words, out: Rows, n: int, at: int, code: int, reason: int) -> int:
    """End an order that still has something open; the row's size is what is given up."""
    n = emit(out, n, code, buf[at + ORDER_ID], buf[at + PRICE], buf[at + REMAINING], reason, 0)
    buf[at + REMAINING] = 0
    end_order(buf, at)
    return n


@compiled_inside
def has_live_parent(buf: Words, at: int) -> bool:
    """Say whether the order is a bracket leg whose parent can still fill."""
    return bool(buf[at + PARENT_ID] != 0 and find_order(buf, buf[at + PARENT_ID]) >= 0)


@compiled_inside
def fillable_lots(buf: Words, at: int) -> int:
    """Return what the order may fill now: its remaining size, for reduce-only clipped to the position against
    it.
    """
    if buf[at + LIVE] == 0:
        return 0
    if buf[at + FLAGS] & REDUCE_ONLY == 0:
        return int(buf[at + REMAINING])
    return int(max(0, min(buf[at + REMAINING], -buf[POSITION_LOTS] * buf[at + SIDE])))


@compiled_inside
def sweep_reduce_only(buf: Words, out: Rows, n: int) -> int:
    """End the active reduce-only orders that have no position left to reduce.

    A leg whose parent can still fill is only laid off (AMENDED to zero), because the parent's next fill needs
    it.
    """
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + FLAGS] & REDUCE_ONLY == 0 or buf[at + LIVE] == 0 or buf[at + REMAINING] == 0:
            continue
        if buf[POSITION_LOTS] * buf[at + SIDE] < 0:
            continue
        if has_live_parent(buf, at):
            buf[at + REMAINING] = 0
            n = emit(out, n, AMENDED, buf[at + ORDER_ID], buf[at + PRICE], 0, REDUCE_ONLY_FLAT, 0)
        else:
            n = close_order(buf, out, n, at, CANCELLED, REDUCE_ONLY_FLAT)
    return n


@compiled_inside
def activate_children(buf: Words, parent_id: int, size: int) -> None:
    """Add a parent's fill to the size of its legs; they queue anew and count as fresh in this event."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + LIVE] == 0 or buf[at + PARENT_ID] != parent_id:
            continue
        if buf[at + REMAINING] == 0:
            buf[at + IS_TRIGGERED] = 0
        buf[at + REMAINING] += size
        buf[at + QUEUE_AHEAD] = UNKNOWN
        buf[at + SHOWN] = UNKNOWN
        buf[at + TRADED_HERE] = 0
        buf[at + FRESH_EVENT] = buf[EVENT]


@compiled_inside
def fill_order(buf: Words, out: Rows, n: int, at: int, price: int, size: int, is_taker: int) -> int:
    """Fill `size` lots (at most `fillable_lots`), move the position and let legs and reduce-only orders
    follow.
    """
    buf[at + REMAINING] -= size
    buf[at + FILLED] += size
    buf[POSITION_LOTS] += buf[at + SIDE] * size
    n = emit(out, n, FILL, buf[at + ORDER_ID], price, size, is_taker, buf[at + REMAINING])
    activate_children(buf, buf[at + ORDER_ID], size)
    if buf[at + REMAINING] == 0 and not has_live_parent(buf, at):
        end_order(buf, at)
    return sweep_reduce_only(buf, out, n)


@compiled_inside
def next_resting(buf: Words, side: int, bound: int) -> int:
    """Return the best limit order of a side priced at `bound` or better that this event has not visited, or
    -1.

    Legs activated by this very event are left out: what happened first inside the event is unknown.
    """
    best = -1
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + LIVE] == 0 or buf[at + TYPE] != LIMIT or buf[at + SIDE] != side or buf[at + REMAINING] == 0:
            continue
        if buf[at + VISIT_EVENT] == buf[EVENT] or buf[at + FRESH_EVENT] == buf[EVENT]:
            continue
        if buf[at + PRICE] * side < bound * side:
            continue
        if best < 0 or buf[at + PRICE] * side > buf[best + PRICE] * side:
            best = at
    return best


@compiled_inside
def release_orphans(buf: Words, out: Rows, n: int) -> int:
    """Free the legs of parents that ended: active ones work on alone, those without size are cancelled."""
    changed = True
    while changed:  # a cancelled leg may itself be a parent; every round ends at least one order
        changed = False
        for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
            if buf[at + LIVE] == 0 or buf[at + PARENT_ID] == 0 or has_live_parent(buf, at):
                continue
            buf[at + PARENT_ID] = 0
            if buf[at + REMAINING] == 0:
                n = close_order(buf, out, n, at, CANCELLED, PARENT_GONE)
                changed = True
    return n


@compiled_inside
def copy_record(buf: Words, source: int, target: int) -> None:
    """Copy one order record."""
    for word in range(ORDER_WORDS):
        buf[target + word] = buf[source + word]


@compiled_inside
def finish(buf: Words, out: Rows, n: int) -> int:
    """End a call: free orphaned legs and close the gaps of ended orders, keeping time priority."""
    if buf[ENDED] == 0:
        return n
    n = release_orphans(buf, out, n)
    target = HEADER_WORDS
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + LIVE] == 0:
            continue
        if at != target:
            copy_record(buf, at, target)
        target += ORDER_WORDS
    buf[COUNT] = (target - HEADER_WORDS) // ORDER_WORDS
    buf[ENDED] = 0
    return n


@compiled_inside
def begin(buf: Words, out: Rows, ts_ns: int) -> int:
    """Start a call: expire what is due at `ts_ns` and end reduce-only orders that lost their position."""
    if out.shape[0] < RESERVED_ROWS_PER_ORDER * buf[ORDER_CAPACITY] + FREE_ROWS or out.shape[1] != OUT_COLUMNS:
        raise ValueError("out must have 6 columns and at least 4 * order_capacity + 64 rows")
    buf[EVENT] += 1
    n = FIRST_ROW
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + TIF] == GTD and buf[at + EXPIRE_TS] <= ts_ns:
            n = close_order(buf, out, n, at, EXPIRED, NO_REASON)
    n = sweep_reduce_only(buf, out, n)
    return finish(buf, out, n)


@compiled_inside
def append_order(
    buf: Words,
    order_id: int,
    side: int,
    order_type: int,
    tif: int,
    flags: int,
    price: int,
    trigger: int,
    size: int,
    expire_ts_ns: int,
    parent_id: int,
) -> int:
    """Write a new record behind all others and return it. The caller has checked the capacity."""
    at = orders_end(buf)
    buf[COUNT] += 1
    for word in range(ORDER_WORDS):
        buf[at + word] = 0
    buf[at + LIVE] = 1
    buf[at + ORDER_ID] = order_id
    buf[at + SIDE] = side
    buf[at + TYPE] = order_type
    buf[at + TIF] = tif
    buf[at + FLAGS] = flags
    buf[at + PRICE] = price
    buf[at + TRIGGER] = trigger
    buf[at + REMAINING] = size
    buf[at + EXPIRE_TS] = expire_ts_ns
    buf[at + PARENT_ID] = parent_id
    buf[at + QUEUE_AHEAD] = UNKNOWN
    buf[at + SHOWN] = UNKNOWN
    return at


@compiled_inside
def move_to_back(buf: Words, at: int) -> int:
    """Give up an order's time priority and return its new record."""
    last = orders_end(buf) - ORDER_WORDS
    while at < last:
        for word in range(ORDER_WORDS):
            kept = buf[at + word]
            buf[at + word] = buf[at + ORDER_WORDS + word]
            buf[at + ORDER_WORDS + word] = kept
        at += ORDER_WORDS
    return at


def new_buffer(
    *,
    order_capacity: int,
    level_capacity: int,
    half_spread_ppm: int,
    participation_ppm: int,
    cancel_ahead_ppm: int,
) -> Words:
    """Return a buffer with the given limits and an empty market."""
    if order_capacity < 1 or level_capacity < 1:
        raise ValueError(f"capacities must be positive: orders {order_capacity}, levels {level_capacity}")
    for ppm in (half_spread_ppm, participation_ppm, cancel_ahead_ppm):
        if not 0 <= ppm <= PPM:
            raise ValueError(f"a share in ppm lies between 0 and {PPM}: {ppm}")
    ring_start = HEADER_WORDS + order_capacity * ORDER_WORDS
    bids_start = ring_start + order_capacity * RING_WORDS
    asks_start = bids_start + level_capacity * LEVEL_WORDS
    buf = np.zeros(asks_start + level_capacity * LEVEL_WORDS, dtype=np.int64)
    buf[ORDER_CAPACITY] = order_capacity
    buf[LEVEL_CAPACITY] = level_capacity
    buf[HALF_SPREAD_PPM] = half_spread_ppm
    buf[PARTICIPATION_PPM] = participation_ppm
    buf[CANCEL_AHEAD_PPM] = cancel_ahead_ppm
    buf[RING_START] = ring_start
    buf[BIDS_START] = bids_start
    buf[ASKS_START] = asks_start
    return buf
