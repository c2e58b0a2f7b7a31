"""The command line itself: help, exit codes, messages, names of runs, and what a command may not load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agora import __version__
from agora.session.controls import CommandFile
from agora.session.folder import COMMAND_FILE, KILL_FILE, LOCK_FILE, Home, Latch, Lock, read_json
from tests.cli.commands import call, stored_run
from tools.docs import FLAG_SETTINGS, commands

COMMANDS = dict(commands())
READERS = ("status", "watch", "verify", "replay", "report", "stop", "kill", "flatten", "reset", "runs archive")


@pytest.mark.requirement("B70")
@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_with_an_example_that_calls_it(home: Path, path: str) -> None:
    """`--help` ends with 0 and shows what the command is for, each flag with a meaning, and an example."""
    said = call(home, [*path.split()[1:], "--help"])
    assert said.code == 0
    assert f"Example: {path}" in said.out
    assert COMMANDS[path].help
    assert all(parameter.help for parameter in COMMANDS[path].params)
    assert not home.exists()


def test_both_ways_to_call_it_say_the_same_version() -> None:
    """`agora` and `python -m agora` are one program."""
    scripts = Path(sys.executable).parent
    said = [
        subprocess.run([*words, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
        for words in ([str(scripts / "agora")], [sys.executable, "-m", "agora"])
    ]
    assert said == [f"agora {__version__}\n"] * 2


@pytest.mark.parametrize("command", READERS)
def test_an_unknown_run_is_a_usage_fault_that_names_what_there_is(home: Path, command: str) -> None:
    """Exit code 2; the message has the name, the folder that was looked in and the newest runs."""
    stored_run(home, "20260101T000000Z-local-trend-aa")
    said = call(home, [*command.split(), "nosuch"])
    assert said.code == 2
    assert "'nosuch'" in said.err
    assert str(home / "runs") in said.err
    assert "20260101T000000Z-local-trend-aa" in said.err


@pytest.mark.requirement("B54")
@pytest.mark.parametrize("name", ["..", ".", "../outside", "../a", "a/../../outside", "\x00"])
@pytest.mark.parametrize("command", ["status", "runs archive", "stop"])
def test_a_name_that_leads_out_of_the_runs_folder_is_refused(home: Path, command: str, name: str) -> None:
    """Only a run's name, or a folder that is a run, is accepted; the file outside is neither shown nor touched."""
    stored_run(home, "a")
    outside = home / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    said = call(home, [*command.split(), name])
    assert said.code == 2
    assert said.err.startswith("no run ")
    assert "s3cret" not in said.out + said.err
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


@pytest.mark.requirement("B54")
@pytest.mark.parametrize(
    "words, message",
    [
        (["--symbol", "../../etc/passwd"], "etc/passwd"),
        (["--symbol", "BTC USDT"], "BTC USDT"),
        (["--interval", "7m"], "run.interval"),
        (["--venue", "../x"], "run.venue"),
        (["--trader", "../x"], "../x"),
        (["--seed", "-1"], "run.seed"),
        (["--duration", "-1"], "run.duration_minutes"),
        (["--duration", "nan"], "run.duration_minutes"),
        (["--speed", "0"], "run.speed"),
        (["--venue", "recorded", "--data", "/nonexistent"], "/nonexistent"),
        (["--venue", "local", "--data", "x.csv"], "--venue recorded"),
        (["--venue", "recorded"], "--data"),
        (["--set", "leverage=3"], "section.key=value"),
        (["--set", "risk.leverage_max"], "section.key=value"),
        (["--set", "risk.nosuch=1"], "unknown key"),
        (["--set", "nosuch.key=1"], "no such section"),
        (["--set", "risk.leverage_max=many"], "risk.leverage_max"),
        (["--venue", "local", "--mode", "live"], "run.mode"),
        (["surplus"], "surplus"),
    ],
)
def test_a_run_that_cannot_be_meant_does_not_start(home: Path, words: list[str], message: str) -> None:
    """Exit code 2, a message that names the fault, and no run folder."""
    said = call(home, ["run", "--duration", "0.01", *words])
    assert said.code == 2
    assert message in said.err
    assert Home(home).run_names() == []


def test_flags_that_are_short_for_a_setting_name_one_that_exists(home: Path) -> None:
    """The manual's column of settings is right for every flag of `run` and `backtest`."""
    keys = call(home, ["config", "show", "--json"]).facts.keys()
    flags = {name for path in ("agora run", "agora backtest") for item in COMMANDS[path].params for name in item.opts}
    assert FLAG_SETTINGS.keys() <= flags
    assert set(FLAG_SETTINGS.values()) <= keys


