"""A key of Ethereum's curve: it signs digests and is never shown; and the address that made a signature."""

from __future__ import annotations

from typing import NoReturn

from coincurve import PrivateKey, PublicKey

from agora.venues.polymarket.eip712 import ADDRESS_BYTES, checksummed, keccak256

SIGNATURE_BYTES = 65
# Half the order of the curve: of the two values that sign the same, contracts take the lower one (EIP-2).
_S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
# The recovery number on the wire is 27 or 28.
_V_FIRST = 27


class BadSignature(ValueError):
    """A signature that was not made over this digest by whom it should be, or is none at all."""


class SigningKey:
    """A private key. Its address is known, its number is not: no text, copy or record has it."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: str) -> None:
        """Take a key of 64 hexadecimal digits, with `0x` before them or not; raises `ValueError` without showing it."""
        self._key = _key_of(secret)
        self.address = address_of(self._key.public_key)

    def __repr__(self) -> str:
        return f"SigningKey(***, address={self.address!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not written down")

    def sign(self, digest: bytes) -> bytes:
        """The signature of 32 bytes: r, s, v. A digest always gives the same one (RFC 6979), with the lower s."""
        made = self._key.sign_recoverable(digest, hasher=None)
        return made[:-1] + bytes((made[-1] + _V_FIRST,))


def _key_of(secret: str) -> PrivateKey:
    digits = secret.strip().removeprefix("0x")
    try:
        raw = bytes.fromhex(digits) if len(digits) == 64 else b""
        key = PrivateKey(raw) if raw else None
    except ValueError:
        key = None
    if key is None:
        raise ValueError("a private key is 32 bytes in hexadecimal digits, above zero and below the curve's order")
    return key


def address_of(key: PublicKey) -> str:
    """The address of a public key."""
    return checksummed(keccak256(key.format(compressed=False)[1:])[-ADDRESS_BYTES:])


def recovered(digest: bytes, signature: bytes) -> str:
    """The address whose key has signed the digest; raises `BadSignature` when no key can have."""
    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(f"a signature has {SIGNATURE_BYTES} bytes, this one {len(signature)}")
    v = signature[-1] - _V_FIRST
    if v not in {0, 1} or int.from_bytes(signature[32:64], "big") > _S_MAX:
        raise BadSignature("a signature ends with 27 or 28, and its s is the lower one")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes((v,)), digest, hasher=None)
    except ValueError:
        raise BadSignature("no key has made this signature") from None
    return address_of(key)
