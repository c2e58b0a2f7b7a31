"""What an agent can still pay for within one decision: its free cash and units, less what it has just asked for.

Knows the exchange's holds from above only: a limit order that fits here is not refused for lack of funds.
"""

from __future__ import annotations

from agora.domain.instruments import Instrument
from agora.domain.numbers import PPM, divide_up
from agora.domain.orders import Side
from agora.exchange.requests import AgentView, OpenOrder, OrderRequest

# A short sale holds its initial margin and fee, and the margin is at most the value: twice the hold of a buy is more.
SHORT_COVER = 2


def hold_per_lot_units(instrument: Instrument, price_ticks: int) -> int:
    """What a buy limit order holds for each lot: its value and the dearer of the two fees, rounded up per lot."""
    units = price_ticks * instrument.tick_lot_units
    return units + divide_up(units * max(instrument.maker_fee_ppm, instrument.taker_fee_ppm), PPM)


class Purse:
    """Free cash by currency and free units by asset, read from the view once and then spent order by order."""

    __slots__ = ("_cash", "_cover", "_lots", "_view")

    def __init__(self, view: AgentView) -> None:
        self._view = view
        self._cash: dict[str, int] = {}
        self._lots: dict[str, int] = {}
        self._cover: dict[str, int] = {}

    def cash_units(self, instrument: Instrument) -> int:
        """Cash left in the instrument's quote currency."""
        if instrument.quote not in self._cash:
            self._cash[instrument.quote] = self._view.free_cash_units(instrument.symbol)
        return self._cash[instrument.quote]

    def lots(self, instrument: Instrument) -> int:
        """Units left that no order holds; never negative."""
        if instrument.symbol not in self._lots:
            self._lots[instrument.symbol] = max(0, self._view.free_lots(instrument.symbol))
        return self._lots[instrument.symbol]

    def buyable_lots(self, instrument: Instrument, price_ticks: int) -> int:
        """The largest size whose hold at that limit is covered, by cash or by the short position it buys back."""
        hold = hold_per_lot_units(instrument, price_ticks)
        cash_units = max(0, self.cash_units(instrument))
        cover_lots = self._cover_lots(instrument)
        if cover_lots:
            dearer = self._dearer_units(instrument, hold)
            cover_lots = min(cover_lots, cash_units // dearer) if dearer else cover_lots
            cash_units -= cover_lots * dearer
        return min(cover_lots + cash_units // hold, instrument.lots_max)

    def sellable_lots(self, instrument: Instrument, price_ticks: int, *, shorts: bool = False) -> int:
        """Units owned and, with `shorts` where the market allows it, what the cash can cover as a short."""
        lots = self.lots(instrument)
        if shorts and self._view.may_short(instrument.symbol):
            hold = hold_per_lot_units(instrument, price_ticks)
            lots += max(0, self.cash_units(instrument)) // (SHORT_COVER * hold)
        return min(lots, instrument.lots_max)

    def spend(self, instrument: Instrument, order: OrderRequest) -> None:
        """Take what that limit order will hold."""
        hold = hold_per_lot_units(instrument, order.price_ticks)
        cash_units = self.cash_units(instrument)
        if order.side is Side.BUY:
            covering = min(self._cover_lots(instrument), order.size_lots)
            self._cover[instrument.symbol] -= covering
            cash_units -= (order.size_lots - covering) * hold
            if covering:
                cash_units -= covering * self._dearer_units(instrument, hold)
        else:
            owned = min(self.lots(instrument), order.size_lots)
            self._lots[instrument.symbol] -= owned
            cash_units -= (order.size_lots - owned) * SHORT_COVER * hold
        self._cash[instrument.quote] = cash_units

    def release(self, instrument: Instrument, order: OpenOrder) -> None:
        """Give back what a cancelled order is sure to have held; a little less than it did is no harm."""
        if order.trigger_ticks:  # a waiting stop holds nothing
            return
        if order.side is Side.SELL:
            # Units sold short were never owned, and the purse does not know how many of them were.
            position = max(0, self._view.position_lots(instrument.symbol))
            self._lots[instrument.symbol] = min(self.lots(instrument) + order.remaining_lots, position)
        elif self._view.position_lots(instrument.symbol) >= 0:  # a buy that covers may have held nothing of its own
            freed = order.remaining_lots * hold_per_lot_units(instrument, order.price_ticks)
            self._cash[instrument.quote] = self.cash_units(instrument) + freed

    def _cover_lots(self, instrument: Instrument) -> int:
        """Lots sold short that no resting or planned buy covers yet."""
        symbol = instrument.symbol
        if symbol not in self._cover:
            short_lots = max(0, -self._view.position_lots(symbol))
            if short_lots:
                bids = (order.remaining_lots for order in self._view.open_orders(symbol) if order.side is Side.BUY)
                short_lots = max(0, short_lots - sum(bids))
            self._cover[symbol] = short_lots
        return self._cover[symbol]

    def _dearer_units(self, instrument: Instrument, hold: int) -> int:
        """What covering one lot holds beyond the short's own lock, which is its proceeds at least."""
        proceeds = int(self._view.average_price_ticks(instrument.symbol)) * instrument.tick_lot_units
        return max(0, hold - proceeds)
