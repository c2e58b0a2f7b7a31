"""Orders: their ids, the signatures of each kind of wallet, and what is refused of others' signatures."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from agora.domain.orders import Side
from agora.venues.polymarket import order_signing
from agora.venues.polymarket.dialect import POLYGON, exchange_domain, is_position
from agora.venues.polymarket.eip712 import hex_of
from agora.venues.polymarket.keys import BadSignature, SigningKey
from agora.venues.polymarket.order_signing import SignatureType, order_digest, order_signer, sign_order, struct_hash
from tests.venues.polymarket.vectors import (
    DEV_ADDRESS,
    DEV_KEY,
    DOWN_TOKEN,
    OTHER_KEY,
    UP_TOKEN,
    WALLET,
    sample,
    some_terms,
    terms_of,
)

KEY = SigningKey(DEV_KEY)
STANDARD = POLYGON.standard


def test_every_vector_is_reproduced_byte_for_byte(venue_samples: Path) -> None:
    """Separator, hash, id and signature of orders of all kinds that two official clients agree on."""
    vectors = sample(venue_samples, "vectors_signing")
    assert len(vectors["orders"]) == 6
    for name, vector in vectors["orders"].items():
        terms = terms_of(vector["wire"]["order"])
        exchange = exchange_domain(vector["verifyingContract"], version=vector["domain_version"])
        assert hex_of(exchange.separator) == vector["domain_separator"], name
        assert hex_of(struct_hash(terms)) == vector["struct_hash"], name
        assert hex_of(order_digest(terms, exchange)) == vector["order_hash_digest"], name
        made = sign_order(SigningKey(vectors["private_key"]), terms, exchange)
        assert (made.order_id, made.signature) == (vector["order_hash_digest"], vector["signature"]), name
        assert order_signer(terms, vector["signature"], exchange) == vectors["address"], name


def test_the_dialect_has_the_exchanges_of_the_vectors(venue_samples: Path) -> None:
    """Standard, several outcomes, and protocol V2."""
    orders = sample(venue_samples, "vectors_signing")["orders"]
    for vector, exchange in (
        ("v2_standard_buy_eoa", POLYGON.standard),
        ("v2_negrisk_sell_eoa", POLYGON.neg_risk),
        ("v3_position_buy_eoa", POLYGON.position),
    ):
        found = (orders[vector]["verifyingContract"], orders[vector]["domain_version"])
        assert found == (exchange.contract, exchange.version)


def test_a_token_says_on_which_exchange_it_trades() -> None:
    """Ids of protocol V2 have zeros where others have the digits of a hash."""
    position = str((0xABC << 104) | 7)
    assert [is_position(token) for token in (UP_TOKEN, DOWN_TOKEN, position, "123")] == [False, False, True, True]
    edges = [is_position(str(1 << bit)) for bit in (39, 40, 103, 104)]
    assert edges == [True, False, False, True]
    assert POLYGON.exchange_of(UP_TOKEN) == POLYGON.standard
    assert POLYGON.exchange_of(UP_TOKEN, is_neg_risk=True) == POLYGON.neg_risk
    assert POLYGON.exchange_of(position, is_neg_risk=True) == POLYGON.position


CHANGES: dict[str, dict[str, Any]] = {
    "salt": {"salt": 1},
    "maker": {"maker": WALLET},
    "token": {"token_id": DOWN_TOKEN},
    "maker_amount": {"maker_amount": 5_200_001},
    "taker_amount": {"taker_amount": 9_999_999},
    "side": {"side": Side.SELL},
    "type": {"signature_type": SignatureType.POLY_PROXY},
    "time": {"timestamp_ms": 1_798_761_600_001},
    "metadata": {"metadata": "0x" + "22" * 32},
    "builder": {"builder": "0x" + "11" * 32},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_order_with_one_term_changed_is_not_the_one_that_was_signed(change: dict[str, Any]) -> None:
    """Every field is under the signature and in the id."""
    made = sign_order(KEY, some_terms(), STANDARD)
    changed = some_terms(**change)
    assert hex_of(order_digest(changed, STANDARD)) != made.order_id
    with pytest.raises(BadSignature):
        order_signer(changed, made.signature, STANDARD)


@pytest.mark.parametrize("kind", SignatureType)
def test_a_signature_counts_on_its_own_exchange_alone(kind: SignatureType) -> None:
    """Neither on the exchange for several outcomes nor on V3, nor on another chain."""
    owner = {SignatureType.EOA: DEV_ADDRESS}.get(kind, WALLET)
    terms = some_terms(
        maker=owner, signer=WALLET if kind is SignatureType.POLY_1271 else DEV_ADDRESS, signature_type=kind
    )
    made = sign_order(KEY, terms, STANDARD)
    assert order_signer(terms, made.signature, STANDARD) == DEV_ADDRESS
    for other in (POLYGON.neg_risk, POLYGON.position, exchange_domain(STANDARD.contract, chain_id=80_002)):
        with pytest.raises(BadSignature):
            order_signer(terms, made.signature, other)


@pytest.mark.parametrize("kind", [SignatureType.EOA, SignatureType.POLY_GNOSIS_SAFE])
def test_another_keys_signature_is_refused(kind: SignatureType) -> None:
    """The order names its signer."""
    owner = DEV_ADDRESS if kind is SignatureType.EOA else WALLET
    terms = some_terms(maker=owner, signature_type=kind)
    by_other = SigningKey(OTHER_KEY).sign(order_digest(terms, STANDARD))
    with pytest.raises(BadSignature, match="names"):
        order_signer(terms, hex_of(by_other), STANDARD)


def test_a_wallets_signature_tells_who_has_signed_and_is_bound_to_its_wallet() -> None:
    """Another owner is told as such; another wallet, a changed tail and a bare signature are refused."""
    terms = some_terms(maker=WALLET, signer=WALLET, signature_type=SignatureType.POLY_1271)
    assert order_signer(terms, sign_order(SigningKey(OTHER_KEY), terms, STANDARD).signature, STANDARD) == WALLET
    made = sign_order(KEY, terms, STANDARD).signature
    bare = hex_of(KEY.sign(order_digest(terms, STANDARD)))
    for wrong in (made[:-4] + "00bb", made[:-2], made[:140] + "ff" + made[142:], bare, ""):
        with pytest.raises(BadSignature):
            order_signer(terms, wrong, STANDARD)
    elsewhere = some_terms(maker=DEV_ADDRESS, signer=DEV_ADDRESS, signature_type=SignatureType.POLY_1271)
    with pytest.raises(BadSignature):
        order_signer(elsewhere, made, STANDARD)


def test_a_wallet_signs_for_its_own_funds_alone() -> None:
    """Its owner's signature over an order that spends another's is refused, however well it is made."""
    terms = some_terms(maker=DEV_ADDRESS, signer=WALLET, signature_type=SignatureType.POLY_1271)
    contents = struct_hash(terms)
    tail = STANDARD.separator + contents + order_signing._WRAPPED_TAIL
    made = KEY.sign(order_signing._wrapped_digest(contents, WALLET, STANDARD)) + tail
    with pytest.raises(BadSignature, match="for itself"):
        order_signer(terms, hex_of(made), STANDARD)


WRONG: dict[str, dict[str, Any]] = {
    "another's funds": {"maker": WALLET},
    "another signer": {"signer": WALLET},
    "a wallet that is not its signer": {"maker": WALLET, "signature_type": SignatureType.POLY_1271},
    "salt": {"salt": 2**53},
    "negative salt": {"salt": -1},
    "amount": {"maker_amount": -1},
    "large amount": {"taker_amount": 2**256},
    "token": {"token_id": "0x12"},
    "token beyond 256 bits": {"token_id": "9" * 78},
    "token in other digits": {"token_id": "٣"},
    "no token": {"token_id": ""},
    "address": {"maker": "0x12", "signature_type": SignatureType.POLY_PROXY},
    "metadata": {"metadata": "0x00"},
    "builder": {"builder": "zz" * 33},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_order_that_cannot_be_right_is_not_signed(wrong: dict[str, Any]) -> None:
    """What the contract would refuse, or would encode as something else, is refused here."""
    with pytest.raises(ValueError, match=r".+"):
        sign_order(KEY, some_terms(**wrong), STANDARD)


def test_signing_an_order_takes_well_below_a_millisecond() -> None:
    """It stands between a decision and its first byte; some 70 us where nothing else runs."""
    terms = [some_terms(salt=salt) for salt in range(200)]
    best = min(_seconds(each) for each in terms)
    assert best < 0.000_5


def _seconds(terms: Any) -> float:
    began = perf_counter()
    sign_order(KEY, terms, STANDARD)
    return perf_counter() - began
