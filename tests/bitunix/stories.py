"""Seeds of random faults and crashes, played and judged; shared by the gate and the long version."""

from __future__ import annotations

from collections.abc import Iterable

from tests.bitunix.checks import violations
from tests.bitunix.figures import Figures
from tests.bitunix.harness import Teller
from tests.bitunix.plans import ROWS, plan_of

# The first fault of a seed goes round the rows: so many seeds in a row meet each of them.
ROUND = len(ROWS)


def judged(seeds: Iterable[int]) -> tuple[Figures, list[str]]:
    """Play the seeds; what was counted, and a line for each that went wrong with how to see it again."""
    figures, failures = Figures(), []
    for seed in seeds:
        story = Teller(plan_of(seed)).play()
        found = violations(story)
        figures.add(story, found)
        if found:
            said = [f"  {name}: {sentences[0]} ({len(sentences)} in all)" for name, sentences in found.items()]
            failures.append("\n".join([f"seed {seed} (again: python -m tests.bitunix.tell {seed}):", *said]))
    return figures, failures
