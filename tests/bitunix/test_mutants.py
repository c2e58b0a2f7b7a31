"""The checks of live runs are checked: each planted bug is found by the check that is named for it."""

from __future__ import annotations

import pytest

from tests.bitunix.checks import violations
from tests.bitunix.figures import leave
from tests.bitunix.harness import Teller
from tests.bitunix.mutants import MUTANTS, Mutant, plans_of, run_probe

NUMBERS = range(len(MUTANTS))
NAMES = [mutant.name.replace(" ", "_") for mutant in MUTANTS]


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS, ids=NAMES)
def test_a_planted_bug_is_found_by_name(number: int) -> None:
    """The named check speaks about the program with the bug."""
    done = run_probe(number)
    is_found = done.stdout.startswith(f"{MUTANTS[number].check}: ")
    leave(f"mutant-{number:02d}", {"mutants_planted": 1, "mutants_caught": int(is_found)})
    assert is_found, f"{MUTANTS[number].name}: {done.stdout}{done.stderr[-1_000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_without_the_bug_its_check_is_silent(mutant: Mutant) -> None:
    """The first of the same stories, told by the program as it is."""
    found = violations(Teller(next(plans_of(mutant))).play())
    assert mutant.check not in found, found[mutant.check]


def test_there_are_enough_of_them() -> None:
    """Twenty and more, each with a name of its own."""
    assert len(set(NAMES)) == len(NAMES) >= 20
