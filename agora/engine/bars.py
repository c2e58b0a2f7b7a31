"""Builds closed bars from quotes, trades and shorter candles, on the run's own time."""

from __future__ import annotations

from agora.domain.events import MarketCandle
from agora.domain.numbers import NS_PER_S
from agora.engine.state import NEVER_NS, Bar, Market


def bar_end_ns(market: Market, interval_s: int) -> int:
    """When the bar being built is over (`NEVER_NS` when there is none)."""
    if market.bar is None:
        return NEVER_NS
    return market.bar.open_ts_ns + interval_s * NS_PER_S


def close_due_bar(market: Market, symbol: str, *, interval_s: int, now_ns: int) -> MarketCandle | None:
    """The bar whose end has passed, closed and replaced by an empty one at the last price; None when not yet.

    A bar is closed when its end has passed, never on its first snapshot. A silence of several bars closes one
    bar (the rest had no trading; the next bar opens in the present).
    """
    bar = market.bar
    interval_ns = interval_s * NS_PER_S
    if bar is None or now_ns < bar.open_ts_ns + interval_ns:
        return None
    close = bar.close_ticks
    market.bar = Bar(now_ns - now_ns % interval_ns, close, close, close, close)
    return MarketCandle(
        ts_ns=bar.open_ts_ns + interval_ns,
        instrument=symbol,
        interval_s=interval_s,
        open_ticks=bar.open_ticks,
        high_ticks=bar.high_ticks,
        low_ticks=bar.low_ticks,
        close_ticks=close,
        volume_lots=bar.volume_lots,
    )


def add_price(market: Market, *, price_ticks: int, size_lots: int, now_ns: int, interval_s: int) -> None:
    """Let a price (a trade, or the middle of a quote with size 0) shape the bar being built."""
    bar = market.bar
    if bar is None:
        interval_ns = interval_s * NS_PER_S
        market.bar = Bar(now_ns - now_ns % interval_ns, price_ticks, price_ticks, price_ticks, price_ticks, size_lots)
        return
    if price_ticks > bar.high_ticks:
        bar.high_ticks = price_ticks
    elif price_ticks < bar.low_ticks:
        bar.low_ticks = price_ticks
    bar.close_ticks = price_ticks
    bar.volume_lots += size_lots


def add_candle(market: Market, candle: MarketCandle, *, interval_s: int) -> None:
    """Let a shorter candle shape the bar being built; the first candle of a bar gives it its open."""
    bar = market.bar
    open_ts_ns = candle.ts_ns - candle.interval_s * NS_PER_S
    if bar is None or open_ts_ns <= bar.open_ts_ns:
        market.bar = Bar(
            open_ts_ns=open_ts_ns - open_ts_ns % (interval_s * NS_PER_S),
            open_ticks=candle.open_ticks,
            high_ticks=candle.high_ticks,
            low_ticks=candle.low_ticks,
            close_ticks=candle.close_ticks,
            volume_lots=candle.volume_lots,
        )
        return
    bar.high_ticks = max(bar.high_ticks, candle.high_ticks)
    bar.low_ticks = min(bar.low_ticks, candle.low_ticks)
    bar.close_ticks = candle.close_ticks
    bar.volume_lots += candle.volume_lots
