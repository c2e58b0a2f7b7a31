"""Seeded draws for populations in integers alone: the same bits on every machine, compiled or not.

Knows nothing of agents or markets. Fractions are fixed point with `FRACTION_BITS` bits behind the point
(`ONE` is 1.0). No function of the C library takes part, as those differ in the last bit between systems.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from agora.kernels.compiled import Words, compiled_inside

FRACTION_BITS = 24  # 6e-8: a price of a million ticks is right to a tenth of a tick, and two factors fit 64 bits
ONE = 1 << FRACTION_BITS

# MRG32k3a (L'Ecuyer 1999): period 2**191, and no product leaves 64 bits, unlike in generators that rely on wrapping.
STATE_WORDS = 6
MODULUS = 4_294_967_087
_MODULUS_OTHER = 4_294_944_443
_DRAW_BITS = 32  # a draw is below MODULUS, 209 short of 2**32

_TABLE_BITS = 10  # 1,024 steps with interpolation between them err by 6e-8, the fixed point's own resolution
_STEPS = 1 << _TABLE_BITS
_REST_BITS = FRACTION_BITS - _TABLE_BITS
_REST = 1 << _REST_BITS
_LOG2_E = round(math.log2(math.e) * ONE)
LN_2 = round(math.log(2.0) * ONE)
# Read-only for kernels: compiled code holds a copy of its own.
_POWERS = np.array([round(2.0 ** (step / _STEPS) * ONE) for step in range(_STEPS + 1)], dtype=np.int64)
_LOGARITHMS = np.array([round(math.log2(1.0 + step / _STEPS) * ONE) for step in range(_STEPS + 1)], dtype=np.int64)
# Quantiles at the middles of 4,096 equal shares; the ends lie at 3.67 standard deviations.
_NORMAL_BITS = 12
_NORMALS = np.array(
    [round(NormalDist().inv_cdf((share + 0.5) / (1 << _NORMAL_BITS)) * ONE) for share in range(1 << _NORMAL_BITS)],
    dtype=np.int64,
)


def seed_draws(state: Words, words: Words) -> None:
    """Set the six words of a generator from six random ones of any value."""
    assert state.shape == words.shape == (STATE_WORDS,), f"{state.shape} and {words.shape}: six words expected"
    for place in range(STATE_WORDS):
        modulus = MODULUS if place < STATE_WORDS // 2 else _MODULUS_OTHER
        state[place] = 1 + int(words[place]) % (modulus - 1)  # no half may be all zeros


@compiled_inside
def draw(state: Words, at: int) -> int:
    """Return the next number below `MODULUS` of the generator whose words begin at `at`."""
    first = (1_403_580 * state[at + 1] - 810_728 * state[at]) % MODULUS
    state[at] = state[at + 1]
    state[at + 1] = state[at + 2]
    state[at + 2] = first
    second = (527_612 * state[at + 5] - 1_370_589 * state[at + 3]) % _MODULUS_OTHER
    state[at + 3] = state[at + 4]
    state[at + 4] = state[at + 5]
    state[at + 5] = second
    return int((first - second) % MODULUS)


@compiled_inside
def below(state: Words, at: int, count: int) -> int:
    """Return a whole number from 0 to `count - 1`; `count` is at most 2**31."""
    return draw(state, at) * count // MODULUS


@compiled_inside
def uniform(state: Words, at: int) -> int:
    """Return a fraction in [0, ONE)."""
    return draw(state, at) >> (_DRAW_BITS - FRACTION_BITS)


@compiled_inside
def sign(state: Words, at: int) -> int:
    """Return 1 or -1, each as likely."""
    return 1 if draw(state, at) < MODULUS // 2 else -1


@compiled_inside
def normal(state: Words, at: int) -> int:
    """Return a standard normal fraction from 4,096 quantiles."""
    return int(_NORMALS[draw(state, at) >> (_DRAW_BITS - _NORMAL_BITS)])


@compiled_inside
def log2(value: int) -> int:
    """Return the binary logarithm of a whole number from 1 to 2**40, as a fraction."""
    bits = 0
    rest = value
    while rest > 1:
        rest >>= 1
        bits += 1
    scaled = value << (FRACTION_BITS - bits) if bits <= FRACTION_BITS else value >> (bits - FRACTION_BITS)
    beyond = scaled - ONE
    step = beyond >> _REST_BITS
    low = _LOGARITHMS[step]
    return int((bits << FRACTION_BITS) + low + ((_LOGARITHMS[step + 1] - low) * (beyond & (_REST - 1)) >> _REST_BITS))


@compiled_inside
def exponential(state: Words, at: int) -> int:
    """Return an exponentially distributed fraction with mean `ONE`, at most 22.2."""
    bits_left = (_DRAW_BITS << FRACTION_BITS) - log2(draw(state, at) + 1)
    return max(0, bits_left) * LN_2 >> FRACTION_BITS


@compiled_inside
def exp(power: int) -> int:
    """Return e to a fraction, as a fraction; the power is between -16 and 16."""
    power_of_2 = power * _LOG2_E >> FRACTION_BITS
    whole = power_of_2 >> FRACTION_BITS
    beyond = power_of_2 & (ONE - 1)
    step = beyond >> _REST_BITS
    low = _POWERS[step]
    value = int(low + ((_POWERS[step + 1] - low) * (beyond & (_REST - 1)) >> _REST_BITS))
    return value << whole if whole >= 0 else value >> -whole


@compiled_inside
def square_root(value: int) -> int:
    """Return the whole square root of a whole number, rounded down (Newton's method from above)."""
    if value < 2:
        return max(0, value)
    guess = value
    following = (guess + 1) >> 1
    while following < guess:
        guess = following
        following = (guess + value // guess) >> 1
    return guess
