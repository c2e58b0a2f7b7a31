"""Which parts of a trade are ours: a maker's own leg, or what the taker has got of each maker. Pure."""

from __future__ import annotations

from collections.abc import Container
from decimal import Decimal

import msgspec

from agora.domain.orders import Side
from agora.venues.polymarket.wire_account import MakerLeg, TradeRow


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """So many shares of a token, bought or sold by one order at one price. Its trade may still fail."""

    trade_id: str
    order_id: str
    asset_id: str
    side: Side
    price: Decimal
    size: Decimal
    is_maker: bool


def fills_of(trade: TradeRow, ours: Container[str]) -> tuple[Fill, ...]:
    """The fills of our orders in a trade, as maker and as taker; `ours` are order ids."""
    made = tuple(_maker_fill(trade, leg) for leg in trade.makers if leg.order_id in ours)
    return made + (taker_fills(trade) if trade.taker_order_id in ours else ())


def leg_side(trade: TradeRow, leg: MakerLeg) -> Side:
    """What a maker did: older messages do not say, but the tokens do.

    Of the taker's own token a maker has done the reverse; of the other one the same, and a set was made or merged.
    """
    if leg.side is not None:
        return leg.side
    return Side(-trade.side) if leg.asset_id == trade.asset_id else trade.side


def _maker_fill(trade: TradeRow, leg: MakerLeg) -> Fill:
    return Fill(
        trade_id=trade.trade_id,
        order_id=leg.order_id,
        asset_id=leg.asset_id,
        side=leg_side(trade, leg),
        price=leg.price,
        size=leg.matched,
        is_maker=True,
    )


def taker_fills(trade: TradeRow) -> tuple[Fill, ...]:
    """What the taker has got of each maker, at the makers' prices; the whole at the trade's where makers do not add up.

    A maker of the other token at 0.482 is for the taker one of its own at 0.518.
    """
    if sum((leg.matched for leg in trade.makers), Decimal(0)) != trade.size:
        return (_taker_fill(trade, price=trade.price, size=trade.size),)
    return tuple(
        _taker_fill(trade, price=leg.price if leg.asset_id == trade.asset_id else 1 - leg.price, size=leg.matched)
        for leg in trade.makers
        if leg.matched
    )


def _taker_fill(trade: TradeRow, *, price: Decimal, size: Decimal) -> Fill:
    return Fill(
        trade_id=trade.trade_id,
        order_id=trade.taker_order_id,
        asset_id=trade.asset_id,
        side=trade.side,
        price=price,
        size=size,
        is_maker=False,
    )
