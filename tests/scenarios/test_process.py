"""Runs in processes of their own: killed, signalled, locked out, short of disk, with damaged journals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.scenarios.processes import ROOT, Running, agora, environment, only_run, report_of, write_market

# Bars of a second and a market played 60 times as fast: about seven seconds of real time, several trades.
RECORDED_S = 400
SPEED = "60"
TRADER = ("--trader", "ema_cross", "--interval", "1s", "--set", "risk.position_lots_max=1000")
PYTHONS = ("3.12", "3.13")
# Two hundred megabytes of wheels from the package index.
INSTALL_S = 240


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of two minutes."""
    path = tmp_path_factory.mktemp("market") / "market.parquet"
    write_market(path, seconds=RECORDED_S)
    return path


def recorded(market: Path, speed: str = SPEED) -> tuple[str, ...]:
    """Arguments of a run on the recording."""
    return ("--venue", "recorded", "--data", str(market), "--speed", speed, *TRADER)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, market: Path) -> Path:
    """The home of a run that has ended as planned, at full speed. Tests copy it before they touch anything."""
    home = tmp_path_factory.mktemp("finished")
    done = agora(home, "run", *recorded(market, "max"))
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished home."""
    home = tmp_path / "home"
    shutil.copytree(finished, home, symlinks=True)
    return home


def test_the_run_of_these_tests_trades(finished: Path) -> None:
    """Without trades, nothing below would prove anything."""
    report = report_of(only_run(finished))
    assert report["trades"] > 2
    assert report["flat"] is True


@pytest.mark.requirement("B5")
@pytest.mark.requirement("B35")
@pytest.mark.requirement("B15")
@pytest.mark.requirement("H4.1")
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_run_killed_five_times_goes_on_to_its_end(seed: int, market: Path, tmp_path: Path) -> None:
    """SIGKILL at seeded instants, `--resume` each time: in the end flat, verified, replayed, all data seen."""
    draw = random.Random(seed)
    run = Running(tmp_path, *recorded(market))
    for _ in range(5):
        run.wait_for('"feed.connected')
        run.watch(draw.random() * 0.9)
        run.kill()
        run = Running(tmp_path, "--resume")
    assert run.wait() == 0, run.said.decode()[-2_000:]
    folder = only_run(tmp_path)
    report = report_of(folder)
    assert (report["stopped_reason"], report["flat"]) == ("data_end", True)
    assert agora(tmp_path, "verify", "latest").returncode == 0
    again = agora(tmp_path, "replay", "latest")
    assert again.returncode == 0, again.stdout


@pytest.mark.requirement("B28")
@pytest.mark.requirement("H3.3")
@pytest.mark.parametrize("number,code,reason", [(signal.SIGINT, 130, "interrupt"), (signal.SIGTERM, 143, "terminate")])
def test_a_signal_ends_a_run_in_order(number: int, code: int, reason: str, market: Path, tmp_path: Path) -> None:
    """Cancelled, flat, reported, with the exit code of the signal."""
    run = Running(tmp_path, *recorded(market, "20"))
    run.wait_for('"order.filled')
    run.signal(number)
    assert run.wait() == code
    report = report_of(only_run(tmp_path))
    assert (report["stopped_reason"], report["exit_code"], report["flat"]) == (reason, code, True)
    assert agora(tmp_path, "verify", "latest").returncode == 0


@pytest.mark.requirement("H3.3")
def test_a_second_interrupt_ends_at_once(market: Path, tmp_path: Path) -> None:
    """With two seconds of order latency the first SIGINT is still waiting; the second ends it and says what is left."""
    slow = ("--set", "paper.latency_model=fixed", "--set", "paper.latency_ms_min=60000")
    run = Running(tmp_path, *recorded(market, "20"), *slow)
    run.wait_for('"order.sent') if b"order.sent" in run.said else run.wait_for('"orders":2')
    run.signal(signal.SIGINT)
    run.wait_for('"operator.command')
    run.signal(signal.SIGINT)
    assert run.wait(10) in (130, 6)
    assert report_of(only_run(tmp_path))["stopped_reason"] == "interrupt"


@pytest.mark.requirement("B28")
@pytest.mark.requirement("H3.2")
@pytest.mark.requirement("H3.1")
@pytest.mark.parametrize("place", ["home", "run"])
def test_a_kill_file_stops_a_run_and_keeps_it_stopped(place: str, market: Path, tmp_path: Path) -> None:
    """Exit 4 within a second, its text in the report; the next start is refused until `agora reset`."""
    run = Running(tmp_path, *recorded(market, "1"))
    run.wait_for('"feed.connected')
    folder = only_run(tmp_path)
    (tmp_path if place == "home" else folder).joinpath("kill.txt").write_text("the venue looks wrong")
    before_s = time.monotonic()
    run.wait_for('"operator.command', 5)
    assert time.monotonic() - before_s < 1.0
    assert run.wait() == 4
    report = report_of(folder)
    assert (report["stopped_reason"], report["exit_code"], report["flat"]) == ("kill", 4, True)
    journal = (folder / "events.jsonl").read_text()
    assert "the venue looks wrong" in journal
    assert agora(tmp_path, "run", *recorded(market, "max")).returncode == 3
    assert agora(tmp_path, "reset").returncode == 0
    assert agora(tmp_path, "run", *recorded(market, "max")).returncode == 0


def test_a_second_run_on_the_same_account_is_refused(market: Path, tmp_path: Path) -> None:
    """Exit 3 at once, naming the process that holds the account; the first run is not disturbed."""
    run = Running(tmp_path, *recorded(market, "20"))
    run.wait_for('"feed.connected')
    second = agora(tmp_path, "run", *recorded(market, "max"))
    assert second.returncode == 3
    assert "in use by another run" in second.stderr
    run.signal(signal.SIGINT)
    assert run.wait() == 130


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system needs root and mount")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode != 0:
        pytest.skip(f"no tmpfs here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_a_run_with_its_own_code(market: Path, small_disk: Path, tmp_path: Path) -> None:
    """The journal's file system fills up: exit 7, the cause named, what can be written is."""
    filler = small_disk / "filler"
    run = Running(tmp_path, *recorded(market, "20"), "--run-dir", str(small_disk / "run"))
    run.wait_for('"feed.connected')
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(65_536))
                file.flush()
        except OSError:
            pass
    assert run.wait() == 7, run.said.decode()[-2_000:]
    said = run.said.decode()
    assert "No space left" in said


