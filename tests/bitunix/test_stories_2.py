"""Live runs under random faults and crashes, half 2 of the seeds: two files use two cores."""

from __future__ import annotations

import pytest

from tests.bitunix.figures import Figures, leave
from tests.bitunix.stories import ROUND, judged

HALF = 2
# Two rounds through all faults; with the other half more than 200 seeds.
SEEDS = 2 * ROUND
SEEDS_PER_TEST = 9
FIRST = 1 + (HALF - 1) * SEEDS
CHUNKS = range(FIRST, FIRST + SEEDS, SEEDS_PER_TEST)


@pytest.fixture(scope="module")
def total() -> Figures:
    """What all tests of this file have counted."""
    return Figures()


@pytest.mark.slow
@pytest.mark.requirement("B3")
@pytest.mark.requirement("B33")
@pytest.mark.requirement("B65")
@pytest.mark.requirement("H1.1")
@pytest.mark.requirement("H4.2")
@pytest.mark.parametrize("first", CHUNKS)
def test_whatever_goes_wrong_the_books_agree(first: int, total: Figures) -> None:
    """Every check holds after each seed: one order once, recorded first, never blind, flat or the truth about it."""
    figures, failures = judged(range(first, min(first + SEEDS_PER_TEST, FIRST + SEEDS)))
    total.merge(figures)
    leave(f"stories-{first:05d}", figures.as_part())
    assert not failures, "\n".join(failures)


def test_every_fault_was_triggered(total: Figures) -> None:
    """A fault that never happened was not survived. Judges what the tests before it have played."""
    if total.counts.get("seeds", 0) < SEEDS:
        pytest.skip("only a part of the seeds was played")
    assert total.untriggered() == []
    assert len(total.faults) == ROUND
