"""The background population of a market: rule agents by the thousand, one kernel buffer per asset, real accounts.

Knows who they are and what they own; how they act is the kernel's.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from agora.domain.dice import dice_of
from agora.exchange.market_engine import MarketEngine
from agora.exchange.packing import packed, unpack_into
from agora.kernels import population
from agora.kernels.compiled import Words
from agora.kernels.population_layout import PARENT_COLUMNS, PARENT_RING, PARENT_ROWS, PARENTS_DONE
from agora.market.population_settings import PopulationSettings

RANDOM_WORDS = 6  # what the kernel's generator is seeded with
PPM = 1_000_000
# News excites as much as it moves: a tone of one moves a per cent and adds one standard deviation of activity.
EXCITEMENT_PER_MOVE = 100
# Finished parent orders that nobody has taken: an hour's worth of a busy market, 48 bytes each.
PARENTS_KEPT = 4_096


class ParentOrder(msgspec.Struct, frozen=True, gc=False):
    """A large order that was worked in parts: sign, executed lots, middle of the market before and after, in ticks."""

    symbol: str
    sign: int
    size_lots: int
    start_ticks: float
    end_ticks: float


def scaled(settings: PopulationSettings, count: int) -> PopulationSettings:
    """The same mix with about `count` agents; of makers and of splitters at least two, or there is no market."""
    share = count / settings.agents
    return msgspec.structs.replace(
        settings,
        noise_agents=max(1, round(settings.noise_agents * share)),
        momentum_agents=round(settings.momentum_agents * share),
        value_agents=max(1, round(settings.value_agents * share)),
        makers=max(2, round(settings.makers * share)),
        splitters=max(2, round(settings.splitters * share)),
    )


def per_asset(settings: PopulationSettings, count: int, *, assets: int) -> PopulationSettings:
    """The mix for each asset when `count` agents are spread over all of them."""
    return scaled(settings, max(6, count // assets))


class Crowd:
    """All agents of the background (protocol `Crowd` of the market)."""

    def __init__(self, engine: MarketEngine, settings: PopulationSettings, *, count: int, seed: int) -> None:
        self._engine = engine
        self._out = engine.out
        self._mix = per_asset(settings, count, assets=len(engine.books))
        self._populations: list[Words] = []
        self.parents: deque[ParentOrder] = deque(maxlen=PARENTS_KEPT)
        self._parents_seen = [0] * len(engine.books)
        plan = _plan_of(self._mix)
        for asset, listing in enumerate(engine.rules.assets):
            symbol = listing.instrument.symbol
            first = self._open_accounts(symbol)
            dice = dice_of(seed, "crowd", symbol)
            words = np.array([dice.word() >> 1 for _ in range(RANDOM_WORDS)], dtype=np.int64)
            self._populations.append(
                population.new_population(
                    plan, words, asset=asset, listing_price=listing.listing_price_ticks, first_account=first
                )
            )

    @property
    def agents(self) -> int:
        """How many there are, over all assets."""
        return self._mix.agents * len(self._populations)

    def _open_accounts(self, symbol: str) -> int:
        """Accounts with units and as much cash; returns the number of the first."""
        instrument = self._engine.accounts.instrument(symbol)
        lot_units = instrument.notional_units(self._engine.accounts.mark_ticks(symbol), 1)
        numbers = [
            self._engine.open_account(
                f"crowd-{symbol}-{number:05d}", cash={instrument.quote: lots * lot_units}, units={symbol: lots}
            )
            for number, lots in enumerate(self._mix.inventory_lots(), start=1)
        ]
        return numbers[0]

    def step(self, now_ns: int) -> None:
        """Let everyone act once."""
        engine = self._engine
        for asset, words in enumerate(self._populations):
            population.population_step(
                words, engine.books[asset].words, engine.accounts.words, engine.tape, self._out, now_ns
            )
            if words[PARENTS_DONE] > self._parents_seen[asset]:
                self._note_parents(asset, words)

    def _note_parents(self, asset: int, words: Words) -> None:
        done = int(words[PARENTS_DONE])
        symbol = self._engine.books[asset].symbol
        for number in range(max(self._parents_seen[asset], done - PARENT_ROWS), done):
            at = PARENT_RING + number % PARENT_ROWS * PARENT_COLUMNS
            sign, lots, start, end = words[at : at + 4].tolist()
            self.parents.append(ParentOrder(symbol, sign, lots, start / 2, end / 2))
        self._parents_seen[asset] = done

    def shift_fundamental(self, symbol: str, fraction: float) -> None:
        """Move the value that the crowd believes in, and excite it."""
        words = self._populations[self._engine.asset_of(symbol)]
        move_ppm = round(fraction * PPM)
        population.shock(words, move_ppm, abs(move_ppm) * EXCITEMENT_PER_MOVE)

    def digest(self) -> str:
        """SHA-256 of everything remembered."""
        hasher = hashlib.sha256()
        for words in self._populations:
            hasher.update(np.ascontiguousarray(words, dtype="<i8").data)
        return hasher.hexdigest()

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered, as plain JSON values."""
        return {"populations": [packed(words) for words in self._populations]}

    def restore(self, memory: Mapping[str, Any]) -> None:
        """The inverse of `snapshot`; raises `ValueError` when it is damaged."""
        for asset, (words, text) in enumerate(zip(self._populations, memory["populations"], strict=True)):
            unpack_into(words, text)
            self._parents_seen[asset] = int(words[PARENTS_DONE])


def _plan_of(settings: PopulationSettings) -> population.PopulationPlan:
    return population.PopulationPlan(**{name: getattr(settings, name) for name in population.PopulationPlan._fields})
