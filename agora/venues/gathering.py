"""Recordings of what a venue tells: its live market for a while, or bars and funding of the past over REST."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from agora.domain.errors import StartFault, Transient, UsageFault
from agora.domain.events import FeedGap, FeedMalformed, FeedOverflow, MarketCandle, MarketFundingRate
from agora.domain.instruments import Instrument, known_instrument
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Clock
from agora.venues.bar_keeper import BarSource, NotServed
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.feed_bars import BitunixBars
from agora.venues.bitunix.preflight import instruments_of
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.ccxt_feed import CcxtBars, Library, ccxt_library, markets_of
from agora.venues.outlet import FeedWants
from agora.venues.paper import Feed
from agora.venues.provider_settings import ProviderSettings
from agora.venues.providers import CCXT_PREFIX, Supply, build_provider
from agora.venues.recording import Origin, RecordedEvent, RecordingFacts, SourceFile, write_recording
from agora.venues.rest import Network
from agora.venues.screen import Reason, Screen

# How soon a wish to stop is noticed.
LOOK_NS = NS_PER_S // 4
# The bars of one call to a provider: what is held in memory, and lost when a call fails for good.
CHUNK_BARS = 2_000
BARS_MAX = 5_000_000
_LINES = msgspec.json.Decoder(RecordedEvent)


class History(BarSource, Protocol):
    """Where the past can be read."""

    async def settlements(self, symbol: str, *, span_ns: tuple[int, int]) -> list[MarketFundingRate]:
        """Funding settled in the span, in order; raises `Transient`."""
        ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where data are gathered: a provider by its name, and what it is reached with."""

    provider: str
    bitunix: BitunixSettings
    settings: ProviderSettings
    clock: Clock
    network: Network
    seed: int = 1
    library: Callable[[str], Library] = ccxt_library

    def __post_init__(self) -> None:
        """Refuse what nothing can be gathered from."""
        if self.provider != "bitunix" and not self.exchange:
            raise UsageFault(f"data are gathered from bitunix or ccxt:EXCHANGE, not from {self.provider[:40]!r}")

    @property
    def exchange(self) -> str:
        """The exchange of a ccxt provider, empty for another."""
        return self.provider.removeprefix(CCXT_PREFIX) if self.provider.startswith(CCXT_PREFIX) else ""


class Spool:
    """Events on disk until it is known what they are: a recording is written with its counts in front."""

    def __init__(self, out: Path) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        self._path = out.with_name(f".{out.name}.{os.getpid()}.spool")
        self._file: BinaryIO = self._path.open("wb")
        self._digest = hashlib.sha256()
        self._last_ns = 0
        self.count = 0

    def add(self, event: RecordedEvent) -> None:
        """Keep an event; none is older than the one before."""
        self._last_ns = max(self._last_ns, event.ts_ns)
        moved = event if event.ts_ns == self._last_ns else msgspec.structs.replace(event, ts_ns=self._last_ns)
        line = msgspec.json.encode(moved) + b"\n"
        self._digest.update(line)
        self._file.write(line)
        self.count += 1

    def events(self) -> Iterator[RecordedEvent]:
        """Everything kept, in order."""
        self._file.flush()
        with self._path.open("rb") as lines:
            for line in lines:
                yield _LINES.decode(line)

    def source(self, provider: str) -> SourceFile:
        """What the recording is made of: no file, but what the provider has told, with the digest of that."""
        return SourceFile(name=provider, sha256=self._digest.hexdigest(), format="gathered")

    def close(self) -> None:
        """Forget everything."""
        self._file.close()
        self._path.unlink(missing_ok=True)


# The live market.


async def record_live(
    place: Place, symbols: Sequence[str], *, out: Path, duration_s: float, listening: Callable[[], asyncio.Event]
) -> RecordingFacts:
    """Record quotes, depth, trades and funding for a time; raises `StartFault`.

    `listening` is called when it begins and gives what is set to end it early. What the connection lost is in the
    recording as a gap.
    """
    instruments = await _instruments(place, symbols)
    wants = FeedWants(instruments=instruments, intervals_s=(), history_bars=0)
    supply = Supply(
        wants=wants,
        clock=place.clock,
        network=place.network,
        bitunix=place.bitunix,
        settings=place.settings,
        seed=place.seed,
        library=place.library,
    )
    feed = build_provider(place.provider, supply)
    with contextlib.closing(Spool(out)) as spool:
        try:
            await feed.open()
            await _listen(feed, spool, place.clock, duration_s=duration_s, stop=listening())
        finally:
            await feed.close()
        if not spool.count:
            raise StartFault(f"{place.provider} told nothing that can be recorded")
        return write_recording(out, spool.events(), origin=_origin(instruments, 0, spool.source(place.provider)))


