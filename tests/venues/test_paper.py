"""The paper venue: what it answers to orders and prices, at which time and for which money."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from agora.domain.events import (
    Funding,
    MarketFundingRate,
    MarketTrade,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
)
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import OrderType, Purpose, Side, TimeInForce
from agora.venues.paper import PaperSettings
from tests.venues.paper_counter import BTC, PRICE, START_NS, SYMBOL, Counter, rows, traded

# Latency.


@pytest.mark.requirement("B16")
@pytest.mark.requirement("H2.1")
def test_each_order_has_its_own_latency_between_50_and_500_ms() -> None:
    """With the defaults, 200 orders: nothing is answered before its time, each acknowledgement shows its latency."""
    desk = Counter(latency_model="uniform", latency_ms_min=50)
    desk.quote()
    for _ in range(200):
        desk.send(price=PRICE - 500)
    latencies = []
    while (due_ns := desk.machine.next_due_ns()) is not None:
        assert desk.machine.advance(due_ns - 1) == []
        for event in desk.machine.advance(due_ns):
            assert isinstance(event, OrderAccepted)
            latencies.append(event.latency_ns)
            assert event.ts_ns == START_NS + event.latency_ns
    assert len(latencies) == 200
    assert min(latencies) >= 50 * NS_PER_MS
    assert max(latencies) <= 500 * NS_PER_MS
    assert len(set(latencies)) > 190
    assert max(latencies) - min(latencies) > 400 * NS_PER_MS


@pytest.mark.requirement("B16")
def test_a_market_order_takes_the_price_of_its_arrival() -> None:
    """The quote moves while the order travels: it fills at what is there when it arrives, not at what was seen."""
    desk = Counter()
    desk.quote()
    order = desk.send()
    desk.quote(PRICE + 50, after_ms=60)
    assert rows(desk.wait(39)) == []
    assert rows(desk.wait(1)) == [("accepted", order), ("filled", order, PRICE + 51, 10)]


def test_a_cancel_never_overtakes_its_order() -> None:
    """Whatever the latencies: the order arrives, then its cancel; each is told, and nothing of it is left."""
    for seed in range(30):
        desk = Counter(seed=seed, latency_model="uniform", latency_ms_min=50)
        desk.quote()
        order = desk.send(price=PRICE - 500)
        desk.change(order)
        answers = desk.wait(1_000)
        assert rows(answers) == [("accepted", order), ("cancelled", order, "requested")], seed
        assert desk.machine.account(desk.now_ns).open_client_ids == ()


def test_an_amendment_never_overtakes_its_order() -> None:
    """An order that is moved while it travels is moved, not lost."""
    for seed in range(30):
        desk = Counter(seed=seed, latency_model="uniform", latency_ms_min=50)
        desk.quote()
        order = desk.send(price=PRICE - 500)
        desk.change(order, (PRICE - 400, 0))
        assert rows(desk.wait(1_000)) == [("accepted", order), ("amended", order)], seed
        assert desk.machine.account(desk.now_ns).open_client_ids == (order,)


def test_impossible_latencies_are_refused_before_anything_starts() -> None:
    """A range that ends before it begins is a fault of the settings, not of the first order."""
    with pytest.raises(ValueError, match="latency_ms_max 100 is below latency_ms_min 200"):
        PaperSettings(latency_ms_min=200, latency_ms_max=100)
    assert PaperSettings(latency_model="fixed", latency_ms_min=900).latency_ms_min == 900


# Orders.


def test_a_bracket_wakes_with_its_entry() -> None:
    """Before the entry fills neither leg trades; afterwards the stop protects, and its fill ends the target."""
    desk = Counter()
    desk.quote(lots=100)
    entry = desk.send(price=PRICE - 50)
    stop, target = desk.leg(entry, Purpose.STOP, PRICE - 150), desk.leg(entry, Purpose.TARGET, PRICE + 100)
    desk.wait()
    assert rows(desk.quote(PRICE + 200)) == []
    assert ("filled", entry, PRICE - 50, 10) in rows(desk.quote(PRICE - 60))
    assert desk.position == 10
    told = rows(desk.quote(PRICE - 200))
    assert ("filled", stop, PRICE - 201, 10) in told
    assert ("cancelled", target, "reduce_only_flat") in told or ("cancelled", target, "parent_gone") in told
    assert desk.position == 0
    assert desk.machine.account(desk.now_ns).open_client_ids == ()


def test_a_target_takes_its_profit_and_ends_the_stop() -> None:
    """The other way out; the maker's fee is charged for a resting target."""
    desk = Counter()
    desk.quote(lots=100)
    entry = desk.send()
    stop, target = desk.leg(entry, Purpose.STOP, PRICE - 150), desk.leg(entry, Purpose.TARGET, PRICE + 100)
    desk.wait()
    told = desk.quote(PRICE + 150, lots=100)
    (fill,) = [event for event in told if isinstance(event, OrderFilled)]
    assert (fill.client_id, fill.fill_price_ticks, fill.liquidity) == (target, PRICE + 100, "maker")
    assert fill.fee_units == BTC.fee_units(PRICE + 100, 10, is_maker=True)
    assert [event.client_id for event in told if isinstance(event, OrderCancelled)] == [stop]


