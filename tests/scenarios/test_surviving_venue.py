"""Crashes of a run whose exchange goes on without it: filled, cancelled and funded meanwhile, told late and twice."""

from __future__ import annotations

import pytest

from agora.domain.events import OrderFilled, RunResumed
from tests.scenarios.checks import unique_fills, violations
from tests.scenarios.harness import Crash, Teller, events_of
from tests.scenarios.plans import crashes_of, lagging, remote_setup_of

SEEDS_PER_TEST = 10
SEEDS = 100


@pytest.mark.requirement("B5")
@pytest.mark.requirement("B35")
@pytest.mark.requirement("H4.2")
@pytest.mark.parametrize("first", range(1, SEEDS + 1, SEEDS_PER_TEST))
def test_an_exchange_that_outlives_the_crash_and_the_run_agree_in_the_end(first: int) -> None:
    """No order is sent twice, every fill is booked once, and the books agree to the last unit."""
    for seed in range(first, first + SEEDS_PER_TEST):
        found = violations(Teller(remote_setup_of(seed), crashes_of(seed)).play())
        assert not found, f"remote, seed {seed} with {crashes_of(seed)}: {found}"


def test_fills_during_an_outage_are_booked_after_it() -> None:
    """What filled while nobody listened is in the journal of the next life."""
    late = 0
    for seed in range(1, 16):
        story = Teller(remote_setup_of(seed), [Crash(after_s=9.3, down_s=20)]).play()
        events = events_of(story)
        at = next((index for index, event in enumerate(events) if isinstance(event, RunResumed)), None)
        assert at is not None
        before_reconcile = events[at : at + 40]
        late += sum(isinstance(event, OrderFilled) for event in before_reconcile)
        assert not violations(story)
    assert late > 5


def test_repeated_fills_are_recorded_and_counted_but_booked_once() -> None:
    """The exchange tells one fill in ten twice: the run counts the repeats and books none of them."""
    story = Teller(remote_setup_of(3, seconds=60)).play()
    fills = [event for event in events_of(story) if isinstance(event, OrderFilled)]
    assert story.desk is not None
    assert story.desk.state.counters.duplicate_fills == len(fills) - len(unique_fills(fills)) > 0
    assert not violations(story)


def test_a_run_that_lags_behind_its_exchange_drops_prices_and_keeps_fills() -> None:
    """With a minute for a sync the queue overflows; orders and fills in it are never dropped.

    Nobody can end such a run flat in time; what it says of itself is true all the same.
    """
    story = Teller(lagging(8)).play()
    assert story.desk is not None
    assert story.desk.state.counters.overflow_dropped > 0
    assert not violations(story).keys() - {"ends_flat", "no_bug_no_desync"}
