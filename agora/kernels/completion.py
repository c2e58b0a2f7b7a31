"""What the missing leg of a complete set may cost, and what a book asks for it.

Prices are ticks of which `ticks_per_unit` make one unit of collateral, sizes lots of a hundredth share, money 1e-8 of
the collateral. Every rounding is against us: fees up, caps down.
"""

from __future__ import annotations

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled

UNITS_PER_SHARE = 100_000_000  # what one complete set pays
LOTS_PER_SHARE = 100
PPM = 1_000_000
TICKS_PER_UNIT_MAX = 10_000  # the finest tick of the venue; beyond it products leave 64 bits
LOTS_MAX = 10_000_000  # 100,000 shares; the same reason

# What the fee's rate is a share of: of each share (today), or of the money paid (the schedule of early 2026, whose
# reference caps 0.5120, 0.4923 and 0.4433 come out only so).
PER_SHARE, OF_NOTIONAL = 0, 1

# A book's side: one row per level, best first. Rows without lots are passed over.
ASK_TICKS, ASK_LOTS = 0, 1

# Why a completion is not sent, and READY.
READY, NOTHING_BELOW_CAP, BELOW_LOTS_MIN, BELOW_VALUE_MIN = 0, 1, 2, 3

# What `plan` writes.
PLAN_LOTS = 0  # to buy, at most what is missing
PLAN_COST_UNITS = 1  # exactly what the book asks for them, without fee: the budget of a FOK or FAK
PLAN_WORST_TICKS = 2  # the worst level touched: the limit price
PLAN_FEE_UNITS = 3  # rounded up per level
PLAN_OVER_FILL_LOTS = 4  # more than asked for that a budget of lots times limit could bring
PLAN_WORDS = 5


def warm_up() -> None:
    """Compile everything here, or load it from the cache."""
    fees = new_fees(ticks_per_unit=100, rate_ppm=0, exponent=1, basis=PER_SHARE)
    p_max(0.5, 0.0, 1, PER_SHARE)
    p_max_ticks(fees, share_budget_units(0, 1, 0, 0, 0, False))
    plan(np.ones((1, 2), dtype=np.int64), fees, 1, 1, 1, 1, np.zeros(PLAN_WORDS, dtype=np.int64))


TICKS, RATE_PPM, EXPONENT, BASIS = 0, 1, 2, 3  # words of a market's fees


def new_fees(*, ticks_per_unit: int, rate_ppm: int, exponent: int, basis: int) -> Words:
    """A market's tick and fee schedule: rate times (p(1-p)) to the exponent, per share or of the notional."""
    if not 2 <= ticks_per_unit <= TICKS_PER_UNIT_MAX or PPM % ticks_per_unit:
        raise ValueError(f"ticks per unit are a divisor of a million up to {TICKS_PER_UNIT_MAX}: {ticks_per_unit}")
    if not 0 <= rate_ppm < PPM or exponent < 0 or basis not in {PER_SHARE, OF_NOTIONAL}:
        raise ValueError(f"no fee of rate {rate_ppm} ppm, exponent {exponent}, basis {basis}")
    return np.array([ticks_per_unit, rate_ppm, exponent, basis], dtype=np.int64)


@compiled
def _divided_up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


@compiled
def fee_share_units(fees: Words, ticks: int) -> int:
    """What a taker pays for one share at that price, rounded up."""
    scale = fees[TICKS]
    both = _divided_up(UNITS_PER_SHARE * ticks * (scale - ticks), scale * scale)
    power = UNITS_PER_SHARE
    for _ in range(fees[EXPONENT]):
        power = _divided_up(power * both, UNITS_PER_SHARE)
    if fees[BASIS] == OF_NOTIONAL:
        power = _divided_up(power * ticks, scale)
    return int(_divided_up(power * fees[RATE_PPM], PPM))


@compiled
def p_max(budget: float, rate: float, exponent: int, basis: int) -> float:
    """The price, as a real number below 1, at which price and fee together make the budget: for records only."""
    low, high = 0.0, 1.0
    for _ in range(60):
        price = 0.5 * (low + high)
        fee = rate * (price * (1.0 - price)) ** exponent
        if price + (fee * price if basis == OF_NOTIONAL else fee) <= budget:
            low = price
        else:
            high = price
    return low