DAMAGE = ["flipped", "deleted", "swapped"]


def unended(home: Path) -> Path:
    """A copy of the run as a crash would leave it: without its report, its last record and its checkpoints."""
    folder = only_run(home)
    for path in [*folder.glob("final_report*"), *folder.glob("checkpoint-*")]:
        path.unlink()
    return folder


def harm(path: Path, damage: str) -> None:
    """Damage in the middle of a journal."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = len(lines) // 2
    if damage == "deleted":
        del lines[at]
    elif damage == "swapped":
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    else:
        lines[at] = lines[at][:40] + bytes([lines[at][40] ^ 1]) + lines[at][41:]
    path.write_bytes(b"".join(lines))


@pytest.mark.requirement("H6.1")
@pytest.mark.parametrize("name", ["events.jsonl", "market.jsonl"])
@pytest.mark.requirement("B48")
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_in_the_middle_is_named_and_never_traded_on(name: str, damage: str, copied: Path) -> None:
    """`verify` exits 1 with the place; `run --resume` refuses with 3."""
    folder = unended(copied)
    harm(folder / name, damage)
    verdict = agora(copied, "verify", "latest")
    assert verdict.returncode == 1
    assert name in verdict.stdout + verdict.stderr
    refused = agora(copied, "run", "--resume")
    assert refused.returncode == 3, refused.stderr
    assert name in refused.stderr


@pytest.mark.requirement("H6.1")
@pytest.mark.requirement("H4.1")
@pytest.mark.parametrize("cut", [1, 150, 5_000])
def test_a_torn_tail_is_set_aside_and_the_run_goes_on(cut: int, copied: Path) -> None:
    """The last bytes of the journal are missing, as after a power cut: resumed, ended, verified, replayed."""
    folder = unended(copied)
    path = folder / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    done = agora(copied, "run", "--resume")
    assert done.returncode == 0, done.stderr
    assert agora(copied, "verify", "latest").returncode == 0
    assert agora(copied, "replay", "latest").returncode == 0


@pytest.mark.requirement("B24")
def test_replay_is_the_same_in_other_surroundings(copied: Path, tmp_path: Path) -> None:
    """Another hash seed, time zone, locale and working folder change no decision and no byte of the report."""
    for number, more in enumerate(
        [
            {"PYTHONHASHSEED": "1"},
            {"PYTHONHASHSEED": "2", "TZ": "Pacific/Kiritimati"},
            {"TZ": "America/St_Johns", "LC_ALL": "C"},
            {"LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
        ]
    ):
        folder = tmp_path / f"cwd{number}"
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "agora", "replay", "latest", "--json"],
            env=environment(copied, **more),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (more, done.stdout, done.stderr)
        assert json.loads(done.stdout)["identical"] is True


def _starts(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def python_of(version: str) -> Path:
    """An interpreter of that version with the locked dependencies, made once per checkout; skips without one."""
    folder = ROOT / "var" / f"venv-{version}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists():
        return python
    # A version that pyenv has but has not activated answers by its shim with an error, and by its own path.
    named = [shutil.which(f"python{version}"), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    works = (name for name in named if name and _starts(name))
    found = next(works, None)
    if found is None:
        pytest.skip(f"no python{version} on this machine")
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "-r"]
    for words in ([found, "-m", "venv", str(folder)], [*install, str(ROOT / "requirements.lock")]):
        made = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if made.returncode != 0:
            pytest.skip(f"the dependencies cannot be installed for python{version}: {made.stderr[-200:]}")
    complete.touch()
    return python


@pytest.mark.timeout(2 * INSTALL_S)
@pytest.mark.requirement("B24")
@pytest.mark.parametrize("version", PYTHONS)
def test_replay_is_the_same_under_another_python(version: str, copied: Path) -> None:
    """A journal of this Python replays under another minor version, report included."""
    done = agora(copied, "replay", "latest", python=str(python_of(version)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.requirement("B8", "B47")
def test_make_run_runs_and_then_verifies(tmp_path: Path) -> None:
    """One command: a run of that length to its end, then its verification; the environment is the present one."""
    words = ["make", "-C", str(ROOT), "run", "DURATION=0.1", "RUNTIME=", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(
        [*words, f"AGORA_HOME={tmp_path}"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert report_of(only_run(tmp_path))["status"] == "completed"
    assert "good: " in done.stdout


@pytest.mark.requirement("H5.1")
@pytest.mark.requirement("B19")
def test_json_logs_are_one_object_per_line(market: Path, tmp_path: Path) -> None:
    """With JSON_LOGS=1 each line on the terminal is an object, and the journal's records carry kind, seq and run."""
    run = Running(tmp_path, *recorded(market, "max"))
    assert run.wait() == 0
    lines = [line for line in run.said.decode().splitlines() if line]
    kinds = {json.loads(line).get("event", {}).get("kind") for line in lines if line.startswith("{")}
    assert {"run.started", "run.ended", "order.filled"} <= kinds
    folder = only_run(tmp_path)
    records = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert records[0]["run_id"] == folder.name
    assert all(later["seq"] > sooner["seq"] for sooner, later in pairwise(records))
    assert all({"kind", "seq", "ts_ns", "hash", "prev"} <= record.keys() for record in records)
