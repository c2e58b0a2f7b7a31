"""Runs that crash again and again, at any disk operation and at any moment, end as if nothing had happened."""

from __future__ import annotations

import json

import pytest

from agora.domain.errors import DamagedJournal
from agora.domain.events import OrderFilled, RunResumed
from tests.scenarios.checks import violations
from tests.scenarios.harness import NS_PER_S, START_NS, Crash, Teller, events_of
from tests.scenarios.plans import crashes_of, setup_of, tell
from tests.simulation.loop import run_virtual

# Ten to a test: a hang or a failure is found among few, and 200 and more seeds stay readable in the report.
SEEDS_PER_TEST = 10
SEEDS = 240


def failure_text(seed: int, found: dict[str, list[str]]) -> str:
    """What went wrong and how to see it again."""
    lines = [f"  {name}: {sentences[0]} ({len(sentences)} in all)" for name, sentences in found.items()]
    command = f"python -m tests.scenarios.plans {seed}"
    return "\n".join([f"seed {seed} with {crashes_of(seed)}:", *lines, f"again: {command}"])


@pytest.mark.requirement("B11")
@pytest.mark.requirement("B12")
@pytest.mark.requirement("B15")
@pytest.mark.requirement("B16")
@pytest.mark.requirement("H3.1")
@pytest.mark.requirement("H4.1")
@pytest.mark.requirement("H4.2")
@pytest.mark.parametrize("first", range(1, SEEDS + 1, SEEDS_PER_TEST))
def test_repeated_crashes_lose_double_and_change_nothing(first: int) -> None:
    """After one to four crashes with lost or torn bytes every check of the story holds."""
    failures = []
    for seed in range(first, first + SEEDS_PER_TEST):
        found = violations(tell(seed))
        if found:
            failures.append(failure_text(seed, found))
    assert not failures, "\n".join(failures)


def test_the_stories_are_worth_telling() -> None:
    """The seeds crash, resume and trade: a check that never meets a fill or a restart would prove nothing."""
    crashes = resumed = fills = torn = 0
    for seed in range(1, 21):
        story = tell(seed)
        events = events_of(story)
        crashes += story.crashes
        resumed += sum(isinstance(event, RunResumed) for event in events)
        fills += sum(isinstance(event, OrderFilled) for event in events)
        torn += sum(event.torn_bytes > 0 for event in events if isinstance(event, RunResumed))
    assert crashes > 30
    assert resumed > 25
    assert fills > 500
    assert torn > 5


@pytest.mark.requirement("H4.1")
@pytest.mark.requirement("H3.1")
@pytest.mark.parametrize("first", range(1, 9))
def test_a_crash_at_every_operation_of_a_short_run_is_survived(first: int) -> None:
    """No disk operation of a six-second run is a bad one to crash at: every eighth from `first` on."""
    setup = setup_of(7_000, seconds=6)
    operations = Teller(setup).play().operations[0]
    assert operations > 80
    for operation in range(first, operations + 1, 8):
        story = Teller(setup, [Crash(operation=operation)]).play()
        assert story.crashes == 1, f"operation {operation} was never reached"
        assert not violations(story), f"crash at operation {operation}: {violations(story)}"


@pytest.mark.requirement("H6.1")
def test_a_checkpoint_beyond_the_journal_is_no_truth() -> None:
    """A journal that was cut cleanly before what its checkpoint has seen is not traded on."""
    teller = Teller(setup_of(1), [Crash(after_s=15)])
    disk = teller.play_to_crash().disk
    cut_at = max(int(name[11:23]) for name in disk.names() if name.startswith("checkpoint-")) - 20
    for name in ("events.jsonl", "market.jsonl"):
        lines = disk.read(name).splitlines(keepends=True)
        disk.damage(name, b"".join(line for line in lines if json.loads(line)["seq"] <= cut_at))
    with pytest.raises(DamagedJournal, match="checkpoint"):
        run_virtual(teller.reopen(), seed=1, start_ns=START_NS + 60 * NS_PER_S)


@pytest.mark.requirement("B24")
def test_the_same_seed_tells_the_same_story() -> None:
    """Two plays of one seed leave the same bytes: a failure found once can be looked at again."""
    one, two = tell(11), tell(11)
    assert one.disk.read("events.jsonl") == two.disk.read("events.jsonl")
    assert one.disk.read("market.jsonl") == two.disk.read("market.jsonl")
