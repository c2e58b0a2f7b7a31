"""Common ground of the importers: lines read within bounds, exact numbers, names for what is malformed."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Protocol

import msgspec

from agora.domain.errors import UsageFault
from agora.domain.events import FeedGap, FeedMalformed
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_S, Rounding, parse_decimal, to_steps
from agora.venues.recording import RecordedEvent
from agora.venues.screen import SAMPLE_CHARACTERS, STEPS_MAX, Reason, Screen

FILE_BYTES_MAX = 4 * 1024**3  # a day of all depth of one liquid contract is below 2 GiB; more is a mistake
INFLATED_BYTES_MAX = 10 * FILE_BYTES_MAX  # market text shrinks to a tenth; beyond it somebody built a bomb
LINE_BYTES_MAX = 1024**2  # a snapshot of 1,000 levels a side is 64 kB
LEADING_FAULTS_MAX = 1_000  # a file that begins with so many bad lines is not of the format it looks like
NUMBERS_REMEMBERED = 65_536  # distinct texts of prices or sizes; 8 MB, and a feed repeats them
NUMBER_CHARACTERS_MAX = 40  # 20 digits before and after the point; Decimal itself would take a million
LEAP_NS = 3_600 * NS_PER_S  # feeds are silent for seconds; an hour is believed when three rows agree
LEAP_CONFIRMATIONS = 3
FIRST_TIME_NS = 1_230_768_000 * NS_PER_S  # 2009: before the first coin nothing here was traded
LAST_TIME_NS = 4_102_444_800 * NS_PER_S  # 2100: milliseconds taken for microseconds land beyond

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)


class BadRow(ValueError):
    """A row that must be dropped; `reason` is one word of `Reason`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class ImportTally(msgspec.Struct):
    """What an import counts beside the events: source messages per kind, and what was left out on purpose."""

    messages: dict[str, int] = {}
    overlap_rows: int = 0
    funding_outside: int = 0
    depth_unusable: int = 0
    depth_superseded: int = 0

    def message(self, kind: str) -> None:
        """Count one message of the source."""
        self.messages[kind] = self.messages.get(kind, 0) + 1


class RowParser(Protocol):
    """Turns the lines of one feed into events; `now_ns` is the receive time of the last good line."""

    now_ns: int

    def parse(self, line: bytes, place: str) -> Sequence[RecordedEvent]:
        """The events that a line completes; raises `BadRow` when it must be dropped."""
        ...

    def finish(self) -> Sequence[RecordedEvent]:
        """What is left at the end of the file; raises `BadRow`."""
        ...


# Numbers.


def decimal_of(text: str) -> Decimal:
    """A finite decimal number in plain notation; raises `BadRow` for everything else."""
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise BadRow(Reason.UNPARSABLE, "a number of more than 40 characters")
    if not _NUMBER.fullmatch(text):
        raise BadRow(Reason.NOT_FINITE if _NOT_FINITE.fullmatch(text) else Reason.UNPARSABLE, text)
    return parse_decimal(text)


