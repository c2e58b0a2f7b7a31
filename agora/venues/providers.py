"""Who market data are from, by name: `bitunix`, `recorded`, `ccxt:EXCHANGE`, and several of them as one feed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from agora.domain.errors import StartFault, UsageFault
from agora.domain.events import Event, FeedConnected, MarketCandle, MarketDepth, MarketQuote, MarketTrade
from agora.domain.instruments import Instrument
from agora.engine.ports import Clock
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.feed import BitunixFeed, market_socket
from agora.venues.bitunix.lone_feed import LoneFeed
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.ccxt_feed import CcxtFeed, Library, ccxt_library
from agora.venues.composite import CompositeFeed, Provider
from agora.venues.outlet import FeedWants
from agora.venues.paper import Feed
from agora.venues.provider_settings import ProviderSettings
from agora.venues.recorded import RecordedFeed, RecordedSource
from agora.venues.rest import Network

CCXT_PREFIX = "ccxt:"


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """What providers are made of. `bitunix` has the addresses; `recording` opens the recording of the run.

    `after`: market events that a resumed run has had, which a recording does not play again.
    """

    wants: FeedWants
    clock: Clock
    network: Network
    bitunix: BitunixSettings
    settings: ProviderSettings
    seed: int
    recording: Callable[[], RecordedSource] | None = None
    after: int = 0
    library: Callable[[str], Library] = ccxt_library


def build_provider(name: str, supply: Supply) -> Feed:
    """The feed of one provider, not opened yet; raises `UsageFault` for a name that cannot be meant."""
    if name == "bitunix":
        return _bitunix(supply)
    if name == "recorded":
        return _recorded(supply)
    exchange = name.removeprefix(CCXT_PREFIX)
    if name == exchange or not exchange:
        raise UsageFault(f"unknown provider {name[:40]!r}: bitunix, recorded or ccxt:EXCHANGE")
    library = supply.library(exchange)
    return CcxtFeed(supply.wants, library, name=name, settings=supply.settings, clock=supply.clock)


def build_feed(name: str, supply: Supply) -> Feed:
    """The feed of a run: one provider, with those that the settings put beside it."""
    settings = supply.settings
    if not settings.fallback and not settings.check:
        return build_provider(name, supply)
    providers = [_provider(each, supply) for each in (name, settings.fallback) if each]
    check = _provider(settings.check, supply) if settings.check else None
    return CompositeFeed(
        providers, check, symbols=tuple(supply.wants.instruments), settings=settings, clock=supply.clock
    )


def _provider(name: str, supply: Supply) -> Provider:
    def make(told_ns: int) -> Feed:
        if not told_ns:
            return build_provider(name, supply)
        wants = msgspec.structs.replace(supply.wants, seen_ns=told_ns)
        return build_provider(name, msgspec.structs.replace(supply, wants=wants))

    return Provider(name, make)


async def feed_or_fallback(feed: Feed, make_other: Callable[[], Feed] | None) -> tuple[Feed, str]:
    """An opened feed: the first, or if that does not come up the other; with why the first did not (empty: it did).

    Raises `StartFault` when there is no other. Which other one: `--fallback recorded` and `local` are made by the
    caller, `none` has none, and a live run never has.
    """
    try:
        await feed.open()
    except StartFault as fault:
        await feed.close()
        if make_other is None:
            raise
        other = make_other()
        await other.open()
        return other, str(fault)
    return feed, ""


# Bitunix.


def _bitunix(supply: Supply) -> LoneFeed:
    """Market data need no account, so its client has no keys."""
    settings = supply.bitunix
    client = BitunixClient(supply.network, None, clock=supply.clock, seed=supply.seed, settings=settings)
    public = market_socket(settings.public_ws, supply.network, settings, seed=supply.seed)
    feed = BitunixFeed(supply.wants, client=client, public=public, settings=settings, clock=supply.clock)
    return LoneFeed(feed, client)


# A recording in the present.


def _recorded(supply: Supply) -> RecordedFeed:
    if supply.recording is None:
        raise UsageFault("provider recorded: needs a recording (--data FILE)")
    source = supply.recording()
    found = {instrument.symbol: instrument for instrument in source.instruments}
    missing = sorted(set(supply.wants.instruments) - set(found))
    if missing:
        raise UsageFault(f"provider recorded: the recording has no {', '.join(missing)}")
    scales = {symbol: _Scale.of(found[symbol], wanted) for symbol, wanted in supply.wants.instruments.items()}
    return RecordedFeed(_moved(source, scales, supply), supply.clock, is_paced=True)


class _Scale(msgspec.Struct, frozen=True):
    """How many ticks and lots of the run one of the recording is."""

    ticks: int
    lots: int

    @classmethod
    def of(cls, recorded: Instrument, wanted: Instrument) -> _Scale:
        """Raises `UsageFault` when the recording has finer steps than the contract that is traded."""
        factors = (recorded.tick / wanted.tick, recorded.lot / wanted.lot)
        if any(factor < 1 or factor != factor.to_integral_value() for factor in factors):
            steps = f"tick {recorded.tick_size}, lot {recorded.lot_size}"
            wants = f"tick {wanted.tick_size}, lot {wanted.lot_size}"
            raise UsageFault(f"provider recorded: {wanted.symbol} was recorded with {steps}; the contract has {wants}")
        return cls(*(int(Decimal(factor)) for factor in factors))

    def applied(self, event: Event) -> Event:
        """The event in the steps of the run."""
        ticks, lots = self.ticks, self.lots
        if isinstance(event, MarketDepth):
            levels = tuple((side, price * ticks, size * lots) for side, price, size in event.levels)
            return msgspec.structs.replace(event, levels=levels)
        if not isinstance(event, MarketQuote | MarketTrade | MarketCandle) or (ticks, lots) == (1, 1):
            return event
        scaled = {
            name: getattr(event, name) * (ticks if name.endswith("_ticks") else lots)
            for name in event.__struct_fields__
            if name.endswith(("_ticks", "_lots"))
        }
        return msgspec.structs.replace(event, **scaled)


def _moved(source: RecordedSource, scales: dict[str, _Scale], supply: Supply) -> Iterator[Event]:
    """The recording as if its next event happened now; without what has been played already."""
    now_ns = supply.clock.now_ns()
    yield FeedConnected(ts_ns=now_ns, source="recorded", period_s=source.interval_s)
    shift_ns: int | None = None
    for event in source.events(supply.after):
        instrument = getattr(event, "instrument", None)
        if instrument is not None and instrument not in scales:
            continue
        if shift_ns is None:
            shift_ns = now_ns - event.ts_ns
        moved = event if instrument is None else scales[instrument].applied(event)
        yield msgspec.structs.replace(moved, ts_ns=event.ts_ns + shift_ns)
