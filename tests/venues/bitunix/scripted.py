"""A venue that does what a test tells it: the other end of the wire, with every way in which a request can go wrong.

It keeps orders, trades, a position and triggers, and answers over real HTTP and a real socket. It matches nothing by
itself: the test fills, cancels and triggers.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import formatdate
from typing import Any

from aiohttp import web

ENDED = ("FILLED", "CANCELED", "PART_FILLED_CANCELED", "EXPIRED", "SYSTEM_CANCELED")
API = "/api/v1/futures/"
NOT_FOUND = 20007
DUPLICATE = 30042


@dataclass
class Mishap:
    """What goes wrong with one request: `is_done`: it was carried out all the same."""

    kind: str
    is_done: bool = True
    code: int = 0
    retry_after_s: float = 1.0


@dataclass
class ScriptedVenue:
    """The state of the venue and the test's handles on it."""

    now_ms: Callable[[], int]
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    tpsl: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed_positions: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    mishaps: dict[str, deque[Mishap]] = field(default_factory=dict)
    # What happens just before the next request of that name is answered.
    before: dict[str, Callable[[], Awaitable[Any]]] = field(default_factory=dict)
    cash: Decimal = Decimal(10_000)
    position: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    position_id: str = ""
    position_ctime: int = 0
    funding: Decimal = Decimal(0)
    # Pushes are lost while this is set; reads of an order do not show it while it is among the hidden.
    is_mute: bool = False
    hidden: set[str] = field(default_factory=set)
    hidden_orders: set[str] = field(default_factory=set)
    hidden_trades: set[str] = field(default_factory=set)
    hidden_tpsl: set[str] = field(default_factory=set)
    # Orders that are not changed, whatever is answered.
    frozen: set[str] = field(default_factory=set)
    # Stops that travel with an entry are forgotten.
    drops_stops: bool = False
    refuses_login: bool = False
    ignores_login: bool = False
    refuses_keys: bool = False
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    greeted: int = 0
    _next_id: int = 1_000_000

    # The test's handles.

    def go_wrong(self, call: str, *mishaps: Mishap) -> None:
        """What happens to the next requests of that name (`trade/place_order`), one each."""
        self.mishaps.setdefault(call, deque()).extend(mishaps)

    def of_client(self, client_id: str) -> dict[str, Any]:
        """An order by the client id."""
        return next(row for row in self.orders.values() if row["clientId"] == client_id)

    def count(self, call: str) -> int:
        """How often something was asked."""
        return sum(name == call for name, _ in self.requests)

    async def fill(self, order: dict[str, Any], qty: str, price: str, *, role: str = "TAKER") -> dict[str, Any]:
        """Let an order trade; tells it with a push of the order and of the position."""
        size = Decimal(qty)
        order["tradeQty"] = str(Decimal(order["tradeQty"]) + size)
        is_full = Decimal(order["tradeQty"]) >= Decimal(order["qty"])
        order["status"] = "FILLED" if is_full else "PART_FILLED"
        fee = size * Decimal(price) * Decimal("0.0006" if role == "TAKER" else "0.0002")
        trade = {
            "tradeId": self._id(),
            "orderId": order["orderId"],
            "symbol": order["symbol"],
            "qty": qty,
            "price": price,
            "side": order["side"],
            "orderType": order["orderType"],
            "positionMode": "ONE_WAY",
            "marginMode": "CROSS",
            "leverage": 10,
            "effect": order["effect"],
            "clientId": order["clientId"],
            "reduceOnly": order["reduceOnly"],
            "fee": str(fee),
            "realizedPNL": "0",
            "ctime": str(self.now_ms()),
            "roleType": role,
        }
        self.trades.append(trade)
        self._settle(order["side"], size, Decimal(price), fee)
        if order.get("slPrice") and not order["reduceOnly"] and not self.drops_stops:
            self._wake_stop(order, size)
        await self.push_order(order)
        await self._push_position(order["symbol"])
        return trade

    async def end(self, order: dict[str, Any], status: str = "CANCELED") -> None:
        """End an order that rests."""
        if status == "CANCELED" and Decimal(order["tradeQty"]) > 0:
            status = "PART_FILLED_CANCELED"
        order["status"] = status
        await self.push_order(order)

    async def trigger(self, tpsl_id: str, price: str) -> dict[str, Any]:
        """Fire a stop: its child order trades at once, under an id of the venue and without a client id."""
        row = self.tpsl[tpsl_id]
        row["status"], row["triggerTime"] = "FILLED", self.now_ms()
        side = "SELL" if self.position > 0 else "BUY"
        qty = str(min(abs(self.position), Decimal(row["slQty"])))
        order = self._order({"symbol": row["symbol"], "side": side, "qty": qty, "orderType": "MARKET"})
        order["reduceOnly"] = True
        await self.push({"ch": "tpsl", "data": {**_tpsl_push(row), "event": "CLOSE"}})
        await self.fill(order, qty, price)
        return order

    async def foreign(self, side: str, qty: str, price: str, *, reduce_only: bool = False) -> dict[str, Any]:
        """Another hand trades on the account."""
        order = self._order({"symbol": "BTCUSDT", "side": side, "qty": qty, "orderType": "MARKET"})
        order["reduceOnly"] = reduce_only
        await self.fill(order, qty, price)
        return order

    async def settle_funding(self, amount: str) -> None:
        """The position is paid (positive) or pays."""
        self.funding += Decimal(amount)
        self.cash += Decimal(amount)
        await self._push_position("BTCUSDT")

    async def push_order(self, order: dict[str, Any]) -> None:
        """Tell an order's change."""
        data = {
            "event": "UPDATE",
            "orderId": order["orderId"],
            "symbol": order["symbol"],
            "positionType": "CROSS",
            "positionMode": "ONE_WAY",
            "side": order["side"],
            "effect": order["effect"],
            "type": order["orderType"],
            "qty": order["qty"],
            "price": order["price"],
            "ctime": "2026-09-23T01:21:58.900123456Z",
            "mtime": "2026-09-23T01:21:58.900123456Z",
            "leverage": "10",
            "orderStatus": order["status"],
            "fee": "0",
            "averagePrice": "0",
            "dealAmount": order["tradeQty"],
            "clientId": order["clientId"],
        }
        await self.push({"ch": "order", "ts": self.now_ms(), "data": data})

    async def push(self, frame: dict[str, Any]) -> None:
        """Send a frame to everybody who is logged in, unless pushes are being lost."""
        if not self.is_mute:
            await asyncio.gather(
                *(socket.send_str(json.dumps({"ts": self.now_ms(), **frame})) for socket in self.sockets)
            )

    # Books.

    def _id(self) -> str:
        self._next_id += 1
        return str(self._next_id)

    def _settle(self, side: str, size: Decimal, price: Decimal, fee: Decimal) -> None:
        signed = size if side == "BUY" else -size
        before = self.position
        self.cash -= fee
        if not before:
            self.position_id, self.position_ctime, self.funding = self._id(), self.now_ms(), Decimal(0)
        closing = min(abs(before), size) if before * signed < 0 else Decimal(0)
        if closing:
            average = self.cost / abs(before)
            self.cash += closing * (price - average) * (1 if before > 0 else -1)
            self.cost -= closing * average
        self.cost += (size - closing) * price
        self.position += signed
        if before and not self.position:
            self._close_position(before)

    def _close_position(self, before: Decimal) -> None:
        self.closed_positions.append(
            {
                "positionId": self.position_id,
                "symbol": "BTCUSDT",
                "maxQty": str(abs(before)),
                "entryPrice": "60000",
                "closePrice": "60000",
                "liqQty": "0",
                "side": "LONG" if before > 0 else "SHORT",
                "positionMode": "ONE_WAY",
                "marginMode": "CROSS",
                "leverage": 10,
                "fee": "0",
                "funding": str(self.funding),
                "realizedPNL": "0",
                "liqPrice": "0",
                "ctime": self.position_ctime,
                "mtime": self.now_ms(),
            }
        )
        for row in self.tpsl.values():
            if row["status"] == "NEW":
                row["status"] = "SYSTEM_CANCELED"

    def _wake_stop(self, order: dict[str, Any], size: Decimal) -> None:
        for row in self.tpsl.values():
            if row.get("entry") == order["orderId"]:
                row["slQty"] = str(Decimal(row["slQty"]) + size)
                return
        self._stop(order["symbol"], order["slPrice"], str(size), entry=order["orderId"])

    def _stop(self, symbol: str, price: str, qty: str, *, entry: str = "") -> dict[str, Any]:
        row = {
            "id": self._id(),
            "positionId": self.position_id,
            "symbol": symbol,
            "base": "BTC",
            "quote": "USDT",
            "slPrice": price,
            "slStopType": "LAST_PRICE",
            "slOrderType": "MARKET",
            "slQty": qty,
            "status": "NEW",
            "ctime": self.now_ms(),
            "entry": entry,
        }
        self.tpsl[str(row["id"])] = row
        return row

    def _order(self, body: dict[str, Any]) -> dict[str, Any]:
        row = {
            "orderId": self._id(),
            "qty": body["qty"],
            "tradeQty": "0",
            "price": body.get("price", "market"),
            "symbol": body["symbol"],
            "positionMode": "ONE_WAY",
            "marginMode": "CROSS",
            "leverage": 10,
            "side": body["side"],
            "orderType": body["orderType"],
            "effect": body.get("effect", "GTC"),
            "clientId": body.get("clientId", ""),
            "reduceOnly": body.get("reduceOnly", False),
            "status": "NEW",
            "fee": "0",
            "realizedPNL": "0",
            "slPrice": body.get("slPrice", ""),
            "ctime": self.now_ms(),
            "mtime": self.now_ms(),
        }
        self.orders[str(row["orderId"])] = row
        return row

    async def _push_position(self, symbol: str) -> None:
        data = {
            "event": "UPDATE" if self.position else "CLOSE",
            "positionId": self.position_id,
            "marginMode": "CROSS",
            "positionMode": "ONE_WAY",
            "side": "LONG" if self.position >= 0 else "SHORT",
            "leverage": "10",
            "margin": "0",
            "ctime": "2026-09-23T01:22:00.000123456Z",
            "qty": str(abs(self.position)),
            "entryValue": "0",
            "symbol": symbol,
            "realizedPNL": "0",
            "unrealizedPNL": "0",
            "funding": str(self.funding),
            "fee": "0",
        }
        await self.push({"ch": "position", "data": data})

    # Requests.

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, carried out or not, and answered well or badly."""
        call = request.path.removeprefix(API)
        body = await request.json() if request.method == "POST" else dict(request.query)
        self.requests.append((call, body))
        if call in self.before:
            await self.before.pop(call)()
        waiting = self.mishaps.get(call)
        mishap = waiting.popleft() if waiting else None
        if self.refuses_keys and not call.startswith("market"):
            return _envelope(10003, None)
        if mishap is None:
            return _envelope(*self._do(call, body))
        if mishap.is_done:
            self._do(call, body)
        return await _failing(request, mishap)

    def _do(self, call: str, body: dict[str, Any]) -> tuple[int, Any]:
        known = getattr(self, "_do_" + call.replace("/", "_"), None)
        assert known is not None, f"the scripted venue has no {call}"
        code_and_data: tuple[int, Any] = known(body)
        return code_and_data

    def _do_trade_place_order(self, body: dict[str, Any]) -> tuple[int, Any]:
        if any(row["clientId"] == body["clientId"] for row in self.orders.values()):
            return DUPLICATE, None
        row = self._order(body)
        return 0, {"orderId": row["orderId"], "clientId": row["clientId"]}

    def _found(self, body: dict[str, Any]) -> dict[str, Any] | None:
        for row in self.orders.values():
            if (row["clientId"] in self.hidden and row["clientId"]) or row["orderId"] in self.hidden_orders:
                continue
            if body.get("orderId") == row["orderId"] or (
                not body.get("orderId") and body.get("clientId") == row["clientId"]
            ):
                return row
        return None

    def _do_trade_cancel_orders(self, body: dict[str, Any]) -> tuple[int, Any]:
        done, failed = [], []
        for item in body["orderList"]:
            row = self._found(item)
            if row is None or row["status"] in ENDED:
                failed.append({**item, "errorMsg": "Order not found, please try it later", "errorCode": NOT_FOUND})
                continue
            row["status"] = "CANCELED" if Decimal(row["tradeQty"]) == 0 else "PART_FILLED_CANCELED"
            done.append({"orderId": row["orderId"], "clientId": row["clientId"]})
        return 0, {"successList": done, "failureList": failed}

    def _do_trade_modify_order(self, body: dict[str, Any]) -> tuple[int, Any]:
        row = self._found(body)
        if row is None or row["status"] in ENDED:
            return NOT_FOUND, None
        if row["orderId"] not in self.frozen:
            row["price"], row["qty"] = body["price"], body["qty"]
        return 0, {"orderId": row["orderId"], "clientId": row["clientId"]}

    def _do_trade_get_order_detail(self, body: dict[str, Any]) -> tuple[int, Any]:
        row = self._found(body)
        return (NOT_FOUND, None) if row is None else (0, row)

    def _rows(self, body: dict[str, Any], *, is_open: bool) -> list[dict[str, Any]]:
        rows = [
            row
            for row in self.orders.values()
            if (row["status"] not in ENDED) == is_open
            and row["clientId"] not in self.hidden
            and body.get("symbol", row["symbol"]) == row["symbol"]
        ]
        return rows[::-1]

    def _do_trade_get_pending_orders(self, body: dict[str, Any]) -> tuple[int, Any]:
        rows = self._rows(body, is_open=True)
        return 0, {"orderList": _page(rows, body), "total": len(rows)}

    def _do_trade_get_history_orders(self, body: dict[str, Any]) -> tuple[int, Any]:
        rows = self._rows(body, is_open=False)
        if body.get("queryCanceled") != "true":
            rows = [row for row in rows if row["status"] == "FILLED"]
        return 0, {"orderList": _page(rows, body), "total": len(rows)}

    def _do_trade_get_history_trades(self, body: dict[str, Any]) -> tuple[int, Any]:
        rows = [
            row
            for row in self.trades[::-1]
            if row["tradeId"] not in self.hidden_trades
            and body.get("orderId", row["orderId"]) == row["orderId"]
            and int(row["ctime"]) >= int(body.get("startTime", 0))
        ]
        return 0, {"tradeList": _page(rows, body), "total": len(rows)}

    def _do_account(self, body: dict[str, Any]) -> tuple[int, Any]:
        del body
        money = {"marginCoin": "USDT", "available": str(self.cash), "frozen": "0", "margin": "0", "transfer": "0"}
        more = {"positionMode": "ONE_WAY", "crossUnrealizedPNL": "0", "isolationUnrealizedPNL": "0", "bonus": "0"}
        return 0, money | more

    def _do_position_get_pending_positions(self, body: dict[str, Any]) -> tuple[int, Any]:
        del body
        if not self.position:
            return 0, []
        row = {
            "positionId": self.position_id,
            "symbol": "BTCUSDT",
            "qty": str(abs(self.position)),
            "entryValue": "0",
            "side": "BUY" if self.position > 0 else "SELL",
            "positionMode": "ONE_WAY",
            "marginMode": "CROSS",
            "leverage": 10,
            "fee": "0",
            "funding": str(self.funding),
            "realizedPNL": "0",
            "margin": "0",
            "unrealizedPNL": "0",
            "liqPrice": "0",
            "marginRate": "0",
            "avgOpenPrice": "60000",
            "ctime": str(self.position_ctime),
            "mtime": str(self.now_ms()),
        }
        return 0, [row]

    def _do_position_get_history_positions(self, body: dict[str, Any]) -> tuple[int, Any]:
        rows = self.closed_positions[::-1]
        return 0, {"positionList": _page(rows, body), "total": len(rows)}

    def _triggers(self) -> list[dict[str, Any]]:
        return [row for tpsl_id, row in self.tpsl.items() if tpsl_id not in self.hidden_tpsl]

    def _do_tpsl_get_pending_orders(self, body: dict[str, Any]) -> tuple[int, Any]:
        return 0, _page([row for row in self._triggers() if row["status"] == "NEW"], body)

    def _do_tpsl_get_history_orders(self, body: dict[str, Any]) -> tuple[int, Any]:
        rows = [row for row in self._triggers() if row["status"] != "NEW"]
        return 0, {"orderList": _page(rows, body), "total": len(rows)}

    def _do_tpsl_place_order(self, body: dict[str, Any]) -> tuple[int, Any]:
        row = self._stop(body["symbol"], body["slPrice"], body["slQty"])
        return 0, {"orderId": row["id"]}

    def _do_tpsl_modify_order(self, body: dict[str, Any]) -> tuple[int, Any]:
        row = self.tpsl[body["orderId"]]
        row["slPrice"] = body["slPrice"]
        return 0, {"orderId": row["id"]}

    def _do_tpsl_cancel_order(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.tpsl[body["orderId"]]["status"] = "CANCELED"
        return 0, {"orderId": body["orderId"]}

    # The private socket.

    async def private(self, request: web.Request) -> web.WebSocketResponse:
        """Greeting, login, pongs; pushes follow by themselves."""
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.send_json({"op": "connect", "data": {"result": True}})
        self.greeted += 1
        try:
            async for message in socket:
                frame = json.loads(message.data)
                if frame["op"] == "login" and not self.ignores_login:
                    await socket.send_json({"op": "login", "data": {"result": not self.refuses_login}})
                    if not self.refuses_login:
                        self.sockets.append(socket)
                elif frame["op"] == "ping":
                    await socket.send_json({"op": "ping", "pong": frame["ping"], "ping": 1})
        finally:
            if socket in self.sockets:
                self.sockets.remove(socket)
        return socket

    async def disconnect(self) -> None:
        """Close the private sockets."""
        for socket in list(self.sockets):
            await socket.close()


def _envelope(code: int, data: Any) -> web.Response:
    words = {0: "Success", NOT_FOUND: "Order not found, please try it later", DUPLICATE: "Client ID duplicate"}
    return web.json_response({"code": code, "data": data, "msg": words.get(code, f"refused {code}")})


async def _failing(request: web.Request, mishap: Mishap) -> web.StreamResponse:
    if mishap.kind == "refuse":
        return _envelope(mishap.code, None)
    if mishap.kind == "limit":
        return web.Response(status=429, headers={"Retry-After": str(mishap.retry_after_s)}, text="slow down")
    if mishap.kind == "html":
        return web.Response(status=502, content_type="text/html", text="<html>bad gateway</html>")
    if mishap.kind == "empty":
        return web.Response(text="")
    if mishap.kind == "silence":
        await asyncio.Event().wait()
    assert mishap.kind == "reset", mishap.kind
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _page(rows: list[dict[str, Any]], body: dict[str, Any]) -> list[dict[str, Any]]:
    skip = int(body.get("skip", 0))
    return rows[skip : skip + int(body.get("limit", 10))]


def _tpsl_push(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "positionId": row["positionId"],
        "orderId": row["id"],
        "symbol": row["symbol"],
        "leverage": "10",
        "side": "SELL",
        "positionMode": "ONE_WAY",
        "status": row["status"],
        "ctime": "2026-09-23T01:22:01.000123456Z",
        "type": "TPSL",
        "slQty": row["slQty"],
        "slStopType": row["slStopType"],
        "slPrice": row["slPrice"],
        "slOrderType": "MARKET",
    }


def application(venue: ScriptedVenue) -> web.Application:
    """The venue as an aiohttp application: REST and the private socket at one address."""
    app = web.Application()
    app.router.add_route("*", API + "{call:.*}", venue.answer)
    app.router.add_get("/private/", venue.private)

    async def stamp(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(venue.now_ms() // 1_000, usegmt=True)

    app.on_response_prepare.append(stamp)
    return app


@asynccontextmanager
async def scripted(serving: Any, now_ms: Callable[[], int]) -> AsyncIterator[tuple[ScriptedVenue, str]]:
    """A running venue and its address."""
    venue = ScriptedVenue(now_ms)
    async with serving(application(venue)) as address:
        yield venue, address
