"""Seeded draws: the reference stream, ranges, independence of names, resuming from the state."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.dice import Dice, dice_of

# The first outputs of splitmix64 from state 1234567, as published with the algorithm.
REFERENCE = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def test_the_stream_is_that_of_the_published_algorithm() -> None:
    """The first five words are the reference's."""
    dice = Dice(1234567)
    assert [dice.word() for _ in REFERENCE] == REFERENCE


@given(st.integers(0, 2**64 - 1), st.integers(1, 10**9))
def test_a_draw_is_within_its_range(state: int, count: int) -> None:
    """`below` gives numbers below the count, `uniform` numbers in [0, 1)."""
    dice = Dice(state)
    assert 0 <= dice.below(count) < count
    assert 0.0 <= dice.uniform() < 1.0


@given(st.integers(0, 2**64 - 1), st.integers(0, 50))
def test_a_shuffle_is_a_permutation(state: int, count: int) -> None:
    """Every number below the count occurs once."""
    assert sorted(Dice(state).shuffled(count)) == list(range(count))


def test_a_stream_goes_on_from_its_state() -> None:
    """Who restores the state draws what would have come next."""
    dice = Dice(9)
    dice.normal()
    again = Dice(dice.state)
    assert [dice.word(), dice.exponential(2.0)] == [again.word(), again.exponential(2.0)]


def test_streams_of_other_names_or_seeds_differ() -> None:
    """Names are not run together: ("ab", "c") is another stream than ("a", "bc")."""
    firsts = {dice_of(*key).word() for key in ((1, "ab", "c"), (1, "a", "bc"), (2, "ab", "c"), (1, "ab"), (1, 7))}
    assert len(firsts) == 5


def test_draws_have_the_distribution_they_claim() -> None:
    """Frequencies, means and variance over 20,000 draws of a fixed seed are within four standard errors."""
    dice, count = Dice(42), 20_000
    faces = Counter(dice.below(6) for _ in range(count))
    assert all(abs(faces[face] - count / 6) < 4 * (count * 5 / 36) ** 0.5 for face in range(6))
    normals = [dice.normal() for _ in range(count)]
    assert abs(sum(normals) / count) < 4 / count**0.5
    assert abs(sum(x * x for x in normals) / count - 1) < 4 * (2 / count) ** 0.5
    assert abs(sum(dice.exponential(3.0) for _ in range(count)) / count - 3) < 4 * 3 / count**0.5
    assert abs(sum(dice.chance(0.2) for _ in range(count)) / count - 0.2) < 4 * (0.16 / count) ** 0.5


def test_nothing_cannot_be_drawn_from() -> None:
    """A count of zero is a mistake of the caller."""
    with pytest.raises(AssertionError, match="nothing to draw from"):
        Dice(1).below(0)
