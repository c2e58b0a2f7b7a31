"""The recording format: what is written is read back, and what is damaged is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from arro3.core import Array, DataType, RecordBatch
from arro3.io import write_parquet
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.errors import UsageFault
from agora.domain.events import (
    FeedGap,
    FeedMalformed,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
)
from agora.domain.instruments import known_instrument
from agora.venues.recording import BATCH_ROWS, Origin, RecordedEvent, Recording, SourceFile, write_recording

ORIGIN = Origin(
    instruments=(known_instrument("BTCUSDT"), known_instrument("ETHUSDT")),
    interval_s=60,
    sources=(SourceFile(name="a.feather", sha256="00", format="candles-feather"),),
)
BIG = 2**62
steps = st.integers(-BIG, BIG)
symbols = st.sampled_from(["BTCUSDT", "ETHUSDT"])
texts = st.text(max_size=20)
EVENTS = st.one_of(
    st.builds(
        MarketCandle,
        ts_ns=st.just(0),
        instrument=symbols,
        interval_s=st.integers(1, 86_400),
        open_ticks=steps,
        high_ticks=steps,
        low_ticks=steps,
        close_ticks=steps,
        volume_lots=steps,
        is_history=st.just(False),
    ),
    st.builds(
        MarketQuote,
        ts_ns=st.just(0),
        instrument=symbols,
        bid_ticks=steps,
        bid_lots=steps,
        ask_ticks=steps,
        ask_lots=steps,
    ),
    st.builds(
        MarketTrade,
        ts_ns=st.just(0),
        instrument=symbols,
        price_ticks=steps,
        size_lots=steps,
        aggressor=st.sampled_from([-1, 0, 1]),
    ),
    st.builds(
        MarketDepth,
        ts_ns=st.just(0),
        instrument=symbols,
        levels=st.lists(st.tuples(st.sampled_from([-1, 1]), steps, steps), max_size=5).map(tuple),
        is_snapshot=st.booleans(),
    ),
    st.builds(MarketFundingRate, ts_ns=st.just(0), instrument=symbols, rate_ppb=steps),
    st.builds(FeedGap, ts_ns=st.just(0), instrument=symbols, reason=texts),
    st.builds(FeedMalformed, ts_ns=st.just(0), reason=texts, count=st.integers(1, 9), sample=texts),
)


@given(events=st.lists(EVENTS, max_size=30))
def test_what_is_written_is_read_back(events: list[RecordedEvent], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every kind of event with any values comes back equal and in order."""
    path = tmp_path_factory.mktemp("recording") / "a.parquet"
    facts = write_recording(path, events, origin=ORIGIN)
    recording = Recording(path)
    assert list(recording.events()) == events
    assert recording.facts == facts
    assert sum(facts.counts.values()) == len(events)


def test_depth_messages_that_cross_batches_are_whole(tmp_path: Path) -> None:
    """A message with more levels than a batch has rows comes back as one event, and so do its neighbours."""
    levels = tuple((1, 1 + place, 5) for place in range(BATCH_ROWS * 2 + 7))
    events = [
        MarketDepth(ts_ns=number, instrument="BTCUSDT", levels=levels[: BATCH_ROWS - 3 + number * 5])
        for number in range(6)
    ]
    events.append(MarketDepth(ts_ns=9, instrument="ETHUSDT", levels=levels, is_snapshot=True))
    path = tmp_path / "a.parquet"
    write_recording(path, events, origin=ORIGIN)
    assert list(Recording(path).events()) == events


def test_the_facts_say_what_is_inside(tmp_path: Path) -> None:
    """Kinds, faults by their word, instruments and the span can be known without reading the rows."""
    path = tmp_path / "a.parquet"
    events: list[RecordedEvent] = [
        MarketFundingRate(ts_ns=5, instrument="BTCUSDT", rate_ppb=100),
        FeedGap(ts_ns=6, instrument="BTCUSDT", reason="missing_bars: 3 before this one"),
        FeedMalformed(ts_ns=7, reason="crossed", count=2, sample="x"),
    ]
    write_recording(path, events, origin=ORIGIN)
    facts = Recording(path).facts
    assert facts.counts == {"market.funding_rate": 1, "feed.gap": 1, "feed.malformed": 1}
    assert facts.faults == {"missing_bars": 1, "crossed": 2}
    assert (facts.first_ts_ns, facts.last_ts_ns, facts.interval_s) == (5, 7, 60)
    assert facts.instruments == ORIGIN.instruments
    assert facts.sources == ORIGIN.sources


def test_events_that_go_back_in_time_are_a_bug_of_the_writer(tmp_path: Path) -> None:
    """A recording is in order of time by construction; nothing is left behind when it is not."""
    events = [MarketFundingRate(ts_ns=ts_ns, instrument="BTCUSDT", rate_ppb=1) for ts_ns in (2, 1)]
    with pytest.raises(AssertionError, match="goes back in time"):
        write_recording(tmp_path / "a.parquet", events, origin=ORIGIN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.requirement("B54")
@pytest.mark.parametrize("kept_bytes", [0, 3, 4, 11, 100, 500, -1])
def test_a_recording_cut_short_is_refused_in_words(tmp_path: Path, kept_bytes: int) -> None:
    """Half a file is a usage fault that names it, not a stack trace."""
    path = tmp_path / "a.parquet"
    write_recording(path, [MarketFundingRate(ts_ns=1, instrument="BTCUSDT", rate_ppb=1)], origin=ORIGIN)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(UsageFault, match=r"a\.parquet"):
        Recording(path)


@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_changed_byte_is_found_before_anything_is_read(
    place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever the damage is, the file is refused: the library that reads Parquet never sees it."""
    path = tmp_path_factory.mktemp("recording") / "a.parquet"
    rates = [MarketFundingRate(ts_ns=ts_ns, instrument="BTCUSDT", rate_ppb=ts_ns) for ts_ns in range(100)]
    write_recording(path, rates, origin=ORIGIN)
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] = byte if content[place] != byte else byte ^ 1
    path.write_bytes(content)
    with pytest.raises(UsageFault, match=r"a\.parquet"):
        Recording(path)


def test_a_parquet_file_of_others_is_refused(tmp_path: Path) -> None:
    """Parquet without our seal is no recording, whatever its columns are."""
    path = tmp_path / "a.parquet"
    write_parquet(RecordBatch.from_pydict({"ts_ns": Array([1], type=DataType.int64())}), path)
    with pytest.raises(UsageFault, match="not a recording"):
        Recording(path)
