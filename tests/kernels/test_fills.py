"""Paper fills from candles and trades, brackets, triggers and the life of orders, one row per case."""

from __future__ import annotations

import numpy as np
import pytest

from agora.kernels import fills as k
from tests.kernels.fill_scripts import (
    BUY,
    CALM,
    FLAT,
    PO,
    QUOTE,
    RO,
    SELL,
    Case,
    Player,
    bar,
    ended,
    fill,
    fired,
    hold,
    limit,
    market,
    order,
    play_kernel,
    play_twin,
    quote,
    refused,
    stop,
    take,
    target,
    trade,
)

CANDLE_CASES = [
    Case("market buys half a spread above the close", [CALM, market(1, BUY, 30)], [take(1, 1001, 30)], 30),
    Case(
        "the half spread is rounded against both sides",
        [bar(2001, 2001, 2001, 2001), market(1, BUY, 5), market(2, SELL, 5)],
        [take(1, 2003, 5), take(2, 1999, 5)],
    ),
    Case(
        "a sale never goes below the lowest price",
        [bar(1, 1, 1, 1), market(1, SELL, 5)],
        [take(1, 1, 5)],
    ),
    Case(
        "a market order takes its share of each bar, from the open, until done",
        [
            bar(1000, 1000, 1000, 1000, 109), market(1, BUY, 25),
            bar(1010, 1020, 1000, 1015, 100), bar(1000, 1000, 1000, 1000, 9), bar(990, 990, 990, 990, 90),
        ],
        [take(1, 1001, 10), take(1, 1011, 10), take(1, 991, 5)],
    ),
    Case(
        "two orders share one bar's volume",
        [bar(1000, 1000, 1000, 1000, 100), market(1, BUY, 7), market(2, BUY, 7)],
        [take(1, 1001, 7), take(2, 1001, 3)],
    ),
    Case("touching a limit is no fill", [CALM, limit(1, BUY, 990, 5), bar(1000, 1000, 990, 1000)], []),
    Case(
        "passing a limit fills at the limit",
        [CALM, limit(1, BUY, 990, 5), bar(1000, 1000, 989, 1000)],
        [fill(1, 990, 5)],
    ),
    Case(
        "a gap past a limit fills at the limit, not better",
        [CALM, limit(1, SELL, 1010, 5), bar(1050, 1060, 1040, 1050)],
        [fill(1, 1010, 5)],
    ),
    Case(
        "better priced limits fill first, then older ones, within the volume",
        [
            CALM, limit(1, BUY, 990, 6), limit(2, BUY, 991, 6), limit(3, BUY, 990, 6),
            bar(1000, 1000, 980, 1000, 150),
        ],
        [fill(2, 991, 6), fill(1, 990, 6), fill(3, 990, 3)],
    ),
    Case(
        "a bar that reaches stop and target stops out",
        [
            CALM, hold(10), target(1, SELL, 1010, 10, flags=RO), stop(2, SELL, 990, 10, flags=RO),
            bar(1000, 1020, 980, 1015),
        ],
        [fired(2, 990, 10), take(2, 989, 10), ended(1, 0, 10, FLAT)],
        0,
    ),
    Case(
        "a bar that reaches stop and a limit exit stops out",
        [
            CALM, hold(10), limit(1, SELL, 1010, 10, flags=RO), stop(2, SELL, 990, 10, flags=RO),
            bar(1000, 1020, 980, 1015),
        ],
        [fired(2, 990, 10), take(2, 989, 10), ended(1, 1010, 10, FLAT)],
    ),
    Case(
        "a gap through a sell stop fills at the open",
        [CALM, hold(10), stop(1, SELL, 990, 10), bar(970, 980, 960, 975)],
        [fired(1, 990, 10), take(1, 969, 10)],
    ),
    Case(
        "a gap through a buy stop fills at the open",
        [CALM, hold(-10), stop(1, BUY, 1010, 10), bar(1030, 1040, 1025, 1030)],
        [fired(1, 1010, 10), take(1, 1031, 10)],
    ),
    Case(
        "a stop is hit by a touch",
        [CALM, hold(10), stop(1, SELL, 990, 10), bar(1000, 1000, 990, 995)],
        [fired(1, 990, 10), take(1, 989, 10)],
    ),
    Case(
        "what a bar's volume leaves of a stop goes on as a market order",
        [
            CALM, hold(10), stop(1, SELL, 990, 10), bar(1000, 1000, 985, 985, 40),
            bar(980, 985, 980, 985),
        ],
        [fired(1, 990, 10), take(1, 989, 4), take(1, 979, 6)],
        0,
    ),
    Case(
        "a take-profit gets half a spread less than its trigger even on a gap",
        [CALM, hold(10), target(1, SELL, 1010, 10), bar(1050, 1060, 1040, 1050)],
        [fired(1, 1010, 10), take(1, 1009, 10)],
    ),
    Case(
        "touching a take-profit is no hit",
        [CALM, hold(10), target(1, SELL, 1010, 10), bar(1000, 1010, 1000, 1005)],
        [],
    ),
    Case(
        "post-only counts half a spread beyond the close as crossing",
        [CALM, limit(1, BUY, 1000, 5, flags=PO), limit(2, BUY, 1001, 5, flags=PO)],
        [refused(2, 1001, 5, k.POST_ONLY_WOULD_CROSS)],
    ),
    Case(
        "a limit beyond half a spread takes, the rest stays at its limit",
        [bar(1000, 1000, 1000, 1000, 100), limit(1, BUY, 1002, 15), bar(1005, 1005, 1001, 1005)],
        [take(1, 1001, 10), fill(1, 1002, 5)],
    ),
    Case("an order before any market is refused", [market(1, BUY, 5)], [refused(1, 0, 5, k.NO_MARKET)]),
    Case("a malformed bar is ignored", [bar(1000, 990, 1010, 1000), market(1, BUY, 5)], [
        refused(1, 0, 5, k.NO_MARKET),
    ]),
]  # fmt: skip

