"""`agora testnet bitunix`: a venue on this machine, with its market and everything that can go wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from agora.cli.running import ConfigFile, Data, Set, load_settings
from agora.cli.shared import use_cache

Port = Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of REST and sockets (0: a free one).")]
ControlPort = Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of the control calls (0: a free one).")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of prices, flow and keys.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Contract to list; repeatable.")]
Speed = Annotated[float | None, typer.Option(help="Venue time runs so many times as fast.")]
Faults = Annotated[Path | None, typer.Option(help="Fault plan (JSON list).")]
Idle = Annotated[
    float | None, typer.Option("--idle-minutes", help="End after so many minutes without anybody (0: never).")
]


def register(testnet_app: typer.Typer) -> None:
    """Add the commands."""
    testnet_app.command("bitunix", epilog="Example: agora testnet bitunix --seed 7 --speed 10")(bitunix)


def bitunix(
    *,
    port: Port = None,
    control_port: ControlPort = None,
    seed: Seed = None,
    symbol: Symbols = None,
    data: Data = None,
    speed: Speed = None,
    faults: Faults = None,
    idle_minutes: Idle = None,
    config: ConfigFile = None,
    set_: Set = None,
) -> None:
    """Bitunix on the loopback: its REST and sockets over a market of our own, and faults on demand.

    The first line on standard output says in JSON where it is and which funded accounts it has.
    """
    use_cache()
    flags = {
        "testnet.port": port,
        "testnet.control_port": control_port,
        "testnet.seed": seed,
        "testnet.symbols": [name.upper() for name in symbol] if symbol else None,
        "testnet.data": data or None,
        "testnet.speed": speed,
        "testnet.idle_minutes": idle_minutes,
    }
    settings = load_settings(flags, set_ or [], file=config, profile=None)["testnet"]
    # What is imported from here on takes a second: a mistake in the settings is told before that.
    from agora import launch
    from agora.domain.errors import UsageFault
    from agora.exchange.warming import warm_up_perpetuals
    from agora.session.clock import PacedClock, monotonic_ns
    from agora.testnet.bitunix import bitunix_testnet, run_bitunix_testnet
    from agora.testnet.faults import PlanRefused

    with launch.compiling("matching", seconds="twenty", is_quiet=False):
        warm_up_perpetuals()
    try:
        plan = faults.read_bytes() if faults is not None else b"[]"
        running = bitunix_testnet(settings, clock=PacedClock(), monotonic_ns=monotonic_ns, faults=plan)
        asyncio.run(_until_told(run_bitunix_testnet(running, _announce)))
    except (PlanRefused, OSError) as fault:
        raise UsageFault(str(fault)) from None


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _until_told(venue: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, or until SIGINT or SIGTERM."""
    task = asyncio.current_task()
    assert task is not None, "this runs as a task"
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await venue
