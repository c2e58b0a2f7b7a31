"""The only place where concrete classes meet: builds desks, venues, journals and observers from the settings."""

from __future__ import annotations

import itertools
import platform
import secrets
import subprocess
from collections.abc import Iterator, Mapping
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
from agora.engine.desk import Desk, Rules
from agora.engine.ports import Clock, Trader
from agora.engine.state import State
from agora.risk.breakers import BreakerSettings, build_breakers
from agora.risk.limits import LimitSettings, build_limits
from agora.risk.watchdogs import WatchdogSettings, build_watchdogs
from agora.session.clock import ManualClock, PacedClock
from agora.venues.local import LocalFeed, LocalMarket, live_events
from agora.venues.paper import Feed, PaperMachine, PaperVenue
from agora.venues.paper_settings import PaperSettings
from agora.venues.recorded import RecordedFeed, RecordedSource, open_recording

# A market without end needs one: ten minutes, the length of `make run`.
DURATION_MINUTES_DEFAULT = 10.0
TICK_INTERVAL_S_DEFAULT = 5


class Parts(msgspec.Struct, kw_only=True):
    """Everything that one run is made of, besides its journal and its process."""

    config: Config
    desk: Desk
    machine: PaperMachine
    instruments: dict[str, Instrument]
    source: RecordedSource | None
    duration_ns: int
    start_ns: int | None
    is_paced: bool
    interval_s: int


def build_parts(config: Config, run_tag: str) -> Parts:
    """Desk and paper machine of a run; opens the recording, if there is one, to learn its instruments."""
    run: RunSettings = config["run"]
    source = open_source(config)
    if source is None:
        instruments = {symbol: _instrument(symbol) for symbol in run.symbol}
    else:
        wanted = set(run.symbol)
        instruments = {item.symbol: item for item in source.instruments if item.symbol in wanted}
        instruments = instruments or {source.instruments[0].symbol: source.instruments[0]}
    interval_s = _interval_s(run, source)
    duration_minutes = run.duration_minutes or (0.0 if source else DURATION_MINUTES_DEFAULT)
    return Parts(
        config=config,
        desk=build_desk(config, instruments, run_tag=run_tag, interval_s=interval_s),
        machine=build_machine(config, instruments),
        instruments=instruments,
        source=source,
        duration_ns=int(duration_minutes * 60 * NS_PER_S),
        start_ns=None if source is None else source.first_ts_ns,
        is_paced=source is None or run.speed != "max",
        interval_s=interval_s,
    )


def open_source(config: Config) -> RecordedSource | None:
    """The recording of a run on recorded data."""
    run: RunSettings = config["run"]
    if run.venue != "recorded":
        return None
    paths = [Path(name).expanduser().resolve() for name in run.data]
    for path in paths:
        if not path.exists():
            raise UsageFault(f"no such data file: {path}")
    asked = config.sources["run.symbol"] != "default"
    return open_recording(paths, run.symbol[0] if asked else None)


def _instrument(symbol: str) -> Instrument:
    try:
        return known_instrument(symbol)
    except KeyError as fault:
        raise UsageFault(str(fault.args[0])) from None


def _interval_s(run: RunSettings, source: RecordedSource | None) -> int:
    recorded_s = source.interval_s if source else 0
    if run.interval == "auto":
        return recorded_s or TICK_INTERVAL_S_DEFAULT
    wanted_s = INTERVALS_S[run.interval]
    if recorded_s and (wanted_s < recorded_s or wanted_s % recorded_s):
        raise UsageFault(
            f"--interval {run.interval}: the recording has candles of {recorded_s} s, which do not make it"
        )
    return wanted_s


