"""The paper venue: what it answers to orders and prices, at which time, for which money, and that it can be resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.events import (
    Event,
    FeedConnected,
    FeedLost,
    Funding,
    MarketCandle,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
    OrderAccepted,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    kind_of,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.session.clock import ManualClock
from agora.venues.paper import ORDER_CAPACITY, PaperMachine, PaperSettings, PaperVenue

SYMBOL, PRICE = "BTCUSDT", 600_000
START_NS = 20_000 * 86_400 * NS_PER_S
BTC = known_instrument(SYMBOL)
CENT = MONEY_SCALE // 100


class Counter:
    """A paper machine behind a counter: orders by name, the answers as short rows."""

    def __init__(self, *, seed: int = 1, equity: int = 10_000, instrument: dict[str, Any] | None = None, **facts: Any):
        shape = {"latency_model": "fixed", "latency_ms_min": 100} | facts
        instruments = {SYMBOL: msgspec.structs.replace(BTC, **(instrument or {}))}
        self.machine = PaperMachine(instruments, PaperSettings(**shape), seed=seed, equity_units=equity * MONEY_SCALE)
        self.now_ns = START_NS
        self.count = 0
        self.answers: list[Event] = []

    def send(self, side: Side = Side.BUY, lots: int = 10, price: int = 0, **facts: Any) -> str:
        """An order leaves now; its client id."""
        self.count += 1
        shape: dict[str, Any] = {
            "client_id": f"o{self.count}",
            "number": self.count,
            "trader": "t",
            "instrument": SYMBOL,
            "side": side,
            "type": OrderType.LIMIT if price else OrderType.MARKET,
            "time_in_force": TimeInForce.GTC,
            "purpose": Purpose.ENTRY,
            "size_lots": lots,
            "price_ticks": price,
        }
        self.machine.send(Order(**(shape | facts)), self.now_ns)
        return f"o{self.count}"

    def leg(self, parent: str, purpose: Purpose, level: int, *, side: Side = Side.SELL, lots: int = 10) -> str:
        """A stop or target behind an entry."""
        is_stop = purpose is Purpose.STOP
        facts = {"type": OrderType.STOP, "trigger_ticks": level} if is_stop else {"price": level}
        return self.send(side, lots, purpose=purpose, parent=parent, reduce_only=True, **facts)

    def change(self, client_id: str, amend: tuple[int, int] | None = None) -> None:
        """A cancel or an amendment leaves now."""
        self.machine.change(client_id, self.now_ns, amend)

    def wait(self, ms: int = 100) -> list[Event]:
        """Time passes."""
        self.now_ns += ms * NS_PER_MS
        return self._note(self.machine.advance(self.now_ns))

    def see(self, kind: type[Any], after_ms: int = 0, **facts: Any) -> list[Event]:
        """A market event."""
        self.now_ns += after_ms * NS_PER_MS
        return self._note(self.machine.on_market(kind(ts_ns=self.now_ns, instrument=SYMBOL, **facts)))

    def quote(self, mid: int = PRICE, *, lots: int = 1_000, after_ms: int = 0) -> list[Event]:
        """A quote one tick either side."""
        facts = {"bid_ticks": mid - 1, "bid_lots": lots, "ask_ticks": mid + 1, "ask_lots": lots}
        return self.see(MarketQuote, after_ms, **facts)

    def bar(self, open_: int, high: int, low: int, close: int, *, volume: int = 100_000) -> list[Event]:
        """A closed minute."""
        shape = {"open_ticks": open_, "high_ticks": high, "low_ticks": low, "close_ticks": close}
        return self.see(MarketCandle, 60_000, interval_s=60, volume_lots=volume, **shape)

    def _note(self, events: list[Event]) -> list[Event]:
        self.answers += events
        return events

    @property
    def position(self) -> int:
        """What the venue says we hold."""
        return self.machine.account(self.now_ns).positions[SYMBOL]


def rows(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """(what, order, price, size) of fills; (what, order, reason) of refusals and cancels; (what, order) of the rest."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        what, client_id = kind_of(event).partition(".")[2], getattr(event, "client_id", "")
        if isinstance(event, OrderFilled):
            found.append((what, client_id, event.fill_price_ticks, event.fill_size_lots))
        elif isinstance(event, OrderRejected | OrderCancelled | OrderAmendRejected):
            found.append((what, client_id, event.reason))
        else:
            found.append((what, client_id))
    return found


def traded(desk: Counter, side: Side = Side.BUY, lots: int = 10) -> None:
    """Hold so many lots, bought or sold at the touch."""
    desk.quote(lots=10_000)
    desk.send(side, lots)
    desk.wait()


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
    ("name", "facts", "answer"),
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
    """Size times mark times rate, computed with fractions of decimals: longs pay positive rates, shorts receive them."""
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


# Continuity.

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "limit", "bracket", "cancel", "amend", "quote", "trade", "fund", "wait"]),
        st.integers(-40, 40),
        st.integers(1, 20),
    ),
    min_size=4,
    max_size=50,
)


