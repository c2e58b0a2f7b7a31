"""Why an exchange of binary markets refuses or ends something, and the venue's HTTP status and words for it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class BinaryReason(StrEnum):
    """Why something was refused or ended; a refusal changes nothing."""

    NONE = ""
    ENGINE_RESTARTING = "engine_restarting"
    POST_ONLY_MODE = "post_only_mode"
    CANCEL_ONLY = "cancel_only"
    TRADING_DISABLED = "trading_disabled"
    UNKNOWN_ASSET = "unknown_asset"
    UNKNOWN_MARKET = "unknown_market"
    MARKET_NOT_READY = "market_not_ready"
    MARKET_CLOSED = "market_closed"
    MARKET_UNRESOLVED = "market_unresolved"
    DUPLICATED = "duplicated"
    BAD_PAYLOAD = "bad_payload"
    OFF_TICK = "off_tick"
    BELOW_MINIMUM = "below_minimum"
    MARKETABLE_TOO_SMALL = "marketable_too_small"
    BAD_EXPIRATION = "bad_expiration"
    POST_ONLY_TYPE = "post_only_type"
    POST_ONLY_CROSSES = "post_only_crosses"
    NOT_ENOUGH_BALANCE = "not_enough_balance"
    FOK_NOT_FILLED = "fok_not_filled"
    FAK_NO_MATCH = "fak_no_match"
    BOOK_FULL = "book_full"
    # Why an order cannot be cancelled.
    UNKNOWN_ORDER = "unknown_order"
    ALREADY_MATCHED = "already_matched"
    ALREADY_CANCELED = "already_canceled"
    # Why an accepted order ended.
    REQUESTED = "requested"
    EXPIRED = "expired"
    FAK_REMAINDER = "fak_remainder"
    SELF_TRADE = "self_trade"
    HEARTBEAT_LOST = "heartbeat_lost"
    MARKET_RESOLVED = "market_resolved"


_R = BinaryReason
_FOK_WORDS = "order couldn't be fully filled. FOK orders are fully filled or killed."
_FAK_WORDS = "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
# Templates name `order_id`, `price`, `tick`, `size`, `minimum` and `dollars`; whoever answers fills in what it
# knows of the order. Where the venue documents no words (a book without room, a closed market) the nearest stand here.
VENUE_ERRORS: Mapping[BinaryReason, tuple[int, str]] = MappingProxyType(
    {
        _R.ENGINE_RESTARTING: (425, "engine restarting"),
        _R.POST_ONLY_MODE: (503, "post-only mode: only post-only orders and cancels are allowed"),
        _R.CANCEL_ONLY: (
            503,
            "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
        ),
        _R.TRADING_DISABLED: (503, "Trading is currently disabled. Check polymarket.com for updates"),
        _R.UNKNOWN_ASSET: (404, "No orderbook exists for the requested token id"),
        _R.UNKNOWN_MARKET: (404, "market not found"),
        _R.MARKET_NOT_READY: (400, "the market is not yet ready to process new orders"),
        _R.MARKET_CLOSED: (404, "No orderbook exists for the requested token id"),
        _R.MARKET_UNRESOLVED: (400, "Invalid market"),
        _R.DUPLICATED: (400, "order {order_id} is invalid. Duplicated."),
        _R.BAD_PAYLOAD: (400, "Invalid order payload"),
        _R.OFF_TICK: (400, "order {order_id} is invalid. Price ({price}) breaks minimum tick size rule: {tick}"),
        _R.BELOW_MINIMUM: (400, "order {order_id} is invalid. Size ({size}) lower than the minimum: {minimum}"),
        _R.MARKETABLE_TOO_SMALL: (400, "invalid amount for a marketable BUY order (${dollars}), min size: $1"),
        _R.BAD_EXPIRATION: (400, "invalid expiration"),
        _R.POST_ONLY_TYPE: (400, "Invalid order payload"),
        _R.POST_ONLY_CROSSES: (400, "invalid post-only order: order crosses book"),
        _R.NOT_ENOUGH_BALANCE: (400, "not enough balance / allowance"),
        _R.FOK_NOT_FILLED: (400, _FOK_WORDS),
        _R.FAK_NO_MATCH: (400, _FAK_WORDS),
        _R.BOOK_FULL: (500, "Internal server error"),
        _R.UNKNOWN_ORDER: (400, "Invalid orderID"),
        _R.ALREADY_MATCHED: (400, "order already matched"),
        _R.ALREADY_CANCELED: (400, "the order is already canceled"),
    }
)


def venue_error(reason: BinaryReason) -> tuple[int, str]:
    """HTTP status and template of a refusal. Raises `KeyError` for a reason that only ends accepted orders."""
    return VENUE_ERRORS[reason]
