"""The heart: `step(desk, event) -> effects`. Plain and synchronous; everything a run decides is decided here.

The order inside a step is fixed: apply the event to the state, let the watchdogs and breakers speak, ask the
traders, let the limits judge, and carry an ending further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agora.domain.accounting import Position
from agora.domain.events import (
    BreakerReset,
    BreakerTripped,
    Decision,
    ErrorSeen,
    Event,
    FeedBackfilled,
    FeedConnected,
    FeedEnded,
    FeedGap,
    FeedLost,
    FeedMalformed,
    FeedOverflow,
    FeedStale,
    Funding,
    MarketCandle,
    MarketDepth,
    MarketFundingRate,
    MarketQuote,
    MarketTrade,
    OperatorCommand,
    OrderAccepted,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderSent,
    OrderUnknown,
    Reconcile,
    RunResumed,
    RunStarted,
    Timer,
    UserAlive,
    UserConnected,
    UserLost,
    Warned,
)
from agora.domain.intents import Cancel, Place
from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Purpose
from agora.engine import arbitration, bars, ending, orders, reconciling
from agora.engine.desk import Desk, TraderEvent
from agora.engine.ports import Effect
from agora.engine.shares import VENUE_TRADER
from agora.engine.state import NEVER_NS, ORDER_TIMES_KEPT, Course, Holding, Market, Phase, TrippedBreaker

DAY_NS = 86_400 * NS_PER_S


def step(desk: Desk, event: Event) -> list[Effect]:
    """Apply one event and return what must happen now, in order. Deterministic: same state and event, same effects."""
    state = desk.state
    if event.ts_ns >= state.now_ns:
        state.now_ns = event.ts_ns
    else:
        # Warm-up bars lie before the start of the run; nothing else may.
        is_history = isinstance(event, MarketCandle) and event.is_history
        assert is_history, f"time went back: {event.ts_ns} after {state.now_ns}"
    out: list[Effect] = []
    desk.out = out
    HANDLERS[type(event)](desk, event)
    if state.now_ns >= state.deadline_ns:
        _meet_deadlines(desk)
    if state.phase is not Phase.RUNNING and state.phase is not Phase.ENDED:
        ending.advance(desk)
    elif state.is_flattening_only:
        _flatten_and_go_on(desk)
    state.deadline_ns = _next_deadline(desk)
    return out


# Market data.


def _market(desk: Desk, event: MarketQuote | MarketTrade | MarketDepth) -> Market:
    """The market of an event, noted as seen now."""
    state = desk.state
    market = state.markets[event.instrument]
    market.seen_ts_ns = state.feed_seen_ns = event.ts_ns
    market.events += 1
    state.counters.market_events += 1
    return market


def on_quote(desk: Desk, event: MarketQuote) -> None:
    """The touch moved: value the position, build the bar."""
    market = _market(desk, event)
    market.bid_ticks = event.bid_ticks
    market.bid_lots = event.bid_lots
    market.ask_ticks = event.ask_ticks
    market.ask_lots = event.ask_lots
    _build_bars(desk, market, event, price_ticks=market.mark_ticks, size_lots=0)
    _value(desk, event.instrument)
    _let_hear(desk, event)


def on_trade(desk: Desk, event: MarketTrade) -> None:
    """A print: last price and volume of the bar."""
    market = _market(desk, event)
    market.last_ticks = event.price_ticks
    _build_bars(desk, market, event, price_ticks=event.price_ticks, size_lots=event.size_lots)
    _value(desk, event.instrument)
    _let_hear(desk, event)


def _build_bars(
    desk: Desk, market: Market, event: MarketQuote | MarketTrade, *, price_ticks: int, size_lots: int
) -> None:
    """Close the bars that are over, then let the price shape those being built."""
    _close_bars(desk, market, event.instrument)
    bars.add_price(market, price_ticks=price_ticks, size_lots=size_lots, now_ns=event.ts_ns)


def on_depth(desk: Desk, event: MarketDepth) -> None:
    """Deeper levels matter to the venue's fills and to traders that hear them; to the desk they are a sign of life."""
    _market(desk, event)
    _let_hear(desk, event)


