"""Turns files of any known format into one stream of events, or into a recording.

Several files of one symbol become one series: candles and funding are merged, tick files follow one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from pathlib import Path

import msgspec

from agora.domain.errors import UsageFault
from agora.domain.events import FeedGap, FeedMalformed, MarketFundingRate
from agora.domain.instruments import Instrument, known_instrument
from agora.venues.import_candles import (
    FITTING_SHARE_MIN,
    Candles,
    Fault,
    FundingRates,
    RawCandles,
    check_order,
    check_values,
    fitting_share,
    interval_s_of,
    merged_candles,
    merged_funding,
    read_candle_arrow,
    read_candle_csv,
    read_funding_arrow,
    read_funding_csv,
)
from agora.venues.import_detect import SYMBOL, Format, Market, Source, source_of
from agora.venues.import_rows import ImportTally, LineFeed, RowParser, TextFile, malformed
from agora.venues.import_tables import BinanceRows, GeminiRows
from agora.venues.import_wsfeed import BinanceFeed, BybitBookFeed
from agora.venues.recording import (
    Origin,
    RecordedEvent,
    Recording,
    RecordingFacts,
    SourceFile,
    write_recording,
)

FILES_MAX = 400  # a file a day for a year; one of each format is open at a time
HASHED_AT_A_TIME_BYTES = 1024**2

# The same symbol has other steps on other markets: tick and lot as decimal text.
MARKET_STEPS: dict[tuple[Market, str], tuple[str, str]] = {
    (Market.SPOT, "BTCUSDT"): ("0.01", "0.00001"),
    (Market.SPOT, "ETHUSDT"): ("0.01", "0.0001"),
    (Market.GEMINI, "ETHUSD"): ("0.01", "0.000001"),
}
_CANDLES = {Format.CANDLES_ARROW, Format.CANDLES_CSV}
_FUNDING = {Format.FUNDING_ARROW, Format.FUNDING_CSV}


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import found: `facts` of the recording, `messages` of the sources per kind, in `samples` the
    first fault per reason; `silence_ns_max` is the longest time without a market event.

    `overlap_rows` agreed between files and were kept once; `funding_outside` rates lie before or after the
    prices; `depth_unusable` updates never had a snapshot; `depth_superseded` ones were older than the book.
    """

    out: str
    symbol: str
    facts: RecordingFacts
    messages: dict[str, int]
    samples: dict[str, str]
    silence_ns_max: int
    overlap_rows: int
    funding_outside: int
    depth_unusable: int
    depth_superseded: int


