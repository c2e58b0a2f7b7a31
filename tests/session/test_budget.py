"""The cost limit: worst cases reserved, true costs settled, and nothing ever beyond the cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.decisions import Message, Role
from agora.domain.numbers import money_units
from agora.session.budget import Budget, Prices, Reservation, prices_of, prompt_tokens_max
from tests.session.llm_asks import ask

PRICES = Prices(input_units=money_units("2.5"), output_units=money_units("10"))


def test_prices_are_decimal_texts_per_million_tokens() -> None:
    """Without both there is no price; costs are rounded up to the smallest unit of money."""
    assert prices_of(input_text="0.15", output_text="0.60") == Prices(input_units=15_000_000, output_units=60_000_000)
    assert prices_of(input_text="", output_text="0.60") is None
    assert PRICES.cost_units(input_tokens=1_000_000, output_tokens=100_000) == money_units("3.5")
    assert Prices(input_units=1, output_units=0).cost_units(input_tokens=1, output_tokens=0) == 1


@given(st.lists(st.text(max_size=200), max_size=10))
def test_the_worst_case_of_a_prompt_counts_every_byte(contents: list[str]) -> None:
    """A tokenizer that makes a token of every byte, and some more around each message, stays within it."""
    messages = tuple(Message(Role.USER, content) for content in contents)
    size = sum(len(content.encode()) for content in contents)
    assert prompt_tokens_max(ask(messages=messages)) >= size + len(messages)


def test_what_does_not_fit_is_refused_with_its_figures() -> None:
    """The worst case against what is neither spent nor reserved."""
    budget = Budget(cap_units=money_units("0.002"), is_unknown_price_allowed=False)
    assert budget.refusal(ask(), PRICES) is None
    first = budget.reserve(ask(), PRICES)
    refusal = budget.refusal(ask(), PRICES)
    assert refusal == "could cost 0.00129, 0.00071 is left"
    budget.settle(first, 0)
    assert budget.refusal(ask(), PRICES) is None


def test_a_question_without_a_price_is_refused_unless_allowed() -> None:
    """Allowed, it costs nothing that could be counted."""
    careful = Budget(cap_units=10**18, is_unknown_price_allowed=False)
    assert careful.refusal(ask(), None) == "the price of small-model is unknown"
    careless = Budget(cap_units=0, is_unknown_price_allowed=True)
    assert careless.refusal(ask(), None) is None
    careless.settle(careless.reserve(ask(), None), 0)
    assert careless.spent_units == 0


def test_a_resumed_run_goes_on_with_what_was_spent() -> None:
    """Even when the cap was lowered in between: then nothing is asked any more."""
    budget = Budget(cap_units=money_units("1"), is_unknown_price_allowed=False, spent_units=money_units("1.5"))
    assert budget.refusal(ask(), PRICES) is not None


def test_a_provider_that_charges_more_than_the_worst_case_is_counted() -> None:
    """The overrun is spent, and known as one."""
    budget = Budget(cap_units=money_units("0.01"), is_unknown_price_allowed=False)
    budget.settle(budget.reserve(ask(), PRICES), money_units("0.02"))
    assert budget.spent_units == money_units("0.02")
    assert budget.overrun_units > 0
    assert budget.refusal(ask(), PRICES) is not None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10_000), st.floats(0, 1)), max_size=60))
def test_spent_and_reserved_never_exceed_the_cap(steps: list[tuple[int, int, float]]) -> None:
    """Whatever is reserved and settled in whatever order, each at a cost up to its worst case."""
    cap_units = money_units("0.05")
    budget = Budget(cap_units=cap_units, is_unknown_price_allowed=False)
    open_ones: list[Reservation] = []
    for kind, tokens, part in steps:
        question = ask(max_tokens=max(1, tokens))
        if kind and budget.refusal(question, PRICES) is None:
            open_ones.append(budget.reserve(question, PRICES))
        elif open_ones:
            reservation = open_ones.pop(int(part * (len(open_ones) - 1)))
            budget.settle(reservation, int(reservation.worst_units * part))
        assert 0 <= budget.spent_units + budget.reserved_units <= cap_units
        assert budget.reserved_units == sum(reservation.worst_units for reservation in open_ones)


def test_reserving_beyond_the_cap_is_a_bug() -> None:
    """Who does not ask first is stopped."""
    budget = Budget(cap_units=0, is_unknown_price_allowed=False)
    with pytest.raises(AssertionError, match="beyond the budget"):
        budget.reserve(ask(), PRICES)
