"""Orders of the desk: planned by intents, moved by the life-cycle table, settled into ledger and positions."""

from __future__ import annotations

from collections.abc import Sequence

from agora.domain.events import (
    Event,
    Funding,
    OrderAccepted,
    OrderAmended,
    OrderAmendIntent,
    OrderAmendRejected,
    OrderCancelIntent,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRefused,
    OrderRejected,
    OrderSent,
    OrderUnknown,
    PositionChanged,
    Warned,
)
from agora.domain.intents import Amend, Cancel, Place
from agora.domain.orders import (
    Order,
    OrderChange,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
    next_status,
)
from agora.engine import shares
from agora.engine.desk import Desk
from agora.engine.ports import Change, Send
from agora.engine.shares import VENUE_TRADER, Execution
from agora.engine.state import CLOSED_ORDERS_KEPT, FILL_IDS_KEPT, FUNDED_POSITIONS_KEPT, ORDER_TIMES_KEPT


def place(desk: Desk, trader: str, intent: Place) -> None:
    """Let the limits judge an intent; plan and send it, with its bracket legs, or record the refusal."""
    for check in desk.rules.checks:
        reason = check.refusal(desk, intent)
        if reason is not None:
            refuse(desk, trader, intent, rule=check.name, reason=reason)
            return
    entry = _plan(desk, trader, intent)
    if intent.stop_ticks:
        _plan_leg(desk, entry, Purpose.STOP, level_ticks=intent.stop_ticks)
    if intent.target_ticks:
        _plan_leg(desk, entry, Purpose.TARGET, level_ticks=intent.target_ticks)


def refuse(desk: Desk, trader: str, intent: Place, *, rule: str, reason: str) -> None:
    """Put on record that an intent is not carried out, and by which rule."""
    desk.record(
        OrderRefused(
            ts_ns=desk.state.now_ns,
            trader=trader,
            instrument=intent.instrument,
            purpose=intent.purpose,
            side=intent.side.word,
            size_lots=intent.size_lots,
            price_ticks=intent.price_ticks,
            rule=rule,
            reason=reason,
        )
    )


def _plan(desk: Desk, trader: str, intent: Place) -> Order:
    """A new order from an intent, recorded and handed to the venue after that."""
    return _enter(
        desk,
        Order(
            client_id="",
            number=0,
            trader=trader,
            instrument=intent.instrument,
            side=intent.side,
            type=intent.type,
            time_in_force=intent.time_in_force,
            purpose=intent.purpose,
            size_lots=intent.size_lots,
            price_ticks=intent.price_ticks,
            trigger_ticks=intent.trigger_ticks,
            expire_ts_ns=intent.expire_ts_ns,
            post_only=intent.post_only,
            reduce_only=intent.reduce_only,
        ),
    )


def _plan_leg(desk: Desk, entry: Order, purpose: Purpose, *, level_ticks: int) -> None:
    """A stop or target that sleeps at the venue until its entry fills."""
    is_stop = purpose is Purpose.STOP
    leg = Order(
        client_id="",
        number=0,
        trader=entry.trader,
        instrument=entry.instrument,
        side=Side(-entry.side),
        type=OrderType.STOP if is_stop else OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        purpose=purpose,
        size_lots=entry.size_lots,
        price_ticks=0 if is_stop else level_ticks,
        trigger_ticks=level_ticks if is_stop else 0,
        reduce_only=True,
        parent=entry.client_id,
    )
    _enter(desk, leg)


def _enter(desk: Desk, order: Order) -> Order:
    """Number an order, count it, record its intent and let it leave.

    Client ids come from the run and a sequence kept in the state, so a restart cannot send an order twice.
    """
    state = desk.state
    order.number = state.next_order_number
    order.client_id = f"{desk.rules.run_tag}-{order.number:07d}"
    order.planned_ts_ns = order.changed_ts_ns = state.now_ns
    state.next_order_number += 1
    state.working[order.client_id] = order
    state.order_times_ns.append(state.now_ns)
    del state.order_times_ns[:-ORDER_TIMES_KEPT]
    state.counters.intended += 1
    desk.record(
        OrderIntent(
            ts_ns=state.now_ns,
            client_id=order.client_id,
            number=order.number,
            trader=order.trader,
            instrument=order.instrument,
            side=order.side.word,
            type=order.type,
            time_in_force=order.time_in_force,
            purpose=order.purpose,
            size_lots=order.size_lots,
            price_ticks=order.price_ticks,
            trigger_ticks=order.trigger_ticks,
            expire_ts_ns=order.expire_ts_ns,
            post_only=order.post_only,
            reduce_only=order.reduce_only,
            parent=order.parent,
        )
    )
    desk.out.append(Send(order))
    return order


def cancel(desk: Desk, intent: Cancel, reason: str) -> None:
    """Ask the venue to cancel a working order, once. It counts as working until the venue says otherwise."""
    order = desk.state.working.get(intent.client_id)
    if order is None or order.is_cancel_requested:
        return
    _ask_cancel(desk, order.client_id, reason)


