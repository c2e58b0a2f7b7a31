"""A venue on paper: our own fills (`kernels.fills`) on somebody's real or recorded market data.

`PaperMachine` is plain and deterministic: its answers depend only on the market events and orders it was given, with
their times, and on the seed. So after a crash it is rebuilt from the journal. `PaperVenue` joins it to a feed.
"""

from __future__ import annotations

import base64
import heapq
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from agora.domain.accounting import Ledger, Position, funding_units
from agora.domain.errors import Transient, UsageFault
from agora.domain.events import (
    MARKET_TYPES,
    Event,
    FeedGap,
    FeedLost,
    Funding,
    MarketCandle,
    MarketDepth,
    MarketEvent,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
    OrderAccepted,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    Reconcile,
)
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, PPM
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.engine.ports import Clock
from agora.kernels import fills
from agora.kernels.latency import FIXED, LOGNORMAL, UNIFORM, order_latency_ns
from agora.venues.inbox import Inbox
from agora.venues.paper_settings import PaperSettings

# 256 working orders of one run on one instrument; the order rate limit keeps far below.
ORDER_CAPACITY = 256
_MODELS = {"fixed": FIXED, "uniform": UNIFORM, "lognormal": LOGNORMAL}
_TYPES = {
    OrderType.LIMIT: fills.LIMIT,
    OrderType.MARKET: fills.MARKET,
    OrderType.STOP: fills.STOP,
    OrderType.TAKE_PROFIT: fills.TAKE_PROFIT,
}
_TIMES = {
    TimeInForce.GTC: fills.GTC,
    TimeInForce.IOC: fills.IOC,
    TimeInForce.FOK: fills.FOK,
    TimeInForce.GTD: fills.GTD,
}


_REASONS = {
    fills.POST_ONLY_WOULD_CROSS: "post_only_would_cross",
    fills.REDUCE_ONLY_NO_POSITION: "reduce_only_no_position",
    fills.NO_MARKET: "no_market",
    fills.FOK_NOT_FILLABLE: "fok_not_fillable",
    fills.IOC_REMAINDER: "ioc_remainder",
    fills.CAPACITY: "capacity",
    fills.DUPLICATE_ID: "duplicate_id",
    fills.UNKNOWN_ORDER: "unknown_order",
    fills.REQUESTED: "requested",
    fills.REDUCE_ONLY_FLAT: "reduce_only_flat",
    fills.PARENT_GONE: "parent_gone",
    fills.ALREADY_DONE: "already_done",
    fills.INVALID: "invalid",
    fills.EXPIRED_ON_ARRIVAL: "expired_on_arrival",
}
_MAKER = 0
_ENDS = (fills.REJECTED, fills.CANCELLED, fills.EXPIRED)


class _Arrival(msgspec.Struct, array_like=True):
    """Something of ours on its way to the venue: an order, or a change of one. Sorted by time, then by sending."""

    due_ns: int
    sequence: int
    sent_ns: int
    instrument: str
    number: int
    what: str
    facts: tuple[int, ...] = ()

    def __lt__(self, other: _Arrival) -> bool:
        """Order of arrival; of those that arrive at one moment orders come before changes of orders."""
        return (self.due_ns, self.what != "place", self.sequence) < (
            other.due_ns,
            other.what != "place",
            other.sequence,
        )


class _Known(msgspec.Struct):
    """What the machine remembers of an order it has seen."""

    client_id: str
    instrument: str
    side: int
    purpose: str
    sent_ns: int
    size_lots: int
    filled_lots: int = 0
    fills: int = 0
    changes: int = 0
    due_ns: int = 0
    latency_ns: int = 0


class _Account(msgspec.Struct):
    """The venue's own books: independent of the run's, and compared with them."""

    ledger: Ledger = msgspec.field(default_factory=Ledger)
    positions: dict[str, Position] = {}
    liquidations: int = 0


class _Memory(msgspec.Struct):
    """Everything a machine remembers, for checkpoints."""

    books: dict[str, str]
    arrivals: list[_Arrival]
    known: dict[str, _Known]
    numbers: dict[str, int]
    account: _Account
    sequence: int


