"""What moves the prices of the loopback Bitunix: seeded walks or recordings, and the past before the start.

Prices are floats here (a statistic); the exchange rounds them to ticks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from agora.domain.dice import dice_of
from agora.domain.errors import UsageFault
from agora.domain.events import MarketCandle, MarketFundingRate, MarketQuote, MarketTrade
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_records import Bar
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.import_detect import Format, source_of
from agora.venues.local import SECONDS_PER_DAY, TICK_NS, TICKS_PER_S, TRADE_PROBABILITY, LocalSettings, ReferencePrice
from agora.venues.recorded import RecordedSource, open_recording

# Where the walks begin: prices of 2026 for the majors, whatever they are worth now.
START_PRICES = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "XRPUSDT": 2.0, "TRXUSDT": 0.25}
MINUTE_S = 60
# Two hundred candles of 5 s, with which a short run begins, and some more.
WALKED_S = 1_200
# A recording that has no price in so many events has none at all.
EVENTS_LOOKED_AT = 100_000


class Price(Protocol):
    """A reference price that goes on for ever."""

    funding_rate_ppb: int | None

    def move(self, ticks: int) -> float:
        """So many ticks further; returns the price."""
        ...

    def past(self, seconds: int) -> list[float]:
        """The prices of so many seconds before the start, oldest first; asked once, before anything else."""
        ...


class WalkPrice:
    """A seeded walk."""

    funding_rate_ppb: int | None = None

    def __init__(self, settings: BitunixTestnetSettings, symbol: str) -> None:
        self._start_price = START_PRICES[symbol]
        local = LocalSettings(
            start_price=self._start_price,
            daily_volatility=settings.daily_volatility,
            volatility_of_volatility=settings.volatility_of_volatility,
            trend_strength=settings.trend_strength,
        )
        seed = dice_of(settings.seed, "reference", symbol).word()
        self._walk = ReferencePrice(local, seed)
        self._seed = seed
        self._second_sigma = settings.daily_volatility / math.sqrt(SECONDS_PER_DAY)
        self._price = self._start_price

    def move(self, ticks: int) -> float:
        """So many ticks further."""
        for _ in range(ticks):
            self._price = self._walk.move(self._walk.draw())
        return self._price

    def past(self, seconds: int) -> list[float]:
        """The walk itself shortly before the start, so that its trends go on; earlier noise of the same volatility.

        A second of noise is one draw, one of the walk is ten of its steps.
        """
        walked = min(seconds, WALKED_S)
        steps = np.random.Generator(np.random.PCG64(self._seed ^ 0x5EED)).standard_normal(seconds - walked)
        path = np.cumsum(steps) * self._second_sigma
        noise: list[float] = (self._start_price * np.exp(path[::-1])).tolist()
        return [*noise, *(self.move(TICKS_PER_S) for _ in range(walked))]


class Point(NamedTuple):
    """A price at a time of the recording."""

    ts_ns: int
    price: float


class RecordedPrice:
    """The prices of a recording, its time counted from its first event; between two of a candle it goes straight."""

    def __init__(self, settings: BitunixTestnetSettings, source: RecordedSource, instrument: Instrument) -> None:
        self.funding_rate_ppb: int | None = None
        self._settings = settings
        self._source = source
        self._tick = float(instrument.tick)
        self._symbol = instrument.symbol
        self._scale = 1.0
        self._points = self._read()
        self._from = self._to = self._first()
        self._base_ns = self._from.ts_ns
        self._elapsed_ns = 0

    def move(self, ticks: int) -> float:
        """So many ticks further in the recording; at its end anew from its beginning, in proportion, or no further."""
        self._elapsed_ns += ticks * TICK_NS
        now_ns = self._base_ns + self._elapsed_ns
        while self._to.ts_ns <= now_ns:
            following = next(self._points, None)
            if following is None:
                if self._settings.loops_data:
                    self._begin_anew()
                return self._to.price * self._scale
            self._from, self._to = self._to, following
        return self._between(now_ns) * self._scale

    def _between(self, now_ns: int) -> float:
        """Within a candle on the line between two of its points; else the last price known."""
        span_ns = self._to.ts_ns - self._from.ts_ns
        if not self._source.interval_s or span_ns <= 0:
            return self._from.price
        return self._from.price + (self._to.price - self._from.price) * (now_ns - self._from.ts_ns) / span_ns

    def _begin_anew(self) -> None:
        """Go on from the beginning at the price of the end."""
        last = self._to.price * self._scale
        self._points = self._read()
        self._from = self._to = self._first()
        self._base_ns, self._elapsed_ns = self._from.ts_ns, 0
        self._scale = last / self._from.price

    def past(self, seconds: int) -> list[float]:
        """The first part of recorded candles; before recorded ticks there was a walk."""
        if self._source.interval_s:
            return [self.move(TICKS_PER_S) for _ in range(seconds)]
        walked = WalkPrice(self._settings, self._symbol).past(seconds)
        return [price * self._from.price / walked[-1] for price in walked]

    def _first(self) -> Point:
        point = next(self._points, None)
        if point is None:
            raise UsageFault(f"the recording of {self._symbol} has no trade, quote or candle in it")
        return point

    def _read(self) -> Iterator[Point]:
        unpriced = 0
        for event in self._source.events():
            if isinstance(event, MarketFundingRate):
                self.funding_rate_ppb = event.rate_ppb
                continue
            points = _points_of(event, self._tick)
            unpriced = 0 if points else unpriced + 1
            if unpriced > EVENTS_LOOKED_AT:
                return
            yield from points


def _points_of(event: object, tick: float) -> Sequence[Point]:
    """The prices that an event tells of."""
    if isinstance(event, MarketTrade):
        return (Point(event.ts_ns, event.price_ticks * tick),)
    if isinstance(event, MarketQuote):
        if min(event.bid_ticks, event.ask_ticks) <= 0:
            return ()
        return (Point(event.ts_ns, (event.bid_ticks + event.ask_ticks) / 2 * tick),)
    if not isinstance(event, MarketCandle):
        return ()
    length_ns = event.interval_s * NS_PER_S
    start_ns = event.ts_ns - length_ns
    # A candle that rose went down first: the usual reading of its four prices.
    is_up = event.close_ticks >= event.open_ticks
    between = (event.low_ticks, event.high_ticks) if is_up else (event.high_ticks, event.low_ticks)
    path = (event.open_ticks, *between, event.close_ticks)
    times = (start_ns, start_ns + length_ns // 3, start_ns + 2 * length_ns // 3, event.ts_ns - 1)
    return [Point(ts_ns, ticks * tick) for ts_ns, ticks in zip(times, path, strict=True)]


def prices_of(settings: BitunixTestnetSettings) -> dict[str, Price]:
    """The reference price of each symbol: its recordings where there are any, else a walk. Raises `UsageFault`."""
    paths = [Path(name) for name in settings.data]
    files: dict[str, list[Path]] = {symbol: [] for symbol in settings.symbols}
    for path in paths:
        source = source_of(path)
        symbol = source.symbol if source.format is not Format.RECORDING and source.symbol in files else ""
        for name in [symbol] if symbol else _symbols_in(path, settings.symbols):
            files[name].append(path)
    return {symbol: _price_of(settings, symbol, files[symbol]) for symbol in settings.symbols}


def _symbols_in(path: Path, symbols: Sequence[str]) -> list[str]:
    """Whose prices a file holds that does not say it by its name: what it says, or the first symbol's."""
    if source_of(path).format is not Format.RECORDING:
        return [symbols[0]]
    listed = [instrument.symbol for instrument in open_recording(path).instruments]
    return [symbol for symbol in symbols if symbol in listed]


