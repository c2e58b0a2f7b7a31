"""What the market socket says, as events of the run. Pure: told the time, it neither sends nor waits.

Prices and sizes go from text straight to ticks and lots, and the numbers of a book recur: this is the path that a
busy market takes thousands of times a second, so it has its own small structs. All dirt becomes `FeedMalformed`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from agora.domain.events import (
    Event,
    FeedMalformed,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S, Rounding
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import subscribe_text
from agora.venues.bitunix.wire_values import percent_ppb
from agora.venues.screen import NOTICE_INTERVAL_NS, FaultTally, Reason, Screen
from agora.venues.steps import Steps, Unusable
from agora.venues.wire_values import Malformed, iso_ns

DEPTH, TRADE, PRICE = "depth_book15", "trade", "price"
CHANNELS = (DEPTH, TRADE, PRICE)
# So many older frames in a row, each after the one before, are a clock that was set back, and no disorder.
SET_BACK_FRAMES = 3
# What makes a price doubtful: it is asked for elsewhere.
DOUBTS = (Reason.ABSURD_JUMP, Reason.OFF_MARK)
# Frames of one millisecond that a repeated one is compared with.
CONTENTS_KEPT = 7
SAMPLE_CHARACTERS = 160

Number = str | int | float
Levels = list[tuple[int, int]]


class _Envelope(msgspec.Struct, gc=False):
    ch: str = ""
    op: str = ""
    symbol: str = ""
    ts: int | str = 0
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Window(msgspec.Struct):
    b: list[tuple[Number, Number]]
    a: list[tuple[Number, Number]]


class _Print(msgspec.Struct, gc=False):
    p: Number
    v: Number
    s: str = ""


class _Price(msgspec.Struct, gc=False):
    mp: Number = ""
    fr: Number = ""
    ft: str = ""


class _Answer(msgspec.Struct, gc=False):
    msg: str = ""
    result: bool = True


_ENVELOPES = msgspec.json.Decoder(_Envelope)
_WINDOWS = msgspec.json.Decoder(_Window)
_PRINTS = msgspec.json.Decoder(list[_Print])
_PRICES = msgspec.json.Decoder(_Price)
_ANSWERS = msgspec.json.Decoder(_Answer)
_UNPARSABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, Malformed)


class _Order(msgspec.Struct):
    """The newest frame of one channel of one symbol, and those of its very moment."""

    ts_ms: int = 0
    contents: list[bytes] = []
    older: int = 0
    older_ms: int = 0

    def fault(self, ts_ms: int, content: bytes) -> Reason | None:
        """Why a frame stamped then is not news; None when it is, and then it is the newest."""
        if ts_ms < self.ts_ms:
            self.older = self.older + 1 if ts_ms >= self.older_ms else 1
            self.older_ms = ts_ms
            if self.older < SET_BACK_FRAMES:
                return Reason.OUT_OF_ORDER
        elif ts_ms == self.ts_ms:
            if content in self.contents:
                return Reason.DUPLICATE
            self.contents = [*self.contents[-CONTENTS_KEPT:], content]
            return None
        self.ts_ms, self.contents, self.older, self.older_ms = ts_ms, [content], 0, 0
        return None


class _Market:
    """What was last told of one symbol."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.prices = Steps(instrument.tick, None)
        self.sizes = Steps(instrument.lot, Rounding.DOWN)
        self.tick = float(instrument.tick)
        self.orders = {channel: _Order() for channel in CHANNELS}
        self.bids: Levels = []
        self.asks: Levels = []
        self.told_ns = 0
        self.depth_ns = 0
        self.lag_ns = 0
        self.has_spoken = False
        self.settled_ns = 0
        self.settled_text = ""

    def levels(self, rows: list[tuple[Number, Number]]) -> Levels:
        """Levels in ticks and lots; an empty price is no level, and less than a lot is nothing."""
        price_of, size_of = self.prices.of, self.sizes.of
        found = [(price_of(price), size_of(size)) for price, size in rows if price != ""]
        return [level for level in found if level[1]]


