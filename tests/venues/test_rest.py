"""Requests to a venue: what became of each is told exactly, limits are kept, cancels get through."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from agora.domain.dice import Dice
from agora.domain.errors import Transient
from agora.venues.rest import (
    ANSWER_BYTES_MAX,
    Brake,
    Bucket,
    InDoubt,
    Network,
    NotSent,
    RateLimited,
    Reply,
    Request,
    exchange,
    read_again,
    retry_after_of,
)
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.virtual import after

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def asked(handler: Handler, *, port: int = 0) -> Reply:
    """The answer to one request to a server with that handler."""
    app = web.Application()
    app.router.add_post("/x", handler)
    async with serving(app) as url, Network(Connector).session() as session:
        target = url if not port else f"http://127.0.0.1:{port}"
        request = Request(method="POST", url=f"{target}/x", headers={"a": "b"}, body=b"{}")
        async with asyncio.timeout(5):
            return await exchange(session, request, within_s=4.0)


async def _abort(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _huge(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse()
    await stream.prepare(request)
    for _ in range(ANSWER_BYTES_MAX // 2**16 + 2):
        await stream.write(b"x" * 2**16)
    return stream


async def _cut_short(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Length": "1000"})
    await stream.prepare(request)
    await stream.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return stream


async def _too_many(_: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "7"})


@pytest.mark.parametrize(
    "handler, fault", [(_abort, InDoubt), (_huge, InDoubt), (_cut_short, InDoubt), (_too_many, RateLimited)]
)
def test_a_request_that_may_have_arrived_is_in_doubt(handler: Handler, fault: type[Exception]) -> None:
    """A lost connection, half an answer and a flood of bytes do not say what became of it; a 429 does."""
    with pytest.raises(fault):
        run_networked(asked(handler), seed=1)


def test_a_request_to_nobody_was_not_sent() -> None:
    """Where nothing listens, nothing has arrived."""
    with pytest.raises(NotSent):
        run_networked(asked(_too_many, port=9), seed=1)


@pytest.mark.parametrize("is_open", [False, True], ids=["connecting", "answering"])
def test_silence_is_doubt_only_once_a_byte_may_have_left(is_open: bool) -> None:
    """A connection that never comes about carries nothing; one that does may carry an order."""

    async def main() -> float:
        app = web.Application()

        async def never(_: web.Request) -> web.StreamResponse:
            await after(10**6)
            return web.Response()

        app.router.add_post("/x", never)
        async with serving(app) as url, Network(Connector if is_open else Unreachable).session() as session:
            request = Request(method="POST", url=f"{url}/x", headers={}, body=b"{}")
            with pytest.raises(InDoubt if is_open else NotSent):
                await exchange(session, request, within_s=4.0)
            return asyncio.get_running_loop().time()

    assert 4.0 <= run_networked(main(), seed=1) < 4.1


class Unreachable(Connector):
    """A network in which no connection comes about."""

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109
        await after(10**6)
        return await super()._create_connection(req, traces, timeout)


def test_what_cannot_even_be_written_was_not_sent() -> None:
    """An address that is none."""

    async def main() -> None:
        async with Network(Connector).session() as session:
            await exchange(session, Request(method="GET", url="http://", headers={}), within_s=1.0)

    with pytest.raises(NotSent):
        run_networked(main(), seed=1)


def test_status_and_body_are_told_as_they_are() -> None:
    """Which status is good decides who knows the venue."""

    async def strange(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, body=b"<html>", headers={"Date": "Thu, 01 Jan 1970 00:00:05 GMT"})

    assert run_networked(asked(strange), seed=1) == Reply(503, b"<html>", "Thu, 01 Jan 1970 00:00:05 GMT")


@pytest.mark.parametrize(
    "text, seconds", [("2", 2.0), ("", 1.0), ("x", 1.0), ("-5", 1.0), ("0", 1.0), ("1e9", 3600.0), ("nan", 1.0)]
)
def test_a_retry_after_is_taken_within_reason(text: str, seconds: float) -> None:
    """Never less than the brake's spacing, never beyond an hour."""
    assert retry_after_of(text) == seconds


