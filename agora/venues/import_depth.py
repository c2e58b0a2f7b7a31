"""The chain of depth updates: only a book that began with a snapshot and missed nothing is passed on.

The rules are those of the venues: an update names the one before it, and the first after a snapshot must
contain the snapshot's id. Updates that come before the snapshot wait for it; a broken chain is a gap until
the next snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from agora.domain.events import FeedGap, MarketDepth
from agora.venues.import_rows import BadRow, ImportTally
from agora.venues.screen import Levels, Reason, levels_fault

WAITING_MAX = 500  # updates kept for a snapshot: 50 s at 10 a second; a REST answer takes one


class Update(msgspec.Struct, frozen=True, gc=False):
    """A depth update: the ids it covers and, where the venue says it, the last id of the one before."""

    first_id: int
    last_id: int
    previous_id: int | None
    levels: Levels

    def follows(self, last_id: int) -> bool:
        """Whether nothing lies between that id and this update."""
        if self.previous_id is not None:
            return self.previous_id == last_id
        return self.first_id == last_id + 1

    def contains_next(self, snapshot_id: int) -> bool:
        """Whether this may be the first update on a snapshot of that id."""
        return self.first_id <= snapshot_id + 1 <= self.last_id + 1 or self.follows(snapshot_id)


class DepthChain:
    """Follows one book from its snapshots and updates."""

    def __init__(self, symbol: str, tally: ImportTally) -> None:
        self._symbol = symbol
        self._tally = tally
        self._last_id: int | None = None  # None: no usable book
        self._is_fresh = False  # a snapshot was taken and no update applied yet
        self._waiting: deque[Update] = deque(maxlen=WAITING_MAX)
        self._is_said = False

    def update(self, update: Update, *, ts_ns: int, place: str) -> list[MarketDepth | FeedGap]:
        """What an update means: a change of the book, a gap, nothing yet; raises `BadRow` for a repeat."""
        if update.first_id > update.last_id:
            raise BadRow(Reason.UNPARSABLE, f"update ids {update.first_id} > {update.last_id}")
        if self._last_id is None:
            return self._wait(update, ts_ns)
        if self._is_fresh:
            return self._first(update, ts_ns=ts_ns, place=place)
        if update.last_id <= self._last_id:
            raise BadRow(Reason.DUPLICATE, f"update {update.last_id} after {self._last_id}")
        if not update.follows(self._last_id):
            return self._break(update, ts_ns=ts_ns, place=place)
        return self._apply(update, ts_ns)

    def snapshot(self, snapshot_id: int, levels: Levels, *, ts_ns: int) -> list[MarketDepth | FeedGap]:
        """Begin anew from a snapshot and the waiting updates that belong on it.

        A snapshot older than the book that is followed already says nothing and is passed over.
        """
        fault = levels_fault(levels, is_snapshot=True)
        if fault is not None:
            raise BadRow(fault, f"snapshot {snapshot_id}")
        if self._last_id is not None and snapshot_id <= self._last_id:
            self._tally.depth_superseded += 1
            return []
        waiting = list(self._waiting)
        self._waiting.clear()
        self._tally.depth_unusable -= len(waiting)
        self._last_id, self._is_fresh, self._is_said = snapshot_id, True, False
        events: list[MarketDepth | FeedGap] = [self._depth(levels, ts_ns, is_snapshot=True)]
        for update in waiting:
            events += self.update(update, ts_ns=ts_ns, place="a waiting update")
        return events

    def restart(self, snapshot_id: int, levels: Levels, *, ts_ns: int) -> list[MarketDepth | FeedGap]:
        """Begin anew whatever was before: the venue pushed a snapshot in the stream itself."""
        self._last_id = None
        self._waiting.clear()
        events = self.snapshot(snapshot_id, levels, ts_ns=ts_ns)
        self._is_fresh = False
        return events

    def finish(self, ts_ns: int) -> list[FeedGap]:
        """Say that updates never found their snapshot, unless that was said."""
        if self._last_id is not None or not self._waiting or self._is_said:
            return []
        return [self._no_snapshot(ts_ns)]

    def _wait(self, update: Update, ts_ns: int) -> list[MarketDepth | FeedGap]:
        if self._waiting and update.last_id <= self._waiting[-1].last_id:
            raise BadRow(Reason.DUPLICATE, f"update {update.last_id} after {self._waiting[-1].last_id}")
        is_full = len(self._waiting) == WAITING_MAX
        self._waiting.append(update)
        self._tally.depth_unusable += 1
        return [self._no_snapshot(ts_ns)] if is_full and not self._is_said else []

    def _first(self, update: Update, *, ts_ns: int, place: str) -> list[MarketDepth | FeedGap]:
        assert self._last_id is not None
        is_older = update.last_id < self._last_id or (update.previous_id is None and update.last_id == self._last_id)
        if is_older:
            self._tally.depth_superseded += 1
            return []
        if not update.contains_next(self._last_id):
            return self._break(update, ts_ns=ts_ns, place=place)
        return self._apply(update, ts_ns)

    def _apply(self, update: Update, ts_ns: int) -> list[MarketDepth | FeedGap]:
        self._last_id, self._is_fresh = update.last_id, False
        return [self._depth(update.levels, ts_ns, is_snapshot=False)] if update.levels else []

    def _break(self, update: Update, *, ts_ns: int, place: str) -> list[MarketDepth | FeedGap]:
        expected, found = self._last_id, update.previous_id
        self._last_id, self._is_fresh, self._is_said = None, False, True
        self._waiting.clear()
        self._wait(update, ts_ns)
        follows = f"first id {update.first_id}" if found is None else f"previous id {found}"
        reason = f"broken_chain: {place}: {follows} does not follow {expected}"
        return [FeedGap(ts_ns=ts_ns, instrument=self._symbol, reason=reason)]

    def _no_snapshot(self, ts_ns: int) -> FeedGap:
        self._is_said = True
        reason = f"no_snapshot: {len(self._waiting)} depth updates wait for one"
        return FeedGap(ts_ns=ts_ns, instrument=self._symbol, reason=reason)

    def _depth(self, levels: Iterable[tuple[int, int, int]], ts_ns: int, *, is_snapshot: bool) -> MarketDepth:
        return MarketDepth(ts_ns=ts_ns, instrument=self._symbol, levels=tuple(levels), is_snapshot=is_snapshot)
