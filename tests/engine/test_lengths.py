"""Bars of several lengths in one run, holes in them, bars that come late, and several instruments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.events import Decision, FeedBackfilled, FeedGap, MarketCandle, Timer
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.engine.state import NEVER_NS, decode_snapshot, encode_snapshot
from agora.report.tallies import by_symbol
from tests.engine.desks import OTHER, OTHER_PRICE, PRICE, START_NS, SYMBOL, Play, Scripted, limit, market, way_out

SHORT, LONG = "short", "long"
PATIENT = {"stale_timeout_s": 3_600}
Shown = list[tuple[float, int, int, int, int, int]]


def two_lengths(short_s: int = 60, long_s: int = 300) -> Play:
    """Two traders, on bars of two lengths."""
    return Play(traders=(SHORT, LONG), interval_s=short_s, lengths_s=(short_s, long_s), watchdogs=PATIENT)


def shown(trader: Scripted, symbol: str = SYMBOL) -> Shown:
    """Bars that a trader saw: (end in seconds after the start, open, high, low, close, volume)."""
    return [
        (
            ((bar.end_ts_ns or bar.ts_ns) - START_NS) / NS_PER_S,
            *(price - PRICE for price in (bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks)),
            bar.volume_lots,
        )
        for bar in trader.bars
        if bar.instrument == symbol
    ]


def ends(trader: Scripted) -> list[float]:
    """Ends of the bars that a trader saw, in seconds after the start."""
    return [bar[0] for bar in shown(trader)]


def minute(play: Play, end_s: float, move: int = 0, **facts: object) -> None:
    """A candle of a minute that ends then: up and down by 2 around a move, closing on it."""
    shape = {"open_ticks": PRICE + move - 1, "high_ticks": PRICE + move + 2, "low_ticks": PRICE + move - 2}
    whole = {"instrument": SYMBOL, "interval_s": 60, "close_ticks": PRICE + move, "volume_lots": 10} | shape
    play.step(MarketCandle(**({"ts_ns": START_NS + round(end_s * NS_PER_S)} | whole | facts)))  # type: ignore[arg-type]


def late(play: Play, end_s: float, interval_s: int = 60, **facts: object) -> None:
    """A candle that ended then and comes only now."""
    times = {"ts_ns": play.now_ns, "end_ts_ns": START_NS + round(end_s * NS_PER_S), "interval_s": interval_s}
    minute(play, end_s, **(times | facts))


def hole(play: Play, after_s: float = 0) -> None:
    """Prices are not seen from now on."""
    play.tell(FeedGap, after_s, instrument=SYMBOL, reason="connection lost", is_hole=True)


# Whose bar it is.


@pytest.mark.requirement("B61")
def test_a_trader_is_asked_about_bars_of_its_own_length_alone() -> None:
    """Ten minutes of prices: ten bars for one, two for the other; each decision names its trader."""
    play = two_lengths()
    for number in range(60):
        play.trade(PRICE + number, after_s=10)
    assert ends(play.of(SHORT)) == [60.0 * number for number in range(1, 11)]
    assert ends(play.of(LONG)) == [300, 600]
    deciders = [event.trader for event in play.recorded(Decision)]
    assert (deciders.count(SHORT), deciders.count(LONG)) == (10, 2)


def test_where_several_bars_end_at_once_the_shorter_is_asked_about_first() -> None:
    """And both see the same last price."""
    play = two_lengths()
    play.trade(PRICE + 4, after_s=270)
    play.tell(Timer, 30)
    assert [event.trader for event in play.recorded(Decision)] == [SHORT, LONG]
    assert shown(play.of(LONG)) == [(300, 4, 4, 4, 4, 1)]


def test_traders_of_one_length_share_its_bars() -> None:
    """One bar, three traders, asked in their order; a length nobody wants is built for nobody."""
    play = Play(traders=("anna", "bert", "cleo"), interval_s=5, lengths_s=(60, 60, 300))
    play.trade()
    play.tell(Timer, 59)
    assert [event.trader for event in play.recorded(Decision)] == ["anna", "bert"]
    assert [course.interval_s for course in play.state.markets[SYMBOL].courses] == [5, 60, 300]


# Longer bars from shorter candles.


def test_longer_bars_are_made_of_the_candles_of_the_feed() -> None:
    """First open, last close, extremes and volume of all five; closed by the last one, whatever the clock says."""
    play = two_lengths()
    for number in range(1, 5):
        minute(play, 60 * number, number)
    assert play.state.deadline_ns > START_NS + 300 * NS_PER_S
    play.tell(Timer, 60)
    assert ends(play.of(LONG)) == []
    minute(play, 300, 5)
    assert shown(play.of(LONG)) == [(300, 0, 7, -1, 5, 50)]
    assert ends(play.of(SHORT)) == [60, 120, 180, 240, 300]


def test_warm_up_candles_make_longer_warm_up_bars_and_the_live_ones_go_on_with_the_last() -> None:
    """Bars that end in the past are history; the one that reaches into the present is traded on."""
    play = two_lengths()
    for number in range(-12, 1):
        minute(play, 60 * number, number, is_history=True)
    bars = play.of(LONG).bars
    assert [(bar.ts_ns - START_NS) / NS_PER_S for bar in bars] == [-600, -300, 0]
    assert all(bar.is_history for bar in bars)
    play = two_lengths()
    play.now_ns += 180 * NS_PER_S
    play.tell(Timer)
    for number in range(1, 4):
        minute(play, 60 * number, number, is_history=True)
    minute(play, 240, 4)
    minute(play, 300, 5)
    (bar,) = play.of(LONG).bars
    assert (bar.is_history, bar.volume_lots, bar.open_ticks) == (False, 50, PRICE)


def test_prices_go_on_with_a_bar_that_warm_up_candles_began() -> None:
    """A run that starts at minute two of five: the first longer bar holds what the warm-up told of it."""
    play = two_lengths()
    play.tell(Timer, 120)
    for number in (1, 2):
        minute(play, 60 * number, number, is_history=True)
    play.trade(PRICE + 9, 7, after_s=30)
    play.tell(Timer, 150)
    assert shown(play.of(LONG)) == [(300, 0, 9, -1, 9, 27)]
    assert not play.of(LONG).bars[0].is_history


def test_a_bar_of_warm_up_candles_that_no_price_has_reached_is_not_asked_about() -> None:
    """The minutes between the last of them and the first price were not seen."""
    play = two_lengths()
    for number in (1, 2):
        minute(play, 60 * number, number, is_history=True)
    play.trade(PRICE + 9, after_s=400)
    play.tell(Timer, 200)
    assert shown(play.of(LONG)) == [(600, 9, 9, 9, 9, 1)]


def test_a_candle_that_comes_twice_counts_once_in_the_longer_bar() -> None:
    """By its time: volume and extremes are those of five minutes."""
    play = two_lengths()
    for number in range(1, 6):
        minute(play, 60 * number, number)
        late(play, 60 * number, move=50)
    assert shown(play.of(LONG)) == [(300, 0, 7, -1, 5, 50)]
    assert ends(play.of(SHORT)) == [60, 120, 180, 240, 300]


def test_a_minute_without_trading_does_not_let_the_next_bar_into_this_one() -> None:
    """Feeds leave such candles out: the first of the next bar closes this one, and belongs to the next."""
    play = two_lengths()
    for number in (1, 2, 3, 4):
        minute(play, 60 * number, number)
    minute(play, 360, 90)
    assert shown(play.of(LONG)) == [(300, 0, 6, -1, 4, 40)]
    (bar,) = play.of(LONG).bars
    assert (bar.ts_ns, bar.is_history) == (START_NS + 360 * NS_PER_S, False)
    for number in (7, 8, 9, 10):
        minute(play, 60 * number, 90)
    assert shown(play.of(LONG))[1] == (600, 89, 92, 88, 90, 50)


def test_nobody_trades_on_a_bar_that_ended_long_ago() -> None:
    """Closed by a candle that came more than a bar later: it is history by then."""
    play = two_lengths()
    minute(play, 60)
    minute(play, 3_660)
    assert [(bar.is_history, bar.volume_lots) for bar in play.of(LONG).bars] == [(True, 10)]
    assert [event.trader for event in play.recorded(Decision)] == [SHORT, SHORT]


# Holes.


def test_a_bar_with_a_hole_is_not_asked_about() -> None:
    """Neither the one that was being built nor the one in which prices come back; the next is whole."""
    play = Play(interval_s=60, watchdogs=PATIENT)
    play.trade()
    hole(play, 20)
    play.tell(Timer, 60)
    play.trade(PRICE + 1, after_s=60)
    for _ in range(2):
        play.tell(Timer, 60)
    assert ends(play.trader) == [240]


def test_only_a_hole_breaks_bars() -> None:
    """A gap in the depth alone leaves the prices seen."""
    play = Play(interval_s=60)
    play.trade()
    play.tell(FeedGap, instrument=SYMBOL, reason="depth chain")
    play.tell(Timer, 59)
    assert ends(play.trader) == [60]


def test_a_hole_in_one_instrument_leaves_the_bars_of_others() -> None:
    """Each market has its own."""
    play = Play(interval_s=60, symbols=(SYMBOL, OTHER))
    play.trade()
    play.trade(OTHER_PRICE, symbol=OTHER)
    hole(play)
    play.trade()
    play.tell(Timer, 60)
    assert [bar.instrument for bar in play.trader.bars] == [OTHER]


def test_a_hole_behind_warm_up_candles_makes_their_bar_partial() -> None:
    """The feed says that the first bar was not seen from its begin: what candles told does not make it whole."""
    play = two_lengths()
    play.tell(Timer, 90)
    hole(play)
    minute(play, 60, is_history=True)
    play.trade()
    play.tell(Timer, 300)
    assert ends(play.of(LONG)) == []


def test_candles_after_a_hole_make_whole_bars_again() -> None:
    """A bar that begins with its own first candle is whole; one that begins in the middle is not."""
    play = two_lengths()
    minute(play, 60)
    hole(play)
    for number in range(3, 11):
        minute(play, 60 * number)
    assert ends(play.of(LONG)) == [600]


@pytest.mark.requirement("H1.4")
def test_the_bar_of_a_hole_is_asked_about_once_when_it_comes_whole() -> None:
    """Seconds after its end, stamped with the present: traded on, its end is what counts."""
    play = Play(interval_s=60, watchdogs=PATIENT)
    play.trade()
    hole(play, 20)
    play.trade(after_s=10)
    play.tell(Timer, 30)
    play.quote(after_s=0)
    play.trader.script.append(market(lots=1))
    for _ in range(2):
        late(play, 60)
    assert ends(play.trader) == [60]
    assert len(play.sent()) == 0
    assert play.state.counters.intended == 1
    play.tell(Timer, 60)
    assert ends(play.trader) == [60, 120]


def test_a_late_bar_of_prices_that_were_seen_asks_nothing_again() -> None:
    """The bar was whole and is known."""
    play = Play(interval_s=60)
    play.trade()
    play.tell(Timer, 59)
    late(play, 60)
    assert ends(play.trader) == [60]


def test_a_late_bar_is_no_fresh_price() -> None:
    """It is as old as its end: it neither opens admission nor feeds the watchdog, and moves no price."""
    play = Play(interval_s=60, watchdogs={"stale_timeout_s": 30})
    play.trade(PRICE + 7)
    hole(play)
    play.trader.script.append(market(lots=1))
    play.tell(Timer, 20)
    late(play, -60, move=-500)
    late(play, 0, move=-500)
    assert play.state.markets[SYMBOL].last_ticks == PRICE + 7
    assert play.state.refusals == {"fresh_data": 1}
    play.tell(Timer, 10)
    assert play.state.end_reason == "stale_data"


def test_a_late_bar_does_not_mix_with_the_prices_of_its_time() -> None:
    """The longer bar that prices shape stays what it is: nothing is counted twice."""
    play = two_lengths()
    play.trade(size=3)
    play.tell(Timer, 60)
    late(play, 60, move=40)
    play.tell(Timer, 240)
    assert shown(play.of(LONG)) == [(300, 0, 0, 0, 0, 3)]


@pytest.mark.requirement("H1.4")
def test_what_is_backfilled_teaches_and_is_never_traded() -> None:
    """History in the middle of a run: asked about in order, once, without a decision; it is counted as a backfill."""
    play = two_lengths()
    play.trade()
    hole(play, 20)
    play.tell(Timer, 400)
    play.trader.script.append(market(lots=1))
    for end_s, length_s in ((300, 300), *((60 * number, 60) for number in range(1, 7))):
        late(play, end_s, length_s, is_history=True)
    play.tell(FeedBackfilled, instrument=SYMBOL, interval_s=60, bars=6, until_ts_ns=play.now_ns)
    assert ends(play.of(SHORT)) == [60, 120, 180, 240, 300, 360]
    assert ends(play.of(LONG)) == [300]
    assert (play.recorded(Decision), play.state.counters.backfills, play.state.counters.history_events) == ([], 1, 7)
    play.trade()
    play.tell(Timer, 60)
    play.quote(after_s=57)
    play.tell(Timer, 1)
    assert ends(play.of(SHORT))[6:] == [540]
    assert len(play.sent()) == 1


@pytest.mark.requirement("H1.4")
@given(st.lists(st.tuples(st.sampled_from("tch"), st.integers(1, 90)), max_size=60))
def test_no_bar_is_asked_about_twice_and_none_out_of_order(story: list[tuple[str, int]]) -> None:
    """Prices, candles and holes in any order: each length's ends rise, longer bars end on their own grid."""
    play = Play(traders=(SHORT, LONG), interval_s=60, lengths_s=(60, 300), watchdogs=PATIENT)
    for what, number in story:
        if what == "t":
            play.trade(PRICE + number, after_s=number)
        elif what == "c":
            now_s = (play.now_ns - START_NS) // NS_PER_S
            late(play, now_s - now_s % 60, is_history=number % 3 == 0)
        else:
            hole(play, number)
        play.tell(Timer)
    for name, length_s in ((SHORT, 60), (LONG, 300)):
        found = ends(play.of(name))
        assert found == sorted(set(found))
        assert all(end_s % length_s == 0 for end_s in found)
    text = encode_snapshot(play.desk.snapshot())
    assert encode_snapshot(decode_snapshot(text)) == text
    assert play.state.deadline_ns > play.now_ns or play.state.deadline_ns == NEVER_NS


