"""The loop of a market in virtual time: pace, pause, news, questions and their deadline, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from agora import populate
from agora.domain.decisions import Ask
from agora.domain.errors import JournalFault
from agora.domain.events import Event, Heartbeat, OperatorCommand, RunEnded
from agora.domain.market_events import AgentDecided, LlmAnswered, LlmTimedOut, MarketTicked, NewsArrived, Shock, Tick
from agora.domain.numbers import NS_PER_S
from agora.journal.log import Log, open_log
from agora.journal.reader import read_records
from agora.journal.writer import InlineWriter
from agora.market.market import Market
from agora.market.state import Phase
from agora.session.asking import Asker, asker_of
from agora.session.completer import Completer, Completion, Failure
from agora.session.llm_settings import LlmSettings
from agora.session.market_keeper import MarketKeeper
from agora.session.market_loop import MarketLoop, Pace
from tests.market.markets import START_NS, asked_market, settings, started
from tests.simulation.disk import Faults, SimDisk
from tests.simulation.loop import VirtualClock, VirtualTimeLoop, run_virtual

ASKED = LlmSettings(model="m", base_url="http://127.0.0.1:1/v1", allow_unknown_price=True, retries_max=0)


def now_s() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


async def wait(seconds: float) -> None:
    """So much virtual time later."""
    clock = VirtualClock()
    await clock.sleep_until(clock.now_ns() + int(seconds * NS_PER_S))


class Script:
    """An operator who speaks at given seconds (port `MarketControls`)."""

    def __init__(self, *lines: tuple[float, str]) -> None:
        self._lines = list(lines)

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """The next line whose time has come."""
        if self._lines and now_s() >= self._lines[0][0]:
            return OperatorCommand(ts_ns=now_ns, command=self._lines.pop(0)[1], reason="scripted")
        return None

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """No heartbeat."""
        del now_ns, queue_depth


class Watch:
    """Writes down when ticks came (port `MarketObserver`)."""

    def __init__(self) -> None:
        self.ticks: list[tuple[int, float]] = []

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """The time of a tick."""
        del effects
        if isinstance(event, Tick):
            self.ticks.append((market.state.tick, round(now_s(), 6)))

    @property
    def times(self) -> list[float]:
        """Seconds of the ticks."""
        return [second for _, second in self.ticks]


class Stage:
    """A market on its loop with a disk in memory; made inside the virtual loop."""

    def __init__(self, market: Market, *, tick_s: float = 1.0, asker: Asker | None = None, disk: Any = None) -> None:
        self.disk = disk or SimDisk()
        self.clock = VirtualClock()
        self.log: Log = open_log(self.disk, wall_ns=self.clock.wall_ns, writer=InlineWriter)
        self.loop = MarketLoop(market, self.log, asker=asker, pace=Pace(tick_s=tick_s, monotonic_ns=self.clock.now_ns))
        self.watch = Watch()
        self.loop.observers.append(self.watch)

    @property
    def market(self) -> Market:
        """The market."""
        return self.loop.market

    async def run(self, *lines: tuple[float, str]) -> None:
        """From the first event to the last."""
        await self.loop.run(started(), Script(*lines))

    def events(self, *kinds: type[Any]) -> list[Any]:
        """The recorded events, of these kinds if any are named."""
        found = [record.event for record in read_records(self.disk)]
        return [event for event in found if not kinds or isinstance(event, kinds)]


def staged(main: Callable[[], Awaitable[Stage]]) -> Stage:
    """What a stage has become in virtual time."""

    async def awaited() -> Stage:
        return await main()

    return run_virtual(awaited(), seed=1)


def ready(ticks: int = 0, **changes: Any) -> Market:
    """A market of rules before its first event."""
    return populate.build_market(settings(market__ticks=ticks, market__population=0, **changes))


def test_ticks_keep_their_pace() -> None:
    """A tick a second from the start, exactly, and the run's clock with it."""

    async def main() -> Stage:
        stage = Stage(ready(ticks=10))
        await stage.run()
        return stage

    stage = staged(main)
    assert stage.watch.ticks == [(number, number - 1.0) for number in range(1, 11)]
    ticks = stage.events(Tick)
    assert [tick.ts_ns for tick in ticks] == [START_NS + number * NS_PER_S for number in range(1, 11)]


