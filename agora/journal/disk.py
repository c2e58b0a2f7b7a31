"""The few operations of the operating system a journal needs, rooted at one folder.

Everything in this package goes through these methods, so that a simulated disk can lose, tear and refuse what
a real one would. It knows nothing of records. Faults are the system's `OSError`; `disk_faults` names them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agora.domain.errors import JournalFault

# The record of a run shows positions and orders: nobody but its owner may read it.
FOLDER_MODE = 0o700
FILE_MODE = 0o600

# Without fdatasync (macOS) a full fsync gives the same promise, slower.
_sync_content = getattr(os, "fdatasync", os.fsync)


class Disk:
    """One folder of flat files, named without a path; a file written to stays open till moved or `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, int] = {}

    def make_folder(self) -> None:
        """Create the folder, or close an existing one to others."""
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if self.folder.stat().st_mode & 0o777 != FOLDER_MODE:
            self.folder.chmod(FOLDER_MODE)

    def write(self, name: str, content: memoryview) -> int:
        """Append to a file, creating it; return how many bytes were taken, perhaps fewer than offered."""
        return os.write(self._writable(name), content)

    def sync(self, name: str) -> None:
        """Return once all bytes written to the file survive a power cut."""
        _sync_content(self._writable(name))

    def sync_folder(self) -> None:
        """Return once all names in the folder (created, moved, deleted) survive a power cut."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, name: str, *, size_max: int = -1, offset: int = 0) -> bytes:
        """The file's bytes from the offset on, or the first `size_max` of them."""
        with (self.folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(size_max)

    def rename(self, source: str, target: str) -> None:
        """Move a file onto another name, replacing what was there in one step."""
        self._let_go(source)
        self._let_go(target)
        (self.folder / source).replace(self.folder / target)

    def truncate(self, name: str, size_bytes: int) -> None:
        """Cut a file to its first bytes, durably."""
        self._let_go(name)
        with (self.folder / name).open("r+b") as file:
            file.truncate(size_bytes)
            os.fsync(file.fileno())

    def delete(self, name: str) -> None:
        """Remove a file; the name may come back after a crash until `sync_folder`."""
        self._let_go(name)
        (self.folder / name).unlink()

    def names(self) -> list[str]:
        """All files in the folder, sorted; none when there is no folder."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if entry.is_file())

    def size(self, name: str) -> int:
        """Bytes in the file."""
        return (self.folder / name).stat().st_size

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.folder / name).is_file()

    def free_bytes(self) -> int:
        """What the file system has left for us."""
        return shutil.disk_usage(self.folder).free

    def close(self) -> None:
        """Let go of all open files."""
        for name in list(self._open):
            self._let_go(name)

    def _writable(self, name: str) -> int:
        descriptor = self._open.get(name)
        if descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            descriptor = self._open[name] = os.open(self.folder / name, flags, FILE_MODE)
        return descriptor

    def _let_go(self, name: str) -> None:
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)


def write_fully(disk: Disk, name: str, *, content: bytes) -> None:
    """Append all bytes: a disk may take fewer than offered and say so only by the count."""
    rest = memoryview(content)
    while rest:
        taken = disk.write(name, rest)
        if taken <= 0:
            raise OSError(f"{name}: the disk took none of {len(rest)} bytes")
        rest = rest[taken:]


def replace_durably(disk: Disk, name: str, *, content: bytes) -> None:
    """Put a whole small file in place: after a crash it is either the old one or the new one."""
    draft = f"{name}.tmp"
    if disk.exists(draft):
        disk.delete(draft)
    write_fully(disk, draft, content=content)
    disk.sync(draft)
    disk.rename(draft, name)
    disk.sync_folder()


@contextmanager
def disk_faults(doing: str) -> Iterator[None]:
    """Turn a refusal of the operating system into a `JournalFault` that says what was being done."""
    try:
        yield
    except OSError as fault:
        raise JournalFault(f"{doing}: {fault}") from fault
