"""Policies of the personas that live from trading itself: market maker, day trader, whale.

Each is its own parameters and one pure function of a scene: no clock, no chance but the scene's dice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.numbers import PPM
from agora.domain.orders import Side
from agora.exchange.requests import OpenOrder, Request
from agora.traders.scene import Scene

Lookback = Annotated[int, Meta(ge=2, le=256, description="closes looked back on; the view has 256")]
Share = Annotated[int, Meta(ge=0, le=PPM, description="part of a whole, millionths")]
Length = Annotated[int, Meta(ge=1, le=1_000_000, description="market ticks")]


class MarketMaker(msgspec.Struct, frozen=True, kw_only=True):
    """Quotes both sides around the middle, wider when prices move and leaning against its inventory.

    Its inventory is what it holds beyond its first position: without short sales it needs units to offer.
    """

    half_spread_ppm: Share = 800  # of the price, on each side, when nothing moves
    volatility_share_ppm: Share = 500_000  # of the mean move per tick, added to each side
    lookback_ticks: Lookback = 16
    levels: Annotated[int, Meta(ge=1, le=3, description="orders per side")] = 2
    level_ppm: Share = 8_000  # of equity, per order
    inventory_ppm_max: Share = 250_000  # of equity, long or short, where it quotes one side only
    # Below one, so that its own quotes stay on both sides of the last price.
    skew_half_spreads: Annotated[float, Meta(ge=0.0, le=1.0, description="shift at full inventory")] = 0.9
    requote_share_ppm: Share = 300_000  # of the half spread, by which a quote may be off before it is moved

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Leave quotes that stand well; else call all back and quote anew."""
        if scene.is_first_look:
            scene.memory.home_lots = scene.position_lots()
        inventory = self._inventory(scene)
        half_ticks = self._half_spread_ticks(scene)
        middle_ticks = self._middle_ticks(scene) - inventory * self.skew_half_spreads * half_ticks
        bid_ticks = max(1, int(middle_ticks - half_ticks))
        ask_ticks = max(bid_ticks + 1, math.ceil(middle_ticks + half_ticks))
        standing = scene.view.open_orders(scene.symbol)
        wants_bid = inventory < 1.0
        wants_ask = inventory > -1.0 and (scene.position_lots() > 0 or scene.view.may_short(scene.symbol))
        allowed_ticks = max(1.0, half_ticks * self.requote_share_ppm / PPM)
        wanted = {Side.BUY: bid_ticks if wants_bid else 0, Side.SELL: ask_ticks if wants_ask else 0}
        if all(
            self._stands_well(standing, side, price_ticks, allowed_ticks=allowed_ticks)
            for side, price_ticks in wanted.items()
            if price_ticks
        ):
            return ()
        withdrawn = scene.cancel_all() if standing else ()
        return withdrawn + self._quotes(scene, wanted[Side.BUY], wanted[Side.SELL])

    def _quotes(self, scene: Scene, bid_ticks: int, ask_ticks: int) -> tuple[Request, ...]:
        """Orders of the sides whose price is not 0; each further level is half a spread deeper, at least a tick."""
        lots = max(1, scene.lots_of_equity(self.level_ppm))
        step_ticks = max(1, int(self._half_spread_ticks(scene)))
        requests: tuple[Request, ...] = ()
        for level in range(self.levels):
            if bid_ticks:
                requests += scene.rest(Side.BUY, lots, bid_ticks - level * step_ticks)
            if ask_ticks:
                requests += scene.rest(Side.SELL, lots, ask_ticks + level * step_ticks, shorts=True)
        return requests

    def _inventory(self, scene: Scene) -> float:
        """What it holds beyond home, as a part of the limit: from -1 to 1."""
        limit_lots = max(1, scene.lots_of_equity(self.inventory_ppm_max))
        return max(-1.0, min(1.0, (scene.position_lots() - scene.memory.home_lots) / limit_lots))

    def _half_spread_ticks(self, scene: Scene) -> float:
        closes = scene.closes(self.lookback_ticks)
        moves = sum(abs(after - before) for before, after in pairwise(closes))
        mean_move_ticks = moves / max(1, len(closes) - 1)
        wide_ticks = scene.last_ticks * self.half_spread_ppm / PPM + mean_move_ticks * self.volatility_share_ppm / PPM
        return max(0.5, wide_ticks)

    @staticmethod
    def _middle_ticks(scene: Scene) -> float:
        """The last price, or the quote that is nearest to it when the market has moved on without a trade.

        Not the middle of the touch, which its own leaning moves: prices would climb by themselves.
        """
        middle_ticks = scene.last_ticks
        if scene.touch.bid_ticks:
            middle_ticks = max(middle_ticks, scene.touch.bid_ticks)
        if scene.touch.ask_ticks:
            middle_ticks = min(middle_ticks, scene.touch.ask_ticks)
        return float(middle_ticks)

    @staticmethod
    def _stands_well(standing: Sequence[OpenOrder], side: Side, price_ticks: int, *, allowed_ticks: float) -> bool:
        prices = [order.price_ticks for order in standing if order.side is side]
        if not prices:
            return False
        best_ticks = max(prices) if side is Side.BUY else min(prices)
        return abs(best_ticks - price_ticks) <= allowed_ticks


