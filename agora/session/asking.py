"""Asks the models of all agents of a tick at once: within deadlines, limits and the budget, with the cassette first.

Replies come in the order of the questions, whatever order they arrived in. What an answer means is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agora.domain.decisions import AnswerOutcome, Ask, Reply, request_hash
from agora.domain.dice import Dice, dice_of
from agora.domain.market_events import LlmAnswered, LlmFailed, LlmTimedOut
from agora.domain.numbers import NS_PER_MS, NS_PER_S, money_units
from agora.session.allowance import Allowance
from agora.session.budget import Budget, Prices, Reservation, prices_of, prompt_tokens_max
from agora.session.cassette import Cassette, CassetteMode
from agora.session.completer import Completer, Completion, Failure
from agora.session.llm_settings import LlmSettings

# The longest answer that is read; a decision takes a few kilobytes.
TEXT_CHARS_MAX = 65_536
# A provider that just failed gets a moment: then twice, four times, ... that, up to eight seconds.
BACKOFF_NS = 100 * NS_PER_MS
BACKOFF_NS_MAX = 8_000 * NS_PER_MS
# Prompts are English, numbers and JSON: a token takes three bytes or more of them. For limits per minute only.
BYTES_PER_TOKEN = 3


class Clock(Protocol):
    """Real time, also where the market's time is not."""

    def now_ns(self) -> int:
        """Now; never goes back."""
        ...

    async def sleep_until(self, ts_ns: int) -> None:
        """Return when it is that late."""
        ...


class Provider:
    """One provider: how it is asked, what it lets us do at once and per minute, what it costs (None: unknown)."""

    def __init__(
        self, completer: Completer, *, concurrency: int, requests: Allowance, tokens: Allowance, prices: Prices | None
    ) -> None:
        self.completer = completer
        self.slots = asyncio.Semaphore(concurrency)
        self.requests = requests
        self.tokens = tokens
        self.prices = prices


