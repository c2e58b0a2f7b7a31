"""What goes wrong around a run: silence, stalls, full and failing disks, trips, operators. Each ends as promised."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from agora.domain.events import (
    BreakerTripped,
    Decision,
    FeedLost,
    FeedOverflow,
    FeedStale,
    Funding,
    MarketQuote,
    OperatorCommand,
    OrderAccepted,
    OrderCancelIntent,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRefused,
    OrderRejected,
    OrderSent,
    RunResumed,
)
from tests.scenarios.checks import violations
from tests.scenarios.feeds import interrupted
from tests.scenarios.harness import NS_PER_S, Crash, Setup, Story, Teller, events_of
from tests.scenarios.plans import crashes_of, setup_of
from tests.simulation.disk import Faults

# A process on a busy machine: the figure itself belongs to the benchmark.
CPU_S_MAX = 5.0
WHOLE_RUN_S = 600


def end_of_desk(story: Story) -> tuple[str, str, int, bool, tuple[str, ...]]:
    """How the run itself says it ended: the only witness when the disk is dead."""
    assert story.desk is not None
    assert story.desk.state.ended is not None
    return story.desk.state.ended


def ended_after_s(story: Story) -> float:
    """Seconds of the run's clock from its first record to its last decision."""
    ended = story.ended()
    assert ended is not None
    return (ended.ts_ns - story.records()[0].event.ts_ns) / NS_PER_S


@pytest.mark.requirement("B1")
@pytest.mark.requirement("B2")
@pytest.mark.requirement("B31")
@pytest.mark.requirement("H6.2")
@pytest.mark.parametrize("trader", ["trend", "ema_cross"])
def test_a_whole_ten_minute_run_takes_seconds_and_ends_by_itself(trader: str) -> None:
    """Ten minutes of the default market in virtual time: they end after 600 s, within one second, flat and traded."""
    setup = Setup(
        seed=1,
        seconds=WHOLE_RUN_S,
        pairs=(f"run.trader={trader}", "run.interval=5s", "local.history_bars=200", "risk.position_lots_max=1000"),
    )
    before_s = time.process_time()
    story = Teller(setup).play()
    cpu_s = time.process_time() - before_s
    assert not violations(story)
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code, ended.flat) == ("duration", 0, True)
    assert WHOLE_RUN_S <= ended_after_s(story) <= WHOLE_RUN_S + 1
    assert any(isinstance(event, OrderFilled) for event in events_of(story))
    assert cpu_s < CPU_S_MAX, f"ten virtual minutes took {cpu_s:.2f} s of CPU"


@pytest.mark.requirement("H1.2")
def test_a_silent_feed_ends_the_run_after_the_timeout() -> None:
    """Default 30 s without usable data: stale, exit 5, flat with the last prices known."""
    story = Teller(Setup(seed=3, seconds=120, change_feed=interrupted(8, 1_000))).play()
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code, ended.flat) == ("stale_data", 5, True)
    events = events_of(story)
    stale = next(event for event in events if isinstance(event, FeedStale))
    quiet_since_ns = max(event.ts_ns for event in events if isinstance(event, MarketQuote))
    assert stale.ts_ns - quiet_since_ns == 30 * NS_PER_S
    assert not violations(story)


@pytest.mark.requirement("H1.2")
def test_a_timeout_of_ones_own_is_kept() -> None:
    """`risk.stale_timeout_s` moves the end."""
    setup = Setup(seed=3, seconds=120, pairs=("risk.stale_timeout_s=7",), change_feed=interrupted(8, 1_000))
    story = Teller(setup).play()
    stale = next(event for event in events_of(story) if isinstance(event, FeedStale))
    assert stale.limit_ms == 7_000
    assert 14 < ended_after_s(story) < 18


def test_a_feed_that_never_speaks_is_no_success() -> None:
    """No data at all: failed, exit 5."""
    story = Teller(Setup(seed=4, seconds=120, change_feed=interrupted(0, 1_000))).play()
    ended = story.ended()
    assert ended is not None
    assert (ended.status, ended.reason, ended.exit_code) == ("failed", "no_data", 5)


