"""How orders for two tokens meet in one book: kinds of match, whose price, and what buyers' dollars buy.

Bugs that were planted, and made this fail: a fill read from the taker's side (the makers' parts given the taker's
token, side and price); the complement price not inverted; FAK buyers bounded by shares.
"""

from __future__ import annotations

import pytest

from agora.domain.numbers import Rounding
from agora.domain.orders import Side
from agora.exchange.binary_prices import UNIT, Fee, FeeBasis, fee_most_units, fee_units
from agora.exchange.binary_records import (
    BinaryStatus,
    BinaryType,
    BookChanged,
    LastTrade,
    MatchKind,
    Outcome,
)
from agora.exchange.binary_rules import BuyBudget
from agora.exchange.requests import SelfTrade
from tests.exchange.binaries import (
    DOWN,
    MARKET,
    UP,
    amounts_request,
    binaries,
    dollars,
    ladder,
    order,
    settle,
    submit,
    trader,
)

GTC, FOK, FAK = BinaryType.GTC, BinaryType.FOK, BinaryType.FAK

# What rests, what comes, then: kind, the maker's price, the taker's price, what each pays (-) or gets for 10 shares.
MATCHES = (
    ("SELL Up 10 @ 0.48", "BUY Up 10 @ 0.50", MatchKind.NORMAL, 0.48, 0.48, 4.8, -4.8),
    ("BUY Up 10 @ 0.48", "SELL Up 10 @ 0.40", MatchKind.NORMAL, 0.48, 0.48, -4.8, 4.8),
    ("BUY Down 10 @ 0.30", "SELL Down 10 @ 0.30", MatchKind.NORMAL, 0.30, 0.30, -3.0, 3.0),
    ("BUY Up 10 @ 0.48", "BUY Down 10 @ 0.52", MatchKind.MINT, 0.48, 0.52, -4.8, -5.2),
    ("BUY Up 10 @ 0.48", "BUY Down 10 @ 0.60", MatchKind.MINT, 0.48, 0.52, -4.8, -5.2),
    ("BUY Down 10 @ 0.70", "BUY Up 10 @ 0.35", MatchKind.MINT, 0.70, 0.30, -7.0, -3.0),
    ("SELL Up 10 @ 0.48", "SELL Down 10 @ 0.52", MatchKind.MERGE, 0.48, 0.52, 4.8, 5.2),
    ("SELL Up 10 @ 0.48", "SELL Down 10 @ 0.10", MatchKind.MERGE, 0.48, 0.52, 4.8, 5.2),
)


@pytest.mark.parametrize("rests, comes, kind, maker_price, taker_price, maker_pays, taker_pays", MATCHES)
def test_two_orders_match_at_the_makers_price_in_all_representations(
    rests: str,
    comes: str,
    kind: MatchKind,
    maker_price: float,
    taker_price: float,
    maker_pays: float,
    taker_pays: float,
) -> None:
    """The maker gets its own price for its own token, the taker the improvement; money and tokens move exactly."""
    exchange = binaries()
    maker, taker = trader(exchange, sets=100), trader(exchange, sets=100)
    before = {who: exchange.holding(who, "collateral").free_units for who in (maker, taker)}
    resting = order(exchange, maker, rests)
    answer = order(exchange, taker, comes)
    assert answer.status is BinaryStatus.MATCHED
    (trade,) = exchange.trades(maker)
    (side,) = trade.makers
    assert (side.order_id, side.kind, side.side, side.outcome.value) == (
        resting.order_id,
        kind,
        resting.side,
        rests.split()[1],
    )
    assert (side.price_points / 10_000, trade.taker.price_points / 10_000) == (maker_price, taker_price)
    assert (trade.taker.token_id, trade.taker.side) == (answer.token_id, answer.side)
    settle(exchange)
    for who, pays in ((maker, maker_pays), (taker, taker_pays)):
        assert dollars(exchange.holding(who, "collateral").free_units - before[who]) == pytest.approx(pays)
    for who, words in ((maker, rests), (taker, comes)):
        side_word, token_word = words.split()[:2]
        expected = 100 + (10 if side_word == "BUY" else -10)
        assert dollars(exchange.holding(who, UP if token_word == "Up" else DOWN).free_units) == expected


NO_MATCHES = (
    ("BUY Up 10 @ 0.48", "BUY Down 10 @ 0.51"),
    ("SELL Up 10 @ 0.48", "SELL Down 10 @ 0.53"),
    ("BUY Up 10 @ 0.48", "BUY Up 10 @ 0.99"),
    ("BUY Up 10 @ 0.48", "SELL Down 10 @ 0.01"),
    ("SELL Up 10 @ 0.48", "BUY Up 10 @ 0.47"),
)


