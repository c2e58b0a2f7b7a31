"""Selling what one does not own: margin, reduce-only orders that never turn a position, forced buying back."""

from __future__ import annotations

from agora.domain.orders import OrderStatus, OrderType, Side
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import OrderRequest, Reason
from tests.exchange.markets import PLENTY, TICK_LOT, buy, ladder, limit, listing, market, purse, sell

VALUE = 100 * TICK_LOT  # of one lot at the listing price


def shorting_market(**fees: int) -> tuple[MarketEngine, int, int]:
    """Half of a short's value is margin, a quarter must stay. A market maker, and one with cash for ten lots."""
    terms = {"initial_margin_ppm": 500_000, "maintenance_ppm": 250_000}
    engine = market(listing(allows_shorts=True, **terms, **fees))
    maker = engine.open_account("maker", cash={"USD": PLENTY}, units={"AAA": 1_000})
    return engine, maker, engine.open_account("short", cash={"USD": 10 * VALUE})


def test_a_short_locks_its_proceeds_and_the_margin_on_them() -> None:
    """Ten lots sold at 100: cash doubles, one and a half times the proceeds are locked."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 10, 100)
    assert sell(engine, short, 10, 100).status is OrderStatus.FILLED
    assert purse(engine, short) == (20 * VALUE, 5 * VALUE, -10, 0)
    assert engine.accounts.margin_units(short, "USD") == 15 * VALUE
    engine.step(1)


def test_a_short_needs_margin_before_it_is_opened() -> None:
    """Twenty lots' margin is all the seller has; one more lot is refused."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 50, 100)
    assert sell(engine, short, 21, 100).reason is Reason.INSUFFICIENT_MARGIN
    assert sell(engine, short, 20, 100).status is OrderStatus.FILLED
    assert purse(engine, short)[1] == 0
    engine.step(1)


def test_sells_resting_beyond_the_owned_lots_hold_margin() -> None:
    """A resting short sale holds margin at its price; cancelled it holds nothing."""
    engine, _, short = shorting_market()
    order_id = sell(engine, short, 10, 120).order_id
    assert engine.accounts.margin_units(short, "USD") == 6 * VALUE
    assert sell(engine, short, 10, 120).reason is Reason.INSUFFICIENT_MARGIN
    engine.cancel(short, "AAA", order_id)
    assert engine.accounts.margin_units(short, "USD") == 0


def test_buying_back_may_use_what_the_short_locks() -> None:
    """A seller without free cash can still cover, and has the difference afterwards."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 20, 100)
    sell(engine, short, 20, 100)
    sell(engine, maker, 20, 90)
    assert buy(engine, short, 20, 90).status is OrderStatus.FILLED
    assert purse(engine, short) == (12 * VALUE, 12 * VALUE, 0, 0)
    engine.step(1)


def test_a_cover_resting_at_a_price_that_never_comes_frees_nothing() -> None:
    """A bid at 1 claims to cover, but the proceeds stay locked."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 10, 100)
    sell(engine, short, 10, 100)
    assert purse(engine, short)[1] == 5 * VALUE
    buy(engine, short, 10, 1)
    assert purse(engine, short)[1] == 5 * VALUE
    engine.step(1)


def test_an_account_below_maintenance_is_bought_back() -> None:
    """At 170 equity is 300 of the 425 needed: its orders are cancelled and the short covered at the ask."""
    engine, maker, short = shorting_market()
    other = engine.open_account("other", cash={"USD": PLENTY})
    buy(engine, maker, 10, 100)
    sell(engine, short, 10, 100)
    buy(engine, short, 1, 50)
    sell(engine, maker, 1, 159)
    buy(engine, other, 1, 159)
    engine.step(1)
    assert engine.accounts.position_lots(short, "AAA") == -10
    sell(engine, maker, 100, 170)
    buy(engine, other, 1, 170)
    engine.take_trades()
    engine.step(2)
    assert purse(engine, short) == (20 * VALUE - 10 * 170 * TICK_LOT, 3 * VALUE, 0, 0)
    assert ladder(engine) == ["ask 89@170"]
    (trade,) = engine.take_trades()
    assert (trade.taker, trade.maker, trade.size_lots) == (short, maker, 10)


