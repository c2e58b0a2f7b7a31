"""Entries on one position: what others have closed of them, no stop or target waits for."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.venues.bitunix.brackets import Bracket, Leg, net


class _Entry(msgspec.Struct):
    told_lots: int


class _Stop(msgspec.Struct):
    order: Order
    told_lots: int = 0


def _bracket(side: Side, filled_lots: int, *, stopped_lots: int = 0) -> Bracket:
    bracket = Bracket(entry=cast("Any", _Entry(filled_lots)))
    order = Order(
        client_id="stop",
        number=1,
        trader="t",
        instrument="BTCUSDT",
        side=Side(-side),
        type=OrderType.STOP,
        time_in_force=TimeInForce.GTC,
        purpose=Purpose.STOP,
        size_lots=filled_lots,
        reduce_only=True,
        parent="entry",
    )
    bracket.stop = cast("Leg", _Stop(order, stopped_lots))
    return bracket


def _open(brackets: list[Bracket], position_lots: int) -> list[int]:
    net(brackets, "BTCUSDT", position_lots=position_lots)
    return [bracket.open_lots for bracket in brackets]


def test_what_an_opposite_order_closes_was_opened_first() -> None:
    """Bought 5, then 4; three of the nine are gone: they are of the first five."""
    assert _open([_bracket(Side.BUY, 5), _bracket(Side.BUY, 4)], 6) == [2, 4]


def test_what_is_closed_stays_closed_when_the_position_grows_again() -> None:
    """Flat, then bought again by a third entry: the first two are over."""
    brackets = [_bracket(Side.BUY, 5), _bracket(Side.BUY, 4)]
    assert _open(brackets, 0) == [0, 0]
    brackets.append(_bracket(Side.BUY, 7))
    assert _open(brackets, 7) == [0, 0, 7]


def test_a_turned_position_ends_the_other_side() -> None:
    """Bought 5, sold 8: the position is short, and only the seller has something to protect."""
    assert _open([_bracket(Side.BUY, 5), _bracket(Side.SELL, 8)], -3) == [0, 3]


def test_what_a_leg_has_closed_is_not_counted_twice() -> None:
    """Of ten bought the stop has sold four: six are open, as the position says."""
    assert _open([_bracket(Side.BUY, 10, stopped_lots=4)], 6) == [6]


@pytest.mark.parametrize("position_lots", [0, 3, -3])
def test_another_symbol_is_left_alone(position_lots: int) -> None:
    """Whatever its position."""
    bracket = _bracket(Side.BUY, 5)
    net([bracket], "ETHUSDT", position_lots=position_lots)
    assert bracket.open_lots == 5
