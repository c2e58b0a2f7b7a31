"""The account's trades, each told once and in the venue's order: profit depends on the order of fills.

Read from shortly before the newest known one, so that a trade that shows up late is still found; what was told is
known by the venue's trade ids. Each trade belongs to an order of ours, to a stop of ours, or to a foreign hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from agora.domain.errors import Transient
from agora.domain.events import OrderFilled
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Purpose, Side
from agora.venues.bitunix.crew import SharedRead
from agora.venues.bitunix.line import Line, fee_units
from agora.venues.bitunix.wire import OrderRow, TradeRow

# Trades of minutes at the largest order rate; older ones are not read again.
TRADE_IDS_KEPT = 10_000
# Ended orders remembered for trades that come late: those of an hour of busy trading.
ENDED_KEPT = 1_000


class Unclear(Transient):
    """Whose trade it is cannot be told yet."""


class Taker(Protocol):
    """An order that trades can belong to."""

    @property
    def is_over(self) -> bool:
        """Whether it is only remembered."""
        ...

    def learn(self, venue_id: str) -> None:
        """It was seen at the venue under this id."""
        ...

    def take(self, row: TradeRow) -> None:
        """A trade of it."""
        ...


# Whose trade it is, if the order behind it has no id of ours: a stop's child, or nobody's (None).
Claim = Callable[[TradeRow, OrderRow], Awaitable[Taker | None]]


class Trades:
    """Reads trades and hands each to its order. `sweep` returns when a read that began after the call is done."""

    def __init__(self, line: Line) -> None:
        self.sweep = SharedRead(self._sweep, gap_s=line.settings.read_gap_s)
        self.claim: Claim = _nobody
        self.told = 0
        self._line = line
        self._telling = asyncio.Lock()
        self._by_venue_id: dict[str, Taker] = {}
        self._by_wire_id: dict[str, Taker] = {}
        # Trades that the run knows, and trades that were counted for their orders (which a restart forgets).
        self._known: dict[str, None] = {}
        self._counted: dict[str, None] = {}
        self._lots: dict[str, int] = {}
        self._floor_ms = 0
        self._cursor_ms = 0
        self._misses: dict[str, tuple[int, int]] = {}

    def resume(self, since_ns: int, *, floor_ns: int, known: Iterable[str]) -> None:
        """Begin to read at `since_ns`; nothing before `floor_ns` is ours to tell, nor what is known."""
        floor_ns -= int(self._line.settings.clock_skew_s_max * NS_PER_S)
        self._cursor_ms = self._line.venue_ms(since_ns)
        self._floor_ms = self._line.venue_ms(floor_ns)
        self._known = dict.fromkeys(known)

    async def begin(self) -> None:
        """Begin a new run now: what was traded so far belongs to nobody here."""
        self._cursor_ms = self._line.venue_ms(self._line.now_ns)
        for row in await self._rows():
            self._note(row)

    def register(self, wire_id: str, taker: Taker) -> None:
        """An order of ours may appear under this client id."""
        self._by_wire_id[wire_id] = taker
        if len(self._by_wire_id) > 2 * ENDED_KEPT:
            self._by_wire_id = _without_old(self._by_wire_id)
            self._by_venue_id = _without_old(self._by_venue_id)
            self._lots = {name: lots for name, lots in self._lots.items() if name in self._by_venue_id}

    def bind(self, venue_id: str, taker: Taker) -> None:
        """The venue knows an order of ours under this id."""
        self._by_venue_id[venue_id] = taker

    def find(self, *, venue_id: str, wire_id: str = "") -> Taker | None:
        """Whose order that is."""
        known = self._by_venue_id.get(venue_id) or self._by_wire_id.get(wire_id)
        # A further order of a leg has the leg's id with an ending.
        return known or self._by_wire_id.get(wire_id.rpartition("-")[0])

    def seen_lots(self, venue_id: str) -> int:
        """How much of an order has traded, by the trades that were read in this life of the run."""
        return self._lots.get(venue_id, 0)

    async def read_order(self, symbol: str, venue_id: str) -> None:
        """Tell and count the trades of one order, however old."""
        rows = await self._line.ask(self._line.client.trades(symbol, order_id=venue_id))
        await self._tell([row for row in rows if row.order_id == venue_id])

    async def _rows(self) -> list[TradeRow]:
        start_ms = self._cursor_ms - int(self._line.settings.overlap_s * 1_000)
        return list(await self._line.ask(self._line.client.trades(start_ms=start_ms)))

    async def _sweep(self) -> None:
        with self._line.urgently():
            await self._tell(await self._rows())

    async def _tell(self, rows: list[TradeRow]) -> None:
        """One after the other, also when several have read: a trade may wait until its order is known."""
        async with self._telling:
            for row in sorted(rows, key=_in_order):
                if row.trade_id in self._known:
                    self._count(row)
                elif row.ctime_ms >= self._floor_ms:
                    await self._tell_one(row)

    async def _tell_one(self, row: TradeRow) -> None:
        if row.symbol not in self._line.instruments:
            self._line.err("account", f"a trade of {row.symbol}, which this run does not trade: {row.trade_id}")
            self._note(row)
            return
        taker = await self._owner(row)
        self._note(row)
        self._count(row)
        self.told += 1
        if taker is None:
            self._tell_foreign(row)
        else:
            taker.take(row)

    def _note(self, row: TradeRow) -> None:
        self._known[row.trade_id] = None
        self._cursor_ms = max(self._cursor_ms, row.ctime_ms)
        _forget_oldest(self._known)

    def _count(self, row: TradeRow) -> None:
        if row.trade_id not in self._counted and row.symbol in self._line.instruments:
            self._counted[row.trade_id] = None
            self._lots[row.order_id] = self.seen_lots(row.order_id) + self._line.lots(row.symbol, row.qty)
            _forget_oldest(self._counted)

    async def _owner(self, row: TradeRow) -> Taker | None:
        """Whose trade it is; None: nobody's here. Raises `Unclear` while that cannot be told."""
        taker = self.find(venue_id=row.order_id, wire_id=row.client_id)
        if taker is None:
            try:
                taker = await self._search(row)
            except Unclear:
                if self._may_come(row.order_id):
                    raise
        if taker is not None and row.order_id not in self._by_venue_id:
            taker.learn(row.order_id)
        return taker

    async def _search(self, row: TradeRow) -> Taker | None:
        detail = await self._line.ask(self._line.client.order_detail(order_id=row.order_id))
        if detail is None:
            raise Unclear(f"trade {row.trade_id} is of order {row.order_id}, which the venue does not show yet")
        taker = self.find(venue_id=row.order_id, wire_id=detail.client_id)
        return taker or await self.claim(row, detail)

    def _may_come(self, venue_id: str) -> bool:
        """Whether an order that was not found may yet be: until enough reads in the grace time have not found it."""
        settings = self._line.settings
        now_ns = self._line.now_ns
        count, first_ns = self._misses.pop(venue_id, (0, now_ns))
        if count >= settings.not_found_reads_min and now_ns - first_ns >= int(settings.not_found_grace_s * NS_PER_S):
            return False
        self._misses[venue_id] = (count + 1, first_ns)
        return True

    def _tell_foreign(self, row: TradeRow) -> None:
        """A trade that we did not ask for: of the venue itself when it closes, else of another hand."""
        purpose = Purpose.LIQUIDATION if row.reduce_only and not row.client_id else Purpose.FOREIGN
        self.tell(row, client_id=f"foreign-{row.order_id}", purpose=purpose)

    def tell(self, row: TradeRow, *, client_id: str, purpose: Purpose) -> None:
        """Put a trade into the queue of the run."""
        line = self._line
        self._line.tell(
            OrderFilled(
                ts_ns=line.now_ns,
                client_id=client_id,
                venue_id=row.order_id,
                venue_fill_id=row.trade_id,
                instrument=row.symbol,
                side=Side(row.side).word,
                purpose=purpose,
                fill_price_ticks=line.ticks(row.symbol, row.price),
                fill_size_lots=line.lots(row.symbol, row.qty),
                fee_units=fee_units(row.fee),
                liquidity="maker" if row.is_maker else "taker",
                reference_ticks=line.middles.get(row.symbol, 0),
            )
        )


async def _nobody(row: TradeRow, detail: OrderRow) -> Taker | None:
    del row, detail
    return None


def _in_order(row: TradeRow) -> tuple[int, int, str]:
    """The venue's order: its clock, then its ids, which grow."""
    return row.ctime_ms, len(row.trade_id), row.trade_id


def _forget_oldest(ids: dict[str, None]) -> None:
    if len(ids) > TRADE_IDS_KEPT:
        del ids[next(iter(ids))]


def _without_old(takers: dict[str, Taker]) -> dict[str, Taker]:
    """Those at work, and the newest of those that are over."""
    over = [name for name, taker in takers.items() if taker.is_over]
    old = set(over[:-ENDED_KEPT])
    return {name: taker for name, taker in takers.items() if name not in old}
