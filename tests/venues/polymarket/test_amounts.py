"""Amounts of orders and fees of takers, against the vectors and the venue's own prices."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.numbers import Rounding
from agora.domain.orders import Side
from agora.exchange.binary_prices import (
    POINTS,
    PRICE_DECIMALS,
    UNIT,
    exact_price,
    fee_units,
    implied_price,
    legs_of,
    shares_for,
    value_up,
)
from agora.venues.polymarket.amounts import (
    Amounts,
    Unplaceable,
    bought_units,
    budget_within,
    check_points,
    fee_of,
    limit_amounts,
    market_buy_amounts,
    market_sell_amounts,
    points_of,
    tick_points_of,
    units_down,
)
from tests.venues.polymarket.vectors import sample

CENT = 100
CRYPTO_FEE = fee_of(Decimal("0.07"), Decimal(1))


def test_every_vector_of_amounts_is_reproduced(venue_samples: Path) -> None:
    """Limit orders, budgets and sales at all ticks; among them the price that binary floats get wrong."""
    vectors = sample(venue_samples, "vectors_amounts")
    assert len(vectors) == 15
    for vector in vectors:
        tick = tick_points_of(Decimal(vector["tick"]))
        facts = {"price_points": points_of(Decimal(str(vector["price"])), tick_points=tick), "tick_points": tick}
        asked = units_down(Decimal(str(vector.get("size", vector.get("amount")))))
        if vector["kind"] == "limit":
            made = limit_amounts(Side[vector["side"]], size_units=asked, **facts)
        elif vector["side"] == "BUY":
            made = market_buy_amounts(budget_units=asked, **facts)
        else:
            made = market_sell_amounts(size_units=asked, **facts)
        assert made == (vector["maker"], vector["taker"]), vector


@pytest.mark.requirement("P0.1")
def test_what_an_immediate_purchase_gets_is_bounded_by_its_dollars(venue_samples: Path) -> None:
    """As seen in production: 4.95 dollars at 0.98 bring 5.051 shares of the 5 named; a resting order brings its own."""
    for case in sample(venue_samples, "vectors_taker_buy_semantics")["cases"]:
        amounts = Amounts(int(case["makerAmount"]), int(case["takerAmount"]))
        price = points_of(Decimal(case["best_ask"]["price"]), tick_points=CENT)
        found = bought_units(amounts, price_points=price, is_immediate=case["order_type"] in {"FAK", "FOK"})
        assert abs(found - units_down(Decimal(case["observed_fill_shares"]))) <= 1, case


def test_taker_fees_are_those_of_the_published_table(venue_samples: Path) -> None:
    """A hundred shares of a crypto market at each price; the table has cents, the venue five decimals."""
    vector = sample(venue_samples, "vectors_crypto_taker_fee")
    fee = fee_of(Decimal(str(vector["rate"])), Decimal(vector["exponent"]))
    for price, cents in vector["fee_usdc_by_price"].items():
        points = points_of(Decimal(price), tick_points=CENT)
        found = Decimal(fee_units(fee, points, vector["shares"] * UNIT)) / UNIT
        assert abs(found - Decimal(str(cents))) <= Decimal("0.005"), price


@pytest.mark.parametrize(
    "size_units, fee",
    [(100 * UNIT, 1_750_000), (572, 10), (571, 0), (1, 0), (10_000, 180)],
    ids=["100 shares", "the least fee", "below it", "a millionth", "a hundredth"],
)
def test_a_fee_has_five_decimals_and_less_than_the_last_is_nothing(size_units: int, fee: int) -> None:
    """At one half; a hundredth of a share costs 0.000175, which is rounded to the even neighbour."""
    assert fee_units(CRYPTO_FEE, POINTS // 2, size_units) == fee


@pytest.mark.parametrize(
    "rate, exponent", [("0.07", "1.5"), ("0.07", "-1"), ("0.07", "5"), ("1", "1"), ("-0.1", "1"), ("NaN", "1"),
                       ("0.07", "Infinity"), ("0.07", "1e999999"),
                       ("0.0700000000000000000000000000000001", "1"), ("0.0000001", "1")],
)  # fmt: skip
def test_a_fee_formula_that_is_not_the_venues_is_refused(rate: str, exponent: str) -> None:
    """Better no order than one whose cost is a guess."""
    with pytest.raises(Unplaceable):
        fee_of(Decimal(rate), Decimal(exponent))


PRICES_REFUSED = [
    ("0.555", "0.01", "whole number"),
    ("0.52000001", "0.0001", "whole number"),
    ("0", "0.01", "outside"),
    ("1", "0.01", "outside"),
    ("-0.5", "0.01", "outside"),
    ("1.01", "0.01", "outside"),
    ("0.9975", "0.005", "whole number"),
    ("0.5200000000000000000000000000000001", "0.01", "whole number"),
    ("NaN", "0.01", "outside"),
    ("Infinity", "0.01", "outside"),
    ("1e999999", "0.01", "outside"),
    ("1e-999999", "0.01", "whole number"),
]


@pytest.mark.requirement("P1.1")
@pytest.mark.parametrize("price, tick, words", PRICES_REFUSED)
def test_a_price_that_the_venue_refuses_is_refused_here_and_never_moved(price: str, tick: str, words: str) -> None:
    """Off the tick, or nearer than a tick to nothing or to one."""
    with pytest.raises(Unplaceable, match=words):
        points_of(Decimal(price), tick_points=tick_points_of(Decimal(tick)))


@pytest.mark.requirement("P1.1")
@pytest.mark.parametrize("tick", ["0", "0.02", "0.05", "1", "-0.01", "0.00001"])
def test_a_tick_that_is_not_known_prices_nothing(tick: str) -> None:
    """How many decimals its amounts have is not known either."""
    with pytest.raises(Unplaceable, match="not known"):
        tick_points_of(Decimal(tick))
    with pytest.raises(Unplaceable, match="not known"):
        check_points(5_000, tick_points=int(Decimal(tick) * POINTS) or 3)


@pytest.mark.parametrize("size", ["0", "0.009", "-1", "NaN", "Infinity", "1e30", "1e999999"])
def test_nothing_to_trade_is_no_order(size: str) -> None:
    """Nothing remains after rounding, or it is no amount."""
    with pytest.raises(Unplaceable):
        limit_amounts(Side.BUY, price_points=5_000, size_units=units_down(Decimal(size)), tick_points=CENT)
    with pytest.raises(Unplaceable):
        market_buy_amounts(budget_units=units_down(Decimal(size)), price_points=5_000, tick_points=CENT)


PRICED = st.sampled_from(list(PRICE_DECIMALS)).flatmap(
    lambda tick: st.tuples(st.just(tick), st.integers(1, POINTS // tick - 1).map(lambda count: count * tick))
)


@given(PRICED, st.integers(10_000, 10**12), st.sampled_from(Side))
def test_a_limit_order_has_exactly_its_price_on_the_exchange(
    priced: tuple[int, int], size_units: int, side: Side
) -> None:
    """At every tick, price and size: the exchange divides the amounts and finds the price that was meant."""
    tick, points = priced
    made = limit_amounts(side, price_points=points, size_units=size_units, tick_points=tick)
    legs = legs_of(side, *made)
    assert exact_price(legs, tick) == points
    assert size_units - 10_000 < legs.share_units <= size_units


@pytest.mark.requirement("P0.1")
@given(PRICED, st.integers(10_000, 10**10))
def test_a_budget_never_implies_a_price_below_its_tick(priced: tuple[int, int], budget_units: int) -> None:
    """The trap that killed two thirds of one user's orders: shares rounded up, so that the order never crosses."""
    tick, points = priced
    made = market_buy_amounts(budget_units=budget_units, price_points=points, tick_points=tick)
    assert made.maker_units * POINTS >= points * made.taker_units
    assert made.maker_units <= budget_units
    if made.taker_units >= UNIT:  # nobody may buy for less than a dollar, which is at least one share
        assert implied_price(Side.BUY, legs_of(Side.BUY, *made), tick) == points


