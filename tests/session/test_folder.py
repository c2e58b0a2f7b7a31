"""Folders, locks and latches: who may run, where a run is found, and what stays closed."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agora.domain.errors import StartFault, UsageFault
from agora.session.folder import CONFIG_FILE, Home, Latch, Lock, is_locked, read_json, write_private

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys; from pathlib import Path; from agora.session.folder import Lock;"
    "lock = Lock(Path(sys.argv[1]), 'the account'); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A prepared home."""
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def stored(home: Home, name: str) -> Path:
    """A run folder as a run makes it."""
    folder = home.runs / name
    folder.mkdir()
    (folder / CONFIG_FILE).write_text("{}")
    return folder


def test_a_lock_is_exclusive_across_processes(tmp_path: Path) -> None:
    """While another process holds it a second is refused at once, naming that process; its death frees it."""
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(StartFault, match=rf"the account is in use by another run \(process {other.pid}\)"):
            Lock(path, "the account")
        other.kill()
        other.wait()
    assert not is_locked(path)
    Lock(path, "the account").release()


def test_a_lock_is_exclusive_inside_a_process_too(tmp_path: Path) -> None:
    """Two runs of one program do not share an account; releasing it lets the next in."""
    path = tmp_path / "lock"
    first = Lock(path, "the folder")
    with pytest.raises(StartFault, match="the folder"):
        Lock(path, "the folder")
    first.release()
    Lock(path, "the folder").release()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_asking_whether_something_is_locked_takes_no_lock(tmp_path: Path) -> None:
    """Looking twice, and at a file that is not there, changes nothing."""
    assert not is_locked(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    path = tmp_path / "lock"
    Lock(path, "x").release()
    assert not is_locked(path)
    Lock(path, "x").release()


def test_a_home_is_for_its_owner_only(home: Home) -> None:
    """Folders 0700, whatever the working directory; preparing twice harms nothing."""
    home.prepare()
    assert home.path.is_absolute()
    for folder in (home.path, home.runs, home.cache):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.requirement("B54")
@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "../../etc", "/etc", "a/b", "none", "\0", "latest/.."])
def test_a_run_is_not_found_outside_its_place(home: Home, name: str) -> None:
    """Names that lead elsewhere, and names of nothing, are refused with the newest runs."""
    stored(home, "20260101T000000Z-local-trend-1")
    with pytest.raises(UsageFault, match="20260101T000000Z-local-trend-1"):
        home.run_folder(name)


def test_a_run_is_found_by_name_by_path_and_as_the_newest(home: Home, tmp_path: Path) -> None:
    """A path works for any folder that a run has made, `latest` for the one pointed at last."""
    first, second = stored(home, "1-a"), stored(home, "2-b")
    home.point_latest(first)
    home.point_latest(second)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / CONFIG_FILE).write_text("{}")
    assert home.run_folder("1-a") == first
    assert home.run_folder("latest") == second
    assert home.run_folder(str(elsewhere)) == elsewhere
    home.point_latest(elsewhere)
    assert home.run_folder("latest") == elsewhere
    assert home.run_names() == ["1-a", "2-b"]


def test_a_home_without_runs_says_so(home: Home) -> None:
    """Also before its folders exist."""
    with pytest.raises(UsageFault, match="none yet"):
        home.run_folder("latest")
    assert Home(home.path / "nowhere").run_names() == []


@pytest.mark.requirement("H3.1")
@pytest.mark.requirement("B11")
def test_a_latch_stays_until_it_is_reset(home: Home) -> None:
    """Another object, another process: the trip is there with its figures; a reset names what it opened."""
    latch = Latch("paper-local", "run-1", "max_loss", "600.00", "500.00")
    home.latch(latch)
    again = Home(home.path)
    assert again.latched("paper-local") == latch
    assert again.latched("paper-recorded") is None
    assert again.latches() == [latch]
    assert again.reset("paper-recorded") == []
    assert again.reset() == [latch]
    assert again.latched("paper-local") is None
    assert again.reset() == []


@pytest.mark.requirement("H3.1")
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b'{"account":1}', b"[]"])
def test_a_latch_that_cannot_be_read_is_a_latch(home: Home, content: bytes) -> None:
    """Damage does not open an account."""
    home.latch(Latch("a", "r", "kill", "", ""))
    (home.path / "tripped-a.json").write_bytes(content)
    found = home.latched("a")
    assert found is not None
    assert found.breaker == "unreadable"
    assert [latch.account for latch in home.reset()] == ["a"]
    assert home.latched("a") is None


def test_a_reset_removes_the_kill_file_of_all_runs(home: Home) -> None:
    """Otherwise no run could start."""
    home.kill_file.write_text("stop")
    home.reset()
    assert not home.kill_file.exists()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    """Readable by its owner only, the old content gone, nothing left beside it."""
    path = tmp_path / "facts.json"
    path.write_text("old and longer")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Missing and broken files are usage faults with their path."""
    path = tmp_path / "facts.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageFault, match=r"facts\.json"):
        read_json(path)
