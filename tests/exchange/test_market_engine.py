"""The exchange as its users meet it: who places what, then the book, the balances and the receipts."""

from __future__ import annotations

from typing import Any

import pytest

from agora.domain.orders import OrderStatus, OrderType, Side, TimeInForce
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import OpenOrder, OrderRequest, Reason, SelfTrade
from agora.exchange.warming import warm_up
from tests.exchange.markets import PLENTY, TICK_LOT, buy, ladder, limit, listing, market, purse, sell


def traders(engine: MarketEngine) -> tuple[int, int]:
    """A buyer with cash and a seller with inventory."""
    buyer = engine.open_account("buyer", cash={"USD": 1_000_000})
    return buyer, engine.open_account("seller", units={"AAA": 100})


def test_both_sides_of_a_fill_are_settled_at_once() -> None:
    """The maker is paid at his price and the taker gets the units; nothing stays held."""
    engine = market()
    buyer, seller = traders(engine)
    assert sell(engine, seller, 5, 101).status is OrderStatus.ACCEPTED
    receipt = buy(engine, buyer, 3, 110)
    assert (receipt.status, receipt.filled_lots, receipt.fills[0].price_ticks) == (OrderStatus.FILLED, 3, 101)
    assert ladder(engine) == ["ask 2@101"]
    assert purse(engine, buyer) == (1_000_000 - 3 * 101 * TICK_LOT, 1_000_000 - 3 * 101 * TICK_LOT, 3, 3)
    assert purse(engine, seller) == (3 * 101 * TICK_LOT, 3 * 101 * TICK_LOT, 97, 95)
    engine.step(1)


def test_fees_are_rounded_up_and_collected_from_both() -> None:
    """Maker and taker pay their rate of the value, rounded up, in the quote currency."""
    engine = market(listing(maker=200, taker=600))
    buyer, seller = traders(engine)
    sell(engine, seller, 1, 101)
    receipt = buy(engine, buyer, 1, 101)
    value = 101 * TICK_LOT  # 10,100 units: 2.02 and 6.06 of fee
    assert receipt.fills[0].fee_units == 7
    assert purse(engine, buyer)[0] == 1_000_000 - value - 7
    assert purse(engine, seller)[0] == value - 3
    assert engine.accounts.fee_units("USD") == 10
    engine.step(1)


def test_a_resting_buy_holds_its_cost_and_a_cancel_releases_it() -> None:
    """The hold is price and the higher fee of every lot, and goes with the order."""
    engine = market(listing(maker=200, taker=600))
    buyer, _ = traders(engine)
    order_id = buy(engine, buyer, 4, 90).order_id
    assert purse(engine, buyer)[1] == 1_000_000 - 4 * (9_000 + 6)
    assert engine.accounts.hold_units("AAA", price_ticks=90, size_lots=4) == 4 * 9_006
    receipt = engine.cancel(buyer, "AAA", order_id)
    assert (receipt.status, receipt.reason) == (OrderStatus.CANCELLED, Reason.REQUESTED)
    assert purse(engine, buyer) == (1_000_000, 1_000_000, 0, 0)


def test_what_an_order_holds_cannot_be_spent_twice() -> None:
    """Cash and units that rest in orders are not free for the next one."""
    engine = market()
    buyer, seller = traders(engine)
    buy(engine, buyer, 60, 100)
    assert buy(engine, buyer, 60, 100).reason is Reason.INSUFFICIENT_FUNDS
    sell(engine, seller, 60, 120)
    assert sell(engine, seller, 60, 120).reason is Reason.INSUFFICIENT_UNITS
    assert sell(engine, buyer, 1, 120).reason is Reason.SHORTING_NOT_ALLOWED


def test_a_market_buy_costs_what_is_offered_and_its_remainder_ends() -> None:
    """It walks the book, needs the cash for that only, and says why the rest was not filled."""
    engine = market()
    buyer, seller = traders(engine)
    for price in (101, 102, 150):
        sell(engine, seller, 2, price)
    poor = engine.open_account("poor", cash={"USD": (2 * 101 + 102) * TICK_LOT})
    order = OrderRequest(symbol="AAA", side=Side.BUY, size_lots=3, type=OrderType.MARKET)
    assert [fill.price_ticks for fill in engine.submit(poor, order).fills] == [101, 102]
    assert engine.submit(poor, order).reason is Reason.INSUFFICIENT_FUNDS
    big = OrderRequest(symbol="AAA", side=Side.BUY, size_lots=50, type=OrderType.MARKET)
    receipt = engine.submit(buyer, big)
    assert (receipt.status, receipt.reason) == (OrderStatus.CANCELLED, Reason.NO_LIQUIDITY)
    assert receipt.filled_lots == 3
    engine.step(1)


