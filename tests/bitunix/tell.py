"""Tell seeds again and say what was found: `python -m tests.bitunix.tell SEED…`, with `-v` what happened, too."""

from __future__ import annotations

import sys

from tests.bitunix.checks import violations
from tests.bitunix.harness import NS_PER_S, START_NS, Story, Teller
from tests.bitunix.plans import plan_of

QUIET = ("Heartbeat", "Decision", "UserAlive", "Timer", "Checkpoint")
WIDTH = 300


def happenings(story: Story) -> list[str]:
    """The journal in short, with seconds since the start; market data and notes are left out."""
    lines = []
    for record in story.records():
        name = type(record.event).__name__
        if not name.startswith("Market") and name not in QUIET:
            text = str(record.event).replace(f"ts_ns={record.event.ts_ns}, ", "")
            lines.append(f"{(record.event.ts_ns - START_NS) / NS_PER_S:9.3f} {text[:WIDTH]}")
    return lines


def told(seed: int, *, is_verbose: bool) -> str:
    """What a seed means, and what came of it."""
    story = Teller(plan_of(seed)).play()
    lines = happenings(story) if is_verbose else []
    lines += [f"seed {seed}: {story.plan}", f"{story.ended()}", f"starts refused: {story.refused}"]
    for name, sentences in violations(story).items():
        lines += [f"{name}:", *(f"  {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """The seeds that are named."""
    for text in arguments:
        if text != "-v":
            sys.stdout.write(told(int(text), is_verbose="-v" in arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
