"""The rules of the order book as scenarios, each played by the kernel and by its plain twin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numba import njit

from agora.kernels import matching as k
from agora.kernels import matching_rules as rules
from agora.kernels.compiled import Rows, Words
from tests.kernels.matching_scripts import Case, lines, played_by_kernel, played_by_twin

Play = Callable[[Case], tuple[list[str], str]]

TRADING = [
    Case(
        "orders that do not meet rest",
        "1 ann buy 10 @ 100\n 2 bob sell 5 @ 101",
        book="10@100 | 5@101",
    ),
    Case(
        "the better price trades first, at the resting order's price",
        "1 ann sell 5 @ 103\n 2 bob sell 5 @ 102\n 3 cid buy 7 @ 105",
        "3 takes 5 @ 102 from 2, 2 and 0 left\n 3 takes 2 @ 103 from 1, 0 and 3 left",
        "| 3@103",
    ),
    Case(
        "at one price the first comes first",
        "1 ann buy 5 @ 100\n 2 bob buy 5 @ 100\n 3 cid sell 7 @ 100",
        "3 takes 5 @ 100 from 1, 2 and 0 left\n 3 takes 2 @ 100 from 2, 0 and 3 left",
        "3@100 |",
    ),
    Case(
        "what a limit order does not trade rests",
        "1 ann sell 5 @ 100\n 2 bob buy 8 @ 100",
        "2 takes 5 @ 100 from 1, 3 and 0 left",
        "3@100 |",
    ),
    Case(
        "prices may be a billion ticks apart",
        "1 ann buy 1 @ 1\n 2 bob sell 1 @ 1000000000\n 3 cid sell 1 @ 1\n 4 cid buy 1 @ 1000000000",
        "3 takes 1 @ 1 from 1, 0 and 0 left\n 4 takes 1 @ 1000000000 from 2, 0 and 0 left",
    ),
    Case(
        "a market order takes every price and never rests",
        "1 ann sell 5 @ 100\n 2 ann sell 5 @ 900\n 3 bob buy 12 market",
        """3 takes 5 @ 100 from 1, 7 and 0 left
        3 takes 5 @ 900 from 2, 2 and 0 left
        3 cancelled 2: no liquidity""",
    ),
    Case("a market order finds nothing", "1 ann buy 5 market", "1 cancelled 5: no liquidity"),
    Case(
        "immediate or cancel gives up its remainder",
        "1 ann sell 5 @ 100\n 2 bob buy 8 @ 100 ioc",
        "2 takes 5 @ 100 from 1, 3 and 0 left\n 2 cancelled 3: remainder",
    ),
    Case(
        "fill or kill is refused whole when a lot is missing within its price",
        "1 ann sell 5 @ 100\n 2 ann sell 5 @ 102\n 3 bob buy 6 @ 101 fok",
        "3 rejected: not fillable",
        "| 5@100 5@102",
    ),
    Case(
        "fill or kill fills over several prices",
        "1 ann sell 5 @ 100\n 2 ann sell 5 @ 101\n 3 bob buy 10 @ 101 fok",
        "3 takes 5 @ 100 from 1, 5 and 0 left\n 3 takes 5 @ 101 from 2, 0 and 0 left",
    ),
    Case(
        "post-only is refused where it would trade and rests elsewhere",
        "1 ann sell 5 @ 100\n 2 bob buy 5 @ 100 post\n 3 bob buy 5 @ 99 post",
        "2 rejected: would cross",
        "5@99 | 5@100",
    ),
]

CHANGES = [
    Case(
        "a cancelled order is gone, once, and only by its owner",
        "1 ann buy 5 @ 100\n cancel 1 bob\n cancel 1 ann\n cancel 1 ann",
        "1 not cancelled: not yours\n 1 cancelled 5: requested\n 1 not cancelled: unknown order",
    ),
    Case(
        "cancel-all ends one owner's orders, the oldest first, waiting ones too",
        "1 ann buy 5 @ 100\n 2 bob buy 5 @ 100\n 3 ann buy 5 stop 120 market\n 4 ann sell 5 @ 110\n cancel-all ann",
        "1 cancelled 5: requested\n 3 cancelled 5: requested\n 4 cancelled 5: requested",
        "5@100 |",
    ),
    Case("nobody's orders cannot be cancelled", "cancel-all eve", "0 not cancelled: unknown account"),
    Case(
        "a smaller size keeps the place",
        "1 ann buy 5 @ 100\n 2 bob buy 5 @ 100\n replace 1 ann 3 @ 100\n 3 cid sell 4 @ 100",
        "1 replaced\n 3 takes 3 @ 100 from 1, 1 and 0 left\n 3 takes 1 @ 100 from 2, 0 and 4 left",
        "4@100 |",
    ),
    Case(
        "a larger size loses the place",
        "1 ann buy 5 @ 100\n 2 bob buy 5 @ 100\n replace 1 ann 6 @ 100\n 3 cid sell 6 @ 100",
        "1 replaced\n 3 takes 5 @ 100 from 2, 1 and 0 left\n 3 takes 1 @ 100 from 1, 0 and 5 left",
        "5@100 |",
    ),
    Case(
        "another price loses the place and may trade",
        "1 ann buy 5 @ 100\n 2 bob sell 3 @ 102\n replace 1 ann 5 @ 102",
        "1 replaced\n 1 takes 3 @ 102 from 2, 2 and 0 left",
        "2@102 |",
    ),
    Case(
        "a post-only order is not moved across",
        "1 ann buy 5 @ 100 post\n 2 bob sell 3 @ 102\n replace 1 ann 5 @ 102\n replace 1 ann 5 @ 101",
        "1 not replaced: would cross\n 1 replaced",
        "5@101 | 3@102",
    ),
    Case(
        "a waiting order keeps its trigger and its kind",
        "last 100\n 1 ann buy 5 stop 105 market\n replace 1 ann 7 @ 100\n replace 1 ann 7 @ 0\n cancel 1 ann",
        "1 not replaced: bad price\n 1 replaced\n 1 cancelled 7: requested",
    ),
    Case(
        "a cut order keeps its place until nothing is left",
        """1 ann buy 5 @ 100
        2 bob buy 5 @ 100
        cut 1 ann 2
        cut 1 bob 2
        cut 1 ann 0
        3 cid sell 1 @ 100
        cut 1 ann 9""",
        """1 cut 2: requested
        1 not cancelled: not yours
        1 not cancelled: bad size
        3 takes 1 @ 100 from 1, 0 and 2 left
        1 cancelled 2: requested""",
        "5@100 |",
    ),
    Case(
        "orders expire at their time and not before",
        "1 ann buy 5 @ 100 gtd 50\n 2 ann buy 5 @ 99 gtd 60\n time 49\n time 50\n time 50\n time 60",
        "1 expired 5\n 2 expired 5",
    ),
    Case(
        "waiting orders expire too",
        "last 100\n 1 ann buy 5 stop 105 market gtd 50\n time 50",
        "1 expired 5",
    ),
]

STOPS = [
    Case(
        "a buy stop fires when the price rises to it, as a market order",
        "last 100\n 1 ann sell 5 @ 105\n 2 ann sell 5 @ 107\n 3 bob buy 4 stop 105 market\n 4 cid buy 1 @ 105",
        "4 takes 1 @ 105 from 1, 0 and 4 left\n 3 triggered\n 3 takes 4 @ 105 from 1, 0 and 0 left",
        "| 5@107",
    ),
    Case(
        "a selling stop fires when the price falls to it, a profit on the other side",
        """last 100
        1 ann buy 9 @ 95
        2 bob sell 2 stop 95 market
        3 bob sell 2 profit 106 market
        4 cid sell 1 @ 95""",
        "4 takes 1 @ 95 from 1, 0 and 8 left\n 2 triggered\n 2 takes 2 @ 95 from 1, 0 and 6 left",
        "6@95 |",
    ),
    Case(
        "a stop-limit rests at its price once fired",
        "last 100\n 1 ann sell 1 @ 105\n 2 bob buy 4 @ 103 stop 105\n 3 cid buy 1 @ 105",
        "3 takes 1 @ 105 from 1, 0 and 0 left\n 2 triggered",
        "4@103 |",
    ),
    Case(
        "a stop whose price was passed acts at once",
        "last 100\n 1 ann sell 5 @ 101\n 2 bob buy 3 stop 100 market\n 3 bob sell 1 @ 102 profit 90",
        "2 triggered\n 2 takes 3 @ 101 from 1, 0 and 2 left\n 3 triggered",
        "| 2@101 1@102",
    ),
    Case(
        "without any price yet a stop waits",
        "1 ann sell 3 @ 99 stop 100\n 2 bob buy 1 @ 101\n 3 cid sell 1 @ 101",
        "3 takes 1 @ 101 from 2, 0 and 0 left",
    ),
    Case(
        "every price of a sweep counts, not only its last",
        "last 104\n 1 ann sell 1 @ 100\n 2 ann sell 1 @ 106\n 3 bob sell 2 @ 110 stop 101\n 4 cid buy 2 @ 106",
        "4 takes 1 @ 100 from 1, 1 and 0 left\n 4 takes 1 @ 106 from 2, 0 and 0 left\n 3 triggered",
        "| 2@110",
    ),
    Case(
        "the oldest fires first, whatever its trigger, after the match is done",
        """last 100
        1 ann buy 1 @ 90 stop 103
        2 ann buy 1 @ 91 stop 101
        3 bob sell 1 @ 101
        4 bob sell 1 @ 103
        5 cid buy 2 @ 103""",
        """5 takes 1 @ 101 from 3, 1 and 0 left
        5 takes 1 @ 103 from 4, 0 and 0 left
        1 triggered
        2 triggered""",
        "1@90 1@91 |",
    ),
    Case(
        "a fired stop may fire the next",
        """last 100
        1 ann sell 1 @ 101
        2 ann sell 1 @ 105
        3 bob buy 1 stop 101 market
        4 bob buy 1 @ 99 stop 105
        5 cid buy 1 @ 101""",
        """5 takes 1 @ 101 from 1, 0 and 0 left
        3 triggered
        3 takes 1 @ 105 from 2, 0 and 0 left
        4 triggered""",
        "1@99 |",
    ),
    Case(
        "a fired stop that may not trade as it wishes is given up",
        """last 100
        1 ann sell 2 @ 101
        2 bob buy 9 stop 101 market fok
        3 bob buy 1 @ 105 stop 101 post
        4 cid buy 1 @ 101""",
        """4 takes 1 @ 101 from 1, 0 and 1 left
        2 triggered
        2 cancelled 9: not fillable
        3 triggered
        3 cancelled 1: would cross""",
        "| 1@101",
    ),
]

OWN_BOOK = "1 ann sell 5 @ 100\n 2 bob sell 5 @ 101\n"
OWN = [
    Case(
        "the newest is cancelled",
        OWN_BOOK + "3 ann buy 7 @ 101 newest",
        "3 cancelled 7: self-trade",
        "| 5@100 5@101",
    ),
    Case(
        "the oldest is cancelled",
        OWN_BOOK + "3 ann buy 7 @ 101 oldest",
        "1 cancelled 5: self-trade\n 3 takes 5 @ 101 from 2, 2 and 0 left",
        "2@101 |",
    ),
    Case(
        "both are cancelled",
        OWN_BOOK + "3 ann buy 7 @ 101 both",
        "1 cancelled 5: self-trade\n 3 cancelled 7: self-trade",
        "| 5@101",
    ),
    Case(
        "both are made smaller by the smaller",
        OWN_BOOK + "3 ann buy 7 @ 101 decrement",
        "3 cuts 5 @ 100 from 1, 2 and 0 left\n 3 takes 2 @ 101 from 2, 0 and 3 left",
        "| 3@101",
    ),
    Case(
        "a smaller newcomer only makes the older smaller",
        OWN_BOOK + "3 ann buy 2 @ 101 decrement",
        "3 cuts 2 @ 100 from 1, 0 and 3 left",
        "| 3@100 5@101",
    ),
    Case(
        "what traded before meeting oneself stays traded",
        OWN_BOOK + "3 bob buy 9 @ 101 newest",
        "3 takes 5 @ 100 from 1, 4 and 0 left\n 3 cancelled 4: self-trade",
        "| 5@101",
    ),
    Case(
        "fill or kill does not count on lots behind one's own",
        OWN_BOOK + "3 ann buy 5 @ 101 fok\n 4 ann buy 5 @ 101 fok oldest",
        "3 rejected: not fillable\n 1 cancelled 5: self-trade\n 4 takes 5 @ 101 from 2, 0 and 0 left",
    ),
]

HUGE = 2**40 + 1
REFUSED = [
    ("1 eve buy 5 @ 100", "unknown account"),
    ("1 ann buy 0 @ 100", "bad size"),
    ("1 ann buy -5 @ 100", "bad size"),
    (f"1 ann buy {HUGE} @ 100", "too large"),
    ("1 ann buy 5 @ 0", "bad price"),
    ("1 ann buy 5 @ -7", "bad price"),
    (f"1 ann buy 5 @ {HUGE}", "too large"),
    ("1 ann buy 5 @ 100 market", "bad price"),
    ("1 ann buy 5 stop 0", "bad trigger"),
    ("1 ann buy 5 profit -1", "bad trigger"),
    (f"1 ann buy 5 stop {HUGE}", "too large"),
    ("1 ann buy 5 @ -1 stop 5", "bad price"),
    ("1 ann buy 5 @ 100 gtd 0", "bad expiry"),
    ("0 ann buy 5 @ 100", "bad combination"),
    ("1 ann buy 5 @ 100 post ioc", "bad combination"),
    ("1 ann buy 5 @ 100 post fok", "bad combination"),
    ("1 ann buy 5 market post", "bad combination"),
    ("9 ann buy 5 @ 100", "duplicate id"),
]
FULL = "\n".join(f"{number} ann buy 1 @ {number}" for number in range(1, 7)) + "\n"
CAPACITY = [
    Case(
        "a full book refuses what might rest",
        FULL + "7 bob sell 1 @ 6",
        "7 rejected: full",
        "1@1 1@2 1@3 1@4 1@5 1@6 |",
    ),
    Case(
        "a full book takes what cannot rest, and then has room",
        FULL + "7 bob sell 1 @ 6 ioc\n 8 bob sell 1 @ 7",
        "7 takes 1 @ 6 from 6, 0 and 0 left",
        "1@1 1@2 1@3 1@4 1@5 | 1@7",
    ),
]

CASES = [*TRADING, *CHANGES, *STOPS, *OWN, *CAPACITY]


@pytest.mark.parametrize("play", [played_by_kernel, played_by_twin])
class TestBook:
    """The rules, held by the kernel and by the twin alike."""

    @pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
    def test_a_scenario_is_told_as_expected(self, play: Play, case: Case) -> None:
        """The rows of the scenario and the book afterwards are those of the table."""
        answers, book = play(case)
        assert answers == lines(case.told)
        assert book.strip() == case.book

    @pytest.mark.parametrize("line, reason", REFUSED, ids=[line for line, _ in REFUSED])
    def test_an_order_that_is_none_is_refused(self, play: Play, line: str, reason: str) -> None:
        """The book says why, and stays as it was."""
        case = Case("", f"9 bob sell 5 @ 200\n{line}")
        answers, book = play(case)
        assert answers == [f"{line.split(maxsplit=1)[0]} rejected: {reason}"]
        assert book == "| 5@200"


def _limit(order_id: int, owner: int, side: int, price: int, size: int) -> tuple[int, ...]:
    return order_id, owner, side, k.LIMIT, k.GTC, 0, price, 0, size, 0, k.CANCEL_NEWEST, 0


@pytest.fixture
def book() -> Words:
    """Asks of two owners at three prices, a bid."""
    book, out = k.new_book(8, 3), k.new_out(8)
    for order in ((1, 0, -1, 101, 5), (2, 1, -1, 101, 4), (3, 0, -1, 103, 2), (4, 1, -1, 110, 9), (5, 2, 1, 90, 1)):
        k.submit(book, out, *_limit(*order))
    return book


@pytest.fixture
def out() -> Rows:
    """Room for any answer."""
    return k.new_out(8)


COSTS = [
    ("at any price", 20, 0, 2, (20, 5 * 101 + 4 * 101 + 2 * 103 + 9 * 110)),
    ("no more than asked for", 6, 0, 2, (6, 6 * 101)),
    ("within the limit", 20, 103, 2, (11, 9 * 101 + 2 * 103)),
    ("without one's own", 20, 0, 0, (13, 4 * 101 + 9 * 110)),
    ("nothing at that price", 20, 100, 2, (0, 0)),
]


@pytest.mark.parametrize("size, limit, owner, expected", [case[1:] for case in COSTS], ids=[case[0] for case in COSTS])
def test_cost_to_fill_counts_what_others_offer(
    book: Words, size: int, limit: int, owner: int, expected: tuple[int, int]
) -> None:
    """Lots and price times lots are those of the walk up the book, which stays as it is."""
    before = book.tobytes()
    assert k.cost_to_fill(book, k.BUY, size, limit, owner) == (min(size, expected[0]), expected[1])
    assert book.tobytes() == before


def test_a_cost_that_does_not_fit_says_so(out: Rows) -> None:
    """The largest price times the largest size is cut to `COST_MAX` instead of running over."""
    book = k.new_book(8, 3)
    k.submit(book, out, *_limit(1, 0, k.SELL, k.NUMBER_MAX, k.NUMBER_MAX))
    assert k.cost_to_fill(book, k.BUY, k.NUMBER_MAX, 0, 1) == (k.NUMBER_MAX, k.COST_MAX)


def test_the_header_shows_the_touch_and_the_last_price(book: Words, out: Rows) -> None:
    """Best prices, their sizes and the last trade stand in the header."""
    touch = [k.BID_PRICE, k.BID_SIZE, k.ASK_PRICE, k.ASK_SIZE, k.LAST_PRICE]
    assert book[touch].tolist() == [90, 1, 101, 9, 0]
    k.submit(book, out, *_limit(6, 2, k.BUY, 101, 9))
    assert book[touch].tolist() == [90, 1, 103, 2, 101]


def test_a_record_shows_the_order(book: Words) -> None:
    """`order_at` leads to the words of a live order, and to nothing for another."""
    at = k.order_at(book, 3)
    assert book[[at + k.PRICE, at + k.REMAINING, at + k.SIDE, at + k.OWNER]].tolist() == [103, 2, -1, 0]
    assert k.order_at(book, 99) == 0


def test_depth_gives_as_many_levels_as_there_is_room_for(book: Words) -> None:
    """Price, lots and number of orders, best first."""
    levels = np.zeros((2, 3), dtype=np.int64)
    assert k.depth(book, k.SELL, levels) == 2
    assert levels.tolist() == [[101, 9, 2], [103, 2, 1]]


def test_too_little_room_for_rows_is_an_error_before_anything_changes(book: Words) -> None:
    """A call that could run out of rows raises and leaves the book alone."""
    before = book.tobytes()
    with pytest.raises(ValueError, match="free rows"):
        k.cancel(book, np.zeros((4 * 5 + 15, k.OUT_COLUMNS), dtype=np.int64), 1, 0)
    assert book.tobytes() == before


def test_a_stream_stops_where_the_rows_end() -> None:
    """`run_stream` plays as many commands as surely fit and says how many."""
    commands = np.array([[k.OP_SUBMIT, *_limit(n, 0, 1, n, 1)] for n in range(1, 9)], dtype=np.int64)
    book = k.new_book(8, 1)
    played, rows = k.run_stream(book, commands, np.zeros((4 * 3 + 16 + 3, k.OUT_COLUMNS), dtype=np.int64))
    assert (played, rows) == (4, 4)
    assert book[k.ORDER_COUNT] == 4


@njit
def _fired_with_allowance(book: Words, out: Rows, allowed: int) -> tuple[int, int, int]:
    """Let a trade at 101 fire a stop, and allow it some lots; return who fires, rows, who fires then."""
    rules.place(book, out, 0, 8, 2, k.BUY, k.LIMIT, k.GTC, 0, 101, 0, 1, 0, k.CANCEL_NEWEST, 0)
    first = rules.next_triggered(book)
    rows = rules.activate(book, out, 0, first, allowed, k.INSUFFICIENT_FUNDS)
    return first, rows, rules.next_triggered(book)


@pytest.mark.parametrize("allowed, told", [(0, [(k.CANCELLED, 4, 0)]), (3, [(k.REDUCED, 1, 3), (k.FILL, 3, 0)])])
def test_a_caller_may_cut_a_triggered_order(
    book: Words, out: Rows, allowed: int, told: list[tuple[int, int, int]]
) -> None:
    """Between trigger and trades the pieces let money decide how much of an order acts."""
    k.set_last(book, 100)
    k.submit(book, out, 7, 2, k.BUY, k.STOP, k.GTC, 0, 0, 101, 4, 0, k.CANCEL_NEWEST, 0)
    first, count, following = _fired_with_allowance(book, out, allowed)
    rows = [(row[k.CODE], row[k.ROW_SIZE], row[k.ROW_REMAINING]) for row in out[:count].tolist()]
    assert (first, following) == (7, 0)
    assert rows == [(k.TRIGGERED, 4, 4), *told]
    assert out[1, k.REASON] == k.INSUFFICIENT_FUNDS


@pytest.mark.parametrize("capacities", [(0, 1), (2**20 + 1, 1), (1, 0), (1, 2**24 + 1)])
def test_a_book_has_sensible_limits(capacities: tuple[int, int]) -> None:
    """Capacities that cannot be served are refused."""
    with pytest.raises(ValueError, match="a book"):
        k.new_book(*capacities)
