"""Faults of the loopback Bitunix's calls and their answers: each shows as promised, is counted, and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from agora.domain.numbers import NS_PER_S
from agora.testnet.faults import FAULTS_BY_KIND, Fault
from tests.testnet.bitunix_bench import BTC, Answer, Bench, in_virtual_time
from tests.testnet.bitunix_ears import (
    CANCEL,
    PLACE,
    SOON,
    accepted,
    counts,
    market,
    placed,
    plan,
    private_ear,
    resting,
    status,
)  # fmt: skip

Story = Callable[[Bench], Coroutine[Any, Any, None]]


async def http_429(it: Bench) -> None:
    """Not carried out, with the time to wait."""
    plan(it, "http_429", target="place_order", retry_after_s=3)
    answer = await placed(it, market("a"))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert await status(it, "a") is None


async def http_5xx(it: Bench) -> None:
    """Not carried out."""
    plan(it, "http_5xx", target="place_order")
    assert (await placed(it, market("a"))).status == 503
    assert await status(it, "a") is None


async def html(it: Bench) -> None:
    """The edge's page in place of an answer."""
    plan(it, "html", target="rest")
    answer = await it.get("/market/tickers")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


async def truncated(it: Bench) -> None:
    """Carried out, and the answer cut short."""
    plan(it, "truncated", target="place_order")
    answer = await placed(it, market("a"))
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(answer.body)
    assert await status(it, "a") == "FILLED"


async def empty(it: Bench) -> None:
    """Nothing under status 200, and nothing done."""
    plan(it, "empty", target="place_order")
    answer = await placed(it, market("a"))
    assert (answer.status, answer.body) == (200, b"")
    assert await status(it, "a") is None


async def venue_code(it: Bench) -> None:
    """The code that was planned, a number or a text."""
    plan(it, "venue_code", target="place_order", code="10005")
    answer = await placed(it, market("a"))
    assert (answer.status, answer.code) == (200, 10005)
    assert await status(it, "a") is None


async def accept_then_silence(it: Bench) -> None:
    """The order is there, and nobody says so."""
    plan(it, "accept_then_silence", target="place_order")
    with pytest.raises(TimeoutError):
        await placed(it, market("a"))
    assert await status(it, "a") == "FILLED"
    assert accepted(it) == {"a": 1}


async def accept_then_5xx(it: Bench) -> None:
    """The order is there, and the answer is the edge's page."""
    plan(it, "accept_then_5xx", target="place_order")
    assert (await placed(it, resting(it, "a"))).status == 502
    assert await status(it, "a") == "NEW"


async def accept_late(it: Bench) -> None:
    """Not there when its sender gives up; there once, and once only, after the delay."""
    plan(it, "accept_late", target="place_order", delay_s=5, for_s=1)
    with pytest.raises(TimeoutError):
        await placed(it, resting(it, "a"))
    assert await status(it, "a") is None
    assert (await placed(it, resting(it, "b"))).code == 0
    await it.rest(3.5)
    assert await status(it, "a") is None
    await it.rest(0.7)
    assert await status(it, "a") == "NEW"
    await it.rest(6)
    assert accepted(it) == {"a": 1, "b": 1}


async def not_found_then_exists(it: Bench) -> None:
    """In no list and not by its id, and its trade neither; then it always was."""
    plan(it, "not_found_then_exists", target="place_order", delay_s=5, for_s=1)
    with pytest.raises(TimeoutError):
        await placed(it, market("a"))
    plan(it, "not_found_then_exists", target="place_order", delay_s=5, for_s=1)
    with pytest.raises(TimeoutError):
        await placed(it, resting(it, "b"))

    async def listed() -> tuple[int, ...]:
        paths = ("/trade/get_pending_orders", "/trade/get_history_orders", "/trade/get_history_trades")
        return tuple([(await it.signed(path)).data["total"] for path in paths])

    assert [await status(it, name) for name in "ab"] == [None, None]
    assert await listed() == (0, 0, 0)
    await it.rest(5)
    assert [await status(it, name) for name in "ab"] == ["FILLED", "NEW"]
    assert await listed() == (1, 1, 1)


async def reject(it: Bench) -> None:
    """Orders are refused for want of money; other calls are not."""
    plan(it, "reject")
    assert (await placed(it, market("a"))).code == 20003
    assert await status(it, "a") is None
    assert (await it.get("/market/tickers")).code == 0


async def post_only_reject(it: Bench) -> None:
    """Accepted, then cancelled by the venue; an order that trades at once is let be."""
    async with private_ear(it) as user:
        plan(it, "post_only_reject", target="place_order")
        assert (await placed(it, market("a"))).code == 0
        assert counts(it) == {"post_only_reject": 0}
        assert (await placed(it, resting(it, "b", effect="POST_ONLY"))).code == 0
        assert [await status(it, name) for name in "ab"] == ["FILLED", "SYSTEM_CANCELED"]
        await user.until(lambda heard: heard.of("order")[-1]["data"]["orderStatus"] == "SYSTEM_CANCELED")


