"""What a file is, told from its content: the formats of recordings that Agora reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path

import msgspec

from agora.domain.errors import UsageFault
from agora.domain.instruments import KNOWN_INSTRUMENTS
from agora.venues.import_arrow import read_arrow
from agora.venues.import_candles import PRICE_COLUMNS, TIME_COLUMNS
from agora.venues.import_rows import FILE_BYTES_MAX, BadRow, lines_of
from agora.venues.recording import is_sealed

LOOKED_AT_LINES = 400  # the longest known header has 144 lines of comments
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # spreadsheets begin a CSV with it
SYMBOL = re.compile(r"[A-Z0-9_]{2,24}", re.ASCII)


class Format(StrEnum):
    """A known format; `FORMAT_MEANINGS` describes each."""

    RECORDING = "recording"
    CANDLES_ARROW = "candles-feather"
    CANDLES_CSV = "candles-csv"
    FUNDING_ARROW = "funding-feather"
    FUNDING_CSV = "funding-csv"
    BINANCE_FEED = "binance-wsfeed"
    BINANCE_ROWS = "binance-csv"
    GEMINI_QUOTES = "gemini-bbo-csv"
    GEMINI_TRADES = "gemini-trades-csv"
    BYBIT_BOOK = "bybit-ob"


FORMAT_MEANINGS: dict[Format, str] = {
    Format.RECORDING: "Agora's own recording (Parquet)",
    Format.CANDLES_ARROW: "candles in a feather file: date, open, high, low, close, volume",
    Format.CANDLES_CSV: "candles in a CSV: a time column, open, high, low, close, volume",
    Format.FUNDING_ARROW: "funding rates in a feather file: the rate in `open`, the other columns 0",
    Format.FUNDING_CSV: "funding rates in a CSV: Symbol, Date (UTC+3), Funding Rate",
    Format.BINANCE_FEED: "Binance messages, each after its receive time in ns (*.wsfeed.gz)",
    Format.BINANCE_ROWS: "Binance depth, trades or both in a CSV: TimestampOfReceive, Stream, EventType, ...",
    Format.GEMINI_QUOTES: "best bid and ask in a CSV: time_seconds, bid_price_bid_size, ask_price_ask_size",
    Format.GEMINI_TRADES: "trades in a CSV: time_seconds, price, size, is_buyer_maker",
    Format.BYBIT_BOOK: "Bybit order-book archive: snapshot and deltas, one JSON per line (*ob500.data.zip)",
}


class Market(StrEnum):
    """Which market a file is of: the steps of prices differ. A file that does not say is of a linear one."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"
    GEMINI = "gemini"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file and what it was found to be.

    `symbol` is empty when nothing says it, and certain when the content does, not only the file's name.
    """

    path: Path
    format: Format
    symbol: str = ""
    is_symbol_certain: bool = False
    market: Market = Market.LINEAR
    header_line: int = 0
    columns: tuple[str, ...] = ()


def source_of(path: Path) -> Source:
    """Look into a file; raises `UsageFault` when it is missing, too large, or of no known format."""
    if not path.is_file():
        raise UsageFault(f"{path}: no such file")
    if path.stat().st_size > FILE_BYTES_MAX:
        raise UsageFault(f"{path}: larger than {FILE_BYTES_MAX} bytes; import it in parts")
    try:
        with path.open("rb") as file:
            magic = file.read(6)
    except OSError as fault:
        raise UsageFault(f"{path}: cannot be read: {fault.strerror}") from None
    if magic[:4] == b"PAR1":
        return _parquet_source(path)
    if magic == b"ARROW1":
        return _arrow_source(path)
    return _text_source(path)


def _unknown(path: Path, found: str) -> UsageFault:
    known = "; ".join(f"{name}: {meaning}" for name, meaning in FORMAT_MEANINGS.items())
    return UsageFault(f"{path}: unknown format ({found}). Known formats: {known}")


def _parquet_source(path: Path) -> Source:
    if not is_sealed(path):
        raise _unknown(path, "Parquet, but not a recording of Agora")
    return Source(path=path, format=Format.RECORDING)


def _arrow_source(path: Path) -> Source:
    table = read_arrow(path, times=TIME_COLUMNS, numbers=(*PRICE_COLUMNS, "volume"))
    if table.times is None or len(table.numbers) < len(PRICE_COLUMNS) + 1:
        raise _unknown(path, f"feather with the columns {', '.join(sorted(table.names))[:200]}")
    others = [table.numbers[name] for name in ("high", "low", "close")]
    is_funding = not any(prices.any() for prices in others)
    found = Format.FUNDING_ARROW if is_funding else Format.CANDLES_ARROW
    return Source(path=path, format=found, symbol=_symbol_in_name(path))


def _text_source(path: Path) -> Source:
    header: Source | None = None
    for number, line in enumerate(_first_lines(path), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        if header is not None:
            return _with_symbol(header, line)
        header = _header_source(path, line, number=number)
        message = None if header else _message_source(path, line)
        if message is not None:
            return message
    if header is not None:
        return header
    raise _unknown(path, "no known header and no known message in its first lines")


def _with_symbol(source: Source, line: bytes) -> Source:
    """The source with the symbol that its first row says, if it has such a column (BTC-USDT: BTCUSDT)."""
    cells = line[:4_096].decode("ascii", "replace").split(",")
    if "symbol" not in source.columns or len(cells) != len(source.columns):
        return source
    symbol = re.sub(r"[-/]", "", cells[source.columns.index("symbol")].strip().upper())
    if not SYMBOL.fullmatch(symbol):
        return source
    return msgspec.structs.replace(source, symbol=symbol, is_symbol_certain=True)


def _first_lines(path: Path) -> Iterator[bytes]:
    lines = lines_of(path)
    try:
        yield from islice(lines, LOOKED_AT_LINES)
    except BadRow:
        return


# What a table of Binance must have for its trades, for its depth, and when both are merged.
TRADE_COLUMNS = frozenset({"timestampofreceive", "symbol", "tradeid", "price", "quantity", "isbuyermarketmaker"})
DEPTH_COLUMNS = frozenset({"timestampofreceive", "symbol", "isask", "price", "quantity"}) | {
    "firstupdateid",
    "finalupdateid",
    "finalupdateidinlaststream",
}
MERGED_COLUMNS = TRADE_COLUMNS | DEPTH_COLUMNS | {"timestampofreceiveus", "lastupdateid", "streamtype"}

_HEADERS: tuple[tuple[Format, frozenset[str]], ...] = (
    (Format.BINANCE_ROWS, TRADE_COLUMNS),
    (Format.BINANCE_ROWS, DEPTH_COLUMNS),
    (Format.GEMINI_QUOTES, frozenset({"time_seconds", "bid_price_bid_size", "ask_price_ask_size"})),
    (Format.GEMINI_TRADES, frozenset({"time_seconds", "price", "size", "is_buyer_maker"})),
    (Format.FUNDING_CSV, frozenset({"symbol", "date", "funding rate"})),
    (Format.CANDLES_CSV, frozenset({"open", "high", "low", "close", "volume"})),
)


def _header_source(path: Path, line: bytes, *, number: int) -> Source | None:
    text = line[:4_096].removeprefix(BYTE_ORDER_MARK).decode("ascii", "replace")
    columns = tuple(cell.strip().lower() for cell in text.split(","))
    for found, needed in _HEADERS:
        if not needed <= set(columns) or len(set(columns)) < len(columns):
            continue
        if found is Format.CANDLES_CSV and not set(columns) & set(TIME_COLUMNS):
            continue
        is_gemini = found in {Format.GEMINI_QUOTES, Format.GEMINI_TRADES}
        market = Market.GEMINI if is_gemini else Market.LINEAR
        return Source(
            path=path,
            format=found,
            symbol=_symbol_in_name(path),
            market=market,
            header_line=number,
            columns=columns,
        )
    return None


class _Facts(msgspec.Struct, gc=False):
    """What tells the venues apart: only futures say the transaction time, only inverse ones the pair."""

    symbol: str = msgspec.field(default="", name="s")
    pair: str = msgspec.field(default="", name="ps")
    is_spot_trade: bool | None = msgspec.field(default=None, name="M")
    previous_id: int | None = msgspec.field(default=None, name="pu")
    transaction_ms: int | None = msgspec.field(default=None, name="T")


class _Message(msgspec.Struct, gc=False):
    data: _Facts
    stream: str = ""
    topic: str = ""


def _message_source(path: Path, line: bytes) -> Source | None:
    head, _, body = line.partition(b" ")
    is_stamped = head.isdigit() and len(head) == 19
    try:
        message = msgspec.json.decode(body if is_stamped else line, type=_Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    symbol = message.data.symbol if SYMBOL.fullmatch(message.data.symbol) else ""
    if not is_stamped:
        is_book = message.topic.startswith("orderbook.")
        found = Source(path=path, format=Format.BYBIT_BOOK, symbol=symbol, is_symbol_certain=True)
        return found if is_book and symbol else None
    if not message.stream or not symbol:
        return None
    market = _market_of(message.data)
    return Source(path=path, format=Format.BINANCE_FEED, symbol=symbol, is_symbol_certain=True, market=market)


def _market_of(facts: _Facts) -> Market:
    if facts.pair:
        return Market.INVERSE
    is_spot = facts.is_spot_trade is not None or (facts.previous_id is None and facts.transaction_ms is None)
    return Market.SPOT if is_spot else Market.LINEAR


def _symbol_in_name(path: Path) -> str:
    """The known symbol in the file's name, as in `ETHUSDT_1m` or `ETH-USDT`, but not in `METHUSDT`."""
    for symbol, facts in KNOWN_INSTRUMENTS.items():
        if re.search(rf"(?<![A-Z]){facts['base']}[-_]?{facts['quote']}(?![A-Z])", path.name.upper()):
            return symbol
    return ""
