"""Long random streams of everything that accounts, chance and the venue can do, audited after each command.

Poor accounts, so that balances bind; failing and retrying trades; two markets after one another with merges, splits,
redemptions and ties; heartbeats, restarts and other modes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary_ledger import COLLATERAL
from agora.exchange.binary_prices import UNIT
from agora.exchange.binary_records import (
    BinaryOrder,
    BinaryRequest,
    BinaryType,
    EngineMode,
    MarketState,
    OrderChanged,
    OrderEvent,
    Outcome,
    TradeChanged,
    TradePath,
    TradeStatus,
)
from agora.exchange.binary_rules import BuyBudget
from agora.exchange.requests import SelfTrade
from tests.exchange.binaries import binaries, window

WINDOW_NS = 300 * NS_PER_S
DEPOSIT = 60 * UNIT


class Stream:
    """An exchange under random commands, and what its changes say, kept beside it."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.exchange = binaries(
            seed=seed,
            fee_rate_ppm=70_000,
            taker_delay_ns=dice.choice((0, 150 * NS_PER_MS)),
            fail_ppm=100_000,
            retry_ppm=100_000,
            makers_per_trade_max=2,
            order_capacity=64,
            self_trade=dice.choice((SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_NEWEST)),
            resting_buy_budget=dice.choice(list(BuyBudget)),
        )
        self.accounts = [self.exchange.open_account(f"trader {n}", DEPOSIT, is_house=n == 0) for n in range(6)]
        self.markets: list[str] = []
        self.orders: dict[str, BinaryOrder] = {}
        self.trades: dict[int, TradeStatus] = {}
        self.beats: dict[int, str] = {}
        self.seen: Counter[str] = Counter()
        self.count = 0
        self.now_ns = 0
        self.commands: list[Callable[[], None]] = [
            *[self.submit] * 20,
            *[self.cancel] * 4,
            *[self.pass_time] * 8,
            *[self.sets] * 3,
            self.heartbeat,
            self.divert,
            self.mode,
            self.next_window,
        ]

    def play(self, commands: int) -> None:
        """Run so many, audited each time."""
        for _ in range(commands):
            self.dice.choice(self.commands)()
            self.exchange.check()
            self.follow()

    def next_window(self) -> None:
        """A new market begins when there is none; those that are over are decided, one in three as a tie."""
        for market in self.exchange.markets():
            if market.state is MarketState.CLOSED and market.condition_id in self.markets:
                end_price = self.dice.choice((99.0, 100.0, 101.0))
                assert self.exchange.resolve(market.condition_id, start_price=100.0, end_price=end_price)
                self.seen["tie" if end_price == 100.0 else "decided"] += 1
        if not any(self.exchange.market(name).state is MarketState.OPEN for name in self.markets):
            name = f"0x{len(self.markets)}"
            self.exchange.create_window(
                window(
                    condition_id=name,
                    up_token=f"{name}-up",
                    down_token=f"{name}-down",
                    start_ns=self.now_ns,
                    end_ns=self.now_ns + WINDOW_NS,
                )
            )
            self.markets.append(name)

    def submit(self) -> None:
        """Any order in the newest market, sensible or not."""
        if not self.markets:
            return
        self.count += 1
        dice, kind = self.dice, self.dice.choice(list(BinaryType))
        side, size = dice.choice((Side.BUY, Side.SELL)), dice.randint(300, 3_000) * UNIT // 100
        value = dice.choice((dice.randint(35, 65), dice.randint(35, 65), dice.randint(10, 90))) * size // 100
        ahead_s = dice.choice((170, 190, 250))
        account = dice.choice(self.accounts)
        order = self.exchange.submit(
            account,
            BinaryRequest(
                order_id=f"0x{self.count}" if dice.random() < 0.97 else "0x1",
                token_id=f"{self.markets[-1]}-{dice.choice(('up', 'down'))}",
                side=side,
                maker_amount=value if side is Side.BUY else size,
                taker_amount=size if side is Side.BUY else value,
                order_type=kind,
                is_post_only=dice.random() < 0.3,
                expiration_s=self.now_ns // NS_PER_S + ahead_s if kind is BinaryType.GTD else 0,
                key=dice.choice(("", f"key {account}")),
            ),
        )
        self.seen[order.reason.value if order.is_refused else order.status.value] += 1

    def cancel(self) -> None:
        """One's own order, everything, or an order that the venue ends."""
        account = self.dice.choice(self.accounts)
        orders = self.exchange.open_orders(account)
        if orders and self.dice.random() < 0.9:
            self.exchange.cancel(account, self.dice.choice(orders).order_id)
        elif self.dice.random() < 0.2:
            self.exchange.cancel_all(account)

    def pass_time(self) -> None:
        """Mostly some tenths of a second."""
        self.now_ns += self.dice.choice((NS_PER_S // 20, NS_PER_S // 5, NS_PER_S, 5 * NS_PER_S))
        self.exchange.step(self.now_ns)

    def sets(self) -> None:
        """Split, merge or redeem a random part in a random market."""
        if not self.markets:
            return
        account, name = self.dice.choice(self.accounts), self.dice.choice(self.markets[-2:])
        units = self.dice.randint(1, 20) * UNIT
        answer = self.dice.choice(
            (
                lambda: self.exchange.split(account, name, units),
                lambda: self.exchange.merge(account, name, units),
                lambda: self.exchange.redeem(account, name),
            )
        )()
        self.seen[str(getattr(answer, "kind", answer))] += 1

    def heartbeat(self) -> None:
        """The right id or a wrong one."""
        account = self.dice.choice(self.accounts)
        next_id = self.beats.get(account, "") if self.dice.random() < 0.7 else "wrong"
        self.beats[account] = self.exchange.heartbeat(account, f"key {account}", next_id).next_id

    def divert(self) -> None:
        """An unsettled trade goes another way."""
        trades = self.exchange.unsettled_trades()
        if trades:
            assert self.exchange.divert_trade(self.dice.choice(trades).trade_id, self.dice.choice(list(TradePath)))

    def mode(self) -> None:
        """Mostly normal."""
        if self.dice.random() < 0.2:
            self.exchange.restart(self.dice.randint(1, 5) * NS_PER_S)
        else:
            self.exchange.set_mode(self.dice.choice((EngineMode.NORMAL,) * 4 + tuple(EngineMode)[2:]))

    def follow(self) -> None:
        """Orders are placed once, change while they are open and end once; settled trades stay as they are."""
        for change in self.exchange.take_changes():
            if isinstance(change, OrderChanged):
                known = self.orders.get(change.order.order_id)
                assert (known is None) == (change.event is OrderEvent.PLACEMENT), change
                assert known is None or known.is_open or change.order.matched_units == known.matched_units, change
                self.orders[change.order.order_id] = change.order
            elif isinstance(change, TradeChanged):
                before = self.trades.get(change.trade.trade_id)
                assert (before is None) == (change.trade.status is TradeStatus.MATCHED), change
                assert before not in {TradeStatus.CONFIRMED, TradeStatus.FAILED}, change
                self.trades[change.trade.trade_id] = change.trade.status
        told = {order_id for order_id, order in self.orders.items() if order.is_open}
        opened = {each.order_id for n in self.accounts[1:] for each in self.exchange.open_orders(n)}
        assert told == opened

    def end(self) -> None:
        """When all is settled, decided and redeemed, the collateral that came in is with accounts and the venue."""
        self.exchange.set_mode(EngineMode.NORMAL)
        self.now_ns += WINDOW_NS + 1
        self.exchange.step(self.now_ns)
        for name in self.markets:
            self.exchange.resolve_as(name, Outcome.UP)
        for _ in range(2):
            self.now_ns += 60 * NS_PER_S
            self.exchange.step(self.now_ns)
            for name in self.markets:
                for account in self.accounts:
                    self.exchange.redeem(account, name)
        self.now_ns += 60 * NS_PER_S
        self.exchange.step(self.now_ns)
        self.follow()
        owned = sum(self.exchange.holding(account, COLLATERAL).free_units for account in self.accounts)
        assert owned + self.exchange.fees_units == DEPOSIT * len(self.accounts)
        assert all(self.exchange.assets(account) == (COLLATERAL,) for account in self.accounts)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_or_made_whatever_happens(seed: int) -> None:
    """2,500 commands a seed, audited after each; in the end every dollar is accounted for."""
    stream = Stream(seed)
    stream.play(2_500)
    stream.end()
    assert {"LIVE", "not_enough_balance", "duplicated", "SPLIT", "MERGE"} <= stream.seen.keys()
    assert {TradeStatus.CONFIRMED, TradeStatus.FAILED} == set(stream.trades.values())


def test_every_kind_of_end_is_met() -> None:
    """The streams are of use only when they reach what they are for."""
    seen: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for seed in range(3):
        stream = Stream(seed)
        stream.play(2_500)
        seen += stream.seen
        ends += Counter(f"{order.status} {order.reason}".strip() for order in stream.orders.values())
    assert {"REDEEM", "tie", "decided", "post_only_crosses", "fok_not_filled", "fak_no_match"} <= seen.keys()
    assert {
        "MATCHED",
        "CANCELED requested",
        "CANCELED_MARKET_RESOLVED market_resolved",
        "CANCELED_EXPIRED_ORDER expired",
        "CANCELED self_trade",
        "CANCELED heartbeat_lost",
        "MATCHED fak_remainder",
    } <= ends.keys()
