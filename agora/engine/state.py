"""The whole state of a run: one value, one hash. Everything a decision may depend on is in here."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

import msgspec

from agora.domain.accounting import Ledger, Position
from agora.domain.instruments import Instrument
from agora.domain.orders import Order

# Closed orders kept for late messages and for display; the journal has them all.
CLOSED_ORDERS_KEPT = 200
# Fill ids remembered to recognise repeats: a venue repeats within minutes, 1,000 fills are hours.
FILL_IDS_KEPT = 1_000
# Times of orders inside the last minute, for the rate limit; its own maximum bounds the limit setting.
ORDER_TIMES_KEPT = 600
# Positions whose funding sums are remembered: those of a day of trading on several instruments.
FUNDED_POSITIONS_KEPT = 500
NEVER_NS = 2**62


class Phase(StrEnum):
    """Where a run is between its first record and its last."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    FLATTENING = "flattening"
    CONFIRMING = "confirming"
    ENDED = "ended"


class Bar(msgspec.Struct):
    """A bar being built. `told_ns`: up to where candles have told it; `NEVER_NS` when prices shape it.

    `is_history`: the newest of its candles was a warm-up bar. `is_partial`: it has a hole.
    """

    open_ts_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int = 0
    is_partial: bool = False
    told_ns: int = NEVER_NS
    is_history: bool = False


class Course(msgspec.Struct):
    """The bars of one length: the one being built, and the end of the newest that traders were asked about."""

    interval_s: int
    bar: Bar | None = None
    asked_ts_ns: int = 0


class Market(msgspec.Struct):
    """The last good market data of one instrument, in ticks and lots; 0 means not seen.

    `courses` has one entry for each length of bar, shortest first. `has_hole`: data went missing, so the bars that
    begin next will not be whole.
    """

    bid_ticks: int = 0
    bid_lots: int = 0
    ask_ticks: int = 0
    ask_lots: int = 0
    last_ticks: int = 0
    seen_ts_ns: int = 0
    events: int = 0
    funding_rate_ppb: int | None = None
    has_hole: bool = False
    courses: list[Course] = []

    @property
    def mark_ticks(self) -> int:
        """The price positions are valued at: the middle of the quote (rounded down), else the last price."""
        if self.bid_ticks and self.ask_ticks:
            return (self.bid_ticks + self.ask_ticks) // 2
        return self.last_ticks


class Holding(msgspec.Struct):
    """The run's position in one instrument, as the venue has it: the sum of the traders' shares."""

    position: Position


class Share(msgspec.Struct):
    """What one trader has of an instrument's position, and what it earned there; money in units.

    A trade lasts from flat to flat; `trade_net_units` is the result so far of the one under way.
    """

    position: Position
    realised_units: int = 0
    fees_units: int = 0
    funding_units: int = 0
    fills: int = 0
    trades: int = 0
    wins: int = 0
    trade_net_units: int = 0


class Counters(msgspec.Struct):
    """What happened, counted; the report's counts come from here and must equal the journal's."""

    market_events: int = 0
    history_events: int = 0
    funding_rates: int = 0
    decisions: int = 0
    intended: int = 0
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    refused: int = 0
    filled: int = 0
    cancelled: int = 0
    expired: int = 0
    unknown: int = 0
    amended: int = 0
    duplicate_fills: int = 0
    malformed: int = 0
    overflow_dropped: int = 0
    connections: int = 0
    reconnects: int = 0
    gaps: int = 0
    backfills: int = 0
    user_connections: int = 0
    reconciles: int = 0
    errors: int = 0
    trades: int = 0
    wins: int = 0
    losing_streak: int = 0


class TrippedBreaker(msgspec.Struct):
    """A breaker that said stop, with its figures."""

    ts_ns: int
    value: str
    limit: str


