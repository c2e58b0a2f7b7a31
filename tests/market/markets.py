"""Markets for tests: small ones from the settings, and one whose agents do what their models are made to say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agora import populate
from agora.config import Config, load_config
from agora.domain.decisions import Ask, Message, Role
from agora.domain.events import Event, RunStarted
from agora.domain.instruments import Instrument
from agora.domain.market_events import LlmAnswered, Tick
from agora.domain.numbers import NS_PER_S, money_units
from agora.domain.orders import Side
from agora.exchange.market_engine import MarketEngine
from agora.exchange.requests import AgentView, OrderRequest
from agora.exchange.rules import Listing, MarketRules
from agora.market.market import Market, MarketPlan, Seat

SEED = 7
START_NS = populate.START_NS
# Two assets, a crowd of a hundred and six personas: a tick takes less than a millisecond, and people trade.
FLAGS: dict[str, Any] = {
    "run.seed": SEED,
    "market.assets": ["ARBO:200", "BRIO:150"],
    "market.agents": ["market_maker=2", "momentum=1", "value=1", "fomo=1", "dca=1"],
    "market.population": 100,
    "market.tick": "max",
    "market.order_capacity": 1_024,
}
_ORDER = re.compile(r"(buy|sell) (\d+)@(\d+)")


def settings(**changes: Any) -> Config:
    """The settings of a small market; `market__ticks=5` changes `market.ticks`."""
    return load_config({}, FLAGS | {name.replace("__", "."): value for name, value in changes.items()}, [])


def begun(config: Config) -> Market:
    """A market after its first event."""
    market = populate.build_market(config)
    market.step(populate.started(config, run_id="by-hand"))
    return market


def tick(market: Market) -> list[Event | Ask]:
    """The next tick, and what came of it."""
    number = market.state.tick + 1
    return market.step(Tick(ts_ns=market.state.start_ns + number * market.plan.tick_ns, number=number))


def run_on(market: Market, ticks: int) -> Market:
    """That many ticks later."""
    for _ in range(ticks):
        tick(market)
    return market


@dataclass(frozen=True)
class Read:
    """What a scripted agent made of its model's answer."""

    outcome: str
    requests: Sequence[OrderRequest]
    note: str = ""


@dataclass
class Scripted:
    """An agent with a model (port `AskingAgent`): does the orders of a text, `buy 3@101`; its twin buys one lot.

    A text may begin with the outcome that reading it shall have, as `refused: ...`.
    """

    name: str
    fallbacks: int = 0
    seen: list[str] = field(default_factory=list)

    def ask(self, view: AgentView) -> Ask:
        """A question that names its agent and tick."""
        return Ask(
            agent=self.name, messages=(Message(Role.USER, f"{self.name} {view.tick}"),), model="m", deadline_ms=2_000
        )

    def decide_from(self, view: AgentView, text: str, source: str) -> Read:
        """The orders of the text, in its order."""
        del view
        self.seen.append(f"{source}: {text}")
        outcome, _, _ = text.partition(":")
        return Read(outcome if ":" in text else "ok", tuple(orders(text)), note=text)

    def fallback(self, view: AgentView) -> Sequence[OrderRequest]:
        """One lot at the touch or below."""
        self.fallbacks += 1
        return (order(Side.BUY, 1, max(1, view.touch("ARBO").bid_ticks)),)

    def snapshot(self) -> dict[str, Any]:
        """What it has seen."""
        return {"fallbacks": self.fallbacks, "seen": list(self.seen)}

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        self.fallbacks, self.seen = memory["fallbacks"], list(memory["seen"])


def order(side: Side, lots: int, price_ticks: int, symbol: str = "ARBO") -> OrderRequest:
    """A limit order."""
    return OrderRequest(symbol=symbol, side=side, size_lots=lots, price_ticks=price_ticks)


def orders(text: str) -> Iterable[OrderRequest]:
    """The orders that a text names."""
    for word, lots, price in _ORDER.findall(text):
        yield order(Side.BUY if word == "buy" else Side.SELL, int(lots), int(price))


class Shifts:
    """A crowd that does nothing and remembers how its beliefs were moved (port `Crowd`)."""

    def __init__(self) -> None:
        self.moves: list[tuple[str, float]] = []

    def step(self, now_ns: int) -> None:
        """Nobody acts."""

    def shift_fundamental(self, symbol: str, fraction: float) -> None:
        """Remember it."""
        self.moves.append((symbol, fraction))

    def digest(self) -> str:
        """Its moves."""
        return repr(self.moves)

    def snapshot(self) -> dict[str, Any]:
        """Its moves."""
        return {"moves": self.moves}

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`."""
        self.moves = [tuple(move) for move in memory["moves"]]


def listing(symbol: str = "ARBO", *, price_ticks: int = 100, taker_fee_ppm: int = 0, shorts: bool = False) -> Listing:
    """An asset in whole units and cents, listed at 1.00 unless told."""
    instrument = Instrument(
        symbol=symbol,
        base=symbol,
        quote="USD",
        tick_size="0.01",
        lot_size="1",
        maker_fee_ppm=0,
        taker_fee_ppm=taker_fee_ppm,
    )
    return Listing(instrument=instrument, listing_price_ticks=price_ticks, allows_shorts=shorts)


def exchange(*listings: Listing) -> MarketEngine:
    """An exchange of small buffers."""
    return MarketEngine(MarketRules(assets=listings or (listing(),), order_capacity=256, account_capacity=32))


def asked_market(agents: int = 4, *, seed: int = SEED, crowd: Shifts | None = None, **plan: int) -> Market:
    """Scripted agents with 1,000.00 and 500 units each, after the first event."""
    engine = exchange()
    names = [f"agent-{number}" for number in range(1, agents + 1)]
    accounts = [engine.open_account(name, cash={"USD": money_units("1000")}, units={"ARBO": 500}) for name in names]
    seats = [
        Seat(name=name, persona="value", account=account, model="m", asking=Scripted(name))
        for name, account in zip(names, accounts, strict=True)
    ]
    terms = {"seed": seed, "tick_ns": NS_PER_S, "ticks_max": 0, "news_impact_ppm": 10_000} | plan
    market = Market(engine, seats, crowd=crowd, plan=MarketPlan(**terms))
    market.step(started())
    return market


def started() -> RunStarted:
    """The first event of a market that was built by hand."""
    return RunStarted(
        ts_ns=START_NS,
        run_id="by-hand",
        version="0",
        config_hash="",
        seed=SEED,
        venue="market",
        mode="market",
        duration_ns=0,
        interval_s=1,
        instruments=(),
        equity_units=0,
    )


def answer(market: Market, agent: str, text: str, **changes: Any) -> LlmAnswered:
    """What an agent's model says for the coming tick."""
    facts = {"ts_ns": market.state.now_ns, "tick": market.state.tick + 1, "agent": agent, "source": "live"}
    return LlmAnswered(**(facts | {"text": text} | changes))
