"""Seeded random histories of a paper venue, played through the kernel and through its twin."""

from __future__ import annotations

import hashlib
import random
import sys
from dataclasses import dataclass

import numpy as np

from agora.kernels import fills as k
from tests.kernels.fills_twin import Row, Twin

Call = tuple[str, tuple[object, ...]]
STREAM_LEVELS = (k.CANDLES, k.TRADES, k.QUOTES, k.DEPTH)


@dataclass(frozen=True)
class Shape:
    """The limits under which a stream is played; small ones, so that streams run into them."""

    order_capacity: int
    level_capacity: int
    half_spread_ppm: int
    participation_ppm: int
    cancel_ahead_ppm: int

    @property
    def rows(self) -> int:
        """The fewest output rows the kernel takes, so that long walks run out of room."""
        return 4 * self.order_capacity + 64


class Stream:
    """Draws calls from one seed. Prices stay near 1000, so that orders meet the market often."""

    def __init__(self, seed: int) -> None:
        """Choose the input level and the limits."""
        self.rng = random.Random(seed)
        self.level = STREAM_LEVELS[seed % 4]
        self.middle = 1000
        self.ts = 0
        self.next_id = 1
        self.shape = Shape(
            order_capacity=self.rng.choice([2, 6, 16]),
            level_capacity=self.rng.choice([3, 8, 100]),
            half_spread_ppm=self.rng.choice([0, 500, 3000]),
            participation_ppm=self.rng.choice([100_000, 333_333, 1_000_000]),
            cancel_ahead_ppm=self.rng.choice([0, 500_000, 1_000_000]),
        )

    def calls(self, count: int) -> list[Call]:
        """Draw `count` calls."""
        return [self._call() for _ in range(count)]

    def _call(self) -> Call:
        self.ts += self.rng.randint(0, 3)
        self.middle = max(900, min(1100, self.middle + self.rng.randint(-2, 2)))
        chance = self.rng.random()
        if chance < 0.25:
            return self._arrival()
        if chance < 0.33:
            return "amend", (self.ts, self._some_id(), *(self._maybe(v) for v in self._amendment()))
        if chance < 0.38:
            return "cancel", (self.ts, self._some_id())
        if chance < 0.40:
            return self.rng.choice(
                [
                    ("cancel_all", (self.ts,)),
                    ("advance", (self.ts,)),
                    ("set_position", (self.rng.randint(-20, 20),)),
                    ("depth_lost", ()),
                ]
            )
        return self._market()

    def _maybe(self, value: int) -> int:
        return value if self.rng.random() < 0.5 else 0

    def _some_id(self) -> int:
        return max(1, self.next_id - self.rng.randint(0, 12))

    def _near(self, reach: int) -> int:
        return self.middle + self.rng.randint(-reach, reach)

    def _amendment(self) -> tuple[int, int, int]:
        return self._near(5), self._near(5), self.rng.randint(-1, 40)

    def _arrival(self) -> Call:
        rng = self.rng
        is_repeat = rng.random() < 0.03
        order_id = self._some_id() if is_repeat else self.next_id
        self.next_id += not is_repeat
        is_leg = rng.random() < 0.35
        parent_id = max(0, order_id - rng.randint(1, 3)) if is_leg else 0
        kind = rng.choice([k.LIMIT, k.LIMIT, k.MARKET, k.STOP, k.TAKE_PROFIT])
        tif = rng.choice([k.GTC, k.GTC, k.GTC, k.IOC, k.FOK, k.GTD])
        flags = (k.POST_ONLY if rng.random() < 0.15 else 0) | (
            k.REDUCE_ONLY if rng.random() < (0.7 if is_leg else 0.15) else 0
        )
        size = 0 if rng.random() < 0.02 else rng.randint(1, 60)
        price, trigger = self._near(6), self._near(6)
        expire_ts = self.ts + rng.randint(-1, 60)
        side = rng.choice([k.BUY, k.SELL])
        return "arrive", (
            self.ts, order_id, side, kind, tif, flags, price, trigger, size, expire_ts, parent_id,
        )  # fmt: skip

    def _market(self) -> Call:
        rng = self.rng
        level = self.level if rng.random() < 0.7 else rng.choice([c for c in STREAM_LEVELS if c <= self.level])
        if level == k.CANDLES:
            low, high = self._near(6), self._near(6)
            low, high = min(low, high), max(low, high)
            inside = [rng.randint(low, high) for _ in range(2)]
            broken = -1 if rng.random() < 0.02 else low
            return "on_candle", (self.ts, inside[0], high, broken, inside[1], rng.choice([0, 5, 100, 500]))
        if level == k.TRADES:
            return "on_trade", (self.ts, self._near(4), rng.randint(0, 80), rng.choice([-1, 0, 1]))
        if level == k.QUOTES:
            bid = self.middle - rng.randint(0, 2)
            ask = self.middle + rng.randint(-1, 2)
            bid_size, ask_size = (rng.choice([0, 5, 10, 20, 40, 40, 40]) for _ in range(2))
            return "on_quote", (self.ts, bid, bid_size, ask, ask_size)
        return "on_depth", (self.ts, self._levels(), rng.random() < 0.2)

    def _levels(self) -> tuple[tuple[int, int, int], ...]:
        rows = []
        for _ in range(self.rng.randint(1, 12)):
            side = self.rng.choice([k.BUY, k.SELL])
            price = self.middle - side * self.rng.randint(0, 7)
            rows.append((side, price, self.rng.choice([0, 5, 10, 20, 40])))
        return tuple(rows)


