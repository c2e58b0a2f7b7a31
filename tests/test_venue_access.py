"""The way of a run to its venue: which account it is, what it needs, and what is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora import venue_access
from agora.config import Config, load_config
from agora.domain.errors import StartFault, UsageFault
from agora.session.access import OwnProcess, account_name, read_announcement
from agora.session.credentials import Secret
from agora.venue_access import Terms
from tests.session.test_access import URLS, line

KEYS = {"api_key": Secret("canary-key"), "api_secret": Secret("canary-secret")}
HERE = ("bitunix.rest_url=http://127.0.0.1:1", "bitunix.public_ws=ws://127.0.0.1:2", "bitunix.private_ws=ws://[::1]:3")
SAID = {"announcement": read_announcement(line(), origin="here"), "content": line()}
OWN = {"announcement": msgspec.structs.replace(SAID["announcement"], process=OwnProcess(1, 2.0))}


def settings(*pairs: str, venue: str = "testnet") -> Config:
    """The tree of a run at a venue."""
    return load_config({}, {"run.venue": venue}, list(pairs))


@pytest.mark.parametrize(
    "venue, pairs, terms, words",
    [
        ("local", (), SAID, "--testnet belongs to"),
        ("local", (), {"faults": Path("plan")}, "--faults"),
        ("testnet", HERE, {"faults": Path("plan")}, "--faults"),
        ("testnet", (), {**SAID, "faults": Path("plan")}, "--faults"),
        ("testnet", HERE, SAID, "no other address"),
        ("testnet", HERE[:1], KEYS, "public_ws"),
        ("testnet", (*HERE[:2], "run.mode=live"), KEYS, "private_ws"),
        ("testnet", HERE, {"api_key": KEYS["api_key"]}, "AGORA_BITUNIX__API_SECRET belong together"),
        ("bitunix", ("run.mode=live",), {"api_secret": KEYS["api_secret"]}, "belong together"),
        ("bitunix", ("run.mode=live",), KEYS, "fapi.bitunix.com.* is real money: it needs --i-accept-real-money"),
        ("bitunix", ("run.mode=live", *HERE[:2]), KEYS, "real money"),
        ("testnet", (*HERE[1:], "bitunix.rest_url=http://10.0.0.7"), KEYS, "10.0.0.7.* is real money"),
        ("testnet", (*HERE[1:], "bitunix.rest_url=http://127.0.0.1.example.com"), KEYS, "real money"),
    ],
)
@pytest.mark.requirement("B51")
@pytest.mark.requirement("B65")
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    venue: str, pairs: tuple[str, ...], terms: dict[str, Any], words: str
) -> None:
    """Flags of another venue, half a set of addresses or keys, real money that nobody agreed to; no secret shown."""
    with (
        pytest.raises(UsageFault, match=words) as refusal,
        venue_access.approach(settings(*pairs, venue=venue), Terms(**terms)),
    ):
        raise AssertionError("it was not refused")
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("venue, pairs", [("testnet", HERE), ("bitunix", (*HERE, "run.mode=live"))])
def test_a_live_run_without_an_account_does_not_start(venue: str, pairs: tuple[str, ...]) -> None:
    """The message says which variables, and that paper needs none."""
    with pytest.raises(StartFault, match=r"AGORA_BITUNIX__API_KEY.*--mode paper"):
        venue_access.check_terms(settings(*pairs, venue=venue), Terms())


@pytest.mark.parametrize(
    "venue, pairs, terms, account",
    [
        ("local", (), {}, "paper-local"),
        ("local", (), KEYS, "paper-local"),
        ("bitunix", (), KEYS, "paper-bitunix"),
        ("testnet", ("run.mode=paper",), {}, "paper-testnet"),
        ("testnet:bitunix", ("run.mode=paper",), {}, "paper-testnet"),
        ("testnet", (), {}, venue_access.OWN_TESTNET),
        ("testnet:bitunix", (), KEYS, venue_access.OWN_TESTNET),
        ("testnet", (), OWN, venue_access.OWN_TESTNET),
        ("testnet", (), SAID, account_name(Secret("key-1"))),
        ("testnet", (), {**SAID, **KEYS}, account_name(Secret("canary-key"))),
        ("testnet", HERE, KEYS, account_name(Secret("canary-key"))),
        ("bitunix", ("run.mode=live",), KEYS, account_name(Secret("canary-key"))),
    ],
)
def test_a_run_has_one_account(venue: str, pairs: tuple[str, ...], terms: dict[str, Any], account: str) -> None:
    """On paper one for each venue; else that of the key; of testnets that runs start, one for all of them."""
    config = settings(*pairs, venue=venue)
    assert venue_access.account_of(config, Terms(**terms)) == account


def test_a_testnet_of_our_own_is_shown_no_other_keys() -> None:
    """The accounts that it announced are used whatever the environment holds; elsewhere the given keys are."""
    own = venue_access.access_of(settings(), Terms(**OWN, **KEYS))
    assert own.api_key is not None
    assert own.api_key.reveal() == "key-1"
    other = venue_access.access_of(settings(), Terms(**SAID, **KEYS))
    assert other.api_key is not None
    assert other.api_key.reveal() == "canary-key"
    assert (other.rest_url, other.public_ws, other.private_ws) == tuple(URLS.values())


def test_the_process_of_a_testnet_gets_no_secret() -> None:
    """Neither in its words nor in its environment; the rest of the environment is as it was."""
    words = venue_access.own_command(settings("run.seed=7"), Path("plan.json"))
    assert {"testnet.seed=7", "plan.json"} <= set(words)
    given = {"PATH": "/bin", "AGORA_BITUNIX__API_SECRET": "canary", "AGORA_LLM__API_KEY_FILE": "canary"}
    assert venue_access.own_environment(given) == {"PATH": "/bin"}


def test_a_testnet_is_what_its_run_needs_unless_it_is_told_otherwise() -> None:
    """The run's symbols, money, seed and pace; what the settings say of the testnet itself goes before them."""
    plain = venue_access.own_settings(settings("run.symbol=SOLUSDT", "run.seed=3", "run.equity=777", "run.speed=5"))
    assert (plain.symbols[0], plain.seed, plain.deposit, plain.speed) == ("SOLUSDT", 3, "777", 5.0)
    assert plain.idle_minutes > 0
    told = ("testnet.seed=9", "testnet.deposit=50", "testnet.idle_minutes=0", "testnet.speed=3")
    other = venue_access.own_settings(settings("run.seed=3", *told))
    assert (other.seed, other.deposit, other.idle_minutes, other.speed) == (9, "50", 0.0, 1.0)


