"""One run from its first file to its report: folder, lock, latch, journal, runner, shutdown list, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from agora import assembly, audit, venue_access
from agora.config import Config, JournalSettings, RunSettings
from agora.domain.errors import Bug, DamagedJournal, ExitCode, StartFault, Transient
from agora.domain.events import Event, OperatorCommand, RunResumed, RunStarted
from agora.engine.ports import Clock, Venue
from agora.engine.state import Phase
from agora.journal import checkpoint
from agora.journal.disk import Disk
from agora.journal.log import Log, WriterFactory, open_log
from agora.journal.reader import read_records
from agora.journal.recovery import Recovered, recover
from agora.journal.store import Limits
from agora.journal.writer import ThreadWriter
from agora.kernels import compiled, fills, indicators
from agora.lookback import DeskLookback
from agora.report.collector import Collector
from agora.report.metrics import MetricsFile
from agora.session import lifetime, recovery, terminal
from agora.session.access import Access
from agora.session.clock import PacedClock, monotonic_ns, utc_text
from agora.session.controls import ProcessControls
from agora.session.folder import (
    CONFIG_FILE,
    KILL_FILE,
    LOCK_FILE,
    Home,
    Latch,
    Lock,
    read_json,
    write_private,
)
from agora.session.keeper import CheckpointKeeper, Saved
from agora.session.runner import POLL_NS, Runner
from agora.venue_access import Approach, Terms

LOGGER = logging.getLogger("agora")
# A run without a clock of its own is never polled by time; it looks at its controls between events.
NEVER_POLL_NS = 2**61
# A folder's name stays short enough to be read in a list.
NAMED_TRADERS_MAX = 2

# What runs beside a run for as long as it lives: the API, given by the command line.
Beside = Callable[[Path], AbstractAsyncContextManager[object]]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is shown, where it lives, how it gets to its venue; nothing here changes a decision."""

    home: Home
    run_dir: Path | None = None
    account: str | None = None
    terms: Terms = Terms()
    beside: Beside | None = None
    is_quiet: bool = False
    is_json: bool = False
    is_json_logs: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended."""

    folder: Path
    exit_code: int
    report: dict[str, Any]


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stands on besides its settings: a simulation brings its own, and starts it by the same steps."""

    folder: Path
    disk: Disk
    writer: WriterFactory = ThreadWriter
    rebuild: Callable[[Config, RunStarted], assembly.Parts] = assembly.rebuild
    build_clock: Callable[..., Clock] = assembly.build_clock
    build_venue: Callable[..., Venue] = assembly.build_venue
    upcoming: Callable[[assembly.Parts, int], Event | None] = assembly.next_market_event
    access: Access | None = None
    clock: Clock | None = None


class Opened(msgspec.Struct, kw_only=True):
    """A run whose files are open and whose desk stands where the journal left it."""

    disk: Disk
    parts: assembly.Parts
    clock: Clock
    venue: Venue
    log: Log
    first: RunStarted | RunResumed
    restored: recovery.Restored | None = None


def run_new(config: Config, options: Options) -> Outcome:
    """A new run to its end; raises `StartFault` before anything was traded."""
    home = options.home
    home.prepare()
    with contextlib.ExitStack() as held:
        _refuse_closed_account(options)
        _lock_account(options, held)
        run_tag = assembly.new_run_tag()
        if config["run"].is_bitunix:
            parts, approach = _approached(config, options, held, run_tag=run_tag)
        else:
            # The recording first: what its import gives back, the kernels take.
            parts, approach = assembly.build_parts(config, run_tag), None
            compile_kernels(options)
        config = parts.config
        folder = new_folder(options, _label(config["run"]), run_tag=run_tag)
        held.callback(Lock(folder / LOCK_FILE, f"run folder {folder}").release)
        write_private(folder / CONFIG_FILE, config_json(config))
        if approach is not None:
            approach.keep(folder)
        home.point_latest(folder)
        try:
            return _conduct(lambda: open_new(parts, _ground(folder), config), options, folder)
        except StartFault:
            _withdraw(folder, home)
            raise


def _withdraw(folder: Path, home: Home) -> None:
    """A run that has recorded nothing was none: its folder would be taken for one that can be resumed."""
    if next(iter(read_records(Disk(folder))), None) is None:
        shutil.rmtree(folder)
        home.point_newest()


def _label(run: RunSettings) -> str:
    """What the name of a run says of it; of many traders the first and how many others."""
    labels = [entry.label for entry in run.roster]
    traders = "+".join(labels) if len(labels) <= NAMED_TRADERS_MAX else f"{labels[0]}+{len(labels) - 1}"
    return f"{run.venue.replace(':', '-')}-{traders}"


