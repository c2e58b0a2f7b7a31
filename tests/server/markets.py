"""A market for the server's tests: the port, with numbers that a test moves by hand, and a server around it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from agora.cli.glance import glance
from agora.server.app import ServerContext, create_app
from agora.server.auth import AccessRules
from agora.server.runs import RunPort
from agora.server.serving import Address, serve_app
from agora.server.stream import Stream
from agora.server.views import INTERVALS, Listener, News
from agora.session.clock import monotonic_ns
from agora.session.folder import Home

TOKEN = "a-token-for-tests-only"
NO_REASON: dict[str, Any] = {}
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class HandMarket:
    """The port `MarketPort`: two assets, a tick that `advance` moves; remembers what it was told."""

    def __init__(self) -> None:
        self.run_id = "by-hand"
        self.symbols = ("ACME", "BOLT")
        self.status = "running"
        self.tick = 0
        self.told: list[tuple[str, str]] = []
        self.news: list[News] = []
        self.takes = True
        self.listeners: list[Listener] = []

    def advance(self, ticks: int = 1) -> None:
        """Let ticks pass."""
        self.tick += ticks

    def prices(self) -> dict[str, float]:
        """Prices that tell the tick."""
        return dict.fromkeys(self.symbols, 100.0 + self.tick)

    def state(self) -> dict[str, Any]:
        """Everything of one tick."""
        return {
            "prices": self.prices(), "tickers": self.prices(), "assets": list(self.symbols), "quote_currency": "USD",
            "tick": self.tick, "status": self.status, "sentiment": {"overall": 0.0}, "metrics": {"trades": self.tick},
            "history": [{"tick": self.tick, "prices": self.prices()}],
        }  # fmt: skip

    def agents(self) -> list[dict[str, Any]]:
        """One agent."""
        money = dict.fromkeys(
            ("cash", "realized_pnl", "unrealized_pnl", "total_pnl", "pnl", "total_value", "portfolio_value", "roi",
             "pnl_percent", "initial_capital"), 0.5,
        )  # fmt: skip
        portfolio = {**money, "positions": {}, "trades_count": self.tick}
        return [{"id": "fomo-1", "persona": "fomo", "model": "", "portfolio": portfolio}]

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """As many levels as asked for."""
        levels = [{"price": 100.0 - level, "size": 5.0} for level in range(depth)]
        return {"symbol": symbol, "tick": self.tick, "bids": levels, "asks": []}

    def trades(self, symbol: str, limit: int) -> list[dict[str, Any]]:
        """As many trades as asked for."""
        del symbol
        return [{"id": n, "ts_ns": n, "price": 1.5, "size": 2.0, "side": "buy"} for n in range(limit)]

    def candles(self, symbol: str, interval: str, *, limit: int) -> list[dict[str, Any]]:
        """As many candles as asked for."""
        del symbol
        prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.5)
        return [{"start_ns": INTERVALS.index(interval), **prices, "trades": n} for n in range(limit)]

    def rules(self) -> dict[str, Any]:
        """A rule card."""
        return {"order_types": ["limit"]}

    def tell(self, listener: Listener) -> None:
        """Remember who listens."""
        self.listeners.append(listener)

    def command(self, name: str, reason: str) -> bool:
        """Remember what was said."""
        self.told.append((name, reason))
        return self.takes

    def add_news(self, news: News) -> bool:
        """Remember what was said."""
        self.news.append(news)
        return self.takes


class Served:
    """A server on this loop, and a client that talks to it as a program would."""

    def __init__(self, address: Address, client: aiohttp.ClientSession, *, market: HandMarket, home: Home) -> None:
        self.address = address
        self.url = address.url
        self.client = client
        self.market = market
        self.home = home
        self.re_armed: list[str] = []

    @property
    def stream(self) -> Stream:
        """The stream that the market talks to."""
        (stream,) = self.market.listeners
        assert isinstance(stream, Stream)
        return stream

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON body."""
        async with self.client.get(self.url + path, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: Any = NO_REASON, **options: Any) -> tuple[int, Any]:
        """Status and JSON body, with the token unless other headers are given."""
        options.setdefault("headers", AUTHORIZED)
        async with self.client.post(self.url + path, json=body, **options) as answer:
            return answer.status, await answer.json(content_type=None)


@contextlib.asynccontextmanager
async def served(folder: Path, **facts: Any) -> AsyncIterator[Served]:
    """A served market and the runs of a home in a folder."""
    market: HandMarket = facts.pop("market", None) or HandMarket()
    home = Home(folder)
    home.prepare()
    re_armed: list[str] = []

    def re_arm(run: Path, reason: str) -> list[str]:
        re_armed.append(f"{run.name}: {reason}")
        return ["breaker"]

    rules = {"token": TOKEN, **facts.pop("access", {})}
    runs = RunPort(home=home, glance=glance, re_arm=re_arm, monotonic_ns=facts.pop("nonce_clock", monotonic_ns))
    parts = {"market": market, "runs": runs, "monotonic_ns": monotonic_ns, **facts}
    app = create_app(ServerContext(access=AccessRules(**rules), **parts))
    async with serve_app(app) as address, aiohttp.ClientSession() as client:
        found = Served(address, client, market=market, home=home)
        found.re_armed = re_armed  # what the command line was asked to re-arm
        yield found
