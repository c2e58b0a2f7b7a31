"""A run that comes back: what its orders, its legs and its books did without it, taken up and told once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agora.domain.accounting import Ledger, Position
from agora.domain.events import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Reconcile,
    UserConnected,
)
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import OrderStatus
from agora.engine.state import Holding, State
from tests.simulation.loop import VirtualClock
from tests.simulation.network import run_networked, serving
from tests.venues.bitunix.live import INSTRUMENT, PRICE, START_NS, Bench, connected
from tests.venues.bitunix.scripted import Mishap, ScriptedVenue, scripted


def _twice(
    before: Callable[[Bench], Coroutine[Any, Any, State]],
    after: Callable[[Bench, ScriptedVenue], Coroutine[Any, Any, None]],
) -> None:
    """One life of a run, and a second that takes up what the first has left."""

    async def main() -> None:
        clock = VirtualClock()
        async with scripted(serving, lambda: clock.now_ns() // NS_PER_MS) as (server, address):
            async with connected(server, address) as bench:
                state = await before(bench)
            async with connected(server, address, state=state) as bench:
                await after(bench, server)

    run_networked(main(), seed=1, start_ns=START_NS)


def _state(bench: Bench, *, lots: int = 0, **facts: Any) -> State:
    """What the run has recorded; `lots` of a position at the usual price."""
    position = Position()
    position.apply(INSTRUMENT, size_lots=lots, price_ticks=PRICE)
    usual = {"holdings": {"BTCUSDT": Holding(position)}}
    return State(started_ts_ns=START_NS, now_ns=bench.clock.now_ns(), **{**usual, **facts})


@pytest.mark.requirement("B5")
def test_fills_of_an_outage_are_told_after_the_restart_and_known_ones_are_not_needed() -> None:
    """One fill was recorded, one happened while nobody listened."""

    async def before(bench: Bench) -> State:
        order = bench.send()
        row = await bench.accepted(order)
        trade = await bench.server.fill(row, "0.0040", "60000")
        await bench.until(OrderFilled)
        order.venue_id, order.filled_lots, order.status = row["orderId"], 40, OrderStatus.PARTIALLY_FILLED
        state = _state(bench, lots=40, working={order.client_id: order}, fill_ids=[trade["tradeId"]])
        bench.server.is_mute = True
        await bench.server.fill(row, "0.0030", "60010")
        return state

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        missed = [event for event in await bench.venue.missed() if isinstance(event, OrderFilled)]
        assert [(event.fill_size_lots, event.fill_price_ticks) for event in missed] == [(30, 600_100)]
        assert answer.positions == {"BTCUSDT": 70}
        assert answer.open_client_ids == ("r1-0000001",)
        assert await bench.venue.missed() == []
        await server.fill(server.of_client("r1-0000001"), "0.0030", "60000")
        server.is_mute = False
        await server.push_order(server.of_client("r1-0000001"))
        await bench.until(OrderFilled)

    _twice(before, after)


@pytest.mark.requirement("B5")
@pytest.mark.parametrize("status", [OrderStatus.PLANNED, OrderStatus.SENT, OrderStatus.UNKNOWN])
def test_an_order_whose_answer_a_crash_took_is_looked_up_by_its_id(status: OrderStatus) -> None:
    """It is at the venue: found, accepted, not sent again."""

    async def before(bench: Bench) -> State:
        order = bench.send()
        await bench.accepted(order)
        order.status = status
        return _state(bench, working={order.client_id: order})

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        assert answer.open_client_ids == ("r1-0000001",)
        assert [type(event) for event in await bench.venue.missed()] == [OrderAccepted]
        assert server.count("trade/place_order") == 1

    _twice(before, after)


@pytest.mark.requirement("B5")
def test_an_order_that_a_crash_kept_back_stays_in_doubt_for_its_grace_time() -> None:
    """Not found at once is no answer; after the grace time it is."""

    async def before(bench: Bench) -> State:
        order = bench.order(status=OrderStatus.PLANNED)
        return _state(bench, working={order.client_id: order})

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        begun_ns = bench.clock.now_ns()
        answer = await bench.venue.account()
        assert answer.open_client_ids == ("r1-0000001",)
        rejected = await bench.until(OrderRejected)
        assert rejected.ts_ns - begun_ns >= 20 * NS_PER_S
        assert server.count("trade/place_order") == 0

    _twice(before, after)


@pytest.mark.requirement("B5")
def test_legs_go_on_after_a_restart() -> None:
    """The target at the venue and the trigger there are taken up; the stop then closes both."""

    async def before(bench: Bench) -> State:
        entry, stop, target = bench.send_bracket(stop_ticks=599_000, target_ticks=602_000)
        row = await bench.accepted(entry)
        trade = await bench.server.fill(row, "0.0100", "60000")
        await bench.rest(3)
        entry.status, entry.filled_lots, entry.venue_id = OrderStatus.FILLED, 100, row["orderId"]
        stop.status = target.status = OrderStatus.ACCEPTED
        target.venue_id = bench.server.of_client(target.client_id)["orderId"]
        working = {order.client_id: order for order in (stop, target)}
        return _state(bench, lots=100, working=working, closed=[entry], fill_ids=[trade["tradeId"]])

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        assert set(answer.open_client_ids) == {"r1-0000002", "r1-0000003"}
        assert len(server.tpsl) == 1
        await bench.rest(5)
        assert server.count("trade/place_order") == 2
        await server.trigger(next(iter(server.tpsl)), "59890")
        cancelled = await bench.until(OrderCancelled, seconds=40)
        assert cancelled.client_id == "r1-0000003"
        assert bench.told(OrderFilled, "r1-0000002")

    _twice(before, after)


@pytest.mark.requirement("B5")
def test_an_order_long_gone_is_settled_before_the_account_is_told() -> None:
    """The process was away for longer than the grace time: a few looks are enough."""

    async def before(bench: Bench) -> State:
        order = bench.order(status=OrderStatus.PLANNED, planned_ts_ns=bench.clock.now_ns() - 60 * NS_PER_S)
        bench.server.go_wrong("trade/get_order_detail", *[Mishap("html", is_done=False)] * 3)
        return _state(bench, working={order.client_id: order})

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        assert [type(event) for event in await bench.venue.missed()] == [OrderRejected]
        assert answer.open_client_ids == ()
        assert server.count("trade/place_order") == 0
        await bench.until(UserConnected)

    _twice(before, after)


@pytest.mark.requirement("B5")
def test_an_order_with_old_fills_ends_after_a_restart() -> None:
    """Its trades are too old to be among the newest: they are counted by the order."""

    async def before(bench: Bench) -> State:
        order = bench.send()
        row = await bench.accepted(order)
        trade = await bench.server.fill(row, "0.0040", "60000")
        await bench.rest(300)
        order.venue_id, order.filled_lots, order.status = row["orderId"], 40, OrderStatus.PARTIALLY_FILLED
        return _state(bench, working={order.client_id: order}, fill_ids=[trade["tradeId"]])

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        await bench.venue.account()
        await server.end(server.of_client("r1-0000001"))
        await bench.until(OrderCancelled, seconds=10)
        assert not bench.told(OrderFilled)

    _twice(before, after)


async def _with_further_target(bench: Bench) -> State:
    """A bracket whose target has filled once, and rests again under an ending of its id."""
    entry, target = bench.send_bracket(target_ticks=602_000)
    row = await bench.accepted(entry)
    trades = [await bench.server.fill(row, "0.0040", "60000")]
    await bench.rest(3)
    first = bench.server.of_client(target.client_id)
    trades.append(await bench.server.fill(first, "0.0040", "60200"))
    await bench.rest(3)
    trades.append(await bench.server.fill(row, "0.0060", "60000"))
    await bench.rest(3)
    entry.status, entry.filled_lots, entry.venue_id = OrderStatus.FILLED, 100, row["orderId"]
    target.status, target.filled_lots, target.venue_id = OrderStatus.PARTIALLY_FILLED, 40, first["orderId"]
    ids = [trade["tradeId"] for trade in trades]
    return _state(bench, lots=60, working={target.client_id: target}, closed=[entry], fill_ids=ids)


def _further(server: ScriptedVenue) -> dict[str, Any]:
    return next(row for row in server.orders.values() if row["clientId"].startswith("r1-0000002-"))


@pytest.mark.requirement("B5")
def test_a_further_target_order_is_taken_up_after_a_restart() -> None:
    """No third is placed, and its fill is the target's."""

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        assert answer.open_client_ids == ("r1-0000002",)
        await bench.rest(10)
        assert server.count("trade/place_order") == 3
        await server.fill(_further(server), "0.0060", "60200")
        filled = await bench.until(OrderFilled)
        assert (filled.client_id, filled.fill_size_lots) == ("r1-0000002", 60)

    _twice(_with_further_target, after)


