"""Typed data as Ethereum hashes them (EIP-712), as far as Polymarket uses them: static fields and texts. No keys.

https://eips.ethereum.org/EIPS/eip-712
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec
from Crypto.Hash import keccak

WORD_BYTES = 32
ADDRESS_BYTES = 20
ZERO_WORD = bytes(WORD_BYTES)
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def keccak256(content: bytes) -> bytes:
    """The hash of Ethereum; it is not the SHA-3 that became the standard."""
    return keccak.new(digest_bits=256, data=content).digest()


def bytes_of(text: str, size: int) -> bytes:
    """So many bytes from `0x` and hexadecimal digits; raises `ValueError`."""
    if len(text) != 2 + 2 * size or not _HEX.fullmatch(text):
        raise ValueError(f"{size} bytes in hexadecimal digits after 0x were expected, found {text[:80]!r}")
    return bytes.fromhex(text[2:])


def hex_of(content: bytes) -> str:
    """Bytes as `0x` and hexadecimal digits."""
    return "0x" + content.hex()


def address_word(text: str) -> bytes:
    """An address, in any letter case, as a word."""
    return bytes_of(text, ADDRESS_BYTES).rjust(WORD_BYTES, b"\0")


def number_word(number: int) -> bytes:
    """A whole number from 0 to 2**256 - 1 as a word; raises `ValueError`."""
    if not 0 <= number < 2**256:
        raise ValueError("a number of 256 bits without sign was expected")
    return number.to_bytes(WORD_BYTES, "big")


def text_word(text: str) -> bytes:
    """A text as the word it is hashed to."""
    return keccak256(text.encode())


def checksummed(address: bytes) -> str:
    """An address whose letter case is its checksum (EIP-55)."""
    digits = address.hex()
    case = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, case, strict=False)
    )


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use a signature: a name, its version, a chain, and a contract where there is one."""

    name: str
    version: str
    chain_id: int
    contract: str = ""

    @property
    def separator(self) -> bytes:
        """The hash of the domain, which is part of every digest."""
        return _separator(self)


@lru_cache(maxsize=64)
def _separator(domain: Domain) -> bytes:
    fields = "string name,string version,uint256 chainId" + (",address verifyingContract" if domain.contract else "")
    words = [
        text_word(f"EIP712Domain({fields})"),
        text_word(domain.name),
        text_word(domain.version),
        number_word(domain.chain_id),
    ]
    if domain.contract:
        words.append(address_word(domain.contract))
    return keccak256(b"".join(words))


def typed_digest(separator: bytes, struct_hash: bytes) -> bytes:
    """What is signed."""
    return keccak256(b"\x19\x01" + separator + struct_hash)
