"""The limits as a table: a situation, an intent, and the name of the rule that refuses it (or that it goes through)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agora.domain.events import (
    OperatorCommand,
    OrderAccepted,
    OrderCancelled,
    OrderRefused,
    OrderRejected,
    OrderSent,
    OrderUnknown,
    UserAlive,
    UserConnected,
    UserLost,
)
from agora.domain.intents import Place
from agora.domain.numbers import MONEY_SCALE
from agora.domain.orders import OrderStatus, OrderType, Side
from agora.engine.state import TrippedBreaker
from agora.risk.limits import LIMITS, LimitSettings
from tests.engine.desks import OTHER, OTHER_PRICE, PRICE, SYMBOL, Play, limit, market, way_out

GOES = "accepted"
Scene = Callable[[Play], None]


def quoted(play: Play) -> None:
    """A fresh quote."""
    play.quote()


def unquoted(_: Play) -> None:
    """Nothing has come yet."""


def quote_of_age(seconds: float) -> Scene:
    """The last quote is that old."""

    def scene(play: Play) -> None:
        play.quote()
        play.tell(OrderSent, seconds, client_id="nobody")

    return scene


def holding(lots: int) -> Scene:
    """A position at 60,000, and a fresh quote."""

    def scene(play: Play) -> None:
        play.hold(lots)
        play.quote()

    return scene


def waiting(status: OrderStatus, place: Place | None = None) -> Scene:
    """One order of 10 lots in that status, and a fresh quote."""

    def scene(play: Play) -> None:
        play.trader.script.append(place or limit(lots=10, price=PRICE - 10))
        play.candle()
        client_id = play.sent()[0].client_id
        reports: dict[OrderStatus, list[tuple[type[Any], dict[str, str]]]] = {
            OrderStatus.PLANNED: [],
            OrderStatus.SENT: [(OrderSent, {})],
            OrderStatus.ACCEPTED: [(OrderAccepted, {"venue_id": "v"})],
            OrderStatus.UNKNOWN: [(OrderSent, {}), (OrderUnknown, {"reason": "time-out"})],
            OrderStatus.REJECTED: [(OrderRejected, {"reason": "no"})],
            OrderStatus.CANCELLED: [(OrderAccepted, {"venue_id": "v"}), (OrderCancelled, {"reason": "asked"})],
        }
        for kind, facts in reports[status]:
            play.tell(kind, client_id=client_id, **facts)
        assert play.state.order(client_id).status is status  # type: ignore[union-attr]
        play.quote()

    return scene


def partly_filled(play: Play) -> None:
    """Of an order of 10 lots 4 are filled: 4 held, 6 waiting."""
    play.fill(play.place(limit(lots=10)), 4)
    play.quote()


def short_with_a_way_out(lots: int) -> Scene:
    """Ten lots short, and so many of them already being bought back reduce-only."""

    def scene(play: Play) -> None:
        play.hold(-10)
        play.place(way_out(Side.BUY, lots))
        play.quote()

    return scene


def busy(orders: int) -> Scene:
    """So many orders within this minute, all rejected."""

    def scene(play: Play) -> None:
        for _ in range(orders):
            order = play.place(limit(lots=1), answered=False, after_s=0.5)
            play.tell(OrderRejected, client_id=order.client_id, reason="no")
        play.quote()

    return scene


def tripped(play: Play) -> None:
    """A breaker is tripped (the run was resumed after its latch was lifted without a reset)."""
    play.quote()
    play.state.breakers["max_loss"] = TrippedBreaker(play.now_ns, "1", "1")


def tripped_with_position(play: Play) -> None:
    """As above, holding 10 lots."""
    holding(10)(play)
    tripped(play)


def flattening(play: Play) -> None:
    """An operator's flatten is under way."""
    holding(10)(play)
    play.tell(OperatorCommand, command="flatten", reason="test")


