"""Each persona by its rules alone: what it does in a situation that shows its character, and what none may ever do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agora.domain.dice import dice_of
from agora.domain.numbers import MONEY_SCALE
from agora.domain.orders import Side, TimeInForce
from agora.exchange.requests import CancelRequest, NewsItem, OrderRequest, Request, Touch
from agora.traders.personas import PERSONAS, PersonaStrategy, RuleTrader
from agora.traders.scene import REQUESTS_MAX
from tests.traders.agent_views import FIRST, SECOND, AssetFacts, MarketView, market, refusal, resting

P = PersonaStrategy
FLAT = [10_000] * 256
RISING = [10_000 + 4 * place for place in range(256)]  # to 11,020: two percent in the last 60 ticks
FALLING = RISING[::-1]
CRASHED = [*FLAT[:-4], 9_900, 9_800, 9_700, 9_600]
SOARED = [*FLAT[:-4], 10_100, 10_200, 10_300, 10_400]


def trader(persona: PersonaStrategy, *, seed: int = 1) -> RuleTrader:
    """A fresh agent of that persona."""
    return RuleTrader("agent", persona, dice_of(seed, persona))


def orders(requests: Sequence[Request]) -> list[OrderRequest]:
    """The orders among the requests."""
    return [request for request in requests if isinstance(request, OrderRequest)]


def sides_over(agent: RuleTrader, view: MarketView, *, ticks: int = 1) -> list[str]:
    """The side of each order over that many ticks of a market that stands still."""
    sides = []
    for _ in range(ticks):
        sides += [order.side.word for order in orders(agent.decide(view))]
        view.tick += 1
    return sides


def news(tone: float, *, tick: int = 1_000, symbols: tuple[str, ...] = ()) -> NewsItem:
    """An item of that tone."""
    return NewsItem(tick=tick, text="something happened", tone=tone, symbols=symbols)


def with_news(view: MarketView, *items: NewsItem) -> MarketView:
    """The view with these items."""
    view.items = list(items)
    return view


def shortable(view: MarketView) -> MarketView:
    """The view of a market that allows short sales."""
    view.shorting = True
    return view


# persona, what it sees, the sides of its orders in its first look
FIRST_LOOKS: tuple[tuple[str, PersonaStrategy, Callable[[], MarketView], list[str]], ...] = (
    ("buys a rise", P.MOMENTUM, lambda: market(11_020, closes=RISING), ["buy"]),
    ("sells a fall", P.MOMENTUM, lambda: market(10_000, closes=FALLING, position=50), ["sell"]),
    ("has nothing to sell in a fall", P.MOMENTUM, lambda: market(10_000, closes=FALLING), []),
    ("shorts a fall", P.MOMENTUM, lambda: shortable(market(10_000, closes=FALLING)), ["sell"]),
    ("sees no move", P.MOMENTUM, lambda: market(10_000, closes=FLAT, position=50), []),
    ("sells into a crash", P.PANIC, lambda: market(9_600, closes=CRASHED, position=100), ["sell"]),
    ("runs from bad news", P.PANIC, lambda: with_news(market(closes=FLAT, position=100), news(-0.8)), ["sell"]),
    ("stays in calm", P.PANIC, lambda: market(closes=FLAT, position=10**6), []),
    ("is not frightened by good news", P.PANIC, lambda: with_news(market(position=10**6), news(0.8)), []),
    ("fades a rise it holds", P.CONTRARIAN, lambda: market(10_400, closes=SOARED, position=50), ["sell"]),
    ("shorts a rise", P.CONTRARIAN, lambda: shortable(market(10_400, closes=SOARED)), ["sell"]),
    ("buys a crash", P.CONTRARIAN, lambda: market(9_600, closes=CRASHED), ["buy"]),
    ("ignores the ordinary", P.CONTRARIAN, lambda: market(closes=FLAT, position=50), []),
    ("chases a long rise", P.FOMO, lambda: market(11_020, closes=RISING), ["buy"]),
    ("misses a short rise", P.FOMO, lambda: market(10_000, closes=FLAT), []),
    ("gives up after a loss", P.FOMO, lambda: market(9_600, closes=CRASHED, position=80, average=10_000.0), ["sell"]),
    ("bids and offers", P.MARKET_MAKER, lambda: market(closes=FLAT, position=500), ["buy", "sell"] * 2),
    ("bids only with nothing to offer", P.MARKET_MAKER, lambda: market(closes=FLAT), ["buy"] * 2),
    ("quotes both sides short", P.MARKET_MAKER, lambda: shortable(market(closes=FLAT)), ["buy", "sell"] * 2),
    ("buys the rumour", P.RUMOR_MONGER, lambda: with_news(market(closes=FALLING), news(0.9)), ["buy"]),
    ("sells the rumour", P.RUMOR_MONGER, lambda: with_news(market(position=90, closes=RISING), news(-0.9)), ["sell"]),
    ("waits for a story", P.RUMOR_MONGER, lambda: market(11_020, closes=RISING, position=90), []),
    ("skips old news", P.RUMOR_MONGER, lambda: with_news(market(), news(0.9, tick=900)), []),
    ("skips news of others", P.RUMOR_MONGER, lambda: with_news(market(), news(0.9, symbols=("ELSE",))), []),
    ("bids little", P.CONSERVATIVE, lambda: market(closes=FLAT), ["buy"]),
    ("bids, and offers what it has", P.CONSERVATIVE, lambda: market(position=50, average=9_000.0), ["buy", "sell"]),
)


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("name,persona,view,sides", FIRST_LOOKS, ids=lambda item: item if isinstance(item, str) else "")
def test_a_persona_does_what_its_name_says(
    name: str, persona: PersonaStrategy, view: Callable[[], MarketView], sides: list[str]
) -> None:
    """In a situation made for it, the first look of a persona has these orders and no others."""
    assert sides_over(trader(persona), view()) == sides, name


@pytest.mark.requirement("R5")
def test_every_persona_has_rules_and_trades_without_a_model() -> None:
    """The table covers the enum, and in a market with a bit of everything each persona trades by its rules."""
    assert set(PERSONAS) == set(PersonaStrategy)
    assert len(PersonaStrategy) == 12
    for persona in PersonaStrategy:
        agent, traded = trader(persona), 0
        view = shortable(market(closes=FLAT, position=100, average=10_000.0))
        facts = view.assets[FIRST]
        for step in range(1_500):
            view.tick += 1
            facts.last = 10_000 + 5 * abs(step % 400 - 200)
            facts.closes = [*facts.closes[-255:], facts.last]
            view.items = [news(0.5, tick=view.tick - view.tick % 200)]
            traded += len(orders(agent.decide(view)))
        assert traded > 0, persona


def test_a_conservative_bid_is_small_and_far_below() -> None:
    """At most 1.5 % of the wealth is bid, at least 1 % below the price; with little cash left, nothing is."""
    view = market(closes=FLAT)
    (bid,) = orders(trader(P.CONSERVATIVE).decide(view))
    assert bid.price_ticks <= 9_900
    assert bid.price_ticks * bid.size_lots * 100 <= view.equity_units(FIRST) * 15 // 1_000 // 10**4
    invested = market(closes=FLAT, position=900)
    invested.cash_units = 10_000 * MONEY_SCALE
    assert all(order.side is Side.SELL for order in orders(trader(P.CONSERVATIVE).decide(invested)))


def test_a_conservative_bid_that_the_price_left_behind_is_called_back() -> None:
    """An order far from where it belongs is withdrawn, and one in place is left."""
    view = market(closes=FLAT)
    view.assets[FIRST].orders = [resting(7, Side.BUY, 9_000)]
    assert trader(P.CONSERVATIVE).decide(view) == (CancelRequest(symbol=FIRST, order_id=7),)
    view.assets[FIRST].orders = [resting(7, Side.BUY, 9_850)]
    assert trader(P.CONSERVATIVE).decide(view) == ()


def test_value_buys_below_and_sells_above_its_own_idea_of_worth() -> None:
    """After a long calm its idea is the price; a fall of 6 % makes each such agent buy, a rise sell."""
    for seed in range(5):
        for last, side in ((9_400, "buy"), (10_600, "sell")):
            agent, view = trader(P.VALUE, seed=seed), market(closes=FLAT, position=100)
            for _ in range(3):
                agent.decide(view)
                view.tick += 10_000
            view.assets[FIRST].last = last
            view.tick -= 9_999
            assert sides_over(agent, view) == [side], f"seed {seed}"


def test_news_moves_the_idea_of_worth_once() -> None:
    """Good news makes a value agent that saw no reason to trade buy; the same item later moves nothing more."""
    calm, view = trader(P.VALUE), market(closes=FLAT)
    view.tick = 1
    calm.decide(view)
    view.tick = 10**6
    calm.decide(view)
    worth = calm.snapshot()["assets"][FIRST]["slow_ticks"]
    view.items = [news(1.0, tick=10**6)]
    view.tick += 1
    calm.decide(view)
    moved = calm.snapshot()["assets"][FIRST]["slow_ticks"]
    assert moved == pytest.approx(worth * 1.01, rel=1e-3)
    view.tick += 1
    calm.decide(view)
    assert calm.snapshot()["assets"][FIRST]["slow_ticks"] == pytest.approx(moved, rel=1e-4)


def test_panic_sells_most_at_once_and_then_stays_away() -> None:
    """Four fifths of the position go in one order at nearly any price; no other follows while it is afraid."""
    agent, view = trader(P.PANIC), market(9_600, closes=CRASHED, position=100)
    (sale,) = orders(agent.decide(view))
    assert (sale.size_lots, sale.time_in_force) == (80, TimeInForce.IOC)
    assert sale.price_ticks < 9_600 * 0.99
    view.assets[FIRST].position = 20
    view.tick += 1
    assert sides_over(agent, view, ticks=50) == []


def test_algorithmic_slices_its_change_of_mind() -> None:
    """After a cross upward it buys in several equal orders, and after one downward it sells what it has."""
    agent, view = trader(P.ALGORITHMIC), market(closes=FLAT)
    agent.decide(view)
    view.tick, view.assets[FIRST].last = view.tick + 1, 10_300
    bought = [order for _ in range(8) for order in orders(agent.decide(_next(view)))]
    assert len({order.size_lots for order in bought}) == 1
    assert [order.side for order in bought] == [Side.BUY] * 8
    view.assets[FIRST].position = 300
    view.assets[FIRST].last = 9_000
    sides_over(agent, view, ticks=30)  # until the averages have crossed
    assert set(sides_over(agent, view, ticks=20)) == {"sell"}


def _next(view: MarketView) -> MarketView:
    view.tick += 1
    return view


def test_a_day_trader_ends_its_day_flat() -> None:
    """In the last ticks of its day it only closes, long or short; during the day it takes small profits."""
    for position, side in ((30, "sell"), (-30, "buy")):
        view = shortable(market(closes=RISING, last=11_020, position=position, average=11_020.0))
        view.tick = 600 * 7 - 5
        assert sides_over(trader(P.DAY_TRADER), view) == [side]
    idle = market(closes=RISING, last=11_020)
    idle.tick = 600 * 7 - 50
    assert sides_over(trader(P.DAY_TRADER), idle, ticks=50) == []
    winner = market(11_020, closes=FLAT, position=30, average=10_990.0)
    winner.tick = 600 * 7
    assert sides_over(trader(P.DAY_TRADER), winner) == ["sell"]


def test_a_day_trader_is_small_and_frequent() -> None:
    """It trades on about every second look, each time with less than 3 % of its wealth."""
    view = market(11_020, closes=RISING)
    view.tick = 0
    found = [order for _ in range(100) for order in orders(trader_looks(view))]
    assert 25 <= len(found) <= 75
    assert all(order.size_lots * order.price_ticks <= 100_000 * 100 * 3 // 100 for order in found)


def trader_looks(view: MarketView) -> Sequence[Request]:
    """One look of a day trader with a seed of its own."""
    view.tick += 1
    return trader(P.DAY_TRADER, seed=view.tick).decide(view)


def test_a_whale_is_rare_large_and_in_slices() -> None:
    """Out of 400 looks few begin a plan; a plan takes many slices, none above half of what is offered."""
    agent, view = trader(P.WHALE), market(closes=FLAT)
    view.cash_units = 1_000_000 * MONEY_SCALE
    view.assets[FIRST].touch = Touch(9_999, 120, 10_001, 120)
    sizes = []
    for _ in range(400):
        view.tick += 1
        sizes.append(sum(order.size_lots for order in orders(agent.decide(view))))
    assert sizes[0] == 0
    assert sum(sizes) * 100 >= 10**6 * 0.14, "a seventh of its cash at least"
    assert max(sizes) <= 60
    assert sum(1 for size in sizes if size) >= 20


def quotes_at(position: int, *, home: int) -> dict[Side, list[int]]:
    """Prices of a market maker's quotes per side, when it holds `position` after a start with `home`."""
    agent, view = trader(P.MARKET_MAKER), shortable(market(closes=FLAT, position=home))
    agent.decide(view)
    view.tick += 1
    view.assets[FIRST].position = position
    found = orders(agent.decide(view))
    return {side: [order.price_ticks for order in found if order.side is side] for side in Side}


