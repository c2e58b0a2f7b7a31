"""Tick recordings kept as CSV: Binance depth and trades (a row per level), Gemini quotes and trades."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agora.domain.events import MarketQuote, MarketTrade
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.venues.import_depth import DepthChain, Update
from agora.venues.import_detect import MERGED_COLUMNS, TRADE_COLUMNS, Format, Source
from agora.venues.import_rows import (
    BadRow,
    ImportTally,
    ReceiveOrder,
    Steps,
    decimal_of,
    integer_of,
    malformed,
    time_of,
)
from agora.venues.import_wsfeed import TradeIds, check_order_type
from agora.venues.recording import RecordedEvent
from agora.venues.screen import Reason

NS_PER_US = 1_000
CELLS_BYTES_MAX = 4_096  # a row is 300 bytes; a megabyte of commas would be split into a million cells
MESSAGE_LEVELS_MAX = 100_000  # rows of one depth message; the largest known has 5,521

TRADES = "TRADE_STREAM"
UPDATES = "DIFFERENCE_DEPTH_STREAM"
LAST_BOOK = "FINAL_DEPTH_SNAPSHOT"  # the book at the end of the day before, each level with the ids that set it
SNAPSHOT = "DEPTH_SNAPSHOT"


class _Cells:
    """The cells of a CSV line by the names of the header."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns

    def split(self, line: bytes) -> dict[str, str]:
        """The cells of a line; raises `BadRow` when their number is not that of the header."""
        if len(line) > CELLS_BYTES_MAX:
            raise BadRow(Reason.TOO_LONG)
        try:
            cells = line.decode("ascii").split(",")
        except UnicodeDecodeError:
            raise BadRow(Reason.UNPARSABLE, "not ASCII") from None
        if len(cells) != len(self.columns):
            raise BadRow(Reason.UNPARSABLE, f"{len(cells)} cells, not {len(self.columns)}")
        return dict(zip(self.columns, cells, strict=True))


class _Message(msgspec.Struct):
    """The rows of one depth message while they come in; a bad row spoils the message."""

    key: tuple[str, str]
    ts_ns: int
    place: str
    first_id: int
    last_id: int
    previous_id: int | None
    levels: list[tuple[int, int, int]] = []
    is_bad: bool = False
    is_ended: bool = False


class BinanceRows:
    """Depth and trades of the USD-margined futures venue, a row per changed level and a row per trade."""

    def __init__(self, source: Source, instrument: Instrument, *, tally: ImportTally) -> None:
        self.now_ns = 0
        self._symbol = instrument.symbol
        self._cells = _Cells(source.columns)
        self._is_merged = set(source.columns) >= MERGED_COLUMNS
        self._stream = TRADES if set(source.columns) >= TRADE_COLUMNS else UPDATES
        self._steps = Steps(instrument)
        self._tally = tally
        self._order = ReceiveOrder()
        self._trades = TradeIds()
        self._chain = DepthChain(instrument.symbol, tally)
        self._message: _Message | None = None

    def parse(self, line: bytes, place: str) -> list[RecordedEvent]:
        """The events that a row completes: of the message before it, and a trade. Raises `BadRow`."""
        row = self._cells.split(line)
        stream = row["streamtype"] if self._is_merged else self._stream
        if stream == TRADES:
            return [*self._complete(), *self._traded(row, place)]
        if stream not in {UPDATES, LAST_BOOK, SNAPSHOT}:
            raise BadRow(Reason.UNKNOWN_MESSAGE, stream[:30])
        # A snapshot is told by its kind alone: its levels carry the ids that last set them.
        key = (stream, row["finalupdateid"] if stream == UPDATES else "")
        completed = [] if self._message and self._message.key == key else self._complete()
        return [*completed, *self._added(row, key, place=place)]

    def finish(self) -> list[RecordedEvent]:
        """The last message, and the gap of a book that never had a snapshot."""
        return [*self._complete(), *self._chain.finish(self.now_ns)]

    def _received_ns(self, row: dict[str, str]) -> int:
        milliseconds = integer_of(row["timestampofreceive"])
        if not self._is_merged:
            return time_of(milliseconds, unit_ns=NS_PER_MS)
        microseconds = integer_of(row["timestampofreceiveus"])
        # The merge moved requested snapshots to where they belong; all else keeps its time in both columns.
        if row["streamtype"] != SNAPSHOT and microseconds // 1_000 != milliseconds:
            raise BadRow(Reason.TIME_MISMATCH, f"received at {microseconds} us and at {milliseconds} ms")
        return time_of(microseconds, unit_ns=NS_PER_US)

    def _accept(self, row: dict[str, str]) -> int:
        if row["symbol"] != self._symbol:
            raise BadRow(Reason.OTHER_SYMBOL, row["symbol"][:20])
        ts_ns = self._received_ns(row)
        self._order.accept(ts_ns)
        self.now_ns = ts_ns
        return ts_ns

    def _traded(self, row: dict[str, str], place: str) -> list[RecordedEvent]:
        """The trade, or why it was dropped: as a value, so that the message before it is not lost with it."""
        try:
            return [self._trade(row)]
        except BadRow as bad:
            return self._dropped(bad, row, place=place)

    def _dropped(self, bad: BadRow, row: dict[str, str], *, place: str) -> list[RecordedEvent]:
        if not self.now_ns:
            raise bad
        return [malformed(bad.reason, f"{place}: {bad.detail}: {','.join(row.values())}", ts_ns=self.now_ns)]

    def _trade(self, row: dict[str, str]) -> MarketTrade:
        self._tally.message("trade")
        check_order_type(row.get("xunknownparameter", "MARKET"), row["price"])
        price_ticks, size_lots = (
            self._steps.price_ticks(row["price"]),
            self._steps.traded_lots(row["quantity"]),
        )
        trade_id = integer_of(row["tradeid"])
        self._trades.check(trade_id)
        is_buyer_maker = _flag(row["isbuyermarketmaker"])
        ts_ns = self._accept(row)
        self._trades.take(trade_id)
        return MarketTrade(
            ts_ns=ts_ns,
            instrument=self._symbol,
            price_ticks=price_ticks,
            size_lots=size_lots,
            aggressor=-1 if is_buyer_maker else 1,
        )

    def _added(self, row: dict[str, str], key: tuple[str, str], *, place: str) -> list[RecordedEvent]:
        """Take a row into its message; why it could not be, if it could not."""
        if self._message is None:
            self._message = _Message(key, 0, place, 0, 0, None)
        message = self._message
        try:
            self._add(row, message)
        except BadRow as bad:
            message.is_bad = True
            return self._dropped(bad, row, place=place)
        finally:
            message.is_ended = row.get("islast") == "1"
        return []

    def _add(self, row: dict[str, str], message: _Message) -> None:
        if message.is_ended:
            raise BadRow(Reason.PREMATURE_END, "the message goes on after its last row")
        if len(message.levels) >= MESSAGE_LEVELS_MAX:
            raise BadRow(Reason.TOO_LONG, f"more than {MESSAGE_LEVELS_MAX} levels")
        self._take_ids(message, row)
        side = -1 if _flag(row["isask"]) else 1
        level = (side, self._steps.price_ticks(row["price"]), self._steps.size_lots(row["quantity"]))
        message.ts_ns = self._accept(row)
        message.levels.append(level)

    def _take_ids(self, message: _Message, row: dict[str, str]) -> None:
        if message.key[0] == SNAPSHOT:
            message.last_id = integer_of(row["lastupdateid"])
            return
        message.last_id = max(message.last_id, integer_of(row["finalupdateid"]))
        message.first_id = integer_of(row["firstupdateid"])
        message.previous_id = integer_of(row["finalupdateidinlaststream"])

    def _complete(self) -> list[RecordedEvent]:
        message, self._message = self._message, None
        if message is None:
            return []
        stream = message.key[0]
        self._tally.message("depthUpdate" if stream == UPDATES else "snapshot")
        if message.is_bad:
            return []
        levels, ts_ns, place = tuple(message.levels), message.ts_ns, message.place
        update = Update(message.first_id, message.last_id, message.previous_id, levels)
        try:
            if stream == UPDATES:
                return [*self._chain.update(update, ts_ns=ts_ns, place=place)]
            return [*self._chain.snapshot(message.last_id, levels, ts_ns=ts_ns)]
        except BadRow as bad:
            return [malformed(bad.reason, f"{place}: {bad.detail}", ts_ns=ts_ns)]


