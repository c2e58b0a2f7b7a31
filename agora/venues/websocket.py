"""One socket with its whole life: connect, be fresh, deliver, fall silent or break, wait, connect again.

The states are a table. A socket that is open and mute is found by our own watch, never by the operating system's.
Knows no venue: what is said on a fresh connection, what counts as usable and what a ping is, says its `Talk`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import aiohttp
import msgspec

from agora.domain.dice import dice_of
from agora.venues.rest import Bucket, Network

# The venue is attempted at most so often.
ATTEMPT_SPACING_S = 1.0
# A quarter of each pause is left to chance: venues that come back are not met by everybody at once.
JITTER = 0.25
# How often the watch looks; it is late by two looks at most.
WATCH_EVERY_S = 0.25
# Texts that wait to be said; a socket that takes none for so long is dead.
SAYINGS_MAX = 100
# A frame so many times larger than what is usable ends the connection instead of filling the memory.
HUGE_FACTOR = 4
# The other end has so long to answer our goodbye; a mute one answers nothing.
FAREWELL_S_MAX = 0.2


class ConnectionState(StrEnum):
    """Where a connection stands."""

    CONNECTING = "connecting"
    FRESH = "fresh"
    SUBSCRIBED = "subscribed"
    STALE = "stale"
    LOST = "lost"


_S = ConnectionState
# Fresh: open and nothing usable came yet, the moment to subscribe. Stale: open and silent for too long.
TRANSITIONS: dict[ConnectionState, frozenset[ConnectionState]] = {
    _S.LOST: frozenset({_S.CONNECTING}),
    _S.CONNECTING: frozenset({_S.FRESH, _S.LOST}),
    _S.FRESH: frozenset({_S.SUBSCRIBED, _S.STALE, _S.LOST}),
    _S.SUBSCRIBED: frozenset({_S.STALE, _S.LOST}),
    _S.STALE: frozenset({_S.LOST}),
}


class Talk(Protocol):
    """What is said and heard on a connection. Called synchronously; must not block."""

    def on_fresh(self) -> Sequence[str]:
        """What to say once on this fresh connection."""
        ...

    def on_frame(self, frame: str | bytes) -> bool:
        """A frame came; whether it was usable, which keeps the connection from being stale."""
        ...

    def on_oversize(self, size_bytes: int) -> None:
        """A frame came that is too large to be read."""
        ...

    def on_state(self, state: ConnectionState, reason: str) -> None:
        """The connection has changed its state."""
        ...

    def ping(self) -> str:
        """The keep-alive to be said now; empty: none."""
        ...


class ConnectionTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is kept. Times in seconds."""

    url: str
    ping_s: float = 15.0
    silent_s_max: float = 5.0
    connect_s_max: float = 10.0
    reconnect_s_max: float = 10.0
    frame_bytes_max: int = 2**20
    messages_per_s: int = 5


class _Broken(Exception):
    """The connection is to be given up; the text says why."""


