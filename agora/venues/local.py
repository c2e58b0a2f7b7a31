"""A market that needs no data and no network: a seeded reference price with clustered volatility and a quoted book.

The price follows a stochastic-volatility walk with slow swings of drift, so that it has quiet hours, storms and trends.
Every draw comes from one generator with the run's seed; the n-th event is the same everywhere and after a restart.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from agora.domain.dice import dice_of
from agora.domain.events import (
    Event,
    FeedConnected,
    MarketCandle,
    MarketEvent,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S, Rounding
from agora.engine.ports import Clock

# Ten looks a second is what a quoted perpetual shows on a calm day.
TICK_NS = 100 * NS_PER_MS
TICKS_PER_S = NS_PER_S // TICK_NS
# Draws are made in blocks: one generator call for 1,024 ticks instead of one for each.
BLOCK = 1_024
SECONDS_PER_DAY = 86_400
TRADE_PROBABILITY = 0.35
# A day's drift swing lasts minutes, so that a ten-minute run meets trends in both directions.
DRIFT_HALF_LIFE_S = 90.0
VOLATILITY_HALF_LIFE_S = 120.0


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The market of `--venue local`."""

    start_price: Annotated[float, Meta(gt=0, lt=1e9, description="first price")] = 60_000.0
    daily_volatility: Annotated[
        float, Meta(gt=0, le=1, description="standard deviation of a day's return, as a fraction")
    ] = 0.2
    volatility_of_volatility: Annotated[float, Meta(ge=0, le=2, description="standard deviation of log volatility")] = (
        0.5
    )
    trend_strength: Annotated[
        float, Meta(ge=0, le=3, description="drift swings, in standard deviations of a second's return")
    ] = 0.3
    spread_bps: Annotated[float, Meta(ge=0, le=100, description="quoted spread, bps of the price")] = 0.5
    history_bars: Annotated[int, Meta(ge=0, le=5_000, description="closed bars handed over before the run starts")] = (
        200
    )
    funding_rate_ppb: Annotated[
        int, Meta(ge=-10_000_000, le=10_000_000, description="funding rate per interval, ppb")
    ] = 100_000


class ReferencePrice:
    """An endless seeded walk: `next_price()` after each tick, as a float (a statistic; quotes are rounded to ticks)."""

    def __init__(self, settings: LocalSettings, seed: int) -> None:
        self._settings = settings
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._tick_sigma = settings.daily_volatility / math.sqrt(SECONDS_PER_DAY * TICKS_PER_S)
        self._log_price = math.log(settings.start_price)
        self._log_volatility = 0.0
        self._drift = 0.0
        self._draws: Iterator[list[float]] = iter(())

    def draw(self) -> list[float]:
        """The next row of draws: three normals and three uniforms."""
        row = next(self._draws, None)
        if row is None:
            normals = self._generator.standard_normal((BLOCK, 3))
            uniforms = self._generator.random((BLOCK, 3))
            self._draws = iter(np.hstack([normals, uniforms]).tolist())
            row = next(self._draws)
        return row

    def move(self, row: list[float]) -> float:
        """One tick further; returns the new price."""
        settings = self._settings
        keep = math.exp(-math.log(2) / (VOLATILITY_HALF_LIFE_S * TICKS_PER_S))
        self._log_volatility = keep * self._log_volatility + (
            settings.volatility_of_volatility * math.sqrt(1 - keep * keep) * row[1]
        )
        keep = math.exp(-math.log(2) / (DRIFT_HALF_LIFE_S * TICKS_PER_S))
        self._drift = keep * self._drift + math.sqrt(1 - keep * keep) * row[2]
        # Drift is counted per second (√10 ticks of noise), so that a trend shows over tens of seconds.
        drift = settings.trend_strength * self._drift / math.sqrt(TICKS_PER_S)
        self._log_price += self._tick_sigma * (math.exp(self._log_volatility) * row[0] + drift)
        return math.exp(self._log_price)


def local_events(settings: LocalSettings, instrument: Instrument, seed: int) -> Iterator[tuple[int, MarketEvent]]:
    """The endless stream as (tick number, event with ts_ns 0): quotes, trades between, funding at its times."""
    walk = ReferencePrice(settings, seed)
    ticks_per_funding = instrument.funding_interval_s * TICKS_PER_S
    tick = 0
    while True:
        row = walk.draw()
        price = walk.move(row)
        half = max(price * settings.spread_bps / 20_000, float(instrument.tick) / 2)
        bid = instrument.price_ticks(price - half, Rounding.DOWN)
        ask = max(instrument.price_ticks(price + half, Rounding.UP), bid + 1)
        displayed = max(1, int(math.exp(1.2 * row[2]) / float(instrument.lot)))
        opposite = max(1, int(math.exp(1.2 * row[1]) / float(instrument.lot)))
        if row[3] < TRADE_PROBABILITY:
            aggressor = 1 if row[4] < 0.5 else -1
            size = max(1, int(-math.log(1 - row[5]) * 0.3 / float(instrument.lot)))
            level = ask if aggressor > 0 else bid
            yield (
                tick,
                MarketTrade(
                    ts_ns=0,
                    instrument=instrument.symbol,
                    price_ticks=level,
                    size_lots=size,
                    aggressor=aggressor,
                ),
            )
        yield (
            tick,
            MarketQuote(
                ts_ns=0,
                instrument=instrument.symbol,
                bid_ticks=bid,
                bid_lots=displayed,
                ask_ticks=ask,
                ask_lots=opposite,
            ),
        )
        tick += 1
        if tick % ticks_per_funding == 0:
            yield (
                tick,
                MarketFundingRate(ts_ns=0, instrument=instrument.symbol, rate_ppb=settings.funding_rate_ppb),
            )


