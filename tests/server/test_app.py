"""The routes of a market over real HTTP: bodies, commands, news, and errors that say what was wrong and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agora.server.app import create_app
from agora.server.views import NEWS_CHARS_MAX
from tests.server.markets import AUTHORIZED, HandMarket, Served, served
from tests.server.schema import context_for_schema


def conducted(folder: Path, script: Callable[[Served], Coroutine[Any, Any, None]], **facts: Any) -> None:
    """Run a script beside a server on one event loop."""

    async def main() -> None:
        async with served(folder, **facts) as server:
            await script(server)

    asyncio.run(main())


@pytest.mark.requirement("F2")
def test_health_tells_whether_the_market_runs(tmp_path: Path) -> None:
    """200 with `ok`; running follows the market's status."""

    async def script(server: Served) -> None:
        status, body = await server.get("/health")
        assert (status, body["status"], body["running"]) == (200, "ok", True)
        server.market.status = "paused"
        _, body = await server.get("/health")
        assert (body["status"], body["running"], body["market"]) == ("ok", False, "paused")

    conducted(tmp_path, script)


@pytest.mark.requirement("F3")
@pytest.mark.requirement("F7")
def test_both_state_routes_give_the_identical_body(tmp_path: Path) -> None:
    """The same bytes, with prices under both of their names."""

    async def script(server: Served) -> None:
        server.market.advance(7)
        bodies = []
        for path in ("/state", "/market/state"):
            async with server.client.get(server.url + path) as answer:
                assert answer.content_type == "application/json"
                bodies.append(await answer.read())
        assert bodies[0] == bodies[1]
        body = json.loads(bodies[0])
        assert (body["tick"], body["prices"], body["assets"]) == (7, {"ACME": 107.0, "BOLT": 107.0}, ["ACME", "BOLT"])
        assert body["tickers"] == body["prices"]

    conducted(tmp_path, script)


@pytest.mark.requirement("R3")
@pytest.mark.requirement("F5")
def test_a_state_is_of_one_tick_while_the_market_runs_on_the_same_loop(tmp_path: Path) -> None:
    """While ticks pass as fast as they can, no answer mixes two of them."""

    async def script(server: Served) -> None:
        ended = asyncio.Event()

        async def tick() -> None:
            while not ended.is_set():
                server.market.advance()
                await asyncio.sleep(0)

        async def read() -> None:
            for _ in range(50):
                _, body = await server.get("/state")
                assert set(body["prices"].values()) == {100.0 + body["tick"]}
                assert body["metrics"]["trades"] == body["history"][-1]["tick"] == body["tick"]
            ended.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tick())
            tasks.create_task(read())
        assert server.market.tick > 50

    conducted(tmp_path, script)


PUBLIC_DATA = (
    ("/agents", lambda body: body[0]["portfolio"]["pnl"] == body[0]["portfolio"]["total_pnl"]),
    ("/rules", lambda body: body == {"order_types": ["limit"]}),
    ("/book/ACME?depth=3", lambda body: len(body["bids"]) == 3),
    ("/book/ACME", lambda body: len(body["bids"]) == 10),
    ("/trades/BOLT?limit=4", lambda body: [trade["id"] for trade in body] == [0, 1, 2, 3]),
    ("/candles/BOLT?interval=5m&limit=2", lambda body: [row["start_ns"] for row in body] == [3, 3]),
)


def test_public_data_are_served(tmp_path: Path) -> None:
    """What the port says is what the route answers, with the asked depth, limit and interval."""

    async def script(server: Served) -> None:
        for path, expected in PUBLIC_DATA:
            answered, body = await server.get(path)
            assert answered == 200, path
            assert expected(body), body

    conducted(tmp_path, script)


ERRORS = (
    ("/book/NOPE", 404, "asset-unknown"),
    ("/book/ACME?depth=0", 422, "invalid"),
    ("/book/ACME?depth=101", 422, "invalid"),
    ("/trades/ACME?limit=-1", 422, "invalid"),
    ("/trades/" + "A" * 40, 422, "invalid"),
    ("/candles/ACME?interval=7m", 422, "invalid"),
    ("/nowhere", 404, "not-found"),
    ("/runs/none", 404, "run-unknown"),
    ("/docs", 404, "not-found"),
)


