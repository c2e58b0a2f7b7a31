"""REST of the loopback Bitunix: envelope, signatures, limits, and the record of what was asked.

Errors come with HTTP 200 and a code, as at the venue. A call is carried out once or not at all, whatever becomes of
its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
from aiohttp import web

from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_reasons import PerpReason
from agora.testnet.bitunix_calls import CALLS, PREFIX, Call
from agora.testnet.bitunix_faults import Incoming, Mischief
from agora.testnet.bitunix_notes import Notes
from agora.testnet.bitunix_params import Asked, VenueError, ms_of, refusal_of
from agora.testnet.bitunix_world import TestAccount, World
from agora.testnet.control import RequestLog, RequestSeen
from agora.testnet.faults import Fault
from agora.venues.bitunix.signing import Credentials, query_text, sign_rest

# The largest body is a batch of five orders; a megabyte is a mistake.
BODY_BYTES_MAX = 1_000_000
# The venue counts when requests arrive, we when they are sent: so much of a window the network may take away.
WINDOW_NS = 900_000_000
# Windows that are kept: an account or address with each of its calls.
WINDOWS_MAX = 10_000
NONCES_KEPT = 10_000


class RateLimits:
    """So many requests a second, of an account or an address, of each call by itself."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._windows: dict[tuple[str, str], deque[int]] = {}

    def admits(self, who: str, name: str, per_s: int) -> bool:
        """Whether one more may pass; a refused one does not count."""
        now_ns = self._monotonic_ns()
        window = self._windows.get((who, name))
        if window is None:
            while len(self._windows) >= WINDOWS_MAX:
                del self._windows[next(iter(self._windows))]
            window = self._windows[who, name] = deque()
        while window and now_ns - window[0] >= WINDOW_NS:
            window.popleft()
        if len(window) >= per_s:
            return False
        window.append(now_ns)
        return True


class _Code(msgspec.Struct):
    code: int


_CODES = msgspec.json.Decoder(_Code)
_BODIES = msgspec.json.Decoder()