def _price_of(settings: BitunixTestnetSettings, symbol: str, files: list[Path]) -> Price:
    if not files:
        return WalkPrice(settings, symbol)
    source = open_recording(files, symbol)
    instrument = next((each for each in source.instruments if each.symbol == symbol), source.instruments[0])
    return RecordedPrice(settings, source, instrument)


class Past(NamedTuple):
    """Bars from before the start: finished minutes, and the seconds of the newest hours."""

    minutes: list[Bar]
    seconds: list[Bar]


def past_of(
    price: Price, instrument: Instrument, *, settings: BitunixTestnetSettings, start_ns: int, seconds_kept: int
) -> Past:
    """The past of a symbol up to the minute that the start lies in: so much was traded as is traded live."""
    count = settings.history_minutes * MINUTE_S
    closes = np.asarray(price.past(count))
    if not count:
        return Past([], [])
    end_ns = start_ns - start_ns % (MINUTE_S * NS_PER_S)
    close_ticks = np.maximum(1, np.rint(closes / float(instrument.tick))).astype(np.int64)
    open_ticks = np.concatenate((close_ticks[:1], close_ticks[:-1]))
    seed = dice_of(settings.seed, "past", instrument.symbol).word()
    generator = np.random.Generator(np.random.PCG64(seed))
    mean_lots = TRADE_PROBABILITY * settings.level_notional / float(closes[-1]) / float(instrument.lot)
    lots = np.maximum(1, generator.exponential(max(mean_lots, 1.0), count)).astype(np.int64)
    rows = np.stack(
        (open_ticks, np.maximum(open_ticks, close_ticks), np.minimum(open_ticks, close_ticks), close_ticks, lots)
    )
    by_minute = rows.reshape(5, settings.history_minutes, MINUTE_S)
    minutes = np.stack(
        (
            by_minute[0, :, 0],
            by_minute[1].max(axis=1),
            by_minute[2].min(axis=1),
            by_minute[3, :, -1],
            by_minute[4].sum(axis=1),
        )
    )
    return Past(
        _bars(minutes.T.tolist(), instrument, end_ns=end_ns, length_s=MINUTE_S),
        _bars(rows.T[-seconds_kept:].tolist(), instrument, end_ns=end_ns, length_s=1),
    )


def _bars(rows: list[list[int]], instrument: Instrument, *, end_ns: int, length_s: int) -> list[Bar]:
    first_ns = end_ns - len(rows) * length_s * NS_PER_S
    return [
        Bar(
            start_ns=first_ns + number * length_s * NS_PER_S,
            open_ticks=row[0],
            high_ticks=row[1],
            low_ticks=row[2],
            close_ticks=row[3],
            size_lots=row[4],
            quote_units=instrument.notional_units(row[3], row[4]),
            trades=1,
        )
        for number, row in enumerate(rows)
    ]
