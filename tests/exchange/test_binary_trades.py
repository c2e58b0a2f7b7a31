"""The life of a trade after its match, and that a FAILED one leaves nothing behind.

Bugs that were planted, and made this fail: FAILED not reversed (escrow paid out as if CONFIRMED); only the taker's
side reversed; the fee kept.
"""

from __future__ import annotations

import pytest

from agora.domain.numbers import NS_PER_S
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_ledger import COLLATERAL
from agora.exchange.binary_prices import UNIT
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import Holding, MatchKind, TradeChanged, TradePath, TradeQuery, TradeStatus
from tests.exchange.binaries import DOWN, END_NS, MARKET, UP, binaries, order, settle, trader

S = TradeStatus
FOUR_MATCHES = (
    ("SELL Up 10 @ 0.48", "BUY Up 10 @ 0.50", MatchKind.NORMAL),
    ("BUY Down 10 @ 0.48", "SELL Down 10 @ 0.40", MatchKind.NORMAL),
    ("BUY Up 10 @ 0.48", "BUY Down 10 @ 0.55", MatchKind.MINT),
    ("SELL Up 10 @ 0.48", "SELL Down 10 @ 0.50", MatchKind.MERGE),
)
ASSETS = (COLLATERAL, UP, DOWN)


def holdings(exchange: BinaryExchange, *accounts: int) -> list[Holding]:
    """All that accounts have."""
    return [exchange.holding(account, asset) for account in accounts for asset in ASSETS]


