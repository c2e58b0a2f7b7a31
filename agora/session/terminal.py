"""What a person sees while a run goes on: one live line on a terminal, plain lines elsewhere, JSON where asked."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from agora.domain.events import (
    BreakerTripped,
    ErrorSeen,
    Event,
    FeedConnected,
    FeedEnded,
    FeedGap,
    FeedLost,
    FeedMalformed,
    FeedOverflow,
    FeedStale,
    Funding,
    MarketQuote,
    MarketTrade,
    OperatorCommand,
    OrderFilled,
    OrderRefused,
    OrderRejected,
    RunEnded,
    RunResumed,
    RunStarted,
    Warned,
    kind_of,
)
from agora.domain.numbers import NS_PER_S, money_text
from agora.engine.desk import Desk
from agora.engine.ports import Effect
from agora.engine.state import NEVER_NS

LOGGER = logging.getLogger("agora.run")
# Four files of 5 MB: weeks of an ordinary run, nothing to a disk.
LOG_BYTES_MAX = 5_000_000
LOG_FILES_KEPT = 3
ERASE_LINE = "\r\x1b[2K"
_LEVELS: dict[type[Event], int] = {
    RunStarted: logging.INFO,
    RunResumed: logging.INFO,
    RunEnded: logging.INFO,
    FeedConnected: logging.INFO,
    FeedEnded: logging.INFO,
    FeedLost: logging.WARNING,
    FeedGap: logging.WARNING,
    FeedOverflow: logging.WARNING,
    FeedMalformed: logging.WARNING,
    FeedStale: logging.WARNING,
    OperatorCommand: logging.WARNING,
    OrderFilled: logging.INFO,
    OrderRejected: logging.WARNING,
    OrderRefused: logging.INFO,
    Funding: logging.INFO,
    BreakerTripped: logging.ERROR,
    Warned: logging.WARNING,
    ErrorSeen: logging.ERROR,
}


class JsonLines(logging.Formatter):
    """Every log line one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields."""
        line = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        fields = getattr(record, "fields", None)
        if fields:
            line |= {"event": fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode({"ts": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"), **line}).decode()


def open_log_file(folder: Path, *, is_json: bool) -> logging.Handler:
    """`run.log` of a run, rotated within a fixed budget."""
    handler = RotatingFileHandler(
        folder / "run.log", maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8"
    )
    (folder / "run.log").chmod(0o600)
    handler.setFormatter(JsonLines() if is_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


class LogTeller:
    """Writes what matters of each step to the log (an `Observer`)."""

    def after_step(
        self, desk: Desk, event: Event, *, wall_ns: int, done_wall_ns: int | None, effects: list[Effect]
    ) -> None:
        """Log the event and the decisions that are worth a line."""
        del desk, wall_ns, done_wall_ns
        if type(event) in (MarketQuote, MarketTrade) and not effects:
            return
        _log(event)
        for effect in effects:
            if type(effect) in _LEVELS:
                _log(effect)  # type: ignore[arg-type]


def _log(event: Event) -> None:
    level = _LEVELS.get(type(event))
    if level is None:
        return
    fields = msgspec.to_builtins(event)
    words = " ".join(
        f"{name}={value}" for name, value in fields.items() if name not in ("kind", "ts_ns", "instruments")
    )
    LOGGER.log(level, "%s %s", kind_of(event), words, extra={"fields": fields})


class Progress:
    """The line of the run, once a second: elapsed, remaining, equity, position, price, feed age (an `Observer`)."""

    def __init__(self, *, monotonic_ns: Callable[[], int], is_quiet: bool, is_json: bool) -> None:
        self._monotonic_ns = monotonic_ns
        self._is_json = is_json
        self._next_ns = 0
        self._events_seen = 0
        self._is_live = sys.stderr.isatty() and not is_quiet and not is_json
        self._is_silent = is_quiet

    def after_step(
        self, desk: Desk, event: Event, *, wall_ns: int, done_wall_ns: int | None, effects: list[Effect]
    ) -> None:
        """Show the line when a second of real time has passed."""
        del event, wall_ns, done_wall_ns, effects
        self._events_seen += 1
        # At full speed the clock is not worth reading for each event.
        if self._events_seen % 16 and desk.state.counters.market_events > 1_000_000:
            return
        now = self._monotonic_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + NS_PER_S
        if not self._is_silent:
            self._show(desk)

    def _show(self, desk: Desk) -> None:
        facts = progress_facts(desk)
        if self._is_json:
            sys.stderr.write(msgspec.json.encode({"progress": facts}).decode() + "\n")
        elif self._is_live:
            # One line is written over itself; Rich would do no more here and take 2 MB of every run.
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(ERASE_LINE + progress_text(facts)[:width])
            sys.stderr.flush()
        else:
            sys.stderr.write(progress_text(facts) + "\n")

    def close(self) -> None:
        """Give the terminal back."""
        if self._is_live:
            sys.stderr.write(ERASE_LINE)
            sys.stderr.flush()


def progress_facts(desk: Desk) -> dict[str, str | int | float | None]:
    """The figures of the progress line."""
    state = desk.state
    symbol = next(iter(state.holdings), "")
    instrument = desk.rules.instruments[symbol]
    remaining_s = None if state.end_ts_ns == NEVER_NS else max(0, state.end_ts_ns - state.now_ns) // NS_PER_S
    return {
        "phase": state.phase.value,
        "elapsed_s": (state.now_ns - state.started_ts_ns) // NS_PER_S,
        "remaining_s": remaining_s,
        "equity": money_text(desk.equity_units()),
        "symbol": symbol,
        "position": instrument.size_text(state.holdings[symbol].position.size_lots),
        "price": instrument.price_text(state.markets[symbol].mark_ticks),
        "feed_age_ms": (state.now_ns - state.feed_seen_ns) // 1_000_000,
        "trades": state.counters.trades,
        "orders": state.counters.intended,
        "refused": state.counters.refused,
        "events": state.counters.market_events,
    }


def progress_text(facts: dict[str, str | int | float | None]) -> str:
    """The progress line for people."""
    left = facts["remaining_s"]
    remaining = "to the end of the data" if left is None else f"{_clock_text(int(left or 0))} left"
    return (
        f"{facts['phase']}  {_clock_text(int(facts['elapsed_s'] or 0))}  {remaining}  equity {facts['equity']}  "
        f"{facts['symbol']} {facts['position']} @ {facts['price']}  feed {facts['feed_age_ms']} ms  "
        f"trades {facts['trades']}  orders {facts['orders']}  refused {facts['refused']}  events {facts['events']}"
    )


def _clock_text(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    text = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}d {text}" if days else text
