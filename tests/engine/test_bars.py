"""Bars: aligned, closed when their end has passed and never before, and shown to the trader once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.events import MarketCandle, Timer
from agora.domain.numbers import NS_PER_S
from tests.engine.desks import PRICE, START_NS, Play, market


def shown(play: Play) -> list[tuple[float, int, int, int, int, int]]:
    """Bars the trader saw: (end in seconds after the start, open, high, low, close, volume)."""
    return [
        (
            (bar.ts_ns - START_NS) / NS_PER_S,
            bar.open_ticks - PRICE,
            bar.high_ticks - PRICE,
            bar.low_ticks - PRICE,
            bar.close_ticks - PRICE,
            bar.volume_lots,
        )
        for bar in play.trader.bars
    ]


def minute(play: Play, shape: tuple[int, int, int, int], *, volume: int = 10) -> None:
    """One candle of a minute, relative to the usual price."""
    open_, high, low, close = (PRICE + move for move in shape)
    shaped = {"open_ticks": open_, "high_ticks": high, "low_ticks": low, "volume_lots": volume, "interval_s": 60}
    play.candle(close, **shaped)


def test_a_bar_of_trades_is_closed_by_the_first_event_after_its_end() -> None:
    """Open, extremes, close and volume of the prints inside; the print that closes it belongs to the next."""
    play = Play(interval_s=5)
    for price, size, after_s in ((0, 1, 0.5), (7, 2, 1), (-3, 3, 1), (2, 4, 1), (9, 5, 3)):
        play.trade(PRICE + price, size, after_s=after_s)
    assert shown(play) == [(5, 0, 7, -3, 2, 10)]
    play.tell(Timer, 5)
    assert shown(play)[1] == (10, 2, 9, 2, 9, 5)


def test_a_forming_bar_is_never_shown() -> None:
    """Whatever comes within it, the trader is not asked until its end."""
    play = Play(interval_s=5)
    for _ in range(49):
        play.quote(after_s=0.1)
    assert play.trader.asked == []
    play.quote(after_s=0.1)
    assert len(play.trader.bars) == 1


def test_a_bar_is_closed_by_time_alone() -> None:
    """The desk asks to be woken at its end; no further price is needed, and the next bar opens flat."""
    play = Play(interval_s=5)
    play.quote(after_s=1)
    assert play.state.deadline_ns == START_NS + 5 * NS_PER_S
    play.tell(Timer, 4)
    play.tell(Timer, 5)
    assert [bar[0] for bar in shown(play)] == [5, 10]
    assert shown(play)[1] == (10, 0, 0, 0, 0, 0)


def test_a_long_silence_closes_one_bar() -> None:
    """A gap of many intervals is not many bars without trading: the next bar opens in the present."""
    play = Play(interval_s=5)
    play.trade(PRICE + 3)
    play.trade(PRICE + 8, after_s=22)
    play.tell(Timer, 2)
    assert shown(play) == [(5, 3, 3, 3, 3, 1), (25, 3, 8, 3, 8, 1)]


def test_bars_of_quotes_follow_the_middle() -> None:
    """Quotes shape the bar by their middle and bring no volume."""
    play = Play(interval_s=5)
    for mid in (PRICE, PRICE + 6, PRICE - 2):
        play.quote(mid)
    play.tell(Timer, 5)
    assert shown(play) == [(5, 0, 6, -2, -2, 0)]


def test_a_candle_of_the_runs_interval_goes_straight_to_the_trader() -> None:
    """As it is, at its end."""
    play = Play()
    minute(play, (0, 5, -5, 1), volume=7)
    assert shown(play) == [(60, 0, 5, -5, 1, 7)]


def test_five_candles_make_one_aligned_bar() -> None:
    """First open, last close, extremes and volume of all; the next bar begins with its own first candle."""
    play = Play(interval_s=300)
    shapes = [(0, 2, -1, 1), (1, 9, 1, 3), (3, 4, -8, 2), (2, 3, 1, 1), (1, 2, 0, 0)]
    for shape in shapes:
        assert shown(play) == []
        minute(play, shape)
    assert shown(play) == [(300, 0, 9, -8, 0, 50)]
    for shape in [(20, 21, 19, 20)] * 5:
        minute(play, shape)
    assert shown(play)[1] == (600, 20, 21, 19, 20, 50)


def test_candles_that_begin_inside_a_bar_are_aligned_to_it() -> None:
    """A recording that starts at minute 3 fills the rest of that bar; the following ones are whole."""
    play = Play(interval_s=300)
    play.now_ns += 180 * NS_PER_S
    for _ in range(7):
        minute(play, (0, 1, -1, 0))
    assert [(bar[0], bar[5]) for bar in shown(play)] == [(300, 20), (600, 50)]


@pytest.mark.requirement("H1.4")
def test_the_trader_is_asked_once_about_each_bar() -> None:
    """A candle that comes twice, one that was also built from ticks, and an older one ask nothing again."""
    play = Play()
    play.trade(after_s=1)
    minute_end = 59
    play.candle(after_s=minute_end)
    play.candle(after_s=0)
    assert [bar[0] for bar in shown(play)] == [60]
    play.candle(PRICE + 5, after_s=60)
    play.candle(PRICE + 5, after_s=0)
    assert [bar[0] for bar in shown(play)] == [60, 120]


@pytest.mark.requirement("H1.4")
def test_a_candle_after_the_timer_of_its_end_closes_no_bar_again() -> None:
    """The clock may reach the end of a bar before its last candle is looked at."""
    play = Play(interval_s=300)
    for _ in range(4):
        minute(play, (0, 1, -1, 0))
    play.tell(Timer, 60)
    minute_late = {"open_ticks": PRICE, "high_ticks": PRICE, "low_ticks": PRICE, "interval_s": 60}
    play.candle(PRICE, after_s=0, **minute_late)
    assert [bar[0] for bar in shown(play)] == [300]


@pytest.mark.requirement("H1.4")
def test_warm_up_bars_are_not_repeated_by_live_ones() -> None:
    """History that overlaps what is already known asks nothing twice and trades nothing."""
    play = Play()
    for _ in range(2):
        play.trader.script = [market()]
        play.candle(after_s=0, is_history=True)
        assert play.sent() == []
    assert len(play.trader.bars) == 1
    play.candle()
    assert len(play.sent()) == 1


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=60),
    st.sampled_from([1, 5, 15, 60]),
)
def test_bars_of_any_trades_are_aligned_ordered_and_whole(prints: list[tuple[int, int, int]], interval_s: int) -> None:
    """Ends are multiples of the interval and rise; no volume is lost or counted twice; extremes hold their closes."""
    play = Play(interval_s=interval_s, watchdogs={"stale_timeout_s": 3_600})
    for tenths, move, size in prints:
        play.trade(PRICE + move, size, after_s=tenths / 10)
    play.tell(Timer, interval_s)
    bars = play.trader.bars
    ends = [bar.ts_ns for bar in bars]
    assert ends == sorted(set(ends))
    assert all(end % (interval_s * NS_PER_S) == 0 for end in ends)
    assert sum(bar.volume_lots for bar in bars) == sum(size for _, _, size in prints)
    for bar in bars:
        assert isinstance(bar, MarketCandle)
        assert bar.low_ticks <= min(bar.open_ticks, bar.close_ticks)
        assert bar.high_ticks >= max(bar.open_ticks, bar.close_ticks)
        assert bar.ts_ns <= play.now_ns
