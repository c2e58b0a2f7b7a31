"""The others in the up/down markets: quotes on both tokens around the fair value, trades, and bounds to both."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from agora.domain.dice import Dice, dice_of
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_prices import POINTS, UNIT
from agora.exchange.binary_records import (
    BinaryRequest,
    BinaryStatus,
    LastTrade,
    MarketState,
    MarketView,
    MatchKind,
    Outcome,
    TradeChanged,
)
from agora.exchange.binary_rules import BinaryRules
from agora.testnet.polymarket_flow import FlowSettings, PolymarketFlow
from agora.testnet.polymarket_windows import Windows, WindowSettings

START_S = 1_800_000_000 // 300 * 300
SIGMA = 1e-4  # of a second's return
TICK_NS = 200 * NS_PER_MS


class Venue:
    """A market of five-minute windows around a walking price."""

    def __init__(self, seed: int = 1, **settings: object) -> None:
        self.dice: Dice = dice_of(seed, "price")
        self.exchange = BinaryExchange(
            BinaryRules(order_capacity=512, account_capacity=8, fail_ppm=20_000), dice_of(seed, "exchange")
        )
        self.exchange.advance(START_S * NS_PER_S)
        self.windows = Windows(self.exchange, WindowSettings(seed=seed, lengths_s=(300,), ahead=1))
        self.flow = PolymarketFlow(
            self.exchange,
            dice_of(seed, "flow"),
            fair_value=self.fair_value,
            settings=FlowSettings(**settings),  # type: ignore[arg-type]
        )
        self.price = 60_000.0
        self.changes: Counter[str] = Counter()
        self.trades: list[LastTrade] = []
        self.kinds: Counter[MatchKind] = Counter()

    def fair_value(self, market: MarketView) -> float | None:
        """The probability for a settlement by the last print; before the start of a window, one half."""
        settlement = self.windows.settlement(market.condition_id)
        assert settlement is not None
        if settlement.price_to_beat is None:
            return 0.5
        seconds = max(1e-3, (market.end_ns - self.exchange.now_ns) / NS_PER_S)
        return 0.5 * math.erfc(-math.log(self.price / settlement.price_to_beat) / (SIGMA * math.sqrt(2 * seconds)))

    def tick(self) -> None:
        """A fifth of a second."""
        self.exchange.advance(self.exchange.now_ns + TICK_NS)
        self.price *= math.exp(SIGMA * math.sqrt(TICK_NS / NS_PER_S) * self.dice.normal())
        self.windows.observe(self.exchange.now_ns, self.price)
        self.flow.tick(self.open_markets())
        for change in self.exchange.take_changes():
            self.changes[type(change).__name__] += 1
            if isinstance(change, LastTrade):
                self.trades.append(change)
            elif isinstance(change, TradeChanged) and change.trade.status.value == "MATCHED":
                self.kinds.update(maker.kind for maker in change.trade.makers)

    def open_markets(self) -> list[MarketView]:
        """The windows that take orders, the one that ends first at the head."""
        return [market for market in self.exchange.markets() if market.state is MarketState.OPEN]

    def run(self, seconds: int) -> None:
        """Let time pass, audited every ten seconds."""
        for number in range(seconds * 5):
            self.tick()
            if number % 50 == 0:
                self.exchange.check()
        self.exchange.check()


def test_both_tokens_are_quoted_around_the_fair_value_and_traded() -> None:
    """Twenty minutes: never crossed, near the fair value, all kinds of match, every window decided."""
    venue = Venue()
    errors = []
    for _ in range(120):
        venue.run(10)
        for market in venue.open_markets()[:1]:
            book, fair = venue.exchange.book(market.up_token), venue.fair_value(market)
            assert fair is not None
            if book.bids and book.asks:
                assert book.bids[0].price_points < book.asks[0].price_points
                errors.append((book.bids[0].price_points + book.asks[0].price_points) / 2 - fair * POINTS)
    assert len(errors) > 60
    assert sum(map(abs, errors)) / len(errors) < 400
    assert set(venue.kinds) == set(MatchKind)
    assert len({trade.token_id for trade in venue.trades}) >= 8
    assert sum(market.state is MarketState.RESOLVED for market in venue.exchange.markets()) >= 3
    assert venue.exchange.changes_lost == 0
    assert venue.exchange.trade(venue.trades[0].trade_id) is None  # among themselves: not kept


def test_the_same_seed_is_the_same_market_and_another_is_another() -> None:
    """Trade for trade."""
    runs = [Venue(seed) for seed in (1, 1, 2)]
    for venue in runs:
        venue.run(60)
    assert runs[0].trades == runs[1].trades != []
    assert runs[0].trades != runs[2].trades


def test_work_is_bounded_however_much_time_has_passed() -> None:
    """After an hour of silence there is one round of quotes, and two takers a window at most."""
    venue = Venue(noise_per_s=50.0, informed_per_s=50.0)
    venue.run(2)
    before = len(venue.trades)
    venue.exchange.advance(venue.exchange.now_ns + 3_600 * NS_PER_S)
    venue.tick()
    assert len(venue.trades) - before <= 4  # of takers that were held when the silence began
    assert len(venue.open_markets()) == 2
    for market in venue.open_markets():
        for account in (venue.flow.maker, venue.flow.taker):
            assert len(venue.exchange.open_orders(account, condition_id=market.condition_id)) <= 16


def test_informed_takers_take_what_is_offered_too_cheap() -> None:
    """With makers and noise away, a bid for Down that offers Up below its worth is taken within seconds."""
    venue = Venue(noise_per_s=0.0, quote_ms=60_000)
    venue.run(1)
    market = venue.open_markets()[0]
    venue.flow.clear(market.condition_id)
    account = venue.exchange.open_account("somebody", 1_000 * UNIT)
    request = BinaryRequest(
        order_id="0x1", token_id=market.down_token, side=Side.BUY, maker_amount=16 * UNIT, taker_amount=20 * UNIT
    )
    assert venue.exchange.submit(account, request).status is BinaryStatus.LIVE
    fair = venue.fair_value(market)
    assert fair is not None
    assert fair > 0.3
    venue.run(10)
    (trade,) = venue.exchange.trades(account)
    assert (trade.taker.account, trade.makers[0].order_id) == (venue.flow.taker, "0x1")


@pytest.mark.parametrize("side, points", [(Side.BUY, 2_000), (Side.SELL, 8_000)])
def test_a_fault_plan_can_have_an_order_filled_at_once(side: Side, points: int) -> None:
    """Whatever stands before it is taken first; the rest of the market goes on."""
    venue = Venue()
    venue.run(5)
    market = venue.open_markets()[0]
    account = venue.exchange.open_account("somebody", 1_000 * UNIT)
    venue.exchange.split(account, market.condition_id, 100 * UNIT)
    venue.exchange.advance(venue.exchange.now_ns + 5 * NS_PER_S)
    for token in (market.up_token, market.down_token):
        order_id = f"0x{token}"
        value = points * 10 * UNIT // POINTS
        amounts = (value, 10 * UNIT) if side is Side.BUY else (10 * UNIT, value)
        request = BinaryRequest(
            order_id=order_id, token_id=token, side=side, maker_amount=amounts[0], taker_amount=amounts[1]
        )
        assert venue.exchange.submit(account, request).status is BinaryStatus.LIVE
        venue.flow.hit(order_id)
        order = venue.exchange.order(order_id)
        assert order is not None
        assert order.status is BinaryStatus.MATCHED
    venue.exchange.check()
    venue.run(5)
    assert venue.exchange.book(market.up_token).bids


@pytest.mark.parametrize("side", list(Side))
def test_a_fault_plan_can_leave_an_order_little_to_trade_with(side: Side) -> None:
    """So many shares at the best price, on both tokens' books the same; then the makers are back."""
    venue = Venue(noise_per_s=0.0, informed_per_s=0.0)
    venue.run(2)
    market = venue.open_markets()[0]
    for token in (market.up_token, market.down_token):
        before = venue.exchange.book(token)
        best = (before.asks if side is Side.BUY else before.bids)[0]
        venue.flow.thin(token, side, 7 * UNIT)
        after = venue.exchange.book(token)
        found = after.asks if side is Side.BUY else after.bids
        assert [tuple(level) for level in found] == [(best.price_points, 7 * UNIT)]
        venue.run(1)
        assert len(venue.exchange.book(token).asks) > 1


