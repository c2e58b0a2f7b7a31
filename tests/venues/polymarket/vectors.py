"""The samples and vectors of Polymarket, as values of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agora.domain.orders import Side
from agora.venues.polymarket.order_signing import OrderTerms, SignatureType

UP_TOKEN = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
DOWN_TOKEN = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
# The first of the well-known keys of development chains, and the address of the second.
DEV_KEY = "0x" + "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
OTHER_KEY = "0x" + "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
DEV_ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def sample(folder: Path, name: str) -> Any:
    """One of the fixtures."""
    return json.loads(text_of(folder, name))


def text_of(folder: Path, name: str) -> str:
    """The text of one of the fixtures."""
    return (folder / "polymarket" / f"{name}.json").read_text()


def terms_of(order: dict[str, Any]) -> OrderTerms:
    """The terms that an order on the wire has."""
    return OrderTerms(
        salt=order["salt"],
        maker=order["maker"],
        signer=order["signer"],
        token_id=order["tokenId"],
        maker_amount=int(order["makerAmount"]),
        taker_amount=int(order["takerAmount"]),
        side=Side[order["side"]],
        signature_type=SignatureType(order["signatureType"]),
        timestamp_ms=int(order["timestamp"]),
        metadata=order["metadata"],
        builder=order["builder"],
    )


def some_terms(**facts: Any) -> OrderTerms:
    """A purchase of ten shares at 0.52 for the development key's own funds."""
    usual: dict[str, Any] = {
        "salt": 479249096354, "maker": DEV_ADDRESS, "signer": DEV_ADDRESS, "token_id": UP_TOKEN,
        "maker_amount": 5_200_000, "taker_amount": 10_000_000, "side": Side.BUY, "signature_type": SignatureType.EOA,
        "timestamp_ms": 1_798_761_600_000,
    }  # fmt: skip
    return OrderTerms(**{**usual, **facts})