def test_a_broken_feed_is_told_once_and_ends_the_run() -> None:
    """A lost source is one record, then silence, then the timeout."""
    story = Teller(Setup(seed=5, seconds=120, change_feed=interrupted(6, 1_000, fault=True))).play()
    events = events_of(story)
    assert sum(isinstance(event, FeedLost) for event in events) == 1
    ended = story.ended()
    assert ended is not None
    assert (ended.exit_code, ended.flat) == (5, True)
    assert not violations(story)


STALLED = Setup(
    seed=6,
    seconds=90,
    pairs=("risk.stale_timeout_s=300",),
    instrument={"funding_interval_s": 3},
    change_feed=interrupted(10, 75),
)


@pytest.mark.requirement("H1.3")
def test_a_stalled_feed_overflows_by_the_oldest_and_says_how_many() -> None:
    """Sixty-five seconds arrive at once: 500 snapshots stay, the rest is counted; no fill, no funding is dropped."""
    story = Teller(STALLED).play()
    events = events_of(story)
    dropped = sum(event.dropped for event in events if isinstance(event, FeedOverflow))
    assert dropped > 200
    assert story.desk is not None
    assert story.desk.state.counters.overflow_dropped == dropped
    rates = story.desk.state.counters.funding_rates
    assert rates in {89 // 3, 90 // 3}
    assert not violations(story)


@pytest.mark.requirement("H1.3")
@pytest.mark.parametrize("seed", range(20, 28))
def test_a_crash_after_an_overflow_goes_on_at_the_right_event(seed: int) -> None:
    """What was dropped counts as handed over: the resumed source repeats and skips nothing."""
    story = Teller(STALLED, [Crash(after_s=75 + seed / 7, down_s=1)]).play()
    assert not violations(story)
    quotes = [event for event in events_of(story) if isinstance(event, MarketQuote)]
    facts = [(quote.bid_ticks, quote.bid_lots, quote.ask_lots) for quote in quotes]
    assert len(facts) == len(set(facts))


@pytest.mark.parametrize("operation", [2, 3, 6, 17, 40, 77, 120, 200, 311])
@pytest.mark.parametrize("kind", ["full_from", "sync_fails_from"])
def test_a_dead_disk_ends_the_run_flat_with_its_own_exit_code(kind: str, operation: int) -> None:
    """ENOSPC on a write or EIO on a sync: admission closed, cancelled, flat, exit 7 with the cause in the reason."""
    story = Teller(setup_of(31), faults=Faults(**{kind: operation})).play()
    assert end_of_desk(story) == ("failed", "disk", 7, True, ())
    assert not violations(story)


TRIPS = [
    ("losing_streak", ("risk.losing_streak_max=3",)),
    ("max_loss", ("run.equity=500", "risk.loss_fraction_max_ppm=3000", "risk.daily_drawdown_max_ppm=1000000")),
    ("daily_drawdown", ("run.equity=500", "risk.daily_drawdown_max_ppm=3000")),
]


def tripping(seed: int, pairs: tuple[str, ...]) -> Setup:
    """The run of a seed with a breaker near."""
    base = setup_of(seed)
    return Setup(seed=seed, seconds=20, pairs=(*base.pairs, *pairs), instrument=base.instrument)


def test_a_disk_that_is_full_at_the_start_trades_nothing() -> None:
    """Not one order leaves when the first record cannot be written."""
    story = Teller(setup_of(31), faults=Faults(full_from=1)).play()
    assert end_of_desk(story)[1:4] == ("disk", 7, True)
    assert not story.received


@pytest.mark.requirement("B11")
@pytest.mark.requirement("B12")
@pytest.mark.requirement("H3.1")
@pytest.mark.parametrize("breaker,pairs", TRIPS)
def test_a_breaker_stays_tripped_through_crashes(breaker: str, pairs: tuple[str, ...]) -> None:
    """A crash while a tripped run closes: no start goes on until an operator resets it, and nothing is entered."""
    refused = trips = 0
    for seed in range(40, 60):
        setup = tripping(seed, pairs)
        events = events_of(Teller(setup).play())
        trip = next((event for event in events if isinstance(event, BreakerTripped)), None)
        if trip is None:
            continue
        trips += 1
        assert trip.breaker == breaker
        after_s = (trip.ts_ns - events[0].ts_ns) / NS_PER_S + 0.02 + (seed % 6) * 0.08
        story = Teller(setup, [Crash(after_s=after_s), Crash(after_s=0.2)]).play()
        assert not violations(story), f"seed {seed}: {violations(story)}"
        ended = story.ended()
        assert ended is not None
        assert (ended.reason, ended.exit_code) == (breaker, 4)
        refused += any("is tripped" in text for text in story.refused)
    assert trips > 8
    assert refused > 4


@pytest.mark.requirement("B27")
def test_max_loss_counts_open_profit_and_bites_at_once() -> None:
    """The trip comes at the very event that took the equity below the limit, the position still open."""
    story = Teller(tripping(44, TRIPS[1][1])).play()
    events = events_of(story)
    at = next(index for index, event in enumerate(events) if isinstance(event, BreakerTripped))
    assert events[at].breaker == "max_loss"  # type: ignore[union-attr]
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code, ended.flat) == ("max_loss", 4, True)
    # The limit is 1.50; one event moves at most 25 lots of 0.001 BTC by some 20 USDT, and closes some with a fee.
    loss = float(events[at].value)  # type: ignore[union-attr]
    assert 1.5 <= loss < 2.5


