"""Stops and targets of an entry: there when it fills, gone when nothing is left to protect, told by their names."""

from __future__ import annotations

from agora.domain.events import (
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
)
from agora.domain.orders import Order
from tests.venues.bitunix.live import PRICE, TAG, Bench, play
from tests.venues.bitunix.scripted import Mishap

STOP = PRICE - 1_000
TARGET = PRICE + 2_000
PLACE = "trade/place_order"


async def _filled(bench: Bench, qty: str = "0.0100") -> tuple[Order, Order, Order]:
    """An entry with stop and target that has filled."""
    entry, stop, target = bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
    await bench.server.fill(await bench.accepted(entry), qty, "60000")
    await bench.until(OrderFilled)
    await bench.rest(3)
    return entry, stop, target


def _row_of_target(bench: Bench, target: Order) -> dict[str, object]:
    return bench.server.of_client(target.client_id)


def test_the_stop_travels_with_its_entry_and_the_target_waits() -> None:
    """One request for both; all three are accepted, and only the entry is an order there."""

    async def scene(bench: Bench) -> None:
        entry, stop, target = bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
        row = await bench.accepted(entry)
        assert row["slPrice"] == "59900.0"
        assert {event.client_id for event in bench.told(OrderAccepted)} == {
            entry.client_id,
            stop.client_id,
            target.client_id,
        }
        assert len(bench.server.orders) == 1

    play(scene)


def test_the_target_is_placed_for_what_the_entry_has_filled_and_grows_with_it() -> None:
    """First 0.004, then all of 0.01: one order under the target's own id, made larger."""

    async def scene(bench: Bench) -> None:
        entry, _, target = bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
        row = await bench.accepted(entry)
        await bench.server.fill(row, "0.0040", "60000")
        await bench.rest(3)
        placed = _row_of_target(bench, target)
        assert (placed["qty"], placed["price"], placed["reduceOnly"]) == ("0.0040", "60200.0", True)
        await bench.server.fill(row, "0.0060", "60000")
        await bench.rest(3)
        assert placed["qty"] == "0.0100"
        assert bench.server.count(PLACE) == 2

    play(scene)


def test_when_the_target_fills_the_stop_is_over() -> None:
    """The position is closed, its trigger is gone with it, and the run hears both."""

    async def scene(bench: Bench) -> None:
        _, stop, target = await _filled(bench)
        await bench.server.fill(_row_of_target(bench, target), "0.0100", "60200", role="MAKER")
        cancelled = await bench.until(OrderCancelled, seconds=30)
        assert cancelled.client_id == stop.client_id
        filled = bench.told(OrderFilled, target.client_id)
        assert [(event.fill_size_lots, event.purpose, event.side) for event in filled] == [(100, "target", "sell")]
        await bench.rest(30)
        assert len(bench.told(OrderCancelled)) == 1

    play(scene)


def test_when_the_stop_fires_its_child_is_told_as_the_stop_and_the_target_goes() -> None:
    """The venue's order has an id of its own and no client id."""

    async def scene(bench: Bench) -> None:
        _, stop, target = await _filled(bench)
        tpsl_id = next(iter(bench.server.tpsl))
        child = await bench.server.trigger(tpsl_id, "59899.5")
        cancelled = await bench.until(OrderCancelled, seconds=30)
        filled = bench.told(OrderFilled, stop.client_id)
        assert [(event.fill_price_ticks, event.purpose) for event in filled] == [(598_995, "stop")]
        assert filled[0].venue_id == child["orderId"]
        assert cancelled.client_id == target.client_id
        assert _row_of_target(bench, target)["status"] == "CANCELED"

    play(scene)


def test_a_stop_that_fires_unheard_is_found() -> None:
    """All pushes are lost: the legs look by themselves."""

    async def scene(bench: Bench) -> None:
        _, stop, target = await _filled(bench)
        bench.server.is_mute = True
        await bench.server.trigger(next(iter(bench.server.tpsl)), "59899.5")
        await bench.until(OrderCancelled, seconds=60)
        assert bench.told(OrderFilled, stop.client_id)
        assert bench.told(OrderCancelled, target.client_id)

    play(scene)


def test_a_fill_without_its_stop_gets_one() -> None:
    """The venue did not make the trigger: it is placed for what is bare."""

    async def scene(bench: Bench) -> None:
        bench.server.drops_stops = True
        await _filled(bench)
        await bench.rest(5)
        rows = list(bench.server.tpsl.values())
        assert [(row["slPrice"], row["slQty"], row["status"]) for row in rows] == [("59900.0", "0.0100", "NEW")]

    play(scene)


def test_a_bare_position_beyond_its_stop_is_closed_at_once() -> None:
    """The trigger price is passed already: what the stop was for has happened."""

    async def scene(bench: Bench) -> None:
        bench.server.drops_stops = True
        bench.server.go_wrong("tpsl/place_order", Mishap("refuse", is_done=False, code=30028))
        _, stop, _ = await _filled(bench)
        closing = next(row for row in bench.server.orders.values() if row["clientId"].startswith(f"{stop.client_id}-"))
        assert (closing["orderType"], closing["side"], closing["reduceOnly"]) == ("MARKET", "SELL", True)
        await bench.server.fill(closing, "0.0100", "59800")
        await bench.until(OrderCancelled, seconds=30)
        assert [event.purpose for event in bench.told(OrderFilled, stop.client_id)] == ["stop"]

    play(scene)


