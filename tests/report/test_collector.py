"""What a collector keeps of a run, live and replayed."""

from __future__ import annotations

import itertools

import pytest

from agora.domain.events import (
    ErrorSeen,
    Event,
    FeedMalformed,
    OperatorCommand,
    OrderFilled,
    PositionChanged,
    Reconcile,
    UserLost,
)
from agora.engine.desk import Desk
from agora.engine.ports import Effect
from agora.engine.state import State
from agora.journal.records import Record
from agora.journal.replay import replay, subject_of
from agora.report.collector import FILLS_KEPT, Collector
from agora.report.series import POINTS_MAX
from agora.report.summary import build
from agora.report.tallies import Tally, by_symbol, by_trader
from agora.risk.breakers import BreakerSettings
from agora.risk.limits import LimitSettings
from tests.report.builders import (
    BTC,
    EQUITY_UNITS,
    ETH,
    START_NS,
    Rows,
    Sequel,
    SmallRun,
    buy,
    funding_rate,
    heartbeat,
    quote,
    sell,
    wave,
)


def busy_traders() -> tuple[Sequel, Sequel]:
    """Two traders who win, lose, are refused, place brackets and leave a position for the end."""
    first = Sequel({
        3: (buy(20),), 20: (sell(20),), 30: (buy(20, stop_ticks=499_000, target_ticks=500_150),),
        40: (buy(99_999_999),), 50: (buy(20),),
    }, name="first")  # fmt: skip
    second = Sequel({10: (buy(100, "ETHUSDT"),), 44: (sell(40, "ETHUSDT"),)}, name="second")
    return first, second


def busy_market() -> itertools.chain[Event]:
    """A minute of two symbols with funding, health and a bad message."""
    merged = sorted([*wave(60), *(quote(tick + 0.3, 3_000 + tick, ETH) for tick in range(60))], key=lambda e: e.ts_ns)
    return itertools.chain(
        merged[:400],
        [FeedMalformed(ts_ns=merged[400].ts_ns, reason="bad_json", count=3, sample="{")],
        merged[400:500],
        [heartbeat(45.5 + 0.31)],
        [event for event in merged[500:] if event.ts_ns > heartbeat(45.5 + 0.31).ts_ns],
        [funding_rate(61, 100_000), funding_rate(61, -50_000, ETH)],
    )


def busy_run(collector: Collector | None = None) -> SmallRun:
    """A run in which most things happen, to its end."""
    run = SmallRun(*busy_traders(), instruments=(BTC, ETH), duration_s=70, collector=collector)
    return run.feed(busy_market()).finish(300)


def replayed(run: SmallRun) -> tuple[Desk, Collector, Rows]:
    """The journal of a run on a fresh desk, watched by a fresh collector."""
    fresh = SmallRun(*busy_traders(), instruments=(BTC, ETH), duration_s=70)
    desk = Desk(State(), fresh.rules)
    rows = Rows()
    collector = Collector(rows)

    def watch(record: Record, effects: list[Effect], done_wall_ns: int | None) -> None:
        collector.after_step(desk, record.event, wall_ns=record.wall_ns, done_wall_ns=done_wall_ns, effects=effects)

    records = (Record(seq, wall_ns, event) for seq, (wall_ns, event) in enumerate(run.journal, 1))
    found = replay(subject_of(desk), records, watch=watch)
    assert found.divergence is None
    return desk, collector, rows


@pytest.mark.requirement("B20")
def test_a_replayed_journal_gives_the_same_report_curves_and_rows() -> None:
    """Everything in a report comes from the journal, so it can be rebuilt from it, to the last digit."""
    rows = Rows()
    run = busy_run(Collector(rows))
    desk, collector, again = replayed(run)
    assert build(collector, desk, run.meta()) == build(run.collector, run.desk, run.meta())
    assert collector.plots().equity == run.collector.plots().equity
    assert collector.plots().fills == run.collector.plots().fills
    assert list(again) == list(rows)
    assert run.desk.state.counters.trades >= 3


def test_sums_per_symbol_and_per_trader_are_those_of_the_desk() -> None:
    """Fills, fees, profit, funding and trades are each booked to one symbol and one trader."""
    run = busy_run()
    ledger, counters = run.desk.state.ledger, run.desk.state.counters
    assert set(by_symbol(run.desk)) == {"BTCUSDT", "ETHUSDT"}
    assert set(by_trader(run.desk)) == {"first", "second"}
    for tallies in (by_symbol(run.desk).values(), by_trader(run.desk).values()):
        assert sum(tally.realised_units for tally in tallies) == ledger.realised
        assert not any(tally.unrealised_units for tally in tallies)
        assert sum(tally.fees_units for tally in tallies) == ledger.fees
        assert sum(tally.funding_units for tally in tallies) == ledger.funding != 0
        assert sum(tally.fills for tally in tallies) == counters.filled
        assert sum(tally.trades for tally in tallies) == counters.trades
        assert sum(tally.wins for tally in tallies) == counters.wins
    # Each trader of this run has a symbol of its own.
    assert by_trader(run.desk)["second"] == by_symbol(run.desk)["ETHUSDT"]
    assert by_trader(run.desk)["second"].wins == 1


