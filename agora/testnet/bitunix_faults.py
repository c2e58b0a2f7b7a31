"""Faults on demand of the loopback Bitunix: what happens to connections, frames, answers, orders and fills.

Every fault of the plan that a venue can have is here; each counts as fired when it had its effect. Deterministic: an
occasion is decided by the entry's seed and its count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from aiohttp import web

from agora.exchange.perp_records import Effect, PerpOrder, PerpTrade, PerpType
from agora.testnet.bitunix_events import COARSE_TICKS, ONCE, WHILE, Happenings
from agora.testnet.bitunix_sockets import Client, Outgoing, Sockets
from agora.testnet.bitunix_spoiled import SPOILED
from agora.testnet.bitunix_world import TestAccount, World
from agora.testnet.faults import FAULTS_BY_KIND, Fault, FaultPlan, PlannedFault

BITUNIX_FAULTS = tuple(
    fault
    for kind in ("connections", "messages", "answers", "fills and orders", "venue")
    for fault in FAULTS_BY_KIND[kind]
)
HTML = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
# Answers that are given without carrying out the call.
BEFORE = (
    Fault.HTTP_429, Fault.HTTP_5XX, Fault.HTML, Fault.EMPTY, Fault.VENUE_CODE, Fault.REJECT, Fault.REFUSE,
)  # fmt: skip
# What spoils the answer of a call that was carried out.
AFTER = (Fault.TRUNCATED, Fault.SLICED, Fault.SLOW)
ORDER_CALLS = ("place_order", "batch_order")
# Calls that a restarting engine does not answer.
ENGINE_CALLS = (*ORDER_CALLS, "modify_order", "cancel_orders", "cancel_all_orders")
PLACED = (Fault.ACCEPT_THEN_SILENCE, Fault.ACCEPT_THEN_5XX, Fault.ACCEPT_LATE, Fault.NOT_FOUND_THEN_EXISTS)
INSUFFICIENT, NOT_FOUND, NETWORK, TOO_OFTEN, KEY_REFUSED, BAD_PARAMETER = 20003, 20007, 10001, 10006, 10007, 10002
# A trade that is listed late shows after this.
LATE_TRADE_NS = 3_000_000_000
PUSHES = (
    Fault.LOST_FILLS, Fault.DUPLICATE_FILLS, Fault.LATE_FILLS, Fault.REORDERED_FILLS, Fault.UNKNOWN_ORDER_UPDATES,
)  # fmt: skip

Perform = Callable[[], Awaitable[web.Response]]


class Mischief:
    """Everything that may go wrong, by plan. `calls`: the names by which a plan may mean one call."""

    def __init__(self, world: World, plan: FaultPlan) -> None:
        self.happenings = Happenings(world, plan)
        self._world = world
        self._plan = plan
        self._hidden: dict[int, int] = {}
        self._late_trades: dict[int, int] = {}
        self._kept: dict[tuple[Client, str], Outgoing] = {}
        self._stopping = asyncio.Event()

    def attach(self, sockets: Sockets) -> None:
        """The sockets that some faults cut."""
        self.happenings.attach(sockets)

    def tick(self) -> None:
        """A hook of the world."""
        self.happenings.tick()

    def stop_waiting(self) -> None:
        """Let go of whoever waits for an answer that never comes."""
        self._stopping.set()

    def _fires(self, fault: Fault, targets: Collection[str]) -> PlannedFault | None:
        fired = self._plan.firing(targets, (fault,))
        return fired[0] if fired else None

    # Connections and frames.

    def allows_connection(self, target: str) -> bool:
        """Whether a socket may connect."""
        return self._fires(Fault.REFUSE, (target,)) is None

    def on_ping(self, target: str) -> str:
        """What becomes of a keep-alive."""
        if self._fires(Fault.HEARTBEAT_REFUSED, (target,)) is not None:
            return "close"
        return "drop" if self._fires(Fault.DROP_PONG, (target,)) is not None else "answer"

    def is_mute(self, target: str) -> bool:
        """Whether what would be sent is swallowed: the connection is up, and dead."""
        return self._fires(Fault.WS_MUTE, (target,)) is not None

    def pass_on(self, socket: Client, channel: str, out: Outgoing) -> None:
        """A frame on its way to a client."""
        is_private = socket.target == "user"
        targets = ("user",) if is_private else ("market", *(("prices",) if channel == "price" else ()))
        outs = self._pushed(socket, channel, out) if is_private else self._spoiled(socket, channel, out, targets)
        for each in outs:
            is_sliced = self._fires(Fault.SLICED, targets) is not None
            whole = msgspec.structs.replace(each, is_sliced=is_sliced)
            slow = self._fires(Fault.SLOW, targets)
            if slow is None:
                socket.put(whole)
            else:
                self._later(slow.delay_s, socket, whole)

    def _later(self, delay_s: float, socket: Client, out: Outgoing) -> None:
        asyncio.get_running_loop().call_later(delay_s, socket.put, out)

    def _spoiled(self, socket: Client, channel: str, out: Outgoing, targets: Collection[str]) -> list[Outgoing]:
        """A market frame: itself, spoiled, twice, after the next one, or not at all."""
        assert isinstance(out.content, str)
        if self._fires(Fault.GAP, targets) is not None:
            return []
        for fault, spoil in SPOILED.items():
            if fault is Fault.CROSSED_BOOK and not channel.startswith("depth"):
                continue  # There are no two sides in it.
            entry = self._fires(fault, targets)
            if entry is not None:
                # What a spoiled frame tells is no news.
                return [Outgoing(spoil(out.content, entry))]
        place = (socket, channel)
        kept = self._kept.pop(place, None)
        if kept is not None:
            return [out, kept]
        if self._fires(Fault.OUT_OF_ORDER, targets) is not None:
            self._kept[place] = out
            return []
        return [out, out] if self._fires(Fault.DUPLICATE, targets) is not None else [out]

    def _pushed(self, socket: Client, channel: str, out: Outgoing) -> list[Outgoing]:
        """A private push; those about fills may be lost, late, repeated or out of order."""
        pushes = [out]
        if channel == "order" and self._fires(Fault.UNKNOWN_ORDER_UPDATES, ("user",)) is not None:
            pushes.append(Outgoing(_of_unknown_order(str(out.content))))
        if channel not in ("order", "position"):
            return pushes
        if self._fires(Fault.LOST_FILLS, ("user",)) is not None:
            return pushes[1:]
        late = self._fires(Fault.LATE_FILLS, ("user",))
        if late is not None:
            self._later(late.delay_s, socket, out)
            return pushes[1:]
        kept = self._kept.pop((socket, "fills"), None)
        if kept is not None:
            return [*pushes, kept]
        if self._fires(Fault.REORDERED_FILLS, ("user",)) is not None:
            self._kept[socket, "fills"] = out
            asyncio.get_running_loop().call_later(1.0, self._let_go, socket)
            return pushes[1:]
        return [*pushes, out] if self._fires(Fault.DUPLICATE_FILLS, ("user",)) is not None else pushes

    def _let_go(self, socket: Client) -> None:
        kept = self._kept.pop((socket, "fills"), None)
        if kept is not None:
            socket.put(kept)

    # Answers.

    async def answer(
        self, request: web.Request, name: str, account: TestAccount | None, perform: Perform
    ) -> web.StreamResponse:
        """Answer a call, carried out once, late, or not at all. `perform` is called at most once."""
        targets = ("rest", name)
        refusal = await self._refusal(request, name, targets=targets, account=account)
        if refusal is not None:
            return refusal
        if name in ORDER_CALLS and account is not None:
            return await self._placed(request, name, account, perform)
        if name == "cancel_orders" and account is not None:
            await self._race(account, targets)
        return await self._sent(request, targets, await perform())

    async def _refusal(
        self, request: web.Request, name: str, *, targets: Collection[str], account: TestAccount | None
    ) -> web.Response | None:
        """An answer in place of the call, if one is planned."""
        if account is not None and account.is_revoked:
            return _venue_error(KEY_REFUSED, "Signature error")
        if self.happenings.is_now(Fault.MAINTENANCE):
            return _venue_error(NETWORK, "system maintenance")
        if name in ENGINE_CALLS and self.happenings.is_now(Fault.ENGINE_RESTART):
            return _venue_error(NETWORK, "Network Error")
        for fault in BEFORE:
            if fault is Fault.REJECT and name not in ORDER_CALLS:
                continue
            entry = self._fires(fault, targets)
            if entry is not None:
                return self._made(request, entry)
        return None

    def _made(self, request: web.Request, entry: PlannedFault) -> web.Response:
        if entry.fault is Fault.REFUSE and request.transport is not None:
            request.transport.abort()
        match entry.fault:
            case Fault.HTTP_429:
                return web.Response(status=429, headers={"Retry-After": f"{entry.retry_after_s:g}"})
            case Fault.HTTP_5XX:
                return web.Response(status=503, text="upstream connect error")
            case Fault.HTML:
                return web.Response(status=502, text=HTML, content_type="text/html")
            case Fault.VENUE_CODE:
                return _venue_error(int(entry.code), "planned")
            case Fault.REJECT:
                return _venue_error(INSUFFICIENT, "Insufficient balance")
            case _:
                return web.Response(status=200, body=b"")

    async def _placed(
        self, request: web.Request, name: str, account: TestAccount, perform: Perform
    ) -> web.StreamResponse:
        """An order's call: the order may be accepted, and its answer lost, late or wrong."""
        targets = ("rest", name)
        body = await _body_of(request)
        if self.happenings.is_now(Fault.TICK_SIZE_CHANGE) and _is_off_coarse_tick(self._world, body):
            return _venue_error(BAD_PARAMETER, "price precision error")
        if body.get("orderType") == "MARKET" and body.get("reduceOnly"):
            self._thin(body, targets)
        doubt = self._plan.firing(targets, PLACED)
        if any(entry.fault is Fault.ACCEPT_LATE for entry in doubt):
            asyncio.get_running_loop().call_later(doubt[0].delay_s, _start, perform)
            await self._stopping.wait()
            return web.Response(status=503)
        before = {order.order_id for order in self._world.exchange.open_orders(account.number)}
        response = await perform()
        for entry in doubt:
            return await self._doubtful(entry, account, body)
        self._reject_resting(account, before, targets)
        return await self._sent(request, targets, response)

    async def _doubtful(self, entry: PlannedFault, account: TestAccount, body: dict[str, Any]) -> web.Response:
        if entry.fault is Fault.NOT_FOUND_THEN_EXISTS:
            order = self._world.exchange.order_by_client_id(account.number, str(body.get("clientId", "")))
            if order is not None:
                self._hidden[order.order_id] = self._world.now_ns() + int(entry.delay_s * 1e9)
        if entry.fault is Fault.ACCEPT_THEN_5XX:
            return web.Response(status=502, text=HTML, content_type="text/html")
        await self._stopping.wait()
        return web.Response(status=503)

    def _reject_resting(self, account: TestAccount, before: set[int], targets: Collection[str]) -> None:
        """A new order that rests is taken for one that would cross: accepted, then cancelled by the venue."""
        exchange = self._world.exchange
        for order in exchange.open_orders(account.number):
            is_new = order.order_id not in before and order.type is PerpType.LIMIT and order.effect is not Effect.IOC
            if is_new and self._fires(Fault.POST_ONLY_REJECT, targets) is not None:
                self._world.cancel_by_venue(account.number, order.order_id)
        self._world.publish()

    def _thin(self, body: dict[str, Any], targets: Collection[str]) -> None:
        """The book holds less than is to be flattened: a part fills, and the rest is gone."""
        symbol = str(body.get("symbol", "")).upper()
        if symbol not in self._world.symbols or self._fires(Fault.PARTIAL_FLATTEN, targets) is None:
            return
        instrument = self._world.exchange.listing(symbol).instrument
        lots = max(1, int(float(body.get("qty", 0)) / float(instrument.lot)) // 2)
        self._world.thin(symbol, -1 if body.get("side") == "SELL" else 1, lots)

    async def _race(self, account: TestAccount, targets: Collection[str]) -> None:
        """What is to be cancelled trades in the last moment."""
        for order in self._world.exchange.open_orders(account.number):
            if order.type is PerpType.LIMIT and self._fires(Fault.CANCEL_FILL_RACE, targets) is not None:
                self._world.hit(account.number, order)
        self._world.publish()

    async def _sent(self, request: web.Request, targets: Collection[str], response: web.Response) -> web.StreamResponse:
        """The answer on its way: whole, slow, in pieces, or cut short."""
        for entry in self._plan.firing(targets, AFTER):
            if entry.fault is Fault.SLOW:
                await asyncio.sleep(entry.delay_s)
            elif entry.fault is Fault.TRUNCATED:
                body = bytes(response.body or b"")  # type: ignore[arg-type]
                return web.Response(body=body[: len(body) * 2 // 3], content_type="application/json")
            else:
                return await _in_pieces(request, response)
        return response

    # What reads do not show.

    def is_rate_low(self, name: str) -> bool:
        """Whether the limit of this call is one a second at present; counts when it is asked in vain."""
        return bool([f for f in self._plan.active(Fault.RATE_LIMIT_LOW) if f.entry.target in ("*", "rest", name)])

    def note_rate_refused(self) -> None:
        """A call was refused by the low limit."""
        for firing in self._plan.active(Fault.RATE_LIMIT_LOW):
            firing.note()

    def hides_order(self, order: PerpOrder) -> bool:
        """Whether an order is not found for now."""
        return self._hidden.get(order.order_id, 0) > self._world.now_ns()

    def hides_trade(self, trade: PerpTrade) -> bool:
        """Whether a trade is not listed for now: it, or its order, shows late."""
        now_ns = self._world.now_ns()
        if self._hidden.get(trade.order_id, 0) > now_ns:
            return True
        late = self._plan.active(Fault.TRADE_RETRYING)
        if late and now_ns - trade.ts_ns < LATE_TRADE_NS and trade.trade_id not in self._late_trades:
            self._late_trades[trade.trade_id] = trade.ts_ns + LATE_TRADE_NS
            late[0].note()
        return self._late_trades.get(trade.trade_id, 0) > now_ns


def _start(perform: Perform) -> None:
    asyncio.ensure_future(perform())  # noqa: RUF006  the venue carries it out whoever waits


async def _body_of(request: web.Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _is_off_coarse_tick(world: World, body: dict[str, Any]) -> bool:
    symbol, price = str(body.get("symbol", "")).upper(), body.get("price")
    if symbol not in world.symbols or not isinstance(price, str) or not price:
        return False
    tick = float(world.exchange.listing(symbol).instrument.tick)
    return round(float(price) / tick) % COARSE_TICKS != 0


def _venue_error(code: int, message: str) -> web.Response:
    body = msgspec.json.encode({"code": code, "data": None, "msg": message})
    return web.Response(body=body, content_type="application/json")


async def _in_pieces(request: web.Request, response: web.Response) -> web.StreamResponse:
    """The answer a few bytes at a time."""
    stream = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
    if "Date" in response.headers:
        stream.headers["Date"] = response.headers["Date"]
    await stream.prepare(request)
    body = bytes(response.body or b"")  # type: ignore[arg-type]
    for at in range(0, len(body), 16):
        await stream.write(body[at : at + 16])
        await asyncio.sleep(0)
    await stream.write_eof()
    return stream


def _of_unknown_order(text: str) -> str:
    """The same push about an order that nobody has placed."""
    frame = msgspec.json.decode(text)
    data = {**frame["data"], "orderId": f"9{frame['data']['orderId']}", "clientId": ""}
    return msgspec.json.encode({**frame, "data": data}).decode()


assert {*ONCE, *WHILE, *BEFORE, *AFTER, *PLACED, *PUSHES, *SPOILED} <= set(BITUNIX_FAULTS)
