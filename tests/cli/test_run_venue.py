"""`agora run` at a venue that is not there, and what it says before it goes anywhere."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agora.cli.urls import address_settings
from agora.session.access import account_name
from agora.session.credentials import Secret
from agora.session.folder import Home, Latch, Lock, read_json
from tests.cli.commands import Answer, call
from tests.scenarios.processes import only_run
from tests.session.test_access import line

SHORT = ("--duration", "0.02", "--interval", "1s", "--quiet")
# What a person waits for; the tests do not.
QUICK = ("--set", "bitunix.read_s_max=0.2")


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address of this machine at which nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def run(home: Path, *words: str, **environment: str) -> Answer:
    """A short run."""
    return call(home, ["run", *SHORT, *QUICK, *words], environment)


@pytest.mark.requirement("B52")
def test_a_venue_that_cannot_be_reached_is_named_and_nothing_is_left(home: Path, nowhere: str) -> None:
    """Exit code 3 with the host and the cause; no run folder."""
    said = run(home, "--venue", "bitunix", "--rest-url", f"http://{nowhere}")
    assert said.code == 3
    assert nowhere in said.err
    assert "cannot be reached" in said.err
    assert Home(home).run_names() == []


def test_a_paper_run_falls_back_where_it_was_allowed_to(home: Path, nowhere: str) -> None:
    """It trades on the local market, as a run of that: settings, account and report say so, and why."""
    said = run(home, "--venue", "bitunix", "--rest-url", f"http://{nowhere}", "--fallback", "local", "--json")
    assert said.code == 0, said.err
    assert (said.facts["venue"], said.facts["mode"]) == ("local", "paper")
    sources = read_json(only_run(home) / "config.json")["sources"]
    assert sources["run.venue"].startswith("fallback: bitunix cannot be reached")
    assert nowhere in sources["run.venue"]
    assert call(home, ["verify"]).code == 0
    assert call(home, ["replay"]).code == 0
    Home(home).latch(Latch("paper-local", "run-1", "max_loss", "600.00", "500.00"))
    again = run(home, "--venue", "bitunix", "--rest-url", f"http://{nowhere}", "--fallback", "local")
    assert (again.code, "max_loss" in again.err) == (3, True)


def test_a_live_run_never_falls_back(home: Path, nowhere: str) -> None:
    """Asked for both, it does not start."""
    words = ("--venue", "bitunix", "--mode", "live", "--rest-url", f"http://{nowhere}", "--fallback", "local")
    said = run(home, *words)
    assert said.code == 2
    assert "run.fallback" in said.err


@pytest.mark.parametrize(
    "words, message",
    [
        (["--venue", "bitunix", "--mode", "live"], "--i-accept-real-money"),
        (["--venue", "bitunix", "--mode", "live", "--ws-url", "ws://127.0.0.1:1"], "--i-accept-real-money"),
        (["--url", "rest"], "NAME=URL"),
        (["--url", "gamma=http://127.0.0.1:1"], "rest, public_ws, private_ws"),
        (["--url", "rest=ws://127.0.0.1:1"], "address rest"),
        (["--url", "rest=http://127.0.0.1:1", "--rest-url", "http://127.0.0.1:2"], "given twice"),
        (["--ws-url", "ws://me:canary@127.0.0.1:1"], "no name or password"),
        (["--venue", "testnet", "--rest-url", "http://127.0.0.1:1"], "public_ws"),
        (["--venue", "local", "--faults", "FILE"], "no such fault plan"),
        (["--venue", "testnet", "--testnet", "/nonexistent"], "/nonexistent"),
        (["--resume", "--testnet", "-"], "--testnet"),
    ],
)
@pytest.mark.requirement("B51")
def test_what_cannot_be_meant_is_said_before_anything_is_sent(home: Path, words: list[str], message: str) -> None:
    """Exit code 2, a message, no folder; a password that was typed is not repeated."""
    keys = {"AGORA_BITUNIX__API_KEY": "canary-key", "AGORA_BITUNIX__API_SECRET": "canary-secret"}
    said = run(home, *words, **keys)
    assert said.code == 2
    assert message in said.err
    assert "canary" not in said.out + said.err
    assert Home(home).run_names() == []


def test_one_address_is_short_for_both_sockets() -> None:
    """A host stands for the places that the venue itself has there; an address with a path is taken as it is."""
    both = address_settings([], None, "ws://127.0.0.1:7")
    assert both == {
        "bitunix.public_ws": "ws://127.0.0.1:7/public/",
        "bitunix.private_ws": "ws://127.0.0.1:7/private/",
    }
    assert set(address_settings([], None, "ws://127.0.0.1:7/ws").values()) == {"ws://127.0.0.1:7/ws"}
    named = address_settings(["rest=http://h", "public_ws=wss://h/a", "private_ws=wss://h/b"], None, None)
    assert list(named.values()) == ["http://h", "wss://h/a", "wss://h/b"]


def test_a_second_run_on_the_account_of_a_key_does_not_start(home: Path, tmp_path: Path) -> None:
    """The lock has the name of the key's account, whichever way the key came; exit code 3 at once."""
    said = tmp_path / "said.json"
    said.write_bytes(line())
    Home(home).prepare()
    name = account_name(Secret("key-1"))
    lock = Lock(home / f"lock-{name}", "account")
    answer = run(home, "--venue", "testnet", "--testnet", str(said))
    lock.release()
    assert answer.code == 3
    assert name in answer.err
    assert json.loads(line())["accounts"][0]["api_key"] not in answer.err


@pytest.mark.requirement("B51")
def test_a_key_in_a_file_that_others_can_read_is_refused(home: Path, tmp_path: Path) -> None:
    """Exit code 2; neither the run nor the doctor reads it."""
    path = tmp_path / "key"
    path.write_text("canary-key")
    path.chmod(0o644)
    keys = {"AGORA_BITUNIX__API_KEY_FILE": str(path), "AGORA_BITUNIX__API_SECRET": "canary-secret"}
    for words in (["run", *SHORT, "--venue", "bitunix"], ["doctor", "--venue", "bitunix"]):
        said = call(home, words, keys)
        assert said.code == 2
        assert "chmod 600" in said.err
        assert "canary" not in said.out + said.err


@pytest.mark.requirement("B52")
def test_doctor_says_what_is_wrong_with_a_venue(home: Path, nowhere: str) -> None:
    """A venue that is not there is a finding with its host, and exit code 3; venues of our own are none of it."""
    said = call(home, ["doctor", "--venue", "bitunix", "--json", *QUICK, "--set", f"bitunix.rest_url=http://{nowhere}"])
    assert said.code == 3
    found = {finding["what"]: finding for finding in said.facts}
    assert not found["venue"]["ok"]
    assert nowhere in found["venue"]["found"]
    assert call(home, ["doctor", "--venue", "local"]).code == 2