@pytest.mark.parametrize("rests, comes", NO_MATCHES)
def test_orders_that_want_the_same_thing_or_too_much_do_not_match(rests: str, comes: str) -> None:
    """Buying Up and selling Down stand on the same side of the book; prices must leave nothing of a set over."""
    exchange = binaries()
    one, other = trader(exchange, sets=100), trader(exchange, sets=100)
    order(exchange, one, rests)
    assert order(exchange, other, comes).status is BinaryStatus.LIVE


def test_a_bid_for_one_token_is_shown_as_an_offer_of_the_other() -> None:
    """Both tokens' books show every order once, at complementary prices."""
    exchange = binaries()
    account = trader(exchange, sets=100)
    order(exchange, account, "BUY Up 10 @ 0.48")
    order(exchange, account, "BUY Up 5 @ 0.45")
    order(exchange, account, "SELL Down 7 @ 0.52")
    order(exchange, account, "SELL Up 8 @ 0.60")
    assert ladder(exchange, Outcome.UP) == ["bid 17 @ 0.48", "bid 5 @ 0.45", "ask 8 @ 0.6"]
    assert ladder(exchange, Outcome.DOWN) == ["bid 8 @ 0.4", "ask 17 @ 0.52", "ask 5 @ 0.55"]


def test_price_then_time_decide_across_both_representations() -> None:
    """A seller of Down and a buyer of Up at the same level queue behind one another."""
    exchange = binaries()
    first, second, third, taker = (trader(exchange, sets=100) for _ in range(4))
    order(exchange, first, "SELL Down 5 @ 0.52")
    order(exchange, second, "BUY Up 5 @ 0.48")
    best = order(exchange, third, "BUY Up 5 @ 0.49")
    order(exchange, taker, "SELL Up 12 @ 0.48")
    makers = [maker for trade in exchange.trades(taker) for maker in trade.makers]
    assert [(maker.account, dollars(maker.size_units)) for maker in makers] == [(third, 5), (first, 5), (second, 2)]
    assert makers[0].order_id == best.order_id
    assert [maker.kind for maker in makers] == [MatchKind.NORMAL, MatchKind.MERGE, MatchKind.NORMAL]


def test_a_match_is_told_as_one_trade_for_each_price_and_so_many_makers() -> None:
    """The bucket index counts them; each has one price for the taker."""
    exchange = binaries(makers_per_trade_max=2)
    maker, taker = trader(exchange), trader(exchange, sets=100)
    for words in ("BUY Up 5 @ 0.49", "BUY Up 5 @ 0.48", "BUY Up 5 @ 0.48", "BUY Up 5 @ 0.48"):
        order(exchange, maker, words)
    answer = order(exchange, taker, "SELL Up 20 @ 0.48")
    trades = exchange.trades(taker)
    assert [trade.trade_id for trade in trades] == list(answer.trade_ids)
    assert [(trade.bucket_index, len(trade.makers), trade.taker.price_points) for trade in trades] == [
        (0, 1, 4_900),
        (1, 2, 4_800),
        (2, 1, 4_800),
    ]
    told = [change.trade_id for change in exchange.take_changes() if isinstance(change, LastTrade)]
    assert told == list(answer.trade_ids)


# Type, flag, the amounts of the order, the asks; then shares and dollars that it gets and spends.
BUDGETS = (
    (
        "a production FAK of 2026-06: 4.95 dollars at an ask of 0.98",
        FAK,
        None,
        (4_950_000, 5_000_000),
        [(0.98, 1_000)],
        5.05102,
        4.95,
    ),
    ("the same, its shares binding", FAK, BuyBudget.TAKER_AMOUNT, (4_950_000, 5_000_000), [(0.98, 1_000)], 5.0, 4.90),
    ("a measured marketable GTC", GTC, None, (4_915_200, 5_120_000), [(0.96, 1_000)], 5.12, 4.9152),
    ("a GTC with improvement takes its shares", GTC, None, (9_900_000, 10_000_000), [(0.50, 1_000)], 10.0, 5.0),
    ("a GTC bounded by dollars", GTC, BuyBudget.MAKER_AMOUNT, (9_900_000, 10_000_000), [(0.50, 1_000)], 19.8, 9.9),
    ("a FOK over two levels", FOK, None, (10_000_000, 12_500_000), [(0.50, 10), (0.80, 100)], 16.25, 10.0),
    ("a FAK that finds too little", FAK, None, (10_000_000, 12_500_000), [(0.50, 10), (0.81, 100)], 10.0, 5.0),
)


