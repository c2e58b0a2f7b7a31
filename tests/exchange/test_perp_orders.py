"""Orders of the perpetual exchange: what is refused and why, how each ends, and what is told of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agora.domain.orders import Side
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_reasons import PerpReason, venue_code
from agora.exchange.perp_records import (
    BalanceChanged,
    Effect,
    OrderChanged,
    PerpRequest,
    PerpStatus,
    PositionChanged,
    PublicTrade,
    TradeMade,
    TradingMode,
    TriggerLeg,
)
from tests.exchange.perps import BTC, HOUSE, LOT, ONE, PRICE, buy, lots, perp_listing, perps, quote, request, sell, tier

BUY, SELL = Side.BUY, Side.SELL


def market(**terms: Any) -> tuple[PerpExchange, int]:
    """A quoted market and an account with 10,000."""
    exchange = perps(perp_listing(**terms))
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    return exchange, account


REFUSALS = {
    "unknown symbol": (request(BUY, 1, PRICE, "DOGEUSDT"), PerpReason.UNKNOWN_SYMBOL, 20001),
    "size zero": (request(BUY, 0, PRICE), PerpReason.TOO_SMALL, 30017),
    "below the smallest size": (request(BUY, 1, PRICE), PerpReason.TOO_SMALL, 30017),
    "above the largest size": (request(BUY, 5_001, PRICE), PerpReason.TOO_LARGE, 30013),
    "above the largest size at market": (request(BUY, 3_001), PerpReason.TOO_LARGE, 30013),
    "a limit order without a price": (PerpRequest(symbol=BTC, side=BUY, size_lots=5), PerpReason.BAD_PRICE, 10002),
    "a buy above the band": (request(BUY, 5, PRICE * 102 // 100 + 1), PerpReason.PRICE_ABOVE_BAND, 30014),
    "a sell below the band": (request(SELL, 5, PRICE * 98 // 100 - 1), PerpReason.PRICE_BELOW_BAND, 30015),
    "reduces no position": (request(SELL, 5, PRICE, reduce_only=True), PerpReason.REDUCE_ONLY_NO_POSITION, 30018),
    "more than the money": (request(BUY, 1_001, PRICE), PerpReason.INSUFFICIENT_BALANCE, 20003),
    "more than the money at market": (request(SELL, 1_001), PerpReason.INSUFFICIENT_BALANCE, 20003),
    "beyond the ladder": (request(BUY, 2_001, PRICE), PerpReason.POSITION_LIMIT, 20002),
    "a target below a buy": (
        request(BUY, 5, PRICE - 5, tp=TriggerLeg(price_ticks=PRICE - 5)),
        PerpReason.TP_BELOW_ENTRY,
        30008,
    ),
    "a stop above a buy": (
        request(BUY, 5, PRICE - 5, sl=TriggerLeg(price_ticks=PRICE - 4)),
        PerpReason.SL_ABOVE_ENTRY,
        30010,
    ),
    "a target above a sell": (
        request(SELL, 5, PRICE + 5, tp=TriggerLeg(price_ticks=PRICE + 5)),
        PerpReason.TP_ABOVE_ENTRY,
        30007,
    ),
    "a stop below a sell": (
        request(SELL, 5, PRICE + 5, sl=TriggerLeg(price_ticks=PRICE + 4)),
        PerpReason.SL_BELOW_ENTRY,
        30009,
    ),
    "a trigger at nothing": (
        request(BUY, 5, PRICE, sl=TriggerLeg(price_ticks=0)),
        PerpReason.TRIGGER_NOT_POSITIVE,
        30041,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_order_changes_nothing_and_has_the_venues_code(name: str) -> None:
    """One row per rule: the reason, the code; nothing is told, held or remembered, and the client id stays free."""
    asked, reason, code = REFUSALS[name]
    exchange = refusing_market()
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE, size=4_000)
    before = exchange.account(account)
    exchange.take_changes()
    order = exchange.submit(account, msgspec.structs.replace(asked, client_id="a"))
    assert (order.status, order.reason, order.order_id) == (PerpStatus.REJECTED, reason, 0)
    assert venue_code(order.reason)[0] == code
    assert exchange.take_changes() == []
    assert exchange.account(account) == before
    assert exchange.order_by_client_id(account, "a") is None
    assert buy(exchange, account, 2, PRICE - 9, client_id="a").status is PerpStatus.NEW


def refusing_market() -> PerpExchange:
    """A market with every limit: sizes 2 to 5,000 (3,000 at market), 2 % around the mark, positions up to 200,000."""
    ladder = (tier(150_000, 50, 5_000), tier(200_000, 10, 10_000))
    listing = perp_listing(lots_min=2, lots_max=5_000, band_ppm=20_000, market_lots_max=3_000, tiers=ladder)
    return perps(listing)


def test_a_client_id_names_one_order_for_good() -> None:
    """A duplicate is refused with 30042 also after the order has ended, and the first is found by that id."""
    exchange, account = market()
    first = buy(exchange, account, 1, PRICE - 9, client_id="once")
    exchange.cancel(account, first.order_id)
    again = buy(exchange, account, 1, PRICE - 9, client_id="once")
    assert again.reason is PerpReason.DUPLICATE_CLIENT_ID
    assert venue_code(again.reason)[0] == 30042
    found = exchange.order_by_client_id(account, "once")
    assert found is not None
    assert (found.order_id, found.status) == (first.order_id, PerpStatus.CANCELED)
    other = exchange.open_account("other", ONE * 1_000)
    assert not buy(exchange, other, 1, PRICE - 9, client_id="once").is_refused, "ids are per account"


# Against 1,000 lots bid at PRICE - 1 and asked at PRICE + 1: the order, how it ends, how much of it filled.
ENDS = {
    "rests": (request(BUY, 5, PRICE), PerpStatus.NEW, PerpReason.NONE, 0),
    "fills": (request(BUY, 5, PRICE + 1), PerpStatus.FILLED, PerpReason.NONE, 5),
    "fills at market": (request(SELL, 5), PerpStatus.FILLED, PerpReason.NONE, 5),
    "fills in part and rests": (request(BUY, 1_500, PRICE + 1), PerpStatus.PART_FILLED, PerpReason.NONE, 1_000),
    "post-only rests": (request(BUY, 5, PRICE, effect=Effect.POST_ONLY), PerpStatus.NEW, PerpReason.NONE, 0),
    "post-only would cross": (
        request(BUY, 5, PRICE + 1, effect=Effect.POST_ONLY),
        PerpStatus.SYSTEM_CANCELED,
        PerpReason.POST_ONLY_WOULD_CROSS,
        0,
    ),
    "ioc finds nothing": (
        request(BUY, 5, PRICE, effect=Effect.IOC),
        PerpStatus.EXPIRED,
        PerpReason.IOC_REMAINDER,
        0,
    ),
    "ioc fills in part": (
        request(BUY, 1_500, PRICE + 1, effect=Effect.IOC),
        PerpStatus.PART_FILLED_CANCELED,
        PerpReason.IOC_REMAINDER,
        1_000,
    ),
    "fok fills": (request(BUY, 1_000, PRICE + 1, effect=Effect.FOK), PerpStatus.FILLED, PerpReason.NONE, 1_000),
    "fok finds too little": (
        request(BUY, 1_001, PRICE + 1, effect=Effect.FOK),
        PerpStatus.EXPIRED,
        PerpReason.FOK_NOT_FILLABLE,
        0,
    ),
    "market finds too little": (
        request(BUY, 1_500),
        PerpStatus.PART_FILLED_CANCELED,
        PerpReason.NO_LIQUIDITY,
        1_000,
    ),
    "expires in time": (request(BUY, 5, PRICE, expire_ts_ns=5), PerpStatus.EXPIRED, PerpReason.DUE, 0),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_accepted_order_ends_as_its_effect_says(name: str) -> None:
    """Status, reason and fills of every kind of order; it is told as created first, and ends at most once."""
    asked, status, reason, filled = ENDS[name]
    exchange, account = market(leverage_default=50)
    exchange.take_changes()
    order_id = exchange.submit(account, asked).order_id
    exchange.step(10)
    order = exchange.order(account, order_id)
    assert order is not None
    assert (order.status, order.reason, order.filled_lots) == (status, reason, filled)
    events = [change.event for change in exchange.take_changes() if isinstance(change, OrderChanged)]
    assert events[0] == "CREATE"
    assert events.count("CLOSE") == (not order.is_open)


def test_a_market_order_without_a_counterpart_is_ended_by_the_system() -> None:
    """An empty book takes nothing; the order is accepted all the same."""
    exchange = perps()
    account = exchange.open_account("trader", 1_000 * ONE)
    order = buy(exchange, account, 1)
    assert (order.status, order.reason) == (PerpStatus.SYSTEM_CANCELED, PerpReason.NO_LIQUIDITY)


def test_changes_come_in_causal_order() -> None:
    """A fill is told as order, trade, order, position, public trade, balance."""
    exchange, account = market()
    exchange.take_changes()
    buy(exchange, account, 5)
    kinds = [type(change) for change in exchange.take_changes()]
    assert kinds == [OrderChanged, TradeMade, OrderChanged, PositionChanged, PublicTrade, BalanceChanged]
    assert exchange.take_changes() == []


def test_an_order_remembers_the_exact_money_of_its_fills() -> None:
    """Cost, fee and profit are those of the trades, the fee rounded up per fill."""
    exchange = perps(perp_listing(maker=200, taker=333))
    account = exchange.open_account("trader", 10_000 * ONE)
    sell(exchange, HOUSE, 3, PRICE + 1)
    sell(exchange, HOUSE, 3, PRICE + 2)
    order = buy(exchange, account, 5, PRICE + 2)
    assert order.cost_units == (3 * (PRICE + 1) + 2 * (PRICE + 2)) * 10_000
    fees = [trade.fee_units for trade in exchange.trades(account)]
    assert fees == [-(-3 * (PRICE + 1) * 10_000 * 333 // 10**6), -(-2 * (PRICE + 2) * 10_000 * 333 // 10**6)]
    assert order.fee_units == sum(fees)
    assert exchange.ledger(account).fees == sum(fees)
    assert not any(trade.is_maker for trade in exchange.trades(account))


def test_cancel_knows_whose_order_it_is_and_whether_it_lives() -> None:
    """Unknown, another's and ended orders are refused with reasons."""
    exchange, account = market()
    other = exchange.open_account("other", 1_000 * ONE)
    order = buy(exchange, account, 5, PRICE - 5)
    assert exchange.cancel(other, order.order_id) is PerpReason.UNKNOWN_ORDER
    assert exchange.cancel(account, 10**9) is PerpReason.UNKNOWN_ORDER
    assert exchange.cancel(account, order.order_id) is PerpReason.NONE
    assert exchange.cancel(account, order.order_id) is PerpReason.ORDER_ENDED


