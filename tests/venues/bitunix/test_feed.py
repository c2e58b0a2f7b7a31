"""The feed against a venue over real HTTP and WebSocket in virtual time: begin, silence, loss, holes, dirt, return."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from agora.domain.errors import StartFault
from agora.domain.events import (
    Event,
    FeedBackfilled,
    FeedConnected,
    FeedGap,
    FeedLost,
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.settings import BitunixSettings
from tests.engine.desks import Play
from tests.simulation.loop import VirtualClock
from tests.simulation.network import run_networked, running_network
from tests.venues.bitunix.market_end import (
    DEPTH_S,
    OTHER,
    START_NS,
    SYMBOL,
    Listener,
    MarketEnd,
    bar_price,
    joined,
    played,
    wants,
)

BOUND_S = BitunixSettings().market_silence_s_max
MINUTE_NS = 60 * NS_PER_S


def begins_s(candles: list[MarketCandle]) -> list[int]:
    """When bars began, in Unix seconds."""
    return [((candle.end_ts_ns or candle.ts_ns) - candle.interval_s * NS_PER_S) // NS_PER_S for candle in candles]


async def listen(_: MarketEnd, listener: Listener) -> None:
    """Two minutes in which nothing happens."""
    await listener.listen(120)


@pytest.mark.requirement("B17")
def test_a_run_begins_with_its_source_then_the_warm_up_bars_then_the_market() -> None:
    """In this order, each bar once, the newest of them closed when the run began."""
    heard = played(listen)
    assert [type(event) for event in heard.heard[:2]] == [FeedConnected, FeedGap]
    assert heard.heard[0].source == "bitunix"
    history = heard.heard[2:22]
    assert all(isinstance(event, MarketCandle) and event.is_history for event in history)
    last_s = (START_NS - START_NS % MINUTE_NS) // NS_PER_S - 60
    assert begins_s(history) == list(range(last_s - 19 * 60, last_s + 1, 60))
    assert [candle.open_ticks for candle in history] == [10 * bar_price(begin) for begin in begins_s(history)]
    assert history[0].volume_lots == 12_500
    assert {type(event) for event in heard.heard[22:]} >= {MarketDepth, MarketQuote, MarketFundingRate}


def test_the_bar_in_which_a_run_begins_comes_whole_after_its_end() -> None:
    """It began before the first look: what it was is read over REST and handed over to be traded on."""
    heard = played(listen)
    (bar,) = [candle for candle in heard.of(MarketCandle) if not candle.is_history]
    end_ns = START_NS - START_NS % MINUTE_NS + MINUTE_NS
    assert bar.end_ts_ns == end_ns
    assert end_ns < bar.ts_ns < end_ns + NS_PER_S
    assert bar.open_ticks == 10 * bar_price(end_ns // NS_PER_S - 60)


def test_everything_is_subscribed_once_on_a_fresh_connection() -> None:
    """One frame for all symbols, and again only after a loss."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(30)
        assert len(venue.subscriptions) == 1
        assert len(venue.subscriptions[0]["args"]) == 6
        await venue.reset()
        await listener.listen(30)
        assert len(venue.subscriptions) == 2

    played(story, symbols=(SYMBOL, OTHER))


@pytest.mark.parametrize("number", range(50))
def test_a_mute_socket_is_found_within_the_bound_and_a_second(number: int) -> None:
    """Open, answering pings, and without data: whatever the moment, it is lost in time, and once."""
    told: list[float] = []

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10 + 0.37 * number)
        venue.is_mute = True
        silent_since_ns = venue.last_depth_ns
        await listener.listen(20)
        (lost,) = listener.of(FeedLost)
        told.append((lost.ts_ns - silent_since_ns) / NS_PER_S)
        assert venue.pongs > 0

    played(story, seed=number, keys={"keepalive_s": 3.0})
    assert BOUND_S <= told[0] <= BOUND_S + 1


def test_a_quiet_hour_raises_no_false_alarm() -> None:
    """The price stands still, frames flow: no loss, no gap after the begin, and a quote twice a second at most."""

    async def story(_: MarketEnd, listener: Listener) -> None:
        await listener.listen(3_600)

    heard = played(story)
    assert heard.of(FeedLost, FeedMalformed) == []
    assert len(heard.of(FeedConnected, FeedGap)) == 2
    quotes = heard.of(MarketQuote)
    assert 3_600 * 1.5 < len(quotes) < 3_600 * 2
    assert max(b.ts_ns - a.ts_ns for a, b in pairwise(quotes)) < NS_PER_S


