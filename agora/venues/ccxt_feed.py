"""Public market data of another exchange through ccxt (`pip install agora[ccxt]`): polled, and watched by ourselves.

Books and prints come by asking, once a second; bars over the same library fill holes. Nothing is ever ordered here.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from agora.domain.errors import StartFault, Transient, UsageFault
from agora.domain.events import Event, MarketCandle, MarketFundingRate, MarketQuote, MarketTrade
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S, PPB, Rounding
from agora.engine.ports import Clock
from agora.venues.bar_keeper import BarPatience, NotServed
from agora.venues.outlet import FeedWants, Outlet
from agora.venues.provider_settings import ProviderSettings
from agora.venues.screen import NOTICE_INTERVAL_NS, SAMPLE_CHARACTERS, FaultTally, Reason, Screen
from agora.venues.steps import Steps, Unusable

BOOK_LEVELS = 20
PRINTS_MAX = 200
# Ids of prints that are remembered: the newest of several answers, which overlap.
PRINT_IDS_KEPT = 2_000
BARS_PER_CALL = 500
CALLS_MAX = 40
SETTLEMENTS_PER_CALL = 100
SETTLEMENTS_MAX = 20_000
TIMEFRAMES = {60: "1m", 300: "5m", 900: "15m", 1_800: "30m", 3_600: "1h", 14_400: "4h", 86_400: "1d"}
# A book stamped longer ago is not the present; some exchanges stamp none.
LAG_NS_MAX = 10 * NS_PER_S
BAR_PATIENCE = BarPatience(grace_ns=2 * NS_PER_S, wait_ns=20 * NS_PER_S, bars_max=1_000)
START_S_MAX = 60.0

Answer = TypeVar("Answer")


class Exchange(Protocol):
    """The asynchronous interface of a ccxt exchange, as far as it is used."""

    async def load_markets(self) -> dict[str, Any]:
        """Markets by their unified symbol."""
        ...

    async def fetch_order_book(self, symbol: str, limit: int | None = None) -> dict[str, Any]:
        """Bids and asks as [price, size] with a time in ms or none."""
        ...

    async def fetch_trades(
        self, symbol: str, since: int | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Prints."""
        ...

    async def fetch_ohlcv(
        self, symbol: str, timeframe: str, *, since: int | None = None, limit: int | None = None
    ) -> list[list[float]]:
        """Bars as [begin in ms, open, high, low, close, volume]."""
        ...

    async def fetch_funding_rate_history(
        self, symbol: str, since: int | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Settlements of a perpetual."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Library(msgspec.Struct, frozen=True):
    """An exchange of the library, and what its calls may fail with."""

    exchange: Exchange
    faults: tuple[type[Exception], ...]

    async def ask(self, call: Awaitable[Answer], within_s: float) -> Answer:
        """Await an answer; raises `Transient` for whatever the library or the network fails with, and for silence."""
        try:
            async with asyncio.timeout(within_s):
                return await call
        except TimeoutError:
            raise Transient(f"no answer within {within_s:g} s") from None
        except OSError as fault:
            raise Transient(str(fault)) from fault
        except self.faults as fault:
            raise Transient(f"{type(fault).__name__}: {fault}") from fault


def ccxt_library(name: str) -> Library:
    """A ccxt exchange without keys; raises `UsageFault` when the library or the exchange is not there."""
    try:
        import ccxt.async_support as ccxt  # noqa: PLC0415  optional, and a second of work
    except ImportError:
        raise UsageFault(f"provider ccxt:{name}: the library is not installed; install agora[ccxt]") from None
    if name not in ccxt.exchanges:
        raise UsageFault(f"provider ccxt:{name}: ccxt knows no such exchange")
    return Library(getattr(ccxt, name)({"enableRateLimit": True}), (ccxt.BaseError,))


class ExchangeMarket:
    """One symbol there, under the name that the library has for it."""

    def __init__(self, instrument: Instrument, unified: str) -> None:
        self.instrument = instrument
        self.unified = unified
        # Another exchange has other steps: its touch is widened to ours, never narrowed.
        self.bids = Steps(instrument.tick, Rounding.DOWN)
        self.asks = Steps(instrument.tick, Rounding.UP)
        self.prices = Steps(instrument.tick, Rounding.NEAREST)
        self.sizes = Steps(instrument.lot, Rounding.DOWN)
        self.print_ids: dict[str, None] = {}
        self.usable_ns = 0


class CcxtFeed:
    """Quotes, prints and bars of some symbols (port `Feed`); `settings` say how patient the polling is."""

    is_paced = True

    def __init__(
        self, wants: FeedWants, library: Library, *, name: str, settings: ProviderSettings, clock: Clock
    ) -> None:
        self._library = library
        self._exchange = library.exchange
        self._name = name
        self._settings = settings
        self._clock = clock
        self._wants = wants
        self._markets: dict[str, ExchangeMarket] = {}
        self._screen = Screen()
        self._tally = FaultTally()
        self._flushed_ns = 0
        self._outlet = Outlet(
            name, wants, CcxtBars(library, self._markets, settings), patience=BAR_PATIENCE, clock=clock
        )

    # Beginning and end.

    async def open(self) -> None:
        """Find the symbols, read the warm-up bars, and return with the first book; raises `StartFault`."""
        try:
            self._markets |= await markets_of(self._library, self._wants.instruments, self._name)
        except Transient as fault:
            raise StartFault(f"{self._name} cannot be reached: {fault}") from fault
        works = {
            f"{self._name} {symbol}": functools.partial(self._poll, market) for symbol, market in self._markets.items()
        }
        await self._outlet.open(works, within_s=START_S_MAX)

    async def close(self) -> None:
        """Stop asking."""
        await self._outlet.close()
        await self._exchange.close()

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event, or None at the deadline."""
        return await self._outlet.next(deadline_ns)

    def resync(self, since_ns: int) -> None:
        """Hand over the bars since then as after a lost connection."""
        self._outlet.resync(since_ns)

    # Asking.

    async def _poll(self, market: ExchangeMarket) -> None:
        while True:
            try:
                book = await self._library.ask(
                    self._exchange.fetch_order_book(market.unified, BOOK_LEVELS), self._settings.call_s_max
                )
                self._read_book(market, book)
                prints = await self._library.ask(
                    self._exchange.fetch_trades(market.unified, None, PRINTS_MAX), self._settings.call_s_max
                )
                self._read_prints(market, prints)
            except Transient as fault:
                self._outlet.why_not = str(fault)
            self._watch()
            await asyncio.sleep(self._settings.poll_s)

    def _watch(self) -> None:
        """The own watchdog: what the library believes of its connection is not asked."""
        now_ns = self._clock.now_ns()
        if now_ns - self._flushed_ns >= NOTICE_INTERVAL_NS:
            self._flushed_ns = now_ns
            self._outlet.tell_all(self._tally.flush(now_ns))
        silent_ns = int(self._settings.silent_s_max * NS_PER_S)
        silent = [symbol for symbol, market in self._markets.items() if now_ns - market.usable_ns > silent_ns]
        if silent and self._outlet.is_connected:
            reason = f"no usable book of {', '.join(silent)} for {self._settings.silent_s_max:g} s"
            seen_ns = {symbol: market.usable_ns for symbol, market in self._markets.items()}
            self._outlet.lose(f"{reason}: {self._outlet.why_not}", seen_ns)
        elif not silent and not self._outlet.is_connected:
            self._outlet.connect(now_ns)

    # Reading.

    def _read_book(self, market: ExchangeMarket, book: dict[str, Any]) -> None:
        now_ns = self._clock.now_ns()
        try:
            quote = _quote(market, book, now_ns)
        except (Unusable, TypeError, IndexError, KeyError) as fault:
            self._drop(fault, book, now_ns)
            return
        reason = self._screen.judge(quote)
        if reason is not None:
            self._count(reason, quote, now_ns)
            return
        market.usable_ns = now_ns
        if self._outlet.is_connected:
            self._outlet.tell(quote)

    def _read_prints(self, market: ExchangeMarket, prints: Sequence[dict[str, Any]]) -> None:
        """Prints that are new; those of the first answer are from before we looked."""
        is_first = not market.print_ids
        now_ns = self._clock.now_ns()
        for row in prints[-PRINTS_MAX:]:
            number = str(row.get("id") or f"{row.get('timestamp')} {row.get('price')} {row.get('amount')}")
            if number in market.print_ids:
                continue
            market.print_ids[number] = None
            if not is_first and self._outlet.is_connected:
                self._read_print(market, row, now_ns)
        while len(market.print_ids) > PRINT_IDS_KEPT:
            del market.print_ids[next(iter(market.print_ids))]

    def _read_print(self, market: ExchangeMarket, row: dict[str, Any], now_ns: int) -> None:
        try:
            trade = MarketTrade(
                ts_ns=now_ns,
                instrument=market.instrument.symbol,
                price_ticks=market.prices.of(row["price"]),
                size_lots=market.sizes.of(row["amount"]),
                aggressor={"buy": 1, "sell": -1}.get(str(row.get("side")), 0),
            )
        except (Unusable, TypeError, KeyError) as fault:
            self._drop(fault, row, now_ns)
            return
        reason = self._screen.judge(trade)
        if reason is None:
            self._outlet.tell(trade)
        elif trade.size_lots > 0:
            self._count(reason, trade, now_ns)

    def _drop(self, fault: Exception, found: object, now_ns: int) -> None:
        self._count(fault.reason if isinstance(fault, Unusable) else Reason.UNPARSABLE, found, now_ns)

    def _count(self, reason: str, found: object, now_ns: int) -> None:
        notice = self._tally.note(reason, str(found)[:SAMPLE_CHARACTERS], ts_ns=now_ns)
        if notice is not None:
            self._outlet.tell(notice)


class CcxtBars:
    """Bars of another exchange (port `BarSource`)."""

    def __init__(self, library: Library, markets: dict[str, ExchangeMarket], settings: ProviderSettings) -> None:
        self._library = library
        self._markets = markets
        self._settings = settings

    def offset_ns(self) -> int:
        """Not known: the patience with which bars are read allows for it."""
        return 0

    async def bars(self, symbol: str, interval_s: int, *, span_ns: tuple[int, int]) -> Sequence[MarketCandle]:
        """Closed bars that begin in the span; raises `NotServed` or `Transient`."""
        timeframe = TIMEFRAMES.get(interval_s)
        if timeframe is None:
            raise NotServed(f"{interval_s} s")
        market = self._markets[symbol]
        since_ms, end_ms = span_ns[0] // NS_PER_MS, span_ns[1] // NS_PER_MS
        found: list[MarketCandle] = []
        for _ in range(CALLS_MAX):
            call = self._library.exchange.fetch_ohlcv(market.unified, timeframe, since=since_ms, limit=BARS_PER_CALL)
            rows = [
                row for row in await self._library.ask(call, self._settings.call_s_max) if since_ms <= row[0] < end_ms
            ]
            found += [_candle(market, row, interval_s) for row in rows]
            if not rows or since_ms >= end_ms:
                break
            since_ms = int(rows[-1][0]) + interval_s * 1_000
        return found

    async def settlements(self, symbol: str, *, span_ns: tuple[int, int]) -> list[MarketFundingRate]:
        """Funding settled in the span: of a perpetual; a spot market has none. Raises `Transient`."""
        market = self._markets[symbol]
        found: dict[int, MarketFundingRate] = {}
        since_ms = span_ns[0] // NS_PER_MS
        while ":" in market.unified and len(found) < SETTLEMENTS_MAX:
            call = self._library.exchange.fetch_funding_rate_history(market.unified, since_ms, SETTLEMENTS_PER_CALL)
            rows = await self._library.ask(call, self._settings.call_s_max)
            new = {ts_ns: rate for ts_ns, rate in (_settlement(symbol, row) for row in rows) if ts_ns not in found}
            found |= new
            if not new or max(new) >= span_ns[1]:
                break
            since_ms = max(new) // NS_PER_MS + 1
        return [found[ts_ns] for ts_ns in sorted(found) if span_ns[0] < ts_ns <= span_ns[1]]


def _settlement(symbol: str, row: dict[str, Any]) -> tuple[int, MarketFundingRate]:
    """The library tells rates as fractions; exchanges stamp them some milliseconds late."""
    try:
        ts_ns = int(row["timestamp"]) // 1_000 * NS_PER_S
        rate_ppb = round(float(row["fundingRate"]) * PPB)
    except (KeyError, TypeError, ValueError) as fault:
        raise Transient(f"a funding rate that cannot be read: {fault!r}") from fault
    return ts_ns, MarketFundingRate(ts_ns=ts_ns, instrument=symbol, rate_ppb=rate_ppb)


async def markets_of(library: Library, instruments: dict[str, Instrument], name: str) -> dict[str, ExchangeMarket]:
    """The markets of some contracts; raises `Transient`, or `UsageFault` for one that the exchange has not."""
    listed = await library.ask(library.exchange.load_markets(), START_S_MAX)
    return {
        symbol: ExchangeMarket(instrument, _unified(instrument, listed, name))
        for symbol, instrument in instruments.items()
    }


def _candle(market: ExchangeMarket, row: Sequence[float], interval_s: int) -> MarketCandle:
    try:
        opened, high, low, close = (market.prices.of(price) for price in row[1:5])
        return MarketCandle(
            ts_ns=int(row[0]) * NS_PER_MS + interval_s * NS_PER_S,
            instrument=market.instrument.symbol,
            interval_s=interval_s,
            open_ticks=opened,
            high_ticks=high,
            low_ticks=low,
            close_ticks=close,
            volume_lots=market.sizes.of(row[5]),
            is_history=True,
        )
    except (Unusable, TypeError, IndexError) as fault:
        raise Transient(f"a bar that cannot be read: {fault}") from fault


def _quote(market: ExchangeMarket, book: dict[str, Any], now_ns: int) -> MarketQuote:
    stamp_ms, bids, asks = book.get("timestamp"), book["bids"], book["asks"]
    if isinstance(stamp_ms, int) and now_ns - stamp_ms * NS_PER_MS > LAG_NS_MAX:
        raise Unusable(Reason.STALE, f"{market.unified} {stamp_ms}")
    if not bids or not asks:
        raise Unusable(Reason.EMPTY, market.unified)
    return MarketQuote(
        ts_ns=now_ns,
        instrument=market.instrument.symbol,
        bid_ticks=market.bids.of(bids[0][0]),
        bid_lots=market.sizes.of(bids[0][1]),
        ask_ticks=market.asks.of(asks[0][0]),
        ask_lots=market.sizes.of(asks[0][1]),
    )


def _unified(instrument: Instrument, markets: dict[str, Any], name: str) -> str:
    """The perpetual of a symbol there, else its spot market; raises `UsageFault` when there is neither."""
    spot = f"{instrument.base}/{instrument.quote}"
    for unified in (f"{spot}:{instrument.quote}", spot):
        if unified in markets:
            return unified
    raise UsageFault(f"provider {name}: has no market {spot}")
