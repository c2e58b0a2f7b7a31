"""What the loopback Bitunix remembers for whoever judges a client: each order received, and every account's books.

Money and sizes stand twice, as decimal text and as exact whole units, lots and ticks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, Rounding, money_text
from agora.domain.orders import Side
from agora.exchange.perp_records import PerpOrder, PerpPosition, PerpTrade
from agora.testnet.bitunix_sockets import Sockets
from agora.testnet.bitunix_world import TestAccount, World

# Calls by which an order is made or made larger.
NOTED_CALLS = ("place_order", "batch_order", "modify_order")
BATCH_ROWS_MAX = 5
TEXT_MAX = 100


class OrderNote(msgspec.Struct, kw_only=True):
    """An order as it was received, and whether it was taken. `worst_lots` counts all open orders, before and after.

    `market_age_ms` is the age of the newest market datum that was sent by then, `market_to_request_us` the time from
    the bytes of that datum to those of the request; null where nothing was sent.
    """

    ts_ns: int
    call: str
    account: str
    client_id: str
    symbol: str
    side: str
    type: str
    effect: str
    price: str
    size: str
    reduce_only: bool
    is_increasing: bool
    accepted: bool = False
    order_id: str = ""
    market_age_ms: float | None = None
    market_to_request_us: float | None = None
    private_stream: dict[str, Any] = {}
    position_lots: int = 0
    worst_lots_before: int = 0
    worst_lots: int = 0
    worst_units: int = 0


class Notes:
    """The orders received, the newest `history_max` of them, and how often each client id was taken."""

    def __init__(self, world: World, sockets: Sockets) -> None:
        self._world = world
        self._sockets = sockets
        self._notes: deque[OrderNote] = deque(maxlen=world.settings.history_max)
        self._taken: Counter[tuple[str, str]] = Counter()

    def receive(self, call: str, account: TestAccount, *, params: Mapping[str, Any], ts_ns: int) -> list[OrderNote]:
        """Note what has just come in, before anything becomes of it."""
        if call not in NOTED_CALLS:
            return []
        listed = params.get("orderList")
        rows = listed[:BATCH_ROWS_MAX] if call == "batch_order" and isinstance(listed, list) else [params]
        notes = [
            self._note(call, account, row={**row, "symbol": row.get("symbol") or params.get("symbol")}, ts_ns=ts_ns)
            for row in rows
            if isinstance(row, dict)
        ]
        self._notes.extend(notes)
        return notes

    def _note(self, call: str, account: TestAccount, *, row: Mapping[str, Any], ts_ns: int) -> OrderNote:
        if call == "modify_order":
            row = self._with_order(account, row)
        symbol = _text(row, "symbol").upper()
        note = OrderNote(
            ts_ns=ts_ns,
            call=call,
            account=account.api_key,
            client_id=_text(row, "clientId"),
            symbol=symbol,
            side=_text(row, "side").upper(),
            type=_text(row, "orderType").upper(),
            effect=_text(row, "effect").upper(),
            price=_text(row, "price"),
            size=_text(row, "qty"),
            reduce_only=_text(row, "reduceOnly").lower() == "true" or _text(row, "tradeSide").upper() == "CLOSE",
            is_increasing=False,
            private_stream=self._sockets.private_health(account.api_key),
        )
        datum_ns, written_ns = self._sockets.newest_datum_ns(), self._sockets.market_written_ns()
        if datum_ns:
            note.market_age_ms = (ts_ns - datum_ns) / NS_PER_MS
            note.market_to_request_us = (ts_ns - written_ns) / 1_000
        if symbol in self._world.symbols:
            worst = self._world.exchange.worst_case(account.number, symbol)
            note.position_lots = worst.position_lots
            note.worst_lots_before = note.worst_lots = worst.worst_lots
            note.worst_units = worst.worst_units
            note.is_increasing = not note.reduce_only and self._increases(note)
        return note

    def _with_order(self, account: TestAccount, row: Mapping[str, Any]) -> dict[str, Any]:
        """A change with what the order that it changes says of itself."""
        exchange, order_id = self._world.exchange, _text(row, "orderId")
        order = exchange.order(account.number, int(order_id)) if order_id.isascii() and order_id.isdigit() else None
        order = order or exchange.order_by_client_id(account.number, _text(row, "clientId"))
        if order is None:
            return dict(row)
        known = {
            "symbol": order.symbol,
            "side": order.side.name,
            "orderType": order.type.value,
            "effect": order.effect.value,
            "clientId": order.client_id,
            "reduceOnly": order.reduce_only,
        }
        return {**row, **known}

    def _increases(self, note: OrderNote) -> bool:
        """Whether it could leave a larger position than there is."""
        side = {"BUY": Side.BUY, "SELL": Side.SELL}.get(note.side)
        if side is None or note.position_lots * side >= 0:
            return True
        instrument = self._world.exchange.listing(note.symbol).instrument
        try:
            lots = instrument.size_lots(note.size, Rounding.UP)
        except (ValueError, ArithmeticError):
            return True
        return lots > abs(note.position_lots)

    def settle(self, notes: Sequence[OrderNote], placed: Sequence[PerpOrder]) -> None:
        """Note which of them were taken: orders of a batch that are refused are not among those placed."""
        waiting = list(placed)
        for note in notes:
            order = next((each for each in waiting if _fits(each, note)), None)
            if order is None:
                continue
            waiting.remove(order)
            note.accepted, note.order_id = True, str(order.order_id)
            if note.call != "modify_order":
                self._taken[note.account, note.client_id or note.order_id] += 1
            worst = self._world.exchange.worst_case(order.account, order.symbol)
            note.worst_lots, note.worst_units = worst.worst_lots, worst.worst_units

    # The ledger.

    def ledger(self) -> dict[str, Any]:
        """Everything, as plain values."""
        world = self._world
        totals = world.exchange.totals()
        return {
            "now_ns": world.now_ns(),
            "accounts": [self._account(account) for account in world.accounts.values()],
            "orders": [self._order_row(note) for note in self._notes],
            "totals": msgspec.to_builtins(totals),
        }

    def _order_row(self, note: OrderNote) -> dict[str, Any]:
        row: dict[str, Any] = msgspec.to_builtins(note)
        return {**row, "times_accepted": self._taken[note.account, note.client_id or note.order_id]}

    def _account(self, account: TestAccount) -> dict[str, Any]:
        exchange, number = self._world.exchange, account.number
        money, books = exchange.account(number), exchange.ledger(number)
        instruments = {symbol: exchange.listing(symbol).instrument for symbol in self._world.symbols}
        units = {
            "cash": money.wallet_units,
            "available": money.available_units,
            "frozen": money.frozen_units,
            "margin": money.margin_units,
            "unrealised": money.unrealised_units,
            "deposits": books.deposits,
            "realised": books.realised,
            "fees": books.fees,
            "funding": books.funding,
        }
        return {
            "api_key": account.api_key,
            **_money(units),
            "positions": [_position(each, instruments[each.symbol]) for each in exchange.positions(number)],
            "net_lots": {symbol: exchange.worst_case(number, symbol).position_lots for symbol in instruments},
            "open_orders": [_open_order(each, instruments[each.symbol]) for each in exchange.open_orders(number)],
            "fills": [_fill(trade, instruments[trade.symbol]) for trade in exchange.trades(number)],
            "closed_positions": [msgspec.to_builtins(each) for each in exchange.closed_positions(number)],
            "triggers": [msgspec.to_builtins(row) for row in exchange.tpsl_rows(number)],
        }


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)[:TEXT_MAX]


def _fits(order: PerpOrder, note: OrderNote) -> bool:
    return order.client_id == note.client_id or note.call == "modify_order"


def _money(units: Mapping[str, int]) -> dict[str, Any]:
    """Each amount as text and in whole units."""
    return {
        **{name: money_text(value) for name, value in units.items()},
        **{f"{name}_units": value for name, value in units.items()},
    }


def _position(position: PerpPosition, instrument: Instrument) -> dict[str, Any]:
    sign = 1 if position.side.value == "LONG" else -1
    units = {
        "cost": position.cost_units,
        "realised": position.realised_units,
        "fees": position.fee_units,
        "funding": position.funding_units,
        "unrealised": position.unrealised_units,
    }
    return {
        "position_id": str(position.position_id),
        "symbol": position.symbol,
        "side": position.side.value,
        "size": instrument.size_text(position.size_lots),
        "lots": sign * position.size_lots,
        **_money(units),
    }


def _open_order(order: PerpOrder, instrument: Instrument) -> dict[str, Any]:
    return {
        "order_id": str(order.order_id),
        "client_id": order.client_id,
        "symbol": order.symbol,
        "side": order.side.name,
        "price": instrument.price_text(order.price_ticks),
        "size": instrument.size_text(order.size_lots),
        "open_lots": order.open_lots,
        "filled_lots": order.filled_lots,
        "reduce_only": order.reduce_only,
        "created_ns": order.created_ns,
    }


def _fill(trade: PerpTrade, instrument: Instrument) -> dict[str, Any]:
    return {
        "trade_id": str(trade.trade_id),
        "order_id": str(trade.order_id),
        "client_id": trade.client_id,
        "position_id": str(trade.position_id),
        "symbol": trade.symbol,
        "side": trade.side.name,
        "price": instrument.price_text(trade.price_ticks),
        "size": instrument.size_text(trade.size_lots),
        "price_ticks": trade.price_ticks,
        "size_lots": trade.size_lots,
        **_money({"fee": trade.fee_units, "realised": trade.realised_units}),
        "is_maker": trade.is_maker,
        "is_busted": trade.is_busted,
        "reduce_only": trade.reduce_only,
        "ts_ns": trade.ts_ns,
    }
