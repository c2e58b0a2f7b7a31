"""`agora status` and `agora watch`: what the files of a run say, whatever state they are in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agora.cli.glance import ROW_BYTES_MAX, follow, glance, glance_text, newest_row
from agora.session.folder import LOCK_FILE, Lock
from tests.cli.commands import HEADER, ROWS, call, stored_run


def test_a_run_is_ended_running_or_interrupted_by_its_lock_and_report(home: Path) -> None:
    """The lock decides first: a run that is resumed has an old report and is running all the same."""
    ended = stored_run(home, "a")
    stopped = stored_run(home, "b", report=None)
    told = stored_run(home, "c", report={"residual": ["the run did not end in order: …"], "flat": False})
    assert [glance(run)["state"] for run in (ended, stopped, told)] == ["ended", "interrupted", "interrupted"]
    lock = Lock(ended / LOCK_FILE, "run")
    facts = glance(ended)
    lock.release()
    assert facts["state"] == "running"
    assert facts["report"] is None
    assert facts["latest"]["equity"] == "10001.50"
    assert "equity 10001.50" in glance_text(facts)


@pytest.mark.requirement("B50")
def test_status_tells_how_a_run_ended_in_text_and_as_json(home: Path) -> None:
    """Reason, exit code, flatness and money are in both."""
    stored_run(home, "20260101T000000Z-local-trend-aa")
    said = call(home, ["status", "20260101T000000Z-local-trend-aa"])
    assert said.code == 0
    assert all(words in said.out for words in ("ended", "completed (duration)", "exit 0", "flat", "net 1.00"))
    facts = call(home, ["status", "20260101T000000Z-local-trend-aa", "--json"]).facts
    assert facts["report"]["pnl_net"] == "1.00"
    assert (facts["venue"], facts["traders"], facts["seed"]) == ("local", ["trend"], 7)


def test_what_is_left_open_is_said(home: Path) -> None:
    """A run that is not flat names what it left; an interrupted one names the command that continues it."""
    left = {"status": "stopped", "flat": False, "residual": ["position BTCUSDT 3 lots"]}
    folder = stored_run(home, "a", report={**left, "stopped_reason": "interrupt", "exit_code": 6})
    assert "NOT FLAT: position BTCUSDT 3 lots" in glance_text(glance(folder))
    assert "agora run --resume b" in glance_text(glance(stored_run(home, "b", report=None)))


METRICS: tuple[tuple[str, bytes, str | None], ...] = (
    ("no file", b"", None),
    ("only a header", f"{HEADER}\n".encode(), None),
    ("a half-written row", f"{HEADER}\n{ROWS[0]}\n{ROWS[1][:20]}".encode(), ROWS[0].split(",")[0]),
    ("a row of another shape", f"{HEADER}\n1,2,3\n".encode(), None),
    ("not a metrics file", b"\x00\xff\n\x00\n", None),
    ("longer than is read", f"{HEADER}\n{(ROWS[0] + chr(10)) * 3000}{ROWS[1]}\n".encode(), ROWS[1].split(",")[0]),
)


@pytest.mark.parametrize("content, expected", [row[1:] for row in METRICS], ids=[row[0] for row in METRICS])
def test_the_newest_row_is_the_last_complete_one(tmp_path: Path, content: bytes, expected: str | None) -> None:
    """Whatever a crash or a writer leaves, the answer is a whole row or none."""
    path = tmp_path / "metrics.csv"
    if content:
        path.write_bytes(content)
    assert len(METRICS[-1][1]) > 2 * ROW_BYTES_MAX
    row = newest_row(path)
    assert (row and row["ts"]) == expected


@pytest.mark.requirement("B50")
def test_watching_shows_each_new_row_and_the_end_when_the_lock_is_free(home: Path) -> None:
    """Rows appear as they are written, none twice; the last line is how the run ended."""
    folder = stored_run(home, "a", rows=ROWS[:1])
    lock = Lock(folder / LOCK_FILE, "run")

    def write_a_row() -> None:
        with (folder / "metrics.csv").open("a") as file:
            file.write(f"{ROWS[1]}\n")

    steps: list[Callable[[], None]] = [lambda: None, write_a_row, lambda: None, lock.release]

    def pause() -> None:
        steps.pop(0)()

    lines = list(follow(folder, pause))
    assert [line.split()[0] for line in lines[:-1]] == [row.split(",")[0] for row in ROWS]
    assert "completed (duration)" in lines[-1]
    assert not steps


def test_watching_a_run_that_has_ended_tells_its_end_at_once(home: Path) -> None:
    """Nothing is waited for."""
    stored_run(home, "a")
    assert "completed (duration)" in call(home, ["watch", "a"]).out


@pytest.mark.parametrize(
    "file, content", [("config.json", "{"), ("final_report.json", "["), ("final_report.json", "[]")]
)
def test_a_run_whose_files_are_damaged_is_a_usage_fault(home: Path, file: str, content: str) -> None:
    """A message with the file's name and exit code 2, no stack trace."""
    folder = stored_run(home, "a")
    (folder / file).write_text(content)
    said = call(home, ["status", "a"])
    assert said.code == 2
    assert file in said.err
