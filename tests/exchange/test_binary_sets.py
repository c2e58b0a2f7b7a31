"""Complete sets and the life of windows: split, merge, redeem, open, close, resolve. One Up and one Down are 1.

Bugs that were planted, and made this fail: a tie resolved as Down; the loser paid; a merge that burns one token only.
"""

from __future__ import annotations

import pytest

from agora.domain.numbers import NS_PER_S
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_ledger import COLLATERAL
from agora.exchange.binary_prices import UNIT
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import (
    BinaryStatus,
    BookChanged,
    MarketChanged,
    MarketState,
    Outcome,
    SetChanged,
    SetKind,
    SetOperation,
)
from tests.exchange.binaries import DOWN, END_NS, MARKET, START_NS, UP, binaries, ladder, order, settle, trader, window

STATES = (MarketState.CREATED, MarketState.OPEN, MarketState.CLOSED, MarketState.RESOLVED)


def free(exchange: BinaryExchange, account: int) -> tuple[float, ...]:
    """Free dollars, Up and Down."""
    return tuple(exchange.holding(account, asset).free_units / UNIT for asset in (COLLATERAL, UP, DOWN))


def test_a_split_and_a_merge_take_at_once_and_give_after_the_settlement() -> None:
    """What is given up is gone when it is asked for; what comes of it comes together."""
    exchange = binaries()
    account = trader(exchange, dollars=100)
    assert isinstance(exchange.split(account, MARKET, 40 * UNIT), SetOperation)
    exchange.check()
    assert free(exchange, account) == (60, 0, 0)
    settle(exchange, 2)
    assert free(exchange, account) == (60, 40, 40)
    exchange.merge(account, MARKET, 15 * UNIT)
    exchange.check()
    assert free(exchange, account) == (60, 25, 25)
    settle(exchange, 1.999)
    assert [operation.kind for operation in exchange.pending_sets()] == [SetKind.MERGE]
    settle(exchange, 0.001)
    assert free(exchange, account) == (75, 25, 25)
    assert exchange.market(MARKET).sets_units == 25 * UNIT
    told = [change.operation for change in exchange.take_changes() if isinstance(change, SetChanged)]
    assert [(operation.kind, operation.is_settled) for operation in told] == [
        (SetKind.SPLIT, False),
        (SetKind.SPLIT, True),
        (SetKind.MERGE, False),
        (SetKind.MERGE, True),
    ]


def test_sets_are_refused_with_a_reason() -> None:
    """Nothing, too much, what is held by orders, and what is not decided."""
    exchange = binaries()
    account = trader(exchange, dollars=10, sets=10)
    order(exchange, account, "SELL Up 6 @ 0.90")
    refusals = [
        exchange.split(account, MARKET, 0),
        exchange.split(account, MARKET, 11 * UNIT),
        exchange.merge(account, MARKET, -1),
        exchange.merge(account, MARKET, 5 * UNIT),
        exchange.redeem(account, MARKET),
    ]
    exchange.check()
    assert refusals == [
        BinaryReason.BAD_PAYLOAD,
        BinaryReason.NOT_ENOUGH_BALANCE,
        BinaryReason.BAD_PAYLOAD,
        BinaryReason.NOT_ENOUGH_BALANCE,
        BinaryReason.MARKET_UNRESOLVED,
    ]
    exchange.step(END_NS)
    exchange.resolve_as(MARKET, Outcome.UP)
    assert exchange.split(account, MARKET, UNIT) is BinaryReason.MARKET_CLOSED


@pytest.mark.parametrize(
    "start, end, winner, dollars",
    [
        (100.0, 100.01, Outcome.UP, 10),
        (100.0, 99.99, Outcome.DOWN, 3),
        (100.0, 100.0, Outcome.UP, 10),
    ],
)
def test_the_winner_pays_one_the_loser_nothing_and_a_tie_is_up(
    start: float, end: float, winner: Outcome, dollars: float
) -> None:
    """An account with 10 Up and 3 Down redeems both in one go."""
    exchange = binaries()
    account, other = trader(exchange, dollars=0, sets=10), trader(exchange)
    order(exchange, account, "SELL Down 7 @ 0.50")
    order(exchange, other, "BUY Down 7 @ 0.50")
    settle(exchange)
    assert free(exchange, account) == (3.5, 10, 3)
    exchange.step(END_NS)
    assert exchange.resolve(MARKET, start_price=start, end_price=end)
    assert exchange.market(MARKET).winner is winner
    exchange.redeem(account, MARKET)
    settle(exchange)
    assert free(exchange, account) == (3.5 + dollars, 0, 0)
    exchange.redeem(other, MARKET)
    settle(exchange)
    assert exchange.market(MARKET).sets_units == 0
    assert exchange.redeem(other, MARKET) is BinaryReason.NOT_ENOUGH_BALANCE


