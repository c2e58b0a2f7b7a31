"""When orders on the paper venue trigger and fill: one function per kind of market event.

Internal to the fill kernel. In doubt the less favourable order of events is assumed.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.fill_book import (
    base_price,
    is_beyond,
    market_price,
    seen_level,
    share_of,
    shown_lots,
    take,
    take_crossing,
    take_volume,
    takeable_lots,
    touch_price,
    worse_by_half_spread,
)
from agora.kernels.fill_layout import (
    BAR_LOTS,
    BUY,
    CANCELLED,
    CAPACITY,
    CLOSE_TICKS,
    COUNT,
    DUPLICATE_ID,
    EVENT,
    EXPIRED_ON_ARRIVAL,
    FILLED,
    FLOW_LOTS,
    FOK,
    FOK_NOT_FILLABLE,
    FRESH_EVENT,
    GTC,
    GTD,
    HEADER_WORDS,
    IOC,
    IOC_REMAINDER,
    IS_TRIGGERED,
    LIMIT,
    LIVE,
    MAKER,
    MARKET,
    NO_LIMIT,
    NO_MARKET,
    NO_REASON,
    NO_TRADE,
    ORDER_CAPACITY,
    ORDER_ID,
    ORDER_WORDS,
    PARENT_GONE,
    PARTICIPATION_PPM,
    POSITION_LOTS,
    POST_ONLY,
    POST_ONLY_WOULD_CROSS,
    PRICE,
    QUEUE_AHEAD,
    QUOTES,
    REDUCE_ONLY,
    REDUCE_ONLY_NO_POSITION,
    REMAINING,
    RESERVED_ROWS,
    RESERVED_ROWS_PER_ORDER,
    SELL,
    SHOWN,
    SIDE,
    STOP,
    TAKE_PROFIT,
    TAKER,
    TIF,
    TRADE_LOTS,
    TRADED_HERE,
    TRADES,
    TRIGGER,
    TRIGGERED,
    TYPE,
    VISIT_EVENT,
    close_order,
    emit,
    ended_fill_lots,
    fill_order,
    fillable_lots,
    find_order,
    has_room,
    next_resting,
    orders_end,
)


@compiled_inside
def is_malformed(
    order_id: int, side: int, order_type: int, tif: int, price: int, trigger: int, size: int, parent_id: int
) -> bool:
    """Say whether the numbers of a new order cannot be an order."""
    if order_id <= 0 or parent_id < 0 or parent_id == order_id or side not in (BUY, SELL):
        return True
    if order_type < LIMIT or order_type > TAKE_PROFIT or tif < GTC or tif > GTD:
        return True
    if order_type == LIMIT and price <= 0:
        return True
    if order_type in (STOP, TAKE_PROFIT) and trigger <= 0:
        return True
    return size <= 0 and parent_id == 0


@compiled_inside
def starting_lots(buf: Words, parent_id: int, size: int) -> int:
    """Return the working size on arrival: for a leg what its parent has filled, -1 where no fill can come."""
    if parent_id == 0:
        return size
    parent = find_order(buf, parent_id)
    if parent >= 0:
        return int(buf[parent + FILLED])
    filled = ended_fill_lots(buf, parent_id)
    return filled if filled > 0 else -1


@compiled_inside
def would_cross(buf: Words, side: int, price: int) -> bool:
    """Say whether a post-only order would take: at the touch, past the last trade, or half a spread past a
    close.
    """
    level = seen_level(buf)
    if level == TRADES:
        return price * side > base_price(buf) * side
    offered = market_price(buf, side)
    return offered > 0 and price * side >= offered * side


@compiled_inside
def refusal(
    buf: Words,
    ts_ns: int,
    order_id: int,
    side: int,
    order_type: int,
    tif: int,
    flags: int,
    price: int,
    expire_ts_ns: int,
    parent_id: int,
    lots: int,
) -> int:
    """Return why a well-formed order with `lots` to work is not taken, or NO_REASON."""
    if tif == GTD and expire_ts_ns <= ts_ns:
        return EXPIRED_ON_ARRIVAL
    if find_order(buf, order_id) >= 0:
        return DUPLICATE_ID
    if lots < 0:
        return PARENT_GONE
    if buf[COUNT] >= buf[ORDER_CAPACITY]:
        return CAPACITY
    if parent_id == 0 and flags & REDUCE_ONLY != 0 and buf[POSITION_LOTS] * side >= 0:
        return REDUCE_ONLY_NO_POSITION
    if parent_id == 0 and order_type == MARKET and market_price(buf, side) == 0:
        return NO_MARKET
    if lots > 0 and order_type == LIMIT and flags & POST_ONLY != 0 and would_cross(buf, side, price):
        return POST_ONLY_WOULD_CROSS
    return NO_REASON


@compiled_inside
def is_hit(buf: Words, at: int, trade_ticks: int) -> bool:
    """Say whether the market (and a trade, 0 for none) reaches the trigger of a stop or take-profit.

    A stop is hit at its trigger, by the touch of the opposite side or a trade. A take-profit is hit by that
    touch, or, where only trades are seen, by a trade beyond it. On candles only a stop is compared with the
    close, on arrival.
    """
    side = buf[at + SIDE]
    trigger = buf[at + TRIGGER] * side
    level = seen_level(buf)
    is_stop = buf[at + TYPE] == STOP
    if level >= QUOTES:
        touch = touch_price(buf, -side)
        if not is_stop:
            return bool(touch > 0 and touch * side <= trigger)
        return bool((touch > 0 and touch * side >= trigger) or (trade_ticks > 0 and trade_ticks * side >= trigger))
    price = base_price(buf)
    if is_stop:
        return bool(price > 0 and price * side >= trigger)
    return bool(level == TRADES and price * side < trigger)


@compiled_inside
def fire_trigger(buf: Words, out: Rows, n: int, at: int) -> int:
    """Turn a stop or take-profit into a working market order."""
    buf[at + IS_TRIGGERED] = 1
    return emit(out, n, TRIGGERED, buf[at + ORDER_ID], buf[at + TRIGGER], buf[at + REMAINING], 0, buf[at + REMAINING])


@compiled_inside
def is_waiting(buf: Words, at: int, order_type: int) -> bool:
    """Say whether the record is an active, untriggered order of a type."""
    if buf[at + LIVE] == 0 or buf[at + REMAINING] == 0:
        return False
    return bool(buf[at + TYPE] == order_type and buf[at + IS_TRIGGERED] == 0)


@compiled_inside
def fire_triggers(buf: Words, out: Rows, n: int, trade_ticks: int) -> int:
    """Trigger what is hit. A take-profit leg activated by this very event waits for the next."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        fresh = buf[at + FRESH_EVENT] == buf[EVENT]
        waits = is_waiting(buf, at, STOP) or (is_waiting(buf, at, TAKE_PROFIT) and not fresh)
        if waits and is_hit(buf, at, trade_ticks):
            n = fire_trigger(buf, out, n, at)
    return n


