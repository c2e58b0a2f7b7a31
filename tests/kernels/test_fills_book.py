"""Paper fills against quotes and depth: the queue ahead of resting orders, and taking what is displayed."""

from __future__ import annotations

import pytest

from agora.kernels import fills as k
from tests.kernels.fill_scripts import (
    BOOK,
    BUY,
    PO,
    QUOTE,
    SELL,
    Case,
    Player,
    bar,
    book,
    ended,
    fill,
    limit,
    market,
    play_kernel,
    play_twin,
    quote,
    refused,
    take,
    trade,
)

QUEUE_CASES = [
    Case(
        "the touch of our own side is no fill",
        [quote(999, 50, 1002, 50), limit(1, BUY, 1000, 5), quote(1000, 50, 1002, 50), quote(998, 5, 1001, 5)],
        [],
    ),
    Case(
        "trades at the price consume the queue ahead before they fill",
        [QUOTE, limit(1, BUY, 1000, 10), trade(1000, 30, SELL), trade(1000, 25, SELL), trade(1000, 3, SELL)],
        [fill(1, 1000, 5), fill(1, 1000, 3)],
    ),
    Case(
        "a buyer's trade does not reach resting buys, an unknown one does",
        [QUOTE, limit(1, BUY, 1000, 10), trade(1000, 90, BUY), trade(1000, 55)],
        [fill(1, 1000, 5)],
    ),
    Case(
        "a trade beyond the price fills up to its size, whatever the queue",
        [QUOTE, limit(1, BUY, 1000, 10), trade(999, 4, SELL), trade(1000, 3, SELL)],
        [fill(1, 1000, 4), fill(1, 1000, 3)],
    ),
    Case(
        "one traded lot never fills two orders",
        [QUOTE, limit(1, BUY, 1001, 10), limit(2, BUY, 1001, 10), trade(1001, 15, SELL)],
        [fill(1, 1001, 10), fill(2, 1001, 5)],
    ),
    Case(
        "one trade of unknown side serves both sides only once",
        [QUOTE, limit(1, BUY, 1001, 10), limit(2, SELL, 1001, 10), trade(1001, 12)],
        [fill(1, 1001, 10), fill(2, 1001, 2)],
    ),
    Case(
        "half of the pro-rata cancels stood ahead: 100 of 140, 40 cancelled, 14 places",
        [
            quote(1000, 100, 1002, 5), limit(1, BUY, 1000, 10), quote(1000, 140, 1002, 5),
            quote(1000, 100, 1002, 5), trade(1000, 86, SELL), trade(1000, 4, SELL),
        ],
        [fill(1, 1000, 4)],
    ),
    Case(
        "with a full share cancels are pro-rata: 28 places",
        [
            quote(1000, 100, 1002, 5), limit(1, BUY, 1000, 10), quote(1000, 140, 1002, 5),
            quote(1000, 100, 1002, 5), trade(1000, 76, SELL),
        ],
        [fill(1, 1000, 4)],
        limits={"cancel_ahead_ppm": 1_000_000},
    ),
    Case(
        "with no share all cancels are behind us",
        [
            quote(1000, 100, 1002, 5), limit(1, BUY, 1000, 10), quote(1000, 140, 1002, 5),
            quote(1000, 100, 1002, 5), trade(1000, 100, SELL), trade(1000, 1, SELL),
        ],
        [fill(1, 1000, 1)],
        limits={"cancel_ahead_ppm": 0},
    ),
    Case(
        "a decrease that trades explain is not counted again as cancels",
        [
            quote(1000, 100, 1002, 5), limit(1, BUY, 1000, 10), quote(1000, 140, 1002, 5),
            trade(1000, 40, SELL), quote(1000, 100, 1002, 5), trade(1000, 60, SELL), trade(1000, 2, SELL),
        ],
        [fill(1, 1000, 2)],
    ),
    Case(
        "what is ahead never exceeds what is displayed",
        [QUOTE, limit(1, BUY, 1000, 10), quote(1000, 2, 1002, 50), trade(1000, 3, SELL)],
        [fill(1, 1000, 1)],
    ),
    Case(
        "inside the spread we are alone",
        [QUOTE, limit(1, BUY, 1001, 10), trade(1001, 4, SELL)],
        [fill(1, 1001, 4)],
    ),
    Case(
        "away from the touch the queue is unknown until the price becomes the touch",
        [
            QUOTE, limit(1, BUY, 998, 10), trade(998, 90, SELL), quote(998, 40, 1000, 5),
            trade(998, 45, SELL),
        ],
        [fill(1, 998, 5)],
    ),
    Case(
        "out of sight the queue stands still",
        [
            book((BUY, 1000, 50), (BUY, 999, 30), (SELL, 1002, 10)), limit(1, BUY, 999, 10),
            book((BUY, 1001, 5), (BUY, 1000, 50), (SELL, 1002, 10)),
            book((BUY, 1000, 50), (BUY, 999, 80), (SELL, 1002, 10)),
            trade(999, 33, SELL),
        ],
        [fill(1, 999, 3)],
    ),
    Case(
        "what a better priced order of ours got did not shorten the queue behind it",
        [
            QUOTE, limit(1, BUY, 1001, 10), limit(2, BUY, 1000, 10), trade(1000, 30, SELL),
            trade(1000, 30, SELL), trade(1000, 1, SELL),
        ],
        [fill(1, 1001, 10), fill(2, 1000, 1)],
    ),
    Case(
        "a leg that grows queues anew",
        [
            QUOTE, limit(1, BUY, 1001, 10), limit(2, SELL, 1002, 0, parent=1), trade(1001, 5, SELL),
            quote(1000, 50, 1002, 51), trade(1002, 41, BUY), trade(1001, 5, SELL), trade(1002, 60, BUY),
            quote(1000, 50, 1002, 52), trade(1002, 53, BUY),
        ],
        [fill(1, 1001, 5), fill(1, 1001, 5), fill(2, 1002, 1)],
    ),
    Case(
        "a lower size keeps the queue, a higher one does not",
        [
            QUOTE, limit(1, BUY, 1000, 10), trade(1000, 40, SELL), ("amend", (1, 0, 0, 8)),
            trade(1000, 12, SELL), ("amend", (1, 0, 0, 9)), trade(1000, 50, SELL), trade(1000, 1, SELL),
        ],
        [
            (k.AMENDED, 1, 1000, 8, 0), fill(1, 1000, 2), (k.AMENDED, 1, 1000, 9, 0), fill(1, 1000, 1),
        ],
    ),
]  # fmt: skip

