"""Scripts of calls a trader can read, and what they must report, for the kernel and its plain twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agora.kernels import fills as k
from tests.kernels.fill_streams import Call, Kernel, Shape, make_twin, twin_rows
from tests.kernels.fills_twin import Row

BUY, SELL = k.BUY, k.SELL
TS_STEP = 10  # the n-th call of a case happens at ts 10 * n, the first at 10

Fact = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """Calls in order and what they must report (code, id, price, size, detail), acceptances left out."""

    name: str
    calls: list[Call]
    facts: list[Fact]
    position: int | None = None
    limits: dict[str, int] = field(default_factory=dict)


def order(
    order_id: int, side: int, kind: int, size: int, price: int = 0, trigger: int = 0, *,
    tif: int = k.GTC, flags: int = 0, until: int = 0, parent: int = 0,
) -> Call:  # fmt: skip
    """An arrival."""
    return "arrive", (order_id, side, kind, tif, flags, price, trigger, size, until, parent)


def limit(order_id: int, side: int, price: int, size: int, **rest: int) -> Call:
    """A limit order."""
    return order(order_id, side, k.LIMIT, size, price, **rest)


def market(order_id: int, side: int, size: int, **rest: int) -> Call:
    """A market order."""
    return order(order_id, side, k.MARKET, size, **rest)


def stop(order_id: int, side: int, trigger: int, size: int = 0, **rest: int) -> Call:
    """A stop order."""
    return order(order_id, side, k.STOP, size, 0, trigger, **rest)


def target(order_id: int, side: int, trigger: int, size: int = 0, **rest: int) -> Call:
    """A take-profit order."""
    return order(order_id, side, k.TAKE_PROFIT, size, 0, trigger, **rest)


def bar(open_ticks: int, high: int, low: int, close: int, volume: int = 1000) -> Call:
    """A closed bar; of 1000 lots we may take 100."""
    return "on_candle", (open_ticks, high, low, close, volume)


def quote(bid: int, bid_size: int, ask: int, ask_size: int) -> Call:
    """A quote."""
    return "on_quote", (bid, bid_size, ask, ask_size)


def trade(price: int, size: int, aggressor: int = 0) -> Call:
    """A trade."""
    return "on_trade", (price, size, aggressor)


def book(*levels: tuple[int, int, int], snapshot: bool = True) -> Call:
    """A depth message."""
    return "on_depth", (levels, snapshot)


def hold(lots: int) -> Call:
    """A position from before."""
    return "set_position", (lots,)


def fill(order_id: int, price: int, size: int, *, taker: int = 0) -> Fact:
    """A fill."""
    return k.FILL, order_id, price, size, taker


def take(order_id: int, price: int, size: int) -> Fact:
    """A fill as taker."""
    return fill(order_id, price, size, taker=1)


def fired(order_id: int, trigger: int, size: int) -> Fact:
    """A trigger."""
    return k.TRIGGERED, order_id, trigger, size, 0


def ended(order_id: int, price: int, size: int, reason: int) -> Fact:
    """A cancellation."""
    return k.CANCELLED, order_id, price, size, reason


def refused(order_id: int, price: int, size: int, reason: int) -> Fact:
    """A rejection."""
    return k.REJECTED, order_id, price, size, reason


RO, PO = k.REDUCE_ONLY, k.POST_ONLY
FLAT = k.REDUCE_ONLY_FLAT
CALM = bar(1000, 1000, 1000, 1000)
QUOTE = quote(1000, 50, 1002, 50)
BOOK = book((BUY, 1000, 50), (BUY, 999, 30), (SELL, 1002, 10), (SELL, 1003, 20), (SELL, 1005, 40))

Player = Callable[[Case], tuple[list[Fact], int]]


def play_kernel(case: Case) -> tuple[list[Fact], int]:
    """Play a case through the compiled kernel; return what it reported and the position."""
    kernel = Kernel(_shape(case.limits))
    return _facts(case, kernel.play), k.position(kernel.buf)


def play_twin(case: Case) -> tuple[list[Fact], int]:
    """Play a case through the plain twin; return what it reported and the position."""
    twin = make_twin(_shape(case.limits))
    return _facts(case, lambda call: twin_rows(twin, call)), twin.position


def _facts(case: Case, play: Callable[[Call], list[Row]]) -> list[Fact]:
    rows = [row for number, call in enumerate(case.calls, 1) for row in play(_at(TS_STEP * number, call))]
    return [row[:5] for row in rows if row[0] != k.ACCEPTED]


def _shape(limits: dict[str, int]) -> Shape:
    defaults = {
        "order_capacity": 64,
        "level_capacity": 1000,
        "half_spread_ppm": 500,
        "participation_ppm": 100_000,
        "cancel_ahead_ppm": 500_000,
    }
    return Shape(**(defaults | limits))


def _at(ts: int, call: Call) -> Call:
    name, arguments = call
    return call if name in ("set_position", "depth_lost") else (name, (ts, *arguments))
