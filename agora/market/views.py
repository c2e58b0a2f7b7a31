"""What an agent sees of the market: its own account, the touch of every book, past prices and the news."""

from __future__ import annotations

from collections.abc import Sequence

from agora.domain.instruments import Instrument
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import NewsItem, OpenOrder, Touch
from agora.market.state import CLOSES_KEPT, MarketState


class SeatView:
    """The view of one account (port `AgentView`); reads the live exchange, so it is as old as the last request."""

    def __init__(self, engine: MarketEngine, state: MarketState, account: int) -> None:
        self._engine = engine
        self._state = state
        self._account = account
        self._places = {symbol: place for place, symbol in enumerate(engine.rules.symbols)}

    @property
    def tick(self) -> int:
        """Number of the tick that is being decided."""
        return self._state.tick + 1

    @property
    def now_ns(self) -> int:
        """The market's clock."""
        return self._state.now_ns

    @property
    def symbols(self) -> Sequence[str]:
        """All assets."""
        return self._engine.rules.symbols

    def instrument(self, symbol: str) -> Instrument:
        """Steps and fees."""
        return self._engine.rules.assets[self._places[symbol]].instrument

    def touch(self, symbol: str) -> Touch:
        """Best bid and ask."""
        return self._engine.books[self._places[symbol]].touch()

    def last_ticks(self, symbol: str) -> int:
        """The last price."""
        return self._engine.books[self._places[symbol]].last_ticks

    def closes_ticks(self, symbol: str) -> Sequence[int]:
        """Last prices at the ends of past ticks, oldest first."""
        return self._state.closes_ticks[self._places[symbol]][-CLOSES_KEPT:]

    def news(self) -> Sequence[NewsItem]:
        """The newest items."""
        return self._state.news

    def free_cash_units(self, symbol: str) -> int:
        """Cash that no order holds."""
        return self._engine.accounts.free_cash_units(self._account, symbol)

    def position_lots(self, symbol: str) -> int:
        """Units owned (negative: short)."""
        return self._engine.accounts.position_lots(self._account, symbol)

    def free_lots(self, symbol: str) -> int:
        """Units owned that no order holds."""
        return self._engine.accounts.free_lots(self._account, symbol)

    def average_price_ticks(self, symbol: str) -> float:
        """Average cost of the position."""
        return self._engine.accounts.average_price_ticks(self._account, symbol)

    def equity_units(self, symbol: str) -> int:
        """Cash and positions at last prices."""
        currency = self.instrument(symbol).quote
        return self._engine.portfolio(self._account, currency=currency).total_value_units

    def may_short(self, symbol: str) -> bool:
        """Whether selling more than one owns is allowed."""
        return self._engine.rules.assets[self._places[symbol]].allows_shorts

    def open_orders(self, symbol: str) -> Sequence[OpenOrder]:
        """The agent's own resting orders, oldest first."""
        return self._engine.books[self._places[symbol]].orders_of(self._account)