def _let_hear(desk: Desk, event: MarketQuote | MarketTrade | MarketDepth) -> None:
    """Ask the traders that want to hear such data themselves."""
    if type(event) in desk.listeners:
        _ask(desk, event)


def on_candle(desk: Desk, event: MarketCandle) -> None:
    """A closed bar from the feed: straight to the traders of its length, and a part of the longer bars."""
    market = desk.state.markets[event.instrument]
    _see_candle(desk, market, event)
    for course in market.courses:
        if course.interval_s == event.interval_s:
            _ask_once(desk, course, event)
        elif course.interval_s > event.interval_s:
            for candle in bars.add_candle(course, event, has_hole=market.has_hole):
                _ask_once(desk, course, candle)
    if not event.is_history and not event.end_ts_ns:
        # The feed's own news: where prices come as candles, what follows the hole is whole again.
        market.has_hole = False


def _see_candle(desk: Desk, market: Market, event: MarketCandle) -> None:
    """Count a bar and take its price, unless a newer one is known. A bar that comes late is as old as its end."""
    state = desk.state
    end_ns = event.end_ts_ns or event.ts_ns
    is_newest = end_ns >= market.seen_ts_ns
    if event.is_history:
        state.counters.history_events += 1
        is_newest = not market.seen_ts_ns
    else:
        market.events += 1
        state.counters.market_events += 1
        market.seen_ts_ns = max(market.seen_ts_ns, end_ns)
        state.feed_seen_ns = max(state.feed_seen_ns, end_ns)
    if is_newest:
        market.last_ticks = event.close_ticks
        _value(desk, event.instrument)


def on_funding_rate(desk: Desk, event: MarketFundingRate) -> None:
    """The newest settled rate, for the traders' gates. The money comes as a `Funding` event of the venue."""
    desk.state.counters.funding_rates += 1
    desk.state.markets[event.instrument].funding_rate_ppb = event.rate_ppb


def _close_bars(desk: Desk, market: Market, symbol: str) -> None:
    """Close the bars whose end has passed on the run's clock, shortest first."""
    for course in market.courses:
        candle = bars.close_due_bar(course, symbol, now_ns=desk.state.now_ns)
        if candle is not None:
            _ask_once(desk, course, candle)


def _ask_once(desk: Desk, course: Course, candle: MarketCandle) -> None:
    """Ask about each bar once: a feed may repeat a bar, or send one that was also built from its ticks.

    A bar that comes late is stamped with the present; what counts is when it ended.
    """
    end_ns = candle.end_ts_ns or candle.ts_ns
    if end_ns <= course.asked_ts_ns:
        return
    course.asked_ts_ns = end_ns
    _ask(desk, candle)


def _value(desk: Desk, symbol: str) -> None:
    """Breakers look whenever the equity may have moved: a position and a new price."""
    if desk.state.holdings[symbol].position.size_lots:
        check_breakers(desk)


# Traders.


def _ask(desk: Desk, event: TraderEvent) -> None:
    """Ask every trader whom it concerns; record what each concluded, then carry out what they agree on."""
    state = desk.state
    is_live = state.phase is Phase.RUNNING and not (isinstance(event, MarketCandle) and event.is_history)
    wishes: list[arbitration.Wish] = []
    for number in _concerned(desk, event):
        trader = desk.rules.traders[number]
        proposal = trader.decide(desk.views[number], event)
        if proposal is None or not is_live:
            continue
        desk.record(
            Decision(
                ts_ns=state.now_ns,
                trader=trader.name,
                instrument=event.instrument,
                action=proposal.action,
                reason=proposal.reason,
                intents=proposal.intents,
                features=proposal.features,
            )
        )
        if proposal.intents:
            wishes += arbitration.weigh(trader.name, proposal, desk.weights_ppm[number])
    if wishes:
        _carry_out(desk, wishes)