def test_cancel_all_ends_all_or_those_of_a_symbol() -> None:
    """The answer is the orders as they ended; with another reason it was the system."""
    exchange = perps(perp_listing(), perp_listing("ETHUSDT"))
    account = exchange.open_account("trader", 10_000 * ONE)
    orders = [buy(exchange, account, 5, PRICE - 5, symbol) for symbol in (BTC, "ETHUSDT", BTC)]
    ended = exchange.cancel_all(account, BTC)
    assert [order.order_id for order in ended] == [orders[0].order_id, orders[2].order_id]
    assert {order.status for order in ended} == {PerpStatus.CANCELED}
    (last,) = exchange.cancel_all(account, reason=PerpReason.MAINTENANCE)
    assert (last.order_id, last.status) == (orders[1].order_id, PerpStatus.SYSTEM_CANCELED)


MODIFICATIONS = {
    "smaller": (PRICE - 5, 4, PerpReason.NONE),
    "dearer and larger": (PRICE - 4, 20, PerpReason.NONE),
    "size filled already": (PRICE - 5, 0, PerpReason.BAD_PARAMETER),
    "no price": (0, 5, PerpReason.BAD_PRICE),
    "above the band": (PRICE * 2, 5, PerpReason.PRICE_ABOVE_BAND),
    "too large": (PRICE - 5, 10**7 + 1, PerpReason.TOO_LARGE),
    "not paid for": (PRICE - 5, 2_000, PerpReason.INSUFFICIENT_BALANCE),
}


