"""Every event of a run: what came in, what was decided, what was noted. One struct is one journal kind.

`ROLES` sorts the kinds: *input* events drive the step; *output* events are what the step decided, and a replay must
produce them again; *note* events are facts about the process that no decision reads. Prices are ticks, sizes lots,
money units of 1e-8, times ns; `ts_ns` is the run's clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import get_args

import msgspec

from agora.domain.intents import Intent
from agora.domain.market_events import (
    AgentDecided,
    LlmAnswered,
    LlmAsked,
    LlmFailed,
    LlmFallback,
    LlmTimedOut,
    MarketTicked,
    NewsArrived,
    Shock,
    Tick,
)


class Role(StrEnum):
    """What an event is to the step."""

    INPUT = "input"
    OUTPUT = "output"
    NOTE = "note"


# Market data: recorded in market.jsonl.


class MarketCandle(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="market.candle"):
    """A closed bar. `is_history` marks warm-up bars, from before the run or from a hole in it, never traded on.

    `ts_ns` is its end; of a bar that came later than that, the time it came, and `end_ts_ns` is its end.
    """

    ts_ns: int
    instrument: str
    interval_s: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    is_history: bool = False
    end_ts_ns: int = 0


class MarketQuote(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="market.quote"):
    """Best bid and ask with their displayed sizes."""

    ts_ns: int
    instrument: str
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


class MarketTrade(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="market.trade"):
    """A print; `aggressor` is +1 for a buyer, -1 for a seller, 0 when unknown."""

    ts_ns: int
    instrument: str
    price_ticks: int
    size_lots: int
    aggressor: int


class MarketDepth(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="market.depth"):
    """Changed price levels as (side, price_ticks, size_lots); size 0 removes. A snapshot replaces the book."""

    ts_ns: int
    instrument: str
    levels: tuple[tuple[int, int, int], ...]
    is_snapshot: bool = False


class MarketFundingRate(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="market.funding_rate"
):
    """The rate settled at `ts_ns`, parts per billion of notional; positive is paid by longs."""

    ts_ns: int
    instrument: str
    rate_ppb: int


# The feed itself.


class FeedConnected(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.connected"):
    """A source of market data is connected and fresh. `period_s`: its longest natural silence (a candle's length)."""

    ts_ns: int
    source: str
    period_s: int = 0


class FeedLost(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.lost"):
    """The source is gone."""

    ts_ns: int
    reason: str


class FeedEnded(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.ended"):
    """A recording has been played to its end."""

    ts_ns: int


class FeedStale(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.stale"):
    """No usable data for longer than the limit."""

    ts_ns: int
    age_ms: int
    limit_ms: int


class FeedGap(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.gap"):
    """Data are missing: the depth chain broke or bars are absent. Depth is unusable until the next snapshot.

    `is_hole`: prices were not seen for a while, so the bars being built are not whole.
    """

    ts_ns: int
    instrument: str
    reason: str
    is_hole: bool = False


class FeedOverflow(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.overflow"):
    """The bounded queue was full; the oldest market data were dropped."""

    ts_ns: int
    dropped: int


class FeedMalformed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.malformed"):
    """Market data dropped for one reason since the last such event; `sample` is the first, shortened."""

    ts_ns: int
    reason: str
    count: int
    sample: str


class FeedBackfilled(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="feed.backfilled"):
    """The hole that a lost connection left was filled in order: so many closed bars, the last of them ending then."""

    ts_ns: int
    instrument: str
    interval_s: int
    bars: int
    until_ts_ns: int


class UserConnected(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="user.connected"):
    """The private stream is connected and logged in. What happened before it must be asked for.

    `keepalive_s`: the longest natural silence of the stream, the interval of its keep-alive.
    """

    ts_ns: int
    source: str
    keepalive_s: int


class UserAlive(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="user.alive"):
    """The private stream has spoken: a keep-alive was answered (said at most once a second)."""

    ts_ns: int


class UserLost(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="user.lost"):
    """The private stream is gone, or refused our login."""

    ts_ns: int
    reason: str


class Timer(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="timer"):
    """A deadline of the state has come."""

    ts_ns: int


# The life of the run.


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run.started"):
    """First record of a run: all that the decisions depend on besides the events themselves."""

    ts_ns: int
    run_id: str
    version: str
    config_hash: str
    seed: int
    venue: str
    mode: str
    duration_ns: int
    interval_s: int
    instruments: tuple[dict[str, str | int], ...]
    equity_units: int
    git_commit: str = ""
    python: str = ""


class RunResumed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run.resumed"):
    """The run continues after a stop of the process; `down_ns` does not count against the duration."""

    ts_ns: int
    down_ns: int
    torn_bytes: int = 0


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run.ended"):
    """Last decision of a run. `residual` names what is left open when `flat` is false."""

    ts_ns: int
    status: str
    reason: str
    exit_code: int
    flat: bool
    residual: tuple[str, ...] = ()


class OperatorCommand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="operator.command"):
    """A person or a signal asked: stop, kill, flatten, reset, interrupt, terminate, force."""

    ts_ns: int
    command: str
    reason: str


# Decisions.


class Decision(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="decision"):
    """What a trader concluded, also when it wants nothing. It follows the event it looked at in the journal."""

    ts_ns: int
    trader: str
    instrument: str
    action: str
    reason: str
    intents: tuple[Intent, ...] = ()
    features: dict[str, float] = {}


class Arbitrated(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="arbitration"):
    """Traders wanted opposite things at one moment: their entries are netted, the larger side keeps the difference."""

    ts_ns: int
    instrument: str
    buy_lots: int
    sell_lots: int
    traders: tuple[str, ...]


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.intent"):
    """An order we are about to send, durable before its first byte leaves."""

    ts_ns: int
    client_id: str
    number: int
    trader: str
    instrument: str
    side: str
    type: str
    time_in_force: str
    purpose: str
    size_lots: int
    price_ticks: int = 0
    trigger_ticks: int = 0
    expire_ts_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
    parent: str = ""


class OrderCancelIntent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.cancel_intent"):
    """A cancel we are about to send, durable first."""

    ts_ns: int
    client_id: str
    reason: str


class OrderAmendIntent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.amend_intent"):
    """An amendment we are about to send, durable first (0: unchanged)."""

    ts_ns: int
    client_id: str
    price_ticks: int = 0
    trigger_ticks: int = 0


class OrderRefused(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.refused"):
    """A limit said no: which rule, what it found and what it allows."""

    ts_ns: int
    trader: str
    instrument: str
    purpose: str
    side: str
    size_lots: int
    price_ticks: int
    rule: str
    reason: str


# Orders, as the venue tells it.


class OrderSent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.sent"):
    """The order is being handed to the venue."""

    ts_ns: int
    client_id: str


class OrderAccepted(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.accepted"):
    """The venue has the order. `latency_ns` is from sending to effect, where it is known."""

    ts_ns: int
    client_id: str
    venue_id: str
    latency_ns: int = 0


class OrderRejected(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.rejected"):
    """The venue refused the order; nothing of it is live."""

    ts_ns: int
    client_id: str
    reason: str


class OrderUnknown(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.unknown"):
    """Whether the venue has the order is in doubt: it counts at worst case until evidence ends it."""

    ts_ns: int
    client_id: str
    reason: str


class OrderFilled(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.filled"):
    """One execution, identified by `venue_fill_id`. `fee_units` is paid (negative: a rebate).

    `reference_ticks` is the middle of the market at the fill (0: unknown), from which slippage is measured.
    """

    ts_ns: int
    client_id: str
    venue_id: str
    venue_fill_id: str
    instrument: str
    side: str
    purpose: str
    fill_price_ticks: int
    fill_size_lots: int
    fee_units: int
    liquidity: str
    reference_ticks: int = 0


class OrderCancelled(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.cancelled"):
    """The order no longer works; what was not filled is gone."""

    ts_ns: int
    client_id: str
    reason: str


class OrderExpired(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.expired"):
    """The order reached its end time."""

    ts_ns: int
    client_id: str


class OrderAmended(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.amended"):
    """The venue has moved the order."""

    ts_ns: int
    client_id: str
    price_ticks: int
    trigger_ticks: int


class OrderAmendRejected(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="order.amend_rejected"):
    """The order stays as it was."""

    ts_ns: int
    client_id: str
    reason: str


class Funding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="funding"):
    """Funding settled by the venue; `amount_units` is positive when received.

    A venue that tells only the sum per position gives its id and that sum; both stay in the state, so that a
    restarted run knows what it has booked.
    """

    ts_ns: int
    instrument: str
    venue_funding_id: str
    rate_ppb: int
    size_lots: int
    mark_ticks: int
    amount_units: int
    position_id: str = ""
    position_funding_units: int = 0


class Reconcile(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="reconcile"):
    """What the venue says we have: signed positions in lots, cash, live client ids. The evidence of `flat`.

    Orders in doubt are among the live ones until evidence ends the doubt; a live order that is not ours has an id of
    its own (`foreign-…`). `asked_ts_ns`: the newest question that this answers (0: it answers them all).
    """

    ts_ns: int
    positions: dict[str, int]
    open_client_ids: tuple[str, ...]
    cash_units: int
    asked_ts_ns: int = 0


# Consequences.


class PositionChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="position"):
    """A position after a fill."""

    ts_ns: int
    instrument: str
    size_lots: int
    cost_units: int
    realised_units: int
    trader: str


class BreakerTripped(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="breaker.tripped"):
    """A run-wide limit was reached; entries are closed until an operator resets it."""

    ts_ns: int
    breaker: str
    value: str
    limit: str


class BreakerReset(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="breaker.reset"):
    """An operator re-armed the breakers."""

    ts_ns: int
    breaker: str
    reason: str


class Warned(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="warning"):
    """Something an operator should know, said once per kind and interval."""

    ts_ns: int
    what: str
    detail: str


class ErrorSeen(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="error"):
    """A fault of ours or the venue's that an operation met; too many trip the error breaker."""

    ts_ns: int
    where: str
    detail: str


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="heartbeat"):
    """Health of the process, at most once a second of real time."""

    ts_ns: int
    cpu_fraction: float
    rss_mb: float
    disk_free_mb: float
    loop_lag_ms: float
    queue_depth: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="checkpoint"):
    """The hash of the whole state after every record before this one."""

    ts_ns: int
    state_hash: str


_INPUTS = (
    MarketCandle, MarketQuote, MarketTrade, MarketDepth, MarketFundingRate,
    FeedConnected, FeedLost, FeedEnded, FeedGap, FeedBackfilled, FeedOverflow, FeedMalformed, Timer,
    UserConnected, UserAlive, UserLost,
    RunStarted, RunResumed, OperatorCommand,
    OrderSent, OrderAccepted, OrderRejected, OrderUnknown, OrderFilled, OrderCancelled, OrderExpired,
    OrderAmended, OrderAmendRejected, Funding, Reconcile, ErrorSeen,
    Tick, NewsArrived, Shock, LlmAnswered, LlmTimedOut, LlmFailed,
)  # fmt: skip
_OUTPUTS = (
    Decision, Arbitrated, OrderIntent, OrderCancelIntent, OrderAmendIntent, OrderRefused, PositionChanged,
    BreakerTripped, BreakerReset, FeedStale, Warned, RunEnded,
    LlmAsked, LlmFallback, AgentDecided, MarketTicked,
)  # fmt: skip
_NOTES = (Heartbeat, Checkpoint)

MarketEvent = MarketCandle | MarketQuote | MarketTrade | MarketDepth | MarketFundingRate
Event = (
    MarketCandle | MarketQuote | MarketTrade | MarketDepth | MarketFundingRate
    | FeedConnected | FeedLost | FeedEnded | FeedGap | FeedBackfilled | FeedOverflow | FeedMalformed | FeedStale
    | UserConnected | UserAlive | UserLost | Timer
    | RunStarted | RunResumed | RunEnded | OperatorCommand
    | Decision | Arbitrated | OrderIntent | OrderCancelIntent | OrderAmendIntent | OrderRefused
    | OrderSent | OrderAccepted | OrderRejected | OrderUnknown | OrderFilled | OrderCancelled | OrderExpired
    | OrderAmended | OrderAmendRejected | Funding | Reconcile
    | PositionChanged | BreakerTripped | BreakerReset | Warned | ErrorSeen | Heartbeat | Checkpoint
    | Tick | NewsArrived | Shock | LlmAsked | LlmAnswered | LlmTimedOut | LlmFailed | LlmFallback
    | AgentDecided | MarketTicked
)  # fmt: skip


def kind_of(event: Event | type[Event]) -> str:
    """The journal kind of an event or event class."""
    return str(event.__struct_config__.tag)


EVENT_TYPES: dict[str, type[Event]] = {kind_of(cls): cls for cls in get_args(Event)}
ROLES: dict[type[Event], Role] = {
    **dict.fromkeys(_INPUTS, Role.INPUT),
    **dict.fromkeys(_OUTPUTS, Role.OUTPUT),
    **dict.fromkeys(_NOTES, Role.NOTE),
}
# What stands in market.jsonl.
MARKET_TYPES: frozenset[type[Event]] = frozenset({*get_args(MarketEvent), MarketTicked})

# Durable kinds are on disk before their effect leaves; the rest at least once a second.
DURABLE_TYPES: frozenset[type[Event]] = frozenset({
    RunStarted, RunResumed, RunEnded, OperatorCommand, OrderIntent, OrderCancelIntent, OrderAmendIntent,
    OrderAccepted, OrderRejected, OrderUnknown, OrderFilled, OrderCancelled, OrderExpired, OrderAmended,
    OrderAmendRejected, Funding, Reconcile, BreakerTripped, BreakerReset, NewsArrived, Shock,
})  # fmt: skip

assert set(ROLES) == set(EVENT_TYPES.values()), "every event kind has exactly one role"