def test_a_stop_inside_the_bar_of_its_entry_is_hit() -> None:
    """One bar passes the entry and then the stop: with candles only, the worse order of things is assumed."""
    desk = Counter()
    desk.bar(PRICE, PRICE, PRICE, PRICE)
    entry = desk.send(price=PRICE - 100)
    stop, target = desk.leg(entry, Purpose.STOP, PRICE - 300), desk.leg(entry, Purpose.TARGET, PRICE + 100)
    desk.wait()
    told = rows(desk.bar(PRICE, PRICE + 200, PRICE - 400, PRICE + 150))
    fills = [row for row in told if row[0] == "filled"]
    assert [row[1] for row in fills] == [entry, stop]
    assert fills[1][2] < PRICE - 300
    assert [row[:2] for row in told if row[0] == "cancelled"] == [("cancelled", target)]


def test_a_bar_that_touches_both_legs_hits_the_stop() -> None:
    """An open position, and a bar wide enough for both: the loss is assumed."""
    desk = Counter()
    desk.bar(PRICE, PRICE, PRICE, PRICE)
    entry = desk.send()
    stop, target = desk.leg(entry, Purpose.STOP, PRICE - 1_000), desk.leg(entry, Purpose.TARGET, PRICE + 1_000)
    desk.wait()
    fills = [row for row in rows(desk.bar(PRICE, PRICE + 2_000, PRICE - 2_000, PRICE)) if row[0] == "filled"]
    assert [row[1] for row in fills] == [stop]
    assert target not in desk.machine.account(desk.now_ns).open_client_ids


def test_a_gap_fills_a_stop_at_the_open() -> None:
    """The market opens beyond the stop: the price is the open's, half a spread worse, not the stop's."""
    desk = Counter()
    desk.bar(PRICE, PRICE, PRICE, PRICE)
    entry = desk.send()
    stop = desk.leg(entry, Purpose.STOP, PRICE - 100)
    desk.wait()
    ((_, name, price, _),) = [
        row for row in rows(desk.bar(PRICE - 5_000, PRICE - 4_900, PRICE - 5_100, PRICE - 5_000)) if row[0] == "filled"
    ]
    assert name == stop
    assert price == (PRICE - 5_000) - (PRICE - 5_000) * 5 // 10_000 - ((PRICE - 5_000) * 5 % 10_000 > 0)


@pytest.mark.requirement("H2.2")
def test_without_quotes_a_market_order_pays_five_basis_points() -> None:
    """On candles: the close, half a spread worse, on both sides."""
    for side, price in ((Side.BUY, PRICE + 300), (Side.SELL, PRICE - 300)):
        desk = Counter()
        desk.bar(PRICE, PRICE, PRICE, PRICE)
        order = desk.send(side)
        assert rows(desk.wait()) == [("accepted", order), ("filled", order, price, 10)]


def test_fills_are_bounded_by_the_traded_volume() -> None:
    """A tenth of the bar's volume is ours; the rest waits for the next bars; sizes add up to the order."""
    desk = Counter()
    desk.bar(PRICE, PRICE, PRICE, PRICE)
    order = desk.send(price=PRICE - 10, lots=25)
    desk.wait()
    sizes = []
    for _ in range(4):
        told = rows(desk.bar(PRICE, PRICE, PRICE - 100, PRICE, volume=100))
        sizes += [row[3] for row in told if row[0] == "filled"]
    assert sizes == [10, 10, 5]
    assert desk.position == 25
    assert desk.machine.account(desk.now_ns).open_client_ids == ()
    assert [event.venue_fill_id for event in desk.answers if isinstance(event, OrderFilled)] == [
        f"{order}.{number}" for number in (1, 2, 3)
    ]


def test_a_touch_is_not_a_fill() -> None:
    """A limit order at the bid waits behind what is displayed; trades at its price move the queue first."""
    desk = Counter()
    desk.quote(lots=100)
    order = desk.send(price=PRICE - 1)
    desk.wait()
    assert rows(desk.see(MarketTrade, price_ticks=PRICE - 1, size_lots=100, aggressor=-1)) == []
    assert rows(desk.see(MarketTrade, price_ticks=PRICE - 1, size_lots=4, aggressor=-1)) == [
        ("filled", order, PRICE - 1, 4)
    ]


