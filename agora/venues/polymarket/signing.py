"""Who we are, in headers: a statement signed by the key (L1) gets API credentials, which sign every request (L2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache

import msgspec

from agora.venues.polymarket.dialect import POLYGON, Dialect
from agora.venues.polymarket.eip712 import (
    address_word,
    bytes_of,
    hex_of,
    keccak256,
    number_word,
    text_word,
    typed_digest,
)
from agora.venues.polymarket.keys import SIGNATURE_BYTES, BadSignature, SigningKey, recovered

_AUTH_TYPE = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_AUTH_MESSAGE = "This message attests that I control the given wallet"
Headers = dict[str, str]


class ApiCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue gave to the signer at `address`. None of it is ever shown."""

    address: str
    api_key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "ApiCredentials(***)"

    __str__ = __repr__


def l1_headers(key: SigningKey, *, timestamp_s: int, nonce: int = 0, dialect: Dialect = POLYGON) -> Headers:
    """Headers that create or derive API credentials: the statement that this key is ours, now."""
    digest = _auth_digest(key.address, timestamp=str(timestamp_s), nonce=nonce, dialect=dialect)
    return {
        "POLY_ADDRESS": key.address,
        "POLY_SIGNATURE": hex_of(key.sign(digest)),
        "POLY_TIMESTAMP": str(timestamp_s),
        "POLY_NONCE": str(nonce),
    }


def check_l1(signature: str, *, address: str, timestamp: str, nonce: int = 0, dialect: Dialect = POLYGON) -> None:
    """Raise `BadSignature` unless the key of that address has made this statement."""
    try:
        digest = _auth_digest(address, timestamp=timestamp, nonce=nonce, dialect=dialect)
        made = bytes_of(signature, SIGNATURE_BYTES)
    except ValueError as fault:
        raise BadSignature(str(fault)) from None
    if recovered(digest, made).lower() != address.lower():
        raise BadSignature(f"{address} has not signed this statement")


def _auth_digest(address: str, *, timestamp: str, nonce: int, dialect: Dialect) -> bytes:
    words = (
        *(text_word(_AUTH_TYPE), address_word(address)),
        *(text_word(timestamp), number_word(nonce), text_word(_AUTH_MESSAGE)),
    )
    return typed_digest(dialect.login.separator, keccak256(b"".join(words)))


def l2_headers(credentials: ApiCredentials, *, timestamp_s: int, method: str, path: str, body: str = "") -> Headers:
    """Headers of one request; `path` is without host and query, `body` the very text that is sent."""
    timestamp = str(timestamp_s)
    signature = l2_signature(credentials.secret, timestamp=timestamp, method=method, path=path, body=body)
    return {
        "POLY_ADDRESS": credentials.address,
        "POLY_SIGNATURE": signature,
        "POLY_TIMESTAMP": timestamp,
        "POLY_API_KEY": credentials.api_key,
        "POLY_PASSPHRASE": credentials.passphrase,
    }


def l2_signature(secret: str, *, timestamp: str, method: str, path: str, body: str = "") -> str:
    """HMAC-SHA-256 over time, method, path and body, all URL-safe base64 with padding. Raises `ValueError`."""
    if "?" in path or not path.startswith("/"):
        raise ValueError(f"the path is signed without host and query: {path!r}")
    message = f"{timestamp}{method}{path}{body}".encode()
    return base64.urlsafe_b64encode(hmac.new(_secret_bytes(secret), message, hashlib.sha256).digest()).decode()


@lru_cache(maxsize=16)
def _secret_bytes(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("the secret of API credentials is URL-safe base64") from None