def _flag(text: str) -> bool:
    if text not in {"0", "1"}:
        raise BadRow(Reason.UNPARSABLE, f"neither 0 nor 1: {text[:20]!r}")
    return text == "1"


class GeminiRows:
    """Quotes (price_size joined by an underscore) or trades of one day; times are Unix seconds."""

    def __init__(self, source: Source, instrument: Instrument, *, tally: ImportTally) -> None:
        self.now_ns = 0
        self._symbol = instrument.symbol
        self._cells = _Cells(source.columns)
        self._steps = Steps(instrument)
        self._tally = tally
        self._order = ReceiveOrder()
        is_quotes = source.format is Format.GEMINI_QUOTES
        self._event: Callable[[dict[str, str], int], RecordedEvent] = self._quote if is_quotes else self._trade

    def parse(self, line: bytes, place: str) -> list[RecordedEvent]:  # noqa: ARG002 - of the protocol
        """The event of a row; raises `BadRow`."""
        row = self._cells.split(line)
        ts_ns = time_of(int(decimal_of(row["time_seconds"]) * NS_PER_S), unit_ns=1)
        event = self._event(row, ts_ns)
        self._order.accept(ts_ns)
        self.now_ns = ts_ns
        return [event]

    def finish(self) -> list[RecordedEvent]:
        """Nothing is pending."""
        return []

    def _quote(self, row: dict[str, str], ts_ns: int) -> MarketQuote:
        self._tally.message("quote")
        bid, _, bid_size = row["bid_price_bid_size"].partition("_")
        ask, _, ask_size = row["ask_price_ask_size"].partition("_")
        return MarketQuote(
            ts_ns=ts_ns,
            instrument=self._symbol,
            bid_ticks=self._steps.price_ticks(bid),
            bid_lots=self._steps.size_lots(bid_size),
            ask_ticks=self._steps.price_ticks(ask),
            ask_lots=self._steps.size_lots(ask_size),
        )

    def _trade(self, row: dict[str, str], ts_ns: int) -> MarketTrade:
        self._tally.message("trade")
        return MarketTrade(
            ts_ns=ts_ns,
            instrument=self._symbol,
            price_ticks=self._steps.price_ticks(row["price"]),
            size_lots=self._steps.traded_lots(row["size"]),
            aggressor=-1 if _flag(row["is_buyer_maker"]) else 1,
        )