@pytest.mark.parametrize(
    "name, facts, answer",
    [
        ("post-only that would take", {"price": PRICE + 5, "post_only": True}, "post_only_would_cross"),
        ("reduce-only without a position", {"reduce_only": True}, "reduce_only_no_position"),
        (
            "already expired",
            {"price": PRICE - 5, "time_in_force": TimeInForce.GTD, "expire_ts_ns": START_NS + 1},
            "expired_on_arrival",
        ),
        ("a stop without a level", {"type": OrderType.STOP}, "invalid"),
    ],
)
def test_what_the_venue_refuses(name: str, facts: dict[str, Any], answer: str) -> None:
    """Each refusal has its word and leaves nothing behind."""
    desk = Counter()
    desk.quote()
    order = desk.send(**facts)
    assert rows(desk.wait()) == [("rejected", order, answer)], name
    assert desk.machine.account(desk.now_ns).open_client_ids == ()


def test_a_market_order_before_any_price_is_refused() -> None:
    """There is nothing it could be filled at."""
    desk = Counter()
    order = desk.send()
    assert rows(desk.wait()) == [("rejected", order, "no_market")]


def test_reduce_only_never_turns_a_position_round() -> None:
    """Ten lots held, thirty sold reduce-only: ten are, the rest is given up."""
    desk = Counter()
    traded(desk)
    order = desk.send(Side.SELL, 30, reduce_only=True)
    told = rows(desk.wait())
    assert ("filled", order, PRICE - 1, 10) in told
    assert desk.position == 0
    assert desk.machine.account(desk.now_ns).open_client_ids == ()


def test_an_order_expires_at_its_time() -> None:
    """Not a nanosecond earlier, and without any market event."""
    desk = Counter()
    desk.quote()
    expire_ts_ns = START_NS + 5 * NS_PER_S
    order = desk.send(price=PRICE - 50, time_in_force=TimeInForce.GTD, expire_ts_ns=expire_ts_ns)
    desk.wait()
    assert rows(desk.quote(after_ms=4_899)) == []
    told = desk.quote(after_ms=1)
    assert [type(event) for event in told] == [OrderExpired]
    assert rows(told) == [("expired", order)]


def test_an_immediate_order_gives_up_what_it_cannot_have() -> None:
    """IOC at a limit: the displayed lots, then the rest is cancelled."""
    desk = Counter()
    desk.quote(lots=6)
    order = desk.send(price=PRICE + 1, time_in_force=TimeInForce.IOC)
    assert rows(desk.wait()) == [
        ("accepted", order),
        ("filled", order, PRICE + 1, 6),
        ("cancelled", order, "ioc_remainder"),
    ]


def test_all_or_nothing_of_too_much_is_nothing() -> None:
    """FOK: what is displayed does not suffice, so not a lot is traded."""
    desk = Counter()
    desk.quote(lots=6)
    order = desk.send(price=PRICE + 1, time_in_force=TimeInForce.FOK)
    assert rows(desk.wait()) == [("accepted", order), ("cancelled", order, "fok_not_fillable")]
    assert desk.position == 0


def test_an_amended_stop_works_at_its_new_level() -> None:
    """A trailed stop: nothing at the new level's better side, a fill beyond it; a finished one cannot be moved."""
    desk = Counter()
    traded(desk)
    stop = desk.send(Side.SELL, type=OrderType.STOP, trigger_ticks=PRICE - 100, reduce_only=True)
    desk.wait()
    desk.change(stop, (0, PRICE - 20))
    told = desk.wait()
    assert [type(event) for event in told] == [OrderAmended]
    assert rows(desk.quote(PRICE - 10)) == []
    assert ("filled", stop, PRICE - 31, 10) in rows(desk.quote(PRICE - 30))
    desk.change(stop, (0, PRICE - 5))
    assert desk.wait() == []


def test_a_cancel_can_lose_the_race_against_a_fill() -> None:
    """The order fills while its cancel travels: the fill is told, the cancel finds nothing, the position stands."""
    desk = Counter()
    desk.quote(lots=100)
    order = desk.send(price=PRICE - 50)
    desk.wait()
    desk.change(order)
    assert ("filled", order, PRICE - 50, 10) in rows(desk.quote(PRICE - 60, after_ms=50))
    assert rows(desk.wait()) == []
    assert desk.position == 10


# Money.


