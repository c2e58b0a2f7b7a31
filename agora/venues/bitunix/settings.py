"""How we deal with Bitunix: addresses, patience, bounds. Light to import: settings are read without a client."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_Url = Annotated[str, Meta(pattern="^https?://[^/]+", max_length=200)]
_SocketUrl = Annotated[str, Meta(pattern="^wss?://[^/]+", max_length=200)]


class BitunixSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The venue as we see it. Times in seconds, fees and shares in parts per million."""

    rest_url: Annotated[_Url, Meta(description="REST base, without the path of the API")] = "https://fapi.bitunix.com"
    public_ws: Annotated[_SocketUrl, Meta(description="socket of market data")] = "wss://fapi.bitunix.com/public/"
    private_ws: Annotated[_SocketUrl, Meta(description="socket of the account")] = "wss://fapi.bitunix.com/private/"

    # Requests. The venue answers within 150 ms; twenty times that is an outage.
    request_s_max: Annotated[
        float, Meta(gt=0, le=60, description="longest wait for the answer to a request; then it is in doubt, s")
    ] = 3.0
    read_s_max: Annotated[
        float, Meta(gt=0, le=300, description="longest time for a read with all of its retries, s")
    ] = 10.0
    clock_skew_s_max: Annotated[
        float, Meta(gt=0, le=60, description="largest offset of the venue's clock that is signed with, s")
    ] = 1.0

    # Sockets.
    keepalive_s: Annotated[float, Meta(gt=0, le=50, description="a ping so often; the venue closes after 60 s, s")] = (
        15.0
    )
    market_silence_s_max: Annotated[
        float, Meta(gt=0, le=600, description="a market socket without usable data for so long is dead, s")
    ] = 5.0
    market_lag_s_max: Annotated[
        float, Meta(gt=0, le=600, description="market data stamped longer ago are stale and dropped, s")
    ] = 3.0
    market_lead_s_max: Annotated[
        float, Meta(gt=0, le=600, description="market data stamped further ahead are dropped; clocks differ by 1 s, s")
    ] = 2.0
    quote_repeat_s: Annotated[
        float, Meta(gt=0, le=5, description="an unchanged market is told again so often, as a sign of life, s")
    ] = 0.5
    depth_levels: Annotated[
        int, Meta(ge=0, le=15, description="levels of each side that are told; 0: only the best, as a quote")
    ] = 15
    user_silence_s_max: Annotated[
        float,
        Meta(gt=0, le=600, description="an account socket silent for so long beyond its keep-alive is dead, s"),
    ] = 5.0
    reconnect_s_max: Annotated[
        float, Meta(ge=1, le=300, description="longest pause between two attempts to connect, s")
    ] = 10.0
    frame_bytes_max: Annotated[
        int, Meta(ge=65_536, le=67_108_864, description="a larger frame is malformed; the whole book has 462 kB, bytes")
    ] = 1_048_576
    login_refusals_max: Annotated[
        int, Meta(ge=1, le=100, description="so many refused logins in a row mean that the keys are revoked")
    ] = 3

    # Orders.
    admission_s_max: Annotated[
        float, Meta(gt=0, le=60, description="an entry that could not be sent for so long is stale and rejected, s")
    ] = 2.0
    reducing_admission_s_max: Annotated[
        float, Meta(gt=0, le=600, description="the same for an order that can only reduce: it is worth trying, s")
    ] = 30.0
    not_found_grace_s: Annotated[
        float, Meta(gt=0, le=600, description="an order in doubt that is not found is not final before this time, s")
    ] = 20.0
    not_found_reads_min: Annotated[
        int, Meta(ge=1, le=100, description="so many successful reads must not have found it")
    ] = 3
    look_s_min: Annotated[float, Meta(gt=0, le=60, description="first pause between two looks at an order, s")] = 0.25
    read_gap_s: Annotated[
        float, Meta(ge=0, le=10, description="reads of one list that all orders share are so far apart, s")
    ] = 0.3
    vigil_s: Annotated[
        float, Meta(ge=1, le=600, description="stops and targets are looked at so often when nothing is heard, s")
    ] = 15.0
    look_s_max: Annotated[float, Meta(gt=0, le=60, description="longest pause between two looks at an order, s")] = 5.0
    cancel_again_s: Annotated[
        float, Meta(gt=0, le=60, description="a cancel that the venue has not carried out is sent again, s")
    ] = 2.0
    stop_price: Annotated[
        str, Meta(pattern="^(MARK_PRICE|LAST_PRICE)$", description="what triggers a stop: MARK_PRICE or LAST_PRICE")
    ] = "LAST_PRICE"

    # What is held.
    start_s_max: Annotated[
        float, Meta(gt=0, le=600, description="longest wait for the venue at a start; then it is given up, s")
    ] = 60.0
    account_rounds_max: Annotated[
        int, Meta(ge=1, le=100, description="reads of the account until nothing new happens meanwhile")
    ] = 20
    overlap_s: Annotated[
        float, Meta(ge=0, le=600, description="trades are read again from so long before the newest known one, s")
    ] = 10.0
    retold_s: Annotated[
        float, Meta(ge=0, le=3_600, description="after a restart, from so long before the last record, s")
    ] = 60.0

    # The account.
    margin_coin: Annotated[str, Meta(pattern="^[A-Z]{2,10}$", description="currency of the account")] = "USDT"
    leverage: Annotated[int, Meta(ge=1, le=200, description="leverage of each traded symbol")] = 10
    margin_mode: Annotated[str, Meta(pattern="^(CROSS|ISOLATION)$", description="CROSS or ISOLATION")] = "CROSS"
    set_account: Annotated[
        bool, Meta(description="set leverage, margin and position mode at the start of a live run, when flat")
    ] = True
    maker_fee_ppm: Annotated[
        int, Meta(ge=-1_000, le=10_000, description="fee expected of a maker, ppm of notional; fills tell the truth")
    ] = 200
    taker_fee_ppm: Annotated[
        int, Meta(ge=0, le=10_000, description="fee expected of a taker, ppm of notional; fills tell the truth")
    ] = 600

    # Bars.
    bar_grace_s: Annotated[float, Meta(ge=0, le=60, description="a closed bar is read so long after its end, s")] = 0.5
    bar_s_max: Annotated[
        float, Meta(gt=0, le=120, description="a closed bar that the venue does not show for so long is a gap, s")
    ] = 10.0
    backfill_bars_max: Annotated[
        int, Meta(ge=1, le=10_000, description="largest hole in the bars that is filled after an outage, bars")
    ] = 1_000

    def __post_init__(self) -> None:
        """Refuse bounds that contradict one another."""
        if self.look_s_max < self.look_s_min:
            raise ValueError(f"look_s_max {self.look_s_max} is below look_s_min {self.look_s_min}")
        if self.reducing_admission_s_max < self.admission_s_max:
            raise ValueError(
                f"reducing_admission_s_max {self.reducing_admission_s_max} is below "
                f"admission_s_max {self.admission_s_max}"
            )