class LocalMarket(msgspec.Struct, frozen=True, kw_only=True):
    """One seeded market: its settings, its instrument, the seed of its draws, the length of its warm-up bars."""

    settings: LocalSettings
    instrument: Instrument
    seed: int
    interval_s: int


def history(market: LocalMarket, *, end_ns: int) -> tuple[list[MarketCandle], float]:
    """Warm-up bars that end at `end_ns`, and the last price, where the live stream goes on."""
    settings, instrument, interval_s = market.settings, market.instrument, market.interval_s
    walk = ReferencePrice(settings, market.seed ^ 0x5EED)
    candles = []
    price = settings.start_price
    for number in range(settings.history_bars, 0, -1):
        prices = [price]
        volume = 0.0
        for _ in range(interval_s * TICKS_PER_S):
            row = walk.draw()
            price = walk.move(row)
            prices.append(price)
            volume += -math.log(1 - row[5]) * 0.3 if row[3] < TRADE_PROBABILITY else 0.0
        ticks = [instrument.price_ticks(p, Rounding.NEAREST) for p in (prices[0], max(prices), min(prices), price)]
        candles.append(
            MarketCandle(
                ts_ns=end_ns - (number - 1) * interval_s * NS_PER_S,
                instrument=instrument.symbol,
                interval_s=interval_s,
                open_ticks=ticks[0],
                high_ticks=ticks[1],
                low_ticks=ticks[2],
                close_ticks=ticks[3],
                volume_lots=int(volume / float(instrument.lot)),
                is_history=True,
            )
        )
    return candles, price


def local_markets(
    instruments: Sequence[Instrument], settings: LocalSettings, *, seed: int, interval_s: int
) -> list[LocalMarket]:
    """A market for each instrument, with a seed of its own; the first has that of the run."""
    return [
        LocalMarket(
            settings=settings,
            instrument=instrument,
            seed=dice_of(seed, "local", instrument.symbol).word() if number else seed,
            interval_s=interval_s,
        )
        for number, instrument in enumerate(instruments)
    ]


def live_events(markets: LocalMarket | Sequence[LocalMarket], *, after: int) -> Iterator[tuple[int, MarketEvent]]:
    """The live stream from the end of the warm-up bars on, without the first `after` events.

    Of several markets in order of time, and where they meet in their own.
    """
    if isinstance(markets, LocalMarket):
        markets = (markets,)
    streams = []
    for market in markets:
        settings = msgspec.structs.replace(market.settings, start_price=history(market, end_ns=0)[1])
        streams.append(local_events(settings, market.instrument, market.seed))
    stream = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_tick_of)
    return itertools.islice(stream, after, None)


def _tick_of(timed: tuple[int, MarketEvent]) -> int:
    return timed[0]


def _warm_up(markets: Sequence[LocalMarket], end_ns: int) -> list[MarketCandle]:
    """The warm-up bars of all markets in order of time."""
    candles = [candle for market in markets for candle in history(market, end_ns=end_ns)[0]]
    return sorted(candles, key=lambda candle: candle.ts_ns)


class LocalFeed:
    """The local market, or several at once, on the run's clock (port `Feed` of the paper venue).

    `after` and `history_after`: live events and warm-up bars that a resumed run has had.
    """

    is_paced = True

    def __init__(
        self,
        markets: LocalMarket | Sequence[LocalMarket],
        clock: Clock,
        *,
        after: int = 0,
        history_after: int = 0,
    ) -> None:
        markets = (markets,) if isinstance(markets, LocalMarket) else markets
        self._clock = clock
        start_ns = clock.now_ns()
        self._ready: deque[Event] = deque()
        self._ready.append(FeedConnected(ts_ns=start_ns, source="local"))
        if after == 0:
            self._ready.extend(_warm_up(markets, start_ns)[history_after:])
        self._stream = live_events(markets, after=after)
        self._head = next(self._stream)
        self._anchor_ns = start_ns - self._head[0] * TICK_NS

    async def open(self) -> None:
        """The market is in this process."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event if it is due by the deadline, else None at the deadline."""
        if self._ready:
            return self._ready.popleft()
        tick, event = self._head
        due_ns = self._anchor_ns + tick * TICK_NS
        if due_ns > deadline_ns:
            await self._clock.sleep_until(deadline_ns)
            return None
        await self._clock.sleep_until(due_ns)
        self._head = next(self._stream)
        return msgspec.structs.replace(event, ts_ns=due_ns)
