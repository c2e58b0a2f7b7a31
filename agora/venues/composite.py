"""Market data of several providers as one feed: a fallback while the first is lost, a second opinion on its prices.

Only one provider is heard at a time, and `feed.connected` names it: what follows in the journal is from that source.
Data that a second provider contradicts are withheld; then they grow stale, and risk stops by the rules for that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from agora.domain.errors import StartFault, Transient, UsageFault
from agora.domain.events import (
    Event,
    FeedConnected,
    FeedEnded,
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
from agora.engine.ports import Clock
from agora.venues.bitunix.crew import Bell, Crew
from agora.venues.inbox import Inbox
from agora.venues.paper import Feed
from agora.venues.provider_settings import ProviderSettings
from agora.venues.screen import FaultTally, Reason

LOGGER = logging.getLogger(__name__)
# How often it is decided who is heard; a quarter of the shortest patience that can be set.
LOOK_NS = NS_PER_S // 4
# A provider that could not be opened is tried again after this.
AGAIN_NS = 30 * NS_PER_S
# Warm-up bars of a provider that nobody listens to yet: 200 of several lengths and symbols.
OPENING_MAX = 20_000
# Two providers that tell a settlement within this time tell the same one: no contract settles more often than hourly.
SETTLEMENT_NS = 600 * NS_PER_S
# A provider's next event is waited for so long at a time.
WAIT_NS = 60 * NS_PER_S
BPS = 10_000
_SNAPSHOTS = (MarketQuote, MarketTrade, MarketDepth)
_FAULTS = (OSError, StartFault, UsageFault, Transient)


@runtime_checkable
class Resyncing(Protocol):
    """A feed that can hand over the bars of a time in which it was not heard."""

    def resync(self, since_ns: int) -> None:
        """Hand over the bars since then as after a lost connection."""
        ...


class Provider(msgspec.Struct, frozen=True):
    """A provider by its name, and how to make its feed; when it broke again, knowing what it told until then (ns)."""

    name: str
    make: Callable[[int], Feed]


class _Line:
    """What is known of one provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.feed: Feed | None = None
        # Whether its loss has been told and its return has not.
        self.is_lost = False
        self.is_over = False
        # Per symbol: the newest usable data, and the newest middle in ticks (doubled) with its time.
        self.usable_ns: dict[str, int] = {}
        self.middles: dict[str, tuple[int, int]] = {}
        self.healthy_since_ns: int | None = None
        # What it had to say before anybody was heard, and the newest settlement of each symbol that nobody heard.
        self.opening: list[Event] = []
        self.settled: dict[str, MarketFundingRate] = {}

    def age_ns(self, symbols: Sequence[str], now_ns: int) -> int:
        """The age of the oldest of its newest data."""
        return max(now_ns - self.usable_ns.get(symbol, 0) for symbol in symbols)

    def note(self, event: MarketQuote | MarketTrade | MarketDepth, *, is_usable: bool) -> None:
        """Something came."""
        if isinstance(event, MarketQuote):
            self.middles[event.instrument] = (event.bid_ticks + event.ask_ticks, event.ts_ns)
        if is_usable:
            self.usable_ns[event.instrument] = event.ts_ns


