"""Time at the loopback Bitunix: that of the clock it was given, faster or slower by a factor that may change."""

from __future__ import annotations

from agora.domain.numbers import NS_PER_MS
from agora.engine.ports import Clock

# A sleeper looks again so often whether time has got another pace meanwhile.
PIECE_NS = 250 * NS_PER_MS


class VenueClock:
    """The port `Clock` over another clock. It never runs backwards, whatever the factor becomes."""

    def __init__(self, base: Clock, factor: float = 1.0) -> None:
        self._base = base
        self._anchor_ns = self._start_ns = base.now_ns()
        self._factor = factor

    @property
    def factor(self) -> float:
        """How many times as fast it runs."""
        return self._factor

    def set_factor(self, factor: float) -> None:
        """Go on from now at another pace."""
        self._start_ns, self._anchor_ns = self.now_ns(), self._base.now_ns()
        self._factor = factor

    def now_ns(self) -> int:
        """The venue's time."""
        elapsed_ns = self._base.now_ns() - self._anchor_ns
        return self._start_ns + (elapsed_ns if self._factor == 1 else int(elapsed_ns * self._factor))

    def wall_ns(self) -> int:
        """Unix time, for the record only."""
        return self._base.wall_ns()

    def advance(self, ts_ns: int) -> None:
        """Time needs no telling here."""

    async def sleep_until(self, ts_ns: int) -> None:
        """Return when the venue's time has come."""
        while (left_ns := ts_ns - self.now_ns()) > 0:
            wait_ns = min(int(left_ns / self._factor) + 1, PIECE_NS)
            await self._base.sleep_until(self._base.now_ns() + wait_ns)
