"""The parameters of a market's background population, apart from it so that settings can be read without loading a
compiler. The defaults are the calibrated market: its prices pass the realism report.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_AGENTS_MAX = 100_000  # of one kind; ten times the market the kernel is measured with, 64 bytes each
_WAIT_S_MAX = 10_000_000.0  # four months: the slowest still wake once in a long run
_LOTS_MAX = 1_000_000  # a typical order; what is a million times larger still fits the exchange's bound on a size
_BPS_MAX = 1_000.0  # a tenth of the price: beyond, it is another market


class PopulationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes up the background of an asset, how often they act, and what moves them.

    A wait is the mean time between two wake-ups of one agent at normal activity. Distances are hundredths of a per
    cent of the price; the calibration holds where a tick is at most about 1 bps.
    """

    # The mix and the number of 1,100 follow the reference market of ABIDES (RMSC-4): mostly noise, some value, few
    # momentum agents, a handful of makers.
    noise_agents: Annotated[int, Meta(ge=0, le=_AGENTS_MAX, description="agents with random orders")] = 600
    momentum_agents: Annotated[int, Meta(ge=0, le=_AGENTS_MAX, description="agents that trade with a trend")] = 120
    value_agents: Annotated[int, Meta(ge=0, le=_AGENTS_MAX, description="agents that trade towards value")] = 280
    makers: Annotated[int, Meta(ge=0, le=1_000, description="market makers")] = 10
    splitters: Annotated[int, Meta(ge=0, le=_AGENTS_MAX, description="agents that split large orders")] = 90

    order_lots: Annotated[int, Meta(ge=1, le=_LOTS_MAX, description="mean size of an order, lots")] = 10
    maker_lots: Annotated[int, Meta(ge=1, le=_LOTS_MAX, description="size of a maker's quote, lots")] = 40
    parent_lots_min: Annotated[int, Meta(ge=1, le=_LOTS_MAX, description="smallest split order, lots")] = 32
    child_lots: Annotated[int, Meta(ge=1, le=_LOTS_MAX, description="size of its parts, lots")] = 8

    noise_wait_s: Annotated[float, Meta(ge=1.0, le=_WAIT_S_MAX, description="wait of noise agents, s")] = 200.0
    momentum_wait_s: Annotated[float, Meta(ge=1.0, le=_WAIT_S_MAX, description="wait of momentum agents, s")] = 400.0
    value_wait_s: Annotated[float, Meta(ge=1.0, le=_WAIT_S_MAX, description="wait of value agents, s")] = 1_000.0
    maker_wait_s: Annotated[float, Meta(ge=1.0, le=_WAIT_S_MAX, description="wait of makers, s")] = 1.0
    child_wait_s: Annotated[
        float, Meta(ge=1.0, le=_WAIT_S_MAX, description="wait between the parts of a split order, s")
    ] = 2.0
    # Ninety agents begin a parent every four to five seconds, of twelve parts on average, so that about five are at
    # work at a time: many more would cancel out, and the memory of order signs would drown in a day's noise.
    parent_wait_s: Annotated[
        float, Meta(ge=1.0, le=_WAIT_S_MAX, description="wait between two split orders of one agent, s")
    ] = 400.0

    # Noise moves quotes for nothing, and they come back: beyond a few per cent, returns would show it.
    noise_market_share: Annotated[
        float, Meta(ge=0.0, le=1.0, description="share of noise orders that trade at market")
    ] = 0.05
    # Further than a typical quarter of an hour moves the price, so that few stale orders stand in its way.
    noise_reach_bps: Annotated[
        float, Meta(ge=0.1, le=_BPS_MAX, description="greatest distance of noise orders from the mid, bps")
    ] = 100.0
    momentum_trend_bps: Annotated[
        float, Meta(ge=0.0, le=_BPS_MAX, description="difference of 20 s and 120 s averages that is a trend, bps")
    ] = 6.0
    value_error_bps: Annotated[
        float, Meta(ge=0.0, le=_BPS_MAX, description="standard error of what an agent takes for value, bps")
    ] = 6.0
    value_margin_bps: Annotated[
        float, Meta(ge=0.0, le=_BPS_MAX, description="margin that value agents leave to value, bps")
    ] = 6.0
    value_urgency: Annotated[
        float, Meta(ge=0.0, le=100.0, description="margins from value at which they trade at market")
    ] = 3.0

    maker_spread_bps: Annotated[
        float, Meta(ge=0.1, le=_BPS_MAX, description="spread of a maker in a market without moves, bps")
    ] = 3.0
    maker_caution: Annotated[
        float, Meta(ge=0.0, le=10.0, description="widening of the half spread per recent move of a second")
    ] = 0.6
    maker_skew_bps: Annotated[
        float, Meta(ge=0.0, le=_BPS_MAX, description="shift of quotes per quote's worth of inventory, bps")
    ] = 0.02
    maker_error_bps: Annotated[
        float, Meta(ge=0.0, le=_BPS_MAX, description="standard error of a maker's centre, bps")
    ] = 0.2

    # 1.5 is what sizes of large orders show, and what gives order signs a memory that fades with lag**-0.5.
    parent_exponent: Annotated[
        float, Meta(ge=0.5, le=10.0, description="Pareto exponent of the sizes of split orders")
    ] = 1.5
    impact_bps: Annotated[
        float, Meta(ge=0.0, le=100.0, description="first move of quotes for a typical order's worth of flow, bps")
    ] = 0.22
    # Moves that fade with time**-0.5 would add up to the square root of an order worked at a steady pace; the other
    # flow bends that upwards, and 0.75 is what measures as nearly a square root.
    impact_decay: Annotated[float, Meta(ge=0.0, le=2.0, description="exponent with which the memory of flow fades")] = (
        0.75
    )

    # The larger part of what moves the price, as news is: flow moves it there and back, and if it carried more,
    # returns of the following minutes would turn.
    fundamental_bps_per_s: Annotated[
        float, Meta(ge=0.0, le=100.0, description="standard deviation of value per second, bps")
    ] = 0.9
    fundamental_half_life_h: Annotated[
        float,
        Meta(ge=0.1, le=10_000.0, description="time in which half of value's deviation from the listing fades, h"),
    ] = 22.5
    jumps_per_h: Annotated[float, Meta(ge=0.0, le=3_600.0, description="jumps of value per hour")] = 0.6
    jump_bps: Annotated[float, Meta(ge=0.0, le=_BPS_MAX, description="standard deviation of a jump, bps")] = 15.0

    # Volatility varies by half of an e-fold around its middle over seconds to hours, rates of orders a little less:
    # tails, clustering and the joint movement of volume and volatility come from it.
    volatility_spread: Annotated[
        float, Meta(ge=0.0, le=1.5, description="standard deviation of the logarithm of volatility")
    ] = 0.54
    rate_spread: Annotated[
        float, Meta(ge=0.0, le=1.5, description="standard deviation of the logarithm of the rates of orders")
    ] = 0.43

    # What an agent begins with, in typical orders of its kind, half of it in units and half in cash. A hundred
    # noise orders of one side in a row do not happen; of the splitters' parents one of 3,000 is cut.
    orders_owned: Annotated[
        int, Meta(ge=1, le=100_000, description="wealth of noise, momentum and value agents, typical orders each way")
    ] = 100
    maker_quotes_owned: Annotated[int, Meta(ge=1, le=100_000, description="wealth of makers, quotes each way")] = 1_000
    parents_owned: Annotated[
        int, Meta(ge=1, le=100_000, description="wealth of splitters, smallest split orders each way")
    ] = 500

    def __post_init__(self) -> None:
        """Refuse a population without anyone."""
        if self.agents == 0:
            raise ValueError("a population needs at least one agent")

    @property
    def agents(self) -> int:
        """How many agents, and so accounts, there are."""
        return self.noise_agents + self.momentum_agents + self.value_agents + self.makers + self.splitters

    def inventory_lots(self) -> list[int]:
        """What each agent owns at the start, in the order of their accounts; cash for as many lots belongs to it."""
        ordinary = self.orders_owned * self.order_lots
        return [
            *[ordinary] * (self.noise_agents + self.momentum_agents + self.value_agents),
            *[self.maker_quotes_owned * self.maker_lots] * self.makers,
            *[self.parents_owned * self.parent_lots_min] * self.splitters,
        ]
