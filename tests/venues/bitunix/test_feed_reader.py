"""Frames of the market socket: what becomes of the samples, of dirt, of disorder, and of too much of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.events import Event, FeedMalformed, MarketDepth, MarketFundingRate, MarketQuote, MarketTrade
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.venues.bitunix.feed_reader import CHANNELS, MarketReader, subscription
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.screen import NOTICE_INTERVAL_NS, Reason

SYMBOL = "BTCUSDT"
START_MS = 1_790_126_515_693
DELAY_NS = 20 * NS_PER_MS
MARK = {"ip": "86720.6", "mp": "86700", "fr": "-0.00077", "ft": "2026-09-23T00:00:00Z", "nft": "2026-09-23T08:00:00Z"}


class Desk:
    """A reader that is told frames some milliseconds after they were stamped."""

    def __init__(self, *, settled_ns: int = 0, offset_ns: int = 0, **keys: Any) -> None:
        instruments = {symbol: known_instrument(symbol) for symbol in (SYMBOL, "ETHUSDT")}
        self.reader = MarketReader(instruments, BitunixSettings(**keys), settled_ns=settled_ns)
        self.offset_ns = offset_ns
        self.events: list[Event] = []

    def hear(self, ch: str, data: Any, *, ms: int = 0, late_ns: int = DELAY_NS, symbol: str = SYMBOL) -> list[Event]:
        """The events of one frame stamped `ms` after the start."""
        frame = {"ch": ch, "symbol": symbol, "ts": START_MS + ms, "data": data}
        return self.hear_text(json.dumps(frame), now_ns=(START_MS + ms) * NS_PER_MS + late_ns)

    def hear_text(self, text: str | bytes, *, now_ns: int = START_MS * NS_PER_MS + DELAY_NS) -> list[Event]:
        """The events of one frame."""
        events = list(self.reader.read(text, now_ns=now_ns, offset_ns=self.offset_ns))
        self.events += events
        return events

    def depth(self, bid: str = "86699.6", ask: str = "86699.7", *, size: str = "1.5", **place: Any) -> list[Event]:
        """The events of a window of one level a side."""
        return self.hear("depth_book15", {"b": [[bid, size]], "a": [[ask, size]]}, **place)

    @property
    def dropped(self) -> dict[str, int]:
        """What was counted, said or not."""
        return dict(self.reader._tally.counts)


def kinds(events: list[Event]) -> list[type[Event]]:
    """What the events are."""
    return [type(event) for event in events]


def test_the_captured_depth_becomes_the_book_and_its_best_prices(shared_frames: dict[str, Any]) -> None:
    """Both carry our time of receipt; sizes below a lot are cut."""
    desk = Desk()
    frame = shared_frames["depth_book15"]
    now_ns = frame["ts"] * NS_PER_MS + DELAY_NS
    book, quote = desk.hear_text(json.dumps(frame), now_ns=now_ns)
    assert isinstance(book, MarketDepth)
    assert book.is_snapshot
    assert book.levels[0] == (1, 866_996, 2_274)
    assert book.levels[3] == (-1, 866_997, 709)
    assert quote == MarketQuote(
        ts_ns=now_ns, instrument=SYMBOL, bid_ticks=866_996, bid_lots=2_274, ask_ticks=866_997, ask_lots=709
    )


def test_the_captured_answer_to_an_unknown_symbol_is_an_empty_book(shared_frames: dict[str, Any]) -> None:
    """Levels of empty strings are no levels, and no quote."""
    desk = Desk()
    frame = {**shared_frames["depth_unknown_symbol"], "symbol": SYMBOL}
    desk.hear_text(json.dumps(frame), now_ns=frame["ts"] * NS_PER_MS)
    assert desk.dropped == {Reason.EMPTY: 1}


@pytest.mark.parametrize("name", ["connect", "pong", "unsubscribe_ack"])
def test_control_frames_are_no_data_and_no_fault(shared_frames: dict[str, Any], name: str) -> None:
    """They say that the socket lives, nothing of the market."""
    desk = Desk()
    assert desk.hear_text(json.dumps(shared_frames[name])) == []
    assert desk.dropped == {}
    assert desk.reader.usable == 0


def test_a_refused_subscription_is_said(shared_frames: dict[str, Any]) -> None:
    """More streams than the venue allows must not stay unnoticed."""
    said = Desk().hear_text(json.dumps(shared_frames["subscribe_over_300"]))
    assert [event.reason for event in said if isinstance(event, FeedMalformed)] == [Reason.REFUSED]


def test_prints_keep_their_aggressor_and_equal_ones_are_two_trades(shared_frames: dict[str, Any]) -> None:
    """There is no id: what looks the same in one frame, or in two, happened twice."""
    desk = Desk()
    frame = shared_frames["trade"]
    row = frame["data"][0]
    now_ns = frame["ts"] * NS_PER_MS
    first = desk.hear_text(json.dumps({**frame, "data": [row, row, {**row, "s": "SELL"}]}), now_ns=now_ns)
    again = desk.hear_text(json.dumps({**frame, "ts": frame["ts"] + 1, "data": [row]}), now_ns=now_ns + NS_PER_MS)
    trades = [event for event in (*first, *again) if isinstance(event, MarketTrade)]
    assert [(trade.price_ticks, trade.size_lots, trade.aggressor) for trade in trades] == [
        (686_214, 714, 1),
        (686_214, 714, 1),
        (686_214, 714, -1),
        (686_214, 714, 1),
    ]


def test_a_frame_that_is_delivered_twice_counts_once() -> None:
    """The same channel, time and content: a repeated delivery, whatever came between."""
    desk = Desk()
    data = [{"t": "2026-09-23T01:21:55Z", "p": "86699.6", "v": "1", "s": "buy"}]
    assert kinds(desk.hear("trade", data)) == [MarketTrade]
    assert kinds(desk.hear("trade", [{**data[0], "v": "2"}])) == [MarketTrade]
    desk.hear("trade", data)
    assert desk.dropped == {Reason.DUPLICATE: 1}


def test_a_settlement_is_told_once_in_parts_per_billion() -> None:
    """The socket tells percent, twice a second; only a new settlement is news."""
    desk = Desk()
    (told,) = desk.hear("price", MARK)
    assert isinstance(told, MarketFundingRate)
    assert told.rate_ppb == -7_700
    assert desk.hear("price", {**MARK, "mp": "86701"}, ms=500) == []
    (told,) = desk.hear("price", {**MARK, "ft": "2026-09-23T01:21:00Z", "fr": "0.01"}, ms=1_000)
    assert isinstance(told, MarketFundingRate)
    assert told.rate_ppb == 100_000


def test_a_resumed_run_is_not_charged_again_for_what_was_settled_before() -> None:
    """What it has seen was settled; what was settled while it was away is told."""
    before_ns = START_MS * NS_PER_MS
    assert Desk(settled_ns=before_ns).hear("price", MARK) == []
    assert kinds(Desk(settled_ns=before_ns - 86_400 * NS_PER_S).hear("price", MARK)) == [MarketFundingRate]


def test_an_unchanged_market_is_a_sign_of_life_twice_a_second_and_no_more() -> None:
    """A frozen price is fresh, but thousands of equal windows fill no journal."""
    desk = Desk()
    assert kinds(desk.depth()) == [MarketDepth, MarketQuote]
    told = [desk.depth(ms=310 * number) for number in range(1, 11)]
    assert sum(map(len, told)) == 5
    assert all(isinstance(event, MarketQuote) for events in told for event in events)
    assert desk.reader.usable == 11


def test_a_change_below_the_touch_is_told_as_depth_only() -> None:
    """The quote would say what is known."""
    desk = Desk()
    touch = ["86699.6", "1"]
    desk.hear("depth_book15", {"b": [touch, ["86699.5", "2"]], "a": [["86699.7", "1"]]})
    told = desk.hear("depth_book15", {"b": [touch, ["86699.5", "3"]], "a": [["86699.7", "1"]]}, ms=310)
    assert kinds(told) == [MarketDepth]


def test_without_depth_only_quotes_are_told() -> None:
    """A run whose orders are filled elsewhere needs no levels."""
    desk = Desk(depth_levels=0)
    assert kinds(desk.depth()) == [MarketQuote]
    assert kinds(desk.depth("86699.5", ms=310)) == [MarketQuote]


DIRT = [
    ("no JSON", "{", Reason.UNPARSABLE),
    ("binary", b"\xff\x00\x01", Reason.UNPARSABLE),
    ("a list", "[]", Reason.UNPARSABLE),
    ("nothing", "", Reason.UNPARSABLE),
    ("deep", "[" * 100_000, Reason.UNPARSABLE),
    ("deep data", f'{{"ch":"trade","symbol":"BTCUSDT","ts":{START_MS},"data":{"[" * 5000}', Reason.UNPARSABLE),
    ("a bare NaN", f'{{"ch":"trade","symbol":"BTCUSDT","ts":{START_MS},"data":[{{"p":NaN}}]}}', Reason.UNPARSABLE),
    ("an object without a word", "{}", Reason.UNKNOWN_MESSAGE),
]


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("text,reason", [row[1:] for row in DIRT], ids=[row[0] for row in DIRT])
def test_what_is_no_frame_is_dropped_and_counted(text: str | bytes, reason: Reason) -> None:
    """No exception, no event of the market, a count."""
    desk = Desk()
    desk.hear_text(text)
    assert desk.dropped == {reason: 1}


LEVEL = ["86699.7", "1"]
BAD_WINDOWS = [
    ("crossed", {"b": [["86699.8", "1"]], "a": [LEVEL]}, Reason.CROSSED),
    ("locked", {"b": [LEVEL], "a": [LEVEL]}, Reason.CROSSED),
    ("crossed below the first level", {"b": [["86699.6", "1"], ["86700", "1"]], "a": [LEVEL]}, Reason.CROSSED),
    ("NaN", {"b": [["NaN", "1"]], "a": [LEVEL]}, Reason.NOT_FINITE),
    ("an infinite size", {"b": [["86699.6", "Infinity"]], "a": [LEVEL]}, Reason.NOT_FINITE),
    ("a negative price", {"b": [["-86699.6", "1"]], "a": [LEVEL]}, Reason.NOT_POSITIVE),
    ("a negative size", {"b": [["86699.6", "-1"]], "a": [LEVEL]}, Reason.NOT_POSITIVE),
    ("an absurd price", {"b": [["86699.6", "1"]], "a": [["86699700000000000", "1"]]}, Reason.TOO_LARGE),
    ("a price between two ticks", {"b": [["86699.65", "1"]], "a": [LEVEL]}, Reason.OFF_TICK),
    ("one empty side", {"b": [], "a": [LEVEL]}, Reason.EMPTY),
    ("levels of nothing", {"b": [["86699.6", "0"]], "a": [LEVEL]}, Reason.EMPTY),
    ("words for levels", {"b": "none", "a": [LEVEL]}, Reason.UNPARSABLE),
    ("three numbers for a level", {"b": [["1", "2", "3"]], "a": [LEVEL]}, Reason.UNPARSABLE),
    ("null for a price", {"b": [[None, "1"]], "a": [LEVEL]}, Reason.UNPARSABLE),
    ("a missing side", {"a": [LEVEL]}, Reason.UNPARSABLE),
    ("a price a quarter away", {"b": [["65000", "1"]], "a": [["65001", "1"]]}, Reason.ABSURD_JUMP),
]


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("data,reason", [row[1:] for row in BAD_WINDOWS], ids=[row[0] for row in BAD_WINDOWS])
def test_a_bad_window_is_dropped_whole_and_the_next_good_one_is_taken(data: Any, reason: Reason) -> None:
    """Nothing of it reaches the run, and it is no sign of life."""
    desk = Desk()
    desk.depth()
    assert [event for event in desk.hear("depth_book15", data, ms=310) if not isinstance(event, FeedMalformed)] == []
    assert desk.dropped == {reason: 1}
    assert desk.reader.usable == 1
    desk.depth("86699.5", ms=620)
    assert desk.reader.usable == 2


def test_a_wrong_price_is_not_believed_against_the_mark_however_often_it_is_said() -> None:
    """Three equal faults in a row convince the screen of a jump, but not while a fresh mark price contradicts."""
    desk = Desk()
    desk.hear("price", MARK)
    desk.depth(ms=10)
    for number in range(1, 10):
        desk.depth("95000", "95001", ms=310 * number)
        desk.hear("price", {**MARK, "mp": "86700.5"}, ms=310 * number + 1)
        desk.hear("trade", [{"p": "95000", "v": "1", "s": "buy"}], ms=310 * number)
    assert desk.dropped == {Reason.OFF_MARK: 18}


def test_a_market_that_jumps_is_doubted_until_somebody_else_says_so() -> None:
    """A mark that says the same is of the same socket; what REST says is believed at once."""
    desk = Desk()
    desk.hear("price", MARK)
    desk.depth(ms=10)
    for number in range(1, 5):
        desk.hear("price", {**MARK, "mp": "78000"}, ms=310 * number - 5)
        desk.depth("78000", "78001", ms=310 * number)
    assert desk.reader.usable == 1
    assert desk.reader.doubts == {SYMBOL: 4}
    desk.reader.believe(SYMBOL, Decimal(78_100))
    assert kinds(desk.depth("78000", "78001", ms=2_000)) == [MarketDepth, MarketQuote]
    assert desk.reader.doubts == {}


def test_a_market_that_moves_step_by_step_is_believed() -> None:
    """A crash of a third within a minute, as no market has had one, is no fault."""
    desk = Desk()
    for number in range(200):
        price = f"{86_700 * 0.998**number:.1f}"
        desk.hear("price", {**MARK, "mp": price}, ms=310 * number)
        desk.depth(price, f"{float(price) + 0.1:.1f}", ms=310 * number + 5)
    assert desk.reader.usable == 200


def test_a_mark_that_is_wrong_once_changes_nothing() -> None:
    """It is held against the one before."""
    desk = Desk()
    desk.hear("price", MARK)
    desk.hear("price", {**MARK, "mp": "1.5"}, ms=100)
    desk.hear("price", {**MARK, "mp": "NaN"}, ms=200)
    assert kinds(desk.depth(ms=310)) == [MarketDepth, MarketQuote]
    assert desk.dropped == {Reason.ABSURD_JUMP: 1, Reason.NOT_FINITE: 1}


@pytest.mark.parametrize("late_s,reason", [(3.5, Reason.STALE), (-2.5, Reason.FUTURE), (2.5, None), (-1.5, None)])
def test_data_that_are_too_old_or_ahead_are_dropped(late_s: float, reason: Reason | None) -> None:
    """The bounds are larger than two clocks may differ."""
    desk = Desk()
    desk.depth(late_ns=int(late_s * NS_PER_S))
    assert desk.dropped == ({} if reason is None else {reason: 1})
    # Whoever trades on it must know how old it was: ahead of us is new, and what was dropped says nothing.
    assert desk.reader.lag_ns(SYMBOL) == (int(late_s * NS_PER_S) if reason is None and late_s > 0 else 0)


def test_the_offset_of_the_venues_clock_is_allowed_for() -> None:
    """A venue that is a minute ahead is not in the future, once that is known."""
    assert Desk(offset_ns=60 * NS_PER_S).depth(late_ns=-60 * NS_PER_S)
    desk = Desk()
    for number in range(3):
        desk.depth(ms=number, late_ns=-60 * NS_PER_S)
    assert desk.reader.untimely == 3


def test_an_older_frame_is_dropped_per_channel_and_symbol() -> None:
    """What overtakes is used, what was overtaken is not; other streams have their own order."""
    desk = Desk()
    desk.depth(ms=310)
    assert kinds(desk.hear("trade", [{"p": "86699.6", "v": "1", "s": "buy"}], ms=300, late_ns=NS_PER_S)) == [
        MarketTrade
    ]
    assert kinds(desk.depth("2000.01", "2000.02", ms=300, symbol="ETHUSDT")) == [MarketDepth, MarketQuote]
    desk.depth("86699.5", ms=0, late_ns=2 * NS_PER_S)
    assert desk.dropped == {Reason.OUT_OF_ORDER: 1}


def test_a_clock_that_was_set_back_stops_the_market_for_two_frames_only() -> None:
    """Older frames that follow one another are a new time; a fresh connection begins a new time anyway."""
    desk = Desk()
    desk.depth(ms=2_000)
    told = [desk.depth(f"86699.{number}", ms=310 * number, late_ns=2_100 * NS_PER_MS) for number in range(4)]
    assert [bool([e for e in events if isinstance(e, MarketQuote)]) for events in told] == [False, False, True, True]
    desk.reader.begin(0)
    assert kinds(desk.depth("86699.5", ms=900, late_ns=2_200 * NS_PER_MS)) == [MarketDepth, MarketQuote]


@pytest.mark.requirement("B4")
def test_warnings_are_bounded_and_no_count_is_lost() -> None:
    """The first of a reason is said at once, a storm once in ten seconds, the rest at the end."""
    desk = Desk()
    now_ns = START_MS * NS_PER_MS
    for number in range(1_000):
        desk.hear_text("garbage", now_ns=now_ns + number * 25 * NS_PER_MS)
        desk.events += desk.reader.pending(now_ns + number * 25 * NS_PER_MS)
    desk.events += desk.reader.rest(now_ns + 30 * NS_PER_S)
    said = [event for event in desk.events if isinstance(event, FeedMalformed)]
    assert sum(event.count for event in said) == 1_000
    assert len(said) <= 3 + 25 * NS_PER_S // NOTICE_INTERVAL_NS * 2
    assert all(len(event.sample) <= 160 for event in said)


def test_everything_is_asked_for_in_one_message() -> None:
    """The venue counts messages, not streams."""
    asked = json.loads(subscription((SYMBOL, "ETHUSDT")))
    assert asked["op"] == "subscribe"
    assert {(row["symbol"], row["ch"]) for row in asked["args"]} == {
        (symbol, channel) for symbol in (SYMBOL, "ETHUSDT") for channel in CHANNELS
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["NaN", "1e400"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("bapvstm"), inner, max_size=4),
    max_leaves=12,
)
FRAMES = st.fixed_dictionaries(
    {"ch": st.sampled_from([*CHANNELS, "x"]), "ts": st.just(START_MS) | VALUES, "data": VALUES},
    optional={"symbol": st.just(SYMBOL) | VALUES, "op": VALUES},
)


@settings(max_examples=400)
@given(FRAMES.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=60))
def test_no_input_breaks_the_reader_or_gets_nonsense_through(frame: str | bytes) -> None:
    """Whatever comes: good events, or a count."""
    desk = Desk()
    for event in desk.hear_text(frame):
        if isinstance(event, MarketQuote):
            assert 0 < event.bid_ticks < event.ask_ticks <= 10**12
        elif isinstance(event, MarketTrade):
            assert 0 < event.price_ticks <= 10**12
            assert 0 < event.size_lots <= 10**12
        else:
            assert isinstance(event, FeedMalformed | MarketDepth | MarketFundingRate)


@pytest.fixture
def shared_frames(recorded_data: Path) -> dict[str, Any]:
    """The captured and documented frames, by name."""
    path = recorded_data.parent / "fixtures" / "bitunix" / "ws_frames.jsonl"
    if not path.is_file():
        pytest.skip("the sample frames of the venue are not beside the recordings")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["id"]: row["frame"] for row in rows}
