"""Completions: the cap of the missing leg, what a book asks, and that no random book makes us pay more."""

from __future__ import annotations

import random
from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from agora.kernels import completion
from agora.kernels.compiled import Rows, Words
from agora.kernels.completion import (
    BELOW_LOTS_MIN,
    BELOW_VALUE_MIN,
    NOTHING_BELOW_CAP,
    OF_NOTIONAL,
    PER_SHARE,
    PLAN_COST_UNITS,
    PLAN_FEE_UNITS,
    PLAN_LOTS,
    PLAN_OVER_FILL_LOTS,
    PLAN_WORST_TICKS,
    READY,
    UNITS_PER_SHARE,
)
from tests.kernels.completion_twin import Level, Schedule, bought, bought_for, paid

pytestmark = pytest.mark.requirement("P0.1")

SCALES = (10, 100, 200, 400, 1_000, 10_000)
DOLLAR = 100_000_000
NO_FEE = completion.new_fees(ticks_per_unit=100, rate_ppm=0, exponent=1, basis=PER_SHARE)


def book(*levels: tuple[int, int]) -> Rows:
    """Asks as ticks and lots, best first."""
    return np.array(levels, dtype=np.int64).reshape(-1, 2)


def planned(
    asks: Rows, *, lots: int, cap_ticks: int, fees: Words = NO_FEE, lots_min: int = 500, value_min: int = DOLLAR
) -> tuple[int, list[int]]:
    """The kernel's answer and the words it wrote."""
    out = np.zeros(completion.PLAN_WORDS, dtype=np.int64)
    return completion.plan(asks, fees, lots, cap_ticks, lots_min, value_min, out), out.tolist()


def budget(average: float, *, lots: int = 1_000, **named: int) -> int:
    """The share budget from an average cost in units of collateral; a loss is allowed where one is named."""
    return completion.share_budget_units(
        round(average * UNITS_PER_SHARE),
        lots,
        named.get("profit", 0),
        named.get("loss_share", 0),
        named.get("loss_burst", 0),
        bool(named.keys() & {"loss_share", "loss_burst"}),
    )


@pytest.mark.parametrize("average, expected", [(0.48, 0.5120), (0.50, 0.4923), (0.55, 0.4433)])
def test_the_reference_caps_are_reproduced(average: float, expected: float) -> None:
    """Fee 0.25 (p(1-p))^2 of the notional and no profit: the three published caps, and never above on the grid."""
    assert round(completion.p_max(1 - average, 0.25, 2, OF_NOTIONAL), 4) == expected
    fees = completion.new_fees(ticks_per_unit=10_000, rate_ppm=250_000, exponent=2, basis=OF_NOTIONAL)
    assert 0 <= expected * 10_000 - completion.p_max_ticks(fees, budget(average)) <= 1


@pytest.mark.parametrize(
    "average, ticks_per_unit, expected", [(0.48, 10_000, 5025), (0.50, 1_000, 482), (0.55, 100, 43), (0.99, 100, 0)]
)
def test_todays_fee_lowers_the_cap_further(average: float, ticks_per_unit: int, expected: int) -> None:
    """Fee 0.07 p(1-p) per share: at an average of 0.48 the missing leg may cost 0.5025."""
    fees = completion.new_fees(ticks_per_unit=ticks_per_unit, rate_ppm=70_000, exponent=1, basis=PER_SHARE)
    assert completion.p_max_ticks(fees, budget(average)) == expected


def test_the_fee_is_the_published_one() -> None:
    """100 shares at 0.50 cost 1.75, at 0.10 0.63."""
    fees = completion.new_fees(ticks_per_unit=100, rate_ppm=70_000, exponent=1, basis=PER_SHARE)
    assert completion.fee_share_units(fees, 50) * 100 == 175 * DOLLAR // 100
    assert completion.fee_share_units(fees, 10) * 100 == 63 * DOLLAR // 100


