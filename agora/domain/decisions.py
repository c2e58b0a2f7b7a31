"""The words of a decision that a language model is asked for: what is asked, what came back, how it counts.

Knows neither how a model is reached nor what a market is; answers are text until a trader reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta


class AnswerOutcome(StrEnum):
    """How one decision counts; each has exactly one. All but the first two and `cache`, `replay` end in the twin."""

    OK = "ok"  # the model's answer was done as it stands
    REPAIRED = "repaired"  # done after cutting text around it, or bringing a number into its bounds
    SCHEMA_ERROR = "schema_error"  # an answer that is not the schema
    REFUSED = "refused"  # the model will not say
    TIMEOUT = "timeout"  # nothing within the deadline
    RATE_LIMITED = "rate_limited"  # the provider or our own bucket had no room within the deadline
    PROVIDER_ERROR = "provider_error"  # the provider answered with a fault
    BUDGET = "budget"  # the worst case would exceed the cost that is left
    CACHE = "cache"  # usable, taken from the cassette where a miss would have been asked
    REPLAY = "replay"  # usable, taken from the cassette; without a text: a strict replay missed it
    FALLBACK = "fallback"  # the answer was readable but none of it could be done, or nobody was asked


class ReplySource(StrEnum):
    """Where a reply's text came from."""

    LIVE = "live"
    CACHE = "cache"
    REPLAY = "replay"


class Role(StrEnum):
    """Who speaks in a prompt, in the words of the chat completion protocol."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Message(msgspec.Struct, frozen=True):
    """One part of a prompt."""

    role: Role
    content: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model. `answer_schema` names the form of the answer and its version."""

    agent: str
    messages: tuple[Message, ...]
    model: str
    # The largest answer that the schema allows is about 700 tokens; beyond 65,536 no model of today answers at once.
    max_tokens: Annotated[int, Meta(ge=1, le=65_536)] = 1_024
    temperature_ppm: Annotated[int, Meta(ge=0, le=2_000_000)] = 0  # 2.0 is the protocol's largest
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] = 2_000  # ten minutes is longer than any tick
    prompt_version: str = ""
    answer_schema: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. `outcome` None: `text` is the model's answer from `source`, still to be read by its trader.

    Any other outcome (timeout, rate_limited, provider_error, budget, replay) says why there is no text; `detail`
    explains it in a sentence without secrets. `cost_units` is money in units of 1e-8.
    """

    text: str = ""
    outcome: AnswerOutcome | None = None
    source: ReplySource = ReplySource.LIVE
    detail: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_units: int = 0
    latency_ns: int = 0


_BY_MODEL = frozenset({AnswerOutcome.OK, AnswerOutcome.REPAIRED})
# The outcomes of a decision that a model has made, now or when the cassette was recorded.
USABLE = _BY_MODEL | {AnswerOutcome.CACHE, AnswerOutcome.REPLAY}
_BY_SOURCE = {ReplySource.CACHE: AnswerOutcome.CACHE, ReplySource.REPLAY: AnswerOutcome.REPLAY}


def counted_outcome(read: AnswerOutcome, source: ReplySource) -> AnswerOutcome:
    """What a decision counts as: a usable answer by the cassette it came from, if any; else what reading it gave."""
    return _BY_SOURCE.get(source, read) if read in _BY_MODEL else read


def request_hash(ask: Ask) -> str:
    """SHA-256 (hex) of all that determines the answer: schema, prompt version, model, parameters and messages.

    Neither the agent nor the deadline is in it: the same question has the same answer, whoever asks.
    """
    return request_hash_of(
        ask.messages,
        model=ask.model,
        params={"max_tokens": ask.max_tokens, "temperature_ppm": ask.temperature_ppm},
        prompt_version=ask.prompt_version,
        schema=ask.answer_schema,
    )


def request_hash_of(
    messages: Sequence[Message], *, model: str, params: dict[str, int | str], prompt_version: str, schema: str
) -> str:
    """The hash behind `request_hash`, of parts; canonical JSON, so the order of `params` does not matter."""
    parts = (schema, prompt_version, model, params, tuple(messages))
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
