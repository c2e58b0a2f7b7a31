"""The virtual network carries unmodified aiohttp, in virtual time, the same way for the same seed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import web

from tests.simulation.network import Connector, NetworkLoop, run_networked, running_network, serving
from tests.simulation.wires import HIGH_WATER_BYTES, KERNEL_BYTES, Weather

TICK_S = 0.1


def _loop() -> NetworkLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, NetworkLoop)
    return loop


async def _echo(request: web.Request) -> web.Response:
    return web.json_response({"got": await request.json()})


async def _never(_: web.Request) -> web.Response:
    await _loop().let_pass(3_600)
    return web.Response()


async def _ticks(request: web.Request) -> web.WebSocketResponse:
    """Repeats what it hears, and counts aloud ten times a second."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)

    async def count() -> None:
        for number in range(100):
            await _loop().let_pass(TICK_S)
            await socket.send_str(f"tick {number}")

    counting = asyncio.get_running_loop().create_task(count())
    try:
        async for message in socket:
            await socket.send_str(f"heard {message.data}")
    finally:
        counting.cancel()
    return socket


@asynccontextmanager
async def _served() -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    app = web.Application()
    app.router.add_post("/echo", _echo)
    app.router.add_get("/never", _never)
    app.router.add_get("/ticks", _ticks)
    async with serving(app) as url, aiohttp.ClientSession(connector=Connector()) as session:
        yield url, session


@dataclass
class _Ear(asyncio.Protocol):
    """Writes down what a transport calls back."""

    said: list[str] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    transports: list[asyncio.Transport] = field(default_factory=list)

    @property
    def transport(self) -> asyncio.Transport:
        """Its transport."""
        return self.transports[0]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.said.append("eof")
        return True

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.said.append(f"lost {type(exc).__name__}")


Talk = Callable[[_Ear, _Ear], Awaitable[None]]


def _talk(talk: Talk, weather: Weather | None = None) -> tuple[_Ear, _Ear]:
    async def main() -> tuple[_Ear, _Ear]:
        here, there = _Ear(), _Ear()
        await _loop().create_unix_server(lambda: there, "there:1")
        await _loop().create_unix_connection(lambda: here, "there:1")
        await talk(here, there)
        await _loop().let_pass(1)
        return here, there

    return run_networked(main(), seed=1, weather=weather)


def _trace(seed: int) -> list[tuple[str, float]]:
    """Requests and pushes with their times."""

    async def main() -> list[tuple[str, float]]:
        seen = []
        async with _served() as (url, session):
            for number in range(3):
                async with session.post(f"{url}/echo", json=number) as answer:
                    seen.append((await answer.text(), _loop().time()))
            async with session.ws_connect(f"{url}/ticks") as socket:
                await socket.send_str("hello")
                seen += [((await socket.receive()).data, _loop().time()) for _ in range(20)]
        return seen

    return run_networked(main(), seed=seed)


def test_http_and_websocket_work_unmodified() -> None:
    """Requests are answered and pushes arrive in order, a tenth of a virtual second apart."""
    seen = _trace(1)
    assert [text for text, _ in seen[:4]] == ['{"got": 0}', '{"got": 1}', '{"got": 2}', "heard hello"]
    assert [text for text, _ in seen[4:]] == [f"tick {number}" for number in range(19)]
    gaps = [after - before for (_, before), (_, after) in pairwise(seen[4:])]
    assert all(abs(gap - TICK_S) < 0.001 for gap in gaps)


def test_a_seed_repeats_every_arrival() -> None:
    """Two runs of one seed agree to the nanosecond, another seed does not."""
    assert _trace(3) == _trace(3)
    assert _trace(3) != _trace(4)


def test_timeouts_of_aiohttp_run_in_virtual_time() -> None:
    """An answer that never comes and a server that never accepts end at their limits."""

    async def main() -> tuple[float, float]:
        loop = _loop()
        async with _served() as (url, session):
            began = loop.time()
            with pytest.raises(asyncio.TimeoutError):
                await session.get(f"{url}/never", timeout=aiohttp.ClientTimeout(total=30))
            first, began = loop.time() - began, loop.time()
            running_network().silent.add(url.removeprefix("http://"))
        async with aiohttp.ClientSession(connector=Connector()) as session:
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                await session.get(url, timeout=aiohttp.ClientTimeout(sock_connect=4))
        return first, loop.time() - began

    first, second = run_networked(main(), seed=1)
    assert 30 <= first < 31.1  # aiohttp rounds long limits up to whole seconds
    assert 4 <= second < 4.3