def poor(play: Play) -> None:
    """Nearly all equity is gone: 15 dollars are left."""
    play.quote()
    play.state.ledger.settle(realised=-9_985 * MONEY_SCALE, fee=0)


def both_quoted(lots: int) -> Scene:
    """Two instruments with fresh quotes; so many lots held in the other one, at 3,000."""

    def scene(play: Play) -> None:
        play.candle(OTHER_PRICE, symbol=OTHER)
        if lots:
            play.hold(lots, OTHER_PRICE, symbol=OTHER)
        play.quote(OTHER_PRICE, symbol=OTHER)
        play.quote()

    return scene


def both_waiting(play: Play) -> None:
    """In the other instrument 500 lots wait on each side of nothing: one of them may fill, at 3,000."""
    play.candle(OTHER_PRICE, symbol=OTHER)
    for side in Side:
        play.place(limit(side, 500, OTHER_PRICE - side, instrument=OTHER))
    play.quote(OTHER_PRICE, symbol=OTHER)
    play.quote()


def unconnected(play: Play) -> None:
    """A fresh quote, and no private stream yet."""
    play.quote()


def user_stream_of_age(seconds: float, *, keepalive_s: int = 20) -> Scene:
    """The private stream spoke so long ago; the books agreed then, the quote is fresh."""

    def scene(play: Play) -> None:
        play.connect(keepalive_s=keepalive_s)
        play.tell(UserAlive)
        play.quote(after_s=seconds)

    return scene


def user_stream_lost(play: Play) -> None:
    """The private stream has just gone; a comparison over another way agrees all the same."""
    play.connect()
    play.tell(UserLost, reason="reset")
    play.venue_says()
    play.quote()


def uncompared(play: Play) -> None:
    """The private stream is fresh, the venue has not answered yet."""
    play.tell(UserConnected, source="test", keepalive_s=20)
    play.quote()


def differing(play: Play) -> None:
    """The venue has a position that we do not know of."""
    play.connect()
    play.venue_says(positions={SYMBOL: 5})
    play.quote()


def long_agreed(play: Play) -> None:
    """The books agreed once; the venue has answered nothing since, though its stream speaks."""
    play.connect()
    for _ in range(10):
        play.tell(UserAlive)
        play.quote(after_s=10)


def stormy(play: Play) -> None:
    """Three orders in doubt within the window."""
    play.connect()
    for number in range(3):
        order = play.place(limit(lots=1), answered=False, after_s=1)
        play.tell(OrderUnknown, client_id=order.client_id, reason=f"time-out {number}")
    play.quote()


def held_and(scene: Scene) -> Scene:
    """Ten lots held by a live run before that."""

    def whole(play: Play) -> None:
        play.connect()
        play.hold(10)
        scene(play)

    return whole


@dataclass(frozen=True)
class Case:
    """One row: what has happened, what is wanted, under which limits, and who says no."""

    name: str
    scene: Scene
    place: Place
    verdict: str
    limits: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


