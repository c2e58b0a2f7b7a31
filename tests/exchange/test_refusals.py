"""Bad input: refused with a reason, and nothing has changed."""

from __future__ import annotations

from typing import Any

import pytest

from agora.domain.orders import OrderStatus, OrderType, Side, TimeInForce
from agora.exchange.client_ids import CLIENT_IDS_REMEMBERED, ClientIds
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import OrderRequest, Reason
from tests.exchange.markets import PLENTY, buy, limit, listing, market, sell


def busy_market() -> MarketEngine:
    """Account 0 owns everything, account 1 nothing; both sides rest, and a stop waits. The clock stands at 10."""
    engine = market(listing(), listing("BBB", quote="EUR"))
    rich = engine.open_account("rich", cash={"USD": PLENTY, "EUR": PLENTY}, units={"AAA": 100, "BBB": 100})
    engine.open_account("poor")
    buy(engine, rich, 5, 90, client_id="first")
    sell(engine, rich, 5, 110)
    engine.submit(rich, limit(Side.BUY, 1, 130, type=OrderType.STOP, trigger_ticks=120))
    engine.step(10)
    return engine


GTD = TimeInForce.GTD
# name, account, what is wrong with the order, the reason
BAD_ORDERS: tuple[tuple[str, int, dict[str, Any], Reason], ...] = (
    ("unknown asset", 0, {"symbol": "ZZZ"}, Reason.UNKNOWN_ASSET),
    ("unknown account", 7, {}, Reason.UNKNOWN_ACCOUNT),
    ("negative account", -1, {}, Reason.UNKNOWN_ACCOUNT),
    ("no size", 0, {"size_lots": 0}, Reason.BAD_SIZE),
    ("negative size", 0, {"size_lots": -3}, Reason.BAD_SIZE),
    ("part of a lot", 0, {"size_lots": 1.5}, Reason.BAD_SIZE),
    ("huge size", 0, {"size_lots": 10**30}, Reason.TOO_LARGE),
    ("size above the instrument's", 0, {"size_lots": 10_000_001}, Reason.TOO_LARGE),
    ("no price", 0, {"price_ticks": 0}, Reason.BAD_PRICE),
    ("negative price", 0, {"price_ticks": -5}, Reason.BAD_PRICE),
    ("part of a tick", 0, {"price_ticks": 99.5}, Reason.BAD_PRICE),
    ("a price beyond words", 0, {"price_ticks": 10**30}, Reason.BAD_PRICE),
    ("huge price", 0, {"price_ticks": 2**41}, Reason.TOO_LARGE),
    ("huge value", 0, {"price_ticks": 2**40, "size_lots": 10_000_000}, Reason.TOO_LARGE),
    ("a price on a market order", 0, {"type": OrderType.MARKET}, Reason.BAD_PRICE),
    ("a stop without trigger", 0, {"type": OrderType.STOP}, Reason.BAD_TRIGGER),
    ("a trigger on a limit order", 0, {"trigger_ticks": 95}, Reason.BAD_TRIGGER),
    ("a trigger beyond words", 0, {"type": OrderType.STOP, "trigger_ticks": 10**30}, Reason.BAD_TRIGGER),
    ("an expiry in the past", 0, {"time_in_force": GTD, "expire_ts_ns": 10}, Reason.BAD_EXPIRY),
    ("an expiry beyond words", 0, {"time_in_force": GTD, "expire_ts_ns": 10**30}, Reason.BAD_EXPIRY),
    ("post-only at once", 0, {"post_only": True, "time_in_force": TimeInForce.IOC}, Reason.BAD_COMBINATION),
    ("too little cash", 1, {}, Reason.INSUFFICIENT_FUNDS),
    ("too few units", 0, {"side": Side.SELL, "size_lots": 96}, Reason.INSUFFICIENT_UNITS),
    ("nothing to sell", 1, {"side": Side.SELL}, Reason.SHORTING_NOT_ALLOWED),
    ("crossing post-only", 0, {"price_ticks": 110, "post_only": True}, Reason.POST_ONLY_WOULD_CROSS),
    ("nothing to reduce", 0, {"reduce_only": True}, Reason.REDUCE_ONLY_NO_POSITION),
    ("unfillable FOK", 0, {"time_in_force": TimeInForce.FOK}, Reason.FOK_NOT_FILLABLE),
    ("a client id used before", 0, {"client_id": "first"}, Reason.DUPLICATE_ID),
)


@pytest.mark.parametrize("name,account,fault,reason", BAD_ORDERS, ids=[row[0].replace(" ", "_") for row in BAD_ORDERS])
def test_a_bad_order_is_refused_and_changes_nothing(
    name: str, account: int, fault: dict[str, Any], reason: Reason
) -> None:
    """The reason is told, and the digest of the exchange stays."""
    engine = busy_market()
    before = engine.digest()
    order = {"symbol": "AAA", "side": Side.BUY, "size_lots": 2, "price_ticks": 95, **fault}
    receipt = engine.submit(account, OrderRequest(**order))
    assert (receipt.status, receipt.reason) == (OrderStatus.REJECTED, reason), name
    assert engine.digest() == before, name


