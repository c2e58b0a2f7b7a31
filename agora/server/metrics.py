"""The figures of a server and its market as Prometheus text. Knows the format; asks others for the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agora.server.stream import Stream
from agora.server.views import MarketPort

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUSES = ("ready", "running", "paused", "ended")


class Counting:
    """ASGI middleware that counts answers by the hundred of their status."""

    def __init__(self, app: ASGIApp, *, counts: Counter[str]) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count one answer."""

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts[f"{message['status'] // 100}xx"] += 1
            await send(message)

        await self._app(scope, receive, send_counted if scope["type"] == "http" else send)


def metrics_text(counts: Mapping[str, int], market: MarketPort | None, stream: Stream | None) -> str:
    """All figures, one metric after the other."""
    lines = ["# HELP agora_up The server answers.", "# TYPE agora_up gauge", "agora_up 1"]
    by_class = ((f'{{class="{name}"}}', count) for name, count in sorted(counts.items()))
    lines += _metric("agora_http_responses_total", "counter", help_text="Answers by status.", samples=by_class)
    if market is not None:
        lines += _market_lines(market)
    if stream is not None:
        lines += _stream_lines(stream)
    return "\n".join(lines) + "\n"


def _market_lines(market: MarketPort) -> Iterable[str]:
    status = market.status
    statuses = ((f'{{status="{name}"}}', int(name == status)) for name in STATUSES)
    prices = ((f'{{symbol="{_escaped(symbol)}"}}', price) for symbol, price in market.prices().items())
    yield from _metric("agora_market_status", "gauge", help_text="1 for the status it has.", samples=statuses)
    yield from _metric("agora_market_tick", "counter", help_text="Ticks done.", samples=[("", market.tick)])
    yield from _metric("agora_market_price", "gauge", help_text="Last price.", samples=prices)


def _stream_lines(stream: Stream) -> Iterable[str]:
    yield from _metric("agora_ws_clients", "gauge", help_text="Connected clients.", samples=[("", stream.clients)])
    yield from _metric("agora_ws_messages_total", "counter", help_text="Messages sent.", samples=[("", stream.sent)])
    yield from _metric(
        "agora_ws_dropped_total", "counter", help_text="Clients that did not read.", samples=[("", stream.dropped)]
    )


def _metric(name: str, kind: str, *, help_text: str, samples: Iterable[tuple[str, float]]) -> Iterable[str]:
    """One metric: its help, its type, a line for each set of labels."""
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {value!r}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
