"""What everyone may see of the trades: candles, tickers and the newest trades, built from the trade tape.

Knows neither orders nor accounts. An interval without a trade has no candle.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.exchange.records import Candle, Ticker, Trade
from agora.exchange.rules import MarketRules
from agora.kernels import klines as kernel
from agora.kernels import settlement_layout as layout
from agora.kernels.compiled import Rows, Words

INTERVALS_S: Mapping[str, int] = MappingProxyType(
    {"1s": 1, "10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400}
)
_NO_INTERVAL = "candles come in intervals of {known}, not {interval!r}"


class Feeds:
    """Candles, tickers and trades of one exchange, as of the last `absorb`.

    `lost` counts trades that the tape overwrote before they were absorbed: candles and tickers miss them.
    """

    __slots__ = ("_rules", "_tickers", "lost", "words")

    def __init__(self, rules: MarketRules) -> None:
        self._rules = rules
        self.words: Words = kernel.new_klines(
            assets=len(rules.assets),
            intervals_ns=[seconds * NS_PER_S for seconds in INTERVALS_S.values()],
            capacity=rules.candles_per_interval,
        )
        self.lost = 0

    @property
    def absorbed(self) -> int:
        """Number of the last trade that is in candles and tickers."""
        return int(self.words[kernel.ROLLED])

    def absorb(self, tape: Rows, *, trade_count: int) -> None:
        """Add the trades on the tape up to that number."""
        self.lost += kernel.add_trades(self.words, tape, trade_count)

    def candles(self, asset: int, interval: str, *, limit: int) -> tuple[Candle, ...]:
        """The newest candles, oldest first, the unfinished one last. Raises `KeyError` naming the intervals."""
        if interval not in INTERVALS_S:
            raise KeyError(_NO_INTERVAL.format(known=", ".join(INTERVALS_S), interval=interval))
        place = list(INTERVALS_S).index(interval)
        rows = kernel.candles(self.words, asset, place, limit=limit).tolist()
        return tuple(
            Candle(
                start_ns=start,
                open_ticks=opened,
                high_ticks=high,
                low_ticks=low,
                close_ticks=close,
                size_lots=lots,
                trades=trades,
                buy_lots=buy_lots,
            )
            for start, opened, high, low, close, lots, trades, buy_lots in rows
        )

    def ticker(self, asset: int) -> Ticker:
        """An asset since the exchange opened; without a trade everything is the listing price."""
        listing = self._rules.assets[asset]
        opened = listing.listing_price_ticks
        last, high, low, lots, trades = kernel.session(self.words, asset)
        return Ticker(
            symbol=listing.instrument.symbol,
            last_ticks=last if trades else opened,
            open_ticks=opened,
            high_ticks=max(high, opened) if trades else opened,
            low_ticks=min(low, opened) if trades else opened,
            size_lots=lots,
            trades=trades,
            change_fraction=last / opened - 1.0 if trades else 0.0,
        )


def trades_between(tape: Rows, symbols: tuple[str, ...], *, after: int, upto: int) -> list[Trade]:
    """The trades numbered after `after` up to `upto` that the tape still holds, oldest first."""
    capacity = tape.shape[0]
    first = max(after, upto - capacity, 0)
    return [_trade(tape[number % capacity].tolist(), symbols) for number in range(first, upto)]


def newest_trades(tape: Rows, symbols: tuple[str, ...], *, asset: int, upto: int, limit: int) -> list[Trade]:
    """The newest trades of one asset among those the tape still holds, oldest first."""
    capacity = tape.shape[0]
    found: list[Trade] = []
    for number in range(upto - 1, max(0, upto - capacity) - 1, -1):
        if len(found) >= limit:
            break
        row = tape[number % capacity]
        if row[layout.TRADE_ASSET] == asset:
            found.append(_trade(row.tolist(), symbols))
    return found[::-1]


def _trade(row: list[int], symbols: tuple[str, ...]) -> Trade:
    return Trade(
        number=row[layout.TRADE_NUMBER],
        ts_ns=row[layout.TRADE_TS],
        symbol=symbols[row[layout.TRADE_ASSET]],
        price_ticks=row[layout.TRADE_PRICE],
        size_lots=row[layout.TRADE_LOTS],
        aggressor=Side(row[layout.TRADE_SIDE]),
        maker=row[layout.TRADE_MAKER],
        taker=row[layout.TRADE_TAKER],
        maker_order_id=row[layout.TRADE_MAKER_ORDER],
        taker_order_id=row[layout.TRADE_TAKER_ORDER],
        maker_fee_units=row[layout.TRADE_MAKER_FEE],
        taker_fee_units=row[layout.TRADE_TAKER_FEE],
    )
