"""Public calls of the loopback Bitunix: contracts, prices, book, candles, funding."""

from __future__ import annotations

from typing import Any

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.exchange.perp_bars import INTERVALS_NS
from agora.exchange.perp_records import Bar, TriggerBy
from agora.testnet.bitunix_params import Asked, ms_of, not_alternative
from agora.testnet.bitunix_render import Renderer
from agora.testnet.bitunix_seconds import SHORT_INTERVALS_S

DEPTH_LIMITS = {"1": 1, "5": 5, "15": 15, "50": 50, "max": 1_000}
KLINES, KLINES_MAX = 100, 200
KINDS = {"LAST_PRICE": TriggerBy.LAST_PRICE, "MARK_PRICE": TriggerBy.MARK_PRICE}


def _renderer(asked: Asked) -> Renderer:
    return Renderer(asked.world.settings, asked.world.skew_ns)


def trading_pairs(asked: Asked) -> Any:
    """Contracts; what is not listed is left out."""
    exchange, renderer = asked.world.exchange, _renderer(asked)
    return [
        renderer.pair(exchange.listing(symbol), exchange.trading_mode(symbol), is_coarse=asked.is_coarse)
        for symbol in asked.symbols()
    ]


def position_tiers(asked: Asked) -> Any:
    """The ladder of a symbol's positions."""
    return _renderer(asked).tiers(asked.world.exchange.listing(asked.symbol()))


def tickers(asked: Asked) -> Any:
    """The last day of symbols."""
    exchange, renderer = asked.world.exchange, _renderer(asked)
    return [renderer.ticker(exchange.ticker(symbol), asked.instrument(symbol)) for symbol in asked.symbols()]


def depth(asked: Asked) -> Any:
    """The book, of so many levels."""
    symbol = asked.symbol()
    limit = asked.text("limit") or "max"
    if limit not in DEPTH_LIMITS:
        raise not_alternative(limit, tuple(DEPTH_LIMITS))
    book = asked.world.exchange.depth(symbol, DEPTH_LIMITS[limit])
    return _renderer(asked).depth(book, asked.instrument(symbol))


def kline(asked: Asked) -> Any:
    """Candles before an end, newest first; by the wire's habit the start does not count."""
    world, symbol = asked.world, asked.symbol()
    kind = asked.text("type").upper() or "LAST_PRICE"
    if kind not in KINDS:
        raise not_alternative(kind, tuple(KINDS))
    interval = asked.text("interval")
    by = KINDS[kind]
    offered = tuple(INTERVALS_NS)
    if world.settings.serves_short_klines and by is TriggerBy.LAST_PRICE:
        offered = (*SHORT_INTERVALS_S, *offered)
    if interval not in offered:
        raise not_alternative(interval, offered)
    limit = min(max(asked.whole("limit", KLINES), 1), KLINES_MAX)
    start_ms, end_ms = asked.span_ms()
    end_ns = min(end_ms * NS_PER_MS, world.now_ns() + 1)
    bars = world.bars(symbol, interval, limit=limit, end_ns=end_ns, by=by)
    renderer, instrument = _renderer(asked), asked.instrument(symbol)
    return [
        renderer.kline(bar, instrument, kind)
        for bar in reversed(bars)
        if _is_shown(asked, bar, interval) and (world.settings.anchors_klines_at_end or ms_of(bar.start_ns) >= start_ms)
    ]


def _is_shown(asked: Asked, bar: Bar, interval: str) -> bool:
    """Whether no client can take a forming candle for a closed one: where the venue's clock is ahead it waits."""
    length_ns = SHORT_INTERVALS_S[interval] * NS_PER_S if interval in SHORT_INTERVALS_S else INTERVALS_NS[interval]
    end_ns = bar.start_ns + length_ns
    return length_ns == 0 or end_ns <= asked.world.now_ns() or end_ns > asked.world.shown_ns()


def funding_rate(asked: Asked) -> Any:
    """Funding of a symbol, as a list of one."""
    return [_funding(asked, asked.symbol())]


def funding_rate_batch(asked: Asked) -> Any:
    """Funding of all symbols."""
    return [_funding(asked, symbol) for symbol in asked.world.symbols]


def _funding(asked: Asked, symbol: str) -> Any:
    exchange = asked.world.exchange
    return _renderer(asked).funding(asked.world.funding(symbol), exchange.ticker(symbol), exchange.listing(symbol))


def funding_rate_history(asked: Asked) -> Any:
    """Settlements of the past, newest first. The documentation spells the start so."""
    symbol = asked.symbol()
    start_ms, end_ms = asked.span_ms("starTime")
    limit = min(max(asked.whole("limit", KLINES), 1), KLINES_MAX)
    skew_ns, renderer = asked.world.skew_ns, _renderer(asked)
    found = [
        settled
        for settled in reversed(asked.world.fundings(symbol))
        if start_ms <= ms_of(settled.ts_ns + skew_ns) <= end_ms
    ]
    return [renderer.funding_history(settled, asked.instrument(symbol)) for settled in found[:limit]]
