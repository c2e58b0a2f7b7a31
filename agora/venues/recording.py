"""The recording format: market events and the faults of their feed in one Parquet file, in order of receipt.

One row is an event, a depth message is a run of rows, one per level; docs/RECORDINGS.md describes every
column. What is read is decoded batch by batch, so that memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import read_parquet, write_parquet

from agora.domain.errors import UsageFault
from agora.domain.events import (
    FeedGap,
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
    kind_of,
)
from agora.domain.instruments import Instrument

METADATA_KEY = "agora.recording"
FORMAT_VERSION = 1
BATCH_ROWS = 1_024  # decoded to structs this is a quarter of a megabyte; larger batches cost memory, not time
GROUP_ROWS = 8_192  # a group is what writer and reader hold; 17 columns of it are little more than 1 MB
HASHED_AT_A_TIME_BYTES = 1024**2
SOURCES_MAX = 1_000  # files merged into one recording: a file per day for almost three years

_SEAL_MARK = b"AGORASUM"
_DIGEST_BYTES = 32
_SEAL_BYTES = len(_SEAL_MARK) + _DIGEST_BYTES
_TAIL_BYTES = 8  # the length of the footer and the mark of Parquet

RecordedEvent = MarketCandle | MarketQuote | MarketTrade | MarketDepth | MarketFundingRate | FeedGap | FeedMalformed


class Row(IntEnum):
    """What a row is: the values of the column `kind`."""

    CANDLE = 1
    QUOTE = 2
    TRADE = 3
    DEPTH = 4
    FUNDING_RATE = 5
    GAP = 6
    MALFORMED = 7


# The columns that a kind of row fills besides `ts_ns`, `kind` and `instrument`; all others are null in it.
COLUMNS: dict[Row, tuple[str, ...]] = {
    Row.CANDLE: ("open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots", "interval_s"),
    Row.QUOTE: ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots"),
    Row.TRADE: ("price_ticks", "size_lots", "side"),
    Row.DEPTH: ("price_ticks", "size_lots", "side", "is_snapshot", "rest"),
    Row.FUNDING_RATE: ("rate_ppb",),
    Row.GAP: ("reason",),
    Row.MALFORMED: ("reason", "sample", "count"),
}
_TEXT_COLUMNS = {"reason", "sample"}
_KEY_COLUMNS = ("ts_ns", "kind", "instrument")
_VALUE_COLUMNS = tuple(dict.fromkeys(column for columns in COLUMNS.values() for column in columns))
_SCHEMA = Schema(
    [Field(name, DataType.int64(), nullable=False) for name in _KEY_COLUMNS]
    + [
        Field(name, DataType.utf8() if name in _TEXT_COLUMNS else DataType.int64(), nullable=True)
        for name in _VALUE_COLUMNS
    ]
)


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a recording was made of."""

    name: str
    sha256: str
    format: str


class RecordingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the metadata of a recording say: `counts` of events per kind, `faults` per reason.

    `interval_s` is the length of its candles, 0 when it holds ticks; the times are None when it is empty.
    """

    version: int
    instruments: tuple[Instrument, ...]
    interval_s: int
    sources: tuple[SourceFile, ...]
    counts: dict[str, int]
    faults: dict[str, int]
    first_ts_ns: int | None
    last_ts_ns: int | None


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer must be told about a recording; the rest it counts."""

    instruments: tuple[Instrument, ...]
    interval_s: int
    sources: tuple[SourceFile, ...]


# Writing.


