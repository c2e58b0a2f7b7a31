"""The folder of a run and the files around it: names, locks, latches, kill files. Knows no decisions."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import msgspec

from agora.domain.errors import StartFault, UsageFault

KILL_FILE = "kill.txt"
LOCK_FILE = "lock"
CONFIG_FILE = "config.json"
COMMAND_FILE = "command.json"
# A kill file's text becomes the reason in the report; more than this is not a reason.
REASON_CHARS_MAX = 500


class Latch(msgspec.Struct, frozen=True):
    """A breaker or kill that keeps an account closed until an operator resets it."""

    account: str
    run_id: str
    breaker: str
    value: str
    limit: str


class Home:
    """`AGORA_HOME`: runs, cache, kill file, latches. Always absolute, so that no working directory matters."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.runs = self.path / "runs"
        self.cache = self.path / "cache"
        self.kill_file = self.path / KILL_FILE

    def prepare(self) -> None:
        """Create what is missing, for this user only."""
        for folder in (self.path, self.runs, self.cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def run_folder(self, name: str) -> Path:
        """The folder of a run by its name, a path, or `latest`; raises `UsageFault` naming what there is."""
        as_path = Path(name)
        if as_path.is_dir() and (as_path / CONFIG_FILE).exists():
            return as_path.resolve()
        if os.sep not in name and name not in ("", ".", ".."):
            folder = self.runs / name
            if (folder / CONFIG_FILE).is_file():
                return folder.resolve()
        known = ", ".join(self.run_names()[-5:]) or "none yet"
        raise UsageFault(f"no run {name!r} in {self.runs} (newest: {known})")

    def run_names(self) -> list[str]:
        """Names of all runs, oldest first."""
        if not self.runs.is_dir():
            return []
        return sorted(path.name for path in self.runs.iterdir() if path.is_dir() and not path.is_symlink())

    def point_latest(self, folder: Path) -> None:
        """Let `runs/latest` point at the newest run."""
        link, fresh = self.runs / "latest", self.runs / f".latest-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name if folder.parent == self.runs else folder)
        fresh.replace(link)

    def point_newest(self) -> None:
        """Let it point at the newest run that there is, or at nothing."""
        names = self.run_names()
        if names:
            self.point_latest(self.runs / names[-1])
        else:
            (self.runs / "latest").unlink(missing_ok=True)

    def _latch_path(self, account: str) -> Path:
        return self.path / f"tripped-{account}.json"

    def latch(self, latch: Latch) -> None:
        """Remember a trip beyond this run."""
        write_private(self._latch_path(latch.account), msgspec.json.encode(latch))

    def latched(self, account: str) -> Latch | None:
        """What keeps an account closed, if anything."""
        path = self._latch_path(account)
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Latch)
        except msgspec.MsgspecError:
            return Latch(account, "?", "unreadable", str(path), "")

    def latches(self) -> list[Latch]:
        """Everything that is closed."""
        accounts = (path.name[len("tripped-") : -len(".json")] for path in sorted(self.path.glob("tripped-*.json")))
        return [latch for account in accounts if (latch := self.latched(account)) is not None]

    def reset(self, account: str | None = None) -> list[Latch]:
        """Open again: remove latches (all, or one account's) and the kill file; returns what was closed."""
        opened = [latch for latch in self.latches() if account in (None, latch.account)]
        for latch in opened:
            self._latch_path(latch.account).unlink(missing_ok=True)
        self.kill_file.unlink(missing_ok=True)
        return opened


class Lock:
    """An exclusive lock on a file, held for as long as this object lives; never waits."""

    def __init__(self, path: Path, what: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise StartFault(f"{what} is in use by another run (process {owner or 'unknown'})") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in."""
        os.close(self._file)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock of that file."""
    if not path.exists():
        return False
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def write_private(path: Path, content: bytes) -> None:
    """Replace a file durably and atomically, readable by its owner only."""
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)
    fresh.replace(path)


def command_of(folder: Path) -> str:
    """Which command a run folder belongs to, `run` or `market`; raises `UsageFault` when it cannot be read."""
    stored = read_json(folder / CONFIG_FILE)
    return str(stored.get("command", "run")) if isinstance(stored, dict) else "run"


def read_json(path: Path) -> Any:
    """A JSON file; raises `UsageFault` naming it when it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as fault:
        raise UsageFault(f"cannot read {path}: {fault}") from None
