"""The public half of a venue that does what a test tells it: depth on a timer, klines over REST, and every silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from agora.domain.events import Event
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.feed import BitunixFeed, market_socket
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.outlet import FeedWants
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving

SYMBOL, OTHER = "BTCUSDT", "ETHUSDT"
DEPTH_S, PRICE_S = 0.31, 0.5
# 2027-01-15 08:00:37 UTC: in the middle of a minute.
START_NS = 1_800_000_037 * NS_PER_S
SERVED = {"1m": 60, "5m": 300, "1h": 3_600}
NOT_ALLOWED = {"code": 10_008, "data": None, "msg": "Parameter value is not in the allowed list"}


def bar_price(start_s: int) -> int:
    """The opening price of the bar that begins then: each has its own."""
    return 80_000 + start_s // 60 % 1_000


@dataclass
class MarketEnd:
    """The other end. Prices stand still unless a test moves them."""

    clock: VirtualClock
    mid: float = 86_700.05
    is_mute: bool = False
    is_garbage: bool = False
    is_down: bool = False
    silent: set[str] = field(default_factory=set)
    wrong_by: float = 1.0
    lag_s: float = 0.0
    ahead_s: float = 0.0
    bars_appear_s: float = 0.0
    rest_fails: bool = False
    settled: str = "2027-01-15T08:00:00Z"
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    opened: int = 0
    pongs: int = 0
    last_depth_ns: int = 0

    def now_s(self) -> float:
        """The time of the venue's clock."""
        return self.clock.now_ns() / NS_PER_S + self.ahead_s

    def mid_of(self, symbol: str) -> float:
        """Where the market of a symbol is."""
        return self.mid if symbol == SYMBOL else self.mid / 30

    def app(self) -> web.Application:
        """Both halves of what is public."""
        app = web.Application()
        app.router.add_get("/public/", self._socket)
        app.router.add_get("/api/v1/futures/market/kline", self._kline)
        app.router.add_get("/api/v1/futures/market/funding_rate", self._funding)
        app.router.add_get("/api/v1/futures/market/tickers", self._tickers)
        app.router.add_get("/api/v1/futures/market/get_funding_rate_history", self._settlements)
        app.router.add_get("/api/v1/futures/market/trading_pairs", self._pairs)
        app.router.add_get("/api/v1/futures/position/get_position_tiers", self._tiers)
        return app

    async def reset(self) -> None:
        """Cut every connection, as a restart of the venue does."""
        for socket in self.sockets:
            assert socket._req is not None
            transport = socket._req.transport
            if transport is not None:
                transport.abort()
        self.sockets.clear()

    # The socket.

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.is_down:
            return web.Response(status=503)
        self.opened += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        await self._send(socket, {"op": "connect", "data": {"result": True}})
        streams: list[dict[str, str]] = []
        async with asyncio.TaskGroup() as tasks:
            pushing = [tasks.create_task(self._push(socket, streams, each)) for each in ("depth_book15", "price")]
            async for message in socket:
                await self._hear(socket, json.loads(message.data), streams)
            for task in pushing:
                task.cancel()
        return socket

    async def _hear(self, socket: web.WebSocketResponse, said: dict[str, Any], streams: list[dict[str, str]]) -> None:
        if said["op"] == "subscribe":
            self.subscriptions.append(said)
            streams += said["args"]
        elif said["op"] == "ping":
            self.pongs += 1
            await self._send(socket, {"op": "ping", "pong": said["ping"], "ping": 0})

    async def _push(self, socket: web.WebSocketResponse, streams: list[dict[str, str]], channel: str) -> None:
        while True:
            pause_s = DEPTH_S if channel == "depth_book15" else PRICE_S
            await self.clock.sleep_until(self.clock.now_ns() + int(pause_s * NS_PER_S))
            for stream in streams:
                if stream["ch"] == channel and not self.is_mute and stream["symbol"] not in self.silent:
                    await self._tell(socket, stream)

    async def _tell(self, socket: web.WebSocketResponse, stream: dict[str, str]) -> None:
        if self.is_garbage:
            await socket.send_str("<html>")
            return
        mid = self.mid_of(stream["symbol"]) * self.wrong_by
        if stream["ch"] == "price":
            data: dict[str, Any] = {"ip": str(mid), "mp": str(mid), "fr": "0.01", "ft": self.settled, "nft": ""}
        else:
            self.last_depth_ns = self.clock.now_ns()
            data = {"b": [[f"{mid - 0.05:.1f}", "1.5"]], "a": [[f"{mid + 0.05:.1f}", "2"]]}
        await self._send(socket, {**stream, "ts": round((self.now_s() - self.lag_s) * 1_000), "data": data})

    async def trade(self, price: str, size: str = "1") -> None:
        """Tell a trade of the first symbol."""
        data = [{"t": "2027-01-15T08:00:37Z", "p": price, "v": size, "s": "buy"}]
        for socket in self.sockets:
            frame = {"ch": "trade", "symbol": SYMBOL, "ts": round(self.now_s() * 1_000), "data": data}
            await self._send(socket, frame)

    @staticmethod
    async def _send(socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        if not socket.closed:
            await socket.send_str(json.dumps(frame))

    # REST.

    def _broken(self) -> web.Response:
        """What an edge says when nothing is behind it."""
        return web.Response(status=502, text="<html>", headers={"Date": formatdate(self.now_s(), usegmt=True)})

    def _answer(self, body: dict[str, Any]) -> web.Response:
        return web.json_response(body, headers={"Date": formatdate(self.now_s(), usegmt=True)})

    async def _kline(self, request: web.Request) -> web.Response:
        """As the venue does it: the newest rows before the end, whatever the start, the forming one included."""
        query = dict(request.query)
        self.requests.append(query)
        if self.rest_fails:
            return self._broken()
        step = SERVED.get(query["interval"])
        if step is None:
            return self._answer(NOT_ALLOWED)
        end_s = int(query["endTime"]) / 1_000
        shown_s = self.now_s() - self.bars_appear_s
        last = int(min(end_s - 0.001, shown_s) // step) * step
        rows = [self._row(start, step) for start in range(last, last - step * int(query["limit"]), -step)]
        return self._answer({"code": 0, "data": rows, "msg": "Success"})

    @staticmethod
    def _row(start_s: int, step: int) -> dict[str, Any]:
        price = bar_price(start_s)
        facts = {"open": price, "high": price + 9, "low": price - 9, "close": price + step / 60}
        volumes = {"quoteVol": "12.5", "baseVol": "1000000"}
        return {
            **{key: str(value) for key, value in facts.items()},
            **volumes,
            "time": start_s * 1_000,
            "type": "LAST_PRICE",
        }

    async def _funding(self, _: web.Request) -> web.Response:
        row = {"symbol": SYMBOL, "markPrice": "86700", "lastPrice": "86700", "indexPrice": "86700"}
        row |= {"fundingRate": "0.01", "fundingInterval": "8", "nextFundingTime": "1800028800000"}
        return self._answer({"code": 0, "data": [row], "msg": "Success"})

    async def _tickers(self, request: web.Request) -> web.Response:
        """True prices, whatever the socket says."""
        if self.rest_fails:
            return self._broken()
        rows = [
            {"symbol": symbol, "markPrice": str(self.mid_of(symbol)), "lastPrice": str(self.mid_of(symbol))}
            for symbol in request.query["symbols"].split(",")
        ]
        return self._answer({"code": 0, "data": rows, "msg": "Success"})

    async def _settlements(self, request: web.Request) -> web.Response:
        """Every eight hours since a time, newest first."""
        start_s = int(request.query["starTime"]) // 1_000
        first = -(-start_s // 28_800) * 28_800
        times = list(range(first, int(self.now_s()), 28_800))[: int(request.query["limit"])]
        rows = [
            {"fundingRate": "0.0001", "fundingTime": str(at * 1_000), "markPrice": "86700"} for at in reversed(times)
        ]
        return self._answer({"code": 0, "data": rows, "msg": "Success"})

    async def _pairs(self, _: web.Request) -> web.Response:
        bounds = {"minTradeVolume": "0.001", "maxLimitOrderVolume": "100", "maxMarketOrderVolume": "50"}
        leverages = {"minLeverage": 1, "maxLeverage": 125, "defaultLeverage": 20, "defaultMarginMode": 1}
        state = {"symbolStatus": "OPEN", "isApiSupported": True, "priceProtectScope": "0.05"}
        rows = [
            {"symbol": symbol, "base": symbol[:3], "quote": "USDT", "basePrecision": 3, "quotePrecision": decimals}
            | bounds
            | leverages
            | state
            for symbol, decimals in ((SYMBOL, 1), (OTHER, 2))
        ]
        return self._answer({"code": 0, "data": rows, "msg": "Success"})

    async def _tiers(self, request: web.Request) -> web.Response:
        row = {"symbol": request.query["symbol"], "level": 1, "startValue": "0", "endValue": "50000"}
        return self._answer(
            {"code": 0, "data": [row | {"leverage": 125, "maintenanceMarginRate": "0.004"}], "msg": "Success"}
        )


class Listener:
    """A feed that is listened to: everything it tells, with the time at which it was taken."""

    def __init__(self, feed: BitunixFeed, clock: VirtualClock) -> None:
        self.feed = feed
        self.clock = clock
        self.heard: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda _: None

    async def listen(self, seconds: float) -> list[Event]:
        """What is told within that time."""
        until_ns = self.clock.now_ns() + int(seconds * NS_PER_S)
        new: list[Event] = []
        while self.clock.now_ns() < until_ns:
            event = await self.feed.next(until_ns)
            if event is not None:
                new.append(event)
                self.on_event(event)
        self.heard += new
        return new

    def of(self, *kinds: type[Event]) -> list[Any]:
        """What was heard of these kinds."""
        return [event for event in self.heard if isinstance(event, kinds)]


Story = Callable[[MarketEnd, Listener], Awaitable[None]]


def wants(**keys: Any) -> FeedWants:
    """Bars of a minute of one symbol."""
    symbols = keys.pop("symbols", (SYMBOL,))
    keys = {"intervals_s": (60,), "history_bars": 20, **keys}
    return FeedWants(instruments={symbol: known_instrument(symbol) for symbol in symbols}, **keys)


@asynccontextmanager
async def joined(end: MarketEnd, wanted: FeedWants, settings: BitunixSettings) -> AsyncIterator[BitunixFeed]:
    """A feed on a venue, not opened yet; everything is closed afterwards."""
    network = Network(Connector)
    async with serving(end.app()) as url:
        settings = msgspec.structs.replace(settings, rest_url=url)
        client = BitunixClient(network, None, clock=end.clock, seed=1, settings=settings)
        public = market_socket(url.replace("http", "ws") + "/public/", network, settings, seed=1)
        feed = BitunixFeed(wanted, client=client, public=public, settings=settings, clock=end.clock)
        try:
            yield feed
        finally:
            await feed.close()
            await client.close()


def played(
    story: Story, *, seed: int = 1, end: dict[str, Any] | None = None, keys: dict[str, Any] | None = None, **wanted: Any
) -> Listener:
    """Play a story between a venue and an opened feed in virtual time; returns what was heard."""

    async def main() -> Listener:
        clock = VirtualClock()
        venue = MarketEnd(clock, **(end or {}))
        async with joined(venue, wants(**wanted), BitunixSettings(**(keys or {}))) as feed:
            await feed.open()
            listener = Listener(feed, clock)
            await story(venue, listener)
        return listener

    return run_networked(main(), seed=seed, start_ns=START_NS)
