"""The bounded queue between a source of events and the run: market data may be dropped, orders and fills never."""

from __future__ import annotations

from collections import deque

from agora.domain.errors import Bug
from agora.domain.events import (
    Event,
    FeedGap,
    FeedOverflow,
    MarketDepth,
    MarketQuote,
    MarketTrade,
)

# Half a minute of a busy market (15 events/s); older quotes are worse than none.
MARKET_EVENTS_MAX = 500
# Orders and fills are never dropped; so many of them unread mean that nobody reads, which is a bug of ours.
OTHER_EVENTS_MAX = 100_000

# A newer snapshot replaces these. Closed candles, funding and everything about orders are facts, not snapshots.
_DROPPABLE = (MarketQuote, MarketTrade, MarketDepth)


class Inbox:
    """Events in order of arrival. When full of market data, the oldest of them is dropped and counted."""

    __slots__ = ("_dropped", "_events", "_gaps", "_market_events")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._market_events = 0
        self._dropped = 0
        self._gaps: list[str] = []

    def __len__(self) -> int:
        """Events waiting."""
        return len(self._events)

    def put(self, event: Event) -> None:
        """Add an event; raises `Bug` when more undroppable events wait than can be real."""
        if isinstance(event, _DROPPABLE):
            if self._market_events >= MARKET_EVENTS_MAX:
                self._drop_oldest()
            self._market_events += 1
        elif len(self._events) - self._market_events >= OTHER_EVENTS_MAX:
            raise Bug(f"{OTHER_EVENTS_MAX} orders and fills are waiting and nobody reads them")
        self._events.append(event)

    def take(self, now_ns: int) -> Event | None:
        """The next event; a drop is told first, and a lost depth update as a gap."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return FeedOverflow(ts_ns=now_ns, dropped=dropped)
        if self._gaps:
            return FeedGap(ts_ns=now_ns, instrument=self._gaps.pop(), reason="depth update dropped: queue full")
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, _DROPPABLE):
            self._market_events -= 1
        return event

    def _drop_oldest(self) -> None:
        for index, event in enumerate(self._events):
            if isinstance(event, _DROPPABLE):
                del self._events[index]
                break
        self._market_events -= 1
        self._dropped += 1
        if isinstance(event, MarketDepth) and event.instrument not in self._gaps:
            self._gaps.append(event.instrument)