BRACKET_CASES = [
    Case(
        "an entry and its stop in one bar: in and out",
        [
            CALM, limit(1, BUY, 990, 10), stop(2, SELL, 980, parent=1, flags=RO),
            target(3, SELL, 1005, parent=1, flags=RO), bar(1000, 1010, 975, 1000),
        ],
        [fill(1, 990, 10), fired(2, 980, 10), take(2, 979, 10), ended(3, 0, 10, FLAT)],
        0,
    ),
    Case(
        "an entry and its target in one bar: the target waits",
        [
            CALM, limit(1, BUY, 990, 10), target(2, SELL, 1005, parent=1, flags=RO),
            limit(3, SELL, 1006, 0, parent=1, flags=RO),
            bar(1000, 1010, 985, 1000), bar(1000, 1006, 1000, 1000),
        ],
        [fill(1, 990, 10), fired(2, 1005, 10), take(2, 1004, 10), ended(3, 1006, 10, FLAT)],
    ),
    Case(
        "a gap beyond entry and stop costs the whole way",
        [CALM, limit(1, BUY, 990, 10), stop(2, SELL, 980, parent=1, flags=RO), bar(950, 960, 940, 950)],
        [fill(1, 990, 10), fired(2, 980, 10), take(2, 949, 10)],
    ),
    Case(
        "legs die with an unfilled parent",
        [
            CALM, limit(1, BUY, 990, 10), stop(2, SELL, 980, parent=1), target(3, SELL, 1005, parent=1),
            ("cancel", (1,)),
        ],
        [
            ended(1, 990, 10, k.REQUESTED), ended(2, 0, 0, k.PARENT_GONE), ended(3, 0, 0, k.PARENT_GONE),
        ],
    ),
    Case(
        "legs cover exactly what the parent filled, and outlive it",
        [
            CALM, limit(1, BUY, 990, 10), stop(2, SELL, 980, parent=1, flags=RO),
            bar(1000, 1000, 985, 1000, 40), ("cancel", (1,)), bar(1000, 1000, 975, 980),
        ],
        [fill(1, 990, 4), ended(1, 990, 6, k.REQUESTED), fired(2, 980, 4), take(2, 979, 4)],
        0,
    ),
    Case(
        "legs sent after their parent was done cover it",
        [CALM, market(1, BUY, 10), stop(2, SELL, 980, parent=1, flags=RO), bar(1000, 1000, 975, 980)],
        [take(1, 1001, 10), fired(2, 980, 10), take(2, 979, 10)],
        0,
    ),
    Case(
        "a leg of a parent nobody knows is refused",
        [CALM, stop(2, SELL, 980, parent=1)],
        [refused(2, 0, 0, k.PARENT_GONE)],
    ),
    Case(
        "a leg laid off while flat covers the parent's next fills",
        [
            CALM, limit(1, BUY, 990, 10), stop(2, SELL, 980, parent=1, flags=RO),
            bar(1000, 1000, 985, 1000, 40), market(3, SELL, 4), bar(1000, 1000, 985, 1000, 80),
            bar(1000, 1000, 980, 980),
        ],
        [
            fill(1, 990, 4), take(3, 999, 4), (k.AMENDED, 2, 0, 0, FLAT), fill(1, 990, 4),
            fired(2, 980, 4), take(2, 979, 4), fill(1, 990, 2), fired(2, 980, 2), take(2, 979, 2),
        ],
        0,
    ),
]  # fmt: skip

