"""Settings of an agents' market: its assets, who trades, how fast, and how long."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.instruments import Instrument
from agora.domain.numbers import Rounding, parse_decimal
from agora.exchange.rules import Listing

ASSETS_MAX = 64  # a book of 16,384 orders takes 3 MB
AGENTS_MAX = 1_000  # personas; each is asked in every tick. The crowd behind them is the population.
POPULATION_MAX = 10_000


class MarketSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The agents' market. Raises `ValueError` when assets or agents cannot be read."""

    assets: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1, max_length=ASSETS_MAX, description="assets as SYMBOL:PRICE, the price in the quote currency"
        ),
    ] = ("ARBO:200", "BRIO:150", "CALDO:500", "DUNE:120")
    quote: Annotated[str, Meta(pattern="^[A-Z]{3,8}$", description="currency that prices are in")] = "USD"
    tick_size: Annotated[str, Meta(pattern=r"^\d{1,6}(\.\d{1,8})?$", description="smallest price step")] = "0.01"
    lot_size: Annotated[str, Meta(pattern=r"^\d{1,6}(\.\d{1,8})?$", description="smallest size step")] = "1"
    maker_fee_ppm: Annotated[int, Meta(ge=0, le=100_000, description="fee of the resting side, millionths")] = 0
    taker_fee_ppm: Annotated[int, Meta(ge=0, le=100_000, description="fee of the crossing side, millionths")] = 100
    shorting: Annotated[bool, Meta(description="whether agents may sell more than they own, against margin")] = True
    agents: Annotated[
        tuple[str, ...], Meta(max_length=64, description="personas as NAME=COUNT, e.g. momentum=3")
    ] = (
        "conservative=1", "momentum=2", "panic=1", "value=2", "contrarian=1", "fomo=1", "algorithmic=1", "day_trader=1",
        "whale=1", "market_maker=3", "rumor_monger=1", "dca=1",
    )  # fmt: skip
    population: Annotated[
        int, Meta(ge=0, le=POPULATION_MAX, description="rule agents in the background, over all assets")
    ] = 4_400
    agent_cash: Annotated[
        str, Meta(pattern=r"^[1-9]\d{0,11}$", description="cash of a persona of weight one, in the quote currency")
    ] = "100000"
    tick: Annotated[
        str,
        Meta(
            pattern=r"^(max|\d{1,4}(\.\d{1,3})?)$", description="seconds from tick to tick, or max: as fast as possible"
        ),
    ] = "1"
    ticks: Annotated[int, Meta(ge=0, le=100_000_000, description="ticks until the end; 0: by duration")] = 0
    news_file: Annotated[
        str, Meta(max_length=4_096, description="JSON list of news and shocks by tick; empty: none")
    ] = ""
    news_impact_ppm: Annotated[
        int, Meta(ge=0, le=200_000, description="move of the fundamental value by news of full tone, millionths")
    ] = 10_000
    order_capacity: Annotated[int, Meta(ge=256, le=1_048_576, description="resting orders a book can hold")] = 16_384
    ledger_url: Annotated[
        str, Meta(max_length=1_000, description="database of trades and decisions; empty: SQLite in the run folder")
    ] = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be listed or seated, all of it at once."""
        faults: list[str] = []
        for read in (listings_of, agents_of):
            try:
                read(self)
            except ValueError as fault:
                faults.append(str(fault))
        if self.tick != "max" and not 0.001 <= float(self.tick) <= 3_600:
            faults.append(f"tick: {self.tick} is not between 0.001 and 3600 seconds")
        if faults:
            raise ValueError("; ".join(faults))


def listings_of(settings: MarketSettings) -> tuple[Listing, ...]:
    """The assets in their order; raises `ValueError` naming the one that cannot be."""
    listings: list[Listing] = []
    for text in settings.assets:
        symbol, separator, price = text.partition(":")
        if not symbol.isascii() or not symbol.isalnum() or not symbol.isupper() or not 2 <= len(symbol) <= 12:
            raise ValueError(f"assets: {text[:40]!r} is not SYMBOL:PRICE (2 to 12 capital letters and digits)")
        if symbol in {listing.instrument.symbol for listing in listings}:
            raise ValueError(f"assets: {symbol} is listed twice")
        instrument = Instrument(
            symbol=symbol,
            base=symbol,
            quote=settings.quote,
            tick_size=settings.tick_size,
            lot_size=settings.lot_size,
            maker_fee_ppm=settings.maker_fee_ppm,
            taker_fee_ppm=settings.taker_fee_ppm,
        )
        try:
            price_ticks = instrument.price_ticks(parse_decimal(price) if separator else 100, Rounding.NEAREST)
        except ValueError as fault:
            raise ValueError(f"assets: {text[:40]!r}: {fault}") from None
        if not 10 <= price_ticks <= 10**9:
            raise ValueError(f"assets: {text[:40]!r}: the price is {price_ticks} ticks, not between 10 and 1e9")
        listings.append(
            Listing(instrument=instrument, listing_price_ticks=price_ticks, allows_shorts=settings.shorting)
        )
    return tuple(listings)


def agents_of(settings: MarketSettings) -> tuple[tuple[str, int], ...]:
    """Personas and their counts; raises `ValueError`. Whether a persona exists is the assembly's to say."""
    wanted: list[tuple[str, int]] = []
    for text in settings.agents:
        name, _, count = text.partition("=")
        if not count.isdigit() or len(count) > 4:
            raise ValueError(f"agents: {text[:40]!r} is not PERSONA=COUNT")
        wanted.append((name, int(count)))
    total = sum(count for _, count in wanted)
    if total > AGENTS_MAX:
        raise ValueError(f"agents: {total} are more than {AGENTS_MAX}")
    return tuple(wanted)