class Backoff:
    """How often a passing fault is tried again, and when: later each time, spread by dice."""

    def __init__(self, retries_max: int, dice: Dice) -> None:
        self._retries_max = retries_max
        self._dice = dice

    def wait_ns(self, attempt: int, failure: Failure) -> int | None:
        """The pause after the `attempt`-th failure (from 0), never less than the provider asked for; None: give up."""
        if not failure.is_passing or attempt >= self._retries_max:
            return None
        step_ns = min(BACKOFF_NS << attempt, BACKOFF_NS_MAX)
        # From half the step to one and a half: many agents that failed together do not come back together.
        return max(failure.retry_after_ns, step_ns // 2 + self._dice.below(step_ns))


class _Question:
    """One question under way: until when it may take, and what its attempts have cost so far."""

    __slots__ = ("ask", "begun_ns", "cost_units", "deadline_ns")

    def __init__(self, ask: Ask, begun_ns: int) -> None:
        self.ask = ask
        self.begun_ns = begun_ns
        self.deadline_ns = begun_ns + ask.deadline_ms * NS_PER_MS
        self.cost_units = 0


class Asker:
    """Asks. `providers` by model name; budget, cassette and clock are shared by all. One per event loop."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        clock: Clock,
        budget: Budget,
        cassette: Cassette,
        backoff: Backoff,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._backoff = backoff
        self.budget = budget
        self.cassette = cassette

    async def ask_all(
        self, asks: Sequence[Ask], *, tick: int, ts_ns: int
    ) -> list[LlmAnswered | LlmTimedOut | LlmFailed]:
        """The replies as events of that tick, one per question in their order; raises nothing but cancellation."""
        replies = await self.replies(asks)
        return [_event(ask, reply, tick=tick, ts_ns=ts_ns) for ask, reply in zip(asks, replies, strict=True)]

    async def replies(self, asks: Sequence[Ask]) -> list[Reply]:
        """What came of every question, in their order, when the last deadline has passed at the latest.

        Every question counts as one use of the cassette. Raises nothing but cancellation, which ends all attempts.
        """
        taken = [self.cassette.take(request_hash(ask)) for ask in asks]
        missing = [place for place, (_, known) in enumerate(taken) if known is None]
        tasks: dict[int, asyncio.Task[Reply]] = {}
        begun_ns = self._clock.now_ns()  # of all of them: whoever waits for a slot is given up with the one who has it
        try:
            async with asyncio.TaskGroup() as group:
                for place in missing:
                    tasks[place] = group.create_task(self._asked(_Question(asks[place], begun_ns)))
        finally:
            # In the order of the questions, so that the file does not depend on the network. Paid is kept, whatever
            # happened to the others.
            for place, task in tasks.items():
                if task.done() and not task.cancelled() and task.exception() is None:
                    self.cassette.keep(taken[place][0], task.result())
        return [tasks[place].result() if known is None else known for place, (_, known) in enumerate(taken)]

    def snapshot(self) -> dict[str, Any]:
        """What a resumed run has to know: money spent, uses of the cassette."""
        return {"spent_units": self.budget.spent_units, "cassette": self.cassette.snapshot()}

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        self.budget.spent_units = int(memory["spent_units"])
        self.cassette.restore(memory["cassette"])

    async def close(self) -> None:
        """Let go of connections and of the cassette."""
        try:
            for provider in {id(provider): provider for provider in self._providers.values()}.values():
                await provider.completer.close()
        finally:
            self.cassette.close()

    async def _asked(self, question: _Question) -> Reply:
        ask = question.ask
        provider = self._providers.get(ask.model)
        if provider is None:
            return Reply(outcome=AnswerOutcome.PROVIDER_ERROR, detail=f"no provider for the model {ask.model}")
        try:
            async with asyncio.timeout((question.deadline_ns - self._clock.now_ns()) / NS_PER_S):
                reply = await self._tried(question, provider)
        except TimeoutError:
            reply = Reply(outcome=AnswerOutcome.TIMEOUT, detail=f"no answer within {ask.deadline_ms} ms")
        return msgspec.structs.replace(
            reply, cost_units=question.cost_units, latency_ns=self._clock.now_ns() - question.begun_ns
        )

    async def _tried(self, question: _Question, provider: Provider) -> Reply:
        """Attempt after attempt, as long as a fault may pass and the next attempt begins before the deadline."""
        attempt = 0
        while True:
            said = await self._attempt(question, provider)
            if isinstance(said, Completion):
                return Reply(
                    text=said.text[:TEXT_CHARS_MAX], input_tokens=said.input_tokens, output_tokens=said.output_tokens
                )
            wait_ns = self._backoff.wait_ns(attempt, said)
            again_ns = self._clock.now_ns() + (wait_ns or 0)
            if wait_ns is None or again_ns >= question.deadline_ns:
                return Reply(outcome=said.outcome, detail=said.detail)
            await self._clock.sleep_until(again_ns)
            attempt += 1

    async def _attempt(self, question: _Question, provider: Provider) -> Completion | Failure:
        """One attempt, when there is a slot and the provider's limits have room."""
        tokens = prompt_tokens_max(question.ask) // BYTES_PER_TOKEN + question.ask.max_tokens
        async with provider.slots:
            now_ns = self._clock.now_ns()
            of_requests_ns = provider.requests.earliest_ns(1, now_ns=now_ns)
            of_tokens_ns = provider.tokens.earliest_ns(tokens, now_ns=now_ns)
            if of_requests_ns is None or of_tokens_ns is None:
                return _refused(AnswerOutcome.RATE_LIMITED, "one question is more than a minute's limit")
            start_ns = max(of_requests_ns, of_tokens_ns)
            if start_ns >= question.deadline_ns:
                return _refused(AnswerOutcome.RATE_LIMITED, "our limit per minute has no room before the deadline")
            requested = provider.requests.grant(1, start_ns=start_ns)
            granted = provider.tokens.grant(tokens, start_ns=start_ns)
            try:
                await self._clock.sleep_until(start_ns)
            except asyncio.CancelledError:
                provider.requests.correct(requested, 0)
                provider.tokens.correct(granted, 0)
                raise
            said = await self._called(question, provider)
            if isinstance(said, Completion) and said.output_tokens:
                provider.tokens.correct(granted, said.input_tokens + said.output_tokens)
            return said

    async def _called(self, question: _Question, provider: Provider) -> Completion | Failure:
        """One call within the budget. However it ends, its money is accounted for."""
        refusal = self.budget.refusal(question.ask, provider.prices)
        if refusal is not None:
            return _refused(AnswerOutcome.BUDGET, refusal)
        reservation = self.budget.reserve(question.ask, provider.prices)
        # Whoever is cut off may have been billed for all of it.
        cost_units = reservation.worst_units
        try:
            said = await provider.completer.complete(question.ask)
            cost_units = _cost_units(said, provider.prices, reservation)
        finally:
            self.budget.settle(reservation, cost_units)
            question.cost_units += cost_units
        return said


def asker_of(settings: LlmSettings, completer: Completer | None, *, clock: Clock, seed: int) -> Asker:
    """An asker of the one model of the settings; `completer` None: nobody can be asked (a strict replay).

    Raises `UsageFault` or `StartFault` for a cassette that cannot be used.
    """
    prices = prices_of(input_text=settings.input_price_per_million, output_text=settings.output_price_per_million)
    providers = {}
    if completer is not None:
        providers[settings.model] = Provider(
            completer,
            concurrency=settings.concurrency,
            requests=Allowance(settings.rpm),
            tokens=Allowance(settings.tpm),
            prices=prices,
        )
    path = Path(settings.cassette).expanduser() if settings.cassette else None
    return Asker(
        providers,
        clock=clock,
        budget=Budget(cap_units=money_units(settings.max_cost), is_unknown_price_allowed=settings.allow_unknown_price),
        cassette=Cassette(path, CassetteMode(settings.cassette_mode)),
        backoff=Backoff(settings.retries_max, dice_of(seed, "llm", "backoff")),
    )


def _refused(outcome: AnswerOutcome, detail: str) -> Failure:
    return Failure(outcome=outcome, detail=detail, is_passing=False)


def _cost_units(said: Completion | Failure, prices: Prices | None, reservation: Reservation) -> int:
    """What an attempt cost, at worst where the provider does not say."""
    if isinstance(said, Failure):
        return reservation.worst_units if said.is_perhaps_billed else 0
    if prices is None:
        return 0
    if not said.input_tokens:
        return reservation.worst_units
    return prices.cost_units(input_tokens=said.input_tokens, output_tokens=said.output_tokens)


def _event(ask: Ask, reply: Reply, *, tick: int, ts_ns: int) -> LlmAnswered | LlmTimedOut | LlmFailed:
    if reply.outcome is None:
        return LlmAnswered(
            ts_ns=ts_ns,
            tick=tick,
            agent=ask.agent,
            text=reply.text,
            source=reply.source.value,
            latency_ns=reply.latency_ns,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost_units=reply.cost_units,
        )
    if reply.outcome is AnswerOutcome.TIMEOUT:
        return LlmTimedOut(
            ts_ns=ts_ns, tick=tick, agent=ask.agent, latency_ns=reply.latency_ns, cost_units=reply.cost_units
        )
    return LlmFailed(
        ts_ns=ts_ns,
        tick=tick,
        agent=ask.agent,
        outcome=reply.outcome.value,
        detail=reply.detail,
        latency_ns=reply.latency_ns,
        cost_units=reply.cost_units,
    )