@pytest.mark.parametrize("name, kind, flag, amounts, asks, shares, spent", BUDGETS, ids=[row[0] for row in BUDGETS])
def test_what_a_buyers_dollars_or_shares_buy(
    name: str,
    kind: BinaryType,
    flag: BuyBudget | None,
    amounts: tuple[int, int],
    asks: list[tuple[float, int]],
    shares: float,
    spent: float,
) -> None:
    """FAK and FOK spend their dollars and may get more shares than they name; GTC gets its shares, if not told else."""
    del name
    rules = {"immediate_buy_budget": flag, "resting_buy_budget": flag} if flag is not None else {}
    exchange = binaries(**rules)
    maker, taker = trader(exchange, sets=10_000), trader(exchange)
    for price, size in asks:
        order(exchange, maker, f"SELL Up {size} @ {price}")
    answer = submit(exchange, taker, amounts_request(Side.BUY, UP, amounts, order_type=kind))
    assert answer.status is BinaryStatus.MATCHED
    assert dollars(answer.taking_units) == pytest.approx(shares, abs=2e-6)
    assert dollars(answer.making_units) == pytest.approx(spent, abs=2e-6)
    assert answer.making_units <= amounts[0]


def test_a_dollar_bounded_buyer_of_the_other_token_mints_within_its_budget() -> None:
    """The budget is counted in the price of the taker's own token, not in the makers'."""
    exchange = binaries()
    maker, taker = trader(exchange), trader(exchange)
    order(exchange, maker, "BUY Up 1000 @ 0.90")
    answer = submit(exchange, taker, amounts_request(Side.BUY, DOWN, (5_000_000, 25_000_000), order_type=FAK))
    assert dollars(answer.taking_units) == 50
    assert dollars(answer.making_units) == 5


def test_a_seller_is_bounded_by_shares_whatever_the_type() -> None:
    """Improvement brings more dollars, never fewer shares."""
    exchange = binaries()
    maker, taker = trader(exchange), trader(exchange, sets=100)
    order(exchange, maker, "BUY Up 100 @ 0.60")
    answer = order(exchange, taker, "SELL Up 10 @ 0.50", FAK)
    assert (dollars(answer.making_units), dollars(answer.taking_units)) == (10, 6)


FEES = (
    (0.01, 0.07), (0.05, 0.33), (0.10, 0.63), (0.15, 0.89), (0.20, 1.12), (0.25, 1.31), (0.30, 1.47), (0.35, 1.59),
    (0.40, 1.68), (0.45, 1.73), (0.50, 1.75), (0.55, 1.73), (0.65, 1.59), (0.75, 1.31), (0.90, 0.63), (0.99, 0.07),
)  # fmt: skip


@pytest.mark.parametrize("price, cents", FEES)
def test_the_fee_of_a_hundred_shares_is_the_venues(price: float, cents: float) -> None:
    """The venue's table, which is in whole cents; ours are the five decimals below them."""
    fee = fee_units(Fee(70_000, 1, Rounding.NEAREST), round(price * 10_000), 100 * UNIT)
    assert dollars(fee) == pytest.approx(cents, abs=0.005001)


@pytest.mark.parametrize(
    "size, exponent, rounding, expected",
    [
        (1_000_000, 1, Rounding.NEAREST, 17_500),
        (1_000_000, 2, Rounding.NEAREST, 4_380),  # 0.004375
        (3_000_000, 2, Rounding.NEAREST, 13_120),  # 0.013125, to even
        (3_000_000, 2, Rounding.DOWN, 13_120),
        (3_000_000, 2, Rounding.UP, 13_130),
        (500, 1, Rounding.NEAREST, 0),  # 0.00000875
        (500, 1, Rounding.UP, 0),
        (572, 1, Rounding.NEAREST, 10),
    ],
)
def test_fees_have_five_decimals_and_smaller_ones_are_nothing(
    size: int, exponent: int, rounding: Rounding, expected: int
) -> None:
    """The rounding is a choice; less than 0.00001 is no fee."""
    assert fee_units(Fee(70_000, exponent, rounding), 5_000, size) == expected


