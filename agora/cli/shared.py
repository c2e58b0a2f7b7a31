"""What all commands share: the home folder, printing facts, and faults as messages with exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import typer

from agora.domain.errors import AgoraError

JSON_FLAG = typer.Option("--json", help="Print the facts as one JSON object.")
RUN_ARGUMENT = typer.Argument(help="A run: its name under AGORA_HOME/runs, its folder, or `latest`.")


def home_path() -> Path:
    """`AGORA_HOME`, absolute; `~/.agora` unless set."""
    return Path(os.environ.get("AGORA_HOME") or "~/.agora").expanduser().resolve()


def environment() -> Mapping[str, str]:
    """The environment as it was at the start; nothing below the command line reads it."""
    return dict(os.environ)


def process_environment() -> MutableMapping[str, str]:
    """The environment itself, for a library that reads and is told through it."""
    return os.environ


def wants_json_logs() -> bool:
    """`JSON_LOGS=1`."""
    return os.environ.get("JSON_LOGS", "") not in ("", "0")


def say(text: str) -> None:
    """A line for the person, on standard output."""
    print(text)  # the command line is where printing belongs


def warn(text: str) -> None:
    """A line for the person, on standard error."""
    print(text, file=sys.stderr)


def show(facts: Any, *, is_json: bool, text: Callable[[], str]) -> None:
    """Facts as JSON for programs or as text for people."""
    say(json.dumps(facts, indent=2, ensure_ascii=False) if is_json else text())


def use_cache() -> None:
    """Point the compiler's cache into AGORA_HOME, before anything compiled is imported."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(home_path() / "cache" / "numba"))


def guarded(run: Callable[[], None]) -> None:
    """Run a command; what it raises on purpose becomes a message and an exit code."""
    try:
        run()
    except AgoraError as fault:
        warn(f"agora: {fault}")
        raise SystemExit(int(fault.exit_code)) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