class DayTrader(msgspec.Struct, frozen=True, kw_only=True):
    """Trades small and often on the newest moves, takes small profits and losses, and ends its day flat."""

    lookback_ticks: Lookback = 4
    order_ppm: Share = 15_000  # of equity
    position_ppm_max: Share = 60_000
    profit_ppm: Share = 2_000
    loss_ppm: Share = 2_000
    entry_chance: Annotated[float, Meta(ge=0.0, le=1.0, description="of trading on a look")] = 0.5
    day_ticks: Annotated[int, Meta(ge=10, le=10_000_000, description="ticks of its day")] = 600
    closing_ticks: Annotated[int, Meta(ge=1, le=1_000_000, description="its last ticks, in which it only closes")] = 60
    slippage_ppm: Share = 1_000

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Close what has won, lost or run out of day; else follow the last moves."""
        position_lots = scene.position_lots()
        is_closing = scene.view.tick % self.day_ticks >= self.day_ticks - self.closing_ticks
        if position_lots and (is_closing or self._is_done(scene, position_lots)):
            side = Side.SELL if position_lots > 0 else Side.BUY
            return scene.take(side, abs(position_lots), slippage_ppm=self.slippage_ppm)
        if is_closing or not scene.dice.chance(self.entry_chance):
            return ()
        change_ppm = scene.change_ppm(self.lookback_ticks)
        if not change_ppm:
            return ()
        side = Side.BUY if change_ppm > 0 else Side.SELL
        room_lots = scene.lots_of_equity(self.position_ppm_max) - side * position_lots
        lots = min(room_lots, scene.uneven(scene.lots_of_equity(self.order_ppm)))
        return scene.take(side, lots, slippage_ppm=self.slippage_ppm, shorts=True)

    def _is_done(self, scene: Scene, position_lots: int) -> bool:
        average_ticks = scene.view.average_price_ticks(scene.symbol)
        if average_ticks <= 0.0:
            return False
        gain_ppm = (scene.last_ticks - average_ticks) * PPM / average_ticks
        if position_lots < 0:
            gain_ppm = -gain_ppm
        return gain_ppm >= self.profit_ppm or gain_ppm <= -self.loss_ppm


class Whale(msgspec.Struct, frozen=True, kw_only=True):
    """Decides rarely and for a great size, which it hides in slices no larger than what the touch offers."""

    decision_chance: Annotated[float, Meta(ge=0.0, le=1.0, description="of a new plan on a look")] = 0.01
    lookback_ticks: Lookback = 128
    plan_ppm: Share = 150_000  # of free cash, or of the position
    touch_ppm: Share = 500_000  # of the size at the touch, per slice
    slices_min: Annotated[int, Meta(ge=1, le=10_000, description="slices of a plan at least")] = 20
    slippage_ppm: Share = 1_500

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Work on the plan; without one, make one rarely."""
        memory = scene.memory
        if not memory.plan_lots and scene.dice.chance(self.decision_chance):
            memory.plan_lots = self._plan(scene)
            memory.slice_lots = max(1, abs(memory.plan_lots) // self.slices_min)
        if not memory.plan_lots:
            return ()
        side = Side.BUY if memory.plan_lots > 0 else Side.SELL
        offered_lots = scene.touch.ask_lots if side is Side.BUY else scene.touch.bid_lots
        lots = min(abs(memory.plan_lots), memory.slice_lots, max(1, offered_lots * self.touch_ppm // PPM))
        if not offered_lots:
            return ()
        requests = scene.take(side, lots, slippage_ppm=self.slippage_ppm)
        # What cannot be paid for any more ends the plan; what is not filled was hidden well enough.
        memory.plan_lots = memory.plan_lots - side * lots if requests else 0
        return requests

    def _plan(self, scene: Scene) -> int:
        """Signed lots: it buys below the mean of the closes and sells above, so that it finds a counterparty."""
        closes = scene.closes(self.lookback_ticks)
        is_cheap = scene.last_ticks * len(closes) <= sum(closes)
        cash_lots = scene.lots_of_units(scene.purse.cash_units(scene.instrument) * self.plan_ppm // PPM)
        held_lots = scene.purse.lots(scene.instrument) * self.plan_ppm // PPM
        if is_cheap:
            return cash_lots or -held_lots
        return -held_lots or cash_lots
