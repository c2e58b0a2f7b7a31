"""A Bitunix on this machine: its REST and sockets over an exchange of its own, with faults on demand.

One process, two ports: the venue's, and that of the control calls. Everything in it goes by the clock handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import msgspec
from aiohttp import web

from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Clock
from agora.testnet.bitunix_calls import CALLS
from agora.testnet.bitunix_control import BitunixControl
from agora.testnet.bitunix_faults import BITUNIX_FAULTS, Mischief
from agora.testnet.bitunix_notes import Notes
from agora.testnet.bitunix_rest import BODY_BYTES_MAX, RestServer
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.testnet.bitunix_sockets import Sockets
from agora.testnet.bitunix_world import World
from agora.testnet.control import ControlPort, RequestLog, serving
from agora.testnet.faults import FaultPlan

# By these names, besides those of its calls, a fault plan may mean a part of the venue.
TARGETS = ("rest", "market", "user", "prices", *CALLS)
SECONDS_PER_MINUTE = 60


class Serve(Protocol):
    """Serves an application while the context lasts; gives its address."""

    def __call__(self, app: web.Application, *, port: int = 0) -> AbstractAsyncContextManager[str]:
        """`testnet.control.serving`, or the like of it on another network."""
        ...


class BitunixTestnet:
    """The venue. `urls` and `control` are known once it is served."""

    def __init__(self, settings: BitunixTestnetSettings, *, clock: Clock, monotonic_ns: Callable[[], int]) -> None:
        self.plan = FaultPlan(implemented=BITUNIX_FAULTS, targets=TARGETS, monotonic_ns=monotonic_ns)
        self.log = RequestLog()
        self.urls: dict[str, str] = {}
        self.control = ""
        self.world = World(settings, clock)
        self.mischief = Mischief(self.world, self.plan)
        self.sockets = Sockets(self.world, self.mischief.delivery, monotonic_ns=monotonic_ns)
        self.mischief.attach(self.sockets)
        self.world.hooks.append(self.mischief.tick)
        self.notes = Notes(self.world, self.sockets)
        self._control = BitunixControl(self.world, self.notes)
        self._monotonic_ns = monotonic_ns
        self._used_ns = monotonic_ns()

    def announcement(self) -> dict[str, Any]:
        """What is said about the venue on its first line."""
        accounts = [self._control.account_row(account) for account in self.world.accounts.values()]
        return {"venue": "bitunix", "urls": self.urls, "control": self.control, "accounts": accounts}

    def ledger(self) -> dict[str, Any]:
        """Every account's books and every order received."""
        return self.notes.ledger()

    def app(self) -> web.Application:
        """REST and both sockets."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/public/", self.sockets.public)
        app.router.add_get("/private/", self.sockets.private)
        rest = RestServer(self.world, self.mischief, notes=self.notes, log=self.log, monotonic_ns=self._monotonic_ns)
        rest.add_to(app)
        app.on_response_prepare.append(self._note_use)
        return app

    def control_app(self) -> web.Application:
        """The control calls."""
        app = self._control.app(ControlPort(self.plan, self.log))
        app.on_response_prepare.append(self._note_use)
        return app

    async def _note_use(self, _: web.Request, __: web.StreamResponse) -> None:
        self._used_ns = self._monotonic_ns()

    def idle_s(self) -> float:
        """How long nobody has been here: an open socket is somebody."""
        if self.sockets.clients("*"):
            self._used_ns = self._monotonic_ns()
        return (self._monotonic_ns() - self._used_ns) / NS_PER_S

    async def left_alone(self, limit_s: float) -> None:
        """Return when nobody has been here for so long; 0: never."""
        while (left_s := limit_s - self.idle_s()) > 0 or not limit_s:  # noqa: ASYNC110  nobody comes is no event
            await asyncio.sleep(left_s if limit_s else SECONDS_PER_MINUTE)

    async def run(self) -> None:
        """Let time pass at the venue, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.world.run())
            tasks.create_task(self.sockets.run())


class _Running:
    """Time passes at the venue while the context lasts; what its user raises goes on as it was raised."""

    def __init__(self, testnet: BitunixTestnet) -> None:
        self._testnet = testnet
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> None:
        await self._group.__aenter__()
        self._task = self._group.create_task(self._testnet.run())

    async def __aexit__(self, *_: object) -> None:
        """Let go of everybody who is connected or waits; a bug of the venue is raised here."""
        self._testnet.mischief.stop_waiting()
        for client in self._testnet.sockets.clients("*"):
            client.abort()
        self._task.cancel()
        await self._group.__aexit__(None, None, None)


@asynccontextmanager
async def bitunix_testnet(
    settings: BitunixTestnetSettings,
    *,
    clock: Clock,
    monotonic_ns: Callable[[], int],
    faults: bytes = b"[]",
    serve: Serve = serving,
) -> AsyncIterator[BitunixTestnet]:
    """A running venue while the context lasts. `faults` is a plan (JSON list).

    Raises `PlanRefused` for a plan that cannot be meant, `UsageFault` for data or symbols that cannot be used and
    `OSError` when a port is taken. A bug of the venue ends the context with it.
    """
    testnet = BitunixTestnet(settings, clock=clock, monotonic_ns=monotonic_ns)
    testnet.plan.load(faults or b"[]")
    async with AsyncExitStack() as stack:
        testnet.control = await stack.enter_async_context(serve(testnet.control_app(), port=settings.control_port))
        root = await stack.enter_async_context(serve(testnet.app(), port=settings.port))
        sockets = root.replace("http", "ws", 1)
        testnet.urls = {"rest": root, "public_ws": f"{sockets}/public/", "private_ws": f"{sockets}/private/"}
        await stack.enter_async_context(_Running(testnet))
        yield testnet


async def run_bitunix_testnet(
    running: AbstractAsyncContextManager[BitunixTestnet], announce: Callable[[str], None]
) -> None:
    """Serve a venue (`bitunix_testnet(...)`) until cancelled, or until nobody has been here for long enough.

    `announce` gets one line of JSON when the venue can be reached.
    """
    async with running as testnet:
        announce(msgspec.json.encode(testnet.announcement()).decode())
        await testnet.left_alone(testnet.world.settings.idle_minutes * SECONDS_PER_MINUTE)
