"""A run that nobody steers and that no breaker ends early: what is measured is the work, not the result."""

from __future__ import annotations

from agora.domain.events import Heartbeat, OperatorCommand
from agora.session.runner import Runner

NEVER_POLL_NS = 2**61
OPEN_LIMITS = [
    "risk.loss_fraction_max_ppm=1000000",
    "risk.daily_drawdown_max_ppm=1000000",
    "risk.losing_streak_max=0",
]


class Silent:
    """Controls and keeper (ports of the runner) that say and keep nothing."""

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """No command."""
        del now_ns

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """No heartbeat."""
        del now_ns, queue_depth

    async def keep_if_due(self, runner: Runner) -> None:
        """No checkpoint."""
        del runner
