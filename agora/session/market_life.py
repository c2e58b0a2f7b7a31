"""The life of a market run on the event loop: signals, the loop with what runs beside it, the orderly close."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from agora.domain.events import RunResumed, RunStarted
from agora.session.controls import ProcessControls
from agora.session.lifetime import probe_lag
from agora.session.market_loop import MarketLoop


class MarketCast(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part in a market run. `closing` is done at the end, in order, whatever happened."""

    loop: MarketLoop
    controls: ProcessControls
    first: RunStarted | RunResumed
    beside: AbstractAsyncContextManager[object]
    closing: tuple[Callable[[], Awaitable[None] | None], ...]


async def live_market(cast: MarketCast, *, monotonic_ns: Callable[[], int]) -> None:
    """From the first record to the last."""
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, cast.controls.on_signal, number)
    # Modules and compiled code are some 200,000 objects that stay: looking through them for garbage would hold a tick
    # up by 100 ms now and then.
    gc.freeze()
    try:
        async with cast.beside, asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(probe_lag(monotonic_ns, cast.controls.measure_lag))
            await cast.loop.run(cast.first, cast.controls)
            probe.cancel()
    finally:
        gc.unfreeze()
        for close in cast.closing:
            await wait_for(close)


async def wait_for(work: Callable[[], Awaitable[None] | None]) -> None:
    """Begin something on the running loop and wait for it, if there is anything to wait for."""
    begun = work()
    if begun is not None:
        await begun
