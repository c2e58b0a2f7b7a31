"""The example trader: one entry per cross, one exit, and nothing in between."""

from __future__ import annotations

import json

import msgspec
import pytest

from agora.domain.events import MarketCandle
from agora.domain.intents import Place, Proposal
from agora.domain.orders import Order, OrderType, Purpose, Side
from agora.traders.ema_cross import EmaCross
from tests.traders.views import FakeView, bar, carry_out, order, series

PRICE = 1_000_000
FALL_THEN_RISE = series(
    [PRICE - 500 * n for n in range(60)] + [PRICE - 30_000 + 900 * n for n in range(60)], reach=2_000
)
RISE_THEN_FALL = series([PRICE + 500 * n for n in range(60)] + [PRICE + 30_000 - 900 * n for n in range(40)], reach=0)
STOP = order(Purpose.STOP, Side.SELL)


def say(trader: EmaCross, view: FakeView, candles: list[MarketCandle]) -> list[Proposal]:
    """Every proposal, carried out at once."""
    proposals = []
    for candle in candles:
        proposal = trader.decide(view, candle)
        assert proposal is not None
        carry_out(view, proposal, candle)
        proposals.append(proposal)
    return proposals


def test_one_cross_up_is_one_market_entry_with_a_stop() -> None:
    """It buys once, at the bar of the cross, with a stop two ATRs below the close."""
    proposals = say(EmaCross(), FakeView(), FALL_THEN_RISE)
    entries = [(n, p) for n, p in enumerate(proposals) if p.action == "enter_long"]
    assert len(entries) == 1
    number, proposal = entries[0]
    place = proposal.intents[0]
    assert isinstance(place, Place)
    assert (place.side, place.type, place.purpose) == (Side.BUY, OrderType.MARKET, Purpose.ENTRY)
    distance = FALL_THEN_RISE[number].close_ticks - place.stop_ticks
    assert 0 <= distance - 2 * proposal.features["atr"] < 1
    assert place.size_lots > 0


def test_a_cross_down_closes_what_is_held_and_nothing_more() -> None:
    """The exit can only reduce, is of the size held, and is sent once."""
    view = FakeView(lots=7, entry_ticks=float(PRICE), orders=[STOP])
    proposals = say(EmaCross(), view, RISE_THEN_FALL)
    exits = [p.intents[0] for p in proposals if p.action == "exit"]
    assert len(exits) == 1
    leave = exits[0]
    assert isinstance(leave, Place)
    assert (leave.side, leave.size_lots, leave.reduce_only) == (Side.SELL, 7, True)
    assert leave.purpose is Purpose.EXIT
    assert leave.type is OrderType.MARKET


@pytest.mark.parametrize(
    "candles, lots, orders, reason",
    [
        (FALL_THEN_RISE[:30], 0, [], "no_cross"),
        (FALL_THEN_RISE, 0, [], "no_cross"),
        (FALL_THEN_RISE, 5, [STOP], "in_position"),
        (FALL_THEN_RISE, 0, [order(Purpose.ENTRY)], "order_working"),
        (RISE_THEN_FALL, 5, [STOP, order(Purpose.EXIT, Side.SELL)], "order_working"),
        (RISE_THEN_FALL, 0, [STOP], "order_working"),
    ],
    ids=["warming up", "long after", "held", "entry works", "exit works", "stop of a closed position"],
)
def test_otherwise_it_holds_and_says_why(
    candles: list[MarketCandle], lots: int, orders: list[Order], reason: str
) -> None:
    """One row per reason."""
    trader, view = EmaCross(), FakeView(lots=lots, orders=orders)
    proposal = [trader.decide(view, candle) for candle in candles][-1]
    assert proposal is not None
    assert (proposal.action, proposal.reason, proposal.intents) == ("hold", reason, ())


def test_without_money_there_is_no_size() -> None:
    """The cross is seen and recorded, and no order is asked for."""
    reasons = {p.reason for p in say(EmaCross(), FakeView(equity=0), FALL_THEN_RISE)}
    assert "size_zero" in reasons
    assert "crossed_up" not in reasons


def test_warm_up_bars_are_learned_from_and_not_traded_on() -> None:
    """History gives no proposal; the bars after it are judged as if all had been seen live."""
    trader, view = EmaCross(), FakeView()
    for candle in FALL_THEN_RISE[:50]:
        assert trader.decide(view, msgspec.structs.replace(candle, is_history=True)) is None
    live = say(trader, view, FALL_THEN_RISE[50:])
    assert live == say(EmaCross(), FakeView(), FALL_THEN_RISE)[50:]


def test_a_restored_example_goes_on_as_if_nothing_had_happened() -> None:
    """Its memory survives JSON to the last bit."""
    expected = say(EmaCross(), FakeView(), FALL_THEN_RISE)
    first, view = EmaCross(), FakeView()
    found = say(first, view, FALL_THEN_RISE[:70])
    second = EmaCross()
    second.restore(json.loads(msgspec.json.encode(first.snapshot())))
    assert found + say(second, view, FALL_THEN_RISE[70:]) == expected


def test_a_quiet_market_never_crosses() -> None:
    """Equal averages are no cross, in either direction."""
    actions = {p.action for p in say(EmaCross(), FakeView(), [bar(n, PRICE) for n in range(1, 100)])}
    assert actions == {"hold"}
