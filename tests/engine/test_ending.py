"""Endings: one shutdown list for every cause, and an outcome that is earned and says the truth."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agora.domain.errors import EXIT_CODE_MEANINGS, ExitCode
from agora.domain.events import (
    BreakerTripped,
    ErrorSeen,
    FeedEnded,
    OperatorCommand,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    RunEnded,
    Timer,
    UserLost,
    Warned,
)
from agora.domain.orders import Purpose
from agora.engine.ending import ENDINGS, FLATTEN_ATTEMPTS_MAX
from agora.engine.ports import Confirm, Halt
from agora.engine.state import NEVER_NS, Phase
from tests.engine.desks import PRICE, SYMBOL, Play, limit, way_out

Cause = Callable[[Play], object]


def ended(play: Play) -> RunEnded:
    """The last decision."""
    (event,) = play.recorded(RunEnded)
    return event  # type: ignore[no-any-return]


def command(name: str) -> Cause:
    """An operator's word."""
    return lambda play: play.tell(OperatorCommand, command=name, reason="because")


def settle(play: Play) -> None:
    """A venue that does what it is asked until the run has ended."""
    for _ in range(20):
        if play.state.phase is Phase.ENDED:
            return
        if any(isinstance(effect, Confirm) for effect in play.effects):
            play.venue_says()
            continue
        for order in list(play.state.working.values()):
            if order.purpose is Purpose.FLATTEN:
                play.fill(order)
            else:
                play.tell(OrderCancelled, client_id=order.client_id, reason="requested")
    raise AssertionError(play.state.phase)


def busy_play(**facts: object) -> Play:
    """A run with a position, an entry waiting and a bracket behind it."""
    play = Play(**facts)  # type: ignore[arg-type]
    play.hold(10)
    play.place(limit(price=PRICE - 50, stop_ticks=PRICE - 100))
    return play


# The list.


@pytest.mark.requirement("B2")
@pytest.mark.requirement("H4.3")
def test_a_run_ends_by_one_list_in_one_order() -> None:
    """Cancel everything, one record each; when all is answered, flatten; when flat, ask the venue; then the end."""
    play = busy_play()
    play.tell(OperatorCommand, command="stop", reason="enough")
    assert play.kinds() == ["order.cancel_intent", "Change"] * 2
    assert play.state.phase is Phase.CANCELLING
    waiting = list(play.state.working)
    play.tell(OrderCancelled, client_id=waiting[0], reason="requested")
    assert play.effects == []
    play.tell(OrderCancelled, client_id=waiting[1], reason="requested")
    assert play.kinds() == ["order.intent", "Send"]
    (flatten,) = play.sent()
    assert (flatten.purpose, flatten.side, flatten.size_lots, flatten.reduce_only) == ("flatten", -1, 10, True)
    play.tell(OrderAccepted, client_id=flatten.client_id, venue_id="v")
    play.fill(flatten, 10)
    assert play.kinds() == ["position", "Confirm"]
    assert play.recorded(RunEnded) == []
    play.venue_says()
    assert play.kinds() == ["run.ended", "Halt"]
    assert ended(play).flat
    assert play.state.phase is Phase.ENDED


def test_an_idle_flat_run_ends_as_soon_as_the_venue_has_confirmed() -> None:
    """Nothing to cancel, nothing to flatten: the confirmation is asked for at once."""
    play = Play()
    play.candle()
    play.tell(FeedEnded)
    assert play.kinds() == ["Confirm"]
    play.venue_says()
    assert (ended(play).exit_code, ended(play).reason) == (0, "data_end")


def test_a_fill_that_beats_its_cancel_is_flattened_too() -> None:
    """The entry fills while its cancel travels: the position it makes goes the same way."""
    play = Play()
    order = play.place(limit())
    play.tell(OperatorCommand, command="stop", reason="")
    play.fill(order, 10)
    (flatten,) = play.sent()
    assert (flatten.purpose, flatten.size_lots) == ("flatten", 10)
    settle(play)
    assert (ended(play).flat, play.state.holdings[SYMBOL].position.size_lots) == (True, 0)


