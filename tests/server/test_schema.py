"""Requests made from the OpenAPI document, by the hundred: every answer is one that the document promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

from agora.server.app import create_app
from agora.server.serving import serve_app
from tests.server.markets import AUTHORIZED
from tests.server.schema import context_for_schema

PLAN = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
# A token in a header of its own making is not the library's to take away; missing tokens are the second test's matter.
LEFT_OUT = {"ignored_auth", "missing_required_header"}
STATUSES_WITHOUT_TOKEN = {401}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server over real HTTP; the library asks from this thread, so the server has a thread of its own."""
    context = context_for_schema(tmp_path_factory.mktemp("home"))
    ready: list[str] = []
    is_ready, is_over = threading.Event(), threading.Event()

    async def main() -> None:
        async with serve_app(create_app(context)) as found:
            ready.append(found.url)
            is_ready.set()
            await asyncio.to_thread(is_over.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert is_ready.wait(10)
    yield ready[0]
    is_over.set()
    thread.join(10)
    assert not thread.is_alive()


def operations() -> list[tuple[str, Any]]:
    """Every call of the document, by its name."""
    schema = schemathesis.openapi.from_dict(create_app(context_for_schema()).openapi())
    found = [result.ok() for result in schema.get_all_operations()]
    return [(operation.label, operation) for operation in found]


CALLS = operations()


@pytest.mark.parametrize("operation", [operation for _, operation in CALLS], ids=[name for name, _ in CALLS])
def test_every_answer_is_as_the_document_says(address: str, operation: Any) -> None:
    """With the token: no fault of the server, only documented statuses, media types and bodies."""
    checks = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]

    def ask(case: Any) -> None:
        case.call_and_validate(base_url=address, headers=AUTHORIZED, checks=checks)

    _fuzz(operation, ask)


@pytest.mark.parametrize(
    "operation",
    [operation for name, operation in CALLS if name.startswith("POST")],
    ids=[name for name, _ in CALLS if name.startswith("POST")],
)
def test_nothing_is_changed_without_the_token(address: str, operation: Any) -> None:
    """Whatever a mutation carries: 401 and a problem object."""

    def ask(case: Any) -> None:
        answer = case.call(base_url=address)
        assert answer.status_code in STATUSES_WITHOUT_TOKEN, answer.text
        assert answer.headers["content-type"][0] == "application/problem+json"

    _fuzz(operation, ask)


def _fuzz(operation: Any, ask: Callable[[Any], None]) -> None:
    from hypothesis import given  # noqa: PLC0415 - beside its use

    given(case=operation.as_strategy())(PLAN(ask))()
