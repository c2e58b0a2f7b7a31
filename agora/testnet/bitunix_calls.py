"""Every call of the loopback Bitunix: method, path, limit, whether it is signed, and what answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agora.testnet import bitunix_private as private
from agora.testnet import bitunix_public as public
from agora.testnet import bitunix_trading as trading
from agora.testnet.bitunix_params import Asked

PREFIX = "/api/v1/futures"
GET, POST = "GET", "POST"


class Call(NamedTuple):
    """One call. `per_s`: so many a second, of an address or, of signed ones, of an account."""

    method: str
    path: str
    per_s: int
    is_signed: bool
    handler: Callable[[Asked], Any]


def _market(path: str, handler: Callable[[Asked], Any]) -> Call:
    return Call(GET, path, 10, is_signed=False, handler=handler)


def _read(path: str, handler: Callable[[Asked], Any]) -> Call:
    return Call(GET, path, 10, is_signed=True, handler=handler)


def _change(path: str, handler: Callable[[Asked], Any], per_s: int = 10) -> Call:
    return Call(POST, path, per_s, is_signed=True, handler=handler)


# By these names a plan of faults means one call: the last part of the path, those of triggers with `tpsl_`.
CALLS: Mapping[str, Call] = {
    "tickers": _market("/market/tickers", public.tickers),
    "depth": _market("/market/depth", public.depth),
    "kline": _market("/market/kline", public.kline),
    "funding_rate": _market("/market/funding_rate", public.funding_rate),
    "funding_rate_batch": _market("/market/funding_rate/batch", public.funding_rate_batch),
    "get_funding_rate_history": _market("/market/get_funding_rate_history", public.funding_rate_history),
    "trading_pairs": _market("/market/trading_pairs", public.trading_pairs),
    "get_position_tiers": _market("/position/get_position_tiers", public.position_tiers),
    "account": _read("/account", private.account),
    "get_leverage_margin_mode": _read("/account/get_leverage_margin_mode", private.leverage_margin_mode),
    "change_leverage": _change("/account/change_leverage", trading.change_leverage),
    "change_margin_mode": _change("/account/change_margin_mode", trading.change_margin_mode),
    "change_position_mode": _change("/account/change_position_mode", trading.change_position_mode),
    "adjust_position_margin": _change("/account/adjust_position_margin", trading.adjust_position_margin, 5),
    "place_order": _change("/trade/place_order", trading.place_order),
    "batch_order": _change("/trade/batch_order", trading.batch_order, 1),
    "cancel_orders": _change("/trade/cancel_orders", trading.cancel_orders, 5),
    "cancel_all_orders": _change("/trade/cancel_all_orders", trading.cancel_all_orders),
    "modify_order": _change("/trade/modify_order", trading.modify_order),
    "close_all_position": _change("/trade/close_all_position", trading.close_all_position, 1),
    "flash_close_position": _change("/trade/flash_close_position", trading.flash_close_position, 5),
    "get_pending_orders": _read("/trade/get_pending_orders", private.pending_orders),
    "get_history_orders": _read("/trade/get_history_orders", private.history_orders),
    "get_history_trades": _read("/trade/get_history_trades", private.history_trades),
    "get_order_detail": _read("/trade/get_order_detail", private.order_detail),
    "get_pending_positions": _read("/position/get_pending_positions", private.pending_positions),
    "get_history_positions": _read("/position/get_history_positions", private.history_positions),
    "tpsl_place_order": _change("/tpsl/place_order", trading.tpsl_place_order),
    "tpsl_position_place_order": _change("/tpsl/position/place_order", trading.tpsl_position_place_order),
    "tpsl_modify_order": _change("/tpsl/modify_order", trading.tpsl_modify_order),
    "tpsl_position_modify_order": _change("/tpsl/position/modify_order", trading.tpsl_position_modify_order),
    "tpsl_cancel_order": _change("/tpsl/cancel_order", trading.tpsl_cancel_order),
    "tpsl_get_pending_orders": _read("/tpsl/get_pending_orders", private.tpsl_pending),
    "tpsl_get_history_orders": _read("/tpsl/get_history_orders", private.tpsl_history),
}
