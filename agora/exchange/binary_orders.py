"""Orders from their request to their end: checked, held back for the taker delay, sent to the book, cancelled."""

from __future__ import annotations

from functools import partial

import msgspec

from agora.domain.orders import Side
from agora.exchange import binary_checks as checks
from agora.exchange.binary_accounts import UNLIMITED, BinaryAccount, LiveOrder
from agora.exchange.binary_crossing import BinaryCrossing
from agora.exchange.binary_ledger import COLLATERAL, Pocket
from agora.exchange.binary_open_orders import BinaryOpenOrders, book_points
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import (
    BinaryOrder,
    BinaryRequest,
    BinaryStatus,
    BinaryType,
    EngineMode,
    MarketState,
    OrderEvent,
    Outcome,
)
from agora.exchange.binary_state import BinaryMarket, BinaryState


class BinaryOrders:
    """All orders of an exchange, over the state that its parts share."""

    def __init__(self, state: BinaryState, open_orders: BinaryOpenOrders, crossing: BinaryCrossing) -> None:
        self._state = state
        self._open = open_orders
        self._crossing = crossing
        self._waiting: list[LiveOrder] = []  # held longer than the delay, because the engine restarts

    # Taking orders.

    def submit(self, account: BinaryAccount, request: BinaryRequest) -> BinaryOrder:
        """Take an order, or say why not."""
        state = self._state
        known = state.by_token.get(request.token_id)
        reason = checks.mode_refusal(state.mode, is_post_only=request.is_post_only)
        if reason is BinaryReason.NONE and known is None:
            reason = BinaryReason.UNKNOWN_ASSET
        if reason is not BinaryReason.NONE or known is None:
            return refused(account, request, reason)
        market, outcome = known
        reason = self._early_refusal(market, request)
        if reason is not BinaryReason.NONE:
            return refused(account, request, reason, known=known)
        terms = checks.terms_of(market, request, state.rules)
        if isinstance(terms, BinaryReason):
            return refused(account, request, terms, known=known)
        live = self._live(account, request, known=known, terms=terms)
        reason = self._late_refusal(market, request, outcome=outcome, live=live)
        if reason is not BinaryReason.NONE:
            return refused(account, request, reason, known=known)
        return self._take(market, live)

    def _early_refusal(self, market: BinaryMarket, request: BinaryRequest) -> BinaryReason:
        """What can be said before the amounts are read."""
        state = self._state
        if request.order_id in state.live or request.order_id in state.orders:
            return BinaryReason.DUPLICATED
        reason = checks.form_refusal(request)
        if reason is BinaryReason.NONE:
            reason = checks.market_refusal(market)
        return reason if reason is not BinaryReason.NONE else checks.expiration_refusal(state, request)

    def _late_refusal(
        self, market: BinaryMarket, request: BinaryRequest, *, outcome: Outcome, live: LiveOrder
    ) -> BinaryReason:
        """What the book and the money say. That a post-only order crosses is said first: it would not pay a fee."""
        state, record = self._state, live.record
        terms = checks.Terms(record.price_points, record.size_units, live.budget_units)
        reason = checks.crossing_refusal(market, request, outcome=outcome, terms=terms)
        if reason is not BinaryReason.NONE:
            return reason
        crosses = market.crosses(live.book_side, book_points(record))
        if crosses and record.side is Side.BUY and request.maker_amount < state.rules.marketable_buy_min_units:
            return BinaryReason.MARKETABLE_TOO_SMALL
        need = self._crossing.need_units(market, live)
        if need > self._available(state.accounts[live.account], live.held_asset):
            return BinaryReason.NOT_ENOUGH_BALANCE
        is_killed = record.order_type is BinaryType.FOK and not self._crossing.is_fillable(market, live)
        if is_killed and not self._delay_ns(live):
            return BinaryReason.FOK_NOT_FILLED
        is_full = market.book.order_count >= state.rules.order_capacity
        return BinaryReason.BOOK_FULL if is_full else BinaryReason.NONE

    def _delay_ns(self, live: LiveOrder) -> int:
        """How long an order that would trade is held."""
        return 0 if self._state.accounts[live.account].is_prompt else self._state.rules.taker_delay_ns

    def _available(self, account: BinaryAccount, asset: str) -> int:
        """What an account may still put behind orders: what is free, within what it allowed the exchange to take."""
        ledger = self._state.ledger
        allowance = account.allowances.get(asset, UNLIMITED)
        held = ledger.units(account.number, Pocket.HELD, asset)
        return min(ledger.units(account.number, Pocket.FREE, asset), allowance - held)

    def _live(
        self,
        account: BinaryAccount,
        request: BinaryRequest,
        *,
        known: tuple[BinaryMarket, Outcome],
        terms: checks.Terms,
    ) -> LiveOrder:
        market, outcome = known
        now_ns = self._state.now_ns
        record = BinaryOrder(
            order_id=request.order_id,
            account=account.number,
            key=request.key,
            condition_id=market.window.condition_id,
            token_id=request.token_id,
            outcome=outcome,
            side=request.side,
            order_type=request.order_type,
            is_post_only=request.is_post_only,
            price_points=terms.price_points,
            size_units=terms.size_units,
            maker_amount=request.maker_amount,
            taker_amount=request.taker_amount,
            expiration_s=request.expiration_s,
            status=BinaryStatus.LIVE,
            open_units=terms.size_units,
            created_ns=now_ns,
            changed_ns=now_ns,
        )
        return LiveOrder(
            number=self._state.next_id(),
            account=account.number,
            market_number=market.number,
            record=record,
            held_asset=COLLATERAL if request.side is Side.BUY else request.token_id,
            budget_units=terms.budget_units,
        )

    def _take(self, market: BinaryMarket, live: LiveOrder) -> BinaryOrder:
        """Note a checked order, and hold it back or let it meet the book."""
        self._open.hold(live, self._crossing.need_units(market, live))
        delay_ns = self._delay_ns(live)
        live.is_delayed = bool(delay_ns) and market.crosses(live.book_side, book_points(live.record))
        if live.is_delayed:
            live.record = _with_status(live.record, BinaryStatus.DELAYED)
        self._open.add(live)
        if live.is_delayed:
            self._state.at(self._state.now_ns + delay_ns, partial(self._release, live))
        else:
            self._meet(market, live)
        return live.record

    def _meet(self, market: BinaryMarket, live: LiveOrder) -> None:
        reason = self._crossing.meet(market, live)
        if reason is not BinaryReason.NONE:
            self._open.end(live, reason)

    def _release(self, live: LiveOrder) -> None:
        """The taker delay is over; during a restart it goes on."""
        if live.record.order_id not in self._state.live or not live.is_delayed:
            return
        if self._state.mode is EngineMode.RESTARTING:
            self._waiting.append(live)
            return
        market = self._state.by_number[live.market_number]
        assert market.state is MarketState.OPEN, f"{live.record.order_id} was held beyond the end of its market"
        live.is_delayed = False
        self._meet(market, live)
        if live.record.status is BinaryStatus.DELAYED:
            self._open.change(live, OrderEvent.UPDATE, status=BinaryStatus.UNMATCHED)

    def release_waiting(self) -> None:
        """The engine is back: orders whose delay ended meanwhile meet the book, in their order."""
        waiting, self._waiting = self._waiting, []
        for live in waiting:
            self._release(live)

    # Ending orders.

    def cancel(self, account: BinaryAccount, order_id: str) -> BinaryReason:
        """Cancel an order of the account's own."""
        reason = checks.cancel_refusal(self._state.mode)
        if reason is not BinaryReason.NONE:
            return reason
        live = account.open.get(order_id)
        if live is not None:
            self._open.cancel(live, BinaryReason.REQUESTED)
            return BinaryReason.NONE
        ended = self._state.orders.get(order_id)
        if ended is None or ended.account != account.number:
            return BinaryReason.UNKNOWN_ORDER
        is_matched = ended.status is BinaryStatus.MATCHED
        return BinaryReason.ALREADY_MATCHED if is_matched else BinaryReason.ALREADY_CANCELED

    def cancel_where(
        self, account: BinaryAccount, *, condition_id: str = "", token_id: str = "", key: str = "", reason: BinaryReason
    ) -> list[str]:
        """Cancel an account's open orders, those of a market, token or key where one is named; return their ids."""
        chosen = [
            live
            for live in account.open.values()
            if condition_id in {"", live.record.condition_id}
            and token_id in {"", live.record.token_id}
            and key in {"", live.record.key}
        ]
        for live in chosen:
            self._open.cancel(live, reason)
        return [live.record.order_id for live in chosen]

    def cancel_market(self, market: BinaryMarket, reason: BinaryReason) -> None:
        """Cancel all orders of a market."""
        for live in [each for each in self._state.live.values() if each.market_number == market.number]:
            self._open.cancel(live, reason)


def _with_status(record: BinaryOrder, status: BinaryStatus) -> BinaryOrder:
    return msgspec.structs.replace(record, status=status)


def refused(
    account: BinaryAccount,
    request: BinaryRequest,
    reason: BinaryReason,
    *,
    known: tuple[BinaryMarket, Outcome] | None = None,
) -> BinaryOrder:
    """The answer to a request that changed nothing."""
    return BinaryOrder(
        order_id=request.order_id,
        account=account.number,
        key=request.key,
        condition_id=known[0].window.condition_id if known is not None else "",
        token_id=request.token_id,
        outcome=known[1] if known is not None else Outcome.UP,
        side=request.side,
        order_type=request.order_type,
        is_post_only=request.is_post_only,
        price_points=0,
        size_units=0,
        maker_amount=request.maker_amount,
        taker_amount=request.taker_amount,
        expiration_s=request.expiration_s,
        status=BinaryStatus.INVALID,
        reason=reason,
    )
