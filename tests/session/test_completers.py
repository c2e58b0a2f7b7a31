"""Both completers over real HTTP against the loopback model: every fault has its outcome, every answer its bound."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from agora.domain.decisions import AnswerOutcome, Reply, ReplySource
from agora.domain.numbers import money_units
from agora.session.asking import Asker, asker_of
from agora.session.clock import PacedClock, monotonic_ns
from agora.session.completer import BODY_BYTES_MAX, Completer
from agora.session.completer_litellm import LiteLlmCompleter
from agora.session.completer_openai import OpenAiCompleter
from agora.session.credentials import Secret
from agora.session.llm_settings import LlmSettings
from agora.testnet.control import serving
from agora.testnet.faults import FAULTS_BY_KIND, Fault
from tests.session.llm_asks import MODEL, ask
from tests.testnet.servers import KEY, model_server, plan, planned

Maker = Callable[[str], Completer]
# Far above what an answer of this machine takes, below what anybody waits for.
PATIENT_MS = 20_000
SILENT_MS = 300


def small(url: str, key: str | None = KEY) -> Completer:
    """Our own completer."""
    return OpenAiCompleter(base_url=url, key=Secret(key) if key else None, connections=60)


def through_litellm(url: str, key: str | None = KEY) -> Completer:
    """The library's."""
    return LiteLlmCompleter(base_url=url, key=Secret(key) if key else None, connections=60, environment=os.environ)


BOTH = pytest.mark.parametrize("make", [small, through_litellm])


@asynccontextmanager
async def asking(url: str, make: Maker, **changes: Any) -> AsyncIterator[Asker]:
    """An asker with one attempt per question, closed at the end."""
    settings = LlmSettings(
        **{
            "model": MODEL,
            "base_url": url,
            "retries_max": 0,
            "input_price_per_million": "1",
            "output_price_per_million": "2",
            **changes,
        }
    )
    asker = asker_of(settings, make(url), clock=PacedClock(), seed=1)
    try:
        yield asker
    finally:
        await asker.close()


async def one_reply(make: Maker, *, faults: bytes = b"[]", deadline_ms: int = PATIENT_MS, **changes: Any) -> Reply:
    """One question to a server with those faults; nothing is left behind by either."""
    async with model_server(faults=faults) as (testnet, _), asking(testnet.urls["openai"], make, **changes) as asker:
        (reply,) = await asker.replies([ask(deadline_ms=deadline_ms)])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return reply


# Each fault: what it counts as, what the reply shows, and whether the worst case counts as spent.
OUTCOMES = {
    Fault.MODEL_SLOW: (None, "no prices in sight", False),
    Fault.MODEL_SILENT: (AnswerOutcome.TIMEOUT, "no answer within 300 ms", True),
    Fault.MODEL_429: (AnswerOutcome.RATE_LIMITED, "answered 429", False),
    Fault.MODEL_500: (AnswerOutcome.PROVIDER_ERROR, "answered 500", False),
    Fault.MODEL_HTML: (AnswerOutcome.PROVIDER_ERROR, "answered 502", False),
    Fault.MODEL_401: (AnswerOutcome.PROVIDER_ERROR, "answered 401", False),
    Fault.MODEL_TRUNCATED: (AnswerOutcome.PROVIDER_ERROR, "no chat completion", True),
    Fault.MODEL_PROSE: (None, "I have looked", False),
    Fault.MODEL_FENCED: (None, "```json", False),
    Fault.MODEL_HUGE: (AnswerOutcome.PROVIDER_ERROR, "larger than", True),
    Fault.MODEL_WRONG_SCHEMA: (None, "NaN", False),
    Fault.MODEL_INJECTION: (None, "Ignore all previous instructions", False),
}


def test_the_table_has_every_fault() -> None:
    """A new fault of the model needs a row."""
    assert set(OUTCOMES) == set(FAULTS_BY_KIND["model"])


@pytest.mark.requirement("R1")
@BOTH
@pytest.mark.parametrize("fault", OUTCOMES)
def test_every_fault_has_its_outcome(make: Maker, fault: Fault) -> None:
    """A text is handed on as it came, and everything else is a reply that says why there is none."""
    outcome, shown, is_billed = OUTCOMES[fault]
    deadline_ms = SILENT_MS if fault is Fault.MODEL_SILENT else PATIENT_MS
    reply = asyncio.run(one_reply(make, faults=planned(fault), deadline_ms=deadline_ms))
    assert reply.outcome is outcome
    assert shown in (reply.text if outcome is None else reply.detail)
    assert (reply.source, bool(reply.text)) == (ReplySource.LIVE, outcome is None)
    if outcome is None:
        assert 0 < reply.input_tokens < 100
        assert reply.cost_units == (reply.input_tokens + 2 * reply.output_tokens) * money_units("0.000001")
    else:
        assert bool(reply.cost_units) == is_billed
    assert not set("<>\n\r\x1b") & set(reply.detail)


