"""A client of the loopback Bitunix's sockets that remembers everything it hears, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.testnet.bitunix_world import TestAccount
from agora.venues.bitunix.signing import Credentials
from agora.venues.bitunix.wire_frames import login_text
from tests.testnet.bitunix_bench import BTC, Answer, Bench

SOON = aiohttp.ClientTimeout(sock_read=1)
PLACE, CANCEL = "/trade/place_order", "/trade/cancel_orders"


class Ear:
    """One socket. `frames` and `texts` are what was heard, each with the seconds since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[tuple[float, dict[str, Any]]] = []
        self.texts: list[tuple[float, str | bytes]] = []
        self.pongs = 0
        self.ended_s: float | None = None
        self.has_said_goodbye = False
        self._opened_s = asyncio.get_running_loop().time()
        self._news = asyncio.Event()

    async def listen(self) -> None:
        """Hear until the end."""
        while True:
            message = await self.socket.receive()
            at_s = asyncio.get_running_loop().time() - self._opened_s
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.texts.append((at_s, message.data))
                self._note(at_s, message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                self.pongs += 1
            else:
                self.ended_s = at_s
                self.has_said_goodbye = message.type is aiohttp.WSMsgType.CLOSE
                self._news.set()
                return
            self._news.set()

    def _note(self, at_s: float, text: str | bytes) -> None:
        """Keep what can be read; the rest stays among the texts."""
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(frame, dict):
            self.frames.append((at_s, frame))

    async def say(self, op: str, **more: Any) -> None:
        """Send a frame."""
        await self.socket.send_str(json.dumps({"op": op, **more}))

    async def subscribe(self, *streams: tuple[str, str], op: str = "subscribe") -> None:
        """Ask for streams: symbol and channel of each."""
        await self.say(op, args=[{"symbol": symbol, "ch": channel} for symbol, channel in streams])

    def of(self, channel: str, symbol: str | None = None) -> list[dict[str, Any]]:
        """The data frames of a channel."""
        return [
            frame for _, frame in self.frames if frame.get("ch") == channel and symbol in (None, frame.get("symbol"))
        ]

    def times(self, channel: str) -> list[float]:
        """When frames of a channel were heard."""
        return [at_s for at_s, frame in self.frames if frame.get("ch") == channel]

    def said(self, op: str) -> list[dict[str, Any]]:
        """The control frames of a kind."""
        return [frame for _, frame in self.frames if frame.get("op") == op and "ch" not in frame]

    async def until(self, is_there: Callable[[Ear], object], within_s: float = 10.0) -> None:
        """Wait for something to be heard."""
        async with asyncio.timeout(within_s):
            while not is_there(self):
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def ear(it: Bench, kind: str = "public", *, url: str = "", **options: Any) -> AsyncIterator[Ear]:
    """A socket that listens while the context lasts; pings of the protocol and goodbyes are its user's affair."""
    plain = {"autoping": False, "autoclose": False, "max_msg_size": 0, **options}
    async with it.session.ws_connect(url or it.venue.urls[f"{kind}_ws"], **plain) as socket:
        found = Ear(socket)
        listening = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def private_ear(it: Bench, account: TestAccount | None = None) -> AsyncIterator[Ear]:
    """The private socket of an account, logged in."""
    async with ear(it, "private") as found:
        await found.socket.send_str(login(it, account or it.account))
        await found.until(lambda heard: heard.said("login"))
        yield found


def login(it: Bench, account: TestAccount, *, now_s: int | None = None) -> str:
    """The frame by which an account logs in."""
    keys = Credentials(account.api_key, account.api_secret)
    return login_text(keys, nonce="0" * 32, now_s=it.clock.now_ns() // NS_PER_S if now_s is None else now_s)


def counts(it: Bench) -> Mapping[str, int]:
    """How often each planned fault has fired."""
    report = it.venue.plan.report()
    return {str(row["fault"]): sum(each["fired"] for each in report if each["fault"] == row["fault"]) for row in report}


def plan(it: Bench, fault: str, **entry: Any) -> None:
    """Plan a fault from now on."""
    it.venue.plan.load(json.dumps([{"fault": fault, **entry}]).encode())


def no_more(it: Bench) -> Mapping[str, int]:
    """Forget all faults; how often each had fired."""
    fired = counts(it)
    it.venue.plan.clear()
    return fired


# Orders in raw requests, and what became of them.


def market(client_id: str, qty: str = "0.01", side: str = "BUY", **more: Any) -> dict[str, Any]:
    """The body of an order at market."""
    return {"symbol": BTC, "side": side, "orderType": "MARKET", "qty": qty, "clientId": client_id, **more}


def resting(it: Bench, client_id: str, **more: Any) -> dict[str, Any]:
    """The body of an order that rests."""
    terms = {"orderType": "LIMIT", "price": it.far(Side.BUY), "effect": "GTC"}
    return {**market(client_id), **terms, **more}


async def placed(it: Bench, body: dict[str, Any]) -> Answer:
    """The answer to an order, which must come within a second."""
    return await it.signed(PLACE, body, timeout=SOON)


async def status(it: Bench, client_id: str) -> str | None:
    """What the venue says of an order; None for one that it does not find."""
    answer = await it.signed("/trade/get_order_detail", clientId=client_id)
    return None if answer.code == 20007 else answer.data["status"].rstrip("_")


def accepted(it: Bench) -> dict[str, int]:
    """How often each client id was taken, by the ledger."""
    return {row["client_id"]: row["times_accepted"] for row in it.venue.ledger()["orders"]}
