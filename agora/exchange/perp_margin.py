"""Cross margin: what orders and positions bind, what is left, when an account is liquidated. Reads only.

The one convention, in `money_of`: wallet = available + frozen + margin. The wallet holds realised money only
(deposits + realised - fees + funding); unrealised profit stands beside it, and `available + unrealised` is what may
be opened with. All roundings are against the account.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agora.domain.numbers import PPM, divide_up
from agora.domain.orders import Side
from agora.exchange.perp_accounts import PerpAccount, PositionState, Slot
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import MarginMode, Money, PerpOrder, PerpPosition, PositionSide, WorstCase
from agora.exchange.perp_state import Market, PerpState


class Claim(NamedTuple):
    """An order as margin sees it: what it may still do, and at which price."""

    side: Side
    slot: Slot
    lots: int
    price_ticks: int
    reduce_only: bool


def claim_of(order: PerpOrder) -> Claim:
    """An open order as a claim."""
    return Claim(order.side, order.position_side, order.open_lots, order.price_ticks, order.reduce_only)


def claims_in(account: PerpAccount, symbol: str) -> list[Claim]:
    """The open orders of a symbol, oldest first."""
    return [claim_of(order) for order in account.open_orders(symbol)]


def leverage_of(account: PerpAccount, market: Market) -> int:
    """The leverage an account has chosen for a symbol."""
    return account.leverages.get(market.symbol, market.listing.leverage_default)


def openings(account: PerpAccount, symbol: str, claims: Sequence[Claim]) -> Iterator[tuple[Claim, int]]:
    """What each claim would open: in one-way mode the oldest of the other direction close the position first."""
    net = account.lots_in(symbol, None)
    closable = {Side.BUY: max(0, -net), Side.SELL: max(0, net)}
    for claim in claims:
        if claim.reduce_only:
            continue
        covered = min(closable[claim.side], claim.lots) if claim.slot is None else 0
        closable[claim.side] -= covered
        if claim.lots > covered:
            yield claim, claim.lots - covered


def hold_units(account: PerpAccount, market: Market, claims: Sequence[Claim]) -> int:
    """What orders freeze: initial margin of what they would open at their price, and the taker fee of it."""
    leverage, instrument = leverage_of(account, market), market.instrument
    return sum(
        divide_up(instrument.notional_units(claim.price_ticks, lots), leverage)
        + instrument.fee_units(claim.price_ticks, lots, is_maker=False)
        for claim, lots in openings(account, market.symbol, claims)
    )


def margin_units(state: PerpState, account: PerpAccount, position: PositionState) -> int:
    """What a position binds: its entry value divided by the leverage."""
    return divide_up(abs(position.book.cost_units), leverage_of(account, state.markets[position.symbol]))


def maintenance_units(state: PerpState, position: PositionState) -> int:
    """Open price * size * rate of its tier; with the taker fee of closing it where the rules count that."""
    market = state.markets[position.symbol]
    value = abs(position.book.cost_units)
    tier = market.listing.ladder[market.listing.tier_number(value)]
    fee_ppm = market.instrument.taker_fee_ppm if state.rules.counts_liquidation_fee else 0
    return divide_up(value * (tier.maintenance_ppm + fee_ppm), PPM)


def unrealised_units(state: PerpState, position: PositionState) -> int:
    """Profit at the mark price."""
    market = state.markets[position.symbol]
    return position.book.unrealised_units(market.instrument, market.mark_ticks)


def money_of(state: PerpState, account: PerpAccount) -> Money:
    """The account's money in the one convention of this exchange."""
    frozen = 0
    if account.open_ids:
        for symbol, market in state.markets.items():
            frozen += hold_units(account, market, claims_in(account, symbol))
    margin = sum(margin_units(state, account, position) for position in account.positions.values())
    wallet = account.ledger.cash
    return Money(
        account=account.number,
        wallet_units=wallet,
        available_units=wallet - frozen - margin,
        frozen_units=frozen,
        margin_units=margin,
        unrealised_units=sum(unrealised_units(state, position) for position in account.positions.values()),
    )


