"""Orders: their words, their record and the one life-cycle table that runs the program and draws the manual."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class Side(IntEnum):
    """Direction of an order; the value is the sign of the position it adds."""

    BUY = 1
    SELL = -1

    @property
    def word(self) -> str:
        """`buy` or `sell`, as records and reports say it."""
        return "buy" if self is Side.BUY else "sell"


class OrderType(StrEnum):
    """How an order meets the market."""

    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"
    TAKE_PROFIT = "take_profit"


class TimeInForce(StrEnum):
    """How long an order lives."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    GTD = "gtd"


class Purpose(StrEnum):
    """Why an order exists."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"
    TARGET = "target"
    FLATTEN = "flatten"
    LIQUIDATION = "liquidation"
    FOREIGN = "foreign"


class OrderStatus(StrEnum):
    """Where an order stands. *Unknown* is a state, not an error: it counts at worst case until evidence ends it."""

    PLANNED = "planned"
    SENT = "sent"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class OrderChange(StrEnum):
    """What can happen to an order, as the life-cycle sees it."""

    SEND = "send"
    ACCEPT = "accept"
    REJECT = "reject"
    LOSE = "lose"
    FILL_PART = "fill_part"
    FILL_REST = "fill_rest"
    CANCEL = "cancel"
    EXPIRE = "expire"


TERMINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED})

_S, _C = OrderStatus, OrderChange
_ANSWERS: dict[OrderChange, OrderStatus] = {
    _C.ACCEPT: _S.ACCEPTED,
    _C.REJECT: _S.REJECTED,
    _C.LOSE: _S.UNKNOWN,
    _C.FILL_PART: _S.PARTIALLY_FILLED,
    _C.FILL_REST: _S.FILLED,
    _C.CANCEL: _S.CANCELLED,
    _C.EXPIRE: _S.EXPIRED,
}
_WORKING: dict[OrderChange, OrderStatus] = {
    _C.FILL_PART: _S.PARTIALLY_FILLED,
    _C.FILL_REST: _S.FILLED,
    _C.CANCEL: _S.CANCELLED,
    _C.EXPIRE: _S.EXPIRED,
}

# A venue may report a fill before its acknowledgement, so every answer is legal from `sent` and `unknown`.
# A fill after a terminal state is real money: the fill wins (a cancel can cross a fill on the wire).
LIFE_CYCLE: dict[OrderStatus, dict[OrderChange, OrderStatus]] = {
    _S.PLANNED: {_C.SEND: _S.SENT, **_ANSWERS},
    _S.SENT: _ANSWERS,
    _S.UNKNOWN: _ANSWERS,
    _S.ACCEPTED: _WORKING,
    _S.PARTIALLY_FILLED: _WORKING,
    _S.FILLED: {},
    _S.CANCELLED: {_C.FILL_PART: _S.CANCELLED, _C.FILL_REST: _S.FILLED},
    _S.REJECTED: {_C.FILL_PART: _S.PARTIALLY_FILLED, _C.FILL_REST: _S.FILLED},
    _S.EXPIRED: {_C.FILL_PART: _S.EXPIRED, _C.FILL_REST: _S.FILLED},
}


def next_status(status: OrderStatus, change: OrderChange) -> OrderStatus | None:
    """The status after a change, or None when the change says nothing new (a repeated or late message)."""
    return LIFE_CYCLE[status].get(change)


class Order(msgspec.Struct, kw_only=True):
    """One order of ours and everything known about it. Sizes in lots, prices in ticks, times in ns.

    `parent` names the entry order of a bracket: such a stop or target sleeps at the venue until the
    parent fills and then works for the filled size.
    """

    client_id: str
    number: int
    trader: str
    instrument: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    purpose: Purpose
    size_lots: int
    price_ticks: int = 0
    trigger_ticks: int = 0
    expire_ts_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
    parent: str = ""
    status: OrderStatus = OrderStatus.PLANNED
    venue_id: str = ""
    filled_lots: int = 0
    planned_ts_ns: int = 0
    changed_ts_ns: int = 0
    is_cancel_requested: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the order may still trade, as far as we know."""
        return self.status not in TERMINAL

    @property
    def remaining_lots(self) -> int:
        """What may still fill."""
        return self.size_lots - self.filled_lots
