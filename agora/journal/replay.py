"""Runs a desk or a market again from its journal and compares every decision with the recorded one.

Inputs are applied in their order; what the step decides must be exactly the outputs that follow in the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from agora.domain.events import ROLES, Checkpoint, Event, Role, kind_of
from agora.engine.desk import Desk
from agora.engine.ports import Change, Confirm, Send
from agora.engine.state import state_hash
from agora.engine.step import step
from agora.journal.records import Record


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where the replay is not the run."""

    seq: int
    expected: str
    found: str


class Replayed(msgspec.Struct, kw_only=True):
    """What a replay found. `pending` are decisions of the last input that the journal does not hold (a crash)."""

    records: int = 0
    inputs: int = 0
    outputs: int = 0
    checkpoints: int = 0
    last_seq: int = 0
    divergence: Divergence | None = None
    failures: tuple[str, ...] = ()
    pending: tuple[Event, ...] = ()
    leaving: tuple[Send | Change | Confirm, ...] = ()


# Told after each input with the record, the effects and the wall time of the first output (None without outputs).
Watch = Callable[[Record, list[Any], int | None], None]


class Subject(msgspec.Struct, frozen=True):
    """What is replayed: its step, which returns effects (events that stand in the journal, and others), its hash."""

    step: Callable[[Event], Sequence[Any]]
    state_hash: Callable[[], str]


def subject_of(desk: Desk) -> Subject:
    """A desk as something to replay."""
    return Subject(lambda event: step(desk, event), lambda: state_hash(desk.snapshot()))


class Replayer:
    """Feeds records to a subject one by one and compares; `watch` looks on after every input and note."""

    def __init__(self, subject: Subject, *, watch: Watch | None = None) -> None:
        self._subject = subject
        self._watch = watch
        self._expected: deque[Event] = deque()
        self._leaving: list[Send | Change | Confirm] = []
        self._unwatched: tuple[Record, list[Any]] | None = None
        self.found = Replayed()

    def feed(self, record: Record) -> bool:
        """Apply or compare one record; False at the first divergence."""
        self.found.records += 1
        self.found.last_seq = record.seq
        event = record.event
        role = ROLES[type(event)]
        if role is Role.OUTPUT:
            return self._compare(record)
        if self._expected:
            return self._diverge(record.seq, expected=self._expected[0], found=event)
        self._show(None)
        if role is Role.INPUT:
            self.found.inputs += 1
            self._apply(record)
            return True
        if isinstance(event, Checkpoint):
            return self._check(record.seq, event)
        self._unwatched = (record, [])
        return True

    def finish(self) -> Replayed:
        """The journal is at its end."""
        self._show(None)
        self.found.pending = tuple(self._expected)
        self.found.leaving = tuple(self._leaving)
        return self.found

    def _apply(self, record: Record) -> None:
        try:
            effects = list(self._subject.step(record.event))
        except Exception as fault:
            # The run met the same fault at the same event, recorded it and went on to its end; so do we.
            self.found.failures += (f"record {record.seq}: {type(fault).__name__}: {fault}",)
            effects = []
        self._expected.extend(effect for effect in effects if type(effect) in ROLES)
        self._leaving = [effect for effect in effects if isinstance(effect, Send | Change | Confirm)]
        self._unwatched = (record, effects)
        if not self._expected:
            self._show(None)

    def _compare(self, record: Record) -> bool:
        self.found.outputs += 1
        if not self._expected:
            return self._diverge(record.seq, expected=None, found=record.event)
        expected = self._expected.popleft()
        if expected != record.event:
            return self._diverge(record.seq, expected=expected, found=record.event)
        if not self._expected:
            self._show(record.wall_ns)
        return True

    def _show(self, done_wall_ns: int | None) -> None:
        if self._unwatched is not None and self._watch is not None:
            self._watch(*self._unwatched, done_wall_ns)
        self._unwatched = None

    def _check(self, seq: int, checkpoint: Checkpoint) -> bool:
        self.found.checkpoints += 1
        now = self._subject.state_hash()
        if now == checkpoint.state_hash:
            return True
        self.found.divergence = Divergence(seq=seq, expected=f"state {now}", found=f"state {checkpoint.state_hash}")
        return False

    def _diverge(self, seq: int, *, expected: Event | None, found: Event) -> bool:
        wanted = "no decision" if expected is None else _text(expected)
        self.found.divergence = Divergence(seq=seq, expected=wanted, found=_text(found))
        return False


def replay(subject: Subject, records: Iterable[Record], *, watch: Watch | None = None) -> Replayed:
    """Replay records on a subject that stands where the first of them found it."""
    replayer = Replayer(subject, watch=watch)
    for record in records:
        if not replayer.feed(record):
            return replayer.found
    return replayer.finish()


def _text(event: Event) -> str:
    return f"{kind_of(event)} {msgspec.json.encode(event, order='sorted').decode()}"
