"""`agora run --venue testnet`: a venue of its own beside the run, over real sockets, gone with the run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from agora.session.folder import Home
from tests.cli.commands import call
from tests.scenarios.processes import ROOT, Running, agora, environment, only_run, report_of

SHORT = ("--venue", "testnet", "--interval", "1s")


def own_process(folder: Path) -> dict[str, Any]:
    """Which process the testnet of a run is."""
    process: dict[str, Any] = json.loads((folder / "testnet.json").read_bytes())["process"]
    return process


def is_living(process: dict[str, Any]) -> bool:
    """Whether that process is still there."""
    return psutil.pid_exists(process["pid"]) and psutil.Process(process["pid"]).status() != psutil.STATUS_ZOMBIE


@pytest.mark.requirement("B51")
def test_a_run_brings_its_venue_trades_there_and_takes_it_along(home: Path) -> None:
    """Live on an account of that venue, flat at the end, recorded and replayable; the venue ends with the run."""
    done = agora(home, "run", *SHORT, "--duration", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["venue"], report["mode"], report["flat"], report["exit_code"]) == ("testnet", "live", True, 0)
    assert report["decisions"] > 0
    folder = only_run(home)
    said = json.loads((folder / "testnet.json").read_bytes())
    assert said["venue"] == "bitunix"
    assert report["equity_start"] == said["accounts"][0]["balances"]["USDT"]
    assert (folder / "testnet.json").stat().st_mode & 0o777 == 0o600
    assert not is_living(said["process"])
    assert call(home, ["verify"]).code == 0
    assert call(home, ["replay"]).code == 0


def test_an_interrupt_ends_the_run_flat_and_the_venue_after_it(home: Path) -> None:
    """Ctrl+C reaches the run alone, which closes its positions at the venue; exit code 130."""
    run = Running(home, *SHORT, "--duration", "5", "--trader", "ema_cross")
    run.wait_for("feed.connected")
    process = own_process(only_run(home))
    run.signal(signal.SIGINT)
    assert run.wait() == 130
    report = report_of(only_run(home))
    assert (report["flat"], report["stopped_reason"]) == (True, "interrupt")
    assert not is_living(process)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_run_has_begun_leaves_nobody_behind(home: Path, number: int, code: int) -> None:
    """While its venue is coming up there is nothing to close but that."""
    run = Running(home, *SHORT)
    run.wait_for("starting a testnet")
    run.signal(number)
    assert run.wait() == code
    assert [each.pid for each in psutil.process_iter() if is_of(each, home)] == []
    assert Home(home).run_names() == []


def is_of(process: psutil.Process, home: Path) -> bool:
    """Whether a process works for that home."""
    try:
        return process.environ().get("AGORA_HOME") == str(home)
    except psutil.Error:
        return False


@pytest.mark.requirement("B5")
def test_a_killed_run_finds_its_venue_again(home: Path) -> None:
    """The venue lives on, with the account; the resumed run takes both over and ends both."""
    run = Running(home, *SHORT, "--duration", "0.1", "--trader", "ema_cross")
    run.wait_for("feed.connected")
    run.kill()
    folder = only_run(home)
    process = own_process(folder)
    assert is_living(process)
    done = agora(home, "run", "--resume", "--quiet")
    assert done.returncode == 0, done.stderr
    assert report_of(folder)["flat"]
    assert not is_living(process)
    assert call(home, ["verify"]).code == 0


def test_a_run_whose_venue_is_gone_cannot_go_on(home: Path) -> None:
    """Exit code 3 with the process that is missing; what the journal has can still be reported."""
    run = Running(home, *SHORT, "--duration", "5")
    run.wait_for("feed.connected")
    run.kill()
    process = own_process(only_run(home))
    os.kill(process["pid"], signal.SIGKILL)
    done = agora(home, "run", "--resume")
    assert done.returncode == 3
    assert str(process["pid"]) in done.stderr
    assert "agora report" in done.stderr
    assert agora(home, "report").returncode == 0


def test_a_kill_closes_the_account_of_the_next_testnet_too(home: Path) -> None:
    """A new testnet has a new account, but somebody wanted to look before anything trades again."""
    run = Running(home, *SHORT, "--duration", "5")
    run.wait_for("feed.connected")
    second = agora(home, "run", *SHORT)
    assert (second.returncode, "in use by another run" in second.stderr) == (3, True)
    assert call(home, ["kill", "--reason", "looks wrong"]).code == 0
    assert run.wait() == 4
    again = agora(home, "run", *SHORT)
    assert (again.returncode, "agora reset" in again.stderr) == (3, True)
    assert call(home, ["reset"]).code == 0
    assert Home(home).latches() == []


def test_faults_are_for_the_venue_that_the_run_starts(home: Path, tmp_path: Path) -> None:
    """A plan that it does not know keeps the run from starting, with the plan's own fault."""
    plan = tmp_path / "plan.json"
    plan.write_text('[{"at_s": 0, "fault": "earthquake"}]')
    done = agora(home, "run", *SHORT, "--faults", str(plan))
    assert done.returncode == 2
    assert "earthquake" in done.stderr
    assert Home(home).run_names() == []