def test_quotes_that_still_fit_keep_their_place_in_the_queue() -> None:
    """As long as makers believe the same, nothing is cancelled, whichever token a quote is for."""
    exchange = Venue().exchange
    settings = FlowSettings(maker_noise_points=0, noise_per_s=0.0, informed_per_s=0.0)
    flow = PolymarketFlow(exchange, dice_of(1, "other"), fair_value=lambda _: 0.47, settings=settings)
    windows = Windows(exchange, WindowSettings(lengths_s=(300,), ahead=1))
    windows.observe(exchange.now_ns, 60_000.0)
    flow.tick(exchange.markets())
    first = [each.order_id for each in exchange.open_orders(flow.maker)]
    exchange.step(exchange.now_ns + NS_PER_S)
    flow.tick(exchange.markets())
    assert [each.order_id for each in exchange.open_orders(flow.maker)] == first
    assert {each.outcome for each in exchange.open_orders(flow.maker)} == set(Outcome)


def test_without_a_fair_value_nobody_trades() -> None:
    """A market that nobody can value has no quotes."""
    venue = Venue()
    exchange = venue.exchange
    flow = PolymarketFlow(exchange, dice_of(1, "other"), fair_value=lambda _: None)
    venue.windows.observe(exchange.now_ns, 60_000.0)
    flow.tick(venue.open_markets())
    assert all(not exchange.book(market.up_token).bids for market in venue.open_markets())
