"""Candles and funding rates from feather and CSV files: read as columns, checked, merged, made events."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agora.domain.errors import UsageFault
from agora.domain.events import FeedGap, MarketCandle, MarketFundingRate
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S, PPB
from agora.venues.import_arrow import ROWS_MAX, read_arrow
from agora.venues.import_rows import (
    FIRST_TIME_NS,
    LAST_TIME_NS,
    BadRow,
    ImportTally,
    decimal_of,
    lines_of,
    malformed,
    sample_of,
)
from agora.venues.recording import RecordedEvent
from agora.venues.screen import RATE_PPB_MAX, STEPS_MAX, Reason, Screen

CANDLES_MAX = ROWS_MAX  # 240 MB while they are sorted
ROWS_AT_A_TIME = 4_096  # candles that are Python integers at one time, 2 MB
FAULTS_NAMED_MAX = 10_000  # per file; the rest of a file that is all faults adds nothing
STEP_TOLERANCE = 1e-6  # of a tick: what a float64 of a price needs, far below half a tick
FITTING_SHARE_MIN = 0.99  # prices on the tick; below it the tick is not this market's
DISAGREEING_MIN = 10  # so many may differ in any case: corrections of single bars happen
STALE_SHARE_MAX = 0.1  # of the rows; beyond it the file is not in order at all, and nothing tells which rows are wrong
DISAGREEING_SHARE_MAX = 0.01  # of overlapping candles; beyond it the files are of different markets
INTERVAL_S_MAX = 86_400  # a day is the longest that is traded on, and weeks do not begin with the epoch
HOUR_NS = 3_600 * NS_PER_S
FUNDING_CSV_OFFSET = timedelta(hours=3)  # the fetcher that wrote these files prints UTC+3 without saying so

PRICE_COLUMNS = ("open", "high", "low", "close")
TIME_COLUMNS = ("timestamp", "ts", "date", "time", "open_time")
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?([eE][+-]?\d{1,2})?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf(inity)?)?", re.IGNORECASE)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass
class Fault:
    """A row that was dropped, where it stands and its time if it has one."""

    reason: Reason
    sample: str
    ts_ns: int | None = None


@dataclass
class RawCandles:
    """A candle file as columns: start times, (open, high, low, close, volume) and where each row stands."""

    name: str
    start_ns: Integers
    values: Floats
    rows: Integers
    faults: list[Fault] = field(default_factory=list)
    interval_s: int = 0  # known once the rows are in order

    def sample(self, row: int) -> str:
        """A row as text, with its place in the file."""
        numbers = ",".join(f"{number:.10g}" for number in self.values[row])
        return f"{self.name}:{self.rows[row]}: {self.start_ns[row]},{numbers}"

    def drop(self, bad: npt.NDArray[np.bool_], reason: Reason) -> None:
        """Name the bad rows and keep the others."""
        if not bad.any():
            return
        for row in np.flatnonzero(bad)[:FAULTS_NAMED_MAX].tolist():
            self.faults.append(Fault(reason, self.sample(row), int(self.start_ns[row])))
        good = ~bad
        self.start_ns, self.values, self.rows = self.start_ns[good], self.values[good], self.rows[good]


# Reading.


def read_candle_arrow(path: Path) -> RawCandles:
    """A feather file with a time column and open, high, low, close, volume; raises `UsageFault`."""
    times, numbers = _read_arrow(path, (*PRICE_COLUMNS, "volume"))
    return RawCandles(path.name, times, numbers, np.arange(1, len(times) + 1))


def _read_arrow(path: Path, names: tuple[str, ...]) -> tuple[Integers, Floats]:
    """The times and the named columns of a feather file; what is no number is NaN."""
    table = read_arrow(path, times=TIME_COLUMNS, numbers=names)
    if table.times is None:
        raise UsageFault(f"{path}: no rows" if not table.names else f"{path}: no time among {', '.join(table.names)}")
    if not set(names) <= set(table.numbers):
        raise UsageFault(f"{path}: expected a time and {', '.join(names)}; found {', '.join(table.names)}")
    return _integer_times(table.times), np.column_stack([table.numbers[name] for name in names])


def _integer_times(counts: Integers) -> Integers:
    """Unix ns from counts of s, ms, us or ns: the unit is the one that lands between 2009 and 2100."""
    middle = int(np.median(counts)) if len(counts) else 0
    unit_ns = next((u for u in (1, 1_000, NS_PER_MS, NS_PER_S) if FIRST_TIME_NS <= middle * u <= LAST_TIME_NS), 1)
    fits = np.abs(counts) <= LAST_TIME_NS // unit_ns
    return np.where(fits, counts, 0) * unit_ns


def read_candle_csv(path: Path, *, header_line: int, columns: tuple[str, ...]) -> RawCandles:
    """A CSV with a time column (Unix or ISO 8601) and open, high, low, close, volume."""
    time_place = next(columns.index(name) for name in TIME_COLUMNS if name in columns)
    places = [columns.index(name) for name in (*PRICE_COLUMNS, "volume")]
    times: list[int] = []
    values: list[list[float]] = []
    rows: list[int] = []
    faults: list[Fault] = []
    for number, line in _numbered(path, header_line=header_line, faults=faults):
        try:
            cells = _cells(line, len(columns))
            time = _csv_time(cells[time_place])
            values.append([_float(cells[place]) for place in places])
        except BadRow as bad:
            _name_fault(faults, bad, sample=f"{path.name}:{number}: {sample_of(line)}")
            continue
        times.append(time)
        rows.append(number)
        if len(times) > CANDLES_MAX:
            raise UsageFault(f"{path}: more than {CANDLES_MAX} candles")
    numbers = np.array(values, dtype=np.float64).reshape(-1, len(places))
    start_ns = _integer_times(np.array(times, dtype=np.int64))
    return RawCandles(path.name, start_ns, numbers, np.array(rows, dtype=np.int64), faults)


def _numbered(path: Path, *, header_line: int, faults: list[Fault]) -> Iterator[tuple[int, bytes]]:
    """The lines after the header with their numbers; damage of the compressed data is named and ends them."""
    lines = lines_of(path)
    number = 0
    while True:
        number += 1
        try:
            line = next(lines)
        except StopIteration:
            return
        except BadRow as bad:
            _name_fault(faults, bad, sample=f"{path.name}:{number}: {bad.detail}")
            return
        if number > header_line and line.strip() and not line.startswith(b"#"):
            yield number, line


def _name_fault(faults: list[Fault], bad: BadRow, *, sample: str) -> None:
    if len(faults) < FAULTS_NAMED_MAX:
        faults.append(Fault(bad.reason, sample))


def _cells(line: bytes, count: int) -> list[str]:
    if len(line) > 10_000:  # a candle is a hundred characters; a megabyte of commas would be split into a million
        raise BadRow(Reason.TOO_LONG)
    try:
        cells = line.decode("ascii").split(",")
    except UnicodeDecodeError:
        raise BadRow(Reason.UNPARSABLE) from None
    if len(cells) != count:
        raise BadRow(Reason.UNPARSABLE)
    return [cell.strip() for cell in cells]


def _csv_time(text: str) -> int:
    """A count of s, ms, us or ns as it is, ISO 8601 text as ns; without an offset it is UTC."""
    if text.isdigit() and len(text) <= 19:
        count = int(text)
        return count if count < 2**63 else 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRow(Reason.UNPARSABLE) from None
    return _unix_ns(moment)


def _unix_ns(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise BadRow(Reason.NOT_FINITE if _NOT_FINITE.fullmatch(text) else Reason.UNPARSABLE)
    return float(text)


# Checking.


def check_order(raw: RawCandles) -> None:
    """Sort the rows by time; those against the direction of the file are stale: dropped, as are repeats.

    Raises `UsageFault` when the file has no direction.
    """
    in_time = (raw.start_ns >= FIRST_TIME_NS) & (raw.start_ns <= LAST_TIME_NS)
    raw.drop(~in_time, Reason.ABSURD_TIME)
    steps = np.sign(np.diff(raw.start_ns))
    is_newest_first = steps.sum() < 0
    if is_newest_first:
        raw.start_ns, raw.values, raw.rows = raw.start_ns[::-1], raw.values[::-1], raw.rows[::-1]
    if (np.diff(raw.start_ns) < 0).any():
        stale = ~_longest_rise(raw.start_ns)
        if stale.sum() > max(DISAGREEING_MIN, len(stale) * STALE_SHARE_MAX):
            raise UsageFault(f"{raw.name}: {stale.sum()} of {len(stale)} rows are out of order: sort it by time")
        raw.drop(stale, Reason.OUT_OF_ORDER)
    repeats = np.zeros(len(raw.start_ns), dtype=np.bool_)
    repeats[1:] = np.diff(raw.start_ns) == 0
    same = np.ones(len(repeats), dtype=np.bool_)
    same[1:] = (raw.values[1:] == raw.values[:-1]).all(axis=1)
    differs = repeats & ~same
    raw.drop(differs | np.append(differs[1:], False), Reason.OVERLAP_DIFFERS)
    repeats = np.zeros(len(raw.start_ns), dtype=np.bool_)
    repeats[1:] = np.diff(raw.start_ns) == 0
    raw.drop(repeats, Reason.DUPLICATE)


def _longest_rise(times: Integers) -> npt.NDArray[np.bool_]:
    """Which rows belong to the longest sequence that never falls (patience sorting)."""
    tails: list[int] = []  # the smallest last time of a rise of each length
    tail_rows: list[int] = []
    before = np.full(len(times), -1, dtype=np.int64)
    for row, time in enumerate(times.tolist()):
        place = bisect_right(tails, time)
        before[row] = tail_rows[place - 1] if place else -1
        tails[place : place + 1] = [time]
        tail_rows[place : place + 1] = [row]
    kept = np.zeros(len(times), dtype=np.bool_)
    row = tail_rows[-1] if tail_rows else -1
    while row >= 0:
        kept[row] = True
        row = int(before[row])
    return kept


def check_values(raw: RawCandles) -> None:
    """Drop what no candle can be, whatever its instrument."""
    raw.drop(~np.isfinite(raw.values.sum(axis=1)), Reason.NOT_FINITE)
    raw.drop((raw.values[:, :4].min(axis=1) <= 0) | (raw.values[:, 4] < 0), Reason.NOT_POSITIVE)
    open_, high, low, close = (raw.values[:, column] for column in range(4))
    raw.drop((low > np.minimum(open_, close)) | (high < np.maximum(open_, close)), Reason.OHLC)


def interval_s_of(raw: RawCandles) -> int:
    """The most frequent step between rows in seconds; raises `UsageFault` when there is none."""
    steps = np.diff(raw.start_ns)
    if len(steps) == 0:
        first = f"; the first fault: {raw.faults[0].reason} ({raw.faults[0].sample})" if raw.faults else ""
        raise UsageFault(f"{raw.name}: fewer than two candles{first}")
    values, counts = np.unique(steps, return_counts=True)
    interval_ns = int(values[np.argmax(counts)])
    if interval_ns % NS_PER_S or not 0 < interval_ns <= INTERVAL_S_MAX * NS_PER_S:
        raise UsageFault(f"{raw.name}: candles {interval_ns} ns apart are not of whole seconds up to a day")
    return interval_ns // NS_PER_S


def fitting_share(raw: RawCandles, instrument: Instrument) -> float:
    """The share of candles whose prices are all on the instrument's tick."""
    return float(_on_tick(raw.values[:, :4], instrument).mean()) if len(raw.rows) else 0.0


