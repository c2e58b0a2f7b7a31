"""Closed bars of Bitunix over REST, as market data."""

from __future__ import annotations

from collections.abc import Sequence

from agora.domain.errors import Transient
from agora.domain.events import MarketCandle, MarketFundingRate
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S, Rounding
from agora.venues.bar_keeper import NotServed
from agora.venues.bitunix.client import INTERVALS, BitunixClient
from agora.venues.bitunix.wire import KlineRow, Malformed
from agora.venues.rest import Refused

# A clock that is further off is not waited for; nothing is traded by it either.
OFFSET_NS_MAX = 60 * NS_PER_S
# Settlements of a year at most hourly, in pages of the venue's size.
SETTLEMENTS_PER_CALL = 200
SETTLEMENT_CALLS_MAX = 50
# The venue's word for a value that it does not allow.
NOT_ALLOWED = (10_002, 10_008)


class BitunixBars:
    """Bars of some contracts (port `BarSource`)."""

    def __init__(self, client: BitunixClient, instruments: dict[str, Instrument]) -> None:
        self._client = client
        self._instruments = instruments

    def offset_ns(self) -> int:
        """What the venue's clock is ahead of ours, as its answers say: within bounds, as no bar waits for days."""
        return max(-OFFSET_NS_MAX, min(OFFSET_NS_MAX, round(self._client.clock_offset_ms * NS_PER_MS)))

    async def bars(self, symbol: str, interval_s: int, *, span_ns: tuple[int, int]) -> Sequence[MarketCandle]:
        """Closed bars that begin in the span; raises `NotServed` or `Transient`."""
        if interval_s not in INTERVALS:
            raise NotServed(f"{interval_s} s")
        try:
            rows = await self._client.klines(symbol, interval_s, start_ns=span_ns[0], end_ns=span_ns[1])
        except Refused as fault:
            if fault.code in NOT_ALLOWED:
                raise NotServed(str(fault)) from fault
            raise Transient(str(fault)) from fault
        except Malformed as fault:
            raise Transient(f"bars of {symbol} cannot be read: {fault}") from fault
        return [candle_of(row, self._instruments[symbol], interval_s) for row in rows]

    async def settlements(self, symbol: str, *, span_ns: tuple[int, int]) -> list[MarketFundingRate]:
        """Funding settled in the span; the venue gives so many rows after a time. Raises `Transient`."""
        found: dict[int, MarketFundingRate] = {}
        start_ms = span_ns[0] // NS_PER_MS
        for _ in range(SETTLEMENT_CALLS_MAX):
            try:
                rows = await self._client.funding_history(symbol, start_ms=start_ms, limit=SETTLEMENTS_PER_CALL)
            except (Refused, Malformed) as fault:
                raise Transient(f"funding of {symbol} cannot be read: {fault}") from fault
            new = [row for row in rows if row.time_ms * NS_PER_MS not in found]
            found |= {
                row.time_ms * NS_PER_MS: MarketFundingRate(
                    ts_ns=row.time_ms * NS_PER_MS, instrument=symbol, rate_ppb=row.rate_ppb
                )
                for row in new
            }
            if len(rows) < SETTLEMENTS_PER_CALL or not new:
                break
            start_ms = rows[-1].time_ms + 1
        return [found[ts_ns] for ts_ns in sorted(found) if span_ns[0] < ts_ns <= span_ns[1]]


def candle_of(row: KlineRow, instrument: Instrument, interval_s: int) -> MarketCandle:
    """A row as a warm-up bar: prices to the nearest tick, as some contracts list finer ones than they trade."""
    opened, high, low, close = (
        instrument.price_ticks(price, Rounding.NEAREST) for price in (row.open, row.high, row.low, row.close)
    )
    return MarketCandle(
        ts_ns=row.start_ms * NS_PER_MS + interval_s * NS_PER_S,
        instrument=instrument.symbol,
        interval_s=interval_s,
        open_ticks=opened,
        high_ticks=high,
        low_ticks=low,
        close_ticks=close,
        volume_lots=instrument.size_lots(row.base_volume, Rounding.DOWN),
        is_history=True,
    )
