"""Shares: what each trader has of a position, what it earned, and what the venue's own executions do to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.events import Funding, OrderCancelled, OrderFilled, OrderRefused, Warned
from agora.domain.intents import Proposal
from agora.domain.orders import OrderStatus, Purpose, Side
from agora.engine.shares import VENUE_TRADER, Execution, book
from agora.report.tallies import by_symbol, by_trader
from tests.engine.desks import OTHER, OTHER_PRICE, PRICE, SYMBOL, Play, limit, market, way_out

BOTH = ("anna", "bert")
UNIT = 10_000  # money units of one lot and one tick


def with_both(anna: int = 10, bert: int = 5) -> Play:
    """Two traders that hold so many lots, bought one tick apart."""
    play = Play(traders=BOTH)
    play.hold(anna, trader="anna")
    play.hold(bert, PRICE + 1, trader="bert")
    return play


def fund(play: Play, amount: int, symbol: str = SYMBOL) -> None:
    """Funding of a position."""
    facts = {"rate_ppb": 1, "size_lots": 1, "mark_ticks": PRICE, "venue_funding_id": f"f{len(play.journal)}"}
    play.tell(Funding, instrument=symbol, amount_units=amount, **facts)


def funded(play: Play) -> dict[str, int]:
    """Funding by trader."""
    return {name: tally.funding_units for name, tally in by_trader(play.desk).items() if tally.funding_units}


# Whose it is.


def test_each_trader_sees_its_own_share() -> None:
    """Position and average price of its own fills; the run's position is the sum, at the mean of both."""
    play = with_both()
    anna, bert = play.desk.views
    assert (anna.position_lots(SYMBOL), bert.position_lots(SYMBOL)) == (10, 5)
    assert (anna.average_price_ticks(SYMBOL), bert.average_price_ticks(SYMBOL)) == (PRICE, PRICE + 1)
    assert play.state.holdings[SYMBOL].position.size_lots == 15


def test_each_trader_sees_its_own_orders_in_the_order_they_were_planned() -> None:
    """Nothing of the others."""
    play = Play(traders=BOTH)
    mine = [play.place(limit(lots=1, price=PRICE - step), trader="anna") for step in range(3)]
    other = play.place(limit(lots=1), trader="bert")
    anna, bert = play.desk.views
    assert [order.client_id for order in anna.open_orders(SYMBOL)] == [order.client_id for order in mine]
    assert list(bert.open_orders(SYMBOL)) == [other]


def test_a_fill_is_told_to_the_trader_whose_it_is() -> None:
    """And to all of them when the venue traded by itself."""
    play = with_both()
    asked = {name: [event for event in play.of(name).asked if isinstance(event, OrderFilled)] for name in BOTH}
    assert {name: len(events) for name, events in asked.items()} == {"anna": 1, "bert": 1}
    play.foreign_fill(-3)
    assert [type(play.of(name).asked[-1]) for name in BOTH] == [OrderFilled, OrderFilled]


@pytest.mark.requirement("B64")
def test_trades_and_wins_are_counted_per_trader() -> None:
    """From flat to flat of each share; the run's counts are the sums."""
    play = with_both()
    play.fill(play.place(way_out(lots=10), trader="anna"), price=PRICE + 5, fee=7)
    play.fill(play.place(way_out(lots=5), trader="bert"), price=PRICE, fee=3)
    tallies = by_trader(play.desk)
    assert (tallies["anna"].trades, tallies["anna"].wins, tallies["anna"].realised_units) == (1, 1, 10 * 5 * UNIT)
    assert (tallies["bert"].trades, tallies["bert"].wins, tallies["bert"].realised_units) == (1, 0, -5 * UNIT)
    assert (tallies["anna"].fees_units, tallies["bert"].fees_units) == (7, 3)
    counters = play.state.counters
    assert (counters.trades, counters.wins, counters.losing_streak) == (2, 1, 1)


def test_a_share_that_does_not_add_up_stops_the_run() -> None:
    """The sum of the shares is the position: asserted with every fill."""
    play = with_both()
    with pytest.raises(AssertionError, match="the shares hold 16 lots, the run 15"):
        book(play.desk, "anna", SYMBOL, execution=Execution(1, PRICE))


# What the venue does by itself.


def test_a_liquidation_falls_on_the_shares_in_their_order() -> None:
    """The first pays the fee and has the fill; what no share absorbs is the venue's."""
    play = with_both(anna=10, bert=5)
    play.foreign_fill(-12, PRICE - 100, fee_units=9)
    assert (play.lots("anna"), play.lots("bert"), play.lots(VENUE_TRADER)) == (0, 3, 0)
    tallies = by_trader(play.desk)
    assert (tallies["anna"].fees_units, tallies["anna"].fills, tallies["bert"].fills) == (9, 2, 1)
    play.foreign_fill(-5, PRICE - 100)
    assert (play.lots("anna"), play.lots("bert"), play.lots(VENUE_TRADER)) == (0, 0, -2)
    assert by_trader(play.desk)[VENUE_TRADER].fills == 0


