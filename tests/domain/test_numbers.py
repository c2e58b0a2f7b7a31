"""Decimal text and the integers behind it: exact both ways, refused when it cannot be."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.instruments import KNOWN_INSTRUMENTS, Instrument, known_instrument
from agora.domain.numbers import Rounding, divide_up, money_text, money_units, parse_decimal, to_steps


@given(st.integers(-(10**20), 10**20))
def test_money_survives_its_own_text(units: int) -> None:
    """Integer money → decimal text → integer money is the identity."""
    assert money_units(money_text(units)) == units
    assert Decimal(money_text(units)) * 10**8 == units


@pytest.mark.parametrize(
    "units, text",
    [
        (0, "0.00"),
        (1, "0.00000001"),
        (-1, "-0.00000001"),
        (1_250_000_000, "12.50"),
        (100_000_000, "1.00"),
        (-123_456_789, "-1.23456789"),
        (10**20, "1000000000000.00"),
    ],
)
def test_money_reads_like_money(units: int, text: str) -> None:
    """Two decimals at least, no trailing zeros beyond them, one sign."""
    assert money_text(units) == text


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "", "1,5", "twelve", "0x10", "1.000000001", "1e-9"])
def test_what_is_not_money_is_refused(text: str) -> None:
    """Words, infinities and more than eight decimals raise; nothing is rounded silently."""
    with pytest.raises(ValueError, match=r"number|decimals"):
        money_units(text)


@pytest.mark.parametrize(
    "price, rounding, ticks",
    [
        ("60000.04", Rounding.DOWN, 600_000),
        ("60000.04", Rounding.UP, 600_001),
        ("60000.05", Rounding.NEAREST, 600_000),
        ("60000.15", Rounding.NEAREST, 600_002),
        ("60000.1", Rounding.DOWN, 600_001),
        ("60000.1", Rounding.UP, 600_001),
        (0.1, Rounding.DOWN, 1),
        ("-0.04", Rounding.DOWN, -1),
    ],
)
def test_a_price_is_rounded_in_the_direction_named(price: str | float, rounding: Rounding, ticks: int) -> None:
    """On a tick it is exact whatever the direction; between ticks the direction decides, floats by their text."""
    assert known_instrument("BTCUSDT").price_ticks(price, rounding) == ticks


@given(st.sampled_from(sorted(KNOWN_INSTRUMENTS)), st.integers(0, 10**12))
def test_prices_and_sizes_survive_their_own_text(symbol: str, steps: int) -> None:
    """Ticks and lots → text → ticks and lots is the identity, in either direction of rounding."""
    instrument = known_instrument(symbol)
    for rounding in Rounding:
        assert instrument.price_ticks(instrument.price_text(steps), rounding) == steps
        assert instrument.size_lots(instrument.size_text(steps), rounding) == steps


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**9))
def test_divide_up_never_gives_less(numerator: int, denominator: int) -> None:
    """The smallest integer that is not below the quotient."""
    got = divide_up(numerator, denominator)
    assert (got - 1) * denominator < numerator <= got * denominator


def test_steps_need_not_divide_a_number() -> None:
    """Whole steps below, and the same by name of the direction above."""
    assert to_steps(parse_decimal("1"), step=Decimal("0.3"), rounding=Rounding.DOWN) == 3
    assert to_steps(parse_decimal("1"), step=Decimal("0.3"), rounding=Rounding.UP) == 4


@pytest.mark.parametrize("tick, lot", [("0.00001", "0.0001"), ("0", "1"), ("-0.1", "0.001"), ("nan", "1")])
def test_steps_that_money_cannot_express_are_refused(tick: str, lot: str) -> None:
    """One tick of one lot must be a whole, positive number of money units."""
    with pytest.raises(ValueError, match=r"money units|finite"):
        Instrument(symbol="X", base="X", quote="USD", tick_size=tick, lot_size=lot)


def test_an_unknown_symbol_names_the_known_ones() -> None:
    """Whoever mistypes a symbol sees what there is."""
    with pytest.raises(KeyError, match="BTCUSDT"):
        known_instrument("BTCUSD")
