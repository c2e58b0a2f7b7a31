"""Runs over HTTP: what their folders hold, page by page; commands that reach them, the grave ones in two steps."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agora.cli.glance import METRICS_FILE, REPORT_FILE
from agora.domain.numbers import NS_PER_S
from agora.server import runs
from agora.server.views import Accepted
from agora.session.controls import ProcessControls
from agora.session.folder import COMMAND_FILE, CONFIG_FILE, KILL_FILE, LOCK_FILE, Latch, Lock
from tests.server.markets import Served
from tests.server.test_app import conducted
from tests.server.test_auth import raw, request

SETTINGS = {"values": {"run": {"venue": "local", "trader": ["trend"], "symbol": ["BTCUSDT"], "seed": 3}}}


def folder_of(server: Served, name: str, *, events: int = 0) -> Path:
    """The folder of an interrupted run with a journal of that many records."""
    folder = server.home.runs / name
    folder.mkdir()
    (folder / CONFIG_FILE).write_text(json.dumps(SETTINGS))
    (folder / "events.jsonl").write_bytes(b"".join(line(seq) for seq in range(1, events + 1)))
    return folder


def line(seq: int, text: str = "") -> bytes:
    """A record as a journal writes it, with a text that looks like one."""
    record = {"hash": "0" * 64, "kind": "warning", "seq": seq, "text": text or '"seq":999', "wall_ns": 1}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def command_in(folder: Path) -> dict[str, Any] | None:
    """What waits for a run, taken away as the run does."""
    path = folder / COMMAND_FILE
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return found


def test_runs_are_listed_newest_first_with_what_they_are(tmp_path: Path) -> None:
    """Interrupted, running and ended; where they lie on the disk is not told; what is no run is called unreadable."""

    async def script(server: Served) -> None:
        folder_of(server, "20260101T000000Z-a")
        running = folder_of(server, "20260102T000000Z-b")
        ended = folder_of(server, "20260103T000000Z-c")
        (server.home.runs / "20260104T000000Z-d").mkdir()
        (ended / REPORT_FILE).write_text(json.dumps({"status": "completed", "pnl_net": "1.50", "residual": []}))
        lock = Lock(running / LOCK_FILE, "run")
        status, body = await server.get("/runs")
        lock.release()
        assert status == 200
        assert [(row["run"][-1], row["state"]) for row in body] == [
            ("d", "unreadable"), ("c", "ended"), ("b", "running"), ("a", "interrupted"),
        ]  # fmt: skip
        assert (body[1]["report"]["pnl_net"], body[1]["seed"]) == ("1.50", 3)
        assert str(tmp_path) not in json.dumps(body)
        assert (await server.get("/runs/20260103T000000Z-c"))[1] == body[1]

    conducted(tmp_path, script)


def test_a_run_is_a_name_and_never_a_path(tmp_path: Path) -> None:
    """Nothing outside of the runs can be read by a clever name."""

    async def script(server: Served) -> None:
        (tmp_path / CONFIG_FILE).write_text(json.dumps(SETTINGS))
        folder_of(server, "real")
        host = f"127.0.0.1:{server.address.port}"
        names = ("..", ".", "%2e%2e", "..%2f", "%2Fetc", "real%2F..", "real%00", str(tmp_path), "REAL", "a" * 9_000)
        for name in names:
            for path in (f"/runs/{name}", f"/runs/{name}/events", f"/runs/{name}/metrics"):
                status, answer = await raw(server, request("GET", path, host=host))
                assert status == 404, path
                assert b"BTCUSDT" not in answer
        assert (await server.get("/runs/real"))[0] == 200

    conducted(tmp_path, script)


def test_events_come_in_pages_over_sealed_and_live_files(tmp_path: Path) -> None:
    """Every record once and in order, whatever the size of the page; a line still being written waits."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        for number, first in ((1, 1), (2, 41)):
            with gzip.open(folder / f"events-{number:06d}.jsonl.gz", "wb") as file:
                file.write(b"".join(line(seq) for seq in range(first, first + 40, 1 if number == 1 else 2)))
        (folder / "events.jsonl").write_bytes(line(82) + line(85) + line(86)[:-9])
        expected = [*range(1, 41), *range(41, 81, 2), 82, 85]
        for limit in (7, 1_000):
            seen: list[int] = []
            after, has_more = 0, True
            while has_more:
                status, page = await server.get(f"/runs/run/events?after={after}&limit={limit}")
                assert status == 200
                assert len(page["events"]) <= limit
                seen += [event["seq"] for event in page["events"]]
                after, has_more = page["last_seq"], page["has_more"]
            assert seen == expected
        assert (await server.get("/runs/run/events?after=85"))[1] == {"events": [], "last_seq": 85, "has_more": False}

    conducted(tmp_path, script)


