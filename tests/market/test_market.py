"""The market's step: the same from the same events, whoever answered first; answers that count once; its life."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest

from agora.domain.decisions import USABLE, AnswerOutcome, Ask
from agora.domain.errors import Bug
from agora.domain.events import Event, Heartbeat, OperatorCommand, RunEnded, RunResumed
from agora.domain.market_events import (
    AgentDecided,
    LlmAsked,
    LlmFailed,
    LlmFallback,
    LlmTimedOut,
    MarketTicked,
    NewsArrived,
    Shock,
    Tick,
)
from agora.market.market import Market
from agora.market.state import CLOSES_KEPT, NEWS_KEPT, Phase
from tests.market.markets import SEED, Scripted, Shifts, answer, asked_market, begun, run_on, settings, tick

# They cross one another, so that who comes first decides who trades with whom.
WISHES = {"agent-1": "buy 9@101", "agent-2": "buy 7@100", "agent-3": "sell 8@99", "agent-4": "sell 6@100"}


def scripted(market: Market, name: str) -> Scripted:
    """The agent of that name."""
    agent = next(seat.asking for seat in market.seats if seat.name == name)
    assert isinstance(agent, Scripted)
    return agent


def of(kind: type[Any], effects: list[Event | Ask]) -> list[Any]:
    """The effects of a kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def told(market: Market, command: str) -> list[Event | Ask]:
    """What an operator's command leads to."""
    return market.step(OperatorCommand(ts_ns=market.state.now_ns, command=command, reason=f"{command} it"))


@pytest.mark.requirement("R2")
def test_decisions_do_not_depend_on_the_order_in_which_models_answered() -> None:
    """All orders of arrival of four answers give one state, before the tick and after it."""
    hashes = set()
    for order in permutations(WISHES):
        market = asked_market()
        for name in order:
            market.step(answer(market, name, WISHES[name]))
        before = market.state_hash()
        tick(market)
        assert market.state.trades > 0
        hashes.add((before, market.state_hash(), market.state.digest))
    assert len(hashes) == 1


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("seed", range(1, 11))
def test_long_runs_do_not_depend_on_the_order_of_arrival(seed: int) -> None:
    """Fifty ticks with answers, time-outs and failures in seeded orders of arrival end in the state of the first."""

    def played(arrivals: random.Random | None) -> Market:
        script, market = random.Random(seed), asked_market(8)
        for _ in range(50):
            events: list[Event] = []
            for seat in market.seats:
                side = script.choice(("buy", "sell"))
                text = f"{side} {script.randint(1, 9)}@{script.randint(95, 105)}"
                said = answer(market, seat.name, text)
                lost = LlmTimedOut(ts_ns=said.ts_ns, tick=said.tick, agent=seat.name)
                events.append(script.choice((said, said, said, lost)))
            if arrivals is not None:
                arrivals.shuffle(events)
            for event in events:
                market.step(event)
            tick(market)
        return market

    first = played(None)
    again = played(random.Random(seed + 1_000))
    assert first.state.trades > 20
    assert again.state_hash() == first.state_hash(), f"seed {seed}"
    assert again.state.digest == first.state.digest, f"seed {seed}"


def test_the_order_of_agents_is_drawn_from_the_seed() -> None:
    """Over some ticks every agent comes first, and another seed draws other orders: the order is no habit."""

    def firsts(seed: int) -> list[int]:
        market = asked_market(seed=seed)
        found = []
        for _ in range(30):
            tick(market)
            found.append(market.new_choices[0].seat)
        return found

    assert set(firsts(1)) == {0, 1, 2, 3}
    assert firsts(1) == firsts(1)
    assert firsts(1) != firsts(2)


