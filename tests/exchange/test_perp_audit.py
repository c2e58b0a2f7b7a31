"""The audit of every step: each planted bug is caught and named."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from agora.exchange.perp import PerpExchange
from agora.exchange.perp_accounts import PositionState
from agora.exchange.perp_records import TriggerLeg
from agora.kernels import matching
from tests.exchange.perps import BTC, ONE, PRICE, buy, perp_listing, perps, quote, sell

TRADER = 2


def busy() -> PerpExchange:
    """A market with a position, a resting order, a reduce-only order and a row."""
    exchange = perps(perp_listing(maker=200, taker=600))
    assert exchange.open_account("trader", 10_000 * ONE) == TRADER
    quote(exchange, PRICE)
    buy(exchange, TRADER, 10)
    buy(exchange, TRADER, 5, PRICE - 50)
    sell(exchange, TRADER, 10, PRICE + 50, reduce_only=True)
    (position,) = exchange.positions(TRADER)
    exchange.place_tpsl(TRADER, position.position_id, tp=None, sl=TriggerLeg(price_ticks=PRICE // 2, size_lots=5))
    exchange.settle_funding(BTC, 100_000)
    exchange.step(1)
    return exchange


def position_of(exchange: PerpExchange) -> PositionState:
    """The trader's position, to be tampered with."""
    return next(iter(exchange._state.accounts[TRADER].positions.values()))


def mint(exchange: PerpExchange) -> None:
    """Money from nowhere, booked as profit so that the ledger itself agrees."""
    exchange._state.accounts[TRADER].ledger.settle(realised=1, fee=0)


def lose_a_fee(exchange: PerpExchange) -> None:
    """A fee is charged and not collected."""
    exchange._state.accounts[TRADER].ledger.settle(realised=0, fee=1)


def leak(exchange: PerpExchange) -> None:
    """Cash changes without a booking."""
    exchange._state.accounts[TRADER].ledger.cash += 1


def pay_funding_twice(exchange: PerpExchange) -> None:
    """Funding reaches a wallet without coming from anybody."""
    exchange._state.accounts[TRADER].ledger.fund(7)


def misprice(exchange: PerpExchange) -> None:
    """A position's cost is off by one unit."""
    position_of(exchange).book.cost_units += 1


def grow(exchange: PerpExchange) -> None:
    """A position has a lot that nobody sold."""
    position_of(exchange).book.size_lots += 1


def overstate(exchange: PerpExchange) -> None:
    """An order says it is larger than what rests."""
    account = exchange._state.accounts[TRADER]
    order = next(account.open_orders())
    account.orders[order.order_id] = msgspec.structs.replace(order, open_lots=order.open_lots + 1)


def lose_an_order(exchange: PerpExchange) -> None:
    """An order leaves the book unseen."""
    order = exchange.open_orders(TRADER)[0]
    matching.cancel(exchange.book(BTC).words, exchange._state.out, order.order_id, TRADER)


def forget_a_reducer(exchange: PerpExchange) -> None:
    """The market does not know of a reduce-only order."""
    exchange._state.markets[BTC].reducers[TRADER] += 1


def orphan_a_row(exchange: PerpExchange) -> None:
    """A row waits for a position that is not there."""
    account = exchange._state.accounts[TRADER]
    row_id = next(iter(exchange._state.markets[BTC].tpsl))
    account.tpsl[row_id] = msgspec.structs.replace(account.tpsl[row_id], position_id=1)


BUGS: dict[Callable[[PerpExchange], None], str] = {
    mint: "money is not conserved",
    lose_a_fee: "money is not conserved",
    leak: "ledger leaks",
    pay_funding_twice: "money is not conserved",
    misprice: "money is not conserved",
    grow: "longs and shorts differ",
    overstate: "lots rest",
    lose_an_order: "not in the book",
    forget_a_reducer: "reduce-only orders",
    orphan_a_row: "outlived its position",
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught_by_the_next_step(bug: Callable[[PerpExchange], None]) -> None:
    """A sound exchange passes, the tampered one raises and says what is wrong."""
    exchange = busy()
    exchange.step(2)
    bug(exchange)
    with pytest.raises(AssertionError, match=BUGS[bug]):
        exchange.step(3)


def test_a_reduce_only_order_beyond_its_position_is_caught() -> None:
    """The position shrinks behind the orders' back, on both sides so that lots and money still add up."""
    exchange = busy()
    accounts = exchange._state.accounts
    instrument = exchange.listing(BTC).instrument
    for account, size in ((accounts[TRADER], -5), (accounts[1], 5)):
        book = next(iter(account.positions.values())).book
        realised = book.apply(instrument, size_lots=size, price_ticks=PRICE)
        account.ledger.settle(realised=realised, fee=0)
    with pytest.raises(AssertionError, match="reduce-only order"):
        exchange.check()


def test_time_does_not_run_backwards() -> None:
    """A step into the past raises."""
    exchange = busy()
    with pytest.raises(AssertionError, match="backwards"):
        exchange.step(0)
