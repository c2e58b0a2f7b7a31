"""One market run from its first file to its report: folder, lock, journal, models, ledger, loop, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from agora import audit, launch, populate
from agora.assembly import new_run_tag
from agora.config import Config
from agora.domain.errors import Bug, DamagedJournal, StartFault, UsageFault
from agora.domain.events import RunResumed, RunStarted
from agora.journal import checkpoint
from agora.journal.disk import Disk
from agora.journal.log import Log, WriterFactory, open_log
from agora.journal.reader import read_records
from agora.journal.recovery import Recovered, recover
from agora.journal.replay import Replayed, replay
from agora.journal.writer import ThreadWriter
from agora.launch import Options, Outcome
from agora.lookback import MarketLookback, config_in, rebuilt
from agora.market.state import Phase
from agora.report.ledger import Ledger, ledger_url, open_ledger
from agora.report.ledger_rows import LedgerKeeper
from agora.report.ledger_tables import RunRow
from agora.report.market_collector import MarketCollector
from agora.report.metrics import MetricsFile
from agora.session.asking import Asker, asker_of
from agora.session.clock import PacedClock, monotonic_ns
from agora.session.completers import completer_of
from agora.session.controls import ProcessControls
from agora.session.credentials import Secret
from agora.session.folder import CONFIG_FILE, LOCK_FILE, Lock, write_private
from agora.session.llm_settings import LlmSettings
from agora.session.market_keeper import MarketKeeper
from agora.session.market_life import MarketCast, live_market, wait_for
from agora.session.market_loop import MarketLoop, Pace
from agora.session.market_terminal import MarketProgress, MarketTeller

LOGGER = logging.getLogger("agora")
SCHEDULE_FILE = "schedule.json"

# What runs beside the market for as long as it lives: the API, given by the command line.
Beside = Callable[[MarketLoop, Path], AbstractAsyncContextManager[object]]


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """What a market run is given besides its settings: secrets, and what runs beside it."""

    api_key: Secret | None = None
    base_url: Secret | None = None
    ledger_url: Secret | None = None
    # That of the process itself: the optional library reads and is told through it.
    environment: Any = None
    beside: Beside | None = None


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Where a market's files are: a simulation brings a disk and a writer of its own, and starts by the same steps."""

    folder: Path
    disk: Disk
    writer: WriterFactory = ThreadWriter


class Opened(msgspec.Struct, kw_only=True):
    """A market run whose files are open and whose market stands where the journal left it."""

    folder: Path
    disk: Disk
    run: MarketLookback
    log: Log
    first: RunStarted | RunResumed
    replayed: Replayed | None = None


def run_market(config: Config, options: Options, company: Company) -> Outcome:
    """A new market run to its end; raises `StartFault` or `UsageFault` before the first tick."""
    options.home.prepare()
    populate.check(config)
    ledger_url(_ledger_text(config, company), options.home.runs)
    asker = _asker(config, company)
    settings = config["market"]
    schedule_text = b"[]"
    if settings.news_file:
        path = Path(settings.news_file).expanduser()
        populate.read_schedule(path, populate.symbols_of(config))
        schedule_text = path.read_bytes()
    with contextlib.ExitStack() as held:
        compile_market(options)
        folder = launch.new_folder(options, "market", run_tag=new_run_tag())
        held.callback(Lock(folder / LOCK_FILE, f"run folder {folder}").release)
        write_private(folder / CONFIG_FILE, launch.config_json(config, command="market"))
        write_private(folder / SCHEDULE_FILE, schedule_text)
        options.home.point_latest(folder)
        opened = open_new(Ground(folder=folder, disk=Disk(folder)), config)
        return _conduct(opened, asker, options=options, company=company)


def resume_market(folder: Path, options: Options, company: Company) -> Outcome:
    """Continue a stopped market run in its own folder and journal; raises `StartFault` or `DamagedJournal`."""
    options.home.prepare()
    with contextlib.ExitStack() as held:
        held.callback(Lock(folder / LOCK_FILE, f"run folder {folder}").release)
        compile_market(options)
        asker = _asker(config_in(folder), company)
        options.home.point_latest(folder)
        opened = open_old(Ground(folder=folder, disk=Disk(folder)))
        return _conduct(opened, asker, options=options, company=company)


