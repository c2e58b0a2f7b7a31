"""The run and the venue that keeps its account: the private stream, the comparison of books, orders in doubt.

Nothing here is needed on paper, where the venue is ours; a live run trades only while all three agree.
"""

from __future__ import annotations

from agora.domain.events import OrderUnknown, Reconcile, UserAlive, UserConnected, UserLost, Warned
from agora.domain.numbers import NS_PER_S, money_units
from agora.domain.orders import OrderStatus
from agora.engine import ending, orders
from agora.engine.desk import Desk
from agora.engine.ports import Confirm
from agora.engine.state import ORDER_TIMES_KEPT, Phase, State

# A reason of `user.lost` that begins so says that the venue refuses our key: no waiting mends that.
AUTH_PREFIX = "auth"
# While books differ the venue is asked again so often: what passes is seen to pass, at a few requests each time.
LOOK_AGAIN_NS = 3 * NS_PER_S


def ask(desk: Desk) -> None:
    """Ask the venue what we hold, and again after the interval; at the end of a run the ending asks."""
    state = desk.state
    if state.phase is Phase.ENDED:
        return
    if state.phase is Phase.CONFIRMING:
        ending.confirm_again(desk)
        return
    state.reconcile_due_ns = state.now_ns + desk.rules.account.reconcile_every_s * NS_PER_S
    desk.out.append(Confirm(state.now_ns))


def on_user_connected(desk: Desk, event: UserConnected) -> None:
    """A fresh private stream: what happened before it is unknown until the venue has been asked."""
    state = desk.state
    state.counters.user_connections += 1
    state.user_seen_ns = state.user_connected_ns = event.ts_ns
    state.user_keepalive_s = event.keepalive_s
    state.is_reconciled = False
    ask(desk)


def on_user_alive(desk: Desk, event: UserAlive) -> None:
    """The private stream speaks."""
    desk.state.user_seen_ns = event.ts_ns


def on_user_lost(desk: Desk, event: UserLost) -> None:
    """No new risk until it is back; the watchdogs decide how long that may last. A refused key ends the run."""
    desk.state.user_connected_ns = 0
    if event.reason.startswith(AUTH_PREFIX):
        ending.begin(desk, "auth")


def on_unknown(desk: Desk, event: OrderUnknown) -> None:
    """An order fell into doubt; too many at once are a storm: ask, and wait for evidence with admission closed."""
    state, rules = desk.state, desk.rules.account
    order = state.order(event.client_id)
    is_news = order is not None and order.status is not OrderStatus.UNKNOWN
    orders.on_report(desk, event)
    if not is_news:
        return  # Told twice, an order is in doubt once.
    state.unknown_times_ns.append(event.ts_ns)
    del state.unknown_times_ns[:-ORDER_TIMES_KEPT]
    since_ns = event.ts_ns - rules.unknown_window_s * NS_PER_S
    if state.storm_since_ns or sum(ts_ns > since_ns for ts_ns in state.unknown_times_ns) < rules.unknown_orders_max:
        return
    state.storm_since_ns = event.ts_ns
    desk.record(Warned(ts_ns=event.ts_ns, what="unknown_storm", detail=f"{doubtful(state)} orders in doubt"))
    ask(desk)


def doubtful(state: State) -> int:
    """How many orders are in doubt now."""
    return sum(order.status is OrderStatus.UNKNOWN for order in state.working.values())


def on_reconcile(desk: Desk, event: Reconcile) -> None:
    """The venue has said what we hold: the end of a run, or the proof that both sides agree."""
    state = desk.state
    state.counters.reconciles += 1
    if state.phase is Phase.ENDED:
        return
    differences = _differences(desk, event)
    if state.phase is Phase.CONFIRMING:
        ending.on_confirmed(desk, event, tuple(differences.values()))
        return
    orders.cancel_again(desk, event.open_client_ids)
    if state.storm_since_ns and not doubtful(state):
        state.storm_since_ns = 0
    if not differences:
        # An answer to a question from before the stream was fresh proves nothing of what came between.
        is_new = not event.asked_ts_ns or event.asked_ts_ns >= state.user_connected_ns
        state.is_reconciled = state.is_reconciled or is_new
        state.agreed_ns = max(state.agreed_ns, event.asked_ts_ns or event.ts_ns)
        state.desync_since_ns, state.desync_keys = 0, ()
    elif not state.needs_user_stream:
        _end_in_desync(desk, differences)  # the venue is in our process: nothing can be under way
    else:
        _watch(desk, differences)


def _watch(desk: Desk, differences: dict[str, str]) -> None:
    """Something may be under way between the two sides: only a difference that holds is one."""
    state = desk.state
    hold_ns = desk.rules.account.desync_hold_s * NS_PER_S
    state.is_reconciled = False
    lasting = tuple(key for key in differences if key in state.desync_keys)
    if lasting and state.now_ns - state.desync_since_ns >= hold_ns:
        _end_in_desync(desk, {key: differences[key] for key in lasting})
        return
    if not lasting:
        state.desync_since_ns = state.now_ns
    state.desync_keys = lasting or tuple(differences)
    next_ns = state.now_ns + LOOK_AGAIN_NS
    hold_end_ns = state.desync_since_ns + hold_ns
    if hold_end_ns > state.now_ns:
        next_ns = min(next_ns, hold_end_ns)
    state.reconcile_due_ns = min(state.reconcile_due_ns, next_ns)


def _end_in_desync(desk: Desk, differences: dict[str, str]) -> None:
    if desk.state.phase is Phase.RUNNING:
        detail = "; ".join(differences.values())
        desk.record(Warned(ts_ns=desk.state.now_ns, what="desync", detail=detail))
        ending.begin(desk, "desync")


def _differences(desk: Desk, event: Reconcile) -> dict[str, str]:
    """Where the venue is not with us, by what it is about: both values, beyond what is tolerated."""
    state, rules = desk.state, desk.rules.account
    found: dict[str, str] = {}
    for symbol, holding in sorted(state.holdings.items()):
        ours, theirs = holding.position.size_lots, event.positions.get(symbol, 0)
        if abs(ours - theirs) > rules.desync_lots_max:
            found[f"position {symbol}"] = f"{symbol}: we have {ours} lots, the venue {theirs}"
    for symbol in sorted(event.positions.keys() - state.holdings.keys()):
        if event.positions[symbol]:
            found[f"position {symbol}"] = f"{symbol}: not ours, the venue has {event.positions[symbol]} lots"
    if abs(event.cash_units - state.ledger.cash) > money_units(rules.desync_money_max):
        found["cash"] = f"cash: we have {state.ledger.cash} units, the venue {event.cash_units}"
    if state.needs_user_stream:
        found |= _order_differences(state, event)
    return found


def _order_differences(state: State, event: Reconcile) -> dict[str, str]:
    at_venue = set(event.open_client_ids)
    answered = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)
    ours = {order.client_id for order in state.working.values() if order.status in answered}
    strange = at_venue - set(state.working)
    found = {f"order {name}": f"open order {name} is at the venue, not with us" for name in strange}
    found |= {f"order {name}": f"order {name} is open with us, not at the venue" for name in ours - at_venue}
    return dict(sorted(found.items()))
