"""Liquidation: the worked example of the venue, the order of its steps, and who pays for what is missing."""

from __future__ import annotations

from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import OrderSource, PerpStatus, PositionMode, TradeSide
from tests.exchange.perps import (
    BTC,
    ETH,
    HOUSE,
    ONE,
    PRICE,
    TICK_LOT,
    buy,
    lots,
    perp_listing,
    perps,
    quote,
    sell,
    tier,
)

# 0.5 of 100,000 with 100x on 500: maintenance is 0.5 %.
ARTICLE = (tier(10_000_000, 100, 5_000),)


def test_the_venues_worked_example_is_liquidated_at_99_500() -> None:
    """500 at 100x, long 0.5 at 100,000: maintenance 250, so a loss of 250 is the end, one tick less is not."""
    exchange = perps(perp_listing(tiers=ARTICLE, leverage_default=100))
    account = exchange.open_account("trader", 500 * ONE)
    sell(exchange, HOUSE, 500, PRICE)
    buy(exchange, account, 500)
    (position,) = exchange.positions(account)
    assert (position.margin_units, position.maintenance_units) == (500 * ONE, 250 * ONE)
    assert position.liquidation_ticks == 995_000
    quote(exchange, 995_001)
    exchange.step(1)
    assert lots(exchange, account) == 500
    quote(exchange, 995_000)
    exchange.step(2)
    assert lots(exchange, account) == 0
    assert exchange.closed_positions(account)[0].liquidated_lots == 500
    assert exchange.account(account).wallet_units == 500 * ONE - 500 * 5_001 * TICK_LOT


def test_a_short_is_liquidated_above_its_price() -> None:
    """The same example the other way round."""
    exchange = perps(perp_listing(tiers=ARTICLE, leverage_default=100))
    account = exchange.open_account("trader", 500 * ONE)
    buy(exchange, HOUSE, 500, PRICE)
    sell(exchange, account, 500)
    assert exchange.positions(account)[0].liquidation_ticks == 1_005_000
    quote(exchange, 1_004_999)
    exchange.step(1)
    assert lots(exchange, account) == -500
    quote(exchange, 1_005_000)
    exchange.step(2)
    assert lots(exchange, account) == 0


def test_the_fee_of_closing_counts_where_the_rules_say_so() -> None:
    """Liquidation comes earlier by the taker fee of the position's value."""
    exchange = perps(perp_listing(tiers=ARTICLE, leverage_default=100, taker=600), counts_liquidation_fee=True)
    account = exchange.open_account("trader", 530 * ONE)
    sell(exchange, HOUSE, 500, PRICE)
    buy(exchange, account, 500)
    assert exchange.positions(account)[0].maintenance_units == (250 + 30) * ONE
    assert exchange.positions(account)[0].liquidation_ticks == 995_600


def test_open_orders_go_first() -> None:
    """All of the account's orders are ended by the system, in every symbol."""
    exchange = perps(perp_listing(tiers=ARTICLE, leverage_default=100), perp_listing(ETH))
    account = exchange.open_account("trader", 520 * ONE)
    sell(exchange, HOUSE, 500, PRICE)
    buy(exchange, account, 500)
    orders = [buy(exchange, account, 1, PRICE - 900, symbol) for symbol in (BTC, ETH)]
    quote(exchange, 994_000)
    exchange.step(1)
    for order in orders:
        ended = exchange.order(account, order.order_id)
        assert ended is not None
        assert (ended.status, ended.reason) == (PerpStatus.SYSTEM_CANCELED, PerpReason.LIQUIDATION)


LADDER = (tier(10_000, 50, 5_000), tier(50_000, 20, 20_000), tier(200_000, 10, 50_000))


def test_a_large_position_is_reduced_tier_by_tier() -> None:
    """800 lots at tier 3 go down to tier 2, which is enough: the rest stays."""
    exchange = perps(perp_listing(tiers=LADDER))
    account = exchange.open_account("trader", 9_000 * ONE)
    sell(exchange, HOUSE, 800, PRICE)
    buy(exchange, account, 800)
    quote(exchange, 937_000)
    exchange.step(1)
    (position,) = exchange.positions(account)
    assert position.size_lots == 500
    cut = [order for order in exchange.orders(account) if order.source is OrderSource.LIQUIDATION]
    assert [(order.size_lots, order.status, order.client_id) for order in cut] == [(300, PerpStatus.FILLED, "")]
    assert exchange.account(account).wallet_units > 0
    exchange.step(2)
    assert lots(exchange, account) == 500


