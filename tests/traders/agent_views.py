"""What tests of personas stand on: a view of two assets that a test fills in, and an account that settles requests."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal

from agora.domain.instruments import Instrument
from agora.domain.numbers import MONEY_SCALE
from agora.domain.orders import Side
from agora.exchange.requests import CancelRequest, NewsItem, OpenOrder, OrderRequest, Request, Touch

FIRST = "ARBO"
SECOND = "BRIO"


@functools.cache
def instrument(symbol: str, *, taker_fee_ppm: int = 100) -> Instrument:
    """An asset in steps of a cent and of one unit."""
    return Instrument(
        symbol=symbol,
        base=symbol,
        quote="USD",
        tick_size="0.01",
        lot_size="1",
        maker_fee_ppm=0,
        taker_fee_ppm=taker_fee_ppm,
    )


def lot_hold(traded: Instrument, price_ticks: int) -> int:
    """What the exchange holds for a lot of a resting buy: its price and the dearer fee, rounded up per lot."""
    units = Decimal(price_ticks) * traded.tick_lot_units
    fee = units * max(traded.maker_fee_ppm, traded.taker_fee_ppm) / 1_000_000
    return int(units + fee.to_integral_value(ROUND_CEILING))


@dataclass
class AssetFacts:
    """What the market and the account show of one asset; the touch is two ticks wide around `last` unless set."""

    last: int = 10_000
    touch: Touch | None = None
    closes: list[int] = field(default_factory=list)
    position: int = 0
    average: float = 0.0
    orders: list[OpenOrder] = field(default_factory=list)


@dataclass
class MarketView:
    """A view (port `AgentView`) of a small market; every fact is a field."""

    tick: int = 1_000
    cash_units: int = 100_000 * MONEY_SCALE
    assets: dict[str, AssetFacts] = field(default_factory=lambda: {FIRST: AssetFacts()})
    items: list[NewsItem] = field(default_factory=list)
    shorting: bool = False
    taker_fee_ppm: int = 100

    @property
    def now_ns(self) -> int:
        """A second per tick."""
        return self.tick * 10**9

    @property
    def symbols(self) -> Sequence[str]:
        """As set."""
        return list(self.assets)

    def instrument(self, symbol: str) -> Instrument:
        """In cents and whole units."""
        return instrument(symbol, taker_fee_ppm=self.taker_fee_ppm)

    def touch(self, symbol: str) -> Touch:
        """As set, or a tick on each side of the last price."""
        facts = self.assets[symbol]
        return facts.touch or Touch(facts.last - 1, 500, facts.last + 1, 500)

    def last_ticks(self, symbol: str) -> int:
        """As set."""
        return self.assets[symbol].last

    def closes_ticks(self, symbol: str) -> Sequence[int]:
        """As set, the newest 256."""
        return self.assets[symbol].closes[-256:]

    def news(self) -> Sequence[NewsItem]:
        """As set, the newest 8."""
        return self.items[-8:]

    def free_cash_units(self, symbol: str) -> int:
        """Cash less the holds of resting buys."""
        held = (
            order.remaining_lots * lot_hold(self.instrument(name), order.price_ticks)
            for name, facts in self.assets.items()
            for order in facts.orders
            if order.side is Side.BUY
        )
        assert symbol in self.assets
        return self.cash_units - sum(held)

    def position_lots(self, symbol: str) -> int:
        """As set."""
        return self.assets[symbol].position

    def free_lots(self, symbol: str) -> int:
        """The position less what resting sells hold."""
        facts = self.assets[symbol]
        return facts.position - sum(order.remaining_lots for order in facts.orders if order.side is Side.SELL)

    def average_price_ticks(self, symbol: str) -> float:
        """As set."""
        return self.assets[symbol].average

    def equity_units(self, symbol: str) -> int:
        """Cash and positions at last prices."""
        assert symbol in self.assets
        worth = (
            self.instrument(name).notional_units(facts.last, facts.position) for name, facts in self.assets.items()
        )
        return self.cash_units + sum(worth)

    def may_short(self, symbol: str) -> bool:
        """As set, for all assets."""
        assert symbol in self.assets
        return self.shorting

    def open_orders(self, symbol: str) -> Sequence[OpenOrder]:
        """As set."""
        return self.assets[symbol].orders


def market(last: int = 10_000, *, closes: Iterable[int] = (), position: int = 0, average: float = 0.0) -> MarketView:
    """A market of one asset with that price, history and position."""
    facts = AssetFacts(last=last, closes=list(closes), position=position, average=average)
    return MarketView(assets={FIRST: facts})


def resting(order_id: int, side: Side, price_ticks: int, *, lots: int = 10) -> OpenOrder:
    """An own order in the book of the first asset."""
    return OpenOrder(
        order_id=order_id, symbol=FIRST, side=side, price_ticks=price_ticks, trigger_ticks=0, remaining_lots=lots
    )


def refusal(view: MarketView, requests: Sequence[Request]) -> str:
    """Why an exchange that holds funds as ours does would refuse one of these requests in their order; "": none.

    Every order is taken to rest: that is the dearest that can happen to it.
    """
    assets = {name: replace(facts, orders=list(facts.orders)) for name, facts in view.assets.items()}
    account = replace(view, assets=assets)
    for number, request in enumerate(requests):
        if isinstance(request, CancelRequest):
            facts = assets[request.symbol]
            facts.orders = [order for order in facts.orders if request.order_id not in {0, order.order_id}]
            continue
        fault = _fault(account, request)
        if fault:
            return f"request {number}: {fault}: {request}"
        assets[request.symbol].orders.append(_rested(request, order_id=10**6 + number))
    return ""


def _rested(request: OrderRequest, *, order_id: int) -> OpenOrder:
    return OpenOrder(
        order_id=order_id,
        symbol=request.symbol,
        side=request.side,
        price_ticks=request.price_ticks,
        trigger_ticks=0,
        remaining_lots=request.size_lots,
    )


def _fault(account: MarketView, request: OrderRequest) -> str:
    traded = account.instrument(request.symbol)
    if request.price_ticks < 1:
        return "price below one tick"
    if not traded.lots_min <= request.size_lots <= traded.lots_max:
        return "size out of bounds"
    units = request.size_lots * lot_hold(traded, request.price_ticks)
    facts = account.assets[request.symbol]
    if request.side is Side.BUY:
        bids = sum(order.remaining_lots for order in facts.orders if order.side is Side.BUY)
        covering = min(request.size_lots, max(0, -facts.position - bids))
        # Buying back frees the proceeds of the short, which its cash includes.
        freed = covering * int(facts.average) * traded.tick_lot_units
        return "not enough cash" if max(0, units - freed) > max(0, account.free_cash_units(request.symbol)) else ""
    beyond = request.size_lots - max(0, account.free_lots(request.symbol))
    if beyond <= 0:
        return ""
    if not account.shorting:
        return "not enough units"
    margin = beyond * lot_hold(traded, request.price_ticks)
    return "not enough margin" if margin > account.free_cash_units(request.symbol) else ""
