"""Which parts of a trade are ours."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.domain.orders import Side
from agora.venues.polymarket.fills import fills_of, taker_fills
from agora.venues.polymarket.wire_account import TradeRow, trade_row
from tests.venues.polymarket.vectors import DOWN_TOKEN, UP_TOKEN, sample

CROSSED = "0x3b67d584e1e7ad29b06bda373449638898aa87f0c9fd52a34bdbfb1325a6c184"
NORMAL = "0x67620d882faa37cd1a6668de1271c4b1b6f58fb4ebabc2c095692dfd9c15735b"
TAKER = "0x3ad09f225ebe141dfbdb3824f31cb457e8e0301ca4e0a06311e543f5328b9dea"
YES = "21742633143463906290569050155826241533067272736897614950488156847949938836455"
NO = "48331043336612883890938759509493159234755048973500640148014422747788308965732"


def leg(order_id: str, *, price: str, matched: str, **facts: Any) -> dict[str, Any]:
    """A maker's part on the wire."""
    return {"order_id": order_id, "asset_id": UP_TOKEN, "price": price, "matched_amount": matched, **facts}


def trade(*legs: dict[str, Any], **facts: Any) -> TradeRow:
    """A purchase of ten Up at 0.52 by order T."""
    usual = {
        "id": "t1", "taker_order_id": "T", "market": "0x1", "asset_id": UP_TOKEN, "side": "BUY", "price": "0.52",
        "size": "10", "status": "MATCHED", "maker_orders": list(legs),
    }  # fmt: skip
    return trade_row({**usual, **facts})


@pytest.mark.parametrize("name", ["ws_user_trade_cross_outcome_makers", "ws_user_trade_cross_outcome_makers_current"])
def test_trap_a_makers_fill_stands_in_its_own_leg(venue_samples: Path, name: str) -> None:
    """The taker bought Yes at 0.518; one maker bought No at 0.482, the others sold Yes. With and without sides."""
    row = trade_row(sample(venue_samples, name))
    (made,) = fills_of(row, {CROSSED})
    assert (made.asset_id, made.side, made.price, made.size) == (NO, Side.BUY, Decimal("0.482"), Decimal(10))
    assert made.is_maker
    (sold,) = fills_of(row, {NORMAL})
    assert (sold.asset_id, sold.side, sold.price, sold.size) == (YES, Side.SELL, Decimal("0.518"), Decimal("247.68"))
    taken = fills_of(row, {TAKER})
    assert {(fill.asset_id, fill.side, fill.price) for fill in taken} == {(YES, Side.BUY, Decimal("0.518"))}
    assert sum(fill.size for fill in taken) == Decimal("1096.87")
    assert fills_of(row, {"0xother"}) == ()


def test_a_takers_fills_are_at_the_prices_of_the_makers() -> None:
    """Three levels, one of them of the other token: what was paid is what the makers asked for."""
    row = trade(
        leg("a", price="0.50", matched="4", side="SELL"),
        leg("b", price="0.51", matched="5", side="SELL"),
        leg("c", price="0.48", matched="1", side="BUY", asset_id=DOWN_TOKEN),
    )
    found = [(fill.price, fill.size) for fill in fills_of(row, {"T"})]
    assert found == [(Decimal("0.50"), Decimal(4)), (Decimal("0.51"), Decimal(5)), (Decimal("0.52"), Decimal(1))]
    assert all((fill.asset_id, fill.is_maker) == (UP_TOKEN, False) for fill in fills_of(row, {"T"}))


def test_where_makers_do_not_add_up_the_trades_own_price_and_size_count() -> None:
    """REST may leave them out; a part of them would be a part of the truth."""
    for legs in ((), (leg("a", price="0.50", matched="4"),)):
        (whole,) = taker_fills(trade(*legs))
        assert (whole.price, whole.size) == (Decimal("0.52"), Decimal(10))


def test_both_sides_of_a_trade_can_be_ours() -> None:
    """Each order has its fill."""
    row = trade(leg("m", price="0.52", matched="10"))
    assert [(fill.order_id, fill.side) for fill in fills_of(row, {"m", "T"})] == [("m", Side.SELL), ("T", Side.BUY)]


def test_a_merge_is_two_sales() -> None:
    """A taker who sells Up meets a maker who sells Down."""
    row = trade(leg("m", price="0.48", matched="10", asset_id=DOWN_TOKEN), side="SELL")
    assert [(fill.asset_id, fill.side) for fill in fills_of(row, {"m", "T"})] == [
        (DOWN_TOKEN, Side.SELL),
        (UP_TOKEN, Side.SELL),
    ]


def test_a_trade_is_the_same_on_rest_and_on_the_socket(venue_samples: Path) -> None:
    """So that a fill that was missed is the fill that is caught up with."""
    pushed = sample(venue_samples, "ws_user_trade_confirmed")
    asked = json.loads(json.dumps({**pushed, "status": "TRADE_STATUS_CONFIRMED"}))
    assert trade_row(pushed) == trade_row(asked)
