"""Which faults and crashes a seed means: what the venue does wrong and when, and how the process dies meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agora.testnet.faults import Fault
from tests.scenarios.harness import Crash

SECONDS = 60.0
# Faults begin when the run has had time for a first order, and most are over early enough to close in order.
FIRST_S = 3.0
LAST_FRACTION = 0.85
# One of the lives of a story makes about this many disk operations.
OPERATIONS_MAX = 300

Options = Callable[[random.Random], dict[str, Any]]


def _none(_: random.Random) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Row:
    """How one fault is planned: to what, for how long (None: one occasion is enough), how often, how hard.

    `is_grave`: what the venue then has is not ours to make right: the run may have to end with something left.
    """

    fault: Fault
    targets: tuple[str, ...]
    for_s: tuple[float, float] = (0.5, 12.0)
    chances: tuple[float, ...] = (1.0, 0.5, 0.2)
    options: Options = _none
    is_grave: bool = False


def _delay(low_s: float, high_s: float) -> Options:
    return lambda draw: {"delay_s": round(draw.uniform(low_s, high_s), 3)}


def _pick(name: str, values: tuple[Any, ...]) -> Options:
    return lambda draw: {name: draw.choice(values)}


SOCKETS = ("market", "user", "*")
FRAMES = ("market", "user", "*")
CALLS = ("rest", "*", "place_order", "cancel_orders")
READS = ("rest", "get_pending_orders", "get_history_trades", "get_order_detail", "get_pending_positions")

ROWS: tuple[Row, ...] = (
    # Connections.
    Row(fault=Fault.REFUSE, targets=("rest", "market", "user", "*"), for_s=(1, 10)),
    Row(fault=Fault.WS_RESET, targets=SOCKETS, chances=(1.0, 0.05), for_s=(0.5, 3)),
    Row(fault=Fault.WS_CLOSE, targets=SOCKETS, chances=(1.0, 0.05), for_s=(0.5, 3)),
    Row(fault=Fault.WS_MUTE, targets=SOCKETS, for_s=(3, 15), chances=(1.0,)),
    Row(fault=Fault.SLOW, targets=("rest", "market", "user"), options=_delay(0.05, 4.0)),
    Row(fault=Fault.SLICED, targets=("rest", "market", "user", "*")),
    Row(fault=Fault.DROP_PONG, targets=SOCKETS, for_s=(5, 20), chances=(1.0,)),
    Row(fault=Fault.DROP_CONNECTIONS, targets=("*", "rest", "market", "user"), chances=(1.0,), for_s=(0.5, 3)),
    # Messages.
    Row(fault=Fault.MALFORMED, targets=FRAMES),
    Row(fault=Fault.NOT_A_NUMBER, targets=FRAMES),
    Row(fault=Fault.HUGE, targets=FRAMES, chances=(0.2,), for_s=(0.5, 3), options=_pick("size_bytes", (2_000_000,))),
    Row(fault=Fault.DEEP, targets=FRAMES),
    Row(fault=Fault.BINARY, targets=FRAMES),
    Row(fault=Fault.WRONG_PRICE, targets=("market", "*"), chances=(0.2, 0.05)),
    Row(fault=Fault.CROSSED_BOOK, targets=("market", "*")),
    Row(fault=Fault.DUPLICATE, targets=FRAMES),
    Row(fault=Fault.OUT_OF_ORDER, targets=FRAMES),
    Row(fault=Fault.STALE, targets=FRAMES),
    Row(fault=Fault.FUTURE, targets=FRAMES),
    Row(fault=Fault.GAP, targets=("market", "*")),
    Row(fault=Fault.FROZEN_REFERENCE, targets=("*",), chances=(1.0,)),
    # Answers.
    Row(fault=Fault.HTTP_429, targets=CALLS, options=_pick("retry_after_s", (0.5, 1.0, 3.0))),
    Row(fault=Fault.HTTP_5XX, targets=CALLS),
    Row(fault=Fault.HTML, targets=CALLS),
    Row(fault=Fault.TRUNCATED, targets=CALLS),
    Row(fault=Fault.EMPTY, targets=CALLS),
    Row(fault=Fault.VENUE_CODE, targets=CALLS, options=_pick("code", (1, 10001, 10005, 10006, 20003))),
    Row(fault=Fault.ACCEPT_THEN_SILENCE, targets=("place_order", "*"), for_s=(3, 20)),
    Row(fault=Fault.ACCEPT_THEN_5XX, targets=("place_order", "*"), for_s=(3, 20)),
    Row(fault=Fault.ACCEPT_LATE, targets=("place_order", "*"), for_s=(3, 20), options=_delay(0.5, 8.0)),
    Row(fault=Fault.NOT_FOUND_THEN_EXISTS, targets=("*", "place_order"), for_s=(3, 20), options=_delay(0.5, 6.0)),
    Row(fault=Fault.REJECT, targets=("place_order", "*"), for_s=(3, 20)),
    Row(fault=Fault.POST_ONLY_REJECT, targets=("place_order", "*"), for_s=(3, 20)),
    # Fills and orders.
    Row(fault=Fault.LOST_FILLS, targets=("user", "*")),
    Row(fault=Fault.DUPLICATE_FILLS, targets=("user", "*")),
    Row(fault=Fault.LATE_FILLS, targets=("user", "*"), options=_delay(0.2, 6.0)),
    Row(fault=Fault.REORDERED_FILLS, targets=("user", "*")),
    # Orders are cancelled at the end above all.
    Row(fault=Fault.CANCEL_FILL_RACE, targets=("*",), for_s=(40, 90)),
    Row(fault=Fault.UNKNOWN_ORDER_UPDATES, targets=("user", "*"), for_s=(10, 40)),
    Row(fault=Fault.PARTIAL_FLATTEN, targets=("*",), for_s=(40, 90)),
    Row(fault=Fault.TRADE_FAILED, targets=("*",), chances=(1.0,), for_s=(10, 20), is_grave=True),
    Row(fault=Fault.TRADE_RETRYING, targets=("*",), for_s=(5, 30)),
    # The venue.
    Row(fault=Fault.FOREIGN_POSITION_CHANGE, targets=("*",), chances=(1.0,), for_s=(0.5, 1), is_grave=True),
    Row(
        fault=Fault.PRICE_MOVE,
        targets=("*",),
        chances=(1.0,),
        for_s=(0.5, 2),
        options=_pick("fraction", (-0.03, -0.01, 0.01, 0.03)),
    ),
    Row(fault=Fault.FUNDING_MISSING, targets=("*",), for_s=(10, 30)),
    Row(fault=Fault.TICK_SIZE_CHANGE, targets=("*",), chances=(1.0,), for_s=(5, 20)),
    Row(fault=Fault.AUTH_REVOKED, targets=("*",), chances=(1.0,), for_s=(2, 60), is_grave=True),
    Row(fault=Fault.CLOCK_SKEW, targets=("*",), chances=(1.0,), options=_pick("seconds", (-5.0, -0.6, 0.6, 5.0))),
    Row(fault=Fault.MAINTENANCE, targets=("*",), chances=(1.0,), for_s=(2, 15)),
    Row(fault=Fault.ENGINE_RESTART, targets=("*",), chances=(1.0,), for_s=(1, 8)),
    Row(fault=Fault.CANCEL_ONLY, targets=("*",), chances=(1.0,), for_s=(2, 15)),
    Row(fault=Fault.POST_ONLY_MODE, targets=("*",), chances=(1.0,), for_s=(2, 15)),
    Row(fault=Fault.HEARTBEAT_REFUSED, targets=SOCKETS, for_s=(10, 30), chances=(1.0, 0.5)),
    Row(fault=Fault.RATE_LIMIT_LOW, targets=("*",), chances=(1.0,), for_s=(5, 30)),
)
ROW_OF = {row.fault: row for row in ROWS}
assert len(ROW_OF) == len(ROWS), "one row to a fault"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What goes wrong in a story, and how its run and its venue (`venue`: settings of the testnet) are."""

    seed: int
    seconds: float = SECONDS
    faults: tuple[dict[str, Any], ...] = ()
    crashes: tuple[Crash, ...] = ()
    pairs: tuple[str, ...] = ()
    commands: tuple[tuple[float, str], ...] = ()
    venue: dict[str, Any] = field(default_factory=dict)

    @property
    def is_grave(self) -> bool:
        """Whether something is planned after which the run cannot be asked to be flat."""
        return any(ROW_OF[entry["fault"]].is_grave for entry in self.faults)


