"""How long an order takes to the venue, drawn from a seed and the order's number and from nothing else.

There is no generator state: recovery needs only the seed, and orders may be asked about in any sequence.
"""

from __future__ import annotations

import math
from typing import Final

FIXED: Final = 1
UNIFORM: Final = 2
LOGNORMAL: Final = 3

LATENCY_NS_MAX: Final = 60_000_000_000  # a lognormal tail beyond a minute is an outage: a fault, not latency
SIGMA_PPM_MAX: Final = 10_000_000  # a factor of e**10 either way says nothing about a venue any more

_MASK_64: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15  # of splitmix64 (Steele, Lea and Flood 2014)
_PPM: Final = 1_000_000


def order_latency_ns(seed: int, order_number: int, *, model: int, a: int, b: int = 0) -> int:
    """Return the latency in ns of the order with this number; the same arguments always give the same answer.

    FIXED: `a` ns. UNIFORM: `a` to `b` ns, both included. LOGNORMAL: median `a` ns, standard deviation of the
    logarithm `b` in ppm, at most LATENCY_NS_MAX. Raises ValueError for another model or impossible bounds.
    """
    if a < 0 or b < 0:
        raise ValueError(f"latency parameters must not be negative: {a}, {b}")
    if model == FIXED:
        return a
    if model == UNIFORM:
        if b < a:
            raise ValueError(f"uniform latency needs a <= b: {a}, {b}")
        # Multiply and shift: the bias is below 2**-20 for spans up to five hours.
        return a + ((_draw(seed, 2 * order_number) * (b - a + 1)) >> 64)
    if model == LOGNORMAL:
        if b > SIGMA_PPM_MAX:
            raise ValueError(f"lognormal latency needs a sigma of at most {SIGMA_PPM_MAX} ppm: {b}")
        return min(LATENCY_NS_MAX, round(a * math.exp(b / _PPM * _normal(seed, order_number))))
    raise ValueError(f"no latency model {model}")


def _mix(value: int) -> int:
    """Return splitmix64's finaliser of a 64-bit value."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return value ^ (value >> 31)


def _draw(seed: int, counter: int) -> int:
    """Return 64 bits for a place in the sequence of a seed.

    The seed is mixed first, so that neighbouring seeds do not share one shifted sequence.
    """
    return _mix((_mix(seed & _MASK_64) + (counter + 1) * _STEP) & _MASK_64)


def _normal(seed: int, order_number: int) -> float:
    """Return a standard normal number (Box and Muller) from two draws of 53 bits."""
    radius = ((_draw(seed, 2 * order_number) >> 11) + 1) / (1 << 53)
    angle = (_draw(seed, 2 * order_number + 1) >> 11) / (1 << 53)
    return math.sqrt(-2.0 * math.log(radius)) * math.cos(2.0 * math.pi * angle)
