"""Bodies of requests: what is left out, and whom `side` names."""

from __future__ import annotations

import pytest

from agora.domain.orders import Side
from agora.venues.bitunix.wire_requests import (
    HEDGE,
    PlaceRequest,
    TriggerRequest,
    batch_body,
    cancel_body,
    modify_body,
    place_body,
    trigger_body,
)


def request(**facts: object) -> PlaceRequest:
    """A limit order."""
    usual = {
        "symbol": "BTCUSDT", "side": Side.BUY, "order_type": "LIMIT", "qty": "0.01", "client_id": "c-1",
        "price": "60000", "effect": "GTC",
    }  # fmt: skip
    return PlaceRequest(**{**usual, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "side, reduces, wire",
    [
        (Side.BUY, False, ("BUY", "OPEN")),
        (Side.SELL, False, ("SELL", "OPEN")),
        (Side.SELL, True, ("BUY", "CLOSE")),
        (Side.BUY, True, ("SELL", "CLOSE")),
    ],
)
def test_trap_in_hedge_mode_the_side_of_a_close_names_the_position(
    side: Side, reduces: bool, wire: tuple[str, str]
) -> None:
    """Selling to close a long is BUY + CLOSE, with the position's id."""
    body = place_body(request(side=side, reduce_only=reduces, position_mode=HEDGE, position_id="7"))
    assert (body["side"], body["tradeSide"]) == wire
    assert body.get("positionId") == ("7" if reduces else None)
    assert body["reduceOnly"] is reduces


def test_in_one_way_mode_the_side_is_the_action() -> None:
    """No trade side, no position."""
    body = place_body(request(side=Side.SELL, reduce_only=True))
    assert (body["side"], body["reduceOnly"]) == ("SELL", True)
    assert not {"tradeSide", "positionId"} & body.keys()


def test_a_market_order_has_neither_price_nor_effect() -> None:
    """The venue wants them for limit orders only."""
    assert not {"price", "effect"} & place_body(request(order_type="MARKET")).keys()
    assert place_body(request(effect=""))["effect"] == "GTC"


def test_a_stop_travels_with_its_order() -> None:
    """With the word of the table, not of the example, and at the market."""
    body = place_body(request(sl_price="59000", sl_stop_type="MARK_PRICE"))
    assert (body["slPrice"], body["slStopType"], body["slOrderType"]) == ("59000", "MARK_PRICE", "MARKET")
    assert "tpPrice" not in body


def test_a_batch_names_its_symbol_once() -> None:
    """The rows have all but the symbol."""
    body = batch_body([request(), request(client_id="c-2")])
    assert body["symbol"] == "BTCUSDT"
    assert [("symbol" in row, row["clientId"]) for row in body["orderList"]] == [(False, "c-1"), (False, "c-2")]


def test_a_cancel_uses_the_venues_id_where_it_is_known() -> None:
    """And ours else."""
    body = cancel_body("BTCUSDT", [("1", "c-1"), ("", "c-2")])
    assert body["orderList"] == [{"orderId": "1"}, {"clientId": "c-2"}]


def test_a_modification_always_has_size_and_price() -> None:
    """The venue wants both, also when one stays."""
    body = modify_body(order_id="1", qty="2", price="3")
    assert body == {"orderId": "1", "qty": "2", "price": "3"}


def test_a_trigger_without_a_size_is_the_positions() -> None:
    """What is empty is left out."""
    body = trigger_body(TriggerRequest(sl_price="9", sl_stop_type="LAST_PRICE"), symbol="BTCUSDT", positionId="")
    assert body == {"symbol": "BTCUSDT", "slPrice": "9", "slStopType": "LAST_PRICE"}
