"""A desk that goes on from a checkpoint, and one that is given its inputs again: the same words, the same hash."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from agora.domain.events import (
    ROLES,
    Event,
    Funding,
    MarketQuote,
    OperatorCommand,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderSent,
    OrderUnknown,
    Reconcile,
    Role,
    RunStarted,
    Timer,
    UserAlive,
    UserConnected,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.domain.orders import Order, Side
from agora.engine.desk import Desk, Rules
from agora.engine.ports import Change, Confirm, Effect, Send
from agora.engine.state import Phase, State, decode_snapshot, encode_snapshot, state_hash
from agora.engine.step import step
from agora.risk.breakers import BreakerSettings, build_breakers
from agora.risk.limits import LimitSettings, build_limits
from agora.risk.watchdogs import WatchdogSettings, build_watchdogs
from tests.engine.desks import OTHER, OTHER_PRICE, PRICE, START_NS, SYMBOL
from tests.scenarios.churner import Churner

STEPS = 400
Words = tuple[str, Any]
PRICES = {SYMBOL: PRICE, OTHER: OTHER_PRICE}


def desk_of(seed: int) -> Desk:
    """Three churners on two instruments and bars of two lengths, live."""
    traders = (
        Churner(seed=seed, name="anna"),
        Churner(seed=seed + 1, name="bert"),
        Churner(seed=seed + 2, symbol=OTHER, name="cleo"),
    )
    wide = {"loss_fraction_max_ppm": 1_000_000, "daily_drawdown_max_ppm": 1_000_000, "losing_streak_max": 0}
    rules = Rules(
        run_tag="t",
        instruments={symbol: known_instrument(symbol) for symbol in PRICES},
        interval_s=1,
        traders=traders,
        checks=build_limits(LimitSettings(orders_per_minute_max=600, leverage_max=125)),
        breakers=build_breakers(BreakerSettings(**wide)),
        watchdogs=build_watchdogs(WatchdogSettings()),
        trader_intervals_s=(1, 2, 1),
        weights_ppm=(1_000_000, 700_000, 1_000_000),
    )
    return Desk(State(), rules)


def said(effects: list[Effect]) -> list[Words]:
    """Effects as plain values: the orders in them go on changing."""
    return [(type(effect).__name__, msgspec.to_builtins(effect)) for effect in effects]


class Tale:
    """A live run with a venue made of dice: `inputs` and, for each, the words that followed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.desk = desk_of(seed)
        self.inputs: list[Event] = []
        self.words: list[list[Words]] = []
        self.now_ns = START_NS
        self._count = 0
        self._waiting: list[Order] = []
        facts = {"run_id": "run-t", "version": "0", "config_hash": "", "seed": 1, "venue": "t", "mode": "live"}
        numbers = {"duration_ns": 0, "interval_s": 1, "instruments": (), "equity_units": 100_000 * MONEY_SCALE}
        self.tell(RunStarted, **facts, **numbers)
        self.tell(UserConnected, source="t", keepalive_s=20)

    def tell(self, kind: type[Any], **facts: Any) -> None:
        """One event of now, and what the venue does about its effects."""
        event = kind(ts_ns=self.now_ns, **facts)
        effects = step(self.desk, event)
        self.inputs.append(event)
        self.words.append(said(effects))
        for effect in effects:
            if isinstance(effect, Send):
                self.tell(OrderSent, client_id=effect.order.client_id)
                self._waiting.append(effect.order)
            elif isinstance(effect, Change) and effect.amend is None:
                self.tell(OrderCancelled, client_id=effect.client_id, reason="requested")
            elif isinstance(effect, Confirm):
                self._confirm(effect)

    def _confirm(self, effect: Confirm) -> None:
        state = self.desk.state
        self.tell(
            Reconcile,
            positions={symbol: holding.position.size_lots for symbol, holding in state.holdings.items()},
            open_client_ids=tuple(state.working),
            cash_units=state.ledger.cash + (self.dice.random() < 0.1),
            asked_ts_ns=effect.ts_ns,
        )

    def _answer(self, order: Order) -> None:
        chance = self.dice.random()
        if chance < 0.08:
            self.tell(OrderRejected, client_id=order.client_id, reason="no")
        elif chance < 0.16:
            self.tell(OrderUnknown, client_id=order.client_id, reason="time-out")
            self._waiting.append(order)
        elif chance < 0.5:
            self.tell(OrderAccepted, client_id=order.client_id, venue_id="v")
        else:
            self._fill(order, self.dice.randint(1, max(1, order.remaining_lots)))

    def _fill(self, order: Order, lots: int) -> None:
        self._count += 1
        price = PRICES[order.instrument] + self.dice.randint(-30, 30)
        self.tell(
            OrderFilled,
            client_id=order.client_id,
            venue_id="v",
            venue_fill_id=f"f{self._count}",
            instrument=order.instrument,
            side=Side(order.side).word,
            purpose=str(order.purpose),
            fill_price_ticks=price,
            fill_size_lots=lots,
            fee_units=self.dice.randint(-5, 50),
            liquidity="taker",
        )

    def move(self) -> None:
        """Something happens."""
        self.now_ns += self.dice.randint(0, NS_PER_S)
        symbol = self.dice.choice((SYMBOL, OTHER))
        chance = self.dice.random()
        if chance < 0.6:
            mid = PRICES[symbol] + self.dice.randint(-200, 200)
            touch = {"bid_ticks": mid - 1, "ask_ticks": mid + 1, "bid_lots": 50, "ask_lots": 50}
            self.tell(MarketQuote, instrument=symbol, **touch)
        elif chance < 0.85 and self._waiting:
            self._answer(self._waiting.pop(self.dice.randrange(len(self._waiting))))
        elif chance < 0.9:
            facts = {"rate_ppb": 1, "size_lots": 1, "mark_ticks": 1, "venue_funding_id": f"p{self._count}"}
            positions = {"position_id": str(self._count), "position_funding_units": 3}
            self._count += 1
            self.tell(Funding, instrument=symbol, amount_units=self.dice.randint(-9, 9), **facts, **positions)
        elif chance < 0.99:
            self.tell(UserAlive)
        else:
            self.tell(OperatorCommand, command="flatten", reason="")
        self.tell(Timer)


