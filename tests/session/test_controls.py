"""Kill files, command files and signals: heard within the promised time, whatever somebody put into them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from agora.domain.events import OperatorCommand
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.session.controls import COMMANDS, LOOK_EVERY_NS, ProcessControls
from agora.session.folder import COMMAND_FILE, KILL_FILE, REASON_CHARS_MAX


class Watched:
    """Controls of a run folder, on a monotonic clock that a test moves."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.home = tmp_path / "run", tmp_path / "home"
        self.folder.mkdir()
        self.home.mkdir()
        self.mono_ns = 5 * NS_PER_S
        self.controls = ProcessControls(self.folder, self.home / KILL_FILE, monotonic_ns=lambda: self.mono_ns)

    def heard(self, after_ms: int = 200) -> list[tuple[str, str]]:
        """What is said after some real time: all commands waiting."""
        self.mono_ns += after_ms * NS_PER_MS
        found = []
        while (command := self.controls.poll(77)) is not None:
            assert isinstance(command, OperatorCommand)
            assert command.ts_ns == 77
            found.append((command.command, command.reason))
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Controls with nothing said yet."""
    found = Watched(tmp_path)
    assert found.heard() == []
    return found


@pytest.mark.requirement("B28")
@pytest.mark.requirement("H3.2")
@pytest.mark.parametrize("place", ["folder", "home"])
def test_a_kill_file_is_heard_once_with_its_text(watched: Watched, place: str) -> None:
    """In the run's folder or in the home of all runs; within one second; its text is the reason; said once."""
    (getattr(watched, place) / KILL_FILE).write_text("  smoke in the kitchen\n")
    assert LOOK_EVERY_NS <= NS_PER_S
    assert watched.heard(int(LOOK_EVERY_NS / NS_PER_MS)) == [("kill", "smoke in the kitchen")]
    assert watched.heard(10_000) == []


@pytest.mark.requirement("H3.2")
@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("empty", b"", "kill file kill.txt"),
        ("only spaces", b" \n\t ", "kill file kill.txt"),
        ("binary", b"\x00\xff\xfe\x80stop", "stop"),
        ("control characters", b"a\x1b[2Jb\nc", "a [2Jb c"),
        ("huge", b"x" * 50_000_000, "x" * REASON_CHARS_MAX),
        ("quotes and braces", b'{"command":"reset"}', '{"command":"reset"}'),
    ],
)
def test_whatever_a_kill_file_holds_it_kills(watched: Watched, name: str, content: bytes, reason: str) -> None:
    """The reason is short and printable, and nothing in it is obeyed."""
    (watched.folder / KILL_FILE).write_bytes(content)
    ((command, said),) = watched.heard()
    assert command == "kill", name
    assert said.endswith(reason)
    assert len(said) <= REASON_CHARS_MAX
    assert said.isprintable()


def test_a_kill_file_that_cannot_be_read_kills_all_the_same(watched: Watched) -> None:
    """A pipe that nobody writes to does not block the run; a folder of that name is a kill file too."""
    os.mkfifo(watched.folder / KILL_FILE)
    assert watched.heard() == [("kill", "kill file kill.txt")]


def test_a_folder_named_like_the_kill_file_kills(watched: Watched) -> None:
    """Whoever makes it wants the run to stop."""
    (watched.home / KILL_FILE).mkdir()
    assert watched.heard() == [("kill", "kill file kill.txt")]


@pytest.mark.requirement("B28")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_file_is_heard_once_and_removed(watched: Watched, command: str) -> None:
    """The command with its reason, `operator` when none is given."""
    path = watched.folder / COMMAND_FILE
    path.write_text(json.dumps({"command": command, "reason": "tea time"}))
    assert watched.heard() == [(command, "tea time")]
    assert not path.exists()
    path.write_text(json.dumps({"command": command}))
    assert watched.heard() == [(command, "operator")]
    assert watched.heard() == []