def test_a_retry_after_may_be_a_time() -> None:
    """Then it counts from the answer's own date, whatever our clock shows."""
    early, late = "Thu, 01 Jan 1970 00:00:05 GMT", "Thu, 01 Jan 1970 00:01:05 GMT"
    assert retry_after_of(late, early) == 60.0
    assert retry_after_of(early, late) == 1.0
    assert retry_after_of(late) == 1.0


@pytest.mark.requirement("B13")
def test_a_bucket_lets_so_many_through_in_any_second_and_leaves_some_for_cancels() -> None:
    """Of ten a second two are left for cancels, nobody who waits holds up another, and none is wasted."""

    async def main() -> tuple[list[float], float]:
        loop, bucket = asyncio.get_running_loop(), Bucket(10)
        times: list[float] = []

        async def one() -> None:
            await bucket.take(spare=2)
            times.append(loop.time())

        waiting = [asyncio.ensure_future(one()) for _ in range(28)]
        await asyncio.sleep(0)
        await bucket.take()
        cancel_s = loop.time()
        await asyncio.gather(*waiting)
        return times, cancel_s

    times, cancel_s = run_networked(main(), seed=3)
    assert cancel_s < 0.01
    assert max(sum(start <= at < start + 1 for at in times) for start in times) == 8
    assert 3.3 <= max(times) < 3.4  # eight, and then what comes back every 1.1 s


@pytest.mark.requirement("B13")
def test_a_storm_of_refusals_is_met_with_at_most_two_requests_a_second() -> None:
    """One retry in each window that the venue asks for, and a cancel a second beside it."""

    async def main() -> tuple[list[float], list[float]]:
        loop, brake = asyncio.get_running_loop(), Brake()
        retries: list[float] = []
        cancels: list[float] = []
        brake.press(3.0)

        async def insist(times: list[float], *, is_cancel: bool) -> None:
            while loop.time() < 30:
                await brake.take(is_cancel=is_cancel)
                times.append(loop.time())
                brake.press(3.0)

        await asyncio.gather(*(insist(retries, is_cancel=False) for _ in range(5)), insist(cancels, is_cancel=True))
        return retries, cancels

    retries, cancels = run_networked(main(), seed=4)
    assert min(later - sooner for sooner, later in itertools.pairwise(retries)) >= 3.0
    every = sorted([*retries, *cancels])
    assert max(sum(start <= at < start + 1 for at in every) for start in every) <= 2
    assert len(cancels) >= 25


def test_a_normal_answer_releases_the_brake() -> None:
    """Who waits goes on at once, and after it nobody waits."""

    async def main() -> float:
        brake = Brake()
        brake.press(60.0)
        waiting = asyncio.ensure_future(brake.take())
        await after(2.0)
        brake.release()
        await waiting
        await brake.take()
        assert not brake.is_pressed
        return asyncio.get_running_loop().time()

    assert run_networked(main(), seed=1) == 2.0


def test_a_pressed_brake_lets_one_through_in_each_window_and_no_shorter_word_opens_it() -> None:
    """Also while nothing is known of the last one; a longer pause that was asked for stands."""

    async def main() -> list[float]:
        loop, brake = asyncio.get_running_loop(), Brake()
        times = []
        brake.press(30.0)
        brake.press(5.0)
        for _ in range(3):
            await brake.take()
            times.append(loop.time())
        return times

    assert run_networked(main(), seed=1) == [30.0, 35.0, 40.0]


@pytest.mark.requirement("B33")
def test_a_read_is_tried_again_until_it_works_or_its_time_is_over() -> None:
    """With growing pauses, and never before the venue allows it."""

    async def main(faults: list[Exception]) -> tuple[str, float]:
        async def read() -> str:
            if faults:
                raise faults.pop(0)
            return "good"

        answer = await read_again(read, within_s=10.0, dice=Dice(1))
        return answer, asyncio.get_running_loop().time()

    answer, took_s = run_networked(main([Transient("a"), InDoubt("b"), RateLimited("c", 4.0)]), seed=1)
    assert (answer, 4.5 < took_s < 6.0) == ("good", True)
    endless: list[Any] = [Transient("x") for _ in range(100)]
    with pytest.raises(Transient):
        run_networked(main(endless), seed=1)
    assert 80 < len(endless) < 97
