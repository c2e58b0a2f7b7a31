"""The loopback model server over real HTTP: its protocol, its faults, its control port, its start and its end."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from agora.session.clock import monotonic_ns
from agora.testnet.faults import FAULTS_BY_KIND, Fault, PlanRefused
from agora.testnet.llm import LlmTestnetSettings, llm_testnet, run_llm_testnet
from tests.testnet.servers import KEY, completion, model_server, plan, planned, question


def test_an_answer_is_a_chat_completion_and_always_the_same() -> None:
    """The protocol's form with counts of tokens; the same question has the same bytes, another seed may have others."""

    async def story() -> list[tuple[int, str]]:
        seen = []
        for seed in (1, 1):
            async with model_server(seed=seed) as (testnet, client):
                seen.append(await completion(testnet, client, question()))
        return seen

    first, second = asyncio.run(story())
    assert first == second
    answer = json.loads(first[1])
    assert (first[0], answer["object"], answer["model"]) == (200, "chat.completion", "any")
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert json.loads(answer["choices"][0]["message"]["content"])["orders"] == []
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_the_list_of_models_is_there() -> None:
    """What clients ask first."""

    async def story() -> Any:
        async with (
            model_server(api_key="") as (testnet, client),
            client.get(f"{testnet.urls['openai']}/models") as answer,
        ):
            return await answer.json()

    assert asyncio.run(story())["data"][0]["object"] == "model"


@pytest.mark.parametrize(
    "fault, status, shown",
    [
        (Fault.MODEL_SLOW, 200, '"object":"chat.completion"'),
        (Fault.MODEL_429, 429, "rate_limit_exceeded"),
        (Fault.MODEL_500, 500, "server_error"),
        (Fault.MODEL_HTML, 502, "<!DOCTYPE html>"),
        (Fault.MODEL_401, 401, "invalid_api_key"),
        (Fault.MODEL_TRUNCATED, 200, '{"id"'),
        (Fault.MODEL_PROSE, 200, "I have looked"),
        (Fault.MODEL_FENCED, 200, "```json"),
        (Fault.MODEL_HUGE, 200, "xxxxxxxx"),
        (Fault.MODEL_WRONG_SCHEMA, 200, "NaN"),
        (Fault.MODEL_INJECTION, 200, "Ignore all previous instructions"),
    ],
)
def test_each_fault_shows_as_promised_and_is_counted(fault: Fault, status: int, shown: str) -> None:
    """Over the wire it looks like what it is called; the control port counts it and notes the request."""

    async def story() -> tuple[tuple[int, str], Any, Any]:
        async with model_server(faults=planned(fault)) as (testnet, client):
            answered = await completion(testnet, client, question())
            async with client.get(f"{testnet.control}/faults") as answer:
                counts = await answer.json()
            async with client.get(f"{testnet.control}/requests") as answer:
                return answered, counts, await answer.json()

    (seen_status, body), counts, requests = asyncio.run(story())
    assert (seen_status, shown in body) == (status, True)
    assert [(row["fault"], row["occasions"], row["fired"]) for row in counts] == [(fault, 1, 1)]
    seen = requests["requests"][0]
    assert (seen["path"], seen["status"], seen["faults"]) == ("/v1/chat/completions", status, [fault])
    assert seen["is_key_valid"] is True
    assert KEY not in json.dumps(requests)


def test_all_faults_of_a_model_are_covered_here() -> None:
    """Eleven show in an answer; the twelfth is silence, which has a test of its own."""
    assert set(FAULTS_BY_KIND["model"]) - {Fault.MODEL_SILENT} == {
        row.values[0] if hasattr(row, "values") else row[0]
        for mark in test_each_fault_shows_as_promised_and_is_counted.pytestmark  # type: ignore[attr-defined]
        for row in mark.args[1]
    }


def test_a_truncated_answer_is_no_json_and_a_huge_one_has_its_size() -> None:
    """The one ends in the middle; the other is as large as the plan says."""

    async def story() -> tuple[str, str]:
        async with model_server(faults=planned(Fault.MODEL_TRUNCATED)) as (testnet, client):
            _, truncated = await completion(testnet, client, question())
        async with model_server(faults=plan({"fault": "model_huge", "size_bytes": 50_000})) as (testnet, client):
            _, huge = await completion(testnet, client, question())
        return truncated, huge

    truncated, huge = asyncio.run(story())
    with pytest.raises(json.JSONDecodeError):
        json.loads(truncated)
    assert len(json.loads(huge)["choices"][0]["message"]["content"]) == 50_000


def test_a_rate_limit_says_how_long() -> None:
    """Retry-After as planned."""

    async def story() -> str:
        async with model_server(faults=plan({"fault": "model_429", "retry_after_s": 7})) as (testnet, client):
            headers = {"Authorization": f"Bearer {KEY}"}
            url = f"{testnet.urls['openai']}/chat/completions"
            async with client.post(url, json=question(), headers=headers) as answer:
                return answer.headers["Retry-After"]

    assert asyncio.run(story()) == "7"