def _on_tick(prices: Floats, instrument: Instrument) -> npt.NDArray[np.bool_]:
    """Which rows have all their prices on the tick."""
    ticks = prices / float(instrument.tick)
    return np.asarray((np.abs(ticks - np.rint(ticks)) <= STEP_TOLERANCE).all(axis=1))


# Candles of one instrument, from all files.


@dataclass
class Candles:
    """Checked candles in order: rows of (end ns, four prices in ticks, volume in lots, file, row)."""

    instrument: Instrument
    interval_s: int
    table: Integers
    names: list[str]  # of the files
    faults: list[Fault]

    @property
    def first_ts_ns(self) -> int:
        """The end of the first candle."""
        return int(self.table[0, 0])

    @property
    def last_ts_ns(self) -> int:
        """The end of the last candle."""
        return int(self.table[-1, 0])

    def events(self) -> Iterator[RecordedEvent]:
        """The candles with gaps and faults between them, screened."""
        screen, symbol, interval_s = Screen(), self.instrument.symbol, self.interval_s
        interval_ns, last_ns = interval_s * NS_PER_S, None
        for ts_ns, open_, high, low, close, volume, file, row in self._rows():
            if last_ns is not None and ts_ns - last_ns > interval_ns:
                missing = (ts_ns - last_ns) // interval_ns - 1
                yield FeedGap(ts_ns=ts_ns, instrument=symbol, reason=f"missing_bars: {missing} before this one")
            candle = MarketCandle(
                ts_ns=ts_ns,
                instrument=symbol,
                interval_s=interval_s,
                open_ticks=open_,
                high_ticks=high,
                low_ticks=low,
                close_ticks=close,
                volume_lots=volume,
            )
            reason = screen.judge(candle)
            last_ns = ts_ns
            if reason is None:
                yield candle
                continue
            sample = f"{self.names[file]}:{row}: close {self.instrument.price_text(close)}"
            yield malformed(Reason(reason), sample, ts_ns=ts_ns)

    def _rows(self) -> Iterator[list[int]]:
        """The rows as Python integers, some at a time: all at once take ten times the room of the table."""
        for begin in range(0, len(self.table), ROWS_AT_A_TIME):
            yield from self.table[begin : begin + ROWS_AT_A_TIME].tolist()


