"""Plays recordings: as a stream of events for a run, and on the run's clock as a feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from pathlib import Path

import msgspec

from agora.domain.errors import UsageFault
from agora.domain.events import Event, FeedEnded, FeedGap, FeedMalformed, MarketDepth
from agora.domain.instruments import Instrument
from agora.engine.ports import Clock
from agora.venues.import_detect import Format, source_of
from agora.venues.importers import plan_import
from agora.venues.recording import RecordedEvent, Recording
from agora.venues.screen import FaultTally, Screen


class RecordedSource:
    """The events of a recording, screened, as often as wanted and each time the same.

    `interval_s` is the length of its candles, 0 for ticks. `last_ts_ns` is None while it is not known: tick
    files that were not imported are read as they are played.
    """

    def __init__(
        self,
        *,
        instruments: tuple[Instrument, ...],
        interval_s: int,
        span_ns: tuple[int, int | None],
        read: Callable[[], Iterable[RecordedEvent]],
    ) -> None:
        self.instruments = instruments
        self.interval_s = interval_s
        self.first_ts_ns, self.last_ts_ns = span_ns
        self._read = read

    def events(self, after: int = 0) -> Iterator[Event]:
        """Market events, gaps and notices of dropped data in order of time; nothing marks the end.

        `after` leaves out the first so many *market* events and what lies before the last of them: the rest
        is what a run that has seen them must still see. All are judged, so that the rest never differs.
        """
        assert after >= 0, f"{after} events cannot have been seen"
        for event in self._screened():
            if after == 0:
                yield event
            elif not isinstance(event, FeedGap | FeedMalformed):
                after -= 1

    def _screened(self) -> Iterator[Event]:
        screen, tally = Screen(), FaultTally()
        last_ns = self.first_ts_ns
        for event in self._read():
            last_ns = max(last_ns, event.ts_ns)
            if isinstance(event, FeedGap):
                yield event
                continue
            if isinstance(event, FeedMalformed):
                notice = tally.note(event.reason, event.sample, ts_ns=last_ns)
            else:
                reason = screen.judge(event)
                if reason is None:
                    yield event
                    continue
                notice = tally.note(reason, repr(event), ts_ns=last_ns)
                if isinstance(event, MarketDepth):
                    yield FeedGap(ts_ns=last_ns, instrument=event.instrument, reason=f"dropped_depth: {reason}")
            if notice is not None:
                yield notice
        yield from tally.flush(last_ns)


def open_recording(paths: Path | Sequence[Path], *symbols: str) -> RecordedSource:
    """Recordings, or files of any format that can be imported, read while played; raises `UsageFault`.

    `symbols` are the instruments that are wanted; of several, each has a recording or files of its own, and they are
    played together in order of time.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    if len(files) == 1 and source_of(files[0]).format is Format.RECORDING:
        return _whole(_of_recording(files[0], symbols))
    if len(symbols) < 2:
        return _whole(_of_files(files, *symbols))
    return _whole(*_parts(files, symbols))


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """The recording, or the files, of some instruments."""

    name: str
    instruments: tuple[Instrument, ...]
    interval_s: int
    span_ns: tuple[int, int | None]
    read: Callable[[], Iterable[RecordedEvent]]


def _whole(*parts: _Part) -> RecordedSource:
    """All parts as one source; raises `UsageFault` when they do not go together."""
    lengths = {part.name: part.interval_s for part in parts}
    if len(set(lengths.values())) > 1:
        raise UsageFault(f"recordings of different lengths of bar (s; 0: ticks) are not played together: {lengths}")
    ends = [part.span_ns[1] for part in parts]
    return RecordedSource(
        instruments=tuple(instrument for part in parts for instrument in part.instruments),
        interval_s=parts[0].interval_s,
        span_ns=(
            min(part.span_ns[0] for part in parts),
            None if None in ends else max(end for end in ends if end is not None),
        ),
        read=parts[0].read if len(parts) == 1 else lambda: merge(*(part.read() for part in parts), key=_time_of),
    )


def _time_of(event: RecordedEvent) -> int:
    return event.ts_ns


def _parts(files: Sequence[Path], symbols: Sequence[str]) -> list[_Part]:
    """Recordings each by itself, other files by the symbol that they or their names say."""
    recordings: list[_Part] = []
    groups: dict[str, list[Path]] = {}
    for path in dict.fromkeys(files):
        source = source_of(path)
        if source.format is Format.RECORDING:
            recordings.append(_of_recording(path, ()))
        elif not source.symbol:
            raise UsageFault(f"{path}: neither the file nor its name says of which of {', '.join(symbols)} it is")
        elif source.symbol in symbols:
            groups.setdefault(source.symbol, []).append(path)
    parts = recordings + [_of_files(groups[symbol], symbol) for symbol in symbols if symbol in groups]
    found = [instrument.symbol for part in parts for instrument in part.instruments]
    missing = sorted(set(symbols) - set(found))
    if missing:
        raise UsageFault(f"no data of {', '.join(missing)} among the files")
    twice = sorted({symbol for symbol in symbols if found.count(symbol) > 1})
    if twice:
        raise UsageFault(f"{', '.join(twice)} is in more than one recording: which one is meant?")
    return parts


def _of_files(files: Sequence[Path], symbol: str | None = None) -> _Part:
    plan = plan_import(files, symbol)
    return _Part(
        name=", ".join(path.name for path in files),
        instruments=(plan.instrument,),
        interval_s=plan.interval_s,
        span_ns=plan.span_ns(),
        read=plan.events,
    )


def _of_recording(path: Path, symbols: Sequence[str]) -> _Part:
    recording = Recording(path)
    facts = recording.facts
    if facts.first_ts_ns is None:
        raise UsageFault(f"{path}: an empty recording")
    known = [instrument.symbol for instrument in facts.instruments]
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        raise UsageFault(f"{path}: a recording of {', '.join(known)}, not of {', '.join(missing)}")
    return _Part(
        name=path.name,
        instruments=facts.instruments,
        interval_s=facts.interval_s,
        span_ns=(facts.first_ts_ns, facts.last_ts_ns),
        read=recording.events,
    )


class RecordedFeed:
    """Events in the time of the run's clock: a clock that runs makes it wait, a manual one is told the time.

    After the last event comes one `FeedEnded`, then nothing. `is_paced`: the clock runs, so the run may lag.
    """

    def __init__(self, events: Iterable[Event], clock: Clock, *, is_paced: bool = False) -> None:
        self.is_paced = is_paced
        self._events = iter(events)
        self._clock = clock
        self._next: Event | None = None
        self._last_ns = clock.now_ns()
        self._is_ended = False

    async def open(self) -> None:
        """The files are open already."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event if it is due by the deadline; None at the deadline."""
        if self._next is None:
            self._next = self._following()
        event = self._next
        if event is None or event.ts_ns > deadline_ns:
            await self._reach(deadline_ns)
            return None
        await self._reach(event.ts_ns)
        self._next = None
        return event

    def _following(self) -> Event | None:
        event = next(self._events, None)
        if event is not None:
            self._last_ns = max(self._last_ns, event.ts_ns)
            return event
        if self._is_ended:
            return None
        self._is_ended = True
        return FeedEnded(ts_ns=self._last_ns)

    async def _reach(self, ts_ns: int) -> None:
        """Be at that time: a manual clock is there at once, a clock that runs is waited for."""
        self._clock.advance(ts_ns)
        if self._clock.now_ns() < ts_ns:
            await self._clock.sleep_until(ts_ns)
