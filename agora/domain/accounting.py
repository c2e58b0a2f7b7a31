"""Double-entry money and exact positions. Integers only; every posting sums to zero."""

from __future__ import annotations

import msgspec

from agora.domain.instruments import Instrument


class Ledger(msgspec.Struct):
    """Balances of one quote currency in money units; the five accounts always sum to zero.

    `cash` is what we own; `deposits`, `realised`, `fees` and `funding` say where it came from, as credits:
    cash = deposits + realised - fees + funding.
    """

    cash: int = 0
    deposits: int = 0
    realised: int = 0
    fees: int = 0
    funding: int = 0

    def deposit(self, units: int) -> None:
        """Money paid in."""
        self.cash += units
        self.deposits += units
        self.check()

    def settle(self, *, realised: int, fee: int) -> None:
        """Profit and fee of one fill."""
        self.cash += realised - fee
        self.realised += realised
        self.fees += fee
        self.check()

    def fund(self, units: int) -> None:
        """Funding received (positive) or paid (negative)."""
        self.cash += units
        self.funding += units
        self.check()

    def check(self) -> None:
        """Conservation: nothing appears or vanishes."""
        assert self.cash == self.deposits + self.realised - self.fees + self.funding, f"ledger leaks: {self}"


class Position(msgspec.Struct):
    """A signed position; `cost_units` is the exact money its open lots were bought or sold for, signed as the size."""

    size_lots: int = 0
    cost_units: int = 0

    def apply(self, instrument: Instrument, *, size_lots: int, price_ticks: int) -> int:
        """Add a signed fill; return the realised profit in money units.

        A reduction takes the proportional cost out, rounded down; the remainder stays with the open lots, so
        that closing everything realises exactly what came in and went out.
        """
        closing = _closing_lots(self.size_lots, size_lots)
        realised = 0
        if closing:
            cost_out = self.cost_units * abs(closing) // abs(self.size_lots)
            realised = -instrument.notional_units(price_ticks, closing) - cost_out
            self.cost_units -= cost_out
            self.size_lots += closing
        opening = size_lots - closing
        self.cost_units += instrument.notional_units(price_ticks, opening)
        self.size_lots += opening
        assert (self.size_lots != 0) or self.cost_units == 0, f"flat position with a cost: {self}"
        return realised

    def unrealised_units(self, instrument: Instrument, mark_ticks: int) -> int:
        """Profit if the position were closed at the mark, without fees."""
        return instrument.notional_units(mark_ticks, self.size_lots) - self.cost_units

    def average_price_ticks(self, instrument: Instrument) -> float:
        """Average entry price in ticks (a statistic, not money); 0.0 when flat."""
        if self.size_lots == 0:
            return 0.0
        return self.cost_units / (self.size_lots * instrument.tick_lot_units)


def _closing_lots(position_lots: int, fill_lots: int) -> int:
    """The part of a signed fill that reduces the position (opposite sign, at most the position)."""
    if position_lots * fill_lots >= 0:
        return 0
    closing = min(abs(position_lots), abs(fill_lots))
    return closing if fill_lots > 0 else -closing


def funding_units(instrument: Instrument, *, size_lots: int, mark_ticks: int, rate_ppb: int) -> int:
    """Funding money for a position: positive when received. A positive rate is paid by longs to shorts.

    Rounded down (against us). Rate in parts per billion of notional per funding interval.
    """
    return -instrument.notional_units(mark_ticks, size_lots) * rate_ppb // 1_000_000_000
