"""The only place where concrete classes meet: builds desks, venues, journals and observers from the settings."""

from __future__ import annotations

import itertools
import platform
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from agora import __version__
from agora.config import (
    DEFAULT_PROFILE,
    INTERVALS_S,
    RISK_PARTS,
    SECTIONS,
    TRADERS,
    Config,
    Layer,
    RunSettings,
    load,
    load_config,
)
from agora.domain.errors import StartFault, UsageFault
from agora.domain.events import MARKET_TYPES, Event, FeedConnected, RunStarted
from agora.domain.instruments import Instrument, known_instrument
from agora.domain.numbers import NS_PER_S, money_units
from agora.engine.account_settings import AccountSettings
from agora.engine.desk import Desk, Rules
from agora.engine.ports import Clock, Trader, Venue
from agora.engine.state import State
from agora.risk.breakers import BreakerSettings, build_breakers
from agora.risk.limits import LimitSettings, build_limits
from agora.risk.watchdogs import WatchdogSettings, build_watchdogs
from agora.session.access import Access, Seen
from agora.session.clock import ManualClock, PacedClock
from agora.venues.local import LocalFeed, LocalMarket, live_events, local_markets
from agora.venues.paper import Feed, PaperMachine, PaperVenue
from agora.venues.paper_settings import PaperSettings
from agora.venues.recorded import RecordedFeed, RecordedSource, open_recording
from agora.venues.remote import AbsentVenue, RemoteMachine

# A market without end needs one: ten minutes, the length of `make run`.
DURATION_MINUTES_DEFAULT = 10.0
TICK_INTERVAL_S_DEFAULT = 5


class Parts(msgspec.Struct, kw_only=True):
    """Everything that one run is made of, besides its journal and its process."""

    config: Config
    desk: Desk
    machine: PaperMachine | RemoteMachine
    instruments: dict[str, Instrument]
    equity_units: int
    source: RecordedSource | None
    duration_ns: int
    start_ns: int | None
    is_paced: bool
    interval_s: int
    access: Access | None = None
    # Of a venue whose time is not that of the wall.
    clock: Clock | None = None


def build_parts(config: Config, run_tag: str, seen: Seen | None = None) -> Parts:
    """Desk and paper machine of a run; opens the recording, if there is one, to learn its instruments."""
    run: RunSettings = config["run"]
    source = open_source(config)
    if seen is not None:
        instruments = seen.instruments
    elif source is None:
        instruments = {symbol: _instrument(symbol) for symbol in run.symbol}
    else:
        wanted = set(run.symbol)
        instruments = {item.symbol: item for item in source.instruments if item.symbol in wanted}
        instruments = instruments or {source.instruments[0].symbol: source.instruments[0]}
    _check_intervals(run, source)
    _check_quotes(instruments)
    interval_s = _interval_s(run, source)
    duration_minutes = run.duration_minutes or (0.0 if source else DURATION_MINUTES_DEFAULT)
    return Parts(
        config=config,
        desk=build_desk(config, instruments, run_tag=run_tag, interval_s=interval_s),
        machine=build_machine(config, instruments),
        instruments=instruments,
        equity_units=_equity_units(run, seen),
        source=source,
        duration_ns=int(duration_minutes * 60 * NS_PER_S),
        start_ns=None if source is None else source.first_ts_ns,
        is_paced=source is None or run.speed != "max",
        interval_s=interval_s,
        access=None if seen is None else seen.access,
        clock=None if seen is None else seen.clock,
    )


def _equity_units(run: RunSettings, seen: Seen | None) -> int:
    """Starting money: what the account holds, or on paper what was asked for."""
    if seen is None or seen.equity_units is None:
        return money_units(run.equity)
    return seen.equity_units


def open_source(config: Config) -> RecordedSource | None:
    """The recording of a run on recorded data."""
    run: RunSettings = config["run"]
    if run.venue != "recorded":
        return None
    asked = config.sources["run.symbol"] != "default"
    return _recording(run, run.symbol if asked else ())


def _recording(run: RunSettings, symbols: Sequence[str]) -> RecordedSource:
    """The data files of a run as one source, of these instruments (none: of all that there are)."""
    paths = [Path(name).expanduser().resolve() for name in run.data]
    for path in paths:
        if not path.exists():
            raise UsageFault(f"no such data file: {path}")
    return open_recording(paths, *symbols)


