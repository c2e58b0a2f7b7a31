"""Who trades in a run: the entries `NAME[@INTERVAL][=WEIGHT]` of the settings, e.g. `trend@5m=0.5`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal

import msgspec

from agora.domain.numbers import PPM

_ENTRY = re.compile(r"(?P<kind>[^@=]*)(@(?P<interval>[^@=]*))?(=(?P<weight>[^@=]*))?")
# At most six decimals: the rest would not be seen in parts per million.
_WEIGHT = re.compile(r"0?\.\d{1,6}|1(\.0{1,6})?")
SYNTAX = "NAME, NAME@INTERVAL, NAME=WEIGHT or NAME@INTERVAL=WEIGHT"


class Entry(msgspec.Struct, frozen=True):
    """One trader of a run. `interval` is empty for that of the run; entries are scaled by the weight."""

    kind: str
    interval: str = ""
    weight_ppm: int = PPM

    @property
    def label(self) -> str:
        """The trader's name in all records: no other of the run has it."""
        return f"{self.kind}@{self.interval}" if self.interval else self.kind


def read_entry(text: str, *, kinds: Collection[str], intervals: Collection[str]) -> Entry:
    """One entry; raises `ValueError` saying what is allowed."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError(SYNTAX)
    kind, interval, weight = match["kind"], match["interval"], match["weight"]
    if kind not in kinds:
        raise ValueError(f"a trader is one of {', '.join(sorted(kinds))}, written {SYNTAX}")
    if interval is not None and interval not in intervals:
        raise ValueError(f"the interval of a trader is one of {', '.join(intervals)}")
    if weight is not None and (_WEIGHT.fullmatch(weight) is None or not Decimal(weight)):
        raise ValueError("a weight is above 0, at most 1, with at most six decimals")
    weight_ppm = PPM if weight is None else int(Decimal(weight) * PPM)
    return Entry(kind, interval or "", weight_ppm)


def read_roster(texts: Sequence[str], *, kinds: Collection[str], intervals: Collection[str]) -> tuple[Entry, ...]:
    """All entries of a run, in their order; raises `ValueError` for the first that is wrong."""
    for _, allowed in roster_faults(texts, kinds=kinds, intervals=intervals):
        raise ValueError(allowed)
    return tuple(read_entry(text, kinds=kinds, intervals=intervals) for text in texts)


def roster_faults(
    texts: Sequence[str], *, kinds: Collection[str], intervals: Collection[str]
) -> Iterator[tuple[str, str]]:
    """(entry, what is allowed) of each that is wrong, and of each that has the label of one before it."""
    labels: set[str] = set()
    for text in texts:
        try:
            label = read_entry(text, kinds=kinds, intervals=intervals).label
        except ValueError as fault:
            yield text, str(fault)
            continue
        if label in labels:
            yield text, f"{label} trades already: give it an interval of its own"
        labels.add(label)
