"""Asks the venue what it holds and ends every doubt about our orders with its answer."""

from __future__ import annotations

from agora.domain.events import OrderCancelled, OrderRejected
from agora.domain.orders import Order, OrderStatus, Purpose
from agora.engine.state import Phase, State
from agora.session.runner import Runner

_IN_DOUBT = (OrderStatus.PLANNED, OrderStatus.SENT, OrderStatus.UNKNOWN)


async def reconcile(runner: Runner) -> None:
    """Compare open orders and positions with the venue's; nothing new is sent before this has been done."""
    account = await runner.account()
    at_venue = set(account.open_client_ids)
    state = runner.desk.state
    for client_id, order in list(state.working.items()):
        if client_id in at_venue or _is_missing_protection(state, order, at_venue):
            continue
        now_ns = max(runner.clock.now_ns(), state.now_ns)
        if order.status in _IN_DOUBT:
            reason = "not at the venue after the restart"
            await runner.take(OrderRejected(ts_ns=now_ns, client_id=client_id, reason=reason))
        else:
            reason = "gone from the venue during the outage"
            await runner.take(OrderCancelled(ts_ns=now_ns, client_id=client_id, reason=reason))
    await runner.take(await runner.account())
    at_venue = set((await runner.venue.account()).open_client_ids)
    runner.is_taking_up = False
    await _settle_planned(runner, at_venue)


async def _settle_planned(runner: Runner, at_venue: set[str]) -> None:
    """What was decided and has not left: protection and flattening leave now, the rest is stale and ends here."""
    state = runner.desk.state
    is_durable = await runner.make_durable()
    for order in [order for order in state.working.values() if order.status is OrderStatus.PLANNED]:
        if order.client_id in at_venue:
            continue  # It left, and only the record of that was lost: its answers will come.
        if order.purpose is Purpose.FLATTEN or (is_durable and _is_missing_protection(state, order, at_venue)):
            await runner.send(order)
        else:
            now_ns = max(runner.clock.now_ns(), state.now_ns)
            reason = "decided before the venue was asked, not sent"
            await runner.take(OrderRejected(ts_ns=now_ns, client_id=order.client_id, reason=reason))


def _is_missing_protection(state: State, order: Order, at_venue: set[str]) -> bool:
    """A stop or target that a crash kept back while its entry left: sent late, or the entry would fill unprotected."""
    if order.status is not OrderStatus.PLANNED or not order.parent or order.is_cancel_requested:
        return False
    entry = state.order(order.parent)
    has_entry = order.parent in at_venue or (entry is not None and entry.filled_lots > 0)
    return has_entry and state.phase is Phase.RUNNING
