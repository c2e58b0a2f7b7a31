"""Market data of Bitunix on the run's clock (port `Feed`): a socket for all symbols, bars over REST for its holes.

Two measures: the socket is alive while it answers, the data are fresh while usable depth comes. Depth comes on a timer,
so that its silence means a dead stream however alive the socket is; a price that stands still is no silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from agora.domain.events import Event
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Clock
from agora.venues.bar_keeper import BarPatience
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.crew import Bell
from agora.venues.bitunix.feed_bars import BitunixBars
from agora.venues.bitunix.feed_reader import MarketReader, subscription
from agora.venues.bitunix.line import FAULTS
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import ping_text
from agora.venues.outlet import FeedWants, Outlet
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
# So many prices in a row that contradict what was believed are asked about, at most so often.
DOUBTS_MAX = 3
DOUBT_PAUSE_S = 1.0


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
        self._symbols = tuple(wants.instruments)
        self._client = client
        self._settings = settings
        self._clock = clock
        self._reader = MarketReader(wants.instruments, settings, settled_ns=wants.seen_ns)
        self._socket = public(self)
        patience = BarPatience(
            grace_ns=int(settings.bar_grace_s * NS_PER_S),
            wait_ns=int(settings.bar_s_max * NS_PER_S),
            bars_max=settings.backfill_bars_max,
        )
        self._bars = BitunixBars(client, wants.instruments)
        self._outlet = Outlet(SOURCE, wants, self._bars, patience=patience, clock=clock)
        self._offset_ns = 0
        self._renewed_for = ""
        self._silent_ns = int(settings.market_silence_s_max * NS_PER_S)
        self._looked_ns = 0
        self._patience_ns = PATIENCE_NS
        self._patient_until_ns = 0
        self._measured_ns = 0
        self._measuring = Bell()
        self._doubting = Bell()

    # The port.

    async def open(self) -> None:
        """Read the warm-up bars, connect, and return with the first data; raises `StartFault` when none come."""
        await self._ask_prices(self._symbols)
        works = {"market socket": self._socket.run, "clock offset": self._measure_clock, "doubts": self._end_doubts}
        await self._outlet.open(works, within_s=self._settings.start_s_max)

    async def close(self) -> None:
        """Stop all work and let go of the socket. The client belongs to whoever made it."""
        await self._outlet.close()

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event, or None at the deadline; raises what a background task has failed with."""
        return await self._outlet.next(deadline_ns)

    def lag_ns(self, symbol: str) -> int:
        """How old the newest data of a symbol were when they came, by the venue's own stamp; never negative."""
        return self._reader.lag_ns(symbol)

    def resync(self, since_ns: int) -> None:
        """Somebody else's data were used since then: hand over the bars of that time as after a lost connection."""
        self._outlet.resync(since_ns)

    # The socket (port `Talk`).

    def on_fresh(self) -> Sequence[str]:
        """Subscribe to everything, in one message."""
        self._reader.begin(self._clock.now_ns())
        self._offset_ns = self._bars.offset_ns()
        return (subscription(self._symbols),)

    def ping(self) -> str:
        """The keep-alive of the venue's own kind."""
        return ping_text(self._clock.now_ns() // NS_PER_S)

    def on_state(self, state: ConnectionState, reason: str) -> None:
        """Of the states only the loss is news: that the stream lives is seen by its first usable data."""
        if state not in (ConnectionState.STALE, ConnectionState.LOST):
            return
        reason = self._outlet.why_not = self._renewed_for or reason
        self._renewed_for = ""
        if self._outlet.is_connected:
            self._outlet.lose(reason, {symbol: self._reader.seen_ns(symbol) for symbol in self._symbols})

    def on_oversize(self, size_bytes: int) -> None:
        """A frame that no market has."""
        self._outlet.tell_all(
            self._reader.drop(Reason.TOO_LONG, f"a frame of {size_bytes} bytes", now_ns=self._clock.now_ns())
        )

    def on_frame(self, frame: str | bytes) -> bool:
        """A frame has come; returns whether it was usable depth, which is what shows that the stream lives."""
        now_ns = self._clock.now_ns()
        before = self._reader.usable
        events = self._reader.read(frame, now_ns=now_ns, offset_ns=self._offset_ns)
        is_usable = self._reader.usable > before
        if is_usable and not self._outlet.is_connected:
            self._outlet.connect(now_ns)
        self._outlet.tell_all(events)
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns, self._offset_ns = now_ns, self._bars.offset_ns()
            self._look_around(now_ns)
        return is_usable

    def _look_around(self, now_ns: int) -> None:
        """Say what was counted; find symbols that are silent while others speak."""
        self._outlet.tell_all(self._reader.pending(now_ns))
        if any(count >= DOUBTS_MAX for count in self._reader.doubts.values()):
            self._doubting.ring()
        if self._reader.untimely >= UNTIMELY_FRAMES:
            self._measuring.ring()
        silent = [s for s in self._symbols if now_ns - self._reader.seen_ns(s) > self._silent_ns]
        if not silent and self._reader.have_all_spoken:
            self._patience_ns = PATIENCE_NS
        elif silent and now_ns >= self._patient_until_ns and self._outlet.is_connected:
            self._patient_until_ns = now_ns + self._patience_ns
            self._patience_ns = min(2 * self._patience_ns, PATIENCE_NS_MAX)
            self._renewed_for = f"nothing usable of {', '.join(silent)} for {self._settings.market_silence_s_max:g} s"
            self._socket.drop(self._renewed_for)

    # Work beside it.

    async def _measure_clock(self) -> None:
        """Any answer over REST says what the venue's clock shows."""
        while True:
            await self._measuring.wait(None)
            now_ns = self._clock.now_ns()
            if now_ns - self._measured_ns < MEASURE_NS:
                continue
            self._measured_ns = now_ns
            try:
                await self._client.funding_rate(self._symbols[0])
            except FAULTS as fault:
                LOGGER.warning("the venue's clock cannot be asked for: %s", fault)

    async def _end_doubts(self) -> None:
        """A market that seems to have jumped is asked for over REST: one broken channel does not vouch for itself."""
        while True:
            await self._doubting.wait(None)
            await self._ask_prices(tuple(self._reader.doubts))
            await asyncio.sleep(DOUBT_PAUSE_S)

    async def _ask_prices(self, symbols: Sequence[str]) -> None:
        try:
            rows = await self._client.tickers(symbols) if symbols else []
        except FAULTS as fault:
            LOGGER.warning("the venue's prices cannot be asked for: %s", fault)
            return
        for row in rows:
            price = row.mark_price or row.last_price
            if row.symbol in symbols and price is not None:
                self._reader.believe(row.symbol, price)


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
