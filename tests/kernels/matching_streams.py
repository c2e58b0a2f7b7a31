"""Seeded random commands for the book, played through the kernel and through its twin."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from agora.kernels import matching as k
from agora.kernels.compiled import Rows, Words
from tests.kernels.book_twin import BookTwin, Command, Row

OWNERS = 5
LISTING = 1000


class Stream:
    """Draws commands from one seed. Prices stay near 1000, so that orders meet; ids and times rise."""

    def __init__(self, seed: int) -> None:
        """Choose the limits: small books run full, large ones grow levels."""
        self.seed = seed
        self.rng = random.Random(seed)
        self.order_capacity = self.rng.choice([3, 12, 60, 60, 200])
        self.reach = self.rng.choice([3, 10, 60])
        self.share_of_conditional = self.rng.choice([0.0, 0.1, 0.4])
        self.listing = self.rng.choice([0, LISTING])
        self.middle, self.now, self.next_id = LISTING, 0, 1
        self.prices: dict[int, int] = {}

    def commands(self, count: int) -> list[Command]:
        """Draw `count` commands."""
        return [self._command() for _ in range(count)]

    def _command(self) -> Command:
        self.now += self.rng.randint(0, 2)
        self.middle = max(900, min(1100, self.middle + self.rng.randint(-1, 1)))
        chance = self.rng.random()
        if chance < 0.72:
            return self._submit()
        if chance < 0.80:
            return self._change(k.OP_CANCEL)
        if chance < 0.89:
            return self._change(k.OP_REPLACE)
        if chance < 0.97:
            return self._change(k.OP_REDUCE)
        if chance < 0.98:
            return (k.OP_CANCEL_ALL, 0, self.rng.randint(-1, OWNERS), *[0] * 10)
        return (k.OP_EXPIRE, *[0] * 11, self.now)

    def _price(self) -> int:
        return self._spoilt(self.middle + self.rng.randint(-self.reach, self.reach))

    def _size(self) -> int:
        return self._spoilt(self.rng.randint(1, 30))

    def _spoilt(self, number: int) -> int:
        return number if self.rng.random() > 0.005 else self.rng.choice([0, -1, k.NUMBER_MAX, k.NUMBER_MAX + 1])

    def _owner(self) -> int:
        return self.rng.randrange(OWNERS) if self.rng.random() > 0.005 else self.rng.choice([-1, OWNERS])

    def _change(self, op: int) -> Command:
        order_id = max(1, self.next_id - int(self.rng.expovariate(1 / self.order_capacity)) - 1)
        owner = order_id % OWNERS if self.rng.random() > 0.05 else 0
        # Half of the replacements stay at their price: only those may keep their place.
        price = self._price() if self.rng.random() < 0.5 else self.prices.get(order_id, 0)
        return (op, order_id, owner, 0, 0, 0, 0, price, 0, self._size(), 0, 0, self.now)

    def _submit(self) -> Command:
        rng = self.rng
        order_id = self.next_id if rng.random() > 0.01 else max(0, self.next_id - rng.randint(1, 9))
        self.next_id += 1
        owner = order_id % OWNERS if rng.random() > 0.01 else self._owner()
        is_conditional = rng.random() < self.share_of_conditional
        kind = rng.choice([k.STOP, k.TAKE_PROFIT] if is_conditional else [k.LIMIT] * 9 + [k.MARKET])
        tif = rng.choice([k.GTC] * 5 + [k.GTD, k.IOC, k.FOK] if rng.random() > 0.005 else [0, 5])
        flags = rng.choice([0, 0, 0, k.POST_ONLY, k.REDUCE_ONLY] if rng.random() > 0.005 else [-1, 4])
        side = rng.choice([k.BUY, k.SELL])
        # Most prices lie on the own side of the middle, so that levels grow deep before they are taken.
        price = self._spoilt(self.middle - side * rng.randint(-2, self.reach))
        if kind == k.MARKET or (is_conditional and rng.random() < 0.5):
            price = 0
        self.prices[order_id] = price
        trigger = self._price() if is_conditional else 0
        expire_ts = self.now + rng.randint(0, 40) if tif == k.GTD else 0
        self_trade = rng.randint(1, 4) if rng.random() > 0.005 else rng.choice([0, 5])
        return (k.OP_SUBMIT, order_id, owner, side, kind, tif, flags, price, trigger, self._size(), expire_ts,
                self_trade, self.now)  # fmt: skip


def new_kernel_book(stream: Stream) -> Words:
    """An empty book with the stream's limits and listing price."""
    book = k.new_book(stream.order_capacity, OWNERS)
    k.set_last(book, stream.listing)
    return book


def new_twin(stream: Stream) -> BookTwin:
    """The twin of `new_kernel_book`."""
    twin = BookTwin(stream.order_capacity, OWNERS)
    twin.last = stream.listing
    return twin


def play_kernel(book: Words, commands: Sequence[Command], out: Rows) -> list[Row]:
    """All rows of the commands, in as many compiled calls as the room for rows asks for."""
    rest = np.array(commands, dtype=np.int64)
    rows: list[Row] = []
    while len(rest):
        played, count = k.run_stream(book, rest, out)
        assert played, "out has too little room for one command"
        rows.extend(map(tuple, out[:count].tolist()))
        rest = rest[played:]
    return rows


def kernel_depth(book: Words, side: int) -> list[tuple[int, ...]]:
    """All levels of a side."""
    levels = np.zeros((int(book[k.ORDER_CAPACITY]), 3), dtype=np.int64)
    return [tuple(level) for level in levels[: k.depth(book, side, levels)].tolist()]