class State(msgspec.Struct, kw_only=True):
    """Everything a run knows. Mutated only by `engine.step`; read by everybody between steps."""

    run_id: str = ""
    started_ts_ns: int = 0
    now_ns: int = 0
    end_ts_ns: int = NEVER_NS
    phase: Phase = Phase.RUNNING
    end_reason: str = ""
    is_forced: bool = False
    phase_deadline_ns: int = NEVER_NS
    end_deadline_ns: int = NEVER_NS
    confirm_ts_ns: int = 0
    # What the venue said at the end was left, and where its books differ.
    last_word: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    flatten_attempts: dict[str, int] = {}
    is_flattening_only: bool = False
    next_order_number: int = 1
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    markets: dict[str, Market] = {}
    holdings: dict[str, Holding] = {}
    shares: dict[str, dict[str, Share]] = {}
    working: dict[str, Order] = {}
    closed: list[Order] = []
    fill_ids: list[str] = []
    order_times_ns: list[int] = []
    error_times_ns: list[int] = []
    breakers: dict[str, TrippedBreaker] = {}
    refusals: dict[str, int] = {}
    malformed: dict[str, int] = {}
    counters: Counters = msgspec.field(default_factory=Counters)
    needs_user_stream: bool = False
    is_reconciled: bool = True
    user_connected_ns: int = 0
    user_seen_ns: int = 0
    user_keepalive_s: int = 0
    reconcile_due_ns: int = NEVER_NS
    agreed_ns: int = 0
    desync_since_ns: int = 0
    desync_keys: tuple[str, ...] = ()
    unknown_times_ns: list[int] = []
    storm_since_ns: int = 0
    funding_seen: dict[str, int] = {}
    feed_period_s: int = 0
    feed_seen_ns: int = 0
    is_feed_over: bool = False
    is_feed_lost: bool = False
    day: int = -1
    day_equity_high_units: int = 0
    equity_start_units: int = 0
    deadline_ns: int = NEVER_NS
    ended: tuple[str, str, int, bool, tuple[str, ...]] | None = None

    def equity_units(self, instruments: dict[str, Instrument]) -> int:
        """Cash plus unrealised profit at the last good prices."""
        equity = self.ledger.cash
        for symbol, holding in self.holdings.items():
            if holding.position.size_lots:
                equity += holding.position.unrealised_units(instruments[symbol], self.markets[symbol].mark_ticks)
        return equity

    @property
    def feed_position(self) -> int:
        """Market events that the source has handed over, dropped ones included: where a resumed source goes on."""
        counters = self.counters
        return counters.market_events + counters.funding_rates + counters.overflow_dropped

    def orders(self) -> list[Order]:
        """The working orders as they were planned; a dictionary read from a checkpoint has another order."""
        return sorted(self.working.values(), key=lambda order: order.number)

    def order(self, client_id: str) -> Order | None:
        """An order by its client id: working, or among the closed ones that are still remembered."""
        found = self.working.get(client_id)
        if found is not None:
            return found
        return next((order for order in reversed(self.closed) if order.client_id == client_id), None)

    @property
    def is_flat(self) -> bool:
        """No open position and no order that may trade, as far as we know."""
        return not self.working and not any(h.position.size_lots for h in self.holdings.values())


_ENCODER = msgspec.json.Encoder(order="sorted")


class Snapshot(msgspec.Struct):
    """A state and the memories of the traders, as one value."""

    state: State
    traders: dict[str, dict[str, Any]]


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Canonical JSON of the whole state; equal states have equal bytes."""
    return _ENCODER.encode(snapshot)


def decode_snapshot(text: bytes) -> Snapshot:
    """The inverse of `encode_snapshot`; raises `msgspec.ValidationError` on anything else."""
    return msgspec.json.decode(text, type=Snapshot)


def state_hash(snapshot: Snapshot) -> str:
    """SHA-256 of the canonical state."""
    return hashlib.sha256(encode_snapshot(snapshot)).hexdigest()
