"""The shipped defaults are coherent: every profile makes trades on the market it is started on, and on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from agora.config import PROFILES, load_config
from tests.played import play

DAYS = 10
CANDLES = "candles/binance_perp_BTCUSDT_1m_*.feather"
FUNDING = "funding/binance_perp_BTCUSDT_8h_20230101_20251206.feather"

LOCAL = {"run.venue": "local"}


def perpetual(folder: Path) -> list[str]:
    """The 51 days with their funding."""
    return [*(str(path) for path in sorted(folder.glob(CANDLES))), str(folder / FUNDING)]


@pytest.mark.requirement("B7")
@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_trades_on_the_market_that_needs_nothing(profile: str) -> None:
    """Ten minutes of it with nothing else named: a completed trade, nothing refused, flat, exit 0."""
    desk, onlooker = play(load_config({}, LOCAL, [], profile=profile))
    state = desk.state
    assert state.counters.trades >= 1
    assert onlooker.fills
    assert state.refusals == {}
    assert state.ended is not None
    status, reason, code, flat, residual = state.ended
    assert (status, reason, code, flat, residual) == ("completed", "duration", 0, True, ())


@pytest.mark.requirement("B7")
@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_trades_on_real_days(profile: str, recorded_data: Path) -> None:
    """Ten recorded days with funding: trades, no order that its own limits refuse, and flat at the end."""
    flags = {"run.venue": "recorded", "run.data": perpetual(recorded_data), "run.duration_minutes": DAYS * 1_440.0}
    desk, onlooker = play(load_config({}, flags, [], profile=profile))
    state = desk.state
    assert state.counters.trades >= 1
    assert state.refusals == {}
    assert state.ended is not None
    assert state.ended[1:4] == ("duration", 0, True)
    assert {fill.liquidity for fill in onlooker.fills} == {"maker", "taker"}


@pytest.mark.requirement("B7")
def test_over_all_real_days_every_setup_and_gate_is_reached_in_a_run(recorded_data: Path) -> None:
    """The 51 days as the engine trades them: both setups enter, stops are trailed, and each gate closes somewhere."""
    flags = {"run.venue": "recorded", "run.data": perpetual(recorded_data)}
    desk, onlooker = play(load_config({}, flags, []))
    seen = onlooker.decisions
    assert desk.state.counters.decisions == 73_139
    setups = {reason for action, reason in seen if action.startswith("enter_")}
    assert setups == {"pullback", "sweep_and_reclaim"}
    held = {reason for action, reason in seen if action == "hold"}
    gates = {"against_trend", "no_trend", "reward_too_small", "costs_too_high"}
    assert gates | {"funding_gate_long", "funding_gate_short"} <= held
    assert desk.state.ended is not None
    assert desk.state.ended[3]
    purposes = {fill.purpose for fill in onlooker.fills}
    assert {"entry", "stop"} <= purposes


@pytest.mark.requirement("B7")
@pytest.mark.parametrize("seed", [2, 3])
def test_the_defaults_do_not_hang_on_one_seed(seed: int) -> None:
    """Other seeds of the local market give orders too, and end flat."""
    desk, _ = play(load_config({}, {**LOCAL, "run.seed": seed}, []))
    assert desk.state.counters.intended > 0
    assert desk.state.ended is not None
    assert desk.state.ended[3]


def test_the_smallest_example_trades_too() -> None:
    """The trader that newcomers copy, on the market that needs nothing."""
    desk, _ = play(load_config({}, {**LOCAL, "run.trader": ["ema_cross"]}, []))
    assert desk.state.counters.trades >= 1
    assert desk.state.ended is not None
    assert desk.state.ended[1:4] == ("duration", 0, True)
