"""The only place that reads a clock. Everything else is told the time."""

from __future__ import annotations

import asyncio
import time

from agora.domain.numbers import NS_PER_S


class PacedClock:
    """Time that runs: at `factor` 1 from the present it is the system clock, else it plays a recording's time.

    Anchored once, then driven by the monotonic clock, so that a step of the machine's clock moves nothing.
    """

    def __init__(self, start_ns: int | None = None, factor: float = 1.0) -> None:
        self._start_ns = time.time_ns() if start_ns is None else start_ns
        self._factor = factor
        self._anchor_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """The run's time."""
        return self._start_ns + int((time.monotonic_ns() - self._anchor_ns) * self._factor)

    def wall_ns(self) -> int:
        """Unix time, for the record only."""
        return time.time_ns()

    def advance(self, ts_ns: int) -> None:
        """Real time needs no telling."""

    async def sleep_until(self, ts_ns: int) -> None:
        """Return when the run's time has come."""
        while (left_ns := ts_ns - self.now_ns()) > 0:  # noqa: ASYNC110  time itself is what is waited for
            await asyncio.sleep(left_ns / self._factor / NS_PER_S)


class ManualClock:
    """Time that the data tell: it jumps, never waits."""

    def __init__(self, start_ns: int) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The time of the newest event."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Unix time, for the record only."""
        return time.time_ns()

    def advance(self, ts_ns: int) -> None:
        """It is at least that late now."""
        self._now_ns = max(self._now_ns, ts_ns)

    async def sleep_until(self, ts_ns: int) -> None:
        """Jump there."""
        self.advance(ts_ns)


def monotonic_ns() -> int:
    """Monotonic time of the machine, for measuring ourselves (loop lag, benchmarks); no decision reads it."""
    return time.monotonic_ns()


def utc_text(wall_ns: int, pattern: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """UTC text of a Unix time."""
    return time.strftime(pattern, time.gmtime(wall_ns // NS_PER_S))
