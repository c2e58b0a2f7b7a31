"""Small files of every format, line by line as the venues wrote them."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from agora.domain.events import (
    FeedGap,
    FeedMalformed,
)
from agora.venues.importers import plan_import
from agora.venues.recording import RecordedEvent

T0_MS = 1_700_000_040_000  # a full minute
HOUR_MS = 3_600_000


def events_of(*paths: Path, symbol: str | None = None) -> list[RecordedEvent]:
    """Everything that files give."""
    return list(plan_import(paths, symbol).events())


def faults_of(events: Sequence[RecordedEvent]) -> list[str]:
    """The reasons of dropped rows and gaps in order."""
    return [event.reason.partition(":")[0] for event in events if isinstance(event, FeedMalformed | FeedGap)]


def text_file(folder: Path, name: str, lines: Sequence[str]) -> Path:
    """A plain text file, gzipped when its name says so."""
    path = folder / name
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


CANDLE_HEADER = "timestamp,open,high,low,close,volume"


def candle_rows(count: int, begin: int = 0) -> list[str]:
    """Minutes of slightly moving prices."""
    return [
        f"{T0_MS + 60_000 * n},{100 + n % 3}.1,{103 + n % 3}.0,{99 + n % 3}.0,{101 + n % 3}.2,1.2345"
        for n in range(begin, begin + count)
    ]


def candle_file(folder: Path, rows: Sequence[str], name: str = "BTCUSDT_1m.csv") -> Path:
    """A CSV of candles."""
    return text_file(folder, name, [CANDLE_HEADER, *rows])


T0_NS = 1_723_161_255_000_000_000


class Feed:
    """Lines of a futures (or spot) feed, 1 ms apart, whose update ids follow each other."""

    def __init__(self, *, is_spot: bool = False) -> None:
        self.lines: list[str] = []
        self.is_spot = is_spot
        self.last_id = 100

    def add(self, message: object) -> Feed:
        """Any message."""
        self.lines.append(f"{T0_NS + len(self.lines) * 1_000_000} {json.dumps(message)}")
        return self

    def stream(self, channel: str, data: dict[str, object]) -> Feed:
        """A message of a stream."""
        return self.add({"stream": f"btcusdt@{channel}", "data": {"s": "BTCUSDT", **data}})

    def update(self, price: str = "100.0", size: str = "1.5", *, skip: int = 0) -> Feed:
        """A depth update of one bid, after leaving out `skip` ids."""
        previous, first = self.last_id + skip, self.last_id + skip + 1
        self.last_id = first + 4
        ids: dict[str, object] = {"U": first, "u": self.last_id}
        ids |= {} if self.is_spot else {"pu": previous, "T": 1}
        return self.stream("depth@100ms", {"e": "depthUpdate", **ids, "b": [[price, size]], "a": []})

    def snapshot(self, last_id: int | None = None) -> Feed:
        """A REST snapshot of one level a side."""
        number = self.last_id if last_id is None else last_id
        return self.add({"lastUpdateId": number, "bids": [["99.0", "1"]], "asks": [["101.0", "2"]]})

    def quote(self, bid: str = "100.0", ask: str = "100.1") -> Feed:
        """The best bid and ask."""
        return self.stream("bookTicker", {"u": 1, "b": bid, "B": "1.5", "a": ask, "A": "2", "T": 1})

    def trade(self, number: int, price: str = "100.0", size: str = "0.5", **changed: object) -> Feed:
        """A sell."""
        return self.stream("trade", {"t": number, "p": price, "q": size, "X": "MARKET", "m": True, "T": 1} | changed)

    def file(self, folder: Path) -> Path:
        """All of it."""
        return text_file(folder, "a.wsfeed.gz", self.lines)


TRADE_HEADER = (
    "TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,TradeId,Price,Quantity,"
    "IsBuyerMarketMaker,XUnknownParameter"
)
DEPTH_HEADER = (
    "TimestampOfReceiveUS,TimestampOfReceive,Symbol,FirstUpdateId,FinalUpdateId,FinalUpdateIdInLastStream,"
    "IsAsk,Price,Quantity,TradeId,IsBuyerMarketMaker,XUnknownParameter,LastUpdateId,StreamType,IsLast"
)
T0_ROW_MS = 1_741_046_404_352


def trade_row(number: int, price: str = "0.23103", size: str = "243.0", order_type: str = "MARKET") -> str:
    """A trade of TRX."""
    return f"{T0_ROW_MS + number},trxusdt@trade,trade,1,1,TRXUSDT,{number},{price},{size},0,{order_type}"


def depth_row(stream: str, last_id: int, price: str, **changed: object) -> str:
    """A level of TRX."""
    ms = T0_ROW_MS + last_id
    cells = {
        "us": ms * 1_000,
        "ms": ms,
        "symbol": "TRXUSDT",
        "first": last_id - 4,
        "last": last_id,
        "previous": last_id - 5,
        "ask": 0,
        "price": price,
        "size": "10.0",
        "trade": "",
        "maker": "",
        "type": "",
        "snapshot": "",
        "stream": stream,
        "end": 0,
    }
    return ",".join(str(cell) for cell in (cells | changed).values())


def merged_rows() -> list[str]:
    """The last book of the day before in two rows, then two updates of two rows and a trade between them."""
    trade = depth_row("TRADE_STREAM", 111, "0.23103", trade=5, maker=1, type="MARKET", end=1)
    return [
        depth_row("FINAL_DEPTH_SNAPSHOT", 105, "0.23100"),
        depth_row(
            "FINAL_DEPTH_SNAPSHOT",
            90,
            "0.23110",
            us=(T0_ROW_MS + 105) * 1_000,
            ms=T0_ROW_MS + 105,
            ask=1,
            end=1,
        ),
        depth_row("DIFFERENCE_DEPTH_STREAM", 110, "0.23099"),
        depth_row("DIFFERENCE_DEPTH_STREAM", 110, "0.23098", end=1),
        trade,
        depth_row("DIFFERENCE_DEPTH_STREAM", 115, "0.23097", end=1),
    ]


def bybit_line(kind: str, number: int, bid: str = "1.9531") -> str:
    """A message of the archive."""
    data = {"s": "XRPUSDT", "b": [[bid, "6203"]], "a": [["1.9600", "5"]], "u": number, "seq": 1}
    return json.dumps({"topic": "orderbook.500.XRPUSDT", "type": kind, "ts": 1_733_011_200_000 + number, "data": data})


def zip_file(folder: Path, members: dict[str, str]) -> Path:
    """A zip of texts."""
    path = folder / "ob500.data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path