@compiled_inside
def is_market_now(buf: Words, at: int) -> bool:
    """Say whether the record works as a market order."""
    return bool(buf[at + LIVE] == 1 and (buf[at + TYPE] == MARKET or buf[at + IS_TRIGGERED] == 1))


@compiled_inside
def work_markets(buf: Words, out: Rows, n: int) -> int:
    """Let market orders and triggered orders take what is there, in time order."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if is_market_now(buf, at):
            n = take(buf, out, n, at, NO_LIMIT)
    return n


@compiled_inside
def rest(buf: Words, at: int) -> None:
    """Join the queue behind everything displayed at the price."""
    shown = shown_lots(buf, buf[at + SIDE], buf[at + PRICE])
    buf[at + QUEUE_AHEAD] = shown
    buf[at + SHOWN] = shown
    buf[at + TRADED_HERE] = 0


@compiled_inside
def enter_market(buf: Words, out: Rows, n: int, at: int) -> int:
    """Let an order that just arrived (or was amended) trigger, take and then rest or end by its time in
    force.
    """
    if buf[at + LIVE] == 0 or buf[at + REMAINING] == 0:
        return n
    order_type = buf[at + TYPE]
    if order_type in (STOP, TAKE_PROFIT):
        if not is_hit(buf, at, NO_TRADE):
            return n
        n = fire_trigger(buf, out, n, at)
        return take(buf, out, n, at, NO_LIMIT)
    limit = buf[at + PRICE] if order_type == LIMIT else NO_LIMIT
    if buf[at + TIF] == FOK:
        rows = out.shape[0] - RESERVED_ROWS - RESERVED_ROWS_PER_ORDER * buf[COUNT] - n + 1
        if takeable_lots(buf, buf[at + SIDE], limit, rows) < fillable_lots(buf, at):
            return close_order(buf, out, n, at, CANCELLED, FOK_NOT_FILLABLE)
    n = take(buf, out, n, at, limit)
    if buf[at + LIVE] == 0:
        return n
    if buf[at + TIF] == IOC or buf[at + TIF] == FOK:
        return close_order(buf, out, n, at, CANCELLED, IOC_REMAINDER)
    rest(buf, at)
    return n


@compiled_inside
def fill_from_crossing(buf: Words, out: Rows, n: int, at: int) -> int:
    """Fill one resting order at its own price from the displayed lots that cross it."""
    if not has_room(buf, out, n):
        return n
    lots = take_crossing(buf, buf[at + SIDE], buf[at + PRICE], fillable_lots(buf, at))
    if lots == 0:
        return n
    return fill_order(buf, out, n, at, buf[at + PRICE], lots, MAKER)


@compiled_inside
def fill_crossed(buf: Words, out: Rows, n: int) -> int:
    """Fill resting orders that the opposite touch reaches, at their own price, bounded by what is displayed
    there.

    The touch of an order's own side is not a fill.
    """
    for side in (BUY, SELL):
        touch = touch_price(buf, -side)
        at = next_resting(buf, side, touch) if touch > 0 else -1
        while at >= 0:
            buf[at + VISIT_EVENT] = buf[EVENT]
            n = fill_from_crossing(buf, out, n, at)
            at = next_resting(buf, side, touch)
    return n


@compiled_inside
def work_book(buf: Words, out: Rows, n: int, trade_ticks: int) -> int:
    """Trigger and fill against the displayed book; stops of positions opened meanwhile get a second look."""
    n = fire_triggers(buf, out, n, trade_ticks)
    n = work_markets(buf, out, n)
    n = fill_crossed(buf, out, n)
    n = fire_triggers(buf, out, n, trade_ticks)
    return work_markets(buf, out, n)


@compiled_inside
def fill_from_trade(
    buf: Words, out: Rows, n: int, at: int, price: int, size: int, aggressor: int, flow_word: int
) -> int:
    """Let one trade reach one resting order at its price or better; what the order gets leaves `flow_word`.

    At the price only a trade from the other side counts, and it first consumes the queue ahead.
    """
    left = buf[flow_word]
    queue = 0
    if buf[at + PRICE] == price:
        if aggressor == buf[at + SIDE]:
            return n
        buf[at + TRADED_HERE] += size
        queue = buf[at + QUEUE_AHEAD]
        if queue < 0:
            return n
        buf[at + QUEUE_AHEAD] = max(0, queue - left)
    else:
        buf[at + QUEUE_AHEAD] = 0
    lots = min(fillable_lots(buf, at), left - queue)
    if lots <= 0 or not has_room(buf, out, n):
        return n
    buf[flow_word] -= lots
    return fill_order(buf, out, n, at, buf[at + PRICE], lots, MAKER)


@compiled_inside
def fill_by_trade(buf: Words, out: Rows, n: int, price: int, size: int, aggressor: int) -> int:
    """Let a trade reach resting orders by price, then time; no traded lot serves two of them.

    With a book the whole trade flows to us once the queue is gone. With trades alone the queue is unknown:
    only trades beyond the price count, and of these only our share.
    """
    has_book = seen_level(buf) >= QUOTES
    flow_word = FLOW_LOTS if has_book else TRADE_LOTS
    buf[FLOW_LOTS] = size
    for side in (BUY, SELL):
        bound = price if has_book else price + side
        at = next_resting(buf, side, bound)
        while at >= 0:
            buf[at + VISIT_EVENT] = buf[EVENT]
            n = fill_from_trade(buf, out, n, at, price, size, aggressor, flow_word)
            at = next_resting(buf, side, bound)
    return n


@compiled_inside
def work_trade(buf: Words, out: Rows, n: int, price: int, size: int, aggressor: int) -> int:
    """Trigger and fill by one trade."""
    buf[TRADE_LOTS] = share_of(size, buf[PARTICIPATION_PPM])
    n = fire_triggers(buf, out, n, price)
    n = work_markets(buf, out, n)
    n = fill_by_trade(buf, out, n, price, size, aggressor)
    n = fire_triggers(buf, out, n, price)
    return work_markets(buf, out, n)


@compiled_inside
def work_markets_at_open(buf: Words, out: Rows, n: int, open_ticks: int) -> int:
    """Let what remains of market orders from before the bar fill at its open, half a spread worse."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if is_market_now(buf, at) and buf[at + FRESH_EVENT] != buf[EVENT]:
            price = worse_by_half_spread(buf, open_ticks, buf[at + SIDE])
            n = take_volume(buf, out, n, at, price, TAKER)
    return n


