"""How a run ends: admission closed, cancel all, flatten, confirm with the venue, report. One table, one order."""

from __future__ import annotations

from agora.domain.errors import ExitCode
from agora.domain.events import Reconcile, RunEnded, Warned
from agora.domain.intents import Cancel
from agora.domain.numbers import NS_PER_S
from agora.engine import orders
from agora.engine.desk import Desk
from agora.engine.ports import Confirm, Halt
from agora.engine.shares import open_shares
from agora.engine.state import NEVER_NS, Phase, State

# A venue answers a cancel within a second; ten of them are an outage, and the positions still have to go.
CANCEL_WAIT_NS = 10 * NS_PER_S
# Five attempts in a row that flatten nothing, within this time; then the truth is that we are not flat.
FLATTEN_WAIT_NS = 60 * NS_PER_S
FLATTEN_ATTEMPTS_MAX = 5
CONFIRM_WAIT_NS = 10 * NS_PER_S
# A venue that still has something of ours is asked again so often, until the end's own deadline.
CONFIRM_AGAIN_NS = NS_PER_S

# reason -> (status, exit code). Reasons not listed here are risk breakers.
ENDINGS: dict[str, tuple[str, ExitCode]] = {
    "duration": ("completed", ExitCode.COMPLETED),
    "data_end": ("completed", ExitCode.COMPLETED),
    "max_trades": ("completed", ExitCode.COMPLETED),
    "stop": ("completed", ExitCode.COMPLETED),
    "kill": ("stopped", ExitCode.RISK_STOP),
    "no_data": ("failed", ExitCode.DATA_STOP),
    "stale_data": ("stopped", ExitCode.DATA_STOP),
    "feed_lost": ("stopped", ExitCode.DATA_STOP),
    "error_burst": ("stopped", ExitCode.DATA_STOP),
    "desync": ("stopped", ExitCode.DATA_STOP),
    "user_stream": ("stopped", ExitCode.DATA_STOP),
    "unknown_storm": ("stopped", ExitCode.DATA_STOP),
    "auth": ("stopped", ExitCode.DATA_STOP),
    "disk": ("failed", ExitCode.JOURNAL_FAILURE),
    "bug": ("failed", ExitCode.BUG),
    "interrupt": ("stopped", ExitCode.INTERRUPTED),
    "terminate": ("stopped", ExitCode.TERMINATED),
}


def begin(desk: Desk, reason: str) -> None:
    """Close admission and start to cancel; a second reason changes nothing (the first cause is the cause)."""
    state = desk.state
    if state.phase is not Phase.RUNNING:
        return
    state.phase = Phase.CANCELLING
    state.end_reason = reason
    state.reconcile_due_ns = NEVER_NS
    state.end_deadline_ns = state.now_ns + CANCEL_WAIT_NS + FLATTEN_WAIT_NS + CONFIRM_WAIT_NS
    state.phase_deadline_ns = state.now_ns + CANCEL_WAIT_NS
    cancel_all(desk, reason)


def cancel_all(desk: Desk, reason: str) -> None:
    """Ask for the cancel of every working order, one record each."""
    for order in desk.state.orders():
        orders.cancel(desk, Cancel(client_id=order.client_id), reason)


def resume(state: State) -> None:
    """Go on with an ending that a crash interrupted, with the time that it needs from here."""
    state.phase_deadline_ns = state.now_ns + CANCEL_WAIT_NS
    state.end_deadline_ns = state.now_ns + FLATTEN_WAIT_NS + CONFIRM_WAIT_NS
    if state.phase is Phase.CONFIRMING:
        _await_venue(state)


def force(desk: Desk) -> None:
    """A second signal: cancels have been asked for; end at once and say what is left."""
    begin(desk, "interrupt")
    desk.state.is_forced = True
    if desk.state.phase is not Phase.ENDED:
        _end(desk, _own_residual(desk.state))


def advance(desk: Desk) -> None:
    """Carry the ending as far as the facts allow; called after every event while the run is ending."""
    state = desk.state
    is_late = state.now_ns >= state.phase_deadline_ns
    if state.phase is Phase.CANCELLING and (not state.working or is_late):
        _enter_phase(state, Phase.FLATTENING, FLATTEN_WAIT_NS)
        is_late = False
    if state.phase is Phase.FLATTENING:
        flatten_positions(desk)
        if state.is_flat or is_late or is_hopeless(state):
            _enter_phase(state, Phase.CONFIRMING, CONFIRM_WAIT_NS)
            _await_venue(state)
            state.last_word = None
            _ask(desk)
        return
    if state.phase is Phase.CONFIRMING and is_late:
        _end_unanswered(desk)


def _enter_phase(state: State, phase: Phase, wait_ns: int) -> None:
    state.phase = phase
    state.phase_deadline_ns = state.now_ns + wait_ns


def _await_venue(state: State) -> None:
    """A venue elsewhere may be away: the truth about money is worth waiting for."""
    if state.needs_user_stream:
        state.phase_deadline_ns = max(state.phase_deadline_ns, state.end_deadline_ns)


