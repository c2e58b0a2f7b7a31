"""The simulated disk loses what a real one may lose, and nothing else."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from agora.journal.disk import Disk, write_fully
from tests.simulation.disk import Crashed, Faults, SimDisk

SEEDS = range(40)


def _public(cls: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def test_it_offers_what_the_real_disk_offers() -> None:
    """Every operation of `Disk` exists here with the same parameters."""
    real, simulated = _public(Disk), _public(SimDisk)
    assert real == {name: simulated[name] for name in real}


def _exercise(disk: Disk | SimDisk) -> dict[str, bytes]:
    disk.make_folder()
    write_fully(disk, "a", content=b"one\n")
    write_fully(disk, "a", content=b"two\n")
    disk.sync("a")
    write_fully(disk, "b", content=b"draft")
    disk.rename("b", "c")
    write_fully(disk, "b", content=b"again")
    disk.truncate("a", 4)
    write_fully(disk, "a", content=b"three\n")
    disk.delete("b")
    disk.sync_folder()
    disk.close()
    return {name: disk.read(name) for name in disk.names() if disk.exists(name) and disk.size(name)}


def test_it_behaves_like_the_real_disk_while_nothing_fails(tmp_path: Path) -> None:
    """The same operations leave the same files with the same bytes."""
    expected = {"a": b"one\nthree\n", "c": b"draft"}
    assert _exercise(SimDisk()) == _exercise(Disk(tmp_path / "run")) == expected


def test_synced_bytes_and_names_survive_every_crash() -> None:
    """After both syncs a crash takes nothing, whatever its seed."""
    disk = SimDisk()
    write_fully(disk, "a", content=b"safe")
    disk.sync("a")
    disk.sync_folder()
    assert {disk.crash(seed).read("a") for seed in SEEDS} == {b"safe"}


def test_unsynced_bytes_may_be_lost_kept_torn_or_zero() -> None:
    """What follows the last sync survives as any beginning of it, sometimes followed by zeros."""
    disk = SimDisk()
    write_fully(disk, "a", content=b"safe")
    disk.sync("a")
    disk.sync_folder()
    write_fully(disk, "a", content=b"maybe")
    seen = {disk.crash(seed).read("a") for seed in SEEDS}
    assert all(content.startswith(b"safe") for content in seen)
    assert {b"safe", b"safemaybe"} <= seen
    assert any(content.endswith(b"\0") for content in seen)
    assert all(b"safemaybe".startswith(content.rstrip(b"\0")) for content in seen)


def test_names_are_durable_only_with_the_folder() -> None:
    """A file that was created or moved may be missing or under its old name until the folder is synced."""
    disk = SimDisk()
    write_fully(disk, "a", content=b"x")
    disk.sync("a")
    assert {tuple(disk.crash(seed).names()) for seed in SEEDS} == {(), ("a",)}
    disk.sync_folder()
    disk.rename("a", "b")
    assert {tuple(disk.crash(seed).names()) for seed in SEEDS} == {("a",), ("b",)}
    disk.sync_folder()
    assert {tuple(disk.crash(seed).names()) for seed in SEEDS} == {("b",)}


def test_a_crash_stops_everything_at_its_operation() -> None:
    """The chosen operation does not happen, and nothing after it does."""
    disk = SimDisk(Faults(crash_at=2))
    write_fully(disk, "a", content=b"x")
    for _ in range(2):
        with pytest.raises(Crashed):
            write_fully(disk, "a", content=b"y")
    with pytest.raises(Crashed):
        disk.read("a")
    left = [disk.crash(seed) for seed in SEEDS]
    assert {found.read("a").rstrip(b"\0") for found in left if found.names()} == {b"", b"x"}


def test_a_full_disk_takes_a_part_and_then_refuses() -> None:
    """The write that hits the end is cut short; the next one is refused with the system's own error."""
    disk = SimDisk(Faults(full_from=1))
    with pytest.raises(OSError, match="No space left"):
        write_fully(disk, "a", content=b"12345678")
    assert disk.read("a") == b"1234"
    assert disk.free_bytes() == 0


def test_short_writes_lose_nothing_when_they_are_counted() -> None:
    """A disk that takes a few bytes at a time still ends with all of them in order."""
    disk = SimDisk(Faults(short_writes_seed=5))
    write_fully(disk, "a", content=bytes(range(200)))
    assert disk.read("a") == bytes(range(200))
    assert disk.operations > 3
