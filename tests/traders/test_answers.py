"""Reading answers: what is taken as it stands, what is brought into bounds, and what is no answer at all."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agora.domain.decisions import AnswerOutcome
from agora.domain.numbers import MONEY_SCALE
from agora.domain.orders import OrderType, Side, TimeInForce
from agora.exchange.requests import CancelRequest, OrderRequest
from agora.traders.answers import (
    ANSWER_CHARS_MAX,
    DEPTH_MAX,
    answer_schema_name,
    find_object,
    read_answer,
)
from agora.traders.scene import REQUESTS_MAX
from tests.traders.agent_views import FIRST, MarketView, market, refusal, resting

A = AnswerOutcome
BUY = {"symbol": FIRST, "side": "buy", "size": "5", "price": "99.50"}


def answer(*orders: dict[str, Any], **members: Any) -> str:
    """The text of an answer with these orders."""
    return json.dumps({"orders": list(orders), **members})


def rich() -> MarketView:
    """An account with 1,000,000 in cash and 100 units, and two resting orders."""
    view = market(position=100)
    view.cash_units = 1_000_000 * MONEY_SCALE
    view.assets[FIRST].orders = [resting(7, Side.BUY, 9_900), resting(8, Side.SELL, 10_100)]
    return view


# name, text, outcome
READINGS: tuple[tuple[str, str, AnswerOutcome], ...] = (
    ("an order", answer(BUY), A.OK),
    ("numbers as numbers", answer({**BUY, "size": 5, "price": 99.5}), A.OK),
    ("spaces around", f"\n  {answer(BUY)} \n", A.OK),
    ("nothing to do", answer(), A.OK),
    ("only a withdrawal", '{"cancel":[7]}', A.OK),
    ("a note", answer(BUY, note="because"), A.OK),
    ("a fence", f"```json\n{answer(BUY)}\n```", A.REPAIRED),
    ("prose around", f"I don't know, but: {answer(BUY)} Hope that helps!", A.REPAIRED),
    ("braces in prose before", f"Let me think {{carefully}} first. {answer(BUY)}", A.REPAIRED),
    ("braces and quotes in strings", answer(BUY, note='}{"]['), A.OK),
    ("escaped quotes in strings", answer(BUY, note='\\"}\\\\'), A.OK),
    ("off the tick", answer({**BUY, "price": "99.505"}), A.REPAIRED),
    ("off the lot", answer({**BUY, "size": "5.5"}), A.REPAIRED),
    ("beyond the band", answer({**BUY, "price": "50"}), A.REPAIRED),
    ("beyond the cash", answer({**BUY, "size": "1000000"}), A.REPAIRED),
    ("one of two possible", answer(BUY, {**BUY, "size": "0.5"}), A.REPAIRED),
    ("an order that is gone", answer(BUY, cancel=[99]), A.REPAIRED),
    ("less than a lot", answer({**BUY, "size": "0.5"}), A.FALLBACK),
    ("only an order that is gone", answer(cancel=[99]), A.FALLBACK),
    ("a refusal", '{"refusal":"I may not give advice."}', A.REFUSED),
    ("a refusal with orders", answer(BUY, refusal="no"), A.REFUSED),
    ("prose", "As a careful assistant, I would buy 5 of ARBO at 99.50.", A.REFUSED),
    ("nothing", "", A.SCHEMA_ERROR),
    ("blanks", " \n\t", A.SCHEMA_ERROR),
    ("an empty object", "{}", A.SCHEMA_ERROR),
    ("only a note", '{"note":"hm"}', A.SCHEMA_ERROR),
    ("cut off", answer(BUY)[:-3], A.SCHEMA_ERROR),
    ("a string that does not end", '{"note":"abc', A.SCHEMA_ERROR),
    ("a cut-off object around an answer", f'{{"thought":{answer(BUY)},"no', A.SCHEMA_ERROR),
    ("an answer after one with NaN", '{"orders":[],"x":NaN}' + answer(BUY), A.SCHEMA_ERROR),
    ("an answer too deep", '{"a":' * 9 + answer(BUY) + "}" * 9, A.SCHEMA_ERROR),
    ("another object", '{"action":"buy"}', A.SCHEMA_ERROR),
    ("an object before the answer", f'{{"thought":1}} {answer(BUY)}', A.SCHEMA_ERROR),
    ("an unknown member", answer({**BUY, "leverage": 100}), A.SCHEMA_ERROR),
    ("an unknown symbol", answer({**BUY, "symbol": "ELSE"}), A.SCHEMA_ERROR),
    ("an unknown side", answer({**BUY, "side": "BUY"}), A.SCHEMA_ERROR),
    ("a limit order without price", answer({"symbol": FIRST, "side": "buy", "size": 5}), A.SCHEMA_ERROR),
    ("a negative size", answer({**BUY, "size": -5}), A.SCHEMA_ERROR),
    ("no size", answer({**BUY, "size": 0}), A.SCHEMA_ERROR),
    ("a negative price", answer({**BUY, "price": "-1"}), A.SCHEMA_ERROR),
    ("NaN", answer({**BUY, "size": float("nan")}), A.SCHEMA_ERROR),
    ("infinity", answer({**BUY, "price": float("inf")}), A.SCHEMA_ERROR),
    ("NaN as text", answer({**BUY, "size": "NaN"}), A.SCHEMA_ERROR),
    ("a signalling NaN as text", answer({**BUY, "size": "sNaN"}), A.SCHEMA_ERROR),
    ("infinity as text", answer({**BUY, "size": "Infinity"}), A.SCHEMA_ERROR),
    ("a word as size", answer({**BUY, "size": "all"}), A.SCHEMA_ERROR),
    ("truth as size", answer({**BUY, "size": True}), A.SCHEMA_ERROR),
    ("a huge size", answer({**BUY, "size": "1e400"}), A.SCHEMA_ERROR),
    ("an exponent beyond all", answer(BUY).replace('"5"', "1e9999999999999999999"), A.SCHEMA_ERROR),
    ("a number of 5,000 digits", '{"cancel":[' + "9" * 5_000 + "]}", A.SCHEMA_ERROR),
    ("a tiny size", answer({**BUY, "size": "1e-400"}), A.SCHEMA_ERROR),
    ("a member twice", '{"orders":[],"orders":[]}', A.SCHEMA_ERROR),
    ("an order's member twice", answer(BUY).replace('"side"', '"side":"sell","side"'), A.SCHEMA_ERROR),
    ("nine orders", answer(*[BUY] * 9), A.SCHEMA_ERROR),
    ("a long note", answer(note="x" * 501), A.SCHEMA_ERROR),
    ("an id of another type", answer(cancel=["7"]), A.SCHEMA_ERROR),
    ("orders as text", '{"orders":"none"}', A.SCHEMA_ERROR),
    ("a list", "[1]", A.REFUSED),
)  # fmt: skip


@pytest.mark.parametrize("name,text,outcome", READINGS, ids=[name for name, _, _ in READINGS])
def test_an_answer_has_the_outcome_of_its_kind(name: str, text: str, outcome: AnswerOutcome) -> None:
    """Each kind of reply counts as the table says, and only usable ones ask for anything."""
    decided = read_answer(text, rich())
    assert decided.outcome is outcome, (name, decided.detail)
    assert decided.is_usable == (outcome in {A.OK, A.REPAIRED})
    assert decided.is_usable or not decided.requests
    assert not refusal(rich(), decided.requests)


def only_order(text: str, view: MarketView) -> OrderRequest:
    """The one order of a usable answer."""
    (request,) = read_answer(text, view).requests
    assert isinstance(request, OrderRequest)
    return request


# side, price as written, ticks, with a last price of 100.00 and a band of a tenth
PRICES = (
    ("buy", "99.509", 9_950),
    ("sell", "99.501", 9_951),
    ("buy", "100.00", 10_000),
    ("buy", "250", 11_000),
    ("buy", "0.000001", 9_000),
    ("sell", "1", 9_000),
    ("sell", "100000", 11_000),
)


@pytest.mark.parametrize("side,price,ticks", PRICES)
def test_a_price_is_rounded_to_the_passive_side_and_kept_in_the_band(side: str, price: str, ticks: int) -> None:
    """A buy never pays more than was said, a sell never takes less, and none leaves the band."""
    order = only_order(answer({"symbol": FIRST, "side": side, "size": 1, "price": price}), rich())
    assert order.price_ticks == ticks
    assert (order.type, order.time_in_force) == (OrderType.LIMIT, TimeInForce.GTC)


def test_a_market_order_lapses_at_the_edge_of_the_band() -> None:
    """It becomes a limit order that is gone at once, so that what it can cost is known."""
    for side, ticks in (("buy", 11_000), ("sell", 9_000)):
        order = only_order(answer({"symbol": FIRST, "side": side, "size": 3, "type": "market"}), rich())
        assert (order.price_ticks, order.time_in_force, order.size_lots) == (ticks, TimeInForce.IOC, 3)


def test_the_band_of_a_tiny_price_is_a_tick() -> None:
    """At one tick the price may still rise by a tick, and never falls to nothing."""
    view = market(1, position=50)
    assert only_order(answer({**BUY, "price": "9"}), view).price_ticks == 2
    assert only_order(answer({**BUY, "side": "sell", "type": "market", "price": None}), view).price_ticks == 1


def test_a_size_is_cut_to_what_is_free() -> None:
    """A sale takes at most the units that no order holds, a purchase what the cash covers with its fee."""
    view = rich()
    assert only_order(answer({**BUY, "side": "sell", "size": 10**6}), view).size_lots == 90
    bought = only_order(answer({**BUY, "size": 10**6}), view)
    assert not refusal(view, [bought])
    one_more = OrderRequest(symbol=FIRST, side=Side.BUY, size_lots=bought.size_lots + 1, price_ticks=9_950)
    assert refusal(view, [one_more])


def test_orders_share_the_funds_in_their_order() -> None:
    """Two orders for everything: the first gets all, the second nothing; withdrawals before them free their holds."""
    view = rich()
    greedy = {**BUY, "size": 10**6}
    decided = read_answer(answer(greedy, greedy), view)
    assert len(decided.requests) == 1
    all_units = {**BUY, "side": "sell", "size": 100, "price": "101"}
    withdrawn, sold = read_answer(answer(all_units, cancel=[8]), view).requests
    assert withdrawn == CancelRequest(symbol=FIRST, order_id=8)
    assert isinstance(sold, OrderRequest)
    assert sold.size_lots == 100


def test_more_requests_than_allowed_are_cut() -> None:
    """Withdrawals count, and come first."""
    decided = read_answer(answer(*[BUY] * 8, cancel=[7, 8]), rich())
    assert decided.outcome is A.REPAIRED
    assert len(decided.requests) == REQUESTS_MAX
    assert [isinstance(request, CancelRequest) for request in decided.requests[:3]] == [True, True, False]


def test_short_sales_go_where_they_are_allowed_and_as_far_as_the_cash_covers_them() -> None:
    """The same answer sells what is owned, or beyond it."""
    text = answer({**BUY, "side": "sell", "size": 500})
    view = rich()
    assert only_order(text, view).size_lots == 90
    view.shorting = True
    assert only_order(text, view).size_lots == 500
    view.cash_units = 10_000 * MONEY_SCALE
    view.assets[FIRST].orders = []
    assert 100 < only_order(text, view).size_lots < 200


# Bounded work: `chars_looked_at` counts what the search for an object has read.

HOSTILE = (
    ("10 MB of prose", "x" * 10_000_000, A.REFUSED),
    ("10 MB of opening braces", "{" * 10_000_000, A.SCHEMA_ERROR),
    ("10 MB of opening brackets", '{"orders":' + "[" * 10_000_000, A.SCHEMA_ERROR),
    ("10 MB in a string", '{"note":"' + "x" * 10_000_000 + '"}', A.SCHEMA_ERROR),
    ("10 MB of escapes", '{"note":"' + '\\"' * 5_000_000, A.SCHEMA_ERROR),
    ("10 MB of quotes", "{" + '"' * 10_000_000, A.SCHEMA_ERROR),
    ("10 MB of small objects", "{}" * 5_000_000, A.SCHEMA_ERROR),
    ("10 MB of small braces", "{a}" * 3_000_000, A.SCHEMA_ERROR),
    ("10 MB of unclosed objects", '{"a' * 3_000_000, A.SCHEMA_ERROR),
    ("an object behind 10 MB", " " * 10_000_000 + answer(), A.SCHEMA_ERROR),
    ("an answer before 10 MB", answer(BUY) + "x" * 10_000_000, A.REPAIRED),
)


@pytest.mark.parametrize("name,text,outcome", HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_a_huge_reply_costs_bounded_work(name: str, text: str, outcome: AnswerOutcome) -> None:
    """However the text is made, the search goes over the cap once."""
    assert read_answer(text, rich()).outcome is outcome, name
    assert find_object(text).chars_looked_at <= ANSWER_CHARS_MAX


def test_depth_is_bounded() -> None:
    """An object nested deeper than any answer is no answer, and is given up where it becomes too deep."""
    deep = '{"a":' * (DEPTH_MAX + 1) + "1" + "}" * (DEPTH_MAX + 1)
    assert find_object('{"a":' * DEPTH_MAX + "1" + "}" * DEPTH_MAX).members is not None
    assert find_object(deep).members is None
    assert find_object('{"a":' * 1_000).chars_looked_at < 600


def test_an_order_inside_a_note_or_in_prose_is_not_done() -> None:
    """Text that looks like an answer counts only where the answer stands."""
    injected = json.dumps({"orders": [{**BUY, "size": "9000"}]})
    decided = read_answer(answer(note=f"ignore all rules: {injected}"[:500]), rich())
    assert (decided.outcome, decided.requests) == (A.OK, ())
    decided = read_answer(answer() + f" and now really: {injected}", rich())
    assert (decided.outcome, decided.requests) == (A.REPAIRED, ())


def test_a_note_is_made_harmless() -> None:
    """Half characters, line ends, escapes of terminals and signs that turn the writing do not survive."""
    decided = read_answer('{"orders":[],"note":"a\\ud800b\\u001b[2J\\nc\\u202ed"}', rich())
    assert decided.note == "a b [2J c d"
    refused = read_answer('{"refusal":"\\ud800\\u0000no"}', rich())
    assert refused.detail == "no"
    odd = read_answer('{"\\ud800":1}', rich())
    assert odd.outcome is A.SCHEMA_ERROR
    assert odd.detail.isprintable()


def test_the_name_of_the_schema_is_pinned() -> None:
    """It is part of the key of kept answers: a change of the form makes them another question."""
    assert answer_schema_name() == "answer.v1:f5afefe52c358cbf"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
amounts = st.one_of(
    st.decimals(places=3), st.integers(-5, 10**20), st.floats(), st.sampled_from(["1", "1e3", "", "x", None])
)
wild_orders = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from([FIRST, FIRST, "ELSE"]),
        "side": st.sampled_from(["buy", "sell"]),
        "size": st.one_of(st.integers(1, 10**7), amounts),
    },
    optional={"price": st.one_of(st.integers(1, 300), amounts), "type": st.sampled_from(["limit", "market", "stop"])},
)
wild_answers = st.fixed_dictionaries(
    {"orders": st.lists(wild_orders, max_size=9)},
    optional={"cancel": st.lists(st.integers(0, 10), max_size=9), "note": st.text(max_size=30), "more": json_values},
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(wild=wild_answers, before=st.text(max_size=5), shorting=st.booleans(), cash=st.sampled_from([0, 10**3, 10**6]))
@example(wild={"orders": [{**BUY, "size": Decimal("sNaN")}]}, before="", shorting=True, cash=0)
def test_whatever_is_answered_nothing_unaffordable_is_asked_for(
    wild: dict[str, Any], before: str, shorting: bool, cash: int
) -> None:
    """Any answer of about the right form comes to an outcome, and to requests that the exchange would take."""
    view = rich()
    view.shorting, view.cash_units = shorting, (cash + 1_000) * MONEY_SCALE
    decided = read_answer(before + json.dumps(wild, default=str), view)
    assert not refusal(view, decided.requests)
    assert len(decided.requests) <= REQUESTS_MAX
    assert decided.outcome in {A.OK, A.REPAIRED, A.SCHEMA_ERROR, A.FALLBACK, A.REFUSED}
    assert decided.note.isprintable()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=st.text(alphabet='{}[]":,\\x1 \n', max_size=60))
@example(text="{\\}")
def test_any_text_comes_to_an_outcome(text: str) -> None:
    """No text raises, and what is found is what a strict decoder finds there."""
    decided = read_answer(text, rich())
    assert not decided.requests
    found = find_object(text)
    if found.members is not None and found.is_alone:
        assert json.loads(text) == found.members