def _concerned(desk: Desk, event: TraderEvent) -> list[int]:
    """The traders that an event is for, by number: those on bars of its length, the one whose order has filled, or
    those that hear such data.

    What the venue executed by itself concerns them all.
    """
    if isinstance(event, MarketCandle):
        return [number for number, length_s in enumerate(desk.trader_intervals_s) if length_s == event.interval_s]
    if not isinstance(event, OrderFilled):
        return desk.listeners[type(event)]
    order = desk.state.order(event.client_id)
    owner = VENUE_TRADER if order is None else order.trader
    return [number for number, trader in enumerate(desk.rules.traders) if owner in (trader.name, VENUE_TRADER)]


def _carry_out(desk: Desk, wishes: list[arbitration.Wish]) -> None:
    """Let the traders' wishes be settled among each other, then try each."""
    for wish in arbitration.net(desk, wishes):
        intent = wish.intent
        if isinstance(intent, Cancel):
            orders.cancel(desk, intent, wish.reason)
        elif not isinstance(intent, Place):
            orders.amend(desk, intent)
        elif not arbitration.is_against_another(desk, wish):
            orders.place(desk, wish.trader, intent)


# Orders and money.


def on_fill(desk: Desk, event: OrderFilled) -> None:
    """An execution: settle it, then look at the limits of the run and tell the traders."""
    if not orders.on_fill(desk, event):
        return
    check_breakers(desk)
    if event.purpose == Purpose.FLATTEN:
        order = desk.state.order(event.client_id)
        assert order is not None, "a fill is of an order"
        ending.note_progress(desk.state, order.trader, event.instrument)
    if event.purpose == Purpose.FOREIGN:
        # Somebody else trades on this account: whatever we believe of it may be wrong in the next moment.
        detail = f"{event.instrument}: {event.side} of {event.fill_size_lots} lots by an outside hand"
        desk.record(Warned(ts_ns=event.ts_ns, what="desync", detail=detail))
        ending.begin(desk, "desync")
    _ask(desk, event)


def on_funding(desk: Desk, event: Funding) -> None:
    """Funding moved the equity."""
    orders.on_funding(desk, event)
    check_breakers(desk)


# The feed.


def on_connected(desk: Desk, event: FeedConnected) -> None:
    """A fresh source; the clock of staleness starts anew."""
    state = desk.state
    if state.counters.connections:
        state.counters.reconnects += 1
    state.counters.connections += 1
    state.feed_period_s = event.period_s
    state.is_feed_lost = False
    state.feed_seen_ns = max(state.feed_seen_ns, event.ts_ns)


def on_feed_ended(desk: Desk, _: FeedEnded) -> None:
    """A recording is over; so is the run."""
    desk.state.is_feed_over = True
    ending.begin(desk, "data_end")


def on_malformed(desk: Desk, event: FeedMalformed) -> None:
    """Dropped data are counted per reason; they never reach the market."""
    state = desk.state
    state.counters.malformed += event.count
    state.malformed[event.reason] = state.malformed.get(event.reason, 0) + event.count


def on_gap(desk: Desk, event: FeedGap) -> None:
    """Data are missing."""
    desk.state.counters.gaps += 1
    if event.is_hole and event.instrument in desk.state.markets:
        bars.break_bars(desk.state.markets[event.instrument])


def on_backfilled(desk: Desk, _: FeedBackfilled) -> None:
    """The bars of a hole came before this, as history: traders know them and did not trade on them."""
    desk.state.counters.backfills += 1


def on_overflow(desk: Desk, event: FeedOverflow) -> None:
    """We were too slow; the oldest market data are gone."""
    desk.state.counters.overflow_dropped += event.dropped


