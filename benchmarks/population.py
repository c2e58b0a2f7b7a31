"""Times background populations on a real exchange: `python -m benchmarks.population` prints one day and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from agora.domain.dice import dice_of
from agora.domain.instruments import Instrument
from agora.exchange.market_engine import MarketEngine
from agora.exchange.rules import Listing, MarketRules
from agora.kernels import population as kernel
from agora.kernels.compiled import Words
from agora.market.crowd import scaled
from agora.market.population_settings import PopulationSettings

Median = Callable[[Callable[[], float]], float]

DAY_STEPS = 23_400  # 6.5 hours of seconds
DAY_AGENTS = 1_100
SHORT_STEPS = 5_000
SHORT_AGENTS = 1_000
CROWD_AGENTS = 10_000
SECOND_NS = 1_000_000_000
LISTING = Listing(
    instrument=Instrument(symbol="BENCH", base="BENCH", quote="USD", tick_size="0.01", lot_size="1"),
    listing_price_ticks=10_000,
)
RANDOM_WORDS = 6


class Populated:
    """An exchange of one asset and its population, warmed up by a minute."""

    def __init__(self, agents: int, seed: int = 1) -> None:
        settings = scaled(PopulationSettings(), agents)
        rules = MarketRules(assets=(LISTING,), order_capacity=max(1_024, 2 * agents), account_capacity=settings.agents)
        self.engine = MarketEngine(rules)
        lot_units = LISTING.instrument.notional_units(LISTING.listing_price_ticks, 1)
        for number, lots in enumerate(settings.inventory_lots()):
            self.engine.open_account(f"a{number}", cash={"USD": lots * lot_units}, units={"BENCH": lots})
        dice = dice_of(seed, "bench")
        self.population: Words = kernel.new_population(
            kernel.PopulationPlan(**{name: getattr(settings, name) for name in kernel.PopulationPlan._fields}),
            np.array([dice.word() >> 1 for _ in range(RANDOM_WORDS)], dtype=np.int64),
            asset=0,
            listing_price=LISTING.listing_price_ticks,
            first_account=0,
        )
        self.now_ns = 0
        self.run_s(60)

    def run_s(self, steps: int) -> float:
        """Seconds that so many steps take in one call."""
        engine = self.engine
        steps_out = np.zeros((steps, kernel.STEP_COLUMNS), dtype=np.int64)
        signs_out = np.zeros(0, dtype=np.int64)
        parents_out = np.zeros((0, kernel.PARENT_COLUMNS), dtype=np.int64)
        start = time.perf_counter()
        kernel.population_run(
            *(self.population, engine.books[0].words, engine.accounts.words, engine.tape, engine.out),
            *(self.now_ns, SECOND_NS, steps_out, signs_out, parents_out),
        )
        self.now_ns += steps * SECOND_NS
        return time.perf_counter() - start


def population_figures(median: Median) -> dict[str, Any]:
    """Seconds of 5,000 steps of 1,000 and of 10,000 agents, and a day of 1,100 with the memory of its process."""
    agents, crowd = Populated(SHORT_AGENTS), Populated(CROWD_AGENTS)
    day = subprocess.run([sys.executable, "-m", "benchmarks.population"], capture_output=True, check=True, text=True)
    return {
        "agents_1000_steps_5000_s": round(median(lambda: agents.run_s(SHORT_STEPS)), 3),
        "agents_10000_steps_5000_s": round(median(lambda: crowd.run_s(SHORT_STEPS)), 3),
        "day_of_1100_agents": json.loads(day.stdout),
    }


def main() -> None:
    """Run one day and print its time, its orders and trades, and the most memory the process had."""
    market = Populated(DAY_AGENTS)
    sent, trades = kernel.orders_sent(market.population), market.engine.trade_count
    wall_s = market.run_s(DAY_STEPS)
    memory = psutil.Process().memory_info()
    figures = {
        "wall_s": round(wall_s, 3),
        "orders": kernel.orders_sent(market.population) - sent,
        "trades": market.engine.trade_count - trades,
        "rss_mb": round(memory.rss / 1e6),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
