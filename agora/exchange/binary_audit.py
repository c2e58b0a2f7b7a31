"""What must hold after every step, asserted: collateral and tokens are conserved, holds and books fit the orders."""

from __future__ import annotations

from collections import Counter

from agora.exchange.binary_ledger import COLLATERAL, ESCROW, Place, Pocket
from agora.exchange.binary_open_orders import resting_hold
from agora.exchange.binary_records import MarketState, Outcome
from agora.exchange.binary_sets import BinarySets, given_up
from agora.exchange.binary_state import BinaryMarket, BinaryState
from agora.exchange.binary_trades import BinaryTrades, given
from agora.kernels import matching


def audit(state: BinaryState, trades: BinaryTrades, sets: BinarySets) -> None:
    """Raise `AssertionError` when something does not add up."""
    entries = list(state.ledger.entries())
    _audit_sums(entries)
    for market in state.by_number:
        _audit_sets(state, market)
    _audit_holds(state, entries)
    _audit_escrow(state, entries, escrowed=_escrowed(state, trades, sets))


def _audit_sums(entries: list[tuple[Place, str, int]]) -> None:
    """What is inside is what came from outside; nobody owes."""
    sums: Counter[str] = Counter()
    for place, asset, units in entries:
        assert units > 0 or place.pocket is Pocket.OUTSIDE, f"{place} has {units} of {asset}"
        sums[asset] += units
    assert not any(sums.values()), f"not conserved: {dict(sums)}"


def _audit_sets(state: BinaryState, market: BinaryMarket) -> None:
    """As many Up as Down as locked collateral; once resolved, as much collateral as winners."""
    up, down = (state.issued_units(market.token(outcome)) for outcome in Outcome)
    locked, name = state.sets_units(market), market.window.condition_id
    if market.state is MarketState.RESOLVED:
        owed = up if market.winner is Outcome.UP else down
        assert owed == locked, f"{name}: {owed} winners, {locked} locked"
        return
    assert up == down == locked, f"{name}: {up} Up, {down} Down, {locked} locked"


def _audit_holds(state: BinaryState, entries: list[tuple[Place, str, int]]) -> None:
    """What is held is what open orders hold, and a resting order stands in its book with its open shares."""
    expected: Counter[tuple[int, str]] = Counter()
    for order_id, live in state.live.items():
        assert live.record.is_open, f"{order_id} is live: {live.record}"
        expected[live.account, live.held_asset] += live.held_units
        if live.is_delayed:
            continue
        words = state.by_number[live.market_number].book.words
        at = matching.order_at(words, live.number)
        assert at, f"open order {order_id} is not in the book"
        rests = int(words[at + matching.REMAINING])
        assert rests == live.record.open_units, f"{order_id}: {rests} rest, {live.record.open_units} are open"
        assert live.held_units == resting_hold(live.record), f"{order_id} holds {live.held_units}"
    held = {(place.owner, asset): units for place, asset, units in entries if place.pocket is Pocket.HELD}
    assert held == dict(+expected), f"held {held}, by orders {dict(+expected)}"
    resting = sum(market.book.order_count for market in state.by_number)
    delayed = sum(live.is_delayed for live in state.live.values())
    assert resting == len(state.live) - delayed, f"{resting} orders rest in books, {len(state.live)} are live"


def _escrowed(state: BinaryState, trades: BinaryTrades, sets: BinarySets) -> Counter[str]:
    """What unsettled trades and pending set operations put into escrow."""
    escrowed: Counter[str] = Counter()
    for trade in trades.unsettled:
        for side in trade.sides:
            asset, units = given(side)
            escrowed[asset] += units
    for operation in sets.pending:
        for asset, units in given_up(state.market(operation.condition_id), operation):
            escrowed[asset] += units
    return escrowed


def _audit_escrow(state: BinaryState, entries: list[tuple[Place, str, int]], *, escrowed: Counter[str]) -> None:
    """Escrow holds that and nothing else."""
    found = {asset: units for place, asset, units in entries if place == ESCROW}
    assert found == dict(+escrowed), f"escrow {found}, of trades and sets {dict(+escrowed)} at {state.now_ns}"
    assert COLLATERAL not in state.by_token, "a token is named like the collateral"
