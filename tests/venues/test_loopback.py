"""The same over real sockets of this machine: the virtual network must not be the only one that it works on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from aiohttp import web

from agora.testnet.control import serving
from agora.venues.rest import InDoubt, Network, NotSent, RateLimited, Request, exchange
from agora.venues.websocket import Connection, ConnectionState, ConnectionTerms

S = ConnectionState


async def _cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _mute(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def _limited(_: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "3"})


async def _good(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read())


def _application() -> web.Application:
    app = web.Application()
    for path, handler in (("/cut", _cut), ("/mute", _mute), ("/limited", _limited), ("/good", _good)):
        app.router.add_post(path, handler)
    return app


@pytest.mark.parametrize("path, fault", [("/cut", InDoubt), ("/mute", InDoubt), ("/limited", RateLimited)])
def test_what_became_of_a_request_is_told_over_tcp_as_well(path: str, fault: type[Exception]) -> None:
    """Cut off, left without an answer, refused unread; and on the same session one that is good."""

    async def main() -> bytes:
        async with serving(_application()) as url, Network().session() as session:
            with pytest.raises(fault):
                await exchange(session, Request(method="POST", url=url + path, headers={}, body=b"x"), within_s=0.5)
            good = Request(method="POST", url=f"{url}/good", headers={}, body=b"order")
            return (await exchange(session, good, within_s=5.0)).body

    assert asyncio.run(main()) == b"order"


def test_a_port_that_nobody_listens_on_was_not_reached() -> None:
    """Neither is one that has just been given up."""

    async def main() -> None:
        async with Network().session() as session:
            async with serving(_application()) as url:
                request = Request(method="POST", url=f"{url}/good", headers={}, body=b"x")
            await exchange(session, request, within_s=5.0)

    with pytest.raises(NotSent):
        asyncio.run(main())


class Ears:
    """Notes states; rings when one comes."""

    def __init__(self) -> None:
        self.states: list[S] = []
        self.changed = asyncio.Event()

    def on_fresh(self) -> Sequence[str]:
        """The subscription."""
        return ("subscribe",)

    def on_frame(self, frame: str | bytes) -> bool:
        """Everything is usable."""
        return bool(frame)

    def on_oversize(self, size_bytes: int) -> None:
        """Too large."""

    def on_state(self, state: S, reason: str) -> None:
        """A new state."""
        del reason
        self.states.append(state)
        self.changed.set()

    def ping(self) -> str:
        """The keep-alive."""
        return "ping"

    async def until(self, *states: S) -> None:
        """Return when these have been seen, in this order and with nothing between."""
        async with asyncio.timeout(10):
            while tuple(self.states[-len(states) :]) != states:
                self.changed.clear()
                await self.changed.wait()


def test_a_socket_that_is_cut_mute_or_closed_is_made_anew_over_tcp() -> None:
    """It subscribes once on each connection; a mute one is found by our own watch."""
    heard: list[str] = []

    async def life(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard.append(await socket.receive_str())
        await socket.send_str("good")
        match len(heard):
            case 1:
                await socket.send_str("good")
                assert request.transport is not None
                request.transport.abort()
            case 2:
                await socket.close()
            case _:
                await asyncio.Event().wait()
        return socket

    async def main() -> list[S]:
        app = web.Application()
        app.router.add_get("/ws", life)
        async with serving(app) as url:
            ears = Ears()
            terms = ConnectionTerms(url=f"{url}/ws", silent_s_max=0.3)
            running = asyncio.ensure_future(Connection(Network(), terms, ears, seed=1).run())
            await ears.until(S.SUBSCRIBED, S.LOST, S.CONNECTING, S.FRESH, S.SUBSCRIBED, S.LOST)
            await ears.until(S.SUBSCRIBED, S.STALE, S.LOST)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            return ears.states

    asyncio.run(main())
    assert heard == ["subscribe"] * 3