def flatten_positions(desk: Desk) -> None:
    """One flattening order at a time for each trader's share."""
    state = desk.state
    busy = {(order.trader, order.instrument) for order in state.working.values() if order.purpose == "flatten"}
    for trader, symbol, lots in list(open_shares(state)):
        attempts = state.flatten_attempts.get(_attempt_key(trader, symbol), 0)
        if (trader, symbol) not in busy and attempts < FLATTEN_ATTEMPTS_MAX:
            state.flatten_attempts[_attempt_key(trader, symbol)] = attempts + 1
            orders.flatten_share(desk, trader, symbol, size_lots=lots)


def note_progress(state: State, trader: str, symbol: str) -> None:
    """A part of a share was flattened: only attempts that achieve nothing are numbered."""
    state.flatten_attempts.pop(_attempt_key(trader, symbol), None)


def _attempt_key(trader: str, symbol: str) -> str:
    return f"{trader} {symbol}"


def is_hopeless(state: State) -> bool:
    """All attempts to flatten are spent and none is under way."""
    return not state.working and all(
        state.flatten_attempts.get(_attempt_key(trader, symbol), 0) >= FLATTEN_ATTEMPTS_MAX
        for trader, symbol, _ in open_shares(state)
    )


def _ask(desk: Desk) -> None:
    desk.state.confirm_ts_ns = desk.state.now_ns
    desk.out.append(Confirm(desk.state.now_ns))


def on_confirmed(desk: Desk, event: Reconcile, differences: tuple[str, ...]) -> None:
    """The venue's word at the end of a run. What is left is tried again while there is time, then it is the truth."""
    state = desk.state
    if event.asked_ts_ns and event.asked_ts_ns < state.confirm_ts_ns:
        return  # An older question: it was answered before we were done.
    left = [f"position {symbol} {lots} lots" for symbol, lots in sorted(event.positions.items()) if lots]
    left += [f"open order {client_id}" for client_id in event.open_client_ids]
    state.last_word = (tuple(left), differences)
    if not (left or differences) or not state.needs_user_stream or state.now_ns >= state.end_deadline_ns:
        _end_with_last_word(desk, *state.last_word)
        return
    orders.cancel_again(desk, event.open_client_ids)
    if any(True for _ in open_shares(state)) and not is_hopeless(state):
        _enter_phase(state, Phase.FLATTENING, FLATTEN_WAIT_NS)
    else:
        state.reconcile_due_ns = state.now_ns + CONFIRM_AGAIN_NS


def _end_with_last_word(desk: Desk, left: tuple[str, ...], differences: tuple[str, ...]) -> None:
    is_left = bool(left) or not desk.state.needs_user_stream
    _end(desk, (*left, *differences) if is_left else (), differences)


def _end_unanswered(desk: Desk) -> None:
    """The time is over: what the venue said last is the truth, or else what we believe."""
    if desk.state.last_word is not None:
        _end_with_last_word(desk, *desk.state.last_word)
    else:
        _end(desk, ("the venue did not confirm", *_own_residual(desk.state)))


def confirm_again(desk: Desk) -> None:
    """Ask the venue once more whether it still has something of ours."""
    desk.state.reconcile_due_ns = NEVER_NS
    _ask(desk)


def _own_residual(state: State) -> tuple[str, ...]:
    """What we believe is left."""
    positions = [
        f"position {symbol} {holding.position.size_lots} lots"
        for symbol, holding in sorted(state.holdings.items())
        if holding.position.size_lots
    ]
    return (*positions, *(f"open order {order.client_id}" for order in state.orders()))


def _end(desk: Desk, residual: tuple[str, ...], differences: tuple[str, ...] = ()) -> None:
    """The last decision: status and exit code from the reason, unless something is left or nothing was done.

    Flat is what the venue says; books that differ then are no success all the same.
    """
    state = desk.state
    state.phase = Phase.ENDED
    state.phase_deadline_ns = state.reconcile_due_ns = NEVER_NS
    status, code = ENDINGS.get(state.end_reason, ("stopped", ExitCode.RISK_STOP))
    reason = state.end_reason
    if code is ExitCode.COMPLETED and (not state.counters.market_events or not state.counters.decisions):
        missing = "no usable market data came" if not state.counters.market_events else "no decision was made"
        status, code, reason = "failed", ExitCode.DATA_STOP, f"{reason}: {missing}"
    if differences and not residual:
        desk.record(Warned(ts_ns=state.now_ns, what="desync", detail="; ".join(differences)))
        if code is ExitCode.COMPLETED:
            status, code, reason = "stopped", ExitCode.DATA_STOP, f"{reason}: desync"
    if residual and code not in (ExitCode.JOURNAL_FAILURE, ExitCode.BUG):
        status, code = ("failed" if status == "failed" else "stopped"), ExitCode.NOT_FLAT
    state.ended = (status, reason, int(code), not residual, residual)
    desk.record(
        RunEnded(
            ts_ns=state.now_ns,
            status=status,
            reason=reason,
            exit_code=int(code),
            flat=not residual,
            residual=residual,
        )
    )
    desk.out.append(Halt())
