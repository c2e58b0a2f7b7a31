"""A PostgreSQL server of our own for a test: made from the system's packages, on a local socket and a loopback port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "only-for-this-test"
START_TIMEOUT_S = 60


def server_programs() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda folder: float(folder.parent.name), default=None)


def _as_server_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; its packages bring a user for it."""
    if os.geteuid() != 0:
        return command
    if shutil.which("runuser") is None:
        pytest.skip("a PostgreSQL server does not run as root, and there is no runuser")
    return ["runuser", "-u", "postgres", "--", *command]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        _as_server_user(command), cwd=folder, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


class Server:
    """A server with its data below a folder that its user may enter; `url` is what a ledger is given."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://agora:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """A new cluster whose only user needs its password."""
        secret = self._folder / "secret"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
            shutil.chown(secret, "postgres")
        flags = ["--auth=scram-sha-256", f"--pwfile={secret}", "--username=agora", "--no-sync", "--encoding=UTF8"]
        _run([str(self._programs / "initdb"), "--pgdata", str(self._folder / "data"), *flags], self._folder)

    def start(self) -> None:
        """Listen; returns once it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._control("start", "-o", options, "-l", log)

    def stop(self) -> None:
        """Break all connections and end."""
        self._control("stop", "-m", "immediate")

    def _control(self, command: str, *flags: str) -> None:
        program = str(self._programs / "pg_ctl")
        _run(
            [program, command, "-w", "-t", str(START_TIMEOUT_S), "-D", str(self._folder / "data"), *flags], self._folder
        )


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """A running server that ends with the block; skips the test where none is installed."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    server = Server(programs, folder)
    server.create()
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(AssertionError):  # a test may have stopped it
            server.stop()