def merged_candles(
    files: Iterable[RawCandles], instrument: Instrument, *, interval_s: int, tally: ImportTally
) -> Candles:
    """One series of all files: candles that files agree on are kept once; where they differ, none is."""
    raws = list(files)
    names = [raw.name for raw in raws]
    table = np.concatenate(
        [_table(raw, file, instrument=instrument, interval_s=interval_s) for file, raw in enumerate(raws)]
    )
    faults = [fault for raw in raws for fault in raw.faults]
    table = table[np.argsort(table[:, 0], kind="stable")]
    again = np.zeros(len(table), dtype=np.bool_)
    again[1:] = np.diff(table[:, 0]) == 0
    equal = np.ones(len(table), dtype=np.bool_)
    equal[1:] = (table[1:, :6] == table[:-1, :6]).all(axis=1)
    bad_times = np.unique(table[again & ~equal, 0])
    if len(bad_times) > max(DISAGREEING_MIN, again.sum() * DISAGREEING_SHARE_MAX):
        raise UsageFault(
            f"{', '.join(names)}: {len(bad_times)} of {again.sum()} overlapping candles differ: "
            "are they of different markets?"
        )
    is_bad = np.isin(table[:, 0], bad_times)
    for ts_ns, *values, file, row in table[is_bad].tolist():
        faults.append(Fault(Reason.OVERLAP_DIFFERS, f"{names[file]}:{row}: {values}", ts_ns))
    tally.overlap_rows += int((again & equal & ~is_bad).sum())
    table = table[~again & ~is_bad]
    if len(table) == 0:
        raise UsageFault(f"{', '.join(names)}: no good candle")
    return Candles(instrument, interval_s, table, names, faults)


