"""Whole runs in virtual time, started, recovered and ended by the program's own steps on a disk that can crash.

A `Story` is one run with all its lives: what the venue received and when, what was durable at each crash, and
the disk and desk at the end. The checks read nothing else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from agora import assembly, launch
from agora.config import Config
from agora.domain.errors import JournalFault, StartFault
from agora.domain.events import (
    Event,
    Heartbeat,
    OperatorCommand,
    OrderSent,
    Reconcile,
    RunEnded,
    RunResumed,
    RunStarted,
)
from agora.domain.orders import Order
from agora.engine.desk import Desk
from agora.engine.ports import Clock, Trader, Venue
from agora.engine.state import State
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.journal.writer import InlineWriter
from agora.session import lifetime
from agora.session.keeper import CheckpointKeeper
from agora.session.runner import POLL_NS, Runner
from agora.venues.paper import Feed, PaperVenue
from tests.scenarios.churner import Churner
from tests.scenarios.exchange import Exchange, ExchangeVenue, Remote
from tests.simulation.disk import Crashed, Faults, SimDisk
from tests.simulation.loop import VirtualClock, VirtualTimeLoop, run_virtual

NS_PER_S = 1_000_000_000
# The calendar of all stories begins a quarter of an hour before midnight UTC of some day.
START_NS = 1_790_466_300 * NS_PER_S
SYMBOL = "BTCUSDT"
# A checkpoint each few seconds, so that short runs are restored from one too.
CHECKPOINT_EVERY_NS = 7 * NS_PER_S
LIVES_MAX = 12

TraderMaker = Callable[[], Trader]
FeedChanger = Callable[[Feed, Clock], Feed]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A run to be told: settings, trader, and what operators say (seconds after its start, command)."""

    seed: int
    seconds: float = 30
    pairs: tuple[str, ...] = ()
    trader: TraderMaker | None = None
    others: tuple[TraderMaker, ...] = ()
    instrument: dict[str, Any] = field(default_factory=dict)
    commands: tuple[tuple[float, str], ...] = ()
    change_feed: FeedChanger | None = None
    flush_s: float = 0.4
    commit_s: float = 0.01
    survives: bool = False


@dataclass(frozen=True, kw_only=True)
class Crash:
    """How a life of the process ends early: at a disk operation, or at a time (s after its start)."""

    operation: int = 0
    after_s: float = 0.0
    down_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Received:
    """One order as it reached the venue."""

    life: int
    ts_ns: int
    client_id: str
    purpose: str
    was_durable: bool
    is_repeat: bool
    worst_lots: int