SECRETS = {"AGORA_BITUNIX__API_KEY": "canary-key-7f3a", "AGORA_BITUNIX__API_SECRET": "canary-secret-91bc"}


def looked_at(pid: int) -> str:
    """What anyone can read of a process and its children: command lines, and of the children the environment too."""
    seen: list[str] = []
    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        process = psutil.Process(pid)
        seen += process.cmdline()
        for child in process.children(recursive=True):
            seen += [*child.cmdline(), *child.environ().values()]
    return " ".join(seen)


def everything_in(folder: Path) -> str:
    """The content of all files below a folder."""
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())


def in_files(secrets: dict[str, str], folder: Path) -> dict[str, str]:
    """The variables that name a private file for each secret."""
    for name, text in secrets.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return {f"{name}_FILE": str(folder / name) for name in secrets}


@pytest.mark.requirement("B53")
@pytest.mark.parametrize("slot", ["variable", "file"])
def test_secrets_are_nowhere_but_where_they_were_put(home: Path, tmp_path: Path, slot: str) -> None:
    """Neither in the run's files, what it prints and shows, nor on the command line of it or of its venue."""
    given = SECRETS if slot == "variable" else in_files(SECRETS, tmp_path)
    said = ""
    venue = subprocess.Popen(
        [sys.executable, "-m", "agora", "testnet", "bitunix"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert venue.stdout is not None
    line = venue.stdout.readline()
    try:
        place = tmp_path / "said.json"
        place.write_bytes(line)
        for words in (
            ["run", *SHORT, "--duration", "0.05"],
            ["run", "--testnet", str(place), "--venue", "testnet", "--duration", "0.05"],
            ["doctor", "--testnet", str(place)],
            ["run", "--venue", "bitunix", "--mode", "live"],
            ["config", "show"],
        ):
            run = subprocess.Popen(
                [sys.executable, "-m", "agora", *words],
                env=environment(home, **given),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
            said += seen_while_it_runs(run)
    finally:
        venue.terminate()
        venue.wait(timeout=20)
        venue.stdout.close()
    shown = said + everything_in(home)
    assert "canary" not in shown
    assert "testnet" in shown


def seen_while_it_runs(run: subprocess.Popen[bytes]) -> str:
    """What a process says, and what can be seen of it meanwhile."""
    with run:
        assert run.stdout is not None
        return "".join(said.decode() + looked_at(run.pid) for said in run.stdout)


@pytest.mark.slow
@pytest.mark.requirement("B7")
def test_the_defaults_trade_on_the_venue_that_a_run_brings(home: Path) -> None:
    """`agora run` as a newcomer starts it, in faster time: orders at the venue, nothing rejected or in doubt, flat."""
    done = agora(home, "run", "--duration", "5", "--speed", "10", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["venue"], report["mode"], report["stopped_reason"]) == ("testnet", "live", "duration")
    assert report["orders"]["accepted"] > 0
    assert (report["orders"]["unknown_now"], report["flat"]) == (0, True)
    assert call(home, ["verify"]).code == 0
