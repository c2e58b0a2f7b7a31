"""The step: what a sequence of events does to the desk, in which order things leave, and what changes nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.events import (
    ROLES,
    Decision,
    FeedGap,
    FeedMalformed,
    FeedOverflow,
    Funding,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    OrderAccepted,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRefused,
    OrderRejected,
    OrderSent,
    OrderUnknown,
    Role,
    RunResumed,
    Timer,
    Warned,
)
from agora.domain.intents import Amend, Cancel, Proposal
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.domain.orders import OrderStatus, Purpose, Side
from agora.engine.desk import Desk
from agora.engine.ports import Change
from agora.engine.state import (
    CLOSED_ORDERS_KEPT,
    FILL_IDS_KEPT,
    ORDER_TIMES_KEPT,
    Phase,
    State,
    decode_snapshot,
    encode_snapshot,
    state_hash,
)
from agora.engine.step import HANDLERS
from tests.engine.desks import OTHER, PRICE, START_NS, SYMBOL, Play, Scripted, cancel_of, limit, market, way_out

# Orders.


def test_an_entry_with_a_bracket_leaves_as_three_records_and_three_orders() -> None:
    """Decision first, then each order: its record before it leaves; the legs sleep behind the entry and only reduce."""
    play = Play()
    play.trader.script.append(limit(stop_ticks=PRICE - 100, target_ticks=PRICE + 200))
    play.candle()
    assert play.kinds() == ["decision", "order.intent", "Send", "order.intent", "Send", "order.intent", "Send"]
    entry, stop, target = play.intents()
    assert [order.purpose for order in (entry, stop, target)] == ["entry", "stop", "target"]
    assert [order.client_id for order in (entry, stop, target)] == ["t-0000001", "t-0000002", "t-0000003"]
    assert (stop.parent, stop.side, stop.trigger_ticks, stop.reduce_only) == ("t-0000001", "sell", PRICE - 100, True)
    assert (target.parent, target.type, target.price_ticks, target.reduce_only) == (
        "t-0000001",
        "limit",
        PRICE + 200,
        True,
    )


@pytest.mark.requirement("B19")
def test_client_ids_come_from_the_run_and_a_count() -> None:
    """The state numbers orders: a desk restored from it goes on with the next number, so no id is used twice."""
    play = Play()
    first = play.place(limit())
    play.desk.restore(decode_snapshot(encode_snapshot(play.desk.snapshot())))
    second = play.place(limit(price=PRICE - 1))
    assert (first.client_id, second.client_id) == ("t-0000001", "t-0000002")


def test_an_order_goes_through_its_life() -> None:
    """Sent, accepted, half filled, filled: statuses, remaining size, counters and the position with its cost."""
    play = Play()
    order = play.place(limit())
    assert order.status is OrderStatus.ACCEPTED
    play.fill(order, 4, fee=100)
    assert (order.status, order.remaining_lots) == (OrderStatus.PARTIALLY_FILLED, 6)
    play.fill(order, 6, PRICE + 10, fee=100)
    assert order.status is OrderStatus.FILLED
    assert play.state.working == {}
    assert (play.state.holdings[SYMBOL].position.size_lots, play.lots("scripted")) == (10, 10)
    assert play.state.ledger.fees == 200
    counters = play.state.counters
    assert (counters.intended, counters.sent, counters.accepted, counters.filled) == (1, 1, 1, 2)


@pytest.mark.requirement("H5.3")
def test_a_fill_that_is_told_twice_counts_once() -> None:
    """The venue's fill id decides: the repeat moves no money and asks no trader; equal fills with other ids count."""
    play = Play()
    order = play.place(limit())
    play.fill(order, 5, venue_fill_id="x")
    before = (play.state.ledger.cash, play.state.holdings[SYMBOL].position.size_lots, len(play.trader.asked))
    play.fill(order, 5, venue_fill_id="x")
    after = (play.state.ledger.cash, play.state.holdings[SYMBOL].position.size_lots, len(play.trader.asked))
    assert after == before
    assert play.state.counters.duplicate_fills == 1
    play.fill(order, 5, venue_fill_id="y")
    assert play.state.holdings[SYMBOL].position.size_lots == 10