def write_recording(out: Path, events: Iterable[RecordedEvent], *, origin: Origin) -> RecordingFacts:
    """Write events, which must be in order of time, to `out`; the file appears complete or not at all.

    Parquet keeps its metadata in the footer but the library wants them first: the rows are written once
    without, and copied batch by batch when the counts are known.
    """
    if len(origin.sources) > SOURCES_MAX:
        raise UsageFault(f"a recording is made of at most {SOURCES_MAX} files, not {len(origin.sources)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    rows_path, whole_path = (out.with_name(f".{out.name}.{os.getpid()}.{part}") for part in ("rows", "whole"))
    counter = _Counter(origin)
    try:
        _write_rows(rows_path, _batches(counter.watch(events), origin))
        facts = counter.facts()
        _write(whole_path, read_parquet(rows_path, batch_size=BATCH_ROWS), facts=facts)
        _seal(whole_path)
        whole_path.replace(out)
    finally:
        rows_path.unlink(missing_ok=True)
        whole_path.unlink(missing_ok=True)
    return facts


def _write_rows(path: Path, batches: Iterator[RecordBatch]) -> None:
    """Write batches as they come; a fault of theirs is raised as it was, not as the library would wrap it."""
    faults: list[Exception] = []

    def watched() -> Iterator[RecordBatch]:
        try:
            yield from batches
        except Exception as fault:
            faults.append(fault)

    _write(path, RecordBatchReader.from_batches(_SCHEMA, watched()), facts=None)
    if faults:
        raise faults[0]


def _write(path: Path, rows: RecordBatchReader, *, facts: RecordingFacts | None) -> None:
    metadata = None if facts is None else {METADATA_KEY: msgspec.json.encode(facts).decode()}
    write_parquet(rows, path, compression="zstd(3)", max_row_group_size=GROUP_ROWS, key_value_metadata=metadata)


class _Counter:
    """Counts what passes and asserts its order."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._counts: dict[str, int] = {}
        self._faults: dict[str, int] = {}
        self._first_ts_ns: int | None = None
        self._last_ts_ns: int | None = None

    def watch(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        counts, faults, last_ts_ns = self._counts, self._faults, 0
        for event in events:
            assert event.ts_ns >= last_ts_ns, f"a recording goes back in time: {event} after {last_ts_ns}"
            last_ts_ns = self._last_ts_ns = event.ts_ns
            if self._first_ts_ns is None:
                self._first_ts_ns = last_ts_ns
            kind = kind_of(event)
            counts[kind] = counts.get(kind, 0) + 1
            if isinstance(event, FeedMalformed):
                faults[event.reason] = faults.get(event.reason, 0) + event.count
            elif isinstance(event, FeedGap):
                word = event.reason.partition(":")[0]
                faults[word] = faults.get(word, 0) + 1
            yield event

    def facts(self) -> RecordingFacts:
        return RecordingFacts(
            version=FORMAT_VERSION,
            instruments=self._origin.instruments,
            interval_s=self._origin.interval_s,
            sources=self._origin.sources,
            counts=self._counts,
            faults=self._faults,
            first_ts_ns=self._first_ts_ns,
            last_ts_ns=self._last_ts_ns,
        )


_Values = tuple[Any, ...]


def _depth_rows(depth: MarketDepth) -> list[_Values]:
    """A row per level, counting down those that follow; a message without levels is one row of nulls."""
    is_snapshot = int(depth.is_snapshot)
    if not depth.levels:
        return [(None, None, None, is_snapshot, 0)]
    last = len(depth.levels) - 1
    return [(price, size, side, is_snapshot, last - row) for row, (side, price, size) in enumerate(depth.levels)]


# Rows of one event: what stands in the columns of its kind.
_ENCODERS: dict[type[RecordedEvent], tuple[Row, Callable[[Any], list[_Values]]]] = {
    MarketCandle: (
        Row.CANDLE,
        lambda e: [
            (e.open_ticks, e.high_ticks, e.low_ticks, e.close_ticks, e.volume_lots, e.interval_s),
        ],
    ),
    MarketQuote: (Row.QUOTE, lambda e: [(e.bid_ticks, e.bid_lots, e.ask_ticks, e.ask_lots)]),
    MarketTrade: (Row.TRADE, lambda e: [(e.price_ticks, e.size_lots, e.aggressor)]),
    MarketDepth: (Row.DEPTH, _depth_rows),
    MarketFundingRate: (Row.FUNDING_RATE, lambda e: [(e.rate_ppb,)]),
    FeedGap: (Row.GAP, lambda e: [(e.reason,)]),
    FeedMalformed: (Row.MALFORMED, lambda e: [(e.reason, e.sample, e.count)]),
}


class _Batch:
    """Rows of one batch, kept per kind until they are laid out as columns."""

    def __init__(self) -> None:
        self.rows = 0
        self._keys: list[tuple[int, int, int]] = []
        self._values: dict[Row, list[_Values]] = {}
        self._places: dict[Row, list[int]] = {}

    def add(self, event: RecordedEvent, instrument: int) -> None:
        kind, encode = _ENCODERS[type(event)]
        values = encode(event)
        self._values.setdefault(kind, []).extend(values)
        self._places.setdefault(kind, []).extend(range(self.rows, self.rows + len(values)))
        self._keys.extend([(event.ts_ns, int(kind), instrument)] * len(values))
        self.rows += len(values)

    def columns(self) -> RecordBatch:
        table: dict[str, list[Any]] = {name: [None] * self.rows for name in _VALUE_COLUMNS}
        for kind, rows in self._values.items():
            for name, values in zip(COLUMNS[kind], zip(*rows, strict=True), strict=True):
                column = table[name]
                for place, value in zip(self._places[kind], values, strict=True):
                    column[place] = value
        keys = np.array(self._keys, dtype=np.int64).reshape(-1, len(_KEY_COLUMNS))
        arrays = [Array.from_numpy(np.ascontiguousarray(keys[:, column])) for column in range(len(_KEY_COLUMNS))]
        arrays += [Array(table[name], type=_SCHEMA.field(name).type) for name in _VALUE_COLUMNS]
        return RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _batches(events: Iterable[RecordedEvent], origin: Origin) -> Iterator[RecordBatch]:
    places = {instrument.symbol: place for place, instrument in enumerate(origin.instruments)}
    batch = _Batch()
    for event in events:
        # What is malformed often cannot be told apart by instrument: it counts to the first.
        batch.add(event, 0 if isinstance(event, FeedMalformed) else places[event.instrument])
        if batch.rows >= BATCH_ROWS:
            yield batch.columns()
            batch = _Batch()
    if batch.rows:
        yield batch.columns()


# Reading.


class Recording:
    """A recording on disk: its facts, and its events as often as wanted.

    Raises `UsageFault` when the file is not a recording of a version that is known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _check_seal(path)
        text = read_parquet(path).schema.metadata_str.get(METADATA_KEY, "")
        try:
            self.facts = msgspec.json.decode(text, type=RecordingFacts)
        except (msgspec.MsgspecError, ValueError) as fault:
            raise UsageFault(f"{path}: damaged recording metadata: {fault}") from None
        if self.facts.version != FORMAT_VERSION:
            raise UsageFault(f"{path}: recording version {self.facts.version}; this program reads {FORMAT_VERSION}")

    def events(self) -> Iterator[RecordedEvent]:
        """The events in order; raises `UsageFault` when the rows are not those of a recording."""
        symbols = [instrument.symbol for instrument in self.facts.instruments]
        decoder = _Decoder(symbols)
        for batch in read_parquet(self._path, batch_size=BATCH_ROWS):
            try:
                events = decoder.events(batch)
            except (ValueError, KeyError, IndexError) as fault:
                raise UsageFault(f"{self._path}: damaged recording: {fault}") from None
            yield from events


class _Decoder:
    """Turns batches of rows into events; a depth message may begin in one batch and end in a later one."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols
        self._begun: list[tuple[int, int, int]] = []

    def events(self, batch: RecordBatch) -> list[RecordedEvent]:
        kinds = batch.column("kind").to_numpy()
        laid_out: list[RecordedEvent | None] = [None] * len(kinds)
        for code in np.unique(kinds).tolist():
            kind = Row(code)
            places = np.flatnonzero(kinds == code)
            columns = [_values(batch, name, places=places) for name in ("ts_ns", "instrument", *COLUMNS[kind])]
            columns[1] = [self._symbols[place] for place in columns[1]]
            if kind is Row.DEPTH:
                self._lay_depth(laid_out, places=places.tolist(), columns=columns)
                continue
            for place, event in zip(places.tolist(), _DECODERS[kind](columns), strict=True):
                laid_out[place] = event
        return [event for event in laid_out if event is not None]

    def _lay_depth(self, laid_out: list[RecordedEvent | None], *, places: list[int], columns: _Columns) -> None:
        ts_ns, symbols, prices, sizes, sides, snapshots, rests = columns
        levels = list(zip(sides, prices, sizes, strict=True))
        begin = 0
        for end in (row for row, rest in enumerate(rests) if rest == 0):
            message = tuple(levels[begin : end + 1])
            if self._begun:
                message = (*self._begun, *message)
                self._begun = []
            if message == ((None, None, None),):
                message = ()
            begin = end + 1
            laid_out[places[end]] = MarketDepth(
                ts_ns=ts_ns[end], instrument=symbols[end], levels=message, is_snapshot=bool(snapshots[end])
            )
        self._begun += levels[begin:]


def _values(batch: RecordBatch, name: str, *, places: np.ndarray[Any, np.dtype[np.intp]]) -> list[Any]:
    """The values of a column in some rows, as Python objects."""
    column = batch.column(name).take(Array.from_numpy(places))
    if column.null_count or name in _TEXT_COLUMNS:
        values: list[Any] = column.to_pylist()  # type: ignore[assignment]  # the stub says array
        return values
    numbers: list[Any] = column.to_numpy().tolist()
    return numbers


_Columns = list[list[Any]]
_DECODERS: dict[Row, Callable[[_Columns], list[RecordedEvent]]] = {
    Row.CANDLE: lambda columns: [
        MarketCandle(
            ts_ns=ts_ns,
            instrument=symbol,
            open_ticks=open_,
            high_ticks=high,
            low_ticks=low,
            close_ticks=close,
            volume_lots=volume,
            interval_s=interval_s,
        )
        for ts_ns, symbol, open_, high, low, close, volume, interval_s in zip(*columns, strict=True)
    ],
    Row.QUOTE: lambda columns: [
        MarketQuote(ts_ns=ts_ns, instrument=symbol, bid_ticks=bid, bid_lots=bid_lots, ask_ticks=ask, ask_lots=ask_lots)
        for ts_ns, symbol, bid, bid_lots, ask, ask_lots in zip(*columns, strict=True)
    ],
    Row.TRADE: lambda columns: [
        MarketTrade(ts_ns=ts_ns, instrument=symbol, price_ticks=price, size_lots=size, aggressor=side)
        for ts_ns, symbol, price, size, side in zip(*columns, strict=True)
    ],
    Row.FUNDING_RATE: lambda columns: [
        MarketFundingRate(ts_ns=ts_ns, instrument=symbol, rate_ppb=rate)
        for ts_ns, symbol, rate in zip(*columns, strict=True)
    ],
    Row.GAP: lambda columns: [
        FeedGap(ts_ns=ts_ns, instrument=symbol, reason=reason) for ts_ns, symbol, reason in zip(*columns, strict=True)
    ],
    Row.MALFORMED: lambda columns: [
        FeedMalformed(ts_ns=ts_ns, reason=reason, count=count, sample=sample)
        for ts_ns, _, reason, sample, count in zip(*columns, strict=True)
    ],
}


# The seal. The library that reads Parquet may end the whole process on damaged bytes (its panics cross a border
# where they cannot be caught), so what we wrote carries a hash that is checked before the library sees the file. It
# stands between the column data and the footer, where a reader of Parquet, which follows offsets, does not look.


def is_sealed(path: Path) -> bool:
    """Whether the file looks like a recording; nothing is said about damage."""
    with path.open("rb") as file:
        return _seal_place(file) is not None


def _seal(path: Path) -> None:
    """Put the seal into a Parquet file without one."""
    with path.open("r+b") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        footer_place = size_bytes - _TAIL_BYTES - _footer_bytes(file)
        digest = _digest(file, [(0, size_bytes)])
        file.seek(footer_place)
        footer = file.read()
        file.seek(footer_place)
        file.write(_SEAL_MARK + digest + footer)


def _check_seal(path: Path) -> None:
    with path.open("rb") as file:
        place = _seal_place(file)
        if place is None:
            raise UsageFault(f"{path}: not a recording of Agora, or cut short")
        file.seek(place + len(_SEAL_MARK))
        digest = file.read(_DIGEST_BYTES)
        size_bytes = file.seek(0, os.SEEK_END)
        if _digest(file, [(0, place), (place + _SEAL_BYTES, size_bytes)]) != digest:
            raise UsageFault(f"{path}: damaged: the content does not have the hash it was written with")


def _seal_place(file: IO[bytes]) -> int | None:
    """Where the seal stands, None when there is none."""
    size_bytes = file.seek(0, os.SEEK_END)
    if size_bytes < _TAIL_BYTES + _SEAL_BYTES:
        return None
    place = size_bytes - _TAIL_BYTES - _footer_bytes(file) - _SEAL_BYTES
    if place < 0:
        return None
    file.seek(place)
    return place if file.read(len(_SEAL_MARK)) == _SEAL_MARK else None


def _footer_bytes(file: IO[bytes]) -> int:
    """The length of the footer: Parquet ends with it and its own mark."""
    file.seek(-_TAIL_BYTES, os.SEEK_END)
    return int.from_bytes(file.read(_TAIL_BYTES)[:4], "little")


def _digest(file: IO[bytes], spans: list[tuple[int, int]]) -> bytes:
    """SHA-256 of parts of a file."""
    digest = hashlib.sha256()
    for begin, end in spans:
        file.seek(begin)
        for place in range(begin, end, HASHED_AT_A_TIME_BYTES):
            digest.update(file.read(min(HASHED_AT_A_TIME_BYTES, end - place)))
    return digest.digest()
