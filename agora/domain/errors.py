"""Every exception of Agora and the exit code that each consequence has.

The tree is sorted by consequence, not by origin::

    AgoraError
    ├── UsageFault        the user asked for something impossible: say what, exit 2
    ├── StartFault        the run could not start: exit 3
    ├── Transient         a venue or network hiccup: retried with a bound, then fatal
    ├── JournalFault      disk or journal failure: close admission, flatten, exit 7
    │   └── DamagedJournal  a record that was once durable does not verify: refuse to trade
    └── Bug               an invariant of ours failed: exit 8

A refused order or a malformed message is not an exception; it is a value (see `events`).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command that runs something; the manual prints this table."""

    COMPLETED = 0
    USAGE = 2
    COULD_NOT_START = 3
    RISK_STOP = 4
    DATA_STOP = 5
    NOT_FLAT = 6
    JOURNAL_FAILURE = 7
    BUG = 8
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.COMPLETED: "ended as planned, flat, with data received and decisions made",
    ExitCode.USAGE: "usage or configuration fault",
    ExitCode.COULD_NOT_START: "could not start: venue unreachable, preflight failed, locked by another run, "
    "breaker or kill not reset, journal damaged in the middle",
    ExitCode.RISK_STOP: "stopped by a risk rule (loss, drawdown, streak, kill), flat",
    ExitCode.DATA_STOP: "stopped by data or venue trouble (no data, stale, desync), flat",
    ExitCode.NOT_FLAT: "ended not flat: the report says what is left and why",
    ExitCode.JOURNAL_FAILURE: "journal or disk failure",
    ExitCode.BUG: "a bug of ours (invariant, unexpected exception)",
    ExitCode.INTERRUPTED: "interrupted by SIGINT, flat",
    ExitCode.TERMINATED: "interrupted by SIGTERM, flat",
}


class AgoraError(Exception):
    """Root of all exceptions raised on purpose; `exit_code` is what a command ends with."""

    exit_code: ExitCode = ExitCode.BUG


class UsageFault(AgoraError):
    """The request cannot be meant: unknown key, missing file, value out of range."""

    exit_code = ExitCode.USAGE


class StartFault(AgoraError):
    """A run could not start; nothing was traded."""

    exit_code = ExitCode.COULD_NOT_START


class Transient(AgoraError):
    """A fault outside that may pass; callers retry with a bound."""

    exit_code = ExitCode.DATA_STOP


class JournalFault(AgoraError):
    """The record of the run cannot be written or read."""

    exit_code = ExitCode.JOURNAL_FAILURE


class DamagedJournal(JournalFault):
    """A record in the middle of a journal does not verify; trading on it is refused."""

    exit_code = ExitCode.COULD_NOT_START


class Bug(AgoraError):
    """An impossible state. The run cancels, reports and ends."""

    exit_code = ExitCode.BUG
