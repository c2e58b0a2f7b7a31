"""A live run against the loopback Bitunix: from an event to its order's bytes at the venue, and a flood of prices."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from agora import assembly, launch
from agora.config import load_config
from agora.domain.events import Decision, Event, MarketDepth, OrderCancelIntent, OrderIntent, OrderSent
from agora.domain.intents import Cancel, Intent, Place, Proposal
from agora.domain.orders import Side
from agora.engine.desk import Desk
from agora.engine.ports import View
from agora.engine.state import State
from agora.journal.disk import Disk
from agora.journal.reader import read_records
from agora.session import lifetime
from agora.session.access import Access
from agora.session.credentials import Secret
from agora.session.runner import POLL_NS, Runner
from benchmarks.silent import OPEN_LIMITS, Silent

LATENCY_S = 60
# Between two orders: with their cancels and what is read of them that is about what the venue allows an account.
PULSE_NS = 500_000_000
NEVER_NS = 2**62
# Market messages a second while latency is measured: several symbols at a busy hour.
PULSE_PER_S = 200
FLOOD_S = 20
FLOOD_PER_S = 2_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
# Middle in ticks, decimals of a price, decimals of a size.
MIDDLES = {"BTCUSDT": (600_000, 1, 4), "ETHUSDT": (250_000, 2, 3)}
SENT: web.AppKey[list[tuple[int, int, int]]] = web.AppKey("sent")


class Pulse:
    """An order far from the market on the first frame after each pause, and the cancel of the one before."""

    name = "pulse"
    hears = (MarketDepth,)

    def __init__(self, pause_ns: int) -> None:
        self._pause_ns = pause_ns
        self._acted_ns = 0

    def decide(self, view: View, event: Event) -> Proposal | None:
        """One of each."""
        if not isinstance(event, MarketDepth) or event.ts_ns - self._acted_ns < self._pause_ns:
            return None
        self._acted_ns = event.ts_ns
        symbol = event.instrument
        lots = 10 * view.instrument(symbol).lots_min
        price_ticks = event.levels[0][1] * 99 // 100
        place = Place(instrument=symbol, side=Side.BUY, size_lots=lots, price_ticks=price_ticks)
        cancels = [Cancel(client_id=order.client_id) for order in view.open_orders(symbol)]
        intents: tuple[Intent, ...] = (place, *cancels)
        return Proposal(action="pulse", reason="pulse", intents=intents)

    def snapshot(self) -> dict[str, Any]:
        """When it acted last."""
        return {"acted_ns": self._acted_ns}

    def restore(self, memory: dict[str, Any]) -> None:
        """Go on from there."""
        self._acted_ns = int(memory["acted_ns"])


@contextmanager
def testnet(*flags: str) -> Iterator[dict[str, Any]]:
    """A testnet process; its announce line."""
    command = [sys.executable, "-m", "agora", "testnet", "bitunix", "--port", "0", "--symbol", SYMBOLS[0]]
    command += ["--symbol", SYMBOLS[1], *flags]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        assert child.stdout is not None
        said = json.loads(child.stdout.readline())
        # Its own price stands where that of the markets is.
        for symbol, (middle, decimals, _) in MIDDLES.items():
            _fetched(f"{said['control']}/price", {"symbol": symbol, "price": middle / 10**decimals, "freeze": True})
        yield said
    finally:
        child.terminate()
        child.wait(timeout=10)


def access_of(said: dict[str, Any], *, public_ws: str = "") -> Access:
    """Its addresses and its first account."""
    account = said["accounts"][0]
    return Access(
        rest_url=said["urls"]["rest"],
        public_ws=public_ws or said["urls"]["public_ws"],
        private_ws=said["urls"]["private_ws"],
        api_key=Secret(account["api_key"]),
        api_secret=Secret(account["api_secret"]),
    )


async def run_live(folder: Path, access: Access, *, seconds: float, pause_ns: int) -> Runner:
    """A live run of `Pulse` with a real journal, to its end."""
    pairs = [*OPEN_LIMITS, f"run.duration_minutes={seconds / 60}", "run.venue=testnet", "run.mode=live"]
    pairs += [f"run.symbol={','.join(SYMBOLS)}", "run.interval=1s", "risk.orders_per_minute_max=600"]
    config = load_config({}, {}, pairs)
    parts = assembly.build_parts(config, "bench000", await assembly.look(config, access))
    rules = msgspec.structs.replace(parts.desk.rules, traders=(Pulse(pause_ns),), trader_intervals_s=(), weights_ppm=())
    parts.desk = Desk(State(), rules)
    opened = launch.open_new(parts, launch.Ground(folder=folder, disk=Disk(folder)), config)
    runner = Runner(parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
    silent = Silent()
    await lifetime.live(
        lifetime.Cast(runner=runner, controls=silent, keeper=silent, first=opened.first, restored=None, poll_ns=POLL_NS)
    )
    return runner


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3),
        "samples": len(ordered),
    }


def latency_figures(scratch: Path) -> dict[str, Any]:
    """From the bytes of the price that decided to the bytes of its order at the venue; both syncs of the disk included.

    Both times are those of the venue's side: decoding, the queues, the step, the record and the request lie between.
    """
    with markets() as host, testnet() as said:
        folder = scratch / "latency"
        folder.mkdir()
        access = access_of(said, public_ws=f"ws://{host}/pulse/")
        asyncio.run(run_live(folder, access, seconds=LATENCY_S, pause_ns=PULSE_NS))
        sent, ledger = _fetched(f"http://{host}/sent"), _fetched(f"{said['control']}/ledger")
    sent_ns = {(SYMBOLS[which], middle - 1, ts_ns // 10**9): ts_ns for which, middle, ts_ns in sent}
    received_ns = {note["client_id"]: note["ts_ns"] for note in ledger["orders"] if note["call"] == "place_order"}
    parts: dict[str, list[float]] = {"price_to_intent": [], "intent_to_durable": [], "durable_to_venue": [], "all": []}
    event: Event | None = None
    begun: dict[str, tuple[int, int]] = {}
    for record in read_records(Disk(folder)):
        if isinstance(record.event, OrderIntent) and isinstance(event, MarketDepth):
            key = (event.instrument, event.levels[0][1], event.ts_ns // 10**9)
            if key in sent_ns and record.event.client_id in received_ns:
                begun[record.event.client_id] = (sent_ns[key], record.wall_ns)
        elif isinstance(record.event, OrderSent) and record.event.client_id in begun:
            client_id = record.event.client_id
            times = (*begun[client_id], record.wall_ns, received_ns[client_id])
            for name, (early, late) in zip(parts, (*pairwise(times), (times[0], times[-1])), strict=True):
                parts[name].append((late - early) / 1e6)
        elif not isinstance(record.event, Decision | OrderIntent | OrderCancelIntent):
            event = record.event
    return {f"order_{name}_ms": _percentiles(values) for name, values in parts.items()}


def _fetched(url: str, wish: dict[str, Any] | None = None) -> Any:
    # An address that a process of our own has announced.
    body = None if wish is None else json.dumps(wish).encode()
    with urllib.request.urlopen(url, data=body, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


async def _market(request: web.Request, dues: Iterator[tuple[float, int]]) -> web.StreamResponse:
    """Whole windows of the book on a socket: each (seconds since the epoch, symbol number) when it is due."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str('{"op":"connect","data":{"result":true}}')
    await socket.receive()
    for number, (due_s, which) in enumerate(dues):
        if (left_s := due_s - time.time()) > 0:
            await asyncio.sleep(left_s)
        if socket.closed or request.transport is None or request.transport.is_closing():
            break
        middle, decimals, lot_decimals = MIDDLES[SYMBOLS[which]]
        middle += number % 1_000
        frame = _frame(SYMBOLS[which], middle, decimals, lot_decimals, number)
        request.app[SENT].append((which, middle, time.time_ns()))
        await socket.send_str(frame)
    return socket


