"""What the paper-fill buffer knows of the market: levels, touches, what of them we already took, and taking
it.

Internal to the fill kernel. Every rounding goes against the trader.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.fill_layout import (
    ASK_COUNT,
    ASK_TOUCH,
    ASKS_START,
    BAR_LOTS,
    BID_COUNT,
    BID_TOUCH,
    BIDS_START,
    CANCEL_AHEAD_PPM,
    CANDLES,
    CLOSE_TICKS,
    DEPTH,
    EVENT,
    HALF_SPREAD_PPM,
    HAS_CANDLE,
    HAS_DEPTH,
    HAS_QUOTE,
    HAS_TRADE,
    HEADER_WORDS,
    LAST_TRADE_TICKS,
    LEVEL_CAPACITY,
    LEVEL_EVENT,
    LEVEL_TAKEN,
    LEVEL_WORDS,
    LIMIT,
    LIVE,
    ORDER_WORDS,
    PPM,
    PRICE,
    QUEUE_AHEAD,
    QUOTES,
    SEEN_NOTHING,
    SHOWN,
    SIDE,
    TAKER,
    TRADE_LOTS,
    TRADED_HERE,
    TRADES,
    TYPE,
    UNKNOWN,
    fill_order,
    fillable_lots,
    has_room,
    orders_end,
)

SYNTHETIC_LEVELS_MAX = 100  # behind the touch we guess; beyond this depth the guess is worth nothing
FACTOR_MAX = 3_000_000_000  # two factors up to this multiply without leaving 64 bits


@compiled_inside
def share_of(lots: int, ppm: int) -> int:
    """Return `lots * ppm / 1e6` rounded down, without the product leaving 64 bits."""
    return lots // PPM * ppm + lots % PPM * ppm // PPM


@compiled_inside
def worse_by_half_spread(buf: Words, price: int, side: int) -> int:
    """Return the price half a spread (rounded up) against the taker; never below the lowest price, 1 tick."""
    half = price - share_of(price, PPM - buf[HALF_SPREAD_PPM])  # price minus a floor is the ceiling
    return max(1, price + side * half)


@compiled_inside
def seen_level(buf: Words) -> int:
    """Return the best input level seen so far: DEPTH, QUOTES, TRADES, CANDLES or SEEN_NOTHING."""
    if buf[HAS_DEPTH] == 1:
        return DEPTH
    if buf[HAS_QUOTE] == 1:
        return QUOTES
    if buf[HAS_TRADE] == 1:
        return TRADES
    return CANDLES if buf[HAS_CANDLE] == 1 else SEEN_NOTHING


@compiled_inside
def touch_word(side: int) -> int:
    """Return the word at which the touch of a side stands."""
    return BID_TOUCH if side > 0 else ASK_TOUCH


@compiled_inside
def count_word(side: int) -> int:
    """Return the word that counts the levels of a side."""
    return BID_COUNT if side > 0 else ASK_COUNT


@compiled_inside
def levels_start(buf: Words, side: int) -> int:
    """Return the word at which the best level of a side stands."""
    return int(buf[BIDS_START] if side > 0 else buf[ASKS_START])


@compiled_inside
def touch_price(buf: Words, side: int) -> int:
    """Return the best displayed price of a side at level DEPTH or QUOTES, 0 where there is none."""
    level = seen_level(buf)
    if level == DEPTH:
        return int(buf[levels_start(buf, side)]) if buf[count_word(side)] > 0 else 0
    if level == QUOTES:
        return int(buf[touch_word(side)])
    return 0


@compiled_inside
def report_touch(buf: Words, side: int, price: int, size: int) -> None:
    """Store a quote. A repeat of price and size does not bring back what we took."""
    at = touch_word(side)
    if price <= 0 or size <= 0:
        price = 0
        size = 0
    if buf[at] == price and buf[at + 1] == size:
        return
    buf[at] = price
    buf[at + 1] = size
    buf[at + 2] = 0


@compiled_inside
def level_index(buf: Words, side: int, price: int) -> int:
    """Return the place of `price` among a side's levels, sorted best first (its own or the next worse)."""
    start = levels_start(buf, side)
    low = 0
    high = buf[count_word(side)]
    while low < high:
        middle = (low + high) // 2
        if buf[start + middle * LEVEL_WORDS] * side > price * side:
            low = middle + 1
        else:
            high = middle
    return int(low)


