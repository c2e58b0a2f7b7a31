"""A market run in virtual time on a disk that crashes, started and resumed by the program's own steps.

Its models, if it has some, answer from the question alone, after a second and in an order of their own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agora import launch, market_launch
from agora.config import Config
from agora.domain.decisions import Ask
from agora.domain.errors import DamagedJournal
from agora.domain.events import Heartbeat, OperatorCommand
from agora.domain.numbers import NS_PER_S
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.journal.writer import InlineWriter
from agora.market.market import Market
from agora.session.asking import asker_of
from agora.session.completer import Completer, Completion
from agora.session.folder import CONFIG_FILE, write_private
from agora.session.market_keeper import MarketKeeper
from agora.session.market_loop import MarketLoop, Pace
from agora.testnet.llm_policy import PolicyModel, PromptPart
from tests.simulation.disk import Crashed, Faults, SimDisk
from tests.simulation.loop import VirtualClock, VirtualTimeLoop, run_virtual

# A checkpoint each few ticks, so that short runs are restored from one too.
CHECKPOINT_EVERY_NS = 7 * NS_PER_S
LIVES_MAX = 12


class LocalModel:
    """The policies of the loopback model server without a server (port `Completer`); counts the questions."""

    def __init__(self) -> None:
        self._model = PolicyModel(1)
        self.asked = 0

    async def complete(self, ask: Ask) -> Completion:
        """An answer after a second, more or less."""
        self.asked += 1
        draw = random.Random(f"{ask.agent} {self.asked}")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        await loop.wait_until(loop.now_ns() + int((0.5 + draw.random()) * NS_PER_S))
        text = self._model.answer([PromptPart(role=str(part.role), content=part.content) for part in ask.messages])
        return Completion(text=text, input_tokens=100, output_tokens=20)

    async def close(self) -> None:
        """Nothing is held open."""


class NoOperator:
    """Nobody says anything; a heartbeat a second (port `MarketControls`)."""

    def __init__(self) -> None:
        self._beat_ns = 0

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """No command."""
        del now_ns

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """Health of nothing."""
        if now_ns < self._beat_ns:
            return None
        self._beat_ns = now_ns + NS_PER_S
        return Heartbeat(
            ts_ns=now_ns, cpu_fraction=0.0, rss_mb=0.0, disk_free_mb=0.0, loop_lag_ms=0.0, queue_depth=queue_depth
        )


@dataclass(frozen=True)
class Ending:
    """How a market ended: what must not depend on crashes."""

    tick: int
    trades: int
    digest: str
    state_hash: str

    @classmethod
    def of(cls, market: Market) -> Ending:
        """Of a market that has ended."""
        return cls(market.state.tick, market.state.trades, market.state.digest, market.state_hash())


class Lives:
    """One run from its first life to its end. `schedule` is the text of the news file."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        *,
        schedule: bytes = b"[]",
        seed: int = 1,
        completer: Completer | None = None,
    ) -> None:
        self.folder = folder
        self.disk = SimDisk()
        self.lives = 0
        self.restored = 0  # lives that began at a checkpoint
        self.between: Callable[[], None] = _nothing  # what happens to the disk while nobody lives on it
        self._config = config
        self._completer = completer
        self._draw = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_private(folder / CONFIG_FILE, launch.config_json(config, command="market"))
        write_private(folder / market_launch.SCHEDULE_FILE, schedule)

    def play(self, crashes: list[int]) -> Ending | None:
        """To the end, dying at the given operation of each life; None when not even the start was on the disk."""
        while self.lives < LIVES_MAX:
            crash_at = crashes.pop(0) if crashes else 0
            self.disk = self.disk.with_faults(Faults(crash_at=crash_at))
            try:
                return run_virtual(self._life(), seed=self._draw.getrandbits(32))
            except DamagedJournal as refusal:
                if "nothing can be continued" not in str(refusal):
                    raise
                return None
            except BaseException as end:
                if not _is_crash(end):
                    raise
            self.disk = self.disk.crash(self._draw.getrandbits(32))
            self.lives += 1
            self.between()
        raise AssertionError(f"no end after {LIVES_MAX} lives")

    def records(self) -> list[Record]:
        """The journal as it is now."""
        return list(read_records(self.disk))  # type: ignore[arg-type]

    async def _life(self) -> Ending:
        opened, writer = self._open()
        try:
            clock = VirtualClock()
            asker = None
            if self._completer is not None:
                asker = asker_of(self._config["llm"], self._completer, clock=clock, seed=1)
            loop = market_launch.loop_of(opened, asker, Pace(tick_s=1.0, monotonic_ns=clock.now_ns))
            keeper = MarketKeeper(
                opened.disk, opened.log, monotonic_ns=clock.now_ns, off_loop=_inline, every_ns=CHECKPOINT_EVERY_NS
            )
            loop.chores = [keeper.keep_if_due, self._flusher(writer)]
            await loop.run(opened.first, NoOperator())
            return Ending.of(loop.market)
        finally:
            opened.run.collector.close()

    def _open(self) -> tuple[market_launch.Opened, InlineWriter]:
        writers: list[InlineWriter] = []

        def writer_of(store: Any, *, last_seq: int) -> InlineWriter:
            writers.append(InlineWriter(store, last_seq=last_seq))
            return writers[0]

        ground = market_launch.Ground(folder=self.folder, disk=self.disk, writer=writer_of)  # type: ignore[arg-type]
        if not self.lives:
            return market_launch.open_new(ground, self._config), writers[0]
        self.restored += any(name.startswith("checkpoint-") for name in self.disk.names())
        return market_launch.open_old(ground), writers[0]

    def _flusher(self, writer: InlineWriter) -> Callable[[MarketLoop], None]:
        """What the writer's thread does on its own: some of what waits reaches the disk, sooner or later."""

        def flush(_loop: MarketLoop) -> None:
            if self._draw.random() < 1 / 3:
                writer.flush()

        return flush


def _nothing() -> None:
    """No further damage."""


def _is_crash(end: BaseException) -> bool:
    """Whether the machine stopped, and nothing else went wrong."""
    if isinstance(end, BaseExceptionGroup):
        return all(map(_is_crash, end.exceptions))
    return isinstance(end, Crashed)


async def _inline(work: Callable[..., None], *arguments: Any) -> None:
    await asyncio.sleep(0)
    work(*arguments)