@pytest.mark.parametrize(
    "terms,price,status,reason,filled",
    [
        ({"time_in_force": TimeInForce.IOC}, 101, OrderStatus.CANCELLED, Reason.IOC_REMAINDER, 2),
        ({"time_in_force": TimeInForce.FOK}, 101, OrderStatus.REJECTED, Reason.FOK_NOT_FILLABLE, 0),
        ({"time_in_force": TimeInForce.FOK}, 102, OrderStatus.FILLED, Reason.NONE, 4),
        ({"post_only": True}, 101, OrderStatus.REJECTED, Reason.POST_ONLY_WOULD_CROSS, 0),
        ({"post_only": True}, 100, OrderStatus.ACCEPTED, Reason.NONE, 0),
        ({}, 101, OrderStatus.PARTIALLY_FILLED, Reason.NONE, 2),
    ],
)
def test_receipts_tell_what_became_of_an_order(
    terms: dict[str, Any], price: int, status: OrderStatus, reason: Reason, filled: int
) -> None:
    """Status, reason and fills of each kind of order against two asks."""
    engine = market()
    buyer, seller = traders(engine)
    sell(engine, seller, 2, 101)
    sell(engine, seller, 2, 102)
    receipt = buy(engine, buyer, 4, price, **terms)
    assert (receipt.status, receipt.reason, receipt.filled_lots) == (status, reason, filled)
    engine.step(1)


@pytest.mark.parametrize(
    "mode,book,held_by_resting",
    [
        (SelfTrade.CANCEL_NEWEST, ["ask 5@101"], 5),
        (SelfTrade.CANCEL_OLDEST, ["bid 3@101"], 0),
        (SelfTrade.CANCEL_BOTH, [], 0),
        (SelfTrade.DECREMENT, ["ask 2@101"], 2),
    ],
)
def test_self_trades_do_not_happen_and_release_their_holds(
    mode: SelfTrade, book: list[str], held_by_resting: int
) -> None:
    """Each mode leaves the book it promises, no trade, and only the holds of what rests."""
    engine = market()
    account = engine.open_account("both", cash={"USD": 1_000_000}, units={"AAA": 10})
    sell(engine, account, 5, 101)
    buy(engine, account, 3, 101, self_trade=mode)
    assert ladder(engine) == book
    cash, free, lots, free_lots = purse(engine, account)
    assert (cash, lots, free_lots) == (1_000_000, 10, 10 - held_by_resting)
    assert free == 1_000_000 - (3 * 101 * TICK_LOT if book == ["bid 3@101"] else 0)
    assert engine.take_trades() == []
    engine.step(1)


def test_a_stop_holds_nothing_until_it_triggers_and_is_checked_then() -> None:
    """A stop whose owner spent his units meanwhile is cancelled when it triggers; another one sells."""
    engine = market()
    _, seller = traders(engine)
    buyer = engine.open_account("rich", cash={"USD": PLENTY})
    other = engine.open_account("other", units={"AAA": 10})
    stop = OrderRequest(symbol="AAA", side=Side.SELL, size_lots=10, type=OrderType.STOP, trigger_ticks=95)
    failing, working = engine.submit(seller, stop), engine.submit(other, stop)
    assert purse(engine, seller)[3] == 100
    buy(engine, buyer, 100, 96)
    sell(engine, seller, 95, 96)
    buy(engine, buyer, 20, 95)
    sell(engine, seller, 5, 95)  # five at 96: no trigger yet
    assert engine.book("AAA").is_live(failing.order_id)
    late = engine.open_account("late", units={"AAA": 1})
    sell(engine, late, 1, 95)  # the trade at 95 triggers both
    assert not engine.book("AAA").is_live(failing.order_id)
    assert not engine.book("AAA").is_live(working.order_id)
    assert purse(engine, other)[:3] == (10 * 95 * TICK_LOT, 10 * 95 * TICK_LOT, 0)
    assert purse(engine, seller)[2] == 0
    engine.step(1)


def test_orders_expire_when_time_moves_and_release_their_holds() -> None:
    """A GTD order is gone at its time."""
    engine = market()
    buyer, _ = traders(engine)
    buy(engine, buyer, 1, 90, time_in_force=TimeInForce.GTD, expire_ts_ns=1_000)
    engine.step(999)
    assert ladder(engine) == ["bid 1@90"]
    engine.step(1_000)
    assert ladder(engine) == []
    assert purse(engine, buyer)[1] == 1_000_000