@pytest.mark.parametrize(
    "account,symbol,order_id,reason",
    [
        (1, "AAA", 1, Reason.NOT_YOURS),
        (0, "AAA", 99, Reason.UNKNOWN_ORDER),
        (0, "AAA", -1, Reason.UNKNOWN_ORDER),
        (0, "AAA", 10**30, Reason.UNKNOWN_ORDER),
        (0, "BBB", 1, Reason.UNKNOWN_ORDER),
        (0, "ZZZ", 1, Reason.UNKNOWN_ASSET),
        (9, "AAA", 1, Reason.UNKNOWN_ACCOUNT),
    ],
)
def test_a_bad_cancel_or_replace_is_refused_and_changes_nothing(
    account: int, symbol: str, order_id: int, reason: Reason
) -> None:
    """Foreign, unknown and impossible orders alike."""
    engine = busy_market()
    before = engine.digest()
    assert engine.cancel(account, symbol, order_id).reason is reason
    assert engine.replace(account, symbol, order_id, price_ticks=91, size_lots=1).reason is reason
    assert engine.digest() == before


@pytest.mark.parametrize(
    "price,size,reason",
    [
        (0, 1, Reason.BAD_PRICE),
        (10**30, 1, Reason.BAD_PRICE),
        (2**41, 1, Reason.TOO_LARGE),
        (91, 0, Reason.BAD_SIZE),
        (91, 10**9, Reason.TOO_LARGE),
    ],
)
def test_a_replacement_with_bad_numbers_changes_nothing(price: int, size: int, reason: Reason) -> None:
    """The old order stays as it is."""
    engine = busy_market()
    before = engine.digest()
    assert engine.replace(0, "AAA", 1, price_ticks=price, size_lots=size).reason is reason
    assert engine.digest() == before


def test_a_full_book_refuses_with_capacity() -> None:
    """The order that has no room changes nothing, not even a hold."""
    engine = market(order_capacity=3)
    account = engine.open_account("one", cash={"USD": PLENTY})
    for _ in range(3):
        buy(engine, account, 1, 90)
    before = engine.digest()
    assert buy(engine, account, 1, 90).reason is Reason.CAPACITY
    assert engine.digest() == before


@pytest.mark.parametrize(
    "name,cash,units,words",
    [
        ("", {}, {}, "name"),
        ("rich", {}, {}, "open already"),
        ("new", {"GBP": 1}, {}, "GBP"),
        ("new", {}, {"ZZZ": 1}, "ZZZ"),
        ("new", {"USD": -1}, {}, "negative"),
        ("new", {"USD": 2**60 + 1}, {}, "paid in"),
        ("new", {}, {"AAA": 2**40 + 1}, "circulation"),
    ],
)
def test_an_account_that_cannot_be_opened_changes_nothing(
    name: str, cash: dict[str, int], units: dict[str, int], words: str
) -> None:
    """Names, currencies and amounts are checked first."""
    engine = busy_market()
    before = engine.digest()
    with pytest.raises(ValueError, match=words):
        engine.open_account(name, cash=cash, units=units)
    assert engine.digest() == before


def test_accounts_end_where_the_rules_say() -> None:
    """One more than the capacity is refused."""
    engine = market(account_capacity=2)
    for name in ("a", "b"):
        engine.open_account(name)
    with pytest.raises(ValueError, match="taken"):
        engine.open_account("c")


def test_client_ids_belong_to_accounts() -> None:
    """Two accounts may use the same word."""
    engine = busy_market()
    other = engine.open_account("other", cash={"USD": PLENTY})
    assert buy(engine, other, 1, 80, client_id="first").status is OrderStatus.ACCEPTED
    assert buy(engine, other, 1, 80, client_id="first").reason is Reason.DUPLICATE_ID


def test_a_refused_order_does_not_use_up_its_client_id() -> None:
    """It may be sent again with better numbers."""
    engine = busy_market()
    assert buy(engine, 1, 1, 80, client_id="mine").is_refused
    assert buy(engine, 0, 1, 80, client_id="mine").status is OrderStatus.ACCEPTED


def test_client_ids_are_forgotten_oldest_first_but_not_of_live_orders() -> None:
    """The memory stays bounded, and an id whose order lives is kept beyond the bound."""
    ids = ClientIds(lambda asset, order_id: (asset, order_id) == (0, 1))
    for number in range(1, CLIENT_IDS_REMEMBERED + 3):
        ids.remember(0, f"c{number}", (0, number))
    assert len(ids) == CLIENT_IDS_REMEMBERED
    assert ids.is_used(0, "c1")
    assert not ids.is_used(0, "c2")
    assert ids.place_of(0, "c1") == (0, 1)
