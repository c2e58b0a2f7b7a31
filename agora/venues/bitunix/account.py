"""What the venue says we hold: positions, funding, cash. A reading counts only if nothing moved while it was made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from agora.domain.events import Funding
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.venues.bitunix.books import Books
from agora.venues.bitunix.crew import SharedRead
from agora.venues.bitunix.line import Line
from agora.venues.bitunix.trades import Trades
from agora.venues.bitunix.triggers import Triggers
from agora.venues.bitunix.wire import AccountRow, HistoryPositionRow, OrderRow, PositionRow

# Positions whose funding is remembered: as many as the state of a run keeps.
FUNDED_KEPT = 500


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the account: signed positions in lots, open orders, cash in money units."""

    positions: dict[str, int]
    orders: tuple[OrderRow, ...]
    cash_units: int


class Account:
    """Reads positions and money; tells each settlement of funding once."""

    def __init__(self, line: Line, trades: Trades) -> None:
        self.read_positions = SharedRead(self._read_positions, gap_s=line.settings.read_gap_s)
        self.triggers = Triggers(line)
        self.books = Books(line.instruments)
        self._line = line
        self._trades = trades
        self._rows: dict[str, PositionRow] = {}
        self._funding: dict[str, int] = {}
        self._floor_ms = 0
        self._read_ms = 0
        self._vanished_since_ms = 0
        self._told = -1
        self._ids: set[str] = set()

    def resume(self, funding_seen: dict[str, int], *, floor_ns: int) -> None:
        """Go on after a restart: what was booked is known, and positions closed before the run are not ours."""
        self._funding = dict(funding_seen)
        floor_ns -= int(self._line.settings.clock_skew_s_max * NS_PER_S)
        self._floor_ms = self._read_ms = self._line.venue_ms(floor_ns)

    async def begin(self) -> None:
        """Begin a new run now, with the cash that is there: what was paid so far belongs to nobody here."""
        now_ms = self._line.venue_ms(self._line.now_ns)
        self._floor_ms = now_ms - int(self._line.settings.clock_skew_s_max * 1_000)
        self._read_ms = now_ms
        account = await self._line.ask(self._line.client.account())
        self.books.begin(cash_units=wallet_units(account), positions={})
        for row in await self._line.ask(self._line.client.positions()):
            self._rows[row.position_id] = row
            self._funding[row.position_id] = money(row.funding)

    def signed_lots(self, symbol: str) -> int:
        """The position of a symbol by the newest reading."""
        return sum(self._line.lots(symbol, row.qty) * row.side for row in self._rows.values() if row.symbol == symbol)

    def position_id(self, symbol: str) -> str:
        """The venue's name of the position of a symbol; empty when there is none."""
        return next((row.position_id for row in self._rows.values() if row.symbol == symbol and row.qty), "")

    async def glance(self, orders: Sequence[OrderRow]) -> Held:
        """Read positions and cash once, at one moment as far as two requests can be; `orders` are the open ones."""
        _, account = await asyncio.gather(self._read_positions(), self._line.ask(self._line.client.account()))
        await self._read_closed()
        symbols = self._line.instruments
        return Held(
            positions={symbol: self.signed_lots(symbol) for symbol in symbols},
            orders=tuple(row for row in orders if row.symbol in symbols),
            cash_units=wallet_units(account),
        )

    async def held(self) -> Held:
        """Read everything, until trades and positions are the same before and after it."""
        for _ in range(self._line.settings.account_rounds_max):
            await self._trades.sweep()
            told = self._trades.told
            await self.read_positions()
            before = self._positions()
            held = await self.glance(await self._line.ask(self._line.client.pending_orders()))
            await self.read_positions()
            await self._trades.sweep()
            if told == self._trades.told and before == self._positions():
                break
        return held

    def _positions(self) -> dict[str, tuple[Decimal, int, Decimal]]:
        return {row.position_id: (row.qty, row.side, row.funding) for row in self._rows.values()}

    async def _read_positions(self) -> None:
        rows = await self._line.ask(self._line.client.positions())
        now = {row.position_id: row for row in rows if row.symbol in self._line.instruments}
        for position_id, row in self._rows.items():
            if position_id not in now:
                self._vanished_since_ms = min(self._vanished_since_ms or row.ctime_ms, row.ctime_ms)
        self._rows = now
        for row in now.values():
            self._fund(row)

    async def _read_closed(self) -> None:
        """The last funding of positions that have closed; also of those that opened and closed between two looks."""
        ids = set(self._rows)
        is_same = bool(ids) and ids == self._ids
        if not self._vanished_since_ms and (is_same or self._told == self._trades.told):
            return
        told = self._trades.told
        now_ms = self._line.venue_ms(self._line.now_ns)
        since_ms = min(self._vanished_since_ms or self._read_ms, self._read_ms)
        start_ms = since_ms - int(self._line.settings.overlap_s * 1_000)
        for row in await self._line.ask(self._line.client.history_positions(start_ms=start_ms)):
            if row.symbol in self._line.instruments and row.mtime_ms >= self._floor_ms:
                self._fund(row)
        self._vanished_since_ms, self._told, self._read_ms, self._ids = 0, told, now_ms, ids

    def _fund(self, row: PositionRow | HistoryPositionRow) -> None:
        """Tell what a position was paid or has paid since it was last seen."""
        units = money(row.funding)
        seen = self._funding.get(row.position_id, 0)
        if units == seen:
            return
        self._funding[row.position_id] = units
        while len(self._funding) > FUNDED_KEPT:
            del self._funding[next(iter(self._funding))]
        self._line.tell(
            Funding(
                ts_ns=self._line.now_ns,
                instrument=row.symbol,
                venue_funding_id=f"{row.position_id}:{units}",
                rate_ppb=0,  # Of what several settlements were charged is not told; the market's events have the rates.
                size_lots=self._line.lots(row.symbol, row.qty) * row.side if isinstance(row, PositionRow) else 0,
                mark_ticks=0,
                amount_units=units - seen,
                position_id=row.position_id,
                position_funding_units=units,
            )
        )


def money(amount: Decimal) -> int:
    """Money of the venue in units: to the nearest, where it has more decimals."""
    return int((amount * MONEY_SCALE).to_integral_value())


def wallet_units(row: AccountRow) -> int:
    """Our cash: what was paid in and what was realised since.

    The venue's three parts include the profit of open positions (the reading of connectors in use; the
    documentation is silent), so that is taken out.
    """
    parts = row.available + row.frozen + row.margin
    return money(parts - row.cross_unrealised_pnl - row.isolation_unrealised_pnl)
