"""The runs of this machine over HTTP: their folders are read as they are, commands go the way of the command line.

Reading files happens on a worker thread, because a disk may take its time and a market on this loop may not; it
touches nothing but files. Knows no market.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Query, Response

from agora.domain.errors import AgoraError, UsageFault
from agora.domain.numbers import NS_PER_S
from agora.server.problems import ProblemFault, json_answer
from agora.server.views import Accepted, EventPage, MetricsPage, Problem, RunOrder, RunRow
from agora.session.controls import CommandFile
from agora.session.folder import COMMAND_FILE, KILL_FILE, LOCK_FILE, Home, command_of, is_locked, write_private

LOGGER = logging.getLogger("agora.server")

# The newest; who keeps more has them in the folder.
RUNS_SHOWN_MAX = 200
EVENTS_MAX = 1_000
# A page of events ends here even when it could hold more records: what a browser swallows at once.
PAGE_BYTES_MAX = 1_000_000
ROWS_MAX = 3_600
# The end of metrics.csv that is looked at: an hour of rows on a dozen symbols.
METRICS_BYTES_MAX = 2_000_000
# Long enough to read the question, short enough that an old one does no harm.
NONCE_LIFE_S = 60
# Nobody confirms a hundred kills in a minute.
NONCES_MAX = 100

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase}
    for status in (400, 401, 403, 404, 409, 413, 415, 422)
}


class _Head(msgspec.Struct):
    """The one member of a journal line that is looked at here."""

    seq: int


_heads = msgspec.json.Decoder(_Head)


class RunPort(msgspec.Struct, frozen=True, kw_only=True):
    """What the runs' routes are given: the home, and two things that the command line knows how to do.

    `glance`: the facts of a run folder (`agora status --json`); `re_arm`: open again a run that has no process.
    """

    home: Home
    glance: Callable[[Path], dict[str, Any]]
    re_arm: Callable[[Path, str], list[str]]
    monotonic_ns: Callable[[], int]


class _Pending(msgspec.Struct):
    """A question that waits for its second step, or the answer it got."""

    run: str
    command: str
    expires_ns: int
    answer: Accepted | None = None


class Confirmations:
    """Nonces of two-step commands: each is good for one run and one command, and works once however often it comes."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    def ask(self, run: str, command: str) -> Accepted:
        """The first step: a nonce to be sent back."""
        self._forget()
        nonce = secrets.token_urlsafe(16)
        expires_ns = self._monotonic_ns() + NONCE_LIFE_S * NS_PER_S
        self._pending[nonce] = _Pending(run, command, expires_ns)
        return Accepted(
            applied=False,
            command=command,
            nonce=nonce,
            expires_in_s=NONCE_LIFE_S,
            detail=f"send it again with this nonce to {command} {run}",
        )

    def confirm(self, run: str, command: str, *, nonce: str, act: Callable[[], Accepted]) -> Accepted:
        """The second step: acts the first time, answers the same afterwards; raises `ProblemFault` else."""
        self._forget()
        pending = self._pending.get(nonce)
        if pending is None or (pending.run, pending.command) != (run, command):
            raise ProblemFault(
                HTTPStatus.CONFLICT,
                "nonce-unknown",
                "that nonce is not, or no longer, good for this: ask for a new one",
            )
        if pending.answer is None:
            pending.answer = act()
        return pending.answer

    def _forget(self) -> None:
        now_ns = self._monotonic_ns()
        while self._pending:
            oldest = next(iter(self._pending.values()))
            if oldest.expires_ns > now_ns and len(self._pending) < NONCES_MAX:
                return
            self._pending.popitem(last=False)


