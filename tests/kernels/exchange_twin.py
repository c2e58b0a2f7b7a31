"""A plain exchange with the rules of the settlement kernel: Python integers, and every hold computed from scratch.

Nothing is kept beside cash, positions and the orders of the book twins, so what the kernel maintains step by step
is here a sum over what there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agora.kernels import matching as k
from agora.kernels import settlement as s
from agora.kernels import settlement_layout as layout
from agora.kernels import settlement_stream as stream
from tests.kernels.book_twin import BookTwin, Order, Row

PPM = 1_000_000


def part_up(amount: int, ppm: int) -> int:
    """A share of an amount, rounded up."""
    return -(-amount * ppm // PPM)


@dataclass
class Position:
    """What an account has in an asset."""

    lots: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    trades: int = 0


@dataclass
class Account:
    """Money per currency and a position per asset."""

    cash: list[int]
    positions: list[Position] = field(default_factory=list)


class ExchangeTwin:
    """Books and accounts; each command returns the rows it causes, fees in the last two columns."""

    def __init__(self, assets: Sequence[layout.AssetFacts], *, order_capacity: int, account_capacity: int) -> None:
        """Start without accounts."""
        self.assets = assets
        self.books = [BookTwin(order_capacity, account_capacity) for _ in assets]
        for book, facts in zip(self.books, assets, strict=True):
            book.last = facts.listing_price
        self.accounts: list[Account] = []
        self.fees = [0] * (1 + max(facts.currency for facts in assets))
        self.last_id = 0
        self.now = 0
        self.rows: list[Row] = []

    def open(self, cash: Sequence[int], lots: Sequence[int]) -> None:
        """Open an account with what it is given."""
        positions = [
            Position(count, count * facts.listing_price * facts.tick_lot_units)
            for count, facts in zip(lots, self.assets, strict=True)
        ]
        self.accounts.append(Account(list(cash), positions))

    def play(self, command: Sequence[int]) -> list[Row]:
        """Do one command of `run_commands` and whatever it triggers."""
        op, asset, order_id, owner, side, kind, tif, flags, price, trigger, size, expire_ts, mode, self.now = command
        self.rows = []
        self.books[asset].rows = []
        order = Order(order_id, owner, side, kind, tif, flags, price, trigger, size, expire_ts, mode)
        if op == stream.OP_SUBMIT:
            self._submit(asset, order)
        elif op == stream.OP_REPLACE:
            self._replace(asset, order)
        elif op == stream.OP_COVER:
            self._cover(asset, order_id, owner)
        else:
            self._end(op, asset, order_id, owner)
        self._settle(asset)
        return self.rows

    def _end(self, op: int, asset: int, order_id: int, owner: int) -> None:
        book = self.books[asset]
        if op == stream.OP_CANCEL:
            book._cancel(order_id, owner)
        elif op == stream.OP_EXPIRE:
            book._expire(self.now)
        elif self._is_open(owner):
            book._cancel_all(owner)
        else:
            self._refuse(asset, k.CANCEL_REJECTED, k.UNKNOWN_ACCOUNT, 0, owner)

    def _is_open(self, owner: int) -> bool:
        return owner in range(len(self.accounts))

    def _refuse(self, asset: int, code: int, reason: int, order_id: int, owner: int) -> None:
        self.books[asset]._refuse(code, reason, order_id, owner)

    # What is locked, from scratch.

    def resting(self, asset: int, owner: int, side: int) -> list[Order]:
        """An account's orders of a side that stand in the book."""
        live = self.books[asset].orders.values()
        return [order for order in live if order.owner == owner and order.side == side and not order.is_waiting]

    def hold_per_lot(self, asset: int, price: int) -> int:
        """Price and the higher fee of a lot."""
        facts = self.assets[asset]
        units = price * facts.tick_lot_units
        return units + part_up(units, max(facts.maker_fee_ppm, facts.taker_fee_ppm))

    def held(self, asset: int, owner: int) -> int:
        """What an account's resting buys hold."""
        buys = self.resting(asset, owner, k.BUY)
        return sum(order.remaining * self.hold_per_lot(asset, order.price) for order in buys)

    def lock(self, asset: int, owner: int) -> int:
        """Proceeds of a short and the margin on them."""
        position = self.accounts[owner].positions[asset]
        if position.lots >= 0 or position.cost >= 0:
            return 0
        return -position.cost + part_up(-position.cost, self.assets[asset].initial_margin_ppm)

    def locked(self, asset: int, owner: int, more_lots: int = 0, more_held: int = 0) -> int:
        """What a short and resting buys lock together, with one more buy if there is one."""
        lock = self.lock(asset, owner)
        held = self.held(asset, owner) + more_held
        if lock == 0:
            return held
        short = -self.accounts[owner].positions[asset].lots
        buy_lots = more_lots + sum(order.remaining for order in self.resting(asset, owner, k.BUY))
        return max(lock, lock - lock * min(buy_lots, short) // short + held)

    def asked(self, asset: int, owner: int) -> int:
        """Margin and fee of resting sells beyond what is owned."""
        facts, sells = self.assets[asset], self.resting(asset, owner, k.SELL)
        lots = sum(order.remaining for order in sells)
        uncovered = lots - max(self.accounts[owner].positions[asset].lots, 0)
        if uncovered <= 0:
            return 0
        value = sum(order.remaining * order.price for order in sells)
        units = -(-value // lots) * uncovered * facts.tick_lot_units
        return part_up(units, facts.initial_margin_ppm) + part_up(units, max(facts.maker_fee_ppm, facts.taker_fee_ppm))

    def margin(self, asset: int, owner: int) -> int:
        """What is locked beyond the holds of buys."""
        if not self.assets[asset].allows_shorts:
            return 0
        return self.locked(asset, owner) - self.held(asset, owner) + self.asked(asset, owner)

    def free_cash(self, asset: int, owner: int) -> int:
        """What a new order in that asset may use."""
        currency = self.assets[asset].currency
        peers = [number for number, facts in enumerate(self.assets) if facts.currency == currency]
        locked = sum(self.held(peer, owner) + self.margin(peer, owner) for peer in peers)
        return self.accounts[owner].cash[currency] - locked

    def closable(self, asset: int, owner: int, side: int) -> int:
        """What an order could take off the position after the resting ones of its side."""
        lots = self.accounts[owner].positions[asset].lots
        resting = sum(order.remaining for order in self.resting(asset, owner, side))
        return max(-lots * side, 0) - resting

    # What an order may do.

    def _allowance(self, asset: int, order: Order) -> tuple[int, int]:
        lots = order.remaining
        if order.flags & k.REDUCE_ONLY:
            lots = min(lots, self.closable(asset, order.owner, order.side))
            if lots <= 0:
                return 0, k.REDUCE_ONLY_NO_POSITION
        check = self._buy_refusal if order.side > 0 else self._sell_refusal
        reason = check(asset, order, lots)
        if reason != k.NO_REASON:
            return 0, reason
        return lots, k.REDUCE_ONLY_NO_POSITION if lots < order.remaining else k.NO_REASON

    def _offered(self, asset: int, order: Order, size: int) -> tuple[int, int]:
        """Lots and price times lots of what others offer."""
        lots = cost = 0
        for maker in self.books[asset]._counterparts(order):
            if maker.owner == order.owner:
                continue
            taken = min(maker.remaining, size - lots)
            lots, cost = lots + taken, cost + taken * maker.price
        return lots, cost

    def _buy_refusal(self, asset: int, order: Order, size: int) -> int:
        facts, owner = self.assets[asset], order.owner
        if order.price > 0:
            value, need = order.price * size * facts.tick_lot_units, size * self.hold_per_lot(asset, order.price)
        else:
            lots, cost = self._offered(asset, order, size)
            value = cost * facts.tick_lot_units
            fills = min(lots, len(self.books[asset].orders)) if facts.taker_fee_ppm else 0
            need = value + part_up(value, facts.taker_fee_ppm) + fills
        position = self.accounts[owner].positions[asset]
        if value > layout.UNITS_MAX or abs(position.cost) + self.held(asset, owner) + need > layout.COST_MAX:
            return k.TOO_LARGE
        more = need
        if lock := self.lock(asset, owner):
            after = self.locked(asset, owner, size, need)
            alone = max(lock, lock - lock * min(size, -position.lots) // -position.lots + need)
            more = max(after - self.locked(asset, owner), alone - lock)
        return k.INSUFFICIENT_FUNDS if more > self.free_cash(asset, owner) else k.NO_REASON

    def _sell_refusal(self, asset: int, order: Order, size: int) -> int:
        facts, owner = self.assets[asset], order.owner
        position, sells = self.accounts[owner].positions[asset], self.resting(asset, owner, k.SELL)
        asked = sum(sell.remaining * sell.price for sell in sells)
        if (asked + order.price * size) * facts.tick_lot_units > layout.UNITS_MAX:
            return k.TOO_LARGE
        owned = max(position.lots - sum(sell.remaining for sell in sells), 0)
        if size <= owned:
            return k.NO_REASON
        if not facts.allows_shorts:
            return k.INSUFFICIENT_UNITS if position.lots > 0 else k.SHORTING_NOT_ALLOWED
        lots, cost = self._offered(asset, order, size)
        _, owned_cost = self._offered(asset, order, owned)
        short_value = (cost - owned_cost + order.price * (size - max(lots, owned))) * facts.tick_lot_units
        fee_ppm = max(facts.maker_fee_ppm, facts.taker_fee_ppm)
        fills = min(lots, len(self.books[asset].orders)) if fee_ppm else 0
        need = part_up(short_value, facts.initial_margin_ppm) + part_up(short_value, fee_ppm) + fills
        return k.INSUFFICIENT_MARGIN if need > self.free_cash(asset, owner) else k.NO_REASON

    # Orders that act.

    def _submit(self, asset: int, order: Order) -> None:
        book = self.books[asset]
        if not self._is_open(order.owner):
            self._refuse(asset, k.REJECTED, k.UNKNOWN_ACCOUNT, order.order_id, order.owner)
            return
        if order.order_id <= self.last_id:
            self._refuse(asset, k.REJECTED, k.DUPLICATE_ID, order.order_id, order.owner)
            return
        is_sound = 0 < order.remaining <= k.NUMBER_MAX and 0 <= order.price <= k.NUMBER_MAX
        if is_sound and (order.type < k.STOP or order.is_reached_by(book.last)):
            order.remaining, reason = self._allowance(asset, order)
            if order.remaining == 0:
                self._refuse(asset, k.REJECTED, reason, order.order_id, order.owner)
                return
        book._submit(order, self.now)
        if book.rows[0][k.CODE] == k.ACCEPTED:
            self.last_id = order.order_id
        self._act(asset, order)
        self._activate(asset)

    def _replace(self, asset: int, wish: Order) -> None:
        book = self.books[asset]
        order, reason = book._own(wish.order_id, wish.owner)
        if order is not None:
            reason = book._replace_refusal(order, wish.price, wish.remaining)
        if order is None or reason != k.NO_REASON:
            self._refuse(asset, k.REPLACE_REJECTED, reason, wish.order_id, wish.owner)
            return
        lots = wish.remaining
        if not order.is_waiting and (wish.price != order.price or lots > order.remaining):
            wish.side, wish.flags = order.side, order.flags
            remaining, order.remaining = order.remaining, 0  # what it holds is free for its successor
            lots, reason = self._allowance(asset, wish)
            order.remaining = remaining
        if lots == 0:
            self._refuse(asset, k.REPLACE_REJECTED, reason, wish.order_id, wish.owner)
            return
        book._replace(wish.order_id, wish.owner, wish.price, lots)
        if not order.is_waiting:
            self._act(asset, order)
            self._activate(asset)

    def _cover(self, asset: int, order_id: int, owner: int) -> None:
        if not self._is_open(owner):
            self._refuse(asset, k.CANCEL_REJECTED, k.UNKNOWN_ACCOUNT, 0, owner)
            return
        book, facts = self.books[asset], self.assets[asset]
        for order in [order for order in book.orders.values() if order.owner == owner]:
            book._end(order, k.CANCELLED, k.LIQUIDATION)
        self._settle(asset)
        lots = min(-self.accounts[owner].positions[asset].lots, k.NUMBER_MAX)
        if lots <= 0 or order_id <= self.last_id:
            return
        debt = max(-self.accounts[owner].cash[facts.currency], 0)
        payable = (layout.UNITS_MAX - debt) // facts.tick_lot_units // lots
        price = min(s.LIQUIDATION_BAND * book.last, payable, k.NUMBER_MAX)
        if price <= 0:
            return
        order = Order(order_id, owner, k.BUY, k.LIMIT, k.IOC, 0, price, 0, lots, 0, k.CANCEL_OLDEST)
        book._submit(order, self.now)
        book.rows = [(row[0], k.LIQUIDATION, *row[2:]) for row in book.rows]
        self.last_id = order_id
        self._act(asset, order)
        self._activate(asset)

    def _activate(self, asset: int) -> None:
        """Let reached orders act, the oldest first, each as far as its owner can bear it."""
        book = self.books[asset]
        while order := next((order for order in book.orders.values() if order.is_reached), None):
            lots, reason = self._allowance(asset, order)
            order.is_reached = False
            order.flags &= ~k.WAITING
            asked, order.remaining = order.remaining, lots
            book._say(k.TRIGGERED, order, size=asked, remaining=asked)
            if lots == 0:
                del book.orders[order.order_id]
                book._say(k.CANCELLED, order, size=asked, remaining=0, reason=reason)
            else:
                if lots < asked:
                    book._say(k.REDUCED, order, size=asked - lots, remaining=lots, reason=reason)
                book._trade(order)
            self._act(asset, order)

    def _act(self, asset: int, order: Order) -> None:
        """Settle what an order did, and let go what its owner cannot keep."""
        self._settle(asset)
        book, owner = self.books[asset], order.owner
        if not self.assets[asset].allows_shorts or not self._is_open(owner):
            return
        rests = order.order_id in book.orders and not order.is_waiting
        is_short = rests and order.side == k.SELL and self.closable(asset, owner, k.SELL) < 0
        if is_short and self.free_cash(asset, owner) < 0:
            book._end(order, k.CANCELLED, k.INSUFFICIENT_MARGIN)
        for reducing in [own for own in reversed(book.orders.values()) if own.owner == owner and not own.is_waiting]:
            excess = -self.closable(asset, owner, reducing.side)
            if excess <= 0 or not reducing.flags & k.REDUCE_ONLY:
                continue
            if excess >= reducing.remaining:
                book._end(reducing, k.CANCELLED, k.REDUCE_ONLY_NO_POSITION)
            else:
                reducing.remaining -= excess
                reason = k.REDUCE_ONLY_NO_POSITION
                book._say(k.REDUCED, reducing, size=excess, remaining=reducing.remaining, reason=reason)
        self._settle(asset)

    # Money.

    def _settle(self, asset: int) -> None:
        """Pay for the fills among the rows not seen yet, and pass the rows on with their fees."""
        for row in self.books[asset].rows:
            taker_fee = maker_fee = 0
            if row[k.CODE] == k.FILL:
                facts = self.assets[asset]
                units = row[k.ROW_PRICE] * facts.tick_lot_units
                taker_fee = part_up(units * row[k.ROW_SIZE], facts.taker_fee_ppm)
                maker_fee = part_up(units * row[k.ROW_SIZE], facts.maker_fee_ppm)
                signed = row[k.ROW_SIDE] * row[k.ROW_SIZE]
                self._pay(asset, row[k.MAKER_OWNER], -signed, units, maker_fee)
                self._pay(asset, row[k.ROW_OWNER], signed, units, taker_fee)
            self.rows.append((*row, taker_fee, maker_fee))
        self.books[asset].rows = []

    def _pay(self, asset: int, owner: int, lots: int, units: int, fee: int) -> None:
        currency, position = self.assets[asset].currency, self.accounts[owner].positions[asset]
        self.accounts[owner].cash[currency] -= lots * units + fee
        self.fees[currency] += fee
        position.fees += fee
        position.trades += 1
        if position.lots * lots < 0:
            closing = min(abs(position.lots), abs(lots))
            cost = position.cost * closing // abs(position.lots)
            signed = closing if lots > 0 else -closing
            position.realised += -signed * units - cost
            position.cost += (lots - signed) * units - cost
        else:
            position.cost += lots * units
        position.lots += lots
