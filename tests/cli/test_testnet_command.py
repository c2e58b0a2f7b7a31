"""`agora testnet bitunix` as a process: its first line, its end, and settings that cannot be meant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call

# A cold compile of the matching kernel on a busy machine, and the start of the process.
ANNOUNCES_WITHIN_S = 120.0
ENDS_WITHIN_S = 3.0


def get(url: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  an address of ours
        return json.load(answer)


@pytest.mark.requirement("B44")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_line_says_where_it_is_and_a_signal_ends_it(home: Path, number: int) -> None:
    """One line on standard output; REST and control answer; three seconds after the signal it is gone, with code 0."""
    words = [sys.executable, "-m", "agora", "testnet", "bitunix", "--port", "0", "--seed", "9", "--symbol", "ethusdt"]
    words += ["--speed", "2", "--set", "testnet.accounts=2", "--idle-minutes", "5"]
    environment = {**os.environ, "AGORA_HOME": str(home)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert (said["venue"], len(said["accounts"])) == ("bitunix", 2)
        pairs = get(said["urls"]["rest"] + "/api/v1/futures/market/trading_pairs")
        assert [row["symbol"] for row in pairs["data"]] == ["ETHUSDT"]
        assert get(said["control"] + "/time")["factor"] == 2
        process.send_signal(number)
        rest, _ = process.communicate(timeout=ENDS_WITHIN_S)
        assert (process.returncode, rest) == (0, "")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--symbol", "NOPE"], "NOPE"),
        (["--data", "/no/such/file"], "no such file"),
        (["--set", "testnet.depth_ms=1"], "testnet.depth_ms"),
        (["--set", "testnet.unknown=1"], "unknown key"),
        (["--speed", "0"], "testnet.speed"),
        (["--faults", "FILE"], "FILE"),
    ],
)
def test_what_cannot_be_meant_ends_it_before_it_is_there(home: Path, words: list[str], message: str) -> None:
    """Exit code 2 and a message; nothing on standard output."""
    said = call(home, ["testnet", "bitunix", *words])
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_a_plan_with_an_unknown_fault_is_refused_with_those_that_are_known(home: Path, tmp_path: Path) -> None:
    """Exit code 2; the message lists the faults of this venue."""
    plan = tmp_path / "plan.json"
    plan.write_text('[{"fault": "model_slow"}]')
    said = call(home, ["testnet", "bitunix", "--faults", str(plan)])
    assert said.code == 2
    assert "ws_mute" in said.err