def buffer_units(state: PerpState, account: PerpAccount) -> int:
    """How much the account may lose before it is liquidated: equity less all maintenance margins."""
    positions = account.positions.values()
    equity = account.ledger.cash + sum(unrealised_units(state, position) for position in positions)
    return equity - sum(maintenance_units(state, position) for position in positions)


def opening_refusal(
    state: PerpState, account: PerpAccount, *, market: Market, claims: Sequence[Claim], new: Claim
) -> PerpReason:
    """Whether the orders of a symbol may become `claims`, of which `new` is the one that is added or changed."""
    value_max = market.listing.value_max_units(leverage_of(account, market))
    before = claims_in(account, market.symbol)
    value = _value_units(account, market, claims=claims, side=new.side)
    if value > value_max and value > _value_units(account, market, claims=before, side=new.side):
        return PerpReason.POSITION_LIMIT
    added = hold_units(account, market, claims) - hold_units(account, market, before)
    if added <= 0:
        return PerpReason.NONE
    money = money_of(state, account)
    if added > money.available_units + money.unrealised_units:
        return PerpReason.INSUFFICIENT_BALANCE
    return PerpReason.NONE


def _value_units(account: PerpAccount, market: Market, *, claims: Sequence[Claim], side: Side) -> int:
    """Value of the position in one direction if all orders that open in it fill."""
    slots: tuple[Slot, ...] = (None, PositionSide.LONG if side is Side.BUY else PositionSide.SHORT)
    places = (account.positions.get((market.symbol, slot)) for slot in slots)
    value = sum(max(0, place.book.cost_units * side) for place in places if place is not None)
    return value + sum(
        market.instrument.notional_units(claim.price_ticks, lots)
        for claim, lots in openings(account, market.symbol, claims)
        if claim.side is side
    )


def liquidation_ticks(state: PerpState, account: PerpAccount, position: PositionState) -> int:
    """The mark price at which the account is liquidated if no other price moves; 0 when there is none."""
    market = state.markets[position.symbol]
    net = account.net_lots(position.symbol)
    if net * position.book.size_lots <= 0:  # the other position of a hedge is larger: this one cannot bring it down
        return 0
    per_tick = abs(net) * market.instrument.tick_lot_units
    steps = divide_up(buffer_units(state, account), per_tick)
    return max(0, market.mark_ticks - steps if net > 0 else market.mark_ticks + steps)


def view_of(state: PerpState, account: PerpAccount, position: PositionState) -> PerpPosition:
    """A position as its owner sees it."""
    return PerpPosition(
        position_id=position.position_id,
        account=account.number,
        symbol=position.symbol,
        side=position.side,
        size_lots=abs(position.book.size_lots),
        cost_units=abs(position.book.cost_units),
        margin_units=margin_units(state, account, position),
        maintenance_units=maintenance_units(state, position),
        unrealised_units=unrealised_units(state, position),
        realised_units=position.realised_units,
        fee_units=position.fee_units,
        funding_units=position.funding_units,
        liquidation_ticks=liquidation_ticks(state, account, position),
        leverage=leverage_of(account, state.markets[position.symbol]),
        margin_mode=MarginMode.CROSS,
        position_mode=account.position_mode,
        created_ns=position.created_ns,
        changed_ns=position.changed_ns,
    )


def worst_case(account: PerpAccount, market: Market) -> WorstCase:
    """The largest net position of a symbol if all open orders of one side fill, valued at the mark price."""
    net = account.net_lots(market.symbol)
    opening = [order for order in account.open_orders(market.symbol) if not order.reduce_only]
    buys = sum(order.open_lots for order in opening if order.side is Side.BUY)
    sells = sum(order.open_lots for order in opening if order.side is Side.SELL)
    worst = max(abs(net), abs(net + buys), abs(net - sells))
    return WorstCase(
        symbol=market.symbol,
        position_lots=net,
        worst_lots=worst,
        worst_units=market.instrument.notional_units(market.mark_ticks, worst),
    )
