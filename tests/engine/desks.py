"""A desk that a test scripts: what the trader says to each bar or fill, and what the venue answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from agora.domain.events import (
    Event,
    MarketCandle,
    MarketQuote,
    MarketTrade,
    OrderAccepted,
    OrderFilled,
    OrderIntent,
    OrderSent,
    Reconcile,
    RunStarted,
    UserConnected,
    kind_of,
)
from agora.domain.instruments import Instrument, known_instrument
from agora.domain.intents import Cancel, Intent, Place, Proposal
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side
from agora.engine.account_settings import AccountSettings
from agora.engine.desk import Desk, Rules
from agora.engine.ports import Change, Confirm, Effect, Halt, Send, View
from agora.engine.shares import lots_of
from agora.engine.state import State
from agora.engine.step import step
from agora.risk.breakers import BreakerSettings, build_breakers
from agora.risk.limits import LimitSettings, build_limits
from agora.risk.watchdogs import WatchdogSettings, build_watchdogs

SYMBOL, OTHER = "BTCUSDT", "ETHUSDT"
START_NS = 20_000 * 86_400 * NS_PER_S  # a midnight
PRICE = 600_000  # ticks: 60,000.0
OTHER_PRICE = 300_000  # ticks: 3,000.00
Said = Proposal | Intent | None


class Scripted:
    """Says what the test has put into `script` (first come, first said), then holds; remembers what it was asked."""

    def __init__(self, name: str = "scripted") -> None:
        self.name = name
        self.script: list[Said | Callable[[View], Said]] = []
        self.asked: list[Event] = []
        self.silent_fills = True
        self.hears: tuple[type[Event], ...] = ()

    def decide(self, view: View, event: Event) -> Proposal | None:
        """The next line of the script, for bars (and for fills when not `silent_fills`)."""
        self.asked.append(event)
        is_bar = isinstance(event, MarketCandle)
        if (is_bar and event.is_history) or (not is_bar and self.silent_fills):
            return None
        if not self.script:
            return Proposal(action="hold", reason="nothing")
        line = self.script.pop(0)
        said = line(view) if callable(line) else line
        if said is None or isinstance(said, Proposal):
            return said
        return Proposal(action="act", reason="scripted", intents=(said,))

    def snapshot(self) -> dict[str, Any]:
        """How often it was asked."""
        return {"asked": len(self.asked)}

    def restore(self, memory: dict[str, Any]) -> None:
        """Nothing to restore but a count."""
        self.asked = [None] * int(memory["asked"])  # type: ignore[list-item]

    @property
    def bars(self) -> list[MarketCandle]:
        """The bars it was asked about."""
        return [event for event in self.asked if isinstance(event, MarketCandle)]


class Play:
    """A started desk, fed by hand; `effects` are those of the last event, `journal` all records so far."""

    def __init__(
        self,
        *,
        limits: dict[str, Any] | None = None,
        breakers: dict[str, Any] | None = None,
        watchdogs: dict[str, Any] | None = None,
        interval_s: int = 60,
        duration_s: int = 0,
        equity: int = 10_000,
        symbols: Iterable[str] = (SYMBOL,),
        instrument: dict[str, Any] | None = None,
        traders: Sequence[str] = ("scripted",),
        lengths_s: Sequence[int] = (),
        weights_ppm: Sequence[int] = (),
        is_live: bool = False,
        account: dict[str, Any] | None = None,
    ) -> None:
        self.traders = tuple(Scripted(name) for name in traders)
        self.trader = self.traders[0]
        self.instruments = {
            symbol: msgspec.structs.replace(known_instrument(symbol), **(instrument or {})) for symbol in symbols
        }
        rules = Rules(
            run_tag="t",
            instruments=self.instruments,
            interval_s=interval_s,
            traders=self.traders,
            checks=build_limits(LimitSettings(**(limits or {}))),
            breakers=build_breakers(BreakerSettings(**(breakers or {}))),
            watchdogs=build_watchdogs(WatchdogSettings(**(watchdogs or {}))),
            account=AccountSettings(**(account or {})),
            trader_intervals_s=tuple(lengths_s),
            weights_ppm=tuple(weights_ppm),
        )
        self.desk = Desk(State(), rules)
        self.now_ns = START_NS
        self.effects: list[Effect] = []
        self.journal: list[Event] = []
        self._fills = 0
        started = RunStarted(
            ts_ns=START_NS,
            run_id="run-t",
            version="0",
            config_hash="",
            seed=1,
            venue="test",
            mode="live" if is_live else "paper",
            duration_ns=duration_s * NS_PER_S,
            interval_s=interval_s,
            instruments=(),
            equity_units=equity * MONEY_SCALE,
        )
        self.step(started)

    @property
    def state(self) -> State:
        """The desk's state."""
        return self.desk.state

    @property
    def instrument(self) -> Instrument:
        """The first instrument."""
        return next(iter(self.instruments.values()))

    def step(self, event: Event) -> list[Effect]:
        """One event; returns its effects."""
        self.effects = step(self.desk, event)
        self.now_ns = self.state.now_ns
        self.journal.append(event)
        self.journal += [effect for effect in self.effects if not isinstance(effect, Send | Change | Confirm | Halt)]
        return self.effects

    def tell(self, kind: type[Any], after_s: float = 0, **facts: Any) -> list[Effect]:
        """An event some seconds after the last."""
        return self.step(kind(ts_ns=self.now_ns + round(after_s * NS_PER_S), **facts))

    def candle(
        self, close: int | None = None, *, after_s: float = 60, symbol: str = SYMBOL, **facts: Any
    ) -> list[Effect]:
        """A closed bar of the run's interval, flat at `close` (the usual price) unless told otherwise."""
        if close is None:
            close = PRICE if symbol == SYMBOL else OTHER_PRICE
        shape = {"open_ticks": close, "high_ticks": close, "low_ticks": close, "volume_lots": 100}
        shape |= {"interval_s": self.desk.rules.interval_s, "close_ticks": close, "instrument": symbol}
        return self.tell(MarketCandle, after_s, **(shape | facts))

    def quote(self, mid: int | None = None, *, after_s: float = 1, symbol: str = SYMBOL) -> list[Effect]:
        """A quote one tick either side."""
        if mid is None:
            mid = PRICE if symbol == SYMBOL else OTHER_PRICE
        sizes = {"bid_ticks": mid - 1, "ask_ticks": mid + 1, "bid_lots": 1_000, "ask_lots": 1_000}
        return self.tell(MarketQuote, after_s, instrument=symbol, **sizes)

    def trade(self, price: int = PRICE, size: int = 1, *, after_s: float = 1, symbol: str = SYMBOL) -> list[Effect]:
        """A print."""
        facts = {"price_ticks": price, "size_lots": size, "aggressor": 1}
        return self.tell(MarketTrade, after_s, instrument=symbol, **facts)

    def sent(self) -> list[Order]:
        """Orders that leave because of the last event."""
        return [effect.order for effect in self.effects if isinstance(effect, Send)]

    def cancels(self) -> list[str]:
        """Client ids whose cancel leaves because of the last event."""
        return [effect.client_id for effect in self.effects if isinstance(effect, Change) and effect.amend is None]

    def kinds(self) -> list[str]:
        """Kinds of the effects of the last event; effects that leave by their class name."""
        leaving = (Send, Change, Confirm, Halt)
        return [type(item).__name__ if isinstance(item, leaving) else kind_of(item) for item in self.effects]

    def recorded(self, kind: type[Any]) -> list[Any]:
        """All records of that kind."""
        return [event for event in self.journal if isinstance(event, kind)]

    def connect(self, *, keepalive_s: int = 3_600) -> None:
        """The private stream of a live run, fresh and compared; quiet by nature for an hour."""
        self.tell(UserConnected, source="test", keepalive_s=keepalive_s)
        self.venue_says()

    def place(self, intent: Place, *, answered: bool = True, after_s: float = 60, trader: str = "") -> Order:
        """Let a trader place an order at the next bar; the venue has it, unless told otherwise."""
        self.of(trader or self.trader.name).script.insert(0, intent)
        self.candle(after_s=after_s, symbol=intent.instrument)
        order = next(iter(self.sent()))
        for each in self.sent():
            self.tell(OrderSent, client_id=each.client_id)
        if answered:
            self.tell(OrderAccepted, client_id=order.client_id, venue_id=f"v-{order.number}")
        return order

    def fill(
        self, order: Order | str, size: int = 0, price: int = PRICE, *, fee: int = 0, **facts: Any
    ) -> list[Effect]:
        """An execution of an order, the rest of it by default."""
        known = self.state.order(order) if isinstance(order, str) else order
        assert known is not None
        self._fills += 1
        shape = {
            "client_id": known.client_id,
            "venue_id": "v",
            "venue_fill_id": f"f-{self._fills}",
            "instrument": known.instrument,
            "side": Side(known.side).word,
            "purpose": str(known.purpose),
            "fill_price_ticks": price,
            "fill_size_lots": size or known.remaining_lots,
            "fee_units": fee,
            "liquidity": "taker",
        }
        return self.tell(OrderFilled, **(shape | facts))

    def of(self, trader: str) -> Scripted:
        """A trader by its name."""
        return next(each for each in self.traders if each.name == trader)

    def lots(self, trader: str, symbol: str = SYMBOL) -> int:
        """The signed lots of a trader's share."""
        return lots_of(self.state, trader, symbol)

    def hold(self, lots: int, price: int = PRICE, *, trader: str = "", symbol: str = SYMBOL) -> None:
        """Come into a position of so many signed lots."""
        side = Side.BUY if lots > 0 else Side.SELL
        order = self.place(market(side, abs(lots), instrument=symbol), trader=trader)
        self.fill(order, price=price)

    def foreign_fill(self, lots: int, price: int = PRICE, *, purpose: str = "liquidation", **facts: Any) -> None:
        """The venue executes so many signed lots by itself, or an outside hand does."""
        self._fills += 1
        shape = {
            "client_id": f"{purpose}-{self._fills}",
            "venue_id": "x",
            "venue_fill_id": f"f-{self._fills}",
            "instrument": SYMBOL,
            "side": "buy" if lots > 0 else "sell",
            "purpose": purpose,
            "fill_price_ticks": price,
            "fill_size_lots": abs(lots),
            "fee_units": 0,
            "liquidity": "taker",
        }
        self.tell(OrderFilled, **(shape | facts))

    def venue_says(
        self,
        *,
        positions: dict[str, int] | None = None,
        cash: int | None = None,
        orders: Iterable[str] | None = None,
        asked_ts_ns: int = 0,
        after_s: float = 0,
    ) -> list[Effect]:
        """The answer to a confirmation; agrees with the desk where not told otherwise."""
        own = {symbol: holding.position.size_lots for symbol, holding in self.state.holdings.items()}
        return self.tell(
            Reconcile,
            after_s,
            positions=own | (positions or {}),
            open_client_ids=tuple(self.state.working if orders is None else orders),
            cash_units=self.state.ledger.cash if cash is None else cash,
            asked_ts_ns=asked_ts_ns,
        )

    def intents(self) -> list[OrderIntent]:
        """All orders planned so far."""
        return self.recorded(OrderIntent)


def market(side: Side = Side.BUY, lots: int = 10, **facts: Any) -> Place:
    """A market order."""
    return Place(**({"instrument": SYMBOL, "side": side, "size_lots": lots, "type": OrderType.MARKET} | facts))


def limit(side: Side = Side.BUY, lots: int = 10, price: int = PRICE, **facts: Any) -> Place:
    """A limit order."""
    return Place(**({"instrument": SYMBOL, "side": side, "size_lots": lots, "price_ticks": price} | facts))


def way_out(side: Side = Side.SELL, lots: int = 10, **facts: Any) -> Place:
    """A reduce-only market order."""
    return market(side, lots, reduce_only=True, purpose=Purpose.EXIT, **facts)


def cancel_of(order: Order) -> Cancel:
    """The wish to cancel."""
    return Cancel(client_id=order.client_id)