UNITS = {"position_lots_max": 20}
LIVE = {"is_live": True}
TWO = {"symbols": (SYMBOL, OTHER)}
PORTFOLIO = {"portfolio_notional_max": "16500"}
NO_NOTIONAL = {"position_notional_max": "99999999", "order_notional_max": "99999999", "leverage_max": 125}
CASES = [
    Case("an ordinary order", quoted, limit(), GOES),
    Case("an ordinary market order", quoted, market(), GOES),
    Case("an instrument of nobody", quoted, limit(instrument=OTHER), "known_instrument"),
    Case("no lots", quoted, limit(lots=0), "size_steps"),
    Case("negative lots", quoted, limit(lots=-5), "size_steps"),
    Case("more lots than the venue takes", quoted, limit(lots=10_000_001, price=1), "size_steps"),
    Case("nothing known of the market", unquoted, limit(), "known_price"),
    Case("nothing known of the market, at the market", unquoted, market(), "known_price"),
    Case("a limit order without a price", quoted, limit(price=0), "known_price"),
    Case("a negative price", quoted, limit(price=-1), "known_price"),
    Case("a negative stop", quoted, limit(stop_ticks=-1), "known_price"),
    Case("a negative target", quoted, limit(target_ticks=-1), "known_price"),
    Case("5 % below the market", quoted, limit(price=570_000), GOES),
    Case("more than 5 % below the market", quoted, limit(price=569_999), "price_band"),
    Case("more than 5 % above the market", quoted, limit(price=630_001), "price_band"),
    Case("a finger too many", quoted, limit(lots=1, price=6_000_000), "price_band"),
    Case("a narrow band", quoted, limit(price=599_000), "price_band", {"price_band_ppm": 100}),
    Case("data of 5 seconds", quote_of_age(5), limit(), GOES),
    Case("data older than 5 seconds", quote_of_age(5.001), limit(), "fresh_data"),
    Case("old data, but a way out", quote_of_age(3_000), way_out(), GOES),
    Case("an order of 20,000", quoted, limit(lots=333, price=600_600), GOES, {"position_notional_max": "30000"}),
    Case("an order above 20,000", quoted, limit(lots=334), "order_size", {"position_notional_max": "30000"}),
    Case("a market order is judged at the ask", quoted, market(lots=1), "order_size", {"order_notional_max": "60"}),
    Case("... and just allowed there", quoted, market(lots=1), GOES, {"order_notional_max": "60.0001"}),
    Case("a market sale is judged at the bid", quoted, market(Side.SELL, 1), GOES, {"order_notional_max": "60"}),
    Case("held 10, 10 more", holding(10), limit(lots=10), GOES, UNITS),
    Case("held 10, 11 more", holding(10), limit(lots=11), "position_units", UNITS),
    Case("short 10, 11 more", holding(-10), limit(Side.SELL, 11), "position_units", UNITS),
    Case("held 10, turned to 20 short", holding(10), limit(Side.SELL, 30), GOES, UNITS),
    Case("held 10, turned to 21 short", holding(10), limit(Side.SELL, 31), "position_units", UNITS),
    Case("held 10, sold with more than it may turn to", holding(10), way_out(lots=10), GOES, UNITS),
    Case("short 10, bought to 20 long", holding(-10), limit(lots=30), GOES, UNITS),
    Case("short 10, but a way out may be first", short_with_a_way_out(10), limit(lots=21), "position_units", UNITS),
    Case("... and just allowed", short_with_a_way_out(10), limit(lots=20), GOES, UNITS),
    Case("a way out never adds to a position", short_with_a_way_out(30), limit(lots=20), GOES, UNITS),
    Case("10 waiting, 11 more", waiting(OrderStatus.ACCEPTED), limit(lots=11), "position_units", UNITS),
    Case("10 planned count", waiting(OrderStatus.PLANNED), limit(lots=11), "position_units", UNITS),
    Case("10 sent count", waiting(OrderStatus.SENT), limit(lots=11), "position_units", UNITS),
    Case("10 in doubt count", waiting(OrderStatus.UNKNOWN), limit(lots=11), "position_units", UNITS),
    Case("10 rejected are gone", waiting(OrderStatus.REJECTED), limit(lots=20), GOES, UNITS),
    Case("10 cancelled are gone", waiting(OrderStatus.CANCELLED), limit(lots=20), GOES, UNITS),
    Case(
        "10 on the other side do not help", waiting(OrderStatus.ACCEPTED), limit(Side.SELL, 21), "position_units", UNITS
    ),
    Case("4 filled of 10, the rest counts once", partly_filled, limit(lots=10), GOES, UNITS),
    Case("4 filled of 10, and one lot too many", partly_filled, limit(lots=11), "position_units", UNITS),
    Case("the position's money", holding(300), limit(lots=34), "position_notional"),
    Case("... and just allowed", holding(300), limit(lots=33), GOES),
    Case("money in doubt counts", waiting(OrderStatus.UNKNOWN), limit(lots=324), "position_notional"),
    Case("leverage 1", quoted, limit(lots=167), "leverage", NO_NOTIONAL | {"leverage_max": 1}),
    Case("... and just allowed", quoted, limit(lots=166), GOES, NO_NOTIONAL | {"leverage_max": 1}),
    Case("leverage is measured on what is left", poor, limit(lots=1), "leverage"),
    Case("the 60th order of a minute", busy(59), limit(lots=1), GOES),
    Case("the 61st order of a minute", busy(60), limit(lots=1), "order_rate"),
    Case("the legs of a bracket count", busy(58), limit(lots=1, stop_ticks=1, target_ticks=2), "order_rate"),
    Case("a bracket that just fits", busy(57), limit(lots=1, stop_ticks=1, target_ticks=2), GOES),
    Case("the 61st order is a way out", busy(60), way_out(), GOES),
    Case("a breaker is tripped", tripped, limit(), "entries_open"),
    Case("a breaker is tripped, but a way out", tripped_with_position, way_out(), GOES),
    Case("while flattening", flattening, limit(), "entries_open"),
    Case("a dry run", quoted, limit(), "dry_run", {"dry_run": True}),
    Case("all positions together", both_quoted(500), limit(lots=251), "portfolio_notional", PORTFOLIO, TWO),
    Case("... and just allowed", both_quoted(500), limit(lots=250), GOES, PORTFOLIO, TWO),
    Case("a short elsewhere counts as much", both_quoted(-500), limit(lots=251), "portfolio_notional", PORTFOLIO, TWO),
    Case("one side of what waits elsewhere counts", both_waiting, limit(lots=250), GOES, PORTFOLIO, TWO),
    Case("... and not a lot more", both_waiting, limit(lots=251), "portfolio_notional", PORTFOLIO, TWO),
    Case("a way out of too much", both_quoted(500), way_out(lots=500), GOES, PORTFOLIO, TWO),
    Case("leverage is that of all positions", both_quoted(3_334), limit(lots=1), "leverage", {"leverage_max": 1}, TWO),
    Case("a live run without its private stream", unconnected, limit(), "user_stream", run=LIVE),
    Case("a private stream of 35 seconds", user_stream_of_age(35), limit(), GOES, run=LIVE),
    Case("a private stream older than that", user_stream_of_age(35.001), limit(), "user_stream", run=LIVE),
    Case("a private stream that is lost", user_stream_lost, limit(), "user_stream", run=LIVE),
    Case("... but a way out", held_and(user_stream_lost), way_out(), GOES, run=LIVE),
    Case("the venue has not been asked", uncompared, limit(), "reconciled", run=LIVE),
    Case("the venue differs", differing, limit(), "reconciled", run=LIVE),
    Case("the venue has not answered for long", long_agreed, limit(), "reconciled", run=LIVE),
    Case("... but a way out", held_and(differing), way_out(), GOES, run=LIVE),
    Case("a storm of doubt", stormy, limit(), "doubts", run=LIVE),
    Case("... but a way out", held_and(stormy), way_out(), GOES, run=LIVE),
    Case("on paper there is no private stream", quoted, limit(), GOES),
    Case("a way out beyond every exposure limit", holding(300), way_out(lots=300), GOES, {"order_notional_max": "1"}),
]


