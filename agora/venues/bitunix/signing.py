"""Signatures of Bitunix: double SHA-256 over what is sent, not an HMAC (reference: api-docs, common/sign)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """An account's key and secret. Neither is ever shown."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "Credentials(***)"

    __str__ = __repr__


def query_text(query: Mapping[str, str]) -> str:
    """The parameters as they are signed: sorted by key, raw, without separators."""
    return "".join(f"{key}{query[key]}" for key in sorted(query))


def sign_rest(credentials: Credentials, *, nonce: str, timestamp: str, query: str = "", body: str = "") -> str:
    """The signature of a request; `timestamp` in ms, `query` as `query_text` gives it, `body` the very bytes sent."""
    digest = _sha256(nonce + timestamp + credentials.api_key + query + body)
    return _sha256(digest + credentials.api_secret)


def sign_login(credentials: Credentials, *, nonce: str, timestamp_s: int) -> str:
    """The signature of a socket's login; its time is in seconds, unlike that of a request."""
    return sign_rest(credentials, nonce=nonce, timestamp=str(timestamp_s))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
