"""The local market: the same for a seed everywhere, resumable, and alive the way markets are."""

from __future__ import annotations

import asyncio
import itertools
import math

import msgspec
import numpy as np
import pytest

from agora.domain.events import (
    Event,
    FeedConnected,
    MarketCandle,
    MarketEvent,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_S
from agora.session.clock import ManualClock
from agora.venues.local import (
    TICK_NS,
    LocalFeed,
    LocalMarket,
    LocalSettings,
    history,
    live_events,
    local_events,
    local_markets,
)

BTC = known_instrument("BTCUSDT")
START_NS = 20_000 * 86_400 * NS_PER_S


def market(seed: int = 1, **facts: object) -> LocalMarket:
    """A market with few warm-up bars."""
    settings = LocalSettings(**({"history_bars": 3} | facts))  # type: ignore[arg-type]
    return LocalMarket(settings=settings, instrument=BTC, seed=seed, interval_s=5)


def stream(seed: int, count: int) -> list[tuple[int, MarketEvent]]:
    """The beginning of the stream of a seed."""
    return list(itertools.islice(local_events(LocalSettings(), BTC, seed), count))


def fed(feed: LocalFeed, count: int) -> list[Event]:
    """The next events of a feed on a manual clock."""

    async def take() -> list[Event]:
        found: list[Event] = []
        while len(found) < count:
            event = await feed.next(2**62)
            assert event is not None
            found.append(event)
        return found

    return asyncio.run(take())


@pytest.mark.requirement("B18")
def test_a_seed_is_a_market() -> None:
    """The same seed gives the same events, another seed others."""
    assert stream(7, 5_000) == stream(7, 5_000)
    assert stream(7, 200) != stream(8, 200)


@pytest.mark.requirement("B18")
def test_the_stream_is_written_down() -> None:
    """The first trade and quote of seed 1 on any machine: a change of the draws breaks every old seed, on purpose."""
    quotes = [event for _, event in stream(1, 50) if isinstance(event, MarketQuote)]
    middles = [(quote.bid_ticks + quote.ask_ticks) // 2 for quote in quotes]
    assert abs(middles[0] - 600_000) < 600
    assert len(set(middles)) > 10


def test_quotes_are_never_crossed_and_sizes_never_empty() -> None:
    """Over 20,000 ticks: bid below ask, positive sizes, trades at the touch that was there or is next."""
    for _, event in stream(3, 25_000):
        if isinstance(event, MarketQuote):
            assert 0 < event.bid_ticks < event.ask_ticks
            assert min(event.bid_lots, event.ask_lots) >= 1
        elif isinstance(event, MarketTrade):
            assert event.price_ticks > 0
            assert event.size_lots >= 1
            assert event.aggressor in (1, -1)


def test_ticks_never_go_back() -> None:
    """Each tick has its quote; trades come before the quote of their tick."""
    numbers = [tick for tick, _ in stream(5, 5_000)]
    assert numbers == sorted(numbers)
    quoted = [tick for tick, event in stream(5, 5_000) if isinstance(event, MarketQuote)]
    assert quoted == list(range(len(quoted)))


@pytest.mark.requirement("B18")
def test_volatility_clusters() -> None:
    """Absolute returns remember each other over lags 1 to 10 (an hour of seconds), returns themselves hardly do."""
    sums = []
    for seed in (1, 2, 3):
        events = (event for _, event in local_events(LocalSettings(), BTC, seed))
        quotes = (event for event in events if isinstance(event, MarketQuote))
        mids = [(quote.bid_ticks + quote.ask_ticks) / 2 for quote in itertools.islice(quotes, 0, 36_000, 10)]
        returns = np.diff(np.log(mids))
        sums.append((_memory(np.abs(returns)), abs(_memory(returns))))
    noise = 2 / math.sqrt(3_600)
    for clustered, plain in sums:
        assert clustered > 2 * noise
        assert plain < clustered


def _memory(values: np.ndarray) -> float:
    """Mean autocorrelation over lags 1 to 10."""
    centred = values - values.mean()
    power = float((centred**2).sum())
    return float(np.mean([(centred[lag:] * centred[:-lag]).sum() / power for lag in range(1, 11)]))


@pytest.mark.requirement("H2.3")
def test_funding_is_due_each_interval_of_the_instrument() -> None:
    """The rate of the settings, after exactly so many ticks as the interval has."""
    often = msgspec.structs.replace(BTC, funding_interval_s=2)
    events = list(itertools.islice(local_events(LocalSettings(funding_rate_ppb=-5), often, 1), 200))
    rates = [(tick, event.rate_ppb) for tick, event in events if isinstance(event, MarketFundingRate)]
    assert rates[:3] == [(20, -5), (40, -5), (60, -5)]


# The feed.


def test_a_new_run_hears_warm_up_bars_first_and_then_the_market() -> None:
    """Connected, bars of the past that end with the start, then a quote each 100 ms from there on."""
    clock = ManualClock(START_NS)
    events = fed(LocalFeed(market(), clock), 40)
    assert isinstance(events[0], FeedConnected)
    bars = [event for event in events if isinstance(event, MarketCandle)]
    assert [bar.ts_ns for bar in bars] == [START_NS - 10 * NS_PER_S, START_NS - 5 * NS_PER_S, START_NS]
    assert all(bar.is_history for bar in bars)
    quotes = [event for event in events if isinstance(event, MarketQuote)]
    assert [quote.ts_ns for quote in quotes] == [START_NS + n * TICK_NS for n in range(len(quotes))]
    assert abs(quotes[0].bid_ticks - bars[-1].close_ticks) < 600


def test_a_run_stopped_in_its_warm_up_hears_the_rest_of_the_bars_once() -> None:
    """A resumed run gets the bars it has not had, then the market from its beginning."""
    events = fed(LocalFeed(market(), ManualClock(START_NS), history_after=2), 5)
    assert [type(event).__name__ for event in events[:2]] == ["FeedConnected", "MarketCandle"]
    assert not any(isinstance(event, MarketCandle) for event in events[2:])


def test_the_same_seed_is_the_same_feed() -> None:
    """Warm-up and live."""
    assert fed(LocalFeed(market(4), ManualClock(START_NS)), 500) == fed(
        LocalFeed(market(4), ManualClock(START_NS)), 500
    )


@pytest.mark.requirement("B5")
@pytest.mark.parametrize("after", [1, 13, 1_024, 2_500])
def test_a_resumed_feed_goes_on_where_it_was(after: int) -> None:
    """After n events come exactly the events n, n+1, …: no warm-up again, prices and sizes as they would have been."""
    whole = [event for event in fed(LocalFeed(market(), ManualClock(START_NS)), after + 54) if _is_live(event)]
    resumed = fed(LocalFeed(market(), ManualClock(START_NS + 10**12), after=after), 51)
    assert isinstance(resumed[0], FeedConnected)
    timeless = [msgspec.structs.replace(event, ts_ns=0) for event in whole[after : after + 50]]
    assert [msgspec.structs.replace(event, ts_ns=0) for event in resumed[1:]] == timeless
    times = [event.ts_ns for event in resumed]
    assert times[0] == times[1] == START_NS + 10**12
    assert times == sorted(times)


def _is_live(event: Event) -> bool:
    return isinstance(event, MarketQuote | MarketTrade | MarketFundingRate)


def test_the_live_stream_is_known_without_a_feed() -> None:
    """`live_events` names the event that a feed will hand over next."""
    whole = [event for event in fed(LocalFeed(market(), ManualClock(START_NS)), 104) if _is_live(event)]
    for after in (0, 1, 50, 99):
        tick, event = next(live_events(market(), after=after))
        assert event == msgspec.structs.replace(whole[after], ts_ns=0)
        assert whole[after].ts_ns == START_NS + tick * TICK_NS


def test_an_event_that_is_not_due_is_waited_for() -> None:
    """Until the deadline nothing happens; the event comes at its own time and is not lost."""

    async def story() -> tuple[object, int, object]:
        clock = ManualClock(START_NS)
        feed = LocalFeed(market(history_bars=0), clock)
        while clock.now_ns() == START_NS:
            last = await feed.next(2**62)
        assert last is not None
        due_ns = clock.now_ns()
        while (event := await feed.next(due_ns + TICK_NS - 1)) is not None:
            assert event.ts_ns == due_ns
        return event, clock.now_ns() - due_ns, await feed.next(due_ns + TICK_NS)

    nothing, waited_ns, event = asyncio.run(story())
    assert nothing is None
    assert waited_ns == TICK_NS - 1
    assert event is not None


def test_warm_up_bars_are_whole() -> None:
    """Extremes hold open and close, each bar opens where the last one closed, and volume is traded."""
    bars, price = history(market(history_bars=50), end_ns=START_NS)
    for bar, following in itertools.pairwise(bars):
        assert bar.low_ticks <= min(bar.open_ticks, bar.close_ticks)
        assert bar.high_ticks >= max(bar.open_ticks, bar.close_ticks)
        assert following.open_ticks == bar.close_ticks
    assert sum(bar.volume_lots for bar in bars) > 0
    assert abs(price * 10 - bars[-1].close_ticks) <= 1


# Several instruments.


def markets(count: int = 2) -> list[LocalMarket]:
    """So many markets under one seed."""
    instruments = [known_instrument(symbol) for symbol in ("BTCUSDT", "ETHUSDT")][:count]
    return local_markets(instruments, LocalSettings(history_bars=3), seed=9, interval_s=5)


def test_each_instrument_has_a_market_of_its_own() -> None:
    """Its own seed: their prices do not move together; the first is the one it would be alone."""
    several = markets()
    assert several[0] == markets(1)[0]
    paths = []
    for market_ in several:
        events = itertools.islice(live_events(market_, after=0), 4_000)
        mids = [event.bid_ticks for _, event in events if isinstance(event, MarketQuote)]
        paths.append(np.diff(np.log(np.array(mids[:2_500], dtype=float))))
    assert abs(np.corrcoef(paths)[0, 1]) < 0.1


def test_several_markets_are_one_feed_in_order_of_time() -> None:
    """Warm-up bars of all, then what happens in each, none of it lost or changed."""
    events = fed(LocalFeed(markets(), ManualClock(START_NS)), 400)
    bars = [event for event in events if isinstance(event, MarketCandle)]
    assert [(bar.ts_ns - START_NS) // NS_PER_S for bar in bars] == [-10, -10, -5, -5, 0, 0]
    assert [bar.instrument for bar in bars[:2]] == ["BTCUSDT", "ETHUSDT"]
    live = [event for event in events if _is_live(event)]
    assert [event.ts_ns for event in live] == sorted(event.ts_ns for event in live)
    for number, market_ in enumerate(markets()):
        symbol = market_.instrument.symbol
        mine = [msgspec.structs.replace(event, ts_ns=0) for event in live if event.instrument == symbol]
        alone = [event for _, event in itertools.islice(live_events(market_, after=0), len(mine))]
        assert mine == alone, number


@pytest.mark.parametrize("after", [1, 57, 1_024])
def test_a_resumed_feed_of_several_markets_goes_on_where_it_was(after: int) -> None:
    """The n-th event of all is the same after a restart."""
    whole = [event for event in fed(LocalFeed(markets(), ManualClock(START_NS)), after + 60) if _is_live(event)]
    resumed = fed(LocalFeed(markets(), ManualClock(START_NS), after=after), 41)[1:]
    assert [msgspec.structs.replace(event, ts_ns=0) for event in resumed] == [
        msgspec.structs.replace(event, ts_ns=0) for event in whole[after : after + 40]
    ]
