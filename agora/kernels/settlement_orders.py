"""What an order may do with its owner's money and units, and what becomes of holds when orders act and end.

Internal to the settlement kernel: joins the pieces of the book with the arithmetic of `settlement_rules`.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.matching_layout import (
    CANCELLED,
    CODE,
    DECREMENTED,
    EXPIRED,
    FILL,
    FLAGS,
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_MARGIN,
    INSUFFICIENT_UNITS,
    LAST_ORDER,
    MAKER_ID,
    MAKER_OWNER,
    NO_REASON,
    NOTHING,
    ORDER_COUNT,
    OWNER,
    OWNER_PREVIOUS,
    OWNER_WORDS,
    OWNERS_START,
    PRICE,
    REDUCE_ONLY,
    REDUCE_ONLY_NO_POSITION,
    REDUCED,
    REMAINING,
    ROW_FLAGS,
    ROW_ORDER_ID,
    ROW_OWNER,
    ROW_PRICE,
    ROW_SIDE,
    ROW_SIZE,
    SHORTING_NOT_ALLOWED,
    SIDE,
    TOO_LARGE,
    TRADE_HIGH,
    WAITING,
)
from agora.kernels.matching_levels import refresh_touch
from agora.kernels.matching_orders import find_order
from agora.kernels.matching_rules import activate, end_order, next_triggered, reduce_order, walk_cost
from agora.kernels.settlement_layout import (
    ALLOWS_SHORTS,
    BUY_HELD,
    BUY_LOTS,
    COST,
    COST_MAX,
    CURRENCY,
    HAS_REDUCE_ONLY,
    INITIAL_MARGIN_PPM,
    LOTS,
    MAKER_FEE_PPM,
    ROW_MAKER_FEE,
    ROW_TAKER_FEE,
    SELL_LOTS,
    SELL_VALUE,
    TAKER_FEE_PPM,
    TICK_LOT_UNITS,
    TRADE_MAKER_FEE,
    TRADE_TAKER_FEE,
    UNITS_MAX,
    asset_words,
    cash_words,
    position_words,
)
from agora.kernels.settlement_rules import (
    cover_need,
    free_cash,
    hold_per_lot,
    part_up,
    settle,
    shift_hold,
    short_lock,
)


@compiled_inside
def closable_lots(accounts: Words, position: int, side: int) -> int:
    """Return what an order may take off the position, resting orders of that side being served first."""
    if side > 0:
        return int(max(-accounts[position + LOTS], 0) - accounts[position + BUY_LOTS])
    return int(max(accounts[position + LOTS], 0) - accounts[position + SELL_LOTS])


@compiled_inside
def exceeds(value_ticks: float, lots: float, units: int) -> bool:
    """Say whether a value is beyond what one order may be worth, before it is computed in integers."""
    return bool(value_ticks * lots * float(units) > float(UNITS_MAX))


@compiled_inside
def buy_need(book: Words, accounts: Words, at: int, owner: int, price: int, size: int) -> int:
    """Return the most that a buy can cost with fees; -1 where that is beyond `UNITS_MAX`.

    At market it is the price of what is offered now, and a unit for each fill, whose fees are rounded up.
    """
    units = accounts[at + TICK_LOT_UNITS]
    if price > 0:
        if exceeds(float(price), float(size), units):
            return -1
        return int(size * hold_per_lot(accounts, at, price))
    lots, cost = walk_cost(book, 1, size, 0, owner, False)
    if exceeds(float(cost), 1.0, units):
        return -1
    fee_ppm = accounts[at + TAKER_FEE_PPM]
    fills = min(lots, book[ORDER_COUNT]) if fee_ppm > 0 else 0
    return int(cost * units + part_up(cost * units, fee_ppm) + fills)


@compiled_inside
def buy_refusal(book: Words, accounts: Words, asset: int, owner: int, price: int, size: int) -> int:
    """Return why an account cannot buy, or `NO_REASON`. Buying back a short may use what the short locks."""
    at = asset_words(accounts, asset)
    position = position_words(accounts, owner, asset)
    need = buy_need(book, accounts, at, owner, price, size)
    held = accounts[position + BUY_HELD]
    if need < 0 or abs(accounts[position + COST]) + held + need > COST_MAX:
        return TOO_LARGE
    lock = short_lock(accounts, at, position)
    more = need
    if lock != 0:
        lots = accounts[position + BUY_LOTS]
        before = cover_need(accounts, position, lock, lots, held)
        after = cover_need(accounts, position, lock, lots + size, held + need)
        # A resting buy may claim to cover at a price that never comes, so this one must also suffice alone.
        more = max(after - before, cover_need(accounts, position, lock, size, need) - lock)
    if more > free_cash(accounts, cash_words(accounts, owner, accounts[at + CURRENCY])):
        return INSUFFICIENT_FUNDS
    return NO_REASON


@compiled_inside
def short_refusal(book: Words, accounts: Words, asset: int, owner: int, price: int, size: int, owned: int) -> int:
    """Return why an account cannot sell `size` lots of which it owns `owned`, or `NO_REASON`.

    The last lots sold are the short ones. Their proceeds stay locked, so free cash must bear margin and fees.
    """
    at = asset_words(accounts, asset)
    position = position_words(accounts, owner, asset)
    units = accounts[at + TICK_LOT_UNITS]
    lots, cost = walk_cost(book, -1, size, price, owner, False)
    _, owned_cost = walk_cost(book, -1, min(owned, size), price, owner, False)
    if exceeds(float(cost) + float(price) * float(size - lots), 1.0, units):
        return TOO_LARGE
    value = (cost - owned_cost + price * (size - max(lots, owned))) * units
    if abs(accounts[position + COST]) + accounts[position + SELL_VALUE] * units + value > COST_MAX:
        return TOO_LARGE
    fee_ppm = max(accounts[at + MAKER_FEE_PPM], accounts[at + TAKER_FEE_PPM])
    fills = min(lots, book[ORDER_COUNT]) if fee_ppm > 0 else 0
    need = part_up(value, accounts[at + INITIAL_MARGIN_PPM]) + part_up(value, fee_ppm) + fills
    if need > free_cash(accounts, cash_words(accounts, owner, accounts[at + CURRENCY])):
        return INSUFFICIENT_MARGIN
    return NO_REASON


@compiled_inside
def sell_refusal(book: Words, accounts: Words, asset: int, owner: int, price: int, size: int) -> int:
    """Return why an account cannot sell, or `NO_REASON`. What resting sells hold is not free to be sold again."""
    at = asset_words(accounts, asset)
    position = position_words(accounts, owner, asset)
    if exceeds(float(accounts[position + SELL_VALUE]) + float(price) * float(size), 1.0, accounts[at + TICK_LOT_UNITS]):
        return TOO_LARGE
    owned = max(accounts[position + LOTS] - accounts[position + SELL_LOTS], 0)
    if size <= owned:
        return NO_REASON
    if accounts[at + ALLOWS_SHORTS] == 0:
        return SHORTING_NOT_ALLOWED if accounts[position + LOTS] <= 0 else INSUFFICIENT_UNITS
    return short_refusal(book, accounts, asset, owner, price, size, owned)


@compiled_inside
def allowance(
    book: Words, accounts: Words, asset: int, owner: int, side: int, flags: int, price: int, size: int
) -> tuple[int, int]:
    """Return how many lots an order that acts now may be for, and why not all; price 0 is at market."""
    lots = size
    if flags & REDUCE_ONLY != 0:
        lots = min(size, closable_lots(accounts, position_words(accounts, owner, asset), side))
        if lots <= 0:
            return NOTHING, REDUCE_ONLY_NO_POSITION
    if side > 0:
        reason = buy_refusal(book, accounts, asset, owner, price, lots)
    else:
        reason = sell_refusal(book, accounts, asset, owner, price, lots)
    if reason != NO_REASON:
        return NOTHING, reason
    return lots, (REDUCE_ONLY_NO_POSITION if lots < size else NO_REASON)


@compiled_inside
def settle_row(accounts: Words, tape: Rows, out: Rows, row: int, asset: int, taker_id: int, now_ts: int) -> None:
    """Do to money and units what a row of the book says. The acting order holds nothing yet."""
    code = out[row, CODE]
    out[row, ROW_TAKER_FEE] = 0
    out[row, ROW_MAKER_FEE] = 0
    if code == FILL:
        noted = settle(
            accounts,
            tape,
            asset,
            out[row, ROW_SIDE],
            out[row, ROW_PRICE],
            out[row, ROW_SIZE],
            out[row, MAKER_OWNER],
            out[row, ROW_OWNER],
            out[row, MAKER_ID],
            out[row, ROW_ORDER_ID],
            now_ts,
        )
        out[row, ROW_TAKER_FEE] = tape[noted, TRADE_TAKER_FEE]
        out[row, ROW_MAKER_FEE] = tape[noted, TRADE_MAKER_FEE]
        return
    owner, side, lots = out[row, ROW_OWNER], out[row, ROW_SIDE], NOTHING
    if code == DECREMENTED:
        owner, side, lots = out[row, MAKER_OWNER], -side, out[row, ROW_SIZE]
    elif code in (CANCELLED, EXPIRED, REDUCED):
        had_hold = out[row, ROW_ORDER_ID] != taker_id and out[row, ROW_FLAGS] & WAITING == 0
        lots = out[row, ROW_SIZE] if had_hold else NOTHING
    if lots != 0:
        shift_hold(accounts, asset, owner, side, out[row, ROW_PRICE], -lots)


@compiled_inside
def settle_rows(
    accounts: Words, tape: Rows, out: Rows, first: int, n: int, asset: int, taker_id: int, now_ts: int
) -> None:
    """Settle the rows from `first` to before `n`, in order."""
    for row in range(first, n):
        settle_row(accounts, tape, out, row, asset, taker_id, now_ts)


@compiled_inside
def hold_rest(book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, order_id: int) -> int:
    """Hold what the remainder of an order that acted needs; one that its owner's margin cannot bear is cancelled."""
    order = find_order(book, order_id)
    if order == 0 or book[order + FLAGS] & WAITING != 0:
        return n
    owner, side = book[order + OWNER], book[order + SIDE]
    shift_hold(accounts, asset, owner, side, book[order + PRICE], book[order + REMAINING])
    at = asset_words(accounts, asset)
    if accounts[at + ALLOWS_SHORTS] == 0:
        return n
    position = position_words(accounts, owner, asset)
    if book[order + FLAGS] & REDUCE_ONLY != 0:
        accounts[position + HAS_REDUCE_ONLY] = 1
    is_short = side < 0 and accounts[position + SELL_LOTS] > max(accounts[position + LOTS], 0)
    if is_short and free_cash(accounts, cash_words(accounts, owner, accounts[at + CURRENCY])) < 0:
        n = end_order(book, out, n, order, CANCELLED, INSUFFICIENT_MARGIN)
        settle_row(accounts, tape, out, n - 1, asset, NOTHING, NOTHING)
        refresh_touch(book)
    return n


