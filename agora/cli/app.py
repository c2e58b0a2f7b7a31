"""The commands and their help. Each command lives in the module named after what it does."""

from __future__ import annotations

from typing import Annotated

import typer

from agora import __version__
from agora.cli import gathering, looking, market, running, settings, steering, testnets
from agora.cli.shared import guarded, say

app = typer.Typer(
    name="agora",
    help="Programs that trade unattended: paper runs on a local market or on recordings, recorded and replayable.",
    epilog="Example: agora run --duration 10   (then: agora report latest)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Settings: show, check, describe, write a template.", no_args_is_help=True)
runs_app = typer.Typer(help="Housekeeping of run folders.", no_args_is_help=True)
testnet_app = typer.Typer(help="Loopback stand-ins that speak the real protocols.", no_args_is_help=True)
data_app = typer.Typer(help="Recordings: import original files, record a venue, look inside.", no_args_is_help=True)


def _version(value: bool) -> None:
    if value:
        say(f"agora {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


running.register(app)
market.register(app, testnet_app)
testnets.register(testnet_app)
looking.register(app, runs_app, data_app)
gathering.register(data_app)
steering.register(app)
settings.register(app, config_app)
app.add_typer(config_app, name="config")
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")
app.add_typer(testnet_app, name="testnet")


def main() -> None:
    """Entry point of `agora`."""
    guarded(app)
