"""Asks the venue what it holds and ends every doubt about our orders with its answer."""

from __future__ import annotations

from agora.domain.events import OrderCancelled, OrderRejected
from agora.domain.orders import OrderStatus
from agora.session.runner import Runner

_IN_DOUBT = (OrderStatus.PLANNED, OrderStatus.SENT, OrderStatus.UNKNOWN)


async def reconcile(runner: Runner) -> None:
    """Compare open orders and positions with the venue's; nothing new is sent before this has been done."""
    account = await runner.venue.account()
    at_venue = set(account.open_client_ids)
    for client_id, order in list(runner.desk.state.working.items()):
        if client_id in at_venue:
            continue
        now_ns = max(runner.clock.now_ns(), runner.desk.state.now_ns)
        if order.status in _IN_DOUBT:
            reason = "not at the venue after the restart"
            await runner.take(OrderRejected(ts_ns=now_ns, client_id=client_id, reason=reason))
        else:
            reason = "gone from the venue during the outage"
            await runner.take(OrderCancelled(ts_ns=now_ns, client_id=client_id, reason=reason))
    await runner.take(await runner.account())
