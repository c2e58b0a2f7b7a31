"""A readable twin of the fill kernel: the same rules over objects and lists, written to be checked by eye.

It answers every call with a list of rows. Speed does not matter here; agreement with the kernel does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agora.kernels import fills as k
from tests.kernels.fills_twin_market import Level, Market

PPM = 1_000_000
Row = tuple[int, int, int, int, int, int]


@dataclass(eq=False)
class Order:
    """One order at the venue. `queue` and `shown` are None while they cannot be seen."""

    order_id: int
    side: int
    kind: int
    tif: int
    flags: int
    price: int
    trigger: int
    lots: int
    expire_ts: int
    parent_id: int
    filled: int = 0
    triggered: bool = False
    ended: bool = False
    fresh: bool = False
    queue: int | None = None
    shown: int | None = None
    traded: int = 0

    @property
    def reduce_only(self) -> bool:
        """Whether the order may only shrink the position."""
        return bool(self.flags & k.REDUCE_ONLY)

    @property
    def is_active(self) -> bool:
        """Whether there is something to fill."""
        return not self.ended and self.lots > 0

    def accepts(self, price: int) -> bool:
        """Whether a limit order would trade at this price."""
        return price <= self.price if self.side == k.BUY else price >= self.price


class Twin:
    """The paper venue of one instrument."""

    def __init__(
        self,
        *,
        order_capacity: int = 64,
        level_capacity: int = 1000,
        half_spread_ppm: int = 500,
        participation_ppm: int = 100_000,
        cancel_ahead_ppm: int = 500_000,
        rows: int = 384,
    ) -> None:
        """Start without orders, position or market; `rows` is the number of rows of the kernel's output."""
        self.capacity = order_capacity
        self.participation_ppm = participation_ppm
        self.cancel_ahead_ppm = cancel_ahead_ppm
        self.row_limit = rows
        self.market = Market(half_spread_ppm, level_capacity)
        self.orders: list[Order] = []
        self.ended: deque[tuple[int, int]] = deque(maxlen=order_capacity)
        self.position = 0
        self.volume_left = {k.TRADES: 0, k.CANDLES: 0}
        self.ts = 0
        self.event = 0
        self.rows: list[Row] = []

    # Calls

    def arrive(
        self, ts: int, order_id: int, side: int, kind: int, tif: int, flags: int, price: int, trigger: int,
        size: int, expire_ts: int, parent_id: int,
    ) -> list[Row]:  # fmt: skip
        """Let an order reach the venue."""
        self._begin(ts)
        order = Order(order_id, side, kind, tif, flags, price, trigger, size, expire_ts, parent_id)
        reason = self._refusal(order)
        if reason:
            self._say(k.REJECTED, order_id, price, size, reason, 0)
            return self._finish()
        if tif != k.GTD and (parent_id or kind in (k.STOP, k.TAKE_PROFIT)):
            order.tif = k.GTC
        self.orders.append(order)
        self._say(k.ACCEPTED, order_id, price, order.lots, 0, order.lots)
        self._sweep()
        self._enter(order)
        return self._finish()

    def cancel(self, ts: int, order_id: int) -> list[Row]:
        """Cancel one order."""
        self._begin(ts)
        order = self._live(order_id)
        if order:
            self._close(order, k.CANCELLED, k.REQUESTED)
        else:
            self._say(k.CANCEL_REJECTED, order_id, 0, 0, self._why_missing(order_id), 0)
        return self._finish()

    def cancel_all(self, ts: int) -> list[Row]:
        """Cancel all orders."""
        self._begin(ts)
        for order in self.orders:
            self._close(order, k.CANCELLED, k.REQUESTED)
        return self._finish()

    def amend(self, ts: int, order_id: int, price: int, trigger: int, size: int) -> list[Row]:
        """Change an order."""
        self._begin(ts)
        order = self._live(order_id)
        if order is None:
            self._say(k.AMEND_REJECTED, order_id, price, size, self._why_missing(order_id), 0)
            return self._finish()
        reason = 0
        if min(price, trigger, size) < 0:
            reason = k.INVALID
        elif order.triggered:
            reason = k.ALREADY_DONE
        elif order.kind == k.LIMIT and price and order.lots and order.flags & k.POST_ONLY:
            reason = k.POST_ONLY_WOULD_CROSS if self._would_cross(order.side, price) else 0
        if reason:
            self._say(k.AMEND_REJECTED, order_id, price, size, reason, order.lots)
            return self._finish()
        before = (order.price, order.trigger, order.lots)
        order.price, order.trigger = price or order.price, trigger or order.trigger
        order.lots = (size or order.lots) if order.lots else 0
        self._say(k.AMENDED, order_id, order.price, order.lots, 0, order.lots)
        if before[:2] != (order.price, order.trigger) or order.lots > before[2]:
            self.orders.remove(order)
            self.orders.append(order)
            self._enter(order)
        return self._finish()

    def advance(self, ts: int) -> list[Row]:
        """Let time pass."""
        self._begin(ts)
        return self._finish()

    def on_candle(self, ts: int, open_: int, high: int, low: int, close: int, volume: int) -> list[Row]:
        """Work one closed bar."""
        self._begin(ts)
        if not 0 < low <= min(open_, close) <= max(open_, close) <= high or volume < 0:
            return self._finish()
        self.market.close = close
        if self.market.level != k.CANDLES:
            return self._finish()
        self.volume_left[k.CANDLES] = volume * self.participation_ppm // PPM
        for order in list(self.orders):
            if self._works_as_market(order) and not order.fresh:
                self._share(order, self.market.worse(open_, order.side), taker=1)
        self._stop_out(open_, high, low)
        for order in list(self.orders):
            passed = low < order.trigger if order.side == k.BUY else high > order.trigger
            if self._waits(order, k.TAKE_PROFIT) and not order.fresh and passed:
                self._fire(order)
                self._share(order, self.market.worse(order.trigger, order.side), taker=1)
        self._each_resting(k.BUY, lambda o: o.price > low, lambda o: self._share(o, o.price, taker=0))
        self._each_resting(k.SELL, lambda o: o.price < high, lambda o: self._share(o, o.price, taker=0))
        self._stop_out(open_, high, low)
        return self._finish()

    def on_quote(self, ts: int, bid: int, bid_size: int, ask: int, ask_size: int) -> list[Row]:
        """Work a quote."""
        self._begin(ts)
        if 0 < ask < bid:
            return self._finish()
        self.market.has_quote = True
        for side, price, size in ((k.BUY, bid, bid_size), (k.SELL, ask, ask_size)):
            self._report_touch(side, price, size)
        if self.market.level == k.QUOTES:
            self._work_book()
        return self._finish()

    def on_trade(self, ts: int, price: int, size: int, aggressor: int) -> list[Row]:
        """Work a trade."""
        self._begin(ts)
        if price <= 0 or size <= 0:
            return self._finish()
        self.market.trade = price
        self.volume_left[k.TRADES] = size * self.participation_ppm // PPM
        self._trigger_and_take(price)
        has_book = self.market.level >= k.QUOTES
        flow = size if has_book else self.volume_left[k.TRADES]
        for side in (k.BUY, k.SELL):
            flow = self._flow_to(side, price, size, aggressor, flow, has_book=has_book)
        if not has_book:
            self.volume_left[k.TRADES] = flow
        self._trigger_and_take(price)
        return self._finish()

    def on_depth(self, ts: int, rows: Iterable[tuple[int, int, int]], *, is_snapshot: bool) -> list[Row]:
        """Work level changes."""
        self._begin(ts)
        if is_snapshot or self.market.has_depth:
            self.market.has_depth = True
            self.market.snapshot_rows(rows, self.event, is_snapshot=is_snapshot)
            self._work_book()
        return self._finish()

    def depth_lost(self) -> None:
        """Forget the book."""
        self.market.has_depth = False
        self.market.books = {k.BUY: {}, k.SELL: {}}

    # One call: beginning, rows, end

    def _begin(self, ts: int) -> None:
        assert ts >= self.ts, f"time went back from {self.ts} to {ts}"
        self.ts = ts
        self.event += 1
        self.rows = []
        for order in self.orders:
            order.fresh = False
            if order.tif == k.GTD and order.expire_ts <= ts:
                self._close(order, k.EXPIRED, 0)
        self._sweep()
        self._finish()

    def _finish(self) -> list[Row]:
        if any(order.ended for order in self.orders):
            self._free_orphans()
            self.orders = [order for order in self.orders if not order.ended]
        return self.rows

    def _free_orphans(self) -> None:
        again = True
        while again:
            again = False
            for order in self.orders:
                if order.ended or not order.parent_id or self._live(order.parent_id):
                    continue
                order.parent_id = 0
                if order.lots == 0:
                    self._close(order, k.CANCELLED, k.PARENT_GONE)
                    again = True

    def _say(self, *row: int) -> None:
        self.rows.append(row)  # type: ignore[arg-type]

    def _has_room(self) -> bool:
        return len(self.rows) + 4 * len(self.orders) + 16 <= self.row_limit

    # Orders

    def _live(self, order_id: int) -> Order | None:
        return next((o for o in self.orders if o.order_id == order_id and not o.ended), None)

    def _filled_before_end(self, order_id: int) -> int | None:
        return next((filled for ended_id, filled in reversed(self.ended) if ended_id == order_id), None)

    def _why_missing(self, order_id: int) -> int:
        return k.UNKNOWN_ORDER if self._filled_before_end(order_id) is None else k.ALREADY_DONE

    def _end(self, order: Order) -> None:
        order.ended = True
        self.ended.append((order.order_id, order.filled))

    def _close(self, order: Order, code: int, reason: int) -> None:
        self._say(code, order.order_id, order.price, order.lots, reason, 0)
        order.lots = 0
        self._end(order)

    def _refusal(self, order: Order) -> int:
        malformed = (
            order.order_id <= 0
            or order.parent_id < 0
            or order.parent_id == order.order_id
            or order.side not in (k.BUY, k.SELL)
            or order.kind not in (k.LIMIT, k.MARKET, k.STOP, k.TAKE_PROFIT)
            or order.tif not in (k.GTC, k.IOC, k.FOK, k.GTD)
            or (order.kind == k.LIMIT and order.price <= 0)
            or (order.kind in (k.STOP, k.TAKE_PROFIT) and order.trigger <= 0)
            or (order.lots <= 0 and not order.parent_id)
        )
        if malformed:
            return k.INVALID
        if order.tif == k.GTD and order.expire_ts <= self.ts:
            return k.EXPIRED_ON_ARRIVAL
        if self._live(order.order_id):
            return k.DUPLICATE_ID
        if order.parent_id:
            parent = self._live(order.parent_id)
            order.lots = parent.filled if parent else self._filled_before_end(order.parent_id) or 0
            if not parent and not order.lots:
                return k.PARENT_GONE
        if len(self.orders) >= self.capacity:
            return k.CAPACITY
        if not order.parent_id and order.reduce_only and self.position * order.side >= 0:
            return k.REDUCE_ONLY_NO_POSITION
        if not order.parent_id and order.kind == k.MARKET and not self.market.price_for(order.side):
            return k.NO_MARKET
        if order.kind == k.LIMIT and order.lots and order.flags & k.POST_ONLY:
            return k.POST_ONLY_WOULD_CROSS if self._would_cross(order.side, order.price) else 0
        return 0

    def _would_cross(self, side: int, price: int) -> bool:
        if self.market.level == k.TRADES:
            return (price - self.market.trade) * side > 0
        offered = self.market.price_for(side)
        return offered > 0 and (price - offered) * side >= 0

    def _wanted(self, order: Order) -> int:
        if order.ended:
            return 0
        if order.reduce_only:
            return max(0, min(order.lots, -self.position * order.side))
        return order.lots

    def _fill(self, order: Order, price: int, lots: int, taker: int) -> None:
        order.lots -= lots
        order.filled += lots
        self.position += order.side * lots
        self._say(k.FILL, order.order_id, price, lots, taker, order.lots)
        for leg in self.orders:
            if leg.parent_id == order.order_id and not leg.ended:
                leg.triggered = leg.triggered and leg.lots > 0
                leg.lots += lots
                leg.queue = leg.shown = None
                leg.traded = 0
                leg.fresh = True
        if order.lots == 0 and not (order.parent_id and self._live(order.parent_id)):
            self._end(order)
        self._sweep()

    def _sweep(self) -> None:
        for order in self.orders:
            if not (order.reduce_only and order.is_active and self.position * order.side >= 0):
                continue
            if order.parent_id and self._live(order.parent_id):
                order.lots = 0
                self._say(k.AMENDED, order.order_id, order.price, 0, k.REDUCE_ONLY_FLAT, 0)
            else:
                self._close(order, k.CANCELLED, k.REDUCE_ONLY_FLAT)

    # Taking

    def _enter(self, order: Order) -> None:
        if not order.is_active:
            return
        if order.kind in (k.STOP, k.TAKE_PROFIT):
            if self._is_hit(order, None):
                self._fire(order)
                self._take(order)
            return
        if order.tif == k.FOK and self._takeable(order) < self._wanted(order):
            self._close(order, k.CANCELLED, k.FOK_NOT_FILLABLE)
            return
        self._take(order)
        if order.ended:
            return
        if order.tif in (k.IOC, k.FOK):
            self._close(order, k.CANCELLED, k.IOC_REMAINDER)
            return
        order.queue = order.shown = self.market.shown_at(order.side, order.price)
        order.traded = 0

    def _accepts(self, order: Order, price: int) -> bool:
        return order.kind != k.LIMIT or order.accepts(price)

    def _takeable(self, order: Order) -> int:
        if self.market.level < k.QUOTES:
            price = self.market.price_for(order.side)
            return self.volume_left[self.market.level] if price and self._accepts(order, price) else 0
        rows = self.row_limit - 16 - 4 * len(self.orders) - len(self.rows) + 1
        total = 0
        for number, (price, _, lots) in enumerate(self._offers_with_used(order.side)):
            if number >= rows or not self._accepts(order, price):
                break
            total += lots
        return total

    def _offers_with_used(self, side: int) -> Iterator[tuple[int, Level, int]]:
        """As `offers`, but a used-up level of the book counts too: the kernel counts levels, not fills."""
        if self.market.level == k.DEPTH:
            for price in self.market.sorted_prices(-side):
                level = self.market.books[-side][price]
                yield price, level, level.size - level.used
        else:
            yield from self.market.offers(side)

    def _take(self, order: Order) -> None:
        if self.market.level < k.QUOTES:
            price = self.market.price_for(order.side)
            if price and self._accepts(order, price):
                self._share(order, price, taker=1)
            return
        for price, level, free in list(self.market.offers(order.side)):
            lots = min(free, self._wanted(order))
            if lots == 0 or not self._accepts(order, price) or not self._has_room():
                return
            level.used += lots
            self._fill(order, price, lots, 1)

    def _share(self, order: Order, price: int, *, taker: int) -> None:
        """Fill from our share of the traded volume."""
        lots = min(self._wanted(order), self.volume_left[self.market.level])
        if lots > 0 and self._has_room():
            self.volume_left[self.market.level] -= lots
            self._fill(order, price, lots, taker)

    # Triggers

    def _waits(self, order: Order, kind: int) -> bool:
        return order.is_active and order.kind == kind and not order.triggered

    def _works_as_market(self, order: Order) -> bool:
        return not order.ended and (order.kind == k.MARKET or order.triggered)

    def _is_hit(self, order: Order, trade: int | None) -> bool:
        if self.market.level >= k.QUOTES:
            touch = self.market.touch(-order.side)
            seen = [price for price in (touch, trade if order.kind == k.STOP else 0) if price]
        else:
            seen = [self.market.base] if self.market.base else []
            if order.kind == k.TAKE_PROFIT:  # strictly beyond, and only by trades
                seen = [p for p in seen if p != order.trigger and self.market.level == k.TRADES]
        towards = order.side if order.kind == k.STOP else -order.side
        return any((price - order.trigger) * towards >= 0 for price in seen)

    def _fire(self, order: Order) -> None:
        order.triggered = True
        self._say(k.TRIGGERED, order.order_id, order.trigger, order.lots, 0, order.lots)

    def _trigger_and_take(self, trade: int | None) -> None:
        for order in self.orders:
            may_fire = self._waits(order, k.STOP) or (self._waits(order, k.TAKE_PROFIT) and not order.fresh)
            if may_fire and self._is_hit(order, trade):
                self._fire(order)
        for order in list(self.orders):
            if self._works_as_market(order):
                self._take(order)

    def _stop_out(self, open_: int, high: int, low: int) -> None:
        for order in list(self.orders):
            if not self._waits(order, k.STOP):
                continue
            if order.side == k.SELL and low <= order.trigger:
                base = min(order.trigger, open_)
            elif order.side == k.BUY and high >= order.trigger:
                base = max(order.trigger, open_)
            else:
                continue
            self._fire(order)
            self._share(order, self.market.worse(base, order.side), taker=1)

    # Resting orders

    def _report_touch(self, side: int, price: int, size: int) -> None:
        touch = self.market.touches[side]
        if price <= 0 or size <= 0:
            price = size = 0
        if price != touch.price:
            touch.price, touch.used = price, 0
        touch.report(size)

    def _work_book(self) -> None:
        for order in self.orders:
            if order.kind == k.LIMIT:
                self._observe(order)
        self._trigger_and_take(None)
        for side in (k.BUY, k.SELL):
            touch = self.market.touch(-side)
            if touch:
                self._each_resting(side, lambda o, touch=touch: o.accepts(touch), self._meet)
        self._trigger_and_take(None)

    def _observe(self, order: Order) -> None:
        shown = self.market.shown_at(order.side, order.price)
        before, order.shown = order.shown, shown
        if shown is None:
            order.traded = 0
            return
        if order.queue is None:
            order.queue = shown
            return
        if before is not None and before > shown:
            explained = min(order.traded, before - shown)
            order.traded -= explained
            cancels = before - shown - explained
            if max(cancels, order.queue) <= 3_000_000_000:
                order.queue -= cancels * order.queue // before * self.cancel_ahead_ppm // PPM
        order.queue = min(order.queue, shown)

    def _each_resting(self, side: int, is_reached: Callable[[Order], bool], act: Callable[[Order], None]) -> None:
        """Serve the reached resting orders of a side by price, then time."""
        seen: list[Order] = []
        while True:
            waiting = [
                o
                for o in self.orders
                if o.kind == k.LIMIT and o.side == side and o.is_active and not o.fresh and is_reached(o)
            ]
            waiting = [o for o in waiting if not any(o is other for other in seen)]
            if not waiting:
                return
            best = min(waiting, key=lambda o: -o.price * side)  # the first of equals, which is the oldest
            seen.append(best)
            act(best)

    def _meet(self, order: Order) -> None:
        """Fill at the order's own price from the displayed lots that cross it."""
        if not self._has_room():
            return
        wanted, used = self._wanted(order), 0
        reachable = list(self.market.offers(order.side))
        if self.market.level == k.QUOTES:
            reachable = [offer for offer in reachable if offer[0] == self.market.touch(-order.side)]
        for price, level, free in reachable:
            if not order.accepts(price):
                break
            lots = min(free, wanted - used)
            level.used += lots
            used += lots
        if used:
            self._fill(order, order.price, used, 0)

    def _flow_to(self, side: int, price: int, size: int, aggressor: int, flow: int, *, has_book: bool) -> int:
        """Let a trade flow to the orders of a side and return what is left of it."""
        left = [flow]

        def serve(order: Order) -> None:
            queue = 0
            if order.price == price:
                if aggressor == side:
                    return
                order.traded += size
                if order.queue is None:
                    return
                queue = order.queue
                order.queue = max(0, queue - left[0])
            else:
                order.queue = 0
            lots = min(self._wanted(order), left[0] - queue)
            if lots > 0 and self._has_room():
                left[0] -= lots
                self._fill(order, order.price, lots, 0)

        def is_reached(order: Order) -> bool:
            return (order.price - price) * side >= (0 if has_book else 1)

        self._each_resting(side, is_reached, serve)
        return left[0]