@pytest.mark.requirement("H2.3")
def test_funding_that_is_told_twice_counts_once() -> None:
    """By the settlement's own id; the amount goes to cash and to the trade's result."""
    play = Play()
    play.hold(10)
    for identity, total in (("a", -5), ("a", -5), ("b", -10)):
        facts = {"rate_ppb": 1, "size_lots": 10, "mark_ticks": PRICE, "venue_funding_id": identity}
        play.tell(Funding, instrument=SYMBOL, amount_units=-5, **facts)
        assert play.state.ledger.funding == total
    assert play.state.shares["scripted"][SYMBOL].trade_net_units == -10


def test_a_fill_may_come_before_its_acknowledgement() -> None:
    """The late acknowledgement changes nothing but the venue's id."""
    play = Play()
    order = play.place(limit(), answered=False)
    play.fill(order, 4, venue_id="")
    play.tell(OrderAccepted, client_id=order.client_id, venue_id="v-9")
    assert (order.status, order.venue_id) == (OrderStatus.PARTIALLY_FILLED, "v-9")
    play.fill(order, 6)
    play.tell(OrderSent, client_id=order.client_id)
    assert order.status is OrderStatus.FILLED


@pytest.mark.parametrize("kind", [OrderCancelled, OrderExpired])
def test_a_fill_that_crosses_the_end_of_its_order_is_booked(kind: type) -> None:
    """A cancel and a fill can cross on the wire: the fill is real money, the order stays over."""
    play = Play()
    order = play.place(limit())
    facts = {"reason": "asked"} if kind is OrderCancelled else {}
    play.tell(kind, client_id=order.client_id, **facts)
    assert play.state.working == {}
    play.fill(order, 4)
    assert play.state.holdings[SYMBOL].position.size_lots == 4
    assert play.state.working == {}
    assert not order.is_open


def test_a_part_fill_of_an_order_thought_rejected_brings_it_back_to_work() -> None:
    """What is left of it may still trade: it counts against limits and is cancelled at the end like any other."""
    play = Play(limits={"position_lots_max": 10})
    order = play.place(limit(), answered=False)
    play.tell(OrderRejected, client_id=order.client_id, reason="time-out of a proxy")
    play.fill(order, 4)
    assert list(play.state.working) == [order.client_id]
    play.trader.script.append(limit(lots=1))
    play.candle()
    assert play.state.refusals == {"position_units": 1}
    play.fill(order, 6)
    assert play.state.working == {}
    assert [known.client_id for known in play.state.closed] == [order.client_id]


def test_an_order_in_doubt_works_until_evidence_ends_it() -> None:
    """Unknown is a state: the order stays among the working ones until it is accepted, rejected or filled."""
    play = Play()
    order = play.place(limit(), answered=False)
    play.tell(OrderUnknown, client_id=order.client_id, reason="time-out")
    assert (order.status, list(play.state.working)) == (OrderStatus.UNKNOWN, [order.client_id])
    play.tell(OrderUnknown, client_id=order.client_id, reason="time-out")
    play.tell(OrderAccepted, client_id=order.client_id, venue_id="v")
    assert order.status is OrderStatus.ACCEPTED


@pytest.mark.parametrize("kind", [OrderAccepted, OrderRejected, OrderCancelled, OrderExpired, OrderUnknown, OrderSent])
def test_a_report_about_an_order_of_others_is_said_and_changes_nothing(kind: type) -> None:
    """A warning with the id; no counter moves."""
    play = Play()
    before = play.state.counters.__class__(**play_counters(play))
    facts = {OrderAccepted: {"venue_id": "v"}, OrderExpired: {}, OrderSent: {}}.get(kind, {"reason": "r"})
    play.tell(kind, client_id="of-somebody", **facts)
    assert [(said.what, said.detail) for said in play.recorded(Warned)] == [("foreign_order", "of-somebody")]
    assert play.state.counters == before