@compiled
def p_max_ticks(fees: Words, budget_units: int) -> int:
    """The highest price of the grid at which one share and its fee cost at most the budget; 0 when there is none."""
    low, high = 0, fees[TICKS]  # low fits, high does not: price plus fee rises with the price while the rate is below 1
    while high - low > 1:
        ticks = (low + high) // 2
        if ticks * (UNITS_PER_SHARE // fees[TICKS]) + fee_share_units(fees, ticks) <= budget_units:
            low = ticks
        else:
            high = ticks
    return int(low)


@compiled
def share_budget_units(
    average_units: int,
    lots: int,
    profit_units_min: int,
    loss_share_units_max: int,
    loss_burst_units_left: int,
    may_lose: bool,
) -> int:
    """What one share of the missing leg may cost, fee included, given the average cost of the excess per share.

    Normally what leaves the minimum profit. With `may_lose` a loss instead, per share at most
    `loss_share_units_max`, and for all `lots` together at most what is left of the burst. The allowance of the
    burst alone is no bound: a large one over a tiny position would pay anything.
    """
    if not may_lose:
        return UNITS_PER_SHARE - average_units - profit_units_min
    loss_units = min(loss_share_units_max, max(loss_burst_units_left, 0) * LOTS_PER_SHARE // max(lots, 1))
    return UNITS_PER_SHARE - average_units + loss_units


@compiled
def walk(asks: Rows, lots: int, cap_ticks: int) -> tuple[int, int, int]:
    """Buy up to `lots` from the best level on, nothing above the cap: lots, cost in ticks times lots, worst ticks."""
    left, cost, worst = lots, 0, 0
    for level in range(asks.shape[0]):
        if left == 0 or asks[level, ASK_TICKS] > cap_ticks:
            break
        taken = min(left, asks[level, ASK_LOTS])
        if taken > 0:
            left -= taken
            cost += taken * asks[level, ASK_TICKS]
            worst = asks[level, ASK_TICKS]
    return lots - left, cost, worst


@compiled
def over_fill_lots(lots: int, cost: int, worst_ticks: int) -> int:
    """Lots beyond those asked for that `lots` times the worst price buys at the walked average, rounded up.

    The venue bounds a FOK or FAK purchase by money, so a book that is cheaper than the limit gives more shares:
    N * (worst - vwap) / vwap for a book that stands still.
    """
    if cost == 0:
        return 0
    return int(_divided_up(lots * (worst_ticks * lots - cost), cost))


@compiled
def plan(asks: Rows, fees: Words, lots: int, cap_ticks: int, lots_min: int, value_units_min: int, out: Words) -> int:
    """Write what to buy of `lots` missing lots at or below the cap; returns READY or why nothing is to be sent.

    What the book holds below the cap may be less than is missing. The venue refuses purchases below `lots_min`
    and marketable ones worth less than `value_units_min`.
    """
    out[:] = 0
    if lots > LOTS_MAX:
        raise ValueError("a completion of so many lots leaves 64 bits")
    bought, cost, worst = walk(asks, lots, cap_ticks)
    if bought == 0:
        return NOTHING_BELOW_CAP
    out[PLAN_LOTS] = bought
    out[PLAN_COST_UNITS] = cost * (UNITS_PER_SHARE // LOTS_PER_SHARE // fees[TICKS])
    out[PLAN_WORST_TICKS] = worst
    out[PLAN_FEE_UNITS] = _walked_fee_units(asks, fees, bought)
    out[PLAN_OVER_FILL_LOTS] = over_fill_lots(bought, cost, worst)
    if bought < lots_min:
        return BELOW_LOTS_MIN
    return BELOW_VALUE_MIN if out[PLAN_COST_UNITS] < value_units_min else READY


@compiled
def _walked_fee_units(asks: Rows, fees: Words, lots: int) -> int:
    left, units = lots, 0
    for level in range(asks.shape[0]):
        taken = min(left, asks[level, ASK_LOTS])
        if taken > 0:
            left -= taken
            units += _divided_up(taken * fee_share_units(fees, asks[level, ASK_TICKS]), LOTS_PER_SHARE)
    return int(units)


@compiled
def average_cost_units(cost_units: int, lots: int) -> int:
    """The cost of one share of a position, rounded up; of an empty one 0."""
    if lots <= 0:
        return 0
    return int(_divided_up(cost_units * LOTS_PER_SHARE, lots))
