"""Each fault of this kind over real loopback sockets: it happens, the run does what it must, and the books agree."""

from __future__ import annotations

import pytest

from tests.bitunix.checks import violations
from tests.bitunix.fault_cases import ANSWERS, Case
from tests.bitunix.harness import Story
from tests.bitunix.on_sockets import TIMED, all_played


@pytest.fixture(scope="module")
def stories() -> dict[str, Story]:
    """All stories of this file, played side by side: they wait more than they work."""
    played = all_played([case.plan(number) for number, case in enumerate(ANSWERS, start=1)])
    return {str(case.fault): story for case, story in zip(ANSWERS, played, strict=True)}


@pytest.mark.requirement("B65")
@pytest.mark.parametrize("case", ANSWERS, ids=[str(case.fault) for case in ANSWERS])
def test_the_run_does_what_it_must(case: Case, stories: dict[str, Story]) -> None:
    """The fault fired, what it must lead to is in the journal, and every common check holds."""
    story = stories[str(case.fault)]
    assert list(case.faults_of(story)) == []
    assert {name: said for name, said in violations(story).items() if name not in TIMED} == {}
