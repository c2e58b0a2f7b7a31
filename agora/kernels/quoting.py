"""Which bids a maker wants on the two tokens of a window: both ladders or none, together below the price of a set.

Prices are ticks of which `TICKS` make one unit of collateral, sizes lots; probabilities and the target total cost are
parts per million. Floats enter only as statistics (volatility, move) and leave as integers rounded against us.
Knows nothing of orders that live already; `order_diff` compares.
"""

from __future__ import annotations

import math

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled
from agora.kernels.indicators import Figures

PPM = 1_000_000
PPB = 1_000_000_000
LEVELS_MAX = 16
ELAPSED_US_MAX = 1_000_000_000  # 1,000 s: the product with a rate of one unit per second stays within 64 bits

UP, DOWN = 0, 1
CALM, NORMAL, FAST = 0, 1, 2

# Words of `terms` (floats). Each term takes its maximum times x / (x + half): it moves with x everywhere, and never
# reaches the maximum.
EDGE = 0  # taken always
VOLATILITY_MAX, VOLATILITY_HALF = 1, 2  # x: deviation of the log price per square root of a second
SPREAD_MAX, SPREAD_HALF = 3, 4  # x: mean spread of the two books, of one unit
CUTOFF_MAX, CUTOFF_HALF_S = 5, 6  # half of the maximum when so many seconds are left, all of it at none
MOVE_MAX, MOVE_HALF_SD = 7, 8  # x: the move in deviations, either way
CALM_BELOW, FAST_ABOVE = 9, 10  # volatility over VOLATILITY_HALF
FAST_MOVE_SD = 11
SPACING = 12  # between levels at VOLATILITY_HALF, of one unit
FAST_SPACING_FACTOR = 13
TERMS_WORDS = 14

# Words of `rules` (integers).
TICKS = 0  # per unit of collateral
LOTS_MIN = 1  # smallest order of the venue
LEVEL_LOTS = 2
LEVELS_CALM, LEVELS_NORMAL, LEVELS_FAST = 3, 4, 5
SKEW_FROM_LOTS = 6  # excess from which only the missing side is wanted
SKEW_FULL_LOTS = 7  # excess at which it is priced up to its cap
UNPAIRED_LOTS_MAX = 8  # excess that the ladders could lead to
RISE_PPB_PER_S = 9  # how fast a best bid may rise, of one unit
RULES_WORDS = 10

# Words of `facts` (integers).
FAIR_UP_PPM = 0
BID_UP, ASK_UP, BID_DOWN, ASK_DOWN = 1, 2, 3, 4  # ticks, 0 for an empty side
UP_LOTS, DOWN_LOTS = 5, 6  # held, fills that are not final yet included
ROOM_LOTS = 7  # what the caps on exposure leave for each ladder
CAP_UP_TICKS, CAP_DOWN_TICKS = 8, 9  # the most a resting bid for the missing leg may pay
NOW_NS, CUTOFF_NS = 10, 11
FACTS_WORDS = 12

# Words of `chase`, kept by the caller for each window: what the best bids may be by now.
CHASE_UP_PPB, CHASE_DOWN_PPB, CHASE_NS = 0, 1, 2
CHASE_WORDS = 3

# Words of `plan`: what was decided, for the record of the decision.
REASON, TARGET_PPM = 0, 1
EDGE_PPM, VOLATILITY_PPM, SPREAD_PPM, CUTOFF_PPM, MOVE_PPM = 2, 3, 4, 5, 6
REGIME, LEVELS, SPACING_TICKS = 7, 8, 9
BEST_UP_TICKS, BEST_DOWN_TICKS = 10, 11  # before skew; 0 where there is no price
PLAN_WORDS = 12

QUOTED, PAST_CUTOFF, NO_ROOM, NO_PRICE, ABOVE_CAP = 0, 1, 2, 3, 4  # reasons

# Columns of a wanted bid. Both tokens of a step stand together and belong together.
WANT_TOKEN, WANT_TICKS, WANT_LOTS, WANT_STEP = 0, 1, 2, 3
WANT_COLUMNS = 4
WANT_ROWS = 2 * LEVELS_MAX


