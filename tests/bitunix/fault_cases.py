"""What each fault of the venue must lead to, beside what must hold in every story. One row to a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agora.domain.events import (
    Event,
    FeedConnected,
    FeedLost,
    FeedMalformed,
    Funding,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderUnknown,
    RunEnded,
    UserConnected,
    UserLost,
)
from agora.testnet.faults import Fault
from tests.bitunix.checks import events_of
from tests.bitunix.harness import Story
from tests.bitunix.plans import Plan

SECONDS = 13.0
AT_S = 3.0
Look = Callable[["Seen"], bool]


class Seen:
    """A story as the rows look at it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.events: list[Event] = list(events_of(story))

    def count(self, *kinds: type[Event], reason: str = "") -> int:
        """How many events of these kinds there were, by reason where one is named."""
        return sum(isinstance(each, kinds) and reason in getattr(each, "reason", "") for each in self.events)

    @property
    def ended(self) -> RunEnded:
        """The last decision."""
        found = self.story.ended()
        assert found is not None
        return found

    @property
    def is_completed(self) -> bool:
        """Whether the run ended as planned, flat."""
        return (self.ended.reason, self.ended.flat) == ("duration", True)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, how it is planned, and what must be seen of it: named looks, each of which must be true."""

    fault: Fault
    target: str = "*"
    for_s: float = 4.0
    p: float = 1.0
    at_s: float = AT_S
    seconds: float = SECONDS
    # Where a fault needs occasions that not every seed's trader gives: one that gives many.
    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    must: dict[str, Look] = field(default_factory=dict)

    def plan(self, number: int) -> Plan:
        """The story with this fault alone; its number in a file is its seed, unless it has one of its own."""
        seed = number if self.seed is None else self.seed
        entry = {
            "fault": str(self.fault),
            "target": self.target,
            "at_s": self.at_s,
            "for_s": self.for_s,
            "p": self.p,
            "seed": seed,
            **self.options,
        }
        return Plan(seed=seed, seconds=self.seconds, faults=(entry,))

    def faults_of(self, story: Story) -> Iterator[str]:
        """What is missing in a story of this case."""
        if not any(row["fired"] for row in story.faults):
            yield "the fault never happened"
        seen = Seen(story)
        yield from (name for name, look in self.must.items() if not look(seen))


ends_well = {"ends as planned, flat": lambda seen: seen.is_completed}
reconnects_market = {
    "the market's loss is told": lambda seen: seen.count(FeedLost) >= 1,
    "the market is connected anew": lambda seen: seen.count(FeedConnected) >= 2,
}
reconnects_user = {
    "the account's stream is lost": lambda seen: seen.count(UserLost) >= 1,
    "the account's stream is connected anew": lambda seen: seen.count(UserConnected) >= 2,
}
trades_on = {"orders are filled": lambda seen: seen.count(OrderFilled) >= 1}
doubts = {"an order falls into doubt": lambda seen: seen.count(OrderUnknown) >= 1}
rejects = {"an order is rejected": lambda seen: seen.count(OrderRejected) >= 1}


def drops(*reasons: str) -> dict[str, Look]:
    """Data are dropped and counted under one of these reasons."""

    def look(seen: Seen) -> bool:
        return any(isinstance(each, FeedMalformed) and each.reason in reasons for each in seen.events)

    return {f"data are dropped as {' or '.join(reasons)}": look}


def _is_foreign_end(seen: Seen) -> bool:
    return (seen.ended.reason, seen.ended.exit_code, seen.ended.flat) == ("desync", 5, True)


CONNECTIONS = (
    Case(fault=Fault.REFUSE, target="rest", for_s=2.0, must=trades_on),
    Case(fault=Fault.WS_RESET, target="*", must={**reconnects_market, **reconnects_user, **ends_well}),
    Case(fault=Fault.WS_CLOSE, target="*", must={**reconnects_market, **reconnects_user, **ends_well}),
    Case(fault=Fault.WS_MUTE, target="market", must={**reconnects_market, **ends_well}),
    Case(fault=Fault.SLOW, target="rest", options={"delay_s": 0.4}, must={**trades_on, **ends_well}),
    Case(fault=Fault.SLICED, target="*", must={**trades_on, **ends_well}),
    Case(fault=Fault.DROP_PONG, target="user", for_s=5.0, must=ends_well),
    Case(fault=Fault.DROP_CONNECTIONS, target="*", must={**reconnects_market, **reconnects_user, **ends_well}),
)
MESSAGES = (
    Case(fault=Fault.MALFORMED, target="market", p=0.5, must={**drops("unparsable"), **ends_well}),
    Case(fault=Fault.NOT_A_NUMBER, target="market", p=0.5, must={**drops("not_finite"), **ends_well}),
    Case(
        fault=Fault.HUGE,
        target="market",
        p=0.1,
        options={"size_bytes": 1_500_000},
        must={**drops("too_long", "too_large"), **ends_well},
    ),
    Case(fault=Fault.DEEP, target="market", p=0.5, must={**drops("unparsable"), **ends_well}),
    Case(fault=Fault.BINARY, target="market", p=0.5, must={**drops("unparsable"), **ends_well}),
    Case(fault=Fault.WRONG_PRICE, target="market", p=0.2, must={**drops("off_mark", "absurd_jump"), **ends_well}),
    Case(fault=Fault.CROSSED_BOOK, target="market", p=0.5, must={**drops("crossed"), **ends_well}),
    Case(fault=Fault.DUPLICATE, target="market", must={**drops("duplicate"), **ends_well}),
    Case(fault=Fault.OUT_OF_ORDER, target="market", must={**drops("out_of_order"), **ends_well}),
    Case(fault=Fault.STALE, target="market", p=0.5, must={**drops("stale"), **ends_well}),
    Case(fault=Fault.FUTURE, target="market", p=0.5, must={**drops("future"), **ends_well}),
    Case(fault=Fault.GAP, target="market", p=0.5, must=ends_well),
    Case(fault=Fault.FROZEN_REFERENCE, must=ends_well),
)
ANSWERS = (
    Case(fault=Fault.HTTP_429, target="rest", for_s=2.0, options={"retry_after_s": 1.0}, must=trades_on),
    Case(fault=Fault.HTTP_5XX, target="rest", for_s=5.0, must={}),
    Case(fault=Fault.HTML, target="place_order", for_s=5.0, must=doubts),
    Case(fault=Fault.TRUNCATED, target="rest", for_s=2.0, must=trades_on),
    Case(fault=Fault.EMPTY, target="place_order", for_s=5.0, must=doubts),
    Case(fault=Fault.VENUE_CODE, target="place_order", options={"code": 20003}, must={**rejects, **ends_well}),
    Case(fault=Fault.ACCEPT_THEN_SILENCE, target="place_order", for_s=5.0, must=trades_on),
    Case(fault=Fault.ACCEPT_THEN_5XX, target="place_order", for_s=5.0, must=trades_on),
    Case(fault=Fault.ACCEPT_LATE, target="place_order", for_s=5.0, options={"delay_s": 2.0}, must=trades_on),
    Case(fault=Fault.NOT_FOUND_THEN_EXISTS, target="place_order", for_s=5.0, options={"delay_s": 1.5}, must=trades_on),
    Case(fault=Fault.REJECT, target="place_order", must={**rejects, **ends_well}),
    Case(
        fault=Fault.POST_ONLY_REJECT,
        target="place_order",
        must={"an order is cancelled by the venue": lambda seen: seen.count(OrderCancelled) >= 1, **ends_well},
    ),
)
FILLS = (
    Case(fault=Fault.LOST_FILLS, target="user", for_s=8.0, must={**trades_on, **ends_well}),
    Case(fault=Fault.DUPLICATE_FILLS, target="user", for_s=8.0, must={**trades_on, **ends_well}),
    Case(fault=Fault.LATE_FILLS, target="user", for_s=8.0, options={"delay_s": 1.5}, must={**trades_on, **ends_well}),
    Case(fault=Fault.REORDERED_FILLS, target="user", for_s=8.0, must={**trades_on, **ends_well}),
    Case(fault=Fault.CANCEL_FILL_RACE, at_s=1.0, for_s=60.0, must={**trades_on, **ends_well}),
    Case(fault=Fault.UNKNOWN_ORDER_UPDATES, target="user", for_s=8.0, must={**trades_on, **ends_well}),
    Case(fault=Fault.PARTIAL_FLATTEN, at_s=1.0, for_s=60.0, seconds=25.0, seed=10, must=trades_on),
    Case(
        fault=Fault.TRADE_FAILED,
        at_s=6.0,
        must={"it does not end as if nothing was": lambda seen: seen.ended.exit_code in (5, 6)},
    ),
    Case(fault=Fault.TRADE_RETRYING, for_s=8.0, must={**trades_on, **ends_well}),
)
VENUE = (
    Case(fault=Fault.FOREIGN_POSITION_CHANGE, must={"it ends by desync, with all of it flat": _is_foreign_end}),
    Case(fault=Fault.PRICE_MOVE, options={"fraction": -0.02}, must=trades_on),
    Case(
        fault=Fault.FUNDING_MISSING,
        at_s=0.0,
        for_s=60.0,
        must={"no funding is booked": lambda seen: seen.count(Funding) == 0, **ends_well},
    ),
    Case(fault=Fault.TICK_SIZE_CHANGE, must=rejects),
    Case(
        fault=Fault.AUTH_REVOKED,
        for_s=120.0,
        must={"it ends for its keys": lambda seen: seen.ended.reason == "auth" and seen.ended.exit_code in (5, 6)},
    ),
    Case(fault=Fault.CLOCK_SKEW, options={"seconds": 5.0}, must=drops("future")),
    Case(fault=Fault.MAINTENANCE, for_s=3.0, seconds=20.0, must=trades_on),
    Case(fault=Fault.ENGINE_RESTART, for_s=2.0, must={**reconnects_market, **reconnects_user}),
    Case(fault=Fault.CANCEL_ONLY, for_s=3.0, must=rejects),
    Case(fault=Fault.POST_ONLY_MODE, for_s=3.0, must=rejects),
    Case(fault=Fault.HEARTBEAT_REFUSED, target="user", for_s=3.0, must=reconnects_user),
    Case(fault=Fault.RATE_LIMIT_LOW, for_s=4.0, must=trades_on),
)
