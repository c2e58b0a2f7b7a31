"""The market data of a paper run: a feed and the client below it, which belongs to nobody else."""

from __future__ import annotations

from agora.domain.events import Event
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.feed import BitunixFeed


class LoneFeed:
    """A feed that lets go of its client (port `Feed`)."""

    is_paced = True

    def __init__(self, feed: BitunixFeed, client: BitunixClient) -> None:
        self._feed = feed
        self._client = client

    async def open(self) -> None:
        """Connect."""
        await self._feed.open()

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event, or None at the deadline."""
        return await self._feed.next(deadline_ns)

    def resync(self, since_ns: int) -> None:
        """Hand over the bars since then as after a lost connection."""
        self._feed.resync(since_ns)

    async def close(self) -> None:
        """Let go of socket and client."""
        await self._feed.close()
        await self._client.close()
