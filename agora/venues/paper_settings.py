"""The assumptions of the paper fills, apart from them so that settings can be read without loading a compiler."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class PaperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How paper orders are filled. Every assumption here is listed in the report."""

    latency_model: Annotated[
        str, Meta(pattern="^(uniform|fixed|lognormal)$", description="uniform, fixed or lognormal")
    ] = "uniform"
    latency_ms_min: Annotated[
        int,
        Meta(ge=0, le=60_000, description="uniform: shortest; fixed: the latency; lognormal: the median, ms"),
    ] = 50
    latency_ms_max: Annotated[int, Meta(ge=0, le=60_000, description="uniform: longest order latency, ms")] = 500
    latency_sigma_ppm: Annotated[
        int, Meta(ge=0, le=3_000_000, description="lognormal: sigma of the logarithm, ppm")
    ] = 500_000
    half_spread_bps: Annotated[
        float, Meta(ge=0, le=1_000, description="half spread around the price where no quotes are known, bps")
    ] = 5.0
    participation_ppm: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="share of the traded volume we may be, on candles and bare trades, ppm",
        ),
    ] = 100_000
    cancel_ahead_ppm: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="cancels ahead of us in the queue: 1000000 pro rata, 0 none"),
    ] = 500_000

    def __post_init__(self) -> None:
        """Refuse a range of latencies that ends before it begins."""
        if self.latency_model == "uniform" and self.latency_ms_max < self.latency_ms_min:
            raise ValueError(f"latency_ms_max {self.latency_ms_max} is below latency_ms_min {self.latency_ms_min}")
