"""The screen: what is dropped, why, and how often it is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.events import (
    MarketCandle,
    MarketDepth,
    MarketEvent,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.numbers import NS_PER_S
from agora.venues.screen import NOTICE_INTERVAL_NS, STEPS_MAX, FaultTally, Reason, Screen


def quote(bid_ticks: int, ask_ticks: int, ts_ns: int = 1) -> MarketQuote:
    """A quote of ten lots a side."""
    return MarketQuote(
        ts_ns=ts_ns, instrument="BTCUSDT", bid_ticks=bid_ticks, bid_lots=10, ask_ticks=ask_ticks, ask_lots=10
    )


def trade(price_ticks: int, size_lots: int = 1, ts_ns: int = 1) -> MarketTrade:
    """A trade of one lot."""
    return MarketTrade(ts_ns=ts_ns, instrument="BTCUSDT", price_ticks=price_ticks, size_lots=size_lots, aggressor=1)


def candle(open_ticks: int, high_ticks: int, low_ticks: int, close_ticks: int) -> MarketCandle:
    """A minute of those prices."""
    return MarketCandle(
        ts_ns=60 * NS_PER_S,
        instrument="BTCUSDT",
        interval_s=60,
        open_ticks=open_ticks,
        high_ticks=high_ticks,
        low_ticks=low_ticks,
        close_ticks=close_ticks,
        volume_lots=5,
    )


def depth(*levels: tuple[int, int, int], is_snapshot: bool = False) -> MarketDepth:
    """Changed levels."""
    return MarketDepth(ts_ns=1, instrument="BTCUSDT", levels=levels, is_snapshot=is_snapshot)


CASES = [
    ("a normal quote", quote(100, 101), None),
    ("a locked quote", quote(100, 100), Reason.CROSSED),
    ("a crossed quote", quote(101, 100), Reason.CROSSED),
    ("an empty side", quote(0, 100), Reason.NOT_POSITIVE),
    ("a quote beyond all prices", quote(1, STEPS_MAX + 1), Reason.TOO_LARGE),
    ("a normal trade", trade(100), None),
    ("a negative price", trade(-1), Reason.NOT_POSITIVE),
    ("a price of zero", trade(0), Reason.NOT_POSITIVE),
    ("a trade of nothing", trade(100, 0), Reason.NOT_POSITIVE),
    ("a trade beyond all sizes", trade(100, STEPS_MAX + 1), Reason.TOO_LARGE),
    ("a normal bar", candle(100, 105, 99, 101), None),
    ("a high below the close", candle(100, 100, 99, 101), Reason.OHLC),
    ("a low above the open", candle(100, 105, 101, 102), Reason.OHLC),
    ("a bar with a price of zero", candle(100, 105, 0, 101), Reason.NOT_POSITIVE),
    ("a removed level", depth((1, 100, 0)), None),
    ("a level of negative size", depth((1, 100, -1)), Reason.NOT_POSITIVE),
    ("a level without a price", depth((-1, 0, 5)), Reason.NOT_POSITIVE),
    ("a crossed snapshot", depth((1, 101, 5), (-1, 100, 5), is_snapshot=True), Reason.CROSSED),
    (
        "a funding rate of 20 %",
        MarketFundingRate(ts_ns=1, instrument="BTCUSDT", rate_ppb=200_000_000),
        Reason.TOO_LARGE,
    ),
    ("a normal funding rate", MarketFundingRate(ts_ns=1, instrument="BTCUSDT", rate_ppb=-100_000), None),
]


@pytest.mark.requirement("B4")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("event,reason", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_event_is_judged_by_itself(event: MarketEvent, reason: Reason | None) -> None:
    """Each impossible event has its reason, each possible one has none."""
    assert Screen().judge(event) == reason


def test_an_event_earlier_than_the_last_good_one_is_out_of_order() -> None:
    """Time never goes back within an instrument; the same moment twice is fine."""
    screen = Screen()
    assert screen.judge(trade(100, ts_ns=10)) is None
    assert screen.judge(trade(100, ts_ns=9)) == Reason.OUT_OF_ORDER
    assert screen.judge(trade(100, ts_ns=10)) is None


def test_one_absurd_price_is_dropped_and_the_next_good_one_is_believed() -> None:
    """A lone spike does not move what later prices are compared with."""
    screen = Screen()
    assert screen.judge(trade(1_000)) is None
    assert screen.judge(trade(10_000)) == Reason.ABSURD_JUMP
    assert screen.judge(trade(1_001)) is None


def test_twenty_percent_is_believed_and_more_is_not() -> None:
    """The limit of a jump is exact."""
    screen = Screen()
    screen.judge(trade(1_000))
    assert screen.judge(trade(1_200)) is None
    assert screen.judge(trade(1_441)) == Reason.ABSURD_JUMP


def test_a_jump_that_three_prices_confirm_is_believed() -> None:
    """A market that has really moved is followed from the third price on."""
    screen = Screen()
    screen.judge(trade(1_000))
    verdicts = [screen.judge(trade(price)) for price in (2_000, 2_005, 2_010, 2_012)]
    assert verdicts == [Reason.ABSURD_JUMP, Reason.ABSURD_JUMP, None, None]


def test_jumps_that_disagree_confirm_nothing() -> None:
    """Random prices never become the reference, however many there are."""
    screen = Screen()
    screen.judge(trade(1_000))
    assert {screen.judge(trade(price)) for price in (2_000, 3_000, 2_000, 4_000, 2_500)} == {Reason.ABSURD_JUMP}


def test_instruments_are_judged_apart() -> None:
    """The price of one instrument says nothing of another's."""
    screen = Screen()
    screen.judge(trade(1_000, ts_ns=5))
    other = MarketTrade(ts_ns=1, instrument="TRXUSDT", price_ticks=5, size_lots=1, aggressor=0)
    assert screen.judge(other) is None