@pytest.mark.parametrize(
    "name, content",
    [
        ("not JSON", b"stop"),
        ("a command of nobody", b'{"command":"buy"}'),
        ("an internal command", b'{"command":"disk"}'),
        ("another shape", b'["stop"]'),
        ("an unknown member", b'{"command":"stop","force":true}'),
        ("a number", b'{"command":1}'),
        ("binary", b"\xff\xfe\x00"),
        ("deep", b"[" * 100_000),
        ("huge", b'{"command":"stop","reason":"' + b"x" * 10_000_000 + b'"}'),
        ("empty", b""),
    ],
)
def test_what_is_no_command_does_nothing_and_is_removed(watched: Watched, name: str, content: bytes) -> None:
    """Only the four commands are obeyed; a broken file does not stay to be read for ever."""
    path = watched.folder / COMMAND_FILE
    path.write_bytes(content)
    assert watched.heard() == [], name
    assert not path.exists()


def test_a_command_file_that_is_a_pipe_or_a_folder_does_not_stop_the_run(watched: Watched) -> None:
    """Neither blocks, neither raises, and the kill file beside them is still heard."""
    os.mkfifo(watched.folder / COMMAND_FILE)
    assert watched.heard() == []
    (watched.folder / COMMAND_FILE).mkdir(exist_ok=True)
    assert watched.heard() == []
    (watched.folder / KILL_FILE).write_text("now")
    assert watched.heard() == [("kill", "now")]


def test_a_long_reason_is_shortened(watched: Watched) -> None:
    """What the report shows is bounded."""
    (watched.folder / COMMAND_FILE).write_text(json.dumps({"command": "stop", "reason": "y" * 60_000}))
    assert watched.heard() == [("stop", "y" * REASON_CHARS_MAX)]


@pytest.mark.requirement("H3.3")
@pytest.mark.parametrize(
    "signals, commands",
    [
        ([signal.SIGINT], ["interrupt"]),
        ([signal.SIGTERM], ["terminate"]),
        ([signal.SIGINT, signal.SIGINT], ["interrupt", "force"]),
        ([signal.SIGTERM, signal.SIGINT], ["terminate", "force"]),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGTERM], ["interrupt", "force", "force"]),
    ],
)
def test_the_first_signal_ends_in_order_and_the_next_at_once(
    watched: Watched, signals: list[int], commands: list[str]
) -> None:
    """Heard without waiting for the next look at the files."""
    for number in signals:
        watched.controls.on_signal(number)
    assert [command for command, _ in watched.heard(0)] == commands


def test_files_are_not_looked_at_more_often_than_needed(watched: Watched) -> None:
    """Between two looks a poll costs nothing: a file made meanwhile is heard at the next look."""
    watched.heard()
    (watched.folder / KILL_FILE).touch()
    assert watched.heard(100) == []
    assert len(watched.heard(100)) == 1


@pytest.mark.requirement("B59")
def test_a_heartbeat_comes_once_a_second_with_the_health_of_the_process(watched: Watched) -> None:
    """CPU, memory, disk, the worst lag of the loop since the last one, and the queue."""
    controls = watched.controls
    first = controls.pulse(1, queue_depth=3)
    assert first is not None
    assert first.rss_mb > 5
    assert first.disk_free_mb > 0
    assert (first.queue_depth, first.ts_ns, first.loop_lag_ms) == (3, 1, 0.0)
    assert controls.pulse(2, queue_depth=0) is None
    controls.measure_lag(3 * NS_PER_MS)
    controls.measure_lag(1 * NS_PER_MS)
    watched.mono_ns += NS_PER_S
    second = controls.pulse(3, queue_depth=0)
    assert second is not None
    assert (second.loop_lag_ms, second.cpu_fraction >= 0) == (3.0, True)
    watched.mono_ns += NS_PER_S
    third = controls.pulse(4, queue_depth=0)
    assert third is not None
    assert third.loop_lag_ms == 0.0
