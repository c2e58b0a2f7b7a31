"""Long random streams of everything an account, the house, prices and outside hands can do, with the audit on."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agora.domain.orders import Side
from agora.exchange.perp_reasons import VENUE_CODES, PerpReason
from agora.exchange.perp_records import (
    BalanceChanged,
    ChangeEvent,
    Effect,
    OrderChanged,
    PerpOrder,
    PerpRequest,
    PerpStatus,
    PerpType,
    PositionChanged,
    PositionMode,
    TpslChanged,
    TpslStatus,
    TradeMade,
    TradeSide,
    TradingMode,
    TriggerBy,
    TriggerLeg,
)
from tests.exchange.perps import BTC, ETH, HOUSE, ONE, PRICE, perp_listing, perps, tier

DEPOSIT = 150 * ONE
LADDER = (tier(2_000, 50, 10_000), tier(8_000, 25, 20_000), tier(100_000, 10, 50_000))
TERMINAL = {
    PerpStatus.FILLED,
    PerpStatus.CANCELED,
    PerpStatus.PART_FILLED_CANCELED,
    PerpStatus.EXPIRED,
    PerpStatus.SYSTEM_CANCELED,
}


class Stream:
    """An exchange under random commands, and what its changes say, kept beside it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        listings = [perp_listing(symbol, maker=200, taker=600, tiers=LADDER) for symbol in (BTC, ETH)]
        self.exchange = perps(*listings)
        self.accounts = [self.exchange.open_account(f"trader {number}", DEPOSIT) for number in range(10)]
        self.exchange.set_position_mode(self.accounts[3], PositionMode.HEDGE)
        self.exchange.set_position_mode(self.accounts[2], PositionMode.HEDGE)
        self.mark = dict.fromkeys((BTC, ETH), PRICE)
        self.orders: dict[int, PerpOrder] = {}
        self.rows: dict[int, TpslStatus] = {}
        self.traded: dict[int, int] = {}
        self.wallets = dict.fromkeys(self.accounts, DEPOSIT)
        self.reasons: set[PerpReason] = set()
        self.now_ns = 0
        self.commands: list[Callable[[], object]] = [
            *[self.quote] * 6,
            *[self.submit] * 12,
            *[self.cancel] * 3,
            *[self.modify] * 3,
            *[self.tpsl] * 4,
            *[self.move] * 3,
            self.fund,
            self.close,
            self.settings,
            self.outside,
        ]

    def play(self, count: int) -> None:
        """Run so many commands; step and compare often."""
        for _ in range(count):
            self.dice.choice(self.commands)()
            self.exchange.check()
            if self.dice.random() < 0.3:
                self.now_ns += self.dice.randrange(1, 10**9)
                self.exchange.step(self.now_ns)
            self.follow()

    def around(self, symbol: str, spread: int) -> int:
        """A price near the mark."""
        return max(1, self.mark[symbol] + self.dice.randint(-spread, spread))

    def quote(self) -> None:
        """The house adds orders, which expire."""
        for _ in range(3):
            symbol = self.dice.choice((BTC, ETH))
            side = self.dice.choice((Side.BUY, Side.SELL))
            self.exchange.submit(
                HOUSE,
                PerpRequest(
                    symbol=symbol,
                    side=side,
                    size_lots=self.dice.randint(1, 30),
                    price_ticks=max(1, self.mark[symbol] - side * self.dice.randint(-10, 3_000)),
                    effect=self.dice.choice((Effect.GTC, Effect.POST_ONLY)),
                    expire_ts_ns=self.now_ns + self.dice.randrange(1, 20 * 10**9),
                ),
            )

    def leg(self, symbol: str) -> TriggerLeg | None:
        """Half of a row, sensible or not."""
        if self.dice.random() < 0.3:
            return None
        is_limit = self.dice.random() < 0.3
        return TriggerLeg(
            price_ticks=self.around(symbol, 5_000),
            by=self.dice.choice(list(TriggerBy)),
            order_type=PerpType.LIMIT if is_limit else PerpType.MARKET,
            order_price_ticks=self.around(symbol, 5_000) if is_limit else 0,
            size_lots=self.dice.randint(0, 20),
        )

    def submit(self) -> None:
        """An account sends an order."""
        account, symbol = self.dice.choice(self.accounts), self.dice.choice((BTC, ETH))
        held = self.exchange.positions(account, symbol)
        attaches = self.dice.random() < 0.1
        order = self.exchange.submit(
            account,
            PerpRequest(
                symbol=symbol,
                side=self.dice.choice((Side.BUY, Side.SELL)),
                size_lots=self.dice.randint(0, 60),
                type=self.dice.choice((PerpType.LIMIT, PerpType.LIMIT, PerpType.MARKET)),
                effect=self.dice.choice(list(Effect)),
                price_ticks=self.around(symbol, 2_000),
                trade_side=self.dice.choice(list(TradeSide)),
                position_id=self.dice.choice(held).position_id if held else 0,
                client_id=self.dice.choice(("", f"id {self.dice.randrange(50_000)}")),
                reduce_only=self.dice.random() < 0.4,
                tp=self.leg(symbol) if attaches else None,
                sl=self.leg(symbol) if attaches else None,
            ),
        )
        assert order.is_refused == (order.order_id == 0), f"half refused: {order}"
        self.note(order.reason if order.is_refused else PerpReason.NONE)

    def note(self, reason: PerpReason) -> None:
        """A refusal has a code of the venue."""
        assert reason in VENUE_CODES, f"{reason} has no code"
        self.reasons.add(reason)

    def some_order(self, account: int) -> PerpOrder | None:
        """An order of the account, mostly an open one."""
        orders = self.exchange.open_orders(account) or self.exchange.orders(account)
        return self.dice.choice(orders) if orders else None

    def cancel(self) -> None:
        """An account cancels."""
        account = self.dice.choice(self.accounts)
        order = self.some_order(account)
        if order is not None:
            self.note(self.exchange.cancel(account, order.order_id))

    def modify(self) -> None:
        """An account changes an order."""
        account = self.dice.choice(self.accounts)
        order = self.some_order(account)
        if order is not None:
            price = self.dice.choice((order.price_ticks, self.around(order.symbol, 2_000)))
            size = self.dice.randint(1, 60)
            self.note(self.exchange.modify(account, order.order_id, price_ticks=price, size_lots=size))

    def tpsl(self) -> None:
        """An account places, changes or cancels a row."""
        account = self.dice.choice(self.accounts)
        rows = [row for row in self.exchange.tpsl_rows(account) if row.status is TpslStatus.NEW]
        draw = self.dice.random()
        if rows and draw < 0.2:
            self.note(self.exchange.cancel_tpsl(account, self.dice.choice(rows).tpsl_id))
        elif rows and draw < 0.4:
            row = self.dice.choice(rows)
            tp, sl = self.leg(row.symbol), self.leg(row.symbol)
            self.note(self.exchange.modify_tpsl(account, row.tpsl_id, tp=tp, sl=sl))
        elif held := self.exchange.positions(account):
            position = self.dice.choice(held)
            place = self.dice.choice((self.exchange.place_tpsl, self.exchange.place_position_tpsl))
            answer = place(account, position.position_id, tp=self.leg(position.symbol), sl=self.leg(position.symbol))
            self.note(answer if isinstance(answer, PerpReason) else PerpReason.NONE)

    def move(self) -> None:
        """The reference walks, sometimes far."""
        symbol = self.dice.choice((BTC, ETH))
        step = self.dice.choice((200, 200, 2_000, 40_000))
        self.mark[symbol] = min(max(self.around(symbol, step), PRICE // 2), PRICE * 2)
        self.exchange.set_reference(symbol, index_ticks=self.mark[symbol], mark_ticks=self.mark[symbol])

    def fund(self) -> None:
        """Funding of either sign."""
        self.exchange.settle_funding(self.dice.choice((BTC, ETH)), self.dice.randint(-3_000_000, 3_000_000))

    def close(self) -> None:
        """An account closes at market, or cancels all."""
        account = self.dice.choice(self.accounts)
        held = self.exchange.positions(account)
        if held and self.dice.random() < 0.5:
            self.note(self.exchange.close_position(account, self.dice.choice(held).position_id))
        else:
            self.exchange.cancel_all(account)

    def settings(self) -> None:
        """Leverage, and money for whoever has lost it."""
        account, symbol = self.dice.choice(self.accounts), self.dice.choice((BTC, ETH))
        self.note(self.exchange.set_leverage(account, symbol, self.dice.randint(0, 60)))
        self.exchange.set_trading_mode(symbol, self.dice.choice((*[TradingMode.OPEN] * 9, *TradingMode)))
        self.exchange.set_trading_mode(self.dice.choice((BTC, ETH)), TradingMode.OPEN)
        if self.exchange.account(account).wallet_units < DEPOSIT // 5:
            self.exchange.deposit(account, DEPOSIT)

    def outside(self) -> None:
        """Another hand on the account; a trade undone."""
        account = self.dice.choice(self.accounts)
        self.exchange.foreign_trade(account, self.dice.choice((BTC, ETH)), self.dice.choice((-7, 7)))
        trades = self.exchange.trades(account)
        if trades and self.dice.random() < 0.5:
            self.exchange.bust_trade(self.dice.choice(trades[-20:]).trade_id)

    def follow(self) -> None:
        """Take the changes as a client would and compare with what the exchange says of itself."""
        for change in self.exchange.take_changes():
            if isinstance(change, OrderChanged):
                self.follow_order(change)
            elif isinstance(change, TradeMade):
                trade = change.trade
                self.traded[trade.order_id] = self.traded.get(trade.order_id, 0) + trade.size_lots * (
                    not trade.is_busted
                )
            elif isinstance(change, BalanceChanged):
                self.wallets[change.money.account] = change.money.wallet_units
            elif isinstance(change, TpslChanged):
                assert self.rows.get(change.row.tpsl_id, TpslStatus.NEW) is TpslStatus.NEW, f"woke again: {change}"
                self.rows[change.row.tpsl_id] = change.row.status
            elif isinstance(change, PositionChanged):
                assert (change.event is ChangeEvent.CLOSE) == (change.position.size_lots == 0), f"{change}"
        for account in self.accounts:
            assert self.wallets[account] == self.exchange.account(account).wallet_units, f"account {account}: not told"
            for order in self.exchange.open_orders(account):
                assert self.orders[order.order_id] == order, f"told {self.orders[order.order_id]}, is {order}"

    def follow_order(self, change: OrderChanged) -> None:
        """An order is created once, ends once, never shrinks what it filled, and says what its trades said."""
        order, before = change.order, self.orders.get(change.order.order_id)
        assert (before is None) == (change.event is ChangeEvent.CREATE), f"{change} after {before}"
        assert (change.event is ChangeEvent.CLOSE) == (order.status in TERMINAL), f"{change}"
        if before is not None:
            assert before.status not in TERMINAL, f"{change} after the end {before}"
            assert order.filled_lots >= before.filled_lots, f"{change} forgot fills of {before}"
        assert order.filled_lots <= order.size_lots, f"overfilled: {order}"
        assert order.filled_lots == self.traded.get(order.order_id, 0), f"{order} traded {self.traded}"
        if not order.is_open:
            self.traded.pop(order.order_id, None)
        self.orders[order.order_id] = order


@pytest.mark.parametrize("seed", range(10))
def test_random_commands_conserve_money_and_tell_everything(seed: int) -> None:
    """Thousands of commands of all kinds: the audit holds after each, and the changes alone rebuild the orders."""
    stream = Stream(seed)
    stream.play(8_000)
    assert len(stream.reasons) > 20, f"the stream is too tame, it met only {sorted(stream.reasons)}"
    assert {TpslStatus.FILLED, TpslStatus.SYSTEM_CANCELED, TpslStatus.CANCELED} <= set(stream.rows.values())
    ended = {order.status for order in stream.orders.values()}
    assert ended >= TERMINAL, f"never ended as {TERMINAL - ended}"
    liquidated = [order for order in stream.orders.values() if order.source == "liquidation"]
    assert liquidated, "nobody was liquidated"


def test_the_same_commands_have_the_same_consequences() -> None:
    """No clock and no chance inside: two exchanges under one stream tell the same, to the last field."""
    first, second = Stream(99), Stream(99)
    first.play(1_500)
    second.play(1_500)
    assert first.orders == second.orders
    assert first.wallets == second.wallets
    assert first.exchange.totals() == second.exchange.totals()
