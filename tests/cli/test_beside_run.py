"""The API beside a run: asked for by a port, gone with the run, and absent unless asked for."""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from agora.session.folder import Home
from tests.cli.commands import call
from tests.scenarios.processes import Running, only_run, report_of

SHORT = ("--venue", "local", "--interval", "1s")


def answer_of(port: int, path: str) -> Any:
    """What a call answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


def test_the_api_shows_the_run_while_it_trades(home: Path) -> None:
    """Port 0 takes a free one and says which; the run is there as running; when it has ended, so has the API."""
    run = Running(home, *SHORT, "--duration", "0.1", "--port", "0")
    run.wait_for("token")
    found = re.search(r"API http://127\.0\.0\.1:(\d+)(/runs/\S+) ", run.said.decode())
    assert found is not None, run.said
    facts = answer_of(int(found[1]), found[2])
    assert (facts["run"], facts["state"], facts["venue"]) == (only_run(home).name, "running", "local")
    assert run.wait() == 0
    assert report_of(only_run(home))["exit_code"] == 0
    with pytest.raises(ConnectionRefusedError):
        answer_of(int(found[1]), "/health")


def test_a_port_that_is_taken_keeps_the_run_from_starting(home: Path) -> None:
    """Exit code 3 with the port; nothing was traded, and nothing is left that looks like a run."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = call(home, ["run", *SHORT, "--duration", "0.01", "--quiet", "--port", str(port)])
    assert said.code == 3
    assert str(port) in said.err
    assert Home(home).run_names() == []
    assert not (home / "runs" / "latest").is_symlink()


def test_a_run_without_a_port_has_no_api(home: Path) -> None:
    """Neither by itself nor when the settings name one and the flag says no."""
    said = call(home, ["run", *SHORT, "--duration", "0.02", "--no-server"], {"AGORA_RUN__PORT": "0"})
    assert said.code == 0
    assert "API" not in said.err
    assert call(home, ["config", "show", "--json"]).facts["run.port"]["value"] == -1
