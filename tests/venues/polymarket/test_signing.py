"""Signatures of Polymarket's two kinds of login, against the published and the cross-checked vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from agora.venues.polymarket.dialect import Dialect
from agora.venues.polymarket.keys import BadSignature, SigningKey
from agora.venues.polymarket.signing import ApiCredentials, check_l1, l1_headers, l2_headers, l2_signature
from tests.venues.polymarket.vectors import DEV_ADDRESS, DEV_KEY, OTHER_KEY, sample

SECRET = "A" * 43 + "="
NOW_S = 1_798_761_600


def test_statements_of_both_chains_are_signed_as_the_vectors_are(venue_samples: Path) -> None:
    """Polygon now, and Amoy as the vendor's own test has it."""
    vectors = sample(venue_samples, "vectors_signing")
    key = SigningKey(vectors["private_key"])
    headers = l1_headers(key, timestamp_s=NOW_S)
    assert headers == {
        "POLY_ADDRESS": vectors["address"],
        "POLY_SIGNATURE": vectors["l1_clob_auth"]["signature"],
        "POLY_TIMESTAMP": "1798761600",
        "POLY_NONCE": "0",
    }
    amoy = vectors["l1_clob_auth_amoy_official_test"]
    dialect = Dialect(chain_id=amoy["chain_id"])
    headers = l1_headers(key, timestamp_s=amoy["timestamp"], nonce=amoy["nonce"], dialect=dialect)
    assert headers["POLY_SIGNATURE"] == amoy["signature"]


def test_requests_are_signed_as_the_vectors_are(venue_samples: Path) -> None:
    """With and without a body; the vendor's own test has spaces in its body and a method of its own."""
    vectors = sample(venue_samples, "vectors_signing")
    hmac = vectors["l2_hmac"]
    facts = {"timestamp": hmac["timestamp"], "path": "/data/orders", "method": "GET"}
    assert l2_signature(hmac["secret"], **facts) == hmac["get_data_orders"]["sig"]
    facts = {"timestamp": hmac["timestamp"], "path": "/order", "method": "DELETE", "body": hmac["delete_order"]["body"]}
    assert l2_signature(hmac["secret"], **facts) == hmac["delete_order"]["sig"]
    official = vectors["l2_hmac_official_test"]
    facts = {name: official[name] for name in ("timestamp", "method", "path", "body")}
    assert l2_signature(official["secret"], **facts) == official["signature"]


def credentials() -> ApiCredentials:
    """Invented ones."""
    return ApiCredentials(address=DEV_ADDRESS, api_key="canary-key", secret=SECRET, passphrase="canary-phrase")


def test_a_request_carries_key_passphrase_and_the_signers_address() -> None:
    """Time in seconds, in the header as in the signature."""
    headers = l2_headers(credentials(), timestamp_s=NOW_S, method="GET", path="/data/orders")
    assert headers == {
        "POLY_ADDRESS": DEV_ADDRESS,
        "POLY_SIGNATURE": "cNZPrTZBq5OHlVYDfVgCJn9HDq9N8Yxg2hheHEb0qmI=",
        "POLY_TIMESTAMP": "1798761600",
        "POLY_API_KEY": "canary-key",
        "POLY_PASSPHRASE": "canary-phrase",
    }


@pytest.mark.parametrize("path", ["/data/orders?market=0x1", "data/orders", "http://127.0.0.1/data/orders", ""])
def test_trap_the_signed_path_has_neither_host_nor_query(path: str) -> None:
    """The venue signs without them, so a path that has them is a mistake of ours."""
    with pytest.raises(ValueError, match="without host and query"):
        l2_signature(SECRET, timestamp="1", method="GET", path=path)


@pytest.mark.parametrize("changed", ["timestamp", "method", "path", "body"])
def test_every_part_of_a_request_is_signed(changed: str) -> None:
    """A request with one of them changed has another signature."""
    facts = {"timestamp": "1", "method": "POST", "path": "/order", "body": "{}"}
    altered = {**facts, changed: facts[changed] + "1"}
    assert l2_signature(SECRET, **facts) != l2_signature(SECRET, **altered)


def test_a_statement_is_believed_of_its_signer_alone() -> None:
    """Another address, another time, another nonce, another chain, or no signature at all is refused."""
    made = l1_headers(SigningKey(DEV_KEY), timestamp_s=5, nonce=7)["POLY_SIGNATURE"]
    facts = {"address": DEV_ADDRESS, "timestamp": "5", "nonce": 7}
    check_l1(made, **facts)
    check_l1(made, **{**facts, "address": DEV_ADDRESS.lower()})
    for name, wrong in (
        ("address", SigningKey(OTHER_KEY).address),
        ("address", "nobody"),
        ("timestamp", "6"),
        ("nonce", 8),
        ("dialect", Dialect(chain_id=1)),
    ):
        with pytest.raises(BadSignature):
            check_l1(made, **{**facts, name: wrong})
    for none in ("", "0x", made[:-2], made + "00", made[:-2] + "00", "0x" + "00" * 65):
        with pytest.raises(BadSignature):
            check_l1(none, **facts)


@pytest.mark.requirement("B53")
def test_credentials_never_show() -> None:
    """Not in logs, not in a traceback's representation, not in the words of a refusal."""
    shown = f"{credentials()!r} {credentials()} {[credentials()]}"
    assert "canary" not in shown
    assert SECRET not in shown
    with pytest.raises(ValueError, match="base64") as caught:
        l2_signature("canary secret", timestamp="1", method="GET", path="/")
    assert "canary" not in repr(caught.value)
