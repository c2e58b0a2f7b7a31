"""Faults on demand of the loopback Bitunix: what happens to calls and their answers, to orders and trades.

Every fault of the plan that a venue can have is known: those of sockets are `bitunix_delivery`, those of the venue
itself `bitunix_events`. Each counts as fired when it had its effect. Deterministic: an occasion is decided by the
entry's seed and its count. Times are the venue's.

What each means here, where the plan's word leaves it open: `accept_...` concern every call that changes something, a
cancel too; `post_only_reject` takes any new order that rests for one that would cross; `cancel_fill_race` fills what is
to be cancelled just before; `partial_flatten` leaves half of what a reducing market order wants; `trade_retrying` lists
a trade three seconds late; `rate_limit_low` is one call a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_records import Effect, PerpOrder, PerpTrade, PerpType
from agora.testnet.bitunix_delivery import OF_FILLS, Delivery
from agora.testnet.bitunix_events import COARSE_TICKS, ONCE, WHILE, Happenings
from agora.testnet.bitunix_sockets import Sockets
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
CANCEL_CALLS = ("cancel_orders", "cancel_all_orders")
# The call is carried out, and its sender does not know.
IN_DOUBT = (Fault.ACCEPT_THEN_SILENCE, Fault.ACCEPT_THEN_5XX, Fault.ACCEPT_LATE)
INSUFFICIENT, NETWORK, KEY_REFUSED, BAD_PARAMETER = 20003, 10001, 10007, 10002
# A trade that is listed late shows after this.
LATE_TRADE_NS = 3 * NS_PER_S
# An answer in pieces has about so many of them.
PIECES = 64

Perform = Callable[[], web.Response]


class Incoming(msgspec.Struct, frozen=True):
    """A call as it came in: its name among the venue's, and whose it is (None: nobody's)."""

    request: web.Request
    name: str
    account: TestAccount | None

    @property
    def targets(self) -> tuple[str, ...]:
        """By which names a plan may mean it."""
        return ("rest", self.name)

    @property
    def is_change(self) -> bool:
        """Whether it changes something."""
        return self.request.method == "POST"

    async def body(self) -> dict[str, Any]:
        """What it asks for; empty where that is no object."""
        try:
            body = msgspec.json.decode(await self.request.read())
        except (msgspec.MsgspecError, RecursionError):
            return {}
        return body if isinstance(body, dict) else {}


class Mischief:
    """Everything that may go wrong, by plan."""

    def __init__(self, world: World, plan: FaultPlan) -> None:
        self.happenings = Happenings(world, plan)
        self.delivery = Delivery(plan)
        self._world = world
        self._plan = plan
        self._hidden: dict[int, int] = {}
        self._late_trades: dict[int, int] = {}
        self._late: list[tuple[int, Perform]] = []
        self._stopping = asyncio.Event()

    def attach(self, sockets: Sockets) -> None:
        """The sockets that some faults cut."""
        self.happenings.attach(sockets)

    def tick(self) -> None:
        """A hook of the world: what is due happens."""
        self.happenings.tick()
        now_ns = self._world.now_ns()
        due = [perform for due_ns, perform in self._late if due_ns <= now_ns]
        self._late = [each for each in self._late if each[0] > now_ns]
        for perform in due:
            perform()

    def stop_waiting(self) -> None:
        """Let go of whoever waits for an answer that never comes."""
        self._stopping.set()

    async def _silence(self) -> web.Response:
        await self._stopping.wait()
        return web.Response(status=503)

    # Answers.

    async def answer(self, call: Incoming, perform: Perform) -> web.StreamResponse:
        """Answer a call, carried out once, late, or not at all. `perform` is called at most once."""
        refusal = self._refusal(call)
        if refusal is not None:
            return refusal
        if call.is_change and call.account is not None:
            return await self._changed(call, call.account, perform)
        return await self._sent(call, perform())

    def _refusal(self, call: Incoming) -> web.Response | None:
        """An answer in place of the call, if one is planned."""
        if call.account is not None and call.account.is_revoked:
            return _venue_error(KEY_REFUSED, "Signature error")
        if self.happenings.is_now(Fault.MAINTENANCE):
            return _venue_error(NETWORK, "system maintenance")
        if call.is_change and self.happenings.is_now(Fault.ENGINE_RESTART):
            return _venue_error(NETWORK, "Network Error")
        for fault in BEFORE:
            if fault is Fault.REJECT and call.name not in ORDER_CALLS:
                continue
            fired = self._plan.firing(call.targets, (fault,))
            if fired:
                return self._made(call, fired[0])
        return None

    def _made(self, call: Incoming, entry: PlannedFault) -> web.Response:
        if entry.fault is Fault.REFUSE and call.request.transport is not None:
            call.request.transport.abort()
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

    async def _changed(self, call: Incoming, account: TestAccount, perform: Perform) -> web.StreamResponse:
        """A call that changes something: it may be carried out, and its answer lost, late or wrong."""
        body, is_order = await call.body(), call.name in ORDER_CALLS
        if self.happenings.is_now(Fault.TICK_SIZE_CHANGE) and self._is_off_coarse_tick(account, body):
            return _venue_error(BAD_PARAMETER, "price precision error")
        self._prepare(call, account, body)
        doubt = self._plan.firing(call.targets, (*IN_DOUBT, Fault.NOT_FOUND_THEN_EXISTS) if is_order else IN_DOUBT)
        late = next((entry for entry in doubt if entry.fault is Fault.ACCEPT_LATE), None)
        if late is not None:
            self._late.append((self._in_s(late.delay_s), perform))
            return await self._silence()
        # Looking for what is new costs a walk through all orders: only when it is wanted.
        is_looked_for = is_order and self._plan.active(Fault.NOT_FOUND_THEN_EXISTS, Fault.POST_ONLY_REJECT)
        before = self._orders(account) if is_looked_for else {}
        response = perform()
        made = (
            [order for number, order in self._orders(account).items() if number not in before] if is_looked_for else []
        )
        if doubt:
            return await self._doubtful(doubt[0], made)
        self._reject_resting(call, made)
        return await self._sent(call, response)

    def _orders(self, account: TestAccount) -> dict[int, PerpOrder]:
        return {order.order_id: order for order in self._world.exchange.orders(account.number)}

    def _in_s(self, seconds: float) -> int:
        return self._world.now_ns() + int(seconds * NS_PER_S)

    async def _doubtful(self, entry: PlannedFault, made: list[PerpOrder]) -> web.Response:
        if entry.fault is Fault.ACCEPT_THEN_5XX:
            return web.Response(status=502, text=HTML, content_type="text/html")
        if entry.fault is Fault.NOT_FOUND_THEN_EXISTS:
            self._hidden |= {order.order_id: self._in_s(entry.delay_s) for order in made}
        return await self._silence()

    # What happens to orders.

    def _prepare(self, call: Incoming, account: TestAccount, body: dict[str, Any]) -> None:
        """What others do just before a call is carried out."""
        if call.name in CANCEL_CALLS:
            self._race(call, account, body)
        for row in _orders_of(body) if call.name in ORDER_CALLS else ():
            is_closing = str(row.get("tradeSide", "")).upper() == "CLOSE"
            if row.get("orderType") == "MARKET" and (row.get("reduceOnly") or is_closing):
                self._thin(call, row, is_closing=is_closing)

    def _race(self, call: Incoming, account: TestAccount, body: dict[str, Any]) -> None:
        """What is to be cancelled trades in the last moment."""
        listed = body.get("orderList")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        meant = {str(row[key]) for row in rows for key in ("orderId", "clientId") if row.get(key)}
        for order in self._world.exchange.open_orders(account.number):
            is_meant = call.name == "cancel_all_orders" or not meant.isdisjoint((str(order.order_id), order.client_id))
            can_trade = is_meant and order.type is PerpType.LIMIT
            if can_trade and self._plan.firing(call.targets, (Fault.CANCEL_FILL_RACE,)):
                self._world.hit(account.number, order)

    def _thin(self, call: Incoming, row: dict[str, Any], *, is_closing: bool) -> None:
        """The book holds less than is to be flattened: a part fills, and the rest is gone."""
        symbol = str(row.get("symbol", "")).upper()
        if symbol not in self._world.symbols or not self._plan.firing(call.targets, (Fault.PARTIAL_FLATTEN,)):
            return
        instrument = self._world.exchange.listing(symbol).instrument
        lots = _number(row.get("qty")) / float(instrument.lot)
        # In hedge mode the side of a closing order names the position.
        is_sale = (row.get("side") == "SELL") is not is_closing
        self._world.thin(symbol, -1 if is_sale else 1, max(1, int(lots) // 2))

    def _reject_resting(self, call: Incoming, made: list[PerpOrder]) -> None:
        """A new order that rests is taken for one that would cross: accepted, then cancelled by the venue."""
        for order in made:
            rests = order.is_open and order.type is PerpType.LIMIT and order.effect is not Effect.IOC
            if rests and self._plan.firing(call.targets, (Fault.POST_ONLY_REJECT,)):
                self._world.cancel_by_venue(order.account, order.order_id)

    def _is_off_coarse_tick(self, account: TestAccount, body: dict[str, Any]) -> bool:
        """Whether a price is none of those that are left when steps are ten times as large."""
        exchange = self._world.exchange
        for row in _orders_of(body):
            symbol, price = str(row["symbol"] or "").upper(), _number(row.get("price"))
            if not symbol:
                # A change of an order names the order only.
                order_id, client_id = str(row.get("orderId") or ""), str(row.get("clientId") or "")
                order = exchange.order(account.number, int(order_id)) if order_id.isdecimal() else None
                order = order or exchange.order_by_client_id(account.number, client_id)
                symbol = "" if order is None else order.symbol
            if symbol in self._world.symbols and price:
                tick = float(exchange.listing(symbol).instrument.tick)
                if round(price / tick) % COARSE_TICKS:
                    return True
        return False

    async def _sent(self, call: Incoming, response: web.Response) -> web.StreamResponse:
        """The answer on its way: whole, slow, in pieces, or cut short."""
        for entry in self._plan.firing(call.targets, AFTER):
            if entry.fault is Fault.SLOW:
                await asyncio.sleep(entry.delay_s)
            elif entry.fault is Fault.TRUNCATED:
                body = bytes(response.body or b"")  # type: ignore[arg-type]
                return web.Response(body=body[: len(body) * 2 // 3], content_type="application/json")
            else:
                return await _in_pieces(call.request, response)
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


def _orders_of(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The orders that a body is about, each with its symbol: one, or those of a list."""
    listed = body.get("orderList")
    for row in listed if isinstance(listed, list) else (body,):
        if isinstance(row, dict):
            yield {**row, "symbol": row.get("symbol") or body.get("symbol")}


def _number(value: Any) -> float:
    """A number of a request; 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if abs(number) < 1e12 else 0.0


def _venue_error(code: int, message: str) -> web.Response:
    body = msgspec.json.encode({"code": code, "data": None, "msg": message})
    return web.Response(body=body, content_type="application/json")


async def _in_pieces(request: web.Request, response: web.Response) -> web.StreamResponse:
    """The answer a few bytes at a time."""
    stream = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
    await stream.prepare(request)
    body = bytes(response.body or b"")  # type: ignore[arg-type]
    size = max(16, len(body) // PIECES)
    for at in range(0, len(body), size):
        await stream.write(body[at : at + size])
        await asyncio.sleep(0)
    await stream.write_eof()
    return stream


assert {*ONCE, *WHILE, *BEFORE, *AFTER, *IN_DOUBT, *OF_FILLS, *SPOILED} <= set(BITUNIX_FAULTS)
