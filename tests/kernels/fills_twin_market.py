"""What the twin of the fill kernel knows of the market, kept in dicts and sorted when looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agora.kernels import fills as k

PPM = 1_000_000


@dataclass
class Level:
    """Displayed liquidity at one price and how much of it we used."""

    size: int
    used: int = 0
    event: int = 0

    def report(self, size: int) -> None:
        """Take over a reported size; only a change brings used liquidity back."""
        if size != self.size:
            self.size, self.used = size, 0


@dataclass
class Touch(Level):
    """One side of a quote; price 0 is an empty side."""

    price: int = 0


@dataclass
class Market:
    """What was seen of the market."""

    half_ppm: int
    level_capacity: int
    close: int = 0
    trade: int = 0
    has_quote: bool = False
    has_depth: bool = False
    touches: dict[int, Touch] = field(default_factory=lambda: {k.BUY: Touch(0), k.SELL: Touch(0)})
    books: dict[int, dict[int, Level]] = field(default_factory=lambda: {k.BUY: {}, k.SELL: {}})

    @property
    def level(self) -> int:
        """The best input there is."""
        if self.has_depth:
            return k.DEPTH
        if self.has_quote:
            return k.QUOTES
        if self.trade:
            return k.TRADES
        return k.CANDLES if self.close else k.SEEN_NOTHING

    def sorted_prices(self, side: int) -> list[int]:
        """Prices of a side of the book, best first."""
        return sorted(self.books[side], reverse=side == k.BUY)

    def touch(self, side: int) -> int:
        """Best displayed price of a side, 0 if there is none."""
        if self.level == k.DEPTH:
            return next(iter(self.sorted_prices(side)), 0)
        return self.touches[side].price if self.level == k.QUOTES else 0

    def worse(self, price: int, side: int) -> int:
        """Half a spread against the taker, rounded against him."""
        half = -(-price * self.half_ppm // PPM)
        return price + half if side == k.BUY else max(1, price - half)

    @property
    def base(self) -> int:
        """The price around which trades-only and candles-only fills are made."""
        return {k.TRADES: self.trade, k.CANDLES: self.close}.get(self.level, 0)

    def price_for(self, side: int) -> int:
        """Price of the first lot of a market order, 0 if there is none."""
        if self.level >= k.QUOTES:
            return self.touch(-side)
        return self.worse(self.base, side) if self.base else 0

    def shown_at(self, side: int, price: int) -> int | None:
        """Displayed size at a price of a side, None where we cannot see."""
        if self.level == k.QUOTES:
            touch = self.touches[side]
            if not touch.price or (touch.price - price) * side > 0:
                return None
            return touch.size if touch.price == price else 0
        if self.level == k.DEPTH and self.books[side]:
            worst = self.sorted_prices(side)[-1]
            if (worst - price) * side > 0:
                return None
            return self.books[side][price].size if price in self.books[side] else 0
        return None

    def offers(self, side: int) -> Iterator[tuple[int, Level, int]]:
        """What a taker of `side` meets at QUOTES and DEPTH: price, the level it belongs to, lots."""
        if self.level == k.DEPTH:
            for price in self.sorted_prices(-side):
                level = self.books[-side][price]
                if level.size > level.used:
                    yield price, level, level.size - level.used
            return
        touch = self.touches[-side]
        if not touch.price:
            return
        if self.touches[side].price:
            step = max(1, self.touches[k.SELL].price - self.touches[k.BUY].price)
        else:
            step = max(1, 2 * (self.worse(touch.price, k.BUY) - touch.price))
        for number in range(100):
            price = touch.price + side * number * step
            free = min(touch.size, (number + 1) * touch.size - touch.used)
            if price < 1:
                return
            if free > 0:
                yield price, touch, free

    def snapshot_rows(self, rows: Iterable[tuple[int, int, int]], event: int, *, is_snapshot: bool) -> None:
        """Apply level rows, then forget what a snapshot left out and what is crossed."""
        for side, price, size in rows:
            if side in (k.BUY, k.SELL) and price > 0:
                self._report(side, price, size, event)
        for side in (k.BUY, k.SELL):
            if is_snapshot:
                self.books[side] = {p: level for p, level in self.books[side].items() if level.event == event}
        while self.books[k.BUY] and self.books[k.SELL]:
            bid, ask = max(self.books[k.BUY]), min(self.books[k.SELL])
            if bid < ask:
                return
            bid_event, ask_event = self.books[k.BUY][bid].event, self.books[k.SELL][ask].event
            if bid_event <= ask_event:
                del self.books[k.BUY][bid]
            if ask_event <= bid_event:
                del self.books[k.SELL][ask]

    def _report(self, side: int, price: int, size: int, event: int) -> None:
        book = self.books[side]
        if size <= 0:
            book.pop(price, None)
            return
        if price in book:
            book[price].report(size)
        else:
            book[price] = Level(size)
        book[price].event = event
        if len(book) > self.level_capacity:
            del book[self.sorted_prices(side)[-1]]
