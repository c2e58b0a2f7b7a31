"""`agora serve`, and the API beside a market: builds the app from what the command line knows."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from agora import launch
from agora.cli.glance import glance
from agora.cli.shared import home_path, warn
from agora.launch import Beside as BesideRun
from agora.market_launch import Beside
from agora.server.app import ServerContext, create_app
from agora.server.auth import TOKEN_FILE, access_of, token_of
from agora.server.live_market import LiveMarket
from agora.server.runs import RunPort
from agora.server.serving import serve_app
from agora.session.clock import monotonic_ns
from agora.session.folder import Home
from agora.session.market_loop import MarketLoop

LOOPBACK = "127.0.0.1"


def beside_market(host: str, port: int, *, is_quiet: bool) -> Beside:
    """What serves a market while it runs."""

    @contextlib.asynccontextmanager
    async def beside(loop: MarketLoop, folder: Path) -> AsyncIterator[None]:
        context = _context(host, LiveMarket(loop, folder.name))
        async with serve_app(create_app(context), host=host, port=port) as address:
            if not is_quiet:
                warn(f"{folder.name}   API {address.url}   token {home_path() / TOKEN_FILE}")
            yield

    return beside


def beside_run(port: int, *, is_quiet: bool) -> BesideRun:
    """What serves the runs of this machine, the present one among them, while it runs."""

    @contextlib.asynccontextmanager
    async def beside(folder: Path) -> AsyncIterator[None]:
        async with serve_app(create_app(_context(LOOPBACK, None)), host=LOOPBACK, port=port) as address:
            if not is_quiet:
                warn(f"API {address.url}/runs/{folder.name}   token {home_path() / TOKEN_FILE}")
            yield

    return beside


def _context(host: str, market: LiveMarket | None) -> ServerContext:
    """Reading is free on this machine; a server that others reach wants the token for everything."""
    home = Home(home_path())
    runs = RunPort(home=home, glance=glance, re_arm=launch.reset_run, monotonic_ns=monotonic_ns)
    access = access_of(host, token_of(home))
    return ServerContext(access=access, monotonic_ns=monotonic_ns, market=market, runs=runs)


def serve_runs(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(host, port))


async def _serve(host: str, port: int) -> None:
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    async with serve_app(create_app(_context(host, None)), host=host, port=port) as address:
        warn(f"API {address.url}   token {home_path() / TOKEN_FILE}")
        await done.wait()
