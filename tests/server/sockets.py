"""Clients of the socket for the server's tests: one that listens, and one that connects and never reads."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.server.markets import Served


def handshake(port: int, **headers: str) -> bytes:
    """The request that opens the socket, with further or other headers."""
    usual = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes ok").decode(),
        "Sec-WebSocket-Version": "13",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**usual, **headers}.items())
    return f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode()


async def never_reading(port: int) -> socket.socket:
    """A client that opens the socket and reads nothing more, with a small window of its own."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, handshake(port))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(client, 1)
    assert answer.startswith(b"HTTP/1.1 101")
    return client


@contextlib.asynccontextmanager
async def listening(server: Served) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client that reads when the test asks it to."""
    async with server.client.ws_connect(server.url + "/ws") as opened:
        yield opened


async def next_of(client: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next message of a type; others are passed over."""
    async with asyncio.timeout(5):
        while True:
            message: dict[str, Any] = await client.receive_json()
            if message["type"] == kind:
                return message


async def until(server: Served, clients: int) -> None:
    """Wait until that many clients are connected."""
    async with asyncio.timeout(20):
        while server.stream.clients != clients:  # noqa: ASYNC110 - the stream has no event for us
            await asyncio.sleep(0)