def statuses(exchange: BinaryExchange) -> list[tuple[TradeStatus, int, int]]:
    """What was told of trades: status, second, attempts."""
    return [
        (change.trade.status, change.ts_ns // NS_PER_S, change.trade.attempts)
        for change in exchange.take_changes()
        if isinstance(change, TradeChanged)
    ]


@pytest.mark.parametrize(
    "path, expected",
    [
        (TradePath.CONFIRMS, [(S.MATCHED, 0, 1), (S.MINED, 1, 1), (S.CONFIRMED, 3, 1)]),
        (TradePath.RETRIES, [(S.MATCHED, 0, 1), (S.RETRYING, 1, 2), (S.MINED, 2, 2), (S.CONFIRMED, 4, 2)]),
        (TradePath.FAILS, [(S.MATCHED, 0, 1), (S.RETRYING, 1, 2), (S.FAILED, 3, 2)]),
    ],
)
def test_a_trade_goes_the_way_that_was_planned(path: TradePath, expected: list[tuple[TradeStatus, int, int]]) -> None:
    """Each status at its time, told once; the last one is for good."""
    exchange = binaries()
    maker, taker = trader(exchange, sets=100), trader(exchange, sets=100)
    exchange.step(started_ns := 100 * NS_PER_S)
    exchange.plan_trades(path, 1)
    order(exchange, maker, "BUY Up 10 @ 0.48")
    order(exchange, taker, "SELL Up 10 @ 0.48")
    settle(exchange)
    assert [(status, second - started_ns // NS_PER_S, n) for status, second, n in statuses(exchange)] == expected
    settle(exchange)
    assert statuses(exchange) == []
    order(exchange, maker, "BUY Up 10 @ 0.48")
    order(exchange, taker, "SELL Up 10 @ 0.48")
    settle(exchange)
    assert statuses(exchange)[-1][0] is S.CONFIRMED


@pytest.mark.parametrize("rests, comes, kind", FOUR_MATCHES)
def test_a_failed_trade_gives_both_sides_back_exactly_what_it_took(rests: str, comes: str, kind: MatchKind) -> None:
    """Money, fee and tokens are where they were; no set was made or unmade; the orders stay matched."""
    exchange = binaries(fee_rate_ppm=70_000)
    maker, taker = trader(exchange, sets=100), trader(exchange, sets=100)
    before, sets = holdings(exchange, maker, taker), exchange.market(MARKET).sets_units
    exchange.plan_trades(TradePath.FAILS, 1)
    resting = order(exchange, maker, rests)
    answer = order(exchange, taker, comes)
    (trade,) = exchange.trades(maker)
    assert trade.makers[0].kind is kind
    assert holdings(exchange, maker, taker) != before
    settle(exchange)
    assert holdings(exchange, maker, taker) == before
    assert (exchange.market(MARKET).sets_units, exchange.fees_units) == (sets, 0)
    for order_id in (resting.order_id, answer.order_id):
        found = exchange.order(order_id)
        assert found is not None
        assert found.matched_units == 10 * UNIT


@pytest.mark.parametrize("rests, comes, kind", FOUR_MATCHES)
def test_what_a_trade_brings_can_be_used_once_it_is_confirmed(rests: str, comes: str, kind: MatchKind) -> None:
    """Until then it is coming, and what was given is gone."""
    exchange = binaries(fee_rate_ppm=70_000)
    maker, taker = trader(exchange, sets=100), trader(exchange, sets=100)
    sets = exchange.market(MARKET).sets_units
    order(exchange, maker, rests)
    order(exchange, taker, comes)
    coming = [holding.free_units + holding.coming_units for holding in holdings(exchange, maker, taker)]
    exchange.step(exchange.now_ns + 3 * NS_PER_S - 1)
    assert any(holding.coming_units for holding in holdings(exchange, maker, taker))
    assert [holding.free_units + holding.coming_units for holding in holdings(exchange, maker, taker)] == coming
    settle(exchange, 0.001)
    assert [holding.free_units for holding in holdings(exchange, maker, taker)] == coming
    changed = {MatchKind.NORMAL: 0, MatchKind.MINT: 10 * UNIT, MatchKind.MERGE: -10 * UNIT}[kind]
    assert exchange.market(MARKET).sets_units == sets + changed


def test_shares_of_an_unconfirmed_trade_cannot_be_sold_or_merged() -> None:
    """A trade that may still fail must find what it gives back."""
    exchange = binaries()
    maker, taker = trader(exchange, sets=100), trader(exchange)
    order(exchange, maker, "SELL Up 10 @ 0.48")
    order(exchange, maker, "SELL Down 10 @ 0.55")
    order(exchange, taker, "BUY Up 10 @ 0.48")
    order(exchange, taker, "BUY Down 10 @ 0.55")
    assert order(exchange, taker, "SELL Up 5 @ 0.60").reason is BinaryReason.NOT_ENOUGH_BALANCE
    assert exchange.merge(taker, MARKET, 5 * UNIT) is BinaryReason.NOT_ENOUGH_BALANCE
    settle(exchange)
    assert not order(exchange, taker, "SELL Up 5 @ 0.60").is_refused


def test_a_trade_can_be_diverted_until_it_is_settled() -> None:
    """Also after it was mined; each step of the old way is forgotten."""
    exchange = binaries()
    maker, taker = trader(exchange), trader(exchange, sets=100)
    exchange.step(100 * NS_PER_S)
    before = holdings(exchange, maker, taker)
    order(exchange, maker, "BUY Up 10 @ 0.48")
    (trade_id,) = order(exchange, taker, "SELL Up 10 @ 0.48").trade_ids
    settle(exchange, 2)
    assert exchange.divert_trade(trade_id, TradePath.FAILS)
    settle(exchange)
    assert [status for status, _, _ in statuses(exchange)][-4:] == [S.MATCHED, S.MINED, S.RETRYING, S.FAILED]
    assert holdings(exchange, maker, taker) == before
    assert not exchange.divert_trade(trade_id, TradePath.RETRIES)


def test_chance_decides_with_the_seed_what_trades_become() -> None:
    """The same seed, the same failures; about as many as were asked for."""

    def ends(seed: int) -> list[TradeStatus]:
        exchange = binaries(seed=seed, fail_ppm=200_000, retry_ppm=300_000)
        maker, taker = trader(exchange), trader(exchange, sets=2_000)
        for _ in range(200):
            order(exchange, maker, "BUY Up 5 @ 0.48")
            order(exchange, taker, "SELL Up 5 @ 0.48")
        settle(exchange)
        return [trade.status for trade in exchange.trades(maker)]

    assert ends(1) == ends(1) != ends(2)
    assert 20 <= ends(1).count(S.FAILED) <= 60


def test_trades_are_asked_for_by_id_market_token_and_time_and_kept_up_to_a_bound() -> None:
    """The newest that fit, oldest first; a maker finds a trade by its own token too."""
    exchange = binaries(history_max=3)
    maker, taker = trader(exchange), trader(exchange)
    times = []
    for second in (10, 20, 30, 40):
        exchange.step(second * NS_PER_S)
        order(exchange, maker, "BUY Up 10 @ 0.48")
        order(exchange, taker, "BUY Down 10 @ 0.52")
        times.append(exchange.now_ns)
    settle(exchange)

    def seconds(**asked: object) -> list[int]:
        return [trade.matched_ns // NS_PER_S for trade in exchange.trades(maker, TradeQuery(**asked))]  # type: ignore[arg-type]

    assert seconds() == [20, 30, 40]
    assert seconds(limit=2) == [30, 40]
    assert seconds(after_ns=times[1], before_ns=times[3]) == [30]
    assert seconds(token_id=UP) == seconds(token_id=DOWN) == seconds(condition_id=MARKET) == [20, 30, 40]
    assert seconds(token_id="333") == seconds(condition_id="0xother") == []
    newest = exchange.trades(taker)[-1]
    assert seconds(trade_id=newest.trade_id) == [40]
    assert exchange.trade(newest.trade_id) == newest
    side = newest.side_of(maker)
    assert side is not None
    assert (side.token_id, side.price_points) == (UP, 4_800)


def test_a_trade_of_the_last_moment_settles_after_the_end_of_its_market() -> None:
    """Minted after the resolution, its sets are redeemed like all others; failed, its money is back."""
    for path, paid in ((TradePath.CONFIRMS, 10 * UNIT), (TradePath.FAILS, 0)):
        exchange = binaries()
        maker, taker = trader(exchange), trader(exchange)
        exchange.step(END_NS - 1)
        exchange.plan_trades(path, 1)
        order(exchange, maker, "BUY Up 10 @ 0.48")
        order(exchange, taker, "BUY Down 10 @ 0.52")
        exchange.step(END_NS)
        assert exchange.resolve(MARKET, start_price=100.0, end_price=99.0)
        settle(exchange)
        before = exchange.holding(taker, COLLATERAL).free_units
        exchange.redeem(taker, MARKET)
        settle(exchange)
        assert exchange.holding(taker, COLLATERAL).free_units - before == paid
