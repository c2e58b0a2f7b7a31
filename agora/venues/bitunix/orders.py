"""One order at the venue, from its request to its end: what is known of it is evidence, and only evidence ends it.

An answer to a request says what was asked for; what became of it say the venue's trades and the order's own row.
A push is a hint to look. Whatever may have been received stays in doubt until it was seen, or was not found for
the whole grace time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from agora.domain.errors import Transient
from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.crew import Bell
from agora.venues.bitunix.line import FAULTS, Line
from agora.venues.bitunix.order_terms import ENDS, End, Owner, Stage, Terms
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.wire import Malformed, OrderRow, PlaceRequest, TradeRow
from agora.venues.rest import InDoubt, NotSent, RateLimited, Refused

# The venue knows the client id already: an earlier request has arrived after all.
CLIENT_ID_KNOWN = 30042
# There is nothing to reduce, or it would not be reduced: the venue holds something else than we think.
NOT_AS_WE_THINK = frozenset((30018, 30019))
# An amendment that so many looks do not show was not made.
AMEND_LOOKS_MAX = 5
# So many looks at an order whose trades are not among the newest: then they are asked for by the order.
SHORT_LOOKS_MAX = 3


class WireOrder:
    """An order under one client id. `run` is its life; everything else here is called from outside and only notes."""

    def __init__(self, line: Line, trades: Trades, owner: Owner, *, wire_id: str, terms: Terms) -> None:
        self.wire_id = wire_id
        self.terms = terms
        self.stage = Stage.POSTING
        self.venue_id = ""
        self.sent_ns = 0
        # It was refused because the venue's position is not what our books say.
        self.is_not_as_we_think = False
        self._line = line
        self._trades = trades
        self._owner = owner
        self._bell = Bell()
        self._is_cancel_wanted = False
        self._next_cancel_ns = 0
        self._is_expiring = False
        self._is_restored = False
        self._amend: tuple[int, int] | None = None
        self._is_amend_asked = False
        self._amend_looks = 0
        self._short_looks = 0
        self._misses = 0
        self._missed_ns = 0
        self._first_missed_ns = 0
        self._differs_since_ns = 0

    # From outside.

    def restore(self, *, venue_id: str, sent_ns: int) -> None:
        """Go on with an order of an earlier life of the run: in doubt unless the venue has told its own id."""
        self.venue_id = venue_id
        self.sent_ns = sent_ns
        # Trades of an earlier life were not read in this one: the first look that lacks some asks by the order.
        self._short_looks = SHORT_LOOKS_MAX - 1
        self._is_restored = True
        self.stage = Stage.WORKING if venue_id else Stage.DOUBT
        if venue_id:
            self._trades.bind(venue_id, self)

    def hint(self) -> None:
        """Something about it may have changed: look."""
        self._bell.ring()

    def learn(self, venue_id: str) -> None:
        """Somebody has seen it at the venue, under the venue's id."""
        if venue_id and not self.venue_id:
            self._bind(venue_id)
            if self.stage is Stage.OVER:
                # It was given up as not found, and has arrived after all: nobody counts on it any more.
                self.stage, self._is_restored = Stage.WORKING, True
                self.cancel()
                self._owner.on_back()
                self._line.crew.start(self.run(), name=f"order {self.wire_id}")
        self._bell.ring()

    def _bind(self, venue_id: str) -> None:
        self.venue_id = venue_id
        self._trades.bind(venue_id, self)

    def take(self, row: TradeRow) -> None:
        """A trade of it, told once."""
        self._owner.on_trade(row, self._line.lots(row.symbol, row.qty))
        # A part of what rests is no reason to look: it may trade on, and its end is told by other means.
        if self._is_filled() or not self.terms.can_rest:
            self._bell.ring()

    def cancel(self) -> None:
        """It should not trade any more. It is over when the venue says so."""
        self._is_cancel_wanted = True
        self._next_cancel_ns = 0
        self._bell.ring()

    def amend(self, price_ticks: int, size_lots: int) -> None:
        """It should have this price and this whole size; the newest wish counts."""
        self._amend = (price_ticks, size_lots)
        self._is_amend_asked = False
        self._bell.ring()

    @property
    def known_lots(self) -> int:
        """How much of it has traded, by trades: whoever they were told of."""
        return self._trades.seen_lots(self.venue_id)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done about it."""
        return self.stage is Stage.OVER

    @property
    def is_unlooked(self) -> bool:
        """Whether it is in doubt and was not yet looked for often enough to call it absent."""
        return self.stage is Stage.DOUBT and self._misses < self._line.settings.not_found_reads_min

    # Its life.

    async def run(self) -> None:
        """From the request to the end."""
        if self.stage is Stage.POSTING:
            await self._post()
        if self.stage is Stage.DOUBT:
            await self._settle()
        if self.stage is Stage.WORKING:
            await self._follow()

    async def _post(self) -> None:
        """Ask for it until the venue has answered or it is stale; only what surely did not arrive is repeated."""
        settings = self._line.settings
        patience_s = settings.reducing_admission_s_max if self.terms.reduce_only else settings.admission_s_max
        until_ns = self._line.now_ns + int(patience_s * NS_PER_S)
        for pause in self._line.pauses():
            if self._is_cancel_wanted:
                self._refuse("cancelled before it was sent")
                return
            reason, wait_s = await self._try()
            if self.stage is not Stage.POSTING:
                return
            wait_s = max(pause, wait_s)
            if self._line.now_ns + int(wait_s * NS_PER_S) >= until_ns:
                self._refuse(f"not sent: {reason}")
                return
            await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next request, whatever is hinted meanwhile; a cancel ends the wait."""
        until_ns = self._line.now_ns + int(seconds * NS_PER_S)
        while not self._is_cancel_wanted and (left_ns := until_ns - self._line.now_ns) > 0:
            await self._bell.wait(left_ns / NS_PER_S)

    async def _try(self) -> tuple[str, float]:
        """One request. Where it surely did not arrive: why, and the seconds to wait; else the stage has changed."""
        self.sent_ns = self._line.now_ns
        try:
            place = self._line.client.place(self._request(), is_wanted=self._is_wanted)
            answer = await self._line.ask(place)
        except RateLimited as fault:
            return str(fault), fault.retry_after_s
        except (InDoubt, Malformed) as fault:
            self._doubt(str(fault))
        except Refused as fault:
            if fault.code == CLIENT_ID_KNOWN:
                self._doubt(str(fault))
            else:
                await self._catch_up(fault.code)
                self.is_not_as_we_think = fault.code in NOT_AS_WE_THINK
                self._refuse(str(fault))
        except Transient as fault:
            return str(fault), 0.0
        else:
            if not self.venue_id:
                self._bind(answer.order_id)
            self._accept()
        return "", 0.0

    def _is_wanted(self) -> bool:
        """Whether it may leave now: it may have waited for its turn since it was decided."""
        return not self._is_cancel_wanted and (self.terms.reduce_only or self._line.is_fresh(self.terms.symbol))

    async def _catch_up(self, code: int) -> None:
        """Before the run hears of a refusal that its own books do not explain, it hears what it has missed."""
        if code in NOT_AS_WE_THINK:
            with contextlib.suppress(*FAULTS):
                await self._trades.sweep()

    def _request(self) -> PlaceRequest:
        terms = self.terms
        instrument = self._line.instruments[terms.symbol]
        return PlaceRequest(
            symbol=terms.symbol,
            side=terms.side,
            order_type=terms.order_type,
            effect=terms.effect,
            qty=instrument.size_text(terms.size_lots),
            price=instrument.price_text(terms.price_ticks) if terms.price_ticks else "",
            client_id=self.wire_id,
            reduce_only=terms.reduce_only,
            sl_price=instrument.price_text(terms.stop_ticks) if terms.stop_ticks else "",
            sl_stop_type=self._line.settings.stop_price if terms.stop_ticks else "",
        )

    def _accept(self) -> None:
        self.stage = Stage.WORKING
        self._owner.on_accepted(self.venue_id, max(0, self._line.now_ns - self.sent_ns))

    def _refuse(self, reason: str) -> None:
        self.stage = Stage.OVER
        self._owner.on_refused(reason)

    def _doubt(self, reason: str) -> None:
        """Evidence may be here already: a push can be faster than the answer to the request."""
        if self.venue_id:
            self._accept()
            return
        self.stage = Stage.DOUBT
        self._owner.on_doubt(reason)

    # In doubt.

    async def _settle(self) -> None:
        """Ask for it by our client id until it is seen, or has not been found for so long that it cannot come."""
        for pause in self._line.pauses():
            if await self._is_found():
                self._accept()
                return
            if await self._is_surely_absent():
                waited_s = (self._line.now_ns - self.sent_ns) / NS_PER_S
                self._refuse(f"not at the venue after {waited_s:.1f} s and {self._misses} looks")
                return
            await self._cancel_if_wanted()
            await self._bell.wait(pause)

    async def _is_found(self) -> bool:
        if self.venue_id:
            return True
        try:
            row = await self._line.ask(self._line.client.order_detail(client_id=self.wire_id))
        except FAULTS:
            return bool(self.venue_id)
        if row is not None:
            self.learn(row.order_id)
            return True
        self._miss()
        return bool(self.venue_id)

    def _miss(self) -> None:
        """A read that did not find it; looks in quick succession count as one."""
        now_ns = self._line.now_ns
        if not self._misses:
            self._first_missed_ns = now_ns
        if not self._misses or now_ns - self._missed_ns >= int(self._line.settings.look_s_min * NS_PER_S):
            self._misses += 1
            self._missed_ns = now_ns

    def _has_waited(self) -> bool:
        """Whether it was not found often enough and for long enough: since it was sent, or since it was last seen."""
        settings = self._line.settings
        since_ns = self.sent_ns if self.stage is Stage.DOUBT else self._first_missed_ns
        waited_ns = self._line.now_ns - since_ns
        return self._misses >= settings.not_found_reads_min and waited_ns >= int(settings.not_found_grace_s * NS_PER_S)

    async def _is_surely_absent(self) -> bool:
        """The grace time is over, enough reads did not find it, and the lists of orders and of trades agree."""
        if not self._has_waited():
            return False
        try:
            return await self._row_in_lists() is None and not self.venue_id
        except FAULTS:
            return False

    async def _row_in_lists(self) -> OrderRow | None:
        """Its row among the open and the ended orders, after the trades were read; raises when they are unreadable."""
        client, symbol = self._line.client, self.terms.symbol
        since_ms = self._line.venue_ms(self.sent_ns - int(self._line.settings.retold_s * NS_PER_S))
        rows = [
            *await self._line.ask(client.pending_orders(symbol)),
            *await self._line.ask(client.history_orders(symbol, start_ms=since_ms, include_cancelled=True)),
        ]
        await self._trades.sweep()
        for row in rows:
            if row.client_id == self.wire_id or (self.venue_id and row.order_id == self.venue_id):
                self.learn(row.order_id)
                return row
        return None

    # At the venue.

    async def _follow(self) -> None:
        """Look whenever there is a hint, and again and again while something about it is open."""
        pauses: Iterator[float] | None = None
        # What can rest is looked at when there is something to see, everything else at once.
        wait_s = None if self.terms.can_rest and not self._is_restored else 0.0
        while self.stage is Stage.WORKING:
            if await self._bell.wait(self._within_life(wait_s)):
                pauses = None
            self._expire_if_due()
            await self._cancel_if_wanted()
            await self._amend_if_wanted()
            if await self._look():
                pauses, wait_s = None, None
            else:
                pauses = pauses or self._line.pauses()
                wait_s = next(pauses)

    def _is_filled(self) -> bool:
        """Whether all of it has traded, by its trades: nothing more can come of it."""
        return self.known_lots >= self.terms.size_lots and self._amend is None

    def _within_life(self, wait_s: float | None) -> float | None:
        """A wait that ends at the order's own end time."""
        if not self.terms.expire_ts_ns or self._is_expiring:
            return wait_s
        left_s = max(0.0, (self.terms.expire_ts_ns - self._line.now_ns) / NS_PER_S)
        return left_s if wait_s is None else min(wait_s, left_s)

    def _expire_if_due(self) -> None:
        """The venue knows no end times: an order that has one is cancelled when it comes."""
        if self.terms.expire_ts_ns and not self._is_expiring and self._line.now_ns >= self.terms.expire_ts_ns:
            self._is_expiring = True
            self.cancel()

    async def _cancel_if_wanted(self) -> None:
        """Ask for the cancel, again after a while; whatever the answer, the order's row says whether it was done."""
        now_ns = self._line.now_ns
        if not self._is_cancel_wanted or now_ns < self._next_cancel_ns:
            return
        self._next_cancel_ns = now_ns + int(self._line.settings.cancel_again_s * NS_PER_S)
        try:
            await self._line.ask(
                self._line.client.cancel(self.terms.symbol, order_id=self.venue_id, client_id=self.wire_id)
            )
        except FAULTS:
            return

    async def _amend_if_wanted(self) -> None:
        if self._amend is None or self._is_amend_asked or self._is_cancel_wanted:
            return
        price_ticks, size_lots = self._amend
        instrument = self._line.instruments[self.terms.symbol]
        self._is_amend_asked, self._amend_looks = True, 0
        try:
            await self._line.ask(
                self._line.client.modify(
                    order_id=self.venue_id,
                    qty=instrument.size_text(size_lots),
                    price=instrument.price_text(price_ticks),
                    raises_risk=not self.terms.reduce_only,
                    is_wanted=self._is_wanted,
                )
            )
        except (Refused, NotSent) as fault:
            self._give_up_amend(str(fault))
        except FAULTS:
            return

    def _give_up_amend(self, reason: str) -> None:
        self._amend = None
        self._owner.on_not_moved(reason)

    async def _look(self) -> bool:
        """Whether all is known and nothing more is to be expected without a hint."""
        try:
            await self._trades.sweep()
            if self._is_filled():
                self._finish(End.FILLED, "filled")
                return True
            row = await self._detail()
            if row is None:
                row = await self._row_in_lists()
        except FAULTS:
            return False
        if row is not None:
            self._misses = 0
            return await self._judge(row)
        self._miss()
        if not self._has_waited():
            return False
        self._finish(End.CANCELLED, "gone from the venue")
        return True

    async def _detail(self) -> OrderRow | None:
        """Its row. That of an order which can rest is in no hurry."""
        read = self._line.client.order_detail
        if self.terms.can_rest and not self._is_cancel_wanted:
            async with self._line.later():
                return await self._line.ask(read(order_id=self.venue_id))
        return await self._line.ask(read(order_id=self.venue_id))

    async def _judge(self, row: OrderRow) -> bool:
        """What an order's row says, once the trades it speaks of are known. A row older than them says nothing."""
        traded_lots = self._line.lots(self.terms.symbol, row.trade_qty)
        end = ENDS.get(row.status)
        if traded_lots != self.known_lots:
            await self._find_trades(is_short=traded_lots > self.known_lots)
            if end is None or not self._differs_for_long():
                return False
            self._line.err("orders", f"{self.wire_id}: {traded_lots} lots by its row, {self.known_lots} by its trades")
        self._short_looks, self._differs_since_ns = 0, 0
        if end is None:
            return self._is_steady(row)
        if self._is_expiring and end is End.CANCELLED:
            end = End.EXPIRED
        self._finish(end, row.status.lower())
        return True

    def _differs_for_long(self) -> bool:
        """Row and trades of an ended order differ while one lags; for the whole grace time: a trade was undone."""
        self._differs_since_ns = self._differs_since_ns or self._line.now_ns
        grace_ns = int(self._line.settings.not_found_grace_s * NS_PER_S)
        return self._line.now_ns - self._differs_since_ns >= grace_ns

    async def _find_trades(self, *, is_short: bool) -> None:
        """Trades that the newest do not show are asked for by their order."""
        self._short_looks += 1
        if not is_short or self._short_looks < SHORT_LOOKS_MAX:
            return
        try:
            await self._trades.read_order(self.terms.symbol, self.venue_id)
        except FAULTS:
            return

    def _is_steady(self, row: OrderRow) -> bool:
        """Whether an open order may be left alone until the next hint."""
        if self._amend is not None:
            self._see_amend(row)
        return not (self.terms.is_immediate or self._is_cancel_wanted or self._amend is not None)

    def _see_amend(self, row: OrderRow) -> None:
        assert self._amend is not None
        price_ticks, size_lots = self._amend
        symbol = self.terms.symbol
        self._amend_looks += 1
        has_price = row.price is not None and self._line.ticks(symbol, row.price) == price_ticks
        if has_price and self._line.lots(symbol, row.qty) == size_lots:
            self._amend = None
            self.terms = msgspec.structs.replace(self.terms, price_ticks=price_ticks, size_lots=size_lots)
            self._owner.on_moved(price_ticks, size_lots)
        elif self._amend_looks >= AMEND_LOOKS_MAX:
            self._give_up_amend("the venue did not move it")

    def _finish(self, end: End, reason: str) -> None:
        self.stage = Stage.OVER
        if self._amend is not None:
            self._give_up_amend("the order is over")
        self._owner.on_over(end, reason)
