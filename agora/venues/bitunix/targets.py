"""Targets: resting orders of ours that can only reduce, placed when the entry fills, and grown with it."""

from __future__ import annotations

from collections.abc import Sequence

from agora.domain.orders import Order
from agora.venues.bitunix.account import Account
from agora.venues.bitunix.brackets import Bracket, Leg
from agora.venues.bitunix.line import Line
from agora.venues.bitunix.order_terms import Stage, Terms
from agora.venues.bitunix.orders import WireOrder
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.wire import TradeRow

# A target that is refused so often in a row is not possible here.
REFUSALS_MAX = 3


class TargetLeg(Leg):
    """A target: a resting order of ours that can only reduce, as large as what the entry has filled."""

    def __init__(self, line: Line, trades: Trades, order: Order, *, account: Account, bracket: Bracket) -> None:
        super().__init__(line, trades, order, account=account, bracket=bracket)
        self._price_ticks = order.price_ticks
        self._child_order: WireOrder | None = None
        self._refusals = 0
        self._placed = 0
        self._is_searching = False
        self._was_asleep = False
        self._told_at_refusal = -1
        trades.register(order.client_id, self)

    def resume(self) -> None:
        """Go on after a restart: what of ours rests there is looked for before anything is placed."""
        self._is_searching, self._was_asleep = True, self.is_asleep
        self.start()

    def wires(self) -> Sequence[WireOrder]:
        """Its orders at the venue."""
        return [] if self._child_order is None else [self._child_order]

    def amend(self, price_ticks: int, trigger_ticks: int) -> None:
        """It should have another price."""
        del trigger_ticks
        self._price_ticks = price_ticks or self._price_ticks
        if self._is_working():
            self._bell.ring()
        else:
            self.report_moved(price_ticks=self._price_ticks)

    # Trades under the leg's own id (protocol `Taker`).

    def learn(self, venue_id: str) -> None:
        """Its order was seen at the venue."""
        if self._child_order is not None:
            self._child_order.learn(venue_id)

    def take(self, row: TradeRow) -> None:
        """A trade of it."""
        if self._child_order is not None and self._child_order.venue_id == row.order_id:
            self._child_order.take(row)
        else:
            self.on_trade(row, self._line.lots(row.symbol, row.qty))

    def _is_working(self) -> bool:
        return self._child_order is not None and not self._child_order.is_over

    def _terms(self, lots: int) -> Terms:
        return Terms(
            symbol=self.order.instrument,
            side=self.order.side,
            size_lots=lots,
            order_type="LIMIT",
            effect="GTC",
            price_ticks=self._price_ticks,
            reduce_only=True,
        )

    async def _work(self) -> bool:
        if self._is_searching:
            await self._search()
            return False
        owed_lots = self._owed_lots()
        child = self._child_order if self._is_working() else None
        if self._is_cancel_wanted or not owed_lots:
            return self._withdraw(child)
        if self._refusals >= REFUSALS_MAX:
            self.end("refused by the venue")
            return True
        if child is None and self._told_at_refusal == self._trades.told:
            return True  # The venue has no such position: one of us will hear of a trade.
        if child is None:
            self._place(owed_lots)
            return False
        if child.stage is not Stage.WORKING:
            return False
        wanted = (self._price_ticks, max(child.terms.size_lots, child.known_lots + owed_lots))
        if wanted != (child.terms.price_ticks, child.terms.size_lots):
            child.amend(*wanted)
        return True

    async def _search(self) -> None:
        """Take up the order of an earlier life, whatever has become of it.

        If that life had reason to place one and none is found, it may still be on its way: it is in doubt.
        """
        client, symbol = self._line.client, self.order.instrument
        rows = [row for row in await self._line.ask(client.pending_orders(symbol)) if self._is_mine(row.client_id)]
        row = max(rows, key=lambda each: each.client_id, default=None)
        if row is None:
            row = await self._line.ask(client.order_detail(client_id=self.client_id))
        self._is_searching = False
        if row is None and self._was_asleep:
            return
        lots = self._bracket.open_lots if row is None else self._line.lots(row.symbol, row.qty)
        self._child_order = child = self._child(self.client_id if row is None else row.client_id, self._terms(lots))
        child.restore(venue_id=self.order.venue_id if row is None else row.order_id, sent_ns=self.order.planned_ts_ns)
        self._placed = 1
        self._line.crew.start(child.run(), name=f"target {self.client_id}")

    def _is_mine(self, client_id: str) -> bool:
        return client_id == self.client_id or client_id.startswith(f"{self.client_id}-")

    def _withdraw(self, child: WireOrder | None) -> bool:
        """Its order goes first; the leg ends when the entry can open nothing more for it."""
        if child is not None:
            child.cancel()
        elif self._is_cancel_wanted or self._bracket.is_entry_over:
            self.end("requested" if self._is_cancel_wanted else "nothing left to close")
        return True

    def _place(self, lots: int) -> None:
        """The first order has the leg's own id: it is the one that was announced."""
        wire_id = self._next_wire_id() if self._placed else self.client_id
        self._placed += 1
        terms = self._terms(lots)
        self._child_order = self._child(wire_id, terms)
        self._line.crew.start(self._child_order.run(), name=f"target {self.client_id}")

    def on_accepted(self, venue_id: str, latency_ns: int) -> None:
        """Its order is at the venue."""
        self._refusals = 0
        super().on_accepted(venue_id, latency_ns)

    def on_refused(self, reason: str) -> None:
        """Its order was refused; where the venue's position is not what we think, until there is news."""
        if self._child_order is not None and self._child_order.is_not_as_we_think:
            self._told_at_refusal = self._trades.told
        else:
            self._refusals += 1
        super().on_refused(reason)

    def on_moved(self, price_ticks: int, size_lots: int) -> None:
        """Its order has another price or size."""
        del size_lots
        if price_ticks != self.order.price_ticks:
            self.order.price_ticks = price_ticks
            self.report_moved(price_ticks=price_ticks)
        self._bell.ring()

    def on_not_moved(self, reason: str) -> None:
        """Its order stays as it was; a wish of the run is given up, a larger size is asked for again."""
        if self._price_ticks != self.order.price_ticks:
            self._price_ticks = self.order.price_ticks
            self.report_not_moved(reason)
