"""The life of windows: created, open, closed, resolved. A tie is Up. Knows no prices but the two that decide."""

from __future__ import annotations

from functools import partial

from agora.exchange.binary_orders import BinaryOrders
from agora.exchange.binary_prices import PRICE_DECIMALS
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import MarketChanged, MarketState, Outcome, TickSizeChanged
from agora.exchange.binary_rules import BinaryWindow
from agora.exchange.binary_state import BinaryMarket, BinaryState


class BinaryWindows:
    """All windows of an exchange."""

    def __init__(self, state: BinaryState, orders: BinaryOrders) -> None:
        self._state = state
        self._orders = orders

    def create(self, window: BinaryWindow) -> BinaryMarket:
        """List a window; it opens and closes by itself. Raises `ValueError` for names that are taken."""
        state = self._state
        if len(state.markets) >= state.rules.markets_max:
            raise ValueError(f"all {state.rules.markets_max} markets of this exchange are taken")
        taken = {window.condition_id} & state.markets.keys() | {
            window.up_token,
            window.down_token,
        } & state.by_token.keys()
        if taken or window.end_ns <= state.now_ns:
            raise ValueError(f"window {window.condition_id}: ended or taken: {sorted(taken)}, now {state.now_ns}")
        market = BinaryMarket(len(state.by_number), window)
        state.by_number.append(market)
        state.markets[window.condition_id] = market
        for outcome in Outcome:
            state.by_token[market.token(outcome)] = (market, outcome)
        state.tell(MarketChanged(state.now_ns, state.view(market)))
        if window.open_ns <= state.now_ns:
            self._open(market)
        else:
            state.at(window.open_ns, partial(self._open, market))
        state.at(window.end_ns, partial(self.close, market))
        return market

    def _open(self, market: BinaryMarket) -> None:
        market.open_book(self._state.rules)
        self._state.trading[market.window.condition_id] = market
        self._state.enter(market, MarketState.OPEN)

    def close(self, market: BinaryMarket) -> None:
        """Take no more orders and cancel the open ones; nothing happens to a window that is closed."""
        if market.state is not MarketState.OPEN:
            return
        self._orders.cancel_market(market, BinaryReason.MARKET_RESOLVED)
        self._state.tell_levels()
        del self._state.trading[market.window.condition_id]
        market.close_book()
        self._state.enter(market, MarketState.CLOSED)

    def resolve(self, market: BinaryMarket, winner: Outcome) -> bool:
        """Decide a closed window for good; False where there is nothing to decide."""
        if market.state is not MarketState.CLOSED:
            return False
        market.winner = winner
        self._state.enter(market, MarketState.RESOLVED)
        return True

    def set_tick(self, market: BinaryMarket, tick_points: int) -> None:
        """Give prices another grid; orders that rest beside it stay. Raises `ValueError` for an unknown tick."""
        if tick_points not in PRICE_DECIMALS:
            raise ValueError(f"a tick is one of {[*PRICE_DECIMALS]} points: {tick_points}")
        old, market.tick_points = market.tick_points, tick_points
        if old != tick_points:
            state = self._state
            state.tell(TickSizeChanged(state.now_ns, market.window.condition_id, old, tick_points))


def winner_of(start_price: float, end_price: float) -> Outcome:
    """Up unless the price ended lower than it started."""
    return Outcome.UP if end_price >= start_price else Outcome.DOWN
