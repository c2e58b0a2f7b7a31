"""Runs an agents' market on the event loop: asks the models, keeps the pace, records, steps. Decides nothing.

Between two awaits the market stands at the end of one tick, so whoever reads it from the same loop needs no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from agora.domain.decisions import Ask
from agora.domain.events import ROLES, Event, Heartbeat, OperatorCommand, RunResumed, RunStarted
from agora.domain.market_events import LlmAnswered, LlmFailed, LlmTimedOut, NewsArrived, Shock, Tick
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Journal
from agora.market.market import Market
from agora.market.state import Phase

# A paused or paced market looks for commands and signals this often; the promise is one second.
POLL_S = 0.1
# At full speed the loop turns after every tick, which is milliseconds of work: a reader waits no longer.
# A request takes some five turns (accept, read, route, write): with one a tick it would wait for five ticks.
TURNS_PER_TICK = 5
Said = LlmAnswered | LlmTimedOut | LlmFailed


class Asker(Protocol):
    """Asks models. Returns within the deadline of the questions, one event for each in their order."""

    def ask_all(self, asks: Sequence[Ask], *, tick: int, ts_ns: int) -> Coroutine[Any, Any, Sequence[Said]]:
        """What came of every question; raises nothing but cancellation."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


class MarketControls(Protocol):
    """What operators, signals and the process itself have to say."""

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """The next command, if there is one. Cheap."""
        ...

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """A heartbeat, when one is due."""
        ...


class MarketObserver(Protocol):
    """Looks on; changes nothing. Called after every recorded input with what came out."""

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """`event` was recorded and led to `effects`."""
        ...


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of real time from tick to tick (0: as fast as possible), and how real time is read and waited for."""

    tick_s: float
    monotonic_ns: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class MarketLoop:
    """One market run from first to last event. `scheduled`: events of the news file by the tick they precede."""

    def __init__(self, market: Market, journal: Journal, *, asker: Asker | None, pace: Pace) -> None:
        self.market = market
        self.journal = journal
        self.observers: list[MarketObserver] = []
        self.scheduled: dict[int, list[NewsArrived | Shock]] = {}
        # Done after each tick: a checkpoint when it is due, waiting for a ledger that is behind.
        self.chores: list[Callable[[MarketLoop], Awaitable[None] | None]] = []
        self._asker = asker
        self._pace = pace
        self._asks: list[Ask] = []
        self._asked: asyncio.Task[Sequence[Said]] | None = None
        self._waiting: list[Event] = []  # commands and news of the API, taken before the next tick
        self._next_tick_ns = 0

    # What others ask for. The API calls these; they take effect before the next tick.

    def submit(self, event: OperatorCommand | NewsArrived | Shock) -> bool:
        """Take an event in before the next tick; False when too many wait already."""
        if len(self._waiting) >= 1_000:  # a thousand news items in one tick are an attack or a mistake
            return False
        self._waiting.append(event)
        return True

    async def run(self, first: RunStarted | RunResumed, controls: MarketControls) -> None:
        """From the first record to the last; closes the asker and the journal whatever happens."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._take(first)
                await self.journal.commit()
                self._next_tick_ns = self._pace.monotonic_ns()
                while self.market.state.phase is not Phase.ENDED:
                    await self._turn(controls, tasks)
                if self._asked is not None:
                    self._asked.cancel()
            await self.journal.commit()
        finally:
            if self._asker is not None:
                await self._asker.close()
            await self.journal.close()

    async def _turn(self, controls: MarketControls, tasks: asyncio.TaskGroup) -> None:
        """One look at the controls, then a tick if it is time for one."""
        now_ns = self.market.state.now_ns
        command = controls.poll(now_ns)
        if command is not None:
            self._take(command)
            await self.journal.commit()
            return
        pulse = controls.pulse(now_ns, queue_depth=len(self._waiting))
        if pulse is not None:
            self.journal.append(pulse)
            self._show(pulse, [])
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            # A tick may have passed since they were handed in: they happen now.
            self._take(*(msgspec.structs.replace(event, ts_ns=now_ns) for event in waiting))
            await self.journal.commit()
            return
        self._start_asking(tasks)
        if await self._is_time_for_tick():
            self._tick()
            await self._after_tick()

    async def _is_time_for_tick(self) -> bool:
        """Wait a little, for the models or for the clock; True when the next tick may come."""
        if not self.market.may_tick():
            await self._pace.sleep(POLL_S)
            return False
        if self._asked is not None:
            await asyncio.wait([self._asked], timeout=POLL_S)
            if not self._asked.done():
                return False
            self._take(*self._asked.result())
            self._asked = None
        left_s = (self._next_tick_ns - self._pace.monotonic_ns()) / NS_PER_S
        if self._pace.tick_s == 0 or left_s <= 0:
            return True
        await self._pace.sleep(min(left_s, POLL_S))
        return False

    def _tick(self) -> None:
        state = self.market.state
        number = state.tick + 1
        ts_ns = state.start_ns + number * state.tick_ns
        # Of a run that was killed between its news and their tick, the news are in the journal already.
        events = [_stamped(event, ts_ns) for event in self.scheduled.get(number, [])[state.announced :]]
        self._take(*events, Tick(ts_ns=ts_ns, number=number))
        # Late ticks are not made up for: the pace goes on from where it is.
        tick_ns, now_ns = int(self._pace.tick_s * NS_PER_S), self._pace.monotonic_ns()
        due_ns = self._next_tick_ns + tick_ns
        self._next_tick_ns = due_ns if due_ns > now_ns else now_ns + tick_ns

    async def _after_tick(self) -> None:
        """Let others run; keep the journal within its buffer and at most a second behind."""
        for chore in self.chores:
            work = chore(self)
            if work is not None:
                await work
        if self.journal.is_full:
            await self.journal.commit()
        for _ in range(TURNS_PER_TICK):
            await asyncio.sleep(0)

    def _start_asking(self, tasks: asyncio.TaskGroup) -> None:
        if self._asked is not None or not self._asks:
            return
        asks, self._asks = self._asks, []
        assert self._asker is not None, "a market with models needs somebody to ask them"
        state = self.market.state
        self._asked = tasks.create_task(self._asker.ask_all(asks, tick=state.tick + 1, ts_ns=state.now_ns))

    def _take(self, *events: Event) -> None:
        """Record each event, step, record what was decided."""
        for event in events:
            self.journal.append(event)
            effects = self.market.step(event)
            self.record(effects)
            self._show(event, effects)

    def record(self, effects: Iterable[Event | Ask]) -> None:
        """Record decisions, remember questions."""
        for effect in effects:
            if isinstance(effect, Ask):
                self._asks.append(effect)
            else:
                assert type(effect) in ROLES
                self.journal.append(effect)

    def _show(self, event: Event, effects: Sequence[Event | Ask]) -> None:
        for observer in self.observers:
            observer.after_step(self.market, event, effects=effects)


def _stamped(event: NewsArrived | Shock, ts_ns: int) -> NewsArrived | Shock:
    return msgspec.structs.replace(event, ts_ns=ts_ns)
