"""The queue between a feed and the run: bounded for the market, lossless for everything about orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.errors import Bug
from agora.domain.events import (
    Event,
    FeedGap,
    FeedOverflow,
    MarketCandle,
    MarketDepth,
    MarketQuote,
    OrderFilled,
    Timer,
)
from agora.venues import inbox
from agora.venues.inbox import MARKET_EVENTS_MAX, OTHER_EVENTS_MAX, Inbox

SYMBOL = "BTCUSDT"


def quote(number: int) -> MarketQuote:
    """The n-th quote."""
    return MarketQuote(ts_ns=number, instrument=SYMBOL, bid_ticks=1, bid_lots=1, ask_ticks=2, ask_lots=1)


def depth(number: int, symbol: str = SYMBOL) -> MarketDepth:
    """The n-th change of the book."""
    return MarketDepth(ts_ns=number, instrument=symbol, levels=((1, 1, 1),))


def candle(number: int) -> MarketCandle:
    """The n-th closed bar."""
    shape = {"open_ticks": 1, "high_ticks": 1, "low_ticks": 1, "close_ticks": 1, "volume_lots": 1}
    return MarketCandle(ts_ns=number, instrument=SYMBOL, interval_s=60, **shape)


def fill(number: int) -> OrderFilled:
    """The n-th execution."""
    words = {"client_id": "c", "venue_id": "v", "side": "buy", "purpose": "entry", "liquidity": "taker"}
    return OrderFilled(
        ts_ns=number,
        venue_fill_id=str(number),
        instrument=SYMBOL,
        fill_price_ticks=1,
        fill_size_lots=1,
        fee_units=0,
        **words,
    )


def emptied(box: Inbox, now_ns: int = 10**9) -> list[Event]:
    """Everything that can be taken."""
    found = []
    while (event := box.take(now_ns)) is not None:
        found.append(event)
    return found


def test_events_leave_in_the_order_in_which_they_came() -> None:
    """Whatever their kind."""
    box = Inbox()
    events = [quote(1), fill(2), candle(3), depth(4), Timer(ts_ns=5)]
    for event in events:
        box.put(event)
    assert len(box) == 5
    assert emptied(box) == events
    assert box.take(1) is None


@pytest.mark.requirement("H1.3")
def test_a_full_queue_drops_the_oldest_market_data_and_says_how_many() -> None:
    """The newest 500 stay; the number of the lost comes first, stamped with now, once."""
    box = Inbox()
    for number in range(MARKET_EVENTS_MAX + 7):
        box.put(quote(number))
    assert len(box) == MARKET_EVENTS_MAX == 500
    told, *rest = emptied(box, 99)
    assert told == FeedOverflow(ts_ns=99, dropped=7)
    assert rest == [quote(number) for number in range(7, MARKET_EVENTS_MAX + 7)]


@pytest.mark.requirement("H1.3")
def test_fills_and_closed_candles_are_never_dropped() -> None:
    """Among ten thousand quotes each of them arrives, in order."""
    box = Inbox()
    kept: list[Event] = []
    for number in range(10_000):
        box.put(quote(number))
        if number % 10 == 0:
            kept += [fill(number), candle(number)]
            box.put(kept[-2])
            box.put(kept[-1])
    left = emptied(box)
    assert [event for event in left if isinstance(event, OrderFilled | MarketCandle)] == kept
    assert sum(isinstance(event, MarketQuote) for event in left) == MARKET_EVENTS_MAX


@pytest.mark.requirement("H1.3")
def test_a_dropped_change_of_the_book_is_a_gap_of_that_book() -> None:
    """Told once for each instrument, before anything newer; dropped quotes alone make no gap."""
    box = Inbox()
    for number in range(3):
        box.put(depth(number))
        box.put(depth(number, "ETHUSDT"))
    for number in range(MARKET_EVENTS_MAX):
        box.put(quote(number))
    first = emptied(box, 7)[:4]
    assert first[0] == FeedOverflow(ts_ns=7, dropped=6)
    assert {(event.instrument, event.ts_ns) for event in first[1:3] if isinstance(event, FeedGap)} == {
        (SYMBOL, 7),
        ("ETHUSDT", 7),
    }
    assert isinstance(first[3], MarketQuote)
    assert emptied(box) == []


def test_orders_that_nobody_reads_are_a_bug() -> None:
    """The lossless part has a bound too, far above anything real, and reaching it is an error and no drop."""
    box = Inbox()
    tick = Timer(ts_ns=1)
    for _ in range(OTHER_EVENTS_MAX):
        box.put(tick)
    box.put(quote(1))
    with pytest.raises(Bug, match="nobody reads"):
        box.put(fill(1))
    assert len(box) == OTHER_EVENTS_MAX + 1


@given(st.lists(st.tuples(st.sampled_from("qdfct"), st.booleans()), max_size=3_000))
def test_every_event_is_taken_or_counted(moves: list[tuple[str, bool]]) -> None:
    """In = out + dropped, for any mixture of puts and takes; the market part never exceeds its bound."""
    box, makers = Inbox(), {"q": quote, "d": depth, "f": fill, "c": candle}
    put = taken = dropped = 0
    for number, (kind, _) in enumerate(moves * 2):
        if kind == "t":
            event = box.take(number)
            dropped += event.dropped if isinstance(event, FeedOverflow) else 0
            taken += event is not None and not isinstance(event, FeedOverflow | FeedGap)
        else:
            box.put(makers[kind](number))
            put += 1
        assert box._market_events <= inbox.MARKET_EVENTS_MAX
    for event in emptied(box):
        dropped += event.dropped if isinstance(event, FeedOverflow) else 0
        taken += not isinstance(event, FeedOverflow | FeedGap)
    assert put == taken + dropped
