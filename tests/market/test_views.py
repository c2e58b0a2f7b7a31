"""What an agent sees: the touch, its own account and orders, past prices; nothing of the others."""

from __future__ import annotations

import pytest

from agora.domain.orders import Side
from agora.exchange.requests import AgentView, Touch
from agora.market.state import CLOSES_KEPT
from agora.market.views import SeatView
from tests.market.markets import answer, asked_market, begun, order, run_on, settings, tick


def test_an_agent_sees_the_touch_and_its_own_orders_only() -> None:
    """Three agents with orders: each sees the one touch, and of the orders its own, oldest first."""
    market = asked_market(3)
    said = {"agent-1": "buy 5@98 buy 2@97", "agent-2": "buy 3@98", "agent-3": "sell 4@103"}
    for name, text in said.items():
        market.step(answer(market, name, text))
    tick(market)
    one, two, three = market.views
    assert {view.touch("ARBO") for view in market.views} == {Touch(98, 8, 103, 4)}
    assert [(own.side, own.remaining_lots, own.price_ticks) for own in one.open_orders("ARBO")] == [
        (Side.BUY, 5, 98),
        (Side.BUY, 2, 97),
    ]
    assert [own.remaining_lots for own in two.open_orders("ARBO")] == [3]
    assert [own.remaining_lots for own in three.open_orders("ARBO")] == [4]


def test_an_agent_sees_its_free_cash_and_free_units() -> None:
    """What orders hold is neither free cash nor free units; equity stays until a trade or a price changes it."""
    market = asked_market(2)
    buyer, seller = market.views
    assert (buyer.free_cash_units("ARBO"), buyer.equity_units("ARBO")) == (1_000 * 10**8, 1_500 * 10**8)
    market.step(answer(market, "agent-1", "buy 100@90"))
    market.step(answer(market, "agent-2", "sell 40@120"))
    tick(market)
    assert buyer.free_cash_units("ARBO") == 910 * 10**8
    assert (seller.position_lots("ARBO"), seller.free_lots("ARBO")) == (500, 460)
    assert buyer.equity_units("ARBO") == seller.equity_units("ARBO") == 1_500 * 10**8


def test_an_agent_sees_its_position_and_what_it_cost() -> None:
    """After a trade: units, the average of the seeded and the bought ones, and the last price for both."""
    market = asked_market(2)
    market.step(answer(market, "agent-1", "buy 100@110"))
    market.step(answer(market, "agent-2", "sell 100@110"))
    tick(market)
    buyer, seller = market.views
    assert (buyer.position_lots("ARBO"), seller.position_lots("ARBO")) == (600, 400)
    assert buyer.average_price_ticks("ARBO") == pytest.approx((500 * 100 + 100 * 110) / 600)
    assert seller.average_price_ticks("ARBO") == pytest.approx(100)
    assert buyer.last_ticks("ARBO") == seller.last_ticks("ARBO") == 110
    assert buyer.free_cash_units("ARBO") == 890 * 10**8


def test_past_prices_are_bounded_and_end_with_the_last_one() -> None:
    """At most 256 closes, oldest first; at first there is the listing price."""
    market = begun(settings())
    view = market.views[0]
    assert list(view.closes_ticks("ARBO")) == [20_000]
    lengths = set()
    for _ in range(3 * CLOSES_KEPT):
        tick(market)
        lengths.add(len(view.closes_ticks("ARBO")))
        assert view.closes_ticks("ARBO")[-1] == view.last_ticks("ARBO")
    assert max(lengths) == CLOSES_KEPT


def test_the_view_tells_the_coming_tick_and_the_markets_clock() -> None:
    """`tick` is the one that is decided; `now_ns` is the end of the one before."""
    market = run_on(begun(settings()), 4)
    view = market.views[0]
    assert (view.tick, view.now_ns) == (5, market.state.start_ns + 4 * market.plan.tick_ns)
    assert list(view.symbols) == ["ARBO", "BRIO"]
    assert view.instrument("BRIO").symbol == "BRIO"


@pytest.mark.parametrize("allowed", [True, False])
def test_the_view_tells_whether_one_may_short(allowed: bool) -> None:
    """As the settings of the market have it."""
    market = begun(settings(market__shorting=allowed))
    assert all(view.may_short(symbol) is allowed for view in market.views for symbol in view.symbols)


def test_a_view_is_as_new_as_the_last_request() -> None:
    """An order handed in outside of a tick is seen at once: agents act one after the other on one book."""
    market = asked_market(2)
    market.engine.submit(market.seats[1].account, order(Side.SELL, 3, 104))
    assert market.views[0].touch("ARBO") == Touch(0, 0, 104, 3)
    assert market.views[0].open_orders("ARBO") == []


def test_a_seat_view_is_what_agents_are_promised() -> None:
    """Every member of the port is there."""
    promised = {name for name in vars(AgentView) if not name.startswith("_")}
    assert promised <= set(dir(SeatView))
