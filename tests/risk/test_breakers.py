"""Breakers and watchdogs as tables: at which figure the run ends, and one step before it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agora.domain.events import (
    BreakerReset,
    BreakerTripped,
    ErrorSeen,
    FeedConnected,
    FeedEnded,
    FeedStale,
    Funding,
    OperatorCommand,
    Timer,
)
from agora.domain.numbers import MONEY_SCALE
from agora.domain.orders import Side
from agora.engine.state import NEVER_NS, Phase
from agora.risk.breakers import BREAKERS
from tests.engine.desks import PRICE, SYMBOL, Play, limit, market, way_out

OFF = {"loss_fraction_max_ppm": 1_000_000, "daily_drawdown_max_ppm": 1_000_000, "losing_streak_max": 0}
WIDE = {"position_notional_max": "99999999", "order_notional_max": "99999999", "leverage_max": 125}
Scene = Callable[[Play], None]


def open_loss(ticks: int, lots: int = 100) -> Scene:
    """0.1 BTC bought, and the price so many ticks lower: each tick is one cent."""

    def scene(play: Play) -> None:
        play.hold(lots)
        play.candle(PRICE - ticks)

    return scene


def booked_loss(units: int) -> Scene:
    """The first fill of a run costs so much; then flat again."""

    def scene(play: Play) -> None:
        play.fill(play.place(market()), fee=units)
        if play.state.phase is Phase.RUNNING:
            play.fill(play.place(way_out()))

    return scene


def funding_paid(units: int) -> Scene:
    """A position whose funding cost so much."""

    def scene(play: Play) -> None:
        play.hold(10)
        facts = {"rate_ppb": 1, "size_lots": 10, "mark_ticks": PRICE, "venue_funding_id": "f"}
        play.tell(Funding, instrument=SYMBOL, amount_units=-units, **facts)

    return scene


def rise_then_fall(rise: int, fall: int) -> Scene:
    """Open profit first, then back."""

    def scene(play: Play) -> None:
        play.hold(100)
        play.candle(PRICE + rise)
        play.candle(PRICE + rise - fall)

    return scene


def over_midnight(play: Play) -> None:
    """300 dollars lost before midnight, 200 after it, from an open position."""
    play.hold(100)
    play.candle(PRICE - 29_000)
    play.candle(PRICE - 29_000, after_s=86_400)
    play.candle(PRICE - 49_000)


def losing_trades(count: int) -> Scene:
    """So many round trips that lose their fees."""

    def scene(play: Play) -> None:
        for _ in range(count):
            booked_loss(1)(play)

    return scene


def lose_win_lose(play: Play) -> None:
    """Two losses, a win, two losses."""
    losing_trades(2)(play)
    play.hold(10)
    play.fill(play.place(way_out()), price=PRICE + 100)
    losing_trades(2)(play)


def errors(count: int, apart_s: float) -> Scene:
    """So many errors, so far apart."""

    def scene(play: Play) -> None:
        for _ in range(count):
            play.tell(ErrorSeen, apart_s, where="feed", detail="x")

    return scene


@dataclass(frozen=True)
class Case:
    """A story, the breaker settings that differ from off, and who trips (nobody: empty)."""

    name: str
    scene: Scene
    trips: str
    breakers: dict[str, Any] = field(default_factory=dict)


LOSS = {"loss_fraction_max_ppm": 50_000}  # 500 of 10,000
DRAWDOWN = {"daily_drawdown_max_ppm": 30_000}  # 300 of 10,000
CASES = [
    Case("one cent above the loss limit", open_loss(49_999), "", LOSS),
    Case("exactly the loss limit, unrealised", open_loss(50_000), "max_loss", LOSS),
    Case("exactly the loss limit, in fees", booked_loss(500 * MONEY_SCALE), "max_loss", LOSS),
    Case("exactly the loss limit, in funding", funding_paid(500 * MONEY_SCALE), "max_loss", LOSS),
    Case("one unit above it, in funding", funding_paid(500 * MONEY_SCALE - 1), "", LOSS),
    Case("drawdown from the day's high", rise_then_fall(100_000, 33_000), "daily_drawdown", DRAWDOWN),
    Case("one tick less of it", rise_then_fall(100_000, 32_999), "", DRAWDOWN),
    Case("drawdown from the start of the run", open_loss(30_000), "daily_drawdown", DRAWDOWN),
    Case("the first fees of a day are a drawdown too", booked_loss(300 * MONEY_SCALE), "daily_drawdown", DRAWDOWN),
    Case("a new day begins at its own height", over_midnight, "", DRAWDOWN),
    Case("two losses of three", losing_trades(2), "", {"losing_streak_max": 3}),
    Case("three losses of three", losing_trades(3), "losing_streak", {"losing_streak_max": 3}),
    Case("a win in between", lose_win_lose, "", {"losing_streak_max": 3}),
    Case("switched off", losing_trades(30), "", {"losing_streak_max": 0}),
    Case("errors within the window", errors(3, 1), "error_burst", {"errors_max": 3, "errors_window_s": 10}),
    Case("errors too far apart", errors(5, 5), "", {"errors_max": 3, "errors_window_s": 10}),
    Case("one error too few", errors(2, 1), "", {"errors_max": 3, "errors_window_s": 10}),
]


@pytest.mark.requirement("B11")
@pytest.mark.requirement("B27")
@pytest.mark.requirement("B12")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_story_trips_its_breaker_and_no_other(case: Case) -> None:
    """At the limit, not one step before; open profit, fees and funding all count."""
    play = Play(breakers=OFF | case.breakers, limits=WIDE)
    case.scene(play)
    assert sorted(play.state.breakers) == [name for name in [case.trips] if name]
    tripped = play.recorded(BreakerTripped)
    assert [event.breaker for event in tripped] == [name for name in [case.trips] if name]
    assert (play.state.phase is Phase.RUNNING) == (not case.trips)
    assert play.state.end_reason == case.trips


def test_every_breaker_trips_somewhere_in_the_table() -> None:
    """A breaker that no row trips is one nobody has tried."""
    assert {case.trips for case in CASES} - {""} == set(BREAKERS)


@pytest.mark.requirement("B27")
def test_a_loss_ends_the_run_with_the_price_that_made_it() -> None:
    """In the same step as the price: admission closes and the cancels leave; the trip carries its figures."""
    play = Play(breakers=OFF | LOSS, limits=WIDE)
    play.hold(100)
    play.place(limit(lots=1, price=PRICE - 5_000))
    play.candle(PRICE - 60_000)
    assert play.kinds()[:3] == ["breaker.tripped", "order.cancel_intent", "Change"]
    (tripped,) = play.recorded(BreakerTripped)
    assert (tripped.value, tripped.limit) == ("600.00", "50000 ppm of 10000.00")


@pytest.mark.requirement("B11")
@pytest.mark.requirement("H3.1")
def test_a_reset_rearms_every_breaker_and_clears_the_streak() -> None:
    """Each reset is a record; afterwards nothing is tripped."""
    play = Play(breakers=OFF | {"losing_streak_max": 2})
    losing_trades(2)(play)
    play.tell(OperatorCommand, command="reset", reason="new plan")
    assert [event.breaker for event in play.recorded(BreakerReset)] == ["losing_streak"]
    assert (play.state.breakers, play.state.counters.losing_streak) == ({}, 0)


# Watchdogs.


def waits_until(play: Play) -> float:
    """Seconds until the desk wants to be woken."""
    return float("inf") if play.state.deadline_ns == NEVER_NS else (play.state.deadline_ns - play.now_ns) / 1e9


@dataclass(frozen=True)
class Watch:
    """A story with time in it: settings, what happens, and the reason for which the run ends (none: it goes on)."""

    name: str
    scene: Scene
    reason: str
    facts: dict[str, Any] = field(default_factory=dict)


def silence(seconds: float, *, period_s: int = 0, first: bool = True) -> Scene:
    """A feed that connects, shows one quote (or none), and is silent for so long."""

    def scene(play: Play) -> None:
        play.tell(FeedConnected, source="test", period_s=period_s)
        if first:
            play.quote(after_s=0)
        play.tell(Timer, seconds)

    return scene


def ended_then_silent(play: Play) -> None:
    """A recording that is over is not stale; the run ends for its own reason."""
    play.quote()
    play.tell(FeedEnded)
    play.tell(Timer, 100)


def trades(count: int) -> Scene:
    """So many completed trades."""

    def scene(play: Play) -> None:
        for _ in range(count):
            play.hold(10)
            play.fill(play.place(way_out()), price=PRICE + 1)

    return scene


def one_open_trade(play: Play) -> None:
    """Bought and half sold: not a completed trade."""
    play.hold(10)
    play.fill(play.place(way_out(lots=5)), 5)


WATCHES = [
    Watch("30 s without a quote are one too many", silence(30), "stale_data"),
    Watch("not yet 30 s", silence(29.999), ""),
    Watch("a candle feed may be silent for its candle and 30 s", silence(89.999, period_s=60), ""),
    Watch("... and no longer", silence(90, period_s=60), "stale_data"),
    Watch("nothing at all", silence(30, first=False), "no_data"),
    Watch("another time-out", silence(5), "stale_data", {"watchdogs": {"stale_timeout_s": 5}}),
    Watch("a recording that is over", ended_then_silent, "data_end"),
    Watch("the planned end", silence(20), "duration", {"duration_s": 20}),
    Watch("a moment before it", silence(19.999), "", {"duration_s": 20}),
    Watch("the second trade of two", trades(2), "max_trades", {"watchdogs": {"max_trades": 2}}),
    Watch("the first trade of two", trades(1), "", {"watchdogs": {"max_trades": 2}}),
    Watch("a trade is complete when flat", one_open_trade, "", {"watchdogs": {"max_trades": 1}}),
    Watch("no limit of trades", trades(5), ""),
]


@pytest.mark.requirement("H1.2")
@pytest.mark.requirement("B12")
@pytest.mark.parametrize("watch", WATCHES, ids=[watch.name for watch in WATCHES])
def test_each_story_ends_at_its_time(watch: Watch) -> None:
    """Silence counts from the last usable datum and includes a candle's length; what comes first is the reason."""
    play = Play(breakers=OFF, **watch.facts)
    watch.scene(play)
    if play.state.phase is Phase.RUNNING:
        play.tell(Timer)
    assert play.state.end_reason == watch.reason