class Kernel:
    """The kernel behind the twin's interface."""

    def __init__(self, shape: Shape) -> None:
        """Make the buffer and the smallest output."""
        self.buf = k.create(
            order_capacity=shape.order_capacity,
            level_capacity=shape.level_capacity,
            half_spread_ppm=shape.half_spread_ppm,
            participation_ppm=shape.participation_ppm,
            cancel_ahead_ppm=shape.cancel_ahead_ppm,
        )
        self.out = np.zeros((shape.rows, 6), dtype=np.int64)

    def play(self, call: Call) -> list[Row]:
        """Make one call and return its rows."""
        name, arguments = call
        if name in ("set_position", "depth_lost"):
            getattr(k, name)(self.buf, *arguments)
            return []
        if name == "on_depth":
            ts, levels, is_snapshot = arguments
            arguments = (ts, np.array(levels, dtype=np.int64).reshape(-1, 3), is_snapshot)
        n = getattr(k, name)(self.buf, self.out, *arguments)
        return [tuple(row) for row in self.out[:n].tolist()]


def make_twin(shape: Shape) -> Twin:
    """Return a twin under the same limits."""
    return Twin(
        order_capacity=shape.order_capacity,
        level_capacity=shape.level_capacity,
        half_spread_ppm=shape.half_spread_ppm,
        participation_ppm=shape.participation_ppm,
        cancel_ahead_ppm=shape.cancel_ahead_ppm,
        rows=shape.rows,
    )


def twin_rows(twin: Twin, call: Call) -> list[Row]:
    """Make one call on the twin and return its rows."""
    name, arguments = call
    if name == "set_position":
        (twin.position,) = arguments
        return []
    if name == "depth_lost":
        twin.depth_lost()
        return []
    if name == "on_depth":
        ts, levels, is_snapshot = arguments
        return twin.on_depth(ts, levels, is_snapshot=is_snapshot)
    return getattr(twin, name)(*arguments)


def kernel_digest(seeds: range, count: int) -> str:
    """Return one digest over all rows and final buffers of the kernel for these seeds."""
    digest = hashlib.sha256()
    for seed in seeds:
        stream = Stream(seed)
        calls = stream.calls(count)
        kernel = Kernel(stream.shape)
        for call in calls:
            digest.update(repr(kernel.play(call)).encode())
        digest.update(kernel.buf.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(kernel_digest(range(int(sys.argv[1])), int(sys.argv[2])))
