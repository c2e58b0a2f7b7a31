"""Limits per minute: no window of 60 s holds more than the limit, and nobody waits longer than needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agora.domain.numbers import NS_PER_S
from agora.session.allowance import WINDOW_NS, Allowance

LIMIT = 10


def test_a_minute_has_room_for_the_limit_at_once_and_then_as_the_window_moves() -> None:
    """The limit may be used in one instant; the next may begin when the first is a minute old."""
    allowance = Allowance(3)
    for ts_ns in (0, 0, 5 * NS_PER_S):
        assert allowance.earliest_ns(1, now_ns=ts_ns) == ts_ns
        allowance.grant(1, start_ns=ts_ns)
    assert allowance.earliest_ns(1, now_ns=6 * NS_PER_S) == WINDOW_NS
    allowance.grant(1, start_ns=WINDOW_NS)
    assert allowance.earliest_ns(2, now_ns=7 * NS_PER_S) == 65 * NS_PER_S


def test_without_a_limit_everything_may_begin_now() -> None:
    """And nothing is remembered."""
    allowance = Allowance(0)
    for _ in range(1_000):
        allowance.grant(10**9, start_ns=5)
    assert allowance.earliest_ns(10**9, now_ns=7) == 7
    assert not allowance._grants


def test_more_than_the_limit_may_never_begin() -> None:
    """It is told apart from having to wait."""
    assert Allowance(5).earliest_ns(6, now_ns=0) is None


def test_what_was_not_used_is_given_back() -> None:
    """A corrected grant counts with its true amount, also when it is forgotten later."""
    allowance = Allowance(LIMIT)
    first = allowance.grant(LIMIT, start_ns=0)
    assert allowance.earliest_ns(1, now_ns=1) == WINDOW_NS
    allowance.correct(first, 4)
    assert allowance.earliest_ns(6, now_ns=1) == 1
    assert allowance.earliest_ns(LIMIT, now_ns=2 * WINDOW_NS) == 2 * WINDOW_NS
    allowance.correct(first, 8)
    assert allowance.earliest_ns(LIMIT, now_ns=2 * WINDOW_NS) == 2 * WINDOW_NS


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, LIMIT)), max_size=80))
def test_no_window_holds_more_than_the_limit(wishes: list[tuple[int, int]]) -> None:
    """Of any wishes at any times, granted as told, no 60 s hold more; the order of wishes is the order of starts."""
    allowance, now_ns = Allowance(LIMIT), 0
    granted: list[tuple[int, int]] = []
    for later_s, amount in wishes:
        now_ns += later_s * NS_PER_S // 10
        start_ns = allowance.earliest_ns(amount, now_ns=now_ns)
        assert start_ns is not None
        assert start_ns >= max(now_ns, granted[-1][0] if granted else 0)
        allowance.grant(amount, start_ns=start_ns)
        granted.append((start_ns, amount))
        assert sum(size for ts_ns, size in granted if start_ns - WINDOW_NS < ts_ns <= start_ns) <= LIMIT


@given(st.lists(st.integers(1, LIMIT), min_size=1, max_size=30), st.integers(1, LIMIT))
def test_nobody_waits_longer_than_needed(amounts: list[int], amount: int) -> None:
    """An instant before the earliest start the window would hold too much, or an earlier grant would be passed."""
    allowance = Allowance(LIMIT)
    granted: list[tuple[int, int]] = []
    for size in amounts:
        start_ns = allowance.earliest_ns(size, now_ns=0)
        assert start_ns is not None
        allowance.grant(size, start_ns=start_ns)
        granted.append((start_ns, size))
    start_ns = allowance.earliest_ns(amount, now_ns=0)
    assert start_ns is not None
    before_ns = start_ns - 1
    if before_ns >= granted[-1][0]:
        assert amount + sum(size for ts_ns, size in granted if before_ns - WINDOW_NS < ts_ns) > LIMIT