@compiled_inside
def cut_reduce_only(book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, owner: int) -> int:
    """Cut an owner's resting reduce-only orders, newest first, to what all his orders of a side leave to close.

    So no sequence of fills can turn the position. Where nothing can be sold short, holds see to that.
    """
    position = position_words(accounts, owner, asset)
    if accounts[position + HAS_REDUCE_ONLY] == 0:
        return n
    accounts[position + HAS_REDUCE_ONLY] = 0
    order = book[book[OWNERS_START] + owner * OWNER_WORDS + LAST_ORDER]
    while order != 0:
        before = book[order + OWNER_PREVIOUS]
        if book[order + FLAGS] & (REDUCE_ONLY | WAITING) == REDUCE_ONLY:
            lots = min(book[order + REMAINING], -closable_lots(accounts, position, book[order + SIDE]))
            if lots < book[order + REMAINING]:
                accounts[position + HAS_REDUCE_ONLY] = 1
            if lots > 0:
                n = reduce_order(book, out, n, order, lots, REDUCE_ONLY_NO_POSITION)
                settle_row(accounts, tape, out, n - 1, asset, NOTHING, NOTHING)
        order = before
    refresh_touch(book)
    return n


@compiled_inside
def settle_act(
    book: Words, accounts: Words, tape: Rows, out: Rows, first: int, n: int, asset: int, order_id: int, now_ts: int
) -> int:
    """Settle all that an acting order did in the rows from `first`, and hold what its remainder needs."""
    settle_rows(accounts, tape, out, first, n, asset, order_id, now_ts)
    owner = out[first, ROW_OWNER]
    n = hold_rest(book, accounts, tape, out, n, asset, order_id)
    return cut_reduce_only(book, accounts, tape, out, n, asset, owner)


@compiled_inside
def fire_funded(book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, now_ts: int) -> int:
    """Activate what trades triggered, each as far as its owner can bear it; what he cannot is cancelled."""
    if book[TRADE_HIGH] == 0:
        return n
    order_id = next_triggered(book)
    while order_id != 0:
        order = find_order(book, order_id)
        lots, reason = allowance(
            book,
            accounts,
            asset,
            book[order + OWNER],
            book[order + SIDE],
            book[order + FLAGS],
            book[order + PRICE],
            book[order + REMAINING],
        )
        first = n
        n = activate(book, out, n, order_id, lots, reason)
        n = settle_act(book, accounts, tape, out, first, n, asset, order_id, now_ts)
        order_id = next_triggered(book)
    return n