def test_at_full_speed_no_time_passes() -> None:
    """With a tick length of zero nothing is waited for."""

    async def main() -> Stage:
        stage = Stage(ready(ticks=50), tick_s=0)
        await stage.run()
        assert now_s() == 0
        return stage

    assert len(staged(main).watch.ticks) == 50


def test_a_paused_market_stands_still_and_makes_nothing_up() -> None:
    """Paused from 2.5 to 60 s with one step between: afterwards a tick a second, no burst."""

    async def main() -> Stage:
        stage = Stage(ready())
        await stage.run((2.5, "pause"), (30, "step"), (60, "resume"), (63.5, "stop"))
        return stage

    stage = staged(main)
    times = stage.watch.times
    assert times[:3] == [0, 1, 2]
    assert times[3] == pytest.approx(30, abs=0.2)
    assert times[4] == pytest.approx(60, abs=0.2)
    assert all(later - sooner >= 0.99 for sooner, later in pairwise(times[4:]))
    assert len(times) == 8
    (ended,) = stage.events(RunEnded)
    assert (ended.reason, ended.exit_code) == ("scripted", 0)
    assert [command.command for command in stage.events(OperatorCommand)] == ["pause", "step", "resume", "stop"]


@pytest.mark.parametrize("command,code", [("stop", 0), ("kill", 4), ("interrupt", 130), ("terminate", 143)])
def test_a_command_ends_the_run_within_a_tenth_of_a_second(command: str, code: int) -> None:
    """Also in the middle of a long tick; the ending is the last record and is on the disk."""

    async def main() -> Stage:
        stage = Stage(ready(), tick_s=600)
        await stage.run((7.3, command))
        assert now_s() <= 7.4 + 1e-6
        return stage

    stage = staged(main)
    assert stage.market.state.exit_code == code
    assert isinstance(stage.events()[-1], RunEnded)
    assert b"run.ended" in stage.disk.durable("events.jsonl")


def test_scheduled_events_come_just_before_their_tick() -> None:
    """Recorded with their cause, stamped with their tick's time, in the order of the file."""

    async def main() -> Stage:
        stage = Stage(ready(ticks=4))
        stage.loop.scheduled = {
            2: [
                NewsArrived(ts_ns=0, text="one", tone=0.1, source="desk"),
                Shock(ts_ns=0, symbol="ARBO", fraction_ppm=-1_000, cause="a flood"),
            ],
            9: [NewsArrived(ts_ns=0, text="never", tone=0.1)],
        }
        await stage.run()
        return stage

    events = staged(main).events(NewsArrived, Shock, Tick)
    assert [type(event).__name__ for event in events] == ["Tick", "NewsArrived", "Shock", "Tick", "Tick", "Tick"]
    assert {event.ts_ns for event in events[1:4]} == {START_NS + 2 * NS_PER_S}
    assert (events[1].text, events[2].cause) == ("one", "a flood")


