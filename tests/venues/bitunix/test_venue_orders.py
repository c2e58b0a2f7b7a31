"""What a run is told of its orders, for everything that can happen to a request, a push or a read."""

from __future__ import annotations

import pytest

from agora.domain.events import (
    ErrorSeen,
    OrderAccepted,
    OrderAmended,
    OrderAmendRejected,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderUnknown,
)
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import OrderType, Purpose, Side, TimeInForce
from tests.venues.bitunix.live import PRICE, Bench, play
from tests.venues.bitunix.scripted import DUPLICATE, Mishap

PLACE = "trade/place_order"
DETAIL = "trade/get_order_detail"
GRACE_S = 20.0


@pytest.mark.requirement("P2.1")
def test_an_accepted_order_is_told_with_the_venues_id() -> None:
    """The usual case: one request, one acceptance."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        accepted = await bench.until(OrderAccepted)
        assert accepted.venue_id == bench.server.of_client(order.client_id)["orderId"]
        assert accepted.latency_ns > 0
        await bench.rest(5)
        assert bench.server.count(PLACE) == 1
        assert bench.kinds() == [OrderAccepted]

    play(scene)


@pytest.mark.requirement("P2.1")
def test_a_refused_order_is_rejected_with_the_venues_code() -> None:
    """The venue answered: nothing of it is live, and nobody asks again."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("refuse", is_done=False, code=20003))
        order = bench.send()
        rejected = await bench.until(OrderRejected)
        assert rejected.client_id == order.client_id
        assert "20003" in rejected.reason
        await bench.rest(5)
        assert bench.server.count(PLACE) == 1

    play(scene)


def test_a_rate_limited_order_is_sent_again_after_the_pause_under_the_same_id() -> None:
    """It was not processed, so it may go again: once, after what the venue asked for."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("limit", is_done=False, retry_after_s=1.0))
        begun_ns = bench.clock.now_ns()
        order = bench.send()
        accepted = await bench.until(OrderAccepted)
        assert accepted.ts_ns - begun_ns >= NS_PER_S
        ids = [body["clientId"] for call, body in bench.server.requests if call == PLACE]
        assert ids == [order.client_id] * 2
        assert not bench.told(OrderUnknown)

    play(scene)


def test_an_entry_that_is_limited_for_too_long_is_stale() -> None:
    """Two seconds after it was decided an entry is no longer wanted."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, *[Mishap("limit", is_done=False)] * 10)
        begun_ns = bench.clock.now_ns()
        bench.send()
        rejected = await bench.until(OrderRejected)
        assert rejected.reason.startswith("not sent")
        assert rejected.ts_ns - begun_ns <= 2.1 * NS_PER_S

    play(scene)


def test_an_order_that_reduces_is_tried_for_longer() -> None:
    """Getting out is worth half a minute of trying."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, *[Mishap("limit", is_done=False)] * 6)
        order = bench.send(reduce_only=True, purpose=Purpose.FLATTEN, side=Side.SELL)
        await bench.until(OrderAccepted)
        assert bench.server.of_client(order.client_id)["reduceOnly"] is True

    play(scene)


@pytest.mark.requirement("P2.1")
@pytest.mark.parametrize("kind", ["silence", "html", "empty", "reset"])
def test_an_order_that_arrived_without_an_answer_is_unknown_and_then_found(kind: str) -> None:
    """In doubt once, found by the client id, never sent a second time."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap(kind, is_done=True))
        order = bench.send()
        await bench.until(OrderAccepted)
        await bench.rest(60)
        assert bench.kinds() == [OrderUnknown, OrderAccepted]
        assert bench.server.count(PLACE) == 1
        assert bench.told(OrderAccepted)[0].venue_id == bench.server.of_client(order.client_id)["orderId"]

    play(scene)


