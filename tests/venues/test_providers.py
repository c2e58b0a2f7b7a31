"""Providers by name and several as one: switching, coming back, disagreeing; real feeds on venues of the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.domain.errors import StartFault, UsageFault
from agora.domain.events import (
    Event,
    FeedBackfilled,
    FeedConnected,
    FeedEnded,
    FeedGap,
    FeedLost,
    FeedMalformed,
    MarketCandle,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.ccxt_feed import CcxtFeed, Library
from agora.venues.composite import CompositeFeed, Provider
from agora.venues.local import LocalFeed, LocalMarket, LocalSettings
from agora.venues.paper import Feed
from agora.venues.provider_settings import ProviderSettings
from agora.venues.providers import Supply, build_feed, build_provider, feed_or_fallback
from agora.venues.recorded import open_recording
from agora.venues.recording import Origin, SourceFile, write_recording
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.bitunix.market_end import START_NS, SYMBOL, MarketEnd, wants
from tests.venues.test_ccxt_feed import Exchange, ExchangeError

Ends = dict[str, MarketEnd]


class Listener:
    """Everything that a feed tells."""

    def __init__(self, feed: Feed, clock: VirtualClock) -> None:
        self.feed = feed
        self.clock = clock
        self.heard: list[Event] = []

    async def listen(self, seconds: float) -> list[Event]:
        """What is told within that time."""
        until_ns, new = self.clock.now_ns() + int(seconds * NS_PER_S), []
        while self.clock.now_ns() < until_ns:
            event = await self.feed.next(until_ns)
            new += [] if event is None else [event]
        self.heard += new
        return new

    def of(self, *kinds: type[Event]) -> list[Any]:
        """What was heard of these kinds."""
        return [event for event in self.heard if isinstance(event, kinds)]

    def said(self) -> list[str]:
        """Sources, losses and gaps in order, by their words."""
        words = {FeedConnected: "source", FeedLost: "reason", FeedGap: "reason"}
        return [getattr(event, words[type(event)]) for event in self.heard if type(event) in words]


def supply_of(clock: VirtualClock, url: str, **facts: Any) -> Supply:
    """What providers are made of, at an address."""
    settings = BitunixSettings(rest_url=url, public_ws=url.replace("http", "ws") + "/public/")
    facts = {"wants": wants(), "settings": ProviderSettings(), **facts}
    return Supply(clock=clock, network=Network(Connector), bitunix=settings, seed=1, **facts)


Story = Callable[[Ends, Listener], Awaitable[None]]


def played(
    story: Story,
    *,
    names: tuple[str, ...] = ("first", "other"),
    ready: Callable[[Ends], None] | None = None,
    **keys: Any,
) -> Listener:
    """A composite over a venue for each name (one of them `check`), played in virtual time."""

    async def main() -> Listener:
        clock = VirtualClock()
        ends = {name: MarketEnd(clock) for name in names}
        if ready is not None:
            ready(ends)
        settings = ProviderSettings(**{"return_s": 20, **keys})
        async with AsyncExitStack() as stack:
            providers = {}
            for name, end in ends.items():
                supply = supply_of(clock, await stack.enter_async_context(serving(end.app())))
                providers[name] = Provider(name, lambda _, supply=supply: build_provider("bitunix", supply))  # type: ignore[misc]
            check = providers.pop("check", None)
            feed = CompositeFeed(list(providers.values()), check, symbols=(SYMBOL,), settings=settings, clock=clock)
            stack.push_async_callback(feed.close)
            await feed.open()
            listener = Listener(feed, clock)
            await story(ends, listener)
        return listener

    return run_networked(main(), seed=1, start_ns=START_NS)


@pytest.mark.requirement("B63")
def test_a_run_begins_with_the_first_provider_and_its_warm_up_bars() -> None:
    """The fallback is connected too, and not heard."""

    async def story(ends: Ends, listener: Listener) -> None:
        ends["other"].mid = 90_000.05
        await listener.listen(30)

    heard = played(story)
    assert [event.source for event in heard.of(FeedConnected)] == ["first"]
    assert sum(candle.is_history for candle in heard.of(MarketCandle)) == 20
    assert {quote.bid_ticks for quote in heard.of(MarketQuote)} == {867_000}


@pytest.mark.requirement("B63")
@pytest.mark.parametrize("trouble", ["is_mute", "is_down", "lag_s"])
def test_the_fallback_takes_over_while_the_first_has_nothing_usable_and_gives_back(trouble: str) -> None:
    """Mute, gone, or old: after ten seconds the other is heard, by its name, and the first when it has been well."""

    async def story(ends: Ends, listener: Listener) -> None:
        ends["other"].mid = 86_701.05
        await listener.listen(20)
        listener.heard.clear()
        setattr(ends["first"], trouble, 60)
        if trouble == "is_down":
            await ends["first"].reset()
        new = await listener.listen(60)
        silence = [b.ts_ns - a.ts_ns for a, b in zip(quotes(new), quotes(new)[1:], strict=False)]
        assert max(silence) < 12 * NS_PER_S
        setattr(ends["first"], trouble, 0)
        await listener.listen(60)

    heard = played(story)
    assert [event.source for event in heard.of(FeedConnected)] == ["other", "first"]
    # One loss for each switch: where the first has said itself that it is gone, it is not said again.
    assert len(heard.of(FeedLost)) == 2
    away, back = heard.of(FeedConnected)
    for quote in heard.of(MarketQuote):
        is_other = away.ts_ns <= quote.ts_ns < back.ts_ns
        assert quote.bid_ticks == (867_010 if is_other else 867_000)
    assert [gap.is_hole for gap in heard.of(FeedGap)] == [True] * len(heard.of(FeedGap))
    assert len(heard.of(FeedBackfilled)) == 2


def quotes(events: list[Event]) -> list[MarketQuote]:
    """The quotes among events."""
    return [event for event in events if isinstance(event, MarketQuote)]


@pytest.mark.requirement("B63")
def test_each_bar_comes_from_one_source_and_holes_of_a_switch_are_filled_by_the_new_one() -> None:
    """Bars that ended while nobody was heard are history; the one of the switch comes whole."""

    async def story(ends: Ends, listener: Listener) -> None:
        await listener.listen(70)
        listener.heard.clear()
        ends["first"].is_mute = True
        await listener.listen(120)

    heard = played(story)
    whole = [candle for candle in heard.of(MarketCandle) if not candle.is_history]
    assert len(whole) == 1
    connected = heard.of(FeedConnected)[0]
    assert whole[0].end_ts_ns - 60 * NS_PER_S <= connected.ts_ns < whole[0].end_ts_ns


def test_a_run_can_begin_with_the_fallback() -> None:
    """The first is not there at the start: the other is heard after its patience, and the first when it comes."""

    def ready(ends: Ends) -> None:
        ends["first"].is_down = True

    async def story(ends: Ends, listener: Listener) -> None:
        assert 10 <= (listener.clock.now_ns() - START_NS) / NS_PER_S < 15
        await listener.listen(20)
        assert sum(candle.is_history for candle in listener.of(MarketCandle)) == 20
        ends["first"].is_down = False
        await listener.listen(150)

    heard = played(story, ready=ready)
    assert [event.source for event in heard.of(FeedConnected)] == ["other", "first"]


@pytest.mark.requirement("B63")
def test_data_that_a_second_provider_contradicts_are_withheld_until_they_agree() -> None:
    """A difference that lasts: nothing is told, so that the run sees old data; the reason is counted."""

    async def story(ends: Ends, listener: Listener) -> None:
        await listener.listen(20)
        ends["first"].mid = 87_300.05
        await listener.listen(2)
        assert quotes(listener.heard)[-1].bid_ticks == 873_000
        await listener.listen(5)
        listener.heard.clear()
        assert quotes(await listener.listen(20)) == []
        ends["first"].mid = 86_710.05
        assert quotes(await listener.listen(5))[-1].bid_ticks == 867_100

    heard = played(story, names=("first", "check"))
    assert {event.reason for event in heard.of(FeedMalformed)} == {"disagrees"}
    assert heard.of(FeedLost) == []


def test_where_two_of_three_agree_the_third_is_left() -> None:
    """The first is contradicted, the fallback is not: it takes over."""

    async def story(ends: Ends, listener: Listener) -> None:
        await listener.listen(20)
        ends["first"].mid = 87_300.05
        await listener.listen(30)

    heard = played(story, names=("first", "other", "check"))
    assert [event.source for event in heard.of(FeedConnected)] == ["first", "other"]
    assert quotes(heard.heard)[-1].bid_ticks == 867_000


def test_an_opinion_that_is_old_or_missing_withholds_nothing() -> None:
    """The check is lost: the first is believed alone."""

    async def story(ends: Ends, listener: Listener) -> None:
        ends["check"].is_mute = True
        await listener.listen(20)
        ends["first"].mid = 87_300.05
        await listener.listen(20)

    heard = played(story, names=("first", "check"))
    assert quotes(heard.heard)[-1].bid_ticks == 873_000


def test_a_settlement_is_told_once_whoever_notices_it() -> None:
    """The one that the first provider told is not told again by the other, and what nobody heard is told later."""

    async def story(ends: Ends, listener: Listener) -> None:
        await listener.listen(20)
        assert len(listener.of(MarketFundingRate)) == 1
        ends["first"].lag_s = 60
        await listener.listen(700)
        assert len(listener.of(MarketFundingRate)) == 1
        ends["first"].settled, ends["first"].lag_s = "2027-01-15T08:10:00Z", 0
        await listener.listen(10)
        assert len(listener.of(MarketFundingRate)) == 1
        await listener.listen(50)

    assert len(played(story).of(MarketFundingRate)) == 2


def test_a_settlement_that_the_other_notices_late_is_not_told_again() -> None:
    """It is heard by then, and what it says has been told by the first."""

    async def story(ends: Ends, listener: Listener) -> None:
        await listener.listen(620)
        ends["first"].settled = "2027-01-15T08:10:00Z"
        await listener.listen(5)
        assert len(listener.of(MarketFundingRate)) == 2
        ends["first"].is_mute = True
        await listener.listen(20)
        ends["other"].settled = "2027-01-15T08:10:00Z"
        await listener.listen(20)
        assert listener.said()[-1] == "other"

    assert len(played(story).of(MarketFundingRate)) == 2


def test_without_any_provider_the_start_fails_with_the_reason() -> None:
    """In bounded time."""

    def ready(ends: Ends) -> None:
        for end in ends.values():
            end.is_down = True

    async def story(_: Ends, __: Listener) -> None:
        pytest.fail("nobody is there")

    with pytest.raises(StartFault, match="no provider has usable market data"):
        played(story, ready=ready)


# By name.


def built(name: str, **facts: Any) -> Feed:
    """A provider by its name; nothing is connected."""

    async def main() -> Feed:
        feed = build_feed(name, supply_of(VirtualClock(), "http://127.0.0.1:9", **facts))
        await feed.close()
        return feed

    return run_networked(main(), seed=1, start_ns=START_NS)


def test_each_name_makes_its_feed() -> None:
    """And a fallback or a check makes a composite."""
    made = built("ccxt:x", library=lambda _: Library(Exchange(VirtualClock()), (ExchangeError,)))
    assert isinstance(made, CcxtFeed)
    assert isinstance(built("bitunix", settings=ProviderSettings(check="ccxt:x")), CompositeFeed)


@pytest.mark.parametrize("name", ["", "binance", "ccxt:", "ccxt"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    """With the names there are."""
    with pytest.raises(UsageFault, match="bitunix, recorded or ccxt:EXCHANGE"):
        built(name)


def recording(path: Path, *, tick_size: str = "0.1", lot_size: str = "0.001") -> Path:
    """A recording of three events in 2024."""
    start_ns = 1_704_067_200 * NS_PER_S
    instrument = msgspec.structs.replace(known_instrument(SYMBOL), tick_size=tick_size, lot_size=lot_size)
    events = [
        MarketQuote(ts_ns=start_ns, instrument=SYMBOL, bid_ticks=420_000, bid_lots=5, ask_ticks=420_010, ask_lots=7),
        MarketTrade(ts_ns=start_ns + NS_PER_S, instrument=SYMBOL, price_ticks=420_010, size_lots=3, aggressor=1),
        MarketQuote(
            ts_ns=start_ns + 2 * NS_PER_S,
            instrument=SYMBOL,
            bid_ticks=420_020,
            bid_lots=5,
            ask_ticks=420_030,
            ask_lots=7,
        ),
    ]
    source = SourceFile(name="x", sha256="", format="x")
    write_recording(path, events, origin=Origin(instruments=(instrument,), interval_s=0, sources=(source,)))
    return path


def recorded(path: Path, *, after: int = 0) -> list[Event]:
    """What the provider `recorded` tells in a minute."""

    async def main() -> list[Event]:
        clock = VirtualClock()
        supply = supply_of(clock, "http://127.0.0.1:9", recording=lambda: open_recording(path), after=after)
        feed = build_provider("recorded", supply)
        await feed.open()
        listener = Listener(feed, clock)
        return await listener.listen(60)

    return run_networked(main(), seed=1, start_ns=START_NS)


def test_a_recording_is_played_as_if_it_happened_now(tmp_path: Path) -> None:
    """In real time, from the present on, and its end is the end of the data."""
    heard = recorded(recording(tmp_path / "r.parquet"))
    assert [type(event) for event in heard] == [FeedConnected, MarketQuote, MarketTrade, MarketQuote, FeedEnded]
    assert [event.ts_ns - START_NS for event in heard[1:4]] == [0, NS_PER_S, 2 * NS_PER_S]


def test_a_resumed_run_is_not_played_again_what_it_has_had(tmp_path: Path) -> None:
    """The rest follows at once."""
    heard = recorded(recording(tmp_path / "r.parquet"), after=2)
    assert [type(event) for event in heard] == [FeedConnected, MarketQuote, FeedEnded]


def test_a_recording_with_coarser_steps_is_scaled_and_one_with_finer_steps_refused(tmp_path: Path) -> None:
    """Prices and sizes stay what they were; what cannot be expressed is not rounded."""
    heard = recorded(recording(tmp_path / "coarse.parquet", tick_size="1", lot_size="0.01"))
    assert isinstance(heard[1], MarketQuote)
    assert (heard[1].bid_ticks, heard[1].bid_lots) == (4_200_000, 50)
    with pytest.raises(UsageFault, match="was recorded with"):
        recorded(recording(tmp_path / "fine.parquet", tick_size="0.01"))


def test_a_recorded_provider_needs_a_recording_of_the_symbol(tmp_path: Path) -> None:
    """Both faults are named."""
    with pytest.raises(UsageFault, match="--data"):
        built("recorded")
    path = recording(tmp_path / "r.parquet")
    with pytest.raises(UsageFault, match="has no ETHUSDT"):
        built("recorded", wants=wants(symbols=("ETHUSDT",)), recording=lambda: open_recording(path))


# What a run falls back on.


def local_feed(clock: VirtualClock) -> LocalFeed:
    """The local market."""
    market = LocalMarket(settings=LocalSettings(), instrument=known_instrument(SYMBOL), seed=1, interval_s=60)
    return LocalFeed(market, clock)


@pytest.mark.parametrize("is_down,source", [(False, "bitunix"), (True, "local")])
def test_a_paper_run_falls_back_where_its_venue_is_not_there(is_down: bool, source: str) -> None:
    """And says why; where the venue is there the other one is not even made."""

    async def main() -> tuple[Event | None, str]:
        clock = VirtualClock()
        async with serving(MarketEnd(clock, is_down=is_down).app()) as url:
            first = build_provider("bitunix", supply_of(clock, url))
            feed, why = await feed_or_fallback(first, lambda: local_feed(clock))
            event = await feed.next(clock.now_ns() + NS_PER_S)
            await feed.close()
        return event, why

    event, why = run_networked(main(), seed=1, start_ns=START_NS)
    assert isinstance(event, FeedConnected)
    assert event.source == source
    assert bool(why) == is_down


def test_a_run_without_a_fallback_does_not_start() -> None:
    """`none`, and every live run."""

    async def main() -> None:
        clock = VirtualClock()
        async with serving(MarketEnd(clock, is_down=True).app()) as url:
            with pytest.raises(StartFault):
                await feed_or_fallback(build_provider("bitunix", supply_of(clock, url)), None)

    run_networked(main(), seed=1, start_ns=START_NS)
