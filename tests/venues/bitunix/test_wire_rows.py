"""Answers of Bitunix as values: the samples, and every trap of the protocol by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.domain.orders import Side
from agora.venues.bitunix import wire_account as account_wire
from agora.venues.bitunix import wire_market as market_wire
from agora.venues.bitunix.wire_rows import total_of
from agora.venues.bitunix.wire_values import funding_of
from agora.venues.wire_rows import row_of, rows_of
from agora.venues.wire_values import Malformed

READERS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "tickers": ("", market_wire.ticker_row),
    "depth": ("", market_wire.depth_row),
    "kline": ("", market_wire.kline_row),
    "funding_rate": ("", market_wire.funding_row),
    "funding_rate_batch": ("", market_wire.funding_row),
    "funding_rate_history": ("", market_wire.funding_history_row),
    "trading_pairs": ("", market_wire.pair_row),
    "trading_pairs_eth_SIM_DEFAULT": ("", market_wire.pair_row),
    "position_tiers": ("", market_wire.tier_row),
    "account": ("", account_wire.account_row),
    "account_list_variant": ("", account_wire.account_row),
    "leverage_margin_mode": ("", account_wire.leverage_row),
    "place_order": ("", account_wire.place_answer),
    "batch_order": ("", account_wire.batch_answer),
    "cancel_orders": ("", account_wire.batch_answer),
    "cancel_all_orders": ("", account_wire.batch_answer),
    "modify_order": ("", account_wire.place_answer),
    "pending_orders": ("orderList", account_wire.order_row),
    "history_orders": ("orderList", account_wire.order_row),
    "order_detail": ("", account_wire.order_row),
    "history_trades": ("tradeList", account_wire.trade_row),
    "pending_positions": ("", account_wire.position_row),
    "history_positions": ("positionList", account_wire.history_position_row),
    "tpsl_place": ("", account_wire.place_answer),
    "tpsl_pending": ("orderList", account_wire.tpsl_row),
}
# Answers that carry nothing we use: the code says it all.
EMPTY = {
    "change_leverage", "change_margin_mode", "change_position_mode", "adjust_position_margin", "close_all_position",
    "flash_close_position", "tpsl_position_place", "tpsl_modify", "tpsl_position_modify", "tpsl_cancel",
    "err_unknown_symbol", "err_missing_symbol", "err_bad_limit", "err_unknown_path",
}  # fmt: skip

ORDER = {
    "orderId": "1", "clientId": "c", "symbol": "btcusdt", "side": "BUY", "orderType": "LIMIT", "effect": "GTC",
    "status": "NEW", "qty": "1", "tradeQty": "0.5", "price": "60000", "fee": "0.01", "realizedPNL": "0",
    "reduceOnly": False, "ctime": 1597026383085, "mtime": 1597026383085,
}  # fmt: skip
TRADE = {
    "tradeId": "1", "orderId": "2", "clientId": None, "symbol": "BTCUSDT", "side": "SELL", "qty": "0.0005",
    "price": "91077.2", "fee": "0.0191", "realizedPNL": "0", "roleType": "TAKER", "reduceOnly": True,
    "ctime": "1597026383085",
}  # fmt: skip
POSITION = {
    "positionId": "9", "symbol": "BTCUSDT", "side": "LONG", "qty": "0.5", "entryValue": "30000", "leverage": 10,
    "fee": "0", "funding": "-0.2", "realizedPNL": "0", "unrealizedPNL": "0", "margin": "10", "liqPrice": "0",
    "marginMode": "CROSS", "positionMode": "ONE_WAY", "ctime": 1, "mtime": "2",
}  # fmt: skip


def test_every_sample_answer_is_read(venue_samples: Path) -> None:
    """Each record of the fixtures becomes rows of its kind; none is forgotten by this table."""
    records = json.loads((venue_samples / "bitunix" / "rest_examples.json").read_text())
    seen = set()
    for record in records:
        name = record["id"]
        if name in EMPTY:
            continue
        key, read = READERS[next(each for each in sorted(READERS, key=len, reverse=True) if name.startswith(each))]
        assert rows_of(record["response"]["data"], read, key), name
        seen.add(name)
    assert len(seen) + len(EMPTY) == len(records)


def test_trap_funding_is_percent_now_and_a_fraction_in_history() -> None:
    """`0.01` of the rate is 0.0001; the history's -0.00001191 is itself."""
    now = {
        "symbol": "BTCUSDT", "fundingRate": "0.01", "fundingInterval": 8, "nextFundingTime": "1770710400000",
        "markPrice": "60000", "indexPrice": "60001",
    }  # fmt: skip
    assert market_wire.funding_row(now).rate_ppb == 100_000
    assert market_wire.funding_row(now).next_funding_ms == 1_770_710_400_000
    past = {"fundingRate": "-0.00001191", "fundingTime": 1772449200000, "markPrice": "66286.6"}
    assert market_wire.funding_history_row(past).rate_ppb == -11_910