def test_a_page_of_events_has_a_bounded_size(tmp_path: Path) -> None:
    """Large records make short pages; one that is larger than a page still comes, alone."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        big = [line(seq, "x" * (runs.PAGE_BYTES_MAX // 3)) for seq in (1, 2, 3)]
        (folder / "events.jsonl").write_bytes(b"".join(big) + line(4, "x" * 2 * runs.PAGE_BYTES_MAX) + line(5))
        pages, after = [], 0
        while True:
            _, page = await server.get(f"/runs/run/events?after={after}&limit=1000")
            pages.append([event["seq"] for event in page["events"]])
            after = page["last_seq"]
            if not page["has_more"]:
                break
        assert pages == [[1, 2], [3], [4], [5]]

    conducted(tmp_path, script)


def test_only_the_files_that_matter_are_read(tmp_path: Path) -> None:
    """A reader who follows a long run does not unpack its whole past: a damaged old segment is not touched."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        (folder / "events-000001.jsonl.gz").write_bytes(b"no gzip")
        with gzip.open(folder / "events-000002.jsonl.gz", "wb") as file:
            file.write(line(41))
        (folder / "events.jsonl").write_bytes(line(60) + line(61))
        _, page = await server.get("/runs/run/events?after=60")
        assert [event["seq"] for event in page["events"]] == [61]
        _, page = await server.get("/runs/run/events?after=40")
        assert [event["seq"] for event in page["events"]] == [41, 60, 61]
        status, problem = await server.get("/runs/run/events")
        assert (status, problem["type"]) == (409, "journal-unreadable")

    conducted(tmp_path, script)


def test_metrics_are_the_newest_rows(tmp_path: Path) -> None:
    """As many as asked for, oldest first, empty cells null, a cut last line left out; no file, no rows."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        assert (await server.get("/runs/run/metrics"))[1] == {"columns": [], "rows": []}
        rows = "".join(f"t{number},{number}.5,\n" for number in range(100_000))
        (folder / METRICS_FILE).write_text("ts,equity,rss_mb\n" + rows + "t-cut,1")
        _, body = await server.get("/runs/run/metrics?rows=3")
        assert body == {
            "columns": ["ts", "equity", "rss_mb"],
            "rows": [["t99997", "99997.5", None], ["t99998", "99998.5", None], ["t99999", "99999.5", None]],
        }
        _, body = await server.get("/runs/run/metrics?rows=3600")
        assert (len(body["rows"]), body["rows"][0][0]) == (3_600, "t96400")

    conducted(tmp_path, script)


def test_a_stop_reaches_a_live_run_and_only_a_live_one(tmp_path: Path) -> None:
    """The run's own controls hear it with its reason; a run without a process answers 409."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        status, body = await server.post("/runs/run/stop")
        assert (status, body["type"], command_in(folder)) == (409, "not-running", None)
        lock = Lock(folder / LOCK_FILE, "run")
        clock = [NS_PER_S]
        controls = ProcessControls(folder, server.home.kill_file, monotonic_ns=lambda: clock[0])
        status, body = await server.post("/runs/run/stop", {"reason": "lunch"})
        clock[0] += NS_PER_S
        heard = controls.poll(0)
        assert (status, body["applied"]) == (200, True)
        assert heard is not None
        assert (heard.command, heard.reason) == ("stop", "lunch")
        assert (await server.post("/runs/latest/stop"))[0] == 200
        assert command_in(folder) == {"command": "stop", "reason": "operator"}
        lock.release()

    conducted(tmp_path, script)


