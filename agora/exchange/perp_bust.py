"""Undoing a trade: both sides get their money, fee and lots back, at the trade's own price."""

from __future__ import annotations

import msgspec

from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_positions import Fill, apply_fill
from agora.exchange.perp_records import PerpTrade, TradeMade
from agora.exchange.perp_state import INSURANCE, Market, PerpState
from agora.exchange.perp_tpsl import TpslRows


def bust(state: PerpState, rows: TpslRows, trade_id: int) -> bool:
    """Undo the trade of that id; False when no account's history holds it, or it is undone already.

    Orders stay as filled: the venue takes back what the trade did, not that it happened.
    """
    trade = next((trade for account in state.accounts for trade in account.trades if trade.trade_id == trade_id), None)
    if trade is None or trade.is_busted:
        return False
    market = state.markets[trade.symbol]
    for account in (trade.account, trade.counterparty):
        _give_back(state, rows, market=market, fill=_reverse(trade, account, _fee_units(market, trade, account)))
    return True


def _fee_units(market: Market, trade: PerpTrade, account: int) -> int:
    """What a side was charged; a trade with the insurance account has no fee."""
    if INSURANCE in {trade.account, trade.counterparty}:
        return 0
    is_maker = trade.is_maker == (account == trade.account)
    return market.instrument.fee_units(trade.price_ticks, trade.size_lots, is_maker=is_maker)


def _reverse(trade: PerpTrade, account: int, fee_units: int) -> Fill:
    """The fill that undoes one side."""
    sign = -1 if account == trade.account else 1
    return Fill(
        trade_id=trade.trade_id,
        order_id=trade.order_id,
        account=account,
        counterparty=trade.counterparty if account == trade.account else trade.account,
        lots=sign * trade.side * trade.size_lots,
        price_ticks=trade.price_ticks,
        fee_units=-fee_units,
        is_maker=trade.is_maker,
    )


def _give_back(state: PerpState, rows: TpslRows, *, market: Market, fill: Fill) -> None:
    account = state.accounts[fill.account]
    state.fees_units += fill.fee_units
    place = _place_of(account, fill.trade_id)
    if place is not None:
        order = account.orders.get(account.trades[place].order_id)
        fill = msgspec.structs.replace(fill, slot=order.position_side if order is not None else None)
    filled = apply_fill(state, account, market=market, fill=fill)
    if place is None:
        return
    state.touched[account.number] = None
    busted = msgspec.structs.replace(account.trades[place], is_busted=True)
    account.trades[place] = busted
    state.tell(TradeMade(state.now_ns, busted))
    for change in filled.changes:
        state.tell(change)
    if filled.closed_id:
        rows.end_of(account, symbol=market.symbol, position_id=filled.closed_id)


def _place_of(account: PerpAccount, trade_id: int) -> int | None:
    """Where a trade stands in an account's history."""
    return next((place for place, trade in enumerate(account.trades) if trade.trade_id == trade_id), None)
