"""Which orders are taken, in which form, and how they end: refusals, times in force, taker delay, modes, duplicates."""

from __future__ import annotations

from typing import Any

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_ledger import COLLATERAL
from agora.exchange.binary_prices import UNIT
from agora.exchange.binary_reasons import VENUE_ERRORS, BinaryReason, venue_error
from agora.exchange.binary_records import (
    BinaryStatus,
    BinaryType,
    EngineMode,
    OrderChanged,
    OrderEvent,
    Outcome,
)
from tests.exchange.binaries import (
    DOWN,
    END_NS,
    MARKET,
    UP,
    amounts_request,
    binaries,
    dollars,
    ladder,
    order,
    request,
    settle,
    submit,
    trader,
    window,
)

GTC, GTD, FOK, FAK = BinaryType.GTC, BinaryType.GTD, BinaryType.FOK, BinaryType.FAK
R, S = BinaryReason, BinaryStatus
DELAY_NS = 150 * NS_PER_MS

# The tick, side and amounts of an order, its type, and the price that the venue reads from them; None: refused.
AMOUNTS = (
    ("0.01 buy", 100, Side.BUY, (5_200_000, 10_000_000), GTC, 5_200),
    ("0.01 sell", 100, Side.SELL, (21_040_000, 17_252_800), GTC, 8_200),
    ("0.01 buy, size rounded down", 100, Side.BUY, (2_564_100, 7_770_000), GTC, 3_300),
    ("0.001 buy", 10, Side.BUY, (11_932_780, 12_340_000), GTC, 9_670),
    ("0.1 buy", 1_000, Side.BUY, (2_500_000, 5_000_000), GTC, 5_000),
    ("0.0001 buy", 1, Side.BUY, (314_685, 5_550_000), GTC, 567),
    ("off the tick", 100, Side.BUY, (2_775_000, 5_000_000), GTC, None),
    ("off the tick, immediate", 100, Side.BUY, (2_775_000, 5_000_000), FAK, None),
    ("market buy at 0.52", 100, Side.BUY, (5_000_000, 9_615_300), FAK, 5_200),
    ("market buy at 0.55", 100, Side.BUY, (5_000_000, 9_090_900), FOK, 5_500),
    ("market buy at 0.967", 10, Side.BUY, (5_000_000, 5_170_630), FAK, 9_670),
    ("market buy at 0.57, exact decimals", 100, Side.BUY, (1_000_000, 1_754_300), FAK, 5_700),
    ("market buy at 0.57, binary floats", 100, Side.BUY, (1_000_000, 1_785_700), FAK, 5_600),
    ("market buy at 0.52, shares rounded up", 100, Side.BUY, (5_000_000, 9_615_400), FAK, 5_100),
    ("market sell", 100, Side.SELL, (10_000_000, 5_200_000), FAK, 5_200),
    ("a price of 0", 100, Side.BUY, (1, 5_000_000), GTC, None),
    ("a price of 1", 100, Side.BUY, (5_000_000, 5_000_000), GTC, None),
    ("above 1", 100, Side.SELL, (5_000_000, 6_000_000), GTC, None),
)


@pytest.mark.parametrize("name, tick, side, amounts, kind, points", AMOUNTS, ids=[row[0] for row in AMOUNTS])
def test_the_price_is_read_from_the_amounts(
    name: str, tick: int, side: Side, amounts: tuple[int, int], kind: BinaryType, points: int | None
) -> None:
    """On the tick, exactly for limit orders; a market order's rounded leg never makes its limit better than meant."""
    del name
    exchange = binaries(tick_points=tick)
    account, other = trader(exchange, sets=1_000), trader(exchange, sets=1_000)
    if kind.is_immediate:  # something to match at every price
        order(exchange, other, "SELL Up 100 @ 0.1" if side is Side.BUY else "BUY Up 100 @ 0.9")
    answer = submit(exchange, account, amounts_request(side, UP, amounts, order_type=kind))
    if points is None:
        assert answer.reason is R.OFF_TICK
    else:
        assert (answer.is_refused, answer.price_points) == (False, points)


