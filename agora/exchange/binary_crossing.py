"""An order meets the unified book of its market, and what it matches becomes trades.

The book is the market's matching kernel; all orders stand in it as orders for Up (buying Down at p is selling Up at
1 - p), so that price and time decide across both tokens. Here the kernel's fills are read back as what each maker
asked for. A maker trades at its own price, its collateral rounded in its favour by less than a millionth; the taker
gets any improvement.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary_accounts import LiveOrder
from agora.exchange.binary_ledger import Pocket
from agora.exchange.binary_open_orders import BinaryOpenOrders, book_points, note_level, resting_hold
from agora.exchange.binary_prices import (
    FEE_STEP_UNITS,
    POINTS,
    complement,
    fee_most_units,
    fee_units,
    shares_for,
    value_down,
    value_up,
)
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import (
    BinaryOrder,
    BinaryStatus,
    BinaryType,
    LastTrade,
    MatchKind,
    OrderEvent,
    Outcome,
    TradeSide,
)
from agora.exchange.binary_state import BinaryMarket, BinaryState
from agora.exchange.binary_trades import BinaryTrades
from agora.exchange.requests import SelfTrade
from agora.kernels import matching

_END_REASONS = {
    matching.FOK_NOT_FILLABLE: BinaryReason.FOK_NOT_FILLED,
    matching.IOC_REMAINDER: BinaryReason.FAK_REMAINDER,
    matching.SELF_TRADE: BinaryReason.SELF_TRADE,
    matching.CAPACITY: BinaryReason.BOOK_FULL,
    matching.POST_ONLY_WOULD_CROSS: BinaryReason.POST_ONLY_CROSSES,
    matching.BAD_EXPIRY: BinaryReason.EXPIRED,
}
_SELF_TRADE = {SelfTrade.CANCEL_OLDEST: matching.CANCEL_OLDEST, SelfTrade.CANCEL_NEWEST: matching.CANCEL_NEWEST}
_TIME_IN_FORCE = {
    BinaryType.GTC: matching.GTC,
    BinaryType.GTD: matching.GTD,
    BinaryType.FAK: matching.IOC,
    BinaryType.FOK: matching.FOK,
}
_ALL_UNITS = matching.NUMBER_MAX


class Fill(NamedTuple):
    """So many shares of a maker, at a price for Up."""

    maker: LiveOrder
    up_points: int
    size_units: int


class Meeting(msgspec.Struct, kw_only=True):
    """What happens while an order goes through the book: its fills so far, and why it may do no more."""

    live: LiveOrder
    fills: list[Fill]
    end: BinaryReason = BinaryReason.NONE

    @property
    def filled_units(self) -> int:
        """Shares matched so far."""
        return sum(fill.size_units for fill in self.fills)


class BinaryCrossing:
    """Where orders meet the books."""

    def __init__(self, state: BinaryState, open_orders: BinaryOpenOrders, trades: BinaryTrades) -> None:
        self._state = state
        self._open = open_orders
        self._trades = trades

    # Before.

    def need_units(self, market: BinaryMarket, live: LiveOrder) -> int:
        """What an order needs of its asset at most, now: a buyer that would trade also its fee and the roundings."""
        record = live.record
        if record.side is Side.SELL:
            return record.open_units
        spent = live.budget_units
        if spent is None:
            spent = value_up(record.price_points, record.open_units)
        return spent + self._fee_bound(market, live)

    def _fee_bound(self, market: BinaryMarket, live: LiveOrder) -> int:
        """No less than the fees of what the order can trade with now, and than what its makers' roundings cost."""
        record, side, limit = live.record, live.book_side, book_points(live.record)
        if not market.crosses(side, limit):
            return 0
        reached = [row for row in self._state.levels(market, Side(-side)) if (row[0] - limit) * side <= 0]
        best = own_points(record, reached[0][0])
        shares = record.open_units if live.budget_units is None else shares_for(live.budget_units, best)
        available = min(shares, sum(size for _, size, _ in reached))
        orders = sum(count for _, _, count in reached)
        low, high = sorted((best, own_points(record, reached[-1][0])))
        fee = fee_most_units(self._state.rules.fee, low, high, size_units=available)
        return fee + orders * (FEE_STEP_UNITS + 1)

    def is_fillable(self, market: BinaryMarket, live: LiveOrder) -> bool:
        """Whether a fill-or-kill order would be filled now."""
        record, side, limit = live.record, live.book_side, book_points(live.record)
        wanted = record.open_units if live.budget_units is None else _ALL_UNITS
        lots, cost = matching.cost_to_fill(market.book.words, int(side), wanted, limit, live.account)
        if self._state.rules.self_trade is SelfTrade.CANCEL_NEWEST and live.budget_units is not None:
            # An own order in reach may stop the order before its budget is spent: it does not count as fillable.
            anybody, _ = matching.cost_to_fill(market.book.words, int(side), wanted, limit, -1)
            if anybody != lots:
                return False
        if live.budget_units is None:
            return bool(lots >= wanted)
        own_cost = cost if record.outcome is Outcome.UP else lots * POINTS - cost
        return bool(own_cost >= live.budget_units * POINTS)

    # The meeting.

    def meet(self, market: BinaryMarket, live: LiveOrder) -> BinaryReason:
        """Let an order trade and rest; return why it ended before it was filled. What it held is free while it goes
        through the book, and `need_units` of it must be.
        """
        self._open.hold(live, 0)
        need, ledger = self.need_units(market, live), self._state.ledger
        if ledger.units(live.account, Pocket.FREE, live.held_asset) < need:
            return BinaryReason.NOT_ENOUGH_BALANCE
        if live.record.order_type is BinaryType.FOK and not self.is_fillable(market, live):
            return BinaryReason.FOK_NOT_FILLED
        meeting = Meeting(live=live, fills=[])
        left = live.record.open_units if live.budget_units is None else self._spend(market, meeting)
        if left and not meeting.end:
            self._submit(market, meeting, size_units=left)
        self._book_fills(market, meeting)
        return self._conclude(market, meeting)

    def _spend(self, market: BinaryMarket, meeting: Meeting) -> int:
        """Buy from one maker after another until the budget is spent; return the shares that are to rest for what is
        left of it. What the order wanted is from then on what it got and what is to rest.
        """
        live = meeting.live
        record, side, limit = live.record, live.book_side, book_points(live.record)
        budget = live.budget_units or 0
        while budget and not meeting.end:
            head = market.book.head(Side(-side))
            if head is None or (head.price_ticks - limit) * side > 0:
                break
            points = own_points(record, head.price_ticks)
            size = min(shares_for(budget, points), head.size_lots)
            if not size:
                budget = 0  # less than a millionth of a share costs: it is spent
            elif head.owner == live.account and self._state.rules.self_trade is SelfTrade.CANCEL_OLDEST:
                self._open.cancel(self._state.live_by_number[head.order_id], BinaryReason.SELF_TRADE)
            else:
                self._submit(market, meeting, size_units=size, up_points=head.price_ticks)
                budget -= 0 if meeting.end else value_up(points, size)
        if budget and record.order_type.is_immediate and not meeting.end:
            meeting.end = BinaryReason.FAK_REMAINDER
        left = 0 if meeting.end else shares_for(budget, record.price_points)
        live.budget_units = None
        live.record = msgspec.structs.replace(record, open_units=meeting.filled_units + left)
        return left

    def _submit(self, market: BinaryMarket, meeting: Meeting, *, size_units: int, up_points: int = 0) -> None:
        """Hand shares to the kernel, at the order's own limit or as an immediate piece at a maker's price."""
        live, state = meeting.live, self._state
        record = live.record
        time_in_force = matching.IOC if up_points else _TIME_IN_FORCE[record.order_type]
        is_timed = time_in_force == matching.GTD
        count = matching.submit(
            market.book.words,
            state.out,
            live.number,
            live.account,
            int(live.book_side),
            matching.LIMIT,
            time_in_force,
            matching.POST_ONLY if record.is_post_only else 0,
            up_points or book_points(record),
            0,
            size_units,
            expiry_ns(state, record) if is_timed else 0,
            _SELF_TRADE[state.rules.self_trade],
            state.now_ns,
        )
        for row in state.out[:count].tolist():
            self._read(market, meeting, row)

    def _read(self, market: BinaryMarket, meeting: Meeting, row: list[int]) -> None:
        """Take one row of the kernel's answer."""
        code = row[matching.CODE]
        if code == matching.FILL:
            maker = self._state.live_by_number[row[matching.MAKER_ID]]
            meeting.fills.append(Fill(maker, row[matching.ROW_PRICE], row[matching.ROW_SIZE]))
            note_level(market, maker)
        elif code in {matching.CANCELLED, matching.REJECTED}:
            reason = _END_REASONS[row[matching.REASON]]
            if row[matching.ROW_ORDER_ID] == meeting.live.number:
                meeting.end = reason
                return
            other = self._state.live_by_number[row[matching.ROW_ORDER_ID]]
            note_level(market, other)
            self._open.end(other, reason)

    def _conclude(self, market: BinaryMarket, meeting: Meeting) -> BinaryReason:
        """Hold what the rest needs, or forget the order when it is done; else say why it has to be ended."""
        live, record = meeting.live, meeting.live.record
        if not meeting.end:
            if not record.open_units:
                self._open.forget(live)
                return BinaryReason.NONE
            note_level(market, live)
            self._open.hold(live, resting_hold(record))
            return BinaryReason.NONE
        if not record.matched_units:
            return BinaryReason.FAK_NO_MATCH if meeting.end is BinaryReason.FAK_REMAINDER else meeting.end
        if record.open_units and not record.order_type.is_immediate:
            return meeting.end
        self._open.forget(live)
        self._open.change(live, OrderEvent.UPDATE, status=BinaryStatus.MATCHED, reason=meeting.end, open_units=0)
        return BinaryReason.NONE

    # Trades.

    def _book_fills(self, market: BinaryMarket, meeting: Meeting) -> None:
        """Make trades of the fills: one for each price and so many makers."""
        group: list[Fill] = []
        buckets = 0
        for fill in meeting.fills:
            if group and (fill.up_points != group[0].up_points or len(group) == self._state.rules.makers_per_trade_max):
                self._trade(market, meeting.live, fills=group, bucket_index=buckets)
                group, buckets = [], buckets + 1
            group.append(fill)
        if group:
            self._trade(market, meeting.live, fills=group, bucket_index=buckets)

    def _trade(self, market: BinaryMarket, live: LiveOrder, *, fills: list[Fill], bucket_index: int) -> None:
        """Book one trade: money to escrow, orders changed, everybody told."""
        state, record = self._state, live.record
        makers = tuple(maker_side(record, fill) for fill in fills)
        size = sum(maker.size_units for maker in makers)
        points = own_points(record, fills[0].up_points)
        taker = TradeSide(
            order_id=record.order_id,
            account=live.account,
            key=record.key,
            token_id=record.token_id,
            outcome=record.outcome,
            side=record.side,
            price_points=points,
            size_units=size,
            cost_units=sum(taker_cost(maker) for maker in makers),
            fee_units=fee_units(state.rules.fee, points, size),
        )
        for fill, maker in zip(fills, makers, strict=True):
            given = maker.cost_units if maker.side is Side.BUY else maker.size_units
            # What the maker gives was held for it; escrow takes it from what is free.
            self._open.hold(fill.maker, fill.maker.held_units - given)
        trade_id = self._trades.make(market, taker, makers=makers, bucket_index=bucket_index)
        for fill, maker in zip(fills, makers, strict=True):
            self._add_trade(fill.maker, maker, trade_id)
            self._open.hold(fill.maker, resting_hold(fill.maker.record))
            if not fill.maker.record.open_units:
                self._open.forget(fill.maker)
        self._add_trade(live, taker, trade_id)
        market.last_points = fills[0].up_points
        state.tell(
            LastTrade(state.now_ns, market.window.condition_id, record.token_id, record.side, points, size, trade_id)
        )

    def _add_trade(self, live: LiveOrder, side: TradeSide, trade_id: int) -> None:
        """Add a trade to its order's record."""
        record = live.record
        still_open = record.open_units - side.size_units
        assert still_open >= 0, f"{record.order_id} traded {side.size_units} of {record.open_units} open shares"
        self._open.change(
            live,
            OrderEvent.UPDATE,
            status=BinaryStatus.LIVE if still_open else BinaryStatus.MATCHED,
            open_units=still_open,
            matched_units=record.matched_units + side.size_units,
            cost_units=record.cost_units + side.cost_units,
            fee_units=record.fee_units + side.fee_units,
            trade_ids=(*record.trade_ids, trade_id),
        )


