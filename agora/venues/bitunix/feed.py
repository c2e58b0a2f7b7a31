"""Market data of Bitunix on the run's clock (port `Feed`): a socket for all symbols, bars over REST for its holes.

Two measures: the socket is alive while it answers, the data are fresh while usable depth comes. Depth comes on a timer,
so that its silence means a dead stream however alive the socket is; a price that stands still is no silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from agora.domain.errors import StartFault
from agora.domain.events import Event, FeedConnected, FeedGap, FeedLost, MarketCandle
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.engine.ports import Clock
from agora.venues.bar_keeper import BarKeeper, BarPatience
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.crew import Bell, Crew
from agora.venues.bitunix.feed_bars import BitunixBars
from agora.venues.bitunix.feed_reader import MarketReader, subscription
from agora.venues.bitunix.line import FAULTS
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import ping_text
from agora.venues.inbox import Inbox
from agora.venues.rest import Network
from agora.venues.screen import Reason
from agora.venues.websocket import Connection, ConnectionState, ConnectionTerms, Talk

SOURCE = "bitunix"
LOGGER = logging.getLogger(__name__)
# Silent symbols are looked for once a second: within the bound of silence plus that they are found.
LOOK_NS = NS_PER_S
# A symbol that stays silent while others speak is asked for again after this, then after twice that, and so on.
PATIENCE_NS, PATIENCE_NS_MAX = 30 * NS_PER_S, 300 * NS_PER_S
# So many frames in a row that are too old or ahead: our idea of the venue's clock may be what is wrong.
UNTIMELY_FRAMES = 3
MEASURE_NS = 10 * NS_PER_S


class FeedWants(msgspec.Struct, frozen=True, kw_only=True):
    """What a run wants of its feed. `seen_ns`: the newest market event of a run that is resumed, 0 for a new one."""

    instruments: dict[str, Instrument]
    intervals_s: tuple[int, ...]
    history_bars: int = 200
    seen_ns: int = 0


class BitunixFeed:
    """Quotes, depth, trades and funding of several symbols; `public` makes the socket for what is said on it."""

    is_paced = True

    def __init__(
        self,
        wants: FeedWants,
        *,
        client: BitunixClient,
        public: Callable[[Talk], Connection],
        settings: BitunixSettings,
        clock: Clock,
    ) -> None:
        self._wants = wants
        self._client = client
        self._settings = settings
        self._clock = clock
        self._reader = MarketReader(wants.instruments, settings, settled_ns=wants.seen_ns)
        self._inbox = Inbox()
        self._bell = Bell()
        self._fault: Exception | None = None
        self._crew = Crew()
        self._crew.on_fault = self._on_fault
        self._socket = public(self)
        patience = BarPatience(
            grace_ns=int(settings.bar_grace_s * NS_PER_S),
            wait_ns=int(settings.bar_s_max * NS_PER_S),
            bars_max=settings.backfill_bars_max,
        )
        self._keeper = BarKeeper(
            BitunixBars(client, wants.instruments), patience, clock=clock, tell=self._tell, offset_ns=self._offset_ns
        )
        self._warm_up: list[MarketCandle] = []
        self._is_connected = False
        self._is_begun = False
        self._why_not = "no connection yet"
        self._renewed_for = ""
        self._opened = Bell()
        self._filling = Bell()
        self._fill_scope: asyncio.Timeout | None = None
        self._silent_ns = int(settings.market_silence_s_max * NS_PER_S)
        self._looked_ns = 0
        self._offset = 0
        self._patience_ns = PATIENCE_NS
        self._patient_until_ns = 0
        self._measured_ns = 0
        self._measuring = Bell()

    # Beginning and end.

    async def open(self) -> None:
        """Read the warm-up bars, connect, and return with the first data; raises `StartFault` when none come."""
        wants = self._wants
        symbols = tuple(wants.instruments)
        self._warm_up = await self._keeper.warm_up(symbols, wants.intervals_s, bars=wants.history_bars)
        await self._crew.open()
        self._crew.start(self._socket.run(), name="market socket")
        self._crew.start(self._fill_holes(), name="bars")
        self._crew.start(self._measure_clock(), name="clock offset")
        is_open = await self._opened.wait(self._settings.start_s_max)
        if self._fault is not None:
            raise self._fault
        if not is_open:
            raise StartFault(f"no market data from the venue: {self._why_not}")

    async def close(self) -> None:
        """Stop all work and let go of the socket. The client belongs to whoever made it."""
        await self._crew.close()

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event, or None at the deadline; raises what a background task has failed with."""
        if not self._inbox and self._fault is None:
            await self._bell.wait(max(0.0, (deadline_ns - self._clock.now_ns()) / NS_PER_S))
        if self._fault is not None:
            raise self._fault
        return self._inbox.take(self._clock.now_ns())

    def resync(self, since_ns: int) -> None:
        """Somebody else's data were used since then: hand over the bars of that time as after a lost connection."""
        self._keeper.lose(dict.fromkeys(self._wants.instruments, since_ns), self._wants.intervals_s)
        self._fill_again()

    # What background tasks say.

    def _tell(self, event: Event) -> None:
        self._inbox.put(event)
        self._bell.ring()

    def _tell_all(self, events: Sequence[Event]) -> None:
        if events:
            for event in events:
                self._inbox.put(event)
            self._bell.ring()

    def _on_fault(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._bell.ring()
        self._opened.ring()

    # The socket.

    def on_fresh(self) -> Sequence[str]:
        """Subscribe to everything, in one message."""
        self._reader.begin(self._clock.now_ns())
        self._offset = self._offset_ns()
        return (subscription(tuple(self._wants.instruments)),)

    def ping(self) -> str:
        """The keep-alive of the venue's own kind."""
        return ping_text(self._clock.now_ns() // NS_PER_S)

    def on_state(self, state: ConnectionState, reason: str) -> None:
        """Of the states only the loss is news: that the stream lives is seen by its first usable data."""
        if state not in (ConnectionState.STALE, ConnectionState.LOST):
            return
        self._why_not = self._renewed_for or reason
        self._renewed_for = ""
        if self._is_connected:
            self._lose(self._why_not)

    def on_oversize(self, size_bytes: int) -> None:
        """A frame that no market has."""
        self._tell_all(
            self._reader.drop(Reason.TOO_LONG, f"a frame of {size_bytes} bytes", now_ns=self._clock.now_ns())
        )

    def on_frame(self, frame: str | bytes) -> bool:
        """A frame has come; returns whether it was usable depth, which is what shows that the stream lives."""
        now_ns = self._clock.now_ns()
        before = self._reader.usable
        events = self._reader.read(frame, now_ns=now_ns, offset_ns=self._offset)
        is_usable = self._reader.usable > before
        if is_usable and not self._is_connected:
            self._connect(now_ns)
        self._tell_all(events)
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns, self._offset = now_ns, self._offset_ns()
            self._look_around(now_ns)
        return is_usable

    def _connect(self, now_ns: int) -> None:
        """The first usable data of a fresh connection."""
        self._is_connected = True
        self._tell(FeedConnected(ts_ns=now_ns, source=SOURCE))
        if not self._is_begun:
            self._is_begun = True
            self._begin(now_ns)
        self._fill_again()
        self._opened.ring()

    def _begin(self, now_ns: int) -> None:
        """The bar of this moment began before we looked; what was before it is known from the warm-up bars.

        Without bars over REST the first bar is taken as it is, like that of any other market.
        """
        if self._keeper.has_holes:
            why = "resumed" if self._wants.seen_ns else "begin: the first bar was not seen from its begin"
            self._tell_gaps(now_ns, why)
        for candle in self._warm_up:
            self._tell(candle)
        self._warm_up = []

    def _lose(self, reason: str) -> None:
        """Said once, however many attempts it takes to come back."""
        self._is_connected = False
        now_ns = self._clock.now_ns()
        self._tell(FeedLost(ts_ns=now_ns, reason=reason))
        self._tell_gaps(now_ns, f"connection lost: {reason}")
        if self._fill_scope is not None:
            self._fill_scope.reschedule(0)
        seen_ns = {symbol: self._reader.seen_ns(symbol) for symbol in self._wants.instruments}
        self._keeper.lose(seen_ns, self._wants.intervals_s)

    def _tell_gaps(self, now_ns: int, reason: str) -> None:
        for symbol in self._wants.instruments:
            self._tell(FeedGap(ts_ns=now_ns, instrument=symbol, reason=reason, is_hole=True))

    def _look_around(self, now_ns: int) -> None:
        """Say what was counted; find symbols that are silent while others speak."""
        self._tell_all(self._reader.pending(now_ns))
        if self._reader.untimely >= UNTIMELY_FRAMES:
            self._measuring.ring()
        silent = [s for s in self._wants.instruments if now_ns - self._reader.seen_ns(s) > self._silent_ns]
        if not silent and self._reader.have_all_spoken:
            self._patience_ns = PATIENCE_NS
        elif silent and now_ns >= self._patient_until_ns and self._is_connected:
            self._patient_until_ns = now_ns + self._patience_ns
            self._patience_ns = min(2 * self._patience_ns, PATIENCE_NS_MAX)
            self._renewed_for = f"nothing usable of {', '.join(silent)} for {self._settings.market_silence_s_max:g} s"
            self._socket.drop(self._renewed_for)

    # Work beside it.

    def _offset_ns(self) -> int:
        return round(self._client.clock_offset_ms * NS_PER_MS)

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

    async def _measure_clock(self) -> None:
        """Any answer over REST says what the venue's clock shows."""
        while True:
            await self._measuring.wait(None)
            now_ns = self._clock.now_ns()
            if now_ns - self._measured_ns < MEASURE_NS:
                continue
            self._measured_ns = now_ns
            try:
                await self._client.funding_rate(next(iter(self._wants.instruments)))
            except FAULTS as fault:
                LOGGER.warning("the venue's clock cannot be asked for: %s", fault)


def market_socket(url: str, network: Network, settings: BitunixSettings, *, seed: int) -> Callable[[Talk], Connection]:
    """What makes the market socket at an address."""
    terms = ConnectionTerms(
        url=url,
        ping_s=settings.keepalive_s,
        silent_s_max=settings.market_silence_s_max,
        reconnect_s_max=settings.reconnect_s_max,
        frame_bytes_max=settings.frame_bytes_max,
    )
    return lambda talk: Connection(network, terms, talk, seed=seed)