@compiled_inside
def stop_out_in_bar(buf: Words, out: Rows, n: int, open_ticks: int, high: int, low: int) -> int:
    """Trigger the stops that the bar reached, at the trigger or the open beyond it, half a spread worse."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if not is_waiting(buf, at, STOP):
            continue
        side = buf[at + SIDE]
        reached = high if side == BUY else low
        if reached * side < buf[at + TRIGGER] * side:
            continue
        base = buf[at + TRIGGER] if is_beyond(buf[at + TRIGGER], open_ticks, side) else open_ticks
        n = fire_trigger(buf, out, n, at)
        n = take_volume(buf, out, n, at, worse_by_half_spread(buf, base, side), TAKER)
    return n


@compiled_inside
def take_profit_in_bar(buf: Words, out: Rows, n: int, high: int, low: int) -> int:
    """Trigger the take-profits that the bar passed, half a spread worse than the trigger, never better."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if not is_waiting(buf, at, TAKE_PROFIT) or buf[at + FRESH_EVENT] == buf[EVENT]:
            continue
        side = buf[at + SIDE]
        reached = low if side == BUY else high
        if reached * side >= buf[at + TRIGGER] * side:
            continue
        n = fire_trigger(buf, out, n, at)
        n = take_volume(buf, out, n, at, worse_by_half_spread(buf, buf[at + TRIGGER], side), TAKER)
    return n


