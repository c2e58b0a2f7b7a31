"""The arithmetic of settlement at its edges: exact shares, bounds that keep sums inside a word, facts refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.kernels import matching_layout as k
from agora.kernels import settlement as s
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import compiled
from agora.kernels.settlement_audit import SOUND, book_fault, money_fault, next_underwater
from agora.kernels.settlement_rules import part_up, share_down
from tests.kernels.settlement_streams import Exchange, cash_at, new_exchange, pay_in, position_at, seed_lots

amounts = st.integers(-(2**61), 2**61)


@compiled
def share_down_outside(amount: int, part: int, whole: int) -> int:
    """`share_down` as Python can call it."""
    return share_down(amount, part, whole)


@compiled
def part_up_outside(amount: int, ppm: int) -> int:
    """`part_up` as Python can call it."""
    return part_up(amount, ppm)


@given(amount=amounts, parts=st.tuples(st.integers(0, 2**42), st.integers(1, 2**42)))
def test_a_share_is_exact_beyond_the_words_of_its_product(amount: int, parts: tuple[int, int]) -> None:
    """Rounded towards minus infinity as Python's integers say, though the product may need 103 bits."""
    part, whole = min(parts), max(parts)
    assert share_down_outside(amount, part, whole) == amount * part // whole


@given(amount=st.integers(0, 2**61), ppm=st.integers(0, 1_000_000))
def test_a_fee_is_rounded_up_exactly(amount: int, ppm: int) -> None:
    """As Python's integers say, for every amount that can occur."""
    assert part_up_outside(amount, ppm) == -(-amount * ppm // 1_000_000)


def submit(exchange: Exchange, owner: int, side: int, price: int, size: int, **terms: int) -> list[int]:
    """Submit a good-till-cancelled limit order (market: price 0) in asset 0; the code and reason of the first row."""
    kind = k.LIMIT if price else k.MARKET
    order_id = int(exchange.accounts[layout.LAST_ORDER_ID]) + 1
    s.exchange_submit(
        exchange.books[0], exchange.accounts, exchange.tape, exchange.out, 0, order_id, owner, side, kind,
        terms.get("tif", k.GTC), terms.get("flags", 0), price, 0, size, 0, k.CANCEL_NEWEST, 1,
    )  # fmt: skip
    return exchange.out[0, :2].tolist()


def is_sound(exchange: Exchange) -> bool:
    """Whether everything adds up."""
    faults = [book_fault(exchange.books[0], exchange.accounts, 0), money_fault(exchange.accounts)]
    return faults == [SOUND, SOUND]


HUGE = layout.AssetFacts(1, 1_000_000, 1_000_000, 0, 1, allows_shorts=True, initial_margin_ppm=1_000_000)


def test_the_largest_amounts_that_are_taken_settle_exactly() -> None:
    """Everything there can be, traded in one fill at the largest price and a fee of all of it, still adds up."""
    exchange = new_exchange((HUGE,), accounts=2)
    pay_in(exchange.accounts, 0, currency=0, units=layout.UNITS_MAX)
    seed_lots(exchange.accounts, 1, asset=0, lots=layout.LOTS_MAX)
    size, price = 2**19, 2**40
    assert submit(exchange, 1, -1, price, size) == [k.ACCEPTED, k.NO_REASON]
    assert submit(exchange, 0, 1, price, size) == [k.ACCEPTED, k.NO_REASON]
    assert exchange.accounts[layout.TRADE_COUNT] == 1
    assert exchange.accounts[cash_at(exchange.accounts, 0, 0)] == layout.UNITS_MAX - 2 * size * price
    assert is_sound(exchange)


@pytest.mark.parametrize(
    "side,price,size,reason",
    [
        (1, 2**40, 2**21, k.TOO_LARGE),
        (1, 2**40, 2**20, k.INSUFFICIENT_FUNDS),
        (-1, 2**40, 2**21, k.TOO_LARGE),
        (-1, 2**40, 2**20, k.INSUFFICIENT_MARGIN),
        (-1, 2**40 + 1, 1, k.TOO_LARGE),
        (1, 1, 2**40 + 1, k.TOO_LARGE),
        (1, 2**62, 2**62, k.TOO_LARGE),
        (-1, 2**62, 2**62, k.TOO_LARGE),
        (1, 0, 2**62, k.TOO_LARGE),
    ],
)
def test_what_could_overflow_is_refused_before_it_is_computed(side: int, price: int, size: int, reason: int) -> None:
    """Each product is judged first, and the refusal changes nothing."""
    exchange = new_exchange((HUGE,), accounts=1)
    pay_in(exchange.accounts, 0, currency=0, units=1_000)
    before = exchange.state()
    assert submit(exchange, 0, side, price, size) == [k.REJECTED, reason]
    assert exchange.state() == before


def test_a_market_order_against_offers_beyond_all_money_is_refused() -> None:
    """The sum of many huge offers does not fit a word; it is too large, not negative."""
    exchange = new_exchange((HUGE,), accounts=12)
    pay_in(exchange.accounts, 0, currency=0, units=2**50)
    for seller in range(1, 12):
        seed_lots(exchange.accounts, seller, asset=0, lots=2**20)
        assert submit(exchange, seller, -1, 2**40, 2**20 - 1) == [k.ACCEPTED, k.NO_REASON]
    assert submit(exchange, 0, 1, 0, 12 * 2**20) == [k.REJECTED, k.TOO_LARGE]
    assert is_sound(exchange)


def test_a_market_order_into_an_empty_book_ends_without_liquidity() -> None:
    """It is accepted, trades nothing and holds nothing."""
    exchange = new_exchange((HUGE,), accounts=1)
    assert submit(exchange, 0, 1, 0, 5) == [k.ACCEPTED, k.NO_REASON]
    assert exchange.out[1, :2].tolist() == [k.CANCELLED, k.NO_LIQUIDITY]
    assert is_sound(exchange)


def test_equity_is_judged_without_overflow() -> None:
    """A short of many lots marked at a huge price is under water, and one marked at its price is not."""
    exchange = new_exchange((HUGE,), accounts=2)
    pay_in(exchange.accounts, 0, currency=0, units=2**41)
    pay_in(exchange.accounts, 1, currency=0, units=2**43)
    submit(exchange, 1, 1, 1, 2**40)
    submit(exchange, 0, -1, 1, 2**38)
    assert exchange.accounts[position_at(exchange.accounts, 0, 0)] == -(2**38)
    assert next_underwater(exchange.accounts, 0, 0) == -1
    exchange.accounts[int(exchange.accounts[layout.ASSETS_START]) + layout.MARK_PRICE] = 2**40
    assert next_underwater(exchange.accounts, 0, 0) == 0


@pytest.mark.parametrize(
    "change,words",
    [
        ({"currency": 1}, "currency"),
        ({"tick_lot_units": 0}, "positive"),
        ({"listing_price": 0}, "positive"),
        ({"taker_fee_ppm": 1_000_001}, "fees"),
        ({"maker_fee_ppm": -1}, "fees"),
        ({"maintenance_ppm": 600_000, "initial_margin_ppm": 500_000}, "margins"),
        ({"initial_margin_ppm": 1_000_001}, "margins"),
    ],
)
def test_facts_that_settlement_cannot_work_with_are_refused(change: dict[str, int], words: str) -> None:
    """Each fault names the asset."""
    facts = layout.AssetFacts(1, 0, 0, 0, 1)._replace(**change)
    with pytest.raises(ValueError, match=f"asset 0: .*{words}"):
        layout.new_accounts([facts], currencies=1, account_capacity=1)


def test_buffers_of_nothing_are_refused() -> None:
    """No assets, no accounts, no trades."""
    with pytest.raises(ValueError, match="too few"):
        layout.new_accounts([], currencies=1, account_capacity=1)
    with pytest.raises(ValueError, match="room for a trade"):
        layout.new_tape(trade_capacity=0)


def test_the_tape_is_a_ring_of_the_newest_trades() -> None:
    """Trade n stands in row (n - 1) modulo the capacity."""
    exchange = new_exchange((layout.AssetFacts(1, 0, 0, 0, 100),), accounts=2)
    pay_in(exchange.accounts, 0, currency=0, units=10**9)
    seed_lots(exchange.accounts, 1, asset=0, lots=1_000)
    for number in range(70):
        submit(exchange, 1, -1, 100 + number % 3, 1)
        submit(exchange, 0, 1, 105, 1)
    numbers = exchange.tape[:, layout.TRADE_NUMBER]
    assert numbers.tolist() == [number + 64 if number <= 6 else number for number in range(1, 65)]
    assert np.all(exchange.tape[:, layout.TRADE_TAKER] == 0)
    assert is_sound(exchange)
