"""What an account is worth: capital from what was seeded, exact profit, and a return that is right for any seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange.markets import PLENTY, TICK_LOT, buy, listing, market, sell


@pytest.mark.requirement("R4")
@pytest.mark.parametrize(
    "cash,lots,capital",
    [(50_000, 0, 50_000), (0, 7, 7 * 100 * TICK_LOT), (50_000, 7, 50_000 + 7 * 100 * TICK_LOT), (0, 0, 0)],
)
def test_capital_is_what_was_seeded_and_the_return_starts_at_zero(cash: int, lots: int, capital: int) -> None:
    """Cash, inventory at its price, both or nothing: value and capital agree and nothing was gained."""
    engine = market()
    account = engine.open_account("a", cash={"USD": cash}, units={"AAA": lots})
    portfolio = engine.portfolio(account)
    assert (portfolio.initial_capital_units, portfolio.total_value_units) == (capital, capital)
    assert (portfolio.roi, portfolio.pnl_percent, portfolio.trades_count) == (0.0, 0.0, 0)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("cash,lots", [(0, 100), (10_000_000, 0), (10_000_000, 100)])
def test_the_return_is_gain_over_capital_for_any_seed(cash: int, lots: int) -> None:
    """Ten lots change hands at 110 and the mark goes there: the gain is what holding brought, over what was seeded."""
    engine = market()
    account = engine.open_account("a", cash={"USD": cash}, units={"AAA": lots})
    other = engine.open_account("b", cash={"USD": PLENTY}, units={"AAA": 1_000})
    sell(engine, other, 10, 110)
    buy(engine, other, 10, 109)
    third = engine.open_account("c", cash={"USD": PLENTY})
    buy(engine, third, 10, 110)
    portfolio = engine.portfolio(account)
    gain = lots * 10 * TICK_LOT
    assert portfolio.total_pnl_units == gain
    assert portfolio.roi == gain / (cash + lots * 100 * TICK_LOT)


def test_profit_is_split_into_realised_and_unrealised() -> None:
    """Half of a position bought at 100 is sold at 120 with fees: cost, both profits and fees are exact."""
    engine = market(listing(maker=0, taker=1_000))
    account = engine.open_account("a", cash={"USD": 10_000_000})
    other = engine.open_account("b", cash={"USD": PLENTY}, units={"AAA": 1_000})
    sell(engine, other, 10, 100)
    buy(engine, account, 10, 100)
    buy(engine, other, 5, 120)
    sell(engine, account, 5, 120)
    portfolio = engine.portfolio(account)
    (holding,) = portfolio.holdings
    assert (holding.size_lots, holding.cost_units, holding.average_price_ticks) == (5, 5 * 100 * TICK_LOT, 100.0)
    assert (portfolio.realised_units, portfolio.unrealised_units) == (5 * 20 * TICK_LOT, 5 * 20 * TICK_LOT)
    assert portfolio.fees_units == 100 + 60
    assert portfolio.total_pnl_units == 10 * 20 * TICK_LOT - 160
    assert portfolio.trades_count == 2
    assert engine.accounts.average_price_ticks(account, "AAA") == 100.0


def test_each_quote_currency_is_a_portfolio_of_its_own() -> None:
    """No rate between currencies is invented: assets of others are left out, the first currency is the default."""
    engine = market(listing(), listing("BBB", quote="EUR", price=50))
    account = engine.open_account("a", cash={"USD": 1_000, "EUR": 2_000}, units={"AAA": 3, "BBB": 4})
    dollars, euros = engine.portfolio(account), engine.portfolio(account, currency="EUR")
    assert (dollars.currency, dollars.total_value_units) == ("USD", 1_000 + 3 * 100 * TICK_LOT)
    assert euros.total_value_units == euros.initial_capital_units == 2_000 + 4 * 50 * TICK_LOT
    assert [holding.symbol for holding in dollars.holdings] == ["AAA"]
    assert [holding.symbol for holding in euros.holdings] == ["BBB"]


def test_inventory_seeded_later_counts_at_the_price_of_that_moment() -> None:
    """An account opened after a trade at 130 has its lots at 130."""
    engine = market()
    maker = engine.open_account("m", units={"AAA": 10})
    taker = engine.open_account("t", cash={"USD": PLENTY})
    sell(engine, maker, 1, 130)
    buy(engine, taker, 1, 130)
    late = engine.open_account("late", units={"AAA": 2})
    assert engine.portfolio(late).initial_capital_units == 2 * 130 * TICK_LOT
    assert engine.portfolio(late).roi == 0.0
    engine.step(1)


orders = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([1, -1]), st.integers(1, 20), st.integers(90, 110)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(seeds=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 30)), min_size=4, max_size=4), orders=orders)
def test_value_is_capital_and_profit_less_fees_whatever_happens(
    seeds: list[tuple[int, int]], orders: list[tuple[int, int, int, int]]
) -> None:
    """To the unit, for every account, after any orders."""
    engine = market(listing(maker=150, taker=650, allows_shorts=True))
    for number, (cash, lots) in enumerate(seeds):
        engine.open_account(f"a{number}", cash={"USD": cash}, units={"AAA": lots})
    for account, side, size, price in orders:
        (buy if side > 0 else sell)(engine, account, size, price)
    engine.step(1)
    for account in range(4):
        portfolio = engine.portfolio(account)
        gained = portfolio.realised_units + portfolio.unrealised_units - portfolio.fees_units
        assert portfolio.total_value_units == portfolio.initial_capital_units + gained
