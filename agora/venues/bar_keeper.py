"""Bars that no ticks of ours have made: before the start of a run, and wherever its connection was lost.

A hole begins with the bar in which prices were last seen. Bars that ended before they are seen again come as history,
in order; the bar in which they are seen again is read after its end and comes whole, to be traded on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from agora.domain.errors import Transient
from agora.domain.events import Event, FeedBackfilled, FeedGap, MarketCandle
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Clock
from agora.venues.screen import Screen

LOGGER = logging.getLogger(__name__)
# Between two looks for a bar that the venue does not show yet.
LOOK_AGAIN_NS = NS_PER_S

_Key = tuple[str, int]


class BarSource(Protocol):
    """Where closed bars can be read."""

    def offset_ns(self) -> int:
        """What its clock is ahead of ours, as far as is known."""
        ...

    async def bars(self, symbol: str, interval_s: int, *, span_ns: tuple[int, int]) -> Sequence[MarketCandle]:
        """Closed bars that begin in the span, oldest first, stamped with their end; raises `Transient`, `NotServed`."""
        ...


class NotServed(Exception):
    """The source has no bars of that length."""


class BarPatience(msgspec.Struct, frozen=True, kw_only=True):
    """A bar is read `grace_ns` after its end, looked for until `wait_ns` after it; holes have at most `bars_max`."""

    grace_ns: int
    wait_ns: int
    bars_max: int


class BarKeeper:
    """Fills the holes of several symbols and lengths."""

    def __init__(
        self,
        source: BarSource,
        patience: BarPatience,
        *,
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self._source = source
        self._patience = patience
        self._clock = clock
        self._tell = tell
        # The begin of the oldest bar that is not known whole, of each symbol and length; the longest first, so that
        # a long bar made of short ones is the same bar as the one that was read.
        self._holes: dict[_Key, int] = {}
        self._unserved: set[int] = set()

    @property
    def has_holes(self) -> bool:
        """Whether something is to be filled."""
        return bool(self._holes)

    def is_served(self, intervals_s: Sequence[int]) -> bool:
        """Whether the source has bars of one of these lengths, as far as is known."""
        return any(interval_s not in self._unserved for interval_s in intervals_s)

    def lose(self, seen_ns: Mapping[str, int], intervals_s: Sequence[int]) -> None:
        """Prices were last seen then: the bars of those moments are not whole, nor those that follow."""
        for interval_s in sorted(set(intervals_s) - self._unserved, reverse=True):
            for symbol, last_ns in seen_ns.items():
                begin_ns = _floor(last_ns, interval_s)
                self._holes[symbol, interval_s] = min(self._holes.get((symbol, interval_s), begin_ns), begin_ns)

    async def warm_up(self, symbols: Sequence[str], intervals_s: Sequence[int], *, bars: int) -> list[MarketCandle]:
        """The last closed bars, oldest first, and from now on a hole: the first bar began before we looked.

        What cannot be read is a hole that goes further back, and said in the log.
        """
        found: list[MarketCandle] = []
        for interval_s in sorted(set(intervals_s), reverse=True):
            for symbol in symbols:
                until_ns = self._whole_until(interval_s)
                span_ns = (until_ns - bars * interval_s * NS_PER_S, until_ns)
                try:
                    found += await self._read(symbol, interval_s, span_ns)
                except NotServed:
                    self._give_up(interval_s)
                    break
                except Transient as fault:
                    LOGGER.warning("no warm-up bars of %s yet: %s", symbol, fault)
                    until_ns = span_ns[0]
                self._holes[symbol, interval_s] = until_ns
        return found

    async def fill(self, *, is_said: bool) -> None:
        """Prices are seen again: hand over what was missed, then each bar of this moment when it is over.

        To be cancelled when they are lost again. `is_said`: with the event that says what was filled.
        """
        live = {key: self._whole_until(key[1]) for key in self._holes}
        for key, until_ns in live.items():
            await self._fill_closed(key, until_ns, is_said=is_said)
        async with asyncio.TaskGroup() as group:
            for key, begin_ns in live.items():
                if key in self._holes:
                    group.create_task(self._fill_live(key, begin_ns, is_said=is_said))

    async def _fill_closed(self, key: _Key, until_ns: int, *, is_said: bool) -> None:
        symbol, interval_s = key
        begin_ns = max(self._holes[key], until_ns - self._patience.bars_max * interval_s * NS_PER_S)
        candles: Sequence[MarketCandle] = ()
        if begin_ns < until_ns:
            try:
                candles = await self._read(symbol, interval_s, (begin_ns, until_ns))
            except NotServed:
                self._give_up(interval_s)
                return
            except Transient as fault:
                LOGGER.warning("bars of %s from a lost connection cannot be read yet: %s", symbol, fault)
                return
        self._holes[key] = until_ns
        self._tell_history(key, candles, until_ns, is_said=is_said)

    def _tell_history(self, key: _Key, candles: Sequence[MarketCandle], until_ns: int, *, is_said: bool) -> None:
        for candle in candles:
            self._tell_late(candle, is_history=True)
        if is_said:
            said = FeedBackfilled(
                ts_ns=self._clock.now_ns(),
                instrument=key[0],
                interval_s=key[1],
                bars=len(candles),
                until_ts_ns=until_ns,
            )
            self._tell(said)

    async def _fill_live(self, key: _Key, begin_ns: int, *, is_said: bool) -> None:
        """Wait for the end of a bar, then look for it until it is shown or so late that nobody wants it."""
        symbol, interval_s = key
        end_ns = begin_ns + interval_s * NS_PER_S
        # Where the source's clock is behind ours the bar ends later for it, and ours are never early.
        due_ns = end_ns + self._patience.grace_ns + max(0, -self._source.offset_ns())
        while True:
            await self._clock.sleep_until(due_ns)
            candles: Sequence[MarketCandle] = ()
            try:
                candles = await self._read(symbol, interval_s, (self._holes[key], end_ns))
            except NotServed:
                self._give_up(interval_s)
                return
            except Transient as fault:
                LOGGER.warning("the bar of %s that ended cannot be read yet: %s", symbol, fault)
            if candles and candles[-1].ts_ns == end_ns:
                break
            due_ns = self._clock.now_ns() + LOOK_AGAIN_NS
            if due_ns > end_ns + self._patience.wait_ns:
                self._say_missing(key, end_ns)
                return
        is_belated = self._holes.pop(key) < begin_ns
        self._tell_history(key, candles[:-1], begin_ns, is_said=is_said and is_belated)
        self._tell_late(candles[-1], is_history=False)

    def _say_missing(self, key: _Key, end_ns: int) -> None:
        """The hole stays and is tried again with the next one."""
        now_ns = self._clock.now_ns()
        waited_s = (now_ns - end_ns) / NS_PER_S
        reason = f"missing_bars: the bar of {key[1]} s is not shown {waited_s:.1f} s after its end"
        self._tell(FeedGap(ts_ns=now_ns, instrument=key[0], reason=reason))

    def _tell_late(self, candle: MarketCandle, *, is_history: bool) -> None:
        now_ns = max(self._clock.now_ns(), candle.ts_ns)
        self._tell(msgspec.structs.replace(candle, ts_ns=now_ns, end_ts_ns=candle.ts_ns, is_history=is_history))

    async def _read(self, symbol: str, interval_s: int, span_ns: tuple[int, int]) -> list[MarketCandle]:
        """Bars of the span that can be believed, each once, in order."""
        screen = Screen()
        kept: list[MarketCandle] = []
        for candle in await self._source.bars(symbol, interval_s, span_ns=span_ns):
            begin_ns = candle.ts_ns - interval_s * NS_PER_S
            is_wanted = span_ns[0] <= begin_ns < span_ns[1] and (not kept or candle.ts_ns > kept[-1].ts_ns)
            if is_wanted and screen.judge(candle) is None:
                kept.append(candle)
        return kept

    def _whole_until(self, interval_s: int) -> int:
        """The end of the newest bar that the source has surely closed."""
        return _floor(self._clock.now_ns() + min(0, self._source.offset_ns()) - self._patience.grace_ns, interval_s)

    def _give_up(self, interval_s: int) -> None:
        LOGGER.warning("the provider has no bars of %d s: no warm-up, and holes stay holes", interval_s)
        self._unserved.add(interval_s)
        self._holes = {key: begin for key, begin in self._holes.items() if key[1] != interval_s}


def _floor(ts_ns: int, interval_s: int) -> int:
    return ts_ns - ts_ns % (interval_s * NS_PER_S)