LADDER = st.lists(
    st.tuples(st.integers(1, 99), st.integers(1, 5_000)), min_size=1, max_size=8, unique_by=lambda r: r[0]
)


@pytest.mark.requirement("P0.1")
@given(LADDER, st.integers(1, 10_000), st.integers(1, 99))
def test_a_walked_completion_buys_what_was_walked_or_less_and_nothing_above_its_cap(
    ladder: list[tuple[int, int]], missing: int, cap: int
) -> None:
    """The cost of the walk as budget, its worst level as price: spent on that book it never brings more shares."""
    walked = [(price * 100, size * 10_000) for price, size in sorted(ladder) if price <= cap]
    cost, left, worst = 0, missing * 10_000, 0
    for points, size in walked:
        taken = min(left, size)
        if taken:
            cost, left, worst = cost + taken * points // POINTS, left - taken, points
    if cost < UNIT:
        return
    made = market_buy_amounts(budget_units=cost, price_points=worst, tick_points=CENT)
    got, budget = 0, made.maker_units
    for points, size in walked:
        taken = min(size, shares_for(budget, points)) if points <= worst else 0
        got, budget = got + taken, budget - value_up(points, taken)
    assert got <= missing * 10_000 - left
    assert worst <= cap * 100


@given(PRICED, st.integers(10_000, 10**10), st.sampled_from([CRYPTO_FEE, fee_of(Decimal("0.25"), Decimal(2))]))
def test_a_budget_within_a_spend_leaves_room_for_the_fee(priced: tuple[int, int], spend: int, fee: object) -> None:
    """And a cent more would not have."""
    rounding_up = CRYPTO_FEE._replace(rounding=Rounding.UP) if fee is CRYPTO_FEE else fee
    assert isinstance(rounding_up, type(CRYPTO_FEE))
    points = priced[1]
    budget = budget_within(spend, price_points=points, fee=rounding_up)
    assert budget + fee_units(rounding_up, points, shares_for(budget, points)) <= spend
    more = budget + 20_000
    assert more + fee_units(rounding_up, points, shares_for(more, points)) > spend