def test_replace_keeps_priority_only_when_the_size_goes_down() -> None:
    """The smaller order stays first in its queue; the larger one goes to the back, with its hold."""
    engine = market()
    first = engine.open_account("first", cash={"USD": PLENTY})
    second = engine.open_account("second", cash={"USD": PLENTY})
    seller = engine.open_account("seller", units={"AAA": 10})
    mine, theirs = buy(engine, first, 5, 100), buy(engine, second, 5, 100)
    engine.replace(first, "AAA", mine.order_id, price_ticks=100, size_lots=2)
    sell(engine, seller, 1, 100)
    assert engine.take_trades()[-1].maker_order_id == mine.order_id
    engine.replace(first, "AAA", mine.order_id, price_ticks=100, size_lots=6)
    sell(engine, seller, 1, 100)
    assert engine.take_trades()[-1].maker_order_id == theirs.order_id
    assert purse(engine, first)[1] == PLENTY - 7 * 100 * TICK_LOT
    engine.step(1)


def test_a_replacement_may_trade_and_must_be_affordable() -> None:
    """Moved over the spread it takes; beyond the owner's means it is refused and the old order stays."""
    engine = market()
    buyer, seller = traders(engine)
    sell(engine, seller, 2, 101)
    order_id = buy(engine, buyer, 3, 90).order_id
    before = engine.digest()
    refused = engine.replace(buyer, "AAA", order_id, price_ticks=90, size_lots=500)
    assert refused.reason is Reason.INSUFFICIENT_FUNDS
    assert engine.digest() == before
    receipt = engine.replace(buyer, "AAA", order_id, price_ticks=101, size_lots=3)
    assert (receipt.status, receipt.filled_lots, receipt.remaining_lots) == (OrderStatus.PARTIALLY_FILLED, 2, 1)
    assert ladder(engine) == ["bid 1@101"]
    engine.step(1)


def test_cancel_all_ends_orders_and_waiting_stops_in_one_or_all_symbols() -> None:
    """It returns the ids, oldest first per symbol."""
    engine = market(listing(), listing("BBB"))
    account = engine.open_account("one", cash={"USD": PLENTY})
    ids = [buy(engine, account, 1, 90, symbol).order_id for symbol in ("AAA", "BBB", "AAA")]
    stop = limit(Side.BUY, 1, 130, type=OrderType.STOP, trigger_ticks=120)
    ids.append(engine.submit(account, stop).order_id)
    assert engine.cancel_all(account, "BBB") == (ids[1],)
    assert engine.cancel_all(account) == (ids[0], ids[2], ids[3])
    assert purse(engine, account)[1] == PLENTY
    assert engine.cancel_all(99) == ()


def test_trades_name_both_sides_and_are_taken_once() -> None:
    """Number, accounts, orders, aggressor and fees stand in each trade, in order."""
    engine = market(listing(maker=100, taker=300))
    buyer, seller = traders(engine)
    engine.step(77)
    ask, bid = sell(engine, seller, 2, 101), buy(engine, buyer, 2, 101)
    (trade,) = engine.take_trades()
    assert (trade.number, trade.ts_ns, trade.symbol, trade.price_ticks, trade.size_lots) == (1, 77, "AAA", 101, 2)
    assert (trade.maker, trade.taker, trade.aggressor) == (seller, buyer, Side.BUY)
    assert (trade.maker_order_id, trade.taker_order_id) == (ask.order_id, bid.order_id)
    assert (trade.maker_fee_units, trade.taker_fee_units) == (3, 7)
    assert engine.take_trades() == []
    assert engine.trades("AAA", limit=5) == [trade]


def test_open_orders_are_listed_oldest_first() -> None:
    """Resting and waiting orders of one account, as their owner sees them."""
    engine = market()
    buyer, _ = traders(engine)
    first = buy(engine, buyer, 2, 90)
    order = limit(Side.BUY, 1, 130, type=OrderType.STOP, trigger_ticks=120)
    second = engine.submit(buyer, order)
    expected = [(first.order_id, 90, 0, 2), (second.order_id, 130, 120, 1)]
    assert engine.book("AAA").orders_of(buyer) == [
        OpenOrder(
            order_id=order_id,
            symbol="AAA",
            side=Side.BUY,
            price_ticks=price,
            trigger_ticks=trigger,
            remaining_lots=lots,
        )
        for order_id, price, trigger, lots in expected
    ]


def test_the_kernels_can_be_compiled_before_the_first_order() -> None:
    """The market that nobody sees goes through every kernel function, forced buying back included."""
    warm_up()


def test_time_does_not_run_backwards() -> None:
    """A step into the past is a bug of the caller."""
    engine = market()
    engine.step(5)
    with pytest.raises(AssertionError, match="backwards"):
        engine.step(4)


def test_an_account_that_does_not_add_up_stops_the_exchange() -> None:
    """Money that appears from nowhere is noticed at the next step."""
    engine = market()
    buyer, _ = traders(engine)
    engine.step(1)
    at = engine.accounts._cash_at(buyer, "USD")
    engine.accounts.words[at] += 1
    with pytest.raises(AssertionError, match="paid in"):
        engine.step(2)