@pytest.mark.requirement("H1.2")
def test_a_stale_feed_is_recorded_with_its_age_and_limit() -> None:
    """The record says how long nothing came, in milliseconds."""
    play = Play()
    silence(31.5)(play)
    (stale,) = play.recorded(FeedStale)
    assert (stale.age_ms, stale.limit_ms) == (31_500, 30_000)


def test_the_desk_asks_to_be_woken_at_the_earliest_deadline() -> None:
    """Bar end, staleness and duration: the nearest of them is the deadline after each event."""
    play = Play(duration_s=100, interval_s=15)
    assert waits_until(play) == 30
    play.quote(after_s=4)
    assert waits_until(play) == 11
    play.tell(Timer, 11)
    assert waits_until(play) == 15
    play = Play(duration_s=20, interval_s=60)
    play.quote(after_s=1)
    assert waits_until(play) == 19


@pytest.mark.requirement("B12")
def test_the_reached_number_of_trades_wakes_the_run_at_once() -> None:
    """No further event is needed: the deadline is now."""
    play = Play(watchdogs={"max_trades": 1})
    trades(1)(play)
    play.tell(Timer)
    assert play.state.end_reason == "max_trades"
    assert play.state.counters.trades == 1


def test_a_reconnect_starts_the_clock_of_staleness_anew() -> None:
    """A fresh connection is a sign of life; it is counted as a reconnect from the second one on."""
    play = Play()
    play.tell(FeedConnected, source="a")
    play.quote(after_s=0)
    play.tell(FeedConnected, 25, source="a")
    play.tell(Timer, 29)
    assert play.state.phase is Phase.RUNNING
    assert play.state.counters.reconnects == 1
    play.tell(Timer, 1)
    assert play.state.end_reason == "stale_data"


def test_an_equal_loss_of_a_short_trips_too() -> None:
    """Losses of shorts are losses."""
    play = Play(breakers=OFF | LOSS, limits=WIDE)
    play.fill(play.place(market(Side.SELL, 100)))
    play.candle(PRICE + 50_000)
    assert sorted(play.state.breakers) == ["max_loss"]
