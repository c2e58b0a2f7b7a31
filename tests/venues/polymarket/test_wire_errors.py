"""Refusals of the CLOB: each text of the documentation, and what is done about it."""

from __future__ import annotations

import json

import pytest

from agora.venues.polymarket.wire_errors import REACTIONS, Kind, Reaction, is_already_over, kind_of, refusal_of

# status, text, what is done about it
TEXTS = [
    (400, "invalid post-only order: order crosses book", Reaction.REQUOTE),
    (400, "order 0x23b4 crosses the book", Reaction.REQUOTE),
    (400, "order 0x2 is invalid. Price (0.555) breaks minimum tick size rule: 0.01", Reaction.REFRESH_TICK),
    (400, "order 0x2 is invalid. Size (1.73) lower than the minimum: 5", Reaction.RESIZE),
    (400, "order 0x2 is invalid. Duplicated.", Reaction.ALREADY_SENT),
    (400, "invalid amount for a marketable BUY order ($0.17), min size: $1", Reaction.RESIZE),
    (400, "not enough balance / allowance", Reaction.REFRESH_BALANCES),
    (400, "invalid expiration", Reaction.BUG),
    (400, "order couldn't be fully filled. FOK orders are fully filled or killed.", Reaction.MISSED),
    (
        400,
        "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found.",
        Reaction.MISSED,
    ),
    (400, "the market is not yet ready to process new orders", Reaction.WAIT),
    (400, "order match delayed due to market conditions", Reaction.RECONCILE),
    (400, "order canceled in the CTF exchange contract", Reaction.RECONCILE),
    (400, "context canceled", Reaction.RECONCILE),
    (400, "the order owner has to be the owner of the API KEY", Reaction.STOP),
    (400, "the order signer address has to be the address of the API KEY", Reaction.STOP),
    (400, "'0x1' address banned", Reaction.STOP),
    (400, "'0x1' address in closed only mode", Reaction.STOP),
    (400, "Invalid order payload", Reaction.BUG),
    (400, "Invalid orderID", Reaction.BUG),
    (400, "Too many orders in payload: 16, max allowed: 15", Reaction.BUG),
    (400, "Invalid token id", Reaction.BUG),
    (400, "Payload exceeds the limit", Reaction.BUG),
    (400, "Invalid signature_type", Reaction.BUG),
    (400, "order_version_mismatch", Reaction.REFRESH_VERSION),
    (401, "Unauthorized/Invalid api key", Reaction.LOG_IN),
    (401, "", Reaction.LOG_IN),
    (403, "", Reaction.STOP),
    (404, "No orderbook exists for the requested token id", Reaction.WAIT),
    (404, "market not found", Reaction.WAIT),
    (404, "order not found", Reaction.WAIT),
    (425, "", Reaction.WAIT),
    (429, "Too Many Requests", Reaction.WAIT),
    (429, "order_version_mismatch", Reaction.WAIT),
    (500, "order timed out", Reaction.RECONCILE),
    (500, "there are no matching orders", Reaction.RECONCILE),
    (500, "FOK orders are filled or killed", Reaction.RECONCILE),
    (500, "the trade contains rounding issues", Reaction.RECONCILE),
    (500, "not enough balance / allowance", Reaction.RECONCILE),
    (502, "", Reaction.RECONCILE),
    (503, "", Reaction.RECONCILE),
    (503, "Trading is currently disabled. Check polymarket.com for updates", Reaction.STOP),
    (
        503,
        "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
        Reaction.CANCEL_ONLY,
    ),
    (503, "post-only mode: only post-only orders and cancels are allowed", Reaction.POST_ONLY),
    (418, "something new", Reaction.BACK_OFF),
]


@pytest.mark.requirement("P1.2")
@pytest.mark.parametrize("status, text, reaction", TEXTS)
def test_each_refusal_has_its_reaction(status: int, text: str, reaction: Reaction) -> None:
    """A crossing post-only order is quoted anew at once, another trouble backs off, what is in doubt is asked about."""
    assert refusal_of(status, json.dumps({"error": text})).reaction is reaction
    assert refusal_of(status, json.dumps({"error": text.upper()})).reaction is reaction


def test_every_kind_has_a_reaction() -> None:
    """The table is complete."""
    assert REACTIONS.keys() == set(Kind)


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b"null", b"[]", b'"x"', b'{"error":5}', b"\xff", b"[" * 5_000]
)
def test_an_answer_that_cannot_be_read_is_judged_by_its_status(body: bytes) -> None:
    """It never raises: behind a server's fault the order may exist, behind a refusal it does not."""
    assert refusal_of(502, body).reaction is Reaction.RECONCILE
    assert refusal_of(400, body).reaction is Reaction.BACK_OFF
    assert refusal_of(425, body, retry_after_s=2.0).retry_after_s == 2.0


@pytest.mark.parametrize(
    "wish, expected", [(79, 79.0), ("79", 79.0), (-1, 2.0), (10**9, 2.0), ("NaN", 2.0), (None, 2.0)]
)
def test_the_bodys_wish_to_wait_comes_before_the_headers(wish: object, expected: float) -> None:
    """Unless it cannot be meant."""
    body = json.dumps({"error": "x", "code": "post_only_mode", "retry_after_seconds": wish})
    found = refusal_of(503, body, retry_after_s=2.0)
    assert (found.kind, found.retry_after_s) == (Kind.POST_ONLY_MODE, expected)


def test_a_wrong_heartbeat_tells_the_one_that_is_expected() -> None:
    """Also when that is empty."""
    found = refusal_of(400, '{"error_msg":"Invalid Heartbeat ID","heartbeat_id":"abc"}')
    assert (found.reaction, found.heartbeat_id) == (Reaction.RESEND_HEARTBEAT, "abc")
    assert refusal_of(400, '{"error_msg":"Invalid Heartbeat ID","heartbeat_id":""}').heartbeat_id == ""


def test_the_leg_of_a_batch_is_sorted_by_its_text_alone() -> None:
    """It has no status of its own."""
    assert kind_of("post-only mode: only post-only orders and cancels are allowed") is Kind.POST_ONLY_MODE
    assert kind_of("invalid post-only order: order crosses book") is Kind.CROSSES_BOOK


@pytest.mark.parametrize(
    "reason, is_over",
    [
        ("order already matched", True),
        ("already canceled or matched", True),
        ("the order is already canceled", True),
        ("order not found or already canceled", False),
        ("", False),
        ("trading is disabled", False),
    ],
)
def test_an_order_that_could_not_be_cancelled_has_ended_or_it_has_not(reason: str, is_over: bool) -> None:
    """Only what the venue has known can have ended."""
    assert is_already_over(reason) is is_over


def test_texts_of_the_venue_are_shortened_and_fit_for_a_log() -> None:
    """No line breaks, no escapes, no megabytes."""
    found = refusal_of(400, json.dumps({"error": "a\n\x1b[31m" + "x" * 10_000}))
    assert found.message.isprintable()
    assert len(found.message) <= 300
