"""An asyncio loop without waiting: time is a number that jumps to the next timer, and order is the seed's.

Whatever is ready at one instant runs in a shuffled order, so that a test which passes for many seeds does not
lean on the order in which asyncio happens to wake tasks. Threads and sockets do not exist here.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")

_NS = 1_000_000_000


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: what is awaited can never happen."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Runs what is ready, then jumps to the next timer. `start_ns` is the clock's time at loop time 0."""

    def __init__(self, *, seed: int, start_ns: int = 0) -> None:
        super().__init__()
        self.start_ns = start_ns
        self._elapsed_ns = 0
        self._draw = random.Random(seed)
        self._clock_resolution = 1 / _NS

    def time(self) -> float:
        """Virtual seconds since the loop began."""
        return self._elapsed_ns / _NS

    def now_ns(self) -> int:
        """Virtual time in ns, beginning with `start_ns`."""
        return self.start_ns + self._elapsed_ns

    async def wait_until(self, ts_ns: int) -> None:
        """Return when `now_ns()` has reached `ts_ns`."""
        while self.now_ns() < ts_ns:
            reached = self.create_future()
            timer = self.call_at((ts_ns - self.start_ns) / _NS, _reach, reached)
            try:
                await reached
            finally:
                timer.cancel()

    async def let_pass(self, seconds: float) -> None:
        """Return when so much virtual time has passed."""
        await self.wait_until(self.now_ns() + round(seconds * _NS))

    def run_in_executor(self, executor: object, func: object, *args: object) -> NoReturn:  # noqa: ARG002
        """Refused: a thread runs in real time."""
        raise RuntimeError("no threads in virtual time: do the work inline or await a virtual delay")

    def _write_to_self(self) -> NoReturn:
        raise RuntimeError("no threads in virtual time: nobody may wake this loop from outside")

    def _run_once(self) -> None:
        self._forget_cancelled()
        if not self._ready:
            self._jump()
        self._collect_due()
        batch = list(self._ready)
        self._ready.clear()
        self._draw.shuffle(batch)
        for handle in batch:
            if not handle._cancelled:
                handle._run()

    def _forget_cancelled(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False

    def _jump(self) -> None:
        if not self._scheduled:
            raise Deadlock("nothing is ready and no timer is set")
        self._elapsed_ns = max(self._elapsed_ns, round(self._scheduled[0]._when * _NS))

    def _collect_due(self) -> None:
        now_s = self.time() + self._clock_resolution
        while self._scheduled and self._scheduled[0]._when < now_s:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(handle)


def _reach(reached: asyncio.Future[None]) -> None:
    if not reached.done():  # cancelled at the very moment it waited for
        reached.set_result(None)


class VirtualClock:
    """The port `Clock` on a virtual loop (by default the running one); both its times are the same."""

    def __init__(self, loop: VirtualTimeLoop | None = None) -> None:
        running = loop or asyncio.get_running_loop()
        assert isinstance(running, VirtualTimeLoop)
        self._loop = running

    def now_ns(self) -> int:
        """The run's time: the loop's."""
        return self._loop.now_ns()

    def wall_ns(self) -> int:
        """The machine's time: the same."""
        return self._loop.now_ns()

    def advance(self, ts_ns: int) -> None:
        """Ignored, as by a system clock: only waiting moves this time."""

    async def sleep_until(self, ts_ns: int) -> None:
        """Return when `now_ns()` has reached `ts_ns`."""
        await self._loop.wait_until(ts_ns)


def run_virtual(main: Coroutine[Any, Any, Result], *, seed: int, start_ns: int = 0) -> Result:
    """Run a coroutine to its end in virtual time; `Deadlock` when it can have none."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(seed=seed, start_ns=start_ns)) as runner:
        return runner.run(main)
