"""A server comes and goes inside a running loop: quickly, without leftovers, without a hand on the signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agora.domain.errors import StartFault
from agora.domain.numbers import NS_PER_S
from agora.server.app import create_app
from agora.server.serving import serve_app
from agora.session.clock import monotonic_ns
from tests.server.markets import served
from tests.server.schema import context_for_schema
from tests.server.sockets import handshake, listening, never_reading, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.requirement("F1")
@pytest.mark.requirement("F6")
def test_it_starts_and_stops_within_two_seconds_and_leaves_no_task(tmp_path: Path) -> None:
    """With clients that read, a client that never reads, and an idle connection; the port is free afterwards."""

    async def main() -> None:
        before = asyncio.all_tasks()
        start_ns = monotonic_ns()
        async with served(tmp_path) as server:
            assert (await server.get("/health"))[0] == 200
            assert monotonic_ns() - start_ns < 2 * NS_PER_S
            deaf = await never_reading(server.address.port)
            idle = socket.create_connection(("127.0.0.1", server.address.port))
            async with listening(server):
                await until(server, clients=2)
                server.stream.add_news({"text": "x" * 400_000})
                stop_ns = monotonic_ns()
        # The two clients close by themselves above; what is left then is the server's.
        assert monotonic_ns() - stop_ns < 2 * NS_PER_S
        assert asyncio.all_tasks() == before
        deaf.close()
        idle.close()
        with socket.create_server(("127.0.0.1", server.address.port)):
            pass

    asyncio.run(main(), debug=False)


@pytest.mark.requirement("F1")
def test_it_stops_in_time_while_clients_hold_on(tmp_path: Path) -> None:
    """Neither an unfinished request nor sockets with a backlog that nobody reads delay the end or outlive it."""

    async def main() -> None:
        before = asyncio.all_tasks()
        async with served(tmp_path) as server:
            port = server.address.port
            deaf = [await never_reading(port) for _ in range(3)]
            half_open = socket.create_connection(("127.0.0.1", port))
            half_open.sendall(handshake(port)[:40])
            await until(server, clients=3)
            while any(client.transport.get_write_buffer_size() == 0 for client in server.stream._clients):
                server.stream.add_news({"text": "x" * 50_000})
            stop_ns = monotonic_ns()
        assert monotonic_ns() - stop_ns < 2 * NS_PER_S
        assert asyncio.all_tasks() == before
        for client in (*deaf, half_open):
            drain(client)

    asyncio.run(main())


def drain(client: socket.socket) -> None:
    """Read to the end, which must be there already: the server's loop does not turn meanwhile."""
    client.settimeout(2)
    with client, contextlib.suppress(ConnectionResetError):
        while client.recv(2**16):
            pass


def test_an_answer_does_not_wait_for_an_acknowledgement(tmp_path: Path) -> None:
    """Connections send small packets at once: with Nagle's rule every answer in two packets would take 40 ms."""

    async def main() -> None:
        async with served(tmp_path) as server, listening(server):
            (client,) = server.stream._clients
            opened = client.transport.get_extra_info("socket")
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    asyncio.run(main())


def test_what_breaks_beside_it_is_raised_as_it_was() -> None:
    """The server ends with the block, and the block's own exception comes out of it unwrapped."""

    async def main() -> None:
        async with serve_app(create_app(context_for_schema())):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())


def test_signals_stay_with_the_run() -> None:
    """Handlers are the same before, during and after."""

    async def main() -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with serve_app(create_app(context_for_schema())):
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    asyncio.run(main())


def test_a_port_in_use_is_a_start_fault_that_names_it() -> None:
    """Exit code 3 material: the address is in the message, nothing is left open."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(StartFault, match=f"127.0.0.1 port {port}"):
                async with serve_app(create_app(context_for_schema()), port=port):
                    pytest.fail("it listens on a port that another has")

    asyncio.run(main())


def test_two_servers_run_beside_one_another() -> None:
    """Each on a port of its own; the address tells."""

    async def main() -> None:
        app = create_app(context_for_schema())
        async with serve_app(app) as one, serve_app(create_app(context_for_schema())) as other:
            assert one.port != other.port
            assert one.url == f"http://127.0.0.1:{one.port}"

    asyncio.run(main())


def test_serving_runs_needs_no_compiler_and_no_model() -> None:
    """A process that only shows runs imports neither numba nor litellm."""
    code = "import sys, agora.server.app, agora.server.serving; print(sorted({'numba', 'litellm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