def test_what_others_hand_in_is_taken_before_the_next_tick() -> None:
    """News, a shock and a command by `submit`, in their order, at the market's own time; a full queue refuses."""

    async def main() -> Stage:
        stage = Stage(ready())

        async def someone() -> None:
            await wait(3.5)
            assert stage.loop.submit(NewsArrived(ts_ns=0, text="rumour", tone=-0.5, source="api"))
            assert stage.loop.submit(Shock(ts_ns=0, symbol="BRIO", fraction_ppm=5_000, cause="a find"))
            await wait(2)
            taken = [stage.loop.submit(NewsArrived(ts_ns=0, text="spam", tone=0.0)) for _ in range(1_001)]
            assert taken == [True] * 1_000 + [False]
            await wait(1)
            assert stage.loop.submit(OperatorCommand(ts_ns=0, command="stop", reason="by the API"))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(someone())
            await stage.run()
        return stage

    stage = staged(main)
    events = stage.events(NewsArrived, Shock, Tick, OperatorCommand)
    place = next(n for n, event in enumerate(events) if isinstance(event, NewsArrived))
    assert [type(event).__name__ for event in events[place - 1 : place + 3]] == ["Tick", "NewsArrived", "Shock", "Tick"]
    assert events[place].ts_ns == events[place + 1].ts_ns == events[place - 1].ts_ns
    assert (events[place].source, events[place + 1].cause) == ("api", "a find")
    times = [event.ts_ns for event in events]
    assert times == sorted(times)
    assert stage.market.state.end_reason == "by the API"


class Speaker:
    """A provider whose agents answer after seconds of their own (port `Completer`); None: never."""

    def __init__(self, seconds: dict[str, float | None]) -> None:
        self._seconds = seconds
        self.is_closed = False
        self.under_way = 0

    async def complete(self, ask: Ask) -> Completion | Failure:
        """A buy of one lot, in time or never."""
        self.under_way += 1
        try:
            wait_s = self._seconds[ask.agent]
            if wait_s is None:
                await asyncio.Event().wait()
            assert wait_s is not None
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            await loop.wait_until(loop.now_ns() + int(wait_s * NS_PER_S))
            return Completion(text="buy 1@90", input_tokens=10, output_tokens=5)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        """Remember it."""
        self.is_closed = True


def asked_stage(completer: Completer, *, agents: int = 4, tick_s: float = 0.0, ticks: int = 5) -> Stage:
    """A market of scripted agents that ask this provider."""
    market = asked_market(agents, ticks_max=ticks)
    market.state.phase, market.state.asked = Phase.READY, {}
    asker = asker_of(ASKED, completer, clock=VirtualClock(), seed=1)
    return Stage(market, asker=asker, tick_s=tick_s)


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R2")
def test_all_agents_of_a_tick_are_asked_at_once() -> None:
    """Twelve models of 1.0 s each make ticks of 1.0 s; every answer is recorded in the order of the agents."""
    names = [f"agent-{number}" for number in range(1, 13)]
    completer = Speaker(dict.fromkeys(names, 1.0))

    async def main() -> Stage:
        stage = asked_stage(completer, agents=12)
        await stage.run()
        return stage

    stage = staged(main)
    assert stage.watch.times == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [event.agent for event in stage.events(LlmAnswered)] == names * 5
    assert {event.outcome for event in stage.events(AgentDecided)} == {"ok"}
    assert completer.is_closed
    assert completer.under_way == 0


@pytest.mark.requirement("R7")
def test_a_dead_model_delays_a_tick_by_its_deadline_and_no_more() -> None:
    """Two of four never answer: ticks of 2.0 s, the deadline; their twins act, the others' answers are done."""
    completer = Speaker({"agent-1": None, "agent-2": 0.3, "agent-3": None, "agent-4": 1.9})

    async def main() -> Stage:
        stage = asked_stage(completer)
        await stage.run()
        return stage

    stage = staged(main)
    assert stage.watch.times == [2.0, 4.0, 6.0, 8.0, 10.0]
    outcomes = {(event.agent, event.outcome) for event in stage.events(AgentDecided)}
    assert outcomes == {("agent-1", "timeout"), ("agent-2", "ok"), ("agent-3", "timeout"), ("agent-4", "ok")}
    assert len(stage.events(LlmTimedOut)) == 10
    assert completer.under_way == 0


