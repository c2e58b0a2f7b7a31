"""What an account is worth in one quote currency: cash, positions at mark prices, profit, return on what was paid in.

Read from the accounts buffer at one moment; nothing here is kept. Assets of other quote currencies are left out,
because the exchange knows no rate between currencies.
"""

from __future__ import annotations

import msgspec

from agora.exchange.accounts import Accounts
from agora.kernels import settlement_layout as layout


class Holding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A position and what came of it. `cost_units` is signed as the size; realised profit is before fees."""

    symbol: str
    size_lots: int
    cost_units: int
    value_units: int
    realised_units: int
    fees_units: int
    trades_count: int
    mark_ticks: int
    average_price_ticks: float

    @property
    def unrealised_units(self) -> int:
        """Profit if the position were closed at the mark price, without fees."""
        return self.value_units - self.cost_units


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """An account in one currency. Money is exact; ratios are statistics.

    total value = initial capital + realised + unrealised - fees, to the unit.
    """

    account: int
    name: str
    currency: str
    initial_capital_units: int
    cash_units: int
    free_cash_units: int
    holdings: tuple[Holding, ...]

    @property
    def total_value_units(self) -> int:
        """Cash and positions at mark prices; what is owed counts against it."""
        return self.cash_units + sum(holding.value_units for holding in self.holdings)

    @property
    def realised_units(self) -> int:
        """Profit of what was closed, before fees."""
        return sum(holding.realised_units for holding in self.holdings)

    @property
    def unrealised_units(self) -> int:
        """Profit of what is open, at mark prices."""
        return sum(holding.unrealised_units for holding in self.holdings)

    @property
    def fees_units(self) -> int:
        """Fees paid."""
        return sum(holding.fees_units for holding in self.holdings)

    @property
    def total_pnl_units(self) -> int:
        """What the account gained since it was opened, fees paid."""
        return self.total_value_units - self.initial_capital_units

    @property
    def trades_count(self) -> int:
        """Fills, as maker or taker."""
        return sum(holding.trades_count for holding in self.holdings)

    @property
    def roi(self) -> float:
        """Gain as a fraction of the initial capital; 0.0 where nothing was paid in."""
        return self.total_pnl_units / self.initial_capital_units if self.initial_capital_units else 0.0

    @property
    def pnl_percent(self) -> float:
        """Gain in percent of the initial capital."""
        return 100.0 * self.roi


def portfolio_of(accounts: Accounts, account: int, *, currency: str) -> Portfolio:
    """The portfolio of an account in a currency; holdings are those it owns, owes or has traded."""
    holdings = (
        _holding(accounts, account, listing.instrument.symbol)
        for listing in accounts.rules.assets
        if listing.instrument.quote == currency
    )
    cash, held = accounts.cash_units(account, currency), accounts.held_units(account, currency)
    return Portfolio(
        account=account,
        name=accounts.names[account],
        currency=currency,
        initial_capital_units=accounts.initial_units(account, currency),
        cash_units=cash,
        free_cash_units=cash - held - accounts.margin_units(account, currency),
        holdings=tuple(holding for holding in holdings if holding.size_lots or holding.trades_count),
    )


def _holding(accounts: Accounts, account: int, symbol: str) -> Holding:
    words = accounts.position_words(account, symbol)
    mark_ticks = accounts.mark_ticks(symbol)
    lots = words[layout.LOTS]
    return Holding(
        symbol=symbol,
        size_lots=lots,
        cost_units=words[layout.COST],
        value_units=accounts.instrument(symbol).notional_units(mark_ticks, lots),
        realised_units=words[layout.REALISED],
        fees_units=words[layout.FEES_PAID],
        trades_count=words[layout.TRADES],
        mark_ticks=mark_ticks,
        average_price_ticks=accounts.average_price_ticks(account, symbol),
    )
