"""Feeds that misbehave as real ones do: they fall silent, break, or stall and then hand over everything at once."""

from __future__ import annotations

from collections.abc import Callable

from agora.domain.errors import Transient
from agora.domain.events import Event
from agora.engine.ports import Clock
from agora.venues.paper import Feed

NS_PER_S = 1_000_000_000


class Interrupted:
    """A feed that says nothing from one time to another (s after its first use); `fault` breaks it instead."""

    is_paced = True

    def __init__(self, feed: Feed, clock: Clock, *, from_s: float, until_s: float, fault: bool = False) -> None:
        self._feed = feed
        self._clock = clock
        self._from_ns = clock.now_ns() + int(from_s * NS_PER_S)
        self._until_ns = clock.now_ns() + int(until_s * NS_PER_S)
        self._fault = fault

    async def open(self) -> None:
        """As the feed."""
        await self._feed.open()

    async def close(self) -> None:
        """As the feed."""
        await self._feed.close()

    async def next(self, deadline_ns: int) -> Event | None:
        """As the feed, outside the interruption."""
        now_ns = self._clock.now_ns()
        if not self._from_ns <= now_ns < self._until_ns:
            return await self._feed.next(
                min(deadline_ns, max(self._from_ns, now_ns)) if now_ns < self._from_ns else deadline_ns
            )
        if self._fault:
            raise Transient("the socket was reset")
        await self._clock.sleep_until(min(deadline_ns, self._until_ns))
        return None


def interrupted(from_s: float, until_s: float, *, fault: bool = False) -> Callable[[Feed, Clock], Feed]:
    """For `Setup.change_feed`."""
    return lambda feed, clock: Interrupted(feed, clock, from_s=from_s, until_s=until_s, fault=fault)
