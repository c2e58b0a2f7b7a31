"""The plan of faults of a testnet server: which fault happens when, to what, how often, and how often it did.

Deterministic: the n-th occasion of an entry is decided by its seed and n. What a fault does is its server's business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agora.domain.dice import Dice, dice_of
from agora.domain.numbers import NS_PER_S

# A plan is written by a person or a test; a thousand entries is more than either reads.
ENTRIES_MAX = 1_000
# A plan of a thousand entries with all their options fits.
PLAN_BYTES_MAX = 256 * 1024
EVERYTHING = "*"


class Fault(StrEnum):
    """Every fault that a testnet server may know; each server says which of them it implements."""

    REFUSE = "refuse"
    WS_RESET = "ws_reset"
    WS_CLOSE = "ws_close"
    WS_MUTE = "ws_mute"
    SLOW = "slow"
    SLICED = "sliced"
    DROP_PONG = "drop_pong"
    DROP_CONNECTIONS = "drop_connections"
    MALFORMED = "malformed"
    NOT_A_NUMBER = "not_a_number"
    HUGE = "huge"
    DEEP = "deep"
    BINARY = "binary"
    WRONG_PRICE = "wrong_price"
    CROSSED_BOOK = "crossed_book"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    STALE = "stale"
    FUTURE = "future"
    GAP = "gap"
    FROZEN_REFERENCE = "frozen_reference"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    HTML = "html"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    VENUE_CODE = "venue_code"
    ACCEPT_THEN_SILENCE = "accept_then_silence"
    ACCEPT_THEN_5XX = "accept_then_5xx"
    ACCEPT_LATE = "accept_late"
    NOT_FOUND_THEN_EXISTS = "not_found_then_exists"
    REJECT = "reject"
    POST_ONLY_REJECT = "post_only_reject"
    LOST_FILLS = "lost_fills"
    DUPLICATE_FILLS = "duplicate_fills"
    LATE_FILLS = "late_fills"
    REORDERED_FILLS = "reordered_fills"
    CANCEL_FILL_RACE = "cancel_fill_race"
    UNKNOWN_ORDER_UPDATES = "unknown_order_updates"
    PARTIAL_FLATTEN = "partial_flatten"
    TRADE_FAILED = "trade_failed"
    TRADE_RETRYING = "trade_retrying"
    FOREIGN_POSITION_CHANGE = "foreign_position_change"
    PRICE_MOVE = "price_move"
    FUNDING_MISSING = "funding_missing"
    TICK_SIZE_CHANGE = "tick_size_change"
    AUTH_REVOKED = "auth_revoked"
    CLOCK_SKEW = "clock_skew"
    MAINTENANCE = "maintenance"
    ENGINE_RESTART = "engine_restart"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY_MODE = "post_only_mode"
    HEARTBEAT_REFUSED = "heartbeat_refused"
    RATE_LIMIT_LOW = "rate_limit_low"
    MODEL_SLOW = "model_slow"
    MODEL_SILENT = "model_silent"
    MODEL_429 = "model_429"
    MODEL_500 = "model_500"
    MODEL_HTML = "model_html"
    MODEL_401 = "model_401"
    MODEL_TRUNCATED = "model_truncated"
    MODEL_PROSE = "model_prose"
    MODEL_FENCED = "model_fenced"
    MODEL_HUGE = "model_huge"
    MODEL_WRONG_SCHEMA = "model_wrong_schema"
    MODEL_INJECTION = "model_injection"


def _from(first: Fault, last: Fault) -> tuple[Fault, ...]:
    names = list(Fault)
    return tuple(names[names.index(first) : names.index(last) + 1])


FAULTS_BY_KIND: Mapping[str, tuple[Fault, ...]] = {
    "connections": _from(Fault.REFUSE, Fault.DROP_CONNECTIONS),
    "messages": _from(Fault.MALFORMED, Fault.FROZEN_REFERENCE),
    "answers": _from(Fault.HTTP_429, Fault.POST_ONLY_REJECT),
    "fills and orders": _from(Fault.LOST_FILLS, Fault.TRADE_RETRYING),
    "venue": _from(Fault.FOREIGN_POSITION_CHANGE, Fault.RATE_LIMIT_LOW),
    "model": _from(Fault.MODEL_SLOW, Fault.MODEL_INJECTION),
}


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a plan: from `at_s` after loading, for `for_s` (None: until removed), with chance `p` per occasion.

    The fields after `seed` are options; `OPTIONS` says which fault takes which.
    """

    fault: Fault
    at_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    for_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    target: Annotated[str, Meta(max_length=100)] = EVERYTHING
    p: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    retry_after_s: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    size_bytes: Annotated[int, Meta(ge=1, le=100_000_000)] = 10_000_000
    code: str | int = 0
    fraction: Annotated[float, Meta(gt=-1, le=1_000)] = 0.05
    seconds: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0


