"""Asking all models of a tick, in virtual time: deadlines around everything, limits, retries, order, a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from agora.domain.decisions import AnswerOutcome, Reply
from agora.domain.market_events import LlmAnswered, LlmFailed, LlmTimedOut
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.session.budget import Prices, prompt_tokens_max
from tests.session.llm_asks import LoopClock, ScriptedCompleter, Step, ask, asker, fault, said
from tests.simulation.loop import run_virtual

SEEDS = (1, 2, 3, 4, 5)
DEADLINE_MS = 2_000


def timed(story: Callable[[], Coroutine[Any, Any, list[Reply]]], seed: int = 1) -> tuple[list[Reply], int]:
    """The replies, and the virtual time they took, ms."""

    async def measured() -> tuple[list[Reply], int]:
        begun_ns = LoopClock().now_ns()
        replies = await story()
        assert len(asyncio.all_tasks()) == 1, "a task is left behind"
        return replies, (LoopClock().now_ns() - begun_ns) // NS_PER_MS

    return run_virtual(measured(), seed=seed)


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R2")
@pytest.mark.parametrize("seed", SEEDS)
def test_all_are_asked_at_once_and_replies_keep_the_order_of_the_questions(seed: int) -> None:
    """Twelve answers of up to a second take a second together, and arrive in reverse without changing anything."""
    completer = ScriptedCompleter(lambda number, _: Step(1.0 - number * 0.05, said(number)))
    replies, took_ms = timed(lambda: asker(completer).replies([ask(n) for n in range(12)]), seed)
    assert [reply.text for reply in replies] == [f"answer {n}" for n in range(12)]
    assert took_ms == 1_000
    assert completer.under_way_max == 12


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_model_costs_a_tick_its_deadline_and_no_more(seed: int) -> None:
    """Those who answer are heard; the silent ones time out together; their attempts are over."""
    completer = ScriptedCompleter(lambda number, _: Step(0.1, None if number % 2 else said(number)))
    replies, took_ms = timed(lambda: asker(completer).replies([ask(n) for n in range(10)]), seed)
    assert [reply.outcome for reply in replies] == [None, AnswerOutcome.TIMEOUT] * 5
    assert took_ms == DEADLINE_MS
    assert completer.under_way == 0


def test_the_deadline_counts_the_wait_for_a_slot() -> None:
    """With one slot and a silent model nobody waits longer than the first, whose time is theirs too."""
    completer = ScriptedCompleter(lambda _, __: Step())
    replies, took_ms = timed(lambda: asker(completer, concurrency=1).replies([ask(n) for n in range(5)]))
    assert {reply.outcome for reply in replies} == {AnswerOutcome.TIMEOUT}
    assert took_ms == DEADLINE_MS


def test_the_deadline_counts_all_attempts() -> None:
    """A provider that fails slowly is tried again only while there is time, and never beyond the deadline."""
    completer = ScriptedCompleter(lambda _, __: Step(0.7, fault()))
    replies, took_ms = timed(lambda: asker(completer, retries_max=10).replies([ask()]))
    assert replies[0].outcome is AnswerOutcome.TIMEOUT
    assert took_ms == DEADLINE_MS
    assert len(completer.attempts) == 3


def test_each_question_has_its_own_deadline() -> None:
    """A short deadline beside a long one."""
    completer = ScriptedCompleter(lambda number, _: Step(1.0, said(number)))
    asks = [ask(0, deadline_ms=500), ask(1, deadline_ms=1_500)]
    replies, took_ms = timed(lambda: asker(completer).replies(asks))
    assert [reply.outcome for reply in replies] == [AnswerOutcome.TIMEOUT, None]
    assert [reply.latency_ns for reply in replies] == [500 * NS_PER_MS, 1_000 * NS_PER_MS]
    assert took_ms == 1_000


def test_slots_bound_what_is_under_way() -> None:
    """Two hundred questions of a second through fifty slots take four seconds."""
    completer = ScriptedCompleter(lambda number, _: Step(1.0, said(number)))
    asks = [ask(n, deadline_ms=10_000) for n in range(200)]
    replies, took_ms = timed(lambda: asker(completer).replies(asks))
    assert all(reply.outcome is None for reply in replies)
    assert (took_ms, completer.under_way_max) == (4_000, 50)


def test_a_passing_fault_is_tried_again_and_others_are_not() -> None:
    """What fails once and may pass is answered at the second attempt; a lasting fault is one attempt."""
    completer = ScriptedCompleter(
        lambda number, attempt: Step(0.0, fault(is_passing=number == 0) if attempt == 0 else said(number))
    )
    replies, _ = timed(lambda: asker(completer).replies([ask(0), ask(1)]))
    assert [reply.outcome for reply in replies] == [None, AnswerOutcome.PROVIDER_ERROR]
    assert sorted(number for number, _ in completer.attempts) == [0, 0, 1]


def test_attempts_are_counted_and_spread() -> None:
    """After `retries_max` further attempts the last fault is the reply; each pause is longer on the whole."""
    completer = ScriptedCompleter(lambda _, __: Step(0.0, fault()))
    replies, _ = timed(lambda: asker(completer, retries_max=3).replies([ask(deadline_ms=60_000)]))
    assert replies[0] == Reply(
        outcome=AnswerOutcome.PROVIDER_ERROR, detail="as scripted", latency_ns=replies[0].latency_ns
    )
    times = [ts_ns for _, ts_ns in completer.attempts]
    pauses_ms = [(later - earlier) // NS_PER_MS for earlier, later in pairwise(times)]
    assert [low <= pause < 3 * low for pause, low in zip(pauses_ms, (50, 100, 200), strict=True)] == [True] * 3


@pytest.mark.parametrize("retry_after_s, outcome, attempts", [(1.0, None, 2), (3.0, AnswerOutcome.RATE_LIMITED, 1)])
def test_a_provider_that_asks_for_time_gets_it_if_it_fits(
    retry_after_s: float, outcome: AnswerOutcome | None, attempts: int
) -> None:
    """Retry-After within the deadline is kept to; one beyond it is not waited for at all."""
    limited = fault(AnswerOutcome.RATE_LIMITED, retry_after_ns=int(retry_after_s * NS_PER_S))
    completer = ScriptedCompleter(lambda number, attempt: Step(0.0, said(number) if attempt else limited))
    replies, took_ms = timed(lambda: asker(completer).replies([ask()]))
    assert replies[0].outcome is outcome
    assert len(completer.attempts) == attempts
    assert took_ms == (1_000 if outcome is None else 0)


def test_our_own_limit_per_minute_is_kept_and_refuses_at_once_what_it_has_no_room_for() -> None:
    """Three of five questions are asked; the others do not wait for a minute that never comes within the deadline."""
    completer = ScriptedCompleter(lambda number, _: Step(0.0, said(number)))
    replies, took_ms = timed(lambda: asker(completer, requests=3).replies([ask(n) for n in range(5)]))
    outcomes = [reply.outcome for reply in replies]
    assert (outcomes.count(None), outcomes.count(AnswerOutcome.RATE_LIMITED)) == (3, 2)
    assert took_ms == 0


def test_a_limit_of_tokens_waits_for_the_window_and_learns_what_was_used() -> None:
    """Questions estimated at the limit each would go one per minute; the true count lets the second go at once."""
    question = ask(deadline_ms=100_000)
    estimate = prompt_tokens_max(question) // 3 + question.max_tokens
    for used, waited_ms in ((30, 0), (estimate, 60_000)):
        completer = ScriptedCompleter(
            lambda number, _, used=used: Step(0.0, said(number, input_tokens=used - 1, output_tokens=1))
        )

        async def one_by_one(completer: ScriptedCompleter = completer) -> list[Reply]:
            asking = asker(completer, tokens=estimate + 30)
            return [*await asking.replies([question]), *await asking.replies([question])]

        replies, took_ms = timed(one_by_one)
        assert [reply.outcome for reply in replies] == [None, None]
        assert took_ms == waited_ms


def test_a_question_larger_than_the_limit_is_refused() -> None:
    """It would wait forever."""
    completer = ScriptedCompleter(lambda number, _: Step(0.0, said(number)))
    replies, _ = timed(lambda: asker(completer, tokens=50).replies([ask()]))
    assert replies[0].outcome is AnswerOutcome.RATE_LIMITED
    assert not completer.attempts


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cost_limit_holds_whatever_runs_at_once(seed: int) -> None:
    """Of twenty questions at once only those are asked whose worst cases fit together; the sum stays below the cap."""
    prices = Prices(input_units=10**8, output_units=10**8)
    worst = prices.cost_units(input_tokens=prompt_tokens_max(ask(10)), output_tokens=100)
    completer = ScriptedCompleter(
        lambda number, _: Step(0.1 + 0.1 * (number % 3), said(number) if number % 4 else fault(is_passing=False))
    )

    async def story() -> list[Reply]:
        asking = asker(completer, prices=prices, cap_units=worst * 5 + 7)
        replies = await asking.replies([ask(n) for n in range(10, 30)])
        assert asking.budget.reserved_units == 0
        assert asking.budget.spent_units == sum(reply.cost_units for reply in replies) <= worst * 5 + 7
        return replies

    replies, _ = timed(story, seed)
    assert sum(reply.outcome is AnswerOutcome.BUDGET for reply in replies) == 15
    assert completer.under_way_max == 5


def test_a_silent_model_is_billed_at_worst() -> None:
    """Who was cut off may still have worked: the reservation is spent, and the next question finds less."""
    prices = Prices(input_units=10**8, output_units=10**8)
    completer = ScriptedCompleter(lambda _, __: Step())

    async def story() -> list[Reply]:
        asking = asker(completer, prices=prices, cap_units=prices.cost_units(input_tokens=300, output_tokens=100))
        return [*await asking.replies([ask()]), *await asking.replies([ask()])]

    replies, _ = timed(story)
    assert [reply.outcome for reply in replies] == [AnswerOutcome.TIMEOUT, AnswerOutcome.BUDGET]
    assert replies[0].cost_units == prices.cost_units(input_tokens=prompt_tokens_max(ask()), output_tokens=100)


def test_an_unknown_price_is_refused_unless_allowed() -> None:
    """Nothing is asked at a price that nobody knows."""
    completer = ScriptedCompleter(lambda number, _: Step(0.0, said(number)))

    async def story() -> list[Reply]:
        asking = asker(completer, cap_units=10**18)
        asking.budget._is_unknown_price_allowed = False
        return await asking.replies([ask()])

    replies, _ = timed(story)
    assert replies[0].outcome is AnswerOutcome.BUDGET
    assert "price" in replies[0].detail
    assert not completer.attempts


def test_a_model_without_a_provider_is_an_outcome() -> None:
    """A name that nobody serves is no crash."""
    completer = ScriptedCompleter(lambda number, _: Step(0.0, said(number)))
    replies, _ = timed(lambda: asker(completer).replies([ask(model="unheard-of")]))
    assert replies[0].outcome is AnswerOutcome.PROVIDER_ERROR


@pytest.mark.parametrize("seed", SEEDS)
def test_cancelling_ends_every_attempt_and_returns_every_unit(seed: int) -> None:
    """A run that stops in the middle of a tick leaves no task, no reservation, and closed connections."""
    prices = Prices(input_units=10**8, output_units=10**8)
    completer = ScriptedCompleter(lambda number, _: Step(0.1, said(number) if number < 3 else None))

    async def story() -> None:
        asking = asker(completer, prices=prices, concurrency=5)
        task = asyncio.get_running_loop().create_task(asking.replies([ask(n) for n in range(10)]))
        await LoopClock().sleep_until(LoopClock().now_ns() + NS_PER_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asking.close()
        assert len(asyncio.all_tasks()) == 1
        assert asking.budget.reserved_units == 0

    run_virtual(story(), seed=seed)
    assert completer.under_way == 0
    assert completer.is_closed


def test_replies_become_events_of_the_tick() -> None:
    """An answer, a time-out and a fault, each with its agent, in the order of the questions."""
    script = {0: Step(0.2, said(0)), 1: Step(), 2: Step(0.0, fault(is_passing=False))}
    completer = ScriptedCompleter(lambda number, _: script[number])

    async def story() -> list[LlmAnswered | LlmTimedOut | LlmFailed]:
        prices = Prices(input_units=10**8, output_units=10**8)
        asking = asker(completer, prices=prices)
        events = await asking.ask_all([ask(n) for n in range(3)], tick=7, ts_ns=70)
        assert sum(event.cost_units for event in events) == asking.budget.spent_units
        return events

    events = run_virtual(story(), seed=1)
    assert [type(event) for event in events] == [LlmAnswered, LlmTimedOut, LlmFailed]
    assert [(event.agent, event.tick, event.ts_ns) for event in events] == [(f"agent-{n}", 7, 70) for n in range(3)]
    assert isinstance(events[0], LlmAnswered)
    assert (events[0].text, events[0].source, events[0].latency_ns) == ("answer 0", "live", 200 * NS_PER_MS)


def test_a_long_answer_is_cut_off() -> None:
    """What is handed on is bounded, whatever a provider sends."""
    long = said(0)
    completer = ScriptedCompleter(lambda _, __: Step(0.0, type(long)(text="x" * 200_000)))
    replies, _ = timed(lambda: asker(completer).replies([ask()]))
    assert len(replies[0].text) == 65_536