def on_lost(desk: Desk, _: FeedLost) -> None:
    """The watchdogs decide how long that may last."""
    desk.state.is_feed_lost = True
    desk.state.counters.errors += 1


def on_error(desk: Desk, event: ErrorSeen) -> None:
    """Errors are counted; a burst of them trips a breaker."""
    state = desk.state
    state.counters.errors += 1
    state.error_times_ns.append(event.ts_ns)
    del state.error_times_ns[:-ORDER_TIMES_KEPT]
    check_breakers(desk)


# The life of the run.


def on_started(desk: Desk, event: RunStarted) -> None:
    """An empty desk with its money."""
    state = desk.state
    state.run_id = event.run_id
    state.started_ts_ns = state.feed_seen_ns = state.user_seen_ns = event.ts_ns
    state.needs_user_stream = event.mode == "live"
    state.is_reconciled = not state.needs_user_stream
    if event.duration_ns:
        state.end_ts_ns = event.ts_ns + event.duration_ns
    for symbol in desk.symbols:
        state.markets[symbol] = Market(courses=[Course(interval_s) for interval_s in desk.intervals_s])
        state.holdings[symbol] = Holding(Position())
    state.ledger.deposit(event.equity_units)
    state.equity_start_units = event.equity_units
    _mark_day(desk)


def on_resumed(desk: Desk, event: RunResumed) -> None:
    """The process is back: time that passed without it counts against nothing but the market's freshness."""
    state = desk.state
    if state.end_ts_ns != NEVER_NS:
        state.end_ts_ns += event.down_ns
    state.feed_seen_ns = state.user_seen_ns = event.ts_ns
    state.is_reconciled = not state.needs_user_stream
    # The private stream of this life has not been connected yet.
    state.user_connected_ns = 0
    if state.phase is not Phase.RUNNING:
        ending.resume(state)


def on_command(desk: Desk, event: OperatorCommand) -> None:
    """A person, a signal or a kill file."""
    state = desk.state
    if event.command == "force":
        ending.force(desk)
    elif event.command == "reset":
        _reset(desk, event)
    elif event.command == "flatten":
        state.is_flattening_only = True
        state.flatten_attempts.clear()
        ending.cancel_all(desk, "flatten")
    else:
        if event.command == "kill":
            _trip(desk, "kill", value=event.reason, limit="operator")
        ending.begin(desk, event.command)


def _reset(desk: Desk, event: OperatorCommand) -> None:
    for name in sorted(desk.state.breakers):
        desk.record(BreakerReset(ts_ns=event.ts_ns, breaker=name, reason=event.reason))
    desk.state.breakers.clear()
    desk.state.counters.losing_streak = 0


def _flatten_and_go_on(desk: Desk) -> None:
    """`agora flatten`: cancel, close, then trade on."""
    state = desk.state
    if state.phase is not Phase.RUNNING:
        return
    if not state.working or all(order.purpose == "flatten" for order in state.working.values()):
        ending.flatten_positions(desk)
    if state.is_flat or ending.is_hopeless(state):
        state.is_flattening_only = False
        state.flatten_attempts.clear()


def check_breakers(desk: Desk) -> None:
    """Trip what is due. A tripped breaker ends the run and is remembered beyond it."""
    state = desk.state
    _mark_day(desk)
    if state.phase is not Phase.RUNNING:
        return
    for breaker in desk.rules.breakers:
        reading = breaker.reading(desk)
        if reading is not None and breaker.name not in state.breakers:
            _trip(desk, breaker.name, value=reading[0], limit=reading[1])
            ending.begin(desk, breaker.name)


def _trip(desk: Desk, name: str, *, value: str, limit: str) -> None:
    desk.state.breakers[name] = TrippedBreaker(desk.state.now_ns, value, limit)
    desk.record(BreakerTripped(ts_ns=desk.state.now_ns, breaker=name, value=value, limit=limit))


