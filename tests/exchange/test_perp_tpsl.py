"""Take-profit and stop-loss: placed, attached to orders, changed, fired on last or mark price, ended with positions."""

from __future__ import annotations

import pytest

from agora.domain.orders import Side
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_reasons import PerpReason, venue_code
from agora.exchange.perp_records import (
    ChangeEvent,
    OrderChanged,
    OrderSource,
    PerpOrder,
    PerpStatus,
    PerpType,
    PositionMode,
    TpslChanged,
    TpslKind,
    TpslRow,
    TpslStatus,
    TradeSide,
    TradingMode,
    TriggerBy,
    TriggerLeg,
)
from tests.exchange.perps import BTC, HOUSE, ONE, PRICE, buy, lots, perps, quote, sell


def leg(price: int, size: int = 10, *, by: TriggerBy = TriggerBy.MARK_PRICE, limit: int = 0) -> TriggerLeg:
    """Half of a row, on the mark price unless told, at market unless a limit is given."""
    return TriggerLeg(
        price_ticks=price,
        by=by,
        size_lots=size,
        order_type=PerpType.LIMIT if limit else PerpType.MARKET,
        order_price_ticks=limit,
    )


def long_of(size: int = 10) -> tuple[PerpExchange, int, int]:
    """A quoted market, an account with a long, and the position's id."""
    exchange = perps()
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    buy(exchange, account, size)
    exchange.take_changes()
    return exchange, account, exchange.positions(account)[0].position_id


def placed(answer: TpslRow | PerpReason) -> TpslRow:
    """The row, which was not refused."""
    assert isinstance(answer, TpslRow), answer
    return answer


def row_of(exchange: PerpExchange, account: int, tpsl_id: int) -> TpslRow:
    """A row as it is now."""
    return next(row for row in exchange.tpsl_rows(account) if row.tpsl_id == tpsl_id)


def child_of(exchange: PerpExchange, account: int, tpsl_id: int) -> PerpOrder:
    """The order that a row made."""
    child = exchange.order(account, row_of(exchange, account, tpsl_id).child_order_id)
    assert child is not None
    return child


# Of a long of 10 at PRICE + 1, with last price PRICE + 1 and mark PRICE.
REFUSALS = {
    "neither": (None, None, PerpReason.TPSL_MISSING, 30006),
    "a trigger at nothing": (leg(0), None, PerpReason.TRIGGER_NOT_POSITIVE, 30041),
    "a limit without a price": (
        TriggerLeg(price_ticks=PRICE + 9, size_lots=1, order_type=PerpType.LIMIT),
        None,
        PerpReason.BAD_PRICE,
        10002,
    ),
    "no size": (leg(PRICE + 9, 0), None, PerpReason.TOO_SMALL, 30017),
    "more than the position": (leg(PRICE + 9, 11), None, PerpReason.TPSL_TOO_LARGE, 30038),
    "a target at the mark": (leg(PRICE), None, PerpReason.TP_BELOW_MARK, 30020),
    "a target at the last price": (
        leg(PRICE + 1, by=TriggerBy.LAST_PRICE),
        None,
        PerpReason.TP_BELOW_LAST,
        30026,
    ),
    "a stop at the mark": (None, leg(PRICE), PerpReason.SL_ABOVE_MARK, 30023),
    "a stop at the last price": (
        None,
        leg(PRICE + 1, by=TriggerBy.LAST_PRICE),
        PerpReason.SL_ABOVE_LAST,
        30028,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_row_is_refused_with_the_venues_code(name: str) -> None:
    """One row per rule of a long position; nothing is kept or told."""
    tp, sl, reason, code = REFUSALS[name]
    exchange, account, position_id = long_of()
    assert exchange.place_tpsl(account, position_id, tp=tp, sl=sl) is reason
    assert venue_code(reason)[0] == code
    assert exchange.tpsl_rows(account) == exchange.take_changes() == []


SHORT_REFUSALS = {
    "a target at the mark": (leg(PRICE), None, PerpReason.TP_ABOVE_MARK),
    "a target at the last price": (leg(PRICE - 1, by=TriggerBy.LAST_PRICE), None, PerpReason.TP_ABOVE_LAST),
    "a stop at the mark": (None, leg(PRICE), PerpReason.SL_BELOW_MARK),
    "a stop at the last price": (None, leg(PRICE - 1, by=TriggerBy.LAST_PRICE), PerpReason.SL_BELOW_LAST),
}


@pytest.mark.parametrize("name", SHORT_REFUSALS)
def test_triggers_of_a_short_lie_the_other_way_round(name: str) -> None:
    """The same rules for a short."""
    tp, sl, reason = SHORT_REFUSALS[name]
    exchange = perps()
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    sell(exchange, account, 10)
    position_id = exchange.positions(account)[0].position_id
    assert exchange.place_tpsl(account, position_id, tp=tp, sl=sl) is reason


def test_a_row_needs_a_position_of_ones_own() -> None:
    """An id that is closed, foreign or invented is refused."""
    exchange, account, position_id = long_of()
    other = exchange.open_account("other", ONE)
    sl = leg(PRICE - 100)
    assert exchange.place_tpsl(other, position_id, tp=None, sl=sl) is PerpReason.UNKNOWN_POSITION
    exchange.close_all(account)
    assert exchange.place_tpsl(account, position_id, tp=None, sl=sl) is PerpReason.UNKNOWN_POSITION


# Which trigger of a long, and where the mark and the last price then go; whether it has fired.
FIRINGS = {
    "a stop on the mark": (None, leg(PRICE - 100), PRICE - 100, True),
    "a stop not reached": (None, leg(PRICE - 100), PRICE - 99, False),
    "a target on the mark": (leg(PRICE + 100), None, PRICE + 100, True),
    "a target not reached": (leg(PRICE + 100), None, PRICE + 99, False),
    "a stop beyond which the price jumps": (None, leg(PRICE - 100), PRICE - 5_000, True),
    "a stop on the last price, which stays": (None, leg(PRICE - 100, by=TriggerBy.LAST_PRICE), PRICE - 500, False),
}


@pytest.mark.parametrize("name", FIRINGS)
def test_a_trigger_fires_when_its_price_comes(name: str) -> None:
    """The row ends FILLED and its market order closes the position, in the step after the price."""
    tp, sl, mark, fires = FIRINGS[name]
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=tp, sl=sl))
    quote(exchange, mark)
    assert lots(exchange, account) == 10, "only a step fires"
    exchange.step(1)
    assert row_of(exchange, account, row.tpsl_id).status is (TpslStatus.FILLED if fires else TpslStatus.NEW)
    assert lots(exchange, account) == (0 if fires else 10)


