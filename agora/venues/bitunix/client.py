"""All calls to Bitunix that a run needs, public and signed, each with one meaning of its answer.

Reads are tried again within their time. What changes something is sent once: whether to repeat it decides who knows
what it was for. Raises `Refused`, `NotSent`, `InDoubt`, `RateLimited` (venues/rest) and `Malformed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from agora.domain.errors import Transient
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.engine.ports import Clock
from agora.venues.bitunix import wire_account as account_wire
from agora.venues.bitunix import wire_market as market_wire
from agora.venues.bitunix import wire_requests as bodies
from agora.venues.bitunix.caller import Call, Caller, Limit, always
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.signing import Credentials
from agora.venues.bitunix.wire_requests import PlaceRequest, TriggerRequest
from agora.venues.bitunix.wire_rows import total_of
from agora.venues.rest import InDoubt, Network, Refused
from agora.venues.wire_rows import Fields, row_of, rows_of
from agora.venues.wire_values import Malformed

Row = TypeVar("Row")
PAGE_ROWS = 100
# A hundred pages are ten thousand orders or trades: more than a run makes between two looks.
PAGES_MAX = 100
# A list of ours that moves in three readings of seconds each moves because of us: look again later.
PAGED_READS_MAX = 3
KLINES_PER_CALL = 200
KLINE_CALLS_MAX = 100
BATCH_MAX = 5
ORDER_NOT_FOUND = 20007
NOT_FOUND_CODES = frozenset((ORDER_NOT_FOUND, 30011))
INTERVALS = {
    1: "1s", 5: "5s", 15: "15s", 30: "30s", 60: "1m", 180: "3m", 300: "5m", 900: "15m", 1_800: "30m", 3_600: "1h",
    7_200: "2h", 14_400: "4h", 21_600: "6h", 28_800: "8h", 43_200: "12h", 86_400: "1d",
}  # fmt: skip


class _Moved(Transient):
    """A list changed between two of its pages, or they do not fit together."""


class _Paged(msgspec.Struct, Generic[Row], frozen=True):
    """A list that comes in pages: `name` is the field that tells rows apart, `is_bounded`: it takes an end time."""

    path: str
    key: str
    read: Callable[[Fields], Row]
    name: str
    is_bounded: bool = True


_PENDING = _Paged("/trade/get_pending_orders", "orderList", account_wire.order_row, "order_id")
_ENDED = _Paged("/trade/get_history_orders", "orderList", account_wire.order_row, "order_id")
_TRADES = _Paged("/trade/get_history_trades", "tradeList", account_wire.trade_row, "trade_id")
_CLOSED = _Paged("/position/get_history_positions", "positionList", account_wire.history_position_row, "position_id")
_TRIGGERS = _Paged("/tpsl/get_pending_orders", "orderList", account_wire.tpsl_row, "tpsl_id", is_bounded=False)
_PAST_TRIGGERS = _Paged("/tpsl/get_history_orders", "orderList", account_wire.tpsl_row, "tpsl_id")


class BitunixClient:
    """One account (or, without credentials, market data alone) at the address of the settings."""

    def __init__(
        self,
        network: Network,
        credentials: Credentials | None,
        *,
        clock: Clock,
        seed: int,
        settings: BitunixSettings,
    ) -> None:
        self._caller = Caller(network, credentials, clock=clock, seed=seed, settings=settings)
        self._clock = clock
        self._coin = settings.margin_coin

    @property
    def clock_offset_ms(self) -> int:
        """How far the venue's clock is ahead of ours."""
        return self._caller.venue_clock.offset_ms

    async def close(self) -> None:
        """Let go of the connections."""
        await self._caller.close()

    # Market data.

    async def trading_pairs(self, symbols: Sequence[str] = ()) -> list[market_wire.PairRow]:
        """Contracts; without symbols all of them."""
        data = await self._public("/market/trading_pairs", symbols=",".join(symbols))
        return rows_of(data, market_wire.pair_row)

    async def position_tiers(self, symbol: str) -> list[market_wire.TierRow]:
        """Tiers of positions, smallest first."""
        data = await self._public("/position/get_position_tiers", symbol=symbol)
        return sorted(rows_of(data, market_wire.tier_row), key=lambda tier: tier.level)

    async def funding_rate(self, symbol: str) -> market_wire.FundingRow:
        """Funding as it stands."""
        return row_of(await self._public("/market/funding_rate", symbol=symbol), market_wire.funding_row)

    async def funding_rates(self) -> list[market_wire.FundingRow]:
        """Funding of all contracts; those that are no longer listed, whose figures are none, are left out."""
        data = await self._public("/market/funding_rate/batch")
        return [row for row in rows_of(data, market_wire.funding_row) if row.mark_price and row.index_price]

    async def funding_history(
        self, symbol: str, *, start_ms: int, limit: int = 200
    ) -> list[market_wire.FundingHistoryRow]:
        """Settlements since then, oldest first (the venue's word for the start is spelt so)."""
        data = await self._public(
            "/market/get_funding_rate_history", symbol=symbol, starTime=str(start_ms), limit=str(limit)
        )
        return sorted(rows_of(data, market_wire.funding_history_row), key=lambda row: row.time_ms)

    async def klines(self, symbol: str, interval_s: int, *, start_ns: int, end_ns: int) -> list[market_wire.KlineRow]:
        """Closed candles that began within [start, end), in order, each once.

        The venue gives the newest before an end, whatever start is asked for, and its last row may be forming.
        """
        found: dict[int, market_wire.KlineRow] = {}
        step_ms, start_ms = interval_s * 1_000, start_ns // NS_PER_MS
        venue_now_ms = self._clock.now_ns() // NS_PER_MS + self.clock_offset_ms
        end_ms = min(end_ns // NS_PER_MS, venue_now_ms)
        for _ in range(KLINE_CALLS_MAX):
            data = await self._public(
                "/market/kline",
                symbol=symbol,
                interval=INTERVALS[interval_s],
                startTime=str(start_ms),
                endTime=str(end_ms),
                limit=str(KLINES_PER_CALL),
            )
            page = rows_of(data, market_wire.kline_row)
            new = {row.start_ms: row for row in page if row.start_ms % step_ms == 0 and row.start_ms not in found}
            found |= new
            oldest_ms = min(new, default=0)
            if not new or oldest_ms <= start_ms:
                break
            end_ms = oldest_ms
        wanted = range(start_ms, end_ns // NS_PER_MS)
        return [found[at] for at in sorted(found) if at in wanted and at + step_ms <= venue_now_ms]

    async def depth(self, symbol: str, *, limit: str = "15") -> market_wire.DepthRow:
        """The book, of `1`, `5`, `15`, `50` or `max` levels."""
        return row_of(await self._public("/market/depth", symbol=symbol, limit=limit), market_wire.depth_row)

    async def tickers(self, symbols: Sequence[str] = ()) -> list[market_wire.TickerRow]:
        """Prices."""
        return rows_of(await self._public("/market/tickers", symbols=",".join(symbols)), market_wire.ticker_row)

    # The account.

    async def account(self) -> account_wire.AccountRow:
        """Money."""
        return row_of(await self._read("/account", marginCoin=self._coin), account_wire.account_row)

    async def leverage_mode(self, symbol: str) -> account_wire.LeverageRow:
        """How a symbol is traded."""
        data = await self._read("/account/get_leverage_margin_mode", symbol=symbol, marginCoin=self._coin)
        return row_of(data, account_wire.leverage_row)

    async def change_leverage(self, symbol: str, leverage: int) -> None:
        """Set the leverage of a symbol."""
        await self._change(
            "/account/change_leverage", {"symbol": symbol, "marginCoin": self._coin, "leverage": leverage}
        )

    async def change_margin_mode(self, symbol: str, margin_mode: str) -> None:
        """Set CROSS or ISOLATION; refused with an open position or order."""
        body = {"symbol": symbol, "marginCoin": self._coin, "marginMode": margin_mode}
        await self._change("/account/change_margin_mode", body)

    async def change_position_mode(self, position_mode: str) -> None:
        """Set ONE_WAY or HEDGE for the whole account; refused with any open position or order."""
        await self._change("/account/change_position_mode", {"positionMode": position_mode})

    async def adjust_margin(self, symbol: str, *, amount: str, position_id: str) -> None:
        """Add margin to an isolated position, or take some away."""
        body = {"symbol": symbol, "marginCoin": self._coin, "amount": amount, "positionId": position_id}
        await self._change("/account/adjust_position_margin", body, limit=Limit.ACCOUNT_SLOW)

    # Orders.

    async def place(self, request: PlaceRequest, *, is_wanted: Callable[[], bool] = always) -> account_wire.PlaceAnswer:
        """Send an order, once; not at all when it is not wanted any more as its turn comes."""
        call = Call(
            path="/trade/place_order",
            body=bodies.place_body(request),
            raises_risk=not request.reduce_only,
        )
        answer = _taken(await self._caller.once(call, is_wanted=is_wanted), account_wire.place_answer)
        if not answer.order_id:
            raise InDoubt("code 0 without the order's id")
        return answer

    async def batch(self, requests: Sequence[PlaceRequest]) -> account_wire.BatchAnswer:
        """Send up to five orders of one symbol, once."""
        if not 1 <= len(requests) <= BATCH_MAX or len({request.symbol for request in requests}) != 1:
            raise ValueError(f"a batch has one to {BATCH_MAX} orders of one symbol")
        call = Call(
            path="/trade/batch_order",
            limit=Limit.ACCOUNT_SINGLE,
            body=bodies.batch_body(list(requests)),
            raises_risk=not all(request.reduce_only for request in requests),
        )
        return _taken(await self._caller.once(call), account_wire.batch_answer)

    async def cancel(self, symbol: str, *, order_id: str = "", client_id: str = "") -> None:
        """Ask for the cancel of one order; raises `Refused` where the venue does not take it."""
        answer = await self.cancel_several(symbol, [(order_id, client_id)])
        if answer.failed:
            raise Refused(answer.failed[0].code, answer.failed[0].message)

    async def cancel_several(self, symbol: str, ids: Sequence[tuple[str, str]]) -> account_wire.BatchAnswer:
        """Ask for the cancel of orders by (order id, client id)."""
        body = bodies.cancel_body(symbol, list(ids))
        data = await self._change("/trade/cancel_orders", body, limit=Limit.ACCOUNT_SLOW, is_cancel=True)
        return _taken(data, account_wire.batch_answer)

    async def cancel_all(self, symbol: str = "") -> account_wire.BatchAnswer:
        """Ask for the cancel of everything, or of everything in a symbol."""
        body = {"symbol": symbol} if symbol else {}
        return _taken(await self._change("/trade/cancel_all_orders", body, is_cancel=True), account_wire.batch_answer)

    async def modify(
        self,
        *,
        order_id: str,
        qty: str,
        price: str,
        raises_risk: bool = False,
        is_wanted: Callable[[], bool] = always,
    ) -> account_wire.PlaceAnswer:
        """Give an order another size and price; not at all when that is not wanted any more as its turn comes."""
        body = bodies.modify_body(order_id=order_id, qty=qty, price=price)
        call = Call(path="/trade/modify_order", body=body, raises_risk=raises_risk)
        return _taken(await self._caller.once(call, is_wanted=is_wanted), account_wire.place_answer)

    async def pending_orders(self, symbol: str = "") -> list[account_wire.OrderRow]:
        """Open orders, newest first."""
        return await self._all(_PENDING, symbol=symbol)

    async def history_orders(
        self, symbol: str = "", *, start_ms: int = 0, include_cancelled: bool = True
    ) -> list[account_wire.OrderRow]:
        """Ended orders, newest first. Without being asked for them the venue leaves cancelled ones out."""
        return await self._all(
            _ENDED,
            symbol=symbol,
            startTime=str(start_ms) if start_ms else "",
            queryCanceled="true" if include_cancelled else "",
        )

    async def order_detail(self, *, order_id: str = "", client_id: str = "") -> account_wire.OrderRow | None:
        """One order by either id; None where the venue does not find it, which is not yet final."""
        query = {"orderId": order_id} if order_id else {"clientId": client_id}
        try:
            data = await self._read("/trade/get_order_detail", **query)
        except Refused as fault:
            if fault.code in NOT_FOUND_CODES:
                return None
            raise
        return None if data is None else row_of(data, account_wire.order_row)

    async def trades(self, symbol: str = "", *, order_id: str = "", start_ms: int = 0) -> list[account_wire.TradeRow]:
        """Our trades, newest first."""
        return await self._all(
            _TRADES,
            symbol=symbol,
            orderId=order_id,
            startTime=str(start_ms) if start_ms else "",
        )

    # Positions.

    async def positions(self, symbol: str = "") -> list[account_wire.PositionRow]:
        """Open positions."""
        data = await self._read("/position/get_pending_positions", symbol=symbol)
        return [row for row in rows_of(data, account_wire.position_row) if row.qty]

    async def history_positions(self, symbol: str = "", *, start_ms: int = 0) -> list[account_wire.HistoryPositionRow]:
        """Closed positions, newest first."""
        return await self._all(
            _CLOSED,
            symbol=symbol,
            startTime=str(start_ms) if start_ms else "",
        )

    async def close_position(self, position_id: str) -> None:
        """Close one position at the market."""
        body = {"positionId": position_id}
        await self._change("/trade/flash_close_position", body, limit=Limit.ACCOUNT_SLOW, is_cancel=True)

    async def close_all(self, symbol: str = "") -> None:
        """Close all positions at the market, or those in a symbol."""
        body = {"symbol": symbol} if symbol else {}
        await self._change("/trade/close_all_position", body, limit=Limit.ACCOUNT_SINGLE, is_cancel=True)

    # Triggers.

    async def place_tpsl(self, *, symbol: str, position_id: str, sl_price: str, sl_qty: str, sl_stop_type: str) -> str:
        """Let a trigger close so much of a position at the market; returns the venue's name of it."""
        request = TriggerRequest(sl_price=sl_price, sl_qty=sl_qty, sl_stop_type=sl_stop_type)
        body = bodies.trigger_body(request, symbol=symbol, positionId=position_id)
        return await self._trigger("/tpsl/place_order", body)

    async def place_position_tpsl(self, symbol: str, position_id: str, request: TriggerRequest) -> str:
        """Let a trigger close whatever a position holds then; one a position."""
        body = bodies.trigger_body(request, symbol=symbol, positionId=position_id)
        return await self._trigger("/tpsl/position/place_order", body)

    async def modify_tpsl(self, tpsl_id: str, *, sl_price: str, sl_qty: str, sl_stop_type: str) -> str:
        """Move a trigger."""
        request = TriggerRequest(sl_price=sl_price, sl_qty=sl_qty, sl_stop_type=sl_stop_type)
        return await self._trigger("/tpsl/modify_order", bodies.trigger_body(request, orderId=tpsl_id))

    async def cancel_tpsl(self, symbol: str, tpsl_id: str) -> str:
        """Remove a trigger."""
        return await self._trigger("/tpsl/cancel_order", {"symbol": symbol, "orderId": tpsl_id}, is_cancel=True)

    async def tpsl_pending(self, symbol: str = "") -> list[account_wire.TpslRow]:
        """Triggers that wait."""
        return await self._all(_TRIGGERS, symbol=symbol)

    async def tpsl_history(self, symbol: str = "", *, start_ms: int = 0) -> list[account_wire.TpslRow]:
        """Triggers that are over, newest first."""
        return await self._all(
            _PAST_TRIGGERS,
            symbol=symbol,
            startTime=str(start_ms) if start_ms else "",
        )

    # How calls are made.

    async def _public(self, path: str, **query: str) -> Any:
        return await self._caller.read(Call(path=path, limit=Limit.ADDRESS, query=query, is_signed=False))

    async def _read(self, path: str, **query: str) -> Any:
        return await self._caller.read(Call(path=path, query=query))

    async def _change(
        self, path: str, body: Mapping[str, Any], *, limit: Limit = Limit.ACCOUNT, is_cancel: bool = False
    ) -> Any:
        return await self._caller.once(Call(path=path, limit=limit, body=body, is_cancel=is_cancel))

    async def _trigger(self, path: str, body: Mapping[str, Any], *, is_cancel: bool = False) -> str:
        return _taken(await self._change(path, body, is_cancel=is_cancel), account_wire.place_answer).order_id

    async def _all(self, paged: _Paged[Row], **query: str) -> list[Row]:
        """All rows of a paged list; read again when it moved meanwhile. Raises `Transient` when it always did."""
        for _ in range(PAGED_READS_MAX - 1):
            try:
                return await self._all_at_once(paged, query)
            except _Moved:
                continue
        return await self._all_at_once(paged, query)

    async def _all_at_once(self, paged: _Paged[Row], query: Mapping[str, str]) -> list[Row]:
        """One reading of all pages, under one fixed end; refused where pages do not fit together."""
        end_ms = self._clock.now_ns() // NS_PER_MS + self.clock_offset_ms + NS_PER_S // NS_PER_MS
        fixed = {**query, "endTime": str(end_ms) if paged.is_bounded else "", "limit": str(PAGE_ROWS)}
        found: dict[str, Row] = {}
        first_total: int | None = None
        for page in range(PAGES_MAX):
            data = await self._read(paged.path, **fixed, skip=str(page * PAGE_ROWS))
            page_rows, total = rows_of(data, paged.read, paged.key), total_of(data)
            if page and total != first_total:
                raise _Moved(f"{paged.path}: the list changed while it was read ({first_total} rows, then {total})")
            first_total = total
            known = len(found)
            found |= {getattr(row, paged.name): row for row in page_rows}
            if len(found) != known + len(page_rows):
                raise _Moved(f"{paged.path}: a row came twice")
            is_last = len(page_rows) < PAGE_ROWS
            if is_last and total is not None and len(found) != total:
                raise _Moved(f"{paged.path}: {len(found)} rows of {total}")
            if is_last or len(found) == total:
                return list(found.values())
        raise Malformed(f"{paged.path}: more than {PAGES_MAX * PAGE_ROWS} rows")


def _taken(data: object, read: Callable[[Fields], Row]) -> Row:
    """The answer to what changes something: one that cannot be read leaves it in doubt."""
    try:
        return row_of(data, read)
    except Malformed as fault:
        raise InDoubt(f"code 0 with an answer that says nothing: {fault}") from None


__all__ = ["INTERVALS", "BitunixClient", "Credentials", "PlaceRequest"]
