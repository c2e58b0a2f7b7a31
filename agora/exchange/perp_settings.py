"""What an account may choose for itself: leverage per symbol, position mode. Isolated margin is not offered.

Isolated margin needs a wallet of its own for each position, in every rule from fees to funding to liquidation; the
desk trades cross margin, and an exchange that offers a mode it computes wrongly is worse than one that refuses it.
"""

from __future__ import annotations

from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_margin import leverage_of, money_of
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import MarginMode, PositionMode
from agora.exchange.perp_state import PerpState


def set_leverage(state: PerpState, account: PerpAccount, *, symbol: str, leverage: int) -> PerpReason:
    """Choose the leverage of a symbol; a position must be allowed and paid for with it."""
    market = state.markets.get(symbol)
    if market is None:
        return PerpReason.UNKNOWN_SYMBOL
    if type(leverage) is not int or not 1 <= leverage <= market.listing.ladder[0].leverage_max:
        return PerpReason.BAD_LEVERAGE
    if any(account.open_orders(symbol)):
        return PerpReason.OPEN_ORDERS
    places = [place for place in account.positions.values() if place.symbol == symbol]
    if any(abs(place.book.cost_units) > market.listing.value_max_units(leverage) for place in places):
        return PerpReason.POSITION_LIMIT
    before = leverage_of(account, market)
    account.leverages[symbol] = leverage
    money = money_of(state, account)
    if places and leverage < before and money.available_units + money.unrealised_units < 0:
        account.leverages[symbol] = before
        return PerpReason.INSUFFICIENT_BALANCE
    return PerpReason.NONE


def set_margin_mode(state: PerpState, account: PerpAccount, *, symbol: str, mode: MarginMode) -> PerpReason:
    """Cross is what there is; asking for it changes nothing."""
    if symbol not in state.markets:
        return PerpReason.UNKNOWN_SYMBOL
    if mode is MarginMode.CROSS:
        return PerpReason.NONE
    is_busy = any(account.open_orders(symbol)) or any(place.symbol == symbol for place in account.positions.values())
    return PerpReason.OPEN_ORDERS if is_busy else PerpReason.ISOLATION_NOT_OFFERED


def set_position_mode(account: PerpAccount, mode: PositionMode) -> PerpReason:
    """For the whole account; not with any open position or order."""
    if account.is_house:
        return PerpReason.BAD_PARAMETER
    if mode is not account.position_mode and (account.positions or account.open_ids):
        return PerpReason.POSITION_OR_ORDERS
    account.position_mode = mode
    return PerpReason.NONE