def test_a_fired_row_names_an_order_of_the_venue() -> None:
    """The child has its own id, no client id, only reduces, and is told after the row."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100, 4)))
    exchange.take_changes()
    quote(exchange, PRICE - 100)
    exchange.step(5)
    child = child_of(exchange, account, row.tpsl_id)
    assert (child.client_id, child.source, child.reduce_only) == ("", OrderSource.TPSL, True)
    assert (child.side, child.type, child.status, child.filled_lots) == (Side.SELL, PerpType.MARKET, "FILLED", 4)
    assert row_of(exchange, account, row.tpsl_id).triggered_ns == 5
    told = [change for change in exchange.take_changes() if isinstance(change, TpslChanged | OrderChanged)]
    assert [(type(change), change.event) for change in told] == [
        (TpslChanged, ChangeEvent.CLOSE),
        (OrderChanged, ChangeEvent.CREATE),
        (OrderChanged, ChangeEvent.CLOSE),
    ]


def test_a_trigger_on_the_last_price_needs_a_trade() -> None:
    """A trade at the price fires it, though the price has come back before the step."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100, by=TriggerBy.LAST_PRICE)))
    second = exchange.open_account("second maker", 0, is_house=True)
    exchange.cancel_all(HOUSE)
    buy(exchange, HOUSE, 1, PRICE - 100)
    sell(exchange, second, 1)
    quote(exchange, PRICE)
    buy(exchange, second, 1)
    exchange.step(1)
    assert row_of(exchange, account, row.tpsl_id).status is TpslStatus.FILLED
    assert lots(exchange, account) == 0


