"""What must hold after every step, asserted: money is conserved, longs equal shorts, orders are those of the books."""

from __future__ import annotations

from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_state import Market, PerpState
from agora.kernels import matching


def audit(state: PerpState) -> None:
    """Raise `AssertionError` when something does not add up."""
    _audit_money(state)
    for market in state.markets.values():
        _audit_rows(state, market)
    for account in state.accounts:
        if not account.is_house:
            _audit_orders(state, account)


def _audit_money(state: PerpState) -> None:
    """What was paid in is in the wallets (open positions at their cost), the fees and the funding pot; the insurance
    fund is a wallet too.

    A position's cost is part of its wallet: at any common mark price the costs of all longs and shorts together are
    minus their unrealised profits, since their lots sum to zero.
    """
    owned = deposits = 0
    lots = dict.fromkeys(state.markets, 0)
    for account in state.accounts:
        account.ledger.check()
        owned += account.ledger.cash
        deposits += account.ledger.deposits
        for position in account.positions.values():
            assert position.book.size_lots, f"account {account.number} keeps a flat position in {position.symbol}"
            owned -= position.book.cost_units
            lots[position.symbol] += position.book.size_lots
    assert owned + state.fees_units + state.funding_pot_units == deposits, (
        f"money is not conserved: wallets at cost {owned}, fees {state.fees_units}, funding pot "
        f"{state.funding_pot_units}, paid in {deposits}"
    )
    assert not any(lots.values()), f"longs and shorts differ: {lots}"


def _audit_orders(state: PerpState, account: PerpAccount) -> None:
    """An open order rests in its book with what it may still do, a reduce-only one with at most its position."""
    for order in account.open_orders():
        words = state.markets[order.symbol].book.words
        at = matching.order_at(words, order.order_id)
        assert at, f"open order {order.order_id} is not in the book"
        resting = int(words[at + matching.REMAINING])
        assert resting == order.open_lots, f"order {order.order_id}: {resting} lots rest, {order.open_lots} are open"
        closable = -account.lots_in(order.symbol, order.position_side) * order.side
        assert not order.reduce_only or order.open_lots <= closable, (
            f"reduce-only order {order.order_id} of {order.open_lots} lots, position {closable}"
        )


def _audit_rows(state: PerpState, market: Market) -> None:
    """A waiting row belongs to an open position, and who is said to have reduce-only orders has them."""
    for row_id, owner in market.tpsl.items():
        row = state.accounts[owner].tpsl[row_id]
        assert state.accounts[owner].position_by_id(row.position_id) is not None, f"row {row_id} outlived its position"
    for number, count in market.reducers.items():
        orders = state.accounts[number].open_orders(market.symbol)
        found = sum(order.reduce_only for order in orders)
        assert found == count, f"account {number} has {found} reduce-only orders in {market.symbol}, noted {count}"
