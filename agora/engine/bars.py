"""Builds closed bars from quotes, trades and shorter candles, on the run's own time.

A bar that prices shape is closed by the clock; one that is made of shorter candles is closed by the last of them. Where
prices come, candles of the same time are not counted again.
"""

from __future__ import annotations

import msgspec

from agora.domain.events import MarketCandle
from agora.domain.numbers import NS_PER_S
from agora.engine.state import NEVER_NS, Bar, Course, Market


def bar_end_ns(course: Course) -> int:
    """When the clock will close the bar being built; `NEVER_NS` when there is none, or candles will close it."""
    bar = course.bar
    if bar is None or bar.told_ns != NEVER_NS:
        return NEVER_NS
    return bar.open_ts_ns + course.interval_s * NS_PER_S


def close_due_bar(course: Course, symbol: str, *, now_ns: int) -> MarketCandle | None:
    """The bar whose end has passed, closed and replaced by an empty one at the last price; None when not yet.

    A bar is closed when its end has passed, never on its first snapshot. A silence of several bars closes one
    bar (the rest had no trading; the next bar opens in the present). A bar with a hole in it is dropped: it says what
    was not; a source that can brings it whole.
    """
    bar = course.bar
    interval_ns = course.interval_s * NS_PER_S
    if bar is None or now_ns < bar.open_ts_ns + interval_ns or bar.told_ns != NEVER_NS:
        return None
    close = bar.close_ticks
    course.bar = Bar(now_ns - now_ns % interval_ns, close, close, close, close)
    return None if bar.is_partial else _closed(course, symbol, bar)


def _closed(course: Course, symbol: str, bar: Bar) -> MarketCandle:
    return MarketCandle(
        ts_ns=bar.open_ts_ns + course.interval_s * NS_PER_S,
        instrument=symbol,
        interval_s=course.interval_s,
        open_ticks=bar.open_ticks,
        high_ticks=bar.high_ticks,
        low_ticks=bar.low_ticks,
        close_ticks=bar.close_ticks,
        volume_lots=bar.volume_lots,
    )


def add_price(market: Market, *, price_ticks: int, size_lots: int, now_ns: int) -> None:
    """Let a price (a trade, or the middle of a quote with size 0) shape the bars being built."""
    has_hole = market.has_hole
    for course in market.courses:
        bar = course.bar
        if bar is not None and (has_hole or bar.told_ns != NEVER_NS):
            bar = _taken_over(course, bar, now_ns=now_ns, has_hole=has_hole)
        if bar is None:
            start_ns = now_ns - now_ns % (course.interval_s * NS_PER_S)
            course.bar = Bar(start_ns, price_ticks, price_ticks, price_ticks, price_ticks, size_lots, has_hole)
            continue
        if price_ticks > bar.high_ticks:
            bar.high_ticks = price_ticks
        elif price_ticks < bar.low_ticks:
            bar.low_ticks = price_ticks
        bar.close_ticks = price_ticks
        bar.volume_lots += size_lots
    market.has_hole = False


def _taken_over(course: Course, bar: Bar, *, now_ns: int, has_hole: bool) -> Bar | None:
    """A bar that warm-up candles began, as prices go on with it; None when its end has passed without its candles."""
    if now_ns >= bar.open_ts_ns + course.interval_s * NS_PER_S:
        return None
    bar.told_ns = NEVER_NS
    bar.is_partial = bar.is_partial or has_hole
    return bar


def break_bars(market: Market) -> None:
    """Prices were not seen for a while: forget the bars being built, and trust none that begins in the middle."""
    market.has_hole = True
    for course in market.courses:
        course.bar = None


def add_candle(course: Course, candle: MarketCandle, *, has_hole: bool) -> list[MarketCandle]:
    """Let a shorter candle shape the bar being built; returns the bars that are closed by it, oldest first.

    The first candle of a bar gives it its open. What is known already, from prices or from this very candle, is not
    counted again. Where the last candles of a bar are missing, nothing was traded in them: the next one closes it.
    """
    interval_ns = course.interval_s * NS_PER_S
    begin_ns = (candle.end_ts_ns or candle.ts_ns) - candle.interval_s * NS_PER_S
    closed: list[MarketCandle] = []
    bar = course.bar
    if bar is not None and begin_ns < bar.told_ns:
        return closed
    if bar is not None and begin_ns >= bar.open_ts_ns + interval_ns:
        closed += _closed_by(course, candle, bar)
        bar = None
    if bar is None:
        bar = course.bar = _begun(candle, begin_ns, interval_ns=interval_ns, has_hole=has_hole)
    else:
        bar.high_ticks = max(bar.high_ticks, candle.high_ticks)
        bar.low_ticks = min(bar.low_ticks, candle.low_ticks)
        bar.close_ticks = candle.close_ticks
        bar.volume_lots += candle.volume_lots
    bar.told_ns = begin_ns + candle.interval_s * NS_PER_S
    bar.is_history = candle.is_history
    if bar.told_ns >= bar.open_ts_ns + interval_ns:
        closed += _closed_by(course, candle, bar)
        course.bar = None
    return closed


def _begun(candle: MarketCandle, begin_ns: int, *, interval_ns: int, has_hole: bool) -> Bar:
    open_ts_ns = begin_ns - begin_ns % interval_ns
    return Bar(
        open_ts_ns=open_ts_ns,
        open_ticks=candle.open_ticks,
        high_ticks=candle.high_ticks,
        low_ticks=candle.low_ticks,
        close_ticks=candle.close_ticks,
        volume_lots=candle.volume_lots,
        is_partial=has_hole and begin_ns != open_ts_ns,
    )


def _closed_by(course: Course, candle: MarketCandle, bar: Bar) -> list[MarketCandle]:
    """A bar made of candles, stamped like a feed's own: a late one with the present, an old one as history."""
    if bar.is_partial:
        return []
    closed = _closed(course, candle.instrument, bar)
    end_ns, late_ns = closed.ts_ns, candle.ts_ns - closed.ts_ns
    # Nobody trades on what ended a whole bar ago.
    is_history = bar.is_history or late_ns > course.interval_s * NS_PER_S
    if not is_history and late_ns > 0:
        return [msgspec.structs.replace(closed, ts_ns=candle.ts_ns, end_ts_ns=end_ns)]
    return [msgspec.structs.replace(closed, is_history=is_history)]