def _instrument(symbol: str) -> Instrument:
    try:
        return known_instrument(symbol)
    except KeyError as fault:
        raise UsageFault(str(fault.args[0])) from None


def _interval_s(run: RunSettings, source: RecordedSource | None) -> int:
    recorded_s = source.interval_s if source else 0
    if run.interval == "auto":
        return recorded_s or TICK_INTERVAL_S_DEFAULT
    return INTERVALS_S[run.interval]


def _check_intervals(run: RunSettings, source: RecordedSource | None) -> None:
    """Raise `UsageFault` when the candles of a recording do not make the bars that are wanted."""
    recorded_s = source.interval_s if source else 0
    wanted = {f"--interval {run.interval}": INTERVALS_S.get(run.interval, recorded_s)}
    wanted |= {f"--trader {entry.label}": INTERVALS_S.get(entry.interval, recorded_s) for entry in run.roster}
    for what, wanted_s in wanted.items():
        if recorded_s and (wanted_s < recorded_s or wanted_s % recorded_s):
            raise UsageFault(f"{what}: the recording has candles of {recorded_s} s, which do not make it")


def _check_quotes(instruments: dict[str, Instrument]) -> None:
    """Raise `UsageFault` when the instruments are not all paid for in one currency: a run has one account."""
    quotes = {symbol: item.quote for symbol, item in instruments.items()}
    if len(set(quotes.values())) > 1:
        raise UsageFault(f"a run keeps its account in one currency, and these are quoted in several: {quotes}")


def build_desk(config: Config, instruments: dict[str, Instrument], *, run_tag: str, interval_s: int) -> Desk:
    """An empty desk with the traders and limits of the settings."""
    limits, breakers, watchdogs, account = (config.part("risk", part) for part in RISK_PARTS)
    assert isinstance(limits, LimitSettings)
    assert isinstance(breakers, BreakerSettings)
    assert isinstance(watchdogs, WatchdogSettings)
    assert isinstance(account, AccountSettings)
    roster = config["run"].roster
    rules = Rules(
        run_tag=run_tag,
        instruments=instruments,
        interval_s=interval_s,
        traders=tuple(build_trader(config, entry.kind, label=entry.label) for entry in roster),
        trader_intervals_s=tuple(INTERVALS_S.get(entry.interval, interval_s) for entry in roster),
        weights_ppm=tuple(entry.weight_ppm for entry in roster),
        checks=build_limits(limits),
        breakers=build_breakers(breakers),
        watchdogs=build_watchdogs(watchdogs),
        account=account,
    )
    return Desk(State(), rules)


def build_trader(config: Config, name: str, *, label: str = "") -> Trader:
    """A trader of that kind, made from its sections of the settings; records call it by its label."""
    kind = TRADERS[name]
    made: Trader = getattr(import_module(kind.module), kind.class_name)(*(config[part] for part in kind.sections))
    made.name = label or name
    return made


def build_machine(config: Config, instruments: dict[str, Instrument]) -> PaperMachine | RemoteMachine:
    """The paper exchange of the settings, or the knowledge that there is a venue elsewhere."""
    run: RunSettings = config["run"]
    if run.is_live:
        return RemoteMachine()
    return PaperMachine(instruments, config["paper"], seed=run.seed, equity_units=money_units(run.equity))


async def look(config: Config, access: Access, *, network: Any = None, clock: Clock | None = None) -> Seen:
    """Ask a venue for what a run needs to know of it, and a live run's account whether it is fit to be traded on.

    Raises `Transient` when the venue cannot be reached, `StartFault` when it will not do.
    """
    bitunix = _bitunix()
    seen: Seen = await bitunix.look(bitunix.road(config, access, network=network, clock=clock))
    return seen


async def check_venue(config: Config, access: Access) -> list[tuple[str, bool, str]]:
    """What a preflight finds at a venue, for `agora doctor`: what, whether it is good, what was found."""
    bitunix = _bitunix()
    found: list[tuple[str, bool, str]] = await bitunix.check_venue(bitunix.road(config, access))
    return found


async def venue_clock(config: Config, access: Access) -> Clock:
    """The time of a venue that is faster than the wall; raises `Transient` when it cannot be reached."""
    bitunix = _bitunix()
    clock: Clock = await bitunix.venue_clock(bitunix.road(config, access))
    return clock


def _bitunix() -> Any:
    """Everything that goes to Bitunix, with the library below it: 20 MB that other runs do not need."""
    return import_module("agora.bitunix_assembly")