def play_counters(play: Play) -> dict[str, int]:
    """All counters as plain values."""
    counters = play.state.counters
    return {name: getattr(counters, name) for name in counters.__struct_fields__}


def test_a_repeated_report_counts_once() -> None:
    """Accepted three times, cancelled twice: one each, and the order is in the history once."""
    play = Play()
    order = play.place(limit())
    for _ in range(2):
        play.tell(OrderAccepted, client_id=order.client_id, venue_id="other")
    for _ in range(2):
        play.tell(OrderCancelled, client_id=order.client_id, reason="asked")
    assert (play.state.counters.accepted, play.state.counters.cancelled) == (1, 1)
    assert order.venue_id == f"v-{order.number}"
    assert len(play.state.closed) == 1


def test_a_liquidation_by_the_venue_is_booked_and_said_aloud() -> None:
    """An execution that nobody of ours ordered is real money: position, cash and a warning."""
    play = Play()
    play.hold(10)
    play.tell(
        OrderFilled,
        client_id="liquidation-1",
        venue_id="x",
        venue_fill_id="liq.1",
        instrument=SYMBOL,
        side="sell",
        purpose="liquidation",
        fill_price_ticks=PRICE - 1_000,
        fill_size_lots=10,
        fee_units=7,
        liquidity="taker",
    )
    assert play.state.holdings[SYMBOL].position.size_lots == 0
    assert play.state.ledger.realised == -1 * MONEY_SCALE
    assert [said.what for said in play.recorded(Warned)] == ["foreign_fill"]
    assert (play.state.counters.trades, play.state.working) == (1, {})


def test_a_cancel_is_asked_for_once() -> None:
    """A second wish, or one about an order that is over, leaves nothing; the order counts until the venue answers."""
    play = Play()
    order = play.place(limit())
    play.trader.script += [cancel_of(order), cancel_of(order)]
    play.candle()
    assert play.kinds() == ["decision", "order.cancel_intent", "Change"]
    assert list(play.state.working) == [order.client_id]
    play.candle()
    assert play.kinds() == ["decision"]
    play.tell(OrderCancelled, client_id=order.client_id, reason="requested")
    play.trader.script += [cancel_of(order), Cancel(client_id="nobody's"), Amend(client_id="nobody's", price_ticks=5)]
    for _ in range(3):
        play.candle()
        assert play.kinds() == ["decision"]


def test_an_amendment_moves_the_order_when_the_venue_says_so() -> None:
    """Asked, recorded, sent; the order keeps its price until the answer; 0 leaves a value as it is."""
    play = Play()
    order = play.place(limit())
    play.trader.script.append(Amend(client_id=order.client_id, price_ticks=PRICE - 50))
    play.candle()
    assert play.kinds() == ["decision", "order.amend_intent", "Change"]
    change = play.effects[-1]
    assert isinstance(change, Change)
    assert (change.amend, change.ts_ns, order.price_ticks) == ((PRICE - 50, 0), play.now_ns, PRICE)
    play.tell(OrderAmended, client_id=order.client_id, price_ticks=PRICE - 50, trigger_ticks=0)
    assert (order.price_ticks, order.trigger_ticks, play.state.counters.amended) == (PRICE - 50, 0, 1)
    play.tell(OrderAmendRejected, client_id=order.client_id, reason="already_done")
    assert order.price_ticks == PRICE - 50
    assert [said.what for said in play.recorded(Warned)] == ["amend_rejected"]


def test_an_amendment_far_from_the_market_is_refused() -> None:
    """What the band refuses as an order it refuses as a move of one; the order stays as it was."""
    play = Play()
    order = play.place(limit())
    play.trader.script.append(Amend(client_id=order.client_id, price_ticks=PRICE * 10))
    play.candle()
    assert play.kinds() == ["decision", "order.refused"]
    assert [refused.rule for refused in play.recorded(OrderRefused)] == ["price_band"]
    assert order.price_ticks != PRICE * 10


