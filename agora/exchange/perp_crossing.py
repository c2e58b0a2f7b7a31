"""An order meets the book: it trades, both sides are booked and told, what its trades leave too large is trimmed.

Rules that the book does not know are kept here. Reduce-only orders never turn a position: where a sweep could take
more from an account than its position holds, resting orders are taken one at a time and trimmed in between. Against
a resting order of the same account the newest wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from agora.domain.orders import Side
from agora.exchange.perp_open_orders import OpenOrders
from agora.exchange.perp_positions import Fill, apply_fill
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    Effect,
    OrderSource,
    PerpTrade,
    PublicTrade,
    TradeMade,
    TriggerBy,
)
from agora.exchange.perp_state import Market, PerpState
from agora.exchange.perp_tpsl import TpslRows
from agora.kernels import matching

_END_REASONS: Mapping[int, PerpReason] = MappingProxyType(
    {
        matching.POST_ONLY_WOULD_CROSS: PerpReason.POST_ONLY_WOULD_CROSS,
        matching.FOK_NOT_FILLABLE: PerpReason.FOK_NOT_FILLABLE,
        matching.NO_LIQUIDITY: PerpReason.NO_LIQUIDITY,
        matching.IOC_REMAINDER: PerpReason.IOC_REMAINDER,
        matching.SELF_TRADE: PerpReason.SELF_TRADE,
        matching.CAPACITY: PerpReason.BOOK_FULL,
        matching.BAD_EXPIRY: PerpReason.DUE,
    }
)


class Incoming(msgspec.Struct, kw_only=True, gc=False):
    """An order on its way through the book; `open_lots` is what it may still do, `end` why it may no more."""

    order_id: int
    account: int
    side: Side
    effect: Effect
    price_ticks: int
    open_lots: int
    expire_ts_ns: int = 0
    cost_units: int = 0
    end: PerpReason = PerpReason.NONE


class Crossing:
    """Where orders meet the books."""

    def __init__(self, state: PerpState, rows: TpslRows, open_orders: OpenOrders) -> None:
        self._state = state
        self._rows = rows
        self._open = open_orders

    def meet(self, market: Market, incoming: Incoming) -> None:
        """Let an order trade and rest; trim what its trades leave too large."""
        account = self._state.accounts[incoming.account]
        order = account.orders.get(incoming.order_id)
        if market.reducers and incoming.effect is not Effect.POST_ONLY and self._turns_somebody(market, incoming.side):
            self._take_one_by_one(market, incoming)
        if incoming.open_lots and not incoming.end:
            self._apply(market, incoming, self._to_book(market, incoming))
        if incoming.end and order is not None:
            self._open.end(account, account.orders[incoming.order_id], incoming.end)
        if market.reducers:
            self._open.trim_reducers(market)

    def _to_book(self, market: Market, incoming: Incoming) -> list[list[int]]:
        """Submit to the kernel; return its rows."""
        effect = incoming.effect
        tif = matching.GTD if incoming.expire_ts_ns else matching.GTC
        if effect is Effect.FOK:
            tif = matching.FOK
        elif effect is Effect.IOC:
            tif = matching.IOC
        count = matching.submit(
            market.book.words,
            self._state.out,
            incoming.order_id,
            incoming.account,
            int(incoming.side),
            matching.LIMIT if incoming.price_ticks else matching.MARKET,
            tif,
            matching.POST_ONLY if effect is Effect.POST_ONLY else 0,
            incoming.price_ticks,
            0,
            incoming.open_lots,
            incoming.expire_ts_ns if tif == matching.GTD else 0,
            matching.CANCEL_OLDEST,
            self._state.now_ns,
        )
        rows: list[list[int]] = self._state.out[:count].tolist()
        return rows

    def _apply(self, market: Market, incoming: Incoming, rows: list[list[int]]) -> None:
        """Book what the kernel's rows say, in their order."""
        for row in rows:
            code = row[matching.CODE]
            if code == matching.FILL:
                lots, price = row[matching.ROW_SIZE], row[matching.ROW_PRICE]
                incoming.open_lots -= lots
                incoming.cost_units += market.instrument.notional_units(price, lots)
                self._trade(market, row)
            elif code in {matching.CANCELLED, matching.REJECTED}:
                reason = _END_REASONS[row[matching.REASON]]
                if row[matching.ROW_ORDER_ID] == incoming.order_id:
                    incoming.end = reason
                else:
                    self._open.end_resting(row[matching.ROW_OWNER], row[matching.ROW_ORDER_ID], reason)

    def _turns_somebody(self, market: Market, side: Side) -> bool:
        """Whether a sweep could take more from an account with reduce-only orders than its position holds."""
        for number in market.reducers:
            account = self._state.accounts[number]
            for slot in {order.position_side for order in account.open_orders(market.symbol) if order.reduce_only}:
                resting = [
                    order
                    for order in account.open_orders(market.symbol)
                    if order.side is not side and order.position_side is slot
                ]
                total = sum(order.open_lots for order in resting)
                if any(order.reduce_only for order in resting) and total > abs(account.lots_in(market.symbol, slot)):
                    return True
        return False

    def _take_one_by_one(self, market: Market, incoming: Incoming) -> None:
        """Trade with one resting order after another, trimming in between."""
        if incoming.effect is Effect.FOK and self._is_short(market, incoming):
            incoming.end = PerpReason.FOK_NOT_FILLABLE
            return
        wanted = incoming.open_lots
        while incoming.open_lots > 0:
            head = market.book.head(Side(-incoming.side))
            price = incoming.price_ticks
            if head is None or (price and (head.price_ticks - price) * incoming.side > 0):
                break
            if head.owner == incoming.account:
                matching.cancel(market.book.words, self._state.out, head.order_id, head.owner)
                self._open.end_resting(head.owner, head.order_id, PerpReason.SELF_TRADE)
                continue
            lots = min(incoming.open_lots, head.size_lots)
            piece = msgspec.structs.replace(
                incoming, effect=Effect.IOC, price_ticks=head.price_ticks, open_lots=lots, expire_ts_ns=0, cost_units=0
            )
            self._apply(market, piece, self._to_book(market, piece))
            incoming.open_lots -= lots
            incoming.cost_units += piece.cost_units
            self._open.trim_reducers(market)
        assert incoming.open_lots <= wanted, f"order {incoming.order_id} grew from {wanted} to {incoming.open_lots}"

    def _is_short(self, market: Market, incoming: Incoming) -> bool:
        """Whether a fill-or-kill order might not fill: what reduce-only orders offer may be trimmed, so it does not
        count.
        """
        words, side = market.book.words, incoming.side
        lots, _ = matching.cost_to_fill(words, int(side), 2**40, incoming.price_ticks, incoming.account)
        for number in market.reducers:
            orders = self._state.accounts[number].open_orders(market.symbol)
            lots -= sum(order.open_lots for order in orders if order.reduce_only and order.side is not side)
        return lots < incoming.open_lots

    def _trade(self, market: Market, row: list[int]) -> None:
        """Book a fill for both sides and tell it."""
        state = self._state
        price, lots, side = row[matching.ROW_PRICE], row[matching.ROW_SIZE], row[matching.ROW_SIDE]
        taker, maker = row[matching.ROW_OWNER], row[matching.MAKER_OWNER]
        trade_id = state.next_id()
        fee = market.instrument.fee_units
        self.book_fill(
            market,
            Fill(
                trade_id=trade_id,
                order_id=row[matching.ROW_ORDER_ID],
                account=taker,
                counterparty=maker,
                lots=lots * side,
                price_ticks=price,
                fee_units=fee(price, lots, is_maker=False),
                is_maker=False,
            ),
        )
        self.book_fill(
            market,
            Fill(
                trade_id=trade_id,
                order_id=row[matching.MAKER_ID],
                account=maker,
                counterparty=taker,
                lots=-lots * side,
                price_ticks=price,
                fee_units=fee(price, lots, is_maker=True),
                is_maker=True,
            ),
        )
        value = market.instrument.notional_units(price, lots)
        market.bars.add(state.now_ns, price, size_lots=lots, quote_units=value)
        state.tell(PublicTrade(state.now_ns, market.symbol, price, lots, Side(side)))
        if market.tpsl:
            self._rows.note_price(market, TriggerBy.LAST_PRICE, price)

    def book_fill(self, market: Market, fill: Fill) -> None:
        """Book one side of a trade: position, money and, for accounts with a history, order and trade."""
        state = self._state
        account = state.accounts[fill.account]
        state.fees_units += fill.fee_units
        if account.is_house:
            apply_fill(state, account, market=market, fill=fill)
            return
        order = account.orders[fill.order_id]
        fill = msgspec.structs.replace(
            fill, slot=order.position_side, is_liquidation=order.source is OrderSource.LIQUIDATION
        )
        filled = apply_fill(state, account, market=market, fill=fill)
        assert not (order.reduce_only and filled.opened_lots), f"order {order.order_id} only reduces, opened {filled}"
        state.touched[account.number] = None
        trade = PerpTrade(
            trade_id=fill.trade_id,
            order_id=order.order_id,
            account=account.number,
            counterparty=fill.counterparty,
            symbol=market.symbol,
            side=order.side,
            price_ticks=fill.price_ticks,
            size_lots=abs(fill.lots),
            fee_units=fill.fee_units,
            realised_units=filled.realised_units,
            is_maker=fill.is_maker,
            ts_ns=state.now_ns,
            position_id=filled.position_id,
            client_id=order.client_id,
            type=order.type,
            effect=order.effect,
            reduce_only=order.reduce_only,
            position_mode=order.position_mode,
            leverage=order.leverage,
        )
        account.trades.append(trade)
        state.tell(TradeMade(state.now_ns, trade))
        self._open.note_fill(account, order, trade)
        for change in filled.changes:
            state.tell(change)
        if filled.closed_id:
            self._rows.end_of(account, symbol=market.symbol, position_id=filled.closed_id)
        if filled.opened_lots and (order.tp is not None or order.sl is not None):
            self._rows.wake(account, order, position_id=filled.opened_id, lots=filled.opened_lots)