def judge(case: Case) -> tuple[str, Play]:
    """Play the scene under wide limits, then ask for the order under those of the case."""
    breakers = {"loss_fraction_max_ppm": 1_000_000, "daily_drawdown_max_ppm": 1_000_000}
    play = Play(limits=NO_NOTIONAL, breakers=breakers, **case.run)
    case.scene(play)
    settings = LimitSettings(**case.limits)
    said = (rule(play.desk, settings, case.place) for rule in LIMITS.values())
    verdicts = [name for name, reason in zip(LIMITS, _first(said), strict=False) if reason]
    return (verdicts[0] if verdicts else GOES), play


def _first(said: Any) -> Any:
    """Answers up to the first refusal: later rules may rely on earlier ones."""
    for reason in said:
        yield reason
        if reason:
            return


@pytest.mark.requirement("B26")
@pytest.mark.requirement("B29")
@pytest.mark.requirement("H2.4")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_situation_ends_with_its_rule(case: Case) -> None:
    """The first rule that refuses, or nothing: positions are judged by what they could become."""
    assert judge(case)[0] == case.verdict


def test_every_rule_refuses_something_in_the_table() -> None:
    """A rule that no row meets is a rule nobody has tried."""
    assert {case.verdict for case in CASES} - {GOES} == set(LIMITS)