# Several instruments.


def test_bars_of_several_instruments_are_built_apart() -> None:
    """Each from its own prices, asked about under its own name."""
    play = Play(interval_s=60, symbols=(SYMBOL, OTHER))
    play.trade(PRICE + 1)
    play.trade(PRICE + 2, symbol=OTHER)
    play.tell(Timer, 58)
    assert shown(play.trader) == [(60, 1, 1, 1, 1, 1)]
    assert shown(play.trader, OTHER) == [(60, 2, 2, 2, 2, 1)]


@pytest.mark.requirement("B61")
def test_results_are_told_per_instrument() -> None:
    """Profit, fees and trades of each; together those of the run."""
    play = Play(symbols=(SYMBOL, OTHER))
    play.candle(symbol=OTHER)
    play.hold(10)
    play.fill(play.place(way_out()), price=PRICE + 5, fee=11)
    play.hold(7, OTHER_PRICE, symbol=OTHER)
    play.quote(OTHER_PRICE + 3, symbol=OTHER)
    tallies = by_symbol(play.desk)
    assert (tallies[SYMBOL].realised_units, tallies[SYMBOL].fees_units, tallies[SYMBOL].trades) == (500_000, 11, 1)
    assert (tallies[OTHER].unrealised_units, tallies[OTHER].trades) == (7 * 3 * 1_000, 0)
    assert sum(tally.net_units for tally in tallies.values()) == play.desk.equity_units() - 10_000 * MONEY_SCALE