def test_a_cancel_without_an_answer_does_not_keep_the_position_open() -> None:
    """After ten seconds the flattening begins anyway."""
    play = busy_play()
    play.tell(OperatorCommand, command="stop", reason="")
    play.tell(Timer, 9.9)
    assert play.sent() == []
    play.tell(Timer, 0.1)
    assert [order.purpose for order in play.sent()] == ["flatten"]


def test_flattening_is_tried_again_a_bounded_number_of_times() -> None:
    """Each refusal leads to the next attempt; after the last the truth is told: not flat, exit 6."""
    play = Play()
    play.hold(10)
    play.tell(OperatorCommand, command="stop", reason="")
    attempts = 0
    while play.state.phase is Phase.FLATTENING:
        (order,) = play.sent()
        attempts += 1
        play.tell(OrderRejected, client_id=order.client_id, reason="no_market")
    assert attempts == FLATTEN_ATTEMPTS_MAX
    play.venue_says()
    assert (ended(play).exit_code, ended(play).flat) == (ExitCode.NOT_FLAT, False)
    assert ended(play).residual == (f"position {SYMBOL} 10 lots",)


def test_what_a_flattening_order_left_is_flattened_next() -> None:
    """A part fill and a cancelled rest lead to an order for exactly the rest."""
    play = Play()
    play.hold(10)
    play.tell(OperatorCommand, command="stop", reason="")
    (first,) = play.sent()
    play.fill(first, 7)
    assert play.sent() == []
    play.tell(OrderCancelled, client_id=first.client_id, reason="ioc_remainder")
    assert [order.size_lots for order in play.sent()] == [3]


def test_attempts_that_flatten_a_part_are_not_numbered() -> None:
    """A thin book that yields one lot at a time is taken lot by lot, more often than attempts in vain are made."""
    play = Play()
    play.hold(10)
    play.tell(OperatorCommand, command="stop", reason="")
    for left in range(10, 0, -1):
        (order,) = play.sent()
        assert order.size_lots == left
        play.fill(order, 1)
        if left > 1:
            play.tell(OrderCancelled, client_id=order.client_id, reason="ioc_remainder")
    assert play.state.holdings[SYMBOL].position.size_lots == 0
    assert play.state.phase is Phase.CONFIRMING


@pytest.mark.parametrize(
    "name, answer, residual",
    [
        ("a position we do not know of", {"positions": {SYMBOL: 3}}, ("position", "we have 0 lots")),
        ("an order that lives on", {"orders": ["t-0000001"]}, ("open order t-0000001",)),
        ("other money", {"cash": 1}, ("cash",)),
    ],
)
def test_flat_is_what_the_venue_says(name: str, answer: dict[str, object], residual: tuple[str, ...]) -> None:
    """A venue that disagrees makes the run not flat, exit 6, with both values named."""
    play = Play()
    play.candle()
    play.tell(OperatorCommand, command="stop", reason="")
    play.venue_says(**answer)  # type: ignore[arg-type]
    event = ended(play)
    assert (event.exit_code, event.flat, event.status) == (ExitCode.NOT_FLAT, False, "stopped"), name
    assert all(any(word in line for line in event.residual) for word in residual)


def test_a_venue_that_does_not_answer_is_not_a_confirmation() -> None:
    """After the wait the run ends not flat, saying why."""
    play = Play()
    play.candle()
    play.tell(OperatorCommand, command="stop", reason="")
    play.tell(Timer, 10)
    assert (ended(play).exit_code, ended(play).residual) == (6, ("the venue did not confirm",))


def test_nothing_is_asked_of_anybody_after_the_end() -> None:
    """Late events change no decision; no deadline is left."""
    play = Play()
    play.candle()
    play.tell(OperatorCommand, command="stop", reason="")
    play.venue_says()
    for _ in range(3):
        play.candle()
        play.tell(OperatorCommand, command="stop", reason="")
        assert play.effects == []
    assert play.state.deadline_ns == NEVER_NS
    assert len(play.recorded(RunEnded)) == 1


# The outcome.


def doubt_of_three(play: Play) -> None:
    """Three orders whose fate is not known."""
    for price in (PRICE, PRICE - 1, PRICE - 2):
        order = play.place(limit(lots=1, price=price), answered=False, after_s=1)
        play.tell(OrderUnknown, client_id=order.client_id, reason="time-out")


