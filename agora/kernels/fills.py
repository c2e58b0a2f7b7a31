"""Paper fills: what a venue would have done with our orders, from candles, trades, quotes or depth.

One flat int64 buffer per instrument is the whole state (`buf.tobytes()` is a checkpoint, `restore` reads it
back). Prices are ticks above zero, sizes lots, times `ts_ns`. The kernel knows no fees, no latency and no
clock.

Rules that hold throughout:

- The best input seen wins: DEPTH, QUOTES, TRADES, CANDLES. `depth_lost` takes DEPTH away until the next
  snapshot. Candles fill nothing once anything better was seen; trades move queues at QUOTES and DEPTH.
- In doubt the trader loses: roundings go against the order, stops come before profits, a touch of an order's
  own side is no fill, what we took is gone until the feed reports another size at that price.
- Trades are expected before the depth update that shows their effect. Where a feed sends them after it, a
  decrease counts as cancels first, and the queue moves up to `cancel_ahead_ppm` of the trade too far.
- Every call writes rows (code, order id, price, size, detail, remaining lots) to `out` and returns their
  number. `detail` is the reason of a refusal or end, and 1 (taker) or 0 (maker) of a fill. `out` needs at
  least 4 * order_capacity + 64 rows (`new_out` gives them); fills beyond wait for the next event.
- Calls take Python or int64 numbers and contiguous, writable int64 arrays; another type compiles anew.
"""

from __future__ import annotations

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled, compiled_inside
from agora.kernels.fill_book import (
    drop_unreported,
    market_price,
    observe_queues,
    report_level,
    report_touch,
    seen_level,
    touch_price,
    uncross,
)
from agora.kernels.fill_layout import (
    ACCEPTED,
    ALREADY_DONE,
    AMEND_REJECTED,
    AMENDED,
    ASK_COUNT,
    BID_COUNT,
    BUY,
    CANCEL_REJECTED,
    CANCELLED,
    CANDLES,
    CAPACITY,
    CLOSE_TICKS,
    COUNT,
    DEPTH,
    DUPLICATE_ID,
    EXPIRED,
    EXPIRED_ON_ARRIVAL,
    FILL,
    FLAGS,
    FOK,
    FOK_NOT_FILLABLE,
    FREE_ROWS,
    GTC,
    GTD,
    HAS_CANDLE,
    HAS_DEPTH,
    HAS_QUOTE,
    HAS_TRADE,
    HEADER_WORDS,
    INVALID,
    IOC,
    IOC_REMAINDER,
    IS_TRIGGERED,
    LAST_TRADE_TICKS,
    LIMIT,
    MARKET,
    NO_MARKET,
    NO_REASON,
    NO_TRADE,
    ORDER_WORDS,
    OUT_COLUMNS,
    PARENT_GONE,
    POSITION_LOTS,
    POST_ONLY,
    POST_ONLY_WOULD_CROSS,
    PRICE,
    QUOTES,
    REDUCE_ONLY,
    REDUCE_ONLY_FLAT,
    REDUCE_ONLY_NO_POSITION,
    REJECTED,
    REMAINING,
    REQUESTED,
    RESERVED_ROWS_PER_ORDER,
    SEEN_NOTHING,
    SELL,
    SIDE,
    STOP,
    TAKE_PROFIT,
    TRADES,
    TRIGGER,
    TRIGGERED,
    TYPE,
    UNKNOWN_ORDER,
    append_order,
    begin,
    close_order,
    emit,
    ended_fill_lots,
    find_order,
    finish,
    move_to_back,
    new_buffer,
    orders_end,
    sweep_reduce_only,
)
from agora.kernels.fill_rules import (
    enter_market,
    is_malformed,
    refusal,
    starting_lots,
    work_bar,
    work_book,
    work_trade,
    would_cross,
)