class CompositeFeed:
    """The first provider, or the fallback while the first has nothing usable; both held against `check`."""

    is_paced = True

    def __init__(
        self,
        providers: Sequence[Provider],
        check: Provider | None,
        *,
        symbols: Sequence[str],
        settings: ProviderSettings,
        clock: Clock,
    ) -> None:
        assert 1 <= len(providers) <= 2, "one provider, and at most one that stands in for it"
        self._lines = [_Line(provider) for provider in providers]
        self._check = None if check is None else _Line(check)
        self._symbols = tuple(symbols)
        self._settings = settings
        self._clock = clock
        self._active: _Line | None = None
        self._heard_until_ns = 0
        self._differs_since_ns: dict[str, int] = {}
        self._funded_ns: dict[str, int] = {}
        self._tally = FaultTally()
        self._inbox = Inbox()
        self._bell = Bell()
        self._opened = Bell()
        self._crew = Crew()
        self._crew.on_fault = self._on_fault
        self._fault: Exception | None = None
        self._begun_ns = 0
        self._why_not = "nothing usable yet"

    # Beginning and end.

    async def open(self) -> None:
        """Return when a provider is heard; raises `StartFault` when none has anything usable."""
        self._begun_ns = self._clock.now_ns()
        await self._crew.open()
        for line in [*self._lines, *([self._check] if self._check is not None else [])]:
            self._crew.start(self._follow(line), name=f"provider {line.provider.name}")
        self._crew.start(self._decide(), name="provider choice")
        # The first may take as long as the fallback waits for it, and the fallback as long again.
        is_open = await self._opened.wait(4 * self._settings.switch_s + 60)
        if self._fault is not None:
            raise self._fault
        if not is_open:
            raise StartFault(f"no provider has usable market data: {self._why_not}")

    async def close(self) -> None:
        """Close all providers."""
        await self._crew.close()

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event of whoever is heard, or None at the deadline."""
        if not self._inbox and self._fault is None:
            await self._bell.wait(max(0.0, (deadline_ns - self._clock.now_ns()) / NS_PER_S))
        if self._fault is not None:
            raise self._fault
        return self._inbox.take(self._clock.now_ns())

    def _on_fault(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._bell.ring()
        self._opened.ring()

    def _tell(self, event: Event) -> None:
        self._inbox.put(event)
        self._bell.ring()

    # Listening.

    async def _follow(self, line: _Line) -> None:
        """Listen to a provider for as long as the feed is open; one that breaks is made anew."""
        while not line.is_over:
            feed = line.feed = line.provider.make(max(line.usable_ns.values(), default=0))
            try:
                await self._listen(line, feed)
            except _FAULTS as fault:
                self._why_not = f"{line.provider.name}: {fault}"
                LOGGER.warning("provider %s: %s", line.provider.name, fault)
            finally:
                await feed.close()
            await self._clock.sleep_until(self._clock.now_ns() + AGAIN_NS)

    async def _listen(self, line: _Line, feed: Feed) -> None:
        await feed.open()
        while not line.is_over:
            event = await feed.next(self._clock.now_ns() + WAIT_NS)
            if event is not None:
                self._hear(line, event)

    def _hear(self, line: _Line, event: Event) -> None:
        if isinstance(event, _SNAPSHOTS):
            is_believed = line is self._check or not self._is_contradicted(line, event)
            line.note(event, is_usable=is_believed)
            if line is self._active and is_believed:
                self._tell(event)
            elif line is self._active:
                self._withhold(event)
        elif isinstance(event, FeedEnded):
            self._end(line, event)
        elif line is self._active:
            self._pass_on(line, event)
        elif isinstance(event, MarketFundingRate):
            if event.ts_ns - self._funded_ns.get(event.instrument, 0) > SETTLEMENT_NS:
                line.settled[event.instrument] = event
        elif self._active is None and isinstance(event, FeedGap | MarketCandle) and len(line.opening) < OPENING_MAX:
            line.opening.append(event)

    def _pass_on(self, line: _Line, event: Event) -> None:
        """Of the one that is heard; the name that it is known by here is that of the settings."""
        if isinstance(event, FeedConnected):
            event = msgspec.structs.replace(event, source=line.provider.name)
        line.is_lost = isinstance(event, FeedLost) or (line.is_lost and not isinstance(event, FeedConnected))
        if isinstance(event, MarketFundingRate):
            self._fund(event)
        else:
            self._tell(event)

    def _fund(self, event: MarketFundingRate) -> None:
        """A settlement is told once, whoever else has noticed it."""
        if event.ts_ns - self._funded_ns.get(event.instrument, 0) <= SETTLEMENT_NS:
            return
        self._funded_ns[event.instrument] = event.ts_ns
        for line in self._lines:
            line.settled.pop(event.instrument, None)
        self._tell(event)

    def _end(self, line: _Line, event: FeedEnded) -> None:
        """A recording is over. That of the first provider ends the run; one that stands in only stops standing in."""
        line.is_over = True
        if line is self._lines[0]:
            self._tell(event)

    # Choosing.

    async def _decide(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now_ns() + LOOK_NS)
            self._look(self._clock.now_ns())

    def _look(self, now_ns: int) -> None:
        for line in self._lines:
            is_fresh = not line.is_over and line.age_ns(self._symbols, now_ns) <= self._settings.switch_s * NS_PER_S
            line.healthy_since_ns = None if not is_fresh else line.healthy_since_ns or now_ns
        wanted = self._wanted(now_ns)
        if wanted is not None and wanted is not self._active:
            self._switch(wanted, now_ns)

    def _wanted(self, now_ns: int) -> _Line | None:
        """The first while it has usable data; else the fallback, until the first has been well for a while."""
        first, other = self._lines[0], self._lines[-1]
        if self._active is None:
            waited_ns = now_ns - self._begun_ns
            if first.healthy_since_ns is not None:
                return first
            is_late = waited_ns > self._settings.switch_s * NS_PER_S
            return other if is_late and other.healthy_since_ns is not None else None
        if self._active is first:
            return other if first.healthy_since_ns is None and other.healthy_since_ns is not None else first
        is_well = first.healthy_since_ns is not None and (
            now_ns - first.healthy_since_ns >= self._settings.return_s * NS_PER_S or other.healthy_since_ns is None
        )
        return first if is_well else other

    def _switch(self, line: _Line, now_ns: int) -> None:
        """From now on this one is heard. Between the two prices were not seen, and theirs are not the same prices."""
        before, name = self._active, line.provider.name
        self._active = line
        if before is None:
            self._tell(FeedConnected(ts_ns=now_ns, source=name))
            self._tell_kept(line, now_ns, line.opening)
            self._opened.ring()
        else:
            self._tell_break(before, name, now_ns)
            self._tell(FeedConnected(ts_ns=now_ns, source=name))
            self._tell_kept(line, now_ns, ())
            _resync(line.feed, min(before.usable_ns.values(), default=now_ns))
        for each in self._lines:
            each.opening = []

    def _tell_break(self, before: _Line, name: str, now_ns: int) -> None:
        if not before.is_lost:
            self._tell(FeedLost(ts_ns=now_ns, reason=f"switched from {before.provider.name} to {name}"))
        before.is_lost = False
        for symbol in self._symbols:
            self._tell(FeedGap(ts_ns=now_ns, instrument=symbol, reason=f"switched to {name}", is_hole=True))

    def _tell_kept(self, line: _Line, now_ns: int, opening: Sequence[Event]) -> None:
        """What it has said unheard and is still news."""
        for event in opening:
            self._tell(event)
        for rate in list(line.settled.values()):
            self._fund(msgspec.structs.replace(rate, ts_ns=now_ns))

    # Checking.

    def _is_contradicted(self, line: _Line, event: MarketQuote | MarketTrade | MarketDepth) -> bool:
        """Whether the check has had another price for this symbol for too long. An old opinion is none."""
        if self._check is None:
            return False
        symbol, now_ns = event.instrument, event.ts_ns
        middle = (
            event.bid_ticks + event.ask_ticks if isinstance(event, MarketQuote) else line.middles.get(symbol, (0, 0))[0]
        )
        checked, checked_ns = self._check.middles.get(symbol, (0, 0))
        if not middle or not checked or now_ns - checked_ns > self._settings.switch_s * NS_PER_S:
            self._differs_since_ns.pop(f"{line.provider.name} {symbol}", None)
            return False
        key = f"{line.provider.name} {symbol}"
        if abs(middle - checked) * BPS <= self._settings.disagree_bps * checked:
            self._differs_since_ns.pop(key, None)
            return False
        since_ns = self._differs_since_ns.setdefault(key, now_ns)
        return now_ns - since_ns >= self._settings.disagree_s * NS_PER_S

    def _withhold(self, event: MarketQuote | MarketTrade | MarketDepth) -> None:
        notice: FeedMalformed | None = self._tally.note(Reason.DISAGREES, repr(event), ts_ns=event.ts_ns)
        if notice is not None:
            self._tell(notice)


def _resync(feed: object, since_ns: int) -> None:
    """A recording has no bars of the present; whoever can, fills."""
    if isinstance(feed, Resyncing):
        feed.resync(since_ns)