def test_a_stop_follows_and_is_told_when_it_stands_there() -> None:
    """A trailing stop: the trigger at the venue is moved, then the run hears it."""

    async def scene(bench: Bench) -> None:
        _, stop, _ = await _filled(bench)
        bench.change(stop, (0, STOP + 500))
        amended = await bench.until(OrderAmended)
        assert (amended.client_id, amended.trigger_ticks) == (stop.client_id, STOP + 500)
        assert next(iter(bench.server.tpsl.values()))["slPrice"] == "59950.0"
        await bench.rest(30)
        assert len(bench.told(OrderAmended)) == 1

    play(scene)


def test_legs_that_are_cancelled_are_gone_at_the_venue() -> None:
    """As at the end of a run, before the position is closed."""

    async def scene(bench: Bench) -> None:
        _, stop, target = await _filled(bench)
        bench.change(stop)
        bench.change(target)
        await bench.until(OrderCancelled, count=2, seconds=20)
        assert next(iter(bench.server.tpsl.values()))["status"] == "CANCELED"
        assert _row_of_target(bench, target)["status"] == "CANCELED"

    play(scene)


def test_an_entry_that_is_cancelled_unfilled_takes_its_legs_with_it() -> None:
    """Nothing was opened: nothing is left to protect."""

    async def scene(bench: Bench) -> None:
        entry, stop, target = bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
        await bench.accepted(entry)
        bench.change(entry)
        await bench.until(OrderCancelled, count=3, seconds=20)
        ids = [event.client_id for event in bench.told(OrderCancelled)]
        assert ids[0] == entry.client_id
        assert set(ids[1:]) == {stop.client_id, target.client_id}

    play(scene)


def test_legs_of_a_refused_entry_end() -> None:
    """The venue refused the entry: one rejection, and its legs are gone."""

    async def scene(bench: Bench) -> None:
        bench.server.go_wrong(PLACE, Mishap("refuse", is_done=False, code=20003))
        bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
        await bench.until(OrderCancelled, count=2, seconds=20)
        assert len(bench.told(OrderRejected)) == 1

    play(scene)


def test_an_exit_of_another_order_ends_the_legs() -> None:
    """The trader has closed the position by itself: neither leg may open a new one."""

    async def scene(bench: Bench) -> None:
        _, stop, target = await _filled(bench)
        await bench.server.foreign("SELL", "0.0100", "60050")
        await bench.until(OrderCancelled, count=2, seconds=40)
        assert {event.client_id for event in bench.told(OrderCancelled)} == {stop.client_id, target.client_id}

    play(scene)


def test_a_target_that_filled_before_the_entry_was_done_is_placed_again() -> None:
    """The first part came and went: what fills later gets an order under an id of its own, told as the target."""

    async def scene(bench: Bench) -> None:
        entry, _, target = bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
        row = await bench.accepted(entry)
        await bench.server.fill(row, "0.0040", "60000")
        await bench.rest(3)
        await bench.server.fill(_row_of_target(bench, target), "0.0040", "60200", role="MAKER")
        await bench.rest(3)
        await bench.server.fill(row, "0.0060", "60000")
        await bench.rest(3)
        again = [each for each in bench.server.orders.values() if each["clientId"].startswith(f"{target.client_id}-")]
        assert [each["qty"] for each in again] == ["0.0060"]
        await bench.server.fill(again[0], "0.0060", "60200", role="MAKER")
        await bench.until(OrderCancelled, seconds=30)
        assert [event.fill_size_lots for event in bench.told(OrderFilled, target.client_id)] == [40, 60]
        assert all(event.client_id.startswith(TAG) for event in bench.told(OrderFilled))

    play(scene)


def test_a_target_that_the_venue_refuses_again_and_again_is_given_up() -> None:
    """The stop still protects; the run hears that there is no target."""

    async def scene(bench: Bench) -> None:
        entry, stop, target = bench.send_bracket(stop_ticks=STOP, target_ticks=TARGET)
        row = await bench.accepted(entry)
        bench.server.go_wrong(PLACE, *[Mishap("refuse", is_done=False, code=30014)] * 50)
        await bench.server.fill(row, "0.0100", "60000")
        cancelled = await bench.until(OrderCancelled, seconds=30)
        assert cancelled.client_id == target.client_id
        assert bench.server.count(PLACE) == 4
        assert not bench.told(OrderCancelled, stop.client_id)

    play(scene)