class Connection:
    """Keeps one socket. `run` is its life, until it is cancelled."""

    def __init__(self, network: Network, terms: ConnectionTerms, talk: Talk, *, seed: int) -> None:
        self.state = ConnectionState.LOST
        self.attempts = 0
        self._network = network
        self._terms = terms
        self._talk = talk
        self._dice = dice_of(seed, "connection", terms.url)
        self._sayings: deque[str] = deque()
        self._saying = asyncio.Event()
        self._silent_looks = 0
        self._given_up_for = ""

    def say(self, text: str) -> None:
        """Send a text when the venue's limit of messages allows; dropped when the connection is gone by then."""
        if len(self._sayings) < SAYINGS_MAX:
            self._sayings.append(text)
            self._saying.set()

    def drop(self, reason: str) -> None:
        """Give this connection up and make a new one; the reason is told with its loss."""
        self._given_up_for = reason or "given up"
        self._saying.set()

    async def run(self) -> None:
        """Connect, again and again; returns only by being cancelled."""
        failures = 0
        while True:
            async with asyncio.TaskGroup() as tasks:
                # An attempt lasts a second at least, however soon it has failed.
                tasks.create_task(asyncio.sleep(ATTEMPT_SPACING_S))
                reason = await self._live()
                failures = 0 if self.state in (_S.SUBSCRIBED, _S.STALE) else failures + 1
                self._move(_S.LOST, reason)
            pause_s = min(self._terms.reconnect_s_max, 2.0 ** min(failures, 10)) if failures else 0.0
            await asyncio.sleep(pause_s + JITTER * max(pause_s, ATTEMPT_SPACING_S) * self._dice.uniform())

    async def _live(self) -> str:
        """One connection from its attempt to its end; returns why it ended."""
        self.attempts += 1
        self._given_up_for = ""
        self._sayings.clear()
        self._move(_S.CONNECTING, "")
        reason = "closed"
        try:
            async with self._network.session() as session:
                socket = await self._connected(session)
                self._silent_looks = 0
                self._move(_S.FRESH, "")
                for text in self._talk.on_fresh():
                    self.say(text)
                try:
                    await self._converse(socket)
                finally:
                    await socket.close()
        except* _Broken as faults:
            reason = str(faults.exceptions[0])
        except* (aiohttp.ClientError, OSError, TimeoutError) as faults:
            reason = type(faults.exceptions[0]).__name__
        return reason

    async def _connected(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        terms = self._terms
        try:
            async with asyncio.timeout(terms.connect_s_max):
                return await session.ws_connect(
                    terms.url,
                    heartbeat=None,
                    compress=0,
                    max_msg_size=HUGE_FACTOR * terms.frame_bytes_max,
                    timeout=aiohttp.ClientWSTimeout(ws_close=FAREWELL_S_MAX),
                )
        except AssertionError:
            # The library asserts that the connection outlives its handshake, which is the venue's to decide.
            raise _Broken("cut during the handshake") from None

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Listen, speak and watch until one of them gives up."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(socket))
            tasks.create_task(self._speak(socket))
            tasks.create_task(self._keep_alive())
            tasks.create_task(self._watch())

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT or message.type is aiohttp.WSMsgType.BINARY:
                self._hear(message.data)
            elif message.type is aiohttp.WSMsgType.ERROR:
                self._note_flood(message.data)
                raise _Broken(f"broken: {type(message.data).__name__}")
            else:
                raise _Broken(f"closed by the venue ({socket.close_code})")

    def _hear(self, frame: str | bytes) -> None:
        if len(frame) > self._terms.frame_bytes_max:
            self._talk.on_oversize(len(frame))
        elif self._talk.on_frame(frame):
            self._silent_looks = 0
            if self.state is _S.FRESH:
                self._move(_S.SUBSCRIBED, "")

    def _note_flood(self, fault: object) -> None:
        """A frame beyond all measure has ended the connection before it was read whole."""
        if isinstance(fault, aiohttp.WebSocketError) and fault.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            self._talk.on_oversize(HUGE_FACTOR * self._terms.frame_bytes_max)

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Say what waits, within the limit; one message a second is left free, as pings and pongs count too."""
        bucket = Bucket(max(1, self._terms.messages_per_s - 1))
        while True:
            await self._saying.wait()
            self._saying.clear()
            self._end_if_given_up()
            while self._sayings:
                await bucket.take()
                self._end_if_given_up()
                async with asyncio.timeout(self._terms.connect_s_max):
                    await socket.send_str(self._sayings.popleft())

    def _end_if_given_up(self) -> None:
        if self._given_up_for:
            raise _Broken(self._given_up_for)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._terms.ping_s)
            text = self._talk.ping()
            if text:
                self.say(text)

    async def _watch(self) -> None:
        """Find out that nothing usable comes. Counts looks, not time: a machine that slept has not missed anything."""
        looks_max = math.ceil(self._terms.silent_s_max / WATCH_EVERY_S)
        while self._silent_looks <= looks_max:
            await asyncio.sleep(WATCH_EVERY_S)
            self._silent_looks += 1
        reason = f"nothing usable for {self._terms.silent_s_max:g} s"
        self._move(_S.STALE, reason)
        raise _Broken(reason)

    def _move(self, state: ConnectionState, reason: str) -> None:
        assert state in TRANSITIONS[self.state], f"a connection cannot go from {self.state} to {state}"
        self.state = state
        self._talk.on_state(state, reason)