@dataclass
class Story:
    """All that happened. `desk` is the live desk of the life that ended the run, if one did."""

    setup: Setup
    config: Config
    disk: SimDisk
    received: list[Received] = field(default_factory=list)
    remains: list[dict[str, bytes]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unrefused_trips: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    crashes: int = 0
    disk_failed: bool = False
    at_venue: set[str] = field(default_factory=set)
    desk: Desk | None = None
    account: Reconcile | None = None
    operations: list[int] = field(default_factory=list)
    cpu_notes: list[str] = field(default_factory=list)

    def records(self) -> list[Record]:
        """The journal as it is now."""
        return list(read_records(self.disk))  # type: ignore[arg-type]

    def ended(self) -> RunEnded | None:
        """The last decision."""
        return next((r.event for r in reversed(self.records()) if isinstance(r.event, RunEnded)), None)


class ScriptedControls:
    """Operators who speak at given times; a heartbeat a second."""

    def __init__(self, setup: Setup, spoken: set[int]) -> None:
        self._commands = [(START_NS + int(after_s * NS_PER_S), name) for after_s, name in setup.commands]
        self._spoken = spoken
        self._beat_ns = 0

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """The next command whose time has come."""
        for index, (due_ns, name) in enumerate(self._commands):
            if index not in self._spoken and now_ns >= due_ns:
                self._spoken.add(index)
                return OperatorCommand(ts_ns=now_ns, command=name, reason="scripted")
        return None

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """Nothing but the queue is measured in virtual time."""
        if now_ns < self._beat_ns:
            return None
        self._beat_ns = now_ns + NS_PER_S
        return Heartbeat(
            ts_ns=now_ns, cpu_fraction=0.0, rss_mb=0.0, disk_free_mb=0.0, loop_lag_ms=0.0, queue_depth=queue_depth
        )


class RestlessWriter(InlineWriter):
    """Like the real thread it may bring any prefix to the disk before it is asked to commit."""

    def __init__(self, store: Any, *, last_seq: int, draw: random.Random, delay: Any) -> None:
        super().__init__(store, last_seq=last_seq, delay=delay)
        self._draw = draw

    def request_sync(self) -> None:
        """Sometimes at once."""
        if self._failure is None and not self._is_closed and self._draw.random() < 1 / 4:
            self._work()


class WatchedVenue:
    """A venue with a clerk beside it who writes down what arrives, and whether the journal had it on disk."""

    def __init__(self, venue: PaperVenue, machine: Any, story: Story, *, life: int) -> None:
        self._venue = venue
        self._machine = machine
        self._story = story
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    def send(self, order: Order, ts_ns: int) -> None:
        """Write down, then hand on."""
        self._venue.send(order, ts_ns)
        note_order(self._story, order, ts_ns, life=self._life, worst_lots=worst_lots(self._machine, order))


def note_order(story: Story, order: Order, ts_ns: int, *, life: int, worst_lots: int) -> None:
    """The clerk's note of one order."""
    is_repeat = order.client_id in story.at_venue
    story.at_venue.add(order.client_id)
    story.received.append(
        Received(
            life=life,
            ts_ns=ts_ns,
            client_id=order.client_id,
            purpose=str(order.purpose),
            was_durable=is_intent_durable(story.disk, order.client_id),
            is_repeat=is_repeat,
            worst_lots=worst_lots,
        )
    )


def is_intent_durable(disk: SimDisk, client_id: str) -> bool:
    """Whether the record of the intent would survive a power cut now."""
    text = disk.durable("events.jsonl")
    mark, at = f'"client_id":"{client_id}"'.encode(), len(text)
    while (at := text.rfind(mark, 0, at)) >= 0:
        line = text[text.rfind(b"\n", 0, at) + 1 : text.find(b"\n", at)]
        if b'"kind":"order.intent"' in line:
            return True
    return False


def worst_lots(machine: Any, order: Order, *, is_new: bool = False) -> int:
    """The position at the venue if this order and every entry it has on that side filled completely."""
    position = machine._account.positions[order.instrument].size_lots * order.side
    waiting = sum(
        known.size_lots - known.filled_lots
        for known in machine._known.values()
        if known.side == order.side and known.purpose == "entry" and known.instrument == order.instrument
    )
    if is_new and order.purpose == "entry":
        waiting += order.size_lots
    return max(0, position) + waiting if position >= 0 else position + waiting


def load(setup: Setup) -> Config:
    """The settings of a story: one-second bars of the local market, small and lively."""
    flags = {
        "run.venue": "local",
        "run.interval": "1s",
        "run.seed": setup.seed,
        "run.duration_minutes": setup.seconds / 60,
        "local.history_bars": 0,
        "risk.orders_per_minute_max": 600,
        "risk.position_lots_max": 25,
        "risk.losing_streak_max": 0,
    }
    return assembly.load_config({}, flags, list(setup.pairs))


def dressed(setup: Setup, parts: assembly.Parts) -> assembly.Parts:
    """Parts with the story's traders (default: the churner, seeded)."""
    if setup.trader is None and parts.config.sources["run.trader"] != "default":
        return parts
    trader = setup.trader() if setup.trader else Churner(seed=setup.seed)
    traders = (trader, *(make() for make in setup.others))
    facts = {"traders": traders, "trader_intervals_s": (), "weights_ppm": ()}
    parts.desk = Desk(State(), msgspec.structs.replace(parts.desk.rules, **facts))
    return parts


def first_parts(setup: Setup, config: Config) -> assembly.Parts:
    """The parts of a new run, with the story's instrument."""
    tag = f"{setup.seed:08x}"
    parts = assembly.build_parts(config, tag)
    facts = {name: msgspec.structs.replace(item, **setup.instrument) for name, item in parts.instruments.items()}
    parts.instruments = facts
    parts.desk = assembly.build_desk(config, facts, run_tag=tag, interval_s=parts.interval_s)
    parts.machine = assembly.build_machine(config, facts)
    return dressed(setup, parts)


def known_ns(records: Sequence[Record]) -> int:
    """Up to when a run knows what its venue answered: a restart that was not reconciled has learnt nothing yet."""
    known, unreconciled = START_NS, None
    for record in records:
        if isinstance(record.event, RunResumed) and unreconciled is None:
            unreconciled = known
        elif isinstance(record.event, Reconcile):
            unreconciled = None
        known = max(known, record.event.ts_ns)
    return known if unreconciled is None else unreconciled


def fold_breakers(records: Sequence[Record]) -> set[str]:
    """The breakers that a journal leaves tripped."""
    tripped: set[str] = set()
    for record in records:
        kind = type(record.event).__name__
        if kind == "BreakerTripped":
            tripped.add(record.event.breaker)  # type: ignore[union-attr]
        elif kind == "BreakerReset":
            tripped.discard(record.event.breaker)  # type: ignore[union-attr]
    return tripped


class Teller:
    """Plays a story: lives of the process, one after the other, until the run has ended."""

    def __init__(self, setup: Setup, crashes: Sequence[Crash] = (), *, faults: Faults | None = None) -> None:
        config = load(setup)
        self.setup = setup
        self.story = Story(setup, config, SimDisk(faults))
        self._crashes = list(crashes)
        self._spoken: set[int] = set()
        self._draw = random.Random(setup.seed)
        self._now_ns = START_NS
        self._life = 0
        self._exchange: Exchange | None = None

    def play(self) -> Story:
        """To the end of the run; an AssertionError when it finds none."""
        story = self.story
        while self._life < LIVES_MAX:
            crash = self._crashes.pop(0) if self._crashes else None
            if crash is not None and crash.operation:
                story.disk = story.disk.with_faults(Faults(crash_at=crash.operation))
            seed = self._draw.getrandbits(32)
            loop_seed = self.setup.seed * 101 + self._life
            is_over = run_virtual(self._live_once(crash), seed=loop_seed, start_ns=self._now_ns)
            story.operations.append(story.disk.operations)
            self._life += 1
            if is_over:
                return story
            story.crashes += 1
            self._die(seed)
        raise AssertionError(f"seed {self.setup.seed}: no end after {LIVES_MAX} lives")

    def play_to_crash(self) -> Story:
        """The first life only; the story's disk is what the next start would find."""
        crash = self._crashes.pop(0)
        is_over = run_virtual(self._live_once(crash), seed=self.setup.seed, start_ns=self._now_ns)
        assert not is_over, "the run ended before the crash"
        self._life += 1
        self._die(self.setup.seed)
        return self.story

    async def reopen(self) -> launch.Opened:
        """The program's own start on the disk as it is."""
        return launch.open_old(self._ground(), self.story.config)

    def _die(self, seed: int) -> None:
        """The machine stops: of what was not synced only a part is found again."""
        disk = self.story.disk
        self.story.remains.append({name: disk.durable(name) for name in ("events.jsonl", "market.jsonl")})
        self.story.disk = disk.crash(seed)

    async def _live_once(self, crash: Crash | None) -> bool:
        """One life of the process; whether the run is over."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        try:
            return await self._live(loop, crash)
        except Crashed:
            return False
        except Exception as fault:
            self.story.broken.append(f"life {self._life}: {type(fault).__name__}: {fault}")
            return True
        finally:
            self._now_ns = loop.now_ns() + int((crash.down_s if crash else 1.0) * NS_PER_S)

    async def _live(self, loop: VirtualTimeLoop, crash: Crash | None) -> bool:
        story = self.story
        opened = await self._open()
        if opened is None:
            return True
        runner = Runner(opened.parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
        cast = lifetime.Cast(
            runner=runner,
            controls=ScriptedControls(self.setup, self._spoken),
            keeper=CheckpointKeeper(
                opened.disk,
                opened.parts.machine,
                monotonic_ns=loop.now_ns,
                off_loop=_inline,
                every_ns=CHECKPOINT_EVERY_NS,
            ),
            first=opened.first,
            restored=opened.restored,
            poll_ns=POLL_NS,
        )
        task = loop.create_task(lifetime.live(cast))
        flusher = loop.create_task(self._flush(opened.log, task))
        if crash is not None and crash.after_s:
            loop.call_later(crash.after_s, _stop_machine, story.disk, task)
        try:
            await task
        except asyncio.CancelledError as fault:
            raise Crashed("at a moment") from fault
        except Exception:
            await self._note_end(runner)
            raise
        finally:
            flusher.cancel()
        await self._note_end(runner)
        story.disk_failed = opened.log.failure is not None
        return True

    async def _note_end(self, runner: Runner) -> None:
        self.story.desk = runner.desk
        self.story.account = await runner.venue.account()

    async def _open(self) -> launch.Opened | None:
        """The program's own start; None when it says that the run is over."""
        story, config = self.story, self.story.config
        ground = self._ground()
        if not story.disk.exists("events.jsonl") or not any(True for _ in story.records()):
            self._begin_anew()
            parts = first_parts(self.setup, config)
            if self.setup.survives:
                self._exchange = self._exchange or Exchange(parts, start_ns=self._now_ns, seed=self.setup.seed)
                parts.machine = Remote()  # type: ignore[assignment]
            return launch.open_new(parts, ground, config)
        tripped = fold_breakers(story.records())
        try:
            opened = launch.open_old(ground, config)
        except StartFault as fault:
            story.refused.append(str(fault))
            if story.ended() is not None:
                return None
            return await self._reset()
        if tripped:
            story.unrefused_trips.append(", ".join(sorted(tripped)))
        return opened

    def _begin_anew(self) -> None:
        """A crash before the first record was durable: nothing was, so the start is a new one on a clean disk."""
        disk = self.story.disk
        for name in disk.names():
            disk.delete(name)

    async def _reset(self) -> launch.Opened:
        """The operator looks at the trip and resets it; then the run may be continued, to its ending."""
        ground, config = self._ground(), self.story.config
        await launch.rearm(launch.reopen(ground, config), "scripted")
        return launch.open_old(self._ground(), config)

    def _ground(self) -> launch.Ground:
        setup, draw = self.setup, self._draw
        clock = VirtualClock()

        async def delay() -> None:
            await clock.sleep_until(clock.now_ns() + int(draw.random() * setup.commit_s * NS_PER_S))

        return launch.Ground(
            folder=Path(f"20260926T234500Z-local-churner-{setup.seed:08x}"),
            disk=self.story.disk,  # type: ignore[arg-type]
            writer=partial(RestlessWriter, draw=draw, delay=delay),
            rebuild=self._rebuild,
            build_clock=lambda _parts, now_ns=None: clock,  # noqa: ARG005
            build_venue=self._build_venue,
            upcoming=self._upcoming,
        )

    def _upcoming(self, parts: assembly.Parts, after: int) -> Event | None:
        return None if self.setup.survives else assembly.next_market_event(parts, after)

    def _rebuild(self, config: Config, record: RunStarted) -> assembly.Parts:
        parts = dressed(self.setup, assembly.rebuild(config, record))
        if self.setup.survives:
            parts.machine = Remote()  # type: ignore[assignment]
        return parts

    def _build_venue(self, parts: assembly.Parts, clock: Clock, after: int = 0) -> Venue:
        if self._exchange is not None:
            return self._connection(self._exchange, clock)
        feed = assembly.build_feed(parts, clock, after=after)
        if self.setup.change_feed is not None:
            feed = self.setup.change_feed(feed, clock)
        venue = PaperVenue(feed, parts.machine, clock)
        # The paper venue died with its machine: what it knows now is what the journal says was sent.
        sent = (record.event for record in self.story.records())
        self.story.at_venue = {event.client_id for event in sent if isinstance(event, OrderSent)}
        return WatchedVenue(venue, parts.machine, self.story, life=self._life)  # type: ignore[return-value]

    def _connection(self, exchange: Exchange, clock: Clock) -> Venue:
        life = self._life

        def note(order: Order, ts_ns: int) -> None:
            note_order(self.story, order, ts_ns, life=life, worst_lots=worst_lots(exchange.machine, order, is_new=True))

        return ExchangeVenue(exchange, clock, note=note, known_ns=known_ns(self.story.records()))

    async def _flush(self, log: Any, task: asyncio.Task[None]) -> None:
        """What the writer's thread does on its own: passing notes reach the disk within a second."""
        clock = VirtualClock()
        while True:
            wait_s = self.setup.flush_s * (0.5 + self._draw.random())
            await clock.sleep_until(clock.now_ns() + int(wait_s * NS_PER_S))
            try:
                log._writer.flush()
            except JournalFault:
                return
            except Crashed:
                task.cancel()
                return


async def _inline(work: Callable[..., None], *arguments: Any) -> None:
    work(*arguments)


def _stop_machine(disk: SimDisk, task: asyncio.Task[None]) -> None:
    disk.die()
    task.cancel()


def events_of(story: Story) -> list[Event]:
    """The events of the journal, in order."""
    return [record.event for record in story.records()]