@pytest.mark.requirement("R3")
def test_the_loop_is_free_while_models_think() -> None:
    """Someone who looks every 10 ms is served all the time and never sees half a tick."""
    completer = Speaker(dict.fromkeys(("agent-1", "agent-2", "agent-3", "agent-4"), 1.5))
    seen: list[tuple[float, int, int]] = []

    async def main() -> Stage:
        stage = asked_stage(completer)

        async def reader() -> None:
            while stage.market.state.phase is not Phase.ENDED:
                seen.append((now_s(), stage.market.state.tick, stage.market.state.decisions))
                await wait(0.01)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reader())
            await stage.run()
        return stage

    staged(main)
    assert max(later - sooner for (sooner, *_), (later, *_) in pairwise(seen)) == pytest.approx(0.01)
    assert {(tick, decisions) for _, tick, decisions in seen} == {(number, 4 * number) for number in range(5)}


def test_a_stop_does_not_wait_for_models() -> None:
    """The questions under way are given up; nothing is left running."""
    completer = Speaker(dict.fromkeys(("agent-1", "agent-2", "agent-3", "agent-4")))

    async def main() -> Stage:
        stage = asked_stage(completer, ticks=0)
        await stage.run((0.5, "stop"))
        assert now_s() < 0.7
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        return stage

    stage = staged(main)
    assert completer.under_way == 0
    assert completer.is_closed
    assert stage.events(AgentDecided) == []


def test_an_answer_during_a_pause_is_kept_for_its_tick() -> None:
    """Asked, paused, answered, resumed: the answer is done in the first tick after the pause."""
    completer = Speaker(dict.fromkeys(("agent-1", "agent-2", "agent-3", "agent-4"), 1.0))

    async def main() -> Stage:
        stage = asked_stage(completer, ticks=1)
        await stage.run((0.5, "pause"), (10.0, "resume"))
        return stage

    stage = staged(main)
    assert stage.watch.times == [pytest.approx(10.0, abs=0.2)]
    assert {event.outcome for event in stage.events(AgentDecided)} == {"ok"}


def test_a_disk_that_fails_ends_the_run() -> None:
    """The writer's thread meets the fault on its own; the market does not go on unrecorded, the provider is closed."""
    completer = Speaker(dict.fromkeys(("agent-1", "agent-2", "agent-3", "agent-4"), 0.1))
    writers: list[InlineWriter] = []
    ticks: list[float] = []

    def writer_of(store: Any, *, last_seq: int) -> InlineWriter:
        writers.append(InlineWriter(store, last_seq=last_seq))
        return writers[0]

    def flush(_: MarketLoop) -> None:
        with contextlib.suppress(JournalFault):
            writers[0].flush()

    async def main() -> Stage:
        stage = asked_stage(completer, ticks=0)
        disk = SimDisk(Faults(sync_fails_from=12))
        stage.loop.journal = log = open_log(disk, wall_ns=stage.clock.wall_ns, writer=writer_of)  # type: ignore[arg-type]
        keeper = MarketKeeper(disk, log, monotonic_ns=stage.clock.now_ns)  # type: ignore[arg-type]
        stage.loop.chores = [flush, keeper.keep_if_due]
        try:
            await stage.run()
        finally:
            ticks.extend(stage.watch.times)
        return stage

    with pytest.raises(JournalFault):
        staged(main)
    assert 1 <= len(ticks) <= 10
    assert completer.is_closed


def test_checkpoints_come_once_a_minute_and_hold_the_state() -> None:
    """Three minutes, three checkpoints of which two are kept; a file that cannot be written ends nothing."""
    off_loop: list[str] = []

    async def inline(work: Callable[..., None], *arguments: Any) -> None:
        off_loop.append(work.__name__)
        if len(off_loop) == 2:
            raise JournalFault("no room for a cache")
        work(*arguments)

    async def main() -> Stage:
        stage = Stage(ready(ticks=200))
        keeper = MarketKeeper(stage.disk, stage.log, monotonic_ns=stage.clock.now_ns, off_loop=inline)
        stage.loop.chores = [keeper.keep_if_due]
        await stage.run()
        return stage

    stage = staged(main)
    assert len(off_loop) == 3
    assert len([name for name in stage.disk.names() if name.startswith("checkpoint-")]) == 2
    assert len(stage.events(MarketTicked)) == 200