def integer_of(text: str | bytes) -> int:
    """A non-negative whole number of at most 19 digits; raises `BadRow`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BadRow(Reason.UNPARSABLE, f"not a whole number: {text[:20]!r}")
    return int(text)


def time_of(number: int, *, unit_ns: int) -> int:
    """Unix ns from a count of units; raises `BadRow` outside 2009 to 2100."""
    ts_ns = number * unit_ns
    if not FIRST_TIME_NS <= ts_ns <= LAST_TIME_NS:
        raise BadRow(Reason.ABSURD_TIME, str(number))
    return ts_ns


class Steps:
    """Prices and sizes of one instrument from decimal text, exactly; a feed repeats its texts."""

    def __init__(self, instrument: Instrument) -> None:
        self._tick = instrument.tick
        self._lot = instrument.lot
        self._ticks: dict[str, int] = {}
        self._lots: dict[str, int] = {}

    def price_ticks(self, text: str) -> int:
        """Ticks of a price; raises `BadRow` unless it is positive and on the tick."""
        known = self._ticks.get(text)
        return known if known is not None else self._new_price(text)

    def size_lots(self, text: str) -> int:
        """Lots of a size, rounded down; raises `BadRow` when it is negative."""
        known = self._lots.get(text)
        return known if known is not None else self._new_size(text)

    def traded_lots(self, text: str) -> int:
        """Lots of a size that must not be nothing; raises `BadRow`."""
        lots = self.size_lots(text)
        if lots == 0:
            raise BadRow(Reason.BELOW_LOT if decimal_of(text) > 0 else Reason.NOT_POSITIVE, text)
        return lots

    def levels(self, pairs: Sequence[tuple[str, str]], side: int) -> list[tuple[int, int, int]]:
        """Price levels of one side from (price, size) pairs; raises `BadRow` for the first bad one."""
        return [(side, self.price_ticks(price), self.size_lots(size)) for price, size in pairs]

    def _new_price(self, text: str) -> int:
        price = decimal_of(text)
        if price <= 0:
            raise BadRow(Reason.NOT_POSITIVE, f"price {text}")
        if price > STEPS_MAX * self._tick:
            raise BadRow(Reason.TOO_LARGE, f"price {text}")
        ticks = to_steps(price, step=self._tick, rounding=Rounding.NEAREST)
        if ticks * self._tick != price:
            raise BadRow(Reason.OFF_TICK, f"price {text} is not a multiple of {self._tick}")
        return _remember(self._ticks, text, steps=ticks)

    def _new_size(self, text: str) -> int:
        size = decimal_of(text)
        if size < 0:
            raise BadRow(Reason.NOT_POSITIVE, f"size {text}")
        if size > STEPS_MAX * self._lot:
            raise BadRow(Reason.TOO_LARGE, f"size {text}")
        return _remember(self._lots, text, steps=to_steps(size, step=self._lot, rounding=Rounding.DOWN))


def _remember(known: dict[str, int], text: str, *, steps: int) -> int:
    if len(known) >= NUMBERS_REMEMBERED:
        known.clear()
    known[text] = steps
    return steps


class ReceiveOrder:
    """Receive times never go back, and leap ahead only when several rows agree: one bad time voids no others.

    `last_ns` is the last one taken.
    """

    def __init__(self) -> None:
        self.last_ns = 0
        self._leap_ns = 0
        self._leaps = 0

    def accept(self, ts_ns: int) -> None:
        """Take the next receive time; raises `BadRow`."""
        if ts_ns < self.last_ns:
            raise BadRow(Reason.OUT_OF_ORDER, f"received at {ts_ns}, after {self.last_ns}")
        if self.last_ns and ts_ns - self.last_ns > LEAP_NS:
            agrees = self._leaps and 0 <= ts_ns - self._leap_ns <= LEAP_NS
            self._leaps = self._leaps + 1 if agrees else 1
            self._leap_ns = ts_ns
            if self._leaps < LEAP_CONFIRMATIONS:
                raise BadRow(Reason.ABSURD_TIME, f"received at {ts_ns}, long after {self.last_ns}")
        self._leaps = 0
        self.last_ns = ts_ns


# Lines.


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a plain, gzip or zip file; raises `UsageFault` for a zip of more or less than one file."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        with gzip.open(path, "rb") as inflated:
            yield inflated  # type: ignore[misc]  # a GzipFile reads like any binary file
    elif magic == b"PK\x03\x04":
        with _opened_member(path) as member:
            yield member
    else:
        with path.open("rb") as file:
            yield file


@contextmanager
def _opened_member(path: Path) -> Iterator[IO[bytes]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as fault:
        raise UsageFault(f"{path}: damaged zip file: {fault}") from None
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise UsageFault(f"{path}: expected a zip of one file, this holds {len(members)}")
        try:
            member = archive.open(members[0])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as fault:
            raise UsageFault(f"{path}: cannot open what is in the zip file: {fault}") from None
        with member:
            yield member


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a text, plain or compressed, without their ends; a line too long comes one byte too long.

    Raises `BadRow` (truncated) where the compressed data are damaged, and `UsageFault` beyond the bound.
    """
    with opened(path) as file:
        inflated_bytes = 0
        while line := _read_line(file):
            inflated_bytes += len(line)
            if inflated_bytes > INFLATED_BYTES_MAX:
                raise UsageFault(f"{path}: more than {INFLATED_BYTES_MAX} bytes when inflated")
            if len(line) > LINE_BYTES_MAX:
                inflated_bytes += _skip_rest(file, line)
            yield line.rstrip(b"\r\n")


def _read_line(file: IO[bytes]) -> bytes:
    try:
        return file.readline(LINE_BYTES_MAX + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, OSError) as fault:
        raise BadRow(Reason.TRUNCATED, str(fault)) from None


def _skip_rest(file: IO[bytes], line: bytes) -> int:
    """Read on to the end of an overlong line, keeping nothing; how many bytes that were."""
    skipped_bytes = 0
    while line and not line.endswith(b"\n") and skipped_bytes <= INFLATED_BYTES_MAX:
        line = _read_line(file)
        skipped_bytes += len(line)
    return skipped_bytes


