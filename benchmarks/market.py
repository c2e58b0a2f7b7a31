"""Times the agents' market as `agora market` runs it, journal and ledger on, and looks what it imported.

Each market has a process of its own: `python -m benchmarks.market HOME SECTION.KEY=VALUE…`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from agora.config import load_config
from agora.domain.decisions import Ask
from agora.domain.events import Event
from agora.domain.market_events import Tick
from agora.launch import Options
from agora.market.market import Market
from agora.market_launch import Company, run_market
from agora.session.clock import monotonic_ns
from agora.session.folder import Home
from agora.session.market_loop import MarketLoop

Median = Callable[[Callable[[], float]], float]

# What a run without models has no use for.
MODEL_LIBRARIES = ("litellm", "openai")
AGENTS = [
    "conservative=2", "momentum=2", "panic=2", "value=2", "contrarian=2", "fomo=1", "algorithmic=1", "day_trader=1",
    "whale=1", "market_maker=4", "rumor_monger=1", "dca=1",
]  # fmt: skip
POPULATION = 4_400  # that of the default market, over its four assets
TICKS = 4_000  # seconds of work: many batches of the ledger, several commits of the journal
# The first ticks meet an empty book, and threads that have just begun.
SETTLING_TICKS = 50


class TickTimes:
    """Looks on and notes when each tick was done (port `MarketObserver` of the loop)."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """Called after each input."""
        del market, effects
        if isinstance(event, Tick):
            self.times_ns.append(monotonic_ns())


def watched(home: Path, pairs: list[str]) -> dict[str, Any]:
    """Run a market to its end in this process; its report, and milliseconds from each tick to the next."""
    times = TickTimes()

    @contextlib.asynccontextmanager
    async def beside(loop: MarketLoop, folder: Path) -> AsyncIterator[None]:
        del folder
        loop.observers.append(times)
        yield

    config = load_config({}, {}, pairs)
    company = Company(base_url=config.secrets.get("llm.base_url"), environment={}, beside=beside)
    outcome = run_market(config, Options(home=Home(home), is_quiet=True), company)
    assert outcome.exit_code == 0, outcome.report["end_detail"]
    return {
        "gaps_ms": [(late - early) / 1e6 for early, late in itertools.pairwise(times.times_ns)],
        "agents": len(outcome.report["agents"]),
        "trades": outcome.report["trades"],
        "outcomes": outcome.report["llm"]["outcomes"],
        "rss_mb_max": outcome.report["rss_mb_max"],
        "imported": [name for name in MODEL_LIBRARIES if name in sys.modules],
    }


def watched_apart(home: Path, pairs: list[str]) -> dict[str, Any]:
    """`watched` in a new process."""
    words = [sys.executable, "-m", "benchmarks.market", str(home), *pairs]
    answer = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def rule_figures(home: Path, population: int, median: Median) -> dict[str, Any]:
    """Ticks per second of 20 rule-based personas on four assets, before a background population."""
    pairs = [
        "market.tick=max",
        f"market.ticks={TICKS}",
        f"market.population={population}",
        f"market.agents={','.join(AGENTS)}",
    ]
    last: dict[str, Any] = {}

    def rate() -> float:
        last.update(watched_apart(home, pairs))
        assert not last["imported"], f"a market without models imported {last['imported']}"
        gaps_ms = last["gaps_ms"][SETTLING_TICKS:]
        return len(gaps_ms) / sum(gaps_ms) * 1e3

    rate_per_s = median(rate)
    ordered = sorted(last["gaps_ms"][SETTLING_TICKS:])
    return {
        "agents": last["agents"],
        "population": population,
        "ticks_per_s": round(rate_per_s),
        "tick_ms_p50_p99": [round(ordered[len(ordered) // 2], 2), round(ordered[len(ordered) * 99 // 100], 2)],
        "trades_per_tick": round(last["trades"] / TICKS, 1),
        "rss_mb_max": last["rss_mb_max"],
    }


def market_figures(scratch: Path, median: Median) -> dict[str, Any]:
    """Rule-only markets with and without a background population; everything is compiled before the first is timed."""
    home = scratch / "market-home"
    watched_apart(home, ["market.tick=max", "market.ticks=2"])
    return {
        "personas_and_crowd": rule_figures(home, POPULATION, median),
        "personas_alone": rule_figures(home, 0, median),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(watched(Path(sys.argv[1]), sys.argv[2:])) + "\n")