@BOTH
def test_a_passing_fault_is_tried_again_over_http(make: Maker) -> None:
    """The first attempt meets a rate limit with a short Retry-After, the second an answer."""
    faults = plan({"fault": "model_429", "p": 0.5, "seed": first_fires_once(), "retry_after_s": 0.05})

    async def story() -> tuple[Reply, list[int]]:
        async with model_server(faults=faults) as (testnet, _):
            async with asking(testnet.urls["openai"], make, retries_max=2) as asker:
                (reply,) = await asker.replies([ask(deadline_ms=PATIENT_MS)])
            return reply, [seen.status for seen in testnet.log.all()]

    reply, statuses = asyncio.run(story())
    assert statuses == [429, 200]
    assert reply.outcome is None
    assert reply.latency_ns >= 50_000_000


@BOTH
@pytest.mark.parametrize("fault", [Fault.MODEL_429, Fault.MODEL_500, Fault.MODEL_TRUNCATED, Fault.MODEL_HUGE])
def test_an_attempt_is_one_request(make: Maker, fault: Fault) -> None:
    """No library tries again behind our back, where no deadline or budget of ours would count it."""

    async def story() -> int:
        async with model_server(faults=planned(fault)) as (testnet, _):
            async with asking(testnet.urls["openai"], make) as asker:
                await asker.replies([ask(deadline_ms=PATIENT_MS)])
            return testnet.log.count

    assert asyncio.run(story()) == 1


@BOTH
def test_closing_leaves_nothing_in_the_background(make: Maker) -> None:
    """Closed right after many answers: no task, no connection, no coroutine that nobody awaits."""

    async def story() -> None:
        async with model_server() as (testnet, _), asking(testnet.urls["openai"], make) as asker:
            await asker.replies([ask(n, deadline_ms=PATIENT_MS) for n in range(100)])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(story())
        gc.collect()
    assert not [
        str(warning.message) for warning in warned if issubclass(warning.category, RuntimeWarning | ResourceWarning)
    ]


def first_fires_once() -> int:
    """A seed whose first draw of a fault fires and whose second does not."""

    async def fires(seed: int) -> list[int]:
        async with model_server(faults=plan({"fault": "model_429", "p": 0.5, "seed": seed})) as (testnet, _):
            return [len(testnet.plan.firing(("rest",))) for _ in range(2)]

    return next(seed for seed in range(100) if asyncio.run(fires(seed)) == [1, 0])


@BOTH
def test_a_wrong_key_is_an_outcome_that_does_not_show_the_key(make: Maker) -> None:
    """The provider refuses; the reply names the status only."""

    async def story() -> Reply:
        async with model_server(api_key="another") as (testnet, _), asking(testnet.urls["openai"], make) as asker:
            return (await asker.replies([ask(deadline_ms=PATIENT_MS)]))[0]

    reply = asyncio.run(story())
    assert (reply.outcome, KEY in reply.detail) == (AnswerOutcome.PROVIDER_ERROR, False)
    assert "answered 401" in reply.detail


@BOTH
def test_a_server_that_is_gone_is_an_outcome_and_costs_nothing(make: Maker) -> None:
    """Nobody listens at the address."""

    async def story() -> Reply:
        async with model_server() as (testnet, _):
            url = testnet.urls["openai"]
        async with asking(url, make) as asker:
            return (await asker.replies([ask(deadline_ms=PATIENT_MS)]))[0]

    reply = asyncio.run(story())
    assert (reply.outcome, reply.cost_units) == (AnswerOutcome.PROVIDER_ERROR, 0)


@BOTH
def test_silence_costs_the_deadline_and_little_more(make: Maker) -> None:
    """Ten questions to a dead model are over together, within 50 ms of the deadline, and leave no connection."""

    async def story() -> float:
        async with model_server(faults=planned(Fault.MODEL_SILENT)) as (testnet, _):
            async with asking(testnet.urls["openai"], make) as asker:
                await asker.replies([ask(deadline_ms=SILENT_MS)])
                # Collecting the garbage of other tests is no part of what is measured.
                gc.collect()
                begun_ns = monotonic_ns()
                replies = await asker.replies([ask(n, deadline_ms=SILENT_MS) for n in range(10)])
                took_ms = (monotonic_ns() - begun_ns) / 1e6
            assert {reply.outcome for reply in replies} == {AnswerOutcome.TIMEOUT}
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return took_ms

    # The machine may be busy with other tests at one moment; it is not at three.
    assert min(asyncio.run(story()) for _ in range(3)) < SILENT_MS + 50