@pytest.mark.requirement("H2.4")
@pytest.mark.requirement("B29")
def test_a_refusal_is_recorded_with_rule_and_numbers_and_counted() -> None:
    """The journal says which rule, what it found and what it allows; nothing leaves."""
    play = Play()
    play.trader.script.append(limit(lots=1, price=6_000_000))
    play.candle()
    (refused,) = play.recorded(OrderRefused)
    assert (refused.rule, refused.trader, refused.size_lots) == ("price_band", "scripted", 1)
    assert all(number in refused.reason for number in ("6000000", "600000", "50000"))
    assert play.state.refusals == {"price_band": 1}
    assert play.state.counters.refused == 1
    assert play.sent() == []


@pytest.mark.requirement("B29")
def test_the_order_rate_is_measured_on_the_runs_clock() -> None:
    """An order leaves the count exactly a minute of run time after it was planned, however fast the run is played."""
    play = Play(limits={"orders_per_minute_max": 1})
    play.trader.script += [limit(lots=1), limit(lots=1), limit(lots=1)]
    play.candle(after_s=60)
    assert len(play.sent()) == 1
    play.candle(after_s=59.999)
    assert play.sent() == []
    play.candle(after_s=0.001)
    assert len(play.sent()) == 1


@pytest.mark.requirement("H6.3")
def test_a_dry_run_decides_and_sends_nothing() -> None:
    """Decisions are in the journal with their intents; each order is refused by `dry_run`; no order exists."""
    play = Play(limits={"dry_run": True})
    play.trader.script += [limit(), market(), limit(Side.SELL, stop_ticks=PRICE + 100)]
    for _ in range(3):
        play.candle()
        assert play.sent() == []
    assert play.state.counters.decisions == 3
    assert play.state.refusals == {"dry_run": 3}
    assert play.state.counters.intended == 0


@pytest.mark.requirement("H3.1")
def test_a_tripped_breaker_blocks_entries_until_it_is_reset() -> None:
    """The same order is refused before and taken after the operator's reset."""
    play = Play()
    tripped(play)
    play.trader.script += [limit(), limit()]
    play.candle()
    assert play.state.refusals == {"entries_open": 1}
    play.tell(OperatorCommand, command="reset", reason="looked at it")
    play.candle()
    assert len(play.sent()) == 1


def test_bracket_legs_do_not_count_against_the_position() -> None:
    """A stop and a target of a held position can only reduce: the same entry again is judged without them."""
    play = Play(limits={"position_lots_max": 20})
    play.place(limit(lots=10, stop_ticks=PRICE - 100, target_ticks=PRICE + 200))
    play.trader.script.append(limit(lots=10))
    play.candle()
    assert [order.size_lots for order in play.sent()] == [10]


def test_a_stop_order_needs_no_price_of_its_own() -> None:
    """It is judged at the market, as it will trade there."""
    stop = Place(instrument=SYMBOL, side=Side.BUY, size_lots=10, type=OrderType.STOP, trigger_ticks=PRICE + 100)
    assert judge(Case("a stop entry", quoted, stop, GOES))[0] == GOES
