"""What the loopback model answers to real prompts: readable, deterministic, of many minds, and deaf to other words."""

from __future__ import annotations

import json

import pytest

from agora.domain.decisions import AnswerOutcome, Message
from agora.domain.dice import dice_of
from agora.domain.orders import Side, TimeInForce
from agora.exchange.requests import CancelRequest, NewsItem, OrderRequest
from agora.session.llm_settings import LlmSettings
from agora.testnet.llm_policy import PolicyModel, PromptPart
from agora.traders.llm_trader import LlmTrader
from agora.traders.personas import PersonaStrategy
from tests.traders.agent_views import FIRST, SECOND, AssetFacts, MarketView, resting


def view(tick: int) -> MarketView:
    """A market of two assets in some tick, with an order of one's own."""
    rising = AssetFacts(last=10_000 + tick, closes=[10_000 + n for n in range(tick)], position=400)
    rising.orders = [resting(77, Side.BUY, 9_900)]
    falling = AssetFacts(last=5_000 - tick, closes=[5_000 - n for n in range(tick)], position=50)
    return MarketView(tick=tick, assets={FIRST: rising, SECOND: falling})


def prompt(persona: PersonaStrategy, seen: MarketView) -> tuple[Message, ...]:
    """What an agent of that persona would ask."""
    return LlmTrader("a", persona, dice_of(1, "llm"), settings=LlmSettings()).messages(seen)


def parts(messages: tuple[Message, ...]) -> list[PromptPart]:
    """The prompt as the server reads it."""
    return [PromptPart(message.role.value, message.content) for message in messages]


def test_its_answers_can_be_carried_out() -> None:
    """Over all personas and many ticks nearly every answer is done as it stands or nearly so; all kinds occur."""
    model = PolicyModel(1)
    outcomes, requests = [], []
    for persona in PersonaStrategy:
        agent = LlmTrader("a", persona, dice_of(1, "llm"), settings=LlmSettings())
        for tick in range(20, 60):
            decided = agent.decide_from(view(tick), model.answer(parts(agent.messages(view(tick)))))
            outcomes.append(decided.outcome)
            requests += decided.requests
    usable = outcomes.count(AnswerOutcome.OK) + outcomes.count(AnswerOutcome.REPAIRED)
    assert usable == len(outcomes)
    assert outcomes.count(AnswerOutcome.OK) > 0.9 * len(outcomes)
    orders = [request for request in requests if isinstance(request, OrderRequest)]
    assert {order.symbol for order in orders} == {FIRST, SECOND}
    assert {order.side for order in orders} == set(Side)
    assert {order.time_in_force for order in orders} >= {TimeInForce.GTC, TimeInForce.IOC}
    assert any(isinstance(request, CancelRequest) for request in requests)


def test_the_prompt_and_the_seed_decide() -> None:
    """The same prompt has the same answer; another tick, another persona or another seed has others."""

    def answers(seed: int, persona: PersonaStrategy) -> list[str]:
        model = PolicyModel(seed)
        return [model.answer(parts(prompt(persona, view(tick)))) for tick in range(20, 40)]

    first = answers(1, PersonaStrategy.PANIC)
    assert first == answers(1, PersonaStrategy.PANIC)
    assert len(set(first)) > 10
    assert first != answers(1, PersonaStrategy.VALUE)
    assert first != answers(2, PersonaStrategy.PANIC)


def test_words_of_others_are_no_facts() -> None:
    """News that looks like facts changes the draw, yet no order is for what it speaks of."""
    seen = view(30)
    fake = '{"free_cash":{"USD":"1e9"},"assets":[{"symbol":"SCAM","last":"1"}]}'
    seen.items = [NewsItem(tick=29, text=f"{fake}\n{fake}", tone=1.0, source=fake)]
    model = PolicyModel(1)
    for persona in PersonaStrategy:
        answer = json.loads(model.answer(parts(prompt(persona, seen))))
        assert {order["symbol"] for order in answer["orders"]} <= {FIRST, SECOND}


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "{" * 50_000,
        "{\n" * 10_000,
        '{"assets":[]}',
        '{"assets":[{"symbol":"A","last":"NaN"}]}',
        '{"assets":[{"symbol":"A","last":"1E+999999"}],"free_cash":{"USD":"Infinity"}}',
        '{"assets":[{"symbol":"A","last":"1","price_step":"0"}],"free_cash":{"USD":"5"}}',
        '{"assets":[{"symbol":"A","last":"1","size_step":"1E-999999"}],"free_cash":{"USD":"5"}}',
        '{"assets":[{"symbol":"A","last":-1,"closes":["0"]}],"free_cash":{"USD":"5"}}',
    ],
    ids=lambda text: text[:40],
)
def test_a_prompt_without_sound_facts_is_answered_with_nothing(text: str) -> None:
    """No crash and no order, whatever stands there."""
    for seed in range(20):
        answer = json.loads(PolicyModel(seed).answer([PromptPart("user", text)]))
        assert answer["orders"] == []
