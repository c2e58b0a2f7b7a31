"""The others in the up/down markets of the loopback Polymarket: makers around a fair value, informed and noise takers.

Seeded: the same seed, fair values and times make the same flow, whatever accounts do in between. The fair value is a
callable that is handed in; nobody here knows where it comes from. Prices are points of the exchange.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from agora.domain.dice import Dice
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_prices import POINTS, SIZE_STEP_UNITS, UNIT, complement, value_down
from agora.exchange.binary_records import (
    BinaryOrder,
    BinaryRequest,
    BinaryType,
    MarketState,
    MarketView,
    Outcome,
)

# Ten billion dollars: the others never run dry.
HOUSE_UNITS = 10**10 * UNIT
# Sets that makers and takers begin a window with, so that they sell what they have and do not only mint.
HOUSE_SETS_UNITS = 10**6 * UNIT
# Sizes of quotes: a lognormal around the usual one.
SIZE_SIGMA = 0.6
# Makers place orders for the other token as often as for this one: both are the same quote.
OTHER_TOKEN_SHARE = 0.5
# Quotes and takers of so many markets a tick; the rest waits for the next.
MARKETS_AT_ONCE_MAX = 8


class FlowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How lively the market of a window is."""

    quote_ms: Annotated[int, Meta(ge=50, le=60_000, description="makers renew their quotes so often, ms")] = 500
    levels: Annotated[int, Meta(ge=1, le=40, description="price levels of makers on each side")] = 8
    half_spread_points: Annotated[int, Meta(ge=0, le=2_000, description="makers' distance from their value")] = 100
    maker_noise_points: Annotated[int, Meta(ge=0, le=2_000, description="error of makers' value, sd in points")] = 60
    level_shares: Annotated[float, Meta(ge=5, le=100_000, description="usual size of a quote, shares")] = 60.0
    noise_per_s: Annotated[float, Meta(ge=0, le=50, description="noise takers per second and window")] = 0.5
    noise_dollars: Annotated[float, Meta(ge=1, le=100_000, description="what a noise taker spends on average")] = 15.0
    informed_per_s: Annotated[float, Meta(ge=0, le=50, description="looks of informed takers per second")] = 1.0
    informed_edge_points: Annotated[int, Meta(ge=0, le=5_000, description="what an informed taker wants to gain")] = 200
    informed_shares: Annotated[float, Meta(ge=5, le=100_000, description="what an informed taker takes, shares")] = 40.0


# The probability that a market settles Up, as well as anybody can know it now; None: nobody can, nobody trades.
FairValue = Callable[[MarketView], float | None]


class Quote(NamedTuple):
    """A limit order for a token."""

    token_id: str
    side: Side
    points: int
    size_units: int