def build_clock(parts: Parts, *, now_ns: int | None = None) -> Clock:
    """The clock of a run, at its start or (`now_ns`) where a resumed run stands."""
    run: RunSettings = parts.config["run"]
    if parts.clock is not None:
        return parts.clock
    if parts.source is None:
        clock = PacedClock(factor=run.clock_factor)
        # A run that was faster than the clock on the wall goes on where it was, not in its past.
        return clock if now_ns is None or now_ns <= clock.now_ns() else PacedClock(now_ns, run.clock_factor)
    start_ns = parts.start_ns if now_ns is None else now_ns
    assert start_ns is not None
    return ManualClock(start_ns) if run.speed == "max" else PacedClock(start_ns, run.clock_factor)


def build_venue(parts: Parts, clock: Clock, *, after: int = 0, network: Any = None) -> Venue:
    """The venue of a run; `after` is the number of market events that a resumed run has had.

    A simulation brings its own network. Without a way to its venue a run is only looked at.
    """
    if parts.config["run"].is_bitunix:
        return _venue_elsewhere(parts, clock, after=after, network=network)
    assert isinstance(parts.machine, PaperMachine)
    return PaperVenue(build_feed(parts, clock, after=after), parts.machine, clock)


def _venue_elsewhere(parts: Parts, clock: Clock, *, after: int, network: Any) -> Venue:
    """The market data of a venue with fills of our own, or the account there; nothing where nobody goes there."""
    if parts.access is None:
        return AbsentVenue()
    bitunix, state = _bitunix(), parts.desk.state
    road = bitunix.road(parts.config, parts.access, clock=clock, network=network)
    wants = bitunix.FeedWants(
        instruments=parts.instruments,
        intervals_s=parts.desk.intervals_s,
        seen_ns=state.now_ns if state.started_ts_ns else 0,
    )
    if isinstance(parts.machine, PaperMachine):
        recording = partial(_recording, parts.config["run"], parts.config["run"].symbol)
        return PaperVenue(bitunix.provided_feed(road, wants, recording, after=after), parts.machine, clock)
    made: Venue = bitunix.live_venue(road, wants, state)
    return made


def build_feed(parts: Parts, clock: Clock, *, after: int = 0) -> Feed:
    """The market data of a run without a venue elsewhere."""
    run: RunSettings = parts.config["run"]
    if parts.source is None:
        return LocalFeed(
            _local_markets(parts), clock, after=after, history_after=parts.desk.state.counters.history_events
        )
    name = ", ".join(Path(path).name for path in run.data)
    connected = FeedConnected(ts_ns=clock.now_ns(), source=name, period_s=parts.source.interval_s)
    events = _recorded_events(parts, parts.source, after=after)
    return RecordedFeed(itertools.chain([connected], events), clock, is_paced=parts.is_paced)


def _local_markets(parts: Parts) -> list[LocalMarket]:
    return local_markets(
        tuple(parts.instruments.values()),
        parts.config["local"],
        seed=parts.config["run"].seed,
        interval_s=parts.interval_s,
    )


def _recorded_events(parts: Parts, source: RecordedSource, *, after: int) -> Iterator[Event]:
    """What a recording holds for this run after so many market events of its own (others are not counted)."""
    for event in source.events():
        if getattr(event, "instrument", None) not in (None, *parts.instruments):
            continue
        if after == 0:
            yield event
        elif type(event) in MARKET_TYPES:
            after -= 1


def next_market_event(parts: Parts, after: int) -> Event | None:
    """The market event that the source hands over after so many, with a time of its own.

    None at its end, and where the source is a venue, which does not say anything twice.
    """
    if parts.config["run"].is_bitunix:
        return None
    if parts.source is None:
        return next(live_events(_local_markets(parts), after=after))[1]
    events = _recorded_events(parts, parts.source, after=after)
    return next((event for event in events if type(event) in MARKET_TYPES), None)


def started(parts: Parts, *, run_id: str, now_ns: int, root: Path | None = None) -> RunStarted:
    """The first record of a run."""
    run: RunSettings = parts.config["run"]
    return RunStarted(
        ts_ns=now_ns,
        run_id=run_id,
        version=__version__,
        config_hash=parts.config.config_hash(),
        seed=run.seed,
        venue=run.venue,
        mode=run.resolved_mode,
        duration_ns=parts.duration_ns,
        interval_s=parts.interval_s,
        instruments=tuple(msgspec.to_builtins(item) for item in parts.instruments.values()),
        equity_units=parts.equity_units,
        git_commit=_git_commit(root or Path(__file__).resolve().parent),
        python=platform.python_version(),
    )


