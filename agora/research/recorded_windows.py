"""Reads the public recordings of short up/down markets: lines into rows, times into Unix seconds, prices into ticks.

Tolerant of blank and damaged lines, which are counted; a file of which nothing can be read is a `UsageFault`.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from agora.domain.errors import UsageFault

TICKS_PER_UNIT = 1_000  # the finer of the two ticks that these markets have

Row = TypeVar("Row")
Touch = tuple[int, int, int, int]  # best bid and ask of Up, then of Down, in ticks; 0 is an empty side


class Recording(NamedTuple, Generic[Row]):
    """What a file held, and how many of its lines could not be read."""

    rows: tuple[Row, ...]
    skipped: int


class LateSample(NamedTuple):
    """A look at a window shortly before its end; the time left is what the recorder believed."""

    seconds_left: float
    spot: float
    touch: Touch


class LateWindow(NamedTuple):
    """A five-minute window with its opening price, its looks and how it ended."""

    start_s: int
    open_price: float
    samples: tuple[LateSample, ...]
    is_up: bool


class Quote(NamedTuple):
    """The touch of both tokens of a window at one second."""

    ts_s: int
    window_start_s: int
    window_end_s: int
    touch: Touch


class Open(NamedTuple):
    """The reference price at the start of five minutes."""

    ts_s: int
    price: float


class Tick(NamedTuple):
    """One value of the oracle, exact in its 1e-18."""

    ts_ms: int
    value: int


class Market(NamedTuple):
    """A resolved window: its price to beat in 1e-18 (None where none was published) and the published outcome."""

    end_s: int
    strike: int | None
    is_up: bool


def read_late_windows(path: Path) -> Recording[LateWindow]:
    """Windows with books and spot at 120 to 10 s before the end, one JSON object a line, oldest first."""
    found = _read(path, _json_lines, _late_window)
    return Recording(tuple(sorted(found.rows)), found.skipped)


def read_quotes(path: Path) -> Recording[Quote]:
    """Quotes once a second, in the order of the file: its times step back now and then."""
    return _read(path, _csv_lines, _quote)


def read_opens(path: Path) -> Recording[Open]:
    """Reference prices every five minutes, oldest first."""
    found = _read(path, _csv_lines, _open)
    return Recording(tuple(sorted(found.rows)), found.skipped)


def read_ticks(path: Path) -> Recording[Tick]:
    """Values of the oracle in the order of the file."""
    return _read(path, _csv_lines, _tick)


def read_markets(path: Path) -> Recording[Market]:
    """Resolved windows with what was published about them."""
    return _read(path, _json_lines, _market)


def _read(
    path: Path, lines: Callable[[Path], Iterator[Mapping[str, Any] | None]], parse: Callable[[Mapping[str, Any]], Row]
) -> Recording[Row]:
    rows: list[Row] = []
    skipped = 0
    try:
        for line in lines(path):
            try:
                rows.append(parse(line or {}))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                skipped += 1
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as fault:
        raise UsageFault(f"cannot read {path.name}: {fault}") from fault
    if not rows:
        raise UsageFault(f"{path.name} holds no row that can be read ({skipped} lines were skipped)")
    return Recording(tuple(rows), skipped)


def _json_lines(path: Path) -> Iterator[Mapping[str, Any] | None]:
    with gzip.open(path, "rt", encoding="utf-8") as text:
        for line in text:
            if not line.strip():
                continue
            try:
                found = msgspec.json.decode(line)
            except msgspec.DecodeError:
                found = None
            yield found if isinstance(found, dict) else None


def _csv_lines(path: Path) -> Iterator[Mapping[str, Any] | None]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        yield from csv.DictReader(text)


def _ticks_of(price: float | str | None) -> int:
    """An empty side is written as null, as nothing or as 0."""
    ticks = round(float(price or 0) * TICKS_PER_UNIT)
    if not 0 <= ticks <= TICKS_PER_UNIT:
        raise ValueError(f"not a price of a share: {price}")
    return ticks


def _positive(number: float | str) -> float:
    price = float(number)
    if not 0.0 < price < float("inf"):
        raise ValueError(f"not a price: {number}")
    return price


def _late_window(line: Mapping[str, Any]) -> LateWindow:
    samples = tuple(
        LateSample(
            -float(item["t"]),
            _positive(item["spot"]),
            (
                _ticks_of(item["up"]["bid"]),
                _ticks_of(item["up"]["ask"]),
                _ticks_of(item["down"]["bid"]),
                _ticks_of(item["down"]["ask"]),
            ),
        )
        for item in line["samples"]
    )
    is_up = {"UP": True, "DOWN": False}[line["winner"]]
    return LateWindow(int(line["window_ts"]), _positive(line["open_px"]), samples, is_up)


def _seconds(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp())


def _quote(line: Mapping[str, Any]) -> Quote:
    touch = (
        _ticks_of(line["UpBid"]),
        _ticks_of(line["UpAsk"]),
        _ticks_of(line["DownBid"]),
        _ticks_of(line["DownAsk"]),
    )
    return Quote(_seconds(line["Timestamp"]), _seconds(line["TargetTime"]), _seconds(line["Expiration"]), touch)


def _open(line: Mapping[str, Any]) -> Open:
    return Open(int(line["timestamp"]), _positive(line["btc_open"]))


def _tick(line: Mapping[str, Any]) -> Tick:
    return Tick(int(line["feed_ts_ms"]), int(line["full_accuracy_value"]))


def _market(line: Mapping[str, Any]) -> Market:
    is_up = {("1", "0"): True, ("0", "1"): False}[tuple(line["outcome_prices"])]
    strike = line["strike_value"]
    return Market(int(line["end_sec"]), None if strike is None else int(strike), is_up)
