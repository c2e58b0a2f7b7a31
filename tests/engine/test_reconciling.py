"""A run at a venue that keeps its account: the private stream, the comparison of books, orders in doubt, the end."""

from __future__ import annotations

from typing import Any

import pytest

from agora.domain.events import (
    OperatorCommand,
    OrderAccepted,
    OrderCancelIntent,
    OrderCancelled,
    OrderFilled,
    OrderRefused,
    OrderRejected,
    OrderUnknown,
    RunEnded,
    RunResumed,
    Timer,
    UserAlive,
    UserConnected,
    UserLost,
    Warned,
)
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Confirm
from agora.engine.state import NEVER_NS, Phase
from tests.engine.desks import PRICE, SYMBOL, Play, limit, market

PATIENT = {"stale_timeout_s": 3_600}


def live_play(*, connected: bool = True, **facts: Any) -> Play:
    """A live run whose data may stand still; its private stream is fresh and compared unless told otherwise."""
    play = Play(is_live=True, watchdogs=PATIENT, **facts)
    play.quote()
    if connected:
        play.connect()
    return play


def questions(play: Play) -> list[int]:
    """What the last event asks the venue, in seconds of the run."""
    started_ns = play.state.started_ts_ns
    return [(effect.ts_ns - started_ns) // NS_PER_S for effect in play.effects if isinstance(effect, Confirm)]


def may_enter(play: Play) -> bool:
    """Whether an entry goes through now."""
    play.trader.script.insert(0, market(lots=1))
    play.quote(after_s=0)
    play.candle(after_s=1)
    return bool(play.sent())


def refusals(play: Play) -> list[tuple[str, str]]:
    """Rule and reason of every refusal."""
    return [(event.rule, event.reason) for event in play.recorded(OrderRefused)]


def warned(play: Play) -> list[tuple[str, str]]:
    """All warnings."""
    return [(event.what, event.detail) for event in play.recorded(Warned)]


# Before the first order.


def test_no_entry_before_the_venue_has_agreed() -> None:
    """Unconnected, then connected and unanswered, then differing: refused; the first agreement opens admission."""
    play = live_play(connected=False)
    assert not may_enter(play)
    play.tell(UserConnected, source="test", keepalive_s=20)
    assert questions(play) == [play.now_ns // NS_PER_S - play.state.started_ts_ns // NS_PER_S]
    assert not may_enter(play)
    play.venue_says(positions={SYMBOL: 3})
    assert not may_enter(play)
    play.venue_says()
    assert may_enter(play)
    assert refusals(play) == [
        ("user_stream", "the private stream is not connected"),
        ("reconciled", "books are not compared with the venue's yet"),
        ("reconciled", f"books differ from the venue's: position {SYMBOL}"),
    ]


def test_a_paper_run_needs_none_of_it() -> None:
    """Its venue is ours."""
    play = Play()
    assert may_enter(play)
    assert play.state.reconcile_due_ns == NEVER_NS


def test_only_an_answer_to_a_newer_question_proves_anything() -> None:
    """A reading from before the stream was fresh says nothing of what came between."""
    play = live_play(connected=False)
    asked_before = play.now_ns
    play.tell(UserConnected, 2, source="test", keepalive_s=3_600)
    play.venue_says(asked_ts_ns=asked_before)
    assert not may_enter(play)
    play.venue_says(asked_ts_ns=play.state.user_connected_ns)
    assert may_enter(play)


def test_every_reconnection_closes_admission_until_the_venue_agrees_again() -> None:
    """Fills may have happened while nobody listened."""
    play = live_play()
    play.tell(UserLost, reason="reset")
    play.venue_says()
    assert not may_enter(play)
    play.tell(UserConnected, source="test", keepalive_s=3_600)
    assert not may_enter(play)
    play.venue_says()
    assert may_enter(play)
    assert play.state.counters.user_connections == 2


def test_a_resumed_run_begins_without_its_private_stream() -> None:
    """What the venue says at the restart is compared; entries wait until the stream of this life is connected."""
    play = live_play()
    play.tell(RunResumed, 30, down_ns=30 * NS_PER_S)
    play.venue_says()
    assert not may_enter(play)
    play.connect()
    assert may_enter(play)


# Again and again.


@pytest.mark.requirement("P2.2")
def test_the_venue_is_asked_again_after_the_interval() -> None:
    """Every thirty seconds of the run's clock, whether or not an answer came."""
    play = live_play(account={"reconcile_every_s": 30})
    start_s = (play.now_ns - play.state.started_ts_ns) // NS_PER_S
    assert play.state.reconcile_due_ns == play.now_ns + 30 * NS_PER_S
    assert play.state.deadline_ns <= play.state.reconcile_due_ns
    play.tell(Timer, 29)
    assert questions(play) == []
    play.tell(Timer, 1)
    assert questions(play) == [start_s + 30]
    play.tell(Timer, 30)
    assert questions(play) == [start_s + 60]
    assert play.state.counters.reconciles == 1


@pytest.mark.requirement("P1.3")
def test_a_difference_that_passes_ends_nothing() -> None:
    """Asked again soon; when both sides agree it is forgotten, and one that comes later has its own time."""
    play = live_play(account={"desync_hold_s": 10})
    play.venue_says(cash=1)
    assert play.state.desync_keys == ("cash",)
    play.tell(Timer, 3)
    assert len(questions(play)) == 1
    play.venue_says()
    assert (play.state.desync_keys, play.state.desync_since_ns) == ((), 0)
    assert may_enter(play)
    play.venue_says(cash=2, after_s=9)
    play.venue_says(cash=2, after_s=9)
    assert play.state.phase is Phase.RUNNING


@pytest.mark.requirement("P1.3")
def test_a_difference_that_holds_ends_the_run_with_both_values() -> None:
    """As long as was allowed, seen at every look; the warning says what differs."""
    play = live_play(account={"desync_hold_s": 10})
    looks = 0
    play.venue_says(positions={SYMBOL: 5})
    since_ns = play.now_ns
    while play.state.phase is Phase.RUNNING:
        looks += 1
        assert play.now_ns - since_ns < 10 * NS_PER_S
        play.tell(Timer, (play.state.reconcile_due_ns - play.now_ns) / NS_PER_S)
        assert len(questions(play)) == 1
        play.venue_says(positions={SYMBOL: 5})
    assert (play.now_ns - since_ns, looks) == (10 * NS_PER_S, 4)
    assert play.state.end_reason == "desync"
    assert warned(play) == [("desync", f"{SYMBOL}: we have 0 lots, the venue 5")]


def test_differences_that_change_are_not_one_that_holds() -> None:
    """Something is under way: each has to hold by itself."""
    play = live_play(account={"desync_hold_s": 10})
    for number in range(12):
        said = {"cash": 1} if number % 2 else {"positions": {SYMBOL: 5}}
        play.venue_says(after_s=5, **said)  # type: ignore[arg-type]
    assert play.state.phase is Phase.RUNNING
    assert not may_enter(play)


@pytest.mark.requirement("P2.2")
@pytest.mark.parametrize(
    "said, what",
    [
        ({"positions": {SYMBOL: 2}}, f"{SYMBOL}: we have 0 lots, the venue 2"),
        ({"positions": {"DOGEUSDT": -4}}, "DOGEUSDT: not ours, the venue has -4 lots"),
        ({"cash": 10**12 + 2}, "cash: we have 1000000000000 units, the venue 1000000000002"),
        ({"orders": ["foreign-9"]}, "open order foreign-9 is at the venue, not with us"),
        ({"orders": ["t-0000099"]}, "open order t-0000099 is at the venue, not with us"),
    ],
)
def test_each_kind_of_difference_is_found_and_named(said: dict[str, Any], what: str) -> None:
    """Positions, also in what we do not trade; cash; orders that are not with us."""
    play = live_play(account={"desync_hold_s": 1})
    play.venue_says(**said)
    play.venue_says(after_s=1, **said)
    assert warned(play) == [("desync", what)]


def test_an_order_that_is_only_here_is_a_difference() -> None:
    """Accepted, and not at the venue; one that is planned or in doubt is none."""
    play = live_play()
    order = play.place(limit(), answered=False)
    play.venue_says(orders=[])
    assert play.state.desync_keys == ()
    play.tell(OrderUnknown, client_id=order.client_id, reason="time-out")
    play.venue_says(orders=[])
    assert play.state.desync_keys == ()
    play.tell(OrderAccepted, client_id=order.client_id, venue_id="v")
    play.venue_says(orders=[])
    assert play.state.desync_keys == (f"order {order.client_id}",)


@pytest.mark.parametrize(
    "ours, theirs, keys",
    [(0, 2, ()), (0, 3, (f"position {SYMBOL}",)), (0, -2, ()), (0, -3, (f"position {SYMBOL}",))],
)
def test_small_differences_may_be_tolerated(ours: int, theirs: int, keys: tuple[str, ...]) -> None:
    """Of positions in lots."""
    play = live_play(account={"desync_lots_max": 2})
    play.venue_says(positions={SYMBOL: ours + theirs})
    assert play.state.desync_keys == keys


def test_small_differences_of_cash_may_be_tolerated() -> None:
    """In the quote currency, to the unit."""
    play = live_play(account={"desync_money_max": "0.01"})
    cash = play.state.ledger.cash
    play.venue_says(cash=cash - 1_000_000)
    assert play.state.desync_keys == ()
    play.venue_says(cash=cash + 1_000_001)
    assert play.state.desync_keys == ("cash",)


@pytest.mark.requirement("P2.2")
def test_an_order_that_ended_here_and_is_open_there_is_cancelled_again() -> None:
    """So is one whose cancel was asked for; one of somebody else is not ours to cancel."""
    play = live_play()
    over = play.place(limit(lots=1))
    play.tell(OrderCancelled, client_id=over.client_id, reason="requested")
    play.venue_says()
    going = play.place(limit(lots=1, price=PRICE - 1))
    play.tell(OperatorCommand, command="flatten", reason="")
    assert play.cancels() == [going.client_id]
    play.venue_says(orders=[over.client_id, going.client_id, "foreign-1"])
    assert play.cancels() == [over.client_id, going.client_id]
    assert [event.reason for event in play.recorded(OrderCancelIntent)][1:] == [
        "ended here, open at the venue",
        "still at the venue",
    ]


# The private stream.


@pytest.mark.requirement("P1.4")
def test_silence_closes_admission_and_twice_that_ends_the_run() -> None:
    """Beyond its keep-alive: fifteen seconds and no new risk, thirty and the end, with both figures on record."""
    play = Play(is_live=True, watchdogs=PATIENT, account={"user_stream_age_s_max": 15})
    play.quote()
    play.connect(keepalive_s=20)
    seen_ns = play.now_ns
    play.tell(Timer, 34)
    assert may_enter(play)
    play.tell(Timer, 1)
    assert not may_enter(play)
    play.tell(Timer, (seen_ns + 49 * NS_PER_S - play.now_ns) / NS_PER_S)
    assert play.state.phase is Phase.RUNNING
    assert play.state.deadline_ns == seen_ns + 50 * NS_PER_S
    play.tell(Timer, 1)
    assert play.state.end_reason == "user_stream"
    assert warned(play) == [("user_stream", "private stream silent for 50000 ms, limit 50000 ms")]


def test_a_stream_that_speaks_is_alive() -> None:
    """Each keep-alive begins the time anew; no comparison is needed for that, as long as the last is not too old."""
    play = Play(is_live=True, watchdogs=PATIENT)
    play.quote()
    play.connect(keepalive_s=20)
    for _ in range(4):
        play.tell(UserAlive, 20)
    assert may_enter(play)
    assert play.state.phase is Phase.RUNNING


def test_a_stream_that_never_comes_ends_the_run() -> None:
    """From the start on: without its keep-alive known, after twice the limit."""
    play = live_play(connected=False)
    play.tell(Timer, 28.9)
    assert play.state.phase is Phase.RUNNING
    play.tell(Timer, 0.1)
    assert play.state.end_reason == "user_stream"


def test_a_refused_key_ends_the_run_at_once() -> None:
    """No waiting mends that; any other loss is waited for."""
    play = live_play()
    play.tell(UserLost, reason="connection reset")
    assert play.state.phase is Phase.RUNNING
    play.tell(UserLost, reason="auth: 10003 the key is not known")
    assert play.state.end_reason == "auth"


# Orders in doubt.


def doubtful_orders(play: Play, count: int, *, after_s: float = 1) -> list[str]:
    """So many orders fall into doubt."""
    names = []
    for _ in range(count):
        order = play.place(limit(lots=1), answered=False, after_s=after_s)
        play.tell(OrderUnknown, client_id=order.client_id, reason="time-out")
        names.append(order.client_id)
    return names


@pytest.mark.requirement("P2.1")
def test_a_storm_of_doubt_closes_admission_and_asks() -> None:
    """Three within the window; on record, asked at once, nothing new meanwhile."""
    play = live_play(account={"unknown_orders_max": 3, "unknown_window_s": 30})
    doubtful_orders(play, 2)
    assert questions(play) == []
    doubtful_orders(play, 1)
    assert len(questions(play)) == 1
    assert warned(play) == [("unknown_storm", "3 orders in doubt")]
    assert not may_enter(play)
    assert refusals(play) == [("doubts", "too many orders in doubt at once")]


def test_doubts_far_apart_are_no_storm() -> None:
    """Outside the window each is one doubt."""
    play = live_play(account={"unknown_orders_max": 3, "unknown_window_s": 30})
    doubtful_orders(play, 4, after_s=15)
    assert warned(play) == []


def test_a_doubt_that_is_told_twice_is_one_doubt() -> None:
    """A venue may say again that it does not know."""
    play = live_play()
    (name,) = doubtful_orders(play, 1)
    for _ in range(5):
        play.tell(OrderUnknown, client_id=name, reason="still not found")
    assert warned(play) == []


def test_evidence_clears_a_storm() -> None:
    """Every order has an answer and the venue was asked: admission opens; one open doubt keeps it closed."""
    play = live_play()
    names = doubtful_orders(play, 3)
    for name in names[:2]:
        play.tell(OrderRejected, client_id=name, reason="not there")
    play.venue_says()
    assert not may_enter(play)
    play.tell(OrderAccepted, client_id=names[2], venue_id="v")
    assert not may_enter(play)
    play.venue_says()
    assert may_enter(play)


@pytest.mark.requirement("P2.1")
def test_a_storm_without_evidence_ends_the_run() -> None:
    """After the hold; where all have their answer the run goes on, also when the venue is slow to be compared."""
    play = live_play(account={"unknown_hold_s": 45})
    doubtful_orders(play, 3)
    play.tell(Timer, 44.9)
    assert play.state.phase is Phase.RUNNING
    play.tell(Timer, 0.1)
    assert play.state.end_reason == "unknown_storm"
    play = live_play(account={"unknown_hold_s": 45})
    for name in doubtful_orders(play, 3):
        play.tell(OrderRejected, client_id=name, reason="not there")
    play.tell(Timer, 300)
    assert play.state.phase is Phase.RUNNING


# The end.


def ended(play: Play) -> RunEnded:
    """The last decision."""
    (event,) = play.recorded(RunEnded)
    return event  # type: ignore[no-any-return]


def confirming() -> Play:
    """A live run that has decided and waits for the last word."""
    play = live_play()
    play.candle()
    play.tell(OperatorCommand, 5, command="stop", reason="")
    assert play.state.phase is Phase.CONFIRMING
    return play


def test_an_answer_to_an_older_question_is_not_the_last_word() -> None:
    """It was read before we were done."""
    play = confirming()
    play.venue_says(asked_ts_ns=play.now_ns - 1, positions={SYMBOL: 4})
    assert (play.effects, play.state.phase) == ([], Phase.CONFIRMING)
    play.venue_says(asked_ts_ns=play.now_ns)
    assert (ended(play).flat, ended(play).exit_code) == (True, 0)


def test_what_is_left_at_the_venue_is_tried_again_until_the_deadline() -> None:
    """Asked each second, its orders cancelled each time; when nothing is left the run ends flat."""
    play = confirming()
    for _ in range(5):
        play.venue_says(orders=["t-0000042"])
        assert play.cancels() == ["t-0000042"]
        play.tell(Timer, 1)
        assert len(questions(play)) == 1
    play.venue_says()
    assert (ended(play).flat, ended(play).residual) == (True, ())


def test_what_is_left_at_the_deadline_is_the_truth() -> None:
    """Eighty seconds after the end began: not flat, with what the venue says."""
    play = confirming()
    began_ns = play.now_ns
    while play.state.phase is not Phase.ENDED:
        play.venue_says(positions={SYMBOL: 2})
        if play.state.phase is not Phase.ENDED:
            play.tell(Timer, 1)
    assert play.now_ns - began_ns == 80 * NS_PER_S
    assert (ended(play).exit_code, ended(play).flat) == (6, False)
    assert ended(play).residual[0] == f"position {SYMBOL} 2 lots"


def test_a_venue_that_is_silent_to_the_deadline_has_not_confirmed() -> None:
    """A live venue is worth waiting for longer than one of our own; then it is not flat."""
    play = confirming()
    play.tell(Timer, 79)
    assert play.state.phase is Phase.CONFIRMING
    play.tell(Timer, 1)
    assert ended(play).residual == ("the venue did not confirm",)


def test_a_fill_that_comes_while_the_venue_is_asked_is_flattened() -> None:
    """The answer shows it; the position goes, the venue is asked again."""
    play = confirming()
    play.foreign_fill(3, purpose="foreign")
    play.venue_says()
    (flatten,) = play.sent()
    assert (flatten.purpose, flatten.side, flatten.size_lots, flatten.trader) == ("flatten", -1, 3, "venue")
    play.tell(OrderAccepted, client_id=flatten.client_id, venue_id="v")
    play.fill(flatten)
    assert len(questions(play)) == 1
    play.venue_says(asked_ts_ns=play.now_ns)
    assert ended(play).flat


def test_books_that_differ_in_the_end_are_no_success() -> None:
    """Flat is what the venue says: so the run is flat, and stopped by the difference, with both values on record."""
    play = confirming()
    while play.state.phase is not Phase.ENDED:
        play.venue_says(cash=5)
        if play.state.phase is not Phase.ENDED:
            play.tell(Timer, 1)
    assert (ended(play).flat, ended(play).exit_code, ended(play).reason) == (True, 5, "stop: desync")
    assert warned(play) == [("desync", f"cash: we have {play.state.ledger.cash} units, the venue 5")]


def test_a_reconnection_while_ending_asks_anew() -> None:
    """Only the answer to the newest question counts."""
    play = confirming()
    play.tell(UserConnected, 3, source="test", keepalive_s=20)
    assert len(questions(play)) == 1
    play.venue_says(asked_ts_ns=play.now_ns - 3 * NS_PER_S)
    assert play.state.phase is Phase.CONFIRMING
    play.venue_says(asked_ts_ns=play.now_ns)
    assert ended(play).flat


def test_an_ending_that_a_crash_interrupted_has_its_time_again() -> None:
    """The venue is asked after the restart, and waited for as long as before."""
    play = confirming()
    play.tell(RunResumed, 500, down_ns=500 * NS_PER_S)
    play.venue_says(positions={SYMBOL: 2})
    play.tell(Timer, 15)
    assert (play.state.phase, len(questions(play))) == (Phase.CONFIRMING, 1)
    play.venue_says(asked_ts_ns=play.now_ns)
    assert ended(play).flat


def test_after_the_end_nothing_is_asked_and_nothing_leaves() -> None:
    """Whatever the venue goes on to say."""
    play = confirming()
    play.venue_says()
    for kind, facts in (
        (UserConnected, {"source": "test", "keepalive_s": 20}),
        (UserLost, {"reason": "auth: gone"}),
        (UserAlive, {}),
        (Timer, {}),
    ):
        play.tell(kind, 40, **facts)
        assert play.effects == []
    play.venue_says(orders=["t-0000042"], positions={SYMBOL: 7})
    assert (play.effects, play.state.deadline_ns) == ([], NEVER_NS)


def test_a_fill_of_an_outside_hand_is_booked_and_ends_the_run() -> None:
    """Liquidation does not: that is the venue's own rule."""
    play = live_play()
    play.foreign_fill(2, purpose="liquidation")
    assert play.state.phase is Phase.RUNNING
    play.foreign_fill(2, purpose="foreign")
    assert play.state.end_reason == "desync"
    assert [event.purpose for event in play.recorded(OrderFilled)] == ["liquidation", "foreign"]
    assert sorted(order.size_lots for order in play.sent()) == [4]
