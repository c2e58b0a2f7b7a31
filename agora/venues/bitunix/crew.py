"""Background work of one venue: tasks with an owner, a bell to wake them, and reads that many callers share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class Bell:
    """Wakes one waiting task. A ring before the wait is not lost."""

    __slots__ = ("_is_rung", "_waiting")

    def __init__(self) -> None:
        self._is_rung = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Something happened."""
        self._is_rung = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, seconds: float | None) -> bool:
        """Until the next ring (True) or so many seconds have passed (False); None: for ever."""
        if not self._is_rung and (seconds is None or seconds > 0):
            loop = asyncio.get_running_loop()
            waiting = self._waiting = loop.create_future()
            timer = None if seconds is None else loop.call_later(seconds, _release, waiting)
            try:
                await waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        is_rung, self._is_rung = self._is_rung, False
        return is_rung


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Crew:
    """Owns tasks from their start to their end. A bug in one of them is told at once and stops none of the others.

    asyncio's own group would cancel the run that opened it; here the run must hear of the bug and end in order,
    with the tasks that cancel and flatten still at work.
    """

    def __init__(self) -> None:
        self.on_fault: Callable[[Exception], None] = _ignore
        self._group = asyncio.TaskGroup()
        self._stack = contextlib.AsyncExitStack()
        # In the order of their start: what is cancelled first must not depend on addresses in memory.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._is_open = False

    def __len__(self) -> int:
        """Tasks at work."""
        return len(self._tasks)

    async def open(self) -> None:
        """From now on work can begin. The task that opens is the one that closes."""
        await self._stack.enter_async_context(self._group)
        self._is_open = True

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Begin a piece of work in the background; after `close` nothing begins any more."""
        if not self._is_open:
            work.close()
            return
        task = self._group.create_task(self._watch(work), name=name)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        # Work that is cancelled before its first step was never looked at.
        task.add_done_callback(lambda _: work.close())

    async def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as fault:
            self.on_fault(fault)

    async def close(self) -> None:
        """Cancel everything and wait until it is gone."""
        self._is_open = False
        for task in list(self._tasks):
            task.cancel()
        await self._stack.aclose()


def _ignore(fault: Exception) -> None:
    del fault


class SharedRead:
    """A read that several ask for at one time and that is done once: each gets one that began after it asked.

    Two reads are at least `gap_s` apart: whoever asks meanwhile shares the next one.
    """

    def __init__(self, read: Callable[[], Awaitable[None]], *, gap_s: float = 0.0) -> None:
        self._read = read
        self._gap_s = gap_s
        self._is_due = asyncio.Event()
        self._is_due.set()
        self._lock = asyncio.Lock()
        self._asked = 0
        self._answered = 0

    async def __call__(self) -> None:
        """Return when a read that began after this call is done; raises what that read raises."""
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._answered >= mine:
                return
            await self._is_due.wait()
            covers = self._asked
            if self._gap_s:
                self._is_due.clear()
                asyncio.get_running_loop().call_later(self._gap_s, self._is_due.set)
            await self._read()
            self._answered = covers
