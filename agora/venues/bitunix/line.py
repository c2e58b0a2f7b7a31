"""What every part of the live venue works with: the client, the clock, the steps of each symbol, where events go."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

from agora.domain.errors import Transient
from agora.domain.events import ErrorSeen, Event, UserLost
from agora.domain.instruments import Instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S, Rounding
from agora.engine.ports import Clock
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.crew import Crew
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import Malformed
from agora.venues.rest import AuthRefused, Refused

Answer = TypeVar("Answer")

# What can wait waits for what is urgent no longer than this.
CALM_S_MAX = 1.0
# What a request to the venue may end in. Anything else is a bug of ours.
FAULTS = (Refused, Transient, Malformed)


class Line:
    """The line to the venue. `tell` puts an event into the queue of the run."""

    def __init__(
        self,
        client: BitunixClient,
        clock: Clock,
        settings: BitunixSettings,
        *,
        instruments: dict[str, Instrument],
        tell: Callable[[Event], None],
    ) -> None:
        self.client = client
        self.clock = clock
        self.settings = settings
        self.instruments = instruments
        self.tell = tell
        self.crew = Crew()
        # The middle of each market, from which the slippage of a fill is measured.
        self.middles: dict[str, int] = {}
        # Of when each market is known, and how old that may be when something leaves that raises risk.
        self.market_ns: dict[str, int] = {}
        self.data_age_s_max = math.inf
        self._refusals = 0
        self._urgent = 0
        self._calm = asyncio.Event()
        self._later = asyncio.Lock()

    @contextlib.contextmanager
    def urgently(self) -> Iterator[None]:
        """Reads that what can wait gives way to: of the trades, and of the account."""
        self._urgent += 1
        try:
            yield
        finally:
            self._urgent -= 1
            if not self._urgent:
                self._calm.set()

    @contextlib.asynccontextmanager
    async def later(self) -> AsyncIterator[None]:
        """A read that can wait: one of them at a time, and it gives way, for a while, to what is urgent.

        The venue allows only so many reads a second, and whoever waits for one of them is in nobody's order.
        """
        async with self._later:
            await self.calm()
            yield

    async def calm(self) -> None:
        """Give way, for a while, to what is urgent: before a read that is shared and can wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALM_S_MAX):
                while self._urgent:
                    self._calm.clear()
                    await self._calm.wait()

    def hear(self, symbol: str, ts_ns: int) -> None:
        """The market of a symbol was so at that time; an older word takes nothing back."""
        self.market_ns[symbol] = max(ts_ns, self.market_ns.get(symbol, 0))

    def is_fresh(self, symbol: str) -> bool:
        """Whether the market was heard lately enough for an order that raises risk."""
        age_ns = self.now_ns - self.market_ns.get(symbol, 0)
        return age_ns <= self.data_age_s_max * NS_PER_S

    @property
    def now_ns(self) -> int:
        """The run's time."""
        return self.clock.now_ns()

    def venue_ms(self, ts_ns: int) -> int:
        """What the venue's clock shows at a time of ours."""
        return ts_ns // NS_PER_MS + round(self.client.clock_offset_ms)

    async def ask(self, request: Awaitable[Answer]) -> Answer:
        """Await an answer. Keys that are refused several times in a row are revoked: that ends the run."""
        try:
            answer = await request
        except AuthRefused as fault:
            self._refusals += 1
            if self._refusals == self.settings.login_refusals_max:
                self.tell(UserLost(ts_ns=self.now_ns, reason=f"auth: {fault}"))
            raise
        self._refusals = 0
        return answer

    def pauses(self) -> Iterator[float]:
        """Seconds between looks: doubling from the shortest to the longest, without end."""
        pause = self.settings.look_s_min
        while True:
            yield pause
            pause = min(2 * pause, self.settings.look_s_max)

    def err(self, where: str, detail: str) -> None:
        """Something went wrong that somebody should know of."""
        self.tell(ErrorSeen(ts_ns=self.now_ns, where=where, detail=detail))

    def lots(self, symbol: str, size: Decimal) -> int:
        """A size of the venue in lots."""
        return self.instruments[symbol].size_lots(size, Rounding.NEAREST)

    def ticks(self, symbol: str, price: Decimal) -> int:
        """A price of the venue in ticks."""
        return self.instruments[symbol].price_ticks(price, Rounding.NEAREST)


def fee_units(fee: Decimal) -> int:
    """A fee in money units. The venue computes with more decimals than money has: rounded up, against us."""
    return int((fee * MONEY_SCALE).to_integral_value(rounding=ROUND_CEILING))