def test_a_market_order_whose_shares_were_rounded_up_does_not_cross() -> None:
    """As on the venue: its implied price is a tick below the offer it was meant for."""
    exchange = binaries()
    other, account = trader(exchange, sets=100), trader(exchange)
    order(exchange, other, "SELL Up 50 @ 0.52")
    answer = submit(exchange, account, amounts_request(Side.BUY, UP, (5_000_000, 9_615_400), order_type=FAK))
    assert answer.reason is R.FAK_NO_MATCH
    answer = submit(exchange, account, amounts_request(Side.BUY, UP, (5_000_000, 9_615_300), order_type=FAK))
    assert answer.status is S.MATCHED


AT_180_S = {"kind": GTD, "expiration_s": 180}
# What is asked, with which terms, and the refusal. The book has 10 Up for sale at 0.60 and a bid for 10 at 0.40.
REFUSALS = (
    ("BUY Up 4.99 @ 0.50", {}, R.BELOW_MINIMUM),
    ("BUY Up 5 @ 0.50", {}, R.NONE),
    ("SELL Up 4 @ 0.50", {}, R.BELOW_MINIMUM),
    ("BUY Up 5.001 @ 0.50", {}, R.BAD_PAYLOAD),
    ("BUY Up 2 @ 0.60", {"kind": FAK}, R.NONE),
    ("BUY Up 1.5 @ 0.60", {"kind": FAK}, R.MARKETABLE_TOO_SMALL),
    ("BUY Down 5 @ 0.60", {}, R.NONE),
    ("BUY Up 5 @ 0.60", {"is_post_only": True}, R.POST_ONLY_CROSSES),
    ("BUY Down 5 @ 0.60", {"is_post_only": True}, R.POST_ONLY_CROSSES),
    ("BUY Up 5 @ 0.59", {"is_post_only": True}, R.NONE),
    ("BUY Up 5 @ 0.59", {"is_post_only": True, "kind": FAK}, R.POST_ONLY_TYPE),
    ("BUY Up 5 @ 0.59", {"is_post_only": True, "kind": FOK}, R.POST_ONLY_TYPE),
    ("BUY Up 5 @ 0.59", {**AT_180_S, "is_post_only": True}, R.NONE),
    ("BUY Up 5 @ 0.59", AT_180_S, R.NONE),
    ("BUY Up 5 @ 0.59", {"kind": GTD, "expiration_s": 179}, R.BAD_EXPIRATION),
    ("BUY Up 5 @ 0.59", {"kind": GTD}, R.BAD_EXPIRATION),
    ("BUY Up 5 @ 0.59", {"kind": GTD, "expiration_s": 2**40}, R.BAD_EXPIRATION),
    ("BUY Up 5 @ 0.59", {"expiration_s": 500}, R.BAD_EXPIRATION),
    ("BUY Up 5 @ 0.59", {"kind": FAK}, R.FAK_NO_MATCH),
    ("BUY Up 5 @ 0.59", {"kind": FOK}, R.FOK_NOT_FILLED),
    ("BUY Up 11 @ 0.60", {"kind": FOK}, R.FOK_NOT_FILLED),
    ("BUY Up 10 @ 0.60", {"kind": FOK}, R.NONE),
    ("SELL Up 11 @ 0.40", {"kind": FOK}, R.FOK_NOT_FILLED),
    ("SELL Up 11 @ 0.40", {"kind": FAK}, R.NONE),
    ("SELL Up 101 @ 0.50", {}, R.NOT_ENOUGH_BALANCE),
    ("BUY Up 201 @ 0.50", {}, R.NOT_ENOUGH_BALANCE),
    ("BUY Up 200 @ 0.50", {}, R.NONE),
    ("BUY Up 2000000 @ 0.50", {}, R.BAD_PAYLOAD),
)


