"""How large a position may be: from the money it may lose at its stop, in whole lots, capped by leverage.

Integers throughout: money in units of 1e-8, prices in ticks, sizes in lots.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.instruments import Instrument
from agora.domain.numbers import PPM


class SizingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one trade may risk and hold. The defaults suit an account that should live for months."""

    # 0.25 % of the equity: twenty losses in a row cost a twentieth of the account, which is the loss breaker.
    risk_fraction_ppm: Annotated[
        int, Meta(ge=1, le=100_000, description="equity lost at the stop, fees included, parts per million")
    ] = 2_500
    # Twice the equity: tight stops would otherwise ask for ten times; liquidation stays far beyond any stop.
    leverage: Annotated[int, Meta(ge=1, le=125, description="leverage that the notional is measured with")] = 2
    # The rest stays free as margin for fees and funding, and keeps the order inside the default risk limits.
    notional_fraction_ppm_max: Annotated[
        int, Meta(ge=1, le=PPM, description="largest notional over equity times leverage, parts per million")
    ] = 900_000


def size_lots(
    instrument: Instrument, settings: SizingSettings, *, equity_units: int, entry_ticks: int, stop_ticks: int
) -> int:
    """Whole lots such that the way from entry to stop, with taker fees at both, costs at most the risk money.

    0 when not even the instrument's smallest size fits, or when there is no equity, price or distance.
    """
    distance_ticks = abs(entry_ticks - stop_ticks)
    if equity_units <= 0 or distance_ticks == 0 or min(entry_ticks, stop_ticks) <= 0:
        return 0
    fees = lot_fees_units(instrument, entry_ticks=entry_ticks, exit_ticks=stop_ticks)
    loss_per_lot = distance_ticks * instrument.tick_lot_units + fees
    leverage = min(settings.leverage, instrument.leverage_max)
    notional_units_max = equity_units * leverage * settings.notional_fraction_ppm_max // PPM
    lots = min(
        equity_units * settings.risk_fraction_ppm // PPM // loss_per_lot,
        notional_units_max // instrument.notional_units(entry_ticks, 1),
        instrument.lots_max,
    )
    return lots if lots >= instrument.lots_min else 0


def lot_fees_units(
    instrument: Instrument,
    *,
    entry_ticks: int,
    exit_ticks: int,
    is_entry_maker: bool = False,
    is_exit_maker: bool = False,
) -> int:
    """Fees of one lot from entry to exit. Each is rounded up, so n lots never cost more than n times this."""
    return instrument.fee_units(entry_ticks, 1, is_maker=is_entry_maker) + instrument.fee_units(
        exit_ticks, 1, is_maker=is_exit_maker
    )
