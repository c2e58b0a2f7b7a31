"""Writes the trades and decisions of a market into its ledger, live or from a replay: it follows from the journal."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from agora.domain.decisions import Ask
from agora.domain.events import Event
from agora.domain.market_events import MarketTicked
from agora.exchange.records import Trade
from agora.market.market import Market
from agora.market.state import Choice
from agora.report.ledger import Ledger
from agora.report.ledger_tables import Interaction, Transaction


class LedgerKeeper:
    """An onlooker that records what each tick brought; numbers go on over restarts, so no row is written twice."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def after_step(self, market: Market, event: Event, *, effects: Sequence[Event | Ask]) -> None:
        """Record the tick, if it was one."""
        del event
        ticked = next((effect for effect in effects if isinstance(effect, MarketTicked)), None)
        if ticked is None:
            return
        for trade in market.new_trades:
            self.ledger.record(_transaction(market, trade))
        first = market.state.decisions - len(market.new_choices) + 1
        for number, choice in enumerate(market.new_choices, start=first):
            self.ledger.record(_interaction(market, choice, number))

    def room(self, _loop: object) -> Awaitable[None] | None:
        """What to wait for when the database is behind; None: nothing."""
        return self.ledger.room() if self.ledger.is_full else None

    def close(self, market: Market) -> Awaitable[None]:
        """Write what waits; the ledger then knows whether it is complete."""
        state = market.state
        return self.ledger.close(transactions=state.trades, interactions=state.decisions)


def _transaction(market: Market, trade: Trade) -> Transaction:
    names = market.engine.accounts.names
    return Transaction(
        number=trade.number,
        tick=market.state.tick,
        ts_ns=trade.ts_ns,
        symbol=trade.symbol,
        price=market.engine.accounts.instrument(trade.symbol).price_text(trade.price_ticks),
        price_ticks=trade.price_ticks,
        size_lots=trade.size_lots,
        taker_side=trade.aggressor,
        maker=names[trade.maker],
        taker=names[trade.taker],
        maker_fee_units=trade.maker_fee_units,
        taker_fee_units=trade.taker_fee_units,
    )


def _interaction(market: Market, choice: Choice, number: int) -> Interaction:
    seat = market.seats[choice.seat]
    return Interaction(
        number=number,
        tick=market.state.tick,
        ts_ns=market.state.now_ns,
        agent=seat.name,
        persona=seat.persona,
        outcome=choice.outcome,
        orders=choice.requests,
        refused=choice.refused,
        note=choice.note,
        cost_units=choice.cost_units,
    )