class Plan:
    """Files that belong together, looked at but not yet read to the end (candles and funding rates are)."""

    def __init__(self, sources: Sequence[Source], symbol: str | None) -> None:
        self.sources = tuple(sources)
        self.tally = ImportTally()
        self._ticks = [source for source in sources if source.format not in _CANDLES | _FUNDING]
        name = _symbol_of(self.sources, symbol)
        raws = [_read_candles(source) for source in sources if source.format in _CANDLES]
        self.instrument = _instrument_of(name, markets={source.market for source in self._ticks}, raws=raws)
        self._candles = self._merged(raws) if raws else None
        self.interval_s = self._candles.interval_s if self._candles else 0
        rates = [_read_funding(source) for source in sources if source.format in _FUNDING]
        self._funding, self._funding_faults = merged_funding(rates, self.instrument, tally=self.tally)
        self._funding = self._funding_within(self._funding) if self._candles else self._funding

    def events(self) -> Iterator[RecordedEvent]:
        """All events in order of time; a candle comes before the funding rate of the same moment.

        May be asked for again: each time the files are read anew.
        """
        self.tally.messages = {}
        self.tally.depth_unusable = self.tally.depth_superseded = 0
        streams: list[Iterable[RecordedEvent]] = []
        if self._candles is not None:
            streams += [self._timed(self._candles.faults), self._candles.events()]
        streams += [self._timed(self._funding_faults), self._funding]
        events = merge(*streams, *self._tick_streams(), key=_time_of)
        return events if self._candles is not None or not self._ticks else self._within_ticks(events)

    def span_ns(self) -> tuple[int, int | None]:
        """The times of the first and last event; the last of tick files is not known before they are read."""
        if self._candles is not None and not self._ticks:
            return self._candles.first_ts_ns, self._candles.last_ts_ns
        first = next(self.events(), None)
        if first is None:
            raise UsageFault(f"{', '.join(source.path.name for source in self.sources)}: no event in it")
        return first.ts_ns, None

    def origin(self) -> Origin:
        """What the recording says of its making; reads every file once for its hash."""
        files = tuple(
            SourceFile(name=source.path.name, sha256=_sha256(source.path), format=source.format.value)
            for source in self.sources
        )
        return Origin(instruments=(self.instrument,), interval_s=self.interval_s, sources=files)

    def _merged(self, raws: list[RawCandles]) -> Candles:
        intervals = {raw.name: raw.interval_s for raw in raws}
        if len(set(intervals.values())) > 1:
            raise UsageFault(f"candles of different lengths (s) do not make one series: {intervals}")
        return merged_candles(raws, self.instrument, interval_s=next(iter(intervals.values())), tally=self.tally)

    def _funding_within(self, rates: list[MarketFundingRate]) -> list[MarketFundingRate]:
        """A rate before the first price or after the last settles nothing and would add years."""
        assert self._candles is not None
        first_ns, last_ns = self._candles.first_ts_ns, self._candles.last_ts_ns
        kept = [rate for rate in rates if first_ns <= rate.ts_ns <= last_ns]
        self.tally.funding_outside = len(rates) - len(kept)
        return kept

    def _within_ticks(self, events: Iterator[RecordedEvent]) -> Iterator[RecordedEvent]:
        """As `_funding_within` for ticks, whose beginning and end are known only when they come."""
        self.tally.funding_outside = 0
        early: list[FeedMalformed] = []
        held: list[RecordedEvent] = []
        is_begun = False
        for event in events:
            if isinstance(event, MarketFundingRate):
                self.tally.funding_outside += not is_begun
                held += [event] if is_begun else []
                continue
            if isinstance(event, FeedMalformed) and not is_begun:
                early.append(event)
                continue
            yield from (msgspec.structs.replace(fault, ts_ns=event.ts_ns) for fault in early)
            yield from held
            early, held, is_begun = [], [], True
            yield event
        self.tally.funding_outside += len(held)

    def _timed(self, faults: list[Fault]) -> list[FeedMalformed]:
        """Dropped rows at their own time, or at the beginning when they have none or it lies outside."""
        first_ns, last_ns = self._span()
        timed = [
            malformed(fault.reason, fault.sample, ts_ns=min(max(fault.ts_ns or first_ns, first_ns), last_ns))
            for fault in faults
        ]
        return sorted(timed, key=_time_of)

    def _span(self) -> tuple[int, int]:
        if self._candles is not None:
            return self._candles.first_ts_ns, self._candles.last_ts_ns
        if self._funding:
            return self._funding[0].ts_ns, self._funding[-1].ts_ns
        return 0, 0

    def _tick_streams(self) -> list[Iterator[RecordedEvent]]:
        """One stream per format; its files follow one another, so that a book goes on in the next."""
        groups: dict[tuple[Format, tuple[str, ...]], list[Source]] = {}
        for source in self._ticks:
            groups.setdefault((source.format, source.columns), []).append(source)
        return [self._stream(group) for group in groups.values()]

    def _stream(self, group: list[Source]) -> Iterator[RecordedEvent]:
        if len(group) > 1:
            group = sorted(group, key=self._begin_ns)
        parser = _parser_of(group[0], self.instrument, tally=self.tally)
        return LineFeed([TextFile(source.path, source.header_line) for source in group], parser).events()

    def _begin_ns(self, source: Source) -> int:
        """The receive time of the first good line."""
        parser = _parser_of(source, self.instrument, tally=ImportTally())
        return LineFeed([TextFile(source.path, source.header_line)], parser).begin_ns()


def _parser_of(source: Source, instrument: Instrument, *, tally: ImportTally) -> RowParser:
    match source.format:
        case Format.BINANCE_FEED:
            return BinanceFeed(instrument, tally)
        case Format.BYBIT_BOOK:
            return BybitBookFeed(instrument, tally)
        case Format.BINANCE_ROWS:
            return BinanceRows(source, instrument, tally=tally)
    assert source.format in {Format.GEMINI_QUOTES, Format.GEMINI_TRADES}, f"no parser for {source.format}"
    return GeminiRows(source, instrument, tally=tally)


def _time_of(event: RecordedEvent) -> int:
    return event.ts_ns


def plan_import(paths: Sequence[Path], symbol: str | None = None) -> Plan:
    """Look into files of one symbol; raises `UsageFault` for what is unknown, missing or does not belong.

    `symbol` overrides what names of files say, never what their content says.
    """
    if not 0 < len(paths) <= FILES_MAX:
        raise UsageFault(f"an import takes 1 to {FILES_MAX} files, not {len(paths)}")
    sources = [source_of(path) for path in dict.fromkeys(paths)]
    for source in sources:
        if source.market is Market.INVERSE:
            raise UsageFault(
                f"{source.path}: {source.symbol} is an inverse contract (sizes in contracts of fixed dollar "
                "value, profit in the coin); Agora's money is linear in the price and would be wrong"
            )
        if source.format is Format.RECORDING:
            raise UsageFault(f"{source.path}: already a recording; merge the files it was made of instead")
    return Plan(sources, symbol)


