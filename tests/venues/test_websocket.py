"""One socket's life against servers that greet, fall mute, cut, flood: states, subscriptions, watch, back-off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import web

from agora.domain.dice import dice_of
from agora.venues.rest import Network
from agora.venues.websocket import TRANSITIONS, Connection, ConnectionState, ConnectionTerms
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.virtual import after

S = ConnectionState
Life = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


@dataclass
class Server:
    """Serves sockets, each with the next of its lives (the last one for all further)."""

    lives: Sequence[Life]
    opened_s: list[float] = field(default_factory=list)
    heard: list[list[str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One socket."""
        number = len(self.opened_s)
        self.opened_s.append(asyncio.get_running_loop().time())
        self.heard.append([])
        socket = web.WebSocketResponse(max_msg_size=2**20)
        await socket.prepare(request)
        listening = asyncio.ensure_future(self._listen(socket, self.heard[number]))
        try:
            await self.lives[min(number, len(self.lives) - 1)](socket, request)
        finally:
            listening.cancel()
        return socket

    async def _listen(self, socket: web.WebSocketResponse, heard: list[str]) -> None:
        async for message in socket:
            heard += [message.data] if message.type is aiohttp.WSMsgType.TEXT else []


class Ears:
    """What the connection tells, written down. Frames that begin with `good` are usable."""

    def __init__(self) -> None:
        self.states: list[tuple[float, S, str]] = []
        self.frames: list[str | bytes] = []
        self.oversize: list[int] = []

    def on_fresh(self) -> Sequence[str]:
        """The subscription."""
        return ("subscribe",)

    def on_frame(self, frame: str | bytes) -> bool:
        """Usable or not."""
        self.frames.append(frame)
        return frame[:4] in ("good", b"good")

    def on_oversize(self, size_bytes: int) -> None:
        """Too large."""
        self.oversize.append(size_bytes)

    def on_state(self, state: S, reason: str) -> None:
        """A new state, with its time."""
        self.states.append((asyncio.get_running_loop().time(), state, reason))

    def ping(self) -> str:
        """The keep-alive."""
        return "ping"

    def times(self, state: S) -> list[float]:
        """When that state began."""
        return [at_s for at_s, each, _ in self.states if each is state]


@asynccontextmanager
async def connected(server: Server, *, seed: int = 1, **terms: float) -> AsyncIterator[Ears]:
    """A connection to that server while the block lasts."""
    app = web.Application()
    app.router.add_get("/ws", server.handle)
    async with serving(app) as url:
        ears = Ears()
        facts = ConnectionTerms(url=f"{url}/ws", **terms)  # type: ignore[arg-type]
        running = asyncio.ensure_future(Connection(Network(Connector), facts, ears, seed=seed).run())
        try:
            yield ears
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            check_states(ears)


def check_states(ears: Ears) -> None:
    """Every change of state is one of the table."""
    before = S.LOST
    for _, state, _ in ears.states:
        assert state in TRANSITIONS[before], (before, state)
        before = state


def speaks(every_s: float, text: str = "good") -> Life:
    """Says something usable so often, for ever."""

    async def life(socket: web.WebSocketResponse, _: web.Request) -> None:
        while True:
            await socket.send_str(text)
            await after(every_s)

    return life


def speaks_then(seconds: float, end: Life, *, every_s: float = 0.3) -> Life:
    """Speaks for a while, then something else happens."""

    async def life(socket: web.WebSocketResponse, request: web.Request) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await speaks(every_s)(socket, request)
        await end(socket, request)

    return life


async def mute(_: web.WebSocketResponse, __: web.Request) -> None:
    """Up, and says nothing any more."""
    await after(10**6)


async def cut(_: web.WebSocketResponse, request: web.Request) -> None:
    """Gone without a word."""
    assert request.transport is not None
    request.transport.abort()


async def farewell(socket: web.WebSocketResponse, _: web.Request) -> None:
    """Gone with a close frame."""
    await socket.close()


