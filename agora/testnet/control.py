"""The control port that every testnet server has: its plan of faults, and the requests it has received.

Knows no protocol of a venue; loopback only, which is why it asks for no token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from agora.testnet.faults import PLAN_BYTES_MAX, FaultPlan, PlanRefused

LOOPBACK = "127.0.0.1"
# What a test or a person looks back at; a run of an hour at ten requests a second fits, in some 20 MB.
REQUESTS_KEPT = 36_000
# How long a stopping server lets answers finish; whoever still waits then has been waiting for a planned silence.
SHUTDOWN_S = 0.2


class RequestSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the server saw it. `is_key_valid` None: nothing was asked for. No secret is kept.

    `code`: what the answer says in its body, of venues that answer so.
    """

    ts_ns: int
    path: str
    is_key_valid: bool | None
    status: int  # 0: no answer was given
    faults: tuple[str, ...] = ()
    code: int | None = None


class RequestLog:
    """The newest requests, oldest first."""

    def __init__(self) -> None:
        self._seen: deque[RequestSeen] = deque(maxlen=REQUESTS_KEPT)
        self.count = 0

    def add(self, seen: RequestSeen) -> None:
        """Remember one; the oldest is forgotten when there are too many."""
        self._seen.append(seen)
        self.count += 1

    def all(self) -> list[RequestSeen]:
        """Those that are remembered."""
        return list(self._seen)


class ControlPort:
    """The calls `/faults` and `/requests` over a plan and a log."""

    def __init__(self, plan: FaultPlan, log: RequestLog) -> None:
        self._plan = plan
        self._log = log

    def app(self) -> web.Application:
        """The application to serve; a server with more calls adds its routes."""
        app = web.Application(client_max_size=PLAN_BYTES_MAX + 1)
        app.router.add_post("/faults", self._add)
        app.router.add_delete("/faults", self._clear)
        app.router.add_get("/faults", self._show)
        app.router.add_get("/requests", self._requests)
        return app

    async def _add(self, request: web.Request) -> web.Response:
        try:
            added = self._plan.load(await request.read())
        except PlanRefused as refusal:
            return json_answer({"error": str(refusal)}, status=400)
        return json_answer({"added": added})

    async def _clear(self, _: web.Request) -> web.Response:
        return json_answer({"removed": self._plan.clear()})

    async def _show(self, _: web.Request) -> web.Response:
        return json_answer(self._plan.report())

    async def _requests(self, _: web.Request) -> web.Response:
        return json_answer({"count": self._log.count, "requests": self._log.all()})


def json_answer(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    return web.Response(
        body=msgspec.json.encode(content), status=status, headers=headers, content_type="application/json"
    )


@asynccontextmanager
async def serving(app: web.Application, *, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on this machine while the context lasts; gives its address. Port 0: a free one.

    A client that goes away ends the work on its request. Raises `OSError` when the port is taken.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