def test_a_trader_who_did_nothing_is_listed_with_zeros() -> None:
    """Silence is a result too."""
    run = SmallRun(Sequel({}, name="idle")).feed(wave(2))
    assert by_trader(run.desk) == {"idle": Tally()}


def test_a_fill_told_twice_is_booked_once() -> None:
    """A repeat of the venue changes neither sums nor markers nor slippage."""
    run = SmallRun(Sequel({1: (buy(20),)})).feed(wave(4))
    fill = next(event for _, event in run.journal if isinstance(event, OrderFilled))
    before = (
        by_symbol(run.desk)["BTCUSDT"],
        run.collector.slippage_units,
        len(run.collector.plots().fills),
    )
    run.take(
        OrderFilled(
            **{
                **{name: getattr(fill, name) for name in fill.__struct_fields__},
                "ts_ns": run.desk.state.now_ns,
            }
        )
    )
    after = (by_symbol(run.desk)["BTCUSDT"], run.collector.slippage_units, len(run.collector.plots().fills))
    assert before == after
    assert run.desk.state.counters.duplicate_fills == 1


def test_slippage_is_what_was_paid_against_the_middle() -> None:
    """A buy one tick above the middle and a sale one tick below cost a tick each, times the size."""
    run = SmallRun(Sequel({1: (buy(20),), 3: (sell(20),)})).feed(quote(tick / 10, 50_000.0) for tick in range(60))
    assert run.desk.state.counters.filled == 2
    assert run.collector.slippage_units == 2 * BTC.notional_units(1, 20)


def test_entries_and_exits_are_told_apart() -> None:
    """A fill that reduces a position closes, also when it turns the position over or realises nothing."""
    run = SmallRun(Sequel({1: (buy(20),), 3: (sell(5),), 5: (sell(15),)})).feed(
        quote(tick / 10, 50_000.0) for tick in range(80)
    )
    marks = run.collector.plots().fills
    assert [(mark.side, mark.is_closing) for mark in marks] == [
        ("buy", False),
        ("sell", True),
        ("sell", True),
    ]
    assert [mark.purpose for mark in marks] == ["entry", "exit", "exit"]


def test_decision_latency_is_the_wall_time_from_event_to_its_decisions() -> None:
    """One sample for each event that led to a decision: here two records of a millisecond each at least."""
    run = SmallRun(Sequel({1: (buy(20),)})).feed(wave(5))
    assert run.collector.decision_latency.count == run.desk.state.counters.decisions
    assert run.collector.decision_latency.percentile(0.5) == pytest.approx(1.0, rel=0.02)
    assert run.collector.decision_latency.max_ms == pytest.approx(2.0)


def test_acknowledgement_latency_counts_entries_and_leaves_bracket_legs_out() -> None:
    """Legs that sleep until their entry fills would measure the entry, not the venue."""
    run = SmallRun(Sequel({1: (buy(20, stop_ticks=499_000, target_ticks=501_000),)})).feed(wave(4))
    assert run.desk.state.counters.accepted == 3
    assert run.collector.counts["accepted"] == 3
    assert run.collector.ack_latency.count == 1
    assert 50 <= run.collector.ack_latency.max_ms <= 600


def test_health_is_the_worst_and_the_spread_of_the_heartbeats() -> None:
    """Memory by its maximum, loop lag by its percentile."""
    run = SmallRun()
    run.feed(heartbeat(second, rss_mb=100.0 + second % 7, loop_lag_ms=float(second)) for second in range(1, 101))
    assert run.collector.rss_mb_max == 106.0
    assert run.collector.loop_lag.percentile(0.99) == pytest.approx(30.0 if run.desk.state.ended else 99.0, rel=0.02)


@pytest.mark.parametrize(
    "command, reason",
    [("kill", "the cat is on the desk"), ("stop", "operator"), ("terminate", "SIGTERM")],
)
def test_the_words_behind_an_end_are_kept(command: str, reason: str) -> None:
    """What an operator or signal said is found under the reason that the run ended with."""
    run = SmallRun().feed(wave(2))
    run.take(OperatorCommand(ts_ns=run.desk.state.now_ns, command=command, reason=reason))
    run.finish(200)
    assert run.desk.state.ended is not None
    # A kill is a breaker too, and that record follows the command's.
    assert reason in run.collector.end_detail(run.desk.state.end_reason)