@pytest.mark.parametrize("words, terms, reason", REFUSALS)
def test_every_refusal_has_its_reason_and_changes_nothing(
    words: str, terms: dict[str, Any], reason: BinaryReason
) -> None:
    """An account with 100 dollars and 100 sets asks; what is refused leaves book, money and history as they were."""
    exchange = binaries()
    maker = trader(exchange, sets=100)
    order(exchange, maker, "SELL Up 10 @ 0.60")
    order(exchange, maker, "BUY Up 10 @ 0.40")
    account = trader(exchange, dollars=100, sets=100)
    # The expirations of the table count from now.
    asked = dict(terms)
    if asked.get("expiration_s"):
        asked["expiration_s"] += exchange.now_ns // NS_PER_S
    before = ladder(exchange, Outcome.UP), exchange.holding(account, COLLATERAL), exchange.holding(account, UP)
    exchange.take_changes()
    answer = order(exchange, account, words, **asked)
    assert (answer.reason if answer.is_refused else R.NONE) is reason
    if answer.is_refused:
        assert exchange.take_changes() == []
        after = ladder(exchange, Outcome.UP), exchange.holding(account, COLLATERAL), exchange.holding(account, UP)
        assert (after, exchange.order(answer.order_id)) == (before, None)
        assert venue_error(answer.reason)[0] >= 400


def test_a_full_book_and_unknown_or_unopened_or_closed_markets_refuse() -> None:
    """Each says which it is."""
    exchange = binaries(order_capacity=1)
    account = trader(exchange, sets=10)
    later = window(condition_id="0xlater", up_token="333", down_token="444", open_ns=60 * NS_PER_S)
    exchange.create_window(later)
    assert order(exchange, account, "BUY Up 5 @ 0.10").status is S.LIVE
    assert order(exchange, account, "BUY Up 5 @ 0.10").reason is R.BOOK_FULL
    unopened = amounts_request(Side.BUY, "333", (500_000, 5_000_000))
    assert exchange.submit(account, unopened).reason is R.MARKET_NOT_READY
    assert exchange.submit(account, amounts_request(Side.BUY, "555", (500_000, 5_000_000))).reason is R.UNKNOWN_ASSET
    exchange.step(60 * NS_PER_S)
    assert exchange.submit(account, unopened).status is S.LIVE
    exchange.step(END_NS)
    assert order(exchange, account, "BUY Up 5 @ 0.10").reason is R.MARKET_CLOSED


def test_reasons_of_refusals_have_the_venues_words() -> None:
    """All but those that only end accepted orders."""
    ends = {R.NONE, R.REQUESTED, R.EXPIRED, R.FAK_REMAINDER, R.SELF_TRADE, R.HEARTBEAT_LOST, R.MARKET_RESOLVED}
    assert set(BinaryReason) - ends == VENUE_ERRORS.keys()


def test_holds_bind_what_open_orders_may_need_and_allowances_cap_it() -> None:
    """The second order finds only what the first left; what the exchange may not take is as good as not there."""
    exchange = binaries()
    account = trader(exchange, dollars=10, sets=10)
    assert order(exchange, account, "BUY Up 12 @ 0.50").status is S.LIVE
    assert order(exchange, account, "BUY Down 10 @ 0.41").reason is R.NOT_ENOUGH_BALANCE
    assert order(exchange, account, "BUY Down 10 @ 0.40").status is S.LIVE
    assert exchange.holding(account, COLLATERAL)[:2] == (0, 10 * UNIT)
    assert order(exchange, account, "SELL Up 6 @ 0.90").status is S.LIVE
    assert order(exchange, account, "SELL Up 5 @ 0.90").reason is R.NOT_ENOUGH_BALANCE
    exchange.cancel_all(account)
    exchange.set_allowance(account, COLLATERAL, 5 * UNIT)
    exchange.set_allowance(account, UP, 0)
    assert order(exchange, account, "BUY Up 12 @ 0.50").reason is R.NOT_ENOUGH_BALANCE
    assert order(exchange, account, "BUY Up 10 @ 0.50").status is S.LIVE
    assert order(exchange, account, "SELL Up 5 @ 0.90").reason is R.NOT_ENOUGH_BALANCE


def test_a_taker_must_be_able_to_pay_the_fee_too() -> None:
    """Ten shares at 0.50 cost 5.00 and a fee of 0.175."""
    exchange = binaries(fee_rate_ppm=70_000)
    maker = trader(exchange, sets=100)
    order(exchange, maker, "SELL Up 50 @ 0.50")
    poor = exchange.open_account("poor", 5_170_000)
    assert order(exchange, poor, "BUY Up 10 @ 0.50").reason is R.NOT_ENOUGH_BALANCE
    exchange.deposit(poor, 6_000)
    assert order(exchange, poor, "BUY Up 10 @ 0.50").status is S.MATCHED
    settle(exchange)
    assert exchange.holding(poor, COLLATERAL).free_units == 1_000


