"""Small perpetual-futures exchanges for tests: one line per order, whole money."""

from __future__ import annotations

from typing import Any

from agora.domain.instruments import Instrument
from agora.domain.orders import Side
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_records import Effect, PerpOrder, PerpRequest, PerpType
from agora.exchange.perp_rules import PerpListing, PerpRules, PerpTier

# A tick is 0.1 and a lot 0.001: one tick of one lot is 0.0001 of the quote currency, 10,000 units. A lot at 100,000.0
# (PRICE) is worth 100.
ONE = 10**8
TICK_LOT = 10_000
PRICE = 1_000_000
LOT = PRICE * TICK_LOT
BTC, ETH = "BTCUSDT", "ETHUSDT"


def tier(end: int, leverage: int, maintenance_ppm: int) -> PerpTier:
    """A tier that ends at so much of the quote currency."""
    return PerpTier(end_units=end * ONE, leverage_max=leverage, maintenance_ppm=maintenance_ppm)


def perp_listing(
    symbol: str = BTC, *, maker: int = 0, taker: int = 0, lots_min: int = 1, lots_max: int = 10**7, **terms: Any
) -> PerpListing:
    """A contract without fees unless told."""
    instrument = Instrument(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        quote="USDT",
        tick_size="0.1",
        lot_size="0.001",
        lots_min=lots_min,
        lots_max=lots_max,
        maker_fee_ppm=maker,
        taker_fee_ppm=taker,
    )
    return PerpListing(instrument=instrument, **{"price_ticks": PRICE, "leverage_default": 10, **terms})


def perps(*listings: PerpListing, **limits: Any) -> PerpExchange:
    """An exchange of small buffers, with one market maker (account 1) that can pay anything."""
    sizes = {"order_capacity": 256, "account_capacity": 16, **limits}
    exchange = PerpExchange(PerpRules(listings=listings or (perp_listing(),), **sizes))
    assert exchange.open_account("maker", 10**18, is_house=True) == HOUSE
    return exchange


HOUSE = 1


def request(side: Side, size: int, price: int = 0, symbol: str = BTC, **terms: Any) -> PerpRequest:
    """A limit order; at market without a price."""
    kind = PerpType.LIMIT if price else PerpType.MARKET
    return PerpRequest(symbol=symbol, side=side, size_lots=size, price_ticks=price, type=kind, **terms)


def buy(exchange: PerpExchange, account: int, size: int, price: int = 0, symbol: str = BTC, **terms: Any) -> PerpOrder:
    """Submit a buy, at market without a price."""
    return exchange.submit(account, request(Side.BUY, size, price, symbol, **terms))


def sell(exchange: PerpExchange, account: int, size: int, price: int = 0, symbol: str = BTC, **terms: Any) -> PerpOrder:
    """Submit a sell, at market without a price."""
    return exchange.submit(account, request(Side.SELL, size, price, symbol, **terms))


def quote(exchange: PerpExchange, price: int, size: int = 1_000, symbol: str = BTC) -> None:
    """The market maker leaves and quotes again, one tick around a price, which also becomes the reference."""
    exchange.cancel_all(HOUSE, symbol)
    exchange.set_reference(symbol, index_ticks=price, mark_ticks=price)
    buy(exchange, HOUSE, size, price - 1, symbol, effect=Effect.POST_ONLY)
    sell(exchange, HOUSE, size, price + 1, symbol, effect=Effect.POST_ONLY)


def lots(exchange: PerpExchange, account: int, symbol: str = BTC) -> int:
    """The signed net position."""
    return exchange.worst_case(account, symbol).position_lots
