"""The completer over LiteLLM: many providers through one optional library, which is imported when one is made.

The library gets our own HTTP session, so that answers are bounded and connections are closed by us; its retries,
telemetry, fallbacks and look-ups over the network are off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, MutableMapping
from contextvars import ContextVar
from typing import Any

import aiohttp
import msgspec

from agora.domain.decisions import Ask
from agora.domain.errors import UsageFault
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

LOGGER = logging.getLogger("agora")
# The library reads these while it is imported: prices from its own file instead of the network, no .env file.
LIBRARY_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
# Beside its own exceptions the library lets through what its parsing of a strange answer raises.
STRAY_FAULTS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
# The library insists on a key even where the provider wants none.
NO_KEY = "none"
OK = 200
REDIRECTS = range(300, 400)
# Its background work has nowhere to write to; a second is long for it.
CLOSE_S = 1.0


class LiteLlmCompleter:
    """Port `Completer` over `litellm.acompletion`; one per event loop.

    `base_url` "": the library finds the provider by the model's name, else the address speaks OpenAI's protocol.
    `environment`: that of the process, which the library reads. Raises `UsageFault` where it is not installed.
    """

    def __init__(
        self, *, base_url: str, key: Secret | None, connections: int, environment: MutableMapping[str, str]
    ) -> None:
        self._base_url = checked_base_url(base_url, key) if base_url else ""
        self._key = key
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._litellm = _imported(environment)

    async def complete(self, ask: Ask) -> Completion | Failure:
        """One attempt, see `Completer`."""
        wire = _Wire()
        token = _WIRE.set(wire)
        try:
            answer = await self._litellm.acompletion(**self._question(ask))
        except (self._litellm.exceptions.openai.OpenAIError, NotTaken, *STRAY_FAULTS) as fault:
            return self._failure(fault, wire)
        finally:
            _WIRE.reset(token)
        return self._completion(answer)

    async def close(self) -> None:
        """End what the library runs in the background and close the connections."""
        if self._session is None:
            return
        session, self._session = self._session, None
        worker = self._litellm.litellm_core_utils.logging_worker.GLOBAL_LOGGING_WORKER
        try:
            # What the library wants to log (nowhere) it hands to a worker by tasks that begin one turn of the loop
            # later; a worker stopped before it has emptied its queue leaves coroutines that nobody awaits.
            await asyncio.sleep(0)
            async with asyncio.timeout(CLOSE_S):
                await worker.flush()
        except TimeoutError:
            LOGGER.warning("litellm did not finish its background work within %s s", CLOSE_S)
        finally:
            await worker.stop()
            self._litellm.in_memory_llm_clients_cache.flush_cache()
            await session.close()

    def _question(self, ask: Ask) -> dict[str, Any]:
        question: dict[str, Any] = {
            "model": ask.model,
            "messages": [{"role": message.role.value, "content": message.content} for message in ask.messages],
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature_ppm / PPM,
            "timeout": ask.deadline_ms / 1_000,
            "num_retries": 0,
            "max_retries": 0,
            "stream": False,
            "caching": False,
            "no-log": True,
            "shared_session": self._connected(),
        }
        if self._key is not None:
            question["api_key"] = self._key.reveal()
        if self._base_url:
            question |= {"base_url": self._base_url, "custom_llm_provider": "openai"}
            question.setdefault("api_key", NO_KEY)
        return question

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Clients that the library keeps from before hold sessions that are closed by now.
            self._litellm.in_memory_llm_clients_cache.flush_cache()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_bounded,),
            )
        return self._session

    def _failure(self, fault: BaseException, wire: _Wire) -> Failure:
        """By what came over the wire; the library's own classes mix faults of the provider with its own."""
        if wire.fault:
            return garbled(wire.fault)
        if not wire.status:
            name = type(fault).__name__
            return unreachable(f"no answer from the provider ({name})", is_perhaps_billed=wire.is_sent)
        if wire.status == OK:
            return garbled(f"the answer is no chat completion ({type(fault).__name__})")
        said = cleaned(str(getattr(fault, "message", "")), self._key) if wire.is_json else ""
        return failure_of_status(wire.status, retry_after=wire.retry_after, said=said)

    def _completion(self, answer: Any) -> Completion | Failure:
        try:
            said, usage = answer.choices[0].message, getattr(answer, "usage", None)
            content = said.content
            refusal = (getattr(said, "provider_specific_fields", None) or {}).get("refusal")
        except (AttributeError, LookupError, TypeError):
            return garbled("the answer is no chat completion")
        if not content and isinstance(refusal, str):
            content = msgspec.json.encode({"refusal": refusal[:500]}).decode()
        if not isinstance(content, str | None):
            return garbled("the answer holds no text")
        return Completion(
            text=without_key(content or "", self._key),
            input_tokens=_count(getattr(usage, "prompt_tokens", 0)),
            output_tokens=_count(getattr(usage, "completion_tokens", 0)),
        )


class _Wire:
    """What was seen of one attempt on the wire; `status` 0: no answer began."""

    def __init__(self) -> None:
        self.is_sent = True
        self.is_json = False
        self.status = 0
        self.retry_after: str | None = None
        self.fault = ""


# The library makes its request in the task that asks, so each attempt finds its own record here.
_WIRE: ContextVar[_Wire] = ContextVar("wire")


class _BoundedContent:
    """An answer's stream with a limit in the one method by which the library reads it; else the stream itself."""

    def __init__(self, content: aiohttp.StreamReader, wire: _Wire) -> None:
        self._content = content
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The stream in chunks; `NotTaken` beyond the limit, a broken connection as it comes."""
        try:
            async for chunk in capped(self._content.iter_chunked(size)):
                yield chunk
        except NotTaken as fault:
            self._wire.fault = str(fault)
            raise
        except aiohttp.ClientError as fault:
            # The library would take the part that arrived for the whole.
            self._wire.fault = f"the connection broke ({type(fault).__name__})"
            raise


async def _bounded(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Every answer is bounded and comes as it is: a small compressed one may unpack to any size."""
    wire = _WIRE.get()
    request.headers["Accept-Encoding"] = "identity"
    try:
        answer = await send(request)
    except aiohttp.ClientConnectorError:
        wire.is_sent = False
        raise
    wire.status = answer.status
    wire.is_json = answer.content_type == "application/json"
    wire.retry_after = answer.headers.get("Retry-After")
    if answer.status in REDIRECTS:
        answer.close()
        raise NotTaken(f"the provider sends us elsewhere ({answer.status})")
    if (answer.content_length or 0) > BODY_BYTES_MAX or "Content-Encoding" in answer.headers:
        answer.close()
        wire.fault = f"the answer is compressed or larger than {BODY_BYTES_MAX} bytes"
        raise NotTaken(wire.fault)
    answer.content = _BoundedContent(answer.content, wire)  # type: ignore[assignment]  # all of it that is used
    return answer


def _imported(environment: MutableMapping[str, str]) -> Any:
    # The library reads the process's environment; written into a copy, its defaults would reach for the network.
    assert not isinstance(environment, dict), "hand in the process's own environment, not a copy"
    environment.update(LIBRARY_ENVIRONMENT)
    try:
        import litellm  # noqa: PLC0415  optional, and two seconds of work
        from litellm.litellm_core_utils import logging_worker  # noqa: F401, PLC0415  reached through the package
    except ImportError:
        raise UsageFault("llm.completer litellm: the library is not installed; install agora[llm]") from None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.num_retries = 0
    return litellm


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and 0 <= tokens <= TOKENS_MAX else 0