@pytest.mark.requirement("B5")
def test_a_further_target_order_that_filled_in_the_outage_is_the_targets() -> None:
    """It is no longer open, so only its client id tells whose it was."""

    async def before(bench: Bench) -> State:
        state = await _with_further_target(bench)
        bench.server.is_mute = True
        await bench.server.fill(_further(bench.server), "0.0060", "60200")
        return state

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        missed = [event for event in await bench.venue.missed() if isinstance(event, OrderFilled)]
        assert [(event.client_id, event.fill_size_lots) for event in missed] == [("r1-0000002", 60)]
        assert answer.positions == {"BTCUSDT": 0}
        assert server.count("trade/place_order") == 3

    _twice(before, after)


@pytest.mark.requirement("B5")
def test_a_target_that_left_before_its_entrys_fill_was_recorded_is_not_sent_again() -> None:
    """A crash took the fill from the record, and the target is at the venue already."""

    async def before(bench: Bench) -> State:
        entry, target = bench.send_bracket(target_ticks=602_000)
        row = await bench.accepted(entry)
        await bench.server.fill(row, "0.0100", "60000")
        await bench.accepted(target)
        entry.status, entry.venue_id, target.status = OrderStatus.ACCEPTED, row["orderId"], OrderStatus.ACCEPTED
        return _state(bench, working={order.client_id: order for order in (entry, target)})

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        answer = await bench.venue.account()
        assert answer.open_client_ids == ("r1-0000002",)
        await bench.rest(10)
        assert server.count("trade/place_order") == 2
        await server.fill(server.of_client("r1-0000002"), "0.0100", "60200")
        filled = await bench.until(OrderFilled, count=2)
        assert filled.client_id == "r1-0000002"

    _twice(before, after)


@pytest.mark.requirement("B5")
def test_the_books_of_a_resumed_run_are_compared_where_it_stands() -> None:
    """Its cash and its position are those of the record, and agree with the venue's at once."""

    async def before(bench: Bench) -> State:
        row = await bench.accepted(bench.send())
        trade = await bench.server.fill(row, "0.0100", "60000")
        filled = await bench.until(OrderFilled)
        ledger = Ledger()
        ledger.deposit(10_000 * MONEY_SCALE)
        ledger.settle(realised=0, fee=filled.fee_units)
        return _state(bench, lots=100, ledger=ledger, fill_ids=[trade["tradeId"]])

    async def after(bench: Bench, server: ScriptedVenue) -> None:
        await bench.rest(3)
        reads = server.count("account")
        bench.venue.confirm(bench.clock.now_ns())
        answer = await bench.until(Reconcile)
        assert answer.positions == {"BTCUSDT": 100}
        assert server.count("account") == reads + 1

    _twice(before, after)
