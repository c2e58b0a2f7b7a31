"""Market data of another exchange: polled, watched by ourselves, whatever the library in between believes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from agora.domain.errors import StartFault, UsageFault
from agora.domain.events import (
    Event,
    FeedBackfilled,
    FeedConnected,
    FeedGap,
    FeedLost,
    FeedMalformed,
    MarketCandle,
    MarketQuote,
    MarketTrade,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.venues.ccxt_feed import CcxtFeed, Library, ccxt_library
from agora.venues.outlet import FeedWants
from agora.venues.provider_settings import ProviderSettings
from tests.simulation.loop import VirtualClock, run_virtual

SYMBOL = "BTCUSDT"
# 2027-01-15 08:00:37 UTC: in the middle of a minute.
START_NS = 1_800_000_037 * NS_PER_S


class ExchangeError(Exception):
    """What the library raises."""


@dataclass
class Exchange:
    """An exchange with the asynchronous interface of the library, that does what a test tells it."""

    clock: VirtualClock
    markets: tuple[str, ...] = ("BTC/USDT:USDT", "BTC/USDT")
    book: dict[str, Any] = field(default_factory=lambda: {"bids": [[86_699.65, 1.5]], "asks": [[86_699.71, 2.0]]})
    is_failing: bool = False
    is_hanging: bool = False
    prints: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    is_closed: bool = False

    async def _answer(self, name: str, answer: Any) -> Any:
        self.asked.append(name)
        if self.is_hanging:
            await asyncio.get_running_loop().create_future()
        if self.is_failing:
            raise ExchangeError("the exchange is in maintenance")
        await asyncio.sleep(0)
        return answer

    async def load_markets(self) -> dict[str, Any]:
        """Markets."""
        markets: dict[str, Any] = await self._answer("markets", dict.fromkeys(self.markets))
        return markets

    async def fetch_order_book(self, symbol: str, limit: int | None = None) -> dict[str, Any]:
        """A book, stamped now unless a test says when."""
        stamped = {"timestamp": self.clock.now_ns() // NS_PER_MS, **self.book}
        book: dict[str, Any] = await self._answer(f"book {symbol} {limit}", stamped)
        return book

    async def fetch_trades(
        self, symbol: str, since: int | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Prints."""
        prints: list[dict[str, Any]] = await self._answer(f"trades {symbol} {since} {limit}", list(self.prints))
        return prints

    async def fetch_ohlcv(
        self, symbol: str, timeframe: str, *, since: int | None = None, limit: int | None = None
    ) -> list[list[float]]:
        """Bars of a minute from a time on, the forming one included."""
        assert since is not None
        assert limit is not None
        now_ms = self.clock.now_ns() // NS_PER_MS
        begins = [at for at in range(since, since + limit * 60_000, 60_000) if at <= now_ms]
        rows = [[at, 86_000.0, 86_100.0, 85_900.0, 86_050.0, 12.5] for at in begins]
        found: list[list[float]] = await self._answer(f"bars {symbol} {timeframe}", rows)
        return found

    async def fetch_funding_rate_history(
        self, symbol: str, since: int | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Every eight hours from a time on, stamped some milliseconds late."""
        assert since is not None
        eight_ms = 28_800_000
        times = range(-(-since // eight_ms) * eight_ms, self.clock.now_ns() // NS_PER_MS, eight_ms)
        rows = [{"timestamp": at + 7, "fundingRate": 0.0001} for at in times][:limit]
        found: list[dict[str, Any]] = await self._answer(f"funding {symbol}", rows)
        return found

    async def close(self) -> None:
        """Done."""
        self.is_closed = True


async def listen(feed: CcxtFeed, clock: VirtualClock, seconds: float) -> list[Event]:
    """What is told within that time."""
    until_ns, heard = clock.now_ns() + int(seconds * NS_PER_S), []
    while clock.now_ns() < until_ns:
        event = await feed.next(until_ns)
        heard += [] if event is None else [event]
    return heard


def feed_of(exchange: Exchange, **keys: Any) -> CcxtFeed:
    """The feed of that exchange."""
    wants = FeedWants(instruments={SYMBOL: known_instrument(SYMBOL)}, intervals_s=(60,), history_bars=20)
    library = Library(exchange, (ExchangeError,))
    return CcxtFeed(wants, library, name="ccxt:x", settings=ProviderSettings(**keys), clock=exchange.clock)


def played(story: Any, **facts: Any) -> tuple[Exchange, list[Event]]:
    """Play a story with an opened feed; returns what was heard."""

    async def main() -> tuple[Exchange, list[Event]]:
        exchange = Exchange(VirtualClock(), **facts)
        feed = feed_of(exchange)
        await feed.open()
        heard = await story(exchange, feed)
        await feed.close()
        return exchange, heard

    return run_virtual(main(), seed=1, start_ns=START_NS)


def test_books_prints_and_bars_become_market_data_in_our_steps() -> None:
    """The touch is widened to our ticks; of the prints those count that are new; the first bar comes whole."""

    async def story(exchange: Exchange, feed: CcxtFeed) -> list[Event]:
        exchange.prints = [{"id": "1", "price": 86_699.7, "amount": 1.0, "side": "buy"}]
        heard = await listen(feed, exchange.clock, 3)
        exchange.prints.append({"id": "2", "price": 86_699.74, "amount": 0.2509, "side": "sell"})
        return heard + await listen(feed, exchange.clock, 40)

    exchange, heard = played(story)
    assert [type(event) for event in heard[:2]] == [FeedConnected, FeedGap]
    assert heard[0].source == "ccxt:x"  # type: ignore[union-attr]
    assert sum(isinstance(event, MarketCandle) and event.is_history for event in heard) == 20
    assert sum(isinstance(event, MarketCandle) and not event.is_history for event in heard) == 1
    quote = next(event for event in heard if isinstance(event, MarketQuote))
    assert (quote.bid_ticks, quote.bid_lots, quote.ask_ticks, quote.ask_lots) == (866_996, 1_500, 866_998, 2_000)
    (trade,) = [event for event in heard if isinstance(event, MarketTrade)]
    assert (trade.price_ticks, trade.size_lots, trade.aggressor) == (866_997, 250, -1)
    assert all("BTC/USDT:USDT" in asked for asked in exchange.asked[1:])
    assert exchange.is_closed


@pytest.mark.parametrize("trouble", ["is_failing", "is_hanging"])
def test_an_exchange_that_fails_or_hangs_is_lost_in_time_and_its_hole_is_filled(trouble: str) -> None:
    """Our own watchdog: the library's word on its connection is not asked."""

    async def story(exchange: Exchange, feed: CcxtFeed) -> list[Event]:
        await listen(feed, exchange.clock, 5)
        setattr(exchange, trouble, True)
        heard = await listen(feed, exchange.clock, 90)
        assert [type(event) for event in heard if not isinstance(event, MarketQuote)] == [FeedLost, FeedGap]
        setattr(exchange, trouble, False)
        return heard + await listen(feed, exchange.clock, 90)

    _, heard = played(story)
    lost = next(event for event in heard if isinstance(event, FeedLost))
    assert 10 <= (lost.ts_ns - START_NS) / NS_PER_S - 5 <= 10 + 2 + 5
    assert sum(isinstance(event, FeedBackfilled) for event in heard) == 1
    candles = [event for event in heard if isinstance(event, MarketCandle)]
    ends = [candle.end_ts_ns for candle in candles]
    assert ends == list(range(ends[0], ends[-1] + 1, 60 * NS_PER_S))


BOOKS = [
    ("an empty side", {"bids": [], "asks": [[1.0, 1.0]]}, "empty"),
    ("a crossed book", {"bids": [[2.0, 1.0]], "asks": [[1.0, 1.0]]}, "crossed"),
    ("no number", {"bids": [[float("nan"), 1.0]], "asks": [[1.0, 1.0]]}, "not_finite"),
    ("nothing for a level", {"bids": [[]], "asks": [[1.0, 1.0]]}, "unparsable"),
    ("no book", {"bids": 7, "asks": 3}, "unparsable"),
    ("an old book", {"bids": [[1.0, 1.0]], "asks": [[2.0, 1.0]], "timestamp": 1}, "stale"),
]


@pytest.mark.parametrize("book,reason", [row[1:] for row in BOOKS], ids=[row[0] for row in BOOKS])
def test_a_bad_book_is_counted_and_no_sign_of_life(book: dict[str, Any], reason: str) -> None:
    """It is dropped, and a provider that has nothing else is lost."""

    async def story(exchange: Exchange, feed: CcxtFeed) -> list[Event]:
        await listen(feed, exchange.clock, 5)
        exchange.book = book
        return await listen(feed, exchange.clock, 30)

    _, heard = played(story)
    assert {event.reason for event in heard if isinstance(event, FeedMalformed)} == {reason}
    assert sum(isinstance(event, FeedLost) for event in heard) == 1


def test_prints_that_are_remembered_are_bounded() -> None:
    """A busy market fills no memory."""

    async def story(exchange: Exchange, feed: CcxtFeed) -> list[Event]:
        for number in range(60):
            exchange.prints = [
                {"id": str(100 * number + each), "price": 86_700.0, "amount": 1, "side": "buy"} for each in range(200)
            ]
            await listen(feed, exchange.clock, 1)
        assert len(feed._markets[SYMBOL].print_ids) <= 2_000
        return []

    played(story)


def test_a_market_that_is_not_there_is_named_and_an_exchange_that_is_not_there_fails_the_start() -> None:
    """With what is to be changed, and within a bound."""

    async def main() -> tuple[str, str]:
        clock = VirtualClock()
        with pytest.raises(UsageFault) as unknown:
            await feed_of(Exchange(clock, markets=("ETH/USDT",))).open()
        with pytest.raises(StartFault) as away:
            await feed_of(Exchange(clock, is_hanging=True)).open()
        assert clock.now_ns() - START_NS < 70 * NS_PER_S
        return str(unknown.value), str(away.value)

    unknown, away = run_virtual(main(), seed=1, start_ns=START_NS)
    assert "BTC/USDT" in unknown
    assert "cannot be reached" in away


def test_the_library_is_asked_for_only_by_name() -> None:
    """Where it is not installed the extra is named; where it is, an exchange that it does not know."""
    with pytest.raises(UsageFault, match=r"agora\[ccxt\]|no such exchange"):
        ccxt_library("nosuchexchange")


def test_the_librarys_own_exchange_has_what_is_used() -> None:
    """The real class, without a network."""
    pytest.importorskip("ccxt", reason="the extra agora[ccxt] is not installed")

    async def main() -> bool:
        library = ccxt_library("binance")
        names = ("load_markets", "fetch_order_book", "fetch_trades", "fetch_ohlcv", "close")
        has_all = all(asyncio.iscoroutinefunction(getattr(library.exchange, name)) for name in names)
        await library.exchange.close()
        return has_all and issubclass(library.faults[0], Exception)

    assert asyncio.run(main())
