"""What an exchange of binary markets is asked and what it tells: orders, trades, levels, sets. Values only.

Prices are points (0.0001 of the collateral), shares and collateral millionths, times ns. Words of life cycles are the
venue's own, so that a server renders them as they are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from agora.domain.orders import Side
from agora.exchange.binary_reasons import BinaryReason


class Outcome(StrEnum):
    """The two tokens of a market."""

    UP = "Up"
    DOWN = "Down"

    @property
    def other(self) -> Outcome:
        """The other token."""
        return Outcome.DOWN if self is Outcome.UP else Outcome.UP


class BinaryType(StrEnum):
    """How long an order lives."""

    GTC = "GTC"
    GTD = "GTD"
    FOK = "FOK"
    FAK = "FAK"

    @property
    def is_immediate(self) -> bool:
        """Whether it never rests."""
        return self in {BinaryType.FOK, BinaryType.FAK}


class BinaryStatus(StrEnum):
    """Where an order stands.

    DELAYED is held before it meets the book. UNMATCHED was held, found nothing any more, and rests. INVALID is the
    answer to a refused request, which is not kept. MATCHED has ended; a FAK order's remainder was given up.
    """

    LIVE = "LIVE"
    DELAYED = "DELAYED"
    UNMATCHED = "UNMATCHED"
    MATCHED = "MATCHED"
    CANCELED = "CANCELED"
    CANCELED_MARKET_RESOLVED = "CANCELED_MARKET_RESOLVED"
    CANCELED_NOT_ENOUGH_BALANCE = "CANCELED_NOT_ENOUGH_BALANCE"
    CANCELED_EXPIRED_ORDER = "CANCELED_EXPIRED_ORDER"
    INVALID = "INVALID"


OPEN_STATUSES = frozenset({BinaryStatus.LIVE, BinaryStatus.DELAYED, BinaryStatus.UNMATCHED})


class TradeStatus(StrEnum):
    """Where a trade stands; CONFIRMED and FAILED are for good."""

    MATCHED = "MATCHED"
    MINED = "MINED"
    RETRYING = "RETRYING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"


class TradePath(StrEnum):
    """What becomes of a trade after it was matched."""

    CONFIRMS = "confirms"
    RETRIES = "retries"
    FAILS = "fails"


class MatchKind(StrEnum):
    """NORMAL: a token changes hands. MINT: two buyers pay for a new set. MERGE: two sellers give up a set."""

    NORMAL = "NORMAL"
    MINT = "MINT"
    MERGE = "MERGE"


class MarketState(StrEnum):
    """The life of a window."""

    CREATED = "created"
    OPEN = "open"
    CLOSED = "closed"
    RESOLVED = "resolved"


class EngineMode(StrEnum):
    """What the whole exchange allows at present."""

    NORMAL = "normal"
    RESTARTING = "restarting"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    DISABLED = "disabled"


class SetKind(StrEnum):
    """What is done with complete sets."""

    SPLIT = "SPLIT"
    MERGE = "MERGE"
    REDEEM = "REDEEM"


class OrderEvent(StrEnum):
    """The word an order's change is told with."""

    PLACEMENT = "PLACEMENT"
    UPDATE = "UPDATE"
    CANCELLATION = "CANCELLATION"


class BinaryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it was signed. `order_id` is its digest, given by whoever takes it; `key` the API key it came with.

    A buyer makes collateral and takes shares, a seller the reverse. `expiration_s` is 0 but for GTD.
    """

    order_id: str
    token_id: str
    side: Side
    maker_amount: int
    taker_amount: int
    order_type: BinaryType = BinaryType.GTC
    is_post_only: bool = False
    expiration_s: int = 0
    key: str = ""


class BinaryOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order and what became of it so far.

    `size_units` are the shares it names; a buyer bounded by dollars may match more. `open_units` may still trade;
    `matched_units` and `cost_units` are the shares and the collateral (without fees) of its trades, the FAILED ones
    included: a trade that fails gives the money back and leaves the order as it is. `reason` says why it was refused
    or ended.
    """

    order_id: str
    account: int
    key: str
    condition_id: str
    token_id: str
    outcome: Outcome
    side: Side
    order_type: BinaryType
    is_post_only: bool
    price_points: int
    size_units: int
    maker_amount: int
    taker_amount: int
    expiration_s: int
    status: BinaryStatus
    reason: BinaryReason = BinaryReason.NONE
    open_units: int = 0
    matched_units: int = 0
    cost_units: int = 0
    fee_units: int = 0
    trade_ids: tuple[int, ...] = ()
    created_ns: int = 0
    changed_ns: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it rests or is held."""
        return self.status in OPEN_STATUSES

    @property
    def is_refused(self) -> bool:
        """Whether nothing happened."""
        return self.status is BinaryStatus.INVALID

    @property
    def making_units(self) -> int:
        """What it has given: collateral of a buyer, shares of a seller."""
        return self.cost_units if self.side is Side.BUY else self.matched_units

    @property
    def taking_units(self) -> int:
        """What it has received: shares of a buyer, collateral of a seller."""
        return self.matched_units if self.side is Side.BUY else self.cost_units


class TradeSide(msgspec.Struct, frozen=True, kw_only=True):
    """One order's part in a trade: its own token, side and price, whatever the other side's were.

    A buyer gives `cost_units` and `fee_units` of collateral for `size_units` shares; a seller gives the shares for
    the cost less the fee.
    """

    order_id: str
    account: int
    key: str
    token_id: str
    outcome: Outcome
    side: Side
    price_points: int
    size_units: int
    cost_units: int
    kind: MatchKind = MatchKind.NORMAL
    fee_units: int = 0


class BinaryTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One taker's trade at one price with one or more makers. `taker.kind` says nothing: each maker has its own.

    `bucket_index` numbers the trades of one match; `attempts` counts the transactions sent for it.
    """

    trade_id: int
    condition_id: str
    taker: TradeSide
    makers: tuple[TradeSide, ...]
    bucket_index: int
    status: TradeStatus
    matched_ns: int
    changed_ns: int
    attempts: int = 1

    @property
    def sides(self) -> tuple[TradeSide, ...]:
        """All parts, the taker's first."""
        return (self.taker, *self.makers)

    def side_of(self, account: int) -> TradeSide | None:
        """An account's own part, the taker's first."""
        return next((side for side in self.sides if side.account == account), None)


class TradeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which trades are asked for; what is empty or 0 does not restrict. `after_ns` and `before_ns` are exclusive."""

    trade_id: int = 0
    condition_id: str = ""
    token_id: str = ""
    after_ns: int = 0
    before_ns: int = 0
    limit: int = 1_000


class SetOperation(msgspec.Struct, frozen=True, kw_only=True):
    """A split, merge or redemption. `paid_units` is the collateral that a redemption or merge brings."""

    number: int
    account: int
    condition_id: str
    kind: SetKind
    up_units: int
    down_units: int
    paid_units: int
    asked_ns: int
    is_settled: bool = False


class BookLevel(NamedTuple):
    """All that rests at one price."""

    price_points: int
    size_units: int


class TokenBook(msgspec.Struct, frozen=True, kw_only=True):
    """A token's book, best levels first: its own orders and the complements of the other token's."""

    token_id: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    last_points: int


class LevelChange(NamedTuple):
    """What a level of a token's book holds now (0: nothing), and the token's touch (0: none)."""

    token_id: str
    side: Side
    price_points: int
    size_units: int
    best_bid_points: int
    best_ask_points: int


class MarketView(msgspec.Struct, frozen=True, kw_only=True):
    """A market as everyone may see it."""

    condition_id: str
    slug: str
    up_token: str
    down_token: str
    open_ns: int
    start_ns: int
    end_ns: int
    tick_points: int
    size_min_units: int
    state: MarketState
    winner: Outcome | None
    sets_units: int


class Holding(NamedTuple):
    """What an account has of an asset: free, held for open orders, and coming from trades that are not confirmed."""

    free_units: int
    held_units: int
    coming_units: int


class HeartbeatAnswer(NamedTuple):
    """Whether a heartbeat counted, and the id to send next."""

    is_accepted: bool
    next_id: str


class OrderChanged(NamedTuple):
    """An order was taken, traded or ended."""

    ts_ns: int
    event: OrderEvent
    order: BinaryOrder


class TradeChanged(NamedTuple):
    """A trade was made or got on."""

    ts_ns: int
    trade: BinaryTrade


class LastTrade(NamedTuple):
    """A trade as everyone sees it, from the taker's side."""

    ts_ns: int
    condition_id: str
    token_id: str
    side: Side
    price_points: int
    size_units: int
    trade_id: int


class BookChanged(NamedTuple):
    """Levels of both tokens that one command changed; each level stands there once for each token."""

    ts_ns: int
    condition_id: str
    levels: tuple[LevelChange, ...]


class TickSizeChanged(NamedTuple):
    """Prices of a market have another grid from now on."""

    ts_ns: int
    condition_id: str
    old_points: int
    new_points: int


class MarketChanged(NamedTuple):
    """A market entered the next state of its life."""

    ts_ns: int
    market: MarketView


class SetChanged(NamedTuple):
    """A split, merge or redemption was asked for or settled."""

    ts_ns: int
    operation: SetOperation


class ModeChanged(NamedTuple):
    """The exchange allows something else now."""

    ts_ns: int
    mode: EngineMode


BinaryChange = (
    OrderChanged | TradeChanged | LastTrade | BookChanged | TickSizeChanged | MarketChanged | SetChanged | ModeChanged
)