def cancel_again(desk: Desk, open_client_ids: Sequence[str]) -> None:
    """Repeat the cancels of orders that the venue still has: a crash may have kept the first request from leaving.

    An order of this run that we believe ended, and the venue has open, is called back as well.
    """
    for client_id in open_client_ids:
        order = desk.state.working.get(client_id)
        if order is not None and order.is_cancel_requested:
            _ask_cancel(desk, client_id, "still at the venue")
        elif order is None and client_id.startswith(f"{desk.rules.run_tag}-"):
            _ask_cancel(desk, client_id, "ended here, open at the venue")


def _ask_cancel(desk: Desk, client_id: str, reason: str) -> None:
    order = desk.state.working.get(client_id)
    if order is not None:
        order.is_cancel_requested = True
    desk.record(OrderCancelIntent(ts_ns=desk.state.now_ns, client_id=client_id, reason=reason))
    desk.out.append(Change(client_id, desk.state.now_ns))


def amend(desk: Desk, intent: Amend) -> None:
    """Ask the venue to move a working order."""
    order = desk.state.working.get(intent.client_id)
    if order is None or order.is_cancel_requested:
        return
    if _amend_refused(desk, order, intent):
        return
    desk.record(
        OrderAmendIntent(
            ts_ns=desk.state.now_ns,
            client_id=order.client_id,
            price_ticks=intent.price_ticks,
            trigger_ticks=intent.trigger_ticks,
        )
    )
    desk.out.append(Change(order.client_id, desk.state.now_ns, (intent.price_ticks, intent.trigger_ticks)))


def _amend_refused(desk: Desk, order: Order, intent: Amend) -> bool:
    """Whether the limits refuse the order at its new levels; recorded like any refusal.

    Judged as an order that can only reduce: its size is counted already, what may be wrong is the price.
    """
    moved = Place(
        instrument=order.instrument,
        side=order.side,
        size_lots=order.size_lots,
        purpose=order.purpose,
        type=order.type,
        price_ticks=intent.price_ticks or order.price_ticks,
        trigger_ticks=intent.trigger_ticks or order.trigger_ticks,
        reduce_only=True,
    )
    for check in desk.rules.checks:
        reason = check.refusal(desk, moved)
        if reason is not None:
            refuse(desk, order.trader, moved, rule=check.name, reason=reason)
            return True
    return False


def flatten_share(desk: Desk, trader: str, symbol: str, *, size_lots: int) -> None:
    """A market order that closes a trader's whole signed share. It passes no entry limits: it can only reduce."""
    order = Order(
        client_id="",
        number=0,
        trader=trader,
        instrument=symbol,
        side=Side.SELL if size_lots > 0 else Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        purpose=Purpose.FLATTEN,
        size_lots=abs(size_lots),
        reduce_only=True,
    )
    _enter(desk, order)


_CHANGES: dict[type[Event], tuple[OrderChange, str]] = {
    OrderSent: (OrderChange.SEND, "sent"),
    OrderAccepted: (OrderChange.ACCEPT, "accepted"),
    OrderRejected: (OrderChange.REJECT, "rejected"),
    OrderUnknown: (OrderChange.LOSE, "unknown"),
    OrderCancelled: (OrderChange.CANCEL, "cancelled"),
    OrderExpired: (OrderChange.EXPIRE, "expired"),
}
OrderReport = OrderSent | OrderAccepted | OrderRejected | OrderUnknown | OrderCancelled | OrderExpired


def on_report(desk: Desk, event: OrderReport) -> None:
    """Move an order along its life-cycle; a repeated or late report changes nothing."""
    order = desk.state.order(event.client_id)
    if order is None:
        desk.record(Warned(ts_ns=desk.state.now_ns, what="foreign_order", detail=event.client_id))
        return
    change, counter = _CHANGES[type(event)]
    status = next_status(order.status, change)
    if isinstance(event, OrderAccepted) and not order.venue_id:
        order.venue_id = event.venue_id
    if status is None:
        return
    counters = desk.state.counters
    setattr(counters, counter, getattr(counters, counter) + 1)
    _move(desk, order, status)


def _move(desk: Desk, order: Order, status: OrderStatus) -> None:
    """Give an order its new status and keep it where orders of that status live."""
    state = desk.state
    order.status = status
    order.changed_ts_ns = state.now_ns
    if order.is_open and order.client_id not in state.working:
        # A part of an order that was thought rejected has filled: the rest of it is alive and must count.
        state.closed.remove(order)
        state.working[order.client_id] = order
    elif not order.is_open and state.working.pop(order.client_id, None) is not None:
        state.closed.append(order)
        del state.closed[:-CLOSED_ORDERS_KEPT]