@pytest.mark.parametrize("home", [0, 400])
def test_a_market_maker_leans_against_its_inventory(home: int) -> None:
    """With more than it began with, both quotes stand lower; with less, higher; at its limit one side is left out."""
    less, same, more = (quotes_at(home + extra, home=home) for extra in (-150, 0, 150))
    assert max(more[Side.BUY]) < max(same[Side.BUY]) < max(less[Side.BUY])
    assert min(more[Side.SELL]) < min(same[Side.SELL]) < min(less[Side.SELL])
    assert not quotes_at(home + 900, home=home)[Side.BUY]
    assert not quotes_at(home - 900, home=home)[Side.SELL]


def test_a_market_maker_quotes_wider_when_prices_move() -> None:
    """The distance of its quotes grows with the moves of the closes."""
    nervous = [10_000 + 60 * (place % 2) for place in range(256)]
    widths = []
    for closes in (FLAT, nervous):
        found = orders(trader(P.MARKET_MAKER).decide(shortable(market(closes=closes))))
        prices = {side: [order.price_ticks for order in found if order.side is side] for side in Side}
        widths.append(min(prices[Side.SELL]) - max(prices[Side.BUY]))
    assert widths[1] > widths[0] * 2


def test_a_market_maker_leaves_good_quotes_and_replaces_bad_ones() -> None:
    """Quotes in place are left alone; when the market has moved, all are withdrawn in one request and renewed."""
    view = shortable(market(closes=FLAT))
    placed = orders(trader(P.MARKET_MAKER).decide(view))
    standing = [resting(n, order.side, order.price_ticks, lots=order.size_lots) for n, order in enumerate(placed, 1)]
    view.assets[FIRST].orders = standing
    assert trader(P.MARKET_MAKER).decide(view) == ()
    view.assets[FIRST].last = 10_100
    withdrawn, *renewed = trader(P.MARKET_MAKER).decide(view)
    assert withdrawn == CancelRequest(symbol=FIRST)
    assert len(orders(renewed)) == 4
    assert all(order.post_only for order in orders(renewed))


