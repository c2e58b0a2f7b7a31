"""The cassette: what models answered, kept in one file, so that the same questions need not be paid for again.

JSON lines, append-only: a header, then one line per answer with the question's hash and how often the same question
had been answered before: its n-th use gets its n-th answer. Knows nothing of providers, and never sees a secret.
"""

from __future__ import annotations

import fcntl
import logging
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from agora.domain.decisions import AnswerOutcome, Reply, ReplySource
from agora.domain.errors import StartFault, UsageFault

LOGGER = logging.getLogger("agora")
VERSION = 1
FILE_MODE = 0o600
# A day of a dozen agents at a tick a second is a million answers of 200 bytes.
FILE_BYTES_MAX = 512_000_000
# An answer is cut off at 64 KiB before it is read; escaped as JSON it may take six times that.
LINE_BYTES_MAX = 1_000_000


class CassetteMode(StrEnum):
    """What a cassette is used for."""

    LIVE = "live"
    RECORD = "record"
    REPLAY = "replay"
    AUTO = "auto"


class _Use(msgspec.Struct, frozen=True, kw_only=True):
    """What a mode does: takes answers from the file (as which source), asks when there is none, keeps new ones."""

    source: ReplySource | None
    asks: bool
    keeps: bool


_USES = {
    CassetteMode.LIVE: _Use(source=None, asks=True, keeps=False),
    CassetteMode.RECORD: _Use(source=None, asks=True, keeps=True),
    CassetteMode.REPLAY: _Use(source=ReplySource.REPLAY, asks=False, keeps=False),
    CassetteMode.AUTO: _Use(source=ReplySource.CACHE, asks=True, keeps=True),
}


class _Header(msgspec.Struct, frozen=True):
    """The first line."""

    cassette: int


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: to which question, the how-manieth (from 0), and what it was."""

    key: str
    use: int
    reply: Reply


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a question: its hash and how often it was used before."""

    key: str
    use: int


_LINES = msgspec.json.Decoder(_Line)


