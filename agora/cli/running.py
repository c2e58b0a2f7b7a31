"""`agora run` and `agora backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agora.cli.shared import environment, home_path, say, show, use_cache, wants_json_logs, warn
from agora.cli.urls import address_settings, announced

if TYPE_CHECKING:
    from agora.config import Config
    from agora.launch import Options, Outcome
    from agora.venue_access import Terms

_TEXT = dict[str, str]
Trader = Annotated[list[str] | None, typer.Option("--trader", help="Trader by name: trend, ema_cross.")]
Symbol = Annotated[list[str] | None, typer.Option("--symbol", help="Instrument, e.g. BTCUSDT.")]
Interval = Annotated[str | None, typer.Option(help="Bar length: 1s 5s 15s 30s 1m 5m 15m 1h; auto by default.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random draw.")]
Data = Annotated[list[str] | None, typer.Option("--data", help="Recording or original file; repeatable.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting: section.key=value; repeatable.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
Profile = Annotated[str | None, typer.Option(help="cautious, balanced or aggressive.")]
Venue = Annotated[str | None, typer.Option(help="local, recorded (needs --data), testnet, bitunix.")]
Mode = Annotated[str | None, typer.Option(help="paper, live or auto: live on a testnet, paper elsewhere.")]
Speed = Annotated[str | None, typer.Option(help="Of the run's clock: a factor of real time, or max for recordings.")]
Url = Annotated[
    list[str] | None,
    typer.Option("--url", help="Address of the venue, NAME=URL: rest, public_ws, private_ws; repeatable."),
]
Testnet = Annotated[
    str | None, typer.Option(metavar="FILE_OR_-", help="A testnet by its announce line, in a file or on stdin.")
]
Faults = Annotated[Path | None, typer.Option(help="Fault plan (JSON list) for the testnet that this run starts.")]
Provider = Annotated[str | None, typer.Option(help="Market data of a paper run: bitunix, recorded, ccxt:EXCHANGE.")]
Fallback = Annotated[
    str | None, typer.Option(help="When the venue cannot be reached, a paper run on: recorded, local, none.")
]
RealMoney = Annotated[
    bool, typer.Option("--i-accept-real-money", help="Needed to trade live anywhere but on this machine.")
]
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
    venue: Venue = None,
    mode: Mode = None,
    trader: Trader = None,
    symbol: Symbol = None,
    interval: Interval = None,
    duration: Annotated[float | None, typer.Option(help="Minutes of the run's clock, fractions allowed.")] = None,
    max_trades: Annotated[int | None, typer.Option(help="End after so many completed trades.")] = None,
    seed: Seed = None,
    data: Data = None,
    speed: Speed = None,
    url: Url = None,
    rest_url: Annotated[str | None, typer.Option(help="Short for --url rest=….")] = None,
    ws_url: Annotated[str | None, typer.Option(help="Short for both sockets.")] = None,
    testnet: Testnet = None,
    faults: Faults = None,
    provider: Provider = None,
    fallback: Fallback = None,
    accept_real_money: RealMoney = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of an API beside the run (0: free).")
    ] = None,
    no_server: Annotated[bool, typer.Option("--no-server", help="No API, whatever the settings say.")] = False,
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
    if resume and (testnet is not None or faults is not None):
        raise typer.BadParameter("a resumed run goes on at its venue: no --testnet, no --faults")
    terms = terms_of(testnet=testnet, faults=faults, accepts_real_money=accept_real_money)
    if resume:
        _resume(name or "latest", run_dir, terms, quiet=quiet, json=json)
        return
    flags = {
        **address_settings(url or [], rest_url, ws_url),
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
        "run.provider": provider,
        "run.fallback": fallback,
        "run.port": -1 if no_server else port,
        "risk.dry_run": dry_run or None,
    }
    settings = load_settings(flags, set_ or [], file=config, profile=profile)
    options = _at_venue(settings, terms, _options(run_dir=run_dir, quiet=quiet, json=json))
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
    _finish(launch.run_new(settings, _options(run_dir=run_dir, quiet=quiet, json=json)), json=json)


def load_settings(flags: dict[str, Any], pairs: list[str], *, file: Path | None, profile: str | None) -> Config:
    """The effective settings of a command; the file defaults to AGORA_HOME/config.toml, if it is there."""
    from agora.config import load_config

    default = home_path() / "config.toml"
    if file is None and default.exists():
        file = default
    return load_config(environment(), flags, pairs, file=file, profile=profile)


def _options(*, run_dir: Path | None, quiet: bool, json: bool) -> Options:
    from agora.launch import Options
    from agora.session.folder import Home

    return Options(home=Home(home_path()), run_dir=run_dir, is_quiet=quiet or json, is_json_logs=wants_json_logs())


def terms_of(*, testnet: str | None, faults: Path | None = None, accepts_real_money: bool = False) -> Terms:
    """What flags and environment say of the venue that is no setting; the secrets are read here, and nowhere else."""
    from agora.domain.errors import UsageFault
    from agora.session.credentials import read_secret
    from agora.venue_access import KEY_VARIABLE, SECRET_VARIABLE, Terms

    if faults is not None and not faults.is_file():
        raise UsageFault(f"no such fault plan: {faults}")
    seen = environment()
    announcement, content = announced(testnet) if testnet is not None else (None, b"")
    return Terms(
        api_key=read_secret(seen, KEY_VARIABLE),
        api_secret=read_secret(seen, SECRET_VARIABLE),
        announcement=announcement,
        content=content,
        faults=faults,
        accepts_real_money=accepts_real_money,
        environment=seen,
    )


def _at_venue(settings: Config, terms: Terms, options: Options) -> Options:
    """The options of a run on that account, with the API beside it where one is wanted."""
    from msgspec.structs import replace

    from agora.venue_access import account_of

    beside = None
    port = settings["run"].port
    if port >= 0:
        from agora.cli.serving import beside_run

        beside = beside_run(port, is_quiet=options.is_quiet)
    return replace(options, account=account_of(settings, terms), terms=terms, beside=beside)


def _resume(name: str, run_dir: Path | None, terms: Terms, *, quiet: bool, json: bool) -> None:
    from agora import launch, lookback
    from agora.session.folder import Home
    from agora.venue_access import resumed_terms

    folder = Home(home_path()).run_folder(str(run_dir) if run_dir else name)
    terms = resumed_terms(folder, terms)
    options = _at_venue(lookback.config_in(folder), terms, _options(run_dir=None, quiet=quiet, json=json))
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
