"""What a market remembers: a checkpoint anywhere is the market; only where an answer came from is not in its hash."""

from __future__ import annotations

import msgspec
import pytest

from agora import populate
from agora.domain.market_events import NewsArrived
from agora.domain.orders import Side
from agora.market.market import Market
from tests.market.markets import Scripted, answer, asked_market, begun, order, run_on, settings, tick


def copied(market: Market) -> Market:
    """Another market of the same settings, restored from a snapshot."""
    other = populate.build_market(settings())
    other.restore(market.snapshot())
    return other


@pytest.mark.parametrize("at", [0, 1, 7, 100])
def test_a_market_restored_anywhere_goes_on_as_the_first(at: int) -> None:
    """Equal at the cut, and after every tick of the forty that follow."""
    market = run_on(begun(settings()), at)
    other = copied(market)
    assert other.state_hash() == market.state_hash()
    for _ in range(40):
        assert tick(other) == tick(market)
    assert other.state_hash() == market.state_hash()
    assert market.state.trades > 0


def test_a_restored_market_shows_what_it_remembers() -> None:
    """The views of a restored market look at its own memory, not at that of before."""
    market = run_on(begun(settings()), 20)
    other = copied(market)
    run_on(other, 3)
    assert other.views[0].tick == 24
    assert list(other.views[0].closes_ticks("ARBO"))[:21] == list(market.views[0].closes_ticks("ARBO"))
    assert market.views[0].tick == 21


def test_answers_heard_before_a_checkpoint_are_remembered() -> None:
    """An answer that waits for its tick is in the snapshot, and is done by the restored market."""
    market = asked_market()
    market.step(answer(market, "agent-1", "buy 5@101"))
    market.step(answer(market, "agent-3", "sell 5@101"))
    other = asked_market()
    other.restore(market.snapshot())
    tick(other)
    tick(market)
    assert other.state.trades == 1
    assert other.state_hash() == market.state_hash()


@pytest.mark.parametrize("field", ["tick", "trades", "news", "digest", "closes_ticks", "announced", "heard"])
def test_the_hash_tells_every_difference(field: str) -> None:
    """Whatever part of the memory differs, the hash does."""
    market = run_on(begun(settings()), 3)
    before = market.state_hash()
    kept = getattr(market.state, field)
    changed = kept + 1 if isinstance(kept, int) else (kept + "x" if isinstance(kept, str) else [*kept, kept])
    setattr(market.state, field, [] if field == "closes_ticks" else changed)
    if field == "news":
        market.state.news = []
        market.step(NewsArrived(ts_ns=market.state.now_ns, text="x", tone=0.0))
    assert market.state_hash() != before


def test_the_hash_tells_a_difference_in_an_agents_mind() -> None:
    """What an agent has read is part of the market."""
    one, other = asked_market(), asked_market()
    one.step(answer(one, "agent-1", "note this"))
    other.step(answer(other, "agent-1", "note that"))
    tick(one)
    tick(other)
    assert one.state.digest == other.state.digest
    assert one.state_hash() != other.state_hash()


def test_the_hash_tells_what_the_crowd_believes_and_owns() -> None:
    """A value moved by a thousandth, or an order in the book, and the state is another one."""
    moved, ordered, market = (begun(settings()) for _ in range(3))
    assert moved.crowd is not None
    moved.crowd.shift_fundamental("ARBO", 0.001)
    ordered.engine.submit(0, order(Side.BUY, 1, 100))
    assert len({moved.state_hash(), ordered.state_hash(), market.state_hash()}) == 3


def test_where_an_answer_came_from_is_not_in_the_hash() -> None:
    """The same words from the provider or from a cassette lead to one state; counts and costs still tell them apart."""
    live, kept = asked_market(), asked_market()
    live.step(answer(live, "agent-1", "ok: buy 1@90", cost_units=5))
    kept.step(answer(kept, "agent-1", "cache: buy 1@90", cost_units=0))
    for market in (live, kept):
        tick(market)
        agent = market.seats[0].asking
        assert isinstance(agent, Scripted)
        agent.seen.clear()  # it remembers sources; an agent of the program does not
        market.state.seats[0].note = ""
    assert live.state_hash() == kept.state_hash()
    assert live.state.seats[0].outcomes != kept.state.seats[0].outcomes
    assert live.state.cost_units == 5


def test_a_snapshot_stays_small() -> None:
    """Closes, news, notes and counts are bounded: the memory of a thousand ticks is not that of ten times a hundred."""
    market = run_on(begun(settings()), 300)

    def size() -> int:
        return len(msgspec.json.encode(market.state))

    early = size()
    for number in range(300):
        market.step(NewsArrived(ts_ns=market.state.now_ns, text=f"item {number}", tone=0.0))
        tick(market)
    assert size() < early + 4_000
