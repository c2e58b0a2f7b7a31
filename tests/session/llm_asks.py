"""Questions to models for tests, and a `Completer` that follows a script; its answers take virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agora.domain.decisions import AnswerOutcome, Ask, Message, Role
from agora.domain.dice import Dice
from agora.domain.numbers import NS_PER_S
from agora.session.allowance import Allowance
from agora.session.asking import Asker, Backoff, Provider
from agora.session.budget import Budget, Prices
from agora.session.cassette import Cassette, CassetteMode
from agora.session.completer import Completion, Failure
from tests.simulation.loop import VirtualTimeLoop

MODEL = "small-model"


def ask(number: int = 0, **changes: Any) -> Ask:
    """A question; another number is another prompt by another agent."""
    messages = (Message(Role.SYSTEM, "You trade."), Message(Role.USER, f"Question {number}"))
    return Ask(**{"agent": f"agent-{number}", "messages": messages, "model": MODEL, "max_tokens": 100, **changes})


def number_of(question: Ask) -> int:
    """Which question of `ask` it is."""
    return int(question.messages[-1].content.split()[-1])


def fault(outcome: AnswerOutcome = AnswerOutcome.PROVIDER_ERROR, **changes: Any) -> Failure:
    """A passing fault of a provider."""
    return Failure(**{"outcome": outcome, "detail": "as scripted", "is_passing": True, **changes})


class Step:
    """What the provider does with one attempt: after so many seconds, this. None: it never answers."""

    def __init__(self, seconds: float = 0.0, said: Completion | Failure | None = None) -> None:
        self.seconds = seconds
        self.said = said


class ScriptedCompleter:
    """Answers the n-th attempt at a question by `script(number, n)`; counts what is under way."""

    def __init__(self, script: Callable[[int, int], Step]) -> None:
        self._script = script
        self.attempts: list[tuple[int, int]] = []
        self.under_way = 0
        self.under_way_max = 0
        self.is_closed = False

    async def complete(self, question: Ask) -> Completion | Failure:
        """One attempt in virtual time."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        number = number_of(question)
        step = self._script(number, sum(seen == number for seen, _ in self.attempts))
        self.attempts.append((number, loop.now_ns()))
        self.under_way += 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        try:
            await loop.wait_until(loop.now_ns() + int(step.seconds * NS_PER_S))
            if step.said is None:
                await asyncio.Event().wait()
            assert step.said is not None
            return step.said
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class LoopClock:
    """The virtual loop's time."""

    def now_ns(self) -> int:
        """Virtual time."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return loop.now_ns()

    async def sleep_until(self, ts_ns: int) -> None:
        """Until then."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        await loop.wait_until(ts_ns)


def said(number: int = 0, *, input_tokens: int = 10, output_tokens: int = 20) -> Completion:
    """An answer that names its question."""
    return Completion(text=f"answer {number}", input_tokens=input_tokens, output_tokens=output_tokens)


def asker(
    completer: ScriptedCompleter,
    *,
    concurrency: int = 50,
    requests: int = 0,
    tokens: int = 0,
    retries_max: int = 2,
    prices: Prices | None = None,
    cap_units: int = 10**18,
    cassette: Cassette | None = None,
) -> Asker:
    """An asker of the scripted provider, without limits unless told; made on the loop that uses it."""
    provider = Provider(
        completer,
        concurrency=concurrency,
        requests=Allowance(requests),
        tokens=Allowance(tokens),
        prices=prices,
    )
    return Asker(
        {MODEL: provider},
        clock=LoopClock(),
        budget=Budget(cap_units=cap_units, is_unknown_price_allowed=prices is None),
        cassette=cassette or Cassette(None, CassetteMode.LIVE),
        backoff=Backoff(retries_max, Dice(1)),
    )
