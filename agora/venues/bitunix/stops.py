"""Stops: triggers at the venue. Each travels with its entry, so that the position is protected from its first lot on.

Where no trigger came with a fill, one is placed for what is bare. What a trigger sells or buys is an order of the
venue's own making, found by its trades.
"""

from __future__ import annotations

from collections.abc import Sequence

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Order
from agora.venues.bitunix.account import Account
from agora.venues.bitunix.brackets import Bracket, Leg
from agora.venues.bitunix.line import Line
from agora.venues.bitunix.order_terms import Terms
from agora.venues.bitunix.orders import WireOrder
from agora.venues.bitunix.trades import Trades, Unclear
from agora.venues.bitunix.triggers import Triggers
from agora.venues.bitunix.wire import OrderRow, TpslRow, TradeRow
from agora.venues.rest import Refused

# The trigger price is on the wrong side of the market already: what the stop was to prevent has happened.
PASSED = frozenset(range(30020, 30038))
# The venue makes an entry's stop in the moment of its fill; after this a position without one is bare.
BARE_NS = NS_PER_S
# A trigger's order is made as it fires.
SAME_MOMENT_MS = 100


class StopLeg(Leg):
    """A stop: triggers at the venue, whose child orders come under ids that we do not choose."""

    def __init__(self, line: Line, trades: Trades, order: Order, *, account: Account, bracket: Bracket) -> None:
        super().__init__(line, trades, order, account=account, bracket=bracket)
        self._trigger_ticks = order.trigger_ticks
        self._told_ticks = order.trigger_ticks
        # Triggers that were seen waiting.
        self._row_ids: set[str] = set()
        self._children: list[WireOrder] = []
        self._bare_since_ns = 0
        self._fired_ns = 0
        self._lost_since_ns = 0
        self._takes_any = False
        self._triggers = account.triggers
        self._triggers.stops[order.client_id] = order.planned_ts_ns

    def resume(self) -> None:
        """Go on after a restart: a trigger that is there may stand where we had just asked for."""
        self._takes_any = True
        self.start()

    def wires(self) -> Sequence[WireOrder]:
        """Its orders at the venue."""
        return self._children

    def amend(self, price_ticks: int, trigger_ticks: int) -> None:
        """It should trigger elsewhere."""
        del price_ticks  # A stop sells or buys at the market.
        self._trigger_ticks = trigger_ticks or self._trigger_ticks
        self._bell.ring()

    def adopt(self, trigger: TpslRow, row: OrderRow) -> WireOrder:
        """The order that a trigger of this stop has made."""
        self._triggers.spend(trigger.tpsl_id)
        terms = Terms(
            symbol=self.order.instrument,
            side=self.order.side,
            size_lots=self._line.lots(row.symbol, row.qty),
            order_type="MARKET",
            effect="IOC",
            reduce_only=True,
            is_immediate=True,
        )
        child = self._child("", terms)
        child.restore(venue_id=row.order_id, sent_ns=self._line.now_ns)
        self._begin(child)
        return child

    def has_fired(self, trigger: TpslRow) -> bool:
        """Whether that was a trigger of this stop which has made an order that nobody knows yet."""
        has_order = trigger.status == "FILLED" and not self._triggers.is_spent(trigger.tpsl_id)
        return has_order and self._is_mine(trigger)

    def misses(self, known: set[str]) -> bool:
        """Whether a trigger of this stop is neither waiting nor over: the venue's lists lag behind."""
        return bool(self._row_ids - known)

    def _begin(self, child: WireOrder) -> None:
        self._fired_ns = 0
        self._children.append(child)
        self._line.crew.start(child.run(), name=f"stop {self.client_id}")

    async def _rows(self) -> list[TpslRow]:
        """Its triggers that wait."""
        await self._line.calm()
        await self._triggers.read_waiting()
        rows = [row for row in self._triggers.waiting if row.symbol == self.order.instrument and self._is_mine(row)]
        self._row_ids |= {row.tpsl_id for row in rows}
        return rows

    def _is_mine(self, row: TpslRow) -> bool:
        """By its id, or by where it triggers: a trigger that came with the entry has an id that nobody told us."""
        owner = self._triggers.owner(row.tpsl_id)
        if row.sl_price is None or owner:
            return owner == self.client_id
        is_mine = self._line.ticks(row.symbol, row.sl_price) in (self.order.trigger_ticks, self._trigger_ticks)
        if is_mine:
            self._triggers.claim(row.tpsl_id, self.client_id)
        return is_mine

    def end(self, reason: str, *, is_expired: bool = False) -> None:
        """Tell that it protects no more."""
        self._triggers.stops.pop(self.client_id, None)
        super().end(reason, is_expired=is_expired)

    async def _work(self) -> bool:
        rows = await self._rows()
        if not await self._is_accounted_for({row.tpsl_id for row in rows}):
            return False
        self._children = [child for child in self._children if not child.is_over]
        if self._children:
            return True  # Its end rings.
        owed_lots = self._owed_lots()
        if self._is_cancel_wanted or (not owed_lots and self._bracket.is_entry_over):
            return await self._withdraw(rows)
        return await self._protect(rows, owed_lots)

    async def _is_accounted_for(self, live: set[str]) -> bool:
        """Whether it is known what became of triggers that are no more: fired ones have a child whose trades come."""
        gone = self._row_ids - live
        if not gone:
            return not self._is_waiting_for_child()
        await self._line.calm()
        await self._triggers.read_over()
        status = {row.tpsl_id: row.status for row in self._triggers.over}
        if any(status.get(tpsl_id, "NEW") == "NEW" for tpsl_id in gone) and not self._is_lost_for_long():
            return False
        self._lost_since_ns = 0
        self._row_ids -= gone
        if any(status.get(tpsl_id) == "FILLED" and not self._triggers.is_spent(tpsl_id) for tpsl_id in gone):
            self._fired_ns = self._line.now_ns
        await self._trades.sweep()
        return not self._is_waiting_for_child()

    def _is_lost_for_long(self) -> bool:
        """A trigger in no list: after the grace time it is taken as gone, and what is bare is protected anew."""
        if not self._lost_since_ns:
            self._lost_since_ns = self._line.now_ns
        return self._line.now_ns - self._lost_since_ns >= int(self._line.settings.not_found_grace_s * NS_PER_S)

    def _is_waiting_for_child(self) -> bool:
        """A fired trigger's order may not be visible yet; after the grace time it counts as never made."""
        grace_ns = int(self._line.settings.not_found_grace_s * NS_PER_S)
        return bool(self._fired_ns) and not self._children and self._line.now_ns - self._fired_ns < grace_ns

    async def _withdraw(self, rows: list[TpslRow]) -> bool:
        """Remove the triggers; over when none is left, and none can still come with the entry's last fill."""
        for row in rows:
            await self._line.ask(self._line.client.cancel_tpsl(row.symbol, row.tpsl_id))
        if rows or not self._is_bare_for_long():
            return False
        self.end("requested" if self._is_cancel_wanted else "nothing left to protect")
        return True

    def _is_bare_for_long(self) -> bool:
        """Whether no trigger was seen for longer than the venue needs to make one."""
        if not self._bare_since_ns:
            self._bare_since_ns = self._line.now_ns
        return self._line.now_ns - self._bare_since_ns >= BARE_NS

    async def _protect(self, rows: list[TpslRow], owed_lots: int) -> bool:
        """Let the triggers cover what is open, at the price that is wanted."""
        symbol = self.order.instrument
        # A row without a size closes whatever the position holds.
        covered = sum(owed_lots if row.sl_qty is None else self._line.lots(symbol, row.sl_qty) for row in rows)
        if covered < owed_lots:
            if self._is_bare_for_long() and not self._take_any():
                await self._place(owed_lots - covered)
            return False
        self._bare_since_ns = 0
        for row in rows:
            if row.sl_price is not None and self._line.ticks(symbol, row.sl_price) != self._trigger_ticks:
                await self._move(row)
                return False
        if self._told_ticks != self._trigger_ticks:
            self._told_ticks = self._trigger_ticks
            self.report_moved(trigger_ticks=self._trigger_ticks)
        return True

    def _take_any(self) -> bool:
        """After a restart: a trigger that belongs to nobody may be ours, where we had just asked for it to be moved."""
        if not self._takes_any:
            return False
        self._takes_any = False
        rows = [row for row in self._triggers.waiting if row.symbol == self.order.instrument and row.sl_price]
        strays = [row for row in rows if not self._triggers.owner(row.tpsl_id)]
        if strays:
            self._triggers.claim(strays[0].tpsl_id, self.client_id)
        return bool(strays)

    async def _place(self, lots: int) -> None:
        """A trigger for what is bare; where its price is passed already, the position is closed at once."""
        instrument = self._line.instruments[self.order.instrument]
        await self._line.calm()
        await self._account.read_positions()
        try:
            tpsl_id = await self._line.ask(
                self._line.client.place_tpsl(
                    symbol=instrument.symbol,
                    position_id=self._account.position_id(instrument.symbol),
                    sl_price=instrument.price_text(self._trigger_ticks),
                    sl_qty=instrument.size_text(lots),
                    sl_stop_type=self._line.settings.stop_price,
                )
            )
        except Refused as fault:
            self._line.err("orders", f"{self.client_id}: no stop was placed: {fault}")
            if fault.code in PASSED:
                self._close_now(lots)
        else:
            self._row_ids.add(tpsl_id)
            self._triggers.claim(tpsl_id, self.client_id)
            self._bare_since_ns = 0

    def _close_now(self, lots: int) -> None:
        terms = Terms(
            symbol=self.order.instrument,
            side=self.order.side,
            size_lots=lots,
            order_type="MARKET",
            effect="IOC",
            reduce_only=True,
            is_immediate=True,
        )
        self._begin(self._child(self._next_wire_id(), terms))

    async def _move(self, row: TpslRow) -> None:
        instrument = self._line.instruments[row.symbol]
        try:
            await self._line.ask(
                self._line.client.modify_tpsl(
                    row.tpsl_id,
                    sl_price=instrument.price_text(self._trigger_ticks),
                    sl_qty="" if row.sl_qty is None else instrument.size_text(self._line.lots(row.symbol, row.sl_qty)),
                    sl_stop_type=self._line.settings.stop_price,
                )
            )
        except Refused as fault:
            self._trigger_ticks = self._told_ticks
            self.report_not_moved(str(fault))