ENTRY_KEYS = ("at_s", "for_s", "fault", "target", "p", "seed")
OPTIONS: Mapping[Fault, tuple[str, ...]] = {
    Fault.SLOW: ("delay_s",),
    Fault.HUGE: ("size_bytes",),
    Fault.HTTP_429: ("retry_after_s",),
    Fault.VENUE_CODE: ("code",),
    Fault.ACCEPT_LATE: ("delay_s",),
    Fault.NOT_FOUND_THEN_EXISTS: ("delay_s",),
    Fault.LATE_FILLS: ("delay_s",),
    Fault.PRICE_MOVE: ("fraction",),
    Fault.CLOCK_SKEW: ("seconds",),
    Fault.MODEL_SLOW: ("delay_s",),
    Fault.MODEL_429: ("retry_after_s",),
    Fault.MODEL_HUGE: ("size_bytes",),
}


class PlanRefused(ValueError):
    """A plan that cannot be meant; the message lists what is known. Nothing of the plan was taken over."""


class Firing:
    """An entry at work: when it was loaded, its stream of draws, how often it came up and fired."""

    __slots__ = ("dice", "entry", "fired", "loaded_ns", "occasions")

    def __init__(self, entry: PlannedFault, loaded_ns: int) -> None:
        self.entry = entry
        self.loaded_ns = loaded_ns
        self.dice: Dice = dice_of(entry.seed, entry.fault, entry.target)
        self.occasions = 0
        self.fired = 0

    def is_active(self, now_ns: int) -> bool:
        """Whether its time has come and is not over."""
        since_s = (now_ns - self.loaded_ns) / NS_PER_S - self.entry.at_s
        return since_s >= 0 and (self.entry.for_s is None or since_s < self.entry.for_s)

    def note(self) -> None:
        """It has had its effect."""
        self.occasions += 1
        self.fired += 1

    def draw(self) -> bool:
        """Decide one occasion."""
        self.occasions += 1
        is_now = self.dice.chance(self.entry.p)
        self.fired += is_now
        return is_now


class FaultPlan:
    """What is planned for one server. `implemented` and `targets` are all that it knows besides the target `*`."""

    def __init__(
        self, *, implemented: Iterable[Fault], targets: Iterable[str], monotonic_ns: Callable[[], int]
    ) -> None:
        self._implemented = tuple(implemented)
        self._targets = (EVERYTHING, *targets)
        self._monotonic_ns = monotonic_ns
        self._firings: list[Firing] = []

    def load(self, content: bytes) -> int:
        """Add the entries of a JSON list; returns how many. Raises `PlanRefused` and takes none over on any mistake."""
        entries = self._checked(content)
        if len(self._firings) + len(entries) > ENTRIES_MAX:
            raise PlanRefused(f"a plan has at most {ENTRIES_MAX} entries")
        now_ns = self._monotonic_ns()
        self._firings += [Firing(entry, now_ns) for entry in entries]
        return len(entries)

    def clear(self) -> int:
        """Forget all entries; returns how many there were."""
        count = len(self._firings)
        self._firings.clear()
        return count

    def firing(self, targets: Collection[str], among: Collection[Fault] | None = None) -> list[PlannedFault]:
        """The faults that happen on this occasion, in the order of the plan.

        `targets`: all names by which this occasion is known; `among`: the faults that could show here (None: all).
        """
        now_ns = self._monotonic_ns()
        return [
            firing.entry
            for firing in self._firings
            if firing.entry.target == EVERYTHING or firing.entry.target in targets
            if among is None or firing.entry.fault in among
            if firing.is_active(now_ns) and firing.draw()
        ]

    def active(self, *faults: Fault) -> list[Firing]:
        """The entries of these faults whose time it is, undecided: their server says what an occasion is."""
        now_ns = self._monotonic_ns()
        return [firing for firing in self._firings if firing.entry.fault in faults and firing.is_active(now_ns)]

    def report(self) -> list[dict[str, Any]]:
        """Each entry as it was planned, with its counts of occasions and firings."""
        now_ns = self._monotonic_ns()
        return [
            {
                **{key: getattr(firing.entry, key) for key in (*ENTRY_KEYS, *OPTIONS.get(firing.entry.fault, ()))},
                "active": firing.is_active(now_ns),
                "occasions": firing.occasions,
                "fired": firing.fired,
            }
            for firing in self._firings
        ]

    def _checked(self, content: bytes) -> list[PlannedFault]:
        if len(content) > PLAN_BYTES_MAX:
            raise PlanRefused(f"a plan has at most {PLAN_BYTES_MAX} bytes")
        try:
            rows = msgspec.json.decode(content, type=list[dict[str, Any]])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise PlanRefused(f"a plan is a JSON list of objects: {fault}") from None
        return [self._entry(row, place) for place, row in enumerate(rows)]

    def _entry(self, row: dict[str, Any], place: int) -> PlannedFault:
        name = row.get("fault")
        if name not in self._implemented:
            known = ", ".join(self._implemented)
            raise PlanRefused(f"entry {place}: unknown fault {name!r}; this server knows {known}")
        keys = (*ENTRY_KEYS, *OPTIONS.get(Fault(name), ()))
        strange = [key for key in row if key not in keys]
        if strange:
            raise PlanRefused(f"entry {place}: unknown key {strange[0]!r} of {name}; known are {', '.join(keys)}")
        try:
            entry = msgspec.convert(row, PlannedFault)
        except msgspec.ValidationError as fault:
            raise PlanRefused(f"entry {place} ({name}): {fault}") from None
        if entry.target not in self._targets:
            known = ", ".join(self._targets)
            raise PlanRefused(f"entry {place}: unknown target {entry.target!r}; this server knows {known}")
        return entry
