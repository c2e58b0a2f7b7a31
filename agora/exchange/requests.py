"""What is asked of the exchange and what it answers; what an agent of the market may see and say.

Prices are ticks, sizes lots, money units of 1e-8 of the quote currency, times ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.orders import OrderType, Side, TimeInForce


class SelfTrade(StrEnum):
    """What happens when an order would meet one of the same account; no trade with oneself takes place."""

    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"


class Reason(StrEnum):
    """Why the exchange refused or ended something; a refusal changes nothing."""

    NONE = ""
    UNKNOWN_ASSET = "unknown_asset"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_ORDER = "unknown_order"
    NOT_YOURS = "not_yours"
    DUPLICATE_ID = "duplicate_id"
    BAD_PRICE = "bad_price"
    BAD_SIZE = "bad_size"
    BAD_TRIGGER = "bad_trigger"
    BAD_EXPIRY = "bad_expiry"
    BAD_COMBINATION = "bad_combination"
    TOO_LARGE = "too_large"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INSUFFICIENT_UNITS = "insufficient_units"
    SHORTING_NOT_ALLOWED = "shorting_not_allowed"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    REDUCE_ONLY_NO_POSITION = "reduce_only_no_position"
    FOK_NOT_FILLABLE = "fok_not_fillable"
    NO_LIQUIDITY = "no_liquidity"
    IOC_REMAINDER = "ioc_remainder"
    CAPACITY = "capacity"
    SELF_TRADE = "self_trade"
    REQUESTED = "requested"
    EXPIRED = "expired"
    LIQUIDATION = "liquidation"


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order. STOP and TAKE_PROFIT wait for the last price to reach `trigger_ticks`, then trade as a limit order
    (`price_ticks` set) or at market (0). `client_id` ("": none) may be used once per account.
    """

    symbol: str
    side: Side
    size_lots: int
    type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    price_ticks: int = 0
    trigger_ticks: int = 0
    expire_ts_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    client_id: str = ""


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel an order of one's own; `order_id` 0: all of one's orders in that symbol."""

    symbol: str
    order_id: int = 0


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A resting order as its owner sees it."""

    order_id: int
    symbol: str
    side: Side
    price_ticks: int
    trigger_ticks: int
    remaining_lots: int


class Touch(msgspec.Struct, frozen=True):
    """Best bid and ask with their sizes; price 0 and size 0 where a side is empty."""

    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


class NewsItem(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of news: untrusted text with a machine-readable tone in [-1, 1]; `symbols` empty: all."""

    tick: int
    text: str
    tone: float
    symbols: tuple[str, ...] = ()
    source: str = ""


class AgentView(Protocol):
    """What an agent may look at: its own account and what everyone sees, as of the end of the last tick."""

    @property
    def tick(self) -> int:
        """Number of the tick that is being decided; 1 is the first."""
        ...

    @property
    def now_ns(self) -> int:
        """The market's clock."""
        ...

    @property
    def symbols(self) -> Sequence[str]:
        """All assets, in a fixed order."""
        ...

    def instrument(self, symbol: str) -> Instrument:
        """Steps and fees."""
        ...

    def touch(self, symbol: str) -> Touch:
        """Best bid and ask."""
        ...

    def last_ticks(self, symbol: str) -> int:
        """The last trade's price, or the listing price before the first trade."""
        ...

    def closes_ticks(self, symbol: str) -> Sequence[int]:
        """Last prices at the ends of past ticks, oldest first, at most 256."""
        ...

    def news(self) -> Sequence[NewsItem]:
        """The newest items, oldest first, at most 8."""
        ...

    def free_cash_units(self, symbol: str) -> int:
        """Cash in the quote currency of that asset that no order holds."""
        ...

    def position_lots(self, symbol: str) -> int:
        """Units owned (negative: short)."""
        ...

    def free_lots(self, symbol: str) -> int:
        """Units owned that no order holds."""
        ...

    def average_price_ticks(self, symbol: str) -> float:
        """Average cost of the position; 0.0 when there is none."""
        ...

    def equity_units(self, symbol: str) -> int:
        """Cash and positions in the quote currency of that asset, at last prices."""
        ...

    def may_short(self, symbol: str) -> bool:
        """Whether selling more than one owns is allowed there."""
        ...

    def open_orders(self, symbol: str) -> Sequence[OpenOrder]:
        """The agent's own resting orders, oldest first."""
        ...


Request = OrderRequest | CancelRequest


class Agent(Protocol):
    """A rule-based participant: decides from a view, remembers little, and all of it in `snapshot`."""

    name: str

    def decide(self, view: AgentView) -> Sequence[Request]:
        """What to do in this tick, in order; empty: nothing."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered, random state included, as plain JSON values of bounded size."""
        ...

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        ...
