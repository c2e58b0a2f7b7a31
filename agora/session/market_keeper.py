"""Keeps checkpoints of a market: a cache, so that a restart of a long run is quick. Never a source of truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from agora.domain.errors import JournalFault
from agora.domain.events import Checkpoint
from agora.domain.numbers import NS_PER_S
from agora.journal import checkpoint
from agora.journal.disk import Disk
from agora.journal.log import Log
from agora.session.market_loop import MarketLoop

# A minute of a market at full speed replays in a minute at most; a checkpoint takes some 50 ms.
CHECKPOINT_EVERY_NS = 60 * NS_PER_S


class MarketKeeper:
    """Writes a checkpoint after a tick when a minute of real time has passed."""

    def __init__(
        self,
        disk: Disk,
        log: Log,
        *,
        monotonic_ns: Callable[[], int],
        off_loop: Callable[..., Awaitable[None]] = asyncio.to_thread,
        every_ns: int = CHECKPOINT_EVERY_NS,
    ) -> None:
        self._disk = disk
        self._log = log
        self._monotonic_ns = monotonic_ns
        self._off_loop = off_loop
        self._every_ns = every_ns
        self._next_ns = monotonic_ns() + every_ns

    async def keep_if_due(self, loop: MarketLoop) -> None:
        """Called after each tick; raises `JournalFault` when the journal has failed: nothing goes on unrecorded."""
        if self._log.failure is not None:
            await self._log.commit()
        if self._monotonic_ns() < self._next_ns:
            return
        self._next_ns = self._monotonic_ns() + self._every_ns
        await self.keep(loop)

    async def keep(self, loop: MarketLoop) -> None:
        """Record the state's hash, make the journal durable up to there, write the file off the loop."""
        log, market = self._log, loop.market
        snapshot = market.snapshot()
        digest = market.state_hash()
        log.append(Checkpoint(ts_ns=market.state.now_ns, state_hash=digest))
        file = checkpoint.StateCheckpoint(
            seq=log.seq,
            head_hash=log.head_hash,
            market_head_hash=log.market_head_hash,
            state_hash=digest,
            state=msgspec.Raw(snapshot),
        )
        try:
            await log.commit()
            await self._off_loop(checkpoint.write, self._disk, file)
        except JournalFault:
            return  # A cache that cannot be written costs time at the next start; the journal's own fault ends the run.
