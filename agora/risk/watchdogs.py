"""Limits on time: duration, silence of the feed, number of trades. They bite at a deadline of the run's clock."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.numbers import NS_PER_S
from agora.engine.desk import Desk
from agora.engine.reconciling import doubtful
from agora.engine.state import NEVER_NS


class WatchdogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on time and on the number of trades."""

    stale_timeout_s: Annotated[
        int,
        Meta(
            ge=1,
            le=3_600,
            description="no usable market data for this long (beyond a candle's length) ends the run",
        ),
    ] = 30
    max_trades: Annotated[
        int, Meta(ge=0, le=1_000_000, description="completed trades after which the run ends (0: no limit)")
    ] = 0


class Duration:
    """The run has lasted as long as it should."""

    name = "duration"

    def deadline_ns(self, desk: Desk) -> int:
        """The planned end."""
        return desk.state.end_ts_ns

    def bite(self, _: Desk) -> str:
        """Time is up."""
        return "duration"


class FreshData:
    """Usable data keep coming. A candle feed is silent for a candle's length by nature, so that is added."""

    name = "fresh_data"

    def __init__(self, settings: WatchdogSettings) -> None:
        self._timeout_ns = settings.stale_timeout_s * NS_PER_S

    def deadline_ns(self, desk: Desk) -> int:
        """When the silence will have lasted too long."""
        state = desk.state
        if state.is_feed_over:
            return NEVER_NS
        return state.feed_seen_ns + state.feed_period_s * NS_PER_S + self._timeout_ns

    def bite(self, desk: Desk) -> str:
        """The source broke, nothing came at all, or nothing more."""
        if desk.state.is_feed_lost:
            return "feed_lost"
        return "stale_data" if desk.state.counters.market_events else "no_data"


class UserStream:
    """The private stream of a live venue speaks. Half of this silence closes admission, a limit sees to that."""

    name = "user_stream"

    def deadline_ns(self, desk: Desk) -> int:
        """When twice the allowed silence beyond its keep-alive is over."""
        state = desk.state
        if not state.needs_user_stream:
            return NEVER_NS
        silence_s = state.user_keepalive_s + 2 * desk.rules.account.user_stream_age_s_max
        return state.user_seen_ns + silence_s * NS_PER_S

    def bite(self, _: Desk) -> str:
        """Blind to our own fills for too long."""
        return "user_stream"


class Doubts:
    """Orders in doubt get their evidence in time."""

    name = "doubts"

    def deadline_ns(self, desk: Desk) -> int:
        """When a storm of doubt has lasted too long."""
        state = desk.state
        if not state.storm_since_ns or not doubtful(state):
            return NEVER_NS
        return state.storm_since_ns + desk.rules.account.unknown_hold_s * NS_PER_S

    def bite(self, _: Desk) -> str:
        """Nobody knows what we have ordered."""
        return "unknown_storm"


class MaxTrades:
    """Enough trades were made."""

    name = "max_trades"

    def __init__(self, settings: WatchdogSettings) -> None:
        self._trades_max = settings.max_trades

    def deadline_ns(self, desk: Desk) -> int:
        """Now, once the number is reached."""
        reached = self._trades_max and desk.state.counters.trades >= self._trades_max
        return desk.state.now_ns if reached else NEVER_NS

    def bite(self, _: Desk) -> str:
        """Done."""
        return "max_trades"


def build_watchdogs(settings: WatchdogSettings) -> tuple[Duration | FreshData | UserStream | Doubts | MaxTrades, ...]:
    """All watchdogs, in the order in which they bite."""
    return (Duration(), FreshData(settings), UserStream(), Doubts(), MaxTrades(settings))