def _table(raw: RawCandles, file: int, *, instrument: Instrument, interval_s: int) -> Integers:
    """Ticks, lots and end times of one file; what does not fit is named in its faults."""
    interval_ns = interval_s * NS_PER_S
    raw.drop(raw.start_ns % interval_ns != 0, Reason.TIME_MISMATCH)
    raw.drop(raw.values[:, :4].max(axis=1) > STEPS_MAX * float(instrument.tick), Reason.TOO_LARGE)
    raw.drop(raw.values[:, 4] > STEPS_MAX * float(instrument.lot), Reason.TOO_LARGE)
    raw.drop(~_on_tick(raw.values[:, :4], instrument), Reason.OFF_TICK)
    lots = raw.values[:, 4] / float(instrument.lot)
    whole = np.rint(lots)
    # Down, but 1.234 / 0.001 is 1233.9999999999998 in floats and means 1234.
    volume = np.where(np.abs(lots - whole) <= STEP_TOLERANCE, whole, np.floor(lots)).astype(np.int64)
    ticks = np.rint(raw.values[:, :4] / float(instrument.tick)).astype(np.int64)
    files = np.full(len(raw.rows), file, dtype=np.int64)
    return np.column_stack([raw.start_ns + interval_ns, ticks, volume, files, raw.rows])


# Funding.


@dataclass
class FundingRates:
    """Funding rates of one file: settlement time in ns to parts per billion."""

    name: str
    rates: list[tuple[int, int]]
    faults: list[Fault] = field(default_factory=list)


