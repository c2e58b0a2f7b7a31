"""Which reader takes which of the samples that the venue sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from agora.venues.polymarket import wire_account as account
from agora.venues.polymarket import wire_book as book
from agora.venues.polymarket import wire_data as data
from agora.venues.polymarket.wire_errors import Kind, refusal_of
from agora.venues.polymarket.wire_frames import decode_market, decode_user
from agora.venues.polymarket.wire_gamma import gamma_market
from agora.venues.polymarket.wire_prices import decode_polybolt, decode_rtds
from agora.venues.wire_values import decode_json

FRAMES: dict[str, Callable[[str | bytes], Any]] = {
    "polybolt_": decode_polybolt,
    "rtds_": decode_rtds,
    "ws_market_": decode_market,
    "ws_user_": decode_user,
}
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "data_api_v1_positions": data.positions_v1,
    "data_api_v1_trades": data.public_trades,
    "data_api_v2_positions": data.positions_v2,
    "gamma_market_btc_updown_15m_composite_oct2026": gamma_market,
    "gamma_market_btc_updown_15m_resolved_composite": gamma_market,
    "gamma_market_btc_updown_5m_march2026": gamma_market,
    "rest_balance_allowance": account.balance_row,
    "rest_book": book.book_row,
    "rest_cancel_response": account.cancel_answer,
    "rest_clob_market_info": book.clob_market_row,
    "rest_clob_market_legacy": book.legacy_market_row,
    "rest_heartbeat_ok": account.heartbeat_of,
    "rest_open_orders_page": lambda row: account.page_of(row, account.order_row),
    "rest_open_orders_page_nautilus": lambda row: account.page_of(row, account.order_row),
    "rest_post_order_response_delayed": account.place_answer,
    "rest_post_order_response_live": account.place_answer,
    "rest_post_order_response_matched": account.place_answer,
    "rest_post_orders_response_post_only_mode": lambda rows: account.place_answers(rows, sent=1),
    "rest_trades_page": lambda row: account.page_of(row, account.trade_row),
}
SMALL: dict[str, Callable[[Any], Any]] = {
    "GET /time": book.server_time_s,
    "GET /version": book.version_of,
    "GET /tick-size": book.tick_size_of,
    "GET /neg-risk": book.neg_risk_of,
    "GET /fee-rate": account.base_fee_bps,
    "GET /midpoint": lambda row: book.price_answer(row, "mid"),
    "GET /price": book.price_answer,
    "GET /spread": lambda row: book.price_answer(row, "spread"),
    "GET /last-trade-price": book.price_answer,
    "POST /midpoints": book.prices_by_token,
    "POST /prices": book.sides_by_token,
    "POST /auth/api-key | GET /auth/derive-api-key": lambda row: account.api_credentials(row, "0x1"),
    "GET /auth/api-keys": account.api_keys,
    "GET /markets-by-token/{token_id}": book.condition_of,
    "GET /fees/builder-fees/{code}": lambda row: account.base_fee_bps(row, "builder_taker_fee_rate_bps"),
    "GET /auth/ban-status/closed-only": account.is_closed_only,
}
# Says only that it was done.
SAYS_NOTHING = {"DELETE /auth/api-key"}
REFUSALS: dict[str, Kind] = {
    "rest_error_cancel_only": Kind.CANCEL_ONLY,
    "rest_error_duplicated": Kind.DUPLICATE,
    "rest_error_engine_restart": Kind.RESTARTING,
    "rest_error_fak_no_match": Kind.FAK_UNMATCHED,
    "rest_error_fok_not_filled": Kind.FOK_KILLED,
    "rest_error_l1_invalid": Kind.NOT_AUTHORISED,
    "rest_error_marketable_buy_min": Kind.BELOW_VALUE,
    "rest_error_min_size": Kind.BELOW_SIZE,
    "rest_error_min_tick": Kind.OFF_TICK,
    "rest_error_no_orderbook": Kind.NO_MARKET,
    "rest_error_not_enough_balance": Kind.NO_FUNDS,
    "rest_error_order_version_mismatch": Kind.OTHER_VERSION,
    "rest_error_post_only_cross": Kind.CROSSES_BOOK,
    "rest_error_post_only_mode": Kind.POST_ONLY_MODE,
    "rest_error_trading_disabled": Kind.DISABLED,
    "rest_error_unauthorized": Kind.NOT_AUTHORISED,
    "rest_heartbeat_mismatch": Kind.OTHER_HEARTBEAT,
}


def reader_of(name: str) -> Callable[[str], Any] | None:
    """Reads the text of a sample by its name; None for what we say ourselves, and for vectors."""
    if name.startswith("vectors_") or "_request" in name or name == "rest_small_responses":
        return None
    for prefix, read in FRAMES.items():
        if name.startswith(prefix):
            return read
    if name in REFUSALS:
        return _refusal
    read = ANSWERS[name]
    return lambda text: read(decode_json(text))


def _refusal(text: str) -> Any:
    wrapped = json.loads(text)
    return refusal_of(wrapped["http_status"], json.dumps(wrapped["body"]))
