"""What the venue says we hold: foreign trades, funding, reconciliation, the private stream, and a restart."""

from __future__ import annotations

from itertools import pairwise

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
from agora.domain.orders import Purpose, Side
from tests.simulation.loop import VirtualClock
from tests.simulation.network import run_networked, serving
from tests.venues.bitunix.live import START_NS, Bench, connected, play
from tests.venues.bitunix.scripted import Mishap, scripted

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
        row = await bench.accepted(bench.send())
        for _ in range(20):
            await bench.server.push_order(row)
            await bench.rest(0.1)
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


def test_an_order_that_ended_while_the_stream_was_away_is_found_after_it() -> None:
    """It is not among the open ones any more, so it is looked at."""

    async def scene(bench: Bench) -> None:
        row = await bench.accepted(bench.send())
        await bench.rest(3)
        row["status"] = "CANCELED"
        await bench.rest(5)
        assert not bench.told(OrderCancelled)
        await bench.server.disconnect()
        await bench.until(OrderCancelled, seconds=10)

    play(scene)


def test_a_login_that_is_refused_again_and_again_means_revoked_keys() -> None:
    """The engine ends a run on a reason that begins with `auth`."""

    async def scene(bench: Bench) -> None:
        bench.server.refuses_login = True
        await bench.server.disconnect()
        begun_ns = bench.clock.now_ns()
        while not any(event.reason.startswith("auth") for event in bench.told(UserLost)):
            await bench.rest(1)
        assert bench.clock.now_ns() - begun_ns < 15 * NS_PER_S
        assert len(bench.told(UserLost)) <= 3

    play(scene)


def test_a_login_that_is_never_answered_is_no_connection() -> None:
    """The socket answers pings and lets nobody in: it is given up."""

    async def scene(bench: Bench) -> None:
        await bench.until(UserConnected)
        bench.server.ignores_login = True
        await bench.server.disconnect()
        await bench.until(UserLost)
        attempts = bench.server.greeted
        await bench.rest(60)
        assert len(bench.told(UserConnected)) == 1
        assert bench.server.greeted >= attempts + 2
        bench.server.ignores_login = False
        await bench.until(UserConnected, count=2)

    play(scene)


def test_keys_that_are_refused_now_and_then_are_not_revoked() -> None:
    """A good answer in between starts the count anew."""

    async def scene(bench: Bench) -> None:
        await bench.until(UserConnected)
        for _ in range(3):
            bench.server.go_wrong("trade/place_order", *[Mishap("refuse", is_done=False, code=10007)] * 2)
            for _ in range(3):
                bench.send()
                await bench.rest(1)
        assert len(bench.told(OrderRejected)) == 6
        assert not bench.told(UserLost)

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


def test_a_trade_in_a_symbol_that_is_not_traded_here_is_an_error_and_not_a_fill() -> None:
    """It cannot be booked; the cash will differ, and that ends the run."""

    async def scene(bench: Bench) -> None:
        await bench.rest(1)
        row = bench.server._order({"symbol": "ETHUSDT", "side": "BUY", "qty": "1", "orderType": "MARKET"})
        await bench.server.fill(row, "1", "3000")
        await bench.until(ErrorSeen)
        for _ in range(3):
            await _asked(bench)
        assert len(bench.told(ErrorSeen)) == 1
        assert not bench.told(OrderFilled)

    play(scene)


def test_a_trade_that_is_listed_late_is_found_behind_a_newer_one() -> None:
    """Reads begin a little before the newest known trade."""

    async def scene(bench: Bench) -> None:
        await bench.rest(2)
        bench.server.is_mute = True
        order = await bench.server.foreign("BUY", "0.0040", "60000")
        bench.server.hidden_trades.add(bench.server.trades[-1]["tradeId"])
        await bench.rest(3)
        bench.server.is_mute = False
        other = await bench.accepted(bench.send())
        await bench.server.fill(other, "0.0100", "60000")
        await bench.until(OrderFilled)
        bench.server.hidden_trades.clear()
        answer = await _asked(bench)
        assert answer.positions == {"BTCUSDT": 140}
        assert [event.fill_size_lots for event in bench.told(OrderFilled, f"foreign-{order['orderId']}")] == [40]

    play(scene)


@pytest.mark.requirement("P2.2")
def test_a_fill_between_the_reads_of_an_account_does_not_mix_two_moments() -> None:
    """Cash and positions are of one moment, and told at the place among the fills where they were true."""

    async def scene(bench: Bench) -> None:
        async def fill() -> None:
            await bench.server.foreign("BUY", "0.0100", "60000")

        await bench.rest(2)
        bench.server.is_mute = True
        bench.server.before["account"] = fill
        answer = await _asked(bench)
        before = [event for event in bench.events[: bench.events.index(answer)] if isinstance(event, OrderFilled)]
        assert answer.positions == {"BTCUSDT": sum(event.fill_size_lots for event in before)}
        assert answer.cash_units == 10_000 * MONEY_SCALE - sum(event.fee_units for event in before)
        await bench.until(OrderFilled)

    play(scene)


@pytest.mark.requirement("H2.3")
def test_funding_from_before_the_run_is_not_the_runs() -> None:
    """A position that was open with a sum, and one that was closed: neither was ours."""

    async def main() -> None:
        clock = VirtualClock()
        async with scripted(serving, lambda: clock.now_ns() // NS_PER_MS) as (server, address):
            await server.foreign("BUY", "0.0100", "60000")
            await server.settle_funding("-0.10")
            await server.foreign("SELL", "0.0100", "60000")
            await server.foreign("BUY", "0.0200", "60000")
            await server.settle_funding("-0.20")
            await clock.sleep_until(clock.now_ns() + 60 * NS_PER_S)
            async with connected(server, address) as bench:
                await server.settle_funding("-0.05")
                row = await bench.accepted(bench.send(side=Side.SELL, size_lots=200))
                await server.fill(row, "0.0200", "60000")
                await _asked(bench)
                assert [event.amount_units for event in bench.told(Funding)] == [-5_000_000]

    run_networked(main(), seed=1, start_ns=START_NS)


@pytest.mark.requirement("P2.2")
def test_an_account_that_never_stands_still_is_told_all_the_same() -> None:
    """A fill every quarter of a second: books and venue are compared within seconds, and agree."""

    async def scene(bench: Bench) -> None:
        orders = [await bench.accepted(bench.send(size_lots=10_000)) for _ in range(2)]
        begun_ns = bench.clock.now_ns()
        bench.venue.confirm(begun_ns)
        for number in range(60):
            await bench.server.fill(orders[number % 2], "0.0010", f"{60_000 + number % 7}")
            await bench.rest(0.25)
        answer = bench.told(Reconcile)[0]
        assert answer.ts_ns - begun_ns < 5 * NS_PER_S
        before = [event for event in bench.events[: bench.events.index(answer)] if isinstance(event, OrderFilled)]
        assert answer.positions == {"BTCUSDT": sum(event.fill_size_lots for event in before)}
        assert answer.cash_units == 10_000 * MONEY_SCALE - sum(event.fee_units for event in before)

    play(scene)


def test_a_difference_with_the_venue_is_told_as_it_stands() -> None:
    """The venue's cash is not what the fills come to: no reading agrees, so the truth is told."""

    async def scene(bench: Bench) -> None:
        await bench.rest(1)
        bench.server.cash -= 5
        answer = await _asked(bench)
        assert answer.cash_units == 9_995 * MONEY_SCALE

    play(scene)