def compile_market(options: Options) -> None:
    """Compile, or load from the cache, everything hot; says so when it takes long enough to wonder."""
    with launch.compiling("population", seconds="thirty", is_quiet=options.is_quiet):
        populate.warm_up()


def open_new(ground: Ground, config: Config) -> Opened:
    """The first start of a market; its journal must not exist."""
    folder, disk = ground.folder, ground.disk
    run = MarketLookback(folder, config, market=populate.build_market(config), collector=_collector(folder))
    return Opened(
        folder=folder,
        disk=disk,
        run=run,
        log=open_log(disk, wall_ns=PacedClock().wall_ns, limits=launch.limits_of(config), writer=ground.writer),
        first=populate.started(config, run_id=folder.name),
    )


def _collector(folder: Path) -> MarketCollector:
    return MarketCollector(MetricsFile(folder / audit.METRICS_FILE))


def open_old(ground: Ground) -> Opened:
    """Recover the journal and let the market stand where it ends: from the newest checkpoint, then record by record."""
    folder, disk = ground.folder, ground.disk
    config = config_in(folder)
    newest = checkpoint.newest_valid(disk).checkpoint
    recovered = recover(disk, after=newest)
    first = next(iter(read_records(disk)), None)
    if first is None:
        raise DamagedJournal(f"{folder}: the journal does not begin with run.started; nothing can be continued")
    run = rebuilt(folder, first, metrics=folder / audit.METRICS_FILE)
    if not isinstance(run, MarketLookback):
        raise UsageFault(f"{folder.name} is not a run of `agora market`: `agora run --resume {folder.name}`")
    if newest is not None:
        run.market.restore(bytes(newest.state))
    replayed = replay(run.subject, read_records(disk, after=newest))
    if replayed.divergence is not None:
        raise DamagedJournal(f"the journal does not replay at record {replayed.divergence.seq}")
    state = run.market.state
    if state.phase is Phase.ENDED and not replayed.pending:
        raise StartFault(f"run {folder.name} has ended ({state.end_reason}); there is nothing to resume")
    return Opened(
        folder=folder,
        disk=disk,
        run=run,
        log=open_log(
            disk,
            wall_ns=PacedClock().wall_ns,
            after=recovered,
            limits=launch.limits_of(config),
            writer=ground.writer,
        ),
        first=_resumed(state.now_ns, recovered),
        replayed=replayed,
    )


def _resumed(now_ns: int, recovered: Recovered) -> RunResumed:
    return RunResumed(ts_ns=now_ns, down_ns=0, torn_bytes=recovered.torn_bytes)


def _conduct(opened: Opened, asker: Asker | None, *, options: Options, company: Company) -> Outcome:
    """Run the loop, then the report and the ledger; whatever happens, the report says it."""
    folder = opened.folder
    cast = _cast(opened, asker, options=options, company=company)
    with launch.logging_to(folder, options):
        crash = refusal = None
        try:
            asyncio.run(live_market(cast, monotonic_ns=monotonic_ns))
        except* StartFault as faults:
            refusal = faults.exceptions[0]
        except* Exception as faults:
            LOGGER.exception("a bug of ours: the run ends")
            crash = Bug(f"the run could not end in order: {faults.exceptions[0]!r}")
        if refusal is not None:
            raise refusal
        if opened.replayed is None or crash is not None:
            report = audit.conclude(opened.run, opened.log, fault=crash)
        else:
            report = _report_resumed(opened, company)
    return Outcome(folder, report["exit_code"], report)


def _report_resumed(opened: Opened, company: Company) -> dict[str, Any]:
    """The report of a run in several parts, and what the ledger lost when the process died, from the journal."""
    opened.run.collector.close()
    again = rebuild_ledger(opened.folder, company)
    report = again.report()
    again.run.write(report)
    return report