def runs_router(port: RunPort) -> APIRouter:
    """The routes below `/runs`."""
    router = APIRouter(prefix="/runs", tags=["runs"], responses=PROBLEMS)
    confirmations = Confirmations(port.monotonic_ns)

    @router.get("", summary="The newest runs, newest first", response_model=list[RunRow])
    async def list_runs() -> Response:
        return json_answer(await asyncio.to_thread(_rows, port))

    @router.get("/{run_id}", summary="A run at a glance", response_model=RunRow)
    async def show_run(run_id: str) -> Response:
        folder = await asyncio.to_thread(_folder, port.home, run_id)
        return json_answer(await asyncio.to_thread(_row, port, folder))

    @router.get("/{run_id}/events", summary="Journal records after a sequence number", response_model=EventPage)
    async def show_events(
        run_id: str,
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = 200,
    ) -> Response:
        folder = await asyncio.to_thread(_folder, port.home, run_id)
        try:
            page = await asyncio.to_thread(_events_page, folder, after=after, limit=limit)
        except (OSError, EOFError) as fault:
            LOGGER.warning("the journal of %s cannot be read: %s", folder.name, fault)
            raise ProblemFault(HTTPStatus.CONFLICT, "journal-unreadable", "try `agora verify`; it says where") from None
        return Response(page, media_type="application/json")

    @router.get("/{run_id}/metrics", summary="The newest rows of a run's metrics", response_model=MetricsPage)
    async def show_metrics(run_id: str, rows: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 600) -> Response:
        folder = await asyncio.to_thread(_folder, port.home, run_id)
        return json_answer(await asyncio.to_thread(_metrics_page, folder / "metrics.csv", rows))

    _add_commands(router, port, confirmations)
    return router


def _add_commands(router: APIRouter, port: RunPort, confirmations: Confirmations) -> None:
    """What changes a run: stop and reset at once, kill and flatten in two steps.

    A command is one small file; it is written on the loop, so that no second request comes between.
    """

    @router.post("/{run_id}/stop", summary="End a run in order: cancel, flatten, report", response_model=Accepted)
    async def stop(run_id: str, order: RunOrder | None = None) -> Response:
        folder = _folder(port.home, run_id)
        return _answer(_send(folder, "stop", order or RunOrder()))

    @router.post("/{run_id}/reset", summary="Re-arm after a kill or a tripped breaker", response_model=Accepted)
    async def reset(run_id: str, order: RunOrder | None = None) -> Response:
        folder = _folder(port.home, run_id)
        return _answer(_reset(port, folder, order or RunOrder()))

    @router.post("/{run_id}/kill", summary="End a run and keep its account closed (two steps)", response_model=Accepted)
    async def kill(run_id: str, order: RunOrder | None = None) -> Response:
        return _two_steps(run_id, "kill", order or RunOrder())

    @router.post("/{run_id}/flatten", summary="Close all positions of a run (two steps)", response_model=Accepted)
    async def flatten(run_id: str, order: RunOrder | None = None) -> Response:
        return _two_steps(run_id, "flatten", order or RunOrder())

    def _two_steps(run_id: str, command: str, order: RunOrder) -> Response:
        folder = _folder(port.home, run_id)
        if order.nonce:
            act = partial(_send, folder, command, order)
            return _answer(confirmations.confirm(folder.name, command, nonce=order.nonce, act=act))
        _refuse_ended(folder)
        return _answer(confirmations.ask(folder.name, command))


def _answer(accepted: Accepted) -> Response:
    return json_answer(accepted.model_dump(), status=HTTPStatus.OK if accepted.applied else HTTPStatus.ACCEPTED)


def _folder(home: Home, run_id: str) -> Path:
    """The folder of a run by its name or `latest`; never a path, wherever that would lead."""
    names = home.run_names()
    if run_id == "latest" and names:
        return (home.runs / "latest").resolve() if (home.runs / "latest").exists() else home.runs / names[-1]
    if run_id not in names:
        raise ProblemFault(HTTPStatus.NOT_FOUND, "run-unknown", "there is no run of that name")
    return home.runs / run_id


def _refuse_ended(folder: Path) -> None:
    if not is_locked(folder / LOCK_FILE):
        raise ProblemFault(HTTPStatus.CONFLICT, "not-running", f"run {folder.name} is not running")


def _send(folder: Path, command: str, order: RunOrder) -> Accepted:
    """Leave a command for a live run, as `agora stop|kill|flatten` do; the run looks five times a second."""
    _refuse_ended(folder)
    if command == "flatten" and command_of(folder) == "market":
        raise ProblemFault(HTTPStatus.CONFLICT, "nothing-to-flatten", "a market holds no position of yours; stop it")
    write_private(folder / COMMAND_FILE, msgspec.json.encode(CommandFile(command, order.reason)))
    return Accepted(applied=True, command=command, detail=f"{command} sent to {folder.name}")


