"""Money and positions: conserved, exact, and against us where they must be rounded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.accounting import Ledger, Position, funding_units
from agora.domain.instruments import KNOWN_INSTRUMENTS, Instrument, known_instrument
from agora.domain.numbers import MONEY_SCALE, PPB, PPM

INSTRUMENTS = [known_instrument(symbol) for symbol in sorted(KNOWN_INSTRUMENTS)]
BTC = known_instrument("BTCUSDT")


@dataclass(frozen=True)
class Fill:
    """One execution: where, how much (signed lots), at what price, as maker or not, and funding that follows it."""

    place: int
    size_lots: int
    price_ticks: int
    is_maker: bool
    rate_ppb: int


FILLS = st.lists(
    st.builds(
        Fill,
        place=st.integers(0, len(INSTRUMENTS) - 1),
        size_lots=st.integers(-5_000, 5_000).filter(bool),
        price_ticks=st.integers(1, 2_000_000),
        is_maker=st.booleans(),
        rate_ppb=st.one_of(st.just(0), st.integers(-3_000_000, 3_000_000)),
    ),
    max_size=40,
)


class Twin:
    """The same position in fractions: average cost, nothing rounded."""

    def __init__(self) -> None:
        self.size = 0
        self.cost = Fraction(0)
        self.realised = Fraction(0)

    def apply(self, instrument: Instrument, size_lots: int, price_ticks: int) -> None:
        """One lot at a time: a lot against the position closes at the average, any other opens at the price."""
        unit = price_ticks * Fraction(instrument.tick_size) * Fraction(instrument.lot_size) * MONEY_SCALE
        sign = 1 if size_lots > 0 else -1
        closing = min(abs(size_lots), abs(self.size)) if self.size * sign < 0 else 0
        if closing:
            out = self.cost * closing / abs(self.size)
            self.realised += -sign * closing * unit - out
            self.cost -= out
        self.size += size_lots
        self.cost += sign * (abs(size_lots) - closing) * unit


def book(fills: list[Fill]) -> tuple[Ledger, dict[int, Position], dict[int, Twin]]:
    """All fills, with their fees and funding, on one account and on the twins."""
    ledger, positions, twins = Ledger(), {}, {}
    ledger.deposit(10_000 * MONEY_SCALE)
    for fill in fills:
        instrument = INSTRUMENTS[fill.place]
        position = positions.setdefault(fill.place, Position())
        realised = position.apply(instrument, size_lots=fill.size_lots, price_ticks=fill.price_ticks)
        fee = instrument.fee_units(fill.price_ticks, fill.size_lots, is_maker=fill.is_maker)
        ledger.settle(realised=realised, fee=fee)
        ledger.fund(
            funding_units(instrument, size_lots=position.size_lots, mark_ticks=fill.price_ticks, rate_ppb=fill.rate_ppb)
        )
        twins.setdefault(fill.place, Twin()).apply(instrument, fill.size_lots, fill.price_ticks)
    return ledger, positions, twins


@given(FILLS)
def test_nothing_appears_or_vanishes(fills: list[Fill]) -> None:
    """Cash is deposits + realised - fees + funding after any fills, and fees are never negative."""
    ledger, _, _ = book(fills)
    assert ledger.cash == ledger.deposits + ledger.realised - ledger.fees + ledger.funding
    assert ledger.fees >= 0


@given(FILLS)
def test_a_position_is_what_fractions_say(fills: list[Fill]) -> None:
    """Sizes are equal; profit and cost differ from unrounded ones by less than one unit for each fill."""
    ledger, positions, twins = book(fills)
    for place, position in positions.items():
        twin = twins[place]
        assert position.size_lots == twin.size
        assert abs(position.cost_units - twin.cost) <= len(fills)
    total = sum((twin.realised for twin in twins.values()), Fraction(0))
    assert abs(ledger.realised - total) <= len(fills)


@given(FILLS, st.integers(1, 2_000_000))
def test_closing_everything_realises_what_came_in_and_went_out(fills: list[Fill], price_ticks: int) -> None:
    """Flat again, the sum of all profits is to the unit the money received for sales minus the money paid for buys."""
    flows: dict[int, int] = {}
    ledger, positions, _ = book(fills)
    for fill in fills:
        notional = INSTRUMENTS[fill.place].notional_units(fill.price_ticks, fill.size_lots)
        flows[fill.place] = flows.get(fill.place, 0) - notional
    for place, position in positions.items():
        size = -position.size_lots
        if size:
            flows[place] -= INSTRUMENTS[place].notional_units(price_ticks, size)
            ledger.settle(realised=position.apply(INSTRUMENTS[place], size_lots=size, price_ticks=price_ticks), fee=0)
        assert (position.size_lots, position.cost_units) == (0, 0)
    assert ledger.realised == sum(flows.values())


@given(FILLS, st.integers(1, 2_000_000))
def test_open_profit_is_what_closing_at_the_mark_would_realise(fills: list[Fill], mark_ticks: int) -> None:
    """Unrealised profit is a promise that a fill at the mark keeps exactly."""
    _, positions, _ = book(fills)
    for place, position in positions.items():
        promised = position.unrealised_units(INSTRUMENTS[place], mark_ticks)
        if position.size_lots:
            kept = position.apply(INSTRUMENTS[place], size_lots=-position.size_lots, price_ticks=mark_ticks)
            assert kept == promised


def test_a_ledger_that_leaks_is_noticed() -> None:
    """Conservation is asserted at every posting: money that came from nowhere stops the program."""
    ledger = Ledger()
    ledger.deposit(100)
    ledger.cash += 1
    with pytest.raises(AssertionError, match="leaks"):
        ledger.fund(0)


@pytest.mark.requirement("H2.3")
@pytest.mark.parametrize(
    "size_lots, rate_ppb, expected",
    [
        pytest.param(+1_000, +100_000, -6_00000000, id="long pays a positive rate"),
        pytest.param(-1_000, +100_000, +6_00000000, id="short receives a positive rate"),
        pytest.param(+1_000, -100_000, +6_00000000, id="long receives a negative rate"),
        pytest.param(-1_000, -100_000, -6_00000000, id="short pays a negative rate"),
        pytest.param(+1_000, 0, 0, id="no rate, no money"),
        pytest.param(0, +100_000, 0, id="flat, no money"),
    ],
)
def test_funding_flows_from_longs_to_shorts_when_the_rate_is_positive(
    size_lots: int, rate_ppb: int, expected: int
) -> None:
    """One BTC at 60,000 and a rate of 0.01 % is 6 dollars, signed as perpetuals sign it."""
    assert funding_units(BTC, size_lots=size_lots, mark_ticks=600_000, rate_ppb=rate_ppb) == expected


@given(st.integers(-10_000, 10_000), st.integers(1, 2_000_000), st.integers(-3_000_000, 3_000_000))
def test_funding_is_rounded_against_us_by_less_than_a_unit(size_lots: int, mark_ticks: int, rate_ppb: int) -> None:
    """What is received is never more, what is paid never less than the exact amount."""
    got = funding_units(BTC, size_lots=size_lots, mark_ticks=mark_ticks, rate_ppb=rate_ppb)
    exact = -Fraction(BTC.notional_units(mark_ticks, size_lots)) * rate_ppb / PPB
    assert 0 <= exact - got < 1


@given(st.sampled_from(INSTRUMENTS), st.integers(1, 2_000_000), st.integers(-5_000, 5_000), st.booleans())
def test_a_fee_is_rounded_up_by_less_than_a_unit(
    instrument: Instrument, price_ticks: int, size_lots: int, is_maker: bool
) -> None:
    """Buys and sells cost the same, and never less than the rate says."""
    fee = instrument.fee_units(price_ticks, size_lots, is_maker=is_maker)
    rate = instrument.maker_fee_ppm if is_maker else instrument.taker_fee_ppm
    exact = Fraction(abs(instrument.notional_units(price_ticks, size_lots)) * rate, PPM)
    assert 0 <= fee - exact < 1
    assert fee == instrument.fee_units(price_ticks, -size_lots, is_maker=is_maker)


def test_the_fees_of_the_built_in_perpetual_are_two_and_six_basis_points() -> None:
    """Of 60,000 dollars a maker pays 12 and a taker 36."""
    assert BTC.fee_units(600_000, 1_000, is_maker=True) == 12 * MONEY_SCALE
    assert BTC.fee_units(600_000, -1_000, is_maker=False) == 36 * MONEY_SCALE


@pytest.mark.parametrize(
    "name, fills, realised, left",
    [
        ("a winner", [(+10, 600_000), (-10, 601_000)], 1 * MONEY_SCALE, (0, 0)),
        ("a loser", [(-10, 600_000), (+10, 601_000)], -1 * MONEY_SCALE, (0, 0)),
        (
            "half out",
            [(+10, 600_000), (-5, 602_000)],
            1 * MONEY_SCALE,
            (5, 300 * MONEY_SCALE),
        ),
        (
            "added at two prices, half out",
            [(+5, 600_000), (+5, 610_000), (-5, 605_000)],
            0,
            (5, 302_50000000),
        ),
        (
            "turned round",
            [(+10, 600_000), (-30, 610_000)],
            10 * MONEY_SCALE,
            (-20, -1_220 * MONEY_SCALE),
        ),
    ],
)
def test_positions_a_trader_can_check_by_hand(
    name: str, fills: list[tuple[int, int]], realised: int, left: tuple[int, int]
) -> None:
    """0.01 BTC and dollars: profit of each story, and what stays open at which cost."""
    position = Position()
    total = sum(position.apply(BTC, size_lots=lots, price_ticks=price) for lots, price in fills)
    assert (total, (position.size_lots, position.cost_units)) == (realised, left), name
