"""One run from its first file to its report: folder, lock, latch, journal, runner, shutdown list, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agora import assembly, audit
from agora.config import Config, JournalSettings
from agora.domain.errors import DamagedJournal, StartFault
from agora.domain.events import OperatorCommand, RunResumed, RunStarted
from agora.engine.ports import Clock
from agora.engine.state import Phase
from agora.journal import checkpoint
from agora.journal.disk import Disk
from agora.journal.log import Log, open_log
from agora.journal.reader import read_records
from agora.journal.recovery import Recovered, recover
from agora.journal.store import Limits
from agora.kernels import fills, indicators
from agora.report.collector import Collector
from agora.session import lifetime, recovery, terminal
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
from agora.venues.paper import PaperVenue

# A run without a clock of its own is never polled by time; it looks at its controls between events.
NEVER_POLL_NS = 2**61


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is shown and where it lives; nothing here changes a decision."""

    home: Home
    run_dir: Path | None = None
    account: str | None = None
    is_quiet: bool = False
    is_json: bool = False
    is_json_logs: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended."""

    folder: Path
    exit_code: int
    report: dict[str, Any]


class Opened(msgspec.Struct, kw_only=True):
    """A run whose files are open and whose desk stands where the journal left it."""

    folder: Path
    disk: Disk
    parts: assembly.Parts
    clock: Clock
    venue: PaperVenue
    log: Log
    collector: Collector | None
    first: RunStarted | RunResumed
    restored: recovery.Restored | None = None


def run_new(config: Config, options: Options) -> Outcome:
    """A new run to its end; raises `StartFault` before anything was traded."""
    home = options.home
    home.prepare()
    with contextlib.ExitStack() as held:
        _refuse_closed_account(options)
        _lock_account(options, held)
        compile_kernels(options)
        run_tag = assembly.new_run_tag()
        parts = assembly.build_parts(config, run_tag)
        folder = _new_folder(config, options, run_tag=run_tag)
        held.callback(Lock(folder / LOCK_FILE, f"run folder {folder}").release)
        write_private(folder / CONFIG_FILE, config_json(config))
        home.point_latest(folder)
        return _conduct(lambda: _open_new(parts, folder, config), options, folder)


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
        compile_kernels(options)
        options.home.point_latest(folder)
        return _conduct(lambda: _open_old(folder, config), options, folder)


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


def compile_kernels(options: Options) -> None:
    """Compile, or load from the cache, everything hot; says so when it takes long enough to wonder."""
    start_ns = monotonic_ns()
    is_cold = not any(options.home.cache.glob("numba/**/*.nbi"))
    if is_cold and not options.is_quiet:
        sys.stderr.write("compiling the kernels (once, some ten seconds) …\n")
    fills.warm_up()
    indicators.warm_up()
    if is_cold and not options.is_quiet:
        sys.stderr.write(f"compiled in {(monotonic_ns() - start_ns) / 1e9:.1f} s, kept in {options.home.cache}\n")


def config_json(config: Config) -> bytes:
    """The effective settings with the source of each value; no secrets live in the tree."""
    stored = {"profile": config.profile, "values": config.values(), "sources": config.sources}
    return msgspec.json.format(msgspec.json.encode(stored, order="sorted"), indent=2)


def _new_folder(config: Config, options: Options, *, run_tag: str) -> Path:
    if options.run_dir is not None:
        folder = options.run_dir.expanduser().resolve()
        if folder.exists() and any(folder.iterdir()):
            raise StartFault(f"run folder {folder} is not empty; `--resume` continues a run")
    else:
        run = config["run"]
        stamp = utc_text(PacedClock().wall_ns(), "%Y%m%dT%H%M%SZ")
        folder = options.home.runs / f"{stamp}-{run.venue}-{'+'.join(run.trader)}-{run_tag}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _limits(config: Config) -> Limits:
    journal: JournalSettings = config["journal"]
    return Limits(segment_bytes=journal.segment_mb * 2**20, budget_bytes=journal.disk_budget_mb * 2**20)


def _open_new(parts: assembly.Parts, folder: Path, config: Config) -> Opened:
    clock = assembly.build_clock(parts)
    disk = Disk(folder)
    return Opened(
        folder=folder,
        disk=disk,
        parts=parts,
        clock=clock,
        venue=assembly.build_venue(parts, clock),
        log=open_log(disk, wall_ns=clock.wall_ns, limits=_limits(config)),
        collector=audit.new_collector(folder),
        first=assembly.started(parts, run_id=folder.name, now_ns=clock.now_ns()),
    )


def _open_old(folder: Path, config: Config) -> Opened:
    """Recover the journal, stand the desk and the machine where it ends, open the source where it goes on."""
    disk = Disk(folder)
    newest = checkpoint.newest_valid(disk).checkpoint
    recovered = recover(disk, after=newest)
    first = next(iter(read_records(disk)), None)
    if first is None or not isinstance(first.event, RunStarted):
        raise DamagedJournal(f"{folder}: the journal does not begin with run.started; nothing can be continued")
    parts = assembly.rebuild(config, first.event)
    if newest is not None:
        saved = msgspec.json.decode(newest.state, type=Saved)
        parts.desk.restore(saved.desk)
        parts.machine.restore(saved.machine)
    restored = recovery.restore(parts.desk, parts.machine, read_records(disk, after=newest))
    state = parts.desk.state
    if state.phase is Phase.ENDED:
        raise StartFault(f"run {folder.name} has ended ({state.end_reason}); there is nothing to resume")
    if state.breakers:
        raise StartFault(f"breaker {', '.join(sorted(state.breakers))} is tripped: `agora reset {folder.name}` first")
    parts.source = assembly.open_source(config)
    clock = assembly.build_clock(parts, now_ns=state.now_ns)
    return Opened(
        folder=folder,
        disk=disk,
        parts=parts,
        clock=clock,
        venue=assembly.build_venue(parts, clock, after=state.feed_position),
        log=open_log(disk, wall_ns=clock.wall_ns, after=recovered, limits=_limits(config)),
        collector=None,
        first=_resumed(clock, state.now_ns, recovered),
        restored=restored,
    )


def _resumed(clock: Clock, last_ns: int, recovered: Recovered) -> RunResumed:
    now_ns = max(clock.now_ns(), last_ns)
    return RunResumed(ts_ns=now_ns, down_ns=now_ns - last_ns, torn_bytes=recovered.torn_bytes)


def _conduct(open_run: Callable[[], Opened], options: Options, folder: Path) -> Outcome:
    """Run the loop, then the report; whatever happens, the report says it."""
    with _logging(folder, options):
        opened = open_run()
        _live(opened, options)
        _latch(opened, options)
        if opened.collector is None:
            report = audit.report_run(folder)
        else:
            report = audit.conclude(folder, opened.parts, collector=opened.collector, log=opened.log)
    return Outcome(folder, report["exit_code"], report)


def _live(opened: Opened, options: Options) -> None:
    """The loop of a real process: signals, files and health, the live line, checkpoints."""
    controls = ProcessControls(opened.folder, options.home.kill_file, monotonic_ns=monotonic_ns)
    progress = terminal.Progress(monotonic_ns=monotonic_ns, is_quiet=options.is_quiet, is_json=options.is_json_logs)
    runner = Runner(opened.parts.desk, opened.venue, journal=opened.log, clock=opened.clock)
    runner.observers = [terminal.LogTeller(), progress]
    if opened.collector is not None:
        runner.observers.insert(0, opened.collector)
    cast = lifetime.Cast(
        runner=runner,
        controls=controls,
        keeper=CheckpointKeeper(opened.disk, opened.parts.machine, monotonic_ns=monotonic_ns),
        first=opened.first,
        restored=opened.restored,
        poll_ns=POLL_NS if opened.parts.is_paced else NEVER_POLL_NS,
    )
    with asyncio.Runner() as loop_runner:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop_runner.get_loop().add_signal_handler(number, controls.on_signal, number)
        loop_runner.run(lifetime.live_measured(cast, monotonic_ns=monotonic_ns, on_lag=controls.measure_lag))
    progress.close()


def _latch(opened: Opened, options: Options) -> None:
    """A trip outlives the run."""
    if options.account is None:
        return
    for name, trip in sorted(opened.parts.desk.state.breakers.items()):
        options.home.latch(Latch(options.account, opened.folder.name, name, trip.value, trip.limit))


@contextlib.contextmanager
def _logging(folder: Path, options: Options) -> Iterator[None]:
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
        disk = Disk(folder)
        recovered = recover(disk)
        records = list(read_records(disk))
        if not records or not isinstance(records[0].event, RunStarted):
            return []
        parts = assembly.rebuild(assembly.config_of(read_json(folder / CONFIG_FILE)), records[0].event)
        recovery.restore(parts.desk, parts.machine, records)
        state = parts.desk.state
        if state.phase is Phase.ENDED or not state.breakers:
            return []
        tripped = sorted(state.breakers)
        clock = assembly.build_clock(parts, now_ns=state.now_ns)
        command = OperatorCommand(ts_ns=max(clock.now_ns(), state.now_ns), command="reset", reason=reason)
        runner = Runner(
            parts.desk,
            assembly.build_venue(parts, clock),
            journal=open_log(disk, wall_ns=clock.wall_ns, after=recovered),
            clock=clock,
        )
        asyncio.run(runner.take_last(command))
        return tripped