def test_trap_kline_volumes_are_swapped() -> None:
    """What the venue calls quoteVol is the base quantity."""
    kline = {"open": "60000", "high": "60001", "close": "60000", "low": "59989.2", "time": "60000"}
    found = market_wire.kline_row({**kline, "quoteVol": "1", "baseVol": "60000"})
    assert (found.base_volume, found.quote_volume, found.start_ms) == (Decimal(1), Decimal(60_000), 60_000)


@pytest.mark.parametrize(
    "raw, clean", [("NEW_", "NEW"), ("new", "NEW"), ("PART_FILLED", "PART_FILLED"), ("FILLED_", "FILLED")]
)
def test_trap_status_words_carry_underscores_and_any_case(raw: str, clean: str) -> None:
    """A trailing underscore was seen on the wire."""
    assert account_wire.order_row({**ORDER, "status": raw}).status == clean


def test_trap_an_orders_type_has_two_names() -> None:
    """`orderType` in the table, `type` in the examples, in any letter case."""
    unnamed = {key: value for key, value in ORDER.items() if key != "orderType"}
    assert account_wire.order_row({**unnamed, "type": "Market"}).order_type == "MARKET"
    assert account_wire.order_row(ORDER).order_type == "LIMIT"


@pytest.mark.parametrize("price", ["market", "MARKET", "", None, "0"])
def test_trap_a_market_order_has_a_word_for_a_price(price: object) -> None:
    """`market`, nothing, or zero: there is no price."""
    assert account_wire.order_row({**ORDER, "price": price}).price is None


def test_trap_times_come_as_numbers_and_as_strings() -> None:
    """Both are milliseconds."""
    assert account_wire.trade_row(TRADE).ctime_ms == account_wire.trade_row({**TRADE, "ctime": 1597026383085}).ctime_ms
    assert account_wire.position_row(POSITION).mtime_ms == 2


@pytest.mark.parametrize("word, side", [("LONG", Side.BUY), ("BUY", Side.BUY), ("SHORT", Side.SELL), ("sell", -1)])
def test_trap_position_sides_come_in_two_vocabularies(word: str, side: Side) -> None:
    """LONG and SHORT in the documentation, BUY and SELL on the wire."""
    assert account_wire.position_row({**POSITION, "side": word}).side == side


def test_trap_the_account_is_a_list_or_an_object() -> None:
    """The documentation shows a list of one, the wire has the object."""
    account = {"marginCoin": "USDT", "available": "1000", "frozen": "0", "margin": "10", "positionMode": "HEDGE"}
    assert row_of([account], account_wire.account_row) == row_of(account, account_wire.account_row)


