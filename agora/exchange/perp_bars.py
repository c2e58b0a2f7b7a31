"""Bars of a price, built from its observations: minutes, and every longer interval from finished minutes.

A minute without an observation repeats the close before it, so that a series has no holes. Plain Python: a few
observations a second need no kernel, and none has to be compiled for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from types import MappingProxyType

import msgspec

from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_records import Bar

# A week of minutes, 3 MB for each price; longer intervals reach back further than anybody asks.
BARS_KEPT = 10_000
_MINUTE_NS = 60 * NS_PER_S
_DAY_MINUTES = 1_440
_MONDAY_NS = 4 * 86_400 * NS_PER_S  # 1970-01-05 was a Monday
_MONTH = "1M"
_WEEK = "1w"
INTERVALS_NS: Mapping[str, int] = MappingProxyType(
    {
        name: minutes * _MINUTE_NS
        for name, minutes in (
            *(("1m", 1), ("3m", 3), ("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("2h", 120), ("4h", 240)),
            *(("6h", 360), ("8h", 480), ("12h", 720), ("1d", 1_440), ("3d", 4_320), (_WEEK, 10_080), (_MONTH, 0)),
        )
    }
)


def start_of(interval: str, ts_ns: int) -> int:
    """When the interval that holds a time began: weeks on Mondays, months on their first day, in UTC."""
    if interval == _MONTH:
        day = datetime.fromtimestamp(ts_ns // NS_PER_S, tz=UTC)
        first = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) * NS_PER_S
    anchor_ns = _MONDAY_NS if interval == _WEEK else 0
    return ts_ns - (ts_ns - anchor_ns) % INTERVALS_NS[interval]


class Bars:
    """The series of one price. `add` and `roll` are called with times that do not run backwards."""

    __slots__ = ("_day", "_finished", "_forming", "_minute")

    def __init__(self, price_ticks: int) -> None:
        self._minute = Bar(
            start_ns=-1, open_ticks=price_ticks, high_ticks=price_ticks, low_ticks=price_ticks, close_ticks=price_ticks
        )
        self._finished: dict[str, deque[Bar]] = {name: deque(maxlen=BARS_KEPT) for name in INTERVALS_NS}
        self._forming: dict[str, Bar] = {}
        self._day: Bar | None = None

    def load(self, minutes: Iterable[Bar]) -> None:
        """Take over finished minutes from before the exchange opened, oldest first; before anything else."""
        assert self._minute.start_ns < 0, "history is loaded before the first observation"
        close_ticks = self._minute.close_ticks
        for minute in minutes:
            self._finish(minute)
            close_ticks = minute.close_ticks
        self._minute = _flat(-1, close_ticks)

    def add(self, ts_ns: int, price_ticks: int, *, size_lots: int = 0, quote_units: int = 0) -> None:
        """Note an observed price, with what was traded at it."""
        self.roll(ts_ns)
        minute = self._minute
        is_first = size_lots > 0 and minute.trades == 0
        self._minute = Bar(
            start_ns=minute.start_ns,
            # The first trade opens a minute that so far only repeated the close before it.
            open_ticks=price_ticks if is_first else minute.open_ticks,
            high_ticks=price_ticks if is_first else max(minute.high_ticks, price_ticks),
            low_ticks=price_ticks if is_first else min(minute.low_ticks, price_ticks),
            close_ticks=price_ticks,
            size_lots=minute.size_lots + size_lots,
            quote_units=minute.quote_units + quote_units,
            trades=minute.trades + (1 if size_lots else 0),
        )

    def roll(self, now_ns: int) -> None:
        """Finish the minutes that are over."""
        start_ns = now_ns - now_ns % _MINUTE_NS
        minute = self._minute
        if start_ns <= minute.start_ns:
            return
        if minute.start_ns >= 0:
            self._finish(minute)
            # Of a leap over more than is kept, only what is kept is filled in.
            next_ns = max(minute.start_ns + _MINUTE_NS, start_ns - BARS_KEPT * _MINUTE_NS)
            for missed_ns in range(next_ns, start_ns, _MINUTE_NS):
                self._finish(_flat(missed_ns, minute.close_ticks))
        self._minute = _flat(start_ns, minute.close_ticks)

    def bars(self, interval: str, *, limit: int, end_ns: int | None = None) -> list[Bar]:
        """The newest bars that began before `end_ns`, oldest first; the one still forming is the last.

        Raises `KeyError` for an interval that is not among `INTERVALS_NS`.
        """
        finished = self._finished[interval]
        newest = [] if self._minute.start_ns < 0 else [self._minute]
        if interval in self._forming:
            newest = self._with_minute(interval)
        found: list[Bar] = []
        for bar in chain(reversed(newest), reversed(finished)):
            if len(found) >= limit:
                break
            if end_ns is None or bar.start_ns < end_ns:
                found.append(bar)
        return found[::-1]

    def day(self) -> Bar:
        """The last 24 hours in one bar."""
        if self._day is None:
            minutes = list(islice(reversed(self._finished["1m"]), _DAY_MINUTES - 1))
            self._day = _joined(minutes[::-1]) if minutes else None
        return _joined([self._day, self._minute]) if self._day is not None else self._minute

    def _with_minute(self, interval: str) -> list[Bar]:
        """The forming bar of a longer interval, joined with the forming minute or followed by it."""
        forming, minute = self._forming[interval], self._minute
        if minute.start_ns < 0:
            return [forming]
        start_ns = start_of(interval, minute.start_ns)
        if start_ns == forming.start_ns:
            return [_joined([forming, minute])]
        return [forming, msgspec.structs.replace(minute, start_ns=start_ns)]

    def _finish(self, minute: Bar) -> None:
        self._day = None
        self._finished["1m"].append(minute)
        for interval in INTERVALS_NS:
            if interval == "1m":
                continue
            start_ns = start_of(interval, minute.start_ns)
            forming = self._forming.get(interval)
            if forming is not None and forming.start_ns == start_ns:
                self._forming[interval] = _joined([forming, minute])
                continue
            if forming is not None:
                self._finished[interval].append(forming)
            self._forming[interval] = msgspec.structs.replace(minute, start_ns=start_ns)


def _flat(start_ns: int, price_ticks: int) -> Bar:
    return Bar(
        start_ns=start_ns,
        open_ticks=price_ticks,
        high_ticks=price_ticks,
        low_ticks=price_ticks,
        close_ticks=price_ticks,
    )


def _joined(bars: list[Bar]) -> Bar:
    """One bar over several, oldest first."""
    return Bar(
        start_ns=bars[0].start_ns,
        open_ticks=bars[0].open_ticks,
        high_ticks=max(bar.high_ticks for bar in bars),
        low_ticks=min(bar.low_ticks for bar in bars),
        close_ticks=bars[-1].close_ticks,
        size_lots=sum(bar.size_lots for bar in bars),
        quote_units=sum(bar.quote_units for bar in bars),
        trades=sum(bar.trades for bar in bars),
    )
