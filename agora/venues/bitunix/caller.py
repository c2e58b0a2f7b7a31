"""One signed or public call to Bitunix: limits, signature, answer, clock. Which calls there are knows the client.

Limits are those of the documentation (10, 5 or 1 a second by account or address, by endpoint). Errors come with
status 200, so the code in the body decides; a status alone decides only where there is no readable body.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
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
from agora.venues.rest import (
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
    date_s,
    exchange,
    read_again,
    retry_after_of,
)
from agora.venues.wire_values import Malformed, whole_of

PREFIX = "/api/v1/futures"
AUTH_CODES = frozenset((403, 10003, 10004, 10007))
RATE_CODES = frozenset((10005, 10006))
# "Network Error": seen for a missing parameter and at cold start alike; whatever was asked may have been done.
NETWORK_CODES = frozenset((1, 10001))
# Readings of the venue's clock that are combined; the header has whole seconds, so one alone says little.
CLOCK_SAMPLES = 16
DATE_RESOLUTION_MS = 1_000
# Tokens of a limit that a call leaves for more urgent ones: cancels take all, changes leave two, reads one or two more.
SPARE_OF_CHANGES, SPARE_OF_URGENT_READS, SPARE_OF_READS = 2, 3, 4
# What tells of trades and of the account goes before other reads: a run that trades and never hears is blind.
URGENT_READS = frozenset((
    "/trade/get_history_trades", "/trade/get_pending_orders", "/position/get_pending_positions",
    "/position/get_history_positions", "/account",
))  # fmt: skip


class Limit(StrEnum):
    """What the venue counts together: calls from an address, or of an account in three groups."""

    ADDRESS = "address"
    ACCOUNT = "account"
    ACCOUNT_SLOW = "account_slow"
    ACCOUNT_SINGLE = "account_single"


PER_S: Mapping[Limit, int] = {Limit.ADDRESS: 10, Limit.ACCOUNT: 10, Limit.ACCOUNT_SLOW: 5, Limit.ACCOUNT_SINGLE: 1}


class ClockSkew(NotSent):
    """The venue's clock is further from ours than may be signed with: nothing that raises risk is sent."""


class _Envelope(msgspec.Struct):
    code: int | str
    data: msgspec.Raw = msgspec.Raw(b"null")
    msg: str | None = None


_ENVELOPES = msgspec.json.Decoder(_Envelope)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. A `body` makes it a POST; `is_cancel`: it makes us smaller."""

    path: str
    limit: Limit = Limit.ACCOUNT
    query: Mapping[str, str] = {}
    body: Mapping[str, Any] | None = None
    is_signed: bool = True
    is_cancel: bool = False
    raises_risk: bool = False

    @property
    def spare(self) -> int:
        """Tokens that it leaves for more urgent calls."""
        if self.is_cancel:
            return 0
        if self.body is not None:
            return SPARE_OF_CHANGES
        return SPARE_OF_URGENT_READS if self.path in URGENT_READS else SPARE_OF_READS


class VenueClock:
    """How far the venue's clock is from ours, narrowed down from the `Date` headers of its answers."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=CLOCK_SAMPLES)

    @property
    def offset_ms(self) -> int:
        """Milliseconds that the venue is ahead: none where none fits all readings, else the middle of what does."""
        low, high = self._bounds
        return 0 if low <= 0 <= high else (low + high) // 2

    @property
    def surely_ms(self) -> int:
        """The least distance between the two clocks that fits all readings."""
        low, high = self._bounds
        return max(low, -high, 0)

    @property
    def _bounds(self) -> tuple[int, int]:
        if not self._samples:
            return 0, 0
        return max(low for low, _ in self._samples), min(high for _, high in self._samples)

    def note(self, date: str, *, sent_ms: int, received_ms: int) -> None:
        """A reading: the venue wrote that second at some moment between these two of ours."""
        try:
            written_ms = date_s(date) * 1_000
        except ValueError:
            return
        low, high = written_ms - received_ms, written_ms + DATE_RESOLUTION_MS - sent_ms
        if any(low > other_high or high < other_low for other_low, other_high in self._samples):
            self._samples.clear()  # One of the two clocks was set.
        self._samples.append((low, high))


def always() -> bool:
    """Wanted, whatever comes."""
    return True


class Caller:
    """Makes calls over one session."""

    def __init__(
        self,
        network: Network,
        credentials: Credentials | None,
        *,
        clock: Clock,
        seed: int,
        settings: BitunixSettings,
    ) -> None:
        self.venue_clock = VenueClock()
        self._base_url = settings.rest_url.rstrip("/")
        self._network = network
        self._credentials = credentials
        self._clock = clock
        self._settings = settings
        self._dice: Dice = dice_of(seed, "bitunix", clock.now_ns())
        self._session: aiohttp.ClientSession | None = None
        self._buckets = {limit: Bucket(per_s) for limit, per_s in PER_S.items()}
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
            return await self._once(call, turn_s=within_s)

        return await read_again(read, within_s=within_s, dice=self._dice)

    async def once(self, call: Call, *, is_wanted: Callable[[], bool] = always) -> Any:
        """The data of one call. Raises `Refused`, `NotSent`, `InDoubt` or `RateLimited`.

        It waits for its turn and for its answer; what raises risk waits no longer for its turn than it is fresh, and
        what is not wanted any more when its turn comes is not sent.
        """
        clock = self.venue_clock
        if call.raises_risk and clock.surely_ms > self._settings.clock_skew_s_max * 1_000:
            raise ClockSkew(f"the venue's clock is {clock.offset_ms} ms off")
        turn_s = self._settings.admission_s_max if call.raises_risk else self._settings.request_s_max
        return await self._once(call, turn_s=turn_s, is_wanted=is_wanted)

    async def _once(self, call: Call, *, turn_s: float, is_wanted: Callable[[], bool] = always) -> Any:
        if call.is_signed and self._credentials is None:
            raise StartFault("this call to the venue needs an account's key and secret")
        try:
            async with asyncio.timeout(turn_s):
                await self._buckets[call.limit].take(spare=call.spare)
                await self._brake.take(is_cancel=call.is_cancel)
        except TimeoutError:
            raise NotSent("the limits of the venue left no room for it in time") from None
        if not is_wanted():
            raise NotSent("not wanted any more when its turn came")
        try:
            reply = await self._exchange(call)
        except RateLimited as fault:
            self._brake.press(fault.retry_after_s)
            raise
        return self._judge(reply)

    async def _exchange(self, call: Call) -> Reply:
        if self._session is None:
            self._session = self._network.session()
        request = self._request(call)
        sent_ms = self._clock.now_ns() // NS_PER_MS
        reply = await exchange(self._session, request, within_s=self._settings.request_s_max)
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
            retry_after_s = retry_after_of(reply.retry_after, reply.date)
            self._brake.press(retry_after_s)
            raise RateLimited(f"{code} {message}", retry_after_s)
        self._brake.release()
        if code in NETWORK_CODES or reply.status >= 500 or (code == 0 and reply.status != 200):
            raise InDoubt(f"{code} {message} (HTTP {reply.status})")
        if code in AUTH_CODES:
            raise AuthRefused(code, message)
        if code != 0:
            raise Refused(code, message)
        try:
            return msgspec.json.decode(envelope.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise InDoubt("the data of an answer cannot be read") from None
