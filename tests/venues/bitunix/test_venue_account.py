"""What the venue says we hold: foreign trades, funding, reconciliation, the private stream, and a restart."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from agora.domain.errors import StartFault
from agora.domain.events import (
    ErrorSeen,
    Funding,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Reconcile,
    UserAlive,
    UserConnected,
    UserLost,
)
from agora.domain.numbers import MONEY_SCALE, NS_PER_MS, NS_PER_S
from agora.domain.orders import OrderStatus, Purpose
from agora.engine.state import State
from tests.simulation.loop import VirtualClock
from tests.simulation.network import run_networked, serving
from tests.venues.bitunix.live import START_NS, Bench, connected, play
from tests.venues.bitunix.scripted import Mishap, ScriptedVenue, scripted

PENDING = "trade/get_pending_orders"


async def _asked(bench: Bench) -> Reconcile:
    """The answer to a question asked now."""
    now_ns = bench.clock.now_ns()
    count = len(bench.told(Reconcile))
    bench.venue.confirm(now_ns)
    answer = await bench.until(Reconcile, count=count + 1)
    assert answer.asked_ts_ns == now_ns
    return answer


@pytest.mark.requirement("P2.2")
def test_the_account_is_told_after_everything_that_led_to_it() -> None:
    """Pushes are lost: the question finds the fill, tells it, and then what is held."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        bench.server.is_mute = True
        await bench.server.fill(row, "0.0040", "60000")
        answer = await _asked(bench)
        kinds = [type(event) for event in bench.events if isinstance(event, OrderFilled | Reconcile)]
        assert kinds == [OrderFilled, Reconcile]
        assert answer.positions == {"BTCUSDT": 40}
        assert answer.open_client_ids == (order.client_id,)
        assert answer.cash_units == 10_000 * MONEY_SCALE - bench.told(OrderFilled)[0].fee_units

    play(scene)


@pytest.mark.requirement("P2.2")
def test_an_order_that_ended_unheard_is_told_before_the_account() -> None:
    """The venue shows it no more: it is looked at first."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        row["status"] = "CANCELED"
        answer = await _asked(bench)
        assert answer.open_client_ids == ()
        assert bench.told(OrderCancelled, order.client_id)

    play(scene)


def test_an_order_in_doubt_is_among_the_open_ones() -> None:
    """It may be there, so it counts."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong("trade/place_order", Mishap("reset", is_done=False))
        order = bench.send()
        await bench.rest(1)
        answer = await _asked(bench)
        assert answer.open_client_ids == (order.client_id,)

    play(scene)


