"""The arithmetic of settlement: fees, holds, margins and positions in the accounts buffer.

Internal to the settlement kernel. It knows neither books nor orders: it is told what rests, ends and trades.
"""

from __future__ import annotations

from agora.kernels.compiled import Rows, Words, compiled_inside
from agora.kernels.settlement_layout import (
    ACCOUNT_COUNT,
    ALLOWS_SHORTS,
    BUY_HELD,
    BUY_LOTS,
    CASH,
    COST,
    CURRENCY,
    FEES,
    FEES_PAID,
    HELD,
    INITIAL_MARGIN_PPM,
    LOTS,
    MAKER_FEE_PPM,
    MARGIN,
    MARK_PRICE,
    PPM,
    REALISED,
    RESERVED,
    SELL_LOTS,
    SELL_VALUE,
    SHORT_COUNT,
    TAKER_FEE_PPM,
    TICK_LOT_UNITS,
    TRADE_ASSET,
    TRADE_COUNT,
    TRADE_LOTS,
    TRADE_MAKER,
    TRADE_MAKER_FEE,
    TRADE_MAKER_ORDER,
    TRADE_NUMBER,
    TRADE_PRICE,
    TRADE_SIDE,
    TRADE_TAKER,
    TRADE_TAKER_FEE,
    TRADE_TAKER_ORDER,
    TRADE_TS,
    TRADED_LOTS,
    TRADES,
    asset_words,
    cash_words,
    currency_words,
    position_words,
)

PRODUCT_MAX = 2.0**62  # below it a product judged in floats is certain to fit a signed word


