"""What pushes are good for: they say where to look. They may be late, lost, repeated or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from agora.venues.bitunix.account import Account
from agora.venues.bitunix.crew import Bell
from agora.venues.bitunix.line import FAULTS, Line
from agora.venues.bitunix.reckoning import Reckoning
from agora.venues.bitunix.stream import Push
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.wire import OrderPush, PositionPush

# An order with such a status may trade on; every other is looked at.
OPEN = frozenset(("INIT", "NEW", "PART_FILLED"))


class Due(Enum):
    """What is to be read."""

    TRADES = auto()
    POSITIONS = auto()
    ORDERS = auto()


class Hints:
    """Turns pushes into as few reads as they need. `ring_legs` lets all stops and targets look."""

    def __init__(
        self, line: Line, trades: Trades, account: Account, *, reckoning: Reckoning, ring_legs: Callable[[], None]
    ) -> None:
        self._line = line
        self._trades = trades
        self._account = account
        self._reckoning = reckoning
        self._ring_legs = ring_legs
        self._bell = Bell()
        self._due: set[Due] = set()
        self._funding: dict[str, str] = {}

    def hear(self, push: Push) -> None:
        """A push of the account's stream."""
        if push.symbol not in self._line.instruments:
            self._read(Due.TRADES)
        elif isinstance(push, OrderPush):
            self._hear_order(push)
        elif isinstance(push, PositionPush):
            self._hear_position(push)
        else:
            self._ring_legs()

    def on_gap(self) -> None:
        """Pushes may be missing: everything is looked at."""
        self._read(*Due)

    def _hear_order(self, push: OrderPush) -> None:
        """Of an open order that is known only its trades can be news."""
        taker = self._trades.find(venue_id=push.order_id, wire_id=push.client_id)
        if taker is None:
            self._read(Due.TRADES)
        elif self._trades.find(venue_id=push.order_id) is None or push.status not in OPEN:
            taker.learn(push.order_id)
        elif self._line.lots(push.symbol, push.dealt) != self._trades.seen_lots(push.order_id):
            self._read(Due.TRADES)

    def _hear_position(self, push: PositionPush) -> None:
        funding = str(push.funding)
        if self._funding.get(push.symbol) != funding:
            self._funding[push.symbol] = funding
            self._read(Due.POSITIONS)
        if self._line.lots(push.symbol, push.qty) * push.side != self._account.books.lots(push.symbol):
            self._read(Due.TRADES)

    def _read(self, *dues: Due) -> None:
        self._due.update(dues)
        self._bell.ring()

    async def run(self) -> None:
        """Read what is due, until it is done."""
        while True:
            await self._bell.wait(None)
            for pause in self._line.pauses():
                try:
                    await self._read_due()
                except FAULTS:
                    await asyncio.sleep(pause)
                else:
                    break

    async def _read_due(self) -> None:
        dues, self._due = self._due, set()
        try:
            if Due.TRADES in dues:
                await self._trades.sweep()
            if Due.POSITIONS in dues:
                await self._account.read_positions()
            if Due.ORDERS in dues:
                await self._look_at_orders()
        except FAULTS:
            self._due |= dues
            raise

    async def _look_at_orders(self) -> None:
        """Those that are not among the open ones any more, and all stops and targets."""
        for wire in self._reckoning.missing(await self._line.ask(self._line.client.pending_orders())):
            wire.hint()
        self._ring_legs()

    async def keep_vigil(self) -> None:
        """Stops and targets protect: they are looked at also when nothing is heard, all of them at one time."""
        while True:
            await asyncio.sleep(self._line.settings.vigil_s)
            self._ring_legs()