ANSWERS: dict[Fault, Story] = {
    Fault.HTTP_429: http_429,
    Fault.HTTP_5XX: http_5xx,
    Fault.HTML: html,
    Fault.TRUNCATED: truncated,
    Fault.EMPTY: empty,
    Fault.VENUE_CODE: venue_code,
    Fault.ACCEPT_THEN_SILENCE: accept_then_silence,
    Fault.ACCEPT_THEN_5XX: accept_then_5xx,
    Fault.ACCEPT_LATE: accept_late,
    Fault.NOT_FOUND_THEN_EXISTS: not_found_then_exists,
    Fault.REJECT: reject,
    Fault.POST_ONLY_REJECT: post_only_reject,
}


@pytest.mark.parametrize("fault", [*ANSWERS])
def test_a_fault_of_answers_shows_as_promised_and_is_counted(fault: Fault) -> None:
    """What its sender gets, and what is so at the venue; the books are sound afterwards."""

    async def story(it: Bench) -> int:
        await ANSWERS[fault](it)
        fired = counts(it).get(fault)
        return 1 if fired is None else fired  # None: the story has looked at it and ended it

    assert in_virtual_time(story) > 0


def test_all_faults_of_answers_are_covered_here() -> None:
    """None is left out."""
    assert set(ANSWERS) == set(FAULTS_BY_KIND["answers"])


@pytest.mark.parametrize("fault", ["accept_then_silence", "accept_then_5xx", "accept_late"])
def test_a_cancel_may_be_in_doubt_too(fault: str) -> None:
    """It is done, at once or later, and its sender does not know."""

    async def story(it: Bench) -> None:
        await placed(it, resting(it, "a"))
        plan(it, fault, target="cancel_orders", for_s=0.5)
        body = {"symbol": BTC, "orderList": [{"clientId": "a"}]}
        if fault == "accept_then_5xx":
            assert (await it.signed(CANCEL, body)).status == 502
        else:
            with pytest.raises(TimeoutError):
                await it.signed(CANCEL, body, timeout=SOON)
        assert await status(it, "a") == ("NEW" if fault == "accept_late" else "CANCELED")
        await it.rest(5)
        assert await status(it, "a") == "CANCELED"
        assert counts(it) == {fault: 1}

    in_virtual_time(story)


@pytest.mark.parametrize("fault, code", [("refuse", 0), ("slow", 200), ("sliced", 200)])
def test_calls_may_be_refused_slow_or_in_pieces(fault: str, code: int) -> None:
    """A named call only; one that was refused is logged as not answered."""

    async def story(it: Bench) -> None:
        await it.get("/market/tickers")
        plan(it, fault, target="depth", **({"delay_s": 2} if fault == "slow" else {}))
        started_ns = it.clock.now_ns()
        if fault == "refuse":
            with pytest.raises(aiohttp.ClientError):
                await it.get("/market/depth", symbol=BTC)
        else:
            answer = await it.get("/market/depth", symbol=BTC)
            assert len(answer.data["bids"]) >= 15
            assert "Date" in answer.headers
        assert (it.clock.now_ns() - started_ns >= 2 * NS_PER_S) == (fault == "slow")
        await it.get("/market/tickers")
        rows = it.venue.log.all()
        assert {row.status for row in rows if row.path.endswith("depth")} == {code}
        assert {row.status for row in rows if row.path.endswith("tickers")} == {200}

    in_virtual_time(story)


@pytest.mark.parametrize("value", ["abc", "NaN", "1e400", "", None, [], {}, True, "-5"])
def test_no_number_of_a_request_disturbs_the_faults(value: Any) -> None:
    """Sizes and prices that are none are refused as ever, and nothing fails within."""

    async def story(it: Bench) -> None:
        for fault in ("partial_flatten", "tick_size_change", "cancel_fill_race", "post_only_reject"):
            plan(it, fault)
        await it.rest(0.2)
        for body in (
            market("a", value, reduceOnly=True),
            resting(it, "b", price=value),
            {**market("c"), "symbol": value},
        ):
            answer = await placed(it, body)
            assert (answer.status, answer.code == 0) == (200, False), body
        for rows in (value, [value], [{"clientId": value}]):
            for path in (CANCEL, "/trade/batch_order"):
                answer = await it.signed(path, {"symbol": BTC, "orderList": rows})
                assert answer.status == 200
                await it.rest(1)

    in_virtual_time(story)


def test_silent_answers_end_with_the_venue() -> None:
    """Whoever waits for an answer that never comes is let go when the venue stops."""

    async def story(it: Bench) -> asyncio.Task[Answer]:
        plan(it, "accept_then_silence")
        waiting = asyncio.create_task(it.signed(PLACE, market("a")))
        await it.rest(30)
        assert not waiting.done()
        it.venue.mischief.stop_waiting()
        assert (await waiting).status == 503
        return waiting

    in_virtual_time(story)