def rebuild_ledger(folder: Path, company: Company) -> audit.Again:
    """Replay a run into its ledger; rows that are there already stay as they are. Raises as a replay does."""
    config = config_in(folder)
    first = next(read_records(Disk(folder)), None)
    assert first is not None
    assert isinstance(first.event, RunStarted)
    keeper = LedgerKeeper(_ledger(config, folder, first=first.event, company=company))
    again = audit.replay_folder(folder, folder / audit.METRICS_FILE, keeper)
    assert isinstance(again.run, MarketLookback)
    market = again.run.market
    asyncio.run(wait_for(lambda: keeper.close(market)))
    return again


def _ledger(config: Config, folder: Path, *, first: RunStarted, company: Company) -> Ledger:
    row = RunRow(
        run_id=folder.name,
        started_ts_ns=first.ts_ns,
        seed=first.seed,
        config_hash=first.config_hash,
        version=first.version,
    )
    return open_ledger(_ledger_text(config, company), folder, row)


def _ledger_text(config: Config, company: Company) -> str:
    """The ledger's URL with its password; empty: a file in the run's folder."""
    return company.ledger_url.reveal() if company.ledger_url is not None else config["market"].ledger_url


def loop_of(opened: Opened, asker: Asker | None, pace: Pace) -> MarketLoop:
    """The loop that takes an opened run on, with its schedule and what the journal still lacks."""
    market = opened.run.market
    if asker is not None:
        asker.restore({"spent_units": market.state.cost_units, "cassette": {"uses": market.state.heard}})
    loop = MarketLoop(market, opened.log, asker=asker, pace=pace)
    loop.scheduled = populate.read_schedule(opened.folder / SCHEDULE_FILE, market.engine.rules.symbols)
    if opened.replayed is None:
        loop.observers.append(opened.run.collector)
    else:
        loop.record(opened.replayed.pending)
    return loop


def _cast(opened: Opened, asker: Asker | None, *, options: Options, company: Company) -> MarketCast:
    """Everyone who takes part: controls, models, ledger, checkpoints, the line on the terminal, the API."""
    config, folder, market = opened.run.config, opened.folder, opened.run.market
    loop = loop_of(opened, asker, _pace(config))
    ledger = LedgerKeeper(_ledger(config, folder, first=_first_record(opened), company=company))
    progress = MarketProgress(monotonic_ns=monotonic_ns, is_quiet=options.is_quiet, is_json=options.is_json_logs)
    loop.observers += [MarketTeller(), progress, ledger]
    loop.chores = [MarketKeeper(opened.disk, opened.log, monotonic_ns=monotonic_ns).keep_if_due, ledger.room]
    return MarketCast(
        loop=loop,
        controls=ProcessControls(folder, options.home.kill_file, monotonic_ns=monotonic_ns),
        first=opened.first,
        beside=company.beside(loop, folder) if company.beside is not None else contextlib.nullcontext(),
        closing=(progress.close, lambda: ledger.close(market)),
    )


def _first_record(opened: Opened) -> RunStarted:
    if isinstance(opened.first, RunStarted):
        return opened.first
    first = next(read_records(opened.disk), None)
    assert first is not None
    assert isinstance(first.event, RunStarted)
    return first.event


def _asker(config: Config, company: Company) -> Asker | None:
    """Who asks the models of these settings, if there are any; raises `UsageFault` or `StartFault`."""
    settings: LlmSettings = config["llm"]
    if not settings.model:
        return None
    if company.base_url is not None:
        settings = msgspec.structs.replace(settings, base_url=company.base_url.reveal())
    completer = completer_of(settings, company.api_key, company.environment)
    return asker_of(settings, completer, clock=PacedClock(), seed=config["run"].seed)


def _pace(config: Config) -> Pace:
    settings = config["market"]
    return Pace(tick_s=0.0 if settings.tick == "max" else float(settings.tick), monotonic_ns=monotonic_ns)