def on_amended(desk: Desk, event: OrderAmended) -> None:
    """The venue has moved an order."""
    order = desk.state.working.get(event.client_id)
    if order is None:
        return
    order.price_ticks = event.price_ticks or order.price_ticks
    order.trigger_ticks = event.trigger_ticks or order.trigger_ticks
    desk.state.counters.amended += 1


def on_amend_rejected(desk: Desk, event: OrderAmendRejected) -> None:
    """The order stays as it was; the trader sees it unchanged and may ask again."""
    desk.record(Warned(ts_ns=desk.state.now_ns, what="amend_rejected", detail=f"{event.client_id}: {event.reason}"))


def on_fill(desk: Desk, event: OrderFilled) -> bool:
    """Settle an execution; False when its venue id was seen before (a repeat is not a second trade)."""
    state = desk.state
    if event.venue_fill_id in state.fill_ids:
        state.counters.duplicate_fills += 1
        return False
    state.fill_ids.append(event.venue_fill_id)
    del state.fill_ids[:-FILL_IDS_KEPT]
    order = state.order(event.client_id)
    if order is None:
        order = _adopt(desk, event)
    order.filled_lots += event.fill_size_lots
    if order.filled_lots > order.size_lots:
        _grow(desk, order)
    order.venue_id = order.venue_id or event.venue_id
    change = OrderChange.FILL_REST if order.remaining_lots == 0 else OrderChange.FILL_PART
    status = next_status(order.status, change)
    if status is not None:
        _move(desk, order, status)
    state.counters.filled += 1
    _settle(desk, order, event)
    _call_back_ways_out(desk, order.instrument)
    return True


def _call_back_ways_out(desk: Desk, symbol: str) -> None:
    """A trader that is flat has nothing to close: its stops would close what others hold.

    Where all are flat the venue ends them by itself. Those of an entry that may still fill are kept.
    """
    state = desk.state
    if not state.holdings[symbol].position.size_lots:
        return
    for order in state.orders():
        is_way_out = order.reduce_only and order.parent not in state.working
        if order.instrument == symbol and is_way_out and not shares.lots_of(state, order.trader, symbol):
            cancel(desk, Cancel(client_id=order.client_id), "its trader is flat")


def _adopt(desk: Desk, event: OrderFilled) -> Order:
    """An execution the venue made on its own (liquidation): real money, so it is booked, and said aloud."""
    desk.record(Warned(ts_ns=desk.state.now_ns, what="foreign_fill", detail=f"{event.purpose} {event.client_id}"))
    order = Order(
        client_id=event.client_id,
        number=0,
        trader=VENUE_TRADER,
        instrument=event.instrument,
        side=Side.BUY if event.side == "buy" else Side.SELL,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        purpose=Purpose(event.purpose),
        size_lots=event.fill_size_lots,
        status=OrderStatus.ACCEPTED,
    )
    desk.state.working[order.client_id] = order
    return order


def _grow(desk: Desk, order: Order) -> None:
    """More was filled than we know to be ordered: of an adopted order we see only its fills; else the venue errs.

    Either way it is real money, so it is booked; the comparison of books will show what it comes to.
    """
    if order.number:
        detail = f"{order.client_id} filled {order.filled_lots} of {order.size_lots} lots"
        desk.record(Warned(ts_ns=desk.state.now_ns, what="overfill", detail=detail))
    order.size_lots = order.filled_lots


def _settle(desk: Desk, order: Order, event: OrderFilled) -> None:
    """Book one fill: position, profit, fee, and the share of the trader it belongs to."""
    state = desk.state
    holding = state.holdings[order.instrument]
    instrument = desk.rules.instruments[order.instrument]
    side = Side.BUY if event.side == "buy" else Side.SELL
    signed_lots = side * event.fill_size_lots
    realised = holding.position.apply(instrument, size_lots=signed_lots, price_ticks=event.fill_price_ticks)
    state.ledger.settle(realised=realised, fee=event.fee_units)
    execution = Execution(signed_lots, event.fill_price_ticks, event.fee_units)
    shares.book(desk, order.trader, order.instrument, execution=execution)
    desk.record(
        PositionChanged(
            ts_ns=state.now_ns,
            instrument=order.instrument,
            size_lots=holding.position.size_lots,
            cost_units=holding.position.cost_units,
            realised_units=realised,
            trader=order.trader,
        )
    )


def on_funding(desk: Desk, event: Funding) -> None:
    """Book settled funding, once per settlement."""
    state = desk.state
    if event.venue_funding_id in state.fill_ids:
        return
    state.fill_ids.append(event.venue_funding_id)
    del state.fill_ids[:-FILL_IDS_KEPT]
    state.ledger.fund(event.amount_units)
    shares.fund(state, event.instrument, event.amount_units)
    if event.position_id:
        state.funding_seen[event.position_id] = event.position_funding_units
        while len(state.funding_seen) > FUNDED_POSITIONS_KEPT:
            # The oldest by its number: the order of a dictionary does not survive a checkpoint.
            del state.funding_seen[min(state.funding_seen, key=lambda name: (len(name), name))]
