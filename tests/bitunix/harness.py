"""Whole live runs against the real testnet server in virtual time, on a network and a disk that can fail.

A `Story` is one run with all its lives: the process dies and starts again by the program's own steps, the venue goes
on. What the checks read is in it: the venue's ledger, the journal, and when each record became durable.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from agora import assembly, launch
from agora.config import Config
from agora.domain.errors import JournalFault, StartFault, Transient
from agora.domain.events import RunEnded, RunStarted
from agora.engine.desk import Desk
from agora.engine.ports import Clock, Trader, Venue
from agora.engine.state import State
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.session import lifetime
from agora.session.access import Access
from agora.session.credentials import Secret
from agora.session.keeper import CheckpointKeeper
from agora.session.runner import POLL_NS, Runner
from agora.testnet.bitunix import BitunixTestnet, BitunixTestnetSettings, bitunix_testnet
from agora.testnet.control import RequestSeen
from agora.venues.rest import Network
from tests.bitunix.plans import Plan
from tests.scenarios.churner import Churner
from tests.scenarios.harness import RestlessWriter, ScriptedControls, fold_breakers
from tests.scenarios.harness import Setup as Script
from tests.simulation.disk import Crashed, Faults, SimDisk
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, NetworkLoop, run_networked, serving

NS_PER_S = 1_000_000_000
# A quarter of an hour before midnight UTC of some day.
START_NS = 1_790_466_300 * NS_PER_S
SYMBOL = "BTCUSDT"
CHECKPOINT_EVERY_NS = 7 * NS_PER_S
LIVES_MAX = 12
# Every story holds positions through some settlements.
FUNDING_S = 20
# After the end of a run the venue goes on for so long: what it accepts late comes to light.
AFTERMATH_S = 30.0
# A start that finds no venue is tried again by whoever watches the process.
START_AGAIN_S = 5.0
STARTS_MAX = 30
# A run ends within its duration, its downtimes and the bounds of its ending; more is a hang.
STORY_S_MAX = 1_200.0
_CLIENT_ID = re.compile(rb'"client_id":"([^"]+)"')


@dataclass
class Story:
    """All that happened. `desk` is that of the life that ended the run, if one did."""

    plan: Plan
    config: Config
    disk: SimDisk
    remains: list[dict[str, bytes]] = field(default_factory=list)
    durable_ns: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    unrefused_trips: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    crashes: int = 0
    lives: int = 0
    desk: Desk | None = None
    ledger: dict[str, Any] = field(default_factory=dict)
    late_ledger: dict[str, Any] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    requests: list[RequestSeen] = field(default_factory=list)
    ended_ns: int = 0
    _read: tuple[object, list[Record]] | None = field(default=None, repr=False)

    def records(self) -> list[Record]:
        """The journal as it is now. Every check asks for it: read once for each state of the disk."""
        state = (self.lives, self.crashes, *((name, self.disk.size(name)) for name in self.disk.names()))
        if self._read is None or self._read[0] != state:
            self._read = (state, list(read_records(self.disk)))  # type: ignore[arg-type]
        return self._read[1]

    def ended(self) -> RunEnded | None:
        """The last decision."""
        return next((r.event for r in reversed(self.records()) if isinstance(r.event, RunEnded)), None)

    def account(self) -> dict[str, Any]:
        """The venue's books of our account, at the end of the run."""
        books: dict[str, Any] = self.ledger["accounts"][0]
        return books

    def notes(self) -> list[dict[str, Any]]:
        """Every order as the venue's clerk received it."""
        notes: list[dict[str, Any]] = self.late_ledger["orders"]
        return notes

    def intent_of(self, client_id: str) -> str | None:
        """The recorded intent behind an order at the venue; a leg's further orders carry its id and a number."""
        for name in (client_id, client_id.rpartition("-")[0]):
            if name in self.durable_ns:
                return name
        return None

    def left(self, *, is_late: bool = False) -> set[str]:
        """What the venue has of ours at the end of the run, or a while later, in the words of a report."""
        account = (self.late_ledger if is_late else self.ledger)["accounts"][0]
        left = {f"position {name} {lots} lots" for name, lots in account["net_lots"].items() if lots}
        left |= {f"open order {row['client_id']}" for row in account["open_orders"]}
        return left | {f"trigger {row['tpsl_id']}" for row in account["triggers"] if row["status"] == "NEW"}

    def is_unknowable(self) -> bool:
        """Whether the run could not learn the venue's last word: somebody else acted, or the venue stayed away."""
        ended = self.ended()
        return self.plan.is_grave or (ended is not None and "the venue did not confirm" in ended.residual)

    def was_ill_ns(self) -> int:
        """When the last planned fault was over."""
        return START_NS + int(max((row["at_s"] + row["for_s"] for row in self.faults), default=0.0) * NS_PER_S)