@compiled_inside
def remove_level(buf: Words, side: int, index: int) -> None:
    """Remove a level and close the gap."""
    start = levels_start(buf, side)
    word = count_word(side)
    buf[word] -= 1
    for at in range(start + index * LEVEL_WORDS, start + buf[word] * LEVEL_WORDS):
        buf[at] = buf[at + LEVEL_WORDS]


@compiled_inside
def insert_level(buf: Words, side: int, index: int, price: int, size: int) -> None:
    """Insert a level; when the side is full its worst level falls out."""
    start = levels_start(buf, side)
    word = count_word(side)
    if index == buf[LEVEL_CAPACITY]:
        return
    if buf[word] == buf[LEVEL_CAPACITY]:
        buf[word] -= 1
    at = start + index * LEVEL_WORDS
    for target in range(start + (buf[word] + 1) * LEVEL_WORDS - 1, at + LEVEL_WORDS - 1, -1):
        buf[target] = buf[target - LEVEL_WORDS]
    buf[word] += 1
    buf[at] = price
    buf[at + 1] = size
    buf[at + LEVEL_TAKEN] = 0
    buf[at + LEVEL_EVENT] = buf[EVENT]


@compiled_inside
def report_level(buf: Words, side: int, price: int, size: int) -> None:
    """Store the new size of a level (0 removes). A repeat of a size does not bring back what we took."""
    index = level_index(buf, side, price)
    at = levels_start(buf, side) + index * LEVEL_WORDS
    known = index < buf[count_word(side)] and buf[at] == price
    if size <= 0:
        if known:
            remove_level(buf, side, index)
        return
    if not known:
        insert_level(buf, side, index, price, size)
        return
    buf[at + LEVEL_EVENT] = buf[EVENT]
    if buf[at + 1] != size:
        buf[at + 1] = size
        buf[at + LEVEL_TAKEN] = 0


@compiled_inside
def drop_unreported(buf: Words, side: int) -> None:
    """After a snapshot: remove the levels it did not name."""
    start = levels_start(buf, side)
    kept = start
    for at in range(start, start + buf[count_word(side)] * LEVEL_WORDS, LEVEL_WORDS):
        if buf[at + LEVEL_EVENT] != buf[EVENT]:
            continue
        for word in range(LEVEL_WORDS):
            buf[kept + word] = buf[at + word]
        kept += LEVEL_WORDS
    buf[count_word(side)] = (kept - start) // LEVEL_WORDS


@compiled_inside
def uncross(buf: Words) -> None:
    """Remove crossed best levels from the side reported longer ago; from both when both are equally new."""
    bids = levels_start(buf, 1)
    asks = levels_start(buf, -1)
    while buf[BID_COUNT] > 0 and buf[ASK_COUNT] > 0 and buf[bids] >= buf[asks]:
        bid_event = buf[bids + LEVEL_EVENT]
        ask_event = buf[asks + LEVEL_EVENT]
        if bid_event <= ask_event:
            remove_level(buf, 1, 0)
        if ask_event <= bid_event:
            remove_level(buf, -1, 0)


@compiled_inside
def shown_lots(buf: Words, side: int, price: int) -> int:
    """Return the displayed size at a price of a side; UNKNOWN where we cannot see it.

    Better than the touch nothing is displayed (0). A quote shows only the touch; depth shows nothing beyond
    its worst level, because feeds send a window of the book.
    """
    level = seen_level(buf)
    if level == QUOTES:
        at = touch_word(side)
        if buf[at] == 0 or price * side < buf[at] * side:
            return UNKNOWN
        return int(buf[at + 1]) if buf[at] == price else 0
    if level != DEPTH:
        return UNKNOWN
    index = level_index(buf, side, price)
    if index == buf[count_word(side)]:
        return UNKNOWN
    at = levels_start(buf, side) + index * LEVEL_WORDS
    return int(buf[at + 1]) if buf[at] == price else 0


