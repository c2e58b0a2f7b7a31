"""Policies of the personas that go with what they see: momentum, fear of missing out, panic, averages, rumours.

Each is its own parameters and one pure function of a scene: no clock, no chance but the scene's dice.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.numbers import PPM
from agora.domain.orders import Side
from agora.exchange.requests import Request
from agora.traders.scene import Scene, approach

Lookback = Annotated[int, Meta(ge=2, le=256, description="closes looked back on; the view has 256")]
Share = Annotated[int, Meta(ge=0, le=PPM, description="part of a whole, millionths")]
Pause = Annotated[int, Meta(ge=0, le=1_000_000, description="market ticks")]


class Momentum(msgspec.Struct, frozen=True, kw_only=True):
    """Buys what has risen and sells, short where allowed, what has fallen over a middling while."""

    lookback_ticks: Lookback = 20
    threshold_ppm: Share = 3_000  # 0.3 % in 20 ticks is beyond the bounce between bid and ask
    order_ppm: Share = 40_000  # of equity: a full position takes some ten orders
    position_ppm_max: Share = 500_000  # of equity, so that four assets' worth of trends is not all one asset
    slippage_ppm: Share = 2_000
    pause_ticks: Pause = 5  # the next look at the same move would only repeat the order

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Go with the move while the position has room."""
        if scene.view.tick < scene.memory.due_tick:
            return ()
        change_ppm = scene.change_ppm(self.lookback_ticks)
        if abs(change_ppm) < self.threshold_ppm:
            return ()
        side = Side.BUY if change_ppm > 0 else Side.SELL
        room_lots = scene.lots_of_equity(self.position_ppm_max) - side * scene.position_lots()
        lots = min(room_lots, scene.uneven(scene.lots_of_equity(self.order_ppm)))
        scene.memory.due_tick = scene.view.tick + self.pause_ticks
        return scene.take(side, lots, slippage_ppm=self.slippage_ppm, shorts=True)