@pytest.mark.requirement("H1.1")
@pytest.mark.requirement("B3")
@pytest.mark.parametrize("end", [cut, farewell, mute], ids=["cut", "closed", "mute"])
def test_it_subscribes_once_on_each_fresh_connection_and_never_else(end: Life) -> None:
    """However the last one ended."""
    server = Server([speaks_then(3.0, end), speaks_then(20.0, end), speaks(0.3)])

    async def main() -> Ears:
        async with connected(server, silent_s_max=5.0) as ears:
            await after(60)
        return ears

    ears = run_networked(main(), seed=1)
    assert [heard.count("subscribe") for heard in server.heard] == [1, 1, 1]
    assert len(ears.times(S.SUBSCRIBED)) == 3
    assert len(ears.times(S.STALE)) == (2 if end is mute else 0)


@pytest.mark.requirement("H1.2")
@pytest.mark.parametrize("seed", range(50))
def test_a_mute_socket_is_found_within_its_bound_and_a_second(seed: int) -> None:
    """In all of fifty cases of other bounds, cadences and moments."""
    dice = dice_of(seed, "mute")
    bound_s, speaking_s, every_s = 2 + 10 * dice.uniform(), 1 + 60 * dice.uniform(), 0.1 + dice.uniform()
    server = Server([speaks_then(speaking_s, mute, every_s=every_s)])

    async def main() -> Ears:
        async with connected(server, seed=seed, silent_s_max=bound_s) as ears:
            await after(speaking_s + bound_s + 1.5)
        return ears

    ears = run_networked(main(), seed=seed)
    (stale_s, *_) = ears.times(S.STALE)
    # The last word came at most one cadence before it fell mute.
    assert bound_s - every_s <= stale_s - speaking_s - ears.times(S.FRESH)[0] <= bound_s + 1.0


def test_a_quiet_but_healthy_socket_is_left_alone_for_an_hour() -> None:
    """Nothing but answers to pings, each of them in time."""

    async def answers(socket: web.WebSocketResponse, _: web.Request) -> None:
        while True:
            await after(15.0)
            await socket.send_str("good pong")

    server = Server([answers])

    async def main() -> Ears:
        async with connected(server, silent_s_max=20.0, ping_s=15.0) as ears:
            await after(3_600)
        return ears

    ears = run_networked(main(), seed=2)
    assert len(server.opened_s) == 1
    assert not ears.times(S.STALE)
    assert 235 <= server.heard[0].count("ping") <= 240


@pytest.mark.requirement("B3")
def test_attempts_are_at_most_one_a_second_and_further_and_further_apart() -> None:
    """With jitter, and never further apart than the bound."""
    server = Server([cut])

    async def main() -> None:
        async with connected(server, reconnect_s_max=8.0):
            await after(120)

    run_networked(main(), seed=3)
    gaps = [later - sooner for sooner, later in pairwise(server.opened_s)]
    assert min(gaps) >= 1.0
    assert max(gaps) <= 8.0 * 1.25 + 1.1
    assert gaps[0] < gaps[1] < gaps[2]
    assert len({round(gap, 1) for gap in gaps[4:]}) > 3  # of ten, spread over two seconds


def test_a_connection_that_delivered_is_attempted_again_at_once() -> None:
    """A drop after good days is no reason to wait."""
    server = Server([speaks_then(30.0, cut), speaks(0.3)])

    async def main() -> Ears:
        async with connected(server) as ears:
            await after(60)
        return ears

    ears = run_networked(main(), seed=4)
    lost_s = ears.times(S.LOST)[0]
    assert ears.times(S.CONNECTING)[1] - lost_s < 0.5