@pytest.mark.parametrize("name", MODIFICATIONS)
def test_an_order_is_modified_or_stays_as_it_was(name: str) -> None:
    """New price and size are checked like those of a new order."""
    price, size, reason = MODIFICATIONS[name]
    exchange, account = market()
    order = buy(exchange, account, 10, PRICE - 5)
    assert exchange.modify(account, order.order_id, price_ticks=price, size_lots=size) is reason
    after = exchange.order(account, order.order_id)
    assert after is not None
    expected = (order.price_ticks, order.size_lots) if reason else (price, size)
    assert (after.price_ticks, after.size_lots) == expected
    exchange.step(1)


def test_a_smaller_order_keeps_its_place_and_another_price_loses_it() -> None:
    """Of two orders at one price the first trades first, unless it was moved away and back."""
    exchange, account = market()
    other = exchange.open_account("other", 10_000 * ONE)
    first, second = buy(exchange, account, 10, PRICE), buy(exchange, other, 10, PRICE)
    exchange.modify(account, first.order_id, price_ticks=PRICE, size_lots=5)
    sell(exchange, HOUSE, 1, PRICE)
    assert lots(exchange, account) == 1
    exchange.modify(account, first.order_id, price_ticks=PRICE - 1, size_lots=5)
    exchange.modify(account, first.order_id, price_ticks=PRICE, size_lots=5)
    sell(exchange, HOUSE, 10, PRICE)
    assert (lots(exchange, account), lots(exchange, other)) == (1, 10)
    assert exchange.order(other, second.order_id).status is PerpStatus.FILLED  # type: ignore[union-attr]


