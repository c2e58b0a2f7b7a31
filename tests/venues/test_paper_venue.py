"""The paper venue over time: resumed in the middle, bounded, and joined to a feed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.events import (
    Event,
    FeedConnected,
    FeedLost,
    MarketCandle,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
    kind_of,
)
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Purpose, Side, TimeInForce
from agora.session.clock import ManualClock
from agora.venues.paper import ORDER_CAPACITY, PaperVenue
from tests.venues.paper_counter import PRICE, START_NS, SYMBOL, Counter, rows

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

    async def open(self) -> None:
        """Open from the start."""

    async def close(self) -> None:
        """Nothing to let go of."""

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
        while len(heard) < 4:
            heard = [*heard, list(await venue.receive(START_NS + NS_PER_S, floor_ns=clock.now_ns()))]
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