__all__ = [
    "ACCEPTED",
    "ALREADY_DONE",
    "AMENDED",
    "AMEND_REJECTED",
    "BUY",
    "CANCELLED",
    "CANCEL_REJECTED",
    "CANDLES",
    "CAPACITY",
    "DEPTH",
    "DUPLICATE_ID",
    "EXPIRED",
    "EXPIRED_ON_ARRIVAL",
    "FILL",
    "FOK",
    "FOK_NOT_FILLABLE",
    "GTC",
    "GTD",
    "INVALID",
    "IOC",
    "IOC_REMAINDER",
    "LIMIT",
    "MARKET",
    "NO_MARKET",
    "NO_REASON",
    "PARENT_GONE",
    "POST_ONLY",
    "POST_ONLY_WOULD_CROSS",
    "QUOTES",
    "REDUCE_ONLY",
    "REDUCE_ONLY_FLAT",
    "REDUCE_ONLY_NO_POSITION",
    "REJECTED",
    "REQUESTED",
    "SEEN_NOTHING",
    "SELL",
    "STOP",
    "TAKE_PROFIT",
    "TRADES",
    "TRIGGERED",
    "UNKNOWN_ORDER",
    "Rows",
    "Words",
    "advance",
    "amend",
    "arrive",
    "best_ask",
    "best_bid",
    "cancel",
    "cancel_all",
    "create",
    "depth_lost",
    "input_level",
    "last_price",
    "market_fill_price",
    "new_out",
    "on_candle",
    "on_depth",
    "on_quote",
    "on_trade",
    "open_count",
    "position",
    "remaining",
    "restore",
    "set_position",
    "warm_up",
]


def create(
    *,
    order_capacity: int = 64,
    level_capacity: int = 1000,
    half_spread_ppm: int = 500,
    participation_ppm: int = 100_000,
    cancel_ahead_ppm: int = 500_000,
) -> Words:
    """Return the buffer of one instrument without orders, position or market.

    `half_spread_ppm` is paid around closes and last trades (500 is 5 bps); `participation_ppm` is our share
    of traded volume on candles and trades; `cancel_ahead_ppm` is the part of the pro-rata share of cancelled
    lots that is taken to have stood ahead of us (0: all cancels are behind us). An order costs 144 bytes and
    its memory 16, a level 64.
    """
    return new_buffer(
        order_capacity=order_capacity,
        level_capacity=level_capacity,
        half_spread_ppm=half_spread_ppm,
        participation_ppm=participation_ppm,
        cancel_ahead_ppm=cancel_ahead_ppm,
    )


def restore(checkpoint: bytes) -> Words:
    """Return the writable buffer whose `tobytes()` was `checkpoint`."""
    return np.frombuffer(checkpoint, dtype=np.int64).copy()


def new_out(*, order_capacity: int = 64) -> Rows:
    """Return an array of rows that suffices for every call on a buffer of that capacity."""
    return np.zeros((RESERVED_ROWS_PER_ORDER * order_capacity + 2 * FREE_ROWS, OUT_COLUMNS), dtype=np.int64)