def told(seed: int) -> Tale:
    """A whole tale, with its end begun."""
    tale = Tale(seed)
    for _ in range(STEPS):
        tale.move()
    tale.tell(OperatorCommand, command="stop", reason="enough")
    for _ in range(20):
        tale.move()
    return tale


def shuffled(snapshot: bytes, dice: random.Random) -> bytes:
    """The same snapshot with the members of every object in another order."""

    def mixed(value: Any) -> Any:
        if isinstance(value, list):
            return [mixed(item) for item in value]
        if not isinstance(value, dict):
            return value
        names = list(value)
        dice.shuffle(names)
        return {name: mixed(value[name]) for name in names}

    return json.dumps(mixed(json.loads(snapshot))).encode()


@pytest.mark.requirement("B24")
@pytest.mark.parametrize("seed", range(1, 7))
def test_the_same_inputs_give_the_same_words_and_the_same_hash(seed: int) -> None:
    """Several traders, instruments and lengths, a venue with doubts, a forced flattening and an ending."""
    tale = told(seed)
    assert {ROLES[type(event)] for event in tale.inputs} == {Role.INPUT}
    assert tale.desk.state.counters.filled > 20
    assert len([name for name, shares in tale.desk.state.shares.items() if shares]) >= 3
    again = desk_of(seed)
    for event, words in zip(tale.inputs, tale.words, strict=True):
        assert said(step(again, event)) == words
    assert state_hash(again.snapshot()) == state_hash(tale.desk.snapshot())


@pytest.mark.requirement("B24")
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_desk_restored_from_any_moment_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    """Also when every dictionary in the checkpoint has another order."""
    tale = told(seed)
    dice = random.Random(seed)
    whole = state_hash(tale.desk.snapshot())
    cuts = {dice.randrange(len(tale.inputs)) for _ in range(12)}
    desk = desk_of(seed)
    for number, event in enumerate(tale.inputs):
        step(desk, event)
        if number not in cuts:
            continue
        text = encode_snapshot(desk.snapshot())
        restored = desk_of(seed)
        restored.restore(decode_snapshot(shuffled(text, dice)))
        assert encode_snapshot(restored.snapshot()) == text
        for rest, words in zip(tale.inputs[number + 1 :], tale.words[number + 1 :], strict=True):
            assert said(step(restored, rest)) == words
        assert state_hash(restored.snapshot()) == whole


def test_a_tale_meets_what_it_should() -> None:
    """Its dice bring doubts, refusals between traders, differences that pass, and an end."""
    tale = told(3)
    kinds = {type(event).__name__ for event in tale.inputs} | {name for words in tale.words for name, _ in words}
    wanted = {"OrderUnknown", "OrderRefused", "OrderCancelIntent", "Reconcile", "Confirm", "Funding", "Decision"}
    assert wanted <= kinds
    assert tale.desk.state.phase is not Phase.RUNNING