def import_files(paths: Sequence[Path], *, symbol: str | None = None, out: Path) -> ImportReport:
    """Make one recording of files of one symbol; raises `UsageFault`.

    What is malformed is dropped, named in the report and kept in the recording as a fault.
    """
    plan = plan_import(paths, symbol)
    if out.is_dir() or (out.exists() and any(path.samefile(out) for path in paths)):
        raise UsageFault(f"{out}: a folder, or one of the files to import")
    samples: dict[str, str] = {}
    silence = _Silence()
    events = silence.watch(_sampled(plan.events(), samples))
    try:
        facts = write_recording(out, events, origin=plan.origin())
    except OSError as fault:
        raise UsageFault(f"{out}: cannot be written: {fault}") from None
    tally = plan.tally
    return ImportReport(
        out=str(out),
        symbol=plan.instrument.symbol,
        facts=facts,
        messages=tally.messages,
        samples=samples,
        silence_ns_max=silence.longest_ns,
        overlap_rows=tally.overlap_rows,
        funding_outside=tally.funding_outside,
        depth_unusable=tally.depth_unusable,
        depth_superseded=tally.depth_superseded,
    )


def show_recording(path: Path) -> RecordingFacts:
    """What a recording says of itself; raises `UsageFault` when it is none."""
    if not path.is_file():
        raise UsageFault(f"{path}: no such file")
    return Recording(path).facts


def _sampled(events: Iterable[RecordedEvent], samples: dict[str, str]) -> Iterator[RecordedEvent]:
    """Keep the first sample of each kind of fault."""
    for event in events:
        if isinstance(event, FeedMalformed):
            samples.setdefault(event.reason, event.sample)
        elif isinstance(event, FeedGap):
            samples.setdefault(event.reason.partition(":")[0], event.reason)
        yield event


class _Silence:
    """The longest time between two market events."""

    def __init__(self) -> None:
        self.longest_ns = 0

    def watch(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        last_ns = None
        for event in events:
            if not isinstance(event, FeedMalformed | FeedGap):
                self.longest_ns = max(self.longest_ns, event.ts_ns - (last_ns or event.ts_ns))
                last_ns = event.ts_ns
            yield event


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASHED_AT_A_TIME_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# What the files are of.


def _symbol_of(sources: Sequence[Source], symbol: str | None) -> str:
    if symbol is not None and not SYMBOL.fullmatch(symbol):
        raise UsageFault(f"not a symbol: {symbol[:40]!r} (2 to 24 capital letters, digits or _)")
    said = {source.symbol: source.path.name for source in sources if source.symbol and source.is_symbol_certain}
    found = said or {source.symbol: source.path.name for source in sources if source.symbol}
    if symbol is not None:
        found = {symbol: "as told"} | said
    if not found:
        raise UsageFault(f"{sources[0].path}: neither the file nor its name says of which symbol it is: say --symbol")
    if len(found) > 1:
        raise UsageFault(f"files of different symbols do not make one recording: {found}")
    return next(iter(found))


def _instrument_of(symbol: str, *, markets: set[Market], raws: list[RawCandles]) -> Instrument:
    """The instrument whose steps the files have; raises `UsageFault`."""
    try:
        linear = known_instrument(symbol)
    except KeyError as fault:
        raise UsageFault(str(fault.args[0])) from None
    if len(markets) > 1:
        raise UsageFault(f"tick files of different markets do not make one recording: {', '.join(sorted(markets))}")
    markets_tried = list(markets) or [Market.LINEAR, Market.SPOT]
    tried = [_with_steps(linear, market) for market in markets_tried]
    for instrument in tried:
        if all(fitting_share(raw, instrument) >= FITTING_SHARE_MIN for raw in raws):
            return instrument
    ticks = " or ".join(dict.fromkeys(instrument.tick_size for instrument in tried))
    names = ", ".join(raw.name for raw in raws)
    raise UsageFault(f"{names}: prices are not multiples of {symbol}'s tick {ticks}: another symbol or market?")


def _with_steps(instrument: Instrument, market: Market) -> Instrument:
    tick_size, lot_size = MARKET_STEPS.get((market, instrument.symbol), (instrument.tick_size, instrument.lot_size))
    return msgspec.structs.replace(instrument, tick_size=tick_size, lot_size=lot_size)


def _read_candles(source: Source) -> RawCandles:
    if source.format is Format.CANDLES_ARROW:
        raw = read_candle_arrow(source.path)
    else:
        raw = read_candle_csv(source.path, header_line=source.header_line, columns=source.columns)
    check_order(raw)
    raw.interval_s = interval_s_of(raw)  # before rows with bad values go: they stand at good times
    check_values(raw)
    if len(raw.rows) == 0:
        first = f"; the first fault: {raw.faults[0].reason} ({raw.faults[0].sample})" if raw.faults else ""
        raise UsageFault(f"{source.path}: no good candle{first}")
    return raw


def _read_funding(source: Source) -> FundingRates:
    if source.format is Format.FUNDING_ARROW:
        return read_funding_arrow(source.path)
    return read_funding_csv(source.path, header_line=source.header_line, columns=source.columns)
