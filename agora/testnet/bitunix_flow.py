"""The others in the market of the loopback Bitunix: makers around a reference price, and takers whose trades are seen.

One object a symbol. Seeded: the same seed and ticks make the same flow, whatever accounts do in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from agora.domain.dice import Dice, dice_of
from agora.domain.numbers import NS_PER_MS, PPB
from agora.domain.orders import Side
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_records import Effect, PerpOrder, PerpRequest, PerpType
from agora.exchange.requests import OpenOrder
from agora.testnet.bitunix_prices import Price
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.local import TICK_NS, TICKS_PER_S

# The touch and so many levels behind it, a basis point apart: a frame of fifteen levels is always full.
LEVELS_BEHIND = 19
LEVEL_BPS = 1.0
# Sizes of levels: a lognormal around the usual one.
SIZE_SIGMA = 0.8
# What a taker takes, in usual levels.
TAKE_SHARE = 0.1
# Half an hour, over which the venue averages how far its own price is from the index.
BASIS_S = 1_800.0
BOOK_LEVELS = 1_000


class House(NamedTuple):
    """The accounts of the others: they pay anything and are never asked for margin."""

    maker: int
    taker: int


class Flow:
    """Makers and takers of one symbol."""

    def __init__(
        self,
        exchange: PerpExchange,
        symbol: str,
        *,
        settings: BitunixTestnetSettings,
        house: House,
        price: Price,
    ) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._settings = settings
        self._house = house
        self._price = price
        self._instrument = exchange.listing(symbol).instrument
        self._dice: Dice = dice_of(settings.seed, "flow", symbol)
        self._factor = 1.0
        self._index = price.move(0)
        self._basis = 0.0
        self._quoted_ns = 0

    @property
    def index(self) -> float:
        """The reference price."""
        return self._index

    @property
    def recorded_rate_ppb(self) -> int | None:
        """The funding rate that the recording tells at present."""
        return self._price.funding_rate_ppb

    def move(self, fraction: float) -> None:
        """Let the reference jump by a fraction, for good."""
        self._factor *= 1 + fraction
        self._index *= 1 + fraction

    def move_to(self, price: float) -> None:
        """Let the reference jump to a price."""
        self.move(price / self._index - 1)

    def tick(self, now_ns: int, *, ticks: int, is_frozen: bool) -> None:
        """Move the reference and let the others act on it."""
        if not is_frozen:
            self._index = self._price.move(ticks) * self._factor
        if now_ns - self._quoted_ns >= self._settings.quote_ms * NS_PER_MS:
            self._quoted_ns = now_ns
            self.quote()
        if self._dice.chance(self._settings.trades_per_s / TICKS_PER_S * min(ticks, 1)):
            self._take()

    def set_prices(self, *, rate_ppb: int, left_share: float, ticks: int) -> None:
        """Index and mark: the middle of the index with the coming funding, the index with the venue's own average
        distance from it, and the last price, as the venue describes it.
        """
        step = float(self._instrument.tick)
        touch = self._exchange.book(self._symbol).touch()
        if touch.bid_lots and touch.ask_lots:
            middle = (touch.bid_ticks + touch.ask_ticks) / 2 * step
            weight = min(1.0, ticks * TICK_NS / (BASIS_S * 1e9))
            self._basis += (middle - self._index - self._basis) * weight
        last = self._exchange.last_ticks(self._symbol) * step
        funded = self._index * (1 + rate_ppb / PPB * left_share)
        mark = sorted((funded, self._index + self._basis, last))[1]
        self._exchange.set_reference(
            self._symbol, index_ticks=max(1, round(self._index / step)), mark_ticks=max(1, round(mark / step))
        )

    # Makers.

    def quote(self) -> None:
        """Bring the quotes around the reference: what still fits stays, the rest is taken away and placed anew."""
        wanted = self._wanted()
        resting: dict[Side, dict[int, OpenOrder]] = {Side.BUY: {}, Side.SELL: {}}
        for order in self._exchange.book(self._symbol).orders_of(self._house.maker):
            prices = resting[order.side]
            if order.price_ticks in wanted[order.side] and order.price_ticks not in prices:
                prices[order.price_ticks] = order
            else:
                self._exchange.cancel(self._house.maker, order.order_id)
        for side, prices in resting.items():
            self._renew_one(prices)
            for ticks in wanted[side]:
                if ticks not in prices:
                    self._place(side, ticks)

    def _wanted(self) -> dict[Side, dict[int, None]]:
        """The price levels of both sides, best first."""
        middle = self._index / float(self._instrument.tick)
        half = max(middle * self._settings.spread_bps / 20_000, 0.5)
        grid = max(1, round(middle * LEVEL_BPS / 10_000))
        bid = max(1, math.floor(middle - half))
        ask = max(math.ceil(middle + half), bid + 1)
        below, above = (bid - 1) // grid, ask // grid + 1
        bids = [bid, *((below - number) * grid for number in range(LEVELS_BEHIND))]
        asks = [ask, *((above + number) * grid for number in range(LEVELS_BEHIND))]
        return {Side.BUY: _kept(ticks for ticks in bids if ticks > 0), Side.SELL: _kept(asks)}

    def _renew_one(self, prices: dict[int, OpenOrder]) -> None:
        """Somebody changes the size of a quote now and then."""
        if prices:
            ticks = list(prices)[self._dice.below(len(prices))]
            self._exchange.cancel(self._house.maker, prices.pop(ticks).order_id)

    def _place(self, side: Side, ticks: int, lots: int = 0) -> None:
        lots = lots or self._level_lots(math.exp(SIZE_SIGMA * self._dice.normal()))
        request = PerpRequest(symbol=self._symbol, side=side, size_lots=lots, price_ticks=ticks)
        self._exchange.submit(self._house.maker, request)

    def _level_lots(self, share: float) -> int:
        """So many usual levels, in lots."""
        lots = share * self._settings.level_notional / self._index / float(self._instrument.lot)
        return min(max(int(lots), self._instrument.lots_min), self._instrument.lots_max)

    def thin(self, side: Side, lots: int) -> None:
        """An order of that side finds no more than so many lots, until quotes are renewed."""
        quoted = Side(-side)
        orders = [
            order for order in self._exchange.book(self._symbol).orders_of(self._house.maker) if order.side is quoted
        ]
        for order in orders:
            self._exchange.cancel(self._house.maker, order.order_id)
        if orders and lots > 0:
            best = (max if quoted is Side.BUY else min)(order.price_ticks for order in orders)
            self._place(quoted, best, lots)

    # Takers.

    def _take(self) -> None:
        side = Side.BUY if self._dice.chance(0.5) else Side.SELL
        self._send(side, self._level_lots(self._dice.exponential(TAKE_SHARE)))

    def _send(self, side: Side, lots: int, limit_ticks: int = 0) -> None:
        request = PerpRequest(
            symbol=self._symbol,
            side=side,
            size_lots=lots,
            type=PerpType.LIMIT if limit_ticks else PerpType.MARKET,
            effect=Effect.IOC,
            price_ticks=limit_ticks,
        )
        self._exchange.submit(self._house.taker, request)

    def hit(self, order: PerpOrder) -> None:
        """Trade through the book until that resting order is filled."""
        depth = self._exchange.depth(self._symbol, BOOK_LEVELS)
        levels = depth.bids if order.side is Side.BUY else depth.asks
        reached = (level for level in levels if (level.price_ticks - order.price_ticks) * order.side >= 0)
        lots = sum(level.size_lots for level in reached)
        if lots:
            self._send(Side(-order.side), lots, order.price_ticks)


def _kept(prices: Iterable[int]) -> dict[int, None]:
    return dict.fromkeys(prices)
