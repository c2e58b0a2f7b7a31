"""A disk in memory with the manners of a real one: what was not synced may be lost or torn by a crash.

Has the methods of `agora.journal.disk.Disk`. Bytes are safe after `sync`, names after `sync_folder`; a crash
keeps a seeded part of the rest. Failures happen at chosen operations; operations that change something count.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field


class Crashed(BaseException):
    """The machine stopped here. Not an Exception, so no handling of faults can survive it."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong, from the given operation on (counted from 1; 0: never)."""

    crash_at: int = 0
    full_from: int = 0
    sync_fails_from: int = 0
    short_writes_seed: int | None = None


@dataclass
class File:
    """Bytes as the running system sees them, and those that survive for certain."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class SimDisk:
    """One folder of files; `crash` gives the disk that the next start finds.

    `on_death` is called when the machine stops, before anyone learns of it; `on_sync` with a file's name and its
    bytes that have become durable.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self.operations = 0
        self.syncs: list[str] = []
        self.on_death: Callable[[], None] | None = None
        self.on_sync: Callable[[str, bytes], None] | None = None
        self._faults = faults or Faults()
        seed = self._faults.short_writes_seed
        self._shortener = None if seed is None else _drawing(seed)
        self._files: dict[str, File] = {}
        self._durable_files: dict[str, File] = {}
        self._unsynced_names: list[dict[str, File | None]] = []

    def crash(self, seed: int) -> SimDisk:
        """What is left: all that was synced, and of the rest what the seed says. This disk stays as it is."""
        draw = _drawing(seed)
        files = dict(self._durable_files)
        for change in self._unsynced_names[: draw.randint(0, len(self._unsynced_names))]:
            _apply(files, change)
        survivor = SimDisk()
        for name, file in sorted(files.items()):
            kept = _torn(file, draw)
            survivor._files[name] = survivor._durable_files[name] = File(bytearray(kept), kept)
        return survivor

    def with_faults(self, faults: Faults) -> SimDisk:
        """The same content on a disk that fails in another way; everything is durable."""
        other = SimDisk(faults)
        for name, file in self._files.items():
            content = bytes(file.content)
            other._files[name] = other._durable_files[name] = File(bytearray(content), content)
        return other

    def die(self) -> None:
        """The machine stops now: from here on every operation raises `Crashed`."""
        self._faults = Faults(crash_at=1)
        self.operations += 1

    def durable(self, name: str) -> bytes:
        """The bytes of a file that survive any crash; empty when its name is not safe yet."""
        file = self._durable_files.get(name)
        return b"" if file is None else file.durable

    def damage(self, name: str, content: bytes) -> None:
        """Put any bytes into a file, as a failing medium or a stranger would."""
        self._files[name] = self._durable_files[name] = File(bytearray(content), content)

    def make_folder(self) -> None:
        """The folder is always there."""

    def write(self, name: str, content: memoryview) -> int:
        """Append; a full disk takes half of one last write and then refuses."""
        self._count()
        taken = len(content)
        if self._faults.full_from and self.operations >= self._faults.full_from:
            taken = taken // 2 if self.operations == self._faults.full_from else 0
            if taken == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        if self._shortener is not None:
            taken = self._shortener.randint(1, taken)
        if name not in self._files:
            self._rename_now({name: File()})
        self._files[name].content += content[:taken]
        return taken

    def sync(self, name: str) -> None:
        """Make a file's bytes durable, but not its name."""
        self._count()
        self._fail_sync(name)
        if name not in self._files:
            self._rename_now({name: File()})
        file = self._files[name]
        before = len(file.durable)
        file.durable = bytes(file.content)
        self.syncs.append(name)
        if self.on_sync is not None:
            self.on_sync(name, file.durable[before:])

    def sync_folder(self) -> None:
        """Make all names durable."""
        self._count()
        self._fail_sync("folder")
        self._durable_files = dict(self._files)
        self._unsynced_names = []
        self.syncs.append(".")

    def read(self, name: str, *, size_max: int = -1, offset: int = 0) -> bytes:
        """The bytes as the running system sees them."""
        content = bytes(self._file(name).content[offset:])
        return content if size_max < 0 else content[:size_max]

    def rename(self, source: str, target: str) -> None:
        """Move in one step, durable only with the folder."""
        self._count()
        self._rename_now({target: self._file(source), source: None})

    def truncate(self, name: str, size_bytes: int) -> None:
        """Cut, durably."""
        self._count()
        file = self._file(name)
        del file.content[size_bytes:]
        file.durable = bytes(file.content)

    def delete(self, name: str) -> None:
        """Remove a name, durable only with the folder."""
        self._count()
        self._file(name)
        self._rename_now({name: None})

    def names(self) -> list[str]:
        """All files, sorted."""
        self._refuse_the_dead()
        return sorted(self._files)

    def size(self, name: str) -> int:
        """Bytes in the file."""
        return len(self._file(name).content)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        self._refuse_the_dead()
        return name in self._files

    def free_bytes(self) -> int:
        """Plenty, until the disk is full."""
        is_full = self._faults.full_from and self.operations >= self._faults.full_from
        return 0 if is_full else 1 << 40

    def close(self) -> None:
        """Nothing is held open."""

    def _count(self) -> None:
        self.operations += 1
        self._refuse_the_dead()

    def _refuse_the_dead(self) -> None:
        if self._faults.crash_at and self.operations >= self._faults.crash_at:
            if self.on_death is not None:
                self.on_death()
            raise Crashed(f"at operation {self._faults.crash_at}")

    def _fail_sync(self, name: str) -> None:
        if self._faults.sync_fails_from and self.operations >= self._faults.sync_fails_from:
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)

    def _file(self, name: str) -> File:
        self._refuse_the_dead()
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._files[name]

    def _rename_now(self, change: dict[str, File | None]) -> None:
        _apply(self._files, change)
        self._unsynced_names.append(change)


def _drawing(seed: int) -> random.Random:
    return random.Random(seed)


def _apply(files: dict[str, File], change: dict[str, File | None]) -> None:
    for name, file in change.items():
        if file is None:
            files.pop(name, None)
        else:
            files[name] = file


def _torn(file: File, draw: random.Random) -> bytes:
    """The durable bytes, some of the unsynced ones, and sometimes zeros in place of some of the rest."""
    unsynced = bytes(file.content[len(file.durable) :])
    kept = unsynced[: draw.randint(0, len(unsynced))]
    lost_bytes = len(unsynced) - len(kept)
    zeros = bytes(draw.randint(0, lost_bytes)) if draw.random() < 1 / 4 else b""
    return file.durable + kept + zeros