def read_funding_arrow(path: Path) -> FundingRates:
    """A feather file of funding: the rate is in `open`; times jitter by ms and are floored to the hour."""
    times, numbers = _read_arrow(path, ("open",))
    found = FundingRates(path.name, [])
    for row, (time, rate) in enumerate(zip(times.tolist(), numbers[:, 0].tolist(), strict=True), start=1):
        sample = f"{path.name}:{row}: {time},{rate}"
        if not np.isfinite(rate):
            found.faults.append(Fault(Reason.NOT_FINITE, sample))
            continue
        _add_rate(found, time, rate_ppb=round(rate * PPB), sample=sample)
    return found


def read_funding_csv(path: Path, *, header_line: int, columns: tuple[str, ...]) -> FundingRates:
    """A CSV of `Symbol,Date,Funding Rate` whose dates are UTC+3."""
    found = FundingRates(path.name, [])
    for number, line in _numbered(path, header_line=header_line, faults=found.faults):
        sample = f"{path.name}:{number}: {sample_of(line)}"
        try:
            cells = _cells(line, len(columns))
            moment = datetime.fromisoformat(cells[columns.index("date")])
            rate_ppb = round(decimal_of(cells[columns.index("funding rate")]) * PPB)
        except BadRow as bad:
            _name_fault(found.faults, bad, sample=sample)
            continue
        except ValueError:
            _name_fault(found.faults, BadRow(Reason.UNPARSABLE), sample=sample)
            continue
        _add_rate(found, _funding_csv_ns(moment), rate_ppb=rate_ppb, sample=sample)
    return found


def _funding_csv_ns(moment: datetime) -> int:
    """Unix ns of a date of a funding CSV; 0, which no check lets pass, when it is before the first year."""
    offset_ns = FUNDING_CSV_OFFSET // timedelta(microseconds=1) * 1_000
    return _unix_ns(moment) - (0 if moment.tzinfo else offset_ns)


def _add_rate(found: FundingRates, time_ns: int, *, rate_ppb: int, sample: str) -> None:
    ts_ns = time_ns - time_ns % HOUR_NS
    reason = None
    if not FIRST_TIME_NS <= ts_ns <= LAST_TIME_NS:
        reason = Reason.ABSURD_TIME
    elif abs(rate_ppb) > RATE_PPB_MAX:
        reason = Reason.TOO_LARGE
    elif found.rates and ts_ns == found.rates[-1][0]:
        reason = Reason.DUPLICATE
    elif found.rates and ts_ns < found.rates[-1][0]:
        reason = Reason.OUT_OF_ORDER
    if reason is None:
        found.rates.append((ts_ns, rate_ppb))
    elif len(found.faults) < FAULTS_NAMED_MAX:
        found.faults.append(Fault(reason, sample))


def merged_funding(
    files: Iterable[FundingRates], instrument: Instrument, *, tally: ImportTally
) -> tuple[list[MarketFundingRate], list[Fault]]:
    """One series from all files: rates that agree are kept once, differing ones are dropped and named."""
    found = list(files)
    faults = [fault for file in found for fault in file.faults]
    by_time: dict[int, int] = {}
    differing: dict[int, str] = {}
    for file in found:
        for ts_ns, rate_ppb in file.rates:
            tally.overlap_rows += ts_ns in by_time
            if by_time.setdefault(ts_ns, rate_ppb) != rate_ppb:
                differing[ts_ns] = f"{file.name}: funding {rate_ppb} ppb, {by_time[ts_ns]} ppb elsewhere"
    if len(differing) > max(DISAGREEING_MIN, len(by_time) * DISAGREEING_SHARE_MAX):
        names = ", ".join(file.name for file in found)
        raise UsageFault(f"{names}: {len(differing)} funding rates differ: are they of different venues?")
    faults += [Fault(Reason.OVERLAP_DIFFERS, sample, ts_ns) for ts_ns, sample in differing.items()]
    symbol = instrument.symbol
    kept = sorted((ts_ns, rate) for ts_ns, rate in by_time.items() if ts_ns not in differing)
    return [MarketFundingRate(ts_ns=ts_ns, instrument=symbol, rate_ppb=rate) for ts_ns, rate in kept], faults