@pytest.mark.requirement("B3")
@pytest.mark.requirement("H1.4")
def test_an_outage_is_one_loss_one_gap_and_one_backfill_in_order() -> None:
    """However often the venue refuses meanwhile. Bars that ended are history, the one of the return comes whole."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(60)
        listener.heard.clear()
        venue.is_down = True
        await venue.reset()
        await listener.listen(150)
        assert [type(event) for event in listener.heard] == [FeedLost, FeedGap]
        venue.is_down = False
        await listener.listen(90)

    heard = played(story)
    assert len(heard.of(FeedLost)) == 1
    assert [gap.is_hole for gap in heard.of(FeedGap)] == [True]
    after = heard.heard[2:]
    assert isinstance(after[0], FeedConnected)
    lost_s, back_s = (heard.of(kind)[0].ts_ns // NS_PER_S for kind in (FeedLost, FeedConnected))
    candles = heard.of(MarketCandle)
    first_s, last_s = lost_s - lost_s % 60, back_s - back_s % 60
    assert begins_s(candles) == list(range(first_s, last_s + 1, 60))
    assert [candle.is_history for candle in candles] == [True] * (len(candles) - 1) + [False]
    (filled,) = heard.of(FeedBackfilled)
    assert filled.bars == len(candles) - 1
    assert filled.until_ts_ns == last_s * NS_PER_S
    places = [heard.heard.index(event) for event in (*candles[:-1], filled, candles[-1])]
    assert places == sorted(places)


@pytest.mark.requirement("H1.4")
def test_the_trader_is_asked_once_about_each_bar_and_never_about_half_a_bar() -> None:
    """Through the engine: with losses at awkward moments no bar twice, none made of the half that was seen."""
    play = Play()
    shift_ns = play.now_ns - play.now_ns % MINUTE_NS - (START_NS - START_NS % MINUTE_NS)

    def take(event: Event) -> None:
        facts = {name: getattr(event, name) + shift_ns for name in ("ts_ns", "end_ts_ns") if getattr(event, name, 0)}
        moved = type(event)(**{**{name: getattr(event, name) for name in event.__struct_fields__}, **facts})
        if moved.ts_ns >= play.state.now_ns or (isinstance(moved, MarketCandle) and moved.is_history):
            play.step(moved)

    async def story(venue: MarketEnd, listener: Listener) -> None:
        listener.on_event = take
        for calm_s, away_s in ((70, 3), (57, 1), (31, 65), (200, 0.2), (59, 130), (120, 0)):
            await listener.listen(calm_s)
            venue.is_down = True
            await venue.reset()
            await listener.listen(away_s)
            venue.is_down = False

    played(story)
    bars = play.trader.bars
    ends = [bar.end_ts_ns or bar.ts_ns for bar in bars]
    assert ends == sorted(set(ends))
    assert ends == list(range(ends[0], ends[-1] + 1, MINUTE_NS))
    seen = [bar for bar in bars if bar.open_ticks != 867_000 and not bar.is_history]
    assert all(
        bar.open_ticks == 10 * bar_price((end - shift_ns) // NS_PER_S - 60)
        for bar, end in zip(bars, ends, strict=True)
        if bar in seen
    )
    assert len(seen) >= 3


def test_frames_of_nothing_but_garbage_are_a_dead_stream() -> None:
    """They are counted, and a new connection is tried after the bound."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10)
        venue.is_garbage = True
        await listener.listen(10)
        venue.is_garbage = False
        await listener.listen(20)

    heard = played(story)
    assert len(heard.of(FeedLost)) == 1
    assert len(heard.of(FeedConnected)) == 2
    assert sum(event.count for event in heard.of(FeedMalformed)) >= BOUND_S / DEPTH_S
    assert len(heard.of(FeedMalformed)) <= 4


