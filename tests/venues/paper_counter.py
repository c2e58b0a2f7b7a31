"""A counter in front of the paper machine: orders by name go in, answers as short rows come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agora.domain.events import (
    Event,
    MarketCandle,
    MarketQuote,
    OrderAmendRejected,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    kind_of,
)
from agora.domain.instruments import known_instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.venues.paper import PaperMachine, PaperSettings

SYMBOL, PRICE = "BTCUSDT", 600_000
START_NS = 20_000 * 86_400 * NS_PER_S
BTC = known_instrument(SYMBOL)


class Counter:
    """A paper machine behind a counter: orders by name, the answers as short rows."""

    def __init__(
        self, *, seed: int = 1, equity: int = 10_000, instrument: dict[str, Any] | None = None, **facts: Any
    ) -> None:
        shape = {"latency_model": "fixed", "latency_ms_min": 100} | facts
        instruments = {SYMBOL: msgspec.structs.replace(BTC, **(instrument or {}))}
        self.machine = PaperMachine(instruments, PaperSettings(**shape), seed=seed, equity_units=equity * MONEY_SCALE)
        self.now_ns = START_NS
        self.count = 0
        self.answers: list[Event] = []

    def send(self, side: Side = Side.BUY, lots: int = 10, price: int = 0, **facts: Any) -> str:
        """An order leaves now; its client id."""
        self.count += 1
        shape: dict[str, Any] = {
            "client_id": f"o{self.count}",
            "number": self.count,
            "trader": "t",
            "instrument": SYMBOL,
            "side": side,
            "type": OrderType.LIMIT if price else OrderType.MARKET,
            "time_in_force": TimeInForce.GTC,
            "purpose": Purpose.ENTRY,
            "size_lots": lots,
            "price_ticks": price,
        }
        self.machine.send(Order(**(shape | facts)), self.now_ns)
        return f"o{self.count}"

    def leg(self, parent: str, purpose: Purpose, level: int, *, side: Side = Side.SELL, lots: int = 10) -> str:
        """A stop or target behind an entry."""
        is_stop = purpose is Purpose.STOP
        facts = {"type": OrderType.STOP, "trigger_ticks": level} if is_stop else {"price": level}
        return self.send(side, lots, purpose=purpose, parent=parent, reduce_only=True, **facts)

    def change(self, client_id: str, amend: tuple[int, int] | None = None) -> None:
        """A cancel or an amendment leaves now."""
        self.machine.change(client_id, self.now_ns, amend)

    def wait(self, ms: int = 100) -> list[Event]:
        """Time passes."""
        self.now_ns += ms * NS_PER_MS
        return self._note(self.machine.advance(self.now_ns))

    def see(self, kind: type[Any], after_ms: int = 0, **facts: Any) -> list[Event]:
        """A market event."""
        self.now_ns += after_ms * NS_PER_MS
        return self._note(self.machine.on_market(kind(ts_ns=self.now_ns, instrument=SYMBOL, **facts)))

    def quote(self, mid: int = PRICE, *, lots: int = 1_000, after_ms: int = 0) -> list[Event]:
        """A quote one tick either side."""
        facts = {"bid_ticks": mid - 1, "bid_lots": lots, "ask_ticks": mid + 1, "ask_lots": lots}
        return self.see(MarketQuote, after_ms, **facts)

    def bar(self, open_: int, high: int, low: int, close: int, *, volume: int = 100_000) -> list[Event]:
        """A closed minute."""
        shape = {"open_ticks": open_, "high_ticks": high, "low_ticks": low, "close_ticks": close}
        return self.see(MarketCandle, 60_000, interval_s=60, volume_lots=volume, **shape)

    def _note(self, events: list[Event]) -> list[Event]:
        self.answers += events
        return events

    @property
    def position(self) -> int:
        """What the venue says we hold."""
        return self.machine.account(self.now_ns).positions[SYMBOL]


def rows(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """(what, order, price, size) of fills; (what, order, reason) of refusals and cancels; (what, order) of the rest."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        what, client_id = kind_of(event).partition(".")[2], getattr(event, "client_id", "")
        if isinstance(event, OrderFilled):
            found.append((what, client_id, event.fill_price_ticks, event.fill_size_lots))
        elif isinstance(event, OrderRejected | OrderCancelled | OrderAmendRejected):
            found.append((what, client_id, event.reason))
        else:
            found.append((what, client_id))
    return found


def traded(desk: Counter, side: Side = Side.BUY, lots: int = 10) -> None:
    """Hold so many lots, bought or sold at the touch."""
    desk.quote(lots=10_000)
    desk.send(side, lots)
    desk.wait()
