"""`agora stop|kill|flatten|reset`: messages to a live run, and opening again what a trip has closed."""

from __future__ import annotations

from typing import Annotated

import typer

from agora.cli.shared import JSON_FLAG, RUN_ARGUMENT, home_path, say, show

Run = Annotated[str, RUN_ARGUMENT]
Reason = Annotated[str, typer.Option(help="Why; it goes into the record and the report.")]
Json = Annotated[bool, JSON_FLAG]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: agora stop")(stop)
    app.command(epilog='Example: agora kill --reason "venue looks wrong"')(kill)
    app.command(epilog="Example: agora flatten")(flatten)
    app.command(epilog="Example: agora reset   (after a kill or a tripped breaker)")(reset)


def stop(name: Run = "latest", reason: Reason = "operator") -> None:
    """End a live run in order: cancel, flatten, report; exit code 0."""
    _send(name, "stop", reason)


def kill(name: Run = "latest", reason: Reason = "operator") -> None:
    """End a live run and keep its account closed until `agora reset`; exit code 4."""
    _send(name, "kill", reason)


def flatten(name: Run = "latest", reason: Reason = "operator") -> None:
    """Cancel all orders and close all positions of a live run; it trades on."""
    _send(name, "flatten", reason)


def _send(name: str, command: str, reason: str) -> None:
    from msgspec.json import encode

    from agora.domain.errors import UsageFault
    from agora.session.controls import CommandFile
    from agora.session.folder import COMMAND_FILE, LOCK_FILE, Home, command_of, is_locked, write_private

    folder = Home(home_path()).run_folder(name)
    if command == "flatten" and command_of(folder) == "market":
        raise UsageFault(f"{folder.name} is a market: it holds no position of yours; `agora stop` ends it")
    if not is_locked(folder / LOCK_FILE):
        raise UsageFault(f"run {folder.name} is not running")
    write_private(folder / COMMAND_FILE, encode(CommandFile(command, reason)))
    say(f"{command} sent to {folder.name}")


def reset(name: Run = "latest", reason: Reason = "operator", json: Json = False) -> None:
    """Re-arm after a kill or a tripped breaker: remove kill files and latches, re-arm the run itself."""
    from agora import launch
    from agora.session.folder import KILL_FILE, LOCK_FILE, Home, command_of, is_locked

    home = Home(home_path())
    opened = home.reset()
    re_armed: list[str] = []
    if home.run_names() or name != "latest":
        folder = home.run_folder(name)
        (folder / KILL_FILE).unlink(missing_ok=True)
        if is_locked(folder / LOCK_FILE):
            _send(name, "reset", reason)
        elif command_of(folder) == "run":  # a market has no breakers: its kill file was all
            re_armed = launch.reset_run(folder, reason)
    facts = {
        "opened": [f"{latch.account}: {latch.breaker} of {latch.run_id}" for latch in opened],
        "re_armed": re_armed,
    }
    show(facts, is_json=json, text=lambda: "; ".join(facts["opened"] + re_armed) or "nothing was tripped")
