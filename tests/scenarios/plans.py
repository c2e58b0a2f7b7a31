"""Which crashes a seed means: how many, at which disk operation or moment, how long the machine stays down."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

from tests.scenarios.checks import violations
from tests.scenarios.harness import Crash, Setup, Story, Teller

# One of the lives of a 20 s story makes about this many disk operations.
OPERATIONS_MAX = 420
# Funding each three seconds: every story holds positions through some settlements.
INSTRUMENT = {"funding_interval_s": 3}


def setup_of(seed: int, *, seconds: float = 20) -> Setup:
    """The run of a seed."""
    return Setup(
        seed=seed,
        seconds=seconds,
        pairs=("local.funding_rate_ppb=3000000" if seed % 2 else "local.funding_rate_ppb=-2000000",),
        instrument=INSTRUMENT,
    )


def remote_setup_of(seed: int, *, seconds: float = 20) -> Setup:
    """The run of a seed at an exchange that outlives it."""
    return replace(setup_of(seed, seconds=seconds), survives=True)


def lagging(seed: int) -> Setup:
    """At that exchange, with syncs that take up to 100 s: more than 500 prices wait when the run looks again."""
    pairs = ("risk.stale_timeout_s=3000", "risk.data_age_s_max=600", *setup_of(seed).pairs)
    return replace(remote_setup_of(seed, seconds=400), commit_s=100.0, pairs=pairs)


def crashes_of(seed: int, *, seconds: float = 20) -> list[Crash]:
    """One to four crashes, at disk operations and at moments, some of them while the run is being taken up."""
    draw = random.Random(seed)
    return [_crash(draw, seconds) for _ in range(draw.randint(1, 4))]


def _crash(draw: random.Random, seconds: float) -> Crash:
    down_s = draw.choice((0.05, 1.0, 40.0))
    chance = draw.random()
    if chance < 0.2:
        return Crash(operation=draw.randint(1, 25), down_s=down_s)
    if chance < 0.6:
        return Crash(operation=draw.randint(1, OPERATIONS_MAX), down_s=down_s)
    return Crash(after_s=draw.random() * seconds * 0.7, down_s=down_s)


def tell(seed: int) -> Story:
    """The whole story of a seed."""
    return Teller(setup_of(seed), crashes_of(seed)).play()


def main(arguments: list[str]) -> None:
    """Tell one seed again and say what was found: `python -m tests.scenarios.plans SEED`."""
    seed = int(arguments[0])
    story = tell(seed)
    sys.stdout.write(f"seed {seed}: {setup_of(seed)}\n{crashes_of(seed)}\n{story.ended()}\n")
    for name, sentences in violations(story).items():
        sys.stdout.write("\n".join([f"{name}:", *(f"  {sentence}" for sentence in sentences)]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