def _approached(
    config: Config, options: Options, held: contextlib.ExitStack, *, run_tag: str
) -> tuple[assembly.Parts, Approach | None]:
    """The parts of a run at a venue that has been asked for its facts; a testnet comes up while we compile."""
    run: RunSettings = config["run"]
    held.enter_context(_heeding_signals())
    approach = held.enter_context(venue_access.approach(config, options.terms))
    if venue_access.starts_own(config, options.terms.announcement):
        _tell(options, "starting a testnet on this machine …")
    compile_kernels(options, is_paper=not run.is_live)
    access = approach.access()
    try:
        seen = asyncio.run(assembly.look(config, access))
    except Transient as fault:
        reason = f"{run.venue} cannot be reached: {fault}"
        if run.fallback == "none":
            raise StartFault(reason) from None
        return _fallen_back(config, options, held, reason=reason, run_tag=run_tag), None
    _tell(options, _whereabouts(run, access))
    return assembly.build_parts(config, run_tag, seen), approach


@contextlib.contextmanager
def _heeding_signals() -> Iterator[None]:
    """Before there is a loop to hear them, signals end the start at once, with the testnet that was started."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, _end_start) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _end_start(number: int, frame: object) -> None:
    del frame
    raise SystemExit(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)


def _whereabouts(run: RunSettings, access: Access) -> str:
    """What is traded on, in a line; a testnet is looked at and disturbed at its control port."""
    control = f"   control {access.control}" if access.control else ""
    money = "" if access.is_here or not run.is_live else "   REAL MONEY"
    return f"{run.venue} {access.rest_url}   {run.resolved_mode}{money}{control}"


def _fallen_back(
    config: Config, options: Options, held: contextlib.ExitStack, *, reason: str, run_tag: str
) -> assembly.Parts:
    """A paper run on what stands in for a venue that is not there, on the account of that."""
    config = venue_access.fallen_back(config, reason)
    account = venue_access.account_of(config, options.terms)
    _tell(options, f"{reason}; trading on {config['run'].venue} instead")
    options = msgspec.structs.replace(options, account=account)
    _refuse_closed_account(options)
    _lock_account(options, held)
    return assembly.build_parts(config, run_tag)


def _tell(options: Options, text: str) -> None:
    """A line for whoever watches the start."""
    if not options.is_quiet:
        sys.stderr.write(f"{text}\n")


def resume(folder: Path, options: Options) -> Outcome:
    """Continue a stopped run in its own folder and journal; raises `StartFault` or `DamagedJournal`."""
    options.home.prepare()
    with contextlib.ExitStack() as held:
        config = assembly.config_of(read_json(folder / CONFIG_FILE))
        _refuse_closed_account(options)
        if (folder / KILL_FILE).exists():
            raise StartFault(f"kill file {folder / KILL_FILE} is still there: `agora reset {folder.name}` removes it")
        _lock_account(options, held)
        held.callback(Lock(folder / LOCK_FILE, f"run folder {folder}").release)
        terms = options.terms
        venue_access.check_terms(config, terms)
        run: RunSettings = config["run"]
        compile_kernels(options, is_paper=not run.is_live)
        options.home.point_latest(folder)
        access = venue_access.access_of(config, terms) if run.is_bitunix else None

        def open_run() -> Opened:
            # The run first: one that has ended needs no venue any more.
            opened = open_old(_ground(folder, access, _time_there(config, access)), config)
            held.enter_context(venue_access.way_back(folder, terms.announcement))
            return opened

        return _conduct(open_run, options, folder)


def _time_there(config: Config, access: Access | None) -> Clock | None:
    """The clock of a venue whose time is not that of the wall; None where it is, or nobody answers there."""
    if access is None or config["run"].clock_factor == 1:
        return None
    try:
        return asyncio.run(assembly.venue_clock(config, access))
    except Transient:
        return None


def _refuse_closed_account(options: Options) -> None:
    """A kill or breaker stays until an operator resets it."""
    home = options.home
    if home.kill_file.exists():
        raise StartFault(f"kill file {home.kill_file} is there: `agora reset` removes it")
    latch = home.latched(options.account) if options.account else None
    if latch is not None:
        raise StartFault(
            f"breaker {latch.breaker} of run {latch.run_id} was tripped ({latch.value}, limit {latch.limit}) and "
            "not reset: look at its report, then `agora reset`"
        )


def _lock_account(options: Options, held: contextlib.ExitStack) -> None:
    if options.account is not None:
        path = options.home.path / f"lock-{options.account}"
        held.callback(Lock(path, f"account {options.account}").release)


def compile_kernels(options: Options, *, is_paper: bool = True) -> None:
    """Compile, or load from the cache, everything hot of a trading run; fills on paper only where there are any."""
    module, seconds = ("fills", "ten") if is_paper else ("indicators", "two")
    with compiling(module, seconds=seconds, is_quiet=options.is_quiet):
        if is_paper:
            fills.warm_up()
        indicators.warm_up()


@contextlib.contextmanager
def compiling(module: str, *, seconds: str, is_quiet: bool) -> Iterator[None]:
    """Say when the kernels around that module have to be compiled, which takes long enough to wonder."""
    start_ns = monotonic_ns()
    is_cold = not compiled.is_cached(module)
    if is_cold and not is_quiet:
        sys.stderr.write(f"compiling the kernels (once, some {seconds} seconds) …\n")
    yield
    if is_cold and not is_quiet:
        sys.stderr.write(f"compiled in {(monotonic_ns() - start_ns) / 1e9:.1f} s, kept for later runs\n")


def config_json(config: Config, *, command: str = "run") -> bytes:
    """The effective settings with the source of each value; no secrets live in the tree."""
    stored = {"command": command, "profile": config.profile, "values": config.values(), "sources": config.sources}
    return msgspec.json.format(msgspec.json.encode(stored, order="sorted"), indent=2)


def new_folder(options: Options, label: str, *, run_tag: str) -> Path:
    """The folder of a new run, private and empty; raises `StartFault`."""
    if options.run_dir is not None:
        folder = options.run_dir.expanduser().resolve()
        if folder.exists() and any(folder.iterdir()):
            raise StartFault(f"run folder {folder} is not empty; `--resume` continues a run")
    else:
        stamp = utc_text(PacedClock().wall_ns(), "%Y%m%dT%H%M%SZ")
        folder = options.home.runs / f"{stamp}-{label}-{run_tag}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def limits_of(config: Config) -> Limits:
    """How much disk a journal may take."""
    journal: JournalSettings = config["journal"]
    return Limits(segment_bytes=journal.segment_mb * 2**20, budget_bytes=journal.disk_budget_mb * 2**20)


def _ground(folder: Path, access: Access | None = None, clock: Clock | None = None) -> Ground:
    return Ground(folder=folder, disk=Disk(folder), access=access, clock=clock)


def open_new(parts: assembly.Parts, ground: Ground, config: Config) -> Opened:
    """The first start of a run; its journal must not exist."""
    clock = ground.build_clock(parts)
    disk = ground.disk
    return Opened(
        disk=disk,
        parts=parts,
        clock=clock,
        venue=ground.build_venue(parts, clock),
        log=open_log(disk, wall_ns=clock.wall_ns, limits=limits_of(config), writer=ground.writer),
        first=assembly.started(parts, run_id=ground.folder.name, now_ns=clock.now_ns()),
    )


def open_old(ground: Ground, config: Config) -> Opened:
    """Recover the journal, stand the desk and the machine where it ends, open the source where it goes on."""
    opened = reopen(ground, config)
    state = opened.parts.desk.state
    assert opened.restored is not None
    if state.phase is Phase.ENDED and not opened.restored.replayed.pending:
        raise StartFault(f"run {ground.folder.name} has ended ({state.end_reason}); there is nothing to resume")
    if state.breakers:
        raise StartFault(
            f"breaker {', '.join(sorted(state.breakers))} is tripped: `agora reset {ground.folder.name}` first"
        )
    return opened


def reopen(ground: Ground, config: Config) -> Opened:
    """Stand where the journal ends, whatever the state there is; `open_old` judges whether it may go on."""
    disk = ground.disk
    newest = checkpoint.newest_valid(disk).checkpoint
    recovered = recover(disk, after=newest)
    first = next(iter(read_records(disk)), None)
    if first is None or not isinstance(first.event, RunStarted):
        raise DamagedJournal(f"{ground.folder}: the journal does not begin with run.started; nothing can be continued")
    parts = ground.rebuild(config, first.event)
    parts.source, parts.access, parts.clock = assembly.open_source(config), ground.access, ground.clock
    if newest is not None:
        saved = msgspec.json.decode(newest.state, type=Saved)
        parts.desk.restore(saved.desk)
        parts.machine.restore(saved.machine)
    restored = recovery.restore(
        parts.desk,
        parts.machine,
        read_records(disk, after=newest),
        upcoming=lambda after: ground.upcoming(parts, after),
    )
    state = parts.desk.state
    clock = ground.build_clock(parts, now_ns=state.now_ns)
    had = state.feed_position + (restored.cause is not None)
    return Opened(
        disk=disk,
        parts=parts,
        clock=clock,
        venue=ground.build_venue(parts, clock, after=had),
        log=open_log(disk, wall_ns=clock.wall_ns, after=recovered, limits=limits_of(config), writer=ground.writer),
        first=_resumed(clock, state.now_ns, recovered),
        restored=restored,
    )


def _resumed(clock: Clock, last_ns: int, recovered: Recovered) -> RunResumed:
    now_ns = max(clock.now_ns(), last_ns)
    return RunResumed(ts_ns=now_ns, down_ns=now_ns - last_ns, torn_bytes=recovered.torn_bytes)


def _conduct(open_run: Callable[[], Opened], options: Options, folder: Path) -> Outcome:
    """Run the loop, then the report; whatever happens, the report says it."""
    with logging_to(folder, options):
        opened = open_run()
        collector = _new_collector(folder) if opened.restored is None else None
        crash = None
        try:
            _live(opened, collector, folder=folder, options=options)
        except StartFault as fault:
            LOGGER.info("the run could not start: %s", fault)
            raise
        except Exception as fault:
            LOGGER.exception("the run could not end in order")
            crash = Bug(f"the run could not end in order: {fault!r}")
        _latch(opened, options, run_id=folder.name)
        if collector is None and crash is None:
            report = audit.report_run(folder)
        else:
            run = DeskLookback(folder, opened.parts, collector or _new_collector(folder))
            report = audit.conclude(run, opened.log, fault=crash)
    return Outcome(folder, report["exit_code"], report)


def _new_collector(folder: Path) -> Collector:
    return Collector(MetricsFile(folder / audit.METRICS_FILE))


def _live(opened: Opened, collector: Collector | None, *, folder: Path, options: Options) -> None:
    """The loop of a real process: signals, files and health, the live line, checkpoints."""
    controls = ProcessControls(folder, options.home.kill_file, monotonic_ns=monotonic_ns)
    progress = terminal.Progress(monotonic_ns=monotonic_ns, is_quiet=options.is_quiet, is_json=options.is_json_logs)
    runner = Runner(opened.parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
    runner.observers = [terminal.LogTeller(), progress]
    if collector is not None:
        runner.observers.insert(0, collector)
    cast = lifetime.Cast(
        runner=runner,
        controls=controls,
        keeper=CheckpointKeeper(opened.disk, opened.parts.machine, monotonic_ns=monotonic_ns),
        first=opened.first,
        restored=opened.restored,
        poll_ns=POLL_NS if opened.parts.is_paced else NEVER_POLL_NS,
    )
    beside = options.beside(folder) if options.beside is not None else contextlib.nullcontext()
    with asyncio.Runner() as loop_runner:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop_runner.get_loop().add_signal_handler(number, controls.on_signal, number)
        life = partial(lifetime.live_measured, cast, monotonic_ns=monotonic_ns, on_lag=controls.measure_lag)
        loop_runner.run(lifetime.live_beside(life, beside))
    progress.close()


def _latch(opened: Opened, options: Options, *, run_id: str) -> None:
    """A trip outlives the run."""
    if options.account is None:
        return
    for name, trip in sorted(opened.parts.desk.state.breakers.items()):
        options.home.latch(Latch(options.account, run_id, name, trip.value, trip.limit))


@contextlib.contextmanager
def logging_to(folder: Path, options: Options) -> Iterator[None]:
    """`run.log`, and errors on the terminal."""
    file = terminal.open_log_file(folder, is_json=options.is_json_logs)
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.INFO if options.is_json_logs else logging.WARNING)
    if options.is_quiet:
        console.setLevel(logging.ERROR)
    console.setFormatter(
        terminal.JsonLines() if options.is_json_logs else logging.Formatter("%(levelname)s %(message)s")
    )
    root = logging.getLogger("agora")
    root.setLevel(logging.INFO)
    root.propagate = False
    handlers: Sequence[logging.Handler] = (file, console)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def reset_run(folder: Path, reason: str) -> list[str]:
    """Re-arm the breakers of a stopped run that has not ended; returns their names. An ended run is left as it is."""
    with contextlib.ExitStack() as held:
        held.callback(Lock(folder / LOCK_FILE, f"run folder {folder}").release)
        ground = _ground(folder)
        if next(iter(read_records(ground.disk)), None) is None:
            return []
        opened = reopen(ground, assembly.config_of(read_json(folder / CONFIG_FILE)))
        return asyncio.run(rearm(opened, reason))


def rearm(opened: Opened, reason: str) -> Coroutine[Any, Any, list[str]]:
    """Record the operator's reset in a run that is not going on, and close its journal; gives what was tripped."""
    runner = Runner(opened.parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
    command = OperatorCommand(ts_ns=opened.first.ts_ns, command="reset", reason=reason)
    assert opened.restored is not None
    return lifetime.rearm(runner, opened.restored, command)
