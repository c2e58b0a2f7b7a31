"""A snapshot is the whole exchange: restored in the middle of a stream it goes on bit by bit the same."""

from __future__ import annotations

import json
import random

import pytest

from agora.domain.orders import OrderType, Side, TimeInForce
from agora.exchange.market_engine import MarketEngine
from agora.exchange.records import Receipt
from agora.exchange.requests import OrderRequest, SelfTrade
from tests.exchange.markets import PLENTY, buy, listing, market, sell


def new_market() -> MarketEngine:
    """Two currencies, one asset that can be sold short."""
    return market(listing(maker=200, taker=600, allows_shorts=True), listing("BBB", quote="EUR"), trade_capacity=32)


def seeded() -> MarketEngine:
    """Six accounts of different wealth."""
    engine = new_market()
    for number in range(6):
        cash = {"USD": number * 200_000, "EUR": number * 300_000}
        engine.open_account(f"a{number}", cash=cash, units={"AAA": number * 3, "BBB": number * 5})
    return engine


def drawn(rng: random.Random, number: int) -> OrderRequest:
    """A random order near 100."""
    kind = rng.choice([OrderType.LIMIT, OrderType.LIMIT, OrderType.LIMIT, OrderType.MARKET, OrderType.STOP])
    tif = rng.choice([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.GTD])
    return OrderRequest(
        symbol=rng.choice(["AAA", "BBB"]),
        side=rng.choice([Side.BUY, Side.SELL]),
        size_lots=rng.randint(1, 9),
        type=kind,
        time_in_force=tif,
        price_ticks=0 if kind is OrderType.MARKET else rng.randint(90, 110),
        trigger_ticks=rng.randint(90, 110) if kind is OrderType.STOP else 0,
        expire_ts_ns=number + rng.randint(1, 60) if tif is TimeInForce.GTD else 0,
        reduce_only=rng.random() < 0.1,
        self_trade=rng.choice(list(SelfTrade)),
        client_id=f"c{number}" if rng.random() < 0.3 else "",
    )


def play(engine: MarketEngine, seed: int, *, first: int, count: int) -> list[Receipt | int]:
    """Random orders, cancels and steps; what each was answered."""
    answers: list[Receipt | int] = []
    for number in range(first, first + count):
        rng = random.Random(f"{seed}/{number}")
        account = rng.randrange(6)
        answers.append(engine.submit(account, drawn(rng, number)))
        if rng.random() < 0.3:
            answers.append(engine.cancel(account, "AAA", max(1, engine.last_order_id - rng.randint(0, 9))))
        if number % 10 == 0:
            engine.step(number)
            answers.extend(trade.number for trade in engine.take_trades())
    return answers


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("seed", range(5))
def test_a_restored_exchange_continues_identically(seed: int) -> None:
    """From the buffers alone, through JSON text: same answers and same digest as the exchange that never stopped."""
    engine = seeded()
    play(engine, seed, first=0, count=250)
    text = json.dumps(engine.snapshot())
    restored = new_market()
    restored.restore(json.loads(text))
    assert restored.digest() == engine.digest(), f"seed {seed}"
    assert play(restored, seed, first=250, count=250) == play(engine, seed, first=250, count=250), f"seed {seed}"
    assert restored.digest() == engine.digest(), f"seed {seed}"
    assert restored.snapshot() == engine.snapshot(), f"seed {seed}"


def test_the_same_orders_give_the_same_digest_and_other_orders_another() -> None:
    """The digest is a function of what happened."""
    digests = []
    for seed in (1, 1, 2):
        engine = seeded()
        play(engine, seed, first=0, count=100)
        digests.append(engine.digest())
    assert digests[0] == digests[1] != digests[2]


def test_a_snapshot_is_compact() -> None:
    """Unused records cost next to nothing: a checkpoint of a small market is small."""
    engine = seeded()
    play(engine, 1, first=0, count=100)
    assert len(json.dumps(engine.snapshot())) < 40_000


def test_a_snapshot_of_another_market_is_refused() -> None:
    """Rules, version and damaged buffers are checked."""
    engine = seeded()
    snapshot = engine.snapshot()
    with pytest.raises(ValueError, match="other rules"):
        market(listing("CCC")).restore(snapshot)
    with pytest.raises(ValueError, match="another version"):
        new_market().restore({**snapshot, "version": 0})
    with pytest.raises(ValueError, match="expected"):
        new_market().restore({**snapshot, "tape": snapshot["accounts"]})
    with pytest.raises(ValueError, match="damaged"):
        new_market().restore({**snapshot, "tape": "AAAA"})


def test_names_and_client_ids_survive() -> None:
    """Accounts are found by name, and an order sent twice over the restart is one order."""
    engine = seeded()
    buy(engine, 3, 1, 90, client_id="mine")
    restored = new_market()
    restored.restore(engine.snapshot())
    assert restored.accounts.number_of("a3") == 3
    assert buy(restored, 3, 1, 90, client_id="mine").is_refused
    assert restored.open_account("late", cash={"USD": PLENTY}) == 6
    assert sell(restored, 5, 1, 90).filled_lots == 1