@pytest.mark.parametrize("price, expected", [(0.50, 7_810), (0.48, 7_480), (0.4433, 6_750), (0.90, 1_820)])
def test_a_fee_may_be_a_share_of_the_money_instead(price: float, expected: int) -> None:
    """The schedule of early 2026: 0.25 * (p * (1 - p)) ** 2 of what is paid; here for one share."""
    fee = Fee(250_000, 2, Rounding.NEAREST, FeeBasis.OF_NOTIONAL)
    assert fee_units(fee, round(price * 10_000), UNIT) == expected
    most = max(fee_units(fee, points, 1_000 * UNIT) for points in range(4_000, 8_001))
    assert fee_most_units(fee, 4_000, 8_000, size_units=1_000 * UNIT) == most


def test_takers_pay_fees_on_top_and_makers_none() -> None:
    """A buyer pays price and fee, a seller gets the price less the fee; the venue has both fees."""
    exchange = binaries(fee_rate_ppm=70_000)
    maker, buyer, seller = trader(exchange, sets=100), trader(exchange), trader(exchange, sets=100)
    money = {who: exchange.holding(who, "collateral").free_units for who in (maker, buyer, seller)}
    order(exchange, maker, "SELL Up 10 @ 0.50")
    order(exchange, buyer, "BUY Up 10 @ 0.50")
    order(exchange, maker, "BUY Up 10 @ 0.50")
    order(exchange, seller, "SELL Up 10 @ 0.50")
    settle(exchange)
    gained = {who: exchange.holding(who, "collateral").free_units - money[who] for who in money}
    assert gained == {maker: 0, buyer: -5_175_000, seller: 4_825_000}
    assert exchange.fees_units == 350_000


@pytest.mark.parametrize(
    "policy, status, left",
    [
        (SelfTrade.CANCEL_OLDEST, BinaryStatus.MATCHED, ["bid 5 @ 0.47"]),
        (SelfTrade.CANCEL_NEWEST, BinaryStatus.CANCELED, ["bid 10 @ 0.48", "bid 15 @ 0.47"]),
    ],
)
def test_nobody_trades_with_himself(policy: SelfTrade, status: BinaryStatus, left: list[str]) -> None:
    """The resting order goes and the new one trades on, or the new one ends before its own."""
    exchange = binaries(self_trade=policy)
    one, other = trader(exchange, sets=100), trader(exchange)
    order(exchange, one, "BUY Up 10 @ 0.48")
    order(exchange, other, "BUY Up 15 @ 0.47")
    answer = order(exchange, one, "SELL Up 10 @ 0.47")
    assert answer.status is status
    assert ladder(exchange, Outcome.UP) == left


@pytest.mark.parametrize("policy", [SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_NEWEST])
def test_a_dollar_bounded_order_keeps_to_the_policy_too(policy: SelfTrade) -> None:
    """Its own offer is cancelled, or it stops there; fill-or-kill is only filled by others."""
    exchange = binaries(self_trade=policy)
    one, other = trader(exchange, sets=100), trader(exchange, sets=100)
    order(exchange, one, "SELL Up 10 @ 0.40")
    order(exchange, other, "SELL Up 10 @ 0.50")
    assert submit(exchange, one, amounts_request(Side.BUY, UP, (6_000_000, 12_000_000), order_type=FOK)).is_refused
    answer = submit(exchange, one, amounts_request(Side.BUY, UP, (5_000_000, 10_000_000), order_type=FAK))
    is_oldest = policy is SelfTrade.CANCEL_OLDEST
    assert dollars(answer.matched_units) == (10 if is_oldest else 0)
    assert ladder(exchange, Outcome.UP) == ([] if is_oldest else ["ask 10 @ 0.4", "ask 10 @ 0.5"])


def test_changed_levels_are_told_for_both_tokens_with_absolute_sizes() -> None:
    """One command, one message: what a level holds now, 0 when it is gone, and both touches."""
    exchange = binaries()
    account, other = trader(exchange), trader(exchange)
    order(exchange, account, "BUY Up 10 @ 0.48")
    exchange.take_changes()
    order(exchange, other, "BUY Down 12 @ 0.52")
    (change,) = (change for change in exchange.take_changes() if isinstance(change, BookChanged))
    assert change.condition_id == MARKET
    assert [tuple(level) for level in change.levels] == [
        (UP, Side.BUY, 4_800, 0, 0, 4_800),
        (DOWN, Side.SELL, 5_200, 0, 5_200, 0),
        (UP, Side.SELL, 4_800, 2 * UNIT, 0, 4_800),
        (DOWN, Side.BUY, 5_200, 2 * UNIT, 5_200, 0),
    ]