def test_a_modified_order_may_trade_at_once() -> None:
    """Moved over the spread it takes; a post-only one is ended instead."""
    exchange, account = market()
    order = buy(exchange, account, 10, PRICE - 5)
    exchange.modify(account, order.order_id, price_ticks=PRICE + 1, size_lots=10)
    assert lots(exchange, account) == 10
    shy = buy(exchange, account, 10, PRICE - 5, effect=Effect.POST_ONLY)
    exchange.modify(account, shy.order_id, price_ticks=PRICE + 1, size_lots=10)
    ended = exchange.order(account, shy.order_id)
    assert ended is not None
    assert (ended.status, ended.reason) == (PerpStatus.SYSTEM_CANCELED, PerpReason.POST_ONLY_WOULD_CROSS)


def test_the_newest_order_wins_against_ones_own() -> None:
    """No trade with oneself: the resting order is ended by the system, the new one goes on."""
    exchange, account = market()
    resting = buy(exchange, account, 10, PRICE)
    taking = sell(exchange, account, 10, PRICE - 1)
    ended = exchange.order(account, resting.order_id)
    assert ended is not None
    assert (ended.status, ended.reason) == (PerpStatus.SYSTEM_CANCELED, PerpReason.SELF_TRADE)
    assert (taking.status, lots(exchange, account)) == (PerpStatus.FILLED, -10)


def test_a_reduce_only_order_is_cut_to_the_position() -> None:
    """Asked for more than there is, it closes what there is; what rests shrinks and ends with the position."""
    exchange, account = market()
    buy(exchange, account, 10)
    resting = sell(exchange, account, 10, PRICE + 50, reduce_only=True)
    sell(exchange, account, 4)
    cut = exchange.order(account, resting.order_id)
    assert cut is not None
    assert (cut.open_lots, cut.size_lots, cut.status) == (6, 10, PerpStatus.NEW)
    rest = sell(exchange, account, 50, reduce_only=True)
    assert (rest.filled_lots, rest.status) == (6, PerpStatus.PART_FILLED_CANCELED)
    ended = exchange.order(account, resting.order_id)
    assert ended is not None
    assert (ended.status, ended.reason) == (PerpStatus.SYSTEM_CANCELED, PerpReason.NOTHING_TO_REDUCE)
    assert lots(exchange, account) == 0


