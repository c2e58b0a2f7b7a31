"""Limits on one intent, as a table. Each either says nothing or refuses with its numbers.

Only orders that can add risk are held to the exposure limits; an order that can only reduce must always get out,
so it is held to what the venue itself demands (known instrument, steps, sane price).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from agora.domain.intents import Place
from agora.domain.numbers import NS_PER_S, PPM, money_text, money_units
from agora.domain.orders import Side
from agora.engine.desk import Desk
from agora.engine.state import Phase

MINUTE_NS = 60 * NS_PER_S
COMPARISONS_MISSED_MAX = 3


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on each order. A maximum of 0 lots means no limit in units (the notional limit still holds)."""

    position_notional_max: Annotated[
        str,
        Meta(pattern=r"^\d{1,12}(\.\d{1,8})?$", description="largest position, money of the quote currency"),
    ] = "20000"
    position_lots_max: Annotated[int, Meta(ge=0, le=10**12, description="largest position in lots (0: no limit)")] = 0
    portfolio_notional_max: Annotated[
        str,
        Meta(pattern=r"^\d{1,12}(\.\d{1,8})?$", description="all positions together, money of the quote currency"),
    ] = "60000"
    order_notional_max: Annotated[
        str, Meta(pattern=r"^\d{1,12}(\.\d{1,8})?$", description="largest order, money of the quote currency")
    ] = "20000"
    price_band_ppm: Annotated[
        int, Meta(ge=100, le=500_000, description="largest distance of a price from the last good one, ppm")
    ] = 50_000
    orders_per_minute_max: Annotated[int, Meta(ge=1, le=600, description="orders in any 60 s of the run's clock")] = 60
    leverage_max: Annotated[int, Meta(ge=1, le=125, description="resulting notional over equity")] = 3
    data_age_s_max: Annotated[
        int, Meta(ge=1, le=600, description="no order that adds risk on market data older than this, seconds")
    ] = 5
    dry_run: Annotated[bool, Meta(description="decide and record, but send nothing")] = False


Rule = Callable[[Desk, LimitSettings, Place], str | None]


class Limit:
    """One row of the table, bound to its settings (port `Check`)."""

    __slots__ = ("_rule", "_settings", "name")

    def __init__(self, name: str, rule: Rule, settings: LimitSettings) -> None:
        self.name = name
        self._rule = rule
        self._settings = settings

    def refusal(self, desk: Desk, place: Place) -> str | None:
        """Why the intent is refused, or None."""
        return self._rule(desk, self._settings, place)


def build_limits(settings: LimitSettings) -> tuple[Limit, ...]:
    """All limits, in the order in which they speak."""
    return tuple(Limit(name, rule, settings) for name, rule in LIMITS.items())


def _adds_risk(place: Place) -> bool:
    return not place.reduce_only


def _reference_ticks(desk: Desk, place: Place) -> int:
    """The price an order is judged at: its own if it has one, else the worse side of the market."""
    if place.price_ticks:
        return place.price_ticks
    market = desk.state.markets[place.instrument]
    touch = market.ask_ticks if place.side is Side.BUY else market.bid_ticks
    return touch or market.last_ticks


def _worst_position_lots(desk: Desk, place: Place) -> int:
    """The position if this order and every open or unknown order on its side filled completely.

    Orders that only reduce may close an opposite position first, so what that position would absorb is not counted on.
    """
    state = desk.state
    same_side = [
        order for order in state.working.values() if order.instrument == place.instrument and order.side == place.side
    ]
    adding = sum(order.remaining_lots for order in same_side if not order.reduce_only)
    reducing = sum(order.remaining_lots for order in same_side if order.reduce_only)
    signed = state.holdings[place.instrument].position.size_lots * place.side
    start = signed if signed >= 0 else min(0, signed + reducing)
    return start + adding + place.size_lots


