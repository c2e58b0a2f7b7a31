"""What becomes of trades: matched, mined, confirmed, retried or failed, and the money that goes with it.

What the sides of a trade give lies in escrow from the match on, so that a failed trade gives back exactly what was
taken, whatever else happened meanwhile. What they get is theirs when the trade is CONFIRMED.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import msgspec

from agora.domain.numbers import PPM
from agora.domain.orders import Side
from agora.exchange.binary_ledger import COLLATERAL, ESCROW, FEES, OUTSIDE, Place, Pocket, sets_of
from agora.exchange.binary_records import (
    BinaryTrade,
    MatchKind,
    TradeChanged,
    TradePath,
    TradeSide,
    TradeStatus,
)
from agora.exchange.binary_state import BinaryMarket, BinaryState

_S = TradeStatus
# A trade that fails was retried before.
PATHS: Mapping[TradePath, tuple[TradeStatus, ...]] = MappingProxyType(
    {
        TradePath.CONFIRMS: (_S.MINED, _S.CONFIRMED),
        TradePath.RETRIES: (_S.RETRYING, _S.MINED, _S.CONFIRMED),
        TradePath.FAILS: (_S.RETRYING, _S.FAILED),
    }
)
TRADE_ENDS = frozenset({_S.CONFIRMED, _S.FAILED})
_PLANNED_MAX = 10_000  # paths planned ahead; a fault plan plans a few


class BinaryTrades:
    """All trades of an exchange."""

    def __init__(self, state: BinaryState) -> None:
        self._state = state
        self._ahead: dict[int, int] = {}  # unsettled trades, each with the number of its next step
        self._planned: list[TradePath] = []

    @property
    def unsettled(self) -> tuple[BinaryTrade, ...]:
        """Trades whose money is in escrow, oldest first."""
        return tuple(self._state.trades[trade_id] for trade_id in self._ahead)

    def plan(self, path: TradePath, count: int) -> None:
        """Let the next trades take that path, whatever chance says."""
        self._planned = [*self._planned, *[path] * count][:_PLANNED_MAX]

    def make(self, market: BinaryMarket, taker: TradeSide, *, makers: tuple[TradeSide, ...], bucket_index: int) -> int:
        """Book a trade whose sides have free what they give; return its id."""
        state = self._state
        trade = BinaryTrade(
            trade_id=state.next_id(),
            condition_id=market.window.condition_id,
            taker=taker,
            makers=makers,
            bucket_index=bucket_index,
            status=TradeStatus.MATCHED,
            matched_ns=state.now_ns,
            changed_ns=state.now_ns,
        )
        for side in trade.sides:
            asset, units = given(side)
            state.ledger.move(asset, units, source=Place(side.account, Pocket.FREE), target=ESCROW)
        for number in dict.fromkeys(side.account for side in trade.sides):
            if not state.accounts[number].is_house:
                state.accounts[number].trade_ids.append(trade.trade_id)
        self._keep(trade)
        self._follow(trade.trade_id, PATHS[self._path()])
        return trade.trade_id

    def _path(self) -> TradePath:
        if self._planned:
            return self._planned.pop(0)
        rules = self._state.rules
        if not rules.retry_ppm and not rules.fail_ppm:
            return TradePath.CONFIRMS
        draw = self._state.dice.below(PPM)
        if draw < rules.fail_ppm:
            return TradePath.FAILS
        return TradePath.RETRIES if draw < rules.fail_ppm + rules.retry_ppm else TradePath.CONFIRMS

    def _keep(self, trade: BinaryTrade) -> None:
        """Remember a trade and tell it; too many forget the oldest that is settled."""
        trades = self._state.trades
        trades[trade.trade_id] = trade
        if len(trades) > self._state.rules.history_max + len(self._ahead) + 1:
            del trades[next(trade_id for trade_id in trades if trade_id not in self._ahead)]
        self._state.tell(TradeChanged(self._state.now_ns, trade))

    def _follow(self, trade_id: int, path: tuple[TradeStatus, ...]) -> None:
        """Let a trade take the next step of its path in time."""
        rules = self._state.rules
        self._ahead[trade_id] = step = self._state.next_id()
        wait_ns = rules.confirmed_ns if path[0] in TRADE_ENDS else rules.mined_ns
        self._state.at(self._state.now_ns + wait_ns, partial(self._advance, trade_id, step, path=path))

    def _advance(self, trade_id: int, step: int, *, path: tuple[TradeStatus, ...]) -> None:
        if self._ahead.get(trade_id) != step:
            return  # it was sent on another path meanwhile
        self._enter(trade_id, path[0])
        if path[1:]:
            self._follow(trade_id, path[1:])

    def divert(self, trade_id: int, path: TradePath) -> bool:
        """Send a trade on another path, the first step of it now; False: not known or settled."""
        if trade_id not in self._ahead:
            return False
        first, *rest = PATHS[path]
        self._enter(trade_id, first)
        if rest:
            self._follow(trade_id, tuple(rest))
        return True

    def _enter(self, trade_id: int, status: TradeStatus) -> None:
        """Give a trade its next status, and move its money when that is the last."""
        trade = self._state.trades[trade_id]
        attempts = trade.attempts + (status is TradeStatus.RETRYING)
        changed = msgspec.structs.replace(trade, status=status, attempts=attempts, changed_ns=self._state.now_ns)
        if status is TradeStatus.CONFIRMED:
            self._settle(trade)
        elif status is TradeStatus.FAILED:
            self._roll_back(trade)
        if status in TRADE_ENDS:
            del self._ahead[trade_id]
        self._keep(changed)
        if status in TRADE_ENDS and all(self._state.accounts[side.account].is_house for side in trade.sides):
            del self._state.trades[trade_id]  # nobody will ask for it

    def _settle(self, trade: BinaryTrade) -> None:
        """Make and unmake sets, and give each side what it gets."""
        ledger, market = self._state.ledger, self._state.market(trade.condition_id)
        tokens, sets = (market.window.up_token, market.window.down_token), sets_of(market.number)
        for maker in trade.makers:
            if maker.kind is MatchKind.MINT:
                ledger.move(COLLATERAL, maker.size_units, source=ESCROW, target=sets)
                for token in tokens:
                    ledger.move(token, maker.size_units, source=OUTSIDE, target=ESCROW)
            elif maker.kind is MatchKind.MERGE:
                ledger.move(COLLATERAL, maker.size_units, source=sets, target=ESCROW)
                for token in tokens:
                    ledger.move(token, maker.size_units, source=ESCROW, target=OUTSIDE)
        for side in trade.sides:
            asset, units = received(side)
            ledger.move(asset, units, source=ESCROW, target=Place(side.account, Pocket.FREE))
        ledger.move(COLLATERAL, trade.taker.fee_units, source=ESCROW, target=FEES)

    def _roll_back(self, trade: BinaryTrade) -> None:
        """Give each side back what it gave."""
        for side in trade.sides:
            asset, units = given(side)
            self._state.ledger.move(asset, units, source=ESCROW, target=Place(side.account, Pocket.FREE))


def given(side: TradeSide) -> tuple[str, int]:
    """What a side puts into a trade: a buyer cost and fee, a seller its shares."""
    if side.side is Side.BUY:
        return COLLATERAL, side.cost_units + side.fee_units
    return side.token_id, side.size_units


def received(side: TradeSide) -> tuple[str, int]:
    """What a side gets out of a trade: a buyer its shares, a seller the proceeds less the fee."""
    if side.side is Side.BUY:
        return side.token_id, side.size_units
    return COLLATERAL, side.cost_units - side.fee_units