def test_a_tripped_breaker_is_kept_with_its_figures() -> None:
    """The loss that ended a run can be read beside its limit."""
    run = SmallRun(Sequel({1: (buy(300),)}), breakers=BreakerSettings(loss_fraction_max_ppm=1_000))
    run.feed(quote(tick / 10, 50_000.0 - tick) for tick in range(200)).finish(200)
    (trip,) = run.collector.trips
    assert trip.breaker == run.desk.state.end_reason == "max_loss"
    assert trip.value in run.collector.end_detail("max_loss")
    assert trip.limit in run.collector.end_detail("max_loss")


def test_a_silent_feed_is_explained() -> None:
    """How long nothing came, and how long it might have been."""
    run = SmallRun(interval_s=60).feed([quote(0.5, 50_000.0)]).finish(200)
    assert run.desk.state.end_reason == "stale_data"
    assert "30000 ms" in run.collector.end_detail("stale_data")


def test_a_reason_without_a_story_has_no_detail() -> None:
    """Nothing is invented."""
    assert SmallRun().collector.end_detail("duration") == ""


def test_memory_does_not_grow_with_the_run() -> None:
    """After far more fills and rows than are kept, markers and points are bounded and the rest is counted."""
    run = SmallRun(limits=LimitSettings(orders_per_minute_max=600)).feed([quote(0.5, 50_000.0)])
    wanted = FILLS_KEPT + 50
    for number in range(wanted):
        ts_ns = START_NS + (1 + number) * 1_000_000_000
        side = "buy" if number % 2 == 0 else "sell"
        fill = OrderFilled(
            ts_ns=ts_ns, client_id=f"x{number}", venue_id="v", venue_fill_id=f"f{number}",
            instrument="BTCUSDT", side=side, purpose="liquidation", liquidity="taker",
            fill_price_ticks=500_000, fill_size_lots=1, fee_units=0,
        )  # fmt: skip
        position = PositionChanged(
            ts_ns=ts_ns,
            instrument="BTCUSDT",
            size_lots=(number + 1) % 2,
            cost_units=0,
            realised_units=0,
            trader="venue",
        )
        run.desk.state.now_ns = ts_ns
        run.collector.after_step(run.desk, fill, wall_ns=ts_ns, done_wall_ns=ts_ns, effects=[position])
    plots = run.collector.plots()
    assert (len(plots.fills), plots.fills_left_out) == (FILLS_KEPT, 50)
    assert plots.fills[-1].ts_ns == START_NS + wanted * 1_000_000_000
    assert len(plots.equity) <= POINTS_MAX + 2
    assert run.collector.liquidations == wanted
    assert run.collector.unreferenced_fills == wanted
    assert run.collector.metrics_rows >= wanted


@pytest.mark.requirement("P1.3")
@pytest.mark.parametrize("cause", ["books that differ", "an outside hand", "a refused key"])
def test_trouble_with_the_account_is_explained_with_its_figures(cause: str) -> None:
    """Both values of a difference, the size of a fill that is not ours, the venue's own words about a key."""
    run = SmallRun().feed(wave(1))
    now_ns = run.desk.state.now_ns
    if cause == "books that differ":
        run.take(Reconcile(ts_ns=now_ns, positions={"BTCUSDT": 4}, open_client_ids=(), cash_units=EQUITY_UNITS))
        wanted = ("desync", "BTCUSDT: we have 0 lots, the venue 4")
    elif cause == "an outside hand":
        fill = OrderFilled(
            ts_ns=now_ns, client_id="foreign-1", venue_id="v", venue_fill_id="x",
            instrument="BTCUSDT", side="sell", purpose="foreign", liquidity="taker",
            fill_price_ticks=500_000, fill_size_lots=3, fee_units=0,
        )  # fmt: skip
        run.take(fill)
        wanted = ("desync", "BTCUSDT: sell of 3 lots by an outside hand")
    else:
        run.take(UserLost(ts_ns=now_ns, reason="auth: 10003 the key is not known"))
        wanted = ("auth", "auth: 10003 the key is not known")
    reason = run.desk.state.end_reason
    assert (reason, run.collector.end_detail(reason)) == wanted


def test_errors_of_a_run_do_not_disturb_the_collector() -> None:
    """Events it has no use for pass by."""
    run = SmallRun().feed(wave(1))
    run.take(ErrorSeen(ts_ns=run.desk.state.now_ns, where="socket", detail="reset"))
    assert run.desk.state.counters.errors == 1


def test_closing_twice_writes_once() -> None:
    """The last row is handed over at the first close only."""
    rows = Rows()
    run = SmallRun(collector=Collector(rows)).feed(wave(1))
    run.collector.close()
    count = len(rows)
    run.collector.close()
    assert len(rows) == count == 2
