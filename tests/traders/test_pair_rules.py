"""The pair maker's shipped settings: coherent with the venue's minimums, with each other and with a typical window."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agora.domain.numbers import money_units
from agora.kernels import completion, fair_value, quoting
from agora.kernels.compiled import Words
from agora.kernels.quoting import DOWN, UP
from agora.traders.pair_maker_settings import CompletionSettings, PairMakerSettings, QuoteSettings
from agora.traders.pair_rules import (
    completion_cap_ticks,
    quote_rules,
    quote_terms,
    statistics,
    variance_per_s,
)

SETTINGS = PairMakerSettings()
LOTS_MIN = 500  # five shares
SECOND_NS = 10**9
START_NS = 1_785_000_000 * SECOND_NS
CENT = completion.UNITS_PER_SHARE // 100
FEES = completion.new_fees(ticks_per_unit=100, rate_ppm=70_000, exponent=1, basis=completion.PER_SHARE)


def typical_bids(*, held: tuple[int, int] = (0, 0), caps: tuple[int, int] = (0, 0), ticks: int = 100) -> Words:
    """The wanted bids at mid 0.50, spread 0.02, fifteen minutes before the end, 45 % a year."""
    bid, ask = 49 * ticks // 100, 51 * ticks // 100
    cutoff_ns = START_NS + (900 - SETTINGS.quotes.cutoff_s) * SECOND_NS
    facts = np.array([500_000, bid, ask, bid, ask, *held, 10_000, *caps, START_NS, cutoff_ns], dtype=np.int64)
    out = np.zeros((quoting.WANT_ROWS, quoting.WANT_COLUMNS), dtype=np.int64)
    count = quoting.quote(
        quote_terms(SETTINGS.quotes),
        quote_rules(SETTINGS.quotes, ticks_per_unit=ticks, lots_min=LOTS_MIN),
        facts,
        math.sqrt(variance_per_s(0.45)),
        0.0,
        np.zeros(quoting.CHASE_WORDS, dtype=np.int64),
        np.zeros(quoting.PLAN_WORDS, dtype=np.int64),
        out,
    )
    return out[:count]


@pytest.mark.requirement("P3.2")
@pytest.mark.parametrize("ticks", [100, 1_000, 10_000])
def test_a_typical_window_is_quoted_on_both_sides(ticks: int) -> None:
    """Several levels on both tokens, each an order the venue takes, together cheaper than a set."""
    bids = typical_bids(ticks=ticks)
    ups, downs = bids[bids[:, 0] == UP], bids[bids[:, 0] == DOWN]
    assert len(ups) == len(downs) >= 2
    assert bids[:, quoting.WANT_LOTS].min() >= LOTS_MIN
    assert 0.95 < (ups[0, 1] + downs[0, 1]) / ticks < 1.0


@pytest.mark.requirement("P0.1")
def test_one_filled_level_can_be_completed_in_the_market() -> None:
    """A level bought at 0.49 leaves a missing leg that a marketable order of at least a dollar may buy at its cap."""
    level_lots = SETTINGS.quotes.level_shares * 100
    cap = completion_cap_ticks(SETTINGS.completion, FEES, average_units=49 * CENT, lots=level_lots)
    asks = np.array([[cap, level_lots]], dtype=np.int64)
    out = np.zeros(completion.PLAN_WORDS, dtype=np.int64)
    value_min = money_units(SETTINGS.completion.value_min)
    assert completion.plan(asks, FEES, level_lots, cap, LOTS_MIN, value_min, out) == completion.READY
    paid = out[completion.PLAN_COST_UNITS] + out[completion.PLAN_FEE_UNITS] + SETTINGS.quotes.level_shares * 49 * CENT
    assert paid <= SETTINGS.quotes.level_shares * completion.UNITS_PER_SHARE


@pytest.mark.requirement("P0.1")
def test_an_allowed_loss_raises_the_cap_within_its_bounds() -> None:
    """Three cents a share while the burst lasts, less for large positions, nothing when it is spent."""
    left = money_units(SETTINGS.completion.loss_burst_max)
    caps = [
        completion_cap_ticks(SETTINGS.completion, FEES, average_units=49 * CENT, lots=lots, loss_units_left=units)
        for lots, units in ((1, left), (1_000, left), (15_000, left), (1_000, 0))
    ]
    plain = completion_cap_ticks(SETTINGS.completion, FEES, average_units=49 * CENT, lots=1_000)
    assert caps == [plain + 3, plain + 3, plain + 1, plain]


def test_an_excess_is_completed_by_a_resting_bid_at_a_profit() -> None:
    """Shares of Up at 0.49 leave one bid for Down of the missing size: at the market for 20, above it for 40."""
    no_fee = completion.new_fees(ticks_per_unit=100, rate_ppm=0, exponent=1, basis=completion.PER_SHARE)
    cap = completion_cap_ticks(SETTINGS.completion, no_fee, average_units=49 * CENT, lots=2_000)
    assert cap == 51
    assert typical_bids(held=(2_000, 0), caps=(0, cap)).tolist() == [[DOWN, 49, 2_000, 0]]
    assert typical_bids(held=(4_000, 0), caps=(0, cap)).tolist() == [[DOWN, 50, 4_000, 0]]


def test_the_caps_hold_a_merge_batch_and_the_ladders_that_make_it() -> None:
    """Sets are worth merging long before the caps of a window are reached, and a window's cap fits into all."""
    window, portfolio = money_units(SETTINGS.window_cost_max), money_units(SETTINGS.portfolio_cost_max)
    assert SETTINGS.merge_shares_min * completion.UNITS_PER_SHARE * 2 < window <= portfolio
    ladder_lots = int(typical_bids()[:, quoting.WANT_LOTS].sum()) // 2
    assert ladder_lots >= SETTINGS.merge_shares_min * 100, "filled ladders make a batch"


