"""Books and markets of the CLOB: order of levels, what is left out, and numbers that cannot be meant."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.venues.polymarket.book_hash import book_hash
from agora.venues.polymarket.wire_book import (
    BookRow,
    Level,
    book_row,
    clob_market_row,
    hashed_book,
    legacy_market_row,
    neg_risk_of,
    price_answer,
    server_time_s,
    tick_size_of,
    version_of,
)
from agora.venues.wire_values import Malformed, decode_json
from tests.venues.polymarket.vectors import DOWN_TOKEN, UP_TOKEN, sample, text_of

BOOK: dict[str, Any] = {
    "market": "0xaabbcc", "asset_id": UP_TOKEN, "timestamp": "123456789", "hash": "",
    "bids": [{"price": "0.3", "size": "100"}, {"price": "0.4", "size": "7.5"}],
    "asks": [{"price": "0.7", "size": "100"}, {"price": "0.6", "size": "219.217767"}],
    "min_order_size": "5", "tick_size": "0.01", "neg_risk": False, "last_trade_price": "0.5",
}  # fmt: skip


def test_trap_the_best_level_comes_last_on_the_wire_and_first_here() -> None:
    """Whatever the order in which levels come: documents and venue do not agree about it."""
    book = book_row(BOOK)
    assert book.bids == (Level(Decimal("0.4"), Decimal("7.5")), Level(Decimal("0.3"), Decimal(100)))
    assert book.asks == (Level(Decimal("0.6"), Decimal("219.217767")), Level(Decimal("0.7"), Decimal(100)))
    turned = book_row({**BOOK, "bids": BOOK["bids"][::-1], "asks": BOOK["asks"][::-1]})
    assert turned == book


def test_what_a_message_does_not_say_is_not_known() -> None:
    """The socket leaves out minimum and risk, and a fresh market has no last trade."""
    bare = {key: BOOK[key] for key in ("market", "asset_id", "timestamp", "bids", "asks")}
    book = book_row({**bare, "last_trade_price": ""})
    unknown = (book.min_order_size, book.tick_size, book.is_neg_risk, book.last_trade_price, book.hash)
    assert unknown == (None, None, None, None, "")


def test_levels_without_size_are_none_and_a_book_may_be_empty() -> None:
    """The side of a settled market."""
    assert book_row({**BOOK, "asks": []}).asks == ()
    assert len(book_row({**BOOK, "bids": [*BOOK["bids"], {"price": "0.2", "size": "0"}]}).bids) == 2


def test_a_book_is_hashed_by_its_very_texts(venue_samples: Path) -> None:
    """Read from the message, not rebuilt from numbers."""
    vector = sample(venue_samples, "vectors_book_hash")
    assert book_hash(hashed_book(vector["input"])) == vector["sha1"]


BAD_BOOKS: dict[str, dict[str, Any]] = {
    "price of one": {"bids": [{"price": "1", "size": "1"}]},
    "price of nothing": {"bids": [{"price": "0", "size": "1"}]},
    "negative price": {"asks": [{"price": "-0.1", "size": "1"}]},
    "NaN": {"asks": [{"price": "NaN", "size": "1"}]},
    "infinite size": {"asks": [{"price": "0.5", "size": "Infinity"}]},
    "negative size": {"asks": [{"price": "0.5", "size": "-1"}]},
    "absurd size": {"asks": [{"price": "0.5", "size": "1e13"}]},
    "twice": {"asks": [{"price": "0.5", "size": "1"}, {"price": "0.50", "size": "2"}]},
    "a list": {"asks": [["0.5", "1"]]},
    "no list": {"asks": {"price": "0.5", "size": "1"}},
    "too many": {"asks": [{"price": "0.5", "size": "1"}] * 10_001},
    "no time": {"timestamp": ""},
    "time in ns": {"timestamp": "1782753357257000000"},
    "token in hex": {"asset_id": "0x5"},
    "token beyond 256 bits": {"asset_id": "9" * 78},
    "token as number": {"asset_id": 5},
    "no market": {"market": ""},
    "market of another place": {"market": "../../etc/passwd"},
    "tick": {"tick_size": "2"},
    "risk": {"neg_risk": 5},
}


@pytest.mark.requirement("B34")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("change", BAD_BOOKS.values(), ids=BAD_BOOKS)
def test_a_book_that_cannot_be_meant_is_malformed(change: dict[str, Any]) -> None:
    """No part of it is used."""
    with pytest.raises(Malformed):
        book_row({**BOOK, **change})


def test_the_compact_market_has_its_tokens_by_label_and_its_fee_exactly(venue_samples: Path) -> None:
    """Fractions of JSON are decimals, not floats."""
    row: Any = decode_json(text_of(venue_samples, "rest_clob_market_info"))
    market = clob_market_row(row)
    assert {outcome.label: outcome.token_id for outcome in market.outcomes} == {"Up": UP_TOKEN, "Down": DOWN_TOKEN}
    assert (market.tick_size, market.min_order_size) == (Decimal("0.01"), Decimal(5))
    assert market.fee is not None
    assert (market.fee.rate, market.fee.exponent, market.fee.is_taker_only) == (Decimal("0.07"), Decimal(1), True)
    assert (market.has_taker_delay, market.min_order_age_s, market.is_neg_risk) == (True, 0, False)
    del row["fd"]
    assert clob_market_row({**row, "nr": True}).fee is None
    assert clob_market_row({**row, "nr": True}).is_neg_risk


@pytest.mark.requirement("P1.1")
@pytest.mark.parametrize("tick", [None, "", 0, "0", 1, -0.01, "NaN"])
def test_a_market_whose_tick_is_not_said_is_not_read(tick: object) -> None:
    """Nothing can be priced without it."""
    row = {"t": [{"t": UP_TOKEN, "o": "Up"}], "mos": 5, "mts": tick}
    with pytest.raises(Malformed):
        clob_market_row(row)
    with pytest.raises(Malformed):
        tick_size_of({"minimum_tick_size": tick})


def test_outcomes_that_do_not_belong_together_are_malformed() -> None:
    """One token for both, or one label."""
    for tokens in ([(UP_TOKEN, "Up"), (UP_TOKEN, "Down")], [(UP_TOKEN, "Up"), (DOWN_TOKEN, "Up")]):
        with pytest.raises(Malformed, match="belong together"):
            clob_market_row({"t": [{"t": token, "o": label} for token, label in tokens], "mos": 5, "mts": 0.01})


def test_the_long_market_tells_its_winner_and_waits_for_its_tokens(venue_samples: Path) -> None:
    """Tokens are empty texts for minutes after Gamma lists a market."""
    row: Any = decode_json(text_of(venue_samples, "rest_clob_market_legacy"))
    market = legacy_market_row(row)
    assert [outcome.price for outcome in market.outcomes] == [Decimal("0.4865"), Decimal("0.5135")]
    assert (market.winner, market.is_neg_risk, market.is_accepting_orders) == (None, True, True)
    row["tokens"][1]["winner"] = True
    winner = legacy_market_row(row).winner
    assert winner is not None
    assert winner.label == "No"
    row["tokens"][0]["token_id"] = ""
    assert legacy_market_row(row).outcomes == ()


def test_answers_of_one_value_refuse_what_is_none() -> None:
    """A time of nothing, a yes that is a number, a price of a million."""
    for read, wrong in (
        (server_time_s, "1798761600"),
        (server_time_s, True),
        (server_time_s, 0),
        (server_time_s, 10**13),
        (version_of, {"version": "x"}),
        (neg_risk_of, {"neg_risk": "false"}),
        (neg_risk_of, {}),
        (price_answer, {"price": "1000000"}),
    ):
        with pytest.raises(Malformed):
            read(wrong)  # type: ignore[operator]
    assert price_answer({"price": "0"}) is None


def test_reading_a_deep_book_of_the_socket_takes_no_floats(venue_samples: Path) -> None:
    """Prices of a tick of 0.001, sizes with fractions: every number as it was written."""
    row = json.loads(text_of(venue_samples, "ws_market_book_deep"))
    book = book_row(row)
    assert isinstance(book, BookRow)
    assert {f"{level.price:f}" for level in book.asks} == {each["price"] for each in row["asks"]}
    assert [level.price for level in book.bids] == sorted((level.price for level in book.bids), reverse=True)
    assert [level.price for level in book.asks] == sorted(level.price for level in book.asks)