def test_old_data_of_one_instrument_close_only_that_one() -> None:
    """The age of data is that of the instrument that is to be traded."""
    play = Play(symbols=(SYMBOL, OTHER))
    play.quote(symbol=OTHER)
    play.quote(after_s=20)
    play.trader.script += [limit(lots=1), limit(lots=1, price=OTHER_PRICE, instrument=OTHER)]
    play.candle(after_s=0)
    assert len(play.sent()) == 1
    play.candle(after_s=60)
    assert play.state.refusals == {"fresh_data": 1}


@pytest.mark.parametrize("symbol", [SYMBOL, OTHER])
def test_every_position_is_closed_at_the_end(symbol: str) -> None:
    """One order for each trader's share of each instrument."""
    play = Play(traders=("anna", "bert"), symbols=(SYMBOL, OTHER), duration_s=1_000)
    play.candle(symbol=OTHER)
    for name in ("anna", "bert"):
        play.hold(3, OTHER_PRICE if symbol == OTHER else PRICE, trader=name, symbol=symbol)
    play.hold(2, OTHER_PRICE if symbol == SYMBOL else PRICE, symbol=OTHER if symbol == SYMBOL else SYMBOL)
    play.quote()
    play.tell(Timer, 1_000)
    closing = sorted((order.trader, order.instrument, order.size_lots) for order in play.sent())
    other = OTHER if symbol == SYMBOL else SYMBOL
    assert closing == sorted([("anna", symbol, 3), ("bert", symbol, 3), ("anna", other, 2)])