@pytest.mark.requirement("P3.1")
def test_a_fair_value_exists_before_the_second_print() -> None:
    """The prior volatility carries the first seconds of a run."""
    buf = statistics(SETTINGS.fair_value)
    fair_value.observe(buf, 65_000.0, START_NS)
    variance = float(buf[fair_value.VARIANCE_PER_S])
    assert variance == pytest.approx(0.45**2 / 31_557_600)
    assert 0.5 < fair_value.up_probability(65_000.0, 64_990.0, 900.0, variance, 0.0, 0.25, 60, 0.0, 0) < 0.6


def test_a_market_with_a_larger_minimum_raises_the_sizes() -> None:
    """Levels and the excess that is completed alone are never below the smallest order."""
    rules = quote_rules(QuoteSettings(), ticks_per_unit=100, lots_min=6_000)
    assert [rules[word] for word in (quoting.LEVEL_LOTS, quoting.SKEW_FROM_LOTS, quoting.SKEW_FULL_LOTS)] == [6_000] * 3


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"edge": 0.2, "volatility_max": 0.2, "spread_max": 0.2, "cutoff_max": 0.2, "move_max": 0.2}, "all of it"),
        ({"calm_below": 2.0}, "calm_below"),
        ({"skew_from_shares": 45}, "must not decrease"),
        ({"skew_full_shares": 60}, "must not decrease"),
        ({"level_shares": 40}, "leaves no level"),
    ],
)
def test_quotes_that_contradict_themselves_are_refused(settings: dict[str, float], message: str) -> None:
    """The fault names the setting and the bound."""
    with pytest.raises(ValueError, match=message):
        QuoteSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings, message", [({"window_cost_max": "99"}, "merge batch"), ({"portfolio_cost_max": "140"}, "portfolio")]
)
def test_caps_that_allow_no_batch_are_refused(settings: dict[str, str], message: str) -> None:
    """An exposure cap below one merge batch and its ladders could never trade."""
    with pytest.raises(ValueError, match=message):
        PairMakerSettings(**settings)  # type: ignore[arg-type]


def test_a_minimum_profit_is_part_of_the_cap() -> None:
    """Two cents of profit lower the cap by two cents."""
    caps = [
        completion_cap_ticks(CompletionSettings(profit_ppm_min=ppm), FEES, average_units=45 * CENT, lots=1_000)
        for ppm in (0, 20_000)
    ]
    assert caps[0] - caps[1] == 2