def test_a_fill_through_zero_ends_a_trade_and_begins_another() -> None:
    """Long 10, sell 25: the long is one lost trade, the short of 15 is open; closing it makes two."""
    play = Play()
    play.hold(10)
    play.hold(-25, price=PRICE - 10)
    assert (play.state.counters.trades, play.state.counters.losing_streak) == (1, 1)
    assert play.state.holdings[SYMBOL].position.size_lots == -15
    play.hold(15, price=PRICE - 20)
    assert (play.state.counters.trades, play.state.counters.wins) == (2, 1)


def test_a_trade_is_won_after_fees_and_funding() -> None:
    """Flat to flat: a cent of profit against fees; a tie is a loss; the streak counts losses in a row."""
    play = Play()
    for profit_ticks, fee in ((10, 500_000), (10, 999_999), (10, 1_000_000), (10, 1_000_001)):
        play.hold(10)
        play.fill(play.place(way_out()), price=PRICE + profit_ticks, fee=fee)
    counters = play.state.counters
    assert (counters.trades, counters.wins, counters.losing_streak) == (4, 2, 2)


# Traders.


def test_a_trader_is_asked_after_the_state_has_changed() -> None:
    """At a fill it sees the new position; at a bar the new equity; its words become a decision record."""
    play = Play()
    seen: list[int] = []

    def look(view: object) -> Proposal:
        seen.append(view.position_lots(SYMBOL))  # type: ignore[attr-defined]
        return Proposal(action="look", reason="looking", features={"x": 1.5})

    order = play.place(limit())
    play.trader.silent_fills = False
    play.trader.script += [look, look]
    play.fill(order, 4)
    play.candle()
    assert seen == [4, 4]
    at_fill, at_bar = play.recorded(Decision)[-2:]
    assert (at_fill.action, at_fill.features, at_fill.instrument) == ("look", {"x": 1.5}, SYMBOL)
    assert at_bar.instrument == SYMBOL


def test_a_trader_that_says_nothing_leaves_no_decision() -> None:
    """None is not a decision; success later counts only what was said."""
    play = Play()
    play.trader.script.append(None)
    play.candle()
    assert play.recorded(Decision) == []
    play.candle()
    assert [event.action for event in play.recorded(Decision)] == ["hold"]


def test_a_trader_hears_market_data_only_when_it_asked_to() -> None:
    """At a quote it hears, it sees the new touch and may act; the others hear bars and fills as ever."""
    play = Play(traders=("hearing", "scripted"))
    hearing, other = play.traders
    hearing.hears = (MarketQuote,)
    hearing.silent_fills = False
    play.desk = Desk(State(), play.desk.rules)
    play.step(play.journal[0])
    hearing.script.append(limit())
    play.quote()
    play.trade()
    assert [type(event) for event in hearing.asked] == [MarketQuote]
    assert other.asked == []
    assert [order.trader for order in play.journal if isinstance(order, OrderIntent)] == ["hearing"]


def test_a_trader_cannot_hear_what_is_no_market_data() -> None:
    """The mistake is told when the run is put together."""
    trader = Scripted("confused")
    trader.hears = (OrderSent,)
    with pytest.raises(ValueError, match="confused cannot hear OrderSent"):
        Desk(State(), msgspec.structs.replace(Play().desk.rules, traders=(trader,)))


def test_nobody_decides_once_the_run_is_ending() -> None:
    """Bars still shape the trader's memory; what it says is neither recorded nor carried out."""
    play = Play()
    play.hold(10)
    play.tell(Timer, 10_000)
    assert play.state.end_reason == "stale_data"
    play.trader.script.append(market())
    asked = len(play.trader.bars)
    play.candle()
    assert len(play.trader.bars) == asked + 1
    assert [kind for kind in play.kinds() if kind == "decision"] == []
    assert {order.purpose for order in play.sent()} <= {Purpose.FLATTEN}


# Money and facts.