def _pulse() -> Iterator[tuple[float, int]]:
    """A busy market, for every symbol in turn."""
    return _paced(PULSE_PER_S)


def _flood() -> Iterator[tuple[float, int]]:
    """More than any market."""
    return _paced(FLOOD_PER_S)


def _paced(per_s: int) -> Iterator[tuple[float, int]]:
    start_s = time.time()
    for number in range((LATENCY_S + FLOOD_S + 60) * per_s):
        yield start_s + number / per_s, number % 2


def _frame(symbol: str, middle: int, decimals: int, lot_decimals: int, number: int) -> str:
    scale, lot = 10**decimals, 10**lot_decimals

    def side(sign: int) -> list[list[str]]:
        prices = [(middle + sign * (level + 1)) / scale for level in range(15)]
        sizes = [(number % 97 + level + 1) / lot for level in range(15)]
        return [[f"{p:.{decimals}f}", f"{q:.{lot_decimals}f}"] for p, q in zip(prices, sizes, strict=True)]

    sides = {"b": side(-1), "a": side(1)}
    frame = {"ch": "depth_book15", "symbol": symbol, "ts": time.time_ns() // 1_000_000, "data": sides}
    return msgspec.json.encode(frame).decode()


def serve_markets() -> None:
    """The process that sends prices: says its address, then serves until it is ended."""

    async def main() -> None:
        app = web.Application()
        app[SENT] = []
        app.router.add_get("/flood/", lambda request: _market(request, _flood()))
        app.router.add_get("/pulse/", lambda request: _market(request, _pulse()))
        app.router.add_get("/sent", lambda request: _json(request.app[SENT]))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(main())


async def _json(rows: object) -> web.Response:
    return web.json_response(rows)


@contextmanager
def markets() -> Iterator[str]:
    """The process that sends prices; its host and port."""
    command = [sys.executable, "-c", "from benchmarks.live import serve_markets; serve_markets()"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield child.stdout.readline().decode().strip()
    finally:
        child.terminate()
        child.wait(timeout=10)


def flood_figures(scratch: Path) -> dict[str, Any]:
    """CPU of a live run under a flood of whole windows of the book, and what waited or was dropped."""
    with markets() as host, testnet() as said:
        cpu_s, took_s = time.process_time(), time.perf_counter()
        folder = scratch / "flood"
        folder.mkdir()
        access = access_of(said, public_ws=f"ws://{host}/flood/")
        runner = asyncio.run(run_live(folder, access, seconds=FLOOD_S, pause_ns=NEVER_NS))
        cpu_s, took_s = time.process_time() - cpu_s, time.perf_counter() - took_s
    counters = runner.desk.state.counters
    return {
        "flood_messages_per_s": FLOOD_PER_S,
        "flood_market_events_per_s": round(counters.market_events / took_s),
        "flood_core_fraction": round(cpu_s / took_s, 3),
        "flood_overflow_dropped": counters.overflow_dropped,
        "flood_waiting_at_the_end": getattr(runner.venue, "queue_depth", 0),
    }


def live_figures(scratch: Path) -> dict[str, Any]:
    """All of it."""
    return {**latency_figures(scratch), **flood_figures(scratch)}


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        sys.stdout.write(json.dumps(live_figures(Path(name)), indent=2) + "\n")