@pytest.mark.requirement("B28")
@pytest.mark.requirement("H4.3")
@pytest.mark.parametrize("command,exit_code", [("stop", 0), ("kill", 4), ("interrupt", 130), ("terminate", 143)])
def test_a_command_cancels_each_order_once_and_ends_flat(command: str, exit_code: int) -> None:
    """Within a second the run has closed; every working order got one cancel and one end."""
    story = Teller(Setup(seed=9, seconds=60, commands=((20.05, command),))).play()
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code, ended.flat) == (command, exit_code, True)
    assert ended_after_s(story) < 21.5
    events = events_of(story)
    at = next(index for index, event in enumerate(events) if isinstance(event, OperatorCommand))
    assert (events[at].ts_ns - events[0].ts_ns) / NS_PER_S < 20.3
    cancels = Counter(event.client_id for event in events[at:] if isinstance(event, OrderCancelIntent))
    ends = Counter(
        event.client_id for event in events if isinstance(event, OrderCancelled | OrderExpired | OrderRejected)
    )
    assert len(cancels) > 3
    assert set(cancels.values()) == {1}
    assert set(ends.values()) == {1}
    assert not violations(story)


def test_flatten_closes_everything_and_trades_on() -> None:
    """`flatten` leaves the run alive: flat soon after, and new entries later."""
    story = Teller(Setup(seed=12, seconds=40, commands=((15, "flatten"),))).play()
    events = events_of(story)
    at = next(index for index, event in enumerate(events) if isinstance(event, OperatorCommand))
    later = [event for event in events[at:] if isinstance(event, OrderIntent) and event.purpose == "entry"]
    assert later
    ended = story.ended()
    assert ended is not None
    assert ended.reason == "duration"
    assert not violations(story)


@pytest.mark.requirement("B12")
def test_enough_trades_end_the_run() -> None:
    """`risk.max_trades` completed trades, then a completed run."""
    story = Teller(Setup(seed=13, seconds=120, pairs=("risk.max_trades=4",))).play()
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code) == ("max_trades", 0)
    assert story.desk is not None
    assert story.desk.state.counters.trades >= 4


@pytest.mark.requirement("H6.3")
def test_a_dry_run_decides_everything_and_sends_nothing() -> None:
    """Decisions and refusals are recorded; the venue receives nothing."""
    story = Teller(Setup(seed=14, seconds=30, pairs=("risk.dry_run=true",))).play()
    events = events_of(story)
    assert not story.received
    assert sum(isinstance(event, Decision) for event in events) > 20
    assert {event.rule for event in events if isinstance(event, OrderRefused)} >= {"dry_run"}


@pytest.mark.requirement("H2.3")
def test_funding_has_the_right_sign_on_both_sides() -> None:
    """With a positive rate longs pay and shorts receive; the sum is the ledger's, to the last unit."""
    seen = set()
    for seed in range(60, 68):
        story = Teller(setup_of(seed, seconds=40)).play()
        assert not violations(story)
        for event in events_of(story):
            if isinstance(event, Funding):
                assert (event.amount_units < 0) == (event.size_lots * event.rate_ppb > 0)
                seen.add((event.size_lots > 0, event.rate_ppb > 0))
    assert len(seen) == 4