def sample_of(line: bytes) -> str:
    """The beginning of a line as printable text."""
    return line[:SAMPLE_CHARACTERS].decode("ascii", "backslashreplace").replace("\x00", "\\x00")


def malformed(reason: Reason, sample: str, *, ts_ns: int) -> FeedMalformed:
    """The event of one dropped row."""
    return FeedMalformed(ts_ns=ts_ns, reason=reason.value, count=1, sample=sample[:SAMPLE_CHARACTERS])


class TextFile(msgspec.Struct, frozen=True):
    """A text to read: everything up to and including `header_line` is not data."""

    path: Path
    header_line: int = 0


class LineFeed:
    """The events of text files that follow one another: parsed, screened, each dropped line as one fault.

    Lines before the first good one have no time of their own; they get that of the first good one.
    """

    def __init__(self, files: Sequence[TextFile], parser: RowParser) -> None:
        self._files = files
        self._parser = parser
        self._screen = Screen()
        self._leading: list[tuple[Reason, str]] = []

    def events(self) -> Iterator[RecordedEvent]:
        """The events in order of receipt; raises `UsageFault` when no line is of the format."""
        for found in self._found():
            yield from self._leading_faults()
            yield from found
        yield from self._leading_faults()
        if self._leading:
            reason, sample = self._leading[0]
            raise UsageFault(f"{self._files[0].path}: not one good line; the first fault is {reason} ({sample})")

    def begin_ns(self) -> int:
        """The receive time of the first good line, 0 when there is none; uses the feed up."""
        for _ in self._found():
            if self._parser.now_ns:
                break
        return self._parser.now_ns

    def _leading_faults(self) -> Iterator[RecordedEvent]:
        if self._leading and self._parser.now_ns:
            yield from (self._malformed(reason, sample) for reason, sample in self._leading)
            self._leading = []

    def _found(self) -> Iterator[list[RecordedEvent]]:
        """What each line means; the faults before the first good line are kept back in `_leading`."""
        for file in self._files:
            for place, line in self._numbered(file):
                yield self._judged(partial(self._parse, line, place), place=place, line=line or b"")
        yield self._judged(self._parser.finish, place=f"{self._files[-1].path.name}: end", line=b"")

    def _numbered(self, file: TextFile) -> Iterator[tuple[str, bytes | None]]:
        """The lines after the header and their places; None where the compressed data are damaged."""
        lines = lines_of(file.path)
        for number in count(1):
            place = f"{file.path.name}:{number}"
            try:
                line = next(lines)
            except StopIteration:
                return
            except BadRow:
                yield place, None
                return
            if number > file.header_line and line and not line.startswith(b"#"):
                yield place, line

    def _parse(self, line: bytes | None, place: str) -> Sequence[RecordedEvent]:
        if line is None:
            raise BadRow(Reason.TRUNCATED, "the compressed data are damaged from here on")
        if len(line) > LINE_BYTES_MAX:
            raise BadRow(Reason.TOO_LONG, f"more than {LINE_BYTES_MAX} bytes")
        return () if line.isspace() else self._parser.parse(line, place)

    def _judged(self, parse: Callable[[], Sequence[RecordedEvent]], *, place: str, line: bytes) -> list[RecordedEvent]:
        try:
            events = parse()
        except BadRow as bad:
            return self._dropped(bad, place=place, line=line)
        return [self._screened(event, place=place, line=line) for event in events]

    def _screened(self, event: RecordedEvent, *, place: str, line: bytes) -> RecordedEvent:
        if isinstance(event, FeedGap | FeedMalformed):
            return event
        reason = self._screen.judge(event)
        return event if reason is None else self._malformed(Reason(reason), f"{place}: {sample_of(line)}")

    def _dropped(self, bad: BadRow, *, place: str, line: bytes) -> list[RecordedEvent]:
        detail = f"{bad.detail}: " if bad.detail else ""
        sample = f"{place}: {detail}{sample_of(line)}"[:SAMPLE_CHARACTERS]
        if self._parser.now_ns:
            return [self._malformed(bad.reason, sample)]
        self._leading.append((bad.reason, sample))
        if len(self._leading) > LEADING_FAULTS_MAX:
            raise UsageFault(f"{self._files[0].path}: the first {LEADING_FAULTS_MAX} lines are all bad: {sample}")
        return []

    def _malformed(self, reason: Reason, sample: str) -> FeedMalformed:
        return malformed(reason, sample, ts_ns=self._parser.now_ns)
