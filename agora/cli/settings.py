"""`agora config show|check|schema|init` and `agora doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agora.cli.shared import JSON_FLAG, environment, home_path, say, show, warn

File = Annotated[
    Path | None, typer.Option("--config", help="Settings file (TOML); AGORA_HOME/config.toml if it exists.")
]
Profile = Annotated[str | None, typer.Option(help="cautious, balanced or aggressive.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")]
Json = Annotated[bool, JSON_FLAG]


def register(app: typer.Typer, config_app: typer.Typer) -> None:
    """Add the commands."""
    config_app.command("show", epilog="Example: agora config show --profile cautious")(show_settings)
    config_app.command("check", epilog="Example: agora config check --config my.toml")(check)
    config_app.command("schema", epilog="Example: agora config schema --json")(schema)
    config_app.command("init", epilog="Example: agora config init --profile cautious")(init)
    app.command(epilog="Example: agora doctor")(doctor)


def _load(file: Path | None, profile: str | None, pairs: list[str] | None) -> Any:
    from agora.config import load_config

    default = home_path() / "config.toml"
    if file is None and default.exists():
        file = default
    return load_config(environment(), {}, pairs or [], file=file, profile=profile)


def show_settings(config: File = None, profile: Profile = None, set_: Set = None, json: Json = False) -> None:
    """Every effective setting with the source of its value."""
    from agora.config import Config

    effective: Config = _load(config, profile, set_)
    facts = {
        f"{section}.{key}": {"value": value, "source": effective.sources[f"{section}.{key}"]}
        for section, part in effective.values().items()
        for key, value in part.items()
    }
    show(
        facts,
        is_json=json,
        text=lambda: "\n".join(f"{k} = {v['value']}   [{v['source']}]" for k, v in facts.items()),
    )


def check(config: File = None, profile: Profile = None, set_: Set = None, json: Json = False) -> None:
    """Check the settings; every fault at once, exit 2 when there is one."""
    from agora.config import ConfigFaults
    from agora.domain.errors import UsageFault

    faults: list[dict[str, str]] = []
    message = ""
    try:
        _load(config, profile, set_)
    except ConfigFaults as found:
        message = str(found)
        faults = [{"key": f.key, "value": f.value, "allowed": f.allowed, "source": f.source} for f in found.faults]
    except UsageFault as found:
        message = str(found)
        faults = [{"key": "", "value": "", "allowed": message, "source": ""}]
    show({"ok": not faults, "faults": faults}, is_json=json, text=lambda: message or "the settings are good")
    raise typer.Exit(2 if faults else 0)


def schema(json: Json = False) -> None:
    """Every setting: type, range, default, meaning."""
    from agora.cli.manual import settings_table

    rows = settings_table()
    show(
        rows,
        is_json=json,
        text=lambda: "\n".join(f"{r['key']} = {r['default']}  {r['allowed']}: {r['meaning']}" for r in rows),
    )


def init(
    path: Annotated[Path | None, typer.Argument(help="Where to write; AGORA_HOME/config.toml by default.")] = None,
    profile: Profile = "balanced",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented settings file of a profile."""
    from agora.config import PROFILES, SECTIONS, template
    from agora.domain.errors import UsageFault
    from agora.session.folder import write_private

    if profile not in PROFILES:
        raise UsageFault(f"unknown profile {profile!r}; there are: {', '.join(PROFILES)}")
    target = path or home_path() / "config.toml"
    if target.exists() and not force:
        raise UsageFault(f"{target} exists; --force overwrites it")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(target, template(SECTIONS, profile).encode())
    say(str(target))


def doctor(
    venue: Annotated[str | None, typer.Option(help="Look at a venue too: testnet (starts one) or bitunix.")] = None,
    testnet: Annotated[
        str | None, typer.Option(metavar="FILE_OR_-", help="The testnet to look at, by its announce line.")
    ] = None,
    config: File = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Preflight: Python, disk, folders, compile cache, kill files and latches, the venue; exit 3 when one is amiss."""
    from agora.cli.checkup import checkup

    findings = checkup(home_path())
    if venue is not None or testnet is not None:
        from agora.cli.venue_checkup import venue_checkup

        flags = {"run.venue": venue or "testnet"}
        findings += venue_checkup(flags, set_ or [], file=config, testnet=testnet)
    show(
        findings,
        is_json=json,
        text=lambda: "\n".join(f"{'ok  ' if f['ok'] else 'FAIL'} {f['what']}: {f['found']}" for f in findings),
    )
    if not all(finding["ok"] for finding in findings):
        warn("agora: a run would not start; see the lines marked FAIL")
        raise typer.Exit(3)