def move(desk: Counter, what: str, shift: int, number: int) -> None:
    """One step of a random story."""
    if what in ("buy", "sell"):
        desk.send(Side.BUY if what == "buy" else Side.SELL, number)
    elif what == "limit":
        desk.send(Side.BUY if shift < 0 else Side.SELL, number, PRICE + shift, post_only=number % 2 == 0)
    elif what == "bracket":
        entry = desk.send(lots=number, price=PRICE + shift)
        desk.leg(entry, Purpose.STOP, PRICE - 60, lots=number)
        desk.leg(entry, Purpose.TARGET, PRICE + 60, lots=number)
    elif what in ("cancel", "amend") and desk.count:
        desk.change(f"o{1 + number % desk.count}", None if what == "cancel" else (PRICE + shift, PRICE + shift))
    elif what == "quote":
        desk.quote(PRICE + shift, lots=number, after_ms=37)
    elif what == "trade":
        desk.see(MarketTrade, 11, price_ticks=PRICE + shift, size_lots=number, aggressor=1 if shift > 0 else -1)
    elif what == "fund":
        desk.see(MarketFundingRate, 5, rate_ppb=shift * 10_000)
    else:
        desk.wait(number * 10)


@settings(max_examples=60)
@given(MOVES, st.integers(0, 100))
def test_a_machine_restored_in_the_middle_goes_on_as_if_nothing_had_happened(
    moves: list[tuple[str, int, int]], seed: int
) -> None:
    """A snapshot, as JSON text, in the middle of any story: the same answers afterwards, and the same snapshot."""
    first = Counter(seed=seed, latency_model="uniform", latency_ms_min=50)
    first.quote()
    half = len(moves) // 2
    for each in moves[:half]:
        move(first, *each)
    second = Counter(seed=seed, latency_model="uniform", latency_ms_min=50)
    second.machine.restore(msgspec.json.decode(msgspec.json.encode(first.machine.snapshot())))
    second.now_ns, second.count = first.now_ns, first.count
    before = len(first.answers)
    for each in moves[half:]:
        move(first, *each)
        move(second, *each)
    assert second.answers == first.answers[before:]
    assert second.machine.snapshot() == first.machine.snapshot()


@settings(max_examples=40)
@given(MOVES, st.integers(0, 100))
def test_equal_inputs_have_equal_answers(moves: list[tuple[str, int, int]], seed: int) -> None:
    """The answers depend on events, orders, times and the seed, and on nothing else."""

    def story() -> list[Event]:
        desk = Counter(seed=seed, latency_model="lognormal")
        desk.quote()
        for each in moves:
            move(desk, *each)
        return desk.answers + desk.wait(60_000)

    assert story() == story()


@pytest.mark.requirement("B37")
def test_ten_thousand_orders_leave_nothing_behind() -> None:
    """Filled, cancelled, rejected and expired orders are forgotten: memory does not grow with the run."""
    desk = Counter(latency_ms_min=1)
    desk.quote(lots=10**6)
    for number in range(10_000):
        if number % 4 == 0:
            desk.send(Side.BUY if number % 8 else Side.SELL, 1)
        elif number % 4 == 1:
            desk.change(desk.send(price=PRICE - 50))
        elif number % 4 == 2:
            desk.send(price=PRICE + 50, post_only=True)
        else:
            desk.send(price=PRICE - 50, time_in_force=TimeInForce.GTD, expire_ts_ns=desk.now_ns + 2 * NS_PER_MS)
        desk.wait(3)
        desk.answers.clear()
    machine = desk.machine
    desk.quote()
    assert (len(machine._known), len(machine._numbers), len(machine._arrivals)) == (0, 0, 0)
    assert len(msgspec.json.encode(machine.snapshot())) < 20_000


def test_more_orders_than_the_venue_holds_are_refused() -> None:
    """The bound has a word of its own, and the orders inside it are untouched."""
    desk = Counter()
    desk.quote()
    for _ in range(ORDER_CAPACITY + 1):
        desk.send(price=PRICE - 50, lots=1)
    told = rows(desk.wait())
    assert [row[2] for row in told if row[0] == "rejected"] == ["capacity"]
    assert len(desk.machine.account(desk.now_ns).open_client_ids) == ORDER_CAPACITY


# The venue around it.


class ListFeed:
    """A feed from a list; `is_paced` hands over whatever is due, an exception in the list is raised."""

    def __init__(self, clock: ManualClock, events: Sequence[Event | Exception], *, is_paced: bool = False) -> None:
        self.is_paced = is_paced
        self._clock = clock
        self._events = list(events)

    async def next(self, deadline_ns: int) -> Event | None:
        """The next event if it is due by the deadline."""
        if not self._events:
            self._clock.advance(deadline_ns)
            return None
        event = self._events[0]
        if isinstance(event, Exception):
            del self._events[0]
            raise event
        if event.ts_ns > deadline_ns:
            self._clock.advance(deadline_ns)
            return None
        self._clock.advance(event.ts_ns)
        return self._events.pop(0)  # type: ignore[return-value]