def load(plan: Plan) -> Config:
    """The settings of a story: bars of a second, and a busy trader; the rest as it is shipped."""
    flags = {
        "run.venue": "testnet",
        "run.mode": "live",
        "run.interval": "1s",
        "run.seed": plan.seed,
        "run.duration_minutes": plan.seconds / 60,
        "risk.orders_per_minute_max": 600,
        "risk.position_lots_max": 60,
        "risk.losing_streak_max": 0,
        "risk.reconcile_every_s": 10,
    }
    return assembly.load_config({}, flags, list(plan.pairs))


def testnet_settings(plan: Plan) -> BitunixTestnetSettings:
    """The venue of a story."""
    rate_ppb = (400_000, -300_000)[plan.seed % 2]
    usual = {
        "symbols": (SYMBOL,),
        "funding_interval_s": FUNDING_S,
        "funding_rate_ppb": rate_ppb,
        "history_minutes": 0,
    }
    return BitunixTestnetSettings(seed=plan.seed, **{**usual, **plan.venue})


class Nets(Network):
    """Sessions on the virtual network; those of a process that has died are put away with it."""

    def __init__(self) -> None:
        super().__init__(Connector)
        self._sessions: list[aiohttp.ClientSession] = []

    def session(self) -> aiohttp.ClientSession:
        """One more session."""
        session = super().session()
        self._sessions.append(session)
        return session

    async def bury(self) -> None:
        """Close what nobody else will; the network lets nothing of it out any more."""
        for session in self._sessions:
            await session.close()
        self._sessions.clear()


