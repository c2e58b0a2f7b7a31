"""Curves, distributions and return statistics of a run of any length in memory of a fixed size.

Floats throughout: these are statistics for readers, never balances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

# A plot 2,000 pixels wide shows no more; two points (lowest, highest) for each bucket.
BUCKETS_MAX = 2_000
POINTS_MAX = 2 * BUCKETS_MAX

# Each latency bucket is 2 % wider than the one before: a percentile read from it is off by 1 % at most.
BUCKET_RATIO = 1.02
FIRST_EDGE = 1e-3  # ms: below a microsecond the journal's clock says nothing
LAST_EDGE = 3.6e6  # ms: an hour; whatever takes longer is counted as an hour
_LOG_RATIO = math.log(BUCKET_RATIO)
_BUCKETS = math.ceil(math.log(LAST_EDGE / FIRST_EDGE) / _LOG_RATIO) + 1

NS_PER_MINUTE = 60_000_000_000
NS_PER_HOUR = 60 * NS_PER_MINUTE
MINUTES_PER_YEAR = 525_600  # markets here never close
HOURS_PER_YEAR = 8_760
# With fewer returns a Sharpe ratio is an anecdote.
RETURNS_MIN = 30
# Up to this length minutes are few enough to be looked at; beyond it their noise hides the run.
MINUTE_RUN_NS_MAX = 48 * NS_PER_HOUR


class Point(msgspec.Struct, frozen=True, gc=False):
    """A value at a time of the run's clock."""

    ts_ns: int
    value: float


class _Bucket(msgspec.Struct, gc=False):
    """Lowest and highest of some consecutive samples."""

    low_ts_ns: int
    low: float
    high_ts_ns: int
    high: float

    def merge(self, other: _Bucket) -> None:
        """Take a later bucket in."""
        if other.low < self.low:
            self.low_ts_ns, self.low = other.low_ts_ns, other.low
        if other.high > self.high:
            self.high_ts_ns, self.high = other.high_ts_ns, other.high


class Series:
    """A curve of at most `POINTS_MAX` points plus its two ends that keeps every extreme.

    When the buckets are full, neighbours are merged and each then takes twice as many samples.
    """

    __slots__ = ("_buckets", "_first", "_last", "_room", "_stride", "samples")

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = []
        self._stride = 1
        self._room = 0
        self._first: Point | None = None
        self._last: Point | None = None
        self.samples = 0

    def add(self, ts_ns: int, value: float) -> None:
        """The next sample; times do not go back."""
        self.samples += 1
        self._last = Point(ts_ns, value)
        if self._first is None:
            self._first = self._last
        if self._room:
            self._buckets[-1].merge(_Bucket(ts_ns, value, ts_ns, value))
            self._room -= 1
            return
        if len(self._buckets) == BUCKETS_MAX:
            self._halve()
        self._buckets.append(_Bucket(ts_ns, value, ts_ns, value))
        self._room = self._stride - 1

    def _halve(self) -> None:
        pairs = zip(self._buckets[::2], self._buckets[1::2], strict=True)
        self._buckets = [_merged(early, late) for early, late in pairs]
        self._stride *= 2

    def points(self) -> list[Point]:
        """The curve in order of time, without repeated points."""
        points: list[Point] = []
        for point in self._raw_points():
            if not points or point != points[-1]:
                points.append(point)
        return points

    def _raw_points(self) -> Iterator[Point]:
        if self._first is None or self._last is None:
            return
        yield self._first
        for bucket in self._buckets:
            low, high = Point(bucket.low_ts_ns, bucket.low), Point(bucket.high_ts_ns, bucket.high)
            yield from (low, high) if low.ts_ns <= high.ts_ns else (high, low)
        yield self._last


def _merged(early: _Bucket, late: _Bucket) -> _Bucket:
    early.merge(late)
    return early


class Bar(msgspec.Struct, frozen=True, gc=False):
    """How many samples lie between two edges, in ms."""

    low_ms: float
    high_ms: float
    count: int


