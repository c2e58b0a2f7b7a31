"""What a person sees while a market runs: one line a second on the terminal, news and endings in the log."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Sequence

import msgspec

from agora.domain.decisions import Ask
from agora.domain.events import Event, OperatorCommand, RunEnded, RunResumed, RunStarted, kind_of
from agora.domain.market_events import LlmFailed, NewsArrived, Shock
from agora.domain.numbers import NS_PER_S
from agora.market.market import Market
from agora.session.terminal import ERASE_LINE

LOGGER = logging.getLogger("agora.market")
PRICES_SHOWN = 6  # what fits a line
_TOLD = (RunStarted, RunResumed, RunEnded, NewsArrived, Shock, OperatorCommand)
# A provider that is down fails every question of every tick; the counts tell the rest.
FAILURES_TOLD_MAX = 20


class MarketTeller:
    """Writes what matters to the log."""

    def __init__(self) -> None:
        self._failures = 0

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """Log an event that is worth a line."""
        del market
        told: list[Event] = [each for each in (event, *effects) if isinstance(each, _TOLD)]
        if isinstance(event, LlmFailed) and self._failures < FAILURES_TOLD_MAX:
            self._failures += 1
            told.append(event)
        for each in told:
            fields = msgspec.to_builtins(each)
            words = " ".join(f"{k}={v}" for k, v in fields.items() if k not in ("kind", "ts_ns", "instruments"))
            LOGGER.info("%s %s", kind_of(each), words, extra={"fields": fields})


class MarketProgress:
    """The line of the market, once a second of real time: tick, speed, prices, trades, decisions of models."""

    def __init__(self, *, monotonic_ns: Callable[[], int], is_quiet: bool, is_json: bool) -> None:
        self._monotonic_ns = monotonic_ns
        self._is_silent = is_quiet
        self._is_json = is_json
        self._is_live = sys.stderr.isatty() and not is_quiet and not is_json
        self._told_ns = monotonic_ns()
        self._told_tick = 0

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """Show the line when a second of real time has passed."""
        del event, effects
        now_ns = self._monotonic_ns()
        if self._is_silent or now_ns - self._told_ns < NS_PER_S:
            return
        tick = market.state.tick
        speed = (tick - self._told_tick) * NS_PER_S / (now_ns - self._told_ns)
        self._told_ns, self._told_tick = now_ns, tick
        self._show(market_facts(market) | {"ticks_per_s": round(speed, 1)})

    def _show(self, facts: dict[str, object]) -> None:
        if self._is_json:
            sys.stderr.write(msgspec.json.encode({"progress": facts}).decode() + "\n")
            return
        line = "  ".join(f"{name} {value}" for name, value in facts.items())
        if self._is_live:
            sys.stderr.write(ERASE_LINE + line[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
            return
        sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Give the terminal back."""
        if self._is_live:
            sys.stderr.write(ERASE_LINE)
            sys.stderr.flush()


def market_facts(market: Market) -> dict[str, object]:
    """The figures of the progress line."""
    state, engine = market.state, market.engine
    facts: dict[str, object] = {"phase": state.phase.value, "tick": state.tick}
    if state.ticks_max:
        facts["of"] = state.ticks_max
    for symbol in engine.rules.symbols[:PRICES_SHOWN]:
        facts[symbol] = engine.accounts.instrument(symbol).price_text(engine.book(symbol).last_ticks)
    return facts | {"trades": state.trades, "decisions": state.decisions}