CAUSES: dict[str, Cause] = {
    "stop": command("stop"),
    "interrupt": command("interrupt"),
    "terminate": command("terminate"),
    "kill": command("kill"),
    "disk": command("disk"),
    "bug": command("bug"),
    "data_end": lambda play: play.tell(FeedEnded),
    "duration": lambda play: play.tell(Timer, 10),
    "stale_data": lambda play: play.tell(Timer, 31),
    "max_trades": lambda play: (play.hold(1), play.fill(play.place(way_out(lots=1))), play.tell(Timer)),
    "error_burst": lambda play: [play.tell(ErrorSeen, where="x", detail="") for _ in range(20)],
    "desync": lambda play: play.venue_says(cash=1),
    "no_data": lambda play: play.tell(Timer, 31),
    "feed_lost": command("feed_lost"),
    "user_stream": lambda play: (play.quote(after_s=25), play.tell(Timer, 5)),
    "auth": lambda play: play.tell(UserLost, reason="auth: 10003 signature error"),
    "unknown_storm": lambda play: (doubt_of_three(play), play.quote(after_s=25), play.tell(Timer, 20)),
}
LIVE = ("user_stream", "auth", "unknown_storm")


@pytest.mark.requirement("B12")
@pytest.mark.requirement("B28")
@pytest.mark.parametrize("reason", ENDINGS)
def test_every_cause_has_its_own_status_and_exit_code(reason: str) -> None:
    """A run that received data, decided, and is flat ends with exactly the row of its cause."""
    facts: dict[str, object] = {"duration": {"duration_s": 70}, "max_trades": {"watchdogs": {"max_trades": 1}}}
    facts |= {name: {"is_live": True} for name in LIVE}
    play = Play(**facts.get(reason, {}))  # type: ignore[arg-type]
    if reason in LIVE:
        play.connect(keepalive_s=60 if reason == "user_stream" else 3_600)
    if reason != "no_data":
        play.candle()
    CAUSES[reason](play)
    settle(play)
    event = ended(play)
    status, code = ENDINGS[reason]
    assert (event.reason, event.status, event.exit_code, event.flat) == (reason, status, code, True)
    assert code in EXIT_CODE_MEANINGS


@pytest.mark.parametrize("breaker", ["max_loss", "daily_drawdown", "losing_streak"])
def test_a_breaker_ends_the_run_as_a_risk_stop(breaker: str) -> None:
    """Reasons without a row of their own are breakers: stopped, exit 4."""
    limits = {"max_loss": "loss_fraction_max_ppm", "daily_drawdown": "daily_drawdown_max_ppm"}
    wide = {"loss_fraction_max_ppm": 1_000_000, "daily_drawdown_max_ppm": 1_000_000, "losing_streak_max": 0}
    tight = {limits[breaker]: 1_000} if breaker in limits else {"losing_streak_max": 1}
    play = Play(breakers=wide | tight)
    play.hold(100)
    play.candle(PRICE - 10_000)
    if breaker == "losing_streak":
        play.fill(play.place(way_out(lots=100)), price=PRICE - 10)
    settle(play)
    assert (ended(play).reason, ended(play).status, ended(play).exit_code) == (breaker, "stopped", 4)


@pytest.mark.parametrize("cause", ["stop", "data_end", "duration"])
@pytest.mark.parametrize("feed", ["nothing came", "nothing was decided"])
def test_success_is_earned(cause: str, feed: str) -> None:
    """A run that saw no data, or decided nothing, did not succeed whatever it planned: failed, exit 5."""
    play = Play(duration_s=9)
    if feed == "nothing was decided":
        play.quote()
    CAUSES[cause](play)
    settle(play)
    missing = "no usable market data came" if feed == "nothing came" else "no decision was made"
    assert (ended(play).status, ended(play).exit_code, ended(play).reason) == ("failed", 5, f"{cause}: {missing}")


def test_a_worse_cause_is_not_hidden_by_what_is_left() -> None:
    """Journal failures and bugs keep their own exit code; all others become 6 when something is left."""
    for name, code in (("disk", 7), ("bug", 8), ("kill", 6), ("interrupt", 6), ("stop", 6)):
        play = Play()
        play.candle()
        play.tell(OperatorCommand, command=name, reason="")
        play.venue_says(positions={SYMBOL: 1})
        assert ended(play).exit_code == code, name
        assert not ended(play).flat