class PaperMachine:
    """Deterministic paper exchange for one account on several instruments."""

    def __init__(
        self, instruments: dict[str, Instrument], settings: PaperSettings, *, seed: int, equity_units: int
    ) -> None:
        self._instruments = instruments
        self._settings = settings
        self._seed = seed
        self._books = {
            symbol: fills.create(
                order_capacity=ORDER_CAPACITY,
                half_spread_ppm=round(settings.half_spread_bps * 100),
                participation_ppm=settings.participation_ppm,
                cancel_ahead_ppm=settings.cancel_ahead_ppm,
            )
            for symbol in sorted(instruments)
        }
        self._rows = fills.new_out(order_capacity=ORDER_CAPACITY)
        self._arrivals: list[_Arrival] = []
        self._sequence = 0
        self._known: dict[int, _Known] = {}
        self._numbers: dict[str, int] = {}
        self._account = _Account(positions={symbol: Position() for symbol in sorted(instruments)})
        self._account.ledger.deposit(equity_units)

    # Orders on their way.

    def send(self, order: Order, ts_ns: int) -> None:
        """An order leaves now and reaches the venue after its latency."""
        parent = self._numbers.get(order.parent, 0)
        facts = (
            int(order.side),
            _TYPES[order.type],
            _TIMES[order.time_in_force],
            (fills.POST_ONLY if order.post_only else 0) | (fills.REDUCE_ONLY if order.reduce_only else 0),
            order.price_ticks,
            order.trigger_ticks,
            order.size_lots,
            order.expire_ts_ns,
            parent,
        )
        self._known[order.number] = _Known(
            order.client_id, order.instrument, order.side, order.purpose, ts_ns, order.size_lots
        )
        self._numbers[order.client_id] = order.number
        # The legs of a bracket travel with their entry: same latency, arriving right after it.
        draw = parent or order.number
        self._depart(order.number, "place", ts_ns, facts=facts, draw=draw)

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """A cancel or an amendment leaves now."""
        number = self._numbers.get(client_id)
        if number is None:
            return
        if amend is None and any(each.number == number and each.what == "cancel" for each in self._arrivals):
            return  # Asked for again after a restart: one cancel is on its way already.
        known = self._known[number]
        known.changes += 1
        what = "cancel" if amend is None else "amend"
        # Draw numbers above 2**40 never meet an order number: every message has its own latency.
        draw = (known.changes << 40) + number
        self._depart(number, what, ts_ns, facts=amend or (), draw=draw)

    def _depart(self, number: int, what: str, ts_ns: int, *, facts: tuple[int, ...], draw: int) -> None:
        settings = self._settings
        first_ns = settings.latency_ms_min * NS_PER_MS
        second = settings.latency_sigma_ppm
        if settings.latency_model == "uniform":
            second = settings.latency_ms_max * NS_PER_MS
        latency_ns = order_latency_ns(self._seed, draw, model=_MODELS[settings.latency_model], a=first_ns, b=second)
        # Nothing arrives at the moment it leaves: so it can never come before what else happened at that moment.
        latency_ns = max(latency_ns, 1)
        self._sequence += 1
        known = self._known[number]
        # Messages about one order arrive in the order in which they were sent: no cancel overtakes its order.
        known.due_ns = max(known.due_ns, ts_ns + latency_ns)
        if what == "place":
            known.latency_ns = known.due_ns - ts_ns
        arrival = _Arrival(known.due_ns, self._sequence, ts_ns, known.instrument, number, what, facts)
        heapq.heappush(self._arrivals, arrival)

    def next_due_ns(self) -> int | None:
        """When the next message of ours reaches the venue; None when nothing is on its way."""
        return self._arrivals[0].due_ns if self._arrivals else None

    def advance(self, now_ns: int) -> list[Event]:
        """What the venue answers to everything that has reached it by now, stamped with now."""
        events: list[Event] = []
        while self._arrivals and self._arrivals[0].due_ns <= now_ns:
            arrival = heapq.heappop(self._arrivals)
            self._arrive(arrival, now_ns, events)
        return events

    def _arrive(self, arrival: _Arrival, now_ns: int, events: list[Event]) -> None:
        book = self._books[arrival.instrument]
        rows, due_ns = self._rows, arrival.due_ns
        self._tell(arrival.instrument, fills.advance(book, rows, due_ns), now_ns=now_ns, events=events)
        if arrival.number not in self._known:
            return  # A cancel or amendment of an order that ended while it travelled.
        if arrival.what == "place":
            count = fills.arrive(book, rows, due_ns, arrival.number, *arrival.facts)
        elif arrival.what == "cancel":
            count = fills.cancel(book, rows, due_ns, arrival.number)
        else:
            count = self._move(arrival, now_ns, events)
        self._tell(arrival.instrument, count, now_ns=now_ns, events=events)

    def _move(self, arrival: _Arrival, now_ns: int, events: list[Event]) -> int:
        """An amendment arrives; returns the number of kernel rows that are still to be told."""
        price_ticks, trigger_ticks = arrival.facts
        book = self._books[arrival.instrument]
        count = int(fills.amend(book, self._rows, arrival.due_ns, arrival.number, price_ticks, trigger_ticks, 0))
        if count == 0 or self._rows[0, 0] != fills.AMENDED:
            return count
        client_id = self._known[arrival.number].client_id
        events.append(
            OrderAmended(ts_ns=now_ns, client_id=client_id, price_ticks=price_ticks, trigger_ticks=trigger_ticks)
        )
        return count

    # The market.

    def on_market(self, event: Event) -> list[Event]:
        """What the venue tells us because of this market event (fills first, then funding, then liquidation)."""
        now_ns = event.ts_ns
        if isinstance(event, MarketCandle) and event.is_history:
            return []
        events = self.advance(now_ns)
        book, rows = self._books[event.instrument], self._rows  # type: ignore[union-attr]
        if type(event) is MarketQuote:
            count = fills.on_quote(book, rows, now_ns, event.bid_ticks, event.bid_lots, event.ask_ticks, event.ask_lots)
        elif type(event) is MarketTrade:
            count = fills.on_trade(book, rows, now_ns, event.price_ticks, event.size_lots, event.aggressor)
        elif type(event) is MarketDepth:
            levels = np.array(event.levels, dtype=np.int64).reshape(-1, 3)
            count = fills.on_depth(book, rows, now_ns, levels, event.is_snapshot)
        elif type(event) is MarketCandle:
            count = fills.on_candle(
                book,
                rows,
                now_ns,
                event.open_ticks,
                event.high_ticks,
                event.low_ticks,
                event.close_ticks,
                event.volume_lots,
            )
        else:
            assert isinstance(event, MarketFundingRate)
            self._settle_funding(event, events)
            return events
        if count:
            self._tell(event.instrument, count, now_ns=now_ns, events=events)
        if self._account.positions[event.instrument].size_lots:
            self._liquidate_if_due(event, events)
        return events

    def on_gap(self, event: FeedGap) -> None:
        """Depth is unusable until the next snapshot."""
        if event.instrument in self._books:
            fills.depth_lost(self._books[event.instrument])

    def _mark_ticks(self, symbol: str) -> int:
        book = self._books[symbol]
        bid, ask = int(fills.best_bid(book)), int(fills.best_ask(book))
        return (bid + ask) // 2 if bid > 0 and ask > 0 else int(fills.last_price(book))

    def _settle_funding(self, event: MarketFundingRate, events: list[Event]) -> None:
        position = self._account.positions[event.instrument]
        mark = self._mark_ticks(event.instrument)
        if not position.size_lots or not mark:
            return
        amount = funding_units(
            self._instruments[event.instrument],
            size_lots=position.size_lots,
            mark_ticks=mark,
            rate_ppb=event.rate_ppb,
        )
        self._account.ledger.fund(amount)
        events.append(
            Funding(
                ts_ns=event.ts_ns,
                instrument=event.instrument,
                venue_funding_id=f"funding-{event.instrument}-{event.ts_ns}",
                rate_ppb=event.rate_ppb,
                size_lots=position.size_lots,
                mark_ticks=mark,
                amount_units=amount,
            )
        )

    def _worst_ticks(self, event: MarketEvent, size_lots: int) -> int:
        """The price that was worst for a position: the end of a bar that hurts it, else the mark."""
        if isinstance(event, MarketCandle):
            return event.low_ticks if size_lots > 0 else event.high_ticks
        return self._mark_ticks(event.instrument)

    def _liquidate_if_due(self, event: MarketEvent, events: list[Event]) -> None:
        """Cross margin: close everything in this instrument when the equity no longer covers maintenance."""
        symbol, now_ns = event.instrument, event.ts_ns
        size = self._account.positions[symbol].size_lots
        worst_ticks = self._worst_ticks(event, size)
        equity, maintenance = self._account.ledger.cash, 0
        for name, position in self._account.positions.items():
            if position.size_lots:
                mark, instrument = worst_ticks if name == symbol else self._mark_ticks(name), self._instruments[name]
                equity += position.unrealised_units(instrument, mark)
                maintenance += (
                    abs(instrument.notional_units(mark, position.size_lots)) * instrument.maintenance_ppm // PPM
                )
        if equity > maintenance:
            return
        book = self._books[symbol]
        self._tell(symbol, fills.cancel_all(book, self._rows, now_ns), now_ns=now_ns, events=events)
        self._account.liquidations += 1
        known = _Known(
            client_id=f"liquidation-{symbol}-{self._account.liquidations}",
            instrument=symbol,
            side=-1 if size > 0 else 1,
            purpose=Purpose.LIQUIDATION,
            sent_ns=now_ns,
            size_lots=abs(size),
        )
        fills.set_position(book, 0)
        events.append(self._fill(known, worst_ticks, abs(size), is_maker=False, now_ns=now_ns))

    # Answers.

    def _tell(self, symbol: str, count: int, *, now_ns: int, events: list[Event]) -> None:
        """Kernel rows as events; orders that are over are forgotten, so memory does not grow with the run."""
        told = self._rows[:count].tolist()
        for code, number, price, size, detail, _ in told:
            known = self._known[number]
            client_id = known.client_id
            if code == fills.FILL:
                events.append(self._fill(known, price, size, is_maker=detail == _MAKER, now_ns=now_ns))
            elif code == fills.ACCEPTED:
                venue_id = f"paper-{number}"
                events.append(
                    OrderAccepted(ts_ns=now_ns, client_id=client_id, venue_id=venue_id, latency_ns=known.latency_ns)
                )
            elif code == fills.REJECTED:
                events.append(OrderRejected(ts_ns=now_ns, client_id=client_id, reason=_REASONS[detail]))
            elif code == fills.CANCELLED:
                events.append(OrderCancelled(ts_ns=now_ns, client_id=client_id, reason=_REASONS[detail]))
            elif code == fills.EXPIRED:
                events.append(OrderExpired(ts_ns=now_ns, client_id=client_id))
            elif code == fills.AMEND_REJECTED:
                events.append(OrderAmendRejected(ts_ns=now_ns, client_id=client_id, reason=_REASONS[detail]))
        ended = {row[1] for row in told if row[0] in _ENDS}
        for number in dict.fromkeys(row[1] for row in told):
            if fills.remaining(self._books[symbol], number) < 0:
                self._forget(number, now_ns, events, is_told=number in ended)

    def _forget(self, number: int, now_ns: int, events: list[Event], *, is_told: bool) -> None:
        """An order is over. A bracket leg whose entry filled in part ends by its fill: the rest never woke."""
        known = self._known.pop(number)
        del self._numbers[known.client_id]
        if not is_told and known.filled_lots < known.size_lots:
            events.append(OrderCancelled(ts_ns=now_ns, client_id=known.client_id, reason="entry_filled_in_part"))

    def _fill(self, known: _Known, price_ticks: int, size_lots: int, *, is_maker: bool, now_ns: int) -> OrderFilled:
        instrument = self._instruments[known.instrument]
        fee = instrument.fee_units(price_ticks, size_lots, is_maker=is_maker)
        position = self._account.positions[known.instrument]
        realised = position.apply(instrument, size_lots=known.side * size_lots, price_ticks=price_ticks)
        self._account.ledger.settle(realised=realised, fee=fee)
        known.fills += 1
        known.filled_lots += size_lots
        return OrderFilled(
            ts_ns=now_ns,
            client_id=known.client_id,
            venue_id=f"paper-{self._numbers.get(known.client_id, 0)}",
            venue_fill_id=f"{known.client_id}.{known.fills}",
            instrument=known.instrument,
            side=Side(known.side).word,
            purpose=known.purpose,
            fill_price_ticks=price_ticks,
            fill_size_lots=size_lots,
            fee_units=fee,
            liquidity="maker" if is_maker else "taker",
            reference_ticks=self._mark_ticks(known.instrument),
        )

    def account(self, now_ns: int) -> Reconcile:
        """What this venue says we have."""
        on_the_way = {arrival.number for arrival in self._arrivals if arrival.what == "place"}
        live = {
            number
            for number, known in self._known.items()
            if number in on_the_way or fills.remaining(self._books[known.instrument], number) >= 0
        }
        return Reconcile(
            ts_ns=now_ns,
            positions={symbol: position.size_lots for symbol, position in self._account.positions.items()},
            open_client_ids=tuple(self._known[number].client_id for number in sorted(live)),
            cash_units=self._account.ledger.cash,
        )

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered, as plain JSON values."""
        memory = _Memory(
            books={
                symbol: base64.b64encode(zlib.compress(book.tobytes(), 1)).decode()
                for symbol, book in self._books.items()
            },
            arrivals=sorted(self._arrivals),
            known={str(number): known for number, known in self._known.items()},
            numbers=self._numbers,
            account=self._account,
            sequence=self._sequence,
        )
        plain: dict[str, Any] = msgspec.to_builtins(memory)
        return plain

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        found = msgspec.convert(memory, _Memory)
        for symbol, text in found.books.items():
            self._books[symbol][:] = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.int64)
        self._arrivals = found.arrivals
        self._known = {int(number): known for number, known in found.known.items()}
        self._numbers = found.numbers
        self._account = found.account
        self._sequence = found.sequence


class Feed(Protocol):
    """A source of market data on the run's clock. `is_paced`: it keeps real time, so the run may fall behind it."""

    is_paced: bool

    async def open(self) -> None:
        """Connect, where there is something to connect to; called once."""
        ...

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event if it is due by the deadline, else None at the deadline."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


