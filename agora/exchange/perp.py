"""A perpetual-futures exchange in one object: pure and deterministic, no clock; time moves by `advance` and `step`.

Orders are matched by the compiled book of the market; money, positions, margin, triggers and liquidation are exact
integers in Python. One quote currency, cross margin; one-way and hedge mode. Isolated margin is refused with a
reason. Money paid in is, at every step, in the wallets, the fees, the insurance account and the funding pot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from agora.domain.accounting import Ledger
from agora.domain.orders import Side
from agora.exchange import perp_margin as margin
from agora.exchange import perp_settings as settings
from agora.exchange.book import Book
from agora.exchange.perp_accounts import PerpAccount, PositionState
from agora.exchange.perp_audit import audit
from agora.exchange.perp_bust import bust
from agora.exchange.perp_crossing import Crossing
from agora.exchange.perp_liquidation import Liquidation
from agora.exchange.perp_open_orders import OpenOrders
from agora.exchange.perp_orders import Orders
from agora.exchange.perp_positions import settle_funding, tell_balances
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    Bar,
    Change,
    ClosedPosition,
    FundingSettled,
    MarginMode,
    Money,
    OrderSource,
    PerpOrder,
    PerpPosition,
    PerpRequest,
    PerpTicker,
    PerpTrade,
    PerpType,
    PositionMode,
    Totals,
    TpslKind,
    TpslRow,
    TradeSide,
    TradingMode,
    TriggerBy,
    TriggerLeg,
    WorstCase,
)
from agora.exchange.perp_rules import PerpListing, PerpRules
from agora.exchange.perp_state import INSURANCE, Market, PerpState
from agora.exchange.perp_tpsl import TpslRows
from agora.exchange.perp_triggers import Triggers, closing_request
from agora.exchange.records import Depth
from agora.kernels import matching_layout as layout


class PerpExchange:
    """The exchange. Accounts are numbers from `open_account`; number 0 is the insurance account.

    A refusal is a value (`PerpReason`, or an order with one) and changes nothing. Per account the newest 100,000
    orders, trades, closed positions, rows and client ids are kept (`PerpRules.history_max`); open orders always.
    Between two `take_changes` at most 200,000 changes are kept, older ones are counted in `changes_lost`.
    """

    def __init__(self, rules: PerpRules) -> None:
        self.rules = rules
        self._state = PerpState(rules)
        self._rows = TpslRows(self._state)
        self._open_orders = OpenOrders(self._state)
        crossing = Crossing(self._state, self._rows, self._open_orders)
        self._orders = Orders(self._state, self._open_orders, crossing)
        self._triggers = Triggers(self._state, self._rows, self._orders)
        self._liquidation = Liquidation(self._state, self._orders)
        self._names: dict[str, int] = {}
        insurance = self.open_account("insurance", 0, is_house=True)
        assert insurance == INSURANCE, f"the insurance account has number {insurance}"

    # Accounts.

    def open_account(self, name: str, deposit_units: int, *, is_house: bool = False) -> int:
        """Open an account with money; return its number. House accounts (market makers) have neither margin checks nor
        history. Raises `ValueError` for a name that is taken, a negative deposit, or when all accounts are taken.
        """
        if not name or name in self._names or deposit_units < 0:
            raise ValueError(f"account {name!r} with {deposit_units} units: a new name and no negative deposit, please")
        if len(self._names) >= self.rules.account_capacity:
            raise ValueError(f"all {self.rules.account_capacity} accounts of this exchange are taken")
        number = len(self._state.accounts)
        account = PerpAccount(number, name, is_house=is_house, history_max=self.rules.history_max)
        self._state.accounts.append(account)
        self._names[name] = number
        account.ledger.deposit(deposit_units)
        account.told_money = margin.money_of(self._state, account)
        return number

    def deposit(self, account: int, units: int) -> None:
        """Pay money in (or, negative, out)."""
        self._state.account(account).ledger.deposit(units)
        self._touch(account)

    def set_leverage(self, account: int, symbol: str, leverage: int) -> PerpReason:
        """Choose the leverage of a symbol; not with open orders there."""
        reason = settings.set_leverage(self._state, self._state.account(account), symbol=symbol, leverage=leverage)
        self._touch(account)
        return reason

    def set_margin_mode(self, account: int, symbol: str, mode: MarginMode) -> PerpReason:
        """Cross is the only mode here."""
        return settings.set_margin_mode(self._state, self._state.account(account), symbol=symbol, mode=mode)

    def set_position_mode(self, account: int, mode: PositionMode) -> PerpReason:
        """One position per symbol, or long and short; not with any open position or order."""
        return settings.set_position_mode(self._state.account(account), mode)

    # Orders.

    def submit(self, account: int, request: PerpRequest) -> PerpOrder:
        """Take an order; all that follows from it has happened when this returns, but for triggers and liquidation,
        which wait for `step`.
        """
        order = self._orders.submit(self._state.account(account), request)
        tell_balances(self._state)
        return order

    def cancel(self, account: int, order_id: int, *, reason: PerpReason = PerpReason.REQUESTED) -> PerpReason:
        """Cancel an order of one's own; with another reason the system does it."""
        refusal = self._orders.cancel(self._state.account(account), order_id, reason)
        tell_balances(self._state)
        return refusal

    def cancel_all(
        self, account: int, symbol: str | None = None, *, reason: PerpReason = PerpReason.REQUESTED
    ) -> list[PerpOrder]:
        """Cancel an account's open orders; return them as they ended. With another reason the system does it.

        House accounts' orders are not known one by one; theirs are taken from the books, and none is returned.
        """
        owner = self._state.account(account)
        if owner.is_house:
            for market in self._state.markets.values():
                if symbol in {None, market.symbol}:
                    self._cancel_house(account, market)
            return []
        ended = [order.order_id for order in owner.open_orders(symbol)]
        for order_id in ended:
            self._orders.cancel(owner, order_id, reason)
        tell_balances(self._state)
        return [owner.orders[order_id] for order_id in ended]

    def _cancel_house(self, account: int, market: Market) -> None:
        for order in market.book.orders_of(account):
            self._orders.cancel(self._state.account(account), order.order_id)

    def modify(self, account: int, order_id: int, *, price_ticks: int, size_lots: int) -> PerpReason:
        """Give a limit order another price and size (the whole, filled part included)."""
        reason = self._orders.modify(
            self._state.account(account), order_id, price_ticks=price_ticks, size_lots=size_lots
        )
        tell_balances(self._state)
        return reason

    def close_position(self, account: int, position_id: int) -> PerpReason:
        """Close a position at market."""
        owner = self._state.account(account)
        position = owner.position_by_id(position_id)
        if position is None:
            return PerpReason.UNKNOWN_POSITION
        request = closing_request(owner, position, size_lots=abs(position.book.size_lots))
        order = self._orders.submit_unchecked(owner, request, OrderSource.API)
        tell_balances(self._state)
        return order.reason if order.is_refused else PerpReason.NONE

    def close_all(self, account: int, symbol: str | None = None) -> None:
        """Close all positions at market, in one symbol or everywhere."""
        for position in tuple(self._state.account(account).positions.values()):
            if symbol in {None, position.symbol}:
                self.close_position(account, position.position_id)

    # Take-profit and stop-loss.

    def place_tpsl(
        self, account: int, position_id: int, *, tp: TriggerLeg | None, sl: TriggerLeg | None
    ) -> TpslRow | PerpReason:
        """Add a row of fixed sizes to a position."""
        return self._place_tpsl(account, position_id, legs=(tp, sl), kind=TpslKind.FIXED)

    def place_position_tpsl(
        self, account: int, position_id: int, *, tp: TriggerLeg | None, sl: TriggerLeg | None
    ) -> TpslRow | PerpReason:
        """Add the one row that closes whatever the position holds when it fires."""
        return self._place_tpsl(account, position_id, legs=(tp, sl), kind=TpslKind.POSITION)

    def _place_tpsl(
        self, account: int, position_id: int, *, legs: tuple[TriggerLeg | None, TriggerLeg | None], kind: TpslKind
    ) -> TpslRow | PerpReason:
        return self._triggers.place(self._state.account(account), position_id, legs=legs, kind=kind)

    def modify_tpsl(self, account: int, tpsl_id: int, *, tp: TriggerLeg | None, sl: TriggerLeg | None) -> PerpReason:
        """Give a row other legs; None keeps the leg that is there."""
        return self._triggers.modify(self._state.account(account), tpsl_id, legs=(tp, sl))

    def cancel_tpsl(self, account: int, tpsl_id: int) -> PerpReason:
        """End a row."""
        return self._triggers.cancel(self._state.account(account), tpsl_id)

    # What happens to everybody.

    def advance(self, now_ns: int) -> None:
        """Move the clock only, so that what follows is stamped with it."""
        assert now_ns >= self._state.now_ns, f"time runs backwards: from {self._state.now_ns} to {now_ns}"
        self._state.now_ns = now_ns

    def step(self, now_ns: int) -> None:
        """Move time: orders expire, hit triggers fire, accounts below maintenance are liquidated, bars roll, and
        everything is audited. Raises `AssertionError` when money, lots or orders do not add up.
        """
        self.advance(now_ns)
        for market in self._state.markets.values():
            if now_ns >= market.book.words[layout.EARLIEST_EXPIRY]:
                self._open_orders.expire(market)
        self._triggers.fire()
        self._liquidation.run()
        self._triggers.fire()
        for market in self._state.markets.values():
            market.bars.roll(now_ns)
            market.mark_bars.roll(now_ns)
        tell_balances(self._state)
        self.check()

    def check(self) -> None:
        """Assert conservation and that the orders of accounts are those of the books."""
        audit(self._state)

    def set_reference(self, symbol: str, *, index_ticks: int, mark_ticks: int) -> None:
        """Move index and mark price; rows that look at the mark are hit now and fire in the next `step`."""
        market = self._market(symbol)
        assert min(index_ticks, mark_ticks) > 0, f"{symbol}: index {index_ticks}, mark {mark_ticks}"
        market.index_ticks, market.mark_ticks = index_ticks, mark_ticks
        market.mark_bars.add(self._state.now_ns, mark_ticks)
        self._rows.note_price(market, TriggerBy.MARK_PRICE, mark_ticks)

    def settle_funding(self, symbol: str, rate_ppb: int) -> FundingSettled:
        """Charge funding now, on the positions open now; a positive rate is paid by longs."""
        settled = settle_funding(self._state, self._market(symbol), rate_ppb)
        tell_balances(self._state)
        return settled

    def set_trading_mode(self, symbol: str, mode: TradingMode) -> None:
        """Restrict what accounts may send; what the venue itself does goes on."""
        self._market(symbol).mode = mode

    def foreign_trade(self, account: int, symbol: str, signed_lots: int) -> PerpOrder:
        """Somebody else with the same account trades at market, whatever its margin: the order has no client id."""
        owner = self._state.account(account)
        side = Side.BUY if signed_lots > 0 else Side.SELL
        is_hedge = owner.position_mode is PositionMode.HEDGE
        request = PerpRequest(
            symbol=symbol,
            side=side,
            size_lots=abs(signed_lots),
            type=PerpType.MARKET,
            trade_side=TradeSide.OPEN if is_hedge else TradeSide.NONE,
        )
        order = self._orders.submit_unchecked(owner, request, OrderSource.WEB)
        tell_balances(self._state)
        return order

    def bust_trade(self, trade_id: int) -> bool:
        """Undo a trade of an account with a history: both sides get money, fee and lots back; False: not known."""
        is_known = bust(self._state, self._rows, trade_id)
        for market in self._state.markets.values():
            self._open_orders.trim_reducers(market)
        tell_balances(self._state)
        return is_known

    def load_bars(self, symbol: str, minutes: Iterable[Bar]) -> None:
        """Give a symbol a past: finished minutes, oldest first, before anything has happened."""
        market = self._market(symbol)
        history = list(minutes)
        market.bars.load(history)
        market.mark_bars.load([msgspec.structs.replace(bar, size_lots=0, quote_units=0, trades=0) for bar in history])

    def take_changes(self) -> list[Change]:
        """Everything that happened since the last call, in causal order."""
        changes = list(self._state.changes)
        self._state.changes.clear()
        return changes

    @property
    def changes_lost(self) -> int:
        """Changes that nobody took in time."""
        return self._state.changes_lost

    # What can be read.

    @property
    def now_ns(self) -> int:
        """The time that everything is stamped with."""
        return self._state.now_ns

    @property
    def symbols(self) -> tuple[str, ...]:
        """All listed symbols."""
        return tuple(self._state.markets)

    def number_of(self, name: str) -> int | None:
        """The account of a name."""
        return self._names.get(name)

    def account(self, account: int) -> Money:
        """An account's money: wallet = available + frozen + margin."""
        return margin.money_of(self._state, self._state.account(account))

    def ledger(self, account: int) -> Ledger:
        """Where an account's wallet came from: deposits, realised, fees, funding."""
        return msgspec.structs.replace(self._state.account(account).ledger)

    def position_mode(self, account: int) -> PositionMode:
        """One-way or hedge."""
        return self._state.account(account).position_mode

    def leverage(self, account: int, symbol: str) -> int:
        """The leverage chosen for a symbol, or its default."""
        return margin.leverage_of(self._state.account(account), self._market(symbol))

    def order(self, account: int, order_id: int) -> PerpOrder | None:
        """An order by the venue's id, open or ended."""
        return self._state.account(account).orders.get(order_id)

    def order_by_client_id(self, account: int, client_id: str) -> PerpOrder | None:
        """An order by its owner's id."""
        owner = self._state.account(account)
        return owner.orders.get(owner.client_ids.get(client_id, 0))

    def open_orders(self, account: int, symbol: str | None = None) -> list[PerpOrder]:
        """Orders that may still trade, oldest first."""
        return list(self._state.account(account).open_orders(symbol))

    def orders(self, account: int) -> Sequence[PerpOrder]:
        """All kept orders, open and ended, oldest first."""
        return list(self._state.account(account).orders.values())

    def trades(self, account: int) -> Sequence[PerpTrade]:
        """All kept trades, oldest first."""
        return list(self._state.account(account).trades)

    def positions(self, account: int, symbol: str | None = None) -> list[PerpPosition]:
        """Open positions at the present mark."""
        owner = self._state.account(account)
        places: list[PositionState] = [place for place in owner.positions.values() if symbol in {None, place.symbol}]
        return [margin.view_of(self._state, owner, place) for place in places]

    def closed_positions(self, account: int) -> Sequence[ClosedPosition]:
        """Positions that have ended, oldest first."""
        return list(self._state.account(account).closed)

    def tpsl_rows(self, account: int) -> Sequence[TpslRow]:
        """All kept rows, waiting and ended, oldest first."""
        return list(self._state.account(account).tpsl.values())

    def worst_case(self, account: int, symbol: str) -> WorstCase:
        """The largest position that an account's open orders can bring it to."""
        return margin.worst_case(self._state.account(account), self._market(symbol))

    def listing(self, symbol: str) -> PerpListing:
        """What a symbol is listed as."""
        return self._market(symbol).listing

    def trading_mode(self, symbol: str) -> TradingMode:
        """What a symbol allows at present."""
        return self._market(symbol).mode

    def book(self, symbol: str) -> Book:
        """The book of a symbol: touch, last price, depth, and the orders of a house account."""
        return self._market(symbol).book

    def depth(self, symbol: str, levels: int) -> Depth:
        """The best levels of both sides."""
        return self._market(symbol).book.depth(levels=levels)

    def last_ticks(self, symbol: str) -> int:
        """The last trade's price; the listing price before the first."""
        return self._market(symbol).book.last_ticks

    def mark_ticks(self, symbol: str) -> int:
        """The mark price."""
        return self._market(symbol).mark_ticks

    def index_ticks(self, symbol: str) -> int:
        """The index price."""
        return self._market(symbol).index_ticks

    def bars(
        self, symbol: str, interval: str, *, limit: int, end_ns: int | None = None, by: TriggerBy = TriggerBy.LAST_PRICE
    ) -> list[Bar]:
        """The newest bars that began before `end_ns`, the forming one included; `KeyError` for another interval."""
        market = self._market(symbol)
        series = market.mark_bars if by is TriggerBy.MARK_PRICE else market.bars
        return series.bars(interval, limit=limit, end_ns=end_ns)

    def ticker(self, symbol: str) -> PerpTicker:
        """The last 24 hours."""
        market = self._market(symbol)
        day = market.bars.day()
        return PerpTicker(
            symbol=symbol,
            last_ticks=market.book.last_ticks,
            mark_ticks=market.mark_ticks,
            index_ticks=market.index_ticks,
            open_ticks=day.open_ticks,
            high_ticks=day.high_ticks,
            low_ticks=day.low_ticks,
            size_lots=day.size_lots,
            quote_units=day.quote_units,
        )

    def fundings(self, symbol: str) -> Sequence[FundingSettled]:
        """Past funding instants, oldest first; the newest 1,000."""
        return list(self._market(symbol).fundings)

    def totals(self) -> Totals:
        """What the exchange has collected and taken over."""
        insurance = self._state.account(INSURANCE)
        return Totals(
            deposits_units=sum(account.ledger.deposits for account in self._state.accounts),
            fees_units=self._state.fees_units,
            funding_pot_units=self._state.funding_pot_units,
            insurance_units=insurance.ledger.cash,
        )

    def _market(self, symbol: str) -> Market:
        market = self._state.markets.get(symbol)
        if market is None:
            raise KeyError(f"unknown symbol {symbol!r}; listed: {', '.join(self._state.markets)}")
        return market

    def _touch(self, account: int) -> None:
        if not self._state.account(account).is_house:
            self._state.touched[account] = None
        tell_balances(self._state)