def test_what_the_book_does_not_take_goes_to_the_insurance_account_at_the_mark() -> None:
    """A thin book kills the all-or-nothing reduction, then takes what it has; the rest is handed over as a trade."""
    exchange = perps(perp_listing(tiers=LADDER))
    account = exchange.open_account("trader", 9_000 * ONE)
    sell(exchange, HOUSE, 800, PRICE)
    buy(exchange, account, 800)
    quote(exchange, 920_000, size=50)
    exchange.step(1)
    assert lots(exchange, account) == 0
    assert lots(exchange, 0) == 750
    statuses = [order.status for order in exchange.orders(account) if order.source is OrderSource.LIQUIDATION]
    assert statuses == [PerpStatus.EXPIRED, PerpStatus.PART_FILLED_CANCELED, PerpStatus.FILLED]
    handed = exchange.trades(account)[-1]
    assert (handed.counterparty, handed.size_lots, handed.price_ticks, handed.fee_units) == (0, 750, 920_000, 0)
    assert sum(trade.size_lots * trade.side for trade in exchange.trades(account)) == 0


def test_a_deficit_is_paid_by_the_insurance_account() -> None:
    """A gap beyond the wallet leaves the account with nothing, and nobody else with less."""
    exchange = perps(perp_listing(tiers=ARTICLE, leverage_default=100))
    account = exchange.open_account("trader", 500 * ONE)
    sell(exchange, HOUSE, 500, PRICE)
    buy(exchange, account, 500)
    quote(exchange, 980_000)
    exchange.step(1)
    lost = 500 * 20_001 * TICK_LOT
    assert exchange.account(account).wallet_units == 0
    assert exchange.totals().insurance_units == 500 * ONE - lost
    exchange.step(2)


def test_a_profit_elsewhere_keeps_an_account_alive() -> None:
    """Cross margin: the short of one symbol covers the long of another; when it no longer does, one is enough."""
    exchange = perps(perp_listing(leverage_default=50), perp_listing(ETH, leverage_default=50))
    account = exchange.open_account("trader", 2_000 * ONE)
    for symbol in (BTC, ETH):
        quote(exchange, PRICE, symbol=symbol)
    buy(exchange, account, 400)
    sell(exchange, account, 400, symbol=ETH)
    for symbol in (BTC, ETH):
        quote(exchange, 900_000, symbol=symbol)
    exchange.step(1)
    assert (lots(exchange, account), lots(exchange, account, ETH)) == (400, -400)
    quote(exchange, 942_000, symbol=ETH)
    exchange.step(2)
    assert (lots(exchange, account), lots(exchange, account, ETH)) == (0, -400)


def test_both_sides_of_a_hedge_can_be_liquidated() -> None:
    """The larger side has the liquidation price; a funding loss takes both."""
    exchange = perps(perp_listing(tiers=ARTICLE, leverage_default=100))
    account = exchange.open_account("trader", 900 * ONE)
    exchange.set_position_mode(account, PositionMode.HEDGE)
    quote(exchange, PRICE)
    buy(exchange, account, 500, trade_side=TradeSide.OPEN)
    sell(exchange, account, 200, trade_side=TradeSide.OPEN)
    prices = {place.side: place.liquidation_ticks for place in exchange.positions(account)}
    assert prices["LONG"] > 0 == prices["SHORT"]
    exchange.settle_funding(BTC, 50_000_000)
    exchange.step(1)
    assert exchange.positions(account) == []


def test_the_house_is_never_liquidated() -> None:
    """A market maker without money trades on."""
    exchange = perps()
    poor = exchange.open_account("poor maker", 0, is_house=True)
    sell(exchange, HOUSE, 500, PRICE)
    buy(exchange, poor, 500)
    quote(exchange, PRICE // 2)
    exchange.step(1)
    assert lots(exchange, poor) == 500
