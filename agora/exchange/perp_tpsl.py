"""Take-profit and stop-loss rows: kept, woken by fills, hit by prices, ended with their position.

A hit row only waits here; what its order does to the book is the business of `perp_triggers`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agora.domain.orders import Side
from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_checks import price_by
from agora.exchange.perp_margin import leverage_of
from agora.exchange.perp_records import (
    ChangeEvent,
    PerpOrder,
    PositionSide,
    TpslChanged,
    TpslKind,
    TpslRow,
    TpslStatus,
    TriggerBy,
    TriggerLeg,
)
from agora.exchange.perp_state import Market, PerpState

Legs = tuple[TriggerLeg | None, TriggerLeg | None]  # take-profit, stop-loss


class Place(NamedTuple):
    """The position that a row belongs to."""

    symbol: str
    position_id: int
    side: PositionSide


class TpslRows:
    """All rows of an exchange. `hits` are rows whose price has come, in order, with the leg that it was."""

    def __init__(self, state: PerpState) -> None:
        self._state = state
        self.hits: dict[int, TriggerLeg] = {}
        self._woken: dict[int, int] = {}  # order to the live row that its fills enlarge

    def live_in(self, account: PerpAccount, symbol: str | None = None) -> list[TpslRow]:
        """The rows of an account that wait, oldest first."""
        markets = self._state.markets.values() if symbol is None else (self._state.markets[symbol],)
        ids = sorted(row_id for market in markets for row_id, owner in market.tpsl.items() if owner == account.number)
        return [account.tpsl[row_id] for row_id in ids]

    def create(
        self, account: PerpAccount, place: Place, *, legs: Legs, is_whole: bool = False, order_id: int = 0
    ) -> TpslRow:
        """Add a row for a position: of fixed size, as those that an order's fills wake are, or for the whole."""
        state, market = self._state, self._state.markets[place.symbol]
        row = TpslRow(
            tpsl_id=state.next_id(),
            account=account.number,
            symbol=place.symbol,
            position_id=place.position_id,
            side=place.side,
            kind=TpslKind.POSITION if is_whole else TpslKind.FIXED,
            status=TpslStatus.NEW,
            tp=legs[0],
            sl=legs[1],
            position_mode=account.position_mode,
            leverage=leverage_of(account, market),
            created_ns=state.now_ns,
            changed_ns=state.now_ns,
            order_id=order_id,
        )
        market.tpsl[row.tpsl_id] = account.number
        self.keep(row, ChangeEvent.CREATE)
        return row

    def keep(self, row: TpslRow, event: ChangeEvent) -> None:
        """Remember a row and tell its change."""
        row = msgspec.structs.replace(row, changed_ns=self._state.now_ns)
        self._state.account(row.account).keep_tpsl(row)
        self._state.tell(TpslChanged(self._state.now_ns, event, row))

    def end(self, row: TpslRow, status: TpslStatus, **known: object) -> None:
        """End a row."""
        self._state.markets[row.symbol].tpsl.pop(row.tpsl_id, None)
        self.hits.pop(row.tpsl_id, None)
        self._woken.pop(row.order_id, None)
        self.keep(msgspec.structs.replace(row, status=status, **known), ChangeEvent.CLOSE)

    def end_of(self, account: PerpAccount, *, symbol: str, position_id: int) -> None:
        """End the rows of a position that has closed."""
        for row in self.live_in(account, symbol):
            if row.position_id == position_id:
                self.end(row, TpslStatus.SYSTEM_CANCELED)

    def wake(self, account: PerpAccount, order: PerpOrder, *, position_id: int, lots: int) -> None:
        """Let the triggers of an order work for what it has just opened."""
        row = account.tpsl.get(self._woken.get(order.order_id, 0))
        if row is not None and row.position_id == position_id:
            tp, sl = (_enlarged(leg, lots) for leg in (row.tp, row.sl))
            self.keep(msgspec.structs.replace(row, tp=tp, sl=sl), ChangeEvent.UPDATE)
            return
        legs = (_enlarged(order.tp, lots, is_new=True), _enlarged(order.sl, lots, is_new=True))
        side = PositionSide.LONG if order.side is Side.BUY else PositionSide.SHORT
        place = Place(order.symbol, position_id, side)
        row = self.create(account, place, legs=legs, order_id=order.order_id)
        self._woken[order.order_id] = row.tpsl_id
        market = self._state.markets[order.symbol]
        for by in TriggerBy:
            self.note_price(market, by, price_by(market, by))

    def note_price(self, market: Market, by: TriggerBy, price_ticks: int) -> None:
        """Find the rows that a price hits."""
        for row_id, owner in market.tpsl.items():
            if row_id not in self.hits:
                row = self._state.accounts[owner].tpsl[row_id]
                leg = _leg_hit(row, by, price_ticks)
                if leg is not None:
                    self.hits[row_id] = leg


def _leg_hit(row: TpslRow, by: TriggerBy, price_ticks: int) -> TriggerLeg | None:
    """The leg that a price fires; the stop-loss where both would."""
    for leg, is_tp in ((row.sl, False), (row.tp, True)):
        if leg is None or leg.by is not by:
            continue
        fires_above = (row.side is PositionSide.LONG) == is_tp
        if price_ticks >= leg.price_ticks if fires_above else price_ticks <= leg.price_ticks:
            return leg
    return None


def _enlarged(leg: TriggerLeg | None, lots: int, *, is_new: bool = False) -> TriggerLeg | None:
    """A leg for so many lots more."""
    if leg is None:
        return None
    return msgspec.structs.replace(leg, size_lots=lots if is_new else leg.size_lots + lots)