class Teller:
    """Plays a story: lives of the process, one after the other, until the run has ended."""

    def __init__(self, plan: Plan, *, trader: Callable[[], Trader] | None = None) -> None:
        self.plan = plan
        self.story = Story(plan, load(plan), SimDisk())
        self._trader = trader or partial(Churner, seed=plan.seed, lots_max=12)
        self._crashes = list(plan.crashes)
        self._spoken: set[int] = set()
        self._draw = random.Random(plan.seed)
        self._loop: NetworkLoop
        self._access: Access
        self._starts = 0
        self._nets = Nets()

    def play(self) -> Story:
        """To the end of the run; an AssertionError when it finds none."""
        # aiohttp draws masks and the order of waiters from the module's own generator.
        random.seed(self.plan.seed)
        run_networked(self._play(), seed=self.plan.seed, start_ns=START_NS)
        return self.story

    async def _play(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NetworkLoop)
        self._loop = loop
        testnet = bitunix_testnet(
            testnet_settings(self.plan),
            clock=VirtualClock(loop),
            monotonic_ns=loop.now_ns,
            faults=msgspec.json.encode(self.plan.faults),
            serve=serving,
        )
        async with asyncio.timeout(self.plan.seconds + STORY_S_MAX), testnet as venue:
            self._access = access_of(venue)
            while not await self._live_once():
                pass
            self.story.ended_ns = loop.now_ns()
            self.story.ledger = _ledger_of(venue)
            await loop.let_pass(AFTERMATH_S)
            self.story.late_ledger = _ledger_of(venue)
            self.story.faults = venue.plan.report()
            self.story.requests = venue.log.all()

    async def _live_once(self) -> bool:
        """One life of the process; whether the run is over."""
        story = self.story
        assert story.lives < LIVES_MAX + STARTS_MAX, "no end of lives"
        crash = self._crashes.pop(0) if self._crashes else None
        if crash is not None and crash.operation:
            story.disk = story.disk.with_faults(Faults(crash_at=crash.operation))
        owner = f"life {story.lives}"
        story.lives += 1
        dead = asyncio.Event()
        self._watch_disk(owner, dead)
        life = self._loop.spawn(self._live(), owner=owner)
        watch = self._loop.create_task(dead.wait())
        timer = None
        if crash is not None and crash.after_s:
            timer = self._loop.call_later(crash.after_s, self._stop_machine)
        await asyncio.wait((life, watch), return_when=asyncio.FIRST_COMPLETED)
        if timer is not None:
            timer.cancel()
        watch.cancel()
        if dead.is_set():
            await self._bury(owner, life, crash.down_s if crash else 1.0)
            return False
        return await self._is_over(life)

    def _watch_disk(self, owner: str, dead: asyncio.Event) -> None:
        """The process and its disk die together, at one moment; what becomes durable is noted with its time."""
        disk = self.story.disk

        def on_death() -> None:
            self._loop.network.sever(owner)
            dead.set()

        disk.on_death = on_death
        disk.on_sync = self._note_durable

    def _note_durable(self, name: str, content: bytes) -> None:
        if not name.startswith("events"):
            return
        for line in content.splitlines():
            if b'"kind":"order.intent"' in line:
                found = _CLIENT_ID.search(line)
                assert found is not None, f"an intent without a client id: {line[:200]!r}"
                self.story.durable_ns.setdefault(found.group(1).decode(), self._loop.now_ns())

    def _stop_machine(self) -> None:
        disk = self.story.disk
        disk.die()
        if disk.on_death is not None:
            disk.on_death()

    async def _bury(self, owner: str, life: asyncio.Task[bool], down_s: float) -> None:
        """The machine has stopped: of what was not synced only a part is found again."""
        story = self.story
        await self._loop.network.kill(owner)
        await self._nets.bury()
        assert life.done()
        if not life.cancelled():
            life.exception()
        story.crashes += 1
        story.remains.append({name: story.disk.durable(name) for name in ("events.jsonl", "market.jsonl")})
        story.disk = story.disk.crash(self._draw.getrandbits(32))
        await self._loop.let_pass(down_s)

    async def _is_over(self, life: asyncio.Task[bool]) -> bool:
        """What a life that was not cut short says; a start that found no venue is tried again."""
        fault = life.exception()
        if fault is None:
            return life.result()
        self._starts += 1
        if isinstance(fault, StartFault) and self._starts < STARTS_MAX:
            self.story.refused.append(str(fault))
            await self._loop.let_pass(START_AGAIN_S)
            return False
        self.story.broken.append(f"life {self.story.lives}: {type(fault).__name__}: {fault}")
        return True

    async def _live(self) -> bool:
        opened = await self._open()
        if opened is None:
            return True
        runner = Runner(opened.parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
        cast = lifetime.Cast(
            runner=runner,
            controls=ScriptedControls(self._script(), self._spoken),
            keeper=CheckpointKeeper(
                opened.disk,
                opened.parts.machine,
                monotonic_ns=self._loop.now_ns,
                off_loop=_inline,
                every_ns=CHECKPOINT_EVERY_NS,
            ),
            first=opened.first,
            restored=opened.restored,
            poll_ns=POLL_NS,
        )
        flusher = self._loop.create_task(self._flush(opened.log))
        try:
            await lifetime.live(cast)
        finally:
            flusher.cancel()
        self.story.desk = runner.desk
        return True

    def _script(self) -> Script:
        return Script(seed=self.plan.seed, commands=self.plan.commands)

    async def _open(self) -> launch.Opened | None:
        """The program's own start; None when it says that the run is over."""
        story, config = self.story, self.story.config
        ground = self._ground()
        if not story.disk.exists("events.jsonl") or not any(True for _ in story.records()):
            for name in story.disk.names():
                story.disk.delete(name)
            tag = f"{self.plan.seed:08x}"
            try:
                seen = await assembly.look(config, self._access, network=self._nets, clock=VirtualClock(self._loop))
            except Transient as fault:
                raise StartFault(str(fault)) from fault  # As `launch` does when nothing else may be traded on.
            return launch.open_new(self._dressed(assembly.build_parts(config, tag, seen)), ground, config)
        tripped = fold_breakers(story.records())
        try:
            opened = launch.open_old(ground, config)
        except StartFault as fault:
            if story.ended() is not None:
                return None
            story.refused.append(str(fault))
            await launch.rearm(launch.reopen(ground, config), "scripted")
            return launch.open_old(self._ground(), config)
        if tripped:
            story.unrefused_trips.append(", ".join(sorted(tripped)))
        return opened

    def _ground(self) -> launch.Ground:
        draw, clock = self._draw, VirtualClock(self._loop)

        async def delay() -> None:
            await clock.sleep_until(clock.now_ns() + int(draw.random() * 0.01 * NS_PER_S))

        return launch.Ground(
            folder=Path(f"20260926T234500Z-testnet-churner-{self.plan.seed:08x}"),
            disk=self.story.disk,  # type: ignore[arg-type]
            writer=partial(RestlessWriter, draw=draw, delay=delay),
            rebuild=self.rebuild,
            build_clock=lambda _parts, now_ns=None: clock,  # noqa: ARG005
            build_venue=self._build_venue,
            access=self._access,
        )

    def _build_venue(self, parts: assembly.Parts, clock: Clock, after: int = 0) -> Venue:
        return assembly.build_venue(parts, clock, after=after, network=self._nets)

    def rebuild(self, config: Config, record: RunStarted) -> assembly.Parts:
        """The parts that a journal's first record tells of, with the story's trader."""
        return self._dressed(assembly.rebuild(config, record))

    def _dressed(self, parts: assembly.Parts) -> assembly.Parts:
        rules = msgspec.structs.replace(parts.desk.rules, traders=(self._trader(),))
        parts.desk = Desk(State(), rules)
        return parts

    async def _flush(self, log: Any) -> None:
        """What the writer's thread does on its own: passing notes reach the disk within a second."""
        while True:
            await self._loop.let_pass(0.2 + 0.4 * self._draw.random())
            try:
                log._writer.flush()
            except (JournalFault, Crashed):
                return


def _ledger_of(venue: BitunixTestnet) -> dict[str, Any]:
    ledger: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(venue.ledger()))
    return ledger


def access_of(venue: BitunixTestnet) -> Access:
    """How to reach a testnet, and as its first account."""
    said = venue.announcement()
    urls, account = said["urls"], said["accounts"][0]
    return Access(
        rest_url=urls["rest"],
        public_ws=urls["public_ws"],
        private_ws=urls["private_ws"],
        api_key=Secret(account["api_key"]),
        api_secret=Secret(account["api_secret"]),
        control=said.get("control", ""),
    )


async def _inline(work: Callable[..., None], *arguments: Any) -> None:
    work(*arguments)
