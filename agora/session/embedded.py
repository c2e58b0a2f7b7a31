"""A testnet that a run starts for itself: a process beside it that is told to end with it, whatever happens.

It lives in a session of its own, so that Ctrl+C reaches the run alone, which closes its positions there first. After
a crash of the run it lives on for a while, and the resumed run takes it over by its number.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import msgspec
import psutil

from agora.domain.errors import StartFault, UsageFault
from agora.domain.numbers import NS_PER_S
from agora.session.access import ANNOUNCEMENT_BYTES_MAX, Announcement, OwnProcess, read_announcement

# A cold compile of its kernels takes half a minute on two slow cores that the run compiles on too.
ANNOUNCES_WITHIN_S = 120.0
# It has nothing to save; a second would do. Then it is killed.
ENDS_WITHIN_S = 3.0
# Start times of processes are told in hundredths; the machine's clock may be set meanwhile.
CREATED_TOLERANCE_S = 2.0
USAGE_EXIT_CODE = 2
# The end of what a process has complained of that fits into a message.
COMPLAINT_CHARS_MAX = 2_000


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """A testnet process that belongs to this run. `content`: its announce line as it was said."""

    announcement: Announcement
    content: bytes
    process: psutil.Process

    def end(self) -> None:
        """Ask it to end, wait, then make it."""
        end_process(self.process)


class Starting:
    """A testnet process that has not yet said where it is."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        # What it complains of is read only when it fails; a file takes any amount without anybody reading.
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        try:
            self._child = psutil.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as fault:
            self._complaints.close()
            raise StartFault(f"the testnet could not be started: {fault}") from None

    def announced(self, monotonic_ns: Callable[[], int], *, within_s: float = ANNOUNCES_WITHIN_S) -> Embedded:
        """Its announce line; raises `StartFault`, or `UsageFault` when it says that it was called wrongly."""
        content = self._first_line(monotonic_ns, within_s)
        if content is None:
            end_process(self._child)
            raise StartFault(f"the testnet has not said within {within_s:g} s where it is{self._complaint()}")
        if not content.endswith(b"\n"):
            code = self._child.wait(timeout=ENDS_WITHIN_S)
            kind = UsageFault if code == USAGE_EXIT_CODE else StartFault
            raise kind(f"the testnet ended with {code} before it said where it is{self._complaint()}")
        announcement = read_announcement(content, origin="the testnet")
        process = OwnProcess(self._child.pid, self._child.create_time())
        known = msgspec.structs.replace(announcement, process=process)
        return Embedded(announcement=known, content=content, process=self._child)

    def _first_line(self, monotonic_ns: Callable[[], int], within_s: float) -> bytes | None:
        """What it says up to the end of a line, or of all; None when the time is over first."""
        pipe = self._child.stdout.fileno()
        end_ns = monotonic_ns() + int(within_s * NS_PER_S)
        content = b""
        while not content.endswith(b"\n") and len(content) < ANNOUNCEMENT_BYTES_MAX:
            left_s = (end_ns - monotonic_ns()) / NS_PER_S
            if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
                return None
            piece = os.read(pipe, ANNOUNCEMENT_BYTES_MAX)
            if not piece:
                break
            content += piece
        return content

    def _complaint(self) -> str:
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - COMPLAINT_CHARS_MAX))
        text = " ".join(self._complaints.read().decode(errors="replace").split())
        return f": {text}" if text else ""

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of its files."""
        end_process(self._child)
        self._child.stdout.close()
        self._complaints.close()


@contextlib.contextmanager
def starting(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Starting]:
    """A testnet process for the length of the block; when the block ends, so has the process."""
    child = Starting(command, environment)
    try:
        yield child
    finally:
        child.close()


def still_living(known: OwnProcess) -> psutil.Process | None:
    """The process that a run has started before, if it is that one and lives."""
    try:
        process = psutil.Process(known.pid)
        is_same = abs(process.create_time() - known.created_s) <= CREATED_TOLERANCE_S
        is_living = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if is_same and is_living else None


def end_process(process: psutil.Process) -> None:
    """Terminate, wait, kill, wait; nothing when it has ended already."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        with contextlib.suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
            process.wait(timeout=ENDS_WITHIN_S)
            return
        process.kill()
        with contextlib.suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
            process.wait(timeout=ENDS_WITHIN_S)