def warm_up() -> None:
    """Compile everything here, or load it from the cache."""
    terms, rules = np.ones(TERMS_WORDS, dtype=np.float64), np.ones(RULES_WORDS, dtype=np.int64)
    facts, chase = np.zeros(FACTS_WORDS, dtype=np.int64), np.zeros(CHASE_WORDS, dtype=np.int64)
    plan, out = np.zeros(PLAN_WORDS, dtype=np.int64), np.zeros((WANT_ROWS, WANT_COLUMNS), dtype=np.int64)
    quote(terms, rules, facts, 1e-4, 0.0, chase, plan, out)


@compiled
def quote(
    terms: Figures, rules: Words, facts: Words, sigma: float, move_sd: float, chase: Words, plan: Words, out: Rows
) -> int:
    """Write the wanted bids, step by step and best first; returns how many, 0 with the reason in `plan`.

    `sigma`: deviation of the log price per square root of a second; `move_sd`: the recent move in deviations.
    Without excess inventory both tokens have a bid at each step, of equal size, and together they cost at most
    the target. From SKEW_FROM_LOTS of excess on, only the missing leg is wanted, within its completion cap.
    """
    if not (0.0 <= sigma < math.inf and abs(move_sd) < math.inf and 0 <= facts[FAIR_UP_PPM] <= PPM):
        raise ValueError("quotes need a volatility, a move and a fair value between 0 and 1")
    set_target(terms, rules, facts, sigma, move_sd, plan)
    set_shape(terms, rules, sigma, move_sd, plan)
    set_best(rules, facts, chase, plan)
    if facts[NOW_NS] >= facts[CUTOFF_NS]:
        plan[REASON] = PAST_CUTOFF
        return 0
    if abs(facts[UP_LOTS] - facts[DOWN_LOTS]) >= rules[SKEW_FROM_LOTS]:
        return _missing_leg(rules, facts, plan, out)
    return _both_ladders(rules, facts, plan, out)


@compiled
def _saturating(maximum: float, value: float, half: float) -> int:
    """The parts per million that a term takes, to the nearest."""
    return math.floor(PPM * maximum * value / (value + half) + 0.5)


@compiled
def set_target(terms: Figures, rules: Words, facts: Words, sigma: float, move_sd: float, plan: Words) -> None:
    """Write what each term takes and the target total cost that they leave."""
    seconds_left = max(facts[CUTOFF_NS] - facts[NOW_NS], 0) / PPB
    cutoff = terms[CUTOFF_HALF_S] / (seconds_left + terms[CUTOFF_HALF_S])
    plan[EDGE_PPM] = math.floor(PPM * terms[EDGE] + 0.5)
    plan[VOLATILITY_PPM] = _saturating(terms[VOLATILITY_MAX], sigma, terms[VOLATILITY_HALF])
    plan[SPREAD_PPM] = _saturating(terms[SPREAD_MAX], _mean_spread(rules, facts), terms[SPREAD_HALF])
    plan[CUTOFF_PPM] = math.floor(PPM * terms[CUTOFF_MAX] * cutoff + 0.5)
    plan[MOVE_PPM] = _saturating(terms[MOVE_MAX], abs(move_sd), terms[MOVE_HALF_SD])
    taken = plan[EDGE_PPM] + plan[VOLATILITY_PPM] + plan[SPREAD_PPM] + plan[CUTOFF_PPM] + plan[MOVE_PPM]
    plan[TARGET_PPM] = max(PPM - taken, 0)


@compiled
def _mean_spread(rules: Words, facts: Words) -> float:
    """The mean of the two spreads, of one unit; an empty side lies at its end of the scale."""
    total = 0
    for token in (UP, DOWN):
        ask = facts[ASK_UP + 2 * token]
        total += (ask if ask > 0 else rules[TICKS]) - facts[BID_UP + 2 * token]
    return float(max(total, 0) / (2.0 * rules[TICKS]))


@compiled
def set_shape(terms: Figures, rules: Words, sigma: float, move_sd: float, plan: Words) -> None:
    """Write the regime, and from it and the volatility how many levels there are and how far apart."""
    ratio = sigma / terms[VOLATILITY_HALF]
    spacing = terms[SPACING] * ratio * rules[TICKS]
    if ratio >= terms[FAST_ABOVE] or abs(move_sd) >= terms[FAST_MOVE_SD]:
        plan[REGIME], plan[LEVELS] = FAST, rules[LEVELS_FAST]
        spacing *= terms[FAST_SPACING_FACTOR]
    elif ratio <= terms[CALM_BELOW]:
        plan[REGIME], plan[LEVELS] = CALM, rules[LEVELS_CALM]
    else:
        plan[REGIME], plan[LEVELS] = NORMAL, rules[LEVELS_NORMAL]
    plan[LEVELS] = min(plan[LEVELS], LEVELS_MAX)
    plan[SPACING_TICKS] = min(max(math.floor(spacing + 0.5), 1), rules[TICKS])