def test_the_first_of_both_ends_the_other() -> None:
    """Target and stop in one row: when the target fires the stop is gone with the row."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=leg(PRICE + 100), sl=leg(PRICE - 100)))
    quote(exchange, PRICE + 100)
    exchange.step(1)
    quote(exchange, PRICE - 100)
    exchange.step(2)
    assert row_of(exchange, account, row.tpsl_id).status is TpslStatus.FILLED
    children = [order for order in exchange.orders(account) if order.source is OrderSource.TPSL]
    assert len(children) == 1


def test_a_limit_trigger_rests_until_its_price() -> None:
    """The child rests in the book, the position stays until somebody buys from it."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=leg(PRICE + 100, limit=PRICE + 150), sl=None))
    quote(exchange, PRICE + 100)
    exchange.step(1)
    child = child_of(exchange, account, row.tpsl_id)
    assert (child.status, child.price_ticks, lots(exchange, account)) == (PerpStatus.NEW, PRICE + 150, 10)
    exchange.cancel_all(HOUSE)
    buy(exchange, HOUSE, 10, PRICE + 150)
    assert lots(exchange, account) == 0


def test_a_position_row_closes_what_there_is_and_is_the_only_one() -> None:
    """Whatever size the position has grown to is closed at market; a second such row is refused."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_position_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100, 3)))
    assert (row.kind, row.sl.size_lots) == (TpslKind.POSITION, 0)  # type: ignore[union-attr]
    again = exchange.place_position_tpsl(account, position_id, tp=None, sl=leg(PRICE - 50))
    assert again is PerpReason.TPSL_EXISTS
    buy(exchange, account, 15)
    quote(exchange, PRICE - 100)
    exchange.step(1)
    assert lots(exchange, account) == 0
    assert child_of(exchange, account, row.tpsl_id).filled_lots == 25


def test_a_row_is_modified_leg_by_leg() -> None:
    """New legs are checked and replace; a leg that is not given stays; the old trigger no longer fires."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=leg(PRICE + 100), sl=leg(PRICE - 100)))
    assert exchange.modify_tpsl(account, row.tpsl_id, tp=None, sl=leg(PRICE + 5)) is PerpReason.SL_ABOVE_MARK
    assert exchange.modify_tpsl(account, row.tpsl_id, tp=None, sl=leg(PRICE - 300, 4)) is PerpReason.NONE
    changed = row_of(exchange, account, row.tpsl_id)
    assert (changed.tp, changed.sl) == (leg(PRICE + 100), leg(PRICE - 300, 4))
    quote(exchange, PRICE - 200)
    exchange.step(1)
    assert lots(exchange, account) == 10
    quote(exchange, PRICE - 300)
    exchange.step(2)
    assert lots(exchange, account) == 6


