"""The rows of metrics.csv and their copy metrics.json: one for each second of the run's clock with an event.

Knows the columns and the file; the collector decides when a row is due.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from agora.domain.events import Heartbeat
from agora.domain.numbers import NS_PER_MS, NS_PER_S, money_text
from agora.engine.desk import Desk

CSV_NAME = "metrics.csv"
JSON_NAME = "metrics.json"

# Someone who follows the file of a running run sees it at most this far behind.
FLUSH_EVERY_NS = NS_PER_S
# A run at full speed makes a hundred thousand rows a second of wall time; written in pieces of this size.
BUFFER_ROWS_MAX = 512

MONEY_COLUMNS = ("equity", "cash", "unrealised")
HEALTH_COLUMNS = ("queue_depth", "loop_lag_ms", "rss_mb", "cpu_fraction", "disk_free_mb")
# The columns that are numbers in metrics.json; the others are decimal text, exact.
NUMBER_COLUMNS = ("feed_age_ms", *HEALTH_COLUMNS)


class RowSink(Protocol):
    """Where the rows of a run go."""

    def begin(self, columns: Sequence[str]) -> None:
        """Once, before the first row."""
        ...

    def add(self, row: Sequence[str], *, wall_ns: int) -> None:
        """The next row; `wall_ns` is the machine's time as the journal has it. Must not raise `OSError`."""
        ...

    def close(self) -> None:
        """No more rows will come."""
        ...


def columns(symbols: Sequence[str]) -> tuple[str, ...]:
    """The columns of a run on these symbols."""
    positions = (f"position_{symbol}" for symbol in symbols)
    prices = (f"price_{symbol}" for symbol in symbols)
    return ("ts", *MONEY_COLUMNS, *positions, *prices, *NUMBER_COLUMNS)


def row_of(desk: Desk, health: Heartbeat | None, *, ts_ns: int, equity_units: int) -> tuple[str, ...]:
    """The run at `ts_ns`: money, signed positions and marks as decimal text; unknown cells are empty."""
    state, instruments = desk.state, desk.rules.instruments
    cash_units = state.ledger.cash
    positions, prices = [], []
    for symbol in sorted(instruments):
        holding, market = state.holdings.get(symbol), state.markets.get(symbol)
        mark_ticks = market.mark_ticks if market else 0
        size_lots = holding.position.size_lots if holding else 0
        positions.append(instruments[symbol].size_text(size_lots) if size_lots else "0")
        prices.append(instruments[symbol].price_text(mark_ticks) if mark_ticks else "")
    return (
        utc_text(ts_ns),
        money_text(equity_units),
        money_text(cash_units),
        money_text(equity_units - cash_units),
        *positions,
        *prices,
        str((ts_ns - state.feed_seen_ns) // NS_PER_MS) if state.counters.market_events else "",
        *_health_cells(health),
    )


def _health_cells(health: Heartbeat | None) -> tuple[str, ...]:
    if health is None:
        return ("",) * len(HEALTH_COLUMNS)
    return (
        str(health.queue_depth),
        f"{health.loop_lag_ms}",
        f"{health.rss_mb}",
        f"{health.cpu_fraction}",
        f"{health.disk_free_mb}",
    )


def utc_text(ts_ns: int) -> str:
    """ISO time with milliseconds (rounded down) and the letter Z."""
    whole_ms = ts_ns // NS_PER_MS
    moment = datetime.fromtimestamp(whole_ms // 1000, UTC)
    return f"{moment.isoformat()[:19]}.{whole_ms % 1000:03d}Z"


class MetricsFile:
    """metrics.csv of a run folder (port `RowSink`), begun anew, readable by its owner only.

    A disk that refuses is remembered in `fault` and written to no more: metrics are not worth a run.
    """

    def __init__(self, path: Path) -> None:
        self.fault: OSError | None = None
        self._lines: list[str] = []
        self._flushed_wall_ns = 0
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.fchmod(self._descriptor, 0o600)
        except OSError as fault:
            self._give_up(fault)

    def begin(self, columns: Sequence[str]) -> None:
        """The header line."""
        self._lines.append(_csv_line(columns))
        self._flush()

    def add(self, row: Sequence[str], *, wall_ns: int) -> None:
        """The next row; written when a second of wall time has passed or enough rows wait."""
        if self.fault is not None:
            return
        # Cells are numbers and times of our own making: nothing in them needs quoting.
        self._lines.append(",".join(row) + "\n")
        if wall_ns - self._flushed_wall_ns >= FLUSH_EVERY_NS or len(self._lines) >= BUFFER_ROWS_MAX:
            self._flushed_wall_ns = wall_ns
            self._flush()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self._flush()
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.close(descriptor)
        except OSError as fault:
            self.fault = self.fault or fault

    def _flush(self) -> None:
        if self.fault is not None:
            return
        rest = memoryview("".join(self._lines).encode())
        self._lines.clear()
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as fault:
            self._give_up(fault)

    def _give_up(self, fault: OSError) -> None:
        self.fault = fault
        self._lines.clear()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):  # the first fault is the one that is told
                os.close(descriptor)


def _csv_line(cells: Sequence[str]) -> str:
    """A line with quotes where a cell (the symbol in a column's name) needs them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def json_pieces(csv_path: Path) -> Iterator[bytes]:
    """metrics.json from metrics.csv, line by line: `{"columns":[…],"rows":[[…],…]}`, empty cells as null.

    A line that a full disk cut off is left out; no file gives no columns and no rows. Raises `OSError`.
    """
    if not csv_path.exists():
        yield b'{"columns":[],"rows":[]}\n'
        return
    with csv_path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        yield b'{"columns":' + _json(names) + b',"rows":['
        separator = b"\n"
        for row in rows:
            if len(row) == len(names):
                yield separator + _json([_json_cell(name, cell) for name, cell in zip(names, row, strict=True)])
                separator = b",\n"
    yield b"\n]}\n"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _json_cell(name: str, cell: str) -> str | float | None:
    if not cell:
        return None
    if name not in NUMBER_COLUMNS:
        return cell
    return float(cell) if "." in cell or "e" in cell else int(cell)
