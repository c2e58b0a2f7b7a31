"""A network in memory on the virtual loop, so that real aiohttp clients and servers meet without a socket.

Bytes arrive in order, each write after a seeded latency; connections can be refused, held, cut, and die with the
process that owns them. Addresses look like loopback ones (`127.0.0.1:40001`); nothing of it touches the machine.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from tests.simulation.loop import VirtualTimeLoop
from tests.simulation.wires import LOOPBACK, Air, End, Weather

Result = TypeVar("Result")

FIRST_PORT = 40_001
# A process that is killed gets so many seconds (of nobody's time) for its tasks to be gone.
KILL_TRIES_MAX = 20
# How long a stopping server lets answers finish.
SHUTDOWN_S = 0.2

# The process that a task or connection belongs to; None: a server that goes on whatever dies.
OWNER: contextvars.ContextVar[str | None] = contextvars.ContextVar("owner", default=None)


@dataclass
class Link:
    """A connection: who opened it, and where to. `server` is None until it has arrived there."""

    address: str
    owner: str | None
    client: End
    server: End

    def ends(self) -> tuple[End, End]:
        """Both."""
        return self.client, self.server


class Listener(asyncio.AbstractServer):
    """A server at an address."""

    def __init__(self, network: VirtualNetwork, address: str, factory: Callable[[], Any]) -> None:
        self.factory = factory
        self.context = contextvars.copy_context()
        self._network = network
        self._address = address

    def close(self) -> None:
        """Accept no more; what is connected stays."""
        if self.is_serving():
            del self._network.listeners[self._address]

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return self._network.listeners.get(self._address) is self

    async def wait_closed(self) -> None:
        """Nothing is left to wait for."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The virtual loop."""
        return self._network.loop


class VirtualNetwork:
    """All connections of one loop, and what can be done to them."""

    def __init__(self, loop: NetworkLoop, weather: Weather, *, seed: int) -> None:
        self.loop = loop
        self.air = Air(loop, weather, seed=seed)
        self.listeners: dict[str, Listener] = {}
        self.refused: set[str] = set()
        self.silent: set[str] = set()
        self._dead: set[str | None] = set()
        self._links: list[Link] = []
        self._next_port = FIRST_PORT

    def free_port(self) -> int:
        """A port that nobody has had."""
        self._next_port += 1
        return self._next_port - 1

    def links(self, *, address: str | None = None, owner: str | None = None) -> list[Link]:
        """The connections that are open, of everybody or of one address or owner."""
        self._links = [link for link in self._links if not (link.client.is_lost and link.server.is_lost)]
        return [
            link
            for link in self._links
            if (address is None or link.address == address) and (owner is None or link.owner == owner)
        ]

    def cut(self, *, address: str | None = None) -> int:
        """Reset connections at both ends now; returns how many."""
        links = self.links(address=address)
        for link in links:
            for end in link.ends():
                end.die(is_reset=True)
        return len(links)

    def hold(self, is_held: bool, *, address: str | None = None) -> int:
        """Begin or end a black hole on the connections that are open; returns how many."""
        links = self.links(address=address)
        for link in links:
            for end in link.ends():
                end.outgoing.hold(is_held)
        return len(links)

    def sever(self, owner: str) -> None:
        """The process of that name is gone at this moment: nothing of it leaves any more, whatever still runs of it."""
        self._dead.add(owner)
        for link in self.links(owner=owner):
            link.client.die(is_reset=self.air.draw.random() < 1 / 2)

    async def kill(self, owner: str) -> None:
        """Sever a process and end its tasks, without effect on anyone."""
        self.sever(owner)
        for _ in range(KILL_TRIES_MAX):
            alive = self.loop.tasks_of(owner)
            if not alive:
                return
            for task in alive:
                task.cancel()
            await asyncio.wait(alive, timeout=1.0)
        raise AssertionError(f"{len(alive)} tasks of {owner} do not end: {alive[0]!r}")

    async def connect(self, factory: Callable[[], Any], address: str) -> tuple[End, Any]:
        """The client's side of a new connection."""
        loop = self.loop
        if OWNER.get() in self._dead:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the process was killed")
        arrived: asyncio.Future[Listener] = loop.create_future()
        loop.call_later(self.air.latency_s(), self._knock, address, arrived)
        listener = await arrived
        if OWNER.get() in self._dead:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the process was killed")
        link = self._link(address, listener)
        # The server learns of it first; it may be gone again before the client does.
        loop.call_soon(_accept, listener, link, context=listener.context)
        established: asyncio.Future[None] = loop.create_future()
        loop.call_later(self.air.latency_s(), _resolve, established)
        try:
            await established
        except asyncio.CancelledError:
            link.client.die(is_reset=True)
            raise
        if link.client.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        protocol = factory()
        link.client.attach(protocol)
        return link.client, protocol

    def _knock(self, address: str, arrived: asyncio.Future[Listener]) -> None:
        if arrived.done() or address in self.silent:
            return
        listener = self.listeners.get(address)
        if listener is None or address in self.refused:
            refusal = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            self.loop.call_later(self.air.latency_s(), _fail, arrived, refusal)
        else:
            arrived.set_result(listener)

    def _link(self, address: str, listener: Listener) -> Link:
        client = End(self.air, address=address, context=contextvars.copy_context())
        server = End(self.air, address=address, context=listener.context)
        server.incoming, client.incoming = client.outgoing, server.outgoing
        client.outgoing.writer, server.outgoing.writer = client, server
        link = Link(address, OWNER.get(), client, server)
        self._links.append(link)
        return link


