"""One signed or public call to Bitunix: limits, signature, answer, clock. Which calls there are knows the client.

Limits are those of the documentation (10, 5 or 1 a second by account or address, by endpoint). Errors come with
status 200, so the code in the body decides; a status alone decides only where there is no readable body.
"""

from __future__ import annotations

import asyncio
import calendar
import hashlib
import time
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from agora.domain.dice import Dice, dice_of
from agora.domain.errors import StartFault
from agora.domain.numbers import NS_PER_MS
from agora.engine.ports import Clock
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.signing import Credentials, query_text, sign_rest
from agora.venues.bitunix.wire_values import Malformed, whole_of
from agora.venues.rest import (
    BRAKE_SPACING_S,
    AuthRefused,
    Brake,
    Bucket,
    InDoubt,
    Network,
    NotSent,
    RateLimited,
    Refused,
    Reply,
    Request,
    exchange,
    read_again,
)

PREFIX = "/api/v1/futures"
AUTH_CODES = frozenset((403, 10003, 10004, 10007))
RATE_CODES = frozenset((10005, 10006))
# "Network Error": seen for a missing parameter and at cold start alike; whatever was asked may have been done.
NETWORK_CODES = frozenset((1, 10001))
# Readings of the venue's clock that are combined; the header has whole seconds, so one alone says little.
CLOCK_SAMPLES = 16
DATE_RESOLUTION_MS = 1_000


class ClockSkew(NotSent):
    """The venue's clock is further from ours than may be signed with: nothing that raises risk is sent."""


class _Envelope(msgspec.Struct):
    code: int | str
    data: msgspec.Raw = msgspec.Raw(b"null")
    msg: str | None = None


_ENVELOPES = msgspec.json.Decoder(_Envelope)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. `bucket` names its limit; a `body` makes it a POST; `is_cancel`: it makes us smaller."""

    path: str
    bucket: str = "read"
    per_s: int = 10
    query: Mapping[str, str] = {}
    body: Mapping[str, Any] | None = None
    is_signed: bool = True
    is_cancel: bool = False
    raises_risk: bool = False


class VenueClock:
    """How far the venue's clock is from ours, narrowed down from the `Date` headers of its answers."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=CLOCK_SAMPLES)

    @property
    def offset_ms(self) -> int:
        """Milliseconds that the venue is ahead: none where none fits all readings, else the middle of what does."""
        if not self._samples:
            return 0
        low, high = max(low for low, _ in self._samples), min(high for _, high in self._samples)
        return 0 if low <= 0 <= high else (low + high) // 2

    def note(self, date: str, *, sent_ms: int, received_ms: int) -> None:
        """A reading: the venue wrote that second at some moment between these two of ours."""
        try:
            written_ms = calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) * 1_000
        except ValueError:
            return
        low, high = written_ms - received_ms, written_ms + DATE_RESOLUTION_MS - sent_ms
        if any(low > other_high or high < other_low for other_low, other_high in self._samples):
            self._samples.clear()  # One of the two clocks was set.
        self._samples.append((low, high))


