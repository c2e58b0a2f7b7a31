"""Requests to a venue: what became of each is exact, so that nothing is sent twice and nothing in doubt is forgotten.

A request that surely did not arrive may be repeated; one that may have arrived is in doubt. Knows no venue.
"""

from __future__ import annotations

import asyncio
import calendar
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import TypeVar

import aiohttp
import msgspec

from agora.domain.dice import Dice
from agora.domain.errors import Transient

# The whole book of the largest market has half a megabyte; four times that is no answer.
ANSWER_BYTES_MAX = 2 * 2**20
CHUNK_BYTES = 64 * 1024
# Connections kept to one venue: more requests than that at once are not sent anyway.
CONNECTIONS_MAX = 16
# Trackers count what arrives: a second here, and a tenth for requests that catch up with one another on the way.
WINDOW_S = 1.1
# While a venue says that we are too fast, no request follows another within this time.
BRAKE_SPACING_S = 1.0
# A venue that asks for a longer pause than this is away.
RETRY_AFTER_S_MAX = 3_600.0
# Pauses between the tries of a read: doubling from the first to the last.
READ_PAUSE_S, READ_PAUSE_S_MAX = 0.25, 2.0

Answer = TypeVar("Answer")
# All of its own patience is off: one deadline covers the whole exchange.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)


class Refused(Exception):
    """The venue has answered: it was not done, and will not be. `code` is the venue's own."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code} {message}")


class AuthRefused(Refused):
    """The venue does not accept who we are, or what we may do."""


class NotSent(Transient):
    """It surely did not arrive: nothing was reached, or nothing was sent."""


class InDoubt(Transient):
    """It may have arrived: no answer, half an answer, or one that does not say."""


class RateLimited(Transient):
    """The venue has refused it unread because there were too many; it may be repeated after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Network:
    """Makes HTTP sessions. A simulation hands in a `connector` of its own."""

    def __init__(self, connector: Callable[[], aiohttp.BaseConnector] | None = None) -> None:
        self._connector = connector

    def session(self) -> aiohttp.ClientSession:
        """A session without cookies, proxies or redirect memory; its user closes it."""
        connector = self._connector() if self._connector else aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_leaving)
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, trace_configs=[trace]
        )


class _Fate(msgspec.Struct):
    """Whether the first byte of a request may have left."""

    has_left: bool = False


