"""What the Data API says of positions and trades, in both of its versions, as the same values. No IO.

It is read from the chain and therefore seconds late. Its numbers are floats, read as the decimals that are written.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from agora.domain.orders import Side
from agora.venues.polymarket.wire_account import ROWS_MAX, Page
from agora.venues.polymarket.wire_values import name_of, name_or_empty, share_of, side_of, stamp_ms, token_of, words_of
from agora.venues.wire_rows import Fields, fields_of, list_of
from agora.venues.wire_values import Number, flag_of, money_of, size_of

# Less is what roundings leave.
DUST = Decimal("0.01")


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of one token in a wallet. `status` is empty in version 1."""

    wallet: str
    token_id: str
    condition_id: str
    outcome: str
    size: Decimal
    average_price: Decimal | None
    current_price: Decimal | None
    realised_pnl: Decimal
    status: str
    is_redeemable: bool
    is_mergeable: bool
    is_neg_risk: bool

    @property
    def is_dust(self) -> bool:
        """Whether so little is held that it is nothing."""
        return self.size < DUST


class PublicTradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trade as the chain has it."""

    wallet: str
    token_id: str
    condition_id: str
    side: Side
    price: Decimal
    size: Decimal
    ts_ms: int
    transaction_hash: str


def _share_or_none(value: Number, what: str) -> Decimal | None:
    return None if value is None or value == "" else share_of(value, what)


def positions_v1(data: object) -> tuple[PositionRow, ...]:
    """The positions of a bare list."""
    return tuple(_position_v1(fields_of(row)) for row in list_of(data, most=ROWS_MAX))


def _position_v1(row: Fields) -> PositionRow:
    return PositionRow(
        wallet=name_of(row.get("proxyWallet"), "proxyWallet"),
        token_id=token_of(row.get("asset"), "asset"),
        condition_id=name_of(row.get("conditionId"), "conditionId"),
        outcome=words_of(row.get("outcome"), "outcome"),
        size=size_of(row.get("size")),
        average_price=_share_or_none(row.get("avgPrice"), "avgPrice"),
        current_price=_share_or_none(row.get("curPrice"), "curPrice"),
        realised_pnl=money_of(row.get("realizedPnl"), "realizedPnl"),
        status="",
        is_redeemable=flag_of(row.get("redeemable")),
        is_mergeable=flag_of(row.get("mergeable")),
        is_neg_risk=flag_of(row.get("negativeRisk")),
    )


def positions_v2(data: object) -> Page[PositionRow]:
    """The positions of a page, and where the next one begins."""
    row = fields_of(data)
    pages = fields_of(row.get("pagination") or {})
    cursor = words_of(pages.get("next_cursor"), "next_cursor") if flag_of(pages.get("has_more")) else ""
    return Page(tuple(_position_v2(fields_of(each)) for each in list_of(row.get("data"), most=ROWS_MAX)), cursor)


def _position_v2(row: Fields) -> PositionRow:
    return PositionRow(
        wallet=name_of(row.get("proxy_wallet"), "proxy_wallet"),
        token_id=token_of(row.get("token_id"), "token_id"),
        condition_id=name_of(row.get("condition_id"), "condition_id"),
        outcome=words_of(row.get("outcome"), "outcome"),
        size=size_of(row.get("current_size"), "current_size"),
        average_price=_share_or_none(row.get("avg_price"), "avg_price"),
        current_price=_share_or_none(row.get("current_price"), "current_price"),
        realised_pnl=money_of(row.get("realized_pnl"), "realized_pnl"),
        status=words_of(row.get("status"), "status"),
        is_redeemable=flag_of(row.get("redeemable")) or row.get("status") == "REDEEMABLE",
        is_mergeable=flag_of(row.get("mergeable")) or row.get("status") == "MERGEABLE",
        is_neg_risk=flag_of(row.get("negative_risk")),
    )


def public_trades(data: object) -> tuple[PublicTradeRow, ...]:
    """The trades of a bare list (version 1)."""
    return tuple(_public_trade(fields_of(row)) for row in list_of(data, most=ROWS_MAX))


def _public_trade(row: Fields) -> PublicTradeRow:
    return PublicTradeRow(
        wallet=name_of(row.get("proxyWallet"), "proxyWallet"),
        token_id=token_of(row.get("asset"), "asset"),
        condition_id=name_of(row.get("conditionId"), "conditionId"),
        side=side_of(row.get("side")),
        price=share_of(row.get("price"), "price"),
        size=size_of(row.get("size")),
        ts_ms=stamp_ms(row.get("timestamp")),
        transaction_hash=name_or_empty(row.get("transactionHash"), "transactionHash"),
    )
