"""Liquidation: an account below maintenance loses its orders, then its positions tier by tier, then whole.

What the book does not take is handed to the insurance account at the mark price, and a wallet that ends below
zero is filled up by it: nobody else pays.
"""

from __future__ import annotations

import msgspec

from agora.exchange.perp_accounts import PerpAccount, PositionState
from agora.exchange.perp_margin import buffer_units, maintenance_units
from agora.exchange.perp_orders import Orders
from agora.exchange.perp_positions import cover_deficit
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import Effect, OrderSource, PerpStatus
from agora.exchange.perp_state import PerpState
from agora.exchange.perp_triggers import closing_request


class Liquidation:
    """Watches the accounts that have margin checks."""

    def __init__(self, state: PerpState, orders: Orders) -> None:
        self._state = state
        self._orders = orders

    def run(self) -> None:
        """Liquidate whoever is below maintenance, in order of account."""
        for account in self._state.accounts:
            if not account.is_house and account.positions and buffer_units(self._state, account) <= 0:
                self._liquidate(account)

    def _liquidate(self, account: PerpAccount) -> None:
        """Each round takes a position to a lower tier or closes it, so this ends."""
        for order in account.open_orders():
            self._orders.cancel(account, order.order_id, PerpReason.LIQUIDATION)
        while account.positions and buffer_units(self._state, account) <= 0:
            position = max(
                account.positions.values(),
                key=lambda place: (maintenance_units(self._state, place), -place.position_id),
            )
            if not self._reduce(account, position):
                self._close(account, position)
        if cover_deficit(self._state, account):
            self._state.touched[account.number] = None

    def _reduce(self, account: PerpAccount, position: PositionState) -> bool:
        """Take a position to the next lower tier, all or nothing; False at the lowest, or in too thin a book."""
        listing = self._state.markets[position.symbol].listing
        value, lots = abs(position.book.cost_units), abs(position.book.size_lots)
        tier = listing.tier_number(value)
        if tier == 0:
            return False
        kept = listing.ladder[tier - 1].end_units * lots // value
        if kept == 0:
            return False
        request = closing_request(account, position, size_lots=lots - kept)
        request = msgspec.structs.replace(request, effect=Effect.FOK)
        order = self._orders.submit_unchecked(account, request, OrderSource.LIQUIDATION)
        return order.status is PerpStatus.FILLED

    def _close(self, account: PerpAccount, position: PositionState) -> None:
        """Close a position at market; the insurance account takes what the book does not."""
        request = closing_request(account, position, size_lots=abs(position.book.size_lots))
        self._orders.submit_unchecked(account, request, OrderSource.LIQUIDATION)
        left = abs(position.book.size_lots)
        if left:
            self._orders.hand_over(account, msgspec.structs.replace(request, size_lots=left))
        assert position.book.size_lots == 0, f"liquidation left {position.book.size_lots} lots of {position.symbol}"
