"""Run folders over time: list them, delete old ones, pack one up, bring it back. Never a running one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agora.cli.archive import pack, unpack
from agora.cli.glance import RUNNING, state_of
from agora.domain.errors import StartFault, UsageFault
from agora.domain.numbers import NS_PER_S
from agora.session.clock import PacedClock
from agora.session.folder import CONFIG_FILE, LOCK_FILE, Home, Lock, is_locked

NS_PER_DAY = 86_400 * NS_PER_S


def list_runs(home_path: Path) -> list[dict[str, Any]]:
    """All runs under AGORA_HOME, oldest first: name, state and size on disk."""
    return [
        {"run": folder.name, "state": state_of(folder), "size_mb": round(_size_bytes(folder) / 1e6, 1)}
        for folder in _run_folders(Home(home_path))
    ]


def clean_runs(home_path: Path, *, older_than_days: float, is_dry: bool, now_ns: int | None = None) -> list[str]:
    """Delete (or, dry, name) runs whose newest file is older; a running one is never touched.

    `now_ns` is Unix time, by default that of the system clock.
    """
    if not older_than_days >= 0:
        raise UsageFault(f"--older-than {older_than_days}: a number of days from 0 up")
    home = Home(home_path)
    oldest_kept_ns = (PacedClock().wall_ns() if now_ns is None else now_ns) - older_than_days * NS_PER_DAY
    names = []
    for folder in _run_folders(home):
        if state_of(folder) == RUNNING or _newest_ns(folder) >= oldest_kept_ns:
            continue
        if is_dry or _delete(folder):
            names.append(folder.name)
    if names and not is_dry:
        _repair_latest(home)
    return names


def archive_run(folder: Path, out: Path, *, is_dry: bool) -> dict[str, Any]:
    """Pack a run that is not running into `out` with a manifest of hashes; overwrites nothing."""
    if not (folder / CONFIG_FILE).is_file():
        raise UsageFault(f"{folder} is not the folder of a run (no {CONFIG_FILE})")
    target = out.expanduser().absolute()
    if target.exists() or target.is_symlink():
        raise UsageFault(f"{target} exists; name another file with --out")
    if not target.parent.is_dir():
        raise UsageFault(f"{target.parent} is not a folder")
    if target.parent.resolve().is_relative_to(folder.resolve()):
        raise UsageFault(f"{target} would lie inside the run it packs")
    with _held(folder):
        return pack(folder, target, is_dry=is_dry)


def restore_run(home_path: Path, archive: Path, *, is_dry: bool) -> dict[str, Any]:
    """Unpack an archive into AGORA_HOME/runs; it appears there complete and checked, or not at all."""
    home = Home(home_path)
    if not is_dry:
        home.prepare()
    return unpack(archive, home.path, runs=home.runs, is_dry=is_dry)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a run from being started meanwhile; raises `UsageFault` when it is running."""
    if is_locked(folder / LOCK_FILE):
        raise UsageFault(f"run {folder.name} is running; `agora stop {folder.name}` ends it in order")
    try:
        lock = Lock(folder / LOCK_FILE, f"run folder {folder}")
    except StartFault as fault:
        raise UsageFault(str(fault)) from None
    try:
        yield
    finally:
        lock.release()


def _run_folders(home: Home) -> Iterator[Path]:
    """Folders that are runs; anything else below `runs` is somebody's own and left alone."""
    for name in home.run_names():
        folder = home.runs / name
        if (folder / CONFIG_FILE).is_file():
            yield folder


def _files(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a live run seals and drops segments
                yield (Path(parent) / name).lstat()


def _size_bytes(folder: Path) -> int:
    return sum(found.st_size for found in _files(folder))


def _newest_ns(folder: Path) -> int:
    return max((found.st_mtime_ns for found in _files(folder)), default=0)


def _delete(folder: Path) -> bool:
    """Delete a run; False when somebody has started it in the last moment."""
    with contextlib.suppress(UsageFault), _held(folder):
        shutil.rmtree(folder)
        return True
    return False


def _repair_latest(home: Home) -> None:
    """`latest` points at the newest run that is left, or is gone with the last one."""
    link = home.runs / "latest"
    if link.exists() or not link.is_symlink():
        return
    link.unlink()
    newest = max(_run_folders(home), default=None, key=lambda folder: folder.name)
    if newest is not None:
        home.point_latest(newest)
