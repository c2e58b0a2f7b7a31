"""One asset as a persona looks at it in one tick, and the orders that can be made of that look.

Knows no persona: what to want is decided in the policies, what is possible here.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agora.domain.dice import Dice
from agora.domain.numbers import PPM, divide_up
from agora.domain.orders import OrderType, Side, TimeInForce
from agora.exchange.requests import AgentView, CancelRequest, OpenOrder, OrderRequest, Request
from agora.traders.purse import Purse

PERCENT = 100
REQUESTS_MAX = 8  # of one decision, withdrawals first: four quotes and their withdrawal take five


class AssetMemory(msgspec.Struct):
    """What a persona remembers of one asset; each persona uses a part of it. Ticks of `*_tick` count market ticks."""

    seen_tick: int = 0  # of the last look
    fast_ticks: float = 0.0  # a price followed quickly
    slow_ticks: float = 0.0  # a price followed slowly, or what the asset is thought to be worth
    plan_lots: int = 0  # still to be traded in slices, negative: to be sold
    slice_lots: int = 0
    due_tick: int = 0  # nothing is done before
    news_tick: int = 0  # of the newest item acted on
    home_lots: int = 0  # the position it started with
    budget_units: int = 0  # of each purchase by schedule


class Scene:
    """An asset, the agent's funds and its memory at one tick. Orders it makes are affordable, in bounds, or absent."""

    __slots__ = ("_equity_units", "dice", "instrument", "last_ticks", "memory", "purse", "symbol", "touch", "view")

    def __init__(self, view: AgentView, symbol: str, dice: Dice, *, memory: AssetMemory) -> None:
        self.view = view
        self.symbol = symbol
        self.dice = dice
        self.memory = memory
        self.instrument = view.instrument(symbol)
        self.touch = view.touch(symbol)
        self.last_ticks = max(1, view.last_ticks(symbol))
        self.purse = Purse(view)
        self._equity_units = -1  # not asked for yet: it is the dearest fact of a view

    @property
    def is_first_look(self) -> bool:
        """Whether the agent sees this asset for the first time."""
        return self.memory.seen_tick == 0

    @property
    def ticks_since_look(self) -> int:
        """Market ticks since the last look at this asset; at least one."""
        return max(1, self.view.tick - self.memory.seen_tick)

    def equity_units(self) -> int:
        """Cash and positions at last prices; 0 for an account that owes."""
        if self._equity_units < 0:
            self._equity_units = max(0, self.view.equity_units(self.symbol))
        return self._equity_units

    def position_lots(self) -> int:
        """Units owned, negative: short."""
        return self.view.position_lots(self.symbol)

    def change_ppm(self, ticks: int) -> int:
        """Change of the price over that many ticks; 0 before there is so much history."""
        closes = self.view.closes_ticks(self.symbol)
        if len(closes) < ticks:
            return 0
        before = max(1, closes[-ticks])
        return (self.last_ticks - before) * PPM // before

    def closes(self, ticks: int) -> Sequence[int]:
        """The newest closes, at most that many."""
        return self.view.closes_ticks(self.symbol)[-ticks:]

    def tone_of_news(self, *, within_ticks: int) -> float:
        """Sum of the tones of news about this asset that is neither acted on nor too old, brought into [-1, 1]."""
        since_tick = max(self.memory.news_tick, self.view.tick - within_ticks - 1)
        tones = (
            item.tone
            for item in self.view.news()
            if item.tick > since_tick and (not item.symbols or self.symbol in item.symbols)
        )
        return max(-1.0, min(1.0, sum(tones)))

    def mark_news_as_acted_on(self) -> None:
        """From here on only newer items count for this asset."""
        self.memory.news_tick = max((item.tick for item in self.view.news()), default=self.memory.news_tick)

    def open_orders(self, side: Side) -> list[OpenOrder]:
        """One's own resting orders of that side."""
        return [order for order in self.view.open_orders(self.symbol) if order.side is side]

    def lots_of_equity(self, ppm: int) -> int:
        """How many lots at the last price a part of the equity is worth."""
        return self.lots_of_units(self.equity_units() * ppm // PPM)

    def lots_of_units(self, units: int) -> int:
        """How many lots at the last price an amount of money is worth."""
        return units // (self.last_ticks * self.instrument.tick_lot_units)

    def uneven(self, lots: int) -> int:
        """A size between half and one and a half times `lots`, at least 1: like sizes would give a persona away."""
        return max(1, lots * (50 + self.dice.below(101)) // PERCENT)

    def take(self, side: Side, lots: int, *, slippage_ppm: int, shorts: bool = False) -> tuple[Request, ...]:
        """Trade at once against what rests, not worse than the touch by more than `slippage_ppm`; the rest lapses."""
        best = self.touch.ask_ticks if side is Side.BUY else self.touch.bid_ticks
        if not best:
            return ()
        slip = best * slippage_ppm // PPM
        return self._order(side, lots, best + side * slip, shorts=shorts, time_in_force=TimeInForce.IOC)

    def rest(self, side: Side, lots: int, price_ticks: int, *, shorts: bool = False) -> tuple[Request, ...]:
        """Wait at a price, or one tick before the other side's best where that price would cross."""
        if side is Side.BUY and self.touch.ask_ticks:
            price_ticks = min(price_ticks, self.touch.ask_ticks - 1)
        elif side is Side.SELL and self.touch.bid_ticks:
            price_ticks = max(price_ticks, self.touch.bid_ticks + 1)
        return self._order(side, lots, price_ticks, shorts=shorts, time_in_force=TimeInForce.GTC)

    def cancel(self, orders: Sequence[OpenOrder]) -> tuple[Request, ...]:
        """Call back own orders; what they held can be spent again in this decision."""
        for order in orders:
            self.purse.release(self.instrument, order)
        return tuple(CancelRequest(symbol=self.symbol, order_id=order.order_id) for order in orders)

    def cancel_all(self) -> tuple[Request, ...]:
        """Call back every own order in this asset with one request."""
        for order in self.view.open_orders(self.symbol):
            self.purse.release(self.instrument, order)
        return (CancelRequest(symbol=self.symbol),)

    def _order(
        self, side: Side, lots: int, price_ticks: int, *, shorts: bool, time_in_force: TimeInForce
    ) -> tuple[Request, ...]:
        if price_ticks < 1 or lots < 1:
            return ()
        if side is Side.BUY:
            possible = self.purse.buyable_lots(self.instrument, price_ticks)
        else:
            possible = self.purse.sellable_lots(self.instrument, price_ticks, shorts=shorts)
        size_lots = min(lots, possible)
        if size_lots < self.instrument.lots_min:
            return ()
        order = OrderRequest(
            symbol=self.symbol,
            side=side,
            size_lots=size_lots,
            type=OrderType.LIMIT,
            time_in_force=time_in_force,
            price_ticks=price_ticks,
            post_only=time_in_force is TimeInForce.GTC,
        )
        self.purse.spend(self.instrument, order)
        return (order,)


def approach(value: float, *, target: float, ticks: int, length_ticks: int) -> float:
    """`value` moved toward `target` by the weight t / (t + length): an average over about `length_ticks` ticks.

    A quotient, not an exponential: its bits are the same on every machine.
    """
    return value + (target - value) * ticks / (ticks + length_ticks)


def off_by_ppm(price_ticks: int, *, ppm: int) -> int:
    """A price moved by parts per million, rounded away from where it came: at least one tick for any part."""
    moved = divide_up(abs(price_ticks * ppm), PPM)
    return price_ticks + moved if ppm > 0 else price_ticks - moved