def test_a_row_modified_after_its_price_came_waits_for_the_new_one() -> None:
    """Before the step that would have fired it."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100)))
    quote(exchange, PRICE - 100)
    assert exchange.modify_tpsl(account, row.tpsl_id, tp=None, sl=leg(PRICE - 300)) is PerpReason.NONE
    exchange.step(1)
    assert lots(exchange, account) == 10
    quote(exchange, PRICE - 300)
    exchange.step(2)
    assert lots(exchange, account) == 0


def test_a_cancelled_row_does_not_fire() -> None:
    """Also when its price came before the cancel; ended rows can be neither changed nor cancelled."""
    exchange, account, position_id = long_of()
    row = placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100)))
    quote(exchange, PRICE - 100)
    assert exchange.cancel_tpsl(account, row.tpsl_id) is PerpReason.NONE
    exchange.step(1)
    assert lots(exchange, account) == 10
    assert row_of(exchange, account, row.tpsl_id).status is TpslStatus.CANCELED
    assert exchange.cancel_tpsl(account, row.tpsl_id) is PerpReason.ORDER_ENDED
    assert exchange.modify_tpsl(account, row.tpsl_id, tp=None, sl=leg(PRICE - 200)) is PerpReason.ORDER_ENDED
    assert exchange.cancel_tpsl(account, 10**9) is PerpReason.UNKNOWN_TPSL
    assert exchange.modify_tpsl(account, 10**9, tp=None, sl=leg(PRICE - 200)) is PerpReason.UNKNOWN_TPSL


def test_rows_end_with_their_position() -> None:
    """Closed or turned, the position takes its rows along, hit ones too; the new position has none."""
    for size in (10, 25):
        exchange, account, position_id = long_of()
        rows = [
            placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100))),
            placed(exchange.place_position_tpsl(account, position_id, tp=leg(PRICE + 100), sl=None)),
        ]
        quote(exchange, PRICE - 100)
        sell(exchange, account, size)
        exchange.step(1)
        statuses = {row_of(exchange, account, row.tpsl_id).status for row in rows}
        assert statuses == {TpslStatus.SYSTEM_CANCELED}
        assert lots(exchange, account) == 10 - size


def test_triggers_of_an_order_wake_with_its_fills_for_the_filled_size() -> None:
    """Nothing before the first fill; each fill enlarges the row; both name the order."""
    exchange = perps()
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    order = buy(exchange, account, 10, PRICE - 5, tp=leg(PRICE + 100, 0), sl=leg(PRICE - 100, 0))
    assert exchange.tpsl_rows(account) == []
    exchange.cancel_all(HOUSE)
    sell(exchange, HOUSE, 4, PRICE - 5)
    (row,) = exchange.tpsl_rows(account)
    assert (row.order_id, row.kind, row.tp, row.sl) == (
        order.order_id,
        TpslKind.FIXED,
        leg(PRICE + 100, 4),
        leg(PRICE - 100, 4),
    )
    exchange.take_changes()
    sell(exchange, HOUSE, 6, PRICE - 5)
    (row,) = exchange.tpsl_rows(account)
    assert row.sl == leg(PRICE - 100)
    events = [change.event for change in exchange.take_changes() if isinstance(change, TpslChanged)]
    assert events == [ChangeEvent.UPDATE]
    quote(exchange, PRICE - 100)
    exchange.step(1)
    assert lots(exchange, account) == 0


def test_an_order_that_turns_a_position_wakes_its_triggers_for_what_it_opens() -> None:
    """Of 25 sold against a long of 10, 15 are opened, and the stop is for 15."""
    exchange, account, _ = long_of()
    sell(exchange, account, 25, sl=leg(PRICE + 100, 0))
    (row,) = exchange.tpsl_rows(account)
    assert (row.side, row.sl) == ("SHORT", leg(PRICE + 100, 15))
    assert row.position_id == exchange.positions(account)[0].position_id


def test_a_trigger_that_wakes_too_late_fires_at_once() -> None:
    """The order fills when the mark is already beyond its stop."""
    exchange = perps()
    account = exchange.open_account("trader", 10_000 * ONE)
    quote(exchange, PRICE)
    buy(exchange, account, 10, PRICE - 200, sl=leg(PRICE - 300, 0))
    quote(exchange, PRICE - 400)
    sell(exchange, HOUSE, 10, PRICE - 200)
    exchange.step(1)
    assert lots(exchange, account) == 0


def test_triggers_work_in_hedge_mode() -> None:
    """The stop of the short buys it back and leaves the long alone."""
    exchange = perps()
    account = exchange.open_account("trader", 10_000 * ONE)
    exchange.set_position_mode(account, PositionMode.HEDGE)
    quote(exchange, PRICE)
    buy(exchange, account, 10, trade_side=TradeSide.OPEN)
    sell(exchange, account, 6, trade_side=TradeSide.OPEN, sl=leg(PRICE + 100, 0))
    quote(exchange, PRICE - 100)
    exchange.step(1)
    assert lots(exchange, account) == 4
    quote(exchange, PRICE + 100)
    exchange.step(2)
    assert [(place.side, place.size_lots) for place in exchange.positions(account)] == [("LONG", 10)]


def test_stops_work_while_a_symbol_takes_no_orders() -> None:
    """What the venue itself does is not subject to the mode."""
    exchange, account, position_id = long_of()
    placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100)))
    exchange.set_trading_mode(BTC, TradingMode.STOP)
    quote(exchange, PRICE - 100)
    exchange.step(1)
    assert lots(exchange, account) == 0


def test_a_cascade_of_stops_runs_in_one_step() -> None:
    """The first stop's trade reaches the second's trigger, and so on; all fire, first hit first."""
    exchange = perps()
    accounts = [exchange.open_account(f"trader {number}", 10_000 * ONE) for number in range(3)]
    quote(exchange, PRICE)
    for number, account in enumerate(accounts):
        buy(exchange, account, 10)
        position_id = exchange.positions(account)[0].position_id
        by = TriggerBy.LAST_PRICE
        placed(exchange.place_tpsl(account, position_id, tp=None, sl=leg(PRICE - 100 * (number + 1), by=by)))
    exchange.cancel_all(HOUSE)
    for number in range(4):
        buy(exchange, HOUSE, 10, PRICE - 100 * (number + 1))
    sell(exchange, exchange.open_account("second maker", 0, is_house=True), 10)
    exchange.step(1)
    assert [lots(exchange, account) for account in accounts] == [0, 0, 0]
    assert [exchange.trades(account)[-1].price_ticks - PRICE for account in accounts] == [-200, -300, -400]
