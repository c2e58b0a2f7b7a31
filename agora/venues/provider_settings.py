"""Settings of market data from several providers, light to import."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

PROVIDER_PATTERN = "^(|bitunix|recorded|ccxt:[a-z0-9]{2,30})$"
_Provider = Annotated[str, Meta(pattern=PROVIDER_PATTERN, max_length=40)]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in for the first provider of market data, and what it is compared with. Times in seconds."""

    fallback: Annotated[
        _Provider,
        Meta(description="provider used while the first is lost: bitunix, recorded, ccxt:EXCHANGE; empty: none"),
    ] = ""
    check: Annotated[_Provider, Meta(description="provider whose prices the others must agree with; empty: none")] = ""
    switch_s: Annotated[
        float, Meta(ge=1, le=600, description="without usable data for so long the fallback takes over, s")
    ] = 10.0
    return_s: Annotated[
        float, Meta(ge=1, le=3_600, description="healthy for so long the first provider is used again, s")
    ] = 30.0
    disagree_bps: Annotated[
        float, Meta(gt=0, le=10_000, description="a larger difference of the middles is a disagreement, bps")
    ] = 50.0
    disagree_s: Annotated[
        float, Meta(ge=0, le=600, description="a disagreement that lasts so long is believed: the data are withheld, s")
    ] = 3.0

    # What is asked by polling.
    poll_s: Annotated[float, Meta(ge=0.2, le=60, description="ccxt: pause between two looks at a book, s")] = 1.0
    call_s_max: Annotated[float, Meta(gt=0, le=60, description="ccxt: longest wait for an answer, s")] = 5.0
    silent_s_max: Annotated[
        float, Meta(gt=0, le=600, description="ccxt: without a usable book for so long the provider is lost, s")
    ] = 10.0