def test_a_post_only_order_that_would_cross_says_so_before_it_is_asked_for_a_fee() -> None:
    """Its owner has exactly its price: it is requoted, not taken for poor."""
    exchange = binaries(fee_rate_ppm=70_000)
    order(exchange, trader(exchange, sets=100), "SELL Up 50 @ 0.50")
    account = trader(exchange, dollars=5)
    assert order(exchange, account, "BUY Up 10 @ 0.50", is_post_only=True).reason is R.POST_ONLY_CROSSES
    assert order(exchange, account, "BUY Up 10 @ 0.50").reason is R.NOT_ENOUGH_BALANCE


def test_the_same_order_twice_is_refused_and_does_no_harm() -> None:
    """While it rests and after it ended, whoever sends it; the first one stays as it is."""
    exchange = binaries()
    account, other = trader(exchange), trader(exchange)
    asked = request("BUY", "Up", "10", "0.40")
    first = submit(exchange, account, asked)
    assert submit(exchange, account, asked).reason is R.DUPLICATED
    assert submit(exchange, other, asked).reason is R.DUPLICATED
    assert exchange.order(asked.order_id) == first
    exchange.cancel(account, asked.order_id)
    assert submit(exchange, account, asked).reason is R.DUPLICATED
    assert ladder(exchange, Outcome.UP) == []


def test_a_refused_order_may_be_sent_again() -> None:
    """A refusal is not remembered: the same order is taken once nothing stands against it."""
    exchange = binaries()
    account = trader(exchange)
    asked = request("BUY", "Up", "10", "0.40", order_type=FAK)
    assert submit(exchange, account, asked).reason is R.FAK_NO_MATCH
    order(exchange, trader(exchange, sets=10), "SELL Up 10 @ 0.40")
    assert submit(exchange, account, asked).status is S.MATCHED


def test_a_gtd_order_ends_a_minute_before_it_says() -> None:
    """It rests until then, and is told as cancelled."""
    exchange = binaries()
    account = trader(exchange)
    answer = order(exchange, account, "BUY Up 10 @ 0.40", GTD, expiration_s=200)
    exchange.take_changes()
    exchange.step(140 * NS_PER_S - 1)
    assert exchange.open_orders(account) == [answer]
    exchange.step(500 * NS_PER_S)
    (change,) = (change for change in exchange.take_changes() if isinstance(change, OrderChanged))
    assert (change.ts_ns, change.event, change.order.status) == (
        140 * NS_PER_S,
        OrderEvent.CANCELLATION,
        S.CANCELED_EXPIRED_ORDER,
    )
    assert exchange.holding(account, COLLATERAL).held_units == 0


def test_a_fak_order_takes_what_is_there_and_gives_up_the_rest() -> None:
    """It has matched; what it could not do is no longer open."""
    exchange = binaries()
    order(exchange, trader(exchange), "BUY Up 10 @ 0.40")
    answer = order(exchange, trader(exchange, sets=50), "SELL Up 25 @ 0.40", FAK)
    assert (answer.status, answer.reason, dollars(answer.matched_units), answer.open_units) == (
        S.MATCHED,
        R.FAK_REMAINDER,
        10,
        0,
    )
    assert ladder(exchange, Outcome.UP) == []


def test_an_order_that_is_cancelled_says_so_and_why_another_cannot_be() -> None:
    """Open, matched, cancelled, unknown, another's."""
    exchange = binaries()
    account, other = trader(exchange), trader(exchange, sets=100)
    first, second = order(exchange, account, "BUY Up 10 @ 0.40"), order(exchange, account, "BUY Up 10 @ 0.30")
    order(exchange, other, "SELL Up 10 @ 0.40")
    assert exchange.cancel(account, first.order_id) is R.ALREADY_MATCHED
    assert exchange.cancel(other, second.order_id) is R.UNKNOWN_ORDER
    assert exchange.cancel(account, second.order_id) is R.NONE
    assert exchange.cancel(account, second.order_id) is R.ALREADY_CANCELED
    assert exchange.cancel(account, "0xnone") is R.UNKNOWN_ORDER


