"""The unified book once more, as a list of orders and a sort: what the exchange's fast book must agree with.

Every order stays what it was, an order for its own token; whether two of them match, and at which price, is said here
in the words of the venue: NORMAL, MINT, MERGE.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from agora.domain.orders import Side
from agora.exchange.binary_records import BinaryType, MatchKind, Outcome

WHOLE = 10_000
MAKERS_PER_TRADE = 3


@dataclass
class TwinOrder:
    """An order; `budget` is the dollars of a buyer whom dollars bound."""

    order_id: str
    account: int
    outcome: Outcome
    side: Side
    price: int
    open: int
    arrival: int = 0
    expires_ns: int = 0
    budget: int | None = None


@dataclass(frozen=True)
class TwinFill:
    """What one maker traded, as the maker sees it, and what the taker paid or got for it."""

    maker_id: str
    maker_account: int
    price: int
    size: int
    kind: MatchKind
    maker_money: int
    taker_money: int
    taker_price: int


@dataclass
class TwinAnswer:
    """What became of an order at once."""

    word: str
    fills: list[TwinFill] = field(default_factory=list)
    fee: int = 0


def kind_of(taker: TwinOrder, maker: TwinOrder) -> MatchKind | None:
    """How the two could match, prices aside."""
    if taker.outcome is maker.outcome:
        return MatchKind.NORMAL if taker.side is not maker.side else None
    if taker.side is not maker.side:
        return None
    return MatchKind.MINT if taker.side is Side.BUY else MatchKind.MERGE


def price_for(taker: TwinOrder, maker: TwinOrder) -> int:
    """What the taker's token costs with that maker: the maker's price, or what it leaves of a whole set."""
    return maker.price if taker.outcome is maker.outcome else WHOLE - maker.price


def exact_fee(rate: Decimal, price: int, size: int) -> int:
    """Shares * rate * p * (1 - p), five decimals, in millionths."""
    p = Decimal(price) / WHOLE
    fee = Decimal(size) / 10**6 * rate * p * (1 - p)
    if fee < Decimal("0.00001"):
        return 0
    return int(fee.quantize(Decimal("0.00001"), rounding=ROUND_HALF_EVEN) * 10**6)


class Twin:
    """All resting orders of a market, in order of arrival."""

    def __init__(self, rate: Decimal) -> None:
        self.rate = rate
        self.orders: list[TwinOrder] = []
        self.arrivals = 0
        self.now_ns = 0

    def pass_time(self, now_ns: int) -> None:
        """Orders whose time has come are gone."""
        self.now_ns = now_ns
        self.orders = [order for order in self.orders if not order.expires_ns or order.expires_ns > now_ns]

    def cancel(self, order_id: str) -> bool:
        """Take an order away."""
        kept = [order for order in self.orders if order.order_id != order_id]
        was_there = len(kept) < len(self.orders)
        self.orders = kept
        return was_there

    def reachable(self, taker: TwinOrder) -> list[TwinOrder]:
        """The orders that the taker's limit reaches, best for the taker first, then the earliest."""
        found = [
            maker
            for maker in self.orders
            if kind_of(taker, maker) is not None and (price_for(taker, maker) - taker.price) * taker.side <= 0
        ]
        return sorted(found, key=lambda maker: (price_for(taker, maker) * taker.side, maker.arrival))

    def submit(self, taker: TwinOrder, kind: BinaryType, *, is_post_only: bool = False) -> TwinAnswer:
        """Let an order trade and rest."""
        makers = self.reachable(taker)
        if is_post_only and makers:
            return TwinAnswer("post_only_crosses")
        if kind.is_immediate and not makers:
            return TwinAnswer("fok_not_filled" if kind is BinaryType.FOK else "fak_no_match")
        if kind is BinaryType.FOK and not self._fills_all(taker, makers):
            return TwinAnswer("fok_not_filled")
        fills = self._take(taker, makers)
        fee = self._fee(fills)
        left = taker.open if taker.budget is None else taker.budget * WHOLE // taker.price
        if kind.is_immediate or not left:
            return TwinAnswer("matched" if fills else "fak_no_match", fills, fee)
        self.arrivals += 1
        taker.arrival, taker.open, taker.budget = self.arrivals, left, None
        self.orders.append(taker)
        return TwinAnswer("live", fills, fee)

    def _fills_all(self, taker: TwinOrder, makers: list[TwinOrder]) -> bool:
        others = [maker for maker in makers if maker.account != taker.account]
        if taker.budget is None:
            return sum(maker.open for maker in others) >= taker.open
        return sum(price_for(taker, maker) * maker.open for maker in others) >= taker.budget * WHOLE

    def _take(self, taker: TwinOrder, makers: list[TwinOrder]) -> list[TwinFill]:
        fills: list[TwinFill] = []
        for maker in makers:
            price = price_for(taker, maker)
            wanted = taker.open if taker.budget is None else taker.budget * WHOLE // price
            if not wanted:
                if taker.budget is not None:
                    taker.budget = 0
                break
            if maker.account == taker.account:
                self.cancel(maker.order_id)
                continue
            fills.append(self._trade(taker, maker, min(wanted, maker.open)))
        return fills

    def _trade(self, taker: TwinOrder, maker: TwinOrder, size: int) -> TwinFill:
        """Move shares: a buying maker pays rounded down, a selling one gets rounded up; the taker has the rest."""
        kind, price = kind_of(taker, maker), price_for(taker, maker)
        assert kind is not None
        exact = maker.price * size
        maker_money = exact // WHOLE if maker.side is Side.BUY else -(-exact // WHOLE)
        taker_money = maker_money if kind is MatchKind.NORMAL else size - maker_money
        maker.open -= size
        if taker.budget is None:
            taker.open -= size
        else:
            taker.budget -= taker_money
        if not maker.open:
            self.cancel(maker.order_id)
        return TwinFill(maker.order_id, maker.account, maker.price, size, kind, maker_money, taker_money, price)

    def _fee(self, fills: list[TwinFill]) -> int:
        """The fee of each trade: fills at one price, a few makers each."""
        trades: list[list[TwinFill]] = []
        for fill in fills:
            last = trades[-1] if trades else []
            if last and last[0].taker_price == fill.taker_price and len(last) < MAKERS_PER_TRADE:
                last.append(fill)
            else:
                trades.append([fill])
        return sum(exact_fee(self.rate, trade[0].taker_price, sum(fill.size for fill in trade)) for trade in trades)

    def levels(self, outcome: Outcome, side: Side) -> list[tuple[int, int]]:
        """Price and size of a token's side, best first: its own orders and the other token's complements."""
        sizes: dict[int, int] = {}
        for order in self.orders:
            is_own = order.outcome is outcome and order.side is side
            is_complement = order.outcome is not outcome and order.side is not side
            if is_own or is_complement:
                price = order.price if is_own else WHOLE - order.price
                sizes[price] = sizes.get(price, 0) + order.open
        return sorted(sizes.items(), reverse=side is Side.BUY)