def test_a_bankrupt_account_ends_with_debt_and_nothing_is_lost() -> None:
    """The buyer back pays what is asked; cash below zero balances what the sellers received."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 20, 100)
    sell(engine, short, 20, 100)
    sell(engine, maker, 50, 250)
    other = engine.open_account("other", cash={"USD": PLENTY})
    buy(engine, other, 1, 250)
    engine.step(1)
    assert purse(engine, short)[0] == 30 * VALUE - 20 * 250 * TICK_LOT
    assert purse(engine, short)[2] == 0
    assert engine.portfolio(short).total_value_units < 0


def test_a_short_without_offers_stays_and_is_tried_again() -> None:
    """Asks beyond twice the mark price are not taken; the next step covers what is offered then."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 10, 100)
    sell(engine, short, 10, 100)
    other = engine.open_account("other", cash={"USD": PLENTY}, units={"AAA": 10})
    sell(engine, maker, 1, 180)
    buy(engine, other, 1, 180)
    sell(engine, maker, 10, 361)
    engine.step(1)
    assert engine.accounts.position_lots(short, "AAA") == -10
    sell(engine, other, 4, 185)
    engine.step(2)
    assert engine.accounts.position_lots(short, "AAA") == -6


def test_a_reduce_only_order_is_cut_to_the_position() -> None:
    """Asked for ten with six owned, it is accepted for six and leaves the account flat."""
    engine, maker, _ = shorting_market()
    owner = engine.open_account("owner", cash={"USD": PLENTY}, units={"AAA": 6})
    buy(engine, maker, 20, 100)
    assert sell(engine, owner, 10, 100, reduce_only=True).filled_lots == 6
    assert sell(engine, owner, 1, 100, reduce_only=True).reason is Reason.REDUCE_ONLY_NO_POSITION
    assert buy(engine, owner, 1, 90, reduce_only=True).reason is Reason.REDUCE_ONLY_NO_POSITION
    assert engine.accounts.position_lots(owner, "AAA") == 0


def test_resting_reduce_only_orders_shrink_with_the_position() -> None:
    """Sold at market meanwhile, the newest is cut first; with nothing left all are gone."""
    engine, maker, _ = shorting_market()
    owner = engine.open_account("owner", cash={"USD": PLENTY}, units={"AAA": 10})
    sell(engine, owner, 4, 120, reduce_only=True)
    sell(engine, owner, 6, 121, reduce_only=True)
    buy(engine, maker, 20, 100)
    sell(engine, owner, 7, 100)
    assert ladder(engine) == ["bid 13@100", "ask 3@120"]
    sell(engine, owner, 4, 100)
    assert ladder(engine) == ["bid 9@100"]
    assert engine.accounts.position_lots(owner, "AAA") == -1
    engine.step(1)


def test_one_sweep_through_all_of_ones_orders_cannot_turn_a_reducing_position() -> None:
    """A resting short sale takes the lots that the reduce-only order had, so the sweep ends where it should."""
    engine, maker, _ = shorting_market()
    owner = engine.open_account("owner", cash={"USD": PLENTY}, units={"AAA": 10})
    sell(engine, owner, 10, 120, reduce_only=True)
    sell(engine, owner, 4, 110)
    assert ladder(engine) == ["ask 4@110", "ask 6@120"]
    buy(engine, maker, 50, 130)
    assert engine.accounts.position_lots(owner, "AAA") == 0
    engine.step(1)


def test_a_reduce_only_stop_acts_on_what_is_left_when_it_triggers() -> None:
    """Eight were owned at entry, three are left: three are bought back."""
    engine, maker, short = shorting_market()
    buy(engine, maker, 8, 100)
    sell(engine, short, 8, 100)
    stop = OrderRequest(
        symbol="AAA", side=Side.BUY, size_lots=8, type=OrderType.STOP, trigger_ticks=110, reduce_only=True
    )
    order_id = engine.submit(short, stop).order_id
    sell(engine, maker, 30, 110)
    engine.submit(short, limit(Side.BUY, 5, 110))  # trades at 110 and so triggers the stop
    assert not engine.book("AAA").is_live(order_id)
    assert engine.accounts.position_lots(short, "AAA") == 0
    assert ladder(engine) == ["ask 22@110"]
    engine.step(1)


def test_fees_of_a_short_are_reserved_too() -> None:
    """With fees the last affordable short is smaller, and free cash does not go below zero."""
    engine, maker, short = shorting_market(maker=200, taker=10_000)
    buy(engine, maker, 50, 100)
    assert sell(engine, short, 20, 100).reason is Reason.INSUFFICIENT_MARGIN
    assert sell(engine, short, 19, 100).status is OrderStatus.FILLED
    assert purse(engine, short)[1] >= 0
    engine.step(1)