def test_a_symbol_that_is_silent_while_others_speak_is_asked_for_again_with_growing_patience() -> None:
    """The connection is renewed for it, and the others are not torn away for it all the time."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10)
        venue.silent.add(OTHER)
        await listener.listen(300)

    heard = played(story, symbols=(SYMBOL, OTHER))
    lost = heard.of(FeedLost)
    assert 3 <= len(lost) <= 5
    assert OTHER in lost[0].reason
    assert (lost[0].ts_ns - START_NS) / NS_PER_S == pytest.approx(10 + BOUND_S, abs=1.5)


def test_a_provider_without_bars_of_that_length_is_no_failure() -> None:
    """No warm-up, and the first bar is taken as it is."""
    heard = played(listen, intervals_s=(30,))
    assert heard.of(MarketCandle, FeedGap) == []
    assert heard.of(MarketQuote)


def test_bars_that_cannot_be_read_after_an_outage_come_with_the_next_that_can() -> None:
    """A REST that fails delays the backfill and loses nothing."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(60)
        listener.heard.clear()
        venue.rest_fails = True
        venue.is_down = True
        await venue.reset()
        await listener.listen(65)
        venue.is_down = False
        await listener.listen(12)
        assert listener.of(MarketCandle, FeedBackfilled) == []
        venue.rest_fails = False
        await listener.listen(60)

    heard = played(story)
    candles = heard.of(MarketCandle)
    assert begins_s(candles) == list(range(begins_s(candles)[0], begins_s(candles)[-1] + 1, 60))
    assert [candle.is_history for candle in candles] == [True] * (len(candles) - 1) + [False]
    assert heard.of(FeedBackfilled)[0].bars == len(candles) - 1


def test_a_hole_that_could_not_be_filled_is_filled_after_the_next_loss() -> None:
    """Two outages with a REST that fails between them: the bars of both come, each once."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(60)
        listener.heard.clear()
        venue.rest_fails = True
        for _ in range(2):
            venue.is_down = True
            await venue.reset()
            await listener.listen(100)
            venue.is_down = False
            await listener.listen(12)
        assert listener.of(MarketCandle, FeedBackfilled) == []
        venue.rest_fails = False
        await listener.listen(80)

    heard = played(story)
    candles = heard.of(MarketCandle)
    first_s, last_s = (
        heard.of(kind)[at].ts_ns // NS_PER_S // 60 * 60 for kind, at in ((FeedLost, 0), (FeedConnected, -1))
    )
    assert begins_s(candles) == list(range(first_s, last_s + 1, 60))


def test_an_older_bar_is_not_taken_for_the_one_that_is_waited_for() -> None:
    """The venue shows the bars of the outage, and that of the return three seconds late."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(60)
        listener.heard.clear()
        venue.rest_fails = True
        venue.is_down = True
        await venue.reset()
        await listener.listen(100)
        venue.is_down = False
        await listener.listen(12)
        venue.rest_fails, venue.bars_appear_s = False, 63
        await listener.listen(80)

    heard = played(story)
    (bar,) = [candle for candle in heard.of(MarketCandle) if not candle.is_history]
    back_ns = heard.of(FeedConnected)[0].ts_ns
    assert bar.end_ts_ns - MINUTE_NS <= back_ns < bar.end_ts_ns
    assert bar.ts_ns - bar.end_ts_ns >= 3 * NS_PER_S


def test_a_bar_that_the_venue_does_not_show_in_time_is_a_gap() -> None:
    """Nobody waits for it, and nobody is asked about half of it."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        venue.bars_appear_s = 100
        await listener.listen(50)

    heard = played(story)
    assert [candle for candle in heard.of(MarketCandle) if not candle.is_history] == []
    assert heard.of(FeedGap)[-1].reason.startswith("missing_bars")
    assert not heard.of(FeedGap)[-1].is_hole


def test_a_late_bar_is_looked_for_until_it_is_shown() -> None:
    """A venue that needs three seconds to close a bar is waited for."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        venue.bars_appear_s = 63
        await listener.listen(50)

    heard = played(story)
    (bar,) = [candle for candle in heard.of(MarketCandle) if not candle.is_history]
    assert 3 * NS_PER_S <= bar.ts_ns - bar.end_ts_ns < 5 * NS_PER_S