def test_connections_that_deliver_and_break_at_once_are_a_second_apart() -> None:
    """What was delivered excuses no hammering."""

    async def brief(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_str("good")
        await after(0.1)
        await cut(socket, request)

    server = Server([brief])

    async def main() -> None:
        async with connected(server):
            await after(30)

    run_networked(main(), seed=10)
    gaps = [later - sooner for sooner, later in pairwise(server.opened_s)]
    assert len(gaps) > 20
    assert min(gaps) >= 1.0


def test_what_was_to_be_said_on_a_lost_connection_is_not_said_on_the_next() -> None:
    """An old login or subscription has no business there."""
    server = Server([speaks_then(3.0, cut), speaks(0.3)])

    async def main() -> None:
        ears = Ears()
        app = web.Application()
        app.router.add_get("/ws", server.handle)
        async with serving(app) as url:
            connection = Connection(Network(Connector), ConnectionTerms(url=f"{url}/ws"), ears, seed=1)
            running = asyncio.ensure_future(connection.run())
            while connection.state is not S.SUBSCRIBED:
                await after(0.01)
            while connection.state is not S.LOST:
                await after(0.01)
            connection.say("old")
            await after(10)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    run_networked(main(), seed=11)
    assert len(server.heard) == 2
    assert "old" not in server.heard[1]


def test_strange_frames_are_told_and_end_nothing_but_a_flood_does() -> None:
    """Binary and useless frames are heard, an oversize one is counted, one without end costs the connection."""

    async def strange(socket: web.WebSocketResponse, _: web.Request) -> None:
        await socket.send_str("good")
        await socket.send_bytes(b"\x00\xff")
        await socket.send_str("useless")
        await socket.send_str("x" * 70_000)
        await socket.send_str("good again")
        await socket.send_str("x" * 300_000)
        await after(10)

    server = Server([strange, speaks(0.3)])

    async def main() -> Ears:
        async with connected(server, frame_bytes_max=65_536) as ears:
            await after(20)
        return ears

    ears = run_networked(main(), seed=5)
    assert ears.frames[:4] == ["good", b"\x00\xff", "useless", "good again"]
    assert ears.oversize == [70_000, 4 * 65_536]
    assert len(server.opened_s) == 2


def test_what_is_useless_does_not_keep_a_socket_fresh() -> None:
    """Liveness of the connection and freshness of the data are two measures."""
    server = Server([speaks(0.2, "heartbeat")])

    async def main() -> Ears:
        async with connected(server, silent_s_max=5.0) as ears:
            await after(7)
        return ears

    ears = run_networked(main(), seed=6)
    assert len(ears.times(S.STALE)) == 1
    assert not ears.times(S.SUBSCRIBED)


@pytest.mark.requirement("B13")
def test_what_is_said_keeps_to_the_venues_five_messages_a_second() -> None:
    """A burst is spread out; a keep-alive still fits beside it."""
    server = Server([speaks(0.3)])
    sent: list[float] = []

    class Note(Server):
        async def _listen(self, socket: web.WebSocketResponse, heard: list[str]) -> None:
            async for message in socket:
                sent.append(asyncio.get_running_loop().time())
                heard.append(str(message.data))

    server = Note([speaks(0.3)])

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/ws", server.handle)
        async with serving(app) as url:
            connection = Connection(Network(Connector), ConnectionTerms(url=f"{url}/ws", ping_s=2.0), Ears(), seed=1)
            running = asyncio.ensure_future(connection.run())
            await after(5)
            for number in range(20):
                connection.say(str(number))
            await after(10)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    run_networked(main(), seed=7)
    burst = [at for at in sent if at >= 5]
    assert max(sum(start <= at < start + 1 for at in burst[4:]) for start in burst[4:]) <= 5
    assert server.heard[0][-1] == "ping"
    assert [each for each in server.heard[0] if each.isdigit()] == [str(number) for number in range(20)]


def test_a_connection_that_is_given_up_says_why_and_is_made_anew() -> None:
    """The reason is told with the loss; the next one subscribes again."""
    server = Server([speaks(0.3)])

    async def main() -> Ears:
        ears = Ears()
        app = web.Application()
        app.router.add_get("/ws", server.handle)
        async with serving(app) as url:
            connection = Connection(Network(Connector), ConnectionTerms(url=f"{url}/ws"), ears, seed=1)
            running = asyncio.ensure_future(connection.run())
            await after(5)
            connection.drop("one symbol is silent")
            await after(5)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        return ears

    ears = run_networked(main(), seed=9)
    assert [reason for _, state, reason in ears.states if state is S.LOST] == ["one symbol is silent"]
    assert [heard.count("subscribe") for heard in server.heard] == [1, 1]


def test_a_cancelled_connection_leaves_nothing_behind() -> None:
    """No task, and no socket at the other end."""
    server = Server([speaks(0.1)])

    async def main() -> set[asyncio.Task[object]]:
        before = asyncio.all_tasks()
        async with connected(server):
            await after(3)
        await after(1)
        return asyncio.all_tasks() - before

    assert run_networked(main(), seed=8) == set()
