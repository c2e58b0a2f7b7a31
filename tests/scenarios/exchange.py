"""An exchange that outlives the run, as a real one does: its market, its orders and its books go on during outages.

It is a paper machine with a market of its own. A restarted run connects anew and is told again, in part twice,
what happened to its orders; market data that it missed are gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agora import assembly
from agora.domain.errors import Bug
from agora.domain.events import Event, FeedConnected, Funding, OrderFilled, Reconcile
from agora.domain.orders import Order
from agora.engine.ports import Clock
from agora.venues.inbox import Inbox
from agora.venues.local import TICK_NS, LocalMarket, live_events
from agora.venues.paper import PaperMachine

NS_PER_S = 1_000_000_000
# So much before the last record of the run is told again: no record is later than its answer by more than this.
RETOLD_NS = 15 * NS_PER_S
# Of the answers a connected run is told, so many per cent come a second time.
REPEATED_PERCENT = 10


class Exchange:
    """One account on one market, from the start of the story to its end."""

    def __init__(self, parts: assembly.Parts, *, start_ns: int, seed: int) -> None:
        run = parts.config["run"]
        instrument = next(iter(parts.instruments.values()))
        self.machine: PaperMachine = assembly.build_machine(parts.config, parts.instruments)
        market = LocalMarket(settings=parts.config["local"], instrument=instrument, seed=run.seed, interval_s=1)
        self._stream = live_events(market, after=0)
        self._start_ns = start_ns
        self._head = self._next_of_stream()
        self._told: list[Event] = []
        self._draw = random.Random(seed)
        self._listener: ExchangeVenue | None = None

    def connect(self, listener: ExchangeVenue, now_ns: int, *, known_ns: int) -> list[Event]:
        """The newest listener gets the events from now on; returns all answers since shortly before `known_ns`."""
        self.disconnect()
        self.pump(now_ns)
        self._listener = listener
        return [event for event in self._told if event.ts_ns >= known_ns - RETOLD_NS]

    def disconnect(self) -> None:
        """Nobody listens any more."""
        self._listener = None

    def pump(self, now_ns: int) -> None:
        """Let everything happen that is due by now, in order of time."""
        while (due_ns := self.next_due_ns()) <= now_ns:
            arrival_ns = self.machine.next_due_ns()
            if arrival_ns is not None and arrival_ns <= self._head.ts_ns:
                self._tell(self.machine.advance(due_ns))
                continue
            event, self._head = self._head, self._next_of_stream()
            self._tell(self.machine.on_market(event))
            if self._listener is not None:
                self._listener.hear(event)

    def next_due_ns(self) -> int:
        """When the next thing happens there."""
        arrival_ns = self.machine.next_due_ns()
        return self._head.ts_ns if arrival_ns is None else min(arrival_ns, self._head.ts_ns)

    def _next_of_stream(self) -> Any:
        tick, event = next(self._stream)
        return msgspec.structs.replace(event, ts_ns=self._start_ns + tick * TICK_NS)

    def _tell(self, answers: Sequence[Event]) -> None:
        self._told += answers
        if self._listener is None:
            return
        for answer in answers:
            self._listener.hear(answer)
            if isinstance(answer, OrderFilled | Funding) and self._draw.randrange(100) < REPEATED_PERCENT:
                self._listener.hear(answer)


class ExchangeVenue:
    """The connection of one life of the run (port `Venue`)."""

    def __init__(self, exchange: Exchange, clock: Clock, *, note: Callable[[Order, int], None], known_ns: int) -> None:
        self._exchange = exchange
        self._clock = clock
        self._note = note
        self._inbox = Inbox()
        self._inbox.put(FeedConnected(ts_ns=clock.now_ns(), source="exchange"))
        self._retold = exchange.connect(self, clock.now_ns(), known_ns=known_ns)
        self._is_asked = False

    async def open(self) -> None:
        """The line is open from the start."""

    def hear(self, event: Event) -> None:
        """The exchange tells us something."""
        self._inbox.put(event)

    @property
    def queue_depth(self) -> int:
        """Events waiting."""
        return len(self._inbox)

    async def receive(self, deadline_ns: int, *, floor_ns: int) -> Sequence[Event]:
        """The next event of the exchange, or nothing at the deadline."""
        self._exchange.pump(self._clock.now_ns())
        if self._is_asked:
            self._is_asked = False
            answers = [*await self.missed(), await self.account()]
            now_ns = max(self._clock.now_ns(), floor_ns)
            return [msgspec.structs.replace(answer, ts_ns=now_ns) for answer in answers]
        if not len(self._inbox):
            await self._clock.sleep_until(min(deadline_ns, self._exchange.next_due_ns()))
            self._exchange.pump(self._clock.now_ns())
        event = self._inbox.take(max(self._clock.now_ns(), floor_ns))
        if event is None:
            return ()
        return [_not_before(event, floor_ns)]

    def send(self, order: Order, ts_ns: int) -> None:
        """An order leaves; an exchange refuses a client id that it knows."""
        self._exchange.pump(self._clock.now_ns())
        self._note(order, ts_ns)
        if order.client_id in self._exchange.machine._numbers:
            raise Bug(f"the exchange was sent {order.client_id} twice")
        self._exchange.machine.send(msgspec.structs.replace(order), ts_ns)

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """A cancel or an amendment leaves, now: what was decided before a crash may come late."""
        self._exchange.pump(self._clock.now_ns())
        self._exchange.machine.change(client_id, max(ts_ns, self._clock.now_ns()), amend)

    def confirm(self, ts_ns: int) -> None:  # noqa: ARG002  the books are read when all before them was told
        """The account is told after all that waits."""
        self._is_asked = True

    async def account(self) -> Reconcile:
        """The exchange's own books."""
        self._exchange.pump(self._clock.now_ns())
        return self._exchange.machine.account(self._clock.now_ns())

    async def missed(self) -> Sequence[Event]:
        """What happened while nobody listened, then what waits: all of it but market data."""
        retold, self._retold = self._retold, []
        waiting, market = [], []
        while (event := self._inbox.take(self._clock.now_ns())) is not None:
            is_answer = hasattr(event, "client_id") or isinstance(event, Funding)
            (waiting if is_answer else market).append(event)
        for event in market:
            self._inbox.put(event)
        return [*retold, *waiting]

    async def close(self) -> None:
        """The exchange goes on without us."""
        self._exchange.disconnect()


class Remote:
    """In place of a machine in our process: an exchange elsewhere remembers by itself."""

    def send(self, order: Order, ts_ns: int) -> None:
        """It knows."""

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """It knows."""

    def on_market(self, event: Event) -> list[Event]:  # noqa: ARG002
        """It has seen it."""
        return []

    def on_gap(self, event: Event) -> None:
        """It has no gaps."""

    def advance(self, now_ns: int) -> list[Event]:  # noqa: ARG002
        """Its time passes without us."""
        return []

    def snapshot(self) -> dict[str, Any]:
        """Nothing of it is kept here."""
        return {}

    def restore(self, memory: dict[str, Any]) -> None:
        """Nothing to restore."""


def _not_before(event: Event, floor_ns: int) -> Event:
    return event if event.ts_ns >= floor_ns else msgspec.structs.replace(event, ts_ns=floor_ns)