@pytest.mark.requirement("R2")
@pytest.mark.parametrize(
    "name,changes",
    [
        ("late", {"tick": 1}),
        ("early", {"tick": 3}),
        ("nobody", {"agent": "agent-9"}),
        ("second", {"agent": "agent-2", "text": "sell 500@1"}),
    ],
)
def test_an_answer_that_was_not_asked_for_is_thrown_away(name: str, changes: dict[str, Any]) -> None:
    """Of another tick, from somebody not asked, or the second of one agent: nothing remembers it."""
    market = run_on(asked_market(), 1)
    market.step(answer(market, "agent-2", "buy 1@100"))
    before = market.snapshot()
    event = answer(market, **({"agent": "agent-1", "text": "sell 500@1"} | changes))
    assert market.step(event) == [], name
    assert market.snapshot() == before
    tick(market)
    assert scripted(market, "agent-2").seen == ["live: buy 1@100"]


def test_an_agent_with_rules_is_never_heard() -> None:
    """An answer in the name of a rule-based agent changes nothing."""
    market = begun(settings())
    before = market.snapshot()
    market.step(answer(market, "fomo-1", '{"orders":[]}'))
    assert market.snapshot() == before


def spoken(outcome: AnswerOutcome, *, market: Market) -> Event | None:
    """The event with which an agent's decision comes to that outcome; None: none comes."""
    now_ns, number = market.state.now_ns, market.state.tick + 1
    if outcome is AnswerOutcome.FALLBACK:
        return None
    if outcome is AnswerOutcome.TIMEOUT:
        return LlmTimedOut(ts_ns=now_ns, tick=number, agent="agent-1", cost_units=5)
    if outcome in (AnswerOutcome.RATE_LIMITED, AnswerOutcome.PROVIDER_ERROR, AnswerOutcome.BUDGET):
        return LlmFailed(ts_ns=now_ns, tick=number, agent="agent-1", outcome=outcome.value, cost_units=5)
    return answer(market, "agent-1", f"{outcome.value}: buy 2@90", cost_units=5)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("outcome", list(AnswerOutcome))
def test_every_outcome_is_counted_and_an_unusable_one_is_the_twins(outcome: AnswerOutcome) -> None:
    """Counted once, told once; where the model's answer cannot be done the twin acts, never nobody."""
    market = asked_market(1)
    event = spoken(outcome, market=market)
    if event is not None:
        market.step(event)
    effects = tick(market)
    is_usable = outcome in USABLE
    (decided,) = of(AgentDecided, effects)
    assert (decided.outcome, decided.requests, decided.refused) == (outcome.value, 1, 0)
    assert market.state.seats[0].outcomes == {outcome.value: 1}
    assert [fallback.outcome for fallback in of(LlmFallback, effects)] == ([] if is_usable else [outcome.value])
    assert scripted(market, "agent-1").fallbacks == (0 if is_usable else 1)
    (resting,) = market.views[0].open_orders("ARBO")
    assert resting.remaining_lots == (2 if is_usable else 1)
    assert market.state.cost_units == (0 if event is None else 5)


def test_a_strict_replay_that_misses_is_the_twins() -> None:
    """An outcome `replay` without a text counts as one and is done by the twin."""
    market = asked_market(1)
    market.step(LlmFailed(ts_ns=market.state.now_ns, tick=1, agent="agent-1", outcome="replay"))
    effects = tick(market)
    assert [fallback.outcome for fallback in of(LlmFallback, effects)] == ["replay"]
    assert scripted(market, "agent-1").fallbacks == 1


def test_everyone_with_a_model_is_asked_once_a_tick_about_the_next_one() -> None:
    """A question and its record for each agent, of the coming tick; none of them is asked again before it."""
    market = asked_market()
    for number in range(2, 5):
        effects = tick(market)
        assert [ask.agent for ask in of(Ask, effects)] == list(WISHES)
        assert [(asked.agent, asked.tick) for asked in of(LlmAsked, effects)] == [(name, number) for name in WISHES]


