"""The least change from live orders to wanted ones: places in the queue, budgets, and pairs that must not meet."""

from __future__ import annotations

import random

import numpy as np
import pytest

from agora.kernels import order_diff
from agora.kernels.compiled import Rows
from agora.kernels.quoting import DOWN, UP, WANT_COLUMNS
from agora.traders.pair_maker_settings import QuoteSettings
from agora.traders.pair_rules import diff_limits
from tests.kernels.quoting_twin import Bid, Budget, changes

pytestmark = pytest.mark.requirement("P3.2")

PLENTY = Budget(cancels=50, places=50, total_ticks=98)
PAIR = [Bid(UP, 49, 1_000, 0), Bid(DOWN, 48, 1_000, 0)]
SECOND = [Bid(UP, 48, 1_000, 1), Bid(DOWN, 47, 1_000, 1)]


def rows_of(bids: list[Bid], *, width: int, with_step: bool) -> Rows:
    """Bids as the kernel's rows."""
    rows = np.zeros((len(bids), width), dtype=np.int64)
    for row, bid in enumerate(bids):
        rows[row, :4] = (*bid[:3], bid.step if with_step else int(bid.is_cancelling))
    return rows


def asked(wanted: list[Bid], live: list[Bid], budget: Budget) -> tuple[list[int], list[Bid], int]:
    """The kernel's cancels, placements and what waits."""
    limits = diff_limits(
        QuoteSettings(),
        lots_min=budget.lots_min,
        cancels_max=budget.cancels,
        places_max=budget.places,
        total_ticks=budget.total_ticks,
    )
    out = np.zeros((len(wanted) + len(live), order_diff.DO_COLUMNS), dtype=np.int64)
    want_rows = rows_of(wanted, width=WANT_COLUMNS, with_step=True)
    live_rows = rows_of(live, width=order_diff.LIVE_COLUMNS, with_step=False)
    cancels, places, waiting = order_diff.diff(want_rows, len(wanted), live_rows, len(live), limits, out)
    placed = [Bid(*(int(word) for word in row)) for row in out[cancels : cancels + places]]
    return out[:cancels, order_diff.DO_ROW].tolist(), placed, waiting


def leaving(bid: Bid) -> Bid:
    """The same live order with its cancel under way."""
    return bid._replace(is_cancelling=True)


# name, wanted, live, budget, rows cancelled, placed (token, ticks, lots), waiting
CASES = [
    ("nothing to do", PAIR, PAIR, PLENTY, [], [], 0),
    ("an empty market", PAIR, [], PLENTY, [], [(UP, 49, 1_000), (DOWN, 48, 1_000)], 0),
    ("nothing is wanted", [], PAIR, PLENTY, [0, 1], [], 0),
    ("a size a little off stays", PAIR, [Bid(UP, 49, 1_250), Bid(DOWN, 48, 750)], PLENTY, [], [], 0),
    ("a partly filled order is topped up", PAIR, [Bid(UP, 49, 300), PAIR[1]], PLENTY, [], [(UP, 49, 700)], 0),
    ("what is missing is too small to send", PAIR, [Bid(UP, 49, 600), PAIR[1]], PLENTY, [], [], 0),
    ("too large is replaced", PAIR, [Bid(UP, 49, 1_251), PAIR[1]], PLENTY, [0], [(UP, 49, 1_000)], 0),
    (
        "several together are a wanted one",
        PAIR,
        [Bid(UP, 49, 600), Bid(UP, 49, 600), PAIR[1]],
        PLENTY,
        [],
        [],
        0,
    ),
    (
        "what is too much of several goes, the newest first",
        PAIR,
        [Bid(UP, 49, 600), Bid(UP, 49, 600), Bid(UP, 49, 600), PAIR[1]],
        PLENTY,
        [2],
        [],
        0,
    ),
    ("a cancel under way is not sent again", [], [leaving(PAIR[0]), PAIR[1]], PLENTY, [1], [], 0),
    (
        "an order on its way out is no wanted order",
        PAIR,
        [leaving(PAIR[0]), PAIR[1]],
        PLENTY,
        [],
        [(UP, 49, 1_000)],
        0,
    ),
    (
        "the dearest cancels come first",
        PAIR,
        [Bid(UP, 47, 500), Bid(UP, 55, 500), Bid(DOWN, 50, 500), *PAIR],
        Budget(cancels=2, places=50, total_ticks=98),
        [1, 2],
        [],
        1,
    ),
    (
        "placements wait while a cancel does",
        PAIR,
        [Bid(UP, 40, 500), Bid(UP, 41, 500)],
        Budget(cancels=1, places=50, total_ticks=98),
        [1],
        [],
        3,
    ),
    (
        "a small budget opens no single side",
        PAIR + SECOND,
        [],
        Budget(cancels=0, places=3, total_ticks=98),
        [],
        [(UP, 49, 1_000), (DOWN, 48, 1_000)],
        2,
    ),
    ("a budget of one opens nothing", PAIR, [], Budget(cancels=0, places=1, total_ticks=98), [], [], 2),
    (
        "a budget of one completes a step",
        PAIR,
        [PAIR[0]],
        Budget(cancels=0, places=1, total_ticks=98),
        [],
        [(DOWN, 48, 1_000)],
        0,
    ),
    (
        "a new bid waits for the old one it would make a dear pair with",
        [Bid(UP, 50, 1_000, 0), Bid(DOWN, 47, 1_000, 0)],
        [PAIR[0], Bid(DOWN, 49, 1_000)],
        PLENTY,
        [1, 0],
        [],
        2,
    ),
    (
        "and goes when that one is gone",
        [Bid(UP, 50, 1_000, 0), Bid(DOWN, 47, 1_000, 0)],
        [leaving(PAIR[0])],
        PLENTY,
        [],
        [(UP, 50, 1_000), (DOWN, 47, 1_000)],
        0,
    ),
]


