"""What people, signals and the machine say to a run: kill files, command files, signals, health. Polled, cheap."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from agora.domain.events import Heartbeat, OperatorCommand
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.session.folder import COMMAND_FILE, KILL_FILE, REASON_CHARS_MAX

# Files are looked at five times a second: the promise is that a kill is acted on within one.
LOOK_EVERY_NS = 200 * NS_PER_MS
HEARTBEAT_EVERY_NS = NS_PER_S
# Somebody's whole letter is still a command; what is longer was not left by ours.
COMMAND_BYTES_MAX = 65_536
COMMANDS = ("stop", "kill", "flatten", "reset")


class CommandFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `agora stop|kill|flatten|reset` leaves in the run folder."""

    command: str
    reason: str = ""


class ProcessControls:
    """Signals, files and health of a real process (port `Controls` of the runner)."""

    def __init__(self, folder: Path, home_kill_file: Path, *, monotonic_ns: Callable[[], int]) -> None:
        self._folder = folder
        self._kill_files = (folder / KILL_FILE, home_kill_file)
        self._monotonic_ns = monotonic_ns
        self._queue: deque[tuple[str, str]] = deque()
        self._next_look_ns = 0
        self._next_beat_ns = 0
        self._signals = 0
        self._is_killed = False
        self._process = psutil.Process()
        self._cpu_s = sum(self._process.cpu_times()[:2])
        self._beat_ns = monotonic_ns()
        self._lag_ns = 0

    def on_signal(self, number: int) -> None:
        """SIGINT and SIGTERM end the run in order; a second signal ends it at once, cancels only."""
        self._signals += 1
        name = "interrupt" if number == signal.SIGINT else "terminate"
        self._queue.append((name if self._signals == 1 else "force", signal.Signals(number).name))

    def measure_lag(self, late_ns: int) -> None:
        """How late the event loop was woken; the worst since the last heartbeat is kept."""
        self._lag_ns = max(self._lag_ns, late_ns)

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """The next command, stamped with the run's time."""
        now = self._monotonic_ns()
        if now >= self._next_look_ns:
            self._next_look_ns = now + LOOK_EVERY_NS
            self._look()
        if not self._queue:
            return None
        command, reason = self._queue.popleft()
        return OperatorCommand(ts_ns=now_ns, command=command, reason=reason)

    def _look(self) -> None:
        for path in self._kill_files:
            if not self._is_killed and path.exists():
                self._is_killed = True
                self._queue.append(("kill", _reason_in(path)))
        path = self._folder / COMMAND_FILE
        if not path.exists():
            return
        try:
            found = msgspec.json.decode(_head_of(path, COMMAND_BYTES_MAX), type=CommandFile)
        except (OSError, msgspec.MsgspecError):
            found = CommandFile("", "")
        with contextlib.suppress(OSError):  # a folder of that name is no command, and no reason to end a run
            path.unlink(missing_ok=True)
        if found.command in COMMANDS:
            self._queue.append((found.command, found.reason[:REASON_CHARS_MAX] or "operator"))

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """Health of the process, once a second of real time."""
        now = self._monotonic_ns()
        if now < self._next_beat_ns:
            return None
        self._next_beat_ns = now + HEARTBEAT_EVERY_NS
        cpu_s = sum(self._process.cpu_times()[:2])
        elapsed_s = max(now - self._beat_ns, 1) / NS_PER_S
        beat = Heartbeat(
            ts_ns=now_ns,
            cpu_fraction=round((cpu_s - self._cpu_s) / elapsed_s, 3),
            rss_mb=round(self._process.memory_info().rss / 1e6, 1),
            disk_free_mb=round(shutil.disk_usage(self._folder).free / 1e6, 1),
            loop_lag_ms=round(self._lag_ns / NS_PER_MS, 3),
            queue_depth=queue_depth,
        )
        self._cpu_s, self._beat_ns, self._lag_ns = cpu_s, now, 0
        return beat


def _reason_in(path: Path) -> str:
    """The text of a kill file, shortened and printable; an empty file is a reason too."""
    try:
        raw = _head_of(path, REASON_CHARS_MAX)
    except OSError:
        raw = b""
    text = "".join(char if char.isprintable() else " " for char in raw.decode(errors="replace")).strip()
    return text or f"kill file {path.name}"


def _head_of(path: Path, bytes_max: int) -> bytes:
    """The beginning of a file, never waiting for one: whoever made it may have made a pipe."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(file, bytes_max)
    finally:
        os.close(file)
