"""`agora runs archive|restore`: what comes back is what was packed, and nothing else can come in."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agora.cli.archive import READ_BYTES_MAX
from agora.session.folder import LOCK_FILE, Lock
from tests.cli.commands import call, stored_run

NAME = "20260101T000000Z-local-ema_cross+trend-aa"
CONFIG = b'{"values":{}}'
GZIP_HEADER_BYTES = 10  # time and system of the packer; nothing depends on them


def entry(name: str, content: bytes) -> dict[str, Any]:
    """A line of a manifest."""
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def forged(
    path: Path, *, manifest: dict[str, Any] | None = None, members: list[tarfile.TarInfo | None] | None = None
) -> Path:
    """An archive that says what it is told to: by default a good one of a single file."""
    listed = {"format": "agora-run", "version": 1, "run": "forged", "files": [entry("config.json", CONFIG)]}
    text = json.dumps(listed | (manifest or {})).encode()
    with tarfile.open(path, "w:gz") as tar:
        head = tarfile.TarInfo("manifest.json")
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
        for member in [plain("config.json", CONFIG)] if members is None else members:
            if member is not None:
                tar.addfile(member, io.BytesIO(CONFIG.ljust(member.size)))
    return path


def plain(name: str, content: bytes = CONFIG) -> tarfile.TarInfo:
    """A plain file of an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    """A link that leads out of the run."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = "/etc/passwd"
    return member


def linked(path: Path, kind: bytes) -> Path:
    """An archive whose manifest lists an empty file where a link stands: names and sizes agree."""
    listed = {"files": [entry("config.json", b"")]}
    return forged(path, manifest=listed, members=[link("config.json", kind)])


@pytest.mark.requirement("B57")
def test_a_run_comes_back_byte_for_byte_in_another_home(home: Path, tmp_path: Path) -> None:
    """Every file but the lock, readable by its owner only; links and half-written files stay behind."""
    folder = stored_run(home, NAME)
    (folder / "events-000001.jsonl.gz").write_bytes(bytes(range(256)) * 9000)
    (folder / ".metrics.json-77").write_text("half")
    (folder / "link").symlink_to("/etc/passwd")
    archive, other = tmp_path / "run.tar.gz", tmp_path / "other"
    packed = call(home, ["runs", "archive", NAME, "--out", str(archive), "--json"])
    assert packed.code == 0
    assert packed.facts["files"] == 5
    assert call(other, ["runs", "restore", str(archive), "--dry-run"]).code == 0
    assert not other.exists()
    assert call(other, ["runs", "restore", str(archive), "--json"]).facts["run"] == NAME
    restored = other / "runs" / NAME
    kept = {path.name for path in folder.iterdir()} - {"lock", ".metrics.json-77", "link"}
    assert {path.name for path in restored.iterdir()} == kept
    assert all((restored / name).read_bytes() == (folder / name).read_bytes() for name in kept)
    assert restored.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in [archive, *restored.iterdir()]} == {0o600}
    assert [path.name for path in other.iterdir() if path.name.startswith(".")] == []


@pytest.mark.requirement("B57")
def test_the_manifest_lists_every_file_with_its_hash(home: Path, tmp_path: Path) -> None:
    """Other tools can check an archive: it is a tar.gz whose first member is JSON."""
    folder = stored_run(home, NAME)
    call(home, ["runs", "archive", NAME, "--out", str(tmp_path / "a.tar.gz")])
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        found = {member.name for member in tar} - {"manifest.json"}
    listed = {file["name"]: file["sha256"] for file in manifest["files"]}
    assert listed == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in found}
    assert manifest["run"] == NAME


def test_archiving_refuses_a_running_run_and_overwrites_nothing(home: Path, tmp_path: Path) -> None:
    """Exit code 2 and a reason; a file that was there is as it was; a dry run writes nothing."""
    folder, out = stored_run(home, NAME), tmp_path / "a.tar.gz"
    words = ["runs", "archive", NAME, "--out", str(out)]
    lock = Lock(folder / LOCK_FILE, "run")
    assert "is running" in call(home, words).err
    lock.release()
    assert call(home, [*words, "--dry-run"]).code == 0
    assert not out.exists()
    out.write_text("mine")
    assert call(home, words).code == 2
    assert out.read_text() == "mine"
    inside = ["runs", "archive", NAME, "--out", str(folder / "a.tar.gz")]
    assert "inside the run" in call(home, inside).err


def test_restoring_over_an_existing_run_is_refused(home: Path, tmp_path: Path) -> None:
    """The run that is there stays as it is."""
    folder, out = stored_run(home, NAME), tmp_path / "a.tar.gz"
    call(home, ["runs", "archive", NAME, "--out", str(out)])
    (folder / "metrics.csv").write_text("newer")
    assert "already" in call(home, ["runs", "restore", str(out)]).err
    assert (folder / "metrics.csv").read_text() == "newer"


Forgery = Callable[[Path], Path]
REFUSED: tuple[tuple[str, str, Forgery], ...] = (
    ("another hash", "damaged", lambda p: forged(p, manifest={"files": [entry("config.json", b"{" * 13)]})),
    ("another size", "12 bytes", lambda p: forged(p, members=[plain("config.json", CONFIG[:-1])])),
    ("climbing name in the manifest", "manifest", lambda p: forged(p, manifest={"files": [entry("../x", CONFIG)]})),
    ("climbing name in the archive", "where the manifest", lambda p: forged(p, members=[plain("../config.json")])),
    ("absolute name", "manifest", lambda p: forged(p, manifest={"files": [entry("/etc/x", CONFIG)]})),
    ("climbing run", "manifest", lambda p: forged(p, manifest={"run": "../../x"})),
    ("run named latest", "manifest", lambda p: forged(p, manifest={"run": "latest"})),
    ("symbolic link", "where the manifest", lambda p: linked(p, tarfile.SYMTYPE)),
    ("hard link", "where the manifest", lambda p: linked(p, tarfile.LNKTYPE)),
    ("device", "where the manifest", lambda p: linked(p, tarfile.CHRTYPE)),
    ("one file more", "more than", lambda p: forged(p, members=[plain("config.json"), plain("extra")])),
    ("one file less", "missing", lambda p: forged(p, members=[])),
    ("the same twice", "manifest", lambda p: forged(p, manifest={"files": [entry("config.json", CONFIG)] * 2})),
    ("no settings", "manifest", lambda p: forged(p, manifest={"files": [entry("a", CONFIG)]})),
    ("another version", "version 2", lambda p: forged(p, manifest={"version": 2})),
    ("too large", "bytes", lambda p: forged(p, manifest={"files": [entry("config.json", CONFIG) | {"bytes": 10**12}]})),
    ("unknown member", "manifest", lambda p: forged(p, manifest={"command": "x"})),
)


@pytest.mark.requirement("B57")
@pytest.mark.requirement("B54")
@pytest.mark.parametrize("words, forge", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_an_archive_that_is_not_what_its_manifest_says_is_refused(home: Path, words: str, forge: Forgery) -> None:
    """Exit code 2 with a reason, and no file of it anywhere, also not for a moment's name."""
    archive = forge(home.parent / "bad.tar.gz")
    said = call(home, ["runs", "restore", str(archive)])
    assert said.code == 2
    assert words in said.err
    assert [path.name for path in home.parent.iterdir()] in (
        ["bad.tar.gz"],
        ["bad.tar.gz", "home"],
        ["home", "bad.tar.gz"],
    )
    assert list((home / "runs").iterdir()) == []
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []


