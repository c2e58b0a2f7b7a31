"""Small markets for tests: one line per order, and a view of the book as a trader reads it."""

from __future__ import annotations

from typing import Any

from agora.domain.instruments import Instrument
from agora.domain.orders import Side
from agora.exchange.market_engine import MarketEngine
from agora.exchange.records import Receipt
from agora.exchange.requests import OrderRequest
from agora.exchange.rules import Listing, MarketRules

# One tick of one lot of these is worth 100 money units, so that sums can be checked in the head.
TICK_LOT = 100
PLENTY = 10**12


def listing(
    symbol: str = "AAA", *, quote: str = "USD", price: int = 100, maker: int = 0, taker: int = 0, **terms: Any
) -> Listing:
    """A listed asset, without fees unless told."""
    instrument = Instrument(
        symbol=symbol,
        base=symbol,
        quote=quote,
        tick_size="0.01",
        lot_size="0.0001",
        maker_fee_ppm=maker,
        taker_fee_ppm=taker,
    )
    return Listing(instrument=instrument, listing_price_ticks=price, **terms)


def market(*listings: Listing, **limits: int) -> MarketEngine:
    """An exchange of small buffers."""
    sizes = {"order_capacity": 64, "account_capacity": 16, "trade_capacity": 64, "candles_per_interval": 32, **limits}
    return MarketEngine(MarketRules(assets=listings or (listing(),), **sizes))


def limit(side: Side, size: int, price: int, symbol: str = "AAA", **terms: Any) -> OrderRequest:
    """A limit order."""
    return OrderRequest(symbol=symbol, side=side, size_lots=size, price_ticks=price, **terms)


def buy(engine: MarketEngine, account: int, size: int, price: int, symbol: str = "AAA", **terms: Any) -> Receipt:
    """Submit a limit buy."""
    return engine.submit(account, limit(Side.BUY, size, price, symbol, **terms))


def sell(engine: MarketEngine, account: int, size: int, price: int, symbol: str = "AAA", **terms: Any) -> Receipt:
    """Submit a limit sell."""
    return engine.submit(account, limit(Side.SELL, size, price, symbol, **terms))


def ladder(engine: MarketEngine, symbol: str = "AAA") -> list[str]:
    """The book, best first on both sides: `bid 3@99` and `ask 2@101`."""
    depth = engine.book(symbol).depth(levels=10)
    bids = [f"bid {level.size_lots}@{level.price_ticks}" for level in depth.bids]
    return bids + [f"ask {level.size_lots}@{level.price_ticks}" for level in depth.asks]


def purse(engine: MarketEngine, account: int, symbol: str = "AAA") -> tuple[int, int, int, int]:
    """Cash, free cash, position and free lots of an account."""
    accounts = engine.accounts
    quote = accounts.instrument(symbol).quote
    return (
        accounts.cash_units(account, quote),
        accounts.free_cash_units(account, symbol),
        accounts.position_lots(account, symbol),
        accounts.free_lots(account, symbol),
    )
