"""The parameters of the pair maker, apart from it so that settings can be read without loading a compiler.

Prices and edges are shares of one unit of collateral, sizes whole shares, volatilities per year.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.numbers import money_units

SHARES_MIN = 5  # the venue's smallest order on these markets


class FairValueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the probability of Up is estimated from the reference price, and how far the market is believed."""

    # Half a minute follows a burst of news within a window and still holds some forty prints of a feed of seconds.
    half_life_s: Annotated[float, Meta(ge=1.0, le=3_600.0, description="half-life of variance and drift, s")] = 30.0
    # Five seconds: what a price did since the orders that stand were sent.
    move_half_life_s: Annotated[float, Meta(ge=0.5, le=300.0, description="half-life of the mean of a move, s")] = 5.0
    # The implied-volatility index of bitcoin stood at 0.47 in the recording of December 2025.
    volatility_prior: Annotated[float, Meta(ge=0.01, le=5.0, description="volatility before the first print")] = 0.45
    # A feed that repeats itself is no market that stands still, and would make us certain. On the recorded late
    # windows a floor of 0.10 scores better than 0.05 (Brier 0.0932 against 0.0951), 0.20 a little better still.
    volatility_min: Annotated[float, Meta(ge=0.001, le=5.0, description="least volatility believed")] = 0.10
    # Twenty deviations of a second are 16 bps at 45 %: 5 of the 78,515 prints of the recorded day of the oracle
    # (65 at ten). A true jump is believed one print later.
    jump_sd: Annotated[float, Meta(ge=3.0, le=1_000.0, description="print held back until confirmed, deviations")] = (
        20.0
    )
    # The drift of half a minute is mostly noise, so it is left out unless somebody asks for it.
    uses_drift: Annotated[bool, Meta(description="let the recent drift shift the middle")] = False
    drift_sd_max: Annotated[float, Meta(ge=0.0, le=2.0, description="most that drift shifts, deviations")] = 0.25
    # On the recorded windows three quarters score best over ten and five minutes (Brier 0.1452; model 0.1473, market
    # 0.1457); in the last two minutes the market alone does, and three quarters lose little to it.
    q_market_blend: Annotated[float, Meta(ge=0.0, le=1.0, description="weight of the market's mid in the value")] = 0.75
    market_width_max: Annotated[
        float, Meta(gt=0.0, le=1.0, description="widest market whose mid is believed, of one unit")
    ] = 0.10


class QuoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the two ladders may cost together, how they are shaped, and how much may be unpaired.

    Each term takes its maximum times x / (x + half) from the price of a set, so none stands still at its end. In a
    quiet middle (volatility 0.45, spread 0.02, a quarter of an hour, no move) they take 1.4 cents together.
    """

    edge: Annotated[float, Meta(ge=0.0, le=0.2, description="taken from the price of a set always")] = 0.004
    volatility_max: Annotated[float, Meta(ge=0.0, le=0.2, description="most that volatility takes")] = 0.010
    volatility_half: Annotated[float, Meta(gt=0.0, le=5.0, description="volatility that takes half of it")] = 0.45
    spread_max: Annotated[float, Meta(ge=0.0, le=0.2, description="most that a wide market takes")] = 0.010
    spread_half: Annotated[float, Meta(gt=0.0, le=1.0, description="spread that takes half of it")] = 0.04
    cutoff_max: Annotated[float, Meta(ge=0.0, le=0.2, description="most that the nearness of the cutoff takes")] = 0.010
    cutoff_half_s: Annotated[float, Meta(gt=0.0, le=3_600.0, description="seconds left that take half of it")] = 120.0
    move_max: Annotated[float, Meta(ge=0.0, le=0.2, description="most that a fast move takes")] = 0.015
    move_half_sd: Annotated[float, Meta(gt=0.0, le=100.0, description="move that takes half of it, deviations")] = 4.0
    # By volatility over `volatility_half`. The recorded day of the oracle (median volatility 0.15) was calm for 86 % of
    # its prints and fast for 0.5 %.
    calm_below: Annotated[float, Meta(ge=0.0, le=10.0, description="volatility ratio up to which it is calm")] = 0.6
    fast_above: Annotated[float, Meta(ge=0.0, le=100.0, description="volatility ratio from which it is fast")] = 2.0
    fast_move_sd: Annotated[float, Meta(gt=0.0, le=100.0, description="move from which it is fast, deviations")] = 4.0
    spacing: Annotated[float, Meta(gt=0.0, le=0.2, description="between levels at `volatility_half`")] = 0.01
    fast_spacing_factor: Annotated[float, Meta(ge=1.0, le=10.0, description="spacing when fast, times")] = 2.0
    level_shares: Annotated[int, Meta(ge=SHARES_MIN, le=100_000, description="shares of each level")] = 10
    levels_calm: Annotated[int, Meta(ge=1, le=16, description="levels when calm")] = 4
    levels_normal: Annotated[int, Meta(ge=1, le=16, description="levels otherwise")] = 3
    levels_fast: Annotated[int, Meta(ge=1, le=16, description="levels when fast")] = 2
    # Two levels: a single fill does not tear down a side, a second on the same side does.
    skew_from_shares: Annotated[
        int, Meta(ge=SHARES_MIN, le=100_000, description="excess from which only the missing leg is quoted, shares")
    ] = 20
    skew_full_shares: Annotated[
        int, Meta(ge=SHARES_MIN, le=100_000, description="excess that is priced up to its cap, shares")
    ] = 40
    unpaired_shares_max: Annotated[
        int, Meta(ge=SHARES_MIN, le=1_000_000, description="largest excess the orders could lead to, shares")
    ] = 50
    # At even odds with ten minutes left the value itself wanders about a cent and a half in a second.
    rise_per_s: Annotated[float, Meta(gt=0.0, le=1.0, description="how fast a best bid may rise, per second")] = 0.01
    # A quarter of a level is not worth the place in the queue.
    size_tolerance: Annotated[
        float, Meta(ge=0.0, le=0.9, description="difference of size that is left alone, of the wanted one")
    ] = 0.25
    # The last half minute belongs to those who know the closing price already.
    cutoff_s: Annotated[int, Meta(ge=1, le=3_600, description="no quotes so many seconds before the end")] = 30

    def __post_init__(self) -> None:
        """Refuse settings that leave nothing to quote or that contradict each other."""
        taken = self.edge + self.volatility_max + self.spread_max + self.cutoff_max + self.move_max
        if taken >= 1.0:
            raise ValueError(f"edge and terms take {taken:g} of a set, which is all of it")
        if self.calm_below >= self.fast_above:
            raise ValueError(f"calm_below {self.calm_below} is not below fast_above {self.fast_above}")
        if not self.skew_from_shares <= self.skew_full_shares <= self.unpaired_shares_max:
            raise ValueError(
                f"skew_from_shares {self.skew_from_shares}, skew_full_shares {self.skew_full_shares} and "
                f"unpaired_shares_max {self.unpaired_shares_max} must not decrease"
            )
        if self.unpaired_shares_max < self.skew_from_shares + self.level_shares:
            raise ValueError(
                f"unpaired_shares_max {self.unpaired_shares_max} leaves no level of {self.level_shares} shares "
                f"beside an excess just below skew_from_shares {self.skew_from_shares}"
            )


class CompletionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the missing leg may cost when it is bought from the book."""

    profit_ppm_min: Annotated[
        int, Meta(ge=0, le=200_000, description="least profit of a completed set, ppm of one unit")
    ] = 0
    # Three cents are what the other leg moves by chance in four seconds, at even odds with ten minutes left.
    loss_share_ppm_max: Annotated[
        int, Meta(ge=0, le=200_000, description="most a set may lose when a loss is allowed, ppm of one unit")
    ] = 30_000
    loss_burst_max: Annotated[
        str, Meta(pattern=r"^\d{1,9}(\.\d{1,8})?$", description="most all completions of a burst may lose, money")
    ] = "1.50"
    # The venue refuses marketable purchases below a dollar; smaller remainders are left to resting bids.
    value_min: Annotated[
        str, Meta(pattern=r"^\d{1,9}(\.\d{1,8})?$", description="least value of a marketable purchase, money")
    ] = "1"


class PairMakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All of the pair maker, with what one window and all windows together may hold."""

    fair_value: FairValueSettings = FairValueSettings()
    quotes: QuoteSettings = QuoteSettings()
    completion: CompletionSettings = CompletionSettings()
    # Merging costs a transaction; 25 sets are worth one, and are back as cash long before the cap is reached.
    merge_shares_min: Annotated[int, Meta(ge=1, le=1_000_000, description="complete sets from which to merge")] = 25
    window_cost_max: Annotated[
        str, Meta(pattern=r"^\d{1,9}(\.\d{1,8})?$", description="orders and inventory of a window, money")
    ] = "150"
    portfolio_cost_max: Annotated[
        str, Meta(pattern=r"^\d{1,9}(\.\d{1,8})?$", description="orders and inventory of all windows, money")
    ] = "300"

    def __post_init__(self) -> None:
        """Refuse caps under which no batch of sets could ever be collected beside the ladders that make it."""
        quotes = self.quotes
        levels = max(quotes.levels_calm, quotes.levels_normal, quotes.levels_fast)
        needed = self.merge_shares_min + quotes.unpaired_shares_max + levels * quotes.level_shares
        window_units = money_units(self.window_cost_max)
        if window_units < needed * money_units("1"):
            raise ValueError(
                f"window_cost_max {self.window_cost_max} is below {needed}: a merge batch of {self.merge_shares_min}, "
                f"an excess of {quotes.unpaired_shares_max} and ladders of {levels * quotes.level_shares} sets"
            )
        if money_units(self.portfolio_cost_max) < window_units:
            raise ValueError(
                f"portfolio_cost_max {self.portfolio_cost_max} is below window_cost_max {self.window_cost_max}"
            )
