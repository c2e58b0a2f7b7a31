"""`agora runs list|clean`: old runs go, running ones and strangers stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agora.cli.housekeeping import NS_PER_DAY, clean_runs, list_runs
from agora.domain.errors import UsageFault
from agora.session.folder import LOCK_FILE, Home, Lock
from tests.cli.commands import call, stored_run

NOW_NS = 1_800_000_000 * 10**9


def age(folder: Path, days: float) -> None:
    """Give every file of a run the same age."""
    then_ns = NOW_NS - int(days * NS_PER_DAY)
    for path in folder.iterdir():
        os.utime(path, ns=(then_ns, then_ns))


def names(home: Path) -> list[str]:
    """The runs that are left."""
    return Home(home).run_names()


def test_runs_are_listed_with_state_and_size(home: Path) -> None:
    """Oldest first; a folder without settings is not a run; an empty home lists nothing."""
    assert call(home, ["runs", "list"]).out == "no runs yet\n"
    stored_run(home, "b", report=None)
    stored_run(home, "a")
    (home / "runs" / "notes").mkdir()
    rows = call(home, ["runs", "list", "--json"]).facts
    assert [(row["run"], row["state"]) for row in rows] == [("a", "ended"), ("b", "interrupted")]
    (home / "runs" / "a" / "market.jsonl").write_bytes(b"x" * 2_000_000)
    assert list_runs(home)[0]["size_mb"] == 2.0


@pytest.mark.requirement("B56")
def test_cleaning_deletes_what_is_older_and_a_dry_run_only_names_it(home: Path) -> None:
    """The newest file of a run is its age: one fresh file keeps it."""
    for name, days in (("old", 31), ("young", 29), ("touched", 31)):
        age(stored_run(home, name), days)
    (home / "runs" / "touched" / "report.html").write_text("rebuilt")
    os.utime(home / "runs" / "touched" / "report.html", ns=(NOW_NS, NOW_NS))
    assert clean_runs(home, older_than_days=30, is_dry=True, now_ns=NOW_NS) == ["old"]
    assert names(home) == ["old", "touched", "young"]
    assert clean_runs(home, older_than_days=30, is_dry=False, now_ns=NOW_NS) == ["old"]
    assert names(home) == ["touched", "young"]


@pytest.mark.requirement("B56")
def test_a_running_run_is_never_deleted_however_old(home: Path) -> None:
    """Its lock protects it; once the lock is free it is as old as its files."""
    folder = stored_run(home, "live")
    lock = Lock(folder / LOCK_FILE, "run")
    age(folder, 400)
    for is_dry in (True, False):
        assert clean_runs(home, older_than_days=0, is_dry=is_dry, now_ns=NOW_NS) == []
    assert (folder / "events.jsonl").exists()
    lock.release()
    age(folder, 400)
    assert clean_runs(home, older_than_days=0, is_dry=False, now_ns=NOW_NS) == ["live"]


def test_latest_points_at_what_is_left_after_cleaning(home: Path) -> None:
    """The link never dangles: it moves to the newest run, and goes with the last."""
    for name, days in (("1", 50), ("2", 90)):
        age(stored_run(home, name), days)
    Home(home).point_latest(home / "runs" / "2")
    clean_runs(home, older_than_days=60, is_dry=False, now_ns=NOW_NS)
    assert (home / "runs" / "latest").resolve().name == "1"
    clean_runs(home, older_than_days=10, is_dry=False, now_ns=NOW_NS)
    assert not (home / "runs" / "latest").is_symlink()


def test_cleaning_touches_neither_strangers_nor_what_links_point_to(home: Path, tmp_path: Path) -> None:
    """A folder without settings stays; a link inside a run is removed, not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    folder = stored_run(home, "old")
    (folder / "link").symlink_to(outside)
    (home / "runs" / "notes").mkdir()
    age(folder, 100)
    os.utime(folder / "link", ns=(0, 0), follow_symlinks=False)
    assert clean_runs(home, older_than_days=1, is_dry=False, now_ns=NOW_NS) == ["old"]
    assert (outside / "precious").exists()
    assert names(home) == ["notes"]


@pytest.mark.parametrize("days", [-1.0, float("nan")])
def test_an_impossible_age_is_refused(home: Path, days: float) -> None:
    """Not a number, or before now: nothing is deleted."""
    stored_run(home, "a")
    with pytest.raises(UsageFault):
        clean_runs(home, older_than_days=days, is_dry=False, now_ns=NOW_NS)
    assert names(home) == ["a"]


def test_the_command_cleans_by_the_system_clock(home: Path) -> None:
    """A run of now is not older than a day; one of 1970 is."""
    stored_run(home, "new")
    for path in stored_run(home, "ancient").iterdir():
        os.utime(path, ns=(0, 0))
    assert call(home, ["runs", "clean", "--older-than", "1", "--dry-run"]).out == "would delete ancient\n"
    assert call(home, ["runs", "clean", "--older-than", "1", "--json"]).facts["runs"] == ["ancient"]
    assert names(home) == ["new"]