def build_desk(config: Config, instruments: dict[str, Instrument], *, run_tag: str, interval_s: int) -> Desk:
    """An empty desk with the traders and limits of the settings."""
    limits, breakers, watchdogs = (config.part("risk", part) for part in RISK_PARTS)
    assert isinstance(limits, LimitSettings)
    assert isinstance(breakers, BreakerSettings)
    assert isinstance(watchdogs, WatchdogSettings)
    rules = Rules(
        run_tag=run_tag,
        instruments=instruments,
        interval_s=interval_s,
        traders=tuple(build_trader(config, name) for name in config["run"].trader),
        checks=build_limits(limits),
        breakers=build_breakers(breakers),
        watchdogs=build_watchdogs(watchdogs),
    )
    return Desk(State(), rules)


def build_trader(config: Config, name: str) -> Trader:
    """The trader of that name, made from its sections of the settings."""
    kind = TRADERS[name]
    made: Trader = getattr(import_module(kind.module), kind.class_name)(*(config[part] for part in kind.sections))
    return made


def build_machine(config: Config, instruments: dict[str, Instrument]) -> PaperMachine:
    """The paper exchange of the settings."""
    run: RunSettings = config["run"]
    return PaperMachine(instruments, config["paper"], seed=run.seed, equity_units=money_units(run.equity))


def build_clock(parts: Parts, *, now_ns: int | None = None) -> Clock:
    """The clock of a run, at its start or (`now_ns`) where a resumed run stands."""
    if parts.source is None:
        return PacedClock()
    start_ns = parts.start_ns if now_ns is None else now_ns
    assert start_ns is not None
    speed = parts.config["run"].speed
    return ManualClock(start_ns) if speed == "max" else PacedClock(start_ns, float(speed))


def build_venue(parts: Parts, clock: Clock, *, after: int = 0) -> PaperVenue:
    """The venue of a run; `after` is the number of market events that a resumed run has had."""
    return PaperVenue(build_feed(parts, clock, after=after), parts.machine, clock)


def build_feed(parts: Parts, clock: Clock, *, after: int = 0) -> Feed:
    """The source of market data."""
    run: RunSettings = parts.config["run"]
    if parts.source is None:
        return LocalFeed(
            _local_market(parts), clock, after=after, history_after=parts.desk.state.counters.history_events
        )
    name = ", ".join(Path(path).name for path in run.data)
    connected = FeedConnected(ts_ns=clock.now_ns(), source=name, period_s=parts.source.interval_s)
    events = _recorded_events(parts, parts.source, after=after)
    return RecordedFeed(itertools.chain([connected], events), clock, is_paced=parts.is_paced)


def _local_market(parts: Parts) -> LocalMarket:
    instrument = next(iter(parts.instruments.values()))
    seed = parts.config["run"].seed
    return LocalMarket(settings=parts.config["local"], instrument=instrument, seed=seed, interval_s=parts.interval_s)


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
    """The market event that the source hands over after so many, with a time of its own; None at its end."""
    if parts.source is None:
        return next(live_events(_local_market(parts), after=after))[1]
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
        mode=run.mode,
        duration_ns=parts.duration_ns,
        interval_s=parts.interval_s,
        instruments=tuple(msgspec.to_builtins(item) for item in parts.instruments.values()),
        equity_units=money_units(run.equity),
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
    """What the paper fills take for granted, in sentences for the report."""
    paper: PaperSettings = parts.config["paper"]
    latency = {
        "uniform": f"uniform {paper.latency_ms_min}–{paper.latency_ms_max} ms",
        "fixed": f"fixed {paper.latency_ms_min} ms",
        "lognormal": f"log-normal, median {paper.latency_ms_min} ms, sigma {paper.latency_sigma_ppm / 1e6:g}",
    }[paper.latency_model]
    fees = [
        f"{item.symbol}: maker {item.maker_fee_ppm / 1e4:g} %, taker {item.taker_fee_ppm / 1e4:g} %, "
        f"maintenance margin {item.maintenance_ppm / 1e4:g} %"
        for item in parts.instruments.values()
    ]
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
        *fees,
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