def test_a_reduce_only_order_of_the_same_direction_is_refused() -> None:
    """A long cannot be reduced by buying."""
    exchange, account = market()
    buy(exchange, account, 10)
    assert buy(exchange, account, 5, reduce_only=True).reason is PerpReason.REDUCE_ONLY_SAME_DIRECTION


def test_a_sweep_does_not_turn_a_position_through_reduce_only_orders() -> None:
    """Several orders that each may close the position are swept at once: together they close it, no more."""
    exchange, account = market()
    buy(exchange, account, 10)
    for price in (PRICE + 2, PRICE + 3, PRICE + 4):
        sell(exchange, account, 10, price, reduce_only=True)
    exchange.cancel_all(HOUSE)
    sweep = buy(exchange, HOUSE, 30, PRICE + 4)
    assert (lots(exchange, account), sweep.filled_lots) == (0, 10)
    assert exchange.open_orders(account) == []
    exchange.step(1)


def test_a_fill_or_kill_order_does_not_count_on_what_may_be_trimmed() -> None:
    """Three orders offer 30, but together no more than the 10 that close the position: 11 are killed whole."""
    exchange, account = market()
    buy(exchange, account, 10)
    for price in (PRICE + 2, PRICE + 3, PRICE + 4):
        sell(exchange, account, 10, price, reduce_only=True)
    exchange.cancel_all(HOUSE)
    killed = buy(exchange, HOUSE, 11, PRICE + 4, effect=Effect.FOK)
    assert (killed.status, killed.filled_lots, lots(exchange, account)) == (PerpStatus.EXPIRED, 0, 10)


@pytest.mark.parametrize("side, edge", [(BUY, 918_000), (SELL, 882_000)])
def test_the_band_is_a_fraction_of_the_mark_and_its_edge_is_inside(side: Side, edge: int) -> None:
    """At 2 % of 900,000 a price is taken, one tick further it is not; away from the market anything goes."""
    exchange, account = market(band_ppm=20_000)
    quote(exchange, 900_000)
    assert not exchange.submit(account, request(side, 5, edge)).is_refused
    assert exchange.submit(account, request(side, 5, edge + side)).is_refused
    assert not exchange.submit(account, request(side, 1, 900_000 - side * 400_000)).is_refused


def test_a_plain_order_may_turn_a_position() -> None:
    """A sell beyond the long closes it and opens a short, as two positions with the fee shared between them."""
    exchange = perps(perp_listing(maker=0, taker=600))
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    buy(exchange, account, 10)
    sell(exchange, account, 25)
    (closed,), (short,) = exchange.closed_positions(account), exchange.positions(account)
    assert (closed.side, closed.lots_max, closed.realised_units) == ("LONG", 10, -20 * 10_000)
    assert (short.side, short.size_lots, short.cost_units) == ("SHORT", 15, 15 * (PRICE - 1) * 10_000)
    opened, turned = exchange.trades(account)
    assert closed.fee_units == opened.fee_units + turned.fee_units * 10 // 25
    assert closed.fee_units + short.fee_units == exchange.ledger(account).fees
    assert closed.position_id != short.position_id
    exchange.step(1)