def test_a_venue_that_cannot_be_read_is_asked_until_it_can() -> None:
    """One question, some failures, one answer."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PENDING, *[Mishap("html", is_done=False)] * 6)
        await _asked(bench)
        assert len(bench.told(Reconcile)) == 1

    play(scene)


@pytest.mark.requirement("P1.3")
def test_a_foreign_trade_is_told_as_such_and_its_order_as_foreign() -> None:
    """Another hand on the account: real money, so it is booked, under no name of ours."""

    async def scene(bench: Bench) -> None:
        await bench.rest(1)
        order = await bench.server.foreign("BUY", "0.0050", "60000")
        filled = await bench.until(OrderFilled, seconds=10)
        assert (filled.client_id, filled.purpose) == (f"foreign-{order['orderId']}", "foreign")
        resting = bench.server._order(
            {"symbol": "BTCUSDT", "side": "BUY", "qty": "1", "orderType": "LIMIT", "price": "1"}
        )
        answer = await _asked(bench)
        assert answer.positions == {"BTCUSDT": 50}
        assert answer.open_client_ids == (f"foreign-{resting['orderId']}",)

    play(scene)


def test_a_position_that_the_venue_closes_is_a_liquidation() -> None:
    """A reducing order that nobody of us made and no stop explains."""

    async def scene(bench: Bench) -> None:
        row = await bench.accepted(bench.send())
        await bench.server.fill(row, "0.0100", "60000")
        await bench.until(OrderFilled)
        await bench.server.foreign("SELL", "0.0100", "50000", reduce_only=True)
        filled = await bench.until(OrderFilled, count=2, seconds=10)
        assert (filled.purpose, filled.side) == (Purpose.LIQUIDATION, "sell")

    play(scene)


@pytest.mark.requirement("H2.3")
def test_funding_is_told_once_per_settlement_and_also_of_a_closed_position() -> None:
    """The venue tells only the sum per position; the run hears the differences."""

    async def scene(bench: Bench) -> None:
        row = await bench.accepted(bench.send())
        await bench.server.fill(row, "0.0100", "60000")
        await bench.until(OrderFilled)
        await bench.server.settle_funding("-0.06")
        await bench.until(Funding)
        bench.server.is_mute = True
        await bench.server.settle_funding("-0.05")
        await bench.server.foreign("SELL", "0.0100", "60000")
        answer = await _asked(bench)
        told = bench.told(Funding)
        assert [event.amount_units for event in told] == [-6_000_000, -5_000_000]
        assert told[1].position_funding_units == -11_000_000
        assert told[0].position_id == told[1].position_id
        fees = sum(event.fee_units for event in bench.told(OrderFilled))
        assert answer.cash_units == 10_000 * MONEY_SCALE - fees - 11_000_000
        await _asked(bench)
        assert len(bench.told(Funding)) == 2

    play(scene)


@pytest.mark.requirement("P1.4")
def test_the_private_stream_tells_that_it_lives_and_that_it_is_lost() -> None:
    """Logged in, alive at most once a second, lost, connected anew."""

    async def scene(bench: Bench) -> None:
        connected_event = await bench.until(UserConnected)
        assert connected_event.keepalive_s == 15
        await bench.rest(60)
        times = [event.ts_ns for event in bench.told(UserAlive)]
        assert len(times) >= 3
        assert all(later - earlier >= NS_PER_S for earlier, later in pairwise(times))
        await bench.server.disconnect()
        await bench.until(UserLost)
        await bench.until(UserConnected, count=2)

    play(scene)


def test_what_happened_while_the_stream_was_away_is_found_after_it() -> None:
    """No push will ever speak of it."""

    async def scene(bench: Bench) -> None:
        row = await bench.accepted(bench.send())
        await bench.until(UserConnected)
        bench.server.is_mute = True
        await bench.server.fill(row, "0.0100", "60000")
        bench.server.is_mute = False
        await bench.server.disconnect()
        await bench.until(OrderFilled, seconds=30)

    play(scene)


def test_a_login_that_is_refused_again_and_again_means_revoked_keys() -> None:
    """The engine ends a run on a reason that begins with `auth`."""

    async def scene(bench: Bench) -> None:
        bench.server.refuses_login = True
        await bench.server.disconnect()
        while not any(event.reason.startswith("auth") for event in bench.told(UserLost)):
            await bench.rest(1)
        assert len(bench.told(UserLost)) <= 8

    play(scene)


def test_keys_that_are_revoked_for_requests_are_told_too() -> None:
    """A refused read is no doubt about orders, but no order will ever pass."""

    async def scene(bench: Bench) -> None:
        await bench.until(UserConnected)
        bench.server.refuses_keys = True
        bench.send()
        rejected = await bench.until(OrderRejected)
        assert "10003" in rejected.reason
        bench.venue.confirm(bench.clock.now_ns())
        while not any(event.reason.startswith("auth") for event in bench.told(UserLost)):
            await bench.rest(1)

    play(scene)


def test_a_bug_in_the_background_is_raised_to_the_run_and_the_rest_goes_on() -> None:
    """The run ends in order: what cancels and flattens still works."""

    async def scene(bench: Bench) -> None:
        async def broken() -> None:
            raise ZeroDivisionError("planted")

        bench.venue._crew.start(broken(), name="broken")
        with pytest.raises(ZeroDivisionError):
            await bench.rest(1)
        order = bench.send()
        await bench.until(OrderAccepted)
        bench.change(order)
        await bench.until(OrderCancelled)

    play(scene)


def test_a_start_without_a_venue_fails_within_its_bound() -> None:
    """A start that cannot read the account does not begin."""

    async def main() -> None:
        clock = VirtualClock()
        async with scripted(serving, lambda: clock.now_ns() // NS_PER_MS) as (server, address):
            server.refuses_keys = True
            with pytest.raises(StartFault, match="keys"):
                async with connected(server, address):
                    pass
            server.refuses_keys = False
            server.go_wrong("trade/get_history_trades", *[Mishap("html", is_done=False)] * 400)
            with pytest.raises(StartFault, match="cannot be read"):
                async with connected(server, address, start_s_max=5.0):
                    pass

    run_networked(main(), seed=1, start_ns=START_NS)


# After a restart.


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


def _state(bench: Bench, **facts: Any) -> State:
    return State(started_ts_ns=START_NS, now_ns=bench.clock.now_ns(), **facts)


@pytest.mark.requirement("B5")
def test_fills_of_an_outage_are_told_after_the_restart_and_known_ones_are_not_needed() -> None:
    """One fill was recorded, one happened while nobody listened."""

    async def before(bench: Bench) -> State:
        order = bench.send()
        row = await bench.accepted(order)
        trade = await bench.server.fill(row, "0.0040", "60000")
        await bench.until(OrderFilled)
        order.venue_id, order.filled_lots, order.status = row["orderId"], 40, OrderStatus.PARTIALLY_FILLED
        state = _state(bench, working={order.client_id: order}, fill_ids=[trade["tradeId"]])
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
        return _state(bench, working=working, closed=[entry], fill_ids=[trade["tradeId"]])

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


def test_a_trade_in_a_symbol_that_is_not_traded_here_is_an_error_and_not_a_fill() -> None:
    """It cannot be booked; the cash will differ, and that ends the run."""

    async def scene(bench: Bench) -> None:
        await bench.rest(1)
        row = bench.server._order({"symbol": "ETHUSDT", "side": "BUY", "qty": "1", "orderType": "MARKET"})
        await bench.server.fill(row, "1", "3000")
        await bench.until(ErrorSeen)
        assert not bench.told(OrderFilled)

    play(scene)