@BOTH
def test_a_huge_answer_costs_bounded_memory(make: Maker) -> None:
    """Of a hundred megabytes not one is held: the reader stops at its limit and drops the connection."""

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for _ in range(1_600):
            await answer.write(b"x" * 65_536)
            sent.append(65_536)
        return answer

    sent: list[int] = []
    app = web.Application()
    app.router.add_post("/chat/completions", drip)

    async def story() -> tuple[Reply, int]:
        async with serving(app) as url, asking(url, make) as asker:
            tracemalloc.start()
            try:
                (reply,) = await asker.replies([ask(deadline_ms=PATIENT_MS)])
                return reply, tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    asyncio.run(one_reply(make))  # what is loaded at first use is not counted
    reply, peak_bytes = asyncio.run(story())
    assert (reply.outcome, "larger than" in reply.detail) == (AnswerOutcome.PROVIDER_ERROR, True)
    # What the sockets and the server's own buffers take is in it; a tenth of what would have been sent is not.
    assert peak_bytes < 5_000_000 + 4 * BODY_BYTES_MAX
    assert sum(sent) < 20_000_000


@BOTH
@pytest.mark.parametrize(
    "headers, body, shown",
    [
        ({"Content-Encoding": "gzip"}, b"\x1f\x8b", "compressed"),
        ({}, b"[" * 100_000, "no chat completion"),
        ({}, b"null", "no chat completion"),
        ({}, b'{"choices":[]}', "no chat completion"),
        ({}, b"\xff\xfe", "no chat completion"),
    ],
    ids=["gzip", "deep", "null", "no choice", "binary"],
)
def test_an_answer_that_is_none_is_an_outcome(make: Maker, headers: dict[str, str], body: bytes, shown: str) -> None:
    """Whatever a status of 200 carries, nothing but an answer in the protocol's form is one."""
    reply = asyncio.run(answered(make, body, headers))
    assert reply.outcome is AnswerOutcome.PROVIDER_ERROR
    assert shown in reply.detail
    assert reply.cost_units > 0


@BOTH
@pytest.mark.parametrize("place", ["text", "complaint"])
def test_a_provider_that_quotes_our_key_is_masked(make: Maker, place: str) -> None:
    """A provider knows the key; neither an answer nor an error carries it on."""
    if place == "text":
        reply = asyncio.run(answered(make, said({"content": f"your key is {KEY}"}), {}))
        assert reply.text == "your key is ***"
    else:
        reply = asyncio.run(answered(make, b'{"error":{"message":"bad key ' + KEY.encode() + b'"}}', {}, status=403))
        assert "bad key ***" in reply.detail
    assert KEY not in str(reply)


@BOTH
def test_the_protocols_refusal_becomes_the_answers(make: Maker) -> None:
    """`message.refusal` reads like a refusal that the model wrote."""
    reply = asyncio.run(answered(make, said({"content": None, "refusal": "I would rather not"}), {}))
    assert (reply.outcome, reply.text) == (None, '{"refusal":"I would rather not"}')


@BOTH
def test_a_redirect_is_not_followed(make: Maker) -> None:
    """An address that sends elsewhere does not get the question there, let alone the key."""
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=418)

    async def story() -> Reply:
        other = web.Application()
        other.router.add_route("*", "/{rest:.*}", elsewhere)
        async with serving(other) as target:
            return await answered(make, b"", {"Location": f"{target}/chat/completions"}, status=307)

    reply = asyncio.run(story())
    assert reply.outcome is AnswerOutcome.PROVIDER_ERROR
    assert reply.detail.startswith("the provider answered 307")
    assert not seen


def said(message: dict[str, Any]) -> bytes:
    """A chat completion with that message."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
    return msgspec.json.encode(whole)


async def answered(make: Maker, body: bytes, headers: dict[str, str], *, status: int = 200) -> Reply:
    """The reply where a server answers with those bytes."""

    async def say(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **headers})

    app = web.Application()
    app.router.add_post("/chat/completions", say)
    async with serving(app) as url, asking(url, make) as asker:
        return (await asker.replies([ask(deadline_ms=PATIENT_MS)]))[0]