@pytest.mark.requirement("B28")
@pytest.mark.parametrize("command", ["stop", "kill", "flatten", "reset"])
def test_steering_leaves_the_command_and_its_reason_for_a_live_run(home: Path, command: str) -> None:
    """The run reads the file; it is whole and private."""
    folder = stored_run(home, "a")
    lock = Lock(folder / LOCK_FILE, "run")
    said = call(home, [command, "a", "--reason", "looks wrong"])
    lock.release()
    assert said.code == 0
    left = folder / COMMAND_FILE
    assert read_json(left) == {"command": command, "reason": "looks wrong"}
    assert CommandFile(**read_json(left)).command == command
    assert left.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("command", ["stop", "kill", "flatten"])
def test_steering_a_run_that_is_not_running_says_so(home: Path, command: str) -> None:
    """Exit code 2 instead of a file that nobody reads."""
    folder = stored_run(home, "a")
    said = call(home, [command, "a"])
    assert said.code == 2
    assert "is not running" in said.err
    assert not (folder / COMMAND_FILE).exists()


@pytest.mark.requirement("B11")
@pytest.mark.requirement("H3.2")
def test_a_start_is_refused_until_the_kill_file_and_the_breaker_are_reset(home: Path) -> None:
    """Exit code 3 with the cause and the way out; `agora reset` opens both, and says what it opened."""
    Home(home).prepare()
    (home / KILL_FILE).write_text("enough")
    start = ["run", "--venue", "local", "--duration", "0.01"]
    said = call(home, start)
    assert (said.code, str(home / KILL_FILE) in said.err, "agora reset" in said.err) == (3, True, True)
    assert call(home, ["doctor"]).code == 3
    (home / KILL_FILE).unlink()
    Home(home).latch(Latch("paper-local", "run-1", "max_loss", "600.00", "500.00"))
    said = call(home, start)
    assert said.code == 3
    assert all(words in said.err for words in ("max_loss", "run-1", "600.00", "500.00", "agora reset"))
    assert call(home, ["doctor"]).code == 3
    (home / KILL_FILE).write_text("enough")
    assert "paper-local: max_loss of run-1" in call(home, ["reset"]).out
    assert not (home / KILL_FILE).exists()
    assert call(home, ["doctor"]).code == 0
    assert Home(home).run_names() == []


def test_doctor_says_what_would_keep_a_run_from_starting(home: Path) -> None:
    """Every finding has a name, a verdict and what was found; nothing is created by looking."""
    findings = call(home, ["doctor", "--json"]).facts
    assert {"Python", "AGORA_HOME", "disk", "compile cache", "kill file", "breakers"} <= {f["what"] for f in findings}
    assert all(finding["ok"] and finding["found"] for finding in findings)
    assert not home.exists()


def test_a_fault_is_a_message_and_a_code_not_a_stack_trace(home: Path) -> None:
    """The real entry point: one line on standard error, nothing on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "agora", "status", "nosuch"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AGORA_HOME": str(home)},
        timeout=60,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"agora: no run 'nosuch' in .*\n", done.stderr)
    assert done.stdout == ""


HEAVY = ("numba", "llvmlite", "litellm", "plotly")
LIGHT = ["--help", "status a", "status a --json", "watch a", "runs list", "runs clean --older-than 9", "doctor"]
# The settings stand beside the code that uses them, and that code stands on the kernels.
LIGHT_CONFIG = ["config show", "config check", "config schema", "config init"]


def _loaded(home: Path, words: str) -> set[str]:
    """The heavy libraries that a command has imported when it is done."""
    script = (
        "import sys\nfrom agora.cli.app import app\n"
        f"try:\n    app({words.split()!r})\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        f"print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    environment = {**os.environ, "AGORA_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("words", LIGHT)
def test_a_command_that_only_looks_loads_nothing_heavy(home: Path, words: str) -> None:
    """No compiler and no plots are imported, so that the answer comes at once."""
    stored_run(home, "a")
    assert _loaded(home, words) == set()


@pytest.mark.parametrize("words", LIGHT_CONFIG)
def test_a_command_about_settings_loads_no_compiler(home: Path, words: str) -> None:
    """Checking a file of settings compiles nothing and loads no compiler."""
    assert _loaded(home, words) == set()
