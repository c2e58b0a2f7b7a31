"""Messages of Binance and Bybit as they came over the wire, one per line."""

from __future__ import annotations

import msgspec

from agora.domain.events import MarketQuote, MarketTrade
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS
from agora.venues.import_depth import DepthChain, Update
from agora.venues.import_rows import BadRow, ImportTally, ReceiveOrder, Steps, integer_of, time_of
from agora.venues.recording import RecordedEvent
from agora.venues.screen import Reason

_Pairs = list[tuple[str, str]]
# What deep nesting, bad UTF-8 and wrong types raise.
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Envelope(msgspec.Struct, gc=False):
    """The combined-stream envelope, or a REST depth snapshot."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    snapshot_id: int | None = msgspec.field(default=None, name="lastUpdateId")
    bids: _Pairs = []
    asks: _Pairs = []
    symbol: str = ""


class _Depth(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="s")
    first_id: int = msgspec.field(name="U")
    last_id: int = msgspec.field(name="u")
    bids: _Pairs = msgspec.field(name="b")
    asks: _Pairs = msgspec.field(name="a")
    previous_id: int | None = msgspec.field(default=None, name="pu")


class _BookTicker(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="s")
    bid: str = msgspec.field(name="b")
    bid_size: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_size: str = msgspec.field(name="A")


class _Trade(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    is_buyer_maker: bool = msgspec.field(name="m")
    order_type: str | None = msgspec.field(default="MARKET", name="X")


class BinanceFeed:
    """Lines of "<local receive time, ns> <message>", from the spot or the USD-margined futures venue."""

    def __init__(self, instrument: Instrument, tally: ImportTally) -> None:
        self.now_ns = 0
        self._symbol = instrument.symbol
        self._steps = Steps(instrument)
        self._tally = tally
        self._order = ReceiveOrder()
        self._chain = DepthChain(instrument.symbol, tally)
        self._trades = TradeIds()
        self._envelope = msgspec.json.Decoder(_Envelope)
        self._depth = msgspec.json.Decoder(_Depth)
        self._quote = msgspec.json.Decoder(_BookTicker)
        self._trade = msgspec.json.Decoder(_Trade)

    def parse(self, line: bytes, place: str) -> list[RecordedEvent]:
        """The events of one line; raises `BadRow`."""
        head, _, body = line.partition(b" ")
        ts_ns = time_of(integer_of(head), unit_ns=1)
        try:
            envelope = self._envelope.decode(body)
            if envelope.snapshot_id is not None:
                return self._on_snapshot(envelope, ts_ns)
            channel, text = envelope.stream.partition("@")[2], bytes(envelope.data)
            if channel == "bookTicker":
                return self._on_quote(text, ts_ns=ts_ns)
            if channel == "trade":
                return self._on_trade(text, ts_ns=ts_ns)
            if channel.partition("@")[0] == "depth":
                return self._on_depth(text, ts_ns=ts_ns, place=place)
        except _UNDECODABLE as fault:
            raise BadRow(Reason.UNPARSABLE, str(fault)[:80]) from None
        raise BadRow(Reason.UNKNOWN_MESSAGE, f"stream {envelope.stream[:40]!r}")

    def finish(self) -> list[RecordedEvent]:
        """The gap of a book that never had a snapshot."""
        return [*self._chain.finish(self.now_ns)]

    def _accept(self, symbol: str, ts_ns: int) -> None:
        if symbol != self._symbol:
            raise BadRow(Reason.OTHER_SYMBOL, symbol[:20])
        self._order.accept(ts_ns)
        self.now_ns = ts_ns

    def _on_snapshot(self, message: _Envelope, ts_ns: int) -> list[RecordedEvent]:
        assert message.snapshot_id is not None
        self._tally.message("snapshot")
        steps = self._steps
        levels = (*steps.levels(message.bids, 1), *steps.levels(message.asks, -1))
        self._accept(message.symbol or self._symbol, ts_ns)
        return [*self._chain.snapshot(message.snapshot_id, levels, ts_ns=ts_ns)]

    def _on_depth(self, text: bytes, *, ts_ns: int, place: str) -> list[RecordedEvent]:
        self._tally.message("depthUpdate")
        message = self._depth.decode(text)
        steps = self._steps
        levels = (*steps.levels(message.bids, 1), *steps.levels(message.asks, -1))
        self._accept(message.symbol, ts_ns)
        update = Update(message.first_id, message.last_id, message.previous_id, levels)
        return [*self._chain.update(update, ts_ns=ts_ns, place=place)]

    def _on_quote(self, text: bytes, *, ts_ns: int) -> list[RecordedEvent]:
        self._tally.message("bookTicker")
        message, steps = self._quote.decode(text), self._steps
        quote = MarketQuote(
            ts_ns=ts_ns,
            instrument=self._symbol,
            bid_ticks=steps.price_ticks(message.bid),
            bid_lots=steps.size_lots(message.bid_size),
            ask_ticks=steps.price_ticks(message.ask),
            ask_lots=steps.size_lots(message.ask_size),
        )
        self._accept(message.symbol, ts_ns)
        return [quote]

    def _on_trade(self, text: bytes, *, ts_ns: int) -> list[RecordedEvent]:
        self._tally.message("trade")
        message = self._trade.decode(text)
        check_order_type(message.order_type, message.price)
        trade = MarketTrade(
            ts_ns=ts_ns,
            instrument=self._symbol,
            price_ticks=self._steps.price_ticks(message.price),
            size_lots=self._steps.traded_lots(message.size),
            aggressor=-1 if message.is_buyer_maker else 1,
        )
        self._trades.check(message.trade_id)
        self._accept(message.symbol, ts_ns)
        self._trades.take(message.trade_id)
        return [trade]


class TradeIds:
    """Trades are numbered upwards; one that was seen is a repetition."""

    def __init__(self) -> None:
        self._last_id = -1

    def check(self, trade_id: int) -> None:
        """Raises `BadRow` for a number that is not new."""
        if trade_id <= self._last_id:
            raise BadRow(Reason.DUPLICATE, f"trade {trade_id} after {self._last_id}")

    def take(self, trade_id: int) -> None:
        """Remember the number of a good trade."""
        self._last_id = trade_id


def check_order_type(order_type: str | None, price: str) -> None:
    """Raises `BadRow` for what the venue prints among its trades as housekeeping (no order type)."""
    if order_type == "MARKET":
        return
    if not price.strip("0."):
        raise BadRow(Reason.ZERO_PRICE, f"order type {order_type!r}")
    raise BadRow(Reason.NOT_MARKET, f"order type {(order_type or '')[:20]!r}")


class _BybitBook(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="s")
    bids: _Pairs = msgspec.field(name="b")
    asks: _Pairs = msgspec.field(name="a")
    update_id: int = msgspec.field(name="u")


class _BybitMessage(msgspec.Struct, gc=False):
    topic: str
    type: str
    ts: int
    data: _BybitBook


class BybitBookFeed:
    """Lines of Bybit's order-book archive: a snapshot, then deltas whose `u` steps by one."""

    def __init__(self, instrument: Instrument, tally: ImportTally) -> None:
        self.now_ns = 0
        self._symbol = instrument.symbol
        self._steps = Steps(instrument)
        self._tally = tally
        self._order = ReceiveOrder()
        self._chain = DepthChain(instrument.symbol, tally)
        self._decoder = msgspec.json.Decoder(_BybitMessage)

    def parse(self, line: bytes, place: str) -> list[RecordedEvent]:
        """The events of one line; raises `BadRow`."""
        try:
            message = self._decoder.decode(line)
        except _UNDECODABLE as fault:
            raise BadRow(Reason.UNPARSABLE, str(fault)[:80]) from None
        if message.type not in {"snapshot", "delta"}:
            raise BadRow(Reason.UNKNOWN_MESSAGE, message.type[:20])
        self._tally.message(message.type)
        book = message.data
        if book.symbol != self._symbol:
            raise BadRow(Reason.OTHER_SYMBOL, book.symbol[:20])
        ts_ns = time_of(message.ts, unit_ns=NS_PER_MS)
        levels = (*self._steps.levels(book.bids, 1), *self._steps.levels(book.asks, -1))
        self._order.accept(ts_ns)
        self.now_ns = ts_ns
        if message.type == "snapshot":
            return [*self._chain.restart(book.update_id, levels, ts_ns=ts_ns)]
        return [*self._chain.update(Update(book.update_id, book.update_id, None, levels), ts_ns=ts_ns, place=place)]

    def finish(self) -> list[RecordedEvent]:
        """The gap of a book that never had a snapshot."""
        return [*self._chain.finish(self.now_ns)]
