"""`agora market` and `agora testnet`: a market of agents with its API, and stand-ins to run against."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agora.cli.running import ConfigFile, Json, Quiet, RunDir, Seed, Set, load_settings
from agora.cli.shared import (
    RUN_ARGUMENT,
    environment,
    home_path,
    process_environment,
    say,
    show,
    use_cache,
    wants_json_logs,
    warn,
)

if TYPE_CHECKING:
    from agora.config import Config
    from agora.launch import Outcome
    from agora.market_launch import Beside, Company

Assets = Annotated[
    list[str] | None, typer.Option("--assets", help="Assets as SYMBOL:PRICE, e.g. ARBO:100; repeatable.")
]
Agents = Annotated[list[str] | None, typer.Option("--agents", help="Personas as NAME=COUNT; repeatable.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port of the API (0: a free one).")]


def register(app: typer.Typer, testnet_app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: agora serve --port 8000")(serve)
    app.command(epilog="Example: agora market --ticks 2000 --tick max --seed 7")(market)
    app.command(epilog="Example: agora realism latest")(realism)
    testnet_app.command("llm", epilog="Example: agora testnet llm --port 0")(llm)


def market(
    *,
    config: ConfigFile = None,
    seed: Seed = None,
    assets: Assets = None,
    agents: Agents = None,
    population: Annotated[int | None, typer.Option(help="Rule agents in the background.")] = None,
    model: Annotated[str | None, typer.Option(help="Language model that decides for the personas.")] = None,
    cassette: Annotated[str | None, typer.Option(help="File that keeps the model's answers.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="Largest cost of all questions, never exceeded.")] = None,
    tick: Annotated[str | None, typer.Option(help="Seconds from tick to tick, or max.")] = None,
    ticks: Annotated[int | None, typer.Option(help="End after so many ticks.")] = None,
    duration: Annotated[float | None, typer.Option(help="Minutes of the market's clock, fractions allowed.")] = None,
    port: Port = 8000,
    host: Annotated[str, typer.Option(help="Address of the API; another than loopback needs the token.")] = "127.0.0.1",
    no_server: Annotated[bool, typer.Option("--no-server", help="No API.")] = False,
    run_dir: RunDir = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped market (the newest, or the one named).")
    ] = False,
    name: Annotated[str, typer.Argument(metavar="[RUN]", help="With --resume: the run to continue.")] = "",
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """A market of agents: personas and a crowd trade on an order book, with an API, until told to stop."""
    use_cache()
    from agora import launch, lookback, market_launch
    from agora.cli.serving import beside_market
    from agora.session.folder import Home

    if name and not resume:
        raise typer.BadParameter(f"unexpected argument {name!r}; a run is named after --resume only")
    options = launch.Options(
        home=Home(home_path()), run_dir=run_dir, is_quiet=quiet or json, is_json_logs=wants_json_logs()
    )
    beside = None if no_server else beside_market(host, port, is_quiet=quiet or json)
    if resume:
        folder = options.home.run_folder(str(run_dir) if run_dir else name or "latest")
        settings = lookback.config_in(folder)
        _finish(market_launch.resume_market(folder, options, _company(settings, beside)), json=json)
        return
    flags = {
        "run.seed": seed,
        "run.duration_minutes": duration,
        "market.assets": assets,
        "market.agents": agents,
        "market.population": population,
        "market.tick": tick,
        "market.ticks": ticks,
        "llm.model": model,
        "llm.cassette": cassette,
        "llm.max_cost": max_cost,
    }
    settings = load_settings(flags, set_ or [], file=config, profile=None)
    _finish(market_launch.run_market(settings, options, _company(settings, beside)), json=json)


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address; another than loopback wants the token.")] = "127.0.0.1",
    port: Port = 8000,
) -> None:
    """The API over the runs of this machine, until told to stop."""
    use_cache()
    from agora.cli.serving import serve_runs

    serve_runs(host, port)


def realism(
    name: Annotated[str, RUN_ARGUMENT] = "latest",
    out: Annotated[Path | None, typer.Option(help="Folder for the pages instead of the run's own.")] = None,
    json: Json = False,
) -> None:
    """Is a market like markets? Stylised facts of a run, each with statistic, band and verdict; exit 1 on a FAIL."""
    use_cache()
    from agora.research.realism_run import judge_run
    from agora.session.folder import Home

    folder = Home(home_path()).run_folder(name)
    found = judge_run(folder, out or folder)
    show(found.facts, is_json=json, text=lambda: found.text)
    raise typer.Exit(1 if found.has_failed else 0)


def _company(settings: Config, beside: Beside | None) -> Company:
    from agora.market_launch import Company
    from agora.session.credentials import Secret, read_secret

    told = environment()
    urls = {key: settings.secrets.get(key) for key in ("market.ledger_url", "llm.base_url")}
    # A resumed run's own settings hold these without their passwords: the environment may say them again.
    for key in urls:
        name = "AGORA_" + key.upper().replace(".", "__")
        if told.get(name):
            urls[key] = Secret(told[name])
    return Company(
        api_key=read_secret(told, "AGORA_LLM__API_KEY"),
        base_url=urls["llm.base_url"],
        ledger_url=urls["market.ledger_url"],
        environment=process_environment(),
        beside=beside,
    )


def _finish(outcome: Outcome, *, json: bool) -> None:
    """Say how it ended and exit with its code."""
    report = outcome.report
    show(report, is_json=json, text=lambda: market_text(report))
    if not json:
        say(f"report: {outcome.folder / 'report.html'}")
    if outcome.exit_code and not json and not wants_json_logs():
        warn(f"exit {outcome.exit_code}: {report['end_detail'] or report['stopped_reason']}")
    raise typer.Exit(outcome.exit_code)


def market_text(report: dict[str, Any]) -> str:
    """A market run's outcome in a few lines."""
    prices = "  ".join(f"{row['symbol']} {row['price_start']} -> {row['price_end']}" for row in report["per_symbol"])
    lines = [
        f"{report['run_id']}: {report['status']} ({report['stopped_reason']})",
        f"ticks {report['ticks']}  trades {report['trades']}  agents {len(report['agents'])}  "
        f"requests {report['requests']}, refused {report['refused']}  news {report['news']}",
        prices,
    ]
    if report["llm"]["asked"]:
        outcomes = "  ".join(f"{outcome} {count}" for outcome, count in report["llm"]["outcomes"].items())
        lines.append(f"model: asked {report['llm']['asked']}  {outcomes}  cost {report['llm']['cost']}")
    return "\n".join(lines)


def llm(
    *,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the model server (0: a free one).")] = 0,
    control_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of its control calls.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the model's choices.")] = 1,
    latency: Annotated[float, typer.Option(min=0, max=600, help="Seconds that each answer takes.")] = 0.0,
    faults: Annotated[Path | None, typer.Option(help="Fault plan (JSON list).")] = None,
) -> None:
    """An OpenAI-compatible model on the loopback: deterministic answers from the prompt, and faults on demand."""
    import asyncio

    from agora.domain.errors import UsageFault
    from agora.session.clock import monotonic_ns
    from agora.testnet.faults import PlanRefused
    from agora.testnet.llm import LlmTestnetSettings, run_llm_testnet

    settings = LlmTestnetSettings(port=port, control_port=control_port, seed=seed, latency_s=latency)

    def announce(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        plan = faults.read_bytes() if faults is not None else b"[]"
        asyncio.run(run_llm_testnet(settings, announce, monotonic_ns=monotonic_ns, faults=plan))
    except (PlanRefused, OSError) as fault:
        raise UsageFault(str(fault)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