def own_points(record: BinaryOrder, up_points: int) -> int:
    """A price for Up as the price of an order's own token."""
    return up_points if record.outcome is Outcome.UP else complement(up_points)


def maker_side(taker: BinaryOrder, fill: Fill) -> TradeSide:
    """A maker's part: its own token, its own price."""
    record = fill.maker.record
    points = own_points(record, fill.up_points)
    kind = MatchKind.NORMAL
    if record.side is taker.side:
        kind = MatchKind.MINT if record.side is Side.BUY else MatchKind.MERGE
    value = value_down if record.side is Side.BUY else value_up
    return TradeSide(
        order_id=record.order_id,
        account=fill.maker.account,
        key=record.key,
        token_id=record.token_id,
        outcome=record.outcome,
        side=record.side,
        price_points=points,
        size_units=fill.size_units,
        cost_units=value(points, fill.size_units),
        kind=kind,
    )


def taker_cost(maker: TradeSide) -> int:
    """What the taker pays or gets for that maker's part: the same money, or what is left of the sets' value."""
    return maker.cost_units if maker.kind is MatchKind.NORMAL else maker.size_units - maker.cost_units


def expiry_ns(state: BinaryState, record: BinaryOrder) -> int:
    """When a GTD order ends: earlier than it says."""
    return record.expiration_s * NS_PER_S - state.rules.expires_early_ns
