"""The perp supervisor: each setup, each gate and each reason on a chart that calls for it."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.events import MarketCandle, OrderFilled
from agora.domain.instruments import known_instrument
from agora.domain.intents import Amend, Cancel, Place, Proposal
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.traders.sizing import SizingSettings
from agora.traders.trend import Setup, Trend, TrendSettings
from tests.traders.views import MINUTE_NS, START_NS, FakeView, bar, carry_out, order, series, touch_legs

PRICE = 1_000_000  # 100,000.0: with ranges near 1 % of it, fees do not decide
MIRROR = 2 * PRICE


def mirrored(candles: list[MarketCandle]) -> list[MarketCandle]:
    """The same chart upside down."""
    return [
        msgspec.structs.replace(
            candle,
            open_ticks=MIRROR - candle.open_ticks,
            high_ticks=MIRROR - candle.low_ticks,
            low_ticks=MIRROR - candle.high_ticks,
            close_ticks=MIRROR - candle.close_ticks,
        )
        for candle in candles
    ]


def rising(count: int = 80) -> list[MarketCandle]:
    """A steady trend that closes at its highs, so that nothing is swept: 1,000 ticks a bar."""
    closes = [PRICE + 1_000 * number + 7 * (number % 3) for number in range(count)]
    return [bar(number, close, low=close - 9_000, high=close) for number, close in enumerate(closes, start=1)]


def ranging(count: int = 130) -> list[MarketCandle]:
    """A session that traded high and heavily at first, then quietly: the VWAP stays above the price."""
    early = [bar(number, PRICE + 40_000, reach=8_000, volume=100_000) for number in range(1, 11)]
    late = [bar(number, PRICE, reach=8_000, volume=1) for number in range(11, count + 1)]
    return early + late


def sweep_low(*, close: int = PRICE - 7_000, high: int = PRICE) -> list[MarketCandle]:
    """The quiet range, then a bar below its low that closes back inside."""
    return [*ranging(), bar(131, close, low=PRICE - 9_000, high=high)]


UP, DOWN = rising(), mirrored(rising())
LOW_SWEPT, HIGH_SWEPT = sweep_low(), mirrored(sweep_low())
BOTH_SWEPT = sweep_low(high=PRICE + 9_000)
RANGE, FROZEN = ranging(), series([PRICE] * 80, reach=0)
ENTRY_UP = order(type=OrderType.LIMIT, price_ticks=PRICE)
ENTRY_AT_MARKET = order(type=OrderType.MARKET)
STOP_UP = order(Purpose.STOP, Side.SELL, trigger_ticks=PRICE)
TARGET_UP = order(Purpose.TARGET, Side.SELL, price_ticks=PRICE * 2)


@dataclass(frozen=True)
class Case:
    """A chart, what the desk shows at its last bar, and the conclusion expected there."""

    name: str
    candles: list[MarketCandle]
    action: str
    reason: str
    view: FakeView = field(default_factory=FakeView)
    settings: TrendSettings = field(default_factory=TrendSettings)


def rate(ppb: int | None) -> FakeView:
    """A flat desk that saw this funding rate."""
    return FakeView(rate_ppb=ppb)


CASES = [
    Case("pullback in an up trend", UP, "enter_long", "pullback"),
    Case("pullback in a down trend", DOWN, "enter_short", "pullback"),
    Case("sweep of a low", LOW_SWEPT, "enter_long", "sweep_and_reclaim"),
    Case("sweep of a high", HIGH_SWEPT, "enter_short", "sweep_and_reclaim"),
    Case("both sides swept", BOTH_SWEPT, "hold", "no_trend"),
    Case("no close back inside", sweep_low(close=PRICE - 8_500), "hold", "no_trend"),
    Case("a range without a sweep", RANGE, "hold", "no_trend"),
    Case("too few bars", UP[:50], "hold", "warming_up"),
    Case("one bar more", UP[:51], "enter_long", "pullback"),
    Case("a market that does not move", FROZEN, "hold", "no_range"),
    Case("long gate, at the limit", UP, "enter_long", "pullback", rate(90_000)),
    Case("long gate, above", UP, "hold", "funding_gate_long", rate(90_001)),
    Case("long gate on a sweep", LOW_SWEPT, "hold", "funding_gate_long", rate(90_001)),
    Case("long gate leaves shorts alone", DOWN, "enter_short", "pullback", rate(90_001)),
    Case("short gate, at the limit", DOWN, "enter_short", "pullback", rate(-10_000)),
    Case("short gate, below", DOWN, "hold", "funding_gate_short", rate(-10_001)),
    Case("short gate on a sweep", HIGH_SWEPT, "hold", "funding_gate_short", rate(-10_001)),
    Case("short gate leaves longs alone", UP, "enter_long", "pullback", rate(-10_001)),
    Case(
        "a target that does not pay",
        UP,
        "hold",
        "reward_too_small",
        settings=TrendSettings(reward_risk_min=2.0),
    ),
    Case(
        "a sweep whose average price is too near",
        LOW_SWEPT,
        "hold",
        "reward_too_small",
        settings=TrendSettings(reward_risk_min=20.0),
    ),
    Case(
        "a sweep against a strong trend",
        LOW_SWEPT,
        "hold",
        "against_trend",
        settings=TrendSettings(separation_atr_strong=0.0),
    ),
    Case("no money", UP, "hold", "size_zero", FakeView(equity=100)),
    Case("an entry works", UP, "hold", "entry_working", FakeView(orders=[ENTRY_UP])),
    Case("its regime is gone", RANGE, "cancel_entry", "regime_turned", FakeView(orders=[ENTRY_UP])),
    Case("the regime turned round", DOWN, "cancel_entry", "regime_turned", FakeView(orders=[ENTRY_UP])),
    Case("a market entry is on its way", DOWN, "hold", "entry_working", FakeView(orders=[ENTRY_AT_MARKET])),
    Case(
        "the cancel is on its way",
        RANGE,
        "hold",
        "entry_working",
        FakeView(orders=[order(is_cancel_requested=True)]),
    ),
    Case("legs of a closed position", UP, "cancel_legs", "legs_working", FakeView(orders=[STOP_UP, TARGET_UP])),
    Case(
        "a flattening order",
        UP,
        "hold",
        "legs_working",
        FakeView(orders=[order(Purpose.FLATTEN, Side.SELL, type=OrderType.MARKET)]),
    ),
    Case("a position of its own accord", UP, "hold", "in_position", FakeView(lots=5, orders=[STOP_UP])),
    Case("a position without a stop", UP, "hold", "stop_missing", FakeView(lots=5, orders=[TARGET_UP])),
    Case(
        "the rest of an entry when the regime is gone",
        RANGE,
        "cancel_entry",
        "regime_turned",
        FakeView(lots=5, orders=[ENTRY_UP, STOP_UP]),
    ),
]


def conclude(case: Case) -> Proposal:
    """What the trader says at the last bar, warmed up by the others."""
    trader = Trend(case.settings)
    for candle in case.candles[:-1]:
        assert trader.decide(case.view, msgspec.structs.replace(candle, is_history=True)) is None
    proposal = trader.decide(case.view, case.candles[-1])
    assert proposal is not None
    return proposal


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_situation_has_its_action_and_its_reason(case: Case) -> None:
    """One row per rule, on both sides where the rule has two."""
    proposal = conclude(case)
    assert (proposal.action, proposal.reason) == (case.action, case.reason)
    assert bool(proposal.intents) == (case.action != "hold")
    assert {"ema_fast", "ema_slow", "atr", "vwap", "regime"} <= proposal.features.keys()
    msgspec.json.encode(proposal)


def entry_of(candles: list[MarketCandle]) -> tuple[Place, dict[str, float]]:
    """The entry proposed at the last bar of a chart, with the figures behind it."""
    proposal = conclude(Case("", candles, "", ""))
    place = proposal.intents[0]
    assert isinstance(place, Place)
    return place, proposal.features


@pytest.mark.parametrize("candles, side", [(UP, Side.BUY), (DOWN, Side.SELL)], ids=["long", "short"])
def test_a_pullback_waits_at_the_fast_average_with_stop_and_target(candles: list[MarketCandle], side: Side) -> None:
    """Limit at EMA20, stop 1.5 ATR, target 2 R, alive for five bars; each rounding is against the trader."""
    place, features = entry_of(candles)
    assert (place.side, place.type, place.time_in_force) == (side, OrderType.LIMIT, TimeInForce.GTD)
    assert place.expire_ts_ns == FakeView().now_ns + 5 * MINUTE_NS
    assert 0 <= side * (place.price_ticks - features["ema_fast"]) < 1
    stop = place.price_ticks - side * 1.5 * features["atr"]
    assert 0 <= side * (stop - place.stop_ticks) < 1
    risk = side * (place.price_ticks - place.stop_ticks)
    assert place.target_ticks == place.price_ticks + side * 2 * risk


@pytest.mark.parametrize(
    "candles, side, level",
    [(LOW_SWEPT, Side.BUY, PRICE - 8_000), (HIGH_SWEPT, Side.SELL, PRICE + 8_000)],
    ids=["long", "short"],
)
def test_a_sweep_enters_at_once_with_its_stop_beyond_the_level_and_the_vwap_as_target(
    candles: list[MarketCandle], side: Side, level: int
) -> None:
    """Market order, stop half an ATR beyond the extreme of the ten bars before, target the session VWAP."""
    place, features = entry_of(candles)
    assert (place.side, place.type, place.time_in_force) == (side, OrderType.MARKET, TimeInForce.IOC)
    assert (place.price_ticks, place.expire_ts_ns) == (0, 0)
    assert 0 <= side * (level - side * 0.5 * features["atr"] - place.stop_ticks) < 1
    assert 0 <= side * (features["vwap"] - place.target_ticks) < 1


def test_size_comes_from_the_risk_fraction_and_the_distance_of_the_stop() -> None:
    """Twice the risk fraction asks for twice the lots, give or take one lot of rounding."""
    lots = []
    for fraction_ppm in (1_000, 2_000):
        trader = Trend(sizing=SizingSettings(risk_fraction_ppm=fraction_ppm))
        proposals = [trader.decide(FakeView(), candle) for candle in UP]
        assert proposals[-1] is not None
        lots.append(proposals[-1].intents[0].size_lots)  # type: ignore[union-attr]
    assert lots[0] > 0
    assert lots[1] - 2 * lots[0] in {0, 1}


@pytest.mark.parametrize(
    "setup, ratio",
    [
        # Per lot, in units of 0.0001 x tick: to the target 20,000 less 0.02 % of 1,000,000 and of 1,020,000;
        # to the stop 10,000 plus 0.02 % of 1,000,000 and 0.06 % of 990,000.
        (Setup("pullback", Side.BUY, 1_000_000, 990_000, 1_020_000), (20_000 - 404) / (10_000 + 794)),
        # The same as a market order: 0.06 % at the entry.
        (
            Setup("sweep_and_reclaim", Side.BUY, 1_000_000, 990_000, 1_020_000),
            (20_000 - 804) / (10_000 + 1_194),
        ),
        (
            Setup("sweep_and_reclaim", Side.SELL, 1_000_000, 1_010_000, 980_000),
            (20_000 - 796) / (10_000 + 1_206),
        ),
        (
            Setup("sweep_and_reclaim", Side.BUY, 1_000_000, 990_000, 990_000),
            (-10_000 - 798) / (10_000 + 1_194),
        ),
    ],
    ids=["limit entry", "market entry", "short", "target on the wrong side"],
)
def test_reward_to_risk_is_what_remains_after_fees(setup: Setup, ratio: float) -> None:
    """Maker's fee at a limit entry and at the target, taker's at the rest; by hand."""
    found, _ = setup.ratios(known_instrument("BTCUSDT"), slippage_bps=0.0)
    assert found == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize(
    "setup, reward_risk, cost_risk",
    [
        # 5 bps of 1,000,000 ticks are 500: once at the stop of a limit entry, twice where the entry slips too.
        (Setup("pullback", Side.BUY, 1_000_000, 990_000, 1_020_000), 19_596 / 11_294, 1_294 / 10_000),
        (Setup("sweep_and_reclaim", Side.BUY, 1_000_000, 990_000, 1_020_000), 18_696 / 12_194, 2_194 / 10_000),
        (Setup("pullback", Side.BUY, 1_000_000, 1_000_000, 1_020_000), 19_596 / 1_300, math.inf),
    ],
    ids=["limit entry", "market entry", "no way to the stop"],
)
def test_market_orders_slip_in_the_ratios(setup: Setup, reward_risk: float, cost_risk: float) -> None:
    """Slippage is counted for each market order, and costs are measured against the way to the stop."""
    found = setup.ratios(known_instrument("BTCUSDT"), slippage_bps=5.0)
    assert found == pytest.approx((reward_risk, cost_risk), rel=1e-12)


def test_a_fill_needs_no_answer() -> None:
    """The legs of the bracket guard the position at the venue from the first fill."""
    fill = OrderFilled(
        ts_ns=START_NS,
        client_id="t-1",
        venue_id="v-1",
        venue_fill_id="f-1",
        instrument="BTCUSDT",
        side="buy",
        purpose="entry",
        fill_price_ticks=PRICE,
        fill_size_lots=1,
        fee_units=0,
        liquidity="taker",
    )
    assert Trend().decide(FakeView(), fill) is None


def test_a_working_entry_is_not_followed_by_a_second_one() -> None:
    """Many bars of a trend with one order at work bring no further order."""
    trader, view = Trend(), FakeView()
    actions = []
    for candle in UP:
        proposal = trader.decide(view, candle)
        assert proposal is not None
        actions.append(proposal.action)
        if proposal.action == "enter_long":
            view.orders = [replace_client(ENTRY_UP, "t-1")]
    assert actions.count("enter_long") == 1
    assert actions[-1] == "hold"


def replace_client(known: Order, client_id: str) -> Order:
    """The order under another id."""
    return msgspec.structs.replace(known, client_id=client_id)


def in_position(side: Side) -> tuple[Trend, FakeView, int]:
    """A trader with a filled pullback of that side, its view, and R in ticks."""
    trader, view = Trend(), FakeView()
    candles = UP if side is Side.BUY else DOWN
    for candle in candles[:-1]:
        trader.decide(view, msgspec.structs.replace(candle, is_history=True))
    proposal = trader.decide(view, candles[-1])
    assert proposal is not None
    carry_out(view, proposal, candles[-1])
    return trader, view, round(side * (view.entry_ticks - view.orders[0].trigger_ticks))


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL], ids=["long", "short"])
@pytest.mark.parametrize(
    "closes_r, stop_r",
    [
        ([0.4], None),
        ([0.49, -0.5], None),
        ([0.5], 0.0),
        ([0.9], 0.0),
        ([1.5], 0.5),
        ([1.5, 1.2], 0.5),
        ([1.5, 1.2, 1.8], 0.8),
    ],
    ids=["not yet", "falls back", "from half an R", "at entry", "one R behind", "stays", "follows on"],
)
def test_the_stop_trails_from_half_an_r_and_one_r_behind_the_best_close(
    side: Side, closes_r: list[float], stop_r: float | None
) -> None:
    """One row per stretch of a trade, in R from the entry."""
    trader, view, risk = in_position(side)
    first = view.orders[0].trigger_ticks
    for number, close_r in enumerate(closes_r, start=100):
        candle = bar(number, round(view.entry_ticks + side * close_r * risk), reach=100)
        proposal = trader.decide(view, candle)
        assert proposal is not None
        carry_out(view, proposal, candle)
    expected = first if stop_r is None else round(view.entry_ticks + side * stop_r * risk)
    assert abs(view.orders[0].trigger_ticks - expected) <= (0 if stop_r is None else 1)


@given(
    st.sampled_from([Side.BUY, Side.SELL]),
    st.lists(st.floats(min_value=-1.5, max_value=6.0), min_size=1, max_size=30),
)
def test_a_trailing_stop_only_moves_in_favour_and_never_through_the_price(side: Side, closes_r: list[float]) -> None:
    """Each amendment improves the trigger by a tick or more and stays behind the close."""
    trader, view, risk = in_position(side)
    stop = view.orders[0]
    for number, close_r in enumerate(closes_r, start=100):
        candle = bar(number, round(view.entry_ticks + side * close_r * risk), reach=100)
        proposal = trader.decide(view, candle)
        assert proposal is not None
        for intent in proposal.intents:
            assert isinstance(intent, Amend)
            assert intent.client_id == stop.client_id
            assert side * (intent.trigger_ticks - stop.trigger_ticks) >= 1
            assert side * (candle.close_ticks - intent.trigger_ticks) >= 1
        carry_out(view, proposal, candle)


def test_a_refused_amendment_is_asked_for_again_but_never_through_the_price() -> None:
    """When the venue did not move the stop and the price came back, the stop goes right behind the price."""
    trader, view, risk = in_position(Side.BUY)
    trader.decide(view, bar(100, round(view.entry_ticks + risk), reach=100))  # the answer is lost
    close = round(view.entry_ticks - 0.5 * risk)
    proposal = trader.decide(view, bar(101, close, reach=100))
    assert proposal is not None
    assert proposal.intents == (Amend(client_id="t-stop", trigger_ticks=close - 1),)


def test_a_stop_that_is_being_cancelled_is_left_alone() -> None:
    """A flattening under way is not disturbed."""
    trader, view, risk = in_position(Side.BUY)
    view.orders[0].is_cancel_requested = True
    proposal = trader.decide(view, bar(100, round(view.entry_ticks + risk), reach=100))
    assert proposal is not None
    assert (proposal.reason, proposal.intents) == ("in_position", ())


def test_legs_left_over_are_cancelled_once() -> None:
    """Only those not yet being cancelled are named."""
    asked = replace_client(TARGET_UP, "t-asked")
    asked.is_cancel_requested = True
    view = FakeView(orders=[STOP_UP, asked])
    proposal = conclude(Case("", UP, "", "", view))
    assert proposal.intents == (Cancel(client_id="t-stop"),)


def test_a_position_that_ended_leaves_no_trail_behind() -> None:
    """The plan of an old trade does not move the stop of a position that somebody else opened."""
    trader, view, risk = in_position(Side.BUY)
    entry_ticks = view.entry_ticks
    view.lots, view.orders = 0, []
    trader.decide(view, bar(100, PRICE, reach=0))
    view.lots, view.orders, view.entry_ticks = 5, [replace_client(STOP_UP, "t-2")], entry_ticks
    proposal = trader.decide(view, bar(101, round(entry_ticks + 3 * risk), reach=100))
    assert proposal is not None
    assert proposal.reason == "in_position"


def walk(seed: int, count: int) -> list[MarketCandle]:
    """A seeded market of trends, ranges and spikes."""
    chance = random.Random(seed)
    candles, close, drift = [], PRICE, 0
    for number in range(1, count + 1):
        if number % 60 == 1:
            drift = chance.choice((-900, 0, 900))
        close += drift + chance.randint(-3_000, 3_000)
        low, high = close - chance.randint(0, 9_000), close + chance.randint(0, 9_000)
        candles.append(bar(number, close, low=low, high=high, volume=chance.randint(0, 50)))
    return candles


def trade(trader: Trend, view: FakeView, candles: list[MarketCandle]) -> list[Proposal]:
    """Run a trader over bars against the frictionless venue."""
    proposals = []
    for candle in candles:
        view.now_ns = candle.ts_ns
        touch_legs(view, candle)
        proposal = trader.decide(view, candle)
        assert proposal is not None
        carry_out(view, proposal, candle)
        proposals.append(proposal)
    return proposals


@pytest.mark.parametrize("seed", range(5))
def test_a_restored_trader_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    """Snapshot through JSON every 37 bars, in and out of positions: the same proposals to the last bit."""
    candles = walk(seed, 600)
    expected = trade(Trend(), FakeView(), candles)
    view, trader, found = FakeView(), Trend(), []
    for start in range(0, len(candles), 37):
        found += trade(trader, view, candles[start : start + 37])
        memory = json.loads(msgspec.json.encode(trader.snapshot()))
        trader = Trend()
        trader.restore(memory)
        assert trader.snapshot() == memory
    assert found == expected
    assert {proposal.action for proposal in found} >= {"enter_long", "enter_short", "trail", "hold"}


def test_equal_bars_give_equal_proposals() -> None:
    """Two traders that saw the same decide the same."""
    candles = walk(11, 400)
    assert trade(Trend(), FakeView(), candles) == trade(Trend(), FakeView(), candles)


def test_instruments_do_not_mix() -> None:
    """Bars of another instrument between our own change nothing about ours."""
    candles = walk(3, 200)
    alone = trade(Trend(), FakeView(), candles)
    trader, view, found = Trend(), FakeView(), []
    for candle in candles:
        trader.decide(FakeView(), msgspec.structs.replace(candle, instrument="ETHUSDT", close_ticks=7))
        found += trade(trader, view, [candle])
    assert found == alone


@pytest.mark.requirement("B38")
def test_memory_does_not_grow_with_history() -> None:
    """After the first bar and after thousands of bars the memory holds the same number of values."""
    trader, view = Trend(), FakeView()
    sizes = set()
    for candle in walk(2, 3_000):
        trader.decide(view, candle)
        memory = trader.snapshot()
        sizes.add((len(memory["charts"]["BTCUSDT"]), len(memory["plans"]) <= 1))
    assert len(sizes) == 1


def test_memory_of_other_lengths_is_refused() -> None:
    """A checkpoint made with another ribbon is not continued silently."""
    trader = Trend()
    trader.decide(FakeView(), UP[0])
    with pytest.raises(ValueError, match="expected indicators"):
        Trend(TrendSettings(ema_fast_bars=21)).restore(trader.snapshot())


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"ema_fast_bars": 50}, "not below ema_slow_bars"),
        ({"funding_short_ppb_min": 90_001}, "would allow neither side"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(facts: dict[str, int], words: str) -> None:
    """The message names both values."""
    with pytest.raises(ValueError, match=words):
        TrendSettings(**facts)  # type: ignore[arg-type]


def test_fractions_and_percents_cannot_be_mixed_up_in_the_gates() -> None:
    """A gate set to 0.0001 or 0.01 as a fraction or percent is refused: rates are integer ppb."""
    for value in ("0.0001", "0.01"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(f'{{"funding_long_ppb_max": {value}}}', type=TrendSettings)