@pytest.mark.requirement("P2.1")
@pytest.mark.parametrize("kind", ["silence", "html", "reset"])
def test_an_order_that_never_arrived_is_rejected_only_after_the_grace_time(kind: str) -> None:
    """Not found is no answer before the venue has had twenty seconds, and the lists agree."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap(kind, is_done=False))
        begun_ns = bench.clock.now_ns()
        bench.send()
        rejected = await bench.until(OrderRejected)
        assert rejected.ts_ns - begun_ns >= GRACE_S * NS_PER_S
        assert rejected.reason.startswith("not at the venue after")
        assert bench.kinds() == [OrderUnknown, OrderRejected]
        assert bench.server.count(PLACE) == 1
        assert bench.server.count("trade/get_pending_orders") >= 1

    play(scene)


def test_a_doubt_that_cannot_be_read_lasts() -> None:
    """Reads that fail prove nothing: the order stays unknown until the venue can be asked again."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("reset", is_done=False))
        bench.server.go_wrong(DETAIL, *[Mishap("html", is_done=False)] * 400)
        bench.send()
        await bench.rest(60)
        assert bench.kinds() == [OrderUnknown]
        bench.server.mishaps.clear()
        await bench.until(OrderRejected)

    play(scene)


@pytest.mark.requirement("P2.1")
def test_an_order_that_shows_up_late_is_found_within_the_grace_time() -> None:
    """`not_found_then_exists`: the reads miss it for ten seconds, and it is there."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("reset", is_done=True))
        order = bench.order()
        bench.server.hidden.add(order.client_id)
        bench.venue.send(order, bench.clock.now_ns())
        await bench.rest(10)
        assert bench.kinds() == [OrderUnknown]
        bench.server.hidden.clear()
        await bench.until(OrderAccepted)
        assert not bench.told(OrderRejected)

    play(scene)


def test_an_order_that_shows_up_after_it_was_given_up_is_called_back() -> None:
    """The run has counted it out, so nothing of it may stay; what it traded meanwhile is told."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("reset", is_done=True))
        order = bench.order()
        bench.server.hidden.add(order.client_id)
        bench.venue.send(order, bench.clock.now_ns())
        await bench.until(OrderRejected)
        bench.server.hidden.clear()
        row = bench.server.of_client(order.client_id)
        await bench.server.fill(row, "0.0040", "60000")
        filled = await bench.until(OrderFilled)
        await bench.until(OrderCancelled)
        assert (filled.client_id, filled.fill_size_lots) == (order.client_id, 40)
        assert row["status"] == "PART_FILLED_CANCELED"
        assert bench.told(ErrorSeen)

    play(scene)


def test_a_client_id_that_the_venue_knows_was_placed_before() -> None:
    """A duplicate is no refusal: the first request has arrived, and the order is looked up."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("refuse", is_done=True, code=DUPLICATE))
        bench.send()
        await bench.until(OrderAccepted)
        assert not bench.told(OrderRejected)

    play(scene)


def test_nothing_is_sent_to_a_venue_that_is_away_and_the_same_order_goes_when_it_is_back() -> None:
    """A refused connection proves that nothing arrived."""

    async def scene(bench: Bench) -> None:
        from tests.simulation.network import running_network  # noqa: PLC0415  only this scene cuts the wire

        network = running_network()
        address = next(iter(network.listeners))
        network.refused.add(address)
        network.cut(address=address)
        order = bench.send(reduce_only=True, side=Side.SELL, purpose=Purpose.FLATTEN)
        await bench.rest(5)
        assert not bench.told(OrderUnknown)
        network.refused.clear()
        await bench.until(OrderAccepted)
        assert bench.server.of_client(order.client_id)["status"] == "NEW"

    play(scene)


def test_fills_carry_price_size_fee_and_role_exactly() -> None:
    """What the venue's trade says is what is booked."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        trade = await bench.server.fill(row, "0.0040", "59999.9", role="MAKER")
        await bench.server.fill(row, "0.0060", "60000.0")
        await bench.until(OrderFilled, count=2)
        first, second = bench.told(OrderFilled)
        assert (first.fill_price_ticks, first.fill_size_lots, first.liquidity) == (599_999, 40, "maker")
        assert first.fee_units == 4_799_992  # 0.004 * 59,999.9 * 0.0002 in 1e-8
        assert (first.venue_fill_id, first.side, first.purpose) == (trade["tradeId"], "buy", "entry")
        assert (second.fill_size_lots, second.liquidity) == (60, "taker")
        await bench.rest(5)
        assert len(bench.told(OrderFilled)) == 2
        assert not bench.told(OrderCancelled)

    play(scene)


