"""Times the book kernel: a prepared stream of 50 % adds, 40 % cancels and 10 % marketable orders in one call."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from agora.kernels import matching as book_kernel
from agora.kernels.compiled import Rows, Words

Median = Callable[[Callable[[], float]], float]

LIVE_ORDERS = 1_000
ORDER_CAPACITY = 2_048
OWNERS = 100
# Some 4 ms: long beside the timer, short beside what else the machine does; commands and rows fit its last cache.
COMMANDS = 100_000
SINGLE_CALLS = 20_000
LISTING_PRICE = 1_000_000
# Where new orders come to rest, counted in ticks from the other side's touch: about 100 levels a side.
MEAN_DISTANCE_TICKS = 20.0
LOTS_MAX = 20
REPEATS = 99


class _Flow:
    """Draws commands that fit the book as it stands, and keeps the ids of what rests."""

    def __init__(self, seed: int) -> None:
        self.book = book_kernel.new_book(ORDER_CAPACITY, OWNERS)
        self.out = book_kernel.new_out(ORDER_CAPACITY)
        self.draws = random.Random(seed)
        self.live: list[int] = []
        self.owners: dict[int, int] = {}
        self.places: dict[int, int] = {}
        self.last_id = 0

    def add(self) -> list[int]:
        """A limit order that rests."""
        side = self.draws.choice((1, -1))
        other = int(self.book[book_kernel.ASK_PRICE if side == 1 else book_kernel.BID_PRICE]) or LISTING_PRICE
        distance = 1 + int(self.draws.expovariate(1 / MEAN_DISTANCE_TICKS))
        return self.submitted(side, book_kernel.GTC, other - side * distance, self.draws.randint(1, LOTS_MAX))

    def take(self) -> list[int]:
        """An order that trades at once; its size steers how many rest."""
        side = self.draws.choice((1, -1))
        touch = int(self.book[book_kernel.ASK_PRICE if side == 1 else book_kernel.BID_PRICE])
        lots_max = 4 * LOTS_MAX if len(self.live) > LIVE_ORDERS else LOTS_MAX // 4
        price = max(1, touch + side * 5)
        return self.submitted(side, book_kernel.IOC, price, self.draws.randint(1, lots_max))

    def cancel(self) -> list[int]:
        """The end of some resting order."""
        order_id = self.draws.choice(self.live)
        return [book_kernel.OP_CANCEL, order_id, self.owners[order_id], *[0] * 10]

    def submitted(self, side: int, tif: int, price: int, lots: int) -> list[int]:
        """A new order of some owner."""
        self.last_id += 1
        owner = self.draws.randrange(OWNERS)
        return [book_kernel.OP_SUBMIT, self.last_id, owner, side, book_kernel.LIMIT, tif, 0, price, 0, lots, 0, 2, 0]

    def play(self, command: list[int]) -> list[int]:
        """Let the book follow and note who lives."""
        words = np.array([command], dtype=np.int64)
        _, count = book_kernel.run_stream(self.book, words, self.out)
        for row in self.out[:count].tolist():
            self._note(row)
        if command[5] == book_kernel.GTC and book_kernel.order_at(self.book, command[1]):
            self.places[command[1]] = len(self.live)
            self.owners[command[1]] = command[2]
            self.live.append(command[1])
        return command

    def _note(self, row: list[int]) -> None:
        if row[book_kernel.CODE] == book_kernel.FILL and row[book_kernel.MAKER_REMAINING] == 0:
            self._forget(row[book_kernel.MAKER_ID])
        elif row[book_kernel.CODE] == book_kernel.CANCELLED and row[book_kernel.ROW_ORDER_ID] in self.places:
            self._forget(row[book_kernel.ROW_ORDER_ID])

    def _forget(self, order_id: int) -> None:
        place, moved = self.places.pop(order_id), self.live.pop()
        del self.owners[order_id]
        if moved != order_id:
            self.live[place] = moved
            self.places[moved] = place


def mixed_stream(commands: int, seed: int) -> tuple[Words, Rows]:
    """A book with its resting orders, and the commands to play on it."""
    flow = _Flow(seed)
    while len(flow.live) < LIVE_ORDERS:
        flow.play(flow.add())
    start = flow.book.copy()
    kinds = flow.draws.choices((flow.add, flow.cancel, flow.take), (50, 40, 10), k=commands)
    return start, np.array([flow.play(draw()) for draw in kinds], dtype=np.int64)


def _stream_s(start: Words, commands: Rows, out: Rows) -> float:
    book = start.copy()
    begin = time.perf_counter()
    played, _ = book_kernel.run_stream(book, commands, out)
    seconds = time.perf_counter() - begin
    assert played == len(commands)
    return seconds


def _single_s(start: Words, commands: list[list[int]], out: Rows) -> float:
    book = start.copy()
    begin = time.perf_counter()
    for command in commands:
        if command[0] == book_kernel.OP_CANCEL:
            book_kernel.cancel(book, out, command[1], command[2])
        else:
            book_kernel.submit(book, out, *command[1:])
    return time.perf_counter() - begin


def matching_figures(median: Median) -> dict[str, Any]:
    """Operations per second in one compiled call, and what one call from Python takes."""
    start, commands = mixed_stream(COMMANDS, seed=1)
    out = np.zeros((2 * COMMANDS + len(book_kernel.new_out(ORDER_CAPACITY)), book_kernel.OUT_COLUMNS), dtype=np.int64)
    _stream_s(start, commands, out)
    stream_s = sorted(_stream_s(start, commands, out) for _ in range(REPEATS))
    singles = commands[:SINGLE_CALLS].tolist()
    _single_s(start, singles, out)
    single_s = median(lambda: _single_s(start, singles, out))
    return {
        "resting_orders": int(start[book_kernel.ORDER_COUNT]),
        "commands": COMMANDS,
        "mixed_ops_per_s": round(COMMANDS / stream_s[REPEATS // 2]),
        "mixed_ops_per_s_best": round(COMMANDS / stream_s[0]),
        "ns_per_op": round(stream_s[REPEATS // 2] / COMMANDS * 1e9, 1),
        "one_call_from_python_us": round(single_s / SINGLE_CALLS * 1e6, 2),
    }