async def _note_leaving(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    """Called by the library just before it writes a request to a connection."""
    if isinstance(context.trace_request_ctx, _Fate):
        context.trace_request_ctx.has_left = True


class Reply(msgspec.Struct, frozen=True):
    """What came back, whole. `date` is the venue's `Date` header, `retry_after` its other one; empty without."""

    status: int
    body: bytes
    date: str = ""
    retry_after: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request; `body` None: there is none."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


async def exchange(session: aiohttp.ClientSession, request: Request, *, within_s: float) -> Reply:
    """Send a request and read its answer; raises `NotSent`, `InDoubt` or `RateLimited`.

    The session is one of `Network`: only those tell whether a request has left.
    """
    fate = _Fate()
    try:
        async with asyncio.timeout(within_s):
            reply = await _sent(session, request, fate)
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        # A time-out is an OSError as well, and carries no words.
        what = f"no answer in {within_s:g} s" if isinstance(fault, TimeoutError) else type(fault).__name__
        if not fate.has_left:
            raise NotSent(f"the venue cannot be reached: {what}") from fault
        raise InDoubt(f"the answer was lost: {what}") from fault
    if reply.status == 429:
        raise RateLimited("HTTP 429", retry_after_of(reply.retry_after, reply.date))
    return reply


async def _sent(session: aiohttp.ClientSession, request: Request, fate: _Fate) -> Reply:
    async with session.request(
        request.method,
        request.url,
        headers=request.headers,
        data=request.body,
        timeout=_NO_TIMEOUT,
        allow_redirects=False,
        trace_request_ctx=fate,
    ) as response:
        headers = response.headers
        # The body of a 429 is of no use, and does not delay what its headers say.
        body = b"" if response.status == 429 else await _body(response)
        return Reply(response.status, body, headers.get("Date", ""), headers.get("Retry-After", ""))


async def _body(response: aiohttp.ClientResponse) -> bytes:
    chunks = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        chunks += chunk
        if len(chunks) > ANSWER_BYTES_MAX:
            response.close()
            raise InDoubt(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(chunks)


def retry_after_of(text: str, date: str = "") -> float:
    """Seconds to wait, from a `Retry-After` header: a number, or a time beside the answer's own `Date`.

    The brake's own spacing where it says nothing usable.
    """
    seconds = _seconds_between(date, text)
    if seconds is None:
        try:
            seconds = float(text)
        except ValueError:
            return BRAKE_SPACING_S
    return min(max(seconds, BRAKE_SPACING_S), RETRY_AFTER_S_MAX) if not math.isnan(seconds) else BRAKE_SPACING_S


def _seconds_between(early: str, late: str) -> float | None:
    try:
        return float(date_s(late) - date_s(early))
    except ValueError:
        return None


def date_s(text: str) -> int:
    """The Unix second of an HTTP date; raises `ValueError`."""
    return calendar.timegm(time.strptime(text, "%a, %d %b %Y %H:%M:%S GMT"))


class Bucket:
    """So many requests in any window of a second: a token that is taken comes back `WINDOW_S` later.

    Whoever leaves more for others waits longer, and holds up nobody.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._taken_s: deque[float] = deque(maxlen=per_s)

    async def take(self, *, spare: int = 0) -> None:
        """Return when one more may leave and `spare` are left for what is more urgent."""
        allowed = max(1, self._per_s - spare)
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            while self._taken_s and self._taken_s[0] + WINDOW_S <= now_s:
                self._taken_s.popleft()
            if len(self._taken_s) < allowed:
                self._taken_s.append(now_s)
                return
            due_s = self._taken_s[len(self._taken_s) - allowed] + WINDOW_S
            # Never less than a millisecond: a rest of rounding would be slept for without end.
            await asyncio.sleep(max(due_s - now_s, 0.001))


class Brake:
    """What is left of us after the venue has said that we are too fast, until it answers normally again.

    One request in each window that the venue asked for, and one cancel a second beside it: cancels make us smaller.
    """

    def __init__(self) -> None:
        self._is_pressed = False
        self._window_s = BRAKE_SPACING_S
        self._next_s = 0.0
        self._next_cancel_s = 0.0

    @property
    def is_pressed(self) -> bool:
        """Whether the venue has not answered normally since it said so."""
        return self._is_pressed

    def press(self, retry_after_s: float) -> None:
        """The venue has said so."""
        now_s = asyncio.get_running_loop().time()
        self._is_pressed = True
        self._window_s = max(BRAKE_SPACING_S, retry_after_s)
        self._next_s = max(self._next_s, now_s + self._window_s)
        self._next_cancel_s = max(self._next_cancel_s, now_s + BRAKE_SPACING_S)

    def release(self) -> None:
        """The venue has answered normally."""
        self._is_pressed = False

    async def take(self, *, is_cancel: bool = False) -> None:
        """Return when one more may leave."""
        while self._is_pressed:
            now_s = asyncio.get_running_loop().time()
            due_s = self._next_cancel_s if is_cancel else self._next_s
            if now_s >= due_s:
                if is_cancel:
                    self._next_cancel_s = now_s + BRAKE_SPACING_S
                else:
                    self._next_s = now_s + self._window_s
                return
            # Never less than a millisecond: a rest of rounding would be slept for without end.
            await asyncio.sleep(max(due_s - now_s, 0.001))


async def read_again(read: Callable[[], Awaitable[Answer]], *, within_s: float, dice: Dice) -> Answer:
    """Repeat a read that changes nothing until it works; raises what the last try raised when the time is over."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    pause_s = READ_PAUSE_S
    while True:
        try:
            return await read()
        except Transient as fault:
            wait_s = pause_s * (1.0 + 0.5 * dice.uniform())
            if isinstance(fault, RateLimited):
                wait_s = max(wait_s, fault.retry_after_s)
            if loop.time() + wait_s >= until_s:
                raise
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, READ_PAUSE_S_MAX)
