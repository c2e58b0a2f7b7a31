"""Signatures of Bitunix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agora.venues.bitunix.signing import Credentials, query_text, sign_login, sign_rest

# The two vectors that vendors have published: the documentation's page and the unit test of the Go demo.
PUBLISHED = [
    {
        "nonce": "123456",
        "timestamp": "20241120123045",
        "api_key": "yourApiKey",
        "secret_key": "yourSecretKey",
        "query": "id1uid200",
        "body": '{"uid":"2899","arr":[{"id":1,"name":"maple"},{"id":2,"name":"lily"}]}',
        "sign": "00397cd1e52c7dce3258067324363b6361fabc9178a0912b330c138db8745655",
    },
    {
        "nonce": "33333333333333333",
        "timestamp": "1747104711262",
        "api_key": "11111111111111111",
        "secret_key": "22222222222222222",
        "query": "marginCoinUSDT",
        "body": "",
        "sign": "40e87256554e263e39201a3979469b7fbb640d1c7c41759abf5c6a18f937f922",
    },
]


def signed(vector: dict[str, str]) -> str:
    """What we make of a vector."""
    return sign_rest(
        Credentials(vector["api_key"], vector["secret_key"]),
        nonce=vector["nonce"],
        timestamp=vector["timestamp"],
        query=vector["query"],
        body=vector["body"],
    )


@pytest.mark.requirement("B17")
@pytest.mark.parametrize("vector", PUBLISHED, ids=["documentation", "demo"])
def test_published_vectors_are_reproduced(vector: dict[str, str]) -> None:
    """Double SHA-256 over nonce, time, key, sorted query and body."""
    assert signed(vector) == vector["sign"]


def test_every_vector_of_the_fixtures_is_reproduced(venue_samples: Path) -> None:
    """Also those with spaces in the body, and the socket's login in seconds."""
    vectors = json.loads((venue_samples / "bitunix" / "signature_vectors.json").read_text())["vectors"]
    assert len(vectors) == 9
    for vector in vectors:
        assert signed(vector) == vector["sign"], vector["name"]


def test_a_login_is_signed_with_seconds_and_nothing_else() -> None:
    """The same formula as a request without query and body."""
    credentials = Credentials("key", "secret")
    assert sign_login(credentials, nonce="n", timestamp_s=1_790_126_515) == sign_rest(
        credentials, nonce="n", timestamp="1790126515"
    )


def test_parameters_are_signed_raw_and_sorted() -> None:
    """No separators, no URL encoding: the comma stays a comma."""
    assert query_text({"symbols": "BTCUSDT,ETHUSDT", "endTime": "5"}) == "endTime5symbolsBTCUSDT,ETHUSDT"


def test_credentials_never_show() -> None:
    """Not in logs, not in a traceback's representation."""
    shown = f"{Credentials('canary-key', 'canary-secret')!r} {Credentials('canary-key', 'canary-secret')}"
    assert "canary" not in shown
