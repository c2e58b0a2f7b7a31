"""Why a perpetual-futures exchange refuses or ends something, and the venue's code and words for it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class PerpReason(StrEnum):
    """Why something was refused or ended; a refusal changes nothing."""

    NONE = ""
    UNKNOWN_SYMBOL = "unknown_symbol"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_POSITION = "unknown_position"
    UNKNOWN_TPSL = "unknown_tpsl"
    ORDER_ENDED = "order_ended"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    BAD_PARAMETER = "bad_parameter"
    BAD_PRICE = "bad_price"
    BAD_TRADE_SIDE = "bad_trade_side"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    PRICE_ABOVE_BAND = "price_above_band"
    PRICE_BELOW_BAND = "price_below_band"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    POSITION_LIMIT = "position_limit"
    BAD_LEVERAGE = "bad_leverage"
    OPEN_ORDERS = "open_orders"
    POSITION_OR_ORDERS = "position_or_orders"
    ISOLATION_NOT_OFFERED = "isolation_not_offered"
    REDUCE_ONLY_NO_POSITION = "reduce_only_no_position"
    REDUCE_ONLY_SAME_DIRECTION = "reduce_only_same_direction"
    TRADING_HALTED = "trading_halted"
    POST_ONLY_MODE = "post_only_mode"
    TPSL_MISSING = "tpsl_missing"
    TPSL_EXISTS = "tpsl_exists"
    TPSL_TOO_LARGE = "tpsl_too_large"
    TRIGGER_NOT_POSITIVE = "trigger_not_positive"
    TP_BELOW_MARK = "tp_below_mark"
    TP_ABOVE_MARK = "tp_above_mark"
    SL_BELOW_MARK = "sl_below_mark"
    SL_ABOVE_MARK = "sl_above_mark"
    TP_BELOW_LAST = "tp_below_last"
    TP_ABOVE_LAST = "tp_above_last"
    SL_BELOW_LAST = "sl_below_last"
    SL_ABOVE_LAST = "sl_above_last"
    TP_ABOVE_ENTRY = "tp_above_entry"
    TP_BELOW_ENTRY = "tp_below_entry"
    SL_BELOW_ENTRY = "sl_below_entry"
    SL_ABOVE_ENTRY = "sl_above_entry"
    # Why an accepted order or row ended.
    REQUESTED = "requested"
    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    IOC_REMAINDER = "ioc_remainder"
    FOK_NOT_FILLABLE = "fok_not_fillable"
    NO_LIQUIDITY = "no_liquidity"
    SELF_TRADE = "self_trade"
    BOOK_FULL = "book_full"
    DUE = "due"
    NOTHING_TO_REDUCE = "nothing_to_reduce"
    POSITION_CLOSED = "position_closed"
    LIQUIDATION = "liquidation"
    MAINTENANCE = "maintenance"


_R = PerpReason
# The venue's table. Where it has no code of its own (post-only mode, isolation, a second row of a position) the
# nearest documented one stands here.
VENUE_CODES: Mapping[PerpReason, tuple[int, str]] = MappingProxyType(
    {
        _R.NONE: (0, "Success"),
        _R.UNKNOWN_SYMBOL: (20001, "Market not exists"),
        _R.UNKNOWN_ACCOUNT: (20011, "Account not allowed to trade"),
        _R.UNKNOWN_ORDER: (20007, "Order not found, please try it later"),
        _R.UNKNOWN_POSITION: (30004, "Position not exist"),
        _R.UNKNOWN_TPSL: (20007, "Order not found, please try it later"),
        _R.ORDER_ENDED: (30011, "Abnormal order status"),
        _R.DUPLICATE_CLIENT_ID: (30042, "Client ID duplicate"),
        _R.BAD_PARAMETER: (10002, "Parameter Error"),
        _R.BAD_PRICE: (10002, "Parameter Error"),
        _R.BAD_TRADE_SIDE: (10002, "Parameter Error"),
        _R.TOO_SMALL: (30017, "The qty cannot be less than the minimum qty"),
        _R.TOO_LARGE: (30013, "Exceeded the maximum order quantity"),
        _R.PRICE_ABOVE_BAND: (30014, "Max Buy Order Price"),
        _R.PRICE_BELOW_BAND: (30015, "Mini Sell Order Price"),
        _R.INSUFFICIENT_BALANCE: (20003, "Insufficient balance"),
        _R.POSITION_LIMIT: (
            20002,
            "The current positions amount has exceeded the maximum open limit, please adjust the risk limit",
        ),
        _R.BAD_LEVERAGE: (20005, "Invalid leverage"),
        _R.OPEN_ORDERS: (20006, "You can't change leverage or margin mode as there are open orders"),
        _R.POSITION_OR_ORDERS: (20009, "Position exists, so positions mode cannot be updated"),
        _R.ISOLATION_NOT_OFFERED: (10008, "marginMode does not comply with the rule, optional [CROSS]"),
        _R.REDUCE_ONLY_NO_POSITION: (
            30018,
            "Order failed. No position opened. Cancel [Reduce-only] settings and retry later",
        ),
        _R.REDUCE_ONLY_SAME_DIRECTION: (
            30019,
            "Order failed. A [Reduce-only] order can not be in the same direction as the open position",
        ),
        _R.TRADING_HALTED: (20012, "This futures does not allow trading"),
        _R.POST_ONLY_MODE: (20012, "This futures does not allow trading"),
        _R.TPSL_MISSING: (30006, "Please select TP or SL"),
        _R.TPSL_EXISTS: (10002, "Parameter Error"),
        _R.TPSL_TOO_LARGE: (30038, "TP/SL amount must be less than the size of the position."),
        _R.TRIGGER_NOT_POSITIVE: (30041, "Trigger price must be greater than 0"),
        _R.TP_BELOW_MARK: (30020, "Trigger price for TP should be higher than mark price:"),
        _R.TP_ABOVE_MARK: (30021, "Trigger price for TP should be lower than mark price:"),
        _R.SL_BELOW_MARK: (30022, "Trigger price for SL should be higher than mark price:"),
        _R.SL_ABOVE_MARK: (30023, "Trigger price fo SL should be lower than mark price:"),
        _R.TP_BELOW_LAST: (30026, "TP price must be greater than last price:"),
        _R.TP_ABOVE_LAST: (30032, "TP price must be less than last price:"),
        _R.SL_BELOW_LAST: (30030, "SL price must be greater than last price:"),
        _R.SL_ABOVE_LAST: (30028, "SL price must be less than last price:"),
        _R.TP_ABOVE_ENTRY: (30007, "TP trigger price is greater than average entry price"),
        _R.TP_BELOW_ENTRY: (30008, "TP trigger price is less than average entry price"),
        _R.SL_BELOW_ENTRY: (30009, "SL trigger price is less than average entry price"),
        _R.SL_ABOVE_ENTRY: (30010, "SL trigger price is greater than average entry price"),
    }
)


def venue_code(reason: PerpReason) -> tuple[int, str]:
    """Code and message of a refusal. Raises `KeyError` for a reason that only ends accepted orders."""
    return VENUE_CODES[reason]
