"""Builds an agents' market from the settings: the exchange, its crowd, the agents and the accounts they begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from agora import __version__
from agora.config import Config, load_config
from agora.domain.dice import dice_of
from agora.domain.errors import UsageFault
from agora.domain.events import RunStarted
from agora.domain.market_events import NewsArrived, Shock, Tick
from agora.domain.numbers import NS_PER_S, PPM, money_units
from agora.exchange import warming
from agora.exchange.market_engine import MarketEngine
from agora.exchange.rules import Listing, MarketRules
from agora.market.crowd import Crowd, per_asset
from agora.market.market import Market, MarketPlan, Seat
from agora.market.settings import MarketSettings, agents_of, listings_of
from agora.session.llm_settings import LlmSettings
from agora.traders.llm_trader import LlmTrader
from agora.traders.personas import PERSONAS, PersonaStrategy, RuleTrader

# A market's clock begins here, whenever it is run: Thursday 2026-01-01 00:00 UTC. So equal seeds give equal runs.
START_NS = 1_767_225_600 * NS_PER_S
NEWS_BYTES_MAX = 4_000_000  # a schedule of ten thousand items; more is not news
NEWS_CHARACTERS_MAX = 500  # of one item: what a prompt shows of it


class ScheduledNews(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="news", tag_field="what"
):
    """A line of the news file: before that tick, this is said."""

    tick: Annotated[int, Meta(ge=1)]
    text: Annotated[str, Meta(min_length=1, max_length=NEWS_CHARACTERS_MAX)]
    tone: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    symbols: tuple[str, ...] = ()
    source: Annotated[str, Meta(max_length=100)] = "schedule"


class ScheduledShock(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="shock", tag_field="what"
):
    """A line of the news file: before that tick, the value of an asset jumps by a fraction, and why."""

    tick: Annotated[int, Meta(ge=1)]
    symbol: str
    fraction: Annotated[float, Meta(ge=-0.9, le=9)]
    cause: Annotated[str, Meta(min_length=1, max_length=NEWS_CHARACTERS_MAX)]


Schedule = dict[int, list[NewsArrived | Shock]]


def build_market(config: Config) -> Market:
    """A market at its first moment; raises `UsageFault` for personas that do not exist."""
    settings: MarketSettings = config["market"]
    seed: int = config["run"].seed
    wanted = _personas(settings)
    listings = listings_of(settings)
    seats_count = sum(count for _, count in wanted)
    mix = per_asset(config["population"], settings.population, assets=len(listings))
    crowd_count = mix.agents * len(listings) if settings.population else 0
    rules = MarketRules(
        assets=listings,
        order_capacity=settings.order_capacity,
        account_capacity=max(1, seats_count + crowd_count),
    )
    engine = MarketEngine(rules)
    seats = [
        _seat(engine, config, persona=persona, number=number)
        for persona, count in wanted
        for number in range(1, count + 1)
    ]
    crowd = Crowd(engine, config["population"], count=settings.population, seed=seed) if settings.population else None
    plan = MarketPlan(
        seed=seed,
        tick_ns=int(tick_seconds(settings) * NS_PER_S),
        ticks_max=ticks_of(config),
        news_impact_ppm=settings.news_impact_ppm,
    )
    return Market(engine, seats, crowd=crowd, plan=plan)


def check(config: Config) -> None:
    """Refuse, before anything is made, what only building a market would find; raises `UsageFault`."""
    _personas(config["market"])


def _personas(settings: MarketSettings) -> list[tuple[PersonaStrategy, int]]:
    known = {persona.value: persona for persona in PersonaStrategy}
    wanted = agents_of(settings)
    unknown = [name for name, _ in wanted if name not in known]
    if unknown:
        raise UsageFault(f"agents: no persona {', '.join(unknown)}; there are {', '.join(known)}")
    return [(known[name], count) for name, count in wanted]


def _seat(engine: MarketEngine, config: Config, *, persona: PersonaStrategy, number: int) -> Seat:
    """An agent with its account: cash and an inventory of equal worth in every asset, as its persona has it."""
    settings: MarketSettings = config["market"]
    llm: LlmSettings = config["llm"]
    kind = PERSONAS[persona]
    name = f"{persona.value}-{number}"
    unit = money_units(settings.agent_cash)
    listings = engine.rules.assets
    worth = unit * kind.units_percent // 100 // len(listings)
    lots = {listing.instrument.symbol: _lots_worth(worth, listing) for listing in listings}
    account = engine.open_account(name, cash={settings.quote: unit * kind.cash_percent // 100}, units=lots)
    dice = dice_of(config["run"].seed, "agent", name)
    if not llm.model:
        return Seat(name=name, persona=persona.value, account=account, rules=RuleTrader(name, persona, dice))
    trader = LlmTrader(name, persona, dice, settings=llm)
    return Seat(name=name, persona=persona.value, account=account, model=llm.model, asking=trader)


def _lots_worth(units: int, listing: Listing) -> int:
    return units // listing.instrument.notional_units(listing.listing_price_ticks, 1)


def tick_seconds(settings: MarketSettings) -> float:
    """Seconds of the market's clock from tick to tick; at full speed a tick is one second of it."""
    return 1.0 if settings.tick == "max" else float(settings.tick)


