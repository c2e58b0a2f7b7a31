"""An order at the venue in words: what is asked for, where it stands, how it ends, and whom it tells."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from agora.domain.orders import Side
from agora.venues.bitunix.wire import TradeRow


class Stage(StrEnum):
    """Where an order at the venue stands, as far as we have evidence."""

    POSTING = "posting"
    DOUBT = "doubt"
    WORKING = "working"
    OVER = "over"


class End(StrEnum):
    """How an order that the venue had has ended."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDS = {
    "FILLED": End.FILLED,
    "CANCELED": End.CANCELLED,
    "PART_FILLED_CANCELED": End.CANCELLED,
    "SYSTEM_CANCELED": End.CANCELLED,
    "EXPIRED": End.EXPIRED,
}


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `is_immediate`: it cannot rest, so it is over as soon as it arrives."""

    symbol: str
    side: Side
    size_lots: int
    order_type: str
    effect: str
    price_ticks: int = 0
    stop_ticks: int = 0
    reduce_only: bool = False
    is_immediate: bool = False
    expire_ts_ns: int = 0

    @property
    def can_rest(self) -> bool:
        """Whether nothing is expected of it for a while once the venue has it."""
        return not self.is_immediate and self.effect != "POST_ONLY"


class Owner(Protocol):
    """Whom an order tells what became of it."""

    def on_accepted(self, venue_id: str, latency_ns: int) -> None:
        """The venue has it."""
        ...

    def on_doubt(self, reason: str) -> None:
        """Whether the venue has it is unknown."""
        ...

    def on_refused(self, reason: str) -> None:
        """The venue has it not, and will not."""
        ...

    def on_back(self) -> None:
        """It was refused for want of evidence, and is at the venue after all; it is being cancelled."""
        ...

    def on_trade(self, row: TradeRow, lots: int) -> None:
        """So much of it traded."""
        ...

    def on_over(self, end: End, reason: str) -> None:
        """It trades no more; all of its trades were told."""
        ...

    def on_moved(self, price_ticks: int, size_lots: int) -> None:
        """The venue has changed it."""
        ...

    def on_not_moved(self, reason: str) -> None:
        """It stays as it was."""
        ...
