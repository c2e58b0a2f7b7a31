"""The app: its routes, and what runs with it. Everything happens on the event loop of whoever serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, FastAPI, Path, Query, Response, WebSocket
from starlette.middleware import Middleware

from agora import __version__
from agora.server.auth import AccessRules, Gate
from agora.server.metrics import CONTENT_TYPE, Counting, metrics_text
from agora.server.problems import PROBLEM_TYPE, ProblemFault, json_answer, register
from agora.server.runs import PROBLEMS, RunPort, runs_router
from agora.server.stream import TICKER_EVERY_NS, Stream
from agora.server.views import (
    CANDLES_MAX,
    DEPTH_MAX,
    INTERVALS,
    TRADES_MAX,
    Accepted,
    AgentRow,
    Book,
    Candle,
    Health,
    MarketPort,
    News,
    Order,
    State,
    Trade,
)

DESCRIPTION = (
    "An agents' market and the runs of this machine. Reading is free on this machine; whatever changes something wants "
    "the token of AGORA_HOME/token as a bearer and a JSON body. `WS /ws` sends a snapshot, then messages "
    '`{"type":"ticker"|"trade"|"news"|"status","data":…,"tick":n}`.'
)
# The app sends nothing about itself to anybody, whatever the environment says.
NO_TELEMETRY: dict[str, Any] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}

SymbolPath = Annotated[str, Path(max_length=32, description="an asset, as in `assets` of the state")]


class ServerContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an app is made of. Without `market` it shows runs only, without `runs` a market only."""

    access: AccessRules
    monotonic_ns: Callable[[], int]
    market: MarketPort | None = None
    runs: RunPort | None = None
    ticker_every_ns: int = TICKER_EVERY_NS


def create_app(context: ServerContext) -> FastAPI:
    """The app of a context. Its socket's cadence runs in its lifespan; the market tells it of trades and news."""
    market = context.market
    stream = None
    if market is not None:
        stream = Stream(market, monotonic_ns=context.monotonic_ns, ticker_every_ns=context.ticker_every_ns)
        market.tell(stream)
    counts: Counter[str] = Counter()
    app = FastAPI(
        title="Agora",
        version=__version__,
        description=DESCRIPTION,
        telemetry=NO_TELEMETRY,  # type: ignore[arg-type]  # a plain mapping of its options
        docs_url=None,  # its pages load scripts from elsewhere, which the policy of this server forbids
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(stream),
        middleware=[Middleware(Counting, counts=counts), Middleware(Gate, rules=context.access)],
    )
    register(app)
    app.include_router(_server_router(counts, market, stream))
    app.include_router(_market_router(market))
    app.include_router(_command_router(market))
    if context.runs is not None:
        app.include_router(runs_router(context.runs))
    if stream is not None:
        _add_socket(app, stream)
    _complete_document(app)
    return app


def _lifespan(stream: Stream | None) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            cadence = tasks.create_task(stream.run()) if stream is not None else None
            yield
            if cadence is not None:
                cadence.cancel()

    return lifespan


def _server_router(counts: Counter[str], market: MarketPort | None, stream: Stream | None) -> APIRouter:
    router = APIRouter(tags=["server"], responses={status: PROBLEMS[status] for status in (403,)})

    @router.get("/health", summary="Whether the server is there", response_model=Health)
    async def health() -> Response:
        return json_answer(
            {
                "status": "ok",
                "running": market is not None and market.status == "running",
                "run": market.run_id if market is not None else "",
                "market": market.status if market is not None else "none",
                "tick": market.tick if market is not None else 0,
                "version": __version__,
                "clients": stream.clients if stream is not None else 0,
            }
        )

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(metrics_text(counts, market, stream), media_type=CONTENT_TYPE)

    return router


def _present(market: MarketPort | None) -> MarketPort:
    if market is None:
        raise ProblemFault(HTTPStatus.NOT_FOUND, "no-market", "this server shows runs; no market runs in it")
    return market


def _listed(market: MarketPort | None, symbol: str) -> MarketPort:
    present = _present(market)
    if symbol not in present.symbols:
        raise ProblemFault(HTTPStatus.NOT_FOUND, "asset-unknown", f"the assets are {', '.join(present.symbols)}")
    return present