def _reset(port: RunPort, folder: Path, order: RunOrder) -> Accepted:
    """As `agora reset`: kill files and latches go, the run itself is re-armed. Again: nothing is left to do."""
    opened = [f"{latch.account}: {latch.breaker} of {latch.run_id}" for latch in port.home.reset()]
    (folder / KILL_FILE).unlink(missing_ok=True)
    if is_locked(folder / LOCK_FILE):
        _send(folder, "reset", order)
    elif command_of(folder) == "run":  # a market has no breakers: its kill file was all
        opened += _re_armed(port, folder, order.reason)
    return Accepted(applied=True, command="reset", detail="; ".join(opened) or "nothing was tripped")


def _re_armed(port: RunPort, folder: Path, reason: str) -> list[str]:
    try:
        return port.re_arm(folder, reason)
    except AgoraError as fault:
        raise ProblemFault(HTTPStatus.CONFLICT, "cannot-reset", str(fault)) from None


def _rows(port: RunPort) -> list[dict[str, Any]]:
    return [_row(port, port.home.runs / name) for name in port.home.run_names()[: -RUNS_SHOWN_MAX - 1 : -1]]


def _row(port: RunPort, folder: Path) -> dict[str, Any]:
    """What the API tells of a run: all but where it lies on the disk."""
    try:
        facts = port.glance(folder)
    except UsageFault:  # a folder without readable settings: being made, or no run of ours
        facts = {"run": folder.name, "state": "unreadable"}
    return {name: facts.get(name) for name in RunRow.model_fields}


def _events_page(folder: Path, *, after: int, limit: int) -> bytes:
    """A page of journal lines, as they are."""
    lines: list[bytes] = []
    last_seq, size_bytes, has_more = after, 0, False
    for seq, line in _lines_after(folder, after):
        if len(lines) == limit or (lines and size_bytes + len(line) > PAGE_BYTES_MAX):
            has_more = True
            break
        lines.append(line)
        last_seq, size_bytes = seq, size_bytes + len(line)
    tail = b'],"last_seq":%d,"has_more":%b}' % (last_seq, b"true" if has_more else b"false")
    return b'{"events":[' + b",".join(lines) + tail


def _lines_after(folder: Path, after: int) -> Iterator[tuple[int, bytes]]:
    """Lines with a larger sequence number, in order. A line without its end is still being written."""
    for path in _files_from(folder, after):
        with _opened(path) as file:
            yield from ((seq, line[:-1]) for line in file if line.endswith(b"\n") and (seq := _seq_of(line)) > after)


def _opened(path: Path) -> IO[bytes]:
    """A live file, or a sealed one as it was."""
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _files_from(folder: Path, after: int) -> list[Path]:
    """The journal's event files, without those that end before the wanted record: told by how the next one begins."""
    sealed = sorted(folder.glob("events-[0-9]*.jsonl.gz"))
    live = folder / "events.jsonl"
    files = [*sealed, live] if live.is_file() else sealed
    for place in range(len(files) - 1, 0, -1):
        with _opened(files[place]) as file:
            first = _seq_of(file.readline())
        if 0 <= first <= after + 1:
            return files[place:]
    return files


def _seq_of(line: bytes) -> int:
    """The sequence number of a line, -1 when it has none: `verify` finds out why."""
    try:
        return _heads.decode(line).seq
    except msgspec.MsgspecError:
        return -1


def _metrics_page(path: Path, rows_max: int) -> dict[str, Any]:
    """The newest rows of a metrics file."""
    if not path.is_file():
        return {"columns": [], "rows": []}
    with path.open("rb") as file:
        columns = next(csv.reader([file.readline(METRICS_BYTES_MAX).decode(errors="replace")]), [])
        start = file.tell()
        size_bytes = file.seek(0, 2)
        file.seek(max(start, size_bytes - METRICS_BYTES_MAX))
        lines = file.read(METRICS_BYTES_MAX).decode(errors="replace").split("\n")[:-1]
    rows = [cells for cells in csv.reader(lines[-rows_max:]) if len(cells) == len(columns)]
    return {"columns": columns, "rows": [[cell or None for cell in cells] for cells in rows]}