def test_a_rumor_is_traded_once_and_let_go_when_old() -> None:
    """One order for an item however long it is shown, more for a stronger tone, and the way out after its time."""
    agent, view = trader(P.RUMOR_MONGER), with_news(market(closes=FLAT), news(0.5))
    (bought,) = orders(agent.decide(view))
    (strong,) = orders(trader(P.RUMOR_MONGER).decide(with_news(market(closes=FLAT), news(1.0))))
    assert strong.size_lots > bought.size_lots
    view.assets[FIRST].position = bought.size_lots
    view.tick += 1
    assert sides_over(agent, view, ticks=58) == []
    assert sides_over(agent, view, ticks=2)[-1] == "sell"


@pytest.mark.parametrize("closes", [FLAT, RISING, CRASHED], ids=["flat", "rising", "crashed"])
def test_dca_buys_the_same_amount_on_schedule_whatever_the_price(closes: list[int]) -> None:
    """Ten intervals have ten purchases of the same money, 60 ticks apart, and no sale."""
    agent, view = trader(P.DCA), market(closes[-1], closes=closes, position=40)
    bought_at = []
    for _ in range(600):
        view.tick += 1
        found = orders(agent.decide(view))
        bought_at += [(view.tick, order.side, order.size_lots) for order in found]
    ticks = [tick for tick, _, _ in bought_at]
    assert len(ticks) == 10
    assert {after - before for before, after in pairwise(ticks)} == {60}
    assert {side for _, side, _ in bought_at} == {Side.BUY}
    assert len({size for _, _, size in bought_at}) == 1


