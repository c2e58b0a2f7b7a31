"""Serves an app inside an event loop that is already running: starts and stops with a block, touches no signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from agora.domain.errors import StartFault

# Connections of all kinds: the sockets of a classroom and the requests beside them.
CONNECTIONS_MAX = 1_000
# Clients only listen; a ping of a page is a few bytes.
MESSAGE_BYTES_MAX = 4_096
# A client that does not answer a ping does not read: found out within 3 + 4 s, the promise is 10.
PING_EVERY_S = 3.0
PING_ANSWER_S = 4.0
# Requests that are being answered when the server stops get this long; all take milliseconds.
GRACE_S = 1
# What the kernel may hold for a client that does not read; it would grow to 4 MB by itself.
SEND_BUFFER_BYTES = 128 * 1024


class Address(msgspec.Struct, frozen=True):
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@contextlib.asynccontextmanager
async def serve_app(app: FastAPI, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Address]:
    """Serve for the length of the block on the running loop; port 0 takes a free one.

    Raises `StartFault` when the address cannot be had. When the block ends, every connection and task is gone.
    """
    listener = _listener(host, port)
    server = uvicorn.Server(_config(app))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    # The parts of `Server.serve` that are ours to use: its signal handlers belong to the run, and its main loop only
    # looks whether to end and keeps the Date header, which is switched off.
    await server.startup(sockets=[listener])
    try:
        yield Address(host, listener.getsockname()[1])
    finally:
        await _stop(server, listener)


async def _stop(server: uvicorn.Server, listener: socket.socket) -> None:
    """Let requests end, then close what is left, and wait until it is gone."""
    await server.shutdown(sockets=[listener])
    for connection in tuple(server.server_state.connections):
        if connection.transport is not None:
            connection.transport.abort()
    tasks = tuple(server.server_state.tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_S)
    await asyncio.sleep(0)  # the loop's turn in which aborted connections are closed


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, because asyncio sends small packets at once (no Nagle) only on sockets that are; else the end of an
    # answer waits 40 ms for the acknowledgement of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # its connections inherit it
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise StartFault(f"cannot listen on {host} port {port}: {fault.strerror or fault}") from None
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http="h11",
        ws=cast("Any", _websocket_protocol),
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PING_ANSWER_S,
        ws_per_message_deflate=False,  # one frame for all clients, and no memory for each
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody stands before us whose word counts
        server_header=False,
        date_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_graceful_shutdown=GRACE_S,
    )


def _websocket_protocol(
    config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
) -> WebSocketsSansIOProtocol:
    """A WebSocket connection that the app finds in its scope, with the transport that a broadcast writes to."""
    state = dict(app_state)
    protocol = WebSocketsSansIOProtocol(config=config, server_state=server_state, app_state=state)
    state["connection"] = protocol
    return protocol
