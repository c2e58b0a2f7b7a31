"""The accounts of an exchange: their names, what was paid in, and what each owns. A thin reader of one flat buffer.

Money that an order holds, margins and positions are kept by the settlement kernel; nothing is kept twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agora.domain.instruments import Instrument
from agora.domain.numbers import divide_up
from agora.exchange.rules import MarketRules
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import Words

_NAME_CHARACTERS_MAX = 200  # a name is shown on a page and written to each ledger row


class _Place(NamedTuple):
    """Where the words of an asset stand: its facts, and in an account's record its currency's and its own block."""

    asset_at: int
    cash_at: int
    position_at: int
    tick_lot_units: int
    quote: str


class Accounts:
    """All accounts, numbered from 0 in order of opening. Raises `ValueError` for terms the kernel refuses."""

    __slots__ = ("_account_words", "_numbers", "_places", "_start", "names", "rules", "words")

    def __init__(self, rules: MarketRules) -> None:
        currencies = rules.currencies
        facts = [
            layout.AssetFacts(
                tick_lot_units=listing.instrument.tick_lot_units,
                maker_fee_ppm=listing.instrument.maker_fee_ppm,
                taker_fee_ppm=listing.instrument.taker_fee_ppm,
                currency=currencies.index(listing.instrument.quote),
                listing_price=listing.listing_price_ticks,
                allows_shorts=listing.allows_shorts,
                initial_margin_ppm=listing.initial_margin_ppm,
                maintenance_ppm=min(listing.maintenance_ppm, listing.initial_margin_ppm),
            )
            for listing in rules.assets
        ]
        self.rules = rules
        self.words: Words = layout.new_accounts(
            facts, currencies=len(currencies), account_capacity=rules.account_capacity
        )
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._start = int(self.words[layout.ACCOUNTS_START])
        self._account_words = int(self.words[layout.ACCOUNT_WORDS])
        self._places = {
            listing.instrument.symbol: _Place(
                asset_at=int(self.words[layout.ASSETS_START]) + number * layout.ASSET_WORDS,
                cash_at=facts[number].currency * layout.CASH_WORDS,
                position_at=len(currencies) * layout.CASH_WORDS + number * layout.POSITION_WORDS,
                tick_lot_units=facts[number].tick_lot_units,
                quote=listing.instrument.quote,
            )
            for number, listing in enumerate(rules.assets)
        }

    def __len__(self) -> int:
        return len(self.names)

    def number_of(self, name: str) -> int | None:
        """The account of that name, or None."""
        return self._numbers.get(name)

    def rename_all(self, names: list[str]) -> None:
        """Take over the names of a snapshot, whose buffer was copied into `words`."""
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(names)}

    def open(self, name: str, *, cash: Mapping[str, int], units: Mapping[str, int]) -> int:
        """Open an account with cash per currency (money units) and inventory per symbol (lots); return its number.

        Both are deposits; the inventory counts as capital at the mark price. Raises `ValueError` where a name is
        taken or empty, a currency or symbol unknown, an amount negative or beyond what settlement can add up, or
        the exchange full; then nothing has changed.
        """
        self._check_name(name)
        paid_in = self._valued(cash, units)
        number = len(self.names)
        self.words[layout.ACCOUNT_COUNT] += 1
        self.names.append(name)
        self._numbers[name] = number
        for currency, amount in cash.items():
            self.words[self._cash_at(number, currency) + layout.CASH] += amount
            self.words[self._currency_at(currency) + layout.DEPOSITED] += amount
        for symbol, lots in units.items():
            position = self._position_at(number, symbol)
            self.words[position + layout.LOTS] = lots
            self.words[position + layout.COST] = lots * self._lot_value(symbol)
            self.words[self._places[symbol].asset_at + layout.SEEDED_LOTS] += lots
        for currency, amount in paid_in.items():
            self.words[self._cash_at(number, currency) + layout.INITIAL] = amount
        return number

    def _check_name(self, name: str) -> None:
        if not name or len(name) > _NAME_CHARACTERS_MAX:
            raise ValueError(f"an account's name has 1 to {_NAME_CHARACTERS_MAX} characters, this one {len(name)}")
        if name in self._numbers:
            raise ValueError(f"an account named {name!r} is open already")
        if len(self.names) >= self.rules.account_capacity:
            raise ValueError(f"all {self.rules.account_capacity} accounts of this exchange are taken")

    def _valued(self, cash: Mapping[str, int], units: Mapping[str, int]) -> dict[str, int]:
        """What is paid in per currency, inventory at mark prices included."""
        unknown = [key for key in cash if key not in self.rules.currencies]
        unknown += [key for key in units if key not in self.rules.symbols]
        if unknown:
            raise ValueError(f"not traded here: {', '.join(unknown)}")
        if any(amount < 0 for amount in (*cash.values(), *units.values())):
            raise ValueError(f"deposits cannot be negative: {dict(cash)}, {dict(units)}")
        total = dict(cash)
        for symbol, lots in units.items():
            seeded = int(self.words[self._places[symbol].asset_at + layout.SEEDED_LOTS])
            if seeded + lots > layout.LOTS_MAX:
                raise ValueError(f"{symbol}: more than {layout.LOTS_MAX} lots in circulation")
            quote = self._places[symbol].quote
            total[quote] = total.get(quote, 0) + lots * self._lot_value(symbol)
        for currency, amount in total.items():
            deposited = int(self.words[self._currency_at(currency) + layout.DEPOSITED])
            if amount > layout.UNITS_MAX or deposited + cash.get(currency, 0) > layout.UNITS_MAX:
                raise ValueError(f"{currency}: more than {layout.UNITS_MAX} money units paid in")
        return total

    def cash_units(self, account: int, currency: str) -> int:
        """Cash owned, what orders hold of it included."""
        return int(self.words[self._cash_at(account, currency) + layout.CASH])

    def held_units(self, account: int, currency: str) -> int:
        """Cash that resting buys hold."""
        return int(self.words[self._cash_at(account, currency) + layout.HELD])

    def margin_units(self, account: int, currency: str) -> int:
        """Cash locked for short positions and for sells that would open them."""
        return int(self.words[self._cash_at(account, currency) + layout.RESERVED])

    def initial_units(self, account: int, currency: str) -> int:
        """What was paid in: cash, and inventory at the mark price of that moment."""
        return int(self.words[self._cash_at(account, currency) + layout.INITIAL])

    def free_cash_units(self, account: int, symbol: str) -> int:
        """Cash in the quote currency of a symbol that no order and no margin holds."""
        at = self._account_at(account) + self._places[symbol].cash_at
        cash, held, reserved = self.words[at : at + layout.RESERVED + 1].tolist()
        return int(cash - held - reserved)

    def position_lots(self, account: int, symbol: str) -> int:
        """Lots owned; negative: owed."""
        return int(self.words[self._position_at(account, symbol) + layout.LOTS])

    def free_lots(self, account: int, symbol: str) -> int:
        """Lots owned that no resting sell holds."""
        at = self._position_at(account, symbol)
        lots, sell_lots = self.words[at : at + layout.SELL_LOTS + 1].tolist()
        return max(0, int(lots - sell_lots))

    def average_price_ticks(self, account: int, symbol: str) -> float:
        """Average cost of the position (a statistic); 0.0 when there is none."""
        at = self._position_at(account, symbol)
        lots, cost = int(self.words[at + layout.LOTS]), int(self.words[at + layout.COST])
        return cost / (lots * self._places[symbol].tick_lot_units) if lots else 0.0

    def position_words(self, account: int, symbol: str) -> list[int]:
        """All words of a position, in the order of the settlement layout."""
        at = self._position_at(account, symbol)
        words: list[int] = self.words[at : at + layout.POSITION_WORDS].tolist()
        return words

    def mark_ticks(self, symbol: str) -> int:
        """The last trade's price; the listing price before the first."""
        return int(self.words[self._places[symbol].asset_at + layout.MARK_PRICE])

    def fee_units(self, currency: str) -> int:
        """All fees collected in a currency."""
        return int(self.words[self._currency_at(currency) + layout.FEES])

    def deposited_units(self, currency: str) -> int:
        """All cash paid in, in a currency."""
        return int(self.words[self._currency_at(currency) + layout.DEPOSITED])

    def hold_units(self, symbol: str, *, price_ticks: int, size_lots: int) -> int:
        """What a resting buy of that price and size holds: notional and the higher fee, rounded up per lot."""
        instrument = self.instrument(symbol)
        per_lot = price_ticks * instrument.tick_lot_units
        ppm = max(instrument.maker_fee_ppm, instrument.taker_fee_ppm)
        return size_lots * (per_lot + divide_up(per_lot * ppm, layout.PPM))

    def instrument(self, symbol: str) -> Instrument:
        """Steps and fees of a listed asset."""
        return self.rules.assets[self.rules.symbols.index(symbol)].instrument

    def _lot_value(self, symbol: str) -> int:
        """Money value of one lot at the mark price."""
        return self.mark_ticks(symbol) * self._places[symbol].tick_lot_units

    def _currency_at(self, currency: str) -> int:
        number = self.rules.currencies.index(currency)
        return int(self.words[layout.CURRENCIES_START]) + number * layout.CURRENCY_WORDS

    def _cash_at(self, account: int, currency: str) -> int:
        return self._account_at(account) + self.rules.currencies.index(currency) * layout.CASH_WORDS

    def _position_at(self, account: int, symbol: str) -> int:
        return self._account_at(account) + self._places[symbol].position_at

    def _account_at(self, account: int) -> int:
        assert 0 <= account < len(self.names), f"no account {account}, {len(self.names)} are open"
        return self._start + account * self._account_words