@compiled_inside
def part_up(amount: int, ppm: int) -> int:
    """Return `amount * ppm / 1e6` rounded up, for amounts above zero and shares up to all of it."""
    return int(amount // PPM * ppm + (amount % PPM * ppm + PPM - 1) // PPM)


@compiled_inside
def share_down(amount: int, part: int, whole: int) -> int:
    """Return `amount * part / whole` rounded towards minus infinity, for 0 <= part <= whole.

    The product may need 128 bits, so where the remainder's product does not fit it is divided bit by bit.
    """
    count = amount // whole * part
    rest = amount % whole
    if float(rest) * float(part) < PRODUCT_MAX:
        return int(count + rest * part // whole)
    quotient = 0
    carried = 0
    for place in range(62, -1, -1):
        quotient *= 2
        carried = carried * 2
        if (part >> place) & 1 == 1:
            carried += rest
        while carried >= whole:
            carried -= whole
            quotient += 1
    return int(count + quotient)


@compiled_inside
def hold_per_lot(accounts: Words, at: int, price: int) -> int:
    """Return what a resting buy holds for one lot: its price and the higher fee, rounded up.

    Rounded per lot, the hold suffices however many fills the order is filled by.
    """
    units = price * accounts[at + TICK_LOT_UNITS]
    ppm = max(accounts[at + MAKER_FEE_PPM], accounts[at + TAKER_FEE_PPM])
    return int(units + part_up(units, ppm))


@compiled_inside
def free_cash(accounts: Words, cash: int) -> int:
    """Return what a new order may use."""
    return int(accounts[cash + CASH] - accounts[cash + HELD] - accounts[cash + RESERVED])


@compiled_inside
def short_lock(accounts: Words, at: int, position: int) -> int:
    """Return what a short position keeps from being spent: its proceeds and the initial margin on them."""
    if accounts[position + LOTS] >= 0:
        return 0
    proceeds = -accounts[position + COST]
    if proceeds <= 0:
        return 0
    return int(proceeds + part_up(proceeds, accounts[at + INITIAL_MARGIN_PPM]))


@compiled_inside
def cover_need(accounts: Words, position: int, lock: int, buy_lots: int, buy_held: int) -> int:
    """Return what a short and the resting buys that would cover it keep locked together.

    A buy that covers needs no second lock for what it buys back, but never frees more than it holds itself:
    cancelling it must not leave the short without its margin.
    """
    if lock == 0:
        return buy_held
    short_lots = -accounts[position + LOTS]
    covered = share_down(lock, min(buy_lots, short_lots), short_lots)
    return int(max(lock, lock - covered + buy_held))


@compiled_inside
def asked_margin(accounts: Words, at: int, position: int) -> int:
    """Return the margin and fee held for resting sells beyond the lots owned, at the sells' average price
    rounded up.
    """
    lots = accounts[position + SELL_LOTS]
    uncovered = lots - max(accounts[position + LOTS], 0)
    if uncovered <= 0:
        return 0
    price = (accounts[position + SELL_VALUE] + lots - 1) // lots
    units = price * uncovered * accounts[at + TICK_LOT_UNITS]
    ppm = max(accounts[at + MAKER_FEE_PPM], accounts[at + TAKER_FEE_PPM])
    return int(part_up(units, accounts[at + INITIAL_MARGIN_PPM]) + part_up(units, ppm))


@compiled_inside
def refresh_margin(accounts: Words, at: int, cash: int, position: int) -> None:
    """Bring an account's margin in an asset in line with its position and orders."""
    if accounts[at + ALLOWS_SHORTS] == 0:
        return
    lock = short_lock(accounts, at, position)
    held = accounts[position + BUY_HELD]
    together = cover_need(accounts, position, lock, accounts[position + BUY_LOTS], held)
    margin = together - held + asked_margin(accounts, at, position)
    accounts[cash + RESERVED] += margin - accounts[position + MARGIN]
    accounts[position + MARGIN] = margin


@compiled_inside
def shift_hold(accounts: Words, asset: int, owner: int, side: int, price: int, lots: int) -> None:
    """Hold what `lots` of a resting limit order need; negative lots release it."""
    at = asset_words(accounts, asset)
    position = position_words(accounts, owner, asset)
    cash = cash_words(accounts, owner, accounts[at + CURRENCY])
    if side > 0:
        held = lots * hold_per_lot(accounts, at, price)
        accounts[position + BUY_LOTS] += lots
        accounts[position + BUY_HELD] += held
        accounts[cash + HELD] += held
    else:
        accounts[position + SELL_LOTS] += lots
        accounts[position + SELL_VALUE] += lots * price
    refresh_margin(accounts, at, cash, position)


@compiled_inside
def move_position(accounts: Words, position: int, unit_value: int, lots: int) -> None:
    """Add a signed fill at `unit_value` money units per lot; the proportional cost of what it closes is realised.

    The cost taken out is rounded down, and the remainder stays with the open lots.
    """
    held = accounts[position + LOTS]
    opening = lots
    if (held > 0 and lots < 0) or (held < 0 and lots > 0):
        closing = min(abs(held), abs(lots))
        cost = share_down(accounts[position + COST], closing, abs(held))
        signed = closing if lots > 0 else -closing
        accounts[position + COST] -= cost
        accounts[position + REALISED] += -signed * unit_value - cost
        opening = lots - signed
    accounts[position + COST] += opening * unit_value
    accounts[position + LOTS] = held + lots
    if held < 0 <= held + lots:
        accounts[SHORT_COUNT] -= 1
    if held + lots < 0 <= held:
        accounts[SHORT_COUNT] += 1


@compiled_inside
def post(accounts: Words, asset: int, owner: int, unit_value: int, lots: int, fee: int) -> None:
    """Settle one side of a fill: signed lots against cash, and the fee."""
    at = asset_words(accounts, asset)
    position = position_words(accounts, owner, asset)
    cash = cash_words(accounts, owner, accounts[at + CURRENCY])
    accounts[cash + CASH] -= lots * unit_value + fee
    accounts[currency_words(accounts, accounts[at + CURRENCY]) + FEES] += fee
    accounts[position + FEES_PAID] += fee
    accounts[position + TRADES] += 1
    accounts[position + TRADED_LOTS] += abs(lots)
    move_position(accounts, position, unit_value, lots)
    refresh_margin(accounts, at, cash, position)


@compiled_inside
def settle(
    accounts: Words,
    tape: Rows,
    asset: int,
    side: int,
    price: int,
    lots: int,
    maker: int,
    taker: int,
    maker_order: int,
    taker_order: int,
    now_ts: int,
) -> int:
    """Settle both sides of a fill, note it on the tape and return the tape's row."""
    at = asset_words(accounts, asset)
    unit_value = price * accounts[at + TICK_LOT_UNITS]
    maker_fee = part_up(unit_value * lots, accounts[at + MAKER_FEE_PPM])
    taker_fee = part_up(unit_value * lots, accounts[at + TAKER_FEE_PPM])
    shift_hold(accounts, asset, maker, -side, price, -lots)
    post(accounts, asset, maker, unit_value, -side * lots, maker_fee)
    post(accounts, asset, taker, unit_value, side * lots, taker_fee)
    accounts[at + MARK_PRICE] = price
    row = accounts[TRADE_COUNT] % tape.shape[0]
    accounts[TRADE_COUNT] += 1
    tape[row, TRADE_ASSET] = asset
    tape[row, TRADE_PRICE] = price
    tape[row, TRADE_LOTS] = lots
    tape[row, TRADE_SIDE] = side
    tape[row, TRADE_MAKER] = maker
    tape[row, TRADE_TAKER] = taker
    tape[row, TRADE_MAKER_ORDER] = maker_order
    tape[row, TRADE_TAKER_ORDER] = taker_order
    tape[row, TRADE_MAKER_FEE] = maker_fee
    tape[row, TRADE_TAKER_FEE] = taker_fee
    tape[row, TRADE_TS] = now_ts
    tape[row, TRADE_NUMBER] = accounts[TRADE_COUNT]
    return int(row)


@compiled_inside
def is_account(accounts: Words, owner: int) -> bool:
    """Say whether an account of that number was opened."""
    return bool(0 <= owner < accounts[ACCOUNT_COUNT])
