"""Candles, tickers and trades as everyone sees them."""

from __future__ import annotations

import pytest

from agora.domain.numbers import NS_PER_S
from agora.exchange.market_engine import MarketEngine
from agora.exchange.records import Candle, DepthLevel
from tests.exchange.markets import PLENTY, buy, listing, market, sell


def trade(engine: MarketEngine, price: int, size: int = 1, symbol: str = "AAA") -> None:
    """Let account 1 buy from account 0."""
    sell(engine, 0, size, price, symbol)
    buy(engine, 1, size, price, symbol)


def trading_market(**limits: int) -> MarketEngine:
    """Two assets and two accounts that own plenty."""
    engine = market(listing(), listing("BBB", price=50), **limits)
    for name in ("seller", "buyer"):
        engine.open_account(name, cash={"USD": PLENTY}, units={"AAA": 10_000, "BBB": 10_000})
    return engine


def test_candles_hold_the_trades_of_their_interval() -> None:
    """Open, high, low, close and volume per second; a second without a trade has no candle."""
    engine = trading_market()
    for second, price, size in ((0, 100, 1), (0, 103, 2), (0, 99, 1), (2, 101, 5)):
        engine.step(second * NS_PER_S)
        trade(engine, price, size)
    engine.step(3 * NS_PER_S)
    first, second_candle = engine.feeds.candles(0, "1s", limit=10)
    assert first == Candle(
        start_ns=0, open_ticks=100, high_ticks=103, low_ticks=99, close_ticks=99, size_lots=4, trades=3, buy_lots=4
    )
    assert (second_candle.start_ns, second_candle.open_ticks, second_candle.size_lots) == (2 * NS_PER_S, 101, 5)
    (minute,) = engine.feeds.candles(0, "1m", limit=10)
    assert (minute.open_ticks, minute.close_ticks, minute.trades) == (100, 101, 4)
    assert engine.feeds.candles(1, "1m", limit=10) == ()


def test_only_the_newest_candles_are_remembered() -> None:
    """The history is bounded, oldest first, and a limit cuts it further."""
    engine = trading_market(candles_per_interval=3)
    for second in range(6):
        engine.step(second * NS_PER_S)
        trade(engine, 100 + second)
    engine.step(6 * NS_PER_S)
    assert [candle.open_ticks for candle in engine.feeds.candles(0, "1s", limit=10)] == [103, 104, 105]
    assert [candle.open_ticks for candle in engine.feeds.candles(0, "1s", limit=2)] == [104, 105]
    assert engine.feeds.candles(0, "1s", limit=0) == ()


def test_an_unknown_interval_names_the_known_ones() -> None:
    """A wrong word is an error that helps."""
    with pytest.raises(KeyError, match="1m"):
        trading_market().feeds.candles(0, "2m", limit=1)


def test_the_ticker_compares_with_the_listing_price() -> None:
    """Before the first trade everything is the listing price; afterwards range, volume and change."""
    engine = trading_market()
    ticker = engine.feeds.ticker(0)
    assert (ticker.last_ticks, ticker.low_ticks, ticker.size_lots, ticker.change_fraction) == (100, 100, 0, 0.0)
    trade(engine, 110, 2)
    trade(engine, 95, 3)
    engine.step(1)
    ticker = engine.feeds.ticker(0)
    assert (ticker.last_ticks, ticker.high_ticks, ticker.low_ticks, ticker.size_lots) == (95, 110, 95, 5)
    assert ticker.change_fraction == pytest.approx(-0.05)
    assert engine.feeds.ticker(1).trades == 0


def test_trades_that_nobody_took_in_time_are_missing_from_the_list_not_from_the_candles() -> None:
    """The tape holds 16 trades: older ones are gone for readers, but were counted in candles as they came."""
    engine = trading_market(trade_capacity=16)
    for number in range(50):
        trade(engine, 100 + number)
    taken = engine.take_trades()
    assert [each.number for each in taken] == list(range(35, 51))
    engine.step(1)
    assert engine.feeds.ticker(0).trades == 50
    assert engine.feeds.lost == 0


def test_trades_are_listed_per_symbol_newest_last() -> None:
    """A limit takes the newest ones."""
    engine = trading_market()
    for price in (100, 101, 102):
        trade(engine, price)
        trade(engine, price - 50, symbol="BBB")
    assert [each.price_ticks for each in engine.trades("BBB", limit=2)] == [51, 52]
    assert [each.price_ticks for each in engine.trades("AAA", limit=9)] == [100, 101, 102]
    with pytest.raises(KeyError, match="AAA"):
        engine.trades("ZZZ", limit=1)


def test_depth_shows_the_best_levels_first() -> None:
    """Price, lots and number of orders of each level, both sides, as many as asked for."""
    engine = trading_market()
    for price, size in ((90, 1), (92, 2), (92, 3), (80, 9)):
        buy(engine, 0, size, price)
    sell(engine, 0, 4, 105)
    depth = engine.book("AAA").depth(levels=2)
    assert depth.bids == (DepthLevel(92, 5, 2), DepthLevel(90, 1, 1))
    assert depth.asks == (DepthLevel(105, 4, 1),)
    touch = engine.book("AAA").touch()
    assert (touch.bid_ticks, touch.bid_lots, touch.ask_ticks, touch.ask_lots) == (92, 5, 105, 4)
