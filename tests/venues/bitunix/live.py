"""A live venue against the scripted one, in virtual time: real requests over a network in memory."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agora.domain.events import Event, MarketQuote, UserAlive, UserConnected, UserLost
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.engine.state import State
from agora.venues.bitunix.client import BitunixClient, Credentials
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.stream import PrivateSocket
from agora.venues.bitunix.venue import BitunixVenue, Lines
from agora.venues.rest import Network
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.bitunix.scripted import ScriptedVenue, scripted

START_NS = 1_800_000_000 * NS_PER_S
TAG = "r1"
INSTRUMENT = Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.0001")
PRICE = 600_000  # 60,000.0

Found = TypeVar("Found", bound=Event)
Result = TypeVar("Result")


class QuietFeed:
    """One quote at the beginning, `lag_s` old as it comes, and then none."""

    is_paced = True

    def __init__(self, clock: VirtualClock, lag_s: float) -> None:
        self._clock = clock
        self._lag_ns = int(lag_s * NS_PER_S)
        self._has_spoken = False

    async def open(self) -> None:
        """Nothing to connect to."""

    async def next(self, deadline_ns: int) -> Event | None:
        """The quote, then nothing at each deadline."""
        if not self._has_spoken:
            self._has_spoken = True
            return MarketQuote(
                ts_ns=self._clock.now_ns(),
                instrument="BTCUSDT",
                bid_ticks=PRICE - 1,
                bid_lots=100,
                ask_ticks=PRICE + 1,
                ask_lots=100,
            )
        await self._clock.sleep_until(deadline_ns)
        return None

    def lag_ns(self, symbol: str) -> int:
        """How old the quote was."""
        del symbol
        return self._lag_ns

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Bench:
    """The venue under test, the other end of its wire, and everything the run was told so far."""

    venue: BitunixVenue
    server: ScriptedVenue
    clock: VirtualClock
    events: list[Event] = field(default_factory=list)
    _numbers: int = 0

    async def until(self, kind: type[Found], *, count: int = 1, seconds: float = 120.0) -> Found:
        """The newest event of a kind, once so many were told; fails when they do not come in time."""
        deadline_ns = self.clock.now_ns() + int(seconds * NS_PER_S)
        while len(self.told(kind)) < count:
            assert self.clock.now_ns() < deadline_ns, f"no {kind.__name__}: {self.events}"
            await self._take(deadline_ns)
        return self.told(kind)[count - 1]

    async def rest(self, seconds: float) -> None:
        """Take what is told in so many seconds."""
        deadline_ns = self.clock.now_ns() + int(seconds * NS_PER_S)
        while self.clock.now_ns() < deadline_ns:
            await self._take(deadline_ns)

    async def _take(self, deadline_ns: int) -> None:
        self.events += await self.venue.receive(deadline_ns, floor_ns=0)

    def told(self, kind: type[Found], client_id: str = "") -> list[Found]:
        """The events of a kind, of all orders or of one."""
        return [
            event
            for event in self.events
            if isinstance(event, kind) and (not client_id or getattr(event, "client_id", "") == client_id)
        ]

    def kinds(self) -> list[type[Event]]:
        """What was told of the account, but for the life of its stream."""
        return [
            type(event)
            for event in self.events
            if not isinstance(event, UserConnected | UserAlive | UserLost | MarketQuote)
        ]

    def order(self, **facts: Any) -> Order:
        """An order to buy one hundredth at the price, unless said otherwise."""
        self._numbers += 1
        usual: dict[str, Any] = {
            "client_id": f"{TAG}-{self._numbers:07d}",
            "number": self._numbers,
            "trader": "t",
            "instrument": "BTCUSDT",
            "side": Side.BUY,
            "type": OrderType.LIMIT,
            "time_in_force": TimeInForce.GTC,
            "purpose": Purpose.ENTRY,
            "size_lots": 100,
            "price_ticks": PRICE,
            "planned_ts_ns": self.clock.now_ns(),
        }
        return Order(**{**usual, **facts})

    def send(self, **facts: Any) -> Order:
        """Such an order, sent."""
        order = self.order(**facts)
        self.venue.send(order, self.clock.now_ns())
        return order

    def send_bracket(self, *, stop_ticks: int = 0, target_ticks: int = 0, **facts: Any) -> list[Order]:
        """An entry with its legs, as the run sends them: together."""
        orders = [self.send(**facts)]
        entry = orders[0]
        leg = {
            "side": Side(-entry.side),
            "reduce_only": True,
            "parent": entry.client_id,
            "size_lots": entry.size_lots,
        }
        if stop_ticks:
            stop = {"type": OrderType.STOP, "purpose": Purpose.STOP, "trigger_ticks": stop_ticks, "price_ticks": 0}
            orders.append(self.send(**leg, **stop))
        if target_ticks:
            orders.append(self.send(**leg, purpose=Purpose.TARGET, price_ticks=target_ticks))
        return orders

    def change(self, order: Order, amend: tuple[int, int] | None = None) -> None:
        """A cancel, or an amendment."""
        self.venue.change(order.client_id, self.clock.now_ns(), amend)

    async def accepted(self, order: Order) -> dict[str, Any]:
        """Wait until an order is at the venue; its row there."""
        while not any(row["clientId"] == order.client_id for row in self.server.orders.values()):
            await self.rest(0.05)
        await self.rest(0.5)
        return self.server.of_client(order.client_id)


def settings_of(address: str, **changes: Any) -> BitunixSettings:
    """Addresses of the scripted venue, and little patience."""
    usual: dict[str, Any] = {
        "rest_url": address,
        "public_ws": address.replace("http", "ws") + "/public/",
        "private_ws": address.replace("http", "ws") + "/private/",
        "look_s_min": 0.1,
        "look_s_max": 1.0,
    }
    return BitunixSettings(**{**usual, **changes})


@asynccontextmanager
async def connected(
    server: ScriptedVenue,
    address: str,
    *,
    state: State | None = None,
    data_age_s_max: float = math.inf,
    lag_s: float = 0.0,
    **changes: Any,
) -> AsyncIterator[Bench]:
    """A venue that is open on a scripted one."""
    clock = VirtualClock()
    settings = settings_of(address, **changes)
    network, credentials = Network(Connector), Credentials("key", "secret")
    client = BitunixClient(network, credentials, clock=clock, seed=1, settings=settings)
    socket = PrivateSocket(settings.private_ws, network, credentials, 1)
    lines = Lines(client=client, private=socket, feed=QuietFeed(clock, lag_s), data_age_s_max=data_age_s_max)
    venue = BitunixVenue(lines, state or State(), instruments={"BTCUSDT": INSTRUMENT}, settings=settings, clock=clock)
    try:
        await venue.open()
        yield Bench(venue, server, clock)
    finally:
        await venue.close()


def play(scene: Callable[[Bench], Coroutine[Any, Any, Result]], *, seed: int = 1, **changes: Any) -> Result:
    """Play a scene on an open venue, in virtual time."""

    async def main() -> Result:
        clock = VirtualClock()
        async with (
            scripted(serving, lambda: clock.now_ns() // NS_PER_MS) as (server, address),
            connected(server, address, **changes) as bench,
        ):
            return await scene(bench)

    return run_networked(main(), seed=seed, start_ns=START_NS)