def _mark_day(desk: Desk) -> None:
    """Keep the highest equity of the UTC day, from which the daily drawdown is measured."""
    state = desk.state
    equity = desk.equity_units()
    day = state.now_ns // DAY_NS
    if day != state.day:
        state.day = day
        state.day_equity_high_units = equity
    elif equity > state.day_equity_high_units:
        state.day_equity_high_units = equity


def on_timer(_: Desk, __: Timer) -> None:
    """Time itself is the news; the deadlines are met after every event."""


def _meet_deadlines(desk: Desk) -> None:
    """Close bars whose end has passed and let the watchdogs bite."""
    state = desk.state
    for symbol in desk.symbols:
        _close_bars(desk, state.markets[symbol], symbol)
    if state.now_ns >= state.reconcile_due_ns:
        reconciling.ask(desk)
    if state.phase is not Phase.RUNNING:
        return
    for watchdog in desk.rules.watchdogs:
        if state.now_ns < watchdog.deadline_ns(desk):
            continue
        reason = watchdog.bite(desk)
        if reason in ("stale_data", "user_stream"):
            _say_silence(desk, reason, limit_ns=watchdog.deadline_ns(desk))
        if reason:
            ending.begin(desk, reason)


def _say_silence(desk: Desk, reason: str, *, limit_ns: int) -> None:
    """Put on record how long nothing came, and how long it may last."""
    state = desk.state
    seen_ns = state.feed_seen_ns if reason == "stale_data" else state.user_seen_ns
    age_ms, limit_ms = (state.now_ns - seen_ns) // NS_PER_MS, (limit_ns - seen_ns) // NS_PER_MS
    if reason == "stale_data":
        desk.record(FeedStale(ts_ns=state.now_ns, age_ms=age_ms, limit_ms=limit_ms))
    else:
        detail = f"private stream silent for {age_ms} ms, limit {limit_ms} ms"
        desk.record(Warned(ts_ns=state.now_ns, what=reason, detail=detail))


def _next_deadline(desk: Desk) -> int:
    """The next time at which the state wants to be woken even if nothing happens."""
    state = desk.state
    if state.phase is Phase.ENDED:
        return NEVER_NS
    deadline = min(state.phase_deadline_ns, state.reconcile_due_ns)
    for market in state.markets.values():
        for course in market.courses:
            if course.bar is not None:
                deadline = min(deadline, bars.bar_end_ns(course))
    if state.phase is Phase.RUNNING:
        for watchdog in desk.rules.watchdogs:
            deadline = min(deadline, watchdog.deadline_ns(desk))
    return deadline


HANDLERS: dict[type[Event], Callable[[Desk, Any], None]] = {
    MarketQuote: on_quote,
    MarketTrade: on_trade,
    MarketDepth: on_depth,
    MarketCandle: on_candle,
    MarketFundingRate: on_funding_rate,
    FeedConnected: on_connected,
    FeedEnded: on_feed_ended,
    FeedLost: on_lost,
    FeedGap: on_gap,
    FeedBackfilled: on_backfilled,
    FeedOverflow: on_overflow,
    FeedMalformed: on_malformed,
    Timer: on_timer,
    RunStarted: on_started,
    RunResumed: on_resumed,
    OperatorCommand: on_command,
    OrderSent: orders.on_report,
    OrderAccepted: orders.on_report,
    OrderRejected: orders.on_report,
    OrderUnknown: reconciling.on_unknown,
    OrderCancelled: orders.on_report,
    OrderExpired: orders.on_report,
    OrderFilled: on_fill,
    OrderAmended: orders.on_amended,
    OrderAmendRejected: orders.on_amend_rejected,
    Funding: on_funding,
    Reconcile: reconciling.on_reconcile,
    UserConnected: reconciling.on_user_connected,
    UserAlive: reconciling.on_user_alive,
    UserLost: reconciling.on_user_lost,
    ErrorSeen: on_error,
}