class Distribution:
    """A histogram of durations in ms, buckets 2 % wide: percentiles to 1 %, 9 kB for any count of samples."""

    __slots__ = ("_counts", "count", "max_ms")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.max_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """One sample; less than a microsecond (also a clock that was set back) counts as the shortest."""
        self.count += 1
        self.max_ms = max(self.max_ms, duration_ms)
        if duration_ms <= FIRST_EDGE:
            self._counts[0] += 1
            return
        bucket = int(math.log(duration_ms / FIRST_EDGE) / _LOG_RATIO) + 1
        self._counts[min(bucket, _BUCKETS - 1)] += 1

    def percentile(self, fraction: float) -> float | None:
        """The duration that this fraction of the samples does not exceed; None without samples."""
        if not self.count:
            return None
        rank = max(1, math.ceil(fraction * self.count))
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return round(min(_middle_ms(bucket), self.max_ms), 4) if self.max_ms > 0 else 0.0
        raise AssertionError(f"{seen} samples in buckets, {self.count} counted")

    def bars(self, bars_max: int) -> list[Bar]:
        """The distribution in at most `bars_max` bars from the first to the last sample."""
        used = [bucket for bucket, count in enumerate(self._counts) if count]
        if not used:
            return []
        width = math.ceil((used[-1] - used[0] + 1) / bars_max)
        return [
            Bar(_edge_ms(start - 1), _edge_ms(start + width - 1), sum(self._counts[start : start + width]))
            for start in range(used[0], used[-1] + 1, width)
        ]


def _edge_ms(bucket: int) -> float:
    """Upper edge of a bucket; the first one begins at zero."""
    return FIRST_EDGE * BUCKET_RATIO**bucket if bucket >= 0 else 0.0


def _middle_ms(bucket: int) -> float:
    return math.sqrt(_edge_ms(bucket - 1) * _edge_ms(bucket)) if bucket else FIRST_EDGE


class Returns:
    """Mean and deviation of the returns of consecutive periods; a period without news returned nothing."""

    __slots__ = ("_period_end_ns", "_period_ns", "_previous", "_squares", "_total", "count")

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._period_end_ns = 0
        self._previous = 0.0
        self._total = 0.0
        self._squares = 0.0
        self.count = 0

    def begin(self, ts_ns: int, value: float) -> None:
        """The value that the first period starts with."""
        self._period_end_ns = ts_ns + self._period_ns
        self._previous = value

    def close_periods(self, ts_ns: int, value: float) -> None:
        """Time has come to `ts_ns`; `value` held at the end of every period that has ended by then."""
        if ts_ns < self._period_end_ns or self._previous <= 0:
            return
        ended = (ts_ns - self._period_end_ns) // self._period_ns + 1
        change = value / self._previous - 1
        self._previous = value
        self._period_end_ns += ended * self._period_ns
        self.count += ended
        self._total += change
        self._squares += change * change

    def sharpe(self, periods_per_year: int) -> float | None:
        """Annualised mean over deviation, no risk-free rate; None with too few returns or equal ones."""
        if self.count < RETURNS_MIN:
            return None
        mean = self._total / self.count
        variance = (self._squares - self.count * mean * mean) / (self.count - 1)
        # Below this the difference of two nearly equal sums is rounding, not deviation.
        if variance <= 1e-12 * self._squares / self.count or self._squares == 0:
            return None
        return round(mean / math.sqrt(variance) * math.sqrt(periods_per_year), 4)


class EquityStatistics:
    """Drawdown and Sharpe ratio of a run, fed with equity as it changes; keeps the curves for the plots."""

    __slots__ = (
        "_hours",
        "_last",
        "_minutes",
        "_peak",
        "_start_ns",
        "drawdown",
        "equity",
        "max_drawdown_fraction",
    )

    def __init__(self) -> None:
        self.equity = Series()
        self.drawdown = Series()
        self.max_drawdown_fraction = 0.0
        self._minutes = Returns(NS_PER_MINUTE)
        self._hours = Returns(NS_PER_HOUR)
        self._peak = 0.0
        self._last = 0.0
        self._start_ns = 0

    def add(self, ts_ns: int, equity: float) -> None:
        """Equity at a time of the run's clock, in the quote currency."""
        if not self.equity.samples:
            self._start_ns = ts_ns
            self._minutes.begin(ts_ns, equity)
            self._hours.begin(ts_ns, equity)
        else:
            self._minutes.close_periods(ts_ns, self._last)
            self._hours.close_periods(ts_ns, self._last)
        self._last = equity
        self._peak = max(self._peak, equity)
        fall = (self._peak - equity) / self._peak if self._peak > 0 else 0.0
        self.max_drawdown_fraction = max(self.max_drawdown_fraction, fall)
        self.equity.add(ts_ns, equity)
        self.drawdown.add(ts_ns, -fall)

    def sharpe(self, end_ts_ns: int) -> tuple[float | None, str]:
        """The ratio and the period it is of: minutes of a run up to two days long, else hours."""
        if end_ts_ns - self._start_ns <= MINUTE_RUN_NS_MAX:
            return self._minutes.sharpe(MINUTES_PER_YEAR), "minute"
        return self._hours.sharpe(HOURS_PER_YEAR), "hour"
