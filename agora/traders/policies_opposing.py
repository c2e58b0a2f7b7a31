"""Policies of the personas that stand against the price: conservative, value, contrarian, and buying by schedule.

Each is its own parameters and one pure function of a scene: no clock, no chance but the scene's dice.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.numbers import PPM
from agora.domain.orders import Side
from agora.exchange.requests import Request
from agora.traders.scene import Scene, approach, off_by_ppm

Lookback = Annotated[int, Meta(ge=2, le=256, description="closes looked back on; the view has 256")]
Share = Annotated[int, Meta(ge=0, le=PPM, description="part of a whole, millionths")]
Length = Annotated[int, Meta(ge=1, le=1_000_000, description="market ticks")]


class Conservative(msgspec.Struct, frozen=True, kw_only=True):
    """Bids little, far below the price, keeps most of its cash, and sells at a modest profit."""

    discount_ppm: Share = 15_000  # 1.5 % below the last price, or not at all
    profit_ppm: Share = 10_000
    order_ppm: Share = 10_000  # of equity
    cash_ppm_min: Share = 600_000  # of equity that stays in cash
    drift_ppm_max: Share = 15_000  # an order that far from where it belongs is called back

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Keep one bid and one offer where they belong."""
        bid = self._keep(scene, Side.BUY, off_by_ppm(scene.last_ticks, ppm=-self.discount_ppm))
        cost_ticks = int(scene.view.average_price_ticks(scene.symbol))
        offer_ticks = off_by_ppm(max(cost_ticks, scene.last_ticks), ppm=self.profit_ppm)
        return bid + self._keep(scene, Side.SELL, offer_ticks)

    def _keep(self, scene: Scene, side: Side, price_ticks: int) -> tuple[Request, ...]:
        standing = scene.open_orders(side)
        if standing:
            allowed_ticks = max(1, price_ticks * self.drift_ppm_max // PPM)
            astray = [order for order in standing if abs(order.price_ticks - price_ticks) > allowed_ticks]
            return scene.cancel(astray[:3])
        if not self._wants(scene, side):
            return ()
        return scene.rest(side, scene.uneven(scene.lots_of_equity(self.order_ppm)), price_ticks)

    def _wants(self, scene: Scene, side: Side) -> bool:
        """A bid while there is cash enough, an offer while there is something to offer."""
        if side is Side.SELL:
            return scene.position_lots() > 0
        return scene.purse.cash_units(scene.instrument) * PPM > scene.equity_units() * self.cash_ppm_min


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Has its own idea of worth, which learns slowly from price and news, and trades against the deviation from it."""

    length_ticks: Length = 10_000  # its idea follows the price within some hours of one-second ticks
    disagreement_ppm: Share = 20_000  # how far the ideas of different agents lie apart at first
    news_ppm: Share = 10_000  # what news of full tone is worth to it
    margin_ppm: Share = 5_000  # of safety before it trades
    order_ppm: Share = 30_000  # of equity, for each margin of deviation
    order_margins_max: Annotated[int, Meta(ge=1, le=100, description="margins that still enlarge an order")] = 4
    position_ppm_max: Share = 600_000
    lifetime_margins: Annotated[int, Meta(ge=1, le=100, description="margins from which an order is astray")] = 2

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Buy what is cheap and sell what is dear, at the price that others offer or better."""
        worth_ticks = self._worth(scene)
        astray = self._astray(scene, worth_ticks)
        if astray:
            return astray
        deviation_ppm = int((worth_ticks - scene.last_ticks) * PPM / scene.last_ticks)
        margins = min(abs(deviation_ppm) // max(1, self.margin_ppm), self.order_margins_max)
        if margins < 1:
            return ()
        side = Side.BUY if deviation_ppm > 0 else Side.SELL
        if scene.open_orders(side):
            return ()
        room_lots = scene.lots_of_equity(self.position_ppm_max) - side * scene.position_lots()
        lots = min(room_lots, scene.uneven(scene.lots_of_equity(self.order_ppm) * margins))
        if margins == 1:  # a small advantage is not worth the spread
            return scene.rest(side, lots, scene.last_ticks, shorts=True)
        return scene.take(side, lots, slippage_ppm=self.margin_ppm, shorts=True)

    def _worth(self, scene: Scene) -> float:
        memory = scene.memory
        if not memory.slow_ticks:
            apart = (2.0 * scene.dice.uniform() - 1.0) * self.disagreement_ppm / PPM
            memory.slow_ticks = scene.last_ticks * (1.0 + apart)
        worth_ticks = approach(
            memory.slow_ticks,
            target=float(scene.last_ticks),
            ticks=scene.ticks_since_look,
            length_ticks=self.length_ticks,
        )
        worth_ticks *= 1.0 + scene.tone_of_news(within_ticks=self.length_ticks) * self.news_ppm / PPM
        scene.mark_news_as_acted_on()
        memory.slow_ticks = worth_ticks
        return worth_ticks

    def _astray(self, scene: Scene, worth_ticks: float) -> tuple[Request, ...]:
        """Orders that would now trade on the wrong side of its idea, or stand far from the price."""
        reach_ticks = max(1, scene.last_ticks * self.margin_ppm * self.lifetime_margins // PPM)
        orders = [
            order
            for order in scene.view.open_orders(scene.symbol)
            if order.side * (worth_ticks - order.price_ticks) < 0
            or abs(order.price_ticks - scene.last_ticks) > reach_ticks
        ]
        return scene.cancel(orders[:4])


class Contrarian(msgspec.Struct, frozen=True, kw_only=True):
    """Fades what has gone too far: sells, short where allowed, far above the mean of the closes and buys far below."""

    lookback_ticks: Lookback = 64
    deviations: Annotated[float, Meta(ge=0.5, le=10.0, description="standard deviations that are too far")] = 1.8
    move_ppm_min: Share = 2_000  # in a market that stands still, a tick is many deviations
    order_ppm: Share = 40_000  # of equity
    position_ppm_max: Share = 400_000
    slippage_ppm: Share = 1_000
    pause_ticks: Annotated[int, Meta(ge=0, le=1_000_000, description="market ticks between its orders")] = 8

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Bet on the way back; close when it has come."""
        closes = scene.closes(self.lookback_ticks)
        if scene.view.tick < scene.memory.due_tick or len(closes) < self.lookback_ticks:
            return ()
        mean_ticks = sum(closes) / len(closes)
        off_ticks = scene.last_ticks - mean_ticks
        variance = sum(close * close for close in closes) / len(closes) - mean_ticks * mean_ticks
        scene.memory.due_tick = scene.view.tick + self.pause_ticks
        position_lots = scene.position_lots()
        side = Side.SELL if off_ticks > 0 else Side.BUY
        is_far = off_ticks * off_ticks > self.deviations * self.deviations * max(variance, 0.0)
        if is_far and abs(off_ticks) * PPM > self.move_ppm_min * mean_ticks:
            room_lots = scene.lots_of_equity(self.position_ppm_max) - side * position_lots
            lots = min(room_lots, scene.uneven(scene.lots_of_equity(self.order_ppm)))
            return scene.take(side, lots, slippage_ppm=self.slippage_ppm, shorts=True)
        if position_lots < 0 and side is Side.BUY:  # what was sold short has come back
            return scene.take(Side.BUY, -position_lots, slippage_ppm=self.slippage_ppm)
        return ()


class Dca(msgspec.Struct, frozen=True, kw_only=True):
    """Buys for the same amount of money at fixed intervals, whatever the price, and never sells."""

    interval_ticks: Length = 60
    amount_ppm: Share = 5_000  # of the equity it began with, per purchase and asset
    slippage_ppm: Share = 5_000

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Buy when it is time."""
        memory, tick = scene.memory, scene.view.tick
        if not memory.budget_units:
            memory.budget_units = max(1, scene.equity_units() * self.amount_ppm // PPM)
            # Different agents buy in different ticks of the interval.
            memory.due_tick = tick + scene.dice.below(self.interval_ticks)
        if tick < memory.due_tick or not scene.touch.ask_ticks:
            return ()
        memory.due_tick += self.interval_ticks * (1 + (tick - memory.due_tick) // self.interval_ticks)
        lots = memory.budget_units // (scene.touch.ask_ticks * scene.instrument.tick_lot_units)
        return scene.take(Side.BUY, lots, slippage_ppm=self.slippage_ppm)
