"""The screen between a feed and the run: judges market events against the last good state, and counts drops.

Pure: it knows nothing of where an event came from, and the same rules serve recordings and live venues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec

from agora.domain.events import (
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketEvent,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.numbers import NS_PER_S

MARK_PERCENT = 5  # how far a market strays from its own mark price; further, one of the two is wrong
MARK_AGE_NS = 5 * NS_PER_S  # an older mark price says nothing about the present
DOUBT_PERCENT = 5  # where somebody can be asked, it costs a second to ask about a move that no half second has
JUMP_PERCENT = 20  # no minute of the recordings moves more than 4 %; five times that is a fault until confirmed
AGREE_PERCENT = 1  # prices that confirm a jump lie within the noise of one second of each other
CONFIRMATIONS = 3  # two equal faults in a row were seen in feeds, three were not
STEPS_MAX = 10**12  # ticks or lots: beyond it a product of price and size leaves 64 bits
RATE_PPB_MAX = 100_000_000  # 10 % per interval; venues cap funding at 4 %
NOTICE_INTERVAL_NS = 10 * NS_PER_S  # a burst of bad ticks fills neither the journal nor the operator's screen
SAMPLE_CHARACTERS = 160  # enough of a line to find it again
REASONS_MAX = 64  # more than twice the reasons there are; bounds the memory if a venue invents words

Levels = tuple[tuple[int, int, int], ...]


class Reason(StrEnum):
    """Why a piece of market data was dropped; the words of `FeedMalformed.reason`."""

    ABSURD_JUMP = "absurd_jump"
    ABSURD_TIME = "absurd_time"
    BELOW_LOT = "below_lot"
    CROSSED = "crossed"
    DISAGREES = "disagrees"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    FUTURE = "future"
    NOT_FINITE = "not_finite"
    NOT_MARKET = "not_market"
    NOT_POSITIVE = "not_positive"
    OFF_MARK = "off_mark"
    OFF_TICK = "off_tick"
    OHLC = "ohlc"
    OTHER_SYMBOL = "other_symbol"
    OUT_OF_ORDER = "out_of_order"
    OVERLAP_DIFFERS = "overlap_differs"
    PREMATURE_END = "premature_end"
    REFUSED = "refused"
    STALE = "stale"
    TIME_MISMATCH = "time_mismatch"
    TOO_LARGE = "too_large"
    TOO_LONG = "too_long"
    TRUNCATED = "truncated"
    UNKNOWN_MESSAGE = "unknown_message"
    UNPARSABLE = "unparsable"
    ZERO_PRICE = "zero_price"


class _LastGood(msgspec.Struct, gc=False):
    """What was last believed of one instrument, and the run of prices that asks to be believed instead."""

    ts_ns: int = 0
    price_ticks: int = 0
    candidate_ticks: int = 0
    candidates: int = 0
    mark_ticks: int = 0
    mark_ts_ns: int = 0

    def is_off_mark(self, price_ticks: int, ts_ns: int) -> bool:
        """Whether a mark price that is fresh contradicts the price. Without one there is nothing to contradict."""
        mark = self.mark_ticks
        if not mark or ts_ns - self.mark_ts_ns > MARK_AGE_NS:
            return False
        return abs(price_ticks - mark) * 100 > mark * MARK_PERCENT

    def is_absurd(self, price_ticks: int, *, is_asking: bool) -> bool:
        """Whether the price is too far from the last good one and not confirmed; where one asks, nothing here does."""
        last = self.price_ticks
        if last == 0 or abs(price_ticks - last) * 100 <= last * (DOUBT_PERCENT if is_asking else JUMP_PERCENT):
            self.price_ticks = price_ticks
            self.candidates = 0
            return False
        agrees = abs(price_ticks - self.candidate_ticks) * 100 <= self.candidate_ticks * AGREE_PERCENT
        self.candidates = self.candidates + 1 if self.candidates and agrees else 1
        self.candidate_ticks = price_ticks
        if is_asking or self.candidates < CONFIRMATIONS:
            return True
        self.price_ticks = price_ticks
        self.candidates = 0
        return False


class Screen:
    """Judges each market event against the last good one of its instrument, and against its mark where one is told.

    A price that jumps is believed when it is repeated, as there is nobody else to ask about a recording. `is_asking`:
    there is somebody, and only `believe` ends the doubt.
    """

    __slots__ = ("_is_asking", "_last_good", "_last_marks")

    def __init__(self, *, is_asking: bool = False) -> None:
        self._is_asking = is_asking
        self._last_good: dict[str, _LastGood] = {}
        self._last_marks: dict[str, _LastGood] = {}

    def believe(self, instrument: str, price_ticks: int) -> None:
        """Somebody else says where the market is: what follows is judged from there."""
        for prices in (self._last_good, self._last_marks):
            prices.setdefault(instrument, _LastGood()).price_ticks = price_ticks
        self._last_good[instrument].mark_ticks = 0

    def mark(self, instrument: str, price_ticks: int, *, ts_ns: int) -> str | None:
        """Why a mark price must be dropped, or None when it is good: market data are held against it from now on."""
        if price_ticks <= 0:
            return Reason.NOT_POSITIVE
        if price_ticks > STEPS_MAX:
            return Reason.TOO_LARGE
        if self._last_marks.setdefault(instrument, _LastGood()).is_absurd(price_ticks, is_asking=self._is_asking):
            return Reason.ABSURD_JUMP
        last = self._last_good.setdefault(instrument, _LastGood())
        last.mark_ticks, last.mark_ts_ns = price_ticks, ts_ns
        return None

    def judge(self, event: MarketEvent) -> str | None:
        """Why the event must be dropped, or None when it is good (and becomes the last good state)."""
        last = self._last_good.get(event.instrument)
        if last is None:
            last = self._last_good[event.instrument] = _LastGood()
        if event.ts_ns < last.ts_ns:
            return Reason.OUT_OF_ORDER
        reason, price_ticks = _JUDGES[type(event)](event)
        if reason is not None:
            return reason
        if price_ticks and last.is_off_mark(price_ticks, event.ts_ns):
            return Reason.OFF_MARK
        if price_ticks and last.is_absurd(price_ticks, is_asking=self._is_asking):
            return Reason.ABSURD_JUMP
        last.ts_ns = event.ts_ns
        return None


def levels_fault(levels: Levels, *, is_snapshot: bool) -> Reason | None:
    """What is wrong with changed price levels; a snapshot must not be crossed either."""
    best_bid, best_ask = 0, STEPS_MAX + 1
    for side, price_ticks, size_lots in levels:
        if price_ticks <= 0 or size_lots < 0:
            return Reason.NOT_POSITIVE
        if price_ticks > STEPS_MAX or size_lots > STEPS_MAX:
            return Reason.TOO_LARGE
        if side > 0 and size_lots:
            best_bid = max(best_bid, price_ticks)
        elif size_lots:
            best_ask = min(best_ask, price_ticks)
    return Reason.CROSSED if is_snapshot and best_bid >= best_ask else None


_Judgement = tuple[Reason | None, int]


def _judge_candle(candle: MarketCandle) -> _Judgement:
    close = candle.close_ticks
    if min(candle.open_ticks, candle.high_ticks, candle.low_ticks, close, candle.interval_s) <= 0:
        return Reason.NOT_POSITIVE, 0
    if candle.volume_lots < 0:
        return Reason.NOT_POSITIVE, 0
    if candle.high_ticks > STEPS_MAX or candle.volume_lots > STEPS_MAX:
        return Reason.TOO_LARGE, 0
    if candle.low_ticks > min(candle.open_ticks, close) or candle.high_ticks < max(candle.open_ticks, close):
        return Reason.OHLC, 0
    return None, close


def _judge_quote(quote: MarketQuote) -> _Judgement:
    bid, ask = quote.bid_ticks, quote.ask_ticks
    # A displayed size smaller than one lot was rounded down to none: odd, but the price stands.
    if bid <= 0 or ask <= 0 or quote.bid_lots < 0 or quote.ask_lots < 0:
        return Reason.NOT_POSITIVE, 0
    if bid >= ask:
        return Reason.CROSSED, 0
    if ask > STEPS_MAX or quote.bid_lots > STEPS_MAX or quote.ask_lots > STEPS_MAX:
        return Reason.TOO_LARGE, 0
    return None, (bid + ask) // 2


def _judge_trade(trade: MarketTrade) -> _Judgement:
    if trade.price_ticks <= 0 or trade.size_lots <= 0:
        return Reason.NOT_POSITIVE, 0
    if trade.price_ticks > STEPS_MAX or trade.size_lots > STEPS_MAX:
        return Reason.TOO_LARGE, 0
    return None, trade.price_ticks


def _judge_depth(depth: MarketDepth) -> _Judgement:
    return levels_fault(depth.levels, is_snapshot=depth.is_snapshot), 0


def _judge_funding_rate(funding: MarketFundingRate) -> _Judgement:
    return (Reason.TOO_LARGE if abs(funding.rate_ppb) > RATE_PPB_MAX else None), 0


_JUDGES: dict[type[MarketEvent], Callable[[Any], _Judgement]] = {
    MarketCandle: _judge_candle,
    MarketQuote: _judge_quote,
    MarketTrade: _judge_trade,
    MarketDepth: _judge_depth,
    MarketFundingRate: _judge_funding_rate,
}


class _Notice(msgspec.Struct, gc=False):
    """What is pending for one reason."""

    said_ts_ns: int | None = None
    count: int = 0
    sample: str = ""


class FaultTally:
    """Counts dropped market data per reason and decides when to say so.

    The first of a reason is said at once, later ones at most every `NOTICE_INTERVAL_NS` of event time;
    `counts` is the total per reason.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._notices: dict[str, _Notice] = {}

    def note(self, reason: str, sample: str, *, ts_ns: int) -> FeedMalformed | None:
        """Count one dropped piece; the event to record when it is time to say so."""
        if reason not in self._notices and len(self._notices) >= REASONS_MAX:
            reason = "other"
        self.counts[reason] = self.counts.get(reason, 0) + 1
        notice = self._notices.setdefault(reason, _Notice())
        notice.count += 1
        notice.sample = notice.sample or sample[:SAMPLE_CHARACTERS]
        if notice.said_ts_ns is not None and ts_ns - notice.said_ts_ns < NOTICE_INTERVAL_NS:
            return None
        return _say(notice, reason=reason, ts_ns=ts_ns)

    def flush(self, ts_ns: int) -> list[FeedMalformed]:
        """Say everything that was counted and not yet said."""
        pending: Iterable[tuple[str, _Notice]] = sorted(self._notices.items())
        return [_say(notice, reason=reason, ts_ns=ts_ns) for reason, notice in pending if notice.count]


def _say(notice: _Notice, *, reason: str, ts_ns: int) -> FeedMalformed:
    said = FeedMalformed(ts_ns=ts_ns, reason=str(reason), count=notice.count, sample=notice.sample)
    notice.said_ts_ns, notice.count, notice.sample = ts_ns, 0, ""
    return said
