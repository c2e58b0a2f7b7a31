"""Addresses, accounts and announce lines: what is taken, what is refused, and what is not shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.domain.errors import UsageFault
from agora.session.access import (
    ANNOUNCEMENT_BYTES_MAX,
    Access,
    OwnProcess,
    account_name,
    announcement_in,
    check_url,
    head_of,
    is_loopback,
    read_announcement,
    write_testnet,
)
from agora.session.credentials import Secret

URLS = {
    "rest": "http://127.0.0.1:8001",
    "public_ws": "ws://127.0.0.1:8002/public/",
    "private_ws": "ws://127.0.0.1:8003/private/",
}
LINE: dict[str, Any] = {
    "venue": "bitunix",
    "urls": URLS,
    "control": "http://127.0.0.1:8004",
    "accounts": [{"api_key": "key-1", "api_secret": "canary-1", "balances": {"USDT": "10000"}}],
}


def line(**changes: Any) -> bytes:
    """An announce line."""
    return json.dumps({**LINE, **changes}).encode() + b"\n"


def test_an_announce_line_says_where_and_as_whom() -> None:
    """Addresses, the control port and the accounts; the secret of an account shows itself to nobody by accident."""
    found = read_announcement(line(), origin="here")
    assert found.urls == URLS
    assert found.control == "http://127.0.0.1:8004"
    assert found.accounts[0].api_secret == "canary-1"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "announce line"),
        (b"canary-2 is no JSON", "announce line"),
        (b"[" * 100_000, "announce line"),
        (b'{"venue":"bitunix","urls":{"rest":7}}', "announce line"),
        (line(venue="polymarket"), "polymarket"),
        (line(urls={"rest": URLS["rest"]}), "private_ws, public_ws"),
        (line(urls={**URLS, "rest": "ftp://127.0.0.1/"}), "address rest"),
        (line(urls={**URLS, "public_ws": "http://127.0.0.1/"}), "address public_ws"),
        (line(urls={**URLS, "private_ws": "ws://me:canary-3@127.0.0.1/"}), "address private_ws"),
    ],
)
def test_what_is_no_announce_line_is_refused_without_repeating_it(content: bytes, words: str) -> None:
    """The message says where it came from and what is missing; what it held may be a secret."""
    with pytest.raises(UsageFault, match=words) as refusal:
        read_announcement(content, origin="FILE")
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    "url, is_here",
    [
        ("http://127.0.0.1:1/", True),
        ("http://127.9.8.7/", True),
        ("http://localhost:80/x", True),
        ("ws://[::1]:9/", True),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://127.0.0.1@example.com/", False),
        ("https://fapi.bitunix.com", False),
        ("http://0.0.0.0:1/", False),
        ("http://10.0.0.1/", False),
        ("http://2130706433/", False),
        ("nonsense", False),
    ],
)
def test_only_what_must_lead_to_this_machine_is_this_machine(url: str, is_here: bool) -> None:
    """Names other than localhost are not looked up, so none of them counts; tricks do not help."""
    assert is_loopback(url) is is_here


def test_a_venue_is_here_when_each_of_its_addresses_is() -> None:
    """One address elsewhere is enough to move real money."""
    here = Access(rest_url=URLS["rest"], public_ws=URLS["public_ws"], private_ws=URLS["private_ws"])
    assert here.is_here
    for name in ("rest_url", "public_ws", "private_ws"):
        assert not msgspec.structs.replace(here, **{name: "wss://fapi.bitunix.com/"}).is_here


@pytest.mark.parametrize("url", ["", "http://", "http://:80", "http://h:99999", "ws://h", "h:80", "http://u@h"])
def test_an_address_of_another_shape_is_refused(url: str) -> None:
    """A host is needed, the scheme of its kind, and no name in it."""
    with pytest.raises(UsageFault, match="address rest"):
        check_url("rest", url)


def test_an_account_has_a_name_that_gives_its_key_not_away() -> None:
    """The same key, the same name; another key, another name; nothing of the key in it."""
    name = account_name(Secret("canary-4"))
    assert name == account_name(Secret("canary-4")) != account_name(Secret("canary-5"))
    assert "canary" not in name
    assert len(name) == len("bitunix-") + 8


@pytest.mark.requirement("B51")
def test_what_a_testnet_said_is_kept_for_the_owner_and_found_again(tmp_path: Path) -> None:
    """In the run's folder, 0600, everything that was said and the process that said it; another run can read it too."""
    known = read_announcement(line(extra=[1]), origin="here")
    write_testnet(tmp_path, known, line(extra=[1]))
    path = tmp_path / "testnet.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_bytes()) == {**LINE, "extra": [1]}
    assert announcement_in(tmp_path) == known
    process = OwnProcess(123, 4.5)
    own = read_announcement(line(process={"pid": 123, "created_s": 4.5}), origin="here")
    write_testnet(tmp_path, own, line())
    again = announcement_in(tmp_path)
    assert again is not None
    assert again.process == process
    assert announcement_in(tmp_path / "elsewhere") is None


def test_a_file_is_read_to_the_end_of_its_line_or_object(tmp_path: Path) -> None:
    """What a testnet writes into a file ends with the line; what a person laid out goes over several."""
    path = tmp_path / "said"
    path.write_bytes(line() + b"chatter\n")
    assert head_of(path) == line()
    path.write_text(json.dumps(LINE, indent=2))
    assert read_announcement(head_of(path), origin="here").urls == URLS
    path.write_bytes(b"x" * 3 * ANNOUNCEMENT_BYTES_MAX)
    assert len(head_of(path)) <= 2 * ANNOUNCEMENT_BYTES_MAX
    with pytest.raises(UsageFault, match="absent"):
        head_of(tmp_path / "absent")