TRIGGER_CASES = [
    Case(
        "a sell stop is hit by the bid and then takes it",
        [QUOTE, hold(10), stop(1, SELL, 995, 10), quote(996, 50, 997, 50), quote(995, 50, 997, 50)],
        [fired(1, 995, 10), take(1, 995, 10)],
    ),
    Case(
        "a stop is hit by a trade",
        [QUOTE, hold(10), stop(1, SELL, 995, 10), trade(995, 1)],
        [fired(1, 995, 10), take(1, 1000, 10)],
    ),
    Case(
        "a stop already hit triggers on arrival",
        [QUOTE, stop(1, BUY, 1002, 10)],
        [fired(1, 1002, 10), take(1, 1002, 10)],
    ),
    Case(
        "a take-profit needs the bid, not a trade",
        [QUOTE, hold(10), target(1, SELL, 1005, 10), trade(1006, 9), quote(1005, 4, 1006, 9)],
        [fired(1, 1005, 10), take(1, 1005, 4), take(1, 1004, 4), take(1, 1003, 2)],
    ),
    Case(
        "an entry that a trade fills arms its stop at once",
        [
            QUOTE, limit(1, BUY, 998, 10), stop(2, SELL, 997, parent=1, flags=RO), trade(996, 10, SELL),
        ],
        [fill(1, 998, 10), fired(2, 997, 10), take(2, 1000, 10)],
        0,
    ),
    Case(
        "trades alone: at the price no fill, beyond it our share",
        [trade(1000, 100), limit(1, BUY, 990, 50), trade(990, 900), trade(989, 109)],
        [fill(1, 990, 10)],
    ),
    Case(
        "an entry that a crossing quote fills arms its stop at once",
        [
            QUOTE, limit(1, BUY, 998, 10), stop(2, SELL, 997, parent=1, flags=RO), quote(996, 50, 998, 50),
        ],
        [fill(1, 998, 10), fired(2, 997, 10), take(2, 996, 10)],
        0,
    ),
    Case(
        "trades alone: a fill does not bring us to the front of an unseen queue",
        [trade(1000, 100), limit(1, BUY, 990, 50), trade(989, 100), trade(990, 900)],
        [fill(1, 990, 10)],
    ),
    Case(
        "trades alone: market orders take our share of each trade half a spread off",
        [trade(1000, 100), market(1, SELL, 15), trade(1010, 9), trade(1010, 90)],
        [take(1, 999, 10), take(1, 1009, 5)],
    ),
    Case(
        "trades alone: stops at the trigger, take-profits beyond it",
        [
            trade(1000, 100), hold(20), stop(1, SELL, 990, 10), target(2, SELL, 1010, 10),
            trade(1010, 500), trade(990, 500), trade(1011, 500),
        ],
        [fired(1, 990, 10), take(1, 989, 10), fired(2, 1010, 10), take(2, 1010, 10)],
    ),
    Case(
        "trades alone: post-only may join the last price, not pass it",
        [trade(1000, 100), limit(1, BUY, 1000, 5, flags=PO), limit(2, BUY, 1001, 5, flags=PO)],
        [refused(2, 1001, 5, k.POST_ONLY_WOULD_CROSS)],
    ),
]  # fmt: skip

