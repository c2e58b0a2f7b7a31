"""A trader for tests that does everything a trader can do, often: brackets, bursts, amendments, cancels, exits.

What it does is drawn from a seed and a count in its memory, so a restored one goes on with the same choices.
"""

from __future__ import annotations

import random
from typing import Any

from agora.domain.events import Event, MarketCandle, OrderFilled
from agora.domain.intents import Amend, Cancel, Intent, Place, Proposal
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.engine.ports import View

NS_PER_S = 1_000_000_000


class Churner:
    """Churns; earns nothing. `symbol` is the one it trades, sizes are 1..`lots_max` lots."""

    def __init__(self, *, seed: int, symbol: str = "BTCUSDT", lots_max: int = 6, name: str = "churner") -> None:
        self.name = name
        self._seed = seed
        self._symbol = symbol
        self._lots_max = lots_max
        self._count = 0

    def decide(self, view: View, event: Event) -> Proposal | None:
        """Something for most bars, and for some fills."""
        if isinstance(event, MarketCandle) and event.is_history:
            return None
        if event.instrument != self._symbol:
            return None
        self._count += 1
        draw = random.Random(self._seed * 1_000_003 + self._count)
        if isinstance(event, MarketCandle):
            return self._on_bar(view, draw, event.close_ticks)
        assert isinstance(event, OrderFilled)
        if draw.random() < 0.5:
            return None
        return self._say("react", self._react(view, draw, event))

    def _on_bar(self, view: View, draw: random.Random, close: int) -> Proposal:
        intents: list[Intent] = []
        orders = view.open_orders(self._symbol)
        chance = draw.random()
        if chance < 0.25:
            intents.append(self._limit(view, draw, close))
        elif chance < 0.45:
            intents.append(self._market(draw, close))
        elif chance < 0.6:
            intents += [self._limit(view, draw, close) for _ in range(3)]
        elif chance < 0.75 and orders:
            intents += [Cancel(client_id=draw.choice(orders).client_id), self._limit(view, draw, close)]
        elif chance < 0.9 and orders:
            intents.append(self._amend(draw, draw.choice(orders), close))
        lots = view.position_lots(self._symbol)
        if lots and draw.random() < 0.2:
            intents.append(self._exit(lots))
        return self._say("churn", intents)

    def _react(self, view: View, draw: random.Random, fill: OrderFilled) -> list[Intent]:
        orders = view.open_orders(self._symbol)
        if orders and draw.random() < 0.3:
            return [Cancel(client_id=draw.choice(orders).client_id)]
        return [self._limit(view, draw, fill.fill_price_ticks)]

    @staticmethod
    def _say(action: str, intents: list[Intent]) -> Proposal:
        return Proposal(action=action, reason="seeded", intents=tuple(intents))

    def _limit(self, view: View, draw: random.Random, close: int) -> Place:
        side = draw.choice((Side.BUY, Side.SELL))
        price = close - side * draw.randint(-40, 250)
        is_short_lived = draw.random() < 0.4
        return Place(
            instrument=self._symbol,
            side=side,
            size_lots=draw.randint(1, self._lots_max),
            price_ticks=price,
            post_only=draw.random() < 0.4,
            time_in_force=TimeInForce.GTD if is_short_lived else TimeInForce.GTC,
            expire_ts_ns=view.now_ns + draw.randint(1, 5) * NS_PER_S if is_short_lived else 0,
            stop_ticks=price - side * draw.randint(100, 600),
            target_ticks=price + side * draw.randint(100, 600),
        )

    def _market(self, draw: random.Random, close: int) -> Place:
        side = draw.choice((Side.BUY, Side.SELL))
        return Place(
            instrument=self._symbol,
            side=side,
            size_lots=draw.randint(1, self._lots_max),
            type=OrderType.MARKET,
            stop_ticks=close - side * draw.randint(200, 800),
            target_ticks=close + side * draw.randint(200, 800),
        )

    @staticmethod
    def _amend(draw: random.Random, order: Order, close: int) -> Amend:
        step = draw.randint(-60, 60)
        if order.type is OrderType.STOP:
            return Amend(client_id=order.client_id, trigger_ticks=order.trigger_ticks + step)
        return Amend(client_id=order.client_id, price_ticks=(order.price_ticks or close) + step)

    def _exit(self, lots: int) -> Place:
        return Place(
            instrument=self._symbol,
            side=Side.SELL if lots > 0 else Side.BUY,
            size_lots=abs(lots),
            type=OrderType.MARKET,
            purpose=Purpose.EXIT,
            reduce_only=True,
        )

    def snapshot(self) -> dict[str, Any]:
        """How often it was asked."""
        return {"count": self._count}

    def restore(self, memory: dict[str, Any]) -> None:
        """Go on with the next choice."""
        self._count = int(memory["count"])