MODES = {
    TradingMode.STOP: (PerpReason.TRADING_HALTED, PerpReason.TRADING_HALTED),
    TradingMode.CANCEL_ONLY: (PerpReason.TRADING_HALTED, PerpReason.TRADING_HALTED),
    TradingMode.POST_ONLY: (PerpReason.POST_ONLY_MODE, PerpReason.NONE),
    TradingMode.OPEN: (PerpReason.NONE, PerpReason.NONE),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_restricted_symbol_takes_what_its_mode_allows(mode: TradingMode) -> None:
    """Plain and post-only orders per mode; cancels always go through, and the house quotes on."""
    plain, post_only = MODES[mode]
    exchange, account = market()
    resting = buy(exchange, account, 1, PRICE - 9)
    exchange.set_trading_mode(BTC, mode)
    assert buy(exchange, account, 1, PRICE - 9).reason is plain
    assert buy(exchange, account, 1, PRICE - 9, effect=Effect.POST_ONLY).reason is post_only
    assert exchange.cancel(account, resting.order_id) is PerpReason.NONE
    assert not buy(exchange, HOUSE, 1, PRICE - 9).is_refused


def test_house_orders_rest_trade_expire_and_are_cancelled() -> None:
    """House accounts get answers and positions, but neither records nor pushes."""
    exchange, _ = market()
    exchange.take_changes()
    order = buy(exchange, HOUSE, 5, PRICE - 7, expire_ts_ns=5)
    assert (order.status, order.open_lots) == (PerpStatus.NEW, 5)
    assert exchange.order(HOUSE, order.order_id) is None
    exchange.step(6)
    assert exchange.cancel(HOUSE, order.order_id) is PerpReason.UNKNOWN_ORDER
    second = exchange.open_account("second maker", 0, is_house=True)
    took = sell(exchange, second, 1_500, PRICE - 1, effect=Effect.IOC)
    assert (took.status, took.filled_lots) == (PerpStatus.PART_FILLED_CANCELED, 1_000)
    assert took.cost_units == 1_000 * (PRICE - 1) * 10_000
    resting = buy(exchange, second, 5, PRICE - 9)
    assert exchange.cancel(HOUSE, resting.order_id) is PerpReason.UNKNOWN_ORDER, "it is the second's"
    assert exchange.cancel(second, resting.order_id) is PerpReason.NONE
    assert buy(exchange, HOUSE, 5, PRICE, reduce_only=True).reason is PerpReason.BAD_PARAMETER
    assert {type(change) for change in exchange.take_changes()} == {PublicTrade}
    exchange.step(7)


def test_a_full_book_ends_an_order_that_would_rest() -> None:
    """Without room the order is accepted and ended by the system; those that rest stay."""
    exchange = perps(order_capacity=2)
    account = exchange.open_account("trader", 1_000 * ONE)
    buy(exchange, account, 1, PRICE - 1)
    buy(exchange, account, 1, PRICE - 2)
    third = buy(exchange, account, 1, PRICE - 3)
    assert (third.status, third.reason) == (PerpStatus.SYSTEM_CANCELED, PerpReason.BOOK_FULL)
    exchange.step(1)


def test_history_is_bounded_and_open_orders_are_never_forgotten() -> None:
    """The oldest ended orders, trades and client ids go; an open order older than all of them stays."""
    exchange = perps(history_max=5)
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    old = buy(exchange, account, 1, PRICE - 9)
    for number in range(20):
        buy(exchange, account, 1, client_id=f"id {number}")
        sell(exchange, account, 1)
    assert exchange.order(account, old.order_id) == exchange.open_orders(account)[0]
    assert len(exchange.orders(account)) == 6
    assert len(exchange.trades(account)) == len(exchange.closed_positions(account)) == 5
    assert buy(exchange, account, 1, client_id="id 19").reason is PerpReason.DUPLICATE_CLIENT_ID
    assert not buy(exchange, account, 1, client_id="id 0").is_refused, "long forgotten"


def test_changes_that_nobody_takes_are_counted() -> None:
    """The buffer keeps the newest."""
    exchange = perps(changes_max=10)
    account = exchange.open_account("trader", 1_000 * ONE)
    for _ in range(12):
        buy(exchange, account, 1, PRICE - 1)
    assert len(exchange.take_changes()) == 10
    assert exchange.changes_lost == 12 * 2 - 10


def test_the_worst_case_counts_open_orders_of_one_side() -> None:
    """Reduce-only orders make no position larger."""
    exchange, account = market()
    buy(exchange, account, 10)
    buy(exchange, account, 7, PRICE - 5)
    sell(exchange, account, 4, PRICE + 5, reduce_only=True)
    sell(exchange, account, 30, PRICE + 9)
    case = exchange.worst_case(account, BTC)
    assert (case.position_lots, case.worst_lots, case.worst_units) == (10, 20, 20 * LOT)