def test_a_resumed_run_gets_its_hole_filled_and_old_settlements_not_again() -> None:
    """The bars since it stopped are history, said to be filled; funding that it has seen is not paid twice."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(30)
        assert listener.of(MarketFundingRate) == []
        venue.settled = "2027-01-15T08:00:50Z"
        await listener.listen(30)

    heard = played(story, seen_ns=START_NS - 300 * NS_PER_S, end={"settled": "2027-01-15T07:00:00Z"})
    assert heard.of(FeedGap)[0].reason == "resumed"
    assert len(heard.of(FeedBackfilled)) == 1
    assert len(heard.of(MarketFundingRate)) == 1


def test_a_venue_whose_clock_jumps_is_asked_for_its_time_and_read_again() -> None:
    """Its data are from the future until then; no run is ended by somebody else's clock."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10)
        venue.ahead_s = 40.0
        await listener.listen(5)
        assert [event.reason for event in listener.of(FeedMalformed)] == ["future"]
        listener.heard.clear()
        await listener.listen(5)

    heard = played(story)
    assert len(heard.of(MarketQuote)) > 5
    assert heard.of(FeedLost) == []


def test_data_that_are_old_are_dropped_and_the_stream_is_given_up() -> None:
    """A backlog somewhere on the way: what is behind it is no market to trade on."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10)
        listener.heard.clear()
        venue.lag_s = 30.0
        await listener.listen(20)

    heard = played(story)
    assert {event.reason for event in heard.of(FeedMalformed)} == {"stale"}
    assert len(heard.of(FeedLost)) == 1
    assert [event for event in heard.of(MarketQuote) if event.ts_ns > heard.of(FeedLost)[0].ts_ns] == []


@pytest.mark.parametrize("wrong_by", [10, 0.1, 1.25, 0.9])
def test_prices_that_are_wrong_on_the_socket_are_not_told_however_long_it_says_them(wrong_by: float) -> None:
    """Mark and book agree with each other, and REST does not: one broken channel does not vouch for itself."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10)
        venue.wrong_by = wrong_by
        await listener.listen(30)
        venue.wrong_by = 1
        back_ns = listener.clock.now_ns()
        await listener.listen(10)
        assert listener.of(MarketQuote)[-1].ts_ns > back_ns

    assert {quote.bid_ticks for quote in played(story).of(MarketQuote)} == {867_000}


def test_a_run_that_begins_with_wrong_prices_waits_for_right_ones() -> None:
    """There is no last good price yet: it is asked for over REST before anything is believed."""
    with pytest.raises(StartFault):
        played(listen, end={"wrong_by": 10.0}, keys={"start_s_max": 15})


@pytest.mark.parametrize("move", [0.6, 0.85, 1.5])
def test_a_market_that_has_really_jumped_is_believed_as_soon_as_rest_says_so(move: float) -> None:
    """Within five seconds, before the stream would be given up."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(10)
        listener.heard.clear()
        venue.mid = round(venue.mid * move, 1) + 0.05
        await listener.listen(8)

    heard = played(story)
    assert heard.of(FeedLost) == []
    assert heard.of(MarketQuote)[0].ts_ns < START_NS + 15 * NS_PER_S


def test_a_trade_is_told_when_it_is_told() -> None:
    """Prints come between the windows."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(5)
        await venue.trade("86700.1", "0.25")
        await listener.listen(1)

    (trade,) = played(story).of(MarketTrade)
    assert (trade.price_ticks, trade.size_lots, trade.aggressor) == (867_001, 250, 1)


def test_a_venue_that_is_not_there_is_a_start_that_fails_in_time() -> None:
    """With the reason that the last attempt had."""

    async def main() -> tuple[float, str]:
        clock = VirtualClock()
        settings = BitunixSettings(start_s_max=20)
        async with joined(MarketEnd(clock, is_down=True), wants(), settings) as feed:
            with pytest.raises(StartFault) as caught:
                await feed.open()
        return (clock.now_ns() - START_NS) / NS_PER_S, str(caught.value)

    seconds, reason = run_networked(main(), seed=1, start_ns=START_NS)
    assert seconds < 35
    assert "no market data" in reason


def test_nothing_of_a_closed_feed_goes_on() -> None:
    """No task, no connection."""

    async def story(venue: MarketEnd, listener: Listener) -> None:
        await listener.listen(5)
        await listener.feed.close()
        await listener.feed._client.close()
        await venue.reset()
        own = [task for task in asyncio.all_tasks() if task.get_name() in ("market socket", "bars", "clock offset")]
        assert own == []
        opened = venue.opened
        await venue.clock.sleep_until(venue.clock.now_ns() + 60 * NS_PER_S)
        assert venue.opened == opened
        assert [link for link in running_network().links() if not link.client.is_lost] == []

    played(story)