def test_agents_take_turns_over_the_assets() -> None:
    """Over as many ticks as there are assets, an agent looks at each once."""
    view = MarketView(assets={name: AssetFacts(closes=FLAT) for name in (FIRST, SECOND, "CALDO", "DUNE")})
    agent = trader(P.CONSERVATIVE)
    looked = []
    for _ in range(4):
        view.tick += 1
        looked += [order.symbol for order in orders(agent.decide(view))]
    assert sorted(looked) == sorted(view.symbols)


@st.composite
def assets(draw: st.DrawFn) -> AssetFacts:
    """An asset in any state that a market can be in, thin and wild ones included."""
    last = draw(st.sampled_from([1, 2, 9, 500, 10_000, 10**7]))
    steps = draw(st.lists(st.integers(-30, 30), max_size=80))
    closes, price = [], last
    for step in steps:
        price = max(1, price + price * step // 1_000)
        closes.append(price)
    bid = draw(st.sampled_from([0, max(0, last - 1), last * 9 // 10]))
    ask = draw(st.sampled_from([0, last + 1, last * 11 // 10 + 1]))
    position = draw(st.sampled_from([-500, -3, 0, 1, 40, 5_000]))
    resting_orders = [
        resting(number, draw(st.sampled_from(list(Side))), max(1, last + draw(st.integers(-5, 5))), lots=1)
        for number in range(1, 1 + draw(st.integers(0, 6)))
    ]
    owned = max(0, position)
    offers = [order for order in resting_orders if order.side is Side.SELL][:owned]
    return AssetFacts(
        last=last,
        touch=Touch(bid, draw(st.integers(1, 900)) if bid else 0, ask, draw(st.integers(1, 900)) if ask else 0),
        closes=closes,
        position=position,
        average=float(last) if position else 0.0,
        orders=offers + [order for order in resting_orders if order.side is Side.BUY],
    )


@st.composite
def views(draw: st.DrawFn) -> MarketView:
    """An account, rich or broke, in a market of two assets."""
    view = MarketView(
        tick=draw(st.integers(1, 5_000)),
        cash_units=draw(st.sampled_from([0, 1, 10**8, 10**11, 10**13, 10**15])),
        assets={FIRST: draw(assets()), SECOND: AssetFacts(last=draw(st.integers(1, 99)), position=3)},
        items=[news(draw(st.floats(-1.0, 1.0)), tick=draw(st.integers(1, 5_000)))],
        shorting=draw(st.booleans()),
        taker_fee_ppm=draw(st.sampled_from([0, 100, 99_999])),
    )
    view.cash_units += 10**15 - view.free_cash_units(FIRST) if view.free_cash_units(FIRST) < 0 else 0
    return view


@pytest.mark.parametrize("persona", list(PersonaStrategy))
@settings(max_examples=120, deadline=None, derandomize=True)
@given(view=views(), seed=st.integers(0, 10**6))
def test_no_persona_asks_for_what_it_cannot_pay(persona: PersonaStrategy, view: MarketView, seed: int) -> None:
    """Whatever the market and the account, over several looks at most 8 requests come and none would be refused."""
    agent = trader(persona, seed=seed)
    for _ in range(6):
        requests = agent.decide(view)
        assert len(requests) <= REQUESTS_MAX
        assert not refusal(view, requests)
        view.tick += 1


@pytest.mark.parametrize("persona", list(PersonaStrategy))
@settings(max_examples=40, deadline=None, derandomize=True)
@given(view=views(), seed=st.integers(0, 10**6), ticks=st.integers(0, 9))
def test_a_restored_persona_goes_on_as_it_would_have(
    persona: PersonaStrategy, view: MarketView, seed: int, ticks: int
) -> None:
    """A snapshot through JSON into a fresh agent of another seed continues with the same requests."""
    agent, other = trader(persona, seed=seed), trader(persona, seed=seed + 1)
    for _ in range(ticks):
        agent.decide(view)
        view.tick += 1
    other.restore(json.loads(json.dumps(agent.snapshot())))
    for _ in range(8):
        assert other.decide(view) == agent.decide(view)
        view.tick += 1
    assert other.snapshot() == agent.snapshot()


def test_the_memory_of_a_persona_is_bounded() -> None:
    """After 20,000 looks at two assets an agent's snapshot is not larger than after 100."""
    view = MarketView(assets={FIRST: AssetFacts(closes=RISING), SECOND: AssetFacts(closes=FALLING)}, shorting=True)
    for persona in PersonaStrategy:
        agent, sizes = trader(persona), []
        for ticks in (100, 2_000):
            sides_over(agent, view, ticks=ticks)
            sizes.append(len(agent.snapshot()["assets"]))
        assert sizes == [2, 2]
        assert len(json.dumps(agent.snapshot())) < 1_000
