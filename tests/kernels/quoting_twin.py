"""A readable twin of `kernels/quoting` and `kernels/order_diff`, in exact fractions and ordinary lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import NamedTuple

UP, DOWN = 0, 1
MILLIONTH = Fraction(1, 10**6)


class Bid(NamedTuple):
    """A bid that is wanted, or one that lives: token, price in ticks, lots."""

    token: int
    ticks: int
    lots: int
    step: int = 0
    is_cancelling: bool = False


@dataclass(frozen=True)
class Rules:
    """The settings in plain units; the defaults are the ones shipped."""

    ticks: int = 100
    edge: float = 0.004
    terms: tuple[tuple[float, float], ...] = ((0.010, 0.45), (0.010, 0.04), (0.010, 120.0), (0.015, 4.0))
    calm_below: float = 0.6
    fast_above: float = 2.0
    fast_move_sd: float = 4.0
    spacing: float = 0.01
    fast_spacing_factor: float = 2.0
    levels: tuple[int, int, int] = (4, 3, 2)
    level_lots: int = 1_000
    lots_min: int = 500
    skew_from: int = 2_000
    skew_full: int = 4_000
    unpaired_max: int = 5_000
    rise_per_s: Fraction = Fraction(1, 100)


@dataclass(frozen=True)
class Scene:
    """What is known of a window at one moment. Touch in ticks (0: empty side), inventory in lots."""

    fair_ppm: int = 500_000
    touch: tuple[int, int, int, int] = (49, 51, 49, 51)
    held: tuple[int, int] = (0, 0)
    room: int = 100_000
    caps: tuple[int, int] = (50, 50)
    now_us: int = 1_000_000_000
    left_us: int = 870_000_000
    volatility: float = 0.45
    move_sd: float = 0.0


@dataclass
class Twin:
    """The bids that are wanted; remembers how high the best bids may be."""

    rules: Rules
    memory: dict[int, tuple[Fraction, int]] = field(default_factory=dict)

    def target(self, scene: Scene) -> Fraction:
        """What one Up and one Down may cost together."""
        rules = self.rules
        spread = sum((scene.touch[2 * token + 1] or rules.ticks) - scene.touch[2 * token] for token in (UP, DOWN)) / (
            2 * rules.ticks
        )
        (vol, vol_half), (wide, wide_half), (late, late_half), (move, move_half) = rules.terms
        taken = (
            rules.edge,
            vol * scene.volatility / (scene.volatility + vol_half),
            wide * max(spread, 0) / (max(spread, 0) + wide_half),
            late * late_half / (max(scene.left_us, 0) / 1e6 + late_half),
            move * abs(scene.move_sd) / (abs(scene.move_sd) + move_half),
        )
        return 1 - sum(floor(part * 10**6 + 0.5) for part in taken) * MILLIONTH

    def shape(self, scene: Scene) -> tuple[int, int]:
        """Number of levels and ticks between them."""
        rules = self.rules
        ratio = scene.volatility / rules.terms[0][1]
        spacing = rules.spacing * ratio * rules.ticks
        calm, normal, fast = rules.levels
        if ratio >= rules.fast_above or abs(scene.move_sd) >= rules.fast_move_sd:
            return fast, max(1, floor(spacing * rules.fast_spacing_factor + 0.5))
        return (calm if ratio <= rules.calm_below else normal), max(1, floor(spacing + 0.5))

    def best(self, scene: Scene, token: int) -> int:
        """The best bid in ticks: the share of the target, not risen too fast, a tick below the ask."""
        fair = scene.fair_ppm if token == UP else 10**6 - scene.fair_ppm
        wanted = Fraction(floor(fair * MILLIONTH * self.target(scene) * 10**9), 10**9)
        if token in self.memory:
            before, before_us = self.memory[token]
            risen = floor((scene.now_us - before_us) * self.rules.rise_per_s * 1000)  # 1e-9 per us, rounded down
            wanted = min(wanted, before + Fraction(risen, 10**9))
        self.memory[token] = (wanted, scene.now_us)
        return min(floor(wanted * self.rules.ticks), self.top(scene, token))

    def top(self, scene: Scene, token: int) -> int:
        """The highest price that takes nothing."""
        return (scene.touch[2 * token + 1] or self.rules.ticks) - 1

    def bids(self, scene: Scene) -> list[Bid]:
        """Both ladders, or the missing leg, or nothing."""
        best = [self.best(scene, token) for token in (UP, DOWN)]
        excess = scene.held[UP] - scene.held[DOWN]
        missing = DOWN if excess > 0 else UP
        if scene.left_us <= 0:
            return []
        if abs(excess) >= self.rules.skew_from:
            top = min(scene.caps[missing], self.top(scene, missing))
            low = min(best[missing], top)
            ticks = low + floor((top - low) * Fraction(min(abs(excess), self.rules.skew_full), self.rules.skew_full))
            return [Bid(missing, ticks, abs(excess))] if ticks >= 1 else []
        bids: list[Bid] = []
        left = min(scene.room, self.rules.unpaired_max - abs(excess))
        levels, spacing = self.shape(scene)
        for step in range(levels):
            lots = min(left, self.rules.level_lots)
            prices = [price - step * spacing for price in best]
            if lots < self.rules.lots_min or min(prices) < 1:
                break
            left -= lots
            extra = [abs(excess) if token == missing and step == 0 else 0 for token in (UP, DOWN)]
            bids += [Bid(token, prices[token], lots + extra[token], step) for token in (UP, DOWN)]
        return bids


@dataclass(frozen=True)
class Budget:
    """How much may change now, and what a pair may cost."""

    cancels: int
    places: int
    total_ticks: int
    lots_min: int = 500
    tolerance_ppm: int = 250_000


def changes(wanted: list[Bid], live: list[Bid], budget: Budget) -> tuple[list[int], list[Bid], int]:
    """Rows of live orders to cancel, bids to place, and how many actions wait."""
    kept: set[int] = set()
    lacking: dict[int, int] = {}
    for number, want in enumerate(wanted):
        tolerance = want.lots * budget.tolerance_ppm // 10**6
        total = 0
        for row, order in enumerate(live):
            is_free = row not in kept and not order.is_cancelling
            if is_free and order[:2] == want[:2] and total + order.lots <= want.lots + tolerance:
                kept.add(row)
                total += order.lots
        if want.lots - total > tolerance and want.lots - total >= budget.lots_min:
            lacking[number] = want.lots - total
    best = {token: max((want.ticks for want in wanted if want.token == token), default=0) for token in (UP, DOWN)}
    leaving = [row for row in range(len(live)) if row not in kept]
    cancels = [row for row in leaving if not live[row].is_cancelling]
    cancels.sort(key=lambda row: best[live[row].token] - live[row].ticks)
    sent = cancels[: budget.cancels]
    places: list[Bid] = []
    for step in sorted({want.step for want in wanted}):
        group = [wanted[number]._replace(lots=lots) for number, lots in lacking.items() if wanted[number].step == step]
        is_dear = any(
            live[row].token != want.token and live[row].ticks + want.ticks > budget.total_ticks
            for want in group
            for row in leaving
        )
        if len(sent) == len(cancels) and not is_dear and len(places) + len(group) <= budget.places:
            places += group
    return sent, places, len(cancels) - len(sent) + len(lacking) - len(places)