class PolymarketFlow:
    """Makers and takers of all open windows. `tick` does a bounded amount of work for each window."""

    def __init__(
        self, exchange: BinaryExchange, dice: Dice, *, fair_value: FairValue, settings: FlowSettings | None = None
    ) -> None:
        self._exchange = exchange
        self._dice = dice
        self._fair_value = fair_value
        self._settings = settings or FlowSettings()
        self.maker = exchange.open_account("makers", HOUSE_UNITS, is_house=True)
        self.taker = exchange.open_account("takers", HOUSE_UNITS, is_house=True)
        # Whoever acts for a fault plan does so at once.
        self.hand = exchange.open_account("hand", HOUSE_UNITS, is_house=True, is_prompt=True)
        self._supplied: dict[str, None] = {}
        self._quoted_ns: dict[str, int] = {}
        self._ticked_ns = exchange.now_ns
        self._orders = 0

    def tick(self, markets: list[MarketView]) -> None:
        """Let the others act in those of the markets that are open, the first ones first."""
        now_ns = self._exchange.now_ns
        elapsed_s = min((now_ns - self._ticked_ns) / NS_PER_S, 1.0)
        self._ticked_ns = now_ns
        active = [market for market in markets if market.state is MarketState.OPEN][:MARKETS_AT_ONCE_MAX]
        names = {market.condition_id for market in active}
        for known in (self._supplied, self._quoted_ns):
            for gone in [name for name in known if name not in names]:
                del known[gone]
        for market in active:
            self._act(market, elapsed_s)

    def _act(self, market: MarketView, elapsed_s: float) -> None:
        fair = self._fair_value(market)
        if fair is None:
            return
        points = min(max(fair, 0.0), 1.0) * POINTS
        self._supply(market)
        quoted_ns = self._quoted_ns.get(market.condition_id)
        now_ns = self._exchange.now_ns
        if quoted_ns is None or now_ns - quoted_ns >= self._settings.quote_ms * NS_PER_MS:
            self._quoted_ns[market.condition_id] = now_ns
            self.quote(market, points)
        if self._dice.chance(self._settings.noise_per_s * elapsed_s):
            self._take_noise(market)
        if self._dice.chance(self._settings.informed_per_s * elapsed_s):
            self._take_informed(market, points)

    def _supply(self, market: MarketView) -> None:
        """Sets to sell from, once a window."""
        if market.condition_id in self._supplied:
            return
        self._supplied[market.condition_id] = None
        for account in (self.maker, self.taker):
            self._exchange.split(account, market.condition_id, HOUSE_SETS_UNITS)

    # Makers.

    def quote(self, market: MarketView, fair_points: float) -> None:
        """Bring the quotes around what makers believe: what still fits stays, the rest is placed anew."""
        wanted = self._wanted(market, fair_points + self._settings.maker_noise_points * self._dice.normal())
        resting: dict[tuple[Side, int], str] = {}
        for order in self._exchange.open_orders(self.maker, condition_id=market.condition_id):
            place = _place_of(order)
            if place in wanted and place not in resting:
                resting[place] = order.order_id
            else:
                self._exchange.cancel(self.maker, order.order_id)
        for side, points in wanted:
            if (side, points) not in resting:
                self._place(market, side, up_points=points)

    def _wanted(self, market: MarketView, believed: float) -> dict[tuple[Side, int], None]:
        """The levels of both sides as prices for Up, best first."""
        tick, half = market.tick_points, self._settings.half_spread_points
        bid = math.floor((believed - half) / tick) * tick
        ask = max(math.ceil((believed + half) / tick) * tick, bid + tick)
        levels = range(self._settings.levels)
        bids = [(Side.BUY, bid - number * tick) for number in levels]
        asks = [(Side.SELL, ask + number * tick) for number in levels]
        return dict.fromkeys(place for place in (*bids, *asks) if tick <= place[1] <= POINTS - tick)

    def _place(self, market: MarketView, side: Side, *, up_points: int) -> None:
        """One quote, as an order for either token."""
        shares = self._settings.level_shares * math.exp(SIZE_SIGMA * self._dice.normal())
        size = _size(market, shares)
        other = self._dice.chance(OTHER_TOKEN_SHARE)
        up = Quote(market.up_token, side, up_points, size)
        down = Quote(market.down_token, Side(-side), complement(up_points), size)
        quote, same = (down, up) if other else (up, down)
        if quote.side is Side.SELL and self._exchange.holding(self.maker, quote.token_id).free_units < size:
            quote = same  # without tokens to sell the same quote is a bid for the other token
        self._send(self.maker, quote, is_post_only=True)

    # Takers.

    def _take_noise(self, market: MarketView) -> None:
        """Somebody buys or sells one token for some dollars, at whatever price there is."""
        token = market.up_token if self._dice.chance(0.5) else market.down_token
        side = Side.BUY if self._dice.chance(0.7) else Side.SELL
        dollars = max(1.0, self._dice.exponential(self._settings.noise_dollars))
        book = self._exchange.book(token)
        levels = book.asks if side is Side.BUY else book.bids
        if not levels:
            return
        size = _size(market, dollars * POINTS / levels[0].price_points)
        self._send(self.taker, Quote(token, side, levels[0].price_points, size), kind=BinaryType.FAK)

    def _take_informed(self, market: MarketView, fair_points: float) -> None:
        """Somebody who knows the fair value buys the token that is offered too cheap, if one is."""
        for token, worth in ((market.up_token, fair_points), (market.down_token, POINTS - fair_points)):
            asks = self._exchange.book(token).asks
            if asks and worth - asks[0].price_points >= self._settings.informed_edge_points:
                size = _size(market, self._settings.informed_shares)
                self._send(self.taker, Quote(token, Side.BUY, asks[0].price_points, size), kind=BinaryType.FAK)
                return

    # What a fault plan asks for.

    def hit(self, order_id: str) -> None:
        """Trade through the book until that resting order is filled."""
        order = self._exchange.order(order_id)
        if order is None or not order.is_open:
            return
        book, side = self._exchange.book(order.token_id), order.side
        levels = book.bids if side is Side.BUY else book.asks
        size = sum(level.size_units for level in levels if (level.price_points - order.price_points) * side >= 0)
        if not size:
            return
        market = self._exchange.market(order.condition_id)
        quote = Quote(order.token_id, Side.BUY, order.price_points, _rounded_up(size))
        if side is Side.BUY:  # whoever takes a bid may as well buy the other token: no inventory is needed
            other = market.up_token if order.outcome is Outcome.DOWN else market.down_token
            quote = Quote(other, Side.BUY, complement(order.price_points), quote.size_units)
        self._send(self.hand, quote)
        self._exchange.cancel_all(self.hand)

    def thin(self, token_id: str, side: Side, size_units: int) -> None:
        """An order of that side for that token finds no more than so many shares, until quotes are renewed; nothing
        where that is less than an order may rest with.
        """
        known = self._exchange.market_of(token_id)
        book = self._exchange.book(token_id)
        levels = book.asks if side is Side.BUY else book.bids
        if known is None or not levels:
            return
        market, best = known[0], levels[0].price_points
        self.clear(market.condition_id)
        quote = Quote(token_id, Side.BUY, best, size_units)
        if side is Side.BUY:
            other = market.down_token if token_id == market.up_token else market.up_token
            quote = Quote(other, Side.BUY, complement(best), size_units)
        self._send(self.maker, quote, is_post_only=True)

    def clear(self, condition_id: str) -> None:
        """The makers leave until they quote again."""
        self._exchange.cancel_all(self.maker, condition_id=condition_id)

    def _send(
        self, account: int, quote: Quote, *, kind: BinaryType = BinaryType.GTC, is_post_only: bool = False
    ) -> None:
        self._orders += 1
        value = value_down(quote.points, quote.size_units)
        is_buy = quote.side is Side.BUY
        request = BinaryRequest(
            order_id=f"flow-{self._orders}",
            token_id=quote.token_id,
            side=quote.side,
            maker_amount=value if is_buy else quote.size_units,
            taker_amount=quote.size_units if is_buy else value,
            order_type=kind,
            is_post_only=is_post_only,
        )
        self._exchange.submit(account, request)


def _place_of(order: BinaryOrder) -> tuple[Side, int]:
    """An order as a side and price for Up."""
    if order.outcome is Outcome.UP:
        return order.side, order.price_points
    return Side(-order.side), complement(order.price_points)


def _size(market: MarketView, shares: float) -> int:
    """Whole hundredths of shares, not below the market's minimum."""
    return max(market.size_min_units, int(shares * UNIT) // SIZE_STEP_UNITS * SIZE_STEP_UNITS)


def _rounded_up(size_units: int) -> int:
    return -(-size_units // SIZE_STEP_UNITS) * SIZE_STEP_UNITS