async def owner_of_child(
    triggers: Triggers, stops: list[StopLeg], *, row: TradeRow, detail: OrderRow
) -> WireOrder | None:
    """The child of a stop that a trade belongs to; None: nobody's here. An order with a client id is no child.

    Raises `Unclear` while the venue's lists of triggers do not fit together.
    """
    sames = [stop for stop in stops if (stop.order.instrument, stop.order.side) == (row.symbol, row.side)]
    if not sames or not row.reduce_only or row.client_id or detail.client_id:
        return None
    # What was read already is good enough for a trigger that is surely the one.
    sure = [pair for pair in _fired(triggers, sames) if _is_surely_of(pair[0], detail)]
    if len(sure) == 1:
        return sure[0][1].adopt(sure[0][0], detail)
    await triggers.read_over()
    fired = _fired(triggers, sames)
    if not fired:
        await triggers.read_waiting()
        known = {trigger.tpsl_id for trigger in (*triggers.waiting, *triggers.over)}
        if any(stop.misses(known) for stop in sames):
            raise Unclear(f"trade {row.trade_id} may be of a trigger that is in no list")
        return None
    trigger, stop = min(fired, key=lambda pair: _unlikeness(pair[0], detail))
    return stop.adopt(trigger, detail)


def _fired(triggers: Triggers, stops: list[StopLeg]) -> list[tuple[TpslRow, StopLeg]]:
    return [(trigger, stop) for trigger in triggers.over for stop in stops if stop.has_fired(trigger)]


def _is_surely_of(trigger: TpslRow, child: OrderRow) -> bool:
    """Whether an order is of the size and the moment of a trigger."""
    is_other_size, apart_ms = _unlikeness(trigger, child)
    return not is_other_size and apart_ms <= SAME_MOMENT_MS


def _unlikeness(trigger: TpslRow, child: OrderRow) -> tuple[bool, int]:
    """How little an order looks like that of a trigger: another size (the position was smaller), another moment."""
    return trigger.sl_qty not in (None, child.qty), abs(trigger.trigger_ms - child.ctime_ms)