def test_a_resumed_market_asks_again_whoever_was_not_heard() -> None:
    """Answers that were recorded are kept; the others are asked for anew."""
    market = asked_market()
    market.step(answer(market, "agent-3", "sell 1@100"))
    effects = market.step(RunResumed(ts_ns=market.state.now_ns, down_ns=0, torn_bytes=0))
    assert [ask.agent for ask in of(Ask, effects)] == ["agent-1", "agent-2", "agent-4"]
    assert market.state.phase is Phase.RUNNING


def test_pause_step_and_resume() -> None:
    """Paused, only as many ticks may come as were asked for; resumed, all."""
    market = asked_market()
    assert market.may_tick()
    told(market, "pause")
    assert not market.may_tick()
    told(market, "step")
    told(market, "step")
    for _ in range(2):
        assert market.may_tick()
        tick(market)
    assert not market.may_tick()
    told(market, "resume")
    assert market.may_tick()
    told(market, "step")
    assert market.state.phase is Phase.PAUSED


@pytest.mark.parametrize(
    "command,code,status",
    [
        ("stop", 0, "completed"),
        ("kill", 4, "stopped"),
        ("interrupt", 130, "stopped"),
        ("force", 130, "stopped"),
        ("terminate", 143, "stopped"),
    ],
)
def test_a_command_ends_the_market_with_its_code(command: str, code: int, status: str) -> None:
    """One ending with its reason; after it no command changes anything."""
    market = run_on(asked_market(), 2)
    (ended,) = of(RunEnded, told(market, command))
    assert (ended.exit_code, ended.status, ended.reason) == (code, status, f"{command} it")
    assert not market.may_tick()
    before = market.snapshot()
    for name in ("stop", "pause", "resume", "step", "kill"):
        assert told(market, name) == []
    assert market.snapshot() == before


def test_the_last_tick_ends_the_run_and_asks_nobody() -> None:
    """After `ticks_max` ticks there is an ending with code 0, and no question that nobody would wait for."""
    market = asked_market(ticks_max=3)
    run_on(market, 2)
    effects = tick(market)
    assert [(ended.reason, ended.exit_code) for ended in of(RunEnded, effects)] == [("duration", 0)]
    assert not of(Ask, effects)


def test_ticks_come_one_by_one() -> None:
    """A tick left out or repeated is a bug of ours, as is an event that no market knows."""
    market = asked_market()
    for number in (0, 2):
        with pytest.raises(Bug, match="after tick 0"):
            market.step(Tick(ts_ns=market.state.start_ns + number, number=number))
    with pytest.raises(Bug, match="Heartbeat"):
        market.step(
            Heartbeat(ts_ns=0, cpu_fraction=0, rss_mb=0, disk_free_mb=0, loop_lag_ms=0, queue_depth=0),
        )


@pytest.mark.parametrize(
    "event,moves",
    [
        (NewsArrived(ts_ns=0, text="good", tone=0.5, symbols=("ARBO",)), [("ARBO", 0.005)]),
        (NewsArrived(ts_ns=0, text="bad for all", tone=-1.0), [("ARBO", -0.01)]),
        (Shock(ts_ns=0, symbol="ARBO", fraction_ppm=-200_000, cause="a mine floods"), [("ARBO", -0.2)]),
    ],
)
def test_news_and_shocks_move_what_the_crowd_believes(event: Event, moves: list[tuple[str, float]]) -> None:
    """News by its tone times the impact of the settings, a shock by its fraction."""
    crowd = Shifts()
    asked_market(crowd=crowd).step(event)
    assert [symbol for symbol, _ in crowd.moves] == [symbol for symbol, _ in moves]
    assert [fraction for _, fraction in crowd.moves] == pytest.approx([fraction for _, fraction in moves])


def test_agents_see_the_newest_news() -> None:
    """Eight items at most, the oldest go; each with the tick it was there for."""
    market = asked_market()
    for number in range(NEWS_KEPT + 4):
        market.step(NewsArrived(ts_ns=market.state.now_ns, text=f"item {number}", tone=0.1, source="desk"))
        tick(market)
    seen = market.views[0].news()
    assert [item.text for item in seen] == [f"item {number}" for number in range(4, NEWS_KEPT + 4)]
    assert [item.tick for item in seen] == list(range(5, NEWS_KEPT + 5))


