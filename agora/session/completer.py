"""The port through which a model is asked once, and what all its implementations share.

An attempt that gives no text is a value that says how it failed; whether to try again is `asking`'s decision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from agora.domain.decisions import AnswerOutcome, Ask
from agora.domain.errors import UsageFault
from agora.domain.numbers import NS_PER_S
from agora.session.credentials import MASK, Secret

# The longest decision is some kilobytes; a quarter of a megabyte leaves room for a model that thinks aloud.
BODY_BYTES_MAX = 256 * 1024
# Providers ask for seconds or minutes; what is longer does not fit any deadline.
RETRY_AFTER_S_MAX = 86_400
DETAIL_CHARS_MAX = 300  # a sentence for the journal
# Tokens are counted by the provider; more than a hundred million in one answer is no count.
TOKENS_MAX = 100_000_000

PASSING_STATUSES = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
        529,  # "overloaded" of several providers
    }
)


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said. Token counts are the provider's; 0 where it gave none."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt gave no text; `retry_after_ns` 0: the provider did not say.

    `is_perhaps_billed`: the provider may have done the work, so the worst case counts as spent.
    """

    outcome: AnswerOutcome
    detail: str
    is_passing: bool
    is_perhaps_billed: bool = False
    retry_after_ns: int = 0


class Completer(Protocol):
    """Asks one provider. `complete` raises nothing but cancellation; it has no retries and no deadline of its own."""

    async def complete(self, ask: Ask) -> Completion | Failure:
        """One attempt."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def failure_of_status(status: int, *, retry_after: str | None, said: str) -> Failure:
    """What an HTTP status other than 200 means; `said` is the provider's explanation, cleaned."""
    detail = f"the provider answered {status}" + (f": {said}" if said else "")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Failure(
            outcome=AnswerOutcome.RATE_LIMITED,
            detail=detail,
            is_passing=True,
            retry_after_ns=retry_after_ns(retry_after),
        )
    return Failure(
        outcome=AnswerOutcome.PROVIDER_ERROR,
        detail=detail,
        is_passing=status in PASSING_STATUSES,
        retry_after_ns=retry_after_ns(retry_after),
    )


def garbled(detail: str) -> Failure:
    """The provider did its work, but its answer cannot be read."""
    return Failure(outcome=AnswerOutcome.PROVIDER_ERROR, detail=detail, is_passing=True, is_perhaps_billed=True)


def unreachable(detail: str, *, is_perhaps_billed: bool) -> Failure:
    """The connection failed, before or after the question was sent."""
    return Failure(
        outcome=AnswerOutcome.PROVIDER_ERROR,
        detail=detail,
        is_passing=True,
        is_perhaps_billed=is_perhaps_billed,
    )


def retry_after_ns(text: str | None) -> int:
    """The header's seconds; 0 where it is missing, a date or nonsense (our own backoff then holds)."""
    if text is None:
        return 0
    try:
        seconds = float(text)
    except ValueError:
        return 0
    return int(seconds * NS_PER_S) if 0 <= seconds <= RETRY_AFTER_S_MAX else 0


class NotTaken(Exception):
    """An answer of a size or a kind that is not read; what came of it is thrown away."""


async def capped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, up to `BODY_BYTES_MAX` in all; then `NotTaken`."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise NotTaken(f"the answer is larger than {BODY_BYTES_MAX} bytes")
        yield chunk


def cleaned(text: str, key: Secret | None) -> str:
    """A stranger's sentence for the record: one line, short, printable, no markup, not our key should it be quoted."""
    masked = without_key(text[: DETAIL_CHARS_MAX * 8], key)
    line = "".join(char if char.isprintable() and char not in "<>" else " " for char in masked)
    return " ".join(line.split())[:DETAIL_CHARS_MAX]


def without_key(text: str, key: Secret | None) -> str:
    """The text with our key masked: a provider knows it and might say it."""
    return text.replace(key.reveal(), MASK) if key is not None and key.reveal() else text


def checked_base_url(base_url: str, key: Secret | None) -> str:
    """The address without its last slash; raises `UsageFault` where a key would travel in the clear."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageFault("llm.base_url: expected http://host/path or https://host/path")
    if key is not None and parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UsageFault(f"llm.base_url: the key would go to {parts.hostname} unencrypted; use https")
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
