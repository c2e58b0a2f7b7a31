"""Stops and targets that protect an entry: they sleep until it fills, and work for what of it is still open.

When one of them has closed the position the other is withdrawn. `stops` and `targets` say how each works.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from agora.domain.numbers import NS_PER_MS
from agora.domain.orders import Order, Side
from agora.venues.bitunix.account import Account
from agora.venues.bitunix.crew import Bell
from agora.venues.bitunix.line import FAULTS, Line
from agora.venues.bitunix.order_terms import End, Terms
from agora.venues.bitunix.orders import WireOrder
from agora.venues.bitunix.reports import Reported
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.wire import TradeRow


class Bracket:
    """An entry and its legs. An entry that has ended long ago is known by what it filled."""

    def __init__(self, *, entry: Reported | None, filled_lots: int = 0) -> None:
        self.entry = entry
        self.stop: Leg | None = None
        self.target: Leg | None = None
        self._filled_lots = filled_lots
        self._closed_by_others = 0

    @property
    def filled_lots(self) -> int:
        """What the entry has bought or sold."""
        return self._filled_lots if self.entry is None else self.entry.told_lots

    @property
    def open_lots(self) -> int:
        """What of it neither the legs nor others have closed."""
        closed_lots = sum(leg.told_lots for leg in (self.stop, self.target) if leg is not None)
        return max(0, self.filled_lots - closed_lots - self._closed_by_others)

    def is_of(self, symbol: str, side: int) -> bool:
        """Whether its entry is of that side of that symbol."""
        leg = self.stop or self.target
        return leg is not None and leg.order.instrument == symbol and -leg.order.side == side

    def leave(self, lots: int) -> int:
        """No more of it than that is still there: others have closed the rest, for good. Returns what is open."""
        self._closed_by_others += max(0, self.open_lots - lots)
        return self.open_lots

    @property
    def is_accepted(self) -> bool:
        """Whether the venue has the entry."""
        return self.entry is None or self.entry.is_accepted or self.entry.told_lots > 0

    @property
    def is_entry_over(self) -> bool:
        """Whether the entry will not fill any more."""
        return self.entry is None or not self.entry.is_open

    def client_ids(self, parent: str) -> set[str]:
        """The run's names of its entry and legs."""
        return {parent, *(leg.client_id for leg in (self.stop, self.target) if leg is not None)}

    def ring(self) -> None:
        """Let the legs look."""
        for leg in (self.stop, self.target):
            if leg is not None:
                leg.hint()


def net(brackets: Sequence[Bracket], symbol: str, *, position_lots: int) -> None:
    """Let entries in the order of their sending, the newest last, have no more open than the position is.

    On one position an order of the other side closes what was opened first; what is closed needs no legs, also when
    the position grows again.
    """
    for side in (Side.BUY, Side.SELL):
        left_lots = max(0, position_lots * side)
        for bracket in reversed(brackets):
            if bracket.is_of(symbol, side):
                left_lots -= bracket.leave(left_lots)


class Leg(Reported, ABC):
    """What stop and target have in common: asleep until the entry fills, over when nothing is left to close."""

    def __init__(self, line: Line, trades: Trades, order: Order, *, account: Account, bracket: Bracket) -> None:
        super().__init__(line, trades, order)
        self.is_accepted = order.is_open and order.status not in ("planned", "sent", "unknown")
        self._account = account
        self._bracket = bracket
        self._bell = Bell()
        self._is_cancel_wanted = False

    def start(self) -> None:
        """Begin; from now on everything happens in the background."""
        self._line.crew.start(self._run(), name=f"leg {self.client_id}")

    def hint(self) -> None:
        """Something about it may have changed."""
        self._bell.ring()

    def cancel(self) -> None:
        """It should protect no more."""
        self._is_cancel_wanted = True
        self._bell.ring()

    @property
    def is_asleep(self) -> bool:
        """Whether there is nothing yet that it could close."""
        return self._bracket.filled_lots == 0

    async def _run(self) -> None:
        pauses: Iterator[float] | None = None
        wait_s: float | None = 0.0
        while not self.is_over:
            if await self._bell.wait(wait_s):
                pauses = None
            if await self._look_safely():
                pauses, wait_s = None, None
            else:
                pauses = pauses or self._line.pauses()
                wait_s = next(pauses)

    async def _look_safely(self) -> bool:
        try:
            return await self._look()
        except FAULTS:
            return False

    async def _look(self) -> bool:
        """Whether nothing more is to be done without a hint."""
        if not self.is_accepted and self._bracket.is_accepted:
            self.accept()
        if self.is_asleep:
            if self._bracket.is_entry_over:
                self.end("its entry is gone")
            return True
        if self.told_lots >= self.order.size_lots:
            self.end("filled")
            return True
        return await self._work()

    @abstractmethod
    async def _work(self) -> bool:
        """Look while awake: whether nothing more is to be done without a hint."""

    def _owed_lots(self) -> int:
        """What there is to close: of what the entry opened, as much as the position still has."""
        position_lots = -self.order.side * self._account.books.lots(self.order.instrument)
        return max(0, min(self._bracket.open_lots, position_lots))

    # What orders under this leg say (protocol `Owner`).

    def on_accepted(self, venue_id: str, latency_ns: int) -> None:
        """Its order is at the venue."""
        self.accept(venue_id, latency_ns)

    def on_doubt(self, reason: str) -> None:
        """Whether its order is at the venue is unknown; it counts as working all the same."""
        self._line.err("orders", f"{self.client_id}: {reason}")

    def on_refused(self, reason: str) -> None:
        """Its order was refused; the next look finds that nothing works."""
        if not any(wire.is_not_as_we_think for wire in self.wires()):
            self._line.err("orders", f"{self.client_id}: {reason}")

    @abstractmethod
    def wires(self) -> Sequence[WireOrder]:
        """Its orders at the venue."""

    def on_back(self) -> None:
        """Its order is at the venue after all."""
        self.is_over = False

    def on_trade(self, row: TradeRow, lots: int) -> None:
        """So much of it traded."""
        self.report_trade(row, lots)
        self._bracket.ring()

    def on_over(self, end: End, reason: str) -> None:
        """Its order is done; whether the leg is, shows what is left to close."""
        del end, reason
        self._bell.ring()

    def on_moved(self, price_ticks: int, size_lots: int) -> None:
        """Its order has changed."""

    def on_not_moved(self, reason: str) -> None:
        """Its order stays as it was."""

    def _child(self, wire_id: str, terms: Terms) -> WireOrder:
        """An order at the venue under this leg."""
        wire = WireOrder(self._line, self._trades, self, wire_id=wire_id, terms=terms)
        if wire_id and wire_id != self.client_id:
            self._trades.register(wire_id, wire)
        return wire

    def _next_wire_id(self) -> str:
        """A client id of a further order of this leg: the venue takes each only once, also after a restart."""
        return f"{self.client_id}-{self._line.now_ns // NS_PER_MS:x}"
