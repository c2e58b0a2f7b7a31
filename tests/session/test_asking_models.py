"""Agents with models against the loopback model, end to end: record and replay, cost, secrets, what is imported."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.domain.decisions import AnswerOutcome, Reply, ReplySource, request_hash
from agora.domain.dice import dice_of
from agora.domain.errors import UsageFault
from agora.domain.numbers import money_units
from agora.session.asking import asker_of
from agora.session.clock import PacedClock, monotonic_ns
from agora.session.completer import Completer
from agora.session.completer_litellm import LiteLlmCompleter
from agora.session.completer_openai import OpenAiCompleter
from agora.session.credentials import Secret
from agora.session.llm_settings import LlmSettings
from agora.testnet.faults import Fault
from agora.traders.llm_trader import LlmTrader
from agora.traders.personas import PersonaStrategy
from tests.session.llm_asks import MODEL, ask
from tests.testnet.servers import KEY, model_server, plan, planned
from tests.traders.agent_views import MarketView, market

CANARY = "sk-canary-0123456789"
TICKS = range(1, 6)


def small(url: str, key: str = KEY) -> Completer:
    """Our own completer."""
    return OpenAiCompleter(base_url=url, key=Secret(key), connections=60)


def through_litellm(url: str, key: str = KEY) -> Completer:
    """The library's."""
    return LiteLlmCompleter(base_url=url, key=Secret(key), connections=60, environment=os.environ)


BOTH = pytest.mark.parametrize("make", [small, through_litellm])
Maker = Callable[[str, str], Completer]


def settings(**changes: Any) -> LlmSettings:
    """Settings of a known price and a patient deadline."""
    known: dict[str, Any] = {
        "model": MODEL,
        "base_url": "http://127.0.0.1:1/v1",
        "deadline_ms": 20_000,
        "input_price_per_million": "1",
        "output_price_per_million": "2",
    }
    return LlmSettings(**{**known, **changes})


async def run(completer: Completer | None, terms: LlmSettings) -> tuple[list[Reply], list[object], dict[str, Any]]:
    """Some ticks of all personas: the replies, what the agents decided, and what the asker remembers."""
    agents = [LlmTrader(f"a-{p}", p, dice_of(1, p), settings=terms) for p in PersonaStrategy]
    asker = asker_of(terms, completer, clock=PacedClock(), seed=1)
    heard: list[Reply] = []
    decided: list[object] = []
    for tick in TICKS:
        view: MarketView = market(10_000 + tick * 10, closes=range(10_000, 10_000 + tick * 10), position=100)
        view.tick = tick
        replies = await asker.replies([agent.ask(view) for agent in agents])
        for agent, reply in zip(agents, replies, strict=True):
            requests = agent.decide_from(view, reply.text).requests if reply.outcome is None else agent.fallback(view)
            decided.append(requests)
        heard += replies
    remembered = asker.snapshot()
    await asker.close()
    return heard, decided, remembered


@pytest.mark.requirement("R1")
@BOTH
def test_a_recorded_run_replays_without_a_network_to_the_same_decisions(make: Maker, tmp_path: Path) -> None:
    """Also where answers failed: the same texts, outcomes and requests, at no cost and with nobody to ask."""
    path = str(tmp_path / "cassette")
    faults = plan(*({"fault": fault, "p": 0.2, "seed": n} for n, fault in enumerate(("model_500", "model_prose"))))

    async def record() -> tuple[list[Reply], list[object], dict[str, Any]]:
        async with model_server(faults=faults) as (testnet, _):
            url = testnet.urls["openai"]
            terms = settings(cassette=path, cassette_mode="record", retries_max=0)
            return await run(make(url, KEY), terms)

    first, first_decided, spent = asyncio.run(record())
    again, again_decided, replayed = asyncio.run(run(None, settings(cassette=path, cassette_mode="replay")))
    assert {reply.outcome for reply in first} == {None, AnswerOutcome.PROVIDER_ERROR}
    assert again_decided == first_decided
    assert [msgspec.structs.replace(reply, source=ReplySource.REPLAY, cost_units=0) for reply in first] == again
    assert spent["spent_units"] == sum(reply.cost_units for reply in first) > 0
    assert replayed["spent_units"] == 0
    assert spent["cassette"] == replayed["cassette"] == {"uses": len(TICKS) * len(PersonaStrategy)}


def test_the_same_run_recorded_twice_has_the_same_answers(tmp_path: Path) -> None:
    """Order of arrival is nowhere in the file: only times differ."""

    async def record(path: Path) -> None:
        async with model_server() as (testnet, _):
            terms = settings(cassette=str(path), cassette_mode="record", concurrency=3)
            await run(small(testnet.urls["openai"]), terms)

    lines = []
    for name in ("one", "two"):
        asyncio.run(record(tmp_path / name))
        rows = [msgspec.json.decode(line) for line in (tmp_path / name).read_bytes().splitlines()]
        lines.append([(row["key"], row["use"], row["reply"]["text"]) for row in rows[1:]])
    assert lines[0] == lines[1]


def test_a_second_run_with_the_cassette_asks_nobody(tmp_path: Path) -> None:
    """`auto` fills the file once; then the server may be silent."""
    terms = settings(cassette=str(tmp_path / "c"))

    async def once(fault: Fault | None) -> tuple[list[Reply], int]:
        async with model_server(faults=planned(fault)) as (testnet, _):
            replies, _, _ = await run(small(testnet.urls["openai"]), terms)
            return replies, testnet.log.count

    first, asked = asyncio.run(once(None))
    second, asked_again = asyncio.run(once(Fault.MODEL_SILENT))
    assert (asked, asked_again) == (len(first), 0)
    assert [reply.text for reply in second] == [reply.text for reply in first]
    assert {reply.source for reply in second} == {ReplySource.CACHE}


