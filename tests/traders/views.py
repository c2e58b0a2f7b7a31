"""What tests of traders stand on: bars, a view that a test fills in, and a venue that fills at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agora.domain.events import MarketCandle
from agora.domain.instruments import Instrument, known_instrument
from agora.domain.intents import Amend, Cancel, Place, Proposal
from agora.domain.numbers import MONEY_SCALE
from agora.domain.orders import Order, OrderStatus, OrderType, Purpose, Side, TimeInForce

SYMBOL = "BTCUSDT"
MINUTE_NS = 60 * 10**9
START_NS = 20_000 * 86_400 * 10**9  # a midnight, so that a short stream lies in one session


def bar(number: int, close: int, *, reach: int = 0, low: int = 0, high: int = 0, volume: int = 10) -> MarketCandle:
    """Minute number 1, 2, …, from its close to its close, reaching both ways, or to a given low or high."""
    return MarketCandle(
        ts_ns=START_NS + number * MINUTE_NS,
        instrument=SYMBOL,
        interval_s=60,
        open_ticks=close,
        high_ticks=high or close + reach,
        low_ticks=low or close - reach,
        close_ticks=close,
        volume_lots=volume,
    )


def series(closes: Iterable[int], *, reach: int) -> list[MarketCandle]:
    """Consecutive minutes with these closes and ranges."""
    return [bar(number, close, reach=reach) for number, close in enumerate(closes, start=1)]


def order(purpose: Purpose = Purpose.ENTRY, side: Side = Side.BUY, **facts: object) -> Order:
    """An order that the venue has accepted; `facts` replace what matters to the test."""
    known: dict[str, object] = {
        "client_id": f"t-{purpose}",
        "number": 1,
        "trader": "trend",
        "instrument": SYMBOL,
        "side": side,
        "type": OrderType.STOP if purpose is Purpose.STOP else OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "purpose": purpose,
        "size_lots": 10,
        "status": OrderStatus.ACCEPTED,
    }
    return Order(**(known | facts))  # type: ignore[arg-type]


@dataclass
class FakeView:
    """A view (port `View`) that shows what the test has put into it."""

    now_ns: int = START_NS
    lots: int = 0
    entry_ticks: float = 0.0
    orders: list[Order] = field(default_factory=list)
    equity: int = 10_000 * MONEY_SCALE
    rate_ppb: int | None = None

    def instrument(self, symbol: str) -> Instrument:
        """The built-in one."""
        return known_instrument(symbol)

    def position_lots(self, _: str) -> int:
        """As set."""
        return self.lots

    def average_price_ticks(self, _: str) -> float:
        """As set."""
        return self.entry_ticks

    def open_orders(self, _: str) -> Sequence[Order]:
        """As set."""
        return self.orders

    def equity_units(self) -> int:
        """As set."""
        return self.equity

    def funding_rate_ppb(self, _: str) -> int | None:
        """As set."""
        return self.rate_ppb


def carry_out(view: FakeView, proposal: Proposal, candle: MarketCandle) -> None:
    """A venue without friction: entries fill at their price or the close, amends and cancels at once."""
    for intent in proposal.intents:
        if isinstance(intent, Place) and intent.purpose is Purpose.ENTRY:
            _fill_entry(view, intent, candle)
        elif isinstance(intent, Place):
            view.lots, view.entry_ticks, view.orders = 0, 0.0, []
        elif isinstance(intent, Amend):
            for stop in view.orders:
                if stop.client_id == intent.client_id:
                    stop.trigger_ticks = intent.trigger_ticks
        elif isinstance(intent, Cancel):
            view.orders = [known for known in view.orders if known.client_id != intent.client_id]


def _fill_entry(view: FakeView, place: Place, candle: MarketCandle) -> None:
    view.lots = place.side * place.size_lots
    view.entry_ticks = float(place.price_ticks or candle.close_ticks)
    view.orders = [order(Purpose.STOP, Side(-place.side), trigger_ticks=place.stop_ticks)]
    if place.target_ticks:
        view.orders.append(order(Purpose.TARGET, Side(-place.side), price_ticks=place.target_ticks))


def touch_legs(view: FakeView, candle: MarketCandle) -> None:
    """Close the position when the bar reaches its stop or target."""
    for leg in view.orders:
        side = -leg.side  # of the position
        is_stop = leg.purpose is Purpose.STOP
        level = leg.trigger_ticks if is_stop else leg.price_ticks
        adverse, favourable = (
            (candle.low_ticks, candle.high_ticks) if side > 0 else (candle.high_ticks, candle.low_ticks)
        )
        reached = side * (adverse - level) <= 0 if is_stop else side * (favourable - level) >= 0
        if view.lots and reached:
            view.lots, view.entry_ticks, view.orders = 0, 0.0, []
            return
