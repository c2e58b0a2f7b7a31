"""The WebSocket of a market: a snapshot on connect, tickers at a steady cadence, trades and news as they come.

A message is encoded and framed once and handed to each client's transport in turn, without awaiting anybody: a
client that does not read fills its own buffer and is dropped, and nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import WebSocket
from websockets.frames import Frame, Opcode

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.server.problems import problem
from agora.server.views import MarketSource

# Trades and changes of status wait at most this long to be sent together.
BEAT_NS = 100 * NS_PER_MS
# A page shows a price twice a second; the market may tick a hundred times in between.
TICKER_EVERY_NS = 500 * NS_PER_MS
# At ten dashboards a person this is a classroom; each more costs 10 us of every message.
CLIENTS_MAX = 500
# What may wait for one client: minutes of an ordinary market, well below the promised megabyte.
BACKLOG_BYTES_MAX = 512 * 1024
# A client with something waiting for so long at every look does not read. The promise is 10 s.
STUCK_NS = 6 * NS_PER_S
LOOK_EVERY_NS = NS_PER_S
# What a client says is not asked for; a few pings of a page are fine, a flood is not.
HEARD_PER_LOOK_MAX = 50
# Trades in one message; of more between two beats only the newest are sent, and the count tells.
TRADES_PER_MESSAGE_MAX = 500
CLOSE_TOO_MUCH = 1008


class _Client:
    """One connection: the transport that the server of the socket gave it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.stuck_since_ns: int | None = None
        self.heard = 0


class Stream:
    """All clients of one market's socket. `run` keeps the cadence; `attend` is the life of one client."""

    def __init__(
        self, market: MarketSource, *, monotonic_ns: Callable[[], int], ticker_every_ns: int = TICKER_EVERY_NS
    ) -> None:
        self.sent = 0
        self.dropped = 0
        self._market = market
        self._monotonic_ns = monotonic_ns
        self._ticker_every_ns = ticker_every_ns
        self._clients: set[_Client] = set()
        self._trades: list[dict[str, Any]] = []
        self._trades_skipped = 0
        self._status = market.status
        self._snapshot: tuple[int, bytes] | None = None  # of a tick; forgotten at the next beat

    @property
    def clients(self) -> int:
        """Connected clients."""
        return len(self._clients)

    def add_trades(self, trades: Iterable[dict[str, Any]]) -> None:
        """Trades to be sent with the next beat."""
        if not self._clients:
            return
        self._trades.extend(trades)
        excess = len(self._trades) - TRADES_PER_MESSAGE_MAX
        if excess > 0:
            del self._trades[:excess]
            self._trades_skipped += excess

    def add_news(self, news: dict[str, Any]) -> None:
        """A news item, sent at once."""
        self._broadcast("news", news)

    async def run(self) -> None:
        """Send until cancelled; the server then closes the connections."""
        now_ns = self._monotonic_ns()
        beat_ns, ticker_ns, look_ns = now_ns, now_ns, now_ns
        while True:
            now_ns = self._monotonic_ns()
            self._send_changes()
            if now_ns >= ticker_ns:
                self._broadcast("ticker", self._market.prices())
                ticker_ns = _next(ticker_ns, now_ns, self._ticker_every_ns)
            if now_ns >= look_ns:
                self._look(now_ns)
                look_ns = _next(look_ns, now_ns, LOOK_EVERY_NS)
            beat_ns = _next(beat_ns, now_ns, BEAT_NS)
            wake_ns = min(beat_ns, ticker_ns, look_ns)
            await asyncio.sleep(max(0, wake_ns - self._monotonic_ns()) / NS_PER_S)

    async def attend(self, websocket: WebSocket) -> None:
        """Serve one client until it goes, is dropped, or talks too much."""
        if len(self._clients) >= CLIENTS_MAX:
            await websocket.send_denial_response(
                problem(HTTPStatus.SERVICE_UNAVAILABLE, "full", f"{CLIENTS_MAX} clients are connected already")
            )
            return
        await websocket.accept()
        client = _Client(websocket.scope["state"]["connection"].transport)
        self._clients.add(client)
        self._give(client, self._snapshot_frame())
        try:
            await self._listen(websocket, client)
        finally:
            self._clients.discard(client)

    def _snapshot_frame(self) -> bytes:
        """The state as it is; hundreds who connect at once get the same bytes."""
        tick = self._market.tick
        if self._snapshot is None or self._snapshot[0] != tick:
            self._snapshot = (tick, self._framed("snapshot", self._market.state()))
        return self._snapshot[1]

    async def _listen(self, websocket: WebSocket, client: _Client) -> None:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            client.heard += 1
            if client.heard > HEARD_PER_LOOK_MAX:
                self._clients.discard(client)  # nothing may follow the closing frame
                await websocket.close(CLOSE_TOO_MUCH, "this socket is for listening")
                return

    def _send_changes(self) -> None:
        """What came up since the last beat."""
        self._snapshot = None
        if self._market.status != self._status:
            self._status = self._market.status
            self._broadcast("status", {"status": self._status})
        if self._trades:
            trades, skipped = self._trades, self._trades_skipped
            self._trades, self._trades_skipped = [], 0
            self._broadcast("trade", trades, skipped=skipped)

    def _broadcast(self, kind: str, content: Any, **more: Any) -> None:
        """One message to all, encoded once. Never waits."""
        if not self._clients:
            return
        frame = self._framed(kind, content, **more)
        for client in tuple(self._clients):
            self._give(client, frame)

    def _framed(self, kind: str, content: Any, **more: Any) -> bytes:
        """The bytes on the wire: a server's frames are the same for all clients."""
        message = {"type": kind, "data": content, "tick": self._market.tick, **more}
        return Frame(Opcode.TEXT, msgspec.json.encode(message)).serialize(mask=False)

    def _give(self, client: _Client, frame: bytes) -> None:
        transport = client.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            self._drop(client)
            return
        transport.write(frame)
        self.sent += 1

    def _look(self, now_ns: int) -> None:
        """Drop who has not read for too long, or is being closed and does not read that either."""
        for client in tuple(self._clients):
            client.heard = 0
            if client.transport.get_write_buffer_size() == 0 and not client.transport.is_closing():
                client.stuck_since_ns = None
            elif client.stuck_since_ns is None:
                client.stuck_since_ns = now_ns
            elif now_ns - client.stuck_since_ns >= STUCK_NS:
                self._drop(client)

    def _drop(self, client: _Client) -> None:
        """Away with the connection and what waits for it: a polite close would wait behind the backlog."""
        self.dropped += 1
        self._clients.discard(client)
        client.transport.abort()


def _next(due_ns: int, now_ns: int, every_ns: int) -> int:
    """The next time on the grid after now: what was late is not made up for, and the grid does not drift."""
    if due_ns > now_ns:
        return due_ns
    return due_ns + ((now_ns - due_ns) // every_ns + 1) * every_ns