def test_cancelling_all_may_be_narrowed_to_a_market_or_token() -> None:
    """Only what is named goes."""
    exchange = binaries()
    account = trader(exchange)
    ups = [order(exchange, account, f"BUY Up 10 @ 0.{price}").order_id for price in (31, 32)]
    down = order(exchange, account, "BUY Down 10 @ 0.30").order_id
    assert exchange.cancel_all(account, condition_id="0xother") == []
    assert exchange.cancel_all(account, condition_id=MARKET, token_id=UP) == ups
    assert exchange.cancel_all(account) == [down]


# Taker delay.


def delayed(**rules: Any) -> tuple[BinaryExchange, int, int]:
    """A market with the usual delay, 10 Up for sale at 0.60, and two accounts."""
    exchange = binaries(taker_delay_ns=DELAY_NS, **rules)
    maker, taker = trader(exchange, sets=100), trader(exchange)
    order(exchange, maker, "SELL Up 10 @ 0.60")
    return exchange, maker, taker


def test_a_marketable_order_is_held_before_it_meets_the_book() -> None:
    """DELAYED and paid for, then matched exactly when the delay is over; what rests is not delayed."""
    exchange, _, taker = delayed()
    assert order(exchange, taker, "BUY Up 10 @ 0.50").status is S.LIVE
    answer = order(exchange, taker, "BUY Up 5 @ 0.60", FAK)
    assert answer.status is S.DELAYED
    assert exchange.holding(taker, COLLATERAL).held_units == 8 * UNIT + 11
    started_ns = exchange.now_ns
    exchange.step(started_ns + DELAY_NS - 1)
    assert ladder(exchange, Outcome.UP)[-1] == "ask 10 @ 0.6"
    exchange.step(started_ns + 10 * DELAY_NS)
    found = exchange.order(answer.order_id)
    assert found is not None
    assert (found.status, found.changed_ns) == (S.MATCHED, started_ns + DELAY_NS)


def test_cancels_count_while_an_order_is_held() -> None:
    """The taker's own, and the maker's that it was after: who is left finds nothing."""
    exchange, maker, taker = delayed()
    first = order(exchange, taker, "BUY Up 5 @ 0.60")
    assert exchange.cancel(taker, first.order_id) is R.NONE
    fak, gtc = order(exchange, taker, "BUY Up 5 @ 0.60", FAK), order(exchange, taker, "BUY Up 5 @ 0.60")
    fok = order(exchange, taker, "BUY Up 20 @ 0.60", FOK)
    exchange.cancel_all(maker)
    settle(exchange)
    ended = [exchange.order(each.order_id) for each in (first, fak, gtc, fok)]
    assert [(each.status, each.reason) for each in ended if each is not None] == [
        (S.CANCELED, R.REQUESTED),
        (S.CANCELED, R.FAK_NO_MATCH),
        (S.UNMATCHED, R.NONE),
        (S.CANCELED, R.FOK_NOT_FILLED),
    ]
    assert ladder(exchange, Outcome.UP) == ["bid 5 @ 0.6"]
    order(exchange, maker, "SELL Up 5 @ 0.60")
    settle(exchange)
    assert exchange.open_orders(taker) == []


def test_prompt_accounts_are_not_held_back() -> None:
    """They trade at once, or are told at once that they cannot."""
    exchange, _, _ = delayed()
    prompt = exchange.open_account("prompt", 100 * UNIT, is_house=True, is_prompt=True)
    assert order(exchange, prompt, "BUY Up 20 @ 0.60", FOK).reason is R.FOK_NOT_FILLED
    assert order(exchange, prompt, "BUY Up 5 @ 0.60", FOK).status is S.MATCHED