def rebuild(config: Config, record: RunStarted) -> Parts:
    """The desk and machine that a journal begins with: instruments are those it recorded, not those of today."""
    check_config(config, record)
    instruments = {item.symbol: item for item in (msgspec.convert(each, Instrument) for each in record.instruments)}
    run: RunSettings = config["run"]
    run_tag = run_tag_of(record.run_id)
    return Parts(
        config=config,
        desk=build_desk(config, instruments, run_tag=run_tag, interval_s=record.interval_s),
        machine=build_machine(config, instruments),
        instruments=instruments,
        equity_units=record.equity_units,
        source=None,
        duration_ns=record.duration_ns,
        start_ns=record.ts_ns,
        is_paced=run.venue != "recorded" or run.speed != "max",
        interval_s=record.interval_s,
    )


def check_config(config: Config, record: RunStarted) -> None:
    """Raise `StartFault` when the settings are not those that the journal begins with."""
    if config.config_hash() != record.config_hash:
        raise StartFault("config.json is not the one this run was started with (its hash differs)")


def new_run_tag() -> str:
    """The random part of a run's name: what keeps its client ids apart from those of every other run."""
    return secrets.token_hex(4)


def run_tag_of(run_id: str) -> str:
    """The part of a run id that its orders carry: short, unique among the runs of an account."""
    return run_id.rpartition("-")[2]


def config_of(stored: Mapping[str, Any]) -> Config:
    """The settings of a run from its `config.json`; raises `ConfigFaults` when they do not fit this version."""
    values = {f"{section}.{key}": value for section, part in stored["values"].items() for key, value in part.items()}
    return load(SECTIONS, [Layer("config.json", values)], profile=DEFAULT_PROFILE)


def assumptions(parts: Parts) -> list[str]:
    """What the fills take for granted, in sentences for the report."""
    fees = [
        f"{item.symbol}: maker {item.maker_fee_ppm / 1e4:g} %, taker {item.taker_fee_ppm / 1e4:g} %, "
        f"maintenance margin {item.maintenance_ppm / 1e4:g} %"
        for item in parts.instruments.values()
    ]
    if parts.config["run"].is_live:
        told = "orders, fills, fees, funding and liquidation are those of the venue's account"
        return [told, *(f"before an order is sent it is sized with {line}" for line in fees)]
    return [*_paper_assumptions(parts.config["paper"]), *fees]


def _paper_assumptions(paper: PaperSettings) -> list[str]:
    latency = {
        "uniform": f"uniform {paper.latency_ms_min}–{paper.latency_ms_max} ms",
        "fixed": f"fixed {paper.latency_ms_min} ms",
        "lognormal": f"log-normal, median {paper.latency_ms_min} ms, sigma {paper.latency_sigma_ppm / 1e6:g}",
    }[paper.latency_model]
    return [
        f"order latency: {latency}, seeded per order, shown with each acknowledgement",
        "market orders take the opposite touch and walk the depth they see; without depth each further level is "
        "guessed one spread worse with the size of the touch",
        f"without quotes, prices are the last one ± {paper.half_spread_bps:g} bps",
        "limit orders wait behind the displayed size; trades move the queue; a touch is not a fill",
        f"cancels ahead of us: {paper.cancel_ahead_ppm / 1e4:g} % of the pro-rata share",
        f"on candles and bare trades we are at most {paper.participation_ppm / 1e4:g} % of the traded volume",
        "one bar that touches stop and target hits the stop; gaps fill stops at the open",
        "our orders do not move the market; what we took is gone until the feed reports that level anew",
    ]


def _git_commit(folder: Path) -> str:
    """The commit of the checkout that runs, if it is one; empty elsewhere."""
    try:
        answer = subprocess.run(  # noqa: S603  fixed words, no shell
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607  git of the user's path
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


__all__ = [
    "Parts",
    "assumptions",
    "build_clock",
    "build_desk",
    "build_feed",
    "build_machine",
    "build_parts",
    "build_trader",
    "build_venue",
    "config_of",
    "load_config",
    "new_run_tag",
    "open_source",
    "rebuild",
    "run_tag_of",
    "started",
]