@pytest.mark.parametrize("is_mute", [False, True])
def test_a_market_order_is_followed_to_its_end_with_or_without_pushes(is_mute: bool) -> None:
    """It cannot rest, so it is looked at until it is over."""

    async def scene(bench: Bench) -> None:
        bench.server.is_mute = is_mute
        order = bench.send(type=OrderType.MARKET, time_in_force=TimeInForce.IOC, price_ticks=0)
        row = await bench.accepted(order)
        await bench.rest(2)
        await bench.server.fill(row, "0.0070", "60000")
        await bench.server.end(row)
        cancelled = await bench.until(OrderCancelled, seconds=5)
        assert cancelled.client_id == order.client_id
        assert [event.fill_size_lots for event in bench.told(OrderFilled)] == [70]

    play(scene)


def test_repeated_pushes_tell_nothing_twice() -> None:
    """A push is a hint to look, and a trade is known by its id."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        await bench.server.fill(row, "0.0100", "60000")
        for _ in range(5):
            await bench.server.push_order(row)
        await bench.rest(10)
        assert len(bench.told(OrderFilled)) == 1

    play(scene)


def test_an_order_is_not_over_before_all_of_its_trades_are_told() -> None:
    """The row says cancelled after 0.004: the end waits until those trades show."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        trade = await bench.server.fill(row, "0.0040", "60000")
        bench.server.hidden_trades.add(trade["tradeId"])
        bench.events.clear()
        await bench.server.end(row)
        await bench.rest(10)
        was_told_early = bool(bench.told(OrderCancelled)) and not bench.told(OrderFilled)
        assert not was_told_early
        bench.server.hidden_trades.clear()
        await bench.until(OrderCancelled)
        kinds = bench.kinds()
        assert kinds in ([OrderFilled, OrderCancelled], [OrderCancelled])

    play(scene)


def test_an_old_row_after_a_newer_fill_changes_nothing() -> None:
    """A snapshot that knows of fewer trades than we do is stale, whatever it says about the order's end."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        await bench.server.fill(row, "0.0040", "60000")
        await bench.until(OrderFilled)
        row["tradeQty"], row["status"] = "0", "CANCELED"
        await bench.server.push_order(row)
        await bench.rest(15)
        assert not bench.told(OrderCancelled)
        row["tradeQty"], row["status"] = "0.0040", "PART_FILLED"
        await bench.server.fill(row, "0.0060", "60000")
        await bench.until(OrderFilled, count=2)
        assert not bench.told(OrderCancelled)

    play(scene)


@pytest.mark.requirement("H4.3")
def test_a_cancel_is_done_when_the_venue_says_so() -> None:
    """Asked for, answered with success, and still open: asked for again, and told only at the end."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        bench.server.go_wrong("trade/cancel_orders", Mishap("html", is_done=False))
        bench.change(order)
        await bench.rest(1)
        assert not bench.told(OrderCancelled)
        await bench.until(OrderCancelled, seconds=10)
        assert row["status"] == "CANCELED"
        assert bench.server.count("trade/cancel_orders") == 2

    play(scene)


@pytest.mark.requirement("H4.3")
def test_a_fill_that_crosses_a_cancel_is_told_and_the_cancel_is_not() -> None:
    """The venue finds nothing to cancel, because the order has just filled."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        bench.server.is_mute = True
        await bench.server.fill(row, "0.0100", "60000")
        bench.change(order)
        await bench.until(OrderFilled, seconds=5)
        await bench.rest(5)
        assert not bench.told(OrderCancelled)

    play(scene)


def test_an_order_in_doubt_can_be_cancelled_by_its_client_id() -> None:
    """Nobody knows whether it is there; if it is, it goes."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("silence", is_done=True))
        order = bench.order()
        bench.venue.send(order, bench.clock.now_ns())
        await bench.rest(1)
        bench.change(order)
        await bench.until(OrderCancelled, seconds=15)
        assert bench.server.of_client(order.client_id)["status"] == "CANCELED"

    play(scene)