def ticks_of(config: Config) -> int:
    """Ticks until the end: as told, or what the duration holds (0: until told)."""
    settings: MarketSettings = config["market"]
    if settings.ticks:
        return settings.ticks
    return int(config["run"].duration_minutes * 60 / tick_seconds(settings))


def started(config: Config, *, run_id: str) -> RunStarted:
    """The first record of a market run."""
    settings: MarketSettings = config["market"]
    return RunStarted(
        ts_ns=START_NS,
        run_id=run_id,
        version=__version__,
        config_hash=config.config_hash(),
        seed=config["run"].seed,
        venue="market",
        mode="market",
        duration_ns=ticks_of(config) * int(tick_seconds(settings) * NS_PER_S),
        interval_s=max(1, int(tick_seconds(settings))),
        instruments=tuple(msgspec.to_builtins(listing.instrument) for listing in listings_of(settings)),
        equity_units=0,
    )


def warm_up() -> None:
    """Compile, or load from the cache, what a market needs; the crowd by stepping a small one."""
    warming.warm_up()
    config = load_config({}, {"market.assets": ["WARM:100"], "market.population": 100, "market.agents": ["dca=1"]}, [])
    market = build_market(config)
    market.step(started(config, run_id="warm-up"))
    for number in range(1, 4):
        market.step(Tick(ts_ns=market.state.start_ns + number * market.plan.tick_ns, number=number))


def symbols_of(config: Config) -> tuple[str, ...]:
    """The assets of the settings, in their order."""
    return tuple(listing.instrument.symbol for listing in listings_of(config["market"]))


def read_schedule(path: Path, symbols: tuple[str, ...]) -> Schedule:
    """News and shocks by tick from a JSON list; raises `UsageFault` naming what is wrong with it."""
    try:
        if path.stat().st_size > NEWS_BYTES_MAX:
            raise UsageFault(f"news file {path} is larger than {NEWS_BYTES_MAX} bytes")
        lines = msgspec.json.decode(path.read_bytes(), type=list[ScheduledNews | ScheduledShock])
    except OSError as fault:
        raise UsageFault(f"cannot read the news file {path}: {fault.strerror}") from None
    except msgspec.MsgspecError as fault:
        raise UsageFault(f"news file {path}: {fault}") from None
    schedule: Schedule = {}
    for line in lines:
        event = _event_of(line)
        named = event.symbols if isinstance(event, NewsArrived) else (event.symbol,)
        unknown = [symbol for symbol in named if symbol not in symbols]
        if unknown:
            raise UsageFault(f"news file {path}: no asset {', '.join(unknown)}; there are {', '.join(symbols)}")
        schedule.setdefault(line.tick, []).append(event)
    return schedule


def _event_of(line: ScheduledNews | ScheduledShock) -> NewsArrived | Shock:
    if isinstance(line, ScheduledNews):
        return NewsArrived(ts_ns=0, text=line.text, tone=line.tone, symbols=line.symbols, source=line.source)
    return Shock(ts_ns=0, symbol=line.symbol, fraction_ppm=round(line.fraction * PPM), cause=line.cause)


def assumptions(config: Config) -> list[str]:
    """What a market run takes for granted, in sentences for the report."""
    settings: MarketSettings = config["market"]
    llm: LlmSettings = config["llm"]
    lines = [
        f"{settings.population} rule agents in the background, over {len(settings.assets)} assets, from seed "
        f"{config['run'].seed}",
        f"fees: maker {settings.maker_fee_ppm / 1e4:g} %, taker {settings.taker_fee_ppm / 1e4:g} %",
        "selling short against margin is " + ("allowed" if settings.shorting else "not allowed"),
        "agents act in an order drawn anew for each tick; what they decide meets the book at once, without latency",
        f"news of full tone moves the value that the background believes in by {settings.news_impact_ppm / 1e4:g} %",
    ]
    if llm.model:
        lines.append(
            f"decisions of {llm.model} within {llm.deadline_ms} ms; where none came, the persona's rules decided"
        )
    return lines
