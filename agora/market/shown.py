"""What the market shows to the outside: the bodies of its API and of its report. Numbers here are for display.

Called between two steps of the market, so that everything in one body is of one tick.
"""

from __future__ import annotations

from typing import Any

from agora.domain.numbers import MONEY_SCALE, money_text
from agora.exchange.portfolio import Portfolio
from agora.market.market import Market, Seat

HISTORY_SHOWN = 120  # ticks of prices in a state body: two minutes of a page's chart


def state_body(market: Market) -> dict[str, Any]:
    """Prices, tickers, tick, sentiment, figures and recent history: the body of `GET /state`."""
    state, engine = market.state, market.engine
    prices = prices_body(market)
    return {
        "prices": prices,
        "tickers": prices,
        "assets": list(engine.rules.symbols),
        "quote_currency": engine.accounts.instrument(engine.rules.symbols[0]).quote,
        "tick": state.tick,
        "status": state.phase.value,
        "sentiment": sentiment_body(market),
        "metrics": metrics_body(market),
        "history": history_body(market),
    }


def history_body(market: Market) -> list[dict[str, Any]]:
    """Prices at the ends of the newest ticks, oldest first."""
    shown = min(HISTORY_SHOWN, *map(len, market.state.closes_ticks))
    columns = []
    for listing, closes in zip(market.engine.rules.assets, market.state.closes_ticks, strict=True):
        # The quotient of whole numbers is rounded once, so it is the decimal price's own float at a tenth of the time.
        units, parts = listing.instrument.tick.as_integer_ratio()
        columns.append([price_ticks * units / parts for price_ticks in closes[-shown:]])
    symbols, first = market.engine.rules.symbols, market.state.tick - shown + 1
    return [
        {"tick": tick, "prices": dict(zip(symbols, row, strict=True))}
        for tick, row in enumerate(zip(*columns, strict=True), start=first)
    ]


def prices_body(market: Market) -> dict[str, float]:
    """Last price of each asset."""
    return {
        symbol: _price(market, symbol, market.engine.book(symbol).last_ticks) for symbol in market.engine.rules.symbols
    }


def _price(market: Market, symbol: str, price_ticks: int) -> float:
    return float(market.engine.accounts.instrument(symbol).tick * price_ticks)


def sentiment_body(market: Market) -> dict[str, Any]:
    """Mean tone of the newest news per asset, and over all of them."""
    tones: dict[str, list[float]] = {symbol: [] for symbol in market.engine.rules.symbols}
    for item in market.state.news:
        for symbol in item.symbols or market.engine.rules.symbols:
            tones.setdefault(symbol, []).append(item.tone)
    means = {symbol: sum(values) / len(values) if values else 0.0 for symbol, values in tones.items()}
    return {"overall": sum(means.values()) / len(means), "by_asset": means}


def metrics_body(market: Market) -> dict[str, Any]:
    """Counts since the start."""
    state = market.state
    outcomes: dict[str, int] = {}
    for seat in state.seats:
        for name, count in seat.outcomes.items():
            outcomes[name] = outcomes.get(name, 0) + count
    return {
        "trades": state.trades,
        "agents": len(market.seats),
        "requests": sum(seat.requests for seat in state.seats),
        "refused": sum(seat.refused for seat in state.seats),
        "decisions": dict(sorted(outcomes.items())),
        "model_cost": money_text(state.cost_units),
    }


def agents_body(market: Market) -> list[dict[str, Any]]:
    """Every agent with its portfolio in the quote currency of the first asset: the body of `GET /agents`."""
    return [_agent(market, place, seat) for place, seat in enumerate(market.seats)]


def _agent(market: Market, place: int, seat: Seat) -> dict[str, Any]:
    counts = market.state.seats[place]
    return {
        "id": seat.name,
        "persona": seat.persona,
        "model": seat.model,
        "portfolio": portfolio_body(market, market.engine.portfolio(seat.account)),
        "requests": counts.requests,
        "refused": counts.refused,
        "outcomes": counts.outcomes,
        "note": counts.note,
    }