def test_an_execution_on_the_same_side_is_the_venues_own() -> None:
    """Nobody of ours wanted it: no share grows by it."""
    play = with_both()
    play.foreign_fill(4)
    assert (play.lots("anna"), play.lots("bert"), play.lots(VENUE_TRADER)) == (10, 5, 4)


@pytest.mark.requirement("P1.3")
@pytest.mark.parametrize("lots", [-20, -15, -3, 4])
def test_an_outside_hand_ends_the_run_and_everything_is_flattened(lots: int) -> None:
    """Said as a warning; each share is closed by an order of its own, that of the outside hand too."""
    play = with_both()
    play.foreign_fill(lots, purpose="foreign")
    assert play.state.end_reason == "desync"
    said = [event.what for event in play.recorded(Warned)]
    assert said == ["foreign_fill", "desync"]
    closing = {order.trader: -order.side * order.size_lots for order in play.sent()}
    assert {order.purpose for order in play.sent()} <= {Purpose.FLATTEN}
    assert sum(closing.values()) == 15 + lots
    assert closing == {name: play.lots(name) for name in (*BOTH, VENUE_TRADER) if play.lots(name)}


def test_an_adopted_order_may_fill_in_several_parts() -> None:
    """Under one id: booked each, no overfill is said, the order is over between them."""
    play = with_both()
    for number in range(3):
        play.foreign_fill(-4, client_id="liquidation-x", venue_fill_id=f"x{number}")
        assert play.state.working == {}
    assert play.state.holdings[SYMBOL].position.size_lots == 3
    assert {event.what for event in play.recorded(Warned)} == {"foreign_fill"}
    (adopted,) = [order for order in play.state.closed if order.client_id == "liquidation-x"]
    assert (adopted.size_lots, adopted.filled_lots, adopted.status) == (12, 12, OrderStatus.FILLED)


def test_more_than_was_ordered_is_booked_and_said() -> None:
    """It is real money; the order has grown to what was filled, so nothing of it counts as open."""
    play = Play()
    order = play.place(limit(lots=10))
    play.fill(order, 13)
    assert (play.lots("scripted"), order.size_lots, order.remaining_lots) == (13, 13, 0)
    (said,) = play.recorded(Warned)
    assert (said.what, said.detail) == ("overfill", f"{order.client_id} filled 13 of 10 lots")
    assert play.state.working == {}


# Opposite shares.


def test_a_fill_after_a_cancel_cannot_leave_two_opposite_shares() -> None:
    """The order was thought gone and another trader entered the other way: they meet at the price of the fill."""
    play = Play(traders=BOTH)
    late = play.place(limit(lots=10, price=PRICE - 5), trader="anna")
    play.tell(OrderCancelled, client_id=late.client_id, reason="requested")
    play.hold(-4, trader="bert")
    play.fill(late, 10, PRICE - 5)
    assert (play.lots("anna"), play.lots("bert")) == (6, 0)
    assert play.state.holdings[SYMBOL].position.size_lots == 6
    assert by_trader(play.desk)["bert"].realised_units == 4 * 5 * UNIT
    assert [event.what for event in play.recorded(Warned)] == ["shares_crossed"]


def test_a_way_out_that_closes_more_than_its_share_takes_from_the_others() -> None:
    """At the venue it reduced what the account holds: the books follow, and no share turns around."""
    play = with_both(anna=10, bert=5)
    stop = play.place(market(Side.SELL, 10, reduce_only=True, purpose=Purpose.STOP), trader="anna")
    play.foreign_fill(-6)
    assert (play.lots("anna"), play.lots("bert")) == (4, 5)
    play.fill(stop, 9)
    assert (play.lots("anna"), play.lots("bert")) == (0, 0)


def test_a_trader_that_went_flat_leaves_no_stop_behind_that_would_close_anothers_position() -> None:
    """Its ways out are called back while others hold; those of an entry that may yet fill stay."""
    play = Play(traders=BOTH)
    play.hold(5, trader="bert")
    bracket = limit(lots=10, stop_ticks=PRICE - 100, target_ticks=PRICE + 100)
    entry = play.place(bracket, trader="anna")
    stop, target = (order for order in play.state.orders() if order.parent == entry.client_id)
    play.fill(entry, 4)
    play.fill(target, 4, PRICE + 100)
    assert play.cancels() == []
    play.fill(entry, 6)
    play.fill(target, 6, PRICE + 100)
    assert play.cancels() == [stop.client_id]
    assert play.lots("bert") == 5


def test_where_all_are_flat_the_venue_ends_the_rest_by_itself() -> None:
    """No cancel is asked for: that is what the venue does with orders that can only reduce."""
    play = Play(traders=BOTH)
    entry = play.place(limit(lots=10, stop_ticks=PRICE - 100, target_ticks=PRICE + 100), trader="anna")
    target = play.state.orders()[2]
    play.fill(entry)
    play.fill(target, price=PRICE + 100)
    assert play.cancels() == []