def test_errors_are_problem_objects(tmp_path: Path) -> None:
    """Status, stable type, title and a sentence; the media type of RFC 9457; the security headers too."""

    async def script(server: Served) -> None:
        for path, status, kind in ERRORS:
            async with server.client.get(server.url + path) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json"), path
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                body = json.loads(await answer.read())
            assert (body["type"], body["status"]) == (kind, status)
            assert body["title"]
            assert body["detail"]

    conducted(tmp_path, script)


def test_a_fault_of_the_server_shows_nothing_of_its_inside(tmp_path: Path) -> None:
    """An exception in a route becomes a problem without words of the exception or a stack trace."""

    class Broken(HandMarket):
        def rules(self) -> dict[str, Any]:
            """Break."""
            raise RuntimeError("the secret ingredient")

    async def script(server: Served) -> None:
        async with server.client.get(server.url + "/rules") as answer:
            text = await answer.text()
            assert (answer.status, answer.content_type) == (500, "application/problem+json")
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert json.loads(text)["type"] == "bug"
        assert "ingredient" not in text
        assert "Traceback" not in text
        assert (await server.get("/health"))[0] == 200

    conducted(tmp_path, script, market=Broken())


def test_commands_reach_the_market(tmp_path: Path) -> None:
    """With the token, with or without a body; the reason goes along."""

    async def script(server: Served) -> None:
        for name in ("start", "stop", "pause", "step"):
            server.market.told.clear()
            status, body = await server.post(f"/simulation/{name}", {"reason": "lunch"})
            assert (status, body["applied"], body["command"]) == (200, True, name)
            async with server.client.post(f"{server.url}/simulation/{name}", headers=AUTHORIZED) as answer:
                assert answer.status == 200
            assert server.market.told == [(name, "lunch"), (name, "operator")]

    conducted(tmp_path, script)


def test_a_market_that_has_ended_or_is_full_says_so(tmp_path: Path) -> None:
    """409 with a type for scripts; an ended market is told nothing."""

    async def script(server: Served) -> None:
        server.market.takes = False
        assert (await server.post("/simulation/pause"))[1]["type"] == "busy"
        assert (await server.post("/news", {"text": "x"}))[0] == 409
        told = len(server.market.told)
        server.market.status = "ended"
        status, body = await server.post("/simulation/start")
        assert (status, body["type"], len(server.market.told)) == (409, "ended", told)

    conducted(tmp_path, script)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """No GET tells the market anything, whatever path and query."""

    async def script(server: Served) -> None:
        for path in ("/simulation/stop", "/simulation/step?reason=x", "/news?text=x", "/runs/latest/kill", "/state"):
            status, _ = await server.get(path, headers=AUTHORIZED)
            assert status in {200, 404, 405}
        assert (server.market.told, server.market.news) == ([], [])

    conducted(tmp_path, script)


BAD_NEWS = (
    ("no text", {}),
    ("empty", {"text": ""}),
    ("too long", {"text": "x" * (NEWS_CHARS_MAX + 1)}),
    ("a number", {"text": 5}),
    ("tone as text", {"text": "x", "tone": "0.5"}),
    ("tone beyond", {"text": "x", "tone": 1.01}),
    ("unknown member", {"text": "x", "command": "stop"}),
    ("control characters", {"text": "a\u001b[2J"}),
    ("NUL", {"text": "a\u0000"}),
    ("written backwards", {"text": "a\u202eb"}),
    ("controls in the reason", {"text": "x", "source": "\r\n\r\n"}),
    ("symbols as text", {"text": "x", "symbols": "ACME"}),
    ("strange symbol", {"text": "x", "symbols": ["<b>"]}),
    ("too many symbols", {"text": "x", "symbols": ["ACME"] * 65}),
    ("a list", [1]),
    ("null", None),
)


