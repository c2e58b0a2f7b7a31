"""Orders, trades and balances of the CLOB: the traps of the protocol by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.domain.orders import Side
from agora.venues.polymarket.amounts import Amounts
from agora.venues.polymarket.wire_account import (
    CURSOR_END,
    CURSOR_START,
    api_credentials,
    balance_row,
    cancel_answer,
    heartbeat_of,
    is_cancelled,
    is_closed_only,
    order_row,
    page_of,
    place_answer,
    place_answers,
    settled_of,
    trade_row,
)
from agora.venues.wire_values import Malformed
from tests.venues.polymarket.vectors import UP_TOKEN, sample

ANSWER: dict[str, Any] = {
    "success": True, "errorMsg": "", "orderID": "0xb5", "status": "live", "makingAmount": "", "takingAmount": "",
}  # fmt: skip
ORDER: dict[str, Any] = {
    "id": "0xff", "market": "0x74", "asset_id": UP_TOKEN, "owner": "9180014b", "maker_address": "0x12", "side": "BUY",
    "price": "0.52", "original_size": "10", "size_matched": "2.5", "outcome": "Up", "order_type": "GTC",
    "status": "LIVE", "associate_trades": [], "created_at": 1748779200, "expiration": "0",
}  # fmt: skip
TRADE: dict[str, Any] = {
    "id": "28c4", "taker_order_id": "0xff", "market": "0x74", "asset_id": UP_TOKEN, "side": "BUY", "price": "0.52",
    "size": "10", "status": "MATCHED", "maker_orders": [], "match_time": "1748779205", "last_update": "1748779205",
}  # fmt: skip


def test_trap_success_without_an_id_is_a_refusal(venue_samples: Path) -> None:
    """A leg of a batch in post-only mode says success, and why not."""
    (leg,) = place_answers(sample(venue_samples, "rest_post_orders_response_post_only_mode"), sent=1)
    assert leg.is_success
    assert not leg.is_taken
    assert "post-only mode" in leg.error
    assert place_answer(ANSWER).is_taken
    assert not place_answer({**ANSWER, "success": False}).is_taken


@pytest.mark.parametrize("success", [None, "true", 1, "", []])
def test_an_answer_that_says_neither_yes_nor_no_is_malformed(success: object) -> None:
    """What became of the order has to be asked."""
    with pytest.raises(Malformed):
        place_answer({**ANSWER, "success": success})


def test_a_batch_is_answered_leg_by_leg() -> None:
    """With fewer or more answers than orders nobody knows whose is whose."""
    assert len(place_answers([ANSWER, ANSWER], sent=2)) == 2
    for wrong in ([ANSWER], [ANSWER] * 3, {}, None):
        with pytest.raises(Malformed):
            place_answers(wrong, sent=2)


@pytest.mark.requirement("P0.1")
@pytest.mark.parametrize(
    "making, taking, expected",
    [
        ("4.9152", "5.12", Amounts(4_915_200, 5_120_000)),
        ("4915200", "5120000", Amounts(4_915_200, 5_120_000)),
        ("4.9152", "5.224489", Amounts(4_915_200, 5_224_489)),
        ("", "", Amounts(0, 0)),
        ("0", "0", Amounts(0, 0)),
        ("2", "2.083333", Amounts(2_000_000, 2_083_333)),
    ],
    ids=["as production", "as the documents", "more shares than named", "nothing", "zero", "a part"],
)
def test_trap_amounts_of_an_answer_are_decimals_or_millionths(making: str, taking: str, expected: Amounts) -> None:
    """Told apart by what the order gives: more than that it cannot have given."""
    answer = place_answer({**ANSWER, "makingAmount": making, "takingAmount": taking})
    assert settled_of(answer, Amounts(4_915_200, 5_120_000)) == expected


@pytest.mark.parametrize("making, taking", [("4915201", "1"), ("1e9", "1"), ("0.0000001", "1"), ("1", "0.00000015")])
def test_an_order_never_gave_more_than_it_says(making: str, taking: str) -> None:
    """Nor parts of a millionth."""
    answer = place_answer({**ANSWER, "makingAmount": making, "takingAmount": taking})
    with pytest.raises(Malformed):
        settled_of(answer, Amounts(4_915_200, 5_120_000))


def test_a_page_leads_to_the_next_until_the_last(venue_samples: Path) -> None:
    """A page without a cursor could hide orders, so it is none."""
    page = page_of(sample(venue_samples, "rest_open_orders_page"), order_row)
    assert page.is_last
    assert page.rows[0].price == Decimal("0.52")
    more = {"data": [ORDER], "next_cursor": "MTAw"}
    assert not page_of(more, order_row).is_last
    assert (CURSOR_START, CURSOR_END) == ("MA==", "LTE=")
    for wrong in (
        {"data": [ORDER]},
        {**more, "next_cursor": 5},
        {**more, "data": None},
        [ORDER],
        None,
        {**more, "data": [5]},
    ):
        with pytest.raises(Malformed):
            page_of(wrong, order_row)


def test_what_was_not_cancelled_says_why() -> None:
    """Both lists may be missing."""
    answer = cancel_answer({"canceled": ["0xa"], "not_canceled": {"0xb": "order already matched"}})
    assert (answer.cancelled, answer.refused) == (("0xa",), (("0xb", "order already matched"),))
    assert cancel_answer({}).cancelled == ()


def test_trap_empty_numbers_of_an_order_are_nothing(venue_samples: Path) -> None:
    """Of one that was killed at once the socket says neither when nor how much; REST may have no trades at all."""
    row = order_row({**ORDER, "size_matched": "", "created_at": "", "expiration": None, "associate_trades": None})
    assert (row.size_matched, row.created_s, row.expiration_s, row.trade_ids) == (0, 0, 0, ())
    assert len(page_of(sample(venue_samples, "rest_open_orders_page_nautilus"), order_row).rows) == 2


@pytest.mark.parametrize(
    "status, expected",
    [
        ("LIVE", False), ("MATCHED", False), ("DELAYED", False), ("UNMATCHED", False), ("CANCELED", True),
        ("CANCELED_MARKET_RESOLVED", True), ("CANCELED_NOT_ENOUGH_BALANCE", True), ("INVALID", True),
        ("CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed.", True), ("NEW_WORD", False),
    ],
)  # fmt: skip
def test_trap_statuses_are_words_that_nobody_has_listed(status: str, expected: bool) -> None:
    """They are kept as they come; only how those of a cancelled order begin is known."""
    assert order_row({**ORDER, "status": status}).status == status
    assert is_cancelled(status) is expected


def test_trap_statuses_of_trades_have_a_prefix_on_rest() -> None:
    """And none on the socket."""
    assert trade_row({**TRADE, "status": "TRADE_STATUS_CONFIRMED"}).status == "CONFIRMED"
    assert trade_row({**TRADE, "status": "MATCHED_NOT_BROADCASTED"}).status == "MATCHED_NOT_BROADCASTED"
    assert trade_row({**TRADE, "transaction_hash": None, "maker_orders": None}).makers == ()


def test_an_allowance_is_often_the_largest_number_of_all(venue_samples: Path) -> None:
    """Of 256 bits; older answers have one for all contracts."""
    row = balance_row(sample(venue_samples, "rest_balance_allowance"))
    assert row.balance_units == 1_000_000_000
    assert dict(row.allowances) == {"0xE111180000d2663C0091e4f400237545B87B996B": 2**256 - 1}
    assert balance_row({"balance": "5", "allowance": "7"}).allowances == (("", 7),)


BAD_NUMBERS = ["NaN", "Infinity", "-1", "1e13", "x", "0x10", "1" * 70, [], {}, True, "nan(5)", "1_0x"]


@pytest.mark.requirement("B34")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=[repr(bad)[:20] for bad in BAD_NUMBERS])
def test_numbers_that_cannot_be_meant_are_refused(bad: object) -> None:
    """In no place do they become a price, a size or a balance."""
    for read, good, fields in (
        (order_row, ORDER, ("price", "original_size", "size_matched", "created_at")),
        (trade_row, TRADE, ("price", "size", "match_time")),
        (place_answer, ANSWER, ("makingAmount", "takingAmount")),
        (balance_row, {"balance": "1", "allowances": {}}, ("balance",)),
    ):
        for field in fields:
            with pytest.raises(Malformed):
                read({**good, field: bad})


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "no side": {"side": None},
    "side": {"side": "HOLD"},
    "price of one": {"price": "1"},
    "no id": {"id": ""},
    "id of another place": {"id": "../x"},
    "long id": {"id": "0" * 81},
    "token": {"asset_id": "0x1"},
    "trades": {"associate_trades": "x"},
    "status": {"status": 5},
}


@pytest.mark.requirement("B34")
@pytest.mark.parametrize("change", BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_an_order_that_cannot_be_told_from_others_is_malformed(change: dict[str, Any]) -> None:
    """Its id, its token and its side are what everything hangs on."""
    with pytest.raises(Malformed):
        order_row({**ORDER, **change})


@pytest.mark.requirement("B53")
def test_credentials_are_three_texts_that_never_show() -> None:
    """Also not in the words of a refusal."""
    row = {"apiKey": "canary", "secret": "canary", "passphrase": "canary"}
    found = api_credentials(row, "0x1")
    assert (found.api_key, found.address) == ("canary", "0x1")
    for wrong in (
        {**row, "secret": 5},
        {**row, "passphrase": ""},
        {**row, "apiKey": None},
        {**row, "secret": "c" * 201},
    ):
        with pytest.raises(Malformed) as caught:
            api_credentials(wrong, "0x1")
        assert "canary" not in str(caught.value)


def test_small_answers_that_do_not_answer_are_malformed() -> None:
    """Whether we may trade, and what to echo."""
    for wrong in ({}, {"closed_only": "false"}, {"closed_only": 0}):
        with pytest.raises(Malformed):
            is_closed_only(wrong)
    with pytest.raises(Malformed):
        heartbeat_of({})
    assert heartbeat_of({"heartbeat_id": ""}) == ""


def test_sides_are_ours() -> None:
    """Not the venue's words."""
    assert (order_row(ORDER).side, order_row({**ORDER, "side": "SELL"}).side) == (Side.BUY, Side.SELL)
