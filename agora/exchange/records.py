"""What the exchange tells: receipts of orders, trades, and the places of an account. Values only.

Prices are ticks, sizes lots, money units of 1e-8 of the quote currency, times ns.
"""

from __future__ import annotations

import msgspec

from agora.domain.orders import OrderStatus, Side
from agora.exchange.requests import Reason


class ReceiptFill(msgspec.Struct, frozen=True, gc=False):
    """One fill of the order that a receipt is about."""

    price_ticks: int
    size_lots: int
    fee_units: int
    is_maker: bool = False


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request at once.

    `status` REJECTED changed nothing. CANCELLED with fills is an order whose remainder ended; `reason` says why.
    `remaining_lots` is what rests or waits.
    """

    order_id: int
    status: OrderStatus
    reason: Reason = Reason.NONE
    fills: tuple[ReceiptFill, ...] = ()
    remaining_lots: int = 0

    @property
    def is_refused(self) -> bool:
        """Whether nothing happened."""
        return self.status is OrderStatus.REJECTED

    @property
    def filled_lots(self) -> int:
        """What was traded at once."""
        return sum(fill.size_lots for fill in self.fills)


class Trade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A trade, both of its sides. `number` counts the exchange's trades from 1; `aggressor` is the taker's side."""

    number: int
    ts_ns: int
    symbol: str
    price_ticks: int
    size_lots: int
    aggressor: Side
    maker: int
    taker: int
    maker_order_id: int
    taker_order_id: int
    maker_fee_units: int
    taker_fee_units: int


class DepthLevel(msgspec.Struct, frozen=True, gc=False):
    """One price of the book and what rests there."""

    price_ticks: int
    size_lots: int
    orders: int


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of a book, best first."""

    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]


class Candle(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The trades of one interval from `start_ns`; `buy_lots` is the part that buyers took."""

    start_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    size_lots: int
    trades: int
    buy_lots: int


class Ticker(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An asset since the exchange opened: last price against the listing price, range, traded lots."""

    symbol: str
    last_ticks: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    size_lots: int
    trades: int
    change_fraction: float
