"""Makes the samples that the realism report judges out of a market run: one stretch of time per asset.

Looks on while the run is replayed. A run is looked at from its first tick on; ticks shorter than a second are taken
together to seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agora.domain.decisions import Ask
from agora.domain.errors import UsageFault
from agora.domain.events import Event
from agora.domain.market_events import MarketTicked
from agora.domain.numbers import NS_PER_S
from agora.exchange.records import Trade
from agora.market.crowd import Crowd
from agora.market.market import Market
from agora.research.realism_sample import SECONDS_PER_MINUTE, MarketSample


class _Asset:
    """What one asset showed so far."""

    __slots__ = ("last_taker", "lots", "one_sided", "parents", "prices", "signs", "spreads")

    def __init__(self) -> None:
        self.prices: list[float] = []
        self.lots: list[int] = []
        self.spreads: list[int] = []
        self.one_sided: list[int] = []
        self.signs: list[int] = []
        self.parents: list[tuple[float, float, float, float]] = []
        self.last_taker = 0

    def trade(self, trade: Trade) -> None:
        """Several fills of one order are one sign."""
        if trade.taker_order_id != self.last_taker:
            self.signs.append(int(trade.aggressor))
            self.last_taker = trade.taker_order_id


class SampleKeeper:
    """An onlooker of a market run; `samples()` when it has ended."""

    def __init__(self) -> None:
        self._assets: dict[str, _Asset] = {}
        self._instruments: dict[str, float] = {}
        self._step_ns = 0
        self._waiting: dict[str, int] = {}
        self._next_ns = 0

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """Take the tick in, if it was one; raises `UsageFault` for ticks that do not make whole steps."""
        del event
        ticked = next((effect for effect in effects if isinstance(effect, MarketTicked)), None)
        if ticked is None:
            return
        if not self._assets:
            self._begin(market)
        for trade in market.new_trades:
            self._assets[trade.symbol].trade(trade)
        for symbol, lots in zip(market.engine.rules.symbols, ticked.volumes_lots, strict=True):
            self._waiting[symbol] = self._waiting.get(symbol, 0) + lots
        self._take_parents(market)
        if ticked.ts_ns >= self._next_ns:
            self._next_ns += self._step_ns
            self._observe(market)

    def _begin(self, market: Market) -> None:
        tick_ns = market.state.tick_ns
        self._step_ns = max(tick_ns, NS_PER_S)
        if self._step_ns % tick_ns or (SECONDS_PER_MINUTE * NS_PER_S) % self._step_ns or self._step_ns % NS_PER_S:
            raise UsageFault(
                f"ticks of {tick_ns / NS_PER_S:g} s do not divide a minute into whole seconds: run with --tick 1 or max"
            )
        self._next_ns = market.state.start_ns + self._step_ns
        for listing in market.engine.rules.assets:
            self._assets[listing.instrument.symbol] = _Asset()
            self._instruments[listing.instrument.symbol] = float(listing.instrument.tick)

    def _take_parents(self, market: Market) -> None:
        if not isinstance(market.crowd, Crowd):
            return
        parents = market.crowd.parents
        while parents:
            parent = parents.popleft()
            tick = self._instruments[parent.symbol]
            row = (float(parent.sign), float(parent.size_lots), parent.start_ticks * tick, parent.end_ticks * tick)
            self._assets[parent.symbol].parents.append(row)

    def _observe(self, market: Market) -> None:
        """Middle of the touch, or the last price where a side is empty."""
        for symbol, asset in self._assets.items():
            book = market.engine.book(symbol)
            touch = book.touch()
            is_one_sided = not (touch.bid_ticks and touch.ask_ticks)
            middle = book.last_ticks if is_one_sided else (touch.bid_ticks + touch.ask_ticks) / 2
            asset.prices.append(middle * self._instruments[symbol])
            asset.spreads.append(0 if is_one_sided else touch.ask_ticks - touch.bid_ticks)
            asset.one_sided.append(int(is_one_sided))
            asset.lots.append(self._waiting.get(symbol, 0))
        self._waiting.clear()

    def samples(self) -> dict[str, MarketSample]:
        """A sample per asset; raises `UsageFault` when there was no tick."""
        if not self._assets:
            raise UsageFault("the run has no tick: there is nothing to judge")
        return {symbol: self._sample(symbol, asset) for symbol, asset in self._assets.items()}

    def _sample(self, symbol: str, asset: _Asset) -> MarketSample:
        step_s = self._step_ns // NS_PER_S
        per_minute = SECONDS_PER_MINUTE // step_s
        minutes = len(asset.prices) // per_minute
        lots = np.array(asset.lots[: minutes * per_minute], dtype=np.float64)
        return MarketSample(
            prices=np.array(asset.prices),
            signs=np.array(asset.signs, dtype=np.float64),
            volumes=lots.reshape(minutes, per_minute).sum(axis=1),
            spreads=np.array(asset.spreads, dtype=np.float64),
            one_sided=np.array(asset.one_sided, dtype=np.float64),
            metaorders=np.array(asset.parents, dtype=np.float64).reshape(-1, 4),
            step_s=step_s,
            tick_price=self._instruments[symbol],
        )
