"""The run's own books, kept along with what it is told."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agora.domain.accounting import Position
from agora.domain.events import Funding, OrderFilled
from agora.domain.instruments import Instrument
from agora.domain.orders import Side


class Books:
    """The run's books as they are after everything that was told: the same arithmetic as the run's own."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self.cash_units = 0
        self._instruments = instruments
        self._positions = {symbol: Position() for symbol in instruments}

    def begin(self, *, cash_units: int, positions: Mapping[str, Position]) -> None:
        """Where the run stands."""
        self.cash_units = cash_units
        for symbol, position in positions.items():
            self._positions[symbol] = msgspec.structs.replace(position)

    def lots(self, symbol: str) -> int:
        """The signed position of a symbol."""
        return self._positions[symbol].size_lots

    def note(self, event: OrderFilled | Funding) -> None:
        """A fill or a settlement."""
        if isinstance(event, Funding):
            self.cash_units += event.amount_units
            return
        side = Side.BUY if event.side == "buy" else Side.SELL
        realised = self._positions[event.instrument].apply(
            self._instruments[event.instrument],
            size_lots=side * event.fill_size_lots,
            price_ticks=event.fill_price_ticks,
        )
        self.cash_units += realised - event.fee_units

    def agree(self, positions: Mapping[str, int], *, cash_units: int) -> bool:
        """Whether the venue holds the same."""
        ours = {symbol: position.size_lots for symbol, position in self._positions.items()}
        return cash_units == self.cash_units and positions == ours
