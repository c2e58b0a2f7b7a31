"""The two sockets of the loopback Bitunix: greeting, keep-alive, limits, subscriptions, cadences, pushes.

The rules are those of the reference, section 9: no acknowledgement of a subscription, an abrupt end without a close
frame after a minute of silence or beyond five messages a second, no protocol-level pings. A client that does not read
is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import aiohttp
import msgspec
from aiohttp import web

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.exchange.perp_records import (
    BalanceChanged,
    Change,
    OrderChanged,
    PositionChanged,
    PublicTrade,
    TpslChanged,
)
from agora.testnet import bitunix_frames as frames
from agora.testnet.bitunix_connection import MESSAGES_PER_S_MAX, Client, Outgoing
from agora.testnet.bitunix_world import TestAccount, World
from agora.venues.bitunix.signing import Credentials, sign_login

SILENCE_S_MAX = 60
STREAMS_MAX = 300
# A protocol-level ping as a first word kills the socket a little later.
PING_FIRST_KILL_S = 1.5
DEPTH_LEVELS = {"depth_book1": 1, "depth_book5": 5, "depth_book15": 15, "depth_books": 1_000}


class Wire(Protocol):
    """What may happen to sockets and frames on purpose (`bitunix_delivery`)."""

    def allows_connection(self, target: str) -> bool:
        """Whether a new connection is accepted."""
        ...

    def on_ping(self, target: str) -> str:
        """`answer`, `drop` or `close`."""
        ...

    def is_mute(self, target: str) -> bool:
        """Whether open sockets say nothing at present."""
        ...

    def pass_on(self, client: Client, channel: str, out: Outgoing) -> None:
        """Let a frame through, changed, late, twice or not at all, by `client.put`."""
        ...


class Sockets:
    """All connected sockets of the venue."""

    def __init__(self, world: World, wire: Wire, *, monotonic_ns: Callable[[], int]) -> None:
        self._world = world
        self._wire = wire
        self._monotonic_ns = monotonic_ns
        self._clients: dict[Client, None] = {}
        self._newest_ns = 0
        self._written_ns = 0
        self._due: dict[str, int] = {}
        world.listen(self.on_changes)

    # What the notes of an order ask.

    def newest_datum_ns(self) -> int:
        """The venue's time of the newest market datum that was sent to anybody (public sockets are anonymous)."""
        return self._newest_ns

    def market_written_ns(self) -> int:
        """When market bytes were last written."""
        return self._written_ns

    def private_health(self, api_key: str) -> dict[str, Any]:
        """The account's private stream: whether there is one logged in, and how long it has heard nothing."""
        mine = [client for client in self._clients if client.account is not None and client.account.api_key == api_key]
        if not mine:
            return {"connected": False, "silent_ms": None}
        silent_ns = self._world.now_ns() - max(client.sent_ns for client in mine)
        return {"connected": True, "silent_ms": silent_ns // NS_PER_MS}

    def clients(self, target: str) -> list[Client]:
        """Those of a target: `market`, `user`, or `*`."""
        return [client for client in self._clients if target in ("*", client.target)]

    # Connections.

    async def public(self, request: web.Request) -> web.StreamResponse:
        """`/public/`."""
        return await self._serve(request, "market")

    async def private(self, request: web.Request) -> web.StreamResponse:
        """`/private/`."""
        return await self._serve(request, "user")

    async def _serve(self, request: web.Request, target: str) -> web.StreamResponse:
        if not self._wire.allows_connection(target):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False, heartbeat=None, compress=False, max_msg_size=2**20)
        await socket.prepare(request)
        client = Client(socket, request, target=target, opened_s=self._world.shown_ns() // NS_PER_S)
        client.heard_ns = self._monotonic_ns()
        self._clients[client] = None
        try:
            async with asyncio.TaskGroup() as tasks:
                jobs = [tasks.create_task(self._write(client)), tasks.create_task(self._watch(client))]
                self._say(client, {"op": "connect", "data": {"result": True}})
                await self._listen(client)
                for job in jobs:
                    job.cancel()
        except* (ConnectionError, RuntimeError, aiohttp.ClientError):
            client.abort()  # The other end is gone, or was cut off by us.
        finally:
            self._clients.pop(client, None)
        return socket

    async def _write(self, client: Client) -> None:
        while True:
            out = await client.next()
            if self._wire.is_mute(client.target):
                continue
            await client.write(out)
            client.sent_ns = self._world.now_ns()
            if out.datum_ns:
                self._newest_ns = max(self._newest_ns, out.datum_ns)
                self._written_ns = client.sent_ns

    async def _watch(self, client: Client) -> None:
        """A minute without a word from the client ends it."""
        while True:
            left_ns = client.heard_ns + SILENCE_S_MAX * NS_PER_S - self._monotonic_ns()
            if left_ns <= 0:
                client.abort()
                return
            await asyncio.sleep(left_ns / NS_PER_S)

    async def _listen(self, client: Client) -> None:
        async for message in client.socket:
            now_ns = self._monotonic_ns()
            client.heard_ns = now_ns
            client.messages.append(now_ns)
            if len(client.messages) > MESSAGES_PER_S_MAX and now_ns - client.messages[0] < NS_PER_S:
                client.abort()
                return
            if message.type is aiohttp.WSMsgType.PING:
                await self._on_protocol_ping(client, message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                client.has_spoken = True
                self._on_text(client, message.data)

    async def _on_protocol_ping(self, client: Client, payload: bytes) -> None:
        if client.has_spoken:
            await client.socket.pong(payload)
        else:
            asyncio.get_running_loop().call_later(PING_FIRST_KILL_S, client.abort)

    def _on_text(self, client: Client, text: str) -> None:
        """What is not understood is ignored, without a word."""
        try:
            said = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            return
        handlers = {"ping": self._on_ping, "login": self._on_login, "subscribe": self._on_subscribe,
                    "unsubscribe": self._on_unsubscribe}  # fmt: skip
        handler = handlers.get(str(said.get("op"))) if isinstance(said, dict) else None
        if handler is not None:
            handler(client, said)

    def _say(self, client: Client, content: Mapping[str, Any]) -> None:
        client.put(Outgoing(msgspec.json.encode(content).decode()))

    def _on_ping(self, client: Client, said: Mapping[str, Any]) -> None:
        what = self._wire.on_ping(client.target)
        if what == "close":
            client.abort()
        elif what == "answer":
            self._say(client, {"op": "ping", "pong": said.get("ping"), "ping": client.opened_s})

    def _on_login(self, client: Client, said: Mapping[str, Any]) -> None:
        """The account's pushes begin with it, without a subscription."""
        account = self._account_of(said.get("args"))
        if client.target != "user" or account is None:
            refusal = {"msg": "Sign signature error", "nonce": "", "result": False}
            self._say(client, {"op": "login", "data": refusal})
            return
        client.account = account
        self._say(client, {"op": "login", "data": {"result": True}})

    def _account_of(self, args: Any) -> TestAccount | None:
        facts = args[0] if isinstance(args, list) and args and isinstance(args[0], dict) else {}
        account = self._world.accounts.get(str(facts.get("apiKey")))
        if account is None or account.is_revoked or not isinstance(facts.get("timestamp"), int):
            return None
        credentials = Credentials(account.api_key, account.api_secret)
        sign = sign_login(credentials, nonce=str(facts.get("nonce")), timestamp_s=facts["timestamp"])
        return account if sign == facts.get("sign") else None

    def _on_subscribe(self, client: Client, said: Mapping[str, Any]) -> None:
        for stream in _streams(said):
            symbol, channel = stream
            if not _is_channel(channel) or not symbol:
                continue
            asked = client.streams.keys() | client.empty_streams.keys()
            if stream not in asked and len(asked) >= STREAMS_MAX:
                refusal = {"msg": f"subscribe channel > {STREAMS_MAX}", "nonce": "", "result": False}
                self._say(client, {"op": "subscribe", "data": refusal})
                return
            if symbol in self._world.symbols:
                client.streams[stream] = None
            else:
                client.empty_streams[stream] = None
                self._say_unknown(client, symbol, channel)

    def _say_unknown(self, client: Client, symbol: str, channel: str) -> None:
        levels = DEPTH_LEVELS.get(channel)
        if levels is not None:
            data = frames.empty_depth_data(min(levels, 15))
            client.put(Outgoing(frames.frame(channel, data, ts_ns=self._world.shown_ns(), symbol=symbol)))

    def _on_unsubscribe(self, client: Client, said: Mapping[str, Any]) -> None:
        for stream in _streams(said):
            client.streams.pop(stream, None)
            client.empty_streams.pop(stream, None)
        self._say(client, {"op": "unsubscribe", "ts": self._world.shown_ns() // NS_PER_MS, "data": "success"})

    # Cadences.

    async def run(self) -> None:
        """Send what goes by the clock, until cancelled."""
        world = self._world
        cadences = {
            "depth": world.settings.depth_ms,
            "price": world.settings.price_ms,
            "ticker": world.settings.ticker_ms,
            "kline": world.settings.kline_ms,
        }
        while True:
            now_ns = world.now_ns()
            for family, every_ms in cadences.items():
                if now_ns >= self._due.get(family, 0):
                    self._due[family] = now_ns + every_ms * NS_PER_MS
                    self._send_family(family)
            await world.clock.sleep_until(min(self._due.values()))

    def _send_family(self, family: str) -> None:
        """Each subscribed stream of the family is rendered once and given to all that want it."""
        wanted: dict[tuple[str, str], list[Client]] = {}
        for client in self._clients:
            for stream in client.streams:
                if _family(stream[1]) == family:
                    wanted.setdefault(stream, []).append(client)
        for (symbol, channel), clients in wanted.items():
            content = self._rendered(symbol, channel)
            out = Outgoing(content, datum_ns=self._world.now_ns())
            for client in clients:
                self._wire.pass_on(client, channel, out)

    def _rendered(self, symbol: str, channel: str) -> str:
        world, exchange = self._world, self._world.exchange
        instrument = exchange.listing(symbol).instrument
        ts_ns = world.shown_ns()
        if channel in DEPTH_LEVELS:
            data: Any = frames.depth_data(exchange.depth(symbol, DEPTH_LEVELS[channel]), instrument)
            return frames.frame(channel, data, ts_ns=ts_ns, symbol=symbol)
        if channel == "price":
            funding = world.funding(symbol)
            data = frames.price_data(
                exchange.ticker(symbol),
                instrument,
                rate_ppb=funding.settled_ppb,
                settled_ns=funding.settled_ns + world.skew_ns if funding.settled_ns else 0,
                next_ns=funding.next_ns + world.skew_ns,
            )
            return frames.frame(channel, data, ts_ns=ts_ns, symbol=symbol)
        if channel == "ticker":
            return frames.frame(
                channel, frames.ticker_data(exchange.ticker(symbol), instrument), ts_ns=ts_ns, symbol=symbol
            )
        if channel == "tickers":
            day = frames.ticker_data(exchange.ticker(symbol), instrument)
            touch = frames.touch_data(exchange.depth(symbol, 1), instrument)
            return frames.frame(channel, [{**day, **touch}], ts_ns=ts_ns)
        return frames.frame(channel, self._forming(symbol, channel), ts_ns=ts_ns, symbol=symbol)

    def _forming(self, symbol: str, channel: str) -> dict[str, str]:
        family, _, word = channel.rpartition("_")
        bar = self._world.forming_bar(symbol, frames.KLINE_WORDS[word], is_mark=family.startswith("mark_"))
        return frames.kline_data(bar, self._world.exchange.listing(symbol).instrument)

    # Pushes.

    def on_changes(self, changes: Sequence[Change]) -> None:
        """What the exchange has done: prints for all, pushes for the accounts they are about."""
        prints: dict[str, list[PublicTrade]] = {}
        for change in changes:
            if isinstance(change, PublicTrade):
                prints.setdefault(change.symbol, []).append(change)
            else:
                self._push(change)
        for symbol, trades in prints.items():
            self._send_prints(symbol, trades)

    def _send_prints(self, symbol: str, trades: list[PublicTrade]) -> None:
        clients = [client for client in self._clients if (symbol, "trade") in client.streams]
        if not clients:
            return
        skew_ns = self._world.skew_ns
        shown = [msgspec.structs.replace(trade, ts_ns=trade.ts_ns + skew_ns) for trade in trades] if skew_ns else trades
        data = frames.trade_data(shown, self._world.exchange.listing(symbol).instrument)
        content = frames.frame("trade", data, ts_ns=self._world.shown_ns(), symbol=symbol)
        for client in clients:
            self._wire.pass_on(client, "trade", Outgoing(content, datum_ns=trades[-1].ts_ns))

    def _push(self, change: Change) -> None:
        number = _account_of(change)
        clients = [client for client in self._clients if client.account is not None and client.account.number == number]
        rendered = self._rendered_push(change) if clients else None
        if rendered is None:
            return
        channel, data = rendered
        out = Outgoing(frames.frame(channel, data, ts_ns=self._world.shown_ns()))
        for client in clients:
            self._wire.pass_on(client, channel, out)

    def _rendered_push(self, change: Change) -> tuple[str, Any] | None:
        skew_ns = self._world.skew_ns

        def listed(symbol: str) -> Any:
            return self._world.exchange.listing(symbol).instrument

        if isinstance(change, OrderChanged):
            is_capitalised = self._world.settings.writes_capitalised
            return "order", frames.order_data(
                change, listed(change.order.symbol), shifted_ns=skew_ns, is_capitalised=is_capitalised
            )
        if isinstance(change, PositionChanged):
            return "position", frames.position_data(change, listed(change.position.symbol), shifted_ns=skew_ns)
        if isinstance(change, TpslChanged):
            return "tpsl", frames.tpsl_data(change, listed(change.row.symbol), shifted_ns=skew_ns)
        return ("balance", frames.balance_data(change)) if isinstance(change, BalanceChanged) else None


def _account_of(change: Change) -> int:
    owners: tuple[tuple[type[Any], Callable[[Any], int]], ...] = (
        (OrderChanged, lambda each: each.order.account),
        (PositionChanged, lambda each: each.position.account),
        (TpslChanged, lambda each: each.row.account),
        (BalanceChanged, lambda each: each.money.account),
    )
    return next((owner(change) for kind, owner in owners if isinstance(change, kind)), -1)


def _streams(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    args = said.get("args")
    rows = args if isinstance(args, list) else []
    return [(str(row.get("symbol", "")).upper(), str(row.get("ch", ""))) for row in rows if isinstance(row, dict)]


def _family(channel: str) -> str:
    if channel in DEPTH_LEVELS:
        return "depth"
    if channel in ("ticker", "tickers"):
        return "ticker"
    return channel if channel in ("price", "trade") else "kline"


def _is_channel(channel: str) -> bool:
    family, _, word = channel.rpartition("_")
    is_kline = family in ("market_kline", "mark_kline") and word in frames.KLINE_WORDS
    return is_kline or channel in DEPTH_LEVELS or channel in ("ticker", "tickers", "price", "trade")
