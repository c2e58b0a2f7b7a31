"""Limits on the run, as a table. Tripped, a breaker ends the run and stays tripped until `agora reset`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.numbers import NS_PER_S, PPM, money_text
from agora.engine.desk import Desk


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a run stops itself. A count of 0 switches that breaker off."""

    loss_fraction_max_ppm: Annotated[
        int,
        Meta(
            ge=1_000,
            le=1_000_000,
            description="loss since the start that ends the run, ppm of starting equity",
        ),
    ] = 50_000
    daily_drawdown_max_ppm: Annotated[
        int,
        Meta(
            ge=1_000,
            le=1_000_000,
            description="fall from the UTC day's highest equity that ends the run, ppm",
        ),
    ] = 30_000
    losing_streak_max: Annotated[int, Meta(ge=0, le=1_000, description="consecutive losing trades (0: off)")] = 25
    errors_max: Annotated[int, Meta(ge=1, le=500, description="errors within errors_window_s that end the run")] = 20
    errors_window_s: Annotated[int, Meta(ge=1, le=3_600, description="window of the error burst, seconds")] = 60


Reading = Callable[[Desk, BreakerSettings], tuple[str, str] | None]


class RunBreaker:
    """One row of the table, bound to its settings (port `Breaker`)."""

    __slots__ = ("_reading", "_settings", "name")

    def __init__(self, name: str, reading: Reading, settings: BreakerSettings) -> None:
        self.name = name
        self._reading = reading
        self._settings = settings

    def reading(self, desk: Desk) -> tuple[str, str] | None:
        """(value, limit) when the limit is reached."""
        return self._reading(desk, self._settings)


def build_breakers(settings: BreakerSettings) -> tuple[RunBreaker, ...]:
    """All breakers, in the order in which they are read."""
    return tuple(RunBreaker(name, reading, settings) for name, reading in BREAKERS.items())


def max_loss(desk: Desk, settings: BreakerSettings) -> tuple[str, str] | None:
    """Equity, open profit included, against the start."""
    start = desk.state.equity_start_units
    loss = start - desk.equity_units()
    if loss * PPM < settings.loss_fraction_max_ppm * start:
        return None
    return money_text(loss), f"{settings.loss_fraction_max_ppm} ppm of {money_text(start)}"


def daily_drawdown(desk: Desk, settings: BreakerSettings) -> tuple[str, str] | None:
    """Equity against its highest value of the UTC day."""
    high = desk.state.day_equity_high_units
    fall = high - desk.equity_units()
    if fall * PPM < settings.daily_drawdown_max_ppm * high:
        return None
    return money_text(fall), f"{settings.daily_drawdown_max_ppm} ppm of {money_text(high)}"


def losing_streak(desk: Desk, settings: BreakerSettings) -> tuple[str, str] | None:
    """Trades lost in a row, after fees and funding."""
    streak = desk.state.counters.losing_streak
    if not settings.losing_streak_max or streak < settings.losing_streak_max:
        return None
    return str(streak), str(settings.losing_streak_max)


def error_burst(desk: Desk, settings: BreakerSettings) -> tuple[str, str] | None:
    """Errors within the window."""
    since = desk.state.now_ns - settings.errors_window_s * NS_PER_S
    recent = sum(ts_ns > since for ts_ns in desk.state.error_times_ns)
    if recent < settings.errors_max:
        return None
    return f"{recent} errors", f"{settings.errors_max} in {settings.errors_window_s} s"


BREAKERS: dict[str, Reading] = {
    "max_loss": max_loss,
    "daily_drawdown": daily_drawdown,
    "losing_streak": losing_streak,
    "error_burst": error_burst,
}
