"""Between traders: weights, opposite wishes of one moment, and entries against what another holds or is entering."""

from __future__ import annotations

from typing import Any

import pytest

from agora.domain.events import Arbitrated, OrderIntent, OrderRefused
from agora.domain.intents import Place, Proposal
from agora.domain.orders import Side
from tests.engine.desks import OTHER, PRICE, SYMBOL, Play, cancel_of, limit, market, way_out

BOTH = ("anna", "bert")
THREE = ("anna", "bert", "cleo")


def moment(play: Play, **wishes: Place | tuple[Place, ...]) -> list[tuple[str, str, int]]:
    """Let traders want something at one bar; returns what leaves: (trader, side, lots)."""
    for name, wish in wishes.items():
        intents = wish if isinstance(wish, tuple) else (wish,)
        play.of(name).script.append(Proposal(action="act", reason="scripted", intents=intents))
    play.candle()
    return [(order.trader, Side(order.side).word, order.size_lots) for order in play.sent()]


def refused(play: Play) -> list[tuple[str, str, int]]:
    """Refusals so far: (trader, rule, lots)."""
    return [(event.trader, event.rule, event.size_lots) for event in play.recorded(OrderRefused)]


# Opposite wishes.


@pytest.mark.requirement("B64")
@pytest.mark.parametrize(
    "bought, sold, leaves, refusals",
    [
        (10, 4, [("anna", "buy", 6)], [("bert", "arbitration", 4)]),
        (4, 10, [("bert", "sell", 6)], [("anna", "arbitration", 4)]),
        (7, 7, [], [("anna", "arbitration", 7), ("bert", "arbitration", 7)]),
    ],
)
def test_opposite_entries_of_one_moment_are_netted(
    bought: int, sold: int, leaves: list[Any], refusals: list[Any]
) -> None:
    """The larger side goes on with the difference; what falls away is refused on record, the netting is one record."""
    play = Play(traders=BOTH)
    assert moment(play, anna=market(lots=bought), bert=market(Side.SELL, sold)) == leaves
    assert refused(play) == refusals
    (said,) = play.recorded(Arbitrated)
    assert (said.instrument, said.buy_lots, said.sell_lots, said.traders) == (SYMBOL, bought, sold, BOTH)
    assert play.state.refusals == {"arbitration": len(refusals)}


def test_of_three_the_last_of_the_larger_side_is_cut_first() -> None:
    """Two buyers of 10 and 5 against a seller of 7: the second is netted away, the first keeps what is left."""
    play = Play(traders=THREE)
    wishes = {"anna": market(lots=10), "bert": market(lots=5), "cleo": market(Side.SELL, 7)}
    assert moment(play, **wishes) == [("anna", "buy", 8)]
    assert refused(play) == [("bert", "arbitration", 5), ("cleo", "arbitration", 7)]
    reasons = {event.reason for event in play.recorded(OrderRefused)}
    assert reasons == {"netted: 15 lots to buy and 7 to sell at one moment"}


def test_what_is_left_of_a_netted_entry_keeps_its_bracket() -> None:
    """Stop and target go with the rest, at its size."""
    play = Play(traders=BOTH)
    entry = limit(lots=10, stop_ticks=PRICE - 100, target_ticks=PRICE + 100)
    moment(play, anna=entry, bert=market(Side.SELL, 4))
    sizes = {event.purpose: event.size_lots for event in play.recorded(OrderIntent)}
    assert sizes == {"entry": 6, "stop": 6, "target": 6}


def test_equal_wishes_are_both_carried_out() -> None:
    """The same side is no opposition: nothing is netted, nothing recorded."""
    play = Play(traders=BOTH)
    assert moment(play, anna=market(lots=3), bert=market(lots=4)) == [("anna", "buy", 3), ("bert", "buy", 4)]
    assert play.recorded(Arbitrated) == []


def test_only_entries_in_the_same_instrument_are_netted() -> None:
    """What the traders want elsewhere is no part of it, and not in its record."""
    play = Play(traders=THREE, symbols=(SYMBOL, OTHER), limits={"data_age_s_max": 60})
    play.candle(symbol=OTHER)
    wishes = {
        "anna": market(lots=5),
        "bert": market(Side.SELL, 3),
        "cleo": market(Side.SELL, 5, instrument=OTHER),
    }
    assert moment(play, **wishes) == [("anna", "buy", 2), ("cleo", "sell", 5)]
    (said,) = play.recorded(Arbitrated)
    assert (said.traders, said.sell_lots) == (("anna", "bert"), 3)


