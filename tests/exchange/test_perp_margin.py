"""Money of the perpetual exchange: what is frozen, bound and free; leverage, funding, settings, hedge mode."""

from __future__ import annotations

import pytest

from agora.domain.accounting import Ledger, Position
from agora.domain.orders import Side
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    ChangeEvent,
    MarginMode,
    PerpPosition,
    PositionChanged,
    PositionMode,
    PositionSide,
    TradeMade,
    TradeSide,
)
from agora.exchange.perp_rules import PerpListing, PerpRules
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


def funded(*listings: PerpListing, deposit: int = 10_000) -> tuple[PerpExchange, int]:
    """A quoted market and an account."""
    exchange = perps(*listings)
    account = exchange.open_account("trader", deposit * ONE)
    quote(exchange, PRICE)
    return exchange, account


def test_the_wallet_is_what_is_available_frozen_and_bound() -> None:
    """Orders freeze their margin and fee, positions bind theirs, unrealised profit stands beside the wallet."""
    exchange, account = funded(perp_listing(taker=600))
    buy(exchange, account, 10, PRICE - 100)
    order_value = 10 * (PRICE - 100) * TICK_LOT
    fee = -(-order_value * 600 // 10**6)
    money = exchange.account(account)
    assert money.frozen_units == order_value // 10 + fee
    assert money.available_units == 10_000 * ONE - money.frozen_units
    buy(exchange, account, 20)
    quote(exchange, PRICE + 500)
    money = exchange.account(account)
    assert money.margin_units == 20 * (PRICE + 1) * TICK_LOT // 10
    assert money.unrealised_units == 20 * 499 * TICK_LOT
    assert money.wallet_units == 10_000 * ONE - exchange.ledger(account).fees
    assert money.wallet_units == money.available_units + money.frozen_units + money.margin_units


def test_unrealised_profit_may_be_opened_with_and_a_loss_may_not() -> None:
    """What can be opened is available plus unrealised: of 10,000 at 10x, 1,000 lots of 100 are all of it."""
    for move, fits in ((0, 500), (10_000, 544), (-10_000, 454)):
        exchange, account = funded()
        buy(exchange, account, 500)
        quote(exchange, PRICE + move, size=5_000)
        price = PRICE + move
        assert buy(exchange, account, fits + 3, price).reason is PerpReason.INSUFFICIENT_BALANCE, f"after {move}"
        assert not buy(exchange, account, fits - 3, price).is_refused, f"after {move}"


def test_orders_that_close_freeze_nothing_and_those_beyond_freeze_the_rest() -> None:
    """In one-way mode the oldest orders of the other side close the position first."""
    exchange, account = funded()
    buy(exchange, account, 10)
    sell(exchange, account, 10, PRICE + 50)
    sell(exchange, account, 10, PRICE + 60, reduce_only=True)
    assert exchange.account(account).frozen_units == 0
    sell(exchange, account, 4, PRICE + 70)
    assert exchange.account(account).frozen_units == 4 * (PRICE + 70) * TICK_LOT // 10


LEVERAGES = {
    "allowed": (25, PerpReason.NONE),
    "none": (0, PerpReason.BAD_LEVERAGE),
    "more than any tier": (51, PerpReason.BAD_LEVERAGE),
    "more than the position's tier": (50, PerpReason.POSITION_LIMIT),
    "not paid for": (1, PerpReason.INSUFFICIENT_BALANCE),
}


@pytest.mark.parametrize("name", LEVERAGES)
def test_leverage_is_chosen_within_the_ladder_and_the_money(name: str) -> None:
    """With a position of 5,000 on a wallet of 1,000; a refusal leaves the leverage as it was."""
    leverage, reason = LEVERAGES[name]
    ladder = (tier(2_000, 50, 5_000), tier(10_000, 25, 10_000))
    exchange, account = funded(perp_listing(tiers=ladder), deposit=1_000)
    buy(exchange, account, 50)
    assert exchange.set_leverage(account, BTC, leverage) is reason
    assert exchange.leverage(account, BTC) == (10 if reason else leverage)


def test_settings_wait_for_open_orders_and_positions() -> None:
    """Leverage and margin mode not with orders in the symbol, the position mode not with anything open."""
    exchange, account = funded()
    order = buy(exchange, account, 1, PRICE - 9)
    assert exchange.set_leverage(account, BTC, 5) is PerpReason.OPEN_ORDERS
    assert exchange.set_margin_mode(account, BTC, MarginMode.ISOLATION) is PerpReason.OPEN_ORDERS
    assert exchange.set_position_mode(account, PositionMode.HEDGE) is PerpReason.POSITION_OR_ORDERS
    assert exchange.set_position_mode(account, PositionMode.ONE_WAY) is PerpReason.NONE
    exchange.cancel(account, order.order_id)
    assert exchange.set_leverage(account, BTC, 5) is PerpReason.NONE
    assert exchange.set_leverage(account, "DOGEUSDT", 5) is PerpReason.UNKNOWN_SYMBOL
    assert exchange.set_margin_mode(account, BTC, MarginMode.ISOLATION) is PerpReason.ISOLATION_NOT_OFFERED
    assert exchange.set_margin_mode(account, BTC, MarginMode.CROSS) is PerpReason.NONE
    assert exchange.set_margin_mode(account, "DOGEUSDT", MarginMode.CROSS) is PerpReason.UNKNOWN_SYMBOL
    buy(exchange, account, 1)
    assert exchange.set_position_mode(account, PositionMode.HEDGE) is PerpReason.POSITION_OR_ORDERS


MARKED = (PRICE + 7) * TICK_LOT
# Side, rate in parts per billion, what a position of 10 lots receives at a mark of PRICE + 7.
FUNDINGS = {
    "a long pays a positive rate": (Side.BUY, 100_000, -10 * MARKED // 10_000),
    "a fraction of 100.0007 is rounded against a short": (Side.SELL, 1, 100),
    "a short receives it": (Side.SELL, 100_000, 10 * MARKED // 10_000),
    "a long receives a negative rate": (Side.BUY, -100_000, 10 * MARKED // 10_000),
    "a short pays it": (Side.SELL, -100_000, -10 * MARKED // 10_000),
    "a fraction of 100.0007 is rounded against a long": (Side.BUY, 1, -101),
}


@pytest.mark.parametrize("name", FUNDINGS)
def test_funding_moves_money_between_longs_and_shorts(name: str) -> None:
    """Sign and rounding; the wallet, the ledger and the position say the same, and the pot keeps what is rounded."""
    side, rate, received = FUNDINGS[name]
    exchange, account = funded()
    (buy if side is Side.BUY else sell)(exchange, account, 10)
    exchange.set_reference(BTC, index_ticks=PRICE, mark_ticks=PRICE + 7)
    wallet = exchange.account(account).wallet_units
    settled = exchange.settle_funding(BTC, rate)
    assert exchange.ledger(account).funding == received
    assert exchange.account(account).wallet_units == wallet + received
    assert exchange.positions(account)[0].funding_units == received
    assert exchange.totals().funding_pot_units == settled.rounding_units >= 0
    assert exchange.fundings(BTC) == [settled]
    exchange.step(1)


def test_only_what_is_open_at_the_instant_pays_funding() -> None:
    """Closed before: nothing; the history keeps what was paid while it was open."""
    exchange, account = funded()
    buy(exchange, account, 10)
    exchange.settle_funding(BTC, 100_000)
    paid = exchange.ledger(account).funding
    exchange.close_position(account, exchange.positions(account)[0].position_id)
    exchange.settle_funding(BTC, 100_000)
    assert exchange.ledger(account).funding == paid < 0
    assert exchange.closed_positions(account)[0].funding_units == paid


def test_the_exchange_and_a_run_compute_the_same_money() -> None:
    """Position and ledger of the domain, fed with the trades told, end at the exchange's wallet to the last unit."""
    exchange, account = funded(perp_listing(taker=377))
    instrument = exchange.listing(BTC).instrument
    for size, price in ((7, PRICE + 3), (-3, PRICE - 11), (-9, PRICE + 7), (2, PRICE), (5, PRICE + 2)):
        quote(exchange, price)
        (buy if size > 0 else sell)(exchange, account, abs(size))
    position, ledger = Position(), Ledger()
    ledger.deposit(10_000 * ONE)
    for trade in exchange.trades(account):
        realised = position.apply(instrument, size_lots=trade.size_lots * trade.side, price_ticks=trade.price_ticks)
        assert realised == trade.realised_units
        ledger.settle(realised=realised, fee=trade.fee_units)
    assert ledger == exchange.ledger(account)
    held = exchange.positions(account)
    assert position.size_lots == lots(exchange, account) == sum(place.size_lots for place in held)
    assert abs(position.cost_units) == sum(place.cost_units for place in held)


def hedged() -> tuple[PerpExchange, int]:
    """An account in hedge mode with a long of 10 and a short of 6."""
    exchange, account = funded()
    assert exchange.set_position_mode(account, PositionMode.HEDGE) is PerpReason.NONE
    buy(exchange, account, 10, trade_side=TradeSide.OPEN)
    sell(exchange, account, 6, trade_side=TradeSide.OPEN)
    return exchange, account


def held(exchange: PerpExchange, account: int, side: PositionSide) -> PerpPosition:
    """The position of a side."""
    return next(place for place in exchange.positions(account) if place.side is side)


def test_hedge_mode_keeps_a_long_and_a_short() -> None:
    """Both bind margin; the net is their difference."""
    exchange, account = hedged()
    long, short = held(exchange, account, PositionSide.LONG), held(exchange, account, PositionSide.SHORT)
    assert (long.size_lots, short.size_lots, lots(exchange, account)) == (10, 6, 4)
    assert exchange.account(account).margin_units == long.margin_units + short.margin_units


def test_in_hedge_mode_a_close_names_the_position_and_comes_back_as_the_action() -> None:
    """BUY with CLOSE closes the long: the order says SELL and reduce-only, as the venue answers."""
    exchange, account = hedged()
    long = held(exchange, account, PositionSide.LONG)
    order = buy(exchange, account, 4, trade_side=TradeSide.CLOSE, position_id=long.position_id)
    assert (order.side, order.reduce_only, order.position_side) == (Side.SELL, True, PositionSide.LONG)
    assert held(exchange, account, PositionSide.LONG).size_lots == 6
    assert held(exchange, account, PositionSide.SHORT).size_lots == 6
    exchange.close_all(account)
    assert exchange.positions(account) == []
    exchange.step(1)


HEDGE_REFUSALS = {
    "no trade side": (TradeSide.NONE, "LONG", False, PerpReason.BAD_TRADE_SIDE),
    "an open that only reduces": (TradeSide.OPEN, "LONG", True, PerpReason.REDUCE_ONLY_SAME_DIRECTION),
    "the other position": (TradeSide.CLOSE, "SHORT", False, PerpReason.UNKNOWN_POSITION),
}


@pytest.mark.parametrize("name", HEDGE_REFUSALS)
def test_hedge_mode_refuses_what_names_no_position(name: str) -> None:
    """A buy without a word, with a contradiction, or with the id of the other side."""
    trade_side, side, reduce_only, reason = HEDGE_REFUSALS[name]
    exchange, account = hedged()
    position = held(exchange, account, PositionSide(side))
    order = buy(
        exchange,
        account,
        1,
        trade_side=trade_side,
        position_id=position.position_id,
        reduce_only=reduce_only,
    )
    assert order.reason is reason


def test_a_sweep_takes_no_more_than_each_position_of_a_hedge_holds() -> None:
    """Two orders that close the long are swept together; the short is untouched."""
    exchange, account = hedged()
    long = held(exchange, account, PositionSide.LONG)
    close = {"trade_side": TradeSide.CLOSE, "position_id": long.position_id}
    exchange.cancel_all(HOUSE)
    buy(exchange, account, 8, PRICE + 2, **close)
    buy(exchange, account, 8, PRICE + 3, **close)
    buy(exchange, HOUSE, 30, PRICE + 5)
    assert [place.side for place in exchange.positions(account)] == [PositionSide.SHORT]
    exchange.step(1)


def test_a_foreign_trade_moves_the_position_without_a_client_id() -> None:
    """Another hand's order is told like one's own, marked as coming from elsewhere; margin does not stop it."""
    exchange, account = funded(deposit=1)
    exchange.take_changes()
    order = exchange.foreign_trade(account, BTC, -10)
    assert (order.source, order.client_id, lots(exchange, account)) == ("web", "", -10)
    events = [change.event for change in exchange.take_changes() if isinstance(change, PositionChanged)]
    assert events == [ChangeEvent.OPEN]


def test_a_busted_trade_gives_everything_back() -> None:
    """Money, fee and lots of both sides are as before the trade; a second time there is nothing to undo."""
    exchange, account = funded(perp_listing(maker=200, taker=600))
    before, totals = exchange.account(account), exchange.totals()
    buy(exchange, account, 10)
    (trade,) = exchange.trades(account)
    assert exchange.bust_trade(trade.trade_id)
    assert exchange.account(account) == before
    assert exchange.totals() == totals
    assert (lots(exchange, account), lots(exchange, HOUSE)) == (0, 0)
    assert exchange.trades(account)[0].is_busted
    assert not exchange.bust_trade(trade.trade_id)
    exchange.step(1)


def test_a_trade_between_two_accounts_is_busted_on_both_sides() -> None:
    """The maker paid nothing and gets nothing, the taker gets its fee; both are told."""
    exchange, taker = funded(perp_listing(maker=0, taker=600))
    maker = exchange.open_account("maker's", 10_000 * ONE)
    exchange.cancel_all(HOUSE)
    sell(exchange, maker, 10, PRICE)
    buy(exchange, taker, 10)
    (trade,) = exchange.trades(maker)
    exchange.take_changes()
    assert exchange.bust_trade(trade.trade_id)
    told = [change.trade for change in exchange.take_changes() if isinstance(change, TradeMade)]
    assert [(made.account, made.is_busted) for made in told] == [(taker, True), (maker, True)]
    assert [exchange.ledger(account) for account in (taker, maker)] == [Ledger(10_000 * ONE, 10_000 * ONE)] * 2
    assert exchange.totals().fees_units == 0
    exchange.step(1)


def test_deposits_are_told_and_counted() -> None:
    """Paying in later is capital, not profit."""
    exchange, account = funded()
    exchange.deposit(account, 5 * ONE)
    assert exchange.ledger(account).deposits == 10_005 * ONE
    assert exchange.take_changes()[-1].money.wallet_units == 10_005 * ONE  # type: ignore[union-attr]
    exchange.step(1)


def test_accounts_have_names_and_a_bound() -> None:
    """A taken name, a negative deposit and one account too many raise."""
    exchange = perps(account_capacity=3)
    account = exchange.open_account("a", 0)
    assert exchange.number_of("a") == account
    for name, deposit in (("a", 0), ("", 0), ("b", -1)):
        with pytest.raises(ValueError, match="new name"):
            exchange.open_account(name, deposit)
    with pytest.raises(ValueError, match="taken"):
        exchange.open_account("b", 0)


BAD_RULES = {
    "no listing": (),
    "a symbol twice": (perp_listing(), perp_listing()),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_rules_that_cannot_be_meant_are_refused(name: str) -> None:
    """An exchange lists distinct symbols."""
    with pytest.raises(ValueError, match="distinct symbols"):
        PerpRules(listings=BAD_RULES[name])


def test_a_ladder_rises_and_allows_the_default_leverage() -> None:
    """Tiers out of order, or a default that no tier has, are refused."""
    with pytest.raises(ValueError, match="do not rise"):
        perp_listing(tiers=(tier(2_000, 50, 5_000), tier(1_000, 25, 10_000)))
    with pytest.raises(ValueError, match="no tier allows"):
        perp_listing(tiers=(tier(2_000, 5, 5_000),))


def test_symbols_share_one_wallet() -> None:
    """What one symbol binds another cannot use."""
    exchange, account = funded(perp_listing(), perp_listing(ETH), deposit=1_000)
    quote(exchange, PRICE, symbol=ETH)
    assert not buy(exchange, account, 90, PRICE - 9).is_refused
    assert buy(exchange, account, 20, PRICE - 9, ETH).reason is PerpReason.INSUFFICIENT_BALANCE
    with pytest.raises(KeyError, match="listed: BTCUSDT, ETHUSDT"):
        exchange.depth("DOGEUSDT", 5)
