"""Settlement: orders checked against their owners' money and units, and both sides of every fill paid at once.

`new_accounts` makes one buffer for all accounts of an exchange, `new_tape` the ring of its trades; the books are
those of `matching`, one per asset, whose owners are the account numbers. Together they are the whole state.

- A resting buy holds its price and the higher of the fees, rounded up per lot; a resting sell holds units. Waiting
  orders hold nothing and are checked when they trigger: what their owner cannot bear is cancelled with the reason.
- Fees are parts per million of the value, rounded up per fill, paid in the quote currency by both sides.
- A limit buy must be covered at its limit, a market buy at what is offered now, before anything trades.
- Where shorts are allowed, a sale beyond the owned units locks its proceeds and the initial margin on them, at the
  price sold; free cash must bear margin and fee. Buying back may use the lock. Sells resting beyond the owned
  units lock margin and fee at their average price. A fill of a resting order can take free cash below zero by the
  difference between one price and the average; then nothing new can be opened until it is above again.
- A reduce-only order is cut to what the owner's other resting orders of its side leave to close, at entry, at its
  trigger and after each of his other orders acted, so that no sequence of fills can turn the position.
- Short positions worth more than equity allows are found by `next_underwater` and bought back by
  `exchange_cover`, without a look at the funds: a bankrupt account ends with debt, and nothing is lost on the way.
- Rows are those of `matching` with two more columns for the fees. A refused call changes nothing.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled, compiled_inside
from agora.kernels.matching import cancel_all_of, cancel_order, expire_due
from agora.kernels.matching_layout import (
    ACCEPTED,
    BUY,
    CANCEL_OLDEST,
    CANCEL_REJECTED,
    CODE,
    DUPLICATE_ID,
    FIRST_ROW,
    FLAGS,
    IOC,
    LIMIT,
    LIQUIDATION,
    NO_REASON,
    NOTHING,
    NUMBER_MAX,
    ORDER_COUNT,
    PRICE,
    REASON,
    REJECTED,
    REMAINING,
    REPLACE_REJECTED,
    REQUESTED,
    ROWS_BESIDES,
    SIDE,
    STOP,
    UNKNOWN_ACCOUNT,
    WAITING,
    emit,
)
from agora.kernels.matching_orders import find_order
from agora.kernels.matching_rules import is_triggered, place, replace_order, replace_refusal
from agora.kernels.settlement_layout import (
    CASH,
    CURRENCY,
    LAST_ORDER_ID,
    LOTS,
    MARK_PRICE,
    SETTLED_COLUMNS,
    SETTLED_ROWS_PER_ORDER,
    TICK_LOT_UNITS,
    UNITS_MAX,
    AssetFacts,
    asset_words,
    cash_words,
    new_accounts,
    new_settled_out,
    new_tape,
    position_words,
    typed,
)
from agora.kernels.settlement_orders import (
    allowance,
    fire_funded,
    settle_act,
    settle_rows,
)
from agora.kernels.settlement_rules import is_account, shift_hold

__all__ = [
    "AssetFacts",
    "exchange_cancel",
    "exchange_cancel_all",
    "exchange_cover",
    "exchange_expire",
    "exchange_replace",
    "exchange_submit",
    "new_accounts",
    "new_settled_out",
    "new_tape",
]

# A short is bought back at most at this multiple of the mark price: a lone ask far away must not be given whatever it
# asks, and the next step tries again.
LIQUIDATION_BAND = 2
COVER_SIDE, COVER_TYPE, COVER_TIF, COVER_SELF_TRADE = typed(BUY), typed(LIMIT), typed(IOC), typed(CANCEL_OLDEST)


@compiled_inside
def has_room(book: Words, out: Rows, n: int) -> bool:
    """Say whether any one call can write its rows from `n` on."""
    return bool(out.shape[0] - n >= SETTLED_ROWS_PER_ORDER * book[ORDER_COUNT] + ROWS_BESIDES)


@compiled_inside
def need_room(book: Words, out: Rows) -> None:
    """Raise ValueError unless any one call can write its rows."""
    if out.shape[1] != SETTLED_COLUMNS or not has_room(book, out, FIRST_ROW):
        raise ValueError("out must have SETTLED_COLUMNS columns and at least 5 * orders + 16 rows")


@compiled_inside
def refused(out: Rows, n: int, code: int, reason: int, order_id: int, owner: int) -> int:
    """Write the row of a refusal that comes before the book is asked."""
    n = emit(out, n, code, reason, order_id, owner, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
    out[n - 1, SETTLED_COLUMNS - 2] = 0
    out[n - 1, SETTLED_COLUMNS - 1] = 0
    return n


@compiled_inside
def submit_funded(
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    n: int,
    asset: int,
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
    """As `exchange_submit`, writing rows from `n` on."""
    if not is_account(accounts, owner):
        return refused(out, n, REJECTED, UNKNOWN_ACCOUNT, order_id, owner)
    if order_id <= accounts[LAST_ORDER_ID]:
        return refused(out, n, REJECTED, DUPLICATE_ID, order_id, owner)
    lots = size
    # Numbers that make no order are left for the book to refuse.
    is_sound = 0 < size <= NUMBER_MAX and 0 <= price <= NUMBER_MAX
    if is_sound and (order_type < STOP or is_triggered(book, side, order_type, trigger)):
        lots, reason = allowance(book, accounts, asset, owner, side, flags, price, size)
        if lots == 0:
            return refused(out, n, REJECTED, reason, order_id, owner)
    first = n
    n = place(
        book, out, n, order_id, owner, side, order_type, tif, flags, price, trigger, lots, expire_ts, self_trade, now_ts
    )
    if out[first, CODE] == ACCEPTED:
        accounts[LAST_ORDER_ID] = order_id
    n = settle_act(book, accounts, tape, out, first, n, asset, order_id, now_ts)
    return fire_funded(book, accounts, tape, out, n, asset, now_ts)


@compiled
def exchange_submit(
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    asset: int,
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
    """Take a new order: REJECTED, or ACCEPTED and what follows from it, triggered orders included; all of it settled.

    `order_id` must be above all earlier ones of the exchange (`accounts[LAST_ORDER_ID]`, which a refusal leaves as
    it is). The other arguments and the rows are those of `matching.submit`. A reduce-only order may be accepted
    for fewer lots than asked.
    """
    need_room(book, out)
    return submit_funded(
        book,
        accounts,
        tape,
        out,
        FIRST_ROW,
        asset,
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


@compiled_inside
def cancel_funded(
    book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, order_id: int, owner: int
) -> int:
    """As `exchange_cancel`, writing rows from `n` on."""
    first = n
    n = cancel_order(book, out, n, order_id, owner)
    settle_rows(accounts, tape, out, first, n, asset, NOTHING, NOTHING)
    return n


@compiled
def exchange_cancel(book: Words, accounts: Words, tape: Rows, out: Rows, asset: int, order_id: int, owner: int) -> int:
    """Cancel an order and release its hold: CANCELLED, or CANCEL_REJECTED when it is unknown or another's."""
    need_room(book, out)
    return cancel_funded(book, accounts, tape, out, FIRST_ROW, asset, order_id, owner)