def test_trap_failures_carry_their_code_as_number_or_string() -> None:
    """And name the order `id` or `orderId`."""
    answer = account_wire.batch_answer(
        {
            "successList": [{"id": "1", "clientId": "a"}, {"orderId": "2", "clientId": "b"}],
            "failureList": [
                {"orderId": "3", "clientId": "c", "errorMsg": "x", "errorCode": "20007"},
                {"id": "4", "clientId": "d", "errorMsg": "x", "errorCode": 20003},
            ],
        }
    )
    assert [row.order_id for row in answer.done] == ["1", "2"]
    assert [(row.order_id, row.code) for row in answer.failed] == [("3", 20007), ("4", 20003)]


def test_trap_liquidation_prices_at_or_below_zero_are_none() -> None:
    """They mean that no price liquidates the position at present."""
    assert account_wire.position_row(POSITION).liquidation_price is None
    assert account_wire.position_row({**POSITION, "liqPrice": "-5"}).liquidation_price is None
    assert account_wire.position_row({**POSITION, "liqPrice": "22209"}).liquidation_price == Decimal(22209)


def test_trap_the_sign_of_funding_is_decided_in_one_place() -> None:
    """What a position has paid is negative, in open and closed positions alike, and in pushes."""
    closed = {**POSITION, "maxQty": "1"}
    assert account_wire.position_row(POSITION).funding == funding_of("-0.2") == Decimal("-0.2")
    assert account_wire.history_position_row(closed).funding == Decimal("-0.2")


def test_an_order_taken_without_any_name_is_no_answer() -> None:
    """It could not be followed."""
    with pytest.raises(Malformed):
        account_wire.place_answer({"orderId": "", "clientId": None})


def test_a_rebate_keeps_its_sign_and_an_empty_client_id_is_none() -> None:
    """A fee is a cost when positive."""
    row = account_wire.trade_row({**TRADE, "fee": "-0.5", "roleType": "MAKER"})
    assert (row.fee, row.is_maker, row.client_id) == (Decimal("-0.5"), True, "")


NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999999999",
    "x",
    "0x10",
    "1" * 70,
    [],
    {},
    True,
    "-1",
    "1e13",
    "nan(5)",
]


@pytest.mark.parametrize("bad", NUMBERS, ids=[repr(bad)[:20] for bad in NUMBERS])
@pytest.mark.parametrize("field", ["qty", "price"])
def test_numbers_that_cannot_be_meant_are_refused(field: str, bad: object) -> None:
    """No NaN, no infinity, nothing negative or beyond any market becomes a size or a price."""
    with pytest.raises(Malformed):
        account_wire.trade_row({**TRADE, field: bad})


@pytest.mark.parametrize("data", [5, "x", [5], [[]], {"orderList": 5}, {"orderList": ["x"]}])
def test_answers_of_another_shape_are_refused(data: object) -> None:
    """A list of rows, an object, or nothing; everything else is no answer."""
    with pytest.raises(Malformed):
        rows_of(data, account_wire.order_row, "orderList" if isinstance(data, dict) else "")


def test_no_rows_are_no_rows() -> None:
    """Null and an empty text stand for an empty list."""
    assert rows_of(None, account_wire.order_row) == rows_of("", account_wire.order_row) == []
    assert rows_of({"orderList": None, "total": "0"}, account_wire.order_row, "orderList") == []
    assert total_of({"total": "12"}) == 12
    assert total_of([]) is None


@pytest.mark.parametrize(
    "bars", [("1", "2", "3", "1"), ("5", "4", "1", "2"), ("0", "1", "0", "1"), ("-1", "1", "-1", "1")]
)
def test_a_candle_whose_prices_contradict_each_other_is_none(bars: tuple[str, str, str, str]) -> None:
    """Its low is the least and its high the greatest of four prices above zero."""
    o, h, low, c = bars
    with pytest.raises(Malformed):
        market_wire.kline_row(
            {"open": o, "high": h, "low": low, "close": c, "time": 0, "quoteVol": "1", "baseVol": "1"}
        )
