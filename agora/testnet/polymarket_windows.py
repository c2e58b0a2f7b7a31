"""The up/down windows of the loopback Polymarket: created ahead, and resolved from a price path by the rule that holds.

Prices are handed in second by second, seeded or recorded; they are floats (a statistic), only compared and averaged.
Opening and closing is the exchange's own doing.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.dice import dice_of
from agora.domain.numbers import NS_PER_S
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_prices import POINTS
from agora.exchange.binary_records import MarketState
from agora.exchange.binary_rules import BinaryWindow

# The longest average that a rule needs, and some seconds for streams that show the past of it.
SECONDS_KEPT = 180
# A process that was held up fills the seconds it missed with one price, at most so many.
SECONDS_AT_ONCE_MAX = 3_600
# A client may still ask about a window of the day before.
WINDOWS_KEPT = 2_000
_TOKEN_WORDS = 4


class ResolutionRule(StrEnum):
    """What the price at a boundary of a window is: the last print, or the mean of the last whole seconds."""

    SPOT = "spot"
    TWAP30 = "twap30"
    TWAP60 = "twap60"

    @property
    def seconds(self) -> int:
        """How many whole seconds are averaged."""
        return {ResolutionRule.SPOT: 1, ResolutionRule.TWAP30: 30, ResolutionRule.TWAP60: 60}[self]


class WindowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which windows there are. The venue's switch of the tick near 0 and 1 is documented without its thresholds."""

    seed: Annotated[int, Meta(ge=0, description="names of markets and tokens")] = 1
    lengths_s: Annotated[tuple[int, ...], Meta(min_length=1, description="lengths of windows, seconds")] = (900,)
    ahead: Annotated[int, Meta(ge=1, le=300, description="windows created beyond the current one, of each length")] = 2
    rule: Annotated[ResolutionRule, Meta(description="spot, twap30 or twap60")] = ResolutionRule.TWAP60
    resolve_after_s: Annotated[int, Meta(ge=0, le=3_600, description="from the end to the resolution, seconds")] = 60
    tick_points: Annotated[int, Meta(ge=1, description="tick, in points of 0.0001")] = 100
    fine_tick_points: Annotated[int, Meta(ge=1, description="tick near 0 and 1, in points of 0.0001")] = 10
    fine_beyond_points: Annotated[
        int, Meta(ge=0, le=POINTS // 2, description="distance from 0 and 1 that is near, in points; 0: never")
    ] = 400


class Settlement(msgspec.Struct, kw_only=True):
    """What decides a window: the prices at its start and end, None while they are not known."""

    window: BinaryWindow
    length_s: int
    price_to_beat: float | None = None
    final_price: float | None = None


class Windows:
    """All windows of a testnet. `observe` is called often, `now_ns` never running backwards."""

    def __init__(self, exchange: BinaryExchange, settings: WindowSettings) -> None:
        self._exchange = exchange
        self._settings = settings
        self._settlements: dict[str, Settlement] = {}
        self._undecided: dict[str, Settlement] = {}
        self._prices: deque[float] = deque(maxlen=SECONDS_KEPT)
        self._second = 0  # the newest whole second whose price is known

    def observe(self, now_ns: int, price: float) -> None:
        """The price of now: whole seconds passed since the last call had it, windows begin, end and are decided."""
        second = now_ns // NS_PER_S
        missed = min(second - self._second, SECONDS_AT_ONCE_MAX) if self._prices else 1
        for passed in range(second - missed + 1, second + 1):
            self._prices.append(price)
            self._second = passed
            self._note_boundaries()
        self._create(second)
        self._resolve(second)
        self._refine_ticks()

    def average(self, seconds: int) -> float:
        """The mean of the last whole seconds, of those that are known."""
        newest = list(self._prices)[-seconds:]
        return sum(newest) / len(newest)

    def recent(self, seconds: int) -> list[tuple[int, float]]:
        """The newest whole seconds with their prices, oldest first."""
        newest = list(self._prices)[-seconds:]
        return [(self._second - len(newest) + 1 + number, price) for number, price in enumerate(newest)]

    def settlement(self, condition_id: str) -> Settlement | None:
        """What decides a window, as far as it is known."""
        return self._settlements.get(condition_id)

    def current(self, length_s: int) -> Settlement | None:
        """The window that runs now."""
        return next(
            (
                each
                for each in self._undecided.values()
                if each.length_s == length_s and each.window.start_ns <= self._exchange.now_ns < each.window.end_ns
            ),
            None,
        )

    # What a second brings.

    def _boundary_price(self) -> float:
        return self.average(self._settings.rule.seconds)

    def _note_boundaries(self) -> None:
        """A price is stamped with the second it ends in."""
        for each in self._undecided.values():
            if each.window.start_ns == self._second * NS_PER_S:
                each.price_to_beat = self._boundary_price()
            if each.window.end_ns == self._second * NS_PER_S:
                each.final_price = self._boundary_price()

    def _create(self, second: int) -> None:
        """The current window and those ahead of it are there; they take orders at once."""
        for length_s in self._settings.lengths_s:
            start_s = second - second % length_s
            for number in range(self._settings.ahead + 1):
                self._create_one(start_s + number * length_s, length_s, second=second)

    def _create_one(self, start_s: int, length_s: int, *, second: int) -> None:
        condition_id = condition_of(self._settings.seed, slug_of(length_s, start_s))
        if condition_id in self._settlements:
            return
        window = self._window(start_s, length_s)
        self._exchange.create_window(window)
        settlement = Settlement(window=window, length_s=length_s)
        if start_s <= second:  # the testnet started in the middle of it: what is known now has to do
            settlement.price_to_beat = self._boundary_price()
        self._settlements[condition_id] = self._undecided[condition_id] = settlement
        if len(self._settlements) > WINDOWS_KEPT:
            oldest = next(iter(self._settlements))
            if oldest not in self._undecided:
                del self._settlements[oldest]

    def _window(self, start_s: int, length_s: int) -> BinaryWindow:
        slug = slug_of(length_s, start_s)
        return BinaryWindow(
            condition_id=condition_of(self._settings.seed, slug),
            up_token=token_of(self._settings.seed, slug, "up"),
            down_token=token_of(self._settings.seed, slug, "down"),
            start_ns=start_s * NS_PER_S,
            end_ns=(start_s + length_s) * NS_PER_S,
            slug=slug,
            tick_points=self._settings.tick_points,
        )

    def _resolve(self, second: int) -> None:
        """Decide the windows whose time has come; one whose end was slept through is decided by the present price."""
        for condition_id, each in list(self._undecided.items()):
            if second * NS_PER_S < each.window.end_ns + self._settings.resolve_after_s * NS_PER_S:
                continue
            if self._exchange.market(condition_id).state is MarketState.OPEN:
                continue  # the exchange has not been brought to the present yet
            if each.price_to_beat is None:
                each.price_to_beat = self._boundary_price()
            if each.final_price is None:
                each.final_price = self._boundary_price()
            self._exchange.resolve(condition_id, start_price=each.price_to_beat, end_price=each.final_price)
            del self._undecided[condition_id]

    def _refine_ticks(self) -> None:
        """Near 0 and 1 a market gets the fine tick, and keeps it."""
        near = self._settings.fine_beyond_points
        for condition_id, each in self._undecided.items():
            market = self._exchange.market(condition_id)
            if market.state is not MarketState.OPEN or market.tick_points <= self._settings.fine_tick_points:
                continue
            last = self._exchange.book(each.window.up_token).last_points
            if last < near or last > POINTS - near:
                self._exchange.set_tick(condition_id, self._settings.fine_tick_points)


def slug_of(length_s: int, start_s: int) -> str:
    """The venue's name of a window."""
    return f"btc-updown-{length_s // 60}m-{start_s}"


def condition_of(seed: int, slug: str) -> str:
    """A market's id: 0x and 64 hexadecimal digits."""
    dice = dice_of(seed, "condition", slug)
    return "0x" + "".join(f"{dice.word():016x}" for _ in range(_TOKEN_WORDS))


def token_of(seed: int, slug: str, outcome: str) -> str:
    """A token's id: a decimal number of 256 bits. Bits 40 to 103 are not all zero, or the venue's own client would take
    it for a position of another protocol.
    """
    dice = dice_of(seed, "token", slug, outcome)
    words = [dice.word() | 1 << 60 for _ in range(_TOKEN_WORDS)]
    return str(sum(word << 64 * place for place, word in enumerate(words)))