class PaperVenue:
    """A feed whose orders are filled on paper (port `Venue`)."""

    def __init__(self, feed: Feed, machine: PaperMachine, clock: Clock) -> None:
        self._feed = feed
        self._machine = machine
        self._clock = clock
        self._inbox = Inbox()
        self._is_feed_lost = False
        self._is_asked = False

    @property
    def queue_depth(self) -> int:
        """Events waiting to be looked at."""
        return len(self._inbox)

    async def open(self) -> None:
        """The machine is in this process; a feed that has a connection makes it."""
        await self._feed.open()

    async def receive(self, deadline_ns: int, *, floor_ns: int) -> Sequence[Event]:
        """The next market event with the fills it causes, or answers that are due, or nothing at the deadline."""
        if self._is_asked:
            self._is_asked = False
            now_ns = max(self._clock.now_ns(), floor_ns)
            return [*self._machine.advance(now_ns), self._machine.account(now_ns)]
        due_ns = self._machine.next_due_ns()
        if not self._inbox:
            until_ns = deadline_ns if due_ns is None else min(deadline_ns, due_ns)
            await self._fetch(until_ns)
        now_ns = max(self._clock.now_ns(), floor_ns)
        event = self._inbox.take(now_ns)
        if event is None:
            return self._machine.advance(now_ns)
        return self._meet(event, floor_ns)

    async def _fetch(self, until_ns: int) -> None:
        """Take what the feed has; a feed that breaks is told once and not asked again."""
        if self._is_feed_lost:
            self._clock.advance(until_ns)
            await self._clock.sleep_until(until_ns)
            return
        try:
            event = await self._feed.next(until_ns)
            while event is not None:
                self._inbox.put(event)
                # Everything already due goes through the queue, so that a run which lags drops and counts.
                event = await self._feed.next(self._clock.now_ns()) if self._feed.is_paced else None
        except (OSError, UsageFault, Transient) as fault:
            self._is_feed_lost = True
            self._inbox.put(FeedLost(ts_ns=self._clock.now_ns(), reason=str(fault)))

    def _meet(self, event: Event, floor_ns: int) -> list[Event]:
        """Stamp an event no earlier than what the run has already seen, and let the machine answer it."""
        is_history = isinstance(event, MarketCandle) and event.is_history
        if event.ts_ns < floor_ns and not is_history:
            late = {"end_ts_ns": event.end_ts_ns or event.ts_ns} if isinstance(event, MarketCandle) else {}
            event = msgspec.structs.replace(event, ts_ns=floor_ns, **late)
        if type(event) in MARKET_TYPES:
            return [*self._machine.on_market(event), event]
        if isinstance(event, FeedGap):
            self._machine.on_gap(event)
        return [event]

    def send(self, order: Order, ts_ns: int) -> None:
        """Hand over an order."""
        self._machine.send(order, ts_ns)

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """Cancel or move an order."""
        self._machine.change(client_id, ts_ns, amend)

    def confirm(self, ts_ns: int) -> None:  # noqa: ARG002  the machine is asked at once: there is no older question
        """The next thing told is the account."""
        self._is_asked = True

    async def account(self) -> Reconcile:
        """What the paper venue says we have."""
        return self._machine.account(self._clock.now_ns())

    async def missed(self) -> Sequence[Event]:
        """Nothing: the machine answers when it is asked, and after a restart it is rebuilt from the journal."""
        return ()

    async def close(self) -> None:
        """Let go of the feed."""
        await self._feed.close()
