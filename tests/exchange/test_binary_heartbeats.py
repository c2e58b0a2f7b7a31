"""The dead man's switch: silence of 10 s after a first heartbeat cancels what the key has open, checked every 5 s."""

from __future__ import annotations

import pytest

from agora.domain.numbers import NS_PER_S
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import HeartbeatAnswer
from tests.exchange.binaries import binaries, order, trader


def with_order() -> tuple[BinaryExchange, int]:
    """An account with an open order of key `one` and one of key `two`, at second 100."""
    exchange = binaries()
    account = trader(exchange)
    exchange.step(100 * NS_PER_S)
    for key in ("one", "two"):
        order(exchange, account, "BUY Up 10 @ 0.40", key=key)
    return exchange, account


def keys(exchange: BinaryExchange, account: int) -> list[str]:
    """The keys of an account's open orders."""
    return [each.key for each in exchange.open_orders(account)]


@pytest.mark.parametrize(
    "beats, gone_at",
    [
        ([0], 10),  # checked at 5 and 10
        ([0, 4], 15),  # at 10 the last one is 6 s old, at 15 it is 11
        ([0, 5], 15),  # at 15 exactly 10 s old
        ([0, 6], 20),
        ([0, 5, 10, 15, 20], 30),
    ],
)
def test_a_key_that_falls_silent_loses_its_orders(beats: list[int], gone_at: int) -> None:
    """At the first check that finds its last heartbeat 10 s old; other keys keep theirs."""
    exchange, account = with_order()
    next_id = ""
    for second in beats:
        exchange.step((100 + second) * NS_PER_S)
        answer = exchange.heartbeat(account, "one", next_id)
        assert answer.is_accepted
        next_id = answer.next_id
    exchange.step((100 + gone_at) * NS_PER_S - 1)
    assert keys(exchange, account) == ["one", "two"]
    exchange.step((100 + gone_at) * NS_PER_S)
    assert keys(exchange, account) == ["two"]


def test_a_key_that_never_sent_one_is_left_alone() -> None:
    """Heartbeats are for who begins with them."""
    exchange, account = with_order()
    exchange.step(700 * NS_PER_S)
    assert keys(exchange, account) == ["one", "two"]


def test_a_wrong_id_does_not_count_and_the_right_one_is_told() -> None:
    """A key that only sends wrong ids falls silent; afterwards it begins anew with the empty id."""
    exchange, account = with_order()
    assert exchange.heartbeat(account, "one", "made up") == HeartbeatAnswer(is_accepted=False, next_id="")
    first = exchange.heartbeat(account, "one", "")
    exchange.step(109 * NS_PER_S)
    assert exchange.heartbeat(account, "one", "") == HeartbeatAnswer(is_accepted=False, next_id=first.next_id)
    exchange.step(110 * NS_PER_S)
    assert keys(exchange, account) == ["two"]
    assert not exchange.heartbeat(account, "one", first.next_id).is_accepted
    assert exchange.heartbeat(account, "one", "").is_accepted


def test_orders_of_a_lost_key_say_why_they_ended() -> None:
    """Cancelled by the venue, the reason kept."""
    exchange, account = with_order()
    first = exchange.open_orders(account)[0]
    exchange.heartbeat(account, "one", "")
    exchange.step(200 * NS_PER_S)
    found = exchange.order(first.order_id)
    assert found is not None
    assert (found.reason, found.changed_ns) == (BinaryReason.HEARTBEAT_LOST, 110 * NS_PER_S)