def _market_router(market: MarketPort | None) -> APIRouter:
    """Reading the market: each answer is of one tick, because nothing is awaited while it is made."""
    router = APIRouter(tags=["market"], responses={status: PROBLEMS[status] for status in (403, 404, 422)})

    async def state() -> Response:
        return json_answer(_present(market).state())

    for path, name in (("/state", "state"), ("/market/state", "market_state")):
        router.add_api_route(path, state, name=name, response_model=State, summary="Prices, figures and history")

    @router.get("/agents", summary="Every agent and its portfolio", response_model=list[AgentRow])
    async def agents() -> Response:
        return json_answer(_present(market).agents())

    @router.get("/rules", summary="Fees, steps, order types, and what agents see", response_model=dict[str, Any])
    async def rules() -> Response:
        return json_answer(_present(market).rules())

    @router.get("/book/{symbol}", summary="The best levels of a book", response_model=Book)
    async def book(symbol: SymbolPath, depth: Annotated[int, Query(ge=1, le=DEPTH_MAX)] = 10) -> Response:
        return json_answer(_listed(market, symbol).book(symbol, depth))

    @router.get("/trades/{symbol}", summary="The newest trades, oldest first", response_model=list[Trade])
    async def trades(symbol: SymbolPath, limit: Annotated[int, Query(ge=1, le=TRADES_MAX)] = 100) -> Response:
        return json_answer(_listed(market, symbol).trades(symbol, limit))

    @router.get("/candles/{symbol}", summary="Candles, oldest first", response_model=list[Candle])
    async def candles(
        symbol: SymbolPath,
        interval: Annotated[str, Query(pattern=f"^({'|'.join(INTERVALS)})$")] = "1m",
        limit: Annotated[int, Query(ge=1, le=CANDLES_MAX)] = 200,
    ) -> Response:
        return json_answer(_listed(market, symbol).candles(symbol, interval, limit=limit))

    return router


def _command_router(market: MarketPort | None) -> APIRouter:
    """Changing the market. What is taken in shows after the next tick."""
    router = APIRouter(tags=["market"], responses=PROBLEMS)

    def command(name: str, order: Order | None) -> Response:
        present = _present(market)
        if present.status == "ended":
            raise ProblemFault(HTTPStatus.CONFLICT, "ended", "the market has ended; start a new one")
        _refuse_full(present.command(name, (order or Order()).reason))
        return json_answer(Accepted(applied=True, command=name, status=present.status).model_dump())

    @router.post("/simulation/start", summary="Let the market run on after a pause", response_model=Accepted)
    async def start(order: Order | None = None) -> Response:
        return command("start", order)

    @router.post("/simulation/stop", summary="End the market in order", response_model=Accepted)
    async def stop(order: Order | None = None) -> Response:
        return command("stop", order)

    @router.post("/simulation/pause", summary="Hold the market after the present tick", response_model=Accepted)
    async def pause(order: Order | None = None) -> Response:
        return command("pause", order)

    @router.post("/simulation/step", summary="One tick, then hold", response_model=Accepted)
    async def step(order: Order | None = None) -> Response:
        return command("step", order)

    @router.post("/news", summary="Tell all agents something", response_model=Accepted, status_code=202)
    async def add_news(news: News) -> Response:
        present = _present(market)
        for symbol in news.symbols:
            _listed(market, symbol)
        _refuse_full(present.add_news(news))
        answer = Accepted(applied=True, command="news", status=present.status)
        return json_answer(answer.model_dump(), status=HTTPStatus.ACCEPTED)

    return router


def _refuse_full(is_taken: bool) -> None:  # noqa: FBT001 - an answer to be judged, not a flag
    if not is_taken:
        raise ProblemFault(HTTPStatus.CONFLICT, "busy", "too much waits for the next tick already")


def _add_socket(app: FastAPI, stream: Stream) -> None:
    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await stream.attend(websocket)


def _complete_document(app: FastAPI) -> None:
    """Say in the OpenAPI document which calls want the token, and that every error is a problem object."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for operations in document["paths"].values():
        for method, operation in operations.items():
            if method == "post":
                operation["security"] = [{"token": []}]
            _name_problems(operation["responses"])


def _name_problems(responses: dict[str, Any]) -> None:
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, response in responses.items():
        if status >= "400":
            response["content"] = content