@BOTH
def test_a_secret_is_in_no_file_log_or_event(
    make: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever goes wrong, the key is in the request's header and nowhere else."""
    caplog.set_level(logging.DEBUG)
    terms = settings(cassette=str(tmp_path / "c"), cassette_mode="record", retries_max=1)

    async def story(fault: Fault | None) -> str:
        async with model_server(api_key=CANARY, faults=planned(fault)) as (testnet, _):
            asker = asker_of(terms, make(testnet.urls["openai"], CANARY), clock=PacedClock(), seed=1)
            events = await asker.ask_all([ask(1, deadline_ms=1_000)], tick=1, ts_ns=1)
            await asker.close()
            assert all(seen.is_key_valid for seen in testnet.log.all())
            return f"{events} {testnet.log.all()}"

    shown = [asyncio.run(story(fault)) for fault in (None, Fault.MODEL_401, Fault.MODEL_500, Fault.MODEL_TRUNCATED)]
    captured = capfd.readouterr()
    everything = [
        *shown,
        captured.out,
        captured.err,
        caplog.text,
        (tmp_path / "c").read_text(),
        str(vars(small("http://127.0.0.1", CANARY))),
    ]
    assert not any(CANARY in text for text in everything)


def test_the_cap_on_cost_holds_over_http() -> None:
    """With money for two worst cases at once, every reply is an answer or a refusal, and the sum is within."""
    terms = settings(max_cost="0.005")

    async def story() -> tuple[list[Reply], int]:
        async with model_server() as (testnet, _):
            asker = asker_of(terms, small(testnet.urls["openai"]), clock=PacedClock(), seed=1)
            replies = [
                reply for _ in range(3) for reply in await asker.replies([ask(n, max_tokens=1_000) for n in range(30)])
            ]
            await asker.close()
            return replies, asker.budget.spent_units

    replies, spent_units = asyncio.run(story())
    assert {reply.outcome for reply in replies} == {None, AnswerOutcome.BUDGET}
    assert spent_units == sum(reply.cost_units for reply in replies) <= money_units("0.005")


@pytest.mark.requirement("R7")
@BOTH
def test_a_tick_takes_as_long_as_its_slowest_model(make: Maker) -> None:
    """Twelve agents of a model that takes 0.2 s: little more than 0.2 s, whatever their number."""

    async def story() -> float:
        async with model_server(latency_s=0.2) as (testnet, _):
            asker = asker_of(settings(), make(testnet.urls["openai"], KEY), clock=PacedClock(), seed=1)
            await asker.replies([ask(99)])
            begun_ns = monotonic_ns()
            replies = await asker.replies([ask(n) for n in range(12)])
            took_s = (monotonic_ns() - begun_ns) / 1e9
            await asker.close()
            assert all(reply.outcome is None for reply in replies)
            return took_s

    assert min(asyncio.run(story()) for _ in range(3)) < 0.45


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"input_price_per_million": "1", "output_price_per_million": ""}, "together"),
        ({"base_url": ""}, "needs a base_url"),
        ({"cassette_mode": "replay"}, "needs a cassette"),
    ],
)
def test_settings_that_cannot_be_meant_together_are_refused(changes: dict[str, Any], words: str) -> None:
    """Each with the key that is missing."""
    with pytest.raises(ValueError, match=words):
        settings(**changes)


@pytest.mark.parametrize("url", ["ftp://host/v1", "127.0.0.1:80", "http://", "http://192.0.2.1/v1", "http://models/v1"])
@BOTH
def test_an_address_that_would_show_the_key_is_refused(make: Maker, url: str) -> None:
    """A key goes over TLS or stays on this machine."""
    with pytest.raises(UsageFault, match="base_url"):
        make(url, KEY)


def test_neither_library_is_imported_before_it_is_used() -> None:
    """All of the session, the testnet and the assembly load without litellm, openai and httpx; so does a replay."""
    code = (
        "import sys, pkgutil, importlib, agora.session, agora.testnet\n"
        "for package in (agora.session, agora.testnet):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "sys.exit(sorted({'litellm', 'openai', 'httpx'} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_loads_nothing_over_the_network_and_no_environment_file(tmp_path: Path) -> None:
    """With every socket refused it still loads, and a `.env` file in the working folder stays unread."""
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-a-file\n")
    code = (
        "import os, sys\n"
        "def refuse(event, arguments):\n"
        "    if event.startswith('socket.connect') or event == 'socket.getaddrinfo': os._exit(3)\n"
        "sys.addaudithook(refuse)\n"
        "from agora.session.completer_litellm import LiteLlmCompleter\n"
        "LiteLlmCompleter(base_url='http://127.0.0.1:9/v1', key=None, connections=1, environment=os.environ)\n"
        "assert 'OPENAI_API_KEY' not in os.environ\n"
        "import litellm\n"
        "assert litellm.telemetry is False and not litellm.success_callback and not litellm.callbacks\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "OPENAI"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_copy_of_the_environment_is_a_bug() -> None:
    """Written into a copy, the switches that keep the library off the network would not reach it."""
    with pytest.raises(AssertionError, match="own environment"):
        LiteLlmCompleter(base_url="", key=None, connections=1, environment=dict(os.environ))


def test_the_same_question_has_the_same_key_whoever_asks() -> None:
    """The cassette's key depends on neither agent nor deadline."""
    assert request_hash(ask(1)) == request_hash(ask(1, agent="other", deadline_ms=77))
    assert request_hash(ask(1)) != request_hash(ask(1, max_tokens=101))