@compiled_inside
def fill_limits_in_bar(buf: Words, out: Rows, n: int, high: int, low: int) -> int:
    """Fill the limit orders that the bar passed (touching is not enough), at their limit even on a gap."""
    for side in (BUY, SELL):
        bound = low + 1 if side == BUY else high - 1
        at = next_resting(buf, side, bound)
        while at >= 0:
            buf[at + VISIT_EVENT] = buf[EVENT]
            n = take_volume(buf, out, n, at, buf[at + PRICE], MAKER)
            at = next_resting(buf, side, bound)
    return n


@compiled_inside
def work_bar(buf: Words, out: Rows, n: int, open_ticks: int, high: int, low: int, close: int, volume: int) -> int:
    """Trigger and fill inside one bar: stops before every exit at profit, and again after entries."""
    buf[BAR_LOTS] = share_of(volume, buf[PARTICIPATION_PPM])
    buf[CLOSE_TICKS] = close
    n = work_markets_at_open(buf, out, n, open_ticks)
    n = stop_out_in_bar(buf, out, n, open_ticks, high, low)
    n = take_profit_in_bar(buf, out, n, high, low)
    n = fill_limits_in_bar(buf, out, n, high, low)
    return stop_out_in_bar(buf, out, n, open_ticks, high, low)