class Caller:
    """Makes calls over one session."""

    def __init__(
        self,
        base_url: str,
        network: Network,
        credentials: Credentials | None,
        *,
        clock: Clock,
        seed: int,
        settings: BitunixSettings,
    ) -> None:
        self.venue_clock = VenueClock()
        self._base_url = base_url.rstrip("/")
        self._network = network
        self._credentials = credentials
        self._clock = clock
        self._settings = settings
        self._dice: Dice = dice_of(seed, "bitunix", clock.now_ns())
        self._session: aiohttp.ClientSession | None = None
        self._buckets: dict[str, Bucket] = {}
        self._brake = Brake()
        self._calls = 0

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self, call: Call) -> Any:
        """The data of a call that changes nothing, tried again within its time; raises as `once`."""
        within_s = self._settings.read_s_max

        async def read() -> Any:
            return await self.once(call)

        return await read_again(read, within_s=within_s, dice=self._dice)

    async def once(self, call: Call) -> Any:
        """The data of one call. Raises `Refused`, `NotSent`, `InDoubt`, `RateLimited` or `Malformed`."""
        if call.is_signed and self._credentials is None:
            raise StartFault("this call to the venue needs an account's key and secret")
        if call.raises_risk and abs(self.venue_clock.offset_ms) > self._settings.clock_skew_s_max * 1_000:
            raise ClockSkew(f"the venue's clock is {self.venue_clock.offset_ms} ms off")
        limit_s = self._settings.request_s_max if call.body is not None else self._settings.read_s_max
        try:
            async with asyncio.timeout(limit_s):
                await self._bucket(call).take(is_cancel=call.is_cancel)
                await self._brake.take(is_cancel=call.is_cancel)
        except TimeoutError:
            raise NotSent("the limits of the venue left no room for it in time") from None
        try:
            async with asyncio.timeout(self._settings.request_s_max):
                reply = await self._exchange(call)
        except TimeoutError:
            raise InDoubt(f"no answer in {self._settings.request_s_max:g} s") from None
        except RateLimited as fault:
            self._brake.press(fault.retry_after_s)
            raise
        return self._judge(reply)

    def _bucket(self, call: Call) -> Bucket:
        """The bucket of an endpoint; one of ten a second keeps two for cancels."""
        if call.bucket not in self._buckets:
            self._buckets[call.bucket] = Bucket(call.per_s, reserved=2 if call.bucket == "order" else 0)
        return self._buckets[call.bucket]

    async def _exchange(self, call: Call) -> Reply:
        if self._session is None:
            self._session = self._network.session()
        request = self._request(call)
        sent_ms = self._clock.now_ns() // NS_PER_MS
        reply = await exchange(self._session, request, connect_s=self._settings.request_s_max)
        self.venue_clock.note(reply.date, sent_ms=sent_ms, received_ms=self._clock.now_ns() // NS_PER_MS)
        return reply

    def _request(self, call: Call) -> Request:
        """The bytes that are signed are the bytes that are sent; parameters without a value are in neither."""
        query = {key: value for key, value in call.query.items() if value != ""}
        body = None if call.body is None else msgspec.json.encode(call.body)
        headers = {"Content-Type": "application/json", "language": "en-US"}
        if call.is_signed and self._credentials is not None:
            nonce, timestamp = self._nonce(), str(self._clock.now_ns() // NS_PER_MS + self.venue_clock.offset_ms)
            sign = sign_rest(
                self._credentials,
                nonce=nonce,
                timestamp=timestamp,
                query=query_text(query),
                body="" if body is None else body.decode(),
            )
            headers |= {"api-key": self._credentials.api_key, "nonce": nonce, "timestamp": timestamp, "sign": sign}
        url = f"{self._base_url}{PREFIX}{call.path}" + (f"?{urlencode(query)}" if query else "")
        return Request(method="GET" if body is None else "POST", url=url, headers=headers, body=body)

    def _nonce(self) -> str:
        """32 characters that no other call of this or an earlier life of the run has had."""
        self._calls += 1
        text = f"{self._dice.word()} {self._clock.now_ns()} {self._calls}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _judge(self, reply: Reply) -> Any:
        """The data of an answer, by the code in it."""
        try:
            envelope = _ENVELOPES.decode(reply.body)
            code = whole_of(envelope.code, "code", most=10**9)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Malformed):
            raise InDoubt(f"HTTP {reply.status} without a readable answer") from None
        message = (envelope.msg or "")[:200]
        if code in RATE_CODES:
            self._brake.press(BRAKE_SPACING_S)
            raise RateLimited(f"{code} {message}", BRAKE_SPACING_S)
        self._brake.release()
        if code in NETWORK_CODES or (code == 0 and reply.status != 200):
            raise InDoubt(f"{code} {message} (HTTP {reply.status})")
        if code in AUTH_CODES:
            raise AuthRefused(code, message)
        if code != 0:
            raise Refused(code, message)
        try:
            return msgspec.json.decode(envelope.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise InDoubt("the data of an answer cannot be read") from None
