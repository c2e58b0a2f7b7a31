"""Events of an agents' market: its ticks, its news, the questions to its models and what came of them.

Prices are ticks, sizes lots, money units of 1e-8, times ns; `ts_ns` is the market's clock.
"""

from __future__ import annotations

import msgspec


class Tick(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="tick"):
    """The market's next moment has come; `number` counts from 1."""

    ts_ns: int
    number: int


class NewsArrived(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="news"):
    """A piece of news, untrusted text; `tone` in [-1, 1], `symbols` empty: all. `source` says who brought it."""

    ts_ns: int
    text: str
    tone: float
    symbols: tuple[str, ...] = ()
    source: str = ""


class Shock(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="shock"):
    """The fundamental value of an asset jumps by a fraction (parts per million); `cause` says why."""

    ts_ns: int
    symbol: str
    fraction_ppm: int
    cause: str


class LlmAsked(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="llm.asked"):
    """An agent's model is asked for its decision of that tick; the prompt follows from the state and is not kept."""

    ts_ns: int
    tick: int
    agent: str
    request_hash: str


class LlmAnswered(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="llm.answered"):
    """What a model said, as it came (capped). `source`: live, cache or replay."""

    ts_ns: int
    tick: int
    agent: str
    text: str
    source: str
    latency_ns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_units: int = 0


class LlmTimedOut(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="llm.timed_out"):
    """No answer within the decision's deadline; a later one is thrown away, what it costs is paid all the same."""

    ts_ns: int
    tick: int
    agent: str
    latency_ns: int = 0
    cost_units: int = 0


class LlmFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="llm.failed"):
    """No answer to be had; `outcome` is rate_limited, provider_error, budget or replay."""

    ts_ns: int
    tick: int
    agent: str
    outcome: str
    detail: str = ""
    latency_ns: int = 0
    cost_units: int = 0


class LlmFallback(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="llm.fallback"):
    """The agent's rule-based twin decided instead of its model, and why."""

    ts_ns: int
    tick: int
    agent: str
    outcome: str


class AgentDecided(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="agent.decided"):
    """What an agent with a model did in a tick: requests made, and how many the exchange refused."""

    ts_ns: int
    tick: int
    agent: str
    persona: str
    outcome: str
    requests: int
    refused: int
    note: str = ""


class MarketTicked(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="market.tick"):
    """The end of a tick: last prices and traded lots per asset, and a digest chained over every trade so far."""

    ts_ns: int
    tick: int
    prices_ticks: tuple[int, ...]
    volumes_lots: tuple[int, ...]
    trades: int
    digest: str
