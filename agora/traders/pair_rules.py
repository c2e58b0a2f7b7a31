"""The pair maker's settings as the arrays that its kernels read: unit conversions, and no rule of its own."""

from __future__ import annotations

import math

import numpy as np

from agora.domain.numbers import PPB, PPM
from agora.kernels import completion, fair_value, order_diff, quoting
from agora.kernels.compiled import Words
from agora.kernels.indicators import Figures
from agora.traders.pair_maker_settings import CompletionSettings, FairValueSettings, QuoteSettings

SECONDS_PER_YEAR = 31_557_600  # Julian: these markets never close
LOTS_PER_SHARE = completion.LOTS_PER_SHARE


def variance_per_s(volatility: float) -> float:
    """Variance of the log price per second from a volatility per year."""
    return volatility * volatility / SECONDS_PER_YEAR


def statistics(settings: FairValueSettings) -> Figures:
    """An empty buffer for the statistics of a reference price."""
    return fair_value.create(
        half_life_s=settings.half_life_s,
        move_half_life_s=settings.move_half_life_s,
        variance_prior=variance_per_s(settings.volatility_prior),
        variance_min=variance_per_s(settings.volatility_min),
        jump_sd=settings.jump_sd,
    )


def quote_terms(settings: QuoteSettings) -> Figures:
    """The float words of `quoting.quote`."""
    terms = np.zeros(quoting.TERMS_WORDS, dtype=np.float64)
    terms[quoting.EDGE] = settings.edge
    terms[quoting.VOLATILITY_MAX] = settings.volatility_max
    terms[quoting.VOLATILITY_HALF] = math.sqrt(variance_per_s(settings.volatility_half))
    terms[quoting.SPREAD_MAX], terms[quoting.SPREAD_HALF] = settings.spread_max, settings.spread_half
    terms[quoting.CUTOFF_MAX], terms[quoting.CUTOFF_HALF_S] = settings.cutoff_max, settings.cutoff_half_s
    terms[quoting.MOVE_MAX], terms[quoting.MOVE_HALF_SD] = settings.move_max, settings.move_half_sd
    terms[quoting.CALM_BELOW], terms[quoting.FAST_ABOVE] = settings.calm_below, settings.fast_above
    terms[quoting.FAST_MOVE_SD] = settings.fast_move_sd
    terms[quoting.SPACING] = settings.spacing
    terms[quoting.FAST_SPACING_FACTOR] = settings.fast_spacing_factor
    return terms


def quote_rules(settings: QuoteSettings, *, ticks_per_unit: int, lots_min: int) -> Words:
    """The integer words of `quoting.quote` for a market of that tick and smallest order, to which sizes are raised."""
    rules = np.zeros(quoting.RULES_WORDS, dtype=np.int64)
    rules[quoting.TICKS], rules[quoting.LOTS_MIN] = ticks_per_unit, lots_min
    rules[quoting.LEVEL_LOTS] = max(settings.level_shares * LOTS_PER_SHARE, lots_min)
    rules[quoting.LEVELS_CALM] = settings.levels_calm
    rules[quoting.LEVELS_NORMAL] = settings.levels_normal
    rules[quoting.LEVELS_FAST] = settings.levels_fast
    rules[quoting.SKEW_FROM_LOTS] = max(settings.skew_from_shares * LOTS_PER_SHARE, lots_min)
    rules[quoting.SKEW_FULL_LOTS] = max(settings.skew_full_shares * LOTS_PER_SHARE, lots_min)
    rules[quoting.UNPAIRED_LOTS_MAX] = settings.unpaired_shares_max * LOTS_PER_SHARE
    rules[quoting.RISE_PPB_PER_S] = round(settings.rise_per_s * PPB)
    return rules


def diff_limits(
    settings: QuoteSettings, *, lots_min: int, cancels_max: int, places_max: int, total_ticks: int
) -> Words:
    """The words of `order_diff.diff` for what may be sent now."""
    limits = np.zeros(order_diff.LIMITS_WORDS, dtype=np.int64)
    limits[order_diff.SIZE_TOLERANCE_PPM] = round(settings.size_tolerance * PPM)
    limits[order_diff.LOTS_MIN] = lots_min
    limits[order_diff.CANCELS_MAX], limits[order_diff.PLACES_MAX] = cancels_max, places_max
    limits[order_diff.TOTAL_TICKS_MAX] = total_ticks
    return limits


def completion_cap_ticks(
    settings: CompletionSettings, fees: Words, *, average_units: int, lots: int, loss_units_left: int | None = None
) -> int:
    """The most to pay for each of `lots` missing lots, fee included, when a share of the excess cost `average_units`.

    With `loss_units_left`, what the burst may still lose, a set may lose up to the setting; 0 when nothing fits.
    """
    budget_units = completion.share_budget_units(
        average_units,
        lots,
        settings.profit_ppm_min * (completion.UNITS_PER_SHARE // PPM),
        settings.loss_share_ppm_max * (completion.UNITS_PER_SHARE // PPM),
        loss_units_left or 0,
        loss_units_left is not None,
    )
    return completion.p_max_ticks(fees, budget_units)
