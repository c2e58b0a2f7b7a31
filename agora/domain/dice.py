"""Seeded random draws in integers, the same on every Python: splitmix64 (Steele, Lea, Flood 2014).

The standard library promises the same `random()` between versions, but not the same choices made from it.
"""

from __future__ import annotations

import hashlib
import math

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15


class Dice:
    """A stream of draws; `state` is all there is to remember."""

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def word(self) -> int:
        """The next 64 random bits."""
        self.state = mixed = (self.state + _GAMMA) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def uniform(self) -> float:
        """In [0, 1), 53 bits."""
        return (self.word() >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        """A whole number from 0 to `count - 1`; the bias of the product is below count / 2**64."""
        assert count > 0, f"nothing to draw from: {count}"
        return (self.word() * count) >> 64

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.uniform() < probability

    def exponential(self, mean: float) -> float:
        """Exponentially distributed with that mean."""
        return -mean * math.log(1.0 - self.uniform())

    def normal(self) -> float:
        """Standard normal, of two draws (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())

    def shuffled(self, count: int) -> list[int]:
        """The numbers below `count` in random order (Fisher and Yates)."""
        numbers = list(range(count))
        for place in range(count - 1, 0, -1):
            other = self.below(place + 1)
            numbers[place], numbers[other] = numbers[other], numbers[place]
        return numbers


def dice_of(seed: int, *names: str | int) -> Dice:
    """The stream that belongs to those names under a seed: streams of other names are independent of it."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return Dice(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))