def test_equity_is_cash_and_open_profit_at_the_mark() -> None:
    """The middle of the quote, rounded down, or the last price where there are no quotes."""
    play = Play()
    play.hold(10)
    play.candle(PRICE + 100)
    assert play.desk.equity_units() == 10_000 * MONEY_SCALE + 10 * 100 * 10_000
    play.quote(PRICE + 200)
    assert play.desk.equity_units() == 10_000 * MONEY_SCALE + 10 * 200 * 10_000


def test_two_instruments_are_kept_apart_and_valued_together() -> None:
    """Positions, marks and trades are per instrument, money and equity of the account."""
    play = Play(symbols=(SYMBOL, OTHER))
    play.candle(symbol=OTHER, close=300_000)
    play.hold(10)
    play.trader.script.append(limit(Side.SELL, 100, 300_000, instrument=OTHER))
    play.candle(300_000, symbol=OTHER)
    play.fill(play.sent()[0], price=300_000)
    play.candle(PRICE + 100)
    play.candle(300_500, symbol=OTHER)
    assert {name: held.position.size_lots for name, held in play.state.holdings.items()} == {SYMBOL: 10, OTHER: -100}
    assert play.desk.equity_units() == 10_000 * MONEY_SCALE + 10 * 100 * 10_000 - 100 * 500 * 1_000


def test_the_last_funding_rate_is_shown_to_traders_and_moves_no_money() -> None:
    """The money comes as the venue's own event."""
    play = Play()
    assert play.desk.views[0].funding_rate_ppb(SYMBOL) is None
    play.tell(MarketFundingRate, instrument=SYMBOL, rate_ppb=-7)
    assert play.desk.views[0].funding_rate_ppb(SYMBOL) == -7
    assert play.state.ledger.cash == 10_000 * MONEY_SCALE


@pytest.mark.requirement("B4")
def test_what_the_feed_lost_is_counted_and_never_reaches_the_market() -> None:
    """Malformed per reason, drops and gaps by number; no price changes."""
    play = Play()
    play.quote()
    before = encode_snapshot(play.desk.snapshot()).find(b'"bid_ticks":599999')
    play.tell(FeedMalformed, reason="zero_price", count=3, sample="x")
    play.tell(FeedMalformed, reason="crossed", count=1, sample="y")
    play.tell(FeedMalformed, reason="zero_price", count=2, sample="z")
    play.tell(FeedOverflow, dropped=9)
    play.tell(FeedGap, instrument=SYMBOL, reason="chain")
    assert play.state.malformed == {"zero_price": 5, "crossed": 1}
    counters = play.state.counters
    assert (counters.malformed, counters.overflow_dropped, counters.gaps) == (6, 9, 1)
    assert before > 0
    assert play.state.markets[SYMBOL].mark_ticks == PRICE


def test_where_a_resumed_source_goes_on_counts_drops_too() -> None:
    """Market events, funding rates and dropped events were handed over; history was not part of the stream."""
    play = Play()
    play.candle(is_history=True, after_s=0)
    play.candle()
    play.quote()
    play.tell(MarketDepth, instrument=SYMBOL, levels=())
    play.tell(MarketFundingRate, instrument=SYMBOL, rate_ppb=1)
    play.tell(FeedOverflow, dropped=9)
    assert play.state.feed_position == 13


# Time.


def test_time_does_not_go_back() -> None:
    """An event before the newest one is a bug of ours, and said so."""
    play = Play()
    play.candle()
    with pytest.raises(AssertionError, match="time went back"):
        play.tell(Timer, -1)


def test_only_warm_up_bars_lie_in_the_past() -> None:
    """They come before the run's start, move no clock, and are asked about without being traded."""
    play = Play()
    play.trader.script.append(market())
    for number in range(5, 0, -1):
        play.tell(
            MarketCandle,
            -number * 60,
            instrument=SYMBOL,
            interval_s=60,
            open_ticks=PRICE,
            high_ticks=PRICE,
            low_ticks=PRICE,
            close_ticks=PRICE,
            volume_lots=1,
            is_history=True,
        )
        assert play.effects == []
    assert play.state.now_ns == START_NS
    assert len(play.trader.bars) == 5
    assert (play.state.counters.history_events, play.state.counters.market_events) == (5, 0)


