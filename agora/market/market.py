"""The agents' market as one pure step: an event goes in, decisions and questions come out.

Agents act in an order drawn anew for each tick from the seed, never in the order in which their models answered.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from agora.domain.decisions import Ask, request_hash
from agora.domain.dice import dice_of
from agora.domain.errors import Bug
from agora.domain.events import Event, OperatorCommand, RunEnded, RunResumed, RunStarted
from agora.domain.market_events import (
    AgentDecided,
    LlmAnswered,
    LlmAsked,
    LlmFailed,
    LlmFallback,
    LlmTimedOut,
    MarketTicked,
    NewsArrived,
    Shock,
    Tick,
)
from agora.exchange.market_engine import MarketEngine
from agora.exchange.records import Trade
from agora.exchange.requests import Agent, AgentView, CancelRequest, NewsItem, Request
from agora.market.state import CLOSES_KEPT, NEWS_KEPT, Choice, MarketState, Phase, Said, SeatCounts
from agora.market.views import SeatView

REQUESTS_MAX = 8  # of one agent in one tick: what the answer schema allows
RULES = "rules"
ENDINGS = {"stop": 0, "kill": 4, "interrupt": 130, "terminate": 143, "force": 130, "bug": 8}


class Decided(Protocol):
    """What an agent with a model made of an answer."""

    @property
    def outcome(self) -> str:
        """One of the answer outcomes."""
        ...

    @property
    def requests(self) -> Sequence[Request]:
        """What it wants done."""
        ...

    @property
    def note(self) -> str:
        """What it wants remembered."""
        ...


class AskingAgent(Protocol):
    """An agent that lets a model decide, and a rule-based twin where the model does not."""

    name: str

    def ask(self, view: AgentView) -> Ask:
        """The question for the next tick."""
        ...

    def decide_from(self, view: AgentView, text: str, source: str) -> Decided:
        """What to do after that answer."""
        ...

    def fallback(self, view: AgentView) -> Sequence[Request]:
        """What the twin does."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered."""
        ...

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        ...


class Crowd(Protocol):
    """The background population of all assets."""

    def step(self, now_ns: int) -> None:
        """Let everyone act once."""
        ...

    def shift_fundamental(self, symbol: str, fraction: float) -> None:
        """Move the value that the crowd believes in."""
        ...

    def digest(self) -> str:
        """SHA-256 of everything remembered."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered."""
        ...

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        ...


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """An agent at its account. Exactly one of `rules` and `asking` is there."""

    name: str
    persona: str
    account: int
    model: str = ""
    rules: Agent | None = None
    asking: AskingAgent | None = None

    @property
    def agent(self) -> Agent | AskingAgent:
        """Whoever sits here."""
        chosen = self.rules or self.asking
        assert chosen is not None, f"nobody sits at {self.name}"
        return chosen


class MarketPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change in a run: the seed, the length of a tick, the number of ticks (0: until told)."""

    seed: int
    tick_ns: int
    ticks_max: int
    news_impact_ppm: int


class Market:
    """Exchange, crowd and agents, moved by `step` alone."""

    def __init__(self, engine: MarketEngine, seats: Sequence[Seat], *, crowd: Crowd | None, plan: MarketPlan) -> None:
        self.engine = engine
        self.seats = tuple(seats)
        self.crowd = crowd
        self.plan = plan
        self.state = MarketState(
            closes_ticks=[[engine.book(symbol).last_ticks] for symbol in engine.rules.symbols],
            seats=[SeatCounts(outcomes={}) for _ in seats],
        )
        self.views = tuple(SeatView(engine, self.state, seat.account) for seat in self.seats)
        # Of the last tick, for those who look on.
        self.new_trades: list[Trade] = []
        self.new_choices: list[Choice] = []
        self._places = {seat.name: place for place, seat in enumerate(self.seats)}
        self._handlers: dict[type, Callable[[Any], list[Event | Ask]]] = {
            RunStarted: self._on_started,
            RunResumed: self._on_resumed,
            Tick: self._on_tick,
            NewsArrived: self._on_news,
            Shock: self._on_shock,
            OperatorCommand: self._on_command,
            LlmAnswered: self._on_answered,
            LlmTimedOut: self._on_timed_out,
            LlmFailed: self._on_failed,
        }

    def step(self, event: Event) -> list[Event | Ask]:
        """Take one event in; returns what was decided (to be recorded) and what is to be asked."""
        handler = self._handlers.get(type(event))
        if handler is None:
            raise Bug(f"an agents' market has no use for {type(event).__name__}")
        return handler(event)

    def may_tick(self) -> bool:
        """Whether the next tick may come: running, or paused with steps asked for."""
        state = self.state
        return state.phase is Phase.RUNNING or (state.phase is Phase.PAUSED and state.steps_allowed > 0)

    # The life of the run.

    def _on_started(self, event: RunStarted) -> list[Event | Ask]:
        state = self.state
        state.phase = Phase.RUNNING
        state.start_ns = state.now_ns = event.ts_ns
        state.tick_ns = self.plan.tick_ns
        state.ticks_max = self.plan.ticks_max
        return self._ask()

    def _on_resumed(self, event: RunResumed) -> list[Event | Ask]:
        """Taking a run up again is a start; the questions that were open when the process died are asked again."""
        del event
        if self.state.phase is Phase.ENDED:
            return []
        self.state.phase, self.state.steps_allowed = Phase.RUNNING, 0
        return self._ask()

    def _on_command(self, event: OperatorCommand) -> list[Event | Ask]:
        state = self.state
        if state.phase is Phase.ENDED:
            return []
        if event.command in ENDINGS:
            return [self._end(event.reason or event.command, ENDINGS[event.command])]
        if event.command == "pause":
            state.phase, state.steps_allowed = Phase.PAUSED, 0
        elif event.command in ("start", "resume"):
            state.phase, state.steps_allowed = Phase.RUNNING, 0
        elif event.command == "step":
            state.phase = Phase.PAUSED
            state.steps_allowed += 1
        return []

    def _end(self, reason: str, exit_code: int) -> RunEnded:
        state = self.state
        state.phase = Phase.ENDED
        state.end_reason, state.exit_code = reason, exit_code
        status = "completed" if exit_code == 0 else ("failed" if exit_code == ENDINGS["bug"] else "stopped")
        return RunEnded(ts_ns=state.now_ns, status=status, reason=reason, exit_code=exit_code, flat=True)

    # News.

    def _on_news(self, event: NewsArrived) -> list[Event | Ask]:
        state = self.state
        state.announced += event.ts_ns > state.now_ns
        item = NewsItem(
            tick=state.tick + 1, text=event.text, tone=event.tone, symbols=event.symbols, source=event.source
        )
        state.news = [*state.news, item][-NEWS_KEPT:]
        if self.crowd is not None and self.plan.news_impact_ppm:
            for symbol in event.symbols or self.engine.rules.symbols:
                self.crowd.shift_fundamental(symbol, event.tone * self.plan.news_impact_ppm / 1e6)
        return []

    def _on_shock(self, event: Shock) -> list[Event | Ask]:
        self.state.announced += event.ts_ns > self.state.now_ns
        if self.crowd is not None:
            self.crowd.shift_fundamental(event.symbol, event.fraction_ppm / 1e6)
        return []

    # Models.

    def _ask(self) -> list[Event | Ask]:
        """Questions for the next tick to all agents with a model that have not been heard."""
        state = self.state
        effects: list[Event | Ask] = []
        for seat, view in zip(self.seats, self.views, strict=True):
            if seat.asking is None or seat.name in state.said:
                continue
            ask = seat.asking.ask(view)
            digest = request_hash(ask)
            state.asked[seat.name] = digest
            effects += [LlmAsked(ts_ns=state.now_ns, tick=state.tick + 1, agent=seat.name, request_hash=digest), ask]
        return effects

    def _on_answered(self, event: LlmAnswered) -> list[Event | Ask]:
        state = self.state
        said = Said(text=event.text, source=event.source, cost_units=event.cost_units)
        if self._hear(event.agent, event.tick, said):
            state.input_tokens += event.input_tokens
            state.output_tokens += event.output_tokens
        return []

    def _on_timed_out(self, event: LlmTimedOut) -> list[Event | Ask]:
        self._hear(event.agent, event.tick, Said(outcome="timeout", cost_units=event.cost_units))
        return []

    def _on_failed(self, event: LlmFailed) -> list[Event | Ask]:
        self._hear(event.agent, event.tick, Said(outcome=event.outcome, cost_units=event.cost_units))
        return []

    def _hear(self, agent: str, tick: int, said: Said) -> bool:
        """Keep an answer for its tick; one that was not asked for, or twice, is thrown away."""
        state = self.state
        if tick != state.tick + 1 or agent not in state.asked or agent in state.said:
            return False
        state.said[agent] = said
        state.heard += 1
        state.cost_units += said.cost_units
        return True

    # Ticks.

    def _on_tick(self, event: Tick) -> list[Event | Ask]:
        state = self.state
        if event.number != state.tick + 1:
            raise Bug(f"tick {event.number} after tick {state.tick}")
        state.now_ns, state.announced = event.ts_ns, 0
        self.new_choices = []
        effects: list[Event | Ask] = []
        for place in dice_of(self.plan.seed, "order", event.number).shuffled(len(self.seats)):
            effects += self._act(place, event.number)
        if self.crowd is not None:
            self.crowd.step(event.ts_ns)
        self.engine.step(event.ts_ns)
        state.tick = event.number
        state.steps_allowed = max(0, state.steps_allowed - 1)
        state.asked, state.said = {}, {}
        effects.append(self._close_tick(event))
        if state.ticks_max and state.tick >= state.ticks_max:
            effects.append(self._end("duration", 0))
        else:
            effects += self._ask()
        return effects

    def _act(self, place: int, tick: int) -> list[Event | Ask]:
        seat, view = self.seats[place], self.views[place]
        if seat.rules is not None:
            requests = seat.rules.decide(view)
            if requests:
                self._submit(place, requests, Choice(seat=place, outcome=RULES, requests=len(requests), refused=0))
            return []
        return self._act_on_answer(place, tick)

    def _act_on_answer(self, place: int, tick: int) -> list[Event | Ask]:
        """What the model said is done; else what the twin says, and both are told."""
        state, seat, view = self.state, self.seats[place], self.views[place]
        assert seat.asking is not None
        said = state.said.get(seat.name, Said(outcome="fallback"))
        outcome, note = said.outcome, ""
        requests: Sequence[Request] = ()
        is_usable = False
        if not outcome:
            decided = seat.asking.decide_from(view, said.text, said.source)
            outcome, note, requests = decided.outcome, decided.note, decided.requests
            is_usable = outcome in ("ok", "repaired", "cache", "replay")
        effects: list[Event | Ask] = []
        if not is_usable:
            effects.append(LlmFallback(ts_ns=state.now_ns, tick=tick, agent=seat.name, outcome=outcome))
            requests = seat.asking.fallback(view)
        choice = Choice(
            seat=place,
            outcome=outcome,
            requests=min(len(requests), REQUESTS_MAX),
            refused=0,
            note=note,
            cost_units=said.cost_units,
        )
        refused = self._submit(place, requests, choice)
        counts = state.seats[place]
        counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + 1
        counts.note = note
        effects.append(
            AgentDecided(
                ts_ns=state.now_ns,
                tick=tick,
                agent=seat.name,
                persona=seat.persona,
                outcome=outcome,
                requests=min(len(requests), REQUESTS_MAX),
                refused=refused,
                note=note,
            )
        )
        return effects

    def _submit(self, place: int, requests: Sequence[Request], choice: Choice) -> int:
        """Hand requests to the exchange; returns how many it refused."""
        account, counts = self.seats[place].account, self.state.seats[place]
        refused = 0
        for request in requests[:REQUESTS_MAX]:
            refused += self._is_refused(account, request)
        counts.requests += min(len(requests), REQUESTS_MAX)
        counts.refused += refused
        self.state.decisions += 1
        self.new_choices.append(msgspec.structs.replace(choice, refused=refused))
        return refused

    def _is_refused(self, account: int, request: Request) -> bool:
        """Do it, and say whether the exchange would not."""
        if not isinstance(request, CancelRequest):
            return self.engine.submit(account, request).is_refused
        if request.order_id:
            return self.engine.cancel(account, request.symbol, request.order_id).is_refused
        self.engine.cancel_all(account, request.symbol)
        return False

    def _close_tick(self, event: Tick) -> MarketTicked:
        """Prices, volumes and the chained digest of all trades."""
        state, symbols = self.state, self.engine.rules.symbols
        self.new_trades = self.engine.take_trades()
        volumes = dict.fromkeys(symbols, 0)
        hasher = hashlib.sha256(state.digest.encode())
        for trade in self.new_trades:
            volumes[trade.symbol] += trade.size_lots
            hasher.update(struct.pack("<4q", trade.price_ticks, trade.size_lots, trade.maker, trade.taker))
        prices = tuple(self.engine.book(symbol).last_ticks for symbol in symbols)
        hasher.update(struct.pack(f"<{len(prices)}q", *prices))
        state.digest = hasher.hexdigest()
        state.trades += len(self.new_trades)
        for closes, price in zip(state.closes_ticks, prices, strict=True):
            closes.append(price)
            if len(closes) > 2 * CLOSES_KEPT:
                del closes[:-CLOSES_KEPT]
        return MarketTicked(
            ts_ns=event.ts_ns,
            tick=event.number,
            prices_ticks=prices,
            volumes_lots=tuple(volumes.values()),
            trades=len(self.new_trades),
            digest=state.digest,
        )

    # Memory.

    def snapshot(self) -> bytes:
        """Everything remembered, as JSON."""
        memory = {
            "state": self.state,
            "engine": self.engine.snapshot(),
            "crowd": None if self.crowd is None else self.crowd.snapshot(),
            "agents": [seat.agent.snapshot() for seat in self.seats],
        }
        return msgspec.json.encode(memory, order="sorted")

    def restore(self, text: bytes) -> None:
        """The inverse of `snapshot`, into a market built from the same settings."""
        memory = msgspec.json.decode(text)
        state = msgspec.convert(memory["state"], MarketState)
        for field in state.__struct_fields__:
            setattr(self.state, field, getattr(state, field))  # the views look at this very object
        self.engine.restore(memory["engine"])
        if self.crowd is not None:
            self.crowd.restore(memory["crowd"])
        for seat, remembered in zip(self.seats, memory["agents"], strict=True):
            seat.agent.restore(remembered)

    def state_hash(self) -> str:
        """SHA-256 of everything remembered; buffers as they are, for compressed ones differ between machines.

        Where an answer came from and what it cost is left out: a run on a cassette ends as the one that it was of.
        """
        hasher = hashlib.sha256(self.engine.digest().encode())
        hasher.update(b"" if self.crowd is None else self.crowd.digest().encode())
        state = msgspec.structs.replace(
            self.state,
            said={
                name: msgspec.structs.replace(each, source="", cost_units=0) for name, each in self.state.said.items()
            },
            seats=[msgspec.structs.replace(seat, outcomes={}) for seat in self.state.seats],
            cost_units=0,
        )
        agents = [seat.agent.snapshot() for seat in self.seats]
        hasher.update(msgspec.json.encode({"state": state, "agents": agents}, order="sorted"))
        return hasher.hexdigest()