@pytest.mark.requirement("B16")
@pytest.mark.requirement("H2.1")
def test_every_order_takes_its_own_seeded_time() -> None:
    """Latency between 50 and 500 ms, different per order, the same again with the same seed, shown in the record."""

    def latencies(seed: int) -> list[int]:
        events = events_of(Teller(Setup(seed=seed, seconds=30)).play())
        return [event.latency_ns for event in events if isinstance(event, OrderAccepted)]

    first = latencies(21)
    assert len(set(first)) > 20
    # Until the venue is looked at again at most one tick of the feed passes.
    assert min(first) >= 50_000_000
    assert max(first) <= 500_000_000 + 100_000_000
    assert first == latencies(21)


@pytest.mark.requirement("B26")
@pytest.mark.requirement("B29")
def test_tight_limits_hold_at_the_venue_through_crashes() -> None:
    """Position and rate limits, counted with everything open or unknown, bite and are never exceeded there."""
    rules: Counter[str] = Counter()
    for seed in range(5_020, 5_045):
        base = setup_of(seed)
        pairs = (*base.pairs, "risk.position_lots_max=8", "risk.orders_per_minute_max=40")
        story = Teller(Setup(seed=seed, seconds=20, pairs=pairs, instrument=base.instrument), crashes_of(seed)).play()
        assert not violations(story), f"seed {seed}: {violations(story)}"
        events = events_of(story)
        rules.update(event.rule for event in events if isinstance(event, OrderRefused))
        sent = [event.ts_ns for event in events if isinstance(event, OrderIntent) and event.purpose == "entry"]
        assert all(later - sooner >= 60 * NS_PER_S for sooner, later in zip(sent, sent[40:], strict=False))
    assert rules["position_units"] > 10
    assert rules["order_rate"] > 10


@pytest.mark.requirement("H4.2")
@pytest.mark.requirement("B5")
def test_a_resumed_run_keeps_its_time_its_orders_and_its_history() -> None:
    """The outage does not count against the duration; orders sent before it are ended after it, not sent again."""
    carried = 0
    for seed in range(70, 78):
        story = Teller(setup_of(seed), [Crash(after_s=9, down_s=500)]).play()
        assert not violations(story)
        assert 20 + 500 <= ended_after_s(story) <= 20 + 500 + 2.5
        events = events_of(story)
        at = next(index for index, event in enumerate(events) if isinstance(event, RunResumed))
        before = {event.client_id for event in events[:at] if isinstance(event, OrderSent)}
        ended_later = {event.client_id for event in events[at:] if isinstance(event, OrderCancelled | OrderFilled)}
        carried += len(before & ended_later)
    assert carried > 10


VARIANTS: dict[str, tuple[str, ...]] = {
    "no_latency": ("paper.latency_model=fixed", "paper.latency_ms_min=0"),
    "lognormal": ("paper.latency_model=lognormal",),
    "history": ("local.history_bars=30",),
    "max_trades": ("risk.max_trades=5",),
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_crashes_are_survived_with_other_latencies_and_histories(variant: str) -> None:
    """Twelve seeds each; no latency at all is the hardest order of things to replay."""
    for seed in range(5_008, 5_020):
        base = setup_of(seed)
        setup = Setup(seed=seed, seconds=20, pairs=(*base.pairs, *VARIANTS[variant]), instrument=base.instrument)
        story = Teller(setup, crashes_of(seed)).play()
        assert not violations(story), f"{variant}, seed {seed}: {violations(story)}"


def test_crashes_are_survived_on_a_disk_slower_than_the_market() -> None:
    """With up to 0.6 s for each sync, decisions come while others still wait to leave: none overtakes another."""
    for seed in range(5_008, 5_040):
        base = setup_of(seed)
        setup = Setup(seed=seed, seconds=20, pairs=base.pairs, instrument=base.instrument, commit_s=0.6)
        story = Teller(setup, crashes_of(seed)).play()
        assert not violations(story), f"seed {seed}: {violations(story)}"
