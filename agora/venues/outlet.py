"""What every feed with a connection of its own shares: a queue to the run, work beside it, loss, return and holes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from agora.domain.errors import StartFault
from agora.domain.events import Event, FeedConnected, FeedGap, FeedLost, MarketCandle
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Clock
from agora.venues.bar_keeper import BarKeeper, BarPatience, BarSource
from agora.venues.bitunix.crew import Bell, Crew
from agora.venues.inbox import Inbox

LOGGER = logging.getLogger(__name__)


class FeedWants(msgspec.Struct, frozen=True, kw_only=True):
    """What a run wants of its feed. `seen_ns`: the newest market event of a run that is resumed, 0 for a new one."""

    instruments: dict[str, Instrument]
    intervals_s: tuple[int, ...]
    history_bars: int = 200
    seen_ns: int = 0


class Outlet:
    """Tells a run what its feed has. `source` is the name of the feed."""

    def __init__(self, source: str, wants: FeedWants, bars: BarSource, *, patience: BarPatience, clock: Clock) -> None:
        self.source = source
        self.is_connected = False
        self.why_not = "no answer yet"
        self._wants = wants
        self._clock = clock
        self._inbox = Inbox()
        self._bell = Bell()
        self._opened = Bell()
        self._crew = Crew()
        self._crew.on_fault = self._on_fault
        self._fault: Exception | None = None
        self._keeper = BarKeeper(bars, patience, clock=clock, tell=self.tell)
        self._warm_up: list[MarketCandle] = []
        self._is_begun = False
        self._filling = Bell()
        self._fill_scope: asyncio.Timeout | None = None

    # Beginning and end.

    async def open(self, works: Mapping[str, Callable[[], Coroutine[Any, Any, None]]], *, within_s: float) -> None:
        """Read the warm-up bars, start the works of the feed, and return when it is connected.

        Raises `StartFault` when it is not in time, or what a work has failed with.
        """
        wants = self._wants
        is_open = False
        await self._crew.open()
        try:
            symbols = tuple(wants.instruments)
            self._warm_up = await self._keeper.warm_up(symbols, wants.intervals_s, bars=wants.history_bars)
            self._crew.start(self._fill_holes(), name="bars")
            for name, work in works.items():
                self._crew.start(work(), name=name)
            is_open = await self._opened.wait(within_s) and self._fault is None
        finally:
            if not is_open:
                await self._crew.close()
        if self._fault is not None:
            raise self._fault
        if not is_open:
            raise StartFault(f"no market data from {self.source}: {self.why_not}")

    async def close(self) -> None:
        """Stop all work."""
        await self._crew.close()

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event, or None at the deadline; raises what a work has failed with."""
        if not self._inbox and self._fault is None:
            await self._bell.wait(max(0.0, (deadline_ns - self._clock.now_ns()) / NS_PER_S))
        if self._fault is not None:
            raise self._fault
        return self._inbox.take(self._clock.now_ns())

    def _on_fault(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._bell.ring()
        self._opened.ring()

    # Telling.

    def tell(self, event: Event) -> None:
        """An event for the run."""
        self._inbox.put(event)
        self._bell.ring()

    def tell_all(self, events: Sequence[Event]) -> None:
        """Events for the run, in order."""
        if events:
            for event in events:
                self._inbox.put(event)
            self._bell.ring()

    def connect(self, now_ns: int) -> None:
        """The first usable data of a fresh connection: its source, once the warm-up bars, then the holes."""
        self.is_connected = True
        self.tell(FeedConnected(ts_ns=now_ns, source=self.source))
        if not self._is_begun:
            self._is_begun = True
            self._begin(now_ns)
        self._fill_again()
        self._opened.ring()

    def _begin(self, now_ns: int) -> None:
        """The bar of this moment began before we looked; what was before it is known from the warm-up bars.

        Without bars to read the first one is taken as it is, like that of any other market.
        """
        if self._keeper.has_holes:
            why = "resumed" if self._wants.seen_ns else "begin: the first bar was not seen from its begin"
            self._tell_gaps(now_ns, why)
        self.tell_all(self._warm_up)
        self._warm_up = []

    def lose(self, reason: str, seen_ns: Mapping[str, int]) -> None:
        """The connection is gone; each symbol was last seen then. Said once, however long it takes to come back."""
        self.is_connected = False
        now_ns = self._clock.now_ns()
        self.tell(FeedLost(ts_ns=now_ns, reason=reason))
        self._tell_gaps(now_ns, f"connection lost: {reason}")
        if self._fill_scope is not None:
            self._fill_scope.reschedule(0)
        self._keeper.lose(seen_ns, self._wants.intervals_s)

    def resync(self, since_ns: int) -> None:
        """Somebody else's data were used since then: hand over the bars of that time as after a lost connection."""
        self._keeper.lose(dict.fromkeys(self._wants.instruments, since_ns), self._wants.intervals_s)
        self._fill_again()

    def _tell_gaps(self, now_ns: int, reason: str) -> None:
        for symbol in self._wants.instruments:
            self.tell(FeedGap(ts_ns=now_ns, instrument=symbol, reason=reason, is_hole=True))

    def _fill_again(self) -> None:
        """Begin with the holes anew; what is being done for them is stopped."""
        if self._fill_scope is not None:
            self._fill_scope.reschedule(0)
        self._filling.ring()

    async def _fill_holes(self) -> None:
        is_first = not self._wants.seen_ns
        while True:
            await self._filling.wait(None)
            try:
                async with asyncio.timeout(None) as self._fill_scope:
                    await self._keeper.fill(is_said=not is_first)
            except TimeoutError:
                LOGGER.debug("the holes are begun anew")
            self._fill_scope = None
            is_first = False
