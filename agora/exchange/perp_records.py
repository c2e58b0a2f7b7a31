"""What a perpetual-futures exchange is asked and what it tells: orders, positions, triggers, money. Values only.

Prices are ticks, sizes lots, money units of 1e-8 of the quote currency, times ns. Words of life cycles are the
venue's own, so that a server renders them as they are.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agora.domain.orders import Side
from agora.exchange.perp_reasons import PerpReason


class PerpType(StrEnum):
    """How an order meets the book."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


class Effect(StrEnum):
    """How long an order lives. Market orders take what is there at once, whatever their effect."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "POST_ONLY"


class TradeSide(StrEnum):
    """Whether an order of hedge mode opens or closes; one-way mode does not look at it."""

    NONE = ""
    OPEN = "OPEN"
    CLOSE = "CLOSE"


class PositionMode(StrEnum):
    """One position per symbol, or a long and a short beside one another; for the whole account."""

    ONE_WAY = "ONE_WAY"
    HEDGE = "HEDGE"


class MarginMode(StrEnum):
    """What stands behind a position: the whole wallet, or a part set aside (which this exchange refuses)."""

    CROSS = "CROSS"
    ISOLATION = "ISOLATION"


class PositionSide(StrEnum):
    """Direction of a position."""

    LONG = "LONG"
    SHORT = "SHORT"


class TriggerBy(StrEnum):
    """Which price a trigger looks at."""

    LAST_PRICE = "LAST_PRICE"
    MARK_PRICE = "MARK_PRICE"


class TradingMode(StrEnum):
    """What a symbol allows at present; house accounts are free of it."""

    OPEN = "OPEN"
    POST_ONLY = "POST_ONLY"
    CANCEL_ONLY = "CANCEL_ONLY"
    STOP = "STOP"


class PerpStatus(StrEnum):
    """Where an order stands. REJECTED is the answer to a refused request; such an order has no id and is not kept."""

    NEW = "NEW"
    PART_FILLED = "PART_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    PART_FILLED_CANCELED = "PART_FILLED_CANCELED"
    EXPIRED = "EXPIRED"
    SYSTEM_CANCELED = "SYSTEM_CANCELED"
    REJECTED = "REJECTED"


OPEN_STATUSES = frozenset({PerpStatus.NEW, PerpStatus.PART_FILLED})


class TpslStatus(StrEnum):
    """Where a take-profit and stop-loss row stands; FILLED: the trigger fired and its order was placed."""

    NEW = "NEW"
    CANCELED = "CANCELED"
    SYSTEM_CANCELED = "SYSTEM_CANCELED"
    FILLED = "FILLED"
    FAILED = "FAILED"


class TpslKind(StrEnum):
    """Whether a row closes a fixed size or whatever the position holds when it fires."""

    FIXED = "TPSL"
    POSITION = "POSITION_TPSL"


class ChangeEvent(StrEnum):
    """The word a push begins with. Orders and triggers are created, positions are opened."""

    CREATE = "CREATE"
    OPEN = "OPEN"
    UPDATE = "UPDATE"
    CLOSE = "CLOSE"


class OrderSource(StrEnum):
    """Who made an order: its owner over the API, somebody with the same account elsewhere, or the venue."""

    API = "api"
    WEB = "web"
    TPSL = "tpsl"
    LIQUIDATION = "liquidation"


class TriggerLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One half of a take-profit and stop-loss row: when it fires, and the order it then makes.

    `order_price_ticks` is 0 for a market order; `size_lots` 0 means as much as the row's kind says.
    """

    price_ticks: int
    by: TriggerBy = TriggerBy.LAST_PRICE
    order_type: PerpType = PerpType.MARKET
    order_price_ticks: int = 0
    size_lots: int = 0


class PerpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it is asked for.

    In hedge mode with CLOSE, `side` names the position (BUY closes a long) and `position_id` is needed, as on the
    venue's wire. `expire_ts_ns` (0: never) is for house quotes, which end by themselves. `tp` and `sl` wake with
    the order's fills.
    """

    symbol: str
    side: Side
    size_lots: int
    type: PerpType = PerpType.LIMIT
    effect: Effect = Effect.GTC
    price_ticks: int = 0
    trade_side: TradeSide = TradeSide.NONE
    position_id: int = 0
    client_id: str = ""
    reduce_only: bool = False
    expire_ts_ns: int = 0
    tp: TriggerLeg | None = None
    sl: TriggerLeg | None = None


class PerpOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order and what became of it so far. `side` is the actual action; `position_side` is None in one-way mode.

    `open_lots` may still trade (of a reduce-only order no more than its position holds); `cost_units` is the exact
    money its fills were done for. A refused request has order id 0, REJECTED and its reason; `reason` also says why
    an order ended unfilled.
    """

    order_id: int
    account: int
    symbol: str
    side: Side
    size_lots: int
    type: PerpType
    effect: Effect
    price_ticks: int
    status: PerpStatus
    reason: PerpReason = PerpReason.NONE
    client_id: str = ""
    reduce_only: bool = False
    position_side: PositionSide | None = None
    position_mode: PositionMode = PositionMode.ONE_WAY
    margin_mode: MarginMode = MarginMode.CROSS
    leverage: int = 1
    open_lots: int = 0
    filled_lots: int = 0
    cost_units: int = 0
    fee_units: int = 0
    realised_units: int = 0
    created_ns: int = 0
    changed_ns: int = 0
    source: OrderSource = OrderSource.API
    tp: TriggerLeg | None = None
    sl: TriggerLeg | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN_STATUSES

    @property
    def is_refused(self) -> bool:
        """Whether nothing happened."""
        return self.status is PerpStatus.REJECTED


class PerpTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a trade as its owner sees it; both sides have the same id. `realised_units` excludes the fee."""

    trade_id: int
    order_id: int
    account: int
    counterparty: int
    symbol: str
    side: Side
    price_ticks: int
    size_lots: int
    fee_units: int
    realised_units: int
    is_maker: bool
    ts_ns: int
    position_id: int
    client_id: str = ""
    type: PerpType = PerpType.LIMIT
    effect: Effect = Effect.GTC
    reduce_only: bool = False
    position_mode: PositionMode = PositionMode.ONE_WAY
    leverage: int = 1
    is_busted: bool = False


class PerpPosition(msgspec.Struct, frozen=True, kw_only=True):
    """An open position as of now. `size_lots` is positive, `cost_units` the exact money it was opened for, positive.

    `fee_units` is paid, `funding_units` received (negative: paid), `realised_units` excludes both: all since it was
    opened. `liquidation_ticks` is 0 when no price liquidates it at present.
    """

    position_id: int
    account: int
    symbol: str
    side: PositionSide
    size_lots: int
    cost_units: int
    margin_units: int
    maintenance_units: int
    unrealised_units: int
    realised_units: int
    fee_units: int
    funding_units: int
    liquidation_ticks: int
    leverage: int
    margin_mode: MarginMode
    position_mode: PositionMode
    created_ns: int
    changed_ns: int


class ClosedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position that has ended. Of `entry_units` and `close_units` divided by the lots the average prices follow."""

    position_id: int
    account: int
    symbol: str
    side: PositionSide
    lots_max: int
    entry_lots: int
    entry_units: int
    close_units: int
    liquidated_lots: int
    realised_units: int
    fee_units: int
    funding_units: int
    leverage: int
    margin_mode: MarginMode
    position_mode: PositionMode
    created_ns: int
    closed_ns: int


class TpslRow(msgspec.Struct, frozen=True, kw_only=True):
    """A take-profit, a stop-loss, or both of which the first to fire ends the other. `side` is the position's.

    `order_id` is the order whose fills woke it (0: placed by itself), `child_order_id` what the trigger made.
    """

    tpsl_id: int
    account: int
    symbol: str
    position_id: int
    side: PositionSide
    kind: TpslKind
    status: TpslStatus
    tp: TriggerLeg | None
    sl: TriggerLeg | None
    position_mode: PositionMode
    leverage: int
    created_ns: int
    changed_ns: int
    triggered_ns: int = 0
    order_id: int = 0
    child_order_id: int = 0
    reason: PerpReason = PerpReason.NONE


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money. `wallet = available + frozen + margin`: realised only; `unrealised` stands beside it."""

    account: int
    wallet_units: int
    available_units: int
    frozen_units: int
    margin_units: int
    unrealised_units: int


class WorstCase(msgspec.Struct, frozen=True, kw_only=True):
    """The largest position an account can come to in a symbol if all its open orders of one side fill."""

    symbol: str
    position_lots: int
    worst_lots: int
    worst_units: int


class FundingSettled(msgspec.Struct, frozen=True, kw_only=True):
    """A funding instant of a symbol: what was charged, and the pot's gain by rounding."""

    symbol: str
    ts_ns: int
    rate_ppb: int
    mark_ticks: int
    rounding_units: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange itself holds: fees collected, the insurance wallet, what funding leaves by rounding."""

    deposits_units: int
    fees_units: int
    funding_pot_units: int
    insurance_units: int


class OrderChanged(msgspec.Struct, frozen=True):
    """An order was created, traded, was modified or ended."""

    ts_ns: int
    event: ChangeEvent
    order: PerpOrder


class TradeMade(msgspec.Struct, frozen=True):
    """An account's side of a trade; `is_busted` in it: the trade was undone."""

    ts_ns: int
    trade: PerpTrade


class PositionChanged(msgspec.Struct, frozen=True):
    """A position was opened, changed or closed; a closed one has size 0."""

    ts_ns: int
    event: ChangeEvent
    position: PerpPosition


class BalanceChanged(msgspec.Struct, frozen=True):
    """An account's money changed by anything but the mark price."""

    ts_ns: int
    money: Money


class TpslChanged(msgspec.Struct, frozen=True):
    """A take-profit and stop-loss row was created, modified or ended."""

    ts_ns: int
    event: ChangeEvent
    row: TpslRow


class PublicTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade as everyone sees it; `side` is the taker's."""

    ts_ns: int
    symbol: str
    price_ticks: int
    size_lots: int
    side: Side


Change = OrderChanged | TradeMade | PositionChanged | BalanceChanged | TpslChanged | PublicTrade


class Bar(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Prices of one interval from `start_ns`; an interval without a trade repeats the close before it."""

    start_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    size_lots: int = 0
    quote_units: int = 0
    trades: int = 0


class PerpTicker(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol's last 24 hours (as far as there are bars) and its prices now."""

    symbol: str
    last_ticks: int
    mark_ticks: int
    index_ticks: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    size_lots: int
    quote_units: int
