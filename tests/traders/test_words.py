"""Text of others: what is left of it, and the fence around it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.traders.words import fenced, plain_words


@pytest.mark.parametrize(
    "text,left",
    [
        ("plain", "plain"),
        ("two\nlines\r\n\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x07", "[31mred"),
        ("over\u202etimer", "over timer"),
        ("zero\u200bwidth\ufeff", "zero width"),
        ("half \ud800", "half"),
        ("grüße 価格", "grüße 価格"),
        ("\x00", ""),
    ],
)
def test_what_is_invisible_becomes_a_space(text: str, left: str) -> None:
    """Words of any language stay; controls, formats and half characters go."""
    assert plain_words(text, 100) == left


@settings(derandomize=True)
@given(text=st.text(), chars_max=st.integers(0, 50))
def test_plain_words_are_short_printable_and_stable(text: str, chars_max: int) -> None:
    """The result is one printable line within the cap, and going over it again changes nothing."""
    plain = plain_words(text, chars_max)
    assert len(plain) <= chars_max
    assert plain.isprintable()
    assert plain_words(plain, chars_max) == plain


@settings(derandomize=True)
@given(lines=st.lists(st.text(st.characters(exclude_characters="\n")), max_size=4))
def test_the_fence_stands_once_at_each_end(lines: list[str]) -> None:
    """The mark opens and closes the block, stands nowhere else, and follows from the lines alone."""
    block = fenced(lines)
    first, *between, last = block.split("\n")
    mark = first.removeprefix("<<")
    assert (first, last) == (f"<<{mark}", f"{mark}>>")
    assert between == lines
    assert block.count(mark) == 2
    assert fenced(lines) == block
    assert fenced([*lines, "more"]) != block