def test_ways_out_are_never_netted() -> None:
    """An order that reduces is carried out against any wish to enter."""
    play = Play(traders=BOTH)
    play.hold(10, trader="anna")
    assert moment(play, anna=way_out(lots=10), bert=market(lots=10)) == [("anna", "sell", 10), ("bert", "buy", 10)]


def test_a_trader_that_quotes_both_sides_is_not_netted_with_itself() -> None:
    """It has a reason to; against what another is entering its other side is refused."""
    play = Play(traders=BOTH)
    quotes = (limit(lots=2, price=PRICE - 5), limit(Side.SELL, 2, PRICE + 5))
    assert moment(play, anna=quotes) == [("anna", "buy", 2), ("anna", "sell", 2)]
    play = Play(traders=BOTH)
    assert moment(play, anna=market(lots=3), bert=quotes) == [("anna", "buy", 3), ("bert", "buy", 2)]
    assert refused(play) == [("bert", "arbitration", 2)]


def test_a_lone_trader_is_left_alone() -> None:
    """It may turn its own position and enter against its own orders, as ever."""
    play = Play()
    play.hold(10)
    assert moment(play, scripted=(market(Side.SELL, 15), limit(lots=1))) == [
        ("scripted", "sell", 15),
        ("scripted", "buy", 1),
    ]


# Against another.


@pytest.mark.requirement("B64")
@pytest.mark.parametrize("held, side", [(10, Side.SELL), (-10, Side.BUY)])
def test_an_entry_against_what_another_holds_is_refused(held: int, side: Side) -> None:
    """On record, with who holds how much; the same way round it goes, and its own position one may turn."""
    play = Play(traders=BOTH)
    play.hold(held, trader="anna")
    assert moment(play, bert=market(side, 1)) == []
    (event,) = play.recorded(OrderRefused)
    assert (event.trader, event.rule, event.reason) == ("bert", "arbitration", f"anna holds {held} lots")
    assert moment(play, bert=market(Side(-side), 1)) == [("bert", Side(-side).word, 1)]


def test_an_entry_against_a_working_entry_is_refused() -> None:
    """Until that is over; an order of the same trader is its own affair."""
    play = Play(traders=BOTH)
    order = play.place(limit(lots=5, price=PRICE - 5), trader="anna")
    assert moment(play, bert=market(Side.SELL, 1)) == []
    assert play.recorded(OrderRefused)[0].reason == "anna is entering buy 5 lots"
    play.fill(order, 2)
    assert moment(play, bert=market(Side.SELL, 1)) == []
    assert play.recorded(OrderRefused)[1].reason == "anna holds 2 lots; anna is entering buy 3 lots"
    assert moment(play, anna=limit(Side.SELL, 1, PRICE + 5)) == [("anna", "sell", 1)]


def test_a_wish_to_cancel_frees_nobody_before_the_venue_has_answered() -> None:
    """The entry that is being called back may still fill."""
    play = Play(traders=BOTH)
    order = play.place(limit(lots=5, price=PRICE - 5), trader="anna")
    play.traders[0].script.append(cancel_of(order))
    play.traders[1].script.append(market(Side.SELL, 1))
    play.candle()
    assert play.cancels() == [order.client_id]
    assert refused(play) == [("bert", "arbitration", 1)]


def test_the_stop_of_another_is_no_entry() -> None:
    """Protective orders on the other side keep nobody out."""
    play = Play(traders=BOTH)
    play.fill(play.place(limit(lots=5, stop_ticks=PRICE - 100), trader="anna"))
    assert moment(play, bert=market(lots=1)) == [("bert", "buy", 1)]


# Weights.


@pytest.mark.requirement("B64")
def test_entries_are_scaled_to_their_traders_weight() -> None:
    """Rounded down; ways out are not scaled; a rest below the smallest size is refused by its own rule."""
    play = Play(traders=BOTH, weights_ppm=(500_000, 1_000_000))
    assert moment(play, anna=market(lots=11), bert=market(lots=11)) == [("anna", "buy", 5), ("bert", "buy", 11)]
    play.fill(play.sent()[0])
    assert moment(play, anna=way_out(lots=5)) == [("anna", "sell", 5)]
    assert moment(play, anna=market(lots=1)) == []
    assert refused(play) == [("anna", "size_steps", 0)]


def test_weights_come_before_netting() -> None:
    """Half of 10 to buy against 4 to sell leaves one lot."""
    play = Play(traders=BOTH, weights_ppm=(500_000, 1_000_000))
    assert moment(play, anna=market(lots=10), bert=market(Side.SELL, 4)) == [("anna", "buy", 1)]
    (said,) = play.recorded(Arbitrated)
    assert (said.buy_lots, said.sell_lots) == (5, 4)