LIFE_CASES = [
    Case(
        "reduce-only without a position against it is refused",
        [QUOTE, hold(5), limit(1, BUY, 990, 5, flags=RO), hold(0), market(2, SELL, 5, flags=RO)],
        [refused(1, 990, 5, k.REDUCE_ONLY_NO_POSITION), refused(2, 0, 5, k.REDUCE_ONLY_NO_POSITION)],
    ),
    Case(
        "reduce-only is clipped to the position and ends when flat",
        [
            QUOTE, hold(5), limit(1, SELL, 1010, 9, flags=RO), stop(2, SELL, 900, 9, flags=RO),
            market(3, SELL, 9, flags=RO),
        ],
        [take(3, 1000, 5), ended(1, 1010, 9, FLAT), ended(2, 0, 9, FLAT), ended(3, 0, 4, FLAT)],
        0,
    ),
    Case(
        "reduce-only ends when the position turns round",
        [QUOTE, hold(5), limit(1, SELL, 1010, 9, flags=RO), market(2, SELL, 9)],
        [take(2, 1000, 9), ended(1, 1010, 9, FLAT)],
        -4,
    ),
    Case(
        "GTD ends at its time, not before",
        [QUOTE, limit(1, BUY, 990, 5, tif=k.GTD, until=41), limit(2, BUY, 990, 5, tif=k.GTD, until=40),
         ("advance", ()), ("advance", ())],
        [(k.EXPIRED, 2, 990, 5, 0), (k.EXPIRED, 1, 990, 5, 0)],
    ),
    Case(
        "an order that expires before it arrives is refused",
        [QUOTE, limit(1, BUY, 990, 5, tif=k.GTD, until=20)],
        [refused(1, 990, 5, k.EXPIRED_ON_ARRIVAL)],
    ),
    Case(
        "the venue holds no more orders than its capacity",
        [QUOTE, limit(1, BUY, 990, 5), limit(2, BUY, 990, 5), limit(3, BUY, 990, 5), ("cancel", (1,)),
         limit(4, BUY, 990, 5)],
        [refused(3, 990, 5, k.CAPACITY), ended(1, 990, 5, k.REQUESTED)],
        limits={"order_capacity": 2},
    ),
    Case(
        "a live id is not taken twice",
        [QUOTE, limit(1, BUY, 990, 5), limit(1, BUY, 991, 5)],
        [refused(1, 991, 5, k.DUPLICATE_ID)],
    ),
    Case(
        "cancels and amendments of absent orders say whether they were ever there",
        [QUOTE, market(1, BUY, 5), ("cancel", (1,)), ("cancel", (2,)), ("amend", (1, 5, 0, 0)),
         ("amend", (2, 5, 0, 0))],
        [
            take(1, 1002, 5), (k.CANCEL_REJECTED, 1, 0, 0, k.ALREADY_DONE),
            (k.CANCEL_REJECTED, 2, 0, 0, k.UNKNOWN_ORDER), (k.AMEND_REJECTED, 1, 5, 0, k.ALREADY_DONE),
            (k.AMEND_REJECTED, 2, 5, 0, k.UNKNOWN_ORDER),
        ],
    ),
    Case(
        "an amended price may take, unless post-only forbids it",
        [QUOTE, limit(1, BUY, 990, 5), limit(2, BUY, 990, 5, flags=PO), ("amend", (1, 1002, 0, 0)),
         ("amend", (2, 1002, 0, 0))],
        [
            (k.AMENDED, 1, 1002, 5, 0), take(1, 1002, 5),
            (k.AMEND_REJECTED, 2, 1002, 0, k.POST_ONLY_WOULD_CROSS),
        ],
    ),
    Case(
        "cancel all leaves nothing, legs included",
        [QUOTE, limit(1, BUY, 990, 5), stop(2, SELL, 980, parent=1), ("cancel_all", ())],
        [ended(1, 990, 5, k.REQUESTED), ended(2, 0, 0, k.REQUESTED)],
    ),
    Case(
        "numbers that are no order are refused",
        [QUOTE, limit(1, 0, 990, 5), limit(2, BUY, 0, 5), limit(3, BUY, 990, 0), stop(4, BUY, 0, 5),
         order(5, BUY, 9, 5)],
        [
            refused(1, 990, 5, k.INVALID), refused(2, 0, 5, k.INVALID), refused(3, 990, 0, k.INVALID),
            refused(4, 0, 5, k.INVALID), refused(5, 0, 5, k.INVALID),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize("player", [play_kernel, play_twin])
@pytest.mark.parametrize(
    "case", [*CANDLE_CASES, *BRACKET_CASES, *TRIGGER_CASES, *LIFE_CASES], ids=lambda case: case.name
)
def test_orders_fill_and_end_as_computed_by_hand(case: Case, player: Player) -> None:
    """Both implementations report the hand-computed rows of each rule, and the position they add up to."""
    facts, position = player(case)
    assert facts == case.facts
    assert case.position is None or position == case.position


@pytest.mark.requirement("H2.2")
@pytest.mark.parametrize("side, expected", [(BUY, 100_050), (SELL, 99_950)])
def test_without_ticks_a_market_order_fills_five_basis_points_off_the_close(side: int, expected: int) -> None:
    """A candle's close of 100,000 fills buys at +5 bps and sells at -5 bps with the shipped settings."""
    buf, out = k.create(), k.new_out()
    k.on_candle(buf, out, 1, 100_000, 100_000, 100_000, 100_000, 1000)
    n = k.arrive(buf, out, 2, 1, side, k.MARKET, k.GTC, 0, 0, 0, 10, 0, 0)
    assert [tuple(row[:4]) for row in out[:n].tolist()] == [(k.ACCEPTED, 1, 0, 10), (k.FILL, 1, expected, 10)]


def test_a_restored_checkpoint_continues_like_the_original() -> None:
    """The buffer's bytes are the whole state: a copy made of them reports the same as the original."""
    buf, out, out_again = k.create(order_capacity=4), k.new_out(), k.new_out()
    k.on_quote(buf, out, 1, 1000, 50, 1002, 50)
    k.arrive(buf, out, 2, 1, BUY, k.LIMIT, k.GTC, 0, 1000, 0, 10, 0, 0)
    k.on_trade(buf, out, 3, 1000, 45, SELL)
    again = k.restore(buf.tobytes())
    n = k.on_trade(buf, out, 4, 1000, 9, SELL)
    assert k.on_trade(again, out_again, 4, 1000, 9, SELL) == n == 1
    assert out[0].tolist() == out_again[0].tolist() == [k.FILL, 1, 1000, 4, 0, 6]
    assert buf.tobytes() == again.tobytes()


def test_an_output_that_is_too_small_is_refused_before_anything_changes() -> None:
    """A call with too few rows raises and leaves the buffer untouched."""
    buf = k.create(order_capacity=4)
    before = buf.tobytes()
    with pytest.raises(ValueError, match="rows"):
        k.advance(buf, np.zeros((79, 6), dtype=np.int64), 1)
    assert buf.tobytes() == before


def test_readers_say_what_was_seen() -> None:
    """Position, touches, last price, level, market price and open orders are read from the buffer."""
    buf, out = k.create(), k.new_out()
    assert (k.input_level(buf), k.market_fill_price(buf, BUY), k.remaining(buf, 1)) == (k.SEEN_NOTHING, 0, -1)
    k.on_candle(buf, out, 1, 1000, 1000, 1000, 1000, 10)
    assert (k.input_level(buf), k.last_price(buf), k.best_bid(buf)) == (k.CANDLES, 1000, 0)
    assert (k.market_fill_price(buf, BUY), k.market_fill_price(buf, SELL)) == (1001, 999)
    k.on_trade(buf, out, 2, 1005, 1, BUY)
    k.on_quote(buf, out, 3, 1004, 1, 1006, 2)
    assert (k.best_bid(buf), k.best_ask(buf), k.last_price(buf)) == (1004, 1006, 1005)
    assert (k.input_level(buf), k.market_fill_price(buf, SELL)) == (k.QUOTES, 1004)
    k.arrive(buf, out, 4, 1, BUY, k.LIMIT, k.GTC, 0, 1000, 0, 7, 0, 0)
    k.set_position(buf, -3)
    assert (k.open_count(buf), k.remaining(buf, 1), k.position(buf)) == (1, 7, -3)


@pytest.mark.parametrize(
    "limits",
    [{"order_capacity": 0}, {"level_capacity": 0}, {"half_spread_ppm": -1}, {"participation_ppm": 1_000_001}],
)
def test_impossible_limits_are_refused(limits: dict[str, int]) -> None:
    """A buffer is not made with empty capacities or shares outside 0 to 100 %."""
    with pytest.raises(ValueError, match=r"must be positive|lies between"):
        k.create(**limits)