class Cassette:
    """Answers by question. Without a path nothing is kept. Raises `UsageFault` for a file that is no cassette.

    Live answers that failed (a time-out, a fault of the provider) are kept too: a strict replay fails the same way,
    while `auto` asks again.
    """

    def __init__(self, path: Path | None, mode: CassetteMode) -> None:
        self._use = _USES[mode] if path is not None else _USES[CassetteMode.LIVE]
        self._uses: dict[str, int] = {}
        self._places: dict[tuple[str, int], tuple[int, int]] = {}
        self._keys: list[str] = []
        self._size = 0
        self._file: int | None = None
        # Answers that found no room; they were used, but a replay will miss them.
        self.dropped = 0
        if path is not None and mode is not CassetteMode.LIVE:
            self._file = _open(path, is_writing=self._use.keeps)
            try:
                self._load(path)
            except (OSError, StartFault, UsageFault):
                os.close(self._file)
                raise

    def take(self, key: str) -> tuple[Slot, Reply | None]:
        """Use a question once more: its place, and its answer, or None where somebody has to be asked."""
        slot = Slot(key=key, use=self._uses.get(key, 0))
        self._uses[key] = slot.use + 1
        if self._use.source is None:
            return slot, None
        reply = self._read(slot)
        if self._use.asks:
            # A question that failed is asked again.
            is_hit = reply is not None and reply.outcome is None
            return slot, self._as_taken(reply) if is_hit and reply is not None else None
        if reply is None:
            return slot, Reply(
                outcome=AnswerOutcome.REPLAY,
                source=ReplySource.REPLAY,
                detail=f"the cassette has no answer {slot.use} to {slot.key[:16]}",
            )
        return slot, self._as_taken(reply)

    def keep(self, slot: Slot, reply: Reply) -> None:
        """Keep what was answered; an answer to the same use kept before is superseded.

        A full or failing disk is said once and counted in `dropped`: the run's own record is the journal.
        """
        if self._file is None or not self._use.keeps:
            return
        line = msgspec.json.encode(_Line(key=slot.key, use=slot.use, reply=reply)) + b"\n"
        if len(line) > LINE_BYTES_MAX or self._size + len(line) > FILE_BYTES_MAX:
            self._drop("it has reached its largest size")
            return
        try:
            self._append(line)
        except OSError as fault:
            self._drop(fault.strerror or "the disk refused")
            return
        self._note(slot.key, slot.use, len(line))

    def _drop(self, reason: str) -> None:
        if not self.dropped:
            LOGGER.warning("the cassette keeps no further answers: %s", reason)
        self.dropped += 1

    def snapshot(self) -> dict[str, Any]:
        """How many uses there were so far."""
        return {"uses": sum(self._uses.values())}

    def restore(self, memory: dict[str, Any]) -> None:
        """Go on after so many uses, which are those of the file's first lines.

        That holds where the run itself wrote the file, or replays a file of the same run from its start.
        """
        self._uses = {}
        for key in self._keys[: int(memory["uses"])]:
            self._uses[key] = self._uses.get(key, 0) + 1

    def close(self) -> None:
        """Make the file durable and let go of it."""
        if self._file is None:
            return
        try:
            if self._use.keeps:
                os.fsync(self._file)
        finally:
            os.close(self._file)
            self._file = None

    def _as_taken(self, reply: Reply) -> Reply:
        """An answer from the file costs nothing; the time it took is that of its first life."""
        assert self._use.source is not None, "this mode takes nothing"
        return msgspec.structs.replace(reply, source=self._use.source, cost_units=0)

    def _read(self, slot: Slot) -> Reply | None:
        place = self._places.get((slot.key, slot.use))
        if place is None or self._file is None:
            return None
        start, length = place
        return _LINES.decode(os.pread(self._file, length, start)).reply

    def _append(self, line: bytes) -> None:
        assert self._file is not None, "closed"
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            # Half a line would make the next one unreadable.
            os.ftruncate(self._file, self._size)
            raise

    def _note(self, key: str, use: int, length: int) -> None:
        if (key, use) not in self._places:
            self._keys.append(key)
        self._places[key, use] = (self._size, length)
        self._size += length

    def _load(self, path: Path) -> None:
        """Index the file; a last line that a crash cut off is cut away (or ignored, where nothing is written)."""
        assert self._file is not None
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            header = file.readline(LINE_BYTES_MAX)
            if not header.endswith(b"\n"):
                self._begin(path, header)
                return
            self._check_header(path, header)
            self._size = len(header)
            for number, content in enumerate(iter(lambda: file.readline(LINE_BYTES_MAX), b""), 2):
                if not content.endswith(b"\n") and len(content) < LINE_BYTES_MAX:
                    break
                line = _decoded(path, number, content)
                self._note(line.key, line.use, len(content))
        if self._use.keeps:
            os.ftruncate(self._file, self._size)

    def _begin(self, path: Path, found: bytes) -> None:
        """A new file, or one that a crash cut off in its first line."""
        header = msgspec.json.encode(_Header(VERSION)) + b"\n"
        if not header.startswith(found):
            raise UsageFault(f"{path} is no cassette")
        if not self._use.keeps:
            return
        assert self._file is not None
        os.ftruncate(self._file, 0)
        try:
            self._append(header)
        except OSError as fault:
            raise StartFault(f"cannot write the cassette {path}: {fault.strerror}") from None
        self._size = len(header)

    def _check_header(self, path: Path, content: bytes) -> None:
        try:
            version = msgspec.json.decode(content, type=_Header).cassette
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UsageFault(f"{path} is no cassette") from None
        if version != VERSION:
            raise UsageFault(f"{path} is a cassette of version {version}, this program reads {VERSION}")


def _decoded(path: Path, number: int, content: bytes) -> _Line:
    try:
        return _LINES.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise UsageFault(f"{path}, line {number}: damaged: {fault}") from None


def _open(path: Path, *, is_writing: bool) -> int:
    """The file, readable by its owner only; a file to write has one writer."""
    # No following of links: the name may stand in a folder that others write to.
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_RDWR | os.O_APPEND | os.O_CREAT if is_writing else os.O_RDONLY)
    try:
        file = os.open(path, flags, FILE_MODE)
    except OSError as fault:
        raise UsageFault(f"cannot open the cassette {path}: {fault.strerror}") from None
    try:
        _claim(file, path, is_writing=is_writing)
    except (OSError, StartFault, UsageFault):
        os.close(file)
        raise
    return file


def _claim(file: int, path: Path, *, is_writing: bool) -> None:
    if os.fstat(file).st_size > FILE_BYTES_MAX:
        raise UsageFault(f"the cassette {path} is larger than {FILE_BYTES_MAX} bytes")
    if not is_writing:
        return
    os.fchmod(file, FILE_MODE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartFault(f"the cassette {path} is in use by another run") from None
