"""The parameters of the trend trader, apart from it so that settings can be read without loading a compiler."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class TrendSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When to enter, where to stop, when to let go. R is the distance from the planned entry to its stop."""

    # 20, 50 and 14 are what most charts show, so they are where others place orders too.
    ema_fast_bars: Annotated[int, Meta(ge=2, le=1_000, description="length of the fast EMA, bars")] = 20
    ema_slow_bars: Annotated[int, Meta(ge=3, le=2_000, description="length of the slow EMA, bars")] = 50
    atr_bars: Annotated[int, Meta(ge=1, le=1_000, description="length of Wilder's ATR, bars")] = 14
    # Ten bars hold the last visible swing; each bar looks at all of them, hence the maximum.
    swing_bars: Annotated[int, Meta(ge=2, le=200, description="bars whose extremes can be swept")] = 10
    # Below a fifth of an ATR the two averages cross back and forth within a few bars.
    separation_atr_min: Annotated[
        float, Meta(ge=0.0, le=10.0, description="distance of the EMAs from which there is a trend, ATR")
    ] = 0.2
    # A sweep is a reversal; two ATRs apart, the trend is too strong to stand against.
    separation_atr_strong: Annotated[
        float, Meta(ge=0.0, le=100.0, description="distance of the EMAs against which no sweep is taken, ATR")
    ] = 2.0
    # Beyond the noise of one bar, and near enough that 2 R is reached within a trend's leg.
    pullback_stop_atr: Annotated[float, Meta(ge=0.1, le=20.0, description="stop of a pullback from its entry, ATR")] = (
        1.5
    )
    pullback_target_r: Annotated[float, Meta(ge=0.1, le=50.0, description="target of a pullback from its entry, R")] = (
        2.0
    )
    # The level was just proven; half an ATR beyond it the reclaim has failed.
    sweep_stop_atr: Annotated[
        float, Meta(ge=0.0, le=20.0, description="stop of a sweep beyond the swept level, ATR")
    ] = 0.5
    # After fees the target pays at least what the stop costs. It also keeps out of markets too quiet for
    # their fees: with 0.02 % and 0.06 % a pullback needs an ATR of about 0.08 % of the price.
    reward_risk_min: Annotated[
        float, Meta(ge=0.0, le=20.0, description="least reward over risk of an entry, both after fees")
    ] = 1.0
    # Where the costs of a stop-out are more than half of what the price may move against us, the trade is a bet
    # on the costs: on one-minute bars of a calm market most setups are.
    cost_risk_max: Annotated[
        float, Meta(ge=0.05, le=20.0, description="fees and slippage of a stop-out over the way to the stop")
    ] = 0.5
    # A sweep pays the spread twice, and its target is where the price was before, not a multiple of the stop: its
    # reward over risk after costs says more. The bound keeps out those whose stop is nearer than the costs.
    sweep_cost_risk_max: Annotated[float, Meta(ge=0.05, le=20.0, description="the same for a sweep")] = 0.7
    # What the paper fills take around the price where no quotes are known; a stop in a fast market pays it too.
    slippage_bps: Annotated[
        float, Meta(ge=0.0, le=100.0, description="slippage expected of each market order, bps of its price")
    ] = 5.0
    # Venues charge longs 100,000 ppb (0.01 % of notional per 8 h) when nothing leans. A rate near that says
    # that longs are crowded; in the 51 recorded days 19 of 153 settlements lie above this gate.
    funding_long_ppb_max: Annotated[
        int,
        Meta(ge=-3_750_000, le=3_750_000, description="no new longs above this funding rate, ppb of notional"),
    ] = 90_000
    # Shorts rarely pay at all (19 of those settlements); 10,000 ppb spares the noise around zero, 14 are beyond.
    funding_short_ppb_min: Annotated[
        int,
        Meta(ge=-3_750_000, le=3_750_000, description="no new shorts below this funding rate, ppb of notional"),
    ] = -10_000
    trail_start_r: Annotated[float, Meta(ge=0.0, le=50.0, description="best close from which the stop trails, R")] = 0.5
    trail_distance_r: Annotated[
        float, Meta(ge=0.0, le=50.0, description="the trailing stop behind the best close, R")
    ] = 1.0
    # After five bars the average has moved on and the order would buy another situation than the one judged.
    entry_expiry_bars: Annotated[int, Meta(ge=1, le=1_000, description="life of an unfilled entry order, bars")] = 5

    def __post_init__(self) -> None:
        """Refuse lengths that make no ribbon and gates that exclude each other's side for ever."""
        if self.ema_fast_bars >= self.ema_slow_bars:
            raise ValueError(f"ema_fast_bars {self.ema_fast_bars} is not below ema_slow_bars {self.ema_slow_bars}")
        if self.funding_short_ppb_min > self.funding_long_ppb_max:
            raise ValueError(
                f"funding_short_ppb_min {self.funding_short_ppb_min} is above "
                f"funding_long_ppb_max {self.funding_long_ppb_max}: some rates would allow neither side"
            )
