"""Positions and trades of the Data API, in both versions."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.domain.orders import Side
from agora.venues.polymarket.wire_data import positions_v1, positions_v2, public_trades
from agora.venues.wire_values import Malformed, decode_json
from tests.venues.polymarket.vectors import UP_TOKEN, text_of

POSITION: dict[str, Any] = {
    "proxyWallet": "0x5", "asset": UP_TOKEN, "conditionId": "0xc8", "size": 150.5, "avgPrice": 0.55, "curPrice": 0.6,
}  # fmt: skip


def test_positions_of_the_first_version_are_read_exactly(venue_samples: Path) -> None:
    """Fractions of JSON as decimals; what is left of roundings is dust."""
    rows = positions_v1(decode_json(text_of(venue_samples, "data_api_v1_positions")))
    assert [row.size for row in rows] == [Decimal("150.5"), 0, Decimal(42), Decimal("0.005")]
    assert [row.is_dust for row in rows] == [False, True, False, True]
    assert [row.is_redeemable for row in rows] == [False, False, True, False]
    assert rows[2].is_neg_risk


def test_positions_of_the_second_version_are_the_same_values(venue_samples: Path) -> None:
    """With a status and a cursor; a lost position pays nothing and is still to be redeemed."""
    page = positions_v2(decode_json(text_of(venue_samples, "data_api_v2_positions")))
    (row,) = page.rows
    assert (row.size, row.average_price, row.realised_pnl) == (
        Decimal("86780.64"),
        Decimal("0.5203"),
        Decimal("-1082.5533"),
    )
    assert (row.status, row.is_redeemable, row.is_mergeable) == ("REDEEMABLE", True, False)
    assert not page.is_last
    last = {"data": [], "pagination": {"has_more": False, "next_cursor": None}}
    assert positions_v2(last).is_last


def test_trades_of_the_chain_are_read(venue_samples: Path) -> None:
    """With times in seconds."""
    rows = public_trades(decode_json(text_of(venue_samples, "data_api_v1_trades")))
    assert [(row.side, row.price) for row in rows] == [
        (Side.BUY, Decimal("0.55")),
        (Side.SELL, Decimal("0.53")),
        (Side.BUY, Decimal("0.45")),
    ]
    assert rows[0].ts_ms == 1_710_000_000_000


@pytest.mark.requirement("B34")
@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": "NaN"},
        {"avgPrice": 1.5},
        {"avgPrice": -0.5},
        {"asset": "0x5"},
        {"conditionId": ""},
        {"proxyWallet": None},
    ],
    ids=str,
)
def test_a_position_that_cannot_be_held_is_malformed(change: dict[str, Any]) -> None:
    """Nobody holds less than nothing."""
    assert len(positions_v1([POSITION])) == 1
    with pytest.raises(Malformed):
        positions_v1([{**POSITION, **change}])


@pytest.mark.parametrize("data", [None, 5, {}, [5], [[]], {"data": 5}, {"data": [5]}, {"data": [], "pagination": 5}])
def test_answers_of_another_shape_are_malformed(data: object) -> None:
    """An error of the server is no empty wallet."""
    for read in (positions_v1, positions_v2, public_trades):
        with pytest.raises(Malformed):
            read(data)