@pytest.mark.parametrize("command", ["kill", "flatten"])
def test_grave_commands_take_two_steps_and_act_once(tmp_path: Path, command: str) -> None:
    """The first step does nothing but answer a nonce; the second acts; the same again answers the same, unacted."""

    async def script(server: Served) -> None:
        folder, other = folder_of(server, "run"), folder_of(server, "other")
        locks = [Lock(one / LOCK_FILE, "run") for one in (folder, other)]
        status, asked = await server.post(f"/runs/run/{command}", {"reason": "smoke"})
        assert (status, asked["applied"], asked["expires_in_s"]) == (202, False, 60)
        assert command_in(folder) is None
        nonce = {"nonce": asked["nonce"], "reason": "smoke"}
        wrong = "flatten" if command == "kill" else "kill"
        for path, body in (
            (f"/runs/other/{command}", nonce),
            (f"/runs/run/{wrong}", nonce),
            (f"/runs/run/{command}", {"nonce": "made-up"}),
        ):
            status, refused = await server.post(path, body)
            assert (status, refused["type"]) == (409, "nonce-unknown"), path
        assert (command_in(folder), command_in(other)) == (None, None)
        first = await server.post(f"/runs/run/{command}", nonce)
        assert first[0] == 200
        assert command_in(folder) == {"command": command, "reason": "smoke"}
        assert await server.post(f"/runs/run/{command}", nonce) == first
        assert command_in(folder) is None
        for lock in locks:
            lock.release()

    conducted(tmp_path, script)


def test_a_run_that_is_not_alive_gives_no_nonce(tmp_path: Path) -> None:
    """409 at the first step; and at the second when it ended in between."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        assert (await server.post("/runs/run/kill"))[0] == 409
        lock = Lock(folder / LOCK_FILE, "run")
        _, asked = await server.post("/runs/run/kill")
        lock.release()
        status, body = await server.post("/runs/run/kill", {"nonce": asked["nonce"]})
        assert (status, body["type"], command_in(folder)) == (409, "not-running", None)

    conducted(tmp_path, script)


def test_nonces_expire_and_are_few() -> None:
    """After a minute a nonce is nothing; of too many the oldest go first."""
    clock = [0]
    confirmations = runs.Confirmations(lambda: clock[0])
    done = Accepted(applied=True, command="kill")

    def nonce() -> str:
        answered = confirmations.ask("run", "kill").nonce
        assert answered is not None
        return answered

    early = nonce()
    clock[0] = runs.NONCE_LIFE_S * NS_PER_S - 1
    assert confirmations.confirm("run", "kill", nonce=early, act=lambda: done) is done
    clock[0] += 1
    with pytest.raises(runs.ProblemFault):
        confirmations.confirm("run", "kill", nonce=early, act=lambda: done)
    many = [nonce() for _ in range(runs.NONCES_MAX + 1)]
    assert len(set(many)) == len(many)
    with pytest.raises(runs.ProblemFault):
        confirmations.confirm("run", "kill", nonce=many[0], act=lambda: done)
    assert confirmations.confirm("run", "kill", nonce=many[-1], act=lambda: done) is done


def test_a_reset_opens_what_a_kill_closed(tmp_path: Path) -> None:
    """Kill files and latches go; a dead run is re-armed, a live one is told; doing it again changes nothing."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        (folder / KILL_FILE).write_text("smoke")
        server.home.kill_file.write_text("smoke")
        server.home.latch(Latch("paper", "run", "kill", "smoke", ""))
        status, body = await server.post("/runs/run/reset", {"reason": "aired"})
        assert (status, body["detail"]) == (200, "paper: kill of run; breaker")
        assert server.re_armed == ["run: aired"]
        assert not (folder / KILL_FILE).exists()
        assert not server.home.kill_file.exists()
        assert server.home.latches() == []
        lock = Lock(folder / LOCK_FILE, "run")
        assert (await server.post("/runs/run/reset"))[1]["detail"] == "nothing was tripped"
        assert command_in(folder) == {"command": "reset", "reason": "operator"}
        lock.release()

    conducted(tmp_path, script)


def test_reading_a_large_run_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """While a long journal is searched, other requests are answered."""

    async def script(server: Served) -> None:
        folder = folder_of(server, "run")
        with gzip.open(folder / "events-000001.jsonl.gz", "wb", compresslevel=1) as file:
            file.write(b"".join(line(seq) for seq in range(1, 60_001)))
        answered: list[str] = []

        async def page() -> None:
            _, body = await server.get("/runs/run/events?after=59999")
            assert [event["seq"] for event in body["events"]] == [60_000]
            answered.append("page")

        async def health() -> None:
            await server.get("/health")
            answered.append("health")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(page())
            tasks.create_task(health())
        assert answered == ["health", "page"]

    conducted(tmp_path, script)