@pytest.mark.requirement("H2.3")
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("rate_ppb", [100_000, -350_000, 1])
def test_funding_is_paid_at_its_time_by_the_right_side(side: Side, rate_ppb: int) -> None:
    """Size times mark times rate, computed with fractions: longs pay positive rates, shorts receive them."""
    desk = Counter()
    traded(desk, side, 40)
    cash = desk.machine.account(desk.now_ns).cash_units
    told = desk.see(MarketFundingRate, 1_000, rate_ppb=rate_ppb)
    (event,) = told
    assert isinstance(event, Funding)
    exact = -side * Fraction("0.04") * Fraction("60000") * Fraction(rate_ppb, 10**9) * MONEY_SCALE
    assert 0 <= exact - event.amount_units < 1
    assert (event.amount_units > 0) == (side * rate_ppb < 0)
    assert (event.ts_ns, event.size_lots, event.mark_ticks) == (desk.now_ns, side * 40, PRICE)
    assert desk.machine.account(desk.now_ns).cash_units - cash == event.amount_units


@pytest.mark.requirement("H2.3")
def test_funding_of_nothing_is_nothing() -> None:
    """Flat, or with a position but before any price: no event, no money."""
    desk = Counter()
    assert desk.see(MarketFundingRate, rate_ppb=1_000_000) == []
    desk.quote()
    assert desk.see(MarketFundingRate, rate_ppb=1_000_000) == []


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_position_is_liquidated_when_its_margin_is_gone(side: Side) -> None:
    """At the first price whose equity no longer covers half a percent of the notional, computed independently."""
    desk = Counter(equity=1_000)
    traded(desk, side, 100)
    desk.send(side, price=PRICE - side * 200_000)
    entry = PRICE + side
    paid = Fraction("0.1") * Fraction(entry, 10) * Fraction("0.0006")
    mark = PRICE
    while True:
        mark -= side * 500
        equity = 1_000 - paid + side * Fraction(mark - entry, 10) * Fraction("0.1")
        told = desk.quote(mark, after_ms=200, lots=10_000)
        if equity <= Fraction(mark, 10) * Fraction("0.1") * Fraction("0.005"):
            break
        assert desk.position == side * 100, mark
    fills = [event for event in told if isinstance(event, OrderFilled)]
    assert [(event.purpose, event.fill_size_lots, event.side) for event in fills] == [
        ("liquidation", 100, Side(-side).word)
    ]
    assert (desk.position, desk.machine.account(desk.now_ns).open_client_ids) == (0, ())


@pytest.mark.parametrize("side, reach", [(Side.BUY, -1), (Side.SELL, 1)])
def test_a_bar_that_came_back_liquidates_all_the_same(side: Side, reach: int) -> None:
    """Its close is harmless, its worst price was not: closed there. A shallower bar, and one the other way, are not."""
    for depth, is_over in ((reach * 90_000, False), (-reach * 110_000, False), (reach * 100_000, True)):
        desk = Counter(equity=1_000, half_spread_bps=0)
        desk.bar(PRICE, PRICE, PRICE, PRICE)
        desk.send(side, 100)
        desk.wait()
        told = desk.bar(PRICE, max(PRICE, PRICE + depth), min(PRICE, PRICE + depth), PRICE)
        fills = [event for event in told if isinstance(event, OrderFilled)]
        assert [event.fill_price_ticks for event in fills] == ([PRICE + depth] if is_over else [])
        assert desk.position == (0 if is_over else side * 100)


def test_the_venues_books_equal_the_fills_it_told() -> None:
    """Cash and position of the account are what anybody computes from the answers alone."""
    desk = Counter(seed=3)
    desk.quote(lots=50)
    for number in range(60):
        side = Side.BUY if number % 3 else Side.SELL
        desk.send(side, 1 + number % 7, PRICE - side * (number % 5) if number % 2 else 0)
        desk.wait()
        desk.quote(PRICE + (number * 37) % 41 - 20, lots=1 + number % 9, after_ms=100)
        if number % 10 == 0:
            desk.see(MarketFundingRate, rate_ppb=(number - 30) * 1_000)
    size, cash = 0, 10_000 * MONEY_SCALE
    for event in desk.answers:
        if isinstance(event, OrderFilled):
            lots = event.fill_size_lots if event.side == "buy" else -event.fill_size_lots
            size += lots
            cash -= BTC.notional_units(event.fill_price_ticks, lots) + event.fee_units
        elif isinstance(event, Funding):
            cash += event.amount_units
    assert desk.position == size
    position = desk.machine._account.positions[SYMBOL]
    assert desk.machine.account(desk.now_ns).cash_units == cash + position.cost_units