async def _listen(feed: Feed, spool: Spool, clock: Clock, *, duration_s: float, stop: asyncio.Event) -> None:
    until_ns = clock.now_ns() + int(duration_s * NS_PER_S)
    while clock.now_ns() < until_ns and not stop.is_set():
        event = await feed.next(min(until_ns, clock.now_ns() + LOOK_NS))
        if isinstance(event, FeedOverflow):
            spool.add(FeedMalformed(ts_ns=event.ts_ns, reason="overflow", count=event.dropped, sample=""))
        elif isinstance(event, RecordedEvent) and not isinstance(event, MarketCandle):
            spool.add(event)


# The past.


async def fetch_history(
    place: Place, symbol: str, *, out: Path, interval_s: int, span_ns: tuple[int, int]
) -> RecordingFacts:
    """Record the closed bars that begin in a span, and the funding settled in it; raises `UsageFault`, `StartFault`."""
    bars = (span_ns[1] - span_ns[0]) // (interval_s * NS_PER_S)
    if not 0 < bars <= BARS_MAX:
        raise UsageFault(f"a history has 1 to {BARS_MAX} bars, not {max(bars, 0)}")
    instruments = await _instruments(place, [symbol])
    async with contextlib.AsyncExitStack() as stack:
        spool = stack.enter_context(contextlib.closing(Spool(out)))
        try:
            source = await _history(place, instruments, stack)
            await _fetch_bars(source, symbol, spool, interval_s=interval_s, span_ns=span_ns)
            funding = await source.settlements(symbol, span_ns=span_ns)
        except NotServed as fault:
            raise UsageFault(f"{place.provider} has no bars of {fault}") from None
        except Transient as fault:
            raise StartFault(f"{place.provider}: {fault}") from fault
        if not spool.count:
            raise StartFault(f"{place.provider} has no bars of {symbol} in that time")
        # A bar comes before a settlement of the same moment: its close is the price at which funding is paid.
        events = heapq.merge(spool.events(), funding, key=lambda event: event.ts_ns)
        return write_recording(out, events, origin=_origin(instruments, interval_s, spool.source(place.provider)))


async def _fetch_bars(source: History, symbol: str, spool: Spool, *, interval_s: int, span_ns: tuple[int, int]) -> None:
    """Bars in order, with a gap where some are missing."""
    step_ns = interval_s * NS_PER_S
    screen, last_ns = Screen(), 0
    for begin_ns in range(span_ns[0], span_ns[1], CHUNK_BARS * step_ns):
        chunk_ns = (begin_ns, min(begin_ns + CHUNK_BARS * step_ns, span_ns[1]))
        for candle in await source.bars(symbol, interval_s, span_ns=chunk_ns):
            is_wanted = chunk_ns[0] < candle.ts_ns <= chunk_ns[1] and candle.ts_ns > last_ns
            reason = screen.judge(candle) if is_wanted else Reason.OUT_OF_ORDER
            if reason is not None:
                spool.add(FeedMalformed(ts_ns=candle.ts_ns, reason=reason, count=1, sample=repr(candle)[:160]))
                continue
            missing = (candle.ts_ns - last_ns) // step_ns - 1 if last_ns else 0
            if missing:
                reason_text = f"missing_bars: {missing} before this one"
                spool.add(FeedGap(ts_ns=candle.ts_ns, instrument=symbol, reason=reason_text))
            spool.add(candle)
            last_ns = candle.ts_ns


async def _instruments(place: Place, symbols: Sequence[str]) -> dict[str, Instrument]:
    """The contracts as the venue lists them; of another exchange those that are known, to whose steps it is rounded."""
    if place.exchange:
        try:
            return {symbol: known_instrument(symbol) for symbol in symbols}
        except KeyError as fault:
            raise UsageFault(str(fault.args[0])) from None
    client = _client(place)
    try:
        return await instruments_of(client, symbols, place.bitunix)
    finally:
        await client.close()


async def _history(place: Place, instruments: dict[str, Instrument], stack: contextlib.AsyncExitStack) -> History:
    """Bars and settlements of a provider; its connection ends with the stack."""
    if not place.exchange:
        client = _client(place)
        stack.push_async_callback(client.close)
        return BitunixBars(client, instruments)
    library = place.library(place.exchange)
    stack.push_async_callback(library.exchange.close)
    markets = await markets_of(library, instruments, place.provider)
    return CcxtBars(library, markets, place.settings)


def _client(place: Place) -> BitunixClient:
    settings = place.bitunix
    return BitunixClient(place.network, None, clock=place.clock, seed=place.seed, settings=settings)


def _origin(instruments: dict[str, Instrument], interval_s: int, source: SourceFile) -> Origin:
    return Origin(instruments=tuple(instruments.values()), interval_s=interval_s, sources=(source,))