def test_the_forged_archive_itself_is_good(home: Path) -> None:
    """The table above refuses for its reasons: without a forgery the same archive is taken."""
    assert call(home, ["runs", "restore", str(forged(home.parent / "good.tar.gz"))]).code == 0


BROKEN: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("text", b"hello"),
    ("gzip of text", gzip.compress(b"hello" * 1000)),
    ("gzip cut short", gzip.compress(bytes(range(256)) * 400)[:200]),
)


@pytest.mark.parametrize("content", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_is_no_archive_is_refused(home: Path, content: bytes) -> None:
    """Exit code 2, no stack trace."""
    path = home.parent / "x.tar.gz"
    path.write_bytes(content)
    assert call(home, ["runs", "restore", str(path)]).code == 2


def test_an_extended_header_that_would_fill_the_memory_is_refused(home: Path) -> None:
    """The library reads such headers whole, so their size is looked at before."""
    header = tarfile.TarInfo("x")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = READ_BYTES_MAX + 1_000_000
    path = home.parent / "bomb.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"a" * 1024))
    said = call(home, ["runs", "restore", str(path)])
    assert said.code == 2
    assert "header of" in said.err


def test_a_flipped_bit_anywhere_is_noticed(home: Path, tmp_path: Path) -> None:
    """Damage on a disk or on the way never becomes a run: hashes, headers and the stream's checksum see it."""
    stored_run(home, NAME)
    out, other = tmp_path / "a.tar.gz", tmp_path / "other"
    call(home, ["runs", "archive", NAME, "--out", str(out)])
    whole = out.read_bytes()
    for position in range(GZIP_HEADER_BYTES, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        bad = tmp_path / "bad.tar.gz"
        bad.write_bytes(damaged)
        said = call(other, ["runs", "restore", str(bad)])
        assert said.code == 2, f"the bit at {position} was not noticed: {said.out}"