def _accept(listener: Listener, link: Link) -> None:
    if not link.server.is_closing():
        link.server.attach(listener.factory())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[Any], fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)


class NetworkLoop(VirtualTimeLoop):
    """The virtual loop with a network. Unix paths are addresses: nothing of them is looked up anywhere."""

    def __init__(self, *, seed: int, start_ns: int = 0, weather: Weather | None = None) -> None:
        super().__init__(seed=seed, start_ns=start_ns)
        self.network = VirtualNetwork(self, weather or Weather(), seed=seed)
        self._owned: dict[str, list[asyncio.Task[Any]]] = {}
        self.set_task_factory(self._make_task)

    def spawn(self, coroutine: Coroutine[Any, Any, Result], *, owner: str) -> asyncio.Task[Result]:
        """Start the main task of a process with that name; what it starts and opens is its own."""
        context = contextvars.copy_context()
        context.run(OWNER.set, owner)
        return context.run(self.create_task, coroutine)

    def tasks_of(self, owner: str) -> list[asyncio.Task[Any]]:
        """Its tasks that are not done."""
        alive = [task for task in self._owned.get(owner, ()) if not task.done()]
        self._owned[owner] = alive
        return list(alive)

    async def create_unix_server(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """Listen at an address; raises `OSError` when it is taken."""
        address = str(path)
        if address in self.network.listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = Listener(self.network, address, protocol_factory)
        self.network.listeners[address] = listener
        return listener

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """Connect to an address."""
        return await self.network.connect(protocol_factory, str(path))

    def _make_task(self, loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        owner = OWNER.get()
        if owner is not None:
            owned = self._owned.setdefault(owner, [])
            owned.append(task)
            if len(owned) > 1_000:
                self.tasks_of(owner)
        return task


class Connector(aiohttp.UnixConnector):
    """Connects to the address that the URL names. Idle connections stay: their age would be read off a real clock."""

    def __init__(self) -> None:
        super().__init__(path="", keepalive_timeout=None)

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ARG002, ASYNC109
        address = f"{req.url.host}:{req.url.port}"
        try:
            async with asyncio.timeout(timeout.sock_connect):
                _, protocol = await self._loop.create_unix_connection(self._factory, address)
        except TimeoutError:
            raise
        except OSError as fault:
            raise aiohttp.ClientConnectorError(req.connection_key, fault) from fault
        return protocol


@asynccontextmanager
async def serving(app: web.Application, *, port: int = 0) -> AsyncIterator[str]:
    """`agora.testnet.control.serving` on the virtual network: serve while the context lasts; gives the address."""
    port = port or running_network().free_port()
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, f"{LOOPBACK}:{port}").start()
        yield f"http://{LOOPBACK}:{port}"
    finally:
        await runner.cleanup()


def running_network() -> VirtualNetwork:
    """The network of the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, NetworkLoop)
    return loop.network


def run_networked(
    main: Coroutine[Any, Any, Result], *, seed: int, start_ns: int = 0, weather: Weather | None = None
) -> Result:
    """Run a coroutine to its end in virtual time, with a network."""

    def loop() -> NetworkLoop:
        return NetworkLoop(seed=seed, start_ns=start_ns, weather=weather)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)
