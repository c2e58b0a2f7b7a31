"""Messages of Binance: quotes, trades, the chain of depth updates, and everything malformed named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agora.domain.errors import UsageFault
from agora.domain.events import (
    FeedGap,
    FeedMalformed,
    MarketDepth,
    MarketQuote,
    MarketTrade,
)
from agora.venues.import_rows import LINE_BYTES_MAX
from agora.venues.importers import plan_import
from tests.venues.importer_files import T0_NS, Feed, events_of, faults_of


def test_messages_become_quotes_trades_and_depth(tmp_path: Path) -> None:
    """Each kind with its receive time, exact steps and the side of the aggressor."""
    path = Feed().snapshot().update().quote().trade(7).file(tmp_path)
    assert events_of(path, symbol="BTCUSDT") == [
        MarketDepth(ts_ns=T0_NS, instrument="BTCUSDT", levels=((1, 990, 1_000), (-1, 1_010, 2_000)), is_snapshot=True),
        MarketDepth(ts_ns=T0_NS + 1_000_000, instrument="BTCUSDT", levels=((1, 1_000, 1_500),)),
        MarketQuote(
            ts_ns=T0_NS + 2_000_000,
            instrument="BTCUSDT",
            bid_ticks=1_000,
            bid_lots=1_500,
            ask_ticks=1_001,
            ask_lots=2_000,
        ),
        MarketTrade(ts_ns=T0_NS + 3_000_000, instrument="BTCUSDT", price_ticks=1_000, size_lots=500, aggressor=-1),
    ]


@pytest.mark.parametrize("is_spot", [False, True])
def test_updates_before_the_snapshot_wait_for_it(tmp_path: Path, is_spot: bool) -> None:
    """Those older than the snapshot are dropped, those that belong on it follow it at its time."""
    feed = Feed(is_spot=is_spot).update("90.0").update("91.0").update("92.0")
    path = feed.snapshot(last_id=107).update("93.0").file(tmp_path)
    depths = [event for event in events_of(path) if isinstance(event, MarketDepth)]
    assert [depth.is_snapshot for depth in depths] == [True, False, False, False]
    steps = 10 if is_spot else 1
    assert [depth.levels[0][1] // steps for depth in depths] == [990, 910, 920, 930]
    assert len({depth.ts_ns for depth in depths[:3]}) == 1


@pytest.mark.parametrize("is_spot", [False, True])
def test_a_broken_chain_is_a_gap_until_the_next_snapshot(tmp_path: Path, is_spot: bool) -> None:
    """A lost update makes the book unusable: nothing of it passes until a snapshot begins it anew."""
    feed = Feed(is_spot=is_spot).snapshot().update("91.0").update("92.0", skip=3).update("93.0").quote()
    feed.snapshot(last_id=feed.last_id + 1).update("94.0", skip=1)
    events = events_of(feed.file(tmp_path))
    steps = 10 if is_spot else 1
    found = [event.levels[0][1] // steps if isinstance(event, MarketDepth) else type(event) for event in events]
    assert found == [990, 910, FeedGap, MarketQuote, 990, 940]
    gap = next(event for event in events if isinstance(event, FeedGap))
    assert gap.reason.startswith("broken_chain: a.wsfeed.gz:3: ")


def test_a_snapshot_that_no_update_reaches_is_a_gap(tmp_path: Path) -> None:
    """The first update after a snapshot must contain its id; a later one means that some were missed."""
    events = events_of(Feed().snapshot(last_id=50).update().file(tmp_path), symbol="BTCUSDT")
    assert faults_of(events) == ["broken_chain"]


def test_a_snapshot_older_than_the_book_is_passed_over(tmp_path: Path) -> None:
    """A late answer must not throw the book back."""
    path = Feed().snapshot().update("91.0").update("92.0").snapshot(last_id=103).update("93.0").file(tmp_path)
    depths = [event for event in events_of(path, symbol="BTCUSDT") if isinstance(event, MarketDepth)]
    assert [depth.levels[0][1] for depth in depths] == [990, 910, 920, 930]


def test_updates_without_any_snapshot_are_one_gap(tmp_path: Path) -> None:
    """Half a book is no book: no depth passes, and that is said once."""
    feed = Feed()
    for _ in range(1_200):
        feed.update()
    assert faults_of(events_of(feed.trade(1).file(tmp_path))) == ["no_snapshot"]
    assert faults_of(events_of(Feed().update().trade(1).file(tmp_path))) == ["no_snapshot"]


BAD_MESSAGES = [
    ("crossed", lambda feed: feed.quote("100.1", "100.0")),
    ("not_positive", lambda feed: feed.quote("0.0", "100.0")),
    ("off_tick", lambda feed: feed.quote("100.01", "100.1")),
    ("not_finite", lambda feed: feed.quote("NaN", "100.1")),
    ("unparsable", lambda feed: feed.quote("1_00.0", "100.1")),
    ("unparsable", lambda feed: feed.quote("9" * 41, "100.1")),
    ("too_large", lambda feed: feed.quote("1e30", "100.1")),
    ("absurd_jump", lambda feed: feed.quote("500.0", "500.1")),
    ("not_positive", lambda feed: feed.trade(9, "-1")),
    ("not_positive", lambda feed: feed.trade(9, size="0")),
    ("not_positive", lambda feed: feed.trade(9, size="-1")),
    ("below_lot", lambda feed: feed.trade(9, size="0.0001")),
    ("zero_price", lambda feed: feed.trade(9, "0.0", "0.0", X=None)),
    ("zero_price", lambda feed: feed.trade(9, "0", "0", X="NA")),
    ("not_market", lambda feed: feed.trade(9, X="INSURANCE_FUND")),
    ("duplicate", lambda feed: feed.trade(1)),
    ("other_symbol", lambda feed: feed.trade(9, s="ETHUSDT")),
    ("unknown_message", lambda feed: feed.stream("markPrice", {})),
    ("unknown_message", lambda feed: feed.add({})),
    ("unparsable", lambda feed: feed.add([])),
    ("unparsable", lambda feed: feed.stream("trade", {})),
    ("unparsable", lambda feed: feed.add({"stream": "btcusdt@trade", "data": {"s": 5}})),
    ("unparsable", lambda feed: feed.lines.append(f"{T0_NS + 5_000_000} " + '{"data":' + "[" * 100_000)),
    ("unparsable", lambda feed: feed.lines.append("garbage")),
    ("unparsable", lambda feed: feed.lines.append(feed.lines[-1][:60])),
    ("out_of_order", lambda feed: feed.lines.append(feed.lines[0].replace('"t": 1', '"t": 9'))),
    ("absurd_time", lambda feed: feed.lines.append(feed.trade(9).lines.pop().replace("000000 ", " ", 1))),
    ("absurd_time", lambda feed: feed.lines.append("19" + feed.trade(9).lines.pop()[2:])),
    ("too_long", lambda feed: feed.add("x" * LINE_BYTES_MAX)),
]


@pytest.mark.requirement("B4")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("number", range(len(BAD_MESSAGES)))
def test_a_bad_message_is_named_and_its_neighbours_stay(tmp_path: Path, number: int) -> None:
    """Only the bad line is lost; its reason and its place in the file are kept."""
    reason, spoil = BAD_MESSAGES[number]
    feed = Feed().trade(1).quote().trade(2)
    spoil(feed)
    events = events_of(feed.trade(20).file(tmp_path))
    good = [event for event in events if isinstance(event, MarketTrade | MarketQuote)]
    assert len(good) == 4
    (fault,) = (event for event in events if isinstance(event, FeedMalformed))
    assert fault.reason == reason
    assert fault.sample.startswith("a.wsfeed.gz:4: ")


def test_a_bad_depth_message_breaks_the_chain(tmp_path: Path) -> None:
    """What was in the dropped message is unknown, so the book is unusable from the next one on."""
    feed = Feed().snapshot().update("91.0").update("-92.0").update("93.0").trade(1)
    assert faults_of(events_of(feed.file(tmp_path), symbol="BTCUSDT")) == ["not_positive", "broken_chain"]


def test_a_depth_message_out_of_order_breaks_the_chain(tmp_path: Path) -> None:
    """It is not applied at a time that has passed, so the book lacks it from then on."""
    feed = Feed().snapshot().update("91.0").update("92.0").trade(1).update("93.0")
    feed.lines[2], feed.lines[3] = feed.lines[3], feed.lines[2]
    assert faults_of(events_of(feed.file(tmp_path), symbol="BTCUSDT")) == ["out_of_order", "broken_chain"]


def test_faults_before_the_first_good_line_have_its_time(tmp_path: Path) -> None:
    """A line that cannot be read has no time of its own; the recording still begins with the first good one."""
    feed = Feed()
    feed.lines += ["garbage", "more garbage"]
    events = events_of(feed.trade(1).file(tmp_path))
    assert [event.ts_ns for event in events] == [T0_NS + 2_000_000] * 3


@pytest.mark.requirement("B54")
def test_a_file_without_one_good_line_is_refused(tmp_path: Path) -> None:
    """A file of only faults is a usage fault that names the first."""
    with pytest.raises(UsageFault, match="not one good line"):
        events_of(Feed().trade(1, "-1").trade(2, "-1").file(tmp_path))
    feed = Feed().trade(1, "-1")
    feed.lines += ["garbage"] * 2_000
    path = feed.file(tmp_path)
    with pytest.raises(UsageFault, match="are all bad"):
        events_of(path)


def test_a_file_cut_short_plays_to_where_it_is_cut(tmp_path: Path) -> None:
    """The good part of a damaged archive is not lost, and the damage is named."""
    feed = Feed()
    for number in range(2_000):
        feed.trade(number, f"100.{number * 7 % 10}", f"{number * 7_919 % 1_009 + 1}.{number * 104_729 % 997:03}")
    path = feed.file(tmp_path)
    path.write_bytes(path.read_bytes()[:-2_000])
    events = events_of(path)
    assert faults_of(events)[-1] == "truncated"
    assert 1_000 < len(events) < 2_000


def test_files_of_one_feed_follow_each_other_and_so_does_the_book(tmp_path: Path) -> None:
    """The second file continues the chain of the first, whatever order they are named in."""
    feed = Feed().quote().snapshot().update("91.0").update("92.0").update("93.0")
    first, second = tmp_path / "1.wsfeed", tmp_path / "2.wsfeed"
    first.write_text("\n".join(feed.lines[:3]) + "\n")
    second.write_text("\n".join(feed.lines[3:]) + "\n")
    events = events_of(second, first)
    assert faults_of(events) == []
    assert [event.levels[0][1] for event in events if isinstance(event, MarketDepth)] == [990, 910, 920, 930]


@pytest.mark.requirement("B54")
def test_an_inverse_contract_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Linear money is wrong for a contract that pays in the coin: it is not imported at all."""
    data = {"e": "trade", "s": "BTCUSD_PERP", "ps": "BTCUSD", "t": 1, "p": "1.0", "q": "1", "m": True}
    path = Feed().add({"stream": "btcusd_perp@trade", "data": data}).file(tmp_path)
    with pytest.raises(UsageFault, match="inverse contract"):
        plan_import([path])
