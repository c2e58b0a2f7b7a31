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
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from agora import assembly, launch
from agora.config import load_config
from agora.domain.events import Event, MarketCandle
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
FLOOD_S = 20
FLOOD_PER_S = 2_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
NEVER_NS = 2**61


class Pulse:
    """An order far from the market at each bar, and the cancel of the one before."""

    name = "pulse"

    def decide(self, view: View, event: Event) -> Proposal | None:
        """One of each."""
        if not isinstance(event, MarketCandle) or event.is_history:
            return None
        symbol = event.instrument
        lots = 10 * view.instrument(symbol).lots_min
        place = Place(instrument=symbol, side=Side.BUY, size_lots=lots, price_ticks=event.close_ticks * 99 // 100)
        cancels = [Cancel(client_id=order.client_id) for order in view.open_orders(symbol)]
        intents: tuple[Intent, ...] = (place, *cancels)
        return Proposal(action="pulse", reason="pulse", intents=intents)

    def snapshot(self) -> dict[str, Any]:
        """It remembers nothing."""
        return {}

    def restore(self, memory: dict[str, Any]) -> None:
        """Nothing to restore."""


@contextmanager
def testnet(*flags: str) -> Iterator[dict[str, Any]]:
    """A testnet process; its announce line."""
    command = [sys.executable, "-m", "agora", "testnet", "bitunix", "--port", "0", "--symbol", SYMBOLS[0]]
    command += ["--symbol", SYMBOLS[1], *flags]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())
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


async def run_live(folder: Path, access: Access, *, seconds: float) -> Runner:
    """A live run of `Pulse` with a real journal, to its end."""
    pairs = [*OPEN_LIMITS, f"run.duration_minutes={seconds / 60}", "run.venue=testnet", "run.mode=live"]
    pairs += [f"run.symbol={','.join(SYMBOLS)}", "run.interval=1s", "risk.orders_per_minute_max=600"]
    config = load_config({}, {}, pairs)
    parts = assembly.build_parts(config, "bench000", await assembly.look(config, access))
    rules = msgspec.structs.replace(parts.desk.rules, traders=(Pulse(),), trader_intervals_s=(), weights_ppm=())
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
    """From the record of the event that decided to the order's bytes at the venue; disk sync included."""
    with testnet() as said:
        folder = scratch / "latency"
        folder.mkdir()
        asyncio.run(run_live(folder, access_of(said), seconds=LATENCY_S))
        # An address that a process of our own has announced.
        with urllib.request.urlopen(f"{said['control']}/ledger", timeout=10) as answer:  # noqa: S310
            ledger = json.load(answer)
    received = {note["client_id"]: note for note in ledger["orders"] if note["call"] == "place_order"}
    decided_ns: dict[str, int] = {}
    event_ns = 0
    for record in read_records(Disk(folder)):
        kind = type(record.event).__name__
        if kind == "OrderIntent":
            decided_ns[record.event.client_id] = event_ns  # type: ignore[union-attr]
        elif kind not in ("Decision", "OrderCancelIntent", "OrderSent"):
            event_ns = record.wall_ns
    times_ms = [(note["ts_ns"] - decided_ns[name]) / 1e6 for name, note in received.items() if name in decided_ns]
    return {"event_to_order_at_the_venue_ms": _percentiles(times_ms)}


async def _flood(request: web.Request) -> web.StreamResponse:
    """A market that changes so many times a second, for every symbol in turn."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str('{"op":"connect","data":{"result":true}}')
    await socket.receive()
    middles = {"BTCUSDT": (600_000, 1, 4), "ETHUSDT": (250_000, 2, 3)}
    start_s, sent = time.perf_counter(), 0
    while time.perf_counter() - start_s < FLOOD_S + 30:
        due = int((time.perf_counter() - start_s) * FLOOD_PER_S)
        while sent < due:
            symbol = SYMBOLS[sent % 2]
            middle, decimals, lot_decimals = middles[symbol]
            if socket.closed or request.transport is None or request.transport.is_closing():
                return socket
            await socket.send_str(_frame(symbol, middle + sent // 2 % 100, decimals, lot_decimals, sent))
            sent += 1
        await asyncio.sleep(0.001)
    return socket


def _frame(symbol: str, middle: int, decimals: int, lot_decimals: int, number: int) -> str:
    scale, lot = 10**decimals, 10**lot_decimals

    def side(sign: int) -> list[list[str]]:
        prices = [(middle + sign * (level + 1)) / scale for level in range(15)]
        sizes = [(number % 97 + level + 1) / lot for level in range(15)]
        return [[f"{p:.{decimals}f}", f"{q:.{lot_decimals}f}"] for p, q in zip(prices, sizes, strict=True)]

    sides = {"b": side(-1), "a": side(1)}
    frame = {"ch": "depth_book15", "symbol": symbol, "ts": time.time_ns() // 1_000_000, "data": sides}
    return msgspec.json.encode(frame).decode()


def serve_flood() -> None:
    """The flooding process: says its address, then serves until it is ended."""

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/public/", _flood)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"ws://127.0.0.1:{runner.addresses[0][1]}/public/\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(main())


def flood_figures(scratch: Path) -> dict[str, Any]:
    """CPU of a live run under a flood of whole windows of the book, and what waited or was dropped."""
    command = [sys.executable, "-c", "from benchmarks.live import serve_flood; serve_flood()"]
    flood = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert flood.stdout is not None
        public_ws = flood.stdout.readline().decode().strip()
        with testnet() as said:
            cpu_s, took_s = time.process_time(), time.perf_counter()
            folder = scratch / "flood"
            folder.mkdir()
            runner = asyncio.run(run_live(folder, access_of(said, public_ws=public_ws), seconds=FLOOD_S))
            cpu_s, took_s = time.process_time() - cpu_s, time.perf_counter() - took_s
    finally:
        flood.terminate()
        flood.wait(timeout=10)
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