class RestServer:
    """All calls of the venue."""

    def __init__(
        self, world: World, mischief: Mischief, *, notes: Notes, log: RequestLog, monotonic_ns: Callable[[], int]
    ) -> None:
        self._world = world
        self._mischief = mischief
        self._notes = notes
        self._log = log
        self._limits = RateLimits(monotonic_ns)
        self._names = {(call.method, PREFIX + call.path): name for name, call in CALLS.items()}
        self._nonces: dict[str, deque[str]] = {}
        self._is_cold = world.settings.starts_cold

    def add_to(self, app: web.Application) -> None:
        """Answer every path of an application that nobody else answers."""
        app.router.add_route("*", "/{path:.*}", self.handle)
        app.on_response_prepare.append(self._date)

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        """The venue's clock shows in this header only."""
        shown = datetime.fromtimestamp(self._world.shown_ns() // NS_PER_S, tz=UTC)
        response.headers["Date"] = format_datetime(shown, usegmt=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        received_ns = self._world.now_ns()
        raw = await request.read()
        seen = _Seen(ts_ns=received_ns, path=request.path)
        try:
            response = await self._answered(request, raw, seen)
            if request.transport is not None and not request.transport.is_closing():
                seen.status, seen.code = response.status, _code_of(response)
            return response
        finally:
            self._log.add(
                RequestSeen(
                    ts_ns=seen.ts_ns,
                    path=seen.path,
                    is_key_valid=seen.is_key_valid,
                    status=seen.status,
                    code=seen.code,
                )
            )

    async def _answered(self, request: web.Request, raw: bytes, seen: _Seen) -> web.StreamResponse:
        name = self._names.get((request.method, request.path))
        if name is None:
            return _envelope(None, code=404, message="Not Found")
        call = CALLS[name]
        account: TestAccount | None = None
        try:
            if call.is_signed:
                seen.is_key_valid = False
                account = self._verified(request, raw)
                seen.is_key_valid = True
            self._limit(name, call, account.api_key if account is not None else str(request.remote))
            params = _params_of(request, raw)
        except VenueError as refusal:
            return _envelope(None, code=refusal.code, message=refusal.message)
        asked = Asked(
            world=self._world,
            params=params,
            veil=self._mischief,
            account=account,
            is_coarse=self._mischief.happenings.is_now(Fault.TICK_SIZE_CHANGE),
            placed=[],
        )
        notes = self._notes.receive(name, account, params=params, ts_ns=seen.ts_ns) if account is not None else []

        def perform() -> web.Response:
            response = self._performed(name, call, asked)
            self._notes.settle(notes, asked.placed)
            self._world.publish()
            return response

        return await self._mischief.answer(Incoming(request, name, account), perform)

    def _performed(self, name: str, call: Call, asked: Asked) -> web.Response:
        """Carry out a call."""
        if self._is_cold and name == "trading_pairs":
            self._is_cold = False
            return _envelope(None, code=1, message="Network Error")
        self._world.catch_up()
        try:
            return _envelope(call.handler(asked))
        except VenueError as refusal:
            return _envelope(None, code=refusal.code, message=refusal.message)

    def _verified(self, request: web.Request, raw: bytes) -> TestAccount:
        """Whose request it is; raises `VenueError`."""
        headers = request.headers
        key, nonce, timestamp = (headers.get(name, "") for name in ("api-key", "nonce", "timestamp"))
        if not key:
            raise VenueError(10003, "api-key can't be empty")
        account = self._world.accounts.get(key)
        if account is None or not _is_signed(account, request, raw):
            raise VenueError(10007, "Sign signature error")
        settings = self._world.settings
        if settings.checks_skew:
            off_ms = abs(int(timestamp) - ms_of(self._world.shown_ns())) if timestamp.isdecimal() else None
            if off_ms is None or off_ms > settings.skew_s_max * 1_000:
                raise VenueError(10007, "Sign signature error")
        if settings.checks_nonce:
            self._note_nonce(key, nonce)
        return account

    def _note_nonce(self, key: str, nonce: str) -> None:
        used = self._nonces.setdefault(key, deque(maxlen=NONCES_KEPT))
        if not nonce or nonce in used:
            raise VenueError(10007, "Sign signature error")
        used.append(nonce)

    def _limit(self, name: str, call: Call, who: str) -> None:
        """Raise `VenueError` when there were too many."""
        is_low = self._mischief.is_rate_low(name)
        if is_low and not self._limits.admits(f"low {who}", name, 1):
            self._mischief.note_rate_refused()
            raise VenueError(10006, "Request too frequently")
        if not self._limits.admits(who, name, call.per_s):
            raise VenueError(10006, "Request too frequently")


class _Seen(msgspec.Struct, kw_only=True):
    """What is known of a request so far; status 0: no answer was given."""

    ts_ns: int
    path: str
    is_key_valid: bool | None = None
    status: int = 0
    code: int | None = None


def _is_signed(account: TestAccount, request: web.Request, raw: bytes) -> bool:
    """Whether the signature is that of the very values and bytes received."""
    try:
        body = raw.decode()
    except UnicodeDecodeError:
        return False
    expected = sign_rest(
        Credentials(account.api_key, account.api_secret),
        nonce=request.headers.get("nonce", ""),
        timestamp=request.headers.get("timestamp", ""),
        query=query_text(dict(request.query)),
        body=body,
    )
    return expected == request.headers.get("sign", "")


def _params_of(request: web.Request, raw: bytes) -> Mapping[str, Any]:
    if request.method == "GET":
        return dict(request.query)
    try:
        body = _BODIES.decode(raw) if raw else {}
    except (msgspec.DecodeError, RecursionError):
        raise refusal_of(PerpReason.BAD_PARAMETER) from None
    if not isinstance(body, dict):
        raise refusal_of(PerpReason.BAD_PARAMETER)
    return body


def _envelope(data: Any, *, code: int = 0, message: str = "Success") -> web.Response:
    body = msgspec.json.encode({"code": code, "data": data, "msg": message})
    return web.Response(body=body, content_type="application/json")


def _code_of(response: web.StreamResponse) -> int | None:
    """The code in an answer, where it can be read."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes):
        return None
    try:
        return _CODES.decode(body).code
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