def test_the_close_ends_orders_that_are_held() -> None:
    """They never meet the book of a market that is closed."""
    exchange, _, taker = delayed()
    exchange.step(END_NS - DELAY_NS // 2)
    held = order(exchange, taker, "BUY Up 5 @ 0.60")
    exchange.step(END_NS + NS_PER_S)
    found = exchange.order(held.order_id)
    assert found is not None
    assert found.status is S.CANCELED_MARKET_RESOLVED


# Modes.


@pytest.mark.parametrize(
    "mode, plain, post_only, cancel",
    [
        (EngineMode.NORMAL, R.NONE, R.NONE, R.NONE),
        (EngineMode.RESTARTING, R.ENGINE_RESTARTING, R.ENGINE_RESTARTING, R.ENGINE_RESTARTING),
        (EngineMode.POST_ONLY, R.POST_ONLY_MODE, R.NONE, R.NONE),
        (EngineMode.CANCEL_ONLY, R.CANCEL_ONLY, R.CANCEL_ONLY, R.NONE),
        (EngineMode.DISABLED, R.TRADING_DISABLED, R.TRADING_DISABLED, R.TRADING_DISABLED),
    ],
)
def test_each_mode_allows_what_it_says(
    mode: EngineMode, plain: BinaryReason, post_only: BinaryReason, cancel: BinaryReason
) -> None:
    """New orders, post-only orders, cancels."""
    exchange = binaries()
    account = trader(exchange)
    resting = order(exchange, account, "BUY Up 5 @ 0.30")
    exchange.set_mode(mode)
    assert order(exchange, account, "BUY Up 5 @ 0.20").reason is plain
    assert order(exchange, account, "BUY Up 5 @ 0.20", is_post_only=True).reason is post_only
    assert exchange.cancel(account, resting.order_id) is cancel


def test_after_a_restart_the_exchange_takes_post_only_orders_for_two_minutes() -> None:
    """Then it is back; an order whose delay ended meanwhile met the book when the restart was over."""
    exchange, _, taker = delayed()
    held = order(exchange, taker, "BUY Up 5 @ 0.60")
    started_ns = exchange.now_ns
    exchange.restart(30 * NS_PER_S)
    exchange.step(started_ns + 29 * NS_PER_S)
    assert exchange.mode is EngineMode.RESTARTING
    assert [each.order_id for each in exchange.open_orders(taker)] == [held.order_id]
    exchange.step(started_ns + 31 * NS_PER_S)
    assert exchange.mode is EngineMode.POST_ONLY
    found = exchange.order(held.order_id)
    assert found is not None
    assert (found.status, found.changed_ns) == (S.MATCHED, started_ns + 30 * NS_PER_S)
    exchange.step(started_ns + 150 * NS_PER_S)
    assert exchange.mode is EngineMode.NORMAL


def test_a_mode_that_is_set_by_hand_ends_a_restart() -> None:
    """What the restart had planned does not happen any more."""
    exchange = binaries()
    exchange.restart(30 * NS_PER_S)
    exchange.set_mode(EngineMode.CANCEL_ONLY)
    exchange.step(600 * NS_PER_S)
    assert exchange.mode is EngineMode.CANCEL_ONLY


def test_another_tick_binds_new_orders_and_leaves_the_others() -> None:
    """What rests beside the coarser grid stays; what comes must be on it."""
    exchange = binaries(tick_points=10)
    account = trader(exchange)
    order(exchange, account, "BUY Up 10 @ 0.481")
    exchange.set_tick(MARKET, 100)
    assert order(exchange, account, "BUY Up 10 @ 0.482").reason is R.OFF_TICK
    assert order(exchange, account, "BUY Down 10 @ 0.30").status is S.LIVE
    assert ladder(exchange, Outcome.UP) == ["bid 10 @ 0.481", "ask 10 @ 0.7"]
    assert exchange.market(MARKET).tick_points == 100


def test_ended_orders_are_kept_up_to_a_bound_and_open_ones_always() -> None:
    """The oldest that ended is forgotten first."""
    exchange = binaries(history_max=3)
    account = trader(exchange)
    resting = order(exchange, account, "BUY Down 10 @ 0.30")
    ids = [order(exchange, account, "BUY Up 10 @ 0.30").order_id for _ in range(5)]
    for order_id in ids:
        exchange.cancel(account, order_id)
    assert [exchange.order(order_id) is not None for order_id in ids] == [False, False, True, True, True]
    assert exchange.order(resting.order_id) == resting
    assert exchange.open_orders(account, token_id=DOWN) == [resting]
