"""Who of the traders has what: the run's position in an instrument is the sum of its traders' shares.

Each fill is booked twice: into the net position, as the venue has it, and into the share of the trader whose order it
was. What the venue did by itself (liquidation, an outside hand) reduces the shares in their order first. All shares of
an instrument have the sign of its position, so that each can be closed by an order that only reduces.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agora.domain.accounting import Position
from agora.domain.events import Warned
from agora.domain.instruments import Instrument
from agora.engine.desk import Desk
from agora.engine.state import Share, State

# The trader that the venue's own executions are booked under where no share absorbs them.
VENUE_TRADER = "venue"


def open_shares(state: State) -> Iterator[tuple[str, str, int]]:
    """(trader, symbol, signed lots) of every share that is not flat, in a fixed order."""
    for trader in sorted(state.shares):
        for symbol in sorted(state.shares[trader]):
            lots = state.shares[trader][symbol].position.size_lots
            if lots:
                yield trader, symbol, lots


def share_of(state: State, trader: str, symbol: str) -> Share:
    """A trader's share, made on first use."""
    return state.shares.setdefault(trader, {}).setdefault(symbol, Share(Position()))


def lots_of(state: State, trader: str, symbol: str) -> int:
    """The signed lots of a trader's share."""
    share = state.shares.get(trader, {}).get(symbol)
    return 0 if share is None else share.position.size_lots


class Execution(msgspec.Struct, frozen=True):
    """What was bought (positive) or sold, at which price, for which fee."""

    size_lots: int
    price_ticks: int
    fee_units: int = 0


def book(desk: Desk, trader: str, symbol: str, *, execution: Execution) -> None:
    """Book an execution into the shares; the fee and the count go to the first of those it touches."""
    state, size_lots = desk.state, execution.size_lots
    parts = [(trader, size_lots)] if trader != VENUE_TRADER else _absorbed(state, symbol, size_lots)
    instrument = desk.rules.instruments[symbol]
    for number, (owner, lots) in enumerate(parts):
        share = share_of(state, owner, symbol)
        share.fills += number == 0
        fee_units = execution.fee_units if number == 0 else 0
        _settle(state, share, instrument, execution=Execution(lots, execution.price_ticks, fee_units))
    _cross(desk, symbol, execution.price_ticks)
    total = sum(lots for _, name, lots in open_shares(state) if name == symbol)
    net = state.holdings[symbol].position.size_lots
    assert total == net, f"{symbol}: the shares hold {total} lots, the run {net}"


def _absorbed(state: State, symbol: str, size_lots: int) -> list[tuple[str, int]]:
    """How a fill of the venue's own falls on the shares: those on the other side first, the rest is the venue's."""
    parts = []
    left = size_lots
    for trader, name, lots in list(open_shares(state)):
        if name != symbol or lots * left >= 0:
            continue
        part = max(left, -lots) if left < 0 else min(left, -lots)
        parts.append((trader, part))
        left -= part
    if left or not parts:
        parts.append((VENUE_TRADER, left))
    return parts


def _cross(desk: Desk, symbol: str, price_ticks: int) -> None:
    """Let shares of opposite signs meet at the price of the fill that made them so.

    Arbitration keeps traders off each other; but an order may fill after its cancel, and one that only reduces closes
    what the account holds, also where that is more than its own trader has.
    """
    while True:
        held = [(trader, lots) for trader, name, lots in open_shares(desk.state) if name == symbol]
        longs, shorts = [each for each in held if each[1] > 0], [each for each in held if each[1] < 0]
        if not longs or not shorts:
            return
        size_lots = min(longs[0][1], -shorts[0][1])
        for trader, lots in ((longs[0][0], -size_lots), (shorts[0][0], size_lots)):
            share = share_of(desk.state, trader, symbol)
            _settle(desk.state, share, desk.rules.instruments[symbol], execution=Execution(lots, price_ticks))
        detail = f"{symbol}: {size_lots} lots of {longs[0][0]} and {shorts[0][0]} at {price_ticks} ticks"
        desk.record(Warned(ts_ns=desk.state.now_ns, what="shares_crossed", detail=detail))


def _settle(state: State, share: Share, instrument: Instrument, *, execution: Execution) -> None:
    before_lots = share.position.size_lots
    realised = share.position.apply(instrument, size_lots=execution.size_lots, price_ticks=execution.price_ticks)
    share.realised_units += realised
    share.fees_units += execution.fee_units
    share.trade_net_units += realised - execution.fee_units
    # A fill through zero ends one trade and begins the next.
    if before_lots and share.position.size_lots * before_lots <= 0:
        _close_trade(state, share)


def _close_trade(state: State, share: Share) -> None:
    """A share went flat or changed sides: one trade is complete, won or lost after fees and funding."""
    counters = state.counters
    is_won = share.trade_net_units > 0
    share.trades += 1
    share.wins += is_won
    share.trade_net_units = 0
    counters.trades += 1
    counters.wins += is_won
    counters.losing_streak = 0 if is_won else counters.losing_streak + 1


def fund(state: State, symbol: str, amount_units: int) -> None:
    """Spread funding over the shares by their size, rounded down; what rounding leaves is the last one's."""
    holders = [(trader, lots) for trader, name, lots in open_shares(state) if name == symbol]
    gross = sum(abs(lots) for _, lots in holders)
    left = amount_units
    for trader, lots in holders[:-1]:
        part = amount_units * abs(lots) // gross
        _fund_share(share_of(state, trader, symbol), part)
        left -= part
    _fund_share(share_of(state, holders[-1][0] if holders else _last_owner(state, symbol), symbol), left)


def _last_owner(state: State, symbol: str) -> str:
    """Funding may be told after its position is closed: it belongs to a trader of that instrument, if there is one."""
    owners = [trader for trader in sorted(state.shares) if symbol in state.shares[trader]]
    return owners[0] if owners else VENUE_TRADER


def _fund_share(share: Share, units: int) -> None:
    share.funding_units += units
    share.trade_net_units += units
