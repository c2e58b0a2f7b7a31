"""The population's buffer: where each word stands, what a population is planned from, and how one is made.

Internal to the population kernel; what others may use is exported by `population`. One flat int64 buffer per asset
holds the generator, the plan as fixed-point fractions, the state all agents share and a record per agent. Money and
orders are not here: they are the exchange's.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np

from agora.kernels.compiled import Words, compiled, compiled_inside
from agora.kernels.population_draws import FRACTION_BITS, ONE, STATE_WORDS, log2, normal, seed_draws, uniform

NOISE, MOMENTUM, VALUE, MAKER, SPLITTER = 0, 1, 2, 3, 4
KINDS = 5

# Words that tell of the market and the agents. Logarithms are of the price over the listing price.
RANDOM = 0
ASSET, FIRST_ACCOUNT, LISTING_PRICE, LISTING_LOG2 = 6, 7, 8, 9
NOW_TS, STEPS, TAPE_SEEN = 10, 11, 12
ORDERS_SENT, ORDERS_REFUSED, PARENTS_DONE = 13, 14, 15
LOG_MID, LOG_FAST, LOG_SLOW, RECENT_MOVE = 16, 17, 18, 19
FUNDAMENTAL, LEAN, LOG_ACTIVITY, STRETCH = 20, 21, 22, 23
STARTS = 24  # the first agent of each kind, and behind the last kind the number of agents
WAKE_RATES = 30  # wake-ups of an agent of each kind in a step
SHOCKS, SHOCK_DECAYS, SHOCK_STEPS, SHOCK_WEIGHTS = 36, 42, 48, 54  # of the activity, one per horizon
FLOWS, FLOW_DECAYS, FLOW_WEIGHTS = 60, 68, 76  # what makers remember of the order flow, one per horizon

# Words that hold the plan.
ORDER_LOTS, CROWD = 84, 85
MARKET_SHARE, REACH = 86, 87
TREND_MIN = 88
VALUE_MARGIN, VALUE_URGENCY = 89, 90
HALF_SPREAD, MAKER_CAUTION, MAKER_SKEW, MAKER_LOTS, MAKER_ERROR = 91, 92, 93, 94, 95
PARENT_CHANCE, PARENT_LOTS, PARENT_EXPONENT, CHILD_LOTS = 96, 97, 98, 99
IMPACT, FUNDAMENTAL_STEP, FUNDAMENTAL_PULL = 100, 101, 102
JUMP_CHANCE, JUMP_STEP, RATE_SPREAD, STRETCH_SPREAD = 103, 104, 105, 106

# Where the present step stands: makers still to come, the first of them, time left for the others.
MAKERS_LEFT, MAKER_NEXT, TIME_LEFT = 496, 497, 498
# What the agent at work wants sent: at most two orders.
WISH_COUNT, WISHES = 499, 500
WISH_SIDE, WISH_PRICE, WISH_LOTS = 0, 1, 2
WISH_WORDS = 3

# The newest finished parent orders, a ring in order of PARENTS_DONE: many steps' worth, as one finishes every four
# steps or so in the default market.
PARENT_RING = 112
PARENT_ROWS = 64
PARENT_SIGN, PARENT_DONE_LOTS, PARENT_START, PARENT_END, PARENT_STARTED_TS, PARENT_ENDED_TS = 0, 1, 2, 3, 4, 5
PARENT_COLUMNS = 6
HEADER_WORDS = 512

# Words of an agent. TRAIT: a momentum agent's patience, the error of a value agent, a maker's greed.
TRAIT, HOME_LOTS, SIDE_NOW, LOTS_LEFT, LOTS_DONE, START_PRICE, START_TS = 0, 1, 2, 3, 4, 5, 6
AGENT_WORDS = 8

# Activity is a sum of five memories from seconds to a trading day, flow a sum of six from seconds to half an hour:
# sums of exponentials spaced by a constant factor look like a power law between their ends (Lillo, Mike, Farmer
# 2005 measure such memories; Corsi 2009 uses the same sum for volatility).
ACTIVITY_HALF_LIVES = (15.0, 90.0, 600.0, 3_600.0, 21_600.0)
ACTIVITY_SHARES = (0.35, 0.35, 0.30, 0.30, 0.30)
FLOW_HALF_LIVES = (2.0, 8.0, 32.0, 128.0, 512.0, 2_048.0)
FAST_STEPS, SLOW_STEPS = 20, 120  # the averages whose difference momentum agents call a trend
MOVE_STEPS = 30  # the memory of moves by which makers widen

# The crowd for which the plan's impact holds; a larger one trades more, and each of its orders says less.
CROWD_AGENTS = 1_100

LISTING_PRICE_MAX = 2**32  # with the bound below, a price times a fraction stays below 2**60
LOG_PRICE_MAX = 27 * ONE // 10  # a price between a fifteenth and fifteen times the listing price
AGENTS_MAX = 2**20  # as many accounts as an exchange opens
LOTS_FACTOR_MAX = 2**24  # typical sizes times draws up to 22 and fractions stay below 2**63


class PopulationPlan(NamedTuple):
    """Who there is and how they act; a step is a second. `PopulationSettings` says what each number means."""

    noise_agents: int
    momentum_agents: int
    value_agents: int
    makers: int
    splitters: int
    order_lots: int
    maker_lots: int
    parent_lots_min: int
    child_lots: int
    noise_wait_s: float
    momentum_wait_s: float
    value_wait_s: float
    maker_wait_s: float
    child_wait_s: float
    parent_wait_s: float
    noise_market_share: float
    noise_reach_bps: float
    momentum_trend_bps: float
    value_error_bps: float
    value_margin_bps: float
    value_urgency: float
    maker_spread_bps: float
    maker_caution: float
    maker_skew_bps: float
    maker_error_bps: float
    parent_exponent: float
    impact_bps: float
    impact_decay: float
    fundamental_bps_per_s: float
    fundamental_half_life_h: float
    jumps_per_h: float
    jump_bps: float
    volatility_spread: float
    rate_spread: float

    @property
    def counts(self) -> tuple[int, int, int, int, int]:
        """Agents of each kind."""
        return (self.noise_agents, self.momentum_agents, self.value_agents, self.makers, self.splitters)


def typed(value: int) -> int:
    """Return a 64-bit constant. Numba compiles a function anew for each literal it is called with, not for these."""
    return cast("int", np.int64(value))


def fraction(value: float) -> int:
    """Return a number as a fixed-point fraction, rounded to the nearest."""
    return round(value * ONE)


def bps(value: float) -> int:
    """Return hundredths of a per cent as a fixed-point fraction of one."""
    return fraction(value / 10_000)


def new_population(
    plan: PopulationPlan, random_words: Words, *, asset: int, listing_price: int, first_account: int
) -> Words:
    """Return the buffer of a population whose agent number i trades with account `first_account + i`.

    `random_words` are six random numbers; all chance of the population follows from them. Raises `ValueError` for
    a price or a count outside of what the arithmetic allows.
    """
    agents = sum(plan.counts)
    if min(plan.counts) < 0 or not 1 <= agents <= AGENTS_MAX:
        raise ValueError(f"a population has between 1 and {AGENTS_MAX} agents: {plan.counts}")
    if not 1 <= listing_price <= LISTING_PRICE_MAX:
        raise ValueError(f"a listing price lies between 1 and {LISTING_PRICE_MAX} ticks: {listing_price}")
    sizes = (plan.order_lots, plan.maker_lots, plan.parent_lots_min, plan.child_lots)
    if not all(1 <= lots <= LOTS_FACTOR_MAX for lots in sizes):
        raise ValueError(f"typical sizes lie between 1 and {LOTS_FACTOR_MAX} lots: {sizes}")
    population = np.zeros(HEADER_WORDS + agents * AGENT_WORDS, dtype=np.int64)
    seed_draws(population[RANDOM : RANDOM + STATE_WORDS], random_words)
    population[[ASSET, FIRST_ACCOUNT, LISTING_PRICE]] = asset, first_account, listing_price
    population[STARTS : STARTS + KINDS + 1] = np.cumsum((0, *plan.counts))
    population[CROWD] = max(ONE, ONE * agents // CROWD_AGENTS)
    population[RECENT_MOVE] = bps(plan.fundamental_bps_per_s)
    _set_horizons(population, plan)
    _set_plan(population, plan)
    draw_beginnings(population, bps(plan.value_error_bps))
    return population


def _set_plan(population: Words, plan: PopulationPlan) -> None:
    waits = (plan.noise_wait_s, plan.momentum_wait_s, plan.value_wait_s, plan.maker_wait_s, plan.child_wait_s)
    population[WAKE_RATES : WAKE_RATES + KINDS] = [fraction(1 / wait) for wait in waits]
    words = {
        ORDER_LOTS: plan.order_lots,
        MAKER_LOTS: plan.maker_lots,
        PARENT_LOTS: plan.parent_lots_min,
        CHILD_LOTS: plan.child_lots,
        MARKET_SHARE: fraction(plan.noise_market_share),
        REACH: bps(plan.noise_reach_bps),
        TREND_MIN: bps(plan.momentum_trend_bps),
        VALUE_MARGIN: bps(plan.value_margin_bps),
        VALUE_URGENCY: fraction(plan.value_urgency),
        HALF_SPREAD: bps(plan.maker_spread_bps / 2),
        MAKER_CAUTION: fraction(plan.maker_caution),
        MAKER_SKEW: bps(plan.maker_skew_bps),
        MAKER_ERROR: bps(plan.maker_error_bps),
        PARENT_CHANCE: fraction(min(1.0, plan.child_wait_s / plan.parent_wait_s)),
        PARENT_EXPONENT: fraction(plan.parent_exponent),
        IMPACT: bps(plan.impact_bps),
        FUNDAMENTAL_STEP: bps(plan.fundamental_bps_per_s),
        FUNDAMENTAL_PULL: fraction(math.log(2) / (3_600 * plan.fundamental_half_life_h)),
        JUMP_CHANCE: fraction(plan.jumps_per_h / 3_600),
        JUMP_STEP: bps(plan.jump_bps),
        RATE_SPREAD: fraction(plan.rate_spread),
        STRETCH_SPREAD: fraction(plan.volatility_spread),
    }
    for word, value in words.items():
        population[word] = value


def _set_horizons(population: Words, plan: PopulationPlan) -> None:
    """Set the memories: autoregressive activities of unit variance, and flows."""
    norm = math.hypot(*ACTIVITY_SHARES)
    for number, (half_life, share) in enumerate(zip(ACTIVITY_HALF_LIVES, ACTIVITY_SHARES, strict=True)):
        decay = 0.5 ** (1 / half_life)
        population[SHOCK_DECAYS + number] = fraction(decay)
        population[SHOCK_STEPS + number] = fraction(math.sqrt(1 - decay**2))
        population[SHOCK_WEIGHTS + number] = fraction(share / norm)
    for number, half_life in enumerate(FLOW_HALF_LIVES):
        population[FLOW_DECAYS + number] = fraction(0.5 ** (1 / half_life))
        population[FLOW_WEIGHTS + number] = fraction((half_life / FLOW_HALF_LIVES[0]) ** -plan.impact_decay)


@compiled_inside
def times(first: int, second: int) -> int:
    """Return the product of two fractions, rounded to the nearest: rounding down would make prices drift."""
    return (first * second + ONE // 2) >> FRACTION_BITS


@compiled_inside
def agent_words(agent: int) -> int:
    """Return where the record of an agent begins."""
    return HEADER_WORDS + agent * AGENT_WORDS


@compiled_inside
def count_of(population: Words, kind: int) -> int:
    """Return how many agents of a kind there are."""
    return int(population[STARTS + kind + 1] - population[STARTS + kind])


@compiled
def draw_beginnings(population: Words, value_error: int) -> None:
    """Draw what differs between agents, and activities from their stationary state."""
    population[LISTING_LOG2] = log2(2 * population[LISTING_PRICE])
    for number in range(len(ACTIVITY_HALF_LIVES)):
        population[SHOCKS + number] = normal(population, RANDOM)
    for agent in range(population[STARTS + MOMENTUM], population[STARTS + SPLITTER]):
        trait = ONE // 2 + uniform(population, RANDOM)
        if population[STARTS + VALUE] <= agent < population[STARTS + MAKER]:
            trait = times(value_error, normal(population, RANDOM))
        population[agent_words(agent) + TRAIT] = trait
