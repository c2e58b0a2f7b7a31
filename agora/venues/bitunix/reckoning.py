"""Answers the question what the venue holds, at the place in the stream of fills where it is true.

While the run trades nothing stands still for as long as the reading takes. So the run's own books are kept along
here, fill by fill: where a reading of the venue equals them, it is told before the next fill is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from agora.domain.events import Event, Funding, OrderFilled, Reconcile
from agora.venues.bitunix.account import Account, Held
from agora.venues.bitunix.crew import Bell
from agora.venues.bitunix.line import FAULTS, Line
from agora.venues.bitunix.order_terms import Stage
from agora.venues.bitunix.orders import WireOrder
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.wire import OrderRow

# Quick readings before one is made that waits until nothing moves.
GLANCES_MAX = 8
# Looks at orders that the account shows otherwise than we know them, before it is told as it is.
SETTLING_LOOKS_MAX = 4


class HeldOrder(Protocol):
    """An order of the run."""

    @property
    def client_id(self) -> str:
        """The run's name of it."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether more of it may trade."""
        ...

    def wires(self) -> Iterable[WireOrder]:
        """Its orders at the venue."""
        ...


class Reckoning:
    """Questions and answers about the account. `orders` gives the orders of the run, by client id."""

    def __init__(
        self, line: Line, trades: Trades, account: Account, *, orders: Callable[[], Mapping[str, HeldOrder]]
    ) -> None:
        self._line = line
        self._trades = trades
        self._account = account
        self._orders = orders
        self._question = Bell()
        self._asked_ns = 0
        self._glance: Held | None = None
        self._glance_asked_ns = 0

    def ask(self, ts_ns: int) -> None:
        """The run wants to know."""
        self._asked_ns = max(self._asked_ns, ts_ns)
        self._question.ring()

    def before(self, event: Event) -> Reconcile | None:
        """A fill or a settlement is about to be told: what has to be told before it."""
        if not isinstance(event, OrderFilled | Funding):
            return None
        answer = self._answer_if_true()
        self._account.books.note(event)
        return answer

    async def run(self) -> None:
        """One reading at a time; a question that comes meanwhile is answered by the next."""
        while True:
            await self._question.wait(None)
            asked_ns = self._asked_ns
            for pause in self._line.pauses():
                try:
                    await self._answer(asked_ns)
                except FAULTS:
                    self._glance = None
                    await asyncio.sleep(pause)
                    continue
                break

    async def _answer(self, asked_ns: int) -> None:
        """Tell what the venue holds: where it equals our books, or, if it never does, as it stands."""
        orders = await self._settled_orders()
        for _ in range(GLANCES_MAX):
            with self._line.urgently():
                await self._trades.sweep()
                self._glance, self._glance_asked_ns = await self._account.glance(orders), asked_ns
                await self._trades.sweep()
            answer = self._answer_if_true()
            if answer is not None:
                self._line.tell(answer)
            if answer is not None or self._is_answered():
                return
        self._glance = None
        self._line.tell(msgspec.structs.replace(await self.reading(), asked_ts_ns=asked_ns))

    def _is_answered(self) -> bool:
        """Whether the last reading was told before a fill that came meanwhile."""
        return self._glance is None

    def _answer_if_true(self) -> Reconcile | None:
        """The last reading, if it is what our books say now."""
        held = self._glance
        if held is None or not self._account.books.agree(held.positions, cash_units=held.cash_units):
            return None
        self._glance = None
        return msgspec.structs.replace(self._reconcile(held), asked_ts_ns=self._glance_asked_ns)

    async def reading(self) -> Reconcile:
        """What the venue holds, read until nothing moves meanwhile."""
        await self._settled_orders()
        return self._reconcile(await self._account.held())

    def _reconcile(self, held: Held) -> Reconcile:
        return Reconcile(
            ts_ns=self._line.now_ns,
            positions=held.positions,
            open_client_ids=self._open_ids(held.orders),
            cash_units=held.cash_units,
        )

    async def _settled_orders(self) -> list[OrderRow]:
        """The open orders, once those of ours that are not among them any more were looked at."""
        for _ in range(SETTLING_LOOKS_MAX):
            rows = await self._line.ask(self._line.client.pending_orders())
            missing = self.missing(rows)
            if not missing:
                break
            for wire in missing:
                wire.hint()
            await asyncio.sleep(self._line.settings.look_s_min)
        return rows

    def missing(self, rows: Sequence[OrderRow]) -> list[WireOrder]:
        """Orders of ours that work as far as we know, and are not among the open ones."""
        shown = {row.order_id for row in rows}
        wires = [wire for order in self._orders().values() for wire in order.wires()]
        return [wire for wire in wires if wire.stage is Stage.WORKING and wire.venue_id not in shown]

    def _open_ids(self, rows: Sequence[OrderRow]) -> tuple[str, ...]:
        """Ours that may trade, in doubt or not, and what else is open at the venue."""
        orders = self._orders()
        ids = {order.client_id: None for order in orders.values() if order.is_open}
        for row in rows:
            taker = self._trades.find(venue_id=row.order_id, wire_id=row.client_id)
            if taker is not None and self._trades.find(venue_id=row.order_id) is None:
                taker.learn(row.order_id)
            if taker is None or taker.is_over:
                ids[row.client_id if row.client_id in orders else f"foreign-{row.order_id}"] = None
        return tuple(ids)