def test_a_resumed_run_needs_the_testnet_that_it_began_on(tmp_path: Path) -> None:
    """Gone is gone, with the account; a testnet that others keep is met when it is connected to."""
    with (
        pytest.raises(StartFault, match=r"process 1\).*cannot be continued"),
        venue_access.way_back(tmp_path, OWN["announcement"]),
    ):
        raise AssertionError("it was not refused")
    with venue_access.way_back(tmp_path, SAID["announcement"]), venue_access.way_back(tmp_path, None):
        pass


def test_what_was_announced_is_found_by_the_resumed_run(tmp_path: Path) -> None:
    """By the file in its folder, and so as the same account."""
    with venue_access.approach(settings(), Terms(**SAID)) as approach:
        approach.keep(tmp_path)
    assert json.loads((tmp_path / "testnet.json").read_bytes()) == json.loads(line())
    again = venue_access.resumed_terms(tmp_path, Terms())
    assert venue_access.access_of(settings(), again).control == "http://127.0.0.1:8004"
    assert venue_access.account_of(settings(), again) == account_name(Secret("key-1"))


@pytest.mark.parametrize("fallback, data", [("local", ()), ("recorded", ("a.parquet",))])
def test_a_run_that_fell_back_is_a_run_on_that(fallback: str, data: tuple[str, ...]) -> None:
    """The settings say so, with the reason as their source; nothing else of them changes."""
    pairs = ["run.seed=5", f"run.fallback={fallback}", *(f"run.data={path}" for path in data)]
    config = venue_access.fallen_back(settings(*pairs, venue="bitunix"), "bitunix cannot be reached: refused")
    run = config["run"]
    assert (run.venue, run.resolved_mode, run.fallback, run.seed, run.data) == (fallback, "paper", "none", 5, data)
    assert config.sources["run.venue"] == "fallback: bitunix cannot be reached: refused"
    assert venue_access.account_of(config, Terms()) == f"paper-{fallback}"
