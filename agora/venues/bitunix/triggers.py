"""Triggers at the venue, read for all stops together, and whose each of them is."""

from __future__ import annotations

from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.crew import SharedRead
from agora.venues.bitunix.line import Line
from agora.venues.bitunix.wire import TpslRow

# Triggers whose owner is remembered: those of a day of trading.
CLAIMED_KEPT = 5_000
# Stops are in no hurry: the venue carries them out by itself.
TRIGGERS_GAP_S = 0.75


class Triggers:
    """`waiting` and `over` are as of the newest `read_waiting` and `read_over`."""

    def __init__(self, line: Line) -> None:
        self.read_waiting = SharedRead(self._read_waiting, gap_s=TRIGGERS_GAP_S)
        self.read_over = SharedRead(self._read_over, gap_s=TRIGGERS_GAP_S)
        self.waiting: list[TpslRow] = []
        self.over: list[TpslRow] = []
        # Stops at work and when each was planned: no trigger of theirs is older.
        self.stops: dict[str, int] = {}
        self._line = line
        self._owners: dict[str, str] = {}
        self._spent: dict[str, None] = {}

    def owner(self, tpsl_id: str) -> str:
        """The client id of the stop that a trigger belongs to; empty: nobody's yet."""
        return self._owners.get(tpsl_id, "")

    def claim(self, tpsl_id: str, client_id: str) -> None:
        """A trigger belongs to that stop."""
        self._owners[tpsl_id] = client_id
        if len(self._owners) > CLAIMED_KEPT:
            del self._owners[next(iter(self._owners))]

    def is_spent(self, tpsl_id: str) -> bool:
        """Whether the order that a fired trigger has made is known."""
        return tpsl_id in self._spent

    def spend(self, tpsl_id: str) -> None:
        """The order of that trigger is known."""
        self._spent[tpsl_id] = None
        if len(self._spent) > CLAIMED_KEPT:
            del self._spent[next(iter(self._spent))]

    async def _read_waiting(self) -> None:
        self.waiting = list(await self._line.ask(self._line.client.tpsl_pending()))

    async def _read_over(self) -> None:
        """The venue lists triggers by when they were made."""
        since_ns = min(self.stops.values(), default=self._line.now_ns)
        start_ms = self._line.venue_ms(since_ns - int(self._line.settings.retold_s * NS_PER_S))
        self.over = list(await self._line.ask(self._line.client.tpsl_history(start_ms=start_ms)))
