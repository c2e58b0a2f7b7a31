"""What accounts, triggers and the venue itself do with orders: submit, modify, cancel. Refusals change nothing.

A post-only order that would cross is not refused: it is accepted and then ended by the system, as the venue does.
"""

from __future__ import annotations

import msgspec

from agora.domain.orders import Side
from agora.exchange import perp_checks as checks
from agora.exchange.perp_accounts import PerpAccount
from agora.exchange.perp_crossing import Crossing, Incoming
from agora.exchange.perp_margin import Claim, claim_of, leverage_of, opening_refusal
from agora.exchange.perp_open_orders import OpenOrders, end_status
from agora.exchange.perp_positions import Fill
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    ChangeEvent,
    Effect,
    OrderSource,
    PerpOrder,
    PerpRequest,
    PerpStatus,
    PerpType,
)
from agora.exchange.perp_state import INSURANCE, Market, PerpState
from agora.kernels import matching


class Orders:
    """All orders of an exchange, over the state that its parts share."""

    def __init__(self, state: PerpState, open_orders: OpenOrders, crossing: Crossing) -> None:
        self._state = state
        self._open = open_orders
        self._crossing = crossing

    # Taking orders.

    def submit(self, account: PerpAccount, request: PerpRequest) -> PerpOrder:
        """Take an order of the account's own, or say why not."""
        market = self._state.markets.get(request.symbol)
        if market is None:
            return refused(account, request, PerpReason.UNKNOWN_SYMBOL)
        if request.client_id and request.client_id in account.client_ids:
            return refused(account, request, PerpReason.DUPLICATE_CLIENT_ID)
        reason = checks.form_refusal(market, request)
        if reason is not PerpReason.NONE:
            return refused(account, request, reason)
        if account.is_house:
            return self._submit_house(account, market, request)
        action = checks.action_of(account, request)
        if isinstance(action, PerpReason):
            return refused(account, request, action)
        reason = checks.request_refusal(self._state, account, market=market, request=request, action=action)
        if reason is not PerpReason.NONE:
            return refused(account, request, reason)
        return self._take(account, request, action=action, source=OrderSource.API)

    def submit_unchecked(self, account: PerpAccount, request: PerpRequest, source: OrderSource) -> PerpOrder:
        """Take an order that the venue itself or an outside hand makes: only its form and what it reduces count."""
        market = self._state.markets[request.symbol]
        action = checks.action_of(account, request)
        if isinstance(action, PerpReason):
            return refused(account, request, action)
        reason = checks.form_refusal(market, request)
        # What is left of a position may be less than the contract's smallest order.
        if reason in {PerpReason.NONE, PerpReason.TOO_SMALL, PerpReason.TOO_LARGE}:
            reason = checks.reduce_refusal(account, market.symbol, action)
        if reason is not PerpReason.NONE:
            return refused(account, request, reason)
        return self._take(account, request, action=action, source=source)

    def _submit_house(self, account: PerpAccount, market: Market, request: PerpRequest) -> PerpOrder:
        """House accounts have no margin, no modes and no history; only the answer says what happened."""
        if request.reduce_only or request.tp is not None or request.sl is not None:
            return refused(account, request, PerpReason.BAD_PARAMETER)
        incoming = self._incoming(account, request, side=request.side)
        self._crossing.meet(market, incoming)
        filled = request.size_lots - incoming.open_lots
        ended = bool(incoming.end) or not incoming.open_lots
        status = PerpStatus.PART_FILLED if filled else PerpStatus.NEW
        if ended:
            status = PerpStatus.FILLED if not incoming.open_lots else end_status(incoming.end, filled_lots=filled)
        return PerpOrder(
            order_id=incoming.order_id,
            account=account.number,
            symbol=request.symbol,
            side=request.side,
            size_lots=request.size_lots,
            type=request.type,
            effect=request.effect,
            price_ticks=request.price_ticks,
            status=status,
            reason=incoming.end,
            open_lots=0 if ended else incoming.open_lots,
            filled_lots=filled,
            cost_units=incoming.cost_units,
            created_ns=self._state.now_ns,
            changed_ns=self._state.now_ns,
        )

    def _incoming(self, account: PerpAccount, request: PerpRequest, *, side: Side) -> Incoming:
        is_limit = request.type is PerpType.LIMIT
        return Incoming(
            order_id=self._state.next_id(),
            account=account.number,
            side=side,
            effect=request.effect if is_limit or request.effect is Effect.FOK else Effect.IOC,
            price_ticks=request.price_ticks if is_limit else 0,
            open_lots=request.size_lots,
            expire_ts_ns=request.expire_ts_ns,
        )

    def _take(
        self, account: PerpAccount, request: PerpRequest, *, action: checks.Action, source: OrderSource
    ) -> PerpOrder:
        """Note a checked order and let it meet the book."""
        incoming = self._note_order(account, request, action=action, source=source)
        self._crossing.meet(self._state.markets[request.symbol], incoming)
        return account.orders[incoming.order_id]

    def _note_order(
        self, account: PerpAccount, request: PerpRequest, *, action: checks.Action, source: OrderSource
    ) -> Incoming:
        """Keep a new order and tell it."""
        market = self._state.markets[request.symbol]
        incoming = self._incoming(account, request, side=action.side)
        if action.reduce_only:
            closable = abs(account.lots_in(market.symbol, action.slot))
            incoming.open_lots = min(incoming.open_lots, closable)
        order = PerpOrder(
            order_id=incoming.order_id,
            account=account.number,
            symbol=market.symbol,
            side=action.side,
            size_lots=request.size_lots,
            type=request.type,
            effect=request.effect,
            price_ticks=incoming.price_ticks,
            status=PerpStatus.NEW,
            client_id=request.client_id,
            reduce_only=action.reduce_only,
            position_side=action.slot,
            position_mode=account.position_mode,
            leverage=leverage_of(account, market),
            open_lots=incoming.open_lots,
            created_ns=self._state.now_ns,
            changed_ns=self._state.now_ns,
            source=source,
            tp=request.tp,
            sl=request.sl,
        )
        self._open.add(account, order)
        return incoming

    def hand_over(self, account: PerpAccount, request: PerpRequest) -> PerpOrder:
        """Fill a closing order at the mark price against the insurance account, outside the book and without fees."""
        state, market = self._state, self._state.markets[request.symbol]
        action = checks.action_of(account, request)
        assert isinstance(action, checks.Action), f"a position that is open cannot be handed over: {action}"
        incoming = self._note_order(account, request, action=action, source=OrderSource.LIQUIDATION)
        fill = Fill(
            trade_id=state.next_id(),
            order_id=incoming.order_id,
            account=account.number,
            counterparty=INSURANCE,
            lots=request.size_lots * action.side,
            price_ticks=market.mark_ticks,
            fee_units=0,
            is_maker=False,
        )
        self._crossing.book_fill(market, fill)
        other = msgspec.structs.replace(fill, account=INSURANCE, counterparty=account.number, lots=-fill.lots)
        self._crossing.book_fill(market, other)
        self._open.trim_reducers(market)
        return account.orders[incoming.order_id]

    # Changing and ending.

    def cancel(self, account: PerpAccount, order_id: int, reason: PerpReason = PerpReason.REQUESTED) -> PerpReason:
        """Take an order out of the book."""
        if account.is_house:
            return self._cancel_house(account, order_id)
        order = account.orders.get(order_id)
        if order is None:
            return PerpReason.UNKNOWN_ORDER
        if not order.is_open:
            return PerpReason.ORDER_ENDED
        self._open.cancel(account, order, reason)
        return PerpReason.NONE

    def _cancel_house(self, account: PerpAccount, order_id: int) -> PerpReason:
        if type(order_id) is not int or not 0 < order_id < 2**62:
            return PerpReason.UNKNOWN_ORDER
        out = self._state.out
        for market in self._state.markets.values():
            matching.cancel(market.book.words, out, order_id, account.number)
            if out[0, matching.CODE] == matching.CANCELLED:
                return PerpReason.NONE
        return PerpReason.UNKNOWN_ORDER

    def modify(self, account: PerpAccount, order_id: int, *, price_ticks: int, size_lots: int) -> PerpReason:
        """Give a limit order another price and whole size, filled part included. It loses its priority unless only
        its size shrinks.
        """
        order = account.orders.get(order_id)
        if order is None:
            return PerpReason.UNKNOWN_ORDER
        if not order.is_open:
            return PerpReason.ORDER_ENDED
        reason = self._modify_refusal(account, order, price_ticks=price_ticks, size_lots=size_lots)
        if reason is not PerpReason.NONE:
            return reason
        market = self._state.markets[order.symbol]
        lots = size_lots - order.filled_lots
        if order.reduce_only:
            lots = min(lots, abs(account.lots_in(market.symbol, order.position_side)))
        self._state.touched[account.number] = None
        changed = msgspec.structs.replace(
            order, price_ticks=price_ticks, size_lots=size_lots, open_lots=lots, changed_ns=self._state.now_ns
        )
        if price_ticks == order.price_ticks and lots <= order.open_lots:
            if lots < order.open_lots:
                self._open.shrink_in_book(order, order.open_lots - lots)
            self._open.keep(account, changed, ChangeEvent.UPDATE)
            return PerpReason.NONE
        self._open.leave_book(order)
        self._open.keep(account, changed, ChangeEvent.UPDATE)
        incoming = Incoming(
            order_id=order_id,
            account=account.number,
            side=order.side,
            effect=order.effect,
            price_ticks=price_ticks,
            open_lots=lots,
        )
        self._crossing.meet(market, incoming)
        return PerpReason.NONE

    def _modify_refusal(
        self, account: PerpAccount, order: PerpOrder, *, price_ticks: int, size_lots: int
    ) -> PerpReason:
        market = self._state.markets[order.symbol]
        if type(price_ticks) is not int or type(size_lots) is not int or size_lots <= order.filled_lots:
            return PerpReason.BAD_PARAMETER
        if not 0 < price_ticks <= matching.NUMBER_MAX:
            return PerpReason.BAD_PRICE
        reason = checks.size_refusal(market, size_lots, is_limit=True)
        if reason is PerpReason.NONE:
            reason = checks.band_refusal(market, order.side, price_ticks)
        if reason is not PerpReason.NONE or order.reduce_only:
            return reason
        lots = size_lots - order.filled_lots
        new = Claim(order.side, order.position_side, lots=lots, price_ticks=price_ticks, reduce_only=False)
        claims = [
            new if other.order_id == order.order_id else claim_of(other) for other in account.open_orders(market.symbol)
        ]
        return opening_refusal(self._state, account, market=market, claims=claims, new=new)


def refused(account: PerpAccount, request: PerpRequest, reason: PerpReason) -> PerpOrder:
    """The answer to a request that changed nothing."""
    return PerpOrder(
        order_id=0,
        account=account.number,
        symbol=request.symbol,
        side=request.side,
        size_lots=request.size_lots,
        type=request.type,
        effect=request.effect,
        price_ticks=request.price_ticks,
        status=PerpStatus.REJECTED,
        reason=reason,
        client_id=request.client_id,
    )