class MarketReader:
    """Reads the frames of the market socket.

    `settled_ns`: the run knows the funding settled until then (0: none of it).
    """

    def __init__(self, instruments: dict[str, Instrument], settings: BitunixSettings, *, settled_ns: int = 0) -> None:
        self._settings = settings
        self._lag_ns = int(settings.market_lag_s_max * NS_PER_S)
        self._lead_ns = int(settings.market_lead_s_max * NS_PER_S)
        self._repeat_ns = int(settings.quote_repeat_s * NS_PER_S)
        self._markets = {symbol: _Market(instrument) for symbol, instrument in instruments.items()}
        for market in self._markets.values():
            market.settled_ns = settled_ns
        self._screen = Screen(is_asking=True)
        self._tally = FaultTally()
        self._flushed_ns = 0
        # Frames of depth that could be used.
        self.usable = 0
        # Symbols whose prices contradict what was believed of them, with how often since they last did not.
        self.doubts: dict[str, int] = {}
        # Frames that the clocks of the two ends contradict, since the last one that they do not.
        self.untimely = 0

    def begin(self, now_ns: int) -> None:
        """A fresh connection: nothing is older than what it will say, and every symbol has its time to speak."""
        for market in self._markets.values():
            market.orders = {channel: _Order() for channel in CHANNELS}
            market.depth_ns, market.has_spoken = now_ns, False
            market.bids, market.asks = [], []

    def seen_ns(self, symbol: str) -> int:
        """When the depth of a symbol was last usable, or its connection began."""
        return self._markets[symbol].depth_ns

    def lag_ns(self, symbol: str) -> int:
        """How old the newest usable frame of a symbol was when it came, by the venue's stamp; never negative."""
        return self._markets[symbol].lag_ns

    def believe(self, symbol: str, price: Decimal) -> None:
        """What the venue says elsewhere of where the market is: socket frames are judged from there."""
        market = self._markets[symbol]
        self._screen.believe(symbol, market.instrument.price_ticks(price, Rounding.NEAREST))
        self.doubts.pop(symbol, None)

    @property
    def have_all_spoken(self) -> bool:
        """Whether usable depth of every symbol has come on this connection."""
        return all(market.has_spoken for market in self._markets.values())

    def read(self, frame: str | bytes, *, now_ns: int, offset_ns: int = 0) -> Sequence[Event]:
        """The events of one frame received now; `offset_ns` is what the venue's clock is ahead of ours."""
        try:
            envelope = _ENVELOPES.decode(frame)
            if not envelope.ch:
                return self._control(envelope, frame, now_ns)
            return self._data(envelope, now_ns, offset_ns)
        except Unusable as fault:
            return self.drop(fault.reason, frame, now_ns=now_ns)
        except _UNPARSABLE:
            return self.drop(Reason.UNPARSABLE, frame, now_ns=now_ns)

    def drop(self, reason: str, frame: object, *, now_ns: int) -> Sequence[Event]:
        """Count something that cannot be used; the event when it is time to say so."""
        text = frame[:SAMPLE_CHARACTERS] if isinstance(frame, str | bytes) else str(frame)
        sample = text.decode(errors="replace") if isinstance(text, bytes) else text
        notice = self._tally.note(reason, sample, ts_ns=now_ns)
        return () if notice is None else (notice,)

    def pending(self, now_ns: int) -> Sequence[FeedMalformed]:
        """What was counted and not said, at most once in each interval of notices; at the end, say all of it."""
        if now_ns - self._flushed_ns < NOTICE_INTERVAL_NS:
            return ()
        self._flushed_ns = now_ns
        return self._tally.flush(now_ns)

    def rest(self, now_ns: int) -> Sequence[FeedMalformed]:
        """Everything that was counted and not said: the last words."""
        return self._tally.flush(now_ns)

    # Frames.

    def _control(self, envelope: _Envelope, frame: str | bytes, now_ns: int) -> Sequence[Event]:
        """Greetings, answers to pings and to a subscription; a refusal among them is worth knowing."""
        if envelope.op == "subscribe" and not _ANSWERS.decode(envelope.data).result:
            return self.drop(Reason.REFUSED, frame, now_ns=now_ns)
        return () if envelope.op else self.drop(Reason.UNKNOWN_MESSAGE, frame, now_ns=now_ns)

    def _data(self, envelope: _Envelope, now_ns: int, offset_ns: int) -> Sequence[Event]:
        market = self._markets.get(envelope.symbol)
        content = bytes(envelope.data)
        if market is None:
            return self.drop(Reason.OTHER_SYMBOL, envelope.symbol, now_ns=now_ns)
        order = market.orders.get(envelope.ch)
        if order is None:
            return self.drop(Reason.UNKNOWN_MESSAGE, envelope.ch, now_ns=now_ns)
        ts_ms = _milliseconds(envelope.ts)
        lag_ns = now_ns + offset_ns - ts_ms * NS_PER_MS
        if lag_ns > self._lag_ns or lag_ns < -self._lead_ns:
            self.untimely += 1
            reason = Reason.STALE if lag_ns > 0 else Reason.FUTURE
            return self.drop(reason, f"{envelope.ch} {envelope.symbol} {lag_ns / NS_PER_S:+.3f} s", now_ns=now_ns)
        self.untimely = 0
        disorder = order.fault(ts_ms, content)
        if disorder is not None:
            return self.drop(disorder, f"{envelope.ch} {envelope.symbol} {ts_ms}", now_ns=now_ns)
        market.lag_ns = max(0, lag_ns)
        if envelope.ch == DEPTH:
            return self._depth(market, content, now_ns)
        return self._trades(market, content, now_ns) if envelope.ch == TRADE else self._price(market, content, now_ns)

    def _depth(self, market: _Market, content: bytes, now_ns: int) -> Sequence[Event]:
        window = _WINDOWS.decode(content)
        bids, asks = market.levels(window.b), market.levels(window.a)
        symbol = market.instrument.symbol
        if not bids or not asks:
            return self.drop(Reason.EMPTY, f"{DEPTH} {symbol}", now_ns=now_ns)
        (bid, bid_lots), (ask, ask_lots) = max(bids), min(asks)
        quote = MarketQuote(
            ts_ns=now_ns, instrument=symbol, bid_ticks=bid, bid_lots=bid_lots, ask_ticks=ask, ask_lots=ask_lots
        )
        depth = self._changed_depth(market, bids, asks=asks, now_ns=now_ns)
        for event in (quote, depth):
            reason = None if event is None else self._screen.judge(event)
            if reason is not None:
                if reason in DOUBTS:
                    self.doubts[symbol] = self.doubts.get(symbol, 0) + 1
                return self.drop(reason, content, now_ns=now_ns)
        self.doubts.pop(symbol, None)
        is_same_touch = bids[:1] == market.bids[:1] and asks[:1] == market.asks[:1]
        market.bids, market.asks, market.depth_ns = bids, asks, now_ns
        market.has_spoken = True
        self.usable += 1
        if depth is None and is_same_touch and now_ns - market.told_ns < self._repeat_ns:
            return ()
        market.told_ns = now_ns
        if depth is None:
            return (quote,)
        return (depth,) if is_same_touch else (depth, quote)

    def _changed_depth(self, market: _Market, bids: Levels, *, asks: Levels, now_ns: int) -> MarketDepth | None:
        """The levels, where they are wanted and are not those that were told last."""
        count = self._settings.depth_levels
        if not count or (bids == market.bids and asks == market.asks):
            return None
        return MarketDepth(
            ts_ns=now_ns,
            instrument=market.instrument.symbol,
            levels=(*((1, *level) for level in bids[:count]), *((-1, *level) for level in asks[:count])),
            is_snapshot=True,
        )

    def _trades(self, market: _Market, content: bytes, now_ns: int) -> Sequence[Event]:
        """Prints have no id: two equal ones in different frames are two trades."""
        events: list[Event] = []
        for row in _PRINTS.decode(content):
            try:
                trade = MarketTrade(
                    ts_ns=now_ns,
                    instrument=market.instrument.symbol,
                    price_ticks=market.prices.of(row.p),
                    size_lots=market.sizes.of(row.v),
                    aggressor={"buy": 1, "sell": -1}.get(row.s.lower(), 0),
                )
            except Unusable as fault:
                events += self.drop(fault.reason, content, now_ns=now_ns)
                continue
            events += self._judged(trade, row, now_ns)
        return events

    def _judged(self, trade: MarketTrade, row: _Print, now_ns: int) -> Sequence[Event]:
        reason = self._screen.judge(trade)
        if reason is None:
            return (trade,)
        is_small = reason == Reason.NOT_POSITIVE and trade.price_ticks > 0 and trade.size_lots == 0
        return self.drop(Reason.BELOW_LOT if is_small else reason, row, now_ns=now_ns)

    def _price(self, market: _Market, content: bytes, now_ns: int) -> Sequence[Event]:
        """The mark price screens the others; a settlement that is new is told once."""
        row = _PRICES.decode(content)
        events: list[Event] = []
        if row.mp != "":
            reason = self._mark_fault(market, row.mp, now_ns)
            events += () if reason is None else self.drop(reason, content, now_ns=now_ns)
        if row.ft != market.settled_text and row.fr != "":
            events += self._funding(market, row, now_ns)
            market.settled_text = row.ft
        return events

    def _mark_fault(self, market: _Market, text: Number, now_ns: int) -> str | None:
        """A mark price has more decimals than a tick: it is rounded, as it only says where the market is."""
        try:
            steps = float(text) / market.tick
        except ValueError:
            return Reason.NOT_FINITE
        if not math.isfinite(steps):
            return Reason.NOT_FINITE
        return self._screen.mark(market.instrument.symbol, round(steps), ts_ns=now_ns)

    def _funding(self, market: _Market, row: _Price, now_ns: int) -> Sequence[Event]:
        """The rate that was settled last, with its time."""
        settled_ns = iso_ns(row.ft, "ft")
        if settled_ns <= market.settled_ns:
            return ()
        if settled_ns > now_ns + self._lead_ns:
            return self.drop(Reason.FUTURE, f"{PRICE} {row.ft}", now_ns=now_ns)
        event = MarketFundingRate(ts_ns=now_ns, instrument=market.instrument.symbol, rate_ppb=percent_ppb(row.fr, "fr"))
        reason = self._screen.judge(event)
        if reason is not None:
            return self.drop(reason, f"{PRICE} {row.fr}", now_ns=now_ns)
        market.settled_ns = settled_ns
        return (event,)


def _milliseconds(ts: int | str) -> int:
    if isinstance(ts, int):
        return ts
    if ts.isascii() and ts.isdigit() and len(ts) <= 16:
        return int(ts)
    raise Unusable(Reason.ABSURD_TIME, ts)


def subscription(symbols: Sequence[str]) -> str:
    """Everything in one frame: the venue counts messages."""
    return subscribe_text([{"symbol": symbol, "ch": channel} for symbol in symbols for channel in CHANNELS])