def test_free_tokens_can_change_hands_without_a_trade() -> None:
    """What is held by an order stays; nothing is made or lost."""
    exchange = binaries()
    account, other = trader(exchange, dollars=0, sets=10), trader(exchange, dollars=0)
    order(exchange, account, "SELL Up 6 @ 0.90")
    assert exchange.transfer(account, other, asset=UP, units=5 * UNIT) is BinaryReason.NOT_ENOUGH_BALANCE
    assert exchange.transfer(account, other, asset=UP, units=0) is BinaryReason.BAD_PAYLOAD
    assert exchange.transfer(account, other, asset=UP, units=4 * UNIT) is BinaryReason.NONE
    exchange.check()
    assert (free(exchange, account), free(exchange, other)) == ((0, 0, 10), (0, 4, 0))


def test_sets_can_be_merged_after_the_resolution_too() -> None:
    """One of each is still 1."""
    exchange = binaries()
    account = trader(exchange, dollars=0, sets=10)
    exchange.merge(account, MARKET, 4 * UNIT)
    exchange.step(END_NS)
    exchange.resolve_as(MARKET, Outcome.DOWN)
    exchange.merge(account, MARKET, 4 * UNIT)
    settle(exchange)
    exchange.redeem(account, MARKET)
    settle(exchange)
    assert free(exchange, account) == (10, 0, 0)


def test_a_window_lives_through_its_states_at_its_times() -> None:
    """Created ahead, open, closed, resolved once; each told with the time it happened, whatever the steps."""
    exchange = binaries()
    later = window(condition_id="0xlater", up_token="333", down_token="444", open_ns=60 * NS_PER_S)
    exchange.create_window(later)
    assert not exchange.resolve_as("0xlater", Outcome.UP)
    exchange.step(END_NS + 70 * NS_PER_S)
    assert exchange.resolve_as("0xlater", Outcome.DOWN)
    assert not exchange.resolve_as("0xlater", Outcome.UP)
    told = [change for change in exchange.take_changes() if isinstance(change, MarketChanged)]
    seen = [(change.market.state, change.ts_ns) for change in told if change.market.condition_id == "0xlater"]
    times = (0, 60 * NS_PER_S, END_NS, END_NS + 70 * NS_PER_S)
    assert seen == list(zip(STATES, times, strict=True))
    known = exchange.market_of("444")
    assert known is not None
    assert (known[0].winner, known[1]) == (Outcome.DOWN, Outcome.DOWN)


def test_the_close_cancels_all_orders_and_says_that_the_levels_are_gone() -> None:
    """Money is free again; the book is empty."""
    exchange = binaries()
    account = trader(exchange, dollars=100, sets=10)
    orders = [order(exchange, account, words) for words in ("BUY Up 10 @ 0.40", "SELL Down 10 @ 0.70")]
    exchange.take_changes()
    exchange.close_window(MARKET)
    exchange.check()
    for each in orders:
        found = exchange.order(each.order_id)
        assert found is not None
        assert found.status is BinaryStatus.CANCELED_MARKET_RESOLVED
    assert free(exchange, account) == (100, 10, 10)
    (gone,) = (change for change in exchange.take_changes() if isinstance(change, BookChanged))
    assert [level.size_units for level in gone.levels] == [0] * 4
    assert ladder(exchange, Outcome.UP) == []
    exchange.step(END_NS)


@pytest.mark.parametrize(
    "terms",
    [
        {"condition_id": MARKET, "up_token": "333", "down_token": "444"},
        {"condition_id": "0xlater", "up_token": UP, "down_token": "444"},
        {"condition_id": "0xlater", "up_token": "333", "down_token": "333"},
        {"condition_id": "0xlater", "up_token": "333", "down_token": "444", "tick_points": 7},
        {"condition_id": "0xlater", "up_token": "333", "down_token": "444", "end_ns": START_NS},
    ],
)
def test_a_window_needs_names_and_times_of_its_own(terms: dict[str, object]) -> None:
    """What is taken or makes no sense is refused when it is created."""
    exchange = binaries()
    with pytest.raises(ValueError, match="window"):
        exchange.create_window(window(**terms))