def test_an_amended_order_is_told_when_its_row_shows_the_price() -> None:
    """Both price and size go over the wire; the answer alone proves nothing."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        await bench.accepted(order)
        bench.server.go_wrong("trade/modify_order", Mishap("silence", is_done=True))
        bench.change(order, (PRICE - 50, 0))
        amended = await bench.until(OrderAmended, seconds=10)
        assert amended.price_ticks == PRICE - 50
        sent = next(body for call, body in bench.server.requests if call == "trade/modify_order")
        assert (sent["price"], sent["qty"]) == ("59995.0", "0.0100")

    play(scene)


def test_an_amendment_that_is_refused_leaves_the_order_as_it_was() -> None:
    """The run hears why."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        await bench.accepted(order)
        bench.server.go_wrong("trade/modify_order", Mishap("refuse", is_done=False, code=30014))
        bench.change(order, (PRICE + 90_000, 0))
        refused = await bench.until(OrderAmendRejected)
        assert "30014" in refused.reason

    play(scene)


@pytest.mark.parametrize("lag_s, after_s", [(0.0, 5.5), (3.0, 2.5)], ids=["silent", "old as it came"])
def test_nothing_that_raises_risk_leaves_on_old_data(lag_s: float, after_s: float) -> None:
    """Neither a new order nor the move of one; data count from the venue's stamp, not from when they came."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        await bench.accepted(order)
        await bench.rest(after_s)
        bench.change(order, (PRICE - 50, 0))
        late = bench.send()
        rejected = await bench.until(OrderRejected)
        assert rejected.client_id == late.client_id
        assert "not wanted" in (await bench.until(OrderAmendRejected)).reason
        calls = [call for call, _ in bench.server.requests]
        assert calls.count("trade/place_order") == 1
        assert calls.count("trade/modify_order") == 0

    play(scene, data_age_s_max=5.0, lag_s=lag_s)


def test_an_order_with_an_end_time_is_cancelled_by_us_and_expires() -> None:
    """The venue knows no end times."""

    async def scene(bench: Bench) -> None:
        end_ns = bench.clock.now_ns() + 30 * NS_PER_S
        order = bench.send(time_in_force=TimeInForce.GTD, expire_ts_ns=end_ns)
        expired = await bench.until(OrderExpired)
        assert end_ns <= expired.ts_ns <= end_ns + NS_PER_S
        assert bench.server.of_client(order.client_id)["status"] == "CANCELED"

    play(scene)


def test_an_order_type_that_the_venue_does_not_have_is_rejected() -> None:
    """A stop that is no leg of an entry is not offered."""

    async def scene(bench: Bench) -> None:
        bench.send(type=OrderType.STOP, trigger_ticks=PRICE, price_ticks=0)
        rejected = await bench.until(OrderRejected)
        assert "stop" in rejected.reason

    play(scene)


def test_a_post_only_order_that_would_cross_ends_by_the_venues_word() -> None:
    """It is accepted, and cancelled at once."""

    async def scene(bench: Bench) -> None:
        order = bench.send(post_only=True)
        row = await bench.accepted(order)
        assert row["effect"] == "POST_ONLY"
        await bench.server.end(row)
        await bench.until(OrderCancelled)

    play(scene)


def test_an_order_that_is_cancelled_before_it_could_leave_never_leaves() -> None:
    """It waits for the venue's limits; the cancel is quicker."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, *[Mishap("limit", is_done=False)] * 5)
        order = bench.send(reduce_only=True)
        await bench.rest(0.5)
        bench.change(order)
        rejected = await bench.until(OrderRejected, seconds=3)
        assert "before it was sent" in rejected.reason
        assert bench.server.count(PLACE) == 1
        assert not bench.server.orders

    play(scene)


