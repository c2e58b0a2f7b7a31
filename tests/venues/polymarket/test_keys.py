"""A private key signs and stays hidden; an address is what a signature says."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from agora.venues.polymarket.eip712 import checksummed, keccak256
from agora.venues.polymarket.keys import BadSignature, SigningKey, recovered
from tests.venues.polymarket.vectors import DEV_ADDRESS, DEV_KEY, OTHER_KEY, WALLET

DIGEST = keccak256(b"what is signed")
ORDER_OF_CURVE = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_the_hash_is_the_one_before_the_standard() -> None:
    """Of nothing it is the value that every chain of Ethereum's kind knows; SHA-3 has another."""
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_an_address_is_written_with_its_checksum() -> None:
    """The well-known keys give the well-known addresses, in their letter case."""
    assert SigningKey(DEV_KEY).address == SigningKey(DEV_KEY[2:] + "\n").address == DEV_ADDRESS
    assert SigningKey(OTHER_KEY).address == WALLET
    assert checksummed(bytes.fromhex(WALLET[2:].lower())) == WALLET


def test_a_digest_always_gets_the_same_signature_of_the_lower_s() -> None:
    """No chance enters, so a repeated order is the same order; and contracts take only the lower s."""
    key = SigningKey(DEV_KEY)
    for number in range(50):
        digest = keccak256(bytes((number,)))
        made = key.sign(digest)
        assert made == key.sign(digest)
        assert int.from_bytes(made[32:64], "big") <= ORDER_OF_CURVE // 2
        assert recovered(digest, made) == DEV_ADDRESS


def test_a_signature_of_the_higher_s_is_refused() -> None:
    """It recovers to the same address, but it is another signature of the same order."""
    made = SigningKey(DEV_KEY).sign(DIGEST)
    higher = (ORDER_OF_CURVE - int.from_bytes(made[32:64], "big")).to_bytes(32, "big")
    with pytest.raises(BadSignature):
        recovered(DIGEST, made[:32] + higher + bytes((55 - made[64],)))


@pytest.mark.parametrize("at", [0, 31, 40, 64])
def test_a_signature_with_one_byte_changed_is_of_nobody_or_of_another(at: int) -> None:
    """It never passes as ours."""
    made = bytearray(SigningKey(DEV_KEY).sign(DIGEST))
    made[at] ^= 1
    try:
        found = recovered(DIGEST, bytes(made))
    except BadSignature:
        return
    assert found != DEV_ADDRESS


BAD_KEYS = {
    "empty": "",
    "short": "0x" + "ab" * 31,
    "long": "ab" * 33,
    "no digits": "canary" + "z" * 58,
    "zero": "00" * 32,
    "beyond the curve": f"{ORDER_OF_CURVE:064x}",
}


@pytest.mark.requirement("B53")
@pytest.mark.parametrize("secret", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_is_refused_without_being_shown(secret: str) -> None:
    """Nothing of it stands in the exception, nor in what led to it."""
    with pytest.raises(ValueError, match="32 bytes in hexadecimal") as caught:
        SigningKey(secret)
    told = "".join(traceback.format_exception(caught.value))
    assert not secret or secret not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.requirement("B53")
def test_a_key_never_shows() -> None:
    """Not printed, not pickled, not copied, and it has no attribute that a log could walk into."""
    key = SigningKey(DEV_KEY)
    digits = DEV_KEY[2:]
    assert digits not in f"{key!r} {key} {[key]}".lower()
    assert not hasattr(key, "__dict__")
    for keep in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not written down"):
            keep(key)