TAKING_CASES = [
    Case(
        "a quote is walked a spread at a time",
        [quote(1000, 10, 1002, 10), market(1, BUY, 25)],
        [take(1, 1002, 10), take(1, 1004, 10), take(1, 1006, 5)],
    ),
    Case(
        "liquidity we took is gone until the quote changes",
        [
            quote(1000, 10, 1002, 10), market(1, BUY, 15), market(2, BUY, 6),
            quote(1000, 10, 1002, 10), market(3, BUY, 5), quote(1000, 10, 1002, 11), market(4, BUY, 5),
        ],
        [
            take(1, 1002, 10), take(1, 1004, 5), take(2, 1004, 5), take(2, 1006, 1), take(3, 1006, 5),
            take(4, 1002, 5),
        ],
    ),
    Case(
        "at most 100 guessed levels: 1,000 lots of 1,005, the rest works on",
        [quote(99_000, 10, 99_001, 10), market(1, BUY, 1005), ("cancel", (1,))],
        [*(take(1, 99_001 + n, 10) for n in range(100)), ended(1, 0, 5, k.REQUESTED)],
    ),
    Case(
        "a crossing quote fills us at our price up to its size, once",
        [
            QUOTE, limit(1, BUY, 1001, 10), quote(998, 5, 1000, 6), quote(998, 5, 1000, 6),
            quote(998, 5, 1000, 7),
        ],
        [fill(1, 1001, 6), fill(1, 1001, 4)],
    ),
    Case(
        "two orders share one crossing quote",
        [QUOTE, limit(1, BUY, 1000, 10), limit(2, BUY, 1001, 10), quote(998, 5, 1000, 14)],
        [fill(2, 1001, 10), fill(1, 1000, 4)],
    ),
    Case(
        "a crossed quote is ignored",
        [QUOTE, limit(1, BUY, 1001, 10), quote(1005, 5, 1000, 6)],
        [],
    ),
    Case(
        "IOC takes what its limit allows and ends",
        [quote(1000, 10, 1002, 10), limit(1, BUY, 1003, 15, tif=k.IOC)],
        [take(1, 1002, 10), ended(1, 1003, 5, k.IOC_REMAINDER)],
    ),
    Case(
        "FOK takes all or nothing of what is visible",
        [quote(1000, 10, 1002, 10), limit(1, BUY, 1003, 15, tif=k.FOK), limit(2, BUY, 1004, 15, tif=k.FOK)],
        [ended(1, 1003, 15, k.FOK_NOT_FILLABLE), take(2, 1002, 10), take(2, 1004, 5)],
    ),
    Case(
        "depth is walked level by level, each lot once",
        [BOOK, market(1, BUY, 25), market(2, BUY, 10), BOOK, market(3, BUY, 1)],
        [take(1, 1002, 10), take(1, 1003, 15), take(2, 1003, 5), take(2, 1005, 5), take(3, 1005, 1)],
    ),
    Case(
        "a level reported with another size is whole again",
        [BOOK, market(1, BUY, 10), book((SELL, 1002, 9), snapshot=False), market(2, BUY, 10)],
        [take(1, 1002, 10), take(2, 1002, 9), take(2, 1003, 1)],
    ),
    Case(
        "FOK on depth counts what we took as gone",
        [BOOK, market(1, BUY, 10), limit(2, BUY, 1003, 21, tif=k.FOK), limit(3, BUY, 1003, 20, tif=k.FOK)],
        [take(1, 1002, 10), ended(2, 1003, 21, k.FOK_NOT_FILLABLE), take(3, 1003, 20)],
    ),
    Case(
        "a market remainder takes the next liquidity that is shown",
        [book((BUY, 1000, 5), (SELL, 1002, 5)), market(1, BUY, 8), book((SELL, 1004, 9), snapshot=False)],
        [take(1, 1002, 5), take(1, 1004, 3)],
    ),
    Case(
        "crossed levels leave the side reported longer ago",
        [BOOK, book((BUY, 1003, 7), snapshot=False), market(1, BUY, 1), market(2, SELL, 1)],
        [take(1, 1005, 1), take(2, 1003, 1)],
    ),
    Case(
        "levels that cross within one message both leave",
        [
            book((BUY, 1003, 5), (BUY, 1000, 5), (SELL, 1002, 5), (SELL, 1005, 5)),
            market(1, BUY, 1), market(2, SELL, 1),
        ],
        [take(1, 1005, 1), take(2, 1000, 1)],
    ),
    Case(
        "depth that crosses resting orders fills them once and is gone",
        [
            BOOK, limit(1, BUY, 1001, 10), limit(2, BUY, 1001, 10),
            book((SELL, 1001, 12), snapshot=False), market(3, BUY, 1),
        ],
        [fill(1, 1001, 10), fill(2, 1001, 2), take(3, 1002, 1)],
    ),
    Case(
        "fills beyond the room for rows wait for the next event, none is lost",
        [quote(10_000, 1, 10_002, 1), market(1, BUY, 100), quote(10_000, 1, 10_002, 1)],
        [take(1, 10_002 + 2 * n, 1) for n in range(100)],
        100,
        limits={"order_capacity": 2},
    ),
    Case(
        "a full side drops its worst level",
        [BOOK, book((SELL, 1001, 4), snapshot=False), market(1, BUY, 30), market(2, BUY, 1, tif=k.IOC)],
        [take(1, 1001, 4), take(1, 1002, 10), ended(2, 0, 1, k.IOC_REMAINDER)],
        limits={"level_capacity": 2},
    ),
    Case(
        "without depth there is no market until the next snapshot",
        [
            BOOK, ("depth_lost", ()), market(1, BUY, 1), book((SELL, 1001, 4), snapshot=False),
            market(2, BUY, 1), BOOK, market(3, BUY, 1),
        ],
        [refused(1, 0, 1, k.NO_MARKET), refused(2, 0, 1, k.NO_MARKET), take(3, 1002, 1)],
    ),
    Case(
        "post-only refuses to take at the ask",
        [QUOTE, limit(1, BUY, 1002, 5, flags=PO), limit(2, BUY, 1001, 5, flags=PO)],
        [refused(1, 1002, 5, k.POST_ONLY_WOULD_CROSS)],
    ),
    Case(
        "a better input is believed over a worse one",
        [QUOTE, limit(1, BUY, 990, 5), bar(1000, 1000, 900, 900), market(2, SELL, 5)],
        [take(2, 1000, 5)],
    ),
]  # fmt: skip


@pytest.mark.parametrize("player", [play_kernel, play_twin])
@pytest.mark.parametrize("case", [*QUEUE_CASES, *TAKING_CASES], ids=lambda case: case.name)
def test_queues_and_liquidity_behave_as_computed_by_hand(case: Case, player: Player) -> None:
    """Both implementations report the hand-computed rows, no displayed or traded lot used twice."""
    facts, position = player(case)
    assert facts == case.facts
    assert case.position is None or position == case.position
