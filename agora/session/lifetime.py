"""The life of a run on the event loop: its beginning (new or resumed), its guarded loop, its orderly close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from agora.domain.errors import JournalFault
from agora.domain.events import ErrorSeen, OperatorCommand, RunResumed, RunStarted
from agora.domain.numbers import NS_PER_S
from agora.engine.state import Phase
from agora.session.reconcile import reconcile
from agora.session.recovery import Restored
from agora.session.runner import Controls, Keeper, Runner

LOGGER = logging.getLogger("agora")
# Ten probes a second show a stall of the loop before an operator could notice it.
LAG_PROBE_S = 0.1


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part in a run besides its runner. `restored` is None for a new run."""

    runner: Runner
    controls: Controls
    keeper: Keeper
    first: RunStarted | RunResumed
    restored: Restored | None
    poll_ns: int


async def live(cast: Cast) -> None:
    """From the first record to the last; then venue and journal are closed, in that order, whatever happened."""
    try:
        await cast.runner.venue.open()
        if cast.restored is None:
            await cast.runner.take(cast.first)
            await cast.runner.make_durable()
        else:
            await _take_up(cast, cast.restored)
        await _run_guarded(cast)
    finally:
        await cast.runner.venue.close()
        with contextlib.suppress(JournalFault):  # the report tells it: exit code 7
            await cast.runner.journal.close()


async def _take_up(cast: Cast, restored: Restored) -> None:
    """Complete what a crash cut off: decisions, then lost answers, then the venue's word on every open order."""
    runner = cast.runner
    await complete(runner, restored)
    if runner.desk.state.phase is Phase.ENDED:
        return  # The crash took nothing but the last words.
    await runner.take(cast.first)
    await reconcile(runner)


async def complete(runner: Runner, restored: Restored) -> None:
    """Finish the journal's last moment: what was decided and answered in it and did not reach the disk."""
    runner.is_taking_up = True
    for event in restored.replayed.pending:
        runner.record(event)
    await runner.take(*restored.lost, *([restored.cause] if restored.cause is not None else []))


async def _run_guarded(cast: Cast) -> None:
    """The edge of the run: a bug of ours closes it in order, once."""
    runner = cast.runner
    try:
        await runner.run(cast.controls, cast.keeper, poll_ns=cast.poll_ns)
    except Exception as fault:
        LOGGER.exception("a bug of ours: the run ends")
        now_ns = runner.desk.state.now_ns
        detail = f"{type(fault).__name__}: {fault}"
        await runner.take(ErrorSeen(ts_ns=now_ns, where="step", detail=detail))
        await runner.take(OperatorCommand(ts_ns=now_ns, command="bug", reason=detail))
        await runner.run(cast.controls, cast.keeper, poll_ns=cast.poll_ns)


async def rearm(runner: Runner, restored: Restored, command: OperatorCommand) -> list[str]:
    """Take a reset into a run that is not going on, and close its journal; returns what was tripped."""
    state = runner.desk.state
    tripped = [] if state.phase is Phase.ENDED else sorted(state.breakers)
    if tripped:
        await complete(runner, restored)
        await runner.take(command)
    await runner.journal.close()
    return tripped


async def live_measured(cast: Cast, *, monotonic_ns: Callable[[], int], on_lag: Callable[[int], None]) -> None:
    """`live` with a probe beside it that measures how late the event loop wakes."""
    async with asyncio.TaskGroup() as tasks:
        probe = tasks.create_task(probe_lag(monotonic_ns, on_lag))
        try:
            await live(cast)
        finally:
            probe.cancel()


async def live_beside(life: Callable[[], Awaitable[None]], beside: AbstractAsyncContextManager[object]) -> None:
    """A whole life with what runs beside it. Of the group of faults that a life ends in, its own is told."""
    try:
        async with beside:
            await life()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def probe_lag(monotonic_ns: Callable[[], int], on_lag: Callable[[int], None]) -> None:
    """Tell how late the event loop wakes, ten times a second, until cancelled."""
    wait_ns = int(LAG_PROBE_S * NS_PER_S)
    while True:
        before_ns = monotonic_ns()
        await asyncio.sleep(LAG_PROBE_S)
        on_lag(monotonic_ns() - before_ns - wait_ns)