def portfolio_body(market: Market, portfolio: Portfolio) -> dict[str, Any]:
    """A portfolio as numbers; totals under both of their usual names."""
    total_pnl = _number(portfolio.total_pnl_units)
    total_value = _number(portfolio.total_value_units)
    return {
        "cash": _number(portfolio.cash_units),
        "positions": {
            position.symbol: {
                "size": float(market.engine.accounts.instrument(position.symbol).lot * position.size_lots),
                "average_price": float(market.engine.accounts.instrument(position.symbol).tick)
                * position.average_price_ticks,
                "unrealized_pnl": _number(position.unrealised_units),
            }
            for position in portfolio.holdings
            if position.size_lots
        },
        "realized_pnl": _number(portfolio.realised_units),
        "unrealized_pnl": _number(portfolio.unrealised_units),
        "total_pnl": total_pnl,
        "pnl": total_pnl,
        "total_value": total_value,
        "portfolio_value": total_value,
        "roi": portfolio.roi,
        "pnl_percent": 100 * portfolio.roi,
        "initial_capital": _number(portfolio.initial_capital_units),
        "trades_count": portfolio.trades_count,
    }


def _number(units: int) -> float:
    return units / float(MONEY_SCALE)


def rules_body(market: Market) -> dict[str, Any]:
    """The venue's rule card: `GET /rules`."""
    return {
        "assets": [
            {
                "symbol": listing.instrument.symbol,
                "quote_currency": listing.instrument.quote,
                "tick_size": listing.instrument.tick_size,
                "lot_size": listing.instrument.lot_size,
                "maker_fee": listing.instrument.maker_fee_ppm / 1e6,
                "taker_fee": listing.instrument.taker_fee_ppm / 1e6,
                "shorting": listing.allows_shorts,
                "initial_margin": listing.initial_margin_ppm / 1e6,
                "maintenance_margin": listing.maintenance_ppm / 1e6,
            }
            for listing in market.engine.rules.assets
        ],
        "order_types": ["limit", "market", "stop", "take_profit"],
        "time_in_force": ["gtc", "ioc", "fok", "gtd"],
        "flags": ["post_only", "reduce_only"],
        "self_trade_prevention": ["cancel_newest", "cancel_oldest", "cancel_both", "decrement"],
        "priority": "price, then time; an order keeps its place only when its size goes down",
        "agents_see": "touch, last prices of 256 ticks, the newest 8 news, their own account and orders",
        "order_of_agents": "drawn anew for each tick from the seed",
    }


def book_body(market: Market, symbol: str, levels: int) -> dict[str, Any]:
    """The best levels of a book, best first, prices and sizes as numbers."""
    depth, instrument = market.engine.book(symbol).depth(levels=levels), market.engine.accounts.instrument(symbol)
    sides = {
        name: [
            {"price": float(instrument.tick * level.price_ticks), "size": float(instrument.lot * level.size_lots)}
            for level in side
        ]
        for name, side in (("bids", depth.bids), ("asks", depth.asks))
    }
    return {"symbol": symbol, "tick": market.state.tick, **sides}


def trades_body(market: Market, symbol: str, limit: int) -> list[dict[str, Any]]:
    """The newest trades of an asset, oldest first."""
    instrument = market.engine.accounts.instrument(symbol)
    return [
        {
            "id": trade.number,
            "ts_ns": trade.ts_ns,
            "price": float(instrument.tick * trade.price_ticks),
            "size": float(instrument.lot * trade.size_lots),
            "side": trade.aggressor.word,
        }
        for trade in market.engine.trades(symbol, limit=limit)
    ]


def candles_body(market: Market, symbol: str, interval: str, *, limit: int) -> list[dict[str, Any]]:
    """Candles of an asset, oldest first; the last one is still forming."""
    instrument = market.engine.accounts.instrument(symbol)
    tick, lot = instrument.tick, instrument.lot
    return [
        {
            "start_ns": candle.start_ns,
            "open": float(tick * candle.open_ticks),
            "high": float(tick * candle.high_ticks),
            "low": float(tick * candle.low_ticks),
            "close": float(tick * candle.close_ticks),
            "volume": float(lot * candle.size_lots),
            "trades": candle.trades,
        }
        for candle in market.engine.feeds.candles(market.engine.asset_of(symbol), interval, limit=limit)
    ]