def test_waits_go_through_the_clock_that_is_handed_in() -> None:
    """Latency and planned slowness add up; nothing is really waited for here."""
    waited: list[float] = []

    async def jump(seconds: float) -> None:
        waited.append(seconds)

    async def story() -> None:
        settings = LlmTestnetSettings(latency_s=2.0)
        faults = plan({"fault": "model_slow", "delay_s": 30})
        running = llm_testnet(settings, monotonic_ns=monotonic_ns, faults=faults, waits=jump)
        async with running as testnet, model_server() as (_, client):
            await completion(testnet, client, question())

    asyncio.run(story())
    assert waited == [32.0]


def test_a_silent_server_lets_go_when_it_stops() -> None:
    """The question is never answered; the end of the server is the end of the connection, and does not wait."""

    async def story() -> None:
        is_asked = asyncio.Event()

        async def note(_: float) -> None:
            is_asked.set()

        faults = plan({"fault": "model_slow"}, {"fault": "model_silent"})
        async with aiohttp.ClientSession() as client:
            running = llm_testnet(LlmTestnetSettings(), monotonic_ns=monotonic_ns, faults=faults, waits=note)
            async with running as testnet:
                asking = asyncio.get_running_loop().create_task(completion(testnet, client, question()))
                await is_asked.wait()
                assert not asking.done()
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await asking
        assert testnet.log.all()[0].faults == ("model_slow", "model_silent")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())


@pytest.mark.parametrize(
    "body, words",
    [
        ("not an object", "invalid_request_error"),
        ({"model": "m"}, "messages"),
        ({"model": "", "messages": []}, "invalid_request_error"),
        (question(stream=True), "does not stream"),
        (question(max_tokens="many"), "max_tokens"),
    ],
)
def test_a_request_that_is_none_is_told_so(body: Any, words: str) -> None:
    """A status of 400 with the reason, as providers have it."""

    async def story() -> tuple[int, str]:
        async with model_server() as (testnet, client):
            return await completion(testnet, client, body)

    status, text = asyncio.run(story())
    assert status == 400
    assert words in text


def test_a_wrong_key_is_refused_and_noted() -> None:
    """A server that wants a key takes no other."""

    async def story() -> tuple[int, Any]:
        async with model_server(api_key="another") as (testnet, client):
            status, _ = await completion(testnet, client, question())
            return status, testnet.log.all()

    status, seen = asyncio.run(story())
    assert status == 401
    assert [row.is_key_valid for row in seen] == [False]


def test_faults_come_and_go_by_the_control_port() -> None:
    """A plan is added, refused with the known names, and removed."""

    async def story() -> list[tuple[int, Any]]:
        seen = []
        async with model_server() as (testnet, client):
            url = f"{testnet.control}/faults"
            for body in (
                plan({"fault": "model_500"}),
                plan({"fault": "model_late"}),
                plan({"fault": "model_500", "x": 1}),
            ):
                async with client.post(url, data=body) as answer:
                    seen.append((answer.status, await answer.json()))
            seen.append(await completion(testnet, client, question()))
            async with client.delete(url) as answer:
                seen.append((answer.status, await answer.json()))
            seen.append(await completion(testnet, client, question()))
        return seen

    added, unknown, strange, failed, removed, fine = asyncio.run(story())
    assert added == (200, {"added": 1})
    assert unknown[0] == strange[0] == 400
    assert "model_injection" in unknown[1]["error"]
    assert "for_s" in strange[1]["error"]
    assert (failed[0], removed, fine[0]) == (500, (200, {"removed": 1}), 200)


def test_the_announcement_is_one_line_by_which_the_server_is_found() -> None:
    """The line says where the model and its control are; who cancels the server ends it."""

    async def story() -> tuple[str, int]:
        announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.get_running_loop().create_task(
            run_llm_testnet(LlmTestnetSettings(), announced.set_result, monotonic_ns=monotonic_ns)
        )
        line = await announced
        url = f"{json.loads(line)['urls']['openai']}/models"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            status = answer.status
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        return line, status

    line, status = asyncio.run(story())
    announced = json.loads(line)
    assert "\n" not in line
    assert status == 200
    assert (announced["venue"], announced["accounts"]) == ("llm", [])
    assert announced["control"].startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_and_a_wrong_plan_stop_the_start() -> None:
    """Both are said before anything is served, and nothing stays open."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match="address already in use"):
                async with model_server(port=port):
                    pytest.fail("it started")
        with pytest.raises(PlanRefused):
            async with model_server(faults=plan({"fault": "gap"})):
                pytest.fail("it started")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())
