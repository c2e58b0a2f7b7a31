"""Candles shorter than a minute, which the venue does not have and a short run needs: built from seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile

import msgspec

from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_records import Bar, PublicTrade

# Two hundred candles of 30 s, twenty minutes of a run, and some room.
SECONDS_KEPT = 9_000
SHORT_INTERVALS_S = {"1s": 1, "5s": 5, "15s": 15, "30s": 30}


class Seconds:
    """The seconds of one symbol's trades; one without a trade repeats the close before it."""

    def __init__(self, history: Sequence[Bar], price_ticks: int) -> None:
        self._finished: deque[Bar] = deque(history, maxlen=SECONDS_KEPT)
        self._price_ticks = self._finished[-1].close_ticks if self._finished else price_ticks
        self._forming: Bar | None = None

    def add(self, trade: PublicTrade, quote_units: int) -> None:
        """Note a trade."""
        self.roll(trade.ts_ns)
        assert self._forming is not None
        forming, price = self._forming, trade.price_ticks
        is_first = not forming.trades
        self._price_ticks = price
        self._forming = Bar(
            start_ns=forming.start_ns,
            open_ticks=price if is_first else forming.open_ticks,
            high_ticks=price if is_first else max(forming.high_ticks, price),
            low_ticks=price if is_first else min(forming.low_ticks, price),
            close_ticks=price,
            size_lots=forming.size_lots + trade.size_lots,
            quote_units=forming.quote_units + quote_units,
            trades=forming.trades + 1,
        )

    def roll(self, now_ns: int) -> None:
        """Finish the seconds that are over; of a leap only what is kept is filled in."""
        start_ns = now_ns - now_ns % NS_PER_S
        newest = self._forming or (self._finished[-1] if self._finished else None)
        if newest is not None and start_ns <= newest.start_ns:
            return
        if self._forming is not None:
            self._finished.append(self._forming)
        first_ns = start_ns if newest is None else newest.start_ns + NS_PER_S
        for missed_ns in range(max(first_ns, start_ns - SECONDS_KEPT * NS_PER_S), start_ns, NS_PER_S):
            self._finished.append(self._flat(missed_ns))
        self._forming = self._flat(start_ns)

    def _flat(self, start_ns: int) -> Bar:
        price = self._price_ticks
        return Bar(start_ns=start_ns, open_ticks=price, high_ticks=price, low_ticks=price, close_ticks=price)

    def bars(self, interval_s: int, *, limit: int, end_ns: int) -> list[Bar]:
        """The newest bars that began before the end, oldest first, the forming one included."""
        length_ns = interval_s * NS_PER_S
        newest = [] if self._forming is None else [self._forming]
        last_ns = end_ns - 1 - (end_ns - 1) % length_ns
        first_ns = last_ns - (limit - 1) * length_ns
        kept = takewhile(lambda bar: bar.start_ns >= first_ns, (*newest, *reversed(self._finished)))
        joined: list[Bar] = []
        for second in list(kept)[::-1]:
            start_ns = second.start_ns - second.start_ns % length_ns
            if start_ns > last_ns:
                break
            if joined and joined[-1].start_ns == start_ns:
                joined[-1] = _joined(joined[-1], second)
            elif joined or second.start_ns == start_ns:  # what began before all that is kept is not whole
                joined.append(msgspec.structs.replace(second, start_ns=start_ns))
        return joined


def _joined(bar: Bar, second: Bar) -> Bar:
    """A bar with one more second."""
    return Bar(
        start_ns=bar.start_ns,
        open_ticks=bar.open_ticks,
        high_ticks=max(bar.high_ticks, second.high_ticks),
        low_ticks=min(bar.low_ticks, second.low_ticks),
        close_ticks=second.close_ticks,
        size_lots=bar.size_lots + second.size_lots,
        quote_units=bar.quote_units + second.quote_units,
        trades=bar.trades + second.trades,
    )