def test_the_first_cause_is_the_cause() -> None:
    """What happens while a run ends does not rename its end."""
    play = busy_play()
    play.tell(OperatorCommand, command="stop", reason="")
    play.tell(OperatorCommand, command="terminate", reason="")
    play.tell(FeedEnded)
    settle(play)
    assert ended(play).reason == "stop"


# Operators.


@pytest.mark.requirement("B28")
def test_a_kill_is_a_breaker_that_stays() -> None:
    """Recorded as tripped with the operator's words, so that it outlives the run."""
    play = busy_play()
    play.tell(OperatorCommand, command="kill", reason="I smell smoke")
    (tripped,) = play.recorded(BreakerTripped)
    assert (tripped.breaker, tripped.value) == ("kill", "I smell smoke")
    settle(play)
    assert list(play.state.breakers) == ["kill"]
    assert ended(play).exit_code == ExitCode.RISK_STOP


@pytest.mark.requirement("H3.3")
def test_a_second_signal_cancels_and_ends_at_once() -> None:
    """In the same step: cancels leave, then the end with what is left; the first signal stays the cause."""
    play = busy_play()
    play.tell(OperatorCommand, command="terminate", reason="SIGTERM")
    play.tell(OperatorCommand, command="force", reason="SIGTERM")
    assert play.kinds() == ["run.ended", "Halt"]
    event = ended(play)
    assert (event.reason, event.exit_code, event.flat) == ("terminate", 6, False)
    assert event.residual[0] == f"position {SYMBOL} 10 lots"
    assert len(event.residual) == 3


def test_force_alone_still_asks_for_every_cancel() -> None:
    """Cancels first, then the end; a flat and idle run that is forced ends flat."""
    play = busy_play()
    play.tell(OperatorCommand, command="force", reason="")
    assert play.kinds() == ["order.cancel_intent", "Change"] * 2 + ["run.ended", "Halt"]
    play = Play()
    play.candle()
    play.tell(OperatorCommand, command="force", reason="")
    assert isinstance(play.effects[-1], Halt)
    assert (ended(play).exit_code, ended(play).flat) == (ExitCode.INTERRUPTED, True)


def test_flatten_closes_everything_and_goes_on() -> None:
    """Orders are cancelled, the position closed, entries refused meanwhile; then the run trades as before."""
    play = busy_play()
    play.tell(OperatorCommand, command="flatten", reason="news")
    assert play.kinds() == ["order.cancel_intent", "Change"] * 2
    play.trader.script.append(limit())
    play.candle()
    assert play.state.refusals == {"entries_open": 1}
    for client_id in list(play.state.working):
        play.tell(OrderCancelled, client_id=client_id, reason="requested")
    (flatten,) = play.sent()
    play.fill(flatten)
    assert (play.state.phase, play.state.is_flattening_only) == (Phase.RUNNING, False)
    play.trader.script.append(limit())
    play.candle()
    assert len(play.sent()) == 1


def test_flatten_with_nothing_to_do_changes_nothing() -> None:
    """The run goes on at once."""
    play = Play()
    play.candle()
    play.tell(OperatorCommand, command="flatten", reason="")
    assert (play.effects, play.state.is_flattening_only, play.state.phase) == ([], False, Phase.RUNNING)


def test_a_disagreement_while_running_stops_the_run() -> None:
    """Cancel all, flatten what we know of, and say both values at the end."""
    play = busy_play()
    play.venue_says(positions={SYMBOL: 7})
    assert play.state.end_reason == "desync"
    assert play.kinds() == ["warning", *["order.cancel_intent", "Change"] * 2]
    (said,) = play.recorded(Warned)
    assert (said.what, said.detail) == ("desync", f"{SYMBOL}: we have 10 lots, the venue 7")


def test_an_agreement_while_running_changes_nothing() -> None:
    """The routine comparison leaves no trace but its record."""
    play = busy_play()
    assert play.venue_says(orders=list(play.state.working)) == []
    assert play.state.phase is Phase.RUNNING
