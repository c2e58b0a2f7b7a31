"""What the engine and the session need from others: small protocols, implemented by traders, venues and clocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from agora.domain.events import Event, Reconcile
from agora.domain.instruments import Instrument
from agora.domain.intents import Proposal
from agora.domain.orders import Order


class View(Protocol):
    """What a trader may look at: read-only, always the state after the event it is asked about."""

    @property
    def now_ns(self) -> int:
        """The run's clock."""
        ...

    def instrument(self, symbol: str) -> Instrument:
        """Steps, fees and limits of an instrument."""
        ...

    def position_lots(self, symbol: str) -> int:
        """The asking trader's signed share of the run's position in that instrument."""
        ...

    def average_price_ticks(self, symbol: str) -> float:
        """Average entry price of that share (0.0 when flat)."""
        ...

    def open_orders(self, symbol: str) -> Sequence[Order]:
        """The asking trader's orders that may still trade, in the order they were planned."""
        ...

    def equity_units(self) -> int:
        """Cash plus unrealised profit at the last good prices."""
        ...

    def funding_rate_ppb(self, symbol: str) -> int | None:
        """The last settled funding rate, None before the first."""
        ...


class Trader(Protocol):
    """Proposes; never acts. All of its memory is in `snapshot`, so that it can be restored and hashed.

    A trader is asked about closed bars of its length and about fills. One that also has the attribute `hears`, a
    collection of types of market data (`MarketQuote`, `MarketDepth`, `MarketTrade`), is asked about each of those too.
    """

    name: str

    def decide(self, view: View, event: Event) -> Proposal | None:
        """Look at a closed bar (`MarketCandle`), a fill (`OrderFilled`) or what it hears; None: nothing to say."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered, as plain JSON values."""
        ...

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        ...


class Venue(Protocol):
    """Where orders go and events come from. `send`, `change` and `confirm` never block."""

    async def open(self) -> None:
        """Connect and begin to listen; called once, before the run's first record of this life."""
        ...

    async def receive(self, deadline_ns: int, *, floor_ns: int) -> Sequence[Event]:
        """What has happened, in order; empty when the run's clock reached the deadline first.

        Nothing is stamped before `floor_ns`, the time of the newest event the run has seen.
        """
        ...

    def send(self, order: Order, ts_ns: int) -> None:
        """Hand over an order that is already durable."""
        ...

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """Cancel an order (`amend` None), or move it to (price_ticks, trigger_ticks)."""
        ...

    def confirm(self, ts_ns: int) -> None:
        """Ask what the venue holds. Everything it did before is told first, then `Reconcile`, all through `receive`.

        Its `asked_ts_ns` is the newest `ts_ns` asked about before the venue was read.
        """
        ...

    async def account(self) -> Reconcile:
        """Positions, cash and open orders as the venue has them; awaited once after a restart, before trading."""
        ...

    async def missed(self) -> Sequence[Event]:
        """Answers that are not handed over yet, oldest first; repeats are allowed.

        After a restart also those since the run last knew: since its last record, or, if a restart was recorded
        without the `Reconcile` after it, since the record before that. Without them no account can be compared.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


class Clock(Protocol):
    """The one clock of a run."""

    def now_ns(self) -> int:
        """The run's time: never goes back."""
        ...

    def wall_ns(self) -> int:
        """Unix time of the machine, for the record only; no decision reads it."""
        ...

    def advance(self, ts_ns: int) -> None:
        """Tell a manual clock what time the data say it is; a system clock ignores it."""
        ...

    async def sleep_until(self, ts_ns: int) -> None:
        """Return when `now_ns()` has reached `ts_ns`."""
        ...


class Journal(Protocol):
    """The record of a run. `append` never blocks; `commit` returns once everything appended is on disk.

    `is_full`: so much waits for the disk that a `commit` is due before the next event is taken.
    """

    @property
    def is_full(self) -> bool:
        """Whether to commit first."""
        ...

    @property
    def last_wall_ns(self) -> int:
        """The machine's time in the last record: what a replay will read there."""
        ...

    def append(self, event: Event, facts: dict[str, Any] | None = None) -> int:
        """Record an event (with readable extra fields), return its sequence number."""
        ...

    async def commit(self) -> None:
        """Make everything appended so far durable; raises `JournalFault` when the disk fails."""
        ...

    async def close(self) -> None:
        """Commit and let go of the files."""
        ...


class Send(msgspec.Struct, frozen=True):
    """Effect: hand this order to the venue."""

    order: Order


class Change(msgspec.Struct, frozen=True):
    """Effect: cancel or amend an order at the venue. `ts_ns`: when that was decided, as the intent's record says."""

    client_id: str
    ts_ns: int
    amend: tuple[int, int] | None = None


class Confirm(msgspec.Struct, frozen=True):
    """Effect: ask the venue what it holds; the answer comes back as `Reconcile`. `ts_ns`: when that was decided."""

    ts_ns: int


class Halt(msgspec.Struct, frozen=True):
    """Effect: the run is over."""


# A recorded decision is an effect too: outputs are journalled before anything that follows them leaves.
Effect = Event | Send | Change | Confirm | Halt