@pytest.mark.parametrize("seed", range(300))
def test_the_cap_on_the_grid_is_that_of_exact_fractions(seed: int) -> None:
    """Any tick, fee and budget: the highest price of the grid that fits, at most the rounding of a fee away."""
    chance = random.Random(seed)
    scale, basis = chance.choice(SCALES[:5]), chance.choice((PER_SHARE, OF_NOTIONAL))
    rate_ppm, exponent = chance.choice((0, 70_000, 72_000, 250_000)), chance.choice((1, 2, 3))
    fees = completion.new_fees(ticks_per_unit=scale, rate_ppm=rate_ppm, exponent=exponent, basis=basis)
    twin = Schedule(Fraction(1, scale), Fraction(rate_ppm, 10**6), exponent, basis == OF_NOTIONAL)
    units = chance.choice((chance.randrange(-(10**7), 11 * 10**7), chance.randrange(scale) * (DOLLAR // scale)))
    ticks = completion.p_max_ticks(fees, units)
    exact = Fraction(units, UNITS_PER_SHARE)
    assert twin.cap(exact - Fraction(10, UNITS_PER_SHARE)) <= Fraction(ticks, scale) <= twin.cap(exact)
    if ticks:
        fee = Fraction(completion.fee_share_units(fees, ticks), UNITS_PER_SHARE)
        assert 0 <= fee - twin.fee(Fraction(ticks, scale)) < Fraction(10, UNITS_PER_SHARE)
        assert ticks / scale <= completion.p_max(float(exact), rate_ppm / 1e6, exponent, basis) + 1e-9


def test_a_minimum_profit_lowers_the_cap() -> None:
    """Two cents of profit are two ticks of a cent."""
    ticks = [completion.p_max_ticks(NO_FEE, budget(0.48, profit=cents * DOLLAR // 100)) for cents in (0, 2)]
    assert ticks == [52, 50]


@pytest.mark.parametrize(
    "lots, loss_share, loss_burst, expected",
    [
        (1_000, 3, 100, 55),  # ten shares: three cents each lie within one dollar
        (10_000, 3, 100, 53),  # a hundred shares: one dollar is one cent each
        (1, 3, 100, 55),  # a hundredth share: the dollar would allow any price, the share's bound does not
        (1_000, 3, 0, 52),  # the burst has been spent
        (1_000, 3, -50, 52),  # and more than that
    ],
)
def test_a_loss_is_bounded_per_share_and_per_burst(lots: int, loss_share: int, loss_burst: int, expected: int) -> None:
    """Cents per share and per burst at an average of 0.48; a tiny position never raises the price."""
    cent = DOLLAR // 100
    units = budget(0.48, lots=lots, loss_share=loss_share * cent, loss_burst=loss_burst * cent)
    assert completion.p_max_ticks(NO_FEE, units) == expected


def test_the_average_cost_is_rounded_against_us() -> None:
    """Three lots for a hundred units: a share costs 3,334, never 3,333; nothing costs nothing."""
    assert completion.average_cost_units(100, 3) == 3_334
    assert completion.average_cost_units(100, 0) == 0


# name, asks, lots wanted, cap, answer, [lots, cost in cents, worst ticks, over-fill]
WALKS = [
    ("one level is enough", book((40, 2_000)), 1_000, 45, READY, [1_000, 400, 40, 0]),
    ("two levels", book((40, 500), (44, 900)), 1_000, 45, READY, [1_000, 420, 44, 48]),
    ("the cap ends the walk", book((40, 600), (46, 900)), 1_000, 45, READY, [600, 240, 40, 0]),
    ("a level at the cap is bought", book((45, 1_000)), 1_000, 45, READY, [1_000, 450, 45, 0]),
    ("an empty row is passed over", book((39, 0), (40, 1_000)), 1_000, 45, READY, [1_000, 400, 40, 0]),
    ("nothing below the cap", book((46, 900)), 1_000, 45, NOTHING_BELOW_CAP, [0, 0, 0, 0]),
    ("an empty book", book(), 1_000, 45, NOTHING_BELOW_CAP, [0, 0, 0, 0]),
    ("too few shares", book((40, 400)), 1_000, 45, BELOW_LOTS_MIN, [400, 160, 40, 0]),
    ("less than a dollar", book((15, 900)), 600, 45, BELOW_VALUE_MIN, [600, 90, 15, 0]),
]


@pytest.mark.parametrize("asks, lots, cap, answer, expected", [row[1:] for row in WALKS], ids=[row[0] for row in WALKS])
def test_a_plan_says_what_a_book_asks(asks: Rows, lots: int, cap: int, answer: int, expected: list[int]) -> None:
    """Lots, exact cost, worst price and over-fill of a walk, or the reason why nothing is sent."""
    found, words = planned(asks, lots=lots, cap_ticks=cap)
    cents = words[PLAN_COST_UNITS] * 100 // DOLLAR
    assert found == answer
    assert [words[PLAN_LOTS], cents, words[PLAN_WORST_TICKS], words[PLAN_OVER_FILL_LOTS]] == expected


def random_asks(chance: random.Random, scale: int) -> list[tuple[int, int]]:
    """Up to eight levels above a random best price."""
    levels: list[tuple[int, int]] = []
    ticks = chance.randrange(1, scale)
    while ticks < scale and len(levels) < 8:
        levels.append((ticks, chance.choice((1, 77, 500, 2_500, 100_000, chance.randrange(1, 5_000)))))
        ticks += chance.choice((1, 1, 2, 5, max(1, scale // 20)))
    return levels


def moved(chance: random.Random, asks: list[tuple[int, int]], scale: int) -> list[tuple[int, int]]:
    """The book when the order arrives: the same, shifted either way, thinned, or gone."""
    shift = chance.choice((0, 0, -1, 1, -scale // 10, scale // 10))
    kept = [(ticks + shift, lots) for ticks, lots in asks if 0 < ticks + shift < scale and chance.random() < 0.9]
    return [(ticks, max(1, int(lots * chance.choice((1, 1, 0.4, 2))))) for ticks, lots in kept]


def check_random_book(seed: int) -> bool:
    """One random book, excess and schedule; whether something was bought."""
    chance = random.Random(seed)
    scale, basis = chance.choice(SCALES), chance.choice((PER_SHARE, OF_NOTIONAL))
    rate_ppm, exponent = chance.choice(((70_000, 1), (250_000, 2), (0, 1)))
    fees = completion.new_fees(ticks_per_unit=scale, rate_ppm=rate_ppm, exponent=exponent, basis=basis)
    twin = Schedule(Fraction(1, scale), Fraction(rate_ppm, 10**6), exponent, basis == OF_NOTIONAL)
    lots, average_units = chance.randrange(1, 20_000), chance.randrange(DOLLAR)
    profit, loss_share, loss_burst = (chance.randrange(size) for size in (3_000_000, 5_000_000, 5 * DOLLAR))
    may_lose = chance.random() < 0.5
    units = completion.share_budget_units(average_units, lots, profit, loss_share, loss_burst, may_lose)
    cap_ticks = completion.p_max_ticks(fees, units)
    asks = random_asks(chance, scale)
    answer, words = planned(book(*asks), lots=lots, cap_ticks=cap_ticks, fees=fees)

    levels = [Level(Fraction(ticks, scale), Fraction(size, 100)) for ticks, size in asks]
    walked = bought(levels, shares=Fraction(lots, 100), cap=Fraction(cap_ticks, scale))
    assert words[PLAN_LOTS] == 100 * sum(fill.shares for fill in walked)
    assert Fraction(words[PLAN_COST_UNITS], DOLLAR) == paid(walked)
    if answer != READY:
        return False
    fee = sum(twin.fee(fill.price) * fill.shares for fill in walked)
    assert 0 <= Fraction(words[PLAN_FEE_UNITS], DOLLAR) - fee < Fraction(1, 10_000)
    limit, worst = Fraction(cap_ticks, scale), Fraction(words[PLAN_WORST_TICKS], scale)
    still = bought_for(levels, money=worst * words[PLAN_LOTS] / 100, limit=worst)
    over_lots = sum(fill.shares for fill in still) * 100 - words[PLAN_LOTS]
    vwap = paid(walked) / sum(fill.shares for fill in walked)
    assert words[PLAN_OVER_FILL_LOTS] == ceil(words[PLAN_LOTS] * (worst - vwap) / vwap) >= over_lots

    # The venue as it is when the order arrives: money bounds it, cheaper asks give more shares.
    arrived = [Level(Fraction(ticks, scale), Fraction(size, 100)) for ticks, size in moved(chance, asks, scale)]
    fills = bought_for(arrived, money=paid(walked), limit=worst)
    shares = sum(fill.shares for fill in fills)
    assert paid(fills) <= limit * min(shares, Fraction(lots, 100))
    given = Fraction(UNITS_PER_SHARE - average_units, UNITS_PER_SHARE)
    allowed = Fraction(loss_share, UNITS_PER_SHARE) if may_lose else -Fraction(profit, UNITS_PER_SHARE)
    assert all(fill.price + twin.fee(fill.price) <= given + allowed for fill in fills)
    lost = sum((fill.price + twin.fee(fill.price) - given) * fill.shares for fill in walked)
    assert not may_lose or lost <= Fraction(loss_burst, DOLLAR)
    return bool(fills)


def test_no_random_book_makes_us_pay_more_than_the_cap() -> None:
    """10,000 seeded books: at most p_max times shares and the fee, each share within its loss, all in the burst."""
    bought_from = sum(check_random_book(seed) for seed in range(10_000))
    assert bought_from > 1_000


@pytest.mark.parametrize(
    "scale, rate_ppm, exponent, basis",
    [(100, 1_000_000, 1, PER_SHARE), (100, 1, -1, PER_SHARE), (100, 1, 1, 2), (300, 1, 1, PER_SHARE), (1, 1, 1, 0)],
)
def test_impossible_schedules_are_refused(scale: int, rate_ppm: int, exponent: int, basis: int) -> None:
    """A fee of everything, a power below zero, an unknown basis, a tick that does not divide a cent's millionth."""
    with pytest.raises(ValueError, match=r"ticks per unit|no fee"):
        completion.new_fees(ticks_per_unit=scale, rate_ppm=rate_ppm, exponent=exponent, basis=basis)


def test_a_size_beyond_64_bits_is_refused() -> None:
    """Rather an error than a product that wrapped around."""
    with pytest.raises(ValueError, match="64 bits"):
        planned(book((40, 1)), lots=completion.LOTS_MAX + 1, cap_ticks=50)


def test_warming_up_compiles_the_signatures_that_traders_call() -> None:
    """After it, a cap and a plan need no further compilation."""
    completion.warm_up()
    kernels = (completion.p_max_ticks, completion.plan, completion.share_budget_units)
    known = [len(getattr(kernel, "signatures", [])) for kernel in kernels]
    planned(book((40, 1_000)), lots=600, cap_ticks=completion.p_max_ticks(NO_FEE, budget(0.5)))
    assert [len(getattr(kernel, "signatures", [])) for kernel in kernels] == known
