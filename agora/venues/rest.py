"""Requests to a venue: what became of each is exact, so that nothing is sent twice and nothing in doubt is forgotten.

A request that surely did not arrive may be repeated; one that may have arrived is in doubt. Knows no venue.
"""

from __future__ import annotations

import asyncio
import calendar
import math
import time
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
        self._left = per_s
        self._returned = asyncio.Event()

    async def take(self, *, spare: int = 0) -> None:
        """Return when one more may leave and `spare` are left for what is more urgent."""
        spare = min(spare, self._per_s - 1)
        while self._left <= spare:
            self._returned.clear()
            await self._returned.wait()
        self._left -= 1
        asyncio.get_running_loop().call_later(WINDOW_S, self._give_back)

    def _give_back(self) -> None:
        self._left += 1
        self._returned.set()


class _Gate:
    """Open, or shut for some seconds."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether one may pass."""
        return self._is_open.is_set()

    def shut(self, seconds: float) -> None:
        """Let nobody pass for so long; a longer time that runs already stands."""
        timer = asyncio.get_running_loop().call_later(seconds, self._is_open.set)
        if self._timer is not None and not self.is_open and self._timer.when() > timer.when():
            timer.cancel()
            return
        self.open()
        self._timer = timer
        self._is_open.clear()

    def open(self) -> None:
        """Let everybody pass."""
        if self._timer is not None:
            self._timer.cancel()
        self._is_open.set()

    async def opened(self) -> None:
        """Return when it is open."""
        await self._is_open.wait()


class Brake:
    """What is left of us after the venue has said that we are too fast, until it answers normally again.

    One request in each window that the venue asked for, and one cancel a second beside it: cancels make us smaller.
    """

    def __init__(self) -> None:
        self._is_pressed = False
        self._window_s = BRAKE_SPACING_S
        self._usual = _Gate()
        self._cancels = _Gate()

    @property
    def is_pressed(self) -> bool:
        """Whether the venue has not answered normally since it said so."""
        return self._is_pressed

    def press(self, retry_after_s: float) -> None:
        """The venue has said so."""
        self._is_pressed = True
        self._window_s = max(BRAKE_SPACING_S, retry_after_s)
        self._usual.shut(self._window_s)
        self._cancels.shut(BRAKE_SPACING_S)

    def release(self) -> None:
        """The venue has answered normally."""
        self._is_pressed = False
        self._usual.open()
        self._cancels.open()

    async def take(self, *, is_cancel: bool = False) -> None:
        """Return when one more may leave."""
        gate = self._cancels if is_cancel else self._usual
        while self._is_pressed:
            if gate.is_open:
                gate.shut(BRAKE_SPACING_S if is_cancel else self._window_s)
                return
            await gate.opened()


async def read_again(read: Callable[[], Awaitable[Answer]], *, within_s: float, dice: Dice) -> Answer:
    """Repeat a read that changes nothing until it works; raises what the last try raised when the time is over."""
    faults: list[Transient] = []
    try:
        async with asyncio.timeout(within_s):
            return await _until_it_works(read, within_s, dice, faults=faults)
    except TimeoutError:
        raise (faults[-1] if faults else InDoubt(f"no answer in {within_s:g} s")) from None


async def _until_it_works(
    read: Callable[[], Awaitable[Answer]], within_s: float, dice: Dice, *, faults: list[Transient]
) -> Answer:
    pause_s = READ_PAUSE_S
    while True:
        try:
            return await read()
        except Transient as fault:
            faults[:] = [fault]
            wait_s = pause_s * (1.0 + 0.5 * dice.uniform())
            if isinstance(fault, RateLimited):
                wait_s = max(wait_s, fault.retry_after_s)
            if wait_s >= within_s:
                raise
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, READ_PAUSE_S_MAX)