@given(st.lists(st.integers(-(10**13), 10**13), max_size=50))
def test_whatever_prices_come_only_positive_ones_pass(prices: list[int]) -> None:
    """No sequence of events talks the screen into an impossible price."""
    screen = Screen()
    passed = [price for price in prices if screen.judge(trade(price)) is None]
    assert all(0 < price <= STEPS_MAX for price in passed)


@pytest.mark.requirement("B4")
def test_the_first_of_a_reason_is_said_at_once_and_a_burst_once_in_ten_seconds() -> None:
    """Each drop is counted, the operator is told at most once per reason and ten seconds."""
    tally = FaultTally()
    said = [tally.note("crossed", f"line {second}", ts_ns=second * NS_PER_S) for second in range(25)]
    told = [(event.ts_ns // NS_PER_S, event.count, event.sample) for event in said if event is not None]
    assert told == [(0, 1, "line 0"), (10, 10, "line 1"), (20, 10, "line 11")]
    rest = tally.flush(25 * NS_PER_S)
    assert [(event.reason, event.count, event.sample) for event in rest] == [("crossed", 4, "line 21")]
    assert tally.counts == {"crossed": 25}
    assert tally.flush(26 * NS_PER_S) == []


def test_reasons_are_limited_apart() -> None:
    """A burst of one reason does not hide the first of another."""
    tally = FaultTally()
    assert tally.note("crossed", "a", ts_ns=0) is not None
    assert tally.note("ohlc", "b", ts_ns=1) is not None
    assert tally.note("crossed", "c", ts_ns=NOTICE_INTERVAL_NS - 1) is None


def test_a_venue_that_invents_reasons_is_bounded() -> None:
    """Memory does not grow with the number of words a feed brings."""
    tally = FaultTally()
    for number in range(1_000):
        tally.note(f"reason {number}", "x" * 10_000, ts_ns=number)
    assert len(tally.counts) <= 65
    assert sum(tally.counts.values()) == 1_000
