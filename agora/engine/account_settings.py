"""What the run demands of a venue that keeps its account: how often it is asked, and which doubt lasts too long."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the private stream, on differences with the venue and on orders in doubt. Live runs only."""

    user_stream_age_s_max: Annotated[
        int,
        Meta(
            ge=1,
            le=600,
            description="private stream silent for longer than this beyond its keep-alive: no new risk; twice: the end",
        ),
    ] = 15
    reconcile_every_s: Annotated[
        int, Meta(ge=5, le=60, description="how often orders, positions and cash are compared with the venue, seconds")
    ] = 30
    desync_hold_s: Annotated[
        int, Meta(ge=1, le=300, description="a difference with the venue that lasts so long ends the run, seconds")
    ] = 10
    desync_lots_max: Annotated[
        int, Meta(ge=0, le=10**9, description="difference of a position that is tolerated, lots")
    ] = 0
    desync_money_max: Annotated[
        str,
        Meta(pattern=r"^\d{1,9}(\.\d{1,8})?$", description="difference of the cash that is tolerated, quote currency"),
    ] = "0"
    unknown_orders_max: Annotated[
        int, Meta(ge=1, le=100, description="orders that fall into doubt within unknown_window_s: no new risk, ask")
    ] = 3
    unknown_window_s: Annotated[int, Meta(ge=1, le=3_600, description="window of that count, seconds")] = 30
    unknown_hold_s: Annotated[
        int, Meta(ge=1, le=600, description="orders still in doubt so long after that end the run, seconds")
    ] = 45