@compiled_inside
def cancel_all_funded(
    book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, owner: int, reason: int
) -> int:
    """As `exchange_cancel_all`, writing rows from `n` on."""
    if not is_account(accounts, owner):
        return refused(out, n, CANCEL_REJECTED, UNKNOWN_ACCOUNT, NOTHING, owner)
    first = n
    n = cancel_all_of(book, out, n, owner, reason)
    settle_rows(accounts, tape, out, first, n, asset, NOTHING, NOTHING)
    return n


@compiled
def exchange_cancel_all(book: Words, accounts: Words, tape: Rows, out: Rows, asset: int, owner: int) -> int:
    """Cancel all of an owner's orders in one book, oldest first, and release their holds."""
    need_room(book, out)
    return cancel_all_funded(book, accounts, tape, out, FIRST_ROW, asset, owner, REQUESTED)


@compiled_inside
def replace_funded(
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    n: int,
    asset: int,
    order_id: int,
    owner: int,
    price: int,
    size: int,
    now_ts: int,
) -> int:
    """As `exchange_replace`, writing rows from `n` on."""
    order = find_order(book, order_id)
    reason = replace_refusal(book, order, owner, price, size)
    if reason != NO_REASON:
        return refused(out, n, REPLACE_REJECTED, reason, order_id, owner)
    side, flags, old_price, open_lots = (
        book[order + SIDE],
        book[order + FLAGS],
        book[order + PRICE],
        book[order + REMAINING],
    )
    first, lots = n, size
    if flags & WAITING != 0:
        n = replace_order(book, out, n, order_id, owner, price, size)
        settle_rows(accounts, tape, out, first, n, asset, order_id, now_ts)
        return n
    shift_hold(accounts, asset, owner, side, old_price, -open_lots)
    if price != old_price or size > open_lots:
        lots, reason = allowance(book, accounts, asset, owner, side, flags, price, size)
        if lots == 0:
            shift_hold(accounts, asset, owner, side, old_price, open_lots)
            return refused(out, n, REPLACE_REJECTED, reason, order_id, owner)
    n = replace_order(book, out, n, order_id, owner, price, lots)
    n = settle_act(book, accounts, tape, out, first, n, asset, order_id, now_ts)
    return fire_funded(book, accounts, tape, out, n, asset, now_ts)