def plan_of(seed: int, *, seconds: float = SECONDS) -> Plan:
    """The story of a seed. The first fault goes round the rows, so that every so many seeds meet each of them."""
    draw = random.Random(seed)
    first = ROWS[seed % len(ROWS)]
    others = draw.sample(ROWS, k=draw.choice((0, 1, 1, 2, 3, 4)))
    # A grave fault in company says little about the company: it comes alone or is left out.
    chosen = [first] if first.is_grave else [first, *(row for row in others if row != first and not row.is_grave)]
    crashes = () if draw.random() < 0.4 else tuple(_crash(draw, seconds) for _ in range(draw.randint(1, 3)))
    faults = tuple(entry(row, draw, seconds, is_sure=row is first) for row in chosen)
    # A trader who acts each second has the venue's read limit for a neighbour; most do not.
    pairs = (f"run.interval={draw.choice(('1s', '5s', '5s'))}",)
    return Plan(seed=seed, seconds=seconds, faults=faults, crashes=crashes, pairs=pairs)


def entry(row: Row, draw: random.Random, seconds: float, *, is_sure: bool = False) -> dict[str, Any]:
    """One planned fault; a sure one lasts long enough and is frequent enough to meet an order or a frame."""
    low_s, high_s = row.for_s
    length_s = draw.uniform(max(low_s, (low_s + high_s) / 2) if is_sure else low_s, high_s)
    latest_s = max(FIRST_S + 1, seconds * LAST_FRACTION - length_s)
    return {
        "fault": str(row.fault),
        "target": draw.choice(row.targets),
        "at_s": round(draw.uniform(FIRST_S, latest_s), 3),
        "for_s": round(length_s, 3),
        "p": max(row.chances) if is_sure else draw.choice(row.chances),
        "seed": draw.randrange(2**31),
        **row.options(draw),
    }


def _crash(draw: random.Random, seconds: float) -> Crash:
    down_s = draw.choice((0.05, 1.0, 20.0))
    chance = draw.random()
    if chance < 0.2:
        return Crash(operation=draw.randint(1, 25), down_s=down_s)
    if chance < 0.6:
        return Crash(operation=draw.randint(1, OPERATIONS_MAX), down_s=down_s)
    return Crash(after_s=draw.random() * seconds * 0.7, down_s=down_s)
