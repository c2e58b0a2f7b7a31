"""Keeps checkpoints: a cache of the state, so that a restart of a long run is quick. Never a source of truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from agora.domain.errors import JournalFault
from agora.domain.events import Checkpoint
from agora.domain.numbers import NS_PER_S
from agora.engine.state import Snapshot, state_hash
from agora.journal import checkpoint
from agora.journal.disk import Disk
from agora.session.runner import Runner

# A minute of records replays in about a second, so a checkpoint a minute keeps every restart quick.
CHECKPOINT_EVERY_NS = 60 * NS_PER_S


class Remembering(Protocol):
    """A venue machine that can be saved."""

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered."""
        ...


class Saved(msgspec.Struct):
    """What a checkpoint file holds: the desk and the paper machine."""

    desk: Snapshot
    machine: dict[str, Any]


class CheckpointKeeper:
    """Writes a checkpoint when a minute of real time has passed and nothing of ours is half done."""

    def __init__(
        self,
        disk: Disk,
        machine: Remembering,
        *,
        monotonic_ns: Callable[[], int],
        off_loop: Callable[..., Awaitable[None]] = asyncio.to_thread,
        every_ns: int = CHECKPOINT_EVERY_NS,
    ) -> None:
        self._disk = disk
        self._machine = machine
        self._monotonic_ns = monotonic_ns
        self._off_loop = off_loop
        self._every_ns = every_ns
        self._next_ns = monotonic_ns() + every_ns

    async def keep_if_due(self, runner: Runner) -> None:
        """Called between turns."""
        if self._monotonic_ns() < self._next_ns:
            return
        self._next_ns = self._monotonic_ns() + self._every_ns
        await self.keep(runner)

    async def keep(self, runner: Runner) -> None:
        """Record the state's hash, make the journal durable up to there, write the file off the loop."""
        log: Any = runner.journal
        snapshot = runner.desk.snapshot()
        digest = state_hash(snapshot)
        log.append(Checkpoint(ts_ns=runner.desk.state.now_ns, state_hash=digest))
        saved = Saved(snapshot, self._machine.snapshot())
        file = checkpoint.StateCheckpoint(
            seq=log.seq,
            head_hash=log.head_hash,
            market_head_hash=log.market_head_hash,
            state_hash=digest,
            state=msgspec.Raw(msgspec.json.encode(saved)),
        )
        try:
            await log.commit()
            await self._off_loop(checkpoint.write, self._disk, file)
        except JournalFault:
            return  # A cache that cannot be written costs time at the next start; the journal's own fault ends the run.
