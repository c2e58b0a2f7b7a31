"""Brings a stopped run back: replays its journal on the desk and on the paper machine, and finds what was lost.

What a crash can take is only what was not yet durable: decisions whose effects never left (made again here), and
answers of the paper machine that nobody had recorded (given again here).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from agora.domain.errors import DamagedJournal
from agora.domain.events import (
    Event,
    FeedGap,
    Funding,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
    OrderAccepted,
    OrderAmended,
    OrderAmendIntent,
    OrderAmendRejected,
    OrderCancelIntent,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderSent,
    kind_of,
)
from agora.domain.orders import Order, OrderStatus
from agora.engine.desk import Desk
from agora.engine.ports import Effect
from agora.journal.records import Record
from agora.journal.replay import Replayed, Replayer, subject_of


class Machine(Protocol):
    """The deterministic part of a paper venue."""

    def send(self, order: Order, ts_ns: int) -> None:
        """An order leaves."""
        ...

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """A cancel or amendment leaves."""
        ...

    def on_market(self, event: Any) -> list[Event]:
        """The market moves."""
        ...

    def on_gap(self, event: FeedGap) -> None:
        """Depth is lost."""
        ...

    def advance(self, now_ns: int) -> list[Event]:
        """Time passes."""
        ...


_MARKET = (MarketQuote, MarketTrade, MarketDepth, MarketCandle, MarketFundingRate)
_ANSWERS = (
    OrderAccepted,
    OrderRejected,
    OrderFilled,
    OrderCancelled,
    OrderExpired,
    OrderAmended,
    OrderAmendRejected,
    Funding,
)


def answer_key(event: Event) -> tuple[str, str]:
    """What makes two answers of a venue the same answer: the kind and the venue's own identity."""
    identity = getattr(event, "venue_fill_id", None) or getattr(event, "venue_funding_id", None)
    return kind_of(event), identity or event.client_id  # type: ignore[union-attr]


class MachineReplay:
    """Gives a machine again what it was given, and keeps the answers that the journal does not hold."""

    def __init__(self, desk: Desk, machine: Machine) -> None:
        self._desk = desk
        self._machine = machine
        self._recorded: Counter[tuple[str, str]] = Counter()
        self._given: list[Event] = []
        self._early: dict[str, list[OrderCancelIntent | OrderAmendIntent]] = {}

    def see(self, event: Event) -> None:
        """One record of the run, after the desk has applied it."""
        if isinstance(event, _MARKET):
            self._given += self._machine.on_market(event)
        elif isinstance(event, OrderSent):
            self._send(event)
        elif isinstance(event, OrderCancelIntent | OrderAmendIntent):
            self._change(event)
        elif isinstance(event, FeedGap):
            self._machine.on_gap(event)
        elif isinstance(event, _ANSWERS):
            self._recorded[answer_key(event)] += 1

    def _send(self, event: OrderSent) -> None:
        order = self._desk.state.order(event.client_id)
        assert order is not None, f"{event.client_id} was sent but never planned"
        self._machine.send(order, event.ts_ns)
        for change in self._early.pop(event.client_id, ()):
            self._change(change)

    def _change(self, event: OrderCancelIntent | OrderAmendIntent) -> None:
        """A change leaves after its order, also where both were recorded before either left."""
        order = self._desk.state.order(event.client_id)
        if order is not None and order.status is OrderStatus.PLANNED:
            self._early.setdefault(event.client_id, []).append(event)
            return
        amend = (event.price_ticks, event.trigger_ticks) if isinstance(event, OrderAmendIntent) else None
        self._machine.change(event.client_id, event.ts_ns, amend)

    def reach(self, now_ns: int) -> None:
        """Time has passed until the journal's end."""
        self._given += self._machine.advance(now_ns)

    def has_unexplained(self) -> bool:
        """Whether the journal holds answers that the machine has not given: their cause was lost."""
        return bool(self._recorded - Counter(answer_key(event) for event in self._given))

    def lost_answers(self, now_ns: int) -> list[Event]:
        """Answers given but not recorded, in their order, stamped with now."""
        recorded = Counter(self._recorded)
        lost = []
        for event in self._given:
            key = answer_key(event)
            if recorded[key]:
                recorded[key] -= 1
            else:
                lost.append(msgspec.structs.replace(event, ts_ns=max(now_ns, event.ts_ns)))
        return lost


class Restored(msgspec.Struct):
    """A run brought back: what the replay found, and the answers that were lost.

    `cause` is the market event behind answers that were recorded before it and made it to the disk alone.
    """

    replayed: Replayed
    lost: Sequence[Event]
    cause: Event | None = None


# The source's next market event after so many, None where the venue remembers for itself what it answered to.
Upcoming = Callable[[int], Event | None]


def restore(
    desk: Desk,
    machine: Machine,
    records: Iterable[Record],
    *,
    upcoming: Upcoming,
    observers: Sequence[Any] = (),
) -> Restored:
    """Replay the journal on desk and machine; raises `DamagedJournal` when the run cannot be continued from it."""
    again = MachineReplay(desk, machine)

    def watch(record: Record, effects: list[Effect], done_wall_ns: int | None) -> None:
        for observer in observers:
            observer.after_step(desk, record.event, wall_ns=record.wall_ns, done_wall_ns=done_wall_ns, effects=effects)

    replayer = Replayer(subject_of(desk), watch=watch)
    for record in records:
        if not replayer.feed(record):
            raise DamagedJournal(
                f"the journal does not lead to the run's own decisions (record {record.seq}); "
                "`agora replay` shows where"
            )
        again.see(record.event)
    found = replayer.finish()
    for event in found.pending:
        again.see(event)
    now_ns = desk.state.now_ns
    again.reach(now_ns)
    cause = upcoming(desk.state.feed_position) if again.has_unexplained() else None
    if cause is not None:
        # Answers are recorded before the market event that led to them, all at one moment: the last one.
        cause = msgspec.structs.replace(cause, ts_ns=now_ns)
        again.see(cause)
    return Restored(found, again.lost_answers(now_ns), cause)
