"""Orders as they are signed: the digest, which is the order's id before it is sent, and the signature of each wallet.

https://docs.polymarket.com/v2-migration; the wallet's wrapped form is that of Solady's ERC-1271 (ERC-7739).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from agora.domain.orders import Side
from agora.venues.polymarket.eip712 import (
    WORD_BYTES,
    ZERO_WORD,
    Domain,
    address_word,
    bytes_of,
    hex_of,
    keccak256,
    number_word,
    text_word,
    typed_digest,
)
from agora.venues.polymarket.keys import SIGNATURE_BYTES, BadSignature, SigningKey, recovered

ZERO_BYTES32 = hex_of(ZERO_WORD)
# The wire has it as a JSON number: beyond this some readers would change it.
SALT_MAX = 2**53 - 1

_ORDER_TYPE = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_WRAPPED_TYPE = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
    + _ORDER_TYPE
)
_ORDER_WORD, _WRAPPED_WORD = text_word(_ORDER_TYPE), text_word(_WRAPPED_TYPE)
_WALLET_WORDS = text_word("DepositWallet") + text_word("1")
# What a wallet's signature ends with: how the contents are to be hashed, and how long that text is.
_WRAPPED_TAIL = _ORDER_TYPE.encode() + len(_ORDER_TYPE).to_bytes(2, "big")
WRAPPED_BYTES = SIGNATURE_BYTES + 2 * WORD_BYTES + len(_WRAPPED_TAIL)


class SignatureType(IntEnum):
    """What holds the funds: the key itself, or a contract that takes its signature."""

    EOA = 0
    POLY_PROXY = 1
    POLY_GNOSIS_SAFE = 2
    POLY_1271 = 3


class OrderTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed of an order. Amounts are millionths; a buyer makes collateral and takes shares, a seller reversed.

    `maker` holds the funds; `signer` is the key's address, for a deposit wallet (POLY_1271) the wallet's own.
    """

    salt: int
    maker: str
    signer: str
    token_id: str
    maker_amount: int
    taker_amount: int
    side: Side
    signature_type: SignatureType
    timestamp_ms: int
    metadata: str = ZERO_BYTES32
    builder: str = ZERO_BYTES32


class SignedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that can be sent. `order_id` is the id that the venue will give it."""

    terms: OrderTerms
    order_id: str
    signature: str


def struct_hash(terms: OrderTerms) -> bytes:
    """The hash of an order's terms, for whatever exchange; raises `ValueError` for what has no encoding."""
    if not 0 <= terms.salt <= SALT_MAX:
        raise ValueError(f"a salt is a number from 0 to {SALT_MAX}")
    return keccak256(
        b"".join(
            (
                *(_ORDER_WORD, number_word(terms.salt), address_word(terms.maker), address_word(terms.signer)),
                *(number_word(_token(terms)), number_word(terms.maker_amount), number_word(terms.taker_amount)),
                *(number_word(0 if terms.side is Side.BUY else 1), number_word(terms.signature_type)),
                *(number_word(terms.timestamp_ms), bytes_of(terms.metadata, 32), bytes_of(terms.builder, 32)),
            )
        )
    )


def _token(terms: OrderTerms) -> int:
    if not (terms.token_id.isascii() and terms.token_id.isdecimal() and len(terms.token_id) <= 78):
        raise ValueError(f"a token's id is a decimal number, found {terms.token_id[:80]!r}")
    return int(terms.token_id)


def order_digest(terms: OrderTerms, exchange: Domain) -> bytes:
    """What identifies an order on its exchange, and what keys sign."""
    return typed_digest(exchange.separator, struct_hash(terms))


def sign_order(key: SigningKey, terms: OrderTerms, exchange: Domain) -> SignedOrder:
    """An order with its id and signature; raises `ValueError` when the key cannot sign for whom the terms name."""
    is_wallet = terms.signature_type is SignatureType.POLY_1271
    expected = terms.maker if is_wallet else key.address
    if terms.signer.lower() != expected.lower():
        raise ValueError(f"the signer of this order is {expected}, its terms say {terms.signer}")
    if terms.signature_type is SignatureType.EOA and terms.maker.lower() != expected.lower():
        raise ValueError(f"a key without a wallet trades its own funds, the terms say those of {terms.maker}")
    contents = struct_hash(terms)
    digest = typed_digest(exchange.separator, contents)
    if is_wallet:
        made = (
            key.sign(_wrapped_digest(contents, terms.signer, exchange)) + exchange.separator + contents + _WRAPPED_TAIL
        )
    else:
        made = key.sign(digest)
    return SignedOrder(terms=terms, order_id=hex_of(digest), signature=hex_of(made))


def _wrapped_digest(contents: bytes, wallet: str, exchange: Domain) -> bytes:
    words = (
        *(_WRAPPED_WORD, contents, _WALLET_WORDS, number_word(exchange.chain_id)),
        *(address_word(wallet), ZERO_WORD),
    )
    return typed_digest(exchange.separator, keccak256(b"".join(words)))


def order_signer(terms: OrderTerms, signature: str, exchange: Domain) -> str:
    """The address whose key has signed the order; raises `BadSignature` when it is not the one that it names.

    A wallet's order names the wallet: whether the address returned owns it, the caller must know.
    """
    is_wallet = terms.signature_type is SignatureType.POLY_1271
    try:
        contents = struct_hash(terms)
        made = bytes_of(signature, WRAPPED_BYTES if is_wallet else SIGNATURE_BYTES)
    except ValueError as fault:
        raise BadSignature(str(fault)) from None
    if is_wallet:
        if made[SIGNATURE_BYTES:] != exchange.separator + contents + _WRAPPED_TAIL:
            raise BadSignature("the wallet's signature is for another order or another exchange")
        if terms.signer.lower() != terms.maker.lower():
            raise BadSignature("a deposit wallet signs for itself")
        return recovered(_wrapped_digest(contents, terms.signer, exchange), made[:SIGNATURE_BYTES])
    found = recovered(typed_digest(exchange.separator, contents), made)
    if found.lower() != terms.signer.lower():
        raise BadSignature(f"the order names {terms.signer} as its signer, signed has {found}")
    return found
