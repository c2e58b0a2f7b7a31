"""The archive of a run: a tar.gz whose first member lists every file with its size and SHA-256.

An archive may come from anywhere, so unpacking believes nothing: names are flat, only plain files exist, no
byte more than listed is read, and nothing appears in the runs folder before every hash was right.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta

from agora.domain.errors import UsageFault
from agora.session.folder import COMMAND_FILE, CONFIG_FILE, LOCK_FILE

MANIFEST = "manifest.json"
FORMAT = "agora-run"
VERSION = 1
# A manifest line is 150 bytes and a run at its disk budget has some thousand segments.
MANIFEST_BYTES_MAX = 10_000_000
FILES_MAX = 50_000
# As large as the largest journal that the settings allow (journal.disk_budget_mb), and what belongs to it.
RUN_BYTES_MAX = 1_001_000_000_000
# What unpacking must leave free: the machine needs room for its own work.
DISK_FREE_BYTES_MIN = 500_000_000
CHUNK_BYTES = 1_048_576
# tarfile reads an extended header whole; ours have none, so a large one is an attack.
READ_BYTES_MAX = MANIFEST_BYTES_MAX
# An archive is filled up with zeros to a whole record of 10,240 bytes.
TAIL_BYTES_MAX = 10_240

# A name is one path component that begins with a letter or digit: no `..`, no folder, no hidden file.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$"
_Name = Annotated[str, Meta(pattern=_NAME)]


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a run."""

    name: _Name
    bytes: Annotated[int, Meta(ge=0, le=RUN_BYTES_MAX)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First member of an archive."""

    format: str
    version: int
    run: _Name
    files: Annotated[tuple[Packed, ...], Meta(min_length=1, max_length=FILES_MAX)]


def pack(folder: Path, out: Path, *, is_dry: bool) -> dict[str, Any]:
    """Write the archive; the file appears complete or not at all. The caller holds the run's lock."""
    files = tuple(_packed(path) for path in _run_files(folder))
    manifest = Manifest(FORMAT, VERSION, folder.name, files)
    facts = {
        "run": folder.name,
        "archive": str(out),
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
        "dry_run": is_dry,
    }
    if is_dry:
        return facts
    fresh = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        _write_archive(fresh, folder, manifest)
        fresh.replace(out)
    # ValueError: a file beyond the 8 GiB that the format can hold.
    except (OSError, ValueError) as fault:
        raise UsageFault(f"cannot write {out}: {fault}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return facts


def _run_files(folder: Path) -> list[Path]:
    """The plain files of a run, without its lock and half-written ones."""
    found = sorted(path for path in folder.iterdir() if path.name not in (LOCK_FILE, COMMAND_FILE, MANIFEST))
    return [path for path in found if path.is_file() and not path.is_symlink() and path.name[0] != "."]


def _packed(path: Path) -> Packed:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Packed(path.name, path.stat().st_size, digest)


def _write_archive(path: Path, folder: Path, manifest: Manifest) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
            _add_files(tar, folder, manifest)
        raw.flush()
        os.fsync(raw.fileno())


def _add_files(tar: tarfile.TarFile, folder: Path, manifest: Manifest) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
    for item in manifest.files:
        with (folder / item.name).open("rb") as content:
            tar.addfile(_member(item.name, item.bytes), content)


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    """A plain file of nobody in particular, readable by its owner."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mode = 0o600
    return member


# Unpacking.


def unpack(archive: Path, home: Path, *, runs: Path, is_dry: bool) -> dict[str, Any]:
    """Check an archive and, unless dry, put its run into `runs`; raises `UsageFault` naming what is wrong."""
    with _readable(archive) as tar:
        manifest = _manifest_of(tar, archive)
        target = runs / manifest.run
        if target.exists() or target.is_symlink():
            raise UsageFault(f"run {manifest.run} is already in {runs}")
        total_bytes = sum(file.bytes for file in manifest.files)
        _check_room(home, total_bytes)
        fresh = None if is_dry else home / f".restoring-{manifest.run}-{os.getpid()}"
        try:
            if fresh is not None:
                fresh.mkdir(mode=0o700)
            _take_files(tar, manifest, fresh)
            if fresh is not None:
                fresh.rename(target)
        finally:
            if fresh is not None:
                shutil.rmtree(fresh, ignore_errors=True)
    return {"run": manifest.run, "files": len(manifest.files), "bytes": total_bytes, "dry_run": is_dry}


class _Bounded:
    """The bytes of an archive, refused beyond what a run can hold."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        if not 0 <= size <= READ_BYTES_MAX:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        """As a file."""
        if position > RUN_BYTES_MAX:
            raise tarfile.ReadError("larger than any run")
        return self._file.seek(position, whence)

    def tell(self) -> int:
        """As a file."""
        return self._file.tell()


@contextmanager
def _readable(archive: Path) -> Iterator[tarfile.TarFile]:
    """An archive open for reading; whatever is wrong with it becomes a `UsageFault`."""
    try:
        with gzip.open(archive, "rb") as inflated:
            bounded: Any = _Bounded(inflated)  # type: ignore[arg-type]
            with tarfile.open(fileobj=bounded, mode="r:") as tar:
                yield tar
    except (tarfile.TarError, EOFError, zlib.error, OSError, OverflowError) as fault:
        raise UsageFault(f"{archive}: not a readable archive of a run: {fault}") from None


def _manifest_of(tar: tarfile.TarFile, archive: Path) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or member.type != tarfile.REGTYPE:
        raise UsageFault(f"{archive}: not an archive of a run (its first member is not {MANIFEST})")
    if member.size > MANIFEST_BYTES_MAX:
        raise UsageFault(f"{archive}: a manifest of {member.size} bytes, the limit is {MANIFEST_BYTES_MAX}")
    try:
        manifest = msgspec.json.decode(b"".join(_chunks(tar, member)), type=Manifest)
    except msgspec.MsgspecError as fault:
        raise UsageFault(f"{archive}: its manifest is not one of ours: {fault}") from None
    names = [file.name for file in manifest.files]
    if manifest.format != FORMAT or manifest.version != VERSION:
        raise UsageFault(f"{archive}: {manifest.format} version {manifest.version}, expected {FORMAT} {VERSION}")
    if len(set(names)) < len(names) or CONFIG_FILE not in names or manifest.run == "latest":
        raise UsageFault(f"{archive}: its manifest does not describe a run")
    return manifest


def _check_room(home: Path, total_bytes: int) -> None:
    parent = next(folder for folder in (home, *home.parents) if folder.exists())
    free_bytes = shutil.disk_usage(parent).free
    if total_bytes > RUN_BYTES_MAX or total_bytes > free_bytes - DISK_FREE_BYTES_MIN:
        raise UsageFault(
            f"the run takes {total_bytes} bytes; {free_bytes} are free, {DISK_FREE_BYTES_MIN} must stay so"
        )


def _take_files(tar: tarfile.TarFile, manifest: Manifest, folder: Path | None) -> None:
    """Read every listed file, in the listed order and no other; into `folder`, or only to check it."""
    for listed in manifest.files:
        member = tar.next()
        if member is None:
            raise UsageFault(f"{listed.name} is listed in the manifest and missing in the archive")
        if member.name != listed.name or member.type != tarfile.REGTYPE or member.size != listed.bytes:
            found = f"{member.name[:80]!r} of {member.size} bytes and type {member.type!r}"
            wanted = f"the file {listed.name} of {listed.bytes} bytes"
            raise UsageFault(f"the archive holds {found} where the manifest lists {wanted}")
        digest = _take(tar, member, None if folder is None else folder / listed.name)
        if digest != listed.sha256:
            raise UsageFault(f"{listed.name} is damaged: its SHA-256 is {digest}, the manifest says {listed.sha256}")
    # To the end of the stream, where gzip keeps the checksum of everything before it.
    if tar.next() is not None or len(tar.fileobj.read(TAIL_BYTES_MAX + 1)) > TAIL_BYTES_MAX:
        raise UsageFault("the archive holds more than its manifest lists")


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path | None) -> str:
    """Read one file to its end, and write it where asked; its SHA-256."""
    digest = hashlib.sha256()
    if path is None:
        for chunk in _chunks(tar, member):
            digest.update(chunk)
        return digest.hexdigest()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for chunk in _chunks(tar, member):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _chunks(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "a plain file has content"
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
