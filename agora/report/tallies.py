"""What each trader and each symbol did, added up from the traders' shares in the state."""

from __future__ import annotations

import msgspec

from agora.engine.desk import Desk
from agora.engine.state import Share


class Tally(msgspec.Struct):
    """What one trader or one symbol did; money in units. `trades` are round trips from flat to flat.

    Profit is that of the trader's own share at its own average price: with several traders in one instrument only
    `realised_units` and `unrealised_units` together add up to those of the run.
    """

    fills: int = 0
    realised_units: int = 0
    unrealised_units: int = 0
    fees_units: int = 0
    funding_units: int = 0
    trades: int = 0
    wins: int = 0

    @property
    def net_units(self) -> int:
        """Profit after fees and funding, open positions at their marks."""
        return self.realised_units + self.unrealised_units - self.fees_units + self.funding_units


def by_trader(desk: Desk) -> dict[str, Tally]:
    """The tallies of all traders of a run, idle ones too, and of the venue where it traded for us."""
    tallies = {trader.name: Tally() for trader in desk.rules.traders}
    for trader, shares in desk.state.shares.items():
        for symbol, share in shares.items():
            _add(tallies.setdefault(trader, Tally()), share, desk=desk, symbol=symbol)
    return dict(sorted(tallies.items()))


def by_symbol(desk: Desk) -> dict[str, Tally]:
    """The tallies of all instruments of a run, idle ones too."""
    tallies = {symbol: Tally() for symbol in desk.rules.instruments}
    for shares in desk.state.shares.values():
        for symbol, share in shares.items():
            _add(tallies[symbol], share, desk=desk, symbol=symbol)
    return dict(sorted(tallies.items()))


def _add(tally: Tally, share: Share, *, desk: Desk, symbol: str) -> None:
    tally.fills += share.fills
    tally.realised_units += share.realised_units
    tally.fees_units += share.fees_units
    tally.funding_units += share.funding_units
    tally.trades += share.trades
    tally.wins += share.wins
    if share.position.size_lots:
        mark_ticks = desk.state.markets[symbol].mark_ticks
        tally.unrealised_units += share.position.unrealised_units(desk.rules.instruments[symbol], mark_ticks)
