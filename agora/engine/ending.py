"""How a run ends: admission closed, cancel all, flatten, confirm with the venue, report. One table, one order."""

from __future__ import annotations

from agora.domain.errors import ExitCode
from agora.domain.events import Reconcile, RunEnded
from agora.domain.intents import Cancel
from agora.domain.numbers import NS_PER_S
from agora.engine import orders
from agora.engine.desk import Desk
from agora.engine.ports import Confirm, Halt
from agora.engine.state import NEVER_NS, Phase, State

# A venue answers a cancel within a second; ten of them are an outage, and the positions still have to go.
CANCEL_WAIT_NS = 10 * NS_PER_S
# Five attempts to flatten within this time; then the truth is that we are not flat.
FLATTEN_WAIT_NS = 60 * NS_PER_S
FLATTEN_ATTEMPTS_MAX = 5
CONFIRM_WAIT_NS = 10 * NS_PER_S

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
    state.phase_deadline_ns = state.now_ns + CANCEL_WAIT_NS
    cancel_all(desk, reason)


def cancel_all(desk: Desk, reason: str) -> None:
    """Ask for the cancel of every working order, one record each."""
    for client_id in list(desk.state.working):
        orders.cancel(desk, Cancel(client_id=client_id), reason)


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
        if state.is_flat or is_late or _is_hopeless(state):
            _enter_phase(state, Phase.CONFIRMING, CONFIRM_WAIT_NS)
            desk.out.append(Confirm(state.now_ns))
        return
    if state.phase is Phase.CONFIRMING and is_late:
        _end(desk, ("the venue did not confirm", *_own_residual(state)))


def _enter_phase(state: State, phase: Phase, wait_ns: int) -> None:
    state.phase = phase
    state.phase_deadline_ns = state.now_ns + wait_ns


def flatten_positions(desk: Desk) -> None:
    """One flattening order at a time for each open position."""
    state = desk.state
    busy = {order.instrument for order in state.working.values() if order.purpose == "flatten"}
    for symbol in state.holdings:
        has_position = state.holdings[symbol].position.size_lots != 0
        if has_position and symbol not in busy and state.flatten_attempts < FLATTEN_ATTEMPTS_MAX:
            state.flatten_attempts += 1
            orders.flatten_position(desk, symbol)


def _is_hopeless(state: State) -> bool:
    """All attempts to flatten are spent and none is under way."""
    return state.flatten_attempts >= FLATTEN_ATTEMPTS_MAX and not state.working


def on_reconcile(desk: Desk, event: Reconcile) -> None:
    """The venue has said what we hold: the end of a run, or the proof that both sides agree."""
    state = desk.state
    differences = _differences(state, event)
    if state.phase is Phase.CONFIRMING:
        left = [f"position {symbol} {lots} lots" for symbol, lots in sorted(event.positions.items()) if lots]
        left += [f"open order {client_id}" for client_id in event.open_client_ids]
        _end(desk, (*left, *differences))
        return
    orders.cancel_again(desk, event.open_client_ids)
    if differences:
        begin(desk, "desync")


def _differences(state: State, event: Reconcile) -> tuple[str, ...]:
    """Where the venue's positions and cash are not ours."""
    found = [
        f"{symbol}: we have {holding.position.size_lots} lots, the venue {event.positions.get(symbol, 0)}"
        for symbol, holding in sorted(state.holdings.items())
        if holding.position.size_lots != event.positions.get(symbol, 0)
    ]
    if event.cash_units != state.ledger.cash:
        found.append(f"cash: we have {state.ledger.cash} units, the venue {event.cash_units}")
    return tuple(found)


def _own_residual(state: State) -> tuple[str, ...]:
    """What we believe is left."""
    positions = [
        f"position {symbol} {holding.position.size_lots} lots"
        for symbol, holding in sorted(state.holdings.items())
        if holding.position.size_lots
    ]
    return (*positions, *(f"open order {client_id}" for client_id in state.working))


def _end(desk: Desk, residual: tuple[str, ...]) -> None:
    """The last decision: status and exit code from the reason, unless something is left or nothing was done."""
    state = desk.state
    state.phase = Phase.ENDED
    state.phase_deadline_ns = NEVER_NS
    status, code = ENDINGS.get(state.end_reason, ("stopped", ExitCode.RISK_STOP))
    reason = state.end_reason
    if code is ExitCode.COMPLETED and (not state.counters.market_events or not state.counters.decisions):
        missing = "no usable market data came" if not state.counters.market_events else "no decision was made"
        status, code, reason = "failed", ExitCode.DATA_STOP, f"{reason}: {missing}"
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
