"""What an agents' market remembers between ticks besides its exchange, its crowd and its agents."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agora.exchange.requests import NewsItem

CLOSES_KEPT = 256  # what an agent may look back at; a policy's longest average is a quarter of it
NEWS_KEPT = 8  # what a prompt holds


class Phase(StrEnum):
    """Where a market stands."""

    READY = "ready"  # before its first event
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a question: a text with its source, or an outcome without one."""

    text: str = ""
    source: str = ""
    outcome: str = ""
    cost_units: int = 0


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent did in the last tick, for those who look on. `seat` is its place; `outcome` `rules`: no model."""

    seat: int
    outcome: str
    requests: int
    refused: int
    note: str = ""
    cost_units: int = 0


class SeatCounts(msgspec.Struct, kw_only=True):
    """What an agent has done so far."""

    requests: int = 0
    refused: int = 0
    outcomes: dict[str, int] = {}
    note: str = ""


class MarketState(msgspec.Struct, kw_only=True):
    """The market's own state; `closes_ticks` is per asset, in the order of listing."""

    phase: Phase = Phase.READY
    start_ns: int = 0
    now_ns: int = 0
    tick_ns: int = 1_000_000_000
    ticks_max: int = 0
    tick: int = 0
    steps_allowed: int = 0
    trades: int = 0
    decisions: int = 0
    digest: str = ""
    news: list[NewsItem] = []
    announced: int = 0  # news and shocks stamped with the coming tick: those that a schedule has brought already
    closes_ticks: list[list[int]] = []
    asked: dict[str, str] = {}
    said: dict[str, Said] = {}
    seats: list[SeatCounts] = []
    heard: int = 0  # answers and failures so far: uses of the cassette
    cost_units: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    end_reason: str = ""
    exit_code: int = 0
