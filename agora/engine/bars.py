"""Builds closed bars from quotes, trades and shorter candles, on the run's own time."""

from __future__ import annotations

from agora.domain.events import MarketCandle
from agora.domain.numbers import NS_PER_S
from agora.engine.state import NEVER_NS, Bar, Course, Market


def bar_end_ns(course: Course) -> int:
    """When the bar being built is over (`NEVER_NS` when there is none)."""
    return NEVER_NS if course.bar is None else course.bar.open_ts_ns + course.interval_s * NS_PER_S


def close_due_bar(course: Course, symbol: str, *, now_ns: int) -> MarketCandle | None:
    """The bar whose end has passed, closed and replaced by an empty one at the last price; None when not yet.

    A bar is closed when its end has passed, never on its first snapshot. A silence of several bars closes one
    bar (the rest had no trading; the next bar opens in the present). A bar with a hole in it is dropped: it says what
    was not; a source that can brings it whole.
    """
    bar = course.bar
    interval_ns = course.interval_s * NS_PER_S
    if bar is None or now_ns < bar.open_ts_ns + interval_ns:
        return None
    close = bar.close_ticks
    course.bar = Bar(now_ns - now_ns % interval_ns, close, close, close, close)
    if bar.is_partial:
        return None
    return MarketCandle(
        ts_ns=bar.open_ts_ns + interval_ns,
        instrument=symbol,
        interval_s=course.interval_s,
        open_ticks=bar.open_ticks,
        high_ticks=bar.high_ticks,
        low_ticks=bar.low_ticks,
        close_ticks=close,
        volume_lots=bar.volume_lots,
    )


def add_price(market: Market, *, price_ticks: int, size_lots: int, now_ns: int) -> None:
    """Let a price (a trade, or the middle of a quote with size 0) shape the bars being built."""
    for course in market.courses:
        bar = course.bar
        if bar is None:
            start_ns = now_ns - now_ns % (course.interval_s * NS_PER_S)
            course.bar = Bar(start_ns, price_ticks, price_ticks, price_ticks, price_ticks, size_lots, market.has_hole)
            continue
        if price_ticks > bar.high_ticks:
            bar.high_ticks = price_ticks
        elif price_ticks < bar.low_ticks:
            bar.low_ticks = price_ticks
        bar.close_ticks = price_ticks
        bar.volume_lots += size_lots
    market.has_hole = False


def break_bars(market: Market) -> None:
    """Prices were not seen for a while: forget the bars being built, and trust none that begins in the middle."""
    market.has_hole = True
    for course in market.courses:
        course.bar = None


def add_candle(course: Course, candle: MarketCandle) -> None:
    """Let a shorter candle shape the bar being built; the first candle of a bar gives it its open."""
    bar = course.bar
    open_ts_ns = candle.ts_ns - candle.interval_s * NS_PER_S
    if bar is None or open_ts_ns <= bar.open_ts_ns:
        course.bar = Bar(
            open_ts_ns=open_ts_ns - open_ts_ns % (course.interval_s * NS_PER_S),
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