def test_nobody_listening_is_refused_before_a_byte_leaves() -> None:
    """A free address and a refusing server give the error of a refused connection."""

    async def main() -> None:
        async with _served() as (url, session):
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:9")
            running_network().refused.add(url.removeprefix("http://"))
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post(f"{url}/echo", json=1)
            running_network().refused.clear()
            async with session.post(f"{url}/echo", json=1) as answer:
                assert answer.status == 200

    run_networked(main(), seed=1)


def test_a_cut_connection_ends_both_ends() -> None:
    """The client's socket closes, and the server's handler is over."""

    async def main() -> tuple[aiohttp.WSMsgType, int]:
        async with _served() as (url, session), session.ws_connect(f"{url}/ticks") as socket:
            await socket.receive()
            assert running_network().cut() == 1
            message = await socket.receive()
            await _loop().let_pass(1)
            return message.type, len(running_network().links())

    kind, open_links = run_networked(main(), seed=1)
    assert kind in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert open_links == 0


def test_a_held_connection_is_silent_and_then_delivers_everything() -> None:
    """A black hole of five seconds: nothing, then all of it in order."""

    async def main() -> list[str]:
        async with _served() as (url, session), session.ws_connect(f"{url}/ticks") as socket:
            seen = [(await socket.receive()).data]
            running_network().hold(True)
            with pytest.raises(asyncio.TimeoutError):
                await socket.receive(timeout=5)
            running_network().hold(False)
            return seen + [(await socket.receive()).data for _ in range(60)]

    assert run_networked(main(), seed=1) == [f"tick {number}" for number in range(61)]


def test_a_killed_process_leaves_without_a_word() -> None:
    """Its tasks end, what it would say while dying reaches nobody, and the server sees the connection end."""

    async def client(url: str) -> None:
        async with (
            aiohttp.ClientSession(connector=Connector()) as session,
            session.ws_connect(f"{url}/ticks") as socket,
        ):
            try:
                async for _ in socket:
                    pass
            finally:
                await socket.send_str("last words")

    async def main() -> tuple[bool, list[str], int]:
        heard: list[str] = []

        async def listen(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            heard.extend([message.data async for message in socket])
            return socket

        app = web.Application()
        app.router.add_get("/ticks", listen)
        async with serving(app) as url:
            process = _loop().spawn(client(url), owner="client")
            await _loop().let_pass(2)
            await running_network().kill("client")
            await _loop().let_pass(2)
            return process.done(), heard, len(running_network().links())

    assert run_networked(main(), seed=1) == (True, [], 0)


def test_a_writer_is_paused_while_nobody_reads() -> None:
    """A reader that pauses fills the buffers; the writer goes on once it reads again, and no byte is lost."""
    size = KERNEL_BYTES + HIGH_WATER_BYTES + 1

    async def talk(here: _Ear, there: _Ear) -> None:
        there.transport.pause_reading()
        here.transport.write(bytes(size))
        await _loop().let_pass(1)
        assert here.said == ["pause"]
        assert not there.received
        there.transport.resume_reading()

    here, there = _talk(talk)
    assert here.said == ["pause", "resume"]
    assert len(there.received) == size


def test_half_of_a_connection_can_be_closed() -> None:
    """After the end of one direction the other still carries bytes."""

    async def talk(here: _Ear, there: _Ear) -> None:
        here.transport.write(b"question")
        here.transport.write_eof()
        await _loop().let_pass(1)
        assert there.said == ["eof"]
        there.transport.write(b"answer")
        there.transport.close()

    here, there = _talk(talk)
    assert bytes(there.received) == b"question"
    assert bytes(here.received) == b"answer"
    assert here.said == ["eof"]
    assert there.said == ["eof", "lost NoneType"]


def test_an_aborted_connection_is_a_reset_at_the_other_end() -> None:
    """What was under way still arrives, then the reset; the one who aborts sees no error."""

    async def talk(here: _Ear, _: _Ear) -> None:
        here.transport.write(b"last")
        here.transport.abort()

    here, there = _talk(talk)
    assert here.said == ["lost NoneType"]
    assert bytes(there.received) == b"last"
    assert there.said == ["lost ConnectionResetError"]


def test_sliced_writes_arrive_whole_and_in_order() -> None:
    """Each write in two pieces, and the stream is the same."""
    text = b"".join(b"%04d" % number for number in range(200))

    async def talk(here: _Ear, _: _Ear) -> None:
        for at in range(0, len(text), 8):
            here.transport.write(text[at : at + 8])

    _, there = _talk(talk, Weather(slice_chance=1.0))
    assert bytes(there.received) == text