def test_news_that_is_not_as_described_is_refused(tmp_path: Path) -> None:
    """Strict models: nothing is guessed, nothing of the value is repeated, nothing reaches the market."""

    async def script(server: Served) -> None:
        for name, body in BAD_NEWS:
            status, answer = await server.post("/news", body)
            assert status == 422, name
            assert answer["type"] == "invalid"
            assert all(set(error) == {"where", "what"} for error in answer["errors"])
            assert server.market.news == []

    conducted(tmp_path, script)


HOSTILE_JSON = (
    ("half a surrogate", b'{"text":"\\ud800"}', 422),
    ("not a number", b'{"text":"x","tone":NaN}', 422),
    ("infinite", b'{"text":"x","tone":1e999}', 422),
    ("not JSON", b'{"text":', 422),
    ("not UTF-8", b'{"text":"\xff"}', None),
    ("as deep as it goes", b"[" * 60_000, None),
    ("a number of 60,000 digits", b'{"text":"x","tone":' + b"9" * 60_000 + b"}", None),
)


def test_hostile_json_is_refused_in_order(tmp_path: Path) -> None:
    """Whatever the bytes, the answer is a problem of the sender's, never a fault of the server."""

    async def script(server: Served) -> None:
        for name, raw, status in HOSTILE_JSON:
            headers = {**AUTHORIZED, "Content-Type": "application/json"}
            async with server.client.post(server.url + "/news", data=raw, headers=headers) as answer:
                assert answer.status == status if status else answer.status in {400, 422}, name
                assert answer.content_type == "application/problem+json"
            assert server.market.news == []

    conducted(tmp_path, script)


def test_an_unknown_asset_in_news_is_named(tmp_path: Path) -> None:
    """News about what is not listed is refused, and the assets are told."""

    async def script(server: Served) -> None:
        status, body = await server.post("/news", {"text": "x", "symbols": ["ACME", "NOPE"]})
        assert (status, body["type"], server.market.news) == (404, "asset-unknown", [])
        status, _ = await server.post("/news", {"text": "x", "symbols": ["ACME"], "tone": -1})
        assert (status, server.market.news[0].symbols) == (202, ["ACME"])

    conducted(tmp_path, script)


def test_the_figures_for_prometheus_count(tmp_path: Path) -> None:
    """Text of the exposition format with the market's tick and prices and the answers so far."""

    async def script(server: Served) -> None:
        server.market.advance(3)
        await server.get("/nowhere")
        async with server.client.get(server.url + "/metrics") as answer:
            assert answer.content_type == "text/plain"
            lines = (await answer.text()).splitlines()
        assert 'agora_http_responses_total{class="4xx"} 1' in lines
        assert "agora_market_tick 3" in lines
        assert 'agora_market_price{symbol="ACME"} 103.0' in lines
        assert 'agora_market_status{status="running"} 1' in lines
        assert all(line.startswith(("# HELP ", "# TYPE ", "agora_")) for line in lines)

    conducted(tmp_path, script)


def test_the_document_is_complete() -> None:
    """Every call of the contract is in the OpenAPI document, mutations want the token, bodies have examples."""
    document = create_app(context_for_schema()).openapi()
    paths = set(document["paths"])
    assert paths >= {
        *("/health", "/state", "/market/state", "/agents", "/book/{symbol}", "/trades/{symbol}", "/candles/{symbol}"),
        *("/rules", "/metrics", "/news", "/runs", "/runs/{run_id}", "/runs/{run_id}/events", "/runs/{run_id}/metrics"),
        *(f"/simulation/{name}" for name in ("start", "stop", "pause", "step")),
        *(f"/runs/{{run_id}}/{name}" for name in ("stop", "kill", "flatten", "reset")),
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), path
            assert ("security" in operation) == (method == "post"), path
    for name in ("State", "News", "Order", "RunOrder", "Health", "Problem"):
        assert document["components"]["schemas"][name]["examples"], name
