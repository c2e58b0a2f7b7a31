"""A running market as the API's port: read between two ticks, told what the API was told, heard by its listeners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agora.domain.decisions import Ask
from agora.domain.events import Event, OperatorCommand
from agora.domain.market_events import NewsArrived, Tick
from agora.exchange.records import Trade
from agora.market import shown
from agora.market.market import Market
from agora.server.views import Listener, News
from agora.session.market_loop import MarketLoop


class LiveMarket:
    """The market of a loop (ports `MarketPort` of the API and `MarketObserver` of the loop)."""

    def __init__(self, loop: MarketLoop, run_id: str = "") -> None:
        self.run_id = run_id
        self._loop = loop
        self._market = loop.market
        self._listeners: list[Listener] = []
        loop.observers.append(self)

    @property
    def symbols(self) -> Sequence[str]:
        """All assets."""
        return self._market.engine.rules.symbols

    @property
    def status(self) -> str:
        """The phase of the market."""
        return self._market.state.phase.value

    @property
    def tick(self) -> int:
        """The last tick that is done."""
        return self._market.state.tick

    def prices(self) -> dict[str, float]:
        """The last price of each asset."""
        return shown.prices_body(self._market)

    def state(self) -> dict[str, Any]:
        """The body of `GET /state`."""
        return shown.state_body(self._market)

    def agents(self) -> list[dict[str, Any]]:
        """The body of `GET /agents`."""
        return shown.agents_body(self._market)

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """The best levels of a book."""
        return shown.book_body(self._market, symbol, depth)

    def trades(self, symbol: str, limit: int) -> list[dict[str, Any]]:
        """The newest trades, oldest first."""
        return shown.trades_body(self._market, symbol, limit)

    def candles(self, symbol: str, interval: str, *, limit: int) -> list[dict[str, Any]]:
        """The newest candles, oldest first."""
        return shown.candles_body(self._market, symbol, interval, limit=limit)

    def rules(self) -> dict[str, Any]:
        """The rule card."""
        return shown.rules_body(self._market)

    def tell(self, listener: Listener) -> None:
        """Let a listener hear of trades and news from now on."""
        self._listeners.append(listener)

    def command(self, name: str, reason: str) -> bool:
        """Take a command in before the next tick."""
        now_ns = self._market.state.now_ns
        return self._loop.submit(OperatorCommand(ts_ns=now_ns, command=name, reason=reason))

    def add_news(self, news: News) -> bool:
        """Take a news item in before the next tick."""
        event = NewsArrived(
            ts_ns=self._market.state.now_ns,
            text=news.text,
            tone=news.tone,
            symbols=tuple(news.symbols),
            source=news.source,
        )
        return self._loop.submit(event)

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """Pass on what was recorded: news as it was taken in, the trades of a tick."""
        del effects
        if isinstance(event, NewsArrived):
            self._pass_on_news(event)
        elif isinstance(event, Tick) and market.new_trades:
            trades = [_trade_body(market, trade) for trade in market.new_trades]
            for listener in self._listeners:
                listener.add_trades(trades)

    def _pass_on_news(self, event: NewsArrived) -> None:
        body = {"text": event.text, "tone": event.tone, "symbols": event.symbols, "source": event.source}
        for listener in self._listeners:
            listener.add_news(body)


def _trade_body(market: Market, trade: Trade) -> dict[str, Any]:
    """A trade as `GET /trades` tells it, with its symbol."""
    instrument = market.engine.accounts.instrument(trade.symbol)
    return {
        "symbol": trade.symbol,
        "id": trade.number,
        "ts_ns": trade.ts_ns,
        "price": float(instrument.tick * trade.price_ticks),
        "size": float(instrument.lot * trade.size_lots),
        "side": trade.aggressor.word,
    }