@compiled
def arrive(
    buf: Words,
    out: Rows,
    ts_ns: int,
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
    """Let an order reach the venue now: REJECTED, or ACCEPTED and what follows from it.

    `price` is for LIMIT, `trigger` for STOP and TAKE_PROFIT (market orders once hit), `expire_ts_ns` for GTD.
    With a `parent_id` the order is a bracket leg, sent after its parent: it sleeps with size 0 (`size` is
    ignored, IOC and FOK work as GTC) and each fill of the parent adds to it, fills from before its arrival
    included. A leg ends by a fill or cancel after its parent ended; while the parent lives a FILL with 0
    remaining is not its end.

    MARKET and a LIMIT that crosses take: DEPTH level by level; QUOTES the touch, then guessed levels of the
    same size each one spread worse, 100 at most; TRADES and CANDLES the last price half a spread worse,
    bounded by our share of the last trade or bar. A MARKET remainder works on at the following events
    (CANDLES: at the open), IOC ends it. FOK is judged by what is visible. A STOP already hit triggers at
    once.
    """
    n = begin(buf, out, ts_ns)
    if is_malformed(order_id, side, order_type, tif, price, trigger, size, parent_id):
        return emit(out, n, REJECTED, order_id, price, size, INVALID, 0)
    lots = starting_lots(buf, parent_id, size)
    reason = refusal(buf, ts_ns, order_id, side, order_type, tif, flags, price, expire_ts_ns, parent_id, lots)
    if reason != NO_REASON:
        return emit(out, n, REJECTED, order_id, price, size, reason, 0)
    if (parent_id != 0 or order_type >= STOP) and tif != GTD:
        tif = GTC
    at = append_order(buf, order_id, side, order_type, tif, flags, price, trigger, lots, expire_ts_ns, parent_id)
    n = emit(out, n, ACCEPTED, order_id, price, lots, NO_REASON, lots)
    n = sweep_reduce_only(buf, out, n)
    n = enter_market(buf, out, n, at)
    return finish(buf, out, n)


@compiled
def cancel(buf: Words, out: Rows, ts_ns: int, order_id: int) -> int:
    """Cancel an order: CANCELLED, or CANCEL_REJECTED with ALREADY_DONE or UNKNOWN_ORDER."""
    n = begin(buf, out, ts_ns)
    at = find_order(buf, order_id)
    if at < 0:
        reason = ALREADY_DONE if ended_fill_lots(buf, order_id) >= 0 else UNKNOWN_ORDER
        return emit(out, n, CANCEL_REJECTED, order_id, 0, 0, reason, 0)
    n = close_order(buf, out, n, at, CANCELLED, REQUESTED)
    return finish(buf, out, n)


@compiled
def cancel_all(buf: Words, out: Rows, ts_ns: int) -> int:
    """Cancel every order, bracket legs included."""
    n = begin(buf, out, ts_ns)
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        n = close_order(buf, out, n, at, CANCELLED, REQUESTED)
    return finish(buf, out, n)


@compiled_inside
def amend_refusal(buf: Words, at: int, price: int, trigger: int, size: int) -> int:
    """Return why an amendment is not taken, or NO_REASON."""
    if price < 0 or trigger < 0 or size < 0:
        return INVALID
    if buf[at + IS_TRIGGERED] == 1:
        return ALREADY_DONE
    if buf[at + TYPE] != LIMIT or price == 0 or buf[at + REMAINING] == 0:
        return NO_REASON
    if buf[at + FLAGS] & POST_ONLY != 0 and would_cross(buf, buf[at + SIDE], price):
        return POST_ONLY_WOULD_CROSS
    return NO_REASON


@compiled
def amend(buf: Words, out: Rows, ts_ns: int, order_id: int, price: int, trigger: int, size: int) -> int:
    """Change an order (0 leaves a value as it is; `size` is the new remaining size): AMENDED or
    AMEND_REJECTED.

    Only a mere reduction of the size keeps the queue; any other change queues anew and may take at once. The
    size of a sleeping leg comes from its parent and is left alone; a triggered order is ALREADY_DONE.
    """
    n = begin(buf, out, ts_ns)
    at = find_order(buf, order_id)
    if at < 0:
        reason = ALREADY_DONE if ended_fill_lots(buf, order_id) >= 0 else UNKNOWN_ORDER
        return emit(out, n, AMEND_REJECTED, order_id, price, size, reason, 0)
    reason = amend_refusal(buf, at, price, trigger, size)
    if reason != NO_REASON:
        return emit(out, n, AMEND_REJECTED, order_id, price, size, reason, buf[at + REMAINING])
    held = buf[at + REMAINING]
    new_price = price if price > 0 else buf[at + PRICE]
    new_trigger = trigger if trigger > 0 else buf[at + TRIGGER]
    new_size = size if size > 0 and held > 0 else held
    moved = new_price != buf[at + PRICE] or new_trigger != buf[at + TRIGGER] or new_size > held
    buf[at + PRICE] = new_price
    buf[at + TRIGGER] = new_trigger
    buf[at + REMAINING] = new_size
    n = emit(out, n, AMENDED, order_id, new_price, new_size, NO_REASON, new_size)
    if moved:
        at = move_to_back(buf, at)
        n = enter_market(buf, out, n, at)
    return finish(buf, out, n)


@compiled
def advance(buf: Words, out: Rows, ts_ns: int) -> int:
    """Let time pass without a market event: EXPIRED for GTD orders whose time is at or before `ts_ns`."""
    return begin(buf, out, ts_ns)


@compiled
def on_candle(buf: Words, out: Rows, ts_ns: int, open_ticks: int, high: int, low: int, close: int, volume: int) -> int:
    """Work one closed bar, in this order; all fills of a bar share `participation_ppm` of its volume, rounded
    down.

    1. Market orders left from before: at the open, half a spread worse.
    2. Stops the bar reached (sell: low <= trigger): at the trigger, or the open if beyond it, half a spread
       worse.
    3. Take-profits the bar passed (sell: high > trigger): at the trigger half a spread worse, even on a gap.
    4. Limits the bar passed (buy: low < price): at the limit, even on a gap.
    5. Stops of positions opened in this bar. Their profit legs wait, as the order inside the bar is unknown.

    Malformed bars (no positive low, high below low, open or close outside) are ignored.
    """
    n = begin(buf, out, ts_ns)
    if low <= 0 or open_ticks < low or open_ticks > high or close < low or close > high or volume < 0:
        return n
    buf[HAS_CANDLE] = 1
    if seen_level(buf) != CANDLES:
        buf[CLOSE_TICKS] = close
        return n
    n = work_bar(buf, out, n, open_ticks, high, low, close, volume)
    return finish(buf, out, n)


@compiled
def on_quote(buf: Words, out: Rows, ts_ns: int, bid: int, bid_size: int, ask: int, ask_size: int) -> int:
    """Work the best bid and ask (a side without price or size is empty; a crossed quote is ignored).

    Stops trigger when the opposite touch reaches them (sell: bid <= trigger), take-profits likewise (sell:
    bid >= trigger). A resting buy fills at its price when ask <= price, bounded by the ask's size. Away from
    the touch the queue ahead is unknown until the price first becomes the touch.
    """
    n = begin(buf, out, ts_ns)
    if bid > 0 and ask > 0 and bid > ask:
        return n
    buf[HAS_QUOTE] = 1
    report_touch(buf, BUY, bid, bid_size)
    report_touch(buf, SELL, ask, ask_size)
    if seen_level(buf) != QUOTES:
        return n
    observe_queues(buf)
    n = work_book(buf, out, n, NO_TRADE)
    return finish(buf, out, n)


@compiled
def on_trade(buf: Words, out: Rows, ts_ns: int, price: int, size: int, aggressor_side: int) -> int:
    """Work one trade (aggressor BUY, SELL or 0 for unknown; without price or size it is ignored).

    With quotes or depth: a trade at an order's price by the other side consumes the queue ahead, the rest
    fills us; a trade beyond the price fills us up to its size. With trades alone: only trades beyond the
    price fill, up to our share; a trade at the price does not. Stops trigger at or beyond their trigger,
    take-profits (trades alone) beyond.
    """
    n = begin(buf, out, ts_ns)
    if price <= 0 or size <= 0:
        return n
    buf[HAS_TRADE] = 1
    buf[LAST_TRADE_TICKS] = price
    n = work_trade(buf, out, n, price, size, aggressor_side)
    return finish(buf, out, n)


@compiled
def on_depth(buf: Words, out: Rows, ts_ns: int, levels: Rows, is_snapshot: bool) -> int:
    """Work level changes: rows (side, price, new size), size 0 removes. Changes before a snapshot are
    ignored.

    A snapshot replaces the book, but what we took of a level stays taken while its size is unchanged. Each
    side keeps its best `level_capacity` levels. Crossed levels leave the side that was reported longer ago.
    """
    n = begin(buf, out, ts_ns)
    if buf[HAS_DEPTH] == 0 and not is_snapshot:
        return n
    buf[HAS_DEPTH] = 1
    for row in range(levels.shape[0]):
        side = levels[row, 0]
        if side in (BUY, SELL) and levels[row, 1] > 0:
            report_level(buf, side, levels[row, 1], levels[row, 2])
    if is_snapshot:
        drop_unreported(buf, BUY)
        drop_unreported(buf, SELL)
    uncross(buf)
    observe_queues(buf)
    n = work_book(buf, out, n, NO_TRADE)
    return finish(buf, out, n)


@compiled
def depth_lost(buf: Words) -> None:
    """Forget the levels after a gap in the feed; the next best input counts until a snapshot comes."""
    buf[HAS_DEPTH] = 0
    buf[BID_COUNT] = 0
    buf[ASK_COUNT] = 0


@compiled
def position(buf: Words) -> int:
    """Return the signed position in lots."""
    return int(buf[POSITION_LOTS])


@compiled
def set_position(buf: Words, lots: int) -> None:
    """Set the position; reduce-only orders it leaves without purpose end at the next call."""
    buf[POSITION_LOTS] = lots


@compiled
def input_level(buf: Words) -> int:
    """Return the input level that decides fills now (SEEN_NOTHING, CANDLES, TRADES, QUOTES or DEPTH)."""
    return seen_level(buf)


@compiled
def best_bid(buf: Words) -> int:
    """Return the displayed bid in ticks, 0 where none is seen."""
    return touch_price(buf, BUY)


@compiled
def best_ask(buf: Words) -> int:
    """Return the displayed ask in ticks, 0 where none is seen."""
    return touch_price(buf, SELL)


@compiled
def last_price(buf: Words) -> int:
    """Return the last trade in ticks, else the last close, else 0."""
    return int(buf[LAST_TRADE_TICKS] if buf[HAS_TRADE] == 1 else buf[CLOSE_TICKS])


@compiled
def market_fill_price(buf: Words, side: int) -> int:
    """Return the price of the first lot a market order of `side` would get now, 0 without a market."""
    return market_price(buf, side)


@compiled
def open_count(buf: Words) -> int:
    """Return the number of orders at the venue, sleeping legs included."""
    return int(buf[COUNT])


@compiled
def remaining(buf: Words, order_id: int) -> int:
    """Return the lots an order still works, -1 for an order not at the venue."""
    at = find_order(buf, order_id)
    return int(buf[at + REMAINING]) if at >= 0 else -1


def warm_up() -> None:
    """Call every kernel function once, so that compiling is done before the first event."""
    buf = create(order_capacity=2, level_capacity=2)
    out = new_out(order_capacity=2)
    levels = np.array([[BUY, 100, 10], [SELL, 102, 10]], dtype=np.int64)
    on_candle(buf, out, 1, 100, 102, 99, 101, 1000)
    on_trade(buf, out, 2, 101, 5, BUY)
    on_quote(buf, out, 3, 100, 10, 102, 10)
    on_depth(buf, out, 4, levels, True)
    arrive(buf, out, 5, 1, BUY, LIMIT, GTC, 0, 100, 0, 3, 0, 0)
    amend(buf, out, 6, 1, 99, 0, 0)
    cancel(buf, out, 7, 1)
    cancel_all(buf, out, 8)
    advance(buf, out, 9)
    set_position(buf, 0)
    depth_lost(buf)
    for reader in (position, input_level, best_bid, best_ask, last_price, open_count):
        reader(buf)
    market_fill_price(buf, BUY)
    remaining(buf, 1)
