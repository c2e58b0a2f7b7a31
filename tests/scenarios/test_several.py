"""Several traders on several instruments: whole runs in virtual time, with crashes, each replayed from its journal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from agora.domain.events import Arbitrated, Decision, OrderFilled, OrderRefused
from agora.engine.state import State
from agora.report.tallies import by_symbol, by_trader
from tests.scenarios.checks import violations
from tests.scenarios.churner import Churner
from tests.scenarios.harness import Setup, Story, Teller, events_of
from tests.scenarios.plans import crashes_of, setup_of

BTC, ETH = "BTCUSDT", "ETHUSDT"
SEEDS, SEEDS_PER_TEST = 24, 6


def crowd_of(seed: int) -> Setup:
    """Two that churn one instrument against each other, and one on another."""
    setup = setup_of(seed)
    return replace(
        setup,
        pairs=(*setup.pairs, f"run.symbol={BTC},{ETH}", "risk.order_notional_max=90000", "risk.leverage_max=20"),
        trader=partial(Churner, seed=seed, name="anna"),
        others=(
            partial(Churner, seed=seed + 1_000, name="bert"),
            partial(Churner, seed=seed + 2_000, symbol=ETH, name="cleo"),
        ),
    )


def books_of_shares(story: Story) -> list[str]:
    """Where the shares are not the run: lots, signs, money and counts."""
    if story.desk is None:
        return []
    state: State = story.desk.state
    found = []
    for symbol, holding in state.holdings.items():
        lots = [parts[symbol].position.size_lots for parts in state.shares.values() if symbol in parts]
        if sum(lots) != holding.position.size_lots or min(lots, default=0) < 0 < max(lots, default=0):
            found.append(f"{symbol}: shares {lots}, position {holding.position.size_lots}")
    gained = story.desk.equity_units() - state.equity_start_units
    for tallies in (by_trader(story.desk), by_symbol(story.desk)):
        facts = {
            "net": (sum(tally.net_units for tally in tallies.values()), gained),
            "fills": (sum(tally.fills for tally in tallies.values()), state.counters.filled),
            "trades": (sum(tally.trades for tally in tallies.values()), state.counters.trades),
        }
        found += [
            f"{name}: {mine} of the shares, {whole} of the run"
            for name, (mine, whole) in facts.items()
            if mine != whole
        ]
    return found


@pytest.mark.requirement("B61")
@pytest.mark.requirement("B64")
@pytest.mark.parametrize("first", range(1, SEEDS + 1, SEEDS_PER_TEST))
def test_several_traders_crash_and_go_on_with_books_that_agree(first: int) -> None:
    """Every check of a story holds, replay included; shares add up; traders met and were arbitrated between."""
    refused = filled = 0
    for seed in range(first, first + SEEDS_PER_TEST):
        story = Teller(crowd_of(seed), crashes_of(seed)).play()
        assert not violations(story), f"seed {seed}: {violations(story)}"
        assert not books_of_shares(story), f"seed {seed}: {books_of_shares(story)}"
        events = events_of(story)
        refused += sum(isinstance(event, OrderRefused) and event.rule == "arbitration" for event in events)
        filled += len({event.instrument for event in events if isinstance(event, OrderFilled)})
    assert refused > 10
    assert filled > SEEDS_PER_TEST


@pytest.mark.parametrize("seed", range(1, 5))
def test_at_an_exchange_that_outlives_the_run_the_books_agree_too(seed: int) -> None:
    """What filled while the process was away is told afterwards, to the trader whose it is."""
    story = Teller(replace(crowd_of(seed), survives=True), crashes_of(seed)).play()
    assert not violations(story), violations(story)
    assert not books_of_shares(story)


@pytest.mark.requirement("B61")
@pytest.mark.requirement("B64")
def test_shipped_traders_on_bars_of_their_own_share_a_run() -> None:
    """Ten minutes of the default market: each decides on its own bars, entries are scaled, the run ends flat."""
    pairs = (
        "run.trader=trend,ema_cross@15s=0.5,ema_cross",
        f"run.symbol={BTC},{ETH}",
        "run.interval=5s",
        "local.history_bars=200",
        "risk.position_lots_max=1000",
        "trend.cost_risk_max=20",
        "trend.reward_risk_min=0",
    )
    story = Teller(Setup(seed=2, seconds=600, pairs=pairs), crashes_of(3, seconds=600)).play()
    assert not violations(story), violations(story)
    assert not books_of_shares(story)
    decided = [event for event in events_of(story) if isinstance(event, Decision)]
    times = {name: {e.ts_ns for e in decided if e.trader == name} for name in {e.trader for e in decided}}
    assert sorted(times) == ["ema_cross", "ema_cross@15s", "trend"]
    assert times["ema_cross@15s"] < times["ema_cross"]
    assert len(times["ema_cross"]) > 2 * len(times["ema_cross@15s"])
    assert {event.instrument for event in decided} == {BTC, ETH}
    assert not [
        event for event in events_of(story) if isinstance(event, Arbitrated) and event.instrument not in (BTC, ETH)
    ]
