"""`agora run` and `agora backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agora.cli.shared import environment, home_path, say, show, use_cache, wants_json_logs, warn

if TYPE_CHECKING:
    from agora.config import Config
    from agora.launch import Options, Outcome

_TEXT = dict[str, str]
Trader = Annotated[list[str] | None, typer.Option("--trader", help="Trader by name: trend, ema_cross.")]
Symbol = Annotated[list[str] | None, typer.Option("--symbol", help="Instrument, e.g. BTCUSDT.")]
Interval = Annotated[str | None, typer.Option(help="Bar length: 1s 5s 15s 30s 1m 5m 15m 1h; auto by default.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random draw.")]
Data = Annotated[list[str] | None, typer.Option("--data", help="Recording or original file; repeatable.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting: section.key=value; repeatable.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
Profile = Annotated[str | None, typer.Option(help="cautious, balanced or aggressive.")]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Folder of the run instead of AGORA_HOME/runs/….")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress; only the outcome and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the final report as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: agora run --duration 10 --profile cautious")(run)
    app.command(epilog="Example: agora backtest --data candles.feather --data funding.feather")(backtest)


def run(
    *,
    config: ConfigFile = None,
    profile: Profile = None,
    venue: Annotated[str | None, typer.Option(help="local (needs nothing) or recorded (needs --data).")] = None,
    mode: Annotated[str | None, typer.Option(help="paper: no real money.")] = None,
    trader: Trader = None,
    symbol: Symbol = None,
    interval: Interval = None,
    duration: Annotated[float | None, typer.Option(help="Minutes of the run's clock, fractions allowed.")] = None,
    max_trades: Annotated[int | None, typer.Option(help="End after so many completed trades.")] = None,
    seed: Seed = None,
    data: Data = None,
    speed: Annotated[str | None, typer.Option(help="Of a recording: max, or a factor of real time.")] = None,
    run_dir: RunDir = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped run (the newest, or the one named).")
    ] = False,
    name: Annotated[str, typer.Argument(metavar="[RUN]", help="With --resume: the run to continue.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and record, but send no order.")] = False,
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """One autonomous trading run: it starts, trades, stops by itself, flat, and leaves a report."""
    use_cache()
    from agora import launch

    if name and not resume:
        raise typer.BadParameter(f"unexpected argument {name!r}; a run is named after --resume only")
    if resume:
        _resume(name or "latest", run_dir, quiet=quiet, json=json)
        return
    flags = {
        "run.venue": venue,
        "run.mode": mode,
        "run.trader": trader,
        "run.symbol": symbol,
        "run.interval": interval,
        "run.duration_minutes": duration,
        "risk.max_trades": max_trades,
        "run.seed": seed,
        "run.data": data,
        "run.speed": speed,
        "risk.dry_run": dry_run or None,
    }
    settings = load_settings(flags, set_ or [], file=config, profile=profile)
    account = f"paper-{settings['run'].venue}"
    options = _options(account, run_dir=run_dir, quiet=quiet, json=json)
    _finish(launch.run_new(settings, options), json=json)


def backtest(
    *,
    data: Data = None,
    config: ConfigFile = None,
    profile: Profile = None,
    trader: Trader = None,
    symbol: Symbol = None,
    interval: Interval = None,
    duration: Annotated[float | None, typer.Option(help="Minutes of recorded time; the whole by default.")] = None,
    seed: Seed = None,
    run_dir: RunDir = None,
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """A run on recorded data at full speed, on an account of its own: the same engine, fills and report."""
    use_cache()
    from agora import launch

    flags = {
        "run.venue": "recorded",
        "run.speed": "max",
        "run.trader": trader,
        "run.symbol": symbol,
        "run.interval": interval,
        "run.duration_minutes": duration,
        "run.seed": seed,
        "run.data": data,
    }
    settings = load_settings(flags, set_ or [], file=config, profile=profile)
    _finish(launch.run_new(settings, _options(None, run_dir=run_dir, quiet=quiet, json=json)), json=json)


def load_settings(flags: dict[str, Any], pairs: list[str], *, file: Path | None, profile: str | None) -> Config:
    """The effective settings of a command; the file defaults to AGORA_HOME/config.toml, if it is there."""
    from agora.config import load_config

    default = home_path() / "config.toml"
    if file is None and default.exists():
        file = default
    return load_config(environment(), flags, pairs, file=file, profile=profile)


def _options(account: str | None, *, run_dir: Path | None, quiet: bool, json: bool) -> Options:
    from agora.launch import Options
    from agora.session.folder import Home

    return Options(
        home=Home(home_path()),
        run_dir=run_dir,
        account=account,
        is_quiet=quiet or json,
        is_json_logs=wants_json_logs(),
    )


def _resume(name: str, run_dir: Path | None, *, quiet: bool, json: bool) -> None:
    from agora import launch
    from agora.session.folder import CONFIG_FILE, Home, read_json

    folder = Home(home_path()).run_folder(str(run_dir) if run_dir else name)
    venue = read_json(folder / CONFIG_FILE)["values"]["run"]["venue"]
    options = _options(f"paper-{venue}", run_dir=None, quiet=quiet, json=json)
    _finish(launch.resume(folder, options), json=json)


def _finish(outcome: Outcome, *, json: bool) -> None:
    """Say how it ended and exit with its code."""
    report = outcome.report
    show(report, is_json=json, text=lambda: outcome_text(report))
    if not json:
        say(f"report: {outcome.folder / 'report.html'}")
    if outcome.exit_code and not json and not wants_json_logs():
        warn(f"exit {outcome.exit_code}: {report['stopped_reason']}")
    raise typer.Exit(outcome.exit_code)


def outcome_text(report: dict[str, Any]) -> str:
    """A run's outcome in a few lines."""
    flat = "flat" if report["flat"] else "NOT FLAT: " + "; ".join(report["residual"])
    orders = report["orders"]
    money = f"gross {report['pnl_gross']} - fees {report['fees']} + funding {report['funding']}"
    counts = {
        "trades": report["trades"],
        "orders": orders["intended"],
        "fills": orders["filled"],
        "refused": orders["refused"],
        "decisions": report["decisions"],
        "market events": report["market_events"],
        "malformed": report["malformed"],
    }
    lines = (
        f"{report['run_id']}: {report['status']} ({report['stopped_reason']}), {flat}",
        f"net {report['pnl_net']} = {money}   equity {report['equity_start']} -> {report['equity_end']}",
        "  ".join(f"{name} {count}" for name, count in counts.items()),
    )
    return "\n".join(lines)