def test_a_stop_that_is_withdrawn_before_the_venue_has_made_it_is_withdrawn_after() -> None:
    """Cancelled at once after the fill: a trigger that appears a moment later may not stay."""

    async def scene(bench: Bench) -> None:
        bench.server.drops_stops = True
        entry, stop = bench.send_bracket(stop_ticks=STOP)
        row = await bench.accepted(entry)
        await bench.server.fill(row, "0.0100", "60000")
        await bench.until(OrderFilled)
        bench.change(stop)
        await bench.rest(0.3)
        bench.server._stop("BTCUSDT", "59900.0", "0.0100")
        await bench.until(OrderCancelled, seconds=20)
        assert [row["status"] for row in bench.server.tpsl.values()] == ["CANCELED"]

    play(scene)


def test_a_hand_that_opens_is_no_child_of_a_stop_that_has_fired() -> None:
    """Only an order that reduces can be a stop's."""

    async def scene(bench: Bench) -> None:
        _, stop, _ = await _filled(bench)
        next(iter(bench.server.tpsl.values()))["status"] = "FILLED"
        await bench.server.foreign("SELL", "0.0010", "60000")
        filled = await bench.until(OrderFilled, count=2)
        assert filled.purpose == "foreign"
        assert not bench.told(OrderFilled, stop.client_id)

    play(scene)


def test_a_liquidation_after_a_stop_has_fired_is_no_part_of_the_stop() -> None:
    """One trigger makes one child: what the venue closes after it is its own doing."""

    async def scene(bench: Bench) -> None:
        _, stop, _ = await _filled(bench)
        tpsl_id = next(iter(bench.server.tpsl))
        bench.server.tpsl[tpsl_id]["slQty"] = "0.0040"
        await bench.server.trigger(tpsl_id, "59899.5")
        await bench.until(OrderFilled, count=2)
        await bench.server.foreign("SELL", "0.0060", "59000", reduce_only=True)
        liquidated = await bench.until(OrderFilled, count=3)
        assert liquidated.purpose == "liquidation"
        assert [event.fill_size_lots for event in bench.told(OrderFilled, stop.client_id)] == [40]

    play(scene)


def test_what_a_fired_stop_left_open_is_protected_again() -> None:
    """Its child could sell only a part: the rest gets a trigger of its own."""

    async def scene(bench: Bench) -> None:
        await _filled(bench)
        tpsl_id = next(iter(bench.server.tpsl))
        bench.server.tpsl[tpsl_id]["slQty"] = "0.0040"
        await bench.server.trigger(tpsl_id, "59899.5")
        await bench.rest(10)
        waiting = [row for row in bench.server.tpsl.values() if row["status"] == "NEW"]
        assert [(row["slPrice"], row["slQty"]) for row in waiting] == [("59900.0", "0.0060")]

    play(scene)


def test_a_child_is_told_once_its_trigger_is_listed_as_fired() -> None:
    """The trade is quicker than the list of triggers: it waits, and is the stop's."""

    async def scene(bench: Bench) -> None:
        _, stop, _ = await _filled(bench)
        tpsl_id = next(iter(bench.server.tpsl))
        bench.server.hidden_tpsl.add(tpsl_id)
        await bench.server.trigger(tpsl_id, "59899.5")
        await bench.rest(5)
        assert len(bench.told(OrderFilled)) == 1
        bench.server.hidden_tpsl.clear()
        filled = await bench.until(OrderFilled, count=2, seconds=20)
        assert filled.client_id == stop.client_id

    play(scene)


def test_a_trigger_that_is_in_no_list_any_more_is_replaced_after_the_grace_time() -> None:
    """The venue has lost it: the position may not stay bare."""

    async def scene(bench: Bench) -> None:
        await _filled(bench)
        tpsl_id = next(iter(bench.server.tpsl))
        bench.server.hidden_tpsl.add(tpsl_id)
        await bench.rest(15)
        assert len(bench.server.tpsl) == 1
        await bench.rest(45)
        others = [row for name, row in bench.server.tpsl.items() if name != tpsl_id]
        assert [(row["slPrice"], row["slQty"], row["status"]) for row in others] == [("59900.0", "0.0100", "NEW")]

    play(scene)


def test_children_of_two_stops_belong_to_the_one_of_their_size() -> None:
    """Both fire at one moment; neither child says whose it is."""

    async def scene(bench: Bench) -> None:
        stops = []
        for size, ticks in ((100, STOP), (40, STOP - 10)):
            entry, stop = bench.send_bracket(stop_ticks=ticks, size_lots=size)
            await bench.server.fill(await bench.accepted(entry), f"0.0{size:03d}", "60000")
            stops.append(stop)
        await bench.until(OrderFilled, count=2)
        await bench.rest(3)
        large, small = list(bench.server.tpsl)
        bench.server.is_mute = True
        await bench.server.trigger(small, "59899.0")
        await bench.server.trigger(large, "59898.0")
        await bench.until(OrderFilled, count=4, seconds=40)
        sizes = {
            stop.client_id: [event.fill_size_lots for event in bench.told(OrderFilled, stop.client_id)]
            for stop in stops
        }
        assert sizes == {stops[0].client_id: [100], stops[1].client_id: [40]}

    play(scene)