class Fomo(msgspec.Struct, frozen=True, kw_only=True):
    """Comes late and all in: buys only after a long rise, at any price near, and lets go after a loss."""

    lookback_ticks: Lookback = 60
    threshold_ppm: Share = 15_000  # 1.5 %: by then everyone has seen it
    cash_ppm: Share = 400_000  # of free cash at once
    slippage_ppm: Share = 10_000  # in a hurry: five times what others give
    give_up_ppm: Share = 20_000  # below its average price by so much, the story is over
    pause_ticks: Pause = 40

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Chase a rise; regret it later."""
        if scene.position_lots() > 0 and self._has_lost(scene):
            return scene.take(Side.SELL, scene.position_lots(), slippage_ppm=self.slippage_ppm)
        if scene.view.tick < scene.memory.due_tick or scene.change_ppm(self.lookback_ticks) < self.threshold_ppm:
            return ()
        scene.memory.due_tick = scene.view.tick + self.pause_ticks
        units = scene.purse.cash_units(scene.instrument) * self.cash_ppm // PPM
        return scene.take(Side.BUY, scene.lots_of_units(units), slippage_ppm=self.slippage_ppm)

    def _has_lost(self, scene: Scene) -> bool:
        average_ticks = scene.view.average_price_ticks(scene.symbol)
        return average_ticks * (PPM - self.give_up_ppm) > scene.last_ticks * PPM


class Panic(msgspec.Struct, frozen=True, kw_only=True):
    """Sells most of what it has on a sharp drop or bad news, then stays away; buys back slowly when it is calm."""

    lookback_ticks: Lookback = 30
    drop_ppm: Share = 10_000  # 1 % below the best close of the lookback
    bad_tone: Annotated[float, Meta(ge=-1.0, le=0.0, description="tone of news from which it runs")] = -0.3
    sell_ppm: Share = 800_000  # of the position
    slippage_ppm: Share = 20_000  # out at nearly any price
    pause_ticks: Pause = 100  # until it dares to look again
    return_chance: Annotated[float, Meta(ge=0.0, le=1.0, description="of buying back on a calm look")] = 0.1
    return_ppm: Share = 20_000  # of equity, per purchase
    position_ppm_max: Share = 200_000  # of equity

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Run, wait, come back."""
        if self._is_frightened(scene):
            scene.memory.due_tick = scene.view.tick + self.pause_ticks
            lots = max(1, scene.position_lots() * self.sell_ppm // PPM)
            return scene.take(Side.SELL, lots, slippage_ppm=self.slippage_ppm)
        if scene.view.tick < scene.memory.due_tick or not scene.dice.chance(self.return_chance):
            return ()
        room_lots = scene.lots_of_equity(self.position_ppm_max) - scene.position_lots()
        lots = min(room_lots, scene.uneven(scene.lots_of_equity(self.return_ppm)))
        return scene.take(Side.BUY, lots, slippage_ppm=0)

    def _is_frightened(self, scene: Scene) -> bool:
        if scene.position_lots() <= 0:
            return False
        if scene.tone_of_news(within_ticks=self.pause_ticks) <= self.bad_tone:
            scene.mark_news_as_acted_on()
            return True
        # It looks at the drop anew only after its pause: it sells in bursts, not in every tick of a slide.
        if scene.view.tick < scene.memory.due_tick:
            return False
        peak_ticks = max(scene.closes(self.lookback_ticks), default=scene.last_ticks)
        return (peak_ticks - scene.last_ticks) * PPM > peak_ticks * self.drop_ppm


class Algorithmic(msgspec.Struct, frozen=True, kw_only=True):
    """Follows the cross of two averages and works each change of mind off in equal slices."""

    fast_ticks: Annotated[int, Meta(ge=1, le=10_000, description="length of the fast average")] = 8
    slow_ticks: Annotated[int, Meta(ge=2, le=100_000, description="length of the slow average")] = 34
    separation_ppm: Share = 500  # apart by 0.05 % the averages mean it
    position_ppm: Share = 300_000  # of equity, long; flat on the other side of the cross
    slices: Annotated[int, Meta(ge=1, le=1_000, description="orders per change of mind")] = 8
    slippage_ppm: Share = 1_000

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Update the averages, plan on a cross, trade one slice of the plan."""
        memory, last_ticks = scene.memory, float(scene.last_ticks)
        ticks = scene.ticks_since_look
        memory.fast_ticks = approach(
            memory.fast_ticks or last_ticks, target=last_ticks, ticks=ticks, length_ticks=self.fast_ticks
        )
        memory.slow_ticks = approach(
            memory.slow_ticks or last_ticks, target=last_ticks, ticks=ticks, length_ticks=self.slow_ticks
        )
        self._plan(scene)
        if not memory.plan_lots:
            return ()
        side = Side.BUY if memory.plan_lots > 0 else Side.SELL
        lots = min(abs(memory.plan_lots), memory.slice_lots)
        memory.plan_lots -= side * lots
        return scene.take(side, lots, slippage_ppm=self.slippage_ppm)

    def _plan(self, scene: Scene) -> None:
        memory = scene.memory
        apart = (memory.fast_ticks - memory.slow_ticks) * PPM
        if abs(apart) < self.separation_ppm * memory.slow_ticks:
            return
        side = 1 if apart > 0 else -1
        if memory.plan_lots * side > 0:
            return  # the same mind as before
        target_lots = scene.lots_of_equity(self.position_ppm) if side > 0 else 0
        missing_lots = target_lots - scene.position_lots()
        memory.plan_lots = missing_lots if missing_lots * side > 0 else 0
        memory.slice_lots = max(1, abs(missing_lots) // self.slices)


class RumorMonger(msgspec.Struct, frozen=True, kw_only=True):
    """Trades on the tone of news alone, before anyone has checked it, and is out again when it is old."""

    tone_min: Annotated[float, Meta(ge=0.0, le=1.0, description="tone below which it is no story")] = 0.15
    order_ppm: Share = 200_000  # of equity at full tone
    slippage_ppm: Share = 5_000
    hold_ticks: Pause = 60  # then the story is old

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """Act on what is new; let go of what is old."""
        memory, tick = scene.memory, scene.view.tick
        tone = scene.tone_of_news(within_ticks=self.hold_ticks)
        if abs(tone) >= self.tone_min:
            scene.mark_news_as_acted_on()
            memory.due_tick = tick + self.hold_ticks
            side = Side.BUY if tone > 0 else Side.SELL
            lots = max(1, scene.lots_of_equity(int(abs(tone) * self.order_ppm)))
            return scene.take(side, lots, slippage_ppm=self.slippage_ppm, shorts=True)
        position_lots = scene.position_lots()
        if not memory.due_tick or tick < memory.due_tick or not position_lots:
            return ()
        return scene.take(Side.SELL if position_lots > 0 else Side.BUY, abs(position_lots), slippage_ppm=0)