def known_instrument(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """The instrument belongs to this run."""
    if place.instrument in desk.rules.instruments:
        return None
    return f"{place.instrument} is not an instrument of this run"


def entries_open(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """Nothing new while a breaker is tripped, a flattening is under way or the run is ending."""
    state = desk.state
    if not _adds_risk(place):
        return None
    if state.breakers:
        return f"breaker tripped: {', '.join(sorted(state.breakers))}"
    if state.phase is not Phase.RUNNING or state.is_flattening_only:
        return f"admission is closed ({state.end_reason or 'flattening'})"
    return None


def dry_run(_: Desk, settings: LimitSettings, __: Place) -> str | None:
    """`--dry-run`: everything but the order."""
    return "dry run: decided, not sent" if settings.dry_run else None


def size_steps(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """Whole positive lots inside the venue's minimum and maximum."""
    instrument = desk.rules.instruments[place.instrument]
    if instrument.lots_min <= place.size_lots <= instrument.lots_max:
        return None
    return f"size {place.size_lots} lots is outside {instrument.lots_min}..{instrument.lots_max}"


def known_price(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """Prices are positive ticks, and there is a market to judge them against."""
    levels = (place.price_ticks, place.trigger_ticks, place.stop_ticks, place.target_ticks)
    if min(levels) < 0:
        return f"negative price in {levels} ticks"
    if place.type == "limit" and place.price_ticks == 0:
        return "a limit order needs a price"
    if desk.state.markets[place.instrument].mark_ticks <= 0:
        return "no good market price yet"
    return None


def price_band(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """A price far from the last good one is a mistake of ours or of the feed."""
    mark = desk.state.markets[place.instrument].mark_ticks
    price = place.price_ticks
    if not price or abs(price - mark) * PPM <= settings.price_band_ppm * mark:
        return None
    return f"price {price} ticks is {abs(price - mark) * PPM // mark} ppm from {mark}, limit {settings.price_band_ppm}"


def fresh_data(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """No new risk on old data."""
    market = desk.state.markets[place.instrument]
    age_ns = desk.state.now_ns - market.seen_ts_ns
    if not _adds_risk(place) or age_ns <= settings.data_age_s_max * NS_PER_S:
        return None
    return f"market data are {age_ns // 1_000_000} ms old, limit {settings.data_age_s_max * 1000}"


def user_stream(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """No new risk while the venue's private stream is silent: fills may happen that we do not see."""
    state = desk.state
    if not state.needs_user_stream or not _adds_risk(place):
        return None
    if not state.user_connected_ns:
        return "the private stream is not connected"
    limit_s = state.user_keepalive_s + desk.rules.account.user_stream_age_s_max
    age_ns = state.now_ns - state.user_seen_ns
    return (
        f"private stream silent for {age_ns // 1_000_000} ms, limit {limit_s} s"
        if age_ns > limit_s * NS_PER_S
        else None
    )


def reconciled(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """No new risk before the venue's books and ours have been compared and agree, nor long after they last did."""
    state = desk.state
    if not state.needs_user_stream or not _adds_risk(place):
        return None
    if not state.is_reconciled:
        differing = ", ".join(state.desync_keys)
        if differing:
            return f"books differ from the venue's: {differing}"
        return "books are not compared with the venue's yet"
    # Three comparisons in a row may be late or lost; a venue that answers none of them is not to be traded on.
    limit_s = COMPARISONS_MISSED_MAX * desk.rules.account.reconcile_every_s
    since_ns = state.now_ns - state.agreed_ns
    return f"books last agreed {since_ns // NS_PER_S} s ago, limit {limit_s}" if since_ns > limit_s * NS_PER_S else None


def doubts(desk: Desk, _: LimitSettings, place: Place) -> str | None:
    """No new risk while a storm of orders in doubt has not been cleared by evidence."""
    if not desk.state.storm_since_ns or not _adds_risk(place):
        return None
    return "too many orders in doubt at once"


def order_size(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """One order's notional."""
    notional = desk.rules.instruments[place.instrument].notional_units(_reference_ticks(desk, place), place.size_lots)
    if not _adds_risk(place) or notional <= money_units(settings.order_notional_max):
        return None
    return f"order of {money_text(notional)}, limit {settings.order_notional_max}"


def position_units(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """The resulting position in lots, counting open and unknown orders at worst."""
    worst = _worst_position_lots(desk, place)
    if not _adds_risk(place) or not settings.position_lots_max or worst <= settings.position_lots_max:
        return None
    return f"resulting position {worst} lots, limit {settings.position_lots_max}"


def position_notional(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """The resulting position in money, counting open and unknown orders at worst."""
    worst = _worst_position_lots(desk, place)
    notional = desk.rules.instruments[place.instrument].notional_units(_reference_ticks(desk, place), worst)
    if not _adds_risk(place) or notional <= money_units(settings.position_notional_max):
        return None
    return f"resulting position of {money_text(notional)}, limit {settings.position_notional_max}"


def _portfolio_units(desk: Desk, place: Place) -> int:
    """All positions in money if this order and all open and unknown ones filled, each symbol at its worse side."""
    worst = _worst_position_lots(desk, place)
    total = abs(desk.rules.instruments[place.instrument].notional_units(_reference_ticks(desk, place), worst))
    for symbol, instrument in desk.rules.instruments.items():
        if symbol != place.instrument:
            mark = desk.state.markets[symbol].mark_ticks
            total += instrument.notional_units(mark, _worst_lots(desk, symbol))
    return total


def _worst_lots(desk: Desk, symbol: str) -> int:
    """The larger of what long and short side could come to in an instrument, in lots."""
    working = [order for order in desk.state.working.values() if order.instrument == symbol and not order.reduce_only]
    held = desk.state.holdings[symbol].position.size_lots
    buys = sum(order.remaining_lots for order in working if order.side is Side.BUY)
    sells = sum(order.remaining_lots for order in working if order.side is Side.SELL)
    return max(abs(held + buys), abs(held - sells))


def portfolio_notional(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """All instruments of the run together, in money."""
    notional = _portfolio_units(desk, place)
    if not _adds_risk(place) or notional <= money_units(settings.portfolio_notional_max):
        return None
    return f"all positions would come to {money_text(notional)}, limit {settings.portfolio_notional_max}"


def leverage(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """All resulting positions in money against the equity."""
    notional = _portfolio_units(desk, place)
    equity = desk.equity_units()
    if not _adds_risk(place) or notional <= equity * settings.leverage_max:
        return None
    return f"notional {money_text(notional)} over equity {money_text(equity)}, limit {settings.leverage_max}x"


def order_rate(desk: Desk, settings: LimitSettings, place: Place) -> str | None:
    """Orders in the last 60 s of the run's clock, this one and the legs of its bracket included."""
    since = desk.state.now_ns - MINUTE_NS
    recent = sum(ts_ns > since for ts_ns in desk.state.order_times_ns)
    wanted = recent + 1 + bool(place.stop_ticks) + bool(place.target_ticks)
    if not _adds_risk(place) or wanted <= settings.orders_per_minute_max:
        return None
    return f"{wanted} orders in a minute with this one and its legs, limit {settings.orders_per_minute_max}"


LIMITS: dict[str, Rule] = {
    "known_instrument": known_instrument,
    "entries_open": entries_open,
    "size_steps": size_steps,
    "known_price": known_price,
    "price_band": price_band,
    "fresh_data": fresh_data,
    "user_stream": user_stream,
    "reconciled": reconciled,
    "doubts": doubts,
    "order_size": order_size,
    "position_units": position_units,
    "position_notional": position_notional,
    "portfolio_notional": portfolio_notional,
    "leverage": leverage,
    "order_rate": order_rate,
    "dry_run": dry_run,
}
