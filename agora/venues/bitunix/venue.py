"""A live account at Bitunix (port `Venue`): our orders, the venue's evidence, one queue to the run.

Everything the venue says about orders, money and positions reaches the run through one queue that drops none of it.
Work happens in tasks of one crew; a bug in any of them is raised by `receive`, so that the run ends in order while
the other tasks go on cancelling and flattening.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from agora.domain.errors import StartFault, Transient, UsageFault
from agora.domain.events import (
    Event,
    FeedLost,
    Funding,
    MarketCandle,
    MarketDepth,
    MarketQuote,
    MarketTrade,
    OrderFilled,
    OrderRejected,
    Reconcile,
)
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose
from agora.engine.ports import Clock
from agora.engine.state import State
from agora.venues.bitunix.account import Account
from agora.venues.bitunix.brackets import Bracket, net
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.crew import Bell
from agora.venues.bitunix.hints import Hints
from agora.venues.bitunix.line import FAULTS, Line
from agora.venues.bitunix.reckoning import Reckoning
from agora.venues.bitunix.reports import PlainOrder
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.stops import StopLeg, owner_of_child
from agora.venues.bitunix.stream import PrivateSocket, UserStream
from agora.venues.bitunix.targets import TargetLeg
from agora.venues.bitunix.trades import Taker, Trades
from agora.venues.bitunix.wire import OrderRow, TradeRow
from agora.venues.inbox import Inbox
from agora.venues.rest import AuthRefused

# A feed is asked for its next event with a deadline so far away that it hardly ever comes.
FEED_WAIT_NS = 60 * NS_PER_S
# Ended orders kept by name; the run asks about none of them again.
ORDERS_KEPT = 2_000

RunOrder = PlainOrder | StopLeg | TargetLeg


class Feed(Protocol):
    """A source of market data on the run's clock."""

    async def open(self) -> None:
        """Connect; called once."""
        ...

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event if it is due by the deadline, else None at the deadline."""
        ...

    def lag_ns(self, symbol: str) -> int:
        """How old the newest data of a symbol were when they came, by the venue's own stamp; never negative."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """The three lines to the venue: requests, the account's socket, market data.

    `data_age_s_max`: no order that raises risk leaves, however long ago it was decided, on older market data.
    """

    client: BitunixClient
    private: PrivateSocket
    feed: Feed
    data_age_s_max: float = math.inf


class BitunixVenue:
    """One account, several symbols. `state` is read when the venue is opened, to go on where a run stopped."""

    def __init__(
        self,
        lines: Lines,
        state: State,
        *,
        instruments: dict[str, Instrument],
        settings: BitunixSettings,
        clock: Clock,
    ) -> None:
        self._lines = lines
        self._state = state
        self._clock = clock
        self._settings = settings
        self._inbox = Inbox()
        self._bell = Bell()
        self._alarm_ns = 0
        self._fault: Exception | None = None
        self._line = Line(lines.client, clock, settings, instruments=instruments, tell=self._tell)
        self._line.data_age_s_max = lines.data_age_s_max
        self._crew = self._line.crew
        self._crew.on_fault = self._on_fault
        self._trades = Trades(self._line)
        self._trades.claim = self._claim
        self._account = Account(self._line, self._trades)
        self._orders: dict[str, RunOrder] = {}
        self._reckoning = Reckoning(self._line, self._trades, self._account, orders=lambda: self._orders)
        self._brackets: dict[str, Bracket] = {}
        self._hints = Hints(
            self._line, self._trades, self._account, reckoning=self._reckoning, ring_legs=self._ring_legs
        )
        self._stream = UserStream(self._line, lines.private, hear=self._hints.hear, on_gap=self._hints.on_gap)

    @property
    def queue_depth(self) -> int:
        """Events waiting to be looked at."""
        return len(self._inbox)

    # Beginning and end.

    async def open(self) -> None:
        """Read where the account stands, take up the orders of an earlier life, connect both sockets.

        Raises `StartFault` when the venue cannot be read, or refuses our keys.
        """
        await self._crew.open()
        state = self._state
        if state.started_ts_ns:
            since_ns = max(state.started_ts_ns, state.now_ns - int(self._settings.retold_s * NS_PER_S))
            self._trades.resume(since_ns, floor_ns=state.started_ts_ns, known=state.fill_ids)
            self._account.resume(state.funding_seen, floor_ns=state.started_ts_ns)
            positions = {symbol: holding.position for symbol, holding in state.holdings.items()}
            self._account.books.begin(cash_units=state.ledger.cash, positions=positions)
            self._take_up(state)
        else:
            await self._until_read(self._trades.begin)
            await self._until_read(self._account.begin)
        await self._lines.feed.open()
        self._crew.start(self._pump(), name="feed")
        self._crew.start(self._stream.run(), name="user stream")
        self._crew.start(self._reckoning.run(), name="account")
        self._crew.start(self._hints.run(), name="hints")
        self._crew.start(self._hints.keep_vigil(), name="vigil")

    async def close(self) -> None:
        """Stop all work and let go of the connections."""
        await self._crew.close()
        await self._lines.feed.close()
        await self._lines.client.close()

    async def _until_read(self, read: Callable[[], Awaitable[None]]) -> None:
        """Read until it works; raises `StartFault` when the venue stays away, or says that the keys are not good."""
        until_ns = self._clock.now_ns() + int(self._settings.start_s_max * NS_PER_S)
        for pause in self._line.pauses():
            try:
                await read()
                return
            except AuthRefused as fault:
                raise StartFault(f"the venue refuses the keys: {fault}") from fault
            except FAULTS as fault:
                if self._clock.now_ns() >= until_ns:
                    raise StartFault(f"the venue cannot be read: {fault}") from fault
            await asyncio.sleep(pause)

    # The queue to the run.

    def _tell(self, event: Event) -> None:
        answer = self._reckoning.before(event)
        if answer is not None:
            self._inbox.put(answer)
        self._inbox.put(event)
        self._bell.ring()
        if isinstance(event, OrderFilled):
            self._net(event.instrument)
            self._ring_legs()

    def _net(self, symbol: str) -> None:
        """What the position does not have any more, no stop or target waits for."""
        if symbol in self._line.instruments:
            net(list(self._brackets.values()), symbol, position_lots=self._account.books.lots(symbol))

    def _on_fault(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._bell.ring()

    async def receive(self, deadline_ns: int, *, floor_ns: int) -> Sequence[Event]:
        """The next event, or nothing at the deadline. Raises what a background task has failed with."""
        while not self._inbox and self._fault is None and self._clock.now_ns() < deadline_ns:
            self._set_alarm(deadline_ns)
            await self._bell.wait(None)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        event = self._inbox.take(max(self._clock.now_ns(), floor_ns))
        return () if event is None else (_not_before(event, floor_ns),)

    def _set_alarm(self, deadline_ns: int) -> None:
        """Let the bell ring at the deadline, by the run's clock; an alarm before it wakes us to set the next."""
        if not self._clock.now_ns() < self._alarm_ns <= deadline_ns:
            self._alarm_ns = deadline_ns
            self._crew.start(self._ring_at(deadline_ns), name="alarm")

    async def _ring_at(self, ts_ns: int) -> None:
        await self._clock.sleep_until(ts_ns)
        self._bell.ring()

    async def _pump(self) -> None:
        """Market data into the queue; a feed that breaks for good is told once and not asked again."""
        feed = self._lines.feed
        try:
            while True:
                event = await feed.next(self._clock.now_ns() + FEED_WAIT_NS)
                if isinstance(event, MarketQuote):
                    self._line.middles[event.instrument] = (event.bid_ticks + event.ask_ticks) // 2
                if isinstance(event, MarketQuote | MarketTrade | MarketDepth):
                    # What was old when it came is older now than since it came.
                    self._line.hear(event.instrument, event.ts_ns - feed.lag_ns(event.instrument))
                if event is not None:
                    self._inbox.put(event)
                    self._bell.ring()
        except (OSError, UsageFault, Transient) as fault:
            self._tell(FeedLost(ts_ns=self._clock.now_ns(), reason=str(fault)))

    # Orders.

    def send(self, order: Order, ts_ns: int) -> None:
        """Hand over an order; the legs of a bracket come in the same turn, before their entry's request leaves."""
        if order.client_id in self._orders:
            self._orders[order.client_id].hint()  # Taken up after a restart, and asked for again.
            return
        entry = self._orders.get(order.parent)
        if order.type in (OrderType.MARKET, OrderType.LIMIT) and not order.parent:
            plain = PlainOrder(self._line, self._trades, order)
            self._keep(plain)
            plain.start()
        elif order.parent and order.purpose in (Purpose.STOP, Purpose.TARGET):
            bracket = self._bracket(order.parent, filled_lots=order.size_lots)
            leg = self._leg(order, bracket)
            if isinstance(leg, StopLeg) and isinstance(entry, PlainOrder):
                entry.attach_stop(order.trigger_ticks)
            leg.start()
        else:
            reason = f"the venue has no {order.type} orders apart from the legs of an entry"
            self._tell(OrderRejected(ts_ns=ts_ns, client_id=order.client_id, reason=reason))

    def _keep(self, order: RunOrder) -> None:
        self._orders[order.client_id] = order
        if len(self._orders) > ORDERS_KEPT:
            self._orders = {name: order for name, order in self._orders.items() if not order.is_over}
            at_work = {order.client_id for order in self._orders.values()}
            self._brackets = {
                name: bracket for name, bracket in self._brackets.items() if bracket.client_ids(name) & at_work
            }

    def _bracket(self, parent: str, *, filled_lots: int) -> Bracket:
        """The bracket of an entry; one that nobody remembers has filled what its legs were made for."""
        if parent not in self._brackets:
            entry = self._orders.get(parent)
            self._brackets[parent] = bracket = Bracket(
                entry=entry if isinstance(entry, PlainOrder) else None, filled_lots=filled_lots
            )
            if bracket.entry is not None:
                bracket.entry.listeners.append(bracket.ring)
        return self._brackets[parent]

    def _leg(self, order: Order, bracket: Bracket) -> StopLeg | TargetLeg:
        leg: StopLeg | TargetLeg
        if order.purpose is Purpose.STOP:
            leg = bracket.stop = StopLeg(self._line, self._trades, order, account=self._account, bracket=bracket)
        else:
            leg = bracket.target = TargetLeg(self._line, self._trades, order, account=self._account, bracket=bracket)
        self._keep(leg)
        return leg

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """Cancel an order, or move it. One that we no longer follow is cancelled by its name."""
        del ts_ns
        order = self._orders.get(client_id)
        if order is None or order.is_over:
            if amend is None:
                self._crew.start(self._cancel_stray(client_id), name=f"cancel {client_id}")
        elif amend is None:
            order.cancel()
        else:
            order.amend(*amend)

    async def _cancel_stray(self, client_id: str) -> None:
        for symbol in self._line.instruments:
            try:
                await self._line.ask(self._line.client.cancel(symbol, client_id=client_id))
            except FAULTS:
                continue

    def _take_up(self, state: State) -> None:
        """The orders of an earlier life of this run: each goes on, or is looked for. Ended ones may yet trade."""
        for order in state.closed:
            if not order.parent:
                PlainOrder(self._line, self._trades, order).remember()
        for order in state.working.values():
            if not order.parent:
                plain = PlainOrder(self._line, self._trades, order)
                self._keep(plain)
                plain.resume()
        for order in state.working.values():
            if order.parent:
                entry = state.order(order.parent)
                filled_lots = order.size_lots if entry is None else entry.filled_lots
                self._leg(order, self._bracket(order.parent, filled_lots=filled_lots))
        for symbol in self._line.instruments:
            self._net(symbol)
        for leg in [order for order in self._orders.values() if not isinstance(order, PlainOrder)]:
            leg.resume()

    async def _claim(self, row: TradeRow, detail: OrderRow) -> Taker | None:
        stops = [order for order in self._orders.values() if isinstance(order, StopLeg)]
        return await owner_of_child(self._account.triggers, stops, row=row, detail=detail)

    def _ring_legs(self) -> None:
        for bracket in self._brackets.values():
            bracket.ring()

    # What is held.

    def confirm(self, ts_ns: int) -> None:
        """Ask what the venue holds; the answer comes through `receive`."""
        self._reckoning.ask(ts_ns)

    async def account(self) -> Reconcile:
        """What the venue holds, after doubts of an earlier life were looked at; raises `StartFault` when it is away."""
        answers: list[Reconcile] = []

        async def read() -> None:
            await self._look_at_doubts()
            answers.append(await self._reckoning.reading())

        await self._until_read(read)
        return answers[-1]

    async def _look_at_doubts(self) -> None:
        """Give every doubt the looks it needs to be seen; those that are not found stay in doubt for their grace."""
        until_ns = self._clock.now_ns() + int(self._settings.read_s_max * NS_PER_S)
        while self._clock.now_ns() < until_ns:
            wires = [wire for order in self._orders.values() for wire in order.wires()]
            if not any(wire.is_unlooked for wire in wires):
                return
            await asyncio.sleep(self._settings.look_s_min)

    async def missed(self) -> Sequence[Event]:
        """Answers that wait in the queue; what else waits there stays."""
        answers: list[Event] = []
        others: list[Event] = []
        while (event := self._inbox.take(self._clock.now_ns())) is not None:
            is_answer = hasattr(event, "client_id") or isinstance(event, Funding)
            (answers if is_answer else others).append(event)
        for event in others:
            self._inbox.put(event)
        return answers


def _not_before(event: Event, floor_ns: int) -> Event:
    """An event no earlier than what the run has already seen; bars from before the run stay where they were."""
    if event.ts_ns >= floor_ns or (isinstance(event, MarketCandle) and event.is_history):
        return event
    return msgspec.structs.replace(event, ts_ns=floor_ns)
