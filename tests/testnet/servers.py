"""A loopback model server for tests, and plain HTTP calls to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from agora.session.clock import monotonic_ns
from agora.testnet.faults import Fault
from agora.testnet.llm import LlmTestnet, LlmTestnetSettings, llm_testnet

KEY = "key-of-the-tests"


def plan(*entries: dict[str, Any]) -> bytes:
    """A plan of faults as it goes over the wire."""
    return json.dumps(list(entries)).encode()


def planned(fault: Fault | None) -> bytes:
    """A plan of one fault, quick where it waits; None: no fault."""
    options = {Fault.MODEL_SLOW: {"delay_s": 0.05}}
    return plan() if fault is None else plan({"fault": fault, **options.get(fault, {})})


@asynccontextmanager
async def model_server(
    *, faults: bytes = b"[]", api_key: str = KEY, **settings: Any
) -> AsyncIterator[tuple[LlmTestnet, aiohttp.ClientSession]]:
    """A running server and a client to call it with."""
    running = llm_testnet(LlmTestnetSettings(**settings), monotonic_ns=monotonic_ns, api_key=api_key, faults=faults)
    async with running as testnet, aiohttp.ClientSession() as client:
        yield testnet, client


def question(text: str = "hello", **more: Any) -> dict[str, Any]:
    """The body of a request."""
    messages = [{"role": "system", "content": "You trade."}, {"role": "user", "content": text}]
    return {"model": "any", "messages": messages, "max_tokens": 100, **more}


async def completion(testnet: LlmTestnet, client: aiohttp.ClientSession, body: Any) -> tuple[int, str]:
    """Status and body of an answer."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with client.post(f"{testnet.urls['openai']}/chat/completions", json=body, headers=headers) as answer:
        return answer.status, (await answer.read()).decode()