def test_time_without_the_process_does_not_count_against_the_duration() -> None:
    """After a resume the planned end moves by the downtime, and staleness starts anew."""
    play = Play(duration_s=100)
    play.quote()
    play.tell(RunResumed, 1_000, down_ns=1_000 * NS_PER_S)
    assert play.state.phase is Phase.RUNNING
    assert play.state.end_ts_ns == START_NS + 1_100 * NS_PER_S
    for _ in range(4):
        play.quote(after_s=20)
    play.tell(Timer, 19)
    assert play.state.end_reason == "duration"


# The value of a state.


def test_equal_histories_have_equal_hashes_and_one_difference_shows() -> None:
    """The hash is of the whole state: the same events give it again, one lot more does not."""

    def story(lots: int) -> str:
        play = Play()
        play.hold(lots)
        play.quote()
        return state_hash(play.desk.snapshot())

    assert story(10) == story(10)
    assert story(10) != story(11)


def test_a_state_survives_being_written_and_read() -> None:
    """Decode of encode has the same bytes, with orders, fills, breakers and an ending in it."""
    play = Play()
    play.hold(10)
    play.place(limit(stop_ticks=PRICE - 100))
    play.tell(Timer, 10_000)
    text = encode_snapshot(play.desk.snapshot())
    assert encode_snapshot(decode_snapshot(text)) == text


@pytest.mark.requirement("B37")
def test_histories_inside_the_state_are_bounded() -> None:
    """A thousand and more orders, fills and errors leave a state of bounded size."""
    play = Play(limits={"orders_per_minute_max": 600}, breakers={"losing_streak_max": 0})
    for _ in range(FILL_IDS_KEPT // 2 + 20):
        play.hold(10)
        play.fill(play.place(way_out()))
    state = play.state
    assert (len(state.closed), len(state.fill_ids)) == (CLOSED_ORDERS_KEPT, FILL_IDS_KEPT)
    assert len(state.order_times_ns) == ORDER_TIMES_KEPT
    assert state.working == {}
    assert len(encode_snapshot(play.desk.snapshot())) < 250_000


def test_every_input_has_a_handler() -> None:
    """What can come into a desk is handled; outputs, notes and the events of an agents' market are not its inputs."""
    inputs = {kind for kind, role in ROLES.items() if role is Role.INPUT}
    assert set(HANDLERS) == {kind for kind in inputs if kind.__module__ != "agora.domain.market_events"}


@given(st.lists(st.tuples(st.sampled_from(["buy", "sell", "out", "bar", "cancel"]), st.integers(1, 30)), max_size=60))
def test_the_books_stay_balanced_whatever_happens(moves: list[tuple[str, int]]) -> None:
    """After any story: ledger identity, position equal to the sum of signed fills, flat means no cost."""
    play = Play(limits={"orders_per_minute_max": 600}, breakers={"losing_streak_max": 0})
    for move, number in moves:
        held = play.state.holdings[SYMBOL].position.size_lots
        if move == "bar":
            play.candle(PRICE + number)
        elif move == "cancel":
            for client_id in list(play.state.working):
                play.tell(OrderCancelled, client_id=client_id, reason="x")
        elif move == "out" and held:
            play.fill(play.place(way_out(Side.SELL if held > 0 else Side.BUY, abs(held))), price=PRICE - number)
        elif move in ("buy", "sell"):
            order = play.place(limit(Side.BUY if move == "buy" else Side.SELL, number))
            play.fill(order, (number + 1) // 2, price=PRICE + number, fee=number)
    fills = [(1 if fill.side == "buy" else -1) * fill.fill_size_lots for fill in play.recorded(OrderFilled)]
    position = play.state.holdings[SYMBOL].position
    assert position.size_lots == sum(fills)
    assert position.size_lots or not position.cost_units
    play.state.ledger.check()
