"""Sizing: the loss at the stop is bounded, the notional is capped, and lots are whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.instruments import Instrument, known_instrument
from agora.domain.numbers import MONEY_SCALE, PPM
from agora.traders.sizing import SizingSettings, lot_fees_units, size_lots

BTC = known_instrument("BTCUSDT")

instruments = st.builds(
    Instrument,
    symbol=st.just("X"),
    base=st.just("X"),
    quote=st.just("USDT"),
    tick_size=st.sampled_from(["0.1", "0.01", "0.0001", "1"]),
    lot_size=st.sampled_from(["0.001", "0.1", "1", "0.0001"]),
    lots_min=st.integers(1, 50),
    lots_max=st.integers(50, 10**7),
    taker_fee_ppm=st.integers(0, 5_000),
    leverage_max=st.integers(1, 125),
)
sizings = st.builds(
    SizingSettings,
    risk_fraction_ppm=st.integers(1, 100_000),
    leverage=st.integers(1, 125),
    notional_fraction_ppm_max=st.integers(1, PPM),
)
prices = st.integers(1, 5_000_000)
HALF_PERCENT = SizingSettings(risk_fraction_ppm=5_000)


@given(instruments, sizings, st.integers(-(10**15), 10**17), prices, prices)
def test_a_loss_at_the_stop_with_its_fees_stays_inside_the_risk_money(
    instrument: Instrument, sizing: SizingSettings, equity_units: int, entry_ticks: int, stop_ticks: int
) -> None:
    """Loss ≤ risk, notional ≤ cap, size inside the venue's limits, and more would be too much."""

    def fits(lots: int) -> bool:
        loss = abs(instrument.notional_units(entry_ticks - stop_ticks, lots))
        loss += instrument.fee_units(entry_ticks, lots, is_maker=False)
        loss += instrument.fee_units(stop_ticks, lots, is_maker=False)
        leverage = min(sizing.leverage, instrument.leverage_max)
        cap = equity_units * leverage * sizing.notional_fraction_ppm_max // PPM
        notional = instrument.notional_units(entry_ticks, lots)
        return loss * PPM <= equity_units * sizing.risk_fraction_ppm and notional <= cap

    lots = size_lots(instrument, sizing, equity_units=equity_units, entry_ticks=entry_ticks, stop_ticks=stop_ticks)
    if lots == 0:
        return
    assert instrument.lots_min <= lots <= instrument.lots_max
    assert fits(lots)
    # Rounding fees up lot by lot gives away less than one unit per fill and lot.
    rounding_lots = 2 * lots // abs(entry_ticks - stop_ticks) // instrument.tick_lot_units + 1
    assert lots == instrument.lots_max or not fits(lots + 1 + rounding_lots)


@pytest.mark.parametrize(
    "name, equity, entry, stop, lots",
    [
        # Risk 10,000 × 0.5 % = 50; a lot loses 1,000 ticks × 0.0001 and fees 0.0006 × (100 + 99.9), 0.21994:
        # 227 by risk. By notional 10,000 × 2 × 0.9 / 100 a lot = 180.
        ("capped by notional", 10_000, 1_000_000, 999_000, 180),
        # 10,000 ticks = 1.00 a lot, fees 0.06 + 0.0594: 50 / 1.1194 = 44.67.
        ("by risk, floored", 10_000, 1_000_000, 990_000, 44),
        ("the same for a short", 10_000, 1_000_000, 1_010_000, 44),
        ("less than a lot", 100, 1_000_000, 900_000, 0),
        ("no equity", 0, 1_000_000, 990_000, 0),
        ("debt", -5, 1_000_000, 990_000, 0),
        ("no distance", 10_000, 1_000_000, 1_000_000, 0),
        ("a stop below zero", 10_000, 100, -1, 0),
    ],
)
def test_sizes_are_as_computed_by_hand(name: str, equity: int, entry: int, stop: int, lots: int) -> None:
    """One row per rule."""
    found = size_lots(BTC, HALF_PERCENT, equity_units=equity * MONEY_SCALE, entry_ticks=entry, stop_ticks=stop)
    assert found == lots, name


def test_the_venues_leverage_caps_the_settings() -> None:
    """A leverage that the instrument does not offer is not used."""
    plain = Instrument(symbol="X", base="X", quote="USDT", tick_size="0.1", lot_size="0.001", leverage_max=1)
    found = size_lots(
        plain,
        SizingSettings(leverage=10),
        equity_units=10_000 * MONEY_SCALE,
        entry_ticks=1_000_000,
        stop_ticks=999_000,
    )
    assert found == 90


def test_a_size_below_the_venues_minimum_is_no_size() -> None:
    """What risk allows is not rounded up to what the venue demands."""
    found = []
    for lots_min in (44, 45):
        instrument = Instrument(
            symbol="X", base="X", quote="USDT", tick_size="0.1", lot_size="0.001", lots_min=lots_min
        )
        lots = size_lots(
            instrument,
            HALF_PERCENT,
            equity_units=10_000 * MONEY_SCALE,
            entry_ticks=1_000_000,
            stop_ticks=990_000,
        )
        found.append(lots)
    assert found == [44, 0]


def test_fees_of_a_lot_are_those_of_both_ends() -> None:
    """Maker at the entry, taker at the exit: 0.02 % of 100 and 0.06 % of 90."""
    fees = lot_fees_units(BTC, entry_ticks=1_000_000, exit_ticks=900_000, is_entry_maker=True)
    assert fees == 2_000_000 + 5_400_000
