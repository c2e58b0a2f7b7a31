"""Small journals for tests: events of a few kinds, and logs on a simulated disk without threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agora.domain.events import (
    BreakerTripped,
    Event,
    FeedConnected,
    Heartbeat,
    MarketQuote,
    OrderIntent,
    Timer,
)
from agora.journal import InlineWriter, Limits, Log, Recovered, open_log
from tests.simulation.disk import SimDisk

WALL_NS = 1_700_000_000_123_456_789
TINY = Limits(segment_bytes=2_000, budget_bytes=1_000_000)


def wall_ns() -> int:
    """A wall clock that stands still."""
    return WALL_NS


def quote(number: int = 0) -> MarketQuote:
    """Market data; each number gives another."""
    return MarketQuote(
        ts_ns=number,
        instrument="BTCUSDT",
        bid_ticks=1000 + number,
        bid_lots=5,
        ask_ticks=1001 + number,
        ask_lots=7,
    )


def timer(number: int = 0) -> Timer:
    """An event of no consequence."""
    return Timer(ts_ns=number)


def heartbeat(number: int = 0) -> Heartbeat:
    """A passing note."""
    return Heartbeat(
        ts_ns=number, cpu_fraction=0.5, rss_mb=100.0, disk_free_mb=1e4, loop_lag_ms=0.1, queue_depth=number
    )


def intent(number: int = 0) -> OrderIntent:
    """A durable decision."""
    return OrderIntent(
        ts_ns=number,
        client_id=f"run-{number}",
        number=number,
        trader="trend",
        instrument="BTCUSDT",
        side="buy",
        type="limit",
        time_in_force="gtc",
        purpose="entry",
        size_lots=3,
        price_ticks=1000,
    )


def tripped(number: int = 0) -> BreakerTripped:
    """A durable consequence."""
    return BreakerTripped(ts_ns=number, breaker="drawdown", value=f"0.{number}", limit="0.1")


def mixed(count: int) -> list[Event]:
    """Both chains in turn, durable and passing kinds."""
    makers: Sequence[Callable[[int], Event]] = (quote, timer, quote, intent, quote, heartbeat, tripped)
    return [makers[number % len(makers)](number) for number in range(count)]


def feed() -> FeedConnected:
    """A source that came up, with a name in another script."""
    return FeedConnected(ts_ns=3, source="Börse ✓", period_s=60)


def opened(disk: SimDisk, *, after: Recovered | None = None, limits: Limits = TINY) -> Log:
    """A log that does its disk work in `commit`."""
    return open_log(disk, wall_ns=wall_ns, after=after, limits=limits, writer=InlineWriter)


def done(answer: Awaitable[None]) -> None:
    """Await outside a loop: for a log without threads and delays."""

    async def wait() -> None:
        await answer

    asyncio.run(wait())


def written(events: Sequence[Event], *, limits: Limits = TINY, disk: SimDisk | None = None) -> SimDisk:
    """A disk with these events committed and the log closed."""
    disk = disk or SimDisk()
    log = opened(disk, limits=limits)
    for event in events:
        if log.append(event) % 4 == 0:
            done(log.commit())
    done(log.close())
    return disk
