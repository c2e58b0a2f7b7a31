"""Compiles the kernels of the exchange before the first order, on a market that nobody sees."""

from __future__ import annotations

import msgspec

from agora.domain.dice import Dice
from agora.domain.instruments import Instrument
from agora.domain.orders import Side, TimeInForce
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_prices import UNIT
from agora.exchange.binary_records import BinaryRequest, BinaryType
from agora.exchange.binary_rules import BinaryRules, BinaryWindow
from agora.exchange.market_engine import MarketEngine
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_records import Effect, PerpRequest, PerpType
from agora.exchange.perp_rules import PerpListing, PerpRules
from agora.exchange.requests import OrderRequest
from agora.exchange.rules import Listing, MarketRules


def warm_up() -> None:
    """Call every kernel function once: some 20 s of compiling the first time, 0.2 s from the cache folder."""
    instrument = Instrument(symbol="WARM", base="WARM", quote="USD", tick_size="0.01", lot_size="1")
    terms = Listing(instrument=instrument, listing_price_ticks=100, allows_shorts=True)
    engine = MarketEngine(MarketRules(assets=(terms,), order_capacity=8, account_capacity=3))
    rich = engine.open_account("rich", cash={"USD": 10**12}, units={"WARM": 10})
    short = engine.open_account("short", cash={"USD": 10**9})
    buy = OrderRequest(symbol="WARM", side=Side.BUY, size_lots=5, price_ticks=100)
    sell = OrderRequest(symbol="WARM", side=Side.SELL, size_lots=5, price_ticks=100)
    engine.submit(rich, buy)
    engine.submit(short, sell)
    expiring = {"time_in_force": TimeInForce.GTD, "expire_ts_ns": 1}
    engine.submit(rich, msgspec.structs.replace(buy, price_ticks=90, **expiring))
    # Sold at 100 and marked at 500, the short is far below maintenance when time moves.
    offer = engine.submit(rich, msgspec.structs.replace(sell, price_ticks=600))
    engine.replace(rich, "WARM", offer.order_id, price_ticks=500, size_lots=5)
    taker = engine.open_account("taker", cash={"USD": 10**12})
    engine.submit(taker, msgspec.structs.replace(buy, price_ticks=500, size_lots=1))
    engine.step(1)
    engine.cancel(rich, "WARM", engine.last_order_id)
    engine.cancel_all(rich)
    engine.book("WARM").depth(levels=1)
    engine.book("WARM").is_live(1)
    assert engine.accounts.position_lots(short, "WARM") > -5, "the short was not bought back: a kernel stays uncompiled"


def warm_up_perpetuals() -> None:
    """Call every kernel function that a perpetual-futures exchange calls, once."""
    instrument = Instrument(symbol="WARM", base="WARM", quote="USD", tick_size="0.01", lot_size="1")
    listing = PerpListing(instrument=instrument, price_ticks=100)
    exchange = PerpExchange(PerpRules(listings=(listing,), order_capacity=16, account_capacity=4))
    house = exchange.open_account("house", 10**15, is_house=True)
    trader = exchange.open_account("trader", 10**12)
    buy = PerpRequest(symbol="WARM", side=Side.BUY, size_lots=5, price_ticks=99)
    sell = PerpRequest(symbol="WARM", side=Side.SELL, size_lots=5, price_ticks=101)
    exchange.submit(house, msgspec.structs.replace(buy, expire_ts_ns=1))
    exchange.submit(house, sell)
    exchange.submit(trader, PerpRequest(symbol="WARM", side=Side.BUY, size_lots=3, type=PerpType.MARKET))
    # Reduce-only orders are taken one by one where a sweep could take more than the position holds.
    for size_lots in (3, 2):
        closing = msgspec.structs.replace(sell, size_lots=size_lots, price_ticks=102, reduce_only=True)
        exchange.submit(trader, closing)
    exchange.submit(house, msgspec.structs.replace(buy, size_lots=4, price_ticks=102, effect=Effect.FOK))
    offer = exchange.submit(trader, msgspec.structs.replace(buy, price_ticks=98))
    exchange.modify(trader, offer.order_id, price_ticks=98, size_lots=4)
    exchange.cancel(trader, offer.order_id)
    exchange.step(1)
    exchange.depth("WARM", 1)
    exchange.book("WARM").touch()
    exchange.book("WARM").orders_of(house)


def warm_up_binaries() -> None:
    """Call every kernel function that an exchange of binary markets calls, once."""
    rules = BinaryRules(order_capacity=16, account_capacity=2, taker_delay_ns=0, expiration_ahead_ns=0)
    exchange = BinaryExchange(rules, Dice(0))
    up, down = "up", "down"
    exchange.create_window(BinaryWindow(condition_id="warm", up_token=up, down_token=down, start_ns=0, end_ns=10**12))
    maker, taker = exchange.open_account("maker", 10**9), exchange.open_account("taker", 10**9)
    bid = BinaryRequest(
        order_id="1", token_id=up, side=Side.BUY, maker_amount=5 * UNIT, taker_amount=10 * UNIT, expiration_s=61
    )
    exchange.submit(maker, msgspec.structs.replace(bid, order_type=BinaryType.GTD))
    taking = msgspec.structs.replace(bid, token_id=down, expiration_s=0, order_type=BinaryType.FOK, order_id="2")
    exchange.submit(taker, msgspec.structs.replace(taking, maker_amount=UNIT, taker_amount=2 * UNIT))
    exchange.submit(taker, msgspec.structs.replace(bid, order_id="3", expiration_s=0))
    exchange.cancel(taker, "3")
    exchange.book(up)
    exchange.step(10**10)
    assert not exchange.open_orders(maker), "the bid did not expire: a kernel stays uncompiled"