@compiled_inside
def cancelled_ahead(buf: Words, cancels: int, queue: int, shown_before: int) -> int:
    """Return how far `cancels` lots bring us forward, rounded down twice; nothing where the product
    overflows.
    """
    if cancels > FACTOR_MAX or queue > FACTOR_MAX:
        return 0
    return share_of(cancels * queue // shown_before, buf[CANCEL_AHEAD_PPM])


@compiled_inside
def observe_queue(buf: Words, at: int) -> None:
    """Bring an order's queue up to date with the displayed size at its price.

    A decrease is first explained by trades seen at the price; the rest are cancels, of which a share was
    ahead of us. What is ahead never exceeds what is displayed. While the price is out of sight the queue
    stands still.
    """
    shown = shown_lots(buf, buf[at + SIDE], buf[at + PRICE])
    if shown == UNKNOWN:
        buf[at + SHOWN] = UNKNOWN
        buf[at + TRADED_HERE] = 0
        return
    before = buf[at + SHOWN]
    queue = buf[at + QUEUE_AHEAD]
    if queue == UNKNOWN:
        queue = shown
    elif before > shown:
        explained = min(buf[at + TRADED_HERE], before - shown)
        buf[at + TRADED_HERE] -= explained
        queue -= cancelled_ahead(buf, before - shown - explained, queue, before)
    buf[at + QUEUE_AHEAD] = min(queue, shown)
    buf[at + SHOWN] = shown


@compiled_inside
def base_price(buf: Words) -> int:
    """Return the last trade (TRADES) or the last close (CANDLES), 0 at other levels."""
    level = seen_level(buf)
    if level == TRADES:
        return int(buf[LAST_TRADE_TICKS])
    return int(buf[CLOSE_TICKS]) if level == CANDLES else 0


@compiled_inside
def volume_word(buf: Words) -> int:
    """Return the word holding the traded volume we may still share in at the present level."""
    return TRADE_LOTS if seen_level(buf) == TRADES else BAR_LOTS


@compiled_inside
def quote_step(buf: Words, side: int) -> int:
    """Return the distance of the guessed levels behind the touch: the spread, at least 1 tick.

    With one side missing there is no spread; twice the half spread of the settings stands in for it.
    """
    bid = buf[BID_TOUCH]
    ask = buf[ASK_TOUCH]
    if bid > 0 and ask > 0:
        return int(max(1, ask - bid))
    price = touch_price(buf, -side)
    return max(1, 2 * (worse_by_half_spread(buf, price, 1) - price))


@compiled_inside
def is_beyond(price: int, limit: int, side: int) -> bool:
    """Say whether a price is worse than the limit of a side; limit 0 means none."""
    return limit > 0 and price * side > limit * side


@compiled_inside
def take_depth(buf: Words, out: Rows, n: int, at: int, limit: int) -> int:
    """Walk the displayed levels, one fill per level."""
    side = buf[at + SIDE]
    start = levels_start(buf, -side)
    for level in range(start, start + buf[count_word(-side)] * LEVEL_WORDS, LEVEL_WORDS):
        wanted = fillable_lots(buf, at)
        if wanted == 0 or is_beyond(buf[level], limit, side) or not has_room(buf, out, n):
            return n
        size = min(wanted, buf[level + 1] - buf[level + LEVEL_TAKEN])
        if size <= 0:
            continue
        buf[level + LEVEL_TAKEN] += size
        n = fill_order(buf, out, n, at, buf[level], size, TAKER)
    return n


@compiled_inside
def take_quotes(buf: Words, out: Rows, n: int, at: int, limit: int) -> int:
    """Take the touch, then guessed levels of the same size, each one spread worse."""
    side = buf[at + SIDE]
    touch = touch_word(-side)
    size = buf[touch + 1]
    if size == 0:
        return n
    step = quote_step(buf, side)
    for level in range(buf[touch + 2] // size, SYNTHETIC_LEVELS_MAX):
        price = buf[touch] + side * level * step
        if price < 1 or is_beyond(price, limit, side) or not has_room(buf, out, n):
            return n
        lots = min(fillable_lots(buf, at), (level + 1) * size - buf[touch + 2])
        if lots <= 0:
            return n
        buf[touch + 2] += lots
        n = fill_order(buf, out, n, at, price, lots, TAKER)
    return n


@compiled_inside
def take_volume(buf: Words, out: Rows, n: int, at: int, price: int, is_taker: int) -> int:
    """Fill at `price`, bounded by the share of the traded volume that is left."""
    word = volume_word(buf)
    lots = min(fillable_lots(buf, at), buf[word])
    if lots <= 0 or not has_room(buf, out, n):
        return n
    buf[word] -= lots
    return fill_order(buf, out, n, at, price, lots, is_taker)


@compiled_inside
def take(buf: Words, out: Rows, n: int, at: int, limit: int) -> int:
    """Take what is there now, no worse than `limit` (0: at any price)."""
    level = seen_level(buf)
    if level == DEPTH:
        return take_depth(buf, out, n, at, limit)
    if level == QUOTES:
        return take_quotes(buf, out, n, at, limit)
    base = base_price(buf)
    if base == 0:
        return n
    price = worse_by_half_spread(buf, base, buf[at + SIDE])
    if is_beyond(price, limit, buf[at + SIDE]):
        return n
    return take_volume(buf, out, n, at, price, TAKER)


@compiled_inside
def takeable_depth(buf: Words, side: int, limit: int, rows: int) -> int:
    """Return the displayed lots no worse than `limit`, over at most `rows` levels."""
    start = levels_start(buf, -side)
    total = 0
    for level in range(start, start + min(rows, buf[count_word(-side)]) * LEVEL_WORDS, LEVEL_WORDS):
        if is_beyond(buf[level], limit, side):
            break
        total += buf[level + 1] - buf[level + LEVEL_TAKEN]
    return int(total)


@compiled_inside
def takeable_quotes(buf: Words, side: int, limit: int, rows: int) -> int:
    """Return the lots at the touch and guessed levels no worse than `limit`, over at most `rows` levels."""
    touch = touch_word(-side)
    size = buf[touch + 1]
    if size == 0:
        return 0
    step = quote_step(buf, side)
    first = buf[touch + 2] // size
    total = 0
    for level in range(first, min(first + rows, SYNTHETIC_LEVELS_MAX)):
        price = buf[touch] + side * level * step
        if price < 1 or is_beyond(price, limit, side):
            break
        total = (level + 1) * size - buf[touch + 2]
    return int(total)


@compiled_inside
def takeable_lots(buf: Words, side: int, limit: int, rows: int) -> int:
    """Return what an order of `side` could take now no worse than `limit`, in at most `rows` fills."""
    level = seen_level(buf)
    if level == DEPTH:
        return takeable_depth(buf, side, limit, rows)
    if level == QUOTES:
        return takeable_quotes(buf, side, limit, rows)
    base = base_price(buf)
    if base == 0 or is_beyond(worse_by_half_spread(buf, base, side), limit, side):
        return 0
    return int(buf[volume_word(buf)])


@compiled_inside
def take_crossing(buf: Words, side: int, limit: int, wanted: int) -> int:
    """Use up to `wanted` displayed lots that cross a resting order's price and return how many there were.

    At level QUOTES only the touch counts: guessed levels do not come to meet us.
    """
    if seen_level(buf) == QUOTES:
        touch = touch_word(-side)
        if buf[touch] == 0 or is_beyond(buf[touch], limit, side):
            return 0
        lots = max(0, min(wanted, buf[touch + 1] - buf[touch + 2]))
        buf[touch + 2] += lots
        return int(lots)
    start = levels_start(buf, -side)
    used = 0
    for level in range(start, start + buf[count_word(-side)] * LEVEL_WORDS, LEVEL_WORDS):
        if is_beyond(buf[level], limit, side) or used == wanted:
            break
        lots = min(wanted - used, buf[level + 1] - buf[level + LEVEL_TAKEN])
        buf[level + LEVEL_TAKEN] += lots
        used += lots
    return int(used)


@compiled_inside
def market_price(buf: Words, side: int) -> int:
    """Return the price of the first lot a market order would get now, 0 where there is no market."""
    if seen_level(buf) >= QUOTES:
        return touch_price(buf, -side)
    base = base_price(buf)
    return worse_by_half_spread(buf, base, side) if base > 0 else 0


@compiled_inside
def observe_queues(buf: Words) -> None:
    """Bring the queues of all limit orders up to date with the displayed book."""
    for at in range(HEADER_WORDS, orders_end(buf), ORDER_WORDS):
        if buf[at + LIVE] == 1 and buf[at + TYPE] == LIMIT:
            observe_queue(buf, at)