@compiled
def exchange_replace(
    book: Words,
    accounts: Words,
    tape: Rows,
    out: Rows,
    asset: int,
    order_id: int,
    owner: int,
    price: int,
    size: int,
    now_ts: int,
) -> int:
    """Give an order another price and open size, checked as a new order would be: REPLACED and what follows, or
    REPLACE_REJECTED. Priority is kept when the price stays and the size does not rise.
    """
    need_room(book, out)
    return replace_funded(book, accounts, tape, out, FIRST_ROW, asset, order_id, owner, price, size, now_ts)


@compiled_inside
def expire_funded(book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, now_ts: int) -> int:
    """As `exchange_expire`, writing rows from `n` on."""
    first = n
    n = expire_due(book, out, n, now_ts)
    settle_rows(accounts, tape, out, first, n, asset, NOTHING, NOTHING)
    return n


@compiled
def exchange_expire(book: Words, accounts: Words, tape: Rows, out: Rows, asset: int, now_ts: int) -> int:
    """Expire the GTD orders whose time has come, oldest first, and release their holds."""
    need_room(book, out)
    return expire_funded(book, accounts, tape, out, FIRST_ROW, asset, now_ts)


@compiled_inside
def cover_funded(
    book: Words, accounts: Words, tape: Rows, out: Rows, n: int, asset: int, order_id: int, owner: int, now_ts: int
) -> int:
    """As `exchange_cover`, writing rows from `n` on."""
    n = cancel_all_funded(book, accounts, tape, out, n, asset, owner, LIQUIDATION)
    if not is_account(accounts, owner) or order_id <= accounts[LAST_ORDER_ID]:
        return n
    at = asset_words(accounts, asset)
    lots = -accounts[position_words(accounts, owner, asset) + LOTS]
    if lots <= 0:
        return n
    lots = min(lots, NUMBER_MAX)
    debt = max(-accounts[cash_words(accounts, owner, accounts[at + CURRENCY]) + CASH], 0)
    payable = max(UNITS_MAX - debt, 0) // accounts[at + TICK_LOT_UNITS] // lots
    price = min(LIQUIDATION_BAND * accounts[at + MARK_PRICE], payable, NUMBER_MAX)
    if price <= 0:
        return n
    first = n
    n = place(
        book, out, n, order_id, owner, COVER_SIDE, COVER_TYPE, COVER_TIF, NOTHING, price, NOTHING, lots, NOTHING,
        COVER_SELF_TRADE, now_ts,
    )  # fmt: skip
    accounts[LAST_ORDER_ID] = order_id
    for row in range(first, n):
        out[row, REASON] = LIQUIDATION
    n = settle_act(book, accounts, tape, out, first, n, asset, order_id, now_ts)
    return fire_funded(book, accounts, tape, out, n, asset, now_ts)


@compiled
def exchange_cover(
    book: Words, accounts: Words, tape: Rows, out: Rows, asset: int, order_id: int, owner: int, now_ts: int
) -> int:
    """Cancel an owner's orders in a book for LIQUIDATION and buy his short back, at most at twice the mark price.

    What the book does not offer there stays short. `order_id`, above all earlier ones, is used up when there is
    something to buy.
    """
    need_room(book, out)
    return cover_funded(book, accounts, tape, out, FIRST_ROW, asset, order_id, owner, now_ts)
