"""A real order-by-order stream rebuilt with the matching kernel, against the recorded best bid and ask."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agora.kernels import matching as k
from agora.kernels.compiled import Words

MESSAGES = "l3/lobster_AAPL_20120621_0930_1030_message_50.csv.gz"
STATES = "l3/lobster_AAPL_20120621_0930_1600_orderbook_1.csv.gz"
NEW, PARTIAL_CANCEL, DELETE, VISIBLE_EXECUTION, HIDDEN_EXECUTION = 1, 2, 3, 4, 5
ORDERS_OF_BEFORE = 84  # references to orders that rested before the recording began
STATES_OF_THE_HOUR = 23_436  # what of the day's answer key the messages reach, as its description says
# A state missed stays missed; without a bound the search would then skip ahead to a chance likeness.
SKIPPED_MAX = 200

Touch = tuple[int, ...]  # ask price, ask size, bid price, bid size


def _numbers(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt", encoding="ascii") as file:
        yield from csv.reader(file)


def _command(kind: int, order_id: int, size: int, price: int, side: int) -> list[int]:
    if kind == NEW:
        return [k.OP_SUBMIT, order_id, 0, side, k.LIMIT, k.GTC, 0, price, 0, size, 0, k.CANCEL_NEWEST, 0]
    op = k.OP_CANCEL if kind == DELETE else k.OP_REDUCE
    return [op, order_id, 0, 0, 0, 0, 0, 0, 0, size, 0, 0, 0]


def _rebuilt(path: Path) -> tuple[list[Touch], list[int], Words]:
    """Best bid and ask after each message that changed the book, the codes of all answers, and the book."""
    book, out = k.new_book(4_096, 1), k.new_out(4_096)
    touches: list[Touch] = []
    codes: list[int] = []
    for _, *words in _numbers(path):
        kind, *order = map(int, words)
        if kind == HIDDEN_EXECUTION:
            continue
        command = np.array([_command(kind, *order)], dtype=np.int64)
        _, count = k.run_stream(book, command, out)
        codes.extend(out[:count, k.CODE].tolist())
        touches.append(tuple(book[[k.ASK_PRICE, k.ASK_SIZE, k.BID_PRICE, k.BID_SIZE]].tolist()))
    return touches, codes, book


def _distinct(touches: Iterator[Touch] | list[Touch]) -> list[Touch]:
    return [touch for touch, _ in itertools.groupby(touches)]


def _found_in_order(wanted: list[Touch], touches: list[Touch]) -> int:
    """How many of the wanted states appear, one after the other."""
    found = place = 0
    for state in wanted:
        ahead = touches[place : place + SKIPPED_MAX]
        if state in ahead:
            found, place = found + 1, place + ahead.index(state) + 1
    return found


@pytest.fixture(scope="module")
def rebuilt(recorded_data: Path) -> tuple[list[Touch], list[int], Words]:
    """The hour, rebuilt once."""
    return _rebuilt(recorded_data / MESSAGES)


def test_every_message_finds_its_order(rebuilt: tuple[list[Touch], list[int], Words]) -> None:
    """Each new order rests without trading; only orders from before the recording are unknown."""
    _, codes, book = rebuilt
    assert codes.count(k.ACCEPTED) == 44_256
    assert codes.count(k.CANCEL_REJECTED) == ORDERS_OF_BEFORE
    assert set(codes) == {k.ACCEPTED, k.CANCELLED, k.REDUCED, k.CANCEL_REJECTED}
    assert book[k.ORDER_COUNT] == codes.count(k.ACCEPTED) - codes.count(k.CANCELLED)


def test_the_rebuilt_book_never_crosses(rebuilt: tuple[list[Touch], list[int], Words]) -> None:
    """The bid stays below the ask after every message."""
    touches, _, _ = rebuilt
    assert not [touch for touch in touches if touch[0] and touch[2] >= touch[0]]


def test_the_recorded_touch_is_reproduced_in_order(
    recorded_data: Path, rebuilt: tuple[list[Touch], list[int], Words]
) -> None:
    """At least 99.5 % of the distinct states of best bid and ask appear, in the recorded order."""
    touches, _, _ = rebuilt
    recorded = _distinct(tuple(map(int, row)) for row in _numbers(recorded_data / STATES))[:STATES_OF_THE_HOUR]
    found = _found_in_order(recorded, _distinct(touches))
    assert found / len(recorded) >= 0.995, f"{found} of {len(recorded)}"
