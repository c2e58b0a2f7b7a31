"""Times the API: start, reading a market at full speed, fan-out, ticks beside clients that do not read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from agora.server.app import ServerContext, create_app
from agora.server.auth import AccessRules
from agora.server.serving import serve_app
from agora.server.stream import Stream
from agora.session.clock import monotonic_ns

Median = Callable[[Callable[[], float]], float]

STATE_REQUESTS = 2_000
FAN_OUT_CLIENTS = 100
FAN_OUT_S = 4.0
IDLE_CLIENTS = 300
DEAF_CLIENTS = 20
TICK_S = 0.1
TICKS_WATCHED_S = 8.0
START_TIMEOUT_S = 120


@contextlib.contextmanager
def _market(home: Path, *words: str) -> Iterator[str]:
    """The URL of a default market in a process of its own."""
    command = [sys.executable, "-m", "agora", "market", "--port", "0", *words]
    environment = {**os.environ, "AGORA_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    try:
        for said in process.stderr:
            if "API http" in said:
                break
        else:
            raise SystemExit(f"the market did not start: {said}")
        yield said.partition("API ")[2].split()[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=START_TIMEOUT_S)


def _start_s(home: Path) -> float:
    """From the start of the process, compiled code in the cache, to the first answer of `/health`."""
    start = time.perf_counter()
    with _market(home, "--ticks", "100000") as url:
        urllib.request.urlopen(f"{url}/health").read()  # noqa: S310 - our own server
        return time.perf_counter() - start


async def _state_ms(url: str) -> list[float]:
    """Milliseconds of each `GET /state`, one after the other on one connection, in order of length."""
    taken = []
    async with aiohttp.ClientSession() as client:
        for _ in range(STATE_REQUESTS):
            start = time.perf_counter()
            async with client.get(f"{url}/state") as answer:
                await answer.read()
            taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)


def _handshake(port: int) -> socket.socket:
    """An open WebSocket on a plain socket."""
    client = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(b"sixteen bytes ok").decode()
    client.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    return client


class _Board:
    """The port of a market as far as a stream reads it."""

    run_id, status, tick = "bench", "running", 1

    def prices(self) -> dict[str, float]:
        """Four assets."""
        return {"ARBO": 101.25, "BRIO": 50.5, "CALDO": 250.75, "DUNE": 20.0}

    def state(self) -> dict[str, Any]:
        """A small state."""
        return {"prices": self.prices()}

    def tell(self, stream: Stream) -> None:
        """Keep the stream."""
        self.stream = stream


async def _fan_out() -> float:
    """Messages per second that 100 clients in another process have read."""
    board: Any = _Board()
    context = ServerContext(access=AccessRules(token="-" * 43), market=board, monotonic_ns=monotonic_ns)
    async with serve_app(create_app(context)) as address:
        readers = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.server", str(address.port), stdout=subprocess.PIPE
        )
        while board.stream.clients < FAN_OUT_CLIENTS:  # noqa: ASYNC110 - the stream has no event for us
            await asyncio.sleep(0.01)
        start = time.perf_counter()
        while time.perf_counter() - start < FAN_OUT_S:
            board.stream.add_news({"text": "a headline of the usual length for a message of the usual size"})
            await asyncio.sleep(0)
        elapsed = time.perf_counter() - start
        assert board.stream.dropped == 0
    counted, _ = await readers.communicate()
    return int(counted) / elapsed


async def _read_all(port: int) -> int:
    """Messages that all clients got until the server ended."""

    async def count() -> int:
        reader, writer = await asyncio.open_connection(sock=_handshake(port))
        found = 0
        while piece := await reader.read(2**18):
            found += piece.count(b'"type":"news"')
        writer.close()
        return found

    return sum(await asyncio.gather(*(count() for _ in range(FAN_OUT_CLIENTS))))


def _tick_gaps_ms(home: Path, *, idle: int, deaf: int) -> list[float]:
    """Milliseconds between ticks as the journal has them, in order of length, beside that many clients."""
    with _market(home, "--tick", str(TICK_S)) as url:
        port = int(url.rpartition(":")[2])
        watcher = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", str(port), str(idle)], stdout=subprocess.PIPE
        )
        clients = [_handshake(port) for _ in range(deaf)]
        assert watcher.stdout is not None
        watcher.stdout.readline()
        start_ns = time.time_ns()
        time.sleep(TICKS_WATCHED_S)
        watcher.kill()
        watcher.communicate()
        for client in clients:
            client.close()
    lines = (home / "runs" / "latest" / "events.jsonl").read_bytes().splitlines()
    records = (json.loads(line) for line in lines if b'"kind":"tick"' in line)
    times_ns = [record["wall_ns"] for record in records]
    times_ns = [wall_ns for wall_ns in times_ns if start_ns <= wall_ns <= start_ns + TICKS_WATCHED_S * 1e9]
    return sorted((late - early) / 1e6 for early, late in itertools.pairwise(times_ns))


def _at(ordered: list[float], fraction: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(fraction * len(ordered)))], 2)


def server_figures(scratch: Path, median: Median) -> dict[str, Any]:
    """Figures of the API; a market is compiled before the first is taken."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4_096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with _market(scratch / "warm", "--ticks", "1"):
        pass
    with _market(scratch / "states", "--tick", "max") as url:
        states = asyncio.run(_state_ms(url))
    alone = _tick_gaps_ms(scratch / "alone", idle=0, deaf=0)
    beside = _tick_gaps_ms(scratch / "beside", idle=IDLE_CLIENTS, deaf=DEAF_CLIENTS)
    return {
        "health_after_start_s": round(median(lambda: _start_s(scratch / "start")), 2),
        "state_ms_p50_p99_market_at_full_speed": [_at(states, 0.5), _at(states, 0.99)],
        "fan_out_100_clients_messages_s": round(median(lambda: asyncio.run(_fan_out()))),
        "tick_100ms_gap_ms_p50_p99_alone": [_at(alone, 0.5), _at(alone, 0.99)],
        "tick_100ms_gap_ms_p50_p99_beside_300_idle_20_deaf": [_at(beside, 0.5), _at(beside, 0.99)],
    }


async def _idle(port: int, clients: int) -> None:
    """Clients that read and say nothing, until killed."""
    connections = [await asyncio.open_connection(sock=_handshake(port)) for _ in range(clients)]
    sys.stdout.write("connected\n")
    sys.stdout.flush()

    async def drain(reader: asyncio.StreamReader) -> None:
        while await reader.read(2**16):
            pass

    await asyncio.gather(*(drain(reader) for reader, _ in connections))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(_idle(int(sys.argv[1]), int(sys.argv[2])))
    else:
        sys.stdout.write(str(asyncio.run(_read_all(int(sys.argv[1])))))