@pytest.mark.parametrize(
    "wanted, live, budget, cancels, placed, waiting", [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_the_change_is_the_least(
    wanted: list[Bid],
    live: list[Bid],
    budget: Budget,
    cancels: list[int],
    placed: list[tuple[int, int, int]],
    waiting: int,
) -> None:
    """Which orders go, which come, and how many actions wait for a later call."""
    assert asked(wanted, live, budget) == (cancels, [Bid(*bid) for bid in placed], waiting)


def random_case(chance: random.Random) -> tuple[list[Bid], list[Bid], Budget]:
    """A random ladder, random live orders near it, a random budget."""
    up, down, spacing = chance.randrange(10, 60), chance.randrange(10, 39), chance.choice((1, 2))
    lots = chance.choice((500, 1_000, 3_000))
    wanted = [
        Bid(token, top - step * spacing, lots + chance.choice((0, 0, 300)), step)
        for step in range(chance.randrange(5))
        for token, top in ((UP, up), (DOWN, down))
    ]
    if chance.random() < 0.2:
        wanted = wanted[:1]
    live = [
        Bid(
            chance.choice((UP, DOWN)),
            chance.choice((up, down)) + chance.randrange(-4, 3),
            chance.choice((lots, lots, lots // 2, lots + 100, 2 * lots)),
            0,
            chance.random() < 0.15,
        )
        for _ in range(chance.randrange(9))
    ]
    return wanted, live, Budget(chance.choice((0, 1, 3, 50)), chance.choice((0, 1, 2, 5, 50)), up + down)


@pytest.mark.parametrize("seed", range(20))
def test_changes_are_those_of_the_twin_within_the_budget(seed: int) -> None:
    """Random ladders, orders and budgets: equal to the plain twin, and never more than the budget."""
    chance = random.Random(seed)
    for _ in range(200):
        wanted, live, budget = random_case(chance)
        cancels, placed, waiting = asked(wanted, live, budget)
        twin_cancels, twin_placed, twin_waiting = changes(wanted, live, budget)
        assert (cancels, waiting) == (twin_cancels, twin_waiting)
        assert [bid[:3] for bid in placed] == [bid[:3] for bid in twin_placed]
        assert len(cancels) <= budget.cancels
        assert len(placed) <= budget.places


@pytest.mark.parametrize("seed", range(20))
def test_repeated_calls_reach_the_wanted_ladder_and_then_rest(seed: int) -> None:
    """With any budget of at least two, cancels confirmed between calls, the live orders become the wanted ones.

    On the way no live order ever stands beside one of the other token that it costs too much with.
    """
    chance = random.Random(seed)
    for _ in range(40):
        wanted, live, budget = random_case(chance)
        budget = Budget(chance.choice((1, 4)), chance.choice((2, 5)), budget.total_ticks)
        live = [bid for bid in live if bid.ticks < budget.total_ticks // 2]
        for _ in range(40):
            cancels, placed, waiting = asked(wanted, live, budget)
            if not cancels and not placed and not any(bid.is_cancelling for bid in live):
                break
            live = [bid for row, bid in enumerate(live) if row not in cancels and not bid.is_cancelling] + placed
            highest = [max((bid.ticks for bid in live if bid.token == token), default=0) for token in (UP, DOWN)]
            assert not placed or 0 in highest or sum(highest) <= budget.total_ticks
        assert (cancels, placed, waiting) == ([], [], 0)
        for want in wanted:
            standing = sum(bid.lots for bid in live if bid[:2] == want[:2] and not bid.is_cancelling)
            assert standing <= want.lots * 1.25
            assert want.lots - standing < max(500, want.lots * 0.25 + 1)


def test_warming_up_compiles_the_signature_that_traders_call() -> None:
    """After it, a comparison needs no further compilation."""
    order_diff.warm_up()
    known = len(getattr(order_diff.diff, "signatures", []))
    asked(PAIR, PAIR, PLENTY)
    assert len(getattr(order_diff.diff, "signatures", [])) == known