def test_an_amendment_that_was_answered_and_not_made_is_refused() -> None:
    """The answer said success; the row never showed it."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        bench.server.frozen.add(row["orderId"])
        bench.change(order, (PRICE - 50, 0))
        await bench.until(OrderAmendRejected, seconds=15)
        assert not bench.told(OrderAmended)

    play(scene)


def test_a_trade_whose_order_is_not_visible_yet_waits_for_it() -> None:
    """The push is quicker than the answer, and the order cannot be read: it is ours all the same."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("silence", is_done=True))
        order = bench.order()
        bench.server.hidden.add(order.client_id)
        bench.venue.send(order, bench.clock.now_ns())
        await bench.rest(0.2)
        row = bench.server.of_client(order.client_id)
        row["clientId"] = ""
        bench.server.hidden_orders.add(row["orderId"])
        await bench.server.fill(row, "0.0100", "60000")
        await bench.rest(10)
        assert not bench.told(OrderFilled)
        row["clientId"] = order.client_id
        bench.server.hidden.clear()
        bench.server.hidden_orders.clear()
        filled = await bench.until(OrderFilled, seconds=10)
        assert filled.client_id == order.client_id

    play(scene)


def test_before_a_refusal_that_our_books_do_not_explain_the_run_hears_what_it_missed() -> None:
    """Nothing to reduce: the position was closed by a fill that nobody has told yet."""

    async def scene(bench: Bench) -> None:
        row = await bench.accepted(bench.send())
        await bench.server.fill(row, "0.0100", "60000")
        await bench.until(OrderFilled)
        await bench.rest(2)
        bench.server.is_mute = True
        other = await bench.accepted(bench.send(side=Side.SELL))
        await bench.server.fill(other, "0.0100", "60000")
        bench.server.go_wrong(PLACE, Mishap("refuse", is_done=False, code=30018))
        bench.send(side=Side.SELL, type=OrderType.MARKET, purpose=Purpose.FLATTEN, reduce_only=True)
        await bench.until(OrderRejected, seconds=2)
        assert bench.kinds()[-2:] == [OrderFilled, OrderRejected]

    play(scene)


def test_the_creation_of_an_order_is_no_news() -> None:
    """Resting costs the venue nothing: no read follows the acceptance, nor the push of it."""

    async def scene(bench: Bench) -> None:
        await bench.rest(3)
        row = await bench.accepted(bench.send())
        await bench.server.push_order(row)
        await bench.rest(5)
        assert bench.server.count(DETAIL) == 0

    play(scene)


@pytest.mark.parametrize("is_told", [True, False])
def test_an_order_whose_trade_was_undone_ends_after_the_grace_time(is_told: bool) -> None:
    """The venue takes a trade back, after we were told or before: row and trades differ, and go on differing."""

    async def scene(bench: Bench) -> None:
        order = bench.send()
        row = await bench.accepted(order)
        begun_ns = bench.clock.now_ns()
        trade = await bench.server.fill(row, "0.0040", "60000")
        if is_told:
            await bench.until(OrderFilled)
            row["tradeQty"] = "0"
        else:
            bench.server.hidden_trades.add(trade["tradeId"])
        await bench.server.end(row)
        cancelled = await bench.until(OrderCancelled, seconds=60)
        assert cancelled.ts_ns - begun_ns >= GRACE_S * NS_PER_S
        assert bench.told(ErrorSeen)

    play(scene)


def test_a_partial_fill_of_a_resting_order_is_heard_by_its_push_and_costs_one_read() -> None:
    """The trades are read; the order itself is still open and need not be looked at."""

    async def scene(bench: Bench) -> None:
        await bench.rest(3)
        row = await bench.accepted(bench.send())
        await bench.server.fill(row, "0.0040", "60000")
        filled = await bench.until(OrderFilled, seconds=1)
        assert filled.fill_size_lots == 40
        await bench.rest(3)
        assert bench.server.count(DETAIL) == 0
        await bench.server.fill(row, "0.0060", "60000")
        await bench.until(OrderFilled, count=2, seconds=1)
        await bench.rest(3)
        assert bench.server.count(DETAIL) == 0

    play(scene)
