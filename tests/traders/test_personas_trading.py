"""All personas together on the real exchange, by their rules alone: nothing is refused, and all of it repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from agora.domain.dice import Dice, dice_of
from agora.domain.instruments import Instrument
from agora.domain.numbers import MONEY_SCALE
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import CancelRequest, NewsItem, OpenOrder, Request, Touch
from agora.exchange.rules import Listing, MarketRules
from agora.traders.personas import PERSONAS, PersonaStrategy, RuleTrader
from tests.traders.agent_views import FIRST, SECOND, instrument

PRICES = {FIRST: 10_000, SECOND: 2_000}
WEALTH_UNITS = 100_000 * MONEY_SCALE


@dataclass
class Seen:
    """What all agents see alike."""

    tick: int = 1
    closes: dict[str, list[int]] = field(default_factory=lambda: {symbol: [price] for symbol, price in PRICES.items()})
    items: list[NewsItem] = field(default_factory=list)


@dataclass
class SeatedView:
    """The view (port `AgentView`) of one account of a real exchange."""

    engine: MarketEngine
    seen: Seen
    account: int

    @property
    def tick(self) -> int:
        """The tick being decided."""
        return self.seen.tick

    @property
    def now_ns(self) -> int:
        """A second per tick."""
        return self.seen.tick * 10**9

    @property
    def symbols(self) -> Sequence[str]:
        """All listed."""
        return self.engine.rules.symbols

    def instrument(self, symbol: str) -> Instrument:
        """As listed."""
        return instrument(symbol)

    def touch(self, symbol: str) -> Touch:
        """Of the book."""
        return self.engine.book(symbol).touch()

    def last_ticks(self, symbol: str) -> int:
        """Of the book."""
        return self.engine.book(symbol).last_ticks

    def closes_ticks(self, symbol: str) -> Sequence[int]:
        """Of past ticks."""
        return self.seen.closes[symbol][-256:]

    def news(self) -> Sequence[NewsItem]:
        """The newest 8."""
        return self.seen.items[-8:]

    def free_cash_units(self, symbol: str) -> int:
        """Of the account."""
        return self.engine.accounts.free_cash_units(self.account, symbol)

    def position_lots(self, symbol: str) -> int:
        """Of the account."""
        return self.engine.accounts.position_lots(self.account, symbol)

    def free_lots(self, symbol: str) -> int:
        """Of the account."""
        return self.engine.accounts.free_lots(self.account, symbol)

    def average_price_ticks(self, symbol: str) -> float:
        """Of the account."""
        return self.engine.accounts.average_price_ticks(self.account, symbol)

    def equity_units(self, symbol: str) -> int:
        """Of the account."""
        return self.engine.portfolio(self.account, currency=instrument(symbol).quote).total_value_units

    def may_short(self, symbol: str) -> bool:
        """As listed."""
        return self.engine.rules.assets[self.engine.asset_of(symbol)].allows_shorts

    def open_orders(self, symbol: str) -> Sequence[OpenOrder]:
        """Of the account, in that book."""
        return self.engine.book(symbol).orders_of(self.account)


class Market:
    """An exchange with one agent of each persona and three market makers, moved tick by tick."""

    def __init__(self, seed: int, *, allows_shorts: bool) -> None:
        listings = tuple(
            Listing(instrument=instrument(symbol), listing_price_ticks=price, allows_shorts=allows_shorts)
            for symbol, price in PRICES.items()
        )
        self.engine = MarketEngine(MarketRules(assets=listings, order_capacity=1_024, account_capacity=32))
        self.seen = Seen()
        self.dice = dice_of(seed, "market")
        personas = [*PersonaStrategy, PersonaStrategy.MARKET_MAKER, PersonaStrategy.MARKET_MAKER]
        self.seats = [self._seat(number, persona, dice_of(seed, number)) for number, persona in enumerate(personas)]
        self.refused: list[str] = []
        self.sent: Counter[PersonaStrategy] = Counter()

    def _seat(self, number: int, persona: PersonaStrategy, dice: Dice) -> tuple[RuleTrader, SeatedView, int]:
        kind = PERSONAS[persona]
        worth = WEALTH_UNITS * kind.units_percent // 100 // len(PRICES)
        units = {symbol: worth // (price * instrument(symbol).tick_lot_units) for symbol, price in PRICES.items()}
        name = f"{persona}-{number}"
        cash = {"USD": WEALTH_UNITS * kind.cash_percent // 100}
        account = self.engine.open_account(name, cash=cash, units=units)
        return RuleTrader(name, persona, dice), SeatedView(self.engine, self.seen, account), account

    def run(self, ticks: int) -> None:
        """Everyone acts once per tick in a drawn order; now and then there is news."""
        for _ in range(ticks):
            if self.dice.chance(0.01):
                tone = 2.0 * self.dice.uniform() - 1.0
                self.seen.items.append(NewsItem(tick=self.seen.tick, text="news", tone=tone))
            for place in self.dice.shuffled(len(self.seats)):
                agent, view, account = self.seats[place]
                for request in agent.decide(view):
                    self._do(request, agent, account)
            self.engine.step(self.seen.tick * 10**9)
            self.engine.take_trades()
            self.seen.tick += 1
            for symbol, closes in self.seen.closes.items():
                closes.append(self.engine.book(symbol).last_ticks)

    def _do(self, request: Request, agent: RuleTrader, account: int) -> None:
        self.sent[agent.persona] += 1
        if not isinstance(request, CancelRequest):
            receipt = self.engine.submit(account, request)
        elif request.order_id:
            receipt = self.engine.cancel(account, request.symbol, request.order_id)
        else:
            self.engine.cancel_all(account, request.symbol)
            return
        if receipt.is_refused:
            self.refused.append(f"{agent.name}: {receipt.reason}: {request}")


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("allows_shorts", [True, False], ids=["shorts", "no shorts"])
def test_a_market_of_personas_trades_without_a_model_and_without_refusals(allows_shorts: bool) -> None:
    """Over 1,500 ticks every persona but the latecomer acts, hundreds of trades happen, and no request is refused."""
    for seed in (1, 2):
        market = Market(seed, allows_shorts=allows_shorts)
        market.run(1_500)
        assert not market.refused, f"seed {seed}"
        idle = set(PersonaStrategy) - set(market.sent)
        assert idle <= {PersonaStrategy.FOMO}, f"seed {seed}"  # it waits for a long rise, which need not come
        assert market.engine.trade_count > 300, f"seed {seed}"
        for symbol, price in PRICES.items():
            assert price // 2 < market.engine.book(symbol).last_ticks < price * 2, f"seed {seed}"


def test_the_same_seed_gives_the_same_market() -> None:
    """Two runs of a seed end in the same digest of the exchange and the same memories; another seed does not."""
    one, same, other = (Market(seed, allows_shorts=True) for seed in (5, 5, 6))
    for market in (one, same, other):
        market.run(200)
    assert one.engine.digest() == same.engine.digest() != other.engine.digest()
    memories = [[agent.snapshot() for agent, _, _ in market.seats] for market in (one, same)]
    assert memories[0] == memories[1]