# Funding.


@pytest.mark.parametrize("amount, shares", [(-300, (-200, -100)), (100, (66, 34)), (-100, (-67, -33)), (1, (0, 1))])
def test_funding_is_spread_by_size(amount: int, shares: tuple[int, int]) -> None:
    """Rounded down, the rest to the last: the parts are the whole."""
    play = with_both(anna=10, bert=5)
    fund(play, amount)
    assert funded(play) == {name: part for name, part in zip(BOTH, shares, strict=True) if part}
    assert play.state.ledger.funding == amount


def test_funding_told_after_the_close_belongs_to_who_traded_there() -> None:
    """Not to the traders of other instruments; where nobody traded it is the venue's."""
    play = Play(traders=BOTH, symbols=(SYMBOL, OTHER))
    play.hold(3, OTHER_PRICE, trader="bert", symbol=OTHER)
    play.fill(play.place(way_out(lots=3, instrument=OTHER), trader="bert"), price=OTHER_PRICE)
    fund(play, -7, OTHER)
    fund(play, -2, SYMBOL)
    assert funded(play) == {"bert": -7, VENUE_TRADER: -2}


def test_funding_decides_whether_a_trade_was_won() -> None:
    """A tick of profit against a payment larger than that."""
    play = Play()
    play.hold(10)
    fund(play, -10 * UNIT)
    play.fill(play.place(way_out()), price=PRICE + 1)
    assert (play.state.counters.trades, play.state.counters.wins) == (1, 0)


# Whatever happens.

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["anna buy", "anna sell", "bert buy", "bert sell", "out", "venue", "fund", "late", "other"]),
        st.integers(1, 20),
    ),
    max_size=50,
)


def act(play: Play, what: str, number: int) -> None:
    """One move of a story; what arbitration refuses does not happen."""
    if what == "fund":
        fund(play, number - 10)
    elif what == "venue":
        play.foreign_fill(number - 10 or 1, PRICE + number, fee_units=number)
    elif what == "out":
        for name in BOTH:
            held = play.lots(name)
            if held:
                side = Side.SELL if held > 0 else Side.BUY
                order = play.place(way_out(side, abs(held)), trader=name)
                play.fill(order, min(number, abs(held)), PRICE - number, fee=1)
    elif what == "late":
        for order in [order for order in play.state.closed if order.status is OrderStatus.CANCELLED][-1:]:
            play.fill(order, 1, PRICE + number)
    else:
        symbol, price = (OTHER, OTHER_PRICE) if what == "other" else (SYMBOL, PRICE)
        name, side = ("bert", "buy") if what == "other" else what.split()
        place = limit(Side.BUY if side == "buy" else Side.SELL, number, price, instrument=symbol)
        play.of(name).script.insert(0, Proposal(action="act", reason="story", intents=(place,)))
        play.candle(symbol=symbol)
        for order in play.sent():
            play.fill(order, (number + 1) // 2, price + number, fee=number)
            play.tell(OrderCancelled, client_id=order.client_id, reason="x")


@pytest.mark.requirement("B64")
@given(STEPS)
def test_the_shares_are_the_position_whatever_happens(story: list[tuple[str, int]]) -> None:
    """Lots and money of all shares are those of the run, to the unit, and no two shares are opposite."""
    breakers = {"losing_streak_max": 0, "loss_fraction_max_ppm": 1_000_000, "daily_drawdown_max_ppm": 1_000_000}
    play = Play(traders=BOTH, symbols=(SYMBOL, OTHER), breakers=breakers, limits={"orders_per_minute_max": 600})
    for what, number in story:
        act(play, what, number)
    play.quote(PRICE + 3)
    play.quote(OTHER_PRICE - 3, symbol=OTHER)
    state = play.state
    for symbol, holding in state.holdings.items():
        lots = [state.shares[name][symbol].position.size_lots for name in state.shares if symbol in state.shares[name]]
        assert sum(lots) == holding.position.size_lots
        assert min(lots, default=0) * max(lots, default=0) >= 0
    for tallies in (by_trader(play.desk).values(), by_symbol(play.desk).values()):
        assert sum(t.fees_units for t in tallies) == state.ledger.fees
        assert sum(t.funding_units for t in tallies) == state.ledger.funding
        gained = play.desk.equity_units() - state.equity_start_units
        assert sum(t.net_units for t in tallies) == gained
        assert sum(t.fills for t in tallies) == state.counters.filled
        assert (sum(t.trades for t in tallies), sum(t.wins for t in tallies)) == (
            state.counters.trades,
            state.counters.wins,
        )
    assert {event.rule for event in play.recorded(OrderRefused)} <= {"arbitration", "leverage", "fresh_data"}
