"""Runs a desk: takes events, records them, steps, and carries out the effects in order. Decides nothing.

Record, then act: every event is in the journal before the step sees it, every order is on disk before it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from agora.domain.errors import JournalFault
from agora.domain.events import (
    Event,
    Heartbeat,
    OperatorCommand,
    OrderAccepted,
    OrderAmended,
    OrderAmendIntent,
    OrderAmendRejected,
    OrderCancelIntent,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSent,
    OrderUnknown,
    Reconcile,
    Timer,
)
from agora.domain.numbers import NS_PER_MS, money_text
from agora.domain.orders import Order, Purpose, Side
from agora.engine.desk import Desk
from agora.engine.ports import Change, Clock, Confirm, Effect, Halt, Journal, Send, Venue
from agora.engine.state import Phase
from agora.engine.step import step

# A paced run looks for kill files, commands and signals this often; the promise is one second.
POLL_NS = 200 * NS_PER_MS
# A run at full speed gives the loop a turn after this many events: about 10 ms of work.
EVENTS_PER_TURN = 256

# A venue that has new answers at each of so many looks is trading for us: then its account is taken as it is.
ACCOUNT_LOOKS_MAX = 20

_ORDER_EVENTS = (
    OrderIntent,
    OrderSent,
    OrderAccepted,
    OrderRejected,
    OrderUnknown,
    OrderFilled,
    OrderCancelled,
    OrderExpired,
    OrderAmendIntent,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelIntent,
)


Leaving = Send | Change | Confirm


class Observer(Protocol):
    """Looks on; changes nothing. Called after every step with what went in and what came out."""

    def after_step(
        self, desk: Desk, event: Event, *, wall_ns: int, done_wall_ns: int | None, effects: list[Effect]
    ) -> None:
        """`event` was recorded at `wall_ns` and led to `effects`, the first of them recorded at `done_wall_ns`."""
        ...


class Controls(Protocol):
    """What operators, signals and the process itself have to say."""

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """The next command, if there is one. Cheap."""
        ...

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """A heartbeat, when one is due."""
        ...


class Keeper(Protocol):
    """Keeps checkpoints."""

    async def keep_if_due(self, runner: Runner) -> None:
        """Write a checkpoint when it is time for one."""
        ...


def order_facts(desk: Desk, event: Event) -> dict[str, Any] | None:
    """The readable members that every order record carries besides its own (decimal text, sides in words)."""
    client_id = getattr(event, "client_id", None)
    order = desk.state.order(client_id) if client_id is not None else None
    if order is None:
        return None
    instrument = desk.rules.instruments[order.instrument]
    facts: dict[str, Any] = {
        "venue_id": order.venue_id,
        "instrument": order.instrument,
        "outcome": None,
        "side": Side(order.side).word,
        "type": order.type.value,
        "time_in_force": order.time_in_force.value,
        "price": instrument.price_text(order.price_ticks or order.trigger_ticks),
        "size": instrument.size_text(order.size_lots),
        "reduce_only": order.reduce_only,
        "post_only": order.post_only,
        "purpose": order.purpose.value,
        "trader": order.trader,
    }
    if isinstance(event, OrderFilled):
        facts["price"] = instrument.price_text(event.fill_price_ticks)
        facts["size"] = instrument.size_text(event.fill_size_lots)
        facts["fee"] = money_text(event.fee_units)
    own = event.__struct_fields__
    return {name: fact for name, fact in facts.items() if name not in own}


class Runner:
    """One run from its first event to its last."""

    def __init__(self, desk: Desk, venue: Venue, *, journal: Journal, clock: Clock) -> None:
        self.desk = desk
        self.venue = venue
        self.journal = journal
        self.clock = clock
        self.observers: list[Observer] = []
        # While a crashed run is taken up only cancels and amendments leave: an order planned then was decided
        # before the venue has told what we hold, so it stays planned, and the reconciliation ends it.
        self.is_taking_up = False
        self._leaving: list[Leaving] = []
        self._is_performing = False

    async def run(self, controls: Controls, keeper: Keeper, *, poll_ns: int = POLL_NS) -> None:
        """Until the state has ended. A journal that fails closes the run, flat if the venue lets it."""
        turns = 0
        state = self.desk.state
        while state.phase is not Phase.ENDED:
            command = controls.poll(self._now_ns())
            if command is not None:
                await self.take(command)
                continue
            await self._turn(poll_ns)
            pulse = controls.pulse(self._now_ns(), queue_depth=getattr(self.venue, "queue_depth", 0))
            if pulse is not None:
                self._note(pulse)
            await keeper.keep_if_due(self)
            turns += 1
            if self.journal.is_full:
                await self.make_durable()
            if turns % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _turn(self, poll_ns: int) -> None:
        """Take what happens next: events of the venue, or the state's own deadline."""
        deadline_ns = min(self.desk.state.deadline_ns, self.clock.now_ns() + poll_ns)
        events = await self.venue.receive(deadline_ns, floor_ns=self.desk.state.now_ns)
        await self.take(*events)
        now_ns = self.clock.now_ns()
        if not events and now_ns >= self.desk.state.deadline_ns:
            await self.take(Timer(ts_ns=max(now_ns, self.desk.state.now_ns)))

    async def take(self, *events: Event) -> None:
        """Record and step each of the events that came together, then carry out what follows from all of them.

        Nothing leaves and no time passes between them: what the venue said at one moment stays one moment.
        """
        for event in events:
            self._leaving += self._apply(event)
        if self._leaving and not self._is_performing:
            await self._perform()

    def _apply(self, event: Event) -> Sequence[Leaving]:
        """Record an event and step; returns what has to leave."""
        journal = self.journal
        self.record(event)
        wall_ns = journal.last_wall_ns
        effects = step(self.desk, event)
        leaving = self._record_outputs(effects) if effects else ()
        done_wall_ns = journal.last_wall_ns if effects else None
        for observer in self.observers:
            observer.after_step(self.desk, event, wall_ns=wall_ns, done_wall_ns=done_wall_ns, effects=effects)
        return leaving

    def _record_outputs(self, effects: list[Effect]) -> list[Leaving]:
        """Journal what was decided; return what has to leave."""
        leaving: list[Leaving] = []
        for effect in effects:
            if isinstance(effect, Send | Change | Confirm):
                leaving.append(effect)
            elif not isinstance(effect, Halt):
                self.record(effect)
        return leaving

    def record(self, event: Event) -> None:
        """Put an event into the journal, order events with their readable facts."""
        self.journal.append(event, order_facts(self.desk, event) if isinstance(event, _ORDER_EVENTS) else None)

    async def _perform(self) -> None:
        """Let effects leave, first decided first, once everything before them is durable.

        What follows from sending waits for its turn: a cancel never overtakes the order it is about.
        """
        self._is_performing = True
        try:
            while self._leaving:
                turn, self._leaving = self._leaving, []
                await self._let_all_leave(turn)
        finally:
            self._is_performing = False
            self._leaving = []

    async def _let_all_leave(self, turn: list[Leaving]) -> None:
        is_durable = await self.make_durable()
        for effect in turn:
            if isinstance(effect, Change) or not self.is_taking_up:
                await self._let_leave(effect, is_durable=is_durable)
        # What was handed over goes out before the next event is looked at.
        await asyncio.sleep(0)

    async def make_durable(self) -> bool:
        """Make everything durable; False when the disk is dead, which ends the run."""
        try:
            await self.journal.commit()
        except JournalFault as fault:
            if self.desk.state.phase is Phase.RUNNING:
                await self.take(OperatorCommand(ts_ns=self._now_ns(), command="disk", reason=str(fault)))
            return False
        return True

    async def _let_leave(self, effect: Leaving, *, is_durable: bool) -> None:
        """Carry out one effect. On a dead disk only what makes us smaller leaves: that is worth more than a record."""
        if isinstance(effect, Confirm):
            self.venue.confirm(effect.ts_ns)
        elif isinstance(effect, Change):
            self.venue.change(effect.client_id, effect.ts_ns, effect.amend)
        elif is_durable or effect.order.purpose is Purpose.FLATTEN:
            await self.send(effect.order)
        else:
            reason = "not sent: its record is not on disk"
            rejected = OrderRejected(ts_ns=self._now_ns(), client_id=effect.order.client_id, reason=reason)
            await self.take(rejected)

    async def send(self, order: Order) -> None:
        """Hand a durable order to the venue, and say so in the record first."""
        now_ns = self._now_ns()
        await self.take(OrderSent(ts_ns=now_ns, client_id=order.client_id))
        self.venue.send(order, now_ns)

    async def take_last(self, event: Event) -> None:
        """Take one event into a run that is not going on, and close its journal."""
        await self.take(event)
        await self.journal.close()

    async def account(self) -> Reconcile:
        """What the venue says we hold, as an event of now, after everything it had answered before was taken."""
        answer = await self.venue.account()
        for _ in range(ACCOUNT_LOOKS_MAX):
            missed = await self.venue.missed()
            if not missed:
                break
            now_ns = self._now_ns()
            await self.take(*(msgspec.structs.replace(event, ts_ns=now_ns) for event in missed))
            answer = await self.venue.account()
        return msgspec.structs.replace(answer, ts_ns=self._now_ns())

    def _now_ns(self) -> int:
        return max(self.clock.now_ns(), self.desk.state.now_ns)

    def _note(self, pulse: Heartbeat) -> None:
        self.journal.append(pulse)
        for observer in self.observers:
            wall_ns = self.journal.last_wall_ns
            observer.after_step(self.desk, pulse, wall_ns=wall_ns, done_wall_ns=None, effects=[])
