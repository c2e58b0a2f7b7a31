"""Text of a feed as ticks and lots: exact, bounded, and the same however it is written."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.numbers import Rounding, to_steps
from agora.venues.screen import Reason
from agora.venues.steps import TEXTS_KEPT, Steps, Unusable

STEPS = [Decimal(step) for step in ("0.1", "0.00001", "1", "0.5", "0.25")]


@given(
    st.sampled_from(STEPS),
    st.decimals(min_value=-1_000_000, max_value=1_000_000, places=6),
    st.sampled_from(list(Rounding)),
    st.sampled_from(["{:f}", "{:e}", "{:g}", "{:+f}", " {:f}", "{:f}00"]),
)
def test_numbers_are_rounded_as_told_however_they_are_written(
    step: Decimal, number: Decimal, rounding: Rounding, form: str
) -> None:
    """The fast path for plain digits and the exact division agree, for every way to write a number."""
    text = form.format(number)
    meant = Decimal(text.strip())
    assert Steps(step, rounding).of(text) == to_steps(meant, step=step, rounding=rounding)


@given(st.sampled_from(STEPS), st.integers(0, 10**9), st.sampled_from(["", "0", "000"]))
def test_a_price_on_the_tick_is_taken(step: Decimal, count: int, zeros: str) -> None:
    """Trailing zeros change nothing."""
    text = f"{count * step:f}"
    assert Steps(step, None).of(text + zeros if "." in text else text) == count


@pytest.mark.parametrize(
    "text,reason",
    [
        ("86699.65", Reason.OFF_TICK),
        ("NaN", Reason.NOT_FINITE),
        ("-Infinity", Reason.NOT_FINITE),
        ("", Reason.NOT_FINITE),
        ("1.2.3", Reason.NOT_FINITE),
        (".", Reason.NOT_FINITE),
        ("²", Reason.NOT_FINITE),
        ("1e999999", Reason.TOO_LARGE),
        ("9" * 22, Reason.TOO_LARGE),
        ("9" * 65, Reason.TOO_LONG),
        (float("nan"), Reason.NOT_FINITE),
        (float("inf"), Reason.NOT_FINITE),
        (0.05, Reason.OFF_TICK),
    ],
)
def test_what_is_no_price_is_named(text: str | float, reason: Reason) -> None:
    """Each refusal has its word, and none of them takes time."""
    with pytest.raises(Unusable) as caught:
        Steps(Decimal("0.1"), None).of(text)
    assert caught.value.reason == reason


def test_texts_that_are_remembered_are_bounded() -> None:
    """A market that moves for days leaves no more behind than one of an hour."""
    steps = Steps(Decimal("0.1"), None)
    for number in range(3 * TEXTS_KEPT):
        assert steps.of(str(number)) == 10 * number
    assert len(steps._known) <= TEXTS_KEPT


@given(st.text(max_size=80))
def test_any_text_is_a_number_of_steps_or_refused(text: str) -> None:
    """Nothing else comes out."""
    found: object = None
    with suppress(Unusable):
        found = Steps(Decimal("0.001"), Rounding.DOWN).of(text)
    assert found is None or isinstance(found, int)
