"""A testnet beside a run: a process with a beginning and an end, whoever dies first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from agora.domain.errors import StartFault, UsageFault
from agora.session.access import OwnProcess
from agora.session.clock import monotonic_ns
from agora.session.embedded import Embedded, Starting, end_process, starting, still_living
from tests.session.test_access import LINE

# Says its line and waits to be told to end; what it is given besides is done first.
STAND_IN = "import signal, sys; {first}; sys.stdout.write({line!r} + chr(10)); sys.stdout.flush(); signal.pause()"


def command(first: str = "0") -> list[str]:
    """A stand-in for a testnet."""
    return [sys.executable, "-c", STAND_IN.format(first=first, line=json.dumps(LINE))]


@contextmanager
def living(first: str = "0") -> Iterator[Embedded]:
    """A stand-in that has announced itself."""
    with starting(command(first), {**os.environ}) as child:
        yield child.announced(monotonic_ns)


def test_it_says_where_it_is_and_ends_with_the_block() -> None:
    """The line as it was said, the process behind it; afterwards there is none."""
    with living() as testnet:
        assert json.loads(testnet.content) == LINE
        assert testnet.announcement.urls == LINE["urls"]
        known = testnet.announcement.process
        assert known is not None
        assert known.pid == testnet.process.pid
        assert still_living(known) is not None
    assert still_living(known) is None


def test_it_ends_with_the_block_also_when_the_run_breaks_or_it_refuses_to() -> None:
    """An exception of the run, a process that does not hear: it is killed in the end."""
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with pytest.raises(ZeroDivisionError), living(deaf) as testnet:
        raise ZeroDivisionError
    assert not psutil.pid_exists(testnet.process.pid)


def test_an_interrupt_at_the_terminal_reaches_the_run_alone() -> None:
    """It has a session of its own: the signal that a terminal sends to a group is not for it."""
    with living() as testnet:
        assert os.getsid(testnet.process.pid) != os.getsid(0)
        assert os.getpgid(testnet.process.pid) != os.getpgid(0)


@pytest.mark.parametrize(
    "first, fault, words",
    [
        ("sys.exit('no room')", StartFault, "ended with 1 before it said where it is: no room"),
        ("sys.stderr.write('wrong plan'); sys.exit(2)", UsageFault, "ended with 2 .*: wrong plan"),
        ("print('hello')", UsageFault, "announce line"),
        ("sys.stdout.write('half'); sys.stdout.flush(); sys.exit(0)", StartFault, "ended with 0"),
    ],
)
def test_a_testnet_that_does_not_come_up_says_why(first: str, fault: type[Exception], words: str) -> None:
    """Its last words are in the message; called wrongly it is a fault of the caller. Nothing stays behind."""
    with starting(command(first), {**os.environ}) as child, pytest.raises(fault, match=words):
        child.announced(monotonic_ns)


def test_a_testnet_that_says_nothing_is_not_waited_for_without_end() -> None:
    """When the time is over it is ended."""
    with starting(command("signal.pause()"), {**os.environ}) as child:
        with pytest.raises(StartFault, match=r"within 0\.2 s"):
            child.announced(monotonic_ns, within_s=0.2)
        assert not child._child.is_running()


def test_a_program_that_is_not_there_is_a_start_that_failed() -> None:
    """With what the system says."""
    with pytest.raises(StartFault, match="could not be started"):
        Starting(["/nonexistent/agora"], {})


def test_a_process_is_known_by_its_number_and_its_time() -> None:
    """A later process of the same number is another one, and one that is dead but not yet buried is dead."""
    with living() as testnet:
        known = testnet.announcement.process
        assert known is not None
        assert still_living(OwnProcess(known.pid, known.created_s - 3_600)) is None
        assert still_living(OwnProcess(2**22 + 1, known.created_s)) is None
        testnet.process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, known.pid, os.WEXITED | os.WNOWAIT)
        assert still_living(known) is None


def test_a_process_of_an_earlier_life_can_be_ended() -> None:
    """A resumed run is not its parent: the number is enough, and ending it twice is no fault."""
    parent = subprocess.run(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; child = subprocess.Popen(['sleep', '60'], start_new_session=True, "
            "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(child.pid); sys.stdout.flush(); "
            "import os; os._exit(0)",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    process = psutil.Process(int(parent.stdout))
    found = still_living(OwnProcess(process.pid, process.create_time()))
    assert found is not None
    end_process(found)
    assert still_living(OwnProcess(process.pid, process.create_time())) is None
    end_process(found)
