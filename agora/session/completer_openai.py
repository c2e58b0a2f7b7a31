"""The small completer: one POST of the OpenAI-compatible chat completion protocol, nothing beside it.

An answer is read up to a limit and decoded strictly; redirects, cookies and compressed answers are not taken.
"""

from __future__ import annotations

from typing import Annotated

import aiohttp
import msgspec
from msgspec import Meta

from agora.domain.decisions import Ask
from agora.domain.numbers import PPM
from agora.session.completer import (
    BODY_BYTES_MAX,
    TOKENS_MAX,
    Completion,
    Failure,
    NotTaken,
    capped,
    checked_base_url,
    cleaned,
    failure_of_status,
    garbled,
    unreachable,
    without_key,
)
from agora.session.credentials import Secret

CHUNK_BYTES = 16 * 1024  # small beside the limit of the whole, large beside a usual answer
# Deadlines are kept by who asks; a connection that is not made within this long is not made at all.
CONNECT_S = 30.0

_Count = Annotated[int, Meta(ge=0, le=TOKENS_MAX)]


class _Said(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Said


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0


class _Answer(msgspec.Struct, frozen=True):
    """What is used of a chat completion; strict in types, open for fields that providers add."""

    choices: Annotated[tuple[_Choice, ...], Meta(min_length=1)]
    usage: _Usage | None = None


class _Complaint(msgspec.Struct, frozen=True):
    message: str = ""


class _Complaints(msgspec.Struct, frozen=True):
    error: _Complaint


_ANSWER = msgspec.json.Decoder(_Answer)
_COMPLAINTS = msgspec.json.Decoder(_Complaints)


class OpenAiCompleter:
    """Port `Completer` over aiohttp. `connections` bounds the sockets; made without a loop, connected when used."""

    def __init__(self, *, base_url: str, key: Secret | None, connections: int) -> None:
        self._url = f"{checked_base_url(base_url, key)}/chat/completions"
        self._key = key
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, ask: Ask) -> Completion | Failure:
        """One attempt, see `Completer`."""
        try:
            async with self._connected().post(
                self._url, data=_question(ask), headers=self._headers(), allow_redirects=False
            ) as answer:
                return await self._read(answer)
        except NotTaken as fault:
            return garbled(str(fault))
        except aiohttp.ClientConnectorError:
            return unreachable("no connection to the provider", is_perhaps_billed=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            return unreachable(f"the connection broke ({type(fault).__name__})", is_perhaps_billed=True)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                # A small compressed answer may unpack to any size.
                auto_decompress=False,
                headers={"Accept-Encoding": "identity", "Accept": "application/json"},
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return headers

    async def _read(self, answer: aiohttp.ClientResponse) -> Completion | Failure:
        if (answer.content_length or 0) > BODY_BYTES_MAX:
            answer.close()
            return garbled(f"the answer is larger than {BODY_BYTES_MAX} bytes")
        try:
            body = b"".join([chunk async for chunk in capped(answer.content.iter_chunked(CHUNK_BYTES))])
        except NotTaken:
            # Without this the rest would be read before the connection is used again.
            answer.close()
            raise
        if answer.status != 200:
            said = cleaned(_complaint(body), self._key)
            return failure_of_status(answer.status, retry_after=answer.headers.get("Retry-After"), said=said)
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            return garbled("the answer is compressed, which was not asked for")
        return self._completion(body)

    def _completion(self, body: bytes) -> Completion | Failure:
        try:
            answer = _ANSWER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            return garbled(f"the answer is no chat completion: {cleaned(str(fault), self._key)}")
        said, usage = answer.choices[0].message, answer.usage or _Usage()
        text = said.content or ""
        if not text and said.refusal:
            # The protocol's own way of refusing becomes the one that answers have.
            text = msgspec.json.encode({"refusal": said.refusal[:500]}).decode()
        return Completion(
            text=without_key(text, self._key),
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
        )


def _question(ask: Ask) -> bytes:
    return msgspec.json.encode(
        {
            "model": ask.model,
            "messages": ask.messages,
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature_ppm / PPM,
        }
    )


def _complaint(body: bytes) -> str:
    try:
        return _COMPLAINTS.decode(body).error.message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
