"""How soon a live run notices, stops, goes on, and what it may ask meanwhile: at the venue, in virtual time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agora.domain.errors import ExitCode
from agora.domain.events import FeedConnected, FeedLost, OrderIntent, UserConnected, UserLost
from tests.bitunix.checks import events_of, violations
from tests.bitunix.figures import leave
from tests.bitunix.harness import NS_PER_S, START_NS, Story, Teller
from tests.bitunix.plans import Plan

ONE_SECOND = ("run.interval=1s",)
CALM = ("run.interval=5s", "risk.stale_timeout_s=60")
MUTE_CASES = 50
MUTE_PER_STORY = 5
# A socket is mute when nothing has come for so long (`bitunix.market_silence_s_max`); a second is for noticing it.
MARKET_BOUND_S = 5 + 1
# An account's socket speaks at each keep-alive (15 s) and is waited for as long again as the market's.
USER_BOUND_S = 15 + 5 + 1
KILL_AT_S = 15.0
LAST_ORDER_S, CANCELS_SENT_S = 1.0, 5.0
TRADING_AGAIN_S = 30.0
HOUR_S = 3_600


def _play(plan: Plan) -> Story:
    story = Teller(plan).play()
    assert violations(story) == {}
    return story


def _seconds(ts_ns: int) -> float:
    return (ts_ns - START_NS) / NS_PER_S


def _times(story: Story, kind: type) -> list[float]:
    return [_seconds(event.ts_ns) for event in events_of(story) if isinstance(event, kind)]


def _mute(target: str, seed: int, *, every_s: float, for_s: float) -> tuple[list[dict[str, object]], float]:
    """Mutings of one socket, spread over a run, and how long that run has to be."""
    begins = [10 + number * every_s + (seed * 7 + number * 3) % 10 / 10 for number in range(MUTE_PER_STORY)]
    faults = [{"fault": "ws_mute", "target": target, "at_s": at_s, "for_s": for_s} for at_s in begins]
    return faults, begins[-1] + every_s


@pytest.mark.slow
@pytest.mark.requirement("H1.1")
@pytest.mark.parametrize("seed", range(1, MUTE_CASES // MUTE_PER_STORY + 1))
def test_a_mute_market_socket_is_noticed_within_its_bound(seed: int) -> None:
    """Half-open, nothing comes: lost within five seconds and one, in all of fifty cases, and each time back again."""
    faults, seconds = _mute("market", seed, every_s=30, for_s=8)
    story = _play(Plan(seed=seed, seconds=seconds, faults=tuple(faults), pairs=CALM))
    lost, back = _times(story, FeedLost), _times(story, FeedConnected)
    for fault in faults:
        at_s = float(fault["at_s"])  # type: ignore[arg-type]
        assert any(at_s < lost_s <= at_s + MARKET_BOUND_S for lost_s in lost), (fault, lost)
        assert any(at_s < back_s <= at_s + 8 + TRADING_AGAIN_S for back_s in back)
    leave(f"mute-{seed:02d}", {"mute_cases": MUTE_PER_STORY})


@pytest.mark.slow
@pytest.mark.requirement("H1.1")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mute_account_socket_is_noticed_within_its_bound(seed: int) -> None:
    """The private stream, too: no answer to its keep-alive, and it is lost."""
    faults, seconds = _mute("user", seed, every_s=60, for_s=25)
    story = _play(Plan(seed=seed, seconds=seconds, faults=tuple(faults), pairs=CALM))
    lost, back = _times(story, UserLost), _times(story, UserConnected)
    for fault in faults:
        at_s = float(fault["at_s"])  # type: ignore[arg-type]
        assert any(at_s < lost_s <= at_s + USER_BOUND_S for lost_s in lost), (fault, lost)
        assert any(at_s < back_s <= at_s + 25 + TRADING_AGAIN_S for back_s in back)


@pytest.mark.requirement("B28")
@pytest.mark.requirement("H3.2")
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_kill_reaches_the_venue_at_once(seed: int) -> None:
    """The last order that raises risk arrives within a second of the kill, every cancel within five."""
    story = _play(Plan(seed=seed, seconds=60, pairs=ONE_SECOND, commands=((KILL_AT_S, "kill"),)))
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code) == ("kill", ExitCode.RISK_STOP)
    orders = [_seconds(note["ts_ns"]) for note in story.notes() if note["is_increasing"]]
    cancels = [_seconds(seen.ts_ns) for seen in story.requests if seen.path.endswith("cancel_orders")]
    after = [at_s for at_s in cancels if at_s >= KILL_AT_S]
    assert max(orders) <= KILL_AT_S + LAST_ORDER_S
    assert after
    assert min(after) <= KILL_AT_S + CANCELS_SENT_S


@pytest.mark.requirement("B3")
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_trading_goes_on_soon_after_the_venue_is_back(seed: int) -> None:
    """Twenty seconds without any of the venue, then an entry within thirty seconds."""
    at_s, for_s = 10.0, 20.0
    faults = [{"fault": name, "at_s": at_s, "for_s": for_s} for name in ("drop_connections", "refuse")]
    story = _play(Plan(seed=seed, seconds=90, faults=tuple(faults), pairs=(*ONE_SECOND, "risk.stale_timeout_s=60")))
    entries = [_seconds(event.ts_ns) for event in events_of(story) if isinstance(event, OrderIntent)]
    back_s = at_s + for_s
    assert any(back_s < entry_s <= back_s + TRADING_AGAIN_S for entry_s in entries)


@pytest.mark.requirement("B13")
@pytest.mark.parametrize("retry_after_s", [1.0, 2.0, 5.0])
def test_in_a_storm_of_refusals_requests_are_few_and_cancels_go_through(retry_after_s: float) -> None:
    """One try a window that the venue has asked for, two requests a second at most, cancels among them."""
    at_s, for_s = 15.0, 20.0
    fault = {"fault": "http_429", "target": "rest", "at_s": at_s, "for_s": for_s, "retry_after_s": retry_after_s}
    plan = Plan(seed=4, seconds=50, faults=(fault,), pairs=ONE_SECOND, commands=((at_s + 8, "flatten"),))
    story = _play(plan)
    # What was on its way when the storm began is no retry; the first refusals have arrived a second later.
    storm = [seen for seen in story.requests if at_s + 1 < _seconds(seen.ts_ns) < at_s + for_s]
    cancels = [seen for seen in storm if "cancel" in seen.path]
    others = [_seconds(seen.ts_ns) for seen in storm if "cancel" not in seen.path]
    assert cancels
    assert others
    assert min(later - sooner for sooner, later in pairwise(others)) >= retry_after_s - 0.01
    times = sorted(_seconds(seen.ts_ns) for seen in storm)
    assert all(third - first > 1 - 0.01 for first, third in zip(times, times[2:], strict=False))


@pytest.mark.slow
@pytest.mark.requirement("H1.2")
def test_a_quiet_but_healthy_venue_halts_nobody_for_an_hour() -> None:
    """No trades of others, slow frames, a trader who rests: the run lasts its hour, on one connection of each kind."""
    pairs = ("run.interval=1m",)
    slow = {"depth_ms": 2_000, "price_ms": 4_000, "ticker_ms": 4_000, "kline_ms": 4_000, "trades_per_s": 0.0}
    story = _play(Plan(seed=1, seconds=HOUR_S, pairs=pairs, venue=slow))
    ended = story.ended()
    assert ended is not None
    assert (ended.reason, ended.exit_code) == ("duration", ExitCode.COMPLETED)
    assert _times(story, FeedLost) == []
    assert _times(story, UserLost) == []
    assert len(_times(story, UserConnected)) == 1
