"""Orders of the run at the venue: what became of each goes into the run's queue under its own client id."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agora.domain.events import (
    OrderAccepted,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelled,
    OrderExpired,
    OrderRejected,
    OrderUnknown,
)
from agora.domain.orders import Order, OrderType, TimeInForce
from agora.venues.bitunix.line import Line
from agora.venues.bitunix.order_terms import End, Stage, Terms
from agora.venues.bitunix.orders import WireOrder
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.wire import TradeRow

_EFFECTS = {TimeInForce.GTC: "GTC", TimeInForce.GTD: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}


class Reported:
    """What all orders of the run have in common. `told_lots`: what the run knows to be filled."""

    def __init__(self, line: Line, trades: Trades, order: Order) -> None:
        self.order = msgspec.structs.replace(order)
        self.told_lots = order.filled_lots
        self.is_accepted = bool(order.venue_id)
        self.is_over = False
        # Called whenever something about it has changed: the legs of a bracket listen to their entry.
        self.listeners: list[Callable[[], None]] = []
        self._line = line
        self._trades = trades

    @property
    def client_id(self) -> str:
        """The run's name of it."""
        return self.order.client_id

    @property
    def is_open(self) -> bool:
        """Whether more of it may trade."""
        return not self.is_over and self.told_lots < self.order.size_lots

    def accept(self, venue_id: str = "", latency_ns: int = 0) -> None:
        """Tell that the venue has it; again once its id there is known."""
        self.is_accepted = True
        self._line.tell(
            OrderAccepted(ts_ns=self._line.now_ns, client_id=self.client_id, venue_id=venue_id, latency_ns=latency_ns)
        )
        self.changed()

    def report_trade(self, row: TradeRow, lots: int) -> None:
        """Tell a trade."""
        self.told_lots += lots
        self._trades.tell(row, client_id=self.client_id, purpose=self.order.purpose)
        self.changed()

    def end(self, reason: str, *, is_expired: bool = False) -> None:
        """Tell that no more of it will trade; a filled order has said so by its trades."""
        self.is_over = True
        if self.told_lots < self.order.size_lots:
            now_ns = self._line.now_ns
            self._line.tell(
                OrderExpired(ts_ns=now_ns, client_id=self.client_id)
                if is_expired
                else OrderCancelled(ts_ns=now_ns, client_id=self.client_id, reason=reason)
            )
        self.changed()

    def reject(self, reason: str) -> None:
        """Tell that the venue has it not."""
        self.is_over = True
        self._line.tell(OrderRejected(ts_ns=self._line.now_ns, client_id=self.client_id, reason=reason))
        self.changed()

    def report_moved(self, *, price_ticks: int = 0, trigger_ticks: int = 0) -> None:
        """Tell that the venue has moved it."""
        self._line.tell(
            OrderAmended(
                ts_ns=self._line.now_ns,
                client_id=self.client_id,
                price_ticks=price_ticks,
                trigger_ticks=trigger_ticks,
            )
        )

    def report_not_moved(self, reason: str) -> None:
        """Tell that it stays as it was."""
        self._line.tell(OrderAmendRejected(ts_ns=self._line.now_ns, client_id=self.client_id, reason=reason))

    def changed(self) -> None:
        """Let the listeners look."""
        for listener in self.listeners:
            listener()


class PlainOrder(Reported):
    """A limit or market order: one order of the run, one at the venue."""

    def __init__(self, line: Line, trades: Trades, order: Order) -> None:
        super().__init__(line, trades, order)
        self.wire = WireOrder(line, trades, self, wire_id=order.client_id, terms=terms_of(order))
        trades.register(order.client_id, self.wire)

    def attach_stop(self, trigger_ticks: int) -> None:
        """Let a stop travel with it, if it has not left yet; a stop that comes later is placed when it fills."""
        self.wire.terms = msgspec.structs.replace(self.wire.terms, stop_ticks=trigger_ticks)

    def start(self) -> None:
        """Begin; from now on everything happens in the background."""
        self._line.crew.start(self.wire.run(), name=f"order {self.client_id}")

    def resume(self) -> None:
        """Go on after a restart of the run."""
        order = self.order
        sent_ns = max(order.planned_ts_ns, order.changed_ts_ns)
        self.wire.restore(venue_id=order.venue_id, sent_ns=sent_ns)
        self.start()

    def remember(self) -> None:
        """It ended in an earlier life of the run; a trade of it that comes late is still its own."""
        self.is_over = True
        self.wire.restore(venue_id=self.order.venue_id, sent_ns=0)
        self.wire.stage = Stage.OVER

    def wires(self) -> list[WireOrder]:
        """Its order at the venue."""
        return [self.wire]

    def hint(self) -> None:
        """Something about it may have changed."""
        self.wire.hint()

    def cancel(self) -> None:
        """It should not trade any more."""
        self.wire.cancel()

    def amend(self, price_ticks: int, trigger_ticks: int) -> None:
        """It should have another price."""
        del trigger_ticks  # An order without a trigger.
        self.wire.amend(price_ticks or self.wire.terms.price_ticks, self.wire.terms.size_lots)

    # What the venue says (protocol `Owner`).

    def on_accepted(self, venue_id: str, latency_ns: int) -> None:
        """The venue has it."""
        self.accept(venue_id, latency_ns)

    def on_doubt(self, reason: str) -> None:
        """Whether the venue has it is unknown."""
        self._line.tell(OrderUnknown(ts_ns=self._line.now_ns, client_id=self.client_id, reason=reason))

    def on_refused(self, reason: str) -> None:
        """The venue has it not."""
        self.reject(reason)

    def on_back(self) -> None:
        """It is at the venue after all."""
        self.is_over = False
        self._line.err("orders", f"{self.client_id} was not found for the whole grace time and is at the venue")

    def on_trade(self, row: TradeRow, lots: int) -> None:
        """So much of it traded."""
        self.report_trade(row, lots)

    def on_over(self, end: End, reason: str) -> None:
        """It trades no more."""
        self.end(reason, is_expired=end is End.EXPIRED)

    def on_moved(self, price_ticks: int, size_lots: int) -> None:
        """It has another price."""
        del size_lots
        self.report_moved(price_ticks=price_ticks)

    def on_not_moved(self, reason: str) -> None:
        """It stays as it was."""
        self.report_not_moved(reason)


def terms_of(order: Order) -> Terms:
    """An order of the run in the venue's words. The venue knows no end times: such an order is cancelled by us."""
    is_market = order.type is OrderType.MARKET
    return Terms(
        symbol=order.instrument,
        side=order.side,
        size_lots=order.size_lots,
        order_type="MARKET" if is_market else "LIMIT",
        effect="POST_ONLY" if order.post_only else _EFFECTS[order.time_in_force],
        price_ticks=0 if is_market else order.price_ticks,
        reduce_only=order.reduce_only,
        is_immediate=is_market or order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK),
        expire_ts_ns=order.expire_ts_ns if order.time_in_force is TimeInForce.GTD else 0,
    )