def test_a_tick_tells_its_prices_volumes_and_a_digest_of_all_trades() -> None:
    """The record of a tick is of that tick's trades; a different trade gives another digest for ever after."""
    market = asked_market()
    market.step(answer(market, "agent-1", "buy 5@101"))
    market.step(answer(market, "agent-3", "sell 5@101"))
    (ticked,) = of(MarketTicked, tick(market))
    assert (ticked.tick, ticked.prices_ticks, ticked.volumes_lots, ticked.trades) == (1, (101,), (5,), 1)
    other = asked_market()
    other.step(answer(other, "agent-1", "buy 5@101"))
    other.step(answer(other, "agent-4", "sell 5@101"))
    tick(other)
    assert other.state.digest != ticked.digest
    assert run_on(market, 3).state.digest != run_on(other, 3).state.digest


def test_an_agent_makes_eight_requests_a_tick_at_most() -> None:
    """What a model asks for beyond that is not done and not counted."""
    market = asked_market(1)
    market.step(answer(market, "agent-1", " ".join(f"buy 1@{price}" for price in range(80, 92))))
    (decided,) = of(AgentDecided, tick(market))
    assert decided.requests == 8
    assert len(market.views[0].open_orders("ARBO")) == 8


def test_a_refused_request_is_counted_and_changes_no_money() -> None:
    """Beyond its means an agent gets a refusal, which its decision tells."""
    market = asked_market(1)
    market.step(answer(market, "agent-1", "buy 999999@100 sell 2@105"))
    (decided,) = of(AgentDecided, tick(market))
    assert (decided.requests, decided.refused) == (2, 1)
    assert (market.state.seats[0].requests, market.state.seats[0].refused) == (2, 1)
    assert [order.remaining_lots for order in market.views[0].open_orders("ARBO")] == [2]


@pytest.mark.requirement("R5")
def test_a_rule_only_market_trades_and_conserves_money_and_units() -> None:
    """Three hundred ticks of personas and crowd: the exchange's own audit holds, nobody's money was made or lost."""
    market = begun(settings(market__taker_fee_ppm=0))
    engine = market.engine
    everyone = range(len(engine.accounts))

    def totals() -> tuple[int, ...]:
        cash = sum(engine.accounts.cash_units(account, "USD") for account in everyone)
        lots = [sum(engine.accounts.position_lots(account, s) for account in everyone) for s in engine.rules.symbols]
        return cash, *lots

    before = totals()
    run_on(market, 300)
    engine.check()
    assert market.state.trades > 100
    assert totals() == before
    assert all(len(closes) <= 2 * CLOSES_KEPT for closes in market.state.closes_ticks)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_capital_and_return_hold_for_any_seed(seed: int) -> None:
    """Initial capital is the cash and the units at their listing prices; ROI is the change of value over it."""
    market = begun(settings(run__seed=seed))
    at_first = [market.engine.portfolio(seat.account) for seat in market.seats]
    assert all(portfolio.initial_capital_units == portfolio.total_value_units for portfolio in at_first)
    assert all(portfolio.roi == 0.0 for portfolio in at_first)
    run_on(market, 100)
    for seat, first in zip(market.seats, at_first, strict=True):
        now = market.engine.portfolio(seat.account)
        assert now.initial_capital_units == first.initial_capital_units
        assert now.roi == pytest.approx(now.total_value_units / first.initial_capital_units - 1)
        assert now.total_pnl_units == now.total_value_units - first.initial_capital_units


def test_another_seed_is_another_market() -> None:
    """Otherwise equality of runs would prove nothing."""
    digests = {run_on(begun(settings(run__seed=seed)), 50).state.digest for seed in (SEED, SEED + 1, SEED)}
    assert len(digests) == 2