@compiled
def set_best(rules: Words, facts: Words, chase: Words, plan: Words) -> None:
    """Write the best bid of each token: its share of the target, held back where it rises too fast, below the ask."""
    elapsed_us = 0
    if chase[CHASE_NS] > 0:
        elapsed_us = max(facts[NOW_NS] - chase[CHASE_NS], 0) // 1_000
    for token in (UP, DOWN):
        fair_ppm = facts[FAIR_UP_PPM] if token == UP else PPM - facts[FAIR_UP_PPM]
        wanted_ppb = fair_ppm * plan[TARGET_PPM] // 1_000
        if chase[CHASE_NS] > 0:
            risen_ppb = chase[CHASE_UP_PPB + token] + rules[RISE_PPB_PER_S] * min(elapsed_us, ELAPSED_US_MAX) // PPM
            wanted_ppb = min(wanted_ppb, risen_ppb)
        chase[CHASE_UP_PPB + token] = wanted_ppb
        plan[BEST_UP_TICKS + token] = min(wanted_ppb * rules[TICKS] // PPB, _highest_bid(rules, facts, token))
    # The rest of a microsecond is kept for the next call, so that frequent calls lose nothing.
    chase[CHASE_NS] = chase[CHASE_NS] + elapsed_us * 1_000 if chase[CHASE_NS] > 0 else facts[NOW_NS]


@compiled
def _highest_bid(rules: Words, facts: Words, token: int) -> int:
    """The highest price that takes nothing: a tick below the best ask, and within the grid."""
    ask = facts[ASK_UP + 2 * token]
    return int(ask if ask > 0 else rules[TICKS]) - 1


@compiled
def _both_ladders(rules: Words, facts: Words, plan: Words, out: Rows) -> int:
    """Write equal ladders for both tokens, as far as room and grid allow."""
    excess = facts[UP_LOTS] - facts[DOWN_LOTS]
    missing = DOWN if excess > 0 else UP
    left = min(facts[ROOM_LOTS], rules[UNPAIRED_LOTS_MAX] - abs(excess))
    plan[REASON] = NO_ROOM if left < rules[LOTS_MIN] else NO_PRICE
    rows = 0
    for step in range(plan[LEVELS]):
        lots = min(rules[LEVEL_LOTS], left)
        below = step * plan[SPACING_TICKS]
        if lots < rules[LOTS_MIN] or min(plan[BEST_UP_TICKS], plan[BEST_DOWN_TICKS]) - below < 1:
            break
        left -= lots
        for token in (UP, DOWN):
            # A small excess is made good where a fill comes first.
            extra = abs(excess) if token == missing and step == 0 else 0
            out[rows, WANT_TOKEN], out[rows, WANT_TICKS] = token, plan[BEST_UP_TICKS + token] - below
            out[rows, WANT_LOTS], out[rows, WANT_STEP] = lots + extra, step
            rows += 1
    if rows > 0:
        plan[REASON] = QUOTED
    return rows


@compiled
def _missing_leg(rules: Words, facts: Words, plan: Words, out: Rows) -> int:
    """Write one bid for the leg that is missing, the nearer to its cap the larger the excess."""
    excess = abs(facts[UP_LOTS] - facts[DOWN_LOTS])
    token = DOWN if facts[UP_LOTS] > facts[DOWN_LOTS] else UP
    top = min(facts[CAP_UP_TICKS + token], _highest_bid(rules, facts, token))
    best = min(plan[BEST_UP_TICKS + token], top)
    ticks = best + (top - best) * min(excess, rules[SKEW_FULL_LOTS]) // rules[SKEW_FULL_LOTS]
    plan[REASON] = QUOTED
    if ticks < 1:
        plan[REASON] = ABOVE_CAP
        return 0
    out[0, WANT_TOKEN], out[0, WANT_TICKS], out[0, WANT_LOTS], out[0, WANT_STEP] = token, ticks, excess, 0
    return 1
