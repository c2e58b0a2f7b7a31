"""What a fill and a funding instant do to an account: exact money, positions opened, turned and closed.

Wallet less the cost of open positions changes by exactly what was traded and the fee, whatever rounding a partial
close has: so the sum over both sides of a trade is the fees, and the audit can be exact.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agora.domain.accounting import funding_units
from agora.exchange.perp_accounts import PerpAccount, PositionState, Slot
from agora.exchange.perp_margin import leverage_of, money_of, view_of
from agora.exchange.perp_records import (
    BalanceChanged,
    ChangeEvent,
    ClosedPosition,
    FundingSettled,
    MarginMode,
    PositionChanged,
    PositionSide,
)
from agora.exchange.perp_state import INSURANCE, Market, PerpState


class Fill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One side of a trade. `lots` is signed; a negative fee is given back (a busted trade)."""

    trade_id: int
    order_id: int
    account: int
    counterparty: int
    lots: int
    price_ticks: int
    fee_units: int
    is_maker: bool
    slot: Slot = None
    is_liquidation: bool = False


class Filled(NamedTuple):
    """What a fill did: profit taken, the position it is booked to, what it opened, what it closed (0: nothing)."""

    realised_units: int
    position_id: int
    opened_id: int
    opened_lots: int
    closed_id: int
    changes: tuple[PositionChanged, ...]


def apply_fill(state: PerpState, account: PerpAccount, *, market: Market, fill: Fill) -> Filled:
    """Book a fill. A position is closed before its other direction is opened, with a share of the fee for each."""
    position = account.positions.get((market.symbol, fill.slot))
    closing = 0 if position is None else _closing_lots(position.book.size_lots, fill.lots)
    realised = position_id = closed_id = fee_closing = 0
    changes: list[PositionChanged] = []
    if position is not None and closing:
        fee_closing = fill.fee_units * abs(closing) // abs(fill.lots)
        realised = _close(market, position, fill=fill, lots=closing)
        _note(state, position, fee_closing)
        position_id = position.position_id
        if position.book.size_lots == 0:
            closed_id = position_id
            _end(state, account, position)
        if not account.is_house:
            event = ChangeEvent.CLOSE if closed_id else ChangeEvent.UPDATE
            changes.append(PositionChanged(state.now_ns, event, view_of(state, account, position)))
    account.ledger.settle(realised=realised, fee=fill.fee_units)
    opening, opened_id = fill.lots - closing, 0
    if opening:
        opened = _open(state, account, market=market, fill=fill, lots=opening)
        _note(state, opened, fill.fee_units - fee_closing)
        opened_id = opened.position_id
        position_id = position_id or opened_id
        if not account.is_house:
            event = ChangeEvent.OPEN if opened.entry_lots == abs(opening) else ChangeEvent.UPDATE
            changes.append(PositionChanged(state.now_ns, event, view_of(state, account, opened)))
    return Filled(realised, position_id, opened_id, abs(opening), closed_id, tuple(changes))


def _closing_lots(position_lots: int, fill_lots: int) -> int:
    """The signed part of a fill that reduces the position."""
    if position_lots * fill_lots >= 0:
        return 0
    closing = min(abs(position_lots), abs(fill_lots))
    return closing if fill_lots > 0 else -closing


def _close(market: Market, position: PositionState, *, fill: Fill, lots: int) -> int:
    realised = position.book.apply(market.instrument, size_lots=lots, price_ticks=fill.price_ticks)
    position.realised_units += realised
    position.close_units += abs(market.instrument.notional_units(fill.price_ticks, lots))
    if fill.is_liquidation:
        position.liquidated_lots += abs(lots)
    return realised


def _open(state: PerpState, account: PerpAccount, *, market: Market, fill: Fill, lots: int) -> PositionState:
    """Add to a position of the fill's direction. In hedge mode that is the slot of the direction: only a busted trade
    comes to another one than it asked for.
    """
    slot: Slot = None if fill.slot is None else (PositionSide.LONG if lots > 0 else PositionSide.SHORT)
    position = account.positions.get((market.symbol, slot))
    if position is None:
        position = PositionState(state.next_id(), symbol=market.symbol, slot=slot, now_ns=state.now_ns)
        account.positions[market.symbol, slot] = position
    position.book.apply(market.instrument, size_lots=lots, price_ticks=fill.price_ticks)
    position.entry_lots += abs(lots)
    position.entry_units += market.instrument.notional_units(fill.price_ticks, lots)
    position.lots_max = max(position.lots_max, abs(position.book.size_lots))
    return position


def _note(state: PerpState, position: PositionState, fee_units: int) -> None:
    position.fee_units += fee_units
    position.changed_ns = state.now_ns


def _end(state: PerpState, account: PerpAccount, position: PositionState) -> None:
    """Take a closed position out, and keep its history."""
    del account.positions[position.symbol, position.slot]
    if account.is_house:
        return
    account.closed.append(
        ClosedPosition(
            position_id=position.position_id,
            account=account.number,
            symbol=position.symbol,
            side=position.side,
            lots_max=position.lots_max,
            entry_lots=position.entry_lots,
            entry_units=abs(position.entry_units),
            close_units=position.close_units,
            liquidated_lots=position.liquidated_lots,
            realised_units=position.realised_units,
            fee_units=position.fee_units,
            funding_units=position.funding_units,
            leverage=leverage_of(account, state.markets[position.symbol]),
            margin_mode=MarginMode.CROSS,
            position_mode=account.position_mode,
            created_ns=position.created_ns,
            closed_ns=state.now_ns,
        )
    )


def settle_funding(state: PerpState, market: Market, rate_ppb: int) -> FundingSettled:
    """Charge funding on the positions open at this instant, at the mark price; roundings stay in the pot."""
    rounding = 0
    for account in state.accounts:
        for position in tuple(account.positions.values()):
            if position.symbol != market.symbol:
                continue
            units = funding_units(
                market.instrument,
                size_lots=position.book.size_lots,
                mark_ticks=market.mark_ticks,
                rate_ppb=rate_ppb,
            )
            account.ledger.fund(units)
            position.funding_units += units
            position.changed_ns = state.now_ns
            rounding -= units
            if not account.is_house:
                state.touched[account.number] = None
                view = view_of(state, account, position)
                state.tell(PositionChanged(state.now_ns, ChangeEvent.UPDATE, view))
    state.funding_pot_units += rounding
    settled = FundingSettled(
        symbol=market.symbol,
        ts_ns=state.now_ns,
        rate_ppb=rate_ppb,
        mark_ticks=market.mark_ticks,
        rounding_units=rounding,
    )
    market.fundings.append(settled)
    return settled


def cover_deficit(state: PerpState, account: PerpAccount) -> int:
    """Let the insurance account pay what an account without positions owes; return how much."""
    deficit = -account.ledger.cash
    if deficit <= 0 or account.positions:
        return 0
    state.account(INSURANCE).ledger.settle(realised=-deficit, fee=0)
    account.ledger.settle(realised=deficit, fee=0)
    return deficit


def tell_balances(state: PerpState) -> None:
    """Tell the money of the accounts that a command has touched, where it is another than was told last."""
    for number in state.touched:
        account = state.accounts[number]
        money = money_of(state, account)
        told = account.told_money
        if told is None or msgspec.structs.replace(money, unrealised_units=told.unrealised_units) != told:
            account.told_money = money
            state.tell(BalanceChanged(state.now_ns, money))
    state.touched.clear()