def quote_at(ms: int, mid: int = PRICE) -> MarketQuote:
    """A quote so many ms after the start."""
    return MarketQuote(
        ts_ns=START_NS + ms * NS_PER_MS,
        instrument=SYMBOL,
        bid_ticks=mid - 1,
        bid_lots=1_000,
        ask_ticks=mid + 1,
        ask_lots=1_000,
    )


def test_answers_come_at_their_time_between_market_events() -> None:
    """The venue wakes for its own answers, and tells fills before the price that caused them."""

    async def story() -> list[list[Event]]:
        clock = ManualClock(START_NS)
        desk = Counter()
        venue = PaperVenue(
            ListFeed(clock, [quote_at(0), quote_at(250), quote_at(300, PRICE - 80)]), desk.machine, clock
        )
        heard = [list(await venue.receive(START_NS + NS_PER_S, floor_ns=START_NS))]
        desk.send(price=PRICE - 50)
        for _ in range(3):
            heard.append(list(await venue.receive(START_NS + NS_PER_S, floor_ns=clock.now_ns())))
        return heard

    first, answers, second, third = asyncio.run(story())
    assert [kind_of(event) for event in first] == ["market.quote"]
    assert [(kind_of(event), (event.ts_ns - START_NS) // NS_PER_MS) for event in answers] == [("order.accepted", 100)]
    assert [kind_of(event) for event in second] == ["market.quote"]
    assert [kind_of(event) for event in third] == ["order.filled", "market.quote"]
    assert {event.ts_ns for event in third} == {START_NS + 300 * NS_PER_MS}


def test_nothing_is_stamped_before_what_the_run_has_seen() -> None:
    """An event that waited in the queue gets the time at which it is looked at; warm-up bars keep theirs."""

    async def story() -> list[Event]:
        clock = ManualClock(START_NS)
        bar = MarketCandle(
            ts_ns=START_NS - 60 * NS_PER_S,
            instrument=SYMBOL,
            interval_s=60,
            open_ticks=1,
            high_ticks=1,
            low_ticks=1,
            close_ticks=1,
            volume_lots=1,
            is_history=True,
        )
        venue = PaperVenue(ListFeed(clock, [bar, quote_at(10)]), Counter().machine, clock)
        floor_ns = START_NS + 500 * NS_PER_MS
        heard = [*await venue.receive(START_NS + NS_PER_S, floor_ns=floor_ns)]
        return [*heard, *await venue.receive(START_NS + NS_PER_S, floor_ns=floor_ns)]

    bar, quote = asyncio.run(story())
    assert (bar.ts_ns, quote.ts_ns) == (START_NS - 60 * NS_PER_S, START_NS + 500 * NS_PER_MS)


def test_a_feed_that_breaks_is_told_once_and_not_asked_again() -> None:
    """One `feed.lost` with the reason; afterwards time passes and answers still come."""

    async def story() -> list[Event]:
        clock = ManualClock(START_NS)
        desk = Counter()
        venue = PaperVenue(ListFeed(clock, [quote_at(0), OSError("unplugged"), quote_at(5)]), desk.machine, clock)
        heard = []
        for _ in range(2):
            heard += await venue.receive(START_NS + NS_PER_S, floor_ns=START_NS)
        desk.send()
        for _ in range(2):
            heard += await venue.receive(START_NS + NS_PER_S, floor_ns=clock.now_ns())
        return heard

    heard = asyncio.run(story())
    assert [kind_of(event) for event in heard] == ["market.quote", "feed.lost", "order.accepted", "order.filled"]
    assert [event.reason for event in heard if isinstance(event, FeedLost)] == ["unplugged"]


@pytest.mark.requirement("H1.3")
def test_a_run_that_lags_loses_the_oldest_quotes_and_no_candle() -> None:
    """A paced feed that is far ahead fills the queue: what is dropped is counted, closed candles all arrive."""

    async def story() -> list[Event]:
        clock = ManualClock(START_NS + 10_000 * NS_PER_S)
        events: list[Event] = [FeedConnected(ts_ns=START_NS, source="x")]
        for number in range(2_000):
            events.append(quote_at(number))
            if number % 100 == 0:
                shape = {"open_ticks": PRICE, "high_ticks": PRICE, "low_ticks": PRICE, "close_ticks": PRICE}
                events.append(
                    MarketCandle(
                        ts_ns=START_NS + number * NS_PER_MS, instrument=SYMBOL, interval_s=1, volume_lots=1, **shape
                    )
                )
        venue = PaperVenue(ListFeed(clock, events, is_paced=True), Counter().machine, clock)
        heard: list[Event] = []
        while more := await venue.receive(clock.now_ns(), floor_ns=clock.now_ns()):
            heard += more
        return heard

    heard = asyncio.run(story())
    kinds = [kind_of(event) for event in heard]
    assert (kinds.count("market.candle"), kinds.count("market.quote"), kinds[0]) == (20, 500, "feed.overflow")
    assert heard[0].dropped == 1_500  # type: ignore[union-attr]
