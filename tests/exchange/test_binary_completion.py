"""Buying the missing leg of a set on a book of both tokens: what a plan said it costs is what it costs at most."""

from __future__ import annotations

import random

import numpy as np
import pytest

from agora.domain.orders import Side
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_prices import POINTS, UNIT
from agora.exchange.binary_records import BinaryOrder, BinaryType, Outcome
from agora.kernels import completion
from tests.exchange.binaries import MARKET, RICH, TOKENS, amounts_request, binaries, trader

CENTS = 100  # ticks of one cent
LOT_UNITS = UNIT // completion.LOTS_PER_SHARE
RATE_PPM = 70_000
FEES = completion.new_fees(ticks_per_unit=CENTS, rate_ppm=RATE_PPM, exponent=1, basis=completion.PER_SHARE)
MONEY = completion.UNITS_PER_SHARE // UNIT  # the plan counts money in hundredths of ours


def random_book(exchange: BinaryExchange, maker: int, dice: random.Random, token: Outcome) -> None:
    """Up to eight offers of a token, half of them bids for the other one."""
    for _ in range(dice.randint(1, 8)):
        points, size = dice.randint(20, 80) * 100, dice.randint(500, 4_000) * LOT_UNITS
        offers = dice.random() < 0.5
        value = (points if offers else POINTS - points) * size // POINTS
        amounts = (size, value) if offers else (value, size)
        outcome, side = (token, Side.SELL) if offers else (token.other, Side.BUY)
        assert not exchange.submit(maker, amounts_request(side, TOKENS[outcome], amounts)).is_refused


def asks_of(exchange: BinaryExchange, token: Outcome) -> np.ndarray:
    """A token's offers as the plan wants them: ticks and lots."""
    asks = exchange.book(TOKENS[token]).asks
    rows = [(level.price_points // 100, level.size_units // LOT_UNITS) for level in asks]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def complete(exchange: BinaryExchange, taker: int, dice: random.Random, token: Outcome) -> bool:
    """Plan, send, and compare what was bought and spent with the cap and the plan."""
    wanted, cap = dice.randint(500, 6_000), dice.randint(20, 80)
    plan = np.zeros(completion.PLAN_WORDS, dtype=np.int64)
    answer = completion.plan(asks_of(exchange, token), FEES, wanted, cap, 500, 1, plan)
    if answer != completion.READY:
        return False
    lots, cost, worst, fee, over = plan.tolist()
    kind = dice.choice((BinaryType.FOK, BinaryType.FAK, BinaryType.GTC))
    order = send(exchange, taker, token, kind=kind, plan=(lots, cost, worst))
    bought, spent = order.matched_units, order.cost_units
    assert worst <= cap
    assert spent * POINTS <= cap * 100 * bought
    assert spent <= -(-cost // MONEY)
    assert lots * LOT_UNITS - 100 <= bought <= (lots + over) * LOT_UNITS
    # The venue rounds the fee of each price to five decimals; the plan rounds up, before it is summed.
    assert order.fee_units <= -(-fee // MONEY) + 5 * len(order.trade_ids)
    assert spent + order.fee_units <= cap / CENTS * bought + fee / MONEY + 5 * len(order.trade_ids)
    return True


def send(
    exchange: BinaryExchange, taker: int, token: Outcome, *, kind: BinaryType, plan: tuple[int, int, int]
) -> BinaryOrder:
    """The budget of the walked book at its worst level; a GTC order names the shares, and is cancelled at once."""
    lots, cost, worst = plan
    shares = lots * LOT_UNITS
    budget = cost // MONEY
    if kind is BinaryType.GTC:
        amounts = (worst * shares // CENTS, shares)
    else:
        amounts = (budget, -(-budget * CENTS // worst) // 100 * 100)
    order = exchange.submit(taker, amounts_request(Side.BUY, TOKENS[token], amounts, order_type=kind))
    assert not order.is_refused, order.reason
    exchange.cancel(taker, order.order_id)
    return order


@pytest.mark.requirement("P0.1")
@pytest.mark.parametrize("seed", range(4))
def test_a_completion_never_spends_more_than_its_cap_on_a_random_book(seed: int) -> None:
    """2,500 random books a seed, both tokens, all recipes: shares as planned, money and fee within plan and cap."""
    dice = random.Random(seed)
    exchange = binaries(fee_rate_ppm=RATE_PPM, history_max=100, changes_max=100)
    maker, taker = trader(exchange), trader(exchange, dollars=10_000_000)
    exchange.split(maker, MARKET, RICH // 2)
    exchange.advance(exchange.rules.settlement_ns)
    completed = 0
    for number in range(2_500):
        token = dice.choice(list(Outcome))
        random_book(exchange, maker, dice, token)
        completed += complete(exchange, taker, dice, token)
        exchange.cancel_all(maker)
        if number % 50 == 0:
            exchange.step(exchange.now_ns + 10_000_000)
            exchange.deposit(maker, UNIT * 10_000)
    assert completed > 1_000
