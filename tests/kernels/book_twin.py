"""A plain order book with the rules of the matching kernel, written to be read: dictionaries, queues, loops.

It answers the same rows. What it cannot do is be fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from agora.kernels import matching as k

Row = tuple[int, ...]
Command = tuple[int, ...]  # as `k.run_stream` takes them


@dataclass(eq=False)
class Order:
    """An order as it stands."""

    order_id: int
    owner: int
    side: int
    type: int
    tif: int
    flags: int
    price: int
    trigger: int
    remaining: int
    expire_ts: int
    self_trade: int
    is_reached: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether it is a stop or take-profit that has not become active."""
        return bool(self.flags & k.WAITING)

    @property
    def is_market(self) -> bool:
        """Whether it takes any price."""
        return self.price == 0

    def accepts(self, price: int) -> bool:
        """Whether it would trade at that price of the other side."""
        return self.is_market or price * self.side <= self.price * self.side

    def is_reached_by(self, price: int) -> bool:
        """Whether a last price of `price` triggers it."""
        if (self.side == k.BUY) == (self.type == k.STOP):
            return price >= self.trigger
        return 0 < price <= self.trigger


class BookTwin:
    """The book; each command returns the rows it causes."""

    def __init__(self, order_capacity: int, owner_capacity: int) -> None:
        """Start empty."""
        self.order_capacity = order_capacity
        self.owner_capacity = owner_capacity
        self.orders: dict[int, Order] = {}  # all that live, the oldest first
        self.queues: dict[int, dict[int, deque[Order]]] = {k.BUY: {}, k.SELL: {}}
        self.last = 0
        self.rows: list[Row] = []

    def play(self, command: Command) -> list[Row]:
        """Do one command and whatever it triggers."""
        self.rows = []
        op, order_id, owner, side, kind, tif, flags, price, trigger, size, expire_ts, self_trade, now = command
        if op == k.OP_SUBMIT:
            order = Order(order_id, owner, side, kind, tif, flags, price, trigger, size, expire_ts, self_trade)
            self._submit(order, now)
        elif op == k.OP_CANCEL:
            self._cancel(order_id, owner)
        elif op == k.OP_CANCEL_ALL:
            self._cancel_all(owner)
        elif op == k.OP_REPLACE:
            self._replace(order_id, owner, price, size)
        elif op == k.OP_EXPIRE:
            self._expire(now)
        elif op == k.OP_REDUCE:
            self._reduce(order_id, owner, size)
        if any(row[k.CODE] == k.FILL for row in self.rows):
            self._activate_reached()
        return self.rows

    def depth(self, side: int) -> list[tuple[int, int, int]]:
        """Price, lots and number of orders of each level, best first."""
        queues = self.queues[side]
        return [
            (price, sum(order.remaining for order in queues[price]), len(queues[price]))
            for price in sorted(queues, reverse=side == k.BUY)
        ]

    def _say(self, code: int, order: Order, *, size: int, remaining: int, reason: int = k.NO_REASON) -> None:
        attributes = (order.order_id, order.owner, order.side, order.flags, order.price)
        self.rows.append((code, reason, *attributes, size, remaining, 0, 0, 0, 0))

    def _say_met(self, code: int, taker: Order, maker: Order, lots: int) -> None:
        attributes = (taker.order_id, taker.owner, taker.side, taker.flags, maker.price, lots, taker.remaining)
        resting = (maker.order_id, maker.owner, maker.remaining, maker.flags)
        self.rows.append((code, k.NO_REASON, *attributes, *resting))

    def _refuse(self, code: int, reason: int, order_id: int, owner: int, price: int = 0, size: int = 0) -> None:
        self.rows.append((code, reason, order_id, owner, 0, 0, price, size, 0, 0, 0, 0, 0))

    # New orders.

    def _submit(self, order: Order, now: int) -> None:
        reason = self._refusal(order, now)
        if reason != k.NO_REASON:
            self._say(k.REJECTED, order, size=order.remaining, remaining=0, reason=reason)
            return
        is_conditional = order.type in (k.STOP, k.TAKE_PROFIT)
        if is_conditional and not order.is_reached_by(self.last):
            order.flags |= k.WAITING
        self._say(k.ACCEPTED, order, size=order.remaining, remaining=order.remaining)
        self.orders[order.order_id] = order
        if order.is_waiting:
            return
        if is_conditional:
            self._say(k.TRIGGERED, order, size=order.remaining, remaining=order.remaining)
        self._trade(order)

    def _refusal(self, order: Order, now: int) -> int:
        conditional = order.type in (k.STOP, k.TAKE_PROFIT)
        immediate = order.tif in (k.IOC, k.FOK)
        rests = conditional or (order.type == k.LIMIT and not immediate)
        post_only = bool(order.flags & k.POST_ONLY)
        known = (
            order.side in (k.BUY, k.SELL)
            and order.order_id > 0
            and order.flags in range(4)
            and order.type in (k.LIMIT, k.MARKET, k.STOP, k.TAKE_PROFIT)
            and order.tif in (k.GTC, k.IOC, k.FOK, k.GTD)
            and order.self_trade in (k.CANCEL_NEWEST, k.CANCEL_OLDEST, k.CANCEL_BOTH, k.DECREMENT)
        )
        price_fits = {k.LIMIT: order.price > 0, k.MARKET: order.price == 0}.get(order.type, order.price >= 0)
        rules = (
            (k.UNKNOWN_ACCOUNT, order.owner not in range(self.owner_capacity)),
            (k.BAD_COMBINATION, not known),
            (k.BAD_SIZE, order.remaining <= 0),
            (k.BAD_PRICE, not price_fits),
            (k.BAD_TRIGGER, order.trigger <= 0 if conditional else order.trigger != 0),
            (k.BAD_EXPIRY, order.expire_ts <= now if order.tif == k.GTD else order.expire_ts != 0),
            (k.TOO_LARGE, max(order.remaining, order.price, order.trigger) > k.NUMBER_MAX),
            (k.BAD_COMBINATION, post_only and (order.is_market or immediate)),
            (k.DUPLICATE_ID, order.order_id in self.orders),
            (k.CAPACITY, rests and len(self.orders) == self.order_capacity),
            (k.POST_ONLY_WOULD_CROSS, not conditional and post_only and self._would_cross(order)),
            (k.FOK_NOT_FILLABLE, not conditional and order.tif == k.FOK and not self._fills_whole(order)),
        )
        return next((reason for reason, holds in rules if holds), k.NO_REASON)

    # Trading.

    def _counterparts(self, order: Order) -> Iterator[Order]:
        """What the order could trade with, in order of priority."""
        queues = self.queues[-order.side]
        for price in sorted(queues, reverse=order.side == k.SELL):
            if not order.accepts(price):
                return
            yield from tuple(queues[price])

    def _would_cross(self, order: Order) -> bool:
        return next(self._counterparts(order), None) is not None

    def _fills_whole(self, order: Order) -> bool:
        """Whether others offer all its lots before its own owner's orders end it."""
        lots = 0
        for maker in self._counterparts(order):
            if maker.owner != order.owner:
                lots += maker.remaining
            elif order.self_trade != k.CANCEL_OLDEST:
                break
        return lots >= order.remaining

    def _trade(self, order: Order) -> None:
        """Let an active order that stands in no queue trade, then rest or end."""
        reason = self._match(order)
        if order.remaining == 0:
            del self.orders[order.order_id]
        elif reason == k.NO_REASON:
            self.queues[order.side].setdefault(order.price, deque()).append(order)
        else:
            del self.orders[order.order_id]
            self._say(k.CANCELLED, order, size=order.remaining, remaining=0, reason=reason)

    def _match(self, order: Order) -> int:
        """Trade; return why what is left may not rest."""
        if order.flags & k.POST_ONLY and self._would_cross(order):
            return k.POST_ONLY_WOULD_CROSS
        if order.tif == k.FOK and not self._fills_whole(order):
            return k.FOK_NOT_FILLABLE
        for maker in self._counterparts(order):
            if order.remaining == 0:
                break
            if maker.owner == order.owner:
                if self._meet_own(order, maker):
                    return k.SELF_TRADE
                continue
            self._exchange(k.FILL, order, maker)
            self._note_trade(maker.price)
        if order.is_market:
            return k.NO_LIQUIDITY
        return k.IOC_REMAINDER if order.tif == k.IOC else k.NO_REASON

    def _meet_own(self, order: Order, own: Order) -> bool:
        """Prevent a trade with oneself; say whether it ends the newer order."""
        if order.self_trade == k.DECREMENT:
            self._exchange(k.DECREMENTED, order, own)
            return False
        if order.self_trade in (k.CANCEL_OLDEST, k.CANCEL_BOTH):
            self._end(own, k.CANCELLED, k.SELF_TRADE)
        return order.self_trade in (k.CANCEL_NEWEST, k.CANCEL_BOTH)

    def _exchange(self, code: int, taker: Order, maker: Order) -> None:
        lots = min(taker.remaining, maker.remaining)
        taker.remaining -= lots
        maker.remaining -= lots
        self._say_met(code, taker, maker, lots)
        if maker.remaining == 0:
            self._forget(maker)

    # Orders that wait for a price.

    def _note_trade(self, price: int) -> None:
        self.last = price
        for order in self.orders.values():
            if order.is_waiting and order.is_reached_by(price):
                order.is_reached = True

    def _activate_reached(self) -> None:
        """Activate reached orders, the oldest first, until their trades reach no more."""
        while order := next((order for order in self.orders.values() if order.is_reached), None):
            order.is_reached = False
            order.flags &= ~k.WAITING
            self._say(k.TRIGGERED, order, size=order.remaining, remaining=order.remaining)
            self._trade(order)

    # Changes and ends.

    def _queue_of(self, order: Order) -> deque[Order]:
        return self.queues[order.side][order.price]

    def _leave_queue(self, order: Order) -> None:
        self._queue_of(order).remove(order)
        if not self._queue_of(order):
            del self.queues[order.side][order.price]

    def _forget(self, order: Order) -> None:
        del self.orders[order.order_id]
        if not order.is_waiting:
            self._leave_queue(order)

    def _end(self, order: Order, code: int, reason: int) -> None:
        self._forget(order)
        self._say(code, order, size=order.remaining, remaining=0, reason=reason)

    def _own(self, order_id: int, owner: int) -> tuple[Order | None, int]:
        order = self.orders.get(order_id)
        if order is None:
            return None, k.UNKNOWN_ORDER
        return (order, k.NO_REASON) if order.owner == owner else (None, k.NOT_YOURS)

    def _cancel(self, order_id: int, owner: int) -> None:
        order, reason = self._own(order_id, owner)
        if order is None:
            self._refuse(k.CANCEL_REJECTED, reason, order_id, owner)
        else:
            self._end(order, k.CANCELLED, k.REQUESTED)

    def _cancel_all(self, owner: int) -> None:
        if owner not in range(self.owner_capacity):
            self._refuse(k.CANCEL_REJECTED, k.UNKNOWN_ACCOUNT, 0, owner)
        for order in [order for order in self.orders.values() if order.owner == owner]:
            self._end(order, k.CANCELLED, k.REQUESTED)

    def _expire(self, now: int) -> None:
        for order in [order for order in self.orders.values() if order.tif == k.GTD and order.expire_ts <= now]:
            self._end(order, k.EXPIRED, k.DUE)

    def _reduce(self, order_id: int, owner: int, lots: int) -> None:
        order, reason = self._own(order_id, owner)
        if order is None or lots <= 0:
            self._refuse(k.CANCEL_REJECTED, reason or k.BAD_SIZE, order_id, owner, size=lots)
        elif lots >= order.remaining:
            self._end(order, k.CANCELLED, k.REQUESTED)
        else:
            order.remaining -= lots
            self._say(k.REDUCED, order, size=lots, remaining=order.remaining, reason=k.REQUESTED)

    def _replace(self, order_id: int, owner: int, price: int, size: int) -> None:
        order, reason = self._own(order_id, owner)
        if order is not None:
            reason = self._replace_refusal(order, price, size)
        if order is None or reason != k.NO_REASON:
            self._refuse(k.REPLACE_REJECTED, reason, order_id, owner, price, size)
            return
        keeps_place = order.is_waiting or (price == order.price and size <= order.remaining)
        if not keeps_place:
            self._leave_queue(order)
        order.price, order.remaining = price, size
        self._say(k.REPLACED, order, size=size, remaining=size)
        if not keeps_place:
            self._trade(order)

    def _replace_refusal(self, order: Order, price: int, size: int) -> int:
        if size <= 0:
            return k.BAD_SIZE
        if price < 0 or (price == 0) != order.is_market:
            return k.BAD_PRICE
        if max(size, price) > k.NUMBER_MAX:
            return k.TOO_LARGE
        is_moved = not order.is_waiting and price != order.price
        if is_moved and order.flags & k.POST_ONLY and self._would_cross(replace(order, price=price)):
            return k.POST_ONLY_WOULD_CROSS
        return k.NO_REASON
